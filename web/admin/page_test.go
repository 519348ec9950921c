package admin_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/webtest"
)

func TestSites(t *testing.T) {
	s := webtest.New(t)
	_, err := s.Store.Pool.Exec(context.Background(), `
		INSERT INTO calendar_days (day, off, name) VALUES ('2026-09-09', true, '昨天'), ('2026-10-01', true, '国庆节'), ('2026-10-10', false, '国庆节');
		UPDATE sites SET policy = '{"supply": {"notice_days": {"household": 5}, "cut_from": "10:00"}}' WHERE id = 'compound'`)
	require.NoError(t, err)
	a := s.SignIn(t, webtest.Clerk).Get("/sites")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Zero(t, a.Find("section-site-plaza").Length(), "own sites only")
	require.Equal(t, 2, a.Find("table-calendar").Find("tbody tr").Length(), "from today on")
	require.Contains(t, a.Find("row-supply.notice_days.household").Text(), "5")
	require.Contains(t, a.Find("row-supply.cut_from").Text(), "10:00")
	require.Equal(t, 1, s.SignIn(t, webtest.Administrator).Get("/sites").Find("section-site-plaza").Length())
}

func TestUsers_isForAdministrators(t *testing.T) {
	s := webtest.New(t)
	a := s.SignIn(t, webtest.Administrator).Get("/users")
	require.Equal(t, http.StatusOK, a.Status)
	require.Contains(t, a.Find("row-clerk1").Text(), "Clerk")
	require.NotContains(t, a.Body, "argon2id")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Manager).Get("/users").Status)
}
