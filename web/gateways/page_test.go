package gateways_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
)

// utility has three gateways of the compound: one that a worker owns with a meter that doesn't answer, one without an owner, and a unit that
// dials in; one of the plaza.
func utility(t *testing.T) (s *webtest.Server, meter billing.MeterID) {
	s = webtest.New(t)
	meter = s.Account(t, webtest.Compound, "1001", 5000)
	ctx := context.Background()
	_, err := s.Store.Pool.Exec(ctx, `
		INSERT INTO gateways (id, site_id, name, address) VALUES ('g2', 'compound', '二号', '10.8.0.2:502'), ('g9', 'plaza', '三号', '10.8.0.9:502');
		INSERT INTO gateways (id, site_id, name, link, registration_id, secret_sha256) VALUES ('g3', 'compound', '拨入', 'dial_in', 'unit-3', sha256('a first secret'));
		INSERT INTO line_leases (gateway_id, holder, fence, expires_real) VALUES ('G-compound', 'worker-1', 1, clock_timestamp() + interval '1 hour'), ('g2', 'worker-1', 1, clock_timestamp() - interval '1 hour')`)
	require.NoError(t, err)
	m, err := s.Store.Meter(ctx, meter)
	require.NoError(t, err)
	now, later := time.Now(), time.Now().Add(time.Hour)
	require.NoError(t, s.Store.TellLines(ctx, []store.LineTold{{Gateway: "G-compound", Answered: &now, Asides: []store.AsideTold{{Unit: m.Unit, Tries: 3, Until: later}},
		Faults: []store.FaultTold{{Kind: "silent", Count: 3, At: now, Text: "no answer from unit"}}}}))
	require.NoError(t, s.Store.TellLines(ctx, []store.LineTold{{Gateway: "G-compound", Asides: []store.AsideTold{{Unit: m.Unit, Tries: 4, Until: later}},
		Faults: []store.FaultTold{{Kind: "silent", Count: 1, At: now, Text: "the meter does not answer: no answer in time"}}}}))
	return s, meter
}

func TestGateways(t *testing.T) {
	s, meter := utility(t)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.Get("/gateways")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Zero(t, a.Find("row-g9").Length(), "own sites only")
	require.Contains(t, a.Find("row-G-compound").Text(), "worker-1")
	require.True(t, a.Find("row-g2").HasClass("tone-danger"), "a lease that ran out holds nothing")
	require.Equal(t, "g2", a.Find("table-gateways").Find("tbody tr").First().AttrOr("data-id", ""), "what nobody owns stands first")

	one := b.Get("/gateways/G-compound")
	require.Equal(t, http.StatusOK, one.Status, one.Body)
	require.Contains(t, one.Find("row-"+string(meter)).Text(), "4", "the newest count of tries")
	require.Contains(t, one.Find("row-silent").Text(), "no answer in time")
	b.Header.Set("Accept-Language", "zh-CN")
	require.Contains(t, b.Get("/gateways/G-compound").Find("row-silent").Text(), "表计没有应答：超时无应答")
	b.Header.Set("Accept-Language", "en")
	require.Contains(t, one.Find("fact-faults").Text(), "4", "faults add up")
	require.NotContains(t, one.Find("fact-answered").Text(), "None yet", "what was told before stands")
	require.Contains(t, one.Find("why-link").Text(), "ask a administrator")
	require.Contains(t, b.Get("/gateways/g3").Find("notice").Text(), "not dialled in")
	require.Equal(t, http.StatusNotFound, b.Get("/gateways/g9").Status, "another site's gateway")
}

// A gateway that was stored with a longer cache than can be waited for says on its page that no command goes over it.
func TestBarredGateway(t *testing.T) {
	s, _ := utility(t)
	b := s.SignIn(t, webtest.Supervisor)
	require.NotContains(t, b.Get("/gateways/g2").Body, "Read only: no commands")
	_, err := s.Store.Pool.Exec(context.Background(), `UPDATE gateways SET caches_reads_ms = 30000 WHERE id IN ('g2', 'G-compound')`)
	require.NoError(t, err)
	one := b.Get("/gateways/g2")
	require.Contains(t, one.Body, "Read only: no commands")
	require.Contains(t, one.Doc().Text(), "gateway g2 answers reads from memory for 30000 ms, and only 10000 ms can be waited for")
	require.True(t, b.Get("/gateways").Find("row-G-compound").HasClass("tone-notice"))
	require.Contains(t, b.JSON(http.MethodGet, "/api/v1/gateways/g2", "").Body, `"commands_barred":"gateway g2 answers`)
}

func post(b *webtest.Browser, path string, f url.Values) webtest.Answer {
	return b.Do(http.MethodPost, path, "application/x-www-form-urlencoded", f.Encode())
}

func form(changes ...string) url.Values {
	f := url.Values{"name": {"三单元"}, "link": {"dial_in"}, "address": {""}, "registration": {"unit-3"}, "secret": {""},
		"timeout": {"2500"}, "worst": {"2000"}, "pause": {"20"}, "caches": {"0"}, "reason": {"new SIM card"}}
	for i := 0; i+1 < len(changes); i += 2 {
		f.Set(changes[i], changes[i+1])
	}
	return f
}

func TestChangeLink(t *testing.T) {
	s, _ := utility(t)
	ctx := context.Background()
	stored := func() store.Gateway {
		g, err := s.Store.Gateway(ctx, "g3")
		require.NoError(t, err)
		return g
	}
	before := stored()
	require.Equal(t, http.StatusForbidden, post(s.SignIn(t, webtest.Supervisor), "/gateways/g3", form()).Status)
	b := s.SignIn(t, webtest.Administrator)
	for want, f := range map[string]url.Values{
		"shorter than the gateway's own worst case of 3000 ms": form("worst", "3000"),
		"is no host:port":                      form("link", "transparent", "address", "10.8.0.7", "registration", ""),
		"has this address already":             form("link", "modbus_tcp", "address", "10.8.0.2:502", "registration", ""),
		"leave it empty":                       form("address", "10.8.0.7:502"),
		"leave both empty":                     form("link", "modbus_tcp", "address", "10.8.0.7:502"),
		"without spaces: write it as the unit": form("registration", "unit 3"),
		"must be 12 to 100":                    form("secret", "short"),
		"pause must lie between 0 and 10000":   form("pause", "-1"),
		"read cache must lie between 0 and 10000 ms, because every command waits for it": form("caches", "10001"),
		"the reason stands in the journal":                                               form("reason", ""),
	} {
		a := post(b, "/gateways/g3", f)
		require.Contains(t, a.Doc().Text(), want)
		require.NotEqual(t, http.StatusOK, a.Status)
		require.Equal(t, before, stored(), want)
	}
	// Another unit has the id.
	_, err := s.Store.Pool.Exec(ctx, `INSERT INTO gateways (id, site_id, name, link, registration_id, secret_sha256) VALUES ('g4', 'plaza', '四', 'dial_in', 'unit-4', sha256('x'))`)
	require.NoError(t, err)
	require.Contains(t, post(b, "/gateways/g3", form("registration", "unit-4")).Doc().Text(), "has this registration id already")

	a := post(b, "/gateways/g3", form("secret", "a-second-secret"))
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	after := stored()
	require.Equal(t, 2000, after.WorstMillis)
	require.NotEqual(t, before.Secret, after.Secret)
	page := b.Get("/gateways/g3")
	require.NotContains(t, page.Body, "second-secret")
	require.Contains(t, page.Find("timeline").Text(), "new SIM card")
	var data string
	require.NoError(t, s.Store.Pool.QueryRow(ctx, `SELECT data::text FROM journal WHERE kind = 'gateway' AND entity = 'g3' AND event = 'changed'`).Scan(&data))
	require.Contains(t, data, `"secret_replaced": true`)
	require.NotContains(t, data, "second-secret")

	require.Equal(t, http.StatusSeeOther, post(b, "/gateways/g3", form("pause", "30")).Status)
	require.Equal(t, after.Secret, stored().Secret, "an empty secret leaves it")
	require.Equal(t, http.StatusSeeOther, post(b, "/gateways/g3", form("link", "transparent", "address", "10.8.0.7:502", "registration", "")).Status)
	require.Empty(t, stored().Secret, "what doesn't dial in has none")
	require.Contains(t, post(b, "/gateways/g3", form()).Doc().Text(), "it has none yet")
}

func TestChangeLink_networks(t *testing.T) {
	s, _ := utility(t)
	outside := func(string) error { return errors.New("outside") }
	c := store.GatewayChange{ID: "g2", Name: "二号", Link: "modbus_tcp", Address: "192.0.2.7:502", TimeoutMillis: 2500}
	err := s.Store.ChangeGateway(context.Background(), store.By{Actor: "admin", Reason: "moved"}, c, outside)
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
	require.Contains(t, err.Error(), "outside the networks that gateways may be in")
	require.NoError(t, s.Store.ChangeGateway(context.Background(), store.By{Actor: "admin", Reason: "moved"}, c, nil))
}

func TestAPI(t *testing.T) {
	s, _ := utility(t)
	b := s.SignIn(t, webtest.Administrator)
	a := b.JSON(http.MethodPut, "/api/v1/gateways/g2", `{"name": "二号", "link": "modbus_tcp", "address": "10.8.0.22:502", "timeout_ms": 1000, "worst_case_ms": 2000, "pause_ms": 0, "caches_reads_ms": 0, "reason": "moved"}`)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status, a.Body)
	require.Contains(t, a.Body, "shorter than the gateway's own worst case")
	a = b.JSON(http.MethodPut, "/api/v1/gateways/g2", `{"name": "二号", "link": "modbus_tcp", "address": "10.8.0.22:502", "timeout_ms": 2000, "worst_case_ms": 2000, "pause_ms": 0, "caches_reads_ms": 0, "reason": "moved"}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, "10.8.0.22:502")
	a = b.JSON(http.MethodGet, "/api/v1/gateways/G-compound", "")
	require.Contains(t, a.Body, `"faults_24h":4`)
	require.NotContains(t, b.JSON(http.MethodGet, "/api/v1/gateways/g3", "").Body, "secret")
}
