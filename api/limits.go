package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/control"
	"github.com/meterflow/meterflow/internal/store"
)

// BillingLimits is a version of what stops the bills of a site.
type BillingLimits struct {
	Version   int             `json:"version"`
	FromMonth string          `json:"from_month" doc:"The first month whose bills they stop, such as 2026-11."`
	Limits    json.RawMessage `json:"limits" doc:"By service, all of them, as a site's policy names them under billing.limits."`
	MadeBy    billing.UserID  `json:"made_by"`
	MadeAt    time.Time       `json:"made_at"`
	Reason    string          `json:"reason"`
}

// SitePath is the address of a site.
type SitePath struct {
	Site billing.SiteID `path:"site"`
}

type newBillingLimits struct {
	SitePath
	Body struct {
		Reasoned
		FromMonth string          `json:"from_month" doc:"Such as 2026-11; a month that isn't billed yet."`
		Limits    json.RawMessage `json:"limits" doc:"By service, all of them, as a site's policy names them under billing.limits."`
	}
}

func (s *server) limitOperations() {
	add(s, operation{method: http.MethodGet, path: "/sites/{site}/billing-limits", id: "list-billing-limits", tag: "runs", may: auth.View,
		summary: "The limits that were published for a site's bills, newest first; without any the site's policy holds."}, s.billingLimits)
	add(s, operation{method: http.MethodPost, path: "/sites/{site}/billing-limits", id: "publish-billing-limits", tag: "runs", may: auth.MasterData, done: http.StatusCreated,
		summary: "Publish limits for the bills of a month and those after it."}, s.publishBillingLimits)
}

func (s *server) billingLimits(ctx context.Context, in *SitePath) (*body[List[BillingLimits]], error) {
	if err := see(ctx, in.Site); err != nil {
		return nil, err
	}
	rows, err := s.Store.BillingLimits(ctx, in.Site)
	if err != nil {
		return nil, err
	}
	return listOf(rows, len(rows), func(l store.BillingLimits) BillingLimits {
		return BillingLimits{Version: l.Version, FromMonth: l.FromMonth.String()[:len("2006-01")], Limits: l.Limits, MadeBy: l.MadeBy, MadeAt: utc(l.MadeAt), Reason: l.Reason}
	}), nil
}

func (s *server) publishBillingLimits(ctx context.Context, in *newBillingLimits) (*body[List[BillingLimits]], error) {
	if err := may(ctx, auth.MasterData, in.Site); err != nil {
		return nil, err
	}
	month, err := billing.ParseMonth(in.Body.FromMonth)
	if err != nil {
		return nil, err
	}
	policy, err := control.ParsePolicy(in.Body.Limits)
	if err != nil {
		return nil, err
	}
	limits, err := json.Marshal(policy)
	if err != nil {
		return nil, err
	}
	if _, err := s.Store.AddBillingLimits(ctx, by(ctx, in.Body.Reason), store.BillingLimits{Site: in.Site, FromMonth: month.From, Limits: limits}); err != nil {
		return nil, err
	}
	return s.billingLimits(ctx, &in.SitePath)
}
