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
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// priced is a grid whose two credit meters, M of units 1 and 4, hang on a tariff of their own, with an administrator.
type priced struct {
	*grid
	tariffs activities.Tariffs
	other   billing.AccountID
}

const serialOther = "000000000004"

// bandsAt is a version of five band prices.
func bandsAt(from string, prices ...string) billing.TariffVersion {
	c := billing.Component{Key: "energy", Name: billing.Names{ZH: "电度电费", EN: "Energy"}, Kind: billing.KindBands}
	for i, p := range prices {
		price := billing.MustPrice(p)
		c.Bands = append(c.Bands, billing.BandPrice{Register: billing.Bands[i], Price: &price})
	}
	return billing.TariffVersion{From: billing.MustDate(from), Components: []billing.Component{c}}
}

func newPriced(t *testing.T) *priced {
	t.Helper()
	g := newGrid(t)
	ctx := context.Background()
	p := &priced{grid: g}
	tariff := billing.Tariff{ID: "meter-tou", Name: billing.Names{ZH: "表内", EN: "In the meter"}, Service: billing.Power,
		Versions: []billing.TariffVersion{bandsAt("2026-01-01", "0.5", "0.5", "0.5", "0.5", "0.5")}}
	require.NoError(t, g.AddTariff(ctx, storetest.By, tariff))
	require.NoError(t, g.AddUser(ctx, storetest.By, store.User{ID: "admin", Name: "admin", Role: billing.RoleAdministrator, Active: true, Sites: []billing.SiteID{g.Site}}, "none"))
	p.other, _ = g.Account(storetest.NewAccount{Mode: billing.CreditMeter, Tariff: tariff.ID, Serial: serialOther, Unit: 4})
	power, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	require.NoError(t, g.fleet.ExchangeMeter("G1", 4, simulator.MeterSpec{Unit: 4, Serial: serialOther, Profile: "sim-ddsy1352", LoadProfile: power[2], ScalePermille: 20_000, CreditMode: true,
		RemainingFen: 10_000, PricesE8: [5]int64{50_000_000, 50_000_000, 50_000_000, 50_000_000, 50_000_000}, OpeningRegisters: make([]int64, 6)}))
	pool := devices.NewPool(devices.Config{Timeout: 300 * time.Millisecond, ReadRetries: -1})
	t.Cleanup(pool.Shutdown)
	p.tariffs = activities.Tariffs{Store: g.Store, Pool: pool}
	g.env.RegisterActivity(&p.tariffs)
	return p
}

func (p *priced) draft(v billing.TariffVersion) billing.TariffChangeID {
	p.t.Helper()
	ctx := context.Background()
	id, err := p.NextTariffChangeID(ctx)
	require.NoError(p.t, err)
	tariff, err := p.Tariff(ctx, "meter-tou")
	require.NoError(p.t, err)
	tariff.Versions = []billing.TariffVersion{v}
	run[activities.TariffFacts](p.grid, p.tariffs.EditTariff, activities.EditTariff{Change: id, By: "admin", Why: "notice", File: tariff})
	return id
}

// published brings a change through simulation and two approvals.
func (p *priced) published(v billing.TariffVersion) activities.TariffRef {
	p.t.Helper()
	id := p.draft(v)
	ref := run[activities.SimulationRef](p.grid, p.tariffs.OpenSimulation, activities.OpenSimulation{Change: id, By: "admin"})
	run[any](p.grid, p.tariffs.SimulateTariff, ref)
	run[activities.TariffFacts](p.grid, p.tariffs.SubmitTariff, activities.TariffDecision{Change: id, By: "admin", Revision: 1})
	for i, by := range []billing.UserID{"sup1", "boss"} {
		run[activities.TariffFacts](p.grid, p.tariffs.ApproveTariff, activities.TariffDecision{Change: id, By: by, Revision: 1, Number: i + 1})
	}
	return activities.TariffRef{Change: id}
}

// round makes one round of tries at all gateways and gives what is left.
func (p *priced) round(ref activities.TariffRef) activities.PushRest {
	p.t.Helper()
	r := run[activities.PushRound](p.grid, p.tariffs.PlanPushRound, ref)
	for _, g := range r.Gateways {
		run[activities.PushedPrices](p.grid, p.tariffs.PushPrices, activities.PushPrices{Change: ref.Change, Gateway: g, Round: r.Round})
	}
	return run[activities.PushRest](p.grid, p.tariffs.ClosePushRound, activities.PushPrices{Change: ref.Change, Round: r.Round})
}

func (p *priced) push(ref activities.TariffRef) store.TariffPush {
	p.t.Helper()
	rows, err := p.Pushes(context.Background(), ref.Change, "", 10, 0)
	require.NoError(p.t, err)
	require.Len(p.t, rows, 1)
	return rows[0]
}

var dearer = []string{"1.428", "1.19", "0.7", "0.245", "0.196"}

var dearerE8 = [5]int64{142_800_000, 119_000_000, 70_000_000, 24_500_000, 19_600_000}

func (p *priced) held() [5]int64 {
	p.t.Helper()
	state, err := p.fleet.MeterState(serialOther)
	require.NoError(p.t, err)
	return state.PricesE8
}

func TestTariffs_pricesReachTheMeterOnTheFirstDay(t *testing.T) {
	p := newPriced(t)
	ref := p.published(bandsAt("2026-01-15", dearer...))
	begun := run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, ref)
	require.Equal(t, billing.MustDate("2026-01-15").Start(storetest.Zone), begun.Next.In(storetest.Zone))
	require.False(t, begun.Meters)
	p.setNow(begun.Next)
	for range 2 {
		begun = run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, ref)
		require.True(t, begun.Meters)
		require.True(t, begun.Next.IsZero())
		require.Equal(t, billing.TariffInForce, begun.Facts.State)
	}
	require.NotEqual(t, dearerE8, p.held())
	require.Zero(t, p.round(ref).Left)
	require.Equal(t, dearerE8, p.held())
	got := p.push(ref)
	require.Equal(t, billing.PushVerified, got.State)
	require.NotNil(t, got.Registers)
	require.NotEqual(t, "[]", string(got.Frames), "the frames are evidence")
	require.Zero(t, p.round(ref).Left, "a round more has nothing to do")
	p.intactTariffs()
}

// The answer is lost, the meter repeats the write, the process dies right after sending: the meter holds the prices once, and what it
// showed before the first write is kept.
func TestTariffs_pushUnderFaults(t *testing.T) {
	for name, fault := range map[string]simulator.FaultKind{"lost reply": simulator.FaultLostReply, "repeated write": simulator.FaultRepeatWrite} {
		t.Run(name, func(t *testing.T) {
			p := newPriced(t)
			ref := p.published(bandsAt("2026-01-15", dearer...))
			p.setNow(billing.MustDate("2026-01-15").Start(storetest.Zone))
			run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, ref)
			p.fault(simulator.Fault{Kind: fault, Unit: 4, Times: 1})
			require.Zero(t, p.round(ref).Left)
			require.Equal(t, dearerE8, p.held())
			p.intactTariffs()
		})
	}
	t.Run("dies after sending", func(t *testing.T) {
		p := newPriced(t)
		ref := p.published(bandsAt("2026-01-15", dearer...))
		p.setNow(billing.MustDate("2026-01-15").Start(storetest.Zone))
		run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, ref)
		in := activities.PushPrices{Change: ref.Change, Gateway: "G1", Round: 1}
		p.dies("price_push", "price_push_verified", func() { require.Contains(t, p.refuses(p.tariffs.PushPrices, in), "the process died here") })
		first := p.push(ref)
		require.Equal(t, billing.PushSending, first.State)
		require.Equal(t, dearerE8, p.held(), "it had arrived")
		p.setNow(p.now.Add(6 * time.Hour))
		run[activities.PushedPrices](p.grid, p.tariffs.PushPrices, in)
		second := p.push(ref)
		require.Equal(t, billing.PushVerified, second.State)
		require.Equal(t, first.Registers, second.Registers, "up to there it deducted by the old prices")
		p.intactTariffs()
	})
}

// A silent meter is tried again; after three rounds a person is told, once; the proof closes the case.
func TestTariffs_silentMeterBecomesACase(t *testing.T) {
	p := newPriced(t)
	ref := p.published(bandsAt("2026-01-15", dearer...))
	p.setNow(billing.MustDate("2026-01-15").Start(storetest.Zone))
	run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, ref)
	p.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4})
	var rest activities.PushRest
	for n := 1; n <= 4; n++ {
		rest = p.round(ref)
		require.Equal(t, 1, rest.Left)
		require.Positive(t, rest.Pause)
		require.Len(t, rest.Cases, map[bool]int{true: 1}[n >= 3])
	}
	got := p.push(ref)
	require.Equal(t, billing.PushFailed, got.State)
	require.Nil(t, got.Registers, "nothing left for it")
	require.Equal(t, rest.Cases[0], *got.Case)
	c, _, err := p.Case(context.Background(), rest.Cases[0])
	require.NoError(t, err)
	require.Equal(t, store.KindPricesNotSet, c.Kind)
	p.heal(simulator.FaultSilent, 4)
	require.Zero(t, p.round(ref).Left)
	c, _, err = p.Case(context.Background(), rest.Cases[0])
	require.NoError(t, err)
	require.Equal(t, billing.CaseResolved, c.State)
	p.intactTariffs()
}

// A meter that was dead when prices came in force gets those of today when it is back, and never the former ones: not by the rounds that go on,
// not by a person's wish, and not by a write that was on its way when the day ended.
func TestTariffs_formerPricesNeverComeBack(t *testing.T) {
	p := newPriced(t)
	ctx := context.Background()
	dead := func(ref activities.TariffRef, day string) {
		p.setNow(billing.MustDate(day).Start(storetest.Zone))
		run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, ref)
		p.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4})
		for range 3 {
			require.Equal(t, 1, p.round(ref).Left)
		}
	}
	first := p.published(bandsAt("2026-01-15", "0.6", "0.6", "0.6", "0.6", "0.6"))
	dead(first, "2026-01-15")
	second := p.published(bandsAt("2026-01-20", dearer...))
	facts := func() store.BatchFacts {
		f, err := p.BatchFacts(ctx, store.BatchScope{Site: "park", Meters: []billing.MeterID{p.push(first).Meter}}, 10)
		require.NoError(t, err)
		return f[0]
	}
	require.True(t, facts().PricePush)
	p.setNow(billing.MustDate("2026-01-20").Start(storetest.Zone))
	require.False(t, facts().PricePush, "nothing of the former prices keeps a batch with today's back")
	p.heal(simulator.FaultSilent, 4)
	begun := run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, second)
	require.True(t, begun.Meters)
	require.True(t, facts().PricePush)
	require.Zero(t, p.round(second).Left)
	require.Equal(t, dearerE8, p.held())

	// The last word, of a write that was judged before midnight.
	err := p.MarkPushSending(ctx, byTest, p.push(first).ID, regs(0), time.Now())
	require.Equal(t, billing.CodeStale, billing.CodeOf(err))

	run[any](p.grid, p.tariffs.AskPush, activities.AskPush{Change: first.Change, By: "sup1"})
	require.Zero(t, p.round(first).Left)
	require.Equal(t, dearerE8, p.held(), "the meter goes on with today's prices")
	got := p.push(first)
	require.Equal(t, billing.PushOvertaken, got.State)
	require.Nil(t, got.Registers)
	require.NotNil(t, got.SettledAt)
	require.Equal(t, billing.PushVerified, p.push(second).State)
	c, _, err := p.Case(ctx, *got.Case)
	require.NoError(t, err)
	require.Equal(t, billing.CaseResolved, c.State)
	require.Contains(t, p.refuses(p.tariffs.AskPush, activities.AskPush{Change: first.Change, By: "sup1"}), "no meter waits for these prices")
	begun = run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, first)
	require.False(t, begun.Meters)
	p.intactTariffs()
}

// The meter stays silent: its former prices are overtaken all the same. An account that has another tariff by now gets none of the old one's.
func TestTariffs_overtakenWithoutAnAnswer(t *testing.T) {
	for name, spoil := range map[string]string{
		"other terms": `UPDATE account_terms SET tariff_id = 'zj-residential' WHERE tariff_id = 'meter-tou'`,
		"taken off":   `DELETE FROM fittings WHERE meter_id = 'M0004'`,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPriced(t)
			ref := p.published(bandsAt("2026-01-15", dearer...))
			p.setNow(billing.MustDate("2026-01-15").Start(storetest.Zone))
			run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, ref)
			p.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4})
			require.Equal(t, 1, p.round(ref).Left)
			p.sql(`SET session_replication_role = replica; ` + spoil + `; RESET session_replication_role`)
			require.Zero(t, p.round(ref).Left)
			require.Equal(t, billing.PushOvertaken, p.push(ref).State)
			require.NotEqual(t, dearerE8, p.held())
		})
	}
}

// A correction of the version in force pushes nothing, so the change that began its day is what a meter that was silent is still owed.
func TestTariffs_correctedPricesStillStand(t *testing.T) {
	p := newPriced(t)
	ref := p.published(bandsAt("2026-01-15", dearer...))
	p.setNow(billing.MustDate("2026-01-15").Start(storetest.Zone))
	run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, ref)
	p.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4})
	require.Equal(t, 1, p.round(ref).Left)
	p.sql(`SET session_replication_role = replica; INSERT INTO tariff_versions (tariff_id, from_day, number, version, published_at, correction_id)
		SELECT tariff_id, from_day, number + 1, version, published_at, 'K1' FROM tariff_versions WHERE change_id IS NOT NULL; RESET session_replication_role`)
	require.Equal(t, 1, p.round(ref).Left)
	p.heal(simulator.FaultSilent, 4)
	require.Zero(t, p.round(ref).Left)
	require.Equal(t, billing.PushVerified, p.push(ref).State)
	require.Equal(t, dearerE8, p.held())
}

// Another meter at the address gets no prices.
func TestTariffs_wrongMeterIsNotWrittenTo(t *testing.T) {
	p := newPriced(t)
	ref := p.published(bandsAt("2026-01-15", dearer...))
	p.setNow(billing.MustDate("2026-01-15").Start(storetest.Zone))
	run[activities.TariffBegun](p.grid, p.tariffs.BeginTariff, ref)
	_, err := p.Store.Pool.Exec(context.Background(), `UPDATE meters SET unit = 2, state = 'removed' WHERE serial = $1`, serialOther)
	require.NoError(t, err)
	require.Equal(t, 1, p.round(ref).Left)
	require.Contains(t, p.push(ref).Error, "another meter answers")
	require.Nil(t, p.push(ref).Registers)
}

func TestTariffs_refusesWhatAMeterCantHold(t *testing.T) {
	p := newPriced(t)
	steps := bandsAt("2026-01-15", dearer...)
	zero, edge := billing.MustPrice("0.05"), billing.MustQuantity("2760")
	steps.Components = append(steps.Components, billing.Component{Key: "step", Name: billing.Names{ZH: "阶梯", EN: "Step"}, Kind: billing.KindSteps, Accumulate: billing.PerYear,
		Tiers: []billing.Tier{{UpTo: &edge, Price: &zero}, {Price: &zero}}})
	for says, v := range map[string]billing.TariffVersion{
		"component step is of the kind steps": steps,
		"with 4 decimals":                     bandsAt("2026-01-15", "0.50001", "0.5", "0.5", "0.5", "0.5"),
		"above the 500 fen":                   bandsAt("2026-01-15", "5.01", "0.5", "0.5", "0.5", "0.5"),
	} {
		id := p.draft(v)
		ref := run[activities.SimulationRef](p.grid, p.tariffs.OpenSimulation, activities.OpenSimulation{Change: id, By: "admin"})
		run[any](p.grid, p.tariffs.SimulateTariff, ref)
		require.Contains(t, p.refuses(p.tariffs.SubmitTariff, activities.TariffDecision{Change: id, By: "admin", Revision: 1}), says)
		run[activities.TariffFacts](p.grid, p.tariffs.WithdrawTariff, activities.TariffDecision{Change: id, By: "admin", Reason: "refused"})
	}
	id := p.draft(bandsAt("2026-01-15", dearer...))
	require.Contains(t, p.refuses(p.tariffs.EditTariff, activities.EditTariff{Change: id, By: "sup1", Revision: 1}), "Your role may not draft prices")
	require.Contains(t, p.refuses(p.tariffs.ApproveTariff, activities.TariffDecision{Change: id, By: "clerk1", Revision: 1, Number: 1}), "Your role may not approve")
}

// intactTariffs holds the states of changes and pushes against the journal.
func (p *priced) intactTariffs() {
	p.t.Helper()
	_, _, first, err := p.VerifyJournal(context.Background())
	require.NoError(p.t, err)
	require.Nil(p.t, first)
	for kind, table := range map[string]string{"tariff_change": "tariff_changes", "price_push": "tariff_pushes", "case": "cases"} {
		var wrong []string
		err := p.Store.Pool.QueryRow(context.Background(), `SELECT array_agg(t.id) FROM `+table+` t WHERE t.state IS DISTINCT FROM
			(SELECT to_state FROM journal j WHERE j.chain = $1 || '/' || t.id ORDER BY seq DESC LIMIT 1)`, kind).Scan(&wrong)
		require.NoError(p.t, err)
		require.Empty(p.t, wrong, "%s whose last journal row tells another state", table)
	}
}
