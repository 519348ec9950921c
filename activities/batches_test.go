package activities_test

import (
	"context"
	"strconv"
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

// many is a grid with the activities of batches. Unit 4 is a credit meter on a tariff of bands.
type many struct {
	*priced
	batches activities.Batches
}

func newMany(t *testing.T) *many {
	t.Helper()
	g := &many{priced: newPriced(t)}
	pool := devices.NewPool(devices.Config{Timeout: 300 * time.Millisecond, ReadRetries: -1, SwitchLimit: 300 * time.Millisecond, SwitchPoll: 20 * time.Millisecond,
		Allowed: func(ctx context.Context, m devices.Meter, mapVersion int) error {
			return g.CommandsAllowed(ctx, m.Serial, m.Profile, mapVersion)
		}})
	t.Cleanup(pool.Shutdown)
	g.batches = activities.Batches{Store: g.Store, Pool: pool}
	g.env.RegisterActivity(&g.batches)
	return g
}

func (g *many) meter(account billing.AccountID) billing.MeterID {
	g.t.Helper()
	var id billing.MeterID
	require.NoError(g.t, g.Pool.QueryRow(context.Background(), `SELECT f.meter_id FROM fittings f JOIN accounts a USING (service_point_id) WHERE a.id = $1 AND f.to_at IS NULL`, account).Scan(&id))
	return id
}

func (g *many) wish(kind billing.BatchKind, action billing.BatchAction, accounts ...billing.AccountID) activities.PlanBatch {
	g.t.Helper()
	id, err := g.NextBatchID(context.Background())
	require.NoError(g.t, err)
	p := activities.PlanBatch{BatchID: id, By: "sup1", Site: "park", Kind: kind, Action: action, Reason: "after the storm"}
	for _, a := range accounts {
		p.Meters = append(p.Meters, g.meter(a))
	}
	return p
}

// started plans a batch and starts it, by a second person where that is due.
func (g *many) started(p activities.PlanBatch) billing.BatchID {
	g.t.Helper()
	run[activities.BatchStatus](g.grid, g.batches.PlanBatch, p)
	s := run[activities.BatchStatus](g.grid, g.batches.StartBatch, activities.DecideBatch{BatchID: p.BatchID, By: "boss"})
	require.Equal(g.t, billing.BatchRunning, s.State)
	return p.BatchID
}

// worked works on all members and ends the batch.
func (g *many) worked(id billing.BatchID) map[billing.MeterID]store.BatchMemberRow {
	g.t.Helper()
	for _, m := range run[[]activities.BatchMemberRef](g.grid, g.batches.PendingMembers, activities.BatchRef{BatchID: id}) {
		run[activities.BatchMemberDone](g.grid, g.batches.WorkMember, m)
	}
	run[activities.BatchStatus](g.grid, g.batches.FinishBatch, activities.BatchRef{BatchID: id})
	return g.members(id)
}

func (g *many) members(id billing.BatchID) map[billing.MeterID]store.BatchMemberRow {
	g.t.Helper()
	rows, _, err := g.BatchMembers(context.Background(), id, "", 100, 0)
	require.NoError(g.t, err)
	by := map[billing.MeterID]store.BatchMemberRow{}
	for _, m := range rows {
		by[m.Meter] = m
	}
	return by
}

func (g *many) command(m store.BatchMemberRow) store.Command {
	g.t.Helper()
	require.NotNil(g.t, m.Command)
	c, err := g.Command(context.Background(), *m.Command)
	require.NoError(g.t, err)
	return c
}

func (g *many) told() {
	g.t.Helper()
	g.intact()
	var wrong []string
	require.NoError(g.t, g.Pool.QueryRow(context.Background(), `SELECT array_agg(b.id) FROM batches b WHERE b.state IS DISTINCT FROM
		(SELECT to_state FROM journal j WHERE j.chain = 'batch/' || b.id ORDER BY seq DESC LIMIT 1)`).Scan(&wrong))
	require.Empty(g.t, wrong)
}

func (g *many) counts(sql string) (n int) {
	g.t.Helper()
	require.NoError(g.t, g.Pool.QueryRow(context.Background(), sql).Scan(&n))
	return n
}

// skewed stores a reading in which a clock showed seconds of skew, and lets the real one be as far off.
func (g *many) skewed(account billing.AccountID, seconds int) {
	g.t.Helper()
	ctx := context.Background()
	midnight := billing.DateOf(g.now, storetest.Zone).Start(storetest.Zone)
	_, err := g.Pool.Exec(ctx, `SELECT ensure_reading_partition($1)`, midnight)
	require.NoError(g.t, err)
	_, err = g.Pool.Exec(ctx, `INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, supply, clock_skew_s, recorded_by)
		VALUES ($1, $2, 1, $2, now(), 'actual', '{0}', 'on', $3, 'workflow')`, g.meter(account), midnight, seconds)
	require.NoError(g.t, err)
	g.clockOff(seconds)
}

// clockOff puts our clock back, which is as if the meters' were ahead.
func (g *many) clockOff(seconds int) {
	storetest.SetClock(g.t, g.Store, g.now.Add(-time.Duration(seconds)*time.Second))
}

func (g *many) clockSets() (n int) {
	g.t.Helper()
	entries, err := simulator.ReadRecord(g.dir)
	require.NoError(g.t, err)
	for _, e := range entries {
		if e.Kind == simulator.EntryClock {
			n++
		}
	}
	return n
}

func TestBatch_refusesBadInput(t *testing.T) {
	g := newMany(t)
	ctx := context.Background()
	_, err := g.Pool.Exec(ctx, `INSERT INTO sites (id, name_zh, name_en) VALUES ('plaza', 'x', 'x'); INSERT INTO gateways (id, site_id, name, address) VALUES ('GX', 'plaza', 'GX', '127.0.0.1:9');
		INSERT INTO meters (id, site_id, gateway_id, unit, serial, profile, service, digits, capacity_per_hour) VALUES ('MX', 'plaza', 'GX', 1, '000000000099', 'sim-ddsy1352', 'power', 8, 2200)`)
	require.NoError(t, err)
	for says, spoil := range map[string]func(*activities.PlanBatch){
		"meter MX is not one of the fitted meters of site park": func(p *activities.PlanBatch) { p.Meters = append(p.Meters, "MX") },
		"meter M77 is not one of the fitted meters":             func(p *activities.PlanBatch) { p.Meters = append(p.Meters, "M77") },
		"never takes supply away":                               func(p *activities.PlanBatch) { p.Action = "trip" },
		`can't order "release"`:                                 func(p *activities.PlanBatch) { p.Kind, p.Action = billing.BatchValve, billing.BatchRelease },
		`kind "fan" is unknown`:                                 func(p *activities.PlanBatch) { p.Kind = "fan" },
		"say why":                                               func(p *activities.PlanBatch) { p.Reason = " " },
		"from 1 to 600":                                         func(p *activities.PlanBatch) { p.Rate = 601 },
		"no meter fits":                                         func(p *activities.PlanBatch) { p.Meters, p.Address = nil, "no such street" },
		"may not order work on many meters":                     func(p *activities.PlanBatch) { p.By = "clerk1" },
		"You do not work for site plaza":                        func(p *activities.PlanBatch) { p.Site = "plaza" },
	} {
		p := g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain)
		spoil(&p)
		require.Contains(t, g.refuses(g.batches.PlanBatch, p), says)
	}
	require.Zero(t, g.counts(`SELECT count(*) FROM batches`))
	require.Zero(t, g.counts(`SELECT count(*) FROM commands`))
}

// Prices that are above the site's ceiling are refused with the whole batch, and, when the ceiling comes later, with the meter.
func TestBatch_pricesAboveTheCeiling(t *testing.T) {
	g := newMany(t)
	ctx := context.Background()
	lower := func(price string) {
		p := billing.MustPrice(price)
		require.NoError(t, g.SetPriceCeiling(ctx, store.By{Actor: "boss"}, store.PriceCeiling{Site: "park", Service: billing.Power, From: billing.DateOf(g.now, storetest.Zone), Price: &p, Reason: "notice", SetBy: "boss"}))
	}
	id := g.started(g.wish(billing.BatchPrice, "", g.other))
	lower("0.45")
	require.Contains(t, g.refuses(g.batches.PlanBatch, g.wish(billing.BatchPrice, "", g.other)), "above the ceiling of 0.45 yuan that site park has")
	got := g.worked(id)[g.meter(g.other)]
	require.Equal(t, billing.MemberSkipped, got.State)
	require.Equal(t, billing.SkipCeiling, got.Skip)
	require.Zero(t, g.counts(`SELECT count(*) FROM commands`), "nothing was sent")
	g.told()
}

// A meter that came with other prices gets those of its tariff, once, whatever the line does; the others are left alone and say why.
func TestBatch_pricesReachTheMeters(t *testing.T) {
	for name, fault := range map[string]simulator.FaultKind{"plain": "", "lost reply": simulator.FaultLostReply, "repeated write": simulator.FaultRepeatWrite} {
		t.Run(name, func(t *testing.T) {
			g := newMany(t)
			tariff, err := g.Tariff(context.Background(), "meter-tou")
			require.NoError(t, err)
			tariff.ID, tariff.Versions = "dearer", []billing.TariffVersion{bandsAt("2026-01-01", dearer...)}
			require.NoError(t, g.AddTariff(context.Background(), storetest.By, tariff))
			g.sql(`INSERT INTO account_terms (account_id, from_day, version, tariff_id, class, recorded_at, recorded_by, reason)
				SELECT account_id, from_day, 2, 'dearer', class, recorded_at, recorded_by, 'came so' FROM account_terms WHERE account_id = '` + string(g.other) + `'`)
			if fault != "" {
				g.fault(simulator.Fault{Kind: fault, Unit: 4, Times: 1})
			}
			got := g.worked(g.started(g.wish(billing.BatchPrice, "", g.other, g.plain, g.water, g.credit)))
			require.Equal(t, billing.SkipNoOwnCredit, got[g.meter(g.plain)].Skip)
			require.Equal(t, billing.SkipService, got[g.meter(g.water)].Skip)
			require.Equal(t, billing.SkipPrices, got[g.meter(g.credit)].Skip, "steps don't fit into a meter")
			m := got[g.meter(g.other)]
			require.Equal(t, billing.MemberVerified, m.State, m.Note)
			require.Equal(t, dearerE8, g.held())
			c := g.command(m)
			require.Equal(t, billing.CommandSetPrices, c.Kind)
			require.NotEmpty(t, c.RegistersBefore)
			require.NotEqual(t, "[]", string(c.Frames), "the frames are evidence")
			g.told()
		})
	}
}

// The process dies around the mark and the record: one command, whose repeat sets what stands already.
func TestBatch_pricesWhenTheProcessDies(t *testing.T) {
	for _, event := range []string{"requested", "sending", "verified"} {
		t.Run(event, func(t *testing.T) {
			g := newMany(t)
			power, err := simulator.SeriesIDs(false)
			require.NoError(t, err)
			require.NoError(t, g.fleet.ExchangeMeter("G1", 4, simulator.MeterSpec{Unit: 4, Serial: "000000000005", Profile: "sim-ddsy1352", LoadProfile: power[0], CreditMode: true,
				PricesE8: dearerE8, OpeningRegisters: make([]int64, 6)}), "a new meter came with other prices")
			g.sql(`UPDATE meters SET serial = '000000000005' WHERE serial = '` + serialOther + `'`)
			id := g.started(g.wish(billing.BatchPrice, "", g.other))
			ref := activities.BatchMemberRef{BatchID: id, Meter: g.meter(g.other), Gateway: "G1"}
			g.dies("command", event, func() { require.Contains(t, g.refuses(g.batches.WorkMember, ref), "the process died here") })
			got := g.worked(id)[g.meter(g.other)]
			require.Equal(t, billing.MemberVerified, got.State, got.Note)
			require.Equal(t, 1, g.counts(`SELECT count(*) FROM commands`))
			g.told()
		})
	}
}

// A clock is set once a day, within ten minutes, where bands are priced.
func TestBatch_clockOnceADay(t *testing.T) {
	g := newMany(t)
	g.skewed(g.other, 240)
	got := g.worked(g.started(g.wish(billing.BatchClock, "", g.other, g.plain)))
	require.Equal(t, billing.SkipBandsUnpriced, got[g.meter(g.plain)].Skip)
	m := got[g.meter(g.other)]
	require.Equal(t, billing.MemberVerified, m.State, m.Note)
	require.Equal(t, 240, *m.SkewBeforeS)
	require.Zero(t, *m.SkewAfterS)
	require.Equal(t, 1, g.clockSets())
	state, err := g.fleet.MeterState(serialOther)
	require.NoError(t, err)
	require.EqualValues(t, -240, state.ClockOffset)

	again := g.wish(billing.BatchClock, "", g.other)
	run[activities.BatchStatus](g.grid, g.batches.PlanBatch, again)
	require.Equal(t, billing.SkipSetToday, g.members(again.BatchID)[g.meter(g.other)].Skip)
	require.Contains(t, g.refuses(g.batches.StartBatch, activities.DecideBatch{BatchID: again.BatchID, By: "boss"}), "nothing to start")
	g.setNow(g.now.Add(24 * time.Hour))
	tomorrow := g.wish(billing.BatchClock, "", g.other)
	run[activities.BatchStatus](g.grid, g.batches.PlanBatch, tomorrow)
	require.Equal(t, billing.MemberPending, g.members(tomorrow.BatchID)[g.meter(g.other)].State)
	g.told()
}

func TestBatch_clockTooFarOff(t *testing.T) {
	g := newMany(t)
	g.skewed(g.other, 601)
	p := g.wish(billing.BatchClock, "", g.other)
	run[activities.BatchStatus](g.grid, g.batches.PlanBatch, p)
	require.Equal(t, billing.SkipClockTooFar, g.members(p.BatchID)[g.meter(g.other)].Skip)

	// The reading said little, the meter says more: it is asked before anything leaves.
	g = newMany(t)
	g.skewed(g.other, 60)
	g.clockOff(1200)
	got := g.worked(g.started(g.wish(billing.BatchClock, "", g.other)))[g.meter(g.other)]
	require.Equal(t, billing.SkipClockTooFar, got.Skip)
	require.Equal(t, billing.CommandCancelled, g.command(got).State)
	require.Zero(t, g.clockSets())
	g.told()
}

// The process dies right after the meter took the clock. Whoever takes over looks, and sets nothing a second time.
func TestBatch_clockIsNotSetTwiceAfterADeath(t *testing.T) {
	g := newMany(t)
	g.skewed(g.other, 240)
	id := g.started(g.wish(billing.BatchClock, "", g.other))
	ref := activities.BatchMemberRef{BatchID: id, Meter: g.meter(g.other), Gateway: "G1"}
	g.dies("command", "verified", func() { require.Contains(t, g.refuses(g.batches.WorkMember, ref), "the process died here") })
	require.Equal(t, 1, g.clockSets())
	got := g.worked(id)[g.meter(g.other)]
	require.Equal(t, billing.MemberVerified, got.State)
	require.Equal(t, 1, g.clockSets())
	require.Equal(t, 1, g.command(got).Attempts)

	// One whose meter doesn't answer then is in doubt, and counts as set today.
	g = newMany(t)
	g.skewed(g.other, 240)
	id = g.started(g.wish(billing.BatchClock, "", g.other))
	ref.BatchID, ref.Meter = id, g.meter(g.other)
	g.dies("command", "verified", func() { g.refuses(g.batches.WorkMember, ref) })
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4})
	got = g.worked(id)[g.meter(g.other)]
	require.Equal(t, billing.MemberUnknown, got.State)
	require.Contains(t, got.Note, "could not be read back")
	g.told()
}

// A silent meter is left alone: nothing was sent, and a later batch may try again.
func TestBatch_silentMeter(t *testing.T) {
	g := newMany(t)
	g.skewed(g.other, 240)
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4})
	got := g.worked(g.started(g.wish(billing.BatchClock, "", g.other)))[g.meter(g.other)]
	require.Equal(t, billing.SkipUnreached, got.Skip)
	require.Equal(t, billing.CommandCancelled, g.command(got).State)
	g.heal(simulator.FaultSilent, 4)
	got = g.worked(g.started(g.wish(billing.BatchClock, "", g.other)))[g.meter(g.other)]
	require.Equal(t, billing.MemberVerified, got.State, "what never left doesn't count as set today")
	g.told()
}

// The day's closed cycle brings its batch by itself, once, with the clocks that are to be set and no others.
func TestBatch_clocksFollowTheReadings(t *testing.T) {
	g := newMany(t)
	ctx := context.Background()
	g.skewed(g.other, 240)
	site, err := g.Store.Site(ctx, "park")
	require.NoError(t, err)
	dueNow := func() []activities.ClockBatch {
		due, err := activities.FindDue(ctx, g.Store, site, g.now)
		require.NoError(t, err)
		return due.Clocks
	}
	require.Empty(t, dueNow(), "the cycle isn't closed")
	day := billing.DateOf(g.now, storetest.Zone)
	_, err = g.Pool.Exec(ctx, `INSERT INTO cycles (id, site_id, day, freeze_at, window_end, state, opened_at) VALUES ('park/' || $1::date, 'park', $1, $2, $2, 'closed', $2)`, day, day.Start(storetest.Zone))
	require.NoError(t, err)
	due := dueNow()
	require.Equal(t, []activities.ClockBatch{{BatchID: billing.BatchID("B-park-" + day.String()), Site: "park"}}, due)
	for range 2 {
		require.Equal(t, billing.BatchRunning, run[activities.BatchStatus](g.grid, g.batches.SetClocks, due[0]).State)
	}
	require.Empty(t, dueNow())
	got := g.worked(due[0].BatchID)
	require.Len(t, got, 1)
	require.Equal(t, billing.MemberVerified, got[g.meter(g.other)].State)
	b, err := g.Batch(ctx, due[0].BatchID)
	require.NoError(t, err)
	require.Equal(t, billing.BatchDone, b.State)
	g.told()
}

// A relay that is held on stays on: nothing of ours cuts it or ends the hold, until a second person lets another batch release it.
func TestBatch_holdAndRelease(t *testing.T) {
	g := newMany(t)
	ctx := context.Background()
	got := g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain, g.water)))
	require.Equal(t, billing.SkipService, got[g.meter(g.water)].Skip)
	require.Equal(t, billing.MemberVerified, got[g.meter(g.plain)].State, got[g.meter(g.plain)].Note)
	sup, err := g.Store.Supply(ctx, g.plain)
	require.NoError(t, err)
	require.True(t, sup.Guarded)
	require.NotEmpty(t, sup.HeldBy)

	// Everything else allows its cut.
	g.spend(g.plain, 0)
	cut := g.noticed(g.plain)
	g.reads(g.plain, billing.QualityActual, false)
	require.Equal(t, store.CutPrevented, run[activities.CutState](g.grid, g.supply.CutOff, cut).State)
	require.Equal(t, "on", g.relay(serialPlatform))

	// Without credit it is not released: the meter could trip by itself.
	p := g.wish(billing.BatchRelay, billing.BatchRelease, g.plain, g.other)
	run[activities.BatchStatus](g.grid, g.batches.PlanBatch, p)
	require.Equal(t, billing.SkipStands, g.members(p.BatchID)[g.meter(g.other)].Skip)
	require.Contains(t, []billing.SkipReason{billing.SkipWouldTrip, billing.SkipArrears}, g.members(p.BatchID)[g.meter(g.plain)].Skip)

	g.sql(`UPDATE reminders SET state = 'closed', closed_at = now()`)
	run[activities.Settled](g.grid, g.posting.PostRecharge, g.approved(g.plain, 5000))
	sup, err = g.Store.Supply(ctx, g.plain)
	require.NoError(t, err)
	require.NotEmpty(t, sup.HeldBy, "a payment doesn't end what a person ordered")
	p = g.wish(billing.BatchRelay, billing.BatchRelease, g.plain)
	run[activities.BatchStatus](g.grid, g.batches.PlanBatch, p)
	require.Contains(t, g.refuses(g.batches.StartBatch, activities.DecideBatch{BatchID: p.BatchID, By: "sup1"}), "another person must start it")
	run[activities.BatchStatus](g.grid, g.batches.StartBatch, activities.DecideBatch{BatchID: p.BatchID, By: "boss"})
	require.Equal(t, billing.MemberVerified, g.worked(p.BatchID)[g.meter(g.plain)].State)
	sup, err = g.Store.Supply(ctx, g.plain)
	require.NoError(t, err)
	require.False(t, sup.Guarded)
	require.Empty(t, sup.HeldBy)
	require.Equal(t, "on", g.relay(serialPlatform))
}

// A meter whose map was never tried is worked on while two persons allow it for this meter and this version of the map, and for no longer.
func TestBatch_allowedWithAnUntriedMap(t *testing.T) {
	g := newMany(t)
	ctx := context.Background()
	g.sql(`UPDATE meters SET profile = 'acrel-ddsy1352' WHERE id IN ('` + string(g.meter(g.plain)) + `', '` + string(g.meter(g.credit)) + `')`)
	allow := func(version int) store.Allowance {
		a, err := g.AllowCommands(ctx, store.By{Actor: "admin"}, store.Allowance{Meter: g.meter(g.plain), Profile: "acrel-ddsy1352", Version: version, Reason: "trial on site", AgreedBy: "boss", UntilAt: g.now.Add(48 * time.Hour)})
		require.NoError(t, err)
		return a
	}
	allow(2)
	p := g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain, g.credit)
	run[activities.BatchStatus](g.grid, g.batches.PlanBatch, p)
	require.Equal(t, billing.SkipUnverified, g.members(p.BatchID)[g.meter(g.plain)].Skip, "another version of the map")
	a := allow(1)
	id := g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain, g.credit))
	require.Equal(t, billing.SkipUnverified, g.members(id)[g.meter(g.credit)].Skip, "another meter")
	require.NoError(t, g.EndAllowance(ctx, store.By{Actor: "boss", Reason: "enough"}, a.ID))
	require.Equal(t, billing.SkipUnverified, g.worked(id)[g.meter(g.plain)].Skip, "it ended between preview and order")
	allow(1)
	got := g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain)))[g.meter(g.plain)]
	require.Equal(t, billing.MemberVerified, got.State, got.Note)
	g.told()
}

// A hold is never ordered where supply is off, and a protection that came after the preview keeps its hold.
func TestBatch_looksAgainBeforeTheOrder(t *testing.T) {
	g := newMany(t)
	ctx := context.Background()
	id := g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain, g.credit))
	g.sql(`UPDATE supplies SET state = 'off', wanted = 'off' WHERE account_id = '` + string(g.plain) + `'`)
	got := g.worked(id)
	require.Equal(t, billing.SkipSupplyOff, got[g.meter(g.plain)].Skip)
	require.Equal(t, billing.MemberVerified, got[g.meter(g.credit)].State)

	id = g.started(g.wish(billing.BatchRelay, billing.BatchRelease, g.credit))
	_, err := g.AddProtection(ctx, store.By{Actor: "boss"}, store.Protection{Account: g.credit, Kind: "keep_power", FromAt: g.now, UntilAt: g.now.Add(time.Hour), Reason: "ice"})
	require.NoError(t, err)
	require.Equal(t, billing.SkipProtected, g.worked(id)[g.meter(g.credit)].Skip)
	require.Equal(t, 1, g.counts(`SELECT count(*) FROM commands`))
}

// marked gives the member of a batch whose order was marked by a process that died before it sent anything.
func (g *many) marked(id billing.BatchID, account billing.AccountID) activities.BatchMemberRef {
	g.t.Helper()
	ref := activities.BatchMemberRef{BatchID: id, Meter: g.meter(account), Gateway: "G1"}
	step, err := g.BeginBatchMember(context.Background(), byTest, id, ref.Meter, func(store.BatchFacts) (store.BatchVerdict, error) { return store.BatchVerdict{}, nil })
	require.NoError(g.t, err)
	require.True(g.t, step.Send)
	return ref
}

func (g *many) forced(serial string) string {
	g.t.Helper()
	state, err := g.fleet.MeterState(serial)
	require.NoError(g.t, err)
	return state.Forced
}

// An order that was marked, and whose process died, is judged anew when somebody takes it up, however much later: the mark is no leave.
func TestBatch_whatWasMarkedIsJudgedAgain(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		spoil func(g *many)
		skip  billing.SkipReason
	}{
		"protected": {func(g *many) {
			_, err := g.AddProtection(ctx, store.By{Actor: "boss"}, store.Protection{Account: g.plain, Kind: "medical", FromAt: g.now, UntilAt: g.now.Add(90 * time.Hour), Reason: "ventilator"})
			require.NoError(g.t, err)
		}, billing.SkipProtected},
		"without credit":    {func(g *many) { g.spend(g.plain, 0) }, billing.SkipWouldTrip},
		"past its deadline": {func(g *many) { g.setNow(g.now.Add(25 * time.Hour)) }, billing.SkipTooLate},
	} {
		t.Run(name, func(t *testing.T) {
			g := newMany(t)
			require.Equal(t, billing.MemberVerified, g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain)))[g.meter(g.plain)].State)
			id := g.started(g.wish(billing.BatchRelay, billing.BatchRelease, g.plain))
			g.marked(id, g.plain)
			c.spoil(g)
			got := g.worked(id)[g.meter(g.plain)]
			require.Equal(t, billing.MemberSkipped, got.State, got.Note)
			require.Equal(t, c.skip, got.Skip)
			require.Equal(t, billing.CommandCancelled, g.command(got).State)
			require.Equal(t, "on", g.forced(serialPlatform), "the hold stands")
			sup, err := g.Store.Supply(ctx, g.plain)
			require.NoError(t, err)
			require.True(t, sup.Guarded)
			g.told()

			// What an earlier attempt has done is found by looking, whatever forbids it now.
			g = newMany(t)
			require.Equal(t, billing.MemberVerified, g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain)))[g.meter(g.plain)].State)
			id = g.started(g.wish(billing.BatchRelay, billing.BatchRelease, g.plain))
			g.dies("command", "verified", func() {
				g.refuses(g.batches.WorkMember, activities.BatchMemberRef{BatchID: id, Meter: g.meter(g.plain), Gateway: "G1"})
			})
			c.spoil(g)
			require.Equal(t, billing.MemberVerified, g.worked(id)[g.meter(g.plain)].State)
			g.told()
		})
	}
}

// A hold that was marked isn't given to a meter whose customer was cut meanwhile: it would give supply back.
func TestBatch_aHoldThatWasMarkedGivesNoSupplyBack(t *testing.T) {
	g := newMany(t)
	id := g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain))
	g.marked(id, g.plain)
	g.sql(`UPDATE supplies SET state = 'off', wanted = 'off' WHERE account_id = '` + string(g.plain) + `'`)
	require.Equal(t, billing.SkipSupplyOff, g.worked(id)[g.meter(g.plain)].Skip)
	require.Empty(t, g.forced(serialPlatform))
	g.told()
}

// A release waits for its line, which is slow, and meanwhile a protection is added: it doesn't leave.
func TestBatch_protectedWhileTheLineIsBusy(t *testing.T) {
	g := newMany(t)
	require.Equal(t, billing.MemberVerified, g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain)))[g.meter(g.plain)].State)
	id := g.started(g.wish(billing.BatchRelay, billing.BatchRelease, g.plain))
	g.sql(`UPDATE gateways SET timeout_ms = 20000 WHERE id = 'G1'`)
	g.fault(simulator.Fault{Kind: simulator.FaultSlow, Unit: 2, DelayMillis: 2000})
	done := make(chan activities.BatchMemberDone, 1)
	go func() {
		done <- run[activities.BatchMemberDone](g.grid, g.batches.WorkMember, activities.BatchMemberRef{BatchID: id, Meter: g.meter(g.plain), Gateway: "G1"})
	}()
	require.Eventually(t, func() bool {
		return g.counts(`SELECT count(*) FROM commands WHERE kind = 'release' AND state = 'sending'`) == 1
	}, 10*time.Second, time.Millisecond)
	_, err := g.AddProtection(context.Background(), store.By{Actor: "boss"}, store.Protection{Account: g.plain, Kind: "medical", FromAt: g.now, UntilAt: g.now.Add(time.Hour), Reason: "ventilator"})
	require.NoError(t, err)
	g.heal(simulator.FaultSlow, 2)
	require.Equal(t, billing.MemberSkipped, (<-done).State)
	require.Equal(t, billing.SkipProtected, g.members(id)[g.meter(g.plain)].Skip)
	require.Equal(t, "on", g.forced(serialPlatform))
	g.told()
}

// Prices that were judged before the tariff changed are not written after it.
func TestBatch_pricesOfYesterdayStay(t *testing.T) {
	g := newMany(t)
	ctx := context.Background()
	tariff, err := g.Tariff(ctx, "meter-tou")
	require.NoError(t, err)
	tariff.ID, tariff.Versions = "dearer", []billing.TariffVersion{bandsAt("2026-01-01", dearer...)}
	require.NoError(t, g.AddTariff(ctx, storetest.By, tariff))
	id := g.started(g.wish(billing.BatchPrice, "", g.other))
	held := g.held()
	g.dies("command", "sending", func() {
		g.sql(`SET session_replication_role = replica; UPDATE account_terms SET tariff_id = 'dearer' WHERE account_id = '` + string(g.other) + `'; RESET session_replication_role`)
		g.refuses(g.batches.WorkMember, activities.BatchMemberRef{BatchID: id, Meter: g.meter(g.other), Gateway: "G1"})
	})
	g.sql(`SET session_replication_role = replica; UPDATE account_terms SET tariff_id = 'meter-tou' WHERE account_id = '` + string(g.other) + `'; RESET session_replication_role`)
	got := g.worked(id)[g.meter(g.other)]
	require.Equal(t, billing.SkipTooLate, got.Skip)
	require.Equal(t, held, g.held())
	g.told()
}

// Supply that was cut comes back by a restore of its own, for a valve as for a relay; what is on is left alone.
func TestBatch_restores(t *testing.T) {
	g := newMany(t)
	g.spend(g.plain, 0)
	cut := g.noticed(g.plain)
	g.reads(g.plain, billing.QualityActual, false)
	require.Equal(t, store.CutVerified, run[activities.CutState](g.grid, g.supply.CutOff, cut).State)
	id := g.started(g.wish(billing.BatchRelay, billing.BatchRestore, g.plain, g.other))
	got := g.worked(id)
	require.Equal(t, billing.SkipStands, got[g.meter(g.other)].Skip)
	m := got[g.meter(g.plain)]
	require.Equal(t, billing.MemberSending, m.State)
	require.NotNil(t, m.Restore)
	again := run[activities.BatchMemberDone](g.grid, g.batches.WorkMember, activities.BatchMemberRef{BatchID: id, Meter: m.Meter, Gateway: "G1"})
	require.Equal(t, *m.Restore, again.Restore, "the same restore, however often it is asked for")
	require.Equal(t, 1, run[int](g.grid, g.batches.FollowRestores, activities.FollowRestores{BatchID: id}))
	run[activities.RestoreState](g.grid, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: *m.Restore})
	require.Zero(t, run[int](g.grid, g.batches.FollowRestores, activities.FollowRestores{BatchID: id}))
	require.Equal(t, billing.BatchDone, run[activities.BatchStatus](g.grid, g.batches.FinishBatch, activities.BatchRef{BatchID: id}).State)
	m = g.members(id)[g.meter(g.plain)]
	require.Equal(t, billing.MemberVerified, m.State)
	require.Equal(t, billing.CommandClose, g.command(m).Kind)
	require.Equal(t, "on", g.relay(serialPlatform))
	g.proved()
	g.told()
}

func TestBatch_cancelStopsWhatWasNotSent(t *testing.T) {
	g := newMany(t)
	id := g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain, g.credit))
	run[activities.BatchMemberDone](g.grid, g.batches.WorkMember, activities.BatchMemberRef{BatchID: id, Meter: g.meter(g.plain), Gateway: "G1"})
	require.Contains(t, g.refuses(g.batches.CancelBatch, activities.DecideBatch{BatchID: id, By: "sup1"}), "say why")
	require.Contains(t, g.refuses(g.batches.CancelBatch, activities.DecideBatch{BatchID: id, By: "clerk1", Reason: "x"}), "may not order work")
	run[activities.BatchStatus](g.grid, g.batches.CancelBatch, activities.DecideBatch{BatchID: id, By: "sup1", Reason: "wrong street"})
	run[activities.BatchMemberDone](g.grid, g.batches.WorkMember, activities.BatchMemberRef{BatchID: id, Meter: g.meter(g.credit), Gateway: "G1"})
	got := g.members(id)
	require.Equal(t, billing.MemberVerified, got[g.meter(g.plain)].State)
	require.Equal(t, billing.MemberCancelled, got[g.meter(g.credit)].State)
	require.Equal(t, 1, g.counts(`SELECT count(*) FROM commands`))
	require.Contains(t, g.refuses(g.batches.CancelBatch, activities.DecideBatch{BatchID: id, By: "sup1", Reason: "again"}), "cancelled already")
	g.told()
}

// A meter whose line nobody could work on is settled by what is known: nothing left, or it may have.
func TestBatch_givesUp(t *testing.T) {
	g := newMany(t)
	id := g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain, g.credit))
	g.dies("command", "verified", func() {
		g.refuses(g.batches.WorkMember, activities.BatchMemberRef{BatchID: id, Meter: g.meter(g.plain), Gateway: "G1"})
	})
	for i, a := range []billing.AccountID{g.plain, g.credit} {
		m := run[activities.BatchMemberDone](g.grid, g.batches.GiveUpMember, activities.BatchMemberRef{BatchID: id, Meter: g.meter(a), Note: "no owner " + strconv.Itoa(i)})
		require.Equal(t, []billing.MemberState{billing.MemberUnknown, billing.MemberSkipped}[i], m.State)
	}
	g.told()
}
