package workflows

import (
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// startAbandoned starts a workflow that outlives this one and waits until it has really started. One that was started before under
// the same business key is as good: the work is in hand.
func startAbandoned(ctx workflow.Context, id string, wf, in any) error {
	return started(ctx, workflow.ExecuteChildWorkflow(childOptions(ctx, id), wf, in))
}

func started(ctx workflow.Context, child workflow.ChildWorkflowFuture) error {
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return nil
	}
	return err
}

// childOptions are those of every child: its business key, once and never again, alive when the parent ends.
func childOptions(ctx workflow.Context, id string) workflow.Context {
	return workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            id,
		TaskQueue:             QueueBilling,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
	})
}

// chunkOptions are those of a part of a billing run: it lives and ends with the run.
func chunkOptions(ctx workflow.Context, in ChunkStart) workflow.Context {
	return workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            ChunkWorkflowID(in.RunID, in.Chunk, in.Step),
		TaskQueue:             QueueBilling,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_TERMINATE,
	})
}

// signalIfRunning tells another workflow a fact; one that has ended needs it no more.
func signalIfRunning(ctx workflow.Context, id, signal string, fact any) {
	if err := workflow.SignalExternalWorkflow(ctx, id, "", signal, fact).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Debug("signal not taken", "workflow", id, "signal", signal, "error", err)
	}
}

// lineTryAgain is how long, in real time, a step waits before it asks who owns its line now.
const lineTryAgain = 2 * time.Second

// tryPause is the pause after so many tries: short while an owner changes, and longer when nobody agrees to own the line, so that the history
// stays short.
func tryPause(tries int) time.Duration {
	return min(lineTryAgain<<min(tries/4, 4), 30*time.Second)
}

// mostMoves is how often a step follows its line: some ten minutes.
const mostMoves = 30

// moved says that a step found itself on a worker that doesn't own its line any more: nothing was sent.
func moved(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.Type() == activities.LineMoved
}

// followLine makes a step that asks for the line's owner first, again when the line has moved.
func followLine(ctx workflow.Context, step func() error) error {
	for tries := 0; ; tries++ {
		err := step()
		if !moved(err) || tries == mostMoves {
			return err
		}
		if err := workflow.Sleep(ctx, tryPause(tries)); err != nil {
			return err
		}
	}
}

// lineHolder asks which worker owns a gateway's line now.
func lineHolder(ctx workflow.Context, gateway billing.GatewayID) (string, error) {
	var holder string
	err := workflow.ExecuteActivity(withStore(ctx), lines.LineHolder, activities.LineHolderInput{Gateway: gateway}).Get(ctx, &holder)
	return holder, err
}
