package corrections

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

func sortedIDs(all map[billing.TariffID]billing.Tariff) []billing.TariffID {
	return slices.Sorted(maps.Keys(all))
}

// changeOf reads the change from the fields of its kind.
func changeOf(in *page.Input, d draft) (billing.CorrectionChange, error) {
	switch d.kind {
	case billing.CorrectReading:
		return billing.CorrectionChange{Reading: &billing.ReadingChange{Meter: d.meter.ID, At: d.at, Registers: readRegisters(in, "value", d.meter.Service, len(d.reading.Registers), true)}}, nil
	case billing.CorrectRatio:
		at := in.Time("at", d.zone)
		if start := d.fitting.FromAt; at.Format("2006-01-02T15:04") == start.In(d.zone).Format("2006-01-02T15:04") {
			at = start // the form shows whole minutes
		}
		return billing.CorrectionChange{Ratio: &billing.RatioChange{Fitting: d.fitting.ID, At: at, Ratio: int(in.Int("ratio")), Registers: readRegisters(in, "value", d.meter.Service, len(d.fitting.Opening), false)}}, nil
	case billing.CorrectExchange:
		c := &billing.ExchangeChange{Fitting: d.fitting.ID}
		if opening := readRegisters(in, "opening", d.meter.Service, len(d.fitting.Opening), true); !slices.Equal(opening, d.fitting.Opening) {
			c.Opening = opening
		}
		if d.before.ID != 0 {
			if closing := readRegisters(in, "closing", d.meter.Service, len(d.before.Closing), true); !slices.Equal(closing, d.before.Closing) {
				c.Closing = closing
			}
		}
		return billing.CorrectionChange{Exchange: c}, nil
	case billing.CorrectPrice:
		return readPrice(in, d)
	case billing.CorrectQuantity:
		return billing.CorrectionChange{Quantity: readQuantity(in, d)}, nil
	case billing.CorrectCarryOver:
		return billing.CorrectionChange{CarryOver: &billing.CarryOverChange{Account: d.account.ID, Use: in.RegisterValue("use", d.account.Service)}}, nil
	}
	return billing.CorrectionChange{Terms: readTerms(in, d)}, nil
}

// decimal reads a quantity; an empty one is 0.
func decimal(in *page.Input, field string) billing.Quantity {
	text := in.Text(field)
	if text == "" {
		return billing.Quantity{}
	}
	q, err := billing.ParseQuantity(text)
	if err == nil && q.Sign() < 0 {
		err = billing.Errorf(billing.CodeInvalidInput, "The quantity %s is negative: enter it as the meter or the slip shows it.", q)
	}
	if err != nil {
		in.Refuse(field, err)
	}
	return q
}

func readQuantity(in *page.Input, d draft) *billing.QuantityChange {
	month, err := billing.ParseMonth(in.Text("month"))
	if err != nil {
		in.Refuse("month", err)
	}
	c := &billing.QuantityChange{Account: d.account.ID, Month: month.From, Kind: in.OneOf("quantity", store.QuantityKinds...)}
	if in.Required("value") != "" {
		c.Value = decimal(in, "value")
	}
	return c
}

func readTerms(in *page.Input, d draft) *billing.TermsChange {
	c := &billing.TermsChange{Account: d.account.ID, From: in.Day("from"), Tariff: billing.TariffID(in.Required("to")), Class: billing.CustomerClass(in.OneOf("class", locale.Words(locale.Class)...)), CapacityKVA: decimal(in, "capacity"), SuspendedKVA: decimal(in, "suspended"),
		ContractDemandKW: decimal(in, "demand"), Choice: billing.ChargeChoice(in.OneOf("choice", "", string(billing.ChooseCapacity), string(billing.ChooseDemand))), Register: in.Text("register"), ArrearsContract: in.Text("arrears") != ""}
	persons, err := strconv.Atoi(in.Text("persons"))
	if in.Text("persons") != "" && (err != nil || persons < 0 || persons > 99) {
		in.Refuse("persons", billing.Errorf(billing.CodeInvalidInput, "write how many persons are registered, 0 to 99"))
	}
	c.Persons = persons
	return c
}

// readRegisters reads a value for each register. With none of them typed in, those that may be left out are nil.
func readRegisters(in *page.Input, prefix string, s billing.Service, n int, required bool) billing.Registers {
	registers := make(billing.Registers, n)
	empty := true
	for i := range registers {
		empty = empty && in.Text(prefix+"-"+billing.Register(i).String()) == ""
	}
	if empty && !required {
		return nil
	}
	for i := range registers {
		name := prefix + "-" + billing.Register(i).String()
		registers[i] = in.RegisterValue(name, s)
	}
	return registers
}

// priced is one price of a version with its name in forms and its words.
type priced struct {
	name, label string
	price       **billing.Price
}

// prices are all prices of a version, in order. Setting one changes the version.
func prices(ctx context.Context, v *billing.TariffVersion) []priced {
	var list []priced
	add := func(name, label string, price **billing.Price) {
		if *price != nil { // a band may be a ratio of another price
			list = append(list, priced{name, label, price})
		}
	}
	bands := func(name, label string, all []billing.BandPrice) {
		for i := range all {
			add(name+"-"+all[i].Register.String(), label+" · "+registerWord(ctx, int(all[i].Register)), &all[i].Price)
		}
	}
	tiers := func(name, label string, all []billing.Tier) {
		for i := range all {
			tier, word := name+"-"+strconv.Itoa(i), label+" · "+locale.T(ctx, "corrections.tier", i+1)
			add(tier, word, &all[i].Price)
			bands(tier, word, all[i].Bands)
		}
	}
	for i := range v.Components {
		c := &v.Components[i]
		title := c.Name.ZH
		if locale.Lang(ctx) == locale.EN {
			title = c.Name.EN
		}
		name := "price-" + strconv.Itoa(i)
		add(name, title, &c.Price)
		bands(name, title, c.Bands)
		tiers(name, title, c.Tiers)
		for j := range c.Seasons {
			s := &c.Seasons[j]
			season, word := name+"-s"+strconv.Itoa(j), title+" · "+locale.T(ctx, "corrections.season", j+1)
			add(season, word, &s.Price)
			bands(season, word, s.Bands)
			tiers(season, word, s.Tiers)
		}
	}
	return list
}

// versionFrom is a copy of the version in force on a day, which may start there instead.
func versionFrom(t billing.Tariff, day billing.Date) (billing.TariffVersion, error) {
	v, _, err := t.VersionAt(day)
	if err != nil {
		return v, err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return v, err
	}
	var own billing.TariffVersion
	err = json.Unmarshal(raw, &own)
	own.From = day
	return own, err
}

func priceFields(ctx context.Context, f page.Form, d draft) ([]components.Field, error) {
	v, err := versionFrom(d.tariff, d.from)
	if err != nil {
		return nil, err
	}
	fields := []components.Field{{Kind: components.DateField, Name: "from", Label: locale.T(ctx, "corrections.in_force_from"), Hint: locale.T(ctx, "corrections.in_force_hint"), Value: f.Value("from", d.from.String()), Error: f.Problem("from"), Required: true}}
	for _, p := range prices(ctx, &v) {
		fields = append(fields, components.Field{Kind: components.QuantityField, Name: p.name, Label: p.label, Value: f.Value(p.name, (*p.price).String()), Error: f.Problem(p.name),
			Unit: locale.T(ctx, "corrections.per_unit", locale.T(ctx, "unit.yuan"), d.tariff.Service.Unit()), Required: true})
	}
	return fields, nil
}

func readPrice(in *page.Input, d draft) (billing.CorrectionChange, error) {
	day := in.Day("from")
	if in.Err() != nil {
		return billing.CorrectionChange{}, nil // said beside the field
	}
	v, err := versionFrom(d.tariff, day)
	if err != nil {
		return billing.CorrectionChange{}, err
	}
	for _, p := range prices(context.Background(), &v) {
		price, err := billing.ParsePrice(in.Required(p.name))
		if err == nil && price.Sign() < 0 {
			err = billing.Errorf(billing.CodeInvalidInput, "a price can't be negative: write yuan, such as 0.538")
		}
		if err != nil {
			in.Refuse(p.name, err)
		}
		*p.price = &price
	}
	return billing.CorrectionChange{Price: &billing.PriceCorrection{Tariff: d.tariff.ID, Version: v}}, nil
}

// changed is the change itself: what stands on file, and what a correction puts in its place.
func (h handler) changed(ctx context.Context, k store.CorrectionRow) (components.Table, error) {
	t := components.Table{ID: "change", Caption: locale.T(ctx, "corrections.change"), Cols: []components.Col{
		{Label: locale.T(ctx, "corrections.what")}, {Label: locale.T(ctx, "corrections.was"), Align: components.Number}, {Label: locale.T(ctx, "corrections.becomes"), Align: components.Number},
	}}
	c, err := k.Parts()
	if err != nil {
		return t, err
	}
	row := func(what, was, becomes string) {
		t.Rows = append(t.Rows, components.Row{ID: what, Cells: []templ.Component{components.Text(what), figure(was), figure(becomes)}})
	}
	switch {
	case c.Reading != nil:
		err = h.changedRegisters(ctx, c.Reading.Meter, k.Before, "registers", c.Reading.Registers, "", row)
	case c.Ratio != nil:
		var was struct{ Ratio int }
		err = json.Unmarshal(k.Before, &was)
		row(locale.T(ctx, "corrections.ratio"), strconv.Itoa(was.Ratio), strconv.Itoa(c.Ratio.Ratio))
	case c.Exchange != nil:
		var was struct {
			Meter       billing.MeterID `json:"meter"`
			MeterBefore billing.MeterID `json:"meter_before"`
		}
		if err = json.Unmarshal(k.Before, &was); err != nil {
			return t, err
		}
		if err = h.changedRegisters(ctx, was.Meter, k.Before, "opening", c.Exchange.Opening, locale.T(ctx, "corrections.opening"), row); err != nil || len(c.Exchange.Closing) == 0 {
			return t, err
		}
		err = h.changedRegisters(ctx, was.MeterBefore, k.Before, "closing", c.Exchange.Closing, locale.T(ctx, "corrections.closing"), row)
	case c.Price != nil:
		var versions []billing.TariffVersion
		if err = json.Unmarshal(k.Before, &versions); err != nil {
			return t, err
		}
		changedPrices(ctx, billing.Tariff{ID: c.Price.Tariff, Versions: versions}, c.Price.Version, row)
	case c.Terms != nil:
		err = changedTerms(ctx, k.Before, *c.Terms, row)
	case c.Quantity != nil:
		var was struct{ Value *billing.Quantity }
		err = json.Unmarshal(k.Before, &was)
		old := "–"
		if was.Value != nil {
			old = was.Value.String()
		}
		row(locale.State(ctx, locale.MonthQuantity, c.Quantity.Kind)+" · "+billing.MonthPeriod(c.Quantity.Month).String(), old, c.Quantity.Value.String())
	case c.CarryOver != nil:
		err = h.changedCarryOver(ctx, k.Before, *c.CarryOver, row)
	}
	return t, err
}

func (h handler) changedCarryOver(ctx context.Context, before json.RawMessage, c billing.CarryOverChange, row func(what, was, becomes string)) error {
	var was struct {
		Use      int64
		OpenedOn billing.Date `json:"opened_on"`
	}
	if err := json.Unmarshal(before, &was); err != nil {
		return err
	}
	a, err := h.Store.Account(ctx, c.Account)
	if err != nil {
		return err
	}
	row(locale.T(ctx, "corrections.use_before", was.OpenedOn.String())+" ("+a.Service.Unit()+")", locale.Quantity(was.Use, a.Service.Scale()), locale.Quantity(c.Use, a.Service.Scale()))
	return nil
}

// changedTerms lists what of an account's terms a correction changes.
func changedTerms(ctx context.Context, before json.RawMessage, c billing.TermsChange, row func(what, was, becomes string)) error {
	var was struct {
		Tariff    string
		Class     string
		Persons   int
		Capacity  billing.Quantity `json:"capacity_kva"`
		Suspended billing.Quantity `json:"suspended_kva"`
		Demand    billing.Quantity `json:"contract_demand_kw"`
		Choice    string
		Register  string
		Arrears   bool `json:"arrears_contract"`
	}
	if err := json.Unmarshal(before, &was); err != nil {
		return err
	}
	class := func(c string) string {
		if c == "" { // one that was made before terms had a class keeps it
			return ""
		}
		return locale.State(ctx, locale.Class, c)
	}
	for _, r := range [][3]string{
		{locale.T(ctx, "terms.class"), class(was.Class), class(string(c.Class))},
		{locale.T(ctx, "corrections.tariff"), was.Tariff, string(c.Tariff)}, {locale.T(ctx, "terms.persons"), strconv.Itoa(was.Persons), strconv.Itoa(c.Persons)},
		{locale.T(ctx, "terms.capacity"), was.Capacity.String(), c.CapacityKVA.String()}, {locale.T(ctx, "terms.suspended"), was.Suspended.String(), c.SuspendedKVA.String()},
		{locale.T(ctx, "terms.contract_demand"), was.Demand.String(), c.ContractDemandKW.String()}, {locale.T(ctx, "terms.choice"), was.Choice, string(c.Choice)}, {locale.T(ctx, "terms.register"), was.Register, c.Register},
		{locale.T(ctx, "terms.arrears"), yesNo(ctx, was.Arrears), yesNo(ctx, c.ArrearsContract)},
	} {
		if r[1] != r[2] {
			row(r[0], r[1], r[2])
		}
	}
	return nil
}

func yesNo(ctx context.Context, yes bool) string {
	if yes {
		return locale.T(ctx, "exceptions.yes")
	}
	return locale.T(ctx, "exceptions.no")
}

func (h handler) changedRegisters(ctx context.Context, meter billing.MeterID, before json.RawMessage, key string, after billing.Registers, prefix string, row func(what, was, becomes string)) error {
	if len(after) == 0 {
		return nil
	}
	m, err := h.Store.Meter(ctx, meter)
	if err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(before, &all); err != nil {
		return err
	}
	var was billing.Registers
	if err := json.Unmarshal(all[key], &was); err != nil {
		return err
	}
	for i, raw := range after {
		word, old := registerWord(ctx, i), "–"
		if prefix != "" {
			word = prefix + " · " + word
		}
		if i < len(was) {
			old = locale.Quantity(was[i], m.Service.Scale())
			if was[i] == raw {
				continue // what stays is on the meter's page
			}
		}
		row(word+" ("+m.Service.Unit()+")", old, locale.Quantity(raw, m.Service.Scale()))
	}
	return nil
}

// changedPrices lists the prices of a version beside those that were in force on its first day.
func changedPrices(ctx context.Context, t billing.Tariff, v billing.TariffVersion, row func(what, was, becomes string)) {
	old := map[string]string{}
	if was, err := versionFrom(t, v.From); err == nil {
		for _, p := range prices(ctx, &was) {
			old[p.label] = (*p.price).String()
		}
	}
	row(locale.T(ctx, "corrections.in_force_from"), "–", v.From.String())
	for _, p := range prices(ctx, &v) {
		was, ok := old[p.label]
		if !ok {
			was = "–"
		}
		if now := (*p.price).String(); now != was {
			row(p.label, was, now)
		}
	}
}
