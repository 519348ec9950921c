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

var testAdjustment = activities.AdjustmentRef{AdjustmentID: "J20260403-0001"}

// bench is a stage whose database answers as the tables would: it keeps one adjustment.
type bench struct {
	*stage
	row    activities.AdjustmentFacts
	booked int
}

func newBench(t *testing.T, follows activities.CreditFollows) *bench {
	b := &bench{stage: moneyStage(t)}
	b.RegisterActivity(&activities.Adjusting{})
	b.OnActivity(adjusting.DraftAdjustment, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.SubmitAdjustment) (activities.AdjustmentFacts, error) {
		if in.Fault.Meter == "" {
			return activities.AdjustmentFacts{}, temporal.NewNonRetryableApplicationError("say which meter was faulty", string(billing.CodeInvalidInput), nil)
		}
		b.row = activities.AdjustmentFacts{AdjustmentID: in.AdjustmentID, State: billing.AdjustmentPreviewed, DraftedBy: in.By, Digest: "digest"}
		return b.row, nil
	})
	b.OnActivity(adjusting.ApproveAdjustment, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.AdjustmentDecision) (activities.AdjustmentFacts, error) {
		if in.Number == 2 {
			b.booked++
			b.row.State = billing.AdjustmentBooked
			return b.row, nil
		}
		b.row.State, b.row.Approved1 = billing.AdjustmentApprovedOnce, in.By
		return b.row, nil
	})
	b.OnActivity(adjusting.RejectAdjustment, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.AdjustmentDecision) (activities.AdjustmentFacts, error) {
		b.row.State = billing.AdjustmentRejected
		if in.By == b.row.DraftedBy {
			b.row.State = billing.AdjustmentWithdrawn
		}
		return b.row, nil
	})
	b.OnActivity(adjusting.FollowAdjustment, mock.Anything, mock.Anything).Maybe().Return(follows, nil)
	return b
}

func faulty() activities.SubmitAdjustment {
	return activities.SubmitAdjustment{By: "sup1", Reason: "tested", Fault: billing.Fault{Kind: billing.AdjustError, Meter: "M1"}}
}

func consent(by billing.UserID, digest string) activities.AdjustmentDecision {
	return activities.AdjustmentDecision{By: by, Digest: digest, Reason: "looked at it"}
}

func TestAdjustment_threePersons(t *testing.T) {
	b := newBench(t, activities.CreditFollows{Restores: []string{"O1"}})
	started := b.children(Restore)
	submit := b.update(time.Minute, UpdateSubmit, faulty())
	own := b.update(2*time.Minute, UpdateApprove, consent("sup1", "digest"))
	other := b.update(3*time.Minute, UpdateApprove, consent("sup2", "another"))
	first := b.update(4*time.Minute, UpdateApprove, consent("sup2", "digest"))
	twice := b.update(5*time.Minute, UpdateApprove, consent("sup2", "digest"))
	last := b.update(6*time.Minute, UpdateApprove, consent("boss", "digest"))
	b.ExecuteWorkflow(Adjustment, testAdjustment)
	b.finished()
	submit.ok(t)
	own.refusedAs(t, billing.CodeSelfApproval)
	other.refusedAs(t, billing.CodeStale)
	first.ok(t)
	twice.refusedAs(t, billing.CodeAlreadyApproved)
	last.ok(t)
	require.Equal(t, 1, b.booked)
	require.Equal(t, 1, started["restore/O1"], "supply is given back")
}

func TestAdjustment_aRefusedFaultLeavesNothing(t *testing.T) {
	b := newBench(t, activities.CreditFollows{})
	refused := b.update(time.Minute, UpdateSubmit, activities.SubmitAdjustment{By: "sup1", Reason: "tested"})
	b.ExecuteWorkflow(Adjustment, testAdjustment)
	b.finished()
	require.Error(t, refused.failed)
}

func TestAdjustment_endsByOthersOrByWhoEnteredIt(t *testing.T) {
	for by, want := range map[billing.UserID]billing.AdjustmentState{"sup2": billing.AdjustmentRejected, "sup1": billing.AdjustmentWithdrawn} {
		b := newBench(t, activities.CreditFollows{Restores: []string{"O1"}})
		started := b.children(Restore)
		b.update(time.Minute, UpdateSubmit, faulty())
		wrongWay, rightWay := UpdateWithdraw, UpdateReject
		if by == "sup1" {
			wrongWay, rightWay = UpdateReject, UpdateWithdraw
		}
		wrong := b.update(2*time.Minute, wrongWay, consent(by, ""))
		noReason := b.update(3*time.Minute, rightWay, activities.AdjustmentDecision{By: by})
		end := b.update(4*time.Minute, rightWay, consent(by, ""))
		b.ExecuteWorkflow(Adjustment, testAdjustment)
		b.finished()
		require.Error(t, wrong.rejected)
		noReason.refusedAs(t, billing.CodeInvalidInput)
		end.ok(t)
		require.Equal(t, want, b.row.State)
		require.Zero(t, b.booked)
		require.Empty(t, started)
	}
}
