package exceptions

import (
	"net/http"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// previewView is a decision on several cases before it is made.
type previewView struct {
	head   components.Head
	table  components.Table
	action components.Action
}

func previewOf(r *http.Request, decision string, doubts []doubt) previewView {
	ctx := r.Context()
	kind := doubts[0].row.Kind
	v := previewView{
		head: components.Head{
			Title:    locale.T(ctx, "exceptions.several", len(doubts), decisionWord(ctx, decision)),
			Subtitle: locale.State(ctx, locale.Rule, kind), BackHref: base + filterQuery(r), BackLabel: locale.T(ctx, "exceptions.title"),
		},
		table: components.Table{ID: "chosen", Caption: locale.T(ctx, "exceptions.title"), Cols: []components.Col{
			{Label: locale.T(ctx, "exceptions.case")}, {Label: locale.T(ctx, "exceptions.about")}, {Label: locale.T(ctx, "exceptions.doubt"), WideOnly: true},
			{Label: locale.T(ctx, "exceptions.would")}, {Label: locale.T(ctx, "exceptions.state")},
		}},
	}
	f := page.FormOf(r, "several")
	hidden := []components.Hidden{f.Nonce(), {Name: "decision", Value: decision}}
	left, sum, priced := 0, billing.Money(0), false
	for _, c := range doubts {
		would, state := components.Muted("–"), components.StateBadge(locale.Case, c.row.State)
		if c.row.State == billing.CaseOpen {
			left++
			hidden = append(hidden, components.Hidden{Name: "id", Value: string(c.row.ID)})
			hint, disabled := locale.T(ctx, "exceptions.reread_hint"), ""
			if decision != workflows.DecideReread {
				hint, disabled = effectOn(ctx, c, decision)
			}
			would = components.Text(hint)
			if disabled != "" {
				would = components.Badge(components.Watch, disabled)
			}
			if fen, ok := moneyOf(c, decision, r); ok {
				sum, priced = sum+fen, true
			}
		}
		v.table.Rows = append(v.table.Rows, components.Row{ID: string(c.row.ID), Href: page.Home("case", string(c.row.ID)), Cells: []templ.Component{
			components.Text(string(c.row.ID)), components.Text(about(c.row)), components.Muted(caseText(ctx, c.row)), would, state,
		}})
	}
	facts := []components.Fact{{ID: "cases", Label: locale.T(ctx, "exceptions.cases"), Value: components.Count(left)}}
	if priced {
		facts = append(facts, components.Fact{ID: "money", Label: locale.T(ctx, "exceptions.money"), Value: components.Money(sum)})
	}
	v.action = components.Action{
		ID: "several", Title: decisionWord(ctx, decision), URL: base + "/decide" + filterQuery(r), Submit: locale.T(ctx, "exceptions.submit_many", left), Key: "s",
		Consequence: components.Facts(facts), Hidden: hidden, Error: f.Error(), Fields: []components.Field{reasonOf(ctx, f)},
	}
	if left == 0 {
		v.action.Disabled = locale.T(ctx, "exceptions.none_left")
	}
	return v
}

// moneyOf is what a decision on a case would mean in money, when it can be told.
func moneyOf(c doubt, decision string, r *http.Request) (billing.Money, bool) {
	var sum billing.Money
	known := false
	for _, s := range openSubjects(c) {
		e, ok := s.accepted()
		if decision == workflows.DecideEstimate {
			e, ok = s.estimated(locale.Zone(r.Context()))
		}
		if ok && e.hasMoney && decision != workflows.DecideReread {
			sum, known = sum+e.fen, true
		}
	}
	return sum, known
}
