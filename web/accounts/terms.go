package accounts

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// termsStory is what is agreed with the customer, by first day, and the quantities of late months.
type termsStory struct {
	history    []store.AccountTerms
	quantities []store.PeriodQuantity
	tariffs    map[billing.TariffID]billing.Tariff
}

// quantityMonths is for how many months back quantities are shown and can be entered.
const quantityMonths = 3

func (h handler) readTerms(r *http.Request, s *story, today billing.Date) error {
	ctx := r.Context()
	var err error
	if s.terms.history, err = h.Store.TermsHistory(ctx, s.row.ID); err != nil {
		return err
	}
	if s.terms.tariffs, err = h.Store.Tariffs(ctx); err != nil {
		return err
	}
	quantities, err := h.Store.PeriodQuantities(ctx, []billing.AccountID{s.row.ID}, today.AddDays(-31*quantityMonths), today)
	s.terms.quantities = quantities[s.row.ID]
	return err
}

// current is the entry in force on a day: the last version of the newest first day that has come.
func (t termsStory) current(day billing.Date) store.AccountTerms {
	var found store.AccountTerms
	for i, entry := range t.history {
		if i == 0 || !entry.FromDay.After(day) {
			found = entry
		}
	}
	return found
}

func (t termsStory) name(ctx context.Context, id billing.TariffID) string {
	tariff := t.tariffs[id]
	if locale.Lang(ctx) == locale.EN {
		return tariff.Name.EN
	}
	return tariff.Name.ZH
}

// termsTable lists all that was recorded, the newest first day first; what a later version replaced stays, marked so.
func termsTable(ctx context.Context, s story) components.Table {
	t := components.Table{ID: "terms", Caption: locale.T(ctx, "terms.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "terms.from")}, {Label: locale.T(ctx, "terms.tariff")}, {Label: locale.T(ctx, "terms.agreed")},
		{Label: locale.T(ctx, "terms.reason")}, {Label: locale.T(ctx, "terms.by")}, {Label: locale.T(ctx, "terms.state")},
	}}
	today := billing.DateOf(page.Now(ctx), page.SiteZone(ctx, s.row.Site))
	now := s.terms.current(today)
	for i, entry := range slices.Backward(s.terms.history) {
		state := components.Badge(components.Neutral, locale.T(ctx, "terms.past"))
		switch {
		case i+1 < len(s.terms.history) && s.terms.history[i+1].FromDay == entry.FromDay:
			state = components.Badge(components.Neutral, locale.T(ctx, "terms.replaced"))
		case entry.FromDay == now.FromDay:
			state = components.Badge(components.Good, locale.T(ctx, "terms.in_force"))
		case entry.FromDay.After(today):
			state = components.Badge(components.Watch, locale.T(ctx, "terms.to_come"))
		}
		t.Rows = append(t.Rows, components.Row{ID: entry.FromDay.String() + "-" + strconv.Itoa(entry.Version), Cells: []templ.Component{
			oneLine(entry.FromDay.String()), components.Text(s.terms.name(ctx, entry.Tariff)), components.Text(agreed(ctx, entry)), components.Text(termsReason(ctx, entry)),
			components.Text(who(ctx, entry)), state,
		}})
	}
	return t
}

// agreed says what the terms hold besides the tariff.
func agreed(ctx context.Context, t store.AccountTerms) string {
	text := ""
	add := func(s string) {
		if text != "" {
			text += locale.T(ctx, "terms.comma")
		}
		text += s
	}
	add(locale.State(ctx, locale.Class, t.Class))
	if t.Persons > 0 {
		add(locale.T(ctx, "terms.n_persons", t.Persons))
	}
	if !t.CapacityKVA.IsZero() {
		add(locale.T(ctx, "terms.n_kva", t.CapacityKVA.String()))
	}
	if !t.SuspendedKVA.IsZero() {
		add(locale.T(ctx, "terms.n_suspended", t.SuspendedKVA.String()))
	}
	if !t.ContractDemandKW.IsZero() {
		add(locale.T(ctx, "terms.n_demand", t.ContractDemandKW.String()))
	}
	switch t.ChargeChoice {
	case billing.ChooseCapacity:
		add(locale.T(ctx, "terms.by_capacity"))
	case billing.ChooseDemand:
		add(locale.T(ctx, "terms.by_demand"))
	}
	if t.ContractRegister != "" {
		add(locale.T(ctx, "terms.by_register", locale.State(ctx, locale.Register, t.ContractRegister)))
	}
	if t.ArrearsContract {
		add(locale.T(ctx, "terms.by_arrears"))
	}
	return text
}

// termsReason has words for the reason of the first entry, which the database writes.
func termsReason(ctx context.Context, t store.AccountTerms) string {
	if t.RecordedBy == "workflow" {
		return locale.T(ctx, "terms.opened")
	}
	return t.Reason
}

func who(ctx context.Context, t store.AccountTerms) string {
	at := locale.DateTime(ctx, t.RecordedAt)
	if t.RecordedBy == "workflow" {
		return at
	}
	return string(t.RecordedBy) + " " + at
}

// quantityTable lists what was entered of late months; empty for accounts whose price needs none.
func quantityTable(ctx context.Context, s story) components.Table {
	t := components.Table{ID: "quantities", Caption: locale.T(ctx, "terms.quantities"), Cols: []components.Col{
		{Label: locale.T(ctx, "terms.month")}, {Label: locale.T(ctx, "terms.quantity")}, {Label: locale.T(ctx, "terms.value"), Align: components.Number},
		{Label: locale.T(ctx, "terms.reason")}, {Label: locale.T(ctx, "terms.by")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "terms.no_quantities"), Body: locale.T(ctx, "terms.no_quantities_body")}}
	for _, q := range slices.Backward(s.terms.quantities) {
		t.Rows = append(t.Rows, components.Row{ID: q.Month.String() + "-" + q.Kind, Cells: []templ.Component{
			oneLine(billing.MonthPeriod(q.Month).String()), components.Text(locale.State(ctx, locale.MonthQuantity, q.Kind)), components.Text(q.Value.String()),
			components.Text(q.Reason), components.Text(string(q.RecordedBy) + " " + locale.DateTime(ctx, q.RecordedAt)),
		}})
	}
	return t
}

// needsQuantities says whether the tariff in force charges demand or adjusts by the power factor.
func (s story) needsQuantities(today billing.Date) bool {
	version, _, err := s.terms.tariffs[s.terms.current(today).Tariff].VersionAt(today)
	return err == nil && (version.Has(billing.KindDemand) || version.Has(billing.KindPowerFactor)) || len(s.terms.quantities) > 0
}

// termsActions are the forms of those who may use them.
func termsActions(r *http.Request, s story) []components.Action {
	ctx := r.Context()
	today := billing.DateOf(page.Now(ctx), page.SiteZone(ctx, s.row.Site))
	var list []components.Action
	if auth.Can(page.Actor(ctx), auth.MasterData, s.row.Site) == nil {
		list = append(list, termsAction(r, s, today))
	}
	if auth.Can(page.Actor(ctx), auth.EnterReading, s.row.Site) == nil && s.needsQuantities(today) {
		list = append(list, quantityAction(r, s, today))
	}
	return list
}

func termsAction(r *http.Request, s story, today billing.Date) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "terms")
	now := s.terms.current(today)
	field := func(name, label, value string, kind components.FieldKind) components.Field {
		return components.Field{Kind: kind, Name: name, Label: label, Value: f.Value(name, value), Error: f.Problem(name), MaxLength: 20}
	}
	tariff := field("tariff", locale.T(ctx, "terms.tariff"), string(now.Tariff), components.SelectField)
	for _, id := range sortedIDs(s.terms.tariffs) {
		if s.terms.tariffs[id].Service == s.row.Service {
			tariff.Options = append(tariff.Options, components.Option{Value: string(id), Label: s.terms.name(ctx, id)})
		}
	}
	from := field("from", locale.T(ctx, "terms.from"), billing.MonthPeriod(today).To.String(), components.DateField)
	from.Hint, from.Required = locale.T(ctx, "terms.from_hint"), true
	class := field("class", locale.T(ctx, "terms.class"), string(now.Class), components.SelectField)
	class.Hint = locale.T(ctx, "terms.class_hint")
	for _, c := range locale.Words(locale.Class) {
		class.Options = append(class.Options, components.Option{Value: c, Label: locale.State(ctx, locale.Class, c)})
	}
	fields := []components.Field{from, tariff, class, field("persons", locale.T(ctx, "terms.persons"), strconv.Itoa(now.Persons), components.TextField)}
	if s.row.Service == billing.Power {
		choice := field("choice", locale.T(ctx, "terms.choice"), string(now.ChargeChoice), components.SelectField)
		choice.Options = []components.Option{{Value: "", Label: locale.T(ctx, "terms.no_choice")}, {Value: string(billing.ChooseCapacity), Label: locale.T(ctx, "terms.by_capacity")}, {Value: string(billing.ChooseDemand), Label: locale.T(ctx, "terms.by_demand")}}
		register := field("register", locale.T(ctx, "terms.register"), now.ContractRegister, components.SelectField)
		register.Options = []components.Option{{Value: "", Label: locale.T(ctx, "terms.meter_total")}}
		for _, band := range billing.Bands {
			register.Options = append(register.Options, components.Option{Value: band.String(), Label: locale.State(ctx, locale.Register, band.String())})
		}
		fields = append(fields,
			field("capacity", locale.T(ctx, "terms.capacity"), now.CapacityKVA.String(), components.QuantityField), field("suspended", locale.T(ctx, "terms.suspended"), now.SuspendedKVA.String(), components.QuantityField),
			field("demand", locale.T(ctx, "terms.contract_demand"), now.ContractDemandKW.String(), components.QuantityField), choice, register)
	}
	if s.row.CreditMode == billing.CreditPlatform {
		arrears := field("arrears", locale.T(ctx, "terms.arrears"), map[bool]string{true: "1"}[now.ArrearsContract], components.CheckField)
		arrears.Hint = locale.T(ctx, "terms.arrears_hint")
		fields = append(fields, arrears)
	}
	fields = append(fields, components.ReasonField(locale.T(ctx, "terms.reason"), f.Value("reason", ""), f.Problem("reason")))
	return components.Action{
		ID: "terms", Title: locale.T(ctx, "terms.change"), URL: href(s.row.ID) + "/terms", Submit: locale.T(ctx, "terms.change"), Error: f.Error(),
		Consequence: components.Text(locale.T(ctx, "terms.then")), Fields: fields,
	}
}

func sortedIDs(tariffs map[billing.TariffID]billing.Tariff) []billing.TariffID {
	ids := make([]billing.TariffID, 0, len(tariffs))
	for id := range tariffs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func quantityAction(r *http.Request, s story, today billing.Date) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "quantity")
	month := components.Field{Kind: components.SelectField, Name: "month", Label: locale.T(ctx, "terms.month"), Value: f.Value("month", billing.MonthPeriod(today.AddDays(-7)).From.String()), Error: f.Problem("month")}
	for back := range quantityMonths + 1 {
		m := billing.NewDate(today.Year(), today.Month(), 1)
		for range back {
			m = billing.MonthPeriod(m.AddDays(-1)).From
		}
		month.Options = append(month.Options, components.Option{Value: m.String(), Label: billing.MonthPeriod(m).String()})
	}
	kind := components.Field{Kind: components.SelectField, Name: "kind", Label: locale.T(ctx, "terms.quantity"), Value: f.Value("kind", store.Kvarh), Error: f.Problem("kind")}
	for _, k := range store.QuantityKinds {
		kind.Options = append(kind.Options, components.Option{Value: k, Label: locale.State(ctx, locale.MonthQuantity, k)})
	}
	return components.Action{
		ID: "quantity", Title: locale.T(ctx, "terms.enter"), URL: href(s.row.ID) + "/quantities", Submit: locale.T(ctx, "terms.enter"), Error: f.Error(),
		Consequence: components.Text(locale.T(ctx, "terms.enter_then")),
		Fields: []components.Field{
			month, kind,
			{Kind: components.QuantityField, Name: "value", Label: locale.T(ctx, "terms.value"), Value: f.Value("value", ""), Error: f.Problem("value"), Required: true, MaxLength: 20},
			components.ReasonField(locale.T(ctx, "terms.source"), f.Value("reason", ""), f.Problem("reason")),
		},
	}
}
