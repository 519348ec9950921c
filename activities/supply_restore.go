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

// restoreOrders is how many orders one restore can need: supply back, then the end of the guard.
const restoreOrders = 2

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
	_, policy, err := sitePolicy(ctx, a.Store, acc.Site)
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
		if !step.Send {
			return state, nil
		}
		failpoint.Hit("switch-marked-not-sent")
		settled, err := a.order(ctx, step.Command, terms(policy))
		if err != nil {
			return state, err
		}
		if settled.State != "" {
			state.State = settled.State
		}
		if settled.Message != "" {
			state.Message = settled.Message
		}
		if settled.Case != "" {
			state.Case = settled.Case
		}
		if settled.Command.State != billing.CommandVerified {
			return state, nil
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

// order sends a switching command other than a trip and records what came of it.
func (a *Supply) order(ctx context.Context, cmd store.Command, terms store.Terms) (store.SwitchSettled, error) {
	m, err := commandMeter(ctx, a.Store, cmd.Meter)
	if err != nil {
		return store.SwitchSettled{}, err
	}
	send := map[billing.CommandKind]func(context.Context, devices.Meter) (devices.SwitchResult, error){
		billing.CommandClose: a.Pool.Close, billing.CommandAllowClosing: a.Pool.AllowClosing, billing.CommandKeepOn: a.Pool.KeepClosed, billing.CommandRelease: a.Pool.Release,
	}[cmd.Kind]
	if send == nil {
		return store.SwitchSettled{}, billing.Errorf(billing.CodeInternal, "command %s of the kind %s is no order of a restore", cmd.ID, cmd.Kind)
	}
	result, err := send(acknowledged(ctx, a.Store, cmd.ID), m)
	if err != nil && interrupted(ctx, err) { // no word about the meter: the line's next owner sends it
		return store.SwitchSettled{}, errors.Join(billing.Errorf(billing.CodeUnavailable, "an order to meter %s was interrupted before it was sent", cmd.Meter), err)
	}
	if result.Sent {
		failpoint.Hit("switch-sent-not-recorded")
	}
	s, err := a.Store.SettleSwitch(ctx, byWorkflow(ctx), cmd.ID, switchOutcome(result, err), terms)
	if err == nil {
		failpoint.Hit("switch-recorded-not-acked")
	}
	return s, err
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
	_, policy, err := sitePolicy(ctx, a.Store, r.Site)
	if err != nil {
		return GuardDone{}, err
	}
	step, err := a.Store.BeginGuard(ctx, byWorkflow(ctx), in.ReminderID)
	if err != nil || step.Done || step.Busy {
		return GuardDone{Done: step.Done}, err
	}
	s, err := a.order(ctx, step.Command, terms(policy))
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
