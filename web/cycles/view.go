package cycles

import (
	"context"
	"net/http"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// listView is the list of cycles; running ones also stand above it with their progress.
type listView struct {
	running []runningView
	filter  components.Filter
	table   components.Table
	pager   components.PagerView
	start   startView
}

type runningView struct {
	id, href string
	state    billing.CycleState
	progress components.ProgressView
}

// startView is the form that starts a cycle; it is open when it was just refused.
type startView struct {
	action components.Action
	open   bool
}

func filterOf(ctx context.Context, l page.List, state string, total int) components.Filter {
	field := components.Field{Kind: components.SelectField, Name: "state", Label: locale.T(ctx, "cycles.state"), Value: state,
		Options: []components.Option{{Label: locale.T(ctx, "cycles.all")}}}
	for _, word := range locale.Words(locale.Cycle) {
		field.Options = append(field.Options, components.Option{Value: word, Label: locale.State(ctx, locale.Cycle, word)})
	}
	return components.Filter{URL: base, Fields: []components.Field{field}, Total: total, ClearHref: l.ClearHref("state")}
}

func listOf(ctx context.Context, rows []store.CycleRow, now time.Time) listView {
	v := listView{table: components.Table{
		ID: "cycles", Caption: locale.T(ctx, "cycles.title"),
		Cols: []components.Col{
			{Label: locale.T(ctx, "cycles.day")}, {Label: locale.T(ctx, "cycles.site")}, {Label: locale.T(ctx, "cycles.state")},
			{Label: locale.T(ctx, "cycles.planned"), Align: components.Number},
			{Label: locale.State(ctx, locale.Quality, "actual"), Align: components.Number},
			{Label: locale.State(ctx, locale.Quality, "estimated"), Align: components.Number, WideOnly: true},
			{Label: locale.State(ctx, locale.Quality, "manual"), Align: components.Number, WideOnly: true},
			{Label: locale.State(ctx, locale.Quality, "missing"), Align: components.Number},
			{Label: locale.T(ctx, "cycles.cases"), Align: components.Number},
			{Label: locale.T(ctx, "cycles.time")},
		},
		Empty: components.EmptyView{Title: locale.T(ctx, "cycles.none"), Body: locale.T(ctx, "cycles.none_body")},
	}}
	for _, c := range rows {
		href := page.Home("cycle", string(c.ID))
		v.table.Rows = append(v.table.Rows, components.Row{ID: string(c.ID), Href: href, Tone: rowTone(c, now), Cells: []templ.Component{
			dayCell(ctx, c), components.Text(page.SiteName(ctx, c.Site)), components.StateBadge(locale.Cycle, c.State),
			components.Count(c.Planned), components.Count(c.Read), countOrDash(c.Estimated), countOrDash(c.Manual), countOrDash(c.Silent),
			casesCell(ctx, c), components.Text(timeAgainstPlan(ctx, c, now)),
		}})
		if c.State != billing.CycleClosed {
			v.running = append(v.running, runningView{
				id: page.SiteName(ctx, c.Site) + " · " + locale.DateTime(ctx, c.FreezeAt), href: href, state: c.State, progress: progressOf(ctx, c, now),
			})
		}
	}
	return v
}

// dayCell tells a cycle on demand, whose instant is no midnight, from the day's own.
func dayCell(ctx context.Context, c store.CycleRow) templ.Component {
	if clock := locale.Clock(ctx, c.FreezeAt); clock != "00:00" {
		return components.Text(locale.Day(ctx, c.FreezeAt) + " · " + locale.T(ctx, "cycles.on_demand", clock))
	}
	return components.Day(c.FreezeAt)
}

func rowTone(c store.CycleRow, now time.Time) components.Tone {
	switch {
	case c.State != billing.CycleClosed && now.After(c.WindowEnd):
		return components.Danger
	case c.State != billing.CycleClosed:
		return components.Running
	case c.OpenCases > 0:
		return components.Watch
	default:
		return components.Neutral
	}
}

func countOrDash(n int) templ.Component {
	if n == 0 {
		return components.Muted("–")
	}
	return components.Count(n)
}

func casesCell(ctx context.Context, c store.CycleRow) templ.Component {
	switch {
	case c.OpenCases > 0:
		return components.Badge(components.Watch, locale.T(ctx, "cycles.open_of", c.OpenCases, c.Cases))
	case c.Cases > 0:
		return components.Muted(locale.Count(c.Cases))
	default:
		return components.Muted("–")
	}
}

// timeAgainstPlan says when it began and ended, and how that stands to the window.
func timeAgainstPlan(ctx context.Context, c store.CycleRow, now time.Time) string {
	begun, end := locale.Clock(ctx, c.OpenedAt), locale.Clock(ctx, c.WindowEnd)
	switch {
	case c.ClosedAt != nil:
		return locale.T(ctx, "cycles.took", begun, locale.Clock(ctx, *c.ClosedAt), end)
	case now.After(c.WindowEnd):
		return locale.T(ctx, "cycles.late", begun, end, locale.Span(ctx, now.Sub(c.WindowEnd)))
	default:
		return locale.T(ctx, "cycles.left", begun, end, locale.Span(ctx, c.WindowEnd.Sub(now)))
	}
}

func progressOf(ctx context.Context, c store.CycleRow, now time.Time) components.ProgressView {
	p := components.ProgressView{
		Label: locale.T(ctx, "cycles.progress"), Done: c.Read + c.Estimated + c.Manual, Total: c.Planned,
		Note: locale.T(ctx, "cycles.pass", c.Passes) + " · " + timeAgainstPlan(ctx, c, now),
	}
	switch {
	case c.State == billing.CycleClosed && p.Done < p.Total:
		p.Tone = components.Watch
	case c.State != billing.CycleClosed && now.After(c.WindowEnd):
		p.Tone = components.Danger
	}
	return p
}

func startOf(r *http.Request) startView {
	ctx := r.Context()
	f := page.FormOf(r, "start")
	field := components.Field{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "cycles.site"), Value: f.Value("site", ""), Required: true, Error: f.Problem("site")}
	for _, s := range page.OwnSites(ctx) {
		field.Options = append(field.Options, components.Option{Value: string(s.ID), Label: page.SiteName(ctx, s.ID)})
	}
	v := startView{open: f.Tried(), action: components.Action{
		ID: "start", Title: locale.T(ctx, "cycles.start"), URL: base, Submit: locale.T(ctx, "cycles.start_now"), Error: f.Error(),
		Consequence: components.Text(locale.T(ctx, "cycles.start_effect")), Fields: []components.Field{field}, Hidden: []components.Hidden{f.Nonce()},
	}}
	if err := auth.Can(page.Actor(ctx), auth.StartCycle, ""); err != nil {
		v.action.Disabled = page.Sentence(ctx, err)
	}
	return v
}
