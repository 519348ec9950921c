package demo

import (
	"context"
	"fmt"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/devstack/devstacktest"
	"github.com/meterflow/meterflow/internal/store"
)

func seeded(t *testing.T) (*store.Store, SeedOptions) {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, devstacktest.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	_, err = s.Migrate(ctx)
	require.NoError(t, err)
	o := SeedOptions{Seed: 1, Fleet: map[billing.GatewayID]string{}}
	u, err := New(1)
	require.NoError(t, err)
	for i, g := range u.Gateways {
		o.Fleet[g.ID] = fmt.Sprintf("127.0.0.1:%d", 5020+i)
	}
	require.NoError(t, Seed(ctx, s, o))
	return s, o
}

func number(t *testing.T, s *store.Store, query string, args ...any) int64 {
	t.Helper()
	var n int64
	require.NoError(t, s.Pool.QueryRow(context.Background(), query, args...).Scan(&n))
	return n
}

func TestSeed(t *testing.T) {
	ctx := context.Background()
	s, o := seeded(t)

	clock, err := s.Clock(ctx)
	require.NoError(t, err)
	require.Equal(t, "demo", clock.Mode)
	require.True(t, clock.Now.Equal(Start()))
	for table, rows := range map[string]int64{
		"sites": 2, "users": 10, "user_sites": 20, "gateways": 12, "meters": 301, "fittings": 301, "accounts": 300, "customers": 240,
		"supplies": 300, "balances": 300, "tariffs": 10,
	} {
		require.Equal(t, rows, number(t, s, "SELECT count(*) FROM "+table), table)
	}
	require.Zero(t, number(t, s, `SELECT count(*) FROM balances b WHERE b.balance_fen <= 0 OR b.balance_fen <>
		(SELECT -sum(p.amount_fen) FROM ledger_postings p WHERE p.code = 'customer/' || b.account_id)`))
	require.Zero(t, number(t, s, `SELECT count(*) FROM journal WHERE business_at <> $1 AND kind NOT IN ('calendar', 'tariff')`, Start()))
	_, _, broken, err := s.VerifyJournal(ctx)
	require.NoError(t, err)
	require.Nil(t, broken)

	before := number(t, s, `SELECT count(*) FROM journal`)
	require.NoError(t, Seed(ctx, s, o), "a second start")
	require.Equal(t, before, number(t, s, `SELECT count(*) FROM journal`))
}

func TestSeed_peopleSignIn(t *testing.T) {
	ctx := context.Background()
	s, _ := seeded(t)
	for _, p := range People() {
		hash, err := s.PasswordHash(ctx, p.ID)
		require.NoError(t, err)
		match, err := argon2id.ComparePasswordAndHash(Password, hash)
		require.NoError(t, err)
		require.True(t, match, p.ID)
	}
}

func TestSeed_followsGatewaysThatMoved(t *testing.T) {
	ctx := context.Background()
	s, o := seeded(t)
	// The ports changed hands, so that unique addresses are in each other's way.
	o.Fleet["garden-gw1"], o.Fleet["garden-gw2"] = o.Fleet["garden-gw2"], o.Fleet["garden-gw1"]
	require.NoError(t, Seed(ctx, s, o))
	g, err := s.Gateway(ctx, "garden-gw1")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:5021", g.Address)
	require.EqualValues(t, 2, number(t, s, `SELECT count(*) FROM journal WHERE event = 'moved'`))
}

func TestSeed_refusesAFleetWithoutAGateway(t *testing.T) {
	err := Seed(context.Background(), nil, SeedOptions{Seed: 1, Fleet: map[billing.GatewayID]string{"garden-gw1": "127.0.0.1:1"}})
	require.ErrorContains(t, err, "garden-gw2")
}

func TestHolidays(t *testing.T) {
	years, err := holidays()
	require.NoError(t, err)
	calendar := billing.NewCalendar(years...)
	for day, off := range map[string]bool{"2026-10-01": true, "2026-10-07": true, "2026-10-08": false, "2026-09-20": false, "2026-09-25": true} {
		got, err := calendar.Off(billing.MustDate(day))
		require.NoError(t, err)
		require.Equal(t, off, got, day)
	}
}
