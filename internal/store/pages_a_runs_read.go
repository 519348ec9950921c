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

const selectRunRow = `SELECT ` + runColumns + `, n.bills, n.held, n.total_fen, coalesce(v.name, '') AS verified_name, coalesce(i.name, '') AS issued_name, count(*) OVER () AS total
	FROM billing_runs r LEFT JOIN users v ON v.id = r.verified_by LEFT JOIN users i ON i.id = r.issued_by
	CROSS JOIN LATERAL (SELECT (count(*) FILTER (WHERE state IN ('draft', 'issued')))::int AS bills, (count(*) FILTER (WHERE state = 'held'))::int AS held,
		coalesce(sum(total_fen) FILTER (WHERE state IN ('draft', 'issued')), 0)::bigint AS total_fen FROM bills WHERE run_id = r.id) n`

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
	LastFen    *billing.Money // nil without a bill of the period before
}

// BillFilter chooses bills of a run. Zero fields choose all.
type BillFilter struct {
	Run   billing.RunID
	State string
	Text  string // part of the bill's or account's number or the customer's name
}

// BillPage lists the bills of a run that the filter chooses: held ones first, then by account. It counts them all.
func (s *Store) BillPage(ctx context.Context, f BillFilter, limit, offset int) ([]BillRow, int, error) {
	type counted struct {
		BillRow
		Total int
	}
	rows, _ := s.Pool.Query(ctx, `SELECT b.id, b.account_id AS account, c.name AS customer, a.service, b.state, b.hold_reason, b.quantity, b.total_fen,
			p.total_fen AS last_fen, count(*) OVER () AS total
		FROM bills b JOIN accounts a ON a.id = b.account_id JOIN customers c ON c.id = a.customer_id
		LEFT JOIN bills p ON p.account_id = b.account_id AND p.period_to = b.period_from AND p.state = 'issued'
		WHERE b.run_id = @run AND (@state = '' OR b.state = @state) AND (@text = '' OR position(lower(@text) IN lower(concat_ws(' ', b.id, a.id, c.name))) > 0)
		ORDER BY b.state <> 'held', b.account_id LIMIT @limit OFFSET @offset`,
		pgx.NamedArgs{"run": f.Run, "state": f.State, "text": f.Text, "limit": limit, "offset": offset})
	return unwrap(rows, func(c counted) (BillRow, int) { return c.BillRow, c.Total })
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
}

// BillSheet reads a bill with its lines in order.
func (s *Store) BillSheet(ctx context.Context, id billing.BillID) (BillSheet, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+billColumns+`, c.name AS customer, c.class, p.address, a.credit_mode, t.name_zh AS tariff_zh, t.name_en AS tariff_en,
			r.state AS run_state, r.issued_by IS NOT NULL AS run_issued, coalesce(b.issued_at, r.issued_at) AS issued_at, coalesce(bal.balance_fen, 0) AS balance_fen
		FROM bills b JOIN accounts a ON a.id = b.account_id JOIN customers c ON c.id = a.customer_id JOIN service_points p ON p.id = a.service_point_id
		JOIN tariffs t ON t.id = b.tariff_id JOIN billing_runs r ON r.id = b.run_id LEFT JOIN balances bal ON bal.account_id = a.id WHERE b.id = $1`, id)
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[BillSheet])
	if err != nil {
		return b, translate(err)
	}
	rows, _ = s.Pool.Query(ctx, `SELECT seq, component, name_zh, name_en, register, tier, from_at, to_at, opening, closing, quantity::text, price::text, factor::text, amount_fen, unit, thirtieths
		FROM bill_lines WHERE bill_id = $1 ORDER BY seq`, id)
	b.Lines, err = pgx.CollectRows(rows, pgx.RowToStructByPos[BillLine])
	return b, translate(err)
}

// PaymentRow is one line of a run's payment list: what an account owes or has left after its bill.
type PaymentRow struct {
	Account    billing.AccountID
	Customer   string
	Address    string
	Service    billing.Service
	Quantity   int64
	TotalFen   billing.Money
	ChargedFen billing.Money
	BalanceFen billing.Money
}

// PaymentList lists the bills of a run for the printed list, by address; held and cancelled ones are left out.
func (s *Store) PaymentList(ctx context.Context, run billing.RunID) ([]PaymentRow, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT b.account_id, c.name, p.address, a.service, b.quantity, b.total_fen, b.charged_fen, coalesce(bal.balance_fen, 0)
		FROM bills b JOIN accounts a ON a.id = b.account_id JOIN customers c ON c.id = a.customer_id JOIN service_points p ON p.id = a.service_point_id
		LEFT JOIN balances bal ON bal.account_id = a.id WHERE b.run_id = $1 AND b.state IN ('draft', 'issued') ORDER BY p.address, b.account_id`, run)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PaymentRow])
	return list, translate(err)
}
