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
