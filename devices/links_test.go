package devices_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

// A gateway that answers reads from its memory shows the old state after a command; what it remembers is outlasted.
func TestCachingGatewayIsOutlasted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		known time.Duration // what we know of the gateway's cache
		want  devices.Outcome
	}{{300 * time.Millisecond, devices.OutcomeVerified}, {0, devices.OutcomeRefused}} {
		t.Run(string(test.want), func(t *testing.T) {
			t.Parallel()
			spec := testSpec(t)
			spec.Gateways[0].CacheMillis = 250
			b := newBench(t, spec)
			m := b.meter(single)
			m.Link.CachesReads = test.known
			_, err := b.pool.Snapshot(t.Context(), m)
			require.NoError(t, err)
			r, err := b.pool.DeliverCredit(t.Context(), m, devices.CreditOrder{AmountFen: 700, Count: 1}, nil)
			require.NoError(t, err)
			require.Equal(t, test.want, r.Outcome, "an unknown cache makes the meter look as if it had refused; that is why it must be known")
		})
	}
}

func TestNothingLeavesForAnother(t *testing.T) {
	t.Parallel()
	b := newBenchWith(t, testSpec(t), devices.Config{MaySend: func(context.Context, string, time.Duration) error { return errors.New("the lease is gone") }})
	_, err := b.pool.Trip(t.Context(), b.meter(single))
	require.ErrorIs(t, err, devices.ErrNotOwner)
	_, err = b.pool.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 1, Count: 1}, nil)
	require.ErrorIs(t, err, devices.ErrNotOwner)
	_, err = b.pool.SetPrices(t.Context(), b.meter(single), newPrices, nil)
	require.ErrorIs(t, err, devices.ErrNotOwner)
	require.Equal(t, simulator.SupplyOn, b.relayAt(single, time.Now()))
	require.Empty(t, b.purchases(single))
	_ = b.read(single) // reading is still allowed
}

func TestReadOnlySendsNoCommand(t *testing.T) {
	t.Parallel()
	b := newBenchWith(t, testSpec(t), devices.Config{ReadOnly: true})
	for name, do := range map[string]func() error{
		"trip":   func() error { _, err := b.pool.Trip(t.Context(), b.meter(single)); return err },
		"close":  func() error { _, err := b.pool.Close(t.Context(), b.meter(single)); return err },
		"valve":  func() error { _, err := b.pool.Trip(t.Context(), b.meter(water)); return err },
		"prices": func() error { _, err := b.pool.SetPrices(t.Context(), b.meter(single), newPrices, nil); return err },
		"clock": func() error {
			_, err := b.pool.SetClock(t.Context(), b.meter(single), devices.MostClockSet, time.Now, nil)
			return err
		},
		"credit": func() error {
			_, err := b.pool.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 1, Count: 1}, nil)
			return err
		},
	} {
		require.ErrorIs(t, do(), devices.ErrReadOnly, name)
	}
	_ = b.read(single)
}

func TestGatewaysOutsideTheNetworksAreNotDialled(t *testing.T) {
	t.Parallel()
	b := newBenchWith(t, testSpec(t), devices.Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.8.0.0/16")}})
	_, err := b.pool.Snapshot(t.Context(), b.meter(single))
	require.ErrorIs(t, err, devices.ErrBadOrder)
	require.ErrorContains(t, err, "outside the networks")
	inside := newBenchWith(t, testSpec(t), devices.Config{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	_ = inside.read(single)
}

func TestLinksThatDontFit(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	m := b.meter(single)
	m.Profile = "sim-dlt645"
	_, err := b.pool.Snapshot(t.Context(), m)
	require.ErrorContains(t, err, "need a gateway that passes bytes on")
	m = b.meter(single)
	m.Link.Kind = "pigeon"
	_, err = b.pool.Snapshot(t.Context(), m)
	require.ErrorContains(t, err, `link kind "pigeon"`)
	m.Link.Kind = devices.LinkDialIn
	_, err = b.pool.Snapshot(t.Context(), m)
	require.ErrorContains(t, err, "doesn't listen for such units")
}

// caller dials in and gives the listener's first line, if it says anything within a moment.
func call(t *testing.T, address, first string) (net.Conn, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprint(conn, first)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
	line, _ := bufio.NewReader(conn).ReadString('\n') // silence is the good answer
	return conn, strings.TrimSpace(line)
}

func startDialIn(t *testing.T, allowed ...netip.Prefix) (*devices.DialIn, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := devices.NewDialIn(func(_ context.Context, id string) (devices.Unit, bool, error) {
		if id == "broken" {
			return devices.Unit{}, false, errors.New("no database")
		}
		return devices.Unit{Gateway: "g-" + id, Secret: sha256.Sum256([]byte("s3cret"))}, id == "u1" || id == "u2", nil
	}, allowed, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
	})
	return d, l.Addr().String()
}

func TestDialInTurnsAway(t *testing.T) {
	t.Parallel()
	d, address := startDialIn(t)
	for first, want := range map[string]string{
		"REG u1 wrong\r\n":                     "ERR registration id or secret is wrong",
		"REG nobody s3cret\r\n":                "ERR registration id or secret is wrong",
		"HELLO u1 s3cret\r\n":                  "ERR the first line must be: REG <registration id> <secret>",
		"REG u1\r\n":                           "ERR the first line must be: REG <registration id> <secret>",
		strings.Repeat("x", 300):               "ERR the registration line is too long",
		"REG broken s3cret\r\n":                "ERR registrations can't be looked up now, call again later",
		"\x01\x03\x02\x00\x00\x30\x44\x67\r\n": "ERR the first line must be: REG <registration id> <secret>",
	} {
		_, said := call(t, address, first)
		require.Equal(t, want, said, "%q", first)
	}
	require.Empty(t, d.Gateways())
	_, outside := startDialIn(t, netip.MustParsePrefix("10.0.0.0/8"))
	_, said := call(t, outside, "REG u1 s3cret\r\n")
	require.Equal(t, "ERR calls from this network are not allowed", said)
}

func TestDialInKeepsTheLivingAndTakesTheReturning(t *testing.T) {
	t.Parallel()
	d, address := startDialIn(t)
	first, said := call(t, address, "REG u1 s3cret\r\n")
	require.Empty(t, said)
	require.Equal(t, []string{"g-u1"}, d.Gateways())
	_, said = call(t, address, "REG u1 s3cret\r\n")
	require.Contains(t, said, "ERR this registration is connected already, from 127.0.0.1:")
	_, said = call(t, address, "REG u2 s3cret\r\n")
	require.Empty(t, said, "another unit is another matter")

	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return len(d.Gateways()) == 1 }, 5*time.Second, 5*time.Millisecond, "a hang-up is noticed though nobody asks")
	again, said := call(t, address, "REG u1 s3cret\r\n")
	require.Empty(t, said)
	from, since, ok := d.Connected("g-u1")
	require.True(t, ok)
	require.Equal(t, again.LocalAddr().String(), from)
	require.WithinDuration(t, time.Now(), since, 10*time.Second)
}

// full is a listener on a machine that has no room for the first call.
type full struct {
	net.Listener
	refused atomic.Bool
}

// Accept fails once.
func (f *full) Accept() (net.Conn, error) {
	if f.refused.CompareAndSwap(false, true) {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

// After an outage all units call at once. One call that could not be taken doesn't end the listening, and a worker that stops doesn't wait for
// callers that say nothing.
func TestDialInSurvivesAStorm(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var out bytes.Buffer
	d := devices.NewDialIn(func(_ context.Context, id string) (devices.Unit, bool, error) {
		return devices.Unit{Gateway: id, Secret: sha256.Sum256([]byte("s3cret"))}, true, nil
	}, nil, slog.New(slog.NewTextHandler(&out, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx, &full{Listener: l}) }()
	const units = 200
	for i := range units {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = fmt.Fprintf(conn, "REG unit-%d s3cret\r\n", i)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return len(d.Gateways()) == units }, 30*time.Second, 10*time.Millisecond)
	quiet, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = quiet.Close() })
	wrong, said := call(t, l.Addr().String(), "REG unit-1 w0rdless\r\n")
	require.Contains(t, said, "is wrong")
	_ = wrong.Close()
	began := time.Now()
	cancel()
	require.NoError(t, <-served)
	require.Less(t, time.Since(began), 5*time.Second)
	require.Contains(t, out.String(), "a call could not be taken")
	require.Contains(t, out.String(), "a unit was turned away")
	require.NotContains(t, out.String(), "s3cret")
	require.NotContains(t, out.String(), "w0rdless", "not even a wrong secret")
}
