package corrections_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
)

const bill = billing.BillID("B1001-202609-1")

// issued serves an engine and a site whose September is issued: one bill of 1,000 kWh, and 10 kWh of October.
func issued(t *testing.T) (*webtest.Server, billing.MeterID) {
	t.Helper()
	s := webtest.NewWithEngine(t)
	m := s.Account(t, webtest.Compound, "1001", 500_000)
	flat := func(total int64) billing.Registers { return billing.Registers{total, 0, 0, total, 0, 0} }
	s.Read(t, webtest.Compound, billing.MustDate("2026-09-30"), map[billing.MeterID]billing.Registers{m: flat(95_000)})
	s.Read(t, webtest.Compound, billing.MustDate("2026-10-01"), map[billing.MeterID]billing.Registers{m: flat(100_000)})
	s.Read(t, webtest.Compound, billing.MustDate("2026-10-02"), map[billing.MeterID]billing.Registers{m: flat(101_000)})
	storetest.SetClock(t, s.Store, billing.MustDate("2026-10-03").At(9, 0, storetest.Zone))
	ctx, by := context.Background(), store.By{Actor: "workflow"}
	period := billing.MonthPeriod(billing.MustDate("2026-09-01"))
	run := billing.RunID("compound/2026-09/1")
	_, err := s.Store.OpenRun(ctx, by, store.NewRun{ID: run, Site: webtest.Compound, Period: period, Version: 1})
	require.NoError(t, err)
	from, to := billing.MustDate("2026-09-10").Start(storetest.Zone), period.To.Start(storetest.Zone)
	opening, closing := int64(0), int64(100_000)
	require.NoError(t, s.Store.SaveDrafts(ctx, by, run, []store.Draft{{
		ID: bill, Account: "1001", Tariff: "zj-residential", Engine: "rating/1", Quantity: 100_000, TotalFen: 53_800,
		Input:    map[string]any{"fittings": []any{map[string]any{"no": 1, "meter": m}}, "points": []any{map[string]any{"at": to, "registers": flat(100_000), "fitting": 1}}},
		Readings: []store.BillReading{{Meter: m, Ratio: 1, Digits: 8, From: from, To: to, Opening: flat(0), Closing: flat(100_000)}},
		Lines: []store.BillLine{{Seq: 1, Component: "energy", NameZH: "电度电费", NameEN: "Energy", Tier: 1, FromAt: from, ToAt: to, Opening: &opening, Closing: &closing,
			Quantity: billing.MustQuantity("1000"), Price: billing.MustPrice("0.538"), AmountFen: 53_800}},
	}}))
	_, err = s.Store.SumRun(ctx, by, run)
	require.NoError(t, err)
	require.NoError(t, s.Store.VerifyRun(ctx, by, run, webtest.Supervisor))
	require.NoError(t, s.Store.ApproveIssue(ctx, by, run, webtest.Supervisor2))
	_, err = s.Store.IssueBills(ctx, by, run, 1, 10)
	require.NoError(t, err)
	require.NoError(t, s.Store.FinishIssue(ctx, by, run))
	return s, m
}

// A bill whose reading was changed after its issue stands on the page with the way to its correction, which confirms the reading as it is.
func TestCorrections_showBillsThatWait(t *testing.T) {
	s, m := issued(t)
	b := s.SignIn(t, webtest.Supervisor)
	require.Zero(t, b.Get("/corrections").Find("table-stale").Length())
	_, err := s.Store.Pool.Exec(context.Background(), `INSERT INTO readings SELECT meter_id, freeze_at, version + 1, taken_at, taken_real, 'manual', ARRAY[98000,0,0,98000,0,0]::bigint[], remaining_fen,
		purchase_count, supply, forced, status_word, power_w, clock_skew_s, interpolated, doubtful, cycle_id, 'sup1', 'away' FROM current_readings WHERE meter_id = $1 AND freeze_at = $2`,
		m, billing.MustDate("2026-10-01").Start(storetest.Zone))
	require.NoError(t, err)
	section := b.Get("/corrections").Find("table-stale")
	require.Contains(t, section.Text(), "1,000.00")
	require.Contains(t, section.Text(), "980.00")
	href := section.Find("a.row-link").AttrOr("href", "")
	require.Contains(t, href, "kind=reading")
	require.Equal(t, http.StatusOK, b.Get(href).Status)
	a := b.Post("/corrections", "kind", "reading", "meter", string(m), "at", "2026-09-30T16:00:00Z", "nonce", "n1", "reason", "away",
		"value-total", "980", "value-sharp", "0", "value-peak", "0", "value-flat", "980", "value-valley", "0", "value-deep_valley", "0")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
}

// The whole way over the pages, on a real engine: from the bill to its correction, the refused maker, two approvals, the reversed bill and
// its successor.
func TestCorrection_fromABillToItsSuccessor(t *testing.T) {
	s, m := issued(t)
	b := s.SignIn(t, webtest.Supervisor)
	require.Equal(t, 1, b.Get("/corrections").Find("empty").Length())
	require.Equal(t, 1, b.Get("/bills/"+string(bill)).Doc().Find(`a[href="/corrections/new?about=`+string(bill)+`"]`).Length(), "correct this…")
	require.Zero(t, s.SignIn(t, webtest.Clerk).Get("/bills/"+string(bill)).Doc().Find(`a[href^="/corrections/new"]`).Length())

	from := b.Get("/corrections/new?about=" + string(bill))
	require.Equal(t, http.StatusOK, from.Status, from.Body)
	to := ""
	from.Find("table-bill").Find("a.row-link").Each(func(_ int, a *goquery.Selection) {
		if href := a.AttrOr("href", ""); strings.Contains(href, "kind=reading") && strings.Contains(href, "2026-09-30T16") {
			to = href
		}
	})
	require.NotEmpty(t, to, from.Body)
	form := b.Get(to)
	require.Equal(t, http.StatusOK, form.Status, form.Body)
	fields := []string{"kind", "reading", "meter", string(m), "at", "2026-09-30T16:00:00Z", "nonce", "n1"}
	values := func(total string) []string {
		return append(append([]string{}, fields...), "value-total", total, "value-sharp", "0", "value-peak", "0", "value-flat", total, "value-valley", "0", "value-deep_valley", "0")
	}
	a := b.Post("/corrections", append(values("980"), "reason", "")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-reason").Text(), "say why")
	a = b.Post("/corrections", append(values("1020"), "reason", "photo")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("action-error").Text(), "above the later reading", "the refusal stands beside the form")
	require.Contains(t, a.Body, `value="1020"`, "what was typed is kept")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post("/corrections", append(values("980"), "reason", "photo")...).Status)

	a = b.Post("/corrections", append(values("980"), "reason", "the photo shows another number", "evidence", "photo 7")...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	one := a.Header.Get("Location")
	require.Equal(t, one, b.Post("/corrections", append(values("980"), "reason", "the photo shows another number", "evidence", "photo 7")...).Header.Get("Location"), "a double click is one correction")

	page := b.Get(one)
	require.Equal(t, http.StatusOK, page.Status, page.Body)
	row := page.Find("row-" + string(bill))
	for _, part := range []string{"1,000.00", "980.00", "538.00", "527.24", "-10.76"} {
		require.Contains(t, strings.ReplaceAll(row.Text(), "−", "-"), part)
	}
	require.Contains(t, page.Find("row-1001").Text(), "+10.76", "the balance that it touches")
	require.Contains(t, page.Find("why-approve").Text(), "colleague", "the maker's button explains itself")
	digest := page.Doc().Find(`input[name="digest"]`)
	require.Zero(t, digest.Length())

	second := s.SignIn(t, webtest.Supervisor2)
	seen := second.Get(one).Doc().Find(`input[name="digest"]`).AttrOr("value", "")
	require.NotEmpty(t, seen)
	require.Equal(t, http.StatusForbidden, b.Post(one+"/approve", "digest", seen, "nonce", "own").Status, "past the button, too")
	require.Equal(t, http.StatusConflict, second.Post(one+"/approve", "digest", "00", "nonce", "a0").Status, "another preview than the one that was seen")
	require.Equal(t, http.StatusSeeOther, second.Post(one+"/approve", "digest", seen, "nonce", "a1").Status)
	require.Contains(t, second.Get(one).Find("why-approve").Text(), "already")
	require.Equal(t, http.StatusSeeOther, s.SignIn(t, webtest.Manager).Post(one+"/approve", "digest", seen, "nonce", "a2").Status, "money goes back: two approvals")
	require.Eventually(t, func() bool { return strings.Contains(b.Get(one).Find("page-head").Text(), "Applied") }, webtest.Patience, webtest.Pause)

	old := b.Get("/bills/" + string(bill))
	require.Contains(t, old.Find("page-head").Text(), "Reversed")
	successor := old.Find("notice").Find("a").AttrOr("href", "")
	require.Equal(t, "/bills/B1001-202609-2", successor)
	fresh := b.Get(successor)
	require.Equal(t, "/bills/"+string(bill), fresh.Find("notice").Find("a").AttrOr("href", ""), "both ways")
	require.Equal(t, "52724", fresh.Find("fact-total").Find("[data-fen]").AttrOr("data-fen", ""))
	csv := b.Get(one + "/preview.csv")
	require.Contains(t, csv.Body, "B1001-202609-1,1001,")
	require.Contains(t, csv.Body, ",538.00,527.24,-10.76,done,B1001-202609-2")
	require.Contains(t, b.Get("/trace?q="+string(m)).Body, strings.TrimPrefix(one, "/corrections/"), "any number leads to it")
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get(one).Status)
}

// Over the API: a correction dated on another day, one of an unknown meter, and a rejected one.
func TestCorrection_overTheAPI(t *testing.T) {
	s, m := issued(t)
	b := s.SignIn(t, webtest.Supervisor)
	change := `{"reading": {"meter": "` + string(m) + `", "at": "2026-09-30T16:00:00Z", "registers": [98000, 0, 0, 98000, 0, 0]}}`
	a := b.JSON(http.MethodPost, "/api/v1/corrections", `{"change": `+change+`, "reason": "photo", "dated_on": "2026-09-30"}`)
	require.Equal(t, http.StatusConflict, a.Status, a.Body)
	require.Contains(t, a.Body, "not open for entries")
	a = b.JSON(http.MethodPost, "/api/v1/corrections", `{"change": {"reading": {"meter": "M9", "at": "2026-09-30T16:00:00Z", "registers": [1]}}, "reason": "photo"}`)
	require.Equal(t, http.StatusNotFound, a.Status, a.Body)
	require.Contains(t, a.Body, "there is no meter")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Manager).JSON(http.MethodPost, "/api/v1/corrections", `{"change": `+change+`, "reason": "photo"}`).Status)
	list := b.JSON(http.MethodGet, "/api/v1/corrections", "")
	require.Contains(t, list.Body, `"total":0`)

	a = b.JSON(http.MethodPost, "/api/v1/corrections", `{"change": `+change+`, "reason": "photo"}`)
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	rows, total, err := s.Store.CorrectionPage(context.Background(), store.CorrectionFilter{Sites: []billing.SiteID{webtest.Compound}}, 10, 0)
	require.NoError(t, err)
	require.Equal(t, 1, total)
	one := "/api/v1/corrections/" + string(rows[0].ID)
	require.Contains(t, b.JSON(http.MethodGet, one+"/bills", "").Body, `"new_fen":52724`)
	require.Contains(t, b.JSON(http.MethodGet, one+"/accounts", "").Body, `"bills_fen":1076`)
	a = b.JSON(http.MethodPost, one+"/reject", `{"reason": "my own"}`)
	require.Equal(t, http.StatusForbidden, a.Status, "one's own is withdrawn, not rejected: %s", a.Body)
	a = s.SignIn(t, webtest.Supervisor2).JSON(http.MethodPost, one+"/reject", `{"reason": "the photo is blurred"}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, `"state":"rejected"`)
	require.Equal(t, http.StatusConflict, b.JSON(http.MethodPost, one+"/resume", "").Status)
}

// A customer's data: a shop that was billed as a home, with the persons who are registered.
func TestCorrection_aCustomersData(t *testing.T) {
	s, _ := issued(t)
	b := s.SignIn(t, webtest.Supervisor)
	form := b.Get("/corrections/new?about=1001&kind=terms&account=1001")
	require.Equal(t, http.StatusOK, form.Status, form.Body)
	require.Equal(t, "household", form.Find("field-class").Find("option[selected]").AttrOr("value", ""))
	fields := []string{"kind", "terms", "account", "1001", "from", "2026-09-10", "to", "zj-residential", "choice", "", "register", "", "nonce", "n1", "reason", "the licence of the shop"}
	a := b.Post("/corrections", append(fields, "class", "embassy", "persons", "100")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Equal(t, 1, a.Find("error-class").Length())
	require.Equal(t, 1, a.Find("error-persons").Length())
	a = b.Post("/corrections", append(fields, "class", "commercial", "persons", "5")...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	change := b.Get(a.Header.Get("Location")).Find("table-change").Text()
	for _, part := range []string{"Class of customer", "Household", "Commercial", "Persons registered", "5"} {
		require.Contains(t, change, part)
	}
}

func TestCorrection_ofTheUseBeforeOpening(t *testing.T) {
	s, _ := issued(t)
	b := s.SignIn(t, webtest.Supervisor)
	href := b.Get("/corrections/new?about=1001").Doc().Find(`a[href*="kind=carry_over"]`).AttrOr("href", "")
	form := b.Get(href)
	require.Equal(t, http.StatusOK, form.Status, form.Body)
	require.Equal(t, "0.00", form.Find("field-use").Find("input").AttrOr("value", ""))
	fields := []string{"kind", "carry_over", "account", "1001", "nonce", "n1", "reason", "the former system's bills"}
	for _, use := range []string{"", "-1", "much", "1.234"} {
		a := b.Post("/corrections", append(fields, "use", use)...)
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, use)
		require.Equal(t, 1, a.Find("error-use").Length(), use)
	}
	a := b.Post("/corrections", append(fields, "use", "0")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Body, "nothing would change")
	a = b.Post("/corrections", append(fields, "use", "2,750.5")...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	change := b.Get(a.Header.Get("Location")).Find("table-change").Text()
	for _, part := range []string{"Used in the year before opening on", "0.00", "2,750.50"} {
		require.Contains(t, change, part)
	}
	a = b.JSON(http.MethodPost, "/api/v1/corrections", `{"change": {"carry_over": {"account": "1001", "use": 275050}}, "reason": "the former system's bills"}`)
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	require.Contains(t, a.Body, `"kind":"carry_over"`)
}

func TestCorrection_aQuantityOfAMonth(t *testing.T) {
	s, _ := issued(t)
	b := s.SignIn(t, webtest.Supervisor)
	href := b.Get("/corrections/new?about="+string(bill)).Doc().Find(`a[href*="kind=quantity"]`).AttrOr("href", "")
	form := b.Get(href)
	require.Equal(t, "2026-09", form.Find("field-month").Find("input").AttrOr("value", ""))
	fields := []string{"kind", "quantity", "account", "1001", "nonce", "n1", "reason", "the slip says so"}
	a := b.Post("/corrections", append(fields, "month", "soon", "quantity", "kW", "value", "-1")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	for _, field := range []string{"month", "quantity", "value"} {
		require.Equal(t, 1, a.Find("error-"+field).Length(), field)
	}
	a = b.Post("/corrections", append(fields, "month", "2026-09", "quantity", "kvarh", "value", "12.5")...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Contains(t, b.Get(a.Header.Get("Location")).Find("table-change").Text(), "12.5")
}
