package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// A line has one owner. Whoever had it before sends nothing any more, also when it doesn't know yet that the lease is gone.
func TestLeases(t *testing.T) {
	t.Parallel()
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	s := u.Store
	require.NoError(t, s.AddGateway(t.Context(), storetest.By, store.Gateway{
		ID: "U1", Site: u.Site, Name: "unit", Link: "dial_in", Registration: "unit-1", Secret: make([]byte, 32), TimeoutMillis: 500,
	}))
	hold := func(holder string, ttl time.Duration, connected ...billing.GatewayID) map[billing.GatewayID]int64 {
		held, err := s.HoldLines(t.Context(), holder, connected, ttl)
		require.NoError(t, err)
		fences := map[billing.GatewayID]int64{}
		for _, l := range held {
			fences[l.Gateway] = l.Fence
		}
		return fences
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

	require.NoError(t, s.ReleaseLines(t.Context(), "w1"))
	second := hold("w2", time.Minute)
	require.Equal(t, first[gateway]+1, second[gateway], "another owner, another fence")
	require.ErrorContains(t, s.MaySend(t.Context(), "w1", lease, time.Second), "nothing was sent")
	require.NoError(t, s.MaySend(t.Context(), "w2", store.Lease{Gateway: gateway, Fence: second[gateway]}, time.Second))

	// Back with its first owner after a pause that it didn't notice: the old fence is still too old.
	require.NoError(t, s.ReleaseLines(t.Context(), "w2"))
	require.Equal(t, second[gateway]+1, hold("w1", time.Minute)[gateway])
	require.Error(t, s.MaySend(t.Context(), "w1", lease, time.Second))

	owners, err := s.LineHolders(t.Context(), []billing.GatewayID{gateway, "U1"})
	require.NoError(t, err)
	require.Contains(t, owners, store.LineOwner{Gateway: gateway, Holder: "w1"})
	require.Contains(t, owners, store.LineOwner{Gateway: "U1", DialsIn: true}, "its worker gave everything up")
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
