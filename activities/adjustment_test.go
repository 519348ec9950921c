package activities_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// repairs are books with what adjusts them.
type repairs struct {
	*books
	adjust activities.Adjusting
	forms  int
}

func newRepairs(t *testing.T, instead ...billing.Tariff) *repairs {
	r := &repairs{books: newBooks(t, instead...)}
	r.adjust.Store = r.Store
	r.env.RegisterActivity(&r.adjust)
	return r
}

func (r *repairs) tested(meter billing.MeterID, day, percent string) error {
	return r.RecordMeterTest(context.Background(), store.By{Actor: "sup1"}, store.MeterTest{Meter: meter, TestedOn: billing.MustDate(day), ErrorPercent: billing.MustPercent(percent), Certificate: "JD-" + day})
}

func (r *repairs) submission(f billing.Fault) activities.SubmitAdjustment {
	r.t.Helper()
	id, err := r.NextAdjustmentID(context.Background())
	require.NoError(r.t, err)
	r.forms++
	return activities.SubmitAdjustment{AdjustmentID: id, By: "sup1", Fault: f, Reason: "the test found an error", Evidence: "JD-7", Key: fmt.Sprint("form ", r.forms)}
}

func (r *repairs) enter(f billing.Fault) store.AdjustmentRow {
	r.t.Helper()
	in := r.submission(f)
	do[activities.AdjustmentFacts](r.field, r.adjust.DraftAdjustment, in)
	return r.adjustment(in.AdjustmentID)
}

func (r *repairs) adjustment(id billing.AdjustmentID) store.AdjustmentRow {
	r.t.Helper()
	j, err := r.AdjustmentRow(context.Background(), id)
	require.NoError(r.t, err)
	return j
}

func (r *repairs) approval(j store.AdjustmentRow, by billing.UserID, number int) activities.AdjustmentDecision {
	return activities.AdjustmentDecision{AdjustmentID: j.ID, By: by, Digest: fmt.Sprintf("%x", j.Digest), Number: number}
}

// book enters an adjustment and has two others approve it.
func (r *repairs) book(f billing.Fault) store.AdjustmentRow {
	r.t.Helper()
	j := r.enter(f)
	for n, by := range []billing.UserID{"sup2", "boss"} {
		do[activities.AdjustmentFacts](r.field, r.adjust.ApproveAdjustment, r.approval(j, by, n+1))
	}
	j = r.adjustment(j.ID)
	require.Equal(r.t, billing.AdjustmentBooked, j.State)
	return j
}

func (r *repairs) lines(id billing.AdjustmentID) (texts []string) {
	r.t.Helper()
	lines, err := r.AdjustedLines(context.Background(), id)
	require.NoError(r.t, err)
	for _, l := range lines {
		texts = append(texts, fmt.Sprintf("%s tier %d: %s -> %s at %s: %s -> %s", string(l.Bill)[len(l.Bill)-8:], l.Tier, l.BilledQuantity, l.TrueQuantity, l.Price, l.BilledFen, l.TrueFen))
	}
	return texts
}

// Worked by hand. The meter hangs since 1 January and is tested and set right on 1 April: 2.5 % too much. Half of the 90 days are the 45
// from 15 February on. The meter was read on first days only, so the 14 of February's 28 days take half of its 280 kWh, and March has 310:
//
//	registered 450, true 450 ÷ 1.025 = 439.0243… = 439.02
//	February 140 ÷ 1.025 = 136.5853… = 136.59, that is 3.41 less; March the rest, 10.98 − 3.41 = 7.57 less
//	2,600 kWh before January: both months lie in the second step, 0.588
//	February 280 × 0.588 = 164.64; 276.59 × 0.588 = 162.63492 = 162.63   → −2.01
//	March    310 × 0.588 = 182.28; 302.43 × 0.588 = 177.82884 = 177.83   → −4.45
func TestAdjustment_ofATestedMeter(t *testing.T) {
	r := newRepairs(t)
	n := storetestAccount()
	n.UseBefore = 260_000
	account, meter := r.quarter(n)
	bills, balance := r.billsOf(account), r.balance(account)
	require.NoError(t, r.tested(meter, "2026-04-01", "2.5"))

	j := r.enter(billing.Fault{Kind: billing.AdjustError, Meter: meter, Corrected: billing.MustDate("2026-04-01")})
	require.Equal(t, billing.AdjustmentPreviewed, j.State)
	require.Equal(t, [2]string{"2026-01-01", store.CountedByFitting}, [2]string{j.CountedFrom.String(), j.CountedBy})
	require.Equal(t, midnight("2026-02-15"), j.FromAt.UTC())
	require.Equal(t, midnight("2026-04-01"), j.ToAt.UTC())
	require.Equal(t, int64(45_000), j.Registered.Total())
	require.Equal(t, int64(-1_098), j.Difference.Total())
	require.Equal(t, []string{"202602-1 tier 2: 280 -> 276.59 at 0.588: 164.64 -> 162.63", "202603-1 tier 2: 310 -> 302.43 at 0.588: 182.28 -> 177.83"}, r.lines(j.ID))
	require.Equal(t, billing.Money(-6_46), j.TotalFen)
	require.Equal(t, balance, r.balance(account), "nothing has moved")

	require.Contains(t, refused(r.field, r.adjust.ApproveAdjustment, r.approval(j, "sup1", 1)), "two others must approve")
	require.Contains(t, refused(r.field, r.adjust.ApproveAdjustment, r.approval(j, "clerk1", 1)), "may not approve")
	do[activities.AdjustmentFacts](r.field, r.adjust.ApproveAdjustment, r.approval(j, "sup2", 1))
	do[activities.AdjustmentFacts](r.field, r.adjust.ApproveAdjustment, r.approval(j, "sup2", 1)) // a repeat
	require.Contains(t, refused(r.field, r.adjust.ApproveAdjustment, r.approval(j, "sup2", 2)), "approved this adjustment already")
	require.Equal(t, balance, r.balance(account), "one approval moves nothing")
	do[activities.AdjustmentFacts](r.field, r.adjust.ApproveAdjustment, r.approval(j, "boss", 2))
	do[activities.AdjustmentFacts](r.field, r.adjust.ApproveAdjustment, r.approval(j, "boss", 2))
	require.Equal(t, balance+6_46, r.balance(account))
	require.Equal(t, bills, r.billsOf(account), "the issued bills stand")
	j = r.adjustment(j.ID)
	require.Equal(t, billing.AdjustmentBooked, j.State)
	follows := do[activities.CreditFollows](r.field, r.adjust.FollowAdjustment, activities.AdjustmentRef{AdjustmentID: j.ID})
	require.Len(t, follows.Messages, 1, "the customer is told")
	require.Contains(t, refused(r.field, r.adjust.RejectAdjustment, activities.AdjustmentDecision{AdjustmentID: j.ID, By: "boss", Reason: "no"}), "is booked")
	_, err := r.Pool.Exec(context.Background(), `UPDATE adjustments SET total_fen = 0 WHERE id = $1`, j.ID)
	require.ErrorContains(t, err, "never edited")
	_, err = r.Pool.Exec(context.Background(), `UPDATE adjustment_lines SET true_fen = 0 WHERE adjustment_id = $1`, j.ID)
	require.Error(t, err)

	second := r.submission(billing.Fault{Kind: billing.AdjustWiring, Meter: meter, Corrected: billing.MustDate("2026-03-01"), Percent: billing.MustPercent("10")})
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, second), "adjusted once")
	r.intact()
	r.holds()
	r.breaks(proof.Adjustments, `SELECT 1`, "")
	for sql, want := range map[string]string{
		`UPDATE adjustment_lines SET true_fen = true_fen + 1 WHERE seq = 1`:                                                                 "don't come to",
		`UPDATE adjustment_lines SET price = 0.6`:                                                                                           "don't come to",
		`UPDATE adjustments SET total_fen = total_fen - 1`:                                                                                  "its lines come to -646",
		`UPDATE adjustments SET state = 'rejected', approved2_by = NULL, entry_id = NULL`:                                                   "moved the customer's credit by -646",
		`UPDATE adjustments SET entry_id = NULL`:                                                                                            "doesn't know it",
		`UPDATE adjustment_bills SET billed_fen = billed_fen + 1, true_fen = true_fen + 1`:                                                  "which stood at",
		`UPDATE adjustments SET percent = 2.6`:                                                                                              "is not -1098 more",
		`UPDATE adjustment_bills SET true_quantity = true_quantity + 1`:                                                                     "its bills by",
		`ALTER TABLE adjustments DROP CONSTRAINT adjustment_maker_is_not_second_approver; UPDATE adjustments SET approved2_by = drafted_by`: "entered by sup1, approved by sup2 and sup1",
		`UPDATE ledger_postings SET amount_fen = amount_fen - 1 WHERE code LIKE '%/revenue/power'`:                                          "of power revenue; bills and adjustments come to",
		`ALTER TABLE adjustments DROP CONSTRAINT adjustments_once; INSERT INTO adjustments SELECT (jsonb_populate_record(j, '{"id": "J2", "idempotency_key": "other", "entry_id": null}')).* FROM adjustments j`: "both adjust meter",
	} {
		r.breaks(proof.Adjustments, sql, want)
	}
}

// Steps of the year go on from the true use: 3,900 kWh before January and 900 of the quarter end right at the second step's edge, 4,800.
// With 10.98 kWh less, the first 10 kWh of April cost 0.588 and not 0.838: the open month's next charge gives 2.50 back, and its bill says so.
func TestAdjustment_laterStepsCountTheTrueUse(t *testing.T) {
	r := newRepairs(t)
	n := storetestAccount()
	n.UseBefore = 390_000
	account, meter := r.quarter(n)
	require.NoError(t, r.tested(meter, "2026-04-01", "2.5"))
	r.book(billing.Fault{Kind: billing.AdjustError, Meter: meter, Corrected: billing.MustDate("2026-04-01")})
	require.Equal(t, billing.Money(2_50), r.tomorrow(account, meter, "2026-04-03", 91_000))
	// 30 kWh in all of April: 10.98 at 0.588 = 6.46, and 19.02 at 0.838 = 15.94.
	r.day("2026-05-01", map[billing.MeterID]billing.Registers{meter: regs(93_000)})
	r.at("2026-05-02", 9, 0)
	r.issue("2026-04")
	bills := r.billsOf(account)
	require.Equal(t, billing.Money(6_46+15_94), bills[3].TotalFen)
	// A correction of a bill that was issued before doesn't count what was adjusted after it: January comes out as before.
	k := r.draft(readingChange(meter, "2026-02-01", regs(30_000)))
	for _, b := range func() []store.CorrectedBillRow {
		rows, _, err := r.CorrectedBills(context.Background(), k.ID, 0, 0)
		require.NoError(t, err)
		return rows
	}() {
		require.NotEqual(t, billing.MustDate("2026-04-01"), b.PeriodFrom, "April's steps stay")
	}
	r.intact()
	r.holds()
	r.breaks(proof.Adjustments, `SELECT 1`, "")
}

// A refund is credit like any other: it ends the arrears case and gives supply back.
func TestAdjustment_whatGivesCreditBackGivesSupplyBack(t *testing.T) {
	r := newRepairs(t)
	n := storetestAccount()
	n.Fen = 40_000 // 400 yuan for 490 of use: below zero, and cut
	account, meter := r.quarter(n)
	require.Negative(t, r.balance(account))
	_, err := r.Pool.Exec(context.Background(), `UPDATE supplies SET state = 'off', wanted = 'off', cut_cause = 'credit' WHERE account_id = $1`, account)
	require.NoError(t, err)
	j := r.book(billing.Fault{Kind: billing.AdjustWiring, Meter: meter, Corrected: billing.MustDate("2026-04-01"), Percent: billing.MustPercent("-50")})
	require.Positive(t, r.balance(account))
	follows := do[activities.CreditFollows](r.field, r.adjust.FollowAdjustment, activities.AdjustmentRef{AdjustmentID: j.ID})
	require.Len(t, follows.Restores, 1)
	require.Len(t, follows.Reminders, 1)
	r.intact()
}

// A charge beyond the cut limit cuts nobody: it plans no cut and opens no arrears case, and the customer is told.
func TestAdjustment_chargeBeyondTheLimitCutsNobody(t *testing.T) {
	r := newRepairs(t)
	n := storetestAccount()
	n.Fen = 50_000
	account, meter := r.quarter(n)
	require.Positive(t, r.balance(account))
	count := func(table string) (n int) {
		require.NoError(t, r.Pool.QueryRow(context.Background(), `SELECT count(*) FROM `+table).Scan(&n))
		return n
	}
	reminders := count("reminders")
	j := r.book(billing.Fault{Kind: billing.AdjustWiring, Meter: meter, Corrected: billing.MustDate("2026-04-01"), Percent: billing.MustPercent("100")})
	require.Negative(t, r.balance(account))
	require.Zero(t, count("cutoffs"))
	require.Equal(t, reminders, count("reminders"))
	follows := do[activities.CreditFollows](r.field, r.adjust.FollowAdjustment, activities.AdjustmentRef{AdjustmentID: j.ID})
	require.Len(t, follows.Messages, 1)
	require.Empty(t, follows.Cutoffs)
	m, err := r.Message(context.Background(), follows.Messages[0])
	require.NoError(t, err)
	require.Contains(t, m.Body, j.TotalFen.Grouped())
	require.Contains(t, m.Body, r.balance(account).Grouped(), "the message says the new balance")
}

func TestAdjustment_wrongWiringAndAnotherFault(t *testing.T) {
	r := newRepairs(t)
	account, meter := r.quarter(storetestAccount())
	balance := r.balance(account)
	// A test in January: the wiring counts since then, though the error of that test was 0.
	require.NoError(t, r.tested(meter, "2026-02-01", "0"))
	j := r.book(billing.Fault{Kind: billing.AdjustWiring, Meter: meter, Corrected: billing.MustDate("2026-03-01"), Percent: billing.MustPercent("50")})
	require.Equal(t, store.CountedByTest, j.CountedBy)
	require.Equal(t, int64(14_000), j.Difference.Total(), "half of February's 280 kWh more")
	require.Equal(t, billing.Money(75_32), j.TotalFen, "140 × 0.538")
	require.Equal(t, balance-75_32, r.balance(account))

	// Ten days of March, against January: 310 kWh in 31 days are 10 a day. March has 310 in 31 days too: nothing differs.
	fault := billing.Fault{Kind: billing.AdjustFault, Meter: meter, Since: billing.MustDate("2026-03-06"), Corrected: billing.MustDate("2026-03-16"), Normal: billing.MustDate("2026-01-01")}
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, r.submission(fault)), "nothing to adjust")
	fault.Normal = billing.MustDate("2026-03-01")
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, r.submission(fault)), "lies in the time of the fault")
	fault.Normal = billing.MustDate("2025-12-01")
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, r.submission(fault)), "no issued bill of 2025-12")
	r.intact()
	r.holds()
	r.breaks(proof.Adjustments, `SELECT 1`, "")
}

// A second fault is priced on what the first one made of the year. 2,360 kWh before January and January's true 465 pass the first step's end
// at 2,760, so that February lies in the second step whole, as the first fault's lines say, though its own bill has 90 kWh in the first.
func TestAdjustment_countsAnEarlierFaultBeforeItsOwnBills(t *testing.T) {
	r := newRepairs(t)
	n := storetestAccount()
	n.UseBefore = 236_000
	_, meter := r.quarter(n)
	require.NoError(t, r.tested(meter, "2026-02-01", "0"))
	wired := func(corrected, percent string) billing.Fault {
		return billing.Fault{Kind: billing.AdjustWiring, Meter: meter, Corrected: billing.MustDate(corrected), Percent: billing.MustPercent(percent)}
	}
	first := r.book(wired("2026-02-01", "50"))
	require.Equal(t, []string{"202601-1 tier 1: 310 -> 400 at 0.538: 166.78 -> 215.20", "202601-1 tier 2: 0 -> 65 at 0.588: 0.00 -> 38.22",
		"202602-1 tier 1: 90 -> 0 at 0.538: 48.42 -> 0.00", "202602-1 tier 2: 190 -> 280 at 0.588: 111.72 -> 164.64"}, r.lines(first.ID))
	r.at("2026-04-03", 10, 0)
	second := r.book(wired("2026-03-01", "-50"))
	require.Equal(t, []string{"202602-1 tier 2: 280 -> 140 at 0.588: 164.64 -> 82.32"}, r.lines(second.ID))
	r.intact()
	r.holds()
	r.breaks(proof.Adjustments, `SELECT 1`, "")
}

// A fault that is reckoned by a normal month counts its days from its own beginning, which may lie before the bills of the next fault.
// January and March have 10 kWh a day, February 5. The first fault's days in January differ by nothing, those in February by 9 × 5 = 45 kWh;
// the second fault's 5 days by 25.
func TestAdjustment_countsAnEarlierFaultFromItsBeginning(t *testing.T) {
	r := newRepairs(t)
	n := storetestAccount()
	n.UseBefore = 235_000
	_, meter := r.Account(n)
	for _, d := range []struct {
		day   string
		total int64
	}{{"2026-01-02", 1000}, {"2026-02-01", 31_000}, {"2026-03-01", 45_000}, {"2026-04-01", 76_000}, {"2026-04-02", 77_000}} {
		require.Empty(t, r.day(d.day, map[billing.MeterID]billing.Registers{meter: regs(d.total)}), d.day)
	}
	r.at("2026-04-03", 9, 0)
	for _, month := range []string{"2026-01", "2026-02", "2026-03"} {
		r.issue(month)
	}
	dead := func(since, corrected string) billing.Fault {
		return billing.Fault{Kind: billing.AdjustFault, Meter: meter, Since: billing.MustDate(since), Corrected: billing.MustDate(corrected), Normal: billing.MustDate("2026-03-01")}
	}
	first := r.book(dead("2026-01-20", "2026-02-10"))
	require.Equal(t, []string{"202602-1 tier 2: 40 -> 85 at 0.588: 23.52 -> 49.98"}, r.lines(first.ID))
	r.at("2026-04-03", 10, 0)
	second := r.book(dead("2026-02-15", "2026-02-20"))
	require.Equal(t, []string{"202602-1 tier 2: 85 -> 110 at 0.588: 49.98 -> 64.68"}, r.lines(second.ID))
	r.intact()
	r.holds()
	r.breaks(proof.Adjustments, `SELECT 1`, "")
}

func TestAdjustment_refuses(t *testing.T) {
	r := newRepairs(t)
	_, meter := r.quarter(storetestAccount())
	_, prepaid := r.Account(storetest.NewAccount{Mode: billing.CreditMeter, OpenedOn: billing.MustDate("2026-01-01")})
	tested := func(corrected string) billing.Fault {
		return billing.Fault{Kind: billing.AdjustError, Meter: meter, Corrected: billing.MustDate(corrected)}
	}
	wired := func(meter billing.MeterID, corrected, percent string) billing.Fault {
		return billing.Fault{Kind: billing.AdjustWiring, Meter: meter, Corrected: billing.MustDate(corrected), Percent: billing.MustPercent(percent)}
	}
	says := func(f billing.Fault, part string) {
		t.Helper()
		require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, r.submission(f)), part)
	}
	says(tested("2026-04-01"), "no test of meter "+string(meter)+" is on file")
	require.ErrorContains(t, r.tested(meter, "2026-04-04", "1"), "in the future")
	require.ErrorContains(t, r.tested(meter, "2025-12-31", "1"), "was not fitted here yet")
	require.ErrorContains(t, r.tested("M404", "2026-04-01", "1"), "no meter")
	require.NoError(t, r.tested(meter, "2026-03-31", "0"))
	require.ErrorContains(t, r.tested(meter, "2026-03-31", "1"), "on file already")
	says(tested("2026-04-01"), "0 percent changes nothing")
	says(wired(meter, "2026-04-01", "0"), "0 percent changes nothing")
	says(wired(meter, "2026-04-01", "-100"), "can't be reckoned with")
	says(wired(meter, "2026-04-04", "10"), "lies in the future")
	says(wired(meter, "2026-04-03", "10"), "covers 2026-04-01: the customer pays as read first")
	says(wired(meter, "2026-01-01", "10"), "was not fitted before 2026-01-01")
	says(wired("M404", "2026-04-01", "10"), "no meter")
	says(wired(prepaid, "2026-04-01", "10"), "holds its credit in the meter")
	says(billing.Fault{Kind: billing.AdjustFault, Meter: meter, Since: billing.MustDate("2025-12-20"), Corrected: billing.MustDate("2026-01-20"), Normal: billing.MustDate("2026-02-01")}, "did not measure account")
	in := r.submission(wired(meter, "2026-04-01", "10"))
	in.By = "clerk1"
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, in), "may not enter an adjustment")
	in.By, in.Reason = "sup1", " "
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, in), "say why")
	rows, total, err := r.AdjustmentPage(context.Background(), store.AdjustmentFilter{Sites: []billing.SiteID{r.Site}}, 10, 0)
	require.NoError(t, err)
	require.Empty(t, rows)
	require.Zero(t, total, "what is refused leaves nothing behind")
}

// What it was reckoned from must stand until it is booked: a corrected bill makes it stale; rejected, it can be entered again.
func TestAdjustment_isNotBookedOnOtherBillsThanWereShown(t *testing.T) {
	r := newRepairs(t)
	account, meter := r.quarter(storetestAccount())
	fault := billing.Fault{Kind: billing.AdjustWiring, Meter: meter, Corrected: billing.MustDate("2026-04-01"), Percent: billing.MustPercent("10")}
	j := r.enter(fault)
	do[activities.AdjustmentFacts](r.field, r.adjust.ApproveAdjustment, r.approval(j, "sup2", 1))
	r.carryOut(readingChange(meter, "2026-02-01", regs(26_000)))
	balance := r.balance(account)
	require.Contains(t, refused(r.field, r.adjust.ApproveAdjustment, r.approval(j, "boss", 2)), "has changed: withdraw or reject it")
	require.Equal(t, balance, r.balance(account))
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, r.submission(fault)), "adjusted once")
	do[activities.AdjustmentFacts](r.field, r.adjust.RejectAdjustment, activities.AdjustmentDecision{AdjustmentID: j.ID, By: "boss", Reason: "bills were corrected"})
	again := r.book(fault)
	require.Equal(t, int64(9_000), again.Difference.Total())
	require.Equal(t, balance-again.TotalFen, r.balance(account))
	r.intact()
	r.holds()
	r.breaks(proof.Adjustments, `SELECT 1`, "")
}

// undo enters what takes an adjustment back and has two others approve it.
func (r *repairs) undo(id billing.AdjustmentID) store.AdjustmentRow {
	r.t.Helper()
	in := r.submission(billing.Fault{})
	in.Undoes = id
	do[activities.AdjustmentFacts](r.field, r.adjust.DraftAdjustment, in)
	j := r.adjustment(in.AdjustmentID)
	for n, by := range []billing.UserID{"sup2", "boss"} {
		do[activities.AdjustmentFacts](r.field, r.adjust.ApproveAdjustment, r.approval(j, by, n+1))
	}
	return r.adjustment(in.AdjustmentID)
}

// An adjustment was booked by mistake, and April's bill counted its true use. Undone, all stands as in a world where it never was; entered again, as
// in one where it was booked after April.
func TestAdjustment_undone(t *testing.T) {
	fault := func(meter billing.MeterID) billing.Fault {
		return billing.Fault{Kind: billing.AdjustError, Meter: meter, Corrected: billing.MustDate("2026-04-01")}
	}
	world := func(mistaken bool) (*repairs, billing.AccountID, billing.MeterID) {
		r := newRepairs(t)
		n := storetestAccount()
		n.UseBefore = 390_000
		account, meter := r.quarter(n)
		require.NoError(t, r.tested(meter, "2026-04-01", "2.5"))
		if mistaken {
			r.book(fault(meter))
		}
		r.day("2026-05-01", map[billing.MeterID]billing.Registers{meter: regs(93_000)})
		r.at("2026-05-02", 9, 0)
		r.issue("2026-04")
		return r, account, meter
	}
	r, account, meter := world(true)
	twin, other, otherMeter := world(false)
	require.Equal(t, twin.balance(other)+6_46+2_74, r.balance(account), "10.98 kWh of April cost 0.588 and not 0.838")
	booked, err := r.BookedAdjustments(context.Background(), account)
	require.NoError(t, err)
	first := r.adjustment(booked[0].ID)
	undoing := func(id billing.AdjustmentID) activities.SubmitAdjustment {
		in := r.submission(billing.Fault{})
		in.Undoes = id
		return in
	}

	in := undoing(first.ID)
	in.By = "clerk1"
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, in), "may not enter an adjustment")
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, undoing("J404")), "there is no adjustment J404")
	in = undoing(first.ID)
	do[activities.AdjustmentFacts](r.field, r.adjust.DraftAdjustment, in)
	again := in
	again.AdjustmentID = "J-never"
	require.Equal(t, in.AdjustmentID, do[activities.AdjustmentFacts](r.field, r.adjust.DraftAdjustment, again).AdjustmentID, "the same form is the same undo")
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, undoing(first.ID)), "undoes this one already", "and another form none")
	u := r.adjustment(in.AdjustmentID)
	require.Equal(t, billing.Money(6_46+2_74), u.TotalFen)
	require.Equal(t, []string{"202602-1 tier 2: 276.59 -> 280 at 0.588: 162.63 -> 164.64", "202603-1 tier 2: 302.43 -> 310 at 0.588: 177.83 -> 182.28",
		"202604-1 tier 2: 10.98 -> 0 at 0.588: 6.46 -> 0.00", "202604-1 tier 3: 19.02 -> 30 at 0.838: 15.94 -> 25.14"}, r.lines(u.ID))
	require.Contains(t, refused(r.field, r.adjust.ApproveAdjustment, r.approval(u, "sup1", 1)), "two others must approve")
	do[activities.AdjustmentFacts](r.field, r.adjust.ApproveAdjustment, r.approval(u, "sup2", 1))
	require.Empty(t, r.adjustment(first.ID).UndoneBy, "one approval undoes nothing")
	do[activities.AdjustmentFacts](r.field, r.adjust.ApproveAdjustment, r.approval(u, "boss", 2))
	do[activities.AdjustmentFacts](r.field, r.adjust.ApproveAdjustment, r.approval(u, "boss", 2))
	first, u = r.adjustment(first.ID), r.adjustment(u.ID)
	require.Equal(t, u.ID, first.UndoneBy)
	require.Equal(t, first.ID, u.Undoes)
	require.Equal(t, twin.balance(other), r.balance(account), "as if it had never been")
	follows := do[activities.CreditFollows](r.field, r.adjust.FollowAdjustment, activities.AdjustmentRef{AdjustmentID: u.ID})
	require.Len(t, follows.Messages, 1)
	m, err := r.Message(context.Background(), follows.Messages[0])
	require.NoError(t, err)
	require.Equal(t, "refund_undone", m.Kind)
	events, err := r.Timeline(context.Background(), []billing.SiteID{r.Site}, string(first.ID), 0, 50)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(events, func(e store.Event) bool { return e.Event == "undone" }), "its own trail says so")

	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, undoing(first.ID)), "is undone already, by "+string(u.ID))
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, undoing(u.ID)), "enter the fault again instead")
	for _, sql := range []string{`UPDATE adjustments SET undone_by = NULL WHERE id = $1`, `UPDATE adjustments SET undone_by = id WHERE id = $1`} {
		_, err = r.Pool.Exec(context.Background(), sql, first.ID)
		require.ErrorContains(t, err, "never edited")
	}

	// The next month's steps go on from the registered use in both worlds.
	for _, w := range []struct {
		r     *repairs
		meter billing.MeterID
	}{{r, meter}, {twin, otherMeter}} {
		w.r.day("2026-05-03", map[billing.MeterID]billing.Registers{w.meter: regs(95_000)})
		w.r.at("2026-05-04", 9, 0)
	}
	require.Equal(t, twin.balance(other), r.balance(account))

	second := r.book(fault(meter))
	late := twin.book(fault(otherMeter))
	require.Equal(t, late.TotalFen, second.TotalFen, "adjusted anew, April counts it now")
	require.Equal(t, twin.balance(other), r.balance(account))
	require.Equal(t, len(twin.lines(late.ID)), len(r.lines(second.ID)))

	// A fault of April alone, whose bill's steps the adjustment of the months before has moved.
	aprils := func(meter billing.MeterID) billing.Fault {
		return billing.Fault{Kind: billing.AdjustFault, Meter: meter, Since: billing.MustDate("2026-04-02"), Corrected: billing.MustDate("2026-04-12"), Normal: billing.MustDate("2026-01-01")}
	}
	third := r.book(aprils(meter))
	require.Equal(t, twin.book(aprils(otherMeter)).TotalFen, third.TotalFen)
	twin.breaks(proof.Adjustments, `SELECT 1`, "")

	// A later adjustment goes on where an earlier one stood: the newest goes first.
	require.Contains(t, refused(r.field, r.adjust.DraftAdjustment, undoing(second.ID)), "undo that one first")
	r.undo(third.ID)
	r.undo(second.ID)
	r.intact()
	r.holds()
	r.breaks(proof.Adjustments, `SELECT 1`, "")
	for sql, want := range map[string]string{
		`UPDATE adjustments SET undone_by = NULL WHERE id = '` + string(first.ID) + `'`:                                                                                "undone by nobody",
		`UPDATE adjustments SET undone_by = '` + string(second.ID) + `' WHERE id = '` + string(first.ID) + `'`:                                                         "says that " + string(second.ID) + " undid it",
		`UPDATE adjustment_bills SET true_fen = true_fen + 1, billed_fen = billed_fen + 1 WHERE adjustment_id = '` + string(u.ID) + `' AND period_from < '2026-04-01'`: "which stood at",
	} {
		r.breaks(proof.Adjustments, sql, want)
	}
}
