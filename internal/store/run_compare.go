package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// compareRun counts which accounts came and went against the period before, and what the limits hold.
func compareRun(ctx context.Context, tx *Tx, r Run, t *RunTotals) error {
	if t.Last != nil {
		err := tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE l.account_id IS NULL)::int, count(*) FILTER (WHERE b.account_id IS NULL)::int FROM
				(SELECT account_id FROM bills WHERE run_id = $1 AND state IN ('draft', 'issued')) b
			FULL JOIN (SELECT account_id FROM bills p WHERE state = 'issued' AND run_id = ANY(SELECT id FROM billing_runs WHERE site_id = $2 AND period_to = $3)
				AND NOT EXISTS (SELECT 1 FROM bills o WHERE o.account_id = p.account_id AND o.period_from = $3 AND o.state = 'issued' AND o.run_id <> $1)) l USING (account_id)`,
			r.ID, r.Site, r.PeriodFrom).Scan(&t.New, &t.Gone)
		if err != nil {
			return err
		}
	}
	rows, err := tx.Query(ctx, `SELECT s.rule, count(*)::int FROM bills b JOIN bill_stops s ON s.bill_id = b.id WHERE b.run_id = $1 AND b.state = 'held' GROUP BY s.rule`, r.ID)
	if err != nil {
		return err
	}
	t.Stops = map[string]int{}
	var rule string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&rule, &n}, func() error {
		t.Stops[rule] = n
		return nil
	})
	return err
}

// HeldRow is a held bill of some site: since when, in which run, and what keeps it.
type HeldRow struct {
	ID         billing.BillID
	Run        billing.RunID
	Site       billing.SiteID
	RunState   billing.RunState
	RunIssued  bool // its run was issued without it, or is about to be
	Account    billing.AccountID
	Customer   string
	Service    billing.Service
	PeriodFrom billing.Date
	PeriodTo   billing.Date
	Quantity   int64
	TotalFen   billing.Money
	HoldReason string
	Since      time.Time
}

// HeldBills lists the held bills of some sites, those of the oldest period first. Held bills are few.
func (s *Store) HeldBills(ctx context.Context, sites []billing.SiteID, limit int) ([]HeldRow, error) {
	rows, _ := s.Pool.Query(ctx, selectHeld+` WHERE b.state = 'held' AND b.site_id = ANY($1) ORDER BY b.period_from, b.site_id, b.account_id LIMIT $2`, sites, limit)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[HeldRow])
	return list, translate(err)
}

// HeldOf lists the held bills of a site and period whose run was issued without them: what a further run of the period is for.
func (s *Store) HeldOf(ctx context.Context, site billing.SiteID, periodFrom billing.Date) ([]HeldRow, error) {
	rows, _ := s.Pool.Query(ctx, selectHeld+` WHERE b.state = 'held' AND b.site_id = $1 AND b.period_from = $2 AND r.issued_by IS NOT NULL ORDER BY b.account_id`, site, periodFrom)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[HeldRow])
	return list, translate(err)
}

// The journal knows since when a bill is held; one that was held when it was rated is so since its run was.
const selectHeld = `SELECT b.id, b.run_id AS run, b.site_id AS site, r.state AS run_state, r.issued_by IS NOT NULL AS run_issued, b.account_id AS account, c.name AS customer, a.service,
		b.period_from, b.period_to, b.quantity, b.total_fen, b.hold_reason, coalesce(j.business_at, r.opened_at) AS since
	FROM bills b JOIN billing_runs r ON r.id = b.run_id JOIN accounts a ON a.id = b.account_id JOIN customers c ON c.id = a.customer_id
	LEFT JOIN LATERAL (SELECT business_at FROM journal WHERE chain = 'bill/' || b.id AND to_state = 'held' ORDER BY seq DESC LIMIT 1) j ON true`
