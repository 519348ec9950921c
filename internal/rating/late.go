package rating

import (
	"slices"
	"strconv"

	"github.com/meterflow/meterflow/internal/billing"
)

// KindLateFee is the kind of the lines of a late fee. No tariff has such a
// component: the fee follows from the contract, not from the price.
const KindLateFee billing.ComponentKind = "late_fee"

// The keys of a late fee's lines: the days, and what the least fee changes.
const (
	LateFee        = "late_fee"
	LateFeeMinimum = "late_fee_minimum"
)

// Late is what a late fee on unpaid bills depends on; docs/tariffs.md, section
// 4.8, says how (rule 30).
type Late struct {
	// Rates are in order of their first days; before the first there is no fee.
	Rates []LateRate `json:"rates"`
	// Debts are in order of their due days: so money pays them.
	Debts []Debt `json:"debts"`
	// Payments are in order of their days.
	Payments []Payment `json:"payments,omitempty"`
}

// LateRate is the share of a debt that a day costs, from a day on. Shares of 0
// are no fee: the contract knows none on these days.
type LateRate struct {
	From billing.Date `json:"from"`
	// SameYear is for days of the year in which the debt fell due,
	// EarlierYears for those after it.
	SameYear     billing.Price `json:"same_year"`
	EarlierYears billing.Price `json:"earlier_years"`
	// Minimum is the least that the fee on one bill comes to, over all its days.
	Minimum billing.Money `json:"minimum_fen"`
	// Tax is the rate of the VAT that the fee contains; 0 is none. What holds
	// on a period's last day is reported for the fees of the period.
	Tax billing.Factor `json:"tax,omitzero"`
}

// Debt is what a bill, or the part of it that a correction added, asks for:
// use, without late fees. It is late on the days after Due.
type Debt struct {
	Month  billing.Date  `json:"month"` // first day of the bill's period
	Due    billing.Date  `json:"due"`
	Amount billing.Money `json:"amount_fen"`
}

// Payment is money that came on a day, negative when it was taken back. A debt
// that is paid on a day isn't late on that day.
type Payment struct {
	Day    billing.Date  `json:"day"`
	Amount billing.Money `json:"amount_fen"`
}

// check refuses what is out of order.
func (l *Late) check() error {
	for i, r := range l.Rates {
		if i > 0 && !l.Rates[i-1].From.Before(r.From) {
			return billing.Errorf(billing.CodeInvalidInput, "The late fee of %s stands after that of %s: order them by their first day.", r.From, l.Rates[i-1].From)
		}
		if r.SameYear.Sign() < 0 || r.EarlierYears.Sign() < 0 || r.Minimum < 0 {
			return billing.Errorf(billing.CodeInvalidInput, "The late fee of %s is negative: write a share of 0 or more.", r.From)
		}
	}
	for i, d := range l.Debts {
		if i > 0 && d.Due.Before(l.Debts[i-1].Due) {
			return billing.Errorf(billing.CodeInvalidInput, "The debt due on %s stands after that of %s: order them by their due day.", d.Due, l.Debts[i-1].Due)
		}
		if d.Amount < 0 {
			return billing.Errorf(billing.CodeInvalidInput, "The debt due on %s is negative: leave it out.", d.Due)
		}
	}
	for i, p := range l.Payments {
		if i > 0 && p.Day.Before(l.Payments[i-1].Day) {
			return billing.Errorf(billing.CodeInvalidInput, "The payment of %s stands after that of %s: order them by their day.", p.Day, l.Payments[i-1].Day)
		}
	}
	return nil
}

// paid is what had come by the end of a day.
func (l *Late) paid(day billing.Date) (sum billing.Money) {
	for _, p := range l.Payments {
		if p.Day.After(day) {
			break
		}
		sum += p.Amount
	}
	return sum
}

// rate is what holds on a day; the zero rate before the first.
func (l *Late) rate(day billing.Date) (r LateRate) {
	for _, next := range l.Rates {
		if next.From.After(day) {
			break
		}
		r = next
	}
	return r
}

// overdue is days [from, until) of one calendar month on which the same part of
// a debt stood open at the same share.
type overdue struct {
	from, until billing.Date
	unpaid      billing.Money
	share       billing.Price
	minimum     billing.Money
}

// overdues are the late days of a debt, up to last; older are the debts that
// money pays first. They are also cut at first, so that the days of one
// period are those that its bill charges.
func (l *Late) overdues(d Debt, older billing.Money, first, last billing.Date) []overdue {
	start := d.Due.AddDays(1)
	cuts := []billing.Date{start}
	cut := func(day billing.Date) {
		if day.After(start) && !day.After(last) {
			cuts = append(cuts, day)
		}
	}
	cut(first)
	for _, p := range l.Payments {
		cut(p.Day)
	}
	for _, r := range l.Rates {
		cut(r.From)
	}
	for month := billing.MonthPeriod(start).To; !month.After(last); month = billing.MonthPeriod(month).To {
		cut(month)
	}
	slices.SortFunc(cuts, billing.Date.Compare)
	cuts = slices.Compact(cuts)
	var list []overdue
	for i, from := range cuts {
		if from.After(last) {
			break
		}
		until := last.AddDays(1)
		if i+1 < len(cuts) {
			until = cuts[i+1]
		}
		rate := l.rate(from)
		o := overdue{from: from, until: until, unpaid: min(max(older+d.Amount-l.paid(from), 0), d.Amount), share: rate.SameYear, minimum: rate.Minimum}
		if from.Year() > d.Due.Year() {
			o.share = rate.EarlierYears
		}
		if o.unpaid == 0 || o.share.IsZero() {
			continue
		}
		if n := len(list); n > 0 && list[n-1].until == from && from.Day() != 1 && from != first && list[n-1].unpaid == o.unpaid && list[n-1].share == o.share {
			list[n-1].until = until
			continue
		}
		list = append(list, o)
	}
	return list
}

// lateMonth is the fee on one bill: before the period, in it, and the least.
type lateMonth struct {
	month          billing.Date
	before, within billing.Money
	least          billing.Money
}

// charged is what a fee comes to: the least, unless it is nothing.
func (m lateMonth) charged(fee billing.Money) billing.Money {
	if fee == 0 {
		return 0
	}
	return max(fee, m.least)
}

// late adds the lines of the late fee: per debt one for each run of days with
// the same unpaid part and share, then per bill what its least fee changes.
func (r *Rater) late() error {
	l := r.in.Late
	if l == nil || r.in.Open {
		return nil
	}
	if err := l.check(); err != nil {
		return err
	}
	first, last := billing.DateOf(r.in.From, r.in.Location), billing.DateOf(r.in.To.Add(-1), r.in.Location)
	var months []lateMonth
	var older billing.Money
	for _, d := range l.Debts {
		i := slices.IndexFunc(months, func(m lateMonth) bool { return m.month == d.Month })
		if i < 0 {
			months, i = append(months, lateMonth{month: d.Month}), len(months)
		}
		for _, o := range l.overdues(d, older, first, last) {
			if err := r.lateDays(&months[i], d, o, first); err != nil {
				return err
			}
		}
		var err error
		if older, err = older.Add(d.Amount); err != nil {
			return err
		}
	}
	for _, m := range months {
		change := m.charged(m.before+m.within) - m.charged(m.before) - m.within
		if change == 0 {
			continue
		}
		month := billing.MonthPeriod(m.month).String()
		name := billing.Names{ZH: "违约金补足（" + month + "）", EN: "Least late fee (" + month + ")"}
		if err := r.addLate(Line{
			Component: LateFeeMinimum, Name: name, Kind: KindLateFee, Unit: UnitYuan, Quantity: change.Quantity(), Price: one.Price(), Amount: change, From: r.in.From, To: r.in.To,
		}); err != nil {
			return err
		}
	}
	if rate := l.rate(last); r.out.Late != 0 && !rate.Tax.IsZero() {
		t := Tax{Component: LateFee, Name: billing.Names{ZH: "违约金税额", EN: "Tax in late fees"}, Month: billing.MonthPeriod(last).From, Rate: rate.Tax, Inclusive: true, Point: billing.TaxAtBilling, Base: r.out.Late}
		var err error
		if t.Amount, err = billing.TaxIn(t.Base, t.Rate); err != nil {
			return err
		}
		r.out.Taxes = append(r.out.Taxes, t)
	}
	return nil
}

// lateDays charges a run of days; one that lies before the period was charged
// by an earlier bill, and only counts toward the least.
func (r *Rater) lateDays(m *lateMonth, d Debt, o overdue, first billing.Date) error {
	days := strconv.Itoa(o.from.DaysUntil(o.until))
	amount, err := billing.Charge(o.unpaid.Quantity(), o.share, billing.MustFactor(days))
	if err != nil || amount == 0 {
		return err
	}
	if m.before+m.within == 0 {
		m.least = o.minimum
	}
	if o.from.Before(first) {
		m.before += amount
		return nil
	}
	m.within += amount
	month := billing.MonthPeriod(d.Month).String()
	return r.addLate(Line{
		Component: LateFee, Kind: KindLateFee, Unit: UnitYuan, Quantity: o.unpaid.Quantity(), Price: o.share, Factor: billing.MustFactor(days), Amount: amount,
		Name: billing.Names{ZH: "违约金（" + month + "）", EN: "Late fee (" + month + ")"},
		From: o.from.Start(r.in.Location), To: o.until.Start(r.in.Location),
	})
}

func (r *Rater) addLate(l Line) (err error) {
	r.addLine(l)
	r.out.Late += l.Amount
	r.out.Total, err = r.out.Total.Add(l.Amount)
	return err
}
