package trace_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/webtest"
	"github.com/meterflow/meterflow/web/trace"
)

func TestNumber_tidiesWhatPeoplePaste(t *testing.T) {
	require.Equal(t, "R20260105-0007", trace.Number("  Ｒ２０２６０１０５－０００７ "))
	require.Equal(t, "户号 A1", trace.Number("户号 A1"))
}

func TestTrace_leadsFromAnyNumber(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	b := s.SignIn(t, webtest.Supervisor)
	ask := func(q string) webtest.Answer {
		a := b.Get("/trace?" + url.Values{"q": {q}}.Encode())
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		return a
	}
	for _, c := range []struct{ q, home string }{
		{"A1", "/accounts/A1"}, {"MA1", "/meters/MA1"}, {"000000000001", "/meters/MA1"}, {"13900000001", "/accounts/A1"}, {"CA1", "/accounts/A1"},
		{"R1", "/recharges/R1"}, {"BA1-202608-1", "/bills/BA1-202608-1"}, {"compound/2026-08/1", "/runs/compound/2026-08/1"},
		{"compound/2026-09-09", "/cycles/compound/2026-09-09"}, {"X1", "/exceptions/X1"}, {"C1", "/cutoffs/C1"}, {"S1", "/messages/S1"},
		{"sup1", "/trace?q=sup1"},
	} {
		found := ask(c.q).Find("table-found")
		require.Equal(t, 1, found.Find("tbody tr").Length(), c.q)
		require.Equal(t, c.home, found.Find("a.row-link").AttrOr("href", ""), c.q)
	}
	t.Run("a serial has its meter's timeline", func(t *testing.T) {
		require.NotZero(t, ask("000000000001").Find("event").Length())
	})
	t.Run("an unknown number has a sentence", func(t *testing.T) {
		a := ask("R99999999-1")
		require.Contains(t, a.Find("notice").Text(), "Nothing is known")
		require.Zero(t, a.Find("timeline").Length())
	})
	t.Run("another site's number is unknown", func(t *testing.T) {
		require.Contains(t, ask("B1").Find("notice").Text(), "Nothing is known")
	})
	t.Run("nothing typed asks for a number", func(t *testing.T) {
		require.Zero(t, ask("  ").Find("notice").Length())
	})
}

func TestTrace_verifiesTheChains(t *testing.T) {
	s := webtest.New(t)
	s.Account(t, webtest.Compound, "A1", 5_000)
	b := s.SignIn(t, webtest.Manager)
	a := b.Get("/trace?q=A1&verify=1")
	require.Contains(t, a.Find("verdict").Text(), "all intact")

	// Someone with the database's own rights changes what was written.
	for _, sql := range []string{
		`ALTER TABLE journal DISABLE TRIGGER ALL`, `UPDATE journal SET reason = 'never mind' WHERE chain = 'account/A1'`, `ALTER TABLE journal ENABLE TRIGGER ALL`,
	} {
		_, err := s.Store.Pool.Exec(context.Background(), sql)
		require.NoError(t, err)
	}
	a = b.Get("/trace?q=A1&verify=1")
	require.Contains(t, a.Find("verdict").Text(), "A chain is broken")
	require.Contains(t, a.Find("verdict").Text(), "account/A1")
}
