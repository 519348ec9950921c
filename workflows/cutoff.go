package workflows

import (
	"context"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// Cutoff waits for the hour of a planned cut, and for a manager where one must approve, and cuts when the policy allows it at that very
// moment. What is in doubt afterwards is read again until a reading or a person settles it.
func Cutoff(ctx workflow.Context, in activities.CutRef) error {
	c := cutoff{in: in}
	if err := c.setup(ctx); err != nil {
		return err
	}
	return c.run(ctx)
}

type cutoff struct {
	in    activities.CutRef
	state activities.CutState
	told  bool // something has happened to the cut: read it again
}

// How often supply in doubt is read again, in business time.
const lookAgainEvery = 15 * time.Minute

// DecideCut is a person's decision on a planned cut.
type DecideCut struct {
	By     billing.UserID
	Reason string
}

func (c *cutoff) setup(ctx workflow.Context) error {
	listen(ctx, SignalPaymentSettled, &c.told)
	listen(ctx, SignalDoubtSettled, &c.told)
	err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateApproveCut, c.approve, workflow.UpdateHandlerOptions{Validator: c.mayDecide})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateCancelCut, c.cancel, workflow.UpdateHandlerOptions{Validator: c.mayCancel})
}

// listen notes that a signal came.
func listen(ctx workflow.Context, signal string, told *bool) {
	workflow.Go(ctx, func(ctx workflow.Context) {
		ch := workflow.GetSignalChannel(ctx, signal)
		for {
			ch.Receive(ctx, nil)
			*told = true
		}
	})
}

func (c *cutoff) run(ctx workflow.Context) error {
	c.told = true
	for {
		if c.told {
			if err := c.load(ctx); err != nil {
				return err
			}
		}
		if c.state.Ended() {
			break
		}
		if err := c.step(ctx); err != nil {
			return err
		}
	}
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

func (c *cutoff) load(ctx workflow.Context) error {
	c.told = false
	return workflow.ExecuteActivity(withStore(ctx), switching.LoadCut, c.in).Get(ctx, &c.state)
}

// step does what the state asks for, or waits for what it waits for.
func (c *cutoff) step(ctx workflow.Context) error {
	switch c.state.State {
	case cutAwaitingManager:
		return workflow.Await(ctx, func() bool { return c.told })
	case cutUnknown:
		if told, err := c.wait(ctx, "look_again", lookAgainEvery); err != nil || told {
			return err
		}
		return c.act(ctx, switching.LookAtCut)
	case cutPlanned:
		reached, err := waitUntil(ctx, "cut", c.state.PlannedAt, func() bool { return c.told })
		if err != nil || !reached {
			return err
		}
	}
	if err := c.act(ctx, switching.CutOff); err != nil || !c.state.Busy {
		return err
	}
	_, err := c.wait(ctx, "line_busy", tryLineEvery)
	return err
}

// States of a cut that the workflow tells apart; the rest are ends.
const (
	cutPlanned         = "planned"
	cutAwaitingManager = "awaiting_manager"
	cutUnknown         = "unknown"
)

// wait waits in business time; told says that something happened before.
func (c *cutoff) wait(ctx workflow.Context, purpose string, d time.Duration) (told bool, err error) {
	now, err := businessNow(ctx)
	if err != nil {
		return false, err
	}
	reached, err := waitUntil(ctx, purpose, now.Add(d), func() bool { return c.told })
	return !reached, err
}

// act runs a step on the line and follows what it came to: the message, and the case of a doubt.
func (c *cutoff) act(ctx workflow.Context, step any) error {
	c.state.Message, c.state.Case = "", ""
	var next activities.CutState
	if err := onLine(ctx, c.state.Account, step, c.in, &next); err != nil {
		return err
	}
	c.state = next
	if err := followDoubt(ctx, next.Case, next.State == cutUnknown); err != nil {
		return err
	}
	return sendMessage(ctx, next.Message)
}

// followDoubt starts the workflow of a case that was opened, or tells it that proof has settled it.
func followDoubt(ctx workflow.Context, id billing.CaseID, open bool) error {
	if id == "" {
		return nil
	}
	in := activities.CaseRef{CaseID: id}
	if open {
		return startAbandoned(ctx, CaseWorkflowID(id), ExceptionReview, in)
	}
	signalIfRunning(ctx, CaseWorkflowID(id), SignalDoubtSettled, in)
	return nil
}

func (c *cutoff) mayDecide(_ workflow.Context, d DecideCut) error {
	switch {
	case c.state.State != "" && c.state.State != cutPlanned && c.state.State != cutAwaitingManager:
		return refuse(billing.CodeClosed, "this cut is "+c.state.State+" already: nothing was changed")
	case d.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to decide on a cut")
	}
	return nil
}

func (c *cutoff) mayCancel(ctx workflow.Context, d DecideCut) error {
	if strings.TrimSpace(d.Reason) == "" {
		return refuse(billing.CodeInvalidInput, "say why the cut is cancelled")
	}
	return c.mayDecide(ctx, d)
}

func (c *cutoff) approve(ctx workflow.Context, d DecideCut) error {
	return c.decide(ctx, switching.ApproveCut, d)
}

func (c *cutoff) cancel(ctx workflow.Context, d DecideCut) error {
	return c.decide(ctx, switching.CancelCut, d)
}

func (c *cutoff) decide(ctx workflow.Context, activity any, d DecideCut) error {
	in := activities.CutDecision{CutoffID: c.in.CutoffID, By: d.By, Reason: d.Reason}
	err := workflow.ExecuteActivity(withStore(ctx), activity, in).Get(ctx, nil)
	c.told = c.told || err == nil
	return err
}

// ApproveCut gives a manager's approval of a large customer's cut. The cut is judged anew at its hour all the same.
func (c *Client) ApproveCut(ctx context.Context, id string, by billing.UserID) error {
	return c.update(ctx, CutoffWorkflowID(id), UpdateApproveCut, "", DecideCut{By: by}, nil)
}

// CancelCut ends a cut that isn't out yet.
func (c *Client) CancelCut(ctx context.Context, id string, by billing.UserID, reason string) error {
	return c.update(ctx, CutoffWorkflowID(id), UpdateCancelCut, "", DecideCut{By: by, Reason: reason}, nil)
}
