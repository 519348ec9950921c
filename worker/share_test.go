package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

const shareTTL = 1200 * time.Millisecond

// field is a simulated fleet whose gateways stand in the tables, and workers that share its lines.
type field struct {
	t     *testing.T
	u     *storetest.Utility
	fleet *simulator.Fleet
	spec  simulator.FleetSpec
	lines map[billing.GatewayID]bool // all that are dialled
}

func newField(t *testing.T, gateways, meters int, line simulator.GatewaySpec) *field {
	t.Helper()
	f := &field{t: t, u: storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)), lines: map[billing.GatewayID]bool{}}
	var err error
	f.spec, err = simulator.Generate(simulator.Generated{Gateways: gateways, Meters: meters, Line: line})
	require.NoError(t, err)
	f.fleet, err = simulator.NewFleet(f.spec, t.TempDir(), time.Now)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.fleet.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
	})
	for _, g := range f.spec.Gateways {
		require.NoError(t, f.u.Store.AddGateway(t.Context(), storetest.By, store.Gateway{
			ID: billing.GatewayID(g.ID), Site: f.u.Site, Name: g.ID, Link: "modbus_tcp", Address: f.fleet.Addr(g.ID), TimeoutMillis: 250,
		}))
	}
	rows, err := f.u.Store.Pool.Query(t.Context(), `SELECT id FROM gateways WHERE link <> 'dial_in'`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var id billing.GatewayID
		require.NoError(t, rows.Scan(&id))
		f.lines[id] = true
	}
	return f
}

func (f *field) meter(gateway, i int) devices.Meter {
	g := f.spec.Gateways[gateway]
	m := g.Meters[i]
	return devices.Meter{
		Address: devices.Address{Gateway: g.ID, HostPort: f.fleet.Addr(g.ID), Unit: m.Unit, Link: devices.Link{Timeout: 250 * time.Millisecond}},
		Serial:  m.Serial, Profile: m.Profile,
	}
}

// one is a worker's hold on its lines, without the engine.
type one struct {
	*Lines
	pool *devices.Pool
	kill context.CancelFunc // as SIGKILL does: nothing is given up
	gone chan struct{}
}

func (f *field) start(name string) *one {
	f.t.Helper()
	o := &one{Lines: &Lines{Store: f.u.Store, Holder: name, Now: time.Now}, gone: make(chan struct{})}
	o.pool = devices.NewPool(devices.Config{Timeout: 250 * time.Millisecond, SwitchLimit: 2 * time.Second, SwitchPoll: 20 * time.Millisecond, Owns: o.Owns, MaySend: o.MaySend})
	require.NoError(f.t, o.enrol(f.t.Context(), shareTTL, func() {}))
	ctx, cancel := context.WithCancel(f.t.Context())
	o.kill = func() { cancel(); <-o.gone }
	go func() {
		defer close(o.gone)
		for ctx.Err() == nil {
			if err := o.hold(ctx, o.pool, shareTTL); err != nil && ctx.Err() == nil {
				f.t.Log(name, "not renewed:", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(shareTTL / 4):
			}
		}
	}()
	f.t.Cleanup(func() {
		o.kill()
		o.pool.Shutdown()
	})
	return o
}

func (o *one) owned() []billing.GatewayID {
	o.mu.Lock()
	ids := slices.Collect(maps.Keys(o.held))
	o.mu.Unlock()
	return slices.DeleteFunc(ids, func(id billing.GatewayID) bool { return !o.Owns(string(id)) })
}

// watchOwners looks all the time whether two workers would speak on one line.
func (f *field) watchOwners(all ...*one) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for id := range f.lines {
				// A worker that owns it before and after another was seen to own it shares it with that one.
				for i, a := range all {
					for _, b := range all[i+1:] {
						if a.Owns(string(id)) && b.Owns(string(id)) && a.Owns(string(id)) {
							f.t.Errorf("line %s is owned by %s and %s", id, a.Holder, b.Holder)
							return
						}
					}
				}
			}
			time.Sleep(200 * time.Microsecond)
		}
	}()
	f.t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (f *field) settles(what string, shares map[*one]int) {
	f.t.Helper()
	require.Eventually(f.t, func() bool {
		for o, n := range shares {
			if got := len(o.owned()); got > n || got < n-len(shares)+1 {
				return false
			}
		}
		return f.allOwned(slices.Collect(maps.Keys(shares))...)
	}, 30*time.Second, 20*time.Millisecond, what)
}

func (f *field) allOwned(all ...*one) bool {
	owned := map[billing.GatewayID]bool{}
	for _, o := range all {
		for _, id := range o.owned() {
			owned[id] = true
		}
	}
	return maps.Equal(owned, f.lines)
}

// Workers come, die and go, and the lines follow: each has its share a few renewals later, no line has two owners at any instant, and once shared
// out no line moves any more.
func TestLinesAreShared(t *testing.T) {
	t.Parallel()
	f := newField(t, 11, 1, simulator.GatewaySpec{})
	n := len(f.lines)
	w1 := f.start("w1")
	f.settles("alone, it takes all", map[*one]int{w1: n})
	w2 := f.start("w2")
	f.watchOwners(w1, w2)
	f.settles("half each", map[*one]int{w1: (n + 1) / 2, w2: (n + 1) / 2})
	w3 := f.start("w3")
	f.watchOwners(w1, w2, w3)
	f.settles("a third each", map[*one]int{w1: (n + 2) / 3, w2: (n + 2) / 3, w3: (n + 2) / 3})

	fences := func() (sum int64) {
		require.NoError(t, f.u.Store.Pool.QueryRow(t.Context(), `SELECT sum(fence)::bigint FROM line_leases`).Scan(&sum))
		return sum
	}
	before := fences()
	time.Sleep(2 * shareTTL)
	require.Equal(t, before, fences(), "lines move to and fro")

	w2.kill()
	died := time.Now()
	f.settles("the dead one's lines are taken over", map[*one]int{w1: (n + 1) / 2, w3: (n + 1) / 2})
	require.Less(t, time.Since(died), 3*shareTTL)
	w3.kill()
	require.NoError(t, w3.giveUp(t.Context(), w3.pool))
	ended := time.Now()
	f.settles("the one that ended leaves all to the last", map[*one]int{w1: n})
	require.Less(t, time.Since(ended), shareTTL, "it said so")
}

// A sweep goes on while its lines move to a second worker: every meter is read, once by either, and a command that is in flight keeps its line until
// it is through.
func TestWorkGoesOnWhileLinesMove(t *testing.T) {
	t.Parallel()
	const gateways, meters = 6, 8
	f := newField(t, gateways, meters, simulator.GatewaySpec{LineMillis: 10})
	w1 := f.start("w1")
	f.settles("all", map[*one]int{w1: len(f.lines)})

	var mu sync.Mutex
	reads, moved := map[string]int{}, 0
	var sweeps sync.WaitGroup
	w2 := f.start("w2")
	f.watchOwners(w1, w2)
	stop := time.Now().Add(4 * shareTTL)
	for g := range gateways {
		sweeps.Go(func() { // as a workflow does: on whoever owns the line, and again when it has moved
			for round := 0; time.Now().Before(stop); round++ {
				for i := 0; i < meters; {
					m := f.meter(g, i)
					holder, err := f.u.Store.LineHolder(context.Background(), billing.GatewayID(m.Gateway))
					owner := map[string]*one{"w1": w1, "w2": w2}[holder]
					if err != nil || owner == nil {
						time.Sleep(10 * time.Millisecond)
						continue
					}
					shot, err := owner.pool.Snapshot(context.Background(), m)
					if errors.Is(err, devices.ErrNotOwner) || errors.Is(err, devices.ErrClosed) {
						mu.Lock()
						moved++
						mu.Unlock()
						time.Sleep(10 * time.Millisecond)
						continue
					}
					if err != nil || shot.Serial != m.Serial {
						t.Errorf("meter %s: %v %v", m.Serial, shot.Serial, err)
						return
					}
					mu.Lock()
					reads[fmt.Sprint(m.Serial, " ", round)]++
					mu.Unlock()
					i++
				}
				time.Sleep(shareTTL / 3) // the line is idle for long enough to be handed back
			}
		})
	}
	sweeps.Wait()
	f.settles("half each, under work", map[*one]int{w1: (len(f.lines) + 1) / 2, w2: (len(f.lines) + 1) / 2})
	require.GreaterOrEqual(t, len(reads), gateways*meters*2)
	for key, n := range reads {
		require.Equal(t, 1, n, key)
	}
	t.Logf("%d reads, %d of them tried again because the line had moved", len(reads), moved)
}

// A line with a command on it isn't handed back before the command is through, however long that takes.
func TestBusyLinesStay(t *testing.T) {
	t.Parallel()
	f := newField(t, 1, 1, simulator.GatewaySpec{})
	w1 := f.start("w1")
	f.settles("all", map[*one]int{w1: len(f.lines)})
	gateway := f.spec.Gateways[0].ID
	_, err := f.fleet.Inject(simulator.Fault{Kind: simulator.FaultSlow, Gateway: gateway, DelayMillis: 200})
	require.NoError(t, err)
	tripped := make(chan error, 1)
	go func() {
		_, err := w1.pool.Trip(context.Background(), f.meter(0, 0))
		tripped <- err
	}()
	require.Eventually(t, func() bool { return f.fleet.Faults().Hit[simulator.FaultSlow] > 0 }, 10*time.Second, time.Millisecond)
	for range 500 { // the command takes a second at least
		require.False(t, w1.pool.Yield(gateway, 0, func() { t.Error("handed back in the middle of a command") }))
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, <-tripped)
	require.False(t, w1.pool.Yield(gateway, time.Hour, func() {}), "it was in use a moment ago")
	require.True(t, w1.Owns(gateway))
}

// Two processes under one name: the second is refused while the first lives, and after it died the second waits until the first's leases have run
// out. A first that only stood still finds that it was replaced, and nothing that it sends leaves.
func TestTwoWorkersOfOneName(t *testing.T) {
	t.Parallel()
	f := newField(t, 2, 1, simulator.GatewaySpec{})
	first := f.start("w1")
	f.settles("all", map[*one]int{first: len(f.lines)})
	second := &one{Lines: &Lines{Store: f.u.Store, Holder: "w1", Now: time.Now}}
	err := second.enrol(t.Context(), shareTTL, func() {})
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))
	require.ErrorContains(t, err, "METERFLOW_WORKER_ID")

	first.kill() // stands still
	stopped := time.Now()
	waited := false
	require.NoError(t, second.enrol(t.Context(), shareTTL, func() { waited = true }))
	require.True(t, waited)
	require.GreaterOrEqual(t, time.Since(stopped), shareTTL-shareTTL/20)
	second.pool = devices.NewPool(devices.Config{})
	t.Cleanup(second.pool.Shutdown)
	require.NoError(t, second.hold(t.Context(), second.pool, shareTTL))
	require.Len(t, second.owned(), len(f.lines))
	require.Empty(t, first.owned())
	gateway := f.spec.Gateways[0].ID
	require.Error(t, first.MaySend(t.Context(), gateway, time.Millisecond))
	require.Equal(t, billing.CodeConflict, billing.CodeOf(first.hold(t.Context(), first.pool, shareTTL)), "back to life, it ends")
	require.NoError(t, first.giveUp(t.Context(), first.pool))
	require.NoError(t, second.MaySend(t.Context(), gateway, time.Millisecond), "and takes nothing of its successor's along")
}

// Who asks for a line gets it when it's idle, workers leave it alone meanwhile and send no work to who is no worker, and it comes back.
func TestLineIsAskedFor(t *testing.T) {
	t.Parallel()
	f := newField(t, 2, 1, simulator.GatewaySpec{})
	w1 := f.start("w1")
	f.settles("all", map[*one]int{w1: len(f.lines)})
	id := billing.GatewayID(f.spec.Gateways[0].ID)
	ask := func() string {
		holder, err := f.u.Store.AskLine(t.Context(), "probe", id, time.Minute)
		require.NoError(t, err)
		return holder
	}
	require.Equal(t, "w1", ask())
	require.Eventually(t, func() bool { return ask() == "probe" }, 10*time.Second, 10*time.Millisecond)
	require.False(t, w1.Owns(string(id)))
	_, err := f.u.Store.LineHolder(t.Context(), id)
	require.Equal(t, billing.CodeUnavailable, billing.CodeOf(err))
	time.Sleep(shareTTL)
	require.False(t, w1.Owns(string(id)))
	require.NoError(t, f.u.Store.EndAsk(t.Context(), "probe"))
	f.settles("all again", map[*one]int{w1: len(f.lines)})
}

// A jump of the database's clock takes no line from a worker that lives.
func TestDatabaseClockJumps(t *testing.T) {
	t.Parallel()
	f := newField(t, 4, 1, simulator.GatewaySpec{})
	w1 := f.start("w1")
	f.settles("all", map[*one]int{w1: len(f.lines)})
	w2 := f.start("w2")
	f.watchOwners(w1, w2)
	f.settles("half each", map[*one]int{w1: (len(f.lines) + 1) / 2, w2: (len(f.lines) + 1) / 2})
	jump := func(by string) {
		_, err := f.u.Store.Pool.Exec(t.Context(), `UPDATE line_leases SET expires_real = expires_real - $1::interval`, by)
		require.NoError(t, err)
	}
	before := w1.owned()
	for range 5 {
		jump("1 hour") // forward
		time.Sleep(shareTTL / 10)
	}
	f.settles("as before", map[*one]int{w1: (len(f.lines) + 1) / 2, w2: (len(f.lines) + 1) / 2})
	require.ElementsMatch(t, before, w1.owned())
}

// A dead worker whose leases seem to last for ever, because the database's clock went back, is dismissed in the end.
func TestDeadWorkerIsDismissed(t *testing.T) {
	t.Parallel()
	f := newField(t, 2, 1, simulator.GatewaySpec{})
	pool := devices.NewPool(devices.Config{})
	t.Cleanup(pool.Shutdown)
	dead := &Lines{Store: f.u.Store, Holder: "w1", Now: time.Now}
	require.NoError(t, dead.hold(t.Context(), pool, 24*time.Hour))
	at := time.Now()
	w2 := &one{Lines: &Lines{Store: f.u.Store, Holder: "w2", Now: func() time.Time { return at }}}
	looks := 0
	for ; len(w2.owned()) < len(f.lines) && looks < 100; looks++ {
		require.NoError(t, w2.hold(t.Context(), pool, 15*time.Second))
		at = at.Add(4 * time.Second)
	}
	require.Len(t, w2.owned(), len(f.lines))
	require.GreaterOrEqual(t, time.Duration(looks)*4*time.Second, dismissAfter)
	workers, err := f.u.Store.LineWorkers(t.Context())
	require.NoError(t, err)
	require.Len(t, workers, 1)
}

// What is seen of another worker: time in which nobody looked counts for little, and lines are handed back for one only that stays.
func TestWatch(t *testing.T) {
	t.Parallel()
	const ttl, step = 15 * time.Second, 4 * time.Second
	w := store.LineWorker{Holder: "w2", Process: "p", Beat: 7}
	s := seen{}.next(w, ttl/2, ttl)
	require.Zero(t, s.silent, "it may have beaten right before")
	for range 2 {
		w.Beat++
		s = s.next(w, step, ttl)
	}
	others := watch{others: map[string]seen{"w2": s}}
	require.Equal(t, 1, others.settled(ttl))
	s = s.next(w, ttl/2, ttl)
	others.others["w2"] = s
	require.Len(t, others.living(ttl), 1, "the database stood still for long: one look at it is no proof")
	s = s.next(w, ttl/2, ttl)
	others.others["w2"] = s
	require.Empty(t, others.living(ttl))
	w.Process, w.Beat = "q", 9
	s = s.next(w, step, ttl)
	others.others["w2"] = s
	require.Len(t, others.living(ttl), 1)
	require.Zero(t, others.settled(ttl), "it has come just now")
}
