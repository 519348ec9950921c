package activities

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// BatchMemberRef names one meter of a batch.
type BatchMemberRef struct {
	BatchID billing.BatchID
	Meter   billing.MeterID
	Gateway billing.GatewayID
	Note    string // why it is given up
}

// batchPage is how many members one look at the tables gives: a run of a long batch goes on with the next.
const batchPage = 200

// PendingMembers gives the next members that are to be worked on, by gateway and meter.
func (a *Batches) PendingMembers(ctx context.Context, in BatchRef) ([]BatchMemberRef, error) {
	ms, err := a.Store.BatchPending(ctx, in.BatchID, batchPage)
	refs := make([]BatchMemberRef, 0, len(ms))
	for _, m := range ms {
		refs = append(refs, BatchMemberRef{BatchID: in.BatchID, Meter: m.Meter, Gateway: m.Gateway})
	}
	return refs, err
}

// BatchMemberDone is what became of a member. Restore is the restore that gives its supply back, whose workflow is to be started: it was ordered, or became
// due when the meter tripped at its release.
type BatchMemberDone struct {
	State   billing.MemberState
	Restore string
	Case    billing.CaseID `json:",omitempty"` // of that trip, whose workflow is to be started too
}

// WorkMember does the work at one meter: the last look at the tables, its one order, and the read-back. Repeated after a death, it goes on
// with the same command: what adds nothing is sent again, a clock is only looked at. Whichever attempt it is, it is judged right before it leaves.
func (a *Batches) WorkMember(ctx context.Context, in BatchMemberRef) (BatchMemberDone, error) {
	defer beat(ctx)()
	b, err := a.Store.Batch(ctx, in.BatchID)
	if err != nil {
		return BatchMemberDone{}, err
	}
	conns, err := a.Store.Connections(ctx, []billing.MeterID{in.Meter})
	if err != nil {
		return BatchMemberDone{}, err
	}
	j, err := a.judgeOf(ctx, b.Site, b.Kind, b.Action, map[billing.TariffID]bool{conns[in.Meter].Tariff: true})
	if err != nil {
		return BatchMemberDone{}, err
	}
	step, err := a.Store.BeginBatchMember(ctx, byWorkflow(ctx), in.BatchID, in.Meter, j.judge)
	if err != nil {
		return BatchMemberDone{}, err
	}
	if !step.Send {
		return a.memberDone(ctx, b, step.Member, step.Restore)
	}
	m, err := commandMeter(ctx, a.Store, in.Meter)
	if err != nil {
		return BatchMemberDone{}, err
	}
	send := map[billing.CommandKind]func(context.Context, batchJudge, devices.Meter, store.Command, store.Batch) (store.BatchOutcome, error){
		billing.CommandSetPrices: a.setPrices, billing.CommandSetClock: a.setClock, billing.CommandKeepOn: a.hold, billing.CommandRelease: a.hold,
	}[step.Command.Kind]
	var skip billing.SkipReason
	wanted := devices.WithLastWord(ctx, func(ctx context.Context) error {
		var err error
		if skip, err = a.unwanted(ctx, step.Command, j); err == nil && skip != "" {
			err = billing.Errorf(billing.CodeClosed, "Order %s is not wanted any more: nothing was sent.", step.Command.ID)
		}
		return err
	})
	o, err := send(acknowledged(wanted, a.Store, step.Command.ID), j, m, step.Command, b)
	if skip != "" { // the meter was looked at right before, so that an attempt before this one has done nothing either
		o, err = store.BatchOutcome{State: billing.CommandUnknown, Skip: skip, Note: reachedNever + "it was judged again right before it left"}, nil
	}
	if err != nil {
		return BatchMemberDone{}, err
	}
	member, err := a.Store.SettleBatchMember(ctx, byWorkflow(ctx), in.BatchID, in.Meter, o)
	if err != nil {
		return BatchMemberDone{}, err
	}
	return a.memberDone(ctx, b, member, "")
}

// memberDone names what is to be started for a member: also after a meter has tripped when it was released.
func (a *Batches) memberDone(ctx context.Context, b store.Batch, m store.BatchMember, restore string) (BatchMemberDone, error) {
	done := BatchMemberDone{State: m.State, Restore: restore}
	if b.Action != billing.BatchRelease || m.Account == nil {
		return done, nil
	}
	var err error
	done.Restore, done.Case, err = a.Store.OpenRestoreOf(ctx, *m.Account)
	return done, err
}

// unwanted says why an order that is marked may not leave after all; empty when it may.
func (a *Batches) unwanted(ctx context.Context, cmd store.Command, j batchJudge) (billing.SkipReason, error) {
	v, err := a.Store.BatchStands(ctx, cmd.ID, j.judge)
	if err != nil || v.Skip != "" || cmd.Kind != billing.CommandSetPrices {
		return v.Skip, err
	}
	var marked, now priceDecision
	if err := errors.Join(json.Unmarshal(cmd.Decision, &marked), json.Unmarshal(v.Decision, &now)); err != nil {
		return "", err
	}
	if marked.Prices != now.Prices { // others are in force since
		return billing.SkipTooLate, nil
	}
	return "", nil
}

// again is the error with which an interrupted try ends, so that it is made again by whoever owns the line then; nil when err is the meter's.
func again(ctx context.Context, gateway string, err error) error {
	if interrupted(ctx, err) {
		return errors.Join(billing.Errorf(billing.CodeUnavailable, "work on the meters of gateway %s was interrupted", gateway), err)
	}
	return nil
}

// unsent is the outcome of a call that sent nothing: whether an attempt before it did is what counts then.
func unsent(cmd store.Command, err error) store.BatchOutcome {
	return store.BatchOutcome{State: billing.CommandUnknown, Note: reachedNever + err.Error(), Sent: cmd.Attempts > 0}
}

// hold holds a relay on or releases it. Carried out twice, both do what once does.
func (a *Batches) hold(ctx context.Context, j batchJudge, m devices.Meter, cmd store.Command, b store.Batch) (store.BatchOutcome, error) {
	acc, err := a.Store.Account(ctx, cmd.Account)
	if err != nil {
		return store.BatchOutcome{}, err
	}
	judge, err := judgeFor(ctx, a.Store, j.site, j.policy)
	if err != nil {
		return store.BatchOutcome{}, err
	}
	wall, err := siteWall(ctx, a.Store, b.Site)
	if err != nil {
		return store.BatchOutcome{}, err
	}
	result, err := sendSwitch(devices.WithWall(ctx, wall), a.Pool, m, cmd, acc.CreditMode)
	if stop := again(ctx, m.Gateway, err); stop != nil && !result.Sent {
		return store.BatchOutcome{}, stop
	}
	if result.Sent {
		failpoint.Hit("switch-sent-not-recorded")
	}
	if errors.Is(err, errWouldTrip) { // the hold stands, so that an attempt before this one has done nothing either
		return store.BatchOutcome{State: billing.CommandUnknown, Skip: billing.SkipWouldTrip, Note: reachedNever + err.Error()}, nil
	}
	if err != nil && cmd.Attempts <= 1 { // nothing was sent, now or before
		return store.BatchOutcome{State: billing.CommandUnknown, Note: reachedNever + err.Error()}, nil
	}
	_, err = a.Store.SettleSwitch(ctx, byWorkflow(ctx), cmd.ID, orderOutcome(cmd, acc.CreditMode, judge, result, err), terms(j.policy))
	return store.BatchOutcome{}, err
}

// setPrices writes the prices that were judged. The write sets and doesn't add, so that a repeat is harmless.
func (a *Batches) setPrices(ctx context.Context, _ batchJudge, m devices.Meter, cmd store.Command, _ store.Batch) (store.BatchOutcome, error) {
	var d priceDecision
	if err := json.Unmarshal(cmd.Decision, &d); err != nil {
		return store.BatchOutcome{}, err
	}
	var unmarked error // the tables didn't take the mark, which says nothing about the meter
	result, err := a.Pool.SetPrices(ctx, m, d.Prices, func(before devices.Snapshot) error {
		unmarked = a.Store.MarkBatchSending(ctx, byWorkflow(ctx), cmd.ID, before.Registers, nil)
		return unmarked
	})
	if unmarked != nil {
		return store.BatchOutcome{}, unmarked
	}
	if stop := again(ctx, m.Gateway, err); stop != nil && !result.Sent {
		return store.BatchOutcome{}, stop
	}
	if err != nil {
		return unsent(cmd, err), nil
	}
	if result.Sent {
		failpoint.Hit("batch-sent-not-recorded")
	}
	return store.BatchOutcome{State: commandState(result.Outcome), Note: result.Note, Sent: result.Sent || cmd.Attempts > 0, Frames: frames(result.Frames)}, nil
}

// setClock sets a clock once. When an attempt died after its order was marked, the meter may have been set already, and takes no second
// set on the day: then it is only looked at.
func (a *Batches) setClock(ctx context.Context, j batchJudge, m devices.Meter, cmd store.Command, b store.Batch) (store.BatchOutcome, error) {
	wall, err := siteWall(ctx, a.Store, b.Site)
	if err != nil {
		return store.BatchOutcome{}, err
	}
	if cmd.State != billing.CommandRequested {
		return a.lookAtClock(ctx, m, wall)
	}
	most := time.Duration(j.policy.Clock.SetMostSeconds) * time.Second
	var unmarked error // the tables didn't take the mark, which says nothing about the meter
	result, err := a.Pool.SetClock(ctx, m, most, wall, func(before time.Duration) error {
		skew := seconds(before)
		unmarked = a.Store.MarkBatchSending(ctx, byWorkflow(ctx), cmd.ID, nil, &skew)
		return unmarked
	})
	if unmarked != nil {
		return store.BatchOutcome{}, unmarked
	}
	if stop := again(ctx, m.Gateway, err); stop != nil && !result.Sent {
		return store.BatchOutcome{}, stop
	}
	if err != nil {
		o := unsent(cmd, err)
		if errors.Is(err, devices.ErrClockSkew) {
			o.Skip = billing.SkipClockTooFar
		}
		return o, nil
	}
	if result.Sent {
		failpoint.Hit("batch-sent-not-recorded")
	}
	after := seconds(result.After)
	return store.BatchOutcome{State: commandState(result.Outcome), Note: result.Note, Sent: result.Sent, Frames: frames(result.Frames), SkewS: &after}, nil
}

func (a *Batches) lookAtClock(ctx context.Context, m devices.Meter, wall func() time.Time) (store.BatchOutcome, error) {
	skew, right, err := a.Pool.ClockSkew(ctx, m, wall)
	if stop := again(ctx, m.Gateway, err); stop != nil {
		return store.BatchOutcome{}, stop
	}
	o := store.BatchOutcome{State: billing.CommandUnknown, Sent: true}
	switch after := seconds(skew); {
	case err != nil:
		o.Note = "the clock could not be read back: " + err.Error()
	case right:
		o.State, o.SkewS = billing.CommandVerified, &after
	default:
		o.SkewS, o.Note = &after, "an earlier attempt may have set the clock; it is "+skew.Round(time.Second).String()+" off now"
	}
	return o, nil
}

func seconds(d time.Duration) int { return int(d.Round(time.Second) / time.Second) }

// siteWall is a site's wall time, asked of the business clock each time: it stands while a demo's work is unfinished and is real time in real
// use. The order was marked in the same database a moment before; should it fail to answer just then, its last answer counts.
func siteWall(ctx context.Context, s *store.Store, id billing.SiteID) (func() time.Time, error) {
	site, err := s.Site(ctx, id)
	if err != nil {
		return nil, err
	}
	clock, err := s.Clock(ctx)
	return func() time.Time {
		if c, err := s.Clock(ctx); err == nil {
			clock = c
		}
		return clock.Now.In(site.Zone)
	}, err
}

// GiveUpMember settles a member whose line nobody could work on.
func (a *Batches) GiveUpMember(ctx context.Context, in BatchMemberRef) (BatchMemberDone, error) {
	m, err := a.Store.GiveUpBatchMember(ctx, byWorkflow(ctx), in.BatchID, in.Meter, in.Note)
	return BatchMemberDone{State: m.State}, err
}

// FollowRestores is a look at how far the restores of a batch are.
type FollowRestores struct {
	BatchID billing.BatchID
	GiveUp  bool // those that are not settled count as unknown; their own workflows go on
}

// FollowRestores records what the restores of a batch came to, and says how many are not settled.
func (a *Batches) FollowRestores(ctx context.Context, in FollowRestores) (left int, err error) {
	return a.Store.FollowBatch(ctx, byWorkflow(ctx), in.BatchID, in.GiveUp)
}
