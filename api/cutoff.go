package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Cutoff is a cut as people see it: planned, prevented, done.
type Cutoff struct {
	ID         string               `json:"id"`
	Site       billing.SiteID       `json:"site"`
	Account    billing.AccountID    `json:"account"`
	Meter      billing.MeterID      `json:"meter,omitempty"`
	Reminder   billing.ReminderID   `json:"reminder,omitempty"`
	State      string               `json:"state" enum:"planned,awaiting_manager,prevented,sending,verified,unknown,cancelled"`
	PlannedAt  time.Time            `json:"planned_at" doc:"Not before."`
	BalanceFen billing.Money        `json:"balance_fen" doc:"Now."`
	ApprovedBy billing.UserID       `json:"approved_by,omitempty"`
	Command    billing.CommandID    `json:"command,omitempty"`
	CommandIs  billing.CommandState `json:"command_state,omitempty"`
	Readback   string               `json:"readback,omitempty"`
	OwnTrip    bool                 `json:"own_trip" doc:"The meter tripped by itself."`
	OpenedAt   time.Time            `json:"opened_at"`
	SettledAt  *time.Time           `json:"settled_at,omitempty"`
	Decision   json.RawMessage      `json:"decision" doc:"The last policy decision, with every reason for and against."`
}

func cutoffOf(c store.CutRow) Cutoff {
	return Cutoff{ID: c.ID, Site: c.Site, Account: c.Account, Meter: c.Meter, Reminder: c.Reminder, State: c.State, PlannedAt: utc(c.PlannedAt),
		BalanceFen: c.Balance, ApprovedBy: c.ApprovedBy, Command: c.CommandID, CommandIs: c.CommandState, Readback: c.Readback, OwnTrip: c.OwnTrip,
		OpenedAt: utc(c.OpenedAt), SettledAt: utcOrNil(c.SettledAt), Decision: c.Decision}
}

type cutoffsInput struct {
	Page
	State   []string          `query:"state" doc:"Several with commas."`
	Account billing.AccountID `query:"account"`
	OwnTrip bool              `query:"own_trip"`
	Since   string            `query:"since" format:"date" doc:"Opened or settled on this day or later."`
}

// CutoffPath is the address of a cut.
type CutoffPath struct {
	ID string `path:"id"`
}

type cancelCutInput struct {
	CutoffPath
	Body Reasoned
}

func (s *server) cutoffOperations() {
	add(s, operation{method: http.MethodGet, path: "/cutoffs", id: "list-cutoffs", tag: "cutoffs", may: auth.View, summary: "Cuts: those to come first."}, s.cutoffs)
	add(s, operation{method: http.MethodGet, path: "/cutoffs/{id}", id: "get-cutoff", tag: "cutoffs", may: auth.View, summary: "A cut with its printed decision."}, s.cutoff)
	add(s, operation{method: http.MethodPost, path: "/cutoffs/{id}/approve", id: "approve-cutoff", tag: "cutoffs", may: auth.OrderCut,
		summary: "Approve the cut of a large customer."}, s.approveCut)
	add(s, operation{method: http.MethodPost, path: "/cutoffs/{id}/cancel", id: "cancel-cutoff", tag: "cutoffs", may: auth.StopCuts,
		summary: "Stop a cut that isn't out yet."}, s.cancelCut)
}

func (s *server) cutoffs(ctx context.Context, in *cutoffsInput) (*body[List[Cutoff]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	from, err := since(in.Since)
	if err != nil {
		return nil, err
	}
	f := store.CutFilter{Sites: sites, States: in.State, OwnTrip: in.OwnTrip, Account: in.Account, Since: from}
	rows, total, err := s.Store.CutPage(ctx, f, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, cutoffOf), nil
}

func (s *server) cutoff(ctx context.Context, in *CutoffPath) (*body[Cutoff], error) {
	c, err := s.Store.CutRow(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := see(ctx, c.Site); err != nil {
		return nil, err
	}
	return &body[Cutoff]{cutoffOf(c)}, nil
}

func (s *server) approveCut(ctx context.Context, in *CutoffPath) (*body[Cutoff], error) {
	return s.decideCut(ctx, in.ID, auth.OrderCut, func() error { return s.Workflows.ApproveCut(ctx, in.ID, me(ctx)) })
}

func (s *server) cancelCut(ctx context.Context, in *cancelCutInput) (*body[Cutoff], error) {
	return s.decideCut(ctx, in.ID, auth.StopCuts, func() error { return s.Workflows.CancelCut(ctx, in.ID, me(ctx), in.Body.Reason) })
}

func (s *server) decideCut(ctx context.Context, id string, action auth.Action, decide func() error) (*body[Cutoff], error) {
	c, err := s.Store.Cutoff(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, action, c.Site); err != nil {
		return nil, err
	}
	if err := decide(); err != nil {
		return nil, err
	}
	return s.cutoff(ctx, &CutoffPath{ID: id})
}
