package runs

import (
	"context"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

type listView struct {
	filter components.Filter
	table  components.Table
	pager  components.PagerView
}

// stateField chooses one of the states of a kind.
func stateField(ctx context.Context, kind locale.Kind, value string) components.Field {
	f := components.Field{Kind: components.SelectField, Name: "state", Label: locale.T(ctx, "runs.state"), Value: value, Options: []components.Option{{Label: locale.T(ctx, "runs.all")}}}
	for _, word := range locale.Words(kind) {
		f.Options = append(f.Options, components.Option{Value: word, Label: locale.State(ctx, kind, word)})
	}
	return f
}

func filterOf(ctx context.Context, l page.List, state string, total int) components.Filter {
	return components.Filter{URL: base, Total: total, ClearHref: l.ClearHref("state"), Fields: []components.Field{stateField(ctx, locale.Run, state)}}
}

func runTable(ctx context.Context, rows []store.RunRow, now time.Time) components.Table {
	t := components.Table{
		ID: "runs", Caption: locale.T(ctx, "runs.title"), Cols: []components.Col{
			{Label: locale.T(ctx, "runs.period")}, {Label: locale.T(ctx, "runs.site")}, {Label: locale.T(ctx, "runs.state")},
			{Label: locale.T(ctx, "runs.bills"), Align: components.Number}, {Label: locale.T(ctx, "runs.held"), Align: components.Number},
			{Label: locale.T(ctx, "runs.total"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
			{Label: locale.T(ctx, "runs.verifier")}, {Label: locale.T(ctx, "runs.issuer")}, {Label: locale.T(ctx, "runs.opened"), WideOnly: true},
		},
		Empty: components.EmptyView{Title: locale.T(ctx, "runs.none"), Body: locale.T(ctx, "runs.none_body")},
	}
	for _, r := range rows {
		held := components.Muted("–")
		if r.Held > 0 {
			held = components.Count(r.Held)
		}
		opened := components.When(r.OpenedAt)
		if r.State != billing.RunIssued && r.State != billing.RunCancelled {
			opened = components.Waited(r.OpenedAt, now)
		}
		t.Rows = append(t.Rows, components.Row{ID: string(r.ID), Href: page.Home("run", string(r.ID)), Tone: runTone(r.State), Cells: []templ.Component{
			components.Text(periodText(ctx, r.Run)), components.Text(page.SiteName(ctx, r.Site)), components.StateBadge(locale.Run, r.State),
			components.Count(r.Bills), held, components.Money(r.TotalFen), name(r.VerifiedName), name(r.IssuedName), opened,
		}})
	}
	return t
}

func runTone(s billing.RunState) components.Tone {
	if s == billing.RunBlocked {
		return components.Danger
	}
	return components.Neutral
}

// periodText names the period, and the version when it isn't the first.
func periodText(ctx context.Context, r store.Run) string {
	if r.Version > 1 {
		return locale.T(ctx, "runs.period_version", r.Period().String(), r.Version)
	}
	return r.Period().String()
}

func name(n string) templ.Component {
	if n == "" {
		return components.Muted("–")
	}
	return components.Text(n)
}
