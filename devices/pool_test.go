package devices_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

// clock is a business clock that tests move by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// bench is a fleet on real sockets with a pool that talks to it.
type bench struct {
	t     *testing.T
	clock *clock
	fleet *simulator.Fleet
	pool  *devices.Pool
	dir   string
}

const (
	single = "000000000001" // single-phase, credit in the meter
	three  = "000000000002" // three-phase, credit on the platform
	water  = "000000000003"
)

func testSpec(t *testing.T) simulator.FleetSpec {
	t.Helper()
	power, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	flow, err := simulator.SeriesIDs(true)
	require.NoError(t, err)
	return simulator.FleetSpec{Gateways: []simulator.GatewaySpec{{ID: "g1", Meters: []simulator.MeterSpec{
		{
			Unit: 1, Serial: single, Profile: "sim-ddsy1352", LoadProfile: power[0], CreditMode: true,
			RemainingFen: 5000, PricesE8: [5]int64{80000000, 70000000, 60000000, 40000000, 20000000},
			OpeningRegisters: []int64{5000, 1000, 1000, 1000, 1000, 1000},
			BandTable: []simulator.BandSpan{
				{From: 0, To: 8 * 60, Band: simulator.BandValley}, {From: 18 * 60, To: 22 * 60, Band: simulator.BandPeak},
			},
		},
		{Unit: 2, Serial: three, Profile: "sim-dtsy1352", LoadProfile: power[1], ScalePermille: 3000, Ratio: 10},
		{
			Unit: 3, Serial: water, Profile: "sim-valve-water", LoadProfile: flow[0], ValveMillis: 60,
			OpeningRegisters: []int64{1109253},
		},
	}}}}
}

func newBench(t *testing.T, spec simulator.FleetSpec) *bench {
	t.Helper()
	return newBenchWith(t, spec, devices.Config{
		Timeout: 250 * time.Millisecond, SwitchPoll: 10 * time.Millisecond, SwitchLimit: 400 * time.Millisecond,
		SetAsideAfter: 2, LineAsideAfter: 2, SetAsideFor: time.Hour, SetAsideMost: 2 * time.Hour,
	})
}

func newBenchWith(t *testing.T, spec simulator.FleetSpec, config devices.Config) *bench {
	t.Helper()
	b := &bench{t: t, clock: &clock{at: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}, dir: t.TempDir()}
	var err error
	b.fleet, err = simulator.NewFleet(spec, b.dir, b.clock.now)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.fleet.Serve(ctx) }()
	b.pool = devices.NewPool(config)
	t.Cleanup(func() {
		b.pool.Shutdown()
		cancel()
		require.NoError(t, <-served)
	})
	return b
}

func (b *bench) meter(serial string) devices.Meter {
	m := devices.Meter{Address: devices.Address{Gateway: "g1", HostPort: b.fleet.Addr("g1")}, Serial: serial}
	switch serial {
	case single:
		m.Unit, m.Profile = 1, "sim-ddsy1352"
	case three:
		m.Unit, m.Profile = 2, "sim-dtsy1352"
	default:
		m.Unit, m.Profile = 3, "sim-valve-water"
	}
	return m
}

func (b *bench) inject(f simulator.Fault) {
	b.t.Helper()
	_, err := b.fleet.Inject(f)
	require.NoError(b.t, err)
}

func (b *bench) truth(serial string) simulator.State {
	b.t.Helper()
	state, err := b.fleet.MeterState(serial)
	require.NoError(b.t, err)
	return state
}

func (b *bench) read(serial string) devices.Snapshot {
	b.t.Helper()
	snapshot, err := b.pool.Snapshot(b.t.Context(), b.meter(serial))
	require.NoError(b.t, err)
	return snapshot
}

func TestSnapshotIsTheTruth(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.clock.advance(30 * time.Hour)
	for _, serial := range []string{single, three, water} {
		got, want := b.read(serial), b.truth(serial)
		require.Equal(t, serial, got.Serial)
		require.Equal(t, want.Registers, got.Registers)
		require.Greater(t, got.Registers[0], int64(0))
		require.Equal(t, devices.SupplyOn, got.Supply)
		require.Equal(t, "2026-03-02 14:00:00", got.MeterClock.Format(time.DateTime), "local wall time")
	}
	got, want := b.read(single), b.truth(single)
	require.Equal(t, want.RemainingFen, *got.RemainingFen)
	require.Less(t, *got.RemainingFen, int64(5000))
	require.Equal(t, int64(0), *got.PurchaseCount)
	require.Nil(t, b.read(water).RemainingFen)
	require.Nil(t, got.Reverse, "this meter has no register of what went the other way")
	require.Zero(t, *b.read(water).Reverse)
}

func TestSnapshotKeepsFramesOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	require.Empty(t, b.read(single).Frames)
	got, err := b.pool.Snapshot(devices.WithFrames(t.Context()), b.meter(single))
	require.NoError(t, err)
	require.Len(t, got.Frames, 3)
	require.Equal(t, "0103503000", got.Frames[0].Request[12:22], "unit, function, address of the first block")
}

func TestSnapshotErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fault simulator.Fault
		meter func(devices.Meter) devices.Meter
		want  error
	}{
		{name: "silent meter", fault: simulator.Fault{Kind: simulator.FaultSilent, Unit: 1}, want: devices.ErrSilent},
		{name: "mute meter", fault: simulator.Fault{Kind: simulator.FaultMute, Unit: 1}, want: devices.ErrSilent},
		{name: "gateway silent", fault: simulator.Fault{Kind: simulator.FaultGatewaySilent, Gateway: "g1"}, want: devices.ErrSilent},
		{name: "wrong unit", fault: simulator.Fault{Kind: simulator.FaultWrongUnit, Serial: single}, want: devices.ErrBadAnswer},
		{name: "dropped link", fault: simulator.Fault{Kind: simulator.FaultDropLink, Unit: 1}, want: devices.ErrLinkDown},
		{name: "late", fault: simulator.Fault{Kind: simulator.FaultSlow, Unit: 1, DelayMillis: 400}, want: devices.ErrSilent},
		{name: "no such unit", meter: func(m devices.Meter) devices.Meter { m.Unit = 99; return m }, want: devices.ErrSilent},
		{
			name:  "other meter",
			meter: func(m devices.Meter) devices.Meter { m.Serial = "999999999999"; return m },
			want:  devices.ErrWrongMeter,
		},
		{
			name:  "map of another kind of meter",
			meter: func(m devices.Meter) devices.Meter { m.Profile = "sim-valve-water"; return m },
			want:  devices.ErrRefused,
		},
		{
			name:  "no such map",
			meter: func(m devices.Meter) devices.Meter { m.Profile = "nothing"; return m },
			want:  devices.ErrBadOrder,
		},
		{
			name:  "nobody listens",
			meter: func(m devices.Meter) devices.Meter { m.HostPort = "127.0.0.1:1"; return m },
			want:  devices.ErrLinkDown,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, testSpec(t))
			b.read(three) // the line works
			m := b.meter(single)
			if test.meter != nil {
				m = test.meter(m)
			}
			if test.fault.Kind != "" {
				b.inject(test.fault)
			}
			_, err := b.pool.Snapshot(t.Context(), m)
			require.ErrorIs(t, err, test.want)
			if test.fault.Kind != "" {
				_, err = b.fleet.Clear(simulator.Fault{ID: "f1"})
				require.NoError(t, err)
			}
			require.Equal(t, b.truth(single).Registers, b.read(single).Registers, "the line recovers at once")
		})
	}
}

// A late answer to one meter must never be taken for the answer of another, even when transaction ids are alike.
func TestLateReplyIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.clock.advance(30 * time.Hour)
	b.inject(simulator.Fault{Kind: simulator.FaultSlow, Unit: 2, Times: 2, DelayMillis: 300})
	_, err := b.pool.Snapshot(t.Context(), b.meter(three))
	require.ErrorIs(t, err, devices.ErrSilent)
	for range 5 {
		require.Equal(t, b.truth(single).Registers, b.read(single).Registers)
		require.Equal(t, b.truth(three).Registers, b.read(three).Registers)
	}
	require.Equal(t, int64(1), b.pool.Stats().Retries)
	require.Equal(t, int64(2), b.pool.Stats().Timeouts)
}

func TestExpiredRequestIsNotSent(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.pool.Trip(ctx, b.meter(three))
	require.ErrorIs(t, err, devices.ErrExpired)
	require.Zero(t, b.pool.Stats().Requests)

	// A job that waits behind a slow one gives up at its deadline and is never started.
	b.inject(simulator.Fault{Kind: simulator.FaultSlow, Unit: 3, Times: 1, DelayMillis: 150})
	slow := make(chan struct{})
	go func() {
		defer close(slow)
		_, _ = b.pool.Snapshot(context.Background(), b.meter(water))
	}()
	require.Eventually(t, func() bool { return b.fleet.Faults().Hit[simulator.FaultSlow] == 1 }, time.Second, time.Millisecond)
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	_, err = b.pool.Trip(short, b.meter(three))
	require.ErrorIs(t, err, devices.ErrExpired)
	<-slow
	require.True(t, b.truth(three).RelayOn)
}

func TestSweepSetsSilentMetersAside(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.inject(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	for range 2 {
		_, err := b.pool.Sweep(t.Context(), b.meter(single))
		require.ErrorIs(t, err, devices.ErrSilent)
	}
	before := b.pool.Stats().Requests
	_, err := b.pool.Sweep(t.Context(), b.meter(single))
	require.ErrorIs(t, err, devices.ErrSetAside)
	require.Equal(t, before, b.pool.Stats().Requests)
	_, err = b.pool.Sweep(t.Context(), b.meter(three))
	require.NoError(t, err, "its neighbours are swept on")
	before = b.pool.Stats().Requests
	_, err = b.pool.SweepAside(t.Context(), b.meter(single))
	require.ErrorIs(t, err, devices.ErrSilent, "a later pass asks it")
	require.Equal(t, before+1, b.pool.Stats().Requests, "once, as a sweep does")

	_, err = b.fleet.Clear(simulator.Fault{ID: "f1"})
	require.NoError(t, err)
	b.read(single) // asked for by a person: tried all the same, and back in the sweep
	_, err = b.pool.Sweep(t.Context(), b.meter(single))
	require.NoError(t, err)
}

func TestSweepSetsASilentLineAside(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.inject(simulator.Fault{Kind: simulator.FaultDropLink, Gateway: "g1"})
	for _, serial := range []string{single, three} {
		_, err := b.pool.Sweep(t.Context(), b.meter(serial))
		require.ErrorIs(t, err, devices.ErrLinkDown)
	}
	_, err := b.pool.Sweep(t.Context(), b.meter(water))
	require.ErrorIs(t, err, devices.ErrSetAside)
}

// Many callers on two lines at once: every answer must be of the meter that was asked. Run it with -race.
func TestConcurrentCallersGetTheirOwnMeters(t *testing.T) {
	t.Parallel()
	power, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	var spec simulator.FleetSpec
	for g := range 2 {
		gateway := simulator.GatewaySpec{ID: fmt.Sprintf("g%d", g)}
		for unit := range 20 {
			serial := fmt.Sprintf("%012d", g*100+unit)
			gateway.Meters = append(gateway.Meters, simulator.MeterSpec{
				Unit: byte(unit + 1), Serial: serial, Profile: "sim-ddsy1352", LoadProfile: power[unit%len(power)],
				OpeningRegisters: []int64{int64(g*100 + unit), 0, 0, int64(g*100 + unit), 0, 0},
				CreditMode:       true, RemainingFen: 1000,
			})
		}
		spec.Gateways = append(spec.Gateways, gateway)
	}
	b := newBench(t, spec)
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for i := range 40 {
				n := (caller*7 + i) % 40
				m := devices.Meter{
					Address: devices.Address{
						Gateway: fmt.Sprintf("g%d", n/20), HostPort: b.fleet.Addr(fmt.Sprintf("g%d", n/20)), Unit: byte(n%20 + 1),
					},
					Serial: fmt.Sprintf("%012d", n/20*100+n%20), Profile: "sim-ddsy1352",
				}
				s, err := b.pool.Snapshot(context.Background(), m)
				if err != nil || s.Registers[0] != int64(n/20*100+n%20) {
					t.Errorf("meter %s: %v %v", m.Serial, s.Registers, err)
				}
			}
		})
	}
	callers.Wait()
	require.Equal(t, int64(8*40*3), b.pool.Stats().Requests)
}

func TestShutdownTurnsCallersAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.read(single)
	b.pool.CloseLine("g1")
	b.read(single)
	b.pool.Shutdown()
	_, err := b.pool.Snapshot(t.Context(), b.meter(single))
	require.ErrorIs(t, err, devices.ErrClosed)
}

func TestRegistersRollOver(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	spec.Gateways[0].Meters[0].RegisterDigits = 6
	spec.Gateways[0].Meters[0].OpeningRegisters = []int64{999_950, 0, 0, 999_950, 0, 0}
	spec.Gateways[0].Meters[0].RemainingFen = 1_000_000
	b := newBench(t, spec)
	b.clock.advance(48 * time.Hour)
	got := b.read(single).Registers
	require.Less(t, got[0], int64(999_950))
	require.Equal(t, b.truth(single).Registers, got)
}

func TestSpikeAndWrongClock(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.inject(simulator.Fault{Kind: simulator.FaultWrongClock, Serial: three, Offset: -3600})
	require.Equal(t, "2026-03-01 07:00:00", b.read(three).MeterClock.Format(time.DateTime))

	b.inject(simulator.Fault{Kind: simulator.FaultRegisterJump, Serial: three, Offset: 5000, Times: 1})
	jumped := b.read(three).Registers
	require.Equal(t, []int64{5000, 0, 0, 5000, 0, 0}, jumped, "once, and the bands still add up")
	require.Equal(t, make([]int64, 6), b.read(three).Registers)

	b.inject(simulator.Fault{Kind: simulator.FaultRegisterJump, Serial: water, Offset: 70_000, Until: b.clock.now().Add(time.Hour)})
	require.Equal(t, int64(1109253+70_000), b.read(water).Registers[0])
	b.clock.advance(time.Hour)
	require.Equal(t, b.truth(water).Registers, b.read(water).Registers, "the spike ends at its business time")
}

func BenchmarkSnapshot(b *testing.B) {
	power, err := simulator.SeriesIDs(false)
	require.NoError(b, err)
	spec := simulator.FleetSpec{Gateways: []simulator.GatewaySpec{{ID: "g1", Meters: []simulator.MeterSpec{
		{Unit: 1, Serial: single, Profile: "sim-ddsy1352", LoadProfile: power[0]},
	}}}}
	c := &clock{at: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	fleet, err := simulator.NewFleet(spec, b.TempDir(), c.now)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- fleet.Serve(ctx) }()
	pool := devices.NewPool(devices.Config{})
	m := devices.Meter{
		Address: devices.Address{Gateway: "g1", HostPort: fleet.Addr("g1"), Unit: 1}, Serial: single, Profile: "sim-ddsy1352",
	}
	for b.Loop() {
		if _, err := pool.Snapshot(context.Background(), m); err != nil {
			b.Fatal(err)
		}
	}
	pool.Shutdown()
	cancel()
	require.NoError(b, <-served)
}

// A meter whose last try was in vain costs its line one time-out a pass, whoever reads it and whether it is silent or talks nonsense: it isn't asked
// a second time at once. One that has answered is.
func TestAKnownDeadMeterCostsOneTimeout(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.FaultMute, simulator.FaultBadSum} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			spec := testSpec(t)
			spec.Gateways[0].Link = "transparent"
			b := newBenchWith(t, spec, devices.Config{Timeout: 250 * time.Millisecond})
			m := b.meter(three)
			m.Link.Kind = devices.LinkTransparent
			requests := func(read func(context.Context, devices.Meter) (devices.Snapshot, error)) int64 {
				before := b.pool.Stats().Requests
				_, err := read(t.Context(), m)
				require.Error(t, err)
				return b.pool.Stats().Requests - before
			}
			_, err := b.pool.Snapshot(t.Context(), m)
			require.NoError(t, err)
			b.inject(simulator.Fault{ID: "dead", Kind: kind, Serial: three})
			require.Equal(t, int64(2), requests(b.pool.Snapshot), "it answered a moment ago")
			for range 3 {
				require.Equal(t, int64(1), requests(b.pool.Snapshot), "a later pass, or a person")
			}
			_, err = b.pool.Trip(t.Context(), m)
			require.Error(t, err, "a command's look is tried as often as ever")
			_, err = b.fleet.Clear(simulator.Fault{ID: "dead"})
			require.NoError(t, err)
			_, err = b.pool.Snapshot(t.Context(), m)
			require.NoError(t, err)
			b.inject(simulator.Fault{Kind: kind, Serial: three, Times: 1})
			_, err = b.pool.Snapshot(t.Context(), m)
			require.NoError(t, err, "once is tried again")
		})
	}
}
