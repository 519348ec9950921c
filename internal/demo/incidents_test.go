package demo

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/simulator"
)

func TestIncidents(t *testing.T) {
	for seed := range int64(6) {
		u, err := New(seed)
		require.NoError(t, err)
		incidents, err := u.Incidents()
		require.NoError(t, err)
		kinds, ids := map[simulator.FaultKind]int{}, map[string]bool{}
		for _, i := range incidents {
			kinds[i.Fault.Kind]++
			require.NotEmpty(t, i.Expect)
			require.False(t, ids[i.Fault.ID], i.Fault.ID)
			ids[i.Fault.ID] = true
			require.True(t, i.Fault.Serial != "" || i.Fault.Gateway != "", i.Name)
			require.True(t, i.Fault.Until.IsZero() || i.Fault.Until.After(i.Fault.From), i.Name)
		}
		for _, kind := range []simulator.FaultKind{
			simulator.FaultGatewaySilent, simulator.FaultSilent, simulator.FaultMute, simulator.FaultSlow, simulator.FaultLostReply,
			simulator.FaultWrongUnit, simulator.FaultDropLink, simulator.FaultRepeatWrite, simulator.FaultStuckRelay,
			simulator.FaultMovingValve, simulator.FaultWrongClock, simulator.FaultRegisterJump,
		} {
			require.Positive(t, kinds[kind], "no fault of kind %s", kind)
		}
		require.GreaterOrEqual(t, kinds[simulator.FaultLostReply], 3, "two of credits, one of a cut")
	}
}

// The spike is ten days' use, so that a home's history calls it too high.
func TestIncidents_spikeIsTenfold(t *testing.T) {
	u, err := New(1)
	require.NoError(t, err)
	incidents, err := u.Incidents()
	require.NoError(t, err)
	for _, i := range incidents {
		if i.Name == "spike" {
			p := u.at(i.Account)
			require.InDelta(t, 10, float64(i.Fault.Offset)/float64(p.uses[30].Total()/30), 0.5)
			return
		}
	}
	t.Fatal("no spike")
}

func TestMessageFails_once(t *testing.T) {
	u, err := New(1)
	require.NoError(t, err)
	fails, failed := u.MessageFails(), 0
	for _, p := range u.Premises {
		if p.LastsDays > 0 && p.Habit != HabitTopUp && fails(p.Phone, 2) {
			failed++
			require.False(t, fails(p.Phone, 1))
			require.False(t, fails(p.Phone, 3))
		}
	}
	require.Positive(t, failed, "somebody who runs low must miss a message")
}
