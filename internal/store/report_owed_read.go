package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// OwedKind is a list of customers to be called.
type OwedKind string

// The lists: whose credit runs out and who was reminded; who is below zero; who has issued bills that no money covers.
const (
	OwedShort   OwedKind = "short"
	OwedArrears OwedKind = "arrears"
	OwedUnpaid  OwedKind = "unpaid"
)

// OwedFilter chooses whom a list names. Zero fields choose all.
type OwedFilter struct {
	Kind    OwedKind
	Sites   []billing.SiteID
	Service string
}

// OwedCursor is where a page ends: the lists go from the deepest debt upwards.
type OwedCursor struct {
	BalanceFen billing.Money
	Account    billing.AccountID
}

// OwedRow is an account on a list. Since is when its arrears case was opened; nil without one. UnpaidFen is how much of its issued bills
// no money covers, Bill the oldest of them.
type OwedRow struct {
	Site       billing.SiteID
	Account    billing.AccountID
	Customer   string
	Phone      string
	Address    string
	Service    billing.Service
	BalanceFen billing.Money
	Reminder   string // state of the open arrears case; empty without one
	Since      *time.Time
	Supply     billing.SupplyState
	UnpaidFen  billing.Money  `db:"-"`
	Bill       billing.BillID `db:"-"`
	BillFen    billing.Money  `db:"-"`
	IssuedAt   *time.Time     `db:"-"`
}

// Cursor is the row's place in the list.
func (r OwedRow) Cursor() OwedCursor { return OwedCursor{r.BalanceFen, r.Account} }

const selectOwed = `SELECT a.site_id AS site, a.id AS account, c.name AS customer, c.phone, p.address, a.service, b.balance_fen,
		coalesce(n.state, '') AS reminder, n.opened_at AS since, coalesce(u.state, 'unknown') AS supply
	FROM balances b JOIN accounts a ON a.id = b.account_id JOIN customers c ON c.id = a.customer_id JOIN service_points p ON p.id = a.service_point_id
	LEFT JOIN supplies u ON u.account_id = a.id LEFT JOIN reminders n ON n.account_id = a.id AND n.state IN ` + openReminderStates + `
	WHERE a.site_id = ANY(@sites) AND (@service = '' OR a.service = @service) AND (NOT @onward OR (b.balance_fen, b.account_id) > (@fen, @account)) AND `

// OwedPage lists whom the filter names, the deepest debt first, after a cursor (nil for the first page). An unpaid list leaves out
// accounts whose debt is for use that isn't billed yet, so that a page may be short; more says whether to ask on, from last.
func (s *Store) OwedPage(ctx context.Context, f OwedFilter, after *OwedCursor, limit int) (rows []OwedRow, last OwedCursor, more bool, err error) {
	which := `b.balance_fen < 0`
	if f.Kind == OwedShort {
		which = `n.id IS NOT NULL`
	}
	args := pgx.NamedArgs{"sites": f.Sites, "service": f.Service, "onward": after != nil, "fen": billing.Money(0), "account": billing.AccountID(""), "limit": limit + 1}
	if after != nil {
		args["fen"], args["account"] = after.BalanceFen, after.Account
	}
	found, _ := s.Pool.Query(ctx, selectOwed+which+` ORDER BY b.balance_fen, b.account_id LIMIT @limit`, args)
	rows, err = pgx.CollectRows(found, pgx.RowToStructByName[OwedRow])
	if err != nil {
		return nil, last, false, translate(err)
	}
	if more = len(rows) > limit; more {
		rows = rows[:limit]
	}
	if len(rows) > 0 {
		last = rows[len(rows)-1].Cursor()
	}
	if err := s.unpaid(ctx, rows); err != nil {
		return nil, last, false, err
	}
	if f.Kind == OwedUnpaid {
		rows = keep(rows, func(r OwedRow) bool { return r.UnpaidFen > 0 })
	}
	return rows, last, more, nil
}

func keep[T any](rows []T, ok func(T) bool) []T {
	kept := rows[:0]
	for _, r := range rows {
		if ok(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// unpaid finds which issued bills the debt of each row is for. Money pays the oldest first, so a debt is for the newest use: first for
// what was charged since the last bill, then for the newest bill, and so on back.
func (s *Store) unpaid(ctx context.Context, rows []OwedRow) error {
	at := map[billing.AccountID]int{}
	debt := map[billing.AccountID]billing.Money{}
	var ids []billing.AccountID
	for i, r := range rows {
		if r.BalanceFen < 0 {
			at[r.Account], debt[r.Account] = i, -r.BalanceFen
			ids = append(ids, r.Account)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := s.takeUnbilled(ctx, ids, debt); err != nil {
		return err
	}
	found, err := s.Pool.Query(ctx, `SELECT b.account_id, b.id, b.total_fen, r.issued_at FROM bills b JOIN billing_runs r ON r.id = b.run_id
		WHERE b.account_id = ANY($1) AND b.state = 'issued' ORDER BY b.account_id, b.period_from DESC`, ids)
	if err != nil {
		return translate(err)
	}
	var account billing.AccountID
	var bill billing.BillID
	var fen billing.Money
	var issued *time.Time
	_, err = pgx.ForEachRow(found, []any{&account, &bill, &fen, &issued}, func() error {
		left := debt[account]
		if left <= 0 || fen <= 0 {
			return nil
		}
		row, part := &rows[at[account]], min(left, fen)
		row.UnpaidFen += part
		row.Bill, row.BillFen, row.IssuedAt = bill, fen, issued
		debt[account] = left - part
		return nil
	})
	return translate(err)
}

// takeUnbilled takes from each debt what was charged for periods that have no issued bill.
func (s *Store) takeUnbilled(ctx context.Context, ids []billing.AccountID, debt map[billing.AccountID]billing.Money) error {
	found, err := s.Pool.Query(ctx, `SELECT c.account_id, sum(c.amount_fen)::bigint FROM charges c
		WHERE c.account_id = ANY($1) AND NOT EXISTS (SELECT 1 FROM bills b WHERE b.account_id = c.account_id AND b.period_from = c.period_from AND b.state = 'issued')
		GROUP BY c.account_id`, ids)
	if err != nil {
		return translate(err)
	}
	var account billing.AccountID
	var fen billing.Money
	_, err = pgx.ForEachRow(found, []any{&account, &fen}, func() error {
		debt[account] -= fen
		return nil
	})
	return translate(err)
}

// OwedTally counts a list, and sums what its accounts are below zero.
type OwedTally struct {
	N       int
	DebtFen billing.Money
}

// OwedTallies counts the short list and the arrears list of some sites.
func (s *Store) OwedTallies(ctx context.Context, f OwedFilter) (short, arrears OwedTally, err error) {
	err = s.Pool.QueryRow(ctx, `SELECT
			(SELECT count(*) FROM reminders n JOIN accounts a ON a.id = n.account_id WHERE n.state IN `+openReminderStates+` AND a.site_id = ANY($1) AND ($2 = '' OR a.service = $2))::int,
			x.n, x.fen
		FROM (SELECT count(*)::int AS n, coalesce(-sum(b.balance_fen), 0)::bigint AS fen FROM balances b JOIN accounts a ON a.id = b.account_id
			WHERE b.balance_fen < 0 AND a.site_id = ANY($1) AND ($2 = '' OR a.service = $2)) x`, f.Sites, f.Service).Scan(&short.N, &arrears.N, &arrears.DebtFen)
	return short, arrears, translate(err)
}
