package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Found is a thing that a number leads to.
type Found struct {
	Kind string         `json:"kind" doc:"As in the journal."`
	ID   string         `json:"id"`
	Site billing.SiteID `json:"site"`
}

// Event is one row of the journal.
type Event struct {
	ID         int64           `json:"id"`
	Site       billing.SiteID  `json:"site"`
	Kind       string          `json:"kind"`
	Entity     string          `json:"entity"`
	Event      string          `json:"event"`
	From       string          `json:"from,omitempty"`
	To         string          `json:"to,omitempty"`
	Actor      string          `json:"actor" doc:"User, or workflow."`
	Reason     string          `json:"reason,omitempty"`
	WorkflowID string          `json:"workflow_id,omitempty"`
	RunID      string          `json:"run_id,omitempty"`
	BusinessAt time.Time       `json:"business_at"`
	RealAt     time.Time       `json:"real_at"`
	Data       json.RawMessage `json:"data"`
}

// Trace is what a number leads to: the things that it names and every change of state that mentions it.
type Trace struct {
	Found  []Found `json:"found"`
	Events []Event `json:"events" doc:"Newest first."`
	Intact *bool   `json:"intact,omitempty" doc:"With verify: whether the chains of all these things hold."`
}

type traceInput struct {
	Number string `query:"q" required:"true" minLength:"1" maxLength:"200" doc:"Any number: account, meter, serial, recharge, receipt, bill, run, case, command, reminder, cut, message, phone, workflow id."`
	Before int64  `query:"before" minimum:"0" doc:"Id of the last event of the part before."`
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"500"`
	Verify bool   `query:"verify" doc:"Recompute the hash chain of each thing in the answer."`
}

func (s *server) traceOperations() {
	add(s, operation{method: http.MethodGet, path: "/trace", id: "trace", tag: "trace", may: auth.View, summary: "Where any number leads, and its timeline."}, s.trace)
}

func (s *server) trace(ctx context.Context, in *traceInput) (*body[Trace], error) {
	sites, number := auth.FromContext(ctx).Sites, strings.TrimSpace(in.Number)
	found, err := s.Store.Find(ctx, sites, number)
	if err != nil {
		return nil, err
	}
	if len(found) == 1 {
		number = found[0].ID
	}
	events, err := s.Store.Timeline(ctx, sites, number, in.Before, in.Limit)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && len(events) == 0 {
		return nil, billing.Errorf(billing.CodeNotFound, "nothing is known about %q: check that the number is complete", number)
	}
	t := Trace{Found: make([]Found, 0, len(found)), Events: make([]Event, 0, len(events))}
	for _, f := range found {
		t.Found = append(t.Found, Found{Kind: f.Kind, ID: f.ID, Site: f.Site})
	}
	for _, e := range events {
		t.Events = append(t.Events, Event{ID: e.ID, Site: e.Site, Kind: e.Kind, Entity: e.Entity, Event: e.Event, From: e.From, To: e.To, Actor: e.Actor,
			Reason: e.Reason, WorkflowID: e.WorkflowID, RunID: e.RunID, BusinessAt: utc(e.BusinessAt), RealAt: utc(e.RealAt), Data: e.Data})
	}
	if in.Verify {
		if t.Intact, err = s.intact(ctx, events); err != nil {
			return nil, err
		}
	}
	return &body[Trace]{t}, nil
}

// intact recomputes the chain of each thing that the events belong to.
func (s *server) intact(ctx context.Context, events []store.Event) (*bool, error) {
	seen, all := map[string]bool{}, true
	for _, e := range events {
		chain := e.Kind + "/" + e.Entity
		if seen[chain] {
			continue
		}
		seen[chain] = true
		ok, err := s.Store.ChainIntact(ctx, e.Kind, e.Entity)
		if err != nil {
			return nil, err
		}
		all = all && ok
	}
	return &all, nil
}
