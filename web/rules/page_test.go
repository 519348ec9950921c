package rules_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/webtest"
)

// fieldsOf are the fields of a form as they stand, with some changed: name, value, name, value …
func fieldsOf(a webtest.Answer, action string, changes ...string) []string {
	values := map[string]string{}
	a.Find("action-" + action).Find("input[name], select[name], textarea[name]").Each(func(_ int, f *goquery.Selection) {
		name := f.AttrOr("name", "")
		values[name] = f.AttrOr("value", "")
		if f.Is("select") {
			values[name] = f.Find("option[selected]").AttrOr("value", f.Find("option").First().AttrOr("value", ""))
		}
	})
	for i := 0; i+1 < len(changes); i += 2 {
		values[changes[i]] = changes[i+1]
	}
	var fields []string
	for name, value := range values {
		fields = append(fields, name, value)
	}
	return fields
}

func TestRules_fromDraftToForce(t *testing.T) {
	s := webtest.New(t)
	s.Account(t, webtest.Compound, "1001", 5000)
	s.Account(t, webtest.Compound, "1002", 5000)
	admin := s.SignIn(t, webtest.Administrator)
	a := admin.Get("/rules")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Find("section-groups").Text(), "No group yet")
	require.Contains(t, a.Find("section-defaults").Text(), "Evenly between two readings")

	add := func(changes ...string) webtest.Answer {
		return admin.Post("/rules", fieldsOf(a, "add", append([]string{"site", string(webtest.Compound), "service", "power", "name", "Homes", "class", "household", "from", "2026-12-01", "reason", "winter"}, changes...)...)...)
	}
	for want, change := range map[string][]string{
		"choose a day after today": {"from", "2020-01-01"},
		"not after they begin":     {"to", "2026-12-01"},
		"fill in this field":       {"name", ""},
		"say why":                  {"reason", " "},
	} {
		refused := add(change...)
		require.Equal(t, http.StatusUnprocessableEntity, refused.Status, want)
		require.Contains(t, refused.Find("action-add").Text(), want)
		_, open := refused.Find("fold-add").Attr("open")
		require.True(t, open)
	}
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Supervisor).Post("/rules", fieldsOf(a, "add", "site", string(webtest.Compound), "name", "x", "from", "2026-12-01", "reason", "x")...).Status,
		"who decides on readings doesn't set the limits")
	made := add("to", "2026-12-31")
	require.Equal(t, http.StatusSeeOther, made.Status, made.Body)
	group := made.Header.Get("Location")
	page := admin.Get(group)
	require.Equal(t, http.StatusOK, page.Status, page.Body)
	require.Contains(t, page.Find("table-versions").Text(), "Planned")
	require.Contains(t, admin.Get("/rules").Find("table-groups").Text(), "the defaults hold")
	require.Equal(t, http.StatusConflict, add().Status, "one group for one kind of meter")

	change := func(changes ...string) webtest.Answer {
		return admin.Post(group, fieldsOf(page, "version", append([]string{"from", "2027-01-01", "reason", "new year"}, changes...)...)...)
	}
	for want, c := range map[string][]string{
		"a limit is never negative":              {"clock_skew_seconds", "-5"},
		"fill in this field":                     {"loss_permille", ""},
		"estimate_limit is 0: give at least 1":   {"estimate_limit", "0"},
		"overlap version 1, which holds from":    {"from", "2026-12-15"},
		"is unknown: use between":                {"methods", "guess"},
		"Level 1: the upper limit is 50 percent": {"high_1", "50"},
	} {
		refused := change(c...)
		require.Equal(t, http.StatusUnprocessableEntity, refused.Status, "%s: %s", want, refused.Body)
		require.Contains(t, refused.Find("action-version").Text(), want)
	}
	require.NotContains(t, admin.Get(group).Find("table-versions").Text(), "2027", "a refusal changes nothing")
	require.Equal(t, http.StatusSeeOther, change("clock_skew_seconds", "120", "credit_drift_fen", "2.50").Status)
	page = admin.Get(group)
	require.Contains(t, page.Find("table-versions").Text(), "2027-01-01")
	require.Contains(t, page.Find("action-withdraw").Text(), "Withdraw version 2")
	gone := admin.Post(group+"/withdraw", "version", "2", "reason", "mistyped")
	require.Equal(t, http.StatusSeeOther, gone.Status, gone.Body)
	require.Contains(t, admin.Get(group).Find("table-versions").Text(), "mistyped", "its record stays")
	require.Contains(t, admin.Get(group).Find("timeline").Text(), "Version withdrawn")
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get(group).Status)
}

func TestRules_masters(t *testing.T) {
	s := webtest.New(t)
	master, sub := s.Account(t, webtest.Compound, "1001", 5000), s.Account(t, webtest.Compound, "1002", 5000)
	admin := s.SignIn(t, webtest.Administrator)
	add := func(m, s string) webtest.Answer {
		return admin.Post("/rules/subs", "master", m, "sub", s, "from", "2026-09-10", "reason", "main of the building", "nonce", m+s)
	}
	require.Contains(t, add(string(master), string(master)).Find("action-sub").Text(), "its own sub-meter")
	require.Equal(t, http.StatusNotFound, add("M404", string(sub)).Status)
	require.Equal(t, http.StatusSeeOther, add(string(master), string(sub)).Status)
	require.Contains(t, add(string(master), string(sub)).Find("action-sub").Text(), "has a master already")
	list := admin.Get("/rules")
	row := list.Find("table-subs").Text()
	require.Contains(t, row, string(sub))
	id := list.Doc().Find(`[data-testid="table-subs"] tr[data-id]`).AttrOr("data-id", "")
	require.Equal(t, http.StatusSeeOther, admin.Post("/rules/subs/end", "id", id, "reason", "rewired").Status)
	require.Contains(t, admin.Get("/rules").Find("table-subs").Text(), "until")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Supervisor).Post("/rules/subs", "master", string(master), "sub", string(sub), "from", "2026-09-10", "reason", "x").Status)
	zh := s.SignIn(t, webtest.Administrator)
	zh.Header.Set("Accept-Language", "zh-CN")
	require.False(t, strings.Contains(zh.Get("/rules").Body, "rules."), "no key without words")
}
