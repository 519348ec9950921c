package activities_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// stepped is a quarter whose three bills all depend on the meter's opening, and the correction of it, approved.
func stepped(t *testing.T) (b *books, account billing.AccountID, k store.CorrectionRow) {
	b = newBooks(t)
	n := storetestAccount()
	n.Ratio = 5
	account, meter := b.quarter(n)
	fs, err := b.FittingsOfMeter(context.Background(), meter)
	require.NoError(t, err)
	k = b.draft(billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: fs[0].ID, At: fs[0].FromAt, Ratio: 6}})
	require.Equal(t, 3, k.Bills)
	b.approve(k)
	return b, account, b.correction(k.ID)
}

// The variables by which the test that is killed knows its database and its correction.
const (
	victimDatabase   = "METERFLOW_TEST_VICTIM_DATABASE"
	victimCorrection = "METERFLOW_TEST_VICTIM_CORRECTION"
)

// TestCorrection_victim is the process that TestCorrection_killedBetweenTwoBills kills; by itself it has nothing to do.
func TestCorrection_victim(t *testing.T) {
	url := os.Getenv(victimDatabase)
	if url == "" {
		return
	}
	s, err := store.Open(context.Background(), url)
	require.NoError(t, err)
	f := &field{Utility: &storetest.Utility{Store: s}, t: t}
	f.env = activityEnvironment()
	correct := activities.Correcting{Store: s}
	f.env.RegisterActivity(&correct)
	_, err = f.env.ExecuteActivity(correct.ApplyCorrection, activities.CorrectionRef{CorrectionID: billing.CorrectionID(os.Getenv(victimCorrection))})
	t.Fatalf("it was not killed: %v", err)
}

func TestCorrection_killedBetweenTwoBills(t *testing.T) {
	whole, account, k := stepped(t)
	whole.apply(k.ID)

	b, _, k := stepped(t)
	ctx := context.Background()
	// The second bill is locked, so the process hangs after it has committed the first.
	second := b.billsOf(account)[1]
	lock, err := b.Pool.Begin(ctx)
	require.NoError(t, err)
	_, err = lock.Exec(ctx, `SELECT 1 FROM bills WHERE id = $1 FOR UPDATE`, second.ID)
	require.NoError(t, err)
	victim := exec.Command(os.Args[0], "-test.run=^TestCorrection_victim$")
	victim.Env = append(os.Environ(), victimDatabase+"="+b.Pool.Config().ConnString(), victimCorrection+"="+string(k.ID))
	require.NoError(t, victim.Start())
	require.Eventually(t, func() bool { return b.correction(k.ID).Done == 1 }, time.Minute, 20*time.Millisecond)
	require.NoError(t, victim.Process.Signal(syscall.SIGKILL))
	require.Error(t, victim.Wait())
	require.NoError(t, lock.Rollback(ctx))

	half := b.correction(k.ID)
	require.Equal(t, billing.CorrectionApplying, half.State)
	require.Equal(t, 1, half.Done)
	b.intact()
	b.apply(k.ID)
	require.Equal(t, whole.balance(account), b.balance(account), "the same end as without the kill")
	for i, bill := range whole.billsOf(account) {
		got := b.billsOf(account)[i]
		require.Equal(t, []any{bill.ID, bill.Quantity, bill.TotalFen, bill.Version}, []any{got.ID, got.Quantity, got.TotalFen, got.Version})
	}
	b.intact()
	b.holds()
	b.proved(t)
}

func TestCorrection_aFailureStopsTheRestAndCanBeResumed(t *testing.T) {
	b, account, k := stepped(t)
	ctx := context.Background()
	bills := b.billsOf(account)
	// Somebody's other correction of the second bill would look like this: its stored amount is not what was previewed.
	_, err := b.Pool.Exec(ctx, `UPDATE correction_bills SET new_fen = new_fen + 1 WHERE correction_id = $1 AND bill_id = $2`, k.ID, bills[1].ID)
	require.NoError(t, err)
	ref := activities.CorrectionRef{CorrectionID: k.ID}
	require.True(t, do[activities.CorrectionStep](b.field, b.correct.ApplyCorrection, ref).Stopped)
	k = b.correction(k.ID)
	require.Equal(t, billing.CorrectionStopped, k.State)
	require.Equal(t, bills[1].ID, k.StoppedBill, "it says at which bill")
	require.Contains(t, k.StoppedWhy, "preview the rest")
	require.Equal(t, 1, k.Done, "what is done stays done")
	after := b.billsOf(account)
	require.NotEqual(t, bills[0].ID, after[0].ID)
	require.Equal(t, bills[1:], after[1:], "the rest is untouched")

	require.Contains(t, refused(b.field, b.correct.RejectCorrection, activities.CorrectionDecision{CorrectionID: k.ID, By: "sup2", Reason: "no"}), "applied in part")
	other := b.draft(readingChange(b.meterOf(account), "2026-02-01", regs(30_000)))
	require.Contains(t, refused(b.field, b.correct.ApproveCorrection, b.approval(other, "sup2", 1)), "is not finished")

	// Previewed again, the rest needs its approvals again; then it ends as if nothing had happened.
	do[activities.CorrectionFacts](b.field, b.correct.PreviewCorrection, ref)
	k = b.correction(k.ID)
	require.Equal(t, billing.CorrectionPreviewed, k.State)
	require.Empty(t, k.Approved1By)
	b.approve(k)
	k = b.apply(k.ID)
	require.Equal(t, 3, k.Done)
	for _, bill := range b.billsOf(account) {
		require.Equal(t, 2, bill.Version)
	}
	b.intact()
	b.proved(t)
}

func (b *books) meterOf(account billing.AccountID) billing.MeterID {
	b.t.Helper()
	a, err := b.AccountRow(context.Background(), account)
	require.NoError(b.t, err)
	return a.Meter
}

func TestCorrection_aStalePreviewIsRefused(t *testing.T) {
	b := newBooks(t)
	account, meter := b.quarter(storetestAccount())
	first := b.draft(readingChange(meter, "2026-02-01", regs(26_000)))
	b.carryOut(readingChange(meter, "2026-03-01", regs(58_000)))
	require.Contains(t, refused(b.field, b.correct.ApproveCorrection, b.approval(first, "sup2", 1)), "preview the correction again", "February closes elsewhere now")
	do[activities.CorrectionFacts](b.field, b.correct.PreviewCorrection, activities.CorrectionRef{CorrectionID: first.ID})
	again := b.correction(first.ID)
	require.Contains(t, refused(b.field, b.correct.ApproveCorrection, b.approval(first, "sup2", 1)), "look at the new preview", "an approval is about the preview that was seen")
	b.approve(again)
	// Between the approval and the first bill, the same reading is corrected by an exception's decision.
	_, err := b.Pool.Exec(context.Background(), `INSERT INTO readings SELECT meter_id, freeze_at, version + 1, taken_at, taken_real, quality, ARRAY[27000,0,0,27000,0,0]::bigint[], remaining_fen,
		purchase_count, supply, forced, status_word, power_w, clock_skew_s, interpolated, doubtful, cycle_id, 'sup1', 'read again' FROM current_readings WHERE meter_id = $1 AND freeze_at = $2`, meter, midnight("2026-02-01"))
	require.NoError(t, err)
	before := b.billsOf(account)
	require.True(t, do[activities.CorrectionStep](b.field, b.correct.ApplyCorrection, activities.CorrectionRef{CorrectionID: first.ID}).Stopped)
	k := b.correction(first.ID)
	require.Contains(t, k.StoppedWhy, "preview the correction again")
	require.Nil(t, k.InputsAt)
	require.Equal(t, before, b.billsOf(account), "nothing was changed")
	b.intact()
}

func TestCorrection_whatBringsBackCreditGivesSupplyBack(t *testing.T) {
	b := newBooks(t)
	n := storetestAccount()
	n.Fen = 40_000 // 400 yuan for 490 of use: below zero, and cut
	account, meter := b.quarter(n)
	ctx := context.Background()
	require.Negative(t, b.balance(account))
	_, err := b.Pool.Exec(ctx, `UPDATE supplies SET state = 'off', wanted = 'off', cut_cause = 'credit' WHERE account_id = $1`, account)
	require.NoError(t, err)
	var open int
	require.NoError(t, b.Pool.QueryRow(ctx, `SELECT count(*) FROM reminders WHERE account_id = $1 AND closed_at IS NULL`, account).Scan(&open))
	require.Equal(t, 1, open)
	// March was closed 300 kWh too high.
	k := b.carryOut(readingChange(meter, "2026-04-01", regs(60_000)))
	require.Positive(t, b.balance(account))
	follows := do[activities.CreditFollows](b.field, b.correct.FollowCorrection, activities.CorrectionRef{CorrectionID: k.ID})
	require.Len(t, follows.Restores, 1)
	require.Len(t, follows.Reminders, 1)
	b.intact()
}

func TestCorrection_whoFallsShortIsToldAndNotCut(t *testing.T) {
	b := newBooks(t)
	n := storetestAccount()
	n.Fen = 50_000
	account, meter := b.quarter(n)
	ctx := context.Background()
	require.Positive(t, b.balance(account))
	k := b.draft(readingChange(meter, "2026-04-01", regs(91_000)))
	require.Zero(t, k.FallShort, "the next charge gives back what the bill takes")
	k = b.carryOut(billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: b.fittingOf(meter).ID, At: b.fittingOf(meter).FromAt, Ratio: 2}})
	require.Equal(t, 1, k.FallShort)
	follows := do[activities.CreditFollows](b.field, b.correct.FollowCorrection, activities.CorrectionRef{CorrectionID: k.ID})
	require.Len(t, follows.Messages, 1)
	m, err := b.Message(ctx, follows.Messages[0])
	require.NoError(t, err)
	require.Equal(t, account, m.Account)
	require.Contains(t, m.Body, b.balance(account).Grouped(), "the message says the new balance")
	var cuts int
	require.NoError(t, b.Pool.QueryRow(ctx, `SELECT count(*) FROM cutoffs`).Scan(&cuts))
	require.Zero(t, cuts)
}

func (b *books) fittingOf(meter billing.MeterID) store.Fitting {
	b.t.Helper()
	fs, err := b.FittingsOfMeter(context.Background(), meter)
	require.NoError(b.t, err)
	return fs[0]
}

func TestCorrection_badInputChangesNothing(t *testing.T) {
	b := newBooks(t)
	account, meter := b.quarter(storetestAccount())
	f := b.fittingOf(meter)
	tariff, err := b.Tariff(context.Background(), "zj-residential")
	require.NoError(t, err)
	future := tariff.Versions[0]
	future.From = billing.MustDate("2026-05-01")
	gap := tariff.Versions[0]
	gap.From, gap.Components = billing.MustDate("2026-02-01"), nil
	for name, c := range map[string]struct {
		change billing.CorrectionChange
		want   string
	}{
		"nothing":              {billing.CorrectionChange{}, "changes one thing"},
		"unknown meter":        {readingChange("M9999", "2026-02-01", regs(1)), "there is no meter"},
		"no such reading":      {readingChange(meter, "2026-02-02", regs(1)), "has no reading of 2026-02-02"},
		"registers missing":    {readingChange(meter, "2026-02-01", billing.Registers{1, 2}), "registers"},
		"negative":             {readingChange(meter, "2026-02-01", billing.Registers{-1, 0, 0, 0, 0, 0}), "negative"},
		"above the next":       {readingChange(meter, "2026-02-01", regs(60_000)), "above the later reading"},
		"below the last":       {readingChange(meter, "2026-02-01", regs(500)), "below the last reading"},
		"as on file":           {readingChange(meter, "2026-02-01", regs(31_000)), "nothing would change"},
		"unknown fitting":      {billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: 999, At: f.FromAt, Ratio: 2}}, "there is no fitting"},
		"ratio of nothing":     {billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: f.ID, At: f.FromAt}}, "can't be"},
		"before its start":     {billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: f.ID, At: f.FromAt.Add(-time.Hour), Ratio: 2}}, "before meter"},
		"ratio in the future":  {billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: f.ID, At: midnight("2026-06-01"), Ratio: 2, Registers: regs(95_000)}}, "future"},
		"ratio without values": {billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: f.ID, At: midnight("2026-02-07"), Ratio: 2}}, "type it in"},
		"empty exchange":       {billing.CorrectionChange{Exchange: &billing.ExchangeChange{Fitting: f.ID}}, "what the meters really showed"},
		"closing of nobody":    {billing.CorrectionChange{Exchange: &billing.ExchangeChange{Fitting: f.ID, Closing: regs(1)}}, "no meter hung there"},
		"opening too high":     {billing.CorrectionChange{Exchange: &billing.ExchangeChange{Fitting: f.ID, Opening: regs(40_000)}}, "can't be rated"},
		"unknown tariff":       {billing.CorrectionChange{Price: &billing.PriceCorrection{Tariff: "none", Version: gap}}, "there is no tariff"},
		"empty version":        {billing.CorrectionChange{Price: &billing.PriceCorrection{Tariff: "zj-residential", Version: gap}}, "has no component"},
		"price in the future":  {billing.CorrectionChange{Price: &billing.PriceCorrection{Tariff: "zj-residential", Version: future}}, "in the future"},
		"unknown account":      {billing.CorrectionChange{Terms: &billing.TermsChange{Account: "A9", From: billing.MustDate("2026-01-01"), Tariff: "zj-residential"}}, "There is no account"},
		"before the account":   {billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate("2025-12-01"), Tariff: "zj-residential-tou"}}, "was opened"},
		"terms as on file":     {billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate("2026-02-01"), Tariff: "zj-residential"}}, "nothing would change"},
		"no such quantity":     {billing.CorrectionChange{Quantity: &billing.QuantityChange{Account: account, Month: billing.MustDate("2026-01-01"), Kind: "kvar"}}, "choose demand_kw, kvarh or reverse"},
		"quantity of a day":    {billing.CorrectionChange{Quantity: &billing.QuantityChange{Account: account, Month: billing.MustDate("2026-01-02"), Kind: store.Kvarh}}, "a whole month"},
		"quantity to come":     {billing.CorrectionChange{Quantity: &billing.QuantityChange{Account: account, Month: billing.MustDate("2027-01-01"), Kind: store.Kvarh}}, "in the future"},
		"quantity too early":   {billing.CorrectionChange{Quantity: &billing.QuantityChange{Account: account, Month: billing.MustDate("2025-12-01"), Kind: store.Kvarh}}, "was opened"},
		"negative quantity":    {billing.CorrectionChange{Quantity: &billing.QuantityChange{Account: account, Month: billing.MustDate("2026-01-01"), Kind: store.Kvarh, Value: billing.MustQuantity("-1")}}, "is negative"},
		"no such class":        {billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate("2026-01-01"), Tariff: "zj-residential", Class: "embassy"}}, "no class of customer"},
		"water for power":      {billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate("2026-01-01"), Tariff: "bj-water-residential"}}, "another service"},
	} {
		require.Contains(t, refused(b.field, b.correct.DraftCorrection, b.submission(c.change)), c.want, name)
	}
	in := b.submission(readingChange(meter, "2026-02-01", regs(26_000)))
	in.DatedOn = billing.MustDate("2026-02-01")
	require.Contains(t, refused(b.field, b.correct.DraftCorrection, in), "2026-02-01 is not open for entries", "a correction on a closed day")
	in.DatedOn, in.By = billing.Date{}, "clerk1"
	require.Contains(t, refused(b.field, b.correct.DraftCorrection, in), "may not make a correction")
	in.By, in.Reason = "sup1", " "
	require.Contains(t, refused(b.field, b.correct.DraftCorrection, in), "say why")
	var corrections, versions int
	require.NoError(t, b.Pool.QueryRow(context.Background(), `SELECT (SELECT count(*) FROM corrections), (SELECT count(*) FROM readings WHERE version > 1)`).Scan(&corrections, &versions))
	require.Zero(t, corrections, "nothing is left behind")
	require.Zero(t, versions)
}

// An issued bill can't be edited by whoever has the database's password, either: its row changes its state to reversed, with a successor,
// and nothing else.
func TestCorrection_anIssuedBillIsNeverEdited(t *testing.T) {
	b := newBooks(t)
	account, meter := b.quarter(storetestAccount())
	bill := b.billsOf(account)[0]
	ctx := context.Background()
	for _, sql := range []string{
		`UPDATE bills SET total_fen = total_fen + 1 WHERE id = $1`,
		`UPDATE bills SET quantity = 0 WHERE id = $1`,
		`UPDATE bills SET state = 'draft' WHERE id = $1`,
		`UPDATE bills SET state = 'cancelled' WHERE id = $1`,
		`UPDATE bills SET state = 'reversed', total_fen = 0 WHERE id = $1`,
		`UPDATE bills SET input = '{}' WHERE id = $1`,
		`DELETE FROM bills WHERE id = $1`,
		`UPDATE bill_lines SET amount_fen = 0 WHERE bill_id = $1`,
		`DELETE FROM bill_lines WHERE bill_id = $1`,
		`INSERT INTO bill_lines SELECT bill_id, 99, component, name_zh, name_en, register, tier, from_at, to_at, opening, closing, quantity, price, factor, amount_fen FROM bill_lines WHERE bill_id = $1 AND seq = 1`,
	} {
		_, err := b.Pool.Exec(ctx, sql, bill.ID)
		require.ErrorContains(t, err, "MF010", sql)
	}
	_, err := b.Pool.Exec(ctx, `UPDATE bills SET state = 'reversed' WHERE id = $1`, bill.ID)
	require.ErrorContains(t, err, "MF011", "without a successor")
	// A re-issue: the period is billed already.
	err = b.SaveDrafts(ctx, storetest.By, bill.Run, []store.Draft{{ID: "B-again", Account: account, Tariff: bill.Tariff, Engine: bill.Engine, Input: struct{}{}}})
	require.NoError(t, err, "a run leaves out what is issued")
	_, err = b.Pool.Exec(ctx, `INSERT INTO bills SELECT 'B-again', run_id, site_id, account_id, period_from, period_to, 9, state, hold_reason, tariff_id, engine, quantity, readings, input, total_fen, charged_fen, NULL, lines_digest, NULL FROM bills WHERE id = $1`, bill.ID)
	require.ErrorContains(t, err, "bills_one_issued")

	k := b.carryOut(readingChange(meter, "2026-02-01", regs(26_000)))
	_, err = b.Pool.Exec(ctx, `UPDATE bills SET state = 'issued' WHERE id = $1`, bill.ID)
	require.ErrorContains(t, err, "MF010", "what is reversed stays reversed")
	d := store.Draft{Account: account, Tariff: bill.Tariff, Engine: bill.Engine, Input: json.RawMessage(`{}`)}
	again, err := b.Rebill(ctx, storetest.By, k.ID, bill.ID, d)
	require.NoError(t, err)
	require.Equal(t, b.billsOf(account)[0].ID, again, "once per correction and bill: a repeat gives the first successor")
}
