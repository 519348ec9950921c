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

// LateFeeRules are what unpaid bills cost under an arrears contract at a site.
type LateFeeRules struct {
	InForce  billing.LateFeePolicy `json:"in_force" doc:"By service, by first day: the past, the present and what is to come."`
	Versions []LateFeeVersion      `json:"versions" doc:"All that was proposed, newest first."`
}

// LateFeeVersion is a proposed rule with its two persons.
type LateFeeVersion struct {
	Version   int                `json:"version"`
	Service   billing.Service    `json:"service"`
	Rule      json.RawMessage    `json:"rule"`
	State     store.LateFeeState `json:"state" enum:"proposed,approved,rejected"`
	MadeBy    billing.UserID     `json:"made_by"`
	MadeAt    time.Time          `json:"made_at"`
	Reason    string             `json:"reason"`
	DecidedBy billing.UserID     `json:"decided_by,omitempty"`
	DecidedAt *time.Time         `json:"decided_at,omitempty"`
}

type newLateFee struct {
	SitePath
	Body struct {
		Reasoned
		Service billing.Service `json:"service" enum:"power,water"`
		Rule    json.RawMessage `json:"rule" doc:"All fields: from, due_days, household, other, other_earlier (shares a day as text), minimum_fen, waive_fen (what one person may waive of a bill's fee), and tax_rate where the fee contains VAT."`
	}
}

// LateFeePath is the address of a proposed late-fee rule.
type LateFeePath struct {
	SitePath
	Version int `path:"version"`
}

type lateFeeReason struct {
	LateFeePath
	Body Reasoned
}

func (s *server) lateFeeOperations() {
	const path = "/sites/{site}/late-fees"
	add(s, operation{method: http.MethodGet, path: path, id: "get-late-fees", tag: "tariffs", may: auth.View, summary: "The late-fee rules of a site, and all that was proposed."}, s.lateFees)
	add(s, operation{method: http.MethodPost, path: path, id: "propose-late-fee", tag: "tariffs", may: auth.EditTariff, done: http.StatusCreated,
		summary: "Propose a late-fee rule from a day on that isn't billed; another person has to approve it."}, s.proposeLateFee)
	add(s, operation{method: http.MethodPost, path: path + "/{version}/approve", id: "approve-late-fee", tag: "tariffs", may: auth.ApproveTariff,
		summary: "Approve a rule that another person proposed."}, s.approveLateFee)
	add(s, operation{method: http.MethodPost, path: path + "/{version}/reject", id: "reject-late-fee", tag: "tariffs", may: auth.ApproveTariff,
		summary: "Reject a proposed rule."}, s.rejectLateFee)
}

func (s *server) lateFees(ctx context.Context, in *SitePath) (*body[LateFeeRules], error) {
	if err := see(ctx, in.Site); err != nil {
		return nil, err
	}
	site, err := s.Store.Site(ctx, in.Site)
	if err != nil {
		return nil, err
	}
	var out LateFeeRules
	if out.InForce, err = s.Store.LateFees(ctx, site); err != nil {
		return nil, err
	}
	versions, err := s.Store.LateFeeVersions(ctx, in.Site)
	if err != nil {
		return nil, err
	}
	out.Versions = []LateFeeVersion{}
	for _, v := range versions {
		rule, err := json.Marshal(v.Rule)
		if err != nil {
			return nil, err
		}
		out.Versions = append(out.Versions, LateFeeVersion{Version: v.Version, Service: v.Service, Rule: rule, State: v.State, MadeBy: v.MadeBy, MadeAt: utc(v.MadeAt), Reason: v.Reason,
			DecidedBy: v.DecidedBy, DecidedAt: utcOrNil(v.DecidedAt)})
	}
	return &body[LateFeeRules]{out}, nil
}

func (s *server) proposeLateFee(ctx context.Context, in *newLateFee) (*body[LateFeeRules], error) {
	if err := may(ctx, auth.EditTariff, in.Site); err != nil {
		return nil, err
	}
	rule, err := billing.ParseLateFeeRule(in.Body.Rule)
	if err != nil {
		return nil, err
	}
	if _, err := s.Store.ProposeLateFee(ctx, by(ctx, in.Body.Reason), in.Site, in.Body.Service, rule); err != nil {
		return nil, err
	}
	return s.lateFees(ctx, &in.SitePath)
}

func (s *server) approveLateFee(ctx context.Context, in *LateFeePath) (*body[LateFeeRules], error) {
	return s.decideLateFee(ctx, *in, "", true)
}

func (s *server) rejectLateFee(ctx context.Context, in *lateFeeReason) (*body[LateFeeRules], error) {
	return s.decideLateFee(ctx, in.LateFeePath, in.Body.Reason, false)
}

func (s *server) decideLateFee(ctx context.Context, in LateFeePath, reason string, approve bool) (*body[LateFeeRules], error) {
	if err := may(ctx, auth.ApproveTariff, in.Site); err != nil {
		return nil, err
	}
	if err := s.Store.DecideLateFee(ctx, by(ctx, reason), in.Site, in.Version, approve); err != nil {
		return nil, err
	}
	return s.lateFees(ctx, &in.SitePath)
}
