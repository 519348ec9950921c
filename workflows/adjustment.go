package workflows

import (
	"context"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// Adjustment is the refund or charge for a faulty meter: a supervisor enters the fault, the result is reckoned from the issued bills, two
// others approve it, and the second approval books it. It begins with the Update Submit.
func Adjustment(ctx workflow.Context, in activities.AdjustmentRef) error {
	a := adjustment{in: in, deciding: workflow.NewMutex(ctx)}
	if err := a.setup(ctx); err != nil {
		return err
	}
	return a.run(ctx)
}

type adjustment struct {
	in       activities.AdjustmentRef
	facts    activities.AdjustmentFacts
	deciding workflow.Mutex
	refused  bool // nothing was entered
}

func (a *adjustment) setup(ctx workflow.Context) error {
	for _, u := range []struct {
		name               string
		handler, validator any
	}{
		{UpdateSubmit, a.submit, a.maySubmit},
		{UpdateApprove, a.approve, a.mayApprove},
		{UpdateReject, a.end, a.mayReject},
		{UpdateWithdraw, a.end, a.mayWithdraw},
	} {
		if err := workflow.SetUpdateHandlerWithOptions(ctx, u.name, u.handler, workflow.UpdateHandlerOptions{Validator: u.validator}); err != nil {
			return err
		}
	}
	return nil
}

func (a *adjustment) run(ctx workflow.Context) error {
	// Whoever started it submits in the next call; one that died in between leaves nothing behind.
	if _, err := workflow.AwaitWithTimeout(ctx, entryPatience, func() bool { return a.refused || a.facts.AdjustmentID != "" }); err != nil {
		return err
	}
	if a.facts.AdjustmentID == a.in.AdjustmentID {
		if err := workflow.Await(ctx, func() bool { return a.facts.State.Final() }); err != nil {
			return err
		}
	}
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return err
	}
	if a.facts.State != billing.AdjustmentBooked {
		return nil
	}
	var f activities.CreditFollows
	if err := workflow.ExecuteActivity(withStore(ctx), adjusting.FollowAdjustment, a.in).Get(ctx, &f); err != nil {
		return err
	}
	return takeUp(ctx, f, a.in)
}

func (a *adjustment) maySubmit(_ workflow.Context, in activities.SubmitAdjustment) error {
	switch {
	case in.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to enter an adjustment")
	case strings.TrimSpace(in.Reason) == "":
		return refuse(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	return nil
}

// submit takes the fault in. A refusal ends the workflow, so that the form can be sent again.
func (a *adjustment) submit(ctx workflow.Context, in activities.SubmitAdjustment) (activities.AdjustmentFacts, error) {
	in.AdjustmentID = a.in.AdjustmentID
	var out activities.AdjustmentFacts
	if err := workflow.ExecuteActivity(withStore(ctx), adjusting.DraftAdjustment, in).Get(ctx, &out); err != nil {
		a.refused = a.facts.AdjustmentID == ""
		return out, err
	}
	if a.facts.AdjustmentID == "" {
		a.facts = out // of a repeated request, the one that answers it
	}
	return out, nil
}

func (a *adjustment) closed() error {
	return refuse(billing.CodeClosed, "adjustment "+string(a.in.AdjustmentID)+" is "+strings.ReplaceAll(string(a.facts.State), "_", " ")+": nothing was changed")
}

func (a *adjustment) mayApprove(_ workflow.Context, d activities.AdjustmentDecision) error {
	switch {
	case a.facts.AdjustmentID == "" || a.facts.State.Final():
		return a.closed()
	case d.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to approve an adjustment")
	case d.By == a.facts.DraftedBy:
		return refuse(billing.CodeSelfApproval, "you entered this adjustment: two others must approve it")
	case d.By == a.facts.Approved1:
		return refuse(billing.CodeAlreadyApproved, "you have approved this adjustment already: another person must give the second approval")
	case d.Digest != a.facts.Digest:
		return refuse(billing.CodeStale, "this approval is not about adjustment "+string(a.in.AdjustmentID)+" as it stands: open it and approve there")
	}
	return nil
}

func (a *adjustment) mayReject(_ workflow.Context, d activities.AdjustmentDecision) error {
	if d.By != "" && d.By == a.facts.DraftedBy {
		return refuse(billing.CodeSelfApproval, "you entered this adjustment: withdraw it instead")
	}
	return a.mayEnd(d)
}

func (a *adjustment) mayWithdraw(_ workflow.Context, d activities.AdjustmentDecision) error {
	if d.By != a.facts.DraftedBy {
		return refuse(billing.CodeForbidden, "only who entered an adjustment may withdraw it: reject it instead")
	}
	return a.mayEnd(d)
}

func (a *adjustment) mayEnd(d activities.AdjustmentDecision) error {
	switch {
	case a.facts.AdjustmentID == "" || a.facts.State.Final():
		return a.closed()
	case d.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to decide on an adjustment")
	case strings.TrimSpace(d.Reason) == "":
		return refuse(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	return nil
}

// decide takes one decision at a time and asks again whether it is still allowed when its turn has come.
func (a *adjustment) decide(ctx workflow.Context, may func() error, activity any, d activities.AdjustmentDecision) (activities.AdjustmentFacts, error) {
	if err := a.deciding.Lock(ctx); err != nil {
		return a.facts, err
	}
	defer a.deciding.Unlock()
	if err := may(); err != nil {
		return a.facts, err
	}
	if d.Number = 1; a.facts.State == billing.AdjustmentApprovedOnce {
		d.Number = 2
	}
	err := workflow.ExecuteActivity(withStore(ctx), activity, d).Get(ctx, &a.facts)
	return a.facts, err
}

func (a *adjustment) approve(ctx workflow.Context, d activities.AdjustmentDecision) (activities.AdjustmentFacts, error) {
	d.AdjustmentID = a.in.AdjustmentID
	return a.decide(ctx, func() error { return a.mayApprove(ctx, d) }, adjusting.ApproveAdjustment, d)
}

func (a *adjustment) end(ctx workflow.Context, d activities.AdjustmentDecision) (activities.AdjustmentFacts, error) {
	d.AdjustmentID = a.in.AdjustmentID
	return a.decide(ctx, func() error { return a.mayEnd(d) }, adjusting.RejectAdjustment, d)
}

// SubmitAdjustment is what a supervisor enters; the activities' own type, under a name of this package.
type SubmitAdjustment = activities.SubmitAdjustment

// SubmitAdjustment takes a fault in and gives the number of its adjustment: of a repeated request (the same key), the first one's. The
// caller reserves in.AdjustmentID with store.NextAdjustmentID.
func (c *Client) SubmitAdjustment(ctx context.Context, in SubmitAdjustment) (billing.AdjustmentID, error) {
	id := AdjustmentWorkflowID(in.AdjustmentID)
	if _, err := c.startAgain(ctx, id, 0, Adjustment, activities.AdjustmentRef{AdjustmentID: in.AdjustmentID}); err != nil {
		return "", fromTemporal(err)
	}
	var out activities.AdjustmentFacts
	err := c.update(ctx, id, UpdateSubmit, "", in, &out)
	return out.AdjustmentID, err
}

// ApproveAdjustment agrees to the result with the given digest. The nonce makes a double click one approval.
func (c *Client) ApproveAdjustment(ctx context.Context, id billing.AdjustmentID, by billing.UserID, digest, nonce string) error {
	return c.update(ctx, AdjustmentWorkflowID(id), UpdateApprove, nonce, activities.AdjustmentDecision{By: by, Digest: digest}, nil)
}

// RejectAdjustment ends an adjustment that another entered.
func (c *Client) RejectAdjustment(ctx context.Context, id billing.AdjustmentID, by billing.UserID, reason string) error {
	return c.update(ctx, AdjustmentWorkflowID(id), UpdateReject, "", activities.AdjustmentDecision{By: by, Reason: reason}, nil)
}

// WithdrawAdjustment ends one's own adjustment.
func (c *Client) WithdrawAdjustment(ctx context.Context, id billing.AdjustmentID, by billing.UserID, reason string) error {
	return c.update(ctx, AdjustmentWorkflowID(id), UpdateWithdraw, "", activities.AdjustmentDecision{By: by, Reason: reason}, nil)
}
