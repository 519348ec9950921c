package workflows

import (
	"context"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// Restore gives supply back and ends the guard of a meter, and doesn't rest before the relay or valve shows it. With a person's order as
// its input it opens the restore, starts the workflow of that number, and ends.
func Restore(ctx workflow.Context, in activities.RestoreRef) error {
	if in.Order != nil {
		return orderRestore(ctx, *in.Order)
	}
	r := restore{in: in}
	listen(ctx, SignalDoubtSettled, &r.told)
	return r.run(ctx)
}

type restore struct {
	in    activities.RestoreRef
	state activities.RestoreState
	told  bool
}

// busyAgain is how long, in real time, a restore waits for the command of a cut that is out; a person sits in the dark meanwhile.
const busyAgain = 2 * time.Second

func orderRestore(ctx workflow.Context, in activities.OrderRestore) error {
	var opened activities.RestoreState
	if err := workflow.ExecuteActivity(withStore(ctx), switching.OrderRestore, in).Get(ctx, &opened); err != nil {
		return err
	}
	return startAbandoned(ctx, RestoreWorkflowID(opened.RestoreID), Restore, activities.RestoreRef{RestoreID: opened.RestoreID})
}

func (r *restore) run(ctx workflow.Context) error {
	if err := workflow.ExecuteActivity(withStore(ctx), switching.LoadRestore, r.in).Get(ctx, &r.state); err != nil {
		return err
	}
	for !r.state.Ended() {
		if err := r.attempt(ctx); err != nil {
			return err
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// attempt makes the next order, as often as it takes: giving supply back twice harms nobody.
func (r *restore) attempt(ctx workflow.Context) error {
	r.told = false
	var next activities.RestoreState
	if err := onLineWith(ctx, withRestore, r.state.Account, switching.RestoreSupply, r.in, &next); err != nil {
		return err
	}
	r.state = next
	if err := followDoubt(ctx, next.Replaced, false); err != nil {
		return err
	}
	if err := followDoubt(ctx, next.Case, next.State == restoreUnknown); err != nil {
		return err
	}
	return sendMessage(ctx, next.Message)
}

// restoreUnknown is a restore whose proof is missing.
const restoreUnknown = "unknown"

func (r *restore) pause(ctx workflow.Context) error {
	switch {
	case r.state.Ended():
		return nil
	case r.state.Busy:
		return workflow.Sleep(ctx, busyAgain)
	}
	now, err := businessNow(ctx)
	if err != nil {
		return err
	}
	_, err = waitUntil(ctx, "try_again", now.Add(lookAgainEvery), func() bool { return r.told })
	return err
}

// StartRestore carries a person's order to give supply back. It returns when the restore is opened and running; an account whose
// restore is open already has it, and no other.
func (c *Client) StartRestore(ctx context.Context, account billing.AccountID, by billing.UserID, reason string) error {
	id := kindRestore + "/order/" + string(account)
	run, err := c.startAgain(ctx, id, 0, Restore, activities.RestoreRef{Order: &activities.OrderRestore{Account: account, By: by, Reason: reason}})
	if err != nil {
		return fromTemporal(err)
	}
	return fromTemporal(run.Get(ctx, nil))
}
