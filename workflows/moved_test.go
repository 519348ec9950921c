package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

var errMoved = temporal.NewNonRetryableApplicationError("this worker doesn't own the line any more", activities.LineMoved, nil)

// Supply goes to the line's present owner within seconds after it has moved.
func TestRestore_followsItsLine(t *testing.T) {
	s := restoreStage(t)
	s.OnActivity(switching.RestoreSupply, mock.Anything, testRestore).Return(activities.RestoreState{}, errMoved).Twice()
	s.OnActivity(switching.RestoreSupply, mock.Anything, testRestore).Return(activities.RestoreState{Account: "A1", State: "verified"}, nil).Once()
	start := s.Now()
	s.ExecuteWorkflow(Restore, testRestore)
	s.finished()
	require.Equal(t, 2*lineTryAgain, s.Now().Sub(start))
}

func TestReadingCycle_followsItsLines(t *testing.T) {
	s := newStage(t)
	s.plan(time.Minute)
	s.OnActivity(metering.StartPass, mock.Anything, mock.Anything).Return([]billing.GatewayID{"G1", "G2", "G3"}, nil)
	all, some := []billing.GatewayID{"G1", "G2", "G3"}, []billing.GatewayID{"G2"}
	s.OnActivity(lines.LineHolders, mock.Anything, activities.LineHoldersInput{Gateways: all}).Return([]activities.LineGroup{{Holder: "w1", Gateways: all}}, nil).Once()
	s.OnActivity(lines.LineHolders, mock.Anything, activities.LineHoldersInput{Gateways: some}).Return([]activities.LineGroup{{Holder: "w2", Gateways: some}}, nil).Once()
	s.OnActivity(metering.SweepGateways, mock.Anything, activities.SweepGateways{CycleID: testCycle, Gateways: all, Pass: 1}).Return(activities.SweptGateway{Moved: some}, nil).Once()
	s.OnActivity(metering.SweepGateways, mock.Anything, activities.SweepGateways{CycleID: testCycle, Gateways: some, Pass: 1}).Return(activities.SweptGateway{}, nil).Once()
	s.rest(activities.Validated{})
	s.ExecuteWorkflow(ReadingCycle, testStart)
	s.finished()
}

func TestExceptionReview_followsItsLine(t *testing.T) {
	s := newStage(t)
	open := activities.CaseFacts{Kind: "credit_in_doubt", Allowed: []string{activities.DecideCredited}, Gateways: []billing.GatewayID{"G1"}, RechargeID: "R1",
		DueAt: s.Now().Add(24 * time.Hour)}
	settled := open
	settled.Resolved = true
	s.OnActivity(review.DescribeCase, mock.Anything, testCase).Return(open, nil).Once()
	s.OnActivity(review.DescribeCase, mock.Anything, testCase).Return(settled, nil).Once()
	s.OnActivity(delivery.SettleInDoubt, mock.Anything, mock.Anything).Return(activities.Settled{}, errMoved).Once()
	s.OnActivity(delivery.SettleInDoubt, mock.Anything, mock.Anything).Return(activities.Settled{}, nil).Once()
	s.OnSignalExternalWorkflow(mock.Anything, "recharge/R1", "", SignalDoubtSettled, mock.Anything).Return(nil).Once()
	o := s.update(time.Hour, UpdateDecide, decision(activities.DecideCredited))
	s.ExecuteWorkflow(ExceptionReview, testCase)
	s.finished()
	o.ok(t)
}

// A line that nobody agrees to own doesn't fill a history: the pauses grow.
func TestTryPause(t *testing.T) {
	require.Equal(t, lineTryAgain, tryPause(0))
	require.Equal(t, 30*time.Second, tryPause(1000))
	var all time.Duration
	for tries := range mostMoves {
		all += tryPause(tries)
	}
	require.Greater(t, all, 5*time.Minute)
}
