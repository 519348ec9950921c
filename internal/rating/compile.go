package rating

import (
	"math"
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// compiled is a version as it charges in one month, its numbers made ready.
type compiled struct {
	from     billing.Date
	energy   []charger
	monthly  []billing.Component // in the order in which they are settled
	both     bool                // capacity and demand: the terms choose
	needsAll bool                // has prices per band
}

// charger is a component that charges use. Each rate has the line that it makes
// in all but quantity, times and readings.
type charger struct {
	component billing.Component
	rates     []rated // flat: one; bands: one per band; steps: one per tier; tier_bands: tiers × bands
	bands     int     // rates per tier of tier_bands
	edges     []int64 // raw; the last is the largest number
	perMonth  bool    // of accumulate
	varies    bool    // the edges depend on the account
}

// rated is a price that is charged, with its line.
type rated struct {
	rate billing.Rate
	line Line
}

func (r *Rater) compile(of reign, month time.Month) (*compiled, error) {
	key := versionKey{of.version, month}
	if !of.version.Monthly() {
		key.month = 0
	}
	if c := r.versions[key]; c != nil {
		return c, nil
	}
	c := &compiled{from: of.version.From, both: of.version.Has(billing.KindCapacity) && of.version.Has(billing.KindDemand)}
	for _, component := range of.version.Components {
		if settlingOrder[component.Kind] > 0 {
			c.monthly = append(c.monthly, component)
			continue
		}
		one, err := compileEnergy(of.tariff.Service, component.In(month))
		if err != nil {
			return nil, err
		}
		c.needsAll = c.needsAll || component.Kind == billing.KindBands || component.Kind == billing.KindTierBands
		c.energy = append(c.energy, one)
	}
	slices.SortStableFunc(c.monthly, func(a, b billing.Component) int { return settlingOrder[a.Kind] - settlingOrder[b.Kind] })
	if r.versions == nil {
		r.versions = map[versionKey]*compiled{}
	}
	r.versions[key] = c
	return c, nil
}

// settlingOrder is the order of the kinds that are charged by the month.
var settlingOrder = map[billing.ComponentKind]int{
	billing.KindCapacity: 1, billing.KindDemand: 1, billing.KindPowerFactor: 2, billing.KindMinimum: 3, billing.KindTax: 4,
}

func compileEnergy(s billing.Service, c billing.Component) (charger, error) {
	one := charger{component: c, perMonth: c.Accumulate == billing.PerMonth, varies: c.Household != nil || c.Prorate != ""}
	add := func(reg billing.Register, tier int, price *billing.Price, factor billing.Factor) error {
		if price == nil {
			return billing.Errorf(billing.CodeTariffMissing, "The tariff's component %s has no price for the %s register.", c.Key, reg)
		}
		rate, err := billing.NewRate(s, *price, factor)
		one.rates = append(one.rates, rated{rate, Line{Component: c.Key, Name: c.Name, Register: reg, Tier: tier, Price: *price, Factor: factor}})
		return err
	}
	addBands := func(tier int, bands []billing.BandPrice) error {
		for _, b := range bands {
			price, factor := b.Price, c.Factor
			if b.Ratio != nil {
				price, factor = c.Price, *b.Ratio
			}
			if err := add(b.Register, tier, price, factor); err != nil {
				return err
			}
		}
		return nil
	}
	switch c.Kind {
	case billing.KindFlat:
		return one, add(billing.Total, 0, c.Price, c.Factor)
	case billing.KindBands:
		return one, addBands(0, c.Bands)
	case billing.KindSteps, billing.KindTierBands:
	default:
		return one, billing.Errorf(billing.CodeInvalidInput, "The tariff's component %s has the unknown kind %q.", c.Key, c.Kind)
	}
	for i, tier := range c.Tiers {
		edge := int64(math.MaxInt64)
		if tier.UpTo != nil {
			var err error
			if edge, err = s.Raw(*tier.UpTo); err != nil {
				return one, err
			}
		}
		one.edges, one.bands = append(one.edges, edge), len(tier.Bands)
		if c.Kind == billing.KindTierBands {
			if err := addBands(i+1, tier.Bands); err != nil {
				return one, err
			}
			continue
		}
		if err := add(billing.Total, i+1, tier.Price, c.Factor); err != nil {
			return one, err
		}
	}
	return one, nil
}
