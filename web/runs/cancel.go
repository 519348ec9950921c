package runs

import (
	"net/http"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// cancelActions give a run up while nobody has approved its issue.
func cancelActions(r *http.Request, run store.RunRow) []components.Action {
	if run.State == billing.RunIssued || run.State == billing.RunCancelled || run.IssuedBy != nil {
		return nil
	}
	ctx := r.Context()
	f := page.FormOf(r, "cancel")
	a := components.Action{
		ID: "cancel", Title: locale.T(ctx, "billing_progress.cancel"), URL: page.Home("run", string(run.ID)) + "/cancel", Submit: locale.T(ctx, "billing_progress.cancel_now"),
		Consequence: components.Text(locale.T(ctx, "billing_progress.cancel_effect")), Confirm: locale.T(ctx, "billing_progress.cancel_sure", run.Bills), Error: f.Error(),
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "runs.reason"), f.Value("reason", ""), f.Problem("reason"))},
	}
	if err := auth.Can(page.Actor(ctx), auth.StartRun, run.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return []components.Action{a}
}

func (h handler) cancel(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	run, err := h.seen(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.StartRun, run.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.CancelRun(ctx, run.ID, page.Actor(ctx).UserID, reason); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: page.Home("run", string(run.ID)), Said: locale.T(ctx, "billing_progress.cancelled", string(run.ID))}, nil
}
