package dlt645

import (
	"encoding/hex"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/wire"
)

// answering is a channel whose other side answers each request with what reply makes of it.
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

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}

// The total energy of meter 000000000001, as it is printed wherever the standard is taught: 33 33 34 33, checksum B3.
func TestRead(t *testing.T) {
	t.Parallel()
	var sent []byte
	c := answering(t, func(q []byte) []byte {
		sent = append([]byte(nil), q...)
		return unhex(t, "fefefefe6801000000000068910833333433ac8967451816")
	})
	data, frame, err := Read(c, "000000000001", "00010000", 4)
	require.NoError(t, err)
	require.Equal(t, "fefefefe68010000000000681104"+"33333433"+"b316", hex.EncodeToString(sent))
	require.Equal(t, unhex(t, "79563412"), data, "lowest byte first: 12345679")
	require.Equal(t, "fefefefe6801000000000068910833333433ac8967451816", frame.Reply)
}

func TestReadTakesNoOtherAnswer(t *testing.T) {
	t.Parallel()
	good := encode([]byte{1, 0, 0, 0, 0, 0}, codeRead|answered, []byte{0, 0, 1, 0, 0x79, 0x56, 0x34, 0x12})
	for name, test := range map[string]struct {
		reply []byte
		want  error
	}{
		"another meter's":     {encode([]byte{2, 0, 0, 0, 0, 0}, codeRead|answered, []byte{0, 0, 1, 0, 1, 1, 1, 1}), wire.ErrBadReply},
		"another item's":      {encode([]byte{1, 0, 0, 0, 0, 0}, codeRead|answered, []byte{0, 0, 2, 0, 1, 1, 1, 1}), wire.ErrBadReply},
		"to a command":        {encode([]byte{1, 0, 0, 0, 0, 0}, codeControl|answered, nil), wire.ErrBadReply},
		"a wrong checksum's":  {append(append([]byte(nil), good[:len(good)-2]...), 0, wire.End), wire.ErrBadReply},
		"half of one":         {good[:9], wire.ErrBadReply},
		"with too much data":  {encode([]byte{1, 0, 0, 0, 0, 0}, codeRead|answered, []byte{0, 0, 1, 0, 0x79, 0x56, 0x34, 0x12, 0, 0}), wire.ErrBadReply},
		"with too little":     {encode([]byte{1, 0, 0, 0, 0, 0}, codeRead|answered, []byte{0, 0, 1, 0, 0x79, 0x56}), wire.ErrBadReply},
		"a long refusal":      {encode([]byte{1, 0, 0, 0, 0, 0}, codeRead|refused, []byte{2, 0}), wire.ErrBadReply},
		"with bytes behind":   {append(append([]byte(nil), good...), 1), wire.ErrBadReply},
		"noise before it":     {append([]byte{0, 0x68, 0xFE}, good...), nil},
		"another's before it": {append(encode([]byte{2, 0, 0, 0, 0, 0}, codeRead|answered, []byte{0, 0, 1, 0, 1, 1, 1, 1}), good...), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := Read(answering(t, func([]byte) []byte { return test.reply }), "000000000001", "00010000", 4)
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, test.want)
		})
	}
}

func TestControlCarriesPasswordAndTime(t *testing.T) {
	t.Parallel()
	var plain []byte
	c := answering(t, func(q []byte) []byte {
		plain = decode(q[preambleSize:])
		return encode([]byte{1, 0, 0, 0, 0, 0}, codeControl|answered, nil)
	})
	_, err := Control(c, "000000000001", Order{Command: Trip, Password: "02123456", Operator: "00000000", Until: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)})
	require.NoError(t, err)
	require.Equal(t, "0256341200000000"+"1a00"+"070605040326", hex.EncodeToString(plain))

	c = answering(t, func([]byte) []byte { return encode([]byte{1, 0, 0, 0, 0, 0}, codeControl|refused, []byte{0x04}) })
	_, err = Control(c, "000000000001", Order{Command: Trip, Password: "02123456", Operator: "00000000"})
	var refusal *RefusedError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, byte(0x04), refusal.Bits)
	c = answering(t, func([]byte) []byte { return encode([]byte{1, 0, 0, 0, 0, 0}, codeControl|answered, []byte{0, 0}) })
	_, err = Control(c, "000000000001", Order{Command: Trip, Password: "02123456", Operator: "00000000"})
	require.ErrorIs(t, err, wire.ErrBadReply, "an acknowledgement has no data")
	_, err = Control(c, "000000000001", Order{Password: "no hex"})
	require.ErrorContains(t, err, "password")
	_, _, err = Read(c, "12", "00010000", 4)
	require.ErrorContains(t, err, "address")
}

func FuzzScan(f *testing.F) {
	f.Add(unhex(f, "fefefefe6801000000000068910833333433ac8967451816"), true)
	f.Add([]byte{0x68, 0, 0, 0, 0, 0, 0, 0x68, 0x91, 0xFF, 1, 2}, false)
	address, echo := []byte{1, 0, 0, 0, 0, 0}, []byte{0, 0, 1, 0}
	f.Fuzz(func(t *testing.T, got []byte, quiet bool) {
		skip, answer := scan(address, codeRead, echo)(got, quiet)
		require.LessOrEqual(t, skip+answer, len(got))
		if answer > 0 {
			b := got[skip : skip+answer]
			require.Equal(t, address, b[1:7])
			require.Equal(t, wire.Sum(b[:answer-2]), b[answer-2])
		}
	})
}
