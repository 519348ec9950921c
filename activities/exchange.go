package activities

import (
	"context"
	"strings"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// ExchangeForm is the closing reading of the old meter and the new meter's number, serial and opening. What it leaves out is as the
// old meter had it.
type ExchangeForm struct {
	Closing  billing.Registers
	NewMeter billing.MeterID
	Serial   string
	Opening  billing.Registers
	// Remaining is the credit that the old meter's display shows, where the meter holds it; without it, what was read last counts.
	Remaining *billing.Money `json:",omitempty"`
	// RemainingLitres is the volume that it shows, where it holds one; without it, what was read last less what was counted since.
	RemainingLitres *int64 `json:",omitempty"`
	Unit            int    // 0: the old meter's
	Profile         string // empty: the old meter's
	Digits          int
	Ratio           int
	Capacity        int64 // raw units per hour
}

func (f ExchangeForm) meter(old store.Meter) store.Meter {
	m := old
	m.ID, m.Serial = f.NewMeter, f.Serial
	set(&m.Unit, f.Unit)
	set(&m.Profile, f.Profile)
	set(&m.Digits, f.Digits)
	set(&m.Ratio, f.Ratio)
	set(&m.CapacityPerHour, f.Capacity)
	return m
}

func set[T comparable](field *T, value T) {
	var none T
	if value != none {
		*field = value
	}
}

// exchange closes the old meter and opens the new one at this instant; the old meter's open members lie evenly before its closing.
func (w *weighing) exchange(ctx context.Context, form *ExchangeForm, nonce string) ([]store.MemberResult, *store.Exchange, error) {
	if form == nil || form.NewMeter == "" || form.Serial == "" {
		return nil, nil, billing.Errorf(billing.CodeInvalidInput, "an exchange needs the closing reading of the old meter and the new meter's number, serial and opening reading")
	}
	if len(w.meters) != 1 {
		return nil, nil, billing.Errorf(billing.CodeInvalidInput, "an exchange is decided for one meter: this case has %d", len(w.meters))
	}
	old := w.meter[w.meters[0]]
	if err := w.believable(old.ID, w.now, form.Closing); err != nil {
		return nil, nil, err
	}
	e := &store.Exchange{Old: old.ID, Closing: form.Closing, New: form.meter(old), Opening: form.Opening, At: w.now, By: w.in.By, Reason: strings.TrimSpace(w.in.Reason), Nonce: nonce}
	if err := fits(old, e.New, form.Opening); err != nil {
		return nil, nil, err
	}
	if err := w.remaining(ctx, form, e); err != nil {
		return nil, nil, err
	}
	results, err := w.fill(old.ID, w.now, form.Closing, billing.QualityEstimated, "exchanged")
	return results, e, err
}

// fits refuses a new meter that can't take the old one's place by its kind.
func fits(old, fresh store.Meter, opening billing.Registers) error {
	if err := opening.Validate(fresh.Service); err != nil {
		return err
	}
	if fresh.Profile == old.Profile {
		return nil
	}
	p, err := typedMap(fresh.Profile)
	if err != nil {
		return err
	}
	if serviceOfMap(p) != old.Service || p.HoldsVolume() != devices.HoldsVolume(old.Profile) || p.CircuitUnits != 0 != (old.Box != "") || old.Box != "" && p.CircuitUnits != old.Units {
		return billing.Errorf(billing.CodeInvalidInput, "a meter with the register map %s can't take the place of meter %s: both must measure the same and hold credit in the same way", fresh.Profile, old.ID)
	}
	return nil
}

// remaining says what the old meter still holds, where it holds the money: what a person read off its display, or what it showed last. A
// meter can't hold more than it showed and was sold since, so that no typing error becomes credit.
func (w *weighing) remaining(ctx context.Context, form *ExchangeForm, e *store.Exchange) error {
	conns, err := w.Store.Connections(ctx, []billing.MeterID{e.Old})
	if err != nil {
		return err
	}
	conn, ok := conns[e.Old]
	held := ok && conn.CreditMode == billing.CreditMeter
	volume := devices.HoldsVolume(e.New.Profile)
	switch {
	case form.Remaining != nil && (!held || volume):
		return billing.Errorf(billing.CodeInvalidInput, "meter %s holds no money of its customer: leave its remaining credit empty", e.Old)
	case form.RemainingLitres != nil && (!held || !volume):
		return billing.Errorf(billing.CodeInvalidInput, "meter %s holds no water of its customer: leave its remaining volume empty", e.Old)
	case !held:
		return nil
	case volume:
		return w.remainingVolume(ctx, conn.Account, form, e)
	}
	seen, err := w.Store.CreditSeen(ctx, e.Old)
	if err != nil {
		return err
	}
	switch {
	case form.Remaining != nil && *form.Remaining > seen.Most():
		return billing.Errorf(billing.CodeInvalidInput, "meter %s can't hold %s yuan: by what it showed last and was credited since it is %s at most; read its display again", e.Old, form.Remaining.Grouped(), seen.Most().Grouped())
	case form.Remaining != nil:
		e.Remaining, e.RemainingFrom = form.Remaining, store.RemainingFromDisplay
	case seen.Fen == nil:
		return billing.Errorf(billing.CodeInvalidInput, "nobody has read what credit meter %s holds: type what its display shows, 0.00 when it shows nothing", e.Old)
	default:
		e.Remaining, e.RemainingFrom = seen.Fen, store.RemainingFromReading
	}
	return nil
}

// remainingVolume is remaining of a meter that holds a volume. What is left and what was counted come out of one frame, so that without a
// display the last look, less what the closing register has counted since, is what was left at the end. What that can't be is asked for.
func (w *weighing) remainingVolume(ctx context.Context, account billing.AccountID, form *ExchangeForm, e *store.Exchange) error {
	seen, err := w.Store.VolumeSeen(ctx, e.Old)
	if err != nil {
		return err
	}
	typed := form.RemainingLitres
	switch {
	case typed != nil:
		most, err := w.mostVolume(ctx, account, seen)
		if err != nil {
			return err
		}
		if *typed > most {
			return billing.Errorf(billing.CodeInvalidInput, "meter %s can't hold %d litres: by what it showed last and was credited since it is %d at most; read its display again", e.Old, *typed, most)
		}
		e.RemainingLitres, e.RemainingFrom = typed, store.RemainingFromDisplay
	case seen.Litres == nil:
		return billing.Errorf(billing.CodeInvalidInput, "nobody has read what volume meter %s holds: type what its display shows, 0 when it shows nothing", e.Old)
	default:
		left, ok := leftAt(seen, form.Closing, w.meter[e.Old].Digits)
		if !ok {
			return billing.Errorf(billing.CodeInvalidInput, "what meter %s still holds can't be told from its last reading (%d litres left) and its closing register: type what its display shows, 0 when it shows nothing", e.Old, *seen.Litres)
		}
		e.RemainingLitres, e.RemainingFrom = &left, store.RemainingFromReading
	}
	e.WithNext = *e.RemainingLitres > 0 && *e.RemainingLitres < devices.LeastVolume
	return nil
}

// leftAt is what a meter had left when it showed its closing registers, by the last look at it. A volume that was used up on the way says
// that the look or the closing is not what it seems.
func leftAt(seen store.VolumeSeen, closing billing.Registers, digits int) (litres int64, ok bool) {
	if seen.Litres == nil || seen.Total == nil || len(closing) == 0 {
		return 0, false
	}
	used, err := billing.Usage(billing.Registers{*seen.Total}, closing[:1], digits)
	if err != nil {
		return 0, false
	}
	left := *seen.Litres - used.Total()
	return left, left >= 0 || *seen.Litres < 0
}

// mostVolume is what a meter can hold at most, so that no typing error becomes water: what it showed last and was credited since; when
// it was never read, what the balance is worth.
func (w *weighing) mostVolume(ctx context.Context, account billing.AccountID, seen store.VolumeSeen) (int64, error) {
	if seen.Litres != nil {
		return *seen.Litres + seen.Since, nil
	}
	price, err := volumePrice(ctx, w.Store, account)
	if err != nil {
		return 0, err
	}
	return store.LitresFor(0, 0, max(seen.Balance, 0), price) + seen.Since, nil
}

// OrderExchange is a person's order of a planned exchange: of a meter whose readings nothing doubts.
type OrderExchange struct {
	Meter  billing.MeterID
	By     billing.UserID
	Reason string
	Form   ExchangeForm
	Nonce  string // of the form, so that a double click is one exchange
}

// planned judges an order as it stands now; it changes nothing.
func (a *Review) planned(ctx context.Context, in OrderExchange) (*weighing, store.Exchange, error) {
	var e store.Exchange
	m, err := a.Store.Meter(ctx, in.Meter)
	if err != nil {
		return nil, e, err
	}
	if err := authorize(ctx, a.Store, in.By, auth.ExchangeMeter, m.Site); err != nil {
		return nil, e, err
	}
	switch {
	case m.State != "fitted":
		return nil, e, billing.Errorf(billing.CodeClosed, "meter %s is not fitted any more: open the meter that took its place", m.ID)
	case strings.TrimSpace(in.Reason) == "":
		return nil, e, billing.Errorf(billing.CodeInvalidInput, "an exchange needs a reason: say why the meter is exchanged")
	}
	doubt, err := a.Store.OpenDoubtOf(ctx, m.ID)
	if err != nil {
		return nil, e, err
	}
	if doubt != "" {
		return nil, e, billing.Errorf(billing.CodeBlocked, "case %s waits for a decision about a reading of meter %s: decide it first, an exchange may be the decision", doubt, m.ID)
	}
	ids := []billing.MeterID{m.ID}
	w, err := a.newWeighing(ctx, m.Site, ids, Decision{By: in.By, Reason: in.Reason})
	if err != nil {
		return nil, e, err
	}
	if w.before, err = a.Store.LastPoints(ctx, ids, w.now); err != nil {
		return nil, e, err
	}
	if w.trail, err = a.Store.Trails(ctx, ids, w.now); err != nil {
		return nil, e, err
	}
	if w.rules, err = loadRules(ctx, a.Store, w.policy, m.Site, w.now); err != nil {
		return nil, e, err
	}
	_, order, err := w.exchange(ctx, &in.Form, in.Nonce)
	if err != nil {
		return nil, e, err
	}
	return w, *order, a.Store.CheckExchange(ctx, *order)
}

// ExchangePreview is what an exchange would do.
type ExchangePreview struct {
	// Last is the point that the closing reading is counted from, Used the use up to the closing, raw units after the ratio.
	Last store.Point
	Used int64
	// Spread counts the estimates that the closing reading spreads again.
	Spread int
	// Remaining is what goes on to the new meter when it is above zero; nil where the meter holds no money. Balance is the shadow ledger's: it
	// stays as it is.
	Remaining *billing.Money
	// RemainingLitres is the same of a meter that holds a volume; WithNext says that the account's next recharge takes them along. Reckoned
	// is what the last look and the closing register say that it holds; nil when they can't.
	RemainingLitres, Reckoned *int64
	WithNext                  bool
	RemainingFrom             string
	Balance                   billing.Money
	Hold                      bool // the new meter is held on, as the old one is
	Cut                       bool // supply is cut, or that is in doubt: nothing cuts at the new meter
}

// PreviewExchange works out what a planned exchange would do, without the engine: it only reads.
func (a *Review) PreviewExchange(ctx context.Context, in OrderExchange) (ExchangePreview, error) {
	var p ExchangePreview
	w, e, err := a.planned(ctx, in)
	if err != nil {
		return p, err
	}
	last, _, ok := w.ground(e.Old, e.Closing)
	if !ok {
		last = w.before[e.Old]
	}
	used, err := billing.Usage(last.Registers, e.Closing, w.meter[e.Old].Digits)
	if err != nil {
		return p, err
	}
	conns, err := a.Store.Connections(ctx, []billing.MeterID{e.Old})
	if err != nil {
		return p, err
	}
	conn, billed := conns[e.Old]
	p = ExchangePreview{Last: last, Used: used.Total() * int64(w.meter[e.Old].Ratio), Remaining: e.Remaining, RemainingLitres: e.RemainingLitres, WithNext: e.WithNext,
		RemainingFrom: e.RemainingFrom, Balance: conn.BalanceFen}
	if e.RemainingLitres != nil {
		seen, err := a.Store.VolumeSeen(ctx, e.Old)
		if err != nil {
			return p, err
		}
		if left, ok := leftAt(seen, e.Closing, w.meter[e.Old].Digits); ok {
			p.Reckoned = &left
		}
	}
	for _, t := range w.trueUps() {
		p.Spread += len(t.Readings)
	}
	if billed {
		sup, err := a.Store.Supply(ctx, conn.Account)
		if err != nil {
			return p, err
		}
		p.Cut = sup.State != billing.SupplyOn || sup.Wanted != billing.SupplyOn
		p.Hold = sup.Wanted == billing.SupplyOn && (sup.Guarded || sup.HeldBy != "")
	}
	return p, nil
}

// ExchangeRef names an exchange that was done, or carries the order of a planned one.
type ExchangeRef struct {
	ExchangeID billing.ExchangeID
	Order      *OrderExchange `json:",omitempty"`
}

// ExchangeState is where the credit and the hold of an exchanged meter stand.
type ExchangeState struct {
	ExchangeID billing.ExchangeID
	Account    billing.AccountID
	State      string
	Credit     string
	Hold       string
	Case       billing.CaseID // opened or settled
	Later      bool           // the meter couldn't be reached, or another order to it is open
}

// Ended says that nothing is under way any more.
func (s ExchangeState) Ended() bool { return s.State == store.ExchangeDone }

// Carrying says that credit is still to be brought to the new meter.
func (s ExchangeState) Carrying() bool {
	return s.Credit == store.CarryDelivering || s.Credit == store.CarryInDoubt
}

// InDoubt says that nobody knows whether the credit has arrived.
func (s ExchangeState) InDoubt() bool { return s.Credit == store.CarryInDoubt }

// Holding says that the new meter is still to be held on.
func (s ExchangeState) Holding() bool { return s.Hold == store.HoldWanted }

func exchangeState(x store.MeterExchange) ExchangeState {
	return ExchangeState{ExchangeID: x.ID, Account: x.Account, State: x.State, Credit: x.Credit, Hold: x.Hold}
}

// LoadExchange reads an exchange.
func (a *Review) LoadExchange(ctx context.Context, in ExchangeRef) (ExchangeState, error) {
	x, err := a.Store.MeterExchange(ctx, in.ExchangeID)
	return exchangeState(x), err
}

// ExchangeMeter carries out a planned exchange, once per order. The person's authority and the whole order are judged again here.
func (a *Review) ExchangeMeter(ctx context.Context, in OrderExchange) (ExchangeState, error) {
	if in.Nonce == "" {
		in.Nonce = activity.GetInfo(ctx).WorkflowExecution.RunID
	}
	in.Nonce = string(in.Meter) + "/" + in.Nonce
	done, err := a.Store.ExchangeOrdered(ctx, in.Nonce)
	if err != nil {
		return ExchangeState{}, err
	}
	if done != "" { // our own order, whose answer was lost
		return a.LoadExchange(ctx, ExchangeRef{ExchangeID: done})
	}
	w, e, err := a.planned(ctx, in)
	if err != nil {
		return ExchangeState{}, err
	}
	x, err := a.Store.ExchangeMeter(ctx, byPerson(ctx, in.By, e.Reason), e, w.trueUps())
	return exchangeState(x), err
}

// CarryCredit brings what an exchanged meter still held one step on to the new meter, by the same steps as a recharge: it is written
// with the next purchase count of the meter, or by read, set, read where it holds a volume; when it was written before or that is in doubt,
// it is only read. No money is posted: it was the customer's all the time.
func (a *Delivery) CarryCredit(ctx context.Context, in ExchangeRef) (ExchangeState, error) {
	defer beat(ctx)()
	by := byWorkflow(ctx)
	task, err := a.Store.BeginCarry(ctx, by, in.ExchangeID)
	if err != nil {
		return ExchangeState{}, err
	}
	_, policy, err := sitePolicy(ctx, a.Store, task.Exchange.Site)
	if err != nil {
		return ExchangeState{}, err
	}
	outcome, later, err := a.attempt(ctx, task)
	if err != nil || later {
		state := exchangeState(task.Exchange)
		state.Later = later
		return state, err
	}
	s, err := a.Store.SettleCarry(ctx, by, task.Command.ID, outcome, terms(policy))
	if err == nil {
		failpoint.Hit("credit-recorded-not-acked")
	}
	state := exchangeState(s.Exchange)
	state.Case = s.Case
	return state, err
}

// HoldExchanged orders the hold of an exchanged meter anew, at the meter that took its place. Sending it twice is harmless.
func (a *Supply) HoldExchanged(ctx context.Context, in ExchangeRef) (ExchangeState, error) {
	defer beat(ctx)()
	x, err := a.Store.MeterExchange(ctx, in.ExchangeID)
	if err != nil {
		return ExchangeState{}, err
	}
	site, policy, err := sitePolicy(ctx, a.Store, x.Site)
	if err != nil {
		return ExchangeState{}, err
	}
	for {
		step, err := a.Store.BeginHold(ctx, byWorkflow(ctx), x.ID)
		if err != nil {
			return ExchangeState{}, err
		}
		if step.Send {
			failpoint.Hit("switch-marked-not-sent")
			s, err := a.order(ctx, step.Command, site, policy)
			if err != nil {
				return ExchangeState{}, err
			}
			if s.Command.State == billing.CommandVerified {
				continue // held: the next look says so
			}
		}
		x, err = a.Store.MeterExchange(ctx, x.ID)
		state := exchangeState(x)
		state.Later = !step.Done
		return state, err
	}
}
