package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// ratedOnEstimate lives January at 10 kWh a day with an estimate at its end, and rates it: 310 kWh. It gives the register of 31 January.
func (f *field) ratedOnEstimate() (billing.AccountID, billing.MeterID, billing.RunID, int64) {
	f.t.Helper()
	account, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-31")
	f.estimated(f.day("2026-02-01", nil)[0])
	run := f.run("2026-01")
	bill, _ := f.bill(run, account)
	require.Equal(f.t, int64(31_000), bill.Quantity)
	return account, meter, run, total
}

// measured lives the day on which the meter answers again: 30 kWh in two days, so that January used 315 kWh.
func (f *field) measured(meter billing.MeterID, total int64) {
	f.t.Helper()
	require.Empty(f.t, f.day("2026-02-02", one(meter, total+3000)))
	require.Equal(f.t, regs(total+1500), f.current(meter, "2026-02-01").Registers, "the estimate was spread again")
}

// kept says that the customer's money is what the register says, no more and no less: 33,000 are 330 kWh at 0.538.
func (f *field) kept(account billing.AccountID) {
	f.t.Helper()
	require.Equal(f.t, billing.Money(10_000-17_754), f.balance(account))
	require.Equal(f.t, billing.Money(16_947), f.billed(account), "315 kWh")
	f.intact()
}

func (f *field) billed(account billing.AccountID) (fen billing.Money) {
	f.t.Helper()
	require.NoError(f.t, f.Pool.QueryRow(context.Background(), `SELECT coalesce(sum(total_fen), 0)::bigint FROM bills WHERE account_id = $1 AND state = 'issued'`, account).Scan(&fen))
	return fen
}

func TestBilling_aReadingThatChangesBeforeTheFirstSignature(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter, run, total := f.ratedOnEstimate()
	f.measured(meter, total)
	verify := activities.RunDecision{RunID: run, By: "sup1"}
	require.Contains(t, refused(f, f.bills.VerifyRun, verify), "the bills that rest on them (1) are held now")
	bill, _ := f.bill(run, account)
	require.Equal(t, billing.BillHeld, bill.State)
	require.Contains(t, bill.HoldReason, "the reading of meter "+string(meter)+" of 2026-02-01 has changed")
	totals := f.totals(run)
	require.Equal(t, [2]int{0, 1}, [2]int{totals.Bills, totals.Held}, "the totals that are signed are those without it")
	require.Equal(t, billing.RunAwaitingVerification, f.runState(run))

	_, err := f.env.ExecuteActivity(f.bills.ReleaseBill, activities.BillDecision{RunID: run, BillID: bill.ID, By: "sup1", Reason: "seen"})
	require.NoError(t, err)
	f.issue(run)
	f.kept(account)
}

func TestBilling_aReadingThatChangesBetweenTheSignatures(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter, run, total := f.ratedOnEstimate()
	do[any](f, f.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"})
	f.measured(meter, total)
	require.Contains(t, refused(f, f.bills.ApproveIssue, activities.RunDecision{RunID: run, By: "sup2"}), "the bills that rest on them (1) are held now")
	r, err := f.Run(context.Background(), run)
	require.NoError(t, err)
	require.Equal(t, billing.RunAwaitingVerification, r.State)
	require.Nil(t, r.VerifiedBy, "what was verified has changed")
	bill, _ := f.bill(run, account)
	require.Equal(t, billing.BillHeld, bill.State)
	_, err = f.env.ExecuteActivity(f.bills.ReleaseBill, activities.BillDecision{RunID: run, BillID: bill.ID, By: "sup1", Reason: "seen"})
	require.NoError(t, err)
	f.issue(run)
	f.kept(account)
}

func TestBilling_aReadingThatChangesWhileTheRunIsPosted(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter, run, total := f.ratedOnEstimate()
	do[any](f, f.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"})
	do[any](f, f.bills.ApproveIssue, activities.RunDecision{RunID: run, By: "sup2"})
	f.measured(meter, total)
	do[any](f, f.bills.IssueBills, activities.RunRef{RunID: run})
	require.Equal(t, billing.RunIssued, f.runState(run), "no other bill waits for it")
	bill, _ := f.bill(run, account)
	require.Equal(t, billing.BillHeld, bill.State)
	require.Zero(t, f.billed(account))
	var held int
	require.NoError(t, f.Pool.QueryRow(context.Background(), `SELECT sum(held) FROM billing_chunks WHERE run_id = $1`, run).Scan(&held))
	require.Equal(t, 1, held)
	f.issue(f.again("2026-01", 2))
	f.kept(account)
}

// A run is posted between what a decision was worked out from and its transaction: what an issued bill rests on isn't rewritten behind it.
func TestBilling_isIssuedBetweenADecisionAndItsTransaction(t *testing.T) {
	f := newField(t, "2026-01-01")
	ctx, by := context.Background(), store.By{Actor: "workflow"}
	account, meter, run, total := f.ratedOnEstimate()
	trails, err := f.Trails(ctx, []billing.MeterID{meter}, midnight("2026-02-02"))
	require.NoError(t, err)
	seen := trails[meter]
	require.Len(t, seen.Estimates, 1, "no issued bill rests on it yet")
	fresh := seen.Estimates[0]
	fresh.Registers, fresh.Method = regs(total+1500), "true_up"
	id := f.sweep("2026-02-02", one(meter, total+3000))
	_, err = f.AdvanceCycle(ctx, by, id, billing.CycleValidating)
	require.NoError(t, err)
	f.issue(run)
	up := store.TrueUp{Site: f.Site, Meter: meter, Measured: midnight("2026-02-02"), Readings: []store.Reading{fresh}, Billed: seen.Billed}
	err = f.SaveFindings(ctx, by, id, []billing.GatewayID{"G1"}, store.Findings{TrueUps: []store.TrueUp{up}})
	require.Equal(t, billing.CodeStale, billing.CodeOf(err))
	require.Equal(t, regs(total+1000), f.current(meter, "2026-02-01").Registers, "what the bill says")
	do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
	do[any](f, f.meters.CloseCycle, activities.CycleRef{CycleID: id})
	f.charge(id)
	stale, err := f.StaleBills(ctx, []billing.SiteID{f.Site}, []billing.AccountID{account})
	require.NoError(t, err)
	require.Empty(t, stale)
	require.Equal(t, billing.Money(10_000-17_754), f.balance(account), "330 kWh, once")
	f.intact()
}

// The other way round: a decision that holds the lock and isn't committed yet is waited for, and then holds the bill.
func TestBilling_waitsForADecisionThatIsBeingStored(t *testing.T) {
	f := newField(t, "2026-01-01")
	ctx := context.Background()
	account, meter, run, total := f.ratedOnEstimate()
	do[any](f, f.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"})
	do[any](f, f.bills.ApproveIssue, activities.RunDecision{RunID: run, By: "sup2"})
	decision, err := f.Pool.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = decision.Rollback(ctx) }()
	_, err = decision.Exec(ctx, `SELECT 1 FROM balances WHERE account_id = $1 FOR UPDATE`, account)
	require.NoError(t, err)
	_, err = decision.Exec(ctx, `INSERT INTO readings SELECT meter_id, freeze_at, version + 1, taken_at, taken_real, quality, ARRAY[$3::bigint,0,0,$3::bigint,0,0], remaining_fen, purchase_count, supply, forced, status_word, power_w,
		clock_skew_s, interpolated, doubtful, cycle_id, 'sup1', 'away' FROM current_readings WHERE meter_id = $1 AND freeze_at = $2`, meter, midnight("2026-02-01"), total+200)
	require.NoError(t, err)
	issued := make(chan error, 1)
	go func() {
		_, err := f.IssueBills(ctx, store.By{Actor: "workflow"}, run, 1, 10)
		issued <- err
	}()
	require.Eventually(t, func() bool {
		var waits bool
		err := f.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM balances%')`).Scan(&waits)
		return err == nil && waits
	}, 20*time.Second, 20*time.Millisecond)
	require.NoError(t, decision.Commit(ctx))
	require.NoError(t, <-issued)
	bill, _ := f.bill(run, account)
	require.Equal(t, billing.BillHeld, bill.State)
	require.Zero(t, f.billed(account))
}

// A reading that somebody doubts after the rating carries no bill either, and one that comes out the same does.
func TestBilling_aReadingThatIsDoubtedOrConfirmedAfterTheRating(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter, run, _ := f.ratedOnEstimate()
	version := func(registers string, doubtful bool) {
		_, err := f.Pool.Exec(context.Background(), `INSERT INTO readings SELECT meter_id, freeze_at, version + 1, taken_at, taken_real, quality, `+registers+`, remaining_fen,
			purchase_count, supply, forced, status_word, power_w, clock_skew_s, interpolated, $3, cycle_id, 'sup1', 'looked at it' FROM current_readings WHERE meter_id = $1 AND freeze_at = $2`,
			meter, midnight("2026-02-01"), doubtful)
		require.NoError(t, err)
	}
	verify := activities.RunDecision{RunID: run, By: "sup1"}
	version("registers", false)
	do[any](f, f.bills.VerifyRun, verify)
	version("registers", true)
	require.Contains(t, refused(f, f.bills.ApproveIssue, activities.RunDecision{RunID: run, By: "sup2"}), "the bills that rest on them (1) are held now")
	bill, _ := f.bill(run, account)
	require.Equal(t, billing.BillHeld, bill.State)
	f.intact()
}

// A correction that has written its change and not reached a draft yet keeps the draft from being issued with the old price.
func TestBilling_anUnfinishedCorrectionKeepsTheRunWaiting(t *testing.T) {
	b := newBooks(t)
	account, meter := b.Account(storetestAccount())
	b.day("2026-01-02", one(meter, 1000))
	b.day("2026-02-01", one(meter, 31_000))
	run := b.run("2026-01")
	k := b.draft(billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate("2026-01-01"), Tariff: "demo-commercial-flat"}})
	require.Equal(t, 1, k.Bills, "the draft")
	b.approve(k)
	_, err := b.BeginCorrection(context.Background(), store.By{Actor: "workflow"}, k.ID)
	require.NoError(t, err)
	require.Contains(t, refused(b.field, b.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"}), "correction "+string(k.ID))
	b.apply(k.ID)
	b.field.issue(run)
	require.Equal(t, billing.Money(21_700), b.billed(account), "310 kWh at 0.70")
	b.intact()
}

// A held bill that is released is rated by the terms of today: the bill names their tariff.
func TestBilling_aReleasedBillNamesItsTariff(t *testing.T) {
	b := newBooks(t)
	account, meter := b.Account(storetestAccount())
	b.day("2026-01-02", one(meter, 1000))
	b.day("2026-02-01", one(meter, 31_000))
	run := b.run("2026-01")
	bill, _ := b.bill(run, account)
	decide := activities.BillDecision{RunID: run, BillID: bill.ID, By: "sup1", Reason: "is it a shop?"}
	_, err := b.env.ExecuteActivity(b.bills.HoldBill, decide)
	require.NoError(t, err)
	b.carryOut(billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate("2026-01-01"), Tariff: "demo-commercial-flat"}})
	_, err = b.env.ExecuteActivity(b.bills.ReleaseBill, decide)
	require.NoError(t, err)
	bill, _ = b.bill(run, account)
	require.Equal(t, billing.TariffID("demo-commercial-flat"), bill.Tariff)
	b.field.issue(run)
	require.Equal(t, billing.Money(21_700), b.billed(account), "310 kWh at 0.70")

	k := b.draft(readingChange(meter, "2026-02-01", regs(31_000+100)))
	rows, _, err := b.CorrectedBills(context.Background(), k.ID, 0, 0)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	b.intact()
}

// A bill that a correction has issued again rests on what is on file; one whose reading changed, whenever the new value says that it was
// taken, doesn't.
func TestStaleBills_byWhatTheBillSays(t *testing.T) {
	b := newBooks(t)
	account, meter := b.quarter(storetestAccount())
	stale := func() []store.StaleBill {
		bills, err := b.StaleBills(context.Background(), []billing.SiteID{b.Site}, []billing.AccountID{account})
		require.NoError(t, err)
		return bills
	}
	require.Empty(t, stale())
	b.at("2026-04-05", 9, 0)
	b.carryOut(readingChange(meter, "2026-02-01", regs(26_000)))
	require.Empty(t, stale(), "both bills were issued again with it")
	_, err := b.Pool.Exec(context.Background(), `INSERT INTO readings SELECT meter_id, freeze_at, version + 1, freeze_at, taken_real, 'manual', ARRAY[27000,0,0,27000,0,0]::bigint[], remaining_fen,
		purchase_count, supply, forced, status_word, power_w, clock_skew_s, interpolated, doubtful, cycle_id, 'sup1', 'read at the meter that night' FROM current_readings WHERE meter_id = $1 AND freeze_at = $2`,
		meter, midnight("2026-02-01"))
	require.NoError(t, err)
	found := stale()
	require.Len(t, found, 2, "January and February")
	require.Equal(t, regs(26_000), found[0].Billed)
	require.Equal(t, regs(27_000), found[0].Newest)
	require.Equal(t, 3, found[0].NewestVer)
}
