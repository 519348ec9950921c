package metering_test

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
)

// Another system's cumulative registers with their published results: where a drop is refused there, it is refused here; where there a
// time window turns a drop into a new base, here it is still a doubt, because only a person or an exchange may do that.
func TestValidate_casesOfOpenEnergyDashboard(t *testing.T) {
	raw, err := os.ReadFile("testdata/oed_cumulative_cases.json")
	require.NoError(t, err)
	var file struct {
		Cases []struct {
			ID           string     `json:"id"`
			ResetAllowed bool       `json:"reset_allowed"`
			Rows         [][]string `json:"rows"`
			Expected     [][]string `json:"expected_rows"`
		} `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.Len(t, file.Cases, 7)
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			var previous *metering.Reading
			var uses []string
			dropped := false
			for _, row := range c.Rows {
				end, err := time.Parse(time.DateTime, row[2])
				require.NoError(t, err)
				value, err := strconv.ParseInt(row[0], 10, 64)
				require.NoError(t, err)
				check := metering.Check{
					Meter: metering.Meter{Service: billing.Power, Digits: 8, CapacityPerHour: 100_000}, Previous: previous, Limits: metering.DefaultLimits(billing.Power),
					Current: &metering.Reading{At: end, Registers: billing.Registers{value * 100}},
				}
				findings := metering.Validate(check)
				if !metering.Accepted(findings) {
					require.Equal(t, metering.RuleNegative, findings[0].Rule)
					dropped = true
					continue // never a new base
				}
				if previous != nil {
					use, err := billing.Usage(previous.Registers, check.Current.Registers, 8)
					require.NoError(t, err)
					uses = append(uses, strconv.FormatInt(use.Total()/100, 10))
				}
				previous = check.Current
			}
			falls := false
			for i := 1; i < len(c.Rows); i++ {
				a, _ := strconv.Atoi(c.Rows[i-1][0])
				b, _ := strconv.Atoi(c.Rows[i][0])
				falls = falls || b < a
			}
			require.Equal(t, falls, dropped)
			if c.ResetAllowed || falls {
				return
			}
			var want []string
			for _, row := range c.Expected {
				want = append(want, row[0])
			}
			require.Equal(t, want, uses)
		})
	}
}

// nem12Day is a day of a NEM12 file: its use, and how many of its intervals nobody measured.
type nem12Day struct {
	raw                int64
	intervals, guessed int
}

// nem12 reads the 300 and 400 rows of a file: kWh per interval, and the quality of each.
func nem12(t *testing.T, file string) []nem12Day {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	var days []nem12Day
	for _, line := range strings.Split(string(raw), "\n") {
		f := strings.Split(strings.TrimSpace(line), ",")
		switch f[0] {
		case "300":
			d := nem12Day{}
			i := 2
			for ; i < len(f); i++ {
				q, err := billing.ParseQuantity(f[i])
				if err != nil || f[i] == "" {
					break
				}
				milli, err := billing.Water.Raw(q) // thousandths of a kWh
				require.NoError(t, err)
				d.raw += milli
				d.intervals++
			}
			if f[i] != "A" && f[i] != "V" {
				d.guessed = d.intervals
			}
			d.raw /= 10
			days = append(days, d)
		case "400":
			from, err := strconv.Atoi(f[1])
			require.NoError(t, err)
			to, err := strconv.Atoi(f[2])
			require.NoError(t, err)
			if f[3] != "A" {
				days[len(days)-1].guessed += to - from + 1
			}
		}
	}
	return days
}

// Interval data that was substituted at the source is history that nobody measured: an average isn't made of it.
func TestEstimateReading_substitutedHistory(t *testing.T) {
	for file, measured := range map[string]bool{
		"Example_NEM12_multiple_quality.csv": false, "NEM12_SCENARIO8_UNITEDDP.csv": false, "NEM12_SCENARIO10_UNITEDDP.csv": true,
	} {
		days := nem12(t, file)
		require.NotEmpty(t, days, file)
		require.Positive(t, days[0].intervals)
		s := metering.Source{Method: metering.MethodLastMonth, Use: billing.Registers{0}}
		for range minDays(len(days)) { // a source needs a week: the file's days again and again
			for _, d := range days {
				s.Use[0] += d.raw
				s.Days++
				if 2*d.guessed > d.intervals {
					s.EstimatedDays++
				}
			}
		}
		_, err := metering.EstimateReading(metering.Gap{
			Service: billing.Power, Ratio: 1, Digits: 8, Last: billing.Registers{0}, Days: 1, Sources: []metering.Source{s}, Limits: metering.DefaultLimits(billing.Power),
		})
		require.Equal(t, measured, err == nil, "%s: %d of %d days substituted", file, s.EstimatedDays, s.Days)
	}
}

func minDays(n int) int { return (7 + n - 1) / n }
