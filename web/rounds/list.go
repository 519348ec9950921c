package rounds

import (
	"context"
	"net/http"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// listView is the list of rounds with the form that plans another.
type listView struct {
	tabs     []components.Tab
	table    components.Table
	pager    components.PagerView
	plan     *components.Action
	mayRoute bool
}

// The views of the list, besides single states.
const (
	viewOpen   = "open"
	viewMine   = "mine"
	viewCheck  = string(billing.RoundSubmitted)
	viewClosed = string(billing.RoundClosed)
)

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	actor := page.Actor(ctx)
	if err := auth.Can(actor, auth.SeeRounds, ""); err != nil {
		return err
	}
	l := page.ListOf(r)
	state := l.One("state", viewOpen, viewCheck, viewClosed, "all")
	if state == "" {
		state = viewOpen
	}
	f := store.RoundFilter{Sites: page.Sites(ctx), State: state}
	if state == "all" {
		f.State = ""
	}
	if isReader(ctx) {
		f.Reader = actor.UserID
	}
	rows, total, err := h.Store.RoundPage(ctx, f, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	counts, err := h.Store.RoundCounts(ctx, page.Sites(ctx), actor.UserID)
	if err != nil {
		return err
	}
	v := listView{tabs: tabs(ctx, state, counts), table: roundTable(ctx, rows), pager: l.Pager(len(rows), total), mayRoute: auth.Can(actor, auth.PlanRound, "") == nil}
	if v.mayRoute {
		if v.plan, err = h.planAction(r); err != nil {
			return err
		}
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "rounds.title"), Nav: path, Body: list(v)})
}

// tabs are the views of the list; supervisors see the routes and what was found about readers beside them.
func tabs(ctx context.Context, active string, c store.RoundCounts) []components.Tab {
	if isReader(ctx) {
		return []components.Tab{
			{Label: locale.T(ctx, "rounds.tab_mine"), Href: path, Count: c.Mine, Active: active == viewOpen},
			{Label: locale.T(ctx, "rounds.tab_all"), Href: path + "?state=all", Active: active == "all"},
		}
	}
	return []components.Tab{
		{Label: locale.T(ctx, "rounds.tab_open"), Href: path, Count: c.Open, Active: active == viewOpen},
		{Label: locale.T(ctx, "rounds.tab_check"), Href: path + "?state=" + viewCheck, Count: c.Submitted, Active: active == viewCheck},
		{Label: locale.T(ctx, "rounds.tab_closed"), Href: path + "?state=" + viewClosed, Active: active == viewClosed},
		{Label: locale.T(ctx, "rounds.tab_findings"), Href: path + "/findings", Count: c.Findings, Active: active == "findings"},
		{Label: locale.T(ctx, "rounds.tab_routes"), Href: path + "/routes", Active: active == "routes"},
	}
}

func roundTable(ctx context.Context, rows []store.RoundRow) components.Table {
	t := components.Table{ID: "rounds", Caption: locale.T(ctx, "rounds.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "rounds.number")}, {Label: locale.T(ctx, "rounds.route")}, {Label: locale.T(ctx, "rounds.due")}, {Label: locale.T(ctx, "rounds.reader")},
		{Label: locale.T(ctx, "rounds.progress"), Align: components.Number}, {Label: locale.T(ctx, "rounds.notes")}, {Label: locale.T(ctx, "rounds.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "rounds.none"), Body: locale.T(ctx, "rounds.none_body")}}
	if isReader(ctx) {
		t.Empty.Body = locale.T(ctx, "rounds.none_mine")
	}
	for _, rd := range rows {
		reader := components.Muted(locale.T(ctx, "rounds.nobody"))
		if rd.ReaderName != "" {
			reader = components.Text(rd.ReaderName)
		}
		row := components.Row{ID: string(rd.ID), Href: href(rd.ID), Cells: []templ.Component{
			components.Text(string(rd.ID)), components.Lines(components.Text(rd.RouteName), locale.State(ctx, locale.RoundKind, rd.Kind)),
			components.Day(rd.DueOn.Start(page.SiteZone(ctx, rd.Site))), reader, components.Text(locale.T(ctx, "rounds.of", rd.Entered, rd.Meters)),
			components.Text(notes(ctx, rd)), components.StateBadge(locale.Round, rd.State),
		}}
		if rd.LateAt != nil && !rd.State.Final() {
			row.Tone = components.Danger
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// notes are what a supervisor should know about a round before opening it. A reader isn't told what the checks of their own work say.
func notes(ctx context.Context, rd store.RoundRow) string {
	text := ""
	add := func(s string) {
		if text != "" {
			text += " · "
		}
		text += s
	}
	if rd.LateAt != nil {
		add(locale.T(ctx, "rounds.note_late"))
	}
	if rd.Returns > 0 {
		add(locale.T(ctx, "rounds.note_returned", rd.Returns))
	}
	if rd.Warned > 0 {
		add(locale.T(ctx, "rounds.note_warned", rd.Warned))
	}
	if rd.Doubtful > 0 {
		add(locale.T(ctx, "rounds.note_doubtful", rd.Doubtful))
	}
	if rd.Findings > 0 && !isReader(ctx) {
		add(locale.T(ctx, "rounds.note_findings", rd.Findings))
	}
	return text
}

func (h handler) planAction(r *http.Request) (*components.Action, error) {
	ctx := r.Context()
	routes, err := h.Store.Routes(ctx, page.Sites(ctx))
	if err != nil {
		return nil, err
	}
	f := page.FormOf(r, "plan")
	var options []components.Option
	for _, t := range routes {
		if !t.Active {
			continue
		}
		o := components.Option{Value: string(t.ID), Label: t.Name + " · " + locale.T(ctx, "rounds.meters_n", t.Meters)}
		if len(page.Sites(ctx)) > 1 {
			o.Label = page.SiteName(ctx, t.Site) + " · " + o.Label
		}
		if t.Open != nil {
			o.Label += " · " + locale.T(ctx, "rounds.route_open", string(*t.Open))
			o.Disabled = o.Label
		}
		options = append(options, o)
	}
	today := locale.Date(ctx, page.Now(ctx))
	a := &components.Action{ID: "plan", Title: locale.T(ctx, "rounds.plan"), URL: path, Submit: locale.T(ctx, "rounds.plan"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Fields: []components.Field{
			{Kind: components.SelectField, Name: "route", Label: locale.T(ctx, "rounds.route"), Value: f.Value("route", r.URL.Query().Get("route")), Error: f.Problem("route"), Required: true, Options: options},
			{Kind: components.DateField, Name: "due", Label: locale.T(ctx, "rounds.due"), Value: f.Value("due", today), Error: f.Problem("due"), Required: true, Hint: locale.T(ctx, "rounds.due_hint")},
		}}
	if len(options) == 0 {
		a.Disabled = locale.T(ctx, "rounds.no_route")
	}
	return a, nil
}
