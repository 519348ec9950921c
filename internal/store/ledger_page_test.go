package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/journal"
	"github.com/meterflow/meterflow/internal/ledger"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

func postAll(s *store.Store, es ...ledger.Entry) (ids []int64, err error) {
	err = s.Change(context.Background(), storetest.By, func(tx *store.Tx) error {
		ids, err = store.PostAll(context.Background(), tx, es)
		return err
	})
	return ids, err
}

// A page comes to the same rows, balances and refusals as the same entries one by one.
func TestPostAll_isPostOfEach(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	var one, all []billing.AccountID // twins: what is posted to one singly is posted to the other in pages
	for range 3 {
		a, _ := u.Account(storetest.NewAccount{})
		b, _ := u.Account(storetest.NewAccount{})
		one, all = append(one, a), append(all, b)
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		var singles, page []ledger.Entry
		for range rapid.IntRange(1, 8).Draw(rt, "entries") {
			n++
			if len(page) > 0 && rapid.IntRange(0, 4).Draw(rt, "repeat") == 0 {
				i := rapid.IntRange(0, len(page)-1).Draw(rt, "which")
				singles, page = append(singles, singles[i]), append(page, page[i])
				continue
			}
			who := rapid.IntRange(0, 2).Draw(rt, "account")
			amount := billing.Money(rapid.Int64Range(1, 1e9).Draw(rt, "fen"))
			singles = append(singles, ledger.Move("park", ledger.KindDailyCharge, fmt.Sprint("one/", n), "x", ledger.Customer(one[who]), ledger.Unbilled("park"), amount))
			page = append(page, ledger.Move("park", ledger.KindDailyCharge, fmt.Sprint("all/", n), "x", ledger.Customer(all[who]), ledger.Unbilled("park"), amount))
		}
		for _, e := range singles {
			if _, err := post(u.Store, e); err != nil {
				rt.Fatal(err)
			}
		}
		ids, err := postAll(u.Store, page...)
		if err != nil {
			rt.Fatal(err)
		}
		again, err := postAll(u.Store, page...)
		if err != nil || fmt.Sprint(ids) != fmt.Sprint(again) {
			rt.Fatalf("a repeated page gives %v instead of %v (%v)", again, ids, err)
		}
		for i := range page {
			for j := range page {
				if (page[i].Key == page[j].Key) != (ids[i] == ids[j]) {
					rt.Fatalf("ids %v don't tell the keys apart", ids)
				}
			}
		}
	})
	for i := range one {
		a, err := u.CreditNow(ctx, one[i])
		require.NoError(t, err)
		b, err := u.CreditNow(ctx, all[i])
		require.NoError(t, err)
		require.Equal(t, a, b)
	}
	trial, err := u.TrialBalance(ctx, []billing.SiteID{"park"})
	require.NoError(t, err)
	require.True(t, trial.Balanced())
}

func TestPostAll_refusesTheWholePage(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	a, _ := u.Account(storetest.NewAccount{})
	first := ledger.Move("park", ledger.KindDailyCharge, "k/1", "c", ledger.Customer(a), ledger.Unbilled("park"), 100)
	_, err := post(u.Store, first)
	require.NoError(t, err)
	fresh := ledger.Move("park", ledger.KindDailyCharge, "k/2", "c", ledger.Customer(a), ledger.Unbilled("park"), 100)
	other := first
	other.Subject = "another request"
	_, err = postAll(u.Store, fresh, other)
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))
	require.ErrorContains(t, err, "k/1")
	unknown := ledger.Move("park", ledger.KindDailyCharge, "k/3", "c", ledger.Customer(a), "park/purse", 100)
	_, err = postAll(u.Store, fresh, unknown)
	require.Equal(t, billing.CodeNotFound, billing.CodeOf(err))
	tomorrow := fresh
	tomorrow.Day = billing.MustDate("2026-01-06")
	_, err = postAll(u.Store, fresh, tomorrow)
	require.Error(t, err, "the same key twice with two requests")
	tomorrow.Key = "k/4"
	_, err = postAll(u.Store, fresh, tomorrow)
	require.Equal(t, billing.CodeClosed, billing.CodeOf(err))
	require.ErrorContains(t, err, "today is 2026-01-05")
	ids, err := postAll(u.Store, first, fresh)
	require.NoError(t, err)
	require.Len(t, ids, 2)
	c, err := u.CreditNow(context.Background(), a)
	require.NoError(t, err)
	require.Equal(t, billing.Money(9_800), c.Balance)
}

// Sixteen at once with one key, by all three ways, post once.
func TestPost_sameKeyAtOnce(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	a, _ := u.Account(storetest.NewAccount{})
	ctx := context.Background()
	e := ledger.Move("park", ledger.KindRechargeCredited, "key/1", "R1", ledger.InTransit("park"), ledger.Customer(a), 500)
	row := store.Entry{Site: "park", Kind: "account", ID: string(a), Event: "credited"}
	var all sync.WaitGroup
	ids := make([]int64, 16)
	errs := make([]error, 16)
	for i := range ids {
		all.Go(func() {
			switch i % 3 {
			case 0:
				ids[i], errs[i] = u.PostEntry(ctx, storetest.By, e, row)
			case 1:
				ids[i], errs[i] = post(u.Store, e)
			default:
				var page []int64
				if page, errs[i] = postAll(u.Store, e); errs[i] == nil {
					ids[i] = page[0]
				}
			}
		})
	}
	all.Wait()
	for i := range ids {
		require.NoError(t, errs[i])
		require.Equal(t, ids[0], ids[i])
	}
	c, err := u.CreditNow(ctx, a)
	require.NoError(t, err)
	require.Equal(t, billing.Money(10_500), c.Balance)
}

// Pages and single entries on the same accounts, in every order, deadlock never and lose nothing.
func TestPostAll_concurrentPages(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	var accounts []billing.AccountID
	for range 6 {
		a, _ := u.Account(storetest.NewAccount{})
		accounts = append(accounts, a)
	}
	var all sync.WaitGroup
	errs := make(chan error, 200)
	for worker := range 6 {
		all.Go(func() {
			for n := range 8 {
				var page []ledger.Entry
				for i := range accounts {
					who := accounts[(i*(worker+1)+n)%len(accounts)]
					page = append(page, ledger.Move("park", ledger.KindDailyCharge, fmt.Sprintf("p/%d/%d/%d", worker, n, i), "x", ledger.Customer(who), ledger.Unbilled("park"), 1))
				}
				_, err := postAll(u.Store, page...)
				errs <- err
				_, err = post(u.Store, ledger.Move("park", ledger.KindDailyCharge, fmt.Sprintf("s/%d/%d", worker, n), "x", ledger.Customer(accounts[n%6]), ledger.Unbilled("park"), 1))
				errs <- err
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	var wrong int
	require.NoError(t, u.Pool.QueryRow(ctx, `SELECT count(*) FROM balances b JOIN ledger_accounts a USING (account_id)
		WHERE b.balance_fen <> (SELECT -sum(amount_fen) FROM ledger_postings p WHERE p.code = a.code)`).Scan(&wrong))
	require.Zero(t, wrong)
}

// Rows that were appended in pages and singly, mixed, hash as Go computes it: to the digest the same chain.
func TestJournalAll_hashesLikeSingleRows(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		text := rapid.StringMatching(`[a-z\p{Han}"\\' :,\n]{0,12}`)
		var rows []store.Entry
		for range rapid.IntRange(1, 9).Draw(rt, "rows") {
			rows = append(rows, store.Entry{
				Site: "park", Kind: rapid.SampledFrom([]string{"bill", "run"}).Draw(rt, "kind"), ID: fmt.Sprint(n, "/", rapid.IntRange(0, 3).Draw(rt, "entity")),
				Event: "rated", From: text.Draw(rt, "from"), To: text.Draw(rt, "to"), Reason: text.Draw(rt, "reason"),
				Refs: []string{text.Draw(rt, "ref"), text.Draw(rt, "ref"), ""}, Data: map[string]any{"x": text.Draw(rt, "data"), "n": rapid.Int64().Draw(rt, "n")},
			})
		}
		pages := rapid.Bool().Draw(rt, "pages")
		err := u.Change(ctx, store.By{Actor: "workflow", WorkflowID: "w/1", RunID: "r"}, func(tx *store.Tx) error {
			if pages {
				return tx.JournalAll(ctx, rows)
			}
			for _, r := range rows {
				if err := tx.Journal(ctx, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
	rows, _, broken, err := u.VerifyJournal(ctx)
	require.NoError(t, err)
	require.Nil(t, broken)
	require.Positive(t, rows)

	// The same rows, once in each way: nothing but their chain and the real time differs, and with both made the same neither does the hash.
	write := func(entity string, page bool) []journal.Row {
		list := []store.Entry{
			{Site: "park", Kind: "twin", ID: entity, Event: "a", To: "x", Refs: []string{"r2", "r1"}, Data: map[string]any{"b": 1, "a": "文"}},
			{Site: "park", Kind: "twin", ID: entity, Event: "b", From: "x", To: "y"},
		}
		require.NoError(t, u.Change(ctx, storetest.By, func(tx *store.Tx) error {
			if page {
				return tx.JournalAll(ctx, list)
			}
			for _, e := range list {
				if err := tx.Journal(ctx, e); err != nil {
					return err
				}
			}
			return nil
		}))
		return chainOf(t, u.Store, "twin/"+entity)
	}
	single, paged := write("1", false), write("2", true)
	require.Len(t, paged, 2)
	var prev []byte
	for i := range single {
		p := paged[i]
		require.Equal(t, p.Sum(p.PrevHash), p.Hash)
		p.Chain, p.RealAt = single[i].Chain, single[i].RealAt
		p.Refs = single[i].Refs
		prev = p.Sum(prev)
		require.Equal(t, single[i].Hash, prev)
	}
}

func chainOf(t *testing.T, s *store.Store, chain string) []journal.Row {
	t.Helper()
	rows, err := s.Pool.Query(context.Background(), `SELECT site_id, chain, seq, event, from_state, to_state, actor, reason, workflow_id, run_id,
		business_at, real_at, refs, data::text, prev_hash, hash FROM journal WHERE chain = $1 ORDER BY seq`, chain)
	require.NoError(t, err)
	defer rows.Close()
	var all []journal.Row
	for rows.Next() {
		var r journal.Row
		require.NoError(t, rows.Scan(&r.Site, &r.Chain, &r.Seq, &r.Event, &r.From, &r.To, &r.Actor, &r.Reason, &r.WorkflowID, &r.RunID, &r.BusinessAt, &r.RealAt, &r.Refs, &r.Data, &r.PrevHash, &r.Hash))
		all = append(all, r)
	}
	return all
}

func TestPostEntry_journalsOnce(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	a, _ := u.Account(storetest.NewAccount{})
	e := ledger.Move("park", ledger.KindRechargeCredited, "key/1", "R1", ledger.InTransit("park"), ledger.Customer(a), 500)
	row := store.Entry{Site: "park", Kind: "note", ID: string(a), Event: "credited", Data: map[string]int{"amount_fen": 500}}
	for range 2 {
		_, err := u.PostEntry(context.Background(), storetest.By, e, row)
		require.NoError(t, err)
	}
	chain := chainOf(t, u.Store, "note/"+string(a))
	require.Len(t, chain, 1)
	require.Contains(t, chain[0].Data, `"entry": `)
	require.Equal(t, "admin", chain[0].Actor)
	_, err := u.PostEntry(context.Background(), storetest.By, ledger.Move("park", ledger.KindRechargeCredited, "key/2", "R1", "park/purse", ledger.Customer(a), 500), row)
	require.Equal(t, billing.CodeNotFound, billing.CodeOf(err))
	require.Len(t, chainOf(t, u.Store, "note/"+string(a)), 1)
}
