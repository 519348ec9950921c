package workflows

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

var testCut = activities.CutRef{CutoffID: "C1"}

// night is a stage with one planned cut; LoadCut answers with what row says.
type night struct {
	*stage
	row activities.CutState
}

func newNight(t *testing.T, state string, after time.Duration) *night {
	n := &night{stage: moneyStage(t)}
	n.row = activities.CutState{CutoffID: "C1", Account: "A1", State: state, PlannedAt: n.Now().Add(after)}
	n.OnActivity(switching.LoadCut, mock.Anything, testCut).Maybe().Return(func(context.Context, activities.CutRef) (activities.CutState, error) { return n.row, nil })
	return n
}

// comes lets the next attempts come to these states, in order, and says when each was made.
func (n *night) comes(step any, states ...activities.CutState) (at *[]time.Duration) {
	at = &[]time.Duration{}
	start := n.Now()
	for _, state := range states {
		state.CutoffID, state.Account = "C1", "A1"
		n.OnActivity(step, mock.Anything, testCut).Return(func(context.Context, activities.CutRef) (activities.CutState, error) {
			*at = append(*at, n.Now().Sub(start).Round(time.Minute))
			n.row = state
			n.row.Message, n.row.Case = "", ""
			return state, nil
		}).Once()
	}
	return at
}

func TestCutoff_verifiedAtItsHour(t *testing.T) {
	n := newNight(t, cutPlanned, 72*time.Hour)
	at := n.comes(switching.CutOff, activities.CutState{State: "verified", Message: "S1"})
	n.OnActivity(messaging.SendMessage, mock.Anything, activities.MessageRef{MessageID: "S1"}).Return(nil).Once()
	n.ExecuteWorkflow(Cutoff, testCut)
	n.finished()
	require.Equal(t, []time.Duration{72 * time.Hour}, *at)
}

func TestCutoff_prevented(t *testing.T) {
	n := newNight(t, cutPlanned, time.Hour)
	n.comes(switching.CutOff, activities.CutState{State: "prevented"})
	n.ExecuteWorkflow(Cutoff, testCut)
	n.finished()
}

func TestCutoff_plannedAgainByTheWindow(t *testing.T) {
	n := newNight(t, cutPlanned, time.Hour)
	at := n.comes(switching.CutOff, activities.CutState{State: cutPlanned, PlannedAt: n.Now().Add(20 * time.Hour)}, activities.CutState{State: "verified"})
	n.ExecuteWorkflow(Cutoff, testCut)
	n.finished()
	require.Equal(t, []time.Duration{time.Hour, 20 * time.Hour}, *at)
}

func TestCutoff_paidBeforeItsHour(t *testing.T) {
	n := newNight(t, cutPlanned, 72*time.Hour)
	n.RegisterDelayedCallback(func() {
		n.row.State = "cancelled"
		n.SignalWorkflow(SignalPaymentSettled, nil)
	}, time.Hour)
	n.ExecuteWorkflow(Cutoff, testCut)
	n.finished()
	n.AssertNotCalled(t, "CutOff")
}

func TestCutoff_waitsForTheManager(t *testing.T) {
	n := newNight(t, cutAwaitingManager, time.Hour)
	n.OnActivity(switching.ApproveCut, mock.Anything, activities.CutDecision{CutoffID: "C1", By: "boss"}).Return(func(context.Context, activities.CutDecision) (activities.CutState, error) {
		n.row.State = cutPlanned
		return n.row, nil
	}).Once()
	at := n.comes(switching.CutOff, activities.CutState{State: "verified"})
	o := n.update(5*time.Hour, UpdateApproveCut, DecideCut{By: "boss"})
	n.ExecuteWorkflow(Cutoff, testCut)
	n.finished()
	o.ok(t)
	require.Equal(t, []time.Duration{5 * time.Hour}, *at)
}

func TestCutoff_cancelledByAPerson(t *testing.T) {
	n := newNight(t, cutPlanned, 72*time.Hour)
	n.OnActivity(switching.CancelCut, mock.Anything, mock.Anything).Return(func(context.Context, activities.CutDecision) (activities.CutState, error) {
		n.row.State = "cancelled"
		return n.row, nil
	}).Once()
	noReason := n.update(time.Hour, UpdateCancelCut, DecideCut{By: "boss"})
	nobody := n.update(2*time.Hour, UpdateApproveCut, DecideCut{})
	done := n.update(3*time.Hour, UpdateCancelCut, DecideCut{By: "boss", Reason: "festival"})
	n.ExecuteWorkflow(Cutoff, testCut)
	n.finished()
	noReason.refusedAs(t, billing.CodeInvalidInput)
	nobody.refusedAs(t, billing.CodeUnauthenticated)
	done.ok(t)
}

func TestCutoff_unknownIsLookedAtEvery15Minutes(t *testing.T) {
	n := newNight(t, cutPlanned, time.Hour)
	started := n.children(ExceptionReview)
	n.comes(switching.CutOff, activities.CutState{State: cutUnknown, Case: "X1"})
	at := n.comes(switching.LookAtCut, activities.CutState{State: cutUnknown}, activities.CutState{State: "verified", Case: "X1", Message: "S1"})
	n.OnActivity(messaging.SendMessage, mock.Anything, mock.Anything).Return(nil).Once()
	closed := n.update(70*time.Minute, UpdateCancelCut, DecideCut{By: "boss", Reason: "late"})
	n.ExecuteWorkflow(Cutoff, testCut)
	n.finished()
	require.Equal(t, []time.Duration{75 * time.Minute, 90 * time.Minute}, *at)
	require.Equal(t, 1, started["case/X1"], "the environment gives the signal that settles it to the child itself")
	closed.refusedAs(t, billing.CodeClosed)
}

func TestCutoff_lineBusyIsTriedAgain(t *testing.T) {
	n := newNight(t, cutPlanned, time.Hour)
	at := n.comes(switching.CutOff, activities.CutState{State: cutPlanned, Busy: true}, activities.CutState{State: "verified"})
	n.ExecuteWorkflow(Cutoff, testCut)
	n.finished()
	require.Equal(t, []time.Duration{60 * time.Minute, 75 * time.Minute}, *at)
}
