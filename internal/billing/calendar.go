package billing

import "time"

// CalendarDay is one day that does not follow the week: a holiday (Off), or
// a weekend day that is worked in exchange.
type CalendarDay struct {
	Date Date   `json:"date"`
	Off  bool   `json:"off"`
	Name string `json:"name,omitempty"`
}

// CalendarYear is the published list of one year.
type CalendarYear struct {
	Year int           `json:"year"`
	Days []CalendarDay `json:"days"`
}

// Calendar tells working days from days off. It answers only for years whose
// list was loaded: the State Council publishes each year's list late in the
// year before, and guessing one would cut people on a holiday.
type Calendar struct {
	years map[int]bool
	days  map[Date]CalendarDay
}

// NewCalendar loads years. A year with an empty list counts as not loaded.
func NewCalendar(years ...CalendarYear) Calendar {
	c := Calendar{years: map[int]bool{}, days: map[Date]CalendarDay{}}
	for _, year := range years {
		if len(year.Days) > 0 {
			c.years[year.Year] = true
		}
		for _, day := range year.Days {
			c.days[day.Date] = day
		}
	}
	return c
}

// Off says whether d is a day off: a holiday, or a weekend that isn't worked.
// An unloaded year is an unavailable error.
func (c Calendar) Off(d Date) (bool, error) {
	if !c.years[d.Year()] {
		return false, Errorf(CodeUnavailable, "The calendar for %d is not loaded: load its list of holidays first.", d.Year())
	}
	if day, ok := c.days[d]; ok {
		return day.Off, nil
	}
	weekday := d.Weekday()
	return weekday == time.Saturday || weekday == time.Sunday, nil
}

// Holiday says whether d is a named day off, and its name.
func (c Calendar) Holiday(d Date) (name string, ok bool) {
	day, ok := c.days[d]
	return day.Name, ok && day.Off
}

// NextWorkingDay is the first working day after d.
func (c Calendar) NextWorkingDay(d Date) (Date, error) {
	for {
		d = d.AddDays(1)
		off, err := c.Off(d)
		if err != nil || !off {
			return d, err
		}
	}
}
