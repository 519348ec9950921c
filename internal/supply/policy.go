package supply

import (
	"strconv"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// ClockTime is a local time of day, in minutes since midnight; its text is "15:00".
type ClockTime int

// String writes "15:00".
func (c ClockTime) String() string {
	two := func(n int) string { return strconv.Itoa(100 + n)[1:] }
	return two(int(c)/60) + ":" + two(int(c)%60)
}

// MarshalText writes String.
func (c ClockTime) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads "15:00"; "24:00" is the end of the day.
func (c *ClockTime) UnmarshalText(text []byte) error {
	if string(text) == "24:00" {
		*c = 24 * 60
		return nil
	}
	t, err := time.Parse("15:04", string(text))
	if err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "The time of day %q is not of the form 15:00.", text)
	}
	*c = ClockTime(t.Hour()*60 + t.Minute())
	return nil
}

func (c ClockTime) on(d billing.Date, loc *time.Location) time.Time {
	return d.At(int(c)/60, int(c)%60, loc)
}

// Policy is a site's rules for cutting and restoring: data, not code.
type Policy struct {
	// CutFrom and CutUntil bound the hours of a working day in which a cut is
	// allowed: somebody can still pay, and staff is there to restore.
	CutFrom  ClockTime `json:"cut_from"`
	CutUntil ClockTime `json:"cut_until"`
	// EveUntil replaces CutUntil on a day before a day off, HolidayEveUntil on
	// a day before a named holiday. "00:00" forbids that day altogether.
	EveUntil        ClockTime `json:"eve_until"`
	HolidayEveUntil ClockTime `json:"holiday_eve_until"`
	// NoticeDays are the whole days between the delivered final notice and the
	// cut, by class. A class that isn't listed is never cut.
	NoticeDays map[billing.CustomerClass]int `json:"notice_days"`
	// NoticeValidDays is how long a final notice stays good.
	NoticeValidDays int `json:"notice_valid_days"`
	// ReadingMaxAgeHours is how fresh the last reading must be.
	ReadingMaxAgeHours int `json:"reading_max_age_hours"`
	// DisconnectFen is the cut-off limit: at or below it an account may be cut.
	// ConnectFen is the balance from which supply may be restored.
	DisconnectFen billing.Money `json:"disconnect_fen"`
	ConnectFen    billing.Money `json:"connect_fen"`
	// Level1 warns first, Level2 later; both above DisconnectFen.
	Level1 LowLevel `json:"level1"`
	Level2 LowLevel `json:"level2"`
	// CustomerCloses gives supply back after a payment as a permission, where the meter can: closing is allowed, and the customer presses the button.
	CustomerCloses bool `json:"customer_closes"`
	// ManagerFor lists the classes whose cut a manager approves.
	ManagerFor []billing.CustomerClass `json:"manager_for"`
}

// LowLevel is reached when the balance is at or below Fen, or lasts no longer
// than Days of average use.
type LowLevel struct {
	Days int           `json:"days"`
	Fen  billing.Money `json:"fen"`
}

// DefaultPolicy is a cautious start. Hours and eves follow the friendly hours
// of prepayment suppliers. Notice days are those quoted for contracts other than
// households'; one provincial rule asks 7 for households in arrears. Check every
// number with the regulator.
func DefaultPolicy() Policy {
	return Policy{
		CutFrom: 10 * 60, CutUntil: 15 * 60, EveUntil: 12 * 60, HolidayEveUntil: 0,
		NoticeDays: map[billing.CustomerClass]int{
			billing.ClassHousehold: 3, billing.ClassCommercial: 3, billing.ClassImportant: 7,
		},
		NoticeValidDays: 30, ReadingMaxAgeHours: 48,
		DisconnectFen: 0, ConnectFen: 1,
		Level1:     LowLevel{Days: 7, Fen: 20 * billing.Yuan},
		Level2:     LowLevel{Days: 3, Fen: 10 * billing.Yuan},
		ManagerFor: []billing.CustomerClass{billing.ClassImportant},
	}
}

// Validate refuses a policy that contradicts itself.
func (p Policy) Validate() error {
	refuse := func(format string, args ...any) error {
		return billing.Errorf(billing.CodeInvalidInput, "The supply policy: "+format, args...)
	}
	for _, c := range []ClockTime{p.CutFrom, p.CutUntil, p.EveUntil, p.HolidayEveUntil} {
		if c < 0 || c > 24*60 {
			return refuse("a time of day is outside 00:00 to 24:00.")
		}
	}
	for class, days := range p.NoticeDays {
		if days < 0 {
			return refuse("the notice days for %s are negative (%d).", class, days)
		}
	}
	switch {
	case p.CutFrom >= p.CutUntil:
		return refuse("cutting would end at %s, before it starts at %s.", p.CutUntil, p.CutFrom)
	case p.NoticeValidDays <= 0:
		return refuse("a final notice must stay good for at least a day.")
	case p.ReadingMaxAgeHours <= 0:
		return refuse("the age of a reading must be at least an hour.")
	case p.ConnectFen <= p.DisconnectFen:
		return refuse("supply would be restored at %s yuan and cut at %s; the first must be larger.", p.ConnectFen, p.DisconnectFen)
	case p.Level1.Fen < p.Level2.Fen || p.Level1.Days < p.Level2.Days:
		return refuse("level 1 must warn before level 2.")
	case p.Level2.Fen < p.DisconnectFen || p.Level2.Days < 0:
		return refuse("level 2 must warn before the cut-off limit.")
	}
	return nil
}

// Low is how short of credit an account is: "" for not, else the level of the
// reminder that fits. At the cut-off limit it is final. dailyCharge is the
// average charge of a day, 0 when unknown.
func (p Policy) Low(balance, dailyCharge billing.Money) billing.ReminderState {
	reached := func(l LowLevel) bool {
		return balance <= l.Fen || (dailyCharge > 0 && balance/dailyCharge < billing.Money(l.Days))
	}
	switch {
	case balance <= p.DisconnectFen:
		return billing.ReminderFinal
	case reached(p.Level2):
		return billing.ReminderLevel2
	case reached(p.Level1):
		return billing.ReminderLevel1
	}
	return ""
}

// MayRestore says whether a balance is enough to get supply back. What was
// overdrawn is part of the balance, so it is always netted first.
func (p Policy) MayRestore(balance billing.Money) bool { return balance >= p.ConnectFen }
