package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// pushPage is how many meters of a line get their prices in one activity, and pushMost after how long, in real time, no further one is begun: short enough that a
// command's slot comes free soon.
const (
	pushPage = 20
	pushMost = time.Minute
)

// PushRound is one try at every meter that doesn't hold the prices yet, gateway by gateway.
type PushRound struct {
	Round    int
	Gateways []billing.GatewayID
}

// PlanPushRound says which gateways have meters to be tried, and the number of the round: one more than any meter was tried before.
func (a *Tariffs) PlanPushRound(ctx context.Context, in TariffRef) (PushRound, error) {
	round, err := a.Store.NextPushRound(ctx, in.Change)
	if err != nil {
		return PushRound{}, err
	}
	gateways, err := a.Store.PushGateways(ctx, in.Change, round)
	return PushRound{Round: round, Gateways: gateways}, err
}

// PushPrices names one gateway's part of a round.
type PushPrices struct {
	Change  billing.TariffChangeID
	Gateway billing.GatewayID
	Round   int
}

// PushedPrices says whether meters of the gateway are left in this round, and the cases that proof has settled.
type PushedPrices struct {
	More  bool
	Cases []billing.CaseID
}

// PushPrices sets the prices of a page of one gateway's meters, one after the other, each with its read-back. What a meter showed is
// stored before anything leaves for it. Interrupted, it goes on with the meters that have no result of this round.
func (a *Tariffs) PushPrices(ctx context.Context, in PushPrices) (PushedPrices, error) {
	defer beat(ctx)()
	var out PushedPrices
	pushes, err := a.Store.PushPage(ctx, in.Change, in.Gateway, in.Round, pushPage)
	if err != nil {
		return out, err
	}
	page, end := context.WithTimeout(ctx, pushMost)
	defer end()
	for i, p := range pushes {
		if i > 0 && page.Err() != nil {
			out.More = true
			return out, nil
		}
		o, err := a.pushOne(ctx, p)
		if err != nil {
			return out, err
		}
		settled, err := a.Store.SettlePush(ctx, byWorkflow(ctx), p.ID, in.Round, o)
		if err != nil {
			return out, err
		}
		if settled != "" {
			out.Cases = append(out.Cases, settled)
		}
		activity.RecordHeartbeat(ctx, p.Meter)
	}
	out.More = len(pushes) == pushPage
	return out, nil
}

// pushOne tries one meter, unless other prices are in force for it by now. Only what the meter's own state explains is an outcome; a line that was taken away is an error, so that its
// next owner goes on.
func (a *Tariffs) pushOne(ctx context.Context, p store.TariffPush) (store.PushOutcome, error) {
	m, err := commandMeter(ctx, a.Store, p.Meter)
	if err != nil {
		return store.PushOutcome{}, err
	}
	stands, err := a.Store.PushStands(ctx, p.ID)
	if err != nil || !stands { // a meter that doesn't answer is overtaken too
		return store.PushOutcome{Overtaken: true}, err
	}
	var want devices.Prices
	copy(want[:], p.Prices)
	var unmarked error
	result, err := a.Pool.SetPrices(ctx, m, want, func(before devices.Snapshot) error {
		unmarked = a.Store.MarkPushSending(ctx, byWorkflow(ctx), p.ID, before.Registers, before.TakenAt)
		return unmarked
	})
	if billing.CodeOf(unmarked) == billing.CodeStale {
		return store.PushOutcome{Overtaken: true}, nil
	}
	if err != nil && interrupted(ctx, err) {
		return store.PushOutcome{}, errors.Join(billing.Errorf(billing.CodeUnavailable, "setting prices at gateway %s was interrupted", p.Gateway), err)
	}
	if result.Sent {
		failpoint.Hit("prices-sent-not-recorded")
	}
	o := store.PushOutcome{Verified: err == nil && result.Outcome == devices.OutcomeVerified, Error: result.Note}
	if err != nil {
		o.Error = reachedNever + err.Error()
	} else {
		o.Before = result.Before[:]
	}
	if result.Sent {
		o.Frames = frames(result.Frames)
	}
	return o, nil
}

// PushRest is what is left after a round. Pause is how long to wait, in business time, until the next one; zero ends the trying.
type PushRest struct {
	Left  int
	Cases []billing.CaseID // open, about meters that don't hold the prices
	Pause time.Duration
}

// pushPauses are the times, in business time, between the rounds: a gateway that is down for a moment, for a morning, for days. After
// caseAfter rounds a person is told.
var pushPauses = []time.Duration{
	15 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour, 24 * time.Hour, 24 * time.Hour, 24 * time.Hour, 24 * time.Hour, 24 * time.Hour, 24 * time.Hour,
}

const caseAfter = 3

// ClosePushRound counts what is left and opens a case per gateway once its meters have failed several times.
func (a *Tariffs) ClosePushRound(ctx context.Context, in PushPrices) (PushRest, error) {
	var out PushRest
	counts, err := a.Store.PushCounts(ctx, in.Change)
	if err != nil {
		return out, err
	}
	for state, n := range counts {
		if state.Open() {
			out.Left += n
		}
	}
	if out.Left == 0 {
		return out, nil
	}
	if in.Round <= len(pushPauses) {
		out.Pause = pushPauses[in.Round-1]
	}
	if in.Round >= caseAfter {
		out.Cases, err = a.Store.OpenPushCases(ctx, byWorkflow(ctx), in.Change, hours(DefaultPolicy().Reading.DecisionDueHours))
	}
	return out, err
}

// AskPush is a person's wish to try the meters that are left again now.
type AskPush struct {
	Change billing.TariffChangeID
	By     billing.UserID
}

// AskPush checks the person and notes the wish.
func (a *Tariffs) AskPush(ctx context.Context, in AskPush) error {
	starts, err := a.Store.TariffStarts(ctx, in.Change)
	if err != nil {
		return err
	}
	for _, s := range starts {
		if err := authorize(ctx, a.Store, in.By, auth.PushPrices, s.Site); err != nil {
			return err
		}
	}
	return a.Store.NotePushAsked(ctx, byPerson(ctx, in.By, ""), in.Change)
}
