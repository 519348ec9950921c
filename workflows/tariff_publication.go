package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// TariffPublication takes a change of prices from its draft, with a simulation and two approvals by others, to its publication; waits for
// its first day; and brings the prices into the meters that deduct by themselves, until each has read them back. It begins with the
// Update Edit, and takes up a change where the tables say it stands.
func TariffPublication(ctx workflow.Context, in activities.TariffRef) error {
	t := tariffPublication{in: in, ctx: ctx, deciding: workflow.NewMutex(ctx)}
	if err := t.setup(ctx); err != nil {
		return err
	}
	return t.run(ctx)
}

type tariffPublication struct {
	in         activities.TariffRef
	ctx        workflow.Context // of the run: a simulation outlives the update that asked for it
	facts      activities.TariffFacts
	deciding   workflow.Mutex
	loaded     bool // facts are what the tables say
	refused    bool // nothing was drafted
	again      bool // a person wants the meters that are left to be tried now
	simulating int
}

// DecideTariff is a person's decision on the revision of a change that they saw.
type DecideTariff struct {
	By       billing.UserID
	Revision int
	Reason   string
}

// SimulateTariff asks what the draft would have cost. Tariff names whose accounts to take, Sample how many at most; both may be empty.
type SimulateTariff struct {
	By     billing.UserID
	Tariff billing.TariffID
	Sample int
}

// PushAgain asks that the meters that are left be tried now.
type PushAgain struct {
	By billing.UserID
}

func (t *tariffPublication) setup(ctx workflow.Context) error {
	// Whatever comes first waits until it is known where the change stands.
	if err := t.deciding.Lock(ctx); err != nil {
		return err
	}
	defer t.deciding.Unlock()
	for _, u := range []struct {
		name               string
		handler, validator any
	}{
		{UpdateEdit, t.edit, t.mayEdit}, {UpdateSubmit, t.submit, t.maySubmit}, {UpdateApprove, t.approve, t.mayApprove}, {UpdateReject, t.reject, t.mayReject},
		{UpdateWithdraw, t.withdraw, t.mayWithdraw}, {UpdateSimulate, t.simulate, t.maySimulate}, {UpdatePushAgain, t.pushAgain, t.mayPushAgain},
	} {
		if err := workflow.SetUpdateHandlerWithOptions(ctx, u.name, u.handler, workflow.UpdateHandlerOptions{Validator: u.validator}); err != nil {
			return err
		}
	}
	err := workflow.ExecuteActivity(withStore(ctx), tariffs.LoadTariff, t.in).Get(ctx, &t.facts)
	t.loaded = true
	return err
}

func (t *tariffPublication) run(ctx workflow.Context) error {
	// Whoever started it drafts the change in the next call; one that died in between leaves nothing behind.
	if _, err := workflow.AwaitWithTimeout(ctx, entryPatience, func() bool { return t.refused || t.drafted() }); err != nil {
		return err
	}
	if t.drafted() {
		if err := workflow.Await(ctx, func() bool { return !t.facts.State.Open() && t.simulating == 0 }); err != nil {
			return err
		}
	}
	if t.published() {
		if err := t.bringInForce(ctx); err != nil {
			return err
		}
	}
	return workflow.Await(ctx, func() bool { return t.simulating == 0 && workflow.AllHandlersFinished(ctx) })
}

func (t *tariffPublication) drafted() bool { return t.facts.Change != "" }

func (t *tariffPublication) published() bool {
	return t.facts.State == billing.TariffPublished || t.facts.State == billing.TariffInForce
}

// bringInForce waits for the first day, at one site after the other where their zones differ, and sets the prices of the meters there.
func (t *tariffPublication) bringInForce(ctx workflow.Context) error {
	for {
		var begun activities.TariffBegun
		if err := workflow.ExecuteActivity(withStore(ctx), tariffs.BeginTariff, t.in).Get(ctx, &begun); err != nil {
			return err
		}
		t.facts = begun.Facts
		if begun.Meters {
			if err := t.push(ctx, begun.Next); err != nil {
				return err
			}
		}
		if begun.Next.IsZero() {
			return nil
		}
		if _, err := waitUntil(ctx, "first_day", begun.Next, nil); err != nil {
			return err
		}
	}
}

// pushLanes is how many lines get prices at once, so that a change of prices never fills the slots of cuts and recharges.
const pushLanes = 8

// push tries all meters that don't hold the prices yet, round after round with growing pauses, until all do, or a person must see to
// those that are left. It gives way when the change begins at a further site.
func (t *tariffPublication) push(ctx workflow.Context, next time.Time) error {
	for {
		t.again = false
		var round activities.PushRound
		if err := workflow.ExecuteActivity(withStore(ctx), tariffs.PlanPushRound, t.in).Get(ctx, &round); err != nil {
			return err
		}
		if err := t.pushRound(ctx, round); err != nil {
			return err
		}
		var rest activities.PushRest
		in := activities.PushPrices{Change: t.in.Change, Round: round.Round}
		if err := workflow.ExecuteActivity(withStore(ctx), tariffs.ClosePushRound, in).Get(ctx, &rest); err != nil {
			return err
		}
		if err := startFollowers(ctx, kindCase, rest.Cases); err != nil {
			return err
		}
		if rest.Left == 0 || rest.Pause == 0 && !t.again {
			return nil
		}
		now, err := businessNow(ctx)
		if err != nil {
			return err
		}
		due := now.Add(rest.Pause)
		if !next.IsZero() && next.Before(due) {
			return nil
		}
		if _, err := waitUntil(ctx, "push_again", due, func() bool { return t.again }); err != nil {
			return err
		}
	}
}

func (t *tariffPublication) pushRound(ctx workflow.Context, round activities.PushRound) error {
	lanes, wg := workflow.NewSemaphore(ctx, pushLanes), workflow.NewWaitGroup(ctx)
	for _, gateway := range round.Gateways {
		if err := lanes.Acquire(ctx, 1); err != nil {
			return err
		}
		wg.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer wg.Done()
			defer lanes.Release(1)
			if err := t.pushGateway(ctx, gateway, round.Round); err != nil {
				workflow.GetLogger(ctx).Error("prices not set at a gateway", "gateway", gateway, "round", round.Round, "error", err)
			}
		})
	}
	wg.Wait(ctx)
	return ctx.Err()
}

// pushGateway sets the prices of one gateway's meters, page by page, on whoever owns its line. A gateway that can't be worked on leaves
// its meters to the next round: it must not hold up the others.
func (t *tariffPublication) pushGateway(ctx workflow.Context, gateway billing.GatewayID, round int) error {
	in := activities.PushPrices{Change: t.in.Change, Gateway: gateway, Round: round}
	failures := 0
	for {
		var out activities.PushedPrices
		var unowned error
		err := followLine(ctx, func() error {
			var holder string
			if holder, unowned = lineHolder(ctx, gateway); unowned != nil {
				return unowned
			}
			return workflow.ExecuteActivity(withBulk(ctx, holder), tariffs.PushPrices, in).Get(ctx, &out)
		})
		if err != nil {
			if failures++; failures >= ownerChanges || unowned != nil || ctx.Err() != nil {
				return err
			}
			continue // the owner of the line is gone: ask who owns it now
		}
		for _, id := range out.Cases {
			signalIfRunning(ctx, CaseWorkflowID(id), SignalDoubtSettled, activities.CaseRef{CaseID: id})
		}
		if !out.More {
			return nil
		}
	}
}
