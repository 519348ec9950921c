package workflows

import (
	"context"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

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
