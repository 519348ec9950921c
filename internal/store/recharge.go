package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Recharge is money that becomes credit after two approvals by clerks who are not its maker.
type Recharge struct {
	ID          billing.RechargeID
	Site        billing.SiteID    `db:"site_id"`
	Account     billing.AccountID `db:"account_id"`
	Meter       billing.MeterID   `db:"meter_id"` // empty for platform credit
	Amount      billing.Money     `db:"amount_fen"`
	Channel     string            // cash, transfer, online
	Evidence    string            // slip or provider number
	State       billing.RechargeState
	EnteredBy   billing.UserID
	EnteredAt   time.Time
	ExpiresAt   time.Time
	Approved1By billing.UserID
	Approved1At *time.Time
	Approved2By billing.UserID
	Approved2At *time.Time
	RejectedBy  billing.UserID
	Reason      string
	SettledAt   *time.Time
	ReceiptNo   string
}

const rechargeColumns = `r.id, r.site_id, r.account_id, coalesce(r.meter_id, '') AS meter_id, r.amount_fen, r.channel, r.evidence, r.state, r.entered_by, r.entered_at,
	r.expires_at, coalesce(r.approved1_by, '') AS approved1_by, r.approved1_at, coalesce(r.approved2_by, '') AS approved2_by, r.approved2_at,
	coalesce(r.rejected_by, '') AS rejected_by, r.reason, r.settled_at, coalesce(r.receipt_no, '') AS receipt_no`

func (r Recharge) refs() []string {
	return []string{string(r.Account), string(r.Meter), r.ReceiptNo, r.Evidence}
}

// Recharge reads one recharge.
func (s *Store) Recharge(ctx context.Context, id billing.RechargeID) (Recharge, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+rechargeColumns+` FROM recharges r WHERE r.id = $1`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Recharge])
	return r, translate(err)
}

func lockRecharge(ctx context.Context, tx *Tx, id billing.RechargeID) (Recharge, error) {
	rows, _ := tx.Query(ctx, `SELECT `+rechargeColumns+` FROM recharges r WHERE r.id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Recharge])
}

// NextRechargeID reserves a recharge number, such as R20260105-0007. A number that isn't used leaves a gap, no more.
func (s *Store) NextRechargeID(ctx context.Context, site billing.SiteID) (billing.RechargeID, error) {
	var id billing.RechargeID
	err := s.Pool.QueryRow(ctx, `SELECT 'R' || to_char(business_now() AT TIME ZONE time_zone, 'YYYYMMDD') || '-' || lpad(nextval('recharge_no')::text, 4, '0')
		FROM sites WHERE id = $1`, site).Scan(&id)
	return id, translate(err)
}

// NewRecharge is what a clerk enters, and the policy that bounds it.
type NewRecharge struct {
	ID       billing.RechargeID
	Account  billing.AccountID
	Amount   billing.Money
	Channel  string
	Evidence string
	// Key makes a repeated request the same recharge; it is stored with the hash of the whole request.
	Key     string
	By      billing.UserID
	Max     billing.Money // for one recharge
	Ceiling billing.Money // for balance + open recharges + amount (rule 35)
	Expiry  time.Duration // business time until it expires without both approvals
}

func (n NewRecharge) hash() []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %q %q %q", n.Account, n.Amount, n.Channel, n.Evidence, n.By))
	return sum[:]
}

func (n NewRecharge) check() error {
	switch {
	case n.ID == "" || n.Key == "":
		return billing.Errorf(billing.CodeInvalidInput, "The recharge has no number: open the form again.")
	case n.Amount <= 0:
		return billing.Errorf(billing.CodeInvalidInput, "The amount must be more than zero: type what was paid, such as 100.00.")
	case n.Amount > n.Max:
		return billing.Errorf(billing.CodeInvalidInput, "One recharge may be %s yuan at most: split the payment or ask the manager.", n.Max.Grouped())
	case n.Channel != "cash" && n.Channel != "transfer" && n.Channel != "online":
		return billing.Errorf(billing.CodeInvalidInput, "The payment channel %q is unknown: use cash, transfer or online.", n.Channel)
	case n.Channel != "cash" && strings.TrimSpace(n.Evidence) == "":
		return billing.Errorf(billing.CodeInvalidInput, "Type the number of the bank slip or of the online payment that you checked.")
	}
	return nil
}

// EnterRecharge stores what a clerk entered. The same request under the same key gives the first recharge back (its ID may differ
// from n.ID); another request under a used key is billing.CodeConflict.
func (s *Store) EnterRecharge(ctx context.Context, by By, n NewRecharge) (Recharge, error) {
	n.Evidence = strings.TrimSpace(n.Evidence)
	if err := n.check(); err != nil {
		return Recharge{}, err
	}
	var r Recharge
	err := s.Change(ctx, by, func(tx *Tx) error {
		sup, err := lockSupply(ctx, tx, n.Account) // a cut that comes after this sees the money
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, `SELECT `+rechargeColumns+` FROM recharges r WHERE r.idempotency_key = $1`, n.Key)
		first, err := optional[Recharge](rows)
		if err != nil {
			return err
		}
		if first != nil {
			r = *first
			return sameRequest(ctx, tx, n)
		}
		r, err = insertRecharge(ctx, tx, sup.Site, n)
		return err
	})
	return r, err
}

func sameRequest(ctx context.Context, tx *Tx, n NewRecharge) error {
	var hash []byte
	if err := tx.QueryRow(ctx, `SELECT request_hash FROM recharges WHERE idempotency_key = $1`, n.Key).Scan(&hash); err != nil {
		return err
	}
	if !bytes.Equal(hash, n.hash()) {
		return billing.Errorf(billing.CodeConflict, "Another recharge was entered under this form already: open a new form for this one.")
	}
	return nil
}

func insertRecharge(ctx context.Context, tx *Tx, site billing.SiteID, n NewRecharge) (Recharge, error) {
	a, err := readAccount(ctx, tx, n.Account)
	if err != nil {
		return Recharge{}, err
	}
	if err := checkCeiling(ctx, tx, n); err != nil {
		return Recharge{}, err
	}
	r := Recharge{ID: n.ID, Site: site, Account: n.Account, Amount: n.Amount, Channel: n.Channel, Evidence: n.Evidence,
		State: billing.RechargeEntered, EnteredBy: n.By, EnteredAt: tx.Now, ExpiresAt: tx.Now.Add(n.Expiry)}
	if a.CreditMode == billing.CreditMeter {
		if r.Meter, err = fittedMeter(ctx, tx, n.Account); err != nil {
			return r, err
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO recharges (id, site_id, account_id, meter_id, amount_fen, channel, evidence, state, idempotency_key, request_hash, entered_by, entered_at, expires_at)
		VALUES ($1, $2, $3, nullif($4, ''), $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		r.ID, r.Site, r.Account, r.Meter, r.Amount, r.Channel, r.Evidence, r.State, n.Key, n.hash(), r.EnteredBy, r.EnteredAt, r.ExpiresAt)
	if err != nil {
		return r, err
	}
	return r, tx.Journal(ctx, Entry{Site: site, Kind: "recharge", ID: string(r.ID), Event: "entered", To: string(r.State), Actor: string(n.By), Refs: r.refs(),
		Data: map[string]any{"amount_fen": r.Amount, "channel": r.Channel, "expires_at": r.ExpiresAt}})
}

// checkCeiling refuses hoarding: power is not bought ahead of a price rise.
func checkCeiling(ctx context.Context, tx *Tx, n NewRecharge) error {
	var after billing.Money
	err := tx.QueryRow(ctx, `SELECT b.balance_fen + $2 + coalesce((SELECT sum(amount_fen)::bigint FROM recharges
		WHERE account_id = $1 AND state NOT IN ('credited', 'rejected', 'expired')), 0) FROM balances b WHERE b.account_id = $1`, n.Account, n.Amount).Scan(&after)
	if err != nil {
		return err
	}
	if after > n.Ceiling {
		return billing.Errorf(billing.CodeInvalidInput, "The balance would become %s yuan with this recharge; the ceiling is %s: take less.", after.Grouped(), n.Ceiling.Grouped())
	}
	return nil
}

// Approval is one clerk's approval. Number is 1 or 2: which approval the clerk saw missing.
type Approval struct {
	ID     billing.RechargeID
	By     billing.UserID
	Number int
}

// ApproveRecharge records an approval. Giving the same approval again changes nothing.
func (s *Store) ApproveRecharge(ctx context.Context, by By, a Approval) (Recharge, error) {
	var r Recharge
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if r, err = lockRecharge(ctx, tx, a.ID); err != nil {
			return err
		}
		if a.Number == 1 && r.Approved1By == a.By || a.Number == 2 && r.Approved2By == a.By {
			return nil // the same activity again, after an answer that was lost
		}
		if err := approvable(r, a, tx.Now); err != nil {
			return err
		}
		was := r.State
		if r.State == billing.RechargeEntered {
			r.State, r.Approved1By, r.Approved1At = billing.RechargeApprovedOnce, a.By, &tx.Now
		} else {
			r.State, r.Approved2By, r.Approved2At = billing.RechargeApproved, a.By, &tx.Now
		}
		_, err = tx.Exec(ctx, `UPDATE recharges SET state = $2, approved1_by = $3, approved1_at = $4, approved2_by = nullif($5, ''), approved2_at = $6 WHERE id = $1`,
			r.ID, r.State, r.Approved1By, r.Approved1At, r.Approved2By, r.Approved2At)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: r.Site, Kind: "recharge", ID: string(r.ID), Event: string(r.State), From: string(was), To: string(r.State), Actor: string(a.By), Refs: r.refs()})
	})
	return r, err
}

func approvable(r Recharge, a Approval, now time.Time) error {
	switch {
	case r.State != billing.RechargeEntered && r.State != billing.RechargeApprovedOnce || !now.Before(r.ExpiresAt):
		return rechargeClosed(r)
	case r.EnteredBy == a.By:
		return billing.Errorf(billing.CodeSelfApproval, "You entered this recharge: two other clerks must approve it.")
	case r.Approved1By == a.By:
		return billing.Errorf(billing.CodeAlreadyApproved, "You have approved this recharge already: another clerk must give the second approval.")
	case a.Number == 1 && r.Approved1By != "" || a.Number == 2 && r.Approved1By == "":
		return billing.Errorf(billing.CodeStale, "The recharge has changed meanwhile: look at it again before you approve it.")
	}
	return nil
}

func rechargeClosed(r Recharge) error {
	return billing.Errorf(billing.CodeClosed, "Recharge %s is %s already: nothing was changed.", r.ID, strings.ReplaceAll(string(r.State), "_", " "))
}

// RejectRecharge ends a recharge that isn't approved yet. Nothing was posted, so nothing is undone; the reason is kept.
func (s *Store) RejectRecharge(ctx context.Context, by By, id billing.RechargeID, who billing.UserID, reason string) (Recharge, error) {
	if strings.TrimSpace(reason) == "" {
		return Recharge{}, billing.Errorf(billing.CodeInvalidInput, "Say why the recharge is rejected.")
	}
	return s.endRecharge(ctx, by, id, billing.RechargeRejected, who, reason)
}

// ExpireRecharge ends a recharge whose approvals didn't come in time. One that was approved meanwhile stays as it is.
func (s *Store) ExpireRecharge(ctx context.Context, by By, id billing.RechargeID) (Recharge, error) {
	r, err := s.endRecharge(ctx, by, id, billing.RechargeExpired, "", "both approvals did not come in time")
	if billing.CodeOf(err) == billing.CodeClosed {
		return r, nil
	}
	return r, err
}

func (s *Store) endRecharge(ctx context.Context, by By, id billing.RechargeID, to billing.RechargeState, who billing.UserID, reason string) (Recharge, error) {
	var r Recharge
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if r, err = lockRecharge(ctx, tx, id); err != nil {
			return err
		}
		if r.State == to && r.RejectedBy == who {
			return nil
		}
		if r.State != billing.RechargeEntered && r.State != billing.RechargeApprovedOnce {
			return rechargeClosed(r)
		}
		was := r.State
		r.State, r.RejectedBy, r.Reason, r.SettledAt = to, who, reason, &tx.Now
		_, err = tx.Exec(ctx, `UPDATE recharges SET state = $2, rejected_by = nullif($3, ''), reason = $4, settled_at = $5, settled_real = clock_timestamp() WHERE id = $1`,
			id, r.State, r.RejectedBy, r.Reason, r.SettledAt)
		if err != nil {
			return err
		}
		e := Entry{Site: r.Site, Kind: "recharge", ID: string(id), Event: string(to), From: string(was), To: string(to), Reason: reason, Refs: r.refs()}
		if who != "" {
			e.Actor = string(who)
		}
		return tx.Journal(ctx, e)
	})
	return r, err
}

// moveRecharge changes the state only, with its journal row.
func moveRecharge(ctx context.Context, tx *Tx, r *Recharge, to billing.RechargeState, event string, refs []string, data any) error {
	was := r.State
	r.State = to
	if _, err := tx.Exec(ctx, `UPDATE recharges SET state = $2, meter_id = nullif($3, '') WHERE id = $1`, r.ID, to, r.Meter); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: r.Site, Kind: "recharge", ID: string(r.ID), Event: event, From: string(was), To: string(to), Refs: append(r.refs(), refs...), Data: data})
}
