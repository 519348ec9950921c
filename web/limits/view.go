package limits

import (
	"context"
	"net/http"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/control"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// known is what the page is made of.
type known struct {
	site     store.Site
	month    billing.Date // the month that it is, by its first day
	versions []store.BillingLimits
	standard control.Policy // of the site's policy
}

// inForce is the version that holds for the bills of a month; nil where the site's policy does.
func (k known) inForce(month billing.Date) *store.BillingLimits {
	var found *store.BillingLimits
	for i := range k.versions { // newest first: of one month the first wins
		v := &k.versions[i]
		if !v.FromMonth.After(month) && (found == nil || v.FromMonth.After(found.FromMonth)) {
			found = v
		}
	}
	return found
}

type showView struct {
	head     components.Head
	tabs     []components.Tab
	facts    []components.Fact
	limits   components.Table
	versions components.Table
	publish  components.Action
	open     bool // the form was refused
}

// kind is how a limit is written.
type kind int

const (
	money    kind = iota // fen, in yuan
	factor               // tenths
	quantity             // raw units
	percent
	onOff
)

// limit is one limit: its name in forms and data, its words, and where it stands.
type limit struct {
	name string
	key  string
	kind kind
	get  func(control.Limits) int64
	set  func(*control.Limits, int64)
}

var list = []limit{
	{"household_fen", locale.Key("limits.household"), money, func(l control.Limits) int64 { return int64(l.HouseholdFen) }, func(l *control.Limits, v int64) { l.HouseholdFen = billing.Money(v) }},
	{"other_fen", locale.Key("limits.other"), money, func(l control.Limits) int64 { return int64(l.OtherFen) }, func(l *control.Limits, v int64) { l.OtherFen = billing.Money(v) }},
	{"change_fen", locale.Key("limits.change"), money, func(l control.Limits) int64 { return int64(l.ChangeFen) }, func(l *control.Limits, v int64) { l.ChangeFen = billing.Money(v) }},
	{"last_times_tenths", locale.Key("limits.last_times"), factor, func(l control.Limits) int64 { return l.LastTimesTenths }, func(l *control.Limits, v int64) { l.LastTimesTenths = v }},
	{"average_times_tenths", locale.Key("limits.average_times"), factor, func(l control.Limits) int64 { return l.AverageTimesTenths }, func(l *control.Limits, v int64) { l.AverageTimesTenths = v }},
	{"fall_times_tenths", locale.Key("limits.fall_times"), factor, func(l control.Limits) int64 { return l.FallTimesTenths }, func(l *control.Limits, v int64) { l.FallTimesTenths = v }},
	{"ignore_below", locale.Key("limits.ignore_below"), quantity, func(l control.Limits) int64 { return l.IgnoreBelow }, func(l *control.Limits, v int64) { l.IgnoreBelow = v }},
	{"estimated_percent", locale.Key("limits.estimated"), percent, func(l control.Limits) int64 { return l.EstimatedPercent }, func(l *control.Limits, v int64) { l.EstimatedPercent = v }},
	{"negative", locale.Key("limits.negative"), onOff, func(l control.Limits) int64 { return bit(l.Negative) }, func(l *control.Limits, v int64) { l.Negative = v != 0 }},
	{"zero_with_use", locale.Key("limits.zero_with_use"), onOff, func(l control.Limits) int64 { return bit(l.ZeroWithUse) }, func(l *control.Limits, v int64) { l.ZeroWithUse = v != 0 }},
}

func bit(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

// typed is a limit's value as a person types it.
func (l limit) typed(v int64, s billing.Service) string {
	switch l.kind {
	case money:
		return billing.Money(v).String()
	case factor:
		return strconv.FormatInt(v/10, 10) + "." + strconv.FormatInt(v%10, 10)
	case quantity:
		return s.Format(v)
	default:
		return strconv.FormatInt(v, 10)
	}
}

// unit stands after the number.
func (l limit) unit(ctx context.Context, s billing.Service) string {
	switch l.kind {
	case money:
		return locale.T(ctx, "unit.yuan")
	case factor:
		return "×"
	case quantity:
		return s.Unit()
	case percent:
		return "%"
	default:
		return ""
	}
}

// shown is a limit's value as the table shows it.
func (l limit) shown(ctx context.Context, v int64, s billing.Service) string {
	switch {
	case l.kind == onOff && v != 0:
		return locale.T(ctx, "limits.on")
	case v == 0 && l.kind != quantity:
		return locale.T(ctx, "limits.off")
	case l.kind == money:
		return locale.Money(billing.Money(v)) + " " + l.unit(ctx, s)
	default:
		return l.typed(v, s) + " " + l.unit(ctx, s)
	}
}

// parse reads what was typed; what can't be meant at all is refused beside its field.
func (l limit) parse(in *page.Input, field string, s billing.Service) int64 {
	var v int64
	var err error
	switch l.kind {
	case onOff:
		return bit(in.Text(field) != "")
	case percent:
		return in.Int(field)
	case money:
		var fen billing.Money
		fen, err = billing.ParseMoney(in.Required(field))
		v = int64(fen)
	case factor:
		var hundredths billing.Money
		if hundredths, err = billing.ParseMoney(in.Required(field)); err != nil || hundredths%10 != 0 {
			err = billing.Errorf(billing.CodeInvalidInput, "write a factor such as 3 or 3.5; 0 switches the limit off")
		}
		v = int64(hundredths) / 10
	case quantity:
		var q billing.Quantity
		if q, err = billing.ParseQuantity(in.Required(field)); err == nil {
			v, err = s.Raw(q)
		}
	}
	if err == nil && v < 0 {
		err = billing.Errorf(billing.CodeInvalidInput, "a limit is never negative: write 0 or more")
	}
	if err != nil {
		in.Refuse(field, err)
	}
	return v
}

var services = []billing.Service{billing.Power, billing.Water}

func fieldOf(s billing.Service, l limit) string { return string(s) + "_" + l.name }

func policyOf(in *page.Input) control.Policy {
	var p control.Policy
	for _, l := range list {
		l.set(&p.Power, l.parse(in, fieldOf(billing.Power, l), billing.Power))
		l.set(&p.Water, l.parse(in, fieldOf(billing.Water, l), billing.Water))
	}
	return p
}

func showOf(r *http.Request, k known) (showView, error) {
	ctx := r.Context()
	v := showView{head: components.Head{Title: locale.T(ctx, "limits.title"), Subtitle: page.SiteName(ctx, k.site.ID) + " · " + locale.T(ctx, "limits.subtitle"), BackHref: runs, BackLabel: locale.T(ctx, "limits.runs")}}
	if own := page.OwnSites(ctx); len(own) > 1 {
		for _, s := range own {
			v.tabs = append(v.tabs, components.Tab{Label: page.SiteName(ctx, s.ID), Href: base + "/" + string(s.ID), Active: s.ID == k.site.ID})
		}
	}
	now, newest := k.standard, k.standard
	var err error
	since := components.Fact{ID: "since", Label: locale.T(ctx, "limits.in_force"), Value: components.Text(locale.T(ctx, "limits.of_policy"))}
	if held := k.inForce(k.month); held != nil {
		if now, err = control.ParsePolicy(held.Limits); err != nil {
			return v, err
		}
		since.Value = components.Text(locale.T(ctx, "limits.version_from", strconv.Itoa(held.Version), month(held.FromMonth)))
	}
	if len(k.versions) > 0 {
		if newest, err = control.ParsePolicy(k.versions[0].Limits); err != nil {
			return v, err
		}
	}
	v.facts = []components.Fact{since}
	v.limits, v.versions = limitTable(ctx, now), versionTable(ctx, k)
	v.publish = publishAction(r, k, newest)
	v.open = page.FormOf(r, "limits").Tried()
	return v, nil
}

func month(d billing.Date) string { return d.String()[:len("2006-01")] }

func limitTable(ctx context.Context, p control.Policy) components.Table {
	t := components.Table{ID: "limits", Caption: locale.T(ctx, "limits.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "limits.stops_when"), Whole: true}, {Label: locale.State(ctx, locale.Service, billing.Power), Align: components.Number}, {Label: locale.State(ctx, locale.Service, billing.Water), Align: components.Number},
	}}
	for _, l := range list {
		row := components.Row{ID: l.name, Cells: []templ.Component{components.Text(locale.T(ctx, l.key))}}
		for _, s := range services {
			row.Cells = append(row.Cells, components.Text(l.shown(ctx, l.get(p.Of(s)), s)))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func versionTable(ctx context.Context, k known) components.Table {
	t := components.Table{ID: "versions", Caption: locale.T(ctx, "limits.versions"), Cols: []components.Col{
		{Label: locale.T(ctx, "limits.version"), Align: components.Number}, {Label: locale.T(ctx, "limits.from_month")}, {Label: locale.T(ctx, "limits.state")}, {Label: locale.T(ctx, "limits.made_by")}, {Label: locale.T(ctx, "limits.reason"), Whole: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "limits.none"), Body: locale.T(ctx, "limits.none_body")}}
	now := k.inForce(k.month)
	for _, v := range k.versions {
		state := components.Muted(locale.T(ctx, "limits.past"))
		switch held := k.inForce(v.FromMonth); {
		case now != nil && v.Version == now.Version:
			state = components.Badge(components.Good, locale.T(ctx, "limits.holds"))
		case v.FromMonth.After(k.month) && held.Version == v.Version:
			state = components.Badge(components.Watch, locale.T(ctx, "limits.to_come"))
		case held.Version != v.Version:
			state = components.Muted(locale.T(ctx, "limits.replaced"))
		}
		t.Rows = append(t.Rows, components.Row{ID: strconv.Itoa(v.Version), Cells: []templ.Component{
			components.Count(v.Version), components.Text(month(v.FromMonth)), state, components.Lines(components.Text(v.MadeName), locale.DateTime(ctx, v.MadeAt)), components.Text(v.Reason),
		}})
	}
	return t
}

func publishAction(r *http.Request, k known, p control.Policy) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "limits")
	a := components.Action{ID: "limits", Title: locale.T(ctx, "limits.publish"), URL: base + "/" + string(k.site.ID), Submit: locale.T(ctx, "limits.publish"), Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce()}, Consequence: components.Text(locale.T(ctx, "limits.effect"))}
	a.Fields = append(a.Fields, components.Field{Kind: components.TextField, Name: "month", Label: locale.T(ctx, "limits.from_month"), Value: f.Value("month", month(k.month)), Error: f.Problem("month"),
		Hint: locale.T(ctx, "limits.month_hint"), Required: true, Autocomplete: "off", MaxLength: 7})
	for _, s := range services {
		for _, l := range list {
			name := fieldOf(s, l)
			field := components.Field{Kind: components.QuantityField, Name: name, Label: locale.State(ctx, locale.Service, s) + " · " + locale.T(ctx, l.key), Value: f.Value(name, l.typed(l.get(p.Of(s)), s)),
				Unit: l.unit(ctx, s), Error: f.Problem(name), Required: true, MaxLength: 20}
			if l.kind == onOff {
				field.Kind, field.Required, field.Value = components.CheckField, false, f.Value(name, map[bool]string{true: "1"}[l.get(p.Of(s)) != 0])
			}
			a.Fields = append(a.Fields, field)
		}
	}
	a.Fields = append(a.Fields, components.ReasonField(locale.T(ctx, "limits.reason"), f.Value("reason", ""), f.Problem("reason")))
	if err := auth.Can(page.Actor(ctx), auth.MasterData, k.site.ID); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}
