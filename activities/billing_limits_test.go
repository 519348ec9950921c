package activities_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/control"
	"github.com/meterflow/meterflow/internal/ledger"
	"github.com/meterflow/meterflow/internal/store"
)

// limit gives the site limits; what isn't named is switched off.
func (f *field) limit(l control.Limits) {
	f.t.Helper()
	policy, err := json.Marshal(map[string]any{"billing": map[string]any{"limits": control.Policy{Power: l}}})
	require.NoError(f.t, err)
	_, err = f.Pool.Exec(context.Background(), `UPDATE sites SET policy = $2 WHERE id = $1`, f.Site, string(policy))
	require.NoError(f.t, err)
}

func (f *field) stops(bill billing.BillID) []store.BillStop {
	f.t.Helper()
	found, err := f.BillStops(context.Background(), []billing.BillID{bill})
	require.NoError(f.t, err)
	return found[bill]
}

func (f *field) totals(run billing.RunID) store.RunTotals {
	f.t.Helper()
	r, err := f.Run(context.Background(), run)
	require.NoError(f.t, err)
	var t store.RunTotals
	require.NoError(f.t, json.Unmarshal(r.Totals, &t))
	return t
}

// issue signs and issues a run.
func (f *field) issue(run billing.RunID) {
	f.t.Helper()
	do[any](f, f.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"})
	do[any](f, f.bills.ApproveIssue, activities.RunDecision{RunID: run, By: "sup2"})
	do[any](f, f.bills.IssueBills, activities.RunRef{RunID: run})
}

// again rates a further run of a month.
func (f *field) again(month string, version int) billing.RunID {
	f.t.Helper()
	period, err := billing.ParseMonth(month)
	require.NoError(f.t, err)
	id, next, err := f.NextRun(context.Background(), f.Site, period)
	require.NoError(f.t, err)
	require.Equal(f.t, version, next)
	do[activities.RunOpened](f, f.bills.OpenRun, activities.RunStart{RunID: id, Site: f.Site, Period: period, Version: version, By: "sup1"})
	do[any](f, f.bills.RateBills, activities.RunRef{RunID: id})
	do[any](f, f.bills.SumRun, activities.RunRef{RunID: id})
	return id
}

func TestBilling_aLimitStopsItsAccountAndNoOther(t *testing.T) {
	f := newField(t, "2026-01-01")
	accounts, _, silent := f.month(3) // 10, 20 and 30 kWh a day: 166.78, 333.56 and 500.34 yuan
	f.decide(activities.Decision{CaseID: silent[0], Decision: activities.DecideEstimate})
	f.limit(control.Limits{HouseholdFen: 40_000})
	run := f.run("2026-01")

	for i, want := range []billing.BillState{billing.BillDraft, billing.BillDraft, billing.BillHeld} {
		b, lines := f.bill(run, accounts[i])
		require.Equal(t, want, b.State)
		require.NotEmpty(t, lines, "a stopped bill is rated, so that a person sees what was stopped")
	}
	held, _ := f.bill(run, accounts[2])
	require.Equal(t, []store.BillStop{{Rule: "amount", Was: held.TotalFen.Grouped(), Allowed: "400.00"}}, f.stops(held.ID))
	require.Equal(t, "the bill comes to "+held.TotalFen.Grouped()+" yuan, the limit is 400.00 yuan", held.HoldReason)
	totals := f.totals(run)
	require.Equal(t, [2]int{2, 1}, [2]int{totals.Bills, totals.Held})
	require.Equal(t, map[string]int{"amount": 1}, totals.Stops)

	// A supervisor looks and releases it: the limit doesn't stop it again, and what stopped it stays on record.
	_, err := f.env.ExecuteActivity(f.bills.ReleaseBill, activities.BillDecision{RunID: run, BillID: held.ID, By: "sup1", Reason: "the shop bakes at night now"})
	require.NoError(t, err)
	require.Empty(t, f.totals(run).Stops)
	f.issue(run)
	for _, a := range accounts {
		b, _ := f.bill(run, a)
		require.Equal(t, billing.BillIssued, b.State)
	}
	require.Len(t, f.stops(held.ID), 1)
	f.intact()
}

// The limit is that of the customer's class on the last day of the month.
func TestBilling_limitOfTheClass(t *testing.T) {
	f := newField(t, "2026-01-01")
	accounts, _, silent := f.month(3) // 166.78, 333.56 and 500.34 yuan
	f.decide(activities.Decision{CaseID: silent[0], Decision: activities.DecideEstimate})
	f.limit(control.Limits{HouseholdFen: 40_000, OtherFen: 10_000})
	f.Class(accounts[0], "2026-02-01", billing.ClassCommercial)
	f.Class(accounts[1], "2026-01-31", billing.ClassCommercial)
	run := f.run("2026-01")
	for i, want := range []billing.BillState{billing.BillDraft, billing.BillHeld, billing.BillHeld} {
		b, _ := f.bill(run, accounts[i])
		require.Equal(t, want, b.State, i)
	}
}

func TestBilling_anEstimatedBillIsStoppedByItsShare(t *testing.T) {
	f := newField(t, "2026-01-01")
	accounts, _, silent := f.month(3) // the last one's meter is silent from the 30th on: 3 of 31 days are estimated
	f.decide(activities.Decision{CaseID: silent[0], Decision: activities.DecideEstimate})
	f.limit(control.Limits{EstimatedPercent: 9})
	run := f.run("2026-01")
	b, _ := f.bill(run, accounts[2])
	require.Equal(t, billing.BillHeld, b.State)
	require.Equal(t, []store.BillStop{{Rule: "estimated", Was: "9 %", Allowed: "9 %"}}, f.stops(b.ID), "9.67 %% of it, cut for reading")
	require.Equal(t, map[string]int{"estimated": 1}, f.totals(run).Stops)
	f.limit(control.Limits{EstimatedPercent: 10})
	_, err := f.env.ExecuteActivity(f.bills.ReleaseBill, activities.BillDecision{RunID: run, BillID: b.ID, By: "sup1", Reason: "seen"})
	require.NoError(t, err)
}

func TestBilling_heldBillsGoIntoAFurtherRun(t *testing.T) {
	f := newField(t, "2026-01-01")
	ctx := context.Background()
	accounts, meters, silent := f.month(3)
	f.decide(activities.Decision{CaseID: silent[0], Decision: activities.DecideEstimate})
	run := f.run("2026-01")
	first, _ := f.bill(run, accounts[0])
	second, _ := f.bill(run, accounts[1])

	// Two bills are held by one decision; with one that can't be, neither is.
	hold := activities.BillDecision{RunID: run, BillID: first.ID, More: []billing.BillID{second.ID, "B-none"}, By: "sup1", Reason: "complaints"}
	refused(f, f.bills.HoldBill, hold)
	first, _ = f.bill(run, accounts[0])
	require.Equal(t, billing.BillDraft, first.State, "all or none")
	hold.More = []billing.BillID{second.ID, first.ID}
	_, err := f.env.ExecuteActivity(f.bills.HoldBill, hold)
	require.NoError(t, err)
	require.Equal(t, 2, f.totals(run).Held)
	waiting, err := f.HeldOf(ctx, f.Site, billing.MustDate("2026-01-01"))
	require.NoError(t, err)
	require.Empty(t, waiting, "their run is still open")
	f.issue(run)
	waiting, err = f.HeldOf(ctx, f.Site, billing.MustDate("2026-01-01"))
	require.NoError(t, err)
	require.Len(t, waiting, 2)
	list, err := f.HeldBills(ctx, []billing.SiteID{f.Site}, 10)
	require.NoError(t, err)
	require.Equal(t, waiting, list)
	require.Equal(t, "complaints", list[0].HoldReason)
	require.False(t, list[0].Since.IsZero())

	// February is lived and rated: an account whose January is held waits for January.
	for d := billing.MustDate("2026-02-02"); !d.After(billing.MustDate("2026-03-01")); d = d.AddDays(1) {
		shown := map[billing.MeterID]billing.Registers{}
		for i, m := range meters {
			shown[m] = regs(int64(billing.MustDate("2026-01-01").DaysUntil(d)) * 1000 * int64(i+1))
		}
		f.day(d.String(), shown)
	}
	next := f.run("2026-02")
	b, _ := f.bill(next, accounts[0])
	require.Equal(t, billing.BillHeld, b.State)
	require.Equal(t, []store.BillStop{{Rule: "earlier_held", Was: "2026-01", Allowed: "2026-01-01"}}, f.stops(b.ID))
	b, _ = f.bill(next, accounts[2])
	require.Equal(t, billing.BillDraft, b.State)
	totals := f.totals(next)
	require.Equal(t, 1, totals.Last.Bills, "only one was issued for January")
	require.Equal(t, [2]int{0, 0}, [2]int{totals.New, totals.Gone})
	release := activities.BillDecision{RunID: next, BillID: "BA0001-202602-1", By: "sup1", Reason: "too early"}
	require.Contains(t, refused(f, f.bills.ReleaseBill, release), "the bill of 2026-01 is still held, bill that period first")

	// The further run takes exactly the two, and cancels what was held.
	more := f.again("2026-01", 2)
	require.Equal(t, 2, f.totals(more).Bills)
	first, _ = f.bill(run, accounts[0])
	require.Equal(t, billing.BillCancelled, first.State)
	f.issue(more)
	_, err = f.env.ExecuteActivity(f.bills.ReleaseBill, release)
	require.NoError(t, err, "now February may go out")
	f.intact()
}

// The report agrees with the ledger for every account and day: each day begins with what the day before ended with, what moved in between
// adds up, and the last day ends with the balance. The energy of the days is that of the month.
func TestReport_agreesWithTheLedger(t *testing.T) {
	f := newField(t, "2026-01-01")
	ctx := context.Background()
	accounts, meters, silent := f.month(3)
	f.decide(activities.Decision{CaseID: silent[0], Decision: activities.DecideEstimate})
	f.recharge(accounts[1], 12_345)
	f.issue(f.run("2026-01"))

	days := store.UseFilter{Sites: []billing.SiteID{f.Site}, From: billing.MustDate("2026-01-01"), To: billing.MustDate("2026-03-01")}
	rows, next, err := f.UsePage(ctx, days, "", 10)
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, rows, 3*59)
	closing, use, january := map[billing.AccountID]billing.Money{}, map[billing.AccountID]int64{}, map[billing.AccountID]store.UseRow{}
	for _, r := range rows {
		require.Equal(t, closing[r.Account], r.OpeningFen, "%s %s", r.Account, r.From)
		require.Equal(t, r.ClosingFen, r.OpeningFen+r.RechargedFen-r.ChargedFen+r.OtherFen, "%s %s", r.Account, r.From)
		if r.OtherFen != 0 {
			require.Equal(t, "2026-01-01", r.From.String(), "nothing but the opening entry is other")
		}
		closing[r.Account] = r.ClosingFen
		if r.From.Before(billing.MustDate("2026-02-01")) {
			require.NotNil(t, r.Use, "%s %s", r.Account, r.From)
			use[r.Account] += *r.Use
			sum := january[r.Account]
			sum.RechargedFen, sum.ChargedFen = sum.RechargedFen+r.RechargedFen, sum.ChargedFen+r.ChargedFen
			january[r.Account] = sum
		} else {
			require.Nil(t, r.Use, "February wasn't read")
		}
	}
	for i, a := range accounts {
		require.Equal(t, f.balance(a), closing[a])
		require.Equal(t, int64(31_000*(i+1)), use[a])
	}

	months := days
	months.ByMonth = true
	var paged []store.UseRow
	require.NoError(t, f.EachUse(ctx, months, 1, func(r store.UseRow) error { paged = append(paged, r); return nil }))
	require.Len(t, paged, 6, "page by page it is the same list")
	for i, r := range []store.UseRow{paged[0], paged[2], paged[4]} {
		require.Equal(t, accounts[i], r.Account)
		require.Equal(t, int64(31_000*(i+1)), *r.Use)
		require.Equal(t, january[r.Account].ChargedFen, r.ChargedFen)
		require.Equal(t, january[r.Account].RechargedFen, r.RechargedFen)
		require.Equal(t, meters[i], r.Meter)
		b, _ := f.bill("park/2026-01/1", r.Account)
		require.Equal(t, b.ID, r.Bill)
		require.Equal(t, b.TotalFen, r.BilledFen)
	}

	customers, _, err := f.CustomerPage(ctx, store.UseFilter{Sites: days.Sites, Text: "Customer " + string(accounts[1]), From: months.From, To: billing.MustDate("2026-02-01")}, "", 10)
	require.NoError(t, err)
	require.Len(t, customers, 1, "by part of a name")
	require.Equal(t, int64(62_000), customers[0].AverageUse())
	require.Equal(t, customers[0].BilledFen, customers[0].AverageFen())

	sums, err := f.SiteMonths(ctx, days.Sites, months.From, months.To)
	require.NoError(t, err)
	require.Len(t, sums, 2)
	require.Equal(t, int64(31_000*6), sums[1].PowerRaw)
	require.Equal(t, paged[0].BilledFen+paged[2].BilledFen+paged[4].BilledFen, sums[1].BilledFen)

	_, _, err = f.UsePage(ctx, store.UseFilter{Sites: days.Sites, From: months.To, To: months.From}, "", 1)
	require.ErrorContains(t, err, "its end must come after its start")
	_, _, err = f.UsePage(ctx, store.UseFilter{Sites: days.Sites, From: months.From, To: billing.MustDate("2028-01-01")}, "", 1)
	require.ErrorContains(t, err, "covers 366 days at most")
}

func TestReport_whoOwes(t *testing.T) {
	f := newField(t, "2026-01-01")
	ctx := context.Background()
	accounts, _, silent := f.month(3) // each began with 100 yuan
	f.decide(activities.Decision{CaseID: silent[0], Decision: activities.DecideEstimate})
	f.issue(f.run("2026-01"))
	list := func(kind store.OwedKind) (ids []billing.AccountID, rows []store.OwedRow) {
		require.NoError(t, f.EachOwed(ctx, store.OwedFilter{Kind: kind, Sites: []billing.SiteID{f.Site}}, 1, func(r store.OwedRow) error {
			ids, rows = append(ids, r.Account), append(rows, r)
			return nil
		}))
		return ids, rows
	}
	arrears, _ := list(store.OwedArrears)
	require.Equal(t, []billing.AccountID{accounts[2], accounts[1], accounts[0]}, arrears, "the deepest debt first, page by page")
	_, unpaid := list(store.OwedUnpaid)
	require.Len(t, unpaid, 3)
	for _, r := range unpaid {
		b, _ := f.bill("park/2026-01/1", r.Account)
		require.Equal(t, b.ID, r.Bill)
		require.Equal(t, -r.BalanceFen-f.rated(r.Account, "2026-02-01"), r.UnpaidFen, "what was used since isn't on the bill")
		require.LessOrEqual(t, r.UnpaidFen, b.TotalFen)
	}
	short, arrear, err := f.OwedTallies(ctx, store.OwedFilter{Sites: []billing.SiteID{f.Site}})
	require.NoError(t, err)
	require.Equal(t, 3, arrear.N)
	require.Equal(t, -(unpaid[0].BalanceFen + unpaid[1].BalanceFen + unpaid[2].BalanceFen), arrear.DebtFen)
	reminded, _ := list(store.OwedShort)
	require.Len(t, reminded, short.N)
}

// recharge credits an account.
func (f *field) recharge(account billing.AccountID, fen billing.Money) {
	f.t.Helper()
	ctx := context.Background()
	require.NoError(f.t, f.Change(ctx, store.By{Actor: "workflow"}, func(tx *store.Tx) error {
		_, err := store.Post(ctx, tx, ledger.Entry{Site: f.Site, Kind: ledger.KindRechargeCredited, Key: "recharge/" + string(account), Subject: "R-" + string(account),
			Postings: []ledger.Posting{{Code: ledger.InTransit(f.Site), Amount: fen}, {Code: ledger.Customer(account), Amount: -fen}}})
		return err
	}))
}

// Published limits stop the bills of their months, whatever the site's policy says; months before keep the policy.
func TestBilling_publishedLimitsHoldFromTheirMonth(t *testing.T) {
	f := newField(t, "2026-01-01")
	ctx := context.Background()
	accounts, _, silent := f.month(3)
	f.decide(activities.Decision{CaseID: silent[0], Decision: activities.DecideEstimate})
	publish := func(month string, l control.Limits) {
		raw, err := json.Marshal(control.Policy{Power: l})
		require.NoError(t, err)
		_, err = f.AddBillingLimits(ctx, store.By{Actor: "sup1", Reason: "test"}, store.BillingLimits{Site: f.Site, FromMonth: billing.MustDate(month + "-01"), Limits: raw})
		require.NoError(t, err)
	}
	f.limit(control.Limits{HouseholdFen: 1})
	publish("2026-01", control.Limits{HouseholdFen: 40_000})
	publish("2026-02", control.Limits{HouseholdFen: 2})
	run := f.run("2026-01")
	for i, want := range []billing.BillState{billing.BillDraft, billing.BillDraft, billing.BillHeld} {
		b, _ := f.bill(run, accounts[i])
		require.Equal(t, want, b.State)
	}
	require.Equal(t, map[string]int{"amount": 1}, f.totals(run).Stops)
}
