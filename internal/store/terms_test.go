package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

var termsBy = store.By{Actor: "admin", Reason: "contract of 2 September"}

func newTerms(account billing.AccountID, day string) store.AccountTerms {
	return store.AccountTerms{Account: account, FromDay: billing.MustDate(day), Tariff: "zj-residential", Settlement: store.SettleByMeter}
}

func TestSetTerms(t *testing.T) {
	u := storetest.NewUtility(t, billing.MustDate("2026-09-01").Start(storetest.Zone))
	account, _ := u.Account(storetest.NewAccount{})
	ctx := t.Context()

	of, err := u.TermsOf(ctx, []billing.AccountID{account})
	require.NoError(t, err)
	require.Len(t, of[account], 1, "an account has terms from its first day")
	require.Equal(t, "2026-09-01", of[account][0].FromDay.String())
	require.Equal(t, billing.TariffID("zj-residential"), of[account][0].Tariff)

	five := newTerms(account, "2026-10-01")
	five.Persons = 5
	require.NoError(t, u.SetTerms(ctx, termsBy, five))
	two := newTerms(account, "2026-11-15")
	two.Tariff, two.CapacityKVA, two.SuspendedKVA, two.ContractDemandKW = "demo-two-part", billing.MustQuantity("630.5"), billing.MustQuantity("0"), billing.MustQuantity("300")
	two.ChargeChoice = billing.ChooseCapacity
	require.NoError(t, u.SetTerms(ctx, termsBy, two))
	five.Persons = 6
	require.NoError(t, u.SetTerms(ctx, termsBy, five))

	of, err = u.TermsOf(ctx, []billing.AccountID{account})
	require.NoError(t, err)
	require.Len(t, of[account], 3)
	require.Equal(t, []int{0, 6, 0}, []int{of[account][0].Persons, of[account][1].Persons, of[account][2].Persons}, "the highest version of a day holds")
	require.Equal(t, 2, of[account][1].Version)
	require.Equal(t, "630.5", of[account][2].CapacityKVA.String())
	require.Equal(t, billing.UserID("admin"), of[account][2].RecordedBy)
	history, err := u.TermsHistory(ctx, account)
	require.NoError(t, err)
	require.Len(t, history, 4, "what was recorded before stays")
	a, err := u.Store.Account(ctx, account)
	require.NoError(t, err)
	require.Equal(t, billing.TariffID("zj-residential"), a.Tariff, "the tariff of a later day doesn't show yet")

	_, err = u.Pool.Exec(ctx, `UPDATE account_terms SET persons = 9`)
	require.ErrorContains(t, err, "append-only")
	_, err = u.Pool.Exec(ctx, `DELETE FROM account_terms`)
	require.ErrorContains(t, err, "append-only")
	var events int
	require.NoError(t, u.Pool.QueryRow(ctx, `SELECT count(*) FROM journal WHERE chain = $1 AND event = 'terms_set' AND reason = $2`, "account/"+string(account), termsBy.Reason).Scan(&events))
	require.Equal(t, 3, events)
}

func TestSetTerms_classByDay(t *testing.T) {
	u := storetest.NewUtility(t, billing.MustDate("2026-09-01").Start(storetest.Zone))
	account, meter := u.Account(storetest.NewAccount{})
	ctx := t.Context()
	shop := newTerms(account, "2026-10-01")
	shop.Class = billing.ClassCommercial
	require.NoError(t, u.SetTerms(ctx, termsBy, shop))
	kept := newTerms(account, "2026-10-20") // says nothing of the class
	kept.Persons = 2
	require.NoError(t, u.SetTerms(ctx, termsBy, kept))
	shop.Class = "embassy"
	require.ErrorContains(t, u.SetTerms(ctx, termsBy, shop), "choose household, commercial or important")

	for day, want := range map[string]billing.CustomerClass{
		"2026-08-31": billing.ClassHousehold, "2026-09-01": billing.ClassHousehold, "2026-09-30": billing.ClassHousehold,
		"2026-10-01": billing.ClassCommercial, "2026-10-25": billing.ClassCommercial,
	} {
		classes, err := u.ClassesOfMeters(ctx, []billing.MeterID{meter, "M9"}, billing.MustDate(day).Start(storetest.Zone))
		require.NoError(t, err)
		require.Equal(t, map[billing.MeterID]billing.CustomerClass{meter: want}, classes, day)
	}
	now, err := u.ClassNow(ctx, account)
	require.NoError(t, err)
	require.Equal(t, billing.ClassHousehold, now)
	past, err := u.BillPasts(ctx, []billing.AccountID{account}, billing.MonthPeriod(billing.MustDate("2026-09-01")))
	require.NoError(t, err)
	require.Equal(t, billing.ClassHousehold, past[account].Class)
	past, err = u.BillPasts(ctx, []billing.AccountID{account}, billing.MonthPeriod(billing.MustDate("2026-10-01")))
	require.NoError(t, err)
	require.Equal(t, billing.ClassCommercial, past[account].Class)

	storetest.SetClock(t, u.Store, billing.MustDate("2026-10-01").Start(storetest.Zone))
	row, err := u.AccountRow(ctx, account)
	require.NoError(t, err)
	require.Equal(t, billing.ClassCommercial, row.Class)
	facts, err := u.FactsFor(ctx, account)
	require.NoError(t, err)
	require.Equal(t, billing.ClassCommercial, facts.Class)
}

func TestSetTerms_refuses(t *testing.T) {
	u := storetest.NewUtility(t, billing.MustDate("2026-09-01").Start(storetest.Zone))
	account, _ := u.Account(storetest.NewAccount{})
	meterCredit, _ := u.Account(storetest.NewAccount{Mode: billing.CreditMeter, Tariff: "js-commercial-tou"})
	_, err := u.Pool.Exec(t.Context(), `INSERT INTO billing_runs (id, site_id, period_from, period_to, version, state, opened_at, opened_by) VALUES ('park/2026-09/1', 'park', '2026-09-01', '2026-10-01', 1, 'rating', now(), 'sup1')`)
	require.NoError(t, err)
	_, err = u.Pool.Exec(t.Context(), `INSERT INTO bills (id, run_id, site_id, account_id, period_from, period_to, version, state, tariff_id, engine, quantity, readings, input, total_fen)
		VALUES ('B1', 'park/2026-09/1', 'park', $1, '2026-09-01', '2026-10-01', 1, 'issued', 'zj-residential', 'rating/2', 0, '[]', '{}', 0)`, account)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(*store.AccountTerms)
		code   billing.Code
		want   string
	}{
		"billed":         {func(n *store.AccountTerms) { n.FromDay = billing.MustDate("2026-09-30") }, billing.CodeClosed, "ask for a correction"},
		"before opening": {func(n *store.AccountTerms) { n.Account = meterCredit; n.FromDay = billing.MustDate("2026-08-31") }, billing.CodeInvalidInput, "before the account was opened"},
		"no tariff":      {func(n *store.AccountTerms) { n.Tariff = "free" }, billing.CodeTariffMissing, `There is no tariff "free"`},
		"other service":  {func(n *store.AccountTerms) { n.Tariff = "bj-water-residential" }, billing.CodeInvalidInput, "is for water"},
		"no register":    {func(n *store.AccountTerms) { n.Settlement = store.SettleByRegister }, billing.CodeInvalidInput, "Name the register"},
		"two registers":  {func(n *store.AccountTerms) { n.ContractRegister = "peak" }, billing.CodeInvalidInput, "can't name the peak register too"},
		"mid-month": {func(n *store.AccountTerms) {
			n.Settlement, n.ContractRegister, n.FromDay = store.SettleByRegister, "peak", billing.MustDate("2026-10-02")
		}, billing.CodeInvalidInput, "first day of a month"},
		"meter's prices": {func(n *store.AccountTerms) { n.Account = meterCredit }, billing.CodeBlocked, "holds its prices itself"},
		"nobody":         {func(n *store.AccountTerms) { n.Account = "A9" }, billing.CodeNotFound, "no account"},
		"choice":         {func(n *store.AccountTerms) { n.ChargeChoice = "both" }, billing.CodeInvalidInput, "choose capacity or demand"},
		"negative":       {func(n *store.AccountTerms) { n.CapacityKVA = billing.MustQuantity("-1") }, billing.CodeInvalidInput, "The quantity -1 is negative"},
		"persons":        {func(n *store.AccountTerms) { n.Persons = 100 }, billing.CodeInvalidInput, "0 to 99"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTerms(account, "2026-10-01")
			c.change(&n)
			err := u.SetTerms(t.Context(), termsBy, n)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.code, billing.CodeOf(err))
		})
	}
	require.ErrorContains(t, u.SetTerms(t.Context(), store.By{Actor: "admin"}, newTerms(account, "2026-10-01")), "Say why")
	require.NoError(t, u.SetTerms(t.Context(), termsBy, newTerms(account, "2026-10-01")), "the first day after the bill")
}

// The terms that follow may not let the counted register change within a month either.
func TestSetTerms_registerOfTheTermsThatFollow(t *testing.T) {
	u := storetest.NewUtility(t, billing.MustDate("2026-09-01").Start(storetest.Zone))
	account, _ := u.Account(storetest.NewAccount{})
	require.NoError(t, u.SetTerms(t.Context(), termsBy, newTerms(account, "2026-11-15")))
	peak := newTerms(account, "2026-11-01")
	peak.Settlement, peak.ContractRegister = store.SettleByRegister, "peak"
	err := u.SetTerms(t.Context(), termsBy, peak)
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
	require.ErrorContains(t, err, "The terms from 2026-11-15 on count another register")
	peak.FromDay = billing.MustDate("2026-12-01")
	require.NoError(t, u.SetTerms(t.Context(), termsBy, peak))
	peak.FromDay = billing.MustDate("2026-12-20")
	require.NoError(t, u.SetTerms(t.Context(), termsBy, peak), "the same register")
	total := newTerms(account, "2026-12-01")
	require.ErrorContains(t, u.SetTerms(t.Context(), termsBy, total), "2026-12-20")
}

func TestEnterPeriodQuantity(t *testing.T) {
	u := storetest.NewUtility(t, billing.MustDate("2026-09-01").Start(storetest.Zone))
	account, _ := u.Account(storetest.NewAccount{})
	september := billing.MustDate("2026-09-01")
	enter := func(kind, value string) error {
		return u.EnterPeriodQuantity(t.Context(), termsBy, store.PeriodQuantity{Account: account, Month: september, Kind: kind, Value: billing.MustQuantity(value), Source: "manual"})
	}
	require.NoError(t, enter(store.DemandKW, "315.25"))
	require.NoError(t, enter(store.DemandKW, "316"))
	require.NoError(t, enter(store.Kvarh, "1200"))
	got, err := u.PeriodQuantities(t.Context(), []billing.AccountID{account}, september, september)
	require.NoError(t, err)
	require.Len(t, got[account], 2)
	require.Equal(t, "316", got[account][0].Value.String(), "the second version holds")
	require.Equal(t, 2, got[account][0].Version)
	require.ErrorContains(t, enter(store.Kvarh, "-1"), "is negative")
	require.ErrorContains(t, enter("kW", "1"), "choose demand_kw, kvarh or reverse")
	require.ErrorContains(t, u.EnterPeriodQuantity(t.Context(), termsBy, store.PeriodQuantity{Account: account, Month: billing.MustDate("2026-09-02"), Kind: store.Kvarh, Source: "manual"}), "whole month")
	_, err = u.Pool.Exec(t.Context(), `UPDATE period_quantities SET value = 0`)
	require.ErrorContains(t, err, "append-only")
}
