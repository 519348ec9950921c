package workflows

import (
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

var testCharge = activities.ChargeCycle{CycleID: testCycle}

func TestDailyCharge_handsOverWhoIsLow(t *testing.T) {
	s := newStage(t)
	started := s.children(ArrearsReminder, Restore)
	fall := store.Fall{Reminder: "N1", Level: "level2"}
	s.OnActivity(rating.OpenCharge, mock.Anything, testCharge).Return(activities.ChargeOpened{}, nil).Once()
	s.OnActivity(rating.ChargeAccounts, mock.Anything, testCharge).Return(activities.Charged{Accounts: 3}, nil).Once()
	s.OnActivity(rating.TakeLowList, mock.Anything, testCharge).Return(activities.LowTaken{Opened: []billing.ReminderID{"N2"}, Fell: []store.Fall{fall}, Restores: []string{"O1"},
		Ended: []billing.ReminderID{"N3"}, Cancelled: []string{"C3"}}, nil).Once()
	s.OnSignalExternalWorkflow(mock.Anything, "reminder/N1", "", SignalBalanceFell, mock.Anything).Return(nil).Once()
	s.OnSignalExternalWorkflow(mock.Anything, "reminder/N3", "", SignalPaymentSettled, mock.Anything).Return(nil).Once()
	s.OnSignalExternalWorkflow(mock.Anything, "cutoff/C3", "", SignalPaymentSettled, mock.Anything).Return(nil).Once()
	s.OnActivity(rating.CloseCharge, mock.Anything, testCharge).Return(nil).Once()
	s.ExecuteWorkflow(DailyCharge, testCharge)
	s.finished()
	require.Equal(t, map[string]int{"reminder/N2": 1, "restore/O1": 1}, started)
}

func TestDailyCharge_chargedBeforeDoesNothing(t *testing.T) {
	s := newStage(t)
	s.OnActivity(rating.OpenCharge, mock.Anything, testCharge).Return(activities.ChargeOpened{Charged: true}, nil).Once()
	s.ExecuteWorkflow(DailyCharge, testCharge)
	s.finished()
}
