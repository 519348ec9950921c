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

const selectRestore = `SELECT id, site_id, account_id, cause, state, coalesce(command_id, '') AS command_id, requested_by, reason, opened_at, settled_at FROM restores`

// Ended says that nothing more will happen to the restore.
func (r Restore) Ended() bool { return r.State != RestoreSending && r.State != RestoreUnknown }

func (r Restore) refs() []string {
	parts := splitCause(r.Cause)
	return []string{string(r.Account), string(r.CommandID), parts[len(parts)-1]}
}

// byButton says that the restore may be left to the customer's button: it follows from money alone.
func (r Restore) byButton() bool {
	kind := splitCause(r.Cause)[0]
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
	var id string
	err := tx.QueryRow(ctx, `SELECT id FROM restores WHERE cause = $1 OR (account_id = $2 AND state IN ('sending', 'unknown')) ORDER BY opened_at DESC LIMIT 1`, cause, sup.Account).Scan(&id)
	if err == nil || err != pgx.ErrNoRows {
		return id, err
	}
	r := Restore{Site: sup.Site, Account: sup.Account, Cause: cause, State: RestoreSending, RequestedBy: tx.Actor, Reason: reason}
	err = tx.QueryRow(ctx, `INSERT INTO restores (id, site_id, account_id, cause, state, requested_by, reason, opened_at)
		VALUES ('O' || nextval('restore_no'), $1, $2, $3, $4, $5, $6, $7) RETURNING id`, r.Site, r.Account, r.Cause, r.State, r.RequestedBy, r.Reason, tx.Now).Scan(&r.ID)
	if err != nil {
		return "", err
	}
	return r.ID, tx.Journal(ctx, Entry{Site: r.Site, Kind: "restore", ID: r.ID, Event: "opened", To: r.State, Reason: reason, Refs: r.refs()})
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

// openDueRestores opens what the balances of the cycle's site make due without any payment: supply back after a correction, the end
// of a guard that isn't needed any more. It names all open restores that such a look opened.
func (s *Store) openDueRestores(ctx context.Context, by By, cycle billing.CycleID, terms Terms) ([]string, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT s.account_id FROM supplies s JOIN cycles c ON c.site_id = s.site_id JOIN accounts a ON a.id = s.account_id JOIN balances b ON b.account_id = s.account_id
		WHERE c.id = $1 AND b.balance_fen + deferred_fen(a.id) > a.cut_limit_fen AND (s.guarded OR s.state NOT IN ('on', 'allowed') OR s.wanted <> 'on')
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
			id, err := openRestore(ctx, tx, sup, "balance/"+string(cycle)+"/"+string(account), "the balance allows it")
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
	// Busy means that the command of a cut is out and not settled: come back in a moment.
	Busy bool
}

// BeginRestore marks the next order of a restore as sending: close while supply isn't proved on, then release while the guard stands. With button a
// meter is only allowed to close, and the customer presses its button; then supply is given back when that is proved. What follows from a
// payment is given back so; a person's order, and a meter that tripped when it should not have, are closed for the customer (rule 61).
// All are harmless when they are carried out twice, so an attempt that died is simply made again. They have no deadline: supply is owed until it is back, and
// each attempt asks anew what is.
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
		hold, err := needsHold(ctx, tx, r.Account)
		if err != nil {
			return err
		}
		cause, kind := "restore/"+id, billing.CommandClose
		back := sup.State == billing.SupplyOn
		if button && r.byButton() {
			kind, back = billing.CommandAllowClosing, back || sup.State == billing.SupplyAllowed
		}
		needed := !back || sup.Wanted != billing.SupplyOn || r.State == RestoreUnknown
		switch {
		case needed && hold:
			kind = billing.CommandKeepOn
		case !needed && (hold || !sup.Guarded || sup.HeldBy != ""):
			return endRestore(ctx, tx, r, &out)
		case !needed:
			cause, kind = cause+"/release", billing.CommandRelease
		}
		last, err := newestCommandOf(ctx, tx, cause)
		if err != nil {
			return err
		}
		if last != nil && last.Open() {
			return resendSwitch(ctx, tx, *last, &out)
		}
		if busy, err := switchBusy(ctx, tx, sup.Account); err != nil || busy {
			out.Busy = busy
			return err
		}
		return markRestore(ctx, tx, sup, r, cause, kind, &out)
	})
	return out, err
}

// needsHold says that the meter holds itself open without credit of its own, so that only keep_on gives supply back.
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
