package devices

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/profile"
	"github.com/meterflow/meterflow/devices/simulator"
)

// How long, and how often, a test waits for something that another goroutine is about to do.
const (
	waitLong  = 5 * time.Second
	waitShort = time.Millisecond
)

// waiting tells how many jobs are queued.
func (l *line) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// While the line is busy, what waits is sorted by urgency, and within it by arrival.
func TestUrgentJobsGoFirst(t *testing.T) {
	t.Parallel()
	pool := NewPool(Config{})
	defer pool.Shutdown()
	l, err := pool.line(Address{Gateway: "g", HostPort: "127.0.0.1:1"})
	require.NoError(t, err)

	busy, free := make(chan struct{}), make(chan struct{})
	results := make(chan error, 16)
	submit := func(p priority, run func(*session)) {
		before := l.waiting()
		go func() { results <- l.do(context.Background(), &job{priority: p, run: run}) }()
		require.Eventually(t, func() bool { return l.waiting() > before }, waitLong, waitShort)
	}
	go func() {
		results <- l.do(context.Background(), &job{priority: prioritySweep, run: func(*session) { close(busy); <-free }})
	}()
	<-busy
	var order []string
	note := func(name string) func(*session) { return func(*session) { order = append(order, name) } }
	submit(prioritySweep, note("sweep 1"))
	submit(priorityRead, note("read"))
	submit(prioritySweep, note("sweep 2"))
	submit(priorityCut, note("cut"))
	submit(priorityCredit, note("credit"))
	submit(priorityRestore, note("restore 1"))
	submit(priorityRestore, note("restore 2"))
	close(free)
	for range 8 {
		require.NoError(t, <-results)
	}
	require.Equal(t, []string{"restore 1", "restore 2", "credit", "cut", "read", "sweep 1", "sweep 2"}, order)
}

// A job that waits when the line is closed is turned away, and its caller is told.
func TestWaitingJobsAreTurnedAway(t *testing.T) {
	t.Parallel()
	pool := NewPool(Config{})
	l, err := pool.line(Address{Gateway: "g", HostPort: "127.0.0.1:1"})
	require.NoError(t, err)
	busy, free := make(chan struct{}), make(chan struct{})
	running, waiting := make(chan error, 1), make(chan error, 1)
	go func() {
		running <- l.do(context.Background(), &job{priority: priorityCut, run: func(*session) { close(busy); <-free }})
	}()
	<-busy
	go func() {
		waiting <- l.do(context.Background(), &job{priority: priorityCut, run: func(*session) { t.Error("it ran") }})
	}()
	require.Eventually(t, func() bool { return l.waiting() == 1 }, waitLong, waitShort)
	down := make(chan struct{})
	go func() { pool.Shutdown(); close(down) }()
	require.Eventually(t, l.isClosed, waitLong, waitShort)
	close(free)
	<-down
	require.NoError(t, <-running, "what had started ran to its end")
	require.ErrorIs(t, <-waiting, ErrClosed)
}

// A restore that is ordered in the middle of a sweep waits for the transaction that is on the wire and for no more of the meter that is being
// read, let alone for the meters behind it.
func TestRestoreWaitsForOneTransaction(t *testing.T) {
	t.Parallel()
	spec, err := simulator.Generate(simulator.Generated{Gateways: 1, Meters: 8, Line: simulator.GatewaySpec{LineMillis: 30}})
	require.NoError(t, err)
	fleet, err := simulator.NewFleet(spec, t.TempDir(), time.Now)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- fleet.Serve(ctx) }()
	pool := NewPool(Config{})
	t.Cleanup(func() {
		pool.Shutdown()
		cancel()
		require.NoError(t, <-served)
	})
	meter := func(i int) Meter {
		m := spec.Gateways[0].Meters[i]
		return Meter{Address: Address{Gateway: "g", HostPort: fleet.Addr("g0001"), Unit: m.Unit}, Serial: m.Serial, Profile: m.Profile}
	}
	swept := make(chan error, 8)
	for i := range 8 {
		go func() { _, err := pool.Sweep(ctx, meter(i)); swept <- err }()
	}
	for range 5 {
		require.Eventually(t, func() bool { return pool.Stats().Requests >= 1 }, waitLong, waitShort)
		l, err := pool.line(meter(0).Address)
		require.NoError(t, err)
		ordered := pool.Stats().Requests
		require.NoError(t, l.do(ctx, &job{priority: priorityRestore, run: func(s *session) {
			require.LessOrEqual(t, pool.Stats().Requests-ordered, int64(2))
			s.prof = mustProfile(t, meter(0).Profile)
			_, err := s.snapshot(meter(0), s.prof)
			require.NoError(t, err)
		}}))
	}
	for range 8 {
		require.NoError(t, <-swept)
	}
}

func mustProfile(t *testing.T, name string) *profile.Profile {
	t.Helper()
	p, err := profile.Get(name)
	require.NoError(t, err)
	return p
}
