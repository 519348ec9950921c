package devices

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// caller is the connection of a unit that dialled in. It is read all the time, so that a hang-up is noticed and a heartbeat heard while
// nobody asks the line anything; what came waits for the line's owner.
type caller struct {
	net.Conn
	since   time.Time
	arrived chan struct{}

	mu       sync.Mutex
	waiting  []byte
	heard    time.Time
	err      error // why nothing more will come
	deadline time.Time
}

// mostWaiting is more than one answer; heartbeats beyond it push out the oldest bytes, which nobody asked for.
const mostWaiting = 4096

// keepalive finds within half a minute that the other side is gone without a word, as units behind NAT go.
var keepalive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

func newCaller(conn net.Conn) *caller {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepalive) // silentAfter ends it all the same, only later
	}
	now := time.Now()
	c := &caller{Conn: conn, since: now, heard: now, arrived: make(chan struct{}, 1)}
	go c.listen()
	return c
}

func (c *caller) listen() {
	var piece [512]byte
	for {
		n, err := c.Conn.Read(piece[:])
		c.mu.Lock()
		if n > 0 {
			c.heard = time.Now()
			c.waiting = append(c.waiting, piece[:n]...)
			c.waiting = c.waiting[max(0, len(c.waiting)-mostWaiting):]
		}
		if c.err == nil {
			c.err = err
		}
		c.mu.Unlock()
		select {
		case c.arrived <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// Read gives what came, and waits for it until the deadline.
func (c *caller) Read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		n, err, deadline := copy(p, c.waiting), c.err, c.deadline
		c.waiting = c.waiting[n:]
		c.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-c.arrived:
			timer.Stop()
		case <-timer.C:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// SetReadDeadline bounds the next Read.
func (c *caller) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return nil
}

// SetDeadline bounds reads and writes.
func (c *caller) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close hangs up; the caller counts as ended at once.
func (c *caller) Close() error {
	c.mu.Lock()
	if c.err == nil {
		c.err = net.ErrClosed
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

func (c *caller) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// alive says whether the other side is still there, as far as can be told: it has not hung up, and something came not long ago.
func (c *caller) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && time.Since(c.heard) < silentAfter
}
