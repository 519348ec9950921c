package store

import (
	"context"

	"github.com/meterflow/meterflow/internal/billing"
)

// BeginCarry gives the open delivery of what an exchanged meter still held, and makes the next attempt when there is none. It goes to the
// meter that measures the account now. An exchange whose credit has arrived gives its newest command as it is.
func (s *Store) BeginCarry(ctx context.Context, by By, id billing.ExchangeID) (CreditTask, error) {
	var t CreditTask
	err := s.Change(ctx, by, func(tx *Tx) error {
		_, x, err := lockExchange(ctx, tx, id)
		if err != nil {
			return err
		}
		if t.Exchange = x; x.Credit == CarryNone || x.Credit == CarryWithNext {
			return billing.Errorf(billing.CodeClosed, "Exchange %s carries no credit over: there is nothing to deliver.", id)
		}
		meter, err := fittedMeter(ctx, tx, x.Account)
		if err != nil {
			return err
		}
		return t.next(ctx, tx, x.Credit == CarryDelivering, x.delivery(meter))
	})
	return t, err
}

// CarrySettled is what a delivery of carried-over credit came to.
type CarrySettled struct {
	Exchange MeterExchange
	Command  Command
	Case     billing.CaseID // the doubt that was opened or settled
}

// SettleCarry records the outcome of a delivery of carried-over credit, and in the same transaction what follows: credited, once and for
// all; delivered again; or in doubt with a case. No money is posted: it was the customer's all the time. A delivery that is settled stays
// settled.
func (s *Store) SettleCarry(ctx context.Context, by By, id billing.CommandID, o CreditOutcome, terms Terms) (CarrySettled, error) {
	var out CarrySettled
	err := s.Change(ctx, by, func(tx *Tx) error {
		exchange, err := creditOf(ctx, tx, id)
		if err != nil {
			return err
		}
		_, x, err := lockExchange(ctx, tx, billing.ExchangeID(exchange))
		if err != nil {
			return err
		}
		c, err := lockCommand(ctx, tx, id)
		if err != nil {
			return err
		}
		out.Exchange, out.Command = x, c
		if !c.Open() {
			return nil
		}
		if out.Command, err = recordCredit(ctx, tx, c, o); err != nil {
			return err
		}
		return followCarry(ctx, tx, x, o, terms, &out)
	})
	return out, err
}

func followCarry(ctx context.Context, tx *Tx, x MeterExchange, o CreditOutcome, terms Terms, out *CarrySettled) error {
	c := out.Command
	var err error
	event, decision, why := "", "", ""
	switch {
	case o.State == billing.CommandVerified:
		x.Credit, event, decision, why = CarryCredited, "credited", "settle_credited", "the meter's read-back proves it"
	case o.State == billing.CommandRefused && !o.Stop && c.deliveries() < maxDeliveries:
		x.Credit, event, decision, why = CarryDelivering, "delivery_refused", "settle_not_credited", "the meter's read-back proves that nothing was credited"
	default:
		if x.Credit != CarryInDoubt {
			x.Credit = CarryInDoubt
			if err := saveExchange(ctx, tx, &x, "in_doubt", []string{string(c.ID)}, map[string]any{"note": o.Note}); err != nil {
				return err
			}
		}
		out.Exchange = x
		out.Case, _, err = OpenCase(ctx, tx, NewCase{Site: x.Site, Kind: KindCreditInDoubt, Cause: x.cause(), Meter: &c.Meter, Account: &x.Account, Command: &c.ID,
			DueAfter: terms.CaseDue, Refs: []string{string(x.ID)}})
		return err
	}
	if out.Case, err = settleCase(ctx, tx, x.cause(), decision, why); err != nil {
		return err
	}
	err = saveExchange(ctx, tx, &x, event, []string{string(c.ID)}, map[string]any{"amount_fen": c.Amount, "litres": c.VolumeLitres, "note": o.Note})
	out.Exchange = x
	return err
}

// SettleCarryDoubt ends the doubt about carried-over credit by a person's decision, when the meter's own showing doesn't contradict it (the
// activity asks the meter first: proof is what it found). What was not credited is delivered anew. The case ends with it.
func (s *Store) SettleCarryDoubt(ctx context.Context, by By, id billing.ExchangeID, credited bool, proof CreditProof) (CarrySettled, error) {
	var out CarrySettled
	err := s.Change(ctx, by, func(tx *Tx) error {
		_, x, err := lockExchange(ctx, tx, id)
		if err != nil {
			return err
		}
		if out.Exchange = x; x.Credit == CarryCredited && credited {
			return nil
		}
		if x.Credit != CarryInDoubt {
			return billing.Errorf(billing.CodeClosed, "The credit that exchange %s carries over is not in doubt any more: open the exchange's timeline to see what became of it.", id)
		}
		if err := settleByPerson(ctx, tx, x.cause(), credited, proof); err != nil {
			return err
		}
		decision := "settle_not_credited"
		if x.Credit = CarryDelivering; credited {
			x.Credit, decision = CarryCredited, "settle_credited"
		}
		if out.Case, err = settleCase(ctx, tx, x.cause(), decision, "the meter's own showing doesn't contradict it"); err != nil {
			return err
		}
		err = saveExchange(ctx, tx, &x, decision, nil, nil)
		out.Exchange = x
		return err
	})
	return out, err
}

// BeginHold marks the order that holds the new meter on, as the old one was held. Sending it twice is harmless. Done means that nothing is to
// be ordered any more; a hold whose reason has ended meanwhile is dropped.
func (s *Store) BeginHold(ctx context.Context, by By, id billing.ExchangeID) (GuardStep, error) {
	var out GuardStep
	err := s.Change(ctx, by, func(tx *Tx) error {
		sup, x, err := lockExchange(ctx, tx, id)
		if err != nil {
			return err
		}
		if x.Hold != HoldWanted {
			out.Done = true
			return nil
		}
		needed, err := stillHeld(ctx, tx, sup)
		if err != nil {
			return err
		}
		if sup.Guarded || !needed {
			x.Hold, out.Done = HoldHeld, true
			if !sup.Guarded {
				x.Hold = HoldDropped
			}
			return saveExchange(ctx, tx, &x, "hold_"+x.Hold, nil, nil)
		}
		return out.order(ctx, tx, Command{Site: x.Site, Account: x.Account, Kind: billing.CommandKeepOn, Cause: x.cause() + "/hold"})
	})
	return out, err
}

// stillHeld says whether the reason still stands for which a meter was held on: a person's order, or an arrears case that is open.
func stillHeld(ctx context.Context, tx *Tx, sup Supply) (held bool, err error) {
	if sup.Wanted != billing.SupplyOn {
		return false, nil
	}
	if sup.HeldBy != "" {
		return true, nil
	}
	if held, err = needsHold(ctx, tx, sup.Account); err != nil || held {
		return held, err
	}
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM reminders WHERE account_id = $1 AND state IN `+openReminderStates+`)`, sup.Account).Scan(&held)
	return held, err
}
