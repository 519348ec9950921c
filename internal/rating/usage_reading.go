package rating

import (
	"slices"
	"strconv"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

func (u *usageReader) instant(text string) (time.Time, error) {
	t, err := time.ParseInLocation("2006-01-02T15:04", text, u.in.Location)
	if err != nil {
		return t, invalid("the time %q is not of the form 2026-01-31T00:00.", text)
	}
	return t, nil
}

var qualities = map[string]billing.Quality{
	"actual": billing.QualityActual, "manual": billing.QualityManual, "estimated": billing.QualityEstimated, "edited": billing.QualityEdited,
}

func (u *usageReader) reading(f []string) error {
	at, err := u.instant(f[0])
	if err != nil {
		return err
	}
	p := Point{At: at, Quality: billing.QualityActual, Fitting: 1}
	given := map[billing.Register]int64{}
	for _, field := range f[1:] {
		key, value, err := pair(field)
		if err != nil {
			return err
		}
		switch key {
		case "fitting":
			if p.Fitting, err = strconv.Atoi(value); err != nil {
				return invalid("fitting is %q: write its number.", value)
			}
		case "quality":
			var ok bool
			if p.Quality, ok = qualities[value]; !ok {
				return invalid("quality is %q: write actual, manual, estimated or edited.", value)
			}
		default:
			if err := u.register(given, key, value); err != nil {
				return err
			}
		}
	}
	if p.Registers, err = vector(given); err != nil {
		return err
	}
	if err := p.Registers.Validate(u.in.Tariff.Service); err != nil {
		return err
	}
	if err := u.inOrder(p); err != nil {
		return err
	}
	u.in.Points = append(u.in.Points, p)
	return nil
}

func (u *usageReader) register(given map[billing.Register]int64, key, value string) error {
	var reg billing.Register
	if err := reg.UnmarshalText([]byte(key)); err != nil {
		return err
	}
	if _, twice := given[reg]; twice {
		return invalid("the register %s stands twice.", reg)
	}
	shown, err := quantity("the register "+key, value)
	if err != nil {
		return err
	}
	given[reg], err = u.in.Tariff.Service.Raw(shown)
	return err
}

// vector is the total alone, or all registers.
func vector(given map[billing.Register]int64) (billing.Registers, error) {
	total, ok := given[billing.Total]
	if !ok {
		return nil, invalid("the register total is missing.")
	}
	if len(given) == 1 {
		return billing.Registers{total}, nil
	}
	all := billing.Registers{total}
	for _, reg := range billing.Bands {
		raw, ok := given[reg]
		if !ok {
			return nil, invalid("the register %s is missing: write the total alone, or all six registers.", reg)
		}
		all = append(all, raw)
	}
	return all, nil
}

// inOrder refuses a reading that stands after a later one, or stands twice.
func (u *usageReader) inOrder(p Point) error {
	n := len(u.in.Points)
	if n == 0 {
		return nil
	}
	switch last := u.in.Points[n-1]; {
	case p.At.Before(last.At):
		return billing.Errorf(billing.CodeInvalidReading, "the reading of %s stands after that of %s: order the readings by time.", p.At.Format("2006-01-02 15:04"), last.At.Format("2006-01-02 15:04"))
	case p.At.Equal(last.At) && p.Fitting == last.Fitting:
		return billing.Errorf(billing.CodeInvalidReading, "there is a reading of %s already: keep one.", p.At.Format("2006-01-02 15:04"))
	}
	return nil
}

func (u *usageReader) interval(f []string) error {
	from, err := u.instant(f[0])
	if err != nil {
		return err
	}
	to, err := u.instant(f[1])
	if err != nil {
		return err
	}
	use, err := quantity("the use", f[2])
	if err != nil {
		return err
	}
	raw, err := u.in.Tariff.Service.Raw(use)
	if err != nil {
		return err
	}
	if !from.Before(to) {
		return invalid("the interval ends before it starts.")
	}
	if n := len(u.intervals); n > 0 && !u.intervals[n-1].to.Equal(from) {
		return billing.Errorf(billing.CodeInvalidReading, "the interval starts at %s, the one before ended at %s: they must follow each other without a gap or an overlap.", f[0], u.intervals[n-1].to.Format("2006-01-02T15:04"))
	}
	u.intervals = append(u.intervals, interval{from, to, raw, u.line})
	return nil
}

// finish checks what only the whole file shows.
func (u *usageReader) finish() (Input, error) {
	if u.period.From.IsZero() {
		return Input{}, invalid("The usage file has no period: add a line such as period,2026-01-01,2026-02-01.")
	}
	if l := u.in.Late; l != nil && len(l.Rates) == 0 {
		return Input{}, invalid("The usage file has debts or payments and no late fee for them: add a line such as late_rate,2026-01-01,0.001,0.001,1.")
	}
	u.in.From, u.in.To = u.period.Instants(u.in.Location)
	if len(u.intervals) > 0 && len(u.in.Points) > 0 {
		return Input{}, invalid("The usage file has readings and intervals: write one or the other.")
	}
	if len(u.in.Fittings) == 0 {
		u.in.Fittings = []Fitting{{No: 1, Meter: "1", Ratio: 1, Digits: 10}}
	}
	if len(u.intervals) > 0 {
		if err := u.accumulate(); err != nil {
			return Input{}, err
		}
	}
	return u.in, nil
}

// accumulate turns intervals into registers at each of their midnights, split
// into bands by the calendar of the version in force.
func (u *usageReader) accumulate() error {
	first, last := u.intervals[0], u.intervals[len(u.intervals)-1]
	if !first.from.Equal(u.in.From) || !last.to.Equal(u.in.To) {
		u.line = first.line
		if first.from.Equal(u.in.From) {
			u.line = last.line
		}
		return u.refuse(billing.CodeInvalidReading, "the intervals must reach from %s to %s without a gap.", u.period.From, u.period.To)
	}
	var years []billing.CalendarYear
	for year, days := range u.years {
		years = append(years, billing.CalendarYear{Year: year, Days: days})
	}
	holidays := billing.NewCalendar(years...)
	registers := billing.Registers{0}
	if u.banded() {
		registers = make(billing.Registers, 6)
	}
	add := func(at time.Time) {
		u.in.Points = append(u.in.Points, Point{At: at, Registers: append(billing.Registers(nil), registers...), Quality: billing.QualityActual, Fitting: u.in.Fittings[0].No})
	}
	add(u.in.From)
	for _, i := range u.intervals {
		u.line = i.line
		registers[billing.Total] += i.raw
		if len(registers) > 1 {
			band, err := u.bandOf(i, holidays)
			if err != nil {
				return u.refuse(billing.CodeOf(err), "%s", billing.MessageOf(err))
			}
			registers[band] += i.raw
		}
		if day := billing.DateOf(i.to, u.in.Location); day.Start(u.in.Location).Equal(i.to) {
			add(i.to)
		}
	}
	return nil
}

// banded says whether any version of the tariffs has prices per band.
func (u *usageReader) banded() bool {
	for _, t := range u.tariffs {
		for _, v := range t.Versions {
			if v.Has(billing.KindBands) || v.Has(billing.KindTierBands) {
				return true
			}
		}
	}
	return false
}

// bandOf is the band that the whole interval lies in.
func (u *usageReader) bandOf(i interval, holidays billing.Calendar) (billing.Register, error) {
	day := billing.DateOf(i.from, u.in.Location)
	if i.to.After(day.AddDays(1).Start(u.in.Location)) {
		return 0, invalid("the interval reaches beyond the end of %s: write intervals that end within their day.", day)
	}
	tariff := u.in.Tariff
	if terms, _ := u.in.termsAt(day); terms >= 0 && u.in.Terms[terms].Tariff != nil {
		tariff = *u.in.Terms[terms].Tariff
	}
	version, _, err := tariff.VersionAt(day)
	if err != nil {
		return 0, err
	}
	if version.Calendar == nil {
		return 0, invalid("the tariff %s has no calendar from %s on, so that use of an interval can't be split into bands: add one, or write readings.", tariff.ID, version.From)
	}
	segments, err := version.Calendar.Day(day, holidays)
	if err != nil {
		return 0, err
	}
	minutes := func(t time.Time) int { return t.In(u.in.Location).Hour()*60 + t.In(u.in.Location).Minute() }
	from, to := minutes(i.from), minutes(i.to)
	if billing.DateOf(i.to, u.in.Location) != day {
		to += 24 * 60
	}
	s := segments[slices.IndexFunc(segments, func(s billing.BandSegment) bool { return from < 30*int(s.To) })] // they reach to 24:00
	if to > 30*int(s.To) {
		return 0, invalid("the interval crosses the switch to another band at %s: write shorter intervals.", s.To)
	}
	return s.Band, nil
}
