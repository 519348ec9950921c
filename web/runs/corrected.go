package runs

import (
	"context"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// corrections say how a bill stands in the chain of corrections, both ways, what was adjusted of it for a faulty meter, and what of its
// period is paid in monthly parts.
func (h handler) corrections(ctx context.Context, b store.BillSheet) ([]components.NoticeView, error) {
	own, before, err := h.Store.Reversals(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	var list []components.NoticeView
	if own != nil {
		list = append(list, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "corrections.bill_reversed", string(own.Correction)), Body: locale.DateTime(ctx, own.ReversedAt),
			LinkHref: page.Home("bill", string(own.Successor)), LinkLabel: locale.T(ctx, "corrections.bill_successor", string(own.Successor))})
	}
	if before != nil {
		list = append(list, components.NoticeView{Title: locale.T(ctx, "corrections.bill_corrects", string(before.Correction)), Body: locale.DateTime(ctx, before.ReversedAt),
			LinkHref: page.Home("bill", string(before.Bill)), LinkLabel: locale.T(ctx, "corrections.bill_before", string(before.Bill))})
	}
	open, err := h.Store.OpenCorrectionsOf(ctx, string(b.ID))
	if err != nil {
		return nil, err
	}
	for _, id := range open {
		list = append(list, components.NoticeView{Tone: components.Running, Title: locale.T(ctx, "corrections.bill_touched", string(id)), LinkHref: page.Home("correction", string(id)), LinkLabel: string(id)})
	}
	adjusted, _, err := h.Store.AdjustmentPage(ctx, store.AdjustmentFilter{Sites: page.Actor(ctx).Sites, State: string(billing.AdjustmentBooked), Text: string(b.ID)}, adjustedShown, 0)
	for _, j := range adjusted {
		list = append(list, components.NoticeView{Title: locale.T(ctx, "adjustments.of_bill", string(j.ID), locale.MoneySigned(j.TotalFen)), LinkHref: page.Home("adjustment", string(j.ID)), LinkLabel: string(j.ID)})
	}
	for _, p := range b.Plans {
		list = append(list, components.NoticeView{Title: locale.T(ctx, "plans.of_bill", locale.Money(p.TotalFen), string(p.ID)), LinkHref: page.Home("payment_plan", string(p.ID)), LinkLabel: string(p.ID)})
	}
	return list, err
}

// adjustedShown bounds the adjustments that a bill's page names.
const adjustedShown = 20

// correctLink starts a correction from an issued bill; nil for any other, and for those who may not make one.
func correctLink(ctx context.Context, b store.BillSheet) templ.Component {
	if b.State != billing.BillIssued {
		return nil
	}
	return page.CorrectLink(ctx, b.Site, string(b.ID))
}
