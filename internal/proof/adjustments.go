package proof

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// adjustmentsHold: an adjustment for a faulty meter is what its lines say, each amount its own product, rounded once; it moved the
// customer's credit by that, once, against the service's revenue; it goes on where the bill, or the adjustment before it, stood; the true
// use is what the error, the difference rate or the normal month makes of the registered use; one that undoes another takes back what that moved, and
// both know each other; and the revenue of a service is what
// stands on bills and adjustments.
func (c *checker) adjustmentsHold(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT count(*) FROM adjustments WHERE state = 'booked'`); err != nil {
		return err
	}
	for _, sql := range []string{
		`SELECT format('adjustment %s, line %s: %s × %s × %s and %s × the same don''t come to %s and %s fen', adjustment_id, seq, billed_quantity, price, factor, true_quantity, billed_fen, true_fen)
			FROM adjustment_lines WHERE billed_fen <> round(billed_quantity * price * factor * 100 * CASE thirtieths WHEN 0 THEN 30 ELSE thirtieths END / 30)
				OR true_fen <> round(true_quantity * price * factor * 100 * CASE thirtieths WHEN 0 THEN 30 ELSE thirtieths END / 30)`,
		`SELECT format('adjustment %s is %s fen; its lines come to %s, its bills to %s', j.id, j.total_fen, l.fen, b.fen) FROM adjustments j
			CROSS JOIN LATERAL (SELECT coalesce(sum(true_fen - billed_fen), 0) AS fen FROM adjustment_lines WHERE adjustment_id = j.id) l
			CROSS JOIN LATERAL (SELECT coalesce(sum(true_fen - billed_fen), 0) AS fen FROM adjustment_bills WHERE adjustment_id = j.id) b
			WHERE l.fen <> j.total_fen OR b.fen <> j.total_fen`,
		`SELECT format('adjustment %s (%s) of %s fen moved the customer''s credit by %s and the revenue by %s fen', j.id, j.state, j.total_fen, coalesce(m.customer, 0), coalesce(m.revenue, 0))
			FROM adjustments j JOIN accounts a ON a.id = j.account_id LEFT JOIN LATERAL (
				SELECT sum(p.amount_fen) FILTER (WHERE p.code = 'customer/' || j.account_id) AS customer, -sum(p.amount_fen) FILTER (WHERE p.code = j.site_id || '/revenue/' || a.service) AS revenue
				FROM ledger_entries e JOIN ledger_postings p ON p.entry_id = e.id WHERE e.subject = j.id) m ON true
			WHERE coalesce(m.customer, 0) <> CASE j.state WHEN 'booked' THEN j.total_fen ELSE 0 END OR coalesce(m.revenue, 0) <> CASE j.state WHEN 'booked' THEN j.total_fen ELSE 0 END`,
		`SELECT format('entry %s is of an adjustment that doesn''t know it', e.id) FROM ledger_entries e WHERE e.kind = 'adjustment' AND NOT EXISTS (SELECT 1 FROM adjustments j WHERE j.entry_id = e.id)`,
		`SELECT format('adjustment %s begins at %s fen of bill %s, which stood at %s', j.id, x.billed_fen, b.id, b.total_fen - b.late_fen + coalesce(e.fen, 0))
			FROM adjustments j JOIN adjustment_bills x ON x.adjustment_id = j.id JOIN bills b ON b.id = x.bill_id LEFT JOIN LATERAL (
				SELECT sum(y.true_fen - y.billed_fen) AS fen FROM adjustment_bills y JOIN adjustments k ON k.id = y.adjustment_id
				WHERE y.bill_id = b.id AND k.state = 'booked' AND (k.approved2_at < j.approved2_at OR k.approved2_at = j.approved2_at AND k.entry_id < j.entry_id)) e ON true
			WHERE j.state = 'booked' AND x.billed_fen <> b.total_fen - b.late_fen + coalesce(e.fen, 0)`,
		`SELECT format('adjustment %s: the true use of %s registered raw units is not %s more', j.id, j.registered[1], j.difference[1]) FROM adjustments j
			WHERE j.undoes IS NULL AND j.difference[1] <> CASE j.kind WHEN 'meter_error' THEN round(j.registered[1] * 100 / (100 + j.percent)) - j.registered[1]
				WHEN 'wrong_wiring' THEN round(j.registered[1] * (100 + j.percent) / 100) - j.registered[1]
				ELSE round(j.normal[1]::numeric * round(extract(epoch FROM j.to_at - j.from_at)) / (j.normal_days * 86400)) - j.registered[1] END`,
		`SELECT format('adjustment %s changes the use by %s raw units, its bills by %s', j.id, j.difference[1], sum(x.true_quantity - x.billed_quantity))
			FROM adjustments j JOIN adjustment_bills x ON x.adjustment_id = j.id GROUP BY j.id HAVING sum(x.true_quantity - x.billed_quantity) <> j.difference[1]`,
		`SELECT format('adjustments %s and %s both adjust meter %s for a part of the same time', a.id, b.id, a.meter_id) FROM adjustments a JOIN adjustments b ON b.meter_id = a.meter_id AND b.id > a.id
			WHERE a.state = 'booked' AND b.state = 'booked' AND a.from_at < b.to_at AND b.from_at < a.to_at AND a.undoes IS NULL AND b.undoes IS NULL AND a.undone_by IS NULL AND b.undone_by IS NULL`,
		`SELECT format('adjustment %s undoes %s of %s fen, which says that it was undone by %s: of its bills %s fen are taken back', u.id, j.id, j.total_fen, coalesce(j.undone_by, 'nobody'), x.fen)
			FROM adjustments u JOIN adjustments j ON j.id = u.undoes CROSS JOIN LATERAL (SELECT coalesce(sum(y.billed_fen - y.true_fen), 0) AS fen FROM adjustment_bills y
				WHERE y.adjustment_id = u.id AND y.bill_id IN (SELECT bill_id FROM adjustment_bills WHERE adjustment_id = j.id)) x
			WHERE u.state = 'booked' AND (j.undone_by IS DISTINCT FROM u.id OR j.state <> 'booked' OR x.fen <> j.total_fen OR u.difference[1] <> -j.difference[1])`,
		`SELECT format('adjustment %s says that %s undid it', id, undone_by) FROM adjustments j WHERE undone_by IS NOT NULL AND NOT EXISTS (SELECT 1 FROM adjustments u WHERE u.id = j.undone_by AND u.undoes = j.id AND u.state = 'booked')`,
		`SELECT format('site %s: the books hold %s fen of %s revenue; bills and adjustments come to %s', s.id, coalesce(m.fen, 0), v.service, coalesce(b.fen, 0) + coalesce(j.fen, 0)) FROM sites s CROSS JOIN (VALUES ('power'), ('water')) v (service)
			LEFT JOIN (SELECT code, -sum(amount_fen) AS fen FROM ledger_postings GROUP BY code) m ON m.code = s.id || '/revenue/' || v.service
			LEFT JOIN (SELECT b.site_id, a.service, sum(b.total_fen - b.late_fen) AS fen FROM bills b JOIN accounts a ON a.id = b.account_id WHERE b.state = 'issued' GROUP BY b.site_id, a.service) b ON b.site_id = s.id AND b.service = v.service
			LEFT JOIN (SELECT j.site_id, a.service, sum(j.total_fen) AS fen FROM adjustments j JOIN accounts a ON a.id = j.account_id WHERE j.state = 'booked' GROUP BY j.site_id, a.service) j ON j.site_id = s.id AND j.service = v.service
			WHERE coalesce(m.fen, 0) <> coalesce(b.fen, 0) + coalesce(j.fen, 0)`,
	} {
		if err := c.none(ctx, inv, sql); err != nil {
			return err
		}
	}
	return nil
}

// threePersonsAdjusted: who entered a booked adjustment and who approved it are three persons.
func (c *checker) threePersonsAdjusted(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT count(*) FROM adjustments WHERE state = 'booked'`); err != nil {
		return err
	}
	return c.none(ctx, inv, `SELECT format('adjustment %s: entered by %s, approved by %s and %s', id, drafted_by, coalesce(approved1_by, 'nobody'), coalesce(approved2_by, 'nobody'))
		FROM adjustments WHERE state = 'booked' AND NOT coalesce(drafted_by <> approved1_by AND drafted_by <> approved2_by AND approved1_by <> approved2_by, false)`)
}

// Adjustments looks at adjustments alone, in the caller's transaction, and gives what it finds wrong.
func Adjustments(ctx context.Context, tx pgx.Tx) ([]string, error) {
	inv := Invariant{Name: LedgerBalances}
	c := &checker{tx: tx}
	if err := c.adjustmentsHold(ctx, &inv); err != nil {
		return nil, err
	}
	err := c.threePersonsAdjusted(ctx, &inv)
	return inv.Details, err
}
