package proof

import (
	"encoding/json"
	"time"
)

// The no-cut rules as the documentation says them: cuts are allowed on working days between cut_from and cut_until; on the eve of a
// day off only until eve_until, and on the eve of a named holiday until holiday_eve_until. Missing values are the documented defaults.
type hours struct {
	CutFrom         string `json:"cut_from"`
	CutUntil        string `json:"cut_until"`
	EveUntil        string `json:"eve_until"`
	HolidayEveUntil string `json:"holiday_eve_until"`
}

// closedAt says whether nobody may be cut at a site at an instant, and why.
func (w windows) closedAt(site, zone string, at time.Time) (bool, string) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return true, "unknown time zone " + zone
	}
	h := hours{CutFrom: "10:00", CutUntil: "15:00", EveUntil: "12:00", HolidayEveUntil: "00:00"}
	if err := json.Unmarshal(w.policy[site], &h); err != nil {
		return true, "unreadable policy"
	}
	local := at.In(loc)
	if w.dayOff(local) {
		return true, "a day off"
	}
	until := h.CutUntil
	if tomorrow := local.AddDate(0, 0, 1); w.dayOff(tomorrow) {
		until = min(until, h.EveUntil)
		if named := w.off[tomorrow.Format(time.DateOnly)]; named {
			until = min(until, h.HolidayEveUntil)
		}
	}
	// Times of day as "15:04" sort as text.
	switch clock := local.Format("15:04"); {
	case clock < h.CutFrom:
		return true, "before " + h.CutFrom
	case clock >= until:
		return true, "from " + until
	}
	return false, ""
}

func (w windows) dayOff(d time.Time) bool {
	if off, listed := w.off[d.Format(time.DateOnly)]; listed {
		return off
	}
	return d.Weekday() == time.Saturday || d.Weekday() == time.Sunday
}
