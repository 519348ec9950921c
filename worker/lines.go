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

	watch watch // used by enrol and hold alone

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

// spareForAnswer is what a command needs beside the time of its line: the database's answer, and our own work before and after it.
const spareForAnswer = 5 * time.Second

// quietShare is the part of a lease's time for which a line must have been idle before it is handed back: a step that uses a line several times,
// such as a purchase, is not torn apart.
const quietShare = 8

// hold takes and renews leases, hands back what is more than this worker's share, and ends the lines that were lost: nothing of ours speaks on
// another's line. billing.CodeConflict when another process works under this worker's name.
func (l *Lines) hold(ctx context.Context, pool *devices.Pool, ttl time.Duration) error {
	// An answer that comes later is of no use, and a connection that is dead without saying so is given up.
	ctx, cancel := context.WithTimeout(ctx, ttl)
	defer cancel()
	if err := l.look(ctx, ttl); err != nil {
		return err
	}
	asked := l.Now()
	leases, err := l.renew(ctx, ttl)
	if err != nil {
		if billing.CodeOf(err) == billing.CodeConflict {
			l.lose(pool)
		}
		return err
	}
	now := make(map[billing.GatewayID]held, len(leases.Leases))
	l.mu.Lock()
	before := l.held
	for _, lease := range leases.Leases {
		h := held{lease.Fence, asked.Add(ttl)}
		if was := before[lease.Gateway]; was.fence == h.fence && was.until.After(h.until) {
			h.until = was.until // a command has prolonged it
		}
		now[lease.Gateway] = h
	}
	l.held = maps.Clone(now) // commands write to it
	l.mu.Unlock()
	for gateway, was := range before {
		if now[gateway].fence != was.fence {
			pool.CloseLine(string(gateway))
		}
	}
	given := l.giveSurplus(pool, leases, ttl)
	for _, lease := range given {
		delete(now, lease.Gateway)
	}
	if len(given) > 0 {
		if err := l.Store.HandBack(ctx, l.Holder, given); err != nil {
			return err // they are still ours, and come back with the next renewal
		}
	}
	return l.tell(ctx, pool, now, before)
}

// renew prolongs the leases and takes lines. A worker that showed no life for long was dismissed by the others: it enrols anew.
func (l *Lines) renew(ctx context.Context, ttl time.Duration) (store.HeldLines, error) {
	h := store.LineHold{Holder: l.Holder, Process: l.watch.process, Workers: l.watch.sharing(ttl), Living: l.watch.living(ttl), TTL: ttl}
	for _, id := range l.DialIn.Gateways() {
		h.Connected = append(h.Connected, billing.GatewayID(id))
	}
	held, err := l.Store.HoldLines(ctx, h)
	if billing.CodeOf(err) != billing.CodeConflict {
		return held, err
	}
	switch ok, enrolErr := l.Store.EnrolWorker(ctx, l.Holder, l.watch.process, store.LineWorker{}); {
	case enrolErr != nil:
		return held, enrolErr
	case !ok:
		return held, err
	}
	return l.Store.HoldLines(ctx, h)
}

// giveSurplus ends idle lines that are more than this worker's share among the workers that have lived for a while, and those of units that
// have left or that somebody asks for; the leases of both are to be handed back. A line that is in use is kept for now.
func (l *Lines) giveSurplus(pool *devices.Pool, now store.HeldLines, ttl time.Duration) (given []store.Lease) {
	mine := 0
	for _, lease := range now.Leases {
		if !lease.DialsIn {
			mine++
		}
	}
	workers := 1 + l.watch.settled(ttl)
	surplus := mine - (now.Dialled+workers-1)/workers
	for _, lease := range slices.Backward(now.Leases) {
		gone := false
		if lease.DialsIn {
			_, _, connected := l.DialIn.Connected(string(lease.Gateway))
			gone = !connected
		}
		if !gone && !lease.Wanted && (lease.DialsIn || surplus <= 0) {
			continue
		}
		if pool.Yield(string(lease.Gateway), ttl/quietShare, func() { l.disown(lease.Gateway) }) {
			given = append(given, lease)
			if !lease.DialsIn {
				surplus--
			}
		}
	}
	return given
}

func (l *Lines) disown(gateway billing.GatewayID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, gateway)
}

// lose ends all lines at once, after what is on the wire: they are another's.
func (l *Lines) lose(pool *devices.Pool) {
	l.mu.Lock()
	lost := l.held
	l.held = nil
	l.mu.Unlock()
	for gateway := range lost {
		pool.CloseLine(string(gateway))
	}
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

// Owns says whether a gateway's line is this worker's at this moment. It asks nobody. A machine that was asleep has a wall clock that knows, and a
// running clock that doesn't; a wall clock that was set wrong is the other way round: both must say so.
func (l *Lines) Owns(gateway string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.held[billing.GatewayID(gateway)]
	now := l.Now()
	return ok && now.Before(h.until) && now.Round(0).Before(h.until.Round(0))
}

// MaySend refuses to let a command leave on a line that this worker doesn't own any more. It owns it for as long as the command takes.
func (l *Lines) MaySend(ctx context.Context, gateway string, within time.Duration) error {
	id := billing.GatewayID(gateway)
	l.mu.Lock()
	h := l.held[id]
	l.mu.Unlock()
	within += spareForAnswer
	// The lease was prolonged at some time since it was asked for: with an answer that took longer than what is to spare, it may end too early.
	ctx, cancel := context.WithTimeout(ctx, spareForAnswer)
	defer cancel()
	asked := l.Now()
	if err := l.Store.MaySend(ctx, l.Holder, store.Lease{Gateway: id, Fence: h.fence}, within); err != nil {
		return err
	}
	if late := l.Now().Sub(asked); late >= spareForAnswer {
		return billing.Errorf(billing.CodeUnavailable, "the database took %s to answer whether the line of gateway %s is still ours: nothing was sent", late.Round(time.Second), gateway)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now, ok := l.held[id]; ok && now.fence == h.fence && asked.Add(within).After(now.until) {
		now.until = asked.Add(within)
		l.held[id] = now
	}
	return nil
}

// end has no new work sent to this worker, which keeps its lines for what it has in hand.
func (l *Lines) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, spareForAnswer)
	defer cancel()
	return l.Store.EndWorker(ctx, l.Holder, l.watch.process)
}

// giveUp ends the lines, after their running jobs, and gives the leases up, so that another worker need not wait for them to run out.
func (l *Lines) giveUp(ctx context.Context, pool *devices.Pool) error {
	pool.Shutdown()
	l.mu.Lock()
	l.held = nil
	l.mu.Unlock()
	return l.Store.DismissWorker(ctx, store.LineWorker{Holder: l.Holder, Process: l.watch.process})
}
