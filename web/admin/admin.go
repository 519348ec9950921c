// Package admin shows the administrator what the utility is set up with: sites and their policies, the calendar, tariffs, and people. It
// changes nothing.
package admin

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const (
	sitesPath = "/sites"
	usersPath = "/users"
)

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(sitesPath, d.Handle(h.sites))
	r.Get(usersPath, d.Handle(h.users))
}

type handler struct{ page.Deps }

type sitesView struct {
	sites    []siteView
	calendar components.Table
	tariffs  components.Table
}

type siteView struct {
	id, name, zone string
	policy         components.Table
}

// calendarLength is how many special days ahead are shown.
const calendarLength = 40

func (h handler) sites(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	today := billing.DateOf(page.Now(ctx), locale.Zone(ctx))
	days, err := h.Store.CalendarDays(ctx, today, calendarLength)
	if err != nil {
		return err
	}
	tariffs, err := h.Store.Tariffs(ctx)
	if err != nil {
		return err
	}
	v := sitesView{calendar: calendarTable(ctx, days), tariffs: tariffTable(ctx, tariffs)}
	for _, s := range page.OwnSites(ctx) {
		if slices.Contains(page.Sites(ctx), s.ID) {
			v.sites = append(v.sites, siteView{id: string(s.ID), name: page.SiteName(ctx, s.ID), zone: s.Zone.String(), policy: policyTable(ctx, s)})
		}
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "admin.sites"), Nav: sitesPath, Body: sites(v)})
}

func calendarTable(ctx context.Context, days []billing.CalendarDay) components.Table {
	t := components.Table{ID: "calendar", Caption: locale.T(ctx, "admin.calendar"), Cols: []components.Col{
		{Label: locale.T(ctx, "admin.day")}, {Label: locale.T(ctx, "admin.name")}, {Label: locale.T(ctx, "admin.kind")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "admin.no_days"), Body: locale.T(ctx, "admin.no_days_body")}}
	for _, d := range days {
		kind := components.Badge(components.Neutral, locale.T(ctx, "admin.worked"))
		if d.Off {
			kind = components.Badge(components.Watch, locale.T(ctx, "admin.day_off"))
		}
		t.Rows = append(t.Rows, components.Row{ID: d.Date.String(), Cells: []templ.Component{components.Day(d.Date.Start(locale.Zone(ctx))), components.Text(d.Name), kind}})
	}
	return t
}

func tariffTable(ctx context.Context, all map[billing.TariffID]billing.Tariff) components.Table {
	t := components.Table{ID: "tariffs", Caption: locale.T(ctx, "admin.tariffs"), Cols: []components.Col{
		{Label: locale.T(ctx, "admin.tariff")}, {Label: locale.T(ctx, "admin.name")}, {Label: locale.T(ctx, "admin.service")}, {Label: locale.T(ctx, "admin.versions")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "admin.no_tariffs"), Body: locale.T(ctx, "admin.no_tariffs_body")}}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		tariff := all[id]
		name := tariff.Name.ZH
		if locale.Lang(ctx) == locale.EN {
			name = tariff.Name.EN
		}
		var from []string
		for _, v := range tariff.Versions {
			from = append(from, v.From.String())
		}
		t.Rows = append(t.Rows, components.Row{ID: string(id), Cells: []templ.Component{
			components.Code(string(id)), components.Text(name), components.Text(locale.State(ctx, locale.Service, tariff.Service)), components.Text(strings.Join(from, ", ")),
		}})
	}
	return t
}

// policyTable lists where a site differs from the defaults, each number under its path.
func policyTable(ctx context.Context, s store.Site) components.Table {
	t := components.Table{ID: "policy-" + string(s.ID), Caption: locale.T(ctx, "admin.policy"), Cols: []components.Col{
		{Label: locale.T(ctx, "admin.setting")}, {Label: locale.T(ctx, "admin.value")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "admin.defaults"), Body: locale.T(ctx, "admin.defaults_body")}}
	for _, p := range flatten("", s.Policy) {
		t.Rows = append(t.Rows, components.Row{ID: p.path, Cells: []templ.Component{components.Code(p.path), components.Text(p.value)}})
	}
	return t
}

type setting struct{ path, value string }

// flatten lists the leaves of a JSON object by path, in order.
func flatten(at string, raw json.RawMessage) []setting {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return []setting{{at, strings.Trim(string(raw), `"`)}}
	}
	var list []setting
	for _, name := range slices.Sorted(maps.Keys(object)) {
		list = append(list, flatten(strings.TrimPrefix(at+"."+name, "."), object[name])...)
	}
	return list
}

func (h handler) users(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.ManageUsers, ""); err != nil {
		return err
	}
	all, err := h.Store.Users(ctx)
	if err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "admin.users"), Nav: usersPath, Body: users(userTable(ctx, all))})
}

func userTable(ctx context.Context, all []store.User) components.Table {
	t := components.Table{ID: "users", Caption: locale.T(ctx, "admin.users"), Cols: []components.Col{
		{Label: locale.T(ctx, "admin.user")}, {Label: locale.T(ctx, "admin.name")}, {Label: locale.T(ctx, "admin.role")}, {Label: locale.T(ctx, "admin.works_at")}, {Label: locale.T(ctx, "admin.may_sign_in")},
	}}
	for _, u := range all {
		var places []string
		for _, s := range u.Sites {
			places = append(places, page.SiteName(ctx, s))
		}
		state := components.Badge(components.Good, locale.T(ctx, "admin.active"))
		if !u.Active {
			state = components.Badge(components.Danger, locale.T(ctx, "admin.switched_off"))
		}
		t.Rows = append(t.Rows, components.Row{ID: string(u.ID), Href: page.TraceHref(string(u.ID)), Cells: []templ.Component{
			components.Text(string(u.ID)), components.Text(u.Name), components.Text(locale.State(ctx, locale.Role, u.Role)), components.Text(strings.Join(places, ", ")), state,
		}})
	}
	return t
}
