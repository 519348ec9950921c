package activities_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// due is an account at zero whose final notice was delivered and has run, with a fresh reading: everything allows its cut.
func due(t *testing.T) (*grid, activities.CutRef) {
	g := newGrid(t)
	g.spend(g.plain, 0)
	ref := g.noticed(g.plain)
	g.reads(g.plain, billing.QualityActual, false)
	return g, ref
}

func (g *grid) relay(serial string) string {
	g.t.Helper()
	s, err := g.fleet.Supply(serial)
	require.NoError(g.t, err)
	return string(s)
}

func TestCutOff_verifiedByReadback(t *testing.T) {
	g, ref := due(t)
	for range 2 {
		c := run[activities.CutState](g, g.supply.CutOff, ref)
		require.Equal(t, store.CutVerified, c.State)
	}
	require.Equal(t, "off", g.relay(serialPlatform))
	g.proved()
	g.intact()
}

// Each fact that forbids a cut, by itself: nothing is sent, the reasons are printed, and what may end by itself is planned anew.
func TestCutOff_prevented(t *testing.T) {
	ctx := context.Background()
	for name, tt := range map[string]struct {
		spoil func(g *grid)
		state string
	}{
		"protected": {func(g *grid) {
			_, err := g.AddProtection(ctx, store.By{Actor: "boss"}, store.Protection{Account: g.plain, Kind: "keep_power", FromAt: g.now, UntilAt: g.now.Add(time.Hour), Reason: "ice"})
			require.NoError(g.t, err)
		}, store.CutPrevented},
		"life support": {func(g *grid) {
			a, err := g.Utility.Store.Account(ctx, g.plain)
			require.NoError(g.t, err)
			require.NoError(g.t, g.SetLifeSupport(ctx, storetest.By, a.Customer, true))
		}, store.CutPrevented},
		"paid":               {func(g *grid) { run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, 5000)) }, store.CutCancelled},
		"payment on its way": {func(g *grid) { g.approved(g.plain, 5000) }, store.CutPrevented},
		"estimated reading":  {func(g *grid) { g.reads(g.plain, billing.QualityEstimated, false) }, store.CutPrevented},
		"doubtful reading":   {func(g *grid) { g.reads(g.plain, billing.QualityActual, true) }, store.CutPrevented},
		"stale reading":      {func(g *grid) { g.setNow(g.now.Add(49 * time.Hour)) }, store.CutPrevented},
		"no contract":        {func(g *grid) { g.sql(`UPDATE accounts SET prepaid_contract = false`) }, store.CutPrevented},
		"arrears contract":   {func(g *grid) { g.Arrears(g.plain, "2026-01-13") }, store.CutPrevented},
		"no receipt":         {func(g *grid) { g.sql(`UPDATE messages SET state = 'sent', delivered_at = NULL`) }, store.CutPrevented},
		"open case": {func(g *grid) {
			g.sql(`INSERT INTO cases (id, site_id, kind, cause, blocking, state, account_id, opened_at, due_at) VALUES ('X99', 'park', 'spike', 'x', true, 'open', '` + string(g.plain) + `', now(), now())`)
		}, store.CutPrevented},
		"after hours": {func(g *grid) { g.setNow(g.now.Add(8 * time.Hour)) }, store.CutPlanned},
		"weekend":     {func(g *grid) { g.setNow(billing.MustDate("2026-01-17").At(11, 0, storetest.Zone)) }, store.CutPlanned},
		"large": {func(g *grid) {
			g.Class(g.plain, billing.DateOf(g.now, storetest.Zone).String(), billing.ClassImportant)
			g.sql(`UPDATE messages SET delivered_at = delivered_at - interval '9 days'`)
		}, store.CutAwaitingManager},
	} {
		t.Run(name, func(t *testing.T) {
			g, ref := due(t)
			tt.spoil(g)
			if name == "after hours" || name == "weekend" {
				g.reads(g.plain, billing.QualityActual, false)
			}
			c := run[activities.CutState](g, g.supply.CutOff, ref)
			require.Equal(t, tt.state, c.State)
			require.Equal(t, "on", g.relay(serialPlatform))
			if c.State == store.CutPlanned {
				require.True(t, c.PlannedAt.After(g.now))
			}
			cut, err := g.Cutoff(context.Background(), ref.CutoffID)
			require.NoError(t, err)
			if c.State != store.CutCancelled {
				require.Contains(t, string(cut.Decision), `"allowed": false`)
			}
			var commands int
			require.NoError(t, g.Pool.QueryRow(context.Background(), `SELECT count(*) FROM commands WHERE kind = 'trip'`).Scan(&commands))
			require.Zero(t, commands)
		})
	}
}

// An arrears contract that begins tomorrow protects from tomorrow on, and who looks at the cut knows by which terms it was made.
func TestCutOff_contractOfTheDay(t *testing.T) {
	g, ref := due(t)
	day := billing.DateOf(g.now, storetest.Zone)
	g.Arrears(g.plain, day.AddDays(1).String())
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	require.Empty(t, g.asks(proof.NoWrongCut).Details)
	g.now = g.now.Add(time.Minute)
	storetest.SetClock(t, g.Store, g.now)
	g.Arrears(g.plain, day.String())
	require.Empty(t, g.asks(proof.NoWrongCut).Details, "terms that were recorded after the cut accuse nobody")
	g.sql(`UPDATE accounts SET prepaid_contract = false`)
	require.Contains(t, fmt.Sprint(g.asks(proof.NoWrongCut).Details), "its contract agrees to no cut")
	g.sql(`UPDATE accounts SET prepaid_contract = true`)
	g.sql(`INSERT INTO account_terms (account_id, from_day, version, tariff_id, class, arrears_contract, recorded_at, recorded_by, reason)
		SELECT account_id, from_day, 9, tariff_id, class, true, '2026-01-01', 'admin', 'planted' FROM account_terms WHERE account_id = '` + string(g.plain) + `' AND from_day = '` + day.String() + `' LIMIT 1`)
	require.Contains(t, fmt.Sprint(g.asks(proof.NoWrongCut).Details), "its contract agrees to no cut")
}

// An arrears case ends at its next step when the terms have become an arrears contract, before a notice and before the cut is planned.
func TestReminder_endsUnderAnArrearsContract(t *testing.T) {
	for _, step := range []string{"notice", "hand-over"} {
		t.Run(step, func(t *testing.T) {
			g := newGrid(t)
			g.spend(g.plain, 0)
			ref := g.low(g.plain)
			if step == "hand-over" {
				n := run[activities.Notice](g, g.remind.QueueNotice, activities.QueueNotice{ReminderID: ref.ReminderID, Level: billing.ReminderFinal, Attempt: 1})
				run[any](g, g.message.SendMessage, activities.MessageRef{MessageID: n.Message})
				run[activities.ReceiptRecorded](g, g.message.RecordReceipt, activities.Receipt{ProviderNo: "SMS-" + string(n.Message), Delivered: true})
			}
			g.Arrears(g.plain, billing.DateOf(g.now, storetest.Zone).String())
			if step == "hand-over" {
				require.Empty(t, run[activities.HandedOver](g, g.remind.HandOver, ref).CutoffID)
			} else {
				require.True(t, run[activities.Notice](g, g.remind.QueueNotice, activities.QueueNotice{ReminderID: ref.ReminderID, Level: billing.ReminderLevel1, Attempt: 1}).Ended)
			}
			r, err := g.Reminder(t.Context(), ref.ReminderID)
			require.NoError(t, err)
			require.Equal(t, billing.ReminderClosed, r.State)
			g.intact()
		})
	}
}

// Who was cut and is moved to an arrears contract gets supply back with the next charge: nobody stays cut for a balance under one.
func TestRestore_underAnArrearsContract(t *testing.T) {
	g, ref := due(t)
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	day := billing.DateOf(g.now, storetest.Zone)
	cycle := billing.CycleID("park/" + day.String())
	_, err := g.Pool.Exec(t.Context(), `INSERT INTO cycles (id, site_id, day, freeze_at, window_end, state, opened_at) VALUES ($1, 'park', $2, $3, $3, 'closed', $3) ON CONFLICT DO NOTHING`,
		cycle, day, day.Start(storetest.Zone))
	require.NoError(t, err)
	terms := store.Terms{Connect: 1, StillLow: func(b, _ billing.Money) bool { return b < 2000 }}
	taken, err := g.TakeLowList(t.Context(), storetest.By, cycle, terms)
	require.NoError(t, err)
	require.Empty(t, taken.Restores, "the balance doesn't allow it")
	g.Arrears(g.plain, day.String())
	taken, err = g.TakeLowList(t.Context(), storetest.By, cycle, terms)
	require.NoError(t, err)
	require.Len(t, taken.Restores, 1)
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: taken.Restores[0]}).State)
	require.Equal(t, "on", g.relay(serialPlatform))
	g.intact()
}

func (g *grid) sql(statement string) {
	g.t.Helper()
	_, err := g.Pool.Exec(context.Background(), statement)
	require.NoError(g.t, err)
}

// A customer who is important only from tomorrow on is cut like any other today.
func TestCutOff_classOfTheDay(t *testing.T) {
	g, ref := due(t)
	g.Class(g.plain, billing.DateOf(g.now, storetest.Zone).AddDays(1).String(), billing.ClassImportant)
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
}

func TestCutOff_largeAfterApproval(t *testing.T) {
	g, ref := due(t)
	g.Class(g.plain, billing.DateOf(g.now, storetest.Zone).String(), billing.ClassImportant)
	g.sql(`UPDATE messages SET delivered_at = delivered_at - interval '9 days'`)
	require.Equal(t, store.CutAwaitingManager, run[activities.CutState](g, g.supply.CutOff, ref).State)
	require.Contains(t, g.refuses(g.supply.ApproveCut, activities.CutDecision{CutoffID: ref.CutoffID, By: "clerk1"}), "may not")
	require.Equal(t, store.CutPlanned, run[activities.CutState](g, g.supply.ApproveCut, activities.CutDecision{CutoffID: ref.CutoffID, By: "boss"}).State)
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	g.intact()
}

// The process dies around the mark and the record; whoever takes over looks before it does anything, and cuts once.
func TestCutOff_diesBetweenTheSteps(t *testing.T) {
	for _, step := range []struct{ kind, event string }{{"cutoff", "sending"}, {"command", "verified"}, {"cutoff", "verified"}} {
		t.Run(step.kind+" "+step.event, func(t *testing.T) {
			g, ref := due(t)
			g.dies(step.kind, step.event, func() { g.refuses(g.supply.CutOff, ref) })
			require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
			require.Equal(t, "off", g.relay(serialPlatform))
			cut, err := g.Cutoff(context.Background(), ref.CutoffID)
			require.NoError(t, err)
			cmd, err := g.Command(context.Background(), cut.CommandID)
			require.NoError(t, err)
			require.Equal(t, 1, cmd.Attempts, "what was done is found by looking, not done again")
			g.proved()
			g.intact()
		})
	}
}

// Marked, but the process died before it sent; meanwhile the customer paid. Nobody is cut, and the books know that nothing happened.
func TestCutOff_paidBetweenMarkAndSending(t *testing.T) {
	g, ref := due(t)
	_, err := g.BeginCut(context.Background(), byTest, store.CutAttempt{ID: ref.CutoffID, Deadline: time.Hour, Judge: allowed})
	require.NoError(t, err)
	s := run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, 5000))
	require.Equal(t, ref.CutoffID, s.Cutoff)
	require.NotEmpty(t, s.Restore, "the command may be out: the payment starts a restore")
	require.True(t, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).Busy)
	require.Equal(t, store.CutPrevented, run[activities.CutState](g, g.supply.CutOff, ref).State)
	require.Equal(t, store.RestoreNotNeeded, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).State)
	require.Equal(t, "on", g.relay(serialPlatform))
	g.intact()
}

// The order waits for its line, which is slow, and meanwhile the customer pays: it doesn't leave.
func TestCutOff_paidWhileTheLineIsBusy(t *testing.T) {
	g, ref := due(t)
	g.sql(`UPDATE gateways SET timeout_ms = 20000 WHERE id = 'G1'`)
	g.fault(simulator.Fault{Kind: simulator.FaultSlow, Unit: 2, DelayMillis: 3000}) // each of the three reads before the order
	cut := make(chan activities.CutState, 1)
	go func() { cut <- run[activities.CutState](g, g.supply.CutOff, ref) }()
	require.Eventually(t, func() bool {
		c, err := g.Cutoff(context.Background(), ref.CutoffID)
		return err == nil && c.State == store.CutSending
	}, 10*time.Second, time.Millisecond)
	s := run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, 5000))
	require.NotEmpty(t, s.Restore, "for all that the payment knows, the order is out")
	g.heal(simulator.FaultSlow, 2)
	require.Equal(t, store.CutPlanned, (<-cut).State, "it is judged anew, and then prevented")
	c, err := g.Cutoff(context.Background(), ref.CutoffID)
	require.NoError(t, err)
	cmd, err := g.Command(context.Background(), c.CommandID)
	require.NoError(t, err)
	require.Equal(t, billing.CommandCancelled, cmd.State)
	require.Contains(t, cmd.Error, "supply is to be given back")
	require.Equal(t, "on", g.relay(serialPlatform))
	require.Equal(t, store.RestoreNotNeeded, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).State)
	g.intact()
}

// The order waits for its line, which is slow, and meanwhile something comes that forbids the cut: it doesn't leave.
func TestCutOff_forbiddenWhileTheLineIsBusy(t *testing.T) {
	ctx := context.Background()
	for name, forbid := range map[string]func(g *grid){
		"protected": func(g *grid) {
			_, err := g.AddProtection(ctx, store.By{Actor: "boss"}, store.Protection{Account: g.plain, Kind: "medical", FromAt: g.now, UntilAt: g.now.Add(time.Hour), Reason: "ventilator"})
			require.NoError(g.t, err)
		},
		"payment on its way": func(g *grid) { g.approved(g.plain, 5000) },
		"doubtful reading":   func(g *grid) { g.reads(g.plain, billing.QualityActual, true) },
	} {
		t.Run(name, func(t *testing.T) {
			g, ref := due(t)
			g.sql(`UPDATE gateways SET timeout_ms = 20000 WHERE id = 'G1'`)
			g.fault(simulator.Fault{Kind: simulator.FaultSlow, Unit: 2, DelayMillis: 1000}) // each of the three reads before the order
			cut := make(chan activities.CutState, 1)
			go func() { cut <- run[activities.CutState](g, g.supply.CutOff, ref) }()
			require.Eventually(t, func() bool {
				c, err := g.Cutoff(ctx, ref.CutoffID)
				return err == nil && c.State == store.CutSending
			}, 10*time.Second, time.Millisecond)
			forbid(g)
			g.heal(simulator.FaultSlow, 2)
			require.Equal(t, store.CutPlanned, (<-cut).State)
			require.Equal(t, "on", g.relay(serialPlatform))
			c, err := g.Cutoff(ctx, ref.CutoffID)
			require.NoError(t, err)
			cmd, err := g.Command(ctx, c.CommandID)
			require.NoError(t, err)
			require.Equal(t, billing.CommandCancelled, cmd.State)
			sup, err := g.Supply(ctx, g.plain)
			require.NoError(t, err)
			require.Equal(t, billing.SupplyOn, sup.Wanted)
			g.setNow(c.PlannedAt)
			require.Equal(t, store.CutPrevented, run[activities.CutState](g, g.supply.CutOff, ref).State, "judged anew")
			g.intact()
		})
	}
}

// The same when an attempt before it died, and the look showed that supply is on: nothing was sent, so nothing is in doubt.
func TestCutOff_forbiddenAtTheSecondAttempt(t *testing.T) {
	g, ref := due(t)
	ctx := context.Background()
	_, err := g.BeginCut(ctx, byTest, store.CutAttempt{ID: ref.CutoffID, Deadline: time.Hour, Judge: allowed})
	require.NoError(t, err)
	g.sql(`UPDATE gateways SET timeout_ms = 20000 WHERE id = 'G1'`)
	g.fault(simulator.Fault{Kind: simulator.FaultSlow, Unit: 2, DelayMillis: 1000})
	cut := make(chan activities.CutState, 1)
	go func() { cut <- run[activities.CutState](g, g.supply.CutOff, ref) }()
	require.Eventually(t, func() bool {
		var n int
		return g.Pool.QueryRow(ctx, `SELECT count(*) FROM commands WHERE kind = 'trip' AND attempts = 2`).Scan(&n) == nil && n == 1
	}, 20*time.Second, time.Millisecond)
	_, err = g.AddProtection(ctx, store.By{Actor: "boss"}, store.Protection{Account: g.plain, Kind: "medical", FromAt: g.now, UntilAt: g.now.Add(time.Hour), Reason: "ventilator"})
	require.NoError(t, err)
	g.heal(simulator.FaultSlow, 2)
	require.Equal(t, store.CutPlanned, (<-cut).State)
	require.Equal(t, "on", g.relay(serialPlatform))
	g.intact()
}

// Between the meter's acknowledgement and its read-back the command's row says so, whatever was ordered.
func TestCommands_acknowledgedBeforeTheReadback(t *testing.T) {
	g := newMany(t)
	ctx := context.Background()
	seen := map[string]string{}
	note := func(p *devices.Pool) {
		p.OnPoint = func(point string) {
			if point == devices.PointSwitchSent || point == devices.PointCreditSent || point == devices.PointClockSent || point == devices.PointPricesSent {
				var kind, state string
				if err := g.Pool.QueryRow(ctx, `SELECT kind, state FROM commands ORDER BY requested_at DESC, length(id) DESC, id DESC LIMIT 1`).Scan(&kind, &state); err == nil {
					seen[kind] = state
				}
			}
		}
	}
	note(g.supply.Pool)
	note(g.batches.Pool)
	g.skewed(g.other, 240)
	require.Equal(t, billing.MemberVerified, g.worked(g.started(g.wish(billing.BatchClock, "", g.other)))[g.meter(g.other)].State)
	require.Equal(t, billing.MemberVerified, g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.plain)))[g.meter(g.plain)].State)
	require.Equal(t, billing.MemberVerified, g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchRelease, g.plain)))[g.meter(g.plain)].State)
	pay := g.approved(g.credit, 9000)
	run[activities.Settled](g.grid, g.posting.PostRecharge, pay)
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](g.grid, g.deliver.DeliverRecharge, pay).State)
	g.spend(g.plain, 0)
	cut := g.noticed(g.plain)
	g.reads(g.plain, billing.QualityActual, false)
	require.Equal(t, store.CutVerified, run[activities.CutState](g.grid, g.supply.CutOff, cut).State)
	s := run[activities.Settled](g.grid, g.posting.PostRecharge, g.approved(g.plain, 5000))
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g.grid, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).State)
	require.Equal(t, map[string]string{"set_clock": "acknowledged", "keep_on": "acknowledged", "release": "acknowledged", "credit": "acknowledged", "trip": "acknowledged", "close": "acknowledged"}, seen)
	var steps []string
	require.NoError(t, g.Pool.QueryRow(ctx, `SELECT array_agg(event ORDER BY seq) FROM journal WHERE chain = (SELECT 'command/' || id FROM commands WHERE kind = 'trip')`).Scan(&steps))
	require.Equal(t, []string{"sending", "acknowledged", "verified"}, steps)
	g.told()
}

// A lost acknowledgement is none.
func TestCommands_lostAnswerIsNoAcknowledgement(t *testing.T) {
	g, ref := due(t)
	g.fault(simulator.Fault{Kind: simulator.FaultLostReply, Unit: 2, Times: 1})
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	var n int
	require.NoError(t, g.Pool.QueryRow(context.Background(), `SELECT count(*) FROM journal WHERE kind = 'command' AND event = 'acknowledged'`).Scan(&n))
	require.Zero(t, n)
	g.intact()
}

// Giving supply back is owed until it is done: it has no deadline, and is ordered however late.
func TestRestore_hasNoDeadline(t *testing.T) {
	g, ref := due(t)
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	s := run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, 5000))
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 2})
	require.Equal(t, store.RestoreUnknown, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).State)
	r, err := g.Restore(context.Background(), s.Restore)
	require.NoError(t, err)
	cmd, err := g.Command(context.Background(), r.CommandID)
	require.NoError(t, err)
	require.Nil(t, cmd.Deadline)
	g.heal(simulator.FaultSilent, 2)
	g.setNow(g.now.Add(8 * 24 * time.Hour))
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).State)
	require.Equal(t, "on", g.relay(serialPlatform))
	g.intact()
}

func allowed(store.SupplyFacts) (store.Judgement, error) {
	return store.Judgement{Allowed: true, Print: []byte(`{}`)}, nil
}

func TestRestore_afterPayment(t *testing.T) {
	g, ref := due(t)
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	s := run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, 5000))
	require.NotEmpty(t, s.Restore)
	require.NotEmpty(t, s.Reminder, "the arrears case ends as paid")
	for range 2 {
		r := run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore})
		require.Equal(t, store.RestoreVerified, r.State)
	}
	require.Equal(t, "on", g.relay(serialPlatform))
	g.proved()
	g.intact()
}

func TestRestore_notBelowTheConnectionBalance(t *testing.T) {
	g, ref := due(t)
	g.spend(g.plain, -8000)
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	s := run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, 5000))
	require.Empty(t, s.Restore, "an overdraft is netted first")
	require.Empty(t, s.Reminder)
	require.NotEmpty(t, run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, 5000)).Restore)
}

func TestCutOff_stuckRelayIsUnknown(t *testing.T) {
	g, ref := due(t)
	g.fault(simulator.Fault{Kind: simulator.FaultStuckRelay, Unit: 2})
	c := run[activities.CutState](g, g.supply.CutOff, ref)
	require.Equal(t, store.CutUnknown, c.State)
	require.NotEmpty(t, c.Case)
	sup, err := g.Supply(context.Background(), g.plain)
	require.NoError(t, err)
	require.Equal(t, billing.SupplyOn, sup.State, "proved is what was read, not what was wanted")
	require.Equal(t, store.CutUnknown, run[activities.CutState](g, g.supply.LookAtCut, ref).State)
	cut, err := g.Cutoff(context.Background(), ref.CutoffID)
	require.NoError(t, err)
	decide := activities.SettleUnknown{CommandID: cut.CommandID, By: "sup1", Decision: "confirm_off", Reason: "must be"}
	require.Contains(t, g.refuses(g.supply.SettleUnknown, decide), "shows that supply is on")
	decide.Decision = "confirm_on"
	out := run[activities.SupplySettled](g, g.supply.SettleUnknown, decide)
	require.True(t, out.Settled)
	require.Equal(t, "cutoff", out.Owner)
	require.Equal(t, store.CutCancelled, run[activities.CutState](g, g.supply.LookAtCut, ref).State)
	sup, err = g.Supply(context.Background(), g.plain)
	require.NoError(t, err)
	require.Equal(t, billing.SupplyOn, sup.Wanted)
	k, _, err := g.Case(context.Background(), c.Case)
	require.NoError(t, err)
	require.Equal(t, billing.UserID("sup1"), *k.DecidedBy)
	g.intact()
}

// In doubt, then paid: the restore closes the relay, and the cut ends when the meter reads on.
func TestCutOff_paidWhileInDoubt(t *testing.T) {
	g, ref := due(t)
	g.fault(simulator.Fault{Kind: simulator.FaultStuckRelay, Unit: 2, Times: 1})
	require.Equal(t, store.CutUnknown, run[activities.CutState](g, g.supply.CutOff, ref).State)
	s := run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, 5000))
	require.NotEmpty(t, s.Restore)
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).State)
	require.Equal(t, store.CutCancelled, run[activities.CutState](g, g.supply.LookAtCut, ref).State)
	require.Equal(t, "on", g.relay(serialPlatform))
	g.intact()
}

func TestCutOff_silentMeterIsPlannedAgain(t *testing.T) {
	g, ref := due(t)
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 2})
	c := run[activities.CutState](g, g.supply.CutOff, ref)
	require.Equal(t, store.CutPlanned, c.State)
	g.heal(simulator.FaultSilent, 2)
	g.setNow(c.PlannedAt)
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	g.intact()
}

func TestRestore_silentMeterIsTriedAgain(t *testing.T) {
	g, ref := due(t)
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	s := run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, 5000))
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 2})
	r := run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore})
	require.Equal(t, store.RestoreUnknown, r.State)
	require.NotEmpty(t, r.Case)
	g.heal(simulator.FaultSilent, 2)
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).State)
	g.proved()
	g.intact()
}

func TestSupply_waterValve(t *testing.T) {
	g := newGrid(t)
	g.spend(g.water, -100)
	ref := g.noticed(g.water)
	g.reads(g.water, billing.QualityActual, false)
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	require.Equal(t, "off", g.relay(serialWater))
	s := run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.water, 5000))
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).State)
	require.Equal(t, "on", g.relay(serialWater))
	g.proved()
}

// A meter that holds its own credit is held on while its case is open, cut by us, and released after the payment.
func TestGuard_fromLowListToRelease(t *testing.T) {
	g := newGrid(t)
	g.spend(g.credit, 0)
	ref := g.low(g.credit)
	for range 2 {
		require.True(t, run[activities.GuardDone](g, g.supply.GuardSupply, ref).Done)
	}
	sup, err := g.Supply(context.Background(), g.credit)
	require.NoError(t, err)
	require.True(t, sup.Guarded)
	settle := g.approved(g.credit, 9000)
	run[activities.Settled](g, g.posting.PostRecharge, settle)
	s := run[activities.Settled](g, g.deliver.DeliverRecharge, settle)
	require.NotEmpty(t, s.Restore, "the guard is due for release")
	require.Equal(t, store.RestoreNotNeeded, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).State)
	sup, err = g.Supply(context.Background(), g.credit)
	require.NoError(t, err)
	require.False(t, sup.Guarded)
	state, err := g.fleet.MeterState(serialCredit)
	require.NoError(t, err)
	require.Empty(t, state.Forced)
	g.intact()
}

func TestGuard_platformNeedsNone(t *testing.T) {
	g := newGrid(t)
	g.spend(g.plain, 0)
	require.True(t, run[activities.GuardDone](g, g.supply.GuardSupply, g.low(g.plain)).Done)
	var n int
	require.NoError(t, g.Pool.QueryRow(context.Background(), `SELECT count(*) FROM commands`).Scan(&n))
	require.Zero(t, n)
}

// A guarded meter is cut by us with everything that a cut needs, and comes back after the payment without any force left on it.
func TestCutOff_guardedMeter(t *testing.T) {
	g := newGrid(t)
	g.spend(g.credit, 0)
	cut := g.noticed(g.credit)
	g.reads(g.credit, billing.QualityActual, false)
	c, err := g.Cutoff(context.Background(), cut.CutoffID)
	require.NoError(t, err)
	require.True(t, run[activities.GuardDone](g, g.supply.GuardSupply, activities.ReminderRef{ReminderID: c.Reminder}).Done)
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, cut).State)
	require.Equal(t, "off", g.relay(serialCredit))
	pay := g.approved(g.credit, 9000)
	run[activities.Settled](g, g.posting.PostRecharge, pay)
	s := run[activities.Settled](g, g.deliver.DeliverRecharge, pay)
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: s.Restore}).State)
	state, err := g.fleet.MeterState(serialCredit)
	require.NoError(t, err)
	require.True(t, state.RelayOn)
	require.Empty(t, state.Forced)
	g.proved()
	g.intact()
}

// A protection that comes between the release of the guard and the trip stops the cut, and the guard is put back: without credit of its own the meter
// would trip by itself.
func TestCutOff_guardedMeterIsHeldAgain(t *testing.T) {
	g := newGrid(t)
	ctx := context.Background()
	g.spend(g.credit, 0)
	cut := g.noticed(g.credit)
	g.reads(g.credit, billing.QualityActual, false)
	c, err := g.Cutoff(ctx, cut.CutoffID)
	require.NoError(t, err)
	require.True(t, run[activities.GuardDone](g, g.supply.GuardSupply, activities.ReminderRef{ReminderID: c.Reminder}).Done)
	var released sync.Once
	g.supply.Pool.OnPoint = func(point string) {
		if point == devices.PointSwitchAcked {
			released.Do(func() {
				_, err := g.AddProtection(ctx, store.By{Actor: "boss"}, store.Protection{Account: g.credit, Kind: "medical", FromAt: g.now, UntilAt: g.now.Add(time.Hour), Reason: "ventilator"})
				require.NoError(t, err)
			})
		}
	}
	require.Equal(t, store.CutPlanned, run[activities.CutState](g, g.supply.CutOff, cut).State)
	state, err := g.fleet.MeterState(serialCredit)
	require.NoError(t, err)
	require.True(t, state.RelayOn)
	require.Equal(t, "on", state.Forced)
	sup, err := g.Supply(ctx, g.credit)
	require.NoError(t, err)
	require.True(t, sup.Guarded)
	g.intact()
}

func TestOwnTrip_notAllowedGivesSupplyBack(t *testing.T) {
	g := newGrid(t)
	g.spend(g.credit, 0)
	var noted store.OwnTripNoted
	judge := func(f store.SupplyFacts) (store.Judgement, error) {
		require.Nil(t, f.Notice)
		return store.Judgement{Print: []byte(`{"allowed":false}`)}, nil
	}
	trip := store.OwnTrip{Account: g.credit, Meter: "M0001", SeenReal: time.Now(), CaseDue: time.Hour}
	for n := range 2 {
		require.NoError(t, g.Change(context.Background(), byTest, func(tx *store.Tx) error {
			out, err := store.NoteOwnTrip(context.Background(), tx, trip, judge)
			if n == 0 {
				noted = out
			} else {
				require.Empty(t, out.Cutoff, "a trip is noted once")
			}
			return err
		}))
	}
	require.NotEmpty(t, noted.Case)
	r := run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: noted.Restore})
	require.Equal(t, store.RestoreVerified, r.State)
	sup, err := g.Supply(context.Background(), g.credit)
	require.NoError(t, err)
	require.True(t, sup.Guarded, "without credit only the guard holds the relay closed")
	require.Equal(t, billing.SupplyOn, sup.State)
	g.proved()
	g.intact()
}

func TestReminding_noReceiptNoHandOver(t *testing.T) {
	g := newGrid(t)
	g.spend(g.plain, 0)
	ref := g.low(g.plain)
	n := run[activities.Notice](g, g.remind.QueueNotice, activities.QueueNotice{ReminderID: ref.ReminderID, Level: billing.ReminderFinal, Attempt: 1})
	run[any](g, g.message.SendMessage, activities.MessageRef{MessageID: n.Message})
	require.Contains(t, g.refuses(g.remind.HandOver, ref), "no delivery receipt")
	for range 2 {
		got := run[activities.ReceiptRecorded](g, g.message.RecordReceipt, activities.Receipt{ProviderNo: "SMS-" + string(n.Message), Delivered: true})
		require.Equal(t, ref.ReminderID, got.Reminder)
	}
	first := run[activities.HandedOver](g, g.remind.HandOver, ref)
	require.Equal(t, first, run[activities.HandedOver](g, g.remind.HandOver, ref))
	g.intact()
}

// Somebody keeps the meter closed on site, or by another system: that is theirs to end.
func TestCutOff_keptClosedByOthers(t *testing.T) {
	g, ref := due(t)
	m, err := g.Meter(context.Background(), "M0002")
	require.NoError(t, err)
	at := devices.Meter{Address: devices.Address{Gateway: "G1", HostPort: g.fleet.Addr("G1"), Unit: 2}, Serial: m.Serial, Profile: m.Profile}
	_, err = g.supply.Pool.KeepClosed(context.Background(), at)
	require.NoError(t, err)
	require.Equal(t, store.CutPrevented, run[activities.CutState](g, g.supply.CutOff, ref).State)
	require.Equal(t, "on", g.relay(serialPlatform))
	g.intact()
}

// A gateway that answers from memory for longer than can be waited for gets no command, and says why: a cut is planned anew, supply that is owed is
// a case, and goes on by itself once the gateway is set right. It is read all the same.
func TestSwitch_barredByTheGatewaysCache(t *testing.T) {
	const why = "answers reads from memory for 10001 ms, and only 10000 ms can be waited for"
	ctx := context.Background()
	g, ref := due(t)
	g.sql(`UPDATE gateways SET caches_reads_ms = 10001`)
	require.Equal(t, store.CutPlanned, run[activities.CutState](g, g.supply.CutOff, ref).State)
	require.Equal(t, "on", g.relay(serialPlatform))
	cut, err := g.Cutoff(ctx, ref.CutoffID)
	require.NoError(t, err)
	cmd, err := g.Command(ctx, cut.CommandID)
	require.NoError(t, err)
	require.Contains(t, cmd.Error, why)

	g.sql(`UPDATE gateways SET caches_reads_ms = 0`)
	g.setNow(g.now.Add(time.Hour))
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	g.sql(`UPDATE gateways SET caches_reads_ms = 10001`)
	id, err := g.OrderRestore(ctx, byTest, g.plain, "n", "paid in cash")
	require.NoError(t, err)
	r := run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: id})
	require.Equal(t, store.RestoreUnknown, r.State)
	require.NotEmpty(t, r.Case, "a person hears of it")
	restore, err := g.Restore(ctx, id)
	require.NoError(t, err)
	cmd, err = g.Command(ctx, restore.CommandID)
	require.NoError(t, err)
	require.Contains(t, cmd.Error, why)
	require.Equal(t, "off", g.relay(serialPlatform))

	g.sql(`UPDATE gateways SET caches_reads_ms = 0`)
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: id}).State)
	require.Equal(t, "on", g.relay(serialPlatform))
	g.intact()
}
