package exceptions

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/workflows"
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
	changes  map[store.MeterAt]store.MemberChange
	previews map[string]workflows.Preview // by decision: what each would do, worked out by the steps of the decision itself
	now      time.Time
}

// subject is one meter of a case and the readings around its newest freeze instant.
type subject struct {
	meter   store.MeterRow
	member  store.Member   // the newest
	open    bool           // without an outcome
	current *store.Reading // at the freeze instant; nil when there is none
	before  *store.Point   // last good one
	used    int64          // raw, before the ratio, over the days before
	days    int            // that the meter was measured on before
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
	changes, err := h.Store.CaseChanges(ctx, c.row.ID)
	if err != nil {
		return err
	}
	c.changes = map[store.MeterAt]store.MemberChange{}
	for _, m := range changes {
		c.changes[store.MeterAt{Meter: m.Meter, At: m.FreezeAt.UTC()}] = m
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
	past, err := h.Store.GoodPoints(ctx, meters, historyFrom(at), at)
	if err != nil {
		return err
	}
	for _, id := range meters {
		s := byID[id]
		if r, ok := current[id]; ok {
			s.current = &r
		}
		if p, ok := before[id]; ok {
			s.before = &p
		}
		s.learn(past[id], locale.Zone(ctx))
	}
	return nil
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

// use is what registers at the freeze instant mean since the last good ones, raw, after the ratio; ok is false when they can't follow.
func (s subject) use(r billing.Registers) (raw int64, ok bool) {
	if s.before == nil {
		return 0, false
	}
	use, err := billing.Usage(s.before.Registers, r, s.meter.Digits)
	if err != nil {
		return 0, false
	}
	return use.Total() * int64(s.meter.Ratio), true
}
