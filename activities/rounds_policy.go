package activities

import (
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// RoundPolicy is about reading rounds on foot.
type RoundPolicy struct {
	// ShowLast lets a reader see the last value. Hidden, it can't be copied or counted on from.
	ShowLast bool `json:"show_last"`
	// OnTimeDays: a round is on schedule when it is submitted less than so many days before or after its day.
	OnTimeDays int `json:"on_time_days"`
	// RotateAfter rounds of one route in a row the next needs another reader, or a reason. 0: never.
	RotateAfter int `json:"rotate_after"`
	// PastDays is how long ago a value may have been taken when it is entered.
	PastDays int `json:"past_days"`
	// Reader is what a reader's own work is judged by.
	Reader metering.ReaderLimits `json:"reader"`
}

// defaultRoundPolicy: less than 2 days from the planned day is State Grid's rule of reading (Art. 5), the rest general practice.
func defaultRoundPolicy() RoundPolicy {
	return RoundPolicy{ShowLast: false, OnTimeDays: store.OnTimeDays, RotateAfter: 3, PastDays: 7, Reader: metering.DefaultReaderLimits()}
}
