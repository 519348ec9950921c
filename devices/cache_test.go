package devices_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

// caching is a gateway that answers reads from its memory, as both sides know. The pool says so; other is somebody who doesn't care, and works on the meters
// behind its back.
type caching struct {
	*bench
	other *devices.Pool
}

const (
	cacheTime  = 300 * time.Millisecond
	cacheKnown = 350 * time.Millisecond
)

func newCaching(t *testing.T) *caching {
	spec := testSpec(t)
	g := &spec.Gateways[0]
	g.CacheMillis = int(cacheTime / time.Millisecond)
	g.Meters[0].ClockOffset = 120
	held := g.Meters[2]
	held.Unit, held.Serial, held.Profile, held.CreditMode, held.RemainingLitres = 4, volume, "sim-volume-water", true, 5000
	g.Meters = append(g.Meters, held)
	b := newBench(t, spec)
	c := &caching{bench: b, other: devices.NewPool(devices.Config{Timeout: time.Second, SwitchLimit: time.Millisecond, SwitchPoll: time.Millisecond})}
	t.Cleanup(c.other.Shutdown)
	return c
}

func (c *caching) known(serial string) devices.Meter {
	m := c.meter(serial)
	if serial == volume {
		m.Unit, m.Profile = 4, "sim-volume-water"
	}
	m.Link.CachesReads = cacheKnown
	return m
}

// remembers lets the gateway remember what the meter shows now, and then lets somebody else change it.
func (c *caching) remembers(serial string, change func(ctx context.Context, m devices.Meter) error) {
	c.t.Helper()
	_, err := c.pool.Snapshot(c.t.Context(), c.known(serial))
	require.NoError(c.t, err)
	m := c.known(serial)
	m.Link.CachesReads = 0
	require.NoError(c.t, change(c.t.Context(), m))
}

// wall is the time that the test's meters should show.
func (c *caching) wall() time.Time { return c.clock.now().In(time.FixedZone("CST", 8*3600)) }

// Whatever a gateway remembers, no command rests on it: none is called verified, or refused, that isn't.
func TestCachingGateway_noCommandRestsOnMemory(t *testing.T) {
	t.Parallel()
	switched := func(do func(p *devices.Pool, ctx context.Context, m devices.Meter) (devices.SwitchResult, error)) func(c *caching) func(context.Context, devices.Meter) error {
		return func(c *caching) func(context.Context, devices.Meter) error {
			return func(ctx context.Context, m devices.Meter) error { _, err := do(c.other, ctx, m); return err }
		}
	}
	undo := map[string]func(c *caching) func(context.Context, devices.Meter) error{
		"trip": switched((*devices.Pool).Trip), "close": switched((*devices.Pool).Close), "hold": switched((*devices.Pool).KeepClosed), "release": switched((*devices.Pool).Release),
	}
	// An order that stands by what the gateway remembers, and was undone since.
	for _, s := range []struct {
		name, undone string
		order        devices.Order
		do           func(p *devices.Pool, ctx context.Context, m devices.Meter) (devices.SwitchResult, error)
		want         func(simulator.State) bool
	}{
		{"trip", "close", devices.OrderTrip, (*devices.Pool).Trip, func(s simulator.State) bool { return !s.RelayOn }},
		{"close", "trip", devices.OrderClose, (*devices.Pool).Close, func(s simulator.State) bool { return s.RelayOn }},
		{"hold", "release", devices.OrderKeepClosed, (*devices.Pool).KeepClosed, func(s simulator.State) bool { return s.Forced == "on" }},
		{"release", "hold", devices.OrderRelease, (*devices.Pool).Release, func(s simulator.State) bool { return s.Forced == "" }},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			c := newCaching(t)
			r, err := s.do(c.pool, t.Context(), c.known(three))
			require.NoError(t, err)
			require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
			c.remembers(three, undo[s.undone](c))
			require.False(t, s.want(c.truth(three)), "it was undone")
			r, err = s.do(c.pool, t.Context(), c.known(three))
			require.NoError(t, err)
			require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
			require.True(t, s.want(c.truth(three)), "verified, and it isn't so")

			c.remembers(three, undo[s.undone](c))
			r, err = c.pool.Look(t.Context(), c.known(three), s.order)
			require.NoError(t, err)
			require.Equal(t, devices.OutcomeUnknown, r.Outcome, "a look shows what is, not what was")
		})
	}
	t.Run("own trip", func(t *testing.T) {
		t.Parallel()
		c := newCaching(t)
		c.remembers(single, func(context.Context, devices.Meter) error { c.clock.advance(1000 * time.Hour); return nil })
		r, err := c.pool.Close(t.Context(), c.known(single))
		require.NoError(t, err)
		require.False(t, c.truth(single).RelayOn, "its credit is used up")
		require.Equal(t, devices.OutcomeRefused, r.Outcome)
	})
	t.Run("prices", func(t *testing.T) {
		t.Parallel()
		c := newCaching(t)
		before, err := c.pool.ReadPrices(t.Context(), c.known(single))
		require.NoError(t, err)
		c.remembers(single, func(ctx context.Context, m devices.Meter) error {
			_, err := c.other.SetPrices(ctx, m, newPrices, nil)
			return err
		})
		r, err := c.pool.SetPrices(t.Context(), c.known(single), before, nil)
		require.NoError(t, err)
		require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
		require.Equal(t, [5]int64(before), c.truth(single).PricesE8)
	})
	t.Run("clock", func(t *testing.T) {
		t.Parallel()
		c := newCaching(t)
		c.remembers(single, func(context.Context, devices.Meter) error { c.clock.advance(2 * time.Minute); return nil })
		skew, right, err := c.pool.ClockSkew(t.Context(), c.known(single), c.wall)
		require.NoError(t, err)
		require.False(t, right)
		require.Equal(t, 2*time.Minute, skew)
		c.clock.advance(2 * time.Minute)
		r, err := c.pool.SetClock(t.Context(), c.known(single), devices.MostClockSet, c.wall, nil)
		require.NoError(t, err)
		require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
		require.Zero(t, c.truth(single).ClockOffset, "verified, and it is wrong")
	})
	bought := func(c *caching) func(context.Context, devices.Meter) error {
		return func(ctx context.Context, m devices.Meter) error {
			_, err := c.other.DeliverCredit(ctx, m, devices.CreditOrder{AmountFen: 700, Count: 1}, nil)
			return err
		}
	}
	t.Run("credit", func(t *testing.T) {
		t.Parallel()
		c := newCaching(t)
		c.remembers(single, bought(c))
		r, err := c.pool.DeliverCredit(t.Context(), c.known(single), devices.CreditOrder{AmountFen: 700, Count: 1}, nil)
		require.ErrorIs(t, err, devices.ErrCountMismatch, "%s: the other's purchase is taken for ours", r.Outcome)
	})
	t.Run("credit looked for", func(t *testing.T) {
		t.Parallel()
		c := newCaching(t)
		before, err := c.pool.Snapshot(t.Context(), c.known(single))
		require.NoError(t, err)
		c.remembers(single, bought(c))
		r, err := c.pool.VerifyCredit(t.Context(), c.known(single), devices.CreditOrder{AmountFen: 700, Count: 1}, before)
		require.NoError(t, err)
		require.Equal(t, devices.OutcomeVerified, r.Outcome, "it arrived: it would be delivered twice")
	})
	t.Run("volume", func(t *testing.T) {
		t.Parallel()
		c := newCaching(t)
		c.remembers(volume, func(ctx context.Context, m devices.Meter) error {
			_, err := c.other.DeliverVolume(ctx, m, devices.VolumeOrder{Litres: 1000}, nil)
			return err
		})
		r, err := c.pool.DeliverVolume(t.Context(), c.known(volume), devices.VolumeOrder{Litres: 3000}, nil)
		require.NoError(t, err)
		require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
		require.EqualValues(t, 9000, c.truth(volume).RemainingLitres, "nothing of the other's is lost")
		before := devices.Volume{Remaining: 9000, Total: c.truth(volume).Registers[0]}
		c.remembers(volume, func(ctx context.Context, m devices.Meter) error {
			_, err := c.other.DeliverVolume(ctx, m, devices.VolumeOrder{Litres: 2000}, nil)
			return err
		})
		r, err = c.pool.VerifyVolume(t.Context(), c.known(volume), devices.VolumeOrder{Litres: 2000}, before)
		require.NoError(t, err)
		require.Equal(t, devices.OutcomeVerified, r.Outcome, "it arrived: it would be delivered twice")
	})
}

// While an order waits for the gateway to forget, the line works for the other meters: for mere reads, and for what is more urgent. The meter itself is left
// alone until the order is read back.
func TestCachingGateway_holdsUpNoOtherMeter(t *testing.T) {
	t.Parallel()
	const long = 2 * time.Second
	c := newCaching(t)
	slow := func(serial string) devices.Meter {
		m := c.known(serial)
		m.Link.CachesReads = long
		return m
	}
	_, err := c.pool.Snapshot(t.Context(), slow(three)) // a new line waits once: nobody knows what its last owner asked
	require.NoError(t, err)
	cut, err := c.pool.Trip(t.Context(), slow(water))
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, cut.Outcome)
	points := make(chan string, 16)
	c.pool.OnPoint = func(point string) { points <- point }
	credited := make(chan devices.CreditResult, 1)
	go func() {
		r, _ := c.pool.DeliverCredit(t.Context(), slow(single), devices.CreditOrder{AmountFen: 700, Count: 1}, nil)
		credited <- r
	}()
	require.Equal(t, devices.PointCreditSent, <-points)
	require.Equal(t, devices.PointCreditAcked, <-points)
	sent := time.Now()
	for _, read := range []func(context.Context, devices.Meter) (devices.Snapshot, error){c.pool.Snapshot, c.pool.Sweep} {
		_, err = read(t.Context(), slow(three))
		require.NoError(t, err)
	}
	require.Equal(t, devices.PointSweepRead, <-points)
	own := make(chan error, 1)
	go func() { _, err := c.pool.Close(t.Context(), slow(single)); own <- err }()
	valve := make(chan error, 1)
	go func() { _, err := c.pool.Close(t.Context(), slow(water)); valve <- err }()
	require.Equal(t, devices.PointSwitchSent, <-points)
	require.Less(t, time.Since(sent), long*3/4, "the restore of another meter has left")
	require.Empty(t, credited, "and the credit still waits for its read-back")
	require.Equal(t, devices.OutcomeVerified, (<-credited).Outcome)
	require.Len(t, c.purchases(single), 1)
	require.Equal(t, devices.PointSwitchAcked, <-points)
	require.NoError(t, <-valve)
	require.NoError(t, <-own)
}

// Whoever has given up a command doesn't hold the line until the gateway has forgotten.
func TestCachingGateway_waitEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	c := newCaching(t)
	m := c.known(single)
	m.Link.CachesReads = 2 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := c.pool.DeliverCredit(ctx, m, devices.CreditOrder{AmountFen: 700, Count: 1}, nil)
	require.ErrorIs(t, err, devices.ErrExpired)
	require.Less(t, time.Since(began), 1500*time.Millisecond)
	require.Empty(t, c.purchases(single))

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	_, err = c.pool.Snapshot(t.Context(), m)
	require.NoError(t, err)
	var acked time.Time
	c.pool.OnPoint = func(point string) {
		if point == devices.PointCreditAcked {
			acked = time.Now()
			cancel()
		}
	}
	r, err := c.pool.DeliverCredit(ctx, m, devices.CreditOrder{AmountFen: 700, Count: 1}, nil)
	require.NoError(t, err)
	require.True(t, r.Sent)
	require.Equal(t, devices.OutcomeUnknown, r.Outcome)
	require.Less(t, time.Since(acked), 1500*time.Millisecond)
}

// A line over which no command may go is read all the same.
func TestBarredLineIsReadOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	m := b.meter(single)
	m.Link.Barred = "its gateway remembers for too long"
	_, err := b.pool.Snapshot(t.Context(), m)
	require.NoError(t, err)
	_, err = b.pool.Trip(t.Context(), m)
	require.ErrorIs(t, err, devices.ErrBarred)
	require.ErrorContains(t, err, m.Link.Barred)
	_, err = b.pool.SetPrices(t.Context(), m, newPrices, nil)
	require.ErrorIs(t, err, devices.ErrBarred)
	_, err = b.pool.DeliverCredit(t.Context(), m, devices.CreditOrder{AmountFen: 100, Count: 1}, nil)
	require.ErrorIs(t, err, devices.ErrBarred)
	require.Equal(t, "on", string(b.read(single).Supply))
}
