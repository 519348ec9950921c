package metering

import (
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Method names a way to fill a gap. The name is kept with the estimated reading.
type Method string

// The methods. A rule set gives their order; manual ends it: what stands after it is never tried.
const (
	// MethodBetween lies evenly between the measured readings before and after.
	MethodBetween Method = "between"
	// MethodLastMonth is the daily average of the meter's own last month, MethodLastYear of the same days a year ago.
	MethodLastMonth Method = "last_month"
	MethodLastYear  Method = "last_year"
	// MethodSimilar is the daily average of similar accounts over the gap itself.
	MethodSimilar Method = "similar"
	// MethodManual asks a person for a value.
	MethodManual Method = "manual"
)

// Methods lists those that a rule set may name.
var Methods = []Method{MethodBetween, MethodLastMonth, MethodLastYear, MethodSimilar, MethodManual}

// What estimated readings also come from, without being chosen by a rule set.
const (
	// MethodTrueUp is an estimate spread again when a measured reading came.
	MethodTrueUp Method = "true_up"
	// MethodResplit is a total as read with its bands divided as in the meter's own past, because its clock was wrong.
	MethodResplit Method = "resplit"
)

// Source is a stretch of use from which a gap is estimated.
type Source struct {
	Method Method
	// Use is the raw use of each register over the stretch, after ratio.
	Use billing.Registers
	// Days is the length of the stretch, EstimatedDays how many of them nobody measured.
	Days, EstimatedDays int
	// Meters is how many similar meters were averaged, for MethodSimilar.
	Meters int
}

// Gap is one instant without a reading, after the last good one.
type Gap struct {
	Service billing.Service
	Ratio   int64
	Digits  int
	// Last is the last good reading, raw.
	Last billing.Registers
	// Days is the length of the gap up to the instant.
	Days int
	// At is the instant; Before and After are the measured readings around it, nil when there is none.
	At            time.Time
	Before, After *Reading
	Sources       []Source
	Limits        Limits
}

// Estimate is an estimated reading and how it came about.
type Estimate struct {
	Registers billing.Registers
	Method    Method
	// DailyAverage is the average use of a day, after ratio, to two decimals; zero for MethodBetween.
	DailyAverage billing.Quantity
}

// minSourceDays keeps one odd day from becoming somebody's month.
const minSourceDays = 7

// EstimateReading fills a gap by the first method of the rule set's order that has what it needs: measured readings on both sides, a
// past that is long enough, holds the same registers and is not itself mostly estimated, or enough similar meters. Without one it is
// refused as invalid_reading. The arithmetic of averages is the one of the Californian validation rules: average daily use (kWh or m³,
// after ratio) rounded half up to two decimals, times days, divided by the ratio, cut to whole register units, added to the last
// reading. With bands the total is the sum of the bands.
func EstimateReading(g Gap) (Estimate, error) {
	if g.Days <= 0 {
		return Estimate{}, billing.Errorf(billing.CodeInvalidInput, "An estimate needs at least one day after the last reading.")
	}
	if g.Ratio <= 0 {
		return Estimate{}, billing.Errorf(billing.CodeInvalidInput, "An estimate needs the meter's ratio, 1 for a direct meter.")
	}
	for _, method := range g.Limits.Methods {
		if method == MethodManual {
			break
		}
		if e, ok := g.by(method); ok {
			return e, nil
		}
	}
	return Estimate{}, billing.Errorf(billing.CodeInvalidReading, "There is no past of %d days or more that was mostly measured, so nothing to estimate from: read the meter or enter a value by hand.", minSourceDays)
}

// by tries one method.
func (g Gap) by(method Method) (Estimate, bool) {
	if method == MethodBetween {
		if g.Before == nil || g.After == nil {
			return Estimate{}, false
		}
		r, err := Interpolate(*g.Before, *g.After, g.At, g.Digits)
		return Estimate{Registers: r, Method: method}, err == nil
	}
	i := slices.IndexFunc(g.Sources, func(s Source) bool { return s.Method == method })
	if i < 0 || !g.usable(g.Sources[i]) {
		return Estimate{}, false
	}
	return g.from(g.Sources[i]), true
}

func (g Gap) usable(s Source) bool {
	switch {
	case len(s.Use) != len(g.Last) || s.Days <= 0 || 2*s.EstimatedDays > s.Days:
		return false
	case s.Method == MethodSimilar:
		return s.Meters >= g.Limits.SimilarMeters
	default:
		return s.Days >= minSourceDays
	}
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
	return Estimate{
		Registers:    add(g.Last, use, g.Digits),
		Method:       s.Method,
		DailyAverage: billing.Power.Quantity(average(s.Use.Total())), // hundredths, whatever the service
	}
}

// add counts a use on top of registers, through the rollover.
func add(last, use billing.Registers, digits int) billing.Registers {
	sum := make(billing.Registers, len(use))
	for i := range use {
		sum[i] = last[i] + use[i]
		if wrap := billing.Wrap(digits); wrap > 0 {
			sum[i] %= wrap
		}
	}
	return sum
}

// Average makes a source of similar meters: the mean use of a meter over the gap of so many days, half up, register by register.
// Vectors of another length than the first are left out.
func Average(uses []billing.Registers, days int) Source {
	s := Source{Method: MethodSimilar, Days: days}
	for _, use := range uses {
		if s.Use == nil {
			s.Use = make(billing.Registers, len(use))
		}
		if len(use) != len(s.Use) {
			continue
		}
		s.Meters++
		for i, raw := range use {
			s.Use[i] += raw
		}
	}
	for i, sum := range s.Use {
		s.Use[i] = (2*sum + int64(s.Meters)) / (2 * int64(s.Meters))
	}
	return s
}

// Resplit keeps the total that was counted between two readings and divides it among the bands as the meter's own past was divided:
// what a reading with a wrong clock needs. What doesn't divide goes to the band with the largest share.
func Resplit(previous, current, past billing.Registers, digits int) (billing.Registers, error) {
	counted, err := billing.Usage(previous, current, digits)
	if err != nil {
		return nil, err
	}
	if !counted.HasBands() || !past.HasBands() || past.BandSum() <= 0 {
		return nil, billing.Errorf(billing.CodeInvalidReading, "There is no past use by bands to divide the total by: enter the bands by hand or read the meter again.")
	}
	use := make(billing.Registers, len(counted))
	use[billing.Total] = counted.Total()
	left, largest := counted.Total(), billing.Sharp
	for _, band := range billing.Bands {
		// Both are far below 2^31, a day's or a month's use of one meter.
		use[band] = counted.Total() * past[band] / past.BandSum()
		left -= use[band]
		if past[band] > past[largest] {
			largest = band
		}
	}
	use[largest] += left
	return add(previous, use, digits), nil
}

// Interpolate is what the registers showed at an instant between two readings,
// at an even rate, cut to whole raw units. The caller marks it as interpolated.
func Interpolate(a, b Reading, at time.Time, digits int) (billing.Registers, error) {
	return billing.Between(a.Registers, b.Registers, digits, at.Sub(a.At), b.At.Sub(a.At))
}

// TrueUp spreads again what was estimated between two measured readings: what each estimate becomes, in the order of the instants.
func TrueUp(anchor, measured Reading, ats []time.Time, digits int) ([]billing.Registers, error) {
	spread := make([]billing.Registers, len(ats))
	for i, at := range ats {
		r, err := Interpolate(anchor, measured, at, digits)
		if err != nil {
			return nil, err
		}
		spread[i] = r
	}
	return spread, nil
}
