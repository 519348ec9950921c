package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Restore gives supply back, or ends the guard of a meter that was held on.
type Restore struct {
	ID          string
	Site        billing.SiteID    `db:"site_id"`
	Account     billing.AccountID `db:"account_id"`
	Cause       string            // 'recharge/<no>', 'person/<nonce>', 'own_trip/<cutoff>', 'balance/<cycle>/<account>'
	State       string            // sending, verified, unknown, not_needed, prevented
	CommandID   billing.CommandID
	RequestedBy string
	Reason      string
	Direct      bool // somebody ordered it, or a trip showed it, while it was open already: no button is waited for
	OpenedAt    time.Time
	SettledAt   *time.Time
}

// States of a restore.
const (
	RestoreSending   = "sending"
	RestoreVerified  = "verified"
	RestoreUnknown   = "unknown"
	RestoreNotNeeded = "not_needed"
	RestorePrevented = "prevented"
)

const selectRestore = `SELECT id, site_id, account_id, cause, state, coalesce(command_id, '') AS command_id, requested_by, reason, direct, opened_at, settled_at FROM restores`

// Ended says that nothing more will happen to the restore.
func (r Restore) Ended() bool { return r.State != RestoreSending && r.State != RestoreUnknown }

// seenOrOrdered says that a person ordered the restore, or that supply was seen off at the meter: what the tables say is no answer to that.
func (r Restore) seenOrOrdered() bool {
	switch splitCause(r.Cause)[0] {
	case "person", "batch", "own_trip":
		return true
	}
	return false
}

func (r Restore) refs() []string {
	parts := splitCause(r.Cause)
	return []string{string(r.Account), string(r.CommandID), parts[len(parts)-1]}
}

// byButton says that the restore may be left to the customer's button: it follows from money alone.
func (r Restore) byButton() bool { return !r.Direct && followsMoney(r.Cause) }

// followsMoney says that a restore's cause is a payment or a balance.
func followsMoney(cause string) bool {
	kind := splitCause(cause)[0]
	return kind == "recharge" || kind == "balance"
}

// Restore reads one restore.
func (s *Store) Restore(ctx context.Context, id string) (Restore, error) {
	rows, _ := s.Pool.Query(ctx, selectRestore+` WHERE id = $1`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Restore])
	return r, translate(err)
}

// lockRestore locks the supply and then the restore.
func lockRestore(ctx context.Context, tx *Tx, id string) (Supply, Restore, error) {
	var account billing.AccountID
	if err := tx.QueryRow(ctx, `SELECT account_id FROM restores WHERE id = $1`, id).Scan(&account); err != nil {
		return Supply{}, Restore{}, err
	}
	sup, err := lockSupply(ctx, tx, account)
	if err != nil {
		return sup, Restore{}, err
	}
	rows, _ := tx.Query(ctx, selectRestore+` WHERE id = $1 FOR UPDATE`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Restore])
	return sup, r, err
}

// openRestore opens a restore, or names the one that is open. The caller holds the lock of sup, and somebody must start its workflow.
func openRestore(ctx context.Context, tx *Tx, sup Supply, cause, reason string) (string, error) {
	rows, _ := tx.Query(ctx, selectRestore+` WHERE cause = $1 OR (account_id = $2 AND state IN ('sending', 'unknown')) ORDER BY opened_at DESC LIMIT 1`, cause, sup.Account)
	there, err := optional[Restore](rows)
	if err != nil {
		return "", err
	}
	if there != nil {
		return there.ID, closeDirectly(ctx, tx, *there, cause, reason)
	}
	r := Restore{Site: sup.Site, Account: sup.Account, Cause: cause, State: RestoreSending, RequestedBy: tx.Actor, Reason: reason}
	err = tx.QueryRow(ctx, `INSERT INTO restores (id, site_id, account_id, cause, state, requested_by, reason, opened_at)
		VALUES ('O' || nextval('restore_no'), $1, $2, $3, $4, $5, $6, $7) RETURNING id`, r.Site, r.Account, r.Cause, r.State, r.RequestedBy, r.Reason, tx.Now).Scan(&r.ID)
	if err != nil {
		return "", err
	}
	return r.ID, tx.Journal(ctx, Entry{Site: r.Site, Kind: "restore", ID: r.ID, Event: "opened", To: r.State, Reason: reason, Refs: r.refs()})
}

// closeDirectly keeps an open restore from being left to the customer's button when another cause than money asks for it too.
func closeDirectly(ctx context.Context, tx *Tx, r Restore, cause, reason string) error {
	if r.Ended() || !r.byButton() || followsMoney(cause) {
		return nil
	}
	if _, err := tx.Exec(ctx, `UPDATE restores SET direct = true WHERE id = $1`, r.ID); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: r.Site, Kind: "restore", ID: r.ID, Event: "direct", From: r.State, To: r.State, Reason: reason, Refs: append(r.refs(), cause)})
}

// OrderRestore opens a restore by a person's order. The nonce makes a double click one order.
func (s *Store) OrderRestore(ctx context.Context, by By, account billing.AccountID, nonce, reason string) (string, error) {
	if reason == "" {
		return "", billing.Errorf(billing.CodeInvalidInput, "Say why supply is given back.")
	}
	var id string
	err := s.Change(ctx, by, func(tx *Tx) error {
		sup, err := lockSupply(ctx, tx, account)
		if err != nil {
			return err
		}
		id, err = openRestore(ctx, tx, sup, "person/"+nonce, reason)
		return err
	})
	return id, err
}

// OpenRestores lists the restores of a site that were opened and aren't settled, so that whoever finds them can start their workflows:
// one that runs already is started once.
func (s *Store) OpenRestores(ctx context.Context, site billing.SiteID) ([]string, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT id FROM restores WHERE site_id = $1 AND state IN ('sending', 'unknown') ORDER BY opened_at`, site)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, translate(err)
}

// OpenRestoreOf is the open restore of an account, and the open case of the trip that made it due; empty when there is none.
func (s *Store) OpenRestoreOf(ctx context.Context, account billing.AccountID) (id string, trip billing.CaseID, err error) {
	err = s.Pool.QueryRow(ctx, `SELECT r.id, coalesce(k.id, '') FROM restores r LEFT JOIN cases k ON k.cause = r.cause AND k.state = 'open'
		WHERE r.account_id = $1 AND r.state IN ('sending', 'unknown')`, account).Scan(&id, &trip)
	if err == pgx.ErrNoRows {
		err = nil
	}
	return id, trip, translate(err)
}

// openDueRestores opens what the balances of the cycle's site make due without any payment: supply back after a correction or when
// the account's terms have become an arrears contract, the end of a guard that isn't needed any more. It names all open restores that such a look opened.
func (s *Store) openDueRestores(ctx context.Context, by By, cycle billing.CycleID, terms Terms) ([]string, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT s.account_id FROM supplies s JOIN cycles c ON c.site_id = s.site_id JOIN accounts a ON a.id = s.account_id JOIN balances b ON b.account_id = s.account_id
		WHERE c.id = $1 AND (s.guarded OR s.state NOT IN ('on', 'allowed') OR s.wanted <> 'on') AND (b.balance_fen + deferred_fen(a.id) > a.cut_limit_fen OR NOT account_prepaid_now(a.id))
			AND NOT EXISTS (SELECT 1 FROM reminders n WHERE n.account_id = s.account_id AND n.state IN `+openReminderStates+` AND s.wanted = 'on') ORDER BY 1`, cycle)
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[billing.AccountID])
	if err != nil {
		return nil, translate(err)
	}
	var opened []string
	for _, account := range accounts {
		err := s.Change(ctx, by, func(tx *Tx) error {
			sup, err := lockSupply(ctx, tx, account)
			if err != nil {
				return err
			}
			a, err := readAccount(ctx, tx, account)
			if err != nil {
				return err
			}
			balance, err := balanceOf(ctx, tx, account)
			if err != nil {
				return err
			}
			owed, err := owesRestore(ctx, tx, sup, a, balance, terms)
			if err != nil || !owed {
				return err
			}
			why := "the balance allows it"
			if !a.PrepaidContract {
				why = "nobody is cut under an arrears contract"
			}
			id, err := openRestore(ctx, tx, sup, "balance/"+string(cycle)+"/"+string(account), why)
			opened = append(opened, id)
			return err
		})
		if err != nil {
			return opened, err
		}
	}
	return opened, nil
}

// RestoreStep says what to do next about a restore.
type RestoreStep struct {
	Restore Restore
	// Command is the order to be sent now, of kind close, allow_close or release; in any other state than sending there is nothing to send.
	Command Command
	Send    bool
	Guarded bool // the guard stands, to be released after supply is proved
	// Replaced is the case of an order that can't give supply back any more, and in whose place Command was made.
	Replaced billing.CaseID
	// Busy means that the command of a cut is out and not settled: come back in a moment.
	Busy bool
}

// BeginRestore marks the next order of a restore as sending: close while supply isn't proved on, then release while the guard stands and nothing needs it.
// A meter that holds itself open without credit of its own is held on instead. With button a meter is only allowed to close, and the customer presses its
// button; then supply is given back when that is proved. What follows from a payment is given back so; a person's order, and a meter that tripped when it
// should not have, are closed for the customer (rule 61). What somebody ordered, or was seen at the meter, is also asked of the meter when the tables say
// that supply is on: a close that stands isn't sent.
// All of them are harmless when they are carried out twice, so an attempt that died is simply made again. They have no deadline: supply is owed until it is
// back, and each attempt asks anew what is, and which order gives it.
func (s *Store) BeginRestore(ctx context.Context, by By, id string, button bool) (RestoreStep, error) {
	var out RestoreStep
	err := s.Change(ctx, by, func(tx *Tx) error {
		sup, r, err := lockRestore(ctx, tx, id)
		if err != nil {
			return err
		}
		out.Restore, out.Guarded = r, sup.Guarded
		if r.Ended() {
			return nil
		}
		last, err := newestCommandOf(ctx, tx, "restore/"+id)
		if err != nil {
			return err
		}
		kind, back := billing.CommandClose, sup.State == billing.SupplyOn
		if button && r.byButton() {
			kind, back = billing.CommandAllowClosing, back || sup.State == billing.SupplyAllowed
		}
		dark := !back || sup.Wanted != billing.SupplyOn || r.State == RestoreUnknown
		if dark || last != nil && last.Open() || last == nil && r.seenOrOrdered() {
			return giveBack(ctx, tx, sup, r, last, kind, dark, &out)
		}
		return endGuard(ctx, tx, sup, r, &out)
	})
	return out, err
}

// giveBack marks the order that gives supply back now, of the given kind unless the meter holds itself open. last is the newest one that was to; dark says
// that the tables don't show supply on.
func giveBack(ctx context.Context, tx *Tx, sup Supply, r Restore, last *Command, kind billing.CommandKind, dark bool, out *RestoreStep) error {
	hold, err := needsHold(ctx, tx, r.Account)
	if err != nil {
		return err
	}
	if last != nil && last.heldOpen() || hold && dark {
		kind = billing.CommandKeepOn
	}
	switch {
	case last == nil || !last.Open():
	case last.Kind == billing.CommandClose && kind == billing.CommandKeepOn: // the other way round it gives supply back too, whatever the balance
		if out.Replaced, err = replaceOrder(ctx, tx, *last, "the meter's own credit is used up: it is held on instead"); err != nil {
			return err
		}
	case last.Kind == billing.CommandAllowClosing && kind != billing.CommandAllowClosing:
		if out.Replaced, err = replaceOrder(ctx, tx, *last, "the meter is closed for the customer instead"); err != nil {
			return err
		}
	default:
		return resendSwitch(ctx, tx, *last, out)
	}
	if busy, err := switchBusy(ctx, tx, sup.Account); err != nil || busy {
		out.Busy = busy
		return err
	}
	return markRestore(ctx, tx, sup, r, "restore/"+r.ID, kind, out)
}

// replaceOrder ends an open order in whose place another is made, with its case.
func replaceOrder(ctx context.Context, tx *Tx, c Command, why string) (billing.CaseID, error) {
	was := c.State
	c.State, c.Error = billing.CommandCancelled, why
	if err := saveCommand(ctx, tx, was, c, "cancelled"); err != nil {
		return "", err
	}
	return settleCase(ctx, tx, "command/"+string(c.ID), "confirm_off", c.Error)
}

// endGuard marks the release of a guard that nothing needs any more, or ends the restore.
func endGuard(ctx context.Context, tx *Tx, sup Supply, r Restore, out *RestoreStep) error {
	cause := "restore/" + r.ID + "/release"
	last, err := newestCommandOf(ctx, tx, cause)
	if err != nil {
		return err
	}
	held, err := stillHeld(ctx, tx, sup)
	if err != nil {
		return err
	}
	kept := last != nil && last.State == billing.CommandCancelled // the meter would trip at its release
	if !sup.Guarded || held || kept {
		return endRestore(ctx, tx, r, out)
	}
	if last != nil && last.Open() {
		return resendSwitch(ctx, tx, *last, out)
	}
	if busy, err := switchBusy(ctx, tx, sup.Account); err != nil || busy {
		out.Busy = busy
		return err
	}
	return markRestore(ctx, tx, sup, r, cause, billing.CommandRelease, out)
}

// needsHold says that by the ledger the meter holds itself open without credit of its own, so that only keep_on gives supply back.
func needsHold(ctx context.Context, tx *Tx, account billing.AccountID) (bool, error) {
	a, err := readAccount(ctx, tx, account)
	if err != nil || a.CreditMode != billing.CreditMeter {
		return false, err
	}
	balance, err := balanceOf(ctx, tx, account)
	return balance <= a.CutLimit, err
}

// endRestore closes a restore that has nothing to do, or has done it all.
func endRestore(ctx context.Context, tx *Tx, r Restore, out *RestoreStep) error {
	to := RestoreNotNeeded
	if r.CommandID != "" {
		var kind billing.CommandKind
		if err := tx.QueryRow(ctx, `SELECT kind FROM commands WHERE id = $1 AND state = 'verified'`, r.CommandID).Scan(&kind); err != nil && err != pgx.ErrNoRows {
			return err
		}
		if kind != billing.CommandRelease {
			to = RestoreVerified
		}
	}
	err := saveRestore(ctx, tx, &r, to, to)
	out.Restore = r
	return err
}

func saveRestore(ctx context.Context, tx *Tx, r *Restore, to, event string) error {
	was := r.State
	r.State = to
	if r.Ended() {
		r.SettledAt = &tx.Now
	}
	if _, err := tx.Exec(ctx, `UPDATE restores SET state = $2, command_id = nullif($3, ''), settled_at = $4 WHERE id = $1`, r.ID, r.State, r.CommandID, r.SettledAt); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: r.Site, Kind: "restore", ID: r.ID, Event: event, From: was, To: to, Refs: r.refs()})
}

// newestCommandOf is the newest attempt that was made for a cause, without the orders of a longer one such as ".../release"; nil when there
// was none.
func newestCommandOf(ctx context.Context, tx *Tx, cause string) (*Command, error) {
	rows, _ := tx.Query(ctx, selectCommand+` WHERE cause = $1 OR cause ~ ('^' || $1 || '/[0-9]+$') ORDER BY length(cause) DESC, cause DESC LIMIT 1 FOR UPDATE`, cause)
	return optional[Command](rows)
}

// switchBusy says whether another switching command of the account is out.
func switchBusy(ctx context.Context, tx *Tx, account billing.AccountID) (busy bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM commands WHERE account_id = $1 AND kind IN `+switchKinds+` AND state IN ('requested', 'sending', 'acknowledged'))`, account).Scan(&busy)
	return busy, err
}

func resendSwitch(ctx context.Context, tx *Tx, c Command, out *RestoreStep) error {
	was := c.State
	c.State, c.Attempts = billing.CommandSending, c.Attempts+1
	out.Command, out.Send = c, true
	return saveCommand(ctx, tx, was, c, "sending_again")
}

func markRestore(ctx context.Context, tx *Tx, sup Supply, r Restore, cause string, kind billing.CommandKind, out *RestoreStep) error {
	meter, err := fittedMeter(ctx, tx, r.Account)
	if err != nil {
		return err
	}
	if cause, err = nextCause(ctx, tx, cause); err != nil {
		return err
	}
	out.Send = true
	out.Command, err = insertCommand(ctx, tx, Command{Site: r.Site, Account: r.Account, Meter: meter, Kind: kind, State: billing.CommandSending, Cause: cause}, "sending")
	if err != nil {
		return err
	}
	was := sup
	sup.Wanted, sup.CommandID = billing.SupplyOn, string(out.Command.ID)
	if err := saveSupply(ctx, tx, was, sup, string(kind)+"_sending", []string{r.ID, string(out.Command.ID)}, nil); err != nil {
		return err
	}
	if kind != billing.CommandRelease || r.CommandID == "" {
		r.CommandID = out.Command.ID
	}
	err = saveRestore(ctx, tx, &r, RestoreSending, "sending")
	out.Restore = r
	return err
}
