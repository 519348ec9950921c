// Package wire is a transparent byte channel to one serial line: what a serial server or a 4G serial unit carries between us and the
// meters, byte for byte. Protocols that frame themselves (Modbus RTU, DL/T 645, CJ/T 188) lie on it.
//
// It owns the connection, the time-out of one exchange, what is thrown away before a request, and the frames kept as evidence. It
// knows no protocol: a Scan says which of the bytes are the answer. It never repeats a request, and is not safe for concurrent use:
// its owner sends one request at a time.
//
// Nothing on such a channel says which request an answer belongs to. So whatever lies in the channel when a request is about to
// leave is thrown away, and a Scan skips whole frames of others while the time-out runs on. What still can't be told apart, a late
// answer of the same shape, is the protocol's to fence off (see package modbus).
package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// The kinds of failure of one exchange, for every protocol and link.
var (
	// ErrTimeout: the request went out and no answer came in time. A write may have been applied.
	ErrTimeout = errors.New("no answer in time")
	// ErrNotConnected: no connection could be made. The request was certainly not sent.
	ErrNotConnected = errors.New("no connection to the gateway")
	// ErrLinkLost: the connection broke during the exchange. A write may have been applied.
	ErrLinkLost = errors.New("the connection to the gateway broke")
	// ErrBadReply: bytes came that are no valid answer to this request. A write may have been applied.
	ErrBadReply = errors.New("the answer does not fit the request")
)

// Frame is one exchange as it was on the wire, kept as evidence. Reply is empty when none was taken in.
type Frame struct {
	SentAt     time.Time `json:"sent_at"`
	AnsweredAt time.Time `json:"answered_at"`
	Request    string    `json:"request"` // hex of the whole frame
	Reply      string    `json:"reply"`
	// Line is the gateway on whose line it went, Write says that it was to change something at the meter, and Result why it failed: empty for
	// an answer that fits. Map is the register map, with its version, by which it was made and read. The line's owner fills them in.
	Line   string `json:"line,omitempty"`
	Write  bool   `json:"write,omitempty"`
	Result string `json:"result,omitempty"`
	Map    string `json:"map,omitempty"`
}

// Scan looks at all bytes that came since the request left. It gives how many of them at the beginning belong to no answer (noise, a
// late frame, another meter's), and the length of the whole answer behind them, 0 while more bytes are needed. quiet says that the line
// has been silent for a while, which ends a frame whose length the protocol doesn't tell.
type Scan func(got []byte, quiet bool) (skip, answer int)

// Dial gives a connection to the line: by dialling out, or the one that a unit dialled in on.
type Dial func(within time.Duration) (net.Conn, error)

// DialOut connects to a serial server's host:port.
func DialOut(hostPort string) Dial {
	return func(within time.Duration) (net.Conn, error) { return net.DialTimeout("tcp", hostPort, within) }
}

// Channel is the one connection to one line.
type Channel struct {
	dial    Dial
	timeout time.Duration
	conn    net.Conn
}

// How bytes are waited for. A serial server sends what its line brought in pieces; 60 ms cover the gap between two of them at 1200 baud.
const (
	quietAfter = 60 * time.Millisecond
	// settle is how long a connection that is no socket is looked at for leftovers before a request leaves.
	settle = 200 * time.Microsecond
	// mostBytes is more than the longest frame of any protocol, with some noise before it.
	mostBytes = 2048
)

// NewChannel prepares a channel; it connects at the first exchange. The time-out covers one whole exchange and must exceed the line's
// own worst case, or it makes late answers.
func NewChannel(dial Dial, timeout time.Duration) *Channel {
	return &Channel{dial: dial, timeout: timeout}
}

// Close drops the connection; the next exchange makes a new one.
func (c *Channel) Close() {
	if c.conn != nil {
		_ = c.conn.Close() // it is given up either way
		c.conn = nil
	}
}

// Connected says whether the last exchange left a usable connection.
func (c *Channel) Connected() bool { return c.conn != nil }

// Exchange sends one request and waits for the answer that scan finds. After a time-out or bytes that make no sense the connection
// stays: closing it would not stop a late answer from coming down the next one.
func (c *Channel) Exchange(request []byte, scan Scan) ([]byte, Frame, error) {
	frame := Frame{SentAt: time.Now(), Request: hex.EncodeToString(request)}
	fail := func(err error) ([]byte, Frame, error) {
		frame.AnsweredAt = time.Now()
		return nil, frame, err
	}
	if err := c.ready(); err != nil {
		return fail(err)
	}
	frame.SentAt = time.Now()
	deadline := frame.SentAt.Add(c.timeout)
	if err := c.conn.SetDeadline(deadline); err != nil {
		c.Close()
		return fail(fmt.Errorf("%w: %w", ErrLinkLost, err))
	}
	if _, err := c.conn.Write(request); err != nil {
		c.Close()
		return fail(fmt.Errorf("%w: %w", ErrLinkLost, err))
	}
	answer, rest, err := c.await(deadline, scan)
	frame.Reply = hex.EncodeToString(rest)
	if err != nil {
		return fail(err)
	}
	frame.AnsweredAt = time.Now()
	return answer, frame, nil
}

// ready connects when needed and throws away what nobody asked for. A connection that the other side has closed shows here, while the
// request has certainly not been sent.
func (c *Channel) ready() error {
	for range 2 {
		if c.conn == nil {
			conn, err := c.dial(c.timeout)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrNotConnected, err)
			}
			c.conn = conn
		}
		if err := c.conn.SetReadDeadline(time.Time{}); err != nil { // an old one would end the drain before it begins
			c.Close()
			continue
		}
		if c.drain() {
			return nil
		}
		c.Close()
	}
	return fmt.Errorf("%w: it closes every connection at once", ErrNotConnected)
}

// drain reads until nothing lies there any more. It is false when the connection is at its end.
func (c *Channel) drain() bool {
	var waste [512]byte
	if socket, ok := c.conn.(syscall.Conn); ok {
		return drainSocket(socket, waste[:])
	}
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(settle)); err != nil {
			return false
		}
		if _, err := c.conn.Read(waste[:]); err != nil {
			return timedOut(err)
		}
	}
}

// drainSocket empties a socket without a deadline: on a busy machine a short one may pass before the read has begun, which then leaves
// everything where it is.
func drainSocket(socket syscall.Conn, waste []byte) (alive bool) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, err := syscall.Read(int(fd), waste)
			switch {
			case n > 0, errors.Is(err, syscall.EINTR):
			default:
				alive = errors.Is(err, syscall.EAGAIN)
				return true
			}
		}
	})
	return err == nil && alive
}

// await collects bytes until scan has found the answer. got is all that came, for the evidence.
func (c *Channel) await(deadline time.Time, scan Scan) (answer, got []byte, err error) {
	got = make([]byte, 0, 256)
	var piece [512]byte
	for {
		pause := time.Now().Add(quietAfter)
		if len(got) == 0 || pause.After(deadline) {
			pause = deadline
		}
		if err := c.conn.SetReadDeadline(pause); err != nil {
			c.Close()
			return nil, got, fmt.Errorf("%w: %w", ErrLinkLost, err)
		}
		n, err := c.conn.Read(piece[:])
		got = append(got, piece[:n]...)
		quiet := n == 0 && timedOut(err)
		if err != nil && !quiet {
			c.Close()
			return nil, got, fmt.Errorf("%w: %w", ErrLinkLost, err)
		}
		skip, length := scan(got, quiet && len(got) > 0)
		switch {
		case length > 0 && len(got) > skip+length:
			return nil, got, fmt.Errorf("%w: %d bytes follow the answer", ErrBadReply, len(got)-skip-length)
		case length > 0:
			return got[skip : skip+length], got, nil
		case len(got) > mostBytes:
			return nil, got, fmt.Errorf("%w: the line does not stop talking", ErrBadReply)
		case quiet && !time.Now().Before(deadline) && len(got) > 0:
			return nil, got, fmt.Errorf("%w: %d bytes came that are no answer", ErrBadReply, len(got))
		case quiet && !time.Now().Before(deadline):
			return nil, got, ErrTimeout
		}
	}
}

func timedOut(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
