package activities

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// wantQuantities loads the quantities of the spans' months.
func (m *metered) wantQuantities(ctx context.Context, s *store.Store, spans []span) error {
	if len(spans) == 0 {
		return nil
	}
	var ids []billing.AccountID
	first, last := spans[0].from, spans[0].to
	for _, sp := range spans {
		if m.monthly(sp) || m.reversed(sp) != nil {
			ids = append(ids, sp.account.ID)
			first, last = earlier(first, sp.from), later(last, sp.to)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var err error
	m.quantities, err = s.PeriodQuantities(ctx, ids, billing.DateOf(first, m.site.Zone), billing.DateOf(last.Add(-1), m.site.Zone))
	return err
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// termsIn are the terms that hold on some day of a span, the first of them from before it.
func (m *metered) termsIn(sp span) []store.AccountTerms {
	all := m.terms[sp.account.ID]
	first, last := billing.DateOf(sp.from, m.site.Zone), billing.DateOf(sp.to.Add(-1), m.site.Zone)
	for len(all) > 1 && !all[1].FromDay.After(first) {
		all = all[1:]
	}
	for len(all) > 1 && all[len(all)-1].FromDay.After(last) {
		all = all[:len(all)-1]
	}
	return all
}

// termsAt are the terms of an account on a day, those of its first day before it.
func (m *metered) termsAt(account billing.AccountID, day billing.Date) store.AccountTerms {
	var found store.AccountTerms
	for i, t := range m.terms[account] {
		if i == 0 || !t.FromDay.After(day) {
			found = t
		}
	}
	return found
}

// any says whether some version in force in a span has a quality.
func (m *metered) any(sp span, has func(billing.TariffVersion) bool) bool {
	first, last := billing.DateOf(sp.from, m.site.Zone), billing.DateOf(sp.to.Add(-1), m.site.Zone)
	for _, t := range m.termsIn(sp) {
		versions := m.tariffs[t.Tariff].Versions
		for i, v := range versions {
			ended := i+1 < len(versions) && !versions[i+1].From.After(first)
			if !ended && !v.From.After(last) && has(v) {
				return true
			}
		}
	}
	return false
}

func (m *metered) monthly(sp span) bool {
	return m.any(sp, func(v billing.TariffVersion) bool {
		return v.Has(billing.KindDemand) || v.Has(billing.KindPowerFactor) || v.Has(billing.KindCapacity)
	})
}

// input is what prices a span. A span that ends before its period does is open: a charge to date.
func (m *metered) input(sp span) (rating.Input, error) {
	day := billing.DateOf(sp.from, m.site.Zone)
	id := m.termsAt(sp.account.ID, day).Tariff
	tariff, ok := m.tariffs[id]
	if !ok {
		return rating.Input{}, billing.Errorf(billing.CodeTariffMissing, "account %s names the tariff %s, which does not exist: publish it or give the account another", sp.account.ID, id)
	}
	in := rating.Input{
		Tariff: tariff, Location: m.site.Zone, From: sp.from, To: sp.to,
		Open: sp.to.Before(billing.MonthPeriod(day).To.Start(m.site.Zone)), Months: m.months(sp),
	}
	if sp.account.UseBefore == 0 {
		in.OpenedOn = sp.account.OpenedOn // one that was taken over has been a customer before
	}
	for no, f := range m.fittings[sp.account.ServicePoint] {
		in.Fittings = append(in.Fittings, rating.Fitting{No: no + 1, Meter: f.Meter, Ratio: int64(f.Ratio), Digits: f.Digits})
	}
	in.Points = m.points(sp.account, sortedTimes(m.periodInstants(sp)), sp.from, sp.to)
	in.Terms = m.ratedTerms(sp, id)
	var err error
	if in.UsedInYear, err = m.usedBefore(sp, billing.PerYear); err != nil {
		return in, err
	}
	in.UsedInMonth, err = m.usedBefore(sp, billing.PerMonth)
	return in, err
}

// ratedTerms are the account's terms since the start of the step year. Terms that say no more than the tariff are left out: most
// accounts have no others, and are priced by one plan.
func (m *metered) ratedTerms(sp span, tariff billing.TariffID) []rating.Terms {
	year := billing.NewDate(billing.DateOf(sp.from, m.site.Zone).Year(), time.January, 1)
	last := billing.DateOf(sp.to.Add(-1), m.site.Zone)
	var list []rating.Terms
	plain := true
	for i, t := range m.terms[sp.account.ID] {
		next := i+1 < len(m.terms[sp.account.ID]) && !m.terms[sp.account.ID][i+1].FromDay.After(year)
		if next || t.FromDay.After(last) {
			continue
		}
		one := rating.Terms{
			From: t.FromDay, Persons: t.Persons, CapacityKVA: t.CapacityKVA, SuspendedKVA: t.SuspendedKVA, ContractDemandKW: t.ContractDemandKW,
			Choice: t.ChargeChoice, Register: t.Register(),
		}
		plain = plain && t.Tariff == tariff && one == rating.Terms{From: t.FromDay}
		if t.Tariff != tariff {
			other := m.tariffs[t.Tariff]
			one.Tariff = &other
		}
		list = append(list, one)
	}
	if plain {
		return nil
	}
	return list
}

// reversed is the energy in kWh that went the other way in a span, by the meter's own reverse register, after ratio; nil where the meter doesn't tell,
// or not for all of the span: at an exchange nobody reads that register. It is reported, never netted.
func (m *metered) reversed(sp span) *billing.Quantity {
	if sp.account.Service != billing.Power {
		return nil
	}
	for _, f := range m.fittings[sp.account.ServicePoint] {
		if f.FromAt.After(sp.from) || f.ToAt != nil && f.ToAt.Before(sp.to) {
			continue
		}
		first, last := m.readings[store.MeterAt{Meter: f.Meter, At: sp.from.UTC()}], m.readings[store.MeterAt{Meter: f.Meter, At: sp.to.UTC()}]
		if first.Reverse == nil || last.Reverse == nil {
			return nil
		}
		use, err := billing.Usage(billing.Registers{*first.Reverse}, billing.Registers{*last.Reverse}, f.Digits)
		if err != nil || use[0] == 0 {
			return nil
		}
		quantity := sp.account.Service.Quantity(use[0] * int64(f.Ratio))
		return &quantity
	}
	return nil
}

// months are the quantities of the span's month: those on file, and by the meter's own showing the reverse energy that nobody has entered.
func (m *metered) months(sp span) []rating.Month {
	month := rating.Month{First: billing.MonthPeriod(billing.DateOf(sp.from, m.site.Zone)).From, Reverse: m.reversed(sp)}
	found := month.Reverse != nil
	for _, q := range m.quantities[sp.account.ID] {
		if q.Month != month.First {
			continue
		}
		value := q.Value
		switch q.Kind {
		case store.DemandKW:
			month.DemandKW = &value
		case store.Kvarh:
			month.Kvarh = &value
		case store.Reverse:
			month.Reverse = &value
		}
		found = true
	}
	if !found {
		return nil
	}
	return []rating.Month{month}
}

// usedBefore counts what the account used in the span's step year, or month, before the span. Tariffs without steps of that kind
// don't need it. In the year in which it was opened, the use that it brought along from the former system counts too.
func (m *metered) usedBefore(sp span, per billing.Accumulate) (billing.Quantity, error) {
	if !m.any(sp, func(v billing.TariffVersion) bool { return v.Steps(per) }) {
		return billing.Quantity{}, nil
	}
	day := billing.DateOf(sp.from, m.site.Zone)
	var raw int64
	months := m.yearMonths(sp)
	if per == billing.PerYear && sp.account.OpenedOn.Year() == day.Year() {
		raw = sp.account.UseBefore
	}
	if per == billing.PerMonth {
		first := billing.MonthPeriod(day).From.Start(m.site.Zone)
		for len(months) > 0 && months[0].Before(first) {
			months = months[1:]
		}
	}
	if len(months) == 0 {
		return sp.account.Service.Quantity(raw), nil
	}
	start := months[0]
	if f := m.fittings[sp.account.ServicePoint][0].FromAt; f.After(start) {
		start = f
	}
	used, err := m.countUse(sp.account, m.points(sp.account, sortedTimes(append(months, sp.from)), start, sp.from), start, sp.from)
	return sp.account.Service.Quantity(raw + used + m.adjustedIn(sp.account.ID, day, per)), err
}

// adjustedIn is by how much the true use of the step year before a day differs from what a faulty meter registered, as far as it was
// adjusted before the day's bill. A step month is never adjusted before its bill.
func (m *metered) adjustedIn(account billing.AccountID, day billing.Date, per billing.Accumulate) (raw int64) {
	if per != billing.PerYear {
		return 0
	}
	for _, a := range m.adjusted[account] {
		if a.PeriodFrom.Year() == day.Year() && !day.Before(a.NextFrom) {
			raw += a.Steps
		}
	}
	return raw
}

// countUse adds the use of the counted register, after ratio, between consecutive points of each fitting, over [from, to].
func (m *metered) countUse(a store.MeteredAccount, points []rating.Point, from, to time.Time) (int64, error) {
	if !from.Before(to) {
		return 0, nil
	}
	if len(points) < 2 || !points[0].At.Equal(from) || !points[len(points)-1].At.Equal(to) {
		return 0, billing.Errorf(billing.CodeInvalidReading, "There is no good reading at the start of the step year or of the period: take or estimate one.")
	}
	fittings := m.fittings[a.ServicePoint]
	var sum int64
	for i := 1; i < len(points); i++ {
		before, after := points[i-1], points[i]
		if before.Fitting != after.Fitting {
			continue
		}
		f := fittings[after.Fitting-1]
		use, err := billing.Usage(before.Registers, after.Registers, f.Digits)
		if err != nil {
			return 0, err
		}
		counted := m.termsAt(a.ID, billing.DateOf(before.At, m.site.Zone)).Register()
		if int(counted) >= len(use) {
			return 0, billing.Errorf(billing.CodeInvalidReading, "The contract bills by the %s register, which meter %s doesn't have: correct the account's terms.", counted, f.Meter)
		}
		sum += use[counted] * int64(f.Ratio)
	}
	return sum, nil
}

// rate prices a span.
func (m *metered) rate(sp span) (rating.Result, rating.Input, error) {
	in, err := m.input(sp)
	if err != nil {
		return rating.Result{}, in, err
	}
	in.Late = m.lateOf(sp)
	r, err := m.rater.Rate(&in)
	if err != nil {
		return rating.Result{}, in, err
	}
	return r.Clone(), in, nil
}

// toDate is what a span comes to for the daily charge. A month that is over is charged like its bill; while a quantity of it is
// missing it is charged to date, so that nobody's days wait for it, and the bill, which does wait, takes the rest.
func (m *metered) toDate(sp span) (billing.Money, error) {
	in, err := m.input(sp)
	if err != nil {
		return 0, err
	}
	in.Open = in.Open || m.lacks(sp, in)
	r, err := m.rater.Rate(&in)
	if err != nil {
		return 0, err
	}
	return r.Total, nil
}

// lacks says whether the month's demand or reactive energy is charged and not on file.
func (m *metered) lacks(sp span, in rating.Input) bool {
	var month rating.Month
	if len(in.Months) > 0 {
		month = in.Months[0]
	}
	return month.Kvarh == nil && m.any(sp, func(v billing.TariffVersion) bool { return v.Has(billing.KindPowerFactor) }) ||
		month.DemandKW == nil && m.any(sp, func(v billing.TariffVersion) bool { return v.Has(billing.KindDemand) })
}
