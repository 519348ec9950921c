package workflows

import (
	"context"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// Correction changes what issued bills rest on: a supervisor's draft, its preview, the approval by others, and then the bills one
// after another. It begins with the Update Submit. A failure stops the rest, and waits for a person who resumes it or
// has the rest previewed again.
func Correction(ctx workflow.Context, in activities.CorrectionRef) error {
	c := correction{in: in, deciding: workflow.NewMutex(ctx)}
	if err := c.setup(ctx); err != nil {
		return err
	}
	return c.run(ctx)
}

type correction struct {
	in       activities.CorrectionRef
	facts    activities.CorrectionFacts
	deciding workflow.Mutex
	refused  bool // nothing was drafted
	preview  bool // a preview is asked for
	resume   bool // a stopped one is to go on
}

// previewPatience is how long, in real time, who submits waits to see the preview; a long one goes on without them.
const previewPatience = 10 * time.Second

func (c *correction) setup(ctx workflow.Context) error {
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateSubmit, c.submit, workflow.UpdateHandlerOptions{Validator: c.maySubmit}); err != nil {
		return err
	}
	for _, u := range []struct {
		name               string
		handler, validator any
	}{
		{UpdateApprove, c.approve, c.mayApprove},
		{UpdateReject, c.end, c.mayReject},
		{UpdateWithdraw, c.end, c.mayWithdraw},
		{UpdatePreview, c.again, c.mayPreview},
		{UpdateResume, c.goOn, c.mayResume},
	} {
		if err := workflow.SetUpdateHandlerWithOptions(ctx, u.name, u.handler, workflow.UpdateHandlerOptions{Validator: u.validator}); err != nil {
			return err
		}
	}
	return nil
}

func (c *correction) run(ctx workflow.Context) error {
	// Whoever started it submits in the next call; one that died in between leaves nothing behind.
	if _, err := workflow.AwaitWithTimeout(ctx, entryPatience, func() bool { return c.refused || c.facts.CorrectionID != "" }); err != nil {
		return err
	}
	if c.facts.CorrectionID == c.in.CorrectionID {
		if err := c.process(ctx); err != nil {
			return err
		}
	}
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

// process does what the state asks for, until nothing more will happen.
func (c *correction) process(ctx workflow.Context) error {
	for !c.facts.State.Final() {
		switch {
		case c.facts.State == billing.CorrectionDrafted || c.preview:
			if err := c.show(ctx); err != nil {
				return err
			}
		case c.facts.State == billing.CorrectionApproved || c.facts.State == billing.CorrectionApplying || c.resume:
			if err := c.apply(ctx); err != nil {
				return err
			}
		default:
			ready := func() bool {
				return c.preview || c.resume || c.facts.State == billing.CorrectionApproved || c.facts.State.Final()
			}
			if err := workflow.Await(ctx, ready); err != nil {
				return err
			}
		}
	}
	return nil
}

// show computes the preview.
func (c *correction) show(ctx workflow.Context) error {
	if err := c.deciding.Lock(ctx); err != nil {
		return err
	}
	defer c.deciding.Unlock()
	c.preview = false
	if c.facts.State.Final() {
		return nil
	}
	return workflow.ExecuteActivity(withBatch(ctx), correcting.PreviewCorrection, c.in).Get(ctx, &c.facts)
}

// apply corrects the bills, step by step, and starts what the new balances bring about. It ends applied or stopped.
func (c *correction) apply(ctx workflow.Context) error {
	if err := c.deciding.Lock(ctx); err != nil {
		return err
	}
	defer c.deciding.Unlock()
	c.resume = false
	c.facts.State = billing.CorrectionApplying
	for step := (activities.CorrectionStep{More: true}); step.More; {
		if err := workflow.ExecuteActivity(withBatch(ctx), correcting.ApplyCorrection, c.in).Get(ctx, &step); err != nil {
			return err
		}
		if err := c.follow(ctx); err != nil {
			return err
		}
	}
	return workflow.ExecuteActivity(withStore(ctx), correcting.DescribeCorrection, c.in).Get(ctx, &c.facts)
}

// follow takes up what the corrected balances brought about.
func (c *correction) follow(ctx workflow.Context) error {
	var f activities.CreditFollows
	if err := workflow.ExecuteActivity(withStore(ctx), correcting.FollowCorrection, c.in).Get(ctx, &f); err != nil {
		return err
	}
	return takeUp(ctx, f, c.in)
}

// takeUp gives supply back first, wakes those who waited for money, and then tells the customers.
func takeUp(ctx workflow.Context, f activities.CreditFollows, why any) error {
	if err := startFollowers(ctx, kindRestore, f.Restores); err != nil {
		return err
	}
	for _, id := range f.Reminders {
		signalIfRunning(ctx, ReminderWorkflowID(id), SignalPaymentSettled, why)
	}
	for _, id := range f.Cutoffs {
		signalIfRunning(ctx, CutoffWorkflowID(id), SignalPaymentSettled, why)
	}
	for _, id := range f.Messages {
		if err := sendMessage(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (c *correction) maySubmit(_ workflow.Context, in activities.SubmitCorrection) error {
	switch {
	case in.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to make a correction")
	case strings.TrimSpace(in.Reason) == "":
		return refuse(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	return nil
}

// submit takes the draft in and waits a little for its preview. A refusal ends the workflow, so that the form can be sent again.
func (c *correction) submit(ctx workflow.Context, in activities.SubmitCorrection) (activities.CorrectionFacts, error) {
	in.CorrectionID = c.in.CorrectionID
	var out activities.CorrectionFacts
	if err := workflow.ExecuteActivity(withStore(ctx), correcting.DraftCorrection, in).Get(ctx, &out); err != nil {
		c.refused = c.facts.CorrectionID == ""
		return out, err
	}
	if c.facts.CorrectionID == "" {
		c.facts = out
	}
	if out.CorrectionID != c.in.CorrectionID {
		return out, nil // a repeat of a request that another correction answers
	}
	_, err := workflow.AwaitWithTimeout(ctx, previewPatience, func() bool { return c.facts.State != billing.CorrectionDrafted })
	return c.facts, err
}

func (c *correction) closed() error {
	return refuse(billing.CodeClosed, "correction "+string(c.in.CorrectionID)+" is "+strings.ReplaceAll(string(c.facts.State), "_", " ")+": nothing was changed")
}

func (c *correction) awaitsApproval() bool {
	return !c.preview && (c.facts.State == billing.CorrectionPreviewed || c.facts.State == billing.CorrectionApprovedOnce)
}

func (c *correction) mayApprove(_ workflow.Context, d activities.CorrectionDecision) error {
	switch {
	case !c.awaitsApproval():
		return c.closed()
	case d.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to approve a correction")
	case d.By == c.facts.DraftedBy:
		return refuse(billing.CodeSelfApproval, "you made this correction: another person must approve it")
	case d.By == c.facts.Approved1:
		return refuse(billing.CodeAlreadyApproved, "you have approved this correction already: another person must give the second approval")
	case d.Digest != c.facts.Digest:
		return refuse(billing.CodeStale, "correction "+string(c.in.CorrectionID)+" was previewed again since you opened it: look at the new preview, then approve")
	}
	return nil
}

func (c *correction) mayReject(_ workflow.Context, d activities.CorrectionDecision) error {
	if d.By != "" && d.By == c.facts.DraftedBy {
		return refuse(billing.CodeSelfApproval, "you made this correction: withdraw it instead")
	}
	return c.mayEnd(d)
}

func (c *correction) mayWithdraw(_ workflow.Context, d activities.CorrectionDecision) error {
	if d.By != c.facts.DraftedBy {
		return refuse(billing.CodeForbidden, "only its maker may withdraw a correction: reject it instead")
	}
	return c.mayEnd(d)
}

func (c *correction) mayEnd(d activities.CorrectionDecision) error {
	switch {
	case c.facts.CorrectionID == "" || c.facts.State.Final() || c.facts.State == billing.CorrectionApplying || c.facts.State == billing.CorrectionApproved:
		return c.closed()
	case c.facts.Started:
		return refuse(billing.CodeBlocked, "correction "+string(c.in.CorrectionID)+" is applied in part: resume it, or preview the rest again and have it approved")
	case d.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to decide on a correction")
	case strings.TrimSpace(d.Reason) == "":
		return refuse(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	return nil
}

func (c *correction) mayPreview(_ workflow.Context, d activities.CorrectionDecision) error {
	if d.By == "" {
		return refuse(billing.CodeUnauthenticated, "sign in to have a correction previewed again")
	}
	if !c.awaitsApproval() && c.facts.State != billing.CorrectionStopped {
		return c.closed()
	}
	return nil
}

func (c *correction) mayResume(_ workflow.Context, d activities.CorrectionDecision) error {
	if d.By == "" {
		return refuse(billing.CodeUnauthenticated, "sign in to resume a correction")
	}
	if c.facts.State != billing.CorrectionStopped || c.preview || c.resume {
		return c.closed()
	}
	return nil
}

// decide takes one decision at a time and asks again whether it is still allowed when its turn has come.
func (c *correction) decide(ctx workflow.Context, may func() error, do func(workflow.Context) error) (activities.CorrectionFacts, error) {
	if err := c.deciding.Lock(ctx); err != nil {
		return c.facts, err
	}
	defer c.deciding.Unlock()
	if err := may(); err != nil {
		return c.facts, err
	}
	err := do(ctx)
	return c.facts, err
}

func (c *correction) approve(ctx workflow.Context, d activities.CorrectionDecision) (activities.CorrectionFacts, error) {
	d.CorrectionID = c.in.CorrectionID
	return c.decide(ctx, func() error { return c.mayApprove(ctx, d) }, func(ctx workflow.Context) error {
		if d.Number = 1; c.facts.State == billing.CorrectionApprovedOnce {
			d.Number = 2
		}
		return workflow.ExecuteActivity(withBatch(ctx), correcting.ApproveCorrection, d).Get(ctx, &c.facts)
	})
}

func (c *correction) end(ctx workflow.Context, d activities.CorrectionDecision) (activities.CorrectionFacts, error) {
	d.CorrectionID = c.in.CorrectionID
	return c.decide(ctx, func() error { return c.mayEnd(d) }, func(ctx workflow.Context) error {
		return workflow.ExecuteActivity(withStore(ctx), correcting.RejectCorrection, d).Get(ctx, &c.facts)
	})
}

// again has the preview, or that of the rest, computed anew.
func (c *correction) again(ctx workflow.Context, d activities.CorrectionDecision) (activities.CorrectionFacts, error) {
	d.CorrectionID = c.in.CorrectionID
	facts, err := c.decide(ctx, func() error { return c.mayPreview(ctx, d) }, func(ctx workflow.Context) error {
		if err := workflow.ExecuteActivity(withStore(ctx), correcting.MaySteerCorrection, d).Get(ctx, nil); err != nil {
			return err
		}
		c.preview = true
		return nil
	})
	if err != nil {
		return facts, err
	}
	_, err = workflow.AwaitWithTimeout(ctx, previewPatience, func() bool { return !c.preview && c.facts.State != billing.CorrectionDrafted })
	return c.facts, err
}

func (c *correction) goOn(ctx workflow.Context, d activities.CorrectionDecision) (activities.CorrectionFacts, error) {
	d.CorrectionID = c.in.CorrectionID
	return c.decide(ctx, func() error { return c.mayResume(ctx, d) }, func(ctx workflow.Context) error {
		if err := workflow.ExecuteActivity(withStore(ctx), correcting.MaySteerCorrection, d).Get(ctx, nil); err != nil {
			return err
		}
		c.resume = true
		return nil
	})
}

// SubmitCorrection is what a supervisor drafts; the activities' own type, under a name of this package.
type SubmitCorrection = activities.SubmitCorrection

// CorrectionFacts is a correction as its workflow knows it.
type CorrectionFacts = activities.CorrectionFacts

// SubmitCorrection takes in a draft and gives the correction as it stands, mostly previewed: of a repeated request (the same key), the
// first one. The caller reserves in.CorrectionID with store.NextCorrectionID.
func (c *Client) SubmitCorrection(ctx context.Context, in SubmitCorrection) (CorrectionFacts, error) {
	var out CorrectionFacts
	id := CorrectionWorkflowID(in.CorrectionID)
	if _, err := c.startAgain(ctx, id, 0, Correction, activities.CorrectionRef{CorrectionID: in.CorrectionID}); err != nil {
		return out, fromTemporal(err)
	}
	return out, c.update(ctx, id, UpdateSubmit, "", in, &out)
}

// ApproveCorrection agrees to the preview with the given digest. The nonce makes a double click one approval.
func (c *Client) ApproveCorrection(ctx context.Context, id billing.CorrectionID, by billing.UserID, digest, nonce string) error {
	return c.update(ctx, CorrectionWorkflowID(id), UpdateApprove, nonce, activities.CorrectionDecision{By: by, Digest: digest}, nil)
}

// RejectCorrection ends a correction that another made.
func (c *Client) RejectCorrection(ctx context.Context, id billing.CorrectionID, by billing.UserID, reason string) error {
	return c.update(ctx, CorrectionWorkflowID(id), UpdateReject, "", activities.CorrectionDecision{By: by, Reason: reason}, nil)
}

// WithdrawCorrection ends one's own correction.
func (c *Client) WithdrawCorrection(ctx context.Context, id billing.CorrectionID, by billing.UserID, reason string) error {
	return c.update(ctx, CorrectionWorkflowID(id), UpdateWithdraw, "", activities.CorrectionDecision{By: by, Reason: reason}, nil)
}

// PreviewCorrection has the preview computed anew, of a stopped correction that of the rest.
func (c *Client) PreviewCorrection(ctx context.Context, id billing.CorrectionID, by billing.UserID) error {
	return c.update(ctx, CorrectionWorkflowID(id), UpdatePreview, "", activities.CorrectionDecision{By: by}, nil)
}

// ResumeCorrection lets a stopped correction go on.
func (c *Client) ResumeCorrection(ctx context.Context, id billing.CorrectionID, by billing.UserID) error {
	return c.update(ctx, CorrectionWorkflowID(id), UpdateResume, "", activities.CorrectionDecision{By: by}, nil)
}
