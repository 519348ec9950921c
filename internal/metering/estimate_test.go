package metering_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
)

func TestEstimateReading_arithmetic(t *testing.T) {
	// 1000 kWh in 30 days = 33.333 → 33.33 a day; × 5 = 166.65; ÷ 40 = 4.16625 → 4.16.
	e, err := metering.EstimateReading(metering.Gap{
		Service: billing.Power, Ratio: 40, Digits: 8, Last: billing.Registers{10000}, Days: 5, Limits: metering.DefaultLimits(billing.Power),
		Sources: []metering.Source{{Method: metering.MethodLastMonth, Use: billing.Registers{100000}, Days: 30}},
	})
	require.NoError(t, err)
	require.Equal(t, metering.Estimate{
		Registers: billing.Registers{10416}, Method: metering.MethodLastMonth, DailyAverage: billing.MustQuantity("33.33"),
	}, e)

	// 6.15 m³ in 30 days = 0.205 → 0.21 (half up); × 3 = 0.63 m³, through the rollover.
	e, err = metering.EstimateReading(metering.Gap{
		Service: billing.Water, Ratio: 1, Digits: 6, Last: billing.Registers{999900}, Days: 3, Limits: metering.DefaultLimits(billing.Water),
		Sources: []metering.Source{{Method: metering.MethodLastMonth, Use: billing.Registers{6150}, Days: 30}},
	})
	require.NoError(t, err)
	require.Equal(t, billing.Registers{530}, e.Registers)
	require.Equal(t, "0.21", e.DailyAverage.String())
}

func TestEstimateReading_totalIsTheSumOfItsBands(t *testing.T) {
	e, err := metering.EstimateReading(metering.Gap{
		Service: billing.Power, Ratio: 30, Digits: 8, Last: billing.Registers{150, 10, 20, 30, 40, 50}, Days: 7, Limits: metering.DefaultLimits(billing.Power),
		Sources: []metering.Source{{Method: metering.MethodLastMonth, Use: billing.Registers{50000, 10001, 10002, 10003, 10004, 9990}, Days: 31}},
	})
	require.NoError(t, err)
	require.Equal(t, e.Registers.Total(), e.Registers.BandSum())
	require.Greater(t, e.Registers.Total(), int64(150))
}

// The order is the rule set's; a method that lacks what it needs is passed over, and manual ends it.
func TestEstimateReading_methods(t *testing.T) {
	const month, year, similar = metering.MethodLastMonth, metering.MethodLastYear, metering.MethodSimilar
	source := func(method metering.Method, days, estimated int) metering.Source {
		return metering.Source{Method: method, Use: billing.Registers{3000}, Days: days, EstimatedDays: estimated, Meters: 5}
	}
	around := func(g *metering.Gap) {
		g.Before, g.After = &metering.Reading{At: noon.AddDate(0, 0, -1), Registers: billing.Registers{0}}, &metering.Reading{At: noon.AddDate(0, 0, 1), Registers: billing.Registers{900}}
	}
	for name, c := range map[string]struct {
		order   []metering.Method
		sources []metering.Source
		change  func(*metering.Gap)
		want    metering.Method
	}{
		"between two measured":       {nil, []metering.Source{source(month, 30, 0)}, around, metering.MethodBetween},
		"between needs both":         {nil, []metering.Source{source(month, 30, 0)}, func(g *metering.Gap) { around(g); g.After = nil }, month},
		"between where it can't be":  {nil, []metering.Source{source(month, 30, 0)}, func(g *metering.Gap) { around(g); g.After.Registers[0] = -1; g.Before.Registers[0] = 5 }, month},
		"the first that fits":        {nil, []metering.Source{source(month, 30, 15), source(year, 30, 0)}, nil, month},
		"another order":              {[]metering.Method{year, month}, []metering.Source{source(month, 30, 0), source(year, 30, 0)}, nil, year},
		"mostly estimated is passed": {nil, []metering.Source{source(month, 30, 16), source(year, 30, 0)}, nil, year},
		"too short is passed":        {nil, []metering.Source{source(month, 6, 0), source(year, 30, 0)}, nil, year},
		"other registers are passed": {nil, []metering.Source{{Method: month, Use: make(billing.Registers, 6), Days: 30}, source(year, 30, 0)}, nil, year},
		"similar ones over the gap":  {nil, []metering.Source{source(month, 6, 0), source(similar, 1, 0)}, nil, similar},
		"too few similar ones":       {nil, []metering.Source{{Method: similar, Use: billing.Registers{9}, Days: 1, Meters: 4}}, nil, ""},
		"manual ends it":             {[]metering.Method{metering.MethodManual, month}, []metering.Source{source(month, 30, 0)}, nil, ""},
		"what isn't in the order":    {[]metering.Method{year}, []metering.Source{source(month, 30, 0)}, around, ""},
		"nothing to estimate from":   {nil, []metering.Source{source(month, 30, 20), source(year, 30, 20)}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			gap := metering.Gap{Service: billing.Power, Ratio: 1, Digits: 8, Last: billing.Registers{0}, Days: 1, At: noon, Sources: c.sources, Limits: metering.DefaultLimits(billing.Power)}
			if c.order != nil {
				gap.Limits.Methods = c.order
			}
			if c.change != nil {
				c.change(&gap)
			}
			e, err := metering.EstimateReading(gap)
			if c.want == "" {
				require.Equal(t, billing.CodeInvalidReading, billing.CodeOf(err))
				require.ErrorContains(t, err, "read the meter or enter a value by hand")
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, e.Method)
		})
	}
	_, err := metering.EstimateReading(metering.Gap{Ratio: 1})
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
	_, err = metering.EstimateReading(metering.Gap{Days: 1})
	require.ErrorContains(t, err, "ratio")
}

func TestAverage(t *testing.T) {
	s := metering.Average([]billing.Registers{{100}, {101}, {1, 2}, {300}}, 2)
	require.Equal(t, metering.Source{Method: metering.MethodSimilar, Use: billing.Registers{167}, Days: 2, Meters: 3}, s, "501 ÷ 3, half up; another kind of vector is left out")
	require.Zero(t, metering.Average(nil, 1).Meters)
}

// What was measured between two instants is what estimates in between add up to, whatever they were before, register by register.
func TestTrueUp_keepsWhatWasMeasured(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const digits = 8
		wrap := billing.Wrap(digits)
		from, use, to := make(billing.Registers, 6), make(billing.Registers, 6), make(billing.Registers, 6)
		for i := 1; i < 6; i++ {
			from[i] = rapid.Int64Range(0, wrap-1).Draw(t, "from")
			use[i] = rapid.Int64Range(0, 100_000).Draw(t, "use")
		}
		from[0], use[0] = rapid.Int64Range(0, wrap-1).Draw(t, "total"), use.BandSum()
		for i := range to {
			to[i] = (from[i] + use[i]) % wrap
		}
		n := rapid.IntRange(1, 40).Draw(t, "estimates")
		ats := make([]time.Time, n)
		for i := range ats {
			ats[i] = noon.AddDate(0, 0, i+1)
		}
		anchor, measured := metering.Reading{At: noon, Registers: from}, metering.Reading{At: noon.AddDate(0, 0, n+1), Registers: to}
		spread, err := metering.TrueUp(anchor, measured, ats, digits)
		require.NoError(t, err)
		sum, last := make(billing.Registers, 6), from
		for _, r := range append(spread, to) {
			step, err := billing.Usage(last, r, digits)
			require.NoError(t, err)
			require.Equal(t, step.Total(), step.BandSum())
			for i := range sum {
				sum[i] += step[i]
			}
			last = r
		}
		require.Equal(t, use, sum)
	})
}

func TestResplit_keepsTheTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) billing.Registers {
			r := make(billing.Registers, 6)
			for i := 1; i < 6; i++ {
				r[i] = rapid.Int64Range(0, 1_000_000).Draw(t, name)
			}
			r[0] = r.BandSum()
			return r
		}
		previous, counted, past := draw("previous"), draw("counted"), draw("past")
		if past.BandSum() == 0 {
			return
		}
		current := make(billing.Registers, 6)
		for i := range current {
			current[i] = previous[i] + counted[i]
		}
		split, err := metering.Resplit(previous, current, past, 8)
		require.NoError(t, err)
		use, err := billing.Usage(previous, split, 8)
		require.NoError(t, err)
		require.Equal(t, counted.Total(), use.Total())
		require.Equal(t, use.Total(), use.BandSum())
	})
	_, err := metering.Resplit(billing.Registers{0}, billing.Registers{5}, billing.Registers{9}, 8)
	require.ErrorContains(t, err, "no past use by bands")
}

func TestInterpolate(t *testing.T) {
	a := metering.Reading{At: noon, Registers: billing.Registers{99999900}}
	b := metering.Reading{At: noon.Add(3 * time.Hour), Registers: billing.Registers{100}}
	got, err := metering.Interpolate(a, b, noon.Add(2*time.Hour), 8)
	require.NoError(t, err)
	require.Equal(t, billing.Registers{33}, got, "200 × 2/3 = 133.3, cut, through the rollover")
	_, err = metering.Interpolate(a, b, noon.Add(4*time.Hour), 8)
	require.ErrorContains(t, err, "between two readings")
}
