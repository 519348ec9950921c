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
	if len(prev) != len(cur) || len(prev) == 0 {
		return nil, Errorf(CodeInvalidReading, "A reading of %d registers cannot follow one of %d: read the meter again, or record an exchange.", len(cur), len(prev))
	}
	wrap := Wrap(digits)
	use := make(Registers, len(prev))
	for i := range prev {
		use[i] = cur[i] - prev[i]
		if use[i] >= 0 {
			continue
		}
		use[i] += wrap
		if use[i] < 0 || use[i] > wrap/2 {
			return nil, Errorf(CodeInvalidReading, "The %s register went back from %d to %d (raw).", Register(i), prev[i], cur[i])
		}
	}
	return use, nil
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
	part := make(Registers, len(use))
	for i, u := range use {
		hi, lo := bits.Mul64(uint64(u), uint64(elapsed))
		quotient, _ := bits.Div64(hi, lo, uint64(span)) // elapsed ≤ span, so it fits
		part[i] = int64(quotient)
	}
	if use.HasBands() && use.BandSum() == use.Total() {
		part[Total] = part.BandSum()
	}
	for i := range part {
		part[i] += prev[i]
		if wrap := Wrap(digits); wrap > 0 && part[i] >= wrap {
			part[i] -= wrap
		}
	}
	return part, nil
}
