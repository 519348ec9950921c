package rating

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// fitted is one fitting with its points.
type fitted struct {
	*Fitting
	ratio       int64
	points      []Point
	first, last int64 // instants of its points, in nanoseconds
}

// check refuses input that does not carry the period, and sorts the points by
// fitting. Tariffs are validated when they are published, not on every bill.
func (r *Rater) check(in *Input) error {
	if in.Location == nil {
		return billing.Errorf(billing.CodeInvalidInput, "The site's time zone is missing: set its location.")
	}
	r.from, r.to = in.From.UnixNano(), in.To.UnixNano()
	if r.from >= r.to {
		return billing.Errorf(billing.CodeInvalidInput, "The period ends (%s) before it starts (%s).", in.To.In(in.Location), in.From.In(in.Location))
	}
	if len(in.Points) == 0 || in.Points[0].At.After(in.From) {
		return billing.Errorf(billing.CodeInvalidReading, "There is no reading at or before the start of the period, %s: take or estimate one.", in.From.In(in.Location))
	}
	if in.Points[len(in.Points)-1].At.Before(in.To) {
		return billing.Errorf(billing.CodeInvalidReading, "There is no reading at or after the end of the period, %s: take or estimate one.", in.To.In(in.Location))
	}
	for i := 1; i < len(in.Terms); i++ {
		if !in.Terms[i-1].From.Before(in.Terms[i].From) {
			return billing.Errorf(billing.CodeInvalidInput, "The terms of %s come after those of %s: order them by their first day.", in.Terms[i].From, in.Terms[i-1].From)
		}
	}
	r.fittings = r.fittings[:0]
	power, before := in.Tariff.Service == billing.Power, int64(math.MinInt64)
	for i := range in.Points {
		at := in.Points[i].At.UnixNano()
		if err := r.take(in, i, before, at, power); err != nil {
			return err
		}
		before = at
	}
	return nil
}

// take checks a point, which stands for an instant after that of the one before, and gives it to its fitting.
func (r *Rater) take(in *Input, i int, before, at int64, power bool) error {
	p := &in.Points[i]
	if !power || !plainly(p.Registers) {
		if err := p.Registers.Validate(in.Tariff.Service); err != nil {
			return err
		}
	}
	if at < before {
		return billing.Errorf(billing.CodeInvalidReading, "The reading of %s comes after a later one: order the readings by time.", p.At.In(in.Location))
	}
	if i > 0 && p.Fitting == in.Points[i-1].Fitting {
		if at == before {
			return billing.Errorf(billing.CodeInvalidReading, "There are two readings at %s: keep one.", p.At.In(in.Location))
		}
		last := &r.fittings[len(r.fittings)-1]
		last.points, last.last = last.points[:len(last.points)+1], at
		return nil
	}
	for k := range r.fittings {
		if r.fittings[k].No == p.Fitting {
			return billing.Errorf(billing.CodeInvalidReading, "Fitting %d has readings before and after another fitting: a meter that is fitted again is a new fitting.", p.Fitting)
		}
	}
	for k := range in.Fittings {
		if f := &in.Fittings[k]; f.No == p.Fitting {
			if f.Ratio < 0 {
				return billing.Errorf(billing.CodeInvalidInput, "The ratio of fitting %d is negative (%d).", f.No, f.Ratio)
			}
			n := len(r.fittings)
			r.fittings = slices.Grow(r.fittings, 1)[:n+1]
			last := &r.fittings[n]
			last.Fitting, last.ratio, last.points, last.first, last.last = f, max(1, f.Ratio), in.Points[i:i+1], at, at
			return nil
		}
	}
	return billing.Errorf(billing.CodeInvalidReading, "A reading names fitting %d, which is not on file.", p.Fitting)
}

// plainly says at once that nothing is wrong with a vector of six registers.
func plainly(v billing.Registers) bool {
	return len(v) == int(billing.DeepValley)+1 && v[0]|v[1]|v[2]|v[3]|v[4]|v[5] >= 0
}

// bound is an end of a segment, or a reading next outside the period, with
// what the fitting counted since its first bound, before the ratio.
type bound struct {
	Boundary
	sum   billing.Registers
	known bool // has a reading
}

// split makes the segments of one fitting.
func (r *Rater) split(p *plan, f *fitted) error {
	if len(p.parts) == 1 && f.first == r.from && f.last == r.to {
		return r.oneSegment(&p.parts[0], f, &f.points[0], &f.points[len(f.points)-1])
	}
	from, to := r.in.From, r.in.To
	if first := f.points[0].At; first.After(from) {
		from = first
	}
	if last := f.points[len(f.points)-1].At; last.Before(to) {
		to = last
	}
	if !from.Before(to) {
		return nil
	}
	if err := r.boundsOf(p, f, from.UTC(), to.UTC()); err != nil {
		return err
	}
	at := 0
	for i := 1; i < len(r.bounds); i++ {
		opening, closing := &r.bounds[i-1], &r.bounds[i]
		if opening.At.Before(from) || closing.At.After(to) {
			continue
		}
		for at < len(p.parts)-1 && !p.parts[at].to.After(opening.At) {
			at++
		}
		part := &p.parts[at]
		use := closing.sum
		if len(r.bounds) > 2 {
			use = r.registers(len(closing.sum))
			for k := range use {
				use[k] = closing.sum[k] - opening.sum[k]
			}
		}
		s, err := r.addSegment(part, f, use)
		if err != nil {
			return err
		}
		s.Opening, s.Closing = opening.Boundary, closing.Boundary
	}
	return nil
}

// count adds what a fitting's meter counted between two of its readings. A refusal names both, so that whoever typed them finds them.
func (r *Rater) count(sum billing.Registers, f *fitted, a, b *Point) error {
	err := billing.AddUsage(sum, a.Registers, b.Registers, f.Digits)
	if err != nil {
		const shown = "2006-01-02 15:04"
		return billing.Errorf(billing.CodeOf(err), "Between the readings of %s and %s: %w", a.At.In(r.in.Location).Format(shown), b.At.In(r.in.Location).Format(shown), err)
	}
	return nil
}

// oneSegment is split for a fitting whose readings stand at both ends of a
// period without a cut, as nearly all do.
func (r *Rater) oneSegment(p *part, f *fitted, opening, closing *Point) error {
	use := r.registers(len(opening.Registers))
	for i := 1; i < len(f.points); i++ {
		if err := r.count(use, f, &f.points[i-1], &f.points[i]); err != nil {
			return err
		}
	}
	s, err := r.addSegment(p, f, use)
	if err != nil {
		return err
	}
	s.Opening.At, s.Opening.Registers, s.Opening.Quality, s.Opening.Interpolated = p.from, opening.Registers, opening.Quality, false
	s.Closing.At, s.Closing.Registers, s.Closing.Quality, s.Closing.Interpolated = p.to, closing.Registers, closing.Quality, false
	return nil
}

// addSegment adds a segment that is to get its ends.
func (r *Rater) addSegment(p *part, f *fitted, use billing.Registers) (*Segment, error) {
	n := len(r.out.Segments)
	if n < cap(r.out.Segments) {
		r.out.Segments = r.out.Segments[:n+1]
	} else {
		r.out.Segments = append(r.out.Segments, Segment{})
	}
	s := &r.out.Segments[n]
	s.Fitting, s.Meter, s.Ratio, s.Tariff, s.Version, s.Use = f.No, f.Meter, f.ratio, p.tariff, p.compiled.from, use
	return s, multiply(use, f)
}

// boundsOf lists the ends of the fitting's segments, in UTC, so that a bill
// that is re-rated from stored inputs is the same text too. Counting from point
// to point lets a register wrap more than once in a long period.
func (r *Rater) boundsOf(p *plan, f *fitted, from, to time.Time) error {
	r.bounds = r.bounds[:0]
	next := 0
	for next+1 < len(f.points) && !f.points[next+1].At.After(from) {
		next++
	}
	previous := &f.points[next]
	sum := r.registers(len(previous.Registers))
	r.known(previous, sum)
	if previous.At.Before(from) {
		r.bounds = append(r.bounds, bound{Boundary: Boundary{At: from}})
	}
	part, open := 0, true
	for open || !r.bounds[len(r.bounds)-1].known {
		var at time.Time
		if open {
			for !p.parts[part].to.After(r.bounds[len(r.bounds)-1].At) {
				part++
			}
			if at = p.parts[part].to; to.Before(at) {
				at = to
			}
			open = at.Before(to)
		} else {
			at = f.points[next+1].At // there is no reading at the end: the next one
		}
		for next+1 < len(f.points) && !f.points[next+1].At.After(at) {
			next++
			if err := r.count(sum, f, previous, &f.points[next]); err != nil {
				return err
			}
			previous = &f.points[next]
		}
		if previous.At.Equal(at) {
			r.known(previous, sum)
		} else {
			r.bounds = append(r.bounds, bound{Boundary: Boundary{At: at}})
		}
	}
	r.interpolate(f.Digits)
	return nil
}

// known adds the bound of a reading.
func (r *Rater) known(p *Point, sum billing.Registers) {
	b := bound{Boundary{At: p.At.UTC(), Registers: p.Registers, Quality: p.Quality}, r.registers(len(sum)), true}
	copy(b.sum, sum)
	r.bounds = append(r.bounds, b)
}

// interpolate fills in the bounds without a reading: the even rate over the
// whole stretch between the readings at bounds around them. Readings at other
// instants have no say, so that the bill doesn't depend on how often the meter
// was read.
func (r *Rater) interpolate(digits int) {
	for i := range r.bounds {
		if r.bounds[i].known {
			continue
		}
		known := i + 1
		for !r.bounds[known].known {
			known++
		}
		r.fill(i, known, digits)
	}
}

// fill interpolates the bounds from i, before which one is known, to the known last.
func (r *Rater) fill(i, last, digits int) {
	start, end := &r.bounds[i-1], &r.bounds[last]
	use := make(billing.Registers, len(start.sum))
	for k := range use {
		use[k] = end.sum[k] - start.sum[k]
	}
	for ; i < last; i++ {
		b := &r.bounds[i]
		share := use.Share(b.At.Sub(start.At), end.At.Sub(start.At))
		b.sum, b.Registers = make(billing.Registers, len(use)), make(billing.Registers, len(use))
		for k := range share {
			b.sum[k] = start.sum[k] + share[k]
			b.Registers[k] = start.Registers[k] + share[k]
			if wrap := billing.Wrap(digits); wrap > 0 {
				b.Registers[k] %= wrap
			}
		}
		b.Quality, b.Interpolated, b.known = billing.QualityEstimated, true, true
	}
}

// multiply applies the ratio.
func multiply(use billing.Registers, f *fitted) error {
	if f.ratio == 1 {
		return nil
	}
	for i, u := range use {
		hi, lo := bits.Mul64(uint64(u), uint64(f.ratio))
		if hi != 0 || lo > math.MaxInt64 {
			return billing.Errorf(billing.CodeInvalidReading, "The use of meter %s (%d raw) times its ratio %d is too large.", f.Meter, u, f.ratio)
		}
		use[i] = int64(lo)
	}
	return nil
}
