package sheet

import (
	"bytes"
	"encoding/csv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"

	"github.com/meterflow/meterflow/internal/billing"
)

var columns = []Column{{Title: "户名", Width: 20}, {Title: "金额（元）"}, {Title: "用量"}, {Title: "天数"}, {Title: "日期"}}

func write(t *testing.T, f Format, rows ...[]any) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := New(f, &out, "报表", columns)
	require.NoError(t, err)
	for _, r := range rows {
		require.NoError(t, w.Row(r...))
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

var row = []any{"张三, \"东\"门", billing.Money(-123456789), Raw{1234567, 3}, 31, billing.MustDate("2026-09-30")}

func TestCSV(t *testing.T) {
	out := write(t, CSV, row, []any{"=cmd|' /C calc'!A0", billing.Money(5), Raw{-5, 2}, 0, nil})
	require.True(t, bytes.HasPrefix(out, []byte("\xef\xbb\xbf")), "Excel takes it for UTF-8")
	read, err := csv.NewReader(bytes.NewReader(out[3:])).ReadAll()
	require.NoError(t, err)
	require.Equal(t, [][]string{
		{"户名", "金额（元）", "用量", "天数", "日期"},
		{"张三, \"东\"门", "-1234567.89", "1234.567", "31", "2026-09-30"},
		{"'=cmd|' /C calc'!A0", "0.05", "-0.05", "0", ""},
	}, read, "a name is no formula")
}

func TestExcel_numbersAreNumbers(t *testing.T) {
	out := write(t, Excel, row, []any{"=SUM(A1)", nil, Raw{90071992547409, 2}, 1000, billing.Date{}})
	f, err := excelize.OpenReader(bytes.NewReader(out))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	raw, err := f.GetRows("报表", excelize.Options{RawCellValue: true})
	require.NoError(t, err)
	require.Equal(t, []string{"张三, \"东\"门", "-1234567.89", "1234.567", "31", "46295"}, raw[1], "the exact digits")
	require.Equal(t, []string{"=SUM(A1)", "", "900719925474.09", "1000"}, raw[2])
	shown, err := f.GetRows("报表")
	require.NoError(t, err)
	require.Equal(t, []string{"张三, \"东\"门", "-1,234,567.89", "1,234.567", "31", "2026-09-30"}, shown[1], "with their formats")
	for _, at := range []string{"B2", "C2", "D2", "E2"} {
		kind, err := f.GetCellType("报表", at)
		require.NoError(t, err)
		require.Contains(t, []excelize.CellType{excelize.CellTypeNumber, excelize.CellTypeUnset}, kind, at)
	}
	formula, err := f.GetCellFormula("报表", "A3")
	require.NoError(t, err)
	require.Empty(t, formula, "a name is no formula")
}

func TestRow_refusesWhatIsNoRow(t *testing.T) {
	for _, f := range []Format{CSV, Excel} {
		w, err := New(f, &bytes.Buffer{}, "x", columns)
		require.NoError(t, err)
		require.ErrorContains(t, w.Row("one"), "1 cells in a list of 5 columns")
		require.ErrorContains(t, w.Row("a", 1.5, 0, 0, nil), "no cell of type float64")
	}
}
