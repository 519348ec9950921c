// Package longhand rates a second time, slowly: exact fractions, day by day, straight from the text of docs/tariffs.md. It exists to differ
// from package rating where one of the two is wrong.
//
// So it shares nothing with it: it imports nothing of ours, reads the tariff's JSON by itself, and knows the power-factor table by its rules.
// It refuses to be fast, to validate, and to be used for anything but tests.
package longhand

import (
	"encoding/json"
	"fmt"
	"math/big"
)

// tariff is a tariff file.
type tariff struct {
	Service  string    `json:"service"`
	Versions []version `json:"versions"`
}

type version struct {
	From       string      `json:"from"`
	Until      string      `json:"until"`
	Components []component `json:"components"`
}

// component has the fields of all kinds; seasons hold some of them for their months.
type component struct {
	Key        string      `json:"key"`
	Kind       string      `json:"kind"`
	Price      *number     `json:"price"`
	Factor     *number     `json:"factor"`
	Bands      []band      `json:"bands"`
	Accumulate string      `json:"accumulate"`
	Tiers      []tier      `json:"tiers"`
	Order      string      `json:"order"`
	Prorate    string      `json:"prorate"`
	Household  []household `json:"household"`
	Seasons    []season    `json:"seasons"`
	Suspended  *number     `json:"suspended"`
	Basis      string      `json:"basis"`
	Over       *over       `json:"over"`
	Standard   string      `json:"standard"`
	Of         []string    `json:"of"`
	Rate       *number     `json:"rate"`
	Inclusive  bool        `json:"inclusive"`
}

type band struct {
	Register string  `json:"register"`
	Price    *number `json:"price"`
	Ratio    *number `json:"ratio"`
}

type tier struct {
	UpTo  *number `json:"up_to"`
	Price *number `json:"price"`
	Bands []band  `json:"bands"`
}

type household struct {
	Persons int      `json:"persons"`
	Add     []number `json:"add"`
	Each    bool     `json:"each"`
}

type season struct {
	Months []int   `json:"months"`
	Price  *number `json:"price"`
	Bands  []band  `json:"bands"`
	Tiers  []tier  `json:"tiers"`
}

type over struct {
	Percent number `json:"percent"`
	Factor  number `json:"factor"`
}

// number is an exact fraction, a decimal text in JSON.
type number struct{ big.Rat }

// UnmarshalJSON reads the decimal.
func (n *number) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	if _, ok := n.SetString(text); !ok {
		return fmt.Errorf("%q is no decimal", text)
	}
	return nil
}

// or is the number, or another when it is left out.
func (n *number) or(other int64) *big.Rat {
	if n == nil {
		return whole(other)
	}
	return &n.Rat
}

// in is the component as it is in a month.
func (c component) in(month int) component {
	for _, s := range c.Seasons {
		for _, m := range s.Months {
			if m == month {
				c.Price, c.Bands, c.Tiers = s.Price, s.Bands, s.Tiers
			}
		}
	}
	return c
}

func whole(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

func times(factors ...*big.Rat) *big.Rat {
	product := whole(1)
	for _, f := range factors {
		product = new(big.Rat).Mul(product, f)
	}
	return product
}

func plus(a, b *big.Rat) *big.Rat  { return new(big.Rat).Add(a, b) }
func minus(a, b *big.Rat) *big.Rat { return new(big.Rat).Sub(a, b) }

// floor cuts down to a whole number.
func floor(r *big.Rat) int64 {
	q := new(big.Int).Div(r.Num(), r.Denom()) // Euclidean, and the denominator is positive: rounds down
	return q.Int64()
}

// fen is the amount in yuan rounded to fen, half away from zero.
func fen(yuan *big.Rat) int64 {
	hundredfold := times(yuan, whole(100))
	if hundredfold.Sign() < 0 {
		return -floor(plus(minus(whole(0), hundredfold), big.NewRat(1, 2)))
	}
	return floor(plus(hundredfold, big.NewRat(1, 2)))
}
