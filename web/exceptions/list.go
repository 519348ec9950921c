package exceptions

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// listView is the queue. bulk is nil for those who may not decide, and for lists without open cases.
type listView struct {
	tabs   []components.Tab
	filter components.Filter
	table  components.Table
	pager  components.PagerView
	bulk   *components.BulkView
}

// several are the decisions that can be made on many cases at once: those that need nothing typed in.
var several = []string{workflows.DecideAccept, workflows.DecideReread, workflows.DecideEstimate, workflows.DecideTrueUp, workflows.DecideResplit}

var severalKeys = map[string]string{workflows.DecideAccept: "a", workflows.DecideReread: "r", workflows.DecideEstimate: "e", workflows.DecideTrueUp: "t", workflows.DecideResplit: "b"}

func listOf(r *http.Request, l page.List, f store.CaseFilter, rows []store.CaseRow, total int, counts store.CaseCounts) listView {
	ctx := r.Context()
	v := listView{
		tabs: tabs(ctx, l, f, counts), filter: filterBar(ctx, l, f, total), pager: l.Pager(len(rows), total),
		table: caseTable(ctx, rows, filterQuery(r), page.Now(ctx)),
	}
	if (f.State != string(billing.CaseOpen) && !f.Overdue) || auth.Can(page.Actor(ctx), auth.DecideException, "") != nil || len(rows) == 0 {
		return v
	}
	form := page.FormOf(r, "choose")
	v.table.Select = true
	v.bulk = &components.BulkView{URL: base + "/choose" + filterQuery(r), Error: form.Error()}
	if v.bulk.Error == "" && form.Tried() {
		v.bulk.Error = form.Problem("action")
	}
	for _, d := range several {
		v.bulk.Actions = append(v.bulk.Actions, components.BulkAction{Value: d, Label: decisionWord(ctx, d), Key: severalKeys[d], Tone: components.Watch})
	}
	return v
}

func tabs(ctx context.Context, l page.List, f store.CaseFilter, n store.CaseCounts) []components.Tab {
	mine := f.DecidedBy != ""
	open := f.State == string(billing.CaseOpen)
	return []components.Tab{
		{Label: locale.T(ctx, "exceptions.open"), Href: l.Href("state", "open", "overdue", "", "mine", "", "since", ""), Count: n.Open, Active: open && !f.Overdue},
		{Label: locale.T(ctx, "exceptions.overdue"), Href: l.Href("state", "", "overdue", "1", "mine", "", "since", ""), Count: n.Overdue, Active: f.Overdue},
		{Label: locale.T(ctx, "exceptions.mine"), Href: l.Href("state", "", "overdue", "", "mine", "1", "since", ""), Count: n.Mine, Active: mine},
		{Label: locale.T(ctx, "exceptions.resolved"), Href: l.Href("state", "resolved", "overdue", "", "mine", "", "since", ""), Active: f.State == string(billing.CaseResolved) && !mine},
		{Label: locale.T(ctx, "exceptions.all"), Href: l.Href("state", "all", "overdue", "", "mine", ""), Active: f.State == "" && !f.Overdue},
	}
}

func filterBar(ctx context.Context, l page.List, f store.CaseFilter, total int) components.Filter {
	kind := components.Field{Kind: components.SelectField, Name: "kind", Label: locale.T(ctx, "exceptions.kind"), Value: f.Kind, Options: []components.Option{{Label: locale.T(ctx, "exceptions.every_kind")}}}
	for _, word := range locale.Words(locale.Rule) {
		kind.Options = append(kind.Options, components.Option{Value: word, Label: locale.State(ctx, locale.Rule, word)})
	}
	bar := components.Filter{URL: base, Total: total, ClearHref: l.ClearHref("kind", "site", "since"), Fields: []components.Field{kind}}
	if sites := page.OwnSites(ctx); len(sites) > 1 {
		site := components.Field{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "exceptions.site"), Value: l.Get("site"), Options: []components.Option{{Label: locale.T(ctx, "exceptions.every_site")}}}
		for _, s := range sites {
			site.Options = append(site.Options, components.Option{Value: string(s.ID), Label: page.SiteName(ctx, s.ID)})
		}
		bar.Fields = append(bar.Fields, site)
	}
	bar.Fields = append(bar.Fields, components.Field{Kind: components.DateField, Name: "since", Label: locale.T(ctx, "exceptions.since"), Value: l.Get("since")})
	return bar
}

func caseTable(ctx context.Context, rows []store.CaseRow, query string, now time.Time) components.Table {
	t := components.Table{
		ID: "cases", Caption: locale.T(ctx, "exceptions.title"), Cols: []components.Col{
			{Label: locale.T(ctx, "exceptions.case")}, {Label: locale.T(ctx, "exceptions.kind")}, {Label: locale.T(ctx, "exceptions.about")},
			{Label: locale.T(ctx, "exceptions.doubt")}, {Label: locale.T(ctx, "exceptions.waits")}, {Label: locale.T(ctx, "exceptions.state")},
		},
		Empty: components.EmptyView{Title: locale.T(ctx, "exceptions.none"), Body: locale.T(ctx, "exceptions.none_body")},
	}
	for _, k := range rows {
		row := components.Row{ID: string(k.ID), Href: page.Home("case", string(k.ID)) + query, Cells: []templ.Component{
			components.Text(string(k.ID)), oneLine(locale.State(ctx, locale.Rule, k.Kind)), oneLine(about(k)), components.Muted(briefText(ctx, k)),
		}}
		if k.State == billing.CaseOpen {
			row.Cells = append(row.Cells, components.Waited(k.OpenedAt, now), openBadge(ctx, k, now))
			if !now.Before(k.DueAt) {
				row.Tone = components.Danger
			}
		} else {
			row.Cells = append(row.Cells, components.When(*k.ResolvedAt), resolvedCell(ctx, k))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func openBadge(ctx context.Context, k store.CaseRow, now time.Time) templ.Component {
	if !now.Before(k.DueAt) {
		return components.Badge(components.Danger, locale.T(ctx, "exceptions.overdue"))
	}
	return components.StateBadge(locale.Case, k.State)
}

func resolvedCell(ctx context.Context, k store.CaseRow) templ.Component {
	text := locale.State(ctx, locale.Case, k.State)
	if k.Decision != nil {
		text = decisionWord(ctx, *k.Decision)
	}
	if k.DecidedName != "" {
		text += " · " + k.DecidedName
	}
	return components.Badge(components.Good, text)
}

// allowed says whether a decision can be made on a kind of case.
func allowed(kind, decision string) bool {
	return slices.Contains(workflows.AllowedDecisions(kind), decision)
}
