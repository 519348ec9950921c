package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Case is a doubt that a person must decide on.
type Case struct {
	ID          billing.CaseID      `json:"id"`
	Site        billing.SiteID      `json:"site"`
	Kind        string              `json:"kind" doc:"The rule that fired, or gateway_silent, credit_in_doubt, supply_unknown."`
	Blocking    bool                `json:"blocking" doc:"No bill, charge or cut rests on the reading until it is decided."`
	State       billing.CaseState   `json:"state"`
	Cycle       *billing.CycleID    `json:"cycle,omitempty"`
	Gateway     *billing.GatewayID  `json:"gateway,omitempty"`
	Meter       *billing.MeterID    `json:"meter,omitempty"`
	Account     *billing.AccountID  `json:"account,omitempty"`
	Recharge    *billing.RechargeID `json:"recharge,omitempty"`
	Command     *billing.CommandID  `json:"command,omitempty"`
	OpenedAt    time.Time           `json:"opened_at"`
	DueAt       time.Time           `json:"due_at"`
	EscalatedAt *time.Time          `json:"escalated_at,omitempty"`
	Decision    *string             `json:"decision,omitempty"`
	DecidedBy   *billing.UserID     `json:"decided_by,omitempty"`
	Reason      string              `json:"reason,omitempty"`
	ResolvedAt  *time.Time          `json:"resolved_at,omitempty"`
}

func caseOf(c store.Case) Case {
	return Case{ID: c.ID, Site: c.Site, Kind: c.Kind, Blocking: c.Blocking, State: c.State, Cycle: c.Cycle, Gateway: c.Gateway, Meter: c.Meter,
		Account: c.Account, Recharge: c.RechargeID, Command: c.CommandID, OpenedAt: utc(c.OpenedAt), DueAt: utc(c.DueAt),
		EscalatedAt: utcOrNil(c.EscalatedAt), Decision: c.Decision, DecidedBy: c.DecidedBy, Reason: c.Reason, ResolvedAt: utcOrNil(c.ResolvedAt)}
}

// CaseMember is one reading that a case doubts or misses.
type CaseMember struct {
	Meter    billing.MeterID `json:"meter"`
	FreezeAt time.Time       `json:"freeze_at"`
	Version  *int            `json:"reading_version,omitempty" doc:"The doubtful version; absent when there is no reading."`
	Rule     string          `json:"rule"`
	Numbers  json.RawMessage `json:"numbers" doc:"What the rule saw."`
	Outcome  string          `json:"outcome,omitempty"`
	Result   *int            `json:"result_version,omitempty"`
}

// CaseDetail is a case with its members and what may be decided.
type CaseDetail struct {
	Case
	Members   []CaseMember `json:"members"`
	Decisions []string     `json:"decisions" doc:"What may be decided; empty when the case is resolved."`
}

type casesInput struct {
	Page
	State   string          `query:"state" enum:"open,resolved"`
	Kind    string          `query:"kind"`
	Overdue bool            `query:"overdue" doc:"Only open ones past their due instant."`
	Meter   billing.MeterID `query:"meter"`
	Since   string          `query:"since" format:"date" doc:"Opened on this day or later."`
}

// CasePath is the address of a case.
type CasePath struct {
	ID billing.CaseID `path:"id"`
}

type decisionInput struct {
	CasePath
	Keyed
	Body struct {
		Reasoned
		Decision string          `json:"decision" doc:"One of the case's decisions."`
		Values   []ManualReading `json:"values,omitempty" doc:"For manual."`
		Exchange *MeterExchange  `json:"exchange,omitempty" doc:"For exchange."`
		// Members that are left out keep the case open.
		Meters []billing.MeterID `json:"meters,omitempty" doc:"Decide these members only; the others keep the case open."`
	}
}

// ManualReading is what a person read off a meter.
type ManualReading struct {
	Meter     billing.MeterID `json:"meter"`
	Registers []int64         `json:"registers" minItems:"1" maxItems:"6" doc:"Raw units: 0.01 kWh or litres; total first, then sharp, peak, flat, valley, deep valley."`
}

// MeterExchange closes an old meter and opens a new one.
type MeterExchange struct {
	Closing  []int64         `json:"closing" minItems:"1" maxItems:"6" doc:"Last registers of the old meter, raw units."`
	NewMeter billing.MeterID `json:"new_meter" minLength:"1" doc:"Asset number of the new meter."`
	Serial   string          `json:"serial" pattern:"^[0-9]{12}$" doc:"Of the new meter."`
	Opening  []int64         `json:"opening" minItems:"1" maxItems:"6" doc:"First registers of the new meter, raw units."`
	// Remaining goes on to the new meter as one purchase of its own kind.
	Remaining *billing.Money `json:"remaining_fen,omitempty" doc:"Credit on the old meter's display, where it holds the money; what was read last without it."`
	Litres    *int64         `json:"remaining_litres,omitempty" doc:"Volume on the old meter's display, where it holds one; without it, what was read last less what the closing has counted since."`
	Unit      int            `json:"unit,omitempty" minimum:"0" maximum:"247" doc:"Of the new meter; the old one's without it."`
	Profile   string         `json:"profile,omitempty" maxLength:"64" doc:"Register map of the new meter; the old one's without it."`
}

func (x MeterExchange) form() workflows.ExchangeForm {
	return workflows.ExchangeForm{Closing: x.Closing, NewMeter: x.NewMeter, Serial: x.Serial, Opening: x.Opening, Remaining: x.Remaining, RemainingLitres: x.Litres, Unit: x.Unit, Profile: x.Profile}
}

func (s *server) caseOperations() {
	add(s, operation{method: http.MethodGet, path: "/cases", id: "list-cases", tag: "cases", may: auth.View, summary: "Exception cases, most urgent first."}, s.cases)
	add(s, operation{method: http.MethodGet, path: "/cases/{id}", id: "get-case", tag: "cases", may: auth.View, summary: "A case with its members."}, s.oneCase)
	add(s, operation{method: http.MethodPost, path: "/cases/{id}/decision", id: "decide-case", tag: "cases", may: auth.DecideException,
		summary: "Decide on an open case."}, s.decide)
	s.weighOperations()
}

func (s *server) cases(ctx context.Context, in *casesInput) (*body[List[Case]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	from, err := since(in.Since)
	if err != nil {
		return nil, err
	}
	f := store.CaseFilter{Sites: sites, State: in.State, Kind: in.Kind, Overdue: in.Overdue, Meter: in.Meter, Since: from}
	rows, total, err := s.Store.CasePage(ctx, f, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, func(r store.CaseRow) Case { return caseOf(r.Case) }), nil
}

func (s *server) oneCase(ctx context.Context, in *CasePath) (*body[CaseDetail], error) {
	c, members, err := s.Store.Case(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := see(ctx, c.Site); err != nil {
		return nil, err
	}
	d := CaseDetail{Case: caseOf(c), Members: make([]CaseMember, 0, len(members)), Decisions: []string{}}
	for _, m := range members {
		d.Members = append(d.Members, CaseMember{Meter: m.Meter, FreezeAt: utc(m.FreezeAt), Version: m.ReadingVersion, Rule: m.Rule,
			Numbers: m.Numbers, Outcome: m.Outcome, Result: m.ResultVersion})
	}
	if c.State == billing.CaseOpen {
		d.Decisions = orNone(workflows.AllowedDecisions(c.Kind))
	}
	return &body[CaseDetail]{d}, nil
}

func (s *server) decide(ctx context.Context, in *decisionInput) (*body[Case], error) {
	c, _, err := s.Store.Case(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.DecideException, c.Site); err != nil {
		return nil, err
	}
	if c.State != billing.CaseOpen {
		return nil, billing.Errorf(billing.CodeClosed, "case %s is decided already: nothing was changed", c.ID)
	}
	d := workflows.Decision{CaseID: c.ID, By: me(ctx), Decision: in.Body.Decision, Reason: in.Body.Reason, Nonce: in.Key, Meters: in.Body.Meters}
	for _, v := range in.Body.Values {
		d.Values = append(d.Values, workflows.ManualValue{Meter: v.Meter, Registers: v.Registers})
	}
	if x := in.Body.Exchange; x != nil {
		form := x.form()
		d.Exchange = &form
	}
	if err := s.Workflows.DecideCase(ctx, c.ID, d); err != nil {
		return nil, err
	}
	if c, _, err = s.Store.Case(ctx, in.ID); err != nil {
		return nil, err
	}
	return &body[Case]{caseOf(c)}, nil
}
