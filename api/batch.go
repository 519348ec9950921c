package api

import (
	"context"
	"net/http"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Batch is one piece of work on many meters of a site. Its counts are meters.
type Batch struct {
	ID         billing.BatchID     `json:"id"`
	Site       billing.SiteID      `json:"site"`
	Kind       billing.BatchKind   `json:"kind" enum:"price,valve,relay,clock"`
	Action     billing.BatchAction `json:"action" enum:"set_prices,set_clock,restore,keep_on,release"`
	State      billing.BatchState  `json:"state" enum:"previewed,running,done,cancelled"`
	Rate       int                 `json:"rate" doc:"Orders per minute of real time at most."`
	Reason     string              `json:"reason"`
	MadeBy     billing.UserID      `json:"made_by" doc:"workflow, for one that a day's readings brought."`
	MadeAt     time.Time           `json:"made_at"`
	ExpiresAt  time.Time           `json:"expires_at" doc:"A preview that nobody started by then is cancelled."`
	StartedBy  *billing.UserID     `json:"started_by,omitempty"`
	StartedAt  *time.Time          `json:"started_at,omitempty"`
	EndedBy    *billing.UserID     `json:"ended_by,omitempty"`
	EndedAt    *time.Time          `json:"ended_at,omitempty"`
	EndReason  string              `json:"end_reason,omitempty"`
	SecondDue  bool                `json:"second_person" doc:"Another person than its maker must start it."`
	Meters     int                 `json:"meters"`
	Skipped    int                 `json:"skipped" doc:"Left alone, with a reason each."`
	Left       int                 `json:"left" doc:"Still to be worked on."`
	Verified   int                 `json:"verified"`
	InDoubt    int                 `json:"in_doubt" doc:"Refused or unknown."`
	Cancelled  int                 `json:"cancelled"`
	WorkflowID string              `json:"workflow"`
}

func batchOf(b store.BatchRow) Batch {
	return Batch{ID: b.ID, Site: b.Site, Kind: b.Kind, Action: b.Action, State: b.State, Rate: b.Rate, Reason: b.Reason, MadeBy: b.MadeBy, MadeAt: utc(b.MadeAt), ExpiresAt: utc(b.ExpiresAt),
		StartedBy: b.StartedBy, StartedAt: utcOrNil(b.StartedAt), EndedBy: b.EndedBy, EndedAt: utcOrNil(b.EndedAt), EndReason: b.EndReason, SecondDue: b.Action.NeedsSecond(),
		Meters: b.Meters, Skipped: b.Skipped, Left: b.Left(), Verified: b.Verified, InDoubt: b.Doubtful, Cancelled: b.Cancelled, WorkflowID: workflows.BatchWorkflowID(b.ID)}
}

// BatchMember is what became of one meter of a batch.
type BatchMember struct {
	Meter      billing.MeterID     `json:"meter"`
	Serial     string              `json:"serial"`
	Account    *billing.AccountID  `json:"account,omitempty"`
	Gateway    billing.GatewayID   `json:"gateway"`
	State      billing.MemberState `json:"state" enum:"pending,skipped,sending,verified,refused,unknown,cancelled"`
	Skip       billing.SkipReason  `json:"skip,omitempty" doc:"Why it is left alone."`
	Note       string              `json:"note,omitempty"`
	Command    *billing.CommandID  `json:"command,omitempty"`
	Restore    *string             `json:"restore,omitempty" doc:"The restore that gives its supply back."`
	SkewBefore *int                `json:"skew_before_s,omitempty" doc:"How far its clock was ahead before it was set, in seconds."`
	SkewAfter  *int                `json:"skew_after_s,omitempty"`
	SettledAt  *time.Time          `json:"settled_at,omitempty"`
}

func batchMemberOf(m store.BatchMemberRow) BatchMember {
	return BatchMember{Meter: m.Meter, Serial: m.Serial, Account: m.Account, Gateway: m.Gateway, State: m.State, Skip: m.Skip, Note: m.Note, Command: m.Command, Restore: m.Restore,
		SkewBefore: m.SkewBeforeS, SkewAfter: m.SkewAfterS, SettledAt: utcOrNil(m.SettledAt)}
}

type batchesInput struct {
	Page
	State string `query:"state" enum:"open,previewed,running,done,cancelled"`
}

// BatchPath is the address of a batch.
type BatchPath struct {
	ID billing.BatchID `path:"id"`
}

type batchMembersInput struct {
	BatchPath
	State  string `query:"state" enum:"pending,skipped,sending,verified,refused,unknown,cancelled"`
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"500" doc:"How many to give."`
	Offset int    `query:"offset" default:"0" minimum:"0" maximum:"1000000" doc:"How many to leave out first."`
}

type planBatchInput struct {
	Site billing.SiteID `path:"site"`
	Body struct {
		Kind    billing.BatchKind   `json:"kind" enum:"price,valve,relay,clock"`
		Action  billing.BatchAction `json:"action,omitempty" doc:"Of a relay: restore, keep_on or release; the other kinds have one. No batch takes supply away."`
		Meters  []billing.MeterID   `json:"meters,omitempty" maxItems:"5000" doc:"All of it, when given; else the fields below narrow the site down."`
		Gateway billing.GatewayID   `json:"gateway,omitempty"`
		Service billing.Service     `json:"service,omitempty" enum:"power,water"`
		Address string              `json:"address,omitempty" maxLength:"100" doc:"A part of the address: an area, a building."`
		Rate    int                 `json:"rate,omitempty" minimum:"0" maximum:"600" doc:"Orders per minute; the site's policy when left out."`
		Reason  string              `json:"reason" minLength:"1" maxLength:"500" doc:"Why; it stands in the journal."`
	}
}

type startBatchInput struct {
	BatchPath
	Keyed
}

type cancelBatchInput struct {
	BatchPath
	Keyed
	Body Reasoned
}

func (s *server) batchOperations() {
	const tag = "batches"
	add(s, operation{method: http.MethodGet, path: "/batches", id: "list-batches", tag: tag, may: auth.View, summary: "Work on many meters, what waits or runs first."}, s.batches)
	add(s, operation{method: http.MethodPost, path: "/sites/{site}/batches", id: "plan-batch", tag: tag, may: auth.WorkBatch, done: http.StatusCreated,
		summary: "Make a batch with its preview; nothing is sent before it is started."}, s.planBatch)
	add(s, operation{method: http.MethodGet, path: "/batches/{id}", id: "get-batch", tag: tag, may: auth.View, summary: "A batch with its counts."}, s.batch)
	add(s, operation{method: http.MethodGet, path: "/batches/{id}/meters", id: "list-batch-meters", tag: tag, may: auth.View, summary: "What became of each meter of a batch."}, s.batchMembers)
	add(s, operation{method: http.MethodPost, path: "/batches/{id}/start", id: "start-batch", tag: tag, may: auth.WorkBatch, summary: "Let a previewed batch go."},
		func(ctx context.Context, in *startBatchInput) (*body[Batch], error) {
			return s.decideBatch(ctx, workflows.UpdateStartBatch, workflows.DecideBatch{BatchID: in.ID, By: me(ctx), Nonce: in.Key})
		})
	add(s, operation{method: http.MethodPost, path: "/batches/{id}/cancel", id: "cancel-batch", tag: tag, may: auth.WorkBatch, summary: "Stop what wasn't sent."},
		func(ctx context.Context, in *cancelBatchInput) (*body[Batch], error) {
			return s.decideBatch(ctx, workflows.UpdateCancelBatch, workflows.DecideBatch{BatchID: in.ID, By: me(ctx), Reason: in.Body.Reason, Nonce: in.Key})
		})
}

func (s *server) batches(ctx context.Context, in *batchesInput) (*body[List[Batch]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.BatchPage(ctx, sites, in.State, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, batchOf), nil
}

// oneBatch reads a batch of a site of the person's.
func (s *server) oneBatch(ctx context.Context, id billing.BatchID) (store.BatchRow, error) {
	b, err := s.Store.BatchRow(ctx, id)
	if err != nil {
		return b, err
	}
	return b, see(ctx, b.Site)
}

func (s *server) batch(ctx context.Context, in *BatchPath) (*body[Batch], error) {
	b, err := s.oneBatch(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &body[Batch]{batchOf(b)}, nil
}

func (s *server) batchMembers(ctx context.Context, in *batchMembersInput) (*body[List[BatchMember]], error) {
	if _, err := s.oneBatch(ctx, in.ID); err != nil {
		return nil, err
	}
	rows, total, err := s.Store.BatchMembers(ctx, in.ID, in.State, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, batchMemberOf), nil
}

func (s *server) planBatch(ctx context.Context, in *planBatchInput) (*body[Batch], error) {
	if err := may(ctx, auth.WorkBatch, in.Site); err != nil {
		return nil, err
	}
	id, err := s.Store.NextBatchID(ctx)
	if err != nil {
		return nil, err
	}
	b := in.Body
	_, err = s.Workflows.PlanBatch(ctx, workflows.PlanBatch{BatchID: id, By: me(ctx), Site: in.Site, Kind: b.Kind, Action: b.Action, Gateway: b.Gateway, Service: b.Service, Address: b.Address,
		Meters: b.Meters, Rate: b.Rate, Reason: b.Reason})
	if err != nil {
		return nil, err
	}
	return s.batch(ctx, &BatchPath{ID: id})
}

func (s *server) decideBatch(ctx context.Context, update string, d workflows.DecideBatch) (*body[Batch], error) {
	b, err := s.oneBatch(ctx, d.BatchID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.WorkBatch, b.Site); err != nil {
		return nil, err
	}
	if err := s.Workflows.DecideBatch(ctx, update, d); err != nil {
		return nil, err
	}
	return s.batch(ctx, &BatchPath{ID: d.BatchID})
}
