package rounds

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// routesView is the list of routes.
type routesView struct {
	tabs  []components.Tab
	table components.Table
	may   bool
}

// routeView is the form of one route.
type routeView struct {
	title  string
	action components.Action
	starts []components.Tab // lists to begin with
}

func (h handler) routes(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	actor := page.Actor(ctx)
	if err := auth.Can(actor, auth.View, ""); err != nil {
		return err
	}
	rows, err := h.Store.Routes(ctx, page.Sites(ctx))
	if err != nil {
		return err
	}
	counts, err := h.Store.RoundCounts(ctx, page.Sites(ctx), actor.UserID)
	if err != nil {
		return err
	}
	v := routesView{tabs: tabs(ctx, "routes", counts), may: auth.Can(actor, auth.PlanRound, "") == nil, table: components.Table{
		ID: "routes", Caption: locale.T(ctx, "rounds.tab_routes"), Cols: []components.Col{
			{Label: locale.T(ctx, "rounds.route")}, {Label: locale.T(ctx, "rounds.site")}, {Label: locale.T(ctx, "rounds.meters"), Align: components.Number},
			{Label: locale.T(ctx, "rounds.rhythm")}, {Label: locale.T(ctx, "rounds.last_readers")}, {Label: locale.T(ctx, "rounds.under_way")},
		}, Empty: components.EmptyView{Title: locale.T(ctx, "rounds.no_routes"), Body: locale.T(ctx, "rounds.no_routes_body")},
	}}
	for _, t := range rows {
		rhythm := locale.T(ctx, "rounds.by_hand")
		if t.EveryDays > 0 {
			rhythm = locale.T(ctx, "rounds.every", t.EveryDays)
		}
		if !t.Active {
			rhythm = locale.T(ctx, "rounds.inactive")
		}
		open := components.Muted("–")
		if t.Open != nil {
			open = components.Link(href(*t.Open), string(*t.Open))
		}
		v.table.Rows = append(v.table.Rows, components.Row{ID: string(t.ID), Href: path + "/routes/" + string(t.ID), Cells: []templ.Component{
			components.Lines(components.Text(t.Name), string(t.ID)+" · "+locale.State(ctx, locale.RoundKind, t.Kind)), components.Text(page.SiteName(ctx, t.Site)), components.Count(t.Meters),
			components.Text(rhythm), components.Text(strings.Join(t.LastNames, ", ")), open,
		}})
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "rounds.tab_routes"), Nav: path, Body: routes(v)})
}

// newRoute is the empty form, or one that begins with the meters that nobody can read now, or with those of a gateway.
func (h handler) newRoute(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.PlanRound, ""); err != nil {
		return err
	}
	l := page.ListOf(r)
	t := store.Route{Kind: billing.RoundCollect, Active: true}
	if own := page.Sites(ctx); len(own) > 0 {
		t.Site = own[0]
	}
	var meters []billing.MeterID
	var err error
	switch from := l.Get("from"); {
	case from == "unread":
		meters, err = h.Store.UnreadMeters(ctx, t.Site, store.MaxRouteMeters)
	case from != "":
		meters, err = h.gatewayMeters(r, billing.GatewayID(from))
		if g, gerr := h.Store.Gateway(ctx, billing.GatewayID(from)); gerr == nil {
			t.Site = g.Site
		}
	}
	if err != nil {
		return err
	}
	v, err := h.routeForm(r, t, meters)
	if err != nil {
		return err
	}
	v.title = locale.T(ctx, "rounds.new_route")
	return h.Render(w, r, page.View{Title: v.title, Nav: path, Narrow: true, Body: route(v)})
}

func (h handler) gatewayMeters(r *http.Request, gateway billing.GatewayID) ([]billing.MeterID, error) {
	rows, _, err := h.Store.MeterPage(r.Context(), store.MeterFilter{Sites: page.Actor(r.Context()).Sites, Gateway: gateway}, store.MaxRouteMeters, 0)
	ids := make([]billing.MeterID, 0, len(rows))
	for _, m := range rows {
		ids = append(ids, m.ID)
	}
	return ids, err
}

func (h handler) route(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.View, ""); err != nil {
		return err
	}
	t, meters, err := h.Store.Route(ctx, billing.RouteID(page.Param(r, "route")))
	if err != nil {
		return err
	}
	if err := page.See(ctx, t.Site); err != nil {
		return err
	}
	v, err := h.routeForm(r, t, meters)
	if err != nil {
		return err
	}
	v.title = t.Name
	return h.Render(w, r, page.View{Title: t.Name, Nav: path, Narrow: true, Body: route(v)})
}

func (h handler) routeForm(r *http.Request, t store.Route, meters []billing.MeterID) (routeView, error) {
	ctx := r.Context()
	f := page.FormOf(r, "route")
	lines := make([]string, len(meters))
	for i, m := range meters {
		lines[i] = string(m)
	}
	var kinds, sites []components.Option
	for _, k := range billing.RoundKinds {
		kinds = append(kinds, components.Option{Value: string(k), Label: locale.State(ctx, locale.RoundKind, k)})
	}
	for _, s := range page.OwnSites(ctx) {
		sites = append(sites, components.Option{Value: string(s.ID), Label: page.SiteName(ctx, s.ID)})
	}
	active := ""
	if t.Active {
		active = "1"
	}
	url := path + "/routes"
	if t.ID != "" {
		url += "/" + string(t.ID)
	}
	v := routeView{action: components.Action{ID: "route", Title: locale.T(ctx, "rounds.route"), URL: url, Submit: locale.T(ctx, "rounds.save_route"), Error: f.Error(), Fields: []components.Field{
		{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "rounds.site"), Value: f.Value("site", string(t.Site)), Error: f.Problem("site"), Options: sites, Required: true},
		{Kind: components.TextField, Name: "name", Label: locale.T(ctx, "rounds.route_name"), Value: f.Value("name", t.Name), Error: f.Problem("name"), Required: true, MaxLength: 60},
		{Kind: components.SelectField, Name: "kind", Label: locale.T(ctx, "rounds.kind"), Value: f.Value("kind", string(t.Kind)), Error: f.Problem("kind"), Options: kinds, Required: true},
		{Kind: components.NumberField, Name: "every_days", Label: locale.T(ctx, "rounds.every_days"), Value: f.Value("every_days", strconv.Itoa(t.EveryDays)), Error: f.Problem("every_days"), Hint: locale.T(ctx, "rounds.every_hint"), Required: true},
		{Kind: components.AreaField, Name: "meters", Label: locale.T(ctx, "rounds.route_meters"), Value: f.Value("meters", strings.Join(lines, "\n")), Error: f.Problem("meters"), Hint: locale.T(ctx, "rounds.route_meters_hint"), Required: true},
		{Kind: components.CheckField, Name: "active", Label: locale.T(ctx, "rounds.route_active"), Value: f.Value("active", active)},
	}}}
	if t.ID == "" && !f.Tried() {
		v.starts = []components.Tab{{Label: locale.T(ctx, "rounds.from_unread"), Href: path + "/routes/new?from=unread"}}
		gateways, err := h.Store.Gateways(ctx, page.Sites(ctx))
		if err != nil {
			return v, err
		}
		for _, g := range gateways {
			v.starts = append(v.starts, components.Tab{Label: locale.T(ctx, "rounds.from_gateway", g.Name), Href: path + "/routes/new?from=" + string(g.ID)})
		}
	}
	if err := auth.Can(page.Actor(ctx), auth.PlanRound, t.Site); err != nil {
		v.action.Disabled = page.Sentence(ctx, err)
	}
	return v, nil
}

// saveRoute is master data: one change of the store with its journal row.
func (h handler) saveRoute(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	t := store.Route{
		ID: billing.RouteID(page.Param(r, "route")), Site: billing.SiteID(in.Required("site")), Name: in.Required("name"), EveryDays: int(in.Int("every_days")),
		Kind: billing.RoundKind(in.OneOf("kind", string(billing.RoundCollect), string(billing.RoundCheck))), Active: in.Text("active") != "",
	}
	if t.EveryDays < 0 || t.EveryDays > 366 {
		in.Refuse("every_days", billing.Errorf(billing.CodeInvalidInput, "write 0 to 366 days"))
	}
	var meters []billing.MeterID
	for _, line := range strings.Split(strings.ReplaceAll(in.Required("meters"), "\r", ""), "\n") {
		if id := strings.TrimSpace(line); id != "" {
			meters = append(meters, billing.MeterID(id))
		}
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.PlanRound, t.Site); err != nil {
		return page.Done{}, err
	}
	if _, err := h.Store.SaveRoute(ctx, store.By{Actor: string(page.Actor(ctx).UserID)}, t, meters); err != nil {
		if strings.HasPrefix(billing.MessageOf(err), "line ") {
			in.Refuse("meters", err)
			return page.Done{}, in.Err()
		}
		return page.Done{}, err
	}
	return page.Done{To: path + "/routes", Said: locale.T(ctx, "rounds.said_route", t.Name)}, nil
}
