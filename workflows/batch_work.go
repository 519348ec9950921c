package workflows

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// BatchWork does one thing at many meters: preview, start by a person, one order per meter below a rate, lines side by side and the meters of a
// line one after the other, a result for each. It begins with the Update PlanBatch, or by itself with the clocks that a day's readings
// showed to be off, and takes up a batch where the tables say it stands.
func BatchWork(ctx workflow.Context, in activities.BatchStart) error {
	b := batchWork{in: in, deciding: workflow.NewMutex(ctx), pacing: workflow.NewMutex(ctx), done: in.Done, next: in.Next}
	if b.done == nil {
		b.done = map[billing.MemberState]int{}
	}
	if err := b.setup(ctx); err != nil {
		return err
	}
	return b.run(ctx)
}

type batchWork struct {
	in       activities.BatchStart
	facts    activities.BatchStatus
	deciding workflow.Mutex
	known    bool // the tables were asked once
	refused  bool // nothing was planned

	pacing workflow.Mutex
	next   time.Time                   // before which no further order may leave
	done   map[billing.MemberState]int // what became of the members that were worked on
}

// The names of what people send; see the activities of the same names.
type (
	// PlanBatch is a person's wish for work on many meters.
	PlanBatch = activities.PlanBatch
	// DecideBatch is a person's step on a batch.
	DecideBatch = activities.DecideBatch
	// BatchStatus is where a batch stands.
	BatchStatus = activities.BatchStatus
)

// MaxBatchRate is the most orders per minute that a batch may ask for.
const MaxBatchRate = activities.MaxBatchRate

// BatchProgress answers the query QueryProgress: where the batch stands, and what became of the meters so far.
type BatchProgress struct {
	State billing.BatchState
	Done  map[billing.MemberState]int
}

func (b *batchWork) setup(ctx workflow.Context) error {
	if err := workflow.SetUpdateHandler(ctx, UpdatePlanBatch, b.plan); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateStartBatch, b.start, workflow.UpdateHandlerOptions{Validator: b.mayStart}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateCancelBatch, b.cancel, workflow.UpdateHandlerOptions{Validator: b.mayCancel}); err != nil {
		return err
	}
	err := workflow.SetQueryHandler(ctx, QueryProgress, func() (BatchProgress, error) {
		return BatchProgress{State: b.facts.State, Done: maps.Clone(b.done)}, nil
	})
	if err != nil {
		return err
	}
	var facts activities.BatchStatus
	err = workflow.ExecuteActivity(withStore(ctx), batches.DescribeBatch, b.ref()).Get(ctx, &facts)
	if b.facts.BatchID == "" { // a plan may have come in meanwhile
		b.facts = facts
	}
	b.known = true
	return err
}

func (b *batchWork) ref() activities.BatchRef { return activities.BatchRef{BatchID: b.in.BatchID} }

func (b *batchWork) run(ctx workflow.Context) error {
	if b.in.Clocks != nil && (b.facts.BatchID == "" || b.facts.State == billing.BatchPreviewed) {
		if err := workflow.ExecuteActivity(withStore(ctx), batches.SetClocks, *b.in.Clocks).Get(ctx, &b.facts); err != nil {
			return err
		}
		b.refused = b.facts.BatchID == "" // no clock is to be set any more
	}
	// Whoever started it plans the batch in the next call; one that died in between leaves nothing behind.
	if _, err := workflow.AwaitWithTimeout(ctx, entryPatience, func() bool { return b.refused || b.facts.BatchID != "" }); err != nil {
		return err
	}
	if b.facts.BatchID != "" {
		if err := b.process(ctx); err != nil {
			return err
		}
	}
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

func (b *batchWork) process(ctx workflow.Context) error {
	if b.facts.State == billing.BatchPreviewed {
		late, err := waitUntil(ctx, "start", b.facts.ExpiresAt, func() bool { return b.facts.State != billing.BatchPreviewed })
		if err != nil {
			return err
		}
		if late {
			if err := b.expire(ctx); err != nil {
				return err
			}
		}
	}
	if err := b.work(ctx); err != nil {
		return err
	}
	if b.facts.Action == billing.BatchRestore {
		if err := b.follow(ctx); err != nil {
			return err
		}
	}
	return workflow.ExecuteActivity(withStore(ctx), batches.FinishBatch, b.ref()).Get(ctx, &b.facts)
}

// expire ends a preview that nobody started, unless somebody is just doing so.
func (b *batchWork) expire(ctx workflow.Context) error {
	if err := b.deciding.Lock(ctx); err != nil {
		return err
	}
	defer b.deciding.Unlock()
	if b.facts.State != billing.BatchPreviewed {
		return nil
	}
	return workflow.ExecuteActivity(withStore(ctx), batches.ExpireBatch, b.ref()).Get(ctx, &b.facts)
}

func (b *batchWork) stopped() bool { return b.facts.State != billing.BatchRunning }

// work goes through the members page by page. A cancelled batch still settles what was out already.
func (b *batchWork) work(ctx workflow.Context) error {
	for {
		var page []activities.BatchMemberRef
		if err := workflow.ExecuteActivity(withStore(ctx), batches.PendingMembers, b.ref()).Get(ctx, &page); err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		if err := b.workPage(ctx, page); err != nil {
			return err
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx) {
			return workflow.NewContinueAsNewError(ctx, BatchWork, activities.BatchStart{BatchID: b.in.BatchID, Done: b.done, Next: b.next}) // all else is in the tables
		}
	}
}

// batchLanes is how many lines a batch works on at once, so that it never fills the slots of cuts and recharges.
const batchLanes = 8

func (b *batchWork) workPage(ctx workflow.Context, page []activities.BatchMemberRef) error {
	lanes, wg := workflow.NewSemaphore(ctx, batchLanes), workflow.NewWaitGroup(ctx)
	var failed error
	began := b.stopped() // a batch that is cancelled meanwhile asks the tables what is left to settle
	for len(page) > 0 {
		n := 1
		for n < len(page) && page[n].Gateway == page[0].Gateway {
			n++
		}
		line := page[:n]
		page = page[n:]
		if err := lanes.Acquire(ctx, 1); err != nil {
			return err
		}
		wg.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer wg.Done()
			defer lanes.Release(1)
			for _, m := range line {
				if err := b.member(ctx, m, began); err != nil {
					failed = err
					return
				}
			}
		})
	}
	wg.Wait(ctx)
	return failed
}

// member waits for its turn and works on one meter, on whoever owns its line. A meter whose line nobody can work on is settled as such: it must
// not hold up the others.
func (b *batchWork) member(ctx workflow.Context, m activities.BatchMemberRef, began bool) error {
	if err := b.pace(ctx); err != nil || b.stopped() != began {
		return err
	}
	var out activities.BatchMemberDone
	err := b.send(ctx, m, &out)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		m.Note = "its line could not be worked on: " + sentenceOf(err)
		if err := workflow.ExecuteActivity(withStore(ctx), batches.GiveUpMember, m).Get(ctx, &out); err != nil {
			return err
		}
	}
	b.done[out.State]++
	if err := followDoubt(ctx, out.Case, true); err != nil {
		return err
	}
	if out.Restore == "" {
		return nil
	}
	return startAbandoned(ctx, RestoreWorkflowID(out.Restore), Restore, activities.RestoreRef{RestoreID: out.Restore})
}

func (b *batchWork) send(ctx workflow.Context, m activities.BatchMemberRef, out *activities.BatchMemberDone) error {
	var err error
	for range ownerChanges {
		var unowned error
		err = followLine(ctx, func() error {
			var holder string
			if holder, unowned = b.holder(ctx, m.Gateway); unowned != nil {
				return unowned
			}
			return workflow.ExecuteActivity(withBulk(ctx, holder), batches.WorkMember, m).Get(ctx, out)
		})
		if err == nil || unowned != nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// holder asks who owns a line. Unlike other work, a batch doesn't wait for an owner for ever: its other meters are behind this one.
func (b *batchWork) holder(ctx workflow.Context, gateway billing.GatewayID) (string, error) {
	var holder string
	err := workflow.ExecuteActivity(withPatience(ctx), lines.LineHolder, activities.LineHolderInput{Gateway: gateway}).Get(ctx, &holder)
	return holder, err
}

// pace waits until the next order may leave. After a cancellation nobody waits: what is left was never ordered.
func (b *batchWork) pace(ctx workflow.Context) error {
	if b.stopped() {
		return nil
	}
	if err := b.pacing.Lock(ctx); err != nil {
		return err
	}
	at, now := b.next, workflow.Now(ctx)
	if at.Before(now) {
		at = now
	}
	b.next = at.Add(time.Minute / time.Duration(max(b.facts.Rate, 1)))
	b.pacing.Unlock()
	if !at.After(now) {
		return nil
	}
	_, err := workflow.AwaitWithTimeout(ctx, at.Sub(now), b.stopped)
	return err
}

// How a batch waits for the restores that it opened: a few quick looks, then as often as a restore itself tries, for a working day.
const (
	followQuick = 2 * time.Second
	followLooks = 10
	followMost  = 32
)

// follow records what the restores come to. Each has its own workflow, which doesn't rest; the batch does, after a while.
func (b *batchWork) follow(ctx workflow.Context) error {
	for look := 1; ; look++ {
		var left int
		in := activities.FollowRestores{BatchID: b.in.BatchID, GiveUp: look > followMost}
		if err := workflow.ExecuteActivity(withStore(ctx), batches.FollowRestores, in).Get(ctx, &left); err != nil || left == 0 {
			return err
		}
		if look <= followLooks {
			if err := workflow.Sleep(ctx, followQuick); err != nil {
				return err
			}
			continue
		}
		now, err := businessNow(ctx)
		if err != nil {
			return err
		}
		if _, err := waitUntil(ctx, "restores", now.Add(lookAgainEvery), nil); err != nil {
			return err
		}
	}
}

// plan takes the batch in. A refusal ends the workflow, so that the same form can be sent again.
func (b *batchWork) plan(ctx workflow.Context, in activities.PlanBatch) (activities.BatchStatus, error) {
	in.BatchID = b.in.BatchID
	var out activities.BatchStatus
	if err := workflow.ExecuteActivity(withStore(ctx), batches.PlanBatch, in).Get(ctx, &out); err != nil {
		b.refused = b.facts.BatchID == ""
		return out, err
	}
	if b.facts.BatchID == "" {
		b.facts = out
	}
	return out, nil
}

// mayStart and mayCancel refuse in the same click; the activity and the database check again what only they can know.
func (b *batchWork) mayStart(_ workflow.Context, d activities.DecideBatch) error {
	if err := b.may(d); err != nil || !b.known {
		return err
	}
	switch {
	case b.facts.State != billing.BatchPreviewed:
		return refuse(billing.CodeClosed, "this batch is "+string(b.facts.State)+" already: nothing was changed")
	case b.facts.Action.NeedsSecond() && d.By == b.facts.MadeBy:
		return refuse(billing.CodeSelfApproval, "you made this batch: another person must start it")
	}
	return nil
}

func (b *batchWork) mayCancel(_ workflow.Context, d activities.DecideBatch) error {
	if err := b.may(d); err != nil || !b.known {
		return err
	}
	switch {
	case b.facts.State.Final():
		return refuse(billing.CodeClosed, "this batch is "+string(b.facts.State)+" already: nothing was changed")
	case strings.TrimSpace(d.Reason) == "":
		return refuse(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	}
	return nil
}

func (b *batchWork) may(d activities.DecideBatch) error {
	if d.By == "" {
		return refuse(billing.CodeUnauthenticated, "sign in to do this")
	}
	if b.known && b.facts.BatchID == "" {
		return refuse(billing.CodeNotFound, "this batch isn't planned yet: plan it first")
	}
	return nil
}

func (b *batchWork) start(ctx workflow.Context, d activities.DecideBatch) (activities.BatchStatus, error) {
	return b.decide(ctx, d, b.mayStart, batches.StartBatch)
}

func (b *batchWork) cancel(ctx workflow.Context, d activities.DecideBatch) (activities.BatchStatus, error) {
	return b.decide(ctx, d, b.mayCancel, batches.CancelBatch)
}

// decide takes one decision after the other, each on what the one before left.
func (b *batchWork) decide(ctx workflow.Context, d activities.DecideBatch, may func(workflow.Context, activities.DecideBatch) error, activity any) (activities.BatchStatus, error) {
	if err := workflow.Await(ctx, func() bool { return b.known }); err != nil {
		return b.facts, err
	}
	if err := b.deciding.Lock(ctx); err != nil {
		return b.facts, err
	}
	defer b.deciding.Unlock()
	if err := may(ctx, d); err != nil {
		return b.facts, err
	}
	d.BatchID = b.in.BatchID
	var out activities.BatchStatus
	if err := workflow.ExecuteActivity(withStore(ctx), activity, d).Get(ctx, &out); err != nil {
		return b.facts, err
	}
	b.facts = out
	return out, nil
}

// PlanBatch makes a batch with its preview. The caller reserves in.BatchID with store.NextBatchID.
func (c *Client) PlanBatch(ctx context.Context, in activities.PlanBatch) (activities.BatchStatus, error) {
	var out activities.BatchStatus
	id := BatchWorkflowID(in.BatchID)
	if _, err := c.startAgain(ctx, id, 0, BatchWork, activities.BatchStart{BatchID: in.BatchID}); err != nil {
		return out, fromTemporal(err)
	}
	return out, c.update(ctx, id, UpdatePlanBatch, "", in, &out)
}

// DecideBatch sends a person's step on a batch: UpdateStartBatch or UpdateCancelBatch.
func (c *Client) DecideBatch(ctx context.Context, update string, d activities.DecideBatch) error {
	return c.update(ctx, BatchWorkflowID(d.BatchID), update, d.Nonce, d, nil)
}

// sentenceOf is what a failed step said, for people.
func sentenceOf(err error) string {
	if app := (*temporal.ApplicationError)(nil); errors.As(err, &app) {
		return app.Message()
	}
	return "its owner gave no answer"
}
