package billing

import (
	"math/bits"
	"time"
)

// Wrap is the number of raw values of a register that shows the given number
// of digits: 10^digits. It is 0, "never wraps", for digits outside 1 to 18.
func Wrap(digits int) int64 {
	if digits < 1 || digits > 18 {
		return 0
	}
	return int64(pow10(digits))
}

// Usage is what each register counted from prev to cur, raw, for registers of
// the given number of digits. A register that shows less than before is taken
// to have passed its end once; whether that is plausible is not decided here
// (see metering.Validate), except that more than half the register's range,
// or a drop with digits unknown, is refused: it is a step back, not a wrap.
func Usage(prev, cur Registers, digits int) (Registers, error) {
	use := make(Registers, len(prev))
	return use, AddUsage(use, prev, cur, digits)
}

// AddUsage adds Usage to a sum of as many registers.
func AddUsage(sum, prev, cur Registers, digits int) error {
	if len(prev) != len(cur) || len(prev) == 0 || len(sum) != len(prev) {
		return Errorf(CodeInvalidReading, "A reading of %d registers cannot follow one of %d: read the meter again, or record an exchange.", len(cur), len(prev))
	}
	for i := range prev {
		use := cur[i] - prev[i]
		if use < 0 {
			wrap := Wrap(digits)
			use += wrap
			if use < 0 || use > wrap/2 {
				return Errorf(CodeInvalidReading, "The %s register went back from %d to %d (raw).", Register(i), prev[i], cur[i])
			}
		}
		sum[i] += use
	}
	return nil
}

// Between is what the registers showed after elapsed of span, at an even rate
// from prev to cur, cut to whole raw units. When the bands account for the
// whole total, the total is carried by the bands, so that the sum stays exact;
// whatever is cut off counts after the instant, so nothing is lost.
func Between(prev, cur Registers, digits int, elapsed, span time.Duration) (Registers, error) {
	if elapsed < 0 || span <= 0 || elapsed > span {
		return nil, Errorf(CodeInvalidReading, "A reading can only be interpolated between two readings, not %s into %s.", elapsed, span)
	}
	use, err := Usage(prev, cur, digits)
	if err != nil {
		return nil, err
	}
	part := use.Share(elapsed, span)
	for i := range part {
		part[i] += prev[i]
		if wrap := Wrap(digits); wrap > 0 && part[i] >= wrap {
			part[i] -= wrap
		}
	}
	return part, nil
}

// Share is the part of a use, not negative, that falls into elapsed of span at
// an even rate, cut to whole raw units; the total is carried by the bands as
// Between says.
func (v Registers) Share(elapsed, span time.Duration) Registers {
	part := make(Registers, len(v))
	for i, u := range v {
		hi, lo := bits.Mul64(uint64(u), uint64(elapsed))
		quotient, _ := bits.Div64(hi, lo, uint64(span)) // elapsed ≤ span, so it fits
		part[i] = int64(quotient)
	}
	if v.HasBands() && v.BandSum() == v.Total() {
		part[Total] = part.BandSum()
	}
	return part
}
