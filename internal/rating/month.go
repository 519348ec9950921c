package rating

import (
	"slices"

	"github.com/meterflow/meterflow/internal/billing"
)

// settle adds what is charged by the month, after the month's last part,
// parts[last].
func (r *Rater) settle(p *plan, last int) error {
	first := last
	for first > 0 && p.parts[first-1].month == p.parts[last].month {
		first--
	}
	thirtieths := 0
	for i := first; i <= last; i++ {
		part := &p.parts[i]
		share := min(part.days(), 30-thirtieths)
		if i == last && whole(p.parts[first:last+1]) {
			share = 30 - thirtieths
		}
		thirtieths += share
		if err := r.byMonth(part, share); err != nil {
			return err
		}
	}
	if len(p.parts[last].compiled.monthly) == 0 {
		return nil
	}
	return r.onSums(p.parts[first : last+1])
}

// whole says whether a month's parts reach from its first day to its last.
func whole(parts []part) bool {
	first, last := parts[0].first, parts[len(parts)-1].last
	return first.Day() == 1 && last.AddDays(1).Day() == 1
}

// month is what is on file for a calendar month.
func (in *Input) month(no monthNo) Month {
	for _, m := range in.Months {
		if monthOf(m.First) == no {
			return m
		}
	}
	return Month{}
}

// reverse reports the energy that went the other way in the period's months.
func (r *Rater) reverse(p *plan) {
	for _, m := range r.in.Months {
		if no := monthOf(m.First); m.Reverse != nil && no >= p.parts[0].month && no <= monthOf(p.parts[len(p.parts)-1].last) {
			r.out.Reverse, _ = r.out.Reverse.Add(*m.Reverse)
		}
	}
}

// byMonth adds the lines of capacity and demand of one stretch.
func (r *Rater) byMonth(p *part, thirtieths int) error {
	terms := r.in.terms(p.terms)
	for i := range p.compiled.monthly {
		c := &p.compiled.monthly[i]
		if c.Kind != billing.KindCapacity && c.Kind != billing.KindDemand {
			continue
		}
		if p.compiled.both {
			if terms.Choice != billing.ChooseCapacity && terms.Choice != billing.ChooseDemand {
				return billing.Errorf(billing.CodeInvalidInput, "The tariff has a capacity and a demand charge: enter in the account's terms from %s which one the customer has chosen.", p.first)
			}
			if string(c.Kind) != string(terms.Choice) {
				continue
			}
		}
		charge := r.capacity
		if c.Kind == billing.KindDemand {
			charge = r.demand
		}
		if err := charge(c, p, terms, thirtieths); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rater) capacity(c *billing.Component, p *part, terms Terms, thirtieths int) error {
	if terms.CapacityKVA.IsZero() && terms.SuspendedKVA.IsZero() {
		return billing.Errorf(billing.CodeInvalidInput, "The tariff has a capacity charge, but the account's terms from %s name no kVA: enter the capacity.", p.first)
	}
	if err := r.monthLine(c, p, UnitKVA, terms.CapacityKVA, billing.Factor{}, thirtieths); err != nil {
		return err
	}
	if c.Suspended.IsZero() {
		return nil
	}
	return r.monthLine(c, p, UnitKVA, terms.SuspendedKVA, c.Suspended, thirtieths)
}

func (r *Rater) demand(c *billing.Component, p *part, terms Terms, thirtieths int) error {
	measured := r.in.month(p.month).DemandKW
	if measured == nil && !r.in.Open && (c.Basis == billing.DemandMeasured || c.Over != nil) {
		return billing.Errorf(billing.CodeInvalidInput, "The maximum demand of %s is not on file: enter it.", p.month)
	}
	if c.Basis == billing.DemandMeasured {
		kW := terms.ContractDemandKW
		if measured != nil {
			kW = *measured
		}
		return r.monthLine(c, p, UnitKW, kW, billing.Factor{}, thirtieths)
	}
	if terms.ContractDemandKW.IsZero() {
		return billing.Errorf(billing.CodeInvalidInput, "The tariff charges the contract demand, but the account's terms from %s name none: enter it.", p.first)
	}
	if err := r.monthLine(c, p, UnitKW, terms.ContractDemandKW, billing.Factor{}, thirtieths); err != nil {
		return err
	}
	if c.Over == nil || measured == nil {
		return nil
	}
	excess, err := billing.Excess(*measured, terms.ContractDemandKW, c.Over.Percent)
	if err != nil || excess.Sign() <= 0 {
		return err
	}
	return r.monthLine(c, p, UnitKW, excess, c.Over.Factor, thirtieths)
}

// monthLine adds a line of a price per month, none for a quantity or part of 0.
func (r *Rater) monthLine(c *billing.Component, p *part, unit string, quantity billing.Quantity, factor billing.Factor, thirtieths int) error {
	if quantity.IsZero() || thirtieths == 0 {
		return nil
	}
	if c.Price == nil {
		return billing.Errorf(billing.CodeTariffMissing, "The tariff's component %s has no price.", c.Key)
	}
	amount, err := billing.ChargeMonths(quantity, *c.Price, factor, thirtieths)
	if err != nil {
		return err
	}
	r.addLine(Line{
		Component: c.Key, Name: c.Name, Kind: c.Kind, Unit: unit, Quantity: quantity, Price: *c.Price, Factor: factor, Thirtieths: thirtieths,
		Amount: amount, From: p.from, To: p.to,
	})
	r.out.Total, err = r.out.Total.Add(amount)
	return err
}

// onSums adds the lines that are computed from a month's other lines.
func (r *Rater) onSums(parts []part) error {
	for i := range parts[len(parts)-1].compiled.monthly {
		c := &parts[len(parts)-1].compiled.monthly[i]
		var err error
		switch c.Kind {
		case billing.KindPowerFactor:
			err = r.powerFactor(c, parts)
		case billing.KindMinimum:
			err = r.minimum(c, parts)
		case billing.KindTax:
			err = r.tax(c, parts)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sum adds the month's lines of the components that c names; of all but taxes
// when it names none.
func (r *Rater) sum(c *billing.Component) (billing.Money, error) {
	var total billing.Money
	for i := range r.out.Lines[r.monthFrom:] {
		l := &r.out.Lines[r.monthFrom+i]
		if l.Kind == billing.KindTax || c.Of != nil && !slices.Contains(c.Of, l.Component) {
			continue
		}
		var err error
		if total, err = total.Add(l.Amount); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// sumLine adds a line of a rate on a sum.
func (r *Rater) sumLine(c *billing.Component, parts []part, sum billing.Money, rate billing.Price) (billing.Money, error) {
	amount, err := billing.Charge(sum.Quantity(), rate, billing.Factor{})
	if err != nil || sum == 0 || rate.IsZero() {
		return amount, err
	}
	r.addLine(Line{
		Component: c.Key, Name: c.Name, Kind: c.Kind, Unit: UnitYuan, Quantity: sum.Quantity(), Price: rate, Amount: amount,
		From: parts[0].from, To: parts[len(parts)-1].to,
	})
	r.out.Total, err = r.out.Total.Add(amount)
	return amount, err
}

// powerFactor adjusts by the published table. An open period has no
// adjustment: it is settled when the month closes.
func (r *Rater) powerFactor(c *billing.Component, parts []part) error {
	month := parts[0].month
	if r.in.Open || r.monthUse == 0 {
		return nil
	}
	kvarh := r.in.month(month).Kvarh
	if kvarh == nil {
		return billing.Errorf(billing.CodeInvalidInput, "The reactive energy (kvarh) of %s is not on file: enter it.", month)
	}
	done := PowerFactor{Month: month.first(), Active: r.unit.Quantity(r.monthUse), Reactive: *kvarh, Standard: c.Standard}
	done.Factor, _ = billing.PowerFactor(done.Active, done.Reactive)
	var err error
	if done.Ratio, err = billing.PowerFactorRatio(c.Standard, done.Factor); err != nil {
		return err
	}
	if done.Base, err = r.sum(c); err != nil {
		return err
	}
	r.out.PowerFactors = append(r.out.PowerFactors, done)
	_, err = r.sumLine(c, parts, done.Base, done.Ratio)
	return err
}

// minimum charges what the month's lines fall short of, in an open period of
// the days so far.
func (r *Rater) minimum(c *billing.Component, parts []part) error {
	if c.Price == nil {
		return billing.Errorf(billing.CodeTariffMissing, "The tariff's component %s has no price.", c.Key)
	}
	thirtieths := 30
	if !whole(parts) {
		thirtieths = min(30, parts[0].first.DaysUntil(parts[len(parts)-1].last)+1)
	}
	least, err := billing.ChargeMonths(one, *c.Price, billing.Factor{}, thirtieths)
	if err != nil {
		return err
	}
	sum, err := r.sum(c)
	if err != nil || sum >= least {
		return err
	}
	shortfall, err := least.Sub(sum)
	if err != nil {
		return err
	}
	_, err = r.sumLine(c, parts, shortfall, one.Price())
	return err
}

// tax puts a tax on top, or says how much of the lines is tax.
func (r *Rater) tax(c *billing.Component, parts []part) error {
	sum, err := r.sum(c)
	if err != nil || sum == 0 {
		return err
	}
	t := Tax{Component: c.Key, Name: c.Name, Month: parts[0].month.first(), Rate: c.Rate, Inclusive: c.Inclusive, Invoice: c.Invoice, Point: c.Arises(), Base: sum}
	if c.Inclusive {
		t.Amount, err = billing.TaxIn(sum, c.Rate)
	} else {
		t.Amount, err = r.sumLine(c, parts, sum, c.Rate.Price())
	}
	r.out.Taxes = append(r.out.Taxes, t)
	return err
}

var one = billing.MustQuantity("1")
