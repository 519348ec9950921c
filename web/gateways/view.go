package gateways

import (
	"cmp"
	"context"
	"net/http"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// known is what the page of a gateway is made of.
type known struct {
	row    store.GatewayRow
	asides []store.MeterAside
	faults []store.LineFault
	meters []store.MeterRow
	boxes  []store.Box
}

type showView struct {
	head     components.Head
	notices  []components.NoticeView
	line     []components.Fact
	link     []components.Fact
	asides   components.Table
	faults   components.Table
	boxes    components.Table
	meters   components.Table
	timeline components.TimelineView
	actions  []components.Action
}

func tableOf(ctx context.Context, rows []store.GatewayRow) components.Table {
	t := components.Table{ID: "gateways", Caption: locale.T(ctx, "gateways.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "gateways.gateway")}, {Label: locale.T(ctx, "gateways.site")}, {Label: locale.T(ctx, "gateways.link")},
		{Label: locale.T(ctx, "gateways.line")}, {Label: locale.T(ctx, "gateways.answered")},
		{Label: locale.T(ctx, "gateways.meters"), Align: components.Number}, {Label: locale.T(ctx, "gateways.asides"), Align: components.Number},
		{Label: locale.T(ctx, "gateways.faults_day"), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "gateways.none"), Body: locale.T(ctx, "gateways.none_body")}}
	for _, g := range rows {
		row := components.Row{ID: string(g.ID), Href: page.Home("gateway", string(g.ID)), Cells: []templ.Component{
			components.Lines(components.Text(g.Name), string(g.ID)), components.Text(page.SiteName(ctx, g.Site)),
			components.Lines(components.Text(locale.State(ctx, locale.Link, g.Link)), reachedAt(g)), lineState(ctx, g), answered(ctx, g),
			components.Count(g.Meters), components.Count(g.Asides), components.Count(g.Faults),
		}}
		switch {
		case g.Holder == "":
			row.Tone = components.Danger
		case g.AsideUntil != nil, g.CommandsBarred() != nil:
			row.Tone = components.Watch
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// reachedAt is where a gateway is dialled, or by which id it registers.
func reachedAt(g store.GatewayRow) string {
	if g.Address == "" {
		return g.Registration
	}
	return g.Address
}

// lineState is who owns the line, or what is wrong with it.
func lineState(ctx context.Context, g store.GatewayRow) templ.Component {
	switch {
	case g.Holder == "" && g.Link == "dial_in":
		return components.Badge(components.Danger, locale.T(ctx, "gateways.not_called"))
	case g.Holder == "":
		return components.Badge(components.Danger, locale.T(ctx, "gateways.not_held"))
	case g.AsideUntil != nil:
		return components.Lines(components.Badge(components.Watch, locale.T(ctx, "gateways.aside_line")), g.Holder)
	default:
		return components.Lines(components.Badge(components.Good, locale.T(ctx, "gateways.held")), g.Holder)
	}
}

func answered(ctx context.Context, g store.GatewayRow) templ.Component {
	if g.AnsweredReal == nil {
		return components.Muted(locale.T(ctx, "gateways.never"))
	}
	return components.Text(locale.Stamp(ctx, *g.AnsweredReal))
}

func showOf(r *http.Request, k known) (showView, error) {
	ctx, g := r.Context(), k.row
	v := showView{
		head: components.Head{Title: g.Name, Subtitle: string(g.ID) + " · " + page.SiteName(ctx, g.Site), BackHref: base, BackLabel: locale.T(ctx, "gateways.title")},
		line: lineFacts(ctx, g), link: linkFacts(ctx, g), asides: asideTable(ctx, k.asides), faults: faultTable(ctx, k.faults), boxes: boxTable(ctx, k),
		meters: meterTable(ctx, k.meters),
	}
	switch {
	case g.Holder == "" && g.Link == "dial_in":
		v.notices = append(v.notices, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "gateways.not_called"), Body: locale.T(ctx, "gateways.not_called_body")})
	case g.Holder == "":
		v.notices = append(v.notices, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "gateways.not_held"), Body: locale.T(ctx, "gateways.not_held_body")})
	case g.AsideUntil != nil:
		v.notices = append(v.notices, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "gateways.aside_line"), Body: locale.T(ctx, "gateways.aside_line_body", locale.Stamp(ctx, *g.AsideUntil))})
	}
	if err := g.CommandsBarred(); err != nil {
		v.notices = append(v.notices, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "gateways.barred"), Body: page.Sentence(ctx, err)})
	}
	meter, err := meterAction(r, g, base+"/"+string(g.ID)+"/meters", "")
	v.actions = []components.Action{changeAction(r, g), boxAction(r, g), meter}
	return v, err
}

func lineFacts(ctx context.Context, g store.GatewayRow) []components.Fact {
	owner := components.Fact{ID: "owner", Label: locale.T(ctx, "gateways.line"), Value: lineState(ctx, g)}
	if g.LeaseReal != nil {
		owner.Hint = locale.T(ctx, "gateways.lease", locale.Stamp(ctx, *g.LeaseReal))
	}
	facts := []components.Fact{owner, {ID: "answered", Label: locale.T(ctx, "gateways.answered"), Value: answered(ctx, g), Hint: locale.T(ctx, "gateways.answered_note")}}
	if g.Link == "dial_in" {
		called := components.Fact{ID: "called", Label: locale.T(ctx, "gateways.called"), Value: components.Muted(locale.T(ctx, "gateways.not_connected"))}
		if g.CalledReal != nil {
			called.Value, called.Hint = components.Code(g.CalledFrom), locale.T(ctx, "gateways.called_since", locale.Stamp(ctx, *g.CalledReal))
		}
		facts = append(facts, called)
	}
	return append(facts, components.Fact{ID: "meters", Label: locale.T(ctx, "gateways.meters"), Value: components.Count(g.Meters)},
		components.Fact{ID: "faults", Label: locale.T(ctx, "gateways.faults_day"), Value: components.Count(g.Faults)})
}

func linkFacts(ctx context.Context, g store.GatewayRow) []components.Fact {
	millis := func(id, label, hint string, v int) components.Fact {
		return components.Fact{ID: id, Label: label, Value: components.Quantity(int64(v), 0, "ms"), Hint: hint}
	}
	facts := []components.Fact{{ID: "link", Label: locale.T(ctx, "gateways.link"), Value: components.Text(locale.State(ctx, locale.Link, g.Link))}}
	if g.Link == "dial_in" {
		facts = append(facts, components.Fact{ID: "registration", Label: locale.T(ctx, "gateways.registration"), Value: components.Code(g.Registration), Hint: locale.T(ctx, "gateways.secret_set")})
	} else {
		facts = append(facts, components.Fact{ID: "address", Label: locale.T(ctx, "gateways.address"), Value: components.Code(g.Address)})
	}
	return append(facts, millis("timeout", locale.T(ctx, "gateways.timeout"), "", g.TimeoutMillis), millis("worst", locale.T(ctx, "gateways.worst"), locale.T(ctx, "gateways.worst_note"), g.WorstMillis),
		millis("pause", locale.T(ctx, "gateways.pause"), "", g.PauseMillis), millis("caches", locale.T(ctx, "gateways.caches"), locale.T(ctx, "gateways.caches_note"), g.CachesMillis))
}

func asideTable(ctx context.Context, asides []store.MeterAside) components.Table {
	t := components.Table{ID: "asides", Caption: locale.T(ctx, "gateways.asides"), Cols: []components.Col{
		{Label: locale.T(ctx, "gateways.meter")}, {Label: locale.T(ctx, "gateways.unit"), Align: components.Number}, {Label: locale.T(ctx, "gateways.place")},
		{Label: locale.T(ctx, "gateways.tries"), Align: components.Number}, {Label: locale.T(ctx, "gateways.until")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "gateways.no_asides"), Body: locale.T(ctx, "gateways.no_asides_body")}}
	for _, a := range asides {
		t.Rows = append(t.Rows, components.Row{ID: string(a.Meter), Href: page.Home("meter", string(a.Meter)), Tone: components.Watch, Cells: []templ.Component{
			components.Code(string(a.Meter)), components.Count(a.Unit), components.Lines(components.Text(a.Address), string(a.Account)), components.Count(a.Tries), components.Text(locale.Stamp(ctx, a.UntilReal)),
		}})
	}
	return t
}

func faultTable(ctx context.Context, faults []store.LineFault) components.Table {
	t := components.Table{ID: "faults", Caption: locale.T(ctx, "gateways.faults_day"), Cols: []components.Col{
		{Label: locale.T(ctx, "gateways.fault")}, {Label: locale.T(ctx, "gateways.times"), Align: components.Number}, {Label: locale.T(ctx, "gateways.last")}, {Label: locale.T(ctx, "gateways.said"), Whole: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "gateways.no_faults"), Body: locale.T(ctx, "gateways.no_faults_body")}}
	for _, f := range faults {
		t.Rows = append(t.Rows, components.Row{ID: f.Kind, Cells: []templ.Component{
			components.Text(locale.State(ctx, locale.LineFault, f.Kind)), components.Count(f.Count), components.Text(locale.Stamp(ctx, f.LastReal)), components.Muted(locale.Sentence(ctx, f.LastText)),
		}})
	}
	return t
}

func meterTable(ctx context.Context, meters []store.MeterRow) components.Table {
	t := components.Table{ID: "meters", Caption: locale.T(ctx, "gateways.meters"), Cols: []components.Col{
		{Label: locale.T(ctx, "gateways.unit"), Align: components.Number}, {Label: locale.T(ctx, "gateways.meter")}, {Label: locale.T(ctx, "gateways.service")},
		{Label: locale.T(ctx, "gateways.profile"), WideOnly: true}, {Label: locale.T(ctx, "gateways.place")}, {Label: locale.T(ctx, "gateways.read_at")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "gateways.no_meters"), Body: locale.T(ctx, "gateways.no_meters_body")}}
	for _, m := range meters {
		read := components.Muted("–")
		if m.ReadAt != nil {
			read = components.When(*m.ReadAt)
		}
		t.Rows = append(t.Rows, components.Row{ID: "meter-" + string(m.ID), Href: page.Home("meter", string(m.ID)), Cells: []templ.Component{
			components.Count(m.Unit), components.Code(string(m.ID)), components.Text(locale.State(ctx, locale.Service, m.Service)), components.Code(m.Profile), components.Text(m.Address), read,
		}})
	}
	return t
}

func changeAction(r *http.Request, g store.GatewayRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "link")
	a := components.Action{ID: "link", Title: locale.T(ctx, "gateways.change"), URL: page.Home("gateway", string(g.ID)), Submit: locale.T(ctx, "gateways.change"), Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce()}, Consequence: components.Text(locale.T(ctx, "gateways.change_effect"))}
	a.Fields = append(linkFields(ctx, f, g.Gateway), components.ReasonField(locale.T(ctx, "gateways.reason"), f.Value("reason", ""), f.Problem("reason")))
	if err := auth.Can(page.Actor(ctx), auth.MasterData, g.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

// linkFields ask how a gateway is reached; g is what stands in them at first.
func linkFields(ctx context.Context, f page.Form, g store.Gateway) []components.Field {
	text := func(kind components.FieldKind, name, label, value, hint, unit string, required bool) components.Field {
		return components.Field{Kind: kind, Name: name, Label: label, Value: f.Value(name, value), Error: f.Problem(name), Hint: hint, Unit: unit, Required: required, Autocomplete: "off", MaxLength: 100}
	}
	link := components.Field{Kind: components.SelectField, Name: "link", Label: locale.T(ctx, "gateways.link"), Value: f.Value("link", g.Link), Error: f.Problem("link"), Required: true}
	for _, l := range locale.Words(locale.Link) {
		link.Options = append(link.Options, components.Option{Value: l, Label: locale.State(ctx, locale.Link, l)})
	}
	// A secret is never put into a page, not even one that was just typed.
	secret := components.Field{Kind: components.PasswordField, Name: "secret", Label: locale.T(ctx, "gateways.secret"), Error: f.Problem("secret"),
		Hint: locale.T(ctx, "gateways.secret_hint"), Autocomplete: "new-password", MaxLength: 100}
	if g.ID == "" {
		secret.Hint = locale.T(ctx, "gateways.secret_first")
	}
	return []components.Field{
		text(components.TextField, "name", locale.T(ctx, "gateways.name"), g.Name, "", "", true),
		link,
		text(components.TextField, "address", locale.T(ctx, "gateways.address"), g.Address, locale.T(ctx, "gateways.address_hint"), "", false),
		text(components.TextField, "registration", locale.T(ctx, "gateways.registration"), g.Registration, locale.T(ctx, "gateways.registration_hint"), "", false),
		secret,
		text(components.QuantityField, "timeout", locale.T(ctx, "gateways.timeout"), strconv.Itoa(g.TimeoutMillis), locale.T(ctx, "gateways.timeout_hint"), "ms", true),
		text(components.QuantityField, "worst", locale.T(ctx, "gateways.worst"), strconv.Itoa(cmp.Or(g.WorstMillis, store.UsualWorstMillis(g.Link))),
			locale.T(ctx, "gateways.worst_hint", store.UsualWorstMillis("modbus_tcp"), store.UsualWorstMillis("transparent"), store.UsualWorstMillis("dial_in")), "ms", true),
		text(components.QuantityField, "pause", locale.T(ctx, "gateways.pause"), strconv.Itoa(g.PauseMillis), "", "ms", true),
		text(components.QuantityField, "caches", locale.T(ctx, "gateways.caches"), strconv.Itoa(g.CachesMillis), locale.T(ctx, "gateways.caches_note"), "ms", true),
	}
}
