package workflows

import (
	"context"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// ArrearsReminder warns a customer who runs low, level by level as the balance falls, each notice with its delivery receipt, and hands
// the case to Cutoff when the final one was delivered. A payment ends it at once.
func ArrearsReminder(ctx workflow.Context, in activities.ReminderRef) error {
	r := arrears{in: in, receipts: map[billing.MessageID]billing.MessageState{}}
	r.setup(ctx)
	return r.run(ctx)
}

type arrears struct {
	in       activities.ReminderRef
	state    activities.ReminderState
	noticed  billing.ReminderState // the highest level whose notice was delivered
	guarded  bool
	told     bool // a payment has settled or the balance has fallen: read the case again
	receipts map[billing.MessageID]billing.MessageState
}

// How often the guard of a meter is tried, in business time, before the notices go out all the same; and how often a notice is sent
// before somebody must look after the phone number.
const (
	guardEvery  = 30 * time.Minute
	guardTries  = 4
	noticeTries = 5
)

func (r *arrears) setup(ctx workflow.Context) {
	listen(ctx, SignalPaymentSettled, &r.told)
	listen(ctx, SignalBalanceFell, &r.told)
	workflow.Go(ctx, func(ctx workflow.Context) {
		delivered := workflow.GetSignalChannel(ctx, SignalMessageDelivered)
		for {
			var fact activities.ReceiptRecorded
			delivered.Receive(ctx, &fact)
			r.receipts[fact.MessageID] = fact.State
		}
	})
}

func (r *arrears) run(ctx workflow.Context) error {
	for {
		if err := r.load(ctx); err != nil || r.state.Over() {
			return err
		}
		if rank(r.state.Wanted) <= rank(r.noticed) {
			if err := workflow.Await(ctx, func() bool { return r.told }); err != nil {
				return err
			}
			continue
		}
		if err := r.guard(ctx); err != nil {
			return err
		}
		over, err := r.notice(ctx, r.state.Wanted)
		if err != nil || over {
			return err
		}
		if r.noticed == billing.ReminderFinal {
			return r.handOver(ctx)
		}
	}
}

func (r *arrears) load(ctx workflow.Context) error {
	r.told = false
	return workflow.ExecuteActivity(withStore(ctx), reminding.LoadReminder, r.in).Get(ctx, &r.state)
}

// rank orders the levels; no level comes before all.
func rank(level billing.ReminderState) int {
	switch level {
	case billing.ReminderLevel1:
		return 1
	case billing.ReminderLevel2:
		return 2
	case billing.ReminderFinal:
		return 3
	}
	return 0
}

// guard holds a meter on that can trip by itself, before anything else: it must not cut inside a window, or without notice.
func (r *arrears) guard(ctx workflow.Context) error {
	for try := 0; r.state.MeterCredit && !r.guarded && try < guardTries; try++ {
		if try > 0 {
			if reached, err := waitUntil(ctx, "guard", r.state.Now.Add(time.Duration(try)*guardEvery), func() bool { return r.told }); err != nil || !reached {
				return err
			}
		}
		var done activities.GuardDone
		if err := onLine(ctx, r.state.Account, switching.GuardSupply, r.in, &done); err != nil {
			return err
		}
		r.guarded = done.Done
	}
	return nil
}

// notice sends the message of a level until its receipt comes. over means that the case has ended; without it the level counts as
// noticed, or something happened that asks for another look.
func (r *arrears) notice(ctx workflow.Context, level billing.ReminderState) (over bool, err error) {
	for try := 1; try <= noticeTries; try++ {
		if reached, err := waitUntil(ctx, "sending_hours", r.state.SendFrom, func() bool { return r.told }); err != nil || !reached {
			return false, err
		}
		var n activities.Notice
		in := activities.QueueNotice{ReminderID: r.in.ReminderID, Level: level, Attempt: try}
		if err := workflow.ExecuteActivity(withStore(ctx), reminding.QueueNotice, in).Get(ctx, &n); err != nil || n.Ended {
			return n.Ended, err
		}
		if err := sendMessage(ctx, n.Message); err != nil {
			return false, err
		}
		state, err := r.receipt(ctx, n.Message)
		if err != nil {
			return false, err
		}
		if state == billing.MessageDelivered {
			r.noticed = level
			return false, nil
		}
		// Read again before the next try: it may be night, or the customer may have paid.
		if err := r.load(ctx); err != nil || r.state.Over() {
			return r.state.Over(), err
		}
	}
	in := activities.CloseReminder{ReminderID: r.in.ReminderID, Reason: "the notice could not be delivered: check the customer's phone number"}
	return true, workflow.ExecuteActivity(withStore(ctx), reminding.CloseReminder, in).Get(ctx, nil)
}

// receipt waits for the provider's word on a message. No word in time is a failure: without a receipt no level counts.
func (r *arrears) receipt(ctx workflow.Context, id billing.MessageID) (billing.MessageState, error) {
	now, err := businessNow(ctx)
	if err != nil {
		return "", err
	}
	late, err := waitUntil(ctx, "receipt", now.Add(r.state.ReceiptAfter), func() bool { return r.receipts[id] != "" })
	if err != nil || !late {
		return r.receipts[id], err
	}
	var state billing.MessageState
	err = workflow.ExecuteActivity(withStore(ctx), messaging.FailMessage, activities.MessageRef{MessageID: id}).Get(ctx, &state)
	return state, err
}

func (r *arrears) handOver(ctx workflow.Context) error {
	if err := r.guard(ctx); err != nil {
		return err
	}
	var over activities.HandedOver
	if err := workflow.ExecuteActivity(withStore(ctx), reminding.HandOver, r.in).Get(ctx, &over); err != nil || over.CutoffID == "" {
		return err
	}
	return startAbandoned(ctx, CutoffWorkflowID(over.CutoffID), Cutoff, activities.CutRef(over))
}

// Receipt records what the provider says of a message and tells the arrears case that waits for it.
func Receipt(ctx workflow.Context, in activities.Receipt) error {
	var recorded activities.ReceiptRecorded
	if err := workflow.ExecuteActivity(withStore(ctx), messaging.RecordReceipt, in).Get(ctx, &recorded); err != nil {
		return err
	}
	if recorded.Reminder != "" {
		signalIfRunning(ctx, ReminderWorkflowID(recorded.Reminder), SignalMessageDelivered, recorded)
	}
	return nil
}

// receiptPatience is how long, in real time, a receipt waits for the message that it is about to be recorded as sent.
const receiptPatience = time.Hour

// MessageReceipt takes a provider's receipt. One that comes again changes nothing. With the engine away it fails as unavailable, and
// the provider comes again.
func (c *Client) MessageReceipt(ctx context.Context, r activities.Receipt) error {
	_, err := c.startAgain(ctx, ReceiptWorkflowID(r.ProviderNo), receiptPatience, Receipt, r)
	return fromTemporal(err)
}
