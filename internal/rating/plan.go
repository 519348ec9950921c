package rating

import (
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// plan is what a tariff makes of a period, the same for every account with
// that tariff and without terms of its own.
type plan struct {
	parts []part
}

// part is a stretch of the period between two cuts. Whatever is not cut at
// months has one part whose month is that of its start.
type part struct {
	from, to    time.Time // UTC
	first, last billing.Date
	month       monthNo
	compiled    *compiled
	tariff      billing.TariffID // when it isn't the input's
	terms       int              // index of the input's terms, -1 without any
}

// days are those that the part covers; one that is begun counts.
func (p *part) days() int { return p.first.DaysUntil(p.last) + 1 }

// monthNo counts calendar months.
type monthNo int

func monthOf(d billing.Date) monthNo { return monthNo(d.Year()*12 + int(d.Month()) - 1) }

func (m monthNo) first() billing.Date {
	return billing.NewDate(int(m)/12, time.Month(int(m)%12+1), 1)
}

// String is "2026-01".
func (m monthNo) String() string { return billing.MonthPeriod(m.first()).String() }

type planKey struct {
	versions *billing.TariffVersion
	loc      *time.Location
	from, to int64
}

type versionKey struct {
	version *billing.TariffVersion
	month   time.Month // 0 when all months are the same
}

// maxPlans keeps a long-lived Rater from growing with the days that it rates.
const maxPlans = 64

// planOf finds or makes the plan. With terms it is the account's own.
func (r *Rater) planOf(in *Input) (*plan, error) {
	if len(in.Tariff.Versions) == 0 {
		_, _, err := in.Tariff.VersionAt(billing.DateOf(in.From, in.Location))
		return nil, err
	}
	if len(in.Terms) > 0 {
		return r.makePlan(in)
	}
	key := planKey{&in.Tariff.Versions[0], in.Location, in.From.UnixNano(), in.To.UnixNano()}
	if r.last != nil && key == r.lastKey {
		return r.last, nil
	}
	if p := r.plans[key]; p != nil {
		r.last, r.lastKey = p, key
		return p, nil
	}
	p, err := r.makePlan(in)
	if err != nil {
		return nil, err
	}
	if r.plans == nil {
		r.plans = map[planKey]*plan{}
	} else if len(r.plans) >= maxPlans {
		clear(r.plans)
	}
	r.plans[key], r.last, r.lastKey = p, p, key
	return p, nil
}

// reign is a run of days with one version and one entry of the terms.
type reign struct {
	from    billing.Date
	tariff  *billing.Tariff
	version *billing.TariffVersion
	terms   int
}

// makePlan cuts the period at new versions, new terms, and where a step count
// or a month starts again.
func (r *Rater) makePlan(in *Input) (*plan, error) {
	first, last := billing.DateOf(in.From, in.Location), billing.DateOf(in.To.Add(-1), in.Location)
	reigns, err := reignsOf(in, first, last)
	if err != nil {
		return nil, err
	}
	yearly, monthly := false, false
	for _, reign := range reigns {
		yearly = yearly || reign.version.Steps(billing.PerYear)
		monthly = monthly || reign.version.Monthly()
	}
	var days []billing.Date
	for _, reign := range reigns[1:] {
		days = append(days, reign.from)
	}
	for day := billing.MonthPeriod(first).To; (yearly || monthly) && !day.After(last); day = billing.MonthPeriod(day).To {
		if monthly || day.Month() == time.January {
			days = append(days, day)
		}
	}
	slices.SortFunc(days, billing.Date.Compare)
	p := &plan{}
	from, day := in.From.UTC(), first
	for _, next := range append(slices.Compact(days), billing.Date{}) {
		to := in.To.UTC()
		if !next.IsZero() {
			to = next.Start(in.Location).UTC()
		}
		if !from.Before(to) {
			continue // the period begins at that midnight
		}
		reign := reigns[0]
		for _, other := range reigns {
			if !other.from.After(day) {
				reign = other
			}
		}
		c, err := r.compile(reign, day.Month())
		if err != nil {
			return nil, err
		}
		one := part{from: from, to: to, first: day, last: billing.DateOf(to.Add(-1), in.Location), month: monthOf(day), compiled: c, terms: reign.terms}
		if reign.tariff != &in.Tariff {
			one.tariff = reign.tariff.ID
		}
		p.parts = append(p.parts, one)
		from, day = to, next
	}
	return p, nil
}

// reignsOf lists the versions and terms in force from the first to the last day.
func reignsOf(in *Input, first, last billing.Date) ([]reign, error) {
	var reigns []reign
	for day := first; ; {
		terms, until := in.termsAt(day)
		tariff := &in.Tariff
		if terms >= 0 && in.Terms[terms].Tariff != nil {
			tariff = in.Terms[terms].Tariff
		}
		if tariff.Service != in.Tariff.Service {
			return nil, billing.Errorf(billing.CodeInvalidInput, "The tariff %s is for %s, the account is not.", tariff.ID, tariff.Service)
		}
		version, end, err := tariff.VersionAt(day)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(tariff.Versions, func(v billing.TariffVersion) bool { return v.From == version.From })
		reigns = append(reigns, reign{day, tariff, &tariff.Versions[i], terms})
		if until.IsZero() || !end.IsZero() && end.Before(until) {
			until = end
		}
		if until.IsZero() || until.After(last) {
			return reigns, nil
		}
		day = until
	}
}

// termsAt is the entry of the terms that holds on a day, -1 without any, and
// the day of the next one.
func (in *Input) termsAt(day billing.Date) (index int, until billing.Date) {
	index = -1
	for i := range in.Terms {
		if i > 0 && in.Terms[i].From.After(day) {
			return index, in.Terms[i].From
		}
		index = i
	}
	return index, billing.Date{}
}
