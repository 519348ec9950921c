package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"

	"github.com/meterflow/meterflow/internal/webtest"
)

func TestReports(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	s.Account(t, webtest.Compound, "A2", 7_000)
	b := s.SignIn(t, webtest.Clerk)
	get := func(path string, into any) int {
		a := b.JSON(http.MethodGet, "/api/v1"+path, "")
		if into != nil {
			require.NoError(t, json.Unmarshal([]byte(a.Body), into), a.Body)
		}
		return a.Status
	}
	var use struct {
		Items []struct {
			Account string `json:"account"`
		} `json:"items"`
		Next string `json:"next"`
	}
	require.Equal(t, http.StatusOK, get("/reports/use?from=2026-09-10&to=2026-09-11&limit=1", &use))
	require.Len(t, use.Items, 1)
	require.Equal(t, "A1", use.Next)
	require.Equal(t, http.StatusOK, get("/reports/use?from=2026-09-10&to=2026-09-11&limit=1&after=A1", &use))
	require.Equal(t, "A2", use.Items[0].Account)
	require.NotContains(t, b.JSON(http.MethodGet, "/api/v1/reports/use?from=2026-09-10&to=2026-09-11", "").Body, "B1", "another site's account")
	require.Equal(t, http.StatusUnprocessableEntity, get("/reports/use?from=2026-09-10&to=2026-09-09", nil))
	require.Equal(t, http.StatusUnprocessableEntity, get("/reports/use?from=2026-09-10", nil))
	require.Equal(t, http.StatusUnprocessableEntity, get("/reports/owed?after=nonsense", nil))
	require.Equal(t, http.StatusOK, get("/reports/customers?month=2026-09", nil))
	require.Equal(t, http.StatusForbidden, get("/reports/customers?month=2026-09&site=plaza", nil))

	csv := b.JSON(http.MethodGet, "/api/v1/reports/use/csv?from=2026-09-10&to=2026-09-11&lang=en", "")
	require.True(t, strings.HasPrefix(csv.Body, "\ufeffSite,Account"), csv.Body)
	require.Contains(t, csv.Body, "A2")
	require.Contains(t, csv.Body, "70.00")
	excel := b.JSON(http.MethodGet, "/api/v1/reports/customers/xlsx?month=2026-09", "")
	book, err := excelize.OpenReader(bytes.NewReader([]byte(excel.Body)))
	require.NoError(t, err)
	defer func() { require.NoError(t, book.Close()) }()
	rows, err := book.GetRows(book.GetSheetName(0))
	require.NoError(t, err)
	require.Len(t, rows, 3)
}

func TestPapers(t *testing.T) {
	s := webtest.New(t)
	s.Rows(t)
	b := s.SignIn(t, webtest.Supervisor)
	for path, status := range map[string]int{
		"/bills/BA1-202608-1/bill.pdf":                         http.StatusOK,
		"/bills/BA1-202608-1/bill.pdf?paper=80mm&lang=en":      http.StatusOK,
		"/runs/compound/2026-08/1/bills.pdf":                   http.StatusOK,
		"/runs/compound/2026-08/1/payment-list.pdf":            http.StatusOK,
		"/accounts/A1/statement.pdf?from=2026-08&to=2026-09":   http.StatusOK,
		"/accounts/A1/payment-list.pdf?month=2026-09&copies=1": http.StatusOK,
		"/accounts/B1/payment-list.pdf?month=2026-09":          http.StatusNotFound,
		"/bills/none/bill.pdf":                                 http.StatusNotFound,
		"/bills/BA1-202608-1/bill.pdf?paper=a3":                http.StatusUnprocessableEntity,
		"/accounts/A1/statement.pdf?from=2026-10&to=2026-09":   http.StatusUnprocessableEntity,
		"/runs/compound/2026-07/1/payment-list.pdf":            http.StatusNotFound,
	} {
		a := b.JSON(http.MethodGet, "/api/v1"+path, "")
		require.Equal(t, status, a.Status, path)
		if status == http.StatusOK {
			require.True(t, strings.HasPrefix(a.Body, "%PDF-1.7"), path)
			require.True(t, strings.HasSuffix(a.Body, "%%EOF\n"), path)
		}
	}
	require.Equal(t, http.StatusConflict, b.JSON(http.MethodPost, "/api/v1/sites/compound/further-runs", `{"month":"2026-08"}`).Status, "nothing is held")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).JSON(http.MethodPost, "/api/v1/sites/compound/further-runs", `{"month":"2026-08"}`).Status)
	require.Contains(t, b.JSON(http.MethodGet, "/api/v1/held-bills", "").Body, `"items":[]`)
}
