package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
)

func TestDelivery_platformCreditAtOnce(t *testing.T) {
	g := newGrid(t)
	ref := g.approved(g.plain, 5000)
	for range 2 {
		s := run[activities.Settled](g, g.posting.PostRecharge, ref)
		require.Equal(t, billing.RechargeCredited, s.State)
		require.NotEmpty(t, s.Message)
	}
	g.has(g.plain, 15_000)
	g.intact()
}

func TestDelivery_oncePerRecharge(t *testing.T) {
	g := newGrid(t)
	for n := 1; n <= 2; n++ {
		ref := g.approved(g.credit, 5000)
		require.Equal(t, billing.RechargeDelivering, run[activities.Settled](g, g.posting.PostRecharge, ref).State)
		for range 3 {
			require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
		}
		require.Equal(t, n, g.purchases(serialCredit))
		g.has(g.credit, 10_000+billing.Money(n)*5000)
	}
	g.intact()
}

// The process dies between every two steps; whoever takes over delivers exactly once.
func TestDelivery_diesBetweenTheSteps(t *testing.T) {
	for _, step := range []struct{ kind, event string }{
		{"command", "requested"}, {"command", "sending"}, {"command", "verified"}, {"recharge", "credited"}, {"message", "queued"},
	} {
		t.Run(step.kind+" "+step.event, func(t *testing.T) {
			g := newGrid(t)
			ref := g.approved(g.credit, 5000)
			run[activities.Settled](g, g.posting.PostRecharge, ref)
			g.dies(step.kind, step.event, func() {
				require.Contains(t, g.refuses(g.deliver.DeliverRecharge, ref), "the process died here")
			})
			require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
			require.Equal(t, 1, g.purchases(serialCredit))
			g.has(g.credit, 15_000)
			g.intact()
		})
	}
}

func TestDelivery_lostReplyIsReadBack(t *testing.T) {
	g := newGrid(t)
	g.fault(simulator.Fault{Kind: simulator.FaultLostReply, Unit: 1, Times: 1})
	ref := g.approved(g.credit, 5000)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
	require.Equal(t, 1, g.purchases(serialCredit))
	g.has(g.credit, 15_000)
	g.intact()
}

func TestDelivery_gatewayRepeatsTheWrite(t *testing.T) {
	g := newGrid(t)
	g.fault(simulator.Fault{Kind: simulator.FaultRepeatWrite, Unit: 1})
	ref := g.approved(g.credit, 5000)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
	require.Equal(t, 1, g.purchases(serialCredit), "the count makes the second write harmless")
	g.has(g.credit, 15_000)
}

// A purchase that could not be sent before its deadline goes to a person; decided as not credited, it is delivered anew, once.
func TestDelivery_pastItsDeadlineAPersonDecides(t *testing.T) {
	g := newGrid(t)
	ctx := context.Background()
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	ref := g.approved(g.credit, 5000)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	require.True(t, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).Later)
	g.heal(simulator.FaultSilent, 1)
	g.setNow(g.now.Add(7 * 24 * time.Hour))
	task, err := g.BeginCredit(ctx, byTest, ref.RechargeID)
	require.NoError(t, err)
	_, _, err = g.MarkCreditSending(ctx, byTest, task.Command.ID, before(0, 10_000))
	require.Equal(t, billing.CodeStale, billing.CodeOf(err), "nor may it be marked")
	s := run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
	require.Equal(t, billing.RechargeInDoubt, s.State)
	require.NotEmpty(t, s.Case)
	require.Zero(t, g.purchases(serialCredit))
	cmd, err := g.Command(ctx, task.Command.ID)
	require.NoError(t, err)
	require.Contains(t, cmd.Error, "its deadline has passed")
	require.Equal(t, billing.RechargeInDoubt, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State, "it waits for the person")
	run[activities.Settled](g, g.deliver.SettleInDoubt, activities.SettleInDoubt{RechargeID: ref.RechargeID, By: "sup1", Reason: "the line was down for a week"})
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
	require.Equal(t, 1, g.purchases(serialCredit))
	g.intact()
}

func TestDelivery_silentBeforeSendingIsTriedLater(t *testing.T) {
	g := newGrid(t)
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	ref := g.approved(g.credit, 5000)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	s := run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
	require.True(t, s.Later)
	require.Equal(t, billing.RechargeDelivering, s.State)
	g.heal(simulator.FaultSilent, 1)
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
	require.Equal(t, 1, g.purchases(serialCredit))
}

// inDoubt delivers a credit whose process dies right after sending, to a meter that then falls silent.
func inDoubt(t *testing.T, g *grid) (activities.RechargeRef, activities.Settled) {
	ref := g.approved(g.credit, 5000)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	g.dies("command", "verified", func() { g.refuses(g.deliver.DeliverRecharge, ref) })
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	s := run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
	require.Equal(t, billing.RechargeInDoubt, s.State)
	require.NotEmpty(t, s.Case)
	g.has(g.credit, 10_000)
	return ref, s
}

func TestDelivery_doubtIsSettledByReading(t *testing.T) {
	g := newGrid(t)
	ref, doubt := inDoubt(t, g)
	require.Contains(t, g.refuses(g.deliver.SettleInDoubt, activities.SettleInDoubt{RechargeID: ref.RechargeID, By: "sup1", Credited: true, Reason: "surely"}), "doesn't answer")
	g.heal(simulator.FaultSilent, 1)
	s := run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
	require.Equal(t, billing.RechargeCredited, s.State)
	require.Equal(t, doubt.Case, s.Case)
	c, _, err := g.Case(context.Background(), s.Case)
	require.NoError(t, err)
	require.Equal(t, billing.CaseResolved, c.State)
	require.Equal(t, 1, g.purchases(serialCredit))
	g.has(g.credit, 15_000)
	g.intact()
}

func TestDelivery_personCantContradictTheMeter(t *testing.T) {
	g := newGrid(t)
	ref, doubt := inDoubt(t, g)
	g.heal(simulator.FaultSilent, 1)
	no := activities.SettleInDoubt{RechargeID: ref.RechargeID, By: "sup1", Reason: "I think not"}
	require.Contains(t, g.refuses(g.deliver.SettleInDoubt, no), "the credit arrived")
	no.By = "clerk2"
	require.Contains(t, g.refuses(g.deliver.SettleInDoubt, no), "may not")
	yes := activities.SettleInDoubt{RechargeID: ref.RechargeID, By: "sup1", Credited: true, Reason: "read on site"}
	for range 2 {
		require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.SettleInDoubt, yes).State)
	}
	c, _, err := g.Case(context.Background(), doubt.Case)
	require.NoError(t, err)
	require.Equal(t, billing.UserID("sup1"), *c.DecidedBy)
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State, "the recharge's workflow finds it settled")
	g.has(g.credit, 15_000)
	g.intact()
}

// A write that never arrived is proved by reading, and delivered again under the same rule.
func TestDelivery_neverArrivedIsDeliveredAgain(t *testing.T) {
	g := newGrid(t)
	ref := g.approved(g.credit, 5000)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	task, err := g.BeginCredit(context.Background(), byTest, ref.RechargeID)
	require.NoError(t, err)
	_, fresh, err := g.MarkCreditSending(context.Background(), byTest, task.Command.ID, before(0, 10_000))
	require.NoError(t, err)
	require.True(t, fresh) // … and the process died before it sent
	s := run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
	require.Equal(t, billing.RechargeDelivering, s.State)
	require.Zero(t, g.purchases(serialCredit), "a marked order is only read, never sent")
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State)
	require.Equal(t, 1, g.purchases(serialCredit))
	g.has(g.credit, 15_000)
	g.intact()
}

// Somebody else has written to the meter: its count isn't ours, so nothing is sent and a person looks.
func TestDelivery_foreignCountStops(t *testing.T) {
	g := newGrid(t)
	ref := g.approved(g.credit, 5000)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
	_, err := g.Pool.Exec(context.Background(), `UPDATE commands SET count_after = 7 WHERE kind = 'credit'`)
	require.NoError(t, err)
	ref = g.approved(g.credit, 5000)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	s := run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
	require.Equal(t, billing.RechargeInDoubt, s.State)
	require.NotEmpty(t, s.Case)
	require.Equal(t, 1, g.purchases(serialCredit))
	g.has(g.credit, 15_000)
	g.intact()
}
