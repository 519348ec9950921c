package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// missed is a case about meters that gave nothing at a cycle's freeze instant.
func (r *readingSide) missed(id billing.CycleID, meters ...billing.MeterID) billing.CaseID {
	r.t.Helper()
	c, err := r.Cycle(r.t.Context(), id)
	require.NoError(r.t, err)
	n := store.NewCase{Site: r.Site, Kind: store.KindGatewaySilent, Cause: string(id) + "/silent", Blocking: true, Cycle: &id}
	for _, m := range meters {
		n.Members = append(n.Members, store.NewMember{Meter: m, FreezeAt: c.FreezeAt, Rule: store.KindMissing, Numbers: map[string]string{}})
	}
	require.NoError(r.t, r.SaveFindings(r.t.Context(), storetest.By, id, []billing.GatewayID{"G1"}, store.Findings{Cases: []store.NewCase{n}}))
	var k billing.CaseID
	require.NoError(r.t, r.Pool.QueryRow(r.t.Context(), `SELECT id FROM cases WHERE cause = $1`, n.Cause).Scan(&k))
	return k
}

// settle gives a missed meter its value at an instant.
func (r *readingSide) settle(k billing.CaseID, meter billing.MeterID, freeze, at time.Time, outcome string, quality billing.Quality, by string) {
	r.t.Helper()
	storetest.SetClock(r.t, r.Store, at)
	require.NoError(r.t, r.ResolveCase(r.t.Context(), store.By{Actor: "sup1", Reason: "read"}, store.Resolution{Case: k, Decision: outcome, By: "sup1", Reason: "read",
		Members: []store.MemberResult{{Meter: meter, FreezeAt: freeze, Outcome: outcome, Reading: &store.Reading{
			Meter: meter, FreezeAt: freeze, TakenAt: at, Quality: quality, Registers: billing.Registers{2000, 0, 0, 2000, 0, 0}, Supply: "unknown", RecordedBy: by,
		}}}}))
}

func TestCycleSchedule(t *testing.T) {
	t.Parallel()
	r := newReadingSide(t)
	meters := []billing.MeterID{r.meter}
	for range 5 {
		_, m := r.Account(storetest.NewAccount{})
		meters = append(meters, m)
	}
	schedule := func(id billing.CycleID) store.Schedule {
		s, err := r.CycleSchedule(t.Context(), id)
		require.NoError(t, err)
		return s
	}
	id := r.plan("2026-01-02")
	require.Equal(t, store.Schedule{OnTimeDays: 2, Planned: 6, Pending: 6}, schedule(id), "nothing is missing that was not asked for")
	r.sweep(id, 1000)
	silent := make([]store.Swept, 0, 5)
	for _, m := range meters[1:] {
		silent = append(silent, store.Swept{Gateway: "G1", Meter: m, Outcome: "silent"})
	}
	require.NoError(t, r.SaveSweep(t.Context(), storetest.By, id, 1, silent))
	r.advance(id, billing.CycleValidating)
	k := r.missed(id, meters[1:]...)
	r.advance(id, billing.CycleClosed)
	require.Equal(t, store.Schedule{OnTimeDays: 2, Planned: 6, OnSchedule: 1, Missing: 5}, schedule(id))

	day := billing.MustDate("2026-01-02")
	freeze := day.Start(storetest.Zone)
	// The last minute of the next local day is in time, whatever day it is in UTC; the first one of the day after isn't.
	r.settle(k, meters[1], freeze, day.At(47, 59, storetest.Zone), "reread", billing.QualityActual, "workflow")
	r.settle(k, meters[2], freeze, day.AddDays(2).Start(storetest.Zone), "manual", billing.QualityManual, "sup1")
	r.settle(k, meters[3], freeze, day.AddDays(2).Start(storetest.Zone), "estimated", billing.QualityEstimated, "sup1")
	require.Equal(t, store.Schedule{OnTimeDays: 2, Planned: 6, OnSchedule: 1, MadeUp: 1, Late: 1, Estimated: 1, Missing: 2}, schedule(id))

	// Read on foot in time, handed in late: the upload counts, not the walk.
	_, err := r.SaveRoute(t.Context(), storetest.By, store.Route{Site: r.Site, Name: "east", Kind: billing.RoundCollect, Active: true}, meters[4:])
	require.NoError(t, err)
	walked := day.At(9, 0, storetest.Zone)
	r.round("L1", day, walked, day.AddDays(3).At(9, 0, storetest.Zone), meters[4])
	r.settle(k, meters[4], freeze, walked, "manual", billing.QualityManual, "reader1")
	require.Equal(t, store.Schedule{OnTimeDays: 2, Planned: 6, OnSchedule: 1, MadeUp: 1, Late: 2, Estimated: 1, Missing: 1}, schedule(id))

	_, err = r.Pool.Exec(t.Context(), `UPDATE sites SET policy = '{"rounds": {"on_time_days": 3}}'`)
	require.NoError(t, err)
	require.Equal(t, store.Schedule{OnTimeDays: 3, Planned: 6, OnSchedule: 1, MadeUp: 2, Late: 1, Estimated: 1, Missing: 1}, schedule(id), "the site's own days")
}

// round walks the route: each meter that is named gets a value at an instant, the others a reason.
func (r *readingSide) round(id billing.RoundID, due billing.Date, at, submitted time.Time, read ...billing.MeterID) {
	r.t.Helper()
	ctx, sup, reader := r.t.Context(), store.By{Actor: "sup1"}, store.By{Actor: "reader1"}
	storetest.SetClock(r.t, r.Store, at)
	require.NoError(r.t, r.PlanRound(ctx, sup, store.NewRound{ID: id, Route: "W1001", Kind: billing.RoundCollect, DueOn: due, OnTimeDays: 2}))
	require.NoError(r.t, r.AssignRound(ctx, sup, id, "reader1"))
	items, err := r.RoundItems(ctx, id)
	require.NoError(r.t, err)
	var entries []store.RoundEntry
	for _, i := range items {
		e := store.RoundEntry{Seq: i.Seq, Meter: i.Meter, TakenAt: at, Source: "form", NoReading: billing.NoAccess}
		for _, m := range read {
			if m == i.Meter {
				e.NoReading, e.Registers = "", billing.Registers{2000, 0, 0, 2000, 0, 0}
			}
		}
		entries = append(entries, e)
	}
	require.NoError(r.t, r.EnterRoundValues(ctx, reader, id, entries))
	storetest.SetClock(r.t, r.Store, submitted)
	require.NoError(r.t, r.SubmitRound(ctx, reader, id))
	require.NoError(r.t, r.AcceptRound(ctx, sup, id))
	taken := make([]store.RoundTaken, 0, len(items))
	for _, e := range entries {
		t := store.RoundTaken{Seq: e.Seq, Outcome: "no_value"}
		if e.Registers != nil {
			t.Outcome, t.Reading = "stored", &store.Reading{Meter: e.Meter, FreezeAt: at, TakenAt: at, Quality: billing.QualityManual, Registers: e.Registers, Supply: "unknown", RecordedBy: "reader1"}
		}
		taken = append(taken, t)
	}
	require.NoError(r.t, r.SaveRoundReadings(ctx, storetest.By, id, taken))
	require.NoError(r.t, r.CloseRound(ctx, storetest.By, id))
}

func TestReaderSchedules(t *testing.T) {
	t.Parallel()
	r := newReadingSide(t)
	_, second := r.Account(storetest.NewAccount{})
	_, third := r.Account(storetest.NewAccount{})
	_, err := r.SaveRoute(t.Context(), storetest.By, store.Route{Site: r.Site, Name: "east", Kind: billing.RoundCollect, Active: true}, []billing.MeterID{r.meter, second, third})
	require.NoError(t, err)
	day := billing.MustDate("2026-01-02")
	freeze := day.Start(storetest.Zone)
	id := r.plan("2026-01-02")
	r.advance(id, billing.CycleValidating)
	k := r.missed(id, r.meter, second, third)
	r.advance(id, billing.CycleClosed)

	walked := day.At(9, 0, storetest.Zone)
	r.round("L1", day, walked, walked, r.meter, second)
	r.settle(k, r.meter, freeze, walked, "manual", billing.QualityManual, "reader1") // this value answered the gap
	r.settle(k, third, freeze, walked, "estimated", billing.QualityEstimated, "sup1")
	late := day.AddDays(9)
	r.round("L2", day.AddDays(7), late.At(9, 0, storetest.Zone), late.At(9, 0, storetest.Zone), r.meter)

	all, err := r.ReaderSchedules(t.Context(), []billing.SiteID{r.Site}, day)
	require.NoError(t, err)
	require.Equal(t, []store.ReaderSchedule{{Reader: "reader1", ReaderName: "reader1", Rounds: 2, Schedule: store.Schedule{
		OnTimeDays: 2, Planned: 6, OnSchedule: 1, MadeUp: 1, Late: 1, Estimated: 1, Missing: 2,
	}}}, all)
	later, err := r.ReaderSchedules(t.Context(), []billing.SiteID{r.Site}, day.AddDays(1))
	require.NoError(t, err)
	require.Equal(t, 1, later[0].Rounds)
	none, err := r.ReaderSchedules(t.Context(), []billing.SiteID{"elsewhere"}, day)
	require.NoError(t, err)
	require.Empty(t, none)
}
