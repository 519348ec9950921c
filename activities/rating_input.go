package activities

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// ratingEngine is the version of the pricing that bills name, so that a line can be derived again by the code that made it.
const ratingEngine = "rating/1"

// metered is a page of accounts with all that rating them takes, loaded in a few queries for the whole page.
type metered struct {
	site     store.Site
	tariffs  map[billing.TariffID]billing.Tariff
	accounts []store.MeteredAccount
	fittings map[billing.ServicePointID][]store.Fitting
	readings map[store.MeterAt]store.Reading
}

// span is a stretch of an account's use that is to be rated.
type span struct {
	account  store.MeteredAccount
	from, to time.Time
}

// loadMetered reads tariffs and fittings for a page; readings are loaded by want.
func loadMetered(ctx context.Context, s *store.Store, site store.Site, accounts []store.MeteredAccount) (*metered, error) {
	m := &metered{site: site, accounts: accounts, readings: map[store.MeterAt]store.Reading{}}
	var err error
	if m.tariffs, err = s.Tariffs(ctx); err != nil {
		return nil, err
	}
	points := make([]billing.ServicePointID, len(accounts))
	for i, a := range accounts {
		points[i] = a.ServicePoint
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
	for at, r := range found {
		m.readings[at] = r
	}
	return err
}

// instants are the ends of a span, the days on which a new price starts, and the first midnights of its step year's months: use
// is counted from month to month, so that a register may wrap more than once a year.
func (m *metered) instants(sp span) []time.Time {
	ats := []time.Time{sp.from, sp.to}
	for _, v := range m.tariffs[sp.account.Tariff].Versions {
		if at := v.From.Start(m.site.Zone); at.After(sp.from) && at.Before(sp.to) {
			ats = append(ats, at)
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

// input is what prices a span.
func (m *metered) input(sp span) (rating.Input, error) {
	tariff, ok := m.tariffs[sp.account.Tariff]
	if !ok {
		return rating.Input{}, billing.Errorf(billing.CodeTariffMissing, "account %s names the tariff %s, which does not exist: publish it or give the account another", sp.account.ID, sp.account.Tariff)
	}
	in := rating.Input{Tariff: tariff, Location: m.site.Zone, From: sp.from, To: sp.to}
	for no, f := range m.fittings[sp.account.ServicePoint] {
		in.Fittings = append(in.Fittings, rating.Fitting{No: no + 1, Meter: f.Meter, Ratio: int64(f.Ratio), Digits: f.Digits})
	}
	in.Points = m.points(sp.account, sortedTimes(m.periodInstants(sp)), sp.from, sp.to)
	used, err := m.usedInYear(sp, tariff)
	in.UsedInYear = used
	return in, err
}

func (m *metered) periodInstants(sp span) []time.Time {
	var ats []time.Time
	for _, at := range m.instants(sp) {
		if !at.Before(sp.from) && !at.After(sp.to) {
			ats = append(ats, at)
		}
	}
	return ats
}

// usedInYear counts what the account used in the span's step year before the span: what it brought along from the former system in
// the year in which it was opened, and the readings since. Tariffs without yearly steps don't need it.
func (m *metered) usedInYear(sp span, tariff billing.Tariff) (billing.Quantity, error) {
	day := billing.DateOf(sp.from, m.site.Zone)
	version, _, err := tariff.VersionAt(day)
	if err != nil || !version.Steps(billing.PerYear) {
		return billing.Quantity{}, err
	}
	var raw int64
	if sp.account.OpenedOn.Year() == day.Year() {
		raw = sp.account.UseBefore
	}
	months := m.yearMonths(sp)
	if len(months) == 0 {
		return sp.account.Service.Quantity(raw), nil
	}
	start := months[0]
	if f := m.fittings[sp.account.ServicePoint][0].FromAt; f.After(start) {
		start = f
	}
	used, err := countUse(m.points(sp.account, sortedTimes(append(months, sp.from)), start, sp.from), m.fittings[sp.account.ServicePoint], start, sp.from)
	return sp.account.Service.Quantity(raw + used), err
}

// countUse adds the total use after ratio between consecutive points of each fitting, over [from, to].
func countUse(points []rating.Point, fittings []store.Fitting, from, to time.Time) (int64, error) {
	if !from.Before(to) {
		return 0, nil
	}
	if len(points) < 2 || !points[0].At.Equal(from) || !points[len(points)-1].At.Equal(to) {
		return 0, billing.Errorf(billing.CodeInvalidReading, "There is no good reading at the start of the step year or of the period: take or estimate one.")
	}
	var sum int64
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		if a.Fitting != b.Fitting {
			continue
		}
		f := fittings[b.Fitting-1]
		use, err := billing.Usage(a.Registers, b.Registers, f.Digits)
		if err != nil {
			return 0, err
		}
		sum += use.Total() * int64(f.Ratio)
	}
	return sum, nil
}

// rate prices a span.
func (m *metered) rate(sp span) (rating.Result, rating.Input, error) {
	in, err := m.input(sp)
	if err != nil {
		return rating.Result{}, in, err
	}
	r, err := rating.Rate(in)
	return r, in, err
}
