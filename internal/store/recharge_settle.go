package store

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// Terms are the policy numbers that decide what a settled payment brings about.
type Terms struct {
	// Connect is the balance from which supply is given back (rule 41: another number than the cut limit).
	Connect billing.Money
	// StillLow says whether an account with this balance and this average charge of a day runs low. A meter that cuts by itself stays
	// guarded until it doesn't.
	StillLow func(balance, daily billing.Money) bool
	// CaseDue is the business time until a doubt is escalated.
	CaseDue time.Duration
	// Text writes the messages that the settlement queues.
	Text MessageText
}

// Settlement is what a payment came to, and what must be told or started because of it.
type Settlement struct {
	Recharge Recharge
	Balance  billing.Money
	Message  billing.MessageID  // the receipt message that waits to be sent
	Reminder billing.ReminderID // the arrears case that the payment ended
	Cutoff   string             // the cut that the payment cancelled, or that is out and must be told
	Restore  string             // the restore that was opened because supply was cut, or is guarded
	Case     billing.CaseID     // the doubt that was opened or settled
	Command  Command            // the newest delivery, for meter credit
}

// PostRecharge books the money of an approved recharge as received. Platform credit is credited in the same transaction; meter credit
// goes on its way (delivering). Posting again changes nothing.
func (s *Store) PostRecharge(ctx context.Context, by By, id billing.RechargeID, terms Terms) (Settlement, error) {
	var out Settlement
	err := s.Change(ctx, by, func(tx *Tx) error {
		sup, r, err := lockPayment(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.State != billing.RechargeApproved {
			return settledBefore(ctx, tx, r, &out)
		}
		received, err := ledger.Received(r.Site, r.Channel)
		if err != nil {
			return err
		}
		if _, err := Post(ctx, tx, ledger.Move(r.Site, ledger.KindRechargeReceived, "recharge/"+string(id)+"/received", string(id), received, ledger.InTransit(r.Site), r.Amount)); err != nil {
			return err
		}
		if r.Meter == "" {
			return settleRecharge(ctx, tx, sup, r, terms, &out)
		}
		// The meter may have been exchanged since the money was taken; credit goes to the one that measures the account now.
		if r.Meter, err = fittedMeter(ctx, tx, r.Account); err != nil {
			return err
		}
		err = moveRecharge(ctx, tx, &r, billing.RechargeDelivering, "received", nil, map[string]any{"amount_fen": r.Amount, "account": received})
		out.Recharge = r
		return err
	})
	return out, err
}

// lockPayment takes the lock that cuts take, then the recharge.
func lockPayment(ctx context.Context, tx *Tx, id billing.RechargeID) (Supply, Recharge, error) {
	var account billing.AccountID
	if err := tx.QueryRow(ctx, `SELECT account_id FROM recharges WHERE id = $1`, id).Scan(&account); err != nil {
		return Supply{}, Recharge{}, err
	}
	sup, err := lockSupply(ctx, tx, account)
	if err != nil {
		return sup, Recharge{}, err
	}
	r, err := lockRecharge(ctx, tx, id)
	return sup, r, err
}

// settleRecharge moves received money to the customer's credit, and does at once what it brings about: the arrears case and the
// planned cut end, a restore is opened, the receipt message is queued.
func settleRecharge(ctx context.Context, tx *Tx, sup Supply, r Recharge, terms Terms, out *Settlement) error {
	entry, err := Post(ctx, tx, ledger.Move(r.Site, ledger.KindRechargeCredited, "recharge/"+string(r.ID)+"/credited", string(r.ID),
		ledger.InTransit(r.Site), ledger.Customer(r.Account), r.Amount))
	if err != nil {
		return err
	}
	if out.Balance, err = balanceOf(ctx, tx, r.Account); err != nil {
		return err
	}
	was := r.State
	r.State, r.SettledAt, r.ReceiptNo = billing.RechargeCredited, &tx.Now, "T"+string(r.ID)[1:]
	_, err = tx.Exec(ctx, `UPDATE recharges SET state = $2, settled_at = $3, settled_real = clock_timestamp(), receipt_no = $4 WHERE id = $1`,
		r.ID, r.State, r.SettledAt, r.ReceiptNo)
	if err != nil {
		return err
	}
	err = tx.Journal(ctx, Entry{Site: r.Site, Kind: "recharge", ID: string(r.ID), Event: "credited", From: string(was), To: string(r.State), Refs: r.refs(),
		Data: map[string]any{"entry": entry, "amount_fen": r.Amount, "balance_fen": out.Balance, "receipt": r.ReceiptNo}})
	if err != nil {
		return err
	}
	out.Recharge = r
	if out.Message, err = queueMessage(ctx, tx, NewMessage{Account: r.Account, Kind: "recharged", Cause: "recharge/" + string(r.ID) + "/recharged",
		Amount: r.Amount, Balance: out.Balance, Receipt: r.ReceiptNo}, terms.Text); err != nil {
		return err
	}
	return consequences(ctx, tx, sup, r, terms, out)
}

// consequences ends what the payment has made pointless and opens what it has made due.
func consequences(ctx context.Context, tx *Tx, sup Supply, r Recharge, terms Terms, out *Settlement) error {
	a, err := readAccount(ctx, tx, r.Account)
	if err != nil {
		return err
	}
	deferred, err := deferredOf(ctx, tx, r.Account)
	if err != nil {
		return err
	}
	if out.Balance+deferred > a.CutLimit {
		// Supply that is low again tomorrow gets a new case, with its notices from the start.
		if out.Reminder, err = endReminder(ctx, tx, r.Account, billing.ReminderPaid, "paid", string(r.ID)); err != nil {
			return err
		}
		if out.Cutoff, err = cancelPlannedCut(ctx, tx, r.Account, "paid with "+string(r.ID)); err != nil {
			return err
		}
	}
	owed, err := owesRestore(ctx, tx, sup, a, out.Balance, terms)
	if err != nil || !owed {
		return err
	}
	out.Restore, err = openRestore(ctx, tx, sup, "recharge/"+string(r.ID), "")
	return err
}

// owesRestore says whether supply that was cut for lack of credit, or is held on only because of it, is due back to the normal state.
// What payment plans leave to be paid later counts as paid. Under an arrears contract nobody stays cut for a balance, whatever it is.
func owesRestore(ctx context.Context, tx *Tx, sup Supply, a Account, balance billing.Money, terms Terms) (bool, error) {
	deferred, err := deferredOf(ctx, tx, a.ID)
	if err != nil {
		return false, err
	}
	balance += deferred
	enough := balance > a.CutLimit
	if sup.State != billing.SupplyOn && sup.State != billing.SupplyAllowed || sup.Wanted != billing.SupplyOn {
		return sup.CutCause != CutByPerson && (enough && balance >= terms.Connect || !a.PrepaidContract), nil
	}
	if !enough || !sup.Guarded || sup.HeldBy != "" {
		return false, nil
	}
	daily, err := dailyCharge(ctx, tx, a.ID)
	return !terms.StillLow(balance, daily), err
}

// dailyCharge is the average charge of a day over the last week of charges; zero when there was none.
func dailyCharge(ctx context.Context, tx *Tx, account billing.AccountID) (billing.Money, error) {
	var fen billing.Money
	err := tx.QueryRow(ctx, `SELECT coalesce(sum(day_fen) / nullif(count(*), 0), 0)::bigint FROM (
		SELECT sum(amount_fen) AS day_fen FROM charges WHERE account_id = $1 GROUP BY cycle_id ORDER BY max(upto) DESC LIMIT 7) d`, account).Scan(&fen)
	return fen, err
}

// settledBefore reads what an earlier run of the same settlement came to, so that its messages and children can be made good.
func settledBefore(ctx context.Context, tx *Tx, r Recharge, out *Settlement) error {
	out.Recharge = r
	if r.State != billing.RechargeCredited {
		return nil
	}
	var err error
	if out.Balance, err = balanceOf(ctx, tx, r.Account); err != nil {
		return err
	}
	return tx.QueryRow(ctx, `SELECT
			coalesce((SELECT id FROM messages WHERE cause = 'recharge/' || $1 || '/recharged'), ''),
			coalesce((SELECT id FROM restores WHERE cause = 'recharge/' || $1), ''),
			coalesce((SELECT n.id FROM reminders n JOIN journal j ON j.chain = 'reminder/' || n.id AND j.event = 'paid' AND $1 = ANY(j.refs)
				WHERE n.account_id = $2 AND n.state = 'paid' ORDER BY n.closed_at DESC LIMIT 1), ''),
			coalesce((SELECT id FROM cutoffs WHERE account_id = $2 AND (state IN ('sending', 'unknown')
				OR state = 'cancelled' AND settled_at = (SELECT settled_at FROM recharges WHERE id = $1)) ORDER BY opened_at DESC LIMIT 1), '')`,
		r.ID, r.Account).Scan(&out.Message, &out.Restore, &out.Reminder, &out.Cutoff)
}
