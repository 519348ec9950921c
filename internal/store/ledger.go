package store

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// Post writes one entry with its postings, in the caller's transaction, and returns its id. The same request under the same key is
// posted once: a repeat gets the first id. Another request under a used key is billing.CodeConflict. The database checks
// again, when the transaction ends, that the entry balances.
func Post(ctx context.Context, tx *Tx, e ledger.Entry) (int64, error) {
	if err := e.Validate(); err != nil {
		return 0, err
	}
	var id int64
	err := tx.QueryRow(ctx, `INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject, reverses)
		VALUES ($1, $2, $3, $4, $5, $6, nullif($7, 0)) ON CONFLICT (idempotency_key) DO NOTHING RETURNING id`,
		e.Site, e.Kind, e.Key, e.RequestHash(), tx.Now, e.Subject, e.Reverses).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return firstPosting(ctx, tx, e)
	}
	if err != nil {
		return 0, err
	}
	codes := make([]string, len(e.Postings))
	amounts := make([]int64, len(e.Postings))
	for i, p := range e.Postings {
		codes[i], amounts[i] = string(p.Code), int64(p.Amount)
	}
	_, err = tx.Exec(ctx, `INSERT INTO ledger_postings (entry_id, seq, code, amount_fen)
		SELECT $1, p.seq, p.code, p.amount FROM unnest($2::text[], $3::bigint[]) WITH ORDINALITY AS p (code, amount, seq)`, id, codes, amounts)
	return id, err
}

// firstPosting finds what was posted under the key before, and refuses when it was something else.
func firstPosting(ctx context.Context, tx *Tx, e ledger.Entry) (int64, error) {
	var id int64
	var hash []byte
	if err := tx.QueryRow(ctx, `SELECT id, request_hash FROM ledger_entries WHERE idempotency_key = $1`, e.Key).Scan(&id, &hash); err != nil {
		return 0, err
	}
	if !bytes.Equal(hash, e.RequestHash()) {
		return 0, billing.Errorf(billing.CodeConflict, "another entry was posted under the key %s already: nothing was posted now", e.Key)
	}
	return id, nil
}

// ReverseEntry posts the entry that undoes another one whole. Undoing twice changes nothing.
func ReverseEntry(ctx context.Context, tx *Tx, id int64) (int64, error) {
	var e ledger.Entry
	if err := tx.QueryRow(ctx, `SELECT site_id, kind, idempotency_key, subject, coalesce(reverses, 0) FROM ledger_entries WHERE id = $1`, id).
		Scan(&e.Site, &e.Kind, &e.Key, &e.Subject, &e.Reverses); err != nil {
		return 0, err
	}
	rows, _ := tx.Query(ctx, `SELECT code, amount_fen FROM ledger_postings WHERE entry_id = $1 ORDER BY seq`, id)
	postings, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ledger.Posting])
	if err != nil {
		return 0, err
	}
	e.Postings = postings
	return Post(ctx, tx, ledger.Reverse(e, id))
}

// OpenHouse opens the house accounts of a site. Opening them twice changes nothing.
func (s *Store) OpenHouse(ctx context.Context, by By, site billing.SiteID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		for _, a := range ledger.House(site) {
			if _, err := tx.Exec(ctx, `INSERT INTO ledger_accounts (code, site_id, kind) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, a.Code, site, a.Kind); err != nil {
				return err
			}
		}
		return nil
	})
}

// OpenCustomerAccount opens the credit account and the balance of a customer's account, in the caller's transaction.
func OpenCustomerAccount(ctx context.Context, tx *Tx, site billing.SiteID, account billing.AccountID) error {
	if _, err := tx.Exec(ctx, `INSERT INTO ledger_accounts (code, site_id, kind, account_id) VALUES ($1, $2, 'liability', $3) ON CONFLICT DO NOTHING`,
		ledger.Customer(account), site, account); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO balances (account_id) VALUES ($1) ON CONFLICT DO NOTHING`, account)
	return err
}

// balanceOf reads a balance; it locks nothing, as the supplies row is the lock of an account's money and supply.
func balanceOf(ctx context.Context, tx *Tx, account billing.AccountID) (billing.Money, error) {
	var fen billing.Money
	err := tx.QueryRow(ctx, `SELECT balance_fen FROM balances WHERE account_id = $1`, account).Scan(&fen)
	return fen, err
}

// SnapshotHouse sums the house accounts of a site at the end of a day, so that later sums need only what came after.
// A day that has its snapshot keeps it.
func (s *Store) SnapshotHouse(ctx context.Context, site billing.SiteID, day billing.Date) error {
	var done bool
	err := s.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM house_snapshots h JOIN ledger_accounts a USING (code) WHERE a.site_id = $1 AND h.day = $2::date)`,
		site, day.String()).Scan(&done)
	if err != nil || done {
		return translate(err)
	}
	return s.Change(ctx, By{Actor: "workflow"}, func(tx *Tx) error {
		// Ids are given before the commit: with the table locked against writers, no entry with a smaller id can appear later.
		if _, err := tx.Exec(ctx, `LOCK TABLE ledger_entries IN SHARE MODE`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			WITH upto AS (SELECT coalesce(max(id), 0) AS id FROM ledger_entries)
			INSERT INTO house_snapshots (code, day, last_entry, balance_fen)
			SELECT h.code, $2::date, upto.id, h.balance_fen FROM upto, LATERAL (`+houseSums+`) h
			ON CONFLICT DO NOTHING`, site, day.String())
		return err
	})
}

// houseSums is the signed sum of each house account of site $1: its newest snapshot and what came after.
const houseSums = `
	SELECT a.code, a.kind, coalesce(n.balance_fen, 0) + coalesce((
		SELECT sum(p.amount_fen) FROM ledger_postings p WHERE p.code = a.code AND p.entry_id > coalesce(n.last_entry, 0)), 0)::bigint AS balance_fen
	FROM ledger_accounts a
	LEFT JOIN LATERAL (SELECT last_entry, balance_fen FROM house_snapshots h WHERE h.code = a.code ORDER BY day DESC LIMIT 1) n ON true
	WHERE a.site_id = $1 AND a.account_id IS NULL`

// HouseBalance is the signed sum of one house account: positive is a debit balance.
type HouseBalance struct {
	Code    ledger.Code
	Kind    ledger.AccountKind
	Balance billing.Money `db:"balance_fen"`
}

// HouseBalances sums the house accounts of a site from their newest snapshots.
func (s *Store) HouseBalances(ctx context.Context, site billing.SiteID) ([]HouseBalance, error) {
	rows, _ := s.Pool.Query(ctx, houseSums+` ORDER BY a.code`, site)
	sums, err := pgx.CollectRows(rows, pgx.RowToStructByName[HouseBalance])
	return sums, translate(err)
}

// TrialBalance is the books in one line: all debits, all credits, and what customers have.
type TrialBalance struct {
	Entries   int64
	Debit     billing.Money `db:"debit_fen"`
	Credit    billing.Money `db:"credit_fen"` // as a positive amount
	Customers billing.Money `db:"customers_fen"`
}

// Balanced says that debits equal credits.
func (t TrialBalance) Balanced() bool { return t.Debit == t.Credit }

// TrialBalance sums all postings of the given sites.
func (s *Store) TrialBalance(ctx context.Context, sites []billing.SiteID) (TrialBalance, error) {
	rows, _ := s.Pool.Query(ctx, `
		SELECT count(DISTINCT e.id) AS entries,
			coalesce(sum(p.amount_fen) FILTER (WHERE p.amount_fen > 0), 0)::bigint AS debit_fen,
			coalesce(-sum(p.amount_fen) FILTER (WHERE p.amount_fen < 0), 0)::bigint AS credit_fen,
			coalesce(-sum(p.amount_fen) FILTER (WHERE a.account_id IS NOT NULL), 0)::bigint AS customers_fen
		FROM ledger_entries e JOIN ledger_postings p ON p.entry_id = e.id JOIN ledger_accounts a ON a.code = p.code
		WHERE e.site_id = ANY($1)`, sites)
	t, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[TrialBalance])
	return t, translate(err)
}

// Movement is one posting on a customer's credit: positive amounts are credit for the customer.
type Movement struct {
	EntryID    int64
	Kind       ledger.Kind
	Subject    string
	Amount     billing.Money `db:"amount_fen"`
	Balance    billing.Money `db:"balance_fen"` // after it
	BusinessAt time.Time
}

// Movements lists the newest movements of an account's credit, newest first, each with the balance after it.
func (s *Store) Movements(ctx context.Context, account billing.AccountID, limit int) ([]Movement, error) {
	rows, _ := s.Pool.Query(ctx, `
		SELECT e.id AS entry_id, e.kind, e.subject, -p.amount_fen AS amount_fen,
			-(sum(p.amount_fen) OVER (ORDER BY e.id))::bigint AS balance_fen, e.business_at
		FROM ledger_postings p JOIN ledger_entries e ON e.id = p.entry_id
		WHERE p.code = $1 ORDER BY e.id DESC LIMIT $2`, ledger.Customer(account), limit)
	ms, err := pgx.CollectRows(rows, pgx.RowToStructByName[Movement])
	return ms, translate(err)
}
