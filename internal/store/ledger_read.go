package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// balanceAsOf is the signed balance of account a.code (of site a.site_id) at the end of day @asof, from what was recorded before @known.
// The newest closed day that was closed by then holds all that came before it; what came later is summed. No entry of a later day than a
// closed one has a smaller id than later_entry, so only the account's own newest postings are read.
const balanceAsOf = `coalesce((SELECT t.balance_fen FROM ledger_day_totals t WHERE t.code = a.code AND t.day <= sealed.day ORDER BY t.day DESC LIMIT 1), 0)
	+ coalesce((SELECT sum(p.amount_fen) FROM ledger_postings p JOIN ledger_entries e ON e.id = p.entry_id
		WHERE p.code = a.code AND p.entry_id >= coalesce(sealed.later_entry, 0) AND e.day > coalesce(sealed.day, '-infinity')
			AND e.day <= @asof AND e.business_at < @known), 0)::bigint`

const sealedDay = `LEFT JOIN LATERAL (SELECT d.day, d.later_entry FROM ledger_days d WHERE d.site_id = a.site_id AND d.day <= @asof AND d.closed_at < @known
	ORDER BY d.day DESC LIMIT 1) sealed ON true`

// AsOf names a point in both times: the end of the day that entries are effective on, and the business instant before which they were
// recorded. A zero Known means all that is recorded now.
type AsOf struct {
	Day   billing.Date
	Known time.Time
}

// KnownOn is a day as it was known at the end of a day.
func KnownOn(day, known billing.Date, zone *time.Location) AsOf {
	return AsOf{day, known.AddDays(1).Start(zone)}
}

func (t AsOf) args(more pgx.NamedArgs) pgx.NamedArgs {
	more["asof"], more["known"] = t.Day.String(), any(t.Known)
	if t.Known.IsZero() {
		more["known"] = "infinity"
	}
	return more
}

// BalanceAsOf is the signed balance of an account of the books (positive is a debit balance) at the end of a day, as it was known at an
// instant.
func (s *Store) BalanceAsOf(ctx context.Context, code ledger.Code, t AsOf) (billing.Money, error) {
	var m billing.Money
	err := s.Pool.QueryRow(ctx, `SELECT `+balanceAsOf+` FROM ledger_accounts a `+sealedDay+` WHERE a.code = @code`, t.args(pgx.NamedArgs{"code": code})).Scan(&m)
	return m, translate(err)
}

// ChartRow is an account of the house with its signed balance; the customers' accounts of a site come as one row without a code.
type ChartRow struct {
	Site    billing.SiteID `db:"site_id"`
	Code    ledger.Code
	Kind    ledger.AccountKind
	NameZH  string
	NameEN  string
	Balance billing.Money `db:"balance_fen"`
	Count   int           // of customers' accounts, in their row
}

// Chart lists the house accounts of some sites with their balances, and one row for the customers' accounts of each site.
func (s *Store) Chart(ctx context.Context, sites []billing.SiteID, t AsOf) ([]ChartRow, error) {
	rows, _ := s.Pool.Query(ctx, `
		SELECT a.site_id, a.code, a.kind, a.name_zh, a.name_en, `+balanceAsOf+` AS balance_fen, 0 AS count
		FROM ledger_accounts a `+sealedDay+` WHERE a.site_id = ANY(@sites) AND a.account_id IS NULL
		UNION ALL
		SELECT a.site_id, '', 'liability', '', '', coalesce((SELECT d.customers_fen FROM ledger_days d WHERE d.site_id = a.site_id AND d.day = sealed.day), 0)
			+ coalesce((SELECT sum(p.amount_fen) FROM ledger_entries e JOIN ledger_postings p ON p.entry_id = e.id AND starts_with(p.code, 'customer/')
				WHERE e.site_id = a.site_id AND e.day > coalesce(sealed.day, '-infinity') AND e.day <= @asof AND e.business_at < @known), 0)::bigint,
			(SELECT count(*)::int FROM ledger_accounts c WHERE c.site_id = a.site_id AND c.account_id IS NOT NULL)
		FROM (SELECT id AS site_id FROM sites WHERE id = ANY(@sites)) a `+sealedDay+`
		ORDER BY site_id, code`, t.args(pgx.NamedArgs{"sites": sites}))
	cs, err := pgx.CollectRows(rows, pgx.RowToStructByName[ChartRow])
	return cs, translate(err)
}

// BookAccount is an account of the books: of the house, or a customer's credit.
type BookAccount struct {
	Site     billing.SiteID `db:"site_id"`
	Code     ledger.Code
	Kind     ledger.AccountKind
	NameZH   string
	NameEN   string
	Account  billing.AccountID `db:"account_id"` // empty for the house
	Customer string
}

// BookAccount reads one account of the books.
func (s *Store) BookAccount(ctx context.Context, code ledger.Code) (BookAccount, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT a.site_id, a.code, a.kind, a.name_zh, a.name_en, coalesce(a.account_id, '') AS account_id, coalesce(c.name, '') AS customer
		FROM ledger_accounts a LEFT JOIN accounts x ON x.id = a.account_id LEFT JOIN customers c ON c.id = x.customer_id WHERE a.code = $1`, code)
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[BookAccount])
	return a, translate(err)
}

// BookEntry is one entry as posted.
type BookEntry struct {
	ID         int64
	Site       billing.SiteID `db:"site_id"`
	Kind       ledger.Kind
	Key        string `db:"idempotency_key"`
	Subject    string
	Day        billing.Date
	Corrects   billing.Date
	Reverses   *int64
	ReversedBy *int64
	BusinessAt time.Time // recorded
	RealAt     time.Time
	Debit      billing.Money `db:"debit_fen"`  // of the whole entry
	Amount     billing.Money `db:"amount_fen"` // signed, on the account that was asked for
}

const selectBookEntry = `SELECT e.id, e.site_id, e.kind, e.idempotency_key, e.subject, e.day, e.corrects, e.reverses,
		(SELECT r.id FROM ledger_entries r WHERE r.reverses = e.id) AS reversed_by, e.business_at, e.real_at,
		(SELECT coalesce(sum(p.amount_fen), 0)::bigint FROM ledger_postings p WHERE p.entry_id = e.id AND p.amount_fen > 0) AS debit_fen`

// EntriesOf lists the newest entries that move an account, newest first, before the given id (0 for the first page). A day chooses those
// that are effective on it.
func (s *Store) EntriesOf(ctx context.Context, code ledger.Code, day billing.Date, before int64, limit int) ([]BookEntry, error) {
	moving := `SELECT p.entry_id, p.amount_fen FROM ledger_postings p WHERE p.code = @code`
	if !day.IsZero() {
		moving = `SELECT p.entry_id, p.amount_fen FROM ledger_accounts a JOIN ledger_entries x ON x.site_id = a.site_id AND x.day = @day
			JOIN ledger_postings p ON p.entry_id = x.id AND p.code = a.code WHERE a.code = @code`
	}
	rows, _ := s.Pool.Query(ctx, selectBookEntry+`, x.amount_fen FROM (SELECT entry_id, sum(amount_fen)::bigint AS amount_fen FROM (`+moving+`) p
			WHERE @before::bigint = 0 OR p.entry_id < @before GROUP BY entry_id ORDER BY entry_id DESC LIMIT @limit) x
		JOIN ledger_entries e ON e.id = x.entry_id ORDER BY e.id DESC`, pgx.NamedArgs{"code": code, "day": day, "before": before, "limit": limit})
	es, err := pgx.CollectRows(rows, pgx.RowToStructByName[BookEntry])
	return es, translate(err)
}

// BookPosting is one line of an entry.
type BookPosting struct {
	Code     ledger.Code
	Amount   billing.Money
	NameZH   string
	NameEN   string
	Customer string
}

// BookEntry reads one entry with its postings.
func (s *Store) BookEntry(ctx context.Context, id int64) (BookEntry, []BookPosting, error) {
	rows, _ := s.Pool.Query(ctx, selectBookEntry+`, 0::bigint AS amount_fen FROM ledger_entries e WHERE e.id = $1`, id)
	e, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[BookEntry])
	if err != nil {
		return e, nil, translate(err)
	}
	rows, _ = s.Pool.Query(ctx, `SELECT p.code, p.amount_fen, a.name_zh, a.name_en, coalesce(c.name, '') FROM ledger_postings p JOIN ledger_accounts a ON a.code = p.code
		LEFT JOIN accounts x ON x.id = a.account_id LEFT JOIN customers c ON c.id = x.customer_id WHERE p.entry_id = $1 ORDER BY p.seq`, id)
	ps, err := pgx.CollectRows(rows, pgx.RowToStructByPos[BookPosting])
	return e, ps, translate(err)
}
