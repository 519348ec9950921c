package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Cutoff is a cut as people see it: planned, prevented, done. Its command has the proof.
type Cutoff struct {
	ID         string
	Site       billing.SiteID     `db:"site_id"`
	Account    billing.AccountID  `db:"account_id"`
	Reminder   billing.ReminderID `db:"reminder_id"` // empty for a meter's own trip
	State      string             // planned, awaiting_manager, prevented, sending, verified, unknown, cancelled
	PlannedAt  time.Time          // not before
	Decision   json.RawMessage    // the last policy decision, with every reason for and against
	ApprovedBy billing.UserID     // manager, for large customers
	CommandID  billing.CommandID
	OwnTrip    bool // the meter tripped by itself; noticed, judged and recorded, not commanded
	OpenedAt   time.Time
	SettledAt  *time.Time
}

// States of a cutoff.
const (
	CutPlanned         = "planned"
	CutAwaitingManager = "awaiting_manager"
	CutPrevented       = "prevented"
	CutSending         = "sending"
	CutVerified        = "verified"
	CutUnknown         = "unknown"
	CutCancelled       = "cancelled"
)

const selectCutoff = `SELECT id, site_id, account_id, coalesce(reminder_id, '') AS reminder_id, state, planned_at, decision, coalesce(approved_by, '') AS approved_by,
	coalesce(command_id, '') AS command_id, own_trip, opened_at, settled_at FROM cutoffs`

// Ended says that nothing more will happen to the cut.
func (c Cutoff) Ended() bool {
	return c.State == CutPrevented || c.State == CutVerified || c.State == CutCancelled
}

// Cutoff reads one cut.
func (s *Store) Cutoff(ctx context.Context, id string) (Cutoff, error) {
	rows, _ := s.Pool.Query(ctx, selectCutoff+` WHERE id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Cutoff])
	return c, translate(err)
}

// lockCut locks the supply and then the cut.
func lockCut(ctx context.Context, tx *Tx, id string) (Supply, Cutoff, error) {
	var account billing.AccountID
	if err := tx.QueryRow(ctx, `SELECT account_id FROM cutoffs WHERE id = $1`, id).Scan(&account); err != nil {
		return Supply{}, Cutoff{}, err
	}
	sup, err := lockSupply(ctx, tx, account)
	if err != nil {
		return sup, Cutoff{}, err
	}
	rows, _ := tx.Query(ctx, selectCutoff+` WHERE id = $1 FOR UPDATE`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Cutoff])
	return sup, c, err
}

func saveCut(ctx context.Context, tx *Tx, was string, c Cutoff, event, reason string) error {
	if c.Ended() && c.SettledAt == nil {
		c.SettledAt = &tx.Now
	}
	_, err := tx.Exec(ctx, `UPDATE cutoffs SET state = $2, planned_at = $3, decision = $4, approved_by = nullif($5, ''), command_id = nullif($6, ''), settled_at = $7 WHERE id = $1`,
		c.ID, c.State, c.PlannedAt, string(c.Decision), c.ApprovedBy, c.CommandID, c.SettledAt)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: c.Site, Kind: "cutoff", ID: c.ID, Event: event, From: was, To: c.State, Reason: reason, Refs: c.refs(),
		Data: map[string]any{"planned_at": c.PlannedAt, "decision": c.Decision}})
}

func (c Cutoff) refs() []string {
	return []string{string(c.Account), string(c.Reminder), string(c.CommandID)}
}

// planCut opens the cut of a case whose final notice was delivered.
func planCut(ctx context.Context, tx *Tx, r Reminder, plannedAt time.Time, manager bool, judge Judge) (string, error) {
	c := Cutoff{Site: r.Site, Account: r.Account, Reminder: r.ID, State: CutPlanned, PlannedAt: plannedAt}
	sup, err := lockSupply(ctx, tx, r.Account)
	if err != nil {
		return "", err
	}
	facts, err := supplyFacts(ctx, tx, sup)
	if err != nil {
		return "", err
	}
	preview, err := judge(facts)
	if err != nil {
		return "", err
	}
	c.Decision = preview.Print
	if manager {
		c.State = CutAwaitingManager
	}
	err = tx.QueryRow(ctx, `INSERT INTO cutoffs (id, site_id, account_id, reminder_id, state, planned_at, opened_at, decision)
		VALUES ('C' || nextval('cutoff_no'), $1, $2, $3, $4, $5, $6, $7) RETURNING id`, c.Site, c.Account, c.Reminder, c.State, plannedAt, tx.Now, string(c.Decision)).Scan(&c.ID)
	if err != nil {
		return "", err
	}
	return c.ID, tx.Journal(ctx, Entry{Site: c.Site, Kind: "cutoff", ID: c.ID, Event: "planned", To: c.State, Refs: c.refs(), Data: map[string]any{"planned_at": plannedAt, "decision": c.Decision}})
}

// cancelPlannedCut cancels the cut of an account that isn't out yet. One whose command is out is only named: Restore follows it.
func cancelPlannedCut(ctx context.Context, tx *Tx, account billing.AccountID, reason string) (string, error) {
	rows, _ := tx.Query(ctx, selectCutoff+` WHERE account_id = $1 AND state IN ('planned', 'awaiting_manager', 'sending', 'unknown') FOR UPDATE`, account)
	c, err := optional[Cutoff](rows)
	if err != nil || c == nil {
		return "", err
	}
	if c.State == CutSending || c.State == CutUnknown {
		return c.ID, nil
	}
	was := c.State
	c.State = CutCancelled
	return c.ID, saveCut(ctx, tx, was, *c, "cancelled", reason)
}

// ApproveCut records a manager's approval of a large customer's cut. The cut is judged anew at its hour all the same.
func (s *Store) ApproveCut(ctx context.Context, by By, id string, manager billing.UserID) (Cutoff, error) {
	var c Cutoff
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if _, c, err = lockCut(ctx, tx, id); err != nil || c.ApprovedBy == manager {
			return err
		}
		if c.State != CutPlanned && c.State != CutAwaitingManager {
			return cutClosed(c)
		}
		was := c.State
		c.State, c.ApprovedBy = CutPlanned, manager
		return saveCut(ctx, tx, was, c, "approved", "")
	})
	return c, err
}

// CancelCut ends a cut that isn't out yet, by a person's decision. The arrears case ends with it: another cut needs another notice.
func (s *Store) CancelCut(ctx context.Context, by By, id, reason string) (Cutoff, error) {
	var c Cutoff
	err := s.Change(ctx, by, func(tx *Tx) error {
		var err error
		if _, c, err = lockCut(ctx, tx, id); err != nil {
			return err
		}
		if c.State != CutPlanned && c.State != CutAwaitingManager {
			return cutClosed(c)
		}
		was := c.State
		c.State = CutCancelled
		if err := saveCut(ctx, tx, was, c, "cancelled", reason); err != nil {
			return err
		}
		_, err = endReminder(ctx, tx, c.Account, billing.ReminderClosed, "cut cancelled: "+reason, c.ID)
		return err
	})
	return c, err
}

func cutClosed(c Cutoff) error {
	return billing.Errorf(billing.CodeClosed, "Cut %s is %s already: nothing was changed.", c.ID, c.State)
}

// CutStep says what to do next about a cut.
type CutStep struct {
	Cutoff  Cutoff
	Command Command // in state sending: mark is committed, so it may be sent now (Send), or was sent before (Look)
	Send    bool
	// Look means that the command may have been sent before, by an attempt that died: read the meter, and come back with SeenOn.
	Look bool
	// Guarded means that the meter is held on by us, to be released for the cut.
	Guarded bool
	// Busy means that another switching command of the account is out: come back in a moment.
	Busy bool
}

// CutAttempt is one attempt of a cut.
type CutAttempt struct {
	ID    string
	Judge Judge
	// Deadline is the business time for which the order is good: a retry hours later cuts nobody.
	Deadline time.Duration
	// SeenOn says that the meter was read after an attempt that died, and that supply is on: nothing was done.
	SeenOn bool
}

// BeginCut is what every attempt of a cut goes through, in one transaction under the lock of the supplies row: policy and payments are
// judged anew; only when all of it allows the cut, the command is marked as sending and committed. A payment takes the same lock.
func (s *Store) BeginCut(ctx context.Context, by By, a CutAttempt) (CutStep, error) {
	var out CutStep
	err := s.Change(ctx, by, func(tx *Tx) error {
		sup, c, err := lockCut(ctx, tx, a.ID)
		if err != nil {
			return err
		}
		out.Cutoff, out.Guarded = c, sup.Guarded
		if c.Ended() || c.State == CutUnknown {
			return nil
		}
		if c.State == CutSending {
			if out.Command, err = lockCommand(ctx, tx, c.CommandID); err != nil {
				return err
			}
			if !a.SeenOn {
				out.Look = true
				return nil
			}
		} else if tx.Now.Before(c.PlannedAt) {
			return nil
		}
		facts, err := supplyFacts(ctx, tx, sup)
		if err != nil {
			return err
		}
		facts.Approved = c.ApprovedBy != ""
		j, err := a.Judge(facts)
		if err != nil {
			return err
		}
		c.Decision = j.Print
		if !j.Allowed || c.State == CutSending && out.Command.late(tx.Now) {
			return stopCut(ctx, tx, sup, c, j, "not sent: the policy forbids it now", &out)
		}
		if busy, err := switchBusy(ctx, tx, sup.Account); c.State != CutSending && (err != nil || busy) {
			out.Busy = busy
			return err
		}
		out.Send = true
		return markCut(ctx, tx, sup, c, facts.Meter, a.Deadline, &out)
	})
	return out, err
}

// CutStands says whether a cut that is marked as sending may still leave: within its deadline, allowed by everything that was judged before the mark, as it
// stands now, and with nobody having paid, or ordered supply back, since. Its line may have kept it waiting. billing.CodeClosed when it may not; nothing
// changes.
func (s *Store) CutStands(ctx context.Context, id string, judge Judge) error {
	c, err := s.Cutoff(ctx, id)
	if err != nil {
		return err
	}
	cmd, err := s.Command(ctx, c.CommandID)
	if err != nil {
		return err
	}
	var owed bool
	err = s.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM restores WHERE account_id = $1 AND state IN ('sending', 'unknown'))`, c.Account).Scan(&owed)
	if err != nil {
		return translate(err)
	}
	facts, err := s.FactsFor(ctx, c.Account)
	if err != nil {
		return err
	}
	facts.Approved = c.ApprovedBy != ""
	j, err := judge(facts)
	switch {
	case err != nil:
		return err
	case cmd.late(facts.Now):
		return billing.Errorf(billing.CodeClosed, "The deadline of order %s has passed while it waited for its line.", cmd.ID)
	case owed || cmd.State != billing.CommandSending:
		return billing.Errorf(billing.CodeClosed, "Order %s is not wanted any more: supply is to be given back.", cmd.ID)
	case !j.Allowed:
		return billing.Errorf(billing.CodeClosed, "Order %s is not allowed any more: something came that forbids the cut while it waited for its line.", cmd.ID)
	}
	return nil
}

// stopCut records why a cut isn't made: later (only the hour is against it), after a manager's approval, or not at all.
func stopCut(ctx context.Context, tx *Tx, sup Supply, c Cutoff, j Judgement, note string, out *CutStep) error {
	if c.State == CutSending { // marked before, proved not done: take the mark back
		was := sup
		sup.Wanted, sup.CutCause, sup.CommandID = billing.SupplyOn, "", ""
		if err := saveSupply(ctx, tx, was, sup, "cut_withdrawn", c.refs(), nil); err != nil {
			return err
		}
		cmd := out.Command
		cmd.State, cmd.Error, cmd.Decision = billing.CommandCancelled, note, j.Print
		if err := saveCommand(ctx, tx, out.Command.State, cmd, "cancelled"); err != nil {
			return err
		}
		out.Command = cmd
	}
	was, event := c.State, "prevented"
	switch {
	case !j.Again.IsZero():
		c.State, c.PlannedAt, event = CutPlanned, j.Again, "planned_again"
	case j.NeedsManager:
		c.State, event = CutAwaitingManager, "awaiting_manager"
	default:
		c.State = CutPrevented
		if _, err := endReminder(ctx, tx, c.Account, billing.ReminderClosed, "the cut was prevented", c.ID); err != nil {
			return err
		}
	}
	out.Cutoff = c
	return saveCut(ctx, tx, was, c, event, "")
}

// markCut marks the command as sending: from its commit on it counts as out.
func markCut(ctx context.Context, tx *Tx, sup Supply, c Cutoff, meter billing.MeterID, deadline time.Duration, out *CutStep) error {
	if c.State == CutSending {
		was := out.Command.State
		out.Command.State, out.Command.Decision = billing.CommandSending, c.Decision
		out.Command.Attempts++
		if err := saveCommand(ctx, tx, was, out.Command, "sending_again"); err != nil {
			return err
		}
		return saveCut(ctx, tx, CutSending, c, "sending_again", "")
	}
	cause, err := nextCause(ctx, tx, "cutoff/"+c.ID)
	if err != nil {
		return err
	}
	out.Command, err = insertCommand(ctx, tx, Command{Site: c.Site, Account: c.Account, Meter: meter, Kind: billing.CommandTrip, State: billing.CommandSending,
		Cause: cause, Decision: c.Decision, Deadline: goodFor(tx, deadline)}, "sending")
	if err != nil {
		return err
	}
	was := sup
	sup.Wanted, sup.CutCause, sup.CommandID = billing.SupplyOff, CutForCredit, string(out.Command.ID)
	if err := saveSupply(ctx, tx, was, sup, "cut_sending", []string{c.ID, string(out.Command.ID)}, nil); err != nil {
		return err
	}
	wasState := c.State
	c.State, c.CommandID = CutSending, out.Command.ID
	out.Cutoff = c
	return saveCut(ctx, tx, wasState, c, "sending", "")
}

// TakeBackCut takes back the mark of a cut whose order certainly didn't leave, and plans it anew after the given business time; with
// zero, the cut is prevented.
func (s *Store) TakeBackCut(ctx context.Context, by By, id string, after time.Duration, note string) (Cutoff, error) {
	var out CutStep
	err := s.Change(ctx, by, func(tx *Tx) error {
		sup, c, err := lockCut(ctx, tx, id)
		if err != nil || c.State != CutSending {
			out.Cutoff = c
			return err
		}
		if out.Command, err = lockCommand(ctx, tx, c.CommandID); err != nil {
			return err
		}
		j := Judgement{Print: c.Decision}
		if after > 0 {
			j.Again = tx.Now.Add(after)
		}
		return stopCut(ctx, tx, sup, c, j, note, &out)
	})
	return out.Cutoff, err
}
