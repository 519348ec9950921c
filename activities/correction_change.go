package activities

import (
	"context"
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// change puts a correction's values in the place of what was loaded, in memory, so that a preview rates by the same path as a bill.
type change struct{ billing.CorrectionChange }

// inputs changes what says where and by which prices an account is measured. It comes before the readings are loaded, because it
// decides which ones are wanted.
func (c change) inputs(m *metered) error {
	switch {
	case c.Ratio != nil:
		c.ratio(m)
	case c.Exchange != nil:
		c.exchange(m)
	case c.Price != nil:
		t, ok := m.tariffs[c.Price.Tariff]
		if !ok {
			return billing.Errorf(billing.CodeNotFound, "there is no tariff %s: check its number", c.Price.Tariff)
		}
		corrected, err := c.Price.With(t)
		if err != nil {
			return err
		}
		m.tariffs[t.ID] = corrected
	case c.Terms != nil:
		c.terms(m)
	case c.CarryOver != nil:
		for i := range m.accounts {
			if m.accounts[i].ID == c.CarryOver.Account {
				m.accounts[i].UseBefore = c.CarryOver.Use
			}
		}
	}
	return nil
}

// terms puts an account's terms among its others, in the place of those of the same first day.
func (c change) terms(m *metered) {
	id, fresh := c.Terms.Account, store.TermsOfChange(*c.Terms)
	if fresh.Class == "" {
		fresh.Class = m.termsAt(id, fresh.FromDay).Class
	}
	all := slices.DeleteFunc(slices.Clone(m.terms[id]), func(t store.AccountTerms) bool { return t.FromDay == fresh.FromDay })
	i := slices.IndexFunc(all, func(t store.AccountTerms) bool { return t.FromDay.After(fresh.FromDay) })
	if i < 0 {
		i = len(all)
	}
	m.terms[id] = slices.Insert(all, i, fresh)
}

// readings changes what the meters showed, or what a month's quantity was. It comes after both were loaded.
func (c change) readings(m *metered) {
	if c.Quantity != nil {
		c.quantity(m)
	}
	if c.Reading == nil {
		return
	}
	at := store.MeterAt{Meter: c.Reading.Meter, At: c.Reading.At.UTC()}
	r := m.readings[at]
	r.Meter, r.FreezeAt, r.Registers, r.Quality, r.Interpolated, r.Doubtful = at.Meter, at.At, c.Reading.Registers, billing.QualityEdited, false, false
	m.readings[at] = r
}

// quantity puts a month's quantity in the place of what was entered.
func (c change) quantity(m *metered) {
	id := c.Quantity.Account
	all := slices.DeleteFunc(slices.Clone(m.quantities[id]), func(q store.PeriodQuantity) bool { return q.Month == c.Quantity.Month && q.Kind == c.Quantity.Kind })
	m.quantities = map[billing.AccountID][]store.PeriodQuantity{id: append(all, store.QuantityOfChange(*c.Quantity))} // it touches no other account
}

// ratio gives a fitting another ratio, or ends it and lets one of the same meter begin.
func (c change) ratio(m *metered) {
	for point, fs := range m.fittings {
		i := slices.IndexFunc(fs, func(f store.Fitting) bool { return f.ID == c.Ratio.Fitting })
		if i < 0 {
			continue
		}
		fs = slices.Clone(fs)
		if c.Ratio.At.Equal(fs[i].FromAt) {
			fs[i].Ratio = c.Ratio.Ratio
		} else {
			rest := fs[i]
			at := c.Ratio.At
			rest.ID, rest.Ratio, rest.FromAt, rest.Opening = 0, c.Ratio.Ratio, at, c.Ratio.Registers
			fs[i].ToAt, fs[i].Closing = &at, c.Ratio.Registers
			fs = slices.Insert(fs, i+1, rest)
		}
		m.fittings[point] = fs
	}
}

func (c change) exchange(m *metered) {
	for point, fs := range m.fittings {
		i := slices.IndexFunc(fs, func(f store.Fitting) bool { return f.ID == c.Exchange.Fitting })
		if i < 0 {
			continue
		}
		fs = slices.Clone(fs)
		if len(c.Exchange.Opening) > 0 {
			fs[i].Opening = c.Exchange.Opening
		}
		if len(c.Exchange.Closing) > 0 && i > 0 {
			fs[i-1].Closing = c.Exchange.Closing
		}
		m.fittings[point] = fs
	}
}

// checked is a correction whose every part exists and makes sense, with what it touches.
type checked struct {
	change  change
	kind    billing.CorrectionKind
	subject string
	fromAt  time.Time
	sites   []billing.SiteID
	account billing.AccountID // the one that it touches; empty for a price
}

// check refuses what can't be: an unknown meter, an instant without a reading, an end before its start, a ratio of nothing. It asks
// nothing about money yet.
func (a *Correcting) check(ctx context.Context, c billing.CorrectionChange, now time.Time) (checked, error) {
	kind, err := c.Kind()
	if err != nil {
		return checked{}, err
	}
	k := checked{change: change{c}, kind: kind}
	switch kind {
	case billing.CorrectReading:
		err = a.checkReading(ctx, c.Reading, &k)
	case billing.CorrectRatio:
		err = a.checkRatio(ctx, c.Ratio, &k)
	case billing.CorrectExchange:
		err = a.checkExchange(ctx, c.Exchange, &k)
	case billing.CorrectPrice:
		err = a.checkPrice(ctx, c.Price, &k, now)
	case billing.CorrectTerms:
		err = a.checkTerms(ctx, c.Terms, &k)
	case billing.CorrectQuantity:
		err = a.checkQuantity(ctx, c.Quantity, &k)
	case billing.CorrectCarryOver:
		err = a.checkCarryOver(ctx, c.CarryOver, &k)
	}
	if err == nil && k.fromAt.After(now) {
		err = billing.Errorf(billing.CodeInvalidInput, "%s lies in the future: a correction is about what has passed", k.fromAt.UTC().Format("2006-01-02 15:04"))
	}
	return k, err
}

func (a *Correcting) meter(ctx context.Context, id billing.MeterID) (store.Meter, error) {
	m, err := a.Store.Meter(ctx, id)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return m, billing.Errorf(billing.CodeNotFound, "there is no meter %q: check its number", id)
	}
	return m, err
}

// accountOf says which account the use at a fitting is billed to.
func (a *Correcting) accountOf(ctx context.Context, f store.Fitting, k *checked) error {
	id, err := a.Store.AccountOfPoint(ctx, f.ServicePoint)
	if err != nil {
		return err
	}
	if id == "" {
		return billing.Errorf(billing.CodeBlocked, "no account is billed by meter %s: there is nothing to correct", f.Meter)
	}
	account, err := a.Store.Account(ctx, id)
	k.account, k.sites = id, []billing.SiteID{account.Site}
	return err
}

func (a *Correcting) checkReading(ctx context.Context, c *billing.ReadingChange, k *checked) error {
	c.At = c.At.UTC()
	m, err := a.meter(ctx, c.Meter)
	if err != nil {
		return err
	}
	if err := c.Registers.Validate(m.Service); err != nil {
		return err
	}
	site, err := a.Store.Site(ctx, m.Site)
	if err != nil {
		return err
	}
	shown := c.At.In(site.Zone).Format("2006-01-02 15:04")
	current, err := a.Store.ReadingsAt(ctx, []billing.MeterID{m.ID}, c.At)
	if err != nil {
		return err
	}
	was, there := current[m.ID]
	switch {
	case !there:
		return billing.Errorf(billing.CodeNotFound, "meter %s has no reading of %s: choose one of its readings", m.ID, shown)
	case was.Doubtful:
		return billing.Errorf(billing.CodeBlocked, "the reading of meter %s of %s is in doubt: decide its exception instead", m.ID, shown)
	}
	f, err := a.fittingAt(ctx, m.ID, c.At, shown)
	if err != nil {
		return err
	}
	k.subject, k.fromAt = string(m.ID), c.At
	if err := a.accountOf(ctx, f, k); err != nil {
		return err
	}
	if slices.Equal(was.Registers, c.Registers) {
		if err := a.billedOtherwise(ctx, *k, m.ID, c.At); err != nil {
			return err
		}
	}
	return a.believable(ctx, m, c.At, c.Registers)
}

// billedOtherwise refuses a correction that confirms a reading on file, unless an issued bill says other registers: a true-up below what was
// billed leaves one behind, and nothing else reverses it.
func (a *Correcting) billedOtherwise(ctx context.Context, k checked, meter billing.MeterID, at time.Time) error {
	stale, err := a.Store.StaleBills(ctx, k.sites, []billing.AccountID{k.account})
	if err == nil && !slices.ContainsFunc(stale, func(b store.StaleBill) bool { return b.Meter == meter && b.FreezeAt.Equal(at) }) {
		err = billing.Errorf(billing.CodeInvalidInput, "meter %s shows these registers on file already: nothing would change", meter)
	}
	return err
}

// fittingAt finds where a meter hung at an instant. At the ends of a fitting its opening and closing count, not a reading.
func (a *Correcting) fittingAt(ctx context.Context, meter billing.MeterID, at time.Time, shown string) (store.Fitting, error) {
	fs, err := a.Store.FittingsOfMeter(ctx, meter)
	if err != nil {
		return store.Fitting{}, err
	}
	for _, f := range fs {
		if at.Equal(f.FromAt) || f.ToAt != nil && at.Equal(*f.ToAt) {
			return f, billing.Errorf(billing.CodeInvalidInput, "meter %s was fitted or taken off at %s: correct the values of its exchange instead", meter, shown)
		}
		if at.After(f.FromAt) && (f.ToAt == nil || at.Before(*f.ToAt)) {
			return f, nil
		}
	}
	return store.Fitting{}, billing.Errorf(billing.CodeInvalidInput, "meter %s hung nowhere at %s: nothing is billed by it then", meter, shown)
}

// believable judges a person's value between the good readings around it, as for an exception.
func (a *Correcting) believable(ctx context.Context, m store.Meter, at time.Time, registers billing.Registers) error {
	w, err := a.weighing(ctx, m, at)
	if err != nil {
		return err
	}
	if w.before, err = a.Store.LastPoints(ctx, []billing.MeterID{m.ID}, at); err != nil {
		return err
	}
	if w.after, err = a.Store.NextPoints(ctx, []billing.MeterID{m.ID}, at); err != nil {
		return err
	}
	return w.believable(m.ID, at, registers)
}

// weighing is what judges a value of one meter at an instant: the rules in force then, and the class of the meter's customer then.
func (a *Correcting) weighing(ctx context.Context, m store.Meter, at time.Time) (*weighing, error) {
	site, policy, err := sitePolicy(ctx, a.Store, m.Site)
	if err != nil {
		return nil, err
	}
	w := &weighing{site: site, policy: policy, meter: map[billing.MeterID]store.Meter{m.ID: m}}
	if w.class, err = a.Store.ClassesOfMeters(ctx, []billing.MeterID{m.ID}, at); err != nil {
		return nil, err
	}
	w.rules, err = loadRules(ctx, a.Store, policy, site.ID, at)
	return w, err
}

// maxRatio is far above any CT × PT in use; more is a slip of the pen.
const maxRatio = 1_000_000

func (a *Correcting) checkRatio(ctx context.Context, c *billing.RatioChange, k *checked) error {
	c.At = c.At.UTC()
	f, m, err := a.fitting(ctx, c.Fitting)
	if err != nil {
		return err
	}
	k.subject, k.fromAt = string(m.ID), c.At
	switch {
	case c.Ratio < 1 || c.Ratio > maxRatio:
		return billing.Errorf(billing.CodeInvalidInput, "the ratio %d can't be: it is a whole number from 1 to %d", c.Ratio, maxRatio)
	case c.Ratio == f.Ratio:
		return billing.Errorf(billing.CodeInvalidInput, "the ratio of meter %s is %d on file already: nothing would change", m.ID, f.Ratio)
	case c.At.Before(f.FromAt):
		return billing.Errorf(billing.CodeInvalidInput, "the ratio can't change before meter %s was fitted", m.ID)
	case f.ToAt != nil && !c.At.Before(*f.ToAt):
		return billing.Errorf(billing.CodeInvalidInput, "the ratio can't change after meter %s was taken off", m.ID)
	}
	if err := a.accountOf(ctx, f, k); err != nil {
		return err
	}
	if c.At.Equal(f.FromAt) {
		c.Registers = nil
		return nil
	}
	if len(c.Registers) == 0 {
		good, err := a.Store.GoodReadings(ctx, []store.MeterAt{{Meter: m.ID, At: c.At}})
		if err != nil {
			return err
		}
		r, ok := good[store.MeterAt{Meter: m.ID, At: c.At}]
		if !ok {
			return billing.Errorf(billing.CodeInvalidReading, "a change of ratio needs what the meter showed then: meter %s has no good reading at that instant, type it in", m.ID)
		}
		c.Registers = r.Registers
	}
	if err := c.Registers.Validate(m.Service); err != nil {
		return err
	}
	return a.believable(ctx, m, c.At, c.Registers)
}

func (a *Correcting) fitting(ctx context.Context, id int64) (store.Fitting, store.Meter, error) {
	f, err := a.Store.Fitting(ctx, id)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return f, store.Meter{}, billing.Errorf(billing.CodeNotFound, "there is no fitting %d: open it from its meter", id)
	}
	if err != nil {
		return f, store.Meter{}, err
	}
	m, err := a.meter(ctx, f.Meter)
	return f, m, err
}

func (a *Correcting) checkExchange(ctx context.Context, c *billing.ExchangeChange, k *checked) error {
	f, m, err := a.fitting(ctx, c.Fitting)
	if err != nil {
		return err
	}
	k.subject, k.fromAt = string(m.ID), f.FromAt
	if err := a.accountOf(ctx, f, k); err != nil {
		return err
	}
	if len(c.Opening) == 0 && len(c.Closing) == 0 {
		return billing.Errorf(billing.CodeInvalidInput, "say what the meters really showed: the opening, the closing, or both")
	}
	if len(c.Opening) > 0 {
		if err := c.Opening.Validate(m.Service); err != nil {
			return err
		}
	}
	if len(c.Closing) == 0 {
		return nil
	}
	at, err := a.Store.Fittings(ctx, []billing.ServicePointID{f.ServicePoint})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(at[f.ServicePoint], func(o store.Fitting) bool { return o.ToAt != nil && o.ToAt.Equal(f.FromAt) })
	if i < 0 {
		return billing.Errorf(billing.CodeInvalidInput, "no meter hung there before meter %s: only its opening can be corrected", m.ID)
	}
	before, err := a.meter(ctx, at[f.ServicePoint][i].Meter)
	if err != nil {
		return err
	}
	if err := c.Closing.Validate(before.Service); err != nil {
		return err
	}
	return a.closes(ctx, before, f.FromAt, c.Closing)
}

// closes judges a closing after the last good reading of a meter that was taken off then.
func (a *Correcting) closes(ctx context.Context, m store.Meter, at time.Time, closing billing.Registers) error {
	points, err := a.Store.LastPoints(ctx, []billing.MeterID{m.ID}, at)
	if err != nil {
		return err
	}
	last, ok := points[m.ID]
	if !ok {
		return nil
	}
	w, err := a.weighing(ctx, m, at)
	if err != nil {
		return err
	}
	for _, f := range metering.Validate(metering.Check{
		Meter:    metering.Meter{Service: m.Service, Digits: m.Digits, CapacityPerHour: m.CapacityPerHour},
		Previous: &metering.Reading{At: last.At, Registers: last.Registers, Supply: billing.SupplyUnknown},
		Current:  &metering.Reading{At: at, Registers: closing, Supply: billing.SupplyUnknown}, Limits: w.limits(m.ID),
	}) {
		if f.Rule == metering.RuleNegative || f.Rule == metering.RuleCapacity || f.Rule == metering.RuleMalformed {
			return billing.Errorf(billing.CodeInvalidReading, "meter %s can't have closed with these registers after its last reading: check the exchange's paper", m.ID)
		}
	}
	return nil
}

func (a *Correcting) checkPrice(ctx context.Context, c *billing.PriceCorrection, k *checked, now time.Time) error {
	t, err := a.Store.Tariff(ctx, c.Tariff)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return billing.Errorf(billing.CodeNotFound, "there is no tariff %s: check its number", c.Tariff)
	}
	if err != nil {
		return err
	}
	corrected, err := c.With(t)
	if err != nil {
		return err
	}
	_, until, err := corrected.VersionAt(c.Version.From)
	if err != nil {
		return err
	}
	breaches, err := a.Store.CeilingBreaches(ctx, c.Tariff, t.Service, c.Version, until)
	if err != nil {
		return err
	}
	if len(breaches) > 0 {
		return breaches[0].Refusal()
	}
	if k.sites, err = a.Store.SitesOfTariff(ctx, c.Tariff); err != nil {
		return err
	}
	if len(k.sites) == 0 {
		return billing.Errorf(billing.CodeBlocked, "no account has the tariff %s: publish the price, there is nothing to correct", c.Tariff)
	}
	site, err := a.Store.Site(ctx, k.sites[0])
	if err != nil {
		return err
	}
	k.subject, k.fromAt = string(c.Tariff), c.Version.From.Start(site.Zone)
	if k.fromAt.After(now) {
		return billing.Errorf(billing.CodeInvalidInput, "the price starts on %s, in the future: publish it, there is nothing to correct", c.Version.From)
	}
	return nil
}

func (a *Correcting) checkTerms(ctx context.Context, c *billing.TermsChange, k *checked) error {
	account, site, err := a.aboutAccount(ctx, c.Account, k)
	if err != nil {
		return err
	}
	k.fromAt = c.From.Start(site.Zone)
	t, err := a.Store.Tariff(ctx, c.Tariff)
	switch {
	case billing.CodeOf(err) == billing.CodeNotFound:
		return billing.Errorf(billing.CodeNotFound, "there is no tariff %s: check its number", c.Tariff)
	case err != nil:
		return err
	case t.Service != account.Service:
		return billing.Errorf(billing.CodeInvalidInput, "the tariff %s is for another service than account %s", c.Tariff, account.ID)
	case c.From.Before(account.OpenedOn):
		return billing.Errorf(billing.CodeInvalidInput, "%s lies before account %s was opened: choose %s or a later day", c.From, account.ID, account.OpenedOn)
	case c.ArrearsContract && account.CreditMode == billing.CreditMeter:
		return store.ErrMeterArrears()
	}
	all, err := a.Store.TermsOf(ctx, []billing.AccountID{account.ID})
	if err != nil {
		return err
	}
	now := (&metered{terms: all}).termsAt(account.ID, c.From)
	if account.CreditMode == billing.CreditMeter && now.Tariff != c.Tariff {
		return billing.Errorf(billing.CodeBlocked, "The account's meter holds its prices itself: publish the prices with a change of its tariff, which writes them to the meter.")
	}
	if now.Tariff != c.Tariff {
		if err := a.Store.TariffBelowCeilings(ctx, account, c.Tariff, c.From); err != nil {
			return err
		}
	}
	if c.Class == "" {
		c.Class = now.Class
	}
	fresh := store.TermsOfChange(*c)
	if err := fresh.Check(); err != nil {
		return err
	}
	if err := store.CheckRegister(all[account.ID], fresh); err != nil {
		return err
	}
	if now.Tariff == fresh.Tariff && now.Class == fresh.Class && now.Persons == fresh.Persons && now.CapacityKVA == fresh.CapacityKVA && now.SuspendedKVA == fresh.SuspendedKVA &&
		now.ContractDemandKW == fresh.ContractDemandKW && now.ChargeChoice == fresh.ChargeChoice && now.ContractRegister == fresh.ContractRegister && now.ArrearsContract == fresh.ArrearsContract {
		return billing.Errorf(billing.CodeInvalidInput, "the terms of account %s are these on file already: nothing would change", account.ID)
	}
	return nil
}

// aboutAccount reads the account that a correction is about, with its site, and notes that it is.
func (a *Correcting) aboutAccount(ctx context.Context, id billing.AccountID, k *checked) (store.Account, store.Site, error) {
	account, err := a.Store.Account(ctx, id)
	if err != nil {
		return account, store.Site{}, err
	}
	k.account, k.sites, k.subject = account.ID, []billing.SiteID{account.Site}, string(account.ID)
	site, err := a.Store.Site(ctx, account.Site)
	return account, site, err
}

func (a *Correcting) checkQuantity(ctx context.Context, c *billing.QuantityChange, k *checked) error {
	account, site, err := a.aboutAccount(ctx, c.Account, k)
	if err != nil {
		return err
	}
	k.fromAt = c.Month.Start(site.Zone)
	switch {
	case c.Month.Day() != 1:
		return billing.Errorf(billing.CodeInvalidInput, "A quantity belongs to a whole month, not to %s.", c.Month)
	case !billing.MonthPeriod(c.Month).To.After(account.OpenedOn):
		return billing.Errorf(billing.CodeInvalidInput, "%s lies before account %s was opened: choose %s or a later day", c.Month, account.ID, account.OpenedOn)
	case !slices.Contains(store.QuantityKinds, c.Kind):
		return billing.Errorf(billing.CodeInvalidInput, "There is no quantity %q of a month: choose demand_kw, kvarh or reverse.", c.Kind)
	case c.Value.Sign() < 0:
		return billing.Errorf(billing.CodeInvalidInput, "The quantity %s is negative: enter it as the meter or the slip shows it.", c.Value)
	}
	all, err := a.Store.PeriodQuantities(ctx, []billing.AccountID{account.ID}, c.Month, c.Month)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all[account.ID], func(q store.PeriodQuantity) bool { return q.Kind == c.Kind && q.Value.Cmp(c.Value) == 0 }) {
		return billing.Errorf(billing.CodeInvalidInput, "this quantity of account %s stands on file already: nothing would change", account.ID)
	}
	return nil
}

// maxCarryOver, ten thousand million kWh or a thousand million m³, is far above what any account uses in a year; more is a slip of the pen.
const maxCarryOver = 1_000_000_000_000

func (a *Correcting) checkCarryOver(ctx context.Context, c *billing.CarryOverChange, k *checked) error {
	account, site, err := a.aboutAccount(ctx, c.Account, k)
	if err != nil {
		return err
	}
	k.fromAt = account.OpenedOn.Start(site.Zone)
	switch {
	case c.Use < 0 || c.Use > maxCarryOver:
		return billing.Errorf(billing.CodeInvalidInput, "The use before account %s was opened can't be %s %s: enter what the former system's bills of that year come to.",
			account.ID, account.Service.Format(c.Use), account.Service.Unit())
	case c.Use == account.UseBefore:
		return billing.Errorf(billing.CodeInvalidInput, "the use before account %s was opened is this on file already: nothing would change", account.ID)
	}
	return nil
}
