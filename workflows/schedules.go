package workflows

import (
	"context"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/meterflow/meterflow/internal/billing"
)

// ApplySchedules creates or updates the Schedule of each site. Applying them twice changes nothing.
// every is real time: how often a site's due work is looked for.
func (c *Client) ApplySchedules(ctx context.Context, sites []billing.SiteID, every time.Duration) error {
	for _, site := range sites {
		spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
		action := &client.ScheduleWorkflowAction{
			ID: DueScheduleID(site) + "/run", Workflow: StartDue, Args: []any{StartDueInput{Site: site}},
			TaskQueue: QueueBilling, WorkflowExecutionTimeout: 10 * time.Minute,
		}
		_, err := c.T.ScheduleClient().Create(ctx, client.ScheduleOptions{
			ID: DueScheduleID(site), Spec: spec, Action: action,
			// One at a time; what an outage missed is found by the next look, so nothing is caught up.
			Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: time.Minute,
		})
		var exists *serviceerror.AlreadyExists
		if err == nil {
			continue
		}
		if !errors.As(err, &exists) && !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
			return fromTemporal(err)
		}
		h := c.T.ScheduleClient().GetHandle(ctx, DueScheduleID(site))
		err = h.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			s := in.Description.Schedule
			s.Spec, s.Action = &spec, action
			return &client.ScheduleUpdate{Schedule: &s}, nil
		}})
		if err != nil {
			return fromTemporal(err)
		}
	}
	return nil
}

// TriggerDue looks for a site's due work now, besides the Schedule's own times. The demo's clock driver calls it when a day begins.
func (c *Client) TriggerDue(ctx context.Context, site billing.SiteID) error {
	return fromTemporal(c.T.ScheduleClient().GetHandle(ctx, DueScheduleID(site)).Trigger(ctx, client.ScheduleTriggerOptions{
		Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE,
	}))
}

// ClockMoved wakes a workflow that waits for a business instant. gone says that it has ended.
func (c *Client) ClockMoved(ctx context.Context, workflowID string) (gone bool, err error) {
	err = c.T.SignalWorkflow(ctx, workflowID, "", SignalClockMoved, nil)
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) {
		return true, nil
	}
	return false, fromTemporal(err)
}
