package store

import (
	"bytes"
	"context"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// AdjustmentApproval is one person's agreement. Digest is that of the result which the person saw; Number says which approval was missing
// when it was given.
type AdjustmentApproval struct {
	ID     billing.AdjustmentID
	By     billing.UserID
	Digest []byte
	Number int
}

func (a AdjustmentApproval) given(j Adjustment) bool {
	return a.Number == 1 && j.Approved1By == a.By || a.Number == 2 && j.Approved2By == a.By
}

// ApproveAdjustment records an approval; the second one books the adjustment in the same transaction, with what the new balance brings
// about. A repeat of the same approval changes nothing. The caller has reckoned the adjustment once more.
func (s *Store) ApproveAdjustment(ctx context.Context, by By, a AdjustmentApproval, terms Terms) (Adjustment, error) {
	var j Adjustment
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if j, err = lockAdjustment(ctx, tx, a.ID); err != nil {
			return err
		}
		if !bytes.Equal(j.Digest, a.Digest) {
			return billing.Errorf(billing.CodeStale, "this approval is not about adjustment %s as it stands: open it and approve there", a.ID)
		}
		if a.given(j) {
			return nil
		}
		switch {
		case j.State.Final():
			return closedAdjustment(j)
		case a.By == j.DraftedBy:
			return billing.Errorf(billing.CodeSelfApproval, "you entered this adjustment: two others must approve it")
		case a.By == j.Approved1By:
			return billing.Errorf(billing.CodeAlreadyApproved, "you have approved this adjustment already: another person must give the second approval")
		}
		if j.State == billing.AdjustmentPreviewed {
			j.Approved1By, j.Approved1At = a.By, &tx.Now
			return moveAdjustment(ctx, tx, &j, billing.AdjustmentApprovedOnce, "approved_once", "", nil, `, approved1_by = $3, approved1_at = $4`, a.By, tx.Now)
		}
		return book(ctx, tx, &j, a.By, terms)
	})
	return j, err
}

func closedAdjustment(j Adjustment) error {
	return billing.Errorf(billing.CodeClosed, "adjustment %s is %s: nothing was changed", j.ID, strings.ReplaceAll(string(j.State), "_", " "))
}

func moveAdjustment(ctx context.Context, tx *Tx, j *Adjustment, to billing.AdjustmentState, event, reason string, data any, set string, args ...any) error {
	was := j.State
	j.State = to
	if _, err := tx.Exec(ctx, `UPDATE adjustments SET state = $2`+set+` WHERE id = $1`, append([]any{j.ID, to}, args...)...); err != nil {
		return err
	}
	return j.journal(ctx, tx, event, was, reason, nil, data)
}

// book moves the money of an adjustment: between the customer's credit and the revenue of the service.
func book(ctx context.Context, tx *Tx, j *Adjustment, by billing.UserID, terms Terms) error {
	sup, err := lockSupply(ctx, tx, j.Account)
	if err != nil {
		return err
	}
	account, err := readAccount(ctx, tx, j.Account)
	if err != nil {
		return err
	}
	if err := billsStand(ctx, tx, *j); err != nil {
		return err
	}
	if err := markUndone(ctx, tx, *j); err != nil {
		return err
	}
	revenue, customer := ledger.RevenueOf(j.Site, account.Service), ledger.Customer(j.Account)
	if j.TotalFen != 0 {
		e := ledger.Move(j.Site, ledger.KindAdjustment, "adjustment/"+string(j.ID), string(j.ID), customer, revenue, j.TotalFen)
		entry, err := Post(ctx, tx, e)
		if err != nil {
			return err
		}
		j.EntryID = &entry
	}
	balance, err := balanceOf(ctx, tx, j.Account)
	if err != nil {
		return err
	}
	j.Approved2By, j.Approved2At, j.AfterFen = by, &tx.Now, &balance
	err = moveAdjustment(ctx, tx, j, billing.AdjustmentBooked, "booked", j.Reason, map[string]any{"total_fen": j.TotalFen, "entry": j.EntryID, "balance_fen": balance},
		`, approved2_by = $3, approved2_at = $4, entry_id = $5, balance_after_fen = $6`, by, tx.Now, j.EntryID, balance)
	if err != nil || j.TotalFen == 0 {
		return err
	}
	kind := adjustedMessages[j.Undoes != ""][j.TotalFen < 0]
	_, err = queueMessage(ctx, tx, NewMessage{Account: j.Account, Kind: kind, Cause: string(j.ID) + "/" + kind, Amount: max(j.TotalFen, -j.TotalFen), Balance: balance}, terms.Text)
	if err != nil || j.TotalFen > 0 {
		return err
	}
	deferred, err := deferredOf(ctx, tx, j.Account)
	if err != nil || balance+deferred <= account.CutLimit {
		return err // who comes to the limit by a charge is cut only through an arrears case, with all its notices
	}
	return creditBrings(ctx, tx, sup, account, "adjustment/"+string(j.ID), "credit was given back", balance, terms)
}

// adjustedMessages are the kinds of what customers are told: of an adjustment or of one that undoes another (true), of a charge or of money that is
// given back (true).
var adjustedMessages = map[bool]map[bool]string{
	false: {false: "undercharged", true: "refunded"},
	true:  {false: "refund_undone", true: "charge_undone"},
}

// markUndone says on the adjustment that another one takes back which one that is.
func markUndone(ctx context.Context, tx *Tx, j Adjustment) error {
	if j.Undoes == "" {
		return nil
	}
	first, err := lockAdjustment(ctx, tx, j.Undoes)
	if err != nil {
		return err
	}
	if first.UndoneBy != "" {
		return UndoneAlready(first)
	}
	if _, err := tx.Exec(ctx, `UPDATE adjustments SET undone_by = $2 WHERE id = $1`, first.ID, j.ID); err != nil {
		return err
	}
	return first.journal(ctx, tx, "undone", first.State, j.Reason, []string{string(j.ID)}, map[string]any{"total_fen": j.TotalFen})
}

// UndoneAlready refuses to undo an adjustment twice.
func UndoneAlready(j Adjustment) error {
	return billing.Errorf(billing.CodeClosed, "adjustment %s is undone already, by %s: nothing was changed", j.ID, j.UndoneBy)
}

// billsStand refuses to book while what the adjustment rests on is on the move: a run that is being rated, a correction under way, a bill
// that isn't issued or was reversed. What is undone may be about bills that were reversed since.
func billsStand(ctx context.Context, tx *Tx, j Adjustment) error {
	if err := noRunRates(ctx, tx, []billing.SiteID{j.Site}, "approve the adjustment when it has finished"); err != nil {
		return err
	}
	rows, _ := tx.Query(ctx, `SELECT b.id, b.state FROM bills b JOIN sites s ON s.id = b.site_id
		WHERE b.account_id = $1 AND (b.state IN ('draft', 'held') AND b.period_to > ($2::timestamptz AT TIME ZONE s.time_zone)::date
			OR b.state <> 'issued' AND EXISTS (SELECT 1 FROM adjustment_bills x WHERE x.adjustment_id = $3 AND x.bill_id = b.id)
				AND NOT EXISTS (SELECT 1 FROM adjustment_bills x WHERE x.adjustment_id = $4 AND x.bill_id = b.id)) ORDER BY b.id LIMIT 1 FOR SHARE OF b`,
		j.Account, j.FromAt, j.ID, j.Undoes)
	type bill struct {
		ID    billing.BillID
		State billing.BillState
	}
	b, err := optional[bill](rows)
	if err != nil {
		return err
	}
	if b != nil {
		return billing.Errorf(billing.CodeBlocked, "bill %s is %s: an adjustment rests on issued bills alone; withdraw or reject it and enter it again when the bill is issued", b.ID, b.State)
	}
	var correction string
	err = tx.QueryRow(ctx, `SELECT coalesce(min(k.id), '') FROM corrections k JOIN correction_accounts a ON a.correction_id = k.id
		WHERE a.account_id = $1 AND k.inputs_at IS NOT NULL AND k.state NOT IN ('applied', 'rejected', 'withdrawn')`, j.Account).Scan(&correction)
	if err == nil && correction != "" {
		err = billing.Errorf(billing.CodeBlocked, "correction %s works on the same account and is not finished: finish it first", correction)
	}
	return err
}

// EndAdjustment rejects an adjustment, or withdraws it when who entered it does, before it is booked.
func (s *Store) EndAdjustment(ctx context.Context, by By, id billing.AdjustmentID, to billing.AdjustmentState, user billing.UserID, reason string) (Adjustment, error) {
	var j Adjustment
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if j, err = lockAdjustment(ctx, tx, id); err != nil {
			return err
		}
		if j.State == to && j.EndedBy == user {
			return nil
		}
		if j.State.Final() {
			return closedAdjustment(j)
		}
		j.EndedBy, j.EndedAt, j.EndedWhy = user, &tx.Now, reason
		return moveAdjustment(ctx, tx, &j, to, string(to), reason, nil, `, ended_by = $3, ended_at = $4, ended_why = $5`, user, tx.Now, reason)
	})
	return j, err
}

// AdjustmentFollows reads what a booked adjustment brought about and nobody has taken up yet, so that a step that died loses none.
func (s *Store) AdjustmentFollows(ctx context.Context, id billing.AdjustmentID) (CreditConsequences, error) {
	var c CreditConsequences
	err := s.Pool.QueryRow(ctx, `SELECT
		ARRAY(SELECT id FROM messages WHERE cause IN ($1 || '/refunded', $1 || '/undercharged', $1 || '/refund_undone', $1 || '/charge_undone') AND state = 'queued'),
		ARRAY(SELECT id FROM restores WHERE cause LIKE 'adjustment/' || $1 || '/%' AND state IN ('sending', 'unknown')),
		ARRAY(SELECT n.id FROM adjustments a JOIN reminders n ON n.account_id = a.account_id JOIN journal j ON j.chain = 'reminder/' || n.id AND j.event = 'closed' AND j.refs @> ARRAY[$1]
			WHERE a.id = $1 AND n.state = 'closed'),
		ARRAY(SELECT x.id FROM adjustments a JOIN cutoffs x ON x.account_id = a.account_id
			WHERE a.id = $1 AND a.state = 'booked' AND a.total_fen < 0 AND (x.state IN ('sending', 'unknown') OR x.state = 'cancelled' AND x.settled_at >= a.approved2_at))`,
		string(id)).Scan(&c.Messages, &c.Restores, &c.Reminders, &c.Cutoffs)
	return c, translate(err)
}
