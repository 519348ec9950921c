package rating

import (
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// fitted is one fitting with its points.
type fitted struct {
	Fitting
	points []Point
}

// check refuses input that does not carry the period, and sorts the points by
// fitting. Tariffs are validated when they are published, not on every bill.
func check(in Input) ([]fitted, error) {
	if in.Location == nil {
		return nil, billing.Errorf(billing.CodeInvalidInput, "The site's time zone is missing: set its location.")
	}
	if !in.From.Before(in.To) {
		return nil, billing.Errorf(billing.CodeInvalidInput, "The period ends (%s) before it starts (%s).", in.To.In(in.Location), in.From.In(in.Location))
	}
	if len(in.Points) == 0 || in.Points[0].At.After(in.From) {
		return nil, billing.Errorf(billing.CodeInvalidReading, "There is no reading at or before the start of the period, %s: take or estimate one.", in.From.In(in.Location))
	}
	if in.Points[len(in.Points)-1].At.Before(in.To) {
		return nil, billing.Errorf(billing.CodeInvalidReading, "There is no reading at or after the end of the period, %s: take or estimate one.", in.To.In(in.Location))
	}
	var fittings []fitted
	for i, p := range in.Points {
		if err := p.Registers.Validate(in.Tariff.Service); err != nil {
			return nil, err
		}
		if i > 0 && p.At.Before(in.Points[i-1].At) {
			return nil, billing.Errorf(billing.CodeInvalidReading, "The reading of %s comes after a later one: order the readings by time.", p.At.In(in.Location))
		}
		if i > 0 && p.Fitting == in.Points[i-1].Fitting {
			if p.At.Equal(in.Points[i-1].At) {
				return nil, billing.Errorf(billing.CodeInvalidReading, "There are two readings at %s: keep one.", p.At.In(in.Location))
			}
			last := &fittings[len(fittings)-1]
			last.points = append(last.points, p)
			continue
		}
		f, err := in.fitting(p.Fitting)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(fittings, func(seen fitted) bool { return seen.No == f.No }) {
			return nil, billing.Errorf(billing.CodeInvalidReading, "Fitting %d has readings before and after another fitting: a meter that is fitted again is a new fitting.", f.No)
		}
		fittings = append(fittings, fitted{f, []Point{p}})
	}
	return fittings, nil
}

func (in Input) fitting(no int) (Fitting, error) {
	i := slices.IndexFunc(in.Fittings, func(f Fitting) bool { return f.No == no })
	if i < 0 {
		return Fitting{}, billing.Errorf(billing.CodeInvalidReading, "A reading names fitting %d, which is not on file.", no)
	}
	f := in.Fittings[i]
	if f.Ratio == 0 {
		f.Ratio = 1
	}
	if f.Ratio < 0 {
		return Fitting{}, billing.Errorf(billing.CodeInvalidInput, "The ratio of fitting %d is negative (%d).", no, f.Ratio)
	}
	return f, nil
}

// split cuts the period at exchanges, new prices and ends of step periods.
func split(in Input, fittings []fitted) ([]Segment, error) {
	cuts, err := cutTimes(in)
	if err != nil {
		return nil, err
	}
	var segments []Segment
	for _, f := range fittings {
		from := latest(in.From, f.points[0].At)
		to := earliest(in.To, f.points[len(f.points)-1].At)
		for _, cut := range append(cuts, to) {
			if !from.Before(to) || !from.Before(cut) {
				continue
			}
			s, err := segment(in, f, from, earliest(cut, to))
			if err != nil {
				return nil, err
			}
			segments = append(segments, s)
			from = s.Closing.At
		}
	}
	if len(segments) == 0 {
		return nil, billing.Errorf(billing.CodeInvalidReading, "No meter was fitted between %s and %s.", in.From.In(in.Location), in.To.In(in.Location))
	}
	return segments, nil
}

// cutTimes lists, in order, the instants inside the period at which another
// tariff version starts or a step count starts again. Months count as soon as
// any version in force uses them, so that a later version finds the right count.
func cutTimes(in Input) ([]time.Time, error) {
	first, last := billing.DateOf(in.From, in.Location), billing.DateOf(in.To.Add(-1), in.Location)
	var days []billing.Date
	yearly, monthly := false, false
	for day := first; ; {
		version, until, err := in.Tariff.VersionAt(day)
		if err != nil {
			return nil, err
		}
		yearly = yearly || version.Steps(billing.PerYear)
		monthly = monthly || version.Steps(billing.PerMonth)
		if until.IsZero() || until.After(last) {
			break
		}
		days = append(days, until)
		day = until
	}
	for day := billing.MonthPeriod(first).To; (yearly || monthly) && !day.After(last); day = billing.MonthPeriod(day).To {
		if monthly || day.Month() == time.January {
			days = append(days, day)
		}
	}
	slices.SortFunc(days, billing.Date.Compare)
	var cuts []time.Time
	for _, day := range slices.Compact(days) {
		if start := day.Start(in.Location); start.After(in.From) {
			cuts = append(cuts, start)
		}
	}
	return cuts, nil
}

// segment counts the use of one fitting from one instant to another.
func segment(in Input, f fitted, from, to time.Time) (Segment, error) {
	s := Segment{Fitting: f.No, Meter: f.Meter, Ratio: f.Ratio}
	version, _, err := in.Tariff.VersionAt(billing.DateOf(from, in.Location))
	if err != nil {
		return Segment{}, err
	}
	s.Version = version.From
	if s.Opening, err = f.at(from); err != nil {
		return Segment{}, err
	}
	if s.Closing, err = f.at(to); err != nil {
		return Segment{}, err
	}
	// Counting from point to point lets a register wrap more than once in a long
	// period; between the splits the points in between cancel out.
	previous := s.Opening.Registers
	for _, p := range f.points {
		if p.At.After(from) && p.At.Before(to) {
			if err := s.count(previous, p.Registers, f.Digits); err != nil {
				return Segment{}, err
			}
			previous = p.Registers
		}
	}
	if err := s.count(previous, s.Closing.Registers, f.Digits); err != nil {
		return Segment{}, err
	}
	return s, s.multiply()
}

func (s *Segment) count(from, to billing.Registers, digits int) error {
	use, err := billing.Usage(from, to, digits)
	if err != nil {
		return err
	}
	s.Use = add(s.Use, use)
	return nil
}

func (s *Segment) multiply() error {
	for i, u := range s.Use {
		s.Use[i] = u * s.Ratio
		if s.Use[i]/s.Ratio != u {
			return billing.Errorf(billing.CodeInvalidReading, "The use of meter %s (%d raw) times its ratio %d is too large.", s.Meter, u, s.Ratio)
		}
	}
	return nil
}

// at is the reading of f at t: a real one when there is one, else the even
// rate between the two around it. t lies within f's points. Instants leave in
// UTC, so that a bill re-rated from stored inputs is the same text too.
func (f fitted) at(t time.Time) (Boundary, error) {
	t = t.UTC()
	i := slices.IndexFunc(f.points, func(p Point) bool { return !p.At.Before(t) })
	after := f.points[i]
	if after.At.Equal(t) {
		return Boundary{At: t, Registers: after.Registers, Quality: after.Quality}, nil
	}
	before := f.points[i-1]
	registers, err := billing.Between(before.Registers, after.Registers, f.Digits, t.Sub(before.At), after.At.Sub(before.At))
	if err != nil {
		return Boundary{}, err
	}
	return Boundary{At: t, Registers: registers, Quality: billing.QualityEstimated, Interpolated: true}, nil
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
