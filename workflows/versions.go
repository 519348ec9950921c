package workflows

import "go.temporal.io/sdk/workflow"

// Changes of workflows that histories from before them must still replay. A gate may go when no run from before it is open any more.
const (
	// changeRunInChunks (November 2026): a billing run is rated and issued by BillingChunk children instead of one activity each.
	changeRunInChunks = "billing-run-in-chunks"
	// changeStartsTogether (November 2026): the cases, arrears cases and restores that a step brings about are started together, many of them by
	// StartFollowers, instead of one after the other.
	changeStartsTogether = "starts-together"
	// changeSweepWaits (November 2026): a sweep asks more often, and each time after a shorter wait, who owns its lines.
	changeSweepWaits = "sweep-waits-shorter"
	// changeHoldersLocally (November 2026): who owns a pass's lines is looked up by the worker of the workflow itself, without the way through the
	// engine, during which every line stands idle.
	changeHoldersLocally = "line-holders-locally"
)

// inChunks says whether a billing run works in chunks.
func inChunks(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, changeRunInChunks, workflow.DefaultVersion, 1) == 1
}

// startsTogether says whether many children are asked for before the first has started.
func startsTogether(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, changeStartsTogether, workflow.DefaultVersion, 1) == 1
}

// sweepWaits says whether a sweep goes on asking after ownerChanges.
func sweepWaits(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, changeSweepWaits, workflow.DefaultVersion, 1) == 1
}

// holdersLocally says whether a sweep looks up its lines' owners in a local activity.
func holdersLocally(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, changeHoldersLocally, workflow.DefaultVersion, 1) == 1
}
