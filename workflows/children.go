package workflows

import (
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// startAbandoned starts a workflow that outlives this one and waits until it has really started. One that was started before under
// the same business key is as good: the work is in hand.
func startAbandoned(ctx workflow.Context, id string, wf, in any) error {
	child := workflow.ExecuteChildWorkflow(childOptions(ctx, id), wf, in)
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

// lineHolder asks which worker owns a gateway's line now.
func lineHolder(ctx workflow.Context, gateway billing.GatewayID) (string, error) {
	var holder string
	err := workflow.ExecuteActivity(withStore(ctx), lines.LineHolder, activities.LineHolderInput{Gateway: gateway}).Get(ctx, &holder)
	return holder, err
}
