package modbus

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/wire"
)

// line is the other side of a transparent channel: it answers each request with frames, at once or late.
func line(t *testing.T, reply func(request []byte, say func(frame []byte))) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		request := make([]byte, 300)
		for {
			n, err := conn.Read(request)
			if err != nil {
				return
			}
			reply(append([]byte(nil), request[:n]...), func(frame []byte) { _, _ = conn.Write(frame) })
		}
	}()
	l := NewRTULink(wire.NewChannel(wire.DialOut(listener.Addr().String()), 200*time.Millisecond))
	l.carrier.(*rtu).opened = time.Now().Add(-takeover) // nobody asked on the line for long
	return l
}

func rtuFrame(b ...byte) []byte { return appendCRC(b) }

func TestRTUReadChecksTheAnswer(t *testing.T) {
	t.Parallel()
	good := rtuFrame(7, 3, 4, 1, 2, 3, 4)
	for name, test := range map[string]struct {
		reply []byte
		want  error
	}{
		"good":                {good, nil},
		"noise before":        {append([]byte{0xFF, 0x00}, good...), nil},
		"another unit before": {append(rtuFrame(8, 3, 4, 9, 9, 9, 9), good...), nil},
		"a late write before": {append(rtuFrame(7, 16, 0, 0x57, 0, 2), good...), nil},
		"a shorter read's":    {rtuFrame(7, 3, 2, 1, 2), ErrBadReply},
		"a longer read's":     {rtuFrame(7, 3, 6, 1, 2, 3, 4, 5, 6), ErrBadReply},
		"another unit's":      {rtuFrame(8, 3, 4, 1, 2, 3, 4), ErrBadReply},
		"bad CRC":             {append(good[:len(good)-1:len(good)-1], good[len(good)-1]^1), ErrBadReply},
		"bytes behind":        {append(good[:len(good):len(good)], 0), ErrBadReply},
		"broken off":          {good[:5], ErrBadReply},
		"silence":             {nil, ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := line(t, func(_ []byte, say func([]byte)) { say(test.reply) })
			defer l.Close()
			data, frame, err := l.Read(7, 0x0200, 2)
			require.ErrorIs(t, err, test.want)
			require.Equal(t, "070302000002c5d5", frame.Request)
			if err == nil {
				require.Equal(t, []byte{1, 2, 3, 4}, data)
			}
		})
	}
	l := line(t, func(_ []byte, say func([]byte)) { say(rtuFrame(7, 0x83, 2)) })
	_, _, err := l.Read(7, 0x0200, 2)
	var exception *ExceptionError
	require.ErrorAs(t, err, &exception)
	require.True(t, l.Connected(), "an exception is an answer")
}

// After a time-out the answer of the first read may still come, and it looks like that of the next one. A fence keeps them apart.
func TestRTULateAnswerIsFencedOff(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	l := line(t, func(request []byte, say func([]byte)) {
		switch asked.Add(1) {
		case 1: // its answer comes when the next request is there already
		case 2:
			require.Equal(t, byte(1), request[5], "one register: the fence")
			say(rtuFrame(7, 3, 4, 0, 0, 0, 1)) // the old value
			say(rtuFrame(7, 3, 2, 0, 0))
		default:
			say(rtuFrame(7, 3, 4, 0, 0, 0, 2)) // the new one
		}
	})
	defer l.Close()
	_, _, err := l.Read(7, 0x021F, 2)
	require.ErrorIs(t, err, ErrTimeout)
	_, err = l.WriteMany(7, 0x0057, []uint16{1, 1})
	require.ErrorIs(t, err, ErrBadReply, "nothing is written while an answer may be on its way")
	require.EqualValues(t, 1, asked.Load())
	data, _, err := l.Read(7, 0x021F, 2)
	require.NoError(t, err)
	require.Equal(t, []byte{0, 0, 0, 2}, data)
	require.EqualValues(t, 3, asked.Load())
}

// A fence that gets no answer in time is itself on its way: the next one asks for another number of registers, so that the late answer to
// the first one is not taken for it, nor for a read of one register behind it.
func TestRTUFenceIsTellable(t *testing.T) {
	t.Parallel()
	asked := []byte{}
	l := line(t, func(request []byte, say func([]byte)) {
		asked = append(asked, request[5])
		switch len(asked) {
		case 1, 2: // the read and its fence: not in time
		case 3:
			say(rtuFrame(7, 3, 2, 0, 1))       // the read's answer
			say(rtuFrame(7, 3, 4, 0, 1, 0, 1)) // the first fence's
			say(rtuFrame(7, 3, 6, 0, 0, 0, 0, 0, 0))
		default:
			say(rtuFrame(7, 3, 2, 0, 2))
		}
	})
	defer l.Close()
	for range 2 {
		_, _, err := l.Read(7, 0x0224, 1)
		require.ErrorIs(t, err, ErrTimeout)
	}
	data, _, err := l.Read(7, 0x0224, 1)
	require.NoError(t, err)
	require.Equal(t, []byte{0, 2}, data, "what it is now")
	require.Equal(t, []byte{1, 2, 3, 1}, asked)
}

// A fence may ask for more registers than there are at its place. The meter's refusal is its answer; the read behind it is asked all the same.
func TestRTURefusedFenceIsAnAnswer(t *testing.T) {
	t.Parallel()
	asked := 0
	l := line(t, func(request []byte, say func([]byte)) {
		switch asked++; asked {
		case 1, 2: // the read and its fence of one register: no answer
		case 3:
			say(rtuFrame(7, 0x83, 2)) // there are no three registers
		case 4:
			say(rtuFrame(7, 3, 4, 0, 0, 0, 2))
		default:
			say(rtuFrame(7, 0x83, ExceptionGatewayTarget))
		}
	})
	defer l.Close()
	for range 2 {
		_, _, err := l.Read(7, 0x5030, 2)
		require.ErrorIs(t, err, ErrTimeout)
	}
	data, _, err := l.Read(7, 0x5030, 2)
	require.NoError(t, err)
	require.Equal(t, []byte{0, 0, 0, 2}, data)
	require.Equal(t, 4, asked)
	l.carrier.(*rtu).units[7] = late{2: true}
	_, _, err = l.Read(7, 0x5030, 2)
	var exception *ExceptionError
	require.ErrorAs(t, err, &exception)
	require.Equal(t, 5, asked, "the gateway says that the meter is silent: no use in asking on")
}

// The owner of the line before us may have died in the middle of a read. Its answer comes to us, and is no answer to ours.
func TestRTUTakesNoAnswerOfTheOwnerBefore(t *testing.T) {
	t.Parallel()
	asked := 0
	l := line(t, func(request []byte, say func([]byte)) {
		if asked++; asked == 1 {
			say(rtuFrame(7, 3, 4, 0, 0, 0, 1)) // to another's read
		}
		data := make([]byte, 2*request[5])
		data[len(data)-1] = 2
		say(rtuFrame(append([]byte{7, 3, byte(len(data))}, data...)...))
	})
	defer l.Close()
	l.carrier.(*rtu).opened = time.Now()
	_, err := l.WriteMany(7, 0x0057, []uint16{1, 1})
	require.ErrorIs(t, err, ErrBadReply, "read before writing")
	for i, want := range []int{2, 3} {
		data, _, err := l.Read(7, 0x021F, 2)
		require.NoError(t, err)
		require.Equal(t, []byte{0, 0, 0, 2}, data)
		require.Equal(t, want, asked, "look %d: only the first one needs a fence", i)
	}
}

func FuzzScanRTU(f *testing.F) {
	f.Add(rtuFrame(7, 3, 4, 1, 2, 3, 4), 9, true)
	f.Add(rtuFrame(7, 0x20, 1, 0, 0, 4, 6, 0, 0, 0, 0, 0, 1), 0, true)
	f.Add([]byte{7, 3, 250, 1, 2, 3}, 9, false)
	f.Fuzz(func(t *testing.T, got []byte, length int, quiet bool) {
		skip, answer := scanRTU(7, 3, max(length, 0))(got, quiet)
		require.LessOrEqual(t, skip+answer, len(got))
		if answer > 0 {
			require.Equal(t, byte(7), got[skip])
			require.Zero(t, crc(got[skip:skip+answer]))
		}
	})
}
