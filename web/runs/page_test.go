package runs_test

import (
	"context"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
	"github.com/meterflow/meterflow/workflows"
)

const path = "/runs/compound/2026-09/1"

// rated serves a run that waits for verification: one bill, one that is held for a doubt, and one that a limit stopped.
func rated(t *testing.T) (*webtest.Server, *webtest.Recorder) {
	t.Helper()
	s, rec := webtest.NewRecorded(t)
	m := s.Account(t, webtest.Compound, "1001", 5000)
	s.Account(t, webtest.Compound, "1002", 5000)
	s.Account(t, webtest.Compound, "1003", 5000)
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
		{
			ID: "B1003-202609-1", Account: "1003", Tariff: "zj-residential", Engine: "rating/1", Input: struct{}{}, Quantity: 400000, TotalFen: 250000,
			Hold: "the bill comes to 2,500.00 yuan, the limit is 2,000.00 yuan", Stops: []store.BillStop{{Rule: "amount", Was: "2,500.00", Allowed: "2,000.00"}},
		},
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
	require.Equal(t, 3, run.Find("table-bills").Find("tbody tr").Length())
	require.Contains(t, run.Find("row-B1002-202609-1").Text(), "case X1 is not decided")
	require.Equal(t, 2, b.Get(path+"?state=held").Find("table-bills").Find("tbody tr").Length())
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

	require.Equal(t, http.StatusSeeOther, b.Post(path+"/bills", "action", "hold", "id", "B1001-202609-1", "id", "B1003-202609-1", "reason", "looks odd").Status)
	require.Len(t, rec.Updates, 1, "one decision for all that were chosen")
	require.Equal(t, http.StatusSeeOther, b.Post("/bills/B1002-202609-1/release", "reason", "cleared").Status)
	require.Equal(t, workflows.UpdateHoldBill, rec.Updates[0].UpdateName)
	require.Equal(t, workflows.UpdateReleaseBill, rec.Updates[1].UpdateName)
}

func TestRun_stoppedByLimits(t *testing.T) {
	s, _ := rated(t)
	b := s.SignIn(t, webtest.Supervisor)
	run := b.Get(path)
	require.Contains(t, run.Find("row-amount").Text(), "1", "what the limits hold, by limit")
	require.Equal(t, 3, run.Find("table-bills").Find("tbody tr").Length())
	held := b.Get(path + "?state=held")
	require.Equal(t, 2, held.Find("table-bills").Find("tbody tr").Length())
	require.Contains(t, held.Find("row-B1003-202609-1").Text(), "the limit is 2,000.00 yuan")
	require.Equal(t, 1, b.Get(path+"?q=1003").Find("table-bills").Find("tbody tr").Length(), "by account")
	require.Equal(t, 1, b.Get(path+"?q="+"客户1002").Find("table-bills").Find("tbody tr").Length(), "by name")
}

// A reader of Chinese learns in Chinese why a bill is held, and why an action is refused.
func TestRun_heldInChinese(t *testing.T) {
	s, _ := rated(t)
	b := s.SignIn(t, webtest.Supervisor)
	b.Header.Set("Accept-Language", "zh-CN")
	require.Contains(t, b.Get(path+"?state=held").Find("row-B1002-202609-1").Text(), "工单 X1 未处理")
	require.Contains(t, b.Get("/bills/B1002-202609-1").Find("notice").Text(), "工单 X1 未处理")
	a := b.Post(path+"/bills", "action", "hold", "id", "B1001-202609-1", "reason", "")
	require.Contains(t, a.Find("error-reason").Text(), "请写明原因")
}

func TestHeldBills_furtherRun(t *testing.T) {
	s, rec := rated(t)
	ctx, by := context.Background(), store.By{Actor: "workflow"}
	b := s.SignIn(t, webtest.Supervisor)
	list := b.Get("/runs/held")
	require.Equal(t, 2, list.Find("table-held").Find("tbody tr").Length(), list.Body)
	require.Equal(t, 0, list.Find("action-further-compound-2026-09").Length(), "their run is open: they are released there")
	require.Equal(t, http.StatusConflict, b.Post("/runs/held/compound/2026-09").Status)

	run := billing.RunID("compound/2026-09/1")
	require.NoError(t, s.Store.VerifyRun(ctx, by, run, webtest.Supervisor))
	require.NoError(t, s.Store.ApproveIssue(ctx, by, run, webtest.Supervisor2))
	_, err := s.Store.IssueBills(ctx, by, run, 1, 100)
	require.NoError(t, err)
	require.NoError(t, s.Store.FinishIssue(ctx, by, run))
	list = b.Get("/runs/held")
	action := list.Find("action-further-compound-2026-09")
	require.Equal(t, 1, action.Length())
	require.Contains(t, action.Text(), "Will be rated")
	require.Contains(t, b.Get(path).Find("notice").Text(), "2 bills were held")
	require.Contains(t, b.Get("/bills/B1003-202609-1").Find("action-release").Text(), "start a further run")

	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post("/runs/held/compound/2026-09").Status)
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Post("/runs/held/compound/2026-09").Status)
	require.Equal(t, http.StatusUnprocessableEntity, b.Post("/runs/held/compound/September").Status)
	require.Equal(t, http.StatusSeeOther, b.Post("/runs/held/compound/2026-09").Status)
	require.Equal(t, []string{"billing-run/compound/2026-09/2"}, rec.Started)
}

// pdfText is what a reader finds in a file.
func pdfText(t *testing.T, body string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "pdftotext", "-layout", "-enc", "UTF-8", "-", "-")
	cmd.Stdin = strings.NewReader(body)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: install poppler-utils", out)
	return string(out)
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
	require.Zero(t, a.Find("fact-tax-vat").Length(), "its prices have no tax")
	require.Zero(t, a.Find("fact-reverse").Length(), "nothing went the other way")
	_, err := s.Store.Pool.Exec(t.Context(), `UPDATE bills SET input = '{"months": [{"month": "2026-09-01", "reverse": "12.5"}], "tariff": {"id": "t", "versions": [{"from": "2026-01-01", "components":
		[{"key": "vat", "kind": "tax", "name": {"zh": "增值税", "en": "VAT"}, "rate": "0.13", "inclusive": true, "invoice": "special", "tax_point": "recharge"}]}]}}' WHERE id = 'B1001-202609-1'`)
	require.NoError(t, err)
	require.Contains(t, b.Get("/bills/B1001-202609-1").Find("fact-reverse").Text(), "12.50 kWh")
	tax := b.Get("/bills/B1001-202609-1").Find("fact-tax-vat").Text()
	for _, part := range []string{"VAT", "0.13", "in the prices", "invoice: special", "arises when money is received"} {
		require.Contains(t, tax, part)
	}
	require.Equal(t, 1, a.Find("action-hold").Length())

	held := b.Get("/bills/B1002-202609-1")
	require.Contains(t, held.Find("notice").Text(), "case X1 is not decided")
	stopped := b.Get("/bills/B1003-202609-1")
	require.Contains(t, stopped.Find("notice").Text(), "the bill comes to 2,500.00 yuan, the limit is 2,000.00 yuan")
	b.Header.Set("Accept-Language", "zh")
	require.Contains(t, b.Get("/bills/B1003-202609-1").Find("notice").Text(), "账单金额 2,500.00 元，超过限值 2,000.00 元")
	b.Header.Set("Accept-Language", "en")
	require.Equal(t, 1, held.Find("action-release").Length())
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get("/bills/B1001-202609-1").Status)
	require.Equal(t, http.StatusNotFound, b.Get("/bills/none").Status)

	pdf := b.Get("/bills/B1001-202609-1/bill.pdf?copies=2")
	require.Equal(t, http.StatusOK, pdf.Status)
	require.Equal(t, "application/pdf", pdf.Header.Get("Content-Type"))
	text := pdfText(t, pdf.Body)
	for _, part := range []string{"Electricity bill", "客户1001", "1,000.00", "538.00", "Copy 2: file", "draft, not a bill yet"} {
		require.Contains(t, text, part)
	}
	require.Contains(t, pdfText(t, b.Get("/bills/B1001-202609-1/bill.pdf?paper=80mm").Body), "B1001-202609-1")
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get("/bills/B1001-202609-1/bill.pdf").Status)
	all := pdfText(t, b.Get(path+"/bills.pdf").Body)
	require.Contains(t, all, "B1001-202609-1")
	require.NotContains(t, all, "B1002-202609-1", "a held bill doesn't go out")
	require.Equal(t, 2, strings.Count(pdfText(t, b.Get(path+"/payment-list.pdf").Body), "B1001-202609-1"), "two copies")
	counter := pdfText(t, b.Get("/accounts/1001/payment-list.pdf?month=2026-09").Body)
	require.Equal(t, 3, strings.Count(counter, "Payment list (counter)"), "three copies")
	require.Contains(t, pdfText(t, b.Get("/accounts/1001/statement.pdf?from=2026-09&to=2026-09").Body), "Account statement")
	require.Equal(t, http.StatusUnprocessableEntity, b.Get("/accounts/1001/statement.pdf?from=2026-10&to=2026-09").Status)

	list := b.Get(path + "/payment-list")
	require.Equal(t, 2, list.Find("sheet").Length(), "two copies")
	require.Equal(t, 1, list.Find("sheet").First().Find("tbody tr").Length(), "held bills aren't on the list")
}

// The form is gone with the run's end; whoever sends it from an older page is told why it was refused, in words of their own.
func TestSign_issuedAlready(t *testing.T) {
	s, rec := rated(t)
	ctx, by := context.Background(), store.By{Actor: "workflow"}
	run := billing.RunID("compound/2026-09/1")
	require.NoError(t, s.Store.VerifyRun(ctx, by, run, webtest.Supervisor))
	require.NoError(t, s.Store.ApproveIssue(ctx, by, run, webtest.Supervisor2))
	_, err := s.Store.IssueBills(ctx, by, run, 1, 100)
	require.NoError(t, err)
	require.NoError(t, s.Store.FinishIssue(ctx, by, run))
	rec.Refuse = serviceerror.NewNotFound("workflow execution already completed")
	b := s.SignIn(t, webtest.Supervisor2)
	for _, act := range []string{"verify", "issue", "cancel"} {
		a := b.Post(path+"/"+act, "reason", "again")
		require.Equal(t, http.StatusConflict, a.Status, act)
		require.Contains(t, a.Find("notice").Text(), "run compound/2026-09/1 is issued or cancelled already: nothing was changed", act)
		require.Contains(t, a.Find("notice").Text(), "by a correction", act)
	}
	b.Header.Set("Accept-Language", "zh")
	require.Contains(t, b.Post(path+"/issue").Find("notice").Text(), "批次 compound/2026-09/1 已发行或已取消，未作任何更改；已发行的账单有误请通过更正处理。")
}

// issuedLate issues the first bill of the run with a late fee on it.
func issuedLate(t *testing.T) (*webtest.Server, string) {
	t.Helper()
	s, _ := rated(t)
	ctx := context.Background()
	_, err := s.Store.Pool.Exec(ctx, `UPDATE bills SET late_fen = 310, total_fen = total_fen + 310 WHERE id = 'B1001-202609-1'`)
	require.NoError(t, err)
	_, err = s.Store.Pool.Exec(ctx, `INSERT INTO bill_lines (bill_id, seq, component, name_zh, name_en, register, from_at, to_at, quantity, price, factor, amount_fen, unit)
		VALUES ('B1001-202609-1', 2, 'late_fee', '违约金（2026-07）', 'Late fee on the bill of 2026-07, due 2026-08-20, 31 days', 0, now(), now(), 100, 0.001, 31, 310, 'yuan')`)
	require.NoError(t, err)
	run := billing.RunID("compound/2026-09/1")
	require.NoError(t, s.Store.VerifyRun(ctx, store.By{Actor: webtest.Supervisor}, run, webtest.Supervisor))
	require.NoError(t, s.Store.ApproveIssue(ctx, store.By{Actor: webtest.Supervisor2}, run, webtest.Supervisor2))
	_, err = s.Store.IssueBills(ctx, store.By{Actor: "workflow"}, run, 1, 100)
	require.NoError(t, err)
	return s, "/bills/B1001-202609-1"
}

func TestBill_lateFeeIsShownAndWaived(t *testing.T) {
	s, bill := issuedLate(t)
	b := s.SignIn(t, webtest.Supervisor)
	p := b.Get(bill)
	require.Equal(t, http.StatusOK, p.Status, p.Body)
	line := p.Find("row-2").Text()
	for _, part := range []string{"Late fee on the bill of 2026-07", "100.00", "0.001", "31", "3.10"} {
		require.Contains(t, line, part, "debt, share, days and amount")
	}
	require.Contains(t, p.Find("fact-late").Text(), "3.10")
	require.Zero(t, s.SignIn(t, webtest.Manager).Get(bill).Find("action-waive").Length())
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post(bill+"/waive", "reason", "x").Status)
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Post(bill+"/waive", "reason", "x").Status)
	none := b.Post(bill+"/waive", "reason", " ")
	require.Equal(t, http.StatusUnprocessableEntity, none.Status)
	require.Contains(t, none.Find("error-reason").Text(), "say why")

	require.Contains(t, b.Post(bill+"/waive", "reason", "x", "amount", "0").Find("error-amount").Text(), "zero")
	require.Contains(t, b.Post(bill+"/waive", "reason", "x", "amount", "3.11").Doc().Text(), "The late fee is 3.10 yuan")
	require.Zero(t, b.Get(bill).Find("field-second").Length(), "one person may waive so little")

	// Above the ceiling a colleague agrees.
	_, err := s.Store.Pool.Exec(context.Background(), `UPDATE sites SET policy = '{"billing": {"late_fees": {"power": [{"from": "2026-01-01", "household": "0.001", "waive_fen": 100}]}}}' WHERE id = 'compound'`)
	require.NoError(t, err)
	require.Equal(t, 1, b.Get(bill).Find("field-second").Length())
	two := func(amount, second, password string) webtest.Answer {
		return b.Post(bill+"/waive", "reason", "凭证迟到", "amount", amount, "second", second, "password", password)
	}
	require.Equal(t, 1, two("3.10", "", "").Find("error-second").Length())
	require.Contains(t, two("3.10", webtest.Supervisor, webtest.Password).Find("error-second").Text(), "takes two persons")
	require.Contains(t, two("3.10", webtest.Supervisor2, "wrong").Doc().Text(), "name or password is wrong")
	require.Contains(t, two("3.10", webtest.Clerk, webtest.Password).Doc().Text(), "may not waive late fees")
	require.Equal(t, http.StatusSeeOther, two("3.10", webtest.Manager, webtest.Password).Status)
	p = b.Get(bill)
	require.Contains(t, p.Find("fact-waived").Text(), "凭证迟到")
	require.Contains(t, p.Find("fact-waived").Text(), "3.10")
	require.Zero(t, p.Find("action-waive").Length())
	require.Contains(t, p.Find("timeline").Text(), "Late fee waived")
	require.Equal(t, http.StatusConflict, b.Post(bill+"/waive", "reason", "again", "amount", "1").Status)
	var fen int64
	require.NoError(t, s.Store.Pool.QueryRow(context.Background(), `SELECT sum(amount_fen) FROM ledger_postings WHERE code = 'compound/revenue/late_fees'`).Scan(&fen))
	require.Zero(t, fen, "booked, and given back once")

	// The API shows the same, and refuses the same.
	got := b.JSON(http.MethodGet, "/api/v1"+bill, "")
	require.Contains(t, got.Body, `"late_fen":310`)
	require.Contains(t, got.Body, `"waived":{"amount_fen":310,"reason":"凭证迟到"`)
	require.Equal(t, http.StatusConflict, b.JSON(http.MethodPost, "/api/v1"+bill+"/waive-late-fee", `{"reason":"again"}`).Status)
}
