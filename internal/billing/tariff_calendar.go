package billing

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// TariffCalendar says which band holds when. It programs meters, and splits
// use that was measured by the interval.
type TariffCalendar struct {
	Seasons    []CalendarSeason    `json:"seasons"`
	Exceptions []CalendarException `json:"exceptions,omitzero"`
}

// CalendarSeason is how the days of some months look. The first of Days that
// matches a day gives its bands; the last one matches every day.
type CalendarSeason struct {
	Months []int     `json:"months"`
	Days   []DayKind `json:"days"`
}

// DayKind is a kind of day with its bands. On lists mon to sun, workday, off,
// holiday and holiday:NAME; none is every day.
type DayKind struct {
	On       []string      `json:"on,omitzero"`
	Segments []BandSegment `json:"segments"`
}

// CalendarException is a stretch of dated days [From, To) with bands of their own.
type CalendarException struct {
	From     Date          `json:"from"`
	To       Date          `json:"to"`
	Segments []BandSegment `json:"segments"`
}

// BandSegment is when a band holds within a day: [From, To).
type BandSegment struct {
	From Clock    `json:"from"`
	To   Clock    `json:"to"`
	Band Register `json:"band"`
}

// Clock is a local clock time on the half hour, in half hours since midnight;
// 48 is the end of the day. Its text is "19:30".
type Clock int

// String is the text form.
func (c Clock) String() string {
	return strconv.Itoa(100 + int(c)/2)[1:] + ":" + []string{"00", "30"}[int(c)%2]
}

// MarshalText writes String.
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the text form; other minutes than 00 and 30 are refused.
func (c *Clock) UnmarshalText(text []byte) error {
	hour, minute, ok := strings.Cut(string(text), ":")
	h, err := strconv.Atoi(hour)
	if !ok || err != nil || len(hour) != 2 || h < 0 || h > 24 || (minute != "00" && minute != "30") || (h == 24 && minute != "00") {
		return Errorf(CodeInvalidInput, "The clock time %q is not on a half hour from 00:00 to 24:00.", text)
	}
	*c = Clock(2 * h)
	if minute == "30" {
		*c++
	}
	return nil
}

const endOfDay Clock = 48

// Day is the whole of d in order, from 00:00 to 24:00, neighbours of one band
// joined. holidays is asked only when the calendar asks for kinds of days;
// without its list of the year that is an unavailable error.
func (c TariffCalendar) Day(d Date, holidays Calendar) ([]BandSegment, error) {
	for _, e := range c.Exceptions {
		if !d.Before(e.From) && d.Before(e.To) {
			return wholeDay(e.Segments), nil
		}
	}
	for _, season := range c.Seasons {
		if !slices.Contains(season.Months, int(d.Month())) {
			continue
		}
		for _, kind := range season.Days {
			match, err := kind.matches(d, holidays)
			if err != nil {
				return nil, err
			}
			if match {
				return wholeDay(kind.Segments), nil
			}
		}
	}
	return nil, Errorf(CodeInvalidInput, "The tariff's calendar has no bands for %s.", d)
}

// BandAt is the band at a clock time of a day that Day gave.
func BandAt(day []BandSegment, at Clock) Register {
	for _, s := range day {
		if at < s.To {
			return s.Band
		}
	}
	return Flat
}

// wholeDay fills up with flat; sharp and deep valley win over what they lie in.
func wholeDay(segments []BandSegment) []BandSegment {
	half := [endOfDay]Register{}
	for i := range half {
		half[i] = Flat
	}
	for _, over := range []bool{false, true} {
		for _, s := range segments {
			if (s.Band == Sharp || s.Band == DeepValley) == over {
				for i := s.From; i < s.To; i++ {
					half[i] = s.Band
				}
			}
		}
	}
	var day []BandSegment
	for i, band := range half {
		if n := len(day); n > 0 && day[n-1].Band == band {
			day[n-1].To++
			continue
		}
		day = append(day, BandSegment{Clock(i), Clock(i + 1), band})
	}
	return day
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (k DayKind) matches(d Date, holidays Calendar) (bool, error) {
	for _, on := range k.On {
		if i := slices.Index(weekdays, on); i >= 0 {
			if d.Weekday() == time.Weekday(i) {
				return true, nil
			}
			continue
		}
		off, err := holidays.Off(d) // refuses a year whose list is not loaded
		if err != nil {
			return false, err
		}
		name, named := holidays.Holiday(d)
		wanted, byName := strings.CutPrefix(on, "holiday:")
		switch {
		case on == "workday" && !off, on == "off" && off, on == "holiday" && named, byName && named && strings.Contains(name, wanted):
			return true, nil
		}
	}
	return k.On == nil, nil
}

// problem is the first thing wrong with c, "" when nothing is.
func (c TariffCalendar) problem() string {
	var sets [][]int
	for i, season := range c.Seasons {
		sets = append(sets, season.Months)
		if problem := season.problem(); problem != "" {
			return "season " + strconv.Itoa(i+1) + ": " + problem
		}
	}
	if problem := monthsProblem(sets); problem != "" {
		return problem
	}
	for i, e := range c.Exceptions {
		place := "exception " + e.From.String() + ": "
		if e.From.IsZero() || !e.From.Before(e.To) {
			return place + "it ends (" + e.To.String() + ") before it starts."
		}
		for _, other := range c.Exceptions[:i] {
			if e.From.Before(other.To) && other.From.Before(e.To) {
				return place + "it overlaps the exception " + other.From.String() + "."
			}
		}
		if problem := segmentsProblem(e.Segments); problem != "" {
			return place + problem
		}
	}
	return ""
}

func (s CalendarSeason) problem() string {
	if len(s.Days) == 0 {
		return "it has no days."
	}
	for i, kind := range s.Days {
		place := "days " + strconv.Itoa(i+1) + ": "
		if last := i == len(s.Days)-1; last != (kind.On == nil) {
			if last {
				return place + "the last entry must match every day (no on), or some day has no bands."
			}
			return place + "only the last entry may match every day (no on)."
		}
		for _, on := range kind.On {
			name, byName := strings.CutPrefix(on, "holiday:")
			if !slices.Contains(weekdays, on) && !slices.Contains([]string{"workday", "off", "holiday"}, on) && (!byName || name == "") {
				return place + "the entry " + strconv.Quote(on) + " is unknown: use mon to sun, workday, off, holiday or holiday:NAME."
			}
		}
		if kind.On != nil && len(kind.On) == 0 {
			return place + "on is empty."
		}
		if problem := segmentsProblem(kind.Segments); problem != "" {
			return place + problem
		}
	}
	return ""
}

// segmentsProblem refuses overlaps, except of sharp with peak and of deep
// valley with valley: published tables name those inside the wider band.
func segmentsProblem(segments []BandSegment) string {
	inside := func(a, b Register) bool { return a == Sharp && b == Peak || a == DeepValley && b == Valley }
	for i, s := range segments {
		place := "segment " + s.From.String() + "–" + s.To.String() + ": "
		if !slices.Contains(Bands, s.Band) {
			return place + "the band " + s.Band.String() + " is no band."
		}
		if s.From >= s.To {
			return place + "it ends before it starts; a band over midnight is two segments."
		}
		for _, other := range segments[:i] {
			if s.From < other.To && other.From < s.To && !inside(s.Band, other.Band) && !inside(other.Band, s.Band) {
				return place + "the band " + s.Band.String() + " overlaps " + other.Band.String() + " " + other.From.String() + "–" + other.To.String() + "."
			}
		}
	}
	return ""
}

// Switches is the most segments that any day of the calendar has: meters hold
// a limited number.
func (c TariffCalendar) Switches() int {
	most := 0
	count := func(segments []BandSegment) { most = max(most, len(wholeDay(segments))) }
	for _, s := range c.Seasons {
		for _, d := range s.Days {
			count(d.Segments)
		}
	}
	for _, e := range c.Exceptions {
		count(e.Segments)
	}
	return most
}
