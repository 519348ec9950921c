package worker

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Lines are the lines that this worker owns, each by a lease with a fencing number.
type Lines struct {
	Store *store.Store
	// Holder names this worker as owner of lines; it must be its own in the whole installation and the same after a restart.
	Holder string
	// DialIn knows which units have called this worker; nil when it doesn't listen for any.
	DialIn *devices.DialIn
	// Now is real time, by which leases run.
	Now func() time.Time

	mu   sync.Mutex
	held map[billing.GatewayID]held

	// told is what was last kept of each line that was ever held, calls since when its unit was connected then. Used by hold alone.
	told  map[billing.GatewayID]devices.LineReport
	calls map[billing.GatewayID]time.Time
}

// held is a lease as this worker knows it. until is by our own clock and never later than the database's: a worker that can't reach the
// database knows all the same when others may take its lines over.
type held struct {
	fence int64
	until time.Time
}

// spareForAnswer is what a command needs beside the time of its line: our own work before and after it.
const spareForAnswer = time.Second

// hold takes and renews leases, and ends the lines that were lost: nothing of ours speaks on another's line.
func (l *Lines) hold(ctx context.Context, pool *devices.Pool, ttl time.Duration) error {
	var connected []billing.GatewayID
	for _, id := range l.DialIn.Gateways() {
		connected = append(connected, billing.GatewayID(id))
	}
	asked := l.Now()
	leases, err := l.Store.HoldLines(ctx, l.Holder, connected, ttl)
	if err != nil {
		return err
	}
	now := make(map[billing.GatewayID]held, len(leases))
	l.mu.Lock()
	before := l.held
	for _, lease := range leases {
		h := held{lease.Fence, asked.Add(ttl)}
		if was := before[lease.Gateway]; was.fence == h.fence && was.until.After(h.until) {
			h.until = was.until // a command has prolonged it
		}
		now[lease.Gateway] = h
	}
	l.held = now
	l.mu.Unlock()
	for gateway, was := range before {
		if now[gateway].fence != was.fence {
			pool.CloseLine(string(gateway))
		}
	}
	return l.tell(ctx, pool, now, before)
}

// tell keeps what changed about the held lines since the last time. A line that has just been taken over is told of in any case, so that
// nothing its former owner said stands on. Faults are told once; what could not be kept is told the next time.
func (l *Lines) tell(ctx context.Context, pool *devices.Pool, now, before map[billing.GatewayID]held) error {
	reports, calls := maps.Clone(l.told), make(map[billing.GatewayID]time.Time)
	if reports == nil {
		reports = map[billing.GatewayID]devices.LineReport{}
	}
	var lines []store.LineTold
	for _, gateway := range slices.Sorted(maps.Keys(now)) {
		report := pool.Report(string(gateway))
		line := store.LineTold{Gateway: gateway, Answered: orNil(report.AnsweredAt), AsideUntil: orNil(report.AsideUntil)}
		if from, since, ok := l.DialIn.Connected(string(gateway)); ok {
			line.CalledFrom, line.CalledAt, calls[gateway] = from, &since, since
		}
		told := l.told[gateway]
		reports[gateway] = report
		if now[gateway].fence == before[gateway].fence && reflect.DeepEqual(report, told) && calls[gateway].Equal(l.calls[gateway]) {
			continue
		}
		for _, a := range report.Asides {
			line.Asides = append(line.Asides, store.AsideTold{Unit: int(a.Unit), Tries: a.Tries, Until: a.Until})
		}
		for kind, f := range report.Faults {
			if n := f.Count - told.Faults[kind].Count; n > 0 {
				line.Faults = append(line.Faults, store.FaultTold{Kind: string(kind), Count: n, At: f.At, Text: f.Text})
			}
		}
		lines = append(lines, line)
	}
	if err := l.Store.TellLines(ctx, lines); err != nil {
		return err
	}
	l.told, l.calls = reports, calls
	return nil
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Owns says whether a gateway's line is this worker's at this moment. It asks nobody.
func (l *Lines) Owns(gateway string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.held[billing.GatewayID(gateway)]
	return ok && l.Now().Before(h.until)
}

// MaySend refuses to let a command leave on a line that this worker doesn't own any more. It owns it for as long as the command takes.
func (l *Lines) MaySend(ctx context.Context, gateway string, within time.Duration) error {
	id := billing.GatewayID(gateway)
	l.mu.Lock()
	h := l.held[id]
	l.mu.Unlock()
	within += spareForAnswer
	asked := l.Now()
	if err := l.Store.MaySend(ctx, l.Holder, store.Lease{Gateway: id, Fence: h.fence}, within); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.held[id]; ok && asked.Add(within).After(h.until) {
		h.until = asked.Add(within)
		l.held[id] = h
	}
	return nil
}

// giveUp ends the lines, after their running jobs, and gives the leases up, so that another worker need not wait for them to run out.
func (l *Lines) giveUp(ctx context.Context, pool *devices.Pool) error {
	pool.Shutdown()
	l.mu.Lock()
	l.held = nil
	l.mu.Unlock()
	return l.Store.ReleaseLines(ctx, l.Holder)
}
