package plans_test

import (
	"context"
	"net/http"
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
	require.Equal(t, http.StatusUnprocessableEntity, sup.Post("/payment-plans/Y1/end", "reason", "x", "second", webtest.Supervisor, "password", "x").Status, "one's own name is no second person")
	require.Equal(t, http.StatusForbidden, sup.Post("/payment-plans/Y1/end", "reason", "x", "second", webtest.Manager, "password", "wrong").Status)
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
