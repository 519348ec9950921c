package billing

import (
	"math/big"
	"strings"
)

// UnitPrice is the most that one more unit can cost in one band under a version: what every component that charges by quantity
// adds up to, a stepped one at its dearest tier. Sums are exact; nothing is rounded.
type UnitPrice struct {
	// Register is the band; Total where the version has no prices per band.
	Register Register
	Parts    []UnitPart
	sum      *big.Rat
}

// UnitPart is what one component adds: Price × Factor. Tier counts from 1 and is 0 without steps.
type UnitPart struct {
	Component string
	Name      Names
	Price     Price
	Factor    Factor
	Tier      int
}

// UnitPrices are the unit prices of all bands, or of the total when no component has bands.
func (v TariffVersion) UnitPrices() []UnitPrice {
	registers := []Register{Total}
	for _, c := range v.Components {
		if c.Kind == KindBands {
			registers = Bands
		}
	}
	all := make([]UnitPrice, 0, len(registers))
	for _, r := range registers {
		u := UnitPrice{Register: r, sum: new(big.Rat)}
		for _, c := range v.Components {
			if part, ok := c.unitPart(r); ok {
				u.Parts = append(u.Parts, part)
				u.sum.Add(u.sum, part.amount())
			}
		}
		all = append(all, u)
	}
	return all
}

// unitPart is what c adds to a unit of band r.
func (c Component) unitPart(r Register) (UnitPart, bool) {
	part := UnitPart{Component: c.Key, Name: c.Name, Factor: c.Factor}
	found := false
	take := func(p *Price, tier int) {
		if p != nil && (!found || p.rat().Cmp(part.Price.rat()) > 0) {
			part.Price, part.Tier, found = *p, tier, true
		}
	}
	take(c.Price, 0)
	for _, b := range c.Bands {
		if b.Register == r {
			take(b.Price, 0)
		}
	}
	for i, t := range c.Tiers {
		take(t.Price, i+1)
	}
	return part, found
}

func (p UnitPart) amount() *big.Rat {
	if p.Factor.IsZero() {
		return p.Price.rat()
	}
	return new(big.Rat).Mul(p.Price.rat(), p.Factor.rat())
}

// Dearest is the part that adds most: where to look when the sum is too high.
func (u UnitPrice) Dearest() UnitPart {
	best := UnitPart{}
	for _, p := range u.Parts {
		if best.Component == "" || p.amount().Cmp(best.amount()) > 0 {
			best = p
		}
	}
	return best
}

// Above says whether the sum is more than p.
func (u UnitPrice) Above(p Price) bool { return u.sum.Cmp(p.rat()) > 0 }

// String writes the exact sum as a plain decimal.
func (u UnitPrice) String() string {
	const most = maxPriceDecimals + maxFactorDecimals // what a price times a factor can have
	text := u.sum.FloatString(most)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// Scaled is the sum in units of 10^−decimals yuan; exact is false when it has more decimals or doesn't fit.
func (u UnitPrice) Scaled(decimals int) (n int64, exact bool) {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)
	scaled := new(big.Rat).Mul(u.sum, new(big.Rat).SetInt(scale))
	if !scaled.IsInt() || !scaled.Num().IsInt64() {
		return 0, false
	}
	return scaled.Num().Int64(), true
}

// rat is the value as a ratio: exact, for sums that a decimal of 19 digits might not hold.
func (n number) rat() *big.Rat {
	r, ok := new(big.Rat).SetString(n.d.String())
	if !ok {
		return new(big.Rat) // a decimal always writes a number
	}
	return r
}

// PriceChange is how much a price changes, as an exact decimal with its sign; empty when it doesn't.
func PriceChange(from, to Price) string {
	change := new(big.Rat).Sub(to.rat(), from.rat())
	if change.Sign() == 0 {
		return ""
	}
	text := strings.TrimSuffix(strings.TrimRight(change.FloatString(maxPriceDecimals), "0"), ".")
	if change.Sign() > 0 {
		return "+" + text
	}
	return text
}
