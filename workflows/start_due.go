package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// StartDueInput names the site whose due work is to be started.
type StartDueInput struct {
	Site billing.SiteID
}

// StartDue starts what should exist by now and doesn't: today's reading cycle, the charge of a closed cycle, the billing run of an
// ended month, the closing of an ended day's books, the round of a route whose day is near, the setting of clocks that the day's
// readings showed to be off, the day's seal. A Schedule starts it, whose own
// ids carry a timestamp; the runs that it starts carry their business
// keys, so two kick-offs yield one run, and a missed kick-off is made up by the next.
func StartDue(ctx workflow.Context, in StartDueInput) error {
	var found activities.DueWork
	if err := workflow.ExecuteActivity(withStore(ctx), due.FindDue, activities.FindDueInput{Site: in.Site}).Get(ctx, &found); err != nil {
		return err
	}
	for _, c := range found.Cycles {
		if err := startAbandoned(ctx, CycleWorkflowID(c.CycleID), ReadingCycle, c); err != nil {
			return err
		}
	}
	for _, c := range found.Charges {
		if err := startAbandoned(ctx, ChargeWorkflowID(c.CycleID), DailyCharge, c); err != nil {
			return err
		}
	}
	for _, r := range found.Runs {
		if err := startAbandoned(ctx, RunWorkflowID(r.RunID), BillingRun, r); err != nil {
			return err
		}
	}
	for _, p := range found.Rounds {
		if err := startAbandoned(ctx, RoundWorkflowID(p.RoundID), ReadingRound, activities.RoundStart{RoundID: p.RoundID, Plan: &p}); err != nil {
			return err
		}
	}
	for _, c := range found.Clocks {
		if err := startAbandoned(ctx, BatchWorkflowID(c.BatchID), BatchWork, activities.BatchStart{BatchID: c.BatchID, Clocks: &c}); err != nil {
			return err
		}
	}
	for _, c := range found.Closings {
		if err := startAbandoned(ctx, DayCloseWorkflowID(c.Site, c.Through), DayClose, activities.CloseDays{Site: c.Site, Through: c.Through}); err != nil {
			return err
		}
	}
	return nil
}
