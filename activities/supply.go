package activities

import (
	"context"
	"errors"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// Supply cuts and restores. Every attempt of a cut is judged under the lock of the account's supply, marked, committed, and only then
// sent; what counts is the relay's or valve's own read-back.
type Supply struct {
	Store *store.Store
	Pool  *devices.Pool
}

// AccountRef names an account.
type AccountRef struct {
	Account billing.AccountID
}

// FindLine is the gateway on whose line the account's meter hangs.
func (a *Supply) FindLine(ctx context.Context, in AccountRef) (billing.GatewayID, error) {
	return a.Store.AccountGateway(ctx, in.Account)
}

// CutRef names a cut.
type CutRef struct {
	CutoffID string
}

// CutState is where a cut stands.
type CutState struct {
	CutoffID  string
	Account   billing.AccountID
	State     string
	PlannedAt time.Time
	Approved  bool
	Message   billing.MessageID // to be sent
	Case      billing.CaseID    // opened or settled
	// Busy means that another command of the meter is out: try again in a while.
	Busy bool
}

func cutState(c store.Cutoff) CutState {
	return CutState{CutoffID: c.ID, Account: c.Account, State: c.State, PlannedAt: c.PlannedAt, Approved: c.ApprovedBy != ""}
}

// Ended says that nothing more will happen to the cut.
func (c CutState) Ended() bool { return store.Cutoff{State: c.State}.Ended() }

// LoadCut reads a cut.
func (a *Supply) LoadCut(ctx context.Context, in CutRef) (CutState, error) {
	c, err := a.Store.Cutoff(ctx, in.CutoffID)
	return cutState(c), err
}

// CutDecision is a person's decision on a planned cut.
type CutDecision struct {
	CutoffID string
	By       billing.UserID
	Reason   string
}

// ApproveCut records a manager's approval of a large customer's cut.
func (a *Supply) ApproveCut(ctx context.Context, in CutDecision) (CutState, error) {
	if err := a.mayDecideCut(ctx, in, auth.OrderCut); err != nil {
		return CutState{}, err
	}
	c, err := a.Store.ApproveCut(ctx, byPerson(ctx, in.By, in.Reason), in.CutoffID, in.By)
	return cutState(c), err
}

// CancelCut ends a cut that isn't out yet.
func (a *Supply) CancelCut(ctx context.Context, in CutDecision) (CutState, error) {
	if err := a.mayDecideCut(ctx, in, auth.StopCuts); err != nil {
		return CutState{}, err
	}
	c, err := a.Store.CancelCut(ctx, byPerson(ctx, in.By, in.Reason), in.CutoffID, in.Reason)
	return cutState(c), err
}

func (a *Supply) mayDecideCut(ctx context.Context, in CutDecision, action auth.Action) error {
	c, err := a.Store.Cutoff(ctx, in.CutoffID)
	if err != nil {
		return err
	}
	return authorize(ctx, a.Store, in.By, action, c.Site)
}

// How long an order to cut stays good, and when a meter that couldn't be reached is tried again. Business time.
const (
	cutDeadline  = 30 * time.Minute
	cutTryAgain  = 30 * time.Minute
	reachedNever = "not sent: "
)

// CutOff makes one attempt of a cut. An attempt that follows one that died looks at the meter before it does anything.
func (a *Supply) CutOff(ctx context.Context, in CutRef) (CutState, error) {
	defer beat(ctx)()
	cut, err := a.Store.Cutoff(ctx, in.CutoffID)
	if err != nil {
		return CutState{}, err
	}
	site, policy, err := sitePolicy(ctx, a.Store, cut.Site)
	if err != nil {
		return CutState{}, err
	}
	judge, err := judgeFor(ctx, a.Store, site, policy)
	if err != nil {
		return CutState{}, err
	}
	attempt := store.CutAttempt{ID: in.CutoffID, Judge: judge, Deadline: cutDeadline}
	step, err := a.Store.BeginCut(ctx, byWorkflow(ctx), attempt)
	if err != nil {
		return CutState{}, err
	}
	if step.Look {
		seen, err := a.look(ctx, step.Command)
		if err != nil {
			return CutState{}, err
		}
		if !uncut(seen) {
			return a.settleCut(ctx, in, step.Command, seen, terms(policy))
		}
		attempt.SeenOn = true
		if step, err = a.Store.BeginCut(ctx, byWorkflow(ctx), attempt); err != nil {
			return CutState{}, err
		}
	}
	if !step.Send {
		state := cutState(step.Cutoff)
		state.Busy = step.Busy
		return state, nil
	}
	failpoint.Hit("switch-marked-not-sent")
	return a.sendCut(ctx, in, step, judge, terms(policy))
}

func (a *Supply) sendCut(ctx context.Context, in CutRef, step store.CutStep, judge store.Judge, terms store.Terms) (CutState, error) {
	cmd := step.Command
	m, err := commandMeter(ctx, a.Store, cmd.Meter)
	if err != nil {
		return CutState{}, err
	}
	var unwanted error
	wanted := devices.WithLastWord(ctx, func(ctx context.Context) error {
		unwanted = a.Store.CutStands(ctx, in.CutoffID, judge)
		return unwanted
	})
	result, err := a.trip(ctx, wanted, m, cmd.ID, step.Guarded)
	if result.Sent {
		failpoint.Hit("switch-sent-not-recorded")
	}
	if lineMoved(err) && !result.Sent { // it stays marked, so its present owner looks at the meter before it sends
		return CutState{}, movedFrom(m, err)
	}
	// Nothing was sent, now or before: the last word comes after a look that showed supply on.
	if err != nil && (cmd.Attempts <= 1 || unwanted != nil) {
		again := cutTryAgain
		if errors.Is(err, devices.ErrKeptClosed) {
			again = 0 // somebody else keeps it closed, at the meter: that is ended by them, never overridden
		}
		c, perr := a.Store.TakeBackCut(ctx, byWorkflow(ctx), in.CutoffID, again, reachedNever+err.Error())
		return cutState(c), perr
	}
	return a.settleCut(ctx, in, cmd, switchOutcome(result, err), terms)
}

// trip cuts the supply. A meter that we guarded is released first: the guard kept it from cutting without notice, and is no reason
// against a cut that policy allows. The cut is marked already. Without credit of its own it may trip by itself at the release, which is the same cut.
// wanted is ctx with the last word, which is asked before each of the two; when the second doesn't leave, the guard is put back.
func (a *Supply) trip(ctx, wanted context.Context, m devices.Meter, id billing.CommandID, guarded bool) (devices.SwitchResult, error) {
	tells := acknowledged(wanted, a.Store, id) // of the trip only: the release isn't what was ordered
	result, err := a.Pool.Trip(tells, m)
	if !guarded || !errors.Is(err, devices.ErrKeptClosed) {
		return result, err
	}
	released, err := a.Pool.Release(wanted, m)
	if err != nil || released.Outcome != devices.OutcomeVerified {
		return released, err
	}
	result, err = a.Pool.Trip(tells, m)
	result.Frames = append(released.Frames, result.Frames...)
	if err == nil {
		return result, nil
	}
	held, heldErr := a.Pool.KeepClosed(ctx, m) // a meter that has lost its clock was not released
	if heldErr == nil && held.Outcome == devices.OutcomeVerified {
		return devices.SwitchResult{}, err // all is as it was
	}
	// The release went out, so this is no attempt of which nothing was sent.
	return devices.SwitchResult{Outcome: devices.OutcomeUnknown, Note: err.Error(), Frames: append(result.Frames, held.Frames...), Sent: true}, nil
}

func (a *Supply) settleCut(ctx context.Context, in CutRef, cmd store.Command, o store.SwitchOutcome, terms store.Terms) (CutState, error) {
	s, err := a.Store.SettleSwitch(ctx, byWorkflow(ctx), cmd.ID, o, terms)
	if err != nil {
		return CutState{}, err
	}
	failpoint.Hit("switch-recorded-not-acked")
	c, err := a.Store.Cutoff(ctx, in.CutoffID)
	state := cutState(c)
	state.Message, state.Case = s.Message, s.Case
	return state, err
}

// uncut says that a look shows the cut not to have happened: supply is on, or as the restore before it left it, with the customer's button.
func uncut(o store.SwitchOutcome) bool {
	return o.Readback == string(billing.SupplyOn) || o.Readback == string(billing.SupplyAllowed)
}

// switchOutcome turns what the meter showed into what is stored. With an error nothing was sent in this call.
func switchOutcome(r devices.SwitchResult, err error) store.SwitchOutcome {
	out := store.SwitchOutcome{State: commandState(r.Outcome), Note: r.Note, Frames: frames(r.Frames)}
	if err != nil {
		out.State, out.Note = billing.CommandUnknown, reachedNever+err.Error()
	}
	out.Stood = err == nil && !r.Sent
	return withReadback(out, r.After)
}

func withReadback(out store.SwitchOutcome, s devices.Snapshot) store.SwitchOutcome {
	if s.TakenAt.IsZero() || s.Supply == devices.SupplyUnknown {
		return out
	}
	taken := s.TakenAt
	out.Readback, out.ReadReal, out.PowerW = string(s.Supply), &taken, s.PowerW
	return out
}

// look only reads: does the meter show what the command was to bring about? An error means that it wasn't asked: the line has moved.
func (a *Supply) look(ctx context.Context, c store.Command) (store.SwitchOutcome, error) {
	out := store.SwitchOutcome{State: billing.CommandUnknown}
	m, err := commandMeter(ctx, a.Store, c.Meter)
	if err != nil {
		out.Note = err.Error()
		return out, nil
	}
	seen, err := a.Pool.Look(ctx, m, orders[c.Kind])
	out.Frames = frames(seen.Frames)
	if lineMoved(err) {
		return out, movedFrom(m, err)
	}
	if err != nil {
		out.Note = "the state could not be read back: " + err.Error()
		return out, nil
	}
	out.State, out.Note = commandState(seen.Outcome), seen.Note
	return withReadback(out, seen.After), nil
}

// orders are the switching commands as the meters know them.
var orders = map[billing.CommandKind]devices.Order{
	billing.CommandTrip: devices.OrderTrip, billing.CommandClose: devices.OrderClose, billing.CommandAllowClosing: devices.OrderAllow,
	billing.CommandKeepOn: devices.OrderKeepClosed, billing.CommandRelease: devices.OrderRelease,
}

// LookAtCut reads again whether a cut in doubt has happened. It never sends anything.
func (a *Supply) LookAtCut(ctx context.Context, in CutRef) (CutState, error) {
	defer beat(ctx)()
	c, err := a.Store.Cutoff(ctx, in.CutoffID)
	if err != nil || c.State != store.CutUnknown {
		return cutState(c), err
	}
	_, policy, err := sitePolicy(ctx, a.Store, c.Site)
	if err != nil {
		return CutState{}, err
	}
	cmd, err := a.Store.Command(ctx, c.CommandID)
	if err != nil {
		return CutState{}, err
	}
	seen, err := a.look(ctx, cmd)
	if err != nil {
		return CutState{}, err
	}
	if uncut(seen) {
		sup, err := a.Store.Supply(ctx, c.Account)
		if err != nil {
			return CutState{}, err
		}
		if sup.Wanted == billing.SupplyOn { // a payment took over
			c, err := a.Store.WithdrawCut(ctx, byWorkflow(ctx), c.ID, "supply is on, and is wanted on since the payment")
			return cutState(c), err
		}
	}
	if seen.State == billing.CommandUnknown && seen.Readback == cmd.Readback {
		return cutState(c), nil // nothing new
	}
	return a.settleCut(ctx, in, cmd, seen, terms(policy))
}
