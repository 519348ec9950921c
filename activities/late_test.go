package activities_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// arrears opens an account whose contract bears late fees from a day on. Its opening credit is 100 yuan.
func (b *books) arrears(from string) (billing.AccountID, billing.MeterID) {
	b.t.Helper()
	account, meter := b.Account(storetestAccount())
	if from != "" {
		require.NoError(b.t, b.SetTerms(context.Background(), storetest.By, store.AccountTerms{
			Account: account, FromDay: billing.MustDate(from), Tariff: "zj-residential", Settlement: store.SettleByMeter, ArrearsContract: true}))
	}
	return account, meter
}

// owing lives January to March in real order: each month is issued on the 3rd of the next, so that it is due on the 18th. It uses 310, 280
// and 310 kWh at 0.538 and pays 30 yuan on 11 March.
func (b *books) owing(accounts map[billing.AccountID]billing.MeterID) {
	b.t.Helper()
	shown := func(total int64) map[billing.MeterID]billing.Registers {
		all := map[billing.MeterID]billing.Registers{}
		for _, m := range accounts {
			all[m] = regs(total)
		}
		return all
	}
	b.day("2026-01-02", shown(1000))
	b.day("2026-02-01", shown(31_000))
	b.at("2026-02-03", 9, 0)
	b.issue("2026-01")
	b.day("2026-03-01", shown(59_000))
	b.at("2026-03-03", 9, 0)
	b.issue("2026-02")
	b.at("2026-03-11", 9, 0)
	for account := range accounts {
		b.pay(account, 3000)
	}
	b.day("2026-04-01", shown(90_000))
	b.at("2026-04-03", 9, 0)
	b.issue("2026-03")
}

func (b *books) pay(account billing.AccountID, fen billing.Money) {
	b.t.Helper()
	require.NoError(b.t, b.Change(context.Background(), storetest.By, func(tx *store.Tx) error {
		_, err := store.Post(context.Background(), tx, ledger.Move(b.Site, ledger.KindRechargeCredited, fmt.Sprint("pay/", account, tx.Now), "R-"+string(account), ledger.InTransit(b.Site), ledger.Customer(account), fen))
		return err
	}))
}

// lates are the lines of late fees of an account's bills that count, by month.
func (b *books) lates(account billing.AccountID) (all []string) {
	b.t.Helper()
	rows, _ := b.Pool.Query(context.Background(), `SELECT format('%s %s: %s × %s × %s = %s', to_char(b.period_from, 'MM'), l.component, l.quantity, trim_scale(l.price), l.factor, l.amount_fen)
		FROM bills b JOIN bill_lines l ON l.bill_id = b.id WHERE b.account_id = $1 AND b.state = 'issued' AND l.component LIKE 'late_fee%' ORDER BY b.period_from, l.seq`, account)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return all
}

// again re-derives every bill from what it keeps.
func (b *books) again(account billing.AccountID) {
	b.t.Helper()
	for _, bill := range b.billsOf(account) {
		r, err := rating.Again(bill.Engine, bill.Input)
		require.NoError(b.t, err)
		require.Equal(b.t, bill.TotalFen, r.Total, bill.ID)
		require.Equal(b.t, bill.LateFen, r.Late, bill.ID)
	}
}

func TestLateFee_onlyUnderAnArrearsContract(t *testing.T) {
	b := newBooks(t)
	with, meter1 := b.arrears("2026-01-01")
	without, meter2 := b.arrears("")
	later, meter3 := b.arrears("2026-03-21")
	shop, meter4 := b.arrears("2026-01-01")
	b.Class(shop, "2026-01-02", billing.ClassCommercial)
	b.owing(map[billing.AccountID]billing.MeterID{with: meter1, without: meter2, later: meter3, shop: meter4})

	// January comes to 166.78, of which 100 were paid; February to 150.64.
	require.Equal(t, []string{
		"02 late_fee: 66.78 × 0.001 × 10 = 67", "02 late_fee_minimum: 0.33 × 1 × 1 = 33",
		"03 late_fee: 66.78 × 0.001 × 10 = 67", "03 late_fee: 36.78 × 0.001 × 21 = 77", "03 late_fee: 150.64 × 0.001 × 13 = 196", "03 late_fee_minimum: -0.33 × 1 × 1 = -33",
	}, b.lates(with))
	require.Empty(t, b.lates(without), "an ordinary prepaid account below zero bears none")
	require.Equal(t, []string{"03 late_fee: 36.78 × 0.001 × 11 = 40", "03 late_fee: 150.64 × 0.001 × 11 = 166", "03 late_fee_minimum: 0.6 × 1 × 1 = 60"}, b.lates(later))
	require.Contains(t, b.lates(shop), "03 late_fee: 36.78 × 0.002 × 21 = 154")

	for _, account := range []billing.AccountID{with, without, later, shop} {
		b.again(account)
	}
	bills := b.billsOf(with)
	require.Equal(t, billing.Money(307), bills[2].LateFen)
	require.Equal(t, b.balance(without)-100-307, b.balance(with), "the fees are taken from the credit, and nothing else differs")
	require.Equal(t, int64(-100-307), b.house(string(ledger.LateFees(b.Site)))-b.lateOfOthers(with), "posted to an account of its own")
	b.intact()
	b.proved(t)

	// The proof sees what nobody should have borne, and what its lines don't say.
	b.planted(`UPDATE account_terms SET arrears_contract = false WHERE account_id = '`+string(shop)+`'`, "without an arrears contract")
	b.planted(`UPDATE bills SET late_fen = late_fen + 1 WHERE id = '`+string(bills[2].ID)+`'`, "fen of late fees, its lines")
}

// planted breaks the tables past their guards and wants the proof of late fees to say so; then all is as it was.
func (b *books) planted(sql, want string) {
	b.t.Helper()
	b.breaks(proof.LateFees, sql, want)
}

// breaks breaks the tables past their guards and wants a part of the proof to say so; then all is as it was. An empty want wants it silent.
func (b *books) breaks(prove func(context.Context, pgx.Tx) ([]string, error), sql, want string) {
	b.t.Helper()
	ctx := context.Background()
	tx, err := b.Pool.Begin(ctx)
	require.NoError(b.t, err)
	defer func() { require.NoError(b.t, tx.Rollback(ctx)) }()
	_, err = tx.Exec(ctx, `SET LOCAL session_replication_role = replica`)
	require.NoError(b.t, err)
	_, err = tx.Exec(ctx, sql)
	require.NoError(b.t, err)
	found, err := prove(ctx, tx)
	require.NoError(b.t, err)
	if want == "" {
		require.Empty(b.t, found)
	}
	require.Contains(b.t, fmt.Sprint(found), want)
}

// lateOfOthers is what the late fees of all other accounts put on the account of the books.
func (b *books) lateOfOthers(but billing.AccountID) (fen int64) {
	b.t.Helper()
	require.NoError(b.t, b.Pool.QueryRow(context.Background(), `SELECT coalesce(-sum(late_fen), 0)::bigint FROM bills WHERE state = 'issued' AND account_id <> $1`, but).Scan(&fen))
	return fen
}

// A correction of a debt changes the late fees that rest on it: what was never owed bears none, what is asked for only now bears none yet.
func TestLateFee_followsACorrection(t *testing.T) {
	b := newBooks(t)
	account, meter := b.arrears("2026-01-01")
	b.owing(map[billing.AccountID]billing.MeterID{account: meter})
	balance := b.balance(account)
	before := b.billsOf(account)

	// January used 60 kWh less, February 60 more: 134.50 and 182.92, of which 150.64 were asked for in time.
	k := b.draft(readingChange(meter, "2026-02-01", regs(25_000)))
	touched, _, err := b.CorrectedBills(context.Background(), k.ID, 0, 0)
	require.NoError(t, err)
	require.Len(t, touched, 3, "March has the same use, and another late fee")
	b.approve(k)
	k = b.apply(k.ID)
	require.Equal(t, billing.CorrectionApplied, k.State, k.StoppedWhy)
	require.Equal(t, []string{
		"02 late_fee: 34.5 × 0.001 × 10 = 35", "02 late_fee_minimum: 0.65 × 1 × 1 = 65",
		"03 late_fee: 34.5 × 0.001 × 10 = 35", "03 late_fee: 4.5 × 0.001 × 21 = 9", "03 late_fee: 150.64 × 0.001 × 13 = 196", "03 late_fee_minimum: -0.44 × 1 × 1 = -44",
	}, b.lates(account))
	for i, bill := range b.billsOf(account) {
		balance += before[i].TotalFen - bill.TotalFen
	}
	require.Equal(t, balance, b.balance(account))

	// And back: the 32.28 are a debt of January's own again, due only after the bill of today. While the bill said less nobody was asked for them.
	b.carryOut(readingChange(meter, "2026-02-01", regs(31_000)))
	require.Equal(t, []string{
		"02 late_fee: 34.5 × 0.001 × 10 = 35", "02 late_fee_minimum: 0.65 × 1 × 1 = 65",
		"03 late_fee: 34.5 × 0.001 × 10 = 35", "03 late_fee: 4.5 × 0.001 × 21 = 9", "03 late_fee: 150.64 × 0.001 × 13 = 196", "03 late_fee_minimum: -0.44 × 1 × 1 = -44",
	}, b.lates(account))
	b.again(account)
	b.intact()
	b.holds()
	b.proved(t)
}

// The least fee is charged once per bill, though what a correction added to it falls due after the rest was paid.
func TestLateFee_leastOnceOnACorrectedBill(t *testing.T) {
	b := newBooks(t)
	account, meter := b.arrears("2026-01-01")
	shown := func(total int64) map[billing.MeterID]billing.Registers {
		return map[billing.MeterID]billing.Registers{meter: regs(total)}
	}
	b.day("2026-01-02", shown(1000))
	b.day("2026-02-01", shown(31_000))
	b.at("2026-02-03", 9, 0)
	b.issue("2026-01")
	b.at("2026-02-22", 9, 0)
	b.pay(account, 6678) // January is late for three days
	b.day("2026-03-01", shown(59_000))
	b.at("2026-03-03", 9, 0)
	b.issue("2026-02")
	least := []string{"02 late_fee: 66.78 × 0.001 × 3 = 20", "02 late_fee_minimum: 0.8 × 1 × 1 = 80"}
	require.Equal(t, least, b.lates(account))
	// January used 60 kWh more, February less: 32.28 of January are due on 25 March, and February's 118.36 on the 18th.
	b.at("2026-03-10", 9, 0)
	b.carryOut(readingChange(meter, "2026-02-01", regs(37_000)))
	b.at("2026-03-11", 9, 0)
	b.pay(account, 11_836)
	b.at("2026-03-27", 9, 0)
	b.pay(account, 3228)
	b.day("2026-04-01", shown(90_000))
	b.at("2026-04-03", 9, 0)
	b.issue("2026-03")
	require.Equal(t, append(least, "03 late_fee: 32.28 × 0.001 × 1 = 3", "03 late_fee_minimum: -0.03 × 1 × 1 = -3"), b.lates(account))
	b.again(account)
	b.intact()
	b.proved(t)
}

func TestLateFee_contractAddedAndTakenAwayByACorrection(t *testing.T) {
	b := newBooks(t)
	account, meter := b.arrears("")
	b.owing(map[billing.AccountID]billing.MeterID{account: meter})
	balance := b.balance(account)
	change := billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate("2026-03-01"), Tariff: "zj-residential", ArrearsContract: true}}
	b.carryOut(change)
	require.Equal(t, []string{"03 late_fee: 66.78 × 0.001 × 10 = 67", "03 late_fee: 36.78 × 0.001 × 21 = 77", "03 late_fee: 150.64 × 0.001 × 13 = 196"}, b.lates(account))
	require.Equal(t, balance-340, b.balance(account))
	gone := *change.Terms
	gone.ArrearsContract = false
	b.carryOut(billing.CorrectionChange{Terms: &gone})
	require.Empty(t, b.lates(account))
	require.Equal(t, balance, b.balance(account))
	b.intact()
	b.proved(t)
}

// The class counts on each day that a debt is late: a home that became a shop on 21 March costs a shop's share from then on.
func TestLateFee_classOnEachDay(t *testing.T) {
	b := newBooks(t)
	account, meter := b.arrears("2026-01-01")
	b.owing(map[billing.AccountID]billing.MeterID{account: meter})
	home, balance := b.lates(account), b.balance(account)
	change := billing.TermsChange{Account: account, From: billing.MustDate("2026-03-21"), Tariff: "zj-residential", Class: billing.ClassCommercial, ArrearsContract: true}
	b.carryOut(billing.CorrectionChange{Terms: &change})
	require.Equal(t, []string{
		"03 late_fee: 66.78 × 0.001 × 10 = 67", "03 late_fee: 36.78 × 0.001 × 10 = 37", "03 late_fee: 36.78 × 0.002 × 11 = 81",
		"03 late_fee: 150.64 × 0.001 × 2 = 30", "03 late_fee: 150.64 × 0.002 × 11 = 331", "03 late_fee_minimum: -0.33 × 1 × 1 = -33",
	}, b.lates(account)[2:])
	require.Equal(t, balance-(67+37+81+30+331-33-307), b.balance(account))
	b.again(account)

	back := change
	back.Class = billing.ClassHousehold
	b.carryOut(billing.CorrectionChange{Terms: &back})
	require.Equal(t, home, b.lates(account))
	require.Equal(t, balance, b.balance(account))
	b.intact()
	b.holds()
	b.proved(t)
}

// However often the class of a customer in arrears is corrected: bills, late fees and credit are those of a fresh computation with the
// final terms.
func TestLateFee_aSequenceOfClassesEndsWhereAFreshComputationEnds(t *testing.T) {
	// agreed are the changes that were made: one that would change nothing on its day is refused and forgotten, whatever comes later.
	lived := func(changes []billing.TermsChange, afterwards bool) (b *books, account billing.AccountID, agreed []billing.TermsChange) {
		b = newBooks(t)
		account, meter := b.arrears("2026-01-01")
		for _, c := range changes {
			if c.Account = account; !afterwards {
				require.NoError(t, b.SetTerms(context.Background(), storetest.By, store.TermsOfChange(c)))
			}
		}
		b.owing(map[billing.AccountID]billing.MeterID{account: meter})
		for _, c := range changes {
			if c.Account = account; afterwards {
				in := b.submission(billing.CorrectionChange{Terms: &c})
				if _, err := b.env.ExecuteActivity(b.correct.DraftCorrection, in); err != nil {
					require.ErrorContains(t, err, "nothing would change")
					continue
				}
				do[activities.CorrectionFacts](b.field, b.correct.PreviewCorrection, activities.CorrectionRef{CorrectionID: in.CorrectionID})
				b.approve(b.correction(in.CorrectionID))
				require.Equal(t, billing.CorrectionApplied, b.apply(in.CorrectionID).State)
				agreed = append(agreed, c)
			}
		}
		return b, account, agreed
	}
	require.NoError(t, flag.Set("rapid.checks", strconv.Itoa(correctionSequences)))
	require.NoError(t, flag.Set("rapid.nofailfile", "true"))
	rapid.Check(t, func(r *rapid.T) {
		var changes []billing.TermsChange
		for range 5 {
			changes = append(changes, billing.TermsChange{
				From: billing.MustDate("2026-02-15").AddDays(rapid.IntRange(0, 40).Draw(r, "from")), Tariff: "zj-residential", ArrearsContract: true,
				Class: rapid.SampledFrom([]billing.CustomerClass{billing.ClassHousehold, billing.ClassCommercial, billing.ClassImportant}).Draw(r, "class"),
			})
		}
		corrected, account, agreed := lived(changes, true)
		fresh, _, _ := lived(agreed, false)
		require.Equal(t, fresh.lates(account), corrected.lates(account), "%+v", changes)
		require.Equal(t, fresh.balance(account), corrected.balance(account), "%+v", changes)
		corrected.again(account)
		corrected.proved(t)
	})
}

func TestLateFee_waived(t *testing.T) {
	b := newBooks(t)
	account, meter := b.arrears("2026-01-01")
	b.owing(map[billing.AccountID]billing.MeterID{account: meter})
	ctx := context.Background()
	bills, balance := b.billsOf(account), b.balance(account)
	by := store.By{Actor: "sup1", Reason: "the slip reached us late"}

	_, err := b.WaiveLateFee(ctx, store.By{Actor: "sup1", Reason: " "}, bills[2].ID, 0, "")
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
	_, err = b.WaiveLateFee(ctx, by, bills[0].ID, 0, "")
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err), "January has none")
	_, err = b.WaiveLateFee(ctx, by, "B-none", 0, "")
	require.Equal(t, billing.CodeNotFound, billing.CodeOf(err))
	require.Equal(t, balance, b.balance(account), "nothing changed")

	w, err := b.WaiveLateFee(ctx, by, bills[2].ID, 0, "")
	require.NoError(t, err)
	require.Equal(t, billing.Money(307), w.AmountFen)
	require.Equal(t, balance+307, b.balance(account))
	_, err = b.WaiveLateFee(ctx, by, bills[2].ID, 0, "")
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err), "waived once")
	require.Equal(t, balance+307, b.balance(account))
	b.proved(t)
	_, err = b.Pool.Exec(ctx, `UPDATE late_fee_waivers SET amount_fen = 1`)
	require.Error(t, err)

	// A correction bills March again with another late fee: that is waived too, as the preview says.
	k := b.draft(readingChange(meter, "2026-02-01", regs(25_000)))
	previewed, _, err := b.CorrectedAccounts(ctx, k.ID, 0, 0)
	require.NoError(t, err)
	after := previewed[0].After()
	b.approve(k)
	require.Equal(t, billing.CorrectionApplied, b.apply(k.ID).State)
	require.Equal(t, after, b.balance(account))
	now := b.billsOf(account)
	again, err := b.WaiverOf(ctx, now[2].ID)
	require.NoError(t, err)
	require.Equal(t, bills[2].ID, *again.CarriedFrom)
	require.Equal(t, now[2].LateFen, again.AmountFen)
	require.Equal(t, billing.UserID("sup1"), again.By)
	b.intact()
	b.holds()
	b.proved(t)
}

// A part is waived once per bill and goes on with a corrected bill, up to its fee; above the ceiling a second person agrees.
func TestLateFee_waivedInPart(t *testing.T) {
	b := newBooks(t)
	account, meter := b.arrears("2026-01-01")
	b.owing(map[billing.AccountID]billing.MeterID{account: meter})
	ctx := context.Background()
	bills, balance := b.billsOf(account), b.balance(account)
	by := store.By{Actor: "sup1", Reason: "half of it was our doing"}
	b.sql(`UPDATE sites SET policy = jsonb_set(policy, '{billing}', '{"late_fees": {"power": [{"from": "2026-01-01", "due_days": 15, "household": "0.001", "other": "0.002", "other_earlier": "0.003", "minimum_fen": 100, "waive_fen": 150}]}}')`)

	for _, asked := range []billing.Money{-1, 308} {
		_, err := b.WaiveLateFee(ctx, by, bills[2].ID, asked, "sup2")
		require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
	}
	_, err := b.WaiveLateFee(ctx, by, bills[2].ID, 151, "")
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(err))
	require.ErrorContains(t, err, "up to 1.50 yuan")
	_, err = b.WaiveLateFee(ctx, by, bills[2].ID, 0, "")
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(err), "the whole of it is more, too")
	_, err = b.WaiveLateFee(ctx, by, bills[2].ID, 151, "sup1")
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(err))
	require.Equal(t, balance, b.balance(account), "nothing changed")
	w, err := b.WaiveLateFee(ctx, by, bills[2].ID, 200, "sup2")
	require.NoError(t, err)
	require.Equal(t, [2]billing.Money{200, 150}, [2]billing.Money{w.AmountFen, *w.AloneFen})
	require.Equal(t, balance+200, b.balance(account))
	_, err = b.WaiveLateFee(ctx, by, bills[2].ID, 100, "")
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err), "once per bill: no second part slips under the ceiling")
	b.proved(t)

	// Corrected to a home without debts but those of January, and back: what was asked is given back again, never more than the fee.
	terms := billing.TermsChange{Account: account, From: billing.MustDate("2026-03-22"), Tariff: "zj-residential"}
	b.carryOut(billing.CorrectionChange{Terms: &terms})
	now := b.billsOf(account)[2]
	less, err := b.WaiverOf(ctx, now.ID)
	require.NoError(t, err)
	require.Less(t, now.LateFen, billing.Money(200))
	require.Equal(t, now.LateFen, less.AmountFen)
	require.Equal(t, billing.UserID("sup2"), *less.AgreedBy)
	terms.ArrearsContract = true
	k := b.draft(billing.CorrectionChange{Terms: &terms})
	previewed, _, err := b.CorrectedAccounts(ctx, k.ID, 0, 0)
	require.NoError(t, err)
	b.approve(k)
	require.Equal(t, billing.CorrectionApplied, b.apply(k.ID).State)
	require.Equal(t, previewed[0].After(), b.balance(account))
	require.Equal(t, balance+200, b.balance(account))
	b.intact()
	b.holds()
	b.proved(t)
	b.planted(`UPDATE late_fee_waivers SET amount_fen = 199 WHERE bill_id = '`+string(b.billsOf(account)[2].ID)+`'`, "gave 200 fen back")
	_, err = b.Pool.Exec(ctx, `INSERT INTO late_fee_waivers (bill_id, site_id, account_id, amount_fen, asked_fen, reason, waived_by, waived_at, entry_id, alone_fen)
		SELECT id, site_id, account_id, 90, 90, 'x', 'sup1', now(), entry_id, 89 FROM bills WHERE id = $1`, bills[1].ID)
	require.ErrorContains(t, err, "late_fee_waivers_above_ceiling", "the database, too, wants a second person")
}

func (b *books) sql(statement string) {
	b.t.Helper()
	_, err := b.Pool.Exec(context.Background(), statement)
	require.NoError(b.t, err)
}

// A rule that two persons made holds from its first day on; before it the site's policy does.
func TestLateFee_byARuleThatTwoPersonsMade(t *testing.T) {
	b := newBooks(t)
	account, meter := b.arrears("2026-01-01")
	ctx := context.Background()
	rule := billing.DefaultLateFees().Power[0]
	rule.From, rule.Household, rule.MinimumFen, rule.TaxRate = billing.MustDate("2026-03-21"), billing.MustPrice("0.0005"), 0, billing.MustFactor("0.06")
	maker := store.By{Actor: "sup2", Reason: "notice 12"}
	v, err := b.ProposeLateFee(ctx, maker, b.Site, billing.Power, rule)
	require.NoError(t, err)
	_, err = b.ProposeLateFee(ctx, maker, b.Site, billing.Power, rule)
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err), "one at a time")
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(b.DecideLateFee(ctx, maker, b.Site, v, true)))
	site, err := b.Store.Site(ctx, b.Site)
	require.NoError(t, err)
	policy, err := b.LateFees(ctx, site)
	require.NoError(t, err)
	require.Equal(t, billing.DefaultLateFees(), policy, "nobody has approved it")
	require.NoError(t, b.DecideLateFee(ctx, store.By{Actor: "boss"}, b.Site, v, true))
	require.Equal(t, billing.CodeClosed, billing.CodeOf(b.DecideLateFee(ctx, store.By{Actor: "boss"}, b.Site, v, true)))
	policy, err = b.LateFees(ctx, site)
	require.NoError(t, err)
	require.Equal(t, []billing.LateFeeRule{billing.DefaultLateFees().Power[0], rule}, policy.Power)
	require.Equal(t, billing.DefaultLateFees().Water, policy.Water)
	_, err = b.Pool.Exec(ctx, `UPDATE late_fee_rules SET rule = '{}'`)
	require.Error(t, err)

	b.owing(map[billing.AccountID]billing.MeterID{account: meter})
	require.Equal(t, []string{
		"03 late_fee: 66.78 × 0.001 × 10 = 67", "03 late_fee: 36.78 × 0.001 × 10 = 37", "03 late_fee: 36.78 × 0.0005 × 11 = 20",
		"03 late_fee: 150.64 × 0.001 × 2 = 30", "03 late_fee: 150.64 × 0.0005 × 11 = 83", "03 late_fee_minimum: -0.33 × 1 × 1 = -33",
	}, b.lates(account)[2:])
	b.again(account)
	b.proved(t)
	bill := b.billsOf(account)[2]
	r, err := rating.Again(bill.Engine, bill.Input)
	require.NoError(t, err)
	late := r.Taxes[len(r.Taxes)-1]
	require.Equal(t, rating.LateFee, late.Component)
	require.Equal(t, [2]billing.Money{204, 12}, [2]billing.Money{late.Base, late.Amount}, "2.04 × 0.06 / 1.06")

	_, err = b.ProposeLateFee(ctx, maker, b.Site, billing.Power, rule)
	require.ErrorContains(t, err, "let the rule begin on 2026-04-01 or a later day")
	rule.Household = billing.MustPrice("1.5")
	_, err = b.ProposeLateFee(ctx, maker, b.Site, billing.Power, rule)
	require.ErrorContains(t, err, "A share of 1.5 a day can't be")
}

// A waiver that comes while a correction waits changes what its balances would be: the approval is refused until they are seen again.
func TestLateFee_waivedUnderAPreview(t *testing.T) {
	b := newBooks(t)
	account, meter := b.arrears("2026-01-01")
	b.owing(map[billing.AccountID]billing.MeterID{account: meter})
	k := b.draft(readingChange(meter, "2026-02-01", regs(25_000)))
	_, err := b.WaiveLateFee(context.Background(), store.By{Actor: "sup1", Reason: "agreed"}, b.billsOf(account)[2].ID, 0, "")
	require.NoError(t, err)
	_, err = b.env.ExecuteActivity(b.correct.ApproveCorrection, b.approval(k, "boss", 1))
	require.ErrorContains(t, err, "preview")
}

func TestLateFeePolicy_refusals(t *testing.T) {
	for text, want := range map[string]string{
		`[{"from":"2026-01-01","household":"0.001"},{"from":"2026-01-01"}]`: "billing.late_fees.power[1] has no first day after",
		`[{"household":"0.001"}]`:                      "billing.late_fees.power[0]: from of the late-fee rule: The rule has no first day",
		`[{"from":"2026-01-01","household":"-0.001"}]`: "household of the late-fee rule: A share of -0.001 a day",
		`[{"from":"2026-01-01","other":"1.5"}]`:        "other of the late-fee rule: A share of 1.5 a day",
		`[{"from":"2026-01-01","due_days":-1}]`:        "due_days of the late-fee rule: A bill can't be due -1 days",
	} {
		var p billing.LateFeePolicy
		require.NoError(t, json.Unmarshal([]byte(`{"power":`+text+`}`), &p))
		require.ErrorContains(t, p.Validate(), want)
	}
}
