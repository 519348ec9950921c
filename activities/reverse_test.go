package activities_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// From the byte to the bill: what a customer feeds back is read, stored and reported, and takes nothing off what is billed.
func TestReverse_fromTheByteToTheBill(t *testing.T) {
	ctx := context.Background()
	f := newField(t, "2026-01-30")
	power, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	var now atomic.Int64
	now.Store(billing.MustDate("2026-01-30").Start(storetest.Zone).UnixNano())
	const told, typed = "900000000006", "900000000007"
	spec := simulator.GatewaySpec{ID: "S1"}
	for i, serial := range []string{told, typed} {
		spec.Meters = append(spec.Meters, simulator.MeterSpec{Unit: byte(i + 1), Serial: serial, Profile: "sim-dtsd1352", LoadProfile: power[i], FeedWatts: 3000})
	}
	fleet, err := simulator.NewFleet(simulator.FleetSpec{Gateways: []simulator.GatewaySpec{spec}}, t.TempDir(), func() time.Time { return time.Unix(0, now.Load()).UTC() })
	require.NoError(t, err)
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- fleet.Serve(serving) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-served)
	})
	require.NoError(t, f.AddGateway(ctx, storetest.By, store.Gateway{ID: "S1", Site: f.Site, Name: "roofs", Address: fleet.Addr("S1"), TimeoutMillis: 2000, WorstMillis: 1900}))
	f.meters.Pool = devices.NewPool(devices.Config{})
	t.Cleanup(f.meters.Pool.Shutdown)
	account, meter := f.Account(storetest.NewAccount{Gateway: "S1", Unit: 1, Serial: told, Profile: "sim-dtsd1352"})
	other, _ := f.Account(storetest.NewAccount{Gateway: "S1", Unit: 2, Serial: typed, Profile: "sim-dtsd1352"})

	shown := map[string]simulator.State{}
	for d := billing.MustDate("2026-01-31"); !d.After(billing.MustDate("2026-03-01")); d = d.AddDays(1) {
		now.Store(d.Start(storetest.Zone).UnixNano())
		f.at(d.String(), 0, 1)
		id := billing.CycleID("park/" + d.String())
		do[activities.CyclePlan](f, f.meters.PlanCycle, activities.CycleStart{CycleID: id, Site: f.Site, Day: d})
		gateways := do[[]billing.GatewayID](f, f.meters.StartPass, activities.StartPass{CycleID: id, Pass: 1})
		do[activities.SweptGateway](f, f.meters.SweepGateways, activities.SweepGateways{CycleID: id, Gateways: gateways, Pass: 1})
		found := do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
		require.Empty(t, found.Cases, d)
		do[any](f, f.meters.CloseCycle, activities.CycleRef{CycleID: id})
		state, err := fleet.MeterState(told)
		require.NoError(t, err)
		shown[d.String()] = state
		require.Equal(t, state.Registers, []int64(f.current(meter, d.String()).Registers))
		require.Equal(t, state.Reverse, *f.current(meter, d.String()).Reverse)
	}
	first, last := shown["2026-02-01"], shown["2026-03-01"]
	taken, given := last.Registers[0]-first.Registers[0], last.Reverse-first.Reverse
	require.Positive(t, taken)
	require.Positive(t, given)

	require.NoError(t, f.EnterPeriodQuantity(ctx, store.By{Actor: "clerk1", Reason: "from the other meter's display"},
		store.PeriodQuantity{Account: other, Month: billing.MustDate("2026-02-01"), Kind: store.Reverse, Value: billing.MustQuantity("3.5"), Source: "manual"}))
	run := f.run("2026-02")
	bill, lines := f.bill(run, account)
	require.Equal(t, billing.BillDraft, bill.State, bill.HoldReason)
	require.Equal(t, taken, bill.Quantity, "what was taken, all of it")
	want, err := billing.Charge(billing.Power.Quantity(taken), billing.MustPrice("0.538"), billing.Factor{})
	require.NoError(t, err)
	require.Equal(t, []int64{int64(want)}, lines)
	require.Equal(t, want, bill.TotalFen, "nothing is netted")
	reverse, err := bill.Reverse()
	require.NoError(t, err)
	require.Zero(t, reverse.Cmp(billing.Power.Quantity(given)), "%s kWh reported, %d counted", reverse, given)

	bill, _ = f.bill(run, other)
	reverse, err = bill.Reverse()
	require.NoError(t, err)
	require.Equal(t, "3.5", reverse.String(), "what a person has entered goes before what the meter shows")
}
