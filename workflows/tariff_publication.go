package workflows

import (
	"context"
	"slices"
	"strings"
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
		for _, id := range rest.Cases {
			if err := startAbandoned(ctx, CaseWorkflowID(id), ExceptionReview, activities.CaseRef{CaseID: id}); err != nil {
				return err
			}
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
		holder, err := lineHolder(ctx, gateway)
		if err != nil {
			return err
		}
		var out activities.PushedPrices
		err = workflow.ExecuteActivity(withCommand(ctx, holder), tariffs.PushPrices, in).Get(ctx, &out)
		if err != nil {
			if failures++; failures >= ownerChanges || ctx.Err() != nil {
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

// edit begins the change or writes a new revision. A refusal of the first one ends the workflow, so that the same form can be sent again.
func (t *tariffPublication) edit(ctx workflow.Context, in activities.EditTariff) (activities.TariffFacts, error) {
	if err := t.deciding.Lock(ctx); err != nil {
		return t.facts, err
	}
	defer t.deciding.Unlock()
	in.Change = t.in.Change
	err := t.decide(ctx, tariffs.EditTariff, in)
	t.refused = err != nil && !t.drafted()
	return t.facts, err
}

func (t *tariffPublication) mayEdit(_ workflow.Context, in activities.EditTariff) error {
	switch {
	case in.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to write in a change of prices")
	case t.drafted() && !t.facts.State.Open():
		return t.closed("begin a new change for other prices: this one is ")
	}
	return nil
}

func (t *tariffPublication) maySubmit(_ workflow.Context, d DecideTariff) error {
	if t.drafted() && t.facts.State != billing.TariffDraft {
		return t.closed("only a draft can be submitted; this change is ")
	}
	return t.seen(d, "sign in to submit a change of prices")
}

func (t *tariffPublication) mayApprove(_ workflow.Context, d DecideTariff) error {
	switch {
	case !t.facts.State.Waiting():
		return t.closed("nobody can approve this change now: it is ")
	case slices.Contains(t.facts.Editors, d.By):
		return refuse(billing.CodeSelfApproval, "you wrote in this change: two colleagues who didn't must approve it")
	case t.facts.Approved1 != "" && d.By == t.facts.Approved1:
		return refuse(billing.CodeAlreadyApproved, "you have approved this change already: another colleague must give the second approval")
	}
	return t.seen(d, "sign in to approve a change of prices")
}

func (t *tariffPublication) mayReject(_ workflow.Context, d DecideTariff) error {
	if !t.facts.State.Waiting() {
		return t.closed("nobody can reject this change now: it is ")
	}
	if strings.TrimSpace(d.Reason) == "" {
		return refuse(billing.CodeInvalidInput, "say why the change is rejected")
	}
	return t.seen(d, "sign in to reject a change of prices")
}

func (t *tariffPublication) mayWithdraw(_ workflow.Context, d DecideTariff) error {
	switch {
	case !t.facts.State.Open():
		return t.closed("this change can't be taken back any more: it is ")
	case strings.TrimSpace(d.Reason) == "":
		return refuse(billing.CodeInvalidInput, "say why the change is withdrawn")
	case d.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to withdraw a change of prices")
	}
	return nil
}

func (t *tariffPublication) maySimulate(_ workflow.Context, s SimulateTariff) error {
	switch {
	case !t.facts.State.Open():
		return t.closed("only what isn't published can be simulated: this change is ")
	case t.simulating > 0:
		return refuse(billing.CodeConflict, "a simulation of this change is running: wait for its result")
	case s.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to simulate a change of prices")
	}
	return nil
}

func (t *tariffPublication) mayPushAgain(_ workflow.Context, p PushAgain) error {
	switch {
	case t.loaded && t.facts.State != billing.TariffInForce:
		return t.closed("prices are written to meters when their first day has come: this change is ")
	case p.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to have the meters tried again")
	}
	return nil
}

// seen refuses a decision on a revision that somebody has edited meanwhile.
func (t *tariffPublication) seen(d DecideTariff, signIn string) error {
	switch {
	case d.By == "":
		return refuse(billing.CodeUnauthenticated, signIn)
	case d.Revision != t.facts.Revision:
		return refuse(billing.CodeStale, "this change was edited since you opened it: look at it again and decide on what it says now")
	}
	return nil
}

func (t *tariffPublication) closed(sentence string) error {
	return refuse(billing.CodeClosed, sentence+strings.ReplaceAll(string(t.facts.State), "_", " "))
}

func (t *tariffPublication) submit(ctx workflow.Context, d DecideTariff) (activities.TariffFacts, error) {
	return t.decided(ctx, tariffs.SubmitTariff, t.maySubmit, d)
}

func (t *tariffPublication) approve(ctx workflow.Context, d DecideTariff) (activities.TariffFacts, error) {
	return t.decided(ctx, tariffs.ApproveTariff, t.mayApprove, d)
}

func (t *tariffPublication) reject(ctx workflow.Context, d DecideTariff) (activities.TariffFacts, error) {
	return t.decided(ctx, tariffs.RejectTariff, t.mayReject, d)
}

func (t *tariffPublication) withdraw(ctx workflow.Context, d DecideTariff) (activities.TariffFacts, error) {
	return t.decided(ctx, tariffs.WithdrawTariff, t.mayWithdraw, d)
}

// decided takes one decision after the other, each on what the other left.
func (t *tariffPublication) decided(ctx workflow.Context, activity any, may func(workflow.Context, DecideTariff) error, d DecideTariff) (activities.TariffFacts, error) {
	if err := t.deciding.Lock(ctx); err != nil {
		return t.facts, err
	}
	defer t.deciding.Unlock()
	if err := may(ctx, d); err != nil {
		return t.facts, err
	}
	number := 1
	if t.facts.State == billing.TariffApprovedOnce {
		number = 2
	}
	err := t.decide(ctx, activity, activities.TariffDecision{Change: t.in.Change, By: d.By, Revision: d.Revision, Number: number, Reason: d.Reason})
	return t.facts, err
}

func (t *tariffPublication) decide(ctx workflow.Context, activity, in any) error {
	var out activities.TariffFacts
	if err := workflow.ExecuteActivity(withStore(ctx), activity, in).Get(ctx, &out); err != nil {
		return err
	}
	t.facts = out
	return nil
}

// simulate begins a simulation and lets it run on by itself; the answer is its number.
func (t *tariffPublication) simulate(ctx workflow.Context, s SimulateTariff) (activities.SimulationRef, error) {
	if err := t.deciding.Lock(ctx); err != nil {
		return activities.SimulationRef{}, err
	}
	defer t.deciding.Unlock()
	if err := t.maySimulate(ctx, s); err != nil {
		return activities.SimulationRef{}, err
	}
	t.simulating++
	var ref activities.SimulationRef
	in := activities.OpenSimulation{Change: t.in.Change, By: s.By, Tariff: s.Tariff, Sample: s.Sample}
	if err := workflow.ExecuteActivity(withStore(ctx), tariffs.OpenSimulation, in).Get(ctx, &ref); err != nil {
		t.simulating--
		return ref, err
	}
	workflow.Go(t.ctx, func(ctx workflow.Context) {
		defer func() { t.simulating-- }()
		if err := workflow.ExecuteActivity(withBatch(ctx), tariffs.SimulateTariff, ref).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Error("simulation failed", "simulation", ref.Simulation, "error", err)
		}
	})
	return ref, nil
}

func (t *tariffPublication) pushAgain(ctx workflow.Context, p PushAgain) error {
	if err := t.deciding.Lock(ctx); err != nil {
		return err
	}
	defer t.deciding.Unlock()
	if err := t.mayPushAgain(ctx, p); err != nil {
		return err
	}
	err := workflow.ExecuteActivity(withStore(ctx), tariffs.AskPush, activities.AskPush{Change: t.in.Change, By: p.By}).Get(ctx, nil)
	t.again = t.again || err == nil
	return err
}

// DraftTariff begins a change of prices. The caller reserves in.Change with store.NextTariffChangeID.
func (c *Client) DraftTariff(ctx context.Context, in activities.EditTariff) error {
	in.Revision = 0
	if _, err := c.startAgain(ctx, TariffWorkflowID(in.Change), 0, TariffPublication, activities.TariffRef{Change: in.Change}); err != nil {
		return fromTemporal(err)
	}
	return c.update(ctx, TariffWorkflowID(in.Change), UpdateEdit, "", in, nil)
}

// EditTariff writes a new revision of a change that isn't published; approvals that it had are void.
func (c *Client) EditTariff(ctx context.Context, in activities.EditTariff, nonce string) error {
	return c.update(ctx, TariffWorkflowID(in.Change), UpdateEdit, nonce, in, nil)
}

// SubmitTariff puts a draft before those who approve.
func (c *Client) SubmitTariff(ctx context.Context, id billing.TariffChangeID, d DecideTariff, nonce string) error {
	return c.update(ctx, TariffWorkflowID(id), UpdateSubmit, nonce, d, nil)
}

// ApproveTariff gives one of the two approvals; the second one publishes.
func (c *Client) ApproveTariff(ctx context.Context, id billing.TariffChangeID, d DecideTariff, nonce string) error {
	return c.update(ctx, TariffWorkflowID(id), UpdateApprove, nonce, d, nil)
}

// RejectTariff sends a change back to its maker.
func (c *Client) RejectTariff(ctx context.Context, id billing.TariffChangeID, d DecideTariff, nonce string) error {
	return c.update(ctx, TariffWorkflowID(id), UpdateReject, nonce, d, nil)
}

// WithdrawTariff ends a change that isn't published.
func (c *Client) WithdrawTariff(ctx context.Context, id billing.TariffChangeID, d DecideTariff, nonce string) error {
	return c.update(ctx, TariffWorkflowID(id), UpdateWithdraw, nonce, d, nil)
}

// SimulateTariff begins a simulation and gives its number.
func (c *Client) SimulateTariff(ctx context.Context, id billing.TariffChangeID, s SimulateTariff, nonce string) (int64, error) {
	var ref activities.SimulationRef
	err := c.update(ctx, TariffWorkflowID(id), UpdateSimulate, nonce, s, &ref)
	return ref.Simulation, err
}

// PushPricesAgain has the meters that don't hold a change's prices tried now, also after the trying has ended.
func (c *Client) PushPricesAgain(ctx context.Context, id billing.TariffChangeID, by billing.UserID, nonce string) error {
	if _, err := c.startAgain(ctx, TariffWorkflowID(id), 0, TariffPublication, activities.TariffRef{Change: id}); err != nil {
		return fromTemporal(err)
	}
	return c.update(ctx, TariffWorkflowID(id), UpdatePushAgain, nonce, PushAgain{By: by}, nil)
}
