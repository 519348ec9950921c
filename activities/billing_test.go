package activities_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// month lives January with n accounts of 10 kWh a day; the last one's meter stays silent from the 30th on.
func (f *field) month(n int) (accounts []billing.AccountID, meters []billing.MeterID, silent []billing.CaseID) {
	f.t.Helper()
	for range n {
		a, m := f.Account(storetestAccount())
		accounts, meters = append(accounts, a), append(meters, m)
	}
	for d := billing.MustDate("2026-01-02"); !d.After(billing.MustDate("2026-02-01")); d = d.AddDays(1) {
		shown := map[billing.MeterID]billing.Registers{}
		for i, m := range meters {
			if i < n-1 || d.Before(billing.MustDate("2026-01-30")) {
				shown[m] = regs(int64(billing.MustDate("2026-01-01").DaysUntil(d)) * 1000 * int64(i+1))
			}
		}
		silent = append(silent, f.day(d.String(), shown)...)
	}
	return accounts, meters, silent
}

func TestBilling_runFromRatingToIssue(t *testing.T) {
	f := newField(t, "2026-01-01")
	accounts, _, silent := f.month(3)
	require.Len(t, silent, 1)
	ctx := context.Background()

	in := activities.RunStart{RunID: "park/2026-01/1", Site: f.Site, Period: billing.MonthPeriod(billing.MustDate("2026-01-01")), Version: 1}
	do[activities.RunOpened](f, f.bills.OpenRun, in)
	blocked := do[activities.Blocked](f, f.bills.CheckBlocking, activities.CheckBlocking{RunID: in.RunID})
	require.Equal(t, 1, blocked.Cases)
	require.Equal(t, billing.RunBlocked, f.runState(in.RunID))
	require.Equal(t, []billing.RunID{in.RunID}, do[activities.Decided](f, f.review.DecideCase, activities.Decision{
		CaseID: f.day("2026-02-02", nil)[0], By: "sup1", Decision: activities.DecideEstimate, Reason: "another doubt, of the next period",
	}).Runs, "the run that waits is named, so that it can be told")

	run := f.run("2026-01") // after the wait: without the account in doubt
	var totals store.RunTotals
	r, err := f.Run(ctx, run)
	require.NoError(t, err)
	require.Equal(t, billing.RunAwaitingVerification, r.State)
	require.NoError(t, json.Unmarshal(r.Totals, &totals))
	require.Equal(t, [2]int{2, 1}, [2]int{totals.Bills, totals.Held})
	require.Equal(t, int64(31_000+62_000), totals.Quantity[billing.Power])
	require.Equal(t, totals.TotalFen, totals.ChargedFen)
	held, _ := f.bill(run, accounts[2])
	require.Equal(t, billing.BillHeld, held.State)
	require.Contains(t, held.HoldReason, string(silent[0]))

	sign := func(by billing.UserID) activities.RunDecision { return activities.RunDecision{RunID: run, By: by} }
	require.Contains(t, refused(f, f.bills.ApproveIssue, sign("sup2")), "can't be issued now")
	require.Contains(t, refused(f, f.bills.VerifyRun, sign("clerk1")), "may not verify")
	do[any](f, f.bills.VerifyRun, sign("sup1"))
	require.Contains(t, refused(f, f.bills.ApproveIssue, sign("sup1")), "another supervisor", "the database refuses it too")
	require.Contains(t, refused(f, f.bills.IssueBills, activities.RunRef{RunID: run}), "not approved")

	// The doubt is decided after all: released, the bill joins the run, and the verification is void.
	release := activities.BillDecision{RunID: run, BillID: held.ID, By: "sup1", Reason: "decided"}
	require.Contains(t, refused(f, f.bills.ReleaseBill, release), "decide case")
	f.decide(activities.Decision{CaseID: silent[0], Decision: activities.DecideEstimate})
	_, err = f.env.ExecuteActivity(f.bills.ReleaseBill, release)
	require.NoError(t, err)
	require.Contains(t, refused(f, f.bills.ReleaseBill, release), "is not held")
	require.Equal(t, billing.RunAwaitingVerification, f.runState(run))
	released, lines := f.bill(run, accounts[2])
	require.Equal(t, int64(93_000), released.Quantity)
	require.NotEmpty(t, lines)

	do[any](f, f.bills.VerifyRun, sign("sup1"))
	do[any](f, f.bills.ApproveIssue, sign("sup2"))
	do[any](f, f.bills.IssueBills, activities.RunRef{RunID: run})
	require.Equal(t, billing.RunIssued, f.runState(run))
	for i, account := range accounts {
		bill, lines := f.bill(run, account)
		require.Equal(t, billing.BillIssued, bill.State)
		var sum int64
		for _, l := range lines {
			sum += l
		}
		require.Equal(t, int64(bill.TotalFen), sum, "the total is the sum of the lines")
		require.Equal(t, int64(31_000*(i+1)), bill.Quantity)
	}
	require.Zero(t, f.house("park/unbilled")+int64(f.rated(accounts[0], "2026-02-01")+f.rated(accounts[1], "2026-02-01")+f.rated(accounts[2], "2026-02-01")),
		"what is left unbilled is February")
	f.intact()
}

func TestBilling_holdKeepsABillOut(t *testing.T) {
	f := newField(t, "2026-01-01")
	accounts, meters, _ := f.month(2)
	run := f.run("2026-01")
	bill, _ := f.bill(run, accounts[0])
	hold := activities.BillDecision{RunID: run, BillID: bill.ID, By: "sup1"}
	require.Contains(t, refused(f, f.bills.HoldBill, hold), "a reason is needed")
	hold.Reason = "the customer complained"
	do[any](f, f.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"})
	_, err := f.env.ExecuteActivity(f.bills.HoldBill, hold)
	require.NoError(t, err)
	require.Contains(t, refused(f, f.bills.HoldBill, hold), "is held already")
	require.Equal(t, billing.RunAwaitingVerification, f.runState(run), "what was verified has changed")
	do[any](f, f.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"})
	do[any](f, f.bills.ApproveIssue, activities.RunDecision{RunID: run, By: "sup2"})
	require.Contains(t, refused(f, f.bills.ReleaseBill, hold), "before it is issued")
	do[any](f, f.bills.IssueBills, activities.RunRef{RunID: run})
	bill, _ = f.bill(run, accounts[0])
	require.Equal(t, billing.BillHeld, bill.State)

	// A held bill is not lost: charges go on, and the next version of the run bills the period once.
	f.day("2026-02-02", map[billing.MeterID]billing.Registers{meters[0]: regs(32_000)})
	in := activities.RunStart{RunID: "park/2026-01/2", Site: f.Site, Period: billing.MonthPeriod(billing.MustDate("2026-01-01")), Version: 2}
	do[activities.RunOpened](f, f.bills.OpenRun, in)
	do[any](f, f.bills.RateBills, activities.RunRef{RunID: in.RunID})
	again, _ := f.bill(in.RunID, accounts[0])
	require.Equal(t, billing.BillDraft, again.State)
	bill, _ = f.bill(run, accounts[0])
	require.Equal(t, billing.BillCancelled, bill.State)
	f.intact()
}

func (f *field) runState(id billing.RunID) billing.RunState {
	f.t.Helper()
	r, err := f.Run(context.Background(), id)
	require.NoError(f.t, err)
	return r.State
}

// house is the signed sum of a house account.
func (f *field) house(code string) int64 {
	f.t.Helper()
	var fen int64
	require.NoError(f.t, f.Pool.QueryRow(context.Background(), `SELECT coalesce(sum(amount_fen), 0)::bigint FROM ledger_postings WHERE code = $1`, code).Scan(&fen))
	return fen
}
