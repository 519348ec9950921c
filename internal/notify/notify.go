// Package notify is the door through which messages to customers leave: what a message says, in Chinese and English, and the Sender
// that hands it to a provider.
//
// It owns the texts and the provider's side. It refuses to keep messages (package store does, with their delivery state) and to
// believe in a delivery: only the provider's own receipt, which comes separately, is one.
package notify

import (
	"context"

	"github.com/meterflow/meterflow/internal/billing"
)

// Message is one message to one phone. ID is the sender's own number: a provider takes the same ID once, so that a repeat after a
// lost answer sends nothing twice.
type Message struct {
	ID    billing.MessageID
	Phone string
	Body  string
}

// Sender hands messages to a provider.
type Sender interface {
	// Send gives the message to the provider and returns its number there. Sending the same ID again returns the same number.
	// billing.CodeUnavailable means that the provider may take it later; any other error, that it never will.
	Send(ctx context.Context, m Message) (providerNo string, err error)
}

// Receipt is what the provider says later of a message that it took.
type Receipt struct {
	ProviderNo string `json:"provider_no"`
	Delivered  bool   `json:"delivered"`
	// Error says why it was not delivered.
	Error string `json:"error,omitempty"`
}
