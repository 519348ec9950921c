package activities

import (
	"context"
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Preview is what a decision on a case would do, worked out by the same steps as the decision itself. Nothing is stored.
type Preview struct {
	CaseID   billing.CaseID
	Refused  string // why it can't be decided so; empty when it can
	Asks     bool   // the meters are asked first, so that nothing can be said yet
	Members  []MemberPreview
	Accounts []AccountPreview
	// Bills are issued ones that rest on readings which would change: they stay as they are, and a correction has to follow.
	Bills []billing.BillID
}

// MemberPreview is one reading before and after. Registers are raw, nil where there is none.
type MemberPreview struct {
	Meter    billing.MeterID
	Account  billing.AccountID
	Service  billing.Service
	Ratio    int
	FreezeAt time.Time
	Before   billing.Registers
	After    billing.Registers
	Last     billing.Registers // the good point before, from which use is counted
	Digits   int
	Outcome  string
	Method   string
	TrueUp   bool // an earlier estimate that is spread again
}

// AccountPreview is what a decision would mean to the open periods of an account: what was charged so far, what they would be rated at
// by the readings as decided, and the difference, which the next charge posts.
type AccountPreview struct {
	Account    billing.AccountID
	ChargedFen billing.Money
	RatedFen   billing.Money
	EffectFen  billing.Money
	Known      bool // false where the readings don't carry the period yet
}

// PreviewDecision works out a decision without applying it. A decision that would be refused comes back with its reason.
func (a *Review) PreviewDecision(ctx context.Context, in Decision) (Preview, error) {
	p := Preview{CaseID: in.CaseID}
	in.Reason = "preview"
	c, members, err := a.authorized(ctx, in)
	if err != nil {
		return p.refused(err)
	}
	if c.State == billing.CaseResolved {
		return p.refused(billing.Errorf(billing.CodeClosed, "case %s was decided already: open it to see by whom and how", c.ID))
	}
	if in.Decision == DecideReread || len(members) == 0 {
		p.Asks = true
		return p, nil
	}
	chosen, _, err := choose(c, members, in)
	if err != nil {
		return p.refused(err)
	}
	r := store.Resolution{Case: c.ID, Decision: in.Decision, By: in.By}
	w, err := a.resolution(ctx, c, chosen, in, &r)
	if err != nil {
		return p.refused(err)
	}
	return p, w.tell(ctx, r, &p)
}

// refused keeps a refusal as part of the answer; what isn't a refusal stays an error.
func (p Preview) refused(err error) (Preview, error) {
	if code := billing.CodeOf(err); code == billing.CodeInternal || code == billing.CodeUnavailable {
		return p, err
	}
	p.Refused = billing.MessageOf(err)
	return p, nil
}

// tell fills a preview from a resolution that was worked out.
func (w *weighing) tell(ctx context.Context, r store.Resolution, p *Preview) error {
	conns, err := w.Store.Connections(ctx, w.meters)
	if err != nil {
		return err
	}
	changed := map[store.MeterAt]store.Reading{}
	add := func(reading store.Reading, m MemberPreview) {
		meter := w.meter[reading.Meter]
		m.Meter, m.Account, m.Service, m.Ratio, m.Digits, m.FreezeAt = reading.Meter, conns[reading.Meter].Account, meter.Service, meter.Ratio, meter.Digits, reading.FreezeAt
		if last, ok := w.before[reading.Meter]; ok {
			m.Last = last.Registers
		}
		m.After, m.Method = reading.Registers, reading.Method
		p.Members = append(p.Members, m)
		changed[store.MeterAt{Meter: reading.Meter, At: reading.FreezeAt.UTC()}] = reading
	}
	for _, t := range r.TrueUps {
		for _, reading := range t.Readings {
			add(reading, MemberPreview{TrueUp: true, Outcome: reading.Method})
		}
	}
	for _, res := range r.Members {
		was, there := w.current[res.Meter][res.FreezeAt.UTC()]
		m := MemberPreview{Outcome: res.Outcome}
		if there {
			m.Before = was.Registers
		}
		switch {
		case res.Reading != nil:
			add(*res.Reading, m)
		case there:
			add(was, m)
		}
	}
	if err := w.beforeTrueUp(ctx, p); err != nil {
		return err
	}
	ats := make([]store.MeterAt, 0, len(changed))
	for at := range changed {
		ats = append(ats, at)
	}
	if p.Bills, err = w.Store.BillsResting(ctx, ats); err != nil {
		return err
	}
	if r.Exchange != nil {
		return nil // what the new meter counts isn't known
	}
	return w.effects(ctx, p, changed, r.Refits)
}

// beforeTrueUp fills in what the estimates are now.
func (w *weighing) beforeTrueUp(ctx context.Context, p *Preview) error {
	for i := range p.Members {
		m := &p.Members[i]
		if !m.TrueUp {
			continue
		}
		now, err := w.Store.ReadingsAt(ctx, []billing.MeterID{m.Meter}, m.FreezeAt)
		if err != nil {
			return err
		}
		m.Before = now[m.Meter].Registers
	}
	return nil
}

// effects rates the open periods of every account with the readings as they would be.
func (w *weighing) effects(ctx context.Context, p *Preview, changed map[store.MeterAt]store.Reading, refits []store.Refit) error {
	upto := map[billing.AccountID]time.Time{}
	var accounts []billing.AccountID
	var meters []billing.MeterID
	for _, m := range p.Members {
		if m.Account == "" {
			continue
		}
		if _, there := upto[m.Account]; !there {
			accounts, meters = append(accounts, m.Account), append(meters, m.Meter)
		}
		if m.FreezeAt.After(upto[m.Account]) {
			upto[m.Account] = m.FreezeAt
		}
	}
	if len(accounts) == 0 {
		return nil
	}
	latest, err := w.Store.LatestGood(ctx, meters, w.now)
	if err != nil {
		return err
	}
	for i, account := range accounts {
		if r, ok := latest[meters[i]]; ok && r.FreezeAt.After(upto[account]) {
			upto[account] = r.FreezeAt
		}
	}
	metered, err := w.Store.MeteredAccountsOf(ctx, accounts)
	if err != nil {
		return err
	}
	m, err := loadMetered(ctx, w.Store, w.site, metered)
	if err != nil {
		return err
	}
	m.refit(refits)
	var all []span
	for _, a := range metered {
		all = append(all, m.openSpans(a, upto[a.ID])...)
	}
	if err := m.want(ctx, w.Store, all); err != nil {
		return err
	}
	for at, r := range changed {
		m.readings[at] = r
	}
	for _, a := range metered {
		effect, err := w.effect(ctx, m, a, upto[a.ID])
		if err != nil {
			return err
		}
		p.Accounts = append(p.Accounts, effect)
	}
	return nil
}

func (w *weighing) effect(ctx context.Context, m *metered, a store.MeteredAccount, upto time.Time) (AccountPreview, error) {
	e := AccountPreview{Account: a.ID}
	charges, err := m.charges(a, m.openSpans(a, upto))
	e.Known = err == nil
	if err != nil {
		return e, nil //nolint:nilerr // its readings don't carry the period: the effect can't be told yet, and the page says so
	}
	for _, c := range charges {
		charged, err := w.Store.ChargedSoFar(ctx, []billing.AccountID{a.ID}, c.PeriodFrom)
		if err != nil {
			return e, err
		}
		e.ChargedFen += charged[a.ID]
		e.RatedFen += c.RatedFen
	}
	e.EffectFen = e.RatedFen - e.ChargedFen
	return e, nil
}

// refit puts fittings in place that a decision would make, so that rating sees them.
func (m *metered) refit(refits []store.Refit) {
	for point, fittings := range m.fittings {
		for _, r := range refits {
			i := slices.IndexFunc(fittings, func(f store.Fitting) bool { return f.Meter == r.Meter && f.ToAt == nil })
			if i < 0 {
				continue
			}
			next := fittings[i]
			next.FromAt, next.Opening = r.At, r.Opening
			at := r.At
			fittings[i].ToAt, fittings[i].Closing = &at, r.Closing
			m.fittings[point] = append(fittings, next)
		}
	}
}
