package accounts

import (
	"context"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/adjustments"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

func amountCol(ctx context.Context) components.Col {
	return components.Col{Label: locale.T(ctx, "accounts.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number}
}

// openTable is what waits for somebody or something: cases, arrears, recharges, cuts, restores.
func openTable(ctx context.Context, s story) components.Table {
	t := components.Table{ID: "open", Caption: locale.T(ctx, "accounts.open"), Cols: []components.Col{
		{Label: locale.T(ctx, "accounts.matter")}, {Label: locale.T(ctx, "accounts.what")}, {Label: locale.T(ctx, "accounts.since")}, {Label: locale.T(ctx, "accounts.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "accounts.nothing_open"), Body: locale.T(ctx, "accounts.nothing_open_body")}}
	now := page.Now(ctx)
	add := func(kind, id, what string, since time.Time, state templ.Component) {
		t.Rows = append(t.Rows, components.Row{ID: id, Href: page.Home(kind, id), Cells: []templ.Component{
			components.Lines(components.Text(page.KindWord(ctx, kind)), id), components.Text(what), components.Waited(since, now), state}})
	}
	for _, k := range s.cases {
		add("case", string(k.ID), locale.State(ctx, locale.Rule, k.Kind), k.OpenedAt, components.StateBadge(locale.Case, billing.CaseOpen))
	}
	if s.row.Reminder != "" {
		add("reminder", string(s.row.Reminder), locale.T(ctx, "accounts.arrears"), reminderSince(s), components.StateBadge(locale.Reminder, s.row.Arrears))
	}
	for _, rc := range s.recharges {
		if !rc.State.Final() {
			add("recharge", string(rc.ID), locale.Money(rc.Amount), rc.EnteredAt, components.StateBadge(locale.Recharge, rc.State))
		}
	}
	for _, j := range s.adjustments {
		if !j.State.Final() {
			add("adjustment", string(j.ID), locale.MoneySigned(j.TotalFen), j.DraftedAt, components.StateBadge(locale.Adjustment, j.State))
		}
	}
	for _, c := range s.cuts {
		if !c.Ended() {
			add("cutoff", c.ID, locale.T(ctx, "accounts.cut_at", locale.DateTime(ctx, c.PlannedAt)), c.OpenedAt, components.StateBadge(locale.Cutoff, c.State))
		}
	}
	for _, o := range s.restores {
		if !o.Ended() {
			add("restore", o.ID, locale.Sentence(ctx, o.Reason), o.OpenedAt, components.StateBadge(locale.Restore, o.State))
		}
	}
	return t
}

// reminderSince is when the open arrears case was opened: its first row among the events.
func reminderSince(s story) time.Time {
	for i := len(s.events) - 1; i >= 0; i-- {
		if e := s.events[i]; e.Kind == "reminder" && e.Entity == string(s.row.Reminder) {
			return e.BusinessAt
		}
	}
	return s.row.SupplySince
}

func fittingTable(ctx context.Context, s story) components.Table {
	t := components.Table{ID: "fittings", Caption: locale.T(ctx, "accounts.meters"), Cols: []components.Col{
		{Label: locale.T(ctx, "accounts.meter")}, {Label: locale.T(ctx, "accounts.fitted")}, {Label: locale.T(ctx, "accounts.removed")},
		{Label: locale.T(ctx, "accounts.opening"), Unit: s.row.Service.Unit(), Align: components.Number},
		{Label: locale.T(ctx, "accounts.closing"), Unit: s.row.Service.Unit(), Align: components.Number}, {Label: locale.T(ctx, "accounts.ratio"), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "accounts.no_meter"), Body: locale.T(ctx, "accounts.no_meter_body")}}
	scale := s.row.Service.Scale()
	for _, f := range s.fittings {
		removed, closing := components.Muted("–"), components.Muted("–")
		if f.ToAt != nil {
			removed, closing = components.When(*f.ToAt), components.Quantity(f.Closing.Total(), scale, "")
		}
		t.Rows = append(t.Rows, components.Row{ID: string(f.Meter), Href: page.Home("meter", string(f.Meter)), Cells: []templ.Component{
			components.Text(string(f.Meter)), components.When(f.FromAt), removed, components.Quantity(f.Opening.Total(), scale, ""), closing, components.Count(f.Ratio),
		}})
	}
	return t
}

func protectionTable(ctx context.Context, s story) components.Table {
	t := components.Table{ID: "protections", Caption: locale.T(ctx, "accounts.protections"), Cols: []components.Col{
		{Label: locale.T(ctx, "accounts.protection_kind")}, {Label: locale.T(ctx, "accounts.from")}, {Label: locale.T(ctx, "accounts.until")},
		{Label: locale.T(ctx, "accounts.owner")}, {Label: locale.T(ctx, "accounts.reason")}, {Label: locale.T(ctx, "accounts.state")},
	}}
	now := page.Now(ctx)
	for _, p := range s.protections {
		state := components.Badge(components.Neutral, locale.T(ctx, "accounts.over"))
		switch {
		case p.EndedAt != nil:
			state = components.Badge(components.Neutral, locale.T(ctx, "accounts.ended", locale.DateTime(ctx, *p.EndedAt)))
		case p.Standing(now):
			state = components.Badge(components.Good, locale.T(ctx, "accounts.standing"))
		case !over(p, now):
			state = components.Badge(components.Watch, locale.T(ctx, "accounts.to_come"))
		}
		t.Rows = append(t.Rows, components.Row{ID: idOf(p), Cells: []templ.Component{
			components.Text(locale.State(ctx, locale.Protection, p.Kind)), components.When(p.FromAt), components.When(p.UntilAt), components.Text(s.names[p.Owner]), components.Text(locale.Sentence(ctx, p.Reason)), state,
		}})
	}
	return t
}

func billTable(ctx context.Context, s story) components.Table {
	t := components.Table{ID: "bills", Caption: locale.T(ctx, "accounts.bills"), Cols: []components.Col{
		{Label: locale.T(ctx, "accounts.bill")}, {Label: locale.T(ctx, "accounts.period")}, {Label: locale.T(ctx, "accounts.use"), Unit: s.row.Service.Unit(), Align: components.Number},
		amountCol(ctx), {Label: locale.T(ctx, "accounts.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "accounts.no_bills"), Body: locale.T(ctx, "accounts.no_bills_body")}}
	for _, b := range s.bills {
		t.Rows = append(t.Rows, components.Row{ID: string(b.ID), Href: page.Home("bill", string(b.ID)), Cells: []templ.Component{
			components.Text(string(b.ID)), components.Text(b.PeriodFrom.String() + " – " + b.PeriodTo.AddDays(-1).String()),
			components.Quantity(b.Quantity, s.row.Service.Scale(), ""), components.Money(b.Total), components.StateBadge(locale.Bill, b.State),
		}})
	}
	return t
}

// planTable is what the customer pays in monthly parts, with how much of it isn't due yet.
func planTable(ctx context.Context, s story) components.Table {
	t := components.Table{ID: "plans", Caption: locale.T(ctx, "plans.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "plans.number")}, {Label: locale.T(ctx, "plans.total"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "plans.part"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number}, {Label: locale.T(ctx, "plans.outstanding"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "accounts.state")},
	}}
	for _, p := range s.plans {
		t.Rows = append(t.Rows, components.Row{ID: string(p.ID), Href: page.Home("payment_plan", string(p.ID)), Cells: []templ.Component{
			components.Text(string(p.ID)), components.Money(p.TotalFen), components.Money(p.PartFen), components.Money(p.Outstanding), components.StateBadge(locale.PaymentPlan, p.State),
		}})
	}
	return t
}

// adjustmentTable is what was refunded or charged for a faulty meter; each leads to its derivation.
func adjustmentTable(ctx context.Context, s story) components.Table {
	t := components.Table{ID: "adjustments", Caption: locale.T(ctx, "adjustments.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "adjustments.number")}, {Label: locale.T(ctx, "adjustments.what")}, {Label: locale.T(ctx, "adjustments.difference"), Unit: s.row.Service.Unit(), Align: components.Number},
		amountCol(ctx), {Label: locale.T(ctx, "accounts.state")},
	}}
	for _, j := range s.adjustments {
		t.Rows = append(t.Rows, components.Row{ID: string(j.ID), Href: page.Home("adjustment", string(j.ID)), Cells: []templ.Component{
			components.Text(string(j.ID)), components.Lines(components.Text(adjustments.Word(ctx, j)), string(j.Meter)),
			components.Quantity(j.Difference.Total(), s.row.Service.Scale(), ""), components.MoneySigned(j.TotalFen), components.StateBadge(locale.Adjustment, j.State),
		}})
	}
	return t
}

func rechargeTable(ctx context.Context, s story) components.Table {
	t := components.Table{ID: "recharges", Caption: locale.T(ctx, "accounts.recharges"), Cols: []components.Col{
		{Label: locale.T(ctx, "accounts.recharge_no")}, {Label: locale.T(ctx, "accounts.at")}, amountCol(ctx),
		{Label: locale.T(ctx, "accounts.channel")}, {Label: locale.T(ctx, "accounts.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "accounts.no_recharges"), Body: locale.T(ctx, "accounts.no_recharges_body")}}
	for _, rc := range s.recharges {
		t.Rows = append(t.Rows, components.Row{ID: string(rc.ID), Href: page.Home("recharge", string(rc.ID)), Cells: []templ.Component{
			components.Text(string(rc.ID)), components.When(rc.EnteredAt), components.Money(rc.Amount),
			components.Text(locale.State(ctx, locale.Channel, rc.Channel)), components.StateBadge(locale.Recharge, rc.State),
		}})
	}
	return t
}

func messageTable(ctx context.Context, s story) components.Table {
	t := components.Table{ID: "messages", Caption: locale.T(ctx, "accounts.messages"), Cols: []components.Col{
		{Label: locale.T(ctx, "accounts.message")}, {Label: locale.T(ctx, "accounts.at")}, {Label: locale.T(ctx, "accounts.text")}, {Label: locale.T(ctx, "accounts.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "accounts.no_messages"), Body: locale.T(ctx, "accounts.no_messages_body")}}
	for _, m := range s.messages {
		t.Rows = append(t.Rows, components.Row{ID: string(m.ID), Href: page.Home("message", string(m.ID)), Cells: []templ.Component{
			components.Lines(components.Text(string(m.ID)), locale.State(ctx, locale.MessageKind, m.Kind)), components.When(m.QueuedAt), components.Text(m.Body), components.StateBadge(locale.Message, m.State),
		}})
	}
	return t
}
