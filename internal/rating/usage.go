package rating

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// usageReader reads a usage file line by line; docs/tariffs.md is its format.
type usageReader struct {
	tariffs   []billing.Tariff
	in        Input
	period    billing.Period
	intervals []interval
	years     map[int][]billing.CalendarDay
	line      int
	seen      map[string]int // facts that stand once, with their line
}

// interval is use that was measured from one instant to another, raw.
type interval struct {
	from, to time.Time
	raw      int64
	line     int
}

// ParseUsage reads a usage file: with the tariffs, the first of which is that
// of terms that name none, it is all that Rate takes. Every error names the line.
func ParseUsage(text string, tariffs ...billing.Tariff) (Input, error) {
	if len(tariffs) == 0 {
		return Input{}, billing.Errorf(billing.CodeTariffMissing, "No tariff was given.")
	}
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		zone = time.FixedZone("Asia/Shanghai", 8*60*60) // China has had no summer time since 1991
	}
	u := usageReader{tariffs: tariffs, in: Input{Tariff: tariffs[0], Location: zone}, years: map[int][]billing.CalendarDay{}, seen: map[string]int{}}
	for i, line := range strings.Split(text, "\n") {
		u.line = i + 1
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Split(strings.TrimSpace(line), ",")
		for k := range fields {
			fields[k] = strings.TrimSpace(fields[k])
		}
		if fields[0] == "" && len(fields) == 1 {
			continue
		}
		if err := u.read(fields[0], fields[1:]); err != nil {
			return Input{}, u.refuse(billing.CodeOf(err), "%s", billing.MessageOf(err))
		}
	}
	return u.finish()
}

func (u *usageReader) refuse(code billing.Code, format string, args ...any) error {
	return billing.Errorf(code, "Usage file, line %d: %s", u.line, fmt.Sprintf(format, args...))
}

func invalid(format string, args ...any) error {
	return billing.Errorf(billing.CodeInvalidInput, format, args...)
}

// words are the lines' first words, with how many fields they need at least and may have at most.
var words = map[string]struct {
	least, most int
	once        bool
	read        func(*usageReader, []string) error
}{
	"zone": {1, 1, true, (*usageReader).zone}, "period": {2, 2, true, (*usageReader).readPeriod}, "open": {0, 0, true, (*usageReader).open},
	"opened": {1, 1, true, (*usageReader).opened}, "closed": {1, 1, true, (*usageReader).closed},
	"used_in_year": {1, 1, true, (*usageReader).usedInYear}, "used_in_month": {1, 1, true, (*usageReader).usedInMonth},
	"fitting": {4, 4, false, (*usageReader).fitting}, "terms": {2, anyFields, false, (*usageReader).terms},
	"demand_kw": {2, 2, false, (*usageReader).demand}, "kvarh": {2, 2, false, (*usageReader).kvarh}, "reverse": {2, 2, false, (*usageReader).reverse},
	"reading": {2, anyFields, false, (*usageReader).reading}, "interval": {3, 3, false, (*usageReader).interval},
	"late_rate": {4, 4, false, (*usageReader).lateRate}, "debt": {3, 3, false, (*usageReader).debt}, "paid": {2, 2, false, (*usageReader).paid},
	"holiday": {1, 2, false, (*usageReader).holiday}, "workday": {1, 2, false, (*usageReader).workday},
}

// anyFields is for lines of name=value, where each name is known or refused.
const anyFields = 100

func (u *usageReader) read(word string, fields []string) error {
	w, known := words[word]
	if !known {
		return invalid("%q is no word of a usage file: use zone, period, open, opened, closed, used_in_year, used_in_month, fitting, terms, demand_kw, kvarh, reverse, reading, interval, late_rate, debt, paid, holiday or workday.", word)
	}
	if len(fields) < w.least {
		return invalid("%s needs %d fields after it, and has %d.", word, w.least, len(fields))
	}
	if len(fields) > w.most {
		return invalid("%s takes %d fields after it, and has %d: write numbers without commas.", word, w.most, len(fields))
	}
	if before := u.seen[word]; w.once && before > 0 {
		return invalid("%s stands on line %d already.", word, before)
	}
	u.seen[word] = u.line
	return w.read(u, fields)
}

func (u *usageReader) zone(f []string) error {
	loc, err := time.LoadLocation(f[0])
	if err != nil {
		return invalid("the time zone %q is not known: write one such as Asia/Shanghai.", f[0])
	}
	if u.seen["reading"]+u.seen["interval"] > 0 {
		return invalid("zone must stand before the readings, whose times depend on it.")
	}
	u.in.Location = loc
	return nil
}

func (u *usageReader) readPeriod(f []string) (err error) {
	if u.period.From, err = billing.ParseDate(f[0]); err != nil {
		return err
	}
	if u.period.To, err = billing.ParseDate(f[1]); err != nil {
		return err
	}
	return u.period.Validate()
}

func (u *usageReader) open([]string) error {
	u.in.Open = true
	return nil
}

func (u *usageReader) opened(f []string) (err error) {
	u.in.OpenedOn, err = billing.ParseDate(f[0])
	return err
}

func (u *usageReader) closed(f []string) (err error) {
	u.in.ClosedOn, err = billing.ParseDate(f[0])
	return err
}

// quantity is a number that isn't negative.
func quantity(what, text string) (billing.Quantity, error) {
	q, err := billing.ParseQuantity(text)
	if err == nil && (q.Sign() < 0 || text == "") {
		err = invalid("%s is %q: it can't be negative or empty.", what, text)
	}
	return q, err
}

func (u *usageReader) usedInYear(f []string) (err error) {
	u.in.UsedInYear, err = quantity("used_in_year", f[0])
	return err
}

func (u *usageReader) usedInMonth(f []string) (err error) {
	u.in.UsedInMonth, err = quantity("used_in_month", f[0])
	return err
}

func (u *usageReader) fitting(f []string) error {
	var n [3]int64
	for i, at := range []int{0, 2, 3} {
		var err error
		if n[i], err = strconv.ParseInt(f[at], 10, 32); err != nil || n[i] < 1 {
			return invalid("%q is no whole number above 0: write fitting,number,meter,ratio,digits.", f[at])
		}
	}
	for _, other := range u.in.Fittings {
		if other.No == int(n[0]) {
			return invalid("fitting %d stands twice.", n[0])
		}
	}
	u.in.Fittings = append(u.in.Fittings, Fitting{No: int(n[0]), Meter: billing.MeterID(f[1]), Ratio: n[1], Digits: int(n[2])})
	return nil
}

// pair cuts key=value.
func pair(field string) (key, value string, err error) {
	key, value, ok := strings.Cut(field, "=")
	if !ok {
		return "", "", invalid("%q is not of the form name=value.", field)
	}
	return key, value, nil
}

func (u *usageReader) terms(f []string) error {
	var t Terms
	var err error
	if t.From, err = billing.ParseDate(f[0]); err != nil {
		return err
	}
	if n := len(u.in.Terms); n > 0 && !u.in.Terms[n-1].From.Before(t.From) {
		return invalid("the terms of %s stand after those of %s: order them by their first day.", t.From, u.in.Terms[n-1].From)
	}
	for _, field := range f[1:] {
		key, value, err := pair(field)
		if err != nil {
			return err
		}
		if err := u.term(&t, key, value); err != nil {
			return err
		}
	}
	u.in.Terms = append(u.in.Terms, t)
	return nil
}

func (u *usageReader) term(t *Terms, key, value string) (err error) {
	switch key {
	case "tariff":
		for i := range u.tariffs {
			if string(u.tariffs[i].ID) == value {
				t.Tariff = &u.tariffs[i]
				return nil
			}
		}
		return billing.Errorf(billing.CodeTariffMissing, "the tariff %q was not given: name its file too.", value)
	case "persons":
		if t.Persons, err = strconv.Atoi(value); err != nil || t.Persons < 0 {
			return invalid("persons is %q: write a whole number.", value)
		}
	case "capacity_kva":
		t.CapacityKVA, err = quantity(key, value)
	case "suspended_kva":
		t.SuspendedKVA, err = quantity(key, value)
	case "contract_demand_kw":
		t.ContractDemandKW, err = quantity(key, value)
	case "choice":
		if t.Choice = billing.ChargeChoice(value); t.Choice != billing.ChooseCapacity && t.Choice != billing.ChooseDemand {
			return invalid("choice is %q: write capacity or demand.", value)
		}
	case "register":
		err = t.Register.UnmarshalText([]byte(value))
	default:
		return invalid("%q is no term: use tariff, persons, capacity_kva, suspended_kva, contract_demand_kw, choice or register.", key)
	}
	return err
}

// month finds or adds the quantities of a month and sets one of them.
func (u *usageReader) month(word string, f []string, field func(*Month) **billing.Quantity) error {
	p, err := billing.ParseMonth(f[0])
	if err != nil {
		return err
	}
	q, err := quantity(word, f[1])
	if err != nil {
		return err
	}
	at := -1
	for i := range u.in.Months {
		if u.in.Months[i].First == p.From {
			at = i
		}
	}
	if at < 0 {
		u.in.Months = append(u.in.Months, Month{First: p.From})
		at = len(u.in.Months) - 1
	}
	slot := field(&u.in.Months[at])
	if *slot != nil {
		return invalid("%s of %s stands twice.", word, p)
	}
	*slot = &q
	return nil
}

func (u *usageReader) demand(f []string) error {
	return u.month("demand_kw", f, func(m *Month) **billing.Quantity { return &m.DemandKW })
}

func (u *usageReader) kvarh(f []string) error {
	return u.month("kvarh", f, func(m *Month) **billing.Quantity { return &m.Kvarh })
}

func (u *usageReader) reverse(f []string) error {
	return u.month("reverse", f, func(m *Month) **billing.Quantity { return &m.Reverse })
}

// late is what the file says of late fees, and the next line's first field as a day.
func (u *usageReader) late(f []string) (*Late, billing.Date, error) {
	if u.in.Late == nil {
		u.in.Late = &Late{}
	}
	day, err := billing.ParseDate(f[0])
	return u.in.Late, day, err
}

// lateRate is late_rate,first day,share a day,share a day of earlier years' debts,least in yuan.
func (u *usageReader) lateRate(f []string) error {
	l, day, err := u.late(f)
	if err != nil {
		return err
	}
	rate := LateRate{From: day}
	if rate.SameYear, err = billing.ParsePrice(f[1]); err != nil {
		return err
	}
	if rate.EarlierYears, err = billing.ParsePrice(f[2]); err != nil {
		return err
	}
	if rate.Minimum, err = billing.ParseMoney(f[3]); err != nil {
		return err
	}
	l.Rates = append(l.Rates, rate)
	return l.check()
}

// debt is debt,due day,month of the bill,yuan.
func (u *usageReader) debt(f []string) error {
	l, due, err := u.late(f)
	if err != nil {
		return err
	}
	month, err := billing.ParseMonth(f[1])
	if err != nil {
		return err
	}
	amount, err := billing.ParseMoney(f[2])
	if err != nil {
		return err
	}
	l.Debts = append(l.Debts, Debt{Month: month.From, Due: due, Amount: amount})
	return l.check()
}

// paid is paid,day,yuan.
func (u *usageReader) paid(f []string) error {
	l, day, err := u.late(f)
	if err != nil {
		return err
	}
	amount, err := billing.ParseMoney(f[1])
	if err != nil {
		return err
	}
	l.Payments = append(l.Payments, Payment{Day: day, Amount: amount})
	return l.check()
}

func (u *usageReader) holiday(f []string) error { return u.calendarDay(f, true) }
func (u *usageReader) workday(f []string) error { return u.calendarDay(f, false) }

func (u *usageReader) calendarDay(f []string, off bool) error {
	d, err := billing.ParseDate(f[0])
	if err != nil {
		return err
	}
	day := billing.CalendarDay{Date: d, Off: off}
	if len(f) > 1 {
		day.Name = f[1]
	}
	u.years[d.Year()] = append(u.years[d.Year()], day)
	return nil
}
