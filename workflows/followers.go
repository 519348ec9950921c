package workflows

import (
	"slices"
	"strconv"

	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// Follower is a workflow that a piece of work brings about and that outlives it: a case, an arrears case, a restore.
type Follower struct {
	Kind string // kindCase, kindReminder or kindRestore
	ID   string
}

func (f Follower) start(ctx workflow.Context) workflow.ChildWorkflowFuture {
	switch f.Kind {
	case kindReminder:
		id := billing.ReminderID(f.ID)
		return workflow.ExecuteChildWorkflow(childOptions(ctx, ReminderWorkflowID(id)), ArrearsReminder, activities.ReminderRef{ReminderID: id})
	case kindRestore:
		return workflow.ExecuteChildWorkflow(childOptions(ctx, RestoreWorkflowID(f.ID)), Restore, activities.RestoreRef{RestoreID: f.ID})
	default:
		id := billing.CaseID(f.ID)
		return workflow.ExecuteChildWorkflow(childOptions(ctx, CaseWorkflowID(id)), ExceptionReview, activities.CaseRef{CaseID: id})
	}
}

// The engine refuses a workflow with more than 2,000 children that are open, and an abandoned child counts for as long as its parent lives too.
// Many followers are therefore started by children that end at once. Each start is a round trip, which the others needn't wait for.
const (
	followersAtOnce  = 100
	followersPerPart = 500
)

// FollowersStart is a part of the followers of one piece of work.
type FollowersStart struct {
	Followers []Follower
}

// StartFollowers starts a part of the followers and ends when all of them have started.
func StartFollowers(ctx workflow.Context, in FollowersStart) error {
	for some := range slices.Chunk(in.Followers, followersAtOnce) {
		if err := startTogether(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func startTogether(ctx workflow.Context, some []Follower) error {
	children := make([]workflow.ChildWorkflowFuture, len(some))
	for i, f := range some {
		children[i] = f.start(ctx)
	}
	for _, child := range children {
		if err := started(ctx, child); err != nil {
			return err
		}
	}
	return nil
}

// startFollowers starts the followers of one kind and waits until all have really started. Those that were started before are as good.
func startFollowers[ID ~string](ctx workflow.Context, kind string, ids []ID) error {
	all := make([]Follower, len(ids))
	for i, id := range ids {
		all[i] = Follower{kind, string(id)}
	}
	switch {
	case len(all) <= 1 || !startsTogether(ctx):
		for _, f := range all {
			if err := started(ctx, f.start(ctx)); err != nil {
				return err
			}
		}
		return nil
	case len(all) <= followersAtOnce:
		return startTogether(ctx, all)
	}
	part := 0
	for some := range slices.Chunk(all, followersPerPart) {
		part++
		id := workflow.GetInfo(ctx).WorkflowExecution.ID + "/followers/" + kind + "/" + strconv.Itoa(part)
		child := workflow.ExecuteChildWorkflow(childOptions(ctx, id), StartFollowers, FollowersStart{some})
		if err := started(ctx, child); err != nil {
			return err
		}
		if err := child.Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}
