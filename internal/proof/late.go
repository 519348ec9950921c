package proof

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// lateFeesHold: a bill's late fee is what its lines say and what its entry brought in; nobody bears one on a day without an arrears
// contract; a waiver gave back its bill's late fee once, or the part that was asked, and was itself undone with its bill.
func (c *checker) lateFeesHold(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT (SELECT count(*) FROM bills WHERE late_fen > 0) + (SELECT count(*) FROM late_fee_waivers)`); err != nil {
		return err
	}
	for _, sql := range []string{
		`SELECT format('bill %s says %s fen of late fees, its lines %s', b.id, b.late_fen, coalesce(sum(l.amount_fen), 0))
			FROM bills b LEFT JOIN bill_lines l ON l.bill_id = b.id AND l.component IN ('late_fee', 'late_fee_minimum') AND l.unit = 'yuan'
			WHERE b.state IN ('issued', 'reversed') GROUP BY b.id HAVING b.late_fen <> coalesce(sum(l.amount_fen), 0)`,
		`SELECT format('bill %s says %s fen of late fees, its entry %s', b.id, b.late_fen, coalesce(-sum(p.amount_fen), 0))
			FROM bills b LEFT JOIN ledger_postings p ON p.entry_id = b.entry_id AND p.code = b.site_id || '/revenue/late_fees'
			WHERE b.state IN ('issued', 'reversed') GROUP BY b.id HAVING b.late_fen <> coalesce(-sum(p.amount_fen), 0)`,
		`SELECT format('bill %s, line %s: account %s bears a late fee on %s without an arrears contract', b.id, l.seq, b.account_id, d.day)
			FROM bills b JOIN bill_lines l ON l.bill_id = b.id AND l.component = 'late_fee' AND l.unit = 'yuan' JOIN sites s ON s.id = b.site_id
			CROSS JOIN LATERAL generate_series((l.from_at AT TIME ZONE s.time_zone)::date, (l.to_at AT TIME ZONE s.time_zone)::date - 1, interval '1 day') d (day)
			WHERE b.state = 'issued' AND NOT coalesce((SELECT t.arrears_contract FROM account_terms t WHERE t.account_id = b.account_id AND t.from_day <= d.day ORDER BY t.from_day DESC, t.version DESC LIMIT 1), false)`,
		`SELECT format('the waiver of bill %s (%s, late fee %s fen) gave %s fen back; undone by %s', w.bill_id, b.state, b.late_fen, -p.amount_fen, u.id)
			FROM late_fee_waivers w JOIN bills b ON b.id = w.bill_id LEFT JOIN ledger_postings p ON p.entry_id = w.entry_id AND p.code = 'customer/' || w.account_id
			LEFT JOIN ledger_entries u ON u.reverses = w.entry_id
			WHERE w.amount_fen <> least(w.asked_fen, b.late_fen) OR -p.amount_fen IS DISTINCT FROM w.amount_fen OR (u.id IS NOT NULL) <> (b.state = 'reversed') OR b.state NOT IN ('issued', 'reversed')`,
		`SELECT format('site %s: the books hold %s fen of late fees; bills less waivers come to %s', s.id, coalesce(m.fen, 0), coalesce(l.fen, 0)) FROM sites s
			LEFT JOIN (SELECT code, -sum(amount_fen) AS fen FROM ledger_postings GROUP BY code) m ON m.code = s.id || '/revenue/late_fees'
			LEFT JOIN (SELECT b.site_id, sum(b.late_fen - coalesce(w.amount_fen, 0)) AS fen FROM bills b LEFT JOIN late_fee_waivers w ON w.bill_id = b.id WHERE b.state = 'issued' GROUP BY b.site_id) l ON l.site_id = s.id
			WHERE coalesce(m.fen, 0) <> coalesce(l.fen, 0)`,
	} {
		if err := c.none(ctx, inv, sql); err != nil {
			return err
		}
	}
	return nil
}

// LateFees looks at late fees alone, in the caller's transaction, and gives what it finds wrong.
func LateFees(ctx context.Context, tx pgx.Tx) ([]string, error) {
	inv := Invariant{Name: LedgerBalances}
	err := (&checker{tx: tx}).lateFeesHold(ctx, &inv)
	return inv.Details, err
}
