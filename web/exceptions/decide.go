package exceptions

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
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
		raw, err := rawOf(in.Text(name), s.meter.Service)
		if err != nil {
			in.Refuse(name, err)
		}
		registers[i] = raw
	}
	return registers
}

// rawOf reads a register's value as it is displayed: kWh or m³ with the meter's decimals, thousands separated or not.
func rawOf(text string, s billing.Service) (int64, error) {
	if text == "" {
		return 0, billing.Errorf(billing.CodeInvalidInput, "fill in this field")
	}
	q, err := billing.ParseQuantity(strings.NewReplacer(",", "", " ", "").Replace(text))
	if err != nil {
		return 0, err
	}
	if q.Sign() < 0 {
		return 0, billing.Errorf(billing.CodeInvalidInput, "a register only counts up: enter what the display shows, without a sign")
	}
	return s.Raw(q)
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
	d := workflows.Decision{CaseID: c.row.ID, By: page.Actor(ctx).UserID, Decision: workflows.DecideExchange, Reason: in.Reason(), Nonce: in.Nonce(), Exchange: &form}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.DecideCase(ctx, c.row.ID, d); err != nil {
		return page.Done{}, err
	}
	return h.decided(r, c.row.ID)
}

// choose leads from the queue to the preview of a decision on the chosen cases.
func (h handler) choose(r *http.Request) (page.Done, error) {
	in := page.Read(r)
	decision, ids := in.OneOf("action", several...), in.Texts("id")
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if _, err := h.chosen(r, decision, ids); err != nil {
		return page.Done{}, err
	}
	q := r.URL.Query()
	q.Set("decision", decision)
	q["id"] = ids
	return page.Done{To: base + "/decide?" + url.Values(q).Encode()}, nil
}

// chosen reads cases for a decision on all of them; it refuses none, too many, several kinds, and kinds that can't be decided so.
func (h handler) chosen(r *http.Request, decision string, ids []string) ([]store.CaseRow, error) {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.DecideException, ""); err != nil {
		return nil, err
	}
	if len(ids) == 0 || len(ids) > page.PerPage {
		return nil, billing.Errorf(billing.CodeInvalidInput, "choose at least one case and at most %d", page.PerPage)
	}
	f := store.CaseFilter{Sites: page.Actor(ctx).Sites}
	for _, id := range ids {
		f.IDs = append(f.IDs, billing.CaseID(id))
	}
	rows, _, err := h.Store.CasePage(ctx, f, page.PerPage, 0)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, billing.Errorf(billing.CodeNotFound, "there is no such record")
	}
	for _, k := range rows {
		if k.Kind != rows[0].Kind {
			return nil, billing.Errorf(billing.CodeInvalidInput, "the chosen cases are of several kinds: choose cases of one kind, with the filter above")
		}
	}
	if !allowed(rows[0].Kind, decision) {
		return nil, billing.Errorf(billing.CodeInvalidInput, "cases of this kind can't be decided so: open one to see what can be decided")
	}
	return rows, nil
}

// preview shows what a decision on the chosen cases would mean, and asks why.
func (h handler) preview(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "the form can't be read: open the page again and send it once more")
	}
	decision := r.Form.Get("decision")
	ids := slices.Compact(slices.Sorted(slices.Values(r.Form["id"])))
	rows, err := h.chosen(r, decision, ids)
	if err != nil {
		return err
	}
	ctx := r.Context()
	doubts := make([]doubt, 0, len(rows))
	for _, row := range rows {
		_, members, err := h.Store.Case(ctx, row.ID)
		if err != nil {
			return err
		}
		c := doubt{row: row, members: members, now: page.Now(ctx)}
		if row.State == billing.CaseOpen {
			if c.subjects, err = h.subjects(ctx, members); err != nil {
				return err
			}
		}
		doubts = append(doubts, c)
	}
	v := previewOf(r, decision, doubts)
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: base, Body: preview(v)})
}

// decideSeveral decides one case after the other. Those that refuse stay open and are named.
func (h handler) decideSeveral(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	decision, ids, reason := in.OneOf("decision", several...), in.Texts("id"), in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	rows, err := h.chosen(r, decision, ids)
	if err != nil {
		return page.Done{}, err
	}
	var first error
	done, refused := 0, []string{}
	for _, k := range rows {
		if k.State != billing.CaseOpen {
			continue
		}
		d := workflows.Decision{CaseID: k.ID, By: page.Actor(ctx).UserID, Decision: decision, Reason: reason, Nonce: in.Nonce() + "/" + string(k.ID)}
		if err := h.Workflows.DecideCase(ctx, k.ID, d); err != nil {
			refused = append(refused, string(k.ID))
			if first == nil {
				first = err
			}
			continue
		}
		done++
	}
	if first != nil {
		return page.Done{}, billing.Errorf(billing.CodeOf(first), "%d cases were decided; %s stayed open: %s", done, strings.Join(refused, ", "), page.Sentence(ctx, first))
	}
	return page.Done{To: base + filterQuery(r), Said: locale.T(ctx, "exceptions.decided_many", done)}, nil
}
