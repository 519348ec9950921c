package devices_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
)

// A worker whose lease has run out says nothing more on the line: not a read either, and not in the middle of a meter.
func TestNothingIsAskedOnAnothersLine(t *testing.T) {
	t.Parallel()
	var asked, most atomic.Int64
	most.Store(1 << 30)
	b := newBenchWith(t, testSpec(t), devices.Config{Owns: func(string) bool { return asked.Add(1) <= most.Load() }})
	b.read(single)
	whole := b.pool.Stats().Requests
	most.Store(asked.Load() + 1) // one more block
	_, err := b.pool.Snapshot(t.Context(), b.meter(single))
	require.ErrorIs(t, err, devices.ErrNotOwner)
	require.Equal(t, whole+1, b.pool.Stats().Requests)
	_, err = b.pool.Trip(t.Context(), b.meter(single))
	require.ErrorIs(t, err, devices.ErrNotOwner)
	require.Equal(t, whole+1, b.pool.Stats().Requests)
}

// The lease is asked to stand for as long as the gateway may take, not for a time that fits none.
func TestLeaseCoversTheLinesOwnTimeout(t *testing.T) {
	t.Parallel()
	var within time.Duration
	b := newBenchWith(t, testSpec(t), devices.Config{MaySend: func(_ context.Context, _ string, d time.Duration) error { within = d; return nil }})
	m := b.meter(single)
	m.Link.Timeout, m.Link.Pause = 20*time.Second, 10*time.Millisecond
	r, err := b.pool.Trip(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, r.Outcome)
	require.GreaterOrEqual(t, within, 20*time.Second)
}

// A line that is slow to end holds up nobody else, and its gateway is never spoken to by two owners at once.
func TestClosingALineHoldsUpNobody(t *testing.T) {
	t.Parallel()
	var accepted []time.Time
	var mu sync.Mutex
	connections := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(accepted)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() { // a gateway that takes connections and says nothing
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			accepted = append(accepted, time.Now())
			mu.Unlock()
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	b := newBenchWith(t, testSpec(t), devices.Config{ReadRetries: -1})
	slow := b.meter(single)
	slow.Gateway, slow.HostPort, slow.Link = "slow", listener.Addr().String(), devices.Link{Kind: devices.LinkTransparent, Timeout: time.Second}
	ended := make(chan error, 3)
	ask := func(m devices.Meter) { _, err := b.pool.Snapshot(context.Background(), m); ended <- err }
	go ask(slow)
	require.Eventually(t, func() bool { return connections() == 1 }, 10*time.Second, time.Millisecond)
	began := time.Now()
	b.pool.CloseLine("slow")
	go ask(slow) // makes the next line
	slow.Link.Pause = time.Millisecond
	go ask(slow) // and the settings have changed
	b.read(single)
	require.Less(t, time.Since(began), 900*time.Millisecond, "another line waited")
	for range 3 {
		require.Error(t, <-ended)
	}
	for i := range connections() - 1 {
		require.Greater(t, accepted[i+1].Sub(accepted[i]), 900*time.Millisecond, "two owners at once")
	}
}

// A command that comes between two reads of a meter would make a snapshot of two times: the meter is read again.
func TestSnapshotIsOfOneTime(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	spec.Gateways[0].LineMillis = 40
	b := newBenchWith(t, spec, devices.Config{})
	b.read(single)
	first := b.pool.Stats().Requests
	shots := make(chan devices.Snapshot, 1)
	go func() {
		shot, err := b.pool.Sweep(context.Background(), b.meter(single))
		if err != nil {
			t.Error(err)
		}
		shots <- shot
	}()
	require.Eventually(t, func() bool { return b.pool.Stats().Requests > first }, 10*time.Second, time.Millisecond)
	// The sweep has read the first block of three; the purchase goes first.
	r, err := b.pool.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 100, Count: 1}, nil)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, r.Outcome)
	shot := <-shots
	require.Equal(t, int64(1), *shot.PurchaseCount)
	require.True(t, shot.TakenAt.After(r.After.TakenAt))
	perLook := first // one snapshot took so many
	require.GreaterOrEqual(t, b.pool.Stats().Requests, first+1+2*perLook+1+perLook, "the block that was read before the purchase is read again")
}

// Gateways' names are looked at each time they are dialled: one that leads elsewhere later is refused as well.
func TestNamesOutsideTheNetworksAreNotDialled(t *testing.T) {
	t.Parallel()
	b := newBenchWith(t, testSpec(t), devices.Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.8.0.0/16")}})
	for _, kind := range []devices.LinkKind{devices.LinkTCP, devices.LinkTransparent} {
		m := b.meter(single)
		_, port, err := net.SplitHostPort(m.HostPort)
		require.NoError(t, err)
		m.HostPort, m.Link.Kind = net.JoinHostPort("localhost", port), kind
		_, err = b.pool.Snapshot(t.Context(), m)
		require.ErrorIs(t, err, devices.ErrBadOrder)
		require.ErrorContains(t, err, "outside the networks")
	}
}
