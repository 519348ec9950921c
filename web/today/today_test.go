package today_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/webtest"
)

// number is what a stat of the page shows, with its address.
func number(a webtest.Answer, id string) (value, href string) {
	s := a.Find("stat-" + id)
	return strings.TrimSpace(s.Find(".stat-value").Text()), s.AttrOr("href", "")
}

func TestToday_showsWhatWaitsForEachRole(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	for _, c := range []struct{ who, stat, value, href string }{
		{webtest.Supervisor, "cases", "1", "/exceptions?state=open"},
		{webtest.Supervisor, "verify", "1", "/runs?state=awaiting_verification"},
		{webtest.Supervisor, "issue", "0", "/runs?state=verified"},
		{webtest.Clerk, "recharges", "1", "/recharges?waiting=mine"},
		{webtest.Clerk2, "recharges", "0", "/recharges?waiting=mine"}, // its maker
		{webtest.Manager, "cuts", "1", "/cutoffs?state=awaiting_manager"},
		{webtest.Supervisor, "holds", "2", "/ledger/holds?waiting=mine"},
		{webtest.Manager, "holds", "2", "/ledger/holds?waiting=mine"},
		{webtest.OtherSupervisor, "holds", "0", "/ledger/holds?waiting=mine"},
		{webtest.Supervisor, "plans", "0", "/payment-plans"},
		{webtest.Manager, "plans", "0", "/payment-plans"},
		{webtest.Manager, "escalated", "1", "/exceptions?overdue=1"},
		{webtest.Administrator, "overdue", "1", "/exceptions?overdue=1"},
		{webtest.Administrator, "lines", "2", "/gateways"},
		{webtest.Administrator, "uncharged", "1", "/accounts?is=uncharged"},
		{webtest.OtherSupervisor, "uncharged", "0", "/accounts?is=uncharged"},
		{webtest.OtherSupervisor, "cases", "0", "/exceptions?state=open"},
		{webtest.OtherSupervisor, "lines", "1", "/gateways"},
	} {
		a := s.SignIn(t, c.who).Get("/")
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		value, href := number(a, c.stat)
		require.Equal(t, c.value, value, "%s of %s", c.stat, c.who)
		require.Equal(t, c.href, href, "%s of %s", c.stat, c.who)
	}
}

func TestToday_everyNumberOpensItsList(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	for _, who := range []string{webtest.Supervisor, webtest.Clerk, webtest.Manager, webtest.Administrator} {
		b := s.SignIn(t, who)
		seen := map[string]bool{}
		for _, stat := range b.Get("/").Doc().Find(".stat").EachIter() {
			href := stat.AttrOr("href", "")
			if !seen[href] {
				seen[href] = true
				require.Equal(t, http.StatusOK, b.Get(href).Status, "%s opens %s", who, href)
			}
		}
		require.Greater(t, len(seen), 8)
	}
}

func TestToday_showsTheSweep(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	b := s.SignIn(t, webtest.Supervisor)
	sweep := b.Get("/").Find("sweep-compound")
	require.Contains(t, sweep.Text(), "compound/2026-09-09")
	require.Contains(t, sweep.Text(), "0 / 1")
	require.Contains(t, sweep.Text(), "1 silent")
	_, err := s.Store.Pool.Exec(context.Background(), `UPDATE cycle_meters SET outcome = 'read'`)
	require.NoError(t, err)
	require.Contains(t, b.Get("/").Find("sweep-compound").Text(), "1 / 1")
	require.Contains(t, b.Get("/").Find("today").AttrOr("hx-trigger", ""), "sse:changed", "the region renews itself")
	require.Zero(t, b.Get("/").Find("sweep-plaza").Length())
}

func TestToday_isEmptyOnTheFirstDay(t *testing.T) {
	s := webtest.New(t)
	a := s.SignIn(t, webtest.Manager).Get("/")
	require.Equal(t, http.StatusOK, a.Status)
	require.Contains(t, a.Find("empty").Text(), "No reading cycle yet")
}
