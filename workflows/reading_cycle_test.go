package workflows

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

const testCycle = billing.CycleID("park/2026-01-02")

var testStart = activities.CycleStart{CycleID: testCycle, Site: "park", Day: billing.MustDate("2026-01-02")}

// owned says that each gateway's line belongs to a worker of its own.
func (s *stage) owned() {
	s.OnActivity(lines.LineHolders, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.LineHoldersInput) (groups []activities.LineGroup, err error) {
		for _, g := range in.Gateways {
			groups = append(groups, activities.LineGroup{Holder: "worker of " + string(g), Gateways: []billing.GatewayID{g}})
		}
		return groups, nil
	})
}

// sweepScript answers SweepGateways pass by pass with the meters left.
func (s *stage) sweepScript(left map[billing.GatewayID][]int) (passes *[]time.Duration) {
	start := s.Now()
	passes = &[]time.Duration{}
	s.OnActivity(metering.StartPass, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.StartPass) ([]billing.GatewayID, error) {
		*passes = append(*passes, s.Now().Sub(start).Round(time.Minute))
		var gateways []billing.GatewayID
		for _, g := range []billing.GatewayID{"G1", "G2"} {
			if in.Pass == 1 || left[g][in.Pass-2] > 0 {
				gateways = append(gateways, g)
			}
		}
		return gateways, nil
	})
	s.owned()
	s.OnActivity(metering.SweepGateways, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.SweepGateways) (out activities.SweptGateway, err error) {
		for _, g := range in.Gateways {
			out.Left += left[g][in.Pass-1]
		}
		return out, nil
	})
	return passes
}

func (s *stage) plan(windowEnd time.Duration) {
	s.OnActivity(metering.PlanCycle, mock.Anything, mock.Anything).Return(activities.CyclePlan{
		CycleID: testCycle, WindowEnd: s.Now().Add(windowEnd), Pauses: []time.Duration{30 * time.Minute, 2 * time.Hour},
	}, nil)
}

func (s *stage) rest(found activities.Validated) map[string]int {
	s.OnActivity(metering.ValidateCycle, mock.Anything, activities.CycleRef{CycleID: testCycle}).Return(found, nil).Once()
	s.OnActivity(metering.CloseCycle, mock.Anything, activities.CycleRef{CycleID: testCycle}).Return(nil).Once()
	return s.children(ExceptionReview, DailyCharge, Restore)
}

func TestReadingCycle_allMetersAnswer(t *testing.T) {
	s := newStage(t)
	s.plan(6 * time.Hour)
	passes := s.sweepScript(map[billing.GatewayID][]int{"G1": {0}, "G2": {0}})
	started := s.rest(activities.Validated{})
	s.ExecuteWorkflow(ReadingCycle, testStart)
	s.finished()
	require.Equal(t, []time.Duration{0}, *passes, "no second pass when nothing is left")
	require.Equal(t, map[string]int{"charge/park/2026-01-02": 1}, started)
	var done CycleDone
	require.NoError(t, s.GetWorkflowResult(&done))
	require.Equal(t, testCycle, done.CycleID)
}

func TestReadingCycle_silentMetersGetTwoMorePassesAndThenACase(t *testing.T) {
	s := newStage(t)
	s.plan(6 * time.Hour)
	passes := s.sweepScript(map[billing.GatewayID][]int{"G1": {0, 0, 0}, "G2": {3, 2, 2}})
	started := s.rest(activities.Validated{Cases: []billing.CaseID{"X1", "X2"}, Restores: []string{"O7"}})
	s.ExecuteWorkflow(ReadingCycle, testStart)
	s.finished()
	require.Equal(t, []time.Duration{0, 30 * time.Minute, 150 * time.Minute}, *passes)
	require.Equal(t, map[string]int{"case/X1": 1, "case/X2": 1, "restore/O7": 1, "charge/park/2026-01-02": 1}, started)
}

func TestReadingCycle_noPassBeginsAfterTheWindow(t *testing.T) {
	s := newStage(t)
	s.plan(time.Hour)
	passes := s.sweepScript(map[billing.GatewayID][]int{"G1": {1, 1}, "G2": {0, 0}})
	s.rest(activities.Validated{})
	s.ExecuteWorkflow(ReadingCycle, testStart)
	s.finished()
	require.Equal(t, []time.Duration{0, 30 * time.Minute}, *passes)
}

func TestReadingCycle_asksForTheNewOwnerWhenTheOldOneIsGone(t *testing.T) {
	s := newStage(t)
	s.plan(6 * time.Hour)
	s.OnActivity(metering.StartPass, mock.Anything, mock.Anything).Return([]billing.GatewayID{"G1"}, nil)
	tries := 0
	s.owned()
	s.OnActivity(metering.SweepGateways, mock.Anything, mock.Anything).Return(func(context.Context, activities.SweepGateways) (activities.SweptGateway, error) {
		if tries++; tries == 1 {
			return activities.SweptGateway{}, temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START, nil)
		}
		return activities.SweptGateway{}, nil
	})
	s.rest(activities.Validated{})
	s.ExecuteWorkflow(ReadingCycle, testStart)
	s.finished()
	require.Equal(t, 2, tries)
}

func TestReadingCycle_aGatewayThatFailsDoesNotHoldUpTheOthers(t *testing.T) {
	s := newStage(t)
	s.plan(time.Minute)
	s.OnActivity(metering.StartPass, mock.Anything, mock.Anything).Return([]billing.GatewayID{"G1", "G2"}, nil)
	var mu sync.Mutex // groups are swept at once
	swept := map[billing.GatewayID]int{}
	s.owned()
	s.OnActivity(metering.SweepGateways, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.SweepGateways) (activities.SweptGateway, error) {
		mu.Lock()
		defer mu.Unlock()
		if swept[in.Gateways[0]]++; in.Gateways[0] == "G1" {
			return activities.SweptGateway{}, temporal.NewNonRetryableApplicationError("no such gateway", string(billing.CodeNotFound), nil)
		}
		return activities.SweptGateway{}, nil
	})
	started := s.rest(activities.Validated{})
	s.ExecuteWorkflow(ReadingCycle, testStart)
	s.finished()
	require.Equal(t, map[billing.GatewayID]int{"G1": 1, "G2": 1}, swept)
	require.Equal(t, 1, started["charge/park/2026-01-02"])
}

func TestReadingCycle_closedBeforeOnlyStartsTheCharge(t *testing.T) {
	s := newStage(t)
	s.OnActivity(metering.PlanCycle, mock.Anything, mock.Anything).Return(activities.CyclePlan{CycleID: testCycle, Closed: true}, nil)
	started := s.children(DailyCharge)
	s.ExecuteWorkflow(ReadingCycle, testStart)
	s.finished()
	require.Equal(t, 1, started["charge/park/2026-01-02"])
}

// A line that nobody owns for a while holds up no other, and is swept in the same pass when it has an owner again.
func TestReadingCycle_linesWithoutAnOwnerHoldUpNoOther(t *testing.T) {
	s := newStage(t)
	s.plan(time.Minute)
	s.OnActivity(metering.StartPass, mock.Anything, mock.Anything).Return([]billing.GatewayID{"G1", "G2", "G3"}, nil).Once()
	start := s.Now()
	s.OnActivity(lines.LineHolders, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.LineHoldersInput) (groups []activities.LineGroup, err error) {
		for _, g := range in.Gateways {
			if g == "G2" && s.Now().Sub(start) < 90*time.Second { // somebody looks at it
				groups = append(groups, activities.LineGroup{Soon: true, Gateways: []billing.GatewayID{g}})
				continue
			}
			groups = append(groups, activities.LineGroup{Holder: "w1", Gateways: []billing.GatewayID{g}})
		}
		return groups, nil
	})
	swept := map[billing.GatewayID]time.Duration{}
	s.OnActivity(metering.SweepGateways, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.SweepGateways) (activities.SweptGateway, error) {
		require.Equal(t, 1, in.Pass)
		swept[in.Gateways[0]] = s.Now().Sub(start)
		return activities.SweptGateway{}, nil
	})
	s.rest(activities.Validated{})
	s.ExecuteWorkflow(ReadingCycle, testStart)
	s.finished()
	require.Zero(t, swept["G1"])
	require.Zero(t, swept["G3"])
	require.GreaterOrEqual(t, swept["G2"], 90*time.Second)
	require.Less(t, swept["G2"], 2*time.Minute)
}

// One that nobody ever owns is left to the next pass.
func TestReadingCycle_aLineThatNobodyTakesIsLeftForLater(t *testing.T) {
	s := newStage(t)
	s.plan(time.Minute)
	s.OnActivity(metering.StartPass, mock.Anything, mock.Anything).Return([]billing.GatewayID{"G2"}, nil).Once()
	s.OnActivity(lines.LineHolders, mock.Anything, mock.Anything).Return([]activities.LineGroup{{Soon: true, Gateways: []billing.GatewayID{"G2"}}}, nil)
	s.rest(activities.Validated{})
	start := s.Now()
	s.ExecuteWorkflow(ReadingCycle, testStart)
	s.finished()
	require.Greater(t, s.Now().Sub(start), 3*time.Minute)
	require.Less(t, s.Now().Sub(start), 10*time.Minute)
}

func TestReadingCycle_unitsThatHaveNotDialledInAreLeftForLater(t *testing.T) {
	s := newStage(t)
	s.plan(time.Minute)
	s.OnActivity(metering.StartPass, mock.Anything, mock.Anything).Return([]billing.GatewayID{"G1", "G2", "G3"}, nil)
	s.OnActivity(lines.LineHolders, mock.Anything, mock.Anything).Return([]activities.LineGroup{
		{Holder: "w1", Gateways: []billing.GatewayID{"G1", "G3"}}, {Gateways: []billing.GatewayID{"G2"}},
	}, nil)
	s.OnActivity(metering.SweepGateways, mock.Anything, activities.SweepGateways{CycleID: testCycle, Gateways: []billing.GatewayID{"G1", "G3"}, Pass: 1}).
		Return(activities.SweptGateway{}, nil).Once()
	s.rest(activities.Validated{})
	s.ExecuteWorkflow(ReadingCycle, testStart)
	s.finished()
}
