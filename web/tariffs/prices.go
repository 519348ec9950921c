package tariffs

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
)

// priceLine is one price of a version as people read it. key names it across versions, so that two of them can be compared.
type priceLine struct {
	key, what, text, unit, note string
	price                       *billing.Price // nil where the text isn't one price
}

// priceTable is one component.
type priceTable struct {
	title, note string
	table       components.Table
}

var kindKeys = map[billing.ComponentKind]string{
	billing.KindFlat: locale.Key("tariffs.kind_flat"), billing.KindBands: locale.Key("tariffs.kind_bands"), billing.KindSteps: locale.Key("tariffs.kind_steps"),
	billing.KindTierBands: locale.Key("tariffs.kind_tier_bands"), billing.KindCapacity: locale.Key("tariffs.kind_capacity"),
	billing.KindDemand: locale.Key("tariffs.kind_demand"), billing.KindPowerFactor: locale.Key("tariffs.kind_power_factor"),
	billing.KindMinimum: locale.Key("tariffs.kind_minimum"), billing.KindTax: locale.Key("tariffs.kind_tax"),
}

func kindWord(ctx context.Context, k billing.ComponentKind) string {
	if key, ok := kindKeys[k]; ok {
		return locale.T(ctx, key)
	}
	return string(k)
}

func bandWord(ctx context.Context, r billing.Register) string {
	return locale.State(ctx, locale.Register, r.String())
}

// linesOf are the prices of a component.
func linesOf(ctx context.Context, s billing.Service, c billing.Component) []priceLine {
	if len(c.Seasons) == 0 {
		return seasonLines(ctx, s, c, "", "")
	}
	var lines []priceLine
	for i, season := range c.Seasons {
		c.Price, c.Bands, c.Tiers = season.Price, season.Bands, season.Tiers
		lines = append(lines, seasonLines(ctx, s, c, strconv.Itoa(i), locale.T(ctx, "tariffs.months", monthsText(season.Months)))...)
	}
	return lines
}

// monthsText writes months as ranges: 1–4, 11–12.
func monthsText(months []int) string {
	sorted := slices.Sorted(slices.Values(months))
	var parts []string
	for i := 0; i < len(sorted); {
		j := i
		for j+1 < len(sorted) && sorted[j+1] == sorted[j]+1 {
			j++
		}
		part := strconv.Itoa(sorted[i])
		if j > i {
			part += "–" + strconv.Itoa(sorted[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ", ")
}

func seasonLines(ctx context.Context, s billing.Service, c billing.Component, season, months string) []priceLine {
	unit := locale.T(ctx, "tariffs.per", s.Unit())
	line := func(key, what string, p *billing.Price) priceLine {
		l := priceLine{key: c.Key + "/" + season + "/" + key, what: what, unit: unit, note: months, price: p}
		if p != nil {
			l.text = p.String()
		}
		return l
	}
	switch c.Kind {
	case billing.KindFlat:
		return []priceLine{line("", locale.T(ctx, "tariffs.all_use"), c.Price)}
	case billing.KindBands:
		return bandLines(ctx, c.Price, c.Bands, "", line)
	case billing.KindSteps, billing.KindTierBands:
		var lines []priceLine
		for i, t := range c.Tiers {
			key, what := strconv.Itoa(i+1), tierText(ctx, s, c, i)
			if c.Kind == billing.KindSteps {
				lines = append(lines, line(key, what, t.Price))
				continue
			}
			lines = append(lines, bandLines(ctx, nil, t.Bands, what, func(band, word string, p *billing.Price) priceLine { return line(key+"/"+band, word, p) })...)
		}
		return lines
	default:
		return []priceLine{monthlyLine(ctx, c)}
	}
}

// bandLines are one line per band; a ratio is shown with the price that it multiplies.
func bandLines(ctx context.Context, base *billing.Price, bands []billing.BandPrice, before string, line func(key, what string, p *billing.Price) priceLine) []priceLine {
	var lines []priceLine
	for _, b := range bands {
		what := bandWord(ctx, b.Register)
		if before != "" {
			what = before + " · " + what
		}
		l := line(b.Register.String(), what, b.Price)
		if b.Ratio != nil && base != nil {
			l.text = base.String() + " × " + b.Ratio.String()
		}
		lines = append(lines, l)
	}
	return lines
}

// tierText says which use a tier is for.
func tierText(ctx context.Context, s billing.Service, c billing.Component, i int) string {
	per := locale.T(ctx, "tariffs.per_year")
	if c.Accumulate == billing.PerMonth {
		per = locale.T(ctx, "tariffs.per_month")
	}
	from := "0"
	if i > 0 && c.Tiers[i-1].UpTo != nil {
		from = c.Tiers[i-1].UpTo.String()
	}
	if c.Tiers[i].UpTo == nil {
		return locale.T(ctx, "tariffs.tier_above", strconv.Itoa(i+1), from, s.Unit(), per)
	}
	return locale.T(ctx, "tariffs.tier", strconv.Itoa(i+1), from, c.Tiers[i].UpTo.String(), s.Unit(), per)
}

// monthlyLine is a component that doesn't charge by use.
func monthlyLine(ctx context.Context, c billing.Component) priceLine {
	l := priceLine{key: c.Key, what: kindWord(ctx, c.Kind), price: c.Price}
	if c.Price != nil {
		l.text = c.Price.String()
	}
	switch c.Kind {
	case billing.KindCapacity:
		l.unit = locale.T(ctx, "tariffs.per", "kVA·"+locale.T(ctx, "tariffs.month"))
	case billing.KindDemand:
		l.unit = locale.T(ctx, "tariffs.per", "kW·"+locale.T(ctx, "tariffs.month"))
	case billing.KindMinimum:
		l.unit = locale.T(ctx, "tariffs.per", locale.T(ctx, "tariffs.month"))
	case billing.KindPowerFactor:
		l.text, l.unit = c.Standard.String(), locale.T(ctx, "tariffs.standard")
	case billing.KindTax:
		l.what += " · " + locale.State(ctx, locale.TaxPoint, c.Arises())
		l.text, l.unit = c.Rate.String(), locale.T(ctx, "tariffs.rate")
	}
	return l
}

func priceTables(ctx context.Context, s billing.Service, v billing.TariffVersion) []priceTable {
	var tables []priceTable
	for _, c := range v.Components {
		lines := linesOf(ctx, s, c)
		decimals := mostDecimals(lines)
		t := components.Table{ID: "prices-" + c.Key, Caption: nameOf(ctx, c.Name), Cols: []components.Col{{Label: locale.T(ctx, "tariffs.what")}}}
		if len(c.Seasons) > 0 {
			t.Cols = append(t.Cols, components.Col{Label: locale.T(ctx, "tariffs.when")})
		}
		t.Cols = append(t.Cols, components.Col{Label: locale.T(ctx, "tariffs.price"), Align: components.Number}, components.Col{Label: locale.T(ctx, "tariffs.unit")})
		for _, l := range lines {
			row := components.Row{ID: l.key, Cells: []templ.Component{components.Text(l.what)}}
			if len(c.Seasons) > 0 {
				row.Cells = append(row.Cells, components.Text(l.note))
			}
			row.Cells = append(row.Cells, number(l.padded(decimals)), components.Muted(l.unit))
			t.Rows = append(t.Rows, row)
		}
		tables = append(tables, priceTable{title: nameOf(ctx, c.Name), note: componentNote(ctx, c), table: t})
	}
	return tables
}

// mostDecimals is how many decimals a column of prices needs, two at least, so that the points stand below each other.
func mostDecimals(lines []priceLine) int {
	most := 2
	for _, l := range lines {
		if _, decimals, ok := strings.Cut(l.text, "."); ok && l.price != nil {
			most = max(most, len(decimals))
		}
	}
	return most
}

// padded is the text of a line with so many decimals.
func (l priceLine) padded(decimals int) string {
	if l.price == nil {
		return l.text
	}
	return l.price.Fixed(decimals)
}

// componentNote says what else belongs to a component's price.
func componentNote(ctx context.Context, c billing.Component) string {
	notes := []string{kindWord(ctx, c.Kind)}
	if !c.Factor.IsZero() {
		notes = append(notes, locale.T(ctx, "tariffs.on_share", c.Factor.String()))
	}
	for _, h := range c.Household {
		notes = append(notes, locale.T(ctx, "tariffs.household", strconv.Itoa(h.Persons)))
	}
	if len(c.Of) > 0 {
		notes = append(notes, locale.T(ctx, "tariffs.of", strings.Join(c.Of, ", ")))
	}
	return strings.Join(notes, " · ")
}

func textOrDash(text string) templ.Component {
	if text == "" {
		return components.Muted("–")
	}
	return components.Text(text)
}

// calendarTable says when each band holds.
func calendarTable(ctx context.Context, c *billing.TariffCalendar) components.Table {
	t := components.Table{ID: "calendar", Caption: locale.T(ctx, "tariffs.calendar"), Cols: []components.Col{
		{Label: locale.T(ctx, "tariffs.when")}, {Label: locale.T(ctx, "tariffs.days")}, {Label: locale.T(ctx, "tariffs.hours")},
	}}
	if c == nil {
		return t
	}
	for _, season := range c.Seasons {
		for _, d := range season.Days {
			days := locale.T(ctx, "tariffs.every_day")
			if len(d.On) > 0 {
				days = strings.Join(d.On, ", ")
			}
			t.Rows = append(t.Rows, components.Row{Cells: []templ.Component{
				components.Text(locale.T(ctx, "tariffs.months", monthsText(season.Months))), components.Text(days), components.Text(hoursText(ctx, d.Segments))}})
		}
	}
	for _, e := range c.Exceptions {
		t.Rows = append(t.Rows, components.Row{Cells: []templ.Component{
			components.Text(e.From.String() + " – " + e.To.AddDays(-1).String()), components.Text(locale.T(ctx, "tariffs.every_day")), components.Text(hoursText(ctx, e.Segments))}})
	}
	return t
}

func hoursText(ctx context.Context, segments []billing.BandSegment) string {
	if len(segments) == 0 {
		return bandWord(ctx, billing.Flat)
	}
	parts := make([]string, len(segments))
	for i, s := range segments {
		parts[i] = s.From.String() + "–" + s.To.String() + " " + bandWord(ctx, s.Band)
	}
	return strings.Join(parts, ", ")
}

// diffTable puts the prices of a change beside those in force. Lines that change are marked.
func diffTable(ctx context.Context, s billing.Service, now *billing.TariffVersion, next billing.TariffVersion) components.Table {
	t := components.Table{ID: "diff", Caption: locale.T(ctx, "tariffs.diff"), Cols: []components.Col{
		{Label: locale.T(ctx, "tariffs.component")}, {Label: locale.T(ctx, "tariffs.what")}, {Label: locale.T(ctx, "tariffs.now"), Align: components.Number},
		{Label: locale.T(ctx, "tariffs.new"), Align: components.Number}, {Label: locale.T(ctx, "tariffs.difference"), Align: components.Number}, {Label: locale.T(ctx, "tariffs.unit")},
	}}
	was := map[string]priceLine{}
	var gone []components.Row
	kept := map[string]bool{}
	decimals := 2
	for _, c := range next.Components {
		lines := linesOf(ctx, s, c)
		decimals = max(decimals, mostDecimals(lines))
		for _, l := range lines {
			kept[l.key] = true
		}
	}
	if now != nil {
		for _, c := range now.Components {
			lines := linesOf(ctx, s, c)
			decimals = max(decimals, mostDecimals(lines))
			for _, l := range lines {
				was[l.key] = l
				if !kept[l.key] {
					gone = append(gone, diffRow(ctx, c, l, &l, nil, decimals))
				}
			}
		}
	}
	for _, c := range next.Components {
		for _, l := range linesOf(ctx, s, c) {
			old, known := was[l.key]
			var before *priceLine
			if known {
				before = &old
			}
			t.Rows = append(t.Rows, diffRow(ctx, c, l, before, &l, decimals))
		}
	}
	t.Rows = append(t.Rows, gone...)
	return t
}

func diffRow(ctx context.Context, c billing.Component, l priceLine, before, after *priceLine, decimals int) components.Row {
	row := components.Row{ID: l.key}
	what := l.what
	if l.note != "" {
		what += " · " + l.note
	}
	old, fresh, change := components.Muted("–"), components.Muted("–"), components.Muted("")
	if before != nil {
		old = number(before.padded(decimals))
	}
	if after != nil {
		fresh = number(after.padded(decimals))
	}
	switch {
	case before == nil:
		row.Tone, change = components.Watch, components.Badge(components.Watch, locale.T(ctx, "tariffs.added"))
	case after == nil:
		row.Tone, change = components.Watch, components.Badge(components.Watch, locale.T(ctx, "tariffs.dropped"))
	case before.text != after.text || before.what != after.what:
		row.Tone = components.Watch
		change = components.Badge(components.Watch, locale.T(ctx, "tariffs.changed"))
		if before.price != nil && after.price != nil && before.text != after.text {
			change = number(billing.PriceChange(*before.price, *after.price))
		}
	}
	row.Cells = []templ.Component{components.Text(nameOf(ctx, c.Name)), components.Text(what), old, fresh, change, components.Muted(l.unit)}
	return row
}
