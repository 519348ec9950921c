package activities

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// weighing is a decision being worked out: the open members of a case with what is known around them.
type weighing struct {
	*Review
	in      Decision
	site    store.Site
	policy  Policy
	now     time.Time
	meters  []billing.MeterID
	meter   map[billing.MeterID]store.Meter
	members map[billing.MeterID][]store.Member              // open ones, oldest first
	current map[billing.MeterID]map[time.Time]store.Reading // newest version at each member's freeze instant
	before  map[billing.MeterID]store.Point                 // last good point before the first open member
	after   map[billing.MeterID]store.Point                 // first measured good reading after the last open member
	trail   map[billing.MeterID]store.Trail                 // what was estimated since the last measured reading, up to after
	class   map[billing.MeterID]billing.CustomerClass
	rules   ruleBook
	again   map[billing.MeterID]store.TrueUp // estimates that a measured value spreads again
}

func (a *Review) weigh(ctx context.Context, c store.Case, members []store.Member, in Decision) (*weighing, error) {
	w, err := a.newWeighing(ctx, c.Site, openMeters(members), in)
	if err != nil {
		return nil, err
	}
	byFreeze := map[time.Time][]billing.MeterID{}
	for _, m := range members {
		if m.Outcome == "" {
			w.members[m.Meter] = append(w.members[m.Meter], m)
			byFreeze[m.FreezeAt.UTC()] = append(byFreeze[m.FreezeAt.UTC()], m.Meter)
		}
	}
	if err := w.load(ctx, byFreeze); err != nil {
		return w, err
	}
	return w, w.lookAround(ctx, c)
}

// newWeighing begins a weighing of some meters, with nothing known of their readings.
func (a *Review) newWeighing(ctx context.Context, site billing.SiteID, meters []billing.MeterID, in Decision) (*weighing, error) {
	w := &weighing{
		Review: a, in: in, meters: meters, meter: map[billing.MeterID]store.Meter{}, members: map[billing.MeterID][]store.Member{},
		current: map[billing.MeterID]map[time.Time]store.Reading{}, before: map[billing.MeterID]store.Point{}, after: map[billing.MeterID]store.Point{},
		trail: map[billing.MeterID]store.Trail{}, again: map[billing.MeterID]store.TrueUp{},
	}
	var err error
	if w.site, w.policy, err = sitePolicy(ctx, a.Store, site); err != nil {
		return nil, err
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return nil, err
	}
	w.now = clock.Now
	found, err := a.Store.Meters(ctx, meters)
	for _, m := range found {
		w.meter[m.ID] = m
	}
	return w, err
}

// lookAround reads what estimates and true-ups take: the customers' classes, the rules in force, and what was estimated before.
func (w *weighing) lookAround(ctx context.Context, c store.Case) error {
	freeze, upTo := c.OpenedAt, map[time.Time][]billing.MeterID{}
	for i, id := range w.meters {
		open := w.members[id]
		if i == 0 {
			freeze = open[len(open)-1].FreezeAt
		}
		end := open[len(open)-1].FreezeAt
		if next, ok := w.after[id]; ok {
			end = next.At
		}
		upTo[end.UTC()] = append(upTo[end.UTC()], id)
	}
	var err error
	if w.class, err = w.Store.ClassesOfMeters(ctx, w.meters, freeze); err != nil {
		return err
	}
	for end, ids := range upTo {
		trails, err := w.Store.Trails(ctx, ids, end)
		if err != nil {
			return err
		}
		maps.Copy(w.trail, trails)
	}
	w.rules, err = loadRules(ctx, w.Store, w.policy, c.Site, freeze)
	return err
}

// limits are the rules that judge a member's meter.
func (w *weighing) limits(id billing.MeterID) metering.Limits {
	return w.rules.of(w.meter[id], w.class[id])
}

// load reads the versions in question and the good points around them, one query per freeze instant: a case has few.
func (w *weighing) load(ctx context.Context, byFreeze map[time.Time][]billing.MeterID) error {
	for at, meters := range byFreeze {
		found, err := w.Store.ReadingsAt(ctx, meters, at)
		if err != nil {
			return err
		}
		for id, r := range found {
			if w.current[id] == nil {
				w.current[id] = map[time.Time]store.Reading{}
			}
			w.current[id][at] = r
		}
		before, err := w.Store.LastPoints(ctx, meters, at)
		if err != nil {
			return err
		}
		after, err := w.Store.NextPoints(ctx, meters, at)
		if err != nil {
			return err
		}
		for _, id := range meters {
			open := w.members[id]
			if open[0].FreezeAt.Equal(at) {
				w.keep(w.before, before, id)
			}
			if open[len(open)-1].FreezeAt.Equal(at) {
				w.keep(w.after, after, id)
			}
		}
	}
	return nil
}

func (w *weighing) keep(to, from map[billing.MeterID]store.Point, id billing.MeterID) {
	if p, ok := from[id]; ok {
		to[id] = p
	}
}

// version makes the next version of a member's reading: what was read besides the registers stays, the doubt is settled.
func (w *weighing) version(m store.Member, registers billing.Registers, quality billing.Quality) *store.Reading {
	r, there := w.current[m.Meter][m.FreezeAt.UTC()]
	if !there {
		r = store.Reading{Meter: m.Meter, FreezeAt: m.FreezeAt, Supply: string(devices.SupplyUnknown)}
	}
	r.Registers, r.Quality, r.Doubtful, r.Interpolated, r.Method = registers, quality, false, false, ""
	r.TakenAt, r.TakenReal = w.now, time.Time{}
	r.RecordedBy, r.Reason = string(w.in.By), w.in.Reason
	return &r
}

// accept believes the readings as they are.
func (w *weighing) accept() ([]store.MemberResult, error) {
	var results []store.MemberResult
	for _, id := range w.meters {
		for _, m := range w.members[id] {
			res := store.MemberResult{Meter: id, FreezeAt: m.FreezeAt, Outcome: "accepted"}
			r, there := w.current[id][m.FreezeAt.UTC()]
			if !there {
				return nil, billing.Errorf(billing.CodeInvalidInput, "meter %s has no reading that could be accepted: re-read it, enter a value or estimate", id)
			}
			if r.Doubtful {
				v := w.version(m, r.Registers, r.Quality)
				v.TakenAt, v.TakenReal, v.Interpolated = r.TakenAt, r.TakenReal, r.Interpolated
				res.Reading = v
			}
			results = append(results, res)
		}
	}
	return results, nil
}

// ground is the point that a measured value is counted from, with the estimates since, which it spreads again: those that no issued bill
// rests on, or, when the value is below what was billed, all since the last measured reading.
func (w *weighing) ground(id billing.MeterID, registers billing.Registers) (store.Point, []store.Reading, bool) {
	t, ok := w.trail[id]
	if !ok {
		p, ok := w.before[id]
		return p, nil, ok
	}
	if anchor, estimates := t.Open(); ahead(anchor.Registers, registers, w.meter[id].Digits) {
		return anchor, estimates, true
	}
	return t.Anchor, t.Estimates, true
}

func ahead(from, to billing.Registers, digits int) bool {
	_, err := billing.Usage(from, to, digits)
	return err == nil
}

// spreadAgain remembers the estimates before a measured value, to be spread between it and their ground.
func (w *weighing) spreadAgain(id billing.MeterID, at time.Time, registers billing.Registers) error {
	anchor, estimates, ok := w.ground(id, registers)
	estimates = slices.DeleteFunc(slices.Clone(estimates), func(e store.Reading) bool { return !e.FreezeAt.Before(at) })
	if !ok || len(estimates) == 0 {
		return nil
	}
	t, err := trueUp(w.meter[id], anchor, estimates, metering.Reading{At: at, Registers: registers})
	if err != nil {
		return billing.Errorf(billing.CodeInvalidReading, "meter %s: %w", id, err)
	}
	for i := range t.Readings {
		t.Readings[i].TakenAt, t.Readings[i].RecordedBy, t.Readings[i].Reason = w.now, string(w.in.By), w.in.Reason
	}
	t.Billed = w.trail[id].Billed
	w.again[id] = t
	return nil
}

// trueUps are the estimates to be spread again, by meter.
func (w *weighing) trueUps() []store.TrueUp {
	var all []store.TrueUp
	for _, id := range w.meters {
		if t, ok := w.again[id]; ok {
			all = append(all, t)
		}
	}
	return all
}

// billed is what was known of the meters' bills when the decision was worked out.
func (w *weighing) billed() []store.Billed {
	var all []store.Billed
	for _, id := range w.meters {
		if t, ok := w.trail[id]; ok {
			all = append(all, t.Billed)
		}
	}
	return all
}

// trueUp believes the readings, which are below earlier estimates, and spreads those again.
func (w *weighing) trueUp() ([]store.MemberResult, error) {
	results, err := w.accept()
	if err != nil {
		return nil, err
	}
	for i := range results {
		results[i].Outcome = "trued_up"
	}
	for _, id := range w.meters {
		first := w.members[id][0]
		r := w.current[id][first.FreezeAt.UTC()]
		if err := w.spreadAgain(id, first.FreezeAt, r.Registers); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// fill computes the members of a meter between the point that a measured value is counted from and that value.
func (w *weighing) fill(id billing.MeterID, at time.Time, registers billing.Registers, quality billing.Quality, outcome string) ([]store.MemberResult, error) {
	before, _, ok := w.ground(id, registers)
	var results []store.MemberResult
	for _, member := range w.members[id] {
		value, interpolated := registers, false
		if at.After(member.FreezeAt) {
			if !ok {
				return nil, billing.Errorf(billing.CodeInvalidReading, "meter %s has no good reading before %s: enter a value by hand", id, member.FreezeAt.In(w.site.Zone).Format("2006-01-02"))
			}
			var err error
			value, err = metering.Interpolate(metering.Reading{At: before.At, Registers: before.Registers}, metering.Reading{At: at, Registers: registers}, member.FreezeAt, w.meter[id].Digits)
			if err != nil {
				return nil, billing.Errorf(billing.CodeInvalidReading, "meter %s: %w", id, err)
			}
			interpolated = true
		}
		r := w.version(member, value, quality)
		if r.Interpolated = interpolated; quality == billing.QualityEstimated && interpolated {
			r.Method = string(metering.MethodBetween)
		}
		results = append(results, store.MemberResult{Meter: id, FreezeAt: member.FreezeAt, Outcome: outcome, Reading: r})
	}
	return results, w.spreadAgain(id, at, registers)
}

// manual takes what a person read off each meter: it stands for the newest freeze instant of the case, and earlier ones lie evenly
// before it.
func (w *weighing) manual() ([]store.MemberResult, error) {
	values := map[billing.MeterID]billing.Registers{}
	for _, v := range w.in.Values {
		values[v.Meter] = v.Registers
	}
	var results []store.MemberResult
	for _, id := range w.meters {
		value, ok := values[id]
		if !ok {
			return nil, billing.Errorf(billing.CodeInvalidInput, "the value of meter %s is missing: enter what its display shows", id)
		}
		open := w.members[id]
		newest := open[len(open)-1]
		if err := w.believable(id, newest.FreezeAt, value); err != nil {
			return nil, err
		}
		filled, err := w.fill(id, newest.FreezeAt, value, billing.QualityEstimated, "estimated")
		if err != nil {
			return nil, err
		}
		last := &filled[len(filled)-1]
		last.Outcome, last.Reading.Quality, last.Reading.Method = "manual", billing.QualityManual, ""
		if newest.ReadingVersion != nil {
			last.Reading.Quality = billing.QualityEdited // a person's value in place of one that was read
		}
		results = append(results, filled...)
	}
	return results, nil
}

// believable checks a person's value by the rules that no decision may pass over: registers only count up, no faster than the meter
// can, and the bands make the total. High or low use is the person's to judge.
func (w *weighing) believable(id billing.MeterID, at time.Time, value billing.Registers) error {
	m := w.meter[id]
	c := metering.Check{
		Meter:   metering.Meter{Service: m.Service, Digits: m.Digits, CapacityPerHour: m.CapacityPerHour},
		Current: &metering.Reading{At: at, Registers: value, Supply: billing.SupplyUnknown}, Limits: w.limits(id),
	}
	if p, _, ok := w.ground(id, value); ok {
		c.Previous = &metering.Reading{At: p.At, Registers: p.Registers, Supply: billing.SupplyUnknown}
	}
	for _, f := range metering.Validate(c) {
		switch f.Rule {
		case metering.RuleMalformed:
			return billing.Errorf(billing.CodeInvalidReading, "meter %s: %s", id, f.Numbers["reason"])
		case metering.RuleNegative:
			return billing.Errorf(billing.CodeInvalidReading, "meter %s: %s is below the last reading %s: check the display, or record an exchange", id, f.Numbers["current"], f.Numbers["previous"])
		case metering.RuleCapacity:
			return billing.Errorf(billing.CodeInvalidReading, "meter %s can't have counted %s in %s hours, at most %s: check the display", id, f.Numbers["use"], f.Numbers["hours"], f.Numbers["limit"])
		case metering.RuleSumMismatch:
			return billing.Errorf(billing.CodeInvalidReading, "meter %s: the total counted %s, the bands %s: enter all registers as the display shows them", id, f.Numbers["total"], f.Numbers["bands"])
		}
	}
	if next, ok := w.after[id]; ok {
		if _, err := billing.Usage(value, next.Registers, m.Digits); err != nil {
			return billing.Errorf(billing.CodeInvalidReading, "meter %s: the value is above the later reading of %s: check the display", id, next.At.In(w.site.Zone).Format("2006-01-02"))
		}
	}
	return nil
}

// reread asks one meter now. No result means that it gave no answer, or none that can be believed.
func (w *weighing) reread(ctx context.Context, pool *devices.Pool, gateway store.Gateway, m store.Meter, giveUp bool) (results []store.MemberResult, answered bool, err error) {
	if giveUp {
		return nil, false, nil
	}
	shot, err := pool.Snapshot(ctx, deviceMeter(gateway, m))
	if interrupted(ctx, err) {
		return nil, false, errors.Join(billing.Errorf(billing.CodeUnavailable, "the reading of meter %s was interrupted", m.ID), err)
	}
	if err != nil {
		return nil, outcomeOf(err) != "silent", nil
	}
	open := w.members[m.ID]
	r, err := takenReading(ctx, w.Store, m, w.site.Zone, open[len(open)-1].FreezeAt, shot)
	if err != nil {
		return nil, true, err
	}
	if w.believable(m.ID, r.TakenAt, r.Registers) != nil || w.stillHigh(m.ID, r) {
		return nil, true, nil
	}
	results, err = w.fill(m.ID, r.TakenAt, r.Registers, billing.QualityActual, "reread")
	for i := range results {
		v := results[i].Reading
		v.TakenAt, v.TakenReal, v.RecordedBy, v.ClockSkewS, v.DeviceRatio = r.TakenAt, r.TakenReal, actorWorkflow, r.ClockSkewS, r.DeviceRatio
		v.Profile, v.ProfileVersion = r.Profile, r.ProfileVersion
		if !v.Interpolated { // else it is of another instant
			v.Reverse = r.Reverse
		}
		v.RemainingFen, v.RemainingLitres, v.PurchaseCount, v.Supply, v.Forced, v.StatusWord, v.PowerW = r.RemainingFen, r.RemainingLitres, r.PurchaseCount, r.Supply, r.Forced, r.StatusWord, r.PowerW
	}
	if err != nil {
		return nil, true, nil // it can't follow the last good reading: a person decides otherwise
	}
	return results, true, nil
}

// stillHigh says that a meter whose use was called too high shows at least as much again: reading it once more proves nothing new.
func (w *weighing) stillHigh(id billing.MeterID, again store.Reading) bool {
	open := w.members[id]
	newest := open[len(open)-1]
	was, there := w.current[id][newest.FreezeAt.UTC()]
	return there && was.Doubtful && newest.Rule == string(metering.RuleTooHigh) && again.Registers.Total() >= was.Registers.Total()
}
