package devices

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/meterflow/meterflow/devices/wire"
)

// DialIn takes the calls of 4G serial units behind NAT. A unit opens a TCP connection, says who it is in one line,
//
//	REG <registration id> <secret>\r\n
//
// and from then on passes bytes between that connection and its serial line. It may dial again at will: when its old connection is at
// its end, or has been silent for longer than a unit's heartbeats leave it, the new one takes its place; while the old one lives, a
// second unit under the same id is turned away. A unit that is turned away is told why in one line.
//
// It owns who is connected. It refuses to know meters; whose gateway a registration is, Units says.
type DialIn struct {
	units UnitOf
	log   *slog.Logger
	// allowed are the networks that units may call from; empty is any.
	allowed []netip.Prefix

	mu        sync.Mutex
	connected map[string]*caller // by gateway
}

// Unit is a registration: which gateway the unit is, and the SHA-256 of its secret.
type Unit struct {
	Gateway string
	Secret  [sha256.Size]byte
}

// UnitOf finds a registration; ok is false when there is none with this id.
type UnitOf func(ctx context.Context, registration string) (u Unit, ok bool, err error)

const (
	// registerWithin bounds how long a unit may take to say who it is, and we to look it up.
	registerWithin = 10 * time.Second
	// mostCalls bounds how many callers are being registered at once. After an outage all units call at the same time: the others wait in
	// the listener's queue, or call again.
	mostCalls = 1024
	// acceptAgain is how long no call is taken when the system has no room for another connection.
	acceptAgain = 100 * time.Millisecond
	longestLine = 200
	// silentAfter is three times the usual heartbeat of such units, 60 s.
	silentAfter = 3 * time.Minute
)

// NewDialIn prepares a listener; Serve runs it.
func NewDialIn(units UnitOf, allowed []netip.Prefix, log *slog.Logger) *DialIn {
	return &DialIn{units: units, allowed: allowed, log: log, connected: map[string]*caller{}}
}

// Serve takes calls until ctx ends.
func (d *DialIn) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	slots := make(chan struct{}, mostCalls)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("units can't dial in any more: %w", err)
		case err != nil:
			<-slots
			d.log.Warn("a call could not be taken", "why", err)
			time.Sleep(acceptAgain)
			continue
		}
		calls.Go(func() {
			defer func() { <-slots }()
			d.take(ctx, conn)
		})
	}
}

// take registers one caller, or turns it away.
func (d *DialIn) take(ctx context.Context, conn net.Conn) {
	from := conn.RemoteAddr().String()
	gateway, err := d.register(ctx, conn)
	if err == nil {
		d.log.Info("a unit dialled in", "gateway", gateway, "from", from)
		return
	}
	d.log.Warn("a unit was turned away", "from", from, "why", err)
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintf(conn, "ERR %v\r\n", err) // it may be gone
	_ = conn.Close()
}

func (d *DialIn) register(ctx context.Context, conn net.Conn) (gateway string, err error) {
	ctx, cancel := context.WithTimeout(ctx, registerWithin)
	defer cancel()
	hangUp := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) }) // also when the worker stops
	defer hangUp()
	if at, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err != nil || !within(d.allowed, at.Addr()) {
		return "", errors.New("calls from this network are not allowed")
	}
	if err := conn.SetDeadline(time.Now().Add(registerWithin)); err != nil {
		return "", err
	}
	id, secret, err := readRegistration(conn)
	if err != nil {
		return "", err
	}
	unit, known, err := d.units(ctx, id)
	if err != nil {
		return "", errors.New("registrations can't be looked up now, call again later")
	}
	given := sha256.Sum256([]byte(secret))
	// Compared also for an unknown id, so that the time of the answer tells nothing.
	if subtle.ConstantTimeCompare(given[:], unit.Secret[:]) != 1 || !known {
		return "", errors.New("registration id or secret is wrong")
	}
	if !hangUp() {
		return "", errors.New("registering took too long, call again")
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return "", err
	}
	return unit.Gateway, d.place(unit.Gateway, conn)
}

// readRegistration reads the one line, byte by byte: what follows it belongs to the line's protocol.
func readRegistration(conn net.Conn) (id, secret string, err error) {
	one := bufio.NewReaderSize(&oneByOne{conn}, 16)
	var line strings.Builder
	for line.Len() < longestLine {
		b, err := one.ReadByte()
		if err != nil {
			return "", "", errors.New("no registration came")
		}
		if b == '\n' {
			words := strings.Fields(line.String())
			if len(words) != 3 || words[0] != "REG" {
				return "", "", errors.New("the first line must be: REG <registration id> <secret>")
			}
			return words[1], words[2], nil
		}
		line.WriteByte(b)
	}
	return "", "", errors.New("the registration line is too long")
}

// oneByOne keeps a reader from taking more than it was asked for.
type oneByOne struct{ net.Conn }

// Read reads one byte.
func (o *oneByOne) Read(p []byte) (int, error) { return o.Conn.Read(p[:1]) }

// place makes the connection the gateway's. An old one that still lives keeps its place.
func (d *DialIn) place(gateway string, conn net.Conn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, ok := d.connected[gateway]; ok {
		if old.alive() {
			return fmt.Errorf("this registration is connected already, from %s", old.RemoteAddr())
		}
		_ = old.Close()
	}
	d.connected[gateway] = newCaller(conn)
	return nil
}

// dial gives the line's owner the connection of a gateway's unit.
func (d *DialIn) dial(gateway string) wire.Dial {
	return func(time.Duration) (net.Conn, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		c, ok := d.connected[gateway]
		if !ok || c.ended() {
			return nil, fmt.Errorf("the unit of gateway %s has not dialled in", gateway)
		}
		return c, nil
	}
}

// Connected tells since when a gateway's unit is connected and from where; ok is false when it isn't. A nil DialIn has none.
func (d *DialIn) Connected(gateway string) (from string, since time.Time, ok bool) {
	if d == nil {
		return "", time.Time{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.connected[gateway]
	if !ok || c.ended() {
		return "", time.Time{}, false
	}
	return c.RemoteAddr().String(), c.since, true
}

// Gateways lists whose units are connected. A nil DialIn has none.
func (d *DialIn) Gateways() []string {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id, c := range d.connected {
		if !c.ended() {
			ids = append(ids, id)
		}
	}
	return ids
}
