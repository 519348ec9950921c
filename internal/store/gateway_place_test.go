package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// A gateway is the same under its name and under its address: it is found by either, and entered once.
func TestGatewayAt(t *testing.T) {
	t.Parallel()
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	ctx := t.Context()
	add := func(id, address string) error {
		return u.RegisterGateway(ctx, storetest.By, u.Site, store.GatewayChange{ID: billing.GatewayID(id), Name: id, Link: "transparent", Address: address, TimeoutMillis: 2500}, nil)
	}
	require.NoError(t, add("P1", "localhost:4001"))
	require.NoError(t, add("P2", "nobody.invalid:4001"), "a name that nobody knows here may be known to the workers")
	require.NoError(t, add("P3", "[::ffff:10.8.0.21]:4001"))
	for address, want := range map[string]string{"localhost:4001": "P1", "127.0.0.1:4001": "P1", "LOCALHOST:4001": "P1", "10.8.0.21:4001": "P3", "nobody.invalid:4001": "P2"} {
		g, _, err := u.GatewayAt(ctx, address)
		require.NoError(t, err, address)
		require.Equal(t, billing.GatewayID(want), g.ID, address)
	}
	_, unknown, err := u.GatewayAt(ctx, "127.0.0.1:4002")
	require.Equal(t, billing.CodeNotFound, billing.CodeOf(err), "another port is another line")
	require.Empty(t, unknown, "no name of another port matters")
	_, unknown, err = u.GatewayAt(ctx, "10.8.0.22:4001")
	require.Equal(t, billing.CodeNotFound, billing.CodeOf(err))
	require.Equal(t, []string{"nobody.invalid"}, unknown, "it may lead there")
	_, _, err = u.GatewayAt(ctx, "no port")
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))

	err = add("P4", "127.0.0.1:4001")
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))
	require.ErrorContains(t, err, "gateway P1 has this address already, written as localhost:4001")
	change := func(id, address string) error {
		return u.ChangeGateway(ctx, storetest.By, store.GatewayChange{ID: billing.GatewayID(id), Name: id, Link: "transparent", Address: address, TimeoutMillis: 2500}, nil)
	}
	require.ErrorContains(t, change("P3", "127.0.0.1:4001"), "gateway P1 has this address already")
	require.ErrorContains(t, change("P3", "localhost:4001"), "another gateway has this address already")
	require.NoError(t, change("P1", "127.0.0.1:4001"), "its own, written in another way")
	require.NoError(t, change("P1", "127.0.0.1:4001"), "unchanged")
	_, err = u.Gateway(ctx, "P4")
	require.Equal(t, billing.CodeNotFound, billing.CodeOf(err))
}

// Two people who enter one gateway at the same moment under two names: the second gets the sentence that the first one has it.
func TestGatewayIsEnteredOnceAtATime(t *testing.T) {
	t.Parallel()
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	ctx := t.Context()
	// Nobody's row is stored before both have looked whether the place is free, or wait for the other to end.
	hold, err := u.Pool.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = hold.Rollback(ctx) }()
	_, err = hold.Exec(ctx, `LOCK TABLE gateways IN SHARE ROW EXCLUSIVE MODE`)
	require.NoError(t, err)
	ended := make(chan error, 2)
	for id, address := range map[billing.GatewayID]string{"P1": "localhost:4001", "P2": "127.0.0.1:4001"} {
		go func() {
			ended <- u.RegisterGateway(ctx, storetest.By, u.Site, store.GatewayChange{ID: id, Name: "entered twice", Link: "transparent", Address: address, TimeoutMillis: 2500}, nil)
		}()
	}
	require.Eventually(t, func() bool {
		var waiting int
		err := u.Pool.QueryRow(ctx, `SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting)
		return err == nil && waiting == 2
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, hold.Commit(ctx))
	first, second := <-ended, <-ended
	if first != nil {
		first, second = second, first
	}
	require.NoError(t, first)
	require.Equal(t, billing.CodeConflict, billing.CodeOf(second))
	require.ErrorContains(t, second, "has this address already, written as")
	var stored int
	require.NoError(t, u.Pool.QueryRow(ctx, `SELECT count(*) FROM gateways WHERE name = 'entered twice'`).Scan(&stored))
	require.Equal(t, 1, stored)
}
