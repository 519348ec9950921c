package areas_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/webtest"
)

// waters are two water meters and a power meter of the compound, read once, and a water meter of the plaza. The first one's battery is low and
// its valve is shut by proof, the second is on a reading route.
func waters(t *testing.T) (s *webtest.Server, first, second billing.MeterID) {
	s = webtest.New(t)
	power := s.Account(t, webtest.Compound, "1001", 5000)
	first, second = s.Account(t, webtest.Compound, "1002", 1234), s.Account(t, webtest.Compound, "1003", -50)
	other := s.Account(t, webtest.Plaza, "2001", 5000)
	ctx := context.Background()
	_, err := s.Store.Pool.Exec(ctx, `UPDATE meters SET service = 'water', profile = 'sim-valve-water' WHERE id = ANY($1)`, []billing.MeterID{first, second, other})
	require.NoError(t, err)
	s.Read(t, webtest.Compound, billing.MustDate("2026-09-11"), map[billing.MeterID]billing.Registers{power: {900, 0, 900, 0, 0, 0}, second: {7_654}})
	_, err = s.Store.Pool.Exec(ctx, `
		INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, supply, status_word, power_w, recorded_by)
			SELECT $1, freeze_at, 1, taken_at, taken_real, 'actual', '{4321}', 'off', 10, 12, 'workflow' FROM readings WHERE meter_id = $2`, first, second)
	require.NoError(t, err)
	_, err = s.Store.Pool.Exec(ctx, `
		INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, recorded_by)
			SELECT $1, freeze_at + interval '1 hour', 1, taken_at, taken_real, 'estimated', '{4400}', 'workflow' FROM readings WHERE meter_id = $2`, first, second)
	require.NoError(t, err)
	_, err = s.Store.Pool.Exec(ctx, `UPDATE supplies SET state = 'off' WHERE account_id = '1002'`)
	require.NoError(t, err)
	_, err = s.Store.Pool.Exec(ctx, `INSERT INTO reading_routes (id, site_id, name) VALUES ('W1', 'compound', 'Cellar'), ('W2', 'compound', 'Power only')`)
	require.NoError(t, err)
	_, err = s.Store.Pool.Exec(ctx, `INSERT INTO reading_route_meters (route_id, seq, meter_id) VALUES ('W1', 1, $1), ('W1', 2, $2), ('W2', 1, $2)`, second, power)
	require.NoError(t, err)
	return s, first, second
}

// From an area a supervisor comes to work on all its valves, with the form filled in; a clerk may not.
func TestAreaLeadsToABatch(t *testing.T) {
	s, _, second := waters(t)
	clerk := s.SignIn(t, webtest.Clerk).Get("/areas/line/G-compound")
	require.Zero(t, clerk.Doc().Find(`a[href^="/batches"]`).Length())
	b := s.SignIn(t, webtest.Supervisor)
	for area, want := range map[string]string{"line/G-compound": "G-compound", "route/W1": string(second)} {
		link, ok := b.Get("/areas/" + area).Doc().Find(`main a[href^="/batches/new"]`).Attr("href")
		require.True(t, ok, area)
		form := b.Get(link)
		require.Equal(t, http.StatusOK, form.Status, form.Body)
		require.Contains(t, form.Doc().Find(`select[name="gateway"] option[selected]`).AttrOr("value", "")+form.Doc().Find(`textarea[name="meters"]`).Text(), want)
		require.Equal(t, "compound", form.Doc().Find(`select[name="site"] option[selected]`).AttrOr("value", ""))
	}
}

func TestAreas(t *testing.T) {
	s, first, second := waters(t)
	b := s.SignIn(t, webtest.Clerk)
	a := b.Get("/areas")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Equal(t, 3, a.Find("table-areas").Find("tbody tr").Length(), "site, line and the route with water meters; not another site's")
	require.Contains(t, a.Find("row-route-W1").Text(), "Cellar")

	line := b.Get("/areas/line/G-compound")
	require.Equal(t, http.StatusOK, line.Status, line.Body)
	require.Equal(t, 2, line.Find("table-meters").Find("tbody tr").Length(), "water meters only")
	row := line.Find("row-" + string(first))
	require.Contains(t, row.Text(), "4.400", "the newest reading, also an estimated one")
	require.Contains(t, row.Text(), "Estimated")
	require.Contains(t, row.Text(), "12", "the flow that the meter showed itself")
	require.Equal(t, "off", row.Find(`.badge[data-kind="supply"]`).AttrOr("data-state", ""))
	require.Contains(t, row.Text(), "Battery low")
	require.Contains(t, line.Find("row-"+string(second)).Text(), "−0.50")
	require.NotContains(t, line.Find("row-"+string(second)).Text(), "Battery low")
	require.Equal(t, "1", line.Find("stat-shut").Find(".stat-value").Text())
	require.Zero(t, line.Find("read-"+string(first)).Length(), "a clerk starts no reading")
	require.Contains(t, line.Find("why-read").Text(), "ask a supervisor or manager")

	route := b.Get("/areas/route/W1")
	require.Equal(t, 1, route.Find("table-meters").Find("tbody tr").Length())
	for _, path := range []string{"/areas/site/plaza", "/areas/route/W2", "/areas/nothing/x"} {
		require.Equal(t, http.StatusNotFound, b.Get(path).Status, path)
	}
}

func TestReadArea_refusals(t *testing.T) {
	s, first, _ := waters(t)
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post("/areas/line/G-compound/read").Status)
	b := s.SignIn(t, webtest.Supervisor)
	require.Equal(t, 1, b.Get("/areas/line/G-compound").Find("read-"+string(first)).Length())
	a := b.Post("/areas/route/W1/read", "meter", string(first))
	require.Equal(t, http.StatusNotFound, a.Status)
	require.Contains(t, a.Find("action-error").Text(), "is not in this area")
	a = b.Post("/areas/line/G-compound/read")
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Contains(t, a.Find("action-error").Text(), "not taken")
}

// What is read is read through a cycle of the area's meters alone.
func TestReadArea(t *testing.T) {
	s := webtest.NewWithEngine(t)
	power, water := s.Account(t, webtest.Compound, "1001", 5000), s.Account(t, webtest.Compound, "1002", 5000)
	ctx := context.Background()
	_, err := s.Store.Pool.Exec(ctx, `UPDATE meters SET service = 'water', profile = 'sim-valve-water' WHERE id = $1`, water)
	require.NoError(t, err)
	a := s.SignIn(t, webtest.Supervisor).Post("/areas/line/G-compound/read")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Eventually(t, func() bool {
		var meters []billing.MeterID
		require.NoError(t, s.Store.Pool.QueryRow(ctx, `SELECT coalesce(array_agg(meter_id), '{}') FROM cycle_meters`).Scan(&meters))
		require.NotContains(t, meters, power)
		return len(meters) == 1 && meters[0] == water
	}, webtest.Patience, webtest.Pause)
}

func TestAreas_API(t *testing.T) {
	s, first, _ := waters(t)
	b := s.SignIn(t, webtest.Clerk)
	require.Contains(t, b.JSON(http.MethodGet, "/api/v1/areas", "").Body, `"Cellar"`)
	a := b.JSON(http.MethodGet, "/api/v1/areas/line/G-compound/meters", "")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, `"alarms":["battery_low"]`)
	require.Contains(t, a.Body, string(first))
	require.Equal(t, http.StatusNotFound, b.JSON(http.MethodGet, "/api/v1/areas/site/plaza/meters", "").Status)
}
