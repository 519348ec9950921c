package activities

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// RoundValue is what a reader wrote down at one meter: its registers, or why there are none. Registers are raw units.
type RoundValue struct {
	Meter     billing.MeterID
	Registers billing.Registers
	NoReading billing.NoReading
	Note      string
	TakenAt   time.Time // zero: now
	// Confirmed says that the reader has looked again at a value that can't follow the last one: it goes in, and a case will decide.
	Confirmed bool
}

// RoundValues is a page of values of one round. Preview judges them and stores nothing.
type RoundValues struct {
	RoundID billing.RoundID
	By      billing.UserID
	Values  []RoundValue
	Source  string // form, file, api
	Preview bool
	Nonce   string
}

// MaxRoundPage bounds a page of values, so that its answer stays far below what one message may carry.
const MaxRoundPage = 100

// RoundWarning is a doubt about a value, said at once.
type RoundWarning struct {
	Rule     metering.Rule     `json:"rule"`
	Blocking bool              `json:"blocking"`
	Numbers  map[string]string `json:"numbers"`
}

// RoundVerdict is what was made of one value. Refused is a sentence; a value that was refused isn't stored.
type RoundVerdict struct {
	Meter    billing.MeterID
	Seq      int
	Refused  string
	Confirm  bool // it goes in when the reader confirms it
	Warnings []RoundWarning
}

// maxRoundNote is the longest note, in characters.
const maxRoundNote = 200

// EnterRoundValues judges a page of values at once, by the same rules as every reading, and puts those that aren't refused on the list.
func (a *Rounds) EnterRoundValues(ctx context.Context, in RoundValues) ([]RoundVerdict, error) {
	r, err := a.may(ctx, RoundDecision{RoundID: in.RoundID, By: in.By}, auth.ReadRound)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Reader == nil || *r.Reader != in.By:
		return nil, billing.Errorf(billing.CodeForbidden, "this round was given to another reader: only that person may enter and submit its values")
	case r.State != billing.RoundAssigned && r.State != billing.RoundInProgress:
		return nil, billing.Errorf(billing.CodeClosed, "this round is %s already: nothing was changed", r.State)
	case len(in.Values) == 0 || len(in.Values) > MaxRoundPage:
		return nil, billing.Errorf(billing.CodeInvalidInput, "send 1 to %d values at a time", MaxRoundPage)
	}
	e, err := a.entry(ctx, r, in)
	if err != nil {
		return nil, err
	}
	var verdicts []RoundVerdict
	var entries []store.RoundEntry
	for _, v := range in.Values {
		verdict, entry, err := e.weigh(ctx, v)
		if err != nil {
			return nil, err
		}
		verdicts = append(verdicts, verdict)
		activity.RecordHeartbeat(ctx, verdict.Seq)
		if verdict.Refused == "" && !verdict.Confirm {
			entries = append(entries, entry)
		}
	}
	if in.Preview || len(entries) == 0 {
		return verdicts, nil
	}
	return verdicts, a.Store.EnterRoundValues(ctx, byPerson(ctx, in.By, ""), in.RoundID, entries)
}

// entering is a page of values being judged.
type entering struct {
	*Rounds
	judge  roundJudge
	in     RoundValues
	round  store.Round
	items  map[billing.MeterID]store.RoundItem
	meters map[billing.MeterID]store.Meter
	now    time.Time
	seen   map[billing.MeterID]bool
}

func (a *Rounds) entry(ctx context.Context, r store.Round, in RoundValues) (*entering, error) {
	e := &entering{Rounds: a, in: in, round: r, items: map[billing.MeterID]store.RoundItem{}, meters: map[billing.MeterID]store.Meter{}, seen: map[billing.MeterID]bool{}}
	var err error
	if e.judge, err = a.judgeOf(ctx, r); err != nil {
		return nil, err
	}
	items, err := a.Store.RoundItems(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	var ids []billing.MeterID
	for _, i := range items {
		e.items[i.Meter] = i
		ids = append(ids, i.Meter)
	}
	meters, err := a.Store.Meters(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, m := range meters {
		e.meters[m.ID] = m
	}
	clock, err := a.Store.Clock(ctx)
	e.now = clock.Now
	return e, err
}

// weigh judges one value. What can't be a reading of this meter is refused; what can't follow the last reading wants another look at the
// dial; everything else goes in, with the warnings beside it.
func (e *entering) weigh(ctx context.Context, v RoundValue) (RoundVerdict, store.RoundEntry, error) {
	item, listed := e.items[v.Meter]
	verdict := RoundVerdict{Meter: v.Meter, Seq: item.Seq}
	if v.TakenAt.IsZero() {
		v.TakenAt = e.now
	}
	v.TakenAt = v.TakenAt.UTC().Truncate(time.Second)
	if verdict.Refused = e.refused(v, item, listed); verdict.Refused != "" {
		return verdict, store.RoundEntry{}, nil
	}
	e.seen[v.Meter] = true
	entry := store.RoundEntry{Seq: item.Seq, Meter: v.Meter, NoReading: v.NoReading, Note: strings.TrimSpace(v.Note), TakenAt: v.TakenAt, Source: e.in.Source}
	if v.NoReading != "" {
		return verdict, entry, nil
	}
	entry.Registers = v.Registers
	m := e.meters[v.Meter]
	d, err := e.judge.doubts(ctx, e.judge.reading(m, v.Registers, v.TakenAt, e.in.By), m)
	if err != nil {
		return verdict, entry, err
	}
	for _, f := range d.findings() {
		verdict.Warnings = append(verdict.Warnings, RoundWarning(f))
		if mustConfirm(f.Rule) && !v.Confirmed {
			verdict.Confirm = true
		}
	}
	if len(verdict.Warnings) > 0 {
		entry.Warnings = verdict.Warnings
	}
	if d.before != nil {
		entry.Last, entry.LastAt = d.before.Registers, &d.before.At
	}
	entry.Estimate, err = d.estimate(ctx, m, v.TakenAt)
	return verdict, entry, err
}

// mustConfirm says which doubts want another look at the dial before the value is taken.
func mustConfirm(r metering.Rule) bool {
	return r == metering.RuleNegative || r == metering.RuleCapacity || r == metering.RuleTooHigh || r == metering.RuleSumMismatch || r == metering.RuleMalformed
}

// refused says why a value can't stand on this list at all.
func (e *entering) refused(v RoundValue, item store.RoundItem, listed bool) string {
	meter := e.meters[v.Meter]
	switch {
	case !listed:
		return sentence("meter %s is not on the list of this round: check the number", v.Meter)
	case e.seen[v.Meter]:
		return sentence("meter %s was given twice: leave one of the two", v.Meter)
	case v.NoReading != "" && len(v.Registers) > 0:
		return sentence("give a value or a reason why there is none, not both")
	case v.NoReading != "" && !slices.Contains(billing.NoReadings, v.NoReading):
		return sentence("%q is no reason: choose one of the list", string(v.NoReading))
	case v.NoReading == billing.NoReadingElse && strings.TrimSpace(v.Note) == "":
		return sentence("say in the note why there is no value")
	case v.NoReading == "" && len(v.Registers) == 0:
		return sentence("enter what the meter shows, or choose a reason why there is no value")
	case utf8.RuneCountInString(v.Note) > maxRoundNote:
		return sentence("the note is too long: use at most %d characters", maxRoundNote)
	case v.TakenAt.After(e.now):
		return sentence("the value can't have been read in the future: correct the time")
	case v.TakenAt.Before(e.now.AddDate(0, 0, -max(1, e.judge.policy.Rounds.PastDays))):
		return sentence("the value was read more than %d days ago: read the meter again", max(1, e.judge.policy.Rounds.PastDays))
	case e.round.AssignedAt != nil && v.TakenAt.Before(e.round.AssignedAt.Truncate(time.Second)):
		return sentence("the value was read before the round was assigned: correct the time, or read the meter again")
	case v.NoReading != "":
		return ""
	case len(v.Registers) != item.Count:
		return sentence("meter %s shows %d registers, %d were given: enter all of them", v.Meter, item.Count, len(v.Registers))
	}
	for i, raw := range v.Registers {
		if raw < 0 || raw >= billing.Wrap(meter.Digits) {
			return sentence("the %s register of meter %s can't show %s: check the digits", billing.Register(i), v.Meter, meter.Service.Format(raw))
		}
	}
	return ""
}

// sentence is the text of a refusal that is an answer, not an error: the other values of the page are taken.
func sentence(format string, args ...any) string {
	return billing.MessageOf(billing.Errorf(billing.CodeInvalidReading, format, args...))
}

// roundJudge judges values that were read on foot: each stands for its own instant.
type roundJudge struct {
	*validator // the clock and the prices, as of when the page began; each value gets a copy
	round      billing.RoundID
	rules      map[billing.Date]ruleBook // begin and end with local days
}

func (a *Rounds) judgeOf(ctx context.Context, r store.Round) (roundJudge, error) {
	j := roundJudge{round: r.ID, rules: map[billing.Date]ruleBook{}}
	site, policy, err := sitePolicy(ctx, a.Store, r.Site)
	if err != nil {
		return j, err
	}
	j.validator, err = (&Metering{Store: a.Store}).judging(ctx, site, policy)
	return j, err
}

// rulesOn are the rules in force on the local day of an instant.
func (j roundJudge) rulesOn(ctx context.Context, at time.Time) (ruleBook, error) {
	day := billing.DateOf(at, j.site.Zone)
	if book, ok := j.rules[day]; ok {
		return book, nil
	}
	book, err := loadRules(ctx, j.Store, j.policy, j.site.ID, at)
	j.rules[day] = book
	return book, err
}

// doubted is a value with what was found about it, and the readings around it.
type doubted struct {
	*validator
	judged
	before *store.Point // the last good reading before it
}

func (d doubted) findings() []metering.Finding { return d.judged.findings }

// reading is the reading that a value on foot becomes.
func (j roundJudge) reading(m store.Meter, registers billing.Registers, at time.Time, by billing.UserID) store.Reading {
	return store.Reading{
		Meter: m.ID, FreezeAt: at, Version: 1, TakenAt: at, Quality: billing.QualityManual, Registers: registers,
		Supply: string(devices.SupplyUnknown), RecordedBy: string(by), Reason: "round " + string(j.round),
	}
}

// doubts runs a value through the validation of all readings, as the reading that it would become.
func (j roundJudge) doubts(ctx context.Context, r store.Reading, m store.Meter) (doubted, error) {
	rules, err := j.rulesOn(ctx, r.FreezeAt)
	if err != nil {
		return doubted{}, err
	}
	v := *j.validator
	v.rules, v.gateway = rules, m.Gateway
	v.cycle = store.Cycle{ID: billing.CycleID("round/" + string(j.round)), Site: j.site.ID, FreezeAt: r.FreezeAt}
	d := doubted{validator: &v}
	judged, err := d.judge(ctx, []store.PlannedMeter{{Meter: m}}, map[billing.MeterID]store.Reading{m.ID: r})
	if err != nil {
		return d, err
	}
	d.judged = judged[0]
	return d, d.neighbours(ctx, m, r)
}

// neighbours finds the good readings before and after a value. A later one that is below it makes a step back as much as an earlier one above it.
func (d *doubted) neighbours(ctx context.Context, m store.Meter, r store.Reading) error {
	ids := []billing.MeterID{m.ID}
	before, err := d.Store.LastPoints(ctx, ids, r.FreezeAt)
	if err != nil {
		return err
	}
	if p, ok := before[m.ID]; ok {
		d.before = &p
	}
	after, err := d.Store.NextPoints(ctx, ids, r.FreezeAt)
	if err != nil {
		return err
	}
	p, ok := after[m.ID]
	if !ok {
		return nil
	}
	if _, err := billing.Usage(r.Registers, p.Registers, m.Digits); err != nil {
		f := metering.Finding{Rule: metering.RuleNegative, Blocking: true, Numbers: map[string]string{
			"register": billing.Total.String(), "previous": m.Service.Format(r.Registers.Total()), "current": m.Service.Format(p.Registers.Total()), "later": p.At.UTC().Format(time.RFC3339),
		}}
		d.judged.findings = append([]metering.Finding{f}, d.judged.findings...)
	}
	return nil
}

// estimate is the total that the system itself would have put down, nil when it couldn't: a reader's value that equals it was perhaps not read.
func (d doubted) estimate(ctx context.Context, m store.Meter, at time.Time) (*int64, error) {
	if d.before == nil {
		return nil, nil
	}
	last := d.before.At
	points, err := d.Store.GoodPoints(ctx, []billing.MeterID{m.ID}, last.AddDate(0, 0, -historyDays), last.Add(time.Second))
	if err != nil {
		return nil, err
	}
	src, ok := source(metering.MethodLastMonth, points[m.ID], m, d.site.Zone)
	days := billing.DateOf(last, d.site.Zone).DaysUntil(billing.DateOf(at, d.site.Zone))
	if !ok || days < 1 {
		return nil, nil
	}
	e, err := metering.EstimateReading(metering.Gap{
		Service: m.Service, Ratio: int64(m.Ratio), Digits: m.Digits, Last: d.before.Registers, Days: days, Sources: []metering.Source{src}, Limits: d.limits,
	})
	if err != nil {
		return nil, nil //nolint:nilerr // nothing to estimate from is no fault of the reader's
	}
	total := e.Registers.Total()
	return &total, nil
}
