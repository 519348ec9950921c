package metering

import "github.com/meterflow/meterflow/internal/billing"

// Limits is the validation policy of a site and service: data, edited by
// site. Raw numbers are register units before ratio.
type Limits struct {
	// Levels hold the upper limit by level of use, smallest level first: small
	// users get wide bands, large ones narrow.
	Levels []Level `json:"levels"`
	// HistoryDays is how many own days too_high and too_low need; with fewer, only
	// the rated capacity bounds a reading.
	HistoryDays int `json:"history_days"`
	// CapacityPercent of rated capacity × time is the most a meter can count.
	CapacityPercent int64 `json:"capacity_percent"`
	// LowPercent of the smallest recent day, where that day reaches LowFloorRaw,
	// is too low. Homes fall to nothing whenever people travel, hence the floor.
	LowPercent  int64 `json:"low_percent"`
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
}

// Level bounds the use of a day for meters whose largest recent day is at most
// UpToRaw (0: any). The bound is HighPercent of that largest day, but never
// below FloorRaw.
type Level struct {
	UpToRaw     int64 `json:"up_to_raw"`
	HighPercent int64 `json:"high_percent"`
	FloorRaw    int64 `json:"floor_raw"`
}

// DefaultLimits are meant for daily readings. On a year of 35 real homes and of
// 35 real water meters (testdata) fewer than 1 reading in 500 is called too
// high, while ten times the usual use is caught in more than 9 of 10 cases for power and
// 8 of 10 for water: a tiny user's tenfold stays below the floor, where it
// costs little.
func DefaultLimits(s billing.Service) Limits {
	if s == billing.Water {
		return Limits{
			Levels: []Level{
				{UpToRaw: 1_000, HighPercent: 250, FloorRaw: 500},
				{UpToRaw: 10_000, HighPercent: 200, FloorRaw: 1_000},
				{HighPercent: 150, FloorRaw: 10_000},
			},
			HistoryDays: 7, CapacityPercent: 110, LowPercent: 10, LowFloorRaw: 1_000,
			ZeroStreakDays: 14, CreditDriftFen: 100, SumToleranceRaw: 5, OffToleranceRaw: 20,
		}
	}
	return Limits{
		Levels: []Level{
			{UpToRaw: 1_000, HighPercent: 250, FloorRaw: 1_000},
			{UpToRaw: 10_000, HighPercent: 200, FloorRaw: 1_000},
			{HighPercent: 150, FloorRaw: 10_000},
		},
		HistoryDays: 7, CapacityPercent: 110, LowPercent: 10, LowFloorRaw: 2_000,
		ZeroStreakDays: 14, CreditDriftFen: 100, SumToleranceRaw: 5, OffToleranceRaw: 5,
	}
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
