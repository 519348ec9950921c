package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// wired is a field whose meters are simulated ones behind real sockets; the simulator lives by the utility's clock.
type wired struct {
	*field
	fleet  *simulator.Fleet
	meters []billing.MeterID
}

func newWired(t *testing.T, day string, meters int) *wired {
	t.Helper()
	w := &wired{field: newField(t, day)}
	series, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	spec := simulator.GatewaySpec{ID: "G1", Listen: "127.0.0.1:0", SilentMillis: 20}
	for i := range meters {
		_, m := w.Account(storetestAccount())
		w.meters = append(w.meters, m)
		spec.Meters = append(spec.Meters, simulator.MeterSpec{
			Unit: byte(i + 1), Serial: serial(i + 1), Profile: "sim-ddsy1352", LoadProfile: series[i], OpeningRegisters: make([]int64, 6),
		})
	}
	now := func() time.Time {
		c, err := w.Clock(context.Background())
		if err != nil {
			return billing.MustDate(day).Start(storetest.Zone)
		}
		return c.Now
	}
	w.fleet, err = simulator.NewFleet(simulator.FleetSpec{Seed: 1, Gateways: []simulator.GatewaySpec{spec}}, t.TempDir(), now)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.fleet.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
	})
	_, err = w.Pool.Exec(ctx, `UPDATE gateways SET address = $1 WHERE id = 'G1'`, w.fleet.Addr("G1"))
	require.NoError(t, err)
	pool := devices.NewPool(devices.Config{Timeout: 300 * time.Millisecond})
	t.Cleanup(pool.Shutdown)
	w.field.meters.Pool, w.field.review.Pool = pool, pool
	return w
}

func serial(n int) string { return "00000000000" + string(rune('0'+n)) }

// pass sweeps G1 at a moment of a day.
func (w *wired) pass(day string, hour, minute, pass int) activities.SweptGateway {
	w.t.Helper()
	w.at(day, hour, minute)
	id := billing.CycleID("park/" + day)
	do[activities.CyclePlan](w.field, w.field.meters.PlanCycle, activities.CycleStart{CycleID: id, Site: w.Site, Day: billing.MustDate(day)})
	do[[]billing.GatewayID](w.field, w.field.meters.StartPass, activities.StartPass{CycleID: id, Pass: pass})
	return do[activities.SweptGateway](w.field, w.field.meters.SweepGateways, activities.SweepGateways{CycleID: id, Gateways: []billing.GatewayID{"G1"}, Pass: pass})
}

func (w *wired) close(day string) activities.Validated {
	w.t.Helper()
	id := activities.CycleRef{CycleID: billing.CycleID("park/" + day)}
	found := do[activities.Validated](w.field, w.field.meters.ValidateCycle, id)
	do[any](w.field, w.field.meters.CloseCycle, id)
	return found
}

func TestSweep_readsRealFrames(t *testing.T) {
	w := newWired(t, "2026-01-01", 3)
	require.Zero(t, w.pass("2026-01-02", 0, 5, 1).Left)
	for _, m := range w.meters {
		r := w.current(m, "2026-01-02")
		require.Equal(t, billing.QualityActual, r.Quality)
		require.Equal(t, "on", r.Supply)
		require.Equal(t, "sim-ddsy1352", r.Profile)
		require.Equal(t, 1, *r.ProfileVersion, "of the map that it was decoded with")
		require.False(t, r.Interpolated, "five minutes are within the tolerance")
		require.Equal(t, r.Registers.Total(), r.Registers.BandSum())
		require.Equal(t, billing.MustDate("2026-01-02").At(0, 5, storetest.Zone).UTC(), r.TakenAt.UTC())
	}
	require.Empty(t, w.close("2026-01-02").Cases)
	c, err := w.Cycle(context.Background(), "park/2026-01-02")
	require.NoError(t, err)
	require.Equal(t, [2]int{3, 0}, [2]int{c.Read, c.Missing})
	w.intact()
}

func TestSweep_secondPassCarriesTheValueBack(t *testing.T) {
	w := newWired(t, "2026-01-01", 2)
	_, err := w.fleet.Inject(simulator.Fault{Kind: simulator.FaultSilent, Serial: serial(2), Until: billing.MustDate("2026-01-02").At(0, 10, storetest.Zone)})
	require.NoError(t, err)
	require.Equal(t, 1, w.pass("2026-01-02", 0, 5, 1).Left)
	require.Zero(t, w.pass("2026-01-02", 12, 0, 2).Left)
	late := w.current(w.meters[1], "2026-01-02")
	require.True(t, late.Interpolated)
	state, err := w.fleet.MeterState(serial(2))
	require.NoError(t, err)
	require.Less(t, late.Registers.Total(), state.Registers[0], "carried back from noon to midnight")
	require.False(t, w.current(w.meters[0], "2026-01-02").Interpolated)
	w.intact()
}

func TestSweep_wrongMeterIsNoReading(t *testing.T) {
	w := newWired(t, "2026-01-01", 2)
	_, err := w.Pool.Exec(context.Background(), `UPDATE meters SET serial = '777777777777' WHERE id = $1`, w.meters[1])
	require.NoError(t, err)
	require.Equal(t, 1, w.pass("2026-01-02", 0, 5, 1).Left)
	found := w.close("2026-01-02")
	require.Len(t, found.Cases, 1)
	_, members, err := w.Case(context.Background(), found.Cases[0])
	require.NoError(t, err)
	require.Contains(t, string(members[0].Numbers), "wrong")
	w.intact()
}

func TestReread_settlesWhatAnswers(t *testing.T) {
	w := newWired(t, "2026-01-01", 3)
	noon := billing.MustDate("2026-01-02").At(12, 0, storetest.Zone)
	_, err := w.fleet.Inject(simulator.Fault{Kind: simulator.FaultGatewaySilent, Gateway: "G1", Until: noon})
	require.NoError(t, err)
	_, err = w.fleet.Inject(simulator.Fault{Kind: simulator.FaultSilent, Serial: serial(3), Until: noon.Add(6 * time.Hour)})
	require.NoError(t, err)
	require.Equal(t, 3, w.pass("2026-01-02", 0, 5, 1).Left)
	cases := w.close("2026-01-02").Cases
	require.Len(t, cases, 1)

	again := activities.RereadMembers{CaseID: cases[0], Gateway: "G1", By: "sup1", Reason: "the gateway is back"}
	w.at("2026-01-02", 13, 0)
	require.Equal(t, activities.Reread{Left: 1}, do[activities.Reread](w.field, w.field.review.RereadMembers, again), "two have answered the first time")
	d := activities.Decision{CaseID: cases[0], By: "sup1", Decision: activities.DecideReread, Reason: "the gateway is back"}
	require.Contains(t, refused(w.field, w.field.review.DecideCase, d), "the case stays open")
	require.True(t, w.current(w.meters[0], "2026-01-02").Interpolated)
	require.Zero(t, w.current(w.meters[2], "2026-01-02").Version)

	w.at("2026-01-02", 19, 0)
	do[activities.Reread](w.field, w.field.review.RereadMembers, again)
	_, members := w.decide(d)
	for _, m := range members {
		require.Equal(t, "reread", m.Outcome)
	}
	c, err := w.Cycle(context.Background(), "park/2026-01-02")
	require.NoError(t, err)
	require.Equal(t, [2]int{3, 0}, [2]int{c.Read, c.Missing})
	w.intact()
}

// Three dead meters, the first ones on their line, don't hide those behind them from the second pass.
func TestSweep_deadNeighboursHideNobody(t *testing.T) {
	w := newWired(t, "2026-01-01", 5)
	for n := 1; n <= 4; n++ {
		f := simulator.Fault{Kind: simulator.FaultSilent, Serial: serial(n)}
		if n == 4 {
			f.Until = billing.MustDate("2026-01-02").At(0, 30, storetest.Zone)
		}
		_, err := w.fleet.Inject(f)
		require.NoError(t, err)
	}
	require.Equal(t, 5, w.pass("2026-01-02", 0, 5, 1).Left, "three in a row without an answer set the whole line aside")
	require.Equal(t, 3, w.pass("2026-01-02", 1, 5, 2).Left)
	for _, m := range w.meters[3:] {
		require.NotZero(t, w.current(m, "2026-01-02").Version)
	}
	w.intact()
}

func TestOnDemand_readsOneMeterNow(t *testing.T) {
	w := newWired(t, "2026-01-01", 2)
	w.at("2026-01-01", 9, 0)
	ask := activities.CycleStart{Meters: []billing.MeterID{w.meters[0]}, By: "sup1"}
	plan := do[activities.CyclePlan](w.field, w.field.meters.PlanCycle, ask)
	require.Equal(t, billing.CycleID("park/2026-01-01/1"), plan.CycleID, "asked twice by one workflow it is one cycle")
	do[[]billing.GatewayID](w.field, w.field.meters.StartPass, activities.StartPass{CycleID: plan.CycleID, Pass: 1})
	swept := do[activities.SweptGateway](w.field, w.field.meters.SweepGateways, activities.SweepGateways{CycleID: plan.CycleID, Gateways: []billing.GatewayID{"G1"}, Pass: 1})
	require.Zero(t, swept.Left)
	ask.By = "clerk1"
	require.Contains(t, refused(w.field, w.field.meters.PlanCycle, ask), "may not start a reading cycle")
	ask = activities.CycleStart{Meters: []billing.MeterID{"M9999"}, By: "sup1"}
	require.Contains(t, refused(w.field, w.field.meters.PlanCycle, ask), "no such record")
	w.intact()
}

// What the meter says of itself comes over the wire: its clock and its transformer ratio.
func TestSweep_clockAndRatioOfTheMeterItself(t *testing.T) {
	w := newWired(t, "2026-01-01", 3)
	_, err := w.fleet.Inject(simulator.Fault{Kind: simulator.FaultWrongClock, Serial: serial(1), Offset: -5400})
	require.NoError(t, err)
	_, err = w.fleet.Inject(simulator.Fault{Kind: simulator.FaultWrongRatio, Serial: serial(2), Offset: 30})
	require.NoError(t, err)
	require.Zero(t, w.pass("2026-01-02", 0, 5, 1).Left)
	require.Equal(t, -5400, *w.current(w.meters[0], "2026-01-02").ClockSkewS)
	require.Equal(t, 30, *w.current(w.meters[1], "2026-01-02").DeviceRatio)
	sound := w.current(w.meters[2], "2026-01-02")
	require.Zero(t, *sound.ClockSkewS)
	require.Equal(t, 1, *sound.DeviceRatio)
	kinds := map[string]bool{}
	for _, id := range w.close("2026-01-02").Cases {
		c, _, err := w.Case(context.Background(), id)
		require.NoError(t, err)
		kinds[c.Kind] = c.Blocking
		facts, err := w.FactsFor(context.Background(), *c.Account)
		require.NoError(t, err)
		require.Equal(t, []billing.CaseID{id}, facts.BlockingCases, "nobody is cut on a flagged reading, also where its bill goes on")
	}
	require.Equal(t, map[string]bool{"clock_skew": false, "ratio_mismatch": true}, kinds, "one price for all hours: the clock costs nothing")
	w.intact()
}
