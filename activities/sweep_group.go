package activities

import (
	"context"
	"errors"
	"sync"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/internal/billing"
)

// mostInGroup bounds how many lines one activity sweeps at once: an activity costs the engine as much for one line as for many.
const mostInGroup = 64

// LineHoldersInput names gateways.
type LineHoldersInput struct {
	Gateways []billing.GatewayID
}

// LineGroup is some gateways whose lines one worker owns. An empty holder means that nobody owns them now: units that have not dialled in.
type LineGroup struct {
	Holder   string
	Gateways []billing.GatewayID
}

// LineHolders sorts gateways by the worker that owns their lines now, in groups that one activity sweeps. While a line that we dial has no
// owner it fails as unavailable, which is retried: a new owner takes over when the old one's lease has run out.
func (a *Lines) LineHolders(ctx context.Context, in LineHoldersInput) ([]LineGroup, error) {
	owned, err := a.Store.LineHolders(ctx, in.Gateways)
	if err != nil {
		return nil, err
	}
	var groups []LineGroup
	open := map[string]int{} // the last group of each holder
	for _, o := range owned {
		if o.Holder == "" && !o.DialsIn {
			return nil, billing.Errorf(billing.CodeUnavailable, "no worker owns the line of gateway %s: start a worker, or wait until it has taken over", o.Gateway)
		}
		at, ok := open[o.Holder]
		if !ok || len(groups[at].Gateways) >= mostInGroup {
			at = len(groups)
			open[o.Holder] = at
			groups = append(groups, LineGroup{Holder: o.Holder})
		}
		groups[at].Gateways = append(groups[at].Gateways, o.Gateway)
	}
	return groups, nil
}

// SweptGateway counts meters that have no reading yet.
type SweptGateway struct {
	Left int
}

// SweepGateways names the part of a pass of several gateways whose lines one worker owns.
type SweepGateways struct {
	CycleID  billing.CycleID
	Gateways []billing.GatewayID
	Pass     int
}

// SweepGateways sweeps several lines at once, one request at a time on each. A line that can't be swept leaves its meters to the next pass and
// doesn't hold up the others; interrupted, each goes on after its last page.
func (a *Metering) SweepGateways(ctx context.Context, in SweepGateways) (SweptGateway, error) {
	var out SweptGateway
	var mu sync.Mutex
	var interrupted []error
	var lines sync.WaitGroup
	for _, gateway := range in.Gateways {
		lines.Go(func() {
			left, err := a.sweepGateway(ctx, in.CycleID, gateway, in.Pass)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				out.Left += left
			case retryable[billing.CodeOf(err)] || ctx.Err() != nil:
				interrupted = append(interrupted, err)
			default:
				activity.GetLogger(ctx).Error("gateway not swept", "gateway", gateway, "pass", in.Pass, "error", err)
				out.Left++
			}
		})
	}
	lines.Wait()
	return out, errors.Join(interrupted...)
}
