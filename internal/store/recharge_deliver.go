package store

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// CreditTask is one delivery of credit to a meter, of a recharge or of what an exchanged meter still held: the command, and what the
// meter should show before it.
type CreditTask struct {
	Recharge Recharge
	Exchange MeterExchange
	Command  Command
	// Busy means that another delivery to the meter is open: it takes one at a time, so there is no command yet.
	Busy bool
	// Late means that its deadline has passed before it was sent: a person decides.
	Late bool
	// LastCount is the purchase count that the meter showed when we last settled a delivery to it, proved or refused; nil before the first.
	LastCount *int64
}

// deliveryDeadline bounds a delivery order in business time. The money is received, so it is long; past it a person decides, who may have it delivered anew.
const deliveryDeadline = 7 * 24 * time.Hour

// maxDeliveries is how often a delivery is repeated by itself after the meter showed that nothing was credited.
const maxDeliveries = 3

// BeginCredit gives the open delivery of a recharge, and makes the first or next attempt when there is none. A recharge that isn't
// being delivered gives its newest command as it is.
func (s *Store) BeginCredit(ctx context.Context, by By, id billing.RechargeID) (CreditTask, error) {
	var t CreditTask
	err := s.Change(ctx, by, func(tx *Tx) error {
		sup, r, err := lockPayment(ctx, tx, id)
		if err != nil {
			return err
		}
		t.Recharge = r
		err = t.next(ctx, tx, r.State == billing.RechargeDelivering, Command{Site: r.Site, Account: sup.Account, Meter: r.Meter, Cause: "recharge/" + string(id), Amount: &r.Amount})
		if err == nil && t.Command.ID == "" && !t.Busy {
			return billing.Errorf(billing.CodeClosed, "Recharge %s is %s: there is nothing to deliver.", id, r.State)
		}
		return err
	})
	return t, err
}

// next takes the newest delivery of a cause, or makes the first or next attempt while one is wanted and none is open.
func (t *CreditTask) next(ctx context.Context, tx *Tx, wanted bool, c Command) error {
	last, err := newestCommandOf(ctx, tx, c.Cause)
	if err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, `SELECT (SELECT count_after FROM commands WHERE meter_id = $1 AND kind = 'credit' AND count_after IS NOT NULL
				AND state IN ('verified', 'refused') ORDER BY settled_at DESC, length(id) DESC, id DESC LIMIT 1),
			EXISTS (SELECT 1 FROM commands WHERE meter_id = $1 AND kind = 'credit' AND state IN ('requested', 'sending', 'acknowledged', 'unknown'))`,
		c.Meter).Scan(&t.LastCount, &t.Busy); err != nil {
		return err
	}
	if last != nil && (last.Open() || !wanted) {
		t.Command, t.Busy, t.Late = *last, false, last.State == billing.CommandRequested && last.late(tx.Now)
		return nil
	}
	if !wanted || t.Busy {
		return nil
	}
	if c.Cause, err = nextCause(ctx, tx, c.Cause); err != nil {
		return err
	}
	c.Kind, c.State, c.Deadline = billing.CommandCredit, billing.CommandRequested, goodFor(tx, deliveryDeadline)
	t.Command, err = insertCommand(ctx, tx, c, "requested")
	return err
}

// CreditBefore is what the meter showed before the purchase was sent.
type CreditBefore struct {
	Count     int64
	Remaining int64 // fen
	Registers []int64
}

// MarkCreditSending stores count and balance before anything is sent: from here on only reading tells what happened.
// A command that is past it comes back as it is, with fresh false: it must not be sent. billing.CodeStale comes past its deadline.
func (s *Store) MarkCreditSending(ctx context.Context, by By, id billing.CommandID, b CreditBefore) (c Command, fresh bool, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		if c, err = lockCommand(ctx, tx, id); err != nil {
			return err
		}
		if c.State != billing.CommandRequested {
			return nil
		}
		if c.late(tx.Now) {
			return tooLate(c)
		}
		fresh = true
		intended := b.Count + 1
		c.CountBefore, c.RemainingBefore, c.RegistersBefore, c.CountIntended = &b.Count, &b.Remaining, b.Registers, &intended
		c.State, c.SentAt, c.Attempts = billing.CommandSending, &tx.Now, c.Attempts+1
		return saveCommand(ctx, tx, billing.CommandRequested, c, "sending")
	})
	return c, fresh, err
}

func tooLate(c Command) error {
	return billing.Errorf(billing.CodeStale, "command %s is too old: nothing is sent", c.ID)
}

// CreditOutcome is what the meter showed after a delivery.
type CreditOutcome struct {
	State     billing.CommandState // verified, refused (nothing was credited) or unknown
	Count     *int64
	Remaining *int64 // fen
	Volume    *Volume
	ReadReal  *time.Time
	Note      string
	Frames    json.RawMessage
	// Stop keeps a refused delivery from being repeated by itself: the meter's count is not ours.
	Stop bool
	// Unsent says that the delivery was marked and yet never left: it claims no purchase and no volume.
	Unsent bool
}

// SettleCredit records the outcome of a delivery, and in the same transaction what follows for the recharge: credited, once and for
// all; delivered again; or in doubt with a case. A delivery that is settled stays settled.
func (s *Store) SettleCredit(ctx context.Context, by By, id billing.CommandID, o CreditOutcome, terms Terms) (Settlement, error) {
	var out Settlement
	err := s.Change(ctx, by, func(tx *Tx) error {
		recharge, err := creditOf(ctx, tx, id)
		if err != nil {
			return err
		}
		sup, r, err := lockPayment(ctx, tx, billing.RechargeID(recharge))
		if err != nil {
			return err
		}
		c, err := lockCommand(ctx, tx, id)
		if err != nil {
			return err
		}
		out.Recharge, out.Command = r, c
		if !c.Open() {
			return settledBefore(ctx, tx, r, &out)
		}
		if out.Command, err = recordCredit(ctx, tx, c, o); err != nil {
			return err
		}
		return followCredit(ctx, tx, sup, r, o, terms, &out)
	})
	return out, err
}

// creditOf is the number of the recharge or exchange whose credit a command delivers: it is locked before the command is.
func creditOf(ctx context.Context, tx *Tx, id billing.CommandID) (number string, err error) {
	err = tx.QueryRow(ctx, `SELECT split_part(cause, '/', 2) FROM commands WHERE id = $1 AND kind = 'credit'`, id).Scan(&number)
	return number, err
}

func recordCredit(ctx context.Context, tx *Tx, c Command, o CreditOutcome) (Command, error) {
	was := c.State
	c.State, c.Error = o.State, o.Note
	c.saw(o)
	if o.Unsent {
		c.CountIntended, c.VolumeTarget = nil, nil
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

// saw keeps what the meter showed.
func (c *Command) saw(o CreditOutcome) {
	if o.Count != nil {
		c.CountAfter, c.RemainingAfter, c.ReadbackReal = o.Count, o.Remaining, o.ReadReal
	}
	if o.Volume != nil {
		c.VolumeAfter, c.VolumeTotalAfter, c.ReadbackReal = &o.Volume.Remaining, &o.Volume.Total, o.ReadReal
	}
}

func followCredit(ctx context.Context, tx *Tx, sup Supply, r Recharge, o CreditOutcome, terms Terms, out *Settlement) error {
	c := out.Command
	var err error
	switch {
	case o.State == billing.CommandVerified:
		if out.Case, err = settleCase(ctx, tx, "recharge/"+string(r.ID), "settle_credited", "the meter's read-back proves it"); err != nil {
			return err
		}
		return settleRecharge(ctx, tx, sup, r, terms, out)
	case o.State == billing.CommandRefused && !o.Stop && c.deliveries() < maxDeliveries:
		if out.Case, err = settleCase(ctx, tx, "recharge/"+string(r.ID), "settle_not_credited", "the meter's read-back proves that nothing was credited"); err != nil {
			return err
		}
		err = moveRecharge(ctx, tx, &r, billing.RechargeDelivering, "delivery_refused", []string{string(c.ID)}, map[string]any{"note": o.Note})
		out.Recharge = r
		return err
	}
	if r.State != billing.RechargeInDoubt {
		if err := moveRecharge(ctx, tx, &r, billing.RechargeInDoubt, "in_doubt", []string{string(c.ID)}, map[string]any{"note": o.Note}); err != nil {
			return err
		}
	}
	out.Recharge = r
	out.Case, _, err = OpenCase(ctx, tx, NewCase{Site: r.Site, Kind: KindCreditInDoubt, Cause: "recharge/" + string(r.ID), Meter: &r.Meter, Account: &r.Account,
		Recharge: &r.ID, Command: &c.ID, DueAfter: terms.CaseDue})
	return err
}

// deliveries is the number of this attempt, from its cause "recharge/<no>/<n>" or "exchange/<no>/<n>".
func (c Command) deliveries() int {
	n := 1
	if parts := strings.Split(c.Cause, "/"); len(parts) > 2 {
		n, _ = strconv.Atoi(parts[2])
	}
	return n
}

// SettleDoubt ends a doubt by a person's decision, when the meter's own showing doesn't contradict it (the activity asks the meter
// first: proof is what it found). credited moves the money to the customer; otherwise it is delivered anew under a fresh count.
// The case ends with it.
func (s *Store) SettleDoubt(ctx context.Context, by By, id billing.RechargeID, credited bool, proof CreditProof, terms Terms) (Settlement, error) {
	var out Settlement
	err := s.Change(ctx, by, func(tx *Tx) error {
		sup, r, err := lockPayment(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.State == billing.RechargeCredited && credited {
			return settledBefore(ctx, tx, r, &out)
		}
		if r.State != billing.RechargeInDoubt {
			return billing.Errorf(billing.CodeClosed, "Recharge %s is not in doubt any more: it is %s.", id, r.State)
		}
		if err := settleByPerson(ctx, tx, "recharge/"+string(id), credited, proof); err != nil {
			return err
		}
		decision := map[bool]string{true: "settle_credited", false: "settle_not_credited"}[credited]
		if out.Case, err = settleCase(ctx, tx, "recharge/"+string(id), decision, "the meter's own showing doesn't contradict it"); err != nil {
			return err
		}
		if credited {
			return settleRecharge(ctx, tx, sup, r, terms, &out)
		}
		if r.Meter, err = fittedMeter(ctx, tx, r.Account); err != nil {
			return err
		}
		err = moveRecharge(ctx, tx, &r, billing.RechargeDelivering, "settled_not_credited", nil, nil)
		out.Recharge = r
		return err
	})
	return out, err
}

// OpenDeliveries lists the recharges of a site that are on their way or in doubt, oldest first.
func (s *Store) OpenDeliveries(ctx context.Context, site billing.SiteID) ([]billing.RechargeID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT id FROM recharges WHERE site_id = $1 AND state IN ('approved', 'delivering', 'in_doubt') ORDER BY entered_at`, site)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.RechargeID])
	return ids, translate(err)
}
