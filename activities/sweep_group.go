package activities

import (
	"context"
	"slices"

	"github.com/meterflow/meterflow/internal/billing"
)

// mostInGroup bounds how many lines one activity sweeps at once: an activity costs the engine as much for one line as for many.
const mostInGroup = 256

// LineHoldersInput names gateways.
type LineHoldersInput struct {
	Gateways []billing.GatewayID
}

// LineGroup is some gateways whose lines one worker owns. An empty holder means that nobody owns them now: units that have not dialled in, or, with Soon, lines
// that we dial. Those get an owner when the old one's lease has run out, or when who looks at them is done.
type LineGroup struct {
	Holder   string
	Soon     bool `json:",omitempty"`
	Gateways []billing.GatewayID
}

// LineHolders sorts gateways by the worker that owns their lines now, in groups that one activity sweeps.
func (a *Lines) LineHolders(ctx context.Context, in LineHoldersInput) ([]LineGroup, error) {
	owned, err := a.Store.LineHolders(ctx, in.Gateways)
	if err != nil {
		return nil, err
	}
	var groups []LineGroup
	type kind struct {
		holder string
		soon   bool
	}
	open := map[kind]int{} // the last group of each
	for _, o := range owned {
		k := kind{o.Holder, o.Holder == "" && !o.DialsIn}
		at, ok := open[k]
		if !ok || len(groups[at].Gateways) >= mostInGroup {
			at = len(groups)
			open[k] = at
			groups = append(groups, LineGroup{Holder: k.holder, Soon: k.soon})
		}
		groups[at].Gateways = append(groups[at].Gateways, o.Gateway)
	}
	return groups, nil
}

// SweptGateway counts meters that have no reading yet, on the lines that were swept. Moved are those that got another owner meanwhile: their other
// meters are that one's to read.
type SweptGateway struct {
	Left  int
	Moved []billing.GatewayID `json:",omitempty"`
}

// SweepGateways names the part of a pass of several gateways whose lines one worker owns.
type SweepGateways struct {
	CycleID  billing.CycleID
	Gateways []billing.GatewayID
	Pass     int
}

// SweepGateways sweeps several lines at once, one request at a time on each, and stores what they bring while they go on: no line waits for the
// database. A line that can't be swept leaves its meters to the next pass and doesn't hold up the others; interrupted, the pass goes on with the
// meters of which nothing is stored.
func (a *Metering) SweepGateways(ctx context.Context, in SweepGateways) (SweptGateway, error) {
	defer beat(ctx)() // a command may hold a line for longer than a heartbeat lasts
	c, err := a.Store.Cycle(ctx, in.CycleID)
	if err != nil || c.State != billing.CycleSweeping {
		return SweptGateway{}, err
	}
	sw, err := a.newSweep(ctx, c, in.Pass)
	if err != nil {
		return SweptGateway{}, err
	}
	gateways, err := a.Store.GatewaysByID(ctx, in.Gateways)
	if err != nil {
		return SweptGateway{}, err
	}
	if err := sw.lines(ctx, gateways); err != nil {
		return SweptGateway{}, err
	}
	slices.Sort(sw.moved)
	stayed := slices.DeleteFunc(slices.Clone(in.Gateways), func(id billing.GatewayID) bool { return slices.Contains(sw.moved, id) })
	left, err := a.Store.MetersLeft(ctx, c.ID, stayed)
	return SweptGateway{Left: left, Moved: sw.moved}, err
}
