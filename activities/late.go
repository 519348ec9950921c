package activities

import (
	"context"
	"slices"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// lateFacts is what the late fees of a page's accounts depend on. Only those with an arrears contract have any.
type lateFacts struct {
	policy   billing.LateFeePolicy
	issued   map[billing.AccountID][]store.IssuedUse
	received map[billing.AccountID][]store.Received
	// revised is what bills ask for once a correction has been applied, without their late fees, by the first day of their period.
	revised map[billing.AccountID]map[billing.Date]billing.Money
}

// wantLate loads what the late fees in the spans depend on; nothing for a page without an arrears contract.
func (m *metered) wantLate(ctx context.Context, s *store.Store, spans []span) error {
	var ids []billing.AccountID
	var last billing.Date
	for _, sp := range spans {
		if !slices.ContainsFunc(m.terms[sp.account.ID], func(t store.AccountTerms) bool { return t.ArrearsContract }) {
			continue
		}
		ids = append(ids, sp.account.ID)
		if day := billing.DateOf(sp.to.Add(-1), m.site.Zone); day.After(last) {
			last = day
		}
	}
	if len(ids) == 0 {
		return nil
	}
	policy, err := s.LateFees(ctx, m.site)
	if err != nil {
		return err
	}
	f := &lateFacts{policy: policy, revised: map[billing.AccountID]map[billing.Date]billing.Money{}}
	if f.issued, err = s.IssuedUses(ctx, ids, last); err != nil {
		return err
	}
	f.received, err = s.ReceivedUpTo(ctx, ids, last)
	m.late = f
	return err
}

// revise says what a bill asks for after the correction that is being computed or applied: later bills' late fees follow from it.
func (m *metered) revise(account billing.AccountID, d store.Draft, period billing.Date) {
	if m.late == nil {
		return
	}
	if m.late.revised[account] == nil {
		m.late.revised[account] = map[billing.Date]billing.Money{}
	}
	m.late.revised[account][period] = d.TotalFen - d.LateFen
}

// lateOf is what is overdue in a span; nil when nothing is. It holds no more than the span's late fee takes, so that a bill's input
// stays what it is whatever is paid or billed later.
func (m *metered) lateOf(sp span) *rating.Late {
	if m.late == nil {
		return nil
	}
	first, last := billing.DateOf(sp.from, m.site.Zone), billing.DateOf(sp.to.Add(-1), m.site.Zone)
	l := &rating.Late{Rates: m.lateRates(sp.account, last)}
	if !slices.ContainsFunc(l.Rates, func(r rating.LateRate) bool { return !r.SameYear.IsZero() || !r.EarlierYears.IsZero() }) {
		return nil
	}
	l.Debts, l.Payments = m.late.debts(sp.account, billing.MonthPeriod(first).From, last)
	if trimLate(l, first); len(l.Debts) == 0 {
		return nil
	}
	return l
}

// lateRates are the shares up to a day: those of the policy for the customer's class on each day, while the terms have an arrears contract.
func (m *metered) lateRates(a store.MeteredAccount, last billing.Date) []rating.LateRate {
	rules := m.late.policy.Of(a.Service)
	var days []billing.Date
	for _, r := range rules {
		days = append(days, r.From)
	}
	for _, t := range m.terms[a.ID] {
		days = append(days, t.FromDay)
	}
	slices.SortFunc(days, billing.Date.Compare)
	var rates []rating.LateRate
	for _, day := range slices.Compact(days) {
		if day.After(last) {
			break
		}
		now := rating.LateRate{From: day}
		if i, t := billing.LateFeeRuleOn(rules, day), m.termsAt(a.ID, day); i >= 0 && t.ArrearsContract {
			r := rules[i]
			now.SameYear, now.EarlierYears, now.Minimum, now.Tax = r.Other, r.OtherEarlier, r.MinimumFen, r.TaxRate
			if t.Class == billing.ClassHousehold {
				now.SameYear, now.EarlierYears = r.Household, r.Household
			}
		}
		if n := len(rates); n > 0 && (rating.LateRate{From: day, SameYear: rates[n-1].SameYear, EarlierYears: rates[n-1].EarlierYears, Minimum: rates[n-1].Minimum, Tax: rates[n-1].Tax}) == now {
			continue
		}
		rates = append(rates, now)
	}
	return rates
}

// debts are what the bills before a period asked for and had made due before its last day, by due day, and the money that paid them.
// What a correction added to a bill is due only after the corrected bill, also when it only gives back what one before took away; what it took away
// was never owed.
func (f *lateFacts) debts(a store.MeteredAccount, period, last billing.Date) (debts []rating.Debt, payments []rating.Payment) {
	rules := f.policy.Of(a.Service)
	for _, r := range f.received[a.ID] {
		if !r.Day.After(last) {
			payments = append(payments, rating.Payment{Day: r.Day, Amount: r.Fen})
		}
	}
	issued := f.issued[a.ID]
	for i := 0; i < len(issued); {
		month := issued[i].PeriodFrom
		n := i
		for n < len(issued) && issued[n].PeriodFrom == month {
			n++
		}
		versions := issued[i:n]
		if i = n; !month.Before(period) {
			break
		}
		asked, revised := f.revised[a.ID][month]
		for _, v := range versions {
			if v.Counts && !revised {
				asked = v.UseFen
			}
		}
		if asked < 0 { // a bill that gives back pays others
			payments = append(payments, rating.Payment{Day: versions[len(versions)-1].IssuedOn, Amount: -asked})
		}
		// What a version asked for counts from its day on as far as no later one took it away again.
		levels := make([]billing.Money, len(versions))
		level := max(asked, 0)
		for i, v := range slices.Backward(versions) {
			level = max(min(level, v.UseFen), 0)
			levels[i] = level
		}
		var covered billing.Money
		for i, v := range versions {
			part := levels[i] - covered
			if part == 0 {
				continue
			}
			covered = levels[i]
			if due := v.IssuedOn.AddDays(rules[max(0, billing.LateFeeRuleOn(rules, v.IssuedOn))].DueDays); due.Before(last) {
				debts = append(debts, rating.Debt{Month: month, Due: due, Amount: part})
			}
		}
	}
	slices.SortStableFunc(debts, func(x, y rating.Debt) int { return x.Due.Compare(y.Due) })
	slices.SortStableFunc(payments, func(x, y rating.Payment) int { return x.Day.Compare(y.Day) })
	return debts, payments
}

// trimLate leaves out the debts that were settled on all days from first on with the money that settled them, and adds up what came
// before the oldest of the others was late. A debt whose bill has another one among those that stay is left in: the least fee is per bill.
func trimLate(l *rating.Late, first billing.Date) {
	var sum, least billing.Money
	started := false
	for _, p := range l.Payments {
		if p.Day.After(first) && !started {
			least, started = sum, true
		}
		sum += p.Amount
		if started {
			least = min(least, sum)
		}
	}
	if !started {
		least = sum
	}
	out := 0
	for sum = 0; out < len(l.Debts) && sum+l.Debts[out].Amount <= least; out++ {
		sum += l.Debts[out].Amount
	}
	for i, d := range l.Debts[:out] {
		if slices.ContainsFunc(l.Debts[out:], func(o rating.Debt) bool { return o.Month == d.Month }) {
			out = i // the same bill's least fee may have been charged with it
			break
		}
	}
	var settled billing.Money
	for _, d := range l.Debts[:out] {
		settled += d.Amount
	}
	if l.Debts = l.Debts[out:]; len(l.Debts) == 0 {
		return
	}
	before := rating.Payment{Day: l.Debts[0].Due, Amount: -settled}
	rest := l.Payments
	for len(rest) > 0 && !rest[0].Day.After(before.Day) {
		before.Amount += rest[0].Amount
		rest = rest[1:]
	}
	l.Payments = rest
	if before.Amount != 0 {
		l.Payments = append([]rating.Payment{before}, rest...)
	}
}
