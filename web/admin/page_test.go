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
		INSERT INTO gateways (id, site_id, name, address) VALUES ('g1', 'compound', '一', 'admin:1'), ('g2', 'compound', '二', 'admin:2'), ('g3', 'plaza', '三', 'admin:3');
		INSERT INTO line_leases (gateway_id, holder, fence, expires_real) VALUES ('g1', 'worker-1', 1, clock_timestamp() + interval '1 hour'), ('g2', 'worker-1', 1, clock_timestamp() - interval '1 hour');
		INSERT INTO calendar_days (day, off, name) VALUES ('2026-09-09', true, '昨天'), ('2026-10-01', true, '国庆节'), ('2026-10-10', false, '国庆节');
		UPDATE sites SET policy = '{"supply": {"notice_days": {"household": 5}, "cut_from": "10:00"}}' WHERE id = 'compound'`)
	require.NoError(t, err)
	a := s.SignIn(t, webtest.Clerk).Get("/sites")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Zero(t, a.Find("row-g3").Length(), "own sites only")
	require.Contains(t, a.Find("row-g1").Text(), "worker-1")
	require.True(t, a.Find("row-g2").HasClass("tone-danger"), "a lease that ran out holds nothing")
	require.Equal(t, 2, a.Find("table-calendar").Find("tbody tr").Length(), "from today on")
	require.Contains(t, a.Find("row-supply.notice_days.household").Text(), "5")
	require.Contains(t, a.Find("row-supply.cut_from").Text(), "10:00")
	require.Equal(t, 1, s.SignIn(t, webtest.Administrator).Get("/sites").Find("row-g3").Length())
}

func TestUsers_isForAdministrators(t *testing.T) {
	s := webtest.New(t)
	a := s.SignIn(t, webtest.Administrator).Get("/users")
	require.Equal(t, http.StatusOK, a.Status)
	require.Contains(t, a.Find("row-clerk1").Text(), "Clerk")
	require.NotContains(t, a.Body, "argon2id")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Manager).Get("/users").Status)
}
