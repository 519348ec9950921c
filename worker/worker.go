// Package worker builds the Temporal workers: which workflows and activities run on which queue, with how many slots, and how they
// stop. It owns the registration and the leases of lines; it refuses to know what any of them does.
package worker

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/notify"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Config is what a worker needs.
type Config struct {
	Temporal client.Client
	Store    *store.Store
	Pool     *devices.Pool
	Lines    *Lines
	Sender   notify.Sender
	Log      *slog.Logger
}

// The lease outlives several missed renewals, and a dead worker's lines come free soon enough for the day's sweep.
const (
	leaseTTL   = 15 * time.Second
	leaseRenew = 4 * time.Second
	// stopTimeout is longer than any heartbeat interval, so that batches stop at a page's end.
	stopTimeout = 15 * time.Second
	// ratingSlots bounds how many pages of bills and charges a worker computes at once, however large a run is: the database has other
	// work too.
	ratingSlots = 4
)

// Run holds lines and works until ctx ends, then stops gracefully, ends the lines and gives them up.
func Run(ctx context.Context, c Config) error {
	waits := func() {
		c.Log.Info("an earlier worker of this name did not say that it ended; its leases run out first", "worker", c.Lines.Holder)
	}
	if err := c.Lines.enrol(ctx, leaseTTL, waits); err != nil {
		return err
	}
	defer func() {
		if err := c.Lines.giveUp(context.WithoutCancel(ctx), c.Pool); err != nil {
			c.Log.Warn("the lines were not given up; they come free when the leases run out", "error", err)
		}
	}()
	if err := c.Lines.hold(ctx, c.Pool, leaseTTL); err != nil {
		return err
	}
	workers := build(c)
	for i, w := range workers {
		if err := w.Start(); err != nil {
			stop(workers[:i])
			return err
		}
	}
	// The lines are kept while the last steps run to their end.
	renewing, enough := context.WithCancel(context.WithoutCancel(ctx))
	lost := make(chan error, 1)
	go func() { lost <- renewLeases(renewing, c) }()
	var err error
	select {
	case <-ctx.Done():
		if err := c.Lines.end(renewing); err != nil {
			c.Log.Warn("new work may be sent to this worker, and is taken up by another when nobody takes it", "error", err)
		}
	case err = <-lost:
	}
	stop(workers)
	enough()
	if err == nil {
		err = <-lost
	}
	return err
}

// renewLeases keeps the lines until ctx ends, or another process is found under this worker's name. While the database is away nothing is said
// on a line once its lease has run out.
func renewLeases(ctx context.Context, c Config) error {
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			err := c.Lines.hold(ctx, c.Pool, leaseTTL)
			if billing.CodeOf(err) == billing.CodeConflict {
				return err
			}
			if err != nil && ctx.Err() == nil {
				c.Log.Warn("leases not renewed", "error", err)
			}
		}
	}
}

func stop(workers []worker.Worker) {
	for _, w := range workers {
		w.Stop()
	}
}

// build makes one worker per queue, so that each has slots of its own: sweeps can't fill those of commands, and cuts
// not those of restores.
func build(c Config) []worker.Worker {
	options := func(activitySlots int) worker.Options {
		return worker.Options{
			MaxConcurrentActivityExecutionSize: activitySlots,
			WorkerStopTimeout:                  stopTimeout,
			WorkflowPanicPolicy:                worker.BlockWorkflow,
			Interceptors:                       []interceptor.WorkerInterceptor{&activities.ErrorInterceptor{}},
		}
	}
	main := worker.New(c.Temporal, workflows.QueueBilling, options(16))
	workflows.Register(main)
	for _, a := range []any{
		&activities.Clock{Store: c.Store}, &activities.Lines{Store: c.Store}, &activities.Due{Store: c.Store},
		&activities.Metering{Store: c.Store, Pool: c.Pool}, &activities.Review{Store: c.Store, Pool: c.Pool},
		&activities.Rating{Store: c.Store}, &activities.Billing{Store: c.Store}, &activities.Posting{Store: c.Store},
		&activities.Delivery{Store: c.Store, Pool: c.Pool}, &activities.Supply{Store: c.Store, Pool: c.Pool},
		&activities.Reminding{Store: c.Store}, &activities.Messaging{Store: c.Store, Sender: c.Sender}, &activities.Closing{Store: c.Store},
		&activities.Rounds{Store: c.Store}, &activities.Tariffs{Store: c.Store, Pool: c.Pool}, &activities.Correcting{Store: c.Store}, &activities.Adjusting{Store: c.Store}, &activities.Batches{Store: c.Store, Pool: c.Pool},
	} {
		main.RegisterActivity(a)
	}
	sweep := worker.New(c.Temporal, workflows.SweepQueue(c.Lines.Holder), options(32))
	sweep.RegisterActivity(&activities.Metering{Store: c.Store, Pool: c.Pool})
	sweep.RegisterActivity(&activities.Review{Store: c.Store, Pool: c.Pool})
	command := worker.New(c.Temporal, workflows.CommandQueue(c.Lines.Holder), options(32))
	command.RegisterActivity(&activities.Review{Store: c.Store, Pool: c.Pool})
	command.RegisterActivity(&activities.Delivery{Store: c.Store, Pool: c.Pool})
	command.RegisterActivity(&activities.Supply{Store: c.Store, Pool: c.Pool})
	command.RegisterActivity(&activities.Tariffs{Store: c.Store, Pool: c.Pool})
	command.RegisterActivity(&activities.Batches{Store: c.Store, Pool: c.Pool})
	restore := worker.New(c.Temporal, workflows.RestoreQueue(c.Lines.Holder), options(32))
	restore.RegisterActivity(&activities.Supply{Store: c.Store, Pool: c.Pool})
	rating := worker.New(c.Temporal, workflows.QueueRating, options(ratingSlots))
	rating.RegisterActivity(&activities.Rating{Store: c.Store})
	rating.RegisterActivity(&activities.Billing{Store: c.Store})
	messages := worker.New(c.Temporal, workflows.QueueMessages, options(8))
	messages.RegisterActivity(&activities.Messaging{Store: c.Store, Sender: c.Sender})
	return []worker.Worker{main, sweep, command, restore, rating, messages}
}
