package metering

import (
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Source is a stretch of an account's own past from which use is estimated.
type Source struct {
	// Name says which: "last_month", "last_year".
	Name string
	// Use is the raw use of each register over the stretch, after ratio.
	Use billing.Registers
	// Days is the length of the stretch, EstimatedDays how many of them nobody measured.
	Days, EstimatedDays int
}

// Gap is a stretch without a reading, after the last good one.
type Gap struct {
	Service billing.Service
	Ratio   int64
	Digits  int
	// Last is the last good reading, raw.
	Last billing.Registers
	// Days is the length of the gap.
	Days int
	// Sources are tried in order; the usual one is last month, then last year.
	Sources []Source
}

// Estimate is an estimated reading and how it came about.
type Estimate struct {
	Registers billing.Registers
	Source    string
	// DailyAverage is the average use of a day, after ratio, to two decimals.
	DailyAverage billing.Quantity
}

// minSourceDays keeps one odd day from becoming somebody's month.
const minSourceDays = 7

// EstimateReading fills a gap from the first source that is long enough, holds
// the same registers and is not itself mostly estimated; without one it is
// refused as invalid_reading. The arithmetic is the one of the Californian
// validation rules: average daily use (kWh or m³, after ratio) rounded half up
// to two decimals, times days, divided by the ratio, cut to whole register units,
// added to the last reading. With bands the total is the sum of the bands.
func EstimateReading(g Gap) (Estimate, error) {
	if g.Days <= 0 {
		return Estimate{}, billing.Errorf(billing.CodeInvalidInput, "An estimate needs at least one day after the last reading.")
	}
	if g.Ratio <= 0 {
		return Estimate{}, billing.Errorf(billing.CodeInvalidInput, "An estimate needs the meter's ratio, 1 for a direct meter.")
	}
	for _, s := range g.Sources {
		if s.Days < minSourceDays || 2*s.EstimatedDays > s.Days || len(s.Use) != len(g.Last) {
			continue
		}
		return g.from(s), nil
	}
	return Estimate{}, billing.Errorf(billing.CodeInvalidReading, "There is no past of %d days or more that was mostly measured, so nothing to estimate from: read the meter or enter a value by hand.", minSourceDays)
}

func (g Gap) from(s Source) Estimate {
	// One unit (kWh, m³) has `unit` raw units; averages count in hundredths.
	unit := billing.Wrap(g.Service.Scale())
	use := make(billing.Registers, len(s.Use))
	average := func(raw int64) int64 {
		divisor := unit * int64(s.Days)
		return (2*raw*100 + divisor) / (2 * divisor)
	}
	for i, raw := range s.Use {
		use[i] = average(raw) * int64(g.Days) * unit / 100 / g.Ratio
	}
	if use.HasBands() {
		use[billing.Total] = use.BandSum()
	}
	e := Estimate{
		Registers:    make(billing.Registers, len(use)),
		Source:       s.Name,
		DailyAverage: billing.Power.Quantity(average(s.Use.Total())), // hundredths, whatever the service
	}
	for i := range use {
		e.Registers[i] = g.Last[i] + use[i]
		if wrap := billing.Wrap(g.Digits); wrap > 0 {
			e.Registers[i] %= wrap
		}
	}
	return e
}

// Interpolate is what the registers showed at an instant between two readings,
// at an even rate, cut to whole raw units. The caller marks it as interpolated.
func Interpolate(a, b Reading, at time.Time, digits int) (billing.Registers, error) {
	return billing.Between(a.Registers, b.Registers, digits, at.Sub(a.At), b.At.Sub(a.At))
}
