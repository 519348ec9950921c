package store_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// lines enrols a worker and gives what it holds after a renewal, by gateway.
func lines(t *testing.T, s *store.Store, h store.LineHold) map[billing.GatewayID]int64 {
	t.Helper()
	h.Process = h.Holder + "'s"
	_, err := s.EnrolWorker(t.Context(), h.Holder, h.Process, store.LineWorker{})
	require.NoError(t, err)
	held, err := s.HoldLines(t.Context(), h)
	require.NoError(t, err)
	fences := map[billing.GatewayID]int64{}
	for _, l := range held.Leases {
		fences[l.Gateway] = l.Fence
	}
	return fences
}

func addLines(t *testing.T, u *storetest.Utility, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, u.Store.AddGateway(t.Context(), storetest.By, store.Gateway{
			ID: billing.GatewayID(fmt.Sprintf("X%03d", i)), Site: u.Site, Name: "line", Link: "modbus_tcp", Address: fmt.Sprintf("10.9.%d.%d:502", i/250, i%250), TimeoutMillis: 10,
		}))
	}
}

// A line has one owner. Whoever had it before sends nothing any more, also when it doesn't know yet that the lease is gone.
func TestLeases(t *testing.T) {
	t.Parallel()
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	s := u.Store
	require.NoError(t, s.AddGateway(t.Context(), storetest.By, store.Gateway{
		ID: "U1", Site: u.Site, Name: "unit", Link: "dial_in", Registration: "unit-1", Secret: make([]byte, 32), TimeoutMillis: 500,
	}))
	hold := func(holder string, ttl time.Duration, connected ...billing.GatewayID) map[billing.GatewayID]int64 {
		return lines(t, s, store.LineHold{Holder: holder, TTL: ttl, Connected: connected})
	}
	release := func(holder string) {
		require.NoError(t, s.DismissWorker(t.Context(), store.LineWorker{Holder: holder, Process: holder + "'s"}))
	}
	first := hold("w1", time.Minute)
	require.NotEmpty(t, first)
	require.NotContains(t, first, billing.GatewayID("U1"), "its unit has not called this worker")
	require.Empty(t, hold("w2", time.Minute), "all lines have an owner")
	require.Equal(t, map[billing.GatewayID]int64{"U1": 1}, hold("w2", time.Minute, "U1"), "the unit called w2")

	var gateway billing.GatewayID
	for gateway = range first {
		break
	}
	lease := store.Lease{Gateway: gateway, Fence: first[gateway]}
	require.NoError(t, s.MaySend(t.Context(), "w1", lease, time.Second))
	require.NoError(t, s.MaySend(t.Context(), "w1", lease, time.Hour), "it stands for as long as a command takes")
	hold("w1", time.Millisecond)
	require.NotContains(t, hold("w2", time.Minute), gateway, "neither a renewal nor another worker ends it before")
	require.Equal(t, billing.CodeUnavailable, billing.CodeOf(s.MaySend(t.Context(), "w2", lease, time.Second)))

	release("w1")
	second := hold("w2", time.Minute)
	require.Greater(t, second[gateway], first[gateway], "another owner, another fence")
	require.ErrorContains(t, s.MaySend(t.Context(), "w1", lease, time.Second), "nothing was sent")
	require.NoError(t, s.MaySend(t.Context(), "w2", store.Lease{Gateway: gateway, Fence: second[gateway]}, time.Second))

	// Back with its first owner after a pause that it didn't notice: the old fence is still too old.
	release("w2")
	require.Greater(t, hold("w1", time.Minute)[gateway], second[gateway])
	require.Error(t, s.MaySend(t.Context(), "w1", lease, time.Second))

	owners, err := s.LineHolders(t.Context(), []billing.GatewayID{gateway, "U1"})
	require.NoError(t, err)
	require.Contains(t, owners, store.LineOwner{Gateway: gateway, Holder: "w1"})
	require.Contains(t, owners, store.LineOwner{Gateway: "U1", DialsIn: true}, "its worker gave everything up")
}

// A worker takes its share and no more, and nothing from a worker that lives, whatever the database's clock says of its leases. What is handed back
// has another fence.
func TestShares(t *testing.T) {
	t.Parallel()
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	s := u.Store
	addLines(t, u, 9)
	all := len(lines(t, s, store.LineHold{Holder: "w1", TTL: time.Minute, Workers: 1}))
	require.GreaterOrEqual(t, all, 9)
	require.NoError(t, s.DismissWorker(t.Context(), store.LineWorker{Holder: "w1", Process: "w1's"}))
	share := (all + 1) / 2
	mine := lines(t, s, store.LineHold{Holder: "w1", TTL: time.Minute, Workers: 2})
	require.Len(t, mine, share)
	lines(t, s, store.LineHold{Holder: "w2", TTL: time.Millisecond, Workers: 2})
	time.Sleep(50 * time.Millisecond)
	require.Len(t, lines(t, s, store.LineHold{Holder: "w1", TTL: time.Minute, Workers: 1, Living: []string{"w2"}}), share, "as after a jump of the clock")
	require.Len(t, lines(t, s, store.LineHold{Holder: "w1", TTL: time.Minute, Workers: 1}), all)

	given := []store.Lease{{Gateway: "X000", Fence: mine["X000"]}, {Gateway: "X001", Fence: mine["X001"] - 1}}
	require.NoError(t, s.HandBack(t.Context(), "w1", given))
	now := lines(t, s, store.LineHold{Holder: "w2", TTL: time.Minute, Workers: 1})
	require.Equal(t, map[billing.GatewayID]int64{"X000": mine["X000"] + 2}, now, "X001 has a newer fence: it isn't the line that was meant")

	_, err := s.HoldLines(t.Context(), store.LineHold{Holder: "w1", Process: "another", TTL: time.Minute, Workers: 1})
	require.ErrorContains(t, err, "METERFLOW_WORKER_ID")
	ok, err := s.EnrolWorker(t.Context(), "w1", "another", store.LineWorker{Holder: "w1", Process: "w1's", Beat: 1})
	require.NoError(t, err)
	require.False(t, ok, "it has shown life since")
	workers, err := s.LineWorkers(t.Context())
	require.NoError(t, err)
	ok, err = s.EnrolWorker(t.Context(), "w1", "another", workers[0])
	require.NoError(t, err)
	require.True(t, ok)
	require.Error(t, s.MaySend(t.Context(), "w1", store.Lease{Gateway: "X003", Fence: mine["X003"]}, time.Second), "the process before it")
}

func TestGatewaySettings(t *testing.T) {
	t.Parallel()
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	s := u.Store
	good := store.Gateway{ID: "S1", Site: u.Site, Name: "serial server", Link: "transparent", Address: "10.8.0.9:4196", PauseMillis: 20, TimeoutMillis: 2500, WorstMillis: 2100, CachesMillis: 300}
	require.NoError(t, s.AddGateway(t.Context(), storetest.By, good))
	got, err := s.Gateway(t.Context(), "S1")
	require.NoError(t, err)
	require.Equal(t, good, got)
	for name, spoil := range map[string]func(*store.Gateway){
		"a time-out below the gateway's worst case": func(g *store.Gateway) { g.TimeoutMillis = 2000 },
		"dials in, but has an address":              func(g *store.Gateway) { g.Link, g.Registration, g.Secret = "dial_in", "u9", make([]byte, 32) },
		"dials in without a secret":                 func(g *store.Gateway) { g.Link, g.Address, g.Registration = "dial_in", "", "u9" },
		"no address":                                func(g *store.Gateway) { g.Address = "" },
		"an unknown link":                           func(g *store.Gateway) { g.Link = "pigeon" },
		"an address that another gateway has":       func(*store.Gateway) {},
	} {
		bad := good
		bad.ID = "S2"
		if name != "an address that another gateway has" {
			bad.Address = "10.8.0.10:4196"
		}
		spoil(&bad)
		require.Error(t, s.AddGateway(t.Context(), storetest.By, bad), name)
	}
}

// What was stored before there were the limits of entry: the usual worst case is filled in, with its journal, and a cache that is too long bars commands.
func TestGatewayStoredBeforeTheLimits(t *testing.T) {
	t.Parallel()
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	ctx := t.Context()
	_, err := u.Pool.Exec(ctx, `INSERT INTO gateways (id, site_id, name, link, address, timeout_ms, worst_case_ms, caches_reads_ms)
		VALUES ('O1', $1, 'old', 'modbus_tcp', '10.8.0.1:502', 700, 0, 0), ('O2', $1, 'old', 'transparent', '10.8.0.2:502', 2500, 0, 0), ('O3', $1, 'old', 'modbus_tcp', '10.8.0.3:502', 2500, 2400, 10001)`, u.Site)
	require.NoError(t, err)
	migration, err := os.ReadFile("migrations/0106_known_worst_case.sql")
	require.NoError(t, err)
	for range 2 {
		_, err = u.Pool.Exec(ctx, string(migration))
		require.NoError(t, err)
	}
	for id, want := range map[billing.GatewayID][2]int{"O1": {2000, 2000}, "O2": {2500, 1000}, "O3": {2500, 2400}} {
		g, err := u.Gateway(ctx, id)
		require.NoError(t, err)
		require.Equal(t, want, [2]int{g.TimeoutMillis, g.WorstMillis}, id)
		require.Equal(t, id == "O3", g.CommandsBarred() != nil, id)
	}
	var changed int
	require.NoError(t, u.Pool.QueryRow(ctx, `SELECT count(*) FROM journal WHERE kind = 'gateway' AND event = 'changed' AND entity IN ('O1', 'O2', 'O3')`).Scan(&changed))
	require.Equal(t, 2, changed, "one row each, of the two that were changed")
	intact, err := u.ChainIntact(ctx, "gateway", "O1")
	require.NoError(t, err)
	require.True(t, intact)
}
