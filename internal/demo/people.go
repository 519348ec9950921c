package demo

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Crew are the simulated people: the utility's staff, its customers, and the field crew that holds meters in its hands.
//
// What staff decide, they decide over HTTP with a session of their own, and get refused like anybody. What waits for them, and what
// arrived on a customer's phone, they look up in the store. Whatever they do follows from what is there, so that after a restart they
// go on where they were.
type Crew struct {
	store   *store.Store
	fleet   *simulator.Fleet
	utility *Utility
	office  *office
	log     *slog.Logger

	incidents []Incident
	tries     map[billing.CaseID]int // decisions on a case so far
	tried     map[string]time.Time   // business instant at which an item was last tried in vain
	seen      map[string]time.Time   // real instant at which an item was first seen
	grace     time.Duration
	begun     bool
	watched   map[billing.AccountID]bool
	slipped   map[int]bool // days on which a clerk made the week's mistakes
}

// CrewConfig is what the people need.
type CrewConfig struct {
	Seed  int64
	Store *store.Store
	Fleet *simulator.Fleet
	// URL is where the pages and the API are, such as http://127.0.0.1:8080.
	URL string
	Log *slog.Logger
}

// Colleagues is the setting that a person at the page switches: whether simulated people work, and for how many real seconds they
// leave work alone. Without the setting they work at once.
type Colleagues struct {
	On           bool `json:"on"`
	GraceSeconds int  `json:"grace_seconds"`
}

// ColleaguesSetting is its key among the settings.
const ColleaguesSetting = "colleagues"

// GiveGrace lets the colleagues leave work alone for so many real seconds, unless somebody has set that otherwise before. A demo with
// a person at the page begins with it.
func GiveGrace(ctx context.Context, s *store.Store, seconds int) error {
	var was *Colleagues
	if err := s.Setting(ctx, ColleaguesSetting, &was); err != nil || was != nil {
		return err
	}
	return s.SetSetting(ctx, store.By{Actor: "workflow", Reason: "a person is at the page"}, ColleaguesSetting, Colleagues{On: true, GraceSeconds: seconds})
}

// NewCrew prepares the people; nobody acts yet.
func NewCrew(c CrewConfig) (*Crew, error) {
	u, err := New(c.Seed)
	if err != nil {
		return nil, err
	}
	incidents, err := u.Incidents()
	if err != nil {
		return nil, err
	}
	return &Crew{
		store: c.Store, fleet: c.Fleet, utility: u, office: newOffice(c.URL), log: c.Log, incidents: incidents,
		tries: map[billing.CaseID]int{}, tried: map[string]time.Time{}, seen: map[string]time.Time{}, watched: map[billing.AccountID]bool{}, slipped: map[int]bool{},
	}, nil
}

// Working hours, local. On days off one team is there around noon.
const (
	opens, closes       = 8*60 + 30, 17*60 + 45 // minutes of the day
	offOpens, offCloses = 10*60 + 30, 15*60 + 45
	slot                = time.Hour
	// tryAgain is how long people leave alone what they tried in vain.
	tryAgain = 55 * time.Minute
)

// NextAt is the next instant at which people have something planned: each full slot of the opening hours.
func (c *Crew) NextAt(now time.Time) time.Time {
	local := now.In(zone)
	next := time.Date(local.Year(), local.Month(), local.Day(), 0, opens, 0, 0, zone)
	for {
		if next.After(now) && next.Hour()*60+next.Minute() <= closes {
			return next
		}
		if next.Hour()*60+next.Minute() > closes {
			next = time.Date(next.Year(), next.Month(), next.Day()+1, 0, opens, 0, 0, zone)
			continue
		}
		next = next.Add(slot)
	}
}

// atWork says whether the office is open.
func (c *Crew) atWork(ctx context.Context, now time.Time) (bool, error) {
	local := now.In(zone)
	minute := local.Hour()*60 + local.Minute()
	if minute < opens || minute > closes {
		return false, nil
	}
	calendar, err := c.store.Calendar(ctx)
	if err != nil {
		return false, err
	}
	off, err := calendar.Off(billing.DateOf(now, zone))
	if err != nil || !off {
		return err == nil, err
	}
	return minute >= offOpens && minute <= offCloses, nil
}

// Act does what people would have done by now, and says how much that was. It does nothing more when called again at the same
// instant, except what its own acts made possible.
func (c *Crew) Act(ctx context.Context, now time.Time) (did int, err error) {
	if err := c.field(ctx); err != nil {
		return 0, err
	}
	colleagues := Colleagues{On: true}
	if err := c.store.Setting(ctx, ColleaguesSetting, &colleagues); err != nil || !colleagues.On {
		return 0, err
	}
	c.grace = time.Duration(colleagues.GraceSeconds) * time.Second
	open, err := c.atWork(ctx, now)
	if err != nil || !open {
		return 0, err
	}
	for _, work := range []func(context.Context, time.Time) (int, error){
		c.takePayments, c.approveRecharges, c.decideCases, c.verifyRuns, c.issueRuns, c.approveCuts, c.endProtection, c.trySlips,
		c.refundCredit, c.settleRefunds, c.enterQuantities, c.walkRounds, c.changePrices, c.lookAtBills, c.startFurther, c.keepRules,
		c.correctBills,
	} {
		n, err := work(ctx, now)
		did += n
		if err != nil {
			return did, err
		}
	}
	return did, nil
}

// Refusals counts what the software refused people so far, by error code.
func (c *Crew) Refusals() map[string]int {
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	return maps.Clone(c.office.refused)
}

// due says whether people take an item up now: it has waited for the grace time, and wasn't tried in vain just before.
func (c *Crew) due(item string, now time.Time) bool {
	if last, ok := c.tried[item]; ok && now.Before(last.Add(tryAgain)) {
		return false
	}
	first, ok := c.seen[item]
	if !ok {
		first = time.Now()
		c.seen[item] = first
	}
	return time.Since(first) >= c.grace
}

// outcome counts an act. A refusal is an answer: the item is left alone for a while. Anything else that failed ends the demo,
// unless the office can't be reached or has a moment's trouble: then people try again later.
func (c *Crew) outcome(item string, now time.Time, err error) (int, error) {
	if err == nil {
		delete(c.tried, item)
		return 1, nil
	}
	var r *refusal
	if !errors.As(err, &r) {
		return 0, err
	}
	c.tried[item] = now
	c.log.Debug("refused", "item", item, "status", r.status, "says", r.message)
	return 0, nil
}
