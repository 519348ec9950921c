package app_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/devstack"
	"github.com/meterflow/meterflow/internal/proof"
)

// planting is one violation: planted in the tables, or in the meters' record.
type planting struct {
	invariant, what string
	also            []string // what else it can't but break
	sql             []string
	record          func(t *testing.T, entries []simulator.RecordEntry) []simulator.RecordEntry
}

// firstCut picks the account and the instant of the first cut that the meter took; the plantings that make it a wrong one share it.
const firstCut = `CREATE TEMP TABLE cut AS SELECT account_id, meter_id, site_id, sent_at FROM commands
	WHERE kind = 'trip' AND state = 'verified' AND sent_at IS NOT NULL ORDER BY sent_at LIMIT 1`

// The tables forbid most of these: triggers and constraints are switched off first, as somebody with the superuser's password could.
var plantings = []planting{
	{invariant: proof.LedgerBalances, what: "a balance that no posting explains", sql: []string{
		`UPDATE balances SET balance_fen = balance_fen + 1 WHERE account_id = (SELECT min(account_id) FROM balances)`}},
	{invariant: proof.LedgerBalances, what: "an entry on a closed day", sql: []string{
		`UPDATE ledger_entries SET day = (SELECT min(day) FROM ledger_days d WHERE d.site_id = ledger_entries.site_id) WHERE id = (SELECT max(id) FROM ledger_entries)`}},
	{invariant: proof.LedgerBalances, what: "a hold that nobody released", sql: []string{
		`UPDATE balances SET held_fen = held_fen + 1 WHERE account_id = (SELECT min(account_id) FROM balances)`}},
	{invariant: proof.CreditedOnce, what: "a purchase that nobody ordered", record: func(t *testing.T, entries []simulator.RecordEntry) []simulator.RecordEntry {
		i := firstPurchase(t, entries)
		again := entries[i]
		again.Count += 1000 // not a count that we ever wrote
		return slices.Insert(slices.Clone(entries), i+1, again)
	}},
	{invariant: proof.CreditedOnce, what: "a credit that the meter doesn't know", record: func(t *testing.T, entries []simulator.RecordEntry) []simulator.RecordEntry {
		i := firstPurchase(t, entries)
		return slices.Delete(slices.Clone(entries), i, i+1)
	}},
	{invariant: proof.CreditedOnce, what: "a credit that was never delivered", sql: []string{
		`UPDATE recharges SET meter_id = (SELECT meter_id FROM commands WHERE kind = 'credit' AND state = 'verified' ORDER BY id LIMIT 1)
			WHERE id = (SELECT min(id) FROM recharges WHERE state = 'credited' AND meter_id IS NULL)`}},
	{invariant: proof.BilledEqualsRead, what: "another ratio than was billed", sql: []string{
		`UPDATE fittings SET ratio = ratio + 1 WHERE service_point_id = (SELECT a.service_point_id FROM bills b JOIN accounts a ON a.id = b.account_id
			WHERE b.state = 'issued' AND b.quantity > 0 ORDER BY b.id LIMIT 1)`}},
	{invariant: proof.BilledEqualsRead, what: "a reversed bill without its successor", sql: []string{`DELETE FROM bill_reversals`}},
	{invariant: proof.LedgerBalances, what: "a period's revenue twice", sql: []string{
		`WITH e AS (INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject, day)
				SELECT site_id, 'bill_issued', 'planted', '\x', business_now(), id, (business_now() AT TIME ZONE 'Asia/Shanghai')::date FROM bills WHERE state = 'issued' AND total_fen > 0 ORDER BY id LIMIT 1 RETURNING id, site_id)
			INSERT INTO ledger_postings SELECT id, 1, site_id || '/unbilled', 100 FROM e UNION ALL SELECT id, 2, site_id || '/revenue/power', -100 FROM e`}},
	{invariant: proof.LedgerBalances, what: "a late fee that no line explains", sql: []string{
		`UPDATE bills SET late_fen = late_fen + 1 WHERE id = (SELECT min(id) FROM bills WHERE state = 'issued')`}},
	{invariant: proof.NoWrongCut, what: "of a protected customer", sql: []string{firstCut,
		`INSERT INTO protections (account_id, kind, from_at, until_at, owner, reason)
			SELECT account_id, 'keep_power', sent_at - interval '1 day', sent_at + interval '1 day', (SELECT min(id) FROM users), 'planted' FROM cut`}},
	{invariant: proof.NoWrongCut, what: "on a day off", sql: []string{firstCut,
		`INSERT INTO calendar_days (day, off, name) SELECT (sent_at AT TIME ZONE 'Asia/Shanghai')::date, true, 'planted' FROM cut
			ON CONFLICT (day) DO UPDATE SET off = true`}},
	{invariant: proof.NoWrongCut, what: "on a doubtful reading", sql: []string{firstCut,
		`UPDATE readings r SET doubtful = true FROM cut WHERE r.meter_id = cut.meter_id`}},
	{invariant: proof.NoWrongCut, what: "without a delivered notice", sql: []string{firstCut,
		`UPDATE messages m SET delivered_at = cut.sent_at + interval '1 minute' FROM cut WHERE m.account_id = cut.account_id AND m.kind = 'final'`}},
	{invariant: proof.NoWrongCut, what: "of a customer who might pay later", also: []string{proof.LedgerBalances, proof.JournalComplete}, sql: []string{firstCut,
		`INSERT INTO payment_plans (id, site_id, account_id, cycle_id, rule, facts, lowest_bill, total_fen, part_fen, outstanding_fen, next_due, state, proposed_at, approved_by, approved_at)
			SELECT 'Y0', site_id, account_id, (SELECT min(id) FROM cycles c WHERE c.site_id = cut.site_id), '{}', '{}', (SELECT min(id) FROM bills WHERE state = 'issued'),
				10000000, 1, 10000000, sent_at::date + 1, 'running', sent_at - interval '1 day', (SELECT min(id) FROM users), sent_at FROM cut`}},
	{invariant: proof.NoWrongCut, what: "under an arrears contract", sql: []string{firstCut,
		`UPDATE account_terms t SET arrears_contract = true FROM cut WHERE t.account_id = cut.account_id`}},
	{invariant: proof.ThreePersons, what: "one approver twice", sql: []string{
		`ALTER TABLE recharges DROP CONSTRAINT approvers_differ`,
		`UPDATE recharges SET approved2_by = approved1_by WHERE id = (SELECT min(id) FROM recharges WHERE state = 'credited')`}},
	{invariant: proof.ThreePersons, what: "a maker who approves prices", sql: []string{
		`ALTER TABLE tariff_changes DROP CONSTRAINT tariff_maker_is_not_second_approver`,
		`UPDATE tariff_changes SET approved2_by = made_by WHERE state IN ('published', 'in_force')`}},
	{invariant: proof.ThreePersons, what: "a refund paid out by who approved it", sql: []string{
		`ALTER TABLE holds DROP CONSTRAINT hold_paid_out_by_a_third`,
		`UPDATE holds SET settled_by = approved_by WHERE id = (SELECT min(id) FROM holds WHERE state = 'posted' AND purpose = 'refund')`}},
	{invariant: proof.ThreePersons, what: "a protection ended by two", sql: []string{
		`ALTER TABLE protections DROP CONSTRAINT protection_ended_by_three`,
		`UPDATE protections SET ended_by3 = ended_by2 WHERE id = (SELECT min(id) FROM protections WHERE ended_at IS NOT NULL)`}},
	{invariant: proof.ThreePersons, what: "a published price that nobody approved", sql: []string{
		`UPDATE tariff_versions SET version = jsonb_set(version, '{components,0,bands,0,price}', '"9.99"') WHERE change_id IS NOT NULL`}},
	{invariant: proof.VerifiedWasTrue, what: "prices that no meter holds", sql: []string{
		`UPDATE tariff_pushes SET prices[1] = prices[1] + 10000 WHERE id = (SELECT min(id) FROM tariff_pushes WHERE state = 'verified')`}},
	{invariant: proof.CycleComplete, what: "neither reading nor case", sql: []string{
		`CREATE TEMP TABLE victim AS SELECT m.meter_id, c.freeze_at FROM cycles c JOIN cycle_meters m ON m.cycle_id = c.id
			WHERE c.state = 'closed' AND c.day = (SELECT min(day) FROM cycles)
			AND NOT EXISTS (SELECT 1 FROM commands d WHERE d.meter_id = m.meter_id) ORDER BY m.meter_id LIMIT 1`,
		`DELETE FROM case_members x USING victim v WHERE x.meter_id = v.meter_id AND x.freeze_at = v.freeze_at`,
		`DELETE FROM readings r USING victim v WHERE r.meter_id = v.meter_id AND r.freeze_at = v.freeze_at`}},
	{invariant: proof.CycleComplete, what: "a meter left out", sql: []string{
		`DELETE FROM cycle_meters WHERE ctid = (SELECT min(ctid) FROM cycle_meters)`}},
	{invariant: proof.JournalComplete, what: "a row rewritten", sql: []string{
		`UPDATE journal SET reason = reason || '!' WHERE id = (SELECT id FROM journal ORDER BY id OFFSET 1000 LIMIT 1)`}},
	{invariant: proof.JournalComplete, what: "a line of a bill rewritten", sql: []string{
		`UPDATE bill_lines SET price = price + 1 WHERE bill_id = (SELECT min(id) FROM bills WHERE state = 'issued' AND version = 1)`}},
	{invariant: proof.JournalComplete, what: "the end of a chain cut off", sql: []string{
		`DELETE FROM journal WHERE id = (SELECT max(id) FROM journal WHERE chain LIKE 'bill/%')`}},
	{invariant: proof.JournalComplete, what: "a state that nobody journaled", sql: []string{
		`UPDATE messages SET state = 'failed' WHERE id = (SELECT min(id) FROM messages WHERE kind NOT IN ('level1', 'level2', 'final'))`}},
	{invariant: proof.VerifiedWasTrue, what: "a read-back that wasn't", sql: []string{
		`UPDATE commands SET readback = 'off' WHERE id = (SELECT min(id) FROM commands WHERE kind = 'close' AND state = 'verified')`}},
}

func firstPurchase(t *testing.T, entries []simulator.RecordEntry) int {
	t.Helper()
	i := slices.IndexFunc(entries, func(e simulator.RecordEntry) bool { return e.Kind == simulator.EntryPurchase })
	require.GreaterOrEqual(t, i, 0, "no meter accepted a purchase")
	return i
}

// testPlantings plants each violation in a copy of a finished demo's database and wants exactly its invariant red.
func testPlantings(t *testing.T, dir string) {
	stack, err := devstack.Start(t.Context(), devstack.Options{Dir: dir, WithoutTemporal: true, Log: os.Stderr})
	require.NoError(t, err)
	defer func() { require.NoError(t, stack.Stop()) }()
	record, err := simulator.ReadRecord(filepath.Join(dir, "meters"))
	require.NoError(t, err)
	for _, p := range plantings {
		t.Run(p.invariant+": "+p.what, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			pool := copyDatabase(ctx, t, stack.DatabaseURL())
			conn, err := pool.Acquire(ctx)
			require.NoError(t, err)
			_, err = conn.Exec(ctx, `SET session_replication_role = replica`)
			require.NoError(t, err)
			touched := int64(0)
			for _, sql := range p.sql {
				tag, err := conn.Exec(ctx, sql)
				require.NoError(t, err, sql)
				touched += tag.RowsAffected()
			}
			conn.Release()
			require.True(t, len(p.sql) == 0 || touched > 0, "nothing was planted")
			entries := record
			if p.record != nil {
				entries = p.record(t, record)
			}
			found, err := proof.Check(ctx, pool, entries)
			require.NoError(t, err)
			var red []string
			for _, i := range found {
				require.Positive(t, i.Checked, i.Name)
				if i.Violations > 0 {
					red = append(red, i.Name)
				}
			}
			require.ElementsMatch(t, append(p.also, p.invariant), red, "%+v", found)
		})
	}
}

// copyDatabase gives a copy of the demo's database that a test may spoil.
func copyDatabase(ctx context.Context, t *testing.T, from string) *pgxpool.Pool {
	admin, err := url.Parse(from)
	require.NoError(t, err)
	admin.Path = "/postgres"
	conn, err := pgx.Connect(ctx, admin.String())
	require.NoError(t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `DROP DATABASE IF EXISTS planted`)
	require.NoError(t, err)
	_, err = conn.Exec(ctx, `CREATE DATABASE planted TEMPLATE meterflow`)
	require.NoError(t, err)
	admin.Path = "/planted"
	pool, err := pgxpool.New(ctx, admin.String())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}
