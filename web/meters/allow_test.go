package meters_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/webtest"
)

func TestAllow_takesTwoPeople(t *testing.T) {
	s := webtest.New(t)
	m := s.Account(t, webtest.Compound, "1001", 5000)
	path := "/meters/" + string(m)
	b := s.SignIn(t, webtest.Administrator)
	require.Zero(t, b.Get(path).Find("section-trust").Length(), "a verified map needs no allowance")
	require.Equal(t, http.StatusConflict, b.Post(path+"/allow", "until", "2026-09-20", "reason", "x", "second", webtest.Manager, "password", webtest.Password).Status)
	_, err := s.Store.Pool.Exec(context.Background(), `UPDATE meters SET profile = 'acrel-ddsy1352' WHERE id = $1`, m)
	require.NoError(t, err)
	require.Contains(t, s.SignIn(t, webtest.Clerk).Get(path).Find("why-allow").Text(), "ask a administrator")
	for name, c := range map[string]struct {
		until, reason, second, password string
		status                          int
	}{
		"alone":          {"2026-09-20", "x", webtest.Administrator, webtest.Password, http.StatusUnprocessableEntity},
		"no day":         {"soon", "x", webtest.Manager, webtest.Password, http.StatusUnprocessableEntity},
		"yesterday":      {"2026-09-08", "x", webtest.Manager, webtest.Password, http.StatusUnprocessableEntity},
		"for ever":       {"2027-09-20", "x", webtest.Manager, webtest.Password, http.StatusUnprocessableEntity},
		"no reason":      {"2026-09-20", "", webtest.Manager, webtest.Password, http.StatusUnprocessableEntity},
		"no password":    {"2026-09-20", "x", webtest.Manager, "", http.StatusUnprocessableEntity},
		"wrong password": {"2026-09-20", "x", webtest.Manager, "guess", http.StatusForbidden},
		"a supervisor":   {"2026-09-20", "x", webtest.Supervisor, webtest.Password, http.StatusForbidden},
	} {
		a := b.Post(path+"/allow", "until", c.until, "reason", c.reason, "second", c.second, "password", c.password)
		require.Equal(t, c.status, a.Status, name)
		require.NotContains(t, a.Body, webtest.Password)
		require.Equal(t, 1, a.Find("action-allow").Length(), name)
	}
	all, err := s.Store.Allowances(context.Background(), m)
	require.NoError(t, err)
	require.Empty(t, all)

	a := b.Post(path+"/allow", "until", "2026-09-20", "reason", "到现场试过", "second", webtest.Manager, "password", webtest.Password)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	shown := b.Get(path)
	require.Contains(t, shown.Find("table-allowances").Text(), "到现场试过")
	require.Contains(t, shown.Find("table-allowances").Text(), "Stands")
	require.Zero(t, shown.Find("action-allow").Length())
	require.Equal(t, http.StatusNotFound, b.Post(path+"/allowances/99/end", "reason", "x").Status)
	require.Equal(t, http.StatusUnprocessableEntity, b.Post(path+"/allowances/1/end", "reason", "").Status)
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Supervisor).Post(path+"/allowances/1/end", "reason", "x").Status)
	require.Equal(t, http.StatusSeeOther, s.SignIn(t, webtest.Manager).Post(path+"/allowances/1/end", "reason", "试完了").Status)
	require.Contains(t, b.Get(path).Find("table-allowances").Text(), "Over")
}
