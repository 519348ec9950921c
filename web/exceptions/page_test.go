package exceptions_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
	"github.com/meterflow/meterflow/workflows"
)

// bands is a vector of a meter that counts in the peak band only.
func bands(total int64) billing.Registers { return billing.Registers{total, 0, total, 0, 0, 0} }

// doubt makes a case about a meter's reading of a day.
func doubt(kind string, meter billing.MeterID, account billing.AccountID, day billing.Date, total int64, numbers map[string]string) store.NewCase {
	cycle, gateway, freeze := billing.CycleID("compound/"+day.String()), billing.GatewayID("G-compound"), day.Start(storetest.Zone)
	n := store.NewCase{
		Site: webtest.Compound, Kind: kind, Cause: string(cycle) + "/" + kind + "/" + string(meter), Blocking: true, Cycle: &cycle, Gateway: &gateway, Meter: &meter, Account: &account,
		DueAfter: 24 * time.Hour, Members: []store.NewMember{{Meter: meter, FreezeAt: freeze, Rule: kind, Numbers: numbers}},
	}
	if total > 0 {
		n.Members[0].Doubt = &store.Reading{
			Meter: meter, FreezeAt: freeze, TakenAt: freeze, TakenReal: freeze, Quality: billing.QualityActual, Registers: bands(total), Doubtful: true, RecordedBy: "workflow", Cycle: &cycle,
		}
	}
	return n
}

// queue serves three cases: two doubts about use that is too high, and a meter without a reading. Ten days of use lie before.
func queue(t *testing.T) (*webtest.Server, *webtest.Recorder) {
	t.Helper()
	s, rec := webtest.NewRecorded(t)
	m1, m2, m3 := s.Account(t, webtest.Compound, "1001", 5000), s.Account(t, webtest.Compound, "1002", 5000), s.Account(t, webtest.Compound, "1003", 5000)
	day := billing.MustDate("2026-09-11")
	for i := range int64(10) {
		at := day.AddDays(int(i))
		s.Read(t, webtest.Compound, at, map[billing.MeterID]billing.Registers{m1: bands(900 * (i + 1)), m2: bands(500 * (i + 1)), m3: bands(300 * (i + 1))})
	}
	day = day.AddDays(10)
	high := map[string]string{"use": "900.00", "limit": "18.00", "hours": "24"}
	s.Read(t, webtest.Compound, day, map[billing.MeterID]billing.Registers{m1: bands(99000), m2: bands(77000)},
		doubt("too_high", m1, "1001", day, 99000, high), doubt("too_high", m2, "1002", day, 77000, high),
		doubt("missing", m3, "1003", day, 0, map[string]string{"outcome": "silent", "error": "no answer"}))
	return s, rec
}

func ids(a webtest.Answer) []string {
	var list []string
	a.Doc().Find(`[data-testid="table-cases"] tr[data-id]`).Each(func(_ int, row *goquery.Selection) { list = append(list, row.AttrOr("data-id", "")) })
	return list
}

func TestList_filtersAndCounts(t *testing.T) {
	s, _ := queue(t)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.Get("/exceptions")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Equal(t, []string{"X1", "X2", "X3"}, ids(a), "what is open, oldest first")
	require.Contains(t, a.Find("row-X1").Text(), "900.00 kWh, at most 18.00 kWh", "the rule's numbers in a few words")
	require.Contains(t, a.Find("row-X3").Text(), "the meter did not answer")

	require.Equal(t, []string{"X3"}, ids(b.Get("/exceptions?kind=missing")))
	require.Empty(t, ids(b.Get("/exceptions?overdue=1")))
	require.Equal(t, 1, b.Get("/exceptions?overdue=1").Find("empty").Length(), "an empty list says what will appear")
	require.Empty(t, ids(b.Get("/exceptions?mine=1")))
	require.Empty(t, ids(b.Get("/exceptions?state=resolved")))
	require.Empty(t, ids(s.SignIn(t, webtest.OtherSupervisor).Get("/exceptions")), "another site's cases stay away")
	require.Equal(t, "/exceptions/X3?kind=missing", b.Get("/exceptions?kind=missing").Doc().Find(`[data-testid="row-X3"]`).AttrOr("data-href", ""), "the queue goes along")
}

func TestShow_theDoubtBesideHistory(t *testing.T) {
	s, _ := queue(t)
	a := s.SignIn(t, webtest.Supervisor).Get("/exceptions/X1")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Find("why-doubt").Text(), "at most 18.00 kWh is believed")
	require.Contains(t, a.Find("fact-before").Text(), "90.00")
	require.Contains(t, a.Find("fact-value").Text(), "990.00")
	require.Contains(t, a.Find("fact-use").Text(), "900.00")
	require.Contains(t, a.Find("fact-average").Text(), "9.00")
	require.Equal(t, 1, a.Find("usage-chart").Length())
	require.Equal(t, 1, a.Doc().Find(".doubt").Length(), "one day carries the mark")
	options := a.Find("field-decision").Text()
	require.Contains(t, options, "value 990.00, use 900.00 kWh", "what accepting would mean")
	require.Contains(t, options, "value 99.00, use 9.00 kWh · Last month's daily average", "what an estimate would mean, and by which method")
	require.Equal(t, 1, a.Find("action-manual").Length())
	require.Equal(t, 1, a.Find("action-exchange").Length())

	missing := s.SignIn(t, webtest.Supervisor).Get("/exceptions/X3")
	require.NotContains(t, missing.Find("field-decision").Text(), "Accept", "nothing there to accept")
}

func TestShow_whoMayNot(t *testing.T) {
	s, rec := queue(t)
	a := s.SignIn(t, webtest.Clerk).Get("/exceptions/X1")
	require.Equal(t, http.StatusOK, a.Status)
	require.Contains(t, a.Find("why-decide").Text(), "ask a supervisor", "the button explains itself")
	require.Zero(t, a.Find("action-manual").Length())

	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get("/exceptions/X1").Status)
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.Supervisor).Get("/exceptions/X99").Status)
	a = s.SignIn(t, webtest.Clerk).Post("/exceptions/X1/decide", "decision", "accept", "reason", "I say so")
	require.Equal(t, http.StatusForbidden, a.Status)
	a = s.SignIn(t, webtest.OtherSupervisor).Post("/exceptions/X1/decide", "decision", "accept", "reason", "I say so")
	require.Equal(t, http.StatusNotFound, a.Status)
	require.Empty(t, rec.Updates)
}

func TestDecide_needsAReason(t *testing.T) {
	s, rec := queue(t)
	a := s.SignIn(t, webtest.Supervisor).Post("/exceptions/X1/decide", "decision", "accept", "reason", " ")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-reason").Text(), "say why")
	require.Equal(t, 1, a.Doc().Find(`input[name="decision"][value="accept"][checked]`).Length(), "what was chosen is kept")
	require.Empty(t, rec.Updates)
}

func TestDecide_sendsAndOpensTheNext(t *testing.T) {
	s, rec := queue(t)
	b := s.SignIn(t, webtest.Supervisor)
	require.Equal(t, http.StatusUnprocessableEntity, b.Post("/exceptions/X1/decide", "decision", "confirm_on", "reason", "x").Status, "not one of the answers")
	require.Empty(t, rec.Updates)

	a := b.Post("/exceptions/X1/decide?kind=too_high", "decision", "estimate", "reason", "holiday", "nonce", "n1")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Equal(t, "/exceptions/X2?kind=too_high", a.Header.Get("Location"), "the next of the same queue")
	require.Len(t, rec.Updates, 1)
	require.Equal(t, "case/X1", rec.Updates[0].WorkflowID)
	require.Equal(t, "n1", rec.Updates[0].UpdateID, "a double click is one decision")
	d := rec.Updates[0].Args[0].(workflows.Decision)
	require.Equal(t, workflows.Decision{CaseID: "X1", By: webtest.Supervisor, Decision: "estimate", Reason: "holiday", Nonce: "n1"}, d)
	require.Contains(t, b.Get(a.Header.Get("Location")).Find("notice").Text(), "Case X1 is decided")

	rec.Refuse = temporal.NewNonRetryableApplicationError("this case was decided already: open it to see by whom and how", string(billing.CodeClosed), nil)
	a = b.Post("/exceptions/X2/decide", "decision", "accept", "reason", "typed before")
	require.Equal(t, http.StatusConflict, a.Status)
	require.Contains(t, a.Find("action-error").Text(), "decided already", "the refusal stands beside the control")
	require.Contains(t, a.Body, "typed before", "what was typed is kept")
}

func TestManual(t *testing.T) {
	s, rec := queue(t)
	b := s.SignIn(t, webtest.Supervisor)
	fields := []string{"reason", "seen on site", "nonce", "m"}
	for _, register := range []string{"sharp", "flat", "valley", "deep_valley"} {
		fields = append(fields, "value-M1003-"+register, "0")
	}
	a := b.Post("/exceptions/X3/manual", append(fields, "value-M1003-total", "33.005", "value-M1003-peak", "-1")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-value-M1003-total").Text(), "finer than the register")
	require.Contains(t, a.Find("error-value-M1003-peak").Text(), "only counts up")
	_, isOpen := a.Find("extra-manual").Attr("open")
	require.True(t, isOpen, "the refused form stays open")
	require.Empty(t, rec.Updates)

	a = b.Post("/exceptions/X3/manual", append(fields, "value-M1003-total", "29.00", "value-M1003-peak", "29.00")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("action-error").Text(), "is below the last reading", "what will be refused is refused at once")

	values := append(fields, "value-M1003-total", "33.05", "value-M1003-peak", "33.05")
	a = b.Post("/exceptions/X3/manual", values...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Empty(t, rec.Updates, "the effect is shown first")
	preview := b.Get(a.Header.Get("Location"))
	require.Equal(t, http.StatusOK, preview.Status, preview.Body)
	require.Contains(t, preview.Find("action-manual").Text(), "Readings")
	require.Equal(t, "33.05", preview.Doc().Find(`[data-testid="action-manual"] [name="value-M1003-total"]`).AttrOr("value", ""), "what was typed is kept")
	seen := preview.Doc().Find(`[data-testid="action-manual"] [name="seen"]`).AttrOr("value", "")
	require.NotEmpty(t, seen)
	a = b.Post("/exceptions/X3/manual", append(fields, "seen", seen, "value-M1003-total", "34.05", "value-M1003-peak", "34.05")...)
	require.Equal(t, http.StatusSeeOther, a.Status)
	require.Empty(t, rec.Updates, "other values than those whose effect was seen are shown again")
	a = b.Post("/exceptions/X3/manual", append(values, "seen", seen)...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	d := rec.Updates[0].Args[0].(workflows.Decision)
	require.Equal(t, []workflows.ManualValue{{Meter: "M1003", Registers: billing.Registers{3305, 0, 3305, 0, 0, 0}}}, d.Values)
}

func TestExchange(t *testing.T) {
	s, rec := queue(t)
	b := s.SignIn(t, webtest.Supervisor)
	_, err := s.Store.Pool.Exec(context.Background(), `UPDATE accounts SET credit_mode = 'meter' WHERE id = '1003'`)
	require.NoError(t, err)
	fields := []string{"reason", "burnt", "new_meter", "M9", "nonce", "x"}
	for _, register := range []string{"total", "sharp", "peak", "flat", "valley", "deep_valley"} {
		fields = append(fields, "closing-M1003-"+register, "40", "opening-M1003-"+register, "0")
	}
	a := b.Post("/exceptions/X3/exchange", append(fields, "serial", "12")...)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-serial").Text(), "12 digits")
	a = b.Post("/exceptions/X3/exchange", append(fields, "serial", "260100000009", "remaining", "1.234")...)
	require.Contains(t, a.Find("error-remaining").Text(), "more than two decimals")
	a = b.Post("/exceptions/X3/exchange", append(fields, "serial", "260100000009", "remaining", "12.30")...)
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	form := rec.Updates[0].Args[0].(workflows.Decision).Exchange
	require.Equal(t, billing.MeterID("M9"), form.NewMeter)
	require.Equal(t, billing.Money(1230), *form.Remaining)
	require.Equal(t, int64(4000), form.Closing.Total())
}

func TestSeveral(t *testing.T) {
	s, rec := queue(t)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.Post("/exceptions/choose", "action", "accept", "id", "X1", "id", "X3")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("action-error").Text(), "several kinds")
	require.Equal(t, http.StatusUnprocessableEntity, b.Post("/exceptions/choose", "action", "estimate").Status, "nothing chosen")

	a = b.Post("/exceptions/choose?kind=too_high", "action", "estimate", "id", "X1", "id", "X2")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	to := a.Header.Get("Location")
	preview := b.Get(to)
	require.Equal(t, http.StatusOK, preview.Status, preview.Body)
	row := preview.Doc().Find(`[data-testid="row-X1/M1001"]`).Text()
	for _, want := range []string{"990.00", "99.00", "9.00", "Last month's daily average"} {
		require.Contains(t, row, want, "before, after, use and method of each, before the decision")
	}
	require.Equal(t, 2, preview.Doc().Find(`input[name="id"][checked]`).Length(), "all are chosen at first")
	require.Contains(t, preview.Find("fact-readings").Text(), "2")
	require.Empty(t, rec.Updates, "a preview decides nothing")

	a = b.Post(to, "action", "again", "id", "X1/M1001", "reason", "festival")
	again := b.Get(a.Header.Get("Location"))
	require.Equal(t, 1, again.Doc().Find(`input[name="id"][checked]`).Length(), "one was taken out")
	require.Contains(t, again.Find("fact-readings").Text(), "1")
	require.Contains(t, again.Doc().Find(`[data-testid="row-X2/M1002"]`).Text(), "left out")
	require.Contains(t, again.Doc().Find(`textarea[name="reason"]`).Text(), "festival")

	a = b.Post(to, "action", "confirm", "id", "X1/M1001", "id", "X2/M1002", "nonce", "n")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-reason").Text(), "say why")
	require.Equal(t, http.StatusUnprocessableEntity, b.Post(to, "action", "confirm", "reason", "x").Status, "nothing chosen")
	a = b.Post(to, "action", "confirm", "id", "X1/M1001", "id", "X2/M1002", "nonce", "n", "reason", "festival")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Equal(t, "/exceptions?kind=too_high", a.Header.Get("Location"))
	require.Len(t, rec.Updates, 2)
	require.NotEqual(t, rec.Updates[0].UpdateID, rec.Updates[1].UpdateID)
	d := rec.Updates[0].Args[0].(workflows.Decision)
	require.Equal(t, "decision/n", d.Batch, "what was decided together can be found together")
	require.Empty(t, d.Meters)

	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post(to, "action", "confirm", "id", "X1/M1001", "reason", "x").Status)
	require.Len(t, rec.Updates, 2)
}

// A dead gateway is one case: one decision for its members, of which some can be taken out.
func TestMembers_decidedTogether(t *testing.T) {
	s, rec := queue(t)
	day := billing.MustDate("2026-09-22")
	gateway := billing.GatewayID("G-compound")
	n := store.NewCase{Site: webtest.Compound, Kind: store.KindGatewaySilent, Cause: "compound/2026-09-22/gateway_silent/G-compound", Blocking: true, Gateway: &gateway, DueAfter: 24 * time.Hour}
	for _, m := range []billing.MeterID{"M1001", "M1002", "M1003"} {
		n.Members = append(n.Members, store.NewMember{Meter: m, FreezeAt: day.Start(storetest.Zone), Rule: "missing", Numbers: map[string]string{"error": "no answer"}})
	}
	s.Read(t, webtest.Compound, day, nil, n)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.Get("/exceptions/X4")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Find("table-members").Text(), "proposed")
	a = b.Post("/exceptions/X4/decide", "decision", "estimate", "reason", "the gateway burnt")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Empty(t, rec.Updates, "with many members their values are shown first")
	to := a.Header.Get("Location")
	preview := b.Get(to)
	require.Equal(t, 3, preview.Doc().Find(`input[name="id"][checked]`).Length(), preview.Body)
	require.Contains(t, preview.Doc().Find(`textarea[name="reason"]`).Text(), "the gateway burnt")
	a = b.Post(to, "action", "confirm", "id", "X4/M1001", "id", "X4/M1003", "reason", "the gateway burnt", "nonce", "k")
	require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
	require.Len(t, rec.Updates, 1, "one decision")
	require.Equal(t, []billing.MeterID{"M1001", "M1003"}, rec.Updates[0].Args[0].(workflows.Decision).Meters)
}

func TestPages_inChinese(t *testing.T) {
	s, _ := queue(t)
	b := s.SignIn(t, webtest.Supervisor)
	b.Header.Set("Accept-Language", "zh-CN")
	a := b.Get("/exceptions/X1")
	require.Contains(t, a.Find("why-doubt").Text(), "按本表近期用量最多应为 18.00 kWh")
	require.False(t, strings.Contains(a.Body, "exceptions."), "no key without words")

	fields := []string{"reason", "现场看过", "nonce", "m", "value-M1003-total", "29.00", "value-M1003-peak", "29.00"}
	for _, register := range []string{"sharp", "flat", "valley", "deep_valley"} {
		fields = append(fields, "value-M1003-"+register, "0")
	}
	refused := b.Post("/exceptions/X3/manual", fields...).Find("action-error").Text()
	require.Contains(t, refused, "表 M1003：29.00 低于上次示数")
	require.Contains(t, refused, "请核对表屏，或登记换表")
}
