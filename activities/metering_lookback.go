package activities

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// lookBack is what a good measured reading says of the readings before it: estimates are spread again, and what stepped back or jumped
// in between was a glitch.
func (v *validator) lookBack(j judged, s surroundings) {
	trail := s.trails[j.meter.ID]
	if anchor, estimates := trail.Open(); len(estimates) > 0 {
		measured := metering.Reading{At: j.reading.FreezeAt, Registers: j.reading.Registers}
		t, err := trueUp(j.meter.Meter, anchor, estimates, measured)
		if err == nil { // an estimate that was billed may lie above it: then the difference is a correction's, and nothing is spread
			for i := range t.Readings {
				t.Readings[i].TakenAt, t.Readings[i].RecordedBy, t.Readings[i].Reason = v.now, actorWorkflow, string(v.cycle.ID)
			}
			t.Refs, t.Billed = []string{string(v.cycle.ID), string(j.conn.Account)}, trail.Billed
			v.found.TrueUps = append(v.found.TrueUps, t)
		}
	}
	previous, ok := s.last[j.meter.ID]
	if !ok {
		return
	}
	for _, d := range s.doubted[j.meter.ID] {
		if !d.FreezeAt.After(previous.At) {
			continue
		}
		if rule := metering.Recovered(previous.Registers, d.Registers, j.reading.Registers, j.meter.Digits); rule != "" {
			format := j.meter.Service.Format
			v.found.Recovered = append(v.found.Recovered, store.Recovered{Meter: j.meter.ID, FreezeAt: d.FreezeAt, Kind: string(rule), Numbers: map[string]string{
				"previous": format(previous.Registers.Total()), "current": format(d.Registers.Total()), "later": format(j.reading.Registers.Total()),
				"later_day": billing.DateOf(j.reading.FreezeAt, v.site.Zone).String(),
			}})
		}
	}
}

// trueUp spreads a meter's estimates again between the point before them and a measured reading. The caller says who and why.
func trueUp(m store.Meter, anchor store.Point, estimates []store.Reading, measured metering.Reading) (store.TrueUp, error) {
	ats := make([]time.Time, len(estimates))
	for i, e := range estimates {
		ats[i] = e.FreezeAt
	}
	spread, err := metering.TrueUp(metering.Reading{At: anchor.At, Registers: anchor.Registers}, measured, ats, m.Digits)
	if err != nil {
		return store.TrueUp{}, err
	}
	t := store.TrueUp{Site: m.Site, Meter: m.ID, Measured: measured.At}
	for i, e := range estimates {
		e.Registers, e.Quality, e.Interpolated, e.Doubtful, e.Method = spread[i], billing.QualityEstimated, true, false, string(metering.MethodTrueUp)
		e.TakenReal = time.Time{}
		t.Readings = append(t.Readings, e)
	}
	return t, nil
}

// masters compares each master meter with its sub-meters, once all readings of the cycle are judged. The master's reading is in doubt;
// each sub's passed its own rules, so that its customer's bill goes on.
func (v *validator) masters(ctx context.Context) error {
	uses, err := v.Store.MasterUse(ctx, v.site.ID, v.cycle.FreezeAt)
	if err != nil || len(uses) == 0 {
		return err
	}
	byMaster := map[billing.MeterID][]store.SubUse{}
	for _, u := range uses {
		byMaster[u.Master] = append(byMaster[u.Master], u)
	}
	ids := slices.Sorted(maps.Keys(byMaster))
	meters, err := v.Store.Meters(ctx, ids)
	if err != nil {
		return err
	}
	readings, err := v.Store.ReadingsAt(ctx, ids, v.cycle.FreezeAt)
	if err != nil {
		return err
	}
	conns, err := v.Store.Connections(ctx, ids)
	if err != nil {
		return err
	}
	classes, err := v.Store.ClassesOfMeters(ctx, ids, v.cycle.FreezeAt)
	if err != nil {
		return err
	}
	var found store.Findings
	for _, m := range meters {
		r, ok := readings[m.ID]
		if !ok || r.Cycle == nil || *r.Cycle != v.cycle.ID {
			continue
		}
		j := judged{meter: store.PlannedMeter{Meter: m}, reading: &r, conn: conns[m.ID], limits: v.rules.of(m, classes[m.ID])}
		f, numbers, bad := masterFinding(j, byMaster[m.ID])
		if !bad {
			continue
		}
		v.gateway = m.Gateway
		doubt := r
		doubt.Doubtful = true
		found.Cases = append(found.Cases, v.meterCase(j, string(f.Rule), f.Blocking, store.NewMember{Doubt: &doubt, Numbers: numbers}))
	}
	if len(found.Cases) == 0 {
		return nil
	}
	return v.Store.SaveFindings(ctx, byWorkflow(ctx), v.cycle.ID, []billing.GatewayID{"masters"}, found)
}

// masterFinding sums what master and subs counted over the same stretch; nothing can be said while one of them lacks an end.
func masterFinding(j judged, uses []store.SubUse) (metering.Finding, map[string]any, bool) {
	c := metering.MasterCheck{Service: j.meter.Service, Limits: j.limits}
	type sub struct {
		Meter billing.MeterID `json:"meter"`
		Use   string          `json:"use"`
	}
	var subs []sub
	for _, u := range uses {
		if u.From == nil || u.To == nil {
			return metering.Finding{}, nil, false
		}
		use, err := billing.Usage(u.From, u.To, u.Digits)
		if err != nil {
			return metering.Finding{}, nil, false
		}
		counted := use.Total() * int64(u.Ratio)
		c.Units += int64(u.Ratio)
		if u.Meter == u.Master {
			c.Master = counted
			continue
		}
		c.Subs = append(c.Subs, counted)
		subs = append(subs, sub{u.Meter, j.meter.Service.Format(counted)})
	}
	f, bad := metering.ValidateMaster(c)
	numbers := map[string]any{"sub_meters": subs}
	for name, value := range f.Numbers {
		numbers[name] = value
	}
	return f, numbers, bad
}
