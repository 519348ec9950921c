package runs

import (
	"context"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

// progressOf is how far a run is while it rates or posts; nil for one that waits or has ended. It is read from the run's chunks, so it
// stands still, and stays, when the worker dies.
func (h handler) progressOf(ctx context.Context, run store.RunRow) (*components.ProgressView, error) {
	issuing := run.State == billing.RunVerified && run.IssuedBy != nil
	if run.State != billing.RunRating && !issuing {
		return nil, nil
	}
	p, err := h.Store.RunProgress(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	if issuing {
		return &components.ProgressView{Label: locale.T(ctx, "billing_progress.issued"), Done: p.Issued, Total: p.Bills, Note: locale.T(ctx, "billing_progress.note")}, nil
	}
	return &components.ProgressView{Label: locale.T(ctx, "billing_progress.rated"), Done: p.Rated, Total: p.Accounts, Note: locale.T(ctx, "billing_progress.note")}, nil
}
