package activities_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// losing makes the activities use a worker that loses its lines after so many requests, and gives back the way to the line's next owner.
func losing(t *testing.T, g *grid, after int64) (next func()) {
	t.Helper()
	var asked atomic.Int64
	pool := devices.NewPool(devices.Config{
		Timeout: 300 * time.Millisecond, ReadRetries: -1, SwitchLimit: 300 * time.Millisecond, SwitchPoll: 20 * time.Millisecond,
		Owns: func(string) bool { return asked.Add(1) <= after },
	})
	t.Cleanup(pool.Shutdown)
	owner := g.deliver.Pool
	g.deliver.Pool, g.supply.Pool = pool, pool
	return func() { g.deliver.Pool, g.supply.Pool = owner, owner }
}

func requireMoved(t *testing.T, err error) {
	t.Helper()
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, activities.LineMoved, app.Type())
	require.True(t, app.NonRetryable(), "another try on the same worker is in vain")
	require.Contains(t, app.Message(), "G1")
}

// A worker that loses its line in the middle of a purchase, at whichever request, says nothing about the meter that it doesn't know: the next owner
// delivers, once, and nobody is asked to settle a doubt that reading settles.
func TestDelivery_lineMoves(t *testing.T) {
	for after := range int64(10) {
		t.Run(fmt.Sprintf("after %d requests", after), func(t *testing.T) {
			g := newGrid(t)
			ref := g.approved(g.credit, 5000)
			run[activities.Settled](g, g.posting.PostRecharge, ref)
			next := losing(t, g, after)
			_, err := g.env.ExecuteActivity(g.deliver.DeliverRecharge, ref)
			if after < 3 {
				requireMoved(t, err)
				require.Equal(t, 0, g.purchases(serialCredit))
			} else {
				require.NoError(t, err)
			}
			_, err = g.env.ExecuteActivity(g.deliver.DeliverRecharge, ref) // still on the wrong worker
			if after != 9 {
				requireMoved(t, err)
			}
			next()
			for range 2 { // what was found not to have been sent is sent now
				run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
			}
			require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
			require.Equal(t, 1, g.purchases(serialCredit))
			g.has(g.credit, 15_000)
			g.intact()
		})
	}
}

// A cut whose line moves away isn't put off, and isn't in doubt: it stays marked, and the next owner looks at the meter before it sends.
func TestCutOff_lineMoves(t *testing.T) {
	g, ref := due(t)
	next := losing(t, g, 0)
	for range 2 { // the second one looks first
		_, err := g.env.ExecuteActivity(g.supply.CutOff, ref)
		requireMoved(t, err)
	}
	require.Equal(t, "on", g.relay(serialPlatform))
	cut, err := g.Cutoff(t.Context(), ref.CutoffID)
	require.NoError(t, err)
	require.Equal(t, store.CutSending, cut.State)
	next()
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	require.Equal(t, "off", g.relay(serialPlatform))
	g.proved()
	g.intact()
}

// A sweep whose line moves away in the middle keeps what it has read, says which line moved, and the next owner reads the others.
func TestSweep_lineMoves(t *testing.T) {
	w := newWired(t, "2026-01-01", 3)
	var asked atomic.Int64
	owner := w.field.meters.Pool
	pool := devices.NewPool(devices.Config{Timeout: 300 * time.Millisecond, Owns: func(string) bool { return asked.Add(1) <= 5 }})
	t.Cleanup(pool.Shutdown)
	w.field.meters.Pool = pool
	require.Equal(t, activities.SweptGateway{Moved: []billing.GatewayID{"G1"}}, w.pass("2026-01-02", 0, 5, 1))
	first := w.current(w.meters[0], "2026-01-02")
	w.field.meters.Pool = owner
	requests := owner.Stats().Requests
	require.Equal(t, activities.SweptGateway{}, w.pass("2026-01-02", 0, 5, 1))
	require.Equal(t, int64(2*3), owner.Stats().Requests-requests, "two meters of three blocks: the first was read")
	require.Equal(t, first, w.current(w.meters[0], "2026-01-02"))
	require.Empty(t, w.close("2026-01-02").Cases)
	w.intact()
}
