package billing

import (
	"math/big"
	"slices"
	"time"

	"github.com/govalues/decimal"
)

// HighestUnitPrice is the most that one kWh or m³ can cost by v, in any month,
// band and tier, with taxes that are put on top: what a price ceiling is held
// against. Charges by the month are not in it; see rating.Result.UnitPrice for
// what use has really cost. It is rounded half up to eight decimals.
func (v TariffVersion) HighestUnitPrice() Price {
	highest := new(big.Rat)
	for month := time.January; month <= time.December; month++ {
		for _, band := range Bands {
			sum := new(big.Rat)
			for _, c := range v.Components {
				if c.Kind.Energy() {
					sum.Add(sum, v.taxed(c.Key, c.In(month).highest(band)))
				}
			}
			if sum.Cmp(highest) > 0 {
				highest = sum
			}
		}
	}
	return roundPrice(highest)
}

// highest is what a unit of the band costs in the component's dearest tier.
func (c Component) highest(band Register) *big.Rat {
	highest := new(big.Rat)
	take := func(p *Price, f Factor) {
		if one := exactProduct(p, f); one.Cmp(highest) > 0 {
			highest = one
		}
	}
	bands := func(list []BandPrice) {
		for _, b := range list {
			switch {
			case b.Register != band:
			case b.Ratio != nil:
				take(c.Price, *b.Ratio)
			default:
				take(b.Price, c.Factor)
			}
		}
	}
	switch c.Kind {
	case KindFlat:
		take(c.Price, c.Factor)
	case KindBands:
		bands(c.Bands)
	default:
		for _, tier := range c.Tiers {
			if tier.Price != nil {
				take(tier.Price, c.Factor)
			}
			bands(tier.Bands)
		}
	}
	return highest
}

// exactProduct is p × f, where a factor of zero means 1.
func exactProduct(p *Price, f Factor) *big.Rat {
	r := new(big.Rat)
	if p != nil {
		r.Set(p.rat())
	}
	if !f.IsZero() {
		r.Mul(r, f.rat())
	}
	return r
}

// taxed is an amount of a component with the taxes that are put on top of it.
func (v TariffVersion) taxed(key string, amount *big.Rat) *big.Rat {
	sum := new(big.Rat).Set(amount)
	for _, c := range v.Components {
		if c.Kind == KindTax && !c.Inclusive && (c.Of == nil || slices.Contains(c.Of, key)) {
			sum.Add(sum, new(big.Rat).Mul(amount, c.Rate.rat()))
		}
	}
	return sum
}

func (n number) rat() *big.Rat {
	r := new(big.Rat).SetFrac(new(big.Int).SetUint64(n.d.Coef()), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n.d.Scale())), nil))
	if n.Sign() < 0 {
		r.Neg(r)
	}
	return r
}

// roundPrice rounds half up to eight decimals.
func roundPrice(r *big.Rat) Price {
	text := r.FloatString(maxPriceDecimals) // exact: halves away from zero
	return Price{newNumber(decimal.MustParse(text))}
}

// UnitPrice is m yuan over q, rounded half up to eight decimals; 0 when q is.
func UnitPrice(m Money, q Quantity) Price {
	if q.IsZero() {
		return Price{}
	}
	return roundPrice(new(big.Rat).Quo(big.NewRat(int64(m), 100), q.rat()))
}

// Price is the factor as a price, for a rate that is put on an amount.
func (f Factor) Price() Price { return Price(f) }

// TaxIn is how much of an amount that contains a tax of the rate is tax: the
// amount × rate / (1 + rate), rounded once.
func TaxIn(m Money, rate Factor) (Money, error) {
	r := rate.rat()
	tax := new(big.Rat).Mul(big.NewRat(int64(m), 1), r)
	tax.Quo(tax, r.Add(r, big.NewRat(1, 1)))
	fen, ok := new(big.Int).SetString(tax.FloatString(0), 10)
	if !ok || !fen.IsInt64() {
		return 0, Errorf(CodeInvalidInput, "The tax in %s is too large to be kept exactly.", m)
	}
	return Money(fen.Int64()), nil
}

// Price is the quantity as a price: of what counts single things.
func (q Quantity) Price() Price { return Price(q) }

// Excess is by how much measured is above percent % of contract, exact; 0 or
// less when it isn't. It is an error when it has more than six decimals.
func Excess(measured, contract Quantity, percent Factor) (Quantity, error) {
	limit := new(big.Rat).Mul(contract.rat(), percent.rat())
	limit.Quo(limit, big.NewRat(100, 1))
	excess := new(big.Rat).Sub(measured.rat(), limit)
	text := excess.FloatString(maxQuantityDecimals)
	back, _ := new(big.Rat).SetString(text)
	if back.Cmp(excess) != 0 {
		return Quantity{}, Errorf(CodeInvalidInput, "%s percent of the contract demand %s has too many decimals: enter the demand in whole kW.", percent, contract)
	}
	return ParseQuantity(text)
}
