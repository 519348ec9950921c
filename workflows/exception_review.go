package workflows

import (
	"context"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// ExceptionReview waits for a person's decision on one case, escalates it once when it is overdue, and applies what was decided.
func ExceptionReview(ctx workflow.Context, in activities.CaseRef) error {
	r := exceptionReview{in: in}
	if err := r.setup(ctx); err != nil {
		return err
	}
	return r.run(ctx)
}

type exceptionReview struct {
	in       activities.CaseRef
	facts    activities.CaseFacts
	deciding bool
	resolved bool
}

func (r *exceptionReview) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateDecide, r.decide, workflow.UpdateHandlerOptions{Validator: r.mayDecide})
	if err != nil {
		return err
	}
	return r.describe(ctx)
}

func (r *exceptionReview) describe(ctx workflow.Context) error {
	err := workflow.ExecuteActivity(withStore(ctx), review.DescribeCase, r.in).Get(ctx, &r.facts)
	r.resolved = r.resolved || r.facts.Resolved
	return err
}

func (r *exceptionReview) run(ctx workflow.Context) error {
	workflow.Go(ctx, r.hearOfProof)
	if !r.facts.Escalated {
		overdue, err := waitUntil(ctx, "overdue", r.facts.DueAt, func() bool { return r.resolved })
		if err != nil {
			return err
		}
		if overdue && !r.resolved {
			if err := workflow.ExecuteActivity(withStore(ctx), review.EscalateCase, r.in).Get(ctx, nil); err != nil {
				return err
			}
		}
	}
	return workflow.Await(ctx, func() bool { return r.resolved && workflow.AllHandlersFinished(ctx) })
}

// hearOfProof ends the case when a read-back has settled the doubt without a person.
func (r *exceptionReview) hearOfProof(ctx workflow.Context) {
	settled := workflow.GetSignalChannel(ctx, SignalDoubtSettled)
	for !r.resolved {
		settled.Receive(ctx, nil)
		if err := r.describe(ctx); err != nil {
			workflow.GetLogger(ctx).Error("case not read", "case", r.in.CaseID, "error", err)
		}
	}
}

// mayDecide refuses in the same click; the activity and the database check again what only they can know.
func (r *exceptionReview) mayDecide(_ workflow.Context, d activities.Decision) error {
	switch {
	case r.resolved:
		return refuse(billing.CodeClosed, "this case was decided already: open it to see by whom and how")
	case r.deciding:
		return refuse(billing.CodeConflict, "another decision on this case is being applied: wait for its outcome")
	case d.By == "":
		return refuse(billing.CodeUnauthenticated, "sign in to decide on a case")
	case strings.TrimSpace(d.Reason) == "":
		return refuse(billing.CodeInvalidInput, "a decision needs a reason: say what you know about this case")
	case r.facts.Allowed != nil && !slices.Contains(r.facts.Allowed, d.Decision):
		return refuse(billing.CodeInvalidInput, "this can't be decided on a case of this kind: choose one of "+strings.Join(r.facts.Allowed, ", "))
	}
	return nil
}

// decide applies a decision. When it fails, the case stays open and the person is told why.
func (r *exceptionReview) decide(ctx workflow.Context, d activities.Decision) error {
	r.deciding = true
	defer func() { r.deciding = false }()
	d.CaseID = r.in.CaseID
	switch {
	case r.facts.RechargeID != "" || r.facts.ExchangeID != "":
		return r.settleCredit(ctx, d)
	case r.facts.CommandID != "":
		return r.settleSupply(ctx, d)
	case d.Decision == activities.DecideReread:
		if err := r.reread(ctx, d); err != nil {
			return err
		}
	}
	var out activities.Decided
	if err := workflow.ExecuteActivity(withStore(ctx), review.DecideCase, d).Get(ctx, &out); err != nil {
		return err
	}
	r.resolved = out.Open == 0 // meters that were taken out keep the case open
	if out.Exchange != "" {
		if err := startAbandoned(ctx, ExchangeWorkflowID(out.Exchange), MeterExchange, activities.ExchangeRef{ExchangeID: out.Exchange}); err != nil {
			return err
		}
	}
	for _, run := range out.Runs {
		signalIfRunning(ctx, RunWorkflowID(run), SignalCaseResolved, r.in)
	}
	return nil
}

// reread asks the members of the case now, gateway by gateway, each on whoever owns its line.
func (r *exceptionReview) reread(ctx workflow.Context, d activities.Decision) error {
	for _, gateway := range r.facts.Gateways {
		in := activities.RereadMembers{CaseID: d.CaseID, Gateway: gateway, By: d.By, Reason: d.Reason, Meters: d.Meters}
		err := followLine(ctx, func() error {
			holder, err := lineHolder(ctx, gateway)
			if err != nil {
				return err
			}
			return workflow.ExecuteActivity(withSweep(ctx, holder), review.RereadMembers, in).Get(ctx, nil)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settleCredit hands a decision on a credit in doubt to those who deliver credit, on whoever owns the meter's line: what the meter
// itself shows is asked first. The workflow of the recharge or exchange is told and goes on.
func (r *exceptionReview) settleCredit(ctx workflow.Context, d activities.Decision) error {
	in := activities.SettleInDoubt{RechargeID: r.facts.RechargeID, ExchangeID: r.facts.ExchangeID, By: d.By, Credited: d.Decision == activities.DecideCredited, Reason: d.Reason}
	var out activities.Settled
	if err := r.onLine(ctx, delivery.SettleInDoubt, in, &out); err != nil {
		return err
	}
	owned := RechargeWorkflowID(r.facts.RechargeID)
	if r.facts.ExchangeID != "" {
		owned = ExchangeWorkflowID(r.facts.ExchangeID)
	}
	signalIfRunning(ctx, owned, SignalDoubtSettled, out)
	return r.describe(ctx)
}

// settleSupply does the same for a switching command whose effect nobody knows.
func (r *exceptionReview) settleSupply(ctx workflow.Context, d activities.Decision) error {
	in := activities.SettleUnknown{CommandID: r.facts.CommandID, By: d.By, Decision: d.Decision, Reason: d.Reason}
	var out activities.SupplySettled
	if err := r.onLine(ctx, switching.SettleUnknown, in, &out); err != nil {
		return err
	}
	if out.Owner != "" {
		signalIfRunning(ctx, out.Owner+"/"+out.OwnerID, SignalDoubtSettled, out)
	}
	return r.describe(ctx)
}

// onLine runs an activity on whoever owns the line of the meter that the case is about.
func (r *exceptionReview) onLine(ctx workflow.Context, activity, in, out any) error {
	if len(r.facts.Gateways) == 0 {
		return refuse(billing.CodeBlocked, "the meter of this case is not fitted any more: nothing can be asked of it")
	}
	return followLine(ctx, func() error {
		holder, err := lineHolder(ctx, r.facts.Gateways[0])
		if err != nil {
			return err
		}
		return workflow.ExecuteActivity(withCommand(ctx, holder), activity, in).Get(ctx, out)
	})
}

// DecideCase sends a person's decision on a case and waits for its outcome.
func (c *Client) DecideCase(ctx context.Context, id billing.CaseID, d activities.Decision) error {
	return c.update(ctx, CaseWorkflowID(id), UpdateDecide, d.Nonce, d, nil)
}

// PreviewDecision works out what a decision would do, without the engine: it only reads.
func (c *Client) PreviewDecision(ctx context.Context, d activities.Decision) (activities.Preview, error) {
	return c.Review.PreviewDecision(ctx, d)
}
