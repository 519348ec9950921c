package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// readingSide is a utility with one account and helpers that live a day without any judgement.
type readingSide struct {
	*storetest.Utility
	t       *testing.T
	account billing.AccountID
	meter   billing.MeterID
}

func newReadingSide(t *testing.T) *readingSide {
	t.Helper()
	r := &readingSide{Utility: storetest.NewUtility(t, billing.MustDate("2026-01-01").Start(storetest.Zone)), t: t}
	r.account, r.meter = r.Account(storetest.NewAccount{})
	return r
}

func (r *readingSide) plan(day string) billing.CycleID {
	r.t.Helper()
	d := billing.MustDate(day)
	storetest.SetClock(r.t, r.Store, d.At(0, 5, storetest.Zone))
	id := billing.CycleID("park/" + day)
	_, err := r.PlanCycle(r.t.Context(), storetest.By, store.NewCycle{
		ID: id, Site: r.Site, Day: d, FreezeAt: d.Start(storetest.Zone), WindowEnd: d.At(6, 0, storetest.Zone),
	})
	require.NoError(r.t, err)
	r.advance(id, billing.CycleSweeping)
	return id
}

func (r *readingSide) advance(id billing.CycleID, to billing.CycleState) {
	r.t.Helper()
	_, err := r.AdvanceCycle(r.t.Context(), storetest.By, id, to)
	require.NoError(r.t, err)
}

func (r *readingSide) sweep(id billing.CycleID, total int64) {
	r.t.Helper()
	c, err := r.Cycle(r.t.Context(), id)
	require.NoError(r.t, err)
	require.NoError(r.t, r.SaveSweep(r.t.Context(), storetest.By, id, 1, []store.Swept{{Gateway: "G1", Meter: r.meter, Outcome: "read", Reading: &store.Reading{
		Meter: r.meter, FreezeAt: c.FreezeAt, Version: 1, TakenAt: c.FreezeAt, TakenReal: c.FreezeAt, Quality: billing.QualityActual,
		Registers: billing.Registers{total, 0, 0, total, 0, 0}, Supply: "on", Cycle: &id, RecordedBy: "workflow",
	}}}))
}

func (r *readingSide) closed(day string, total int64) billing.CycleID {
	r.t.Helper()
	id := r.plan(day)
	r.sweep(id, total)
	r.advance(id, billing.CycleValidating)
	r.advance(id, billing.CycleClosed)
	_, _, err := r.OpenChargeRun(r.t.Context(), storetest.By, id)
	require.NoError(r.t, err)
	return id
}

func (r *readingSide) count(sql string, args ...any) (n int64) {
	r.t.Helper()
	require.NoError(r.t, r.Pool.QueryRow(r.t.Context(), sql, args...).Scan(&n))
	return n
}

func notLow(billing.AccountID, billing.Money) billing.ReminderState { return "" }

func TestSaveSweep_afterTheSweepIsDiscarded(t *testing.T) {
	t.Parallel()
	r := newReadingSide(t)
	id := r.plan("2026-01-02")
	r.advance(id, billing.CycleValidating)
	r.sweep(id, 1000)
	require.Zero(t, r.count(`SELECT count(*) FROM readings`), "nobody would judge it any more")
	require.Equal(t, int64(1), r.count(`SELECT count(*) FROM cycle_meters WHERE outcome = 'planned'`))
}

func TestReadings_areGoodOnlyOnceTheirCycleIsClosed(t *testing.T) {
	t.Parallel()
	r := newReadingSide(t)
	id := r.plan("2026-01-02")
	r.sweep(id, 1000)
	good := func() int64 { return r.count(`SELECT count(*) FROM good_readings`) }
	require.Zero(t, good())
	r.advance(id, billing.CycleValidating)
	require.Zero(t, good())
	r.advance(id, billing.CycleClosed)
	require.Equal(t, int64(1), good())
	_, err := r.Pool.Exec(t.Context(), `UPDATE readings SET registers = '{1}'`)
	require.ErrorContains(t, err, "append-only")
	_, err = r.Pool.Exec(t.Context(), `DELETE FROM readings`)
	require.ErrorContains(t, err, "append-only")
}

func TestAdvanceCycle_neverGoesBack(t *testing.T) {
	t.Parallel()
	r := newReadingSide(t)
	id := r.closed("2026-01-02", 1000)
	rows := r.count(`SELECT count(*) FROM journal WHERE chain = 'cycle/' || $1`, id)
	r.advance(id, billing.CycleSweeping)
	c, err := r.Cycle(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, billing.CycleClosed, c.State)
	require.Equal(t, rows, r.count(`SELECT count(*) FROM journal WHERE chain = 'cycle/' || $1`, id))
}

// Two charges of one account at once, from two cycles, in any order: what was charged is what the newest reading says.
func TestSaveCharges_concurrently(t *testing.T) {
	t.Parallel()
	r := newReadingSide(t)
	first, second := r.closed("2026-01-02", 1000), r.closed("2026-01-03", 2000)
	january := billing.MustDate("2026-01-01")
	charges := map[billing.CycleID]store.Charge{
		first:  {Account: r.account, PeriodFrom: january, Upto: billing.MustDate("2026-01-02").Start(storetest.Zone), RatedFen: 538},
		second: {Account: r.account, PeriodFrom: january, Upto: billing.MustDate("2026-01-03").Start(storetest.Zone), RatedFen: 1076},
	}
	var wg sync.WaitGroup
	for range 4 {
		for cycle, c := range charges {
			wg.Go(func() {
				require.NoError(t, r.SaveCharges(context.Background(), storetest.By, cycle, []store.Charge{c}, billing.MakeUpRule{}, notLow))
			})
		}
	}
	wg.Wait()
	require.Equal(t, int64(10_000-1076), r.count(`SELECT balance_fen FROM balances WHERE account_id = $1`, r.account))
	require.Equal(t, int64(1076), r.count(`SELECT sum(amount_fen)::bigint FROM charges`))
}

func TestSaveCharges_neverAfterTheBill(t *testing.T) {
	t.Parallel()
	r := newReadingSide(t)
	id := r.closed("2026-02-02", 1000)
	january := billing.MustDate("2026-01-01")
	_, err := r.Pool.Exec(t.Context(), `INSERT INTO billing_runs (id, site_id, period_from, period_to, version, state, opened_at, opened_by, verified_by, issued_by)
		VALUES ('park/2026-01/1', 'park', '2026-01-01', '2026-02-01', 1, 'issued', now(), 'workflow', 'sup1', 'sup2')`)
	require.NoError(t, err)
	_, err = r.Pool.Exec(t.Context(), `INSERT INTO bills (id, run_id, site_id, account_id, period_from, period_to, version, state, tariff_id, engine, quantity, readings, input, total_fen)
		VALUES ('B1', 'park/2026-01/1', 'park', $1, '2026-01-01', '2026-02-01', 1, 'issued', 'zj-residential', 'rating/1', 0, '[]', '{}', 0)`, r.account)
	require.NoError(t, err)
	late := store.Charge{Account: r.account, PeriodFrom: january, Upto: billing.MustDate("2026-02-01").Start(storetest.Zone), RatedFen: 500}
	require.NoError(t, r.SaveCharges(t.Context(), storetest.By, id, []store.Charge{late}, billing.MakeUpRule{}, notLow))
	require.Zero(t, r.count(`SELECT count(*) FROM charges`), "a billed period takes no more charges")
	_, err = r.Pool.Exec(t.Context(), `UPDATE billing_runs SET issued_by = 'sup1'`)
	require.ErrorContains(t, err, "verifier_is_not_issuer")

	next, version, err := r.NextRun(t.Context(), r.Site, billing.MonthPeriod(january))
	require.NoError(t, err)
	require.Equal(t, billing.RunID("park/2026-01/2"), next)
	_, err = r.OpenRun(t.Context(), storetest.By, store.NewRun{ID: next, Site: r.Site, Period: billing.MonthPeriod(january), Version: version})
	require.NoError(t, err)
	_, _, err = r.NextRun(t.Context(), r.Site, billing.MonthPeriod(january))
	require.ErrorContains(t, err, "is not finished")
}

func TestOpenCase_oneOpenPerCause(t *testing.T) {
	t.Parallel()
	r := newReadingSide(t)
	open := func() (id billing.CaseID, fresh bool) {
		err := r.Change(t.Context(), storetest.By, func(tx *store.Tx) (err error) {
			id, fresh, err = store.OpenCase(t.Context(), tx, store.NewCase{Site: r.Site, Kind: store.KindCreditInDoubt, Cause: "recharge/R1", Account: &r.account, DueAfter: time.Hour})
			return err
		})
		require.NoError(t, err)
		return id, fresh
	}
	first, fresh := open()
	require.True(t, fresh)
	again, fresh := open()
	require.False(t, fresh)
	require.Equal(t, first, again)
	resolve := store.Resolution{Case: first, Decision: "settle_credited", By: "sup1", Reason: "seen on the display", Close: true}
	require.NoError(t, r.ResolveCase(t.Context(), storetest.By, resolve))
	require.Equal(t, billing.CodeClosed, billing.CodeOf(r.ResolveCase(t.Context(), storetest.By, resolve)))
	next, fresh := open()
	require.True(t, fresh)
	require.NotEqual(t, first, next)
}
