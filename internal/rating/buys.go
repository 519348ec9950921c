package rating

import (
	"math"

	"github.com/meterflow/meterflow/internal/billing"
)

// Buys is how much use an amount pays for at the prices of one version, after
// what was used in the step year and month so far, cut to whole register
// units. It is for information (how long will it last); nothing is charged by
// it. Prices per band are refused, because they depend on when the use will
// happen, and so is what depends on the month or the account's terms.
func Buys(v billing.TariffVersion, service billing.Service, usedInYear, usedInMonth billing.Quantity, pay billing.Money) (billing.Quantity, error) {
	var used counter
	if err := used.start(&Input{Tariff: billing.Tariff{Service: service}, UsedInYear: usedInYear, UsedInMonth: usedInMonth}, v.From); err != nil {
		return billing.Quantity{}, err
	}
	if pay < 0 || pay > math.MaxInt64/finer {
		return billing.Quantity{}, billing.Errorf(billing.CodeInvalidInput, "The amount %s must be positive, and not larger than a bill can be.", pay)
	}
	var chargers []charger
	for _, c := range v.Components {
		if c.Kind != billing.KindFlat && c.Kind != billing.KindSteps || c.Seasons != nil || c.Household != nil || c.Prorate != "" {
			return billing.Quantity{}, billing.Errorf(billing.CodeInvalidInput, "What an amount buys can't be said in advance for prices per band, by the month or by the account (%s).", c.Key)
		}
		one, err := compileEnergy(service, c)
		if err != nil {
			return billing.Quantity{}, err
		}
		chargers = append(chargers, one)
	}
	raw, err := largest(billing.Wrap(10), func(raw int64) (bool, error) {
		r := Rater{unit: service, used: used}
		var total billing.Money
		for i := range chargers {
			amount, err := r.fine(&chargers[i], raw)
			if err != nil {
				return false, err
			}
			if total, err = total.Add(amount); err != nil {
				return false, err
			}
		}
		return total <= pay*finer, nil
	})
	return service.Quantity(raw), err
}

// finer is how many parts of a fen are compared: rounded to whole fen, an
// amount would seem to buy a little more than it does.
const finer = 1_000_000

// fine is what use costs by one component, in millionths of a fen.
func (r *Rater) fine(c *charger, left int64) (billing.Money, error) {
	if c.component.Kind == billing.KindFlat {
		return c.rates[0].rate.Charge(left * finer)
	}
	var total billing.Money
	used := r.counted(c)
	for i, edge := range c.edges {
		part := min(left, max(0, edge-used))
		amount, err := c.rates[i].rate.Charge(part * finer)
		if err != nil {
			return 0, err
		}
		if total, err = total.Add(amount); err != nil {
			return 0, err
		}
		used, left = used+part, left-part
	}
	return total, nil
}

// largest is the largest n in [0, limit] for which a condition holds that,
// once false, stays false; 0 when it never holds.
func largest(limit int64, holds func(int64) (bool, error)) (int64, error) {
	low, high := int64(0), limit
	for low < high {
		middle := low + (high-low+1)/2
		ok, err := holds(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low, nil
}
