package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// The profiles below are the only places where activity options are set: what a step is decides how it is retried.
// Refusals (billing codes) are never retried; see activities.ErrorInterceptor. What is retried without limit is database and
// device work whose absence people see as a stuck stage, on the page Today.

// withStore is for one quick transaction.
func withStore(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           QueueBilling,
		StartToCloseTimeout: 30 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
	})
}

// withPatience is withStore for a question that something else waits behind: without an answer it is given up.
func withPatience(ctx workflow.Context) workflow.Context {
	o := workflow.GetActivityOptions(withStore(ctx))
	o.ScheduleToCloseTimeout = 5 * time.Minute
	return workflow.WithActivityOptions(ctx, o)
}

// withLocalStore is for sub-second reads and idempotent bookkeeping that need no visibility of their own.
func withLocalStore(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: time.Minute,
		StartToCloseTimeout:    5 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second},
	})
}

// withBatch is for a page of many rows that heartbeats its cursor and resumes from it.
func withBatch(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           QueueBilling,
		StartToCloseTimeout: 30 * time.Minute,
		HeartbeatTimeout:    30 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
	})
}

// withRating is for the pages of a billing run or a daily charge: as withBatch, on slots of their own.
func withRating(ctx workflow.Context) workflow.Context {
	return workflow.WithTaskQueue(withBatch(ctx), QueueRating)
}

// withSweep is for reading the meters of one gateway, on its line's owner. When the owner is gone, the schedule-to-start
// time-out ends the wait and the workflow asks who owns the line now.
func withSweep(ctx workflow.Context, holder string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              SweepQueue(holder),
		ScheduleToStartTimeout: time.Minute,
		StartToCloseTimeout:    time.Hour,
		HeartbeatTimeout:       20 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute, MaximumAttempts: 10},
	})
}

// withCommand is for one order to one meter, on its line's owner. The activity checks at every attempt whether the order may still be sent: its
// deadline, if it has one, and what it was decided on. An owner that doesn't take it for as long as a lease stands may be dead, and the line another's.
func withCommand(ctx workflow.Context, holder string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              CommandQueue(holder),
		ScheduleToStartTimeout: 20 * time.Second,
		StartToCloseTimeout:    2 * time.Minute,
		HeartbeatTimeout:       20 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second, MaximumAttempts: 10},
	})
}

// withBulk is withCommand for work on many meters, which waits longer for a slot: it is given up after a few tries, and nobody sits in the dark.
func withBulk(ctx workflow.Context, holder string) workflow.Context {
	o := workflow.GetActivityOptions(withCommand(ctx, holder))
	o.ScheduleToStartTimeout = 2 * time.Minute
	return workflow.WithActivityOptions(ctx, o)
}

// withRestore is for giving supply back: as withCommand, on slots of their own.
func withRestore(ctx workflow.Context, holder string) workflow.Context {
	return workflow.WithTaskQueue(withCommand(ctx, holder), RestoreQueue(holder))
}

// withMessages is for handing one message to the sender; the provider's rate is the queue's.
func withMessages(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           QueueMessages,
		StartToCloseTimeout: 30 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Minute},
	})
}
