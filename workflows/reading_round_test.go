package workflows

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// roundStage is a stage with the tables of one round behind it.
type roundStage struct {
	*stage
	facts activities.RoundFacts
}

func newRoundStage(t *testing.T, f activities.RoundFacts) *roundStage {
	t.Helper()
	s := &roundStage{stage: newStage(t), facts: f}
	s.RegisterActivity(&activities.Rounds{})
	s.OnActivity(rounds.DescribeRound, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.RoundRef) (activities.RoundFacts, error) { return s.facts, nil })
	answers(s, rounds.PlanRound, func(activities.PlanRound) { s.facts = s.planned() })
	answers(s, rounds.SubmitRound, func(activities.RoundDecision) { s.facts.State = billing.RoundSubmitted })
	answers(s, rounds.AcceptRound, func(activities.RoundDecision) { s.facts.State = billing.RoundChecked })
	answers(s, rounds.ReturnRound, func(activities.RoundDecision) { s.facts.State = billing.RoundInProgress })
	answers(s, rounds.CancelRound, func(activities.RoundDecision) { s.facts.State = billing.RoundCancelled })
	answers(s, rounds.CloseRound, func(activities.RoundRef) { s.facts.State = billing.RoundClosed })
	answers(s, rounds.AssignRound, func(d activities.RoundDecision) { s.facts.State, s.facts.Reader = billing.RoundAssigned, d.Reader })
	return s
}

func (s *roundStage) planned() activities.RoundFacts {
	return activities.RoundFacts{RoundID: "L1", Site: "park", State: billing.RoundPlanned, LateAt: s.Now().Add(48 * time.Hour)}
}

// answers stands for an activity by what it does to the tables.
func answers[In any](s *roundStage, activity any, change func(In)) {
	s.OnActivity(activity, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in In) (activities.RoundFacts, error) {
		change(in)
		return s.facts, nil
	})
}

func (s *roundStage) entersValues(verdicts ...activities.RoundVerdict) {
	s.OnActivity(rounds.EnterRoundValues, mock.Anything, mock.Anything).Return(verdicts, nil)
}

func roundBy(who billing.UserID) activities.RoundDecision {
	return activities.RoundDecision{By: who, Reason: "because"}
}

func assignTo(reader billing.UserID) activities.RoundDecision {
	return activities.RoundDecision{By: "sup1", Reader: reader}
}

var oneValue = activities.RoundValues{By: "reader1", Values: []activities.RoundValue{{Meter: "M1", Registers: billing.Registers{1}}}}

func (s *roundStage) whole(in activities.RoundStart) {
	s.ExecuteWorkflow(ReadingRound, in)
	s.finished()
}

func TestReadingRound_fromPlanToReadings(t *testing.T) {
	s := newRoundStage(t, activities.RoundFacts{})
	started := s.children(ExceptionReview)
	s.entersValues(activities.RoundVerdict{Meter: "M1", Seq: 1})
	s.OnActivity(rounds.StoreRound, mock.Anything, activities.RoundRef{RoundID: "L1"}).
		Return(activities.RoundStored{Cases: []billing.CaseID{"X7"}, Answered: []billing.CaseID{"X3"}, Runs: []billing.RunID{"park/2026-09/1"}}, nil).Once()
	s.OnSignalExternalWorkflow(mock.Anything, "case/X3", "", SignalDoubtSettled, mock.Anything).Return(nil).Once()
	s.OnSignalExternalWorkflow(mock.Anything, "billing-run/park/2026-09/1", "", SignalCaseResolved, mock.Anything).Return(nil).Once()
	steps := []*outcome{
		s.update(time.Second, UpdatePlanRound, activities.PlanRound{Route: "W1", By: "sup1"}),
		s.update(time.Minute, UpdateAssignRound, assignTo("reader1")),
		s.update(time.Hour, UpdateEnterValues, oneValue),
		s.update(2*time.Hour, UpdateSubmitRound, roundBy("reader1")),
		s.update(3*time.Hour, UpdateAcceptRound, roundBy("sup2")),
	}
	s.whole(activities.RoundStart{RoundID: "L1"})
	for _, o := range steps {
		o.ok(t)
	}
	require.Equal(t, billing.RoundClosed, s.facts.State)
	require.Equal(t, map[string]int{"case/X7": 1}, started)
}

// Who may not do a thing, or can't do it now, hears so in the same click, and nothing is asked of the tables.
func TestReadingRound_refuses(t *testing.T) {
	s := newRoundStage(t, activities.RoundFacts{})
	s.entersValues(activities.RoundVerdict{Meter: "M1", Seq: 1})
	early := s.update(500*time.Millisecond, UpdateAssignRound, assignTo("reader1"))
	s.update(time.Second, UpdatePlanRound, activities.PlanRound{Route: "W1", By: "sup1"})
	unassigned := s.update(30*time.Second, UpdateEnterValues, oneValue)
	s.update(time.Minute, UpdateAssignRound, assignTo("reader1"))
	proxy := oneValue
	proxy.By = "reader2"
	byProxy := s.update(2*time.Minute, UpdateEnterValues, proxy)
	nothingYet := s.update(3*time.Minute, UpdateSubmitRound, roundBy("reader1"))
	s.update(4*time.Minute, UpdateEnterValues, oneValue)
	notMine := s.update(5*time.Minute, UpdateSubmitRound, roundBy("reader2"))
	tooEarly := s.update(6*time.Minute, UpdateAcceptRound, roundBy("sup2"))
	s.update(7*time.Minute, UpdateSubmitRound, roundBy("reader1"))
	again := s.update(8*time.Minute, UpdateEnterValues, oneValue)
	myself := s.update(9*time.Minute, UpdateAcceptRound, roundBy("reader1"))
	noReason := s.update(10*time.Minute, UpdateReturnRound, activities.RoundDecision{By: "sup2", Reason: " "})
	nobody := s.update(11*time.Minute, UpdateCancelRound, activities.RoundDecision{Reason: "why"})
	cancel := s.update(12*time.Minute, UpdateCancelRound, roundBy("sup1"))
	s.whole(activities.RoundStart{RoundID: "L1"})
	early.refusedAs(t, billing.CodeNotFound)
	unassigned.refusedAs(t, billing.CodeClosed)
	byProxy.refusedAs(t, billing.CodeForbidden)
	nothingYet.refusedAs(t, billing.CodeClosed)
	notMine.refusedAs(t, billing.CodeForbidden)
	tooEarly.refusedAs(t, billing.CodeClosed)
	again.refusedAs(t, billing.CodeClosed)
	myself.refusedAs(t, billing.CodeSelfApproval)
	noReason.refusedAs(t, billing.CodeInvalidInput)
	nobody.refusedAs(t, billing.CodeUnauthenticated)
	cancel.ok(t)
	require.Equal(t, billing.RoundCancelled, s.facts.State)
}

func TestReadingRound_refusedPlanLeavesNothing(t *testing.T) {
	s := newStage(t)
	s.RegisterActivity(&activities.Rounds{})
	s.OnActivity(rounds.DescribeRound, mock.Anything, mock.Anything).Return(activities.RoundFacts{}, nil)
	s.OnActivity(rounds.PlanRound, mock.Anything, mock.Anything).
		Return(activities.RoundFacts{}, temporal.NewNonRetryableApplicationError("no meter", string(billing.CodeInvalidInput), nil)).Once()
	o := s.update(time.Second, UpdatePlanRound, activities.PlanRound{Route: "W1", By: "sup1"})
	s.ExecuteWorkflow(ReadingRound, activities.RoundStart{RoundID: "L1"})
	s.finished()
	require.ErrorContains(t, o.failed, "no meter")
}

// A round that isn't handed in two days after its day is said to be overdue, once; it can still be walked.
func TestReadingRound_overdueIsSaidOnce(t *testing.T) {
	s := newRoundStage(t, activities.RoundFacts{})
	s.entersValues(activities.RoundVerdict{Meter: "M1", Seq: 1})
	s.OnActivity(rounds.StoreRound, mock.Anything, mock.Anything).Return(activities.RoundStored{}, nil).Once()
	start := s.Now()
	s.OnActivity(rounds.NoteRoundLate, mock.Anything, mock.Anything).Return(func(context.Context, activities.RoundRef) (activities.RoundFacts, error) {
		require.Equal(t, 48*time.Hour, s.Now().Sub(start).Round(time.Minute))
		return s.facts, nil
	}).Once()
	var steps []*outcome
	for i, step := range []struct {
		name string
		in   any
	}{
		{UpdateAssignRound, assignTo("reader1")},
		{UpdateEnterValues, oneValue},
		{UpdateSubmitRound, roundBy("reader1")},
		{UpdateReturnRound, roundBy("sup2")},
		{UpdateEnterValues, oneValue},
		{UpdateSubmitRound, roundBy("reader1")},
		{UpdateAcceptRound, roundBy("sup2")},
	} {
		o := s.update(time.Duration(60+i)*time.Hour, step.name, step.in)
		steps = append(steps, o)
	}
	s.whole(activities.RoundStart{RoundID: "L1", Plan: &activities.PlanRound{Route: "W1"}})
	for _, o := range steps {
		o.ok(t)
	}
}

// A long list entered value by value goes on in a new run, which asks the tables where it stands.
func TestReadingRound_continuesAsNew(t *testing.T) {
	s := newRoundStage(t, activities.RoundFacts{RoundID: "L1", Site: "park", State: billing.RoundInProgress, Reader: "reader1", Late: true})
	s.entersValues(activities.RoundVerdict{Meter: "M1", Seq: 1})
	s.SetContinueAsNewSuggested(true)
	s.ExecuteWorkflow(ReadingRound, activities.RoundStart{RoundID: "L1"})
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, s.GetWorkflowError(), &next)
	require.Equal(t, "ReadingRound", next.WorkflowType.Name)
}

// A run that begins where the tables say that the round was accepted stores the values.
func TestReadingRound_takesUpAnAcceptedRound(t *testing.T) {
	s := newRoundStage(t, activities.RoundFacts{RoundID: "L1", Site: "park", State: billing.RoundChecked, Reader: "reader1"})
	s.OnActivity(rounds.StoreRound, mock.Anything, mock.Anything).Return(activities.RoundStored{}, nil).Once()
	s.whole(activities.RoundStart{RoundID: "L1"})
	require.Equal(t, billing.RoundClosed, s.facts.State)
}

// Values that were all refused don't begin the round.
func TestReadingRound_refusedValuesDontBeginIt(t *testing.T) {
	s := newRoundStage(t, activities.RoundFacts{})
	s.entersValues(activities.RoundVerdict{Meter: "M1", Refused: "no"}, activities.RoundVerdict{Meter: "M2", Confirm: true})
	s.update(time.Second, UpdatePlanRound, activities.PlanRound{Route: "W1", By: "sup1"})
	s.update(time.Minute, UpdateAssignRound, assignTo("reader1"))
	entered := s.update(2*time.Minute, UpdateEnterValues, oneValue)
	submit := s.update(3*time.Minute, UpdateSubmitRound, roundBy("reader1"))
	s.update(4*time.Minute, UpdateCancelRound, roundBy("sup1"))
	s.whole(activities.RoundStart{RoundID: "L1"})
	entered.ok(t)
	submit.refusedAs(t, billing.CodeClosed)
}
