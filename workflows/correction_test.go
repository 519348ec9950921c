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

var testCorrection = activities.CorrectionRef{CorrectionID: "K20260403-0001"}

// desk is a stage whose database answers as the tables would: it keeps one correction, which needs two approvals.
type desk struct {
	*stage
	row      activities.CorrectionFacts
	previews int
	applied  int
	stops    int // how many attempts to apply stop
}

func newDesk(t *testing.T) *desk {
	d := &desk{stage: moneyStage(t)}
	d.RegisterActivity(&activities.Correcting{})
	d.OnActivity(correcting.DraftCorrection, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.SubmitCorrection) (activities.CorrectionFacts, error) {
		if in.Change.Reading == nil {
			return activities.CorrectionFacts{}, temporal.NewNonRetryableApplicationError("there is no meter", string(billing.CodeNotFound), nil)
		}
		d.row = activities.CorrectionFacts{CorrectionID: in.CorrectionID, State: billing.CorrectionDrafted, DraftedBy: in.By, Needed: 2}
		return d.row, nil
	})
	d.OnActivity(correcting.PreviewCorrection, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.CorrectionRef) (activities.CorrectionFacts, error) {
		d.previews++
		d.row.State, d.row.Approved1, d.row.Digest = billing.CorrectionPreviewed, "", "digest"
		if d.previews > 1 {
			d.row.Digest = "digest 2"
		}
		return d.row, nil
	})
	d.OnActivity(correcting.ApproveCorrection, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.CorrectionDecision) (activities.CorrectionFacts, error) {
		if in.Number == 2 {
			d.row.State = billing.CorrectionApproved
			return d.row, nil
		}
		d.row.State, d.row.Approved1 = billing.CorrectionApprovedOnce, in.By
		return d.row, nil
	})
	d.OnActivity(correcting.RejectCorrection, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.CorrectionDecision) (activities.CorrectionFacts, error) {
		d.row.State = billing.CorrectionRejected
		if in.By == d.row.DraftedBy {
			d.row.State = billing.CorrectionWithdrawn
		}
		return d.row, nil
	})
	d.OnActivity(correcting.MaySteerCorrection, mock.Anything, mock.Anything).Maybe().Return(nil)
	d.OnActivity(correcting.ApplyCorrection, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.CorrectionRef) (activities.CorrectionStep, error) {
		d.applied++
		d.row.Started = true
		d.row.State = billing.CorrectionApplied
		if d.applied <= d.stops {
			d.row.State = billing.CorrectionStopped
		}
		return activities.CorrectionStep{Stopped: d.row.State == billing.CorrectionStopped}, nil
	})
	d.OnActivity(correcting.DescribeCorrection, mock.Anything, mock.Anything).Maybe().Return(func(context.Context, activities.CorrectionRef) (activities.CorrectionFacts, error) { return d.row, nil })
	return d
}

// follows says what the corrected balances bring about.
func (d *desk) follows(f activities.CreditFollows) {
	d.OnActivity(correcting.FollowCorrection, mock.Anything, mock.Anything).Maybe().Return(f, nil)
}

func submission() activities.SubmitCorrection {
	return activities.SubmitCorrection{By: "sup1", Reason: "the photo", Change: billing.CorrectionChange{Reading: &billing.ReadingChange{Meter: "M1"}}}
}

func agreed(by billing.UserID, digest string) activities.CorrectionDecision {
	return activities.CorrectionDecision{By: by, Digest: digest, Reason: "looked at it"}
}

func TestCorrection_threePersonsAndTheirPreview(t *testing.T) {
	d := newDesk(t)
	d.follows(activities.CreditFollows{Restores: []string{"O1"}})
	started := d.children(Restore)
	submit := d.update(time.Minute, UpdateSubmit, submission())
	own := d.update(2*time.Minute, UpdateApprove, agreed("sup1", "digest"))
	old := d.update(3*time.Minute, UpdateApprove, agreed("sup2", "another"))
	first := d.update(4*time.Minute, UpdateApprove, agreed("sup2", "digest"))
	twice := d.update(5*time.Minute, UpdateApprove, agreed("sup2", "digest"))
	again := d.update(6*time.Minute, UpdatePreview, agreed("sup1", ""))
	void := d.update(7*time.Minute, UpdateApprove, agreed("boss", "digest"))
	d.update(8*time.Minute, UpdateApprove, agreed("sup2", "digest 2"))
	last := d.update(9*time.Minute, UpdateApprove, agreed("boss", "digest 2"))
	d.ExecuteWorkflow(Correction, testCorrection)
	d.finished()
	submit.ok(t)
	own.refusedAs(t, billing.CodeSelfApproval)
	old.refusedAs(t, billing.CodeStale)
	first.ok(t)
	twice.refusedAs(t, billing.CodeAlreadyApproved)
	again.ok(t)
	void.refusedAs(t, billing.CodeStale)
	last.ok(t)
	require.Equal(t, 1, d.applied)
	require.Equal(t, 1, started["restore/O1"], "supply is given back")
}

func TestCorrection_aRefusedDraftLeavesNothing(t *testing.T) {
	d := newDesk(t)
	bad := submission()
	bad.Change = billing.CorrectionChange{}
	refused := d.update(time.Minute, UpdateSubmit, bad)
	d.ExecuteWorkflow(Correction, testCorrection)
	d.finished()
	require.Error(t, refused.failed)
	require.Zero(t, d.previews)
}

func TestCorrection_endsByOthersOrByItsMaker(t *testing.T) {
	for by, want := range map[billing.UserID]billing.CorrectionState{"sup2": billing.CorrectionRejected, "sup1": billing.CorrectionWithdrawn} {
		d := newDesk(t)
		d.update(time.Minute, UpdateSubmit, submission())
		wrongWay, rightWay := UpdateWithdraw, UpdateReject
		if by == "sup1" {
			wrongWay, rightWay = UpdateReject, UpdateWithdraw
		}
		wrong := d.update(2*time.Minute, wrongWay, agreed(by, ""))
		noReason := d.update(3*time.Minute, rightWay, activities.CorrectionDecision{By: by})
		end := d.update(4*time.Minute, rightWay, agreed(by, ""))
		d.ExecuteWorkflow(Correction, testCorrection)
		d.finished()
		require.Error(t, wrong.rejected)
		noReason.refusedAs(t, billing.CodeInvalidInput)
		end.ok(t)
		require.Equal(t, want, d.row.State)
		require.Zero(t, d.applied)
	}
}

func TestCorrection_stopsAndGoesOnWhenResumed(t *testing.T) {
	d := newDesk(t)
	d.stops = 2
	d.follows(activities.CreditFollows{})
	d.update(time.Minute, UpdateSubmit, submission())
	early := d.update(2*time.Minute, UpdateResume, agreed("sup1", ""))
	d.update(3*time.Minute, UpdateApprove, agreed("sup2", "digest"))
	d.update(4*time.Minute, UpdateApprove, agreed("boss", "digest"))
	reject := d.update(5*time.Minute, UpdateReject, agreed("sup2", ""))
	resume := d.update(6*time.Minute, UpdateResume, agreed("sup1", ""))
	rest := d.update(7*time.Minute, UpdatePreview, agreed("sup1", ""))
	d.update(8*time.Minute, UpdateApprove, agreed("sup2", "digest 2"))
	d.update(9*time.Minute, UpdateApprove, agreed("boss", "digest 2"))
	d.ExecuteWorkflow(Correction, testCorrection)
	d.finished()
	early.refusedAs(t, billing.CodeClosed)
	reject.refusedAs(t, billing.CodeBlocked)
	resume.ok(t)
	rest.ok(t)
	require.Equal(t, 3, d.applied)
	require.Equal(t, 2, d.previews)
}
