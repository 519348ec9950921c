package workflows

import (
	"context"
	"errors"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// Recharge takes a payment from the clerk's entry through two approvals to the customer's credit: in the ledger at once for platform
// credit, through the meter and its read-back for meter credit. It begins with the Update Enter, and takes up a recharge
// where the tables say it stands.
func Recharge(ctx workflow.Context, in activities.RechargeRef) error {
	r := recharge{in: in, deciding: workflow.NewMutex(ctx)}
	if err := r.setup(ctx); err != nil {
		return err
	}
	return r.run(ctx)
}

type recharge struct {
	in       activities.RechargeRef
	facts    activities.RechargeEntered
	deciding workflow.Mutex
	refused  bool // nothing was entered
	told     bool // a person has settled the doubt
}

// How often a delivery in doubt is read back, and one that couldn't be sent is tried again. Business time.
const (
	readBackEvery = time.Hour
	tryLineEvery  = 15 * time.Minute
)

// entryPatience is how long, in real time, a started workflow waits for its entry.
const entryPatience = 10 * time.Minute

// DecideRecharge is a clerk's approval or rejection.
type DecideRecharge struct {
	By     billing.UserID
	Reason string
}

func (r *recharge) setup(ctx workflow.Context) error {
	workflow.Go(ctx, func(ctx workflow.Context) {
		settled := workflow.GetSignalChannel(ctx, SignalDoubtSettled)
		for {
			settled.Receive(ctx, nil)
			r.told = true
		}
	})
	if err := workflow.SetUpdateHandler(ctx, UpdateEnter, r.enter); err != nil {
		return err
	}
	err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateApprove, r.approve, workflow.UpdateHandlerOptions{Validator: r.mayApprove})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateReject, r.reject, workflow.UpdateHandlerOptions{Validator: r.mayReject})
}

func (r *recharge) run(ctx workflow.Context) error {
	// Whoever started it enters the recharge in the next call; one that died in between leaves nothing behind.
	if _, err := workflow.AwaitWithTimeout(ctx, entryPatience, func() bool { return r.refused || r.facts.RechargeID != "" }); err != nil {
		return err
	}
	if err := r.process(ctx); err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

func (r *recharge) process(ctx workflow.Context) error {
	if r.facts.RechargeID != r.in.RechargeID {
		return nil // refused, or a repeat of a request that another recharge answers
	}
	if err := r.awaitApprovals(ctx); err != nil {
		return err
	}
	if r.facts.State == billing.RechargeRejected || r.facts.State == billing.RechargeExpired {
		return nil
	}
	settled, err := r.post(ctx)
	if err != nil {
		return err
	}
	return r.tell(ctx, settled)
}

// enter takes the recharge in. A refusal ends the workflow, so that the same form can be sent again.
func (r *recharge) enter(ctx workflow.Context, in activities.EnterRecharge) (activities.RechargeEntered, error) {
	in.RechargeID = r.in.RechargeID
	var out activities.RechargeEntered
	err := workflow.ExecuteActivity(withStore(ctx), posting.EnterRecharge, in).Get(ctx, &out)
	if err != nil {
		r.refused = r.facts.RechargeID == ""
		return out, err
	}
	if r.facts.RechargeID == "" {
		r.facts = out
	}
	return out, nil
}

// open says that the recharge still waits for approvals.
func (r *recharge) open() bool {
	return r.facts.State == billing.RechargeEntered || r.facts.State == billing.RechargeApprovedOnce
}

func (r *recharge) mayApprove(_ workflow.Context, d DecideRecharge) error {
	switch {
	case !r.open():
		return r.closed()
	case d.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to approve a recharge")
	case d.By == r.facts.EnteredBy:
		return refuse(billing.CodeSelfApproval, "you entered this recharge: two other clerks must approve it")
	case d.By == r.facts.Approved1:
		return refuse(billing.CodeAlreadyApproved, "you have approved this recharge already: another clerk must give the second approval")
	}
	return nil
}

func (r *recharge) mayReject(_ workflow.Context, d DecideRecharge) error {
	switch {
	case !r.open():
		return r.closed()
	case d.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to reject a recharge")
	case strings.TrimSpace(d.Reason) == "":
		return refuse(billing.CodeInvalidInput, "say why the recharge is rejected")
	}
	return nil
}

func (r *recharge) closed() error {
	return refuse(billing.CodeClosed, "this recharge is "+strings.ReplaceAll(string(r.facts.State), "_", " ")+" already: nothing was changed")
}

// approve records one approval. Two that come at the same time are taken one after the other, each on what the other left.
func (r *recharge) approve(ctx workflow.Context, d DecideRecharge) (activities.RechargeEntered, error) {
	if err := r.deciding.Lock(ctx); err != nil {
		return r.facts, err
	}
	defer r.deciding.Unlock()
	if err := r.mayApprove(ctx, d); err != nil {
		return r.facts, err
	}
	number := 1
	if r.facts.State == billing.RechargeApprovedOnce {
		number = 2
	}
	return r.decide(ctx, posting.ApproveRecharge, activities.RechargeDecision{RechargeID: r.in.RechargeID, By: d.By, Number: number, Reason: d.Reason})
}

func (r *recharge) reject(ctx workflow.Context, d DecideRecharge) (activities.RechargeEntered, error) {
	if err := r.deciding.Lock(ctx); err != nil {
		return r.facts, err
	}
	defer r.deciding.Unlock()
	if err := r.mayReject(ctx, d); err != nil {
		return r.facts, err
	}
	return r.decide(ctx, posting.RejectRecharge, activities.RechargeDecision{RechargeID: r.in.RechargeID, By: d.By, Reason: d.Reason})
}

func (r *recharge) decide(ctx workflow.Context, activity any, in activities.RechargeDecision) (activities.RechargeEntered, error) {
	var out activities.RechargeEntered
	if err := workflow.ExecuteActivity(withStore(ctx), activity, in).Get(ctx, &out); err != nil {
		return r.facts, err
	}
	r.facts = out
	return out, nil
}

func (r *recharge) awaitApprovals(ctx workflow.Context) error {
	if !r.open() {
		return nil
	}
	late, err := waitUntil(ctx, "expiry", r.facts.ExpiresAt, func() bool { return !r.open() })
	if err != nil || !late {
		return err
	}
	if err := r.deciding.Lock(ctx); err != nil {
		return err
	}
	defer r.deciding.Unlock()
	var out activities.RechargeEntered
	if err := workflow.ExecuteActivity(withStore(ctx), posting.ExpireRecharge, r.in).Get(ctx, &out); err != nil {
		return err
	}
	r.facts = out // one that was approved in the last moment goes on
	return nil
}

// post books the money and brings it to the customer's credit, however long the meter takes to prove it.
func (r *recharge) post(ctx workflow.Context) (activities.Settled, error) {
	var s activities.Settled
	err := workflow.ExecuteActivity(withStore(ctx), posting.PostRecharge, r.in).Get(ctx, &s)
	if err != nil {
		return s, err
	}
	for !s.State.Final() {
		r.told = false
		if err := onLine(ctx, r.facts.Account, delivery.DeliverRecharge, r.in, &s); err != nil {
			return s, err
		}
		if err := r.review(ctx, s); err != nil {
			return s, err
		}
		if err := r.pause(ctx, s); err != nil {
			return s, err
		}
	}
	return s, nil
}

// review opens or closes the case of a doubt.
func (r *recharge) review(ctx workflow.Context, s activities.Settled) error {
	if s.Case == "" {
		return nil
	}
	if s.State == billing.RechargeInDoubt {
		return startAbandoned(ctx, CaseWorkflowID(s.Case), ExceptionReview, activities.CaseRef{CaseID: s.Case})
	}
	signalIfRunning(ctx, CaseWorkflowID(s.Case), SignalDoubtSettled, activities.CaseRef{CaseID: s.Case})
	return nil
}

// pause waits before the next read-back or attempt; a refused delivery is made again at once, as often as the store allows.
func (r *recharge) pause(ctx workflow.Context, s activities.Settled) error {
	every := readBackEvery
	switch {
	case s.State.Final() || s.State == billing.RechargeDelivering && !s.Later:
		return nil
	case s.Later:
		every = tryLineEvery
	}
	now, err := businessNow(ctx)
	if err != nil {
		return err
	}
	_, err = waitUntil(ctx, "read_back", now.Add(every), func() bool { return r.told })
	return err
}

// tell starts what the payment has made due: first the customer in the dark, then whoever waited for the money, then the message.
func (r *recharge) tell(ctx workflow.Context, s activities.Settled) error {
	if s.Restore != "" {
		if err := startAbandoned(ctx, RestoreWorkflowID(s.Restore), Restore, activities.RestoreRef{RestoreID: s.Restore}); err != nil {
			return err
		}
	}
	if s.Reminder != "" {
		signalIfRunning(ctx, ReminderWorkflowID(s.Reminder), SignalPaymentSettled, r.in)
	}
	if s.Cutoff != "" {
		signalIfRunning(ctx, CutoffWorkflowID(s.Cutoff), SignalPaymentSettled, r.in)
	}
	return sendMessage(ctx, s.Message)
}

// sendMessage hands a queued message to the provider; none is fine.
func sendMessage(ctx workflow.Context, id billing.MessageID) error {
	if id == "" {
		return nil
	}
	return workflow.ExecuteActivity(withMessages(ctx), messaging.SendMessage, activities.MessageRef{MessageID: id}).Get(ctx, nil)
}

// onLine runs an activity on whoever owns the line of an account's meter now. An owner that is gone is replaced by the next; a refusal
// comes back.
func onLine(ctx workflow.Context, account billing.AccountID, activity, in, out any) error {
	return onLineWith(ctx, withCommand, account, activity, in, out)
}

// onLineWith is onLine with the slots that the activity takes.
func onLineWith(ctx workflow.Context, slots func(workflow.Context, string) workflow.Context, account billing.AccountID, activity, in, out any) error {
	for tries := 0; ; tries++ {
		var gateway billing.GatewayID
		if err := workflow.ExecuteActivity(withStore(ctx), switching.FindLine, activities.AccountRef{Account: account}).Get(ctx, &gateway); err != nil {
			return err
		}
		holder, err := lineHolder(ctx, gateway)
		if err != nil {
			return err
		}
		err = workflow.ExecuteActivity(slots(ctx, holder), activity, in).Get(ctx, out)
		var refusal *temporal.ApplicationError
		if err == nil || temporal.IsCanceledError(err) || errors.As(err, &refusal) && refusal.NonRetryable() && !moved(err) {
			return err
		}
		workflow.GetLogger(ctx).Warn("the line's owner didn't finish a step", "account", account, "holder", holder, "error", err)
		if err := workflow.Sleep(ctx, tryPause(tries)); err != nil {
			return err
		}
	}
}

// EnterRecharge takes in what a clerk entered and gives the recharge as it stands: of a repeated request (the same key), the first one.
// The caller reserves in.RechargeID with store.NextRechargeID.
func (c *Client) EnterRecharge(ctx context.Context, in activities.EnterRecharge) (activities.RechargeEntered, error) {
	var out activities.RechargeEntered
	id := RechargeWorkflowID(in.RechargeID)
	if _, err := c.startAgain(ctx, id, 0, Recharge, activities.RechargeRef{RechargeID: in.RechargeID}); err != nil {
		return out, fromTemporal(err)
	}
	return out, c.update(ctx, id, UpdateEnter, "", in, &out)
}

// startAgain joins the run of an id, or starts one, even after an earlier one has ended: for work whose repeat the database answers
// with the first result. patience bounds the run in real time; zero doesn't.
func (c *Client) startAgain(ctx context.Context, id string, patience time.Duration, wf, in any) (running, error) {
	o := startOptions(id)
	o.WorkflowIDConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
	o.WorkflowIDReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	o.WorkflowExecutionErrorWhenAlreadyStarted = false
	o.WorkflowExecutionTimeout = patience
	return c.T.ExecuteWorkflow(ctx, o, wf, in)
}

// running is a started workflow.
type running interface {
	Get(ctx context.Context, result any) error
}

// ProviderReceipt is what a message provider says of a message; the activities' own type, under a name of this package.
type ProviderReceipt = activities.Receipt

// ApproveRecharge gives one approval. The nonce makes a double click one approval.
func (c *Client) ApproveRecharge(ctx context.Context, id billing.RechargeID, by billing.UserID, nonce string) error {
	return c.update(ctx, RechargeWorkflowID(id), UpdateApprove, nonce, DecideRecharge{By: by}, nil)
}

// RejectRecharge ends a recharge that isn't approved yet.
func (c *Client) RejectRecharge(ctx context.Context, id billing.RechargeID, by billing.UserID, reason string) error {
	return c.update(ctx, RechargeWorkflowID(id), UpdateReject, "", DecideRecharge{By: by, Reason: reason}, nil)
}
