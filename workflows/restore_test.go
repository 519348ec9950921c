package workflows

import (
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

var testRestore = activities.RestoreRef{RestoreID: "O1"}

func restoreStage(t *testing.T, states ...activities.RestoreState) *stage {
	s := moneyStage(t)
	s.OnActivity(switching.LoadRestore, mock.Anything, testRestore).Return(activities.RestoreState{RestoreID: "O1", Account: "A1", State: "sending"}, nil).Once()
	for _, state := range states {
		state.Account = "A1"
		s.OnActivity(switching.RestoreSupply, mock.Anything, testRestore).Return(state, nil).Once()
	}
	return s
}

func TestRestore_verified(t *testing.T) {
	s := restoreStage(t, activities.RestoreState{State: "verified", Message: "S1"})
	s.OnActivity(messaging.SendMessage, mock.Anything, activities.MessageRef{MessageID: "S1"}).Return(nil).Once()
	s.ExecuteWorkflow(Restore, testRestore)
	s.finished()
}

// The cut's command is out when the payment comes: the restore waits for it in real time, then gives supply back.
func TestRestore_followsACutThatIsOut(t *testing.T) {
	s := restoreStage(t, activities.RestoreState{State: "sending", Busy: true}, activities.RestoreState{State: "sending", Busy: true}, activities.RestoreState{State: "verified"})
	start := s.Now()
	s.ExecuteWorkflow(Restore, testRestore)
	s.finished()
	require.Equal(t, 2*busyAgain, s.Now().Sub(start))
}

func TestRestore_unknownUntilProved(t *testing.T) {
	s := restoreStage(t, activities.RestoreState{State: restoreUnknown, Case: "X1"}, activities.RestoreState{State: "verified", Case: "X1"})
	started := s.children(ExceptionReview)
	s.ExecuteWorkflow(Restore, testRestore)
	s.finished()
	require.Equal(t, 1, started["case/X1"])
}

// An order in doubt that is replaced by another ends its case, whose workflow hears of it; the order that is in doubt then has a case of its own.
func TestRestore_replacedOrder(t *testing.T) {
	s := restoreStage(t, activities.RestoreState{State: restoreUnknown, Case: "X1"}, activities.RestoreState{State: restoreUnknown, Case: "X2", Replaced: "X1"}, activities.RestoreState{State: "verified", Case: "X2"})
	told := map[billing.CaseID]int{}
	s.RegisterWorkflowWithOptions(func(ctx workflow.Context, in activities.CaseRef) error {
		workflow.GetSignalChannel(ctx, SignalDoubtSettled).Receive(ctx, nil)
		told[in.CaseID]++
		return nil
	}, workflow.RegisterOptions{Name: "ExceptionReview"})
	s.ExecuteWorkflow(Restore, testRestore)
	s.finished()
	require.Equal(t, map[billing.CaseID]int{"X1": 1, "X2": 1}, told)
}

func TestRestore_orderedByAPerson(t *testing.T) {
	s := moneyStage(t)
	order := activities.OrderRestore{Account: "A1", By: "boss", Reason: "hospital called"}
	s.OnActivity(switching.OrderRestore, mock.Anything, order).Return(activities.RestoreState{RestoreID: "O7"}, nil).Once()
	s.RegisterWorkflow(Restore)
	s.OnActivity(switching.LoadRestore, mock.Anything, activities.RestoreRef{RestoreID: "O7"}).Return(activities.RestoreState{State: "verified"}, nil).Once()
	s.ExecuteWorkflow(Restore, activities.RestoreRef{Order: &order})
	s.finished()
}

func TestRestore_orderRefused(t *testing.T) {
	s := moneyStage(t)
	refusal := temporal.NewNonRetryableApplicationError("your role may not order supply back", string(billing.CodeForbidden), nil)
	s.OnActivity(switching.OrderRestore, mock.Anything, mock.Anything).Return(activities.RestoreState{}, refusal).Once()
	s.ExecuteWorkflow(Restore, activities.RestoreRef{Order: &activities.OrderRestore{Account: "A1", By: "clerk1", Reason: "x"}})
	var app *temporal.ApplicationError
	require.ErrorAs(t, s.GetWorkflowError(), &app)
	require.Equal(t, string(billing.CodeForbidden), app.Type())
}
