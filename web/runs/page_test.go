package runs_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
	"github.com/meterflow/meterflow/workflows"
)

const path = "/runs/compound/2026-09/1"

// rated serves a run that waits for verification: one bill, and one that is held.
func rated(t *testing.T) (*webtest.Server, *webtest.Recorder) {
	t.Helper()
	s, rec := webtest.NewRecorded(t)
	m := s.Account(t, webtest.Compound, "1001", 5000)
	s.Account(t, webtest.Compound, "1002", 5000)
	ctx, by := context.Background(), store.By{Actor: "workflow"}
	period := billing.MonthPeriod(billing.MustDate("2026-09-01"))
	storetest.SetClock(t, s.Store, period.To.Start(storetest.Zone).Add(9*time.Hour))
	run := billing.RunID("compound/2026-09/1")
	_, err := s.Store.OpenRun(ctx, by, store.NewRun{ID: run, Site: webtest.Compound, Period: period, Version: 1})
	require.NoError(t, err)
	from, to := period.Instants(storetest.Zone)
	opening, closing := int64(1000), int64(101000)
	require.NoError(t, s.Store.SaveDrafts(ctx, by, run, []store.Draft{
		{
			ID: "B1001-202609-1", Account: "1001", Tariff: "zj-residential", Engine: "rating/1", Quantity: 100000, TotalFen: 53800, Input: struct{}{},
			Readings: []store.BillReading{{
				Meter: m, Ratio: 1, Digits: 8, From: from, To: to, Opening: billing.Registers{1000, 0, 1000, 0, 0, 0}, Closing: billing.Registers{101000, 0, 101000, 0, 0, 0},
			}},
			Lines: []store.BillLine{{
				Seq: 1, Component: "energy", NameZH: "电度电费", NameEN: "Energy", Register: billing.Total, Tier: 1, FromAt: from, ToAt: to, Opening: &opening, Closing: &closing,
				Quantity: billing.MustQuantity("1000"), Price: billing.MustPrice("0.538"), AmountFen: 53800,
			}},
		},
		{ID: "B1002-202609-1", Account: "1002", Tariff: "zj-residential", Engine: "rating/1", Hold: "case X1 is not decided", Input: struct{}{}},
	}))
	_, err = s.Store.SumRun(ctx, by, run)
	require.NoError(t, err)
	return s, rec
}

func TestRuns(t *testing.T) {
	s, _ := rated(t)
	b := s.SignIn(t, webtest.Supervisor)
	list := b.Get("/runs")
	require.Equal(t, http.StatusOK, list.Status, list.Body)
	row := list.Find("row-compound/2026-09/1")
	require.Equal(t, path, row.AttrOr("data-href", ""))
	require.Contains(t, row.Text(), "538.00")
	require.Equal(t, 1, b.Get("/runs?state=issued").Find("empty").Length())
	require.Equal(t, 1, s.SignIn(t, webtest.OtherSupervisor).Get("/runs").Find("empty").Length())

	run := b.Get(path)
	require.Equal(t, http.StatusOK, run.Status, run.Body)
	require.Contains(t, run.Find("row-quantity-power").Text(), "1,000.00")
	require.Equal(t, "53800", run.Find("row-total").Find("[data-fen]").First().AttrOr("data-fen", ""))
	require.Equal(t, 2, run.Find("table-bills").Find("tbody tr").Length())
	require.Contains(t, run.Find("row-B1002-202609-1").Text(), "case X1 is not decided")
	require.Equal(t, 1, b.Get(path+"?state=held").Find("table-bills").Find("tbody tr").Length())
	require.Contains(t, run.Find("why-issue").Text(), "verify the run first", "the disabled button explains itself")
	require.Contains(t, s.SignIn(t, webtest.Clerk).Get(path).Find("why-verify").Text(), "ask a supervisor")
	require.Zero(t, s.SignIn(t, webtest.Clerk).Get(path).Find("bulk").Length())
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get(path).Status)
}

func TestSign(t *testing.T) {
	s, rec := rated(t)
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Manager).Post(path+"/verify").Status)
	b := s.SignIn(t, webtest.Supervisor)
	require.Equal(t, http.StatusSeeOther, b.Post(path+"/verify").Status)
	require.Equal(t, workflows.UpdateVerify, rec.Updates[0].UpdateName)
	require.NoError(t, s.Store.VerifyRun(context.Background(), store.By{Actor: webtest.Supervisor}, "compound/2026-09/1", webtest.Supervisor))

	mine := b.Get(path)
	require.Contains(t, mine.Find("fact-verified").Text(), "王主管", "who did what")
	require.Contains(t, mine.Find("why-issue").Text(), "another supervisor")
	a := b.Post(path + "/issue")
	require.Equal(t, http.StatusForbidden, a.Status, "who verified doesn't issue, even past the button")
	require.Len(t, rec.Updates, 1)
	require.Equal(t, http.StatusSeeOther, s.SignIn(t, webtest.Supervisor2).Post(path+"/issue").Status)
	require.Equal(t, workflows.UpdateIssue, rec.Updates[1].UpdateName)
}

func TestHoldAndRelease(t *testing.T) {
	s, rec := rated(t)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.Post(path+"/bills", "action", "hold", "id", "B1001-202609-1", "reason", "")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-reason").Text(), "say why")
	require.Equal(t, http.StatusUnprocessableEntity, b.Post(path+"/bills", "action", "hold", "reason", "x").Status, "nothing chosen")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post(path+"/bills", "action", "hold", "id", "B1001-202609-1", "reason", "x").Status)
	require.Empty(t, rec.Updates)

	require.Equal(t, http.StatusSeeOther, b.Post(path+"/bills", "action", "hold", "id", "B1001-202609-1", "reason", "looks odd").Status)
	require.Equal(t, http.StatusSeeOther, b.Post("/bills/B1002-202609-1/release", "reason", "cleared").Status)
	require.Equal(t, workflows.UpdateHoldBill, rec.Updates[0].UpdateName)
	require.Equal(t, workflows.UpdateReleaseBill, rec.Updates[1].UpdateName)
}

func TestBill(t *testing.T) {
	s, _ := rated(t)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.Get("/bills/B1001-202609-1")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	line := a.Find("table-lines").Find("tbody tr").First().Text()
	for _, part := range []string{"Energy", "Total, step 1", "10.00", "1,010.00", "1000", "0.538", "538.00"} {
		require.Contains(t, line, part, "a line down to its readings, step, price and factor")
	}
	require.Contains(t, a.Find("table-readings").Text(), "1,000.00", "what the registers counted")
	require.Equal(t, "53800", a.Find("fact-total").Find("[data-fen]").AttrOr("data-fen", ""))
	require.Equal(t, 1, a.Find("sheet").Length(), "what is printed")
	require.Equal(t, 1, a.Find("action-hold").Length())

	held := b.Get("/bills/B1002-202609-1")
	require.Contains(t, held.Find("notice").Text(), "case X1 is not decided")
	require.Equal(t, 1, held.Find("action-release").Length())
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get("/bills/B1001-202609-1").Status)
	require.Equal(t, http.StatusNotFound, b.Get("/bills/none").Status)

	list := b.Get(path + "/payment-list")
	require.Equal(t, 2, list.Find("sheet").Length(), "two copies")
	require.Equal(t, 1, list.Find("sheet").First().Find("tbody tr").Length(), "held bills aren't on the list")
}
