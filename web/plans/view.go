package plans

import (
	"context"
	"net/http"
	"slices"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

type listView struct {
	tabs  []components.Tab
	table components.Table
	pager components.PagerView
}

type showView struct {
	head            components.Head
	facts, reckoned []components.Fact
	parts           components.Table
	actions         []components.Action
	timeline        components.TimelineView
}

func tabs(ctx context.Context, l page.List) []components.Tab {
	all := l.One("show", "all") != ""
	return []components.Tab{
		{Label: locale.T(ctx, "plans.tab_open"), Href: path, Active: !all},
		{Label: locale.T(ctx, "plans.tab_all"), Href: path + "?show=all", Active: all},
	}
}

func yuan(ctx context.Context, key string) components.Col {
	return components.Col{Label: locale.T(ctx, key), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number}
}

func planTable(ctx context.Context, plans []store.PaymentPlanRow) components.Table {
	t := components.Table{ID: "plans", Caption: locale.T(ctx, "plans.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "plans.number")}, {Label: locale.T(ctx, "plans.account")}, yuan(ctx, locale.Key("plans.total")), yuan(ctx, locale.Key("plans.outstanding")),
		{Label: locale.T(ctx, "plans.next_due")}, {Label: locale.T(ctx, "plans.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "plans.none"), Body: locale.T(ctx, "plans.none_body")}}
	for _, p := range plans {
		t.Rows = append(t.Rows, components.Row{ID: string(p.ID), Href: href(p.ID), Cells: []templ.Component{
			components.Text(string(p.ID)), components.Lines(components.Text(string(p.Account)), p.Customer), components.Money(p.TotalFen), components.Money(p.Outstanding),
			dueCell(p), components.StateBadge(locale.PaymentPlan, p.State),
		}})
	}
	return t
}

func dueCell(p store.PaymentPlanRow) templ.Component {
	if p.State != billing.PlanRunning {
		return components.Muted("–")
	}
	return components.Text(p.NextDue.String())
}

func head(ctx context.Context, p store.PaymentPlanRow) components.Head {
	return components.Head{Title: locale.T(ctx, "plans.one", string(p.ID)), Subtitle: string(p.Account) + " · " + p.Customer, BackHref: path, BackLabel: locale.T(ctx, "plans.title"),
		Badge: components.StateBadge(locale.PaymentPlan, p.State)}
}

func facts(ctx context.Context, p store.PaymentPlanRow) []components.Fact {
	fs := []components.Fact{
		{ID: "total", Label: locale.T(ctx, "plans.total"), Value: components.Money(p.TotalFen)},
		{ID: "part", Label: locale.T(ctx, "plans.part"), Value: components.Money(p.PartFen), Hint: locale.T(ctx, "plans.part_hint", p.Rule.PartPercent, string(p.Facts.LowestBill), locale.Money(p.Facts.LowestFen))},
		{ID: "outstanding", Label: locale.T(ctx, "plans.outstanding"), Value: components.Money(p.Outstanding), Hint: locale.T(ctx, "plans.outstanding_hint")},
		{ID: "balance", Label: locale.T(ctx, "plans.balance"), Value: components.Money(p.BalanceFen)},
		{ID: "account", Label: locale.T(ctx, "plans.account"), Value: components.Link(page.Home("account", string(p.Account)), string(p.Account))},
	}
	if p.Rule.MaxParts > 0 {
		fs[1].Hint += " · " + locale.T(ctx, "plans.parts_hint", p.Rule.MaxParts)
	}
	if p.State == billing.PlanProposed {
		last := p.Rule.Lapses(billing.DateOf(p.ProposedAt, locale.Zone(ctx)))
		fs = append(fs, components.Fact{ID: "lapses", Label: locale.T(ctx, "plans.lapses"), Value: components.Text(last.String()), Hint: locale.T(ctx, "plans.lapses_hint")})
	}
	if p.ApprovedAt != nil {
		fs = append(fs, components.Fact{ID: "approved", Label: locale.T(ctx, "plans.approved_by"), Value: components.Text(p.ApprovedName), Hint: locale.DateTime(ctx, *p.ApprovedAt)})
	}
	if p.EndedAt != nil {
		who := p.EndedName
		for _, agreed := range []string{p.AgreedName, p.Agreed2Name} {
			if agreed != "" {
				who += " · " + agreed
			}
		}
		fs = append(fs, components.Fact{ID: "ended", Label: locale.T(ctx, "plans.ended_by"), Value: components.Text(who), Hint: locale.DateTime(ctx, *p.EndedAt)},
			components.Fact{ID: "early", Label: locale.T(ctx, "plans.early"), Value: components.Money(p.EarlyFen), Hint: locale.Sentence(ctx, p.EndedWhy)})
	}
	return fs
}

// reckoned is how the amount was reckoned, so that anybody can do it again.
func reckoned(ctx context.Context, p store.PaymentPlanRow) []components.Fact {
	m := p.Facts
	return []components.Fact{
		{ID: "estimates", Label: locale.T(ctx, "plans.estimates"), Value: components.Count(m.Estimates), Hint: locale.T(ctx, "plans.estimates_hint", p.Rule.AfterEstimates)},
		{ID: "charged", Label: locale.T(ctx, "plans.charged"), Value: components.Money(m.ChargedFen), Hint: locale.T(ctx, "plans.over", hours(m.ChargedSeconds))},
		{ID: "estimated", Label: locale.T(ctx, "plans.estimated"), Value: components.Money(m.EstimatedFen), Hint: locale.T(ctx, "plans.over", hours(m.EstimatedSeconds))},
		{ID: "usual", Label: locale.T(ctx, "plans.usual"), Value: components.Money(m.ChargedFen - p.TotalFen), Hint: locale.T(ctx, "plans.usual_hint")},
	}
}

func hours(seconds int64) int { return int(seconds / 3600) }

// partTable lists the parts that have fallen due and those to come, as they would fall.
func partTable(ctx context.Context, p store.PaymentPlanRow) components.Table {
	t := components.Table{ID: "parts", Caption: locale.T(ctx, "plans.parts"), Cols: []components.Col{
		{Label: locale.T(ctx, "plans.part_no"), Align: components.Number}, yuan(ctx, locale.Key("plans.amount")), {Label: locale.T(ctx, "plans.due_on")}, {Label: locale.T(ctx, "plans.state")},
	}}
	for _, part := range p.Parts {
		t.Rows = append(t.Rows, components.Row{Cells: []templ.Component{components.Count(part.No), components.Money(part.AmountFen), components.Text(part.DueOn.String()),
			components.Badge(components.Good, locale.T(ctx, "plans.fallen"))}})
	}
	due := p.NextDue
	for left, no := p.Outstanding, len(p.Parts)+1; left > 0 && len(t.Rows) < shownParts; no++ {
		amount := min(p.PartFen, left)
		day := components.Muted(locale.T(ctx, "plans.after_approval"))
		if !due.IsZero() {
			day, due = components.Text(due.String()), billing.MonthPeriod(due).To
		}
		t.Rows = append(t.Rows, components.Row{Cells: []templ.Component{components.Count(no), components.Money(amount), day, components.Badge(components.Watch, locale.T(ctx, "plans.to_come"))}})
		left -= amount
	}
	return t
}

// shownParts bounds the table of parts.
const shownParts = 120

// actions are what can be done now. A button that can't be used says why.
func actions(r *http.Request, p store.PaymentPlanRow) []components.Action {
	if p.State.Final() {
		return nil
	}
	ctx := r.Context()
	var list []components.Action
	reason := func(f page.Form) components.Field {
		return components.ReasonField(locale.T(ctx, "plans.reason"), f.Value("reason", ""), f.Problem("reason"))
	}
	key := locale.Key("plans.cancel")
	if p.State == billing.PlanProposed {
		f := page.FormOf(r, "approve")
		list = append(list, components.Action{ID: "approve", Title: locale.T(ctx, "plans.approve"), URL: href(p.ID) + "/approve", Submit: locale.T(ctx, "plans.approve"), Key: "a", Error: f.Error(),
			Consequence: components.Text(locale.T(ctx, "plans.approve_effect", locale.Money(p.PartFen)))})
		key = locale.Key("plans.reject")
	} else {
		f := page.FormOf(r, "settle")
		list = append(list, components.Action{ID: "settle", Title: locale.T(ctx, "plans.settle"), URL: href(p.ID) + "/settle", Submit: locale.T(ctx, "plans.settle"), Error: f.Error(),
			Consequence: components.Text(locale.T(ctx, "plans.settle_effect")), Fields: []components.Field{reason(f)}})
	}
	f := page.FormOf(r, "end")
	list = append(list, components.Action{ID: "end", Title: locale.T(ctx, key), URL: href(p.ID) + "/end", Submit: locale.T(ctx, key), Error: f.Error(), Tone: components.Danger,
		Consequence: components.Text(locale.T(ctx, "plans.end_effect", locale.Money(p.Outstanding))),
		Fields:      slices.Concat([]components.Field{reason(f)}, page.SecondFields(ctx, f, locale.T(ctx, "plans.second_hint")), page.ThirdFields(ctx, f, locale.T(ctx, "plans.third_hint")))})
	if err := auth.Can(page.Actor(ctx), auth.DecidePlan, p.Site); err != nil {
		for i := range list {
			list[i].Disabled = page.Sentence(ctx, err)
		}
	}
	return list
}
