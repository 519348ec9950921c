package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// roundPage is how many values become readings in one transaction.
const roundPage = 25

// RoundStored lists what the values of a round brought about: doubts that are open now, cases about missing readings that were answered, and
// the billing runs that wait for cases of the site.
type RoundStored struct {
	Cases    []billing.CaseID
	Answered []billing.CaseID
	Runs     []billing.RunID
}

// StoreRound makes readings of the values of an accepted round, page by page. Each stands for the instant at which it was taken, and is
// judged once more by what is known now: an acceptance skips no check. Where a day's own reading is missing, the value is carried to that
// day's freeze instant and answers the case. Interrupted, it goes on after the last page.
func (a *Rounds) StoreRound(ctx context.Context, in RoundRef) (RoundStored, error) {
	var out RoundStored
	r, err := a.Store.Round(ctx, in.RoundID)
	if err != nil || r.CheckedBy == nil {
		return out, err
	}
	items, err := a.Store.RoundItems(ctx, in.RoundID)
	if err != nil {
		return out, err
	}
	judge, err := a.judgeOf(ctx, r)
	if err != nil {
		return out, err
	}
	t := taking{Rounds: a, round: r, judge: judge}
	for page := range pagesOf(items, roundPage) {
		if err := t.store(ctx, page); err != nil {
			return out, err
		}
		failpoint.Hit("round-stored-not-acked")
	}
	if out.Answered, err = t.answer(ctx); err != nil {
		return out, err
	}
	if out.Cases, err = a.Store.RoundCases(ctx, in.RoundID); err != nil {
		return out, err
	}
	out.Runs, err = a.Store.BlockedRuns(ctx, r.Site)
	return out, err
}

func pagesOf(items []store.RoundItem, size int) func(func([]store.RoundItem) bool) {
	return func(yield func([]store.RoundItem) bool) {
		for from := 0; from < len(items); from += size {
			if !yield(items[from:min(from+size, len(items))]) {
				return
			}
		}
	}
}

// taking is an accepted round whose values become readings.
type taking struct {
	*Rounds
	round store.Round
	judge roundJudge
}

func (t taking) store(ctx context.Context, page []store.RoundItem) error {
	var taken []store.RoundTaken
	for _, item := range page {
		if item.Outcome != "" {
			continue
		}
		one, err := t.take(ctx, item)
		if err != nil {
			return err
		}
		taken = append(taken, one)
		activity.RecordHeartbeat(ctx, item.Seq)
	}
	if len(taken) == 0 {
		return nil
	}
	return judgedAgain(t.Store.SaveRoundReadings(ctx, byPerson(ctx, *t.round.CheckedBy, ""), t.round.ID, taken))
}

// take judges one value and says what becomes of it.
func (t taking) take(ctx context.Context, item store.RoundItem) (store.RoundTaken, error) {
	out := store.RoundTaken{Seq: item.Seq, Outcome: "no_value"}
	if item.Registers == nil {
		return out, nil
	}
	m, err := t.Store.Meter(ctx, item.Meter)
	if err != nil {
		return out, err
	}
	// A gateway's reading of the same second stays what it is: the value on foot follows it.
	at := *item.TakenAt
	for there := true; there; {
		taken, err := t.Store.ReadingsAt(ctx, []billing.MeterID{m.ID}, at)
		if err != nil {
			return out, err
		}
		if _, there = taken[m.ID]; there {
			at = at.Add(time.Second)
		}
	}
	d, err := t.judge.doubts(ctx, t.judge.reading(m, item.Registers, at, *item.EnteredBy), m)
	if err != nil {
		return out, err
	}
	out.Outcome = "stored"
	for _, c := range d.sortByCause([]judged{d.judged}) {
		c.Cycle = nil // a round is no cycle
		out.Cases = append(out.Cases, c)
		if c.Blocking {
			out.Outcome = "doubtful"
		}
	}
	if out.Outcome == "stored" {
		out.Reading, out.TrueUps = d.judged.reading, d.found.TrueUps
	}
	return out, nil
}

// answer settles the cases about missing readings that the stored values answer.
func (t taking) answer(ctx context.Context) (answered []billing.CaseID, err error) {
	items, err := t.Store.RoundItems(ctx, t.round.ID)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		if item.Outcome != "stored" {
			continue // nothing rests on a value in doubt
		}
		cases, err := t.answerMissing(ctx, item)
		if err != nil {
			return nil, err
		}
		answered = append(answered, cases...)
		activity.RecordHeartbeat(ctx, item.Seq)
	}
	return answered, nil
}

// answerMissing carries a value to the freeze instants at which its meter has no reading, and settles the cases about them: the supervisor who
// accepted the round decides so. Within the tolerance the value stands as read, else it lies evenly before it and is marked.
func (t taking) answerMissing(ctx context.Context, item store.RoundItem) ([]billing.CaseID, error) {
	missing, err := t.Store.MissingOf(ctx, item.Meter, *item.TakenAt)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	m, err := t.Store.Meter(ctx, item.Meter)
	if err != nil {
		return nil, err
	}
	value := t.judge.reading(m, item.Registers, *item.TakenAt, *item.EnteredBy)
	byCase := map[billing.CaseID]*store.Resolution{}
	var order []billing.CaseID
	left := map[billing.CaseID]int{}
	for i, gap := range missing {
		reading, err := t.carried(ctx, m, value, gap.FreezeAt)
		if err != nil {
			return nil, err
		}
		if reading == nil {
			continue // there is nothing before it to reckon from: a supervisor decides on that day
		}
		if byCase[gap.Case] == nil {
			order, left[gap.Case] = append(order, gap.Case), gap.Left
			byCase[gap.Case] = &store.Resolution{Case: gap.Case, Decision: DecideManual, By: *t.round.CheckedBy, Reason: "round " + string(t.round.ID)}
		}
		outcome := "estimated"
		if i == len(missing)-1 {
			outcome, reading.Quality = "manual", billing.QualityManual
		}
		res := byCase[gap.Case]
		res.Members = append(res.Members, store.MemberResult{Meter: item.Meter, FreezeAt: gap.FreezeAt, Outcome: outcome, Reading: reading})
	}
	var answered []billing.CaseID
	for _, id := range order {
		res := byCase[id]
		res.Close = left[id] == len(res.Members)
		err := t.Store.ResolveCase(ctx, byPerson(ctx, res.By, res.Reason), *res)
		if err != nil && billing.CodeOf(err) != billing.CodeClosed {
			return answered, err
		}
		if res.Close && err == nil {
			answered = append(answered, id)
		}
	}
	return answered, nil
}

// carried is what the meter showed at a freeze instant before the value was taken; nil when nothing is known before it.
func (t taking) carried(ctx context.Context, m store.Meter, value store.Reading, freeze time.Time) (*store.Reading, error) {
	r := value
	r.FreezeAt, r.Quality, r.Version, r.TakenReal = freeze, billing.QualityEstimated, 0, time.Time{}
	if value.TakenAt.Sub(freeze) <= minutes(t.judge.policy.Reading.ToleranceMinutes) {
		return &r, nil
	}
	before, err := t.Store.LastPoints(ctx, []billing.MeterID{m.ID}, freeze)
	if err != nil {
		return nil, err
	}
	p, ok := before[m.ID]
	if !ok {
		return nil, nil
	}
	registers, err := metering.Interpolate(metering.Reading{At: p.At, Registers: p.Registers}, metering.Reading{At: value.TakenAt, Registers: value.Registers}, freeze, m.Digits)
	if err != nil {
		return nil, nil //nolint:nilerr // the value can't follow what was before: the case stays with a person
	}
	r.Registers, r.Interpolated = registers, true
	return &r, nil
}
