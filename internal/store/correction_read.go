package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// CorrectionRow is a correction as pages show it, with names and totals.
type CorrectionRow struct {
	Correction
	CorrectionTotals
	DraftedName   string
	Approved1Name string
	Approved2Name string
	EndedName     string
}

const selectCorrectionRow = `SELECT ` + correctionColumns + `, d.name AS drafted_name, coalesce(a1.name, '') AS approved1_name, coalesce(a2.name, '') AS approved2_name,
		coalesce(e.name, '') AS ended_name, ` + correctionTotals + `, count(*) OVER () AS total` + fromCorrections + `
	JOIN users d ON d.id = k.drafted_by LEFT JOIN users a1 ON a1.id = k.approved1_by LEFT JOIN users a2 ON a2.id = k.approved2_by LEFT JOIN users e ON e.id = k.ended_by`

type countedCorrection struct {
	CorrectionRow
	Total int
}

// CorrectionFilter chooses corrections. Zero fields choose all.
type CorrectionFilter struct {
	Sites   []billing.SiteID // only those whose accounts all stand at these
	State   string
	Kind    string
	Waiting billing.UserID // that this person may approve next
	Open    bool           // that aren't ended
	Text    string         // part of the number, the subject or a bill's or account's number
}

// CorrectionPage lists corrections, open ones first, oldest first among them, then the newest. It counts them all.
func (s *Store) CorrectionPage(ctx context.Context, f CorrectionFilter, limit, offset int) ([]CorrectionRow, int, error) {
	rows, _ := s.Pool.Query(ctx, selectCorrectionRow+` WHERE k.sites <@ @sites AND (@state = '' OR k.state = @state) AND (@kind = '' OR k.kind = @kind)
			AND (NOT @open OR k.state NOT IN ('applied', 'rejected', 'withdrawn'))
			AND (@waiting = '' OR k.state IN ('previewed', 'approved_once') AND k.drafted_by <> @waiting AND k.approved1_by IS DISTINCT FROM @waiting)
			AND (@text = '' OR position(lower(@text) IN lower(k.id || ' ' || k.subject)) > 0
				OR EXISTS (SELECT 1 FROM correction_bills b WHERE b.correction_id = k.id AND @text IN (b.bill_id, b.new_bill_id, b.account_id)))
		ORDER BY k.state IN ('applied', 'rejected', 'withdrawn'), CASE WHEN k.state NOT IN ('applied', 'rejected', 'withdrawn') THEN k.drafted_at END, k.drafted_at DESC, k.id DESC
		LIMIT @limit OFFSET @offset`,
		pgx.NamedArgs{"sites": f.Sites, "state": f.State, "kind": f.Kind, "open": f.Open, "waiting": f.Waiting, "text": f.Text, "limit": limit, "offset": offset})
	return unwrap(rows, func(c countedCorrection) (CorrectionRow, int) { return c.CorrectionRow, c.Total })
}

// CorrectionRow reads one correction as pages show it.
func (s *Store) CorrectionRow(ctx context.Context, id billing.CorrectionID) (CorrectionRow, error) {
	rows, _ := s.Pool.Query(ctx, selectCorrectionRow+` WHERE k.id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[countedCorrection])
	return c.CorrectionRow, correctionError(err, id)
}

// CorrectedBillRow is a bill of a preview with whose it is.
type CorrectedBillRow struct {
	CorrectedBill
	Customer string
	Service  billing.Service
}

// CorrectedBills lists the bills of a correction by account, oldest first, and counts them all. Limit 0 gives all.
func (s *Store) CorrectedBills(ctx context.Context, id billing.CorrectionID, limit, offset int) ([]CorrectedBillRow, int, error) {
	type counted struct {
		CorrectedBillRow
		Total int
	}
	rows, _ := s.Pool.Query(ctx, `SELECT `+correctedBillColumns+`, c.name AS customer, a.service, count(*) OVER () AS total
		FROM correction_bills b JOIN accounts a ON a.id = b.account_id JOIN customers c ON c.id = a.customer_id
		WHERE b.correction_id = $1 ORDER BY b.account_id, b.period_from, b.bill_id LIMIT nullif($2, 0) OFFSET $3`, id, limit, offset)
	return unwrap(rows, func(c counted) (CorrectedBillRow, int) { return c.CorrectedBillRow, c.Total })
}

// CorrectedAccountRow is an account of a preview with whose it is.
type CorrectedAccountRow struct {
	CorrectedAccount
	Customer   string
	Service    billing.Service
	CreditMode billing.CreditMode
	BalanceNow billing.Money
}

// CorrectedAccounts lists the accounts of a correction: those with a problem first, then those that fall short, then by number. It counts
// them all. Limit 0 gives all.
func (s *Store) CorrectedAccounts(ctx context.Context, id billing.CorrectionID, limit, offset int) ([]CorrectedAccountRow, int, error) {
	type counted struct {
		CorrectedAccountRow
		Total int
	}
	rows, _ := s.Pool.Query(ctx, `SELECT `+correctedAccountColumns+`, c.name AS customer, x.service, x.credit_mode, coalesce(b.balance_fen, 0) AS balance_now, count(*) OVER () AS total
		FROM correction_accounts a JOIN accounts x ON x.id = a.account_id JOIN customers c ON c.id = x.customer_id LEFT JOIN balances b ON b.account_id = a.account_id
		WHERE a.correction_id = $1
		ORDER BY a.problem = '', NOT (a.balance_fen > a.cut_limit_fen AND a.balance_fen + a.bills_fen + a.open_fen <= a.cut_limit_fen), a.account_id LIMIT nullif($2, 0) OFFSET $3`, id, limit, offset)
	return unwrap(rows, func(c counted) (CorrectedAccountRow, int) { return c.CorrectedAccountRow, c.Total })
}

// BillReversal is what became of a reversed bill.
type BillReversal struct {
	Bill        billing.BillID       `db:"bill_id"`
	Successor   billing.BillID       `db:"successor_id"`
	Correction  billing.CorrectionID `db:"correction_id"`
	EntryID     *int64
	CorrectsDay billing.Date
	ReversedAt  time.Time
}

// Reversals reads how a bill stands in the chain of corrections: the reversal of itself, and that of the bill that it succeeds; nil
// where there is none.
func (s *Store) Reversals(ctx context.Context, bill billing.BillID) (own, before *BillReversal, err error) {
	rows, _ := s.Pool.Query(ctx, `SELECT bill_id, successor_id, correction_id, entry_id, corrects_day, reversed_at FROM bill_reversals WHERE bill_id = $1 OR successor_id = $1`, bill)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[BillReversal])
	for i := range all {
		if all[i].Bill == bill {
			own = &all[i]
		} else {
			before = &all[i]
		}
	}
	return own, before, translate(err)
}

// OpenCorrectionsOf lists the corrections that aren't ended and touch a bill, an account or a meter.
func (s *Store) OpenCorrectionsOf(ctx context.Context, number string) ([]billing.CorrectionID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT k.id FROM corrections k WHERE k.state NOT IN ('applied', 'rejected', 'withdrawn') AND (k.subject = $1
		OR EXISTS (SELECT 1 FROM correction_bills b WHERE b.correction_id = k.id AND $1 IN (b.bill_id, b.account_id))) ORDER BY k.id`, number)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.CorrectionID])
	return ids, translate(err)
}
