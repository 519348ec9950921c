package metering_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
)

// series reads testdata: per meter the raw use of each day, -1 where unknown.
func series(t *testing.T, file string) [][]int64 {
	data, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	var all [][]int64
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n")[1:] {
		var meter []int64
		for _, field := range strings.Split(strings.Split(line, ";")[2], ",") {
			raw := int64(-1)
			if field != "" {
				raw, err = strconv.ParseInt(field, 10, 64)
				require.NoError(t, err)
			}
			meter = append(meter, raw)
		}
		all = append(all, meter)
	}
	return all
}

// judge validates one day of use after a history.
func judge(service billing.Service, history []int64, use int64) map[metering.Rule]bool {
	c := oneDay()
	c.Meter = metering.Meter{Service: service, Digits: 9}
	c.Limits = metering.DefaultLimits(service)
	c.History = days(history...)
	c.Current.Registers = billing.Registers{c.Previous.Registers[0] + use}
	rules := map[metering.Rule]bool{}
	for _, f := range metering.Validate(c) {
		rules[f.Rule] = true
	}
	return rules
}

// The promise of DefaultLimits, measured on real, noisy days: few false alarms,
// and ten times the usual use found.
func TestDefaultLimits_onRealUse(t *testing.T) {
	for _, c := range []struct {
		service        billing.Service
		file           string
		caughtPerCent  int
		alarmsPerMille int
	}{
		{billing.Power, "daily_power.csv", 90, 2},
		{billing.Water, "daily_water.csv", 80, 2},
	} {
		t.Run(string(c.service), func(t *testing.T) {
			judged, high, low, zero, spikes, caught := 0, 0, 0, 0, 0, 0
			for _, meter := range series(t, c.file) {
				var history []int64
				for _, use := range meter {
					if use < 0 {
						continue
					}
					if len(history) >= 7 {
						judged++
						rules := judge(c.service, history, use)
						high += count(rules[metering.RuleTooHigh])
						low += count(rules[metering.RuleTooLow])
						zero += count(rules[metering.RuleZeroStreak])
						if usual := mean(history); usual > 0 {
							spikes++
							caught += count(judge(c.service, history, 10*usual)[metering.RuleTooHigh])
						}
					}
					history = append(history, use)
					history = history[max(0, len(history)-30):]
				}
			}
			t.Logf("%d readings: too high %d, too low %d, zero streak %d; tenfold caught %d of %d", judged, high, low, zero, caught, spikes)
			require.Greater(t, judged, 9000)
			require.LessOrEqual(t, 1000*(high+low+zero), c.alarmsPerMille*judged)
			require.GreaterOrEqual(t, 100*caught, c.caughtPerCent*spikes)
		})
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func mean(use []int64) int64 {
	var sum int64
	for _, u := range use {
		sum += u
	}
	return sum / int64(len(use))
}
