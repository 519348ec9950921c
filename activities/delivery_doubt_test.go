package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// writes puts a purchase into the credit meter without our tables: another tool does, and so does a gateway that kept one of ours back.
func (g *grid) writes(count, fen int64) {
	g.t.Helper()
	result, err := g.deliver.Pool.DeliverCredit(context.Background(), devices.Meter{Address: devices.Address{Gateway: "G1", HostPort: g.fleet.Addr("G1"), Unit: 1}, Serial: serialCredit, Profile: "sim-ddsy1352"},
		devices.CreditOrder{AmountFen: fen, Count: count}, nil)
	require.NoError(g.t, err)
	require.Equal(g.t, devices.OutcomeVerified, result.Outcome)
}

// posted is a recharge of the credit meter that is to be delivered.
func (g *grid) posted(amount billing.Money) activities.RechargeRef {
	g.t.Helper()
	ref := g.approved(g.credit, amount)
	run[activities.Settled](g, g.posting.PostRecharge, ref)
	return ref
}

// marked marks the next attempt of a recharge and loses it before it is sent; the read-back finds that nothing was credited.
func (g *grid) marked(ref activities.RechargeRef, b store.CreditBefore) activities.Settled {
	g.t.Helper()
	task, err := g.BeginCredit(context.Background(), byTest, ref.RechargeID)
	require.NoError(g.t, err)
	_, fresh, err := g.MarkCreditSending(context.Background(), byTest, task.Command.ID, b)
	require.NoError(g.t, err)
	require.True(g.t, fresh)
	return run[activities.Settled](g, g.deliver.DeliverRecharge, ref)
}

func (g *grid) delivers(ref activities.RechargeRef) billing.RechargeState {
	g.t.Helper()
	return run[activities.Settled](g, g.deliver.DeliverRecharge, ref).State
}

// decides is a supervisor's decision on a recharge in doubt.
func decides(ref activities.RechargeRef, credited bool) activities.SettleInDoubt {
	return activities.SettleInDoubt{RechargeID: ref.RechargeID, By: "sup1", Credited: credited, Reason: "looked at it"}
}

// explained holds the meters' record against the tables.
func (g *grid) explained() {
	g.t.Helper()
	i := g.creditedOnce()
	require.Zero(g.t, i.Violations, i.Details)
	g.intact()
}

// A credit that never arrived is in doubt, and the next one to the meter takes its purchase count, with the same amount: that proves nothing
// for the first, which is delivered anew.
func TestSettleInDoubt_countOfAnotherDelivery(t *testing.T) {
	g := newGrid(t)
	first := g.posted(5000)
	for _, want := range []billing.RechargeState{billing.RechargeDelivering, billing.RechargeDelivering, billing.RechargeInDoubt} {
		require.Equal(t, want, g.marked(first, before(0, 10_000)).State)
	}
	second := g.posted(5000)
	require.Equal(t, billing.RechargeCredited, g.delivers(second))
	require.Contains(t, g.refuses(g.deliver.SettleInDoubt, decides(first, true)), "it showed that nothing had been credited before (purchase count 0)")
	g.has(g.credit, 15_000)
	require.Equal(t, billing.RechargeDelivering, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(first, false)).State)
	require.Equal(t, billing.RechargeCredited, g.delivers(first))
	require.Equal(t, 2, g.purchases(serialCredit))
	g.has(g.credit, 20_000)
	g.explained()
}

// While the other delivery is open, what the meter shows may be its doing: it is settled first.
func TestSettleInDoubt_anotherDeliveryIsOpen(t *testing.T) {
	g := newGrid(t)
	first := g.posted(5000)
	for range 3 {
		g.marked(first, before(0, 10_000))
	}
	second := g.posted(5000)
	g.dies("command", "verified", func() { g.refuses(g.deliver.DeliverRecharge, second) })
	require.Equal(t, 1, g.purchases(serialCredit))
	for _, credited := range []bool{true, false} {
		require.Contains(t, g.refuses(g.deliver.SettleInDoubt, decides(first, credited)), "is not settled yet: settle that one first")
	}
	require.Equal(t, billing.RechargeCredited, g.delivers(second))
	require.Equal(t, billing.RechargeDelivering, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(first, false)).State)
	require.Equal(t, billing.RechargeCredited, g.delivers(first))
	g.explained()
}

// Another delivery that left after the meter was read for a decision voids what was read.
func TestSettleDoubt_anotherDeliveryCameBetween(t *testing.T) {
	g := newGrid(t)
	ctx := context.Background()
	first := g.posted(5000)
	for range 3 {
		g.marked(first, before(0, 10_000))
	}
	task, err := g.BeginCredit(ctx, byTest, first.RechargeID)
	require.NoError(t, err)
	require.Equal(t, billing.RechargeCredited, g.delivers(g.posted(5000)))
	_, err = g.SettleDoubt(ctx, byTest, first.RechargeID, true, store.CreditProof{Attempt: task.Command.ID}, store.Terms{})
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))
	_, err = g.SettleDoubt(ctx, byTest, first.RechargeID, true, store.CreditProof{}, store.Terms{})
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err), "nor without any proof")
	g.has(g.credit, 15_000)
}

// The meter shows what an earlier attempt did, that came late: nothing is written a second time, a person decides by it, and the
// purchase is that attempt's. The next recharge goes on from there.
func TestSettleInDoubt_earlierAttemptCameLate(t *testing.T) {
	g := newGrid(t)
	ref := g.posted(5000)
	require.Equal(t, billing.RechargeDelivering, g.marked(ref, before(0, 10_000)).State)
	g.writes(1, 5000)
	require.Equal(t, billing.RechargeInDoubt, g.delivers(ref), "the meter's first delivery: only the refused one says what its count was")
	require.Equal(t, 1, g.purchases(serialCredit))
	require.Contains(t, g.refuses(g.deliver.SettleInDoubt, decides(ref, false)), "The meter shows that the credit arrived (purchase count 1)")
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(ref, true)).State)
	g.has(g.credit, 15_000)
	require.Equal(t, billing.RechargeCredited, g.delivers(g.posted(700)))
	g.explained()
}

// The late purchase came, and another recharge after it, before anybody decided: what that one saw before its write proves the late one.
func TestSettleInDoubt_lateAndThenAnother(t *testing.T) {
	g := newGrid(t)
	ref := g.posted(5000)
	g.marked(ref, before(0, 10_000))
	g.writes(1, 5000)
	require.Equal(t, billing.RechargeInDoubt, g.delivers(ref))
	require.Equal(t, billing.RechargeCredited, g.delivers(g.posted(700)))
	require.Contains(t, g.refuses(g.deliver.SettleInDoubt, decides(ref, false)), "it showed that the credit had arrived (purchase count 1)")
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(ref, true)).State)
	require.Equal(t, billing.RechargeCredited, g.delivers(g.posted(300)), "the count goes on from the newest delivery, not from the one settled last")
	g.has(g.credit, 16_000)
	g.explained()
}

// Two credits in doubt, and one purchase that came late: it is the one's of which a person says so first, and the other is delivered anew.
func TestSettleInDoubt_onePurchaseForTwo(t *testing.T) {
	g := newGrid(t)
	first, second := g.posted(5000), g.posted(5000)
	for _, ref := range []activities.RechargeRef{first, second} {
		for range 3 {
			g.marked(ref, before(0, 10_000))
		}
	}
	g.writes(1, 5000)
	g.setNow(g.now.Add(time.Second))
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(first, true)).State)
	require.Contains(t, g.refuses(g.deliver.SettleInDoubt, decides(second, true)), "is the doing of delivery D3, which counts as credited")
	require.Equal(t, billing.RechargeDelivering, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(second, false)).State)
	require.Equal(t, billing.RechargeCredited, g.delivers(second))
	require.Equal(t, 2, g.purchases(serialCredit))
	g.has(g.credit, 20_000)
	g.explained()
}

// What never left can't have arrived: past its deadline, to a meter without leave for commands, or refused for its count.
func TestSettleInDoubt_neverSent(t *testing.T) {
	for name, spoil := range map[string]func(g *grid, ref activities.RechargeRef){
		"too late": func(g *grid, ref activities.RechargeRef) {
			_, err := g.BeginCredit(context.Background(), byTest, ref.RechargeID)
			require.NoError(g.t, err)
			g.setNow(g.now.Add(7 * 24 * time.Hour))
		},
		"not our count": func(g *grid, _ activities.RechargeRef) {
			require.Equal(g.t, billing.RechargeCredited, g.delivers(g.posted(100)))
			g.writes(2, 5000)
		},
		"kept back after the mark": func(g *grid, _ activities.RechargeRef) {
			pool := devices.NewPool(devices.Config{Timeout: 300 * time.Millisecond, ReadRetries: -1, MaySend: func(context.Context, string, time.Duration) error { return devices.ErrUnverifiedProfile }})
			g.t.Cleanup(pool.Shutdown)
			g.deliver.Pool = pool
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGrid(t)
			ref := g.posted(5000)
			spoil(g, ref)
			require.Equal(t, billing.RechargeInDoubt, g.delivers(ref))
			had := g.purchases(serialCredit)
			require.Contains(t, g.refuses(g.deliver.SettleInDoubt, decides(ref, true)), "Nothing was sent to meter M0001 for this credit")
			require.Equal(t, billing.RechargeDelivering, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(ref, false)).State)
			require.Equal(t, had, g.purchases(serialCredit))
		})
	}
}

// Somebody sold with another tool: a person looks once, and the meter's count goes on from what it showed. Only that purchase stays unexplained.
func TestDelivery_goesOnAfterAForeignPurchase(t *testing.T) {
	g := newGrid(t)
	require.Equal(t, billing.RechargeCredited, g.delivers(g.posted(5000)))
	g.writes(2, 700)
	ref := g.posted(5000)
	require.Equal(t, billing.RechargeInDoubt, g.delivers(ref))
	require.Equal(t, 2, g.purchases(serialCredit), "nothing is written to it")
	var count, remaining int64
	require.NoError(t, g.Pool.QueryRow(context.Background(), `SELECT count_after, remaining_after_fen FROM commands WHERE cause = 'recharge/' || $1`, ref.RechargeID).Scan(&count, &remaining))
	require.Equal(t, []int64{2, 15_700}, []int64{count, remaining})
	require.Equal(t, billing.RechargeDelivering, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(ref, false)).State)
	require.Equal(t, billing.RechargeCredited, g.delivers(ref))
	require.Equal(t, billing.RechargeCredited, g.delivers(g.posted(300)))
	require.Equal(t, 4, g.purchases(serialCredit))
	g.has(g.credit, 20_300)
	i := g.creditedOnce()
	require.Len(t, i.Details, 1)
	require.Contains(t, i.Details[0], "accepted purchase 2 of 700 fen that no recharge and no exchange explains")
	g.intact()
}

// One volume that came late for two credits in doubt.
func TestSettleInDoubt_oneVolumeForTwo(t *testing.T) {
	g, a := volumeGrid(t, flatWater)
	var refs []activities.RechargeRef
	for range 2 {
		ref := g.approved(a, 6000)
		run[activities.Settled](g, g.posting.PostRecharge, ref)
		g.markedVolume(ref, 3)
		refs = append(refs, ref)
	}
	_, err := g.deliver.Pool.DeliverVolume(context.Background(), devices.Meter{Address: devices.Address{Gateway: "G1", HostPort: g.fleet.Addr("G1"), Unit: 4}, Serial: serialVolume, Profile: "sim-volume-water"},
		devices.VolumeOrder{Litres: 10_000, MostLost: 1}, nil)
	require.NoError(t, err)
	g.setNow(g.now.Add(time.Second))
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(refs[0], true)).State)
	require.Contains(t, g.refuses(g.deliver.SettleInDoubt, decides(refs[1], true)), "is the doing of delivery D3, which counts as credited")
	require.Equal(t, billing.RechargeDelivering, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(refs[1], false)).State)
	require.Equal(t, billing.RechargeCredited, g.delivers(refs[1]))
	require.Equal(t, 2, g.sets())
	g.has(a, 22_000)
	g.explained()
}

// markedVolume marks attempts of a recharge of 10 m³ and loses each before it is sent.
func (g *grid) markedVolume(ref activities.RechargeRef, times int) {
	g.t.Helper()
	ctx := context.Background()
	for n := range times {
		task, err := g.BeginCredit(ctx, byTest, ref.RechargeID)
		require.NoError(g.t, err)
		_, fresh, err := g.MarkVolumeSending(ctx, byTest, task.Command.ID, store.VolumeBefore{Volume: store.Volume{Remaining: 5000}, VolumeDue: store.VolumeDue{Bought: 10_000}, PriceE8: 600_000_000})
		require.NoError(g.t, err)
		require.True(g.t, fresh)
		require.Equal(g.t, n == 2, g.delivers(ref) == billing.RechargeInDoubt)
	}
}

// The same of a meter that holds a volume: a sum that a later delivery moved proves nothing for an earlier one.
func TestSettleInDoubt_volumeOfAnotherDelivery(t *testing.T) {
	g, a := volumeGrid(t, flatWater)
	first := g.approved(a, 6000)
	run[activities.Settled](g, g.posting.PostRecharge, first)
	g.markedVolume(first, 3)
	second := g.approved(a, 6000)
	run[activities.Settled](g, g.posting.PostRecharge, second)
	require.Equal(t, billing.RechargeCredited, g.delivers(second))
	require.EqualValues(t, 15_000, g.litres())
	require.Contains(t, g.refuses(g.deliver.SettleInDoubt, decides(first, true)), "it showed that nothing had been credited before (5000 litres left)")
	require.Equal(t, billing.RechargeDelivering, run[activities.Settled](g, g.deliver.SettleInDoubt, decides(first, false)).State)
	require.Equal(t, billing.RechargeCredited, g.delivers(first))
	require.EqualValues(t, 25_000, g.litres())
	g.has(a, 22_000)
	g.explained()
}

// A recharge that is called credited without a delivery that proves it: the meter knows nothing of it.
func TestCreditedOnce_seesACreditThatWasNeverDelivered(t *testing.T) {
	g := newGrid(t)
	require.Equal(t, billing.RechargeCredited, g.delivers(g.posted(5000)))
	plain := g.approved(g.plain, 5000)
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g, g.posting.PostRecharge, plain).State)
	g.explained()
	g.sql(`UPDATE recharges SET meter_id = (SELECT meter_id FROM commands WHERE kind = 'credit' AND state = 'verified' ORDER BY id LIMIT 1)
		WHERE id = (SELECT min(id) FROM recharges WHERE state = 'credited' AND meter_id IS NULL)`)
	i := g.creditedOnce()
	require.Len(t, i.Details, 1)
	require.Contains(t, i.Details[0], "is credited, and 0 of its deliveries are proved")
}
