package workflows

import "go.temporal.io/sdk/worker"

// All lists every workflow; names are data in histories, so a rename is a new workflow.
var All = []any{StartDue, ReadingCycle, ExceptionReview, DailyCharge, BillingRun, BillingChunk, ArrearsReminder, Recharge, Cutoff, Restore, Receipt, DayClose, ReadingRound, TariffPublication, Correction, BatchWork, MeterExchange, Adjustment, StartFollowers}

// Register registers them all.
func Register(r worker.Registry) {
	for _, w := range All {
		r.RegisterWorkflow(w)
	}
}
