package accounts_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
)

func TestTerms(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 5000)
	admin := s.SignIn(t, webtest.Administrator)
	p := admin.Get("/accounts/1000001")
	require.Equal(t, 1, p.Find("table-terms").Find("tbody tr").Length(), "terms of the opening")
	require.Equal(t, 1, p.Find("action-terms").Length())
	require.Zero(t, s.SignIn(t, webtest.Clerk).Get("/accounts/1000001").Find("action-terms").Length())
	form := func(change ...string) []string {
		values := map[string]string{"from": "2026-10-01", "tariff": "demo-two-part", "class": "commercial", "persons": "0", "capacity": "630.5", "suspended": "", "demand": "0", "choice": "capacity", "register": "", "reason": "新合同"}
		for i := 0; i < len(change); i += 2 {
			values[change[i]] = change[i+1]
		}
		var list []string
		for k, v := range values {
			list = append(list, k, v)
		}
		return list
	}
	for field, bad := range map[string]string{"from": "soon", "class": "embassy", "persons": "many", "capacity": "-5", "suspended": "1e3", "choice": "both", "register": "total", "reason": ""} {
		a := admin.Post("/accounts/1000001/terms", form(field, bad)...)
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, field)
		require.Equal(t, 1, a.Find("action-terms").Find(`[data-testid="error-`+field+`"]`).Length(), field)
	}
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Supervisor).Post("/accounts/1000001/terms", form()...).Status)
	a := admin.Post("/accounts/1000001/terms", form("from", "2026-08-01")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("action-terms").Text(), "before the account was opened")
	require.Equal(t, http.StatusUnprocessableEntity, admin.Post("/accounts/1000001/terms", form("tariff", "bj-water-residential")...).Status)

	a = admin.Post("/accounts/1000001/terms", form()...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	of, err := s.Store.TermsOf(t.Context(), []billing.AccountID{"1000001"})
	require.NoError(t, err)
	require.Len(t, of["1000001"], 2)
	require.Equal(t, "630.5", of["1000001"][1].CapacityKVA.String())
	require.Equal(t, "新合同", of["1000001"][1].Reason)
	text := admin.Get("/accounts/1000001").Find("table-terms").Text()
	require.Contains(t, text, "630.5 kVA")
	require.Equal(t, billing.ClassCommercial, of["1000001"][1].Class)
	require.Contains(t, text, "Commercial")
	require.Contains(t, text, "to come")

	a = admin.Post("/accounts/1000001/terms", form("from", "2026-11-01", "arrears", "1")...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Contains(t, admin.Get("/accounts/1000001").Find("table-terms").Text(), "arrears contract")
	require.Equal(t, 1, admin.Get("/accounts/1000001").Find("field-arrears").Length())
}

func TestTerms_arrearsContractIsNotCutByTheBalance(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", -5000)
	b := s.SignIn(t, webtest.Clerk)
	require.Contains(t, b.Get("/accounts/1000001").Body, "the contract agrees to a cut at the limit")
	require.NoError(t, s.Store.SetTerms(t.Context(), store.By{Actor: webtest.Administrator, Reason: "x"}, store.AccountTerms{Account: "1000001", FromDay: billing.MustDate("2026-09-01"), Tariff: "t",
		Settlement: store.SettleByMeter, ArrearsContract: true}))
	page := b.Get("/accounts/1000001").Body
	require.Contains(t, page, "the contract agrees to no cut: not cut by its balance")
	require.NotContains(t, page, "at the cut-off limit")
}

func TestPeriodQuantity(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 5000)
	b := s.SignIn(t, webtest.Supervisor)
	require.Zero(t, b.Get("/accounts/1000001").Find("action-quantity").Length(), "its price needs none")
	require.NoError(t, s.Store.SetTerms(t.Context(), store.By{Actor: webtest.Administrator, Reason: "x"}, store.AccountTerms{Account: "1000001", FromDay: billing.MustDate("2026-09-01"), Tariff: "demo-two-part", Settlement: store.SettleByMeter}))
	require.Equal(t, 1, b.Get("/accounts/1000001").Find("action-quantity").Length())
	enter := func(value, kind, reason string) int {
		return b.Post("/accounts/1000001/quantities", "month", "2026-09-01", "kind", kind, "value", value, "reason", reason).Status
	}
	require.Equal(t, http.StatusUnprocessableEntity, enter("", store.Kvarh, "x"))
	require.Equal(t, http.StatusUnprocessableEntity, enter("-1", store.Kvarh, "x"))
	require.Equal(t, http.StatusUnprocessableEntity, enter("1", "kW", "x"))
	require.Equal(t, http.StatusUnprocessableEntity, enter("1", store.Kvarh, ""))
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post("/accounts/1000001/quantities", "month", "2026-09-01", "kind", store.Kvarh, "value", "1", "reason", "x").Status)
	require.Equal(t, http.StatusSeeOther, enter("1200.5", store.Kvarh, "抄见"))
	require.Contains(t, b.Get("/accounts/1000001").Find("table-quantities").Text(), "1200.5")
}
