package activities_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

const serialVolume = "000000000004"

// volumeGrid is a grid whose fourth meter holds 5 m³; its account pays one flat price per m³.
func volumeGrid(t *testing.T, tariff billing.TariffID) (*grid, billing.AccountID) {
	g := newGrid(t)
	a, _ := g.Account(storetest.NewAccount{Service: billing.Water, Mode: billing.CreditMeter, Tariff: tariff, Serial: serialVolume, Unit: 4, Profile: "sim-volume-water"})
	flow, err := simulator.SeriesIDs(true)
	require.NoError(t, err)
	require.NoError(t, g.fleet.ExchangeMeter("G1", 4, simulator.MeterSpec{
		Serial: serialVolume, Profile: "sim-volume-water", LoadProfile: flow[0], OpeningRegisters: []int64{0}, CreditMode: true, RemainingLitres: 5000,
	}))
	return g, a
}

const flatWater = "bj-water-commercial"

func (g *grid) litres() int64 {
	g.t.Helper()
	state, err := g.fleet.MeterState(serialVolume)
	require.NoError(g.t, err)
	return state.RemainingLitres
}

// sets counts how often the meter's volume was written.
func (g *grid) sets() (n int) {
	g.t.Helper()
	entries, err := simulator.ReadRecord(g.dir)
	require.NoError(g.t, err)
	for _, e := range entries {
		if e.Kind == simulator.EntryVolume {
			n++
		}
	}
	return n
}

func (g *grid) creditedOnce() proof.Invariant {
	g.t.Helper()
	return g.asks(proof.CreditedOnce)
}

// asks gives what the proof finds of one invariant.
func (g *grid) asks(name string) proof.Invariant {
	g.t.Helper()
	entries, err := simulator.ReadRecord(g.dir)
	require.NoError(g.t, err)
	all, err := proof.Check(context.Background(), g.Pool, entries)
	require.NoError(g.t, err)
	for _, i := range all {
		if i.Name == name {
			return i
		}
	}
	g.t.Fatal("the invariant is gone")
	return proof.Invariant{}
}

func TestDelivery_volume(t *testing.T) {
	g, a := volumeGrid(t, flatWater)
	var bought, paid int64
	price := int64(600_000_000) // 6.00 yuan per m³
	for _, fen := range []billing.Money{5000, 3333, 777} {
		ref := g.approved(a, fen)
		run[activities.Settled](g, g.posting.PostRecharge, ref)
		s := run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
		require.Equal(t, billing.RechargeCredited, s.State)
		paid += int64(fen)
	}
	bought = g.litres() - 5000
	require.Equal(t, paid*1_000_000_000/price, bought, "what a purchase leaves over is in the next one")
	require.Equal(t, 3, g.sets())
	g.has(a, billing.Money(10_000+paid))
	i := g.creditedOnce()
	require.Zero(t, i.Violations, i.Details)
	g.intact()
}

func TestDelivery_volumeInDoubt(t *testing.T) {
	g, a := volumeGrid(t, flatWater)
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4, On: "read"})
	ref := g.approved(a, 6000)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	require.True(t, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).Later, "silent before sending: nothing is marked")
	g.heal(simulator.FaultSilent, 4)

	g.dies("command", "verified", func() { g.refuses(g.deliver.DeliverRecharge, ref) })
	require.Equal(t, int64(15_000), g.litres())
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4})
	doubt := run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
	require.Equal(t, billing.RechargeInDoubt, doubt.State)
	g.has(a, 10_000)
	g.heal(simulator.FaultSilent, 4)
	no := activities.SettleInDoubt{RechargeID: ref.RechargeID, By: "sup1", Reason: "I think not"}
	require.Contains(t, g.refuses(g.deliver.SettleInDoubt, no), "the credit arrived (15000 litres left)")
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
	require.Equal(t, 1, g.sets(), "never a second write")
	g.has(a, 16_000)
	require.Zero(t, g.creditedOnce().Violations)

	// Planted: an order for other litres than the meter got, and a write that no order explains.
	_, err := g.Pool.Exec(context.Background(), `UPDATE commands SET volume_before = volume_before + 1, volume_target = volume_target + 1 WHERE volume_litres IS NOT NULL`)
	require.NoError(t, err)
	require.Equal(t, int64(2), g.creditedOnce().Violations)
}

// Somebody else wrote the meter since our last look: nothing is added; a person decides, and the next order begins from what was seen.
func TestDelivery_volumeWrittenByOthers(t *testing.T) {
	g, a := volumeGrid(t, flatWater)
	first := g.approved(a, 6000)
	run[activities.Settled](g, g.posting.PostRecharge, first)
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, first).State)
	_, err := g.Pool.Exec(context.Background(), `UPDATE commands SET volume_after = volume_after - 500 WHERE volume_litres IS NOT NULL`)
	require.NoError(t, err)
	ref := g.approved(a, 1200)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	require.Equal(t, billing.RechargeInDoubt, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
	require.Equal(t, 1, g.sets())
	again := activities.SettleInDoubt{RechargeID: ref.RechargeID, By: "sup1", Reason: "the maker's technician tested it"}
	require.Equal(t, billing.RechargeDelivering, run[activities.Settled](g, g.deliver.SettleInDoubt, again).State)
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
	require.Equal(t, int64(17_000), g.litres())
}

func TestEnterRecharge_volumeNeedsOnePrice(t *testing.T) {
	g, a := volumeGrid(t, "bj-water-residential")
	in := activities.EnterRecharge{RechargeID: "R1", Account: a, Amount: 5000, Channel: "cash", Key: "k1", By: "clerk1"}
	require.Contains(t, g.refuses(g.posting.EnterRecharge, in), "Give the account a tariff with one flat price")
	g, a = volumeGrid(t, flatWater)
	in.Account, in.Amount = a, 5
	require.Contains(t, g.refuses(g.posting.EnterRecharge, in), "0.05 yuan buys 8 litres, and a meter takes 10 at least")
}

// Whatever is paid in whatever parts, all parts together buy what the sum is worth, to less than a litre.
func TestLitresFor(t *testing.T) {
	for _, price := range []int64{950_000_000, 333_333_333, 1, 100_000_000_000} {
		var paid billing.Money
		var bought int64
		for _, fen := range []billing.Money{1, 99, 5000, 3333, 1, 777, 123_456} {
			litres := store.LitresFor(paid, bought, fen, price)
			require.GreaterOrEqual(t, litres, int64(0))
			paid, bought = paid+fen, bought+litres
			left := int64(paid)*1_000_000_000 - bought*price
			require.True(t, left >= 0 && left < price, "%d left of %d", left, price)
		}
	}
}
