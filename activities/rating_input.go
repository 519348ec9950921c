package activities

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// metered is a page of accounts with all that rating them takes, loaded in a few queries for the whole page.
type metered struct {
	site     store.Site
	tariffs  map[billing.TariffID]billing.Tariff
	accounts []store.MeteredAccount
	fittings map[billing.ServicePointID][]store.Fitting
	readings map[store.MeterAt]store.Reading
	// terms are each account's, by first day; quantities those of its months that are wanted.
	terms      map[billing.AccountID][]store.AccountTerms
	quantities map[billing.AccountID][]store.PeriodQuantity
	// adjusted is what adjustments for faulty meters changed in the use that counts toward steps.
	adjusted map[billing.AccountID][]store.AdjustedSteps
	late     *lateFacts // nil without an arrears contract
	// before are the issued bills that ended where the run's period begins; nil where bills are corrected, which mends them in their order.
	before map[billing.AccountID]store.BillEnd
	rater  rating.Rater
}

// span is a stretch of an account's use that is to be rated.
type span struct {
	account  store.MeteredAccount
	from, to time.Time
}

// loadMetered reads tariffs, terms and fittings for a page; readings and the quantities of months are loaded by want.
func loadMetered(ctx context.Context, s *store.Store, site store.Site, accounts []store.MeteredAccount) (*metered, error) {
	m := &metered{site: site, accounts: accounts, readings: map[store.MeterAt]store.Reading{}}
	var err error
	if m.tariffs, err = s.Tariffs(ctx); err != nil {
		return nil, err
	}
	points, ids := make([]billing.ServicePointID, len(accounts)), make([]billing.AccountID, len(accounts))
	for i, a := range accounts {
		points[i], ids[i] = a.ServicePoint, a.ID
	}
	if m.terms, err = s.TermsOf(ctx, ids); err != nil {
		return nil, err
	}
	if m.adjusted, err = s.AdjustedStepsOf(ctx, ids); err != nil {
		return nil, err
	}
	m.fittings, err = s.Fittings(ctx, points)
	return m, err
}

// want loads the readings that rating the spans needs. Readings in doubt are not loaded: a span that needs one can't be rated.
func (m *metered) want(ctx context.Context, s *store.Store, spans []span) error {
	var wanted []store.MeterAt
	for _, sp := range spans {
		for _, f := range m.fittings[sp.account.ServicePoint] {
			for _, at := range m.instants(sp) {
				if !at.Before(f.FromAt) && (f.ToAt == nil || !at.After(*f.ToAt)) {
					wanted = append(wanted, store.MeterAt{Meter: f.Meter, At: at})
				}
			}
		}
	}
	found, err := s.GoodReadings(ctx, wanted)
	if err != nil {
		return err
	}
	for at, r := range found {
		m.readings[at] = r
	}
	return m.wantQuantities(ctx, s, spans)
}

// instants are the ends of a span, the days on which a new price or new terms start, and the first midnights of its step year's months:
// use is counted from month to month, so that a register may wrap more than once a year.
func (m *metered) instants(sp span) []time.Time {
	ats := []time.Time{sp.from, sp.to}
	inside := func(day billing.Date) {
		if at := day.Start(m.site.Zone); at.After(sp.from) && at.Before(sp.to) {
			ats = append(ats, at)
		}
	}
	for _, t := range m.termsIn(sp) {
		inside(t.FromDay)
		for _, v := range m.tariffs[t.Tariff].Versions {
			inside(v.From)
		}
	}
	return append(ats, m.yearMonths(sp)...)
}

// yearMonths are the instants at which the use of the step year before the span is counted: its start, and each first midnight.
func (m *metered) yearMonths(sp span) []time.Time {
	day := billing.DateOf(sp.from, m.site.Zone)
	first := billing.NewDate(day.Year(), time.January, 1)
	if sp.account.OpenedOn.After(first) {
		first = sp.account.OpenedOn
	}
	var ats []time.Time
	for d := first; d.Before(day); d = billing.MonthPeriod(d).To {
		ats = append(ats, d.Start(m.site.Zone))
	}
	return ats
}

// open is the span of an account in a period up to an instant: from the period's first midnight, or from the first fitting of an
// account that was opened inside it. ok is false when the account had nothing to be measured by then.
func (m *metered) open(a store.MeteredAccount, p billing.Period, upto time.Time) (sp span, ok bool) {
	from, to := p.Instants(m.site.Zone)
	if upto.Before(to) {
		to = upto
	}
	if a.OpenedOn.After(p.From) {
		from = a.OpenedOn.Start(m.site.Zone)
	}
	fittings := m.fittings[a.ServicePoint]
	if len(fittings) == 0 {
		return span{}, false
	}
	if first := fittings[0].FromAt; first.After(from) {
		from = first
	}
	return span{account: a, from: from, to: to}, from.Before(to)
}

// points are the accepted registers of an account at the given instants and at the exchanges between first and last, oldest first.
// An instant without a good reading is left out; rating says so when it needs it.
func (m *metered) points(a store.MeteredAccount, ats []time.Time, first, last time.Time) []rating.Point {
	var points []rating.Point
	for no, f := range m.fittings[a.ServicePoint] {
		var own []rating.Point
		add := func(at time.Time, r billing.Registers, q billing.Quality) {
			if n := len(own); n > 0 && !at.After(own[n-1].At) {
				return // the opening or closing of the fitting is the reading of that instant
			}
			own = append(own, rating.Point{At: at, Registers: r, Quality: q, Fitting: no + 1})
		}
		if !f.FromAt.Before(first) && f.FromAt.Before(last) {
			add(f.FromAt, f.Opening, billing.QualityActual)
		}
		for _, at := range ats {
			if r, ok := m.readings[store.MeterAt{Meter: f.Meter, At: at.UTC()}]; ok && !at.Before(f.FromAt) && (f.ToAt == nil || at.Before(*f.ToAt)) {
				add(at, r.Registers, r.Quality)
			}
		}
		if f.ToAt != nil && f.ToAt.After(first) && !f.ToAt.After(last) {
			add(*f.ToAt, f.Closing, billing.QualityActual)
		}
		points = append(points, own...)
	}
	return points
}

// periodInstants are the instants of a span that lie in it.
func (m *metered) periodInstants(sp span) []time.Time {
	var ats []time.Time
	for _, at := range m.instants(sp) {
		if !at.Before(sp.from) && !at.After(sp.to) {
			ats = append(ats, at)
		}
	}
	return ats
}
