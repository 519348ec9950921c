package billing

import (
	"math/big"
	"strings"
	"time"
)

// TopPrice is the most that one more unit can cost in one band under a version: what every component that charges by quantity
// adds up to, in the dearest month and tier, with taxes that are put on top. Sums are exact; nothing is rounded.
type TopPrice struct {
	// Register is the band; Total where the version has no prices per band.
	Register Register
	Parts    []TopPart
	sum      *big.Rat
}

// TopPart is what one component adds. Steps says that it is its dearest tier.
type TopPart struct {
	Component string
	Steps     bool
	amount    *big.Rat
}

// TopPrices are the unit prices of all bands, or of the total when no component has bands. HighestUnitPrice is the highest of them.
func (v TariffVersion) TopPrices() []TopPrice {
	registers := []Register{Total}
	if v.Has(KindBands) || v.Has(KindTierBands) {
		registers = Bands
	}
	all := make([]TopPrice, 0, len(registers))
	for _, r := range registers {
		best := v.topPrice(r, time.January)
		for month := time.February; month <= time.December; month++ {
			if u := v.topPrice(r, month); u.sum.Cmp(best.sum) > 0 {
				best = u
			}
		}
		all = append(all, best)
	}
	return all
}

func (v TariffVersion) topPrice(r Register, month time.Month) TopPrice {
	u := TopPrice{Register: r, sum: new(big.Rat)}
	for _, c := range v.Components {
		if !c.Kind.Energy() {
			continue
		}
		in := c.In(month)
		part := TopPart{Component: c.Key, Steps: len(in.Tiers) > 0, amount: v.taxed(c.Key, in.highest(r))}
		u.Parts = append(u.Parts, part)
		u.sum.Add(u.sum, part.amount)
	}
	return u
}

// Dearest is the part that adds most: where to look when the sum is too high.
func (u TopPrice) Dearest() TopPart {
	best := TopPart{}
	for _, p := range u.Parts {
		if best.Component == "" || p.amount.Cmp(best.amount) > 0 {
			best = p
		}
	}
	return best
}

// Above says whether the sum is more than p.
func (u TopPrice) Above(p Price) bool { return u.sum.Cmp(p.rat()) > 0 }

// String writes the sum as a plain decimal, to fourteen decimals.
func (u TopPrice) String() string { return plain(u.sum, maxPriceDecimals+maxFactorDecimals) }

func plain(r *big.Rat, decimals int) string {
	text := r.FloatString(decimals)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// Scaled is the sum in units of 10^−decimals yuan; exact is false when it has more decimals or doesn't fit.
func (u TopPrice) Scaled(decimals int) (n int64, exact bool) {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)
	scaled := new(big.Rat).Mul(u.sum, new(big.Rat).SetInt(scale))
	if !scaled.IsInt() || !scaled.Num().IsInt64() {
		return 0, false
	}
	return scaled.Num().Int64(), true
}

// PriceChange is how much a price changes, as an exact decimal with its sign; empty when it doesn't.
func PriceChange(from, to Price) string {
	change := new(big.Rat).Sub(to.rat(), from.rat())
	switch text := plain(change, maxPriceDecimals); {
	case change.Sign() == 0:
		return ""
	case change.Sign() > 0:
		return "+" + text
	default:
		return text
	}
}
