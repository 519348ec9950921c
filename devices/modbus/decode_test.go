package modbus

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestThousandthsDCBAIsExactForEveryLitre(t *testing.T) {
	t.Parallel()
	wire := make([]byte, 4)
	for litres := int64(0); litres < 10_000_000; litres += 7 { // a seventh of all litres, of every ending
		require.NoError(t, PutThousandthsDCBA(wire, litres))
		got, err := ThousandthsDCBA(wire)
		if err != nil || got != litres {
			t.Fatalf("%d litres came back as %d: %v", litres, got, err)
		}
	}
}

func TestThousandthsDCBA(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		wire []byte
		want int64
		err  error
	}{
		{wire: []byte{0, 0, 0, 0}, want: 0},
		{wire: []byte{0x19, 0xA8, 0x8A, 0x44}, want: 1109253}, // 1109.253 as published byte order DCBA
		{wire: []byte{0x19, 0xA8, 0x8A, 0xC4}, want: -1109253},
		{wire: []byte{0x00, 0x00, 0x80, 0x3F}, want: 1000},
		{wire: []byte{0x17, 0xB7, 0xD1, 0x38}, want: 0},          // 0.0001 rounds down
		{wire: []byte{0x6F, 0x12, 0x03, 0x3A}, want: 1},          // 0.0005 rounds half up
		{wire: []byte{0, 0, 0xC0, 0x7F}, err: ErrBadReply},       // NaN
		{wire: []byte{0, 0, 0x80, 0xFF}, err: ErrBadReply},       // -Inf
		{wire: []byte{0x00, 0x00, 0x80, 0x46}, err: ErrBadReply}, // 16384: litres can't be told apart
		{wire: []byte{1, 2, 3}, err: ErrBadReply},
	} {
		got, err := ThousandthsDCBA(test.wire)
		require.ErrorIs(t, err, test.err)
		require.Equal(t, test.want, got, "% X", test.wire)
	}
}

func TestIntegers(t *testing.T) {
	t.Parallel()
	wire := []byte{0xFF, 0xFE, 0x00, 0x01}
	unsigned, err := U32(wire)
	require.NoError(t, err)
	require.Equal(t, int64(0xFFFE0001), unsigned)
	signed, err := I32(wire)
	require.NoError(t, err)
	require.Equal(t, int64(-131071), signed)
	short, err := U16(wire[:2])
	require.NoError(t, err)
	require.Equal(t, int64(0xFFFE), short)
	negative, err := I16(wire[:2])
	require.NoError(t, err)
	require.Equal(t, int64(-2), negative)
	for _, decode := range []func([]byte) (int64, error){U16, I16, U32, I32} {
		_, err := decode(wire[:3])
		require.ErrorIs(t, err, ErrBadReply)
	}
}

func TestBCDRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`([0-9]{2}){0,8}`).Draw(t, "digits")
		packed, err := EncodeBCD(digits)
		require.NoError(t, err)
		back, err := BCD(packed)
		require.NoError(t, err)
		require.Equal(t, digits, back)
	})
	_, err := BCD([]byte{0x1A})
	require.ErrorIs(t, err, ErrBadReply)
	_, err = EncodeBCD("123")
	require.Error(t, err)
	_, err = EncodeBCD("1x")
	require.Error(t, err)
}

func TestClockRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		wall := first.Add(time.Duration(rapid.Int64Range(0, 99*365*86400).Draw(t, "second")) * time.Second)
		back, err := Clock(EncodeClock(wall))
		require.NoError(t, err)
		require.Equal(t, wall, back)
	})
	for _, wrong := range [][]byte{{26, 2, 30, 1, 0, 0, 0}, {26, 0, 1, 1, 0, 0, 0}, {26, 1, 1, 1, 24, 0, 0}, {26, 1, 1}} {
		_, err := Clock(wrong)
		require.ErrorIs(t, err, ErrBadReply, "% X", wrong)
	}
}

// Whatever the bytes are, a decoder returns a value or ErrBadReply; and a value that it returns is written back alike.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x19, 0xA8, 0x8A, 0x44})
	f.Add([]byte{26, 3, 1, 7, 8, 0, 0})
	f.Add([]byte{0xFF, 0xFF})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, decode := range []func([]byte) (int64, error){U16, I16, U32, I32} {
			if _, err := decode(data); err != nil && !errors.Is(err, ErrBadReply) {
				t.Fatalf("unexpected error %v", err)
			}
		}
		if litres, err := ThousandthsDCBA(data); err == nil && litres > -9_999_999 && litres < 9_999_999 {
			wire := make([]byte, 4)
			require.NoError(t, PutThousandthsDCBA(wire, litres))
			back, err := ThousandthsDCBA(wire)
			require.NoError(t, err)
			require.Equal(t, litres, back)
		}
		if digits, err := BCD(data); err == nil {
			packed, err := EncodeBCD(digits)
			require.NoError(t, err)
			require.Equal(t, data, append([]byte{}, packed...))
		}
		if wall, err := Clock(data); err == nil {
			require.Equal(t, append(append([]byte{}, data[:3]...), data[4:]...),
				append(append([]byte{}, EncodeClock(wall)[:3]...), EncodeClock(wall)[4:]...))
		}
	})
}
