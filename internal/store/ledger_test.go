package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

var morning = time.Date(2026, 1, 5, 1, 0, 0, 0, time.UTC) // Monday 09:00 in Shanghai

func post(s *store.Store, e ledger.Entry) (id int64, err error) {
	err = s.Change(context.Background(), storetest.By, func(tx *store.Tx) error {
		id, err = store.Post(context.Background(), tx, e)
		return err
	})
	return id, err
}

// Random entries on real PostgreSQL: after each, every balance is the sum of its postings and the books balance.
func TestLedger_balancesAreSums(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	var codes []ledger.Code
	for range 3 {
		a, _ := u.Account(storetest.NewAccount{})
		codes = append(codes, ledger.Customer(a))
	}
	codes = append(codes, ledger.Cash("park"), ledger.InTransit("park"), ledger.Unbilled("park"))
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		e := ledger.Entry{Site: "park", Kind: ledger.KindDailyCharge, Key: fmt.Sprint("property/", n), Subject: "x"}
		var sum billing.Money
		for range rapid.IntRange(1, 4).Draw(rt, "postings") {
			amount := billing.Money(rapid.Int64Range(-1e9, 1e9).Filter(func(v int64) bool { return v != 0 }).Draw(rt, "amount"))
			e.Postings = append(e.Postings, ledger.Posting{Code: rapid.SampledFrom(codes).Draw(rt, "code"), Amount: amount})
			sum += amount
		}
		if sum == 0 {
			return
		}
		e.Postings = append(e.Postings, ledger.Posting{Code: ledger.Bank("park"), Amount: -sum})
		if _, err := post(u.Store, e); err != nil {
			rt.Fatal(err)
		}
		if rapid.IntRange(0, 9).Draw(rt, "snapshot") == 0 {
			day := billing.MustDate("2026-01-05").AddDays(n)
			if err := u.SnapshotHouse(ctx, "park", day); err != nil {
				rt.Fatal(err)
			}
		}
		var wrong int
		err := u.Pool.QueryRow(ctx, `SELECT count(*) FROM balances b JOIN ledger_accounts a USING (account_id)
			WHERE b.balance_fen <> coalesce((SELECT -sum(amount_fen) FROM ledger_postings p WHERE p.code = a.code), 0)`).Scan(&wrong)
		if err != nil || wrong != 0 {
			rt.Fatalf("%d balances are not the sum of their postings (%v)", wrong, err)
		}
	})
	sums, err := u.HouseBalances(ctx, "park")
	require.NoError(t, err)
	for _, h := range sums {
		var all billing.Money
		require.NoError(t, u.Pool.QueryRow(ctx, `SELECT coalesce(sum(amount_fen), 0)::bigint FROM ledger_postings WHERE code = $1`, h.Code).Scan(&all))
		require.Equal(t, all, h.Balance, "the sum from snapshots of %s", h.Code)
	}
	trial, err := u.TrialBalance(ctx, []billing.SiteID{"park"})
	require.NoError(t, err)
	require.True(t, trial.Balanced())
	require.Positive(t, trial.Entries)
}

func TestPost_sameKey(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	a, _ := u.Account(storetest.NewAccount{})
	e := ledger.Move("park", ledger.KindRechargeCredited, "key/1", "R1", ledger.InTransit("park"), ledger.Customer(a), 500)
	first, err := post(u.Store, e)
	require.NoError(t, err)
	again, err := post(u.Store, e)
	require.NoError(t, err)
	require.Equal(t, first, again)
	e.Postings[0].Amount, e.Postings[1].Amount = 600, -600
	_, err = post(u.Store, e)
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))
	row, err := u.AccountRow(context.Background(), a)
	require.NoError(t, err)
	require.Equal(t, billing.Money(10_500), row.Balance)
}

func TestReverseEntry_undoesOnce(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	a, _ := u.Account(storetest.NewAccount{})
	ctx := context.Background()
	id, err := post(u.Store, ledger.Move("park", ledger.KindDailyCharge, "key/1", "c", ledger.Customer(a), ledger.Unbilled("park"), 700))
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, u.Change(ctx, storetest.By, func(tx *store.Tx) error {
			_, err := store.ReverseEntry(ctx, tx, id)
			return err
		}))
	}
	row, err := u.AccountRow(ctx, a)
	require.NoError(t, err)
	require.Equal(t, billing.Money(10_000), row.Balance)
}

// The database refuses what Go would let through, each guard by itself.
func TestLedger_databaseRefuses(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	a, _ := u.Account(storetest.NewAccount{})
	ctx := context.Background()
	entry := func(postings string) string {
		return `WITH e AS (INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject, day)
			VALUES ('park', 'opening', gen_random_uuid()::text, '\x00', business_now(), 'x', business_now()::date) RETURNING id)
			INSERT INTO ledger_postings (entry_id, seq, code, amount_fen) SELECT e.id, v.* FROM e, (VALUES ` + postings + `) v`
	}
	for name, statement := range map[string]string{
		"unbalanced":           entry(`(1::smallint, 'park/cash', 100::bigint), (2::smallint, 'park/bank', -99::bigint)`),
		"one posting":          entry(`(1::smallint, 'park/cash', 100::bigint)`),
		"zero posting":         entry(`(1::smallint, 'park/cash', 0::bigint), (2::smallint, 'park/bank', 0::bigint)`),
		"unknown account":      entry(`(1::smallint, 'park/purse', 100::bigint), (2::smallint, 'park/bank', -100::bigint)`),
		"changed posting":      `UPDATE ledger_postings SET amount_fen = amount_fen + 1`,
		"deleted entry":        `DELETE FROM ledger_entries`,
		"late posting":         `INSERT INTO ledger_postings (entry_id, seq, code, amount_fen) SELECT id, 9, 'park/cash', 1 FROM ledger_entries LIMIT 1`,
		"balance by hand":      `UPDATE balances SET balance_fen = 1`,
		"maker approves":       recharge(a, `'approved_once'`, `'clerk1', 'clerk1', NULL`),
		"same approver twice":  recharge(a, `'approved'`, `'clerk1', 'clerk2', 'clerk2'`),
		"credited on one":      recharge(a, `'credited'`, `'clerk1', 'clerk2', NULL`),
		"protection by nobody": `INSERT INTO protections (account_id, kind, from_at, until_at, owner, reason) VALUES ('` + string(a) + `', 'keep_power', now(), now() + '1 day', 'ghost', 'x')`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := u.Pool.Exec(ctx, statement)
			require.Error(t, err)
		})
	}
}

func recharge(a billing.AccountID, state, people string) string {
	return `INSERT INTO recharges (id, site_id, account_id, amount_fen, channel, evidence, state, idempotency_key, request_hash, entered_at, expires_at, entered_by, approved1_by, approved2_by)
		VALUES ('R1', 'park', '` + string(a) + `', 100, 'cash', '', ` + state + `, 'k', '\x00', now(), now(), ` + people + `)`
}
