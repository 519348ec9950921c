package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// RunRow is a run as a list shows it, with its bills counted as they stand now and the names of those who signed it.
type RunRow struct {
	Run
	Bills        int // without the held and cancelled ones
	Held         int
	TotalFen     billing.Money
	VerifiedName string
	IssuedName   string
}

// A run that was rated knows its totals; only one that is being rated is counted as it stands. Held bills are few, and their number
// falls when a further run takes them, so they are always counted.
const selectRunRow = `SELECT ` + runColumns + `, n.bills, h.held, n.total_fen, coalesce(v.name, '') AS verified_name, coalesce(i.name, '') AS issued_name, count(*) OVER () AS total
	FROM billing_runs r LEFT JOIN users v ON v.id = r.verified_by LEFT JOIN users i ON i.id = r.issued_by
	CROSS JOIN LATERAL (
		SELECT (r.totals->>'bills')::int AS bills, (r.totals->>'total_fen')::bigint AS total_fen WHERE r.totals ? 'bills'
		UNION ALL SELECT count(*)::int, coalesce(sum(total_fen), 0)::bigint FROM bills WHERE run_id = r.id AND state IN ('draft', 'issued') AND NOT r.totals ? 'bills'
			HAVING NOT r.totals ? 'bills') n
	CROSS JOIN LATERAL (SELECT count(*)::int AS held FROM bills WHERE run_id = r.id AND state = 'held') h`

type countedRun struct {
	RunRow
	Total int
}

// RunPage lists the billing runs of some sites, newest period first, and counts them all. An empty state means every state.
func (s *Store) RunPage(ctx context.Context, sites []billing.SiteID, state string, limit, offset int) ([]RunRow, int, error) {
	rows, _ := s.Pool.Query(ctx, selectRunRow+` WHERE r.site_id = ANY($1) AND ($2 = '' OR r.state = $2) ORDER BY r.period_from DESC, r.site_id, r.version DESC LIMIT $3 OFFSET $4`,
		sites, state, limit, offset)
	return unwrap(rows, func(r countedRun) (RunRow, int) { return r.RunRow, r.Total })
}

// RunRow reads one run as a list shows it.
func (s *Store) RunRow(ctx context.Context, id billing.RunID) (RunRow, error) {
	rows, _ := s.Pool.Query(ctx, selectRunRow+` WHERE r.id = $1`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[countedRun])
	return r.RunRow, translate(err)
}

// BillRow is a bill as a list shows it, beside the account's issued bill of the period before.
type BillRow struct {
	ID         billing.BillID
	Account    billing.AccountID
	Customer   string
	Service    billing.Service
	State      billing.BillState
	HoldReason string
	Quantity   int64 // raw units after the ratio
	TotalFen   billing.Money
	LateFen    billing.Money // the part of TotalFen that late fees are
	PeriodFrom billing.Date
	LastFen    *billing.Money // nil without a bill of the period before
}

// BillFilter chooses bills of a run. Zero fields choose all.
type BillFilter struct {
	Run   billing.RunID
	State string
	Text  string // the bill's or account's number, or part of the customer's name
}

const chosenBills = ` FROM bills b JOIN accounts a ON a.id = b.account_id JOIN customers c ON c.id = a.customer_id
	WHERE b.run_id = @run AND (@state = '' OR b.state = @state)`

// A name is looked for among the customers of the run's site, not along the bills.
const chosenByText = ` AND (b.id = @text OR b.account_id = @text OR a.customer_id = ANY(
	SELECT id FROM customers WHERE site_id = (SELECT site_id FROM billing_runs WHERE id = @run) AND position(lower(@text) IN lower(name)) > 0))`

func (f BillFilter) where() string {
	if f.Text == "" {
		return chosenBills
	}
	return chosenBills + chosenByText
}

// BillPage lists the bills of a run that the filter chooses, by account, after the given one; more says that others follow.
func (s *Store) BillPage(ctx context.Context, f BillFilter, after billing.AccountID, limit int) (list []BillRow, more bool, err error) {
	rows, _ := s.Pool.Query(ctx, `SELECT x.*, p.total_fen AS last_fen FROM (
			SELECT b.id, b.account_id AS account, c.name AS customer, a.service, b.state, b.hold_reason, b.quantity, b.total_fen, b.late_fen, b.period_from`+f.where()+`
				AND b.account_id > @after ORDER BY b.account_id LIMIT @limit) x
		LEFT JOIN LATERAL (SELECT total_fen FROM bills WHERE account_id = x.account AND period_to = x.period_from AND state = 'issued' LIMIT 1) p ON true ORDER BY x.account`,
		pgx.NamedArgs{"run": f.Run, "state": f.State, "text": f.Text, "after": after, "limit": limit + 1})
	list, err = pgx.CollectRows(rows, pgx.RowToStructByName[BillRow])
	if more = len(list) > limit; more {
		list = list[:limit]
	}
	return list, more, translate(err)
}

// CountBills counts the bills that the filter chooses.
func (s *Store) CountBills(ctx context.Context, f BillFilter) (n int, err error) {
	err = s.Pool.QueryRow(ctx, `SELECT count(*)::int`+f.where(), pgx.NamedArgs{"run": f.Run, "state": f.State, "text": f.Text}).Scan(&n)
	return n, translate(err)
}

// BillSheet is a bill with all that its page and its print show.
type BillSheet struct {
	Bill
	Customer   string
	Class      string
	Address    string
	CreditMode billing.CreditMode
	TariffZH   string
	TariffEN   string
	RunState   billing.RunState
	RunIssued  bool // a second supervisor has approved the issue
	IssuedAt   *time.Time
	BalanceFen billing.Money // as it stands now
	Lines      []BillLine    `db:"-"`
	// Adjustments are the refunds and charges for a faulty meter that were booked in the bill's period. They aren't part of its total.
	Adjustments []StatedAdjustment `db:"-"`
	// Plans are the payment plans for a make-up in the bill's period, as they stand now.
	Plans []PaymentPlan `db:"-"`
}

// BillSheet reads a bill with its lines in order.
func (s *Store) BillSheet(ctx context.Context, id billing.BillID) (BillSheet, error) {
	list, err := s.sheets(ctx, ` WHERE b.id = $1`, id)
	if err == nil && len(list) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return BillSheet{}, translate(err)
	}
	return list[0], nil
}

// PaymentRow is one line of a run's payment list: what an account used, what its bill comes to, how much of it was paid day by day, and
// what it has left or owes.
type PaymentRow struct {
	Bill       billing.BillID
	Account    billing.AccountID
	Customer   string
	Address    string
	Service    billing.Service
	Quantity   int64
	TotalFen   billing.Money
	ChargedFen billing.Money
	BalanceFen billing.Money
}

// ToPay is what the account owes now.
func (p PaymentRow) ToPay() billing.Money { return max(-p.BalanceFen, 0) }

// PaymentPage lists bills of a run for the payment list, by account, after the given one; held and cancelled ones are left out.
func (s *Store) PaymentPage(ctx context.Context, run billing.RunID, after billing.AccountID, limit int) ([]PaymentRow, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT b.id, b.account_id, c.name, p.address, a.service, b.quantity, b.total_fen, b.charged_fen, coalesce(bal.balance_fen, 0)
		FROM bills b JOIN accounts a ON a.id = b.account_id JOIN customers c ON c.id = a.customer_id JOIN service_points p ON p.id = a.service_point_id
		LEFT JOIN balances bal ON bal.account_id = a.id WHERE b.run_id = $1 AND b.account_id > $2 AND b.state IN ('draft', 'issued')
		ORDER BY b.run_id, b.account_id LIMIT $3`, run, after, limit)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PaymentRow])
	return list, translate(err)
}
