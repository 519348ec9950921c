package api

import (
	"context"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/workflows"
)

// ReadingChange is one reading before and after a decision.
type ReadingChange struct {
	Meter    billing.MeterID   `json:"meter"`
	Account  billing.AccountID `json:"account,omitempty"`
	FreezeAt time.Time         `json:"freeze_at"`
	Before   []int64           `json:"before,omitempty" doc:"Raw registers as they stand; absent when there is no reading."`
	After    []int64           `json:"after" doc:"Raw registers as they would be."`
	Outcome  string            `json:"outcome"`
	Method   string            `json:"method,omitempty" doc:"How an estimate comes about."`
	TrueUp   bool              `json:"true_up,omitempty" doc:"An earlier estimate that is spread again."`
}

// ChargeChange is what a decision means to the open periods of an account.
type ChargeChange struct {
	Account    billing.AccountID `json:"account"`
	ChargedFen billing.Money     `json:"charged_fen" doc:"Charged so far."`
	RatedFen   billing.Money     `json:"rated_fen" doc:"What the open periods would be rated at."`
	EffectFen  billing.Money     `json:"effect_fen" doc:"The difference, which the next charge posts."`
	Known      bool              `json:"known" doc:"False where the readings don't carry the period yet."`
}

// CasePreview is what a decision on a case would do. Nothing is stored.
type CasePreview struct {
	Case     billing.CaseID   `json:"case"`
	Refused  string           `json:"refused,omitempty" doc:"Why it can't be decided so; nothing else is given then."`
	Asks     bool             `json:"asks,omitempty" doc:"The meters are asked first, so that nothing can be said yet."`
	Readings []ReadingChange  `json:"readings"`
	Charges  []ChargeChange   `json:"charges"`
	Bills    []billing.BillID `json:"bills" doc:"Issued bills that rest on a changed reading: they stay, and a correction has to follow."`
}

func previewOf(p workflows.Preview) CasePreview {
	out := CasePreview{Case: p.CaseID, Refused: p.Refused, Asks: p.Asks, Readings: []ReadingChange{}, Charges: []ChargeChange{}, Bills: orNone(p.Bills)}
	for _, m := range p.Members {
		out.Readings = append(out.Readings, ReadingChange{Meter: m.Meter, Account: m.Account, FreezeAt: utc(m.FreezeAt), Before: m.Before, After: m.After, Outcome: m.Outcome, Method: m.Method, TrueUp: m.TrueUp})
	}
	for _, a := range p.Accounts {
		out.Charges = append(out.Charges, ChargeChange{Account: a.Account, ChargedFen: a.ChargedFen, RatedFen: a.RatedFen, EffectFen: a.EffectFen, Known: a.Known})
	}
	return out
}

// CaseChoice is a case with the members that are decided.
type CaseChoice struct {
	Case   billing.CaseID    `json:"case"`
	Meters []billing.MeterID `json:"meters,omitempty" doc:"These members only; the others keep the case open."`
	Values []ManualReading   `json:"values,omitempty" doc:"For manual."`
}

type weighInput struct {
	Body struct {
		Decision string       `json:"decision"`
		Cases    []CaseChoice `json:"cases" minItems:"1" maxItems:"50"`
	}
}

type decideManyInput struct {
	Keyed
	Body struct {
		Reasoned
		Decision string       `json:"decision"`
		Cases    []CaseChoice `json:"cases" minItems:"1" maxItems:"50"`
	}
}

// CaseOutcome is what became of one case of several.
type CaseOutcome struct {
	Case    billing.CaseID `json:"case"`
	Refused string         `json:"refused,omitempty" doc:"Why it stayed open."`
}

func (s *server) weighOperations() {
	add(s, operation{method: http.MethodPost, path: "/cases/preview", id: "preview-decision", tag: "cases", may: auth.DecideException,
		summary: "What one decision would do to several cases: values before and after, and the effect on charges. Nothing is stored."}, s.weigh)
	add(s, operation{method: http.MethodPost, path: "/cases/decisions", id: "decide-cases", tag: "cases", may: auth.DecideException,
		summary: "One decision on several open cases. Those that refuse stay open and are named."}, s.decideMany)
}

// choice checks that a case is the person's and makes the decision on it.
func (s *server) choice(ctx context.Context, decision string, c CaseChoice) (workflows.Decision, error) {
	k, _, err := s.Store.Case(ctx, c.Case)
	if err != nil {
		return workflows.Decision{}, err
	}
	d := workflows.Decision{CaseID: c.Case, By: me(ctx), Decision: decision, Meters: c.Meters}
	for _, v := range c.Values {
		d.Values = append(d.Values, workflows.ManualValue{Meter: v.Meter, Registers: v.Registers})
	}
	return d, may(ctx, auth.DecideException, k.Site)
}

func (s *server) weigh(ctx context.Context, in *weighInput) (*body[List[CasePreview]], error) {
	var all []workflows.Preview
	for _, c := range in.Body.Cases {
		d, err := s.choice(ctx, in.Body.Decision, c)
		if err != nil {
			return nil, err
		}
		p, err := s.Workflows.PreviewDecision(ctx, d)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return listOf(all, len(all), previewOf), nil
}

func (s *server) decideMany(ctx context.Context, in *decideManyInput) (*body[List[CaseOutcome]], error) {
	var decisions []workflows.Decision
	for _, c := range in.Body.Cases {
		d, err := s.choice(ctx, in.Body.Decision, c)
		if err != nil {
			return nil, err // nothing was decided: the list itself is wrong
		}
		d.Reason = in.Body.Reason
		if in.Key != "" {
			d.Nonce, d.Batch = in.Key+"/"+string(c.Case), "decision/"+in.Key
		}
		decisions = append(decisions, d)
	}
	var out []CaseOutcome
	for _, d := range decisions {
		o := CaseOutcome{Case: d.CaseID}
		if err := s.Workflows.DecideCase(ctx, d.CaseID, d); err != nil {
			if code := billing.CodeOf(err); code == billing.CodeInternal || code == billing.CodeUnavailable {
				return nil, err
			}
			o.Refused = billing.MessageOf(err)
		}
		out = append(out, o)
	}
	return listOf(out, len(out), func(o CaseOutcome) CaseOutcome { return o }), nil
}
