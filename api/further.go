package api

import (
	"context"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// BillStop is why a limit stopped a bill.
type BillStop struct {
	Rule    string `json:"rule" enum:"amount,change,last,average,fall,estimated,negative,zero_with_use,earlier_held"`
	Was     string `json:"was" doc:"What the bill says, for people."`
	Allowed string `json:"allowed" doc:"What the limit allows, for people."`
}

// HeldBill is a bill that doesn't go out with its run.
type HeldBill struct {
	Bill
	Run        billing.RunID  `json:"run"`
	Site       billing.SiteID `json:"site"`
	PeriodFrom string         `json:"period_from" format:"date"`
	RunIssued  bool           `json:"run_issued" doc:"Its run was issued without it: a further run of the period bills it."`
	Since      time.Time      `json:"since"`
	Stops      []BillStop     `json:"stops" doc:"The limits that stopped it; empty when a doubt or a person did."`
}

type heldInput struct {
	Site billing.SiteID `query:"site" doc:"One of your sites; all of them when left out."`
}

type furtherInput struct {
	Site billing.SiteID `path:"site"`
	Body struct {
		Month string `json:"month" pattern:"^[0-9]{4}-[0-9]{2}$" doc:"The period, such as 2026-09."`
	}
}

// FurtherRun is a run that was started for bills that were held.
type FurtherRun struct {
	Run  billing.RunID `json:"run"`
	Held int           `json:"held" doc:"How many held bills of the period it is for."`
}

func (s *server) furtherOperations() {
	add(s, operation{method: http.MethodGet, path: "/held-bills", id: "list-held-bills", tag: "runs", may: auth.View, summary: "Bills that are held, the oldest period first."}, s.heldBills)
	add(s, operation{method: http.MethodPost, path: "/sites/{site}/further-runs", id: "start-further-run", tag: "runs", may: auth.StartRun, done: http.StatusAccepted,
		summary: "Start a further run of a period for the bills that were held when its last run was issued."}, s.startFurther)
}

// mostHeld bounds the list of held bills.
const mostHeld = 500

func (s *server) heldBills(ctx context.Context, in *heldInput) (*body[Part[HeldBill]], error) {
	sites, err := Page{Site: in.Site}.sites(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.Store.HeldBills(ctx, sites, mostHeld)
	if err != nil {
		return nil, err
	}
	ids := make([]billing.BillID, len(rows))
	for i, b := range rows {
		ids[i] = b.ID
	}
	stops, err := s.Store.BillStops(ctx, ids)
	if err != nil {
		return nil, err
	}
	return partOf(rows, "", func(b store.HeldRow) HeldBill {
		h := HeldBill{
			Bill: Bill{ID: b.ID, Account: b.Account, Service: b.Service, State: billing.BillHeld, HoldReason: b.HoldReason, Quantity: b.Quantity, TotalFen: b.TotalFen},
			Run:  b.Run, Site: b.Site, PeriodFrom: b.PeriodFrom.String(), RunIssued: b.RunIssued, Since: utc(b.Since), Stops: []BillStop{},
		}
		for _, stop := range stops[b.ID] {
			h.Stops = append(h.Stops, BillStop(stop))
		}
		return h
	}), nil
}

func (s *server) startFurther(ctx context.Context, in *furtherInput) (*body[FurtherRun], error) {
	if err := may(ctx, auth.StartRun, in.Site); err != nil {
		return nil, err
	}
	period, err := billing.ParseMonth(in.Body.Month)
	if err != nil {
		return nil, err
	}
	held, err := s.Store.HeldOf(ctx, in.Site, period.From)
	if err != nil {
		return nil, err
	}
	if len(held) == 0 {
		return nil, billing.Errorf(billing.CodeConflict, "no bill of this period waits for a further run: nothing was started")
	}
	id, version, err := s.Store.NextRun(ctx, in.Site, period)
	if err != nil {
		return nil, err
	}
	if err := s.Workflows.StartRun(ctx, id, in.Site, period, version, me(ctx)); err != nil {
		return nil, err
	}
	return &body[FurtherRun]{FurtherRun{Run: id, Held: len(held)}}, nil
}
