package reports_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
)

// lived serves a compound with three accounts, opened on 10 September with 50 yuan each: two days read, and September billed and issued at
// ten times the account's place.
func lived(t *testing.T) *webtest.Server {
	t.Helper()
	s := webtest.New(t)
	ctx, by := context.Background(), store.By{Actor: "workflow"}
	meters := map[int]billing.MeterID{}
	for i := range 3 {
		meters[i] = s.Account(t, webtest.Compound, billing.AccountID(fmt.Sprintf("100%d", i+1)), 5000)
	}
	s.Account(t, webtest.Plaza, "9001", 5000)
	for d, day := range []string{"2026-09-11", "2026-09-12"} {
		shown := map[billing.MeterID]billing.Registers{}
		for i, m := range meters {
			shown[m] = billing.Registers{int64((d + 1) * (i + 1) * 1000), 0, int64((d + 1) * (i + 1) * 1000), 0, 0, 0}
		}
		s.Read(t, webtest.Compound, billing.MustDate(day), shown)
	}
	period := billing.MonthPeriod(billing.MustDate("2026-09-01"))
	storetest.SetClock(t, s.Store, period.To.Start(storetest.Zone).Add(9*time.Hour))
	run := billing.RunID("compound/2026-09/1")
	_, err := s.Store.OpenRun(ctx, by, store.NewRun{ID: run, Site: webtest.Compound, Period: period, Version: 1})
	require.NoError(t, err)
	var drafts []store.Draft
	for i := range 3 {
		fen := billing.Money(i+1) * 1000
		drafts = append(drafts, store.Draft{
			ID: billing.BillID(fmt.Sprintf("B100%d-202609-1", i+1)), Account: billing.AccountID(fmt.Sprintf("100%d", i+1)), Tariff: "zj-residential", Engine: "rating/1",
			Quantity: int64(i+1) * 2000, TotalFen: fen, Input: struct{}{},
			Lines: []store.BillLine{{Seq: 1, Component: "energy", NameZH: "电度电费", NameEN: "Energy", FromAt: period.From.Start(storetest.Zone), ToAt: period.To.Start(storetest.Zone),
				Quantity: billing.MustQuantity("20"), Price: billing.MustPrice("0.5"), AmountFen: fen}},
		})
	}
	require.NoError(t, s.Store.SaveDrafts(ctx, by, run, drafts))
	_, err = s.Store.SumRun(ctx, by, run)
	require.NoError(t, err)
	require.NoError(t, s.Store.VerifyRun(ctx, by, run, webtest.Supervisor))
	require.NoError(t, s.Store.ApproveIssue(ctx, by, run, webtest.Supervisor2))
	_, err = s.Store.IssueBills(ctx, by, run, 1, 100)
	require.NoError(t, err)
	require.NoError(t, s.Store.FinishIssue(ctx, by, run))
	return s
}

// plain are the cells of a table's rows as numbers are written for machines.
func plain(rows *goquery.Selection) [][]string {
	var all [][]string
	rows.Each(func(_ int, tr *goquery.Selection) {
		var cells []string
		tr.Find("td").Each(func(_ int, td *goquery.Selection) {
			text := strings.Join(strings.Fields(td.Text()), " ")
			text = strings.NewReplacer(",", "", "−", "-", " kWh", "", "–", "").Replace(text)
			cells = append(cells, text)
		})
		all = append(all, cells)
	})
	return all
}

func TestUse_screenCSVAndExcelSayTheSame(t *testing.T) {
	s := lived(t)
	b := s.SignIn(t, webtest.Supervisor)
	const query = "?by=day&from=2026-09-10&to=2026-10-01"
	a := b.Get("/reports/use" + query)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	screen := plain(a.Find("table-use").Find("tbody tr"))
	var pages = 1
	for next := a.Doc().Find(`a[rel="next"]`); next.Length() == 1; next = a.Doc().Find(`a[rel="next"]`) {
		a = b.Get(next.AttrOr("href", ""))
		screen = append(screen, plain(a.Find("table-use").Find("tbody tr"))...)
		pages++
	}
	require.Equal(t, 2, pages, "22 days of two accounts, then of one")
	require.Len(t, screen, 3*22)
	require.Equal(t, []string{"1001 客户1001", "2026-09-10", "M1001", "0.00", "10.00", "10.00", "0.00", "0.00", "0.00", "50.00", "50.00"}, screen[0], "from the opening register to the first midnight")
	require.Equal(t, []string{"", "2026-09-11", "M1001", "10.00", "20.00", "10.00", "50.00", "0.00", "0.00", "0.00", "50.00"}, screen[1])
	last := screen[len(screen)-1]
	require.Equal(t, []string{"2026-10-01", "M1003", "", "", "", "50.00", "0.00", "30.00", "0.00", "20.00"}, last[1:], "the bill's rest is charged when it is issued")

	file := b.Get("/reports/use.csv" + query)
	require.Equal(t, "text/csv; charset=utf-8", file.Header.Get("Content-Type"))
	require.Contains(t, file.Header.Get("Content-Disposition"), "use-2026-09-10-2026-10-01.csv")
	read, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(file.Body, "\ufeff"))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, "Account", read[0][1])
	require.Len(t, read, 1+len(screen), "all accounts, not only one page")

	excel := b.Get("/reports/use.xlsx" + query)
	book, err := excelize.OpenReader(bytes.NewReader([]byte(excel.Body)))
	require.NoError(t, err)
	defer func() { require.NoError(t, book.Close()) }()
	cells, err := book.GetRows(book.GetSheetName(0), excelize.Options{RawCellValue: true})
	require.NoError(t, err)
	require.Len(t, cells, len(read))
	for i, row := range screen {
		fromCSV, fromExcel := read[i+1], cells[i+1]
		// Meter, opening, closing, use, and the five of money.
		for screenAt, fileAt := range map[int]int{2: 6, 3: 8, 4: 9, 5: 10, 6: 13, 7: 14, 8: 15, 9: 16, 10: 17} {
			require.Equal(t, row[screenAt], fromCSV[fileAt], "row %d column %d", i, screenAt)
			if screenAt == 2 {
				require.Equal(t, row[screenAt], fromExcel[fileAt])
				continue
			}
			require.Equal(t, number(row[screenAt]), number(fromExcel[fileAt]), "row %d column %d", i, screenAt)
		}
	}
}

// number compares what Excel keeps (50) with what people read (50.00).
func number(text string) string {
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

func TestUse_filtersAndRefusals(t *testing.T) {
	s := lived(t)
	b := s.SignIn(t, webtest.Supervisor)
	one := b.Get("/reports/use?by=month&from=2026-09-10&to=2026-09-20&q=1002")
	require.Equal(t, 1, one.Find("table-use").Find("tbody tr").Length())
	require.Equal(t, 1, one.Find("chart-used").Length(), "one account has its chart")
	require.Contains(t, one.Body, "/accounts/1002/statement.pdf?from=2026-09&amp;to=2026-09")
	require.Equal(t, 1, b.Get("/reports/use?q=9001").Find("empty").Length(), "another site's account doesn't exist")
	require.Equal(t, 3, b.Get("/reports/use?by=month&from=2026-09-01&to=2026-09-30&q="+"客户").Find("table-use").Find("tbody tr").Length(), "by part of a name")
	for query, says := range map[string]string{
		"?from=2026-13-01&to=2026-09-01&by=day":   "not a day of the form",
		"?from=2026-09-02&to=2026-08-01&by=day":   "its end must come after its start",
		"?from=2020-01-01&to=2026-09-01&by=day":   "366 days at most",
		"?from=2000-01-01&to=2026-09-01&by=month": "60 months at most",
	} {
		a := b.Get("/reports/use" + query)
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, query)
		require.Contains(t, a.Body, says)
		require.Equal(t, http.StatusUnprocessableEntity, b.Get("/reports/use.csv"+query).Status, "the file is refused as well")
	}
	require.Equal(t, http.StatusNotFound, b.Get("/reports/use.pdf").Status)
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Customer).Get("/reports/use").Status)
}

func TestCustomers(t *testing.T) {
	s := lived(t)
	b := s.SignIn(t, webtest.Clerk)
	a := b.Get("/reports/customers?month=2026-09")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	rows := plain(a.Find("table-customers").Find("tbody tr"))
	require.Len(t, rows, 3)
	require.Equal(t, []string{"1002 客户1002", "Power", "40.00", "20.00", "40.00", "20.00", "", "0.00", "50.00"}, rows[1], "the closing reading of 1 October is missing, the bill is not")
	foot := plain(a.Find("table-customers").Find("tfoot tr"))[0]
	require.Equal(t, "60.00", foot[3])
	require.Equal(t, http.StatusUnprocessableEntity, b.Get("/reports/customers?month=09").Status)
	file := b.Get("/reports/customers.csv?month=2026-09")
	require.Equal(t, 4, strings.Count(file.Body, "\r\n"))
}

func TestOverview(t *testing.T) {
	s := lived(t)
	a := s.SignIn(t, webtest.Manager).Get("/reports?month=2026-09")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Equal(t, "60.00", a.Find("stat-billed").Find(".stat-value").Text())
	require.Contains(t, a.Find("row-compound-2026-09").Text(), "120.00", "kWh of the control totals")
	require.Equal(t, 1, a.Find("chart-months").Length())
	require.Equal(t, 1, a.Doc().Find(`nav a[href="/reports"][aria-current]`).First().Length(), "it is in the navigation")
}

func TestOwed(t *testing.T) {
	s := lived(t)
	ctx := context.Background()
	// The third falls below zero by its bill: 50 yuan less 30, then 35 more that isn't billed yet.
	_, err := s.Store.Pool.Exec(ctx, `INSERT INTO reminders (id, site_id, account_id, state, balance_fen, opened_at) VALUES ('N1', 'compound', '1001', 'level1', 100, '2026-09-30T00:00Z')`)
	require.NoError(t, err)
	b := s.SignIn(t, webtest.Clerk)
	short := b.Get("/reports/owed")
	require.Equal(t, 1, short.Find("table-owed").Find("tbody tr").Length())
	require.Contains(t, short.Find("row-1001").Text(), "1390000000", "the phone to call")
	require.Equal(t, 1, b.Get("/reports/owed?kind=arrears").Find("empty").Length())
	require.Equal(t, 1, b.Get("/reports/owed?kind=unpaid").Find("empty").Length())
	require.Contains(t, b.Get("/reports/owed.csv?kind=short").Body, "1001")
}
