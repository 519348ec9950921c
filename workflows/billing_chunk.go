package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// ChunkStep is what is done to a chunk of a billing run.
type ChunkStep string

// The steps.
const (
	ChunkRate   ChunkStep = "rate"
	ChunkIssue  ChunkStep = "issue"
	ChunkCancel ChunkStep = "cancel"
)

// ChunkStart names a chunk of a run and the step that it is due for.
type ChunkStart struct {
	RunID billing.RunID
	Chunk int
	Step  ChunkStep
}

// BillingChunk does one step of a run for one of its chunks, about a thousand accounts, on the queue of rating: a run of any size takes
// no slot from people's decisions.
func BillingChunk(ctx workflow.Context, in ChunkStart) error {
	ref := activities.ChunkRef{RunID: in.RunID, Chunk: in.Chunk}
	switch in.Step {
	case ChunkRate:
		return workflow.ExecuteActivity(withRating(ctx), bills.RateChunk, ref).Get(ctx, nil)
	case ChunkIssue:
		return workflow.ExecuteActivity(withRating(ctx), bills.IssueChunk, ref).Get(ctx, nil)
	case ChunkCancel:
		return workflow.ExecuteActivity(withRating(ctx), bills.CancelChunk, ref).Get(ctx, nil)
	}
	return refuse(billing.CodeInvalidInput, fmt.Sprintf("the step %q is unknown", in.Step))
}

// chunksAtOnce is how many chunks of a run are under way at a time. Another number is another order of commands: gate it by a version.
const chunksAtOnce = 4

// eachChunk does a step for all chunks of the run, a few at a time, and gives the first error after those under way have ended.
func (r *billingRun) eachChunk(ctx workflow.Context, step ChunkStep) error {
	if r.chunks == 0 {
		var planned activities.RunPlanned
		if err := workflow.ExecuteActivity(withStore(ctx), bills.PlanRun, r.ref()).Get(ctx, &planned); err != nil {
			return err
		}
		r.chunks = planned.Chunks
	}
	slots := workflow.NewSemaphore(ctx, chunksAtOnce)
	ended := workflow.NewWaitGroup(ctx)
	var failed error
	for no := 1; no <= r.chunks; no++ {
		if err := slots.Acquire(ctx, 1); err != nil {
			return err
		}
		if failed != nil || (step == ChunkRate && r.cancelled()) {
			break
		}
		in := ChunkStart{RunID: r.in.RunID, Chunk: no, Step: step}
		child := workflow.ExecuteChildWorkflow(chunkOptions(ctx, in), BillingChunk, in)
		ended.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer ended.Done()
			defer slots.Release(1)
			if err := child.Get(ctx, nil); err != nil && failed == nil {
				failed = err
			}
		})
	}
	ended.Wait(ctx)
	return failed
}
