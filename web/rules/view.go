package rules

import (
	"context"
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
	"github.com/meterflow/meterflow/workflows"
)

// groupRules is a group with its versions, newest first.
type groupRules struct {
	store.RuleGroup
	versions []store.RuleVersion
}

// known is what the list is made of.
type known struct {
	groups []groupRules
	subs   []store.SubPoint
	today  billing.Date
}

// state is whether a version holds on a day: withdrawn, planned, in force or past. Versions are newest first, at is the version's place.
func (g groupRules) state(at int, today billing.Date) string {
	v := g.versions[at]
	switch {
	case v.WithdrawnBy != "":
		return "withdrawn"
	case v.FromDay.After(today):
		return "planned"
	case !v.ToDay.IsZero() && !v.ToDay.After(today):
		return "past"
	}
	for i := range at { // a later one that has begun
		if n := g.versions[i]; n.WithdrawnBy == "" && !n.FromDay.After(today) {
			return "past"
		}
	}
	return "force"
}

// of is the version in a state; nil when there is none.
func (g groupRules) of(state string, today billing.Date) *store.RuleVersion {
	for i := range g.versions {
		if g.state(i, today) == state {
			return &g.versions[i]
		}
	}
	return nil
}

type defaultsView struct {
	title string
	table components.Table
}

type listView struct {
	head     components.Head
	groups   components.Table
	defaults []defaultsView
	subs     components.Table
	actions  []components.Action
}

type showView struct {
	head     components.Head
	facts    []components.Fact
	rules    components.Table
	versions components.Table
	actions  []components.Action
	timeline components.TimelineView
}

func listOf(r *http.Request, k known) (listView, error) {
	ctx := r.Context()
	v := listView{
		head:   components.Head{Title: locale.T(ctx, "rules.title"), Subtitle: locale.T(ctx, "rules.subtitle")},
		groups: groupTable(ctx, k), subs: subTable(ctx, k.subs),
	}
	for _, site := range page.OwnSites(ctx) {
		for _, service := range []billing.Service{billing.Power, billing.Water} {
			rules, err := workflows.DefaultRules(site.Policy, service)
			if err != nil {
				return v, err
			}
			v.defaults = append(v.defaults, defaultsView{
				title: page.SiteName(ctx, site.ID) + " · " + locale.State(ctx, locale.Service, service),
				table: ruleTable(ctx, "defaults-"+string(site.ID)+"-"+string(service), rules, rules, service),
			})
		}
	}
	v.actions = []components.Action{addAction(r), subAction(r)}
	if standing := standingSubs(ctx, k.subs); len(standing) > 0 {
		v.actions = append(v.actions, endAction(r, standing))
	}
	return v, nil
}

func groupTable(ctx context.Context, k known) components.Table {
	t := components.Table{ID: "groups", Caption: locale.T(ctx, "rules.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "rules.group")}, {Label: locale.T(ctx, "rules.site")}, {Label: locale.T(ctx, "rules.applies")},
		{Label: locale.T(ctx, "rules.in_force")}, {Label: locale.T(ctx, "rules.planned")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "rules.none"), Body: locale.T(ctx, "rules.none_body")}}
	for _, g := range k.groups {
		force, planned := components.Muted(locale.T(ctx, "rules.nothing_in_force")), components.Muted("–")
		if now := g.of("force", k.today); now != nil {
			force = components.Lines(components.Text(locale.T(ctx, "rules.version_no", now.Version)), periodText(ctx, *now))
		}
		if next := g.of("planned", k.today); next != nil {
			planned = components.Lines(components.Text(locale.T(ctx, "rules.version_no", next.Version)), periodText(ctx, *next))
		}
		t.Rows = append(t.Rows, components.Row{ID: g.ID, Href: base + "/" + g.ID, Cells: []templ.Component{
			components.Lines(components.Text(g.Name), g.ID), components.Text(page.SiteName(ctx, g.Site)), components.Text(appliesText(ctx, g.RuleGroup)), force, planned}})
	}
	return t
}

func periodText(ctx context.Context, v store.RuleVersion) string {
	if v.ToDay.IsZero() {
		return v.FromDay.String() + " – " + locale.T(ctx, "rules.open_end")
	}
	return v.FromDay.String() + " – " + v.ToDay.String()
}

func appliesText(ctx context.Context, g store.RuleGroup) string {
	profile, class := locale.T(ctx, "rules.any_profile"), locale.T(ctx, "rules.any_class")
	if g.Profile != "" {
		profile = g.Profile
	}
	if g.Class != "" {
		class = locale.State(ctx, locale.Class, g.Class)
	}
	return strings.Join([]string{locale.State(ctx, locale.Service, g.Service), profile, class}, " · ")
}

// ruleTable lists every limit with its default beside it where it differs.
func ruleTable(ctx context.Context, id string, r, standard workflows.RuleSet, s billing.Service) components.Table {
	t := components.Table{ID: id, Caption: locale.T(ctx, "rules.limits"), Cols: []components.Col{{Label: locale.T(ctx, "rules.limit")}, {Label: locale.T(ctx, "rules.value")}, {Label: locale.T(ctx, "rules.default"), WideOnly: true}}}
	add := func(name, label, value, other string) {
		difference := components.Muted("–")
		if other != value && other != "" {
			difference = components.Muted(other)
		}
		t.Rows = append(t.Rows, components.Row{ID: name, Cells: []templ.Component{components.Text(label), components.Text(value), difference}})
	}
	level := func(l workflows.RuleLevel) string {
		floor, low, high := locale.Quantity(l.FloorRaw, s.Scale())+" "+s.Unit(), strconv.FormatInt(l.LowPercent, 10), strconv.FormatInt(l.HighPercent, 10)
		if l.UpToRaw == 0 {
			return locale.T(ctx, "rules.level_above", low, high, floor)
		}
		return locale.T(ctx, "rules.level_text", locale.Quantity(l.UpToRaw, s.Scale())+" "+s.Unit(), low, high, floor)
	}
	for i, l := range r.Levels {
		other := ""
		if i < len(standard.Levels) {
			other = level(standard.Levels[i])
		}
		add("level-"+strconv.Itoa(i+1), locale.T(ctx, "rules.level_of", i+1), level(l), other)
	}
	for _, l := range limits {
		unit := l.unitText(ctx, s)
		add(l.name, locale.T(ctx, l.key), l.text(l.get(r), s)+" "+unit, l.text(l.get(standard), s)+" "+unit)
	}
	add("methods", locale.T(ctx, "rules.methods"), methodText(ctx, r.Methods), methodText(ctx, standard.Methods))
	return t
}

func methodText(ctx context.Context, methods []workflows.RuleMethod) string {
	names := make([]string, len(methods))
	for i, m := range methods {
		names[i] = strconv.Itoa(i+1) + ". " + locale.State(ctx, locale.Method, m)
	}
	return strings.Join(names, " · ")
}

// subTable has one line per master and instant since which it measures the same sub-meters.
func subTable(ctx context.Context, subs []store.SubPoint) components.Table {
	t := components.Table{ID: "subs", Caption: locale.T(ctx, "rules.masters"), Cols: []components.Col{
		{Label: locale.T(ctx, "rules.master")}, {Label: locale.T(ctx, "rules.sub")}, {Label: locale.T(ctx, "rules.since")}, {Label: locale.T(ctx, "rules.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "rules.no_masters"), Body: locale.T(ctx, "rules.no_masters_body")}}
	for i := 0; i < len(subs); {
		first, names := subs[i], []string{}
		for ; i < len(subs) && sameStretch(first, subs[i]); i++ {
			names = append(names, string(subs[i].SubOf))
		}
		state := components.Badge(components.Good, locale.T(ctx, "rules.standing"))
		if first.ToAt != nil {
			state = components.Muted(locale.T(ctx, "rules.ended", locale.DateTime(ctx, *first.ToAt)))
		}
		t.Rows = append(t.Rows, components.Row{ID: strconv.FormatInt(first.ID, 10), Href: page.Home("meter", string(first.MasterOf)), Cells: []templ.Component{
			components.Code(string(first.MasterOf)), components.Lines(components.Text(locale.T(ctx, "rules.subs_of", len(names))), strings.Join(names, ", ")), components.When(first.FromAt), state}})
	}
	return t
}

// sameStretch says that two sub-meters stand below the same master over the same time.
func sameStretch(a, b store.SubPoint) bool {
	if a.Master != b.Master || !a.FromAt.Equal(b.FromAt) || (a.ToAt == nil) != (b.ToAt == nil) {
		return false
	}
	return a.ToAt == nil || a.ToAt.Equal(*b.ToAt)
}

func standingSubs(ctx context.Context, subs []store.SubPoint) []components.Option {
	var options []components.Option
	for _, s := range subs {
		if s.ToAt == nil && auth.Can(page.Actor(ctx), auth.View, s.Site) == nil {
			options = append(options, components.Option{Value: strconv.FormatInt(s.ID, 10), Label: string(s.MasterOf) + " → " + string(s.SubOf) + " " + s.Address})
		}
	}
	return options
}

// guarded closes a form to those who may not change rules.
func guarded(ctx context.Context, a components.Action) components.Action {
	if err := auth.Can(page.Actor(ctx), auth.MasterData, ""); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func reasonField(ctx context.Context, f page.Form) components.Field {
	return components.ReasonField(locale.T(ctx, "rules.reason"), f.Value("reason", ""), f.Problem("reason"))
}

func dateFields(ctx context.Context, f page.Form) []components.Field {
	return []components.Field{
		{Kind: components.DateField, Name: "from", Label: locale.T(ctx, "rules.from"), Value: f.Value("from", ""), Error: f.Problem("from"), Required: true},
		{Kind: components.DateField, Name: "to", Label: locale.T(ctx, "rules.to"), Value: f.Value("to", ""), Error: f.Problem("to")},
	}
}

func addAction(r *http.Request) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "add")
	a := components.Action{ID: "add", Title: locale.T(ctx, "rules.add"), URL: base, Submit: locale.T(ctx, "rules.publish"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Consequence: components.Text(locale.T(ctx, "rules.new_version_note"))}
	site := components.Field{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "rules.site"), Value: f.Value("site", ""), Error: f.Problem("site"), Required: true}
	for _, s := range page.OwnSites(ctx) {
		site.Options = append(site.Options, components.Option{Value: string(s.ID), Label: page.SiteName(ctx, s.ID)})
	}
	service := components.Field{Kind: components.SelectField, Name: "service", Label: locale.T(ctx, "rules.service"), Value: f.Value("service", ""), Error: f.Problem("service"), Required: true}
	for _, s := range locale.Words(locale.Service) {
		service.Options = append(service.Options, components.Option{Value: s, Label: locale.State(ctx, locale.Service, s)})
	}
	class := components.Field{Kind: components.SelectField, Name: "class", Label: locale.T(ctx, "rules.class"), Value: f.Value("class", ""), Options: []components.Option{{Label: locale.T(ctx, "rules.any_class")}}}
	for _, c := range locale.Words(locale.Class) {
		class.Options = append(class.Options, components.Option{Value: c, Label: locale.State(ctx, locale.Class, c)})
	}
	text := func(name, label, hint string, required bool) components.Field {
		return components.Field{Kind: components.TextField, Name: name, Label: label, Value: f.Value(name, ""), Hint: hint, Error: f.Problem(name), Required: required, Autocomplete: "off", MaxLength: 60}
	}
	a.Fields = append(a.Fields, site, text("name", locale.T(ctx, "rules.name"), "", true), service, text("profile", locale.T(ctx, "rules.profile"), locale.T(ctx, "rules.any_profile"), false), class)
	a.Fields = append(append(a.Fields, dateFields(ctx, f)...), reasonField(ctx, f))
	return guarded(ctx, a)
}

func subAction(r *http.Request) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "sub")
	text := func(name, label string) components.Field {
		return components.Field{Kind: components.TextField, Name: name, Label: label, Value: f.Value(name, ""), Error: f.Problem(name), Required: true, Autocomplete: "off", MaxLength: 40}
	}
	return guarded(ctx, components.Action{ID: "sub", Title: locale.T(ctx, "rules.add_sub"), URL: base + "/subs", Submit: locale.T(ctx, "rules.add_sub"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Fields: []components.Field{text("master", locale.T(ctx, "rules.master_meter")), text("sub", locale.T(ctx, "rules.sub_meter")), dateFields(ctx, f)[0], reasonField(ctx, f)}})
}

func endAction(r *http.Request, options []components.Option) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "end")
	return guarded(ctx, components.Action{ID: "end", Title: locale.T(ctx, "rules.end_sub_title"), URL: base + "/subs/end", Submit: locale.T(ctx, "rules.end_sub"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Fields: []components.Field{{Kind: components.SelectField, Name: "id", Label: locale.T(ctx, "rules.sub"), Value: f.Value("id", ""), Error: f.Problem("id"), Options: options, Required: true}, reasonField(ctx, f)}})
}

func showOf(r *http.Request, g groupRules) (showView, error) {
	ctx := r.Context()
	today := billing.DateOf(page.Now(ctx), page.SiteZone(ctx, g.Site))
	v := showView{head: components.Head{Title: g.Name, Subtitle: g.ID + " · " + page.SiteName(ctx, g.Site) + " · " + appliesText(ctx, g.RuleGroup), BackHref: base, BackLabel: locale.T(ctx, "rules.title")}}
	newest := g.versions[0]
	for i := range g.versions { // what a person sees and goes on from: in force, else planned, else the newest
		if s := g.state(i, today); s == "force" {
			newest = g.versions[i]
			break
		}
	}
	rules, err := workflows.ParseRules(newest.Rules)
	if err != nil {
		return v, err
	}
	var standard workflows.RuleSet
	for _, s := range page.OwnSites(ctx) {
		if s.ID == g.Site {
			if standard, err = workflows.DefaultRules(s.Policy, g.Service); err != nil {
				return v, err
			}
		}
	}
	v.facts = []components.Fact{{ID: "shown", Label: locale.T(ctx, "rules.shown"), Value: components.Text(locale.T(ctx, "rules.version_no", newest.Version)), Hint: periodText(ctx, newest)}}
	v.rules = ruleTable(ctx, "rules", rules, standard, g.Service)
	v.versions = versionTable(ctx, g, today)
	f := page.FormOf(r, "version")
	a := components.Action{ID: "version", Title: locale.T(ctx, "rules.new_version"), URL: base + "/" + g.ID, Submit: locale.T(ctx, "rules.publish"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Consequence: components.Text(locale.T(ctx, "rules.new_version_note")), Fields: append(dateFields(ctx, f), limitFields(ctx, f, rules, g.Service)...)}
	a.Fields = append(a.Fields, reasonField(ctx, f))
	v.actions = []components.Action{guarded(ctx, a)}
	if planned := g.of("planned", today); planned != nil {
		wf := page.FormOf(r, "withdraw")
		v.actions = append(v.actions, guarded(ctx, components.Action{ID: "withdraw", Title: locale.T(ctx, "rules.withdraw", planned.Version), URL: base + "/" + g.ID + "/withdraw", Submit: locale.T(ctx, "rules.withdraw", planned.Version),
			Tone: components.Danger, Error: wf.Error(), Hidden: []components.Hidden{wf.Nonce(), {Name: "version", Value: strconv.Itoa(planned.Version)}},
			Consequence: components.Text(locale.T(ctx, "rules.withdraw_note")), Fields: []components.Field{reasonField(ctx, wf)}}))
	}
	return v, nil
}

var stateKeys = map[string]string{
	"force": locale.Key("rules.state_force"), "planned": locale.Key("rules.state_planned"), "past": locale.Key("rules.state_past"), "withdrawn": locale.Key("rules.state_withdrawn"),
}

var stateTones = map[string]components.Tone{"force": components.Good, "planned": components.Watch}

func versionTable(ctx context.Context, g groupRules, today billing.Date) components.Table {
	t := components.Table{ID: "versions", Caption: locale.T(ctx, "rules.versions"), Cols: []components.Col{
		{Label: locale.T(ctx, "vee.version")}, {Label: locale.T(ctx, "rules.period")}, {Label: locale.T(ctx, "rules.state")}, {Label: locale.T(ctx, "rules.made_by")}, {Label: locale.T(ctx, "rules.reason")},
	}}
	for i, v := range g.versions {
		state, reason := g.state(i, today), v.Reason
		if v.Withdrawal != "" {
			reason += " · " + v.Withdrawal
		}
		t.Rows = append(t.Rows, components.Row{ID: strconv.Itoa(v.Version), Cells: []templ.Component{
			components.Text(strconv.Itoa(v.Version)), components.Text(periodText(ctx, v)), components.Badge(stateTones[state], locale.T(ctx, stateKeys[state])),
			components.Lines(components.Text(v.MadeName), locale.DateTime(ctx, v.MadeAt)), components.Text(reason)}})
	}
	return t
}
