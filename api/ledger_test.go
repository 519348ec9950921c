package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/api"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
)

func read[T any](t *testing.T, a webtest.Answer) T {
	t.Helper()
	require.Less(t, a.Status, 300, a.Body)
	var v T
	require.NoError(t, json.Unmarshal([]byte(a.Body), &v), a.Body)
	return v
}

func TestLedger_daysAndBalances(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	ctx := context.Background()
	b := s.SignIn(t, webtest.Supervisor)
	storetest.SetClock(t, s.Store, webtest.Start.AddDate(0, 0, 1))
	require.NoError(t, s.Store.CloseDay(ctx, store.By{Actor: "workflow"}, webtest.Compound, billing.MustDate("2026-09-10"), nil))

	days := read[api.List[api.BookDay]](t, b.Get("/api/v1/ledger/days"))
	require.Equal(t, 1, days.Total)
	require.Equal(t, "closed", days.Items[0].State)
	day := read[api.BookDayDetail](t, b.Get("/api/v1/ledger/days/compound/2026-09-10"))
	require.True(t, *day.Intact)
	require.Equal(t, billing.Money(5_000), day.DebitFen)
	require.Len(t, day.Totals, 2)

	at := read[api.BookBalance](t, b.Get("/api/v1/ledger/balance?code=customer/A1&day=2026-09-10&known_on=2026-09-10"))
	require.Equal(t, billing.Money(-5_000), at.BalanceFen)
	before := read[api.BookBalance](t, b.Get("/api/v1/ledger/balance?code=customer/A1&day=2026-09-10&known_on=2026-09-09"))
	require.Zero(t, before.BalanceFen)
	chart := read[api.List[api.ChartAccount]](t, b.Get("/api/v1/ledger/chart"))
	require.Equal(t, 10, chart.Total, "nine of the house and one for the customers")
	var sum billing.Money
	for _, a := range chart.Items {
		sum += a.BalanceFen
	}
	require.Zero(t, sum)
	list := read[api.List[api.BookEntry]](t, b.Get("/api/v1/ledger/entries?code=customer/A1&day=2026-09-10"))
	require.Equal(t, 1, list.Total)
	require.Equal(t, billing.Money(-5_000), list.Items[0].AmountFen)

	for address, code := range map[string]billing.Code{
		"/ledger/balance?code=plaza/cash": billing.CodeNotFound, "/ledger/balance?code=compound/purse": billing.CodeNotFound, "/ledger/entries/999999": billing.CodeNotFound,
		"/ledger/days/plaza/2026-09-10": billing.CodeNotFound,
	} {
		refused(t, b.Get("/api/v1"+address), http.StatusNotFound, code, "")
	}
	refused(t, b.Get("/api/v1/ledger/balance?code=customer/A1&day=2026-02-30"), http.StatusUnprocessableEntity, billing.CodeInvalidInput, "")
}

func TestLedger_openAccount(t *testing.T) {
	s := webtest.New(t)
	admin := s.SignIn(t, webtest.Administrator)
	body := func(name, kind string) string {
		return `{"site":"plaza","name":"` + name + `","kind":"` + kind + `","name_zh":"滞纳金","name_en":"Late fees"}`
	}
	require.Equal(t, http.StatusCreated, admin.JSON("POST", "/api/v1/ledger/accounts", body("fees/late", "revenue")).Status)
	refused(t, admin.JSON("POST", "/api/v1/ledger/accounts", body("fees/late", "revenue")), http.StatusConflict, billing.CodeConflict, "in the chart already")
	refused(t, admin.JSON("POST", "/api/v1/ledger/accounts", body("Fees Late", "revenue")), http.StatusUnprocessableEntity, billing.CodeInvalidInput, "short name")
	refused(t, s.SignIn(t, webtest.Clerk).JSON("POST", "/api/v1/ledger/accounts", body("x", "asset")), http.StatusForbidden, billing.CodeForbidden, "")
}

func TestHolds(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t) // 50 yuan, of which H1 and H2 hold 8
	clerk, manager := s.SignIn(t, webtest.Clerk), s.SignIn(t, webtest.Manager)
	place := func(amount string) webtest.Answer {
		return clerk.JSON("POST", "/api/v1/accounts/A1/holds", `{"amount":"`+amount+`","purpose":"refund","subject":"RF9","expires_at":"2026-12-01T00:00:00Z","reason":"asked for"}`)
	}
	clerk.Header.Set("Idempotency-Key", "n1")
	h := read[api.Hold](t, place("42.00"))
	require.Equal(t, h, read[api.Hold](t, place("42.00")))
	refused(t, place("41.00"), http.StatusConflict, billing.CodeConflict, "nothing was held now")
	clerk.Header.Set("Idempotency-Key", "n2")
	refused(t, place("0.01"), http.StatusConflict, billing.CodeBlocked, "has 0.00 yuan available")
	clerk.Header.Del("Idempotency-Key")
	account := read[api.AccountDetail](t, clerk.Get("/api/v1/accounts/A1"))
	require.Equal(t, billing.Money(5_000), account.BalanceFen)
	require.Zero(t, account.Available)
	pay := func(by *webtest.Browser) webtest.Answer {
		return by.JSON("POST", "/api/v1/holds/"+h.ID+"/post", `{"amount":"40.00","channel":"transfer","reason":"slip 7"}`)
	}
	refused(t, pay(manager), http.StatusConflict, billing.CodeBlocked, "Nobody has approved hold")
	supervisor := s.SignIn(t, webtest.Supervisor)
	approved := read[api.Hold](t, supervisor.JSON("POST", "/api/v1/holds/"+h.ID+"/approve", `{"reason":"checked"}`))
	require.Equal(t, webtest.Supervisor, approved.ApprovedBy)
	require.NotNil(t, approved.ApprovedAt)
	refused(t, manager.JSON("POST", "/api/v1/holds/"+h.ID+"/approve", `{"reason":"checked"}`), http.StatusConflict, billing.CodeConflict, "approved already")
	refused(t, pay(supervisor), http.StatusConflict, billing.CodeAlreadyApproved, "a third person")
	paid := read[api.Hold](t, pay(manager))
	require.Equal(t, "posted", paid.State)
	refused(t, manager.JSON("POST", "/api/v1/holds/"+h.ID+"/void", `{"reason":"again"}`), http.StatusConflict, billing.CodeClosed, "settled once")
	require.Equal(t, billing.Money(200), read[api.AccountDetail](t, clerk.Get("/api/v1/accounts/A1")).Available)
}
