package control

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
)

// ordinary is a bill that passes every default limit: 300 kWh in 30 days for 161.40 yuan, as every month of the year.
func ordinary() Facts {
	return Facts{
		Service: billing.Power, Class: billing.ClassHousehold, Days: 30, Quantity: 30_000, Total: 16_140,
		Last: Past{Days: 31, Quantity: 31_000, Fen: 16_678}, Year: Past{Days: 365, Quantity: 365_000, Fen: 196_370},
	}
}

// Each limit stops exactly its own account, one unit beyond, and lets go what lies on it.
func TestJudge_eachLimit(t *testing.T) {
	limits := DefaultPolicy().Power
	limits.ChangeFen = 30_000
	limits.FallTimesTenths = 20
	cases := map[Rule]struct {
		on, beyond func(*Facts)
		says       string
	}{
		RuleAmount: {
			func(f *Facts) { f.Total, f.Last = 200_000, Past{} }, func(f *Facts) { f.Total, f.Last = 200_001, Past{} },
			"the bill comes to 2,000.01 yuan, the limit is 2,000.00 yuan",
		},
		RuleChange: {
			func(f *Facts) { f.Total = f.Last.Fen + 30_000 }, func(f *Facts) { f.Total = f.Last.Fen + 30_001 },
			"the bill differs by 300.01 yuan from the one before, the limit is 300.00 yuan",
		},
		RuleLast: {
			func(f *Facts) { f.Quantity = 90_000 }, func(f *Facts) { f.Quantity = 90_001 },
			"the use of 30.00 kWh a day is above the limit of 30.00 kWh, set by the period before",
		},
		RuleAverage: {
			func(f *Facts) { f.Quantity, f.Last = 120_000, Past{} }, func(f *Facts) { f.Quantity, f.Last = 130_000, Past{} },
			"the use of 43.33 kWh a day is above the limit of 40.00 kWh, set by the average of the year",
		},
		RuleFall: {
			func(f *Facts) { f.Quantity = 15_000 }, func(f *Facts) { f.Quantity = 14_999 },
			"the use of 4.99 kWh a day is below the limit of 5.00 kWh, set by the period before",
		},
		RuleEstimated: {
			func(f *Facts) { f.Estimated = 15_000 }, func(f *Facts) { f.Estimated = 15_001 },
			"50 % of the use is estimated, the limit is 50 %",
		},
		RuleNegative: {
			func(f *Facts) { f.Total, f.Quantity, f.Last = 0, 0, Past{} }, func(f *Facts) { f.Total, f.Quantity, f.Last = -1, 0, Past{} },
			"the bill is negative (-0.01 yuan), the limit is 0.00 yuan",
		},
		RuleZero: {
			func(f *Facts) { f.Total, f.Quantity, f.Last = 0, 0, Past{} }, func(f *Facts) { f.Total, f.Quantity, f.Last = 0, 1, Past{} },
			"the bill is for nothing, though 0.01 kWh were used; the limit is 0.00 yuan",
		},
		RuleEarlierHeld: {
			func(*Facts) {}, func(f *Facts) { f.EarlierHeld = billing.MustDate("2026-08-01") },
			"the bill of 2026-08 is still held: bill that period first (2026-08-01)",
		},
	}
	require.Empty(t, limits.Judge(ordinary()))
	for _, rule := range Rules {
		t.Run(string(rule), func(t *testing.T) {
			c, ok := cases[rule]
			require.True(t, ok, "every rule has its case")
			on, beyond := ordinary(), ordinary()
			c.on(&on)
			c.beyond(&beyond)
			require.Empty(t, limits.Judge(on))
			stops := limits.Judge(beyond)
			require.Len(t, stops, 1)
			require.Equal(t, rule, stops[0].Rule)
			require.Equal(t, c.says, Reason(stops))
			if rule != RuleEarlierHeld {
				require.Empty(t, Limits{}.Judge(beyond), "zero switches it off")
			}
		})
	}
}

func TestJudge_classAndFloor(t *testing.T) {
	l := DefaultPolicy().Power
	f := ordinary()
	f.Class, f.Total, f.Last = billing.ClassCommercial, 9_000_000, Past{}
	require.Empty(t, l.Judge(f), "a shop may have the bill that a home may not")
	f = ordinary()
	f.Quantity, f.Total, f.Last, f.Year = 5_000, 2_690, Past{Days: 30, Quantity: 0}, Past{Days: 300, Quantity: 10}
	require.Empty(t, l.Judge(f), "three times nothing is no jump")
	f.Quantity = 5_001
	require.Len(t, l.Judge(f), 2)
}

func TestJudge_moreUseNeverStopsLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := DefaultPolicy().Power
		f := ordinary()
		f.Last.Quantity = rapid.Int64Range(0, 1<<40).Draw(t, "last")
		f.Last.Days = rapid.Int64Range(1, 62).Draw(t, "days")
		f.Quantity = rapid.Int64Range(l.IgnoreBelow+1, 1<<40).Draw(t, "use")
		has := func(f Facts) bool {
			for _, s := range l.Judge(f) {
				if s.Rule == RuleLast {
					return true
				}
			}
			return false
		}
		if has(f) {
			f.Quantity += rapid.Int64Range(0, 1<<40).Draw(t, "more")
			if !has(f) {
				t.Fatal("more use passed")
			}
		}
	})
}

func TestSitePolicy(t *testing.T) {
	p, err := SitePolicy(json.RawMessage(`{"billing": {"hold_after_hours": 10, "limits": {"water": {"household_fen": 77}}}}`))
	require.NoError(t, err)
	want := DefaultPolicy()
	want.Water.HouseholdFen = 77
	require.Equal(t, want, p, "single fields override the defaults")
	_, err = SitePolicy(json.RawMessage(`{"billing": {"limits": {"power": {"change_fen": -1}}}}`))
	require.ErrorContains(t, err, "change_fen for power is negative")
	_, err = SitePolicy(json.RawMessage(`{"billing": {"limits": {"power": {"last_times_tenths": 10}}}}`))
	require.ErrorContains(t, err, "last_times_tenths for power must lie above 10")
	_, err = SitePolicy(json.RawMessage(`{"billing": {"limits": {"power": {"estimated_percent": 101}}}}`))
	require.ErrorContains(t, err, "between 0 and 100")
	_, err = SitePolicy(json.RawMessage(`{"billing": {"limits": []}}`))
	require.ErrorContains(t, err, "can't be read")
}

// What is published for a site names every limit, so that none is switched off by being forgotten.
func TestParsePolicy(t *testing.T) {
	raw, err := json.Marshal(DefaultPolicy())
	require.NoError(t, err)
	p, err := ParsePolicy(raw)
	require.NoError(t, err)
	require.Equal(t, DefaultPolicy(), p)
	for _, name := range fieldNames {
		var all map[string]map[string]any
		require.NoError(t, json.Unmarshal(raw, &all))
		require.Len(t, all["water"], len(fieldNames), "a new limit has to be named in fieldNames")
		delete(all["water"], name)
		less, err := json.Marshal(all)
		require.NoError(t, err)
		_, err = ParsePolicy(less)
		require.ErrorContains(t, err, "The limit "+name+" for water is missing")
		all["water"][name+"s"] = 1
		more, err := json.Marshal(all)
		require.NoError(t, err)
		_, err = ParsePolicy(more)
		require.ErrorContains(t, err, "unknown field")
	}
}
