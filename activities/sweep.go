package activities

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// Readings are stored when so many have come, or when the oldest has waited for so long in real time: a worker that dies reads no more than
// these again. Few at a time, because a long transaction holds up the lines if the database is on the same machine; all that have come while the
// one before was stored, because lines may not wait for a database that is slow either.
const (
	storeAt    = 128
	storeMost  = 256
	storeAfter = 2 * time.Second
)

// sweep is what the lines of one pass have in common.
type sweep struct {
	*Metering
	cycle     store.Cycle
	zone      *time.Location
	pass      int
	tolerance time.Duration
	demo      bool                       // the business clock is a demo's
	answered  map[billing.GatewayID]bool // whose meters a pass before this one has read one of

	mu    sync.Mutex
	moved []billing.GatewayID // lines that another worker owns by now
}

// leave books a line whose other meters its new owner reads.
func (sw *sweep) leave(gateway billing.GatewayID) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	sw.moved = append(sw.moved, gateway)
}

func (a *Metering) newSweep(ctx context.Context, c store.Cycle, pass int) (*sweep, error) {
	site, policy, err := sitePolicy(ctx, a.Store, c.Site)
	if err != nil {
		return nil, err
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return nil, err
	}
	answered := map[billing.GatewayID]bool{}
	if pass > 1 {
		gateways, err := a.Store.CycleGateways(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		for _, g := range gateways {
			answered[g.Gateway] = g.Left < g.Planned
		}
	}
	return &sweep{
		Metering: a, cycle: c, zone: site.Zone, pass: pass, tolerance: minutes(policy.Reading.ToleranceMinutes), demo: clock.Mode != "real", answered: answered,
	}, nil
}

// brought is a meter with what one try at it brought.
type brought struct {
	store.Swept
	digits int
}

// lines sweeps each gateway's meters, all lines at once, and stores what they bring.
func (sw *sweep) lines(ctx context.Context, gateways map[billing.GatewayID]store.Gateway) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	came := make(chan brought, storeMost)
	ended := make(chan error, 1)
	go func() {
		defer close(came)
		ended <- sw.ask(ctx, gateways, came)
	}()
	err := sw.store(ctx, came)
	stop()           // when nothing can be stored, nothing more is asked
	for range came { // what is on its way
	}
	return cmp.Or(err, <-ended)
}

// ask asks all meters that are left to ask, each line from when its first meter is known.
func (sw *sweep) ask(ctx context.Context, gateways map[billing.GatewayID]store.Gateway, came chan<- brought) error {
	var asking sync.WaitGroup
	var mu sync.Mutex
	var ended []error // before they had asked all
	end := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		ended = append(ended, err)
	}
	lines := map[billing.GatewayID]chan []store.PlannedMeter{}
	end(sw.Store.MetersToSweep(ctx, sw.cycle.ID, slices.Collect(maps.Keys(gateways)), sw.pass, func(some []store.PlannedMeter) {
		id := some[0].Line
		meters, begun := lines[id]
		if !begun {
			meters = make(chan []store.PlannedMeter, 2) // its first, and the others
			lines[id] = meters
			asking.Go(func() { end(sw.line(ctx, gateways[id], meters, came)) })
		}
		meters <- some
	}))
	for _, meters := range lines {
		close(meters)
	}
	asking.Wait()
	return errors.Join(ended...)
}

// store takes in what the lines bring until they have ended.
func (sw *sweep) store(ctx context.Context, came <-chan brought) error {
	late := time.NewTimer(storeAfter)
	defer late.Stop()
	var waiting []brought
	for {
		full := false
		select {
		case b, more := <-came:
			if !more {
				return sw.save(ctx, waiting)
			}
			if len(waiting) == 0 {
				late.Reset(storeAfter)
			}
			waiting = append(waiting, b)
			full = len(waiting) >= storeMost || len(waiting) >= storeAt && len(came) == 0
		case <-late.C:
			full = true
		}
		if full {
			if err := sw.save(ctx, waiting); err != nil {
				return err
			}
			waiting = waiting[:0]
		}
	}
}

// save stores what came, in one transaction.
func (sw *sweep) save(ctx context.Context, came []brought) error {
	if len(came) == 0 {
		return nil
	}
	if err := sw.carryBack(ctx, came); err != nil {
		return err
	}
	swept := make([]store.Swept, len(came))
	for i, b := range came {
		swept[i] = b.Swept
	}
	if err := sw.Store.SaveSweep(ctx, byWorkflow(ctx), sw.cycle.ID, sw.pass, swept); err != nil {
		return err
	}
	failpoint.Hit("readings-stored-not-acked")
	return nil
}

// carryBack computes what the registers showed at the freeze instant when they were taken too long after it. Without a point to go
// back to, or when a register went back, the value stays as read: validation then says what is wrong with it.
func (sw *sweep) carryBack(ctx context.Context, came []brought) error {
	var late []billing.MeterID
	for _, b := range came {
		if sw.late(b.Reading) {
			late = append(late, b.Meter)
		}
	}
	if len(late) == 0 {
		return nil
	}
	points, err := sw.Store.LastPoints(ctx, late, sw.cycle.FreezeAt)
	if err != nil {
		return err
	}
	for _, b := range came {
		before := points[b.Meter]
		if !sw.late(b.Reading) || before.Registers == nil {
			continue
		}
		r := b.Reading
		at, err := metering.Interpolate(metering.Reading{At: before.At, Registers: before.Registers}, metering.Reading{At: r.TakenAt, Registers: r.Registers}, r.FreezeAt, b.digits)
		if err != nil {
			continue
		}
		r.Registers, r.Interpolated = at, true
		if r.Reverse == nil {
			continue
		}
		if before.Reverse == nil {
			r.Reverse = nil // what it showed later is not what it showed then
			continue
		}
		back, err := metering.Interpolate(metering.Reading{At: before.At, Registers: billing.Registers{*before.Reverse}}, metering.Reading{At: r.TakenAt, Registers: billing.Registers{*r.Reverse}}, r.FreezeAt, b.digits)
		if r.Reverse = nil; err == nil {
			r.Reverse = &back[0]
		}
	}
	return nil
}

func (sw *sweep) late(r *store.Reading) bool {
	return r != nil && r.TakenAt.Sub(r.FreezeAt) > sw.tolerance
}

// giveUpAfter silent meters in a row a later pass takes the gateway for silent: each try costs its whole time-out. A gateway that has answered in the
// cycle isn't: those that are left are the dead ones, and three of them must not hide those that have come back.
const giveUpAfter = 3

// line asks the meters of one gateway one after the other. A line that has moved to another worker is left to it; an ended context is an error,
// so that the activity is tried again.
func (sw *sweep) line(ctx context.Context, gateway store.Gateway, meters <-chan []store.PlannedMeter, came chan<- brought) error {
	answered := sw.answered[gateway.ID]
	silent, down := 0, 0 // in a row, since a meter answered, or since there was a connection to the gateway
	for m := range flat(meters) {
		s := store.Swept{Outcome: "silent", Error: "the gateway's other meters gave no answer"}
		// A later pass asks also those that are set aside: business time has passed, whatever the real time is.
		look := sw.Pool.Sweep
		if sw.pass > 1 {
			look = sw.Pool.SweepAside
		}
		if givesUp := down >= giveUpAfter || silent >= giveUpAfter && !answered; sw.pass == 1 || !givesUp {
			shot, err := look(ctx, deviceMeter(gateway, m.Meter))
			if lineMoved(err) && ctx.Err() == nil {
				sw.leave(gateway.ID)
				return nil
			}
			if interrupted(ctx, err) {
				return errors.Join(billing.Errorf(billing.CodeUnavailable, "the sweep of gateway %s was interrupted", gateway.ID), err)
			}
			if down++; !errors.Is(err, devices.ErrLinkDown) {
				down = 0
			}
			if s, err = sw.swept(ctx, m.Meter, shot, err); err != nil {
				return err
			}
		}
		if silent++; s.Outcome != "silent" {
			silent, answered = 0, true
		}
		s.Gateway, s.Meter = gateway.ID, m.ID
		came <- brought{s, m.Digits}
		failpoint.Hit("mid-sweep")
	}
	return nil
}

// flat gives what comes in pieces one by one.
func flat[T any](pieces <-chan []T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for piece := range pieces {
			for _, one := range piece {
				if !yield(one) {
					return
				}
			}
		}
	}
}

// interrupted says that a try ended for reasons of ours, not of the meter: whoever owns the line then makes it again.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil || lineMoved(err) || errors.Is(err, devices.ErrExpired)
}

// swept is what one try at a meter brought. Only what the meter's own state explains is an outcome.
func (sw *sweep) swept(ctx context.Context, m store.Meter, shot devices.Snapshot, err error) (store.Swept, error) {
	if err != nil {
		return store.Swept{Outcome: outcomeOf(err), Error: err.Error()}, nil
	}
	// In real use nobody need be asked what time it is.
	r := readingOf(m, sw.zone, sw.cycle.FreezeAt, shot.TakenAt, shot)
	if sw.demo {
		if r, err = takenReading(ctx, sw.Store, m, sw.zone, sw.cycle.FreezeAt, shot); err != nil {
			return store.Swept{}, err
		}
	}
	if err := r.Registers.Validate(m.Service); err != nil {
		return store.Swept{Outcome: "wrong", Error: billing.MessageOf(err)}, nil
	}
	r.Cycle = &sw.cycle.ID
	return store.Swept{Outcome: "read", Reading: &r}, nil
}
