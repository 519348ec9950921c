package modbus

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// U16, I16, U32 and I32 decode big-endian registers, high word first. The slice must hold the whole value; a shorter one is
// an error, never a panic.

// U16 decodes one register.
func U16(b []byte) (int64, error) {
	if len(b) != 2 {
		return 0, wrongSize(2, b)
	}
	return int64(binary.BigEndian.Uint16(b)), nil
}

// I16 decodes one signed register.
func I16(b []byte) (int64, error) {
	if len(b) != 2 {
		return 0, wrongSize(2, b)
	}
	return int64(int16(binary.BigEndian.Uint16(b))), nil
}

// U32 decodes two registers, high word first.
func U32(b []byte) (int64, error) {
	if len(b) != 4 {
		return 0, wrongSize(4, b)
	}
	return int64(binary.BigEndian.Uint32(b)), nil
}

// I32 decodes two registers as a signed value, high word first. A balance in overdraft reads negative.
func I32(b []byte) (int64, error) {
	if len(b) != 4 {
		return 0, wrongSize(4, b)
	}
	return int64(int32(binary.BigEndian.Uint32(b))), nil
}

// ThousandthsDCBA decodes a float32 whose bytes come lowest first (DCBA) into whole thousandths: m³ into litres.
//
// The meter holds the quantity in binary; we must not calculate with it. A float32 stands for every decimal that rounds to
// it, and the shortest of these is what the meter's display means: 1109.253 m³ is stored as 1109.2530517578125. So the
// value is printed as its shortest decimal and rounded half up to three places as text. Below 10,000 m³ neighbouring
// litres are different floats, and the way back is exact (the test walks it). From 16,384 m³ on a float32 can't tell
// litres apart, so such a value is refused rather than guessed.
func ThousandthsDCBA(b []byte) (int64, error) {
	if len(b) != 4 {
		return 0, wrongSize(4, b)
	}
	value := math.Float32frombits(binary.LittleEndian.Uint32(b))
	if math.IsNaN(float64(value)) || math.IsInf(float64(value), 0) {
		return 0, fmt.Errorf("%w: the register holds no number", ErrBadReply)
	}
	if value >= 16384 || value <= -16384 {
		return 0, fmt.Errorf("%w: %v is beyond what a 32-bit float holds to a thousandth", ErrBadReply, value)
	}
	return roundThousandths(strconv.FormatFloat(float64(value), 'f', -1, 32))
}

// roundThousandths turns a plain decimal text into thousandths, half up away from zero.
func roundThousandths(text string) (int64, error) {
	text, negative := strings.CutPrefix(text, "-")
	whole, fraction, _ := strings.Cut(text, ".")
	fraction += "0000"
	value, err := strconv.ParseInt(whole+fraction[:3], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is no decimal", ErrBadReply, text)
	}
	if fraction[3] >= '5' {
		value++
	}
	if negative {
		value = -value
	}
	return value, nil
}

// PutThousandthsDCBA is the inverse of ThousandthsDCBA, for writers of such registers.
func PutThousandthsDCBA(b []byte, thousandths int64) error {
	sign := ""
	if thousandths < 0 {
		sign, thousandths = "-", -thousandths
	}
	value, err := strconv.ParseFloat(fmt.Sprintf("%s%d.%03d", sign, thousandths/1000, thousandths%1000), 32)
	if err != nil {
		return fmt.Errorf("%d thousandths don't fit a 32-bit float: %w", thousandths, err)
	}
	binary.LittleEndian.PutUint32(b, math.Float32bits(float32(value)))
	return nil
}

// BCD decodes two decimal digits per byte, most significant first.
func BCD(b []byte) (string, error) {
	digits := make([]byte, 0, 2*len(b))
	for _, octet := range b {
		high, low := octet>>4, octet&0x0F
		if high > 9 || low > 9 {
			return "", fmt.Errorf("%w: byte 0x%02X is no pair of decimal digits", ErrBadReply, octet)
		}
		digits = append(digits, '0'+high, '0'+low)
	}
	return string(digits), nil
}

// EncodeBCD packs an even number of decimal digits.
func EncodeBCD(digits string) ([]byte, error) {
	if len(digits)%2 != 0 {
		return nil, fmt.Errorf("%q has an odd number of digits", digits)
	}
	packed := make([]byte, len(digits)/2)
	for i := range digits {
		if digits[i] < '0' || digits[i] > '9' {
			return nil, fmt.Errorf("%q is not all digits", digits)
		}
		packed[i/2] = packed[i/2]<<4 | (digits[i] - '0')
	}
	return packed, nil
}

// Clock decodes yy mm dd weekday hh mi ss, one binary byte each, as the meter's wall time. The result carries the UTC
// zone only as a label: a meter knows no zone.
func Clock(b []byte) (time.Time, error) {
	if len(b) != 7 {
		return time.Time{}, wrongSize(7, b)
	}
	month, day := time.Month(b[1]), int(b[2])
	hour, minute, second := int(b[4]), int(b[5]), int(b[6])
	wall := time.Date(2000+int(b[0]), month, day, hour, minute, second, 0, time.UTC)
	if b[0] > 99 || wall.Month() != month || wall.Day() != day || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, fmt.Errorf("%w: % X is no clock time", ErrBadReply, b)
	}
	return wall, nil
}

// EncodeClock is the inverse of Clock. Monday is weekday 1 and Sunday 7.
func EncodeClock(wall time.Time) []byte {
	weekday := byte((int(wall.Weekday())+6)%7 + 1)
	return []byte{
		byte(wall.Year() % 100), byte(wall.Month()), byte(wall.Day()), weekday,
		byte(wall.Hour()), byte(wall.Minute()), byte(wall.Second()),
	}
}

func wrongSize(want int, b []byte) error {
	return fmt.Errorf("%w: a value of %d bytes has %d", ErrBadReply, want, len(b))
}
