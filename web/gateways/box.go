package gateways

import (
	"context"
	"net/http"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

type boxView struct {
	head     components.Head
	facts    []components.Fact
	circuits components.Table
	timeline components.TimelineView
	add      components.Action
}

// showBox is the page of a multi-circuit box: each of its circuits, and the meter on it.
func (h handler) showBox(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	g, err := h.gateway(r)
	if err != nil {
		return err
	}
	b, err := h.Store.Box(ctx, page.Param(r, "box"))
	if err != nil {
		return err
	}
	if b.Gateway != g.ID {
		return billing.Errorf(billing.CodeNotFound, "there is no such record")
	}
	meters, _, err := h.Store.MeterPage(ctx, store.MeterFilter{Sites: []billing.SiteID{b.Site}, Box: b.ID}, b.Circuits, 0)
	if err != nil {
		return err
	}
	events, err := h.Store.Story(ctx, []billing.SiteID{b.Site}, b.ID, []string{"gateway", "case"}, []string{}, timelineRows)
	if err != nil {
		return err
	}
	v := boxView{
		head: components.Head{Title: b.ID, Subtitle: locale.T(ctx, "gateways.box_of", b.Circuits, unitsText(b.Base, b.Circuits)) + " · " + page.SiteName(ctx, b.Site),
			BackHref: page.Home("gateway", string(g.ID)), BackLabel: g.Name},
		facts: []components.Fact{
			{ID: "gateway", Label: locale.T(ctx, "gateways.gateway"), Value: components.Link(page.Home("gateway", string(g.ID)), string(g.ID)+" · "+g.Name)},
			{ID: "line", Label: locale.T(ctx, "gateways.line"), Value: lineState(ctx, g)},
			{ID: "units", Label: locale.T(ctx, "gateways.units"), Value: components.Text(unitsText(b.Base, b.Circuits))},
			{ID: "used", Label: locale.T(ctx, "gateways.circuits_used"), Value: components.Text(locale.Count(used(meters)) + " / " + locale.Count(b.Circuits))},
		},
		timeline: page.Timeline(ctx, "gateway", string(g.ID), events),
	}
	var free int
	v.circuits, free = circuitTable(ctx, b, meters)
	unit := ""
	if free > 0 {
		unit = strconv.Itoa(free)
	}
	if v.add, err = meterAction(r, g, boxHref(b), unit); err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: base, Body: showBox(v)})
}

// used is how many circuits have a meter.
func used(meters []store.MeterRow) (n int) {
	for _, m := range meters {
		n += m.Units
	}
	return n
}

// unitsText writes a run of unit ids.
func unitsText(first, count int) string {
	if count == 1 {
		return strconv.Itoa(first)
	}
	return strconv.Itoa(first) + "–" + strconv.Itoa(first+count-1)
}

// circuitTable lists the circuits of a box, those without a meter too, and gives the first free unit id; 0 when there is none.
func circuitTable(ctx context.Context, b store.Box, meters []store.MeterRow) (t components.Table, free int) {
	t = components.Table{ID: "circuits", Caption: locale.T(ctx, "gateways.circuits"), Cols: []components.Col{
		{Label: locale.T(ctx, "gateways.unit")}, {Label: locale.T(ctx, "gateways.meter")}, {Label: locale.T(ctx, "gateways.profile"), WideOnly: true}, {Label: locale.T(ctx, "gateways.place")},
		{Label: locale.T(ctx, "gateways.supply")}, {Label: locale.T(ctx, "gateways.read_at")},
	}}
	at := make(map[int]store.MeterRow, len(meters))
	for _, m := range meters {
		at[m.Unit] = m
	}
	for unit := b.Base; unit <= b.Last(); {
		m, ok := at[unit]
		if !ok {
			t.Rows = append(t.Rows, components.Row{ID: strconv.Itoa(unit), Cells: []templ.Component{
				components.Text(strconv.Itoa(unit)), components.Muted(locale.T(ctx, "gateways.free")), components.Muted("–"), components.Muted("–"), components.Muted("–"), components.Muted("–"),
			}})
			if free == 0 {
				free = unit
			}
			unit++
			continue
		}
		supply, read := components.Muted("–"), components.Muted("–")
		if m.Supply != "" {
			supply = components.StateBadge(locale.Supply, m.Supply)
		} else if m.ReadSupply != "" {
			supply = components.StateBadge(locale.Supply, m.ReadSupply)
		}
		if m.ReadAt != nil {
			read = components.When(*m.ReadAt)
		}
		t.Rows = append(t.Rows, components.Row{ID: strconv.Itoa(unit), Href: page.Home("meter", string(m.ID)), Cells: []templ.Component{
			components.Text(unitsText(unit, m.Units)), components.Code(string(m.ID)), components.Code(m.Profile), components.Lines(components.Text(m.Address), string(m.Account)), supply, read,
		}})
		unit += m.Units
	}
	return t, free
}
