package api_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/api"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/webtest"
	"github.com/meterflow/meterflow/workflows"
)

func TestRules_overTheAPI(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	rules, err := workflows.DefaultRules(json.RawMessage(`{}`), billing.Water)
	require.NoError(t, err)
	request := func(change func(map[string]any, map[string]any)) string {
		raw, err := json.Marshal(rules)
		require.NoError(t, err)
		var limits map[string]any
		require.NoError(t, json.Unmarshal(raw, &limits))
		body := map[string]any{"site": webtest.Compound, "name": "Water", "service": "water", "from": "2027-01-01", "reason": "new year", "rules": limits}
		change(body, limits)
		out, err := json.Marshal(body)
		require.NoError(t, err)
		return string(out)
	}
	admin := s.SignIn(t, webtest.Administrator)
	for want, change := range map[string]func(map[string]any, map[string]any){
		"off_tolerance_raw is missing": func(_, l map[string]any) { delete(l, "off_tolerance_raw") },
		"history_days is -1":           func(_, l map[string]any) { l["history_days"] = -1 },
		"choose a day after today":     func(b, _ map[string]any) { b["from"] = "2020-01-01" },
		"not after they begin":         func(b, _ map[string]any) { b["to"] = "2026-12-01" },
	} {
		a := admin.JSON("POST", "/api/v1/rules", request(change))
		refused(t, a, http.StatusUnprocessableEntity, billing.CodeInvalidInput, want)
	}
	refused(t, s.SignIn(t, webtest.Supervisor).JSON("POST", "/api/v1/rules", request(func(_, _ map[string]any) {})), http.StatusForbidden, billing.CodeForbidden, "")
	a := admin.JSON("POST", "/api/v1/rules", request(func(_, _ map[string]any) {}))
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	var g api.RuleGroup
	require.NoError(t, json.Unmarshal([]byte(a.Body), &g))
	require.Equal(t, "2027-01-01", g.Versions[0].From)
	path := "/api/v1/rules/" + g.ID + "/versions"
	refused(t, admin.JSON("POST", path, request(func(b, _ map[string]any) {
		for _, name := range []string{"site", "name", "service"} {
			delete(b, name)
		}
	})), http.StatusUnprocessableEntity, billing.CodeInvalidInput, "overlap version 1")
	require.Equal(t, http.StatusOK, admin.JSON("POST", path+"/1/withdraw", `{"reason":"mistyped"}`).Status)
	refused(t, admin.JSON("POST", path+"/1/withdraw", `{"reason":"mistyped"}`), http.StatusConflict, billing.CodeClosed, "withdrawn already")
	list := admin.JSON("GET", "/api/v1/rules", "")
	require.Contains(t, list.Body, `"withdrawn_by":"admin"`)
}

func TestPreview_overTheAPI(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.JSON("POST", "/api/v1/cases/preview", `{"decision":"no_such","cases":[{"case":"X1"}]}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, "choose one of", "a preview says why it would be refused")
	require.Equal(t, http.StatusNotFound, b.JSON("POST", "/api/v1/cases/preview", `{"decision":"accept","cases":[{"case":"X404"}]}`).Status)
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).JSON("POST", "/api/v1/cases/preview", `{"decision":"accept","cases":[{"case":"X1"}]}`).Status)
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).JSON("POST", "/api/v1/cases/decisions", `{"decision":"accept","reason":"x","cases":[{"case":"X1"}]}`).Status)
	require.Equal(t, http.StatusOK, b.JSON("GET", "/api/v1/bills/stale", "").Status)
	require.Equal(t, http.StatusOK, b.JSON("GET", "/api/v1/sub-meters", "").Status)
}
