package adjustments_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
)

const bill = webtest.IssuedBill

func issued(t *testing.T) (*webtest.Server, billing.MeterID) { return webtest.Issued(t) }

func plain(text string) string { return strings.ReplaceAll(text, "−", "-") }

// The whole way over the pages, on a real engine: from the meter to its test, the refused entries, the derivation, two approvals by others,
// the account's page and the bill's.
//
// By hand: fitted on 10 September, right again on 1 October; of the 21 days the latest 10 count. 1,000 kWh at an even rate: 523.80 until
// 21 September and 476.20 after. 5 % too much: 476.20 ÷ 1.05 = 453.52, 22.68 less. 977.32 × 0.538 = 525.80, less 538.00 is −12.20.
func TestAdjustment_fromAMeterToTheAccount(t *testing.T) {
	s, m := issued(t)
	b := s.SignIn(t, webtest.Supervisor)
	require.Equal(t, 1, b.Get("/adjustments").Find("empty").Length())
	from := "/adjustments/new?meter=" + string(m)
	require.Equal(t, 1, b.Get("/meters/"+string(m)).Doc().Find(`a[href="`+from+`"]`).Length(), "adjust for a fault…")
	require.Zero(t, s.SignIn(t, webtest.Clerk).Get("/meters/"+string(m)).Doc().Find(`a[href^="/adjustments/new"]`).Length())
	require.Contains(t, b.Get("/adjustments/new?meter=M404").Body, "check its number")
	form := b.Get(from + "&kind=meter_error")
	require.Equal(t, http.StatusOK, form.Status, form.Body)

	entry := func(more ...string) []string {
		return append([]string{"kind", "meter_error", "meter", string(m), "corrected", "2026-10-01", "nonce", "n1"}, more...)
	}
	a := b.Post("/adjustments", entry("reason", "")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-reason").Text(), "say why")
	a = b.Post("/adjustments", entry("reason", "tested")...)
	require.Contains(t, a.Find("action-error").Text(), "no test of meter", "the refusal stands beside the form")

	test := []string{"kind", "meter_error", "meter", string(m), "tested_on", "2026-10-01", "certificate", "JD-17", "nonce", "t1"}
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post("/adjustments/tests", append(test, "error", "5")...).Status)
	a = b.Post("/adjustments/tests", append(test, "error", "five")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-error").Text(), "not a plain decimal number")
	require.Equal(t, http.StatusSeeOther, b.Post("/adjustments/tests", append(test, "error", "5")...).Status)
	require.Contains(t, b.Get(from).Find("table-tests").Text(), "JD-17")

	a = b.Post("/adjustments", entry("reason", "the test found 5 percent", "evidence", "JD-17")...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	one := a.Header.Get("Location")
	require.Equal(t, one, b.Post("/adjustments", entry("reason", "the test found 5 percent", "evidence", "JD-17")...).Header.Get("Location"), "a double click is one adjustment")
	page := b.Get(one)
	require.Equal(t, http.StatusOK, page.Status, page.Body)
	for _, part := range []string{string(bill), "1000.00 kWh", "977.32 kWh", "0.538", "538.00", "525.80", "-12.20"} {
		require.Contains(t, plain(page.Find("row-1").Text()), part)
	}
	require.Contains(t, page.Find("fact-time").Text(), "even rate", "21 September has no reading")
	require.Contains(t, page.Find("why-approve").Text(), "colleague", "the maker's button explains itself")

	second := s.SignIn(t, webtest.Supervisor2)
	seen := second.Get(one).Doc().Find(`input[name="digest"]`).AttrOr("value", "")
	require.NotEmpty(t, seen)
	require.Equal(t, http.StatusForbidden, b.Post(one+"/approve", "digest", seen, "nonce", "own").Status, "past the button, too")
	require.Equal(t, http.StatusConflict, second.Post(one+"/approve", "digest", "00", "nonce", "a0").Status)
	require.Equal(t, http.StatusSeeOther, second.Post(one+"/approve", "digest", seen, "nonce", "a1").Status)
	require.Contains(t, second.Get(one).Find("why-approve").Text(), "already")
	require.NotEqual(t, http.StatusSeeOther, second.Post(one+"/approve", "digest", seen, "nonce", "a1b").Status)
	balance := func() string {
		return b.Get("/accounts/1001").Find("fact-balance").Find("[data-fen]").AttrOr("data-fen", "")
	}
	was := balance()
	require.Equal(t, http.StatusSeeOther, s.SignIn(t, webtest.Manager).Post(one+"/approve", "digest", seen, "nonce", "a2").Status)
	require.NotEqual(t, was, balance())
	require.Contains(t, b.Get(one).Find("page-head").Text(), "Booked")
	account := b.Get("/accounts/1001")
	require.Contains(t, plain(account.Find("table-adjustments").Text()), "-12.20")
	require.Contains(t, account.Find("table-adjustments").Text(), strings.TrimPrefix(one, "/adjustments/"))
	of := b.Get("/bills/" + string(bill))
	require.Equal(t, one, of.Find("notice").Find("a").AttrOr("href", ""), "the bill names it, and stays as it was")
	require.Contains(t, of.Find("page-head").Text(), "Issued")
	require.Contains(t, b.Get("/trace?q="+url.QueryEscape(string(m))).Body, strings.TrimPrefix(one, "/adjustments/"), "any number leads to it")
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get(one).Status)
	zh := b.Get(one + "?lang=zh")
	require.Equal(t, http.StatusOK, zh.Status)
	require.Eventually(t, func() bool {
		messages, _, err := s.Store.MessagePage(context.Background(), store.MessageFilter{Sites: []billing.SiteID{webtest.Compound}, Account: "1001"}, 10, 0)
		return err == nil && len(messages) == 1 && messages[0].Kind == "refunded" && messages[0].State == billing.MessageDelivered
	}, webtest.Patience, webtest.Pause, "the customer is told")
}

// Over the API: a fault that can't be meant, one that is rejected, and one that is withdrawn.
func TestAdjustment_overTheAPI(t *testing.T) {
	s, m := issued(t)
	b := s.SignIn(t, webtest.Supervisor)
	fault := func(percent string) string {
		return `{"kind": "wrong_wiring", "meter": "` + string(m) + `", "corrected": "2026-10-01", "percent": "` + percent + `", "reason": "wired wrongly"}`
	}
	for percent, status := range map[string]int{"0": http.StatusUnprocessableEntity, "-100": http.StatusUnprocessableEntity, "1.23456": http.StatusUnprocessableEntity} {
		a := b.JSON(http.MethodPost, "/api/v1/adjustments", fault(percent))
		require.Equal(t, status, a.Status, a.Body)
	}
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Manager).JSON(http.MethodPost, "/api/v1/adjustments", fault("50")).Status)
	require.Contains(t, b.JSON(http.MethodGet, "/api/v1/adjustments", "").Body, `"total":0`)
	a := b.JSON(http.MethodPost, "/api/v1/adjustments", fault("50"))
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	require.Contains(t, a.Body, `"total_fen":26900`, "500 kWh more")
	a = b.JSON(http.MethodPost, "/api/v1/adjustments", fault("40"))
	require.Equal(t, http.StatusConflict, a.Status, "overlaps")
	rows, _, err := s.Store.AdjustmentPage(context.Background(), store.AdjustmentFilter{Sites: []billing.SiteID{webtest.Compound}}, 10, 0)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	one := "/api/v1/adjustments/" + string(rows[0].ID)
	require.Contains(t, b.JSON(http.MethodGet, one+"/lines", "").Body, `"true_quantity":"1500"`)
	require.Equal(t, http.StatusForbidden, b.JSON(http.MethodPost, one+"/reject", `{"reason": "my own"}`).Status)
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).JSON(http.MethodGet, one, "").Status)
	a = s.SignIn(t, webtest.Supervisor2).JSON(http.MethodPost, one+"/reject", `{"reason": "the rate is a guess"}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, `"state":"rejected"`)
	require.Equal(t, http.StatusCreated, b.JSON(http.MethodPost, "/api/v1/adjustments", fault("40")).Status, "a rejected one holds nothing back")
	require.Equal(t, http.StatusCreated, b.JSON(http.MethodPost, "/api/v1/meters/"+string(m)+"/tests", `{"tested_on": "2026-10-01", "error_percent": "-2.5", "certificate": "JD-18"}`).Status)
	require.Contains(t, b.JSON(http.MethodGet, "/api/v1/meters/"+string(m)+"/tests", "").Body, `"error_percent":"-2.5"`)
}

// An adjustment that was booked by mistake is undone from its page: a document of its own, two approvals by others, once, and both name each other.
func TestAdjustment_undone(t *testing.T) {
	s, m := issued(t)
	b, second, manager := s.SignIn(t, webtest.Supervisor), s.SignIn(t, webtest.Supervisor2), s.SignIn(t, webtest.Manager)
	balance := func() string {
		return b.Get("/accounts/1001").Find("fact-balance").Find("[data-fen]").AttrOr("data-fen", "")
	}
	book := func(one string) {
		t.Helper()
		seen := second.Get(one).Doc().Find(`input[name="digest"]`).AttrOr("value", "")
		require.Equal(t, http.StatusForbidden, b.Post(one+"/approve", "digest", seen, "nonce", "own").Status, "its maker approves nothing")
		require.Equal(t, http.StatusSeeOther, second.Post(one+"/approve", "digest", seen, "nonce", one+"1").Status)
		require.Equal(t, http.StatusSeeOther, manager.Post(one+"/approve", "digest", seen, "nonce", one+"2").Status)
	}
	was := balance()
	a := b.Post("/adjustments", "kind", "wrong_wiring", "meter", string(m), "corrected", "2026-10-01", "percent", "50", "reason", "wired wrongly", "nonce", "n1")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	first := a.Header.Get("Location")
	require.Zero(t, b.Get(first).Find("action-undo").Length(), "nothing is booked yet")
	a = b.Post(first+"/undo", "reason", "too early", "nonce", "u0")
	require.Equal(t, http.StatusConflict, a.Status)
	require.Contains(t, a.Body, "isn&#39;t booked")
	book(first)
	require.NotEqual(t, was, balance())

	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post(first+"/undo", "reason", "x", "nonce", "u").Status)
	require.Equal(t, 1, manager.Get(first).Find("why-undo").Length(), "who may not enter one reads why")
	a = b.Post(first+"/undo", "reason", "", "nonce", "u1")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Equal(t, 1, a.Find("error-reason").Length())
	a = b.Post(first+"/undo", "reason", "the wiring was right", "evidence", "slip 9", "nonce", "u1")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	undo := a.Header.Get("Location")
	require.NotEqual(t, first, undo)
	require.Equal(t, undo, b.Post(first+"/undo", "reason", "the wiring was right", "evidence", "slip 9", "nonce", "u1").Header.Get("Location"), "a double click is one")
	require.Equal(t, http.StatusConflict, b.Post(first+"/undo", "reason", "once more", "nonce", "u2").Status)
	page := b.Get(undo)
	require.Contains(t, page.Find("page-head").Text(), "Undoes")
	require.Equal(t, first, page.Find("notice").Find("a").AttrOr("href", ""))
	require.Contains(t, plain(page.Find("row-1").Text()), "-269.00")
	book(undo)
	require.Equal(t, was, balance())
	page = b.Get(first)
	require.Equal(t, undo, page.Find("notice").Find("a").AttrOr("href", ""), "and back")
	require.Zero(t, page.Find("action-undo").Length())
	require.Contains(t, page.Find("timeline").Text(), "Undone")
	require.Contains(t, b.Get("/accounts/1001").Find("table-adjustments").Text(), "Undoes "+strings.TrimPrefix(first, "/adjustments/"))
	require.Contains(t, b.Get("/trace?q="+url.QueryEscape(strings.TrimPrefix(first, "/adjustments/"))).Body, strings.TrimPrefix(undo, "/adjustments/"), "the trail of the first leads to the other")

	api := "/api/v1"
	require.Contains(t, b.JSON(http.MethodGet, api+first, "").Body, `"undone_by":"`+strings.TrimPrefix(undo, "/adjustments/"))
	a = b.JSON(http.MethodPost, api+first+"/undo", `{"reason": "twice"}`)
	require.Equal(t, http.StatusConflict, a.Status, a.Body)
	require.Contains(t, a.Body, "is undone already")
	require.Equal(t, http.StatusConflict, b.JSON(http.MethodPost, api+undo+"/undo", `{"reason": "an undo"}`).Status)
	require.Equal(t, http.StatusForbidden, manager.JSON(http.MethodPost, api+first+"/undo", `{"reason": "x"}`).Status)
	a = b.JSON(http.MethodPost, api+"/adjustments", `{"kind": "wrong_wiring", "meter": "`+string(m)+`", "corrected": "2026-10-01", "percent": "5", "reason": "the right rate"}`)
	require.Equal(t, http.StatusCreated, a.Status, "what was undone can be adjusted anew: %s", a.Body)
}
