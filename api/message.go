package api

import (
	"context"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Message is one message to a customer with its delivery state.
type Message struct {
	ID          billing.MessageID    `json:"id"`
	Site        billing.SiteID       `json:"site"`
	Account     billing.AccountID    `json:"account"`
	Kind        string               `json:"kind"`
	Cause       string               `json:"cause"`
	Phone       string               `json:"phone"`
	Body        string               `json:"body"`
	State       billing.MessageState `json:"state"`
	ProviderNo  string               `json:"provider_no,omitempty"`
	QueuedAt    time.Time            `json:"queued_at"`
	SentAt      *time.Time           `json:"sent_at,omitempty"`
	DeliveredAt *time.Time           `json:"delivered_at,omitempty"`
	Error       string               `json:"error,omitempty"`
}

func messageOf(m store.MessageRow) Message {
	return Message{ID: m.ID, Site: m.Site, Account: m.Account, Kind: m.Kind, Cause: m.Cause, Phone: m.Phone, Body: m.Body, State: m.State,
		ProviderNo: m.ProviderNo, QueuedAt: utc(m.QueuedAt), SentAt: utcOrNil(m.SentAt), DeliveredAt: utcOrNil(m.DeliveredAt), Error: m.Error}
}

type messagesInput struct {
	Page
	State   string            `query:"state" enum:"queued,sent,delivered,failed"`
	Kind    string            `query:"kind"`
	Account billing.AccountID `query:"account"`
	Text    string            `query:"q" doc:"Part of the number, account, phone or name."`
	Since   string            `query:"since" format:"date"`
}

// secretHeader carries the secret that the message provider shares with us.
const secretHeader = "Meterflow-Receipt-Secret"

type receiptInput struct {
	Secret string `header:"Meterflow-Receipt-Secret" maxLength:"256"`
	Body   struct {
		ProviderNo string `json:"provider_no" minLength:"1" maxLength:"64" doc:"The provider's number of the message."`
		Delivered  bool   `json:"delivered"`
		Error      string `json:"error,omitempty" maxLength:"200" doc:"Why it was not delivered."`
	}
}

func (s *server) messageOperations() {
	add(s, operation{method: http.MethodGet, path: "/messages", id: "list-messages", tag: "messages", may: auth.View, summary: "Messages, newest first."}, s.messages)
	add(s, operation{method: http.MethodPost, path: "/receipts", id: "take-receipt", tag: "messages", guard: receiptGuard, done: http.StatusAccepted,
		summary: "For the message provider: what became of a message. The same receipt again changes nothing; 503 asks to come again."}, s.receipt)
}

func (s *server) messages(ctx context.Context, in *messagesInput) (*body[List[Message]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	from, err := since(in.Since)
	if err != nil {
		return nil, err
	}
	f := store.MessageFilter{Sites: sites, State: in.State, Kind: in.Kind, Account: in.Account, Text: strings.TrimSpace(in.Text), Since: from}
	rows, total, err := s.Store.MessagePage(ctx, f, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, messageOf), nil
}

func (s *server) receipt(ctx context.Context, in *receiptInput) (*struct{}, error) {
	if s.ReceiptSecret == "" || subtle.ConstantTimeCompare([]byte(in.Secret), []byte(s.ReceiptSecret)) != 1 {
		return nil, billing.Errorf(billing.CodeUnauthenticated, "the receipt wasn't taken: send the shared secret in %s", secretHeader)
	}
	return nil, s.Workflows.MessageReceipt(ctx, workflows.ProviderReceipt{ProviderNo: in.Body.ProviderNo, Delivered: in.Body.Delivered, Error: in.Body.Error})
}
