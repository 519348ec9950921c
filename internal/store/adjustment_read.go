package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// AdjustmentRow is an adjustment as pages show it, with names and what the account holds.
type AdjustmentRow struct {
	Adjustment
	Service       billing.Service
	Customer      string
	BalanceFen    billing.Money // now
	CutLimitFen   billing.Money
	Reversed      bool // a bill that it rests on was reversed by a correction since
	DraftedName   string
	Approved1Name string
	Approved2Name string
	EndedName     string
}

const selectAdjustmentRow = `SELECT ` + adjustmentColumns + `, a.service, c.name AS customer, b.balance_fen, a.cut_limit_fen,
		EXISTS (SELECT 1 FROM adjustment_bills x JOIN bills r ON r.id = x.bill_id WHERE x.adjustment_id = j.id AND r.state = 'reversed') AS reversed,
		d.name AS drafted_name, coalesce(a1.name, '') AS approved1_name, coalesce(a2.name, '') AS approved2_name, coalesce(e.name, '') AS ended_name, count(*) OVER () AS total
	FROM adjustments j JOIN accounts a ON a.id = j.account_id JOIN customers c ON c.id = a.customer_id JOIN balances b ON b.account_id = a.id
	JOIN users d ON d.id = j.drafted_by LEFT JOIN users a1 ON a1.id = j.approved1_by LEFT JOIN users a2 ON a2.id = j.approved2_by LEFT JOIN users e ON e.id = j.ended_by`

type countedAdjustment struct {
	AdjustmentRow
	Total int
}

// AdjustmentFilter chooses adjustments. Zero fields choose all.
type AdjustmentFilter struct {
	Sites   []billing.SiteID
	State   string
	Kind    string
	Account billing.AccountID
	Waiting billing.UserID // that this person may approve next
	Open    bool           // that aren't ended
	Text    string         // part of the number, or an account's, meter's or bill's number
}

// AdjustmentPage lists adjustments, open ones first, oldest first among them, then the newest. It counts them all.
func (s *Store) AdjustmentPage(ctx context.Context, f AdjustmentFilter, limit, offset int) ([]AdjustmentRow, int, error) {
	rows, _ := s.Pool.Query(ctx, selectAdjustmentRow+` WHERE j.site_id = ANY(@sites) AND (@state = '' OR j.state = @state) AND (@kind = '' OR j.kind = @kind)
			AND (@account = '' OR j.account_id = @account) AND (NOT @open OR j.state IN ('previewed', 'approved_once'))
			AND (@waiting = '' OR j.state IN ('previewed', 'approved_once') AND j.drafted_by <> @waiting AND j.approved1_by IS DISTINCT FROM @waiting)
			AND (@text = '' OR position(lower(@text) IN lower(j.id)) > 0 OR @text IN (j.account_id, j.meter_id)
				OR EXISTS (SELECT 1 FROM adjustment_bills x WHERE x.adjustment_id = j.id AND x.bill_id = @text))
		ORDER BY j.state NOT IN ('previewed', 'approved_once'), CASE WHEN j.state IN ('previewed', 'approved_once') THEN j.drafted_at END, j.drafted_at DESC, j.id DESC
		LIMIT @limit OFFSET @offset`,
		pgx.NamedArgs{"sites": f.Sites, "state": f.State, "kind": f.Kind, "account": f.Account, "open": f.Open, "waiting": f.Waiting, "text": f.Text, "limit": limit, "offset": offset})
	return unwrap(rows, func(c countedAdjustment) (AdjustmentRow, int) { return c.AdjustmentRow, c.Total })
}

// AdjustmentRow reads one adjustment as pages show it.
func (s *Store) AdjustmentRow(ctx context.Context, id billing.AdjustmentID) (AdjustmentRow, error) {
	rows, _ := s.Pool.Query(ctx, selectAdjustmentRow+` WHERE j.id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[countedAdjustment])
	return c.AdjustmentRow, adjustmentError(err, id)
}

// AdjustedBills reads the bills of an adjustment, oldest first.
func (s *Store) AdjustedBills(ctx context.Context, id billing.AdjustmentID) ([]AdjustedBill, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT bill_id, period_from, billed_quantity, true_quantity, billed_fen, true_fen, steps FROM adjustment_bills WHERE adjustment_id = $1 ORDER BY period_from, bill_id`, id)
	bills, err := pgx.CollectRows(rows, pgx.RowToStructByName[AdjustedBill])
	return bills, translate(err)
}

const selectAdjustedLine = `SELECT bill_id, component, name_zh, name_en, register, tier, unit, thirtieths, from_at, to_at, price, factor, billed_quantity, true_quantity, billed_fen, true_fen
	FROM adjustment_lines`

// AdjustedLines reads the lines of an adjustment in order.
func (s *Store) AdjustedLines(ctx context.Context, id billing.AdjustmentID) ([]AdjustedLine, error) {
	rows, _ := s.Pool.Query(ctx, selectAdjustedLine+` WHERE adjustment_id = $1 ORDER BY seq`, id)
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByName[AdjustedLine])
	return lines, translate(err)
}

// StatedAdjustment is an adjustment as the statement of a period shows it.
type StatedAdjustment struct {
	Adjustment
	Lines []AdjustedLine `db:"-"`
}

// statedAdjustments reads what was booked for accounts in their bills' periods, with its lines, by bill.
func (s *Store) statedAdjustments(ctx context.Context, bills []billing.BillID) (map[billing.BillID][]StatedAdjustment, error) {
	type stated struct {
		Bill billing.BillID
		Adjustment
	}
	rows, _ := s.Pool.Query(ctx, `SELECT b.id AS bill, `+adjustmentColumns+` FROM bills b JOIN sites s ON s.id = b.site_id JOIN adjustments j ON j.account_id = b.account_id AND j.state = 'booked'
			AND (j.approved2_at AT TIME ZONE s.time_zone)::date >= b.period_from AND (j.approved2_at AT TIME ZONE s.time_zone)::date < b.period_to
		WHERE b.id = ANY($1) ORDER BY b.id, j.approved2_at, j.id`, bills)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[stated])
	by := map[billing.BillID][]StatedAdjustment{}
	for _, one := range all {
		if err == nil {
			a := StatedAdjustment{Adjustment: one.Adjustment}
			a.Lines, err = s.AdjustedLines(ctx, a.ID)
			by[one.Bill] = append(by[one.Bill], a)
		}
	}
	return by, translate(err)
}
