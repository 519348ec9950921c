package metering

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// ReaderRule names what is odd about a reader's own work. A finding proves nothing: it says where a supervisor should look.
type ReaderRule string

// The rules, in the order in which they are checked.
const (
	// ReaderRoundDigits: the last digit that is read is 0 far more often than one time in ten.
	ReaderRoundDigits ReaderRule = "round_digits"
	// ReaderRegularUse: one and the same use at many meters.
	ReaderRegularUse ReaderRule = "regular_use"
	// ReaderRegularPace: one and the same time from door to door.
	ReaderRegularPace ReaderRule = "regular_pace"
	// ReaderTooFast: from one meter to the next faster than one can walk.
	ReaderTooFast ReaderRule = "too_fast"
	// ReaderEqualsEstimate: values that are what the system would have estimated.
	ReaderEqualsEstimate ReaderRule = "equals_estimate"
	// ReaderSkips: a large part of the list without a value.
	ReaderSkips ReaderRule = "skips"
	// ReaderAlwaysLate: most rounds not submitted on schedule.
	ReaderAlwaysLate ReaderRule = "always_late"
)

// ReaderRules lists every rule, so that screens can be held against it.
var ReaderRules = []ReaderRule{
	ReaderRoundDigits, ReaderRegularUse, ReaderRegularPace, ReaderTooFast, ReaderEqualsEstimate, ReaderSkips, ReaderAlwaysLate,
}

// ReaderLimits is the policy by which a reader's work is judged. Shares are percent.
type ReaderLimits struct {
	// MinValues is how many values, paces or meters a share is computed of at least: few say nothing.
	MinValues int `json:"min_values"`
	// RoundDigitPercent of values ending in 0 is too many; honest values end in 0 one time in ten.
	RoundDigitPercent int `json:"round_digit_percent"`
	// SameUsePercent of values with the same use other than none is too many.
	SameUsePercent int `json:"same_use_percent"`
	// SamePacePercent of steps with the same length in seconds is too many.
	SamePacePercent int `json:"same_pace_percent"`
	// WalkSeconds from one meter to the next is the least that a person needs to find it, read it and write it down.
	WalkSeconds int `json:"walk_seconds"`
	// FastSteps is how many faster steps are reported: a pair of meters may hang on one wall.
	FastSteps int `json:"fast_steps"`
	// EstimatePercent of values that equal the estimate is too many.
	EstimatePercent int `json:"estimate_percent"`
	// SkipPercent of the list without a value is too much.
	SkipPercent int `json:"skip_percent"`
	// LateRounds is how many rounds lateness is judged on, LatePercent of them late is too many.
	LateRounds  int `json:"late_rounds"`
	LatePercent int `json:"late_percent"`
}

// DefaultReaderLimits are general practice, chosen such that of ten thousand honest rounds of thirty meters fewer than one in
// a hundred is reported (see the property test). Nothing in law fixes them.
func DefaultReaderLimits() ReaderLimits {
	return ReaderLimits{
		MinValues: 8, RoundDigitPercent: 50, SameUsePercent: 50, SamePacePercent: 60, WalkSeconds: 15, FastSteps: 4,
		EstimatePercent: 40, SkipPercent: 40, LateRounds: 3, LatePercent: 60,
	}
}

// Visit is one meter of a round, in the order of the list.
type Visit struct {
	Service billing.Service
	TakenAt time.Time
	// Raw is the total register as read; nil when a reason stands in its place.
	Raw *int64
	// Use is the total use since the last good reading, nil when nothing is known before.
	Use *int64
	// Estimate is what the system would have estimated for Raw; nil when it could not.
	Estimate *int64
}

// Timeliness is when a round was planned for and when it was submitted, as local days.
type Timeliness struct {
	Due, Submitted billing.Date
	// OnTimeDays: it is on schedule when it was submitted less than so many days before or after Due.
	OnTimeDays int
}

// OnSchedule is the rule of the field: |submitted − planned| < 2 days.
func (t Timeliness) OnSchedule() bool {
	days := t.Due.DaysUntil(t.Submitted)
	return max(days, -days) < t.OnTimeDays
}

// ReaderWork is what a reader's work is judged by.
type ReaderWork struct {
	// Round is the round in question, in walking order.
	Round []Visit
	// Earlier are values of the reader's earlier rounds, newest first: they make up the sample when the round is too small.
	Earlier []Visit
	// Rounds are this round and those before it, newest first.
	Rounds []Timeliness
	Limits ReaderLimits
}

// ReaderFinding is one oddity with the numbers behind it.
type ReaderFinding struct {
	Rule    ReaderRule        `json:"rule"`
	Numbers map[string]string `json:"numbers"`
}

// JudgeReader applies every rule; one that finds nothing never hides another.
func JudgeReader(w ReaderWork) []ReaderFinding {
	var found []ReaderFinding
	for _, f := range []*ReaderFinding{w.roundDigits(), w.regularUse(), w.regularPace(), w.tooFast(), w.equalsEstimate(), w.skips(), w.alwaysLate()} {
		if f != nil {
			found = append(found, *f)
		}
	}
	return found
}

// share reports a rule when count of total reaches percent, and the total is large enough to say anything.
func (w ReaderWork) share(rule ReaderRule, count, total, percent int, more ...string) *ReaderFinding {
	if total < max(1, w.Limits.MinValues) || count*100 < percent*total {
		return nil
	}
	f := &ReaderFinding{Rule: rule, Numbers: map[string]string{"count": strconv.Itoa(count), "of": strconv.Itoa(total), "limit_percent": strconv.Itoa(percent)}}
	for i := 0; i+1 < len(more); i += 2 {
		f.Numbers[more[i]] = more[i+1]
	}
	return f
}

// sample are the values of the round, with earlier ones as long as there are too few.
func (w ReaderWork) sample(has func(Visit) bool) []Visit {
	var out []Visit
	for _, v := range w.Round {
		if has(v) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil // nothing of this round: the earlier ones were judged with their own
	}
	for _, v := range w.Earlier {
		if len(out) >= w.Limits.MinValues {
			break
		}
		if has(v) {
			out = append(out, v)
		}
	}
	return out
}

func hasValue(v Visit) bool    { return v.Raw != nil }
func hasUse(v Visit) bool      { return v.Raw != nil && v.Use != nil }
func hasEstimate(v Visit) bool { return v.Raw != nil && v.Estimate != nil }

// roundDigits looks at the last digit that the displays of a service show. Who reads whole m³ only, because the red digits are not
// read there, is judged by the last black one: the decimals that all values leave at zero are taken off first, down to whole units.
func (w ReaderWork) roundDigits() *ReaderFinding {
	values := map[billing.Service][]int64{}
	for _, v := range w.sample(hasValue) {
		values[v.Service] = append(values[v.Service], *v.Raw)
	}
	zeros, total := 0, 0
	for _, service := range []billing.Service{billing.Power, billing.Water} {
		step := precision(values[service], billing.Wrap(service.Scale()))
		for _, raw := range values[service] {
			total++
			if raw/step%10 == 0 {
				zeros++
			}
		}
	}
	return w.share(ReaderRoundDigits, zeros, total, w.Limits.RoundDigitPercent)
}

// precision is the largest power of ten, up to one whole unit, of which all values are multiples.
func precision(values []int64, unit int64) int64 {
	step := int64(1)
	for step < unit && !slices.ContainsFunc(values, func(v int64) bool { return v%(step*10) != 0 }) {
		step *= 10
	}
	return step
}

func (w ReaderWork) regularUse() *ReaderFinding {
	sample := w.sample(hasUse)
	counts := map[int64]int{}
	for _, v := range sample {
		if *v.Use != 0 { // homes stand empty
			counts[*v.Use]++
		}
	}
	use, n := mostFrequent(counts)
	if n < 2 {
		return nil
	}
	return w.share(ReaderRegularUse, n, len(sample), w.Limits.SameUsePercent, "use_raw", strconv.FormatInt(use, 10))
}

// steps are the times from meter to meter as they were walked to, in whole seconds: the order of a day is the reader's own.
func (w ReaderWork) steps() []int64 {
	walked := slices.Clone(w.Round)
	slices.SortStableFunc(walked, func(a, b Visit) int { return a.TakenAt.Compare(b.TakenAt) })
	var steps []int64
	for i := 1; i < len(walked); i++ {
		steps = append(steps, int64(walked[i].TakenAt.Sub(walked[i-1].TakenAt)/time.Second))
	}
	return steps
}

// regularPace reports one and the same number of seconds, unless it is a whole minute: who writes the minute down from a watch
// makes such steps honestly, so those count only when nothing else occurs.
func (w ReaderWork) regularPace() *ReaderFinding {
	steps := w.steps()
	counts := map[int64]int{}
	for _, s := range steps {
		counts[s]++
	}
	pace, n := mostFrequent(counts)
	percent := w.Limits.SamePacePercent
	if pace%60 == 0 {
		percent = 100
	}
	return w.share(ReaderRegularPace, n, len(steps), percent, "seconds", strconv.FormatInt(pace, 10))
}

// tooFast counts steps that nobody can walk. Whole minutes written down from a watch hide up to a minute, so a second meter in the
// same minute is believed, and a third isn't.
func (w ReaderWork) tooFast() *ReaderFinding {
	steps := w.steps()
	wholeMinutes := !slices.ContainsFunc(w.Round, func(v Visit) bool { return v.TakenAt.Second() != 0 })
	fast, fastest := 0, int64(0)
	for i, s := range steps {
		if wholeMinutes && s == 0 && (i == 0 || steps[i-1] != 0) {
			continue
		}
		if s < int64(w.Limits.WalkSeconds) {
			if fast == 0 || s < fastest {
				fastest = s
			}
			fast++
		}
	}
	if fast < max(1, w.Limits.FastSteps) {
		return nil
	}
	return &ReaderFinding{Rule: ReaderTooFast, Numbers: map[string]string{
		"count": strconv.Itoa(fast), "of": strconv.Itoa(len(steps)), "seconds": strconv.FormatInt(fastest, 10), "least_seconds": strconv.Itoa(w.Limits.WalkSeconds),
	}}
}

func (w ReaderWork) equalsEstimate() *ReaderFinding {
	sample := w.sample(hasEstimate)
	same := 0
	for _, v := range sample {
		// A meter that counted nothing and was expected to count nothing says nothing.
		if *v.Raw == *v.Estimate && (v.Use == nil || *v.Use != 0) {
			same++
		}
	}
	return w.share(ReaderEqualsEstimate, same, len(sample), w.Limits.EstimatePercent)
}

func (w ReaderWork) skips() *ReaderFinding {
	skipped := 0
	for _, v := range w.Round {
		if v.Raw == nil {
			skipped++
		}
	}
	return w.share(ReaderSkips, skipped, len(w.Round), w.Limits.SkipPercent)
}

func (w ReaderWork) alwaysLate() *ReaderFinding {
	if len(w.Rounds) == 0 || w.Rounds[0].OnSchedule() || len(w.Rounds) < max(1, w.Limits.LateRounds) {
		return nil // the round in question is on time: nothing new to report
	}
	late := 0
	for _, t := range w.Rounds {
		if !t.OnSchedule() {
			late++
		}
	}
	if late*100 < w.Limits.LatePercent*len(w.Rounds) {
		return nil
	}
	return &ReaderFinding{Rule: ReaderAlwaysLate, Numbers: map[string]string{
		"count": strconv.Itoa(late), "of": strconv.Itoa(len(w.Rounds)), "limit_percent": strconv.Itoa(w.Limits.LatePercent),
	}}
}

// mostFrequent is the value with the highest count, the smallest of several.
func mostFrequent(counts map[int64]int) (value int64, n int) {
	type tally struct {
		value int64
		n     int
	}
	var all []tally
	for v, c := range counts {
		all = append(all, tally{v, c})
	}
	if len(all) == 0 {
		return 0, 0
	}
	best := slices.MaxFunc(all, func(a, b tally) int { return cmp.Or(cmp.Compare(a.n, b.n), cmp.Compare(b.value, a.value)) })
	return best.value, best.n
}
