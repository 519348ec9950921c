package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// SwitchOutcome is what the meter showed after a switching command, or at a later look.
type SwitchOutcome struct {
	State    billing.CommandState // verified, refused or unknown
	Readback string               // supply as read back: on, off, moving, fault; empty when nothing answered
	ReadReal *time.Time           // real instant of the read-back's answer
	PowerW   int64
	Note     string
	Frames   json.RawMessage
	// HeldOpen says of a close that was refused that the meter holds itself open without credit of its own: nothing is in doubt.
	HeldOpen bool
	// Stood says that nothing was sent, because the meter showed what was ordered.
	Stood bool
	// Judge judges a meter that reads off after its release; without it nothing is noted.
	Judge Judge
}

// SwitchSettled is what an outcome led to, and what must be told or started because of it.
type SwitchSettled struct {
	Command Command
	State   string            // of the cutoff or restore; empty for a guard
	Message billing.MessageID // to be sent
	Case    billing.CaseID    // the doubt that was opened or settled
}

// SettleSwitch records what became of a switching command and, in the same transaction, what follows for supply, cut and restore.
// Only a read-back that shows the commanded state verifies; anything else is unknown, with a case. A settled command stays settled.
func (s *Store) SettleSwitch(ctx context.Context, by By, id billing.CommandID, o SwitchOutcome, terms Terms) (SwitchSettled, error) {
	var out SwitchSettled
	err := s.Change(ctx, by, func(tx *Tx) error {
		var account billing.AccountID
		if err := tx.QueryRow(ctx, `SELECT account_id FROM commands WHERE id = $1`, id).Scan(&account); err != nil {
			return err
		}
		sup, err := lockSupply(ctx, tx, account)
		if err != nil {
			return err
		}
		c, err := lockCommand(ctx, tx, id)
		if err != nil {
			return err
		}
		if out.Command = c; !c.Open() {
			return ownerState(ctx, tx, c, &out)
		}
		if sup, err = trippedAtRelease(ctx, tx, sup, c, &o, terms); err != nil {
			return err
		}
		if out.Command, err = recordSwitch(ctx, tx, c, o); err != nil {
			return err
		}
		// A repeat may find what the attempt before it has done.
		o.Stood = o.Stood && sup.State == billing.SupplyOn && c.Attempts <= 1
		if err := recordSupply(ctx, tx, sup, out.Command, o); err != nil {
			return err
		}
		if err := doubtSwitch(ctx, tx, out.Command, terms, &out); err != nil {
			return err
		}
		return followSwitch(ctx, tx, out.Command, o.Stood, terms, &out)
	})
	return out, err
}

// trippedAtRelease notes that a meter reads off after its release though it should be on: that is its own trip, a cut like any other.
func trippedAtRelease(ctx context.Context, tx *Tx, sup Supply, c Command, o *SwitchOutcome, terms Terms) (Supply, error) {
	if c.Kind != billing.CommandRelease || !billing.SupplyState(o.Readback).Dark() || o.Judge == nil {
		return sup, nil
	}
	noted, err := NoteOwnTrip(ctx, tx, OwnTrip{Account: c.Account, Meter: c.Meter, SeenReal: *o.ReadReal, PowerW: o.PowerW, CaseDue: terms.CaseDue, Refs: []string{string(c.ID)}}, o.Judge)
	if err != nil || noted.Cutoff == "" {
		return sup, err
	}
	o.Note = fmt.Sprintf("the meter tripped by itself when it was released, which is cut %s", noted.Cutoff)
	if noted.Restore != "" {
		o.Note += fmt.Sprintf("; restore %s gives supply back", noted.Restore)
	}
	return lockSupply(ctx, tx, c.Account)
}

func recordSwitch(ctx context.Context, tx *Tx, c Command, o SwitchOutcome) (Command, error) {
	was := c.State
	c.State, c.Error = o.State, o.Note
	if c.State == billing.CommandRefused && c.switchesSupply() && !o.HeldOpen {
		c.State = billing.CommandUnknown // a person looks at a relay that refuses
	}
	if o.Readback != "" {
		c.Readback, c.ReadbackReal, c.ReadbackPowerW = o.Readback, o.ReadReal, &o.PowerW
	}
	if err := c.addFrames(o.Frames); err != nil {
		return c, err
	}
	event := string(c.State)
	if was == c.State {
		event = "read_back"
	}
	return c, saveCommand(ctx, tx, was, c, event)
}

// restores says that the command is to give supply back: close, or, where the meter's own credit is used up, keep_on.
func (c Command) restores() bool {
	owner, _ := c.Owner()
	return c.Kind == billing.CommandClose || c.Kind == billing.CommandAllowClosing || c.Kind == billing.CommandKeepOn && owner == "restore"
}

// heldOpen says that the meter answered a close by holding itself open without credit of its own. Whatever else refuses one leaves it in doubt.
func (c Command) heldOpen() bool {
	return c.Kind == billing.CommandClose && c.State == billing.CommandRefused
}

// switchesSupply says that the command changes whether supply reaches the customer, so that a doubt about it needs a person.
func (c Command) switchesSupply() bool { return c.Kind == billing.CommandTrip || c.restores() }

// recordSupply writes what is proved of supply now.
func recordSupply(ctx context.Context, tx *Tx, sup Supply, c Command, o SwitchOutcome) error {
	was := sup
	switch o.Readback {
	case string(billing.SupplyOn), string(billing.SupplyOff):
		sup.State = billing.SupplyState(o.Readback)
	case string(billing.SupplyAllowed):
		sup.State = billing.SupplyAllowed
		if c.Kind == billing.CommandClose { // told to close and open: its customer may be able to do what it didn't, and nobody knows
			sup.State = billing.SupplyUnknown
		}
	default:
		if c.switchesSupply() {
			sup.State = billing.SupplyUnknown
		}
	}
	if c.State == billing.CommandVerified {
		if sup.CommandID == string(c.ID) {
			sup.CommandID = ""
		}
		switch c.Kind {
		case billing.CommandTrip, billing.CommandRelease:
			sup.Guarded, sup.HeldBy = false, ""
		case billing.CommandKeepOn:
			sup.Guarded = true
			if owner, id := c.Owner(); owner == "batch" {
				sup.HeldBy = billing.BatchID(id)
			}
		}
		if c.restores() {
			sup.CutCause = ""
		}
	}
	if sup == was && c.State != billing.CommandVerified {
		return nil
	}
	return saveSupply(ctx, tx, was, sup, string(c.Kind)+"_"+string(c.State), append(c.refs(), string(c.ID)), map[string]any{"readback": o.Readback, "readback_real": o.ReadReal})
}

// doubtSwitch opens the case of a trip or close that isn't proved, and settles it when proof has come.
func doubtSwitch(ctx context.Context, tx *Tx, c Command, terms Terms, out *SwitchSettled) error {
	if !c.switchesSupply() {
		return nil
	}
	cause := "command/" + string(c.ID)
	var err error
	switch c.State {
	case billing.CommandVerified:
		decision := "confirm_on"
		if c.Kind == billing.CommandTrip {
			decision = "confirm_off"
		}
		out.Case, err = settleCase(ctx, tx, cause, decision, "the read-back proves it")
	case billing.CommandRefused:
		out.Case, err = settleCase(ctx, tx, cause, "confirm_off", c.Error)
	case billing.CommandUnknown:
		out.Case, _, err = OpenCase(ctx, tx, NewCase{Site: c.Site, Kind: KindSupplyUnknown, Cause: cause, Meter: &c.Meter, Account: &c.Account, Command: &c.ID, DueAfter: terms.CaseDue})
	}
	return err
}

// followSwitch moves the cut or restore that ordered the command.
func followSwitch(ctx context.Context, tx *Tx, c Command, stood bool, terms Terms, out *SwitchSettled) error {
	kind, id := c.Owner()
	switch {
	case kind == "cutoff":
		return followCut(ctx, tx, id, c, terms, out)
	case kind == "restore" && c.restores():
		return followClose(ctx, tx, id, c, stood, terms, out)
	}
	return ownerState(ctx, tx, c, out)
}

func followCut(ctx context.Context, tx *Tx, id string, c Command, terms Terms, out *SwitchSettled) error {
	_, cut, err := lockCut(ctx, tx, id)
	if err != nil || cut.Ended() {
		out.State = cut.State
		return err
	}
	was := cut.State
	cut.State = CutUnknown
	if c.State == billing.CommandVerified {
		cut.State = CutVerified
		balance, err := balanceOf(ctx, tx, cut.Account)
		if err != nil {
			return err
		}
		if out.Message, err = queueMessage(ctx, tx, NewMessage{Account: cut.Account, Kind: "cut", Cause: "cutoff/" + id + "/cut", Balance: balance}, terms.Text); err != nil {
			return err
		}
	}
	out.State = cut.State
	if was == cut.State {
		return nil
	}
	return saveCut(ctx, tx, was, cut, cut.State, "")
}

func followClose(ctx context.Context, tx *Tx, id string, c Command, stood bool, terms Terms, out *SwitchSettled) error {
	sup, r, err := lockRestore(ctx, tx, id)
	if err != nil || r.Ended() {
		out.State = r.State
		return err
	}
	to := RestoreUnknown
	switch {
	case c.State == billing.CommandVerified && stood && r.seenOrOrdered(): // nobody was in the dark
		if to = RestoreNotNeeded; sup.Guarded {
			to = RestoreSending // the guard may be still to be released
		}
	case c.State == billing.CommandVerified:
		balance, err := balanceOf(ctx, tx, r.Account)
		if err != nil {
			return err
		}
		message := "restored"
		if c.Readback == string(billing.SupplyAllowed) {
			message = "allowed"
		}
		if out.Message, err = queueMessage(ctx, tx, NewMessage{Account: r.Account, Kind: message, Cause: "restore/" + id + "/restored", Balance: balance}, terms.Text); err != nil {
			return err
		}
		if to = RestoreVerified; sup.Guarded && c.Kind == billing.CommandClose {
			to = RestoreSending // supply is proved; the guard is still to be released
		}
	}
	out.State = to
	if r.State == to {
		return nil
	}
	return saveRestore(ctx, tx, &r, to, to)
}

// ownerState reads the state of what ordered the command.
func ownerState(ctx context.Context, tx *Tx, c Command, out *SwitchSettled) error {
	kind, id := c.Owner()
	query := map[string]string{
		"cutoff":  `SELECT c.state, coalesce((SELECT id FROM messages WHERE cause = 'cutoff/' || c.id || '/cut'), '') FROM cutoffs c WHERE c.id = $1`,
		"restore": `SELECT r.state, coalesce((SELECT id FROM messages WHERE cause = 'restore/' || r.id || '/restored'), '') FROM restores r WHERE r.id = $1`,
	}[kind]
	if query == "" {
		return nil
	}
	return tx.QueryRow(ctx, query, id).Scan(&out.State, &out.Message)
}

// WithdrawCut ends a cut in doubt when supply is proved on, by a restore that took over or by a person who looked: the relay didn't do
// as it was told. by.Actor decided it; the arrears case ends with it.
func (s *Store) WithdrawCut(ctx context.Context, by By, id, reason string) (Cutoff, error) {
	var c Cutoff
	err := s.Change(ctx, by, func(tx *Tx) error {
		sup, cut, err := lockCut(ctx, tx, id)
		if err != nil {
			return err
		}
		c = cut
		return withdrawCut(ctx, tx, &sup, &c, reason)
	})
	return c, err
}

// withdrawCut is WithdrawCut in the caller's transaction; sup and c are locked, and left as they are then.
func withdrawCut(ctx context.Context, tx *Tx, sup *Supply, c *Cutoff, reason string) error {
	if c.Ended() {
		return nil
	}
	cmd, err := lockCommand(ctx, tx, c.CommandID)
	if err != nil {
		return err
	}
	if cmd.Open() {
		was := cmd.State
		cmd.State, cmd.Error = billing.CommandRefused, reason
		if err := saveCommand(ctx, tx, was, cmd, "refused"); err != nil {
			return err
		}
	}
	if sup.CommandID == string(cmd.ID) {
		was := *sup
		sup.Wanted, sup.CutCause, sup.CommandID = billing.SupplyOn, "", ""
		if err := saveSupply(ctx, tx, was, *sup, "cut_withdrawn", c.refs(), nil); err != nil {
			return err
		}
	}
	if _, err := settleCase(ctx, tx, "command/"+string(cmd.ID), "confirm_on", reason); err != nil {
		return err
	}
	was := c.State
	c.State = CutCancelled
	if err := saveCut(ctx, tx, was, *c, "withdrawn", reason); err != nil {
		return err
	}
	_, err = endReminder(ctx, tx, c.Account, billing.ReminderClosed, "the cut failed: "+reason, c.ID)
	return err
}

// GuardStep says what to do about the guard of a meter that can trip by itself.
type GuardStep struct {
	Command Command
	Send    bool
	Done    bool // guarded already, or there is nothing to guard
	Busy    bool
}

// BeginGuard marks the order that holds a meter-credit account's supply on while its arrears case is open. Sending it twice is harmless, and it has no
// deadline: each attempt asks whether it is still wanted.
func (s *Store) BeginGuard(ctx context.Context, by By, id billing.ReminderID) (GuardStep, error) {
	var out GuardStep
	err := s.Change(ctx, by, func(tx *Tx) error {
		r, _, a, err := lockArrears(ctx, tx, id)
		if err != nil {
			return err
		}
		sup, err := lockSupply(ctx, tx, r.Account)
		if err != nil {
			return err
		}
		if !r.Open() || a.CreditMode != billing.CreditMeter || sup.Guarded || sup.State == billing.SupplyOff || sup.Wanted == billing.SupplyOff {
			out.Done = true
			return nil
		}
		return out.order(ctx, tx, Command{Site: r.Site, Account: r.Account, Kind: billing.CommandKeepOn, Cause: fmt.Sprintf("reminder/%s/guard", id)})
	})
	return out, err
}

// order marks the newest order of a cause as sending again while it is open, and makes the next one, to the fitted meter, when it isn't.
func (g *GuardStep) order(ctx context.Context, tx *Tx, c Command) error {
	last, err := newestCommandOf(ctx, tx, c.Cause)
	if err != nil {
		return err
	}
	if last != nil && last.Open() {
		was := last.State
		last.State, last.Attempts = billing.CommandSending, last.Attempts+1
		g.Command, g.Send = *last, true
		return saveCommand(ctx, tx, was, *last, "sending_again")
	}
	if busy, err := switchBusy(ctx, tx, c.Account); err != nil || busy {
		g.Busy = busy
		return err
	}
	if c.Meter, err = fittedMeter(ctx, tx, c.Account); err != nil {
		return err
	}
	if c.Cause, err = nextCause(ctx, tx, c.Cause); err != nil {
		return err
	}
	g.Send, c.State = true, billing.CommandSending
	g.Command, err = insertCommand(ctx, tx, c, "sending")
	return err
}

// nextCause gives a cause that no command has: itself, or with the number of the attempt.
func nextCause(ctx context.Context, tx *Tx, cause string) (string, error) {
	var n int
	err := tx.QueryRow(ctx, `SELECT count(*) FROM commands WHERE cause = $1 OR cause ~ ('^' || $1 || '/[0-9]+$')`, cause).Scan(&n)
	if n == 0 || err != nil {
		return cause, err
	}
	return fmt.Sprintf("%s/%d", cause, n+1), nil
}

// ButtonSeen is a reading that shows a meter on which its customer was allowed to close.
type ButtonSeen struct {
	Account  billing.AccountID
	Meter    billing.MeterID
	SeenReal time.Time // real instant of the reading
	Refs     []string  // the cycle, for instance
}

// NoteButton records that a customer has closed the meter by its button. Nothing changes while an order is out, or when it is known already.
func (s *Store) NoteButton(ctx context.Context, by By, b ButtonSeen) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		sup, err := lockSupply(ctx, tx, b.Account)
		if err != nil {
			return err
		}
		if sup.State != billing.SupplyAllowed || sup.CommandID != "" || sup.Wanted != billing.SupplyOn {
			return nil
		}
		was := sup
		sup.State = billing.SupplyOn
		return saveSupply(ctx, tx, was, sup, "closed_by_button", append([]string{string(b.Meter)}, b.Refs...), map[string]any{"seen_real": b.SeenReal})
	})
}

// OwnTrip is a meter that was found off though it should be on: it tripped by itself.
type OwnTrip struct {
	Account  billing.AccountID
	Meter    billing.MeterID
	SeenReal time.Time // real instant of the reading that shows it
	PowerW   int64
	CaseDue  time.Duration
	Refs     []string // the cycle, for instance
}

// OwnTripNoted says what came of it.
type OwnTripNoted struct {
	Cutoff  string
	Restore string         // opened when policy would not have allowed a cut; somebody must start its workflow
	Case    billing.CaseID // blocking, in the same event
	Known   bool           // it is on record, now or since before, and nobody need be told again
}

// NoteOwnTrip records that a meter has tripped by itself, or was switched by others, in the caller's transaction. It is judged as if we had cut: allowed, it
// counts as a cut done; not allowed, a blocking case is opened and supply is given back. A trip that is noted already changes nothing, nor does one that
// was seen before supply was read on again.
func NoteOwnTrip(ctx context.Context, tx *Tx, t OwnTrip, judge Judge) (OwnTripNoted, error) {
	var out OwnTripNoted
	sup, err := lockSupply(ctx, tx, t.Account)
	if err != nil || sup.Wanted == billing.SupplyOff {
		return out, err
	}
	var onSince, givenBack bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM commands WHERE account_id = $1 AND readback = 'on' AND readback_real > $2),
			EXISTS (SELECT 1 FROM restores WHERE account_id = $1 AND state IN ('sending', 'unknown'))`, t.Account, t.SeenReal).Scan(&onSince, &givenBack); err != nil || onSince {
		return out, err
	}
	if out.Known = true; sup.CutCause != "" || sup.State == billing.SupplyOff && givenBack {
		return out, nil
	}
	facts, err := supplyFacts(ctx, tx, sup)
	if err != nil {
		return out, err
	}
	j, err := judge(facts)
	if err != nil {
		return out, err
	}
	c := Cutoff{Site: sup.Site, Account: t.Account, State: CutVerified, PlannedAt: tx.Now, Decision: j.Print, OwnTrip: true}
	err = tx.QueryRow(ctx, `INSERT INTO cutoffs (id, site_id, account_id, state, planned_at, decision, own_trip, opened_at, settled_at)
		VALUES ('C' || nextval('cutoff_no'), $1, $2, $3, $4, $5, true, $4, $4) RETURNING id`, c.Site, c.Account, c.State, tx.Now, string(c.Decision)).Scan(&c.ID)
	if err != nil {
		return out, err
	}
	out.Cutoff = c.ID
	refs := append([]string{string(t.Account), string(t.Meter)}, t.Refs...)
	err = tx.Journal(ctx, Entry{Site: c.Site, Kind: "cutoff", ID: c.ID, Event: "own_trip", To: c.State, Refs: refs,
		Data: map[string]any{"allowed": j.Allowed, "decision": j.Print, "seen_real": t.SeenReal, "power_w": t.PowerW}})
	if err != nil {
		return out, err
	}
	was := sup
	sup.State, sup.CutCause, sup.Guarded = billing.SupplyOff, CutByMeter, false
	if err := saveSupply(ctx, tx, was, sup, "own_trip", append(refs, c.ID), map[string]any{"seen_real": t.SeenReal}); err != nil || j.Allowed {
		return out, err
	}
	if out.Case, _, err = OpenCase(ctx, tx, NewCase{Site: sup.Site, Kind: KindOwnTrip, Cause: "own_trip/" + c.ID, Blocking: true, Meter: &t.Meter, Account: &t.Account,
		DueAfter: t.CaseDue, Refs: append(refs, c.ID)}); err != nil {
		return out, err
	}
	out.Restore, err = openRestore(ctx, tx, sup, "own_trip/"+c.ID, "the meter tripped by itself where no cut was allowed")
	return out, err
}

// KindOwnTrip is the kind of the case of a meter that tripped by itself where no cut was allowed.
const KindOwnTrip = "own_trip"
