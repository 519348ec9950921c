package store

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// Hold is an amount of a customer's credit that is kept back. Available = balance − open holds.
type Hold struct {
	ID        string
	Site      billing.SiteID    `db:"site_id"`
	Account   billing.AccountID `db:"account_id"`
	Amount    billing.Money     `db:"amount_fen"`
	Purpose   ledger.HoldPurpose
	Subject   string
	State     string // open, posted, voided, expired
	PlacedBy  string // user id, or "workflow"
	PlacedAt  time.Time
	ExpiresAt time.Time
	Posted    billing.Money `db:"posted_fen"` // what was taken; the rest was released
	EntryID   *int64
	// ApprovedBy agreed that it is paid out; empty until somebody did. Who pays it out is a third person.
	ApprovedBy string
	ApprovedAt *time.Time
	SettledBy  string
	SettledAt  *time.Time
	Reason     string
}

// The states of a hold.
const (
	HoldOpen    = "open"
	HoldPosted  = "posted"
	HoldVoided  = "voided"
	HoldExpired = "expired"
)

const selectHold = `SELECT id, site_id, account_id, amount_fen, purpose, subject, state, placed_by, placed_at, expires_at, posted_fen, entry_id,
	coalesce(approved_by, '') AS approved_by, approved_at, coalesce(settled_by, '') AS settled_by, settled_at, reason FROM holds`

func (h Hold) refs() []string { return []string{string(h.Account), h.Subject} }

// PlaceHold keeps back an amount of an account's credit, in the caller's transaction. More than is available is billing.CodeBlocked. The
// same request under the same key is placed once: a repeat gets the first hold as it is now; another request under a used key is
// billing.CodeConflict.
func PlaceHold(ctx context.Context, tx *Tx, r ledger.Hold) (Hold, error) {
	if err := r.Validate(); err != nil {
		return Hold{}, err
	}
	var mode billing.CreditMode
	err := tx.QueryRow(ctx, `SELECT credit_mode FROM accounts WHERE id = $1`, r.Account).Scan(&mode)
	if err == pgx.ErrNoRows {
		return Hold{}, billing.Errorf(billing.CodeNotFound, "There is no account %s: check the number.", r.Account)
	}
	if err != nil {
		return Hold{}, err
	}
	if mode == billing.CreditMeter { // what the meter has can be used up whatever we hold (rule 37)
		return Hold{}, billing.Errorf(billing.CodeBlocked, "The credit of account %s is in its meter: nothing of it can be held here.", r.Account)
	}
	rows, _ := tx.Query(ctx, `WITH placed AS (
			INSERT INTO holds AS h (id, site_id, account_id, amount_fen, purpose, subject, state, idempotency_key, request_hash, placed_by, placed_at, expires_at)
			SELECT 'H' || to_char($8::timestamptz AT TIME ZONE s.time_zone, 'YYYYMMDD') || '-' || lpad(nextval('hold_no')::text, 4, '0'),
				a.site_id, a.id, $2, $3, $4, 'open', $5, $6, $7, $8, $9
			FROM accounts a JOIN sites s ON s.id = a.site_id WHERE a.id = $1 AND NOT EXISTS (SELECT 1 FROM holds WHERE idempotency_key = $5)
			ON CONFLICT (idempotency_key) DO NOTHING RETURNING h.*)
		SELECT id, site_id, account_id, amount_fen, purpose, subject, state, placed_by, placed_at, expires_at, posted_fen, entry_id,
			coalesce(approved_by, '') AS approved_by, approved_at, coalesce(settled_by, '') AS settled_by, settled_at, reason FROM placed`,
		r.Account, r.Amount, r.Purpose, strings.TrimSpace(r.Subject), r.Key, r.RequestHash(), tx.Actor, tx.Now, r.ExpiresAt)
	h, err := optional[Hold](rows)
	if err != nil {
		return Hold{}, err
	}
	if h == nil {
		return firstHold(ctx, tx, r)
	}
	return *h, tx.Journal(ctx, Entry{Site: h.Site, Kind: "hold", ID: h.ID, Event: "placed", To: HoldOpen, Refs: h.refs(),
		Data: map[string]any{"amount_fen": h.Amount, "purpose": h.Purpose, "expires_at": h.ExpiresAt}})
}

func firstHold(ctx context.Context, tx *Tx, r ledger.Hold) (Hold, error) {
	var hash []byte
	if err := tx.QueryRow(ctx, `SELECT request_hash FROM holds WHERE idempotency_key = $1`, r.Key).Scan(&hash); err != nil {
		return Hold{}, err
	}
	if !bytes.Equal(hash, r.RequestHash()) {
		return Hold{}, billing.Errorf(billing.CodeConflict, "Another hold was placed under the key %s already: nothing was held now.", r.Key)
	}
	rows, _ := tx.Query(ctx, selectHold+` WHERE idempotency_key = $1`, r.Key)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Hold])
}

func lockHold(ctx context.Context, tx *Tx, id string) (Hold, error) {
	rows, _ := tx.Query(ctx, selectHold+` WHERE id = $1 FOR UPDATE`, id)
	h, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Hold])
	if err == pgx.ErrNoRows {
		return h, billing.Errorf(billing.CodeNotFound, "There is no hold %s: check the number.", id)
	}
	return h, err
}

// ApproveHold agrees that a hold is paid out, in the caller's transaction. Who placed it can't; approving again changes nothing.
func ApproveHold(ctx context.Context, tx *Tx, id, reason string) (Hold, error) {
	h, err := lockHold(ctx, tx, id)
	if err != nil || h.ApprovedBy == tx.Actor {
		return h, err
	}
	switch {
	case h.State != HoldOpen:
		return h, billing.Errorf(billing.CodeClosed, "Hold %s is %s already: a hold is settled once.", id, h.State)
	case !tx.Now.Before(h.ExpiresAt):
		return h, billing.Errorf(billing.CodeClosed, "Hold %s has expired: place a new one.", id)
	case h.PlacedBy == tx.Actor:
		return h, billing.Errorf(billing.CodeSelfApproval, "You placed this hold: another person must approve it.")
	case h.ApprovedBy != "":
		return h, billing.Errorf(billing.CodeConflict, "Hold %s is approved already, by %s: pay it out, or release it.", id, h.ApprovedBy)
	}
	h.ApprovedBy, h.ApprovedAt = tx.Actor, &tx.Now
	if _, err := tx.Exec(ctx, `UPDATE holds SET approved_by = $2, approved_at = $3 WHERE id = $1`, h.ID, h.ApprovedBy, h.ApprovedAt); err != nil {
		return h, err
	}
	return h, tx.Journal(ctx, Entry{Site: h.Site, Kind: "hold", ID: h.ID, Event: "approved", From: HoldOpen, To: HoldOpen, Reason: reason, Refs: h.refs(), Data: map[string]any{"amount_fen": h.Amount}})
}

// PostHold takes an amount of a hold from the customer's credit to another account of the books, in the caller's transaction, and releases
// the rest. A hold is settled once; posting the same again changes nothing. More than the customer has left beside other holds is billing.CodeBlocked. Who placed it can't post it, nor can who approved it, and
// without an approval nobody can (rule 49: three persons).
func PostHold(ctx context.Context, tx *Tx, id string, amount billing.Money, to ledger.Code, reason string) (Hold, error) {
	h, err := lockHold(ctx, tx, id)
	if err != nil {
		return h, err
	}
	e := ledger.Move(h.Site, ledger.KindHoldPosted, "hold/"+id+"/posted", id, ledger.Customer(h.Account), to, amount)
	if h.State == HoldPosted && h.Posted == amount {
		_, err := Post(ctx, tx, e) // the first posting, or a refusal when it went elsewhere
		return h, err
	}
	switch {
	case h.State != HoldOpen:
		return h, billing.Errorf(billing.CodeClosed, "Hold %s is %s already: a hold is settled once.", id, h.State)
	case !tx.Now.Before(h.ExpiresAt):
		return h, billing.Errorf(billing.CodeClosed, "Hold %s has expired: place a new one.", id)
	case amount <= 0 || amount > h.Amount:
		return h, billing.Errorf(billing.CodeInvalidInput, "Hold %s keeps back %s yuan: post more than zero and no more than that.", id, h.Amount.Grouped())
	case h.PlacedBy == tx.Actor && tx.Actor != "workflow":
		return h, billing.Errorf(billing.CodeSelfApproval, "You placed this hold: another person must post it.")
	case h.ApprovedBy == "":
		return h, billing.Errorf(billing.CodeBlocked, "Nobody has approved hold %s: one person approves it, and another pays it out.", id)
	case h.ApprovedBy == tx.Actor:
		return h, billing.Errorf(billing.CodeAlreadyApproved, "You approved this hold: a third person must pay it out.")
	}
	if err := h.stillThere(ctx, tx, amount); err != nil {
		return h, err
	}
	entry, err := Post(ctx, tx, e)
	if err != nil {
		return h, err
	}
	h.Posted, h.EntryID = amount, &entry
	return settleHold(ctx, tx, h, HoldPosted, reason)
}

// stillThere refuses what the customer doesn't have any more: use is charged while a hold stands. What other holds keep back isn't this one's. The
// balance stays locked, so that no charge comes between.
func (h Hold) stillThere(ctx context.Context, tx *Tx, amount billing.Money) error {
	rows, _ := tx.Query(ctx, `SELECT balance_fen, held_fen FROM balances WHERE account_id = $1 FOR UPDATE`, h.Account)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Credit])
	if err != nil {
		return err
	}
	switch left := c.Available() + h.Amount; {
	case amount <= left:
		return nil
	case left <= 0:
		return billing.Errorf(billing.CodeBlocked, "Account %s has used up what hold %s keeps back: nothing of it can be paid out, release it.", h.Account, h.ID)
	default:
		return billing.Errorf(billing.CodeBlocked, "Account %s has used a part of what hold %s keeps back: pay out %s yuan at most.", h.Account, h.ID, left.Grouped())
	}
}

// VoidHold releases a hold, in the caller's transaction. Voiding again changes nothing.
func VoidHold(ctx context.Context, tx *Tx, id, reason string) (Hold, error) {
	h, err := lockHold(ctx, tx, id)
	if err != nil || h.State == HoldVoided {
		return h, err
	}
	if h.State != HoldOpen {
		return h, billing.Errorf(billing.CodeClosed, "Hold %s is %s already: a hold is settled once.", id, h.State)
	}
	return settleHold(ctx, tx, h, HoldVoided, reason)
}

func settleHold(ctx context.Context, tx *Tx, h Hold, to, reason string) (Hold, error) {
	h.State, h.SettledBy, h.SettledAt, h.Reason = to, tx.Actor, &tx.Now, reason
	_, err := tx.Exec(ctx, `UPDATE holds SET state = $2, posted_fen = $3, entry_id = $4, settled_by = $5, settled_at = $6, reason = $7 WHERE id = $1`,
		h.ID, h.State, h.Posted, h.EntryID, h.SettledBy, h.SettledAt, h.Reason)
	if err != nil {
		return h, err
	}
	return h, tx.Journal(ctx, Entry{Site: h.Site, Kind: "hold", ID: h.ID, Event: to, From: HoldOpen, To: to, Reason: reason, Refs: h.refs(),
		Data: map[string]any{"amount_fen": h.Amount, "posted_fen": h.Posted, "entry": h.EntryID}})
}

// PlaceHold is the function of the same name in a transaction of its own.
func (s *Store) PlaceHold(ctx context.Context, by By, r ledger.Hold) (h Hold, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		h, err = PlaceHold(ctx, tx, r)
		return err
	})
	return h, err
}

// ApproveHold is the function of the same name in a transaction of its own.
func (s *Store) ApproveHold(ctx context.Context, by By, id string) (h Hold, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		h, err = ApproveHold(ctx, tx, id, by.Reason)
		return err
	})
	return h, err
}

// PostHold is the function of the same name in a transaction of its own.
func (s *Store) PostHold(ctx context.Context, by By, id string, amount billing.Money, to ledger.Code) (h Hold, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		h, err = PostHold(ctx, tx, id, amount, to, by.Reason)
		return err
	})
	return h, err
}

// VoidHold is the function of the same name in a transaction of its own.
func (s *Store) VoidHold(ctx context.Context, by By, id string) (h Hold, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		h, err = VoidHold(ctx, tx, id, by.Reason)
		return err
	})
	return h, err
}

// expiryPage bounds how many holds one transaction ends.
const expiryPage = 200

// ExpireHolds ends the holds of a site whose time is over, and gives how many. Called again it does the rest.
func (s *Store) ExpireHolds(ctx context.Context, by By, site billing.SiteID) (int, error) {
	var due bool
	if err := s.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM holds WHERE site_id = $1 AND state = 'open' AND expires_at <= business_now())`, site).Scan(&due); err != nil || !due {
		return 0, translate(err)
	}
	n := 0
	err := s.Change(ctx, by, func(tx *Tx) error {
		rows, _ := tx.Query(ctx, selectHold+` WHERE site_id = $1 AND state = 'open' AND expires_at <= $2 ORDER BY account_id, id LIMIT $3 FOR UPDATE`, site, tx.Now, expiryPage)
		due, err := pgx.CollectRows(rows, pgx.RowToStructByName[Hold])
		if err != nil {
			return err
		}
		for _, h := range due {
			if _, err := settleHold(ctx, tx, h, HoldExpired, "it was not settled in time"); err != nil {
				return err
			}
		}
		n = len(due)
		return nil
	})
	return n, err
}

// Hold reads one hold.
func (s *Store) Hold(ctx context.Context, id string) (Hold, error) {
	rows, _ := s.Pool.Query(ctx, selectHold+` WHERE id = $1`, id)
	h, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Hold])
	return h, translate(err)
}

// HoldsOf lists the newest holds of an account: the open ones first, then the newest.
func (s *Store) HoldsOf(ctx context.Context, account billing.AccountID, limit int) ([]Hold, error) {
	rows, _ := s.Pool.Query(ctx, selectHold+` WHERE account_id = $1 ORDER BY state <> 'open', placed_at DESC, id DESC LIMIT $2`, account, limit)
	hs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Hold])
	return hs, translate(err)
}

// holdWaits are the open holds that a person ($2) may act on next: neither placed nor approved by them. They approve one that nobody has approved, and
// pay out another.
const holdWaits = `state = 'open' AND expires_at > business_now() AND placed_by <> $2 AND approved_by IS DISTINCT FROM $2`

// HoldPage lists the open holds of sites, the oldest first, and counts them all: those that a person may act on next, or with nobody named all of them.
func (s *Store) HoldPage(ctx context.Context, sites []billing.SiteID, waiting billing.UserID, limit, offset int) ([]Hold, int, error) {
	type counted struct {
		Hold
		Total int
	}
	rows, _ := s.Pool.Query(ctx, strings.Replace(selectHold, " FROM", ", count(*) OVER ()::int AS total FROM", 1)+
		` WHERE site_id = ANY($1) AND state = 'open' AND ($2 = '' OR `+holdWaits+`) ORDER BY placed_at, id LIMIT $3 OFFSET $4`, sites, string(waiting), limit, offset)
	return unwrap(rows, func(c counted) (Hold, int) { return c.Hold, c.Total })
}

// Credit is what a customer has on an account.
type Credit struct {
	Balance billing.Money `db:"balance_fen"`
	Held    billing.Money `db:"held_fen"` // kept back by open holds
}

// Available is what can be paid out or held: the balance without what is held.
func (c Credit) Available() billing.Money { return c.Balance - c.Held }

// CreditNow reads what a customer has on an account.
func (s *Store) CreditNow(ctx context.Context, account billing.AccountID) (Credit, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT balance_fen, held_fen FROM balances WHERE account_id = $1`, account)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Credit])
	return c, translate(err)
}
