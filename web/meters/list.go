package meters

import (
	"context"

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

// choice makes a select whose first answer chooses all.
func choice(ctx context.Context, name, label, value string, options ...components.Option) components.Field {
	return components.Field{
		Kind: components.SelectField, Name: name, Label: label, Value: value,
		Options: append([]components.Option{{Label: locale.T(ctx, "meters.all")}}, options...),
	}
}

func filterOf(ctx context.Context, l page.List, f store.MeterFilter, gateways []store.Gateway, total int) components.Filter {
	word := func(kind locale.Kind, words ...string) []components.Option {
		options := make([]components.Option, len(words))
		for i, w := range words {
			options[i] = components.Option{Value: w, Label: locale.State(ctx, kind, w)}
		}
		return options
	}
	var lines []components.Option
	for _, g := range gateways {
		lines = append(lines, components.Option{Value: string(g.ID), Label: g.Name + " · " + page.SiteName(ctx, g.Site)})
	}
	commands := append([]components.Option{{Value: "open", Label: locale.T(ctx, "meters.command_open")}}, word(locale.Command, "unknown", "refused")...)
	return components.Filter{URL: base, Total: total, ClearHref: l.ClearHref("q", "gateway", "service", "supply", "command", "silent"), Fields: []components.Field{
		{Kind: components.SearchField, Name: "q", Label: locale.T(ctx, "meters.search"), Value: f.Text, Placeholder: locale.T(ctx, "meters.search_hint"), MaxLength: 64},
		choice(ctx, "gateway", locale.T(ctx, "meters.gateway"), string(f.Gateway), lines...),
		choice(ctx, "service", locale.T(ctx, "meters.service"), string(f.Service), word(locale.Service, "power", "water")...),
		choice(ctx, "supply", locale.T(ctx, "meters.supply"), f.Supply, word(locale.Supply, "on", "off", "allowed", "unknown")...),
		choice(ctx, "command", locale.T(ctx, "meters.command"), f.Command, commands...),
		choice(ctx, "silent", locale.T(ctx, "meters.reading"), l.One("silent", "1"), components.Option{Value: "1", Label: locale.T(ctx, "meters.silent_today")}),
	}}
}

func tableOf(ctx context.Context, rows []store.MeterRow) components.Table {
	t := components.Table{
		ID: "meters", Caption: locale.T(ctx, "meters.title"),
		Cols: []components.Col{
			{Label: locale.T(ctx, "meters.meter")}, {Label: locale.T(ctx, "meters.service")}, {Label: locale.T(ctx, "meters.account")},
			{Label: locale.T(ctx, "meters.gateway"), WideOnly: true}, {Label: locale.T(ctx, "meters.total"), Align: components.Number},
			{Label: locale.T(ctx, "meters.read_at")}, {Label: locale.T(ctx, "meters.quality")}, {Label: locale.T(ctx, "meters.supply")},
		},
		Empty: components.EmptyView{Title: locale.T(ctx, "meters.none"), Body: locale.T(ctx, "meters.none_body")},
	}
	for _, m := range rows {
		t.Rows = append(t.Rows, components.Row{ID: string(m.ID), Href: page.Home("meter", string(m.ID)), Tone: tone(m), Cells: []templ.Component{
			components.Code(string(m.ID)), components.Text(locale.State(ctx, locale.Service, m.Service)), holder(m),
			components.Text(m.GatewayName + " · " + locale.Count(m.Unit)), total(m), readAt(m), quality(ctx, m), supply(ctx, m),
		}})
	}
	return t
}

func tone(m store.MeterRow) components.Tone {
	switch {
	case m.Supply == billing.SupplyUnknown:
		return components.Danger
	case m.OpenCases > 0:
		return components.Watch
	default:
		return components.Neutral
	}
}

func holder(m store.MeterRow) templ.Component {
	if m.Account == "" {
		return components.Muted("–")
	}
	return components.Text(string(m.Account) + " " + m.Customer)
}

func total(m store.MeterRow) templ.Component {
	if len(m.Registers) == 0 {
		return components.Muted("–")
	}
	return components.Quantity(m.Registers.Total(), m.Service.Scale(), m.Service.Unit())
}

func readAt(m store.MeterRow) templ.Component {
	if m.ReadAt == nil {
		return components.Muted("–")
	}
	return components.When(*m.ReadAt)
}

func quality(ctx context.Context, m store.MeterRow) templ.Component {
	switch {
	case m.ReadAt == nil:
		return components.Muted("–")
	case m.Doubtful:
		return components.Badge(components.Danger, locale.T(ctx, "meters.doubtful"))
	default:
		return components.StateBadge(locale.Quality, m.Quality)
	}
}

// supply is what is proved of the account's supply; a meter without an account shows what it said itself.
func supply(ctx context.Context, m store.MeterRow) templ.Component {
	switch {
	case m.State != "fitted":
		return components.Badge(components.Neutral, locale.T(ctx, "meters.removed"))
	case m.Supply != "":
		return components.StateBadge(locale.Supply, m.Supply)
	case m.ReadSupply != "":
		return components.StateBadge(locale.Supply, m.ReadSupply)
	default:
		return components.Muted("–")
	}
}
