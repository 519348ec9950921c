package app

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

var updateRate = flag.Bool("update-rate", false, "rewrite the derivations of meterflow rate in testdata; look at every change")

const (
	tariffFiles     = "../billing/tariffdata/"
	publishedTariff = "../rating/testdata/tariffs/"
)

func TestRate_derivations(t *testing.T) {
	for name, tariff := range map[string]string{"two-part": tariffFiles + "demo-two-part.json", "home": tariffFiles + "zj-residential.json", "late": tariffFiles + "zj-residential.json", "intervals": publishedTariff + "zj-commercial-tou.json"} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			command := Rate{Tariff: []string{tariff}, Usage: "testdata/rate/" + name + ".usage", out: &out}
			require.NoError(t, command.Run())
			file := "testdata/rate/" + name + ".golden.txt"
			if *updateRate {
				require.NoError(t, os.WriteFile(file, out.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), out.String())

			// The same as JSON holds all that it takes to derive it again.
			out.Reset()
			command.JSON = true
			require.NoError(t, command.Run())
			var got struct {
				Engine string          `json:"engine"`
				Input  json.RawMessage `json:"input"`
				Total  billing.Money   `json:"total_fen"`
				Lines  []rating.Line   `json:"lines"`
			}
			require.NoError(t, json.Unmarshal(out.Bytes(), &got))
			again, err := rating.Again(got.Engine, got.Input)
			require.NoError(t, err)
			require.Equal(t, got.Total, again.Total)
			require.Len(t, again.Lines, len(got.Lines))
		})
	}
}

// Bad files are refused in one sentence that names the line.
func TestRate_refusesBadFiles(t *testing.T) {
	const head = "period,2026-01-01,2026-02-01\n"
	const readings = "reading,2026-01-01T00:00,total=1\nreading,2026-02-01T00:00,total=9\n"
	for name, c := range map[string]struct{ usage, want string }{
		"unknown register":     {head + "reading,2026-01-01T00:00,total=1,shoulder=2", `line 2: The register "shoulder" is unknown: use total, sharp`},
		"register twice":       {head + "reading,2026-01-01T00:00,total=1,total=2", "line 2: the register total stands twice"},
		"no total":             {head + "reading,2026-01-01T00:00,peak=1", "line 2: the register total is missing"},
		"half the bands":       {head + "reading,2026-01-01T00:00,total=1,peak=1", "line 2: the register sharp is missing"},
		"duplicate reading":    {head + "reading,2026-01-01T00:00,total=1\nreading,2026-01-01T00:00,total=1", "line 3: there is a reading of 2026-01-01 00:00 already"},
		"unordered readings":   {head + "reading,2026-02-01T00:00,total=1\n\n# so\nreading,2026-01-01T00:00,total=1", "line 5: the reading of 2026-01-01 00:00 stands after that of 2026-02-01"},
		"no number":            {head + "reading,2026-01-01T00:00,total=1e3", `line 2: The quantity "1e3" is not a plain decimal number`},
		"too fine":             {head + "reading,2026-01-01T00:00,total=1.005", "line 2: 1.005 kWh is finer than the register"},
		"negative":             {head + "reading,2026-01-01T00:00,total=-1", `line 2: the register total is "-1": it can't be negative`},
		"empty":                {head + "reading,2026-01-01T00:00,total=", "line 2:"},
		"no such day":          {head + "reading,2026-02-30T00:00,total=1", `line 2: the time "2026-02-30T00:00"`},
		"unknown word":         {"tariff,2026-01-01", `line 1: "tariff" is no word`},
		"fields missing":       {"period,2026-01-01", "line 1: period needs 2 fields after it, and has 1"},
		"a comma in a number":  {head + "kvarh,2026-01,1,200", "line 2: kvarh takes 2 fields after it, and has 3: write numbers without commas"},
		"a debt with a comma":  {head + "debt,2025-12-20,2025-11,1,234.56", "line 2: debt takes 3 fields"},
		"debt without a rate":  {head + readings + "debt,2025-12-20,2025-11,100", "no late fee for them: add a line such as late_rate"},
		"negative late fee":    {head + "late_rate,2026-01-01,-0.001,0.001,1", "line 2: The late fee of 2026-01-01 is negative"},
		"period ends first":    {"period,2026-02-01,2026-01-01", "line 1: The period from"},
		"period twice":         {head + head, "line 2: period stands on line 1 already"},
		"no period":            {readings, "has no period"},
		"terms unordered":      {head + "terms,2026-01-02,persons=1\nterms,2026-01-01,persons=1", "line 3: the terms of 2026-01-01 stand after"},
		"terms unknown":        {head + "terms,2026-01-02,people=3", `line 2: "people" is no term`},
		"terms tariff":         {head + "terms,2026-01-02,tariff=x", `line 2: the tariff "x" was not given`},
		"choice":               {head + "terms,2026-01-02,choice=both", `line 2: choice is "both"`},
		"month twice":          {head + "kvarh,2026-01,1\nkvarh,2026-01,2", "line 3: kvarh of 2026-01 stands twice"},
		"month":                {head + "kvarh,2026-13,1", `line 2: The month "2026-13"`},
		"fitting":              {head + "fitting,1,M1,0,8", `line 2: "0" is no whole number above 0`},
		"fitting twice":        {head + "fitting,1,M1,1,8\nfitting,1,M2,1,8", "line 3: fitting 1 stands twice"},
		"fitting unknown":      {head + "fitting,1,M1,1,8\n" + "reading,2026-01-01T00:00,total=1,fitting=7\nreading,2026-02-01T00:00,total=9", "names fitting 7"},
		"quality":              {head + "reading,2026-01-01T00:00,total=1,quality=good", `line 2: quality is "good"`},
		"zone":                 {"zone,Moon/Base", `line 1: the time zone "Moon/Base"`},
		"gap of intervals":     {head + "interval,2026-01-01T00:00,2026-01-01T00:30,1\ninterval,2026-01-01T01:00,2026-01-01T01:30,1", "line 3: the interval starts at 2026-01-01T01:00, the one before ended at"},
		"intervals end early":  {head + "interval,2026-01-01T00:00,2026-01-01T00:30,1", "line 2: the intervals must reach from 2026-01-01 to 2026-02-01"},
		"interval ends first":  {head + "interval,2026-01-01T00:30,2026-01-01T00:00,1", "line 2: the interval ends before it starts"},
		"both":                 {head + readings + "interval,2026-01-01T00:00,2026-01-01T00:30,1", "readings and intervals"},
		"no reading at an end": {head + "reading,2026-01-02T00:00,total=1\nreading,2026-02-01T00:00,total=9", "no reading at or before the start"},
		"going back":           {head + "reading,2026-01-01T00:00,total=200\nreading,2026-02-01T00:00,total=100", "Between the readings of 2026-01-01 00:00 and 2026-02-01 00:00: The total register went back"},
		"no readings":          {head, "no reading at or before the start"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "usage")
			require.NoError(t, os.WriteFile(file, []byte(c.usage), 0o600))
			err := Rate{Tariff: []string{tariffFiles + "zj-residential.json"}, Usage: file, out: &bytes.Buffer{}}.Run()
			require.ErrorContains(t, err, c.want)
			require.NotEqual(t, billing.CodeInternal, billing.CodeOf(err))
		})
	}
	crossing := "period,2026-07-15,2026-07-16\ninterval,2026-07-15T00:00,2026-07-15T17:30,1\ninterval,2026-07-15T17:30,2026-07-16T00:00,1"
	file := filepath.Join(t.TempDir(), "usage")
	require.NoError(t, os.WriteFile(file, []byte(crossing), 0o600))
	err := Rate{Tariff: []string{publishedTariff + "zj-commercial-tou.json"}, Usage: file, out: &bytes.Buffer{}}.Run()
	require.ErrorContains(t, err, "line 2: the interval crosses the switch to another band at 07:00")
	// From a day's last band to a later midnight: the days between have bands of their own.
	days := "period,2026-07-15,2026-07-18\n"
	for _, hours := range []string{"15T00 15T07", "15T07 15T11", "15T11 15T14", "15T14 15T16", "15T16 15T18", "15T18 15T22", "15T22 15T23", "15T23 18T00"} {
		from, to, _ := strings.Cut(hours, " ")
		days += "interval,2026-07-" + from + ":00,2026-07-" + to + ":00,1\n"
	}
	require.NoError(t, os.WriteFile(file, []byte(days), 0o600))
	err = Rate{Tariff: []string{publishedTariff + "zj-commercial-tou.json"}, Usage: file, out: &bytes.Buffer{}}.Run()
	require.ErrorContains(t, err, "line 9: the interval reaches beyond the end of 2026-07-15: write intervals that end within their day")
	require.ErrorContains(t, Rate{Tariff: []string{"nowhere.json"}, Usage: file}.Run(), "tariff file can't be read")
	require.ErrorContains(t, Rate{Tariff: []string{tariffFiles + "SOURCES.md"}, Usage: file}.Run(), "line 1")
}
