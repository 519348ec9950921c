package exceptions

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// After an estimate that was too high, the next actual value lies below it: there is nothing between the two, and the page of the
// case must still open.
func TestEstimated_betweenValuesThatGoBack(t *testing.T) {
	at := time.Date(2026, 9, 22, 16, 0, 0, 0, time.UTC)
	point := func(day int, total int64) *store.Point {
		return &store.Point{At: at.AddDate(0, 0, day), Registers: billing.Registers{total}}
	}
	s := subject{meter: store.MeterRow{}, member: store.Member{FreezeAt: at}, before: point(-1, 739711), after: point(1, 739388)}
	s.meter.Digits, s.meter.Ratio = 8, 1
	_, ok := s.estimated(time.UTC)
	require.False(t, ok)
}
