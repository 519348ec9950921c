package longhand

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Account is what section 3 of docs/tariffs.md says that rating takes.
type Account struct {
	Zone                *time.Location
	From, To            time.Time
	Open                bool
	Fittings            []Fitting
	Points              []Point
	UsedYear, UsedMonth *big.Rat // kWh or m³
	OpenedOn, ClosedOn  string   // 2006-01-02, empty when unknown
	Terms               []Terms  // at least one
	Months              map[string]Month
	Tariffs             map[string]json.RawMessage
	Late                *Late
}

// Fitting is one meter at the service point.
type Fitting struct {
	Ratio  int64
	Digits int
}

// Point is one accepted reading of fitting number Fitting, counted from 1.
type Point struct {
	At        time.Time
	Registers []int64
	Fitting   int
}

// Terms hold from a day on. Numbers that are not known are nil.
type Terms struct {
	From      string
	Tariff    string
	Persons   int
	Capacity  *big.Rat
	Suspended *big.Rat
	Contract  *big.Rat
	Choice    string
	Register  int // 0 is the total
}

// Month is what registers don't give, by "2006-01".
type Month struct{ Demand, Kvarh *big.Rat }

// Line is one line of the bill.
type Line struct {
	Component string
	Register  int
	Tier      int
	Quantity  *big.Rat
	Fen       int64
}

// registers in the order of their vector.
var registers = []string{"total", "sharp", "peak", "flat", "valley", "deep_valley"}

// rater walks through the period.
type rater struct {
	Account
	tariffs  map[string]tariff
	service  string
	year     *big.Rat // used in the year and month so far, kWh or m³
	month    *big.Rat
	lines    []Line
	byMonth  []Line    // lines of the month that is under way
	use      *big.Rat  // total use of that month
	lastDay  time.Time // first instant of the month's last segment
	segments []segment
}

// segment is a stretch of one fitting.
type segment struct {
	from, to time.Time
	fitting  int
	use      []int64 // units, after ratio
}

// Rate gives the lines of the period.
func Rate(a Account) ([]Line, error) {
	r := &rater{Account: a, tariffs: map[string]tariff{}, year: a.UsedYear, month: a.UsedMonth, use: whole(0)}
	for id, raw := range a.Tariffs {
		var t tariff
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, err
		}
		r.tariffs[id], r.service = t, t.Service
	}
	if err := r.cutUp(); err != nil {
		return nil, err
	}
	for i, s := range r.segments {
		if i > 0 {
			r.turn(r.segments[i-1].from, s.from)
		}
		if err := r.energy(s); err != nil {
			return nil, err
		}
		last := i == len(r.segments)-1
		if last || r.monthOf(r.segments[i+1].from) != r.monthOf(s.from) {
			if err := r.closeMonth(s.from); err != nil {
				return nil, err
			}
		}
	}
	r.lateFees()
	return r.lines, nil
}

func (r *rater) local(t time.Time) time.Time { return t.In(r.Zone) }

func (r *rater) dayOf(t time.Time) string { return r.local(t).Format(time.DateOnly) }

func (r *rater) monthOf(t time.Time) string { return r.local(t).Format("2006-01") }

func (r *rater) midnight(day string) time.Time {
	t, err := time.ParseInLocation(time.DateOnly, day, r.Zone)
	if err != nil {
		panic(err) // a day is a day
	}
	return t
}

// days are the local days that the period touches.
func (r *rater) days(from, to time.Time) []string {
	var days []string
	for t := r.midnight(r.dayOf(from)); t.Before(to); {
		days = append(days, r.dayOf(t))
		l := r.local(t)
		t = time.Date(l.Year(), l.Month(), l.Day()+1, 0, 0, 0, 0, r.Zone)
	}
	return days
}

// termsOn are those that hold on a day; the first hold before it too.
func (r *rater) termsOn(day string) Terms {
	held := r.Terms[0]
	for _, t := range r.Terms {
		if t.From <= day {
			held = t
		}
	}
	return held
}

// versionOn is the version in force on a day.
func (r *rater) versionOn(day string) (version, error) {
	t := r.tariffs[r.termsOn(day).Tariff]
	for i := len(t.Versions) - 1; i >= 0; i-- {
		v := t.Versions[i]
		if v.From <= day {
			if v.Until != "" && v.Until <= day {
				break
			}
			return v, nil
		}
	}
	return version{}, fmt.Errorf("no price on %s", day)
}

// cutUp makes the segments: section 4.1.
func (r *rater) cutUp() error {
	days := r.days(r.From, r.To)
	years, months := false, false
	for _, day := range days {
		v, err := r.versionOn(day)
		if err != nil {
			return err
		}
		for _, c := range v.Components {
			years = years || c.Accumulate == "year"
			months = months || c.Accumulate == "month" || len(c.Seasons) > 0 || len(c.Household) > 0 || c.Prorate != "" || monthly(c.Kind)
		}
	}
	bounds := []time.Time{r.From}
	for i, day := range days {
		at := r.midnight(day)
		if i == 0 || !at.After(r.From) || !at.Before(r.To) {
			continue
		}
		today, err := r.versionOn(day)
		if err != nil {
			return err
		}
		before, err := r.versionOn(days[i-1])
		if err != nil {
			return err
		}
		newTerms := r.termsOn(day).From != r.termsOn(days[i-1]).From
		if newTerms || today.From != before.From || years && day[4:] == "-01-01" || months && day[7:] == "-01" {
			bounds = append(bounds, at)
		}
	}
	bounds = append(bounds, r.To)
	for i := 1; i < len(bounds); i++ {
		for f := range r.Fittings {
			if err := r.addSegment(f+1, bounds, i); err != nil {
				return err
			}
		}
	}
	if len(r.segments) == 0 {
		return errors.New("nothing was measured")
	}
	return nil
}

func monthly(kind string) bool {
	return slices.Contains([]string{"capacity", "demand", "power_factor", "minimum", "tax"}, kind)
}

// addSegment adds a fitting's part of the stretch that ends at bounds[i].
func (r *rater) addSegment(fitting int, bounds []time.Time, i int) error {
	points := r.pointsOf(fitting)
	if len(points) == 0 {
		return nil
	}
	begin, end := later(r.From, points[0].At), earlier(r.To, points[len(points)-1].At)
	from, to := later(bounds[i-1], begin), earlier(bounds[i], end)
	if !from.Before(to) {
		return nil
	}
	anchors := r.anchors(points, bounds, begin, end)
	start, err := r.partAt(fitting, anchors, points, from)
	if err != nil {
		return err
	}
	stop, err := r.partAt(fitting, anchors, points, to)
	if err != nil {
		return err
	}
	s := segment{from: from, to: to, fitting: fitting, use: make([]int64, len(start))}
	for k := range s.use {
		s.use[k] = (stop[k] - start[k]) * max(1, r.Fittings[fitting-1].Ratio)
	}
	r.segments = append(r.segments, s)
	return nil
}

func (r *rater) pointsOf(fitting int) []Point {
	var own []Point
	for _, p := range r.Points {
		if p.Fitting == fitting {
			own = append(own, p)
		}
	}
	return own
}

// anchors are the points between which registers are interpolated: section 4.2.
func (r *rater) anchors(points []Point, bounds []time.Time, begin, end time.Time) []Point {
	at := func(t time.Time) bool {
		return slices.ContainsFunc(points, func(p Point) bool { return p.At.Equal(t) })
	}
	var anchors []Point
	for i, p := range points {
		isCut := slices.ContainsFunc(bounds, func(b time.Time) bool { return b.Equal(p.At) })
		nextBefore := p.At.Before(r.From) && !at(r.From) && (i+1 == len(points) || points[i+1].At.After(r.From))
		nextAfter := p.At.After(r.To) && !at(r.To) && (i == 0 || points[i-1].At.Before(r.To))
		if isCut || p.At.Equal(begin) || p.At.Equal(end) || nextBefore || nextAfter {
			anchors = append(anchors, p)
		}
	}
	return anchors
}

// partAt is how much was counted from the first anchor up to an instant, register by register, before the ratio.
func (r *rater) partAt(fitting int, anchors, points []Point, t time.Time) ([]int64, error) {
	sum := make([]int64, len(points[0].Registers))
	for i := 1; i < len(anchors); i++ {
		a, b := anchors[i-1], anchors[i]
		if !t.After(a.At) {
			break
		}
		use, err := r.usedBetween(fitting, points, a.At, b.At)
		if err != nil {
			return nil, err
		}
		if t.Before(b.At) {
			use = part(use, big.NewRat(int64(t.Sub(a.At)), int64(b.At.Sub(a.At))))
		}
		for k := range sum {
			sum[k] += use[k]
		}
	}
	return sum, nil
}

// part is the share of each register's use, cut down; where bands add up to the total, the total's part is that of its bands.
func part(use []int64, share *big.Rat) []int64 {
	parts := make([]int64, len(use))
	var bands, partOfBands int64
	for k, u := range use {
		parts[k] = floor(times(whole(u), share))
		if k > 0 {
			bands += u
			partOfBands += parts[k]
		}
	}
	if len(use) > 1 && bands == use[0] {
		parts[0] = partOfBands
	}
	return parts
}

// usedBetween adds the uses from reading to reading.
func (r *rater) usedBetween(fitting int, points []Point, from, to time.Time) ([]int64, error) {
	wrap := int64(1)
	for range r.Fittings[fitting-1].Digits {
		wrap *= 10
	}
	use := make([]int64, len(points[0].Registers))
	for i := 1; i < len(points); i++ {
		if points[i-1].At.Before(from) || points[i].At.After(to) {
			continue
		}
		for k := range use {
			d := points[i].Registers[k] - points[i-1].Registers[k]
			if d < 0 {
				d += wrap
			}
			if d < 0 || 2*d > wrap {
				return nil, errors.New("a register went back")
			}
			use[k] += d
		}
	}
	return use, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// turn forgets what was counted in a year or month that is over.
func (r *rater) turn(before, now time.Time) {
	if r.local(before).Year() != r.local(now).Year() {
		r.year = whole(0)
	}
	if r.monthOf(before) != r.monthOf(now) {
		r.month = whole(0)
	}
}

// quantity is units in kWh or m³.
func (r *rater) quantity(units int64) *big.Rat {
	if r.service == "water" {
		return big.NewRat(units, 1000)
	}
	return big.NewRat(units, 100)
}

func (r *rater) unitsIn(q *big.Rat) int64 {
	if r.service == "water" {
		return floor(times(q, whole(1000)))
	}
	return floor(times(q, whole(100)))
}
