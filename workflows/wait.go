package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
)

// waitUntil waits until the business clock reads due (reached) or cond holds, whichever is first; cond may be nil.
//
// Business time is not the engine's: it may be paused, slowed or jumped. So the workflow sleeps for a guess, or until the clock's
// driver says that it moved, then asks the clock again. The wait stands in clock_waits meanwhile, which is also what keeps a demo's
// clock from running ahead of the work.
func waitUntil(ctx workflow.Context, purpose string, due time.Time, cond func() bool) (reached bool, err error) {
	if cond == nil {
		cond = func() bool { return false }
	}
	moved := workflow.GetSignalChannel(ctx, SignalClockMoved)
	id := workflow.GetInfo(ctx).WorkflowExecution.ID
	for {
		if cond() {
			err := workflow.ExecuteLocalActivity(withLocalStore(ctx), clock.ForgetWait, id, purpose).Get(ctx, nil)
			return false, err
		}
		var asked activities.ClockAnswer
		ask := activities.AskClock{WorkflowID: id, Purpose: purpose, Due: due}
		if err := workflow.ExecuteLocalActivity(withLocalStore(ctx), clock.AskClock, ask).Get(ctx, &asked); err != nil {
			return false, err
		}
		if asked.Reached {
			return true, nil
		}
		if err := sleepUntilMoved(ctx, asked.Guess, moved, cond); err != nil {
			return false, err
		}
	}
}

// sleepUntilMoved ends after d, when the clock's driver signals, or when cond holds.
func sleepUntilMoved(ctx workflow.Context, d time.Duration, moved workflow.ReceiveChannel, cond func() bool) error {
	_, err := workflow.AwaitWithTimeout(ctx, d, func() bool { return moved.Len() > 0 || cond() })
	for moved.ReceiveAsync(nil) {
		// Several moves are one reason to ask.
	}
	return err
}

// businessNow asks the clock. Only for deciding when to wait until, never for money.
func businessNow(ctx workflow.Context) (time.Time, error) {
	var asked activities.ClockAnswer
	err := workflow.ExecuteLocalActivity(withLocalStore(ctx), clock.AskClock, activities.AskClock{}).Get(ctx, &asked)
	return asked.Now, err
}
