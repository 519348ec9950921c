package supply

import (
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// searchDays bounds the search for the next time to cut. The longest run of
// days off is nine; a policy that leaves no time in two months leaves none.
const searchDays = 60

// CutWindow is the stretch of one day in which cuts are allowed, half-open;
// open is false when there is none. It fails when a calendar isn't loaded.
func CutWindow(p Policy, cal billing.Calendar, loc *time.Location, day billing.Date) (from, until time.Time, open bool, err error) {
	off, err := cal.Off(day)
	if err != nil || off {
		return time.Time{}, time.Time{}, false, err
	}
	last := p.CutUntil
	tomorrow := day.AddDays(1)
	offTomorrow, err := cal.Off(tomorrow)
	if err != nil {
		return time.Time{}, time.Time{}, false, err
	}
	if offTomorrow {
		last = min(last, p.EveUntil)
		if _, holiday := cal.Holiday(tomorrow); holiday {
			last = min(last, p.HolidayEveUntil)
		}
	}
	from, until = p.CutFrom.on(day, loc), last.on(day, loc)
	return from, until, from.Before(until), nil
}

// NoCutWindow says whether t lies in a window in which nobody is cut, and when
// that window ends. With an error nobody may be cut either.
func NoCutWindow(p Policy, cal billing.Calendar, loc *time.Location, t time.Time) (in bool, until time.Time, err error) {
	today := billing.DateOf(t, loc)
	for n := range searchDays {
		from, until, open, err := CutWindow(p, cal, loc, today.AddDays(n))
		switch {
		case err != nil:
			return true, time.Time{}, err
		case !open || !t.Before(until):
			continue
		case t.Before(from):
			return true, from, nil
		default:
			return false, time.Time{}, nil
		}
	}
	return true, time.Time{}, billing.Errorf(billing.CodeInvalidInput, "The supply policy leaves no time for a cut in the %d days from %s.", searchDays, today)
}

// NextCutTime is the first instant at or after t at which a cut is allowed.
func NextCutTime(p Policy, cal billing.Calendar, loc *time.Location, t time.Time) (time.Time, error) {
	in, until, err := NoCutWindow(p, cal, loc, t)
	if err != nil || in {
		return until, err
	}
	return t, nil
}

// NextCutDate is the first day on which a cut is allowed, at the earliest
// after the notice of the class has run from the instant now. It is the date
// that a final notice names.
func NextCutDate(p Policy, cal billing.Calendar, loc *time.Location, class billing.CustomerClass, now time.Time) (billing.Date, error) {
	days, ok := p.NoticeDays[class]
	if !ok {
		return billing.Date{}, billing.Errorf(billing.CodeBlocked, "The supply policy has no notice days for %s customers, so they are never cut.", class)
	}
	at, err := NextCutTime(p, cal, loc, billing.DateOf(now, loc).AddDays(days).Start(loc))
	return billing.DateOf(at, loc), err
}
