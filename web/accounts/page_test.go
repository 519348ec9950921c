package accounts_test

import (
	"context"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
)

var by = store.By{Actor: "test"}

func account(t *testing.T, s *store.Store, site billing.SiteID, id billing.AccountID, balance billing.Money) {
	t.Helper()
	ctx := context.Background()
	_, err := s.Pool.Exec(ctx, `INSERT INTO tariffs (id, service, name_zh, name_en, definition) VALUES ('t', 'power', '居民', 'Household', '{}') ON CONFLICT DO NOTHING`)
	require.NoError(t, err)
	_, err = s.Pool.Exec(ctx, `INSERT INTO service_points (id, site_id, service, address) VALUES ($1, $2, 'power', $3)`, "P"+id, site, "3栋 "+string(id))
	require.NoError(t, err)
	require.NoError(t, s.OpenHouse(ctx, by, site))
	require.NoError(t, s.AddCustomer(ctx, by, store.Customer{ID: billing.CustomerID("K" + id), Site: site, Name: "林" + string(id), Phone: "138" + string(id), Class: "household"}))
	require.NoError(t, s.OpenAccount(ctx, by, store.NewAccount{Opening: balance, Account: store.Account{ID: id, Site: site, Customer: billing.CustomerID("K" + id),
		ServicePoint: billing.ServicePointID("P" + id), Service: billing.Power, CreditMode: billing.CreditPlatform, Tariff: "t", PrepaidContract: true, OpenedOn: billing.MustDate("2026-09-01")}}))
}

func off(t *testing.T, s *store.Store, id billing.AccountID) {
	t.Helper()
	_, err := s.Pool.Exec(context.Background(), `UPDATE supplies SET state = 'off', wanted = 'off', cut_cause = 'credit' WHERE account_id = $1`, id)
	require.NoError(t, err)
}

func protected(t *testing.T, s *store.Store, id billing.AccountID) string {
	t.Helper()
	n, err := s.AddProtection(context.Background(), store.By{Actor: webtest.Manager}, store.Protection{Account: id, Kind: "medical", Reason: "制氧机",
		FromAt: webtest.Start.Add(-time.Hour), UntilAt: webtest.Start.AddDate(0, 0, 7)})
	require.NoError(t, err)
	return strconv.FormatInt(n, 10)
}

func standing(t *testing.T, s *store.Store, id billing.AccountID) int {
	t.Helper()
	all, err := s.Protections(context.Background(), id)
	require.NoError(t, err)
	n := 0
	for _, p := range all {
		if p.Standing(webtest.Start) {
			n++
		}
	}
	return n
}

func TestList_filters(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 5000)
	account(t, s.Store, webtest.Compound, "1000002", -300)
	account(t, s.Store, webtest.Compound, "1000003", 100)
	account(t, s.Store, webtest.Plaza, "2000001", 100)
	off(t, s.Store, "1000003")
	protected(t, s.Store, "1000001")
	_, err := s.Store.Pool.Exec(t.Context(), `INSERT INTO uncharged (account_id, site_id, reason, since_at) VALUES ('1000003', 'compound', 'There is no tariff "t": choose a published one.', '2026-09-09T00:00Z')`)
	require.NoError(t, err)
	b := s.SignIn(t, webtest.Clerk)
	for path, want := range map[string][]string{
		"/accounts":                              {"1000001", "1000002", "1000003"},
		"/accounts?sort=balance":                 {"1000002", "1000003", "1000001"},
		"/accounts?is=low":                       {"1000002"},
		"/accounts?arrears=open":                 {"1000002"},
		"/accounts?is=off":                       {"1000003"},
		"/accounts?is=protected":                 {"1000001"},
		"/accounts?is=uncharged":                 {"1000003"},
		"/accounts?credit=meter":                 nil,
		"/accounts?service=power&q=1381000002":   {"1000002"},
		"/accounts?service=water":                nil,
		"/accounts?q=%E6%9E%971000003":           {"1000003"},
		"/accounts?q=3%E6%A0%8B&credit=platform": {"1000001", "1000002", "1000003"},
		"/accounts?site=plaza":                   {"1000001", "1000002", "1000003"}, // another's site narrows nothing
	} {
		a := b.Get(path)
		require.Equal(t, http.StatusOK, a.Status, path)
		var ids []string
		for _, n := range a.Find("table-accounts").Find("tbody [data-row]").EachIter() {
			ids = append(ids, n.AttrOr("data-id", ""))
		}
		require.Equal(t, want, ids, path)
	}
	require.Contains(t, b.Get("/accounts").Find("row-1000003").Text(), "Not charged")
	notice := b.Get("/accounts/1000003").Doc().Text()
	require.Contains(t, notice, "Not charged since")
	require.Contains(t, notice, `There is no tariff "t": choose a published one.`)
	require.NotContains(t, b.Get("/accounts/1000001").Doc().Text(), "Not charged since")
	row := b.Get("/accounts").Find("row-1000002")
	require.Equal(t, "-300", row.Find("[data-fen]").AttrOr("data-fen", ""))
	require.True(t, row.Find("[data-fen]").HasClass("negative"))
	require.Equal(t, 1, b.Get("/accounts?is=off&credit=meter").Find("empty").Length())
}

func TestShow_otherSitesAreLikeNone(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 5000)
	require.Equal(t, http.StatusOK, s.SignIn(t, webtest.Clerk).Get("/accounts/1000001").Status)
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get("/accounts/1000001").Status)
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.Clerk).Get("/accounts/1").Status)
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Customer).Get("/accounts/1000001").Status)
}

func TestShow_tellsTheStory(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", -250)
	off(t, s.Store, "1000001")
	protected(t, s.Store, "1000001")
	a := s.SignIn(t, webtest.Manager).Get("/accounts/1000001")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Equal(t, "-250", a.Find("fact-balance").Find("[data-fen]").AttrOr("data-fen", ""))
	require.Contains(t, a.Find("notice").Text(), "cut because the credit was used up")
	require.Contains(t, a.Find("notice").Text(), "Nobody can cut supply")
	require.Equal(t, 1, a.Find("balance-chart").Length())
	require.Equal(t, 1, a.Find("table-protections").Find("tbody tr").Length())
	require.Equal(t, 1, a.Find("section-open").Find(`[data-testid="empty"]`).Length())
	require.Contains(t, a.Find("timeline").Text(), "Protection")
}

// Closing allowed: given back by us, and off until the customer presses the button; a person can close it for them.
func TestShow_closingAllowed(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 5000)
	_, err := s.Store.Pool.Exec(context.Background(), `UPDATE supplies SET state = 'allowed' WHERE account_id = '1000001'`)
	require.NoError(t, err)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.Get("/accounts/1000001")
	require.Contains(t, a.Find("notice").Text(), "Given back by us: closing is allowed since")
	require.Equal(t, 1, a.Find("action-restore").Find("form").Length())
	require.Equal(t, 1, b.Get("/accounts?is=off").Find("row-1000001").Length())
	b.Header.Set("Accept-Language", "zh-CN")
	require.Contains(t, b.Get("/accounts/1000001").Find("notice").Text(), "等用户按表上的按键")
}

func TestRestore_needsRightReasonAndEngine(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 5000)
	b := s.SignIn(t, webtest.Supervisor)
	require.Zero(t, b.Get("/accounts/1000001").Find("action-restore").Length(), "nothing to give back while supply is on")
	off(t, s.Store, "1000001")
	require.Equal(t, 1, b.Get("/accounts/1000001").Find("action-restore").Find("form").Length())
	a := b.Post("/accounts/1000001/restore", "reason", "")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("action-restore").Find(`[data-testid="error-reason"]`).Text(), "say why")
	a = b.Post("/accounts/1000001/restore", "reason", "paid at the door")
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Equal(t, "paid at the door", a.Find("action-restore").Find("textarea").Text(), "what was typed is kept")
	clerk := s.SignIn(t, webtest.Clerk)
	require.Contains(t, clerk.Get("/accounts/1000001").Find("why-restore").Text(), "ask a manager or supervisor")
	require.Equal(t, http.StatusForbidden, clerk.Post("/accounts/1000001/restore", "reason", "x").Status)
}

func TestProtect(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 5000)
	b := s.SignIn(t, webtest.Supervisor)
	for _, c := range []struct{ kind, until, reason, field, says string }{
		{"medical", "2026-09-09", "x", "until", "today or later"},
		{"medical", "2028-09-09", "x", "until", "a year at most"},
		{"medical", "soon", "x", "until", ""},
		{"medical", "2026-09-20", "", "reason", "say why"},
		{"whim", "2026-09-20", "x", "kind", "choose one"},
	} {
		a := b.Post("/accounts/1000001/protect", "kind", c.kind, "until", c.until, "reason", c.reason)
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, c)
		problem := a.Find("action-protect").Find(`[data-testid="error-` + c.field + `"]`)
		require.Equal(t, 1, problem.Length(), c)
		require.Contains(t, problem.Text(), c.says)
		require.Equal(t, c.until, a.Find("action-protect").Find(`[name="until"]`).AttrOr("value", ""), "kept")
	}
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post("/accounts/1000001/protect", "kind", "medical", "until", "2026-09-20", "reason", "x").Status)
	require.Zero(t, standing(t, s.Store, "1000001"))

	a := b.Post("/accounts/1000001/protect", "kind", "medical", "until", "2026-09-20", "reason", "制氧机")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Equal(t, 1, standing(t, s.Store, "1000001"))
	require.Contains(t, b.Get("/accounts/1000001").Find("notice").Text(), "2026-09-20", "said, and the whole last day is covered")
	all, err := s.Store.Protections(context.Background(), "1000001")
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 9, 20, 16, 0, 0, 0, time.UTC), all[0].UntilAt.UTC(), "to the local midnight after the last day")
}

func TestEndProtection_takesThreePeople(t *testing.T) {
	s := webtest.New(t)
	account(t, s.Store, webtest.Compound, "1000001", 5000)
	path := "/accounts/1000001/protections/" + protected(t, s.Store, "1000001") + "/end"
	b := s.SignIn(t, webtest.Manager)
	for name, c := range map[string]struct {
		second, password, third, reason string
		status                          int
	}{
		"alone":            {webtest.Manager, webtest.Password, webtest.Supervisor2, "x", http.StatusUnprocessableEntity},
		"nobody":           {"", webtest.Password, webtest.Supervisor2, "x", http.StatusUnprocessableEntity},
		"two":              {webtest.Supervisor, webtest.Password, "", "x", http.StatusUnprocessableEntity},
		"oneself as third": {webtest.Supervisor, webtest.Password, webtest.Manager, "x", http.StatusUnprocessableEntity},
		"one twice":        {webtest.Supervisor, webtest.Password, webtest.Supervisor, "x", http.StatusUnprocessableEntity},
		"no reason":        {webtest.Supervisor, webtest.Password, webtest.Supervisor2, "", http.StatusUnprocessableEntity},
		"wrong password":   {webtest.Supervisor, "guess", webtest.Supervisor2, "x", http.StatusForbidden},
		"unknown person":   {"ghost", webtest.Password, webtest.Supervisor2, "x", http.StatusForbidden},
		"unknown third":    {webtest.Supervisor, webtest.Password, "ghost", "x", http.StatusForbidden},
		"a clerk":          {webtest.Clerk, webtest.Password, webtest.Supervisor2, "x", http.StatusForbidden},
		"a clerk as third": {webtest.Supervisor, webtest.Password, webtest.Clerk, "x", http.StatusForbidden},
		"another site's":   {webtest.OtherSupervisor, webtest.Password, webtest.Supervisor2, "x", http.StatusForbidden},
	} {
		a := b.Post(path, "second", c.second, "password", c.password, "third", c.third, "third_password", webtest.Password, "reason", c.reason)
		require.Equal(t, c.status, a.Status, name)
		require.NotContains(t, a.Body, webtest.Password, "a password never comes back")
		require.Equal(t, 1, standing(t, s.Store, "1000001"), name)
	}
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Supervisor).Post(path, "second", webtest.Supervisor2, "password", webtest.Password, "third", webtest.Manager, "third_password", webtest.Password, "reason", "x").Status)

	require.Equal(t, http.StatusSeeOther, b.Post(path, "second", webtest.Supervisor, "password", webtest.Password, "third", webtest.Supervisor2, "third_password", webtest.Password, "reason", "搬走了").Status)
	require.Zero(t, standing(t, s.Store, "1000001"))
	require.Equal(t, http.StatusConflict, b.Post(path, "second", webtest.Supervisor, "password", webtest.Password, "third", webtest.Supervisor2, "third_password", webtest.Password, "reason", "x").Status, "once")
	intact, err := s.Store.ChainIntact(context.Background(), "account", "1000001")
	require.NoError(t, err)
	require.True(t, intact)
}
