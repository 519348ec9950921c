package activities_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// A two-part tariff with terms that change within the month: charged to date day by day, held until kvarh is on file, then billed, and
// re-rated from what the bill keeps.
func TestCharge_termsOfTheAccount(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Tariff, n.Fen = "demo-two-part", 1_000_000
	account, meter := f.Account(n)
	by := store.By{Actor: "admin", Reason: "contract"}
	terms := store.AccountTerms{Account: account, FromDay: billing.MustDate("2026-01-01"), Tariff: "demo-two-part", CapacityKVA: billing.MustQuantity("100"),
		ChargeChoice: billing.ChooseCapacity, Settlement: store.SettleByMeter}
	require.NoError(t, f.SetTerms(t.Context(), by, terms))
	terms.FromDay, terms.CapacityKVA = billing.MustDate("2026-01-11"), billing.MustQuantity("200")
	require.NoError(t, f.SetTerms(t.Context(), by, terms))

	f.day("2026-01-11", map[billing.MeterID]billing.Registers{meter: regs(1000)})
	// 4.35 + 0.12 + 1.46 + 0.41 + 0.29 of energy, and 100 kVA × 25.50 × 10/30.
	require.Equal(t, billing.Money(663+85_000), f.rated(account, "2026-01-01"))
	f.day("2026-02-01", map[billing.MeterID]billing.Registers{meter: regs(4000)})
	// 13.05 + 0.36 + 4.37 + 1.22 + 0.87 more, and 200 kVA × 25.50 × 20/30. Without kvarh the month is charged to date.
	require.Equal(t, billing.Money(663+85_000+1987+340_000), f.rated(account, "2026-01-01"))

	run := f.run("2026-01")
	bill, _ := f.bill(run, account)
	require.Equal(t, billing.BillHeld, bill.State)
	require.Contains(t, bill.HoldReason, "(kvarh) of 2026-01 is not on file")
	release := activities.BillDecision{RunID: run, BillID: bill.ID, By: "sup1", Reason: "kvarh entered"}
	require.Contains(t, refused(f, f.bills.ReleaseBill, release), "is not on file")
	require.NoError(t, f.EnterPeriodQuantity(t.Context(), by, store.PeriodQuantity{Account: account, Month: billing.MustDate("2026-01-01"), Kind: store.Kvarh, Value: billing.MustQuantity("10"), Source: "manual"}))
	_, err := f.env.ExecuteActivity(f.bills.ReleaseBill, release)
	require.NoError(t, err)
	bill, lines := f.bill(run, account)
	require.Equal(t, billing.BillDraft, bill.State)
	// 40 kWh and 10 kvarh make 0.97: -0.75 % of 4273.71, in which system operation and funds are not.
	require.Equal(t, billing.Money(427_650-3205), bill.TotalFen)
	require.Equal(t, int64(-3205), lines[len(lines)-1])

	again, err := rating.Again(bill.Engine, bill.Input)
	require.NoError(t, err)
	require.Equal(t, bill.TotalFen, again.Total)
	require.Len(t, again.Lines, len(lines))
	sign := activities.RunDecision{RunID: run, By: "sup1"}
	do[any](f, f.bills.VerifyRun, sign)
	sign.By = "sup2"
	do[any](f, f.bills.ApproveIssue, sign)
	do[any](f, f.bills.IssueBills, activities.RunRef{RunID: run})
	require.Equal(t, billing.Money(1_000_000)-bill.TotalFen, f.balance(account), "days and the rest are the bill")
	require.Equal(t, billing.CodeClosed, billing.CodeOf(f.SetTerms(t.Context(), by, terms)), "January is billed")
	f.intact()
}

// What was entered of a billed month is corrected like a reading: the bill is rated, reversed and issued again by what the meter really showed.
func TestCorrection_quantityOfAMonth(t *testing.T) {
	b := newBooks(t)
	n := storetestAccount()
	n.Tariff, n.Fen = "demo-two-part", 1_000_000
	account, meter := b.Account(n)
	by := store.By{Actor: "admin", Reason: "contract"}
	require.NoError(t, b.SetTerms(t.Context(), by, store.AccountTerms{Account: account, FromDay: billing.MustDate("2026-01-01"), Tariff: "demo-two-part",
		CapacityKVA: billing.MustQuantity("100"), ChargeChoice: billing.ChooseCapacity, Settlement: store.SettleByMeter}))
	b.day("2026-01-02", map[billing.MeterID]billing.Registers{meter: regs(100)})
	b.day("2026-02-01", map[billing.MeterID]billing.Registers{meter: regs(4000)})
	enter := store.PeriodQuantity{Account: account, Month: billing.MustDate("2026-01-01"), Kind: store.Kvarh, Value: billing.MustQuantity("40"), Source: "manual"}
	require.NoError(t, b.EnterPeriodQuantity(t.Context(), by, enter))
	b.issue("2026-01")
	first, balance := b.billsOf(account)[0], b.balance(account)
	enter.Value = billing.MustQuantity("10")
	require.Equal(t, billing.CodeClosed, billing.CodeOf(b.EnterPeriodQuantity(t.Context(), by, enter)), "January is billed")

	k := b.carryOut(billing.CorrectionChange{Quantity: &billing.QuantityChange{Account: account, Month: enter.Month, Kind: enter.Kind, Value: enter.Value}})
	require.Equal(t, 2, k.ApprovalsNeeded, "it gives money back")
	require.JSONEq(t, `{"version": 1, "value": "40", "source": "manual", "recorded_by": "admin"}`, string(k.Before))
	now := b.billsOf(account)[0]
	require.Equal(t, first.Version+1, now.Version)
	require.Less(t, now.TotalFen, first.TotalFen, "a better power factor")
	require.Equal(t, balance+first.TotalFen-now.TotalFen, b.balance(account))

	// And back: the bill of the beginning, line by line.
	b.carryOut(billing.CorrectionChange{Quantity: &billing.QuantityChange{Account: account, Month: enter.Month, Kind: enter.Kind, Value: billing.MustQuantity("40")}})
	require.Equal(t, first.TotalFen, b.billsOf(account)[0].TotalFen)
	require.Equal(t, balance, b.balance(account))
	b.again(account)
	b.intact()
	b.holds()
	b.proved(t)
}

// The tariff is that of the day of use, and steps go on through the change.
func TestCharge_tariffOfTheDayOfUse(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.UseBefore = 275_000
	account, meter := f.Account(n)
	terms := store.AccountTerms{Account: account, FromDay: billing.MustDate("2026-01-11"), Tariff: "demo-commercial-flat", Settlement: store.SettleByMeter}
	require.NoError(t, f.SetTerms(t.Context(), store.By{Actor: "admin", Reason: "a shop now"}, terms))
	f.day("2026-01-11", map[billing.MeterID]billing.Registers{meter: regs(2000)})
	require.Equal(t, billing.Money(538+588), f.rated(account, "2026-01-01"), "10 kWh at 0.538 and 10 at 0.588")
	f.day("2026-02-01", map[billing.MeterID]billing.Registers{meter: regs(4000)})
	run := f.run("2026-01")
	bill, lines := f.bill(run, account)
	require.Equal(t, []int64{538, 588, 1400}, lines, "20 kWh at 0.70")
	require.Equal(t, billing.TariffID("demo-commercial-flat"), bill.Tariff)
	f.intact()
}

// One person changes no money: terms of a day that was charged are set by a correction, which shows the difference and which another approves.
func TestSetTerms_ofAChargedDayIsACorrection(t *testing.T) {
	b := newBooks(t)
	account, meter := b.Account(storetestAccount())
	b.day("2026-01-02", one(meter, 1000))
	b.day("2026-01-03", one(meter, 2000))
	by := store.By{Actor: "admin", Reason: "it was a shop from the start"}
	terms := store.AccountTerms{Account: account, FromDay: billing.MustDate("2026-01-02"), Tariff: "demo-commercial-flat", Settlement: store.SettleByMeter}
	err := b.SetTerms(t.Context(), by, terms)
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err))
	require.ErrorContains(t, err, "was charged already: ask for a correction")
	terms.FromDay = billing.MustDate("2026-01-03")
	require.NoError(t, b.SetTerms(t.Context(), by, terms), "today is still to be charged")

	balance := b.balance(account)
	require.Equal(t, billing.Money(10_000-1076), balance)
	k := b.carryOut(billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate("2026-01-01"), Tariff: "demo-commercial-flat"}})
	require.Equal(t, billing.Money(1076-1400), k.OpenFen)
	require.Equal(t, 1, k.ApprovalsNeeded)
	require.Equal(t, k.OpenFen-70, b.tomorrow(account, meter, "2026-01-04", 2100), "as previewed, and a kWh")

	// Back again gives money back: two others agree.
	k = b.carryOut(billing.CorrectionChange{Terms: &billing.TermsChange{Account: account, From: billing.MustDate("2026-01-01"), Tariff: "zj-residential"}})
	require.Equal(t, billing.Money(1400-1076), k.OpenFen)
	require.Equal(t, 2, k.ApprovalsNeeded, "what isn't billed yet is the customer's money too")
	b.intact()
}

// While a run that isn't issued has rated an account, neither its terms nor the quantities of its month change behind the run.
func TestSetTerms_behindARatedBill(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter := f.Account(storetestAccount())
	for _, d := range []struct {
		day   string
		total int64
	}{{"2026-01-02", 1000}, {"2026-02-01", 31_000}} { // read, and never charged: the site's charge waits for somebody
		id := f.sweep(d.day, one(meter, d.total))
		do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
		do[any](f, f.meters.CloseCycle, activities.CycleRef{CycleID: id})
	}
	by := store.By{Actor: "admin", Reason: "a shop"}
	terms := store.AccountTerms{Account: account, FromDay: billing.MustDate("2026-01-11"), Tariff: "demo-commercial-flat", Settlement: store.SettleByMeter}
	quantity := store.PeriodQuantity{Account: account, Month: billing.MustDate("2026-01-01"), Kind: store.Kvarh, Value: billing.MustQuantity("10"), Source: "manual"}
	blocked := func(err error, says string) {
		t.Helper()
		require.Equal(t, billing.CodeBlocked, billing.CodeOf(err))
		require.ErrorContains(t, err, says)
	}
	run := billing.RunID("park/2026-01/1")
	do[activities.RunOpened](f, f.bills.OpenRun, activities.RunStart{RunID: run, Site: f.Site, Period: billing.MonthPeriod(quantity.Month), Version: 1})
	blocked(f.SetTerms(t.Context(), by, terms), "run park/2026-01/1 is being rated: try again")
	run = f.run("2026-01")
	blocked(f.SetTerms(t.Context(), by, terms), "run park/2026-01/1 has rated account "+string(account)+" already: hold its bill")
	blocked(f.EnterPeriodQuantity(t.Context(), by, quantity), "hold its bill")
	later := terms
	later.FromDay = billing.MustDate("2026-02-01")
	require.NoError(t, f.SetTerms(t.Context(), by, later), "the first day after the run's month")
	quantity.Month = billing.MustDate("2026-02-01")
	require.NoError(t, f.EnterPeriodQuantity(t.Context(), by, quantity))

	bill, _ := f.bill(run, account)
	decide := activities.BillDecision{RunID: run, BillID: bill.ID, By: "sup1", Reason: "the contract is late"}
	_, err := f.env.ExecuteActivity(f.bills.HoldBill, decide)
	require.NoError(t, err)
	terms.FromDay = billing.MustDate("2026-01-01")
	require.NoError(t, f.SetTerms(t.Context(), by, terms))
	_, err = f.env.ExecuteActivity(f.bills.ReleaseBill, decide)
	require.NoError(t, err)
	bill, _ = f.bill(run, account)
	require.Equal(t, billing.Money(21_700), bill.TotalFen, "310 kWh at 0.70")
	f.issue(run)
	f.intact()
}

// Use counts toward steps by whole months, so the counted register can't change within one: not by the terms that follow either, and a
// correction says so before anybody approves it.
func TestCorrection_ofTheRegisterWithinAMonth(t *testing.T) {
	b := newBooks(t)
	n := storetestAccount()
	n.Tariff = "zj-residential-tou"
	account, meter := b.Account(n)
	b.day("2026-01-02", one(meter, 1000))
	b.day("2026-01-15", one(meter, 14_000))
	b.day("2026-02-01", one(meter, 31_000))
	change := billing.TermsChange{Account: account, From: billing.MustDate("2026-01-15"), Tariff: "zj-residential-tou", Register: "peak"}
	require.Contains(t, refused(b.field, b.correct.DraftCorrection, b.submission(billing.CorrectionChange{Terms: &change})), "only from the first day of a month")
}
