package rating

import (
	"math"

	"github.com/meterflow/meterflow/internal/billing"
)

// Buys is how much use an amount pays for at the prices of one version, after
// what was used in the step year and month so far, cut to whole register
// units. It is for information (how long will it last); nothing is charged by
// it. Prices per band are refused: they depend on when the use will happen.
func Buys(v billing.TariffVersion, service billing.Service, usedInYear, usedInMonth billing.Quantity, pay billing.Money) (billing.Quantity, error) {
	inYear, err := service.Raw(usedInYear)
	if err != nil {
		return billing.Quantity{}, err
	}
	inMonth, err := service.Raw(usedInMonth)
	if err != nil {
		return billing.Quantity{}, err
	}
	affordable := func(raw int64) (bool, error) {
		p := pricer{service: service, used: &counter{inYear: inYear, inMonth: inMonth}}
		use := Segment{
			Use:     billing.Registers{raw},
			Opening: Boundary{Registers: billing.Registers{0}},
			Closing: Boundary{Registers: billing.Registers{raw}},
		}
		var total billing.Money
		for _, c := range v.Components {
			if c.Kind == billing.KindBands {
				return false, billing.Errorf(billing.CodeInvalidInput, "What an amount buys can't be said in advance for prices per band (%s).", c.Key)
			}
			if err := p.price(c, use); err != nil {
				return false, err
			}
		}
		for _, line := range p.lines {
			amount, err := p.fine(line)
			if err != nil {
				return false, err
			}
			if total, err = total.Add(amount); err != nil {
				return false, err
			}
		}
		return total <= pay*finer, nil
	}
	if pay < 0 || pay > math.MaxInt64/finer {
		return billing.Quantity{}, billing.Errorf(billing.CodeInvalidInput, "The amount %s must be positive, and not larger than a bill can be.", pay)
	}
	raw, err := largest(billing.Wrap(10), affordable)
	return service.Quantity(raw), err
}

// finer is how many parts of a fen are compared: rounded to whole fen, an
// amount would seem to buy a little more than it does.
const finer = 1_000_000

// fine is the line's amount in millionths of a fen.
func (p *pricer) fine(l Line) (billing.Money, error) {
	raw, err := p.service.Raw(l.Quantity)
	if err != nil {
		return 0, err
	}
	return billing.Charge(p.service.Quantity(raw*finer), l.Price, l.Factor)
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
