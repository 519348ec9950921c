package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

var monday = billing.MustDate("2026-01-05") // the day of morning

func charge(a billing.AccountID, key string, fen billing.Money) ledger.Entry {
	return ledger.Move("park", ledger.KindDailyCharge, key, "c", ledger.Customer(a), ledger.Unbilled("park"), fen)
}

func TestCloseDay(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	a, _ := u.Account(storetest.NewAccount{})
	first, err := post(u.Store, charge(a, "k/1", 700))
	require.NoError(t, err)
	closeDay := func(day billing.Date, counted *billing.Money) error {
		return u.CloseDay(ctx, storetest.By, "park", day, counted)
	}
	require.ErrorContains(t, closeDay(monday, nil), "is not over")

	storetest.SetClock(t, u.Store, morning.AddDate(0, 0, 1))
	require.ErrorContains(t, closeDay(monday.AddDays(1), nil), "is not over")
	wrong, right := billing.Money(5), billing.Money(0)
	require.ErrorContains(t, closeDay(monday, &wrong), "0.05 yuan and the books say 0.00")
	through, err := u.ClosedThrough(ctx, "park")
	require.NoError(t, err)
	require.True(t, through.IsZero())
	require.NoError(t, closeDay(monday, &right))
	require.NoError(t, closeDay(monday, nil), "closing again changes nothing")
	d, totals, err := u.LedgerDay(ctx, "park", monday)
	require.NoError(t, err)
	require.True(t, d.Closed())
	require.Equal(t, int64(2), d.Entries)
	require.Equal(t, billing.Money(10_700), d.Debit)
	require.Equal(t, []ledger.DayTotal{
		{Code: "park/opening", Debit: 10_000, Balance: 10_000}, {Code: "park/unbilled", Credit: 700, Balance: -700},
		{Code: ledger.Customer(a), Debit: 700, Credit: 10_000, Balance: -9_300},
	}, totals)
	holds, err := u.VerifyDay(ctx, "park", monday)
	require.NoError(t, err)
	require.True(t, holds)

	// Afterwards nothing can be dated on the day: one sentence says what to do.
	late := charge(a, "k/2", 100)
	late.Day = monday
	_, err = post(u.Store, late)
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err))
	require.EqualError(t, err, "The books are closed up to 2026-01-05: nothing can be dated 2026-01-05 any more; date it on an open day and name the day that it corrects.")
	_, err = postAll(u.Store, charge(a, "k/3", 1), late)
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err))

	// A correction is dated today and names the day.
	late.OrCorrect = true
	id, err := post(u.Store, late)
	require.NoError(t, err)
	late.Key = "k/4"
	_, err = postAll(u.Store, late)
	require.NoError(t, err)
	e, lines, err := u.BookEntry(ctx, id)
	require.NoError(t, err)
	require.Equal(t, monday.AddDays(1), e.Day)
	require.Equal(t, monday, e.Corrects)
	require.Len(t, lines, 2)

	// Undoing an entry of the closed day is such a correction; a repeat of what was posted before the day closed is still a repeat.
	require.NoError(t, u.Change(ctx, storetest.By, func(tx *store.Tx) error {
		_, err := store.ReverseEntry(ctx, tx, first)
		return err
	}))
	e, _, err = u.BookEntry(ctx, first)
	require.NoError(t, err)
	undone, _, err := u.BookEntry(ctx, *e.ReversedBy)
	require.NoError(t, err)
	require.Equal(t, monday, undone.Corrects)
	again, err := post(u.Store, charge(a, "k/1", 700))
	require.NoError(t, err)
	require.Equal(t, first, again)

	storetest.SetClock(t, u.Store, morning.AddDate(0, 0, 4))
	require.ErrorContains(t, closeDay(monday.AddDays(3), nil), "close 2026-01-06 before 2026-01-08")
	require.NoError(t, closeDay(monday.AddDays(1), nil))
	require.NoError(t, closeDay(monday.AddDays(2), nil), "a day without entries closes too")
	for n := range 3 {
		holds, err := u.VerifyDay(ctx, "park", monday.AddDays(n))
		require.NoError(t, err)
		require.True(t, holds)
	}
	days, total, err := u.LedgerDays(ctx, []billing.SiteID{"park"}, 50, 0)
	require.NoError(t, err)
	require.Equal(t, 3, total)
	require.Equal(t, monday.AddDays(2), days[0].Day)
}

// The database refuses by itself whatever would unsay a closed day, or move what a posting doesn't.
func TestLedger_databaseKeepsDaysAndBalances(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	a, _ := u.Account(storetest.NewAccount{})
	_, err := post(u.Store, charge(a, "k/1", 700))
	require.NoError(t, err)
	_, err = u.PlaceHold(ctx, storetest.By, ledger.Hold{Account: a, Amount: 100, Purpose: ledger.HoldRefund, Subject: "RF1", Key: "h/1", ExpiresAt: morning.Add(time.Hour)})
	require.NoError(t, err)
	storetest.SetClock(t, u.Store, morning.AddDate(0, 0, 3))
	require.NoError(t, u.CloseDay(ctx, storetest.By, "park", monday, nil))
	entry := func(day string) string {
		return `WITH e AS (INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject, day)
			VALUES ('park', 'opening', gen_random_uuid()::text, '\x00', business_now(), 'x', '` + day + `') RETURNING id)
			INSERT INTO ledger_postings (entry_id, seq, code, amount_fen) SELECT e.id, v.* FROM e, (VALUES (1::smallint, 'park/cash', 100::bigint), (2::smallint, 'park/bank', -100::bigint)) v`
	}
	_, err = u.Pool.Exec(ctx, entry("2026-01-06"))
	require.NoError(t, err, "the statement itself is good on an open day")
	day := `INSERT INTO ledger_days (site_id, day, entries, debit_fen, credit_fen, accounts, customers_fen, later_entry, prev_digest, digest, closed_by, closed_at) VALUES ('park', `
	for name, statement := range map[string]string{
		"entry on a closed day":         entry("2026-01-05"),
		"entry before a closed day":     entry("2026-01-01"),
		"entry in the future":           entry("2026-01-20"),
		"entry in an older snapshot":    `BEGIN ISOLATION LEVEL REPEATABLE READ; ` + entry("2026-01-06") + `; COMMIT`,
		"entry of no postings":          `INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject, day) VALUES ('park', 'x', 'k', '', now(), 'x', '2026-01-06')`,
		"entry moved":                   `UPDATE ledger_entries SET day = day + 1`,
		"day opened again":              `DELETE FROM ledger_days`,
		"day changed":                   `UPDATE ledger_days SET debit_fen = 0, credit_fen = 0`,
		"days emptied":                  `TRUNCATE ledger_days`,
		"total changed":                 `UPDATE ledger_day_totals SET balance_fen = 0`,
		"total removed":                 `DELETE FROM ledger_day_totals`,
		"totals emptied":                `TRUNCATE ledger_day_totals`,
		"total added to a closed day":   `INSERT INTO ledger_day_totals (site_id, code, day, debit_fen, credit_fen, balance_fen) VALUES ('park', 'park/bank', '2026-01-05', 1, 1, 0)`,
		"total of an open day":          `INSERT INTO ledger_day_totals (site_id, code, day, debit_fen, credit_fen, balance_fen) VALUES ('park', 'park/bank', '2026-01-06', 1, 1, 0)`,
		"day closed over other totals":  day + `'2026-01-06', 0, 0, 0, 0, 0, 9, '', '', 'x', now())`,
		"day closed out of order":       day + `'2026-01-07', 0, 0, 0, 0, 0, 9, '', '', 'x', now())`,
		"entries emptied":               `TRUNCATE ledger_entries CASCADE`,
		"postings emptied":              `TRUNCATE ledger_postings`,
		"balance by hand":               `UPDATE balances SET balance_fen = balance_fen + 1`,
		"held by hand":                  `UPDATE balances SET held_fen = 0`,
		"balance by replacing it":       `INSERT INTO balances (account_id) VALUES ('` + string(a) + `') ON CONFLICT (account_id) DO UPDATE SET balance_fen = 7`,
		"balance removed":               `DELETE FROM balances`,
		"balance from nothing":          `INSERT INTO balances (account_id, balance_fen) VALUES ('nobody', 5)`,
		"balances emptied":              `TRUNCATE balances`,
		"balance merged":                `MERGE INTO balances b USING (VALUES (1)) v ON true WHEN MATCHED THEN UPDATE SET balance_fen = 1`,
		"account of the books renamed":  `UPDATE ledger_accounts SET code = 'park/purse' WHERE code = 'park/cash'`,
		"account given away":            `UPDATE ledger_accounts SET account_id = NULL WHERE account_id IS NOT NULL`,
		"account of the books gone":     `DELETE FROM ledger_accounts WHERE code = 'park/online'`,
		"account of another's site":     `INSERT INTO ledger_accounts (code, site_id, kind, name_zh, name_en) VALUES ('plaza/x', 'park', 'asset', 'x', 'x')`,
		"hold released by hand":         `DELETE FROM holds`,
		"hold made smaller":             `UPDATE holds SET amount_fen = 1`,
		"hold begun settled":            `INSERT INTO holds SELECT 'H2', site_id, account_id, 5, purpose, subject, 'voided', 'k2', '', placed_by, placed_at, expires_at, 0, NULL, 'x', now() FROM holds`,
		"hold beyond what is there":     `INSERT INTO holds SELECT 'H2', site_id, account_id, 1000000, purpose, subject, 'open', 'k2', '', placed_by, placed_at, expires_at FROM holds`,
		"hold posted without an entry":  `UPDATE holds SET state = 'posted', posted_fen = 100, settled_by = 'x', settled_at = now()`,
		"hold posted by another's work": `UPDATE holds SET state = 'posted', posted_fen = 100, settled_by = 'x', settled_at = now(), entry_id = (SELECT max(id) FROM ledger_entries)`,
		"hold posted beyond its amount": `UPDATE holds SET state = 'posted', posted_fen = 101, settled_by = 'x', settled_at = now(), entry_id = (SELECT max(id) FROM ledger_entries)`,
		"hold posted by its placer":     `UPDATE holds SET state = 'posted', posted_fen = 100, settled_by = placed_by, settled_at = now(), entry_id = (SELECT max(id) FROM ledger_entries)`,
		"holds emptied":                 `TRUNCATE holds`,
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := u.Pool.Acquire(ctx)
			require.NoError(t, err)
			defer conn.Release()
			_, err = conn.Exec(ctx, statement)
			require.Error(t, err)
			_, _ = conn.Exec(ctx, `ROLLBACK`)
		})
	}
	holds, err := u.VerifyDay(ctx, "park", monday)
	require.NoError(t, err)
	require.True(t, holds)
	c, err := u.CreditNow(ctx, a)
	require.NoError(t, err)
	require.Equal(t, store.Credit{Balance: 9_300, Held: 100}, c)
	// The tests above bite: whoever switches the guards off can do it, and the seal shows it.
	_, err = u.Pool.Exec(ctx, `BEGIN; SET LOCAL session_replication_role = replica; UPDATE ledger_postings SET amount_fen = amount_fen * 2 WHERE entry_id = (SELECT min(id) FROM ledger_entries); COMMIT`)
	require.NoError(t, err)
	holds, err = u.VerifyDay(ctx, "park", monday)
	require.NoError(t, err)
	require.False(t, holds)
}

// Days close while clients post with and without a day of their own: what is sealed is all that is ever dated on it.
func TestCloseDay_whileOthersPost(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	var accounts []billing.AccountID
	for range 4 {
		a, _ := u.Account(storetest.NewAccount{})
		accounts = append(accounts, a)
	}
	storetest.SetClock(t, u.Store, morning.AddDate(0, 0, 6))
	var all sync.WaitGroup
	refused := make([]int, 4)
	for worker := range 4 {
		all.Go(func() {
			for n := range 60 {
				e := charge(accounts[worker], fmt.Sprintf("c/%d/%d", worker, n), 1)
				e.Day, e.OrCorrect = monday.AddDays(n/10), n%2 == 0
				var err error
				if n%3 == 0 {
					_, err = postAll(u.Store, e)
				} else {
					_, err = post(u.Store, e)
				}
				if err != nil && billing.CodeOf(err) != billing.CodeClosed {
					t.Error(err)
				}
				if err != nil {
					refused[worker]++
				}
			}
		})
	}
	all.Go(func() {
		for n := range 6 {
			if err := u.CloseDay(ctx, storetest.By, "park", monday.AddDays(n), nil); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	for n := range 6 {
		holds, err := u.VerifyDay(ctx, "park", monday.AddDays(n))
		require.NoError(t, err)
		require.True(t, holds, "day %d", n)
	}
}

type known struct {
	day      billing.Date
	at       time.Time
	code     ledger.Code
	fen      billing.Money
	recorded int
}

// Random entries over random days, closings and corrections: the balance of any day as known at any instant is what a replay of the history
// up to that instant gives.
func TestBalanceAsOf_isReplayOfHistory(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	a, _ := u.Account(storetest.NewAccount{Fen: -1})
	b, _ := u.Account(storetest.NewAccount{Fen: -1})
	codes := []ledger.Code{ledger.Customer(a), ledger.Customer(b), ledger.Unbilled("park"), ledger.Bank("park")}
	history := []known{}
	for _, who := range []billing.AccountID{a, b} {
		history = append(history, known{monday, morning, ledger.Customer(who), 1, 0}, known{monday, morning, ledger.Opening("park"), -1, 0})
	}
	now, closed, n := morning, monday.AddDays(-1), 0
	rapid.Check(t, func(rt *rapid.T) {
		now = now.Add(time.Duration(rapid.IntRange(1, 9).Draw(rt, "hours")) * time.Hour)
		storetest.SetClock(t, u.Store, now)
		today := billing.DateOf(now, storetest.Zone)
		if next := closed.AddDays(1); next.Before(today) && rapid.IntRange(0, 2).Draw(rt, "close") == 0 {
			if err := u.CloseDay(ctx, storetest.By, "park", next, nil); err != nil {
				rt.Fatal(err)
			}
			closed = next
		}
		n++
		day := today.AddDays(-rapid.IntRange(0, 4).Draw(rt, "back"))
		if day.Before(monday) {
			day = monday
		}
		debit, credit := rapid.SampledFrom(codes).Draw(rt, "debit"), rapid.SampledFrom(codes).Draw(rt, "credit")
		fen := billing.Money(rapid.Int64Range(1, 1e6).Draw(rt, "fen"))
		e := ledger.Move("park", ledger.KindDailyCharge, fmt.Sprint("h/", n), "x", debit, credit, fen)
		e.Day, e.OrCorrect = day, true
		if _, err := postAll(u.Store, e); err != nil {
			rt.Fatal(err)
		}
		if !day.After(closed) {
			day = today
		}
		history = append(history, known{day, now, debit, fen, n}, known{day, now, credit, -fen, n})

		code := rapid.SampledFrom(codes).Draw(rt, "code")
		asOf := today.AddDays(-rapid.IntRange(0, 8).Draw(rt, "as of"))
		at := store.AsOf{Day: asOf, Known: now.Add(time.Second - time.Duration(rapid.IntRange(0, 60).Draw(rt, "ago"))*time.Hour)}
		if rapid.IntRange(0, 3).Draw(rt, "now") == 0 {
			at.Known = time.Time{}
		}
		var want billing.Money
		for _, h := range history {
			if h.code == code && !h.day.After(asOf) && (at.Known.IsZero() || h.at.Before(at.Known)) {
				want += h.fen
			}
		}
		got, err := u.BalanceAsOf(ctx, code, at)
		if err != nil || got != want {
			rt.Fatalf("%s as of %s known at %s is %s, replay gives %s (%v); closed up to %s", code, asOf, at.Known, got, want, err, closed)
		}
		chart, err := u.Chart(ctx, []billing.SiteID{"park"}, at)
		if err != nil {
			rt.Fatal(err)
		}
		var sum billing.Money
		for _, row := range chart {
			sum += row.Balance
			if row.Code == code && row.Balance != want {
				rt.Fatalf("the chart says %s", row.Balance)
			}
		}
		if sum != 0 {
			rt.Fatalf("the trial balance of %s known at %s is off by %s", asOf, at.Known, sum)
		}
	})
	require.True(t, monday.Before(closed))
}
