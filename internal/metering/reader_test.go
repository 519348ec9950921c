package metering_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
)

// walk makes a round of n meters by a reader who really goes: 30 to 180 seconds from door to door, real use.
func walk(n int, intn func(int) int) []metering.Visit {
	at := time.Date(2026, 9, 8, 1, 0, 0, 0, time.UTC)
	visits := make([]metering.Visit, n)
	for i := range visits {
		use := int64(intn(9000))
		raw := int64(100_000+intn(9_000_000)) + use
		estimate := raw - use + int64(intn(9000))
		visits[i] = metering.Visit{Service: billing.Water, TakenAt: at, Raw: &raw, Use: &use, Estimate: &estimate}
		at = at.Add(time.Duration(30+intn(150)) * time.Second)
	}
	return visits
}

func work(visits []metering.Visit) metering.ReaderWork {
	return metering.ReaderWork{Round: visits, Limits: metering.DefaultReaderLimits(), Rounds: []metering.Timeliness{on("2026-09-08", "2026-09-08")}}
}

func on(due, submitted string) metering.Timeliness {
	return metering.Timeliness{Due: billing.MustDate(due), Submitted: billing.MustDate(submitted), OnTimeDays: 2}
}

func rules(w metering.ReaderWork) []metering.ReaderRule {
	found := []metering.ReaderRule{}
	for _, f := range metering.JudgeReader(w) {
		found = append(found, f.Rule)
	}
	return found
}

func ptr(v int64) *int64 { return &v }

// Each trick of the trade, played on an otherwise honest round, is found, and nothing else is.
func TestJudgeReader_findsEachTrick(t *testing.T) {
	honest := func() []metering.Visit { return walk(30, rand.New(rand.NewPCG(1, 2)).IntN) }
	cases := map[string]struct {
		play func(*metering.ReaderWork)
		want []metering.ReaderRule
	}{
		"an honest round": {func(*metering.ReaderWork) {}, nil},
		"tens of litres only, as the display shows": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				*w.Round[i].Raw -= *w.Round[i].Raw % 10
			}
		}, nil},
		"whole cubic metres only, as the office asks": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				*w.Round[i].Raw -= *w.Round[i].Raw % 1000
			}
		}, nil},
		"tens of cubic metres": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				*w.Round[i].Raw -= *w.Round[i].Raw % 10_000
			}
		}, []metering.ReaderRule{metering.ReaderRoundDigits}},
		"every second value rounded": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				if i%2 == 0 {
					*w.Round[i].Raw -= *w.Round[i].Raw % 100
				} else {
					*w.Round[i].Raw |= 1
				}
			}
		}, []metering.ReaderRule{metering.ReaderRoundDigits}},
		"the same use everywhere": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				*w.Round[i].Use = 1500
			}
		}, []metering.ReaderRule{metering.ReaderRegularUse}},
		"an empty house": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				*w.Round[i].Use = 0
			}
		}, nil},
		"by the clock": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				w.Round[i].TakenAt = w.Round[0].TakenAt.Add(time.Duration(i) * 47 * time.Second)
			}
		}, []metering.ReaderRule{metering.ReaderRegularPace}},
		"at the kitchen table": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				w.Round[i].TakenAt = w.Round[0].TakenAt.Add(time.Duration(i) * 4 * time.Second)
			}
		}, []metering.ReaderRule{metering.ReaderRegularPace, metering.ReaderTooFast}},
		"minutes from a watch, two meters to a minute": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				w.Round[i].TakenAt = w.Round[0].TakenAt.Truncate(time.Minute).Add(time.Duration(i/2) * time.Minute)
			}
		}, nil},
		"minutes from a watch, six meters to a minute": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				w.Round[i].TakenAt = w.Round[0].TakenAt.Truncate(time.Minute).Add(time.Duration(i/6) * time.Minute)
			}
		}, []metering.ReaderRule{metering.ReaderTooFast}},
		"another order than the list's": {func(w *metering.ReaderWork) {
			for i, j := 0, len(w.Round)-1; i < j; i, j = i+1, j-1 {
				w.Round[i], w.Round[j] = w.Round[j], w.Round[i]
			}
		}, nil},
		"what the system would have estimated": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				*w.Round[i].Estimate = *w.Round[i].Raw
			}
		}, []metering.ReaderRule{metering.ReaderEqualsEstimate}},
		"nobody at home, half of the street": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				if i%2 == 0 {
					w.Round[i].Raw, w.Round[i].Use, w.Round[i].Estimate = nil, nil, nil
				}
			}
		}, []metering.ReaderRule{metering.ReaderSkips}},
		"late, three times of three": {func(w *metering.ReaderWork) {
			w.Rounds = []metering.Timeliness{on("2026-09-15", "2026-09-17"), on("2026-09-08", "2026-09-10"), on("2026-09-01", "2026-09-05")}
		}, []metering.ReaderRule{metering.ReaderAlwaysLate}},
		"two days early is as wrong": {func(w *metering.ReaderWork) {
			w.Rounds = []metering.Timeliness{on("2026-09-15", "2026-09-13"), on("2026-09-08", "2026-09-06"), on("2026-09-01", "2026-08-30")}
		}, []metering.ReaderRule{metering.ReaderAlwaysLate}},
		"one day late is on schedule": {func(w *metering.ReaderWork) {
			w.Rounds = []metering.Timeliness{on("2026-09-15", "2026-09-16"), on("2026-09-08", "2026-09-09"), on("2026-09-01", "2026-09-02")}
		}, nil},
		"late once": {func(w *metering.ReaderWork) {
			w.Rounds = []metering.Timeliness{on("2026-09-15", "2026-09-17"), on("2026-09-08", "2026-09-08"), on("2026-09-01", "2026-09-01")}
		}, nil},
		"a short round with the habits of the one before": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				*w.Round[i].Use = 1500
			}
			w.Round, w.Earlier = w.Round[:4], w.Round[4:]
		}, []metering.ReaderRule{metering.ReaderRegularUse}},
		"a short round says nothing": {func(w *metering.ReaderWork) {
			for i := range w.Round {
				*w.Round[i].Use = 1500
			}
			w.Round = w.Round[:4]
		}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := work(honest())
			c.play(&w)
			require.ElementsMatch(t, c.want, rules(w))
			for _, f := range metering.JudgeReader(w) {
				require.Contains(t, metering.ReaderRules, f.Rule)
				require.NotEmpty(t, f.Numbers)
			}
		})
	}
}

// Nothing panics and findings keep the order of the rules, whatever was walked.
func TestJudgeReader_property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "meters")
		visits := walk(n, func(m int) int { return rapid.IntRange(0, m-1).Draw(t, "n") })
		for i := range visits {
			if rapid.IntRange(0, 4).Draw(t, "none") == 0 {
				visits[i].Raw, visits[i].Use, visits[i].Estimate = nil, nil, nil
			}
		}
		w := work(visits)
		w.Limits.MinValues = rapid.IntRange(0, 10).Draw(t, "least")
		found := rules(w)
		at := 0
		for _, r := range metering.ReaderRules {
			if at < len(found) && found[at] == r {
				at++
			}
		}
		require.Equal(t, len(found), at, "in the order of the rules, each once")
	})
}

// The limits don't accuse honest people: of 10,000 honest rounds fewer than one in a hundred is reported.
func TestDefaultReaderLimits_spareHonestPeople(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	reported := 0
	for range 10_000 {
		if len(rules(work(walk(30, random.IntN)))) > 0 {
			reported++
		}
	}
	require.Less(t, reported, 100)
}

// The numbers that a supervisor sees about somebody who made a whole round up, counted by hand.
func TestJudgeReader_golden(t *testing.T) {
	w := work(walk(12, rand.New(rand.NewPCG(3, 4)).IntN))
	for i := range w.Round {
		w.Round[i].Raw, w.Round[i].Use = ptr(int64(120+i)*10_000), ptr(10_000)
		w.Round[i].Estimate = w.Round[i].Raw
		w.Round[i].TakenAt = w.Round[0].TakenAt.Add(time.Duration(i) * 5 * time.Second)
	}
	w.Rounds = []metering.Timeliness{on("2026-09-15", "2026-09-18"), on("2026-09-08", "2026-09-11"), on("2026-09-01", "2026-09-01")}
	got, err := json.MarshalIndent(metering.JudgeReader(w), "", "  ")
	require.NoError(t, err)
	file := filepath.Join("testdata", "reader_who_stays_at_home.golden.json")
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(got))
}
