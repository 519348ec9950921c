package metering_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
)

var noon = time.Date(2026, 10, 15, 4, 0, 0, 0, time.UTC)

// days makes a history of measured days, the last of them the day before noon.
func days(use ...int64) []metering.DailyUse {
	var history []metering.DailyUse
	first := billing.MustDate("2026-10-15").AddDays(-len(use))
	for i, raw := range use {
		history = append(history, metering.DailyUse{Day: first.AddDays(i), Raw: raw, Quality: billing.QualityActual})
	}
	return history
}

func steady(raw int64, n int) []metering.DailyUse {
	use := make([]int64, n)
	for i := range use {
		use[i] = raw
	}
	return days(use...)
}

// oneDay is a good check: 10 kWh in a day, as on every day before.
func oneDay() metering.Check {
	return metering.Check{
		Meter:     metering.Meter{Service: billing.Power, Digits: 8, CapacityPerHour: 1320}, // 60 A × 220 V
		Previous:  &metering.Reading{At: noon.AddDate(0, 0, -1), Registers: billing.Registers{500000}, Supply: billing.SupplyOn},
		Current:   &metering.Reading{At: noon, Registers: billing.Registers{501000}, Supply: billing.SupplyOn},
		History:   steady(1000, 30),
		Limits:    metering.DefaultLimits(billing.Power),
		Commanded: billing.SupplyOn,
	}
}

func skew(seconds int) *time.Duration {
	d := time.Duration(seconds) * time.Second
	return &d
}

func TestValidate(t *testing.T) {
	money := func(m billing.Money) *billing.Money { return &m }
	yes := true
	none := []metering.Rule{}
	cases := map[string]struct {
		change   func(*metering.Check)
		want     []metering.Rule
		accepted bool
	}{
		"a good reading": {func(*metering.Check) {}, none, true},
		"the first of a meter": {func(c *metering.Check) {
			c.Previous, c.History = nil, nil
		}, none, true},
		"missing":             {func(c *metering.Check) { c.Current = nil }, []metering.Rule{metering.RuleMissing}, false},
		"two registers":       {func(c *metering.Check) { c.Current.Registers = billing.Registers{1, 2} }, []metering.Rule{metering.RuleMalformed}, false},
		"a negative register": {func(c *metering.Check) { c.Current.Registers[0] = -1 }, []metering.Rule{metering.RuleMalformed}, false},
		"bands appear": {func(c *metering.Check) {
			c.Current.Registers = billing.Registers{501000, 0, 0, 0, 0, 0}
		}, []metering.Rule{metering.RuleMalformed}, false},
		"not later": {func(c *metering.Check) { c.Current.At = c.Previous.At }, []metering.Rule{metering.RuleMalformed}, false},

		"one unit back":          {func(c *metering.Check) { c.Current.Registers[0] = 499999 }, []metering.Rule{metering.RuleNegative}, false},
		"shows 0 for a moment":   {func(c *metering.Check) { c.Current.Registers[0] = 0 }, []metering.Rule{metering.RuleNegative}, false},
		"0 near the end, no cap": {func(c *metering.Check) { c.Meter.CapacityPerHour = 0; c.Current.Registers[0] = 0 }, []metering.Rule{metering.RuleNegative}, false},
		"a rollover": {func(c *metering.Check) {
			c.Previous.Registers[0], c.Current.Registers[0] = 99999500, 500
		}, []metering.Rule{metering.RuleRollover}, true},
		"a rollover of a new meter that nothing is known of": {func(c *metering.Check) {
			c.Previous.Registers[0], c.Current.Registers[0] = 99999500, 500
			c.Meter.CapacityPerHour, c.History = 0, nil
		}, []metering.Rule{metering.RuleRollover}, true},
		"a wrap beyond what the customer uses": {func(c *metering.Check) {
			c.Previous.Registers[0], c.Current.Registers[0] = 99990000, 10000
		}, []metering.Rule{metering.RuleNegative}, false},
		"a wrap beyond the capacity of a meter without history": {func(c *metering.Check) {
			c.Previous.Registers[0], c.Current.Registers[0], c.History = 99960000, 10000, nil
		}, []metering.Rule{metering.RuleNegative}, false},

		"more than the capacity": {func(c *metering.Check) {
			c.Current.Registers[0], c.History = 500000+24*1320*2, nil
		}, []metering.Rule{metering.RuleCapacity}, false},
		"ten times the usual use": {func(c *metering.Check) { c.Current.Registers[0] = 510000 }, []metering.Rule{metering.RuleTooHigh}, false},
		"a spike past everything": {func(c *metering.Check) { c.Current.Registers[0] = 900000 }, []metering.Rule{metering.RuleCapacity, metering.RuleTooHigh}, false},
		"twice the usual use":     {func(c *metering.Check) { c.Current.Registers[0] = 502000 }, none, true},
		"ten times of next to nothing": {func(c *metering.Check) {
			c.History, c.Current.Registers[0] = steady(20, 30), 500200
		}, none, true},
		"a large user's 160 percent": {func(c *metering.Check) {
			c.History, c.Current.Registers[0] = steady(20000, 30), 500000+32000
			c.Meter.CapacityPerHour = 0
		}, []metering.Rule{metering.RuleTooHigh}, false},
		"five days at once": {func(c *metering.Check) {
			c.Previous.At, c.Current.Registers[0] = noon.AddDate(0, 0, -5), 505000
		}, none, true},
		"an hour that holds half the day": {func(c *metering.Check) {
			c.Previous.At, c.Current.Registers[0] = noon.Add(-time.Hour), 500500
		}, none, true},
		"too few days to tell": {func(c *metering.Check) { c.History, c.Current.Registers[0] = steady(100, 6), 510000 }, none, true},
		"estimated days don't count": {func(c *metering.Check) {
			c.Current.Registers[0] = 510000
			for i := range c.History {
				c.History[i].Quality = billing.QualityEstimated
			}
		}, none, true},

		"a large user falls silent": {func(c *metering.Check) {
			c.History, c.Current.Registers[0] = steady(20000, 30), 501000
		}, []metering.Rule{metering.RuleTooLow}, false},
		"a household is away": {func(c *metering.Check) { c.Current.Registers[0] = 500001 }, none, true},
		"a large user is cut off": {func(c *metering.Check) {
			c.History, c.Current.Registers[0] = steady(20000, 30), 501000
			c.Current.Supply, c.Commanded = billing.SupplyOff, billing.SupplyOff
		}, none, true},

		"bands part from the total": {func(c *metering.Check) {
			c.Previous.Registers = billing.Registers{500000, 0, 0, 0, 0, 0}
			c.Current.Registers = billing.Registers{501000, 994, 0, 0, 0, 0}
		}, []metering.Rule{metering.RuleSumMismatch}, false},
		"bands part by their truncation": {func(c *metering.Check) {
			c.Previous.Registers = billing.Registers{500000, 0, 0, 0, 0, 0}
			c.Current.Registers = billing.Registers{501000, 995, 0, 0, 0, 0}
		}, none, true},

		"use while cut off": {func(c *metering.Check) {
			c.Previous.Supply, c.Current.Supply, c.Commanded = billing.SupplyOff, billing.SupplyOff, billing.SupplyOff
		}, []metering.Rule{metering.RuleUseWhileOff}, false},
		"use before the cut": {func(c *metering.Check) {
			c.Current.Supply, c.Commanded = billing.SupplyOff, billing.SupplyOff
		}, none, true},

		"the fourteenth day without use": {func(c *metering.Check) {
			c.History, c.Current.Registers[0] = days(100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 500000
		}, []metering.Rule{metering.RuleZeroStreak}, false},
		"the fifteenth": {func(c *metering.Check) {
			c.History, c.Current.Registers[0] = days(100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 500000
		}, none, true},

		"relay not as commanded": {func(c *metering.Check) { c.Commanded = billing.SupplyOff }, []metering.Rule{metering.RuleRelayMismatch}, true},
		"relay state unknown":    {func(c *metering.Check) { c.Current.Supply = billing.SupplyUnknown }, none, true},
		"kept on by nobody's order": {func(c *metering.Check) {
			c.Current.KeepOn = &yes
		}, []metering.Rule{metering.RuleRelayMismatch}, true},
		"credit within the tolerance": {func(c *metering.Check) {
			c.Current.Remaining, c.Expected = money(10100), money(10000)
		}, none, true},
		"credit drifts": {func(c *metering.Check) {
			c.Current.Remaining, c.Expected = money(9899), money(10000)
		}, []metering.Rule{metering.RuleCreditDrift}, true},
		"an over-estimate is no rollover": {func(c *metering.Check) {
			c.Previous.Registers[0], c.Current.Registers[0] = 503000, 501500
			c.Measured, c.Estimates = &metering.Reading{At: noon.AddDate(0, 0, -3), Registers: billing.Registers{499000}}, 2
		}, []metering.Rule{metering.RuleFalseRollover}, false},
		"below the last measured it is a step back": {func(c *metering.Check) {
			c.Previous.Registers[0], c.Current.Registers[0] = 503000, 498999
			c.Measured, c.Estimates = &metering.Reading{At: noon.AddDate(0, 0, -3), Registers: billing.Registers{499000}}, 2
		}, []metering.Rule{metering.RuleNegative}, false},
		"an over-estimate that had rolled over": {func(c *metering.Check) {
			c.Previous.Registers[0], c.Current.Registers[0] = 200, 99999900
			c.Measured, c.Estimates = &metering.Reading{At: noon.AddDate(0, 0, -3), Registers: billing.Registers{99997500}}, 2
		}, []metering.Rule{metering.RuleFalseRollover}, false},
		"a rollover after a good estimate": {func(c *metering.Check) {
			c.Previous.Registers[0], c.Current.Registers[0] = 99999500, 500
			c.Measured, c.Estimates = &metering.Reading{At: noon.AddDate(0, 0, -3), Registers: billing.Registers{99997500}}, 2
		}, []metering.Rule{metering.RuleRollover}, true},
		"missing once too often":          {func(c *metering.Check) { c.Current, c.Estimates = nil, 4 }, []metering.Rule{metering.RuleMissing, metering.RuleEstimateLimit}, false},
		"missing, still within the limit": {func(c *metering.Check) { c.Current, c.Estimates = nil, 3 }, []metering.Rule{metering.RuleMissing}, false},

		"a clock within the tolerance":    {func(c *metering.Check) { c.Current.Skew = skew(-300) }, none, true},
		"a wrong clock of a single price": {func(c *metering.Check) { c.Current.Skew = skew(301) }, []metering.Rule{metering.RuleClockSkew}, true},
		"a wrong clock where bands cost": {func(c *metering.Check) {
			c.Current.Skew, c.Meter.BandsPriced = skew(5400), true
			c.Previous.Registers, c.Current.Registers = billing.Registers{500000, 0, 0, 500000, 0, 0}, billing.Registers{501000, 0, 0, 501000, 0, 0}
		}, []metering.Rule{metering.RuleClockSkew}, false},
		"a clock that was accepted as it is": {func(c *metering.Check) { c.Current.Skew, c.Previous.Skew = skew(5410), skew(5400) }, none, true},
		"a clock that runs away":             {func(c *metering.Check) { c.Current.Skew, c.Previous.Skew = skew(6000), skew(5400) }, []metering.Rule{metering.RuleClockSkew}, true},
		"another ratio than on file":         {func(c *metering.Check) { c.Meter.Ratio, c.Current.Ratio = 20, 30 }, []metering.Rule{metering.RuleRatioMismatch}, false},
		"another ratio, accepted before":     {func(c *metering.Check) { c.Meter.Ratio, c.Current.Ratio, c.Previous.Ratio = 20, 30, 30 }, none, true},
		"no ratio shown":                     {func(c *metering.Check) { c.Meter.Ratio = 20 }, none, true},
		"a passed check skips no other": {func(c *metering.Check) {
			c.Current.Registers[0], c.Commanded, c.Current.Skew = 510000, billing.SupplyOff, skew(400)
			c.Meter.Ratio, c.Current.Ratio = 1, 20
		}, []metering.Rule{metering.RuleTooHigh, metering.RuleRelayMismatch, metering.RuleClockSkew, metering.RuleRatioMismatch}, false},
		"one rule never skips another": {func(c *metering.Check) {
			c.Current.Registers[0], c.Commanded = 499999, billing.SupplyOff
			c.Current.Remaining, c.Expected = money(0), money(10000)
		}, []metering.Rule{metering.RuleNegative, metering.RuleRelayMismatch, metering.RuleCreditDrift}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			check := oneDay()
			c.change(&check)
			findings := metering.Validate(check)
			got := []metering.Rule{}
			for _, f := range findings {
				got = append(got, f.Rule)
				require.Contains(t, metering.Rules, f.Rule)
				require.NotNil(t, f.Numbers)
				require.Equal(t, f.Rule != metering.RuleRollover, f.OpensCase())
			}
			require.Equal(t, c.want, got)
			require.Equal(t, c.accepted, metering.Accepted(findings))
		})
	}
}

func TestValidate_rolloverNamesTheUse(t *testing.T) {
	check := oneDay()
	check.Previous.Registers[0], check.Current.Registers[0] = 99999500, 500
	require.Equal(t, map[string]string{
		"register": "total", "previous": "999995.00", "current": "5.00", "use": "10.00",
	}, metering.Validate(check)[0].Numbers)
}

// One band may roll over while the others do not.
func TestValidate_rolloverOfOneBand(t *testing.T) {
	check := oneDay()
	check.Previous.Registers = billing.Registers{99999500, 0, 99999900, 0, 0, 0}
	check.Current.Registers = billing.Registers{500, 0, 400, 0, 500, 0}
	findings := metering.Validate(check)
	require.Len(t, findings, 2)
	require.True(t, metering.Accepted(findings))
	require.Equal(t, "peak", findings[1].Numbers["register"])
}

func TestRecovered(t *testing.T) {
	before, after := billing.Registers{500000}, billing.Registers{502000}
	for _, c := range []struct {
		doubted int64
		want    metering.Rule
	}{
		{0, metering.RuleDropRecovered}, {499999, metering.RuleDropRecovered}, {502001, metering.RuleSpikeRecovered}, {501000, ""}, {500000, ""},
	} {
		require.Equal(t, c.want, metering.Recovered(before, billing.Registers{c.doubted}, after, 8), c.doubted)
	}
	require.Empty(t, metering.Recovered(before, billing.Registers{0}, billing.Registers{400}, 8), "it stays low: a person has to look")
	require.Empty(t, metering.Recovered(before, billing.Registers{0, 0}, after, 8))
}

func TestValidateMaster(t *testing.T) {
	check := metering.MasterCheck{Service: billing.Power, Limits: metering.DefaultLimits(billing.Power), Units: 3}
	for name, c := range map[string]struct {
		master int64
		subs   []int64
		bad    bool
	}{
		"they add up":                 {100_000, []int64{60_000, 40_000}, false},
		"five percent lost":           {100_000, []int64{60_000, 35_000}, false},
		"to the last unit":            {100_000, []int64{60_000, 34_897}, false},
		"one unit more":               {100_000, []int64{60_000, 34_896}, true},
		"subs say more by their ends": {100_000, []int64{60_000, 40_103}, false},
		"subs say more":               {100_000, []int64{60_000, 40_104}, true},
		"a sub stands still":          {100_000, []int64{60_000, 0}, true},
		"nothing used":                {0, []int64{0, 0}, false},
	} {
		t.Run(name, func(t *testing.T) {
			check.Master, check.Subs = c.master, c.subs
			f, bad := metering.ValidateMaster(check)
			require.Equal(t, c.bad, bad)
			require.Equal(t, bad, f.Blocking)
		})
	}
}

func TestLimits_validate(t *testing.T) {
	for _, service := range []billing.Service{billing.Power, billing.Water} {
		require.NoError(t, metering.DefaultLimits(service).Validate())
	}
	for want, change := range map[string]func(*metering.Limits){
		"credit_drift_fen is -1":            func(l *metering.Limits) { l.CreditDriftFen = -1 },
		"history_days is 0":                 func(l *metering.Limits) { l.HistoryDays = 0 },
		"spread_meters is 1":                func(l *metering.Limits) { l.SpreadMeters = 1 },
		"levels of use are missing":         func(l *metering.Limits) { l.Levels = nil },
		"Level 1: the upper limit is 99":    func(l *metering.Limits) { l.Levels[0].HighPercent = 99 },
		"Level 2: the lower limit is 101":   func(l *metering.Limits) { l.Levels[1].LowPercent = 101 },
		"Level 2 has a negative limit":      func(l *metering.Limits) { l.Levels[1].FloorRaw = -1 },
		"Level 2 ends at or below":          func(l *metering.Limits) { l.Levels[1].UpToRaw = 1000 },
		"Level 3 is the last":               func(l *metering.Limits) { l.Levels[2].UpToRaw = 99999 },
		"methods of estimation are missing": func(l *metering.Limits) { l.Methods = nil },
		`"guess" is unknown`:                func(l *metering.Limits) { l.Methods[0] = "guess" },
		`"manual" stands twice`:             func(l *metering.Limits) { l.Methods[0] = metering.MethodManual },
	} {
		l := metering.DefaultLimits(billing.Power)
		change(&l)
		require.ErrorContains(t, l.Validate(), want)
	}
}
