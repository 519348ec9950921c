package demo

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
)

func TestNew_size(t *testing.T) {
	u, err := New(1)
	require.NoError(t, err)
	require.Len(t, u.Gateways, 12)
	require.Len(t, u.Premises, 300)
	count := map[string]int{}
	for _, p := range u.Premises {
		count[fmt.Sprint(p.Site, "/", p.Service, "/", p.Credit)]++
		count[string(p.Gateway)]++
	}
	require.Equal(t, map[string]int{
		"garden/power/platform": 160, "garden/water/platform": 40,
		"plaza/power/meter": 60, "plaza/power/platform": 20, "plaza/water/platform": 20,
		"garden-gw1": 25, "garden-gw2": 25, "garden-gw3": 25, "garden-gw4": 25, "garden-gw5": 25, "garden-gw6": 25,
		"garden-gw7": 25, "garden-gw8": 25, "plaza-gw1": 25, "plaza-gw2": 25, "plaza-gw3": 25, "plaza-gw4": 25,
	}, count)
}

func TestNew_isMadeFromTheSeed(t *testing.T) {
	first, err := New(3)
	require.NoError(t, err)
	madeMu.Lock()
	delete(made, 3)
	madeMu.Unlock()
	again, err := New(3)
	require.NoError(t, err)
	require.NotSame(t, first, again)
	require.Equal(t, first, again)
	other, err := New(4)
	require.NoError(t, err)
	require.NotEqual(t, first.Premises[0].Balance, other.Premises[0].Balance)
}

// The cast must find its players whatever the seed.
func TestNew_everySeedWorks(t *testing.T) {
	for seed := range int64(6) {
		_, err := New(seed)
		require.NoError(t, err)
	}
}

func TestNew_curvesAreDistinct(t *testing.T) {
	u, err := New(1)
	require.NoError(t, err)
	type curve struct {
		series string
		offset int
		scale  int64
	}
	seen, series := map[curve]bool{}, map[billing.Service]map[string]bool{billing.Power: {}, billing.Water: {}}
	for _, p := range u.Premises {
		c := curve{p.Spec.LoadProfile, p.Spec.OffsetDays, p.Spec.ScalePermille}
		require.False(t, seen[c], "%v twice", c)
		seen[c] = true
		series[p.Service][p.Spec.LoadProfile] = true
	}
	require.Len(t, series[billing.Power], 35)
	require.Len(t, series[billing.Water], 35)
}

func TestNew_balances(t *testing.T) {
	u, err := New(1)
	require.NoError(t, err)
	low := 0
	for _, p := range u.Premises {
		require.Positive(t, p.Balance, p.Account)
		if p.Spec.CreditMode {
			require.EqualValues(t, p.Balance, p.Spec.RemainingFen)
			require.Greater(t, p.Balance, p.costs[6], "meter %s would trip before it is guarded", p.Meter)
		}
		if p.LastsDays > 0 {
			require.GreaterOrEqual(t, p.Balance, p.costs[p.LastsDays])
			require.LessOrEqual(t, p.Balance, p.costs[p.LastsDays+1])
		}
		if p.Habit == HabitAmple {
			require.Greater(t, p.Balance, p.costs[horizon])
		} else if p.Habit != HabitTopUp {
			low++
		}
	}
	require.GreaterOrEqual(t, low, 60)
	require.LessOrEqual(t, low, 80)
}

func TestNew_householdsCrossSteps(t *testing.T) {
	u, err := New(1)
	require.NoError(t, err)
	crossing := map[billing.Service]int{}
	for _, p := range u.Premises {
		for _, edge := range map[billing.Service][]int64{billing.Power: {276_000, 480_000}, billing.Water: {180_000, 260_000}}[p.Service] {
			if p.Site == Garden && p.UseBefore < edge && p.UseBefore+p.uses[30].Total() > edge {
				crossing[p.Service]++
			}
		}
	}
	require.GreaterOrEqual(t, crossing[billing.Power], 20)
	require.GreaterOrEqual(t, crossing[billing.Water], 5)
}

// The rehearsed month is the one that the real fleet lives: registers pass their end where they should, and the credit in a
// meter goes down by what the tariff says.
func TestFleet_livesAsRehearsed(t *testing.T) {
	u, err := New(1)
	require.NoError(t, err)
	spec, err := Fleet(1)
	require.NoError(t, err)
	var now atomic.Pointer[time.Time]
	start := Start()
	now.Store(&start)
	fleet, err := simulator.NewFleet(spec, t.TempDir(), func() time.Time { return *now.Load() })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, fleet.Close()) })
	const day = 5
	at := start.AddDate(0, 0, day)
	now.Store(&at)
	require.NoError(t, fleet.Advance())
	for _, p := range u.Premises {
		state, err := fleet.MeterState(p.Spec.Serial)
		require.NoError(t, err)
		used, err := billing.Usage(p.Spec.OpeningRegisters, state.Registers, p.digits())
		require.NoError(t, err)
		require.Equal(t, p.uses[day], used, p.Meter)
		if p.Spec.CreditMode {
			require.InDelta(t, int64(p.Balance-p.costs[day]), state.RemainingFen, 5, "fen of rounding per line, meter %s", p.Meter)
			require.True(t, state.RelayOn)
		}
	}
}

func TestNew_rollovers(t *testing.T) {
	u, err := New(1)
	require.NoError(t, err)
	rolls := map[billing.Service]int{}
	for _, p := range u.Premises {
		var sum int64
		for _, band := range p.Spec.OpeningRegisters[1:] {
			sum += band
		}
		if p.Service == billing.Power {
			require.Equal(t, p.Spec.OpeningRegisters[0], sum, "bands of %s", p.Meter)
		}
		if p.Spec.OpeningRegisters[0]+p.uses[30].Total() >= billing.Wrap(p.digits()) {
			rolls[p.Service]++
		}
	}
	require.Equal(t, map[billing.Service]int{billing.Power: 1, billing.Water: 1}, rolls)
}

func TestSpread(t *testing.T) {
	require.Equal(t, []int64{101, 0, 62, 0, 39, 0}, spread(101, 0, 62, 0, 38, 0))
}
