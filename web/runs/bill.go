package runs

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// billView is the page of one bill; what stands in the sheet is what is printed.
type billView struct {
	head     components.Head
	notice   *components.NoticeView
	corrects []components.NoticeView // how it stands in the chain of corrections
	sheet    components.SheetView
	facts    []components.Fact
	lines    components.Table
	readings components.Table
	sums     []components.Fact
	actions  []components.Action
	timeline components.TimelineView
}

func billOf(r *http.Request, b store.BillSheet, stops []store.BillStop, waived *store.Waiver, alone billing.Money) (billView, error) {
	ctx := r.Context()
	var readings []store.BillReading
	if err := json.Unmarshal(b.Readings, &readings); err != nil {
		return billView{}, err
	}
	taxes, err := b.Taxes()
	if err != nil {
		return billView{}, err
	}
	reverse, err := b.Reverse()
	if err != nil {
		return billView{}, err
	}
	v := billView{
		head: components.Head{
			Title: locale.T(ctx, "runs.bill_of", string(b.Account)), Subtitle: b.Customer + " · " + period(b), BackHref: page.Home("run", string(b.Run)), BackLabel: string(b.Run),
			Badge: components.StateBadge(locale.Bill, b.State), Actions: billPapers(correctLink(ctx, b), page.Home("bill", string(b.ID))),
		},
		sheet: components.SheetView{Title: locale.T(ctx, "runs.bill_title", locale.State(ctx, locale.Service, b.Service)), Issuer: page.SiteName(ctx, b.Site), Number: string(b.ID), Copy: locale.T(ctx, "runs.copy_customer")},
		facts: billFacts(ctx, b), lines: lineTable(ctx, b), readings: readingTable(ctx, b, readings), sums: append(sums(ctx, b, waived), taxFacts(ctx, taxes)...), actions: billActions(r, b, waived, alone),
	}
	if !reverse.IsZero() {
		v.facts = append(v.facts, components.Fact{ID: "reverse", Label: locale.T(ctx, "runs.reverse"), Value: components.Text(reverse.Fixed(b.Service.Scale()) + " " + b.Service.Unit()), Hint: locale.T(ctx, "runs.reverse_why")})
	}
	if b.State == billing.BillHeld {
		v.notice = &components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "runs.is_held"), Body: reasonText(ctx, b.HoldReason, stops)}
	}
	return v, nil
}

func period(b store.BillSheet) string {
	return billing.Period{From: b.PeriodFrom, To: b.PeriodTo}.String()
}

func billFacts(ctx context.Context, b store.BillSheet) []components.Fact {
	tariff := b.TariffZH
	if locale.Lang(ctx) == locale.EN {
		tariff = b.TariffEN
	}
	last := b.PeriodTo.AddDays(-1)
	return []components.Fact{
		{ID: "customer", Label: locale.T(ctx, "runs.customer"), Value: components.Text(b.Customer)},
		{ID: "account", Label: locale.T(ctx, "runs.account"), Value: components.Link(page.Home("account", string(b.Account)), string(b.Account))},
		{ID: "address", Label: locale.T(ctx, "runs.address"), Value: components.Text(b.Address)},
		{ID: "period", Label: locale.T(ctx, "runs.period"), Value: components.Text(b.PeriodFrom.String() + " – " + last.String())},
		{ID: "tariff", Label: locale.T(ctx, "runs.tariff"), Value: components.Text(tariff), Hint: b.Engine},
		{ID: "quantity", Label: locale.T(ctx, "runs.use"), Value: components.Quantity(b.Quantity, b.Service.Scale(), b.Service.Unit())},
	}
}

// registerWord is the word of a register.
func registerWord(ctx context.Context, r billing.Register) string {
	words := locale.Words(locale.Register)
	if int(r) < 0 || int(r) >= len(words) {
		return r.String()
	}
	return locale.State(ctx, locale.Register, words[r])
}

func lineTable(ctx context.Context, b store.BillSheet) components.Table {
	t := components.Table{ID: "lines", Caption: locale.T(ctx, "runs.lines"), Cols: []components.Col{
		{Label: locale.T(ctx, "runs.line")}, {Label: locale.T(ctx, "runs.band")}, {Label: locale.T(ctx, "runs.days")},
		{Label: locale.T(ctx, "runs.opening"), Align: components.Number}, {Label: locale.T(ctx, "runs.closing"), Align: components.Number},
		{Label: locale.T(ctx, "runs.use"), Unit: b.Service.Unit(), Align: components.Number},
		{Label: locale.T(ctx, "runs.price"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number}, {Label: locale.T(ctx, "runs.factor"), Align: components.Number},
		{Label: locale.T(ctx, "runs.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "runs.no_lines"), Body: locale.T(ctx, "runs.no_lines_body")}}
	for _, l := range b.Lines {
		title := l.NameZH
		if locale.Lang(ctx) == locale.EN {
			title = l.NameEN
		}
		t.Rows = append(t.Rows, components.Row{ID: locale.Count(l.Seq), Cells: []templ.Component{
			components.Text(title), components.Text(bandOf(ctx, l)), oneLine(days(ctx, l)),
			rawOrDash(l.Opening, b.Service), rawOrDash(l.Closing, b.Service), quantityOf(ctx, l), number(l.Price.String()), number(factorText(l)), components.Money(l.AmountFen),
		}})
	}
	if len(b.Lines) > 0 {
		t.Foot = []templ.Component{components.Text(locale.T(ctx, "runs.bill_total")), nil, nil, nil, nil, nil, nil, nil, components.Money(b.TotalFen)}
	}
	return t
}

// days are the first and the last day of a line: its end is the midnight after.
func days(ctx context.Context, l store.BillLine) string {
	return locale.ShortDay(ctx, l.FromAt) + " – " + locale.ShortDay(ctx, l.ToAt.Add(-time.Second))
}

// bandOf names the register, and the step when the price has steps.
func bandOf(ctx context.Context, l store.BillLine) string {
	if l.Unit != "" {
		return "–" // a charge by the month rests on no register
	}
	word := registerWord(ctx, l.Register)
	if l.Tier > 0 {
		return locale.T(ctx, "runs.tier", word, l.Tier)
	}
	return word
}

// quantityOf is a line's quantity; what isn't in the column's unit says its own.
func quantityOf(ctx context.Context, l store.BillLine) templ.Component {
	switch l.Unit {
	case "":
		return number(l.Quantity.Fixed(2))
	case "yuan":
		return number(l.Quantity.Fixed(2) + " " + locale.T(ctx, "unit.yuan"))
	default:
		return number(l.Quantity.String() + " " + l.Unit)
	}
}

// factorText is a factor, whose zero value means 1, and the part of a month.
func factorText(l store.BillLine) string {
	text := "1"
	if !l.Factor.IsZero() {
		text = l.Factor.String()
	}
	if l.Thirtieths > 0 && l.Thirtieths < 30 {
		text += " × " + strconv.Itoa(l.Thirtieths) + "/30"
	}
	return text
}

func rawOrDash(raw *int64, s billing.Service) templ.Component {
	if raw == nil {
		return components.Muted("–")
	}
	return components.Quantity(*raw, s.Scale(), "")
}

// readingTable lists the registers that the bill rests on, per meter and register.
func readingTable(ctx context.Context, b store.BillSheet, readings []store.BillReading) components.Table {
	t := components.Table{ID: "readings", Caption: locale.T(ctx, "runs.readings"), Cols: []components.Col{
		{Label: locale.T(ctx, "runs.meter")}, {Label: locale.T(ctx, "runs.register")}, {Label: locale.T(ctx, "runs.from")}, {Label: locale.T(ctx, "runs.to")},
		{Label: locale.T(ctx, "runs.opening"), Unit: b.Service.Unit(), Align: components.Number}, {Label: locale.T(ctx, "runs.closing"), Unit: b.Service.Unit(), Align: components.Number},
		{Label: locale.T(ctx, "runs.ratio"), Align: components.Number}, {Label: locale.T(ctx, "runs.counted"), Unit: b.Service.Unit(), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "runs.no_readings"), Body: locale.T(ctx, "runs.no_readings_body")}}
	for _, r := range readings {
		counted, err := billing.Usage(r.Opening, r.Closing, r.Digits)
		for i := range r.Opening {
			if i >= len(r.Closing) {
				break
			}
			use := components.Muted("–")
			if err == nil {
				use = components.Quantity(counted[i]*r.Ratio, b.Service.Scale(), "")
			}
			meter := components.Text("")
			if i == 0 {
				meter = components.Link(page.Home("meter", string(r.Meter)), string(r.Meter))
				if r.Estimated {
					meter = components.Lines(meter, locale.T(ctx, "runs.estimated"))
				}
			}
			t.Rows = append(t.Rows, components.Row{ID: string(r.Meter) + "-" + billing.Register(i).String(), Cells: []templ.Component{
				meter, components.Text(registerWord(ctx, billing.Register(i))), components.When(r.From), components.When(r.To),
				components.Quantity(r.Opening[i], b.Service.Scale(), ""), components.Quantity(r.Closing[i], b.Service.Scale(), ""), components.Count(r.Ratio), use,
			}})
		}
	}
	return t
}

func sums(ctx context.Context, b store.BillSheet, waived *store.Waiver) []components.Fact {
	facts := []components.Fact{
		{ID: "total", Label: locale.T(ctx, "runs.bill_total"), Value: components.Money(b.TotalFen)},
	}
	if b.LateFen > 0 {
		facts = append(facts, components.Fact{ID: "late", Label: locale.T(ctx, "runs.late"), Value: components.Money(b.LateFen)})
	}
	if waived != nil {
		who := string(waived.By)
		if waived.AgreedBy != nil {
			who += " + " + string(*waived.AgreedBy)
		}
		facts = append(facts, components.Fact{ID: "waived", Label: locale.T(ctx, "runs.waived"), Value: components.Money(waived.AmountFen),
			Hint: locale.T(ctx, "runs.waived_by", who, locale.DateTime(ctx, waived.At), waived.Reason)})
	}
	facts = append(facts, []components.Fact{
		{ID: "charged", Label: locale.T(ctx, "runs.charged"), Value: components.Money(b.ChargedFen)},
		{ID: "rest", Label: locale.T(ctx, "runs.rest"), Value: components.MoneySigned(b.TotalFen - b.ChargedFen)},
		{ID: "balance", Label: locale.T(ctx, "runs.balance_now"), Value: components.Money(b.BalanceFen)},
	}...)
	if b.State == billing.BillIssued && b.IssuedAt != nil {
		facts = append(facts, components.Fact{ID: "issued", Label: locale.T(ctx, "runs.issued_on"), Value: components.When(*b.IssuedAt)})
	}
	return facts
}

// taxFacts say of each tax its rate, its invoice and when it arises.
func taxFacts(ctx context.Context, taxes []billing.Component) []components.Fact {
	var facts []components.Fact
	for _, c := range taxes {
		name, how := c.Name.ZH, locale.T(ctx, "runs.tax_on_top")
		if locale.Lang(ctx) == locale.EN {
			name = c.Name.EN
		}
		if c.Inclusive {
			how = locale.T(ctx, "runs.tax_inclusive")
		}
		if c.Invoice != "" {
			how += " · " + locale.T(ctx, "runs.invoice", c.Invoice)
		}
		facts = append(facts, components.Fact{ID: "tax-" + c.Key, Label: name, Value: components.Text(c.Rate.String()), Hint: how + " · " + locale.State(ctx, locale.TaxPoint, c.Arises())})
	}
	return facts
}

// billActions hold a draft or release a held bill while the run is not issued, and waive the late fee of an issued one.
func billActions(r *http.Request, b store.BillSheet, waived *store.Waiver, alone billing.Money) []components.Action {
	ctx := r.Context()
	if b.State == billing.BillIssued && b.LateFen > 0 && waived == nil && auth.Can(page.Actor(ctx), auth.WaiveLateFee, b.Site) == nil {
		f := page.FormOf(r, "waive")
		a := components.Action{
			ID: "waive", Title: locale.T(ctx, "runs.waive"), URL: page.Home("bill", string(b.ID)) + "/waive", Submit: locale.T(ctx, "runs.waive"),
			Consequence: components.Text(locale.T(ctx, "runs.waive_effect")), Error: f.Error(),
			Fields: []components.Field{
				{Kind: components.MoneyField, Name: "amount", Label: locale.T(ctx, "runs.waive_amount"), Unit: locale.T(ctx, "unit.yuan"), Value: f.Value("amount", b.LateFen.String()), Error: f.Problem("amount"),
					Hint: locale.T(ctx, "runs.waive_amount_hint", b.LateFen.String()), Required: true, MaxLength: 12},
				components.ReasonField(locale.T(ctx, "runs.reason"), f.Value("reason", ""), f.Problem("reason")),
			},
		}
		if b.LateFen > alone {
			for _, field := range page.SecondFields(ctx, f, locale.T(ctx, "runs.waive_second", alone.String())) {
				field.Required = false // up to the ceiling one person is enough
				a.Fields = append(a.Fields, field)
			}
		}
		return []components.Action{a}
	}
	what, title, submit, effect := "hold", locale.T(ctx, "runs.hold"), locale.T(ctx, "runs.hold_now"), locale.T(ctx, "runs.hold_effect")
	switch b.State {
	case billing.BillDraft:
	case billing.BillHeld:
		what, title, submit, effect = "release", locale.T(ctx, "runs.release"), locale.T(ctx, "runs.release_now"), locale.T(ctx, "runs.release_effect")
	default:
		return nil
	}
	f := page.FormOf(r, what)
	a := components.Action{
		ID: what, Title: title, URL: page.Home("bill", string(b.ID)) + "/" + what, Submit: submit, Consequence: components.Text(effect), Error: f.Error(),
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "runs.reason"), f.Value("reason", ""), f.Problem("reason"))},
	}
	if err := auth.Can(page.Actor(ctx), auth.VerifyRun, b.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	} else if b.State == billing.BillHeld && b.RunIssued {
		a.Disabled = locale.T(ctx, "runs.release_by_further")
	} else if b.RunIssued || (b.RunState != billing.RunAwaitingVerification && b.RunState != billing.RunVerified) {
		a.Disabled = locale.T(ctx, "runs.hold_when", locale.State(ctx, locale.Run, b.RunState))
	}
	return []components.Action{a}
}
