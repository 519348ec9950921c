package rating

import (
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// counter is the use since the start of the step year and step month, raw and
// after ratio.
type counter struct {
	loc     *time.Location
	day     billing.Date
	inYear  int64
	inMonth int64
}

func newCounter(in Input) (*counter, error) {
	c := &counter{loc: in.Location, day: billing.DateOf(in.From, in.Location)}
	for _, used := range []struct {
		quantity billing.Quantity
		raw      *int64
	}{{in.UsedInYear, &c.inYear}, {in.UsedInMonth, &c.inMonth}} {
		raw, err := in.Tariff.Service.Raw(used.quantity)
		if err != nil {
			return nil, err
		}
		if raw < 0 {
			return nil, billing.Errorf(billing.CodeInvalidInput, "The use counted toward the steps so far is negative (%s).", used.quantity)
		}
		*used.raw = raw
	}
	return c, nil
}

// advanceTo forgets a count whose year or month is over.
func (c *counter) advanceTo(t time.Time) {
	day := billing.DateOf(t, c.loc)
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

func (c *counter) used(per billing.Accumulate) int64 {
	if per == billing.PerMonth {
		return c.inMonth
	}
	return c.inYear
}

// pricer turns segments into lines, in order.
type pricer struct {
	service billing.Service
	used    *counter
	lines   []Line
}

// price adds the lines of one component for one segment.
func (p *pricer) price(c billing.Component, s Segment) error {
	switch c.Kind {
	case billing.KindFlat:
		return p.line(c, s, billing.Total, 0, s.Use.Total(), c.Price)
	case billing.KindBands:
		if !s.Use.HasBands() {
			return billing.Errorf(billing.CodeInvalidReading, "The tariff has a price per band, but meter %s has only the total register: change the tariff or the meter.", s.Meter)
		}
		for _, band := range c.Bands {
			if err := p.line(c, s, band.Register, 0, s.Use[band.Register], band.Price); err != nil {
				return err
			}
		}
		return nil
	case billing.KindSteps:
		return p.steps(c, s)
	default:
		return billing.Errorf(billing.CodeInvalidInput, "The tariff's component %s has the unknown kind %q.", c.Key, c.Kind)
	}
}

// steps splits the total use of s, which follows what was used before it,
// exactly at the tiers' inclusive upper edges.
func (p *pricer) steps(c billing.Component, s Segment) error {
	used, left := p.used.used(c.Accumulate), s.Use.Total()
	for i, tier := range c.Tiers {
		part := left
		if tier.UpTo != nil {
			edge, err := p.service.Raw(*tier.UpTo)
			if err != nil {
				return err
			}
			part = min(left, max(0, edge-used))
		}
		if err := p.line(c, s, billing.Total, i+1, part, tier.Price); err != nil {
			return err
		}
		used, left = used+part, left-part
	}
	if left != 0 {
		return billing.Errorf(billing.CodeTariffMissing, "The tariff has no tier for use above %s %s.", p.service.Format(used), p.service.Unit())
	}
	return nil
}

func (p *pricer) line(c billing.Component, s Segment, reg billing.Register, tier int, raw int64, price *billing.Price) error {
	if raw == 0 {
		return nil
	}
	if price == nil {
		return billing.Errorf(billing.CodeTariffMissing, "The tariff's component %s has no price for the %s register.", c.Key, reg)
	}
	l := Line{
		Component: c.Key, Name: c.Name, Register: reg, Tier: tier,
		Quantity: p.service.Quantity(raw), Price: *price, Factor: c.Factor,
		From: s.Opening.At, To: s.Closing.At, Fitting: s.Fitting, Ratio: s.Ratio,
		Opening: s.Opening.Registers[reg], Closing: s.Closing.Registers[reg],
	}
	var err error
	if l.Amount, err = billing.Charge(l.Quantity, l.Price, l.Factor); err != nil {
		return err
	}
	p.lines = append(p.lines, l)
	return nil
}
