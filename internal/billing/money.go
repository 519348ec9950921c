package billing

import (
	"math"
	"strconv"
	"strings"

	"github.com/govalues/decimal"
)

// Money is an amount in fen (1/100 yuan). It is exact, may be negative, and
// its JSON form is the integer number of fen.
type Money int64

// Yuan is one yuan in fen.
const Yuan Money = 100

// ParseMoney reads an amount in yuan with at most two decimals, such as
// "12.34", "12" or "-0.05". Anything else is refused as invalid_input.
func ParseMoney(s string) (Money, error) {
	text := strings.TrimSpace(s)
	if text == "" {
		return 0, Errorf(CodeInvalidInput, "The amount is empty: write yuan and fen, such as 12.34.")
	}
	digits, negative := strings.CutPrefix(text, "-")
	whole, frac, hasPoint := strings.Cut(digits, ".")
	if !onlyDigits(whole) || (hasPoint && !onlyDigits(frac)) {
		return 0, Errorf(CodeInvalidInput, "The amount %q is not a number: write yuan and fen with digits and one point, such as 12.34.", s)
	}
	if len(frac) > 2 {
		return 0, Errorf(CodeInvalidInput, "The amount %q has more than two decimals: the smallest coin is 0.01 yuan.", s)
	}
	fen, err := strconv.ParseInt(whole+frac+"00"[len(frac):], 10, 64)
	if err != nil {
		return 0, Errorf(CodeInvalidInput, "The amount %q is too large.", s)
	}
	if negative {
		fen = -fen
	}
	return Money(fen), nil
}

func onlyDigits(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

// String writes yuan with two decimals and no grouping: "-12.34".
func (m Money) String() string {
	sign, whole, frac := m.parts()
	return sign + whole + "." + frac
}

// Grouped writes yuan with thousands separators, for people: "-12,345.60".
func (m Money) Grouped() string {
	sign, whole, frac := m.parts()
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "," + whole[at:]
	}
	return sign + whole + "." + frac
}

func (m Money) parts() (sign, whole, frac string) {
	abs := uint64(m)
	if m < 0 {
		sign, abs = "-", -uint64(m)
	}
	frac = strconv.FormatUint(100+abs%100, 10)[1:]
	return sign, strconv.FormatUint(abs/100, 10), frac
}

// Quantity is the amount in yuan as a number that a rate can be applied to.
func (m Money) Quantity() Quantity { return Quantity{newNumber(decimal.MustNew(int64(m), 2))} }

// Add returns m + n, or an error when the sum does not fit.
func (m Money) Add(n Money) (Money, error) {
	sum := m + n
	if (n > 0 && sum < m) || (n < 0 && sum > m) {
		return 0, Errorf(CodeInvalidInput, "The sum of %s and %s yuan is too large to be kept.", m, n)
	}
	return sum, nil
}

// Sub returns m − n, or an error when the difference does not fit.
func (m Money) Sub(n Money) (Money, error) {
	if n == math.MinInt64 {
		return 0, Errorf(CodeInvalidInput, "The amount %s yuan is too large to be subtracted.", n)
	}
	return m.Add(-n)
}

// SumMoney adds amounts, or returns an error when the sum does not fit.
func SumMoney(amounts ...Money) (Money, error) {
	var total Money
	for _, amount := range amounts {
		var err error
		if total, err = total.Add(amount); err != nil {
			return 0, err
		}
	}
	return total, nil
}
