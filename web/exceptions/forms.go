package exceptions

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// actionsOf are the forms of an open case: the choice among the proposals, and those that need values typed in.
func actionsOf(r *http.Request, c doubt) (actions []components.Action, extra []extraView) {
	kinds := workflows.AllowedDecisions(c.row.Kind)
	actions = []components.Action{decideAction(r, c)}
	if err := auth.Can(page.Actor(r.Context()), auth.DecideException, c.row.Site); err != nil {
		return actions, nil // the first form says why
	}
	if slices.Contains(kinds, workflows.DecideManual) && len(openSubjects(c)) > 0 {
		extra = append(extra, manualForm(r, c))
	}
	if slices.Contains(kinds, workflows.DecideExchange) && len(openSubjects(c)) == 1 {
		extra = append(extra, exchangeForm(r, openSubjects(c)[0], c))
	}
	return actions, extra
}

func openSubjects(c doubt) []subject {
	return slices.DeleteFunc(slices.Clone(c.subjects), func(s subject) bool { return !s.open })
}

func formURL(r *http.Request, c doubt, action string) string {
	return page.Home("case", string(c.row.ID)) + "/" + action + filterQuery(r)
}

func decideAction(r *http.Request, c doubt) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "decide")
	field := components.Field{Kind: components.ChoiceField, Name: "decision", Label: locale.T(ctx, "exceptions.proposals"), Value: f.Value("decision", ""), Required: true, Error: f.Problem("decision")}
	for _, decision := range withoutValues(c.row.Kind) {
		field.Options = append(field.Options, optionOf(ctx, c, decision))
	}
	a := components.Action{
		ID: "decide", Title: locale.T(ctx, "exceptions.decide"), URL: formURL(r, c, "decide"), Submit: locale.T(ctx, "exceptions.submit"), Key: "s", Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce()}, Fields: []components.Field{field, reasonOf(ctx, f)},
	}
	if err := auth.Can(page.Actor(ctx), auth.DecideException, c.row.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func reasonOf(ctx context.Context, f page.Form) components.Field {
	return components.ReasonField(locale.T(ctx, "exceptions.reason"), f.Value("reason", ""), f.Problem("reason"))
}

var hintKeys = map[string]string{
	workflows.DecideReread: locale.Key("exceptions.reread_hint"), workflows.DecideCredited: locale.Key("exceptions.credited_hint"),
	workflows.DecideNotCredited: locale.Key("exceptions.not_credited_hint"), workflows.DecideOn: locale.Key("exceptions.on_hint"), workflows.DecideOff: locale.Key("exceptions.off_hint"),
}

// optionOf is one proposal with what it would mean.
func optionOf(ctx context.Context, c doubt, decision string) components.Option {
	o := components.Option{Value: decision, Label: decisionWord(ctx, decision)}
	if key, ok := hintKeys[decision]; ok {
		o.Hint = locale.T(ctx, key)
		return o
	}
	p, ok := c.previews[decision]
	switch {
	case !ok:
		o.Hint = locale.T(ctx, "vee.see_preview")
	case p.Refused != "":
		o.Disabled = locale.Sentence(ctx, p.Refused)
	default:
		o.Hint = previewText(ctx, p)
	}
	return o
}

// registersOf is how many registers a meter shows.
func registersOf(s subject) int {
	switch {
	case s.before != nil:
		return len(s.before.Registers)
	case s.current != nil:
		return len(s.current.Registers)
	default:
		return 1
	}
}

// valueName is the form field of one register of one meter.
func valueName(prefix string, id billing.MeterID, register int) string {
	return prefix + "-" + string(id) + "-" + billing.Register(register).String()
}

// valueFields ask for every register that a meter shows. The last good value stands beside each.
func valueFields(ctx context.Context, f interface {
	Value(field, fresh string) string
	Problem(field string) string
}, prefix string, s subject, withMeter, withLast bool) []components.Field {
	fields := make([]components.Field, registersOf(s))
	for i := range fields {
		label := registerWord(ctx, i)
		if len(fields) == 1 {
			label = locale.T(ctx, "exceptions.shows")
		}
		if withMeter {
			label = string(s.meter.ID) + " · " + label
		}
		name := valueName(prefix, s.meter.ID, i)
		fields[i] = components.Field{Kind: components.QuantityField, Name: name, Label: label, Value: f.Value(name, ""), Unit: s.meter.Service.Unit(), Error: f.Problem(name), Required: true}
		if withLast && s.before != nil {
			fields[i].Hint = locale.T(ctx, "exceptions.last_value", locale.Quantity(s.before.Registers[i], s.meter.Service.Scale()), locale.ShortDay(ctx, s.before.At))
		}
	}
	return fields
}

// manualForm asks for what displays show. The values are sent twice: first to be weighed, then, with their effect in sight, to be taken.
func manualForm(r *http.Request, c doubt) extraView {
	ctx := r.Context()
	f := formWithQuery{page.FormOf(r, "manual"), r.URL.Query()}
	a := components.Action{
		ID: "manual", Title: locale.T(ctx, "exceptions.manual"), URL: formURL(r, c, "manual"), Submit: locale.T(ctx, "vee.preview"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
	}
	open := openSubjects(c)
	for _, s := range open {
		a.Fields = append(a.Fields, valueFields(ctx, f, "value", s, len(open) > 1, true)...)
	}
	a.Consequence = components.Text(locale.T(ctx, "exceptions.manual_effect", locale.DateTime(ctx, open[0].member.FreezeAt)))
	a.Fields = append(a.Fields, components.ReasonField(locale.T(ctx, "exceptions.reason"), f.Value("reason", ""), f.Problem("reason")))
	if p, ok := c.previews[workflows.DecideManual]; ok && !f.Tried() {
		a.Submit = locale.T(ctx, "exceptions.manual_submit")
		a.Consequence = components.Facts(previewFacts(ctx, []workflows.Preview{p}))
		a.Hidden = append(a.Hidden, components.Hidden{Name: seenField, Value: r.URL.Query().Get(seenField)})
		a.More = []components.Button{{Label: locale.T(ctx, "vee.preview_again"), Name: "again", Value: "1"}}
	}
	return extraView{title: a.Title, open: f.Tried() || r.URL.Query().Has(seenField), action: a}
}

// formWithQuery is a form whose fresh values stand in the address: what was typed before the preview.
type formWithQuery struct {
	page.Form
	query url.Values
}

// Value is what was typed into a field.
func (f formWithQuery) Value(field, fresh string) string {
	if typed := f.query.Get(field); typed != "" {
		fresh = typed
	}
	return f.Form.Value(field, fresh)
}

func exchangeForm(r *http.Request, s subject, c doubt) extraView {
	ctx := r.Context()
	f := page.FormOf(r, "exchange")
	text := func(name, label, hint string) components.Field {
		return components.Field{Kind: components.TextField, Name: name, Label: label, Hint: hint, Value: f.Value(name, ""), Error: f.Problem(name), Required: true, Autocomplete: "off", MaxLength: 40}
	}
	a := components.Action{
		ID: "exchange", Title: locale.T(ctx, "exceptions.exchange"), URL: formURL(r, c, "exchange"), Submit: locale.T(ctx, "exceptions.exchange_submit"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Consequence: components.Text(locale.T(ctx, "exceptions.exchange_effect", string(s.meter.ID))),
	}
	for _, field := range valueFields(ctx, f, "closing", s, false, true) {
		field.Label = locale.T(ctx, "exceptions.closing_of", field.Label)
		a.Fields = append(a.Fields, field)
	}
	if s.meter.CreditMode == billing.CreditMeter {
		field := components.Field{Kind: components.MoneyField, Name: "remaining", Label: locale.T(ctx, "meters.exchange_remaining"), Value: f.Value("remaining", ""),
			Error: f.Problem("remaining"), Hint: locale.T(ctx, "exceptions.exchange_remaining_hint")}
		if workflows.HoldsVolume(s.meter.Profile) {
			field.Kind, field.Label, field.Unit = components.QuantityField, locale.T(ctx, "meters.exchange_volume"), s.meter.Service.Unit()
			field.Hint = locale.T(ctx, "exceptions.exchange_volume_hint")
		}
		a.Fields = append(a.Fields, field)
	}
	a.Fields = append(a.Fields, text("new_meter", locale.T(ctx, "exceptions.new_meter"), ""), text("serial", locale.T(ctx, "exceptions.serial"), locale.T(ctx, "exceptions.serial_hint")))
	for _, field := range valueFields(ctx, f, "opening", s, false, false) {
		field.Label = locale.T(ctx, "exceptions.opening_of", field.Label)
		a.Fields = append(a.Fields, field)
	}
	a.Fields = append(a.Fields, reasonOf(ctx, f))
	return extraView{title: a.Title, open: f.Tried(), action: a}
}
