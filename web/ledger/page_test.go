package ledger_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
)

func fields(form url.Values) (list []string) {
	for name, values := range form {
		list = append(list, name, values[0])
	}
	return list
}

func TestChart(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	a := s.SignIn(t, webtest.Manager).Get("/ledger")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Find("row-compound/opening").Text(), "50.00")
	require.Equal(t, 1, a.Find("row-plaza/cash").Length())
	require.Zero(t, a.Find("open-menu").Length(), "accounts are opened by administrators")
	require.Zero(t, s.SignIn(t, webtest.Clerk).Get("/ledger").Find("row-plaza/cash").Length(), "own sites only")
	before := s.SignIn(t, webtest.Manager).Get("/ledger?day=2026-09-10&known=2026-09-09")
	require.NotContains(t, before.Find("row-compound/opening").Text(), "50.00", "nothing was known yet")

	admin := s.SignIn(t, webtest.Administrator)
	form := url.Values{"site": {"compound"}, "name": {"fees/late"}, "kind": {"revenue"}, "name_zh": {"滞纳金"}, "name_en": {"Late fees"}}
	require.Equal(t, http.StatusSeeOther, admin.Post("/ledger", fields(form)...).Status)
	require.Contains(t, admin.Get("/ledger").Find("row-compound/fees/late").Text(), "Late fees")
	again := admin.Post("/ledger", fields(form)...)
	require.Equal(t, http.StatusConflict, again.Status)
	require.Contains(t, again.Find("action-error").Text(), "in the chart already")
}

func TestDay(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	day := billing.MustDate("2026-09-10")
	b := s.SignIn(t, webtest.Supervisor)
	require.Zero(t, b.Get("/ledger/days/compound/2026-09-10").Find("action-close").Length(), "the day isn't over")
	storetest.SetClock(t, s.Store, webtest.Start.AddDate(0, 0, 1))
	require.Equal(t, 1, b.Get("/ledger/days/compound/2026-09-10").Find("action-close").Length())
	down := b.Post("/ledger/days/compound/2026-09-10/close", fields(url.Values{"counted": {"1.00"}})...)
	require.Equal(t, http.StatusServiceUnavailable, down.Status)
	require.Equal(t, "1.00", down.Find("field-counted").Find("input").AttrOr("value", ""), "what was typed is kept")

	require.NoError(t, s.Store.CloseDay(context.Background(), store.By{Actor: "workflow"}, webtest.Compound, day, nil))
	a := b.Get("/ledger/days/compound/2026-09-10")
	require.Contains(t, a.Find("fact-seal").Text(), "Matches the entries")
	require.Contains(t, a.Find("row-customer/A1").Text(), "50.00")
	require.Zero(t, a.Find("action-close").Length())
	require.Contains(t, b.Get("/ledger/days").Find("row-compound/2026-09-10").Text(), "Closed")
	require.Equal(t, http.StatusNotFound, b.Get("/ledger/days/plaza/2026-09-10").Status)
	_, err := s.Store.Pool.Exec(context.Background(), `BEGIN; SET LOCAL session_replication_role = replica; UPDATE ledger_postings SET amount_fen = 2 * amount_fen; COMMIT`)
	require.NoError(t, err)
	require.Contains(t, b.Get("/ledger/days/compound/2026-09-10").Find("fact-seal").Text(), "Does not match")
}

func TestAccount_holdsAndEntries(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	clerk, manager := s.SignIn(t, webtest.Clerk), s.SignIn(t, webtest.Manager)
	a := clerk.Get("/ledger/account?code=customer%2FA1")
	require.Contains(t, a.Find("fact-available").Text(), "42.00")
	require.Equal(t, 1, a.Find("table-entries").Find("tbody tr").Length())
	form := url.Values{"code": {"customer/A1"}, "amount": {"43"}, "purpose": {"refund"}, "subject": {"RF-3"}, "until": {"2026-09-20"}, "reason": {"asked for"}, "nonce": {"n1"}}
	more := clerk.Post("/ledger/account", fields(form)...)
	require.Equal(t, http.StatusConflict, more.Status)
	require.Contains(t, more.Find("action-hold").Text(), "has 42.00 yuan available")
	form.Set("amount", "42")
	form.Set("until", "2026-09-01")
	require.Contains(t, clerk.Post("/ledger/account", fields(form)...).Find("error-until").Text(), "later day")
	form.Set("until", "2026-09-20")
	require.Equal(t, http.StatusSeeOther, clerk.Post("/ledger/account", fields(form)...).Status)
	require.Contains(t, clerk.Get("/ledger/account?code=customer%2FA1").Find("fact-available").Text(), "0.00")

	early := manager.Post("/ledger/holds/H1", fields(url.Values{"amount": {"4"}, "channel": {"transfer"}, "reason": {"paid"}})...)
	require.Equal(t, http.StatusConflict, early.Status)
	require.Contains(t, early.Find("action-settle-H1").Text(), "Nobody has approved hold H1")
	require.Zero(t, early.Find("action-settle-H1").Find(`[name="amount"]`).Length(), "there is nothing to pay yet")
	supervisor := s.SignIn(t, webtest.Supervisor)
	require.Equal(t, http.StatusUnprocessableEntity, supervisor.Post("/ledger/holds/H1", "approve", "1", "reason", "").Status)
	require.Equal(t, http.StatusForbidden, clerk.Post("/ledger/holds/H1", "approve", "1", "reason", "x").Status)
	require.Equal(t, http.StatusSeeOther, supervisor.Post("/ledger/holds/H1", "approve", "1", "reason", "checked").Status)
	require.Contains(t, manager.Get("/ledger/account?code=customer%2FA1").Find("fact-settle-approved").Text(), webtest.Supervisor)
	twice := supervisor.Post("/ledger/holds/H1", fields(url.Values{"amount": {"4"}, "channel": {"transfer"}, "reason": {"paid"}})...)
	require.Contains(t, twice.Find("action-settle-H1").Text(), "a third person must pay it out")
	less := manager.Post("/ledger/holds/H1", fields(url.Values{"amount": {"9"}, "channel": {"transfer"}, "reason": {"paid"}})...)
	require.Equal(t, http.StatusUnprocessableEntity, less.Status)
	require.Contains(t, less.Find("action-settle-H1").Text(), "keeps back 5.00 yuan")
	done := manager.Post("/ledger/holds/H1", fields(url.Values{"amount": {"4"}, "channel": {"transfer"}, "reason": {"paid"}})...)
	require.Equal(t, http.StatusSeeOther, done.Status, done.Body)
	paid := manager.Get("/ledger/account?code=customer%2FA1")
	require.Contains(t, paid.Find("row-H1").Text(), "Paid out")
	done = manager.Post("/ledger/holds/H2", fields(url.Values{"release": {"1"}, "reason": {"withdrawn"}})...)
	require.Equal(t, http.StatusSeeOther, done.Status, done.Body)
	released := manager.Get("/ledger/account?code=customer%2FA1")
	require.Contains(t, released.Find("row-H2").Text(), "Released")
	require.Contains(t, released.Find("fact-balance").Text(), "46.00")

	hold, err := s.Store.Hold(context.Background(), "H1")
	require.NoError(t, err)
	entry := clerk.Get("/ledger/entries/" + paid.Find("table-entries").Find("tbody tr").First().AttrOr("data-id", ""))
	require.Equal(t, http.StatusOK, entry.Status, entry.Body)
	require.Contains(t, entry.Find("fact-key").Text(), "hold/H1/posted")
	require.Equal(t, "4.00", hold.Posted.String())
	require.Equal(t, http.StatusNotFound, clerk.Get("/ledger/account?code=customer%2FB1").Status, "another site's account")
	require.Equal(t, http.StatusNotFound, clerk.Get("/ledger/entries/x").Status)
}

func TestAccountPage_balanceOnADay(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	b := s.SignIn(t, webtest.Clerk)
	require.Contains(t, b.Get("/accounts/A1").Find("fact-available").Text(), "42.00")
	require.Contains(t, b.Get("/accounts/A1?day=2026-09-10").Find("fact-as-of").Text(), "50.00")
	early := b.Get("/accounts/A1?day=2026-09-10&known=2026-09-09").Find("fact-as-of").Text()
	require.Contains(t, early, "known on 2026-09-09")
	require.Contains(t, early, "0.00")
	require.NotContains(t, early, "50.00")
}

// A hold waits for whoever neither placed nor approved it, and opens the books of its account.
func TestHolds_waitForTheNextPerson(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	sup, sup2 := s.SignIn(t, webtest.Supervisor), s.SignIn(t, webtest.Supervisor2)
	listed := func(b *webtest.Browser) int {
		return b.Get("/ledger/holds?waiting=mine").Find("table-holds").Find("tbody tr").Length()
	}
	require.Equal(t, 2, listed(sup))
	require.Equal(t, 2, listed(sup2))
	require.Equal(t, 0, listed(s.SignIn(t, webtest.OtherSupervisor)), "of another site")
	require.Equal(t, 0, listed(s.SignIn(t, webtest.Clerk2)), "who placed them")
	require.Equal(t, http.StatusSeeOther, sup.Post("/ledger/holds/H1", "approve", "1", "reason", "checked").Status)
	require.Equal(t, 1, listed(sup), "approved, it waits for a third person")
	row := sup2.Get("/ledger/holds?waiting=mine").Find("row-H1")
	require.Contains(t, row.Text(), "Pay out")
	require.Equal(t, "/ledger/account?code=customer%2FA1", row.Find("a").AttrOr("href", ""))
	require.Equal(t, 2, sup.Get("/ledger/holds").Find("table-holds").Find("tbody tr").Length(), "all that are open")
	a := sup2.JSON(http.MethodGet, "/api/v1/holds?waiting=true", "")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, `"total":2`)
	require.Contains(t, sup.JSON(http.MethodGet, "/api/v1/holds?waiting=true", "").Body, `"total":1`)
	storetest.SetClock(t, s.Store, webtest.Start.AddDate(0, 2, 0))
	require.Equal(t, 0, listed(sup2), "their time is over")
}
