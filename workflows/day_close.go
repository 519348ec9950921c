package workflows

import (
	"context"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
)

// DayClose closes the books of a site's ended days: by itself after the daily charge, as policy says, or when a person asks for it.
func DayClose(ctx workflow.Context, in activities.CloseDays) error {
	return workflow.ExecuteActivity(withStore(ctx), closing.CloseDays, in).Get(ctx, nil)
}

// CloseDays closes days in a person's name and waits for the outcome. A closing that was refused, because the cash that was counted isn't
// what the books say, can be tried again.
func (c *Client) CloseDays(ctx context.Context, in activities.CloseDays) error {
	o := startOptions(DayCloseWorkflowID(in.Site, in.Through))
	o.WorkflowIDReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
	run, err := c.T.ExecuteWorkflow(ctx, o, DayClose, in)
	if err != nil {
		return fromTemporal(err)
	}
	return fromTemporal(run.Get(ctx, nil))
}
