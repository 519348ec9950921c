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

	mu     sync.Mutex
	fences map[billing.GatewayID]int64

	// told is what was last kept of each line that was ever held, calls since when its unit was connected then. Used by hold alone.
	told  map[billing.GatewayID]devices.LineReport
	calls map[billing.GatewayID]time.Time
}

// sendWithin is how long a command may take from the last look at its lease to the meter's answer.
const sendWithin = 5 * time.Second

// hold takes and renews leases, and ends the lines that were lost: nothing of ours speaks on another's line.
func (l *Lines) hold(ctx context.Context, pool *devices.Pool) error {
	var connected []billing.GatewayID
	for _, id := range l.DialIn.Gateways() {
		connected = append(connected, billing.GatewayID(id))
	}
	held, err := l.Store.HoldLines(ctx, l.Holder, connected, leaseTTL)
	if err != nil {
		return err
	}
	fences := make(map[billing.GatewayID]int64, len(held))
	for _, lease := range held {
		fences[lease.Gateway] = lease.Fence
	}
	l.mu.Lock()
	before := l.fences
	l.fences = fences
	l.mu.Unlock()
	for gateway, fence := range before {
		if fences[gateway] != fence {
			pool.CloseLine(string(gateway))
		}
	}
	return l.tell(ctx, pool, fences, before)
}

// tell keeps what changed about the held lines since the last time. A line that has just been taken over is told of in any case, so that
// nothing its former owner said stands on. Faults are told once; what could not be kept is told the next time.
func (l *Lines) tell(ctx context.Context, pool *devices.Pool, fences, before map[billing.GatewayID]int64) error {
	reports, calls := maps.Clone(l.told), make(map[billing.GatewayID]time.Time)
	if reports == nil {
		reports = map[billing.GatewayID]devices.LineReport{}
	}
	var lines []store.LineTold
	for _, gateway := range slices.Sorted(maps.Keys(fences)) {
		report := pool.Report(string(gateway))
		line := store.LineTold{Gateway: gateway, Answered: orNil(report.AnsweredAt), AsideUntil: orNil(report.AsideUntil)}
		if from, since, ok := l.DialIn.Connected(string(gateway)); ok {
			line.CalledFrom, line.CalledAt, calls[gateway] = from, &since, since
		}
		told := l.told[gateway]
		reports[gateway] = report
		if fences[gateway] == before[gateway] && reflect.DeepEqual(report, told) && calls[gateway].Equal(l.calls[gateway]) {
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

// MaySend refuses to let a command leave on a line that this worker doesn't own any more, or not for long enough.
func (l *Lines) MaySend(ctx context.Context, gateway string) error {
	id := billing.GatewayID(gateway)
	l.mu.Lock()
	lease := store.Lease{Gateway: id, Fence: l.fences[id]}
	l.mu.Unlock()
	return l.Store.MaySend(ctx, l.Holder, lease, sendWithin)
}
