package worker

import (
	"context"
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
	return nil
}

// MaySend refuses to let a command leave on a line that this worker doesn't own any more, or not for long enough.
func (l *Lines) MaySend(ctx context.Context, gateway string) error {
	id := billing.GatewayID(gateway)
	l.mu.Lock()
	lease := store.Lease{Gateway: id, Fence: l.fences[id]}
	l.mu.Unlock()
	return l.Store.MaySend(ctx, l.Holder, lease, sendWithin)
}
