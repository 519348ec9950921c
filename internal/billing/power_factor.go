package billing

import (
	_ "embed"
	"math/big"
	"strconv"
	"strings"
	"sync"

	"github.com/govalues/decimal"
)

//go:embed power_factor_adjustment.csv
var powerFactorRows string

// powerFactorAdjustments is, for one standard, the published adjustment in
// hundredths of a percent, by the power factor in hundredths. Below lowest it
// goes on by two percent per hundredth.
type powerFactorAdjustments struct {
	lowest int
	by     [101]int
}

// powerFactorTable is the published table by standard; see docs/tariffs.md.
var powerFactorTable = sync.OnceValue(func() map[Factor]*powerFactorAdjustments {
	tables := map[Factor]*powerFactorAdjustments{}
	for _, row := range strings.Split(strings.TrimSpace(powerFactorRows), "\n")[1:] {
		cells := strings.Split(row, ",")
		standard, factor, percent := MustFactor(cells[0]), MustFactor(cells[1]), MustFactor(cells[2])
		if tables[standard] == nil {
			tables[standard] = &powerFactorAdjustments{lowest: 100}
		}
		at := int(hundredths(factor))
		tables[standard].by[at] = int(hundredths(percent))
		tables[standard].lowest = min(tables[standard].lowest, at)
	}
	return tables
})

// hundredths is n times 100, for a number of at most two decimals.
func hundredths(f Factor) int64 { return int64(f.d.Pad(2).Coef()) * int64(f.Sign()) }

// PowerFactor is kWh / √(kWh² + kvarh²) in hundredths, rounded half up; ok is
// false without use, which has no power factor.
func PowerFactor(kWh, kvarh Quantity) (factor int, ok bool) {
	if kWh.Sign() <= 0 {
		return 0, false
	}
	active, reactive := kWh.d.Pad(maxQuantityDecimals), kvarh.d.Pad(maxQuantityDecimals)
	a := new(big.Int).SetUint64(active.Coef())
	r := new(big.Int).SetUint64(reactive.Coef())
	a.Mul(a, a)
	sum := new(big.Int).Add(a, r.Mul(r, r))
	a.Mul(a, big.NewInt(200*200))
	// The largest f with (f − ½)/100 ≤ a/√(a² + r²), without a root: squared, all
	// is whole numbers.
	for factor = 100; factor > 0; factor-- {
		edge := big.NewInt(int64(2*factor-1) * int64(2*factor-1))
		if edge.Mul(edge, sum).Cmp(a) <= 0 {
			break
		}
	}
	return factor, true
}

// PowerFactorRatio is the fraction by which a sum is adjusted for a power
// factor in hundredths: -0.0075 is a reward, 0.25 a penalty.
func PowerFactorRatio(standard Factor, factor int) (Price, error) {
	table, ok := powerFactorTable()[standard]
	if !ok {
		return Price{}, Errorf(CodeInvalidInput, "There is no table of adjustments for the power factor %s.", standard)
	}
	percent := 0
	if factor >= table.lowest {
		percent = table.by[min(factor, 100)]
	} else {
		percent = table.by[table.lowest] + 200*(table.lowest-factor)
	}
	return Price{newNumber(decimal.MustNew(int64(percent), 4))}, nil
}

// FormatHundredths writes 91 as "0.91".
func FormatHundredths(n int) string {
	return strconv.Itoa(n/100) + "." + strconv.Itoa(100 + n%100)[1:]
}
