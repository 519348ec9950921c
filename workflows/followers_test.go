package workflows

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// The engine lets no workflow have more than 2,000 children that are open. After a charge that leaves 2,345 accounts low each arrears case is
// started, once, and no workflow has more than a part of them as children.
func TestDailyCharge_thousandsRunLow(t *testing.T) {
	s := newStage(t)
	s.children(ArrearsReminder)
	s.RegisterWorkflow(StartFollowers)
	started, children := map[string]int{}, map[string]int{}
	s.SetOnChildWorkflowStartedListener(func(info *workflow.Info, _ workflow.Context, _ converter.EncodedValues) {
		children[info.ParentWorkflowExecution.ID]++
		if info.WorkflowType.Name == "ArrearsReminder" {
			started[info.WorkflowExecution.ID]++
		}
	})
	var low activities.LowTaken
	for i := range 2345 {
		low.Opened = append(low.Opened, billing.ReminderID(fmt.Sprintf("N%04d", i)))
	}
	s.OnActivity(rating.OpenCharge, mock.Anything, testCharge).Return(activities.ChargeOpened{}, nil).Once()
	s.OnActivity(rating.ChargeAccounts, mock.Anything, testCharge).Return(activities.Charged{Accounts: 3}, nil).Once()
	s.OnActivity(rating.TakeLowList, mock.Anything, testCharge).Return(low, nil).Once()
	s.OnActivity(rating.CloseCharge, mock.Anything, testCharge).Return(nil).Once()
	s.ExecuteWorkflow(DailyCharge, testCharge)
	s.finished()
	require.Len(t, started, len(low.Opened))
	for id, times := range started {
		require.Equal(t, 1, times, id)
	}
	for id, n := range children {
		require.LessOrEqual(t, n, followersPerPart, id)
	}
	require.Greater(t, len(children), 4, "one workflow started them all")
}
