package workflows

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

var testCase = activities.CaseRef{CaseID: "X1"}

func (s *stage) caseIs(f activities.CaseFacts) {
	f.Site, f.DueAt = "park", s.Now().Add(24*time.Hour)
	s.OnActivity(review.DescribeCase, mock.Anything, testCase).Return(f, nil)
}

var readingFacts = activities.CaseFacts{
	Kind: "too_high", Allowed: []string{activities.DecideAccept, activities.DecideReread, activities.DecideEstimate}, Gateways: []billing.GatewayID{"G1", "G2"},
}

func decision(what string) activities.Decision {
	return activities.Decision{By: "sup1", Decision: what, Reason: "looked at it"}
}

func TestExceptionReview_decidedInTime(t *testing.T) {
	s := newStage(t)
	s.caseIs(readingFacts)
	want := decision(activities.DecideAccept)
	want.CaseID = "X1"
	s.OnActivity(review.DecideCase, mock.Anything, want).Return(activities.Decided{Runs: []billing.RunID{"park/2026-01/1"}}, nil).Once()
	s.OnSignalExternalWorkflow(mock.Anything, "billing-run/park/2026-01/1", "", SignalCaseResolved, mock.Anything).Return(nil).Once()
	o := s.update(time.Hour, UpdateDecide, decision(activities.DecideAccept))
	s.ExecuteWorkflow(ExceptionReview, testCase)
	s.finished()
	o.ok(t)
}

// Meters that are taken out of a decision keep the case open, for a decision of their own.
func TestExceptionReview_partOfTheMembers(t *testing.T) {
	s := newStage(t)
	s.caseIs(readingFacts)
	some := decision(activities.DecideReread)
	some.Meters = []billing.MeterID{"M1"}
	asked := 0
	s.OnActivity(lines.LineHolder, mock.Anything, mock.Anything).Return("w1", nil)
	s.OnActivity(review.RereadMembers, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RereadMembers) (activities.Reread, error) {
		require.Equal(t, some.Meters, in.Meters)
		asked++
		return activities.Reread{Answered: 1}, nil
	}).Twice()
	s.OnActivity(review.DecideCase, mock.Anything, mock.MatchedBy(func(d activities.Decision) bool { return len(d.Meters) == 1 })).Return(activities.Decided{Open: 2}, nil).Once()
	s.OnActivity(review.DecideCase, mock.Anything, mock.MatchedBy(func(d activities.Decision) bool { return len(d.Meters) == 0 })).Return(activities.Decided{}, nil).Once()
	first := s.update(time.Hour, UpdateDecide, some)
	rest := s.update(2*time.Hour, UpdateDecide, decision(activities.DecideAccept))
	s.ExecuteWorkflow(ExceptionReview, testCase)
	s.finished()
	first.ok(t)
	rest.ok(t)
	require.Equal(t, 2, asked)
}

func TestExceptionReview_escalatesOnceAndWaitsOn(t *testing.T) {
	s := newStage(t)
	s.caseIs(readingFacts)
	start := s.Now()
	s.OnActivity(review.EscalateCase, mock.Anything, testCase).Return(func(context.Context, activities.CaseRef) error {
		require.Equal(t, 24*time.Hour, s.Now().Sub(start).Round(time.Minute))
		return nil
	}).Once()
	s.OnActivity(review.DecideCase, mock.Anything, mock.Anything).Return(activities.Decided{}, nil).Once()
	o := s.update(100*time.Hour, UpdateDecide, decision(activities.DecideAccept))
	s.ExecuteWorkflow(ExceptionReview, testCase)
	s.finished()
	o.ok(t)
}

func TestExceptionReview_refusesInTheSameClick(t *testing.T) {
	s := newStage(t)
	s.caseIs(readingFacts)
	s.OnActivity(review.DecideCase, mock.Anything, mock.Anything).Return(activities.Decided{}, nil).Once()
	noReason := decision(activities.DecideAccept)
	noReason.Reason = " "
	nobody := decision(activities.DecideAccept)
	nobody.By = ""
	reason := s.update(time.Minute, UpdateDecide, noReason)
	who := s.update(2*time.Minute, UpdateDecide, nobody)
	what := s.update(3*time.Minute, UpdateDecide, decision(activities.DecideCredited))
	taken := s.update(4*time.Minute, UpdateDecide, decision(activities.DecideAccept))
	s.ExecuteWorkflow(ExceptionReview, testCase)
	s.finished()
	reason.refusedAs(t, billing.CodeInvalidInput)
	who.refusedAs(t, billing.CodeUnauthenticated)
	what.refusedAs(t, billing.CodeInvalidInput)
	taken.ok(t)
}

func TestExceptionReview_staysOpenWhenTheDecisionFails(t *testing.T) {
	s := newStage(t)
	s.caseIs(readingFacts)
	s.OnActivity(review.RereadMembers, mock.Anything, mock.Anything).Return(activities.Reread{Left: 1}, nil).Twice() // both gateways
	s.OnActivity(review.DecideCase, mock.Anything, mock.MatchedBy(func(d activities.Decision) bool { return d.Decision == activities.DecideReread })).
		Return(activities.Decided{}, temporal.NewNonRetryableApplicationError("the case stays open", string(billing.CodeBlocked), nil)).Once()
	s.OnActivity(review.DecideCase, mock.Anything, mock.MatchedBy(func(d activities.Decision) bool { return d.Decision == activities.DecideEstimate })).
		Return(activities.Decided{}, nil).Once()
	reread := s.update(time.Hour, UpdateDecide, decision(activities.DecideReread))
	estimate := s.update(2*time.Hour, UpdateDecide, decision(activities.DecideEstimate))
	s.ExecuteWorkflow(ExceptionReview, testCase)
	s.finished()
	require.ErrorContains(t, reread.failed, "the case stays open")
	estimate.ok(t)
}

func TestExceptionReview_creditInDoubtIsSettledByItsOwner(t *testing.T) {
	s := newStage(t)
	open := activities.CaseFacts{Kind: "credit_in_doubt", Allowed: []string{activities.DecideCredited}, Gateways: []billing.GatewayID{"G1"}, RechargeID: "R1",
		DueAt: s.Now().Add(24 * time.Hour)}
	settled := open
	settled.Resolved = true
	s.OnActivity(review.DescribeCase, mock.Anything, testCase).Return(open, nil).Once()
	s.OnActivity(review.DescribeCase, mock.Anything, testCase).Return(settled, nil).Once()
	s.OnActivity(delivery.SettleInDoubt, mock.Anything, activities.SettleInDoubt{RechargeID: "R1", By: "sup1", Credited: true, Reason: "looked at it"}).
		Return(activities.Settled{}, nil).Once()
	s.OnSignalExternalWorkflow(mock.Anything, "recharge/R1", "", SignalDoubtSettled, mock.Anything).Return(nil).Once()
	o := s.update(time.Hour, UpdateDecide, decision(activities.DecideCredited))
	s.ExecuteWorkflow(ExceptionReview, testCase)
	s.finished()
	o.ok(t)
}

func TestExceptionReview_endsWhenAReadBackSettlesTheDoubt(t *testing.T) {
	s := newStage(t)
	open := activities.CaseFacts{Kind: "supply_unknown", Allowed: []string{activities.DecideOn}, Gateways: []billing.GatewayID{"G1"}, CommandID: "D1", DueAt: s.Now().Add(24 * time.Hour)}
	settled := open
	settled.Resolved = true
	s.OnActivity(review.DescribeCase, mock.Anything, testCase).Return(open, nil).Once()
	s.OnActivity(review.DescribeCase, mock.Anything, testCase).Return(settled, nil).Once()
	s.RegisterDelayedCallback(func() { s.SignalWorkflow(SignalDoubtSettled, nil) }, 3*time.Hour)
	s.ExecuteWorkflow(ExceptionReview, testCase)
	s.finished()
}

func TestExceptionReview_supplyUnknownGoesToItsOwner(t *testing.T) {
	s := newStage(t)
	open := activities.CaseFacts{Kind: "supply_unknown", Allowed: []string{activities.DecideOff}, Gateways: []billing.GatewayID{"G1"}, CommandID: "D1", DueAt: s.Now().Add(24 * time.Hour)}
	settled := open
	settled.Resolved = true
	s.OnActivity(review.DescribeCase, mock.Anything, testCase).Return(open, nil).Once()
	s.OnActivity(review.DescribeCase, mock.Anything, testCase).Return(settled, nil).Once()
	s.OnActivity(switching.SettleUnknown, mock.Anything, activities.SettleUnknown{CommandID: "D1", By: "sup1", Decision: activities.DecideOff, Reason: "looked at it"}).
		Return(activities.SupplySettled{Owner: "cutoff", OwnerID: "C1", Settled: true}, nil).Once()
	s.OnSignalExternalWorkflow(mock.Anything, "cutoff/C1", "", SignalDoubtSettled, mock.Anything).Return(nil).Once()
	o := s.update(time.Hour, UpdateDecide, decision(activities.DecideOff))
	s.ExecuteWorkflow(ExceptionReview, testCase)
	s.finished()
	o.ok(t)
}
