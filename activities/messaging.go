package activities

import (
	"context"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/notify"
	"github.com/meterflow/meterflow/internal/store"
)

// Messaging hands messages to the provider and takes its receipts.
type Messaging struct {
	Store  *store.Store
	Sender notify.Sender
}

// MessageRef names a message.
type MessageRef struct {
	MessageID billing.MessageID
}

// SendMessage hands a queued message to the provider. The provider takes the same number once, so a repeat after a crash sends nothing
// twice. A message that the provider will never take is failed, which is no error.
func (a *Messaging) SendMessage(ctx context.Context, in MessageRef) error {
	m, err := a.Store.Message(ctx, in.MessageID)
	if err != nil || m.State != billing.MessageQueued {
		return err
	}
	no, err := a.Sender.Send(ctx, notify.Message{ID: m.ID, Phone: m.Phone, Body: m.Body})
	if code := billing.CodeOf(err); code == billing.CodeUnavailable || code == billing.CodeInternal {
		return err
	}
	if err != nil {
		return a.Store.MarkFailed(ctx, byWorkflow(ctx), m.ID, m.State, billing.MessageOf(err))
	}
	failpoint.Hit("message-sent-not-recorded")
	return a.Store.MarkSent(ctx, byWorkflow(ctx), m.ID, no)
}

// Receipt is what the provider says of a message.
type Receipt = store.Receipt

// messageText writes a message in the language that customers are written to.
func messageText(f store.MessageFacts) (string, error) {
	return notify.Text(notify.Chinese, f.Kind, notify.Facts{
		Site: f.Site, Account: f.Account, Service: f.Service, Amount: f.Amount, Part: f.Part, Balance: f.Balance, Receipt: f.Receipt, CutAt: f.CutAt, At: f.At,
	})
}

// ReceiptRecorded says whom a receipt concerns.
type ReceiptRecorded struct {
	MessageID billing.MessageID
	State     billing.MessageState
	// Reminder is the arrears case that waits for it, if any.
	Reminder billing.ReminderID
}

// RecordReceipt stores what the provider says of a message. It may come before we have recorded that we sent it: then it is asked for
// again, as unavailable.
func (a *Messaging) RecordReceipt(ctx context.Context, in Receipt) (ReceiptRecorded, error) {
	r, err := a.Store.RecordReceipt(ctx, byWorkflow(ctx), in)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return ReceiptRecorded{}, billing.Errorf(billing.CodeUnavailable, "no message is known under the provider's number %s yet", in.ProviderNo)
	}
	return ReceiptRecorded{MessageID: r.Message.ID, State: r.Message.State, Reminder: r.Reminder}, err
}

// FailMessage gives up on a message whose receipt didn't come in time.
func (a *Messaging) FailMessage(ctx context.Context, in MessageRef) (billing.MessageState, error) {
	err := a.Store.MarkFailed(ctx, byWorkflow(ctx), in.MessageID, billing.MessageSent, "no receipt came in time")
	if err != nil {
		return "", err
	}
	m, err := a.Store.Message(ctx, in.MessageID)
	return m.State, err
}
