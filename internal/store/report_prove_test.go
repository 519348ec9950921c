//go:build prove

package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/devstack/devstacktest"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

const manyAccounts = 100_000

// A page of a list or report reads what it shows, however many accounts there are: no big table is read through. The times are logged,
// not asserted.
func TestReports_readNoTableThrough(t *testing.T) {
	ctx := context.Background()
	url := devstacktest.Postgres(t) + "&pool_max_conns=1"
	s, err := store.Open(ctx, url)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	_, err = s.Migrate(ctx)
	require.NoError(t, err)
	storetest.SetClock(t, s, time.Date(2026, 10, 3, 2, 0, 0, 0, time.UTC))
	fillMany(t, s)

	sites := []billing.SiteID{"big"}
	september := store.UseFilter{Sites: sites, From: billing.MustDate("2026-09-01"), To: billing.MustDate("2026-10-01"), ByMonth: true}
	days := september
	days.ByMonth, days.Account = false, "A050000"
	deep := store.OwedCursor{BalanceFen: -500, Account: "A050000"}
	run := billing.RunID("big/2026-09/1")
	for name, read := range map[string]func() error{
		"use, a page in the middle": func() error { _, _, err := s.UsePage(ctx, september, "A050000", 50); return err },
		"use of one account":        func() error { _, _, err := s.UsePage(ctx, days, "", 1); return err },
		"customers":                 func() error { _, _, err := s.CustomerPage(ctx, september, "A099000", 50); return err },
		"owed, deep in the list": func() error {
			_, _, _, err := s.OwedPage(ctx, store.OwedFilter{Kind: store.OwedUnpaid, Sites: sites}, &deep, 50)
			return err
		},
		"short": func() error {
			_, _, _, err := s.OwedPage(ctx, store.OwedFilter{Kind: store.OwedShort, Sites: sites}, nil, 50)
			return err
		},
		"overview": func() error { _, err := s.SiteMonths(ctx, sites, september.From, september.To); return err },
		"days": func() error {
			_, err := s.SiteDays(ctx, sites, billing.Period{From: september.From, To: september.To})
			return err
		},
		"runs":           func() error { _, _, err := s.RunPage(ctx, sites, "", 50, 0); return err },
		"bills of a run": func() error { _, _, err := s.BillPage(ctx, store.BillFilter{Run: run}, "A070000", 20); return err },
		"held of a run": func() error {
			_, _, err := s.BillPage(ctx, store.BillFilter{Run: run, State: "held"}, "", 20)
			return err
		},
		"held bills":   func() error { _, err := s.HeldBills(ctx, sites, 500); return err },
		"payment list": func() error { _, err := s.PaymentPage(ctx, run, "A030000", 200); return err },
		"a bill":       func() error { _, err := s.BillSheet(ctx, "BA050000-202609-1"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, read()) // with what is cached afterwards
			before, begun := readThrough(t, s), time.Now()
			require.NoError(t, read())
			took := time.Since(begun)
			read := readThrough(t, s) - before
			t.Logf("%s: %s, %d rows read through", name, took.Round(100*time.Microsecond), read)
			require.Less(t, read, int64(5_000))
		})
	}
}

// readThrough is how many rows sequential scans of tables with a row per account or more have read so far.
func readThrough(t *testing.T, s *store.Store) (rows int64) {
	t.Helper()
	ctx := context.Background()
	_, err := s.Pool.Exec(ctx, `SELECT pg_stat_force_next_flush()`)
	require.NoError(t, err)
	require.NoError(t, s.Pool.QueryRow(ctx, `SELECT sum(seq_tup_read)::bigint FROM pg_stat_user_tables WHERE relname IN
		('accounts', 'customers', 'service_points', 'balances', 'bills', 'bill_lines', 'charges', 'ledger_entries', 'ledger_postings', 'ledger_accounts', 'fittings', 'meters', 'journal')
		OR relname LIKE 'readings%'`).Scan(&rows))
	return rows
}

// fillMany makes a site of manyAccounts accounts with two months of bills, three days of charges, and readings at the edges of the month.
// One account in a hundred is below zero, one in a thousand has a held bill.
func fillMany(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := context.Background()
	_, err := s.Pool.Exec(ctx, `INSERT INTO sites (id, name_zh, name_en) VALUES ('big', '大站', 'Big')`)
	require.NoError(t, err)
	u := &storetest.Utility{Store: s, Site: "big"}
	require.NoError(t, s.OpenHouse(ctx, storetest.By, u.Site))
	for _, sql := range []string{
		`ALTER TABLE ledger_entries DISABLE TRIGGER USER`, `ALTER TABLE ledger_postings DISABLE TRIGGER USER`, `ALTER TABLE balances DISABLE TRIGGER USER`,
		`INSERT INTO users (id, name, role, password_hash) VALUES ('s1', 's1', 'supervisor', 'x'), ('s2', 's2', 'supervisor', 'x')`,
		`INSERT INTO gateways (id, site_id, name, address) VALUES ('G', 'big', 'G', '127.0.0.1:1')`,
		`INSERT INTO tariffs (id, service, name_zh, name_en, definition) VALUES ('t', 'power', '电', 'Power', '{}')`,
		`INSERT INTO customers SELECT 'C' || n, 'big', 'Customer ' || n, '139', 'household', false FROM generate_series(1, %d) n`,
		`INSERT INTO service_points SELECT 'P' || n, 'big', 'power', 'Room ' || n FROM generate_series(1, %d) n`,
		`INSERT INTO meters (id, site_id, gateway_id, unit, serial, profile, service, digits, capacity_per_hour, state)
			SELECT 'M' || n, 'big', 'G', 1, lpad(n::text, 12, '0'), 'x', 'power', 8, 100, 'removed' FROM generate_series(1, %d) n`,
		`INSERT INTO fittings (service_point_id, meter_id, ratio, from_at, opening) SELECT 'P' || n, 'M' || n, 1, '2026-07-31T16:00Z', '{0}' FROM generate_series(1, %d) n`,
		`INSERT INTO accounts (id, site_id, customer_id, service_point_id, service, credit_mode, tariff_id, opened_on)
			SELECT 'A' || lpad(n::text, 6, '0'), 'big', 'C' || n, 'P' || n, 'power', 'platform', 't', '2026-08-01' FROM generate_series(1, %d) n`,
		`INSERT INTO balances SELECT id, CASE WHEN substr(id, 5) = '00' THEN -1000 ELSE 5000 END FROM accounts`,
		`INSERT INTO supplies (account_id, site_id, state, wanted, since_at) SELECT id, 'big', 'on', 'on', '2026-08-01' FROM accounts`,
		`INSERT INTO ledger_accounts SELECT 'customer/' || id, 'big', 'liability', id FROM accounts`,
		`SELECT ensure_reading_partition('2026-08-31T16:00Z'), ensure_reading_partition('2026-09-30T16:00Z')`,
		`INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, recorded_by)
			SELECT 'M' || n, d, 1, d, d, 'actual', ARRAY[n + extract(epoch FROM d)::bigint %% 1000], 'workflow' FROM generate_series(1, %d) n, unnest(ARRAY['2026-08-31T16:00Z', '2026-09-30T16:00Z']::timestamptz[]) d`,
		`INSERT INTO billing_runs (id, site_id, period_from, period_to, version, state, totals, opened_at, opened_by, verified_by, issued_by, issued_at)
			SELECT 'big/' || to_char(d, 'YYYY-MM') || '/1', 'big', d, d + interval '1 month', 1, 'issued', '{"bills": 99900, "total_fen": 1000}', d, 'workflow', 's1', 's2', d + interval '1 month'
			FROM unnest(ARRAY['2026-08-01', '2026-09-01']::date[]) d`,
		`INSERT INTO bills (id, run_id, site_id, account_id, period_from, period_to, version, state, tariff_id, engine, quantity, readings, input, total_fen)
			SELECT 'B' || a.id || '-' || to_char(r.period_from, 'YYYYMM') || '-1', r.id, 'big', a.id, r.period_from, r.period_to, 1,
				CASE WHEN substr(a.id, 4) = '0000' AND r.period_from = '2026-09-01' THEN 'held' ELSE 'issued' END, 't', 'rating/1', 100, '[]', '{}', 5000 FROM accounts a, billing_runs r`,
		`INSERT INTO bill_lines SELECT id, 1, 'energy', '电', 'Energy', 0, 0, period_from, period_to, 0, 100, 1, 0.5, 1, 5000 FROM bills`,
		`INSERT INTO cycles (id, site_id, day, freeze_at, window_end, state, opened_at) SELECT 'big/' || d::date, 'big', d, d, d, 'closed', d FROM generate_series('2026-09-01', '2026-09-03', interval '1 day') d`,
		`INSERT INTO charge_runs SELECT id, 'big', 'charged', 100000, 1000, 0 FROM cycles`,
		`INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject) SELECT 'big', 'daily_charge', c.id || a.id, '', c.freeze_at, a.id FROM cycles c, accounts a`,
		`INSERT INTO ledger_postings SELECT id, 1, 'customer/' || subject, 100 FROM ledger_entries`,
		`INSERT INTO ledger_postings SELECT id, 2, 'big/unbilled', -100 FROM ledger_entries`,
		`INSERT INTO charges SELECT e.subject, 'big/2026-09-01', '2026-10-01', '2026-10-02', 100, 100, e.id FROM ledger_entries e WHERE e.business_at = (SELECT min(freeze_at) FROM cycles)`,
		`INSERT INTO reminders (id, site_id, account_id, state, balance_fen, opened_at) SELECT 'N' || id, 'big', id, 'level1', 100, '2026-10-01' FROM accounts WHERE substr(id, 5) = '00'`,
		`ANALYZE`,
	} {
		if n := countVerb(sql); n > 0 {
			sql = fmt.Sprintf(sql, manyAccounts)
		}
		_, err := s.Pool.Exec(ctx, sql)
		require.NoError(t, err, sql)
	}
}

func countVerb(sql string) (n int) {
	for i := 0; i+1 < len(sql); i++ {
		if sql[i] == '%' && sql[i+1] == 'd' {
			n++
		}
	}
	return n
}
