package rounds

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/simplifiedchinese"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
)

var china = time.FixedZone("Asia/Shanghai", 8*60*60)

// list is two water meters and one with bands.
var list4 = []store.RoundItem{
	{Seq: 1, Meter: "W1", Service: billing.Water, Address: "1栋101", Count: 1},
	{Seq: 2, Meter: "P1", Service: billing.Power, Address: "1栋102", Count: 6},
	{Seq: 3, Meter: "W2", Service: billing.Water, Address: "=cmd", Count: 1},
	{Seq: 4, Meter: "W3", Service: billing.Water, Address: "1栋104", Count: 1},
}

const head4 = "seq,meter,address,total,sharp,peak,flat,valley,deep_valley,read_at,reason,note\n"

func TestParseSheet_eachFaultNamesLineAndColumn(t *testing.T) {
	const good = "1,W1,,12.345,,,,,,2026-09-08 10:00,,\n"
	for name, c := range map[string]struct {
		row, column, says string
	}{
		"unknown meter":         {"1,W9,,1,,,,,,2026-09-08 10:00,,", "meter", "meter W9 is not on the list"},
		"no meter":              {"1,,,1,,,,,,2026-09-08 10:00,,", "meter", "the meter number is missing"},
		"the same meter twice":  {"1,W1,,1,,,,,,2026-09-08 10:00,,", "meter", "stands in line 2 already"},
		"a shifted row":         {"2,W2,,1,,,,,,2026-09-08 10:00,,", "seq", "meter W2 is number 3 of the list, not 2"},
		"number no number":      {"x,W2,,1,,,,,,2026-09-08 10:00,,", "seq", "not x"},
		"too few registers":     {"2,P1,,1,1,,,,,2026-09-08 10:00,,", "peak", "shows 6 registers, 2 were given"},
		"bands of a water dial": {"3,W2,,1,1,,,,,2026-09-08 10:00,,", "sharp", "shows 1 registers, 2 were given"},
		"a fourth decimal":      {"3,W2,,1.2345,,,,,,2026-09-08 10:00,,", "total", "finer than the register"},
		"an exponent":           {"3,W2,,1e3,,,,,,2026-09-08 10:00,,", "total", "not a plain decimal number"},
		"a word":                {"3,W2,,zehn,,,,,,2026-09-08 10:00,,", "total", "not a plain decimal number"},
		"thousands":             {`3,W2,,"1,234",,,,,,2026-09-08 10:00,,`, "total", "not a plain decimal number"},
		"no time":               {"3,W2,,1,,,,,,,,", "read_at", "the time at which the meter was read is missing"},
		"a time of its own":     {"3,W2,,1,,,,,,8 Sept,,", "read_at", `"8 Sept" is no time`},
		"an invented reason":    {"3,W2,,,,,,,,2026-09-08 10:00,rain,", "reason", `"rain" is no reason`},
		"value and reason":      {"3,W2,,1,,,,,,2026-09-08 10:00,no_access,", "reason", "not both"},
	} {
		s, err := parseSheet(head4+good+c.row+"\n", list4, china)
		require.NoError(t, err, name)
		require.NoError(t, s.rows[0].problem)
		require.Equal(t, 3, s.rows[1].line, name)
		require.Error(t, s.rows[1].problem, name)
		require.Contains(t, s.rows[1].problem.Error(), c.says, name)
		require.Equal(t, c.column, s.rows[1].column, name)
	}
	s, err := parseSheet(head4+"3,W2,,1,,,,,,2026-09-08 10:00,,\n"+good, list4, china)
	require.NoError(t, err)
	require.Equal(t, "seq", s.rows[1].column)
	require.ErrorContains(t, s.rows[1].problem, "number 1 comes after number 3")
}

func TestParseSheet_wholeFile(t *testing.T) {
	for name, c := range map[string]struct{ file, says string }{
		"nothing":        {"", "the file is empty"},
		"header only":    {head4, "no rows below its header"},
		"unknown column": {"meter,total,read_at,colour\n", `line 1: the column "colour" is unknown`},
		"column twice":   {"meter,total,read_at,表号\n", "stands there twice"},
		"column missing": {"meter,total\n", "line 1: the column read_at"},
		"a stray quote":  {head4 + `1,"W1,,1` + "\n", "is no CSV there"},
		"endless":        {head4 + strings.Repeat("1,W9,,1,,,,,,,,\n", store.MaxRouteMeters+1), "line 502: a file has at most 500 rows"},
	} {
		_, err := parseSheet(c.file, list4, china)
		require.ErrorContains(t, err, c.says, name)
		require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err), name)
	}
}

func TestParseSheet_readsWhatPeopleWrite(t *testing.T) {
	s, err := parseSheet("抄表时间,表号,总,尖,峰,平,谷,深谷,原因,备注\n2026/9/8 10:00,W1,12.3,,,,,,,ok\n2026-09-08T10:01:02,P1,10,2,2,2,2,2,,\n,W2,,,,,,,,\n2026-09-08 10:05,W3,,,,,,,无法进入,门锁\n", list4, china)
	require.NoError(t, err)
	require.Len(t, s.rows, 4)
	require.Equal(t, billing.Registers{12_300}, s.rows[0].value.Registers)
	require.Equal(t, time.Date(2026, 9, 8, 2, 0, 0, 0, time.UTC), s.rows[0].value.TakenAt.UTC())
	require.Equal(t, billing.Registers{1000, 200, 200, 200, 200, 200}, s.rows[1].value.Registers)
	require.True(t, s.rows[2].empty)
	require.Equal(t, billing.NoAccess, s.rows[3].value.NoReading)
	require.Equal(t, "门锁", s.rows[3].value.Note)
	good, empty, bad := s.count()
	require.Equal(t, []int{3, 1, 0}, []int{good, empty, bad})
}

func TestDecode(t *testing.T) {
	gbk, err := simplifiedchinese.GBK.NewEncoder().Bytes([]byte("表号,备注"))
	require.NoError(t, err)
	for _, raw := range [][]byte{[]byte("表号,备注"), []byte("\xef\xbb\xbf表号,备注"), gbk} {
		text, err := decode(raw)
		require.NoError(t, err)
		require.Equal(t, "表号,备注", text)
	}
	_, err = decode([]byte{0xff, 0xfe, 0x00, 0x80, 0xff})
	require.ErrorContains(t, err, "neither UTF-8 nor GBK")
}

// What the template holds comes back as it was written, in both languages, and no address becomes a formula.
func TestTemplate_comesBack(t *testing.T) {
	at := time.Date(2026, 9, 8, 2, 3, 4, 0, time.UTC)
	items := make([]store.RoundItem, len(list4))
	copy(items, list4)
	items[0].Registers, items[0].TakenAt = billing.Registers{12_345}, &at
	items[1].Registers, items[1].TakenAt = billing.Registers{1000, 100, 200, 300, 400, 0}, &at
	items[2].NoReading, items[2].TakenAt, items[2].Note = billing.DialCovered, &at, "雪"
	for _, lang := range []locale.Language{locale.ZH, locale.EN} {
		var file bytes.Buffer
		require.NoError(t, writeTemplate(&file, items, china, lang))
		text, err := decode(file.Bytes())
		require.NoError(t, err)
		s, err := parseSheet(text, items, china)
		require.NoError(t, err)
		require.Len(t, s.rows, 4)
		for i, r := range s.rows {
			require.NoError(t, r.problem)
			require.Equal(t, items[i].TakenAt == nil, r.empty)
			if r.empty {
				continue
			}
			require.True(t, at.Equal(r.value.TakenAt))
			require.Equal(t, items[i].Registers, r.value.Registers)
			require.Equal(t, items[i].NoReading, r.value.NoReading)
			require.Equal(t, items[i].Note, r.value.Note)
		}
		require.Contains(t, file.String(), ",'=cmd,")
		require.NotContains(t, file.String(), "last")
	}
}

// Whatever is uploaded: no panic, each row in one verdict, and what goes in belongs to the list, once, with as many registers as the meter shows.
func FuzzParseSheet(f *testing.F) {
	f.Add([]byte(head4 + "1,W1,,12.345,,,,,,2026-09-08 10:00,,\n"))
	f.Add([]byte("表号,总,抄表时间\nW1,1,2026/9/8 8:00\nW1,1,2026/9/8 8:00\n"))
	f.Add([]byte("\xef\xbb\xbfmeter,total,read_at\r\n\"W2\",\"0.001\",2026-09-08 10:00\r\n"))
	f.Add([]byte{0xb1, 0xed, 0xba, 0xc5, ','})
	f.Fuzz(func(t *testing.T, raw []byte) { checkSheet(t, raw) })
}

// The same with files that look like one: pieces of real rows in any order, which blind bytes rarely make.
func TestParseSheet_property(t *testing.T) {
	pieces := []string{"1", "2", "3", "W1", "W2", "P1", "W9", "12.345", "1.2345", "2026-09-08 10:00", "no_access", "表坏", ",", ",", ",", ",,", "\n", "\r\n", `"`, "'", "\ufeff", "\xb1\xed"}
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.SampledFrom([]string{head4, "表号,总,抄表时间\n", "read_at,total,meter,note\n", ""}).Draw(r, "header")
		for range rapid.IntRange(0, 60).Draw(r, "length") {
			text += rapid.SampledFrom(pieces).Draw(r, "piece")
		}
		checkSheet(r, []byte(text))
	})
}

func checkSheet(t require.TestingT, raw []byte) {
	text, err := decode(raw)
	if err != nil {
		return
	}
	require.True(t, utf8.ValidString(text))
	s, err := parseSheet(text, list4, china)
	if err != nil {
		require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
		return
	}
	good, empty, bad := s.count()
	require.Equal(t, len(s.rows), good+empty+bad)
	seen := map[billing.MeterID]bool{}
	last := 1
	for _, r := range s.rows {
		require.Greater(t, r.line, last, "in the order of the file, below its header")
		last = r.line
		if !r.good() {
			continue
		}
		require.NotEmpty(t, r.item.Meter)
		require.Equal(t, r.item.Meter, r.value.Meter)
		require.False(t, seen[r.item.Meter])
		seen[r.item.Meter] = true
		require.False(t, r.value.TakenAt.IsZero())
		if r.value.NoReading == "" {
			require.Len(t, r.value.Registers, r.item.Count)
		}
	}
	var back bytes.Buffer
	require.NoError(t, writeCSV(&back, append([][]string{s.header}, cellsOf(s)...)))
	again := csv.NewReader(strings.NewReader(strings.TrimPrefix(back.String(), "\ufeff")))
	again.FieldsPerRecord = -1
	_, err = again.ReadAll()
	require.NoError(t, err, "refused rows can be read again")
}

func cellsOf(s sheet) [][]string {
	var rows [][]string
	for _, r := range s.rows {
		rows = append(rows, r.cells)
	}
	return rows
}
