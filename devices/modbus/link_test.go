package modbus

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answer serves one connection after another: each request of 12 bytes or more is answered by what reply makes of it.
// A nil answer is silence; an empty one closes the connection.
func answer(t testing.TB, reply func(request []byte) []byte) string {
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
				for {
					header := make([]byte, 7)
					if _, err := io.ReadFull(conn, header); err != nil {
						return
					}
					body := make([]byte, int(header[4])<<8|int(header[5])-1)
					if _, err := io.ReadFull(conn, body); err != nil {
						return
					}
					frame := reply(append(header, body...))
					if frame != nil && len(frame) == 0 {
						return
					}
					if _, err := conn.Write(frame); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// to builds an answer to a request with the given PDU.
func to(request []byte, pdu ...byte) []byte {
	frame := append([]byte{}, request[:4]...)
	frame = append(frame, 0, byte(1+len(pdu)), request[6])
	return append(frame, pdu...)
}

func TestReadChecksTheAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reply func([]byte) []byte
		want  error
	}{
		"good":          {func(q []byte) []byte { return to(q, 3, 4, 1, 2, 3, 4) }, nil},
		"short":         {func(q []byte) []byte { return to(q, 3, 2, 1, 2) }, ErrBadReply},
		"long":          {func(q []byte) []byte { return to(q, 3, 6, 1, 2, 3, 4, 5, 6) }, ErrBadReply},
		"count lies":    {func(q []byte) []byte { return to(q, 3, 4, 1, 2) }, ErrBadReply},
		"no data":       {func(q []byte) []byte { return to(q, 3) }, ErrBadReply},
		"other func":    {func(q []byte) []byte { return to(q, 4, 4, 1, 2, 3, 4) }, ErrBadReply},
		"odd exception": {func(q []byte) []byte { return to(q, 0x83) }, ErrBadReply},
		"other unit":    {func(q []byte) []byte { r := to(q, 3, 4, 1, 2, 3, 4); r[6]++; return r }, ErrBadReply},
		"other tid":     {func(q []byte) []byte { r := to(q, 3, 4, 1, 2, 3, 4); r[1]++; return r }, ErrBadReply},
		"silence":       {func([]byte) []byte { return nil }, ErrTimeout},
		"hang up":       {func([]byte) []byte { return []byte{} }, ErrLinkLost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			link := NewLink(answer(t, test.reply), 100*time.Millisecond, nil)
			defer link.Close()
			data, frame, err := link.Read(7, 0x0200, 2)
			require.ErrorIs(t, err, test.want)
			require.Equal(t, "0001000000060703"+"02000002", frame.Request)
			require.Equal(t, err == nil, link.Connected(), "only a good exchange leaves the link open")
			if err == nil {
				require.Equal(t, []byte{1, 2, 3, 4}, data)
			}
		})
	}
}

func TestExceptionKeepsTheLink(t *testing.T) {
	t.Parallel()
	link := NewLink(answer(t, func(q []byte) []byte { return to(q, 0x83, 0x0B) }), time.Second, nil)
	defer link.Close()
	_, _, err := link.Read(1, 0, 1)
	var exception *ExceptionError
	require.ErrorAs(t, err, &exception)
	require.Equal(t, ExceptionGatewayTarget, exception.Exception)
	require.Contains(t, err.Error(), "11")
	require.True(t, link.Connected())
}

func TestWritesCheckTheirEcho(t *testing.T) {
	t.Parallel()
	echo := NewLink(answer(t, func(q []byte) []byte { return to(q, q[7:12]...) }), time.Second, nil)
	defer echo.Close()
	_, err := echo.WriteOne(1, 0x1C, 2)
	require.NoError(t, err)
	frame, err := echo.WriteMany(1, 0x57, []uint16{1, 1})
	require.NoError(t, err)
	require.Equal(t, "00020000000b01100057000204"+"00010001", frame.Request)
	frame, err = echo.Command(1, 0x0100, []uint16{0, 5, 1, 0})
	require.NoError(t, err)
	require.Equal(t, "00030000000f01200100000408"+"0000000500010000", frame.Request)

	liar := NewLink(answer(t, func(q []byte) []byte { return to(q, q[7], 9, 9, 9, 9) }), time.Second, nil)
	defer liar.Close()
	_, err = liar.WriteOne(1, 0x1C, 2)
	require.ErrorIs(t, err, ErrBadReply)
	_, err = liar.WriteMany(1, 0x57, []uint16{1, 1})
	require.ErrorIs(t, err, ErrBadReply)
}

func TestImpossibleRequestsAreNotSent(t *testing.T) {
	t.Parallel()
	link := NewLink("127.0.0.1:1", time.Second, nil)
	_, _, err := link.Read(1, 0, 126)
	require.Error(t, err)
	_, err = link.WriteMany(1, 0, nil)
	require.Error(t, err)
	_, err = link.Command(1, 0, make([]uint16, 124))
	require.Error(t, err)
	_, _, err = link.Read(1, 0, 1)
	require.ErrorIs(t, err, ErrNotConnected)
}

// Whatever a gateway answers, a read returns four bytes or an error, and never hangs or panics.
func FuzzReply(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 7, 1, 3, 4, 1, 2, 3, 4})
	f.Add([]byte{0, 1, 0, 0, 0, 3, 1, 0x83, 2})
	f.Add([]byte{0, 1, 0, 0, 0, 0, 1})
	f.Add([]byte{0, 1, 0, 0, 0xFF, 0xFF, 1})
	f.Fuzz(func(t *testing.T, reply []byte) {
		link := NewLink(answer(t, func([]byte) []byte { return append([]byte{}, reply...) }), 20*time.Millisecond, nil)
		defer link.Close()
		data, _, err := link.Read(1, 0, 2)
		if err == nil && len(data) != 4 {
			t.Fatalf("a read of two words returned %d bytes", len(data))
		}
	})
}
