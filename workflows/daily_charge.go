package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// DailyCharge charges the accounts of a closed cycle and hands those that run low to their arrears cases.
func DailyCharge(ctx workflow.Context, in activities.ChargeCycle) error {
	var opened activities.ChargeOpened
	if err := workflow.ExecuteActivity(withStore(ctx), rating.OpenCharge, in).Get(ctx, &opened); err != nil {
		return err
	}
	if opened.Charged {
		return nil
	}
	if err := workflow.ExecuteActivity(withRating(ctx), rating.ChargeAccounts, in).Get(ctx, nil); err != nil {
		return err
	}
	messages, err := takeLowList(ctx, in)
	if err != nil {
		return err
	}
	if err := workflow.ExecuteActivity(withStore(ctx), rating.CloseCharge, in).Get(ctx, nil); err != nil {
		return err
	}
	// What customers are told about payment plans holds nothing up. Histories from before there were any have none to send.
	for _, id := range messages {
		if err := sendMessage(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// takeLowList gives each account that runs low its arrears case, tells the cases that stand open and those that ended, and starts the restores that the
// charge made due. Asked again it gives the same list, so that nothing is lost between the list and the start. It names the messages that are to be sent.
func takeLowList(ctx workflow.Context, in activities.ChargeCycle) ([]billing.MessageID, error) {
	var low activities.LowTaken
	if err := workflow.ExecuteActivity(withStore(ctx), rating.TakeLowList, in).Get(ctx, &low); err != nil {
		return nil, err
	}
	if err := startFollowers(ctx, kindReminder, low.Opened); err != nil {
		return nil, err
	}
	for _, fall := range low.Fell {
		signalIfRunning(ctx, ReminderWorkflowID(fall.Reminder), SignalBalanceFell, fall)
	}
	// What an arrears contract ended looks at its row again, as after a payment. Histories from before that have none.
	for _, id := range low.Ended {
		signalIfRunning(ctx, ReminderWorkflowID(id), SignalPaymentSettled, in)
	}
	for _, id := range low.Cancelled {
		signalIfRunning(ctx, CutoffWorkflowID(id), SignalPaymentSettled, in)
	}
	return low.Messages, startFollowers(ctx, kindRestore, low.Restores)
}
