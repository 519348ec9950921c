package metering_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
)

func TestEstimateReading_arithmetic(t *testing.T) {
	// 1000 kWh in 30 days = 33.333 → 33.33 a day; × 5 = 166.65; ÷ 40 = 4.16625 → 4.16.
	e, err := metering.EstimateReading(metering.Gap{
		Service: billing.Power, Ratio: 40, Digits: 8, Last: billing.Registers{10000}, Days: 5,
		Sources: []metering.Source{{Name: "last_month", Use: billing.Registers{100000}, Days: 30}},
	})
	require.NoError(t, err)
	require.Equal(t, metering.Estimate{
		Registers: billing.Registers{10416}, Source: "last_month", DailyAverage: billing.MustQuantity("33.33"),
	}, e)

	// 6.15 m³ in 30 days = 0.205 → 0.21 (half up); × 3 = 0.63 m³, through the rollover.
	e, err = metering.EstimateReading(metering.Gap{
		Service: billing.Water, Ratio: 1, Digits: 6, Last: billing.Registers{999900}, Days: 3,
		Sources: []metering.Source{{Name: "last_month", Use: billing.Registers{6150}, Days: 30}},
	})
	require.NoError(t, err)
	require.Equal(t, billing.Registers{530}, e.Registers)
	require.Equal(t, "0.21", e.DailyAverage.String())
}

func TestEstimateReading_totalIsTheSumOfItsBands(t *testing.T) {
	e, err := metering.EstimateReading(metering.Gap{
		Service: billing.Power, Ratio: 30, Digits: 8, Last: billing.Registers{150, 10, 20, 30, 40, 50}, Days: 7,
		Sources: []metering.Source{{Name: "last_month", Use: billing.Registers{50000, 10001, 10002, 10003, 10004, 9990}, Days: 31}},
	})
	require.NoError(t, err)
	require.Equal(t, e.Registers.Total(), e.Registers.BandSum())
	require.Greater(t, e.Registers.Total(), int64(150))
}

func TestEstimateReading_sources(t *testing.T) {
	gap := metering.Gap{Service: billing.Power, Ratio: 1, Digits: 8, Last: billing.Registers{0}, Days: 1}
	source := func(name string, days, estimated int) metering.Source {
		return metering.Source{Name: name, Use: billing.Registers{3000}, Days: days, EstimatedDays: estimated}
	}
	for name, c := range map[string]struct {
		sources []metering.Source
		want    string
	}{
		"the first that fits":        {[]metering.Source{source("last_month", 30, 15), source("last_year", 30, 0)}, "last_month"},
		"mostly estimated is passed": {[]metering.Source{source("last_month", 30, 16), source("last_year", 30, 0)}, "last_year"},
		"too short is passed":        {[]metering.Source{source("last_month", 6, 0), source("last_year", 30, 0)}, "last_year"},
		"other registers are passed": {[]metering.Source{{Name: "last_month", Use: make(billing.Registers, 6), Days: 30}, source("last_year", 30, 0)}, "last_year"},
	} {
		t.Run(name, func(t *testing.T) {
			gap.Sources = c.sources
			e, err := metering.EstimateReading(gap)
			require.NoError(t, err)
			require.Equal(t, c.want, e.Source)
		})
	}
	gap.Sources = []metering.Source{source("last_month", 30, 20), source("last_year", 30, 20)}
	_, err := metering.EstimateReading(gap)
	require.Equal(t, billing.CodeInvalidReading, billing.CodeOf(err))
	require.ErrorContains(t, err, "read the meter or enter a value by hand")
	gap.Days = 0
	_, err = metering.EstimateReading(gap)
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
	gap.Days, gap.Ratio = 1, 0
	_, err = metering.EstimateReading(gap)
	require.ErrorContains(t, err, "ratio")
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
