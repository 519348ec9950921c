package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// Delivery writes credit to meters, at most once.
type Delivery struct {
	Store *store.Store
	Pool  *devices.Pool
}

// beatEvery keeps a device call of many seconds (a valve that moves) alive in the engine's eyes.
const beatEvery = 4 * time.Second

// beat heartbeats until the returned function is called.
func beat(ctx context.Context) func() {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return func() { close(done) }
}

// ackPatience is how long, in real time, the read-back of an order waits for the tables to note that it was acknowledged.
const ackPatience = 2 * time.Second

// acknowledged makes the orders of a command note in its row when the meter has acknowledged them. That is no proof and decides nothing, so that tables that
// don't take it keep nothing back.
func acknowledged(ctx context.Context, s *store.Store, id billing.CommandID) context.Context {
	return devices.WithAcknowledged(ctx, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, ackPatience)
		defer cancel()
		if err := s.MarkAcknowledged(ctx, byWorkflow(ctx), id); err != nil {
			activity.GetLogger(ctx).Warn("an acknowledgement was not noted", "command", id, "error", err)
		}
	})
}

// DeliverRecharge brings a recharge that is on its way one step on: it writes the credit, or, when it was written before or that is in
// doubt, only reads what the meter shows. Count and balance are stored before anything is sent; credit moves in the ledger in
// the same transaction that records the proof.
func (a *Delivery) DeliverRecharge(ctx context.Context, in RechargeRef) (Settled, error) {
	defer beat(ctx)()
	by := byWorkflow(ctx)
	task, err := a.Store.BeginCredit(ctx, by, in.RechargeID)
	if err != nil {
		return Settled{}, err
	}
	_, policy, err := sitePolicy(ctx, a.Store, task.Recharge.Site)
	if err != nil {
		return Settled{}, err
	}
	outcome, later, err := a.attempt(ctx, task)
	if err != nil || later {
		return Settled{State: task.Recharge.State, Later: later}, err
	}
	s, err := a.Store.SettleCredit(ctx, by, task.Command.ID, outcome, terms(policy))
	if err == nil {
		failpoint.Hit("credit-recorded-not-acked")
	}
	return settled(s), err
}

// attempt brings an open delivery one step on. later means that nothing was sent and nothing was marked: the meter couldn't be reached, or
// another delivery to it is open.
func (a *Delivery) attempt(ctx context.Context, task store.CreditTask) (out store.CreditOutcome, later bool, err error) {
	if task.Busy || !task.Command.Open() {
		return out, task.Busy, nil
	}
	m, err := commandMeter(ctx, a.Store, task.Command.Meter)
	if err != nil {
		return out, false, err
	}
	switch {
	case task.Command.State != billing.CommandRequested:
		out, _, err = a.verify(ctx, task.Command, m)
		return out, false, err
	case task.Late:
		return overdue(), false, nil
	case devices.HoldsVolume(m.Profile):
		return a.sendVolume(ctx, task, m)
	}
	return a.send(ctx, task, m)
}

// overdue is the outcome of an order that came too late to be sent: a person decides.
func overdue() store.CreditOutcome {
	return store.CreditOutcome{State: billing.CommandRefused, Note: reachedNever + "its deadline has passed", Stop: true}
}

// send writes the credit of an order that has never been sent. later means that the meter couldn't be reached: nothing was marked.
func (a *Delivery) send(ctx context.Context, t store.CreditTask, m devices.Meter) (out store.CreditOutcome, later bool, err error) {
	before, err := a.Pool.Snapshot(ctx, m)
	if lineMoved(err) {
		return out, false, movedFrom(m, err)
	}
	if err != nil {
		activity.GetLogger(ctx).Info("credit not sent, the meter was not read", "cause", t.Command.Cause, "error", err)
		return out, true, nil
	}
	if why := unfit(t, before); why != "" { // what it showed is kept, so that a person's decision begins from it
		return store.CreditOutcome{State: billing.CommandRefused, Note: why, Stop: true, Count: before.PurchaseCount, Remaining: before.RemainingFen, ReadReal: &before.TakenAt}, false, nil
	}
	cmd, fresh, err := a.Store.MarkCreditSending(ctx, byWorkflow(ctx), t.Command.ID, store.CreditBefore{
		Count: *before.PurchaseCount, Remaining: *before.RemainingFen, Registers: before.Registers,
	})
	if billing.CodeOf(err) == billing.CodeStale {
		return overdue(), false, nil
	}
	if err != nil {
		return out, false, err
	}
	if !fresh { // another attempt was faster; it may have sent
		out, _, err = a.verify(ctx, cmd, m)
		return out, false, err
	}
	failpoint.Hit("credit-stored-not-sent")
	result, err := a.Pool.DeliverCredit(acknowledged(ctx, a.Store, cmd.ID), m, order(cmd), nil)
	if result.Sent {
		failpoint.Hit("credit-sent-not-recorded")
	}
	if err != nil { // nothing was sent
		return store.CreditOutcome{State: billing.CommandRefused, Note: "not sent: " + err.Error(), Frames: frames(result.Frames),
			Stop: hopeless(err), Unsent: true}, false, nil
	}
	return creditOutcome(result), false, nil
}

// unfit says why the credit must not be written to what the meter shows; empty when it may.
func unfit(t store.CreditTask, before devices.Snapshot) string {
	switch {
	case before.PurchaseCount == nil || before.RemainingFen == nil:
		return "the meter shows no purchase count or balance"
	case t.LastCount != nil && *before.PurchaseCount != *t.LastCount:
		return "the meter's purchase count is not the one of our last delivery: find out who else wrote to it"
	}
	return ""
}

func order(c store.Command) devices.CreditOrder {
	return devices.CreditOrder{AmountFen: int64(*c.Amount), Count: *c.CountIntended}
}

// verify only reads: it never sends anything. read says that the meter answered. An error means that it wasn't asked: the line has moved.
func (a *Delivery) verify(ctx context.Context, c store.Command, m devices.Meter) (out store.CreditOutcome, read bool, err error) {
	if c.VolumeLitres != nil {
		return a.verifyVolume(ctx, c, m)
	}
	result, err := a.Pool.VerifyCredit(ctx, m, order(c), creditBefore(c))
	if err != nil {
		return unread(m, err)
	}
	return creditOutcome(result), true, nil
}

// unread is the outcome of a look that brought nothing.
func unread(m devices.Meter, err error) (store.CreditOutcome, bool, error) {
	if lineMoved(err) {
		return store.CreditOutcome{}, false, movedFrom(m, err)
	}
	return store.CreditOutcome{State: billing.CommandUnknown, Note: "the meter could not be read: " + err.Error()}, false, nil
}

func creditOutcome(r devices.CreditResult) store.CreditOutcome {
	out := store.CreditOutcome{State: commandState(r.Outcome), Note: r.Note, Frames: frames(r.Frames)}
	if !r.After.TakenAt.IsZero() {
		out.Count, out.Remaining, out.ReadReal = r.After.PurchaseCount, r.After.RemainingFen, &r.After.TakenAt
	}
	return out
}

func commandState(o devices.Outcome) billing.CommandState {
	switch o {
	case devices.OutcomeVerified:
		return billing.CommandVerified
	case devices.OutcomeRefused:
		return billing.CommandRefused
	}
	return billing.CommandUnknown
}

func frames(fs []devices.Frame) json.RawMessage {
	if len(fs) == 0 {
		return nil
	}
	b, err := json.Marshal(fs)
	if err != nil {
		return nil
	}
	return b
}

// commandMeter is a meter as package devices expects it, by its number.
func commandMeter(ctx context.Context, s *store.Store, id billing.MeterID) (devices.Meter, error) {
	m, err := s.Meter(ctx, id)
	if err != nil {
		return devices.Meter{}, err
	}
	g, err := s.Gateway(ctx, m.Gateway)
	return deviceMeter(g, m), err
}

// SettleInDoubt is a person's decision on a credit in doubt: of a recharge, or of what an exchange carries over.
type SettleInDoubt struct {
	RechargeID billing.RechargeID
	ExchangeID billing.ExchangeID `json:",omitempty"` // instead of RechargeID
	By         billing.UserID
	Credited   bool // settle_credited, or settle_not_credited: it is delivered anew
	Reason     string
}

// SettleInDoubt asks the meter first, by reading, and refuses a decision that the meter contradicts; of what never left for it nobody can say that it
// was credited. A meter that doesn't answer leaves the doubt open while it is fitted: a purchase can't be un-issued until the meter is read (rule 37).
func (a *Delivery) SettleInDoubt(ctx context.Context, in SettleInDoubt) (Settled, error) {
	defer beat(ctx)()
	if in.ExchangeID != "" {
		return a.settleCarry(ctx, in)
	}
	r, err := a.Store.Recharge(ctx, in.RechargeID)
	if err != nil {
		return Settled{}, err
	}
	if err := authorize(ctx, a.Store, in.By, auth.DecideException, r.Site); err != nil {
		return Settled{}, err
	}
	_, policy, err := sitePolicy(ctx, a.Store, r.Site)
	if err != nil {
		return Settled{}, err
	}
	var proof store.CreditProof
	if r.State == billing.RechargeInDoubt {
		task, err := a.Store.BeginCredit(ctx, byWorkflow(ctx), r.ID)
		if err != nil {
			return Settled{}, err
		}
		if proof, err = a.agree(ctx, task.Command, in.Credited); err != nil {
			return Settled{}, err
		}
	}
	s, err := a.Store.SettleDoubt(ctx, byPerson(ctx, in.By, in.Reason), in.RechargeID, in.Credited, proof, terms(policy))
	return settled(s), err
}

// settleCarry is SettleInDoubt for credit that an exchange carries over.
func (a *Delivery) settleCarry(ctx context.Context, in SettleInDoubt) (Settled, error) {
	x, err := a.Store.MeterExchange(ctx, in.ExchangeID)
	if err != nil {
		return Settled{}, err
	}
	if err := authorize(ctx, a.Store, in.By, auth.DecideException, x.Site); err != nil {
		return Settled{}, err
	}
	var proof store.CreditProof
	if x.Credit == store.CarryInDoubt {
		task, err := a.Store.BeginCarry(ctx, byWorkflow(ctx), x.ID)
		if err != nil {
			return Settled{}, err
		}
		if proof, err = a.agree(ctx, task.Command, in.Credited); err != nil {
			return Settled{}, err
		}
	}
	s, err := a.Store.SettleCarryDoubt(ctx, byPerson(ctx, in.By, in.Reason), x.ID, in.Credited, proof)
	return Settled{Case: s.Case}, err
}

// agree compares every attempt that may have left with what the meter showed, and refuses a decision that contradicts it. The proof is that of the
// attempt for which most speaks.
func (a *Delivery) agree(ctx context.Context, newest store.Command, credited bool) (store.CreditProof, error) {
	var proof store.CreditProof
	m, err := a.Store.Meter(ctx, newest.Meter)
	if err != nil {
		return proof, err
	}
	attempts, err := a.Store.CreditAttempts(ctx, newest)
	if err != nil {
		return proof, err
	}
	speaks := map[billing.CommandState]int{billing.CommandRefused: 1, billing.CommandUnknown: 2, billing.CommandVerified: 3}
	for _, t := range attempts {
		p, err := a.proofOf(ctx, t, m)
		if err != nil {
			return proof, err
		}
		if speaks[p.Look.State] > speaks[proof.Look.State] {
			proof = p
		}
	}
	arrived, refused := proof.Look.State == billing.CommandVerified, proof.Look.State == billing.CommandRefused
	switch {
	case proof.Attempt == "" && credited:
		return proof, billing.Errorf(billing.CodeConflict, "Nothing was sent to meter %s for this credit: decide that it was not credited, and it is delivered anew.", m.ID)
	case refused && credited && proof.Taken != "":
		return proof, billing.Errorf(billing.CodeConflict, "What meter %s shows is the doing of delivery %s, which counts as credited: decide that this one was not, and it is delivered anew.", m.ID, proof.Taken)
	case arrived && !credited && proof.Later != "":
		return proof, billing.Errorf(billing.CodeConflict, "Before delivery %s was written to meter %s, it showed that the credit had arrived (%s): decide that it was credited.", proof.Later, m.ID, shown(proof.Look))
	case refused && credited && proof.Later != "":
		return proof, billing.Errorf(billing.CodeConflict, "Before delivery %s was written to meter %s, it showed that nothing had been credited before (%s): decide that it was not credited, and it is delivered anew.",
			proof.Later, m.ID, shown(proof.Look))
	case arrived && !credited:
		return proof, billing.Errorf(billing.CodeConflict, "The meter shows that the credit arrived (%s): decide that it was credited.", shown(proof.Look))
	case refused && credited:
		return proof, billing.Errorf(billing.CodeConflict, "The meter shows that nothing was credited (%s): decide that it was not credited, and it is delivered anew.", shown(proof.Look))
	}
	return proof, nil
}

// proofOf says what became of an attempt: by what the next delivery to the meter saw before it wrote, because what the meter shows since is that
// one's doing; without one, by reading the meter.
func (a *Delivery) proofOf(ctx context.Context, t store.CreditAttempt, m store.Meter) (store.CreditProof, error) {
	p := store.CreditProof{Attempt: t.Command.ID}
	var err error
	switch {
	case t.Taken != "":
		p.Taken, p.Look = t.Taken, store.CreditOutcome{State: billing.CommandRefused}
		return p, nil
	case t.Later != nil && t.Later.State != billing.CommandVerified:
		return p, billing.Errorf(billing.CodeBlocked, "Delivery %s to meter %s is not settled yet: settle that one first, what the meter shows may be its doing.", t.Later.ID, m.ID)
	case t.Later != nil:
		p.Later = t.Later.ID
		p.Look, err = a.compare(ctx, t.Command, *t.Later, m)
		return p, err
	}
	dm, err := commandMeter(ctx, a.Store, m.ID)
	if err != nil {
		return p, err
	}
	var read bool
	if p.Look, read, err = a.verify(ctx, t.Command, dm); err == nil && !read && m.State == "fitted" {
		err = billing.Errorf(billing.CodeBlocked, "Meter %s doesn't answer, so nobody can know whether it was credited: decide when it has been read or exchanged.", m.ID)
	}
	return p, err
}

// compare is verify by the look at the meter with which a later delivery began.
func (a *Delivery) compare(ctx context.Context, c, later store.Command, m store.Meter) (store.CreditOutcome, error) {
	switch {
	case c.VolumeTarget != nil && later.VolumeTarget != nil:
		o, err := a.volumeOrder(ctx, c.Meter, *c.VolumeLitres)
		out := volumeOutcome(devices.CompareVolume(o, volumeBefore(c), volumeBefore(later)))
		out.ReadReal = nil // nobody kept the real instant of that look
		return out, err
	case c.CountIntended != nil && later.CountIntended != nil:
		after := creditBefore(later)
		after.Ratio = int64(m.Ratio)
		r, err := devices.CompareCredit(m.Profile, order(c), creditBefore(c), after)
		out := creditOutcome(r)
		out.Count, out.Remaining = later.CountBefore, later.RemainingBefore
		return out, err
	}
	return store.CreditOutcome{State: billing.CommandUnknown}, nil
}

// creditBefore is what the meter showed before a purchase was sent, and volumeBefore before a volume was.
func creditBefore(c store.Command) devices.Snapshot {
	return devices.Snapshot{PurchaseCount: c.CountBefore, RemainingFen: c.RemainingBefore, Registers: c.RegistersBefore}
}

func volumeBefore(c store.Command) devices.Volume {
	return devices.Volume{Remaining: *c.VolumeBefore, Total: c.RegistersBefore[0]}
}

// shown is what a meter's answer rests on, in words.
func shown(o store.CreditOutcome) string {
	if o.Volume != nil {
		return fmt.Sprintf("%d litres left", o.Volume.Remaining)
	}
	return fmt.Sprintf("purchase count %d", *o.Count)
}
