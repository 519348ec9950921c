package store_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

func newBatch(t *testing.T, u *storetest.Utility, action billing.BatchAction, meters ...billing.MeterID) store.NewBatch {
	t.Helper()
	id, err := u.NextBatchID(t.Context())
	require.NoError(t, err)
	facts, err := u.BatchFacts(t.Context(), store.BatchScope{Site: u.Site, Meters: meters}, 10)
	require.NoError(t, err)
	n := store.NewBatch{ID: id, Site: u.Site, Kind: billing.BatchRelay, Action: action, Rate: 60, Reason: "storm", Expires: time.Hour}
	for _, f := range facts {
		n.Members = append(n.Members, store.NewBatchMember{BatchFacts: f})
	}
	return n
}

func mayAll(store.BatchFacts) (store.BatchVerdict, error) { return store.BatchVerdict{}, nil }

var batchStart = time.Date(2026, 1, 12, 2, 30, 0, 0, time.UTC)

// What the tables refuse whatever the code above them says: supply taken away, a release by its own maker, a second order.
func TestBatch_constraints(t *testing.T) {
	u := storetest.NewUtility(t, batchStart)
	ctx := context.Background()
	_, one := u.Account(storetest.NewAccount{})
	for _, action := range []billing.BatchAction{"trip", "close", billing.BatchSetClock} {
		n := newBatch(t, u, action, one)
		require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(u.PlanBatch(ctx, store.By{Actor: "sup1"}, n)), action)
	}
	n := newBatch(t, u, billing.BatchRelease, one)
	for range 2 {
		require.NoError(t, u.PlanBatch(ctx, store.By{Actor: "sup1"}, n), "planning it again changes nothing")
	}
	_, err := u.StartBatch(ctx, store.By{Actor: "sup1"}, n.ID)
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(err))
	for range 2 {
		b, err := u.StartBatch(ctx, store.By{Actor: "sup2"}, n.ID)
		require.NoError(t, err)
		require.Equal(t, billing.BatchRunning, b.State)
	}
	_, err = u.StartBatch(ctx, store.By{Actor: "boss"}, n.ID)
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err))
	var first billing.CommandID
	for range 3 {
		step, err := u.BeginBatchMember(ctx, store.By{Actor: "workflow"}, n.ID, one, mayAll)
		require.NoError(t, err)
		require.True(t, step.Send)
		if first == "" {
			first = step.Command.ID
		}
		require.Equal(t, first, step.Command.ID, "one order, however often it is begun")
	}
	_, err = u.Pool.Exec(ctx, `UPDATE batch_members SET state = 'skipped'`)
	require.ErrorContains(t, err, "batch_member_skipped_for_a_reason")
}

func TestBatch_expiredPreview(t *testing.T) {
	u := storetest.NewUtility(t, batchStart)
	ctx := context.Background()
	_, one := u.Account(storetest.NewAccount{})
	n := newBatch(t, u, billing.BatchKeepOn, one)
	require.NoError(t, u.PlanBatch(ctx, store.By{Actor: "sup1"}, n))
	storetest.SetClock(t, u.Store, batchStart.Add(time.Hour))
	_, err := u.StartBatch(ctx, store.By{Actor: "sup1"}, n.ID)
	require.Equal(t, billing.CodeStale, billing.CodeOf(err))
	_, err = u.Batch(ctx, "B-0")
	require.Equal(t, billing.CodeNotFound, billing.CodeOf(err))
}

// Cancelling and beginning the same member at the same moment leave no order that nobody counts.
func TestBatch_cancelRacesTheOrders(t *testing.T) {
	u := storetest.NewUtility(t, batchStart)
	ctx := context.Background()
	var meters []billing.MeterID
	for range 6 {
		_, m := u.Account(storetest.NewAccount{})
		meters = append(meters, m)
	}
	n := newBatch(t, u, billing.BatchKeepOn, meters...)
	require.NoError(t, u.PlanBatch(ctx, store.By{Actor: "sup1"}, n))
	_, err := u.StartBatch(ctx, store.By{Actor: "sup1"}, n.ID)
	require.NoError(t, err)
	done := make(chan error, len(meters)+1)
	for i, m := range meters {
		go func() {
			_, err := u.BeginBatchMember(ctx, store.By{Actor: "workflow"}, n.ID, m, mayAll)
			done <- err
		}()
		if i == len(meters)/2 {
			go func() {
				_, err := u.CancelBatch(ctx, store.By{Actor: "sup1"}, n.ID, "wrong street")
				done <- err
			}()
		}
	}
	for range len(meters) + 1 {
		require.NoError(t, <-done)
	}
	counts, err := u.BatchCounts(ctx, n.ID)
	require.NoError(t, err)
	var commands int
	require.NoError(t, u.Pool.QueryRow(ctx, `SELECT count(*) FROM commands`).Scan(&commands))
	require.Equal(t, len(meters), counts[billing.MemberSending]+counts[billing.MemberCancelled])
	require.Equal(t, commands, counts[billing.MemberSending])
	for _, m := range meters {
		step, err := u.BeginBatchMember(ctx, store.By{Actor: "workflow"}, n.ID, m, mayAll)
		require.NoError(t, err)
		require.Equal(t, step.Member.State == billing.MemberSending, step.Send, "what had left is settled, the rest never leaves")
	}
}

// The facts that a judgement rests on are those of the tables, and a meter that was given to another account since is left alone.
func TestBatch_facts(t *testing.T) {
	u := storetest.NewUtility(t, batchStart)
	ctx := context.Background()
	account, one := u.Account(storetest.NewAccount{Mode: billing.CreditMeter, Fen: 700})
	_, two := u.Account(storetest.NewAccount{Gateway: "G2", Service: billing.Water})
	_, err := u.AddProtection(ctx, store.By{Actor: "boss"}, store.Protection{Account: account, Kind: "keep_power", FromAt: batchStart, UntilAt: batchStart.Add(time.Hour), Reason: "ice"})
	require.NoError(t, err)
	for want, scopes := range map[billing.MeterID][]store.BatchScope{two: {{Gateway: "G2"}, {Address: "room a0002"}}, one: {{Service: billing.Power}}} {
		for _, scope := range scopes {
			scope.Site = u.Site
			facts, err := u.BatchFacts(ctx, scope, 10)
			require.NoError(t, err)
			require.Len(t, facts, 1)
			require.Equal(t, want, facts[0].Meter)
		}
	}
	facts, err := u.BatchFacts(ctx, store.BatchScope{Site: u.Site, Meters: []billing.MeterID{one}}, 10)
	require.NoError(t, err)
	f := facts[0]
	require.Equal(t, store.BatchFacts{Meter: one, Account: &account, Gateway: "G1", Profile: "sim-ddsy1352", Service: billing.Power, CreditMode: billing.CreditMeter, Tariff: "zj-residential",
		BalanceFen: 700, Supply: billing.SupplyOn, Wanted: billing.SupplyOn, Protected: true, Allowed: []int{}}, f)
	_, err = u.BatchFacts(ctx, store.BatchScope{Site: u.Site}, 1)
	require.ErrorContains(t, err, "at most 1 meters")

	n := newBatch(t, u, billing.BatchKeepOn, one)
	require.NoError(t, u.PlanBatch(ctx, store.By{Actor: "sup1"}, n))
	_, err = u.StartBatch(ctx, store.By{Actor: "sup1"}, n.ID)
	require.NoError(t, err)
	_, err = u.Pool.Exec(ctx, `UPDATE meters SET state = 'removed' WHERE id = $1`, one)
	require.NoError(t, err)
	step, err := u.BeginBatchMember(ctx, store.By{Actor: "workflow"}, n.ID, one, func(store.BatchFacts) (store.BatchVerdict, error) {
		return store.BatchVerdict{Decision: json.RawMessage(`{}`)}, nil
	})
	require.NoError(t, err)
	require.False(t, step.Send)
	require.Equal(t, billing.SkipMoved, step.Member.Skip)
	b, err := u.FinishBatch(ctx, store.By{Actor: "workflow"}, n.ID)
	require.NoError(t, err)
	require.Equal(t, billing.BatchDone, b.State)
	rows, total, err := u.BatchPage(ctx, []billing.SiteID{u.Site}, "open", 10, 0)
	require.NoError(t, err)
	require.Empty(t, rows)
	require.Zero(t, total)
}
