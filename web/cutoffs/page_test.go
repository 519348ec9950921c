package cutoffs_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
)

const printed = `{"allowed": false, "reasons": [
	{"code": "not_protected", "for": true},
	{"code": "balance_above_limit", "for": false, "numbers": {"balance": "3.00", "limit": "0.00"}},
	{"code": "in_no_cut_window", "for": false, "until": "2026-09-10T02:00:00Z"}]}`

// seed makes one cut in each state that the pages show, at the compound, and one at the plaza.
func seed(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := context.Background()
	_, err := s.Pool.Exec(ctx, `
		INSERT INTO tariffs (id, service, name_zh, name_en, definition) VALUES ('t', 'power', '居民', 'Household', '{}');
		INSERT INTO gateways (id, site_id, name, address) VALUES ('g', 'compound', '一', 'cut-test:1')`)
	require.NoError(t, err)
	for i, c := range []struct{ id, site, state, decision, class string }{
		{"C1", "compound", "planned", printed, "household"}, {"C2", "compound", "awaiting_manager", `{}`, "important"}, {"C3", "compound", "prevented", printed, "household"},
		{"C4", "compound", "verified", `{"allowed": true, "reasons": [{"code": "not_protected", "for": true}]}`, "household"}, {"C5", "plaza", "planned", `{}`, "commercial"},
		{"C6", "compound", "unknown", `{}`, "household"}, {"C7", "compound", "cancelled", `{}`, "household"},
	} {
		n := string(rune('1' + i))
		_, err := s.Pool.Exec(ctx, `INSERT INTO customers (id, site_id, name, phone, class) VALUES ('K' || $1, $2, '林' || $1, '1380', $3)`, n, c.site, c.class)
		require.NoError(t, err)
		_, err = s.Pool.Exec(ctx, `INSERT INTO service_points (id, site_id, service, address) VALUES ('P' || $1, $2, 'power', '1栋')`, n, c.site)
		require.NoError(t, err)
		_, err = s.Pool.Exec(ctx, `INSERT INTO accounts (id, site_id, customer_id, service_point_id, service, credit_mode, tariff_id, opened_on)
			VALUES ($1, $2, 'K' || $1, 'P' || $1, 'power', 'platform', 't', '2026-09-01')`, n, c.site)
		require.NoError(t, err)
		_, err = s.Pool.Exec(ctx, `BEGIN; SET LOCAL session_replication_role = replica; INSERT INTO balances (account_id, balance_fen) VALUES ('`+n+`', -300); COMMIT`)
		require.NoError(t, err)
		_, err = s.Pool.Exec(ctx, `INSERT INTO supplies (account_id, site_id, state, wanted, since_at) VALUES ($1, $2, 'on', 'on', '2026-09-01')`, n, c.site)
		require.NoError(t, err)
		_, err = s.Pool.Exec(ctx, `INSERT INTO cutoffs (id, site_id, account_id, state, planned_at, decision, opened_at, settled_at)
			VALUES ($1, $2, $3, $4, '2026-09-10 03:00Z', $5, '2026-09-09', CASE WHEN $4 IN ('verified', 'prevented', 'cancelled') THEN timestamptz '2026-09-09 04:00Z' END)`, c.id, c.site, n, c.state, c.decision)
		require.NoError(t, err)
	}
	_, err = s.Pool.Exec(ctx, `
		INSERT INTO meters (id, site_id, gateway_id, unit, serial, profile, service, digits, capacity_per_hour) VALUES ('M4', 'compound', 'g', 1, '000000000004', 'p', 'power', 8, 1000);
		INSERT INTO commands (id, site_id, account_id, meter_id, kind, state, cause, requested_by, deadline, readback, readback_real, readback_power_w, frames, requested_at)
			VALUES ('D4', 'compound', '4', 'M4', 'trip', 'verified', 'cutoff/C4', 'workflow', '2026-09-10', 'off', '2026-11-22 05:28:29Z', 7,
				'[{"sent_at": "2026-11-22T05:28:28Z", "answered_at": "2026-11-22T05:28:28.250Z", "line": "G7", "write": true, "result": "the meter refused", "request": "000100000006", "reply": "00010000"}]', '2026-09-09');
		UPDATE cutoffs SET command_id = 'D4' WHERE id = 'C4'`)
	require.NoError(t, err)
}

func TestList_views(t *testing.T) {
	s := webtest.New(t)
	b := s.SignIn(t, webtest.Supervisor)
	for _, path := range []string{"/cutoffs", "/cutoffs?state=awaiting_manager", "/cutoffs?state=prevented", "/cutoffs?own_trip=1", "/cutoffs?state=restores"} {
		require.Equal(t, 1, b.Get(path).Find("empty").Length(), path)
	}
	seed(t, s.Store)
	for path, want := range map[string][]string{
		"/cutoffs":                                  {"C1", "C2", "C6"},
		"/cutoffs?state=planned":                    {"C1", "C2", "C6"},
		"/cutoffs?state=awaiting_manager":           {"C2"},
		"/cutoffs?state=prevented&since=2026-09-09": {"C3"},
		"/cutoffs?state=prevented&since=2026-09-10": nil,
		"/cutoffs?state=verified":                   {"C4"},
		"/cutoffs?state=cancelled":                  {"C7"},
		"/cutoffs?own_trip=1":                       nil,
	} {
		a := b.Get(path)
		require.Equal(t, http.StatusOK, a.Status, path)
		var ids []string
		for _, n := range a.Find("table-cuts").Find("tbody [data-row]").EachIter() {
			ids = append(ids, n.AttrOr("data-id", ""))
		}
		require.ElementsMatch(t, want, ids, path)
	}
	row := b.Get("/cutoffs").Find("row-C1")
	require.Equal(t, "The balance 3.00 is above the limit 0.00; Nobody is cut at this hour (until 2026-09-10 10:00)", row.Find(`[data-testid="brief"]`).Text())
	require.Equal(t, 3, row.Find(`[data-testid="reasons"] li`).Length(), "for and against")
	require.Equal(t, 1, row.Find(`[data-testid="stop"]`).Length())
	require.Zero(t, s.SignIn(t, webtest.Clerk).Get("/cutoffs").Find("stop").Length(), "who may not stop isn't offered it")
	require.Equal(t, "off", b.Get("/cutoffs?state=verified").Find("row-C4").Find(`[data-kind="supply"]`).AttrOr("data-state", ""))
	require.NotContains(t, b.Get("/cutoffs?state=verified").Find("row-C4").Text(), "given back by us")
	_, err := s.Store.Pool.Exec(context.Background(), `UPDATE supplies SET state = 'allowed' WHERE account_id = (SELECT account_id FROM cutoffs WHERE id = 'C4')`)
	require.NoError(t, err)
	given := b.Get("/cutoffs?state=verified").Find("row-C4")
	require.Equal(t, "allowed", given.Find(`[data-kind="supply"]`).Last().AttrOr("data-state", ""))
	require.Contains(t, given.Text(), "given back by us; the customer's button closes it")
}

func TestShow_provesWhatWasDone(t *testing.T) {
	s := webtest.New(t)
	seed(t, s.Store)
	b := s.SignIn(t, webtest.Clerk)
	a := b.Get("/cutoffs/C4")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Find("fact-readback").Text(), "2026-11-22 13:28:29")
	require.Contains(t, a.Find("fact-load").Text(), "7")
	frames := a.Find("frames").Text()
	for _, want := range []string{"13:28:28 G7 · order", "→ 00 01 00 00 00 06", "← 00 01 00 00 (250ms)", "! the meter refused"} {
		require.Contains(t, frames, want)
	}
	require.Zero(t, a.Doc().Find("form[method=post][action^='/cutoffs']").Length(), "nothing can be done any more")
	require.Contains(t, b.Get("/cutoffs/C3").Find("notice").Text(), "is above the limit")
	require.Contains(t, b.Get("/cutoffs/C1").Find("section-now").Text(), "judged again")
	require.Equal(t, http.StatusNotFound, b.Get("/cutoffs/C5").Status, "another site's cut is like none")
	require.Equal(t, http.StatusNotFound, b.Get("/cutoffs/C99").Status)
}

func TestApprove_isForManagersAndNeverOverridesAProtection(t *testing.T) {
	s := webtest.New(t)
	seed(t, s.Store)
	require.Contains(t, s.SignIn(t, webtest.Supervisor).Get("/cutoffs/C2").Find("why-approve").Text(), "ask a manager")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Supervisor).Post("/cutoffs/C2/approve").Status)
	b := s.SignIn(t, webtest.Manager)
	a := b.Post("/cutoffs/C2/approve")
	require.Equal(t, http.StatusServiceUnavailable, a.Status, "the engine is away, so nothing is taken")
	require.Contains(t, a.Find("action-error").Text(), "not taken")
	require.Equal(t, http.StatusConflict, b.Post("/cutoffs/C4/approve").Status)
	_, err := s.Store.Pool.Exec(context.Background(), `UPDATE customers SET life_support = true WHERE id = 'K2'`)
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, b.Post("/cutoffs/C2/approve").Status)
	require.Contains(t, b.Get("/cutoffs/C2").Find("why-approve").Text(), "protected")
}

func TestCancel_needsRightAndReason(t *testing.T) {
	s := webtest.New(t)
	seed(t, s.Store)
	clerk := s.SignIn(t, webtest.Clerk)
	require.Contains(t, clerk.Get("/cutoffs/C1").Find("why-cancel").Text(), "stop planned cuts")
	require.Equal(t, http.StatusForbidden, clerk.Post("/cutoffs/C1/cancel", "reason", "x").Status)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.Post("/cutoffs/C1/cancel", "reason", "")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-reason").Text(), "say why")
	a = b.Post("/cutoffs/C1/cancel", "reason", "用户在医院")
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Equal(t, "用户在医院", a.Find("action-cancel").Find("textarea").Text())
	c, err := s.Store.Cutoff(context.Background(), "C1")
	require.NoError(t, err)
	require.Equal(t, store.CutPlanned, c.State)
	require.Equal(t, http.StatusNotFound, b.Post("/cutoffs/C5/cancel", "reason", "x").Status)
}
