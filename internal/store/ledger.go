package store

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// OpenHouse opens the house accounts of a site. Opening them twice changes nothing.
func (s *Store) OpenHouse(ctx context.Context, by By, site billing.SiteID) error {
	return s.Change(ctx, by, func(tx *Tx) error { return OpenHouse(ctx, tx, site) })
}

// OpenHouse is Store.OpenHouse in the caller's transaction.
func OpenHouse(ctx context.Context, tx *Tx, site billing.SiteID) error {
	for _, a := range ledger.House(site) {
		if _, err := insertHouseAccount(ctx, tx, site, a); err != nil {
			return err
		}
	}
	return nil
}

func insertHouseAccount(ctx context.Context, tx *Tx, site billing.SiteID, a ledger.Account) (fresh bool, err error) {
	tag, err := tx.Exec(ctx, `INSERT INTO ledger_accounts (code, site_id, kind, name_zh, name_en) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		a.Code, site, a.Kind, a.NameZH, a.NameEN)
	return tag.RowsAffected() > 0, err
}

// OpenHouseAccount adds an account to a site's chart: master data. A code that is there already is billing.CodeConflict.
func (s *Store) OpenHouseAccount(ctx context.Context, by By, site billing.SiteID, a ledger.Account) error {
	a.NameZH, a.NameEN = strings.TrimSpace(a.NameZH), strings.TrimSpace(a.NameEN)
	if err := a.Validate(site); err != nil {
		return err
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		fresh, err := insertHouseAccount(ctx, tx, site, a)
		if err != nil {
			return err
		}
		if !fresh {
			return billing.Errorf(billing.CodeConflict, "The account %s is in the chart already: choose another name.", a.Code)
		}
		return tx.Journal(ctx, Entry{Site: site, Kind: "ledger_account", ID: string(a.Code), Event: "opened",
			Data: map[string]string{"kind": string(a.Kind), "name_zh": a.NameZH, "name_en": a.NameEN}})
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
