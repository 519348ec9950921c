package exceptions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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

// weighAtOnce is how many meters' effects are worked out on the page of a case; for more, the page of the decision does it.
const weighAtOnce = 40

// weigh works out what each decision on an open case would do.
func (h handler) weigh(r *http.Request, c *doubt) error {
	ctx := r.Context()
	c.previews = map[string]workflows.Preview{}
	if c.row.State != billing.CaseOpen || len(c.subjects) == 0 || len(c.subjects) > weighAtOnce || auth.Can(page.Actor(ctx), auth.DecideException, c.row.Site) != nil {
		return nil
	}
	for _, decision := range withoutValues(c.row.Kind) {
		if _, fixed := hintKeys[decision]; fixed {
			continue
		}
		p, err := h.Workflows.PreviewDecision(ctx, workflows.Decision{CaseID: c.row.ID, By: page.Actor(ctx).UserID, Decision: decision})
		if err != nil {
			return err
		}
		c.previews[decision] = p
	}
	values, ok := typedValues(r, *c)
	if !ok {
		return nil
	}
	p, err := h.Workflows.PreviewDecision(ctx, workflows.Decision{CaseID: c.row.ID, By: page.Actor(ctx).UserID, Decision: workflows.DecideManual, Values: values})
	if err == nil && p.Refused == "" {
		c.previews[workflows.DecideManual] = p
	}
	return err
}

// seenField carries which values a person has seen the effect of.
const seenField = "seen"

// digestOf names typed values shortly.
func digestOf(values []workflows.ManualValue) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(values)))
	return hex.EncodeToString(sum[:8])
}

// typedValues are the values that stand in the address after they were typed in once.
func typedValues(r *http.Request, c doubt) ([]workflows.ManualValue, bool) {
	q := r.URL.Query()
	if !q.Has(seenField) {
		return nil, false
	}
	var values []workflows.ManualValue
	for _, s := range openSubjects(c) {
		registers := make(billing.Registers, registersOf(s))
		for i := range registers {
			raw, err := page.RegisterValue(q.Get(valueName("value", s.meter.ID, i)), s.meter.Service)
			if err != nil {
				return nil, false
			}
			registers[i] = raw
		}
		values = append(values, workflows.ManualValue{Meter: s.meter.ID, Registers: registers})
	}
	return values, digestOf(values) == q.Get(seenField)
}

// previewManual leads to the page of the case with the effect of typed values; values that will be refused are refused now.
func (h handler) previewManual(r *http.Request, d workflows.Decision, seen string) (page.Done, error) {
	p, err := h.Workflows.PreviewDecision(r.Context(), d)
	if err != nil {
		return page.Done{}, err
	}
	if p.Refused != "" {
		return page.Done{}, billing.Errorf(billing.CodeInvalidReading, "%s", p.Refused)
	}
	q := r.URL.Query()
	for name, values := range r.PostForm {
		if strings.HasPrefix(name, "value-") || name == "reason" {
			q[name] = values
		}
	}
	q.Set(seenField, seen)
	return page.Done{To: page.Home("case", string(d.CaseID)) + "?" + q.Encode()}, nil
}

// openMeters are the meters of a case without an outcome.
func openMeters(members []store.Member) []billing.MeterID {
	var ids []billing.MeterID
	for _, m := range members { // ordered by meter
		if m.Outcome == "" && (len(ids) == 0 || ids[len(ids)-1] != m.Meter) {
			ids = append(ids, m.Meter)
		}
	}
	return ids
}

// useOf is the use that a member's new value means since the last good one, raw, after ratio.
func useOf(m workflows.MemberPreview) (int64, bool) {
	if m.Last == nil || m.After == nil || m.TrueUp {
		return 0, false
	}
	use, err := billing.Usage(m.Last, m.After, m.Digits)
	if err != nil {
		return 0, false
	}
	return use.Total() * int64(m.Ratio), true
}

// net is what previews mean to bills in all; known is false when one of them can't be told.
func net(all []workflows.Preview) (fen billing.Money, known bool) {
	known = true
	for _, p := range all {
		for _, a := range p.Accounts {
			fen += a.EffectFen
			known = known && a.Known
		}
	}
	return fen, known
}

// previewText says what a decision would do in one line: the one value, or how many, and what the next charge posts.
func previewText(ctx context.Context, p workflows.Preview) string {
	var parts []string
	var own []workflows.MemberPreview
	again := 0
	for _, m := range p.Members {
		if m.TrueUp {
			again++
		} else {
			own = append(own, m)
		}
	}
	if len(own) == 1 {
		m := own[0]
		value := locale.Quantity(m.After.Total(), m.Service.Scale())
		if use, ok := useOf(m); ok {
			parts = append(parts, locale.T(ctx, "exceptions.effect_use", value, locale.Quantity(use, m.Service.Scale())+" "+m.Service.Unit()))
		} else {
			parts = append(parts, locale.T(ctx, "exceptions.effect_value", value))
		}
		if m.Method != "" {
			parts = append(parts, methodWord(ctx, m.Method))
		}
	} else {
		parts = append(parts, locale.T(ctx, "vee.readings", len(own)))
	}
	if again > 0 {
		parts = append(parts, locale.T(ctx, "vee.respread", again))
	}
	if fen, known := net([]workflows.Preview{p}); known && len(p.Accounts) > 0 {
		parts = append(parts, locale.T(ctx, "vee.effect", locale.MoneySigned(fen)))
	} else if len(p.Accounts) > 0 {
		parts = append(parts, locale.T(ctx, "vee.effect_later"))
	}
	if len(p.Bills) > 0 {
		parts = append(parts, locale.T(ctx, "vee.issued", len(p.Bills)))
	}
	return strings.Join(parts, " · ")
}

// previewFacts are the sums of a decision: readings, money, and issued bills that it leaves to a correction.
func previewFacts(ctx context.Context, all []workflows.Preview) []components.Fact {
	readings, again, accounts := 0, 0, 0
	var charged, rated billing.Money
	var bills []string
	for _, p := range all {
		for _, m := range p.Members {
			if m.TrueUp {
				again++
			} else {
				readings++
			}
		}
		for _, a := range p.Accounts {
			accounts++
			charged, rated = charged+a.ChargedFen, rated+a.RatedFen
		}
		for _, b := range p.Bills {
			bills = append(bills, string(b))
		}
	}
	facts := []components.Fact{{ID: "readings", Label: locale.T(ctx, "vee.readings_label"), Value: components.Count(readings)}}
	if again > 0 {
		facts = append(facts, components.Fact{ID: "respread", Label: locale.T(ctx, "vee.respread_label"), Value: components.Count(again)})
	}
	if fen, known := net(all); accounts > 0 {
		f := components.Fact{ID: "money", Label: locale.T(ctx, "vee.effect_label"), Value: components.MoneySigned(fen), Hint: locale.T(ctx, "vee.charged_rated", locale.Money(charged), locale.Money(rated))}
		if !known {
			f.Hint = locale.T(ctx, "vee.effect_later")
		}
		facts = append(facts, f)
	}
	if len(bills) > 0 {
		facts = append(facts, components.Fact{ID: "bills", Label: locale.T(ctx, "vee.bills_label"), Value: components.Text(strings.Join(bills, ", ")), Hint: locale.T(ctx, "vee.bills_hint")})
	}
	return facts
}

// methodWord is the name of the way in which an estimate came about.
func methodWord(ctx context.Context, method string) string {
	return locale.State(ctx, locale.Method, method)
}

// memberTable lists the members of a case: before a decision with the value in doubt and what the first proposal would make of it, after it
// with the values before and after, how and by whom.
func memberTable(ctx context.Context, c doubt) components.Table {
	t := components.Table{ID: "members", Caption: locale.T(ctx, "exceptions.members"), Cols: []components.Col{
		{Label: locale.T(ctx, "exceptions.meter")}, {Label: locale.T(ctx, "exceptions.account")}, {Label: locale.T(ctx, "exceptions.freeze")},
		{Label: locale.T(ctx, "vee.before"), Align: components.Number}, {Label: locale.T(ctx, "vee.after"), Align: components.Number},
		{Label: locale.T(ctx, "vee.how")}, {Label: locale.T(ctx, "exceptions.outcome")},
	}}
	byMeter := map[billing.MeterID]subject{}
	for _, s := range c.subjects {
		byMeter[s.meter.ID] = s
	}
	proposed := proposals(c)
	for _, m := range c.members {
		s, ch := byMeter[m.Meter], c.changes[store.MeterAt{Meter: m.Meter, At: m.FreezeAt.UTC()}]
		outcome := components.StateBadge(locale.Case, billing.CaseOpen)
		before, after, how := registerCell(ch.Before, s.meter.Service), registerCell(ch.After, s.meter.Service), components.Muted("–")
		switch p, ok := proposed[store.MeterAt{Meter: m.Meter, At: m.FreezeAt.UTC()}]; {
		case m.Outcome != "":
			outcome = components.Badge(components.Good, outcomeWord(ctx, m.Outcome))
			if ch.Method != "" {
				how = components.Text(methodWord(ctx, ch.Method))
			} else if ch.Quality != "" {
				how = components.Text(locale.State(ctx, locale.Quality, ch.Quality))
			}
		case ok:
			after, how = components.Lines(registerCell(p.After, p.Service), locale.T(ctx, "vee.proposed")), components.Text(methodWord(ctx, p.Method))
		}
		t.Rows = append(t.Rows, components.Row{ID: string(m.Meter) + "@" + m.FreezeAt.UTC().Format("20060102T1504"), Href: page.Home("meter", string(m.Meter)), Cells: []templ.Component{
			components.Code(string(m.Meter)), oneLine(strings.TrimSpace(string(s.meter.Account) + " " + s.meter.Customer)), components.When(m.FreezeAt), before, after, how, outcome,
		}})
	}
	return t
}

// proposals are the values that the first proposal which can be made would give.
func proposals(c doubt) map[store.MeterAt]workflows.MemberPreview {
	by := map[store.MeterAt]workflows.MemberPreview{}
	for _, decision := range withoutValues(c.row.Kind) {
		p, ok := c.previews[decision]
		if !ok || p.Refused != "" || decision == workflows.DecideAccept {
			continue
		}
		for _, m := range p.Members {
			by[store.MeterAt{Meter: m.Meter, At: m.FreezeAt.UTC()}] = m
		}
		break
	}
	return by
}

// registerCell is the total of a vector; a dash where there is none.
func registerCell(r billing.Registers, s billing.Service) templ.Component {
	if r == nil {
		return components.Muted("–")
	}
	return components.Quantity(r.Total(), s.Scale(), s.Unit())
}
