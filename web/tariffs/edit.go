package tariffs

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// editView is the form for the usual kinds of prices. What it has no fields for is kept as it is, and written as a file.
type editView struct {
	head       components.Head
	url, error string
	hidden     []components.Hidden
	top        []components.Field
	components []componentForm
	adds       []components.Tab
	disabled   string
}

// componentForm is one part of the price.
type componentForm struct {
	id, title, note string
	hidden          []components.Hidden
	fields          []components.Field
}

// editable are the kinds that the form has fields for.
var editable = []billing.ComponentKind{billing.KindFlat, billing.KindBands, billing.KindSteps}

// simple says whether a component can be shown in the form whole: a form that knew only a part of it would drop the rest.
func simple(c billing.Component) bool {
	plainBands := !slices.ContainsFunc(c.Bands, func(b billing.BandPrice) bool { return b.Ratio != nil })
	return slices.Contains(editable, c.Kind) && c.Seasons == nil && c.Household == nil && c.Prorate == "" && plainBands
}

func (h handler) draftForm(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	t, err := h.Store.Tariff(ctx, billing.TariffID(page.Param(r, "id")))
	if err != nil {
		return err
	}
	v, _, err := t.VersionAt(today(ctx))
	if err != nil && len(t.Versions) > 0 {
		v = t.Versions[len(t.Versions)-1]
	}
	v.From = billing.Date{}
	view := editOf(r, t.ID, v, "", 0)
	view.head = components.Head{Title: locale.T(ctx, "tariffs.draft_of", nameOf(ctx, t.Name)), Subtitle: string(t.ID), BackHref: tariffHref(t.ID), BackLabel: nameOf(ctx, t.Name)}
	view.url = tariffHref(t.ID) + "/draft"
	return h.Render(w, r, page.View{Title: view.head.Title, Nav: path, Body: edit(view)})
}

func (h handler) editForm(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	c, err := h.changeOf(r)
	if err != nil {
		return err
	}
	view := editOf(r, c.Tariff, c.Version, c.Why, c.Revision)
	view.head = components.Head{Title: locale.T(ctx, "tariffs.edit_of", string(c.ID)), Subtitle: string(c.Tariff), BackHref: changeHref(c.ID), BackLabel: string(c.ID)}
	view.url = changeHref(c.ID) + "/edit"
	if !c.State.Open() {
		view.disabled = locale.T(ctx, "tariffs.closed")
	}
	return h.Render(w, r, page.View{Title: view.head.Title, Nav: path, Body: edit(view)})
}

func editOf(r *http.Request, id billing.TariffID, v billing.TariffVersion, why string, revision int) editView {
	ctx := r.Context()
	f := page.FormOf(r, "edit")
	from := v.From.String()
	view := editView{error: f.Error(), hidden: []components.Hidden{f.Nonce(), {Name: "revision", Value: f.Value("revision", strconv.Itoa(revision))}}, top: []components.Field{
		{Kind: components.DateField, Name: "from", Label: locale.T(ctx, "tariffs.from"), Value: f.Value("from", from), Error: f.Problem("from"), Required: true, Hint: locale.T(ctx, "tariffs.from_hint")},
		{Kind: components.AreaField, Name: "why", Label: locale.T(ctx, "tariffs.ground"), Value: f.Value("why", why), Error: f.Problem("why"), Required: true, MaxLength: 500, Hint: locale.T(ctx, "tariffs.ground_hint")},
	}}
	parts := slices.Clone(v.Components)
	if add := billing.ComponentKind(r.URL.Query().Get("add")); slices.Contains(editable, add) {
		parts = append(parts, blank(add))
	}
	for i, c := range parts {
		view.components = append(view.components, componentFields(ctx, f, i, c))
	}
	for i := len(parts); f.Tried() && f.Value(field(i, "kind"), "") != ""; i++ {
		view.components = append(view.components, componentFields(ctx, f, i, blank(billing.ComponentKind(f.Value(field(i, "kind"), "")))))
	}
	for _, k := range editable {
		view.adds = append(view.adds, components.Tab{Label: "+ " + kindWord(ctx, k), Href: "?add=" + string(k)})
	}
	if err := auth.Can(page.Actor(ctx), auth.EditTariff, ""); err != nil {
		view.disabled = page.Sentence(ctx, err)
	}
	return view
}

// blank is a component to be filled in.
func blank(k billing.ComponentKind) billing.Component {
	c := billing.Component{Kind: k}
	if k == billing.KindSteps {
		c.Accumulate = billing.PerYear
	}
	return c
}

func field(i int, name string) string { return fmt.Sprintf("c%d.%s", i, name) }

func componentFields(ctx context.Context, f page.Form, i int, c billing.Component) componentForm {
	form := componentForm{id: strconv.Itoa(i + 1), title: nameOf(ctx, c.Name), note: kindWord(ctx, c.Kind), hidden: []components.Hidden{{Name: field(i, "kind"), Value: string(c.Kind)}}}
	if form.title == "" {
		form.title = locale.T(ctx, "tariffs.new_component")
	}
	add := func(kind components.FieldKind, name, label, value, hint string) {
		n := field(i, name)
		form.fields = append(form.fields, components.Field{Kind: kind, Name: n, Label: label, Value: f.Value(n, value), Error: f.Problem(n), Hint: hint, MaxLength: maxText})
	}
	remove := func() { add(components.CheckField, "remove", locale.T(ctx, "tariffs.remove"), "", "") }
	if c.Key != "" && !simple(c) {
		form.hidden = append(form.hidden, components.Hidden{Name: field(i, "kept"), Value: c.Key})
		form.note += " · " + locale.T(ctx, "tariffs.as_file")
		remove()
		return form
	}
	add(components.TextField, "key", locale.T(ctx, "tariffs.key"), c.Key, locale.T(ctx, "tariffs.key_hint"))
	add(components.TextField, "zh", locale.T(ctx, "tariffs.name_zh"), c.Name.ZH, "")
	add(components.TextField, "en", locale.T(ctx, "tariffs.name_en"), c.Name.EN, "")
	priceFields(ctx, c, add)
	add(components.QuantityField, "factor", locale.T(ctx, "tariffs.factor"), factorText(c.Factor), locale.T(ctx, "tariffs.factor_hint"))
	remove()
	return form
}

func priceFields(ctx context.Context, c billing.Component, add func(kind components.FieldKind, name, label, value, hint string)) {
	switch c.Kind {
	case billing.KindFlat:
		add(components.QuantityField, "price", locale.T(ctx, "tariffs.price"), priceText(c.Price), "")
	case billing.KindBands:
		for _, r := range billing.Bands {
			value := ""
			for _, b := range c.Bands {
				if b.Register == r {
					value = priceText(b.Price)
				}
			}
			add(components.QuantityField, r.String(), bandWord(ctx, r), value, "")
		}
	case billing.KindSteps:
		add(components.TextField, "accumulate", locale.T(ctx, "tariffs.accumulate"), string(c.Accumulate), locale.T(ctx, "tariffs.accumulate_hint"))
		var lines []string
		for _, t := range c.Tiers {
			edge := "-"
			if t.UpTo != nil {
				edge = t.UpTo.String()
			}
			lines = append(lines, edge+" "+priceText(t.Price))
		}
		add(components.AreaField, "tiers", locale.T(ctx, "tariffs.tiers"), strings.Join(lines, "\n"), locale.T(ctx, "tariffs.tiers_hint"))
	}
}

func priceText(p *billing.Price) string {
	if p == nil {
		return ""
	}
	return p.String()
}

func factorText(f billing.Factor) string {
	if f.IsZero() {
		return ""
	}
	return f.String()
}

// draft begins a change from the form.
func (h handler) draft(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.EditTariff, ""); err != nil {
		return page.Done{}, err
	}
	t, err := h.Store.Tariff(ctx, billing.TariffID(page.Param(r, "id")))
	if err != nil {
		return page.Done{}, err
	}
	base, _, err := t.VersionAt(today(ctx))
	if err != nil && len(t.Versions) > 0 {
		base = t.Versions[len(t.Versions)-1]
	}
	in := page.Read(r)
	v, why := readVersion(in, base), reasonOf(in)
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	t.Versions = []billing.TariffVersion{v}
	if err := t.Validate(); err != nil {
		return page.Done{}, err
	}
	return h.begin(r, t, why)
}

// edit writes a new revision from the form.
func (h handler) edit(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	c, err := h.changeOf(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.EditTariff, ""); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	revision := in.Int("revision")
	v, why := readVersion(in, c.Version), reasonOf(in)
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	file := c.File()
	file.Versions = []billing.TariffVersion{v}
	if err := file.Validate(); err != nil {
		return page.Done{}, err
	}
	err = h.Workflows.EditTariff(ctx, workflows.EditTariff{Change: c.ID, By: page.Actor(ctx).UserID, File: file, Why: why, Revision: int(revision)}, in.Nonce())
	return page.Done{To: changeHref(c.ID), Said: locale.T(ctx, "tariffs.edited", string(c.ID))}, err
}

// readVersion reads the form. What it has no fields for is taken from base.
func readVersion(in *page.Input, base billing.TariffVersion) billing.TariffVersion {
	v := billing.TariffVersion{From: in.Day("from"), Calendar: base.Calendar}
	for i := 0; in.Text(field(i, "kind")) != ""; i++ {
		if in.Text(field(i, "remove")) != "" {
			continue
		}
		if kept := in.Text(field(i, "kept")); kept != "" {
			for _, c := range base.Components {
				if c.Key == kept {
					v.Components = append(v.Components, c)
				}
			}
			continue
		}
		v.Components = append(v.Components, readComponent(in, i))
	}
	return v
}

func readComponent(in *page.Input, i int) billing.Component {
	c := billing.Component{
		Key: in.Required(field(i, "key")), Name: billing.Names{ZH: in.Required(field(i, "zh")), EN: in.Required(field(i, "en"))},
		Kind: billing.ComponentKind(in.Text(field(i, "kind"))),
	}
	if text := in.Text(field(i, "factor")); text != "" {
		f, err := billing.ParseFactor(text)
		if err != nil {
			in.Refuse(field(i, "factor"), err)
		}
		c.Factor = f
	}
	switch c.Kind {
	case billing.KindFlat:
		c.Price = readPrice(in, field(i, "price"))
	case billing.KindBands:
		for _, r := range billing.Bands {
			c.Bands = append(c.Bands, billing.BandPrice{Register: r, Price: readPrice(in, field(i, r.String()))})
		}
	case billing.KindSteps:
		c.Accumulate = billing.Accumulate(in.OneOf(field(i, "accumulate"), string(billing.PerYear), string(billing.PerMonth)))
		c.Tiers = readTiers(in, field(i, "tiers"))
	}
	return c
}

func readPrice(in *page.Input, name string) *billing.Price {
	p, err := billing.ParsePrice(in.Required(name))
	if err != nil {
		in.Refuse(name, err)
	}
	return &p
}

// readTiers reads one tier per line: the upper edge, or a hyphen for none, and the price.
func readTiers(in *page.Input, name string) []billing.Tier {
	var tiers []billing.Tier
	for n, line := range strings.Split(in.Required(name), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 2 {
			in.Refuse(name, billing.Errorf(billing.CodeInvalidInput, "line %d: write the upper edge, or a hyphen, and the price, such as 2760 0.538", n+1))
			return nil
		}
		var t billing.Tier
		if words[0] != "-" {
			q, err := billing.ParseQuantity(words[0])
			if err != nil {
				in.Refuse(name, billing.Errorf(billing.CodeInvalidInput, "line %d: %w", n+1, err))
			}
			t.UpTo = &q
		}
		p, err := billing.ParsePrice(words[1])
		if err != nil {
			in.Refuse(name, billing.Errorf(billing.CodeInvalidInput, "line %d: %w", n+1, err))
		}
		t.Price = &p
		tiers = append(tiers, t)
	}
	return tiers
}

// importView is the form that takes a file.
type importView struct {
	head     components.Head
	fields   []components.Field
	error    string
	hidden   []components.Hidden
	disabled string
}

func (h handler) importForm(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f := page.FormOf(r, "import")
	v := importView{head: components.Head{Title: locale.T(ctx, "tariffs.import"), Subtitle: locale.T(ctx, "tariffs.import_note"), BackHref: path, BackLabel: locale.T(ctx, "tariffs.title")},
		error: f.Error(), hidden: []components.Hidden{f.Nonce()}, fields: []components.Field{
			{Kind: components.AreaField, Name: "file", Label: locale.T(ctx, "tariffs.paste"), Value: f.Value("file", ""), Error: f.Problem("file")},
			{Kind: components.AreaField, Name: "why", Label: locale.T(ctx, "tariffs.ground"), Value: f.Value("why", ""), Error: f.Problem("why"), Required: true, MaxLength: 500, Hint: locale.T(ctx, "tariffs.ground_hint")},
		}}
	if err := auth.Can(page.Actor(ctx), auth.EditTariff, ""); err != nil {
		v.disabled = page.Sentence(ctx, err)
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "tariffs.import"), Nav: path, Body: importPage(v)})
}
