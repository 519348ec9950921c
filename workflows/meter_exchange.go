package workflows

import (
	"context"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
)

// MeterExchange brings to a new meter what the old one had: it orders a hold anew, and carries the remaining credit over. It rests when the
// new meter has shown both. With a person's order of a planned exchange as its input it carries that out, starts the workflow of the
// exchange's number, and ends.
func MeterExchange(ctx workflow.Context, in activities.ExchangeRef) error {
	if in.Order != nil {
		return orderExchange(ctx, *in.Order)
	}
	x := meterExchange{in: in}
	listen(ctx, SignalDoubtSettled, &x.told)
	return x.run(ctx)
}

type meterExchange struct {
	in    activities.ExchangeRef
	state activities.ExchangeState
	told  bool
}

func orderExchange(ctx workflow.Context, in activities.OrderExchange) error {
	var done activities.ExchangeState
	if err := workflow.ExecuteActivity(withStore(ctx), review.ExchangeMeter, in).Get(ctx, &done); err != nil {
		return err
	}
	return startAbandoned(ctx, ExchangeWorkflowID(done.ExchangeID), MeterExchange, activities.ExchangeRef{ExchangeID: done.ExchangeID})
}

func (x *meterExchange) run(ctx workflow.Context) error {
	if err := workflow.ExecuteActivity(withStore(ctx), review.LoadExchange, x.in).Get(ctx, &x.state); err != nil {
		return err
	}
	for !x.state.Ended() {
		if err := x.attempt(ctx); err != nil {
			return err
		}
		if err := x.pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// attempt orders the hold first: a meter without credit trips by itself. Both steps are safe to make again.
func (x *meterExchange) attempt(ctx workflow.Context) error {
	x.told = false
	later := false
	if x.state.Holding() {
		var next activities.ExchangeState
		if err := onLineWith(ctx, withRestore, x.state.Account, switching.HoldExchanged, x.in, &next); err != nil {
			return err
		}
		x.state, later = next, next.Later
	}
	if x.state.Carrying() {
		var next activities.ExchangeState
		if err := onLine(ctx, x.state.Account, delivery.CarryCredit, x.in, &next); err != nil {
			return err
		}
		x.state = next
		x.state.Later = next.Later || later
		return followDoubt(ctx, next.Case, next.InDoubt())
	}
	return nil
}

// pause waits before the next attempt; a refused delivery is made again at once, as often as the store allows.
func (x *meterExchange) pause(ctx workflow.Context) error {
	every := tryLineEvery
	switch {
	case x.state.Ended() || !x.state.Later && !x.state.InDoubt():
		return nil
	case !x.state.Later:
		every = readBackEvery
	}
	now, err := businessNow(ctx)
	if err != nil {
		return err
	}
	_, err = waitUntil(ctx, "try_again", now.Add(every), func() bool { return x.told })
	return err
}

// ExchangeMeter carries out a planned exchange. It returns when the meters are exchanged in the tables, and the workflow that brings
// credit and hold to the new one is running.
func (c *Client) ExchangeMeter(ctx context.Context, in OrderExchange) error {
	run, err := c.startAgain(ctx, kindExchange+"/order/"+string(in.Meter)+"/"+in.Nonce, 0, MeterExchange, activities.ExchangeRef{Order: &in})
	if err != nil {
		return fromTemporal(err)
	}
	return fromTemporal(run.Get(ctx, nil))
}

// PreviewExchange works out what a planned exchange would do, without the engine: it only reads.
func (c *Client) PreviewExchange(ctx context.Context, in OrderExchange) (ExchangePreview, error) {
	return c.Review.PreviewExchange(ctx, in)
}
