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
	invariant string
	sql       []string
	record    func(t *testing.T, entries []simulator.RecordEntry) []simulator.RecordEntry
}

// The tables forbid most of these: triggers and constraints are switched off first, as somebody with the superuser's password could.
var plantings = []planting{
	{invariant: proof.LedgerBalances, sql: []string{
		`UPDATE balances SET balance_fen = balance_fen + 1 WHERE account_id = (SELECT min(account_id) FROM balances)`}},
	{invariant: proof.CreditedOnce, record: func(t *testing.T, entries []simulator.RecordEntry) []simulator.RecordEntry {
		i := slices.IndexFunc(entries, func(e simulator.RecordEntry) bool { return e.Kind == simulator.EntryPurchase })
		require.GreaterOrEqual(t, i, 0, "no meter accepted a purchase")
		again := entries[i]
		again.Count += 1000 // not a count that we ever wrote
		return slices.Insert(slices.Clone(entries), i+1, again)
	}},
	{invariant: proof.BilledEqualsRead, sql: []string{
		`UPDATE bills SET quantity = quantity + 1 WHERE id = (SELECT min(id) FROM bills WHERE state = 'issued')`}},
	{invariant: proof.NoWrongCut, sql: []string{
		`INSERT INTO protections (account_id, kind, from_at, until_at, owner, reason)
			SELECT account_id, 'keep_power', sent_at - interval '1 day', sent_at + interval '1 day', (SELECT min(id) FROM users), 'planted'
			FROM commands WHERE kind = 'trip' AND state = 'verified' AND sent_at IS NOT NULL ORDER BY id LIMIT 1`}},
	{invariant: proof.ThreePersons, sql: []string{
		`ALTER TABLE recharges DROP CONSTRAINT approvers_differ`,
		`UPDATE recharges SET approved2_by = approved1_by WHERE id = (SELECT min(id) FROM recharges WHERE state = 'credited')`}},
	{invariant: proof.CycleComplete, sql: []string{
		`CREATE TEMP TABLE victim AS SELECT m.meter_id, c.freeze_at FROM cycles c JOIN cycle_meters m ON m.cycle_id = c.id
			WHERE c.state = 'closed' AND extract(day FROM c.day) = 2
			AND NOT EXISTS (SELECT 1 FROM commands d WHERE d.meter_id = m.meter_id) ORDER BY m.meter_id LIMIT 1`,
		`DELETE FROM case_members x USING victim v WHERE x.meter_id = v.meter_id AND x.freeze_at = v.freeze_at`,
		`DELETE FROM readings r USING victim v WHERE r.meter_id = v.meter_id AND r.freeze_at = v.freeze_at`}},
	{invariant: proof.JournalComplete, sql: []string{
		`UPDATE journal SET reason = reason || '!' WHERE id = (SELECT id FROM journal ORDER BY id OFFSET 1000 LIMIT 1)`}},
	{invariant: proof.VerifiedWasTrue, sql: []string{
		`UPDATE commands SET readback = 'off' WHERE id = (SELECT min(id) FROM commands WHERE kind = 'close' AND state = 'verified')`}},
}

// testPlantings plants each violation in a copy of a finished demo's database and wants exactly its invariant red.
func testPlantings(t *testing.T, dir string) {
	stack, err := devstack.Start(t.Context(), devstack.Options{Dir: dir, WithoutTemporal: true, Log: os.Stderr})
	require.NoError(t, err)
	defer func() { require.NoError(t, stack.Stop()) }()
	record, err := simulator.ReadRecord(filepath.Join(dir, "meters"))
	require.NoError(t, err)
	for _, p := range plantings {
		t.Run(p.invariant, func(t *testing.T) {
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
			require.Equal(t, []string{p.invariant}, red, "%+v", found)
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
