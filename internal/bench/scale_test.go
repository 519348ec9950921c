package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/bench"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// run is a synthetic site whose month is billed by the activities alone.
type run struct {
	*store.Store
	u     bench.Utility
	t     *testing.T
	env   *testsuite.TestActivityEnvironment
	bills *activities.Billing
}

func newRun(t *testing.T, accounts int) *run {
	t.Helper()
	s := storetest.New(t)
	r := &run{Store: s, u: bench.Utility{Site: "s", Accounts: accounts, Journaled: true}, t: t, bills: &activities.Billing{Store: s}}
	require.NoError(t, bench.Prepare(t.Context(), s, bench.Month.To.At(9, 0, bench.Zone())))
	require.NoError(t, r.u.Load(t.Context(), s))
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	r.env = suite.NewTestActivityEnvironment()
	r.env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&activities.ErrorInterceptor{}}})
	r.env.RegisterActivity(r.bills)
	r.do(r.bills.OpenRun, activities.RunStart{RunID: r.u.RunID(), Site: r.u.Site, Period: bench.Month, Version: 1})
	return r
}

// do runs an activity twice, because every activity may be repeated.
func (r *run) do(activity, in any) {
	r.t.Helper()
	for range 2 {
		_, err := r.env.ExecuteActivity(activity, in)
		require.NoError(r.t, err)
	}
}

func (r *run) ref() activities.RunRef { return activities.RunRef{RunID: r.u.RunID()} }

func (r *run) chunk(no int) activities.ChunkRef {
	return activities.ChunkRef{RunID: r.u.RunID(), Chunk: no}
}

func (r *run) count(sql string, args ...any) (n int64) {
	r.t.Helper()
	require.NoError(r.t, r.Pool.QueryRow(r.t.Context(), sql, args...).Scan(&n))
	return n
}

func (r *run) exec(sql string, args ...any) {
	r.t.Helper()
	_, err := r.Pool.Exec(r.t.Context(), sql, args...)
	require.NoError(r.t, err)
}

// rate rates all chunks in an order of their own, and hands the run to the supervisors.
func (r *run) rate(chunks ...int) {
	r.t.Helper()
	r.do(r.bills.PlanRun, r.ref())
	require.Equal(r.t, int64(len(chunks)), r.count(`SELECT count(*) FROM billing_chunks`))
	for _, no := range chunks {
		r.do(r.bills.RateChunk, r.chunk(no))
	}
	r.do(r.bills.SumRun, r.ref())
}

func (r *run) issue(chunks ...int) {
	r.t.Helper()
	_, err := r.env.ExecuteActivity(r.bills.VerifyRun, activities.RunDecision{RunID: r.u.RunID(), By: bench.Verifier})
	require.NoError(r.t, err)
	_, err = r.env.ExecuteActivity(r.bills.ApproveIssue, activities.RunDecision{RunID: r.u.RunID(), By: bench.Issuer})
	require.NoError(r.t, err)
	for _, no := range chunks {
		r.do(r.bills.IssueChunk, r.chunk(no))
	}
	r.do(r.bills.FinishIssue, r.ref())
}

// holds wants the invariants of money and of the journal green.
func (r *run) holds() {
	r.t.Helper()
	found, err := proof.Check(r.t.Context(), r.Pool, nil)
	require.NoError(r.t, err)
	for _, i := range found {
		require.Zero(r.t, i.Violations, "%s: %v", i.Name, i.Details)
	}
}

// totals are the control totals computed from the bills themselves.
func (r *run) totals() string {
	r.t.Helper()
	var text string
	require.NoError(r.t, r.Pool.QueryRow(r.t.Context(), `SELECT format('%s %s %s %s', count(*) FILTER (WHERE state IN ('draft', 'issued')), count(*) FILTER (WHERE state = 'held'),
		coalesce(sum(total_fen) FILTER (WHERE state IN ('draft', 'issued')), 0), coalesce(sum(quantity) FILTER (WHERE state IN ('draft', 'issued')), 0)) FROM bills WHERE run_id = $1`, r.u.RunID()).Scan(&text))
	return text
}

// chunked are the same, as the chunks' rows say them.
func (r *run) chunked() string {
	r.t.Helper()
	var text string
	require.NoError(r.t, r.Pool.QueryRow(r.t.Context(), `SELECT format('%s %s %s %s', sum(bills), sum(held), sum(total_fen), sum(power_raw + water_raw)) FROM billing_chunks WHERE run_id = $1`, r.u.RunID()).Scan(&text))
	return text
}

func TestRun_inChunks(t *testing.T) {
	t.Parallel()
	r := newRun(t, 2100)
	r.rate(2, 3, 1)
	require.Equal(t, r.totals(), r.chunked())
	p, err := r.RunProgress(t.Context(), r.u.RunID())
	require.NoError(t, err)
	require.Equal(t, store.RunProgress{Accounts: 2100, Rated: 2100, Bills: 2100}, p)
	require.Less(t, r.count(`SELECT count(*) FROM journal WHERE kind IN ('bill', 'bills')`), int64(12), "a page is one row, not one per bill")

	// A bill that is held and released moves the totals of its chunk, and leads to the same sums as counting all bills again.
	bill := billing.BillID(fmt.Sprintf("B%s-202603-1", r.u.Account(1500)))
	decide := activities.BillDecision{RunID: r.u.RunID(), BillID: bill, By: bench.Verifier, Reason: "a complaint"}
	_, err = r.env.ExecuteActivity(r.bills.HoldBill, decide)
	require.NoError(t, err)
	require.Equal(t, r.totals(), r.chunked())
	require.Contains(t, r.chunked(), "2099 1 ")
	r.holds()
	_, err = r.env.ExecuteActivity(r.bills.ReleaseBill, decide)
	require.NoError(t, err)
	require.Equal(t, r.totals(), r.chunked())
	r.holds()

	r.issue(3, 1, 2)
	require.NoError(t, r.u.Check(t.Context(), r.Store))
	require.Equal(t, int64(2100), r.count(`SELECT count(*) FROM bill_meters WHERE stands`))
	p, err = r.RunProgress(t.Context(), r.u.RunID())
	require.NoError(t, err)
	require.Equal(t, store.RunProgress{Accounts: 2100, Rated: 2100, Bills: 2100, Issued: 2100}, p)
	r.holds()

	// Each bill and each account leads to the rows that stand for its page.
	for _, number := range []string{string(bill), string(r.u.Account(7))} {
		events, err := r.Timeline(t.Context(), []billing.SiteID{r.u.Site}, number, 0, 20)
		require.NoError(t, err)
		require.Equal(t, "issued", events[0].Event)
		require.Equal(t, "bills", events[0].Kind)
		require.LessOrEqual(t, len(events[0].Refs), 20)
	}
}

// What proof says of page rows must be able to fail: each of these is a hand in the database that only the digest of a page can tell.
func TestRun_pagesAreProvable(t *testing.T) {
	t.Parallel()
	r := newRun(t, 60)
	r.rate(1)
	r.issue(1)
	r.holds()
	for name, sql := range map[string]string{
		"a bill's total and its line": `WITH l AS (UPDATE bill_lines SET amount_fen = amount_fen + 1 WHERE (bill_id, seq) = (SELECT min(bill_id), 1::smallint FROM bill_lines) RETURNING bill_id)
			UPDATE bills SET total_fen = total_fen + 1 WHERE id = (SELECT bill_id FROM l)`,
		"a line's price":  `UPDATE bill_lines SET price = price + 0.00000001 WHERE (bill_id, seq) = (SELECT min(bill_id), 1::smallint FROM bill_lines)`,
		"a bill's state":  `UPDATE bills SET state = 'cancelled' WHERE id = (SELECT min(id) FROM bills)`,
		"a bill's charge": `UPDATE bills SET charged_fen = charged_fen + 1 WHERE id = (SELECT min(id) FROM bills)`,
	} {
		tx, err := r.Pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `SET LOCAL session_replication_role = replica`)
		require.NoError(t, err)
		tag, err := tx.Exec(t.Context(), sql)
		require.NoError(t, err)
		require.Positive(t, tag.RowsAffected())
		violations, err := proof.JournalOfBills(t.Context(), tx)
		require.NoError(t, err)
		require.NotEmpty(t, violations, name)
		require.NoError(t, tx.Rollback(t.Context()))
	}
}

// The time of a meter is billed once, whatever the code forgot: by another version, by another account, through an exchange.
func TestRun_neverBillsAMeterTwice(t *testing.T) {
	t.Parallel()
	r := newRun(t, 60)
	r.rate(1)
	r.issue(1)
	ctx := t.Context()
	bill := func(version int, account int, from, to string) error {
		_, err := r.Pool.Exec(ctx, `INSERT INTO bills (id, run_id, site_id, account_id, period_from, period_to, version, state, tariff_id, engine, quantity, input, total_fen, readings)
			SELECT 'TWICE', $1, $2, $3, $4::date, $5::date, $6, 'issued', tariff_id, 'rating/1', 0, '{}', 0,
				jsonb_build_array(jsonb_build_object('meter', $7::text, 'from', $4::timestamptz, 'to', $5::timestamptz)) FROM accounts WHERE id = $3`,
			r.u.RunID(), r.u.Site, r.u.Account(account), from, to, version, r.u.Meter(1))
		return err
	}
	require.ErrorContains(t, bill(2, 1, "2026-03-01", "2026-04-01"), "bills_one_issued", "the account and period")
	require.ErrorContains(t, bill(2, 2, "2026-03-20", "2026-04-10"), "bill_meters_once", "the meter, as if it had moved to another account meanwhile")
	require.ErrorContains(t, bill(2, 2, "2026-02-10", "2026-03-02"), "bill_meters_once", "from the other side")
	require.NoError(t, bill(2, 2, "2026-04-02", "2026-05-01"), "later time is free")

	// A reversed bill gives its meter's time free, and its successor takes it. Nothing of it is committed: only a correction may.
	first := fmt.Sprintf("B%s-202603-1", r.u.Account(1))
	tx, err := r.Pool.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	_, err = tx.Exec(ctx, `UPDATE bills SET state = 'reversed' WHERE id = $1`, first)
	require.NoError(t, err)
	var stands int
	require.NoError(t, tx.QueryRow(ctx, `SELECT count(*) FROM bill_meters WHERE bill_id = $1 AND stands`, first).Scan(&stands))
	require.Zero(t, stands)
	_, err = tx.Exec(ctx, `INSERT INTO bills (id, run_id, site_id, account_id, period_from, period_to, version, state, tariff_id, engine, quantity, readings, input, total_fen)
		SELECT 'AGAIN', run_id, site_id, account_id, period_from, period_to, 2, 'issued', tariff_id, engine, quantity, readings, input, total_fen FROM bills WHERE id = $1`, first)
	require.NoError(t, err)
}

// A bill that turns out at its issue to bill something twice is held; the other bills of its page are issued.
func TestRun_holdsWhatWasBilledMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRun(t, 60)
	r.rate(1)
	// Bill 3 says that it measures with the meter of bill 2, and bill 5's account is billed by another hand.
	r.exec(`UPDATE bills SET readings = (SELECT readings FROM bills o WHERE o.account_id = $2) WHERE account_id = $1`, r.u.Account(3), r.u.Account(2))
	r.exec(`INSERT INTO bills (id, run_id, site_id, account_id, period_from, period_to, version, state, tariff_id, engine, quantity, readings, input, total_fen)
		SELECT 'OTHER', run_id, site_id, account_id, period_from, period_to, 7, 'issued', tariff_id, engine, 0, readings, input, 0 FROM bills WHERE account_id = $1`, r.u.Account(5))
	r.issue(1)
	require.Equal(t, int64(58), r.count(`SELECT count(*) FROM bills WHERE state = 'issued' AND version = 1`))
	require.Equal(t, int64(2), r.count(`SELECT count(*) FROM bills WHERE state = 'held' AND account_id = ANY($1)`, []string{string(r.u.Account(3)), string(r.u.Account(5))}))
	require.Equal(t, int64(1), r.count(`SELECT count(*) FROM bills WHERE state = 'held' AND hold_reason LIKE '%OTHER%'`))
	require.Contains(t, r.chunked(), "58 2 ")
}

func TestRun_cancelled(t *testing.T) {
	t.Parallel()
	r := newRun(t, 1100)
	r.do(r.bills.PlanRun, r.ref())
	r.do(r.bills.RateChunk, r.chunk(1))
	cancel := activities.RunCancel{RunID: r.u.RunID(), By: bench.Verifier}
	_, err := r.env.ExecuteActivity(r.bills.CancelRun, cancel)
	require.ErrorContains(t, err, "a reason is needed")
	cancel.Reason = "the tariff was wrong"
	r.do(r.bills.CancelRun, cancel)
	// A page that was on its way finds the run cancelled, and another run of the period can begin.
	r.do(r.bills.RateChunk, r.chunk(2))
	require.Equal(t, int64(1000), r.count(`SELECT count(*) FROM bills`))
	for no := range 2 {
		r.do(r.bills.CancelChunk, r.chunk(no+1))
	}
	require.Zero(t, r.count(`SELECT count(*) FROM bills WHERE state <> 'cancelled'`))
	r.holds()
	id, version, err := r.NextRun(t.Context(), r.u.Site, bench.Month)
	require.NoError(t, err)
	require.Equal(t, 2, version)
	_, err = r.OpenRun(t.Context(), storetest.By, store.NewRun{ID: id, Site: r.u.Site, Period: bench.Month, Version: version})
	require.NoError(t, err)
	_, err = r.OpenRun(context.Background(), storetest.By, store.NewRun{ID: "s/2026-03/3", Site: r.u.Site, Period: bench.Month, Version: 3})
	require.ErrorContains(t, err, "not finished")
}
