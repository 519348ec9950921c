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

// live reads, validates and charges a day, and gives the cases about the priced meter's credit.
func (p *priced) live(m *activities.Metering, r *activities.Rating, day string) (drifts []string) {
	p.t.Helper()
	p.setNow(billing.MustDate(day).At(0, 5, storetest.Zone))
	id := billing.CycleID("park/" + day)
	run[activities.CyclePlan](p.grid, m.PlanCycle, activities.CycleStart{CycleID: id, Site: "park", Day: billing.MustDate(day)})
	for _, g := range run[[]billing.GatewayID](p.grid, m.StartPass, activities.StartPass{CycleID: id, Pass: 1}) {
		run[activities.SweptGateway](p.grid, m.SweepGateways, activities.SweepGateways{CycleID: id, Gateways: []billing.GatewayID{g}, Pass: 1})
	}
	found := run[activities.Validated](p.grid, m.ValidateCycle, activities.CycleRef{CycleID: id})
	run[any](p.grid, m.CloseCycle, activities.CycleRef{CycleID: id})
	in := activities.ChargeCycle{CycleID: id}
	run[activities.ChargeOpened](p.grid, r.OpenCharge, in)
	run[activities.Charged](p.grid, r.ChargeAccounts, in)
	run[activities.LowTaken](p.grid, r.TakeLowList, in)
	run[any](p.grid, r.CloseCharge, in)
	for _, c := range found.Cases {
		k, _, err := p.Case(context.Background(), c)
		require.NoError(p.t, err)
		if k.Kind == "credit_drift" && k.Account != nil && *k.Account == p.other || k.Kind == "credit_drift" && k.Meter != nil && *k.Meter == "M0004" {
			drifts = append(drifts, string(c))
		}
	}
	return drifts
}

// newLagging is a priced grid whose other meter uses enough for a difference of prices to show.
func newLagging(t *testing.T) (*priced, *activities.Metering, *activities.Rating) {
	p := newPriced(t)
	power, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	require.NoError(t, p.fleet.ExchangeMeter("G1", 4, simulator.MeterSpec{Unit: 4, Serial: serialLagging, Profile: "sim-ddsy1352", LoadProfile: power[2], ScalePermille: 3_000, CreditMode: true,
		RemainingFen: 10_000, PricesE8: [5]int64{50_000_000, 50_000_000, 50_000_000, 50_000_000, 50_000_000}, OpeningRegisters: make([]int64, 6)}))
	_, err = p.Store.Pool.Exec(context.Background(), `UPDATE meters SET serial = $1 WHERE serial = $2`, serialLagging, serialOther)
	require.NoError(t, err)
	m, r := &activities.Metering{Store: p.Store, Pool: p.tariffs.Pool}, &activities.Rating{Store: p.Store}
	p.env.RegisterActivity(m)
	p.env.RegisterActivity(r)
	return p, m, r
}

const serialLagging = "000000000044"

func (p *priced) state() simulator.State {
	p.t.Helper()
	state, err := p.fleet.MeterState(serialLagging)
	require.NoError(p.t, err)
	return state
}

// Prices that never got into the meter and were overtaken are owed until those of the next push are in it, and not a unit longer; also when
// these are what it held all the time.
func TestTariffs_overtakenPricesAreNoDrift(t *testing.T) {
	for name, next := range map[string][]string{"other prices": dearer, "the former prices again": {"0.5", "0.5", "0.5", "0.5", "0.5"}} {
		t.Run(name, func(t *testing.T) {
			p, m, r := newLagging(t)
			first, second := p.published(bandsAt("2026-01-15", "2.4", "2.4", "2.4", "2.4", "2.4")), p.published(bandsAt("2026-01-16", next...))
			require.Empty(t, p.live(m, r, "2026-01-13"))
			require.Empty(t, p.live(m, r, "2026-01-14"))
			p.setNow(billing.MustDate("2026-01-15").Start(storetest.Zone))
			run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, first)
			require.Empty(t, p.live(m, r, "2026-01-15"))
			p.setNow(billing.MustDate("2026-01-16").Start(storetest.Zone))
			run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, second)
			require.Empty(t, p.live(m, r, "2026-01-16"))
			p.setNow(p.now.Add(10 * time.Hour))
			require.Zero(t, p.round(second).Left)
			require.Zero(t, p.round(first).Left)
			require.Equal(t, billing.PushOvertaken, p.push(first).State)
			for _, day := range []string{"2026-01-17", "2026-01-18", "2026-01-19", "2026-01-20"} {
				require.Empty(t, p.live(m, r, day), day)
			}
			var balance int64
			require.NoError(t, p.Store.Pool.QueryRow(context.Background(), `SELECT balance_fen FROM balances WHERE account_id = $1`, p.other).Scan(&balance))
			require.Greater(t, p.state().RemainingFen-balance, int64(200), "or this test proves nothing")
		})
	}
}

// Prices that left for the meter and were never proved, until others came: when those are about to be written, the meter's own prices say whether the former
// had arrived. From then on its credit is checked again, to the fen in both cases.
func TestTariffs_doubtEndsWithTheNextPrices(t *testing.T) {
	for name, arrives := range map[string]bool{"arrived": true, "lost": false} {
		t.Run(name, func(t *testing.T) {
			p, m, r := newLagging(t)
			silent := simulator.Fault{Kind: simulator.FaultSilent, Unit: 4}
			if !arrives {
				p.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4, On: "write", Times: 1})
			}
			p.tariffs.Pool.OnPoint = func(point string) {
				if point == devices.PointPricesSent && p.now.Day() == 15 {
					p.fault(silent)
				}
			}
			first, second := p.published(bandsAt("2026-01-15", "2.4", "2.4", "2.4", "2.4", "2.4")), p.published(bandsAt("2026-01-16", dearer...))
			require.Empty(t, p.live(m, r, "2026-01-13"))
			require.Empty(t, p.live(m, r, "2026-01-14"))
			p.setNow(billing.MustDate("2026-01-15").Start(storetest.Zone))
			run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, first)
			require.Empty(t, p.live(m, r, "2026-01-15"))
			p.setNow(p.now.Add(10 * time.Hour))
			require.Equal(t, 1, p.round(first).Left)
			require.NotNil(t, p.push(first).Registers)
			p.heal(simulator.FaultSilent, 4)
			p.setNow(billing.MustDate("2026-01-16").Start(storetest.Zone))
			run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, second)
			require.Empty(t, p.live(m, r, "2026-01-16"))
			p.setNow(p.now.Add(10 * time.Hour))
			require.Zero(t, p.round(second).Left)
			require.Zero(t, p.round(first).Left)
			require.Equal(t, billing.PushOvertaken, p.push(first).State)
			require.Equal(t, arrives, *p.push(first).Arrived)
			for _, day := range []string{"2026-01-17", "2026-01-18"} {
				require.Empty(t, p.live(m, r, day), day)
			}
			p.sql(`UPDATE tariff_pushes SET old_prices = prices`)
			require.Len(t, p.live(m, r, "2026-01-19"), 1, "what nothing explains is found")
		})
	}
}

// The meter gets its new prices a day and a half late. It has deducted by the old ones until then, which is known to the fen and is no
// drift: on no day is there a doubt about its credit, while it really differs from the books by several yuan.
func TestTariffs_latePricesAreNoDrift(t *testing.T) {
	p, m, r := newLagging(t)
	ref := p.published(bandsAt("2026-01-15", dearer...))
	require.Empty(t, p.live(m, r, "2026-01-13"))
	require.Empty(t, p.live(m, r, "2026-01-14"))
	p.setNow(billing.MustDate("2026-01-15").Start(storetest.Zone))
	run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, ref)
	require.Empty(t, p.live(m, r, "2026-01-15"))
	require.Empty(t, p.live(m, r, "2026-01-16"), "the meter still deducts by its old prices, as we know")
	p.setNow(p.now.Add(10 * time.Hour))
	require.Zero(t, p.round(ref).Left)
	require.Empty(t, p.live(m, r, "2026-01-17"), "and from then on by the new ones")
	require.Empty(t, p.live(m, r, "2026-01-18"))

	var balance int64
	require.NoError(t, p.Store.Pool.QueryRow(context.Background(), `SELECT balance_fen FROM balances WHERE account_id = $1`, p.other).Scan(&balance))
	require.Greater(t, p.state().RemainingFen-balance, int64(200), "or this test proves nothing")

	// What nothing explains is still found.
	p.sql(`UPDATE tariff_pushes SET old_prices = prices`)
	require.Len(t, p.live(m, r, "2026-01-19"), 1)
}
