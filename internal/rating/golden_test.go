package rating_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
	"github.com/meterflow/meterflow/internal/rating"
)

var update = flag.Bool("update", false, "rewrite the bills in testdata from the code; the totals worked by hand stay")

// golden is one whole bill. Hand is worked out on paper and never rewritten.
type golden struct {
	About       string           `json:"about"`
	Source      string           `json:"source"`
	Tariff      json.RawMessage  `json:"tariff"` // a tariff, or the id of one of the demo's
	Location    string           `json:"location"`
	From        time.Time        `json:"from"`
	To          time.Time        `json:"to"`
	Fittings    []rating.Fitting `json:"fittings"`
	Points      []rating.Point   `json:"points"`
	UsedInYear  billing.Quantity `json:"used_in_year"`
	UsedInMonth billing.Quantity `json:"used_in_month"`
	Hand        struct {
		Working  []string      `json:"working"`
		TotalFen billing.Money `json:"total_fen"`
	} `json:"hand"`
	Bill json.RawMessage `json:"bill"`
}

func TestRate_goldenBills(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden.json")
	require.NoError(t, err)
	require.Len(t, files, 11)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			var g golden
			require.NoError(t, json.Unmarshal(data, &g))
			bill, err := rating.Rate(g.input(t))
			require.NoError(t, err)
			require.Equal(t, g.Hand.TotalFen, bill.Total, "%v", g.Hand.Working)
			got, err := json.Marshal(bill)
			require.NoError(t, err)
			if *update {
				g.Bill = got
				data, err = json.MarshalIndent(g, "", "  ")
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(file, append(data, '\n'), 0o644))
			}
			require.JSONEq(t, string(g.Bill), string(got))
		})
	}
}

func (g golden) input(t *testing.T) rating.Input {
	loc, err := time.LoadLocation(g.Location)
	require.NoError(t, err)
	return rating.Input{
		Tariff: g.tariff(t), Location: loc, From: g.From, To: g.To,
		Fittings: g.Fittings, Points: g.Points, UsedInYear: g.UsedInYear, UsedInMonth: g.UsedInMonth,
	}
}

func (g golden) tariff(t *testing.T) billing.Tariff {
	var id billing.TariffID
	if json.Unmarshal(g.Tariff, &id) == nil {
		return demoTariff(t, id)
	}
	tariff, err := tariffdata.Parse(g.Tariff)
	require.NoError(t, err)
	return tariff
}

func demoTariff(t require.TestingT, id billing.TariffID) billing.Tariff {
	tariffs, err := tariffdata.LoadDemoTariffs()
	require.NoError(t, err)
	for _, tariff := range tariffs {
		if tariff.ID == id {
			return tariff
		}
	}
	require.Failf(t, "no such demo tariff", "%s", id)
	return billing.Tariff{}
}
