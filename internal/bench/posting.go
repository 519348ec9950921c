package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
	"github.com/meterflow/meterflow/internal/store"
)

// PostingLoad is how much a measurement of postings does.
type PostingLoad struct {
	Clients  int           // that post at the same time, each on accounts of its own
	Accounts int           // of each client
	Rounds   int           // each side's turns
	Turn     time.Duration // of one side
	Batch    int           // entries that a round posts as pages, and copies
	Page     int           // entries of one page
}

// DefaultPostingLoad is what the figures are stated for.
var DefaultPostingLoad = PostingLoad{Clients: 8, Accounts: 250, Rounds: 6, Turn: 2 * time.Second, Batch: 10_000, Page: 1000}

// PostingLoadFor is the load that goes with a run of so many accounts: the stated one, or less where the run is only tried out.
func PostingLoadFor(accounts int) PostingLoad {
	load := DefaultPostingLoad
	if accounts < load.Batch {
		load.Rounds, load.Turn, load.Batch = 2, 200*time.Millisecond, max(accounts, load.Page)
	}
	return load
}

const benchSite billing.SiteID = "bench"

// Postings adds three ratios to the report:
//
//   - posting_vs_sql: single durable postings per second through store.PostEntry, against a hand-written transaction with the same
//     tables, keys, constraints, journal row and round trips;
//   - posting_vs_bare: the same, against a bare transaction of one header and two posting inserts into tables that have primary keys and
//     nothing else;
//   - batch_vs_copy: entries per second through store.PostAll with a journal row per page, against COPY of the same rows into tables with
//     the same keys, indexes, checks and foreign keys (and none of our triggers).
func Postings(ctx context.Context, s *store.Store, load PostingLoad, r *Report) error {
	b := &postingBench{store: s, load: load, run: time.Now().UnixNano()}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	sides := map[string]*Side{"post": {}, "sql": {}, "bare": {}, "batch": {}, "copy": {}}
	turns := []struct {
		side string
		post func(ctx context.Context, client, n int) error
	}{{"post", b.post}, {"sql", b.sql}, {"bare", b.bare}}
	for round := range load.Rounds + 1 {
		for i := range turns {
			t := turns[(i+round)%len(turns)]
			done, took, err := b.turn(ctx, t.post)
			if err != nil {
				return fmt.Errorf("%s: %w", t.side, err)
			}
			if round > 0 { // the first round warms up
				sides[t.side].add(done, took)
			}
		}
	}
	for round := range load.Rounds {
		if err := b.batchAndCopy(ctx, round, sides); err != nil {
			return err
		}
	}
	for name, side := range sides {
		r.Sides[name] = *side
	}
	r.Ratios["posting_vs_sql"] = sides["post"].PerSecond() / sides["sql"].PerSecond()
	r.Ratios["posting_vs_bare"] = sides["post"].PerSecond() / sides["bare"].PerSecond()
	r.Ratios["batch_vs_copy"] = sides["batch"].PerSecond() / sides["copy"].PerSecond()
	return nil
}

type postingBench struct {
	store *store.Store
	load  PostingLoad
	run   int64 // makes keys of this run
	next  atomic.Int64
}

// prepare makes a site with accounts, and the tables of the other sides.
func (b *postingBench) prepare(ctx context.Context) error {
	if _, err := b.store.Pool.Exec(ctx, `INSERT INTO sites (id, name_zh, name_en) VALUES ('bench', '测试', 'Bench') ON CONFLICT DO NOTHING`); err != nil {
		return err
	}
	if err := b.store.OpenHouse(ctx, store.By{Actor: "bench"}, benchSite); err != nil {
		return err
	}
	_, err := b.store.Pool.Exec(ctx, fmt.Sprintf(`
		INSERT INTO tariffs (id, service, name_zh, name_en, definition) VALUES ('bench', 'power', '测试', 'Bench', '{}') ON CONFLICT DO NOTHING;
		INSERT INTO customers (id, site_id, name, phone, class) VALUES ('bench', 'bench', 'Bench', '', 'household') ON CONFLICT DO NOTHING;
		INSERT INTO service_points (id, site_id, service, address) SELECT 'bench' || n, 'bench', 'power', '' FROM generate_series(0, %[1]d) n ON CONFLICT DO NOTHING;
		INSERT INTO accounts (id, site_id, customer_id, service_point_id, service, credit_mode, tariff_id, opened_on)
			SELECT 'bench' || n, 'bench', 'bench', 'bench' || n, 'power', 'platform', 'bench', '2026-01-01' FROM generate_series(0, %[1]d) n ON CONFLICT DO NOTHING;
		INSERT INTO ledger_accounts (code, site_id, kind, account_id) SELECT 'customer/bench' || n, 'bench', 'liability', 'bench' || n FROM generate_series(0, %[1]d) n ON CONFLICT DO NOTHING;
		INSERT INTO balances (account_id) SELECT 'bench' || n FROM generate_series(0, %[1]d) n ON CONFLICT DO NOTHING;
		CREATE TABLE bare_headers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, at timestamptz NOT NULL DEFAULT now());
		CREATE TABLE bare_postings (header_id bigint NOT NULL, seq smallint NOT NULL, code text NOT NULL, amount_fen bigint NOT NULL, PRIMARY KEY (header_id, seq));
		CREATE TABLE copied_entries (LIKE ledger_entries INCLUDING ALL);
		CREATE TABLE copied_postings (LIKE ledger_postings INCLUDING ALL);
		ALTER TABLE copied_entries ADD FOREIGN KEY (reverses) REFERENCES copied_entries;
		ALTER TABLE copied_postings ADD FOREIGN KEY (entry_id) REFERENCES copied_entries`, b.load.Clients*b.load.Accounts-1))
	if err != nil {
		return err
	}
	return b.fill(ctx)
}

// fill puts rows into all tables, so that both sides are measured on a ledger in use: on one that was empty a moment ago PostgreSQL
// plans for a table of one page.
func (b *postingBench) fill(ctx context.Context) error {
	for range 2 {
		entries := b.entries(b.load.Batch)
		if err := b.batch(ctx, entries); err != nil {
			return err
		}
		if err := b.copy(ctx, entries); err != nil {
			return err
		}
	}
	_, err := b.store.Pool.Exec(ctx, `
		INSERT INTO bare_headers (kind) SELECT 'fill' FROM ledger_entries;
		INSERT INTO bare_postings (header_id, seq, code, amount_fen) SELECT h.id, p.seq, p.code, p.fen FROM bare_headers h, (VALUES (0, 'a', 1), (1, 'b', -1)) p (seq, code, fen)`)
	if err != nil {
		return err
	}
	for n := range b.load.Clients * b.load.Accounts {
		e, account := b.entry(n/b.load.Accounts, n)
		if _, err := b.store.PostEntry(ctx, benchBy, e, journalOf(account, e)); err != nil {
			return err
		}
	}
	if _, err := b.store.Pool.Exec(ctx, `VACUUM ANALYZE`); err != nil {
		return err
	}
	b.store.Pool.Reset() // new sessions plan for what is there now
	return nil
}

func (b *postingBench) entries(n int) []ledger.Entry {
	entries := make([]ledger.Entry, n)
	for i := range entries {
		entries[i], _ = b.entry(i%b.load.Clients, i/b.load.Clients)
	}
	return entries
}

func (b *postingBench) account(client, n int) billing.AccountID {
	return billing.AccountID(fmt.Sprintf("bench%d", client*b.load.Accounts+n%b.load.Accounts))
}

func (b *postingBench) entry(client, n int) (ledger.Entry, billing.AccountID) {
	account := b.account(client, n)
	key := fmt.Sprintf("bench/%d/%d", b.run, b.next.Add(1))
	return ledger.Move(benchSite, ledger.KindRechargeCredited, key, key, ledger.InTransit(benchSite), ledger.Customer(account), billing.Money(100+n%900)), account
}

// turn lets all clients do one thing again and again for the turn's time.
func (b *postingBench) turn(ctx context.Context, do func(ctx context.Context, client, n int) error) (done int64, took time.Duration, err error) {
	var count atomic.Int64
	var first atomic.Value
	var all sync.WaitGroup
	began := time.Now()
	for client := range b.load.Clients {
		all.Go(func() {
			for n := 0; time.Since(began) < b.load.Turn; n++ {
				if err := do(ctx, client, n); err != nil {
					first.CompareAndSwap(nil, err)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	took = time.Since(began)
	err, _ = first.Load().(error)
	return count.Load(), took, err
}

var benchBy = store.By{Actor: "bench", Reason: "measured"}

func journalOf(account billing.AccountID, e ledger.Entry) store.Entry {
	return store.Entry{Site: benchSite, Kind: "account", ID: string(account), Event: "credited", Refs: []string{e.Key}, Data: map[string]any{"amount_fen": e.Postings[0].Amount}}
}

// post is our side: the call that the product makes.
func (b *postingBench) post(ctx context.Context, client, n int) error {
	e, account := b.entry(client, n)
	_, err := b.store.PostEntry(ctx, benchBy, e, journalOf(account, e))
	return err
}

// sql is what somebody writes who knows the tables: an insert of the entry with its postings and the journal row, as one pipelined
// transaction, which is one round trip too. No checks, no answer for a repeated request.
func (b *postingBench) sql(ctx context.Context, client, n int) error {
	e, account := b.entry(client, n)
	var batch pgx.Batch
	batch.Queue(`WITH e AS (INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject, day)
			VALUES ($1, $2, $3, $4, business_now(), $5, (business_now() AT TIME ZONE 'Asia/Shanghai')::date) RETURNING id)
		INSERT INTO ledger_postings (entry_id, seq, code, amount_fen) SELECT e.id, v.seq, v.code, v.fen FROM e, (VALUES (1, $6::text, $7::bigint), (2, $8, $9)) v (seq, code, fen)`,
		e.Site, e.Kind, e.Key, []byte(e.Key), e.Subject, e.Postings[0].Code, e.Postings[0].Amount, e.Postings[1].Code, e.Postings[1].Amount)
	batch.Queue(`SELECT journal_append($1, 'account', $2, 'credited', '', '', 'bench', 'measured', '', '', $3, $4)`,
		e.Site, account, []string{e.Key}, fmt.Sprintf(`{"amount_fen": %d}`, e.Postings[0].Amount))
	return b.store.Pool.SendBatch(ctx, &batch).Close()
}

// bare is a transaction of one header and two postings, and nothing else.
func (b *postingBench) bare(ctx context.Context, client, n int) error {
	e, _ := b.entry(client, n)
	return pgx.BeginFunc(ctx, b.store.Pool, func(tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(ctx, `INSERT INTO bare_headers (kind) VALUES ($1) RETURNING id`, e.Kind).Scan(&id); err != nil {
			return err
		}
		for seq, p := range e.Postings {
			if _, err := tx.Exec(ctx, `INSERT INTO bare_postings (header_id, seq, code, amount_fen) VALUES ($1, $2, $3, $4)`, id, seq, p.Code, p.Amount); err != nil {
				return err
			}
		}
		return nil
	})
}

// batchAndCopy lets both sides write the same entries, the one that goes first changing with the round.
func (b *postingBench) batchAndCopy(ctx context.Context, round int, sides map[string]*Side) error {
	entries := b.entries(b.load.Batch)
	turns := []struct {
		side string
		do   func(context.Context, []ledger.Entry) error
	}{{"batch", b.batch}, {"copy", b.copy}}
	for i := range turns {
		t := turns[(i+round)%len(turns)]
		began := time.Now()
		if err := t.do(ctx, entries); err != nil {
			return fmt.Errorf("%s: %w", t.side, err)
		}
		sides[t.side].add(int64(len(entries)), time.Since(began))
	}
	return nil
}

// batch is our side: pages, each one transaction with its journal row.
func (b *postingBench) batch(ctx context.Context, entries []ledger.Entry) error {
	for from := 0; from < len(entries); from += b.load.Page {
		page := entries[from:min(from+b.load.Page, len(entries))]
		err := b.store.Change(ctx, benchBy, func(tx *store.Tx) error {
			if _, err := store.PostAll(ctx, tx, page); err != nil {
				return err
			}
			return tx.Journal(ctx, store.Entry{Site: benchSite, Kind: "bench", ID: "batch", Event: "posted", Data: map[string]int{"count": len(page)}})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// copy is the same rows as two COPY commands in one transaction.
func (b *postingBench) copy(ctx context.Context, entries []ledger.Entry) error {
	base := b.next.Add(int64(len(entries))) - int64(len(entries))
	now := time.Now()
	return pgx.BeginFunc(ctx, b.store.Pool, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"copied_entries"}, []string{"id", "site_id", "kind", "idempotency_key", "request_hash", "business_at", "subject", "day"},
			pgx.CopyFromSlice(len(entries), func(i int) ([]any, error) {
				e := entries[i]
				return []any{base + int64(i), string(e.Site), string(e.Kind), e.Key, e.RequestHash(), now, e.Subject, now}, nil
			}))
		if err != nil {
			return err
		}
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"copied_postings"}, []string{"entry_id", "seq", "code", "amount_fen"},
			pgx.CopyFromSlice(2*len(entries), func(i int) ([]any, error) {
				p := entries[i/2].Postings[i%2]
				return []any{base + int64(i/2), int16(i%2 + 1), string(p.Code), int64(p.Amount)}, nil
			}))
		return err
	})
}
