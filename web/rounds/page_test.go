package rounds_test

import (
	"bytes"
	"context"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
)

// office is a compound with three meters that are read each night, a route over them, and its people at their browsers.
type office struct {
	*webtest.Server
	t                *testing.T
	meters           []string
	sup, sup2        *webtest.Browser
	reader, stranger *webtest.Browser
}

// bands is the vector of a meter whose bands make its total.
func bands(total int64) billing.Registers { return billing.Registers{total, 0, 0, total, 0, 0} }

func newOffice(t *testing.T) *office {
	o := &office{Server: webtest.NewWithEngine(t), t: t}
	shown := map[billing.MeterID]billing.Registers{}
	for i := range 3 {
		m := o.Account(t, webtest.Compound, billing.AccountID(fmt.Sprintf("A%d", i+1)), 10_000)
		o.meters = append(o.meters, string(m))
		shown[m] = bands(1000)
	}
	o.Read(t, webtest.Compound, billing.MustDate("2026-09-11"), shown)
	storetest.SetClock(t, o.Store, billing.MustDate("2026-09-11").At(8, 0, storetest.Zone))
	o.sup, o.sup2 = o.SignIn(t, webtest.Supervisor), o.SignIn(t, webtest.Supervisor2)
	o.reader, o.stranger = o.SignIn(t, webtest.Reader), o.SignIn(t, webtest.Reader2)
	return o
}

func (o *office) clock(day string, hour, minute int) {
	storetest.SetClock(o.t, o.Store, billing.MustDate(day).At(hour, minute, storetest.Zone))
}

// went says that an action was taken, and gives where it led.
func (o *office) went(a webtest.Answer) string {
	o.t.Helper()
	require.Equal(o.t, http.StatusSeeOther, a.Status, a.Find("action-error").Text()+a.Doc().Find(".field-error").Text())
	return a.Header.Get("Location")
}

// assigned makes route and round and gives it to the first reader.
func (o *office) assigned() string {
	o.t.Helper()
	o.went(o.sup.Post("/rounds/routes", "site", "compound", "name", "东区", "kind", "collect", "every_days", "0", "active", "1", "meters", strings.Join(o.meters, "\r\n")))
	routes, err := o.Store.Routes(context.Background(), []billing.SiteID{webtest.Compound})
	require.NoError(o.t, err)
	round := o.went(o.sup.Post("/rounds", "route", string(routes[0].ID), "due", "2026-09-11", "nonce", "n1"))
	o.went(o.sup.Post(round+"/assign", "reader", webtest.Reader))
	return round
}

func (o *office) values(round, seq, total string, more ...string) webtest.Answer {
	return o.reader.Post(round+"/enter", append([]string{"seq", seq, "value-total", total, "value-sharp", "0", "value-peak", "0", "value-flat", total, "value-valley", "0", "value-deep_valley", "0"}, more...)...)
}

func (o *office) upload(round, content string) webtest.Answer {
	o.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part, err := w.CreateFormFile("file", "round.csv")
	require.NoError(o.t, err)
	_, err = part.Write([]byte(content))
	require.NoError(o.t, err)
	require.NoError(o.t, w.Close())
	return o.reader.Do(http.MethodPost, round+"/preview", w.FormDataContentType(), body.String())
}

func TestRounds_walkedOnAPhone(t *testing.T) {
	o := newOffice(t)
	round := o.assigned()
	o.clock("2026-09-11", 10, 0)

	require.Equal(t, "/rounds", o.reader.Get("/").Header.Get("Location"), "a reader lands on the rounds")
	require.Equal(t, http.StatusForbidden, o.reader.Get("/meters/"+o.meters[0]).Status, "and sees no last values elsewhere")
	require.Equal(t, http.StatusForbidden, o.reader.Get("/rounds/findings").Status)
	require.Equal(t, http.StatusNotFound, o.stranger.Get(round).Status, "nor anybody else's round")
	require.Equal(t, http.StatusNotFound, o.SignIn(t, webtest.OtherSupervisor).Get(round).Status)

	first := o.reader.Get(round + "/enter")
	require.Equal(t, http.StatusOK, first.Status, first.Body)
	require.Contains(t, first.Find("fact-meter").Text(), o.meters[0])
	require.Zero(t, first.Find("fact-last").Length(), "the last value is hidden by policy")
	require.Equal(t, 6, first.Find("action-enter").Find(`input[inputmode="decimal"]`).Length())

	low := o.values(round, "1", "9.00")
	require.Equal(t, http.StatusUnprocessableEntity, low.Status)
	require.Contains(t, low.Find("error-confirmed").Text(), "This is below the last value.")
	require.NotContains(t, low.Body, "10.00", "the refusal doesn't tell the last value either")
	require.Equal(t, "9.00", low.Doc().Find(`input[name="value-total"]`).AttrOr("value", ""), "what was typed is kept")
	wrong := o.values(round, "1", "10.505")
	require.Contains(t, wrong.Find("error-value-total").Text(), "finer than the register")
	require.Equal(t, round+"/enter?seq=2", o.went(o.values(round, "1", "10.50")))
	both := o.values(round, "2", "10.50", "no_reading", "no_access")
	require.Contains(t, both.Find("error-no_reading").Text(), "not both")
	require.Equal(t, round+"/enter?seq=3", o.went(o.reader.Post(round+"/enter", "seq", "2", "no_reading", "dial_covered", "note", "雪")))
	early := o.values(round, "3", "10.00", "taken_at", "2026-09-11T12:00")
	require.Contains(t, early.Find("error-value-total").Text(), "in the future")
	require.Contains(t, o.reader.Get(round).Find("why-submit").Text(), "1 meters have neither")
	require.Equal(t, round, o.went(o.values(round, "3", "9.00", "confirmed", "on")), "all have an entry: back to the round")

	require.Equal(t, http.StatusForbidden, o.sup.Post(round+"/submit").Status)
	o.went(o.reader.Post(round + "/submit"))
	require.Contains(t, o.sup.Get("/").Find("stat-rounds").Text(), "1", "it waits for a supervisor")
	require.Equal(t, http.StatusConflict, o.values(round, "1", "10.60").Status, "handed in is handed in")
	require.Equal(t, http.StatusForbidden, o.reader.Post(round+"/accept").Status)
	require.Contains(t, o.sup2.Post(round+"/return", "reason", "").Find("error-reason").Text(), "say why")
	o.went(o.sup2.Post(round+"/return", "reason", "第 1 块再看一次", "nonce", "r1"))
	require.Contains(t, o.reader.Get(round).Find("notice").Text(), "第 1 块再看一次")
	o.went(o.values(round, "1", "10.55"))
	o.went(o.reader.Post(round+"/submit", "nonce", "s2"))
	o.went(o.sup2.Post(round + "/accept"))
	require.Eventually(t, func() bool {
		return o.sup.Get(round).Doc().Find(`[data-kind="round"][data-state="closed"]`).Length() > 0
	}, webtest.Patience, webtest.Pause)

	page := o.sup.Get(round)
	require.Contains(t, page.Find("row-1").Text(), "10.55")
	require.Contains(t, page.Find("row-1").Text(), "replaced 1×")
	require.Contains(t, page.Find("row-2").Text(), "Dial covered")
	require.Contains(t, page.Find("row-3").Text(), "in doubt")
	require.GreaterOrEqual(t, page.Find("event").Length(), 8, "every step stands in its timeline")
	meter := o.sup.Get("/meters/" + o.meters[0])
	require.Contains(t, meter.Body, "10.55", "the value is a reading now")
	cases := o.sup.Get("/exceptions?state=open").Doc().Find(`[data-row]`)
	require.Equal(t, 1, cases.Length(), "and the doubt a case")
	doubt := o.sup.Get("/exceptions/" + cases.AttrOr("data-id", ""))
	require.Equal(t, http.StatusOK, doubt.Status, doubt.Body)
	require.Contains(t, doubt.Body, "9.00")
}

func TestRounds_fileIsPreviewedBeforeAnythingIsStored(t *testing.T) {
	o := newOffice(t)
	round := o.assigned()
	o.clock("2026-09-11", 10, 0)
	template := o.reader.Get(round + "/template.csv")
	require.Equal(t, "text/csv; charset=utf-8", template.Header.Get("Content-Type"))
	lines := strings.Split(strings.TrimSpace(template.Body), "\r\n")
	require.Len(t, lines, 4)
	require.Contains(t, lines[0], "seq,meter,address,total,sharp,peak,flat,valley,deep_valley,read_at,reason,note")

	filled := lines[0] + "\r\n" +
		"1," + o.meters[0] + ",,10.50,0,0,10.50,0,0,2026-09-11 09:10,,\r\n" +
		"2," + o.meters[1] + ",,9.00,0,0,9.00,0,0,2026-09-11 09:12,,\r\n" +
		"3,M-unknown,,9.00,0,0,9.00,0,0,2026-09-11 09:14,,\r\n"
	p := o.upload(round, filled)
	require.Equal(t, http.StatusOK, p.Status, p.Body)
	require.Contains(t, p.Find("row-2").Text(), "goes in")
	require.Contains(t, p.Find("row-3").Text(), "refused · column total")
	require.Contains(t, p.Find("row-3").Text(), "below the last value")
	require.Contains(t, p.Find("row-4").Text(), "refused · column meter")
	require.Contains(t, p.Find("row-4").Text(), "meter M-unknown is not on the list")
	require.Contains(t, p.Find("fact-good").First().Text(), "1")
	items := func() []store.RoundItem {
		got, err := o.Store.RoundItems(context.Background(), billing.RoundID(strings.TrimPrefix(round, "/rounds/")))
		require.NoError(t, err)
		return got
	}
	require.Nil(t, items()[0].EnteredAt, "a preview stores nothing")

	carried := p.Find("action-import").Find(`input[name="file"]`).AttrOr("value", "")
	refused := o.reader.Post(round+"/refused.csv", "file", carried)
	require.Equal(t, http.StatusOK, refused.Status, refused.Body)
	require.Len(t, strings.Split(strings.TrimSpace(refused.Body), "\r\n"), 3)
	require.Contains(t, refused.Body, "line 4, column meter: meter M-unknown is not on the list")
	require.NotContains(t, refused.Body, "10.50")

	o.went(o.reader.Post(round+"/import", "file", carried))
	got := items()
	require.Equal(t, bands(1050), got[0].Registers)
	require.Equal(t, "file", got[0].Source)
	require.Nil(t, got[1].EnteredAt)
	require.Equal(t, http.StatusUnprocessableEntity, o.reader.Post(round+"/import", "file", lines[0]+"\r\n").Status)
	require.Contains(t, o.upload(round, "nonsense\n").Find("error-file").Text(), `the column "nonsense" is unknown`)
	require.Contains(t, o.upload(round, strings.Repeat("x", 90<<10)).Find("error-file").Text(), "too large")
	require.Equal(t, http.StatusForbidden, o.sup.Get(round+"/file").Status, "nobody enters for the reader")
}

func TestRounds_routesAndPaper(t *testing.T) {
	o := newOffice(t)
	bad := o.sup.Post("/rounds/routes", "site", "compound", "name", "东区", "kind", "collect", "every_days", "7", "active", "1", "meters", o.meters[0]+"\nM9")
	require.Equal(t, http.StatusUnprocessableEntity, bad.Status)
	require.Contains(t, bad.Find("error-meters").Text(), "line 2: no meter M9")
	require.Equal(t, http.StatusForbidden, o.reader.Post("/rounds/routes", "site", "compound", "name", "x", "kind", "collect", "every_days", "0", "meters", o.meters[0]).Status)
	require.Equal(t, http.StatusForbidden, o.SignIn(t, webtest.Clerk).Post("/rounds", "route", "W1001", "due", "2026-09-11").Status)
	from := o.sup.Get("/rounds/routes/new?from=G-compound")
	require.Contains(t, from.Doc().Find(`textarea[name="meters"]`).Text(), o.meters[2])

	round := o.assigned()
	routes, err := o.Store.Routes(context.Background(), []billing.SiteID{webtest.Compound})
	require.NoError(t, err)
	require.Len(t, routes, 1, "the refused list left nothing")
	id := string(routes[0].ID)
	again := o.sup.Post("/rounds", "route", id, "due", "2026-09-12", "nonce", "n2")
	require.Equal(t, http.StatusConflict, again.Status)
	require.Contains(t, again.Find("action-error").Text(), "under way already")
	paper := o.reader.Get(round + "/print")
	require.Equal(t, 3, paper.Find("table-paper").Find("tbody tr").Length())
	require.Contains(t, paper.Find("sheet").Text(), "东区")
	edited := o.sup.Post("/rounds/routes/"+id, "site", "compound", "name", "西区", "kind", "check", "every_days", "7", "active", "1", "meters", o.meters[1])
	o.went(edited)
	require.Contains(t, o.sup.Get("/rounds/routes").Find("row-"+id).Text(), "every 7 days")
	require.Equal(t, 3, o.reader.Get(round+"/print").Find("table-paper").Find("tbody tr").Length(), "a round under way keeps its list")
}

func TestRounds_findingsAreForSupervisors(t *testing.T) {
	s := webtest.New(t)
	ctx := context.Background()
	meter := s.Account(t, webtest.Compound, "A1", 0)
	_, err := s.Store.SaveRoute(ctx, store.By{Actor: webtest.Supervisor}, store.Route{Site: webtest.Compound, Name: "东区", Kind: billing.RoundCollect, Active: true}, []billing.MeterID{meter})
	require.NoError(t, err)
	require.NoError(t, s.Store.PlanRound(ctx, store.By{Actor: webtest.Supervisor}, store.NewRound{ID: "L1", Route: "W1001", Kind: billing.RoundCollect, DueOn: billing.MustDate("2026-09-10"), OnTimeDays: 2}))
	require.NoError(t, s.Store.AssignRound(ctx, store.By{Actor: webtest.Supervisor}, "L1", webtest.Reader))
	require.NoError(t, s.Store.EnterRoundValues(ctx, store.By{Actor: webtest.Reader}, "L1", []store.RoundEntry{{Seq: 1, Meter: meter, NoReading: billing.NoAccess, TakenAt: webtest.Start, Source: "form"}}))
	require.NoError(t, s.Store.SubmitRound(ctx, store.By{Actor: webtest.Reader}, "L1"))
	require.NoError(t, s.Store.SaveReaderFindings(ctx, store.By{Actor: "workflow"}, "L1", []store.NewReaderFinding{
		{Rule: "regular_pace", Numbers: map[string]string{"count": "9", "of": "9", "seconds": "60"}},
	}))
	sup := s.SignIn(t, webtest.Supervisor)
	page := sup.Get("/rounds/findings")
	require.Contains(t, page.Find("row-1").Text(), "9 of 9 steps took 60 seconds exactly")
	require.Contains(t, page.Find("row-1").Text(), "何抄表")
	var lines []string
	page.Find("row-reader-" + webtest.Reader).Find("td").Each(func(_ int, c *goquery.Selection) { lines = append(lines, strings.TrimSpace(c.Text())) })
	require.Equal(t, []string{"何抄表", "1", "1", "0", "0", "0", "0", "1"}, lines, "a reason stands in place of the value: one meter of one round is missing")
	require.Contains(t, sup.Post("/rounds/findings/1", "reason", " ").Find("error-reason").Text(), "say why")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Manager).Post("/rounds/findings/1", "reason", "x").Status)
	require.Equal(t, http.StatusSeeOther, sup.Post("/rounds/findings/1", "reason", "已谈话").Status)
	require.Contains(t, sup.Get("/rounds/findings").Find("row-1").Text(), "已谈话")
	require.Equal(t, http.StatusConflict, sup.Post("/rounds/findings/1", "reason", "again").Status)
	require.NotContains(t, s.SignIn(t, webtest.Reader).Get("/rounds/L1").Body, "60 seconds")

	down := sup.Post("/rounds/L1/accept")
	require.Equal(t, http.StatusServiceUnavailable, down.Status, "without the engine nothing is taken")
	got, err := s.Store.Round(ctx, "L1")
	require.NoError(t, err)
	require.Equal(t, billing.RoundSubmitted, got.State)
	_, err = s.Store.Pool.Exec(ctx, `UPDATE rounds SET state = 'checked', checked_by = reader, checked_at = $1 WHERE id = 'L1'`, time.Now())
	require.ErrorContains(t, err, "round_reader_is_not_checker", "the database checks a third time")
}
