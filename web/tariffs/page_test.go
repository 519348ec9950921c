package tariffs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
)

// file is a change of the residential tariff from 1 October on, the clock standing on 10 September 2026.
func file(t *testing.T, s *webtest.Server, from, price string) string {
	t.Helper()
	tariff, err := s.Store.Tariff(context.Background(), "zj-residential")
	require.NoError(t, err)
	p := billing.MustPrice(price)
	tariff.Versions = []billing.TariffVersion{{From: billing.MustDate(from), Components: []billing.Component{
		{Key: "energy", Name: billing.Names{ZH: "电度电费", EN: "Energy"}, Kind: billing.KindFlat, Price: &p},
	}}}
	data, err := billing.WriteTariff(tariff)
	require.NoError(t, err)
	return string(data)
}

func imported(t *testing.T, b *webtest.Browser, text string) string {
	t.Helper()
	a := b.Post("/tariffs/import", "file", text, "why", "notice 7/2026", "nonce", "n")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	return a.Header.Get("Location")
}

func state(t *testing.T, s *webtest.Server, at string) billing.TariffState {
	t.Helper()
	c, err := s.Store.TariffChange(context.Background(), billing.TariffChangeID(strings.TrimPrefix(at, "/tariff-changes/")))
	require.NoError(t, err)
	return c.State
}

func simulate(t *testing.T, s *webtest.Server, b *webtest.Browser, at, nonce string) {
	t.Helper()
	a := b.Post(at+"/simulate", "nonce", nonce)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	id := billing.TariffChangeID(strings.TrimPrefix(at, "/tariff-changes/"))
	require.Eventually(t, func() bool {
		sim, err := s.Store.LatestSimulation(context.Background(), id)
		return err == nil && sim != nil && sim.State == "done"
	}, webtest.Patience, webtest.Pause)
}

func TestImport_namesThePlaceAndKeepsTheText(t *testing.T) {
	s := webtest.New(t)
	admin := s.SignIn(t, webtest.Administrator)
	spoiled := strings.Replace(file(t, s, "2026-10-01", "0.55"), `"price"`, `"pirce"`, 1)
	a := admin.Post("/tariffs/import", "file", spoiled, "why", "notice 7")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-file").Text(), `versions[0].components[0].pirce: there is no field "pirce" here`)
	require.Equal(t, spoiled, a.Find("field-file").Find("textarea").Text())
	a = admin.Post("/tariffs/import", "file", file(t, s, "2026-10-01", "0.55"))
	require.Contains(t, a.Find("error-why").Text(), "fill in this field")
	a = admin.Post("/tariffs/import", "file", file(t, s, "2026-10-01", "0.55"), "why", "w")
	require.Equal(t, http.StatusServiceUnavailable, a.Status, "the engine is away")

	for _, who := range []string{webtest.Supervisor, webtest.Clerk, webtest.Manager} {
		b := s.SignIn(t, who)
		require.Contains(t, b.Get("/tariffs/import").Body, "Your role may not draft prices")
		require.Equal(t, http.StatusForbidden, b.Post("/tariffs/import", "file", "{}", "why", "w").Status)
		require.Equal(t, http.StatusForbidden, b.Post("/tariffs/zj-residential/draft", "why", "w").Status)
	}
	rows, total, err := s.Store.TariffChangeRows(context.Background(), store.TariffChangeFilter{}, 10, 0)
	require.NoError(t, err)
	require.Zero(t, total)
	require.Empty(t, rows)
}

func TestTariffPage_showsPricesAndExportsThem(t *testing.T) {
	s := webtest.New(t)
	s.Account(t, webtest.Compound, "A1", 0)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.Get("/tariffs")
	require.Equal(t, 1, a.Find("row-zj-residential").Length())
	require.Contains(t, a.Find("row-zj-residential").Text(), "1")
	a = b.Get("/tariffs/zj-residential")
	require.Contains(t, a.Body, "0–2760 kWh a year")
	require.Contains(t, a.Body, "0.538")
	b.Header.Set("Accept-Language", "zh")
	require.Contains(t, b.Get("/tariffs/zj-residential").Body, "第 1 档 0–2760 kWh/年")
	for _, id := range []string{"zj-residential", "js-commercial-tou", "bj-water-residential"} {
		a = b.Get("/tariffs/" + id + "/file")
		want, err := s.Store.Tariff(context.Background(), billing.TariffID(id))
		require.NoError(t, err)
		got, err := billing.ParseTariff([]byte(a.Body))
		require.NoError(t, err, "what goes out comes in")
		require.Equal(t, want, got)
		require.Contains(t, a.Header.Get("Content-Disposition"), id+".json")
	}
	require.Equal(t, http.StatusNotFound, b.Get("/tariffs/nothing").Status)
	require.Equal(t, http.StatusNotFound, b.Get("/tariff-changes/T99").Status)
}

func TestChange_wholeLife(t *testing.T) {
	s := webtest.NewWithEngine(t)
	s.Account(t, webtest.Compound, "A1", 0)
	admin, first, second := s.SignIn(t, webtest.Administrator), s.SignIn(t, webtest.Supervisor), s.SignIn(t, webtest.Manager)
	at := imported(t, admin, file(t, s, "2026-10-01", "0.55"))

	a := admin.Get(at)
	require.Contains(t, a.Find("why-submit").Text(), "Simulate this revision first")
	require.Equal(t, http.StatusConflict, admin.Post(at+"/submit", "revision", "1", "nonce", "s0").Status)
	simulate(t, s, admin, at, "m1")
	require.Equal(t, 1, admin.Get(at).Find("fact-sim-skipped").Length(), "A1 has no readings")
	require.Equal(t, http.StatusSeeOther, admin.Post(at+"/submit", "revision", "1", "nonce", "s1").Status)
	require.Contains(t, admin.Get(at).Find("why-approve").Text(), "Your role may not approve or reject prices")
	require.Equal(t, 1, first.Get("/tariff-changes?waiting=1").Find("table-changes").Find("[data-row]").Length())
	require.Equal(t, http.StatusSeeOther, first.Post(at+"/approve", "revision", "1", "nonce", "a1").Status)
	require.Contains(t, first.Get(at).Find("why-approve").Text(), "you have approved this change already")
	require.Equal(t, http.StatusConflict, first.Post(at+"/approve", "revision", "1", "nonce", "a2").Status)
	require.Equal(t, 1, first.Get("/tariff-changes?waiting=1").Find("empty").Length(), "nothing waits for those who have approved")

	// An edit voids the approval, and asks for a new simulation.
	edit := []string{"revision", "1", "from", "2026-10-01", "why", "one digit was wrong", "nonce", "e1",
		"c0.kind", "flat", "c0.key", "energy", "c0.zh", "电度电费", "c0.en", "Energy", "c0.price", "0.56"}
	require.Equal(t, http.StatusSeeOther, admin.Post(at+"/edit", edit...).Status)
	require.Equal(t, billing.TariffDraft, state(t, s, at))
	a = second.Post(at+"/approve", "revision", "1", "nonce", "b0")
	require.Equal(t, http.StatusConflict, a.Status)
	a = admin.Post(at+"/edit", edit...)
	require.Equal(t, http.StatusSeeOther, a.Status, "the same click again is one edit")
	simulate(t, s, admin, at, "m2")
	require.Equal(t, http.StatusSeeOther, admin.Post(at+"/submit", "revision", "2", "nonce", "s2").Status)
	a = first.Post(at+"/approve", "revision", "1", "nonce", "a3")
	require.Contains(t, a.Find("action-error").Text(), "edited since you opened it")
	require.Equal(t, http.StatusSeeOther, first.Post(at+"/approve", "revision", "2", "nonce", "a4").Status)
	require.Equal(t, http.StatusSeeOther, second.Post(at+"/approve", "revision", "2", "nonce", "b1").Status)
	require.Equal(t, billing.TariffPublished, state(t, s, at))

	tariff, err := s.Store.Tariff(context.Background(), "zj-residential")
	require.NoError(t, err)
	require.Equal(t, "0.56", tariff.Versions[len(tariff.Versions)-1].Components[0].Price.String())
	a = second.Get("/tariffs/zj-residential")
	require.Contains(t, a.Find("v-2026-10-01").Text(), "made by 吴管理, approved by 王主管 and 孙经理")
	a = second.Get(at)
	require.Contains(t, a.Find("row-energy//").Text(), "0.56")
	require.GreaterOrEqual(t, a.Find("event").Length(), 10, "every step stands in the timeline")
	require.Equal(t, http.StatusConflict, admin.Post(at+"/withdraw", "revision", "2", "reason", "too late", "nonce", "w").Status)
}

func TestChange_ceilingRefusesBesideTheControl(t *testing.T) {
	s := webtest.NewWithEngine(t)
	s.Account(t, webtest.Compound, "A1", 0)
	admin, manager := s.SignIn(t, webtest.Administrator), s.SignIn(t, webtest.Manager)
	require.Contains(t, admin.Get("/tariffs/ceilings").Find("why-ceiling").Text(), "Your role may not set a price ceiling")
	a := manager.Post("/tariffs/ceilings", "site", "compound", "service", "power", "from", "2026-09-10", "price", "0,6", "reason", "notice 3")
	require.Contains(t, a.Find("error-price").Text(), "is not a plain decimal number")
	a = manager.Post("/tariffs/ceilings", "site", "compound", "service", "power", "from", "2026-09-10", "price", "0.6", "reason", "notice 3")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Contains(t, manager.Get("/tariffs/ceilings").Find("notice").Text(), "zj-residential", "the dearest step in force is above it already")
	require.Contains(t, manager.JSON("GET", "/api/v1/price-ceilings/above", "").Body, `"tariff":"zj-residential"`)

	at := imported(t, admin, file(t, s, "2026-10-01", "0.65"))
	require.Contains(t, admin.Get(at).Find("notice").Text(), "above a ceiling")
	simulate(t, s, admin, at, "m")
	a = admin.Post(at+"/submit", "revision", "1", "nonce", "s")
	require.Equal(t, http.StatusConflict, a.Status)
	require.Contains(t, a.Find("action-error").Text(), "component energy: one kWh would cost up to 0.65 yuan, above the ceiling of 0.6 yuan that site compound has")
	admin.Header.Set("Accept-Language", "zh")
	require.Contains(t, admin.Post(at+"/submit", "revision", "1", "nonce", "s2").Find("action-error").Text(), "超过站点 compound")
	require.Equal(t, billing.TariffDraft, state(t, s, at))
	past := imported(t, s.SignIn(t, webtest.Administrator), strings.Replace(file(t, s, "2026-09-10", "0.5"), "zj-residential", "zj-new", 1))
	a = admin.Post(past+"/submit", "revision", "1", "nonce", "s3")
	require.Contains(t, a.Find("action-error").Text(), "更正")
}

func TestEditor_keepsWhatWasTypedAndNamesTheField(t *testing.T) {
	s := webtest.New(t)
	admin := s.SignIn(t, webtest.Administrator)
	a := admin.Get("/tariffs/js-commercial-tou/draft?add=steps")
	require.Equal(t, "1.428", a.Find("field-c0.sharp").Find("input").AttrOr("value", ""))
	require.Equal(t, 1, a.Find("component-2").Length())
	a = admin.Post("/tariffs/js-commercial-tou/draft", "from", "2026-10-01", "why", "w", "c0.kind", "bands", "c0.key", "energy", "c0.zh", "电", "c0.en", "E",
		"c0.sharp", "1.5x", "c0.peak", "1.2", "c0.flat", "0.7", "c0.valley", "0.2", "c0.deep_valley", "", "c1.kind", "steps", "c1.key", "step", "c1.zh", "阶", "c1.en", "S",
		"c1.accumulate", "week", "c1.tiers", "2760 0\n0.05")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-c0.sharp").Text(), "not a plain decimal number")
	require.Contains(t, a.Find("error-c0.deep_valley").Text(), "fill in this field")
	require.Contains(t, a.Find("error-c1.accumulate").Text(), "choose one of the answers")
	require.Contains(t, a.Find("error-c1.tiers").Text(), "line 2: write the upper edge")
	require.Equal(t, "1.5x", a.Find("field-c0.sharp").Find("input").AttrOr("value", ""))
	require.Equal(t, "2760 0\n0.05", a.Find("field-c1.tiers").Find("textarea").Text())
}

func TestImport_takesAnUploadedFile(t *testing.T) {
	s := webtest.NewWithEngine(t)
	admin := s.SignIn(t, webtest.Administrator)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("upload", "t.json")
	require.NoError(t, err)
	_, err = part.Write([]byte(file(t, s, "2026-10-01", "0.55")))
	require.NoError(t, err)
	require.NoError(t, w.WriteField("why", "notice 7"))
	require.NoError(t, w.Close())
	a := admin.Do(http.MethodPost, "/tariffs/import", w.FormDataContentType(), form.String())
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Equal(t, billing.TariffDraft, state(t, s, a.Header.Get("Location")))
}

// The same life over the API, for programs.
func TestAPI_wholeLife(t *testing.T) {
	s := webtest.NewWithEngine(t)
	admin, first, second := s.SignIn(t, webtest.Administrator), s.SignIn(t, webtest.Supervisor), s.SignIn(t, webtest.Manager)
	body := func(price string, revision int) string {
		raw, err := json.Marshal(map[string]any{"file": json.RawMessage(file(t, s, "2026-10-01", price)), "why": "notice 7", "revision": revision})
		require.NoError(t, err)
		return string(raw)
	}
	a := admin.JSON("POST", "/api/v1/tariff-changes", strings.Replace(body("0.55", 0), `"kind"`, `"kin"`, 1))
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Body, "versions[0].components[0].kin")
	a = admin.JSON("POST", "/api/v1/tariff-changes", body("0.55", 0))
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	var c struct {
		ID       string `json:"id"`
		State    string `json:"state"`
		Revision int    `json:"revision"`
	}
	read := func() { require.NoError(t, json.Unmarshal([]byte(a.Body), &c), a.Body) }
	read()
	at := "/api/v1/tariff-changes/" + c.ID
	a = admin.JSON("PUT", at, body("0.57", 1))
	read()
	require.Equal(t, 2, c.Revision)
	require.Equal(t, http.StatusForbidden, second.JSON("POST", at+"/submit", `{"revision":2}`).Status)
	require.Equal(t, http.StatusConflict, admin.JSON("POST", at+"/submit", `{"revision":1}`).Status)
	require.Equal(t, http.StatusOK, admin.JSON("POST", at+"/submit", `{"revision":2}`).Status)
	require.Equal(t, http.StatusUnprocessableEntity, first.JSON("POST", at+"/reject", `{"revision":2}`).Status, "a rejection says why")
	require.Equal(t, http.StatusForbidden, admin.JSON("POST", at+"/approve", `{"revision":2}`).Status)
	require.Equal(t, http.StatusOK, first.JSON("POST", at+"/approve", `{"revision":2}`).Status)
	require.Equal(t, http.StatusConflict, first.JSON("POST", at+"/approve", `{"revision":2}`).Status)
	a = second.JSON("POST", at+"/approve", `{"revision":2}`)
	read()
	require.Equal(t, "published", c.State)
	a = admin.JSON("GET", "/api/v1/tariffs/zj-residential", "")
	require.Contains(t, a.Body, `"0.57"`)
	a = second.JSON("POST", "/api/v1/sites/compound/price-ceilings", `{"service":"power","from":"2026-09-01","price":"0.9","reason":"notice"}`)
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	require.Contains(t, admin.JSON("GET", "/api/v1/price-ceilings", "").Body, `"price":"0.9"`)
}

// A meter for which other prices are in force is not among those that are left, and its row says so.
func TestChange_overtakenMeters(t *testing.T) {
	s := webtest.New(t)
	meter := s.Account(t, webtest.Compound, "A9", 5_000)
	ctx := context.Background()
	_, err := s.Store.Pool.Exec(ctx, `INSERT INTO tariff_changes (id, tariff_id, service, name_zh, name_en, from_day, version, state, editors, made_by, made_at, closed_at, in_force_at, approved1_by, approved1_at, approved2_by, approved2_at)
		VALUES ('T-9', 'zj-residential', 'power', 'x', 'x', '2026-09-01', '{}', 'in_force', '{admin}', 'admin', business_now(), business_now(), business_now(), 'sup1', business_now(), 'manager', business_now())`)
	require.NoError(t, err)
	_, err = s.Store.Pool.Exec(ctx, `INSERT INTO tariff_pushes (change_id, meter_id, account_id, site_id, gateway_id, state, due_at, old_prices, prices, attempts, error, settled_at)
		VALUES ('T-9', $1, 'A9', 'compound', 'G-compound', 'overtaken', business_now(), '{1,1,1,1,1}', '{2,2,2,2,2}', 1, $2, business_now())`, meter, store.PricesOvertaken)
	require.NoError(t, err)
	b := s.SignIn(t, webtest.Supervisor)
	for lang, want := range map[string][]string{
		"en": {"1 meter has other prices in force by now", "Overtaken", store.PricesOvertaken}, "zh": {"1 只表已执行他价", "已被他价取代", "该表现已执行他价：不再下发此价"},
	} {
		b.Header.Set("Accept-Language", lang)
		page := b.Get("/tariff-changes/T-9")
		require.Contains(t, page.Find("progress").Text(), want[0])
		require.Contains(t, page.Find("row-"+string(meter)).Text(), want[1])
		require.Contains(t, page.Find("row-"+string(meter)).Text(), want[2])
		require.Zero(t, page.Find("action-push").Length(), "nobody is left to be tried")
		require.Equal(t, 1, b.Get("/tariff-changes/T-9/meters?state=overtaken").Find("row-"+string(meter)).Length())
	}
}
