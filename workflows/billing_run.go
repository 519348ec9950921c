package workflows

import (
	"context"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// BillingRun makes all bills of a site and period: it waits for the doubts that block, rates in batches, and posts what two
// supervisors, one after the other, have signed.
func BillingRun(ctx workflow.Context, in activities.RunStart) error {
	r := billingRun{in: in}
	if err := r.setup(ctx); err != nil {
		return err
	}
	return r.run(ctx)
}

type billingRun struct {
	in       activities.RunStart
	opened   activities.RunOpened
	state    billing.RunState
	verifier billing.UserID
	approved bool // the second signature is there
	chunked  bool // in chunks; false only for runs that were opened before there were any
	chunks   int
	signing  workflow.Mutex
}

// blockedRetry is the business time after which a blocked run looks again by itself.
const blockedRetry = time.Hour

func (r *billingRun) setup(ctx workflow.Context) error {
	r.signing = workflow.NewMutex(ctx)
	r.state = billing.RunRating
	for _, u := range []struct {
		name               string
		handler, validator any
	}{
		{UpdateVerify, r.verify, r.mayVerify},
		{UpdateIssue, r.issue, r.mayIssue},
		{UpdateHoldBill, r.holdBill, r.mayChangeBill},
		{UpdateReleaseBill, r.releaseBill, r.mayChangeBill},
		{UpdateCancelRun, r.cancel, r.mayCancel},
	} {
		if err := workflow.SetUpdateHandlerWithOptions(ctx, u.name, u.handler, workflow.UpdateHandlerOptions{Validator: u.validator}); err != nil {
			return err
		}
	}
	return workflow.ExecuteActivity(withStore(ctx), bills.OpenRun, r.in).Get(ctx, &r.opened)
}

func (r *billingRun) ref() activities.RunRef { return activities.RunRef{RunID: r.in.RunID} }

func (r *billingRun) run(ctx workflow.Context) error {
	if err := r.waitForCases(ctx); err != nil {
		return err
	}
	if err := r.rate(ctx); err != nil {
		return err
	}
	if err := workflow.Await(ctx, func() bool { return r.approved || r.cancelled() }); err != nil {
		return err
	}
	var err error
	if r.cancelled() {
		err = r.eachChunk(ctx, ChunkCancel)
	} else if err = r.post(ctx); err == nil {
		r.state = billing.RunIssued
	}
	if err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

// rate rates all accounts and hands the control totals to the supervisors. A run that is cancelled meanwhile ends where it is.
func (r *billingRun) rate(ctx workflow.Context) error {
	if r.cancelled() {
		return nil
	}
	if r.chunked = inChunks(ctx); !r.chunked {
		if err := workflow.ExecuteActivity(withBatch(ctx), bills.RateBills, r.ref()).Get(ctx, nil); err != nil {
			return err
		}
	} else if err := r.eachChunk(ctx, ChunkRate); err != nil {
		return err
	}
	if err := workflow.ExecuteActivity(withStore(ctx), bills.SumRun, r.ref()).Get(ctx, nil); err != nil || r.cancelled() {
		return err
	}
	r.state = billing.RunAwaitingVerification
	return nil
}

// post posts what two supervisors have signed.
func (r *billingRun) post(ctx workflow.Context) error {
	if !r.chunked {
		return workflow.ExecuteActivity(withBatch(ctx), bills.IssueBills, r.ref()).Get(ctx, nil)
	}
	if err := r.eachChunk(ctx, ChunkIssue); err != nil {
		return err
	}
	return workflow.ExecuteActivity(withStore(ctx), bills.FinishIssue, r.ref()).Get(ctx, nil)
}

// cancelled says that a supervisor gave the run up.
func (r *billingRun) cancelled() bool { return r.state == billing.RunCancelled }

// waitForCases holds the run while open cases doubt its readings. After the time that the site's policy gives it goes on, and the
// accounts in doubt get held bills.
func (r *billingRun) waitForCases(ctx workflow.Context) error {
	deadline := r.opened.OpenedAt.Add(r.opened.HoldAfter)
	resolved := workflow.GetSignalChannel(ctx, SignalCaseResolved)
	for giveUp := false; ; {
		var blocked activities.Blocked
		check := activities.CheckBlocking{RunID: r.in.RunID, GiveUp: giveUp}
		if err := workflow.ExecuteActivity(withStore(ctx), bills.CheckBlocking, check).Get(ctx, &blocked); err != nil {
			return err
		}
		if blocked.Cases == 0 || r.cancelled() {
			return nil
		}
		now, err := businessNow(ctx)
		if err != nil {
			return err
		}
		due := now.Add(blockedRetry)
		if due.After(deadline) {
			due = deadline
		}
		reached, err := waitUntil(ctx, "cases", due, func() bool { return resolved.Len() > 0 || r.cancelled() })
		if err != nil {
			return err
		}
		giveUp = reached && !due.Before(deadline)
		for resolved.ReceiveAsync(nil) {
			// Several cases are one reason to look.
		}
	}
}

func (r *billingRun) mayVerify(_ workflow.Context, d activities.RunDecision) error {
	switch {
	case r.state == billing.RunVerified && r.verifier == d.By:
		return nil // a double click: the answer is the same
	case r.state != billing.RunAwaitingVerification:
		return refuse(billing.CodeClosed, "this run does not wait for verification: it is "+string(r.state))
	}
	return nil
}

func (r *billingRun) verify(ctx workflow.Context, d activities.RunDecision) error {
	return r.sign(ctx, func() error { return r.mayVerify(ctx, d) }, func(ctx workflow.Context) error {
		d.RunID = r.in.RunID
		if err := workflow.ExecuteActivity(withStore(ctx), bills.VerifyRun, d).Get(ctx, nil); err != nil {
			return err
		}
		r.state, r.verifier = billing.RunVerified, d.By
		return nil
	})
}

func (r *billingRun) mayIssue(_ workflow.Context, d activities.RunDecision) error {
	switch {
	case r.approved || r.state == billing.RunIssued:
		return refuse(billing.CodeClosed, "this run is issued already")
	case r.cancelled():
		return refuse(billing.CodeClosed, "this run is cancelled")
	case r.state != billing.RunVerified:
		return refuse(billing.CodeBlocked, "this run is not verified yet: a supervisor verifies it first")
	case r.verifier == d.By:
		return refuse(billing.CodeSelfApproval, "you verified this run: another supervisor must issue it")
	}
	return nil
}

func (r *billingRun) issue(ctx workflow.Context, d activities.RunDecision) error {
	return r.sign(ctx, func() error { return r.mayIssue(ctx, d) }, func(ctx workflow.Context) error {
		d.RunID = r.in.RunID
		if err := workflow.ExecuteActivity(withStore(ctx), bills.ApproveIssue, d).Get(ctx, nil); err != nil {
			if billing.CodeOf(fromTemporal(err)) == billing.CodeStale {
				r.state, r.verifier = billing.RunAwaitingVerification, "" // bills went back: what was verified has changed
			}
			return err
		}
		r.approved = true
		return nil
	})
}

func (r *billingRun) mayChangeBill(_ workflow.Context, d activities.BillDecision) error {
	switch {
	case strings.TrimSpace(d.Reason) == "":
		return refuse(billing.CodeInvalidInput, "a reason is needed: say why the bill is held or released")
	case r.approved || (r.state != billing.RunAwaitingVerification && r.state != billing.RunVerified):
		return refuse(billing.CodeClosed, "bills are held or released after rating and before the run is issued")
	}
	return nil
}

func (r *billingRun) holdBill(ctx workflow.Context, d activities.BillDecision) error {
	return r.changeBill(ctx, d, bills.HoldBill)
}

func (r *billingRun) releaseBill(ctx workflow.Context, d activities.BillDecision) error {
	return r.changeBill(ctx, d, bills.ReleaseBill)
}

func (r *billingRun) mayCancel(_ workflow.Context, d activities.RunCancel) error {
	switch {
	case strings.TrimSpace(d.Reason) == "":
		return refuse(billing.CodeInvalidInput, "a reason is needed: say why the run is cancelled")
	case r.cancelled():
		return refuse(billing.CodeClosed, "this run is cancelled already")
	case r.approved || r.state == billing.RunIssued:
		return refuse(billing.CodeClosed, "this run is approved for issue: its bills can only be reversed, one by one")
	}
	return nil
}

// cancel gives the run up before it is issued, at any time. The bills are cancelled after it.
func (r *billingRun) cancel(ctx workflow.Context, d activities.RunCancel) error {
	return r.sign(ctx, func() error { return r.mayCancel(ctx, d) }, func(ctx workflow.Context) error {
		d.RunID = r.in.RunID
		if err := workflow.ExecuteActivity(withStore(ctx), bills.CancelRun, d).Get(ctx, nil); err != nil {
			return err
		}
		r.state = billing.RunCancelled
		return nil
	})
}

// changeBill holds or releases a bill; a verification is void with it, because what was verified has changed.
func (r *billingRun) changeBill(ctx workflow.Context, d activities.BillDecision, activity any) error {
	return r.sign(ctx, func() error { return r.mayChangeBill(ctx, d) }, func(ctx workflow.Context) error {
		d.RunID = r.in.RunID
		if err := workflow.ExecuteActivity(withStore(ctx), activity, d).Get(ctx, nil); err != nil {
			return err
		}
		r.state, r.verifier = billing.RunAwaitingVerification, ""
		return nil
	})
}

// sign takes one decision at a time and asks again whether it is still allowed when its turn has come.
func (r *billingRun) sign(ctx workflow.Context, may func() error, do func(workflow.Context) error) error {
	if err := r.signing.Lock(ctx); err != nil {
		return err
	}
	defer r.signing.Unlock()
	if err := may(); err != nil {
		return err
	}
	return do(ctx)
}

// StartRun starts a run that a supervisor asks for; the store's NextRun gives its number and version.
func (c *Client) StartRun(ctx context.Context, id billing.RunID, site billing.SiteID, p billing.Period, version int, by billing.UserID) error {
	return c.start(ctx, RunWorkflowID(id), BillingRun, activities.RunStart{RunID: id, Site: site, Period: p, Version: version, By: by})
}

// VerifyRun gives the first signature under a run.
func (c *Client) VerifyRun(ctx context.Context, id billing.RunID, by billing.UserID) error {
	return runEnded(id, c.update(ctx, RunWorkflowID(id), UpdateVerify, "", activities.RunDecision{RunID: id, By: by}, nil))
}

// IssueRun gives the second signature, by another supervisor; the bills are posted after it.
func (c *Client) IssueRun(ctx context.Context, id billing.RunID, by billing.UserID) error {
	return runEnded(id, c.update(ctx, RunWorkflowID(id), UpdateIssue, "", activities.RunDecision{RunID: id, By: by}, nil))
}

// CancelRun gives a run up that isn't approved for issue.
func (c *Client) CancelRun(ctx context.Context, id billing.RunID, by billing.UserID, reason string) error {
	return runEnded(id, c.update(ctx, RunWorkflowID(id), UpdateCancelRun, "", activities.RunCancel{RunID: id, By: by, Reason: reason}, nil))
}

// runEnded names the run whose workflow has ended, and the way that is left.
func runEnded(id billing.RunID, err error) error {
	if billing.CodeOf(err) == billing.CodeClosed && billing.MessageOf(err) == gone {
		return billing.Errorf(billing.CodeClosed, "run %s is issued or cancelled already: nothing was changed; what is wrong on an issued bill is put right by a correction", id)
	}
	return err
}

// HoldBills keeps bills out of a run: all of them, or none when one is refused.
func (c *Client) HoldBills(ctx context.Context, run billing.RunID, bills []billing.BillID, by billing.UserID, reason string) error {
	return c.changeBills(ctx, UpdateHoldBill, run, bills, by, reason)
}

// ReleaseBills rates held bills again and puts them back into their run: all of them, or none when one is refused.
func (c *Client) ReleaseBills(ctx context.Context, run billing.RunID, bills []billing.BillID, by billing.UserID, reason string) error {
	return c.changeBills(ctx, UpdateReleaseBill, run, bills, by, reason)
}

func (c *Client) changeBills(ctx context.Context, update string, run billing.RunID, bills []billing.BillID, by billing.UserID, reason string) error {
	if len(bills) == 0 {
		return billing.Errorf(billing.CodeInvalidInput, "choose at least one bill")
	}
	d := activities.BillDecision{RunID: run, BillID: bills[0], More: bills[1:], By: by, Reason: reason}
	return runEnded(run, c.update(ctx, RunWorkflowID(run), update, "", d, nil))
}
