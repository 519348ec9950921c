package gateways

import (
	"context"
	"net/http"
	"slices"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// add registers a gateway.
func (h handler) add(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	id, site := billing.GatewayID(in.Required("id")), billing.SiteID(in.Required("site"))
	c, reason := changeOf(in, id), in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := page.See(ctx, site); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.MasterData, site); err != nil {
		return page.Done{}, err
	}
	if err := h.Store.RegisterGateway(ctx, by(r, reason), site, c, h.MayDial); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: base + "/" + string(id), Said: locale.T(ctx, "gateways.added", string(id))}, nil
}

// addBox puts a box on the line of the gateway of the path.
func (h handler) addBox(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	g, err := h.own(r)
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	b, reason := store.Box{ID: in.Required("id"), Gateway: g.ID, Base: int(in.Int("base_unit")), Circuits: int(in.Int("circuits"))}, in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Store.AddBox(ctx, by(r, reason), b); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: boxHref(b), Said: locale.T(ctx, "gateways.box_added", b.ID)}, nil
}

func boxHref(b store.Box) string { return base + "/" + string(b.Gateway) + "/boxes/" + b.ID }

// addMeter fits a meter to the line of the gateway of the path.
func (h handler) addMeter(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	g, err := h.own(r)
	if err != nil {
		return page.Done{}, err
	}
	maps, err := workflows.RegisterMaps()
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	n := store.NewMeter{ServicePoint: billing.ServicePointID(in.Required("service_point")), Address: in.Text("address"), Meter: store.Meter{
		ID: billing.MeterID(in.Required("id")), Gateway: g.ID, Unit: int(in.Int("unit")), Serial: in.Required("serial"), Digits: int(in.Int("digits")), Ratio: int(in.Int("ratio")),
	}}
	i := slices.IndexFunc(maps, func(m workflows.RegisterMap) bool { return m.Name == in.Text("profile") })
	if i < 0 {
		in.Refuse("profile", billing.Errorf(billing.CodeInvalidInput, "choose one of the answers"))
		return page.Done{}, in.Err()
	}
	n.Meter.Profile, n.Meter.CapacityPerHour = maps[i].Name, in.RegisterValue("capacity", maps[i].Service)
	for register := range maps[i].Registers {
		n.Opening = append(n.Opening, in.RegisterValue(openingField(register), maps[i].Service))
	}
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if n, err = workflows.NewMeterOf(n); err != nil {
		return page.Done{}, err
	}
	if err := h.Store.AddMeter(ctx, by(r, reason), n); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: page.Home("meter", string(n.Meter.ID)), Said: locale.T(ctx, "gateways.meter_added", string(n.Meter.ID))}, nil
}

func openingField(register int) string { return "opening-" + billing.Register(register).String() }

func addAction(r *http.Request) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "gateway")
	a := components.Action{ID: "gateway", Title: locale.T(ctx, "gateways.add"), URL: base, Submit: locale.T(ctx, "gateways.add"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Consequence: components.Text(locale.T(ctx, "gateways.add_effect"))}
	site := components.Field{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "gateways.site"), Value: f.Value("site", ""), Error: f.Problem("site"), Required: true}
	for _, s := range page.OwnSites(ctx) {
		site.Options = append(site.Options, components.Option{Value: string(s.ID), Label: page.SiteName(ctx, s.ID)})
	}
	a.Fields = append([]components.Field{field(f, "id", locale.T(ctx, "gateways.number"), "", locale.T(ctx, "gateways.number_hint"), true), site},
		linkFields(ctx, f, store.Gateway{Link: "modbus_tcp", TimeoutMillis: usualTimeoutMillis})...)
	return guarded(ctx, f, a, "")
}

// usualTimeoutMillis is what the form of a new gateway begins with; the table's default.
const usualTimeoutMillis = 2500

func field(f page.Form, name, label, value, hint string, required bool) components.Field {
	return components.Field{Kind: components.TextField, Name: name, Label: label, Value: f.Value(name, value), Error: f.Problem(name), Hint: hint, Required: required, Autocomplete: "off", MaxLength: 40}
}

// guarded adds the reason, and says why the person may not do it.
func guarded(ctx context.Context, f page.Form, a components.Action, site billing.SiteID) components.Action {
	a.Fields = append(a.Fields, components.ReasonField(locale.T(ctx, "gateways.reason"), f.Value("reason", ""), f.Problem("reason")))
	if err := auth.Can(page.Actor(ctx), auth.MasterData, site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func boxAction(r *http.Request, g store.GatewayRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "box")
	a := components.Action{ID: "box", Title: locale.T(ctx, "gateways.add_box"), URL: base + "/" + string(g.ID) + "/boxes", Submit: locale.T(ctx, "gateways.add_box"), Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce()}, Consequence: components.Text(locale.T(ctx, "gateways.add_box_effect"))}
	circuits := components.Field{Kind: components.SelectField, Name: "circuits", Label: locale.T(ctx, "gateways.circuits"), Value: f.Value("circuits", "36"), Error: f.Problem("circuits"), Required: true}
	for _, n := range []string{"12", "24", "36"} {
		circuits.Options = append(circuits.Options, components.Option{Value: n, Label: n})
	}
	a.Fields = []components.Field{
		field(f, "id", locale.T(ctx, "gateways.box_number"), "", locale.T(ctx, "gateways.number_hint"), true), circuits,
		field(f, "base_unit", locale.T(ctx, "gateways.base_unit"), "", locale.T(ctx, "gateways.base_unit_hint"), true),
	}
	return guarded(ctx, f, a, g.Site)
}

// meterAction is the form of a new meter, posted to url; unit is what stands in its unit id at first.
func meterAction(r *http.Request, g store.GatewayRow, url, unit string) (components.Action, error) {
	ctx := r.Context()
	f := page.FormOf(r, "meter")
	a := components.Action{ID: "meter", Title: locale.T(ctx, "gateways.add_meter"), URL: url, Submit: locale.T(ctx, "gateways.add_meter"), Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce()}, Consequence: components.Text(locale.T(ctx, "gateways.add_meter_effect"))}
	maps, err := workflows.RegisterMaps()
	if err != nil {
		return a, err
	}
	profile := components.Field{Kind: components.SelectField, Name: "profile", Label: locale.T(ctx, "gateways.profile"), Value: f.Value("profile", ""), Error: f.Problem("profile"), Required: true,
		Hint: locale.T(ctx, "gateways.profile_hint")}
	for _, m := range maps {
		label := m.Name + " · " + locale.State(ctx, locale.Service, m.Service)
		if !m.Verified {
			label += " · " + locale.T(ctx, "gateways.untried")
		}
		profile.Options = append(profile.Options, components.Option{Value: m.Name, Label: label})
	}
	a.Fields = []components.Field{
		field(f, "id", locale.T(ctx, "gateways.meter_number"), "", locale.T(ctx, "gateways.number_hint"), true), profile,
		field(f, "unit", locale.T(ctx, "gateways.unit"), unit, locale.T(ctx, "gateways.unit_hint"), true),
		field(f, "serial", locale.T(ctx, "gateways.serial"), "", locale.T(ctx, "gateways.serial_hint"), true),
		field(f, "digits", locale.T(ctx, "gateways.digits"), "8", locale.T(ctx, "gateways.digits_hint"), true),
		field(f, "ratio", locale.T(ctx, "gateways.ratio"), "1", locale.T(ctx, "gateways.ratio_hint"), true),
		field(f, "capacity", locale.T(ctx, "gateways.capacity"), "", locale.T(ctx, "gateways.capacity_hint"), true),
		field(f, "service_point", locale.T(ctx, "gateways.service_point"), "", locale.T(ctx, "gateways.service_point_hint"), true),
		field(f, "address", locale.T(ctx, "gateways.place"), "", locale.T(ctx, "gateways.place_hint"), false),
	}
	a.Fields[len(a.Fields)-1].MaxLength = 200
	for i, word := range locale.Words(locale.Register) {
		opening := field(f, openingField(i), locale.T(ctx, "gateways.opening", locale.State(ctx, locale.Register, word)), "", "", i == 0)
		if i > 0 {
			opening.Hint = locale.T(ctx, "gateways.opening_hint")
		}
		a.Fields = append(a.Fields, opening)
	}
	return guarded(ctx, f, a, g.Site), nil
}

func boxTable(ctx context.Context, k known) components.Table {
	t := components.Table{ID: "boxes", Caption: locale.T(ctx, "gateways.boxes"), Cols: []components.Col{
		{Label: locale.T(ctx, "gateways.box")}, {Label: locale.T(ctx, "gateways.units")}, {Label: locale.T(ctx, "gateways.circuits"), Align: components.Number}, {Label: locale.T(ctx, "gateways.meters"), Align: components.Number},
	}}
	for _, b := range k.boxes {
		meters := 0
		for _, m := range k.meters {
			if m.Box == b.ID {
				meters++
			}
		}
		t.Rows = append(t.Rows, components.Row{ID: b.ID, Href: boxHref(b), Cells: []templ.Component{
			components.Code(b.ID), components.Text(unitsText(b.Base, b.Circuits)), components.Count(b.Circuits), components.Count(meters),
		}})
	}
	return t
}
