package gateways_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
)

func changed(f url.Values, changes ...string) url.Values {
	for i := 0; i+1 < len(changes); i += 2 {
		f.Set(changes[i], changes[i+1])
	}
	return f
}

// count says how many rows a refusal may leave: as many as there were.
func count(t *testing.T, s *webtest.Server) (n int) {
	t.Helper()
	require.NoError(t, s.Store.Pool.QueryRow(context.Background(), `SELECT (SELECT count(*) FROM gateways) + (SELECT count(*) FROM boxes) + (SELECT count(*) FROM meters)
		+ (SELECT count(*) FROM service_points) + (SELECT count(*) FROM journal)`).Scan(&n))
	return n
}

func TestAddGateway(t *testing.T) {
	s, _ := utility(t)
	ctx := context.Background()
	fresh := func(changes ...string) url.Values {
		return changed(url.Values{"id": {"g7"}, "site": {"compound"}, "name": {"七号"}, "link": {"dial_in"}, "address": {""}, "registration": {"unit-7"}, "secret": {"a-first-secret-7"},
			"timeout": {"2500"}, "worst": {"2000"}, "pause": {"20"}, "caches": {"0"}, "reason": {"new building"}}, changes...)
	}
	require.Contains(t, s.SignIn(t, webtest.Supervisor).Get("/gateways").Find("why-gateway").Text(), "ask a administrator")
	require.Equal(t, http.StatusForbidden, post(s.SignIn(t, webtest.Supervisor), "/gateways", fresh()).Status)
	b := s.SignIn(t, webtest.Administrator)
	before := count(t, s)
	for want, f := range map[string]url.Values{
		"can't be used: take 1 to 40":                       fresh("id", "a/b"),
		"a gateway has this number already":                 fresh("id", "g2"),
		"must be 12 to 100":                                 fresh("secret", "short"),
		"it has none yet":                                   fresh("secret", ""),
		"has this registration id already":                  fresh("registration", "unit-3"),
		"has this address already":                          fresh("link", "transparent", "registration", "", "secret", "", "address", "10.8.0.2:502"),
		"shorter than the gateway's own worst case of 3000": fresh("worst", "3000"),
		"time-out must lie between 500 and 60000 ms":        fresh("timeout", "499", "worst", "400"),
		"worst case that is usual with this link, 2000 ms":  fresh("timeout", "1999", "worst", "0"),
		"worst case that is usual with this link, 1000 ms":  fresh("link", "transparent", "registration", "", "secret", "", "address", "10.8.0.7:502", "timeout", "999", "worst", "0"),
		"fill in this field":                                fresh("name", " "),
		"the reason stands in the journal":                  fresh("reason", ""),
	} {
		a := post(b, "/gateways", f)
		require.Contains(t, a.Doc().Text(), want)
		require.NotEqual(t, http.StatusSeeOther, a.Status)
		require.NotContains(t, a.Body, "a-first-secret-7")
		require.Equal(t, before, count(t, s), want)
	}
	require.Equal(t, http.StatusNotFound, post(b, "/gateways", fresh("site", "nowhere")).Status)
	a := post(b, "/gateways", fresh())
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	g, err := s.Store.GatewayOfUnit(ctx, "unit-7")
	require.NoError(t, err)
	require.Equal(t, []any{billing.GatewayID("g7"), webtest.Compound, 2000, 32}, []any{g.ID, g.Site, g.WorstMillis, len(g.Secret)})
	shown := b.Get("/gateways/g7")
	require.Contains(t, shown.Find("timeline").Text(), "new building")
	require.NotContains(t, shown.Body, "a-first-secret-7")

	outside := func(string) error { return errors.New("outside") }
	err = s.Store.RegisterGateway(ctx, store.By{Actor: "admin", Reason: "new"}, webtest.Compound, store.GatewayChange{ID: "g8", Name: "x", Link: "modbus_tcp", Address: "192.0.2.7:502", TimeoutMillis: 2500}, outside)
	require.ErrorContains(t, err, "outside the networks that gateways may be in")
}

// A box is put on a line and its circuits are filled from its page; whoever may not, and what can't be, is refused beside the form.
func TestAddBoxAndMeters(t *testing.T) {
	s, _ := utility(t)
	ctx := context.Background()
	box := func(changes ...string) url.Values {
		return changed(url.Values{"id": {"B-1"}, "circuits": {"36"}, "base_unit": {"37"}, "reason": {"shops"}}, changes...)
	}
	meter := func(changes ...string) url.Values {
		return changed(url.Values{"id": {"M-7"}, "profile": {"acrel-adf300-three"}, "unit": {"38"}, "serial": {"260100000007"}, "digits": {"8"}, "ratio": {"1"}, "capacity": {"22"},
			"service_point": {"P-7"}, "address": {"Shop 7"}, "opening-total": {"1,234.56"}, "opening-sharp": {"0"}, "opening-peak": {"1000"}, "opening-flat": {"234.56"}, "opening-valley": {"0"},
			"opening-deep_valley": {"0"}, "reason": {"shops"}}, changes...)
	}
	require.Equal(t, http.StatusForbidden, post(s.SignIn(t, webtest.Manager), "/gateways/g2/boxes", box()).Status)
	require.Equal(t, http.StatusNotFound, post(s.SignIn(t, webtest.OtherSupervisor), "/gateways/g2/meters", meter()).Status, "another site's line")
	b := s.SignIn(t, webtest.Administrator)
	before := count(t, s)
	for want, f := range map[string]url.Values{
		"a box has 12, 24 or 36 circuits, not 48": box("circuits", "48"),
		"begins at unit 1, 37 and so on":          box("base_unit", "36"),
		"can't be used: take 1 to 40":             box("id", "表箱"),
		"write a whole number":                    box("base_unit", "first"),
	} {
		require.Contains(t, post(b, "/gateways/g2/boxes", f).Doc().Text(), want)
		require.Equal(t, before, count(t, s), want)
	}
	a := post(b, "/gateways/g2/boxes", box())
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Contains(t, post(b, "/gateways/g2/boxes", box("id", "B-2", "circuits", "12")).Doc().Text(), "box B-1 has units 37 to 72 already")
	require.Contains(t, post(b, "/gateways/g2/boxes", box("base_unit", "73")).Doc().Text(), "a box has this number already")

	before = count(t, s)
	for want, f := range map[string]url.Values{
		"choose one of the answers":        meter("profile", "nothing"),
		"no box of gateway g2 has unit 2":  meter("unit", "2"),
		"is a circuit of box B-1":          meter("profile", "sim-ddsy1352"),
		"box B-1 ends at unit 72":          meter("unit", "71"),
		"has 12 digits":                    meter("serial", "7"),
		"finer than the register":          meter("opening-peak", "1.234"),
		"give its address to make it":      meter("address", ""),
		"needs a gateway that passes":      meter("profile", "sim-dlt645", "unit", "2"),
		"a meter has or had this number":   meter("id", "M1001"),
		"the reason stands in the journal": meter("reason", ""),
	} {
		require.Contains(t, post(b, "/gateways/g2/boxes/B-1", f).Doc().Text(), want)
		require.Equal(t, before, count(t, s), want)
	}
	a = post(b, "/gateways/g2/boxes/B-1", meter())
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	m, err := s.Store.Meter(ctx, "M-7")
	require.NoError(t, err)
	require.Equal(t, []any{"B-1", 3, int64(2200), billing.Power}, []any{m.Box, m.Units, m.CapacityPerHour, m.Service})
	fittings, err := s.Store.MeterFittings(ctx, "M-7")
	require.NoError(t, err)
	require.Equal(t, billing.Registers{123_456, 0, 100_000, 23_456, 0, 0}, fittings[0].Opening)

	shown := s.SignIn(t, webtest.Supervisor).Get("/gateways/g2/boxes/B-1")
	require.Equal(t, http.StatusOK, shown.Status, shown.Body)
	require.Equal(t, 34, shown.Find("table-circuits").Find("tbody tr").Length(), "a three-phase circuit is one row")
	require.Contains(t, shown.Find("row-38").Text(), "M-7")
	require.Contains(t, shown.Find("row-38").Text(), "38–40")
	require.Contains(t, shown.Find("row-37").Text(), "free")
	require.Contains(t, shown.Find("timeline").Text(), "shops")
	require.Contains(t, b.Get("/gateways/g2").Find("row-B-1").Text(), "37–72")
	require.Contains(t, b.Get("/meters/M-7").Body, `href="/gateways/g2/boxes/B-1"`)
	require.Equal(t, http.StatusNotFound, b.Get("/gateways/g3/boxes/B-1").Status)

	water := meter("id", "W-7", "profile", "sim-valve-water", "unit", "2", "serial", "260100000008", "service_point", "P-8", "opening-total", "12.345", "capacity", "2.5")
	require.Equal(t, http.StatusSeeOther, post(b, "/gateways/g2/meters", water).Status)
	m, err = s.Store.Meter(ctx, "W-7")
	require.NoError(t, err)
	require.Equal(t, []any{billing.Water, int64(2500), ""}, []any{m.Service, m.CapacityPerHour, m.Box})
}

func TestAPI_add(t *testing.T) {
	s, _ := utility(t)
	b := s.SignIn(t, webtest.Administrator)
	short := b.JSON(http.MethodPost, "/api/v1/gateways", `{"id": "g7", "site": "compound", "name": "七号", "link": "modbus_tcp", "address": "10.8.0.7:502", "timeout_ms": 200, "worst_case_ms": 0, "pause_ms": 0, "caches_reads_ms": 0, "reason": "new"}`)
	require.Equal(t, http.StatusUnprocessableEntity, short.Status, short.Body)
	require.Contains(t, short.Body, "between 500 and 60000 ms")
	gateway := `{"id": "g7", "site": "compound", "name": "七号", "link": "modbus_tcp", "address": "10.8.0.7:502", "timeout_ms": 2000, "worst_case_ms": 0, "pause_ms": 0, "caches_reads_ms": 0, "reason": "new"}`
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Supervisor).JSON(http.MethodPost, "/api/v1/gateways", gateway).Status)
	a := b.JSON(http.MethodPost, "/api/v1/gateways", gateway)
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	require.Contains(t, a.Body, `"worst_case_ms":2000`, "what is usual stands for what isn't known")
	require.Equal(t, http.StatusConflict, b.JSON(http.MethodPost, "/api/v1/gateways", gateway).Status)

	hash, err := auth.HashPassword(webtest.Password)
	require.NoError(t, err)
	require.NoError(t, s.Store.AddUser(context.Background(), store.By{Actor: "test"}, store.User{ID: "admin2", Name: "x", Role: billing.RoleAdministrator, Active: true, Sites: []billing.SiteID{webtest.Plaza}}, hash))
	elsewhere := s.SignIn(t, "admin2")
	box := `{"id": "B-1", "base_unit": 1, "circuits": 12, "reason": "shops"}`
	require.Equal(t, http.StatusNotFound, elsewhere.JSON(http.MethodPost, "/api/v1/gateways/g7/boxes", box).Status, "another site's line")
	require.NotEqual(t, http.StatusCreated, elsewhere.JSON(http.MethodPost, "/api/v1/gateways", strings.ReplaceAll(gateway, "g7", "g8")).Status)
	a = b.JSON(http.MethodPost, "/api/v1/gateways/g7/boxes", box)
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	a = b.JSON(http.MethodPost, "/api/v1/gateways/g7/boxes", `{"id": "B-2", "base_unit": 1, "circuits": 36, "reason": "shops"}`)
	require.Equal(t, http.StatusConflict, a.Status, a.Body)
	require.Contains(t, a.Body, "box B-1 has units 1 to 12 already")

	meter := func(profile string) string {
		return `{"id": "M-7", "unit": 2, "serial": "260100000007", "profile": "` + profile + `", "digits": 8, "ratio": 1, "capacity_per_hour": 2200, "opening": [0, 0, 0, 0, 0, 0], "service_point": "P-7", "address": "Shop 7", "reason": "shops"}`
	}
	a = b.JSON(http.MethodPost, "/api/v1/gateways/g7/meters", meter("nothing"))
	require.Equal(t, http.StatusUnprocessableEntity, a.Status, a.Body)
	require.Contains(t, a.Body, "the register map nothing is not known")
	a = b.JSON(http.MethodPost, "/api/v1/gateways/g7/meters", meter("sim-valve-water"))
	require.Contains(t, a.Body, "shows 1 registers")
	a = b.JSON(http.MethodPost, "/api/v1/gateways/g7/meters", meter("sim-adf300"))
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	require.Contains(t, a.Body, `"box":"B-1"`)
	a = b.JSON(http.MethodGet, "/api/v1/boxes/B-1", "")
	require.Contains(t, a.Body, `"id":"M-7"`)
	require.Contains(t, b.JSON(http.MethodGet, "/api/v1/gateways/g7", "").Body, `"last_unit":12`)
	require.Equal(t, http.StatusNotFound, elsewhere.JSON(http.MethodGet, "/api/v1/boxes/B-1", "").Status)
	require.NotEqual(t, http.StatusCreated, elsewhere.JSON(http.MethodPost, "/api/v1/gateways/g7/meters", meter("sim-adf300")).Status)
}
