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

var testRecharge = activities.RechargeRef{RechargeID: "R20260105-0001"}

// moneyStage is a stage with the activities of money and supply.
func moneyStage(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	for _, a := range []any{&activities.Posting{}, &activities.Reminding{}, &activities.Messaging{}} {
		s.RegisterActivity(a)
	}
	s.OnActivity(switching.FindLine, mock.Anything, mock.Anything).Maybe().Return(billing.GatewayID("G1"), nil)
	return s
}

// till is a stage whose database answers as the tables would: it keeps one recharge.
type till struct {
	*stage
	row activities.RechargeEntered
}

func newTill(t *testing.T) *till {
	c := &till{stage: moneyStage(t)}
	c.OnActivity(posting.EnterRecharge, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.EnterRecharge) (activities.RechargeEntered, error) {
		if in.Amount <= 0 {
			return activities.RechargeEntered{}, temporal.NewNonRetryableApplicationError("the amount must be more than zero", string(billing.CodeInvalidInput), nil)
		}
		if c.row.RechargeID == "" {
			c.row = activities.RechargeEntered{RechargeID: in.RechargeID, Account: in.Account, State: billing.RechargeEntered, EnteredBy: in.By, ExpiresAt: c.Now().Add(72 * time.Hour)}
		}
		return c.row, nil
	})
	c.OnActivity(posting.ApproveRecharge, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.RechargeDecision) (activities.RechargeEntered, error) {
		switch {
		case in.Number == 1:
			c.row.State, c.row.Approved1 = billing.RechargeApprovedOnce, in.By
		case c.row.State == billing.RechargeApprovedOnce:
			c.row.State = billing.RechargeApproved
		}
		return c.row, nil
	})
	return c
}

func (c *till) enter() *outcome {
	return c.update(0, UpdateEnter, activities.EnterRecharge{Account: "A1", Amount: 5000, Channel: "cash", Key: "k", By: "maker"})
}

func (c *till) approve(after time.Duration, by billing.UserID) *outcome {
	return c.update(after, UpdateApprove, DecideRecharge{By: by})
}

func TestRecharge_platformCredit(t *testing.T) {
	c := newTill(t)
	started := c.children(Restore)
	settled := activities.Settled{State: billing.RechargeCredited, Message: "S1", Reminder: "N1", Cutoff: "C1", Restore: "O1"}
	c.OnActivity(posting.PostRecharge, mock.Anything, testRecharge).Return(settled, nil).Once()
	c.OnActivity(messaging.SendMessage, mock.Anything, activities.MessageRef{MessageID: "S1"}).Return(nil).Once()
	c.OnSignalExternalWorkflow(mock.Anything, "reminder/N1", "", SignalPaymentSettled, mock.Anything).Return(nil).Once()
	c.OnSignalExternalWorkflow(mock.Anything, "cutoff/C1", "", SignalPaymentSettled, mock.Anything).Return(nil).Once()
	in, first, second := c.enter(), c.approve(time.Minute, "clerk2"), c.approve(time.Hour, "clerk3")
	c.ExecuteWorkflow(Recharge, testRecharge)
	c.finished()
	in.ok(t)
	first.ok(t)
	second.ok(t)
	require.Equal(t, map[string]int{"restore/O1": 1}, started)
}

func TestRecharge_refusesInTheSameClick(t *testing.T) {
	c := newTill(t)
	c.OnActivity(posting.RejectRecharge, mock.Anything, mock.Anything).Return(func(context.Context, activities.RechargeDecision) (activities.RechargeEntered, error) {
		c.row.State = billing.RechargeRejected
		return c.row, nil
	}).Once()
	c.enter()
	own := c.approve(time.Minute, "maker")
	c.approve(2*time.Minute, "clerk2")
	again := c.approve(3*time.Minute, "clerk2")
	nobody := c.approve(4*time.Minute, "")
	noReason := c.update(5*time.Minute, UpdateReject, DecideRecharge{By: "clerk3"})
	rejected := c.update(6*time.Minute, UpdateReject, DecideRecharge{By: "clerk3", Reason: "wrong slip"})
	c.ExecuteWorkflow(Recharge, testRecharge)
	c.finished()
	own.refusedAs(t, billing.CodeSelfApproval)
	again.refusedAs(t, billing.CodeAlreadyApproved)
	nobody.refusedAs(t, billing.CodeUnauthenticated)
	noReason.refusedAs(t, billing.CodeInvalidInput)
	rejected.ok(t)
	c.AssertNotCalled(t, "PostRecharge")
}

func TestRecharge_expires(t *testing.T) {
	c := newTill(t)
	start := c.Now()
	c.OnActivity(posting.ExpireRecharge, mock.Anything, testRecharge).Return(func(context.Context, activities.RechargeRef) (activities.RechargeEntered, error) {
		require.Equal(t, 72*time.Hour, c.Now().Sub(start).Round(time.Minute))
		c.row.State = billing.RechargeExpired
		return c.row, nil
	}).Once()
	c.enter()
	c.approve(time.Hour, "clerk2")
	c.ExecuteWorkflow(Recharge, testRecharge)
	c.finished()
	c.AssertNotCalled(t, "PostRecharge")
}

// Two approvals in one instant are taken one after the other: the second is the second.
func TestRecharge_approvalsAtTheSameMoment(t *testing.T) {
	c := newTill(t)
	c.OnActivity(posting.PostRecharge, mock.Anything, testRecharge).Return(activities.Settled{State: billing.RechargeCredited}, nil).Once()
	c.enter()
	a, b := &outcome{}, &outcome{}
	c.RegisterDelayedCallback(func() {
		c.UpdateWorkflow(UpdateApprove, "a", a.callback(), DecideRecharge{By: "clerk2"})
		c.UpdateWorkflow(UpdateApprove, "b", b.callback(), DecideRecharge{By: "clerk3"})
	}, time.Minute)
	c.ExecuteWorkflow(Recharge, testRecharge)
	c.finished()
	a.ok(t)
	b.ok(t)
}

func TestRecharge_refusedEntryLeavesNothing(t *testing.T) {
	c := newTill(t)
	o := c.update(0, UpdateEnter, activities.EnterRecharge{Account: "A1", Key: "k", By: "maker"})
	c.ExecuteWorkflow(Recharge, testRecharge)
	c.finished()
	require.Error(t, o.failed)
}

func TestRecharge_withoutEntryEnds(t *testing.T) {
	c := newTill(t)
	c.ExecuteWorkflow(Recharge, testRecharge)
	c.finished()
}

func (c *till) meterCredit() {
	c.OnActivity(posting.PostRecharge, mock.Anything, testRecharge).Return(activities.Settled{State: billing.RechargeDelivering}, nil).Once()
	c.enter()
	c.approve(time.Minute, "clerk2")
	c.approve(2*time.Minute, "clerk3")
}

func TestRecharge_deliveredThroughTheMeter(t *testing.T) {
	c := newTill(t)
	c.meterCredit()
	c.OnActivity(delivery.DeliverRecharge, mock.Anything, testRecharge).Return(activities.Settled{State: billing.RechargeDelivering, Later: true}, nil).Once()
	c.OnActivity(delivery.DeliverRecharge, mock.Anything, testRecharge).Return(activities.Settled{State: billing.RechargeDelivering}, nil).Once() // refused: again at once
	start := c.Now()
	c.OnActivity(delivery.DeliverRecharge, mock.Anything, testRecharge).Return(func(context.Context, activities.RechargeRef) (activities.Settled, error) {
		require.Equal(t, 17*time.Minute, c.Now().Sub(start).Round(time.Minute), "15 minutes after the first attempt")
		return activities.Settled{State: billing.RechargeCredited, Message: "S1"}, nil
	}).Once()
	c.OnActivity(messaging.SendMessage, mock.Anything, mock.Anything).Return(nil).Once()
	c.ExecuteWorkflow(Recharge, testRecharge)
	c.finished()
}

func TestRecharge_inDoubtUntilTheReadBackProves(t *testing.T) {
	c := newTill(t)
	started := c.children(ExceptionReview)
	c.meterCredit()
	doubt := activities.Settled{State: billing.RechargeInDoubt, Case: "X1"}
	c.OnActivity(delivery.DeliverRecharge, mock.Anything, testRecharge).Return(doubt, nil).Twice()
	c.OnActivity(delivery.DeliverRecharge, mock.Anything, testRecharge).Return(activities.Settled{State: billing.RechargeCredited, Case: "X1"}, nil).Once()
	c.ExecuteWorkflow(Recharge, testRecharge)
	c.finished()
	require.GreaterOrEqual(t, started["case/X1"], 1)
}

func TestRecharge_inDoubtUntilAPersonSettles(t *testing.T) {
	c := newTill(t)
	c.children(ExceptionReview)
	c.meterCredit()
	start := c.Now()
	c.OnActivity(delivery.DeliverRecharge, mock.Anything, testRecharge).Return(activities.Settled{State: billing.RechargeInDoubt, Case: "X1"}, nil).Once()
	c.OnActivity(delivery.DeliverRecharge, mock.Anything, testRecharge).Return(func(context.Context, activities.RechargeRef) (activities.Settled, error) {
		require.Equal(t, 10*time.Minute, c.Now().Sub(start).Round(time.Minute), "at once, not at the next hour")
		return activities.Settled{State: billing.RechargeCredited}, nil
	}).Once()
	c.RegisterDelayedCallback(func() { c.SignalWorkflow(SignalDoubtSettled, nil) }, 10*time.Minute)
	c.ExecuteWorkflow(Recharge, testRecharge)
	c.finished()
}

// The line's owner goes away in the middle of a delivery: the next owner takes it up.
func TestRecharge_newOwnerOfTheLine(t *testing.T) {
	c := newTill(t)
	c.meterCredit()
	gone := temporal.NewTimeoutError(3, nil) // schedule to start
	c.OnActivity(delivery.DeliverRecharge, mock.Anything, testRecharge).Return(activities.Settled{}, gone).Once()
	c.OnActivity(delivery.DeliverRecharge, mock.Anything, testRecharge).Return(activities.Settled{State: billing.RechargeCredited}, nil).Once()
	c.ExecuteWorkflow(Recharge, testRecharge)
	c.finished()
}
