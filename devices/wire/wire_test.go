package wire

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server takes one connection and talks on it.
func server(t *testing.T, talk func(conn net.Conn)) *Channel {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				talk(conn)
			}()
		}
	}()
	dial := func(within time.Duration) (net.Conn, error) {
		conn, err := DialOut(listener.Addr().String())(within)
		if err != nil {
			return nil, err
		}
		return busy{conn.(*net.TCPConn)}, nil
	}
	c := NewChannel(dial, 100*time.Millisecond)
	t.Cleanup(c.Close)
	return c
}

// busy is a connection on a busy machine: some time passes between setting a deadline and what comes next.
type busy struct{ *net.TCPConn }

// SetReadDeadline sets it and is held up.
func (b busy) SetReadDeadline(t time.Time) error {
	defer time.Sleep(time.Millisecond)
	return b.TCPConn.SetReadDeadline(t)
}

// one takes the first byte for the answer and looks at nothing behind it.
func one(got []byte, _ bool) (skip, answer int) { return 0, len(got) }

// A gateway that says an answer twice: the second one lies there when the next request leaves, and is no answer to it.
func TestExchangeThrowsAwayWhatLiesThere(t *testing.T) {
	t.Parallel()
	taken, said := make(chan struct{}), make(chan struct{})
	c := server(t, func(conn net.Conn) {
		request := make([]byte, 1)
		for {
			if _, err := conn.Read(request); err != nil {
				return
			}
			_, _ = conn.Write(request)
			<-taken
			_, _ = conn.Write(request)
			said <- struct{}{}
		}
	})
	for i := range byte(20) {
		answer, _, err := c.Exchange([]byte{i}, one)
		require.NoError(t, err)
		require.Equal(t, []byte{i}, answer, "the answer of the request before")
		taken <- struct{}{}
		<-said
		time.Sleep(2 * time.Millisecond)
	}
}

// An answer that comes after its time-out is thrown away on the same connection.
func TestExchangeAfterATimeoutKeepsTheConnection(t *testing.T) {
	t.Parallel()
	late := make(chan struct{})
	c := server(t, func(conn net.Conn) {
		request := make([]byte, 1)
		for first := true; ; first = false {
			if _, err := conn.Read(request); err != nil {
				return
			}
			if first {
				<-late
				_, _ = conn.Write([]byte{'l'})
				late <- struct{}{}
				continue
			}
			_, _ = conn.Write([]byte{'r'})
		}
	})
	_, _, err := c.Exchange([]byte{1}, one)
	require.ErrorIs(t, err, ErrTimeout)
	conn := c.conn
	late <- struct{}{}
	<-late
	time.Sleep(10 * time.Millisecond)
	answer, _, err := c.Exchange([]byte{2}, one)
	require.NoError(t, err)
	require.Equal(t, []byte{'r'}, answer)
	require.Equal(t, conn, c.conn)
}

// A server that has hung up is noticed before the request leaves, so that it goes down a new connection and not into doubt.
func TestExchangeNoticesAHangUp(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 2)
	c := server(t, func(conn net.Conn) {
		request := make([]byte, 1)
		if _, err := conn.Read(request); err == nil {
			_, _ = conn.Write(request)
		}
		_ = conn.Close()
		gone <- struct{}{}
	})
	for i := range byte(2) {
		_, _, err := c.Exchange([]byte{i}, one)
		require.NoError(t, err)
		<-gone
		time.Sleep(10 * time.Millisecond)
	}
}

func TestScanSummed(t *testing.T) {
	t.Parallel()
	frame := func(data ...byte) []byte { return Seal(append([]byte{Start, 7, byte(len(data))}, data...)) }
	mine := func(b []byte) bool { return len(b) > 3 && b[3] == 'm' }
	scan := ScanSummed(3, 0, mine)
	good := frame('m', 1)
	for name, test := range map[string]struct {
		got          []byte
		quiet        bool
		skip, answer int
	}{
		"whole":                 {good, false, 0, 7},
		"behind preambles":      {append([]byte{Preamble, Preamble}, good...), false, 2, 7},
		"behind another's":      {append(frame('x', 1, 2), good...), false, 8, 7},
		"not whole yet":         {good[:6], false, 0, 0},
		"a start that was none": {append([]byte{Start, 0, 0, 1, 2}, good...), true, 5, 7},
		"bad sum":               {append(append([]byte{}, good[:5]...), good[5]^1, End), false, 0, 0},
		"bad end":               {append(append([]byte{}, good[:6]...), 0), false, 0, 0},
	} {
		skip, answer := scan(test.got, test.quiet)
		require.Equal(t, []int{test.skip, test.answer}, []int{skip, answer}, name)
	}
	skip, answer := ScanSummed(3, 1, mine)(good, false)
	require.Equal(t, []int{0, 0}, []int{skip, answer}, "the start is to be repeated")
}
