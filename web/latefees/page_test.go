package latefees_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/webtest"
)

func form(change ...string) []string {
	values := map[string]string{"service": "power", "from": "2026-12-01", "due_days": "20", "household": "0.0005", "other": "0.002", "other_earlier": "0.003", "minimum_fen": "0.50", "tax_rate": "0", "waive_fen": "30", "reason": "notice 12"}
	for i := 0; i < len(change); i += 2 {
		values[change[i]] = change[i+1]
	}
	var list []string
	for k, v := range values {
		list = append(list, k, v)
	}
	return list
}

func TestLateFees(t *testing.T) {
	s := webtest.New(t)
	ctx := context.Background()
	sup, admin := s.SignIn(t, webtest.Supervisor), s.SignIn(t, webtest.Administrator)
	require.Equal(t, http.StatusSeeOther, sup.Get("/late-fees").Status)
	a := sup.Get("/late-fees/compound")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Find("table-rules-power").Text(), "0.003")
	require.Contains(t, a.Find("why-propose").Text(), "administrator")
	require.Equal(t, http.StatusForbidden, sup.Post("/late-fees/compound", form()...).Status)
	require.Equal(t, http.StatusNotFound, sup.Get("/late-fees/plaza").Status)
	require.Equal(t, 1, sup.Get("/tariffs").Doc().Find(`a[href="/late-fees"]`).Length())

	bad := map[string]string{"service": "gas", "from": "", "due_days": "-1", "household": "1.5", "other": "1,2", "other_earlier": "-0.1", "minimum_fen": "-1", "tax_rate": "1", "waive_fen": "", "reason": ""}
	chinese := s.SignIn(t, webtest.Administrator)
	chinese.Get("/lang?to=zh&back=/")
	for field, value := range bad {
		a := admin.Post("/late-fees/compound", form(field, value)...)
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, field)
		require.Equal(t, 1, a.Find("error-"+field).Length(), field)
		zh := chinese.Post("/late-fees/compound", form(field, value)...).Find("error-" + field).Text()
		require.Regexp(t, `^[^a-zA-Z]*\p{Han}[^a-zA-Z]*$`, zh, field)
	}
	require.Equal(t, "请只用数字填写整数。", strings.TrimSpace(chinese.Post("/late-fees/compound", form("due_days", "many")...).Find("error-due_days").Text()))
	versions, err := s.Store.LateFeeVersions(ctx, webtest.Compound)
	require.NoError(t, err)
	require.Empty(t, versions, "nothing was proposed")

	require.Equal(t, http.StatusSeeOther, admin.Post("/late-fees/compound", form()...).Status)
	require.Contains(t, admin.Post("/late-fees/compound", form()...).Doc().Text(), "waits for approval already")
	a = admin.Get("/late-fees/compound")
	require.Contains(t, a.Find("why-approve").Text(), "may not approve")
	require.Equal(t, http.StatusForbidden, admin.Post("/late-fees/compound/1/approve").Status)
	a = sup.Get("/late-fees/compound")
	require.Contains(t, a.Find("fact-new-household").Text(), "instead of 0.001")
	require.Equal(t, http.StatusUnprocessableEntity, sup.Post("/late-fees/compound/1/reject", "reason", "").Status)
	require.Equal(t, http.StatusNotFound, sup.Post("/late-fees/compound/7/approve").Status)
	require.Equal(t, http.StatusSeeOther, sup.Post("/late-fees/compound/1/approve").Status)
	require.Equal(t, http.StatusConflict, sup.Post("/late-fees/compound/1/reject", "reason", "too late").Status)
	a = sup.Get("/late-fees/compound")
	require.Contains(t, a.Find("row-power-2026-12-01").Text(), "To come")
	require.Contains(t, a.Find("row-1").Text(), "approved")

	// Over the API: a rule without a field, one that its maker takes back, and one for water that is rejected.
	api := "/api/v1/sites/compound/late-fees"
	a = admin.JSON(http.MethodPost, api, `{"service": "water", "rule": {"from": "2026-12-01"}, "reason": "x"}`)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Body, "lacks due_days")
	rule := `{"from": "2026-12-01", "due_days": 10, "household": "0.001", "other": "0.001", "other_earlier": "0.001", "minimum_fen": 0, "waive_fen": 0}`
	require.Equal(t, http.StatusCreated, admin.JSON(http.MethodPost, api, `{"service": "water", "rule": `+rule+`, "reason": "x"}`).Status)
	require.Equal(t, http.StatusOK, sup.JSON(http.MethodPost, api+"/2/reject", `{"reason": "no"}`).Status)
	require.Equal(t, http.StatusSeeOther, admin.Post("/late-fees/compound", form("service", "water")...).Status)
	require.Equal(t, http.StatusSeeOther, admin.Post("/late-fees/compound/3/reject", "reason", "a slip").Status, "one's own is taken back")
	site, err := s.Store.Site(ctx, webtest.Compound)
	require.NoError(t, err)
	policy, err := s.Store.LateFees(ctx, site)
	require.NoError(t, err)
	require.Equal(t, billing.DefaultLateFees().Water, policy.Water)
	require.Len(t, policy.Power, 2)
	var rows int
	require.NoError(t, s.Store.Pool.QueryRow(ctx, `SELECT count(*) FROM journal WHERE chain = 'late_fees/compound'`).Scan(&rows))
	require.Equal(t, 6, rows)
}
