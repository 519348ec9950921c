package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// A worker that can't renew its leases knows by its own clock when they have run out, and stops asking on the lines before another
// worker may begin. A command that is let out has its line until it is through.
func TestLinesRunOut(t *testing.T) {
	t.Parallel()
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	one, two := &Lines{Store: u.Store, Holder: "w1", Now: time.Now}, &Lines{Store: u.Store, Holder: "w2", Now: time.Now}
	pool := devices.NewPool(devices.Config{})
	t.Cleanup(pool.Shutdown)
	require.False(t, one.Owns("G1"), "nothing is ours before the first lease")
	require.Error(t, one.MaySend(t.Context(), "G1", time.Second))

	const ttl = 500 * time.Millisecond
	require.NoError(t, one.hold(t.Context(), pool, ttl))
	require.True(t, one.Owns("G1"))
	require.Eventually(t, func() bool { return !one.Owns("G1") }, 10*time.Second, time.Millisecond, "it was never renewed")
	require.Eventually(t, func() bool {
		require.NoError(t, two.hold(t.Context(), pool, ttl))
		return two.Owns("G1")
	}, 10*time.Second, 10*time.Millisecond)
	require.False(t, one.Owns("G1"))
	require.Error(t, one.MaySend(t.Context(), "G1", time.Second), "another worker's")

	require.NoError(t, two.giveUp(t.Context(), pool))
	require.False(t, two.Owns("G1"))
	require.NoError(t, one.hold(t.Context(), pool, ttl), "at once: it was given up")
	require.NoError(t, one.MaySend(t.Context(), "G1", 20*time.Second))
	require.NoError(t, one.hold(t.Context(), pool, ttl))
	time.Sleep(2 * ttl)
	require.True(t, one.Owns("G1"), "the command may still be out")
	require.NoError(t, two.hold(t.Context(), pool, time.Minute))
	require.False(t, two.Owns("G1"))
}

// A gateway that is added while a worker runs is its line when it renews its leases next.
func TestNewGatewayIsTakenUp(t *testing.T) {
	t.Parallel()
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	lines := &Lines{Store: u.Store, Holder: "w1", Now: time.Now}
	pool := devices.NewPool(devices.Config{})
	t.Cleanup(pool.Shutdown)
	require.NoError(t, lines.hold(t.Context(), pool, time.Minute))
	require.NoError(t, u.RegisterGateway(t.Context(), storetest.By, u.Site, store.GatewayChange{ID: "G7", Name: "new", Link: "modbus_tcp", Address: "10.8.0.7:502", TimeoutMillis: 500, WorstMillis: 400}, nil))
	require.False(t, lines.Owns("G7"))
	require.NoError(t, lines.hold(t.Context(), pool, time.Minute))
	require.True(t, lines.Owns("G7"))
	require.NoError(t, lines.MaySend(t.Context(), "G7", time.Second))
}
