package cycles_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
)

func bands(total int64) billing.Registers { return billing.Registers{total, 0, total, 0, 0, 0} }

func TestCycles(t *testing.T) {
	s := webtest.New(t)
	b := s.SignIn(t, webtest.Supervisor)
	require.Equal(t, 1, b.Get("/cycles").Find("empty").Length(), "an empty list says what will appear")

	m1, m2 := s.Account(t, webtest.Compound, "1001", 5000), s.Account(t, webtest.Compound, "1002", 5000)
	day := billing.MustDate("2026-09-11")
	cycle, gateway := billing.CycleID("compound/2026-09-11"), billing.GatewayID("G-compound")
	s.Read(t, webtest.Compound, day, map[billing.MeterID]billing.Registers{m1: bands(900)}, store.NewCase{
		Site: webtest.Compound, Kind: store.KindMissing, Cause: "x", Blocking: true, Cycle: &cycle, Gateway: &gateway, Meter: &m2,
		Members: []store.NewMember{{Meter: m2, FreezeAt: day.Start(storetest.Zone), Rule: "missing", Numbers: map[string]string{}}},
	})

	list := b.Get("/cycles")
	require.Equal(t, http.StatusOK, list.Status, list.Body)
	row := list.Find("row-compound/2026-09-11")
	require.Equal(t, "/cycles/compound/2026-09-11", row.AttrOr("data-href", ""))
	require.Equal(t, "closed", row.Find(".badge").First().AttrOr("data-state", ""))
	require.Contains(t, row.Text(), "1 open of 1")
	require.Contains(t, row.Text(), "00:05–00:05 (window to 06:00)", "time against plan")
	require.Equal(t, 1, b.Get("/cycles?state=sweeping").Find("empty").Length())

	one := b.Get("/cycles/compound/2026-09-11")
	require.Equal(t, http.StatusOK, one.Status, one.Body)
	require.Equal(t, 2, one.Find("strip").Find(".cell").Length(), "a square per meter")
	require.Equal(t, 1, one.Find("strip").Find(".q-missing").Length())
	require.Contains(t, one.Find("row-"+string(m2)).Text(), "no answer")
	require.Equal(t, "/exceptions/X1", one.Find("row-X1").AttrOr("data-href", ""))
	require.Contains(t, one.Find("fact-missing").Text(), "1")
	require.Contains(t, one.Find("fact-on-schedule").Text(), "1")
	require.Contains(t, one.Find("section-schedule").Text(), "less than 2 days from the planned day")
	zh := s.SignIn(t, webtest.Supervisor)
	zh.Header.Set("Accept-Language", "zh")
	require.Contains(t, zh.Get("/cycles/compound/2026-09-11").Find("fact-made-up").Text(), "补抄")
	require.Contains(t, one.Find("timeline").Text(), "Closed Validating")

	require.Equal(t, http.StatusNotFound, b.Get("/cycles/compound/2026-09-12").Status)
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get("/cycles/compound/2026-09-11").Status)
}

func TestStart_refusals(t *testing.T) {
	s := webtest.New(t)
	clerk := s.SignIn(t, webtest.Clerk)
	require.Contains(t, clerk.Get("/cycles").Find("why-start").Text(), "ask a supervisor or manager", "the button explains itself")
	require.Equal(t, http.StatusForbidden, clerk.Post("/cycles", "site", "compound").Status)

	b := s.SignIn(t, webtest.Supervisor)
	a := b.Post("/cycles", "site", "plaza")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status, "not one of the person's sites")
	require.NotEmpty(t, a.Find("error-site").Text())
	a = b.Post("/cycles", "site", "compound")
	require.Equal(t, http.StatusServiceUnavailable, a.Status, "no engine: the action says that it was not taken")
	require.Contains(t, a.Find("action-error").Text(), "not taken")
	_, open := a.Find("start-menu").Attr("open")
	require.True(t, open, "the refusal is in sight")
}
