package cjt188

import (
	"encoding/hex"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/wire"
)

func answering(t *testing.T, reply func(request []byte) []byte) *wire.Channel {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
	go func() {
		buffer := make([]byte, 512)
		for {
			n, err := theirs.Read(buffer)
			if err != nil {
				return
			}
			if _, err := theirs.Write(reply(buffer[:n])); err != nil {
				return
			}
		}
	}()
	return wire.NewChannel(func(time.Duration) (net.Conn, error) { return ours, nil }, 300*time.Millisecond)
}

var address = []byte{0x78, 0x56, 0x34, 0x12, 0, 0, 0}

// reading is total 123.45 m³, month 1.00, clock 2026-03-04 05:06:07, valve open.
var reading = []byte{0x45, 0x23, 0x01, 0, 0x2C, 0, 1, 0, 0, 0x2C, 7, 6, 5, 4, 3, 0x26, 0x20, 0, 0}

func TestRead(t *testing.T) {
	t.Parallel()
	var sent []byte
	c := answering(t, func(q []byte) []byte {
		sent = append([]byte(nil), q...)
		return encode(ColdWater, address, codeRead|answered, append([]byte{0x90, 0x1F, 9}, reading...))
	})
	data, _, err := NewMeter(c, ColdWater, "00000012345678", 9).Read()
	require.NoError(t, err)
	require.Equal(t, "fefe681078563412000000"+"0103901f09"+"4816", hex.EncodeToString(sent))
	require.Equal(t, append(append([]byte(nil), address...), reading...), data)
}

func TestReadTakesNoOtherAnswer(t *testing.T) {
	t.Parallel()
	answer := func(number byte, data []byte) []byte {
		return encode(ColdWater, address, codeRead|answered, append([]byte{0x90, 0x1F, number}, data...))
	}
	litres := append([]byte(nil), reading...)
	litres[4] = 0x29
	for name, reply := range map[string][]byte{
		"of the exchange before": answer(8, reading),
		"in another unit":        answer(9, litres),
		"too short":              answer(9, reading[:10]),
		"too long":               answer(9, append(append([]byte(nil), reading...), 0, 0)),
		"a long refusal":         encode(ColdWater, address, codeRead|refused, []byte{9, 0, 0, 0}),
		"another meter's":        encode(ColdWater, []byte{1, 1, 1, 1, 1, 1, 1}, codeRead|answered, append([]byte{0x90, 0x1F, 9}, reading...)),
		"another kind's":         encode(0x20, address, codeRead|answered, append([]byte{0x90, 0x1F, 9}, reading...)),
		"of the valve":           encode(ColdWater, address, codeWrite|answered, []byte{0xA0, 0x17, 9, 0, 0}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := NewMeter(answering(t, func([]byte) []byte { return reply }), ColdWater, "00000012345678", 9).Read()
			require.ErrorIs(t, err, wire.ErrBadReply)
		})
	}
}

func TestMoveValve(t *testing.T) {
	t.Parallel()
	var sent []byte
	c := answering(t, func(q []byte) []byte {
		sent = append([]byte(nil), q...)
		return encode(ColdWater, address, codeWrite|answered, []byte{0xA0, 0x17, 1, 0, 0})
	})
	_, err := NewMeter(c, ColdWater, "00000012345678", 1).MoveValve(ValveClose)
	require.NoError(t, err)
	require.Equal(t, byte(0x99), sent[len(sent)-3])
	c = answering(t, func([]byte) []byte {
		return encode(ColdWater, address, codeWrite|answered, []byte{0xA0, 0x17, 1, 0, 0, 0})
	})
	_, err = NewMeter(c, ColdWater, "00000012345678", 1).MoveValve(ValveClose)
	require.ErrorIs(t, err, wire.ErrBadReply, "an acknowledgement has the status and nothing else")
	c = answering(t, func([]byte) []byte { return encode(ColdWater, address, codeWrite|refused, []byte{2, 0, 0}) })
	_, err = NewMeter(c, ColdWater, "00000012345678", 2).MoveValve(ValveOpen)
	var refusal *RefusedError
	require.ErrorAs(t, err, &refusal)
	_, err = NewMeter(c, ColdWater, "12", 2).MoveValve(ValveOpen)
	require.ErrorContains(t, err, "address")
}

func FuzzScan(f *testing.F) {
	f.Add(encode(ColdWater, address, codeRead|answered, append([]byte{0x90, 0x1F, 9}, reading...)), false)
	f.Add([]byte{0x68, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x81, 0xFF, 0, 0}, true)
	f.Fuzz(func(t *testing.T, got []byte, quiet bool) {
		skip, answer := scan(ColdWater, address, codeRead, []byte{0x90, 0x1F, 9})(got, quiet)
		require.LessOrEqual(t, skip+answer, len(got))
		if answer > 0 {
			b := got[skip : skip+answer]
			require.Equal(t, address, b[2:9])
			require.Equal(t, wire.Sum(b[:answer-2]), b[answer-2])
		}
	})
}
