package devices

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is told of a line: its faults by kind, what sweeps leave alone and until when, and its last answer, of which a refusal is one.
func TestReport(t *testing.T) {
	a := newAsides(Config{}.withDefaults())
	require.Empty(t, a.report("g").Faults)
	start := time.Now()
	for range 2 {
		a.book(Address{Gateway: "g", Unit: 7}, fmt.Errorf("unit 7: %w", ErrSilent))
	}
	a.book(Address{Gateway: "g", Unit: 8}, fmt.Errorf("unit 8: %w", ErrExpired))
	r := a.report("g")
	require.Zero(t, r.AnsweredAt, "what was never sent got no answer")
	require.Equal(t, int64(2), r.Faults[FaultSilent].Count)
	require.Equal(t, "unit 7: the meter does not answer", r.Faults[FaultSilent].Text)
	require.Len(t, r.Faults, 1)

	a.book(Address{Gateway: "g", Unit: 9}, ErrSilent)
	r = a.report("g")
	require.Len(t, r.Asides, 2)
	require.Equal(t, []int{1, 1}, []int{r.Asides[0].Tries, r.Asides[1].Tries}, "a try while it is set aside does not count")
	a.book(Address{Gateway: "g", Unit: 9}, &RefusedError{Function: 3, Exception: 2})
	r = a.report("g")
	require.False(t, r.AnsweredAt.Before(start), "a refusal is an answer")
	require.Len(t, r.Asides, 1, "unit 7 is still silent")
	require.Equal(t, int64(1), r.Faults[FaultRefused].Count)
	for unit := byte(1); unit <= 3; unit++ {
		a.book(Address{Gateway: "g", Unit: unit}, ErrLinkDown)
	}
	r = a.report("g")
	require.True(t, r.AsideUntil.After(start), "nothing on the line answers")
	require.Equal(t, int64(3), r.Faults[FaultLinkDown].Count)
	require.Len(t, r.Asides, 1, "the gateway's fault, not the meters'")
	require.Empty(t, a.report("other").Faults)
}

// A worker tells of each of its lines with every renewal of its leases, under the lock that every answer takes: what that costs must grow with the
// silent meters of the line, and not with those of all lines.
func TestReportCostsItsOwnLineOnly(t *testing.T) {
	cost := func(lines int) float64 {
		a := newAsides(Config{}.withDefaults())
		for line := range lines {
			for unit := byte(1); unit <= 32; unit++ {
				a.book(Address{Gateway: fmt.Sprint(line), Unit: unit}, ErrSilent)
			}
		}
		best := time.Hour
		for range 20 { // other work on the machine makes a turn longer, never shorter
			began := time.Now()
			for range 20 {
				a.report("0")
			}
			best = min(best, time.Since(began))
		}
		return float64(best)
	}
	few, many := cost(2), cost(1000)
	require.Less(t, many/few, 10.0, "500 times as many silent meters elsewhere")
}
