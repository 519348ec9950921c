package meters_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/webtest"
)

func bands(total int64) billing.Registers { return billing.Registers{total, 0, total, 0, 0, 0} }

func TestMeters(t *testing.T) {
	s := webtest.New(t)
	b := s.SignIn(t, webtest.Supervisor)
	require.Equal(t, 1, b.Get("/meters").Find("empty").Length(), "an empty list says what will appear")

	m1, m2 := s.Account(t, webtest.Compound, "1001", 5000), s.Account(t, webtest.Compound, "1002", 5000)
	s.Account(t, webtest.Plaza, "2001", 5000)
	day := billing.MustDate("2026-09-11")
	s.Read(t, webtest.Compound, day, map[billing.MeterID]billing.Registers{m1: bands(900), m2: bands(100)})
	s.Read(t, webtest.Compound, day.AddDays(1), map[billing.MeterID]billing.Registers{m1: bands(2000)})
	ctx := context.Background()
	_, err := s.Store.Pool.Exec(ctx, `UPDATE supplies SET state = 'off', wanted = 'off', cut_cause = 'credit' WHERE account_id = '1001'`)
	require.NoError(t, err)
	_, err = s.Store.Pool.Exec(ctx, `INSERT INTO commands (id, site_id, account_id, meter_id, kind, state, cause, requested_by, deadline, readback, attempts, frames, requested_at)
		VALUES ('D1', 'compound', '1001', $1, 'trip', 'verified', 'cutoff/C1', 'workflow', now(), 'off', 1,
			'[{"sent_at":"2026-09-12T00:00:00Z","answered_at":"2026-09-12T00:00:01Z","request":"0001000000060110","reply":""}]', business_now())`, m1)
	require.NoError(t, err)

	list := b.Get("/meters")
	require.Equal(t, 2, list.Find("table-meters").Find("tbody tr").Length(), "another site's meters stay away")
	require.Contains(t, list.Find("row-"+string(m1)).Text(), "20.00")
	for path, want := range map[string]int{
		"/meters?supply=off": 1, "/meters?supply=unknown": 0, "/meters?command=open": 0, "/meters?q=m1002": 1, "/meters?silent=1": 1, "/meters?gateway=G-compound": 2, "/meters?service=water": 0,
	} {
		require.Equal(t, want, b.Get(path).Find("table-meters").Find("tbody tr").Length(), path)
	}

	one := b.Get("/meters/" + string(m1))
	require.Equal(t, http.StatusOK, one.Status, one.Body)
	require.Contains(t, one.Find("row-peak").Text(), "20.00", "each register")
	require.Equal(t, "off", one.Find("fact-supply").Find(".badge").AttrOr("data-state", ""))
	require.Contains(t, one.Find("fact-why").Text(), "cut for credit after notice")
	require.Equal(t, 1, one.Find("usage-chart").Length())
	require.Contains(t, one.Find("commands").Text(), "Cut supply")
	require.Contains(t, one.Find("frames").Text(), "00 01 00 00 00 06 01 10", "the frames, on request")
	require.Contains(t, one.Find("frames").Text(), "no reply")
	require.Contains(t, one.Find("table-fittings").Text(), "Fitted")

	_, err = s.Store.Pool.Exec(ctx, `INSERT INTO commands (id, site_id, account_id, meter_id, kind, state, cause, requested_by, deadline, attempts, frames, requested_at, error)
		VALUES ('D2', 'compound', '1001', $1, 'close', 'refused', 'restore/O1', 'workflow', now(), 1,
			'[{"sent_at":"2026-09-12T00:00:00Z","request":"0001","reply":"","result":"the meter does not answer: no answer in time"}]', business_now(),
			'after sending (the answer is in doubt: no answer in time) the meter could not be read back: meter M1001 at 127.0.0.1:1 unit 1: the gateway can''t be reached: no connection to the gateway')`, m1)
	require.NoError(t, err)
	b.Header.Set("Accept-Language", "zh-CN")
	zh := b.Get("/meters/" + string(m1))
	require.Contains(t, zh.Find("commands").Text(), "下发后（应答存疑：超时无应答）表计未能回读：表 M1001（127.0.0.1:1，站号 1）：网关无法连接：没有连上网关")
	require.Contains(t, zh.Find("commands").Text(), "! 表计没有应答：超时无应答", "what was wrong with a frame")
	b.Header.Set("Accept-Language", "en")

	require.Equal(t, http.StatusNotFound, b.Get("/meters/M2001").Status, "another site's meter")
	require.Equal(t, http.StatusNotFound, b.Get("/meters/nothing").Status)
}

func TestRead_refusals(t *testing.T) {
	s := webtest.New(t)
	m := s.Account(t, webtest.Compound, "1001", 5000)
	path := "/meters/" + string(m)
	clerk := s.SignIn(t, webtest.Clerk)
	require.Contains(t, clerk.Get(path).Find("why-read").Text(), "ask a supervisor or manager")
	require.Equal(t, http.StatusForbidden, clerk.Post(path+"/read").Status)
	a := s.SignIn(t, webtest.Supervisor).Post(path + "/read")
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Contains(t, a.Find("action-error").Text(), "not taken")
	require.Equal(t, 1, a.Find("section-live").Find(`[data-testid="empty"]`).Length(), "before the first reading the page says what will appear")
}

// A hold that a person ordered and that nothing proves at the fitted meter is shown as on its way, never as standing.
func TestHoldBeingOrdered(t *testing.T) {
	s := webtest.New(t)
	meter := s.Account(t, webtest.Compound, "A9", 5_000)
	ctx := context.Background()
	_, err := s.Store.Pool.Exec(ctx, `INSERT INTO batches (id, site_id, kind, action, state, rate, reason, made_by, made_at, expires_at, started_by, started_at, ended_by, ended_at)
		VALUES ('B-1', 'compound', 'relay', 'keep_on', 'done', 60, 'festival', 'sup1', business_now(), business_now(), 'sup1', business_now(), 'workflow', business_now())`)
	require.NoError(t, err)
	b := s.SignIn(t, webtest.Supervisor)
	for guarded, want := range map[bool]string{false: "being ordered", true: "can't trip by itself"} {
		tag, err := s.Store.Pool.Exec(ctx, `UPDATE supplies SET held_by = 'B-1', guarded = $1 WHERE account_id = 'A9'`, guarded)
		require.NoError(t, err)
		require.EqualValues(t, 1, tag.RowsAffected())
		for _, page := range []string{"/meters/" + string(meter), "/accounts/A9"} {
			shown := b.Get(page).Find("fact-guarded").Text()
			require.Contains(t, shown, want, page)
			require.Equal(t, guarded, !strings.Contains(shown, "being ordered"), page)
		}
	}
}

// What a line brought says by which register map it was decoded, and the frames of a price change open on the meter's page.
func TestMapVersionsAndPriceFrames(t *testing.T) {
	s := webtest.New(t)
	meter := s.Account(t, webtest.Compound, "A9", 5_000)
	ctx := context.Background()
	s.Read(t, webtest.Compound, billing.MustDate("2026-09-11"), map[billing.MeterID]billing.Registers{meter: bands(900)})
	b := s.SignIn(t, webtest.Supervisor)
	require.NotContains(t, b.Get("/meters/"+string(meter)).Find("fact-taken").Text(), "register map", "nothing is made up for what was kept before")
	require.Zero(t, b.Get("/meters/"+string(meter)).Find("pushes").Length())
	_, err := s.Store.Pool.Exec(ctx, `INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, supply, cycle_id, recorded_by, reason, profile, profile_version, reverse)
		SELECT meter_id, freeze_at, version + 1, taken_at, taken_real, quality, registers, supply, cycle_id, 'workflow', 'read again', 'sim-ddsy1352', 3, 1234 FROM readings WHERE meter_id = $1`, meter)
	require.NoError(t, err)
	_, err = s.Store.Pool.Exec(ctx, `INSERT INTO tariff_changes (id, tariff_id, service, name_zh, name_en, from_day, version, state, editors, made_by, made_at, closed_at, approved1_by, approved1_at, approved2_by, approved2_at)
		VALUES ('T-9', 'zj-residential', 'power', 'x', 'x', '2026-09-01', '{}', 'published', '{admin}', 'admin', business_now(), business_now(), 'sup1', business_now(), 'manager', business_now())`)
	require.NoError(t, err)
	_, err = s.Store.Pool.Exec(ctx, `INSERT INTO tariff_pushes (change_id, meter_id, account_id, site_id, gateway_id, state, due_at, old_prices, prices, attempts, frames, settled_at)
		VALUES ('T-9', $1, 'A9', 'compound', 'G-compound', 'verified', business_now(), '{1,1,1,1,1}', '{2,2,2,2,2}', 1,
			'[{"sent_at": "2026-09-10T00:00:00Z", "request": "0120", "reply": "0120", "line": "G-compound", "write": true, "map": "sim-ddsy1352 v3"}]', business_now())`, meter)
	require.NoError(t, err)
	shown := b.Get("/meters/" + string(meter))
	require.Contains(t, shown.Find("row-reverse").Text(), "12.34", "what went the other way stands beside the registers")
	require.Contains(t, b.JSON(http.MethodGet, "/api/v1/meters/"+string(meter)+"/readings", "").Body, `"reverse":1234`)
	require.Contains(t, shown.Find("fact-taken").Text(), "sim-ddsy1352 v3")
	require.Contains(t, shown.Find("table-reading-versions").Text(), "sim-ddsy1352 v3")
	require.Contains(t, shown.Find("pushes").Text(), "Price changes")
	frames := shown.Find("pushes").Find(`[data-testid="frames"]`).Text()
	require.Contains(t, frames, "sim-ddsy1352 v3")
	require.Contains(t, frames, "01 20")
}
