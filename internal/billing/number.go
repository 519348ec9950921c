package billing

import (
	"database/sql/driver"
	"math"
	"math/big"
	"math/bits"

	"github.com/govalues/decimal"
)

// number is what Quantity, Price and Factor share: an exact decimal of at most
// 19 digits, kept without trailing zeros so that equal values are ==.
type number struct{ d decimal.Decimal }

func newNumber(d decimal.Decimal) number { return number{d.Trim(0)} }

// String writes the shortest exact form, such as "0.538".
func (n number) String() string { return n.d.String() }

// Fixed writes at least the given decimals, for columns: Fixed(2) of 5 is "5.00".
func (n number) Fixed(decimals int) string { return n.d.Pad(decimals).String() }

// Sign is -1, 0 or 1.
func (n number) Sign() int { return n.d.Sign() }

// IsZero says whether the value is 0; encoding/json's omitzero uses it too.
func (n number) IsZero() bool { return n.d.IsZero() }

// MarshalText writes String; JSON therefore carries a string, never a float.
func (n number) MarshalText() ([]byte, error) { return []byte(n.d.String()), nil }

// Value gives the text form to a SQL numeric column.
func (n number) Value() (driver.Value, error) { return n.d.String(), nil }

// parseNumber refuses exponents (a spreadsheet's 4e+05 has lost digits) and
// more decimals than the noun keeps.
func parseNumber(what, s string, maxDecimals int) (number, error) {
	for _, r := range s {
		if (r < '0' || r > '9') && r != '.' && r != '-' {
			return number{}, Errorf(CodeInvalidInput, "The %s %q is not a plain decimal number, such as 0.538.", what, s)
		}
	}
	d, err := decimal.Parse(s)
	if err != nil {
		return number{}, Errorf(CodeInvalidInput, "The %s %q is not a plain decimal number of at most 19 digits.", what, s)
	}
	// Parse rounds digits that do not fit. Comparing the count shows the loss.
	if significantDigits(s) > 19 {
		return number{}, Errorf(CodeInvalidInput, "The %s %q has more than 19 digits.", what, s)
	}
	n := newNumber(d)
	if n.d.Scale() > maxDecimals {
		return number{}, Errorf(CodeInvalidInput, "The %s %q has more than %d decimals.", what, s, maxDecimals)
	}
	return n, nil
}

func significantDigits(s string) int {
	count := 0
	for _, r := range s {
		if r >= '0' && r <= '9' && (count > 0 || r != '0') {
			count++
		}
	}
	return count
}

func scanNumber(what string, src any, maxDecimals int) (number, error) {
	switch v := src.(type) {
	case string:
		return parseNumber(what, v, maxDecimals)
	case []byte:
		return parseNumber(what, string(v), maxDecimals)
	case int64:
		d, err := decimal.New(v, 0)
		if err != nil {
			return number{}, err
		}
		return newNumber(d), nil
	default:
		return number{}, Errorf(CodeInternal, "cannot read a %s from %T", what, src)
	}
}

// How many decimals each noun keeps. Published prices go to eight places
// (Guangzhou's 0.58886875). Together they keep a charge inside 128 bits.
const (
	maxQuantityDecimals = 6
	maxPriceDecimals    = 8
	maxFactorDecimals   = 6
	maxPercentDecimals  = 4
)

// Quantity is an amount of kWh or m³, exact, with at most six decimals.
type Quantity struct{ number }

// ParseQuantity reads a plain decimal.
func ParseQuantity(s string) (Quantity, error) {
	n, err := parseNumber("quantity", s, maxQuantityDecimals)
	return Quantity{n}, err
}

// MustQuantity is ParseQuantity for constants in code and tests.
func MustQuantity(s string) Quantity { return must(ParseQuantity(s)) }

// UnmarshalText reads the text form.
func (q *Quantity) UnmarshalText(text []byte) (err error) {
	*q, err = ParseQuantity(string(text))
	return err
}

// Scan reads a SQL numeric.
func (q *Quantity) Scan(src any) (err error) {
	q.number, err = scanNumber("quantity", src, maxQuantityDecimals)
	return err
}

// Add returns q + r, or an error when the sum does not fit exactly.
func (q Quantity) Add(r Quantity) (Quantity, error) {
	d, err := q.d.AddExact(r.d, max(q.d.Scale(), r.d.Scale()))
	if err != nil {
		return Quantity{}, Errorf(CodeInvalidInput, "The quantities %s and %s are too large to be added.", q, r)
	}
	return Quantity{newNumber(d)}, nil
}

// Sub returns q − r, or an error when the difference does not fit exactly.
func (q Quantity) Sub(r Quantity) (Quantity, error) {
	return q.Add(Quantity{number{r.d.Neg()}})
}

// Cmp is -1, 0 or 1 as q is less than, equal to or more than r.
func (q Quantity) Cmp(r Quantity) int { return q.d.Cmp(r.d) }

// Price is yuan per kWh or m³, exact, with at most eight decimals.
type Price struct{ number }

// ParsePrice reads a plain decimal.
func ParsePrice(s string) (Price, error) {
	n, err := parseNumber("price", s, maxPriceDecimals)
	return Price{n}, err
}

// MustPrice is ParsePrice for constants in code and tests.
func MustPrice(s string) Price { return must(ParsePrice(s)) }

// Cmp is -1, 0 or 1 as p is less than, equal to or more than r.
func (p Price) Cmp(r Price) int { return p.d.Cmp(r.d) }

// UnmarshalText reads the text form.
func (p *Price) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePrice(string(text))
	return err
}

// Scan reads a SQL numeric.
func (p *Price) Scan(src any) (err error) {
	p.number, err = scanNumber("price", src, maxPriceDecimals)
	return err
}

// Factor is the share of a quantity that a component charges: sewage on 0.9
// of the water. The zero value means 1, so that a component may leave it out.
type Factor struct{ number }

// ParseFactor reads a plain decimal.
func ParseFactor(s string) (Factor, error) {
	n, err := parseNumber("factor", s, maxFactorDecimals)
	return Factor{n}, err
}

// MustFactor is ParseFactor for constants in code and tests.
func MustFactor(s string) Factor { return must(ParseFactor(s)) }

// UnmarshalText reads the text form. It refuses 0, because a factor that is
// left out means 1.
func (f *Factor) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFactor(string(text))
	if err == nil && f.IsZero() {
		err = Errorf(CodeInvalidInput, "The factor %q would charge nothing: leave out what it belongs to.", text)
	}
	return err
}

// Scan reads a SQL numeric.
func (f *Factor) Scan(src any) (err error) {
	f.number, err = scanNumber("factor", src, maxFactorDecimals)
	return err
}

// Percent is a measured error or a difference rate, exact and signed, with at
// most four decimals: 2.5 is 2.5 %.
type Percent struct{ number }

// ParsePercent reads a plain decimal, without the sign %.
func ParsePercent(s string) (Percent, error) {
	n, err := parseNumber("percentage", s, maxPercentDecimals)
	return Percent{n}, err
}

// MustPercent is ParsePercent for constants in code and tests.
func MustPercent(s string) Percent { return must(ParsePercent(s)) }

// UnmarshalText reads the text form.
func (p *Percent) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePercent(string(text))
	return err
}

// Scan reads a SQL numeric.
func (p *Percent) Scan(src any) (err error) {
	p.number, err = scanNumber("percentage", src, maxPercentDecimals)
	return err
}

// Multiplier is what p percent more multiplies by, exactly: 1.025 for 2.5.
func (p Percent) Multiplier() *big.Rat {
	r := p.rat()
	return r.Add(big.NewRat(1, 1), r.Quo(r, big.NewRat(100, 1)))
}

// Charge prices q at p, times f, and rounds the exact product once to whole
// fen: half up, and symmetric about zero, so that a reversal of a line is
// exactly its negative. It returns an error when the amount does not fit.
func Charge(q Quantity, p Price, f Factor) (Money, error) {
	tooLarge := func() error {
		return Errorf(CodeInvalidInput, "The charge of %s at %s is too large to be kept exactly.", q, p)
	}
	price := p.d
	if !f.IsZero() {
		var err error
		if price, err = p.d.MulExact(f.d, p.d.Scale()+f.d.Scale()); err != nil {
			return 0, tooLarge()
		}
	}
	// The product of two 19-digit coefficients fits 128 bits. Its scale minus
	// two is the number of digits below one fen.
	hi, lo := bits.Mul64(q.d.Coef(), price.Coef())
	scale := q.d.Scale() + price.Scale() - 2
	if scale < 0 {
		var carry uint64
		carry, lo = bits.Mul64(lo, pow10(-scale))
		if hi != 0 || carry != 0 {
			return 0, tooLarge()
		}
		scale = 0
	}
	divisor := pow10(scale)
	if hi >= divisor {
		return 0, tooLarge()
	}
	fen, rest := bits.Div64(hi, lo, divisor)
	if rest >= divisor-rest {
		fen++
	}
	if fen > math.MaxInt64 {
		return 0, tooLarge()
	}
	if q.Sign()*price.Sign() < 0 {
		return -Money(fen), nil
	}
	return Money(fen), nil
}

// ChargeMonths is Charge for a price per month of which so many thirtieths are
// charged.
func ChargeMonths(q Quantity, p Price, f Factor, thirtieths int) (Money, error) {
	amount := new(big.Rat).Mul(q.rat(), exactProduct(&p, f))
	amount.Mul(amount, big.NewRat(100*int64(thirtieths), 30))
	fen, ok := new(big.Int).SetString(amount.FloatString(0), 10) // halves away from zero
	if !ok || !fen.IsInt64() {
		return 0, Errorf(CodeInvalidInput, "The charge of %s at %s is too large to be kept exactly.", q, p)
	}
	return Money(fen.Int64()), nil
}

// Rate is a price with its factor, ready to be charged many times over: the
// same product and rounding as Charge, on raw register units.
type Rate struct {
	coef     uint64 // of price × factor
	scale    int    // units × coef ÷ 10^scale is fen
	decimals int    // of a raw unit
}

// NewRate makes a rate for a service's raw units.
func NewRate(s Service, p Price, f Factor) (Rate, error) {
	price := p.d
	if !f.IsZero() {
		var err error
		if price, err = p.d.MulExact(f.d, p.d.Scale()+f.d.Scale()); err != nil {
			return Rate{}, Errorf(CodeInvalidInput, "The price %s times %s is too fine to be kept exactly.", p, f)
		}
	}
	if price.Sign() < 0 {
		return Rate{}, Errorf(CodeInvalidInput, "The price %s is negative.", p)
	}
	r := Rate{price.Coef(), s.Scale() + price.Scale() - 2, s.Scale()}
	// A small price brought to eight decimals is divided by a constant.
	for r.scale < usualScale && r.coef < math.MaxUint32 {
		r.coef, r.scale = 10*r.coef, r.scale+1
	}
	return r, nil
}

// usualScale is that of a power price with eight decimals.
const usualScale = 8

// Quantity turns raw units into kWh or m³, as Service.Quantity does.
func (r *Rate) Quantity(raw int64) Quantity { return trimmed(raw, r.decimals) }

func trimmed(raw int64, scale int) Quantity {
	for scale > 0 && raw%10 == 0 {
		raw, scale = raw/10, scale-1
	}
	d, err := decimal.New(raw, scale) // MustNew costs a second call for each line of each bill
	if err != nil {
		panic(err)
	}
	return Quantity{number{d}}
}

// Charge is what raw units cost, rounded once, half up.
func (r *Rate) Charge(raw int64) (Money, error) {
	hi, lo := bits.Mul64(uint64(raw), r.coef)
	const usual = 100_000_000
	if r.scale == usualScale && hi == 0 && lo < math.MaxInt64-usual && raw >= 0 {
		return Money((lo + usual/2) / usual), nil
	}
	if raw >= 0 && r.scale >= 0 && r.scale < len(powers) && hi < powers[r.scale]/2 {
		divisor := powers[r.scale]
		fen, rest := bits.Div64(hi, lo, divisor)
		if rest >= divisor-rest {
			fen++
		}
		if fen <= math.MaxInt64 {
			return Money(fen), nil
		}
	}
	return r.chargeSlowly(raw)
}

// chargeSlowly is Charge for the numbers that a bill has hardly ever.
func (r *Rate) chargeSlowly(raw int64) (Money, error) {
	amount := new(big.Rat).SetInt(new(big.Int).Mul(big.NewInt(raw), new(big.Int).SetUint64(r.coef)))
	if r.scale >= 0 {
		amount.Quo(amount, new(big.Rat).SetInt(new(big.Int).SetUint64(pow10(r.scale))))
	} else {
		amount.Mul(amount, new(big.Rat).SetInt(new(big.Int).SetUint64(pow10(-r.scale))))
	}
	whole, ok := new(big.Int).SetString(amount.FloatString(0), 10) // halves away from zero
	if !ok || !whole.IsInt64() {
		return 0, Errorf(CodeInvalidInput, "The charge of %d register units is too large to be kept exactly.", raw)
	}
	return Money(whole.Int64()), nil
}

// pow10 holds for n up to 19, which the decimals of the nouns guarantee:
// 6 of a quantity, 8 of a price and 6 of a factor, less 2 for fen.
func pow10(n int) uint64 { return powers[n] }

var powers = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = 10 * p[i-1]
	}
	return p
}()

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
