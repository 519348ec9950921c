package corrections

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
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

// formView is the way to a correction: the number that it is about, what of it can be corrected, and the form.
type formView struct {
	lookup  components.Field
	choices []components.Table
	facts   []components.Fact
	entry   *components.Action
}

// draft is what the form is about, read from the address or from the form itself.
type draft struct {
	kind    billing.CorrectionKind
	meter   store.Meter
	fitting store.Fitting
	before  store.Fitting // that ended where fitting began
	at      time.Time
	reading store.Reading
	tariff  billing.Tariff
	from    billing.Date
	account store.Account
	site    billing.SiteID
	zone    *time.Location
}

const shownReadings = 70

func newHref(values ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(values); i += 2 {
		q.Set(values[i], values[i+1])
	}
	return path + "/new?" + q.Encode()
}

// form leads from a number to the form of a kind.
func (h handler) form(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := r.ParseForm(); err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "the form can't be read: open the page again and send it once more")
	}
	about := strings.TrimSpace(r.Form.Get("about"))
	v := formView{lookup: components.Field{Kind: components.SearchField, Name: "about", Label: locale.T(ctx, "corrections.about"), Value: about,
		Hint: locale.T(ctx, "corrections.about_hint"), MaxLength: 64, Focus: about == "" && r.Form.Get("kind") == ""}}
	var err error
	switch {
	case r.Form.Get("kind") != "":
		err = h.entry(r, &v)
	case about != "":
		err = h.offer(ctx, about, &v)
	}
	if err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "corrections.new"), Nav: path, Body: form(v)})
}

// offer shows what of a thing can be corrected.
func (h handler) offer(ctx context.Context, about string, v *formView) error {
	if m, err := h.Store.Meter(ctx, billing.MeterID(about)); err == nil && page.See(ctx, m.Site) == nil {
		return h.offerMeter(ctx, m, v)
	}
	if b, err := h.Store.BillSheet(ctx, billing.BillID(about)); err == nil && page.See(ctx, b.Site) == nil {
		return h.offerBill(ctx, b, v)
	}
	if a, err := h.Store.AccountRow(ctx, billing.AccountID(about)); err == nil && page.See(ctx, a.Site) == nil {
		v.choices = []components.Table{h.offerTerms(ctx, a)}
		if a.Meter == "" {
			return nil
		}
		m, err := h.Store.Meter(ctx, a.Meter)
		if err != nil {
			return err
		}
		return h.offerMeter(ctx, m, v)
	}
	if t, err := h.Store.Tariff(ctx, billing.TariffID(about)); err == nil {
		v.choices = []components.Table{offerPrices(ctx, t)}
		return nil
	}
	v.lookup.Error = page.Sentence(ctx, billing.Errorf(billing.CodeNotFound, "there is no meter, account, bill or tariff %q: check the number", about))
	return nil
}

func (h handler) offerMeter(ctx context.Context, m store.Meter, v *formView) error {
	fs, err := h.Store.FittingsOfMeter(ctx, m.ID)
	if err != nil {
		return err
	}
	readings, _, err := h.Store.ReadingsOf(ctx, m.ID, shownReadings, 0)
	if err != nil {
		return err
	}
	ctx = locale.WithZone(ctx, page.SiteZone(ctx, m.Site))
	t := components.Table{ID: "fittings", Caption: locale.T(ctx, "corrections.pick_fitting", string(m.ID)), Cols: []components.Col{
		{Label: locale.T(ctx, "corrections.fitted_at")}, {Label: locale.T(ctx, "corrections.ratio"), Align: components.Number},
		{Label: locale.T(ctx, "corrections.opening"), Unit: m.Service.Unit(), Align: components.Number}, {Label: locale.T(ctx, "corrections.what")},
	}}
	for _, f := range fs {
		id := strconv.FormatInt(f.ID, 10)
		t.Rows = append(t.Rows, components.Row{ID: id, Cells: []templ.Component{
			components.When(f.FromAt), components.Count(f.Ratio), components.Quantity(f.Opening.Total(), m.Service.Scale(), ""),
			links(newHref("kind", "ratio", "fitting", id), locale.State(ctx, locale.CorrectionKind, "ratio"), newHref("kind", "exchange", "fitting", id), locale.State(ctx, locale.CorrectionKind, "exchange")),
		}})
	}
	v.choices = append(v.choices, t, readingChoices(ctx, m, readings))
	return nil
}

func readingChoices(ctx context.Context, m store.Meter, readings []store.Reading) components.Table {
	t := components.Table{ID: "readings", Caption: locale.T(ctx, "corrections.pick_reading", string(m.ID)), Cols: []components.Col{
		{Label: locale.T(ctx, "corrections.reading_of")}, {Label: locale.T(ctx, "corrections.shows"), Unit: m.Service.Unit(), Align: components.Number}, {Label: locale.T(ctx, "corrections.quality")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "corrections.no_readings"), Body: locale.T(ctx, "corrections.no_readings_body")}}
	for _, r := range readings {
		at := r.FreezeAt.UTC().Format(time.RFC3339)
		t.Rows = append(t.Rows, components.Row{ID: at, Href: newHref("kind", "reading", "meter", string(m.ID), "at", at), Cells: []templ.Component{
			components.When(r.FreezeAt), components.Quantity(r.Registers.Total(), m.Service.Scale(), ""), components.StateBadge(locale.Quality, r.Quality),
		}})
	}
	return t
}

// offerBill leads to the readings and exchanges that a bill rests on, and to its tariff and account.
func (h handler) offerBill(ctx context.Context, b store.BillSheet, v *formView) error {
	var readings []store.BillReading
	if err := json.Unmarshal(b.Readings, &readings); err != nil {
		return err
	}
	ctx = locale.WithZone(ctx, page.SiteZone(ctx, b.Site))
	t := components.Table{ID: "bill", Caption: locale.T(ctx, "corrections.pick_of_bill", string(b.ID)), Cols: []components.Col{
		{Label: locale.T(ctx, "corrections.what")}, {Label: locale.T(ctx, "corrections.on_bill")}, {Label: locale.T(ctx, "corrections.shows"), Unit: b.Service.Unit(), Align: components.Number},
	}}
	row := func(href, what string, when templ.Component, shows templ.Component) {
		t.Rows = append(t.Rows, components.Row{ID: href, Href: href, Cells: []templ.Component{components.Text(what), when, shows}})
	}
	for _, r := range readings {
		for _, end := range []struct {
			at     time.Time
			values billing.Registers
		}{{r.From, r.Opening}, {r.To, r.Closing}} {
			found, err := h.Store.ReadingsAt(ctx, []billing.MeterID{r.Meter}, end.at)
			if err != nil {
				return err
			}
			if _, read := found[r.Meter]; !read {
				continue // a fitting's own opening or closing: it is reached by the line of the meter's exchange
			}
			row(newHref("kind", "reading", "meter", string(r.Meter), "at", end.at.UTC().Format(time.RFC3339)), locale.T(ctx, "corrections.reading_by", string(r.Meter)),
				components.When(end.at), components.Quantity(end.values.Total(), b.Service.Scale(), ""))
		}
		row(newHref("about", string(r.Meter)), locale.T(ctx, "corrections.ratio_of", string(r.Meter)), components.Text("× "+strconv.FormatInt(r.Ratio, 10)), components.Muted("–"))
	}
	row(newHref("about", string(b.Tariff)), locale.T(ctx, "corrections.price_of"), components.Text(string(b.Tariff)), components.Muted("–"))
	row(newHref("kind", "terms", "account", string(b.Account)), locale.State(ctx, locale.CorrectionKind, "terms"), components.Text(string(b.Account)), components.Muted("–"))
	row(newHref("kind", "quantity", "account", string(b.Account), "month", b.PeriodFrom.String()[:7]), locale.State(ctx, locale.CorrectionKind, "quantity"), components.Text(string(b.Account)), components.Muted("–"))
	v.choices = []components.Table{t}
	return nil
}

func (h handler) offerTerms(ctx context.Context, a store.AccountRow) components.Table {
	return components.Table{ID: "account", Caption: locale.T(ctx, "corrections.pick_of_account", string(a.ID)), Cols: []components.Col{{Label: locale.T(ctx, "corrections.what")}, {Label: locale.T(ctx, "corrections.on_file")}}, Rows: []components.Row{
		{ID: "terms", Href: newHref("kind", "terms", "account", string(a.ID)), Cells: []templ.Component{components.Text(locale.State(ctx, locale.CorrectionKind, "terms")), components.Text(string(a.Account.Tariff))}},
		{ID: "quantity", Href: newHref("kind", "quantity", "account", string(a.ID)), Cells: []templ.Component{components.Text(locale.State(ctx, locale.CorrectionKind, "quantity")), components.Muted("–")}},
		{ID: "carry_over", Href: newHref("kind", "carry_over", "account", string(a.ID)), Cells: []templ.Component{components.Text(locale.State(ctx, locale.CorrectionKind, "carry_over")), components.Quantity(a.UseBefore, a.Service.Scale(), a.Service.Unit())}},
	}}
}

func offerPrices(ctx context.Context, t billing.Tariff) components.Table {
	out := components.Table{ID: "versions", Caption: locale.T(ctx, "corrections.pick_version", string(t.ID)), Cols: []components.Col{{Label: locale.T(ctx, "corrections.in_force_from")}, {Label: locale.T(ctx, "corrections.what")}}}
	for _, v := range t.Versions {
		out.Rows = append(out.Rows, components.Row{ID: v.From.String(), Href: newHref("kind", "price", "tariff", string(t.ID), "from", v.From.String()), Cells: []templ.Component{
			components.Text(v.From.String()), components.Text(locale.State(ctx, locale.CorrectionKind, "price")),
		}})
	}
	return out
}

// about reads what a form is about. What doesn't exist, or isn't the person's to see, is refused.
func (h handler) about(r *http.Request) (draft, error) {
	ctx := r.Context()
	d := draft{kind: billing.CorrectionKind(r.Form.Get("kind"))}
	var err error
	switch d.kind {
	case billing.CorrectReading:
		if d.meter, err = h.Store.Meter(ctx, billing.MeterID(r.Form.Get("meter"))); err != nil {
			return d, err
		}
		if d.at, err = time.Parse(time.RFC3339, r.Form.Get("at")); err != nil {
			return d, billing.Errorf(billing.CodeInvalidInput, "the instant can't be read: choose one of the meter's readings")
		}
		found, err := h.Store.ReadingsAt(ctx, []billing.MeterID{d.meter.ID}, d.at)
		if err != nil {
			return d, err
		}
		var there bool
		if d.reading, there = found[d.meter.ID]; !there {
			return d, billing.Errorf(billing.CodeNotFound, "meter %s has no reading of %s: choose one of its readings", d.meter.ID, d.at.In(locale.Zone(ctx)).Format("2006-01-02 15:04"))
		}
		d.site = d.meter.Site
	case billing.CorrectRatio, billing.CorrectExchange:
		id, err := strconv.ParseInt(r.Form.Get("fitting"), 10, 64)
		if err != nil {
			return d, billing.Errorf(billing.CodeInvalidInput, "choose the fitting on its meter's page")
		}
		if err := h.aboutFitting(ctx, id, &d); err != nil {
			return d, err
		}
	case billing.CorrectPrice:
		if d.tariff, err = h.Store.Tariff(ctx, billing.TariffID(r.Form.Get("tariff"))); err != nil {
			return d, err
		}
		if d.from, err = billing.ParseDate(r.Form.Get("from")); err != nil {
			return d, err
		}
	case billing.CorrectTerms, billing.CorrectQuantity, billing.CorrectCarryOver:
		if d.account, err = h.Store.Account(ctx, billing.AccountID(r.Form.Get("account"))); err != nil {
			return d, err
		}
		d.site = d.account.Site
	default:
		return d, billing.Errorf(billing.CodeInvalidInput, "choose what is to be corrected")
	}
	if d.site == "" {
		d.zone = locale.Zone(ctx)
		return d, nil
	}
	d.zone = page.SiteZone(ctx, d.site)
	return d, page.See(ctx, d.site)
}

func (h handler) aboutFitting(ctx context.Context, id int64, d *draft) error {
	var err error
	if d.fitting, err = h.Store.Fitting(ctx, id); err != nil {
		return err
	}
	if d.meter, err = h.Store.Meter(ctx, d.fitting.Meter); err != nil {
		return err
	}
	d.site = d.meter.Site
	all, err := h.Store.Fittings(ctx, []billing.ServicePointID{d.fitting.ServicePoint})
	for _, f := range all[d.fitting.ServicePoint] {
		if f.ToAt != nil && f.ToAt.Equal(d.fitting.FromAt) {
			d.before = f
		}
	}
	return err
}

// entry is the form of a kind.
func (h handler) entry(r *http.Request, v *formView) error {
	d, err := h.about(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), d.zone)
	f := page.FormOf(r, "submit")
	a := components.Action{ID: "submit", Title: locale.State(ctx, locale.CorrectionKind, d.kind), URL: path, Submit: locale.T(ctx, "corrections.submit"), Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce(), {Name: "kind", Value: string(d.kind)}}, Consequence: components.Text(locale.T(ctx, "corrections.submit_effect"))}
	for _, name := range []string{"meter", "at", "fitting", "tariff", "account"} {
		if value := r.Form.Get(name); value != "" && !(d.kind == billing.CorrectRatio && name == "at") {
			a.Hidden = append(a.Hidden, components.Hidden{Name: name, Value: value})
		}
	}
	switch d.kind {
	case billing.CorrectReading:
		a.Fields = registerFields(ctx, f, "value", d.meter.Service, d.reading.Registers, true)
		v.facts = []components.Fact{meterFact(ctx, d.meter), {ID: "at", Label: locale.T(ctx, "corrections.reading_of"), Value: components.When(d.at)},
			{ID: "quality", Label: locale.T(ctx, "corrections.quality"), Value: components.StateBadge(locale.Quality, d.reading.Quality)}}
	case billing.CorrectRatio:
		a.Fields = ratioFields(ctx, f, d)
		v.facts = fittingFacts(ctx, d)
	case billing.CorrectExchange:
		a.Fields = exchangeFields(ctx, f, d)
		v.facts = fittingFacts(ctx, d)
	case billing.CorrectPrice:
		if a.Fields, err = priceFields(ctx, f, d); err != nil {
			return err
		}
		v.facts = []components.Fact{{ID: "tariff", Label: locale.T(ctx, "corrections.tariff"), Value: components.Text(string(d.tariff.ID)), Hint: tariffName(ctx, d.tariff)}}
	case billing.CorrectTerms, billing.CorrectQuantity, billing.CorrectCarryOver:
		switch d.kind {
		case billing.CorrectQuantity:
			a.Fields = quantityFields(ctx, f, r.Form.Get("month"))
		case billing.CorrectCarryOver:
			a.Fields = carryOverFields(ctx, f, d.account)
		default:
			if a.Fields, err = h.termsFields(ctx, f, d); err != nil {
				return err
			}
		}
		v.facts = []components.Fact{{ID: "account", Label: locale.T(ctx, "corrections.account"), Value: components.Link(page.Home("account", string(d.account.ID)), string(d.account.ID))},
			{ID: "tariff", Label: locale.T(ctx, "corrections.tariff"), Value: components.Text(string(d.account.Tariff))}}
	}
	a.Fields = append(a.Fields,
		components.Field{Kind: components.TextField, Name: "evidence", Label: locale.T(ctx, "corrections.evidence"), Hint: locale.T(ctx, "corrections.evidence_hint"), Value: f.Value("evidence", ""), Error: f.Problem("evidence"), MaxLength: maxEvidence, Autocomplete: "off"},
		components.ReasonField(locale.T(ctx, "corrections.reason"), f.Value("reason", ""), f.Problem("reason")))
	if err := auth.Can(page.Actor(ctx), auth.MakeCorrection, d.site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	v.entry = &a
	return nil
}

const maxEvidence = 120

func meterFact(ctx context.Context, m store.Meter) components.Fact {
	return components.Fact{ID: "meter", Label: locale.T(ctx, "corrections.meter"), Value: components.Link(page.Home("meter", string(m.ID)), string(m.ID))}
}

func fittingFacts(ctx context.Context, d draft) []components.Fact {
	return []components.Fact{meterFact(ctx, d.meter), {ID: "fitted", Label: locale.T(ctx, "corrections.fitted_at"), Value: components.When(d.fitting.FromAt)},
		{ID: "ratio", Label: locale.T(ctx, "corrections.ratio"), Value: components.Count(d.fitting.Ratio)}}
}

func tariffName(ctx context.Context, t billing.Tariff) string {
	if locale.Lang(ctx) == locale.EN {
		return t.Name.EN
	}
	return t.Name.ZH
}

// registerWord is the word of a register by its place.
func registerWord(ctx context.Context, i int) string {
	words := locale.Words(locale.Register)
	if i >= len(words) {
		return billing.Register(i).String()
	}
	return locale.State(ctx, locale.Register, words[i])
}

// registerFields ask for every register, with what stands on file filled in.
func registerFields(ctx context.Context, f page.Form, prefix string, s billing.Service, now billing.Registers, required bool) []components.Field {
	fields := make([]components.Field, len(now))
	for i, raw := range now {
		name := prefix + "-" + billing.Register(i).String()
		fields[i] = components.Field{Kind: components.QuantityField, Name: name, Label: registerWord(ctx, i), Unit: s.Unit(), Error: f.Problem(name), Required: required}
		fresh := s.Format(raw)
		if required {
			fields[i].Hint = locale.T(ctx, "corrections.on_file_value", locale.Quantity(raw, s.Scale()))
		} else {
			fresh = ""
		}
		fields[i].Value = f.Value(name, fresh)
	}
	return fields
}

func ratioFields(ctx context.Context, f page.Form, d draft) []components.Field {
	fields := []components.Field{
		{Kind: components.NumberField, Name: "ratio", Label: locale.T(ctx, "corrections.new_ratio"), Value: f.Value("ratio", ""), Error: f.Problem("ratio"), Required: true},
		{Kind: components.TimeField, Name: "at", Label: locale.T(ctx, "corrections.from"), Hint: locale.T(ctx, "corrections.ratio_from_hint"), Value: f.Value("at", d.fitting.FromAt.In(d.zone).Format("2006-01-02T15:04")), Error: f.Problem("at"), Required: true},
	}
	values := registerFields(ctx, f, "value", d.meter.Service, d.fitting.Opening, false)
	values[0].Hint = locale.T(ctx, "corrections.ratio_values_hint")
	return append(fields, values...)
}

func exchangeFields(ctx context.Context, f page.Form, d draft) []components.Field {
	var fields []components.Field
	for _, field := range registerFields(ctx, f, "opening", d.meter.Service, d.fitting.Opening, true) {
		field.Label = locale.T(ctx, "corrections.opening_of", string(d.fitting.Meter), field.Label)
		fields = append(fields, field)
	}
	if d.before.ID != 0 {
		for _, field := range registerFields(ctx, f, "closing", d.meter.Service, d.before.Closing, true) {
			field.Label = locale.T(ctx, "corrections.closing_of", string(d.before.Meter), field.Label)
			fields = append(fields, field)
		}
	}
	return fields
}

func (h handler) termsFields(ctx context.Context, f page.Form, d draft) ([]components.Field, error) {
	all, err := h.Store.Tariffs(ctx)
	if err != nil {
		return nil, err
	}
	terms, err := h.Store.TermsOf(ctx, []billing.AccountID{d.account.ID})
	if err != nil || len(terms[d.account.ID]) == 0 {
		return nil, err
	}
	now := terms[d.account.ID][len(terms[d.account.ID])-1]
	choose := components.Field{Kind: components.SelectField, Name: "to", Label: locale.T(ctx, "corrections.new_tariff"), Value: f.Value("to", string(now.Tariff)), Error: f.Problem("to"), Required: true, Options: []components.Option{{}}}
	for _, id := range sortedIDs(all) {
		if t := all[id]; t.Service == d.account.Service {
			choose.Options = append(choose.Options, components.Option{Value: string(id), Label: tariffName(ctx, t)})
		}
	}
	class := components.Field{Kind: components.SelectField, Name: "class", Label: locale.T(ctx, "terms.class"), Hint: locale.T(ctx, "terms.class_hint"), Value: f.Value("class", string(now.Class)), Error: f.Problem("class")}
	for _, c := range locale.Words(locale.Class) {
		class.Options = append(class.Options, components.Option{Value: c, Label: locale.State(ctx, locale.Class, c)})
	}
	fields := []components.Field{{Kind: components.DateField, Name: "from", Label: locale.T(ctx, "corrections.from"), Value: f.Value("from", now.FromDay.String()), Error: f.Problem("from"), Required: true}, choose, class}
	for _, q := range []struct{ name, label, now string }{
		{"persons", locale.T(ctx, "terms.persons"), strconv.Itoa(now.Persons)}, {"capacity", locale.T(ctx, "terms.capacity"), now.CapacityKVA.String()},
		{"suspended", locale.T(ctx, "terms.suspended"), now.SuspendedKVA.String()}, {"demand", locale.T(ctx, "terms.contract_demand"), now.ContractDemandKW.String()},
	} {
		fields = append(fields, components.Field{Kind: components.QuantityField, Name: q.name, Label: q.label, Value: f.Value(q.name, q.now), Error: f.Problem(q.name)})
	}
	choice := components.Field{Kind: components.SelectField, Name: "choice", Label: locale.T(ctx, "terms.choice"), Value: f.Value("choice", string(now.ChargeChoice)), Error: f.Problem("choice"), Options: []components.Option{
		{Label: locale.T(ctx, "terms.no_choice")}, {Value: string(billing.ChooseCapacity), Label: locale.T(ctx, "terms.by_capacity")}, {Value: string(billing.ChooseDemand), Label: locale.T(ctx, "terms.by_demand")}}}
	register := components.Field{Kind: components.SelectField, Name: "register", Label: locale.T(ctx, "terms.register"), Value: f.Value("register", now.ContractRegister), Error: f.Problem("register"), Options: []components.Option{{Label: locale.T(ctx, "terms.meter_total")}}}
	for _, r := range billing.Bands {
		register.Options = append(register.Options, components.Option{Value: r.String(), Label: locale.T(ctx, "terms.by_register", registerWord(ctx, int(r)))})
	}
	fields = append(fields, choice, register)
	if d.account.CreditMode == billing.CreditPlatform {
		arrears := components.Field{Kind: components.CheckField, Name: "arrears", Label: locale.T(ctx, "terms.arrears"), Value: f.Value("arrears", map[bool]string{true: "1"}[now.ArrearsContract]), Hint: locale.T(ctx, "terms.arrears_hint")}
		fields = append(fields, arrears)
	}
	return fields, nil
}

func quantityFields(ctx context.Context, f page.Form, month string) []components.Field {
	kind := components.Field{Kind: components.SelectField, Name: "quantity", Label: locale.T(ctx, "terms.quantity"), Value: f.Value("quantity", store.Kvarh), Error: f.Problem("quantity")}
	for _, k := range store.QuantityKinds {
		kind.Options = append(kind.Options, components.Option{Value: k, Label: locale.State(ctx, locale.MonthQuantity, k)})
	}
	return []components.Field{
		{Kind: components.TextField, Name: "month", Label: locale.T(ctx, "terms.month"), Value: f.Value("month", month), Placeholder: "2026-09", MaxLength: 7, Error: f.Problem("month"), Required: true}, kind,
		{Kind: components.QuantityField, Name: "value", Label: locale.T(ctx, "terms.value"), Value: f.Value("value", ""), Error: f.Problem("value"), Required: true, MaxLength: 20},
	}
}

func carryOverFields(ctx context.Context, f page.Form, a store.Account) []components.Field {
	return []components.Field{{Kind: components.QuantityField, Name: "use", Label: locale.T(ctx, "corrections.use_before", a.OpenedOn.String()), Value: f.Value("use", a.Service.Format(a.UseBefore)), Error: f.Problem("use"),
		Unit: a.Service.Unit(), Hint: locale.T(ctx, "corrections.use_before_hint"), Required: true, MaxLength: 20}}
}

// submit takes what a supervisor has typed in. All that can be seen to be wrong is said at once, each beside its field.
func (h handler) submit(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.MakeCorrection, ""); err != nil {
		return page.Done{}, err
	}
	d, err := h.about(r)
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	change, err := changeOf(in, d)
	if err != nil {
		return page.Done{}, err
	}
	s := workflows.SubmitCorrection{By: page.Actor(ctx).UserID, Change: change, Evidence: in.Text("evidence"), Reason: in.Reason(), Key: in.Nonce()}
	if len([]rune(s.Evidence)) > maxEvidence {
		in.Refuse("evidence", billing.Errorf(billing.CodeInvalidInput, "this is too long: use at most 120 characters"))
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if s.CorrectionID, err = h.Store.NextCorrectionID(ctx); err != nil {
		return page.Done{}, err
	}
	facts, err := h.Workflows.SubmitCorrection(ctx, s)
	if err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(facts.CorrectionID), Said: locale.T(ctx, "corrections.drafted", string(facts.CorrectionID))}, nil
}
