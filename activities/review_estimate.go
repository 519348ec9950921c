package activities

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// estimate fills the members by the methods of each meter's rules, in their order.
func (w *weighing) estimate(ctx context.Context) ([]store.MemberResult, error) {
	var results []store.MemberResult
	for _, id := range w.meters {
		filled, err := w.estimateMeter(ctx, id)
		if err != nil {
			return nil, err
		}
		results = append(results, filled...)
	}
	return results, nil
}

func (w *weighing) estimateMeter(ctx context.Context, id billing.MeterID) ([]store.MemberResult, error) {
	before, ok := w.before[id]
	if !ok {
		return nil, billing.Errorf(billing.CodeInvalidReading, "meter %s has no good reading to estimate from: enter a value by hand", id)
	}
	gap, err := w.gap(ctx, id, before)
	if err != nil {
		return nil, err
	}
	last := billing.DateOf(before.At, w.site.Zone)
	var results []store.MemberResult
	between := false
	for i, member := range w.members[id] {
		gap.At, gap.Days = member.FreezeAt, max(1, last.DaysUntil(billing.DateOf(member.FreezeAt, w.site.Zone)))
		e, err := metering.EstimateReading(gap)
		if err != nil {
			return nil, billing.Errorf(billing.CodeOf(err), "meter %s: %w", id, err)
		}
		if e.Method == metering.MethodBetween {
			between = true
		} else if err := w.mayEstimate(id, member, i, gap.Limits); err != nil {
			return nil, err
		}
		r := w.version(member, e.Registers, billing.QualityEstimated)
		r.Method, r.Interpolated = string(e.Method), e.Method == metering.MethodBetween
		results = append(results, store.MemberResult{Meter: id, FreezeAt: member.FreezeAt, Outcome: "estimated", Reading: r})
	}
	if between {
		next := w.after[id]
		return results, w.spreadAgain(id, next.At, next.Registers)
	}
	return results, nil
}

// mayEstimate refuses one estimate in a row too many: somebody has to see the meter.
func (w *weighing) mayEstimate(id billing.MeterID, member store.Member, already int, limits metering.Limits) error {
	row := already
	for _, e := range w.trail[id].Estimates {
		if e.FreezeAt.Before(member.FreezeAt) {
			row++
		}
	}
	if row >= limits.EstimateLimit {
		return billing.Errorf(billing.CodeBlocked, "meter %s was estimated %d times in a row, the limit is %d: read it, enter a value by hand or exchange it", id, row, limits.EstimateLimit)
	}
	return nil
}

// gap is a meter's gap with all that the methods of its rules may need.
func (w *weighing) gap(ctx context.Context, id billing.MeterID, before store.Point) (metering.Gap, error) {
	m := w.meter[id]
	g := metering.Gap{Service: m.Service, Ratio: int64(m.Ratio), Digits: m.Digits, Last: before.Registers, Limits: w.limits(id)}
	if next, ok := w.after[id]; ok {
		anchor, _, _ := w.ground(id, next.Registers)
		g.Before = &metering.Reading{At: anchor.At, Registers: anchor.Registers}
		g.After = &metering.Reading{At: next.At, Registers: next.Registers}
	}
	var err error
	if g.Sources, err = w.sources(ctx, m, before.At); err != nil {
		return g, err
	}
	open := w.members[id]
	similar, err := w.similar(ctx, m, before.At, open[len(open)-1].FreezeAt)
	g.Sources = append(g.Sources, similar)
	return g, err
}

// sources are the stretches of the meter's own past: the month before the gap, then the same month a year ago.
func (w *weighing) sources(ctx context.Context, m store.Meter, gap time.Time) ([]metering.Source, error) {
	var sources []metering.Source
	for _, s := range []struct {
		method   metering.Method
		from, to time.Time
	}{
		{metering.MethodLastMonth, gap.AddDate(0, 0, -historyDays), gap},
		{metering.MethodLastYear, gap.AddDate(-1, 0, 0), gap.AddDate(-1, 0, historyDays)},
	} {
		points, err := w.Store.GoodPoints(ctx, []billing.MeterID{m.ID}, s.from, s.to.Add(time.Second))
		if err != nil {
			return nil, err
		}
		if src, ok := source(s.method, points[m.ID], m, w.site.Zone); ok {
			sources = append(sources, src)
		}
	}
	return sources, nil
}

func source(method metering.Method, points []store.Point, m store.Meter, zone *time.Location) (metering.Source, bool) {
	if len(points) < 2 {
		return metering.Source{}, false
	}
	s := metering.Source{Method: method, Use: make(billing.Registers, len(points[0].Registers))}
	for i := 1; i < len(points); i++ {
		use, err := billing.Usage(points[i-1].Registers, points[i].Registers, m.Digits)
		if err != nil || len(use) != len(s.Use) {
			return metering.Source{}, false
		}
		for r, u := range use {
			s.Use[r] += u * int64(m.Ratio)
		}
		if points[i].Quality == billing.QualityEstimated {
			s.EstimatedDays += billing.DateOf(points[i-1].At, zone).DaysUntil(billing.DateOf(points[i].At, zone))
		}
	}
	s.Days = billing.DateOf(points[0].At, zone).DaysUntil(billing.DateOf(points[len(points)-1].At, zone))
	return s, true
}

// similar averages what the other meters of the same kind counted over the gap itself, after ratio.
func (w *weighing) similar(ctx context.Context, m store.Meter, from, to time.Time) (metering.Source, error) {
	others, err := w.Store.SimilarUses(ctx, m, w.class[m.ID], from, to)
	if err != nil {
		return metering.Source{}, err
	}
	var uses []billing.Registers
	for _, o := range others {
		use, err := billing.Usage(o.From, o.To, o.Digits)
		if err != nil {
			continue
		}
		for i := range use {
			use[i] *= int64(o.Ratio)
		}
		uses = append(uses, use)
	}
	days := billing.DateOf(from, w.site.Zone).DaysUntil(billing.DateOf(to, w.site.Zone))
	return metering.Average(uses, days), nil
}

// resplit believes the totals and divides them among the bands as the meter's own last month was divided. The meter goes on counting from
// what it shows: a closing and an opening of the same meter at the last member's instant keep the two apart.
func (w *weighing) resplit(ctx context.Context) ([]store.MemberResult, []store.Refit, error) {
	results, err := w.accept()
	if err != nil {
		return nil, nil, err
	}
	for i := range results {
		results[i].Outcome = "resplit"
	}
	var refits []store.Refit
	for _, id := range w.meters {
		m, open := w.meter[id], w.members[id]
		before, ok := w.before[id]
		if !ok {
			return nil, nil, billing.Errorf(billing.CodeInvalidReading, "meter %s has no good reading to divide from: enter a value by hand", id)
		}
		sources, err := w.sources(ctx, m, before.At)
		if err != nil {
			return nil, nil, err
		}
		last := w.current[id][open[len(open)-1].FreezeAt.UTC()]
		var past billing.Registers
		if len(sources) > 0 {
			past = sources[0].Use
		}
		closing, err := metering.Resplit(before.Registers, last.Registers, past, m.Digits)
		if err != nil {
			return nil, nil, billing.Errorf(billing.CodeOf(err), "meter %s: %w", id, err)
		}
		refits = append(refits, store.Refit{Meter: id, At: last.FreezeAt, Closing: closing, Opening: last.Registers})
	}
	return results, refits, nil
}
