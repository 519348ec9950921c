package workflows

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

var testReminder = activities.ReminderRef{ReminderID: "N1"}

// dun is a stage with one arrears case, whose table row the tests move.
type dun struct {
	*stage
	row     activities.ReminderState
	notices []string // level and attempt of each that was queued
	answer  func(attempt int) billing.MessageState
}

func newDun(t *testing.T, wanted billing.ReminderState) *dun {
	d := &dun{stage: moneyStage(t), answer: func(int) billing.MessageState { return billing.MessageDelivered }}
	d.row = activities.ReminderState{ReminderID: "N1", Account: "A1", State: billing.ReminderLevel1, Wanted: wanted, ReceiptAfter: 4 * time.Hour}
	d.OnActivity(reminding.LoadReminder, mock.Anything, testReminder).Return(func(context.Context, activities.ReminderRef) (activities.ReminderState, error) {
		row := d.row
		row.Now, row.SendFrom = d.Now(), d.Now()
		return row, nil
	})
	d.OnActivity(reminding.QueueNotice, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.QueueNotice) (activities.Notice, error) {
		if d.row.Over() {
			return activities.Notice{Ended: true}, nil
		}
		id := billing.MessageID(fmt.Sprint(in.Level, in.Attempt))
		d.notices = append(d.notices, string(in.Level))
		d.row.State = in.Level
		if state := d.answer(len(d.notices)); state != "" {
			d.RegisterDelayedCallback(func() {
				d.SignalWorkflow(SignalMessageDelivered, activities.ReceiptRecorded{MessageID: id, State: state, Reminder: "N1"})
			}, time.Minute)
		}
		return activities.Notice{Message: id, State: billing.MessageQueued}, nil
	})
	d.OnActivity(messaging.SendMessage, mock.Anything, mock.Anything).Maybe().Return(nil)
	d.OnActivity(messaging.FailMessage, mock.Anything, mock.Anything).Maybe().Return(billing.MessageFailed, nil)
	return d
}

func (d *dun) falls(after time.Duration, level billing.ReminderState) {
	d.RegisterDelayedCallback(func() {
		d.row.Wanted = level
		d.SignalWorkflow(SignalBalanceFell, nil)
	}, after)
}

func (d *dun) pays(after time.Duration) {
	d.RegisterDelayedCallback(func() {
		d.row.State = billing.ReminderPaid
		d.SignalWorkflow(SignalPaymentSettled, nil)
	}, after)
}

func TestArrearsReminder_levelByLevelToTheCut(t *testing.T) {
	d := newDun(t, billing.ReminderLevel1)
	started := d.children(Cutoff)
	d.falls(24*time.Hour, billing.ReminderLevel2)
	d.falls(48*time.Hour, billing.ReminderFinal)
	d.OnActivity(reminding.HandOver, mock.Anything, testReminder).Return(activities.HandedOver{CutoffID: "C1"}, nil).Once()
	d.ExecuteWorkflow(ArrearsReminder, testReminder)
	d.finished()
	require.Equal(t, []string{"level1", "level2", "final"}, d.notices)
	require.Equal(t, map[string]int{"cutoff/C1": 1}, started)
}

func TestArrearsReminder_paidAtEachLevel(t *testing.T) {
	for _, level := range []billing.ReminderState{billing.ReminderLevel1, billing.ReminderLevel2} {
		t.Run(string(level), func(t *testing.T) {
			d := newDun(t, level)
			d.pays(24 * time.Hour)
			d.ExecuteWorkflow(ArrearsReminder, testReminder)
			d.finished()
			require.Equal(t, []string{string(level)}, d.notices)
		})
	}
	t.Run("final, before its receipt", func(t *testing.T) {
		d := newDun(t, billing.ReminderFinal)
		d.answer = func(int) billing.MessageState { return "" }
		d.pays(time.Hour)
		d.ExecuteWorkflow(ArrearsReminder, testReminder)
		d.finished()
		require.Equal(t, []string{"final"}, d.notices)
		d.AssertNotCalled(t, "HandOver")
	})
}

func TestArrearsReminder_noReceiptNoCut(t *testing.T) {
	d := newDun(t, billing.ReminderFinal)
	d.answer = func(attempt int) billing.MessageState {
		return map[int]billing.MessageState{1: "", 2: billing.MessageFailed, 3: "", 4: billing.MessageFailed, 5: ""}[attempt]
	}
	d.OnActivity(reminding.CloseReminder, mock.Anything, mock.Anything).Return(nil).Once()
	d.ExecuteWorkflow(ArrearsReminder, testReminder)
	d.finished()
	require.Len(t, d.notices, noticeTries)
	d.AssertNotCalled(t, "HandOver")
}

func TestArrearsReminder_secondTryDelivers(t *testing.T) {
	d := newDun(t, billing.ReminderFinal)
	d.children(Cutoff)
	d.answer = func(attempt int) billing.MessageState {
		if attempt == 1 {
			return billing.MessageFailed
		}
		return billing.MessageDelivered
	}
	d.OnActivity(reminding.HandOver, mock.Anything, testReminder).Return(activities.HandedOver{CutoffID: "C1"}, nil).Once()
	d.ExecuteWorkflow(ArrearsReminder, testReminder)
	d.finished()
	require.Len(t, d.notices, 2)
}

// A meter that can trip by itself is held on before the first notice goes out.
func TestArrearsReminder_guardsFirst(t *testing.T) {
	d := newDun(t, billing.ReminderLevel1)
	d.row.MeterCredit = true
	d.OnActivity(switching.GuardSupply, mock.Anything, testReminder).Return(activities.GuardDone{}, nil).Once()
	d.OnActivity(switching.GuardSupply, mock.Anything, testReminder).Return(func(context.Context, activities.ReminderRef) (activities.GuardDone, error) {
		require.Empty(t, d.notices)
		return activities.GuardDone{Done: true}, nil
	}).Once()
	d.pays(24 * time.Hour)
	d.ExecuteWorkflow(ArrearsReminder, testReminder)
	d.finished()
	require.Equal(t, []string{"level1"}, d.notices)
}

func TestReceipt_tellsTheCaseThatWaits(t *testing.T) {
	s := moneyStage(t)
	in := activities.Receipt{ProviderNo: "SMS-S1", Delivered: true}
	recorded := activities.ReceiptRecorded{MessageID: "S1", State: billing.MessageDelivered, Reminder: "N1"}
	s.OnActivity(messaging.RecordReceipt, mock.Anything, in).Return(recorded, nil).Once()
	s.OnSignalExternalWorkflow(mock.Anything, "reminder/N1", "", SignalMessageDelivered, recorded).Return(nil).Once()
	s.ExecuteWorkflow(Receipt, in)
	s.finished()
}
