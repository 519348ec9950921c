package workflows

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

var testRun = activities.RunStart{RunID: "park/2026-01/1", Site: "park", Period: billing.MonthPeriod(billing.MustDate("2026-01-01")), Version: 1}

// runUpTo lets a run go as far as its supervisors; blocked says how many cases block at each look.
func (s *stage) runUpTo(blocked ...int) (looks *[]activities.CheckBlocking) {
	looks = &[]activities.CheckBlocking{}
	s.OnActivity(bills.OpenRun, mock.Anything, testRun).Return(activities.RunOpened{OpenedAt: s.Now(), HoldAfter: 48 * time.Hour}, nil).Once()
	s.OnActivity(bills.CheckBlocking, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.CheckBlocking) (activities.Blocked, error) {
		*looks = append(*looks, in)
		if in.GiveUp || len(*looks) > len(blocked) {
			return activities.Blocked{}, nil
		}
		return activities.Blocked{Cases: blocked[len(*looks)-1]}, nil
	})
	s.OnActivity(bills.PlanRun, mock.Anything, activities.RunRef{RunID: testRun.RunID}).Return(activities.RunPlanned{Chunks: testChunks}, nil).Once()
	s.RegisterWorkflow(BillingChunk)
	s.eachChunk(bills.RateChunk)
	s.OnActivity(bills.SumRun, mock.Anything, activities.RunRef{RunID: testRun.RunID}).Return(nil).Once()
	return looks
}

// testChunks is more than are under way at a time.
const testChunks = chunksAtOnce + 3

// eachChunk expects a step of all chunks, each once.
func (s *stage) eachChunk(activity any) {
	for no := range testChunks {
		s.OnActivity(activity, mock.Anything, activities.ChunkRef{RunID: testRun.RunID, Chunk: no + 1}).Return(nil).Once()
	}
}

func signature(by billing.UserID) activities.RunDecision {
	return activities.RunDecision{RunID: testRun.RunID, By: by}
}

func (s *stage) issues(first, second billing.UserID) {
	s.OnActivity(bills.VerifyRun, mock.Anything, signature(first)).Return(nil)
	s.OnActivity(bills.ApproveIssue, mock.Anything, signature(second)).Return(nil).Once()
	s.eachChunk(bills.IssueChunk)
	s.OnActivity(bills.FinishIssue, mock.Anything, activities.RunRef{RunID: testRun.RunID}).Return(nil).Once()
}

func TestBillingRun_twoSupervisors(t *testing.T) {
	s := newStage(t)
	s.runUpTo()
	s.issues("sup1", "sup2")
	tooEarly := s.update(time.Minute, UpdateIssue, signature("sup2"))
	verify := s.update(2*time.Minute, UpdateVerify, signature("sup1"))
	twice := s.update(3*time.Minute, UpdateVerify, signature("sup1"))
	other := s.update(4*time.Minute, UpdateVerify, signature("sup2"))
	own := s.update(5*time.Minute, UpdateIssue, signature("sup1"))
	issue := s.update(6*time.Minute, UpdateIssue, signature("sup2"))
	s.ExecuteWorkflow(BillingRun, testRun)
	s.finished()
	tooEarly.refusedAs(t, billing.CodeBlocked)
	verify.ok(t)
	twice.ok(t)
	other.refusedAs(t, billing.CodeClosed)
	own.refusedAs(t, billing.CodeSelfApproval)
	issue.ok(t)
}

func TestBillingRun_waitsForCasesHourByHour(t *testing.T) {
	s := newStage(t)
	looks := s.runUpTo(2, 2, 1)
	s.issues("sup1", "sup2")
	s.update(60*time.Hour, UpdateVerify, signature("sup1"))
	s.update(61*time.Hour, UpdateIssue, signature("sup2"))
	s.ExecuteWorkflow(BillingRun, testRun)
	s.finished()
	require.Len(t, *looks, 4)
}

func TestBillingRun_aDecidedCaseWakesIt(t *testing.T) {
	s := newStage(t)
	looks := s.runUpTo(1)
	s.issues("sup1", "sup2")
	s.RegisterDelayedCallback(func() { s.SignalWorkflow(SignalCaseResolved, testCase) }, 10*time.Minute)
	verify := s.update(20*time.Minute, UpdateVerify, signature("sup1"))
	s.update(21*time.Minute, UpdateIssue, signature("sup2"))
	s.ExecuteWorkflow(BillingRun, testRun)
	s.finished()
	verify.ok(t) // long before the hour was over
	require.Len(t, *looks, 2)
}

func TestBillingRun_goesOnWithoutTheAccountsInDoubt(t *testing.T) {
	s := newStage(t)
	always := make([]int, 1000)
	for i := range always {
		always[i] = 1
	}
	looks := s.runUpTo(always...)
	s.issues("sup1", "sup2")
	early := s.update(47*time.Hour, UpdateVerify, signature("sup1"))
	verify := s.update(49*time.Hour, UpdateVerify, signature("sup1"))
	s.update(50*time.Hour, UpdateIssue, signature("sup2"))
	s.ExecuteWorkflow(BillingRun, testRun)
	s.finished()
	early.refusedAs(t, billing.CodeClosed)
	verify.ok(t)
	require.True(t, (*looks)[len(*looks)-1].GiveUp)
	require.Len(t, *looks, 49)
}

// When bills went back because their readings have changed, the second signature is refused and the first one is void.
func TestBillingRun_changedReadingsVoidTheVerification(t *testing.T) {
	s := newStage(t)
	s.runUpTo()
	s.OnActivity(bills.VerifyRun, mock.Anything, signature("sup1")).Return(nil)
	tries := 0
	s.OnActivity(bills.ApproveIssue, mock.Anything, signature("sup2")).Return(func(context.Context, activities.RunDecision) error {
		if tries++; tries == 1 {
			return refuse(billing.CodeStale, "2 bills went back")
		}
		return nil
	})
	s.eachChunk(bills.IssueChunk)
	s.OnActivity(bills.FinishIssue, mock.Anything, activities.RunRef{RunID: testRun.RunID}).Return(nil).Once()
	s.update(time.Minute, UpdateVerify, signature("sup1"))
	stale := s.update(2*time.Minute, UpdateIssue, signature("sup2"))
	void := s.update(3*time.Minute, UpdateIssue, signature("sup2"))
	verify := s.update(4*time.Minute, UpdateVerify, signature("sup1"))
	issue := s.update(5*time.Minute, UpdateIssue, signature("sup2"))
	s.ExecuteWorkflow(BillingRun, testRun)
	s.finished()
	require.Equal(t, billing.CodeStale, billing.CodeOf(fromTemporal(stale.failed)))
	void.refusedAs(t, billing.CodeBlocked)
	verify.ok(t)
	issue.ok(t)
}

func TestBillingRun_aHeldBillVoidsTheVerification(t *testing.T) {
	s := newStage(t)
	s.runUpTo()
	s.issues("sup1", "sup2")
	hold := activities.BillDecision{RunID: testRun.RunID, BillID: "BA1-202601-1", By: "sup2", Reason: "a complaint"}
	s.OnActivity(bills.HoldBill, mock.Anything, hold).Return(nil).Once()
	noReason := hold
	noReason.Reason = ""
	s.update(time.Minute, UpdateVerify, signature("sup1"))
	bad := s.update(2*time.Minute, UpdateHoldBill, noReason)
	held := s.update(3*time.Minute, UpdateHoldBill, hold)
	void := s.update(4*time.Minute, UpdateIssue, signature("sup2"))
	s.update(5*time.Minute, UpdateVerify, signature("sup1"))
	issue := s.update(6*time.Minute, UpdateIssue, signature("sup2"))
	s.ExecuteWorkflow(BillingRun, testRun)
	s.finished()
	bad.refusedAs(t, billing.CodeInvalidInput)
	held.ok(t)
	void.refusedAs(t, billing.CodeBlocked)
	issue.ok(t)
}

func (s *stage) cancels(after time.Duration) *outcome {
	cancel := activities.RunCancel{RunID: testRun.RunID, By: "sup1", Reason: "the tariff was wrong"}
	s.OnActivity(bills.CancelRun, mock.Anything, cancel).Return(nil).Once()
	return s.update(after, UpdateCancelRun, cancel)
}

func TestBillingRun_cancelledWhileItWaitsForSignatures(t *testing.T) {
	s := newStage(t)
	s.runUpTo()
	noReason := s.update(time.Minute, UpdateCancelRun, activities.RunCancel{By: "sup1", Reason: " "})
	s.OnActivity(bills.VerifyRun, mock.Anything, signature("sup1")).Return(nil)
	s.update(2*time.Minute, UpdateVerify, signature("sup1"))
	cancel := s.cancels(3 * time.Minute)
	s.eachChunk(bills.CancelChunk)
	s.ExecuteWorkflow(BillingRun, testRun)
	s.finished()
	noReason.refusedAs(t, billing.CodeInvalidInput)
	cancel.ok(t)
}

func TestBillingRun_cancelledWhileItIsBlocked(t *testing.T) {
	s := newStage(t)
	s.OnActivity(bills.OpenRun, mock.Anything, testRun).Return(activities.RunOpened{OpenedAt: s.Now(), HoldAfter: 48 * time.Hour}, nil).Once()
	s.OnActivity(bills.CheckBlocking, mock.Anything, mock.Anything).Return(activities.Blocked{Cases: 1}, nil)
	s.OnActivity(bills.PlanRun, mock.Anything, mock.Anything).Return(activities.RunPlanned{Chunks: testChunks}, nil).Once()
	s.RegisterWorkflow(BillingChunk)
	s.eachChunk(bills.CancelChunk)
	cancel := s.cancels(10 * time.Minute)
	s.ExecuteWorkflow(BillingRun, testRun)
	s.finished()
	cancel.ok(t)
}

// While the chunks are rated, a run that is cancelled begins no further ones, and issues nothing.
func TestBillingRun_cancelledWhileItIsRated(t *testing.T) {
	s := newStage(t)
	s.OnActivity(bills.OpenRun, mock.Anything, testRun).Return(activities.RunOpened{OpenedAt: s.Now()}, nil).Once()
	s.OnActivity(bills.CheckBlocking, mock.Anything, mock.Anything).Return(activities.Blocked{}, nil)
	s.OnActivity(bills.PlanRun, mock.Anything, mock.Anything).Return(activities.RunPlanned{Chunks: testChunks}, nil).Once()
	s.RegisterWorkflow(BillingChunk)
	var rated atomic.Int32 // chunks are rated at once
	s.OnActivity(bills.RateChunk, mock.Anything, mock.Anything).After(10 * time.Minute).Return(func(context.Context, activities.ChunkRef) error {
		rated.Add(1)
		return nil
	})
	s.OnActivity(bills.SumRun, mock.Anything, mock.Anything).Return(nil).Once()
	s.eachChunk(bills.CancelChunk)
	cancel := s.cancels(time.Minute)
	s.ExecuteWorkflow(BillingRun, testRun)
	s.finished()
	cancel.ok(t)
	require.EqualValues(t, chunksAtOnce, rated.Load())
}

// A run's workflow hands out chunk by chunk; never more than a few at a time are under way.
func TestBillingRun_aFewChunksAtATime(t *testing.T) {
	s := newStage(t)
	s.runUpTo()
	s.issues("sup1", "sup2")
	under, most := 0, 0
	s.SetOnChildWorkflowStartedListener(func(*workflow.Info, workflow.Context, converter.EncodedValues) {
		under++
		most = max(most, under)
	})
	s.SetOnChildWorkflowCompletedListener(func(*workflow.Info, converter.EncodedValue, error) { under-- })
	s.update(time.Minute, UpdateVerify, signature("sup1"))
	s.update(2*time.Minute, UpdateIssue, signature("sup2"))
	s.ExecuteWorkflow(BillingRun, testRun)
	s.finished()
	require.LessOrEqual(t, most, chunksAtOnce)
	require.Greater(t, most, 1)
}
