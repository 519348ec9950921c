package activities

import (
	"context"
	"strings"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Batches is work on many meters: prices, valves, relays, clocks. It cuts nobody: that is Supply's, one by one.
type Batches struct {
	Store *store.Store
	Pool  *devices.Pool
}

// MaxBatch is how many meters one batch takes.
const MaxBatch = 5000

// MaxBatchRate is the most orders per minute that a batch may ask for.
const MaxBatchRate = 600

// BatchRef names a batch.
type BatchRef struct {
	BatchID billing.BatchID
}

// BatchStart starts the workflow of a batch. Clocks is set for one that a day's readings brought; Done carries what earlier runs of a long
// batch came to, and Next the real instant before which no order may leave.
type BatchStart struct {
	BatchID billing.BatchID
	Clocks  *ClockBatch                 `json:",omitempty"`
	Done    map[billing.MemberState]int `json:",omitempty"`
	Next    time.Time
}

// BatchStatus is where a batch stands. Counts are members by state.
type BatchStatus struct {
	BatchID   billing.BatchID
	Site      billing.SiteID
	Action    billing.BatchAction
	State     billing.BatchState
	Rate      int
	MadeBy    billing.UserID
	ExpiresAt time.Time
	Counts    map[billing.MemberState]int
}

// DescribeBatch says where a batch stands; an empty one when it isn't made yet.
func (a *Batches) DescribeBatch(ctx context.Context, in BatchRef) (BatchStatus, error) {
	b, err := a.Store.Batch(ctx, in.BatchID)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return BatchStatus{}, nil
	}
	if err != nil {
		return BatchStatus{}, err
	}
	return a.status(ctx, b, nil)
}

func (a *Batches) status(ctx context.Context, b store.Batch, err error) (BatchStatus, error) {
	if err != nil {
		return BatchStatus{}, err
	}
	counts, err := a.Store.BatchCounts(ctx, b.ID)
	return BatchStatus{BatchID: b.ID, Site: b.Site, Action: b.Action, State: b.State, Rate: b.Rate, MadeBy: b.MadeBy, ExpiresAt: b.ExpiresAt, Counts: counts}, err
}

// PlanBatch is a person's wish for work on many meters. Numbers that are given are all of it; else the other fields narrow the site down.
type PlanBatch struct {
	BatchID billing.BatchID
	By      billing.UserID
	Site    billing.SiteID
	Kind    billing.BatchKind
	Action  billing.BatchAction // may be empty where the kind has one only
	Gateway billing.GatewayID
	Service billing.Service
	Address string // part of the address: an area, a building
	Meters  []billing.MeterID
	Rate    int // orders per minute; 0: the site's policy
	Reason  string
}

// PlanBatch makes a batch with its preview: who would be worked on, who is left out and why. Nothing is sent. A number that isn't the
// site's, and prices above its ceiling, refuse the whole.
func (a *Batches) PlanBatch(ctx context.Context, in PlanBatch) (BatchStatus, error) {
	if err := authorize(ctx, a.Store, in.By, auth.WorkBatch, in.Site); err != nil {
		return BatchStatus{}, err
	}
	if err := in.check(); err != nil {
		return BatchStatus{}, err
	}
	return a.plan(ctx, byPerson(ctx, in.By, strings.TrimSpace(in.Reason)), in)
}

// check refuses what no site's tables need to be asked about, and fills in what follows from the kind.
func (in *PlanBatch) check() error {
	actions := in.Kind.Actions()
	switch {
	case len(actions) == 0:
		return billing.Errorf(billing.CodeInvalidInput, "the kind %q is unknown: use price, valve, relay or clock", in.Kind)
	case in.Action == "" && len(actions) == 1:
		in.Action = actions[0]
	}
	known := false
	for _, action := range actions {
		known = known || action == in.Action
	}
	switch {
	case !known && (in.Action == "trip" || in.Action == "close" || in.Action == "cut"):
		return billing.Errorf(billing.CodeInvalidInput, "a batch never takes supply away: each cut is planned and judged for its own customer")
	case !known:
		return billing.Errorf(billing.CodeInvalidInput, "a batch of the kind %s can't order %q: choose another action", in.Kind, in.Action)
	case strings.TrimSpace(in.Reason) == "":
		return billing.Errorf(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	case in.Rate < 0 || in.Rate > MaxBatchRate:
		return billing.Errorf(billing.CodeInvalidInput, "the rate must be from 1 to %d orders per minute", MaxBatchRate)
	case in.Service != "" && !in.Service.Valid():
		return billing.Errorf(billing.CodeInvalidInput, "the service %q is unknown: use power or water", in.Service)
	case len(in.Meters) > MaxBatch:
		return billing.Errorf(billing.CodeInvalidInput, "a batch takes at most %d meters: narrow the choice", MaxBatch)
	}
	if len(in.Meters) == 0 && in.Service == "" {
		in.Service = serviceOf(in.Kind)
	}
	return nil
}

// serviceOf is the service whose meters a kind of batch works on.
func serviceOf(k billing.BatchKind) billing.Service {
	if k == billing.BatchValve {
		return billing.Water
	}
	return billing.Power
}

func (a *Batches) plan(ctx context.Context, by store.By, in PlanBatch) (BatchStatus, error) {
	facts, err := a.Store.BatchFacts(ctx, store.BatchScope{Site: in.Site, Gateway: in.Gateway, Service: in.Service, Address: in.Address, Meters: in.Meters}, MaxBatch)
	if err != nil {
		return BatchStatus{}, err
	}
	return a.planOf(ctx, by, in, facts)
}

func (a *Batches) planOf(ctx context.Context, by store.By, in PlanBatch, facts []store.BatchFacts) (BatchStatus, error) {
	tariffs := map[billing.TariffID]bool{}
	for _, f := range facts {
		tariffs[f.Tariff] = true
	}
	j, err := a.judgeOf(ctx, in.Site, in.Kind, in.Action, tariffs)
	if err != nil {
		return BatchStatus{}, err
	}
	n := store.NewBatch{ID: in.BatchID, Site: in.Site, Kind: in.Kind, Action: in.Action, Rate: in.Rate, Reason: by.Reason, Expires: hours(j.policy.Batch.PreviewHours)}
	if n.Rate == 0 {
		n.Rate = j.policy.Batch.RatePerMinute
	}
	for _, f := range facts {
		v, err := j.judge(f)
		if err != nil {
			return BatchStatus{}, err
		}
		if v.Skip == billing.SkipCeiling {
			return BatchStatus{}, j.offers[f.Tariff].breach.Refusal()
		}
		n.Members = append(n.Members, store.NewBatchMember{BatchFacts: f, Skip: v.Skip})
	}
	if err := a.Store.PlanBatch(ctx, by, n); err != nil {
		return BatchStatus{}, err
	}
	return a.DescribeBatch(ctx, BatchRef{in.BatchID})
}

// DecideBatch is a person's step on a batch: start, or cancel with a reason.
type DecideBatch struct {
	BatchID billing.BatchID
	By      billing.UserID
	Reason  string
	Nonce   string // of the form, so that a double click is one decision
}

// StartBatch lets a previewed batch go.
func (a *Batches) StartBatch(ctx context.Context, in DecideBatch) (BatchStatus, error) {
	if err := a.mayDecide(ctx, in); err != nil {
		return BatchStatus{}, err
	}
	b, err := a.Store.StartBatch(ctx, byPerson(ctx, in.By, strings.TrimSpace(in.Reason)), in.BatchID)
	return a.status(ctx, b, err)
}

// CancelBatch stops what wasn't sent.
func (a *Batches) CancelBatch(ctx context.Context, in DecideBatch) (BatchStatus, error) {
	if err := a.mayDecide(ctx, in); err != nil {
		return BatchStatus{}, err
	}
	reason := strings.TrimSpace(in.Reason)
	if reason == "" {
		return BatchStatus{}, billing.Errorf(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	b, err := a.Store.CancelBatch(ctx, byPerson(ctx, in.By, reason), in.BatchID, reason)
	return a.status(ctx, b, err)
}

func (a *Batches) mayDecide(ctx context.Context, in DecideBatch) error {
	b, err := a.Store.Batch(ctx, in.BatchID)
	if err != nil {
		return err
	}
	return authorize(ctx, a.Store, in.By, auth.WorkBatch, b.Site)
}

// ExpireBatch cancels a preview that nobody started in time.
func (a *Batches) ExpireBatch(ctx context.Context, in BatchRef) (BatchStatus, error) {
	b, err := a.Store.CancelBatch(ctx, byWorkflow(ctx), in.BatchID, "nobody started it in time")
	if billing.CodeOf(err) == billing.CodeClosed {
		return a.DescribeBatch(ctx, in)
	}
	return a.status(ctx, b, err)
}

// FinishBatch ends a batch that has nothing left to order.
func (a *Batches) FinishBatch(ctx context.Context, in BatchRef) (BatchStatus, error) {
	b, err := a.Store.FinishBatch(ctx, byWorkflow(ctx), in.BatchID)
	return a.status(ctx, b, err)
}

// ClockBatch names the clocks that the readings of a site's day showed to be off.
type ClockBatch struct {
	BatchID billing.BatchID
	Site    billing.SiteID
}

// clockReason is the reason of a batch that no person made; it stands in the journal.
const clockReason = "the day's readings showed clocks that are off"

// SetClocks makes and starts the batch that sets the clocks which the day's readings showed to be off. When none is to be set any more,
// it makes nothing.
func (a *Batches) SetClocks(ctx context.Context, in ClockBatch) (BatchStatus, error) {
	site, policy, err := sitePolicy(ctx, a.Store, in.Site)
	if err != nil {
		return BatchStatus{}, err
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return BatchStatus{}, err
	}
	by := byWorkflow(ctx)
	by.Reason = clockReason
	id, facts, err := a.dueClocks(ctx, site, policy, clock.Now)
	if err != nil {
		return BatchStatus{}, err
	}
	if id == in.BatchID && len(facts) > 0 {
		if _, err := a.planOf(ctx, by, PlanBatch{BatchID: in.BatchID, Site: in.Site, Kind: billing.BatchClock, Action: billing.BatchSetClock}, facts); err != nil {
			return BatchStatus{}, err
		}
	}
	status, err := a.DescribeBatch(ctx, BatchRef{in.BatchID})
	if err != nil || status.State != billing.BatchPreviewed {
		return status, err
	}
	b, err := a.Store.StartBatch(ctx, by, in.BatchID)
	return a.status(ctx, b, err)
}

// dueClocks are the meters whose clocks are to be set after the day's cycle, and the number of their batch.
func (a *Batches) dueClocks(ctx context.Context, site store.Site, policy Policy, now time.Time) (billing.BatchID, []store.BatchFacts, error) {
	if policy.Clock.ByHand {
		return "", nil, nil
	}
	id, facts, err := a.Store.DueClocks(ctx, site, now, policy.Clock.SetOverSeconds)
	if err != nil || len(facts) == 0 {
		return id, nil, err
	}
	tariffs := map[billing.TariffID]bool{}
	for _, f := range facts {
		tariffs[f.Tariff] = true
	}
	j, err := a.judgeOf(ctx, site.ID, billing.BatchClock, billing.BatchSetClock, tariffs)
	if err != nil {
		return id, nil, err
	}
	var due []store.BatchFacts
	for _, f := range facts {
		v, err := j.judge(f)
		if err != nil {
			return id, nil, err
		}
		if v.Skip == "" {
			due = append(due, f)
		}
	}
	return id, due, nil
}
