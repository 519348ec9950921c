package exceptions

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
)

// doubt is a case with what is known around it.
type doubt struct {
	row      store.CaseRow
	members  []store.Member
	subjects []subject // one per meter, in the order of the members
	use      []store.DayUse
	recharge *store.CaseRecharge
	command  *store.Command
	supply   *store.MeterRow // of the case's account, when the case is about no reading
	now      time.Time
}

// subject is one meter of a case and the readings around its newest freeze instant.
type subject struct {
	meter   store.MeterRow
	member  store.Member   // the newest
	open    bool           // without an outcome
	current *store.Reading // at the freeze instant; nil when there is none
	before  *store.Point   // last good one
	after   *store.Point   // first good one
	used    int64          // raw, before the ratio, over the days before
	days    int            // that the meter was measured on before
	charged billing.Money  // for the same days
	priced  bool
}

// effect is what a value would mean: the total register, the use since the last good reading, and money by the account's average price.
type effect struct {
	total    int64 // raw register
	use      int64 // raw, after the ratio
	hasUse   bool
	fen      billing.Money
	hasMoney bool
}

// gather reads what the page of one case shows.
func (h handler) gather(ctx context.Context, c *doubt) error {
	var err error
	if c.subjects, err = h.subjects(ctx, c.members); err != nil {
		return err
	}
	if len(c.subjects) == 1 {
		s := c.subjects[0]
		end := billing.DateOf(s.member.FreezeAt.Add(-time.Nanosecond), locale.Zone(ctx)).AddDays(1)
		if c.use, err = h.Store.UseByDay(ctx, s.meter.Meter, locale.Zone(ctx), end.AddDays(-historyDays-1), end); err != nil {
			return err
		}
	}
	if c.row.RechargeID != nil {
		rc, err := h.Store.CaseRecharge(ctx, *c.row.RechargeID)
		if err != nil {
			return err
		}
		c.recharge = &rc
	}
	if c.row.CommandID != nil {
		cmd, err := h.Store.Command(ctx, *c.row.CommandID)
		if err != nil {
			return err
		}
		c.command = &cmd
	}
	if c.row.Meter != nil && len(c.subjects) == 0 {
		m, err := h.Store.MeterRow(ctx, *c.row.Meter)
		if err != nil {
			return err
		}
		c.supply = &m
	}
	return nil
}

// subjects reads each meter's surroundings, a few queries per freeze instant: the members of a case share them.
func (h handler) subjects(ctx context.Context, members []store.Member) ([]subject, error) {
	var order []billing.MeterID
	newest := map[billing.MeterID]store.Member{}
	for _, m := range members { // oldest first per meter
		if _, there := newest[m.Meter]; !there {
			order = append(order, m.Meter)
		}
		newest[m.Meter] = m
	}
	if len(order) == 0 {
		return nil, nil
	}
	rows, err := h.Store.MeterRows(ctx, order)
	if err != nil {
		return nil, err
	}
	byID := map[billing.MeterID]*subject{}
	freezes := map[time.Time][]billing.MeterID{}
	for _, m := range rows {
		member := newest[m.ID]
		byID[m.ID] = &subject{meter: m, member: member, open: member.Outcome == ""}
		freezes[member.FreezeAt.UTC()] = append(freezes[member.FreezeAt.UTC()], m.ID)
	}
	for at, meters := range freezes {
		if err := h.surroundings(ctx, byID, at, meters); err != nil {
			return nil, err
		}
	}
	list := make([]subject, 0, len(order))
	for _, id := range order {
		if s := byID[id]; s != nil {
			list = append(list, *s)
		}
	}
	return list, nil
}

func (h handler) surroundings(ctx context.Context, byID map[billing.MeterID]*subject, at time.Time, meters []billing.MeterID) error {
	current, err := h.Store.ReadingsAt(ctx, meters, at)
	if err != nil {
		return err
	}
	before, err := h.Store.LastPoints(ctx, meters, at)
	if err != nil {
		return err
	}
	after, err := h.Store.NextPoints(ctx, meters, at)
	if err != nil {
		return err
	}
	past, err := h.Store.GoodPoints(ctx, meters, historyFrom(at), at)
	if err != nil {
		return err
	}
	var accounts []billing.AccountID
	for _, id := range meters {
		s := byID[id]
		if r, ok := current[id]; ok {
			s.current = &r
		}
		if p, ok := before[id]; ok {
			s.before = &p
		}
		if p, ok := after[id]; ok {
			s.after = &p
		}
		s.learn(past[id], locale.Zone(ctx))
		if s.meter.Account != "" {
			accounts = append(accounts, s.meter.Account)
		}
	}
	charged, err := h.Store.ChargedBetween(ctx, accounts, historyFrom(at), at)
	for _, id := range meters {
		s := byID[id]
		basis, ok := charged[s.meter.Account]
		s.charged, s.priced = basis.ChargedFen, ok && basis.ChargedFen > 0 && s.used > 0
	}
	return err
}

// learn sums what the meter counted between its good readings, for the average of a day.
func (s *subject) learn(points []store.Point, zone *time.Location) {
	for i := 1; i < len(points); i++ {
		use, err := billing.Usage(points[i-1].Registers, points[i].Registers, s.meter.Digits)
		if err != nil {
			continue
		}
		s.used += use.Total()
		s.days += billing.DateOf(points[i-1].At, zone).DaysUntil(billing.DateOf(points[i].At, zone))
	}
}

// effectOf says what registers at the freeze instant would mean.
func (s subject) effectOf(r billing.Registers) effect {
	e := effect{total: r.Total()}
	if s.before == nil {
		return e
	}
	use, err := billing.Usage(s.before.Registers, r, s.meter.Digits)
	if err != nil {
		return e
	}
	e.hasUse, e.use = true, use.Total()*int64(s.meter.Ratio)
	const most = int64(1) << 31 // beyond it the product might not fit, and an average price says nothing any more
	if s.priced && use.Total() < most && int64(s.charged) < most {
		e.hasMoney, e.fen = true, billing.Money(use.Total()*int64(s.charged)/s.used)
	}
	return e
}

// accepted is the effect of believing the reading as it is; ok is false without one.
func (s subject) accepted() (effect, bool) {
	if s.current == nil {
		return effect{}, false
	}
	return s.effectOf(s.current.Registers), true
}

// minDays is how many days of its own past an estimate needs.
const minDays = 7

// estimated is about what an estimate will give: even between the good readings around, else the average of the days before. The
// workflow computes it exactly; ok is false when there is nothing to estimate from.
func (s subject) estimated(zone *time.Location) (effect, bool) {
	switch {
	case s.before == nil:
		return effect{}, false
	case s.after != nil:
		r, err := billing.Between(s.before.Registers, s.after.Registers, s.meter.Digits, s.member.FreezeAt.Sub(s.before.At), s.after.At.Sub(s.before.At))
		if err != nil {
			return effect{}, false // the value after is below the one before: an estimate between them was too high
		}
		return s.effectOf(r), true
	case s.days < minDays:
		return effect{}, false
	}
	gap := max(1, billing.DateOf(s.before.At, zone).DaysUntil(billing.DateOf(s.member.FreezeAt, zone)))
	total := s.before.Registers.Total() + s.used*int64(gap)/int64(s.days)
	if wrap := billing.Wrap(s.meter.Digits); wrap > 0 {
		total %= wrap
	}
	value := append(billing.Registers{total}, s.before.Registers[1:]...)
	return s.effectOf(value), true
}
