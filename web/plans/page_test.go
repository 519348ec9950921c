package plans_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/webtest"
)

func TestPlans(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	ctx := context.Background()
	_, err := s.Store.Pool.Exec(ctx, `WITH b AS (SELECT b.id, b.account_id, b.site_id FROM bills b WHERE b.site_id = 'compound' ORDER BY b.id LIMIT 1), c AS (SELECT id FROM cycles WHERE site_id = 'compound' ORDER BY id LIMIT 1),
		y AS (INSERT INTO payment_plans (id, site_id, account_id, cycle_id, rule, facts, lowest_bill, total_fen, part_fen, outstanding_fen, state, proposed_at)
			SELECT v.id, b.site_id, b.account_id, c.id, '{"part_percent": 50}', '{"estimates": 4, "charged_fen": 30500, "lowest_fen": 20000}', b.id, 30000, 10000, 30000, 'proposed', now() FROM b, c, (VALUES ('Y1')) v (id) RETURNING id, site_id)
		SELECT id FROM y`)
	require.NoError(t, err)
	sup, clerk := s.SignIn(t, webtest.Supervisor), s.SignIn(t, webtest.Clerk)
	require.Contains(t, sup.Get("/payment-plans").Find("table-plans").Text(), "300.00")
	a := sup.Get("/payment-plans/Y1")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Find("table-parts").Text(), "100.00")
	require.Contains(t, clerk.Get("/payment-plans/Y1").Find("why-approve").Text(), "may not decide")
	require.Equal(t, http.StatusForbidden, clerk.Post("/payment-plans/Y1/approve").Status)
	require.Equal(t, http.StatusNotFound, sup.Get("/payment-plans/Y7").Status)
	require.Equal(t, http.StatusUnprocessableEntity, sup.Post("/payment-plans/Y1/end", "reason", "x", "second", webtest.Supervisor, "password", "x", "third", webtest.Manager, "third_password", "x").Status, "one's own name is no second person")
	require.Equal(t, http.StatusUnprocessableEntity, sup.Post("/payment-plans/Y1/end", "reason", "x", "second", webtest.Manager, "password", "x").Status, "and two persons aren't three")
	require.Contains(t, a.Find("fact-lapses").Text(), "To be decided until")
	require.Equal(t, http.StatusForbidden, sup.Post("/payment-plans/Y1/end", "reason", "x", "second", webtest.Manager, "password", "wrong", "third", webtest.Supervisor2, "third_password", "wrong").Status)
	require.Equal(t, http.StatusSeeOther, sup.Post("/payment-plans/Y1/approve").Status)
	var state string
	require.NoError(t, s.Store.Pool.QueryRow(ctx, `SELECT state FROM payment_plans WHERE id = 'Y1'`).Scan(&state))
	require.Equal(t, "running", state)

	// Over the API: another person's approval comes too late, and the whole is shown.
	a = sup.JSON(http.MethodGet, "/api/v1/payment-plans/Y1", "")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, `"outstanding_fen":30000`)
	require.Equal(t, http.StatusForbidden, clerk.JSON(http.MethodPost, "/api/v1/payment-plans/Y1/approve", "").Status)
	manager := s.SignIn(t, webtest.Manager)
	require.Equal(t, http.StatusConflict, manager.JSON(http.MethodPost, "/api/v1/payment-plans/Y1/approve", "").Status)
	chinese := s.SignIn(t, webtest.Supervisor)
	chinese.Get("/lang?to=zh&back=/")
	require.Contains(t, chinese.Get("/payment-plans/Y1").Doc().Text(), "未到期")
}

// A plan protects from a cut: it is ended before its time by three persons, on the page and over the API.
func TestPlans_threePersonsEndOne(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	ctx := context.Background()
	_, err := s.Store.Pool.Exec(ctx, `INSERT INTO cycles (id, site_id, day, freeze_at, window_end, state, opened_at) VALUES
		('compound/2026-09-08', 'compound', '2026-09-08', '2026-09-07T16:00Z', '2026-09-07T22:00Z', 'closed', '2026-09-07T16:05Z')`)
	require.NoError(t, err)
	_, err = s.Store.Pool.Exec(ctx, `INSERT INTO payment_plans (id, site_id, account_id, cycle_id, rule, facts, lowest_bill, total_fen, part_fen, outstanding_fen, state, proposed_at)
		SELECT v.id, b.site_id, b.account_id, c.id, '{"part_percent": 50}', '{}', b.id, 30000, 10000, 30000, 'proposed', now()
		FROM (VALUES ('Y1', 1), ('Y2', 2)) v (id, n), (SELECT id, site_id, account_id FROM bills WHERE site_id = 'compound' ORDER BY id LIMIT 1) b,
			LATERAL (SELECT id FROM cycles WHERE site_id = 'compound' ORDER BY id OFFSET v.n - 1 LIMIT 1) c`)
	require.NoError(t, err)
	sup := s.SignIn(t, webtest.Supervisor)
	two := []string{"reason", "asked for", "second", webtest.Supervisor2, "password", webtest.Password, "third", webtest.Clerk, "third_password", webtest.Password}
	a := sup.Post("/payment-plans/Y1/end", two...)
	require.Equal(t, http.StatusForbidden, a.Status)
	require.Contains(t, a.Body, webtest.Clerk+" may not decide on payment plans")
	three := append(two[:6], "third", webtest.Manager, "third_password", webtest.Password)
	require.Equal(t, http.StatusSeeOther, sup.Post("/payment-plans/Y1/end", three...).Status)
	ended := sup.Get("/payment-plans/Y1").Find("fact-ended").Text()
	require.Equal(t, 2, strings.Count(ended, " · "), "three names: %s", ended)

	const path = "/api/v1/payment-plans/Y2/end"
	body := func(second, third string) string {
		return `{"reason":"asked for","second_user":"` + second + `","second_password":"correct horse","third_user":"` + third + `","third_password":"correct horse"}`
	}
	require.Equal(t, http.StatusForbidden, sup.JSON(http.MethodPost, path, body(webtest.Manager, webtest.Manager)).Status, "one colleague twice")
	a = sup.JSON(http.MethodPost, path, body(webtest.Manager, webtest.Supervisor2))
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, `"agreed2_by":"sup2"`)
}
