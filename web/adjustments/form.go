package adjustments

import (
	"context"
	"net/http"
	"strings"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// formView is the way to an adjustment: the meter, its tests, and the form of a kind of fault.
type formView struct {
	lookup components.Field
	meter  string
	kinds  []components.Tab
	facts  []components.Fact
	tests  components.Table
	entry  *components.Action
	test   components.Action
}

func newHref(meter billing.MeterID, kind billing.AdjustmentKind) string {
	return page.AdjustHref(string(meter)) + "&kind=" + string(kind)
}

// form shows a meter with its tests, and asks for the fault.
func (h handler) form(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := r.ParseForm(); err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "the form can't be read: open the page again and send it once more")
	}
	about := strings.TrimSpace(r.Form.Get("meter"))
	v := formView{lookup: components.Field{Kind: components.SearchField, Name: "meter", Label: locale.T(ctx, "adjustments.about"), Value: about, MaxLength: 64, Focus: about == ""}}
	if about != "" {
		m, err := h.Store.Meter(ctx, billing.MeterID(about))
		if err == nil {
			err = page.See(ctx, m.Site)
		}
		switch billing.CodeOf(err) {
		case "":
			if err := h.about(r, m, &v); err != nil {
				return err
			}
		case billing.CodeNotFound:
			v.lookup.Error = page.Sentence(ctx, billing.Errorf(billing.CodeNotFound, "there is no meter %q: check its number", about))
		default:
			return err
		}
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "adjustments.new"), Nav: path, Body: form(v)})
}

func (h handler) about(r *http.Request, m store.Meter, v *formView) error {
	ctx := r.Context()
	tests, err := h.Store.TestsOfMeter(ctx, m.ID)
	if err != nil {
		return err
	}
	kind := billing.AdjustmentKind(r.Form.Get("kind"))
	v.meter = string(m.ID)
	v.facts = []components.Fact{{ID: "meter", Label: locale.T(ctx, "adjustments.meter"), Value: components.Link(page.Home("meter", string(m.ID)), string(m.ID))}}
	v.tests = testTable(ctx, tests)
	for _, k := range billing.AdjustmentKinds {
		v.kinds = append(v.kinds, components.Tab{Label: locale.State(ctx, locale.AdjustmentKind, k), Href: newHref(m.ID, k), Active: k == kind})
		if k == kind {
			a := entry(r, m, kind)
			v.entry = &a
		}
	}
	v.test = testAction(r, m, kind)
	return nil
}

func testTable(ctx context.Context, tests []store.MeterTest) components.Table {
	t := components.Table{ID: "tests", Caption: locale.T(ctx, "adjustments.tests"), Cols: []components.Col{
		{Label: locale.T(ctx, "adjustments.tested_on")}, {Label: locale.T(ctx, "adjustments.test_error"), Align: components.Number},
		{Label: locale.T(ctx, "adjustments.certificate")}, {Label: locale.T(ctx, "adjustments.recorded_by"), WideOnly: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "adjustments.no_tests"), Body: locale.T(ctx, "adjustments.no_tests_body")}}
	for _, one := range tests {
		t.Rows = append(t.Rows, components.Row{ID: one.TestedOn.String(), Cells: []templ.Component{
			components.Text(one.TestedOn.String()), figure(one.ErrorPercent.String()), components.Text(one.Certificate), components.Text(one.RecordedName)}})
	}
	return t
}

const maxEvidence = 120

// entry is the form of a kind of fault.
func entry(r *http.Request, m store.Meter, kind billing.AdjustmentKind) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "submit")
	text := func(kind components.FieldKind, name, label, hint string, required bool) components.Field {
		return components.Field{Kind: kind, Name: name, Label: label, Hint: hint, Value: f.Value(name, ""), Error: f.Problem(name), Required: required, MaxLength: maxEvidence, Autocomplete: "off"}
	}
	a := components.Action{ID: "submit", Title: locale.State(ctx, locale.AdjustmentKind, kind), URL: path, Submit: locale.T(ctx, "adjustments.submit"), Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce(), {Name: "kind", Value: string(kind)}, {Name: "meter", Value: string(m.ID)}}, Consequence: components.Text(locale.T(ctx, "adjustments.submit_effect"))}
	switch kind {
	case billing.AdjustWiring:
		a.Fields = append(a.Fields, text(components.TextField, "percent", locale.T(ctx, "adjustments.rate"), locale.T(ctx, "adjustments.rate_hint"), true))
	case billing.AdjustFault:
		a.Fields = append(a.Fields, text(components.DateField, "since", locale.T(ctx, "adjustments.since"), "", true),
			text(components.TextField, "normal", locale.T(ctx, "adjustments.normal_month"), locale.T(ctx, "adjustments.normal_hint"), true))
	}
	a.Fields = append(a.Fields, text(components.DateField, "corrected", locale.T(ctx, "adjustments.corrected"), locale.T(ctx, "adjustments.corrected_hint"), true),
		text(components.TextField, "evidence", locale.T(ctx, "adjustments.evidence"), locale.T(ctx, "adjustments.evidence_hint"), false),
		components.ReasonField(locale.T(ctx, "adjustments.reason"), f.Value("reason", ""), f.Problem("reason")))
	if err := auth.Can(page.Actor(ctx), auth.MakeAdjustment, m.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func testAction(r *http.Request, m store.Meter, kind billing.AdjustmentKind) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "test")
	field := func(kind components.FieldKind, name, label, hint string) components.Field {
		return components.Field{Kind: kind, Name: name, Label: label, Hint: hint, Value: f.Value(name, ""), Error: f.Problem(name), Required: true, MaxLength: maxEvidence, Autocomplete: "off"}
	}
	a := components.Action{ID: "test", Title: locale.T(ctx, "adjustments.record_test"), URL: path + "/tests", Submit: locale.T(ctx, "adjustments.record_test"), Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce(), {Name: "kind", Value: string(kind)}, {Name: "meter", Value: string(m.ID)}}, Consequence: components.Text(locale.T(ctx, "adjustments.test_effect")),
		Fields: []components.Field{
			field(components.DateField, "tested_on", locale.T(ctx, "adjustments.tested_on"), ""),
			field(components.TextField, "error", locale.T(ctx, "adjustments.test_error"), locale.T(ctx, "adjustments.test_error_hint")),
			field(components.TextField, "certificate", locale.T(ctx, "adjustments.certificate"), ""),
		}}
	if err := auth.Can(page.Actor(ctx), auth.RecordMeterTest, m.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

// percent reads a percentage from a field.
func percent(in *page.Input, field string) billing.Percent {
	p, err := billing.ParsePercent(in.Required(field))
	if err != nil {
		in.Refuse(field, err)
	}
	return p
}

// submit takes what a supervisor has typed in. All that can be seen to be wrong is said at once, each beside its field.
func (h handler) submit(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.MakeAdjustment, ""); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	fault := billing.Fault{Kind: billing.AdjustmentKind(in.Text("kind")), Meter: billing.MeterID(in.Text("meter")), Corrected: in.Day("corrected")}
	m, err := h.Store.Meter(ctx, fault.Meter)
	if err != nil {
		return page.Done{}, err
	}
	if err := page.See(ctx, m.Site); err != nil {
		return page.Done{}, err
	}
	switch fault.Kind {
	case billing.AdjustWiring:
		fault.Percent = percent(in, "percent")
	case billing.AdjustFault:
		fault.Since = in.Day("since")
		month, err := billing.ParseMonth(in.Required("normal"))
		if err != nil {
			in.Refuse("normal", err)
		}
		fault.Normal = month.From
	}
	return h.enter(ctx, in, workflows.SubmitAdjustment{By: page.Actor(ctx).UserID, Fault: fault, Evidence: in.Text("evidence"), Reason: in.Reason(), Key: in.Nonce()})
}

// enter takes in what a form has read, once all of it can be meant.
func (h handler) enter(ctx context.Context, in *page.Input, s workflows.SubmitAdjustment) (page.Done, error) {
	if len([]rune(s.Evidence)) > maxEvidence {
		in.Refuse("evidence", billing.Errorf(billing.CodeInvalidInput, "this is too long: use at most 120 characters"))
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	var err error
	if s.AdjustmentID, err = h.Store.NextAdjustmentID(ctx); err != nil {
		return page.Done{}, err
	}
	id, err := h.Workflows.SubmitAdjustment(ctx, s)
	if err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(id), Said: locale.T(ctx, "adjustments.entered", string(id))}, nil
}

// recordTest keeps a test of a meter: master data, with its journal row.
func (h handler) recordTest(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	m, err := h.Store.Meter(ctx, billing.MeterID(in.Text("meter")))
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.RecordMeterTest, m.Site); err != nil {
		return page.Done{}, err
	}
	t := store.MeterTest{Meter: m.ID, TestedOn: in.Day("tested_on"), ErrorPercent: percent(in, "error"), Certificate: in.Required("certificate")}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Store.RecordMeterTest(ctx, store.By{Actor: string(page.Actor(ctx).UserID)}, t); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: newHref(m.ID, billing.AdjustmentKind(in.Text("kind"))), Said: locale.T(ctx, "adjustments.test_recorded")}, nil
}
