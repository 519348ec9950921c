package activities_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// route is a field with a reading route of water meters that nobody can read from afar.
type route struct {
	*field
	rounds activities.Rounds
	id     billing.RouteID
	list   []billing.MeterID
}

// newRoute makes the meters, and a month of good daily readings: each uses 300 litres a day.
func newRoute(t *testing.T, meters int) *route {
	t.Helper()
	r := &route{field: newField(t, "2026-09-01")}
	r.rounds = activities.Rounds{Store: r.Store}
	r.env.RegisterActivity(&r.rounds)
	for range meters {
		_, meter := r.Account(storetest.NewAccount{Service: billing.Water, Opening: billing.Registers{50_000}})
		r.list = append(r.list, meter)
	}
	for d := 2; d <= 11; d++ {
		shown := map[billing.MeterID]billing.Registers{}
		for _, m := range r.list {
			shown[m] = r.shows(d)
		}
		require.Empty(t, r.day(fmt.Sprintf("2026-09-%02d", d), shown))
	}
	var err error
	r.id, err = r.SaveRoute(t.Context(), store.By{Actor: "sup1"}, store.Route{Site: r.Site, Name: "东区", Kind: billing.RoundCollect, Active: true}, r.list)
	require.NoError(t, err)
	return r
}

// shows is what every meter shows at midnight of a day of September.
func (r *route) shows(day int) billing.Registers { return billing.Registers{50_000 + 300*int64(day-1)} }

// given plans a round for a day and gives it to a reader.
func (r *route) given(id billing.RoundID, day string, reader billing.UserID) {
	r.t.Helper()
	do[activities.RoundFacts](r.field, r.rounds.PlanRound, activities.PlanRound{RoundID: id, Route: r.id, DueOn: billing.MustDate(day), By: "sup1"})
	f := do[activities.RoundFacts](r.field, r.rounds.AssignRound, activities.RoundDecision{RoundID: id, By: "sup1", Reader: reader})
	require.Equal(r.t, billing.RoundAssigned, f.State)
}

func (r *route) enter(id billing.RoundID, by billing.UserID, values ...activities.RoundValue) []activities.RoundVerdict {
	r.t.Helper()
	return do[[]activities.RoundVerdict](r.field, r.rounds.EnterRoundValues, activities.RoundValues{RoundID: id, By: by, Source: "form", Values: values})
}

// reads enters a value for each meter, some minutes apart.
func (r *route) reads(id billing.RoundID, by billing.UserID, from time.Time, value func(i int) billing.Registers) {
	r.t.Helper()
	for i, m := range r.list {
		v := activities.RoundValue{Meter: m, TakenAt: from.Add(time.Duration(i)*time.Minute + time.Duration(i*i%37)*time.Second), Registers: value(i)}
		got := r.enter(id, by, v)
		require.Len(r.t, got, 1)
		require.Empty(r.t, got[0].Refused)
		require.False(r.t, got[0].Confirm, got[0].Warnings)
	}
}

func step(id billing.RoundID, by billing.UserID) activities.RoundDecision {
	return activities.RoundDecision{RoundID: id, By: by, Reason: "looked at it"}
}

func (r *route) number(sql string, args ...any) (n int64) {
	r.t.Helper()
	require.NoError(r.t, r.Pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// A round's values stand for the instants at which they were taken, and answer the days on which nobody answered.
func TestRounds_valuesBecomeReadingsAndAnswerSilence(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 3)
	opened := r.day("2026-09-12", nil)
	require.Len(t, opened, 1, "the gateway is silent: one case for its meters")
	r.at("2026-09-12", 8, 0)
	r.given("L1", "2026-09-12", "reader1")
	r.at("2026-09-12", 12, 0)
	from := billing.MustDate("2026-09-12").At(10, 0, storetest.Zone)
	r.reads("L1", "reader1", from, func(i int) billing.Registers { return billing.Registers{r.shows(12)[0] + 125 + int64(i)} })
	require.Zero(t, r.number(`SELECT count(*) FROM readings WHERE quality = 'manual'`), "a reader's paper is no reading yet")

	submitted := do[activities.RoundFacts](r.field, r.rounds.SubmitRound, step("L1", "reader1"))
	require.Equal(t, billing.RoundSubmitted, submitted.State)
	require.Contains(t, refused(r.field, r.rounds.AcceptRound, step("L1", "reader1")), "Your role may not check reading rounds")
	do[activities.RoundFacts](r.field, r.rounds.AcceptRound, step("L1", "sup2"))
	stored := do[activities.RoundStored](r.field, r.rounds.StoreRound, activities.RoundRef{RoundID: "L1"})
	require.Empty(t, stored.Cases)
	closed := do[activities.RoundFacts](r.field, r.rounds.CloseRound, activities.RoundRef{RoundID: "L1"})
	require.Equal(t, billing.RoundClosed, closed.State)

	own, err := r.ReadingsAt(t.Context(), r.list[:1], from)
	require.NoError(t, err)
	require.Equal(t, billing.QualityManual, own[r.list[0]].Quality)
	require.Equal(t, "reader1", own[r.list[0]].RecordedBy)
	midnight, err := r.ReadingsAt(t.Context(), r.list, billing.MustDate("2026-09-12").Start(storetest.Zone))
	require.NoError(t, err)
	require.Len(t, midnight, 3)
	for _, m := range r.list {
		carried := midnight[m]
		require.Equal(t, billing.QualityManual, carried.Quality)
		require.True(t, carried.Interpolated, "ten hours are beyond the tolerance")
		require.InDelta(t, r.shows(12)[0], carried.Registers[0], 2, "the even rate of a day and ten hours")
	}
	c, members, err := r.Case(t.Context(), opened[0])
	require.NoError(t, err)
	require.Equal(t, billing.CaseResolved, c.State)
	require.Equal(t, billing.UserID("sup2"), *c.DecidedBy)
	require.Len(t, members, 3)
	require.Equal(t, "manual", members[0].Outcome)
	require.Equal(t, int64(6), r.number(`SELECT count(*) FROM readings WHERE quality = 'manual'`), "every activity ran twice, nothing was stored twice")
}

// What can't be right is said at the meter; the reader looks again, and a supervisor decides before anything rests on it.
func TestRounds_doubtOpensACase(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 2)
	r.at("2026-09-12", 8, 0)
	r.given("L1", "2026-09-12", "reader1")
	r.at("2026-09-12", 12, 0)
	at := billing.MustDate("2026-09-12").At(10, 0, storetest.Zone)
	back := activities.RoundValue{Meter: r.list[0], TakenAt: at, Registers: billing.Registers{40_000}}
	got := r.enter("L1", "reader1", back)
	require.True(t, got[0].Confirm)
	require.Equal(t, metering.RuleNegative, got[0].Warnings[0].Rule)
	require.Equal(t, "53.000", got[0].Warnings[0].Numbers["previous"])
	require.Zero(t, r.number(`SELECT count(*) FROM round_items WHERE entered_at IS NOT NULL`), "it isn't taken without a second look")
	back.Confirmed = true
	require.False(t, r.enter("L1", "reader1", back)[0].Confirm)
	require.Contains(t, refused(r.field, r.rounds.SubmitRound, step("L1", "reader1")), "1 meters have neither a value nor a reason")
	r.enter("L1", "reader1", activities.RoundValue{Meter: r.list[1], TakenAt: at.Add(2 * time.Minute), NoReading: billing.NoAccess, Note: "门锁"})

	do[activities.RoundFacts](r.field, r.rounds.SubmitRound, step("L1", "reader1"))
	do[activities.RoundFacts](r.field, r.rounds.AcceptRound, step("L1", "sup2"))
	stored := do[activities.RoundStored](r.field, r.rounds.StoreRound, activities.RoundRef{RoundID: "L1"})
	require.Len(t, stored.Cases, 1, "accepting a round skips no check")
	do[activities.RoundFacts](r.field, r.rounds.CloseRound, activities.RoundRef{RoundID: "L1"})
	c, members, err := r.Case(t.Context(), stored.Cases[0])
	require.NoError(t, err)
	require.Equal(t, "negative", c.Kind)
	require.True(t, c.Blocking)
	require.Nil(t, c.Cycle)
	require.Len(t, members, 1)
	good, err := r.LatestGood(t.Context(), r.list, at.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, r.shows(11), good[r.list[0]].Registers, "nothing rests on the doubtful value")
	items, err := r.RoundItems(t.Context(), "L1")
	require.NoError(t, err)
	require.Equal(t, "doubtful", items[0].Outcome)
	require.Equal(t, "no_value", items[1].Outcome)

	// The decision of such a case works as for every reading.
	r.review.Store = r.Store
	do[activities.Decided](r.field, r.review.DecideCase, activities.Decision{
		CaseID: c.ID, By: "sup1", Decision: activities.DecideManual, Reason: "misread", Values: []activities.ManualValue{{Meter: r.list[0], Registers: billing.Registers{53_100}}},
	})
	good, err = r.LatestGood(t.Context(), r.list, at.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, billing.Registers{53_100}, good[r.list[0]].Registers)
}

// A check round beside a gateway that reads: the value on foot must lie between the gateway's.
func TestRounds_checkAgainstTheGateway(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	r.day("2026-09-12", map[billing.MeterID]billing.Registers{r.list[0]: r.shows(12)})
	r.at("2026-09-12", 8, 0)
	r.given("L1", "2026-09-12", "reader1")
	r.day("2026-09-13", map[billing.MeterID]billing.Registers{r.list[0]: r.shows(13)})
	r.at("2026-09-13", 8, 0)
	at := billing.MustDate("2026-09-12").At(10, 0, storetest.Zone)
	above := activities.RoundValue{Meter: r.list[0], TakenAt: at, Registers: billing.Registers{r.shows(13)[0] + 50}}
	got := r.enter("L1", "reader1", above)
	require.True(t, got[0].Confirm, "the gateway read less half a day later")
	require.NotEmpty(t, got[0].Warnings[0].Numbers["later"])
	within := activities.RoundValue{Meter: r.list[0], TakenAt: at, Registers: billing.Registers{r.shows(12)[0] + 120}}
	require.Empty(t, r.enter("L1", "reader1", within)[0].Warnings)
}

func TestRounds_refusals(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 2)
	r.at("2026-09-12", 8, 0)
	plan := activities.PlanRound{RoundID: "L1", Route: r.id, DueOn: billing.MustDate("2026-09-11"), By: "sup1"}
	require.Contains(t, refused(r.field, r.rounds.PlanRound, plan), "is over: choose today or a later day")
	plan.DueOn = billing.MustDate("2026-09-12")
	plan.By = "reader1"
	require.Contains(t, refused(r.field, r.rounds.PlanRound, plan), "Your role may not plan reading rounds")
	plan.Route, plan.By = "W9", "sup1"
	require.Contains(t, refused(r.field, r.rounds.PlanRound, plan), "there is no reading route W9")
	r.given("L1", "2026-09-12", "reader1")
	plan.RoundID, plan.Route = "L2", r.id
	require.Contains(t, refused(r.field, r.rounds.PlanRound, plan), "a round of this route is under way already")
	require.Contains(t, refused(r.field, r.rounds.AssignRound, activities.RoundDecision{RoundID: "L1", By: "sup1", Reader: "clerk1"}), "clerk1 can't read at this site")
	require.Contains(t, refused(r.field, r.rounds.AssignRound, activities.RoundDecision{RoundID: "L1", By: "sup1", Reader: "nobody"}), "nobody can't read at this site")
	r.at("2026-09-12", 12, 0)
	at := billing.MustDate("2026-09-12").At(10, 0, storetest.Zone)
	one := activities.RoundValue{Meter: r.list[0], TakenAt: at, Registers: billing.Registers{53_400}}
	require.Contains(t, refused(r.field, r.rounds.EnterRoundValues, activities.RoundValues{RoundID: "L1", By: "reader2", Values: []activities.RoundValue{one}}), "only that person may enter")

	for name, c := range map[string]struct {
		change func(*activities.RoundValue)
		says   string
	}{
		"unknown meter":     {func(v *activities.RoundValue) { v.Meter = "M9999" }, "is not on the list of this round"},
		"both":              {func(v *activities.RoundValue) { v.NoReading = billing.NoAccess }, "not both"},
		"neither":           {func(v *activities.RoundValue) { v.Registers = nil }, "enter what the meter shows"},
		"invented reason":   {func(v *activities.RoundValue) { v.Registers, v.NoReading = nil, "rain" }, "is no reason"},
		"other, no note":    {func(v *activities.RoundValue) { v.Registers, v.NoReading = nil, billing.NoReadingElse }, "say in the note"},
		"six registers":     {func(v *activities.RoundValue) { v.Registers = make(billing.Registers, 6) }, "shows 1 registers, 6 were given"},
		"more digits":       {func(v *activities.RoundValue) { v.Registers = billing.Registers{100_000_000} }, "check the digits"},
		"below zero":        {func(v *activities.RoundValue) { v.Registers = billing.Registers{-1} }, "check the digits"},
		"tomorrow":          {func(v *activities.RoundValue) { v.TakenAt = at.AddDate(0, 0, 1) }, "in the future"},
		"long ago":          {func(v *activities.RoundValue) { v.TakenAt = at.AddDate(0, 0, -8) }, "more than 7 days ago"},
		"before assignment": {func(v *activities.RoundValue) { v.TakenAt = at.Add(-3 * time.Hour) }, "before the round was assigned"},
	} {
		v := one
		c.change(&v)
		got := r.enter("L1", "reader1", v)
		require.Contains(t, got[0].Refused, c.says, name)
	}
	twice := r.enter("L1", "reader1", one, one)
	require.Empty(t, twice[0].Refused)
	require.Contains(t, twice[1].Refused, "given twice")
	preview := do[[]activities.RoundVerdict](r.field, r.rounds.EnterRoundValues, activities.RoundValues{
		RoundID: "L1", By: "reader1", Preview: true, Values: []activities.RoundValue{{Meter: r.list[1], TakenAt: at, Registers: billing.Registers{53_400}}},
	})
	require.Empty(t, preview[0].Refused)
	require.Equal(t, int64(1), r.number(`SELECT count(*) FROM round_items WHERE entered_at IS NOT NULL`), "a preview stores nothing")
}

// Who makes a round up at the kitchen table is reported to the supervisors, and the round goes to somebody else, who reads anew.
func TestRounds_readerIsSupervisedAndRotated(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 10)
	for n := range 3 {
		id, day := billing.RoundID(fmt.Sprintf("L%d", n+1)), fmt.Sprintf("2026-09-%d", 12+n)
		r.at(day, 8, 0)
		r.given(id, day, "reader1")
		r.at(day, 12, 0)
		from := billing.MustDate(day).At(10, 0, storetest.Zone)
		for i, m := range r.list {
			got := r.enter(id, "reader1", activities.RoundValue{
				Meter: m, TakenAt: from.Add(time.Duration(i) * 5 * time.Second), Registers: billing.Registers{r.shows(12 + n)[0] + 130 + int64(i%7)},
			})
			require.Empty(t, got[0].Refused)
		}
		do[activities.RoundFacts](r.field, r.rounds.SubmitRound, step(id, "reader1"))
		if n == 0 {
			do[activities.RoundFacts](r.field, r.rounds.ReturnRound, step(id, "sup2"))
			do[activities.RoundFacts](r.field, r.rounds.SubmitRound, step(id, "reader1"))
		}
		do[activities.RoundFacts](r.field, r.rounds.AcceptRound, step(id, "sup2"))
		do[activities.RoundStored](r.field, r.rounds.StoreRound, activities.RoundRef{RoundID: id})
		do[activities.RoundFacts](r.field, r.rounds.CloseRound, activities.RoundRef{RoundID: id})
	}
	found, total, err := r.FindingPage(t.Context(), store.FindingFilter{Sites: []billing.SiteID{r.Site}, Round: "L1", Open: true}, 10, 0)
	require.NoError(t, err)
	require.Equal(t, 2, total, "pace and speed, each once although the round was submitted twice")
	require.ElementsMatch(t, []string{"regular_pace", "too_fast"}, []string{found[0].Rule, found[1].Rule})
	require.ErrorContains(t, r.SettleFinding(t.Context(), store.By{Actor: "reader1", Reason: "not me"}, found[0].ID), "your own work")
	require.NoError(t, r.SettleFinding(t.Context(), store.By{Actor: "sup1", Reason: "talked to the reader"}, found[0].ID))
	require.ErrorContains(t, r.SettleFinding(t.Context(), store.By{Actor: "sup1", Reason: "again"}, found[0].ID), "settled already")

	r.at("2026-09-15", 8, 0)
	do[activities.RoundFacts](r.field, r.rounds.PlanRound, activities.PlanRound{RoundID: "L4", Route: r.id, DueOn: billing.MustDate("2026-09-15"), By: "sup1"})
	same := activities.RoundDecision{RoundID: "L4", By: "sup1", Reader: "reader1"}
	require.Contains(t, refused(r.field, r.rounds.AssignRound, same), "3 times in a row")
	same.Reason = "the other reader is ill"
	do[activities.RoundFacts](r.field, r.rounds.AssignRound, same)
	r.at("2026-09-15", 12, 0)
	r.enter("L4", "reader1", activities.RoundValue{Meter: r.list[0], TakenAt: billing.MustDate("2026-09-15").At(10, 0, storetest.Zone), Registers: billing.Registers{54_400}})
	do[activities.RoundFacts](r.field, r.rounds.AssignRound, activities.RoundDecision{RoundID: "L4", By: "sup1", Reader: "reader2"})
	items, err := r.RoundItems(t.Context(), "L4")
	require.NoError(t, err)
	require.Nil(t, items[0].EnteredAt, "nobody hands in what somebody else read")
}

// A route with a rhythm gets its rounds by itself, one at a time, and a missed day is made up once.
func TestDueRounds(t *testing.T) {
	t.Parallel()
	r := newRoute(t, 1)
	site, err := r.Store.Site(t.Context(), r.Site)
	require.NoError(t, err)
	due := func(day string) []store.RoundDue {
		got, err := r.DueRounds(t.Context(), site, billing.MustDate(day).At(9, 0, storetest.Zone))
		require.NoError(t, err)
		return got
	}
	require.Empty(t, due("2026-09-12"), "by hand only")
	_, err = r.SaveRoute(t.Context(), storetest.By, store.Route{ID: r.id, Site: r.Site, Name: "东区", EveryDays: 7, Kind: billing.RoundCheck, Active: true}, r.list)
	require.NoError(t, err)
	first := due("2026-09-12")
	require.Len(t, first, 1)
	require.Equal(t, "2026-09-13", first[0].DueOn.String())
	r.at("2026-09-12", 9, 0)
	do[activities.RoundFacts](r.field, r.rounds.PlanRound, activities.PlanRound{RoundID: first[0].RoundID, Route: r.id, Kind: first[0].Kind, DueOn: first[0].DueOn})
	require.Empty(t, due("2026-09-30"), "one is under way")
	do[activities.RoundFacts](r.field, r.rounds.CancelRound, step(first[0].RoundID, "sup1"))
	require.Empty(t, due("2026-09-18"))
	require.Equal(t, "2026-09-20", due("2026-09-19")[0].DueOn.String())
	require.Equal(t, "2026-10-30", due("2026-10-30")[0].DueOn.String(), "not five rounds at once")
	_, err = r.SaveRoute(t.Context(), storetest.By, store.Route{ID: r.id, Site: r.Site, Name: "东区", EveryDays: 7, Kind: billing.RoundCheck}, r.list)
	require.NoError(t, err)
	require.Empty(t, due("2026-10-30"), "not in use")
}
