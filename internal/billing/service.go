package billing

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"

	"github.com/govalues/decimal"
)

// Service is what an account is supplied with.
type Service string

// The services.
const (
	Power Service = "power"
	Water Service = "water"
)

// Valid says whether s is a known service.
func (s Service) Valid() bool { return s == Power || s == Water }

// Scale is the number of decimals of one raw register unit: power counts
// 0.01 kWh, water counts litres (0.001 m³).
func (s Service) Scale() int {
	if s == Water {
		return 3
	}
	return 2
}

// Unit is the unit that quantities of s are printed in.
func (s Service) Unit() string {
	if s == Water {
		return "m³"
	}
	return "kWh"
}

// Quantity turns raw register units into kWh or m³, exactly.
func (s Service) Quantity(raw int64) Quantity { return trimmed(raw, s.Scale()) }

// Format writes raw register units with the fixed decimals of the service.
func (s Service) Format(raw int64) string {
	return decimal.MustNew(raw, s.Scale()).String()
}

// Raw turns a quantity into raw register units; it refuses one that is finer
// than the register, such as 0.001 kWh.
func (s Service) Raw(q Quantity) (int64, error) {
	d := q.d
	if d.Scale() > s.Scale() {
		return 0, Errorf(CodeInvalidInput, "%s %s is finer than the register, which counts to %d decimals.", q, s.Unit(), s.Scale())
	}
	hi, lo := bits.Mul64(d.Coef(), pow10(s.Scale()-d.Scale()))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, Errorf(CodeInvalidInput, "%s %s does not fit a register.", q, s.Unit())
	}
	return int64(lo) * int64(d.Sign()), nil
}

// Register is one cumulative counter of a meter; its value is its place in
// Registers.
type Register int

// The registers. A water meter and a single-rate meter have only the total.
const (
	Total Register = iota
	Sharp
	Peak
	Flat
	Valley
	DeepValley
	registerCount
)

// Bands are the registers that split the total by time of use, in order.
var Bands = []Register{Sharp, Peak, Flat, Valley, DeepValley}

var registerNames = [registerCount]string{"total", "sharp", "peak", "flat", "valley", "deep_valley"}

// String is the register's name in data: "deep_valley".
func (r Register) String() string {
	if r < 0 || r >= registerCount {
		return "register " + strconv.Itoa(int(r))
	}
	return registerNames[r]
}

// MarshalText writes String.
func (r Register) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a name; an unknown one is refused.
func (r *Register) UnmarshalText(text []byte) error {
	for i, name := range registerNames {
		if name == string(text) {
			*r = Register(i)
			return nil
		}
	}
	return Errorf(CodeInvalidInput, "The register %q is unknown: use total, sharp, peak, flat, valley or deep_valley.", text)
}

// Registers is one atomic vector of a meter's raw registers at one instant:
// only the total, or the total and the five bands, indexed by Register.
type Registers []int64

// Total is the raw total register.
func (v Registers) Total() int64 { return v[Total] }

// HasBands says whether the vector holds the five bands.
func (v Registers) HasBands() bool { return len(v) == int(registerCount) }

// BandSum adds the five bands, raw.
func (v Registers) BandSum() int64 {
	var sum int64
	for _, raw := range v[1:] {
		sum += raw
	}
	return sum
}

// Validate refuses a vector of the wrong length or with a negative register.
func (v Registers) Validate(s Service) error {
	if len(v) != 1 && (s == Water || !v.HasBands()) {
		return Errorf(CodeInvalidReading, "A %s reading has %d registers; it needs the total alone%s.", s, len(v),
			map[Service]string{Power: ", or the total and five bands"}[s])
	}
	for i, raw := range v {
		if raw < 0 {
			return Errorf(CodeInvalidReading, "The %s register is negative (%s); a register only counts up.", Register(i), s.Format(raw))
		}
	}
	return nil
}

// LitresWorth is what a volume of water costs at a price in yuan×10^8 per m³, rounded half away from zero.
func LitresWorth(litres, priceE8 int64) Money {
	// Litres × yuan×10^8 per m³ is fen × 10^9.
	worth, half := new(big.Int).Mul(big.NewInt(litres), big.NewInt(priceE8)), big.NewInt(500_000_000)
	if worth.Sign() < 0 {
		half.Neg(half)
	}
	return Money(worth.Add(worth, half).Quo(worth, big.NewInt(1_000_000_000)).Int64())
}
