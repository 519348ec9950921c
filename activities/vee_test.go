package activities_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// one is a single meter's reading of a day.
func one(m billing.MeterID, total int64) map[billing.MeterID]billing.Registers {
	return map[billing.MeterID]billing.Registers{m: regs(total)}
}

// estimated decides a case by an estimate.
func (f *field) estimated(id billing.CaseID) {
	f.decide(activities.Decision{CaseID: id, Decision: activities.DecideEstimate})
}

func (f *field) onlyCase(cases []billing.CaseID, kind string) (store.Case, []store.Member) {
	f.t.Helper()
	require.Len(f.t, cases, 1)
	c, members, err := f.Case(context.Background(), cases[0])
	require.NoError(f.t, err)
	require.Equal(f.t, kind, c.Kind)
	return c, members
}

// blocks proves that neither a charge nor a bill nor a cut rests on what the case doubts.
func (f *field) blocks(account billing.AccountID, id billing.CaseID) {
	f.t.Helper()
	facts, err := f.FactsFor(context.Background(), account)
	require.NoError(f.t, err)
	require.Contains(f.t, facts.BlockingCases, id, "nobody is cut while the case is open")
	held, err := f.BlockingCases(context.Background(), f.Site, billing.MustDate("2025-12-31").Start(storetest.Zone), billing.MustDate("2026-12-31").Start(storetest.Zone))
	require.NoError(f.t, err)
	for _, b := range held {
		if b.ID == id {
			require.Contains(f.t, b.Accounts, account, "the account's bill is held")
			return
		}
	}
	f.t.Fatalf("case %s holds no bill", id)
}

func TestVEE_estimatesAreSpreadAgainWhenAnActualComes(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-12")
	f.estimated(f.day("2026-01-13", nil)[0])
	f.estimated(f.day("2026-01-14", nil)[0])
	require.Equal(t, regs(total+2000), f.current(meter, "2026-01-14").Registers)
	require.Equal(t, "last_month", f.current(meter, "2026-01-14").Method)

	require.Empty(t, f.day("2026-01-15", one(meter, total+2700)), "above the estimates: nothing is in doubt")
	for day, want := range map[string]int64{"2026-01-13": total + 900, "2026-01-14": total + 1800} {
		r := f.current(meter, day)
		require.Equal(t, regs(want), r.Registers, day)
		require.Equal(t, [2]string{"estimated", "true_up"}, [2]string{string(r.Quality), r.Method})
		require.Equal(t, "park/2026-01-15", r.Reason, "the cycle that measured again")
	}
	versions, err := f.ReadingVersions(context.Background(), meter, 10)
	require.NoError(t, err)
	require.Len(t, versions, 4, "before and after of both days")
	require.Equal(t, regs(total+1000), versions[2].Registers, "what was estimated stays as version 1")
	var events int
	require.NoError(t, f.Pool.QueryRow(context.Background(), `SELECT count(*) FROM journal WHERE chain = 'meter/' || $1 AND event = 'trued_up' AND jsonb_array_length(data -> 'changes') = 2`, meter).Scan(&events))
	require.Equal(t, 1, events)
	require.Equal(t, billing.Money(10_000-7371), f.balance(account), "137 kWh at 0.538: the charge follows by rated to date")
	f.intact()
}

func TestVEE_falseRolloverAfterAnOverEstimate(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-12")
	f.estimated(f.day("2026-01-13", nil)[0])
	f.estimated(f.day("2026-01-14", nil)[0])
	// The people were away: 6 kWh in three days, though 20 were estimated for two.
	c, members := f.onlyCase(f.day("2026-01-15", one(meter, total+600)), "false_rollover")
	require.JSONEq(t, fmt.Sprintf(`{"register":"total","previous":"%s","current":"%s","measured":"%s","estimates":"2"}`,
		billing.Power.Format(total+2000), billing.Power.Format(total+600), billing.Power.Format(total)), string(members[0].Numbers))
	require.True(t, c.Blocking)
	f.blocks(account, c.ID)
	before := f.balance(account)
	require.Equal(t, billing.Money(10_000-6994), before, "130 kWh up to the last estimate: nothing is charged on what is in doubt")

	d := activities.Decision{CaseID: c.ID, By: "sup1", Decision: activities.DecideTrueUp, Reason: "away over New Year"}
	p := do[activities.Preview](f, f.review.PreviewDecision, d)
	require.Empty(t, p.Refused)
	require.Len(t, p.Members, 3, "two estimates and the reading itself")
	require.Equal(t, regs(total+1000), p.Members[0].Before)
	require.Equal(t, regs(total+200), p.Members[0].After)
	require.Equal(t, account, p.Accounts[0].Account)
	require.True(t, p.Accounts[0].Known)
	require.Equal(t, billing.Money(-753), p.Accounts[0].EffectFen, "14 kWh less at 0.538")
	require.Equal(t, 1, f.current(meter, "2026-01-13").Version, "a preview changes nothing")

	f.decide(d)
	require.Equal(t, regs(total+200), f.current(meter, "2026-01-13").Registers)
	require.Equal(t, regs(total+400), f.current(meter, "2026-01-14").Registers)
	require.Equal(t, regs(total+600), f.current(meter, "2026-01-15").Registers)
	require.False(t, f.current(meter, "2026-01-15").Doubtful)
	require.Equal(t, "sup1", f.current(meter, "2026-01-13").RecordedBy)
	require.Equal(t, "away over New Year", f.current(meter, "2026-01-13").Reason)
	f.day("2026-01-16", one(meter, total+700))
	require.Equal(t, before+753-54, f.balance(account), "what was charged too much comes back with the next charge, as previewed, less that day's kWh")
	f.intact()
}

// An estimate at which a customer moved in is settled between two people: nothing is spread across it.
func TestVEE_neverAcrossAChangeOfCustomer(t *testing.T) {
	f := newField(t, "2026-01-01")
	_, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-12")
	f.estimated(f.day("2026-01-13", nil)[0])
	f.estimated(f.day("2026-01-14", nil)[0])
	_, err := f.Pool.Exec(context.Background(), `UPDATE accounts SET opened_on = '2026-01-13'`)
	require.NoError(t, err)
	trails, err := f.Trails(context.Background(), []billing.MeterID{meter}, billing.MustDate("2026-01-15").Start(storetest.Zone))
	require.NoError(t, err)
	require.Equal(t, regs(total+1000), trails[meter].Anchor.Registers)
	require.Len(t, trails[meter].Estimates, 1)
	c, _ := f.onlyCase(f.day("2026-01-15", one(meter, total+600)), "negative")
	require.True(t, c.Blocking)
	require.Equal(t, 1, f.current(meter, "2026-01-13").Version)
}

func TestVEE_billedEstimatesStand(t *testing.T) {
	f := newField(t, "2026-01-01")
	_, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-31")
	f.estimated(f.day("2026-02-01", nil)[0])
	run := f.run("2026-01")
	f.at("2026-02-01", 12, 0)
	do[any](f, f.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"})
	do[any](f, f.bills.ApproveIssue, activities.RunDecision{RunID: run, By: "sup2"})
	do[any](f, f.bills.IssueBills, activities.RunRef{RunID: run})
	f.estimated(f.day("2026-02-02", nil)[0])
	ctx := context.Background()

	// Above what was billed: the difference falls into February, and January stays.
	require.Empty(t, f.day("2026-02-03", one(meter, total+3600)))
	require.Equal(t, regs(total+1000), f.current(meter, "2026-02-01").Registers, "an issued bill rests on it")
	require.Equal(t, regs(total+2300), f.current(meter, "2026-02-02").Registers, "spread between the billed value and the measured one")
	stale, err := f.StaleBills(ctx, []billing.SiteID{f.Site}, nil)
	require.NoError(t, err)
	require.Empty(t, stale)
	f.intact()
}

func TestVEE_belowWhatWasBilledIsACorrection(t *testing.T) {
	f := newField(t, "2026-01-01")
	_, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-31")
	f.estimated(f.day("2026-02-01", nil)[0])
	run := f.run("2026-01")
	f.at("2026-02-01", 12, 0)
	do[any](f, f.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"})
	do[any](f, f.bills.ApproveIssue, activities.RunDecision{RunID: run, By: "sup2"})
	do[any](f, f.bills.IssueBills, activities.RunRef{RunID: run})
	ctx := context.Background()
	c, _ := f.onlyCase(f.day("2026-02-02", one(meter, total+400)), "false_rollover")
	d := activities.Decision{CaseID: c.ID, By: "sup1", Decision: activities.DecideTrueUp, Reason: "away"}
	p := do[activities.Preview](f, f.review.PreviewDecision, d)
	require.Len(t, p.Bills, 1, "the preview names the bill that a correction must follow")
	f.decide(d)
	require.Equal(t, regs(total+200), f.current(meter, "2026-02-01").Registers)
	stale, err := f.StaleBills(ctx, []billing.SiteID{f.Site}, nil)
	require.NoError(t, err)
	require.Len(t, stale, 1)
	require.Equal(t, p.Bills[0], stale[0].Bill)
	require.Equal(t, regs(total+1000), stale[0].Billed)
	require.Equal(t, regs(total+200), stale[0].Newest)
	f.intact()
}

// The bill goes to a correction that confirms the reading: until then nobody is cut for use that was billed twice, and the next bill waits.
// January ends at 302 kWh and not at 310, February has 198: together the 500 that the meter shows.
func TestVEE_belowWhatWasBilledIsCorrected(t *testing.T) {
	b := newBooks(t)
	ctx := context.Background()
	account, meter := b.Account(storetestAccount())
	total := b.steadyDays(meter, "2026-01-02", "2026-01-31")
	b.estimated(b.day("2026-02-01", nil)[0])
	run := b.run("2026-01")
	b.at("2026-02-01", 12, 0)
	b.field.issue(run)
	c, _ := b.onlyCase(b.day("2026-02-02", one(meter, total+400)), "false_rollover")
	b.decide(activities.Decision{CaseID: c.ID, By: "sup1", Decision: activities.DecideTrueUp, Reason: "away"})
	confirm := readingChange(meter, "2026-02-01", regs(total+200))
	judged := func() string {
		d, err := activities.Judge(ctx, b.Store, account)
		require.NoError(t, err)
		return d.String()
	}
	require.Contains(t, judged(), "against: bill BA0001-202601-1 rests on a reading that has changed since")

	require.Empty(t, b.day("2026-03-01", one(meter, total+20_000)))
	run = b.run("2026-02")
	bill, _ := b.bill(run, account)
	require.Equal(t, billing.BillHeld, bill.State)
	require.Contains(t, bill.HoldReason, "bill BA0001-202601-1 ended at other registers of meter "+string(meter)+" than this one begins at (2026-02-01)")
	release := activities.BillDecision{RunID: run, BillID: bill.ID, By: "sup1", Reason: "seen"}
	require.Contains(t, refused(b.field, b.bills.ReleaseBill, release), "can't be released")

	k := b.carryOut(confirm)
	require.Equal(t, 1, k.Bills)
	require.Contains(t, refused(b.field, b.correct.DraftCorrection, b.submission(confirm)), "nothing would change", "it is billed so now")
	stale, err := b.StaleBills(ctx, []billing.SiteID{b.Site}, nil)
	require.NoError(t, err)
	require.Empty(t, stale)
	require.NotContains(t, judged(), "rests on a reading")
	_, err = b.env.ExecuteActivity(b.bills.ReleaseBill, release)
	require.NoError(t, err)
	b.field.issue(run)
	require.Equal(t, billing.Money(162_48+106_52), b.billed(account), "302 kWh and 198 at 0.538")
	require.Equal(t, billing.Money(10_000-269_00), b.balance(account), "once")
	b.intact()
}

func TestVEE_aDropThatRecovers(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Opening = regs(500_000)
	account, meter := f.Account(n)
	f.day("2026-01-02", one(meter, 501_000))
	c, _ := f.onlyCase(f.day("2026-01-03", one(meter, 0)), "negative")
	f.blocks(account, c.ID)
	require.NotContains(t, activities.AllowedDecisions(c.Kind), activities.DecideAccept, "a drop never becomes the new base")
	f.day("2026-01-04", one(meter, 503_000))
	c, members, err := f.Case(context.Background(), c.ID)
	require.NoError(t, err)
	require.Equal(t, "drop_recovered", c.Kind, "the next reading shows what it was")
	require.Equal(t, billing.CaseOpen, c.State, "a person decides")
	require.Contains(t, string(members[0].Numbers), `"later": "5030.00"`)
	f.blocks(account, c.ID)
	f.estimated(c.ID)
	r := f.current(meter, "2026-01-03")
	require.Equal(t, regs(502_000), r.Registers)
	require.Equal(t, "between", r.Method)
	require.Equal(t, billing.Money(10_000-1614), f.balance(account), "30 kWh, not the whole register")
	f.intact()
}

func TestVEE_clockSkewDividesTheBandsAnew(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Tariff = "zj-residential-tou"
	account, meter := f.Account(n)
	at := func(total, peak int64) map[billing.MeterID]billing.Registers {
		return map[billing.MeterID]billing.Registers{meter: {total, 0, peak, 0, total - peak, 0}}
	}
	for d := int64(1); d <= 10; d++ {
		require.Empty(t, f.day(billing.MustDate("2026-01-01").AddDays(int(d)).String(), at(1000*d, 600*d)))
	}
	ahead := 5400
	id := f.sweepWith("2026-01-12", func(r *store.Reading) { r.ClockSkewS = &ahead }, at(11_000, 7000))
	found := do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
	do[any](f, f.meters.CloseCycle, activities.CycleRef{CycleID: id})
	f.charge(id)
	c, _ := f.onlyCase(found.Cases, "clock_skew")
	f.blocks(account, c.ID)
	d := activities.Decision{CaseID: c.ID, By: "sup1", Decision: activities.DecideResplit, Reason: "clock an hour and a half ahead"}
	p := do[activities.Preview](f, f.review.PreviewDecision, d)
	require.True(t, p.Accounts[0].Known)
	f.decide(d)
	fittings, err := f.Fittings(context.Background(), []billing.ServicePointID{"P0001"})
	require.NoError(t, err)
	require.Len(t, fittings["P0001"], 2)
	require.Equal(t, billing.Registers{11_000, 0, 6600, 0, 4400, 0}, fittings["P0001"][0].Closing, "60 percent of the day was peak, as always")
	require.Equal(t, billing.Registers{11_000, 0, 7000, 0, 4000, 0}, fittings["P0001"][1].Opening, "and it counts on from what the meter shows")
	require.Empty(t, f.day("2026-01-13", at(12_000, 7600)), "a skew that was accepted isn't reported again")
	require.Equal(t, billing.Money(10_000)-f.rated(account, "2026-01-01"), f.balance(account))
	require.Equal(t, f.rated(account, "2026-01-01"), p.Accounts[0].RatedFen+dayOf(t, 600, 400))
	f.intact()
}

// dayOf is what a day of peak and valley use costs by the residential time-of-use tariff.
func dayOf(t *testing.T, peak, valley int64) billing.Money {
	t.Helper()
	p, err := billing.Charge(billing.Power.Quantity(peak), billing.MustPrice("0.568"), billing.Factor{})
	require.NoError(t, err)
	v, err := billing.Charge(billing.Power.Quantity(valley), billing.MustPrice("0.288"), billing.Factor{})
	require.NoError(t, err)
	return p + v
}

func TestVEE_ratioNotAsOnFile(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Ratio = 20
	account, meter := f.Account(n)
	show := func(day string, total int64, ratio int) []billing.CaseID {
		id := f.sweepWith(day, func(r *store.Reading) { r.DeviceRatio = &ratio }, one(meter, total))
		found := do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
		do[any](f, f.meters.CloseCycle, activities.CycleRef{CycleID: id})
		f.charge(id)
		return found.Cases
	}
	require.Empty(t, show("2026-01-02", 50, 20))
	c, _ := f.onlyCase(show("2026-01-03", 100, 30), "ratio_mismatch")
	f.blocks(account, c.ID)
	require.Empty(t, show("2026-01-04", 150, 30), "it goes on: the same case")
	_, members := f.decide(activities.Decision{CaseID: c.ID, Decision: activities.DecideAccept, Reason: "the plate says 20, the display is set wrong"})
	require.Len(t, members, 2)
	require.Empty(t, show("2026-01-05", 200, 30), "accepted as it is")
	f.intact()
}

func TestVEE_masterAndItsSubs(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Gateway = "G2"
	_, master := f.Account(n)
	var subs []billing.MeterID
	for range 3 {
		_, m := f.Account(storetestAccount())
		subs = append(subs, m)
		require.NoError(t, f.AddSubPoint(context.Background(), storetest.By, master, m, billing.MustDate("2026-01-01").Start(storetest.Zone)))
	}
	require.ErrorContains(t, f.AddSubPoint(context.Background(), storetest.By, subs[0], master, billing.MustDate("2026-01-01").Start(storetest.Zone)), "already stands above")
	require.ErrorContains(t, f.AddSubPoint(context.Background(), storetest.By, master, subs[0], billing.MustDate("2026-01-01").Start(storetest.Zone)), "has a master already")
	require.ErrorContains(t, f.AddSubPoint(context.Background(), storetest.By, master, master, billing.MustDate("2026-01-01").Start(storetest.Zone)), "its own sub-meter")
	show := func(m int64, s ...int64) map[billing.MeterID]billing.Registers {
		all := one(master, m)
		for i, v := range s {
			all[subs[i]] = regs(v)
		}
		return all
	}
	require.Empty(t, f.day("2026-01-02", show(3100, 1000, 1000, 1000)), "the line loses some")
	c, members := f.onlyCase(f.day("2026-01-03", show(6200, 2000, 2000, 1000)), "master_mismatch")
	require.Equal(t, master, *c.Meter)
	require.True(t, f.current(master, "2026-01-03").Doubtful)
	require.False(t, f.current(subs[2], "2026-01-03").Doubtful, "each sub passed its own rules")
	var n2 struct {
		Master, Subs, Difference string
		SubMeters                []struct{ Meter, Use string } `json:"sub_meters"`
	}
	require.NoError(t, json.Unmarshal(members[0].Numbers, &n2))
	require.Equal(t, [3]string{"31.00", "20.00", "11.00"}, [3]string{n2.Master, n2.Subs, n2.Difference})
	require.Len(t, n2.SubMeters, 3)
	f.decide(activities.Decision{CaseID: c.ID, Decision: activities.DecideAccept, Reason: "a bypass was found and removed"})
	delete(show(0), subs[0])
	missing := show(9300, 3000, 3000)
	require.Len(t, f.day("2026-01-04", missing), 1, "a sub is missing: that is the case, nothing can be summed")
	points, err := f.SubPoints(context.Background(), []billing.SiteID{f.Site})
	require.NoError(t, err)
	require.Len(t, points, 3)
	require.NoError(t, f.EndSubPoint(context.Background(), storetest.By, points[0].ID))
	require.ErrorContains(t, f.EndSubPoint(context.Background(), storetest.By, points[0].ID), "already")
	f.intact()
}

func TestVEE_oneCasePerCause(t *testing.T) {
	f := newField(t, "2026-01-01")
	var meters []billing.MeterID
	for i := range 6 {
		n := storetestAccount()
		if i == 5 {
			n.Gateway = "G2"
		}
		_, m := f.Account(n)
		meters = append(meters, m)
	}
	all := func(total int64, changed ...int64) map[billing.MeterID]billing.Registers {
		shown := map[billing.MeterID]billing.Registers{}
		for i, m := range meters {
			shown[m] = regs(total)
			if i < len(changed) {
				shown[m] = regs(changed[i])
			}
		}
		return shown
	}
	require.Empty(t, f.day("2026-01-02", all(5000)))
	c, members := f.onlyCase(f.day("2026-01-03", all(6000, 0, 0, 0)), "negative")
	require.Len(t, members, 3, "the same rule on three meters of one gateway is one cause")
	require.Nil(t, c.Meter)
	require.Equal(t, billing.GatewayID("G1"), *c.Gateway)

	// One member is taken out: the others are decided, the case stays open with it.
	d := activities.Decision{
		CaseID: c.ID, By: "sup1", Decision: activities.DecideManual, Reason: "read on site", Meters: meters[:2], Batch: "batch/1",
		Values: []activities.ManualValue{{Meter: meters[0], Registers: regs(6000)}, {Meter: meters[1], Registers: regs(6100)}},
	}
	p := do[activities.Preview](f, f.review.PreviewDecision, d)
	require.Len(t, p.Members, 2)
	require.Equal(t, regs(0), p.Members[0].Before)
	require.Equal(t, regs(6000), p.Members[0].After)
	require.Equal(t, activities.Decided{Open: 1}, do[activities.Decided](f, f.review.DecideCase, d))
	c, members, err := f.Case(context.Background(), c.ID)
	require.NoError(t, err)
	require.Equal(t, billing.CaseOpen, c.State)
	require.Equal(t, [3]string{"manual", "manual", ""}, [3]string{members[0].Outcome, members[1].Outcome, members[2].Outcome})
	require.Contains(t, refused(f, f.review.DecideCase, activities.Decision{CaseID: c.ID, By: "sup1", Decision: activities.DecideManual, Reason: "x", Meters: []billing.MeterID{"M9"}}), "not a member")
	f.decide(activities.Decision{CaseID: c.ID, Decision: activities.DecideManual, Values: []activities.ManualValue{{Meter: meters[2], Registers: regs(5900)}}})
	changes, err := f.CaseChanges(context.Background(), c.ID)
	require.NoError(t, err)
	require.Equal(t, regs(0), changes[2].Before)
	require.Equal(t, regs(5900), changes[2].After)
	require.Equal(t, "sup1", changes[2].RecordedBy)

	// No gateway answers: the site is the cause.
	c, members = f.onlyCase(f.day("2026-01-04", nil), store.KindSiteSilent)
	require.Len(t, members, 6)
	require.Nil(t, c.Gateway)
	require.Empty(t, f.day("2026-01-05", nil), "the next day joins it")
	facts := do[activities.CaseFacts](f, f.review.DescribeCase, activities.CaseRef{CaseID: c.ID})
	require.Equal(t, []billing.GatewayID{"G1", "G2"}, facts.Gateways, "a re-read asks all of them")
	f.intact()
}

func TestVEE_tooManyEstimatesInARow(t *testing.T) {
	f := newField(t, "2026-01-01")
	_, meter := f.Account(storetestAccount())
	f.steadyDays(meter, "2026-01-02", "2026-01-10")
	day := billing.MustDate("2026-01-11")
	for range 4 {
		f.estimated(f.day(day.String(), nil)[0])
		day = day.AddDays(1)
	}
	c, members := f.onlyCase(f.day(day.String(), nil), store.KindMissing)
	require.Contains(t, string(members[0].Numbers), "estimate_limit")
	d := activities.Decision{CaseID: c.ID, By: "sup1", Decision: activities.DecideEstimate, Reason: "again"}
	require.Contains(t, refused(f, f.review.DecideCase, d), "4 times in a row, the limit is 4")
	p := do[activities.Preview](f, f.review.PreviewDecision, d)
	require.Contains(t, p.Refused, "4 times in a row", "the preview says so before")
}

func TestVEE_similarMetersFillAYoungOne(t *testing.T) {
	f := newField(t, "2026-01-01")
	var meters []billing.MeterID
	for range 7 {
		_, m := f.Account(storetestAccount())
		meters = append(meters, m)
	}
	shown := func(total int64, n int) map[billing.MeterID]billing.Registers {
		all := map[billing.MeterID]billing.Registers{}
		for i, m := range meters[:n] {
			all[m] = regs(total + int64(i))
		}
		return all
	}
	require.Empty(t, f.day("2026-01-02", shown(1000, 7)))
	c, _ := f.onlyCase(f.day("2026-01-03", shown(2200, 6)), store.KindMissing)
	f.estimated(c.ID)
	r := f.current(meters[6], "2026-01-03")
	require.Equal(t, "similar", r.Method)
	require.Equal(t, regs(1006+1200), r.Registers)
}

func TestVEE_ruleGroups(t *testing.T) {
	f := newField(t, "2026-01-01")
	_, meter := f.Account(storetestAccount())
	ctx := context.Background()
	by := store.By{Actor: "sup1", Reason: "winter"}
	rules, err := activities.DefaultRules(json.RawMessage(`{}`), billing.Power)
	require.NoError(t, err)
	rules.CapacityPercent = 1 // 5.28 kWh in a day
	raw, err := json.Marshal(rules)
	require.NoError(t, err)
	day := func(s string) billing.Date { return billing.MustDate(s) }
	group := store.RuleGroup{Site: f.Site, Name: "Homes", Service: billing.Power, Profile: "sim-ddsy1352"}
	version := func(from, to string) store.RuleVersion {
		v := store.RuleVersion{FromDay: day(from), Rules: raw}
		if to != "" {
			v.ToDay = day(to)
		}
		return v
	}
	_, err = f.AddRuleGroup(ctx, by, group, version("2026-01-01", ""))
	require.ErrorContains(t, err, "choose a day after today")
	_, err = f.AddRuleGroup(ctx, by, group, version("2026-01-04", "2026-01-04"))
	require.ErrorContains(t, err, "not after they begin")
	id, err := f.AddRuleGroup(ctx, by, group, version("2026-01-04", "2026-01-06"))
	require.NoError(t, err)
	_, err = f.AddRuleGroup(ctx, by, group, version("2026-01-08", ""))
	require.ErrorContains(t, err, id, "the same kind of meter has a group")
	add := func(from, to string) error {
		v := version(from, to)
		v.Group = id
		return f.AddRuleVersion(ctx, by, v)
	}
	require.ErrorContains(t, add("2026-01-05", ""), "overlap version 1, which holds from 2026-01-04 to 2026-01-06: begin on 2026-01-06")
	require.ErrorContains(t, add("2026-01-03", ""), "overlap version 1, which begins on 2026-01-04")
	require.NoError(t, add("2026-01-08", ""))
	require.NoError(t, f.WithdrawRuleVersion(ctx, by, id, 2))
	require.ErrorContains(t, f.WithdrawRuleVersion(ctx, by, id, 2), "withdrawn already")

	// The day's rules judge: 10 kWh a day pass, but not from the 4th to before the 6th.
	require.Empty(t, f.day("2026-01-02", one(meter, 1000)))
	require.Empty(t, f.day("2026-01-03", one(meter, 2000)))
	c, _ := f.onlyCase(f.day("2026-01-04", one(meter, 3000)), "capacity")
	f.decide(activities.Decision{CaseID: c.ID, Decision: activities.DecideAccept})
	c, _ = f.onlyCase(f.day("2026-01-05", one(meter, 4000)), "capacity")
	f.decide(activities.Decision{CaseID: c.ID, Decision: activities.DecideAccept})
	require.Empty(t, f.day("2026-01-06", one(meter, 5000)))
	require.ErrorContains(t, f.WithdrawRuleVersion(ctx, by, id, 1), "has judged readings")
	_, versions, err := f.RuleGroup(ctx, id)
	require.NoError(t, err)
	require.Equal(t, billing.UserID("sup1"), versions[0].WithdrawnBy)

	// The database refuses by itself what the store would have refused.
	for statement, want := range map[string]string{
		`UPDATE rule_versions SET rules = '{}'`: "append-only",
		`INSERT INTO rule_versions VALUES ('` + id + `', 9, '2026-01-05', NULL, '{}', 'sup1', 'x', now())`: "overlap",
		`INSERT INTO rule_versions VALUES ('` + id + `', 9, '2026-01-06', NULL, '{}', 'sup1', 'x', now())`: "future",
	} {
		_, err := f.Pool.Exec(ctx, statement)
		require.ErrorContains(t, err, want)
	}
	f.intact()
}

func TestParseRules(t *testing.T) {
	rules, err := activities.DefaultRules(json.RawMessage(`{"validation": {"power": {"credit_drift_fen": 300}}}`), billing.Power)
	require.NoError(t, err)
	require.Equal(t, billing.Money(300), rules.CreditDriftFen, "a site's policy is its default")
	raw, err := json.Marshal(rules)
	require.NoError(t, err)
	again, err := activities.ParseRules(raw)
	require.NoError(t, err)
	require.Equal(t, rules, again)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(raw, &fields))
	delete(fields, "loss_permille")
	raw, err = json.Marshal(fields)
	require.NoError(t, err)
	_, err = activities.ParseRules(raw)
	require.ErrorContains(t, err, "loss_permille is missing")
	fields["loss_permille"], fields["invented"] = 50, 1
	raw, err = json.Marshal(fields)
	require.NoError(t, err)
	_, err = activities.ParseRules(raw)
	require.ErrorContains(t, err, "invented")
}

func TestVEE_firstDayOfAMeterWithCredit(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Mode = billing.CreditMeter
	_, meter := f.Account(n)
	// Read five minutes after it was fitted: 3 kWh are gone from the registers and from the credit alike.
	left := billing.Money(10_000 - 161)
	id := f.sweepWith("2026-01-01", func(r *store.Reading) { r.RemainingFen = &left }, one(meter, 300))
	found := do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
	require.Empty(t, found.Cases, "no drift: amount and registers were taken together")
}
