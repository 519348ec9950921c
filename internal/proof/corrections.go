package proof

import "context"

// reversalsHold: a reversed bill was undone whole and once, by a correction that others than its maker approved, and has one successor
// of the same account and period; each period of an account has at most one bill that counts.
func (c *checker) reversalsHold(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT count(*) FROM bills WHERE state = 'reversed'`); err != nil {
		return err
	}
	for _, sql := range []string{
		`SELECT format('bill %s is reversed and has no successor of the same account and period', b.id) FROM bills b WHERE b.state = 'reversed' AND NOT EXISTS (
			SELECT 1 FROM bill_reversals r JOIN bills n ON n.id = r.successor_id WHERE r.bill_id = b.id
				AND (n.account_id, n.period_from, n.period_to) = (b.account_id, b.period_from, b.period_to) AND n.version > b.version AND n.state IN ('issued', 'reversed'))`,
		`SELECT format('bill %s has a reversal and is %s', b.id, b.state) FROM bills b JOIN bill_reversals r ON r.bill_id = b.id WHERE b.state <> 'reversed'`,
		`SELECT format('bill %s is reversed; its entry %s is undone by %s', b.id, b.entry_id, r.entry_id) FROM bills b JOIN bill_reversals r ON r.bill_id = b.id
			LEFT JOIN ledger_entries u ON u.id = r.entry_id WHERE u.reverses IS DISTINCT FROM b.entry_id`,
		`SELECT format('bill %s is reversed; its entry and the compensating one leave %s fen on %s', r.bill_id, sum(p.amount_fen), p.code)
			FROM bill_reversals r JOIN bills b ON b.id = r.bill_id JOIN ledger_postings p ON p.entry_id IN (b.entry_id, r.entry_id)
			GROUP BY r.bill_id, p.code HAVING sum(p.amount_fen) <> 0`,
		`SELECT format('account %s has %s bills for the period from %s that count', account_id, count(*), period_from) FROM bills WHERE state = 'issued' GROUP BY account_id, period_from HAVING count(*) > 1`,
		`SELECT format('correction %s (%s) reversed bill %s; made by %s, approved by %s and %s', k.id, k.state, r.bill_id, k.drafted_by, coalesce(k.approved1_by, 'nobody'), coalesce(k.approved2_by, 'nobody'))
			FROM bill_reversals r JOIN corrections k ON k.id = r.correction_id WHERE k.inputs_at IS NULL OR
				k.state = 'applied' AND NOT (k.approved1_by IS NOT NULL AND k.approved1_by <> k.drafted_by
					AND (k.approvals_needed = 1 OR coalesce(k.approved2_by <> k.drafted_by AND k.approved2_by <> k.approved1_by, false)))`,
	} {
		if err := c.none(ctx, inv, sql); err != nil {
			return err
		}
	}
	return nil
}

// revenueIsBilled: what all bills of an account's period together moved into revenue, the reversed ones and their reversals included, is
// the total of the one that counts.
func (c *checker) revenueIsBilled(ctx context.Context, inv *Invariant) error {
	return c.none(ctx, inv, `SELECT format('account %s, period from %s: the bill that counts says %s fen, the revenue of all its bills %s', b.account_id, b.period_from, b.total_fen, coalesce(m.fen, 0))
		FROM bills b LEFT JOIN (
			SELECT x.account_id, x.period_from, -sum(p.amount_fen) AS fen FROM bills x JOIN ledger_entries e ON e.subject = x.id JOIN ledger_postings p ON p.entry_id = e.id
			JOIN ledger_accounts a ON a.code = p.code AND a.kind = 'revenue' GROUP BY x.account_id, x.period_from) m USING (account_id, period_from)
		WHERE b.state = 'issued' AND coalesce(m.fen, 0) <> b.total_fen`)
}
