package activities_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/control"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// books is a field whose months are read on their first midnights only, billed and issued.
type books struct {
	*field
	correct activities.Correcting
	drafts  int
}

func newBooks(t *testing.T, instead ...billing.Tariff) *books {
	b := &books{field: newField(t, "2026-01-01", instead...)}
	b.correct.Store = b.Store
	b.env.RegisterActivity(&b.correct)
	b.limit(control.Limits{}) // these histories are no ordinary months
	return b
}

// issue rates, verifies and issues a month.
func (b *books) issue(month string) billing.RunID {
	b.t.Helper()
	run := b.run(month)
	do[any](b.field, b.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"})
	do[any](b.field, b.bills.ApproveIssue, activities.RunDecision{RunID: run, By: "sup2"})
	do[any](b.field, b.bills.IssueBills, activities.RunRef{RunID: run})
	return run
}

func midnight(day string) time.Time { return billing.MustDate(day).Start(storetest.Zone).UTC() }

func readingChange(meter billing.MeterID, day string, r billing.Registers) billing.CorrectionChange {
	return billing.CorrectionChange{Reading: &billing.ReadingChange{Meter: meter, At: midnight(day), Registers: r}}
}

func (b *books) submission(change billing.CorrectionChange) activities.SubmitCorrection {
	b.t.Helper()
	id, err := b.NextCorrectionID(context.Background())
	require.NoError(b.t, err)
	b.drafts++
	return activities.SubmitCorrection{CorrectionID: id, By: "sup1", Change: change, Reason: "the photo shows another number", Evidence: "photo 7", Key: fmt.Sprint("form ", b.drafts)}
}

// draft drafts and previews a correction.
func (b *books) draft(change billing.CorrectionChange) store.CorrectionRow {
	b.t.Helper()
	in := b.submission(change)
	do[activities.CorrectionFacts](b.field, b.correct.DraftCorrection, in)
	ref := activities.CorrectionRef{CorrectionID: in.CorrectionID}
	do[activities.CorrectionFacts](b.field, b.correct.PreviewCorrection, ref)
	return b.correction(in.CorrectionID)
}

func (b *books) correction(id billing.CorrectionID) store.CorrectionRow {
	b.t.Helper()
	k, err := b.CorrectionRow(context.Background(), id)
	require.NoError(b.t, err)
	return k
}

func (b *books) approval(k store.CorrectionRow, by billing.UserID, number int) activities.CorrectionDecision {
	return activities.CorrectionDecision{CorrectionID: k.ID, By: by, Digest: fmt.Sprintf("%x", k.Digest), Number: number}
}

// approve has as many others agree as are needed.
func (b *books) approve(k store.CorrectionRow) {
	b.t.Helper()
	for n, by := range []billing.UserID{"sup2", "boss"}[:k.ApprovalsNeeded] {
		do[activities.CorrectionFacts](b.field, b.correct.ApproveCorrection, b.approval(k, by, n+1))
	}
}

func (b *books) apply(id billing.CorrectionID) store.CorrectionRow {
	b.t.Helper()
	require.Equal(b.t, activities.CorrectionStep{}, do[activities.CorrectionStep](b.field, b.correct.ApplyCorrection, activities.CorrectionRef{CorrectionID: id}))
	return b.correction(id)
}

// carryOut drafts, approves and applies.
func (b *books) carryOut(change billing.CorrectionChange) store.CorrectionRow {
	b.t.Helper()
	k := b.draft(change)
	b.approve(k)
	k = b.apply(k.ID)
	require.Equal(b.t, billing.CorrectionApplied, k.State)
	return k
}

func (b *books) billsOf(account billing.AccountID) []store.Bill {
	b.t.Helper()
	by, _, err := b.CorrectableBills(context.Background(), []billing.AccountID{account}, billing.MustDate("2026-01-01"))
	require.NoError(b.t, err)
	return by[account]
}

// quarter lives January to March with a reading a month, all issued, and one charged day of April: 310, 280 and 310 kWh, then 10.
func (b *books) quarter(n storetest.NewAccount) (billing.AccountID, billing.MeterID) {
	b.t.Helper()
	account, meter := b.Account(n)
	for _, d := range []struct {
		day   string
		total int64
	}{{"2026-01-02", 1000}, {"2026-02-01", 31_000}, {"2026-03-01", 59_000}, {"2026-04-01", 90_000}, {"2026-04-02", 91_000}} {
		require.Empty(b.t, b.day(d.day, map[billing.MeterID]billing.Registers{meter: regs(d.total)}), d.day)
	}
	b.at("2026-04-03", 9, 0)
	for _, month := range []string{"2026-01", "2026-02", "2026-03"} {
		b.issue(month)
	}
	return account, meter
}

func TestCorrection_ofAReadingAtTheEndOfAMonth(t *testing.T) {
	b := newBooks(t)
	n := storetestAccount()
	n.UseBefore = 260_000 // 2,600 kWh: the first step ends at 2,760 in January, so every later bill depends on the ones before
	account, meter := b.quarter(n)
	before, balance := b.billsOf(account), b.balance(account)
	require.Len(t, before, 3)

	// 1 February was read 50 kWh too high.
	k := b.draft(readingChange(meter, "2026-02-01", regs(26_000)))
	require.Equal(t, billing.CorrectionPreviewed, k.State)
	require.Equal(t, 2, k.Bills, "January and February; March counts on from the same total")
	require.Equal(t, 1, k.ApprovalsNeeded, "no money goes back: what January loses February gains")
	rows, _, err := b.CorrectedBills(context.Background(), k.ID, 0, 0)
	require.NoError(t, err)
	require.Equal(t, [2]int64{31_000, 26_000}, [2]int64{rows[0].OldQuantity, rows[0].NewQuantity})
	require.Equal(t, [2]int64{28_000, 33_000}, [2]int64{rows[1].OldQuantity, rows[1].NewQuantity})
	require.Equal(t, rows[0].OldFen+rows[1].OldFen, rows[0].NewFen+rows[1].NewFen, "both lie in the second step")
	require.Equal(t, before, b.billsOf(account), "a preview changes nothing")

	require.Contains(t, refused(b.field, b.correct.ApproveCorrection, b.approval(k, "sup1", 1)), "another person must approve")
	require.Contains(t, refused(b.field, b.correct.ApproveCorrection, b.approval(k, "clerk1", 1)), "may not approve")
	b.approve(k)
	k = b.apply(k.ID)
	require.Equal(t, billing.CorrectionApplied, k.State)
	require.Equal(t, 2, k.Done)

	after := b.billsOf(account)
	require.Len(t, after, 3)
	require.Equal(t, int64(26_000), after[0].Quantity)
	require.Equal(t, int64(33_000), after[1].Quantity)
	require.Equal(t, before[2], after[2], "March stays as it was issued")
	require.Equal(t, billing.BillID(string(before[0].ID)[:len(before[0].ID)-1]+"2"), after[0].ID, "the next version")
	require.Equal(t, balance, b.balance(account))
	own, _, err := b.Reversals(context.Background(), before[0].ID)
	require.NoError(t, err)
	require.Equal(t, after[0].ID, own.Successor)
	require.Equal(t, billing.MustDate("2026-04-03"), own.CorrectsDay)
	was, err := b.Bill(context.Background(), before[0].ID)
	require.NoError(t, err)
	require.Equal(t, billing.BillReversed, was.State)
	was.State = before[0].State
	require.Equal(t, before[0], was, "nothing of the issued bill has changed but its state")
	r := b.current(meter, "2026-02-01")
	require.Equal(t, 2, r.Version)
	require.Equal(t, billing.QualityEdited, r.Quality)
	b.intact()
	b.holds()
}

func TestCorrection_movesTheStepsOfLaterBills(t *testing.T) {
	b := newBooks(t)
	n := storetestAccount()
	n.UseBefore = 240_000 // 2,400 kWh: the step at 2,760 is crossed in February
	account, meter := b.quarter(n)
	before, balance := b.billsOf(account), b.balance(account)
	// The year's end reading doesn't change, but the opening of the account's meter does: 50 kWh of January were never used.
	fs, err := b.FittingsOfMeter(context.Background(), meter)
	require.NoError(t, err)
	k := b.carryOut(billing.CorrectionChange{Exchange: &billing.ExchangeChange{Fitting: fs[0].ID, Opening: regs(5000)}})
	require.Equal(t, 2, k.Bills, "January, and February whose first step has grown; March lies in the second either way")
	require.Equal(t, 2, k.ApprovalsNeeded, "money goes back: as a refund, it needs a second approval")
	after := b.billsOf(account)
	require.Equal(t, int64(26_000), after[0].Quantity)
	require.Equal(t, before[1].Quantity, after[1].Quantity)
	require.Equal(t, before[1].TotalFen-250, after[1].TotalFen, "50 kWh at 0.538 instead of 0.588")
	require.Equal(t, balance+before[0].TotalFen-after[0].TotalFen+250, b.balance(account))
	b.intact()
	b.holds()
}

func TestCorrection_ofARatio(t *testing.T) {
	b := newBooks(t)
	n := storetestAccount()
	n.Ratio = 5
	account, meter := b.quarter(n)
	fs, err := b.FittingsOfMeter(context.Background(), meter)
	require.NoError(t, err)
	// The transformers were exchanged in mid-February, from 5 to 10; nobody wrote it down.
	change := billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: fs[0].ID, At: midnight("2026-02-15"), Ratio: 10, Registers: regs(45_000)}}
	k := b.carryOut(change)
	require.Equal(t, 2, k.ApprovalsNeeded)
	after := b.billsOf(account)
	require.Equal(t, int64(155_000), after[0].Quantity)
	require.Equal(t, int64(14_000*5+14_000*10), after[1].Quantity, "closing at the old ratio, opening at the new")
	require.Equal(t, int64(31_000*10), after[2].Quantity)
	m, err := b.Meter(context.Background(), meter)
	require.NoError(t, err)
	require.Equal(t, 10, m.Ratio)
	require.Equal(t, k.OpenFen, b.tomorrow(account, meter, "2026-04-03", 91_000), "the open period follows with the next charge, as previewed")
	b.intact()
	b.holds()
}

// tomorrow lives another day without use and gives what it charged, as the customer's gain.
func (b *books) tomorrow(account billing.AccountID, meter billing.MeterID, day string, total int64) billing.Money {
	b.t.Helper()
	was := b.balance(account)
	b.day(day, map[billing.MeterID]billing.Registers{meter: regs(total)})
	return b.balance(account) - was
}

func TestCorrection_ofAPrice(t *testing.T) {
	b := newBooks(t)
	account, _ := b.quarter(storetestAccount())
	other, _ := b.Account(storetest.NewAccount{Tariff: "zj-residential-tou"})
	before, balance := b.billsOf(account), b.balance(account)
	tariff, err := b.Tariff(context.Background(), "zj-residential")
	require.NoError(t, err)
	version := tariff.Versions[len(tariff.Versions)-1]
	raw, err := json.Marshal(version)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &version))
	version.From = billing.MustDate("2026-03-16")
	price := billing.MustPrice("0.638")
	for i := range version.Components {
		for j := range version.Components[i].Tiers {
			version.Components[i].Tiers[j].Price = &price
		}
	}
	k := b.carryOut(billing.CorrectionChange{Price: &billing.PriceCorrection{Tariff: "zj-residential", Version: version}})
	require.Equal(t, 1, k.Accounts, "the other account has another tariff")
	require.Equal(t, 2, k.ApprovalsNeeded)
	after := b.billsOf(account)
	require.Equal(t, before[:2], after[:2])
	require.Equal(t, before[2].Quantity, after[2].Quantity)
	// No reading on 16 March: 16 of 31 days at an even rate.
	dearer, err := billing.Charge(billing.Power.Quantity(31_000-31_000*15/31), billing.MustPrice("0.1"), billing.Factor{})
	require.NoError(t, err)
	require.Equal(t, before[2].TotalFen+dearer, after[2].TotalFen)
	require.Equal(t, balance-dearer, b.balance(account))
	require.Empty(t, b.billsOf(other))
	b.intact()
	b.holds()
}

func TestCorrection_ofTerms(t *testing.T) {
	b := newBooks(t)
	account, _ := b.quarter(storetestAccount())
	balance := b.balance(account)
	before := b.billsOf(account)
	_, err := b.env.ExecuteActivity(b.correct.DraftCorrection, b.submission(billing.CorrectionChange{Terms: &billing.TermsChange{
		Account: account, From: billing.MustDate("2026-02-01"), Tariff: "zj-residential-tou", CapacityKVA: billing.MustQuantity("-1"),
	}}))
	require.ErrorContains(t, err, "The quantity -1 is negative", "refused before anything is previewed")
	b.carryOut(billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate("2026-02-01"), Tariff: "zj-residential-tou", Persons: 5}})
	after := b.billsOf(account)
	require.Equal(t, before[0], after[0], "January was rated by what was agreed then")
	for i := 1; i < len(after); i++ {
		require.Equal(t, billing.TariffID("zj-residential-tou"), after[i].Tariff)
		require.Equal(t, before[i].Quantity, after[i].Quantity)
		balance += before[i].TotalFen - after[i].TotalFen
	}
	require.Equal(t, balance, b.balance(account))
	b.intact()
	b.holds()
}

// What an account brought along from the former system was written down 200 kWh too high: every step of the year came too early.
func TestCorrection_ofTheUseBeforeOpening(t *testing.T) {
	b := newBooks(t)
	n := storetestAccount()
	n.UseBefore = 260_000
	account, meter := b.quarter(n)
	before, balance := b.billsOf(account), b.balance(account)
	use := func(raw int64) billing.CorrectionChange {
		return billing.CorrectionChange{CarryOver: &billing.CarryOverChange{Account: account, Use: raw}}
	}
	require.Contains(t, refused(b.field, b.correct.DraftCorrection, b.submission(use(-1))), "can't be -0.01 kWh")
	require.Contains(t, refused(b.field, b.correct.DraftCorrection, b.submission(use(2_000_000_000_000))), "enter what the former system's bills of that year come to")
	require.Contains(t, refused(b.field, b.correct.DraftCorrection, b.submission(use(260_000))), "nothing would change")
	_, err := b.Pool.Exec(context.Background(), `UPDATE accounts SET use_before = 240000`)
	require.ErrorContains(t, err, "no approved correction says", "nothing else changes it")

	k := b.draft(use(240_000))
	require.Equal(t, string(account), k.Subject)
	require.Equal(t, 2, k.Bills, "January, and February up to 360 kWh; March lies in the second step either way")
	require.Equal(t, billing.Money(1000), k.BackFen, "200 kWh at 0.538 instead of 0.588")
	require.Equal(t, 2, k.ApprovalsNeeded, "money goes back")
	require.Contains(t, refused(b.field, b.correct.ApproveCorrection, b.approval(k, "sup1", 1)), "another person must approve")
	stored, err := b.Store.Account(context.Background(), account)
	require.NoError(t, err)
	require.Equal(t, int64(260_000), stored.UseBefore, "a preview changes nothing")
	b.approve(k)
	require.Equal(t, billing.CorrectionApplied, b.apply(k.ID).State)
	after := b.billsOf(account)
	require.Equal(t, before[0].TotalFen-750, after[0].TotalFen)
	require.Equal(t, before[1].TotalFen-250, after[1].TotalFen)
	require.Equal(t, before[2], after[2])
	require.Equal(t, balance+1000, b.balance(account))
	require.Zero(t, b.tomorrow(account, meter, "2026-04-03", 91_000), "the open month lies in the second step either way")

	// He was no customer before: his steps begin with the account, and the first one is long enough for all.
	b.at("2026-04-04", 9, 0)
	b.carryOut(use(0))
	var total billing.Money
	for _, bill := range b.billsOf(account) {
		total += bill.TotalFen
	}
	require.Equal(t, billing.Money(16_678+15_064+16_678), total, "310, 280 and 310 kWh at 0.538")
	b.intact()
	b.holds()
	b.proved(t)
}

// Neither new terms nor a corrected price get past the ceiling that the site had on the days that they are for.
func TestCorrection_belowTheCeiling(t *testing.T) {
	b := newBooks(t)
	account, _ := b.quarter(storetestAccount())
	ceiling := func(from, price string) {
		c := store.PriceCeiling{Site: b.Site, Service: billing.Power, From: billing.MustDate(from), Reason: "notice 3", SetBy: "boss"}
		if price != "" {
			p := billing.MustPrice(price)
			c.Price = &p
		}
		require.NoError(t, b.SetPriceCeiling(context.Background(), store.By{Actor: "boss"}, c))
	}
	ceiling("2026-02-01", "0.84")
	ceiling("2026-03-01", "")
	flat := func(from, price string) billing.TariffVersion {
		p := billing.MustPrice(price)
		return billing.TariffVersion{From: billing.MustDate(from), Components: []billing.Component{{Key: "energy", Name: billing.Names{ZH: "电度电费", EN: "Energy"}, Kind: billing.KindFlat, Price: &p}}}
	}
	require.NoError(t, b.AddTariff(context.Background(), storetest.By, billing.Tariff{ID: "dear", Name: billing.Names{ZH: "贵", EN: "Dear"}, Service: billing.Power, Versions: []billing.TariffVersion{flat("2026-01-01", "0.90")}}))
	terms := func(from string) billing.CorrectionChange {
		return billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate(from), Tariff: "dear"}}
	}
	require.Contains(t, refused(b.field, b.correct.DraftCorrection, b.submission(terms("2026-02-10"))), "choose another tariff than dear for account "+string(account))
	tariff, err := b.Tariff(context.Background(), "zj-residential")
	require.NoError(t, err)
	require.Len(t, tariff.Versions, 1)
	require.Contains(t, refused(b.field, b.correct.DraftCorrection, b.submission(
		billing.CorrectionChange{Price: &billing.PriceCorrection{Tariff: "zj-residential", Version: flat("2026-02-20", "0.90")}})), "above the ceiling of 0.84 yuan")
	b.carryOut(terms("2026-03-10"))
	b.intact()
	b.holds()
}

// holds checks what must be true of reversed bills whatever was corrected: the entry is undone whole, once, and the revenue of a period is
// that of its one issued bill.
func (b *books) holds() {
	b.t.Helper()
	for _, sql := range []string{
		`SELECT b.id FROM bills b LEFT JOIN bill_reversals r ON r.bill_id = b.id LEFT JOIN ledger_entries u ON u.id = r.entry_id
			WHERE b.state = 'reversed' AND (r.bill_id IS NULL OR u.reverses IS DISTINCT FROM b.entry_id)`,
		`SELECT b.id FROM bills b WHERE b.state = 'issued' AND b.total_fen <> (SELECT -coalesce(sum(p.amount_fen), 0) FROM ledger_postings p JOIN ledger_entries e ON e.id = p.entry_id
			WHERE p.code LIKE '%/revenue/%' AND e.subject IN (SELECT id FROM bills x WHERE x.account_id = b.account_id AND x.period_from = b.period_from))`,
		`SELECT bill_id FROM bill_lines l JOIN bills b ON b.id = l.bill_id GROUP BY bill_id, b.total_fen HAVING sum(amount_fen) <> b.total_fen`,
	} {
		rows, err := b.Pool.Query(context.Background(), sql)
		require.NoError(b.t, err)
		require.False(b.t, rows.Next(), sql)
		rows.Close()
	}
}

// A rule group for the customer's class judges a corrected reading and a corrected closing too.
func TestCorrection_isJudgedByTheRulesOfTheCustomersClass(t *testing.T) {
	b := newBooks(t)
	account, meter := b.Account(storetestAccount())
	rules, err := activities.DefaultRules(json.RawMessage(`{}`), billing.Power)
	require.NoError(t, err)
	rules.CapacityPercent = 1 // 5.28 kWh in a day
	raw, err := json.Marshal(rules)
	require.NoError(t, err)
	group := func(class billing.CustomerClass, rules json.RawMessage) {
		_, err := b.AddRuleGroup(context.Background(), store.By{Actor: "sup1", Reason: "winter"},
			store.RuleGroup{Site: b.Site, Name: string(class), Service: billing.Power, Class: class}, store.RuleVersion{FromDay: billing.MustDate("2026-01-02"), Rules: rules})
		require.NoError(t, err)
	}
	group(billing.ClassHousehold, raw)
	b.day("2026-01-02", map[billing.MeterID]billing.Registers{meter: regs(300)})
	b.day("2026-01-03", map[billing.MeterID]billing.Registers{meter: regs(600)})
	b.at("2026-01-04", 9, 0)
	in := b.submission(readingChange(meter, "2026-01-03", regs(1500)))
	_, err = b.env.ExecuteActivity(b.correct.DraftCorrection, in)
	require.ErrorContains(t, err, "can't have counted", "12 kWh in a day are too much for a home here")
	b.Class(account, "2026-01-04", billing.ClassCommercial)
	_, err = b.env.ExecuteActivity(b.correct.DraftCorrection, in)
	require.ErrorContains(t, err, "can't have counted", "on the day of the reading it was a home still")
	b.Class(account, "2026-01-03", billing.ClassCommercial)
	do[activities.CorrectionFacts](b.field, b.correct.DraftCorrection, in)
}
