package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/ledger"
)

// IssueBills issues the next drafts of a chunk of an approved run: what was charged day by day becomes revenue, and what wasn't is taken
// from the customer's credit. It gives how many bills left the draft state; 0 when none was left. A bill whose readings have changed since it
// was rated is held, not issued, and so is one whose meter or account turns out to be billed for that time already.
func (s *Store) IssueBills(ctx context.Context, by By, run billing.RunID, chunk, limit int) (passed int, err error) {
	// Whether something was billed already is not asked for each bill: the constraints say it, and only then the page is done once more, bill by bill.
	passed, twice, err := s.issueNext(ctx, by, run, chunk, limit, false)
	if twice {
		passed, _, err = s.issueNext(ctx, by, run, chunk, limit, true)
	}
	return passed, err
}

func (s *Store) issueNext(ctx context.Context, by By, run billing.RunID, chunk, limit int, careful bool) (passed int, twice bool, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		r, err := shareRun(ctx, tx, run)
		if err != nil || r.State == billing.RunIssued {
			return err
		}
		if r.IssuedBy == nil {
			return billing.Errorf(billing.CodeBlocked, "run %s was not approved for issue by a second supervisor", run)
		}
		c, err := lockChunk(ctx, tx, run, chunk)
		if err != nil {
			return err
		}
		bills, err := nextDrafts(ctx, tx, c, limit)
		passed = len(bills)
		if err != nil || len(bills) == 0 {
			return err
		}
		// The balances' rows are the lock between the bill and the daily charge, and between it and new versions of its readings.
		if err := lockBalances(ctx, tx, column(bills, func(b dueBill) billing.AccountID { return b.Account })); err != nil {
			return err
		}
		if bills, err = holdRevised(ctx, tx, r, bills); err != nil {
			return err
		}
		if careful {
			if bills, err = holdBilled(ctx, tx, r, bills); err != nil {
				return err
			}
		}
		err = issuePage(ctx, tx, r, c, bills)
		twice = billedTwice(err)
		return err
	})
	return passed, twice, err
}

// dueBill is a draft as issuing needs it.
type dueBill struct {
	ID          billing.BillID
	Account     billing.AccountID `db:"account_id"`
	Site        billing.SiteID    `db:"site_id"`
	Service     billing.Service
	PeriodFrom  billing.Date
	Quantity    int64
	TotalFen    billing.Money
	LateFen     billing.Money
	ChargedFen  billing.Money // when it was rated
	LinesDigest []byte
}

const dueColumns = `b.id, b.account_id, b.site_id, a.service, b.period_from, b.quantity, b.total_fen, b.late_fen, b.charged_fen, b.lines_digest`

func nextDrafts(ctx context.Context, tx *Tx, c Chunk, limit int) ([]dueBill, error) {
	rows, _ := tx.Query(ctx, `SELECT `+dueColumns+` FROM bills b JOIN accounts a ON a.id = b.account_id
		WHERE b.run_id = $1 AND b.state = 'draft' AND b.account_id > $2 AND ($3::text IS NULL OR b.account_id <= $3)
		ORDER BY b.account_id LIMIT $4 FOR UPDATE OF b`, c.Run, c.After, c.Upto, limit)
	return pgx.CollectRows(rows, pgx.RowToStructByName[dueBill])
}

// holdBilled holds the bills of a page that bill something twice, and gives the others.
func holdBilled(ctx context.Context, tx *Tx, r Run, bills []dueBill) ([]dueBill, error) {
	twice, err := billedAlready(ctx, tx, bills)
	if err != nil {
		return nil, err
	}
	return keepBack(bills, twice, func(b dueBill, other string) error {
		return holdDue(ctx, tx, r, b, "the meter or account was billed for this time already, by bill "+other, other)
	})
}

// keepBack holds the bills of a page that something was found about, and gives the others.
func keepBack(bills []dueBill, found map[billing.BillID]string, hold func(b dueBill, found string) error) ([]dueBill, error) {
	var rest []dueBill
	for _, b := range bills {
		what, held := found[b.ID]
		if !held {
			rest = append(rest, b)
			continue
		}
		if err := hold(b, what); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func dueIDs(bills []dueBill) []billing.BillID {
	return column(bills, func(b dueBill) billing.BillID { return b.ID })
}

func billedTwice(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.ConstraintName == "bills_one_issued" || pg.ConstraintName == "bill_meters_once" || pg.ConstraintName == "bill_meters_version")
}

// billedAlready finds the bills of a page whose account, or a meter of which, was billed for that time by another bill, or by an earlier
// bill of the page, with the number of that bill.
func billedAlready(ctx context.Context, tx *Tx, bills []dueBill) (map[billing.BillID]string, error) {
	rows, _ := tx.Query(ctx, `WITH page AS (SELECT * FROM bills WHERE id = ANY($1)),
		m AS (SELECT m.* FROM page p CROSS JOIN LATERAL bill_meters_of(p.id, p.readings, p.period_from, p.version) m)
		SELECT p.id, o.id FROM page p JOIN bills o ON o.account_id = p.account_id AND o.period_from = p.period_from AND o.state = 'issued'
		UNION SELECT m.bill_id, o.bill_id FROM m JOIN bill_meters o ON o.meter_id = m.meter_id AND o.stands AND tstzrange(o.from_at, o.to_at) && tstzrange(m.from_at, m.to_at)
		UNION SELECT m.bill_id, o.bill_id FROM m JOIN bill_meters o USING (meter_id, period_from, version, from_at)
		UNION SELECT m.bill_id, o.bill_id FROM m JOIN m o ON o.meter_id = m.meter_id AND o.bill_id < m.bill_id AND tstzrange(o.from_at, o.to_at) && tstzrange(m.from_at, m.to_at)`, dueIDs(bills))
	twice := map[billing.BillID]string{}
	var id billing.BillID
	var other string
	_, err := pgx.ForEachRow(rows, []any{&id, &other}, func() error {
		twice[id] = other
		return nil
	})
	return twice, err
}

// holdDue keeps a bill out of its issue; refs are further numbers that lead to why.
func holdDue(ctx context.Context, tx *Tx, r Run, b dueBill, reason string, refs ...string) error {
	if _, err := tx.Exec(ctx, `UPDATE bills SET state = 'held', hold_reason = $2 WHERE id = $1`, b.ID, reason); err != nil {
		return err
	}
	if err := adjustChunk(ctx, tx, r, Bill{Account: b.Account, Service: b.Service, Quantity: b.Quantity, TotalFen: b.TotalFen, ChargedFen: b.ChargedFen}, -1); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: b.Site, Kind: "bill", ID: string(b.ID), Event: "held", From: string(billing.BillDraft), To: string(billing.BillHeld), Reason: reason,
		Refs: append([]string{string(r.ID), string(b.Account)}, refs...)})
}

// issuePage issues bills, which come in the order of their accounts, in a few statements for all of them.
func issuePage(ctx context.Context, tx *Tx, r Run, c Chunk, bills []dueBill) error {
	if len(bills) == 0 {
		return nil
	}
	charged, err := chargedOf(ctx, tx, r, bills)
	if err != nil {
		return err
	}
	entries, of := make([]ledger.Entry, 0, len(bills)), make([]int, 0, len(bills))
	var more billing.Money // charged since the bills were rated
	for i, b := range bills {
		e, err := issueEntry(b, charged[b.Account])
		if err != nil {
			return err
		}
		if len(e.Postings) > 0 {
			entries, of = append(entries, e), append(of, i)
		}
		more += charged[b.Account] - b.ChargedFen
	}
	ids, err := PostAll(ctx, tx, entries)
	if err != nil {
		return err
	}
	posted := make([]*int64, len(bills))
	for n, i := range of {
		posted[i] = &ids[n]
	}
	if err := markIssued(ctx, tx, bills, charged, posted); err != nil {
		return err
	}
	members := make([]member, len(bills))
	var total billing.Money
	for i, b := range bills {
		members[i] = member{b.ID, b.Account, billText(b.ID, b.LinesDigest, b.Quantity, int64(b.TotalFen), int64(charged[b.Account]))}
		total += b.TotalFen
	}
	if err := journalBills(ctx, tx, r, c.entity(), "issued", billing.BillDraft, billing.BillIssued, members, map[string]any{"bills_total_fen": total}); err != nil {
		return err
	}
	failpoint.Hit("issue-page-open")
	_, err = tx.Exec(ctx, `UPDATE billing_chunks SET issued = issued + $3, charged_fen = charged_fen + $4 WHERE run_id = $1 AND no = $2`, c.Run, c.No, len(bills), more)
	return err
}

// chargedOf sums what was charged day by day. The caller holds the lock of the balances: afterwards the period takes no more charges.
func chargedOf(ctx context.Context, tx *Tx, r Run, bills []dueBill) (map[billing.AccountID]billing.Money, error) {
	accounts := make([]billing.AccountID, len(bills))
	for i, b := range bills {
		accounts[i] = b.Account
	}
	rows, _ := tx.Query(ctx, `SELECT account_id, sum(amount_fen)::bigint FROM charges WHERE account_id = ANY($1) AND period_from = $2 GROUP BY account_id`, accounts, r.PeriodFrom)
	charged := make(map[billing.AccountID]billing.Money, len(bills))
	var id billing.AccountID
	var fen billing.Money
	_, err := pgx.ForEachRow(rows, []any{&id, &fen}, func() error {
		charged[id] = fen
		return nil
	})
	return charged, err
}

// lockBalances locks balances in the order of account numbers, as everything that locks several does.
func lockBalances(ctx context.Context, tx *Tx, accounts []billing.AccountID) error {
	_, err := tx.Exec(ctx, `SELECT 1 FROM balances WHERE account_id = ANY($1) ORDER BY account_id FOR UPDATE`, accounts)
	return err
}

// issueEntry is what a bill moves when it is issued; without postings when it moves nothing.
func issueEntry(b dueBill, charged billing.Money) (ledger.Entry, error) {
	e := ledger.Entry{Site: b.Site, Kind: ledger.KindBillIssued, Key: "bill/" + string(b.ID) + "/issued", Subject: string(b.ID)}
	rest, err := b.TotalFen.Sub(charged)
	if err != nil {
		return e, err
	}
	for _, p := range []ledger.Posting{{Code: ledger.Unbilled(b.Site), Amount: charged}, {Code: ledger.Customer(b.Account), Amount: rest},
		{Code: ledger.RevenueOf(b.Site, b.Service), Amount: b.LateFen - b.TotalFen}, {Code: ledger.LateFees(b.Site), Amount: -b.LateFen}} {
		if p.Amount != 0 {
			e.Postings = append(e.Postings, p)
		}
	}
	return e, nil
}

func markIssued(ctx context.Context, tx *Tx, bills []dueBill, charged map[billing.AccountID]billing.Money, entries []*int64) error {
	ids, fen := make([]string, len(bills)), make([]int64, len(bills))
	for i, b := range bills {
		ids[i], fen[i] = string(b.ID), int64(charged[b.Account])
	}
	_, err := tx.Exec(ctx, `UPDATE bills b SET state = 'issued', charged_fen = n.charged_fen, entry_id = n.entry_id
		FROM unnest($1::text[], $2::bigint[], $3::bigint[]) n (id, charged_fen, entry_id) WHERE b.id = n.id`, ids, fen, entries)
	return err
}
