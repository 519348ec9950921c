package metering

import (
	"slices"

	"github.com/meterflow/meterflow/internal/billing"
)

// Limits is the rule set by which readings are judged and gaps are filled: data, of a rule group for a time, or of a site and service
// where no group fits. Raw numbers are register units before ratio.
type Limits struct {
	// Levels hold the limits by level of use, smallest level first: small
	// users get wide bands, large ones narrow.
	Levels []Level `json:"levels"`
	// HistoryDays is how many own days too_high and too_low need; with fewer, only
	// the rated capacity bounds a reading.
	HistoryDays int `json:"history_days"`
	// CapacityPercent of rated capacity × time is the most a meter can count.
	CapacityPercent int64 `json:"capacity_percent"`
	// LowFloorRaw: a day is called too low only where the smallest recent day
	// reaches this. Homes fall to nothing whenever people travel.
	LowFloorRaw int64 `json:"low_floor_raw"`
	// ZeroStreakDays without use are reported, once.
	ZeroStreakDays int `json:"zero_streak_days"`
	// CreditDriftFen is how far the meter's remaining amount may be from ours.
	CreditDriftFen billing.Money `json:"credit_drift_fen"`
	// SumToleranceRaw is how far total and bands may part between two readings:
	// each of five truncated bands may hide up to one unit.
	SumToleranceRaw int64 `json:"sum_tolerance_raw"`
	// OffToleranceRaw is what may be counted while supply is off: a relay opens
	// some seconds after its state is read, a valve moves for minutes.
	OffToleranceRaw int64 `json:"off_tolerance_raw"`
	// ClockSkewSeconds is how far the meter's clock may be from ours.
	ClockSkewSeconds int64 `json:"clock_skew_seconds"`
	// LossPermille of the master's use may be lost on the way to its sub-meters,
	// and LossFloorRaw more in either direction, after ratio.
	LossPermille int64 `json:"loss_permille"`
	LossFloorRaw int64 `json:"loss_floor_raw"`
	// EstimateLimit is how many readings in a row may be estimated.
	EstimateLimit int `json:"estimate_limit"`
	// SpreadMeters of one gateway with the same rule in one cycle have one cause, and are one case.
	SpreadMeters int `json:"spread_meters"`
	// SimilarMeters are needed for the average of similar accounts.
	SimilarMeters int `json:"similar_meters"`
	// Methods fill a gap, tried in this order.
	Methods []Method `json:"methods"`
}

// Level bounds the use of a day for meters whose largest recent day is at most
// UpToRaw (0: any). The bound above is HighPercent of that largest day, but never
// below FloorRaw; the bound below is LowPercent of the smallest recent day.
type Level struct {
	UpToRaw     int64 `json:"up_to_raw"`
	HighPercent int64 `json:"high_percent"`
	FloorRaw    int64 `json:"floor_raw"`
	LowPercent  int64 `json:"low_percent"`
}

// DefaultLimits are meant for daily readings. On a year of 35 real homes and of
// 35 real water meters (testdata) fewer than 1 reading in 500 is called too
// high, while ten times the usual use is caught in more than 9 of 10 cases for power and
// 8 of 10 for water: a tiny user's tenfold stays below the floor, where it
// costs little.
func DefaultLimits(s billing.Service) Limits {
	l := Limits{
		Levels: []Level{
			{UpToRaw: 1_000, HighPercent: 250, FloorRaw: 1_000, LowPercent: 10},
			{UpToRaw: 10_000, HighPercent: 200, FloorRaw: 1_000, LowPercent: 10},
			{HighPercent: 150, FloorRaw: 10_000, LowPercent: 20},
		},
		HistoryDays: 7, CapacityPercent: 110, LowFloorRaw: 2_000, ZeroStreakDays: 14, CreditDriftFen: 100, SumToleranceRaw: 5, OffToleranceRaw: 5,
		ClockSkewSeconds: 300, LossPermille: 50, LossFloorRaw: 100, EstimateLimit: 4, SpreadMeters: 3, SimilarMeters: 5,
		Methods: []Method{MethodBetween, MethodLastMonth, MethodLastYear, MethodSimilar, MethodManual},
	}
	if s == billing.Water {
		l.Levels[0].FloorRaw = 500
		l.LowFloorRaw, l.OffToleranceRaw, l.LossFloorRaw = 1_000, 20, 200
	}
	return l
}

// Validate refuses a rule set with a limit that is missing or negative, levels out of order, or methods that don't exist, and names
// the place.
func (l Limits) Validate() error {
	for _, f := range []struct {
		name         string
		value, least int64
	}{
		{"history_days", int64(l.HistoryDays), 1}, {"capacity_percent", l.CapacityPercent, 1}, {"low_floor_raw", l.LowFloorRaw, 0},
		{"zero_streak_days", int64(l.ZeroStreakDays), 1}, {"credit_drift_fen", int64(l.CreditDriftFen), 0}, {"sum_tolerance_raw", l.SumToleranceRaw, 0},
		{"off_tolerance_raw", l.OffToleranceRaw, 0}, {"clock_skew_seconds", l.ClockSkewSeconds, 1}, {"loss_permille", l.LossPermille, 0},
		{"loss_floor_raw", l.LossFloorRaw, 0}, {"estimate_limit", int64(l.EstimateLimit), 1}, {"spread_meters", int64(l.SpreadMeters), 2},
		{"similar_meters", int64(l.SimilarMeters), 2},
	} {
		if f.value < f.least {
			return billing.Errorf(billing.CodeInvalidInput, "The limit %s is %d: give at least %d.", f.name, f.value, f.least)
		}
	}
	if err := l.levelsProblem(); err != nil {
		return err
	}
	return l.methodsProblem()
}

func (l Limits) levelsProblem() error {
	if len(l.Levels) == 0 {
		return billing.Errorf(billing.CodeInvalidInput, "The levels of use are missing: give at least one, without an upper edge.")
	}
	var before int64
	for i, level := range l.Levels {
		no, last := i+1, i == len(l.Levels)-1
		switch {
		case level.HighPercent < 100:
			return billing.Errorf(billing.CodeInvalidInput, "Level %d: the upper limit is %d percent of the largest day; give at least 100.", no, level.HighPercent)
		case level.LowPercent < 0 || level.LowPercent > 100:
			return billing.Errorf(billing.CodeInvalidInput, "Level %d: the lower limit is %d percent of the smallest day; give 0 to 100.", no, level.LowPercent)
		case level.FloorRaw < 0 || level.UpToRaw < 0:
			return billing.Errorf(billing.CodeInvalidInput, "Level %d has a negative limit: use is never below zero.", no)
		case last && level.UpToRaw != 0:
			return billing.Errorf(billing.CodeInvalidInput, "Level %d is the last: leave its upper edge empty, so that every use has a level.", no)
		case !last && level.UpToRaw <= before:
			return billing.Errorf(billing.CodeInvalidInput, "Level %d ends at or below the one before: give the levels from small to large.", no)
		}
		before = level.UpToRaw
	}
	return nil
}

func (l Limits) methodsProblem() error {
	if len(l.Methods) == 0 {
		return billing.Errorf(billing.CodeInvalidInput, "The methods of estimation are missing: give at least \"manual\".")
	}
	seen := map[Method]bool{}
	for _, m := range l.Methods {
		if !slices.Contains(Methods, m) {
			return billing.Errorf(billing.CodeInvalidInput, "The method of estimation %q is unknown: use between, last_month, last_year, similar or manual.", m)
		}
		if seen[m] {
			return billing.Errorf(billing.CodeInvalidInput, "The method of estimation %q stands twice in the order: name each once.", m)
		}
		seen[m] = true
	}
	return nil
}

// level is the first one that a reference day fits, or the last.
func (l Limits) level(reference int64) (Level, bool) {
	for _, level := range l.Levels {
		if level.UpToRaw == 0 || reference <= level.UpToRaw {
			return level, true
		}
	}
	if len(l.Levels) == 0 {
		return Level{}, false
	}
	return l.Levels[len(l.Levels)-1], true
}
