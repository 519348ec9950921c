package exceptions

import (
	"net/http"
	"regexp"
	"slices"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// decide takes the choice among the proposals that need nothing typed in.
func (h handler) decide(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	c, err := h.mayDecide(r)
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	d := workflows.Decision{
		CaseID: c.row.ID, By: page.Actor(ctx).UserID, Decision: in.OneOf("decision", withoutValues(c.row.Kind)...), Reason: in.Reason(), Nonce: in.Nonce(),
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if len(openMeters(c.members)) > 1 {
		// Many meters at once: what becomes of each is shown first, and members can be taken out.
		q := r.URL.Query()
		q.Set("decision", d.Decision)
		q.Set("reason", d.Reason)
		q["case"] = []string{string(c.row.ID)}
		return page.Done{To: base + "/decide?" + q.Encode()}, nil
	}
	if err := h.Workflows.DecideCase(ctx, c.row.ID, d); err != nil {
		return page.Done{}, err
	}
	return h.decided(r, c.row.ID)
}

// withoutValues are the decisions on a kind of case that need nothing typed in.
func withoutValues(kind string) []string {
	return slices.DeleteFunc(workflows.AllowedDecisions(kind), func(d string) bool { return d == workflows.DecideManual || d == workflows.DecideExchange })
}

// manual takes what a person read off the display of each meter that is still in doubt.
func (h handler) manual(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	c, err := h.mayDecide(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.EnterReading, c.row.Site); err != nil {
		return page.Done{}, err
	}
	if c.subjects, err = h.subjects(ctx, c.members); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	d := workflows.Decision{CaseID: c.row.ID, By: page.Actor(ctx).UserID, Decision: workflows.DecideManual, Reason: in.Reason(), Nonce: in.Nonce()}
	for _, s := range openSubjects(c) {
		d.Values = append(d.Values, workflows.ManualValue{Meter: s.meter.ID, Registers: readRegisters(in, "value", s)})
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if seen := digestOf(d.Values); in.Text(seenField) != seen || in.Text("again") != "" {
		return h.previewManual(r, d, seen)
	}
	if err := h.Workflows.DecideCase(ctx, c.row.ID, d); err != nil {
		return page.Done{}, err
	}
	return h.decided(r, c.row.ID)
}

// readRegisters reads a value for each register that a meter shows.
func readRegisters(in *page.Input, prefix string, s subject) billing.Registers {
	registers := make(billing.Registers, registersOf(s))
	for i := range registers {
		name := valueName(prefix, s.meter.ID, i)
		raw, err := page.RegisterValue(in.Text(name), s.meter.Service)
		if err != nil {
			in.Refuse(name, err)
		}
		registers[i] = raw
	}
	return registers
}

// serialForm is what the database asks of a serial number.
var serialForm = regexp.MustCompile(`^[0-9]{12}$`)

// exchange takes the closing of the old meter and the opening of the new one.
func (h handler) exchange(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	c, err := h.mayDecide(r)
	if err != nil {
		return page.Done{}, err
	}
	if c.subjects, err = h.subjects(ctx, c.members); err != nil {
		return page.Done{}, err
	}
	open := openSubjects(c)
	if len(open) != 1 {
		return page.Done{}, billing.Errorf(billing.CodeInvalidInput, "an exchange is decided for one meter: this case has %d", len(open))
	}
	in := page.Read(r)
	form := workflows.ExchangeForm{
		Closing: readRegisters(in, "closing", open[0]), Opening: readRegisters(in, "opening", open[0]),
		NewMeter: billing.MeterID(in.Required("new_meter")), Serial: in.Required("serial"),
	}
	if form.Serial != "" && !serialForm.MatchString(form.Serial) {
		in.Refuse("serial", billing.Errorf(billing.CodeInvalidInput, "a serial number has 12 digits: copy it from the meter's plate"))
	}
	switch text := in.Text("remaining"); {
	case text == "":
	case workflows.HoldsVolume(open[0].meter.Profile):
		litres, err := page.LeftValue(text, open[0].meter.Service)
		if err != nil {
			in.Refuse("remaining", err)
		}
		form.RemainingLitres = &litres
	default:
		fen, err := billing.ParseMoney(text)
		if err != nil {
			in.Refuse("remaining", err)
		}
		form.Remaining = &fen
	}
	d := workflows.Decision{CaseID: c.row.ID, By: page.Actor(ctx).UserID, Decision: workflows.DecideExchange, Reason: in.Reason(), Nonce: in.Nonce(), Exchange: &form}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.DecideCase(ctx, c.row.ID, d); err != nil {
		return page.Done{}, err
	}
	return h.decided(r, c.row.ID)
}
