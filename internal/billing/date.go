package billing

import (
	"database/sql/driver"
	"time"
)

// Date is a civil day of a site. It has no time zone; Start gives the instant
// at which it begins somewhere. The zero Date means "none".
type Date struct {
	year  int16
	month uint8
	day   uint8
}

// NewDate makes a date; days and months outside their range carry over, as in
// time.Date.
func NewDate(year int, month time.Month, day int) Date {
	return dateOf(time.Date(year, month, day, 0, 0, 0, 0, time.UTC))
}

// DateOf is the civil day in loc that contains the instant t.
func DateOf(t time.Time, loc *time.Location) Date { return dateOf(t.In(loc)) }

func dateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{int16(y), uint8(m), uint8(d)}
}

// ParseDate reads "2026-01-31".
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, Errorf(CodeInvalidInput, "The date %q is not a day of the form 2026-01-31.", s)
	}
	return dateOf(t), nil
}

// MustDate is ParseDate for constants in code and tests.
func MustDate(s string) Date { return must(ParseDate(s)) }

// Year is the date's year.
func (d Date) Year() int { return int(d.year) }

// Month is the date's month.
func (d Date) Month() time.Month { return time.Month(d.month) }

// Day is the day of the month.
func (d Date) Day() int { return int(d.day) }

// Weekday is the day of the week.
func (d Date) Weekday() time.Weekday { return d.utc().Weekday() }

// IsZero says whether d is "none".
func (d Date) IsZero() bool { return d == Date{} }

func (d Date) utc() time.Time {
	return time.Date(d.Year(), d.Month(), d.Day(), 0, 0, 0, 0, time.UTC)
}

// At is the instant when the clocks of loc show hour:minute on d.
func (d Date) At(hour, minute int, loc *time.Location) time.Time {
	return time.Date(d.Year(), d.Month(), d.Day(), hour, minute, 0, 0, loc)
}

// Start is the first instant of d in loc.
func (d Date) Start(loc *time.Location) time.Time {
	t := d.At(0, 0, loc)
	// Where clocks skip midnight, time.Date may answer with the evening before.
	for DateOf(t, loc) != d {
		t = t.Add(time.Hour)
	}
	return t
}

// AddDays is the date n days later.
func (d Date) AddDays(n int) Date { return NewDate(d.Year(), d.Month(), d.Day()+n) }

// DaysUntil is the number of days from d to e, negative when e is earlier.
func (d Date) DaysUntil(e Date) int { return int(e.utc().Sub(d.utc()) / (24 * time.Hour)) }

// Compare is -1, 0 or 1 as d is before, on or after e.
func (d Date) Compare(e Date) int { return d.utc().Compare(e.utc()) }

// Before says whether d is earlier than e.
func (d Date) Before(e Date) bool { return d.Compare(e) < 0 }

// After says whether d is later than e.
func (d Date) After(e Date) bool { return d.Compare(e) > 0 }

// String is "2026-01-31", or "" for none.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.utc().Format(time.DateOnly)
}

// MarshalText writes String.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads String's form; "" is none.
func (d *Date) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*d = Date{}
		return nil
	}
	*d, err = ParseDate(string(text))
	return err
}

// Value gives a SQL date; none is NULL.
func (d Date) Value() (driver.Value, error) {
	if d.IsZero() {
		return nil, nil
	}
	return d.utc(), nil
}

// Scan reads a SQL date; NULL is none.
func (d *Date) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*d = Date{}
	case time.Time:
		*d = dateOf(v)
	case string:
		return d.UnmarshalText([]byte(v))
	default:
		return Errorf(CodeInternal, "cannot read a date from %T", src)
	}
	return nil
}

// Period is the half-open span of days [From, To).
type Period struct {
	From Date `json:"from"`
	To   Date `json:"to"`
}

// MonthPeriod is the whole calendar month that contains d.
func MonthPeriod(d Date) Period {
	return Period{NewDate(d.Year(), d.Month(), 1), NewDate(d.Year(), d.Month()+1, 1)}
}

// ParseMonth reads "2026-10" as that month's period.
func ParseMonth(s string) (Period, error) {
	d, err := ParseDate(s + "-01")
	if err != nil {
		return Period{}, Errorf(CodeInvalidInput, "The month %q is not of the form 2026-10.", s)
	}
	return MonthPeriod(d), nil
}

// Validate refuses a period that has no day.
func (p Period) Validate() error {
	if p.From.IsZero() || p.To.IsZero() || !p.From.Before(p.To) {
		return Errorf(CodeInvalidInput, "The period from %q to %q has no day: its end must come after its start.", p.From, p.To)
	}
	return nil
}

// Contains says whether d is a day of p.
func (p Period) Contains(d Date) bool { return !d.Before(p.From) && d.Before(p.To) }

// Days is the number of days of p.
func (p Period) Days() int { return p.From.DaysUntil(p.To) }

// Instants are the first instants of From and To in loc.
func (p Period) Instants(loc *time.Location) (from, to time.Time) {
	return p.From.Start(loc), p.To.Start(loc)
}

// String is "2026-10" for a calendar month, else "2026-10-01..2026-10-15"
// with the end excluded.
func (p Period) String() string {
	if p == MonthPeriod(p.From) {
		return p.From.String()[:7]
	}
	return p.From.String() + ".." + p.To.String()
}
