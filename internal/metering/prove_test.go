//go:build prove

package metering_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
)

// miss is how far estimates of withheld use were from the truth, in percent of the truth with one decimal, as text: no floats.
type miss struct {
	Estimates int    `json:"estimates"`
	None      int    `json:"not_possible"`
	Median    string `json:"median_percent"`
	Ninetieth string `json:"ninetieth_percent"`
}

func missOf(permille []int64, none int) miss {
	m := miss{Estimates: len(permille), None: none}
	if len(permille) > 0 {
		slices.Sort(permille)
		m.Median, m.Ninetieth = tenths(permille[len(permille)/2]), tenths(permille[len(permille)*9/10])
	}
	return m
}

func tenths(permille int64) string {
	return strconv.FormatInt(permille/10, 10) + "." + strconv.FormatInt(permille%10, 10)
}

// veeReport is what the proof leaves behind.
type veeReport struct {
	Service string `json:"service"`
	Meters  int    `json:"meters"`
	// Days of the published series, and those that it lacks: real gaps.
	Days    int `json:"days"`
	GapDays int `json:"gap_days"`
	Gaps    int `json:"gaps"`
	// Filled by method, and those that no method could fill.
	Filled   map[string]int `json:"gap_days_filled"`
	Unfilled int            `json:"gap_days_left_to_a_person"`
	// Judged are real days, Flagged those of them that a rule doubts.
	Judged  int            `json:"days_judged"`
	Flagged map[string]int `json:"days_flagged"`
	// Planted are faults put into real series, Caught those that a rule found.
	Planted map[string]int `json:"planted"`
	Caught  map[string]int `json:"caught"`
	// Missed is the error of estimates for withheld real use, by method and length of the gap in days.
	Missed map[string]map[string]miss `json:"estimate_error"`
}

// TestProve_realProfilesThroughValidation sends a year of 70 real meters with their real gaps through validation and estimation, plants
// faults in it, withholds real values and compares the estimates with them. The report stands in METERFLOW_REPORTS.
func TestProve_realProfilesThroughValidation(t *testing.T) {
	var all []veeReport
	for _, c := range []struct {
		service billing.Service
		file    string
	}{{billing.Power, "daily_power.csv"}, {billing.Water, "daily_water.csv"}} {
		p := prover{service: c.service, meters: series(t, c.file), report: veeReport{
			Service: string(c.service), Filled: map[string]int{}, Flagged: map[string]int{}, Planted: map[string]int{}, Caught: map[string]int{}, Missed: map[string]map[string]miss{},
		}}
		p.report.Meters = len(p.meters)
		p.walk()
		for _, gap := range []int{1, 3, 7} {
			p.withhold(gap)
		}
		r := p.report
		require.Greater(t, r.Judged, 9000)
		require.Positive(t, r.GapDays)
		require.GreaterOrEqual(t, 100*r.Caught["drop_to_zero"], 99*r.Planted["drop_to_zero"], "a drop is always a doubt")
		require.GreaterOrEqual(t, 100*r.Caught["tenfold"], 80*r.Planted["tenfold"])
		require.NotEmpty(t, r.Missed["between"]["3"].Median)
		all = append(all, r)
	}
	glitches, caught := realGlitches(t)
	out, err := json.MarshalIndent(map[string]any{"series": all, "real_glitch_rows": glitches, "real_glitch_rows_caught": caught}, "", "  ")
	require.NoError(t, err)
	t.Logf("%s", out)
	require.Positive(t, caught)
	if folder := os.Getenv("METERFLOW_REPORTS"); folder != "" {
		require.NoError(t, os.MkdirAll(folder, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "validation.json"), append(out, '\n'), 0o644))
	}
}

type prover struct {
	service billing.Service
	meters  [][]int64
	report  veeReport
}

// estimate is the use of a gap of some days that follows day `at` of a meter, by one method; -1 when it can't.
func (p *prover) estimate(meter, at, days int, method metering.Method) int64 {
	g := metering.Gap{Service: p.service, Ratio: 1, Digits: 9, Last: billing.Registers{0}, Days: days, Limits: metering.DefaultLimits(p.service)}
	g.Limits.Methods = []metering.Method{method}
	own := p.meters[meter]
	window := func(from, to int) metering.Source {
		s := metering.Source{Method: method, Use: billing.Registers{0}}
		for i := max(from, 0); i < min(to, len(own)); i++ {
			if own[i] >= 0 {
				s.Use[0] += own[i]
				s.Days++
			}
		}
		return s
	}
	switch method {
	case metering.MethodLastMonth:
		g.Sources = []metering.Source{window(at-30, at)}
	case metering.MethodLastYear:
		if at < 365 {
			return -1
		}
		g.Sources = []metering.Source{window(at-365, at-335)}
	case metering.MethodSimilar:
		var uses []billing.Registers
		for other, days2 := range p.meters {
			if sum := sumOf(days2, at, days); other != meter && sum >= 0 {
				uses = append(uses, billing.Registers{sum})
			}
		}
		g.Sources = []metering.Source{metering.Average(uses, days)}
	case metering.MethodBetween:
		// The measured reading after the gap comes a day later.
		whole := sumOf(own, at, days+1)
		if whole < 0 {
			return -1
		}
		start := noon
		g.At = start.AddDate(0, 0, days)
		g.Before, g.After = &metering.Reading{At: start, Registers: billing.Registers{0}}, &metering.Reading{At: start.AddDate(0, 0, days+1), Registers: billing.Registers{whole}}
	}
	e, err := metering.EstimateReading(g)
	if err != nil {
		return -1
	}
	return e.Registers.Total()
}

// sumOf adds some days; -1 when one of them is unknown.
func sumOf(use []int64, at, days int) int64 {
	var sum int64
	for i := at; i < at+days; i++ {
		if i >= len(use) || use[i] < 0 {
			return -1
		}
		sum += use[i]
	}
	return sum
}

// walk judges every real day after its own past, fills the real gaps, and plants faults in every fifth day.
func (p *prover) walk() {
	for m, meter := range p.meters {
		var history []int64
		inGap := false
		for d, use := range meter {
			p.report.Days++
			if use < 0 {
				p.report.GapDays++
				if !inGap {
					p.report.Gaps++
				}
				inGap = true
				p.fill(m, d)
				continue
			}
			inGap = false
			if len(history) >= 7 {
				p.report.Judged++
				for rule := range judge(p.service, history, use) {
					p.report.Flagged[string(rule)]++
				}
				if d%5 == 0 {
					p.plant(history, use)
				}
			}
			history = append(history, use)
			history = history[max(0, len(history)-30):]
		}
	}
}

func (p *prover) fill(meter, day int) {
	for _, method := range metering.DefaultLimits(p.service).Methods {
		if method == metering.MethodBetween || method == metering.MethodManual {
			continue // the published series says nothing about the registers on either side of a gap
		}
		if p.estimate(meter, day, 1, method) >= 0 {
			p.report.Filled[string(method)]++
			return
		}
	}
	p.report.Unfilled++
}

// plant puts faults of the field into a real day: each is a count, and whether a rule finds it.
func (p *prover) plant(history []int64, use int64) {
	usual := mean(history)
	for name, raw := range map[string]int64{
		"tenfold": 10 * usual, "drop_to_zero": -500_000, "step_back": -max(usual, 1), "whole_register_at_once": 40_000_000, "digit_swapped": use + 90*usual,
	} {
		if raw == 0 {
			continue
		}
		p.report.Planted[name]++
		for rule := range judge(p.service, history, raw) {
			if rule != metering.RuleRollover {
				p.report.Caught[name]++
				break
			}
		}
	}
}

// withhold takes real days away, estimates them and measures the error.
func (p *prover) withhold(days int) {
	key := strconv.Itoa(days)
	for _, method := range []metering.Method{metering.MethodBetween, metering.MethodLastMonth, metering.MethodLastYear, metering.MethodSimilar} {
		var errors []int64
		none := 0
		for m, meter := range p.meters {
			for d := 30; d+days < len(meter); d += 3 {
				truth := sumOf(meter, d, days)
				if truth <= 0 {
					continue // unknown, or nothing to be wrong about in percent
				}
				guess := p.estimate(m, d, days, method)
				if guess < 0 {
					none++
					continue
				}
				errors = append(errors, max(guess-truth, truth-guess)*1000/truth)
			}
		}
		if p.report.Missed[string(method)] == nil {
			p.report.Missed[string(method)] = map[string]miss{}
		}
		p.report.Missed[string(method)][key] = missOf(errors, none)
	}
}

// realGlitches walks the published rows around real glitches: each register that steps back, or counts more than the meter can, is a
// doubt, and the register before it stays the base.
func realGlitches(t *testing.T) (rows, caught int) {
	raw, err := os.ReadFile("testdata/real_glitches_water.csv")
	require.NoError(t, err)
	previous := map[string]*metering.Reading{}
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n")[1:] {
		f := strings.Split(line, ";")
		rows++
		litres, err := billing.ParseQuantity(f[3])
		if err != nil {
			caught++ // a spreadsheet's 4e+05: refused before it is a reading
			continue
		}
		value, err := billing.Water.Raw(litres)
		require.NoError(t, err)
		value /= 1000 // the file counts litres, not m³
		at, err := time.Parse("02/01/2006 15:04:05", f[2])
		require.NoError(t, err)
		key := f[0] + f[1]
		check := metering.Check{
			Meter: metering.Meter{Service: billing.Water, Digits: 7, CapacityPerHour: 4000}, Previous: previous[key], Current: &metering.Reading{At: at, Registers: billing.Registers{value}},
			Limits: metering.DefaultLimits(billing.Water),
		}
		if !metering.Accepted(metering.Validate(check)) {
			caught++
			continue
		}
		previous[key] = check.Current
	}
	return rows, caught
}
