package latefees

import (
	"context"
	"net/http"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// known is what the page is made of.
type known struct {
	site     store.Site
	today    billing.Date
	policy   billing.LateFeePolicy // in force and to come
	versions []store.LateFeeVersion
}

type showView struct {
	head     components.Head
	tabs     []components.Tab
	rules    []components.Table
	versions components.Table
	decide   []components.Action
	propose  components.Action
	open     bool // the form was refused
}

var services = []billing.Service{billing.Power, billing.Water}

// entry is one number of a rule: its name in forms and data, its words, and how it is written.
type entry struct {
	name  string
	key   string
	shown func(billing.LateFeeRule) string
	read  func(*billing.LateFeeRule, string) error
}

var entries = []entry{
	{"due_days", locale.Key("latefees.due_days"), func(r billing.LateFeeRule) string { return strconv.Itoa(r.DueDays) }, func(r *billing.LateFeeRule, text string) (err error) {
		if r.DueDays, err = strconv.Atoi(text); err != nil {
			err = billing.Errorf(billing.CodeInvalidInput, "write a whole number with digits only")
		}
		return err
	}},
	share("household", locale.Key("latefees.household"), func(r *billing.LateFeeRule) *billing.Price { return &r.Household }),
	share("other", locale.Key("latefees.other"), func(r *billing.LateFeeRule) *billing.Price { return &r.Other }),
	share("other_earlier", locale.Key("latefees.other_earlier"), func(r *billing.LateFeeRule) *billing.Price { return &r.OtherEarlier }),
	yuan("minimum_fen", locale.Key("latefees.minimum"), func(r *billing.LateFeeRule) *billing.Money { return &r.MinimumFen }),
	{"tax_rate", locale.Key("latefees.tax"), func(r billing.LateFeeRule) string { return r.TaxRate.String() }, func(r *billing.LateFeeRule, text string) (err error) {
		r.TaxRate, err = billing.ParseFactor(text)
		return err
	}},
	yuan("waive_fen", locale.Key("latefees.waive"), func(r *billing.LateFeeRule) *billing.Money { return &r.WaiveFen }),
}

func share(name, key string, of func(*billing.LateFeeRule) *billing.Price) entry {
	return entry{name, key, func(r billing.LateFeeRule) string { return of(&r).String() }, func(r *billing.LateFeeRule, text string) (err error) {
		*of(r), err = billing.ParsePrice(text)
		return err
	}}
}

func yuan(name, key string, of func(*billing.LateFeeRule) *billing.Money) entry {
	return entry{name, key, func(r billing.LateFeeRule) string { return of(&r).String() }, func(r *billing.LateFeeRule, text string) (err error) {
		*of(r), err = billing.ParseMoney(text)
		return err
	}}
}

// ruleOf reads a rule; each field that can't be meant is refused beside it.
func ruleOf(in *page.Input) billing.LateFeeRule {
	r := billing.LateFeeRule{From: in.Day("from")}
	unread := map[string]bool{}
	for _, e := range entries {
		text := in.Required(e.name)
		if unread[e.name] = text == ""; unread[e.name] {
			continue
		}
		if err := e.read(&r, text); err != nil {
			in.Refuse(e.name, err)
			unread[e.name] = true
		}
	}
	for name, err := range r.Check() {
		if !unread[name] && name != "from" { // a day that can't be read was refused already
			in.Refuse(name, err)
		}
	}
	return r
}

func showOf(r *http.Request, k known) showView {
	ctx := r.Context()
	v := showView{head: components.Head{Title: locale.T(ctx, "latefees.title"), Subtitle: page.SiteName(ctx, k.site.ID) + " · " + locale.T(ctx, "latefees.subtitle"), BackHref: tariffs, BackLabel: locale.T(ctx, "latefees.tariffs")}}
	if own := page.OwnSites(ctx); len(own) > 1 {
		for _, s := range own {
			v.tabs = append(v.tabs, components.Tab{Label: page.SiteName(ctx, s.ID), Href: base + "/" + string(s.ID), Active: s.ID == k.site.ID})
		}
	}
	for _, s := range services {
		v.rules = append(v.rules, ruleTable(ctx, k, s))
	}
	v.versions = versionTable(ctx, k)
	for _, version := range k.versions {
		if version.State == store.LateFeeProposed {
			v.decide = append(v.decide, decideActions(r, k, version)...)
		}
	}
	v.propose = proposeAction(r, k)
	v.open = page.FormOf(r, "propose").Tried()
	return v
}

// ruleTable lists a service's rules by first day, those in force and to come.
func ruleTable(ctx context.Context, k known, s billing.Service) components.Table {
	t := components.Table{ID: "rules-" + string(s), Caption: locale.State(ctx, locale.Service, s), Cols: []components.Col{{Label: locale.T(ctx, "latefees.from")}}}
	for _, e := range entries {
		t.Cols = append(t.Cols, components.Col{Label: locale.T(ctx, e.key), Align: components.Number})
	}
	t.Cols = append(t.Cols, components.Col{Label: locale.T(ctx, "latefees.state")})
	rules := k.policy.Of(s)
	now := billing.LateFeeRuleOn(rules, k.today)
	for i, rule := range rules {
		row := components.Row{ID: string(s) + "-" + rule.From.String(), Cells: []templ.Component{components.Text(rule.From.String())}}
		for _, e := range entries {
			row.Cells = append(row.Cells, components.Text(e.shown(rule)))
		}
		state := components.Muted(locale.T(ctx, "latefees.past"))
		switch {
		case i == now:
			state = components.Badge(components.Good, locale.T(ctx, "latefees.holds"))
		case i > now:
			state = components.Badge(components.Watch, locale.T(ctx, "latefees.to_come"))
		}
		row.Cells = append(row.Cells, state)
		t.Rows = append(t.Rows, row)
	}
	return t
}

// versionTable lists all that was proposed, the newest first, with who made it and who decided.
func versionTable(ctx context.Context, k known) components.Table {
	t := components.Table{ID: "versions", Caption: locale.T(ctx, "latefees.versions"), Cols: []components.Col{
		{Label: locale.T(ctx, "latefees.version"), Align: components.Number}, {Label: locale.T(ctx, "latefees.service")}, {Label: locale.T(ctx, "latefees.from")}, {Label: locale.T(ctx, "latefees.state")},
		{Label: locale.T(ctx, "latefees.made_by")}, {Label: locale.T(ctx, "latefees.decided_by")}, {Label: locale.T(ctx, "latefees.reason"), Whole: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "latefees.none"), Body: locale.T(ctx, "latefees.none_body")}}
	for _, v := range k.versions {
		decided := components.Muted("–")
		if v.DecidedAt != nil {
			decided = components.Lines(components.Text(v.DecidedName), locale.DateTime(ctx, *v.DecidedAt))
		}
		reason := v.Reason
		if v.DecidedWhy != "" {
			reason += " · " + v.DecidedWhy
		}
		t.Rows = append(t.Rows, components.Row{ID: strconv.Itoa(v.Version), Cells: []templ.Component{
			components.Count(v.Version), components.Text(locale.State(ctx, locale.Service, v.Service)), components.Text(v.FromDay.String()), components.StateBadge(locale.LateRule, v.State),
			components.Lines(components.Text(v.MadeName), locale.DateTime(ctx, v.MadeAt)), decided, components.Text(reason),
		}})
	}
	return t
}

// decideActions are what the second person, or the maker, can do with an open proposal; each number stands beside the one in force.
func decideActions(r *http.Request, k known, v store.LateFeeVersion) []components.Action {
	ctx := r.Context()
	url := base + "/" + string(k.site.ID) + "/" + strconv.Itoa(v.Version)
	rules := k.policy.Of(v.Service)
	before := billing.LateFeeRule{}
	if i := billing.LateFeeRuleOn(rules, v.FromDay); i >= 0 {
		before = rules[i]
	}
	facts := []components.Fact{{ID: "from", Label: locale.T(ctx, "latefees.from"), Value: components.Text(v.FromDay.String()), Hint: locale.State(ctx, locale.Service, v.Service)}}
	for _, e := range entries {
		f := components.Fact{ID: "new-" + e.name, Label: locale.T(ctx, e.key), Value: components.Text(e.shown(v.Rule))}
		if was := e.shown(before); was != e.shown(v.Rule) {
			f.Hint = locale.T(ctx, "latefees.instead_of", was)
		}
		facts = append(facts, f)
	}
	approve, reject := page.FormOf(r, "approve"), page.FormOf(r, "reject")
	yes := components.Action{ID: "approve", Title: locale.T(ctx, "latefees.approve", v.Version), URL: url + "/approve", Submit: locale.T(ctx, "latefees.approve_now"), Error: approve.Error(), Consequence: components.Facts(facts)}
	no := components.Action{ID: "reject", Title: locale.T(ctx, "latefees.reject", v.Version), URL: url + "/reject", Submit: locale.T(ctx, "latefees.reject_now"), Error: reject.Error(), Tone: components.Danger,
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "latefees.reason"), reject.Value("reason", ""), reject.Problem("reason"))}}
	if err := auth.Can(page.Actor(ctx), auth.ApproveTariff, k.site.ID); err != nil {
		yes.Disabled = page.Sentence(ctx, err)
		if auth.Can(page.Actor(ctx), auth.EditTariff, k.site.ID) != nil {
			no.Disabled = yes.Disabled
		}
	}
	return []components.Action{yes, no}
}

// proposeAction is the form; it goes on from what is in force.
func proposeAction(r *http.Request, k known) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "propose")
	a := components.Action{ID: "propose", Title: locale.T(ctx, "latefees.propose"), URL: base + "/" + string(k.site.ID), Submit: locale.T(ctx, "latefees.propose_now"), Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce()}, Consequence: components.Text(locale.T(ctx, "latefees.effect"))}
	service := components.Field{Kind: components.SelectField, Name: "service", Label: locale.T(ctx, "latefees.service"), Value: f.Value("service", string(billing.Power)), Error: f.Problem("service")}
	for _, s := range services {
		service.Options = append(service.Options, components.Option{Value: string(s), Label: locale.State(ctx, locale.Service, s)})
	}
	a.Fields = append(a.Fields, service, components.Field{Kind: components.DateField, Name: "from", Label: locale.T(ctx, "latefees.from"), Hint: locale.T(ctx, "latefees.from_hint"),
		Value: f.Value("from", billing.MonthPeriod(k.today).To.String()), Error: f.Problem("from"), Required: true})
	now := billing.LateFeeRule{}
	if i := billing.LateFeeRuleOn(k.policy.Power, k.today); i >= 0 {
		now = k.policy.Power[i]
	}
	for _, e := range entries {
		a.Fields = append(a.Fields, components.Field{Kind: components.QuantityField, Name: e.name, Label: locale.T(ctx, e.key), Value: f.Value(e.name, e.shown(now)), Error: f.Problem(e.name), Required: true, MaxLength: 20})
	}
	a.Fields = append(a.Fields, components.ReasonField(locale.T(ctx, "latefees.reason"), f.Value("reason", ""), f.Problem("reason")))
	if err := auth.Can(page.Actor(ctx), auth.EditTariff, k.site.ID); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}
