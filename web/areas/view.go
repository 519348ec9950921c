package areas

import (
	"context"
	"net/http"
	"net/url"
	"strings"
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

// known is what the page of an area is made of.
type known struct {
	area      store.Area
	meters    []store.MeterRow
	shown     map[billing.MeterID]store.Reading // what each meter showed last by itself
	connected map[billing.MeterID]store.Connection
	tariffs   map[billing.TariffID]billing.Tariff
	now       time.Time
	today     billing.Date
}

type showView struct {
	head  components.Head
	stats []components.Stat
	table components.Table
	pager components.PagerView
	read  components.Action
}

var kindKeys = map[store.AreaKind]string{
	store.AreaSite: locale.Key("areas.kind_site"), store.AreaLine: locale.Key("areas.kind_line"), store.AreaRoute: locale.Key("areas.kind_route"),
}

func nameOf(ctx context.Context, a store.Area) string {
	if a.Kind == store.AreaSite {
		return page.SiteName(ctx, a.Site)
	}
	return a.Name
}

func listOf(ctx context.Context, all []store.Area) components.Table {
	t := components.Table{ID: "areas", Caption: locale.T(ctx, "areas.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "areas.area")}, {Label: locale.T(ctx, "areas.kind")}, {Label: locale.T(ctx, "areas.site")},
		{Label: locale.T(ctx, "areas.meters"), Align: components.Number}, {Label: locale.T(ctx, "areas.shut"), Align: components.Number},
		{Label: locale.T(ctx, "areas.doubt"), Align: components.Number}, {Label: locale.T(ctx, "areas.cases"), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "areas.none"), Body: locale.T(ctx, "areas.none_body")}}
	for _, a := range all {
		row := components.Row{ID: string(a.Kind) + "-" + a.ID, Href: href(a), Cells: []templ.Component{
			components.Lines(components.Text(nameOf(ctx, a)), a.ID), components.Text(locale.T(ctx, kindKeys[a.Kind])), components.Text(page.SiteName(ctx, a.Site)),
			components.Count(a.Meters), components.Count(a.Shut), components.Count(a.Doubt), components.Count(a.Cases),
		}}
		switch {
		case a.Doubt > 0:
			row.Tone = components.Danger
		case a.Cases > 0:
			row.Tone = components.Watch
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func showOf(r *http.Request, k known) showView {
	ctx, a := r.Context(), k.area
	count := func(id, label string, n int, tone components.Tone) components.Stat {
		s := components.Stat{ID: id, Label: label, Value: locale.Count(n)}
		if n > 0 {
			s.Tone = tone
		}
		return s
	}
	v := showView{
		head: components.Head{Title: nameOf(ctx, a), Subtitle: locale.T(ctx, kindKeys[a.Kind]) + " · " + page.SiteName(ctx, a.Site), BackHref: base, BackLabel: locale.T(ctx, "areas.title")},
		stats: []components.Stat{
			count("meters", locale.T(ctx, "areas.meters"), a.Meters, components.Neutral), count("shut", locale.T(ctx, "areas.shut"), a.Shut, components.Watch),
			count("doubt", locale.T(ctx, "areas.doubt"), a.Doubt, components.Danger), count("cases", locale.T(ctx, "areas.cases"), a.Cases, components.Watch),
		},
		table: tableOf(ctx, k),
	}
	if auth.Can(page.Actor(ctx), auth.WorkBatch, a.Site) == nil {
		v.head.Actions = workLink(workURL(k))
	}
	f := page.FormOf(r, "read")
	v.read = components.Action{ID: "read", Title: locale.T(ctx, "areas.read_all"), URL: href(a) + "/read", Submit: locale.T(ctx, "areas.read_now", a.Meters), Error: f.Error(),
		Consequence: components.Text(locale.T(ctx, "areas.read_effect"))}
	if err := auth.Can(page.Actor(ctx), auth.StartCycle, a.Site); err != nil {
		v.read.Disabled = page.Sentence(ctx, err)
	}
	return v
}

// workURL is the form for a batch, filled in for the area: a route's meters are named one by one, as far as the page shows them.
func workURL(k known) string {
	q := url.Values{"site": {string(k.area.Site)}}
	switch k.area.Kind {
	case store.AreaLine:
		q.Set("gateway", k.area.ID)
	case store.AreaRoute:
		ids := make([]string, len(k.meters))
		for i, m := range k.meters {
			ids[i] = string(m.ID)
		}
		q.Set("meters", strings.Join(ids, "\n"))
	}
	return page.Home("batch", "new") + "?" + q.Encode()
}

func tableOf(ctx context.Context, k known) components.Table {
	may := auth.Can(page.Actor(ctx), auth.StartCycle, k.area.Site) == nil
	t := components.Table{ID: "meters", Caption: nameOf(ctx, k.area), Cols: []components.Col{
		{Label: locale.T(ctx, "areas.meter")}, {Label: locale.T(ctx, "areas.account")}, {Label: locale.T(ctx, "areas.reading_m3"), Unit: billing.Water.Unit(), Align: components.Number},
		{Label: locale.T(ctx, "areas.flow"), Unit: "l/h", Align: components.Number}, {Label: locale.T(ctx, "areas.valve")}, {Label: locale.T(ctx, "areas.alarms")},
		{Label: locale.T(ctx, "areas.balance"), Align: components.Number}, {Label: locale.T(ctx, "areas.price"), WideOnly: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "areas.none"), Body: locale.T(ctx, "areas.none_body")}}
	if may {
		t.Cols = append(t.Cols, components.Col{Label: locale.T(ctx, "areas.act")})
	}
	for _, m := range k.meters {
		row := components.Row{ID: string(m.ID), Href: page.Home("meter", string(m.ID)), Cells: []templ.Component{
			components.Lines(components.Text(string(m.ID)), m.Address), holder(m), reading(ctx, k, m), flow(k, m), valve(ctx, k, m), alarms(k, m), balance(m), price(ctx, k, m),
		}}
		switch {
		case m.Supply == billing.SupplyUnknown || m.Doubtful:
			row.Tone = components.Danger
		case m.OpenCases > 0 || len(alarmsOf(k, m)) > 0:
			row.Tone = components.Watch
		}
		if may {
			row.Cells = append(row.Cells, readOne(href(k.area)+"/read", string(m.ID)))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func holder(m store.MeterRow) templ.Component {
	if m.Account == "" {
		return components.Muted("–")
	}
	return components.Lines(components.Link(page.Home("account", string(m.Account)), m.Customer), string(m.Account))
}

// reading is the newest reading, however it came about.
func reading(ctx context.Context, k known, m store.MeterRow) templ.Component {
	if m.ReadAt == nil {
		return components.Muted("–")
	}
	when := locale.Ago(ctx, *m.ReadAt, k.now)
	if m.Quality != billing.QualityActual {
		when += " · " + locale.State(ctx, locale.Quality, m.Quality)
	}
	return components.Lines(components.Quantity(m.Registers.Total(), m.Service.Scale(), ""), when)
}

func flow(k known, m store.MeterRow) templ.Component {
	r, ok := k.shown[m.ID]
	if !ok {
		return components.Muted("–")
	}
	return components.Quantity(r.PowerW, 0, "")
}

// valve is what the meter said of its valve and when; what is proved of the supply stands beside it where it differs.
func valve(ctx context.Context, k known, m store.MeterRow) templ.Component {
	r, ok := k.shown[m.ID]
	if !ok {
		return components.Muted("–")
	}
	when := locale.Ago(ctx, r.TakenAt, k.now)
	switch {
	case k.connected[m.ID].OpenCommand:
		when += " · " + locale.T(ctx, "areas.commanded")
	case m.Supply != "" && string(m.Supply) != r.Supply:
		when += " · " + locale.T(ctx, "areas.proved", locale.State(ctx, locale.Supply, m.Supply))
	}
	return components.Lines(components.StateBadge(locale.Supply, r.Supply), when)
}

func alarmsOf(k known, m store.MeterRow) []string {
	r, ok := k.shown[m.ID]
	if !ok {
		return nil
	}
	return workflows.MeterAlarms(m.Profile, r.StatusWord)
}

func alarms(k known, m store.MeterRow) templ.Component {
	return marks(alarmsOf(k, m), m.OpenCases)
}

func balance(m store.MeterRow) templ.Component {
	if m.Account == "" {
		return components.Muted("–")
	}
	return components.Money(m.BalanceFen)
}

// price is the account's tariff and the most that one unit costs under it today.
func price(ctx context.Context, k known, m store.MeterRow) templ.Component {
	t, ok := k.tariffs[k.connected[m.ID].Tariff]
	if !ok {
		return components.Muted("–")
	}
	name := t.Name.ZH
	if locale.Lang(ctx) == locale.EN {
		name = t.Name.EN
	}
	most := ""
	if v, _, err := t.VersionAt(k.today); err == nil {
		if tops := v.TopPrices(); len(tops) > 0 {
			most = locale.T(ctx, "areas.up_to", tops[0].String(), m.Service.Unit())
		}
	}
	return components.Lines(components.Link(page.Home("tariff", string(t.ID)), name), most)
}
