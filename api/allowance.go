package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Allowance lets commands reach one meter whose register map was never verified on a device.
type Allowance struct {
	ID        int64           `json:"id"`
	Meter     billing.MeterID `json:"meter"`
	Profile   string          `json:"profile"`
	Version   int             `json:"profile_version" doc:"Of the register map; another version needs another allowance."`
	Reason    string          `json:"reason"`
	AllowedBy billing.UserID  `json:"allowed_by"`
	AgreedBy  billing.UserID  `json:"agreed_by"`
	FromAt    time.Time       `json:"from_at"`
	UntilAt   time.Time       `json:"until_at"`
	EndedAt   *time.Time      `json:"ended_at,omitempty" doc:"Before its time."`
	EndedBy   billing.UserID  `json:"ended_by,omitempty"`
}

func allowanceOf(a store.Allowance) Allowance {
	return Allowance{ID: a.ID, Meter: a.Meter, Profile: a.Profile, Version: a.Version, Reason: a.Reason, AllowedBy: a.AllowedBy, AgreedBy: a.AgreedBy,
		FromAt: utc(a.FromAt), UntilAt: utc(a.UntilAt), EndedAt: utcOrNil(a.EndedAt), EndedBy: a.EndedBy}
}

type allowInput struct {
	MeterPath
	Body struct {
		Reasoned
		UntilAt  time.Time `json:"until_at" doc:"Three months ahead at most."`
		Second   string    `json:"second_user" maxLength:"64" doc:"The manager who agrees."`
		Password string    `json:"second_password" maxLength:"512" doc:"Typed by that manager."`
	}
	remote string
}

// Resolve takes the client's address from the request, for counting wrong passwords.
func (in *allowInput) Resolve(ctx huma.Context) []error {
	in.remote = ctx.RemoteAddr()
	return nil
}

type endAllowanceInput struct {
	ID   int64 `path:"id"`
	Body struct{ Reasoned }
}

func (s *server) allowanceOperations() {
	add(s, operation{method: http.MethodGet, path: "/meters/{id}/allowances", id: "list-allowances", tag: "meters", may: auth.View,
		summary: "Who let commands reach a meter with an unverified register map, newest first."}, s.allowances)
	add(s, operation{method: http.MethodPost, path: "/meters/{id}/allowances", id: "allow-commands", tag: "meters", may: auth.AllowCommands, done: http.StatusCreated,
		summary: "Let commands reach a meter with an unverified register map; a manager agrees with their password."}, s.allow)
	add(s, operation{method: http.MethodPost, path: "/allowances/{id}/end", id: "end-allowance", tag: "meters", may: auth.StopCommands,
		summary: "End an allowance before its time."}, s.endAllowance)
}

func (s *server) allowances(ctx context.Context, in *MeterPath) (*body[[]Allowance], error) {
	m, err := s.seenMeter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	all, err := s.Store.Allowances(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	out := make([]Allowance, 0, len(all))
	for _, a := range all {
		out = append(out, allowanceOf(a))
	}
	return &body[[]Allowance]{out}, nil
}

// allow asks for the second person's own password: a name that the first person types would be no second person.
func (s *server) allow(ctx context.Context, in *allowInput) (*body[Allowance], error) {
	m, err := s.seenMeter(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.AllowCommands, m.Site); err != nil {
		return nil, err
	}
	mapped, err := workflows.RegisterMapOf(m.Profile)
	if err != nil {
		return nil, err
	}
	if mapped.Verified {
		return nil, billing.Errorf(billing.CodeConflict, "the register map %s is verified: commands need no allowance", m.Profile)
	}
	second, err := s.agrees(ctx, in.Body.Second, in.Body.Password, in.remote, auth.OrderCut, m.Site)
	if err != nil {
		return nil, err
	}
	a, err := s.Store.AllowCommands(ctx, by(ctx, in.Body.Reason), store.Allowance{Meter: m.ID, Profile: mapped.Name, Version: mapped.Version, Reason: in.Body.Reason,
		AgreedBy: second, UntilAt: in.Body.UntilAt})
	if err != nil {
		return nil, err
	}
	return &body[Allowance]{allowanceOf(a)}, nil
}

func (s *server) endAllowance(ctx context.Context, in *endAllowanceInput) (*body[Done], error) {
	a, err := s.Store.Allowance(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	m, err := s.seenMeter(ctx, a.Meter)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.StopCommands, m.Site); err != nil {
		return nil, err
	}
	if err := s.Store.EndAllowance(ctx, by(ctx, in.Body.Reason), a.ID); err != nil {
		return nil, err
	}
	return done(m.ID, "ended"), nil
}
