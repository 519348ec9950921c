package rating

import (
	"math"
	"math/bits"

	"github.com/meterflow/meterflow/internal/billing"
)

// counter is the use since the start of the step year and step month, raw and
// after ratio.
type counter struct {
	day     billing.Date
	inYear  int64
	inMonth int64
}

func (c *counter) start(in *Input, day billing.Date) (err error) {
	c.day = day
	if c.inYear, err = countedBefore(in.Tariff.Service, in.UsedInYear); err != nil {
		return err
	}
	c.inMonth, err = countedBefore(in.Tariff.Service, in.UsedInMonth)
	return err
}

func countedBefore(s billing.Service, q billing.Quantity) (int64, error) {
	if q.IsZero() {
		return 0, nil
	}
	raw, err := s.Raw(q)
	if err == nil && raw < 0 {
		err = billing.Errorf(billing.CodeInvalidInput, "The use counted toward the steps so far is negative (%s).", q)
	}
	return raw, err
}

// advanceTo forgets a count whose year or month is over.
func (c *counter) advanceTo(day billing.Date) {
	if day.Year() != c.day.Year() {
		c.inYear = 0
	}
	if day.Year() != c.day.Year() || day.Month() != c.day.Month() {
		c.inMonth = 0
	}
	c.day = day
}

func (c *counter) count(raw int64) {
	c.inYear += raw
	c.inMonth += raw
}

// segment adds the lines of use of one segment.
func (r *Rater) segment(p *part, s *Segment) error {
	reg := billing.Total
	if p.terms >= 0 {
		reg = r.in.Terms[p.terms].Register
	}
	if err := p.compiled.carriedBy(s, reg); err != nil {
		return err
	}
	use := s.Use[reg]
	r.used.advanceTo(p.first)
	for i := range p.compiled.energy {
		c := &p.compiled.energy[i]
		var err error
		switch c.component.Kind {
		case billing.KindFlat:
			err = r.line(&c.rates[0], s, reg, use)
		case billing.KindBands:
			for k := range c.rates {
				if err = r.line(&c.rates[k], s, c.rates[k].line.Register, s.Use[c.rates[k].line.Register]); err != nil {
					break
				}
			}
		case billing.KindSteps:
			err = r.steps(c, p, s, reg, use)
		default:
			err = r.tierBands(c, p, s)
		}
		if err != nil {
			return err
		}
	}
	r.used.count(use)
	r.monthUse += use
	return nil
}

// terms are those of an index that a part has.
func (in *Input) terms(index int) Terms {
	if index < 0 {
		return Terms{}
	}
	return in.Terms[index]
}

// carriedBy refuses a meter, or a register of the contract, that can't be
// billed by the version.
func (c *compiled) carriedBy(s *Segment, reg billing.Register) error {
	switch {
	case c.needsAll && reg != billing.Total:
		return billing.Errorf(billing.CodeInvalidInput, "The contract bills by the %s register, but the tariff has a price per band: change one of them.", reg)
	case c.needsAll && !s.Use.HasBands():
		return billing.Errorf(billing.CodeInvalidReading, "The tariff has a price per band, but meter %s has only the total register: change the tariff or the meter.", s.Meter)
	case int(reg) >= len(s.Use):
		return billing.Errorf(billing.CodeInvalidReading, "The contract bills by the %s register, which meter %s doesn't have: correct the account's terms.", reg, s.Meter)
	}
	return nil
}

// line adds a line for a raw quantity, none for 0.
func (r *Rater) line(of *rated, s *Segment, reg billing.Register, raw int64) error {
	if raw == 0 {
		return nil
	}
	n := len(r.out.Lines)
	if n < len(r.slot) && r.slot[n] == of {
		r.out.Lines = r.out.Lines[:n+1] // it has all that is the same for every account
	} else {
		r.addLine(of.line)
		r.slot[n] = of
	}
	l := &r.out.Lines[n]
	var err error
	if l.Amount, err = of.rate.Charge(raw); err != nil {
		return err
	}
	l.Register, l.Quantity = reg, r.unit.Quantity(raw)
	l.From, l.To, l.Fitting, l.Ratio = s.Opening.At, s.Closing.At, s.Fitting, s.Ratio
	l.Opening, l.Closing = s.Opening.Registers[reg], s.Closing.Registers[reg]
	r.out.Total, err = r.out.Total.Add(l.Amount)
	return err
}

// addLine adds a line to the result, and a place to remember what it was made of.
func (r *Rater) addLine(l Line) {
	r.out.Lines = append(r.out.Lines, l)
	if len(r.slot) < len(r.out.Lines) {
		r.slot = append(r.slot, nil)
	}
	r.slot[len(r.out.Lines)-1] = nil
}

// steps splits the use of s, which follows what was used before it, exactly at
// the tiers' inclusive upper edges.
func (r *Rater) steps(c *charger, p *part, s *Segment, reg billing.Register, left int64) error {
	edges, used := r.edges(c, p), r.counted(c)
	for i, edge := range edges {
		part := min(left, max(0, edge-used))
		if err := r.line(&c.rates[i], s, reg, part); err != nil {
			return err
		}
		used, left = used+part, left-part
	}
	if left != 0 {
		return billing.Errorf(billing.CodeTariffMissing, "The tariff has no tier for use above %s %s.", r.unit.Format(used), r.unit.Unit())
	}
	return nil
}

func (r *Rater) counted(c *charger) int64 {
	if c.perMonth {
		return r.used.inMonth
	}
	return r.used.inYear
}

// tierBands divides the bands' use among the tiers, by the component's order.
func (r *Rater) tierBands(c *charger, p *part, s *Segment) error {
	edges, used, left := r.edges(c, p), r.counted(c), s.Use.BandSum()
	r.shares = r.shares[:0]
	rest := [billing.DeepValley + 1]int64{}
	copy(rest[1:], s.Use[1:])
	for i, edge := range edges {
		part := min(left, max(0, edge-used))
		used, left = used+part, left-part
		var share [billing.DeepValley + 1]int64
		if c.component.Order == billing.BandsFirst {
			share = fill(part, &rest, c.rates[i*c.bands:(i+1)*c.bands])
		} else {
			share = divide(part, left+part, &rest)
		}
		r.shares = append(r.shares, share)
	}
	for i, rate := range c.rates {
		reg := rate.line.Register
		if err := r.line(&c.rates[i], s, reg, r.shares[i/c.bands][reg]); err != nil {
			return err
		}
	}
	return nil
}

// fill gives a tier's part to the bands one after another, in the order in
// which the tariff lists them.
func fill(part int64, rest *[billing.DeepValley + 1]int64, order []rated) (share [billing.DeepValley + 1]int64) {
	for _, of := range order {
		reg := of.line.Register
		share[reg] = min(part, rest[reg])
		part -= share[reg]
		rest[reg] -= share[reg]
	}
	return share
}

// divide gives a tier's part to the bands in proportion to what is left of
// them, which adds up to sum. Divisions are cut to whole units; the units that
// are left over go to bands whose division was cut, in order.
func divide(part, sum int64, rest *[billing.DeepValley + 1]int64) (share [billing.DeepValley + 1]int64) {
	if part == 0 {
		return share
	}
	var cut [billing.DeepValley + 1]bool
	left := part
	for b := billing.Sharp; b <= billing.DeepValley; b++ {
		hi, lo := bits.Mul64(uint64(part), uint64(rest[b]))
		quotient, remainder := bits.Div64(hi, lo, uint64(sum)) // part ≤ sum, so it fits
		share[b], cut[b] = int64(quotient), remainder != 0
		left -= share[b]
	}
	for b := billing.Sharp; b <= billing.DeepValley; b++ {
		if cut[b] && left > 0 {
			share[b]++
			left--
		}
		rest[b] -= share[b]
	}
	return share
}

// edges are the upper edges of the tiers, raw, as they are for this account in
// the month of the part.
func (r *Rater) edges(c *charger, p *part) []int64 {
	if !c.varies {
		return c.edges
	}
	r.limits = r.limits[:0]
	first, last := r.in.openMonths(p.month)
	for k, edge := range c.edges {
		switch {
		case edge == math.MaxInt64:
		case c.perMonth:
			edge += r.raise(c, k, p.month)
		default:
			if c.component.Prorate != "" {
				edge = edge * int64(last-first+1) / 12
			}
			for m := first; m <= last; m++ {
				edge += r.raise(c, k, min(m, p.month))
			}
		}
		r.limits = append(r.limits, edge)
	}
	return r.limits
}

// raise is by how much edge k is raised for a month, raw.
func (r *Rater) raise(c *charger, k int, month monthNo) int64 {
	if c.component.Household == nil {
		return 0
	}
	day := month.first()
	if opened := r.in.OpenedOn; opened.After(day) && monthOf(opened) == month {
		day = opened
	}
	index, _ := r.in.termsAt(day)
	add, times := c.component.Limit(r.in.terms(index).Persons, k)
	raw, _ := r.unit.Raw(add) // validated with the tariff
	return raw * times
}

// openMonths are the first and last month, of the year of a month, in which
// the account is open.
func (in *Input) openMonths(month monthNo) (first, last monthNo) {
	first = month - month%12
	last = first + 11
	if !in.OpenedOn.IsZero() {
		first = max(first, min(monthOf(in.OpenedOn), last))
	}
	if !in.ClosedOn.IsZero() {
		last = min(last, max(monthOf(in.ClosedOn.AddDays(-1)), first))
	}
	return first, last
}
