package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// BeginCorrection writes an approved correction's change into readings, fittings, tariffs or terms, once, and lets its bills follow. A
// stopped one goes on. While a run of its sites is being rated it is billing.CodeBlocked: the run's bills would rest on a mixture.
func (s *Store) BeginCorrection(ctx context.Context, by By, id billing.CorrectionID) (Correction, error) {
	var c Correction
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if c, err = lockCorrection(ctx, tx, id); err != nil {
			return err
		}
		if c.State == billing.CorrectionApplying || c.State == billing.CorrectionApplied {
			return nil
		}
		if c.State != billing.CorrectionApproved && c.State != billing.CorrectionStopped {
			return closedCorrection(c)
		}
		if err := unhindered(ctx, tx, c); err != nil {
			return err
		}
		if c.InputsAt != nil {
			return moveCorrection(ctx, tx, &c, billing.CorrectionApplying, "resumed", "", nil, `, stopped_bill = '', stopped_why = ''`)
		}
		if err := noRunRates(ctx, tx, c.Sites, "resume the correction when it has finished"); err != nil {
			return err
		}
		if err := writeChange(ctx, tx, c); err != nil {
			return err
		}
		c.InputsAt = &tx.Now
		return moveCorrection(ctx, tx, &c, billing.CorrectionApplying, "applying", "", nil, `, inputs_at = $3, stopped_bill = '', stopped_why = ''`, tx.Now)
	})
	return c, err
}

// noRunRates refuses, with what to do then, while a run of the sites is being rated or posted. A run that waits for a signature gets none before
// the end of the transaction.
func noRunRates(ctx context.Context, tx *Tx, sites []billing.SiteID, then string) error {
	rows, _ := tx.Query(ctx, `SELECT id, state = 'rating' OR state = 'verified' AND issued_by IS NOT NULL FROM billing_runs
		WHERE site_id = ANY($1) AND state NOT IN ('issued', 'cancelled') ORDER BY id FOR SHARE`, sites)
	var id, busy billing.RunID
	var works bool
	_, err := pgx.ForEachRow(rows, []any{&id, &works}, func() error {
		if works && busy == "" {
			busy = id
		}
		return nil
	})
	if err != nil || busy == "" {
		return err
	}
	return billing.Errorf(billing.CodeBlocked, "run %s is being rated or posted: %s", busy, then)
}

// PendingAccounts lists the accounts of a correction that are not done, by id, with their pending bills, oldest first.
func (s *Store) PendingAccounts(ctx context.Context, id billing.CorrectionID, limit int) ([]CorrectedAccount, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+correctedAccountColumns+` FROM correction_accounts a WHERE a.correction_id = $1 AND a.state = 'pending' ORDER BY a.account_id LIMIT $2`, id, limit)
	accounts, err := pgx.CollectRows(rows, pgx.RowToStructByName[CorrectedAccount])
	if err != nil {
		return nil, translate(err)
	}
	ids := make([]billing.AccountID, len(accounts))
	for i, a := range accounts {
		ids[i] = a.Account
	}
	rows, _ = s.Pool.Query(ctx, `SELECT `+correctedBillColumns+` FROM correction_bills b WHERE b.correction_id = $1 AND b.account_id = ANY($2) AND b.state = 'pending' ORDER BY b.account_id, b.period_from`, id, ids)
	bills, err := pgx.CollectRows(rows, pgx.RowToStructByName[CorrectedBill])
	by := map[billing.AccountID][]CorrectedBill{}
	for _, b := range bills {
		by[b.Account] = append(by[b.Account], b)
	}
	for i := range accounts {
		accounts[i].Bills = by[accounts[i].Account]
	}
	return accounts, translate(err)
}

// Rebill applies an approved correction to one bill, in one transaction: an issued bill's entry is reversed and its state becomes
// reversed; the next version is issued with lines, input and entry of its own. A draft is rated again where it stands. d is the
// bill as the corrected inputs make it; it must be what was approved. A bill that is done already gives its successor again.
func (s *Store) Rebill(ctx context.Context, by By, id billing.CorrectionID, bill billing.BillID, d Draft) (billing.BillID, error) {
	var successor billing.BillID
	err := s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockCorrection(ctx, tx, id)
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, `SELECT `+correctedBillColumns+` FROM correction_bills b WHERE b.correction_id = $1 AND b.bill_id = $2`, id, bill)
		planned, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[CorrectedBill])
		if err != nil {
			return err
		}
		if planned.NewBill != nil {
			successor = *planned.NewBill
			return nil
		}
		if c.State != billing.CorrectionApplying {
			return closedCorrection(c)
		}
		if d.Quantity != planned.NewQuantity || d.TotalFen != planned.NewFen {
			return billing.Errorf(billing.CodeStale, "bill %s would come to %s yuan now, not to %s as approved: preview the rest of the correction again", bill, d.TotalFen, planned.NewFen)
		}
		b, err := lockBill(ctx, tx, bill)
		if err != nil {
			return err
		}
		if b.State != planned.Was || b.TotalFen != planned.OldFen {
			return billing.Errorf(billing.CodeStale, "bill %s is %s with %s yuan now, not %s with %s as previewed: preview the rest of the correction again",
				bill, b.State, b.TotalFen, planned.Was, planned.OldFen)
		}
		if b.State == billing.BillDraft {
			successor, err = bill, rateDraftAgain(ctx, tx, c, b, d)
		} else {
			successor, err = reverseAndIssue(ctx, tx, c, b, d)
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE correction_bills SET state = 'done', new_bill_id = $3 WHERE correction_id = $1 AND bill_id = $2`, id, bill, successor); err != nil {
			return err
		}
		return c.journal(ctx, tx, "bill_corrected", c.State, "", []string{string(bill), string(successor), string(b.Account)},
			map[string]any{"bill": bill, "successor": successor, "old_fen": b.TotalFen, "new_fen": d.TotalFen})
	})
	return successor, err
}

// rateDraftAgain puts the corrected price into a bill that isn't issued. A verification of its run is void with it.
func rateDraftAgain(ctx context.Context, tx *Tx, c Correction, b Bill, d Draft) error {
	r, err := openRun(ctx, tx, b.Run)
	if err != nil {
		return err
	}
	readings, input, err := d.documents()
	if err != nil {
		return err
	}
	d.ID = b.ID
	_, err = tx.Exec(ctx, `UPDATE bills SET tariff_id = $2, quantity = $3, readings = $4, input = $5, total_fen = $6, engine = $7, late_fen = $8 WHERE id = $1`,
		b.ID, d.Tariff, d.Quantity, readings, input, d.TotalFen, d.Engine, d.LateFen)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM bill_lines WHERE bill_id = $1`, b.ID); err != nil {
		return err
	}
	if err := insertLines(ctx, tx, d); err != nil {
		return err
	}
	err = tx.Journal(ctx, Entry{Site: b.Site, Kind: "bill", ID: string(b.ID), Event: "rated_again", From: string(b.State), To: string(b.State), Reason: c.Reason,
		Refs: []string{string(c.ID), string(b.Run), string(b.Account)}, Data: d.facts()})
	if err != nil {
		return err
	}
	return reopenRun(ctx, tx, r)
}

func reverseAndIssue(ctx context.Context, tx *Tx, c Correction, b Bill, d Draft) (billing.BillID, error) {
	// As when a bill is issued: with the balance's row locked, the period takes no charge between the two bills.
	if _, err := tx.Exec(ctx, `SELECT 1 FROM balances WHERE account_id = $1 FOR UPDATE`, b.Account); err != nil {
		return "", err
	}
	n := b
	if err := tx.QueryRow(ctx, `SELECT max(version) + 1, coalesce((SELECT sum(amount_fen) FROM charges WHERE account_id = $1 AND period_from = $2), 0)::bigint
		FROM bills WHERE account_id = $1 AND period_from = $2`, b.Account, b.PeriodFrom).Scan(&n.Version, &n.ChargedFen); err != nil {
		return "", err
	}
	n.ID = billing.BillID(fmt.Sprintf("B%s-%04d%02d-%d", b.Account, b.PeriodFrom.Year(), b.PeriodFrom.Month(), n.Version))
	n.TotalFen, n.LateFen, n.EntryID = d.TotalFen, d.LateFen, nil
	day, err := issueDay(ctx, tx, b)
	if err != nil {
		return "", err
	}
	waived, err := undoWaiver(ctx, tx, b.ID)
	if err != nil {
		return "", err
	}
	undone, err := reverseBill(ctx, tx, c, b, n.ID)
	if err != nil {
		return "", err
	}
	if err := issueSuccessor(ctx, tx, c, b, n, d, day); err != nil {
		return "", err
	}
	if waived != nil && n.LateFen > 0 {
		if _, err := waiveLateFee(ctx, tx, n, Waiver{Reason: waived.Reason, By: waived.By, CarriedFrom: &b.ID, AskedFen: waived.AskedFen, AloneFen: waived.AloneFen, AgreedBy: waived.AgreedBy}); err != nil {
			return "", err
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO bill_reversals (bill_id, successor_id, correction_id, entry_id, corrects_day, reversed_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		b.ID, n.ID, c.ID, undone, day, tx.Now)
	return n.ID, err
}

// issueDay is the day in the books that a bill was issued on.
func issueDay(ctx context.Context, tx *Tx, b Bill) (day billing.Date, err error) {
	err = tx.QueryRow(ctx, `SELECT coalesce(e.day, (coalesce(b.issued_at, r.issued_at) AT TIME ZONE s.time_zone)::date)
		FROM bills b JOIN billing_runs r ON r.id = b.run_id JOIN sites s ON s.id = b.site_id LEFT JOIN ledger_entries e ON e.id = b.entry_id WHERE b.id = $1`, b.ID).Scan(&day)
	return day, err
}

// reverseBill posts the compensating entry of an issued bill and says in its one changeable field that it is reversed. It gives the
// entry; nil when the bill had moved nothing.
func reverseBill(ctx context.Context, tx *Tx, c Correction, b Bill, successor billing.BillID) (*int64, error) {
	var undone *int64
	if b.EntryID != nil {
		entry, err := ReverseEntry(ctx, tx, *b.EntryID)
		if err != nil {
			return nil, err
		}
		undone = &entry
	}
	if _, err := tx.Exec(ctx, `UPDATE bills SET state = 'reversed' WHERE id = $1`, b.ID); err != nil {
		return nil, err
	}
	return undone, tx.Journal(ctx, Entry{Site: b.Site, Kind: "bill", ID: string(b.ID), Event: "reversed", From: string(b.State), To: string(billing.BillReversed), Reason: c.Reason,
		Refs: []string{string(c.ID), string(b.Run), string(b.Account), string(successor)}, Data: map[string]any{"total_fen": b.TotalFen, "successor": successor}})
}

// issueSuccessor issues the next version of a reversed bill: what was charged in its period day by day becomes revenue again, and what
// wasn't is taken from, or given back to, the customer's credit. Its entry stands beside the compensating one: on the day of the first
// bill while the books are open, else on today as that day's correction.
func issueSuccessor(ctx context.Context, tx *Tx, c Correction, old, n Bill, d Draft, day billing.Date) error {
	e, err := issueEntry(dueBill{ID: n.ID, Site: n.Site, Account: n.Account, Service: n.Service, TotalFen: n.TotalFen, LateFen: n.LateFen}, n.ChargedFen)
	if err != nil {
		return err
	}
	e.Day, e.OrCorrect = day, true
	if len(e.Postings) > 0 {
		entry, err := Post(ctx, tx, e)
		if err != nil {
			return err
		}
		n.EntryID = &entry
	}
	readings, input, err := d.documents()
	if err != nil {
		return err
	}
	d.ID = n.ID
	_, err = tx.Exec(ctx, `INSERT INTO bills (id, run_id, site_id, account_id, period_from, period_to, version, state, tariff_id, engine, quantity, readings, input, total_fen, charged_fen, lines_digest, entry_id, issued_at, late_fen)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 'issued', $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		n.ID, n.Run, n.Site, n.Account, n.PeriodFrom, n.PeriodTo, n.Version, d.Tariff, d.Engine, d.Quantity, readings, input, n.TotalFen, n.ChargedFen, linesDigest(d.Lines), n.EntryID, tx.Now, n.LateFen)
	if err != nil {
		return err
	}
	if err := insertLines(ctx, tx, d); err != nil {
		return err
	}
	data := d.facts()
	data["charged_fen"], data["rest_fen"], data["corrects"] = n.ChargedFen, n.TotalFen-n.ChargedFen, old.ID
	return tx.Journal(ctx, Entry{Site: n.Site, Kind: "bill", ID: string(n.ID), Event: "rebilled", To: string(billing.BillIssued), Reason: c.Reason,
		Refs: []string{string(c.ID), string(n.Run), string(n.Account), string(old.ID)}, Data: data})
}

// FinishAccount says that all bills of an account are corrected, and does at once what its balance brings about: credit above the limit
// ends the arrears case and the planned cut and gives supply back; an account that comes to its limit is told, and is
// cut only after the notices of an arrears case. Finishing again changes nothing.
func (s *Store) FinishAccount(ctx context.Context, by By, id billing.CorrectionID, account billing.AccountID, terms Terms) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		sup, err := lockSupply(ctx, tx, account)
		if err != nil {
			return err
		}
		a, err := readAccount(ctx, tx, account)
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, `SELECT `+correctedAccountColumns+` FROM correction_accounts a WHERE a.correction_id = $1 AND a.account_id = $2 FOR UPDATE`, id, account)
		k, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[CorrectedAccount])
		if err != nil || k.State == "done" {
			return err
		}
		balance, err := balanceOf(ctx, tx, account)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE correction_accounts SET state = 'done', balance_after_fen = $3 WHERE correction_id = $1 AND account_id = $2`, id, account, balance); err != nil {
			return err
		}
		deferred, err := deferredOf(ctx, tx, account)
		if err != nil {
			return err
		}
		switch {
		case k.BillsFen > 0 && balance+deferred > a.CutLimit:
			return creditBrings(ctx, tx, sup, a, "correction/"+string(id), "the bill was corrected", balance, terms)
		case balance+deferred <= a.CutLimit && balance+deferred-k.BillsFen > a.CutLimit:
			_, err = queueMessage(ctx, tx, NewMessage{Account: account, Kind: "corrected", Cause: string(id) + "/corrected/" + string(account), Amount: -k.BillsFen, Balance: balance}, terms.Text)
			return err
		}
		return nil
	})
}

// creditBrings is what a payment would bring about too: a debt that is gone is gone, whatever made it go. cause is the kind and number
// of what did, and said the same in words.
func creditBrings(ctx context.Context, tx *Tx, sup Supply, a Account, cause, said string, balance billing.Money, terms Terms) error {
	_, number, _ := strings.Cut(cause, "/")
	if _, err := endReminder(ctx, tx, a.ID, billing.ReminderClosed, said, number); err != nil {
		return err
	}
	if _, err := cancelPlannedCut(ctx, tx, a.ID, said+" by "+number); err != nil {
		return err
	}
	owed, err := owesRestore(ctx, tx, sup, a, balance, terms)
	if err != nil || !owed {
		return err
	}
	_, err = openRestore(ctx, tx, sup, cause+"/"+string(a.ID), "")
	return err
}

// CreditConsequences is what changed balances brought about and nobody has taken up yet.
type CreditConsequences struct {
	Messages  []billing.MessageID  // wait to be sent
	Restores  []string             // supply that is given back
	Reminders []billing.ReminderID // arrears cases that the credit ended
	Cutoffs   []string             // cuts that it cancelled, or that are out
}

// maxConsequences bounds what one step takes up; the rest is found when the step is done again.
const maxConsequences = 200

// Consequences reads them from the tables, so that a step that died loses none.
func (s *Store) Consequences(ctx context.Context, id billing.CorrectionID) (CreditConsequences, error) {
	var c CreditConsequences
	err := s.Pool.QueryRow(ctx, `SELECT
		ARRAY(SELECT id FROM messages WHERE cause LIKE $1 || '/corrected/%' AND state = 'queued' ORDER BY id LIMIT $2),
		ARRAY(SELECT id FROM restores WHERE cause LIKE 'correction/' || $1 || '/%' AND state IN ('sending', 'unknown') ORDER BY id LIMIT $2),
		ARRAY(SELECT n.id FROM reminders n JOIN journal j ON j.chain = 'reminder/' || n.id AND j.event = 'closed' AND j.refs @> ARRAY[$1]
			JOIN correction_accounts a ON a.account_id = n.account_id AND a.correction_id = $1 WHERE n.state = 'closed' ORDER BY n.id LIMIT $2),
		ARRAY(SELECT x.id FROM cutoffs x JOIN correction_accounts a ON a.account_id = x.account_id AND a.correction_id = $1 AND a.bills_fen > 0 AND a.state = 'done'
			WHERE x.state IN ('sending', 'unknown') OR x.state = 'cancelled' AND x.settled_at >= (SELECT inputs_at FROM corrections WHERE id = $1) ORDER BY x.id LIMIT $2)`,
		id, maxConsequences).Scan(&c.Messages, &c.Restores, &c.Reminders, &c.Cutoffs)
	return c, translate(err)
}

// FinishCorrection says that all accounts of a correction are done.
func (s *Store) FinishCorrection(ctx context.Context, by By, id billing.CorrectionID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockCorrection(ctx, tx, id)
		if err != nil || c.State == billing.CorrectionApplied {
			return err
		}
		var left int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM correction_accounts WHERE correction_id = $1 AND state = 'pending'`, id).Scan(&left); err != nil {
			return err
		}
		if left > 0 || c.State != billing.CorrectionApplying {
			return billing.Errorf(billing.CodeInternal, "correction %s is %s and has %d accounts that are not done", id, c.State, left)
		}
		t, err := totalsOf(ctx, tx, id)
		if err != nil {
			return err
		}
		return moveCorrection(ctx, tx, &c, billing.CorrectionApplied, "applied", "", t, `, ended_at = $3`, tx.Now)
	})
}
