package devices_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

// meter645 is a DL/T 645 meter behind a serial server that answers reads from a table and counts orders.
type meter645 struct {
	listener net.Listener
	clock    []byte // what its clock shows
	orders   atomic.Int64

	mu    sync.Mutex
	conns []net.Conn
}

func startMeter645(t *testing.T, clock []byte) *meter645 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &meter645{listener: listener, clock: clock}
	t.Cleanup(m.hangUp)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.conns = append(m.conns, conn)
			m.mu.Unlock()
			go m.talk(conn)
		}
	}()
	return m
}

// hangUp ends all connections and takes no more.
func (m *meter645) hangUp() {
	_ = m.listener.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, conn := range m.conns {
		_ = conn.Close()
	}
}

func (m *meter645) talk(conn net.Conn) {
	b := make([]byte, 256)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return
		}
		q := bytes.TrimLeft(b[:n], "\xFE")
		if q[8] != 0x11 {
			m.orders.Add(1)
			continue
		}
		item := ""
		for i := 13; i >= 10; i-- {
			item += hex.EncodeToString([]byte{q[i] - 0x33})
		}
		data := map[string][]byte{
			"0001ff00": make([]byte, 24), "04000402": {1, 0, 0, 0, 0, 0}, "00900200": make([]byte, 4), "03330201": make([]byte, 2), "04000503": make([]byte, 2),
			"02030000": make([]byte, 3), "0400010c": m.clock,
		}[item]
		frame := append(append([]byte{}, q[:8]...), 0x91, byte(4+len(data)))
		frame = append(frame, q[10:14]...)
		for _, octet := range data {
			frame = append(frame, octet+0x33)
		}
		var sum byte
		for _, octet := range frame {
			sum += octet
		}
		if _, err := conn.Write(append(frame, sum, 0x16)); err != nil {
			return
		}
	}
}

func (m *meter645) at() devices.Meter {
	return devices.Meter{Address: devices.Address{Gateway: "g1", HostPort: m.listener.Addr().String(), Link: devices.Link{Kind: devices.LinkTransparent}, Unit: 1},
		Serial: single, Profile: "sim-dlt645"}
}

// What never left is not called sent: the meter shows no time, the connection is gone, the lease has run out in the pause before the order.
func TestWhatNeverLeftIsNotSent(t *testing.T) {
	t.Parallel()
	pool := func(t *testing.T, c devices.Config) *devices.Pool {
		c.Timeout, c.Password645, c.SwitchPoll, c.SwitchLimit = 2*time.Second, "02123456", 10*time.Millisecond, 50*time.Millisecond
		p := devices.NewPool(c)
		t.Cleanup(p.Shutdown)
		p.OnPoint = func(point string) { t.Errorf("%s, and nothing was", point) }
		return p
	}
	t.Run("no clock", func(t *testing.T) {
		t.Parallel()
		m := startMeter645(t, bytes.Repeat([]byte{0x99}, 7))
		p := pool(t, devices.Config{})
		for _, order := range []func() (devices.SwitchResult, error){
			func() (devices.SwitchResult, error) { return p.Trip(devices.WithWall(t.Context(), time.Now), m.at()) },
			func() (devices.SwitchResult, error) { return p.KeepClosed(t.Context(), m.at()) },
		} {
			r, err := order()
			require.ErrorIs(t, err, devices.ErrUnsupported)
			require.False(t, r.Sent)
			require.Empty(t, r.Outcome)
		}
		require.Zero(t, m.orders.Load())
	})
	t.Run("no connection", func(t *testing.T) {
		t.Parallel()
		m := startMeter645(t, []byte{0, 0, 0x12, 0, 1, 3, 0x26})
		p := pool(t, devices.Config{MaySend: func(context.Context, string, time.Duration) error { m.hangUp(); return nil }})
		r, err := p.Trip(t.Context(), m.at())
		require.ErrorIs(t, err, devices.ErrLinkDown)
		require.False(t, r.Sent)
		require.Zero(t, m.orders.Load())
	})
	for name, do := range map[string]func(p *devices.Pool, b *bench) (bool, error){
		"trip": func(p *devices.Pool, b *bench) (bool, error) {
			r, err := p.Trip(t.Context(), b.meter(single))
			return r.Sent, err
		},
		"valve": func(p *devices.Pool, b *bench) (bool, error) {
			r, err := p.Trip(t.Context(), b.meter(water))
			return r.Sent, err
		},
		"credit": func(p *devices.Pool, b *bench) (bool, error) {
			r, err := p.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 1, Count: 1}, nil)
			return r.Sent, err
		},
		"prices": func(p *devices.Pool, b *bench) (bool, error) {
			r, err := p.SetPrices(t.Context(), b.meter(single), newPrices, nil)
			return r.Sent, err
		},
		"clock": func(p *devices.Pool, b *bench) (bool, error) {
			r, err := p.SetClock(t.Context(), b.meter(single), devices.MostClockSet, func() time.Time { return b.clock.now().Add(8*time.Hour + time.Minute) }, nil)
			return r.Sent, err
		},
		"volume": func(p *devices.Pool, b *bench) (bool, error) {
			m := b.meter(volume)
			m.Profile, m.Unit = "sim-volume-water", 4
			r, err := p.DeliverVolume(t.Context(), m, devices.VolumeOrder{Litres: 100}, nil)
			return r.Sent, err
		},
	} {
		t.Run("lease gone/"+name, func(t *testing.T) {
			t.Parallel()
			spec := testSpec(t)
			held := spec.Gateways[0].Meters[2]
			held.Unit, held.Serial, held.Profile, held.CreditMode, held.RemainingLitres = 4, volume, "sim-volume-water", true, 5000
			spec.Gateways[0].Meters = append(spec.Gateways[0].Meters, held)
			b := newBench(t, spec)
			var lost atomic.Bool
			p := pool(t, devices.Config{
				MaySend: func(context.Context, string, time.Duration) error { lost.Store(true); return nil },
				Owns:    func(string) bool { return !lost.Load() },
			})
			sent, err := do(p, b)
			require.ErrorIs(t, err, devices.ErrNotOwner)
			require.False(t, sent)
			for _, serial := range []string{single, water} {
				require.Equal(t, simulator.SupplyOn, b.relayAt(serial, time.Now()))
			}
			require.Empty(t, b.purchases(single))
		})
	}
}

// A meter that has lost its clock is never cut, and supply comes back to it all the same: such an order holds for a day by the wall time of its site.
func TestSupplyComesBackWithoutTheMetersClock(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	g := &spec.Gateways[0]
	g.Link, g.Meters = "transparent", g.Meters[:1]
	g.Meters[0].Profile, g.Meters[0].CreditMode = "sim-dlt645", false
	b := newBenchWith(t, spec, devices.Config{Timeout: 2 * time.Second, SwitchPoll: 20 * time.Millisecond, SwitchLimit: 300 * time.Millisecond, Password645: "02123456"})
	m := b.meter(single)
	m.Link, m.Profile = devices.Link{Kind: devices.LinkTransparent}, "sim-dlt645"
	r, err := b.pool.Trip(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, r.Outcome)
	b.inject(simulator.Fault{Kind: simulator.FaultLostClock, Serial: single})
	_, err = b.pool.Close(t.Context(), m)
	require.ErrorIs(t, err, devices.ErrUnsupported, "nobody said what time it is")
	ctx := devices.WithWall(t.Context(), func() time.Time { return time.Date(2026, 3, 1, 23, 30, 0, 0, time.UTC) })
	for _, do := range []func(context.Context, devices.Meter) (devices.SwitchResult, error){b.pool.Close, b.pool.KeepClosed, b.pool.Release} {
		r, err := do(ctx, m)
		require.NoError(t, err)
		require.True(t, r.Sent)
		require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
		orders := 0
		for _, f := range r.Frames {
			if f.Write {
				orders++
				frame, err := hex.DecodeString(f.Request)
				require.NoError(t, err)
				// Minute, hour, day, month and year, as they lie on the wire.
				require.Equal(t, []byte{0x30 + 0x33, 0x23 + 0x33, 0x02 + 0x33, 0x03 + 0x33, 0x26 + 0x33}, bytes.TrimLeft(frame, "\xFE")[21:26])
			}
		}
		require.Equal(t, 1, orders)
	}
	_, err = b.pool.Trip(ctx, m)
	require.ErrorIs(t, err, devices.ErrUnsupported)
	require.Equal(t, simulator.SupplyOn, b.relayAt(single, time.Now()))
}

// An order holds until a time by the meter's own clock, so that one whose clock is wrong obeys it.
func TestOrdersHoldByTheMetersClock(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]int64{"slow": -1800, "fast": 1800} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := testSpec(t)
			g := &spec.Gateways[0]
			g.Link, g.Meters = "transparent", g.Meters[:1]
			g.Meters[0].Profile, g.Meters[0].CreditMode, g.Meters[0].ClockOffset = "sim-dlt645", false, offset
			b := newBenchWith(t, spec, devices.Config{Timeout: 2 * time.Second, SwitchPoll: 20 * time.Millisecond, SwitchLimit: 300 * time.Millisecond, Password645: "02123456"})
			b.clock.advance(time.Since(b.clock.now())) // so that an order that holds by the computer's clock would come too late at the fast meter
			m := b.meter(single)
			m.Link, m.Profile = devices.Link{Kind: devices.LinkTransparent}, "sim-dlt645"
			for _, do := range []func(context.Context, devices.Meter) (devices.SwitchResult, error){b.pool.Trip, b.pool.Close, b.pool.KeepClosed, b.pool.Release} {
				r, err := do(t.Context(), m)
				require.NoError(t, err)
				require.True(t, r.Sent)
				require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
			}
		})
	}
}
