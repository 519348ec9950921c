package activities

import (
	"context"
	"errors"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// RestoreRef names a restore, or carries a person's order that opens one.
type RestoreRef struct {
	RestoreID string
	Order     *OrderRestore `json:",omitempty"`
}

// RestoreState is where a restore stands.
type RestoreState struct {
	RestoreID string
	Account   billing.AccountID
	State     string
	Message   billing.MessageID // to be sent
	Case      billing.CaseID    // opened or settled
	// Replaced is the case of an order in whose place another was made: it is settled with it.
	Replaced billing.CaseID `json:",omitempty"`
	// Busy means that the command of a cut is out: try again in a moment.
	Busy bool
}

// Ended says that nothing more will happen to the restore.
func (r RestoreState) Ended() bool { return store.Restore{State: r.State}.Ended() }

// LoadRestore reads a restore.
func (a *Supply) LoadRestore(ctx context.Context, in RestoreRef) (RestoreState, error) {
	r, err := a.Store.Restore(ctx, in.RestoreID)
	return RestoreState{RestoreID: r.ID, Account: r.Account, State: r.State}, err
}

// OrderRestore is a person's order to give supply back.
type OrderRestore struct {
	Account billing.AccountID
	By      billing.UserID
	Reason  string
}

// OrderRestore opens the restore that a person ordered, once per run of the workflow that carries the order.
func (a *Supply) OrderRestore(ctx context.Context, in OrderRestore) (RestoreState, error) {
	acc, err := a.Store.Account(ctx, in.Account)
	if err != nil {
		return RestoreState{}, err
	}
	if err := authorize(ctx, a.Store, in.By, auth.OrderRestore, acc.Site); err != nil {
		return RestoreState{}, err
	}
	by := byPerson(ctx, in.By, in.Reason)
	id, err := a.Store.OrderRestore(ctx, by, in.Account, by.RunID, in.Reason)
	return RestoreState{RestoreID: id, Account: in.Account, State: store.RestoreSending}, err
}

// restoreOrders is how many orders one restore can need: supply back, held on where the meter's own credit is used up, the end of the guard.
const restoreOrders = 3

// RestoreSupply gives supply back and ends the guard, as far as it gets. Its orders are harmless when they are carried out twice.
func (a *Supply) RestoreSupply(ctx context.Context, in RestoreRef) (RestoreState, error) {
	defer beat(ctx)()
	state, err := a.LoadRestore(ctx, in)
	if err != nil || state.Ended() {
		return state, err
	}
	acc, err := a.Store.Account(ctx, state.Account)
	if err != nil {
		return state, err
	}
	site, policy, err := sitePolicy(ctx, a.Store, acc.Site)
	if err != nil {
		return state, err
	}
	button, err := a.byButton(ctx, acc, policy)
	if err != nil {
		return state, err
	}
	for range restoreOrders + 1 {
		step, err := a.Store.BeginRestore(ctx, byWorkflow(ctx), in.RestoreID, button)
		if err != nil {
			return state, err
		}
		state.State, state.Busy = step.Restore.State, step.Busy
		if step.Replaced != "" {
			state.Replaced = step.Replaced
		}
		if !step.Send {
			return state, nil
		}
		failpoint.Hit("switch-marked-not-sent")
		settled, err := a.order(ctx, step.Command, site, policy)
		if err != nil {
			return state, err
		}
		if settled.State != "" {
			state.State = settled.State
		}
		if settled.Message != "" {
			state.Message = settled.Message
		}
		switch settled.Command.State {
		case billing.CommandVerified:
		case billing.CommandRefused, billing.CommandCancelled: // the meter has answered: the next order is another one
			if settled.Case != "" {
				state.Replaced = settled.Case
			}
			continue
		default:
			state.Case = settled.Case
			return state, nil
		}
		if settled.Case != "" {
			state.Case = settled.Case
		}
	}
	return state, nil
}

// byButton says whether the account's meter is only allowed to close, and its customer presses the button: where the site wants it so, the meter can, and
// the credit is ours. A meter that holds its own credit closes by itself.
func (a *Supply) byButton(ctx context.Context, acc store.Account, policy Policy) (bool, error) {
	if !policy.Supply.CustomerCloses || acc.CreditMode == billing.CreditMeter {
		return false, nil
	}
	m, err := a.Store.FittedMeter(ctx, acc.ID)
	return err == nil && devices.AllowsClosing(m.Profile), err
}

// order sends a switching command other than a trip and records what came of it. A release that would let the meter trip isn't sent, and comes back
// cancelled.
func (a *Supply) order(ctx context.Context, cmd store.Command, site store.Site, policy Policy) (store.SwitchSettled, error) {
	m, err := commandMeter(ctx, a.Store, cmd.Meter)
	if err != nil {
		return store.SwitchSettled{}, err
	}
	acc, err := a.Store.Account(ctx, cmd.Account)
	if err != nil {
		return store.SwitchSettled{}, err
	}
	judge, err := judgeFor(ctx, a.Store, site, policy)
	if err != nil {
		return store.SwitchSettled{}, err
	}
	wall, err := siteWall(ctx, a.Store, site.ID)
	if err != nil {
		return store.SwitchSettled{}, err
	}
	result, err := sendSwitch(devices.WithWall(acknowledged(ctx, a.Store, cmd.ID), wall), a.Pool, m, cmd, acc.CreditMode)
	if err != nil && interrupted(ctx, err) { // no word about the meter: the line's next owner sends it
		return store.SwitchSettled{}, errors.Join(billing.Errorf(billing.CodeUnavailable, "an order to meter %s was interrupted before it was sent", cmd.Meter), err)
	}
	if result.Sent {
		failpoint.Hit("switch-sent-not-recorded")
	}
	s, err := a.Store.SettleSwitch(ctx, byWorkflow(ctx), cmd.ID, orderOutcome(cmd, acc.CreditMode, judge, result, err), terms(policy))
	if err == nil {
		failpoint.Hit("switch-recorded-not-acked")
	}
	return s, err
}

// errWouldTrip keeps back a release.
var errWouldTrip = billing.Errorf(billing.CodeBlocked, "The meter's own credit is used up: it would trip by itself when it is released.")

// sendSwitch sends a switching command other than a trip. A meter that would trip by itself isn't released (errWouldTrip).
func sendSwitch(ctx context.Context, pool *devices.Pool, m devices.Meter, cmd store.Command, mode billing.CreditMode) (devices.SwitchResult, error) {
	switch cmd.Kind {
	case billing.CommandClose:
		return pool.Close(ctx, m)
	case billing.CommandAllowClosing:
		return pool.AllowClosing(ctx, m)
	case billing.CommandKeepOn:
		return pool.KeepClosed(ctx, m)
	case billing.CommandRelease:
		return pool.ReleaseIf(ctx, m, func(before devices.Snapshot) error {
			if before.ForcedOn && usedUp(before, mode) {
				return errWouldTrip
			}
			return nil
		})
	}
	return devices.SwitchResult{}, billing.Errorf(billing.CodeInternal, "command %s of the kind %s is no order of a restore", cmd.ID, cmd.Kind)
}

// usedUp says that a meter has no credit of its own: by what it says of itself, or by its amount where the account's credit is held in it. In a meter whose
// account's credit we hold an amount means nothing.
func usedUp(s devices.Snapshot, mode billing.CreditMode) bool {
	return s.InArrears || mode == billing.CreditMeter && s.RemainingFen != nil && *s.RemainingFen <= 0
}

// orderOutcome is switchOutcome of a command other than a trip: with what follows from the meter's own credit.
func orderOutcome(cmd store.Command, mode billing.CreditMode, judge store.Judge, r devices.SwitchResult, err error) store.SwitchOutcome {
	out := switchOutcome(r, err)
	out.Judge, out.HeldOpen = judge, r.HeldOpen
	switch {
	case errors.Is(err, errWouldTrip):
		out.State = billing.CommandCancelled
	// Some meters don't say why they stay open.
	case cmd.Kind == billing.CommandClose && r.Sent && out.State == billing.CommandUnknown && billing.SupplyState(r.After.Supply).Dark() && !r.After.ForcedOff && usedUp(r.After, mode):
		out.State, out.HeldOpen, out.Note = billing.CommandRefused, true, "the meter stays open, and its own credit is used up"
	}
	return out
}

// GuardDone says whether a meter that can trip by itself is held on now.
type GuardDone struct {
	Done bool
}

// GuardSupply holds a meter-credit account's supply on while its arrears case is open, so that only we cut: with notice, and outside the
// windows. Any other account needs nothing.
func (a *Supply) GuardSupply(ctx context.Context, in ReminderRef) (GuardDone, error) {
	defer beat(ctx)()
	r, err := a.Store.Reminder(ctx, in.ReminderID)
	if err != nil {
		return GuardDone{}, err
	}
	site, policy, err := sitePolicy(ctx, a.Store, r.Site)
	if err != nil {
		return GuardDone{}, err
	}
	step, err := a.Store.BeginGuard(ctx, byWorkflow(ctx), in.ReminderID)
	if err != nil || step.Done || step.Busy {
		return GuardDone{Done: step.Done}, err
	}
	s, err := a.order(ctx, step.Command, site, policy)
	return GuardDone{Done: s.Command.State == billing.CommandVerified}, err
}

// SettleUnknown is a person's decision on supply in doubt.
type SettleUnknown struct {
	CommandID billing.CommandID
	By        billing.UserID
	Decision  string // confirm_on, confirm_off, reread
	Reason    string
}

// SupplySettled says what a person's decision came to, and which workflow must hear of it.
type SupplySettled struct {
	// Owner is the workflow kind of the command ("cutoff", "restore") and OwnerID its number.
	Owner   string
	OwnerID string
	Settled bool
}

// SettleUnknown reads the meter first; what it shows goes before what anybody says. A cut counts as done only by its read-back, so
// confirm_off without an answer is refused; confirm_on of a failed cut withdraws it.
func (a *Supply) SettleUnknown(ctx context.Context, in SettleUnknown) (SupplySettled, error) {
	defer beat(ctx)()
	cmd, err := a.Store.Command(ctx, in.CommandID)
	if err != nil {
		return SupplySettled{}, err
	}
	if err := authorize(ctx, a.Store, in.By, auth.DecideException, cmd.Site); err != nil {
		return SupplySettled{}, err
	}
	var out SupplySettled
	out.Owner, out.OwnerID = cmd.Owner()
	if !cmd.Open() {
		out.Settled = true
		return out, nil
	}
	_, policy, err := sitePolicy(ctx, a.Store, cmd.Site)
	if err != nil {
		return out, err
	}
	seen, err := a.look(ctx, cmd)
	if err != nil {
		return out, err
	}
	if err := contradicted(in, seen); err != nil {
		return out, err
	}
	by := byPerson(ctx, in.By, in.Reason)
	if seen.State == billing.CommandVerified {
		_, err := a.Store.SettleSwitch(ctx, by, cmd.ID, seen, terms(policy))
		out.Settled = err == nil
		return out, err
	}
	switch {
	case in.Decision == "confirm_on" && cmd.Kind == billing.CommandTrip:
		_, err := a.Store.WithdrawCut(ctx, by, out.OwnerID, in.Reason)
		out.Settled = err == nil
		return out, err
	case in.Decision == "reread":
		return out, billing.Errorf(billing.CodeBlocked, "The meter still doesn't show what was ordered: %s. It is read again every 15 minutes.", seen.Note)
	}
	return out, billing.Errorf(billing.CodeBlocked, "Supply counts as switched only when the meter shows it: %s. It is tried again every 15 minutes; send a technician if it lasts.", seen.Note)
}

// contradicted refuses a decision that the meter's own showing contradicts.
func contradicted(in SettleUnknown, seen store.SwitchOutcome) error {
	on, off := string(billing.SupplyOn), string(billing.SupplyOff)
	if in.Decision == "confirm_on" && seen.Readback == off || in.Decision == "confirm_off" && seen.Readback == on {
		return billing.Errorf(billing.CodeConflict, "The meter shows that supply is %s: look at it again before you decide.", seen.Readback)
	}
	return nil
}
