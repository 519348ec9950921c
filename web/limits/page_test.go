package limits_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/control"
	"github.com/meterflow/meterflow/internal/webtest"
)

// form is what the page sends when nothing is changed, with some fields changed; an empty value takes a field away.
func form(t *testing.T, a webtest.Answer, changes ...string) url.Values {
	t.Helper()
	f := url.Values{}
	fields := a.Find("action-limits").Find("input, textarea")
	for i := range fields.Length() {
		field := fields.Eq(i)
		if field.AttrOr("type", "") == "checkbox" {
			if _, checked := field.Attr("checked"); checked {
				f.Set(field.AttrOr("name", ""), "on") // what browsers send for a box without a value
			}
			continue
		}
		f.Set(field.AttrOr("name", ""), field.AttrOr("value", ""))
	}
	f.Set("reason", "a warm autumn")
	for i := 0; i+1 < len(changes); i += 2 {
		if f.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			f.Del(changes[i])
		}
	}
	return f
}

func post(b *webtest.Browser, f url.Values) webtest.Answer {
	return b.Do(http.MethodPost, "/limits/compound", "application/x-www-form-urlencoded", f.Encode())
}

func TestLimits(t *testing.T) {
	s := webtest.New(t)
	ctx := context.Background()
	sup := s.SignIn(t, webtest.Supervisor)
	a := sup.Get("/limits")
	require.Equal(t, http.StatusSeeOther, a.Status)
	a = sup.Get("/limits/compound")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Find("row-household_fen").Text(), "2,000.00")
	require.Contains(t, a.Find("fact-since").Text(), "defaults")
	require.Contains(t, a.Find("why-limits").Text(), "administrator")
	require.Equal(t, http.StatusNotFound, sup.Get("/limits/plaza").Status, "another site")
	require.Equal(t, http.StatusForbidden, post(sup, url.Values{"month": {"2026-10"}}).Status)

	b := s.SignIn(t, webtest.Administrator)
	page := b.Get("/limits/compound")
	for want, f := range map[string]url.Values{
		"is not of the form 2026-10":                form(t, page, "month", "next"),
		"write a factor such as 3":                  form(t, page, "power_last_times_tenths", "3.25"),
		"a limit is never negative":                 form(t, page, "water_household_fen", "-1"),
		"must lie above 10":                         form(t, page, "power_fall_times_tenths", "1"),
		"must lie between 0 and 100":                form(t, page, "power_estimated_percent", "101"),
		"fill in this field":                        form(t, page, "water_ignore_below", ""),
		"say why: the reason stands in the journal": form(t, page, "reason", ""),
	} {
		a := post(b, f)
		require.NotEqual(t, http.StatusSeeOther, a.Status, want)
		require.Contains(t, a.Doc().Text(), want)
	}
	a = post(b, form(t, page, "month", "2026-10", "power_household_fen", "1500.50", "water_negative", "", "power_last_times_tenths", "0"))
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)

	before, err := s.Store.BillingLimitsOf(ctx, webtest.Compound, billing.MustDate("2026-09-01"))
	require.NoError(t, err)
	require.Nil(t, before, "September keeps the site's policy")
	raw, err := s.Store.BillingLimitsOf(ctx, webtest.Compound, billing.MustDate("2026-12-01"))
	require.NoError(t, err)
	got, err := control.ParsePolicy(raw)
	require.NoError(t, err)
	want := control.DefaultPolicy()
	want.Power.HouseholdFen, want.Power.LastTimesTenths, want.Water.Negative = 150_050, 0, false
	require.Equal(t, want, got, "what wasn't changed comes back as it was")

	a = b.Get("/limits/compound")
	require.Contains(t, a.Find("table-versions").Text(), "To come")
	require.Contains(t, a.Find("row-household_fen").Text(), "2,000.00", "this month's")
	require.Contains(t, a.Find("field-power_household_fen").Find("input").AttrOr("value", ""), "1500.50", "the form goes on from the newest")

	// A later version of the same month takes its place; a month that is billed takes none.
	require.Equal(t, http.StatusSeeOther, post(b, form(t, page, "month", "2026-10")).Status)
	require.Contains(t, b.Get("/limits/compound").Find("row-1").Text(), "Replaced")
	_, err = s.Store.Pool.Exec(ctx, `INSERT INTO billing_runs (id, site_id, period_from, period_to, version, state, opened_at, opened_by)
		VALUES ('compound/2026-11/1', 'compound', '2026-11-01', '2026-12-01', 1, 'cancelled', now(), 'workflow'), ('compound/2026-10/1', 'compound', '2026-10-01', '2026-11-01', 1, 'rating', now(), 'workflow')`)
	require.NoError(t, err)
	require.Contains(t, post(b, form(t, page, "month", "2026-10")).Doc().Text(), "the bills of 2026-10 are made already")
	require.Equal(t, http.StatusSeeOther, post(b, form(t, page, "month", "2026-11")).Status, "a cancelled run made none")
	var rows int
	require.NoError(t, s.Store.Pool.QueryRow(ctx, `SELECT count(*) FROM journal WHERE kind = 'billing_limits' AND entity = 'compound' AND reason = 'a warm autumn'`).Scan(&rows))
	require.Equal(t, 3, rows)
}

func TestLimits_API(t *testing.T) {
	s := webtest.New(t)
	b := s.SignIn(t, webtest.Administrator)
	const path = "/api/v1/sites/compound/billing-limits"
	body := func(limits any) string {
		raw, err := json.Marshal(map[string]any{"from_month": "2026-10", "reason": "new", "limits": limits})
		require.NoError(t, err)
		return string(raw)
	}
	a := b.JSON(http.MethodPost, path, body(map[string]any{"power": control.DefaultPolicy().Power}))
	require.Equal(t, http.StatusUnprocessableEntity, a.Status, a.Body)
	require.Contains(t, a.Body, "for water is missing")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Supervisor).JSON(http.MethodPost, path, body(control.DefaultPolicy())).Status)
	a = b.JSON(http.MethodPost, path, body(control.DefaultPolicy()))
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	require.Contains(t, b.JSON(http.MethodGet, path, "").Body, `"from_month":"2026-10"`)
}
