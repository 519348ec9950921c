package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Message is one message to a customer, with its delivery state. Delivered needs the provider's own receipt.
type Message struct {
	ID          billing.MessageID
	Site        billing.SiteID    `db:"site_id"`
	Account     billing.AccountID `db:"account_id"`
	Kind        string            // level1, level2, final, recharged, cut, restored
	Cause       string            // '<case or recharge number>/<kind>'
	Phone       string
	Body        string
	State       billing.MessageState
	ProviderNo  string
	QueuedAt    time.Time
	SentAt      *time.Time
	DeliveredAt *time.Time
	Error       string
}

const selectMessage = `SELECT id, site_id, account_id, kind, cause, phone, body, state, coalesce(provider_no, '') AS provider_no, queued_at, sent_at, delivered_at, error FROM messages`

// Message reads one message.
func (s *Store) Message(ctx context.Context, id billing.MessageID) (Message, error) {
	rows, _ := s.Pool.Query(ctx, selectMessage+` WHERE id = $1`, id)
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Message])
	return m, translate(err)
}

// MessageByProvider reads the message that the provider knows under a number.
func (s *Store) MessageByProvider(ctx context.Context, providerNo string) (Message, error) {
	rows, _ := s.Pool.Query(ctx, selectMessage+` WHERE provider_no = $1`, providerNo)
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Message])
	return m, translate(err)
}

// NewMessage is what a message is written from. Phone and name come from the customer.
type NewMessage struct {
	Account billing.AccountID
	Kind    string
	Cause   string // a repeat under the same cause queues nothing
	Amount  billing.Money
	Part    billing.Money // of a payment plan: a month at most
	Balance billing.Money
	Receipt string
	CutAt   time.Time
}

// MessageFacts are what the text of a message may mention. Times are in the site's zone.
type MessageFacts struct {
	NewMessage
	Site    string
	Service billing.Service
	At      time.Time
}

// MessageText writes the text of a message; package activities gives it.
type MessageText func(MessageFacts) (string, error)

// queueMessage writes the message that waits to be sent and gives its number; under a known cause, the first one's.
func queueMessage(ctx context.Context, tx *Tx, n NewMessage, text MessageText) (billing.MessageID, error) {
	var first billing.MessageID
	err := tx.QueryRow(ctx, `SELECT id FROM messages WHERE cause = $1`, n.Cause).Scan(&first)
	if err == nil || err != pgx.ErrNoRows {
		return first, err
	}
	var site billing.SiteID
	var phone, siteName, zone string
	var service billing.Service
	err = tx.QueryRow(ctx, `SELECT a.site_id, c.phone, s.name_zh, s.time_zone, a.service FROM accounts a JOIN customers c ON c.id = a.customer_id
		JOIN sites s ON s.id = a.site_id WHERE a.id = $1`, n.Account).Scan(&site, &phone, &siteName, &zone, &service)
	if err != nil {
		return "", err
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return "", err
	}
	n.CutAt = n.CutAt.In(loc)
	body, err := text(MessageFacts{NewMessage: n, Site: siteName, Service: service, At: tx.Now.In(loc)})
	if err != nil {
		return "", err
	}
	var id billing.MessageID
	err = tx.QueryRow(ctx, `INSERT INTO messages (id, site_id, account_id, kind, cause, phone, body, state, queued_at)
		VALUES ('S' || nextval('message_no'), $1, $2, $3, $4, $5, $6, 'queued', $7) RETURNING id`,
		site, n.Account, n.Kind, n.Cause, phone, body, tx.Now).Scan(&id)
	if err != nil {
		return "", err
	}
	return id, tx.Journal(ctx, Entry{Site: site, Kind: "message", ID: string(id), Event: "queued", To: string(billing.MessageQueued),
		Refs: []string{string(n.Account), causeNumber(n.Cause)}, Data: map[string]any{"kind": n.Kind}})
}

// MarkSent records that the provider has taken the message under its number. Recording it again changes nothing.
func (s *Store) MarkSent(ctx context.Context, by By, id billing.MessageID, providerNo string) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		return moveMessage(ctx, tx, id, billing.MessageQueued, billing.MessageSent, func() error {
			_, err := tx.Exec(ctx, `UPDATE messages SET state = 'sent', provider_no = $2, sent_at = $3 WHERE id = $1`, id, providerNo, tx.Now)
			return err
		}, map[string]any{"provider_no": providerNo})
	})
}

// MarkFailed records that a message can't be delivered, and why.
func (s *Store) MarkFailed(ctx context.Context, by By, id billing.MessageID, from billing.MessageState, why string) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		return moveMessage(ctx, tx, id, from, billing.MessageFailed, func() error {
			_, err := tx.Exec(ctx, `UPDATE messages SET state = 'failed', error = $2 WHERE id = $1`, id, why)
			return err
		}, map[string]any{"error": why})
	})
}

// moveMessage changes the state of a message that is in state from; in any other it does nothing.
func moveMessage(ctx context.Context, tx *Tx, id billing.MessageID, from, to billing.MessageState, change func() error, data map[string]any) error {
	rows, _ := tx.Query(ctx, selectMessage+` WHERE id = $1 FOR UPDATE`, id)
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Message])
	if err != nil || m.State != from {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: m.Site, Kind: "message", ID: string(id), Event: string(to), From: string(from), To: string(to),
		Refs: []string{string(m.Account), causeNumber(m.Cause)}, Data: data})
}

// Receipt is what the provider says of a message that it took.
type Receipt struct {
	ProviderNo string `json:"provider_no"`
	Delivered  bool   `json:"delivered"`
	Error      string `json:"error,omitempty"`
}

// ReceiptResult names the message that a receipt is about.
type ReceiptResult struct {
	Message Message
	// Reminder is the arrears case that waits for the receipt, if the message belongs to one.
	Reminder billing.ReminderID
}

// RecordReceipt stores what the provider says of a message: delivered, or failed with its reason. A receipt that comes again changes
// nothing. An unknown number is billing.CodeNotFound.
func (s *Store) RecordReceipt(ctx context.Context, by By, r Receipt) (ReceiptResult, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return ReceiptResult{}, err
	}
	m, err := s.MessageByProvider(ctx, r.ProviderNo)
	if err != nil {
		return ReceiptResult{}, err
	}
	err = s.Change(ctx, by, func(tx *Tx) error {
		to := billing.MessageFailed
		if r.Delivered {
			to = billing.MessageDelivered
		}
		return moveMessage(ctx, tx, m.ID, billing.MessageSent, to, func() error {
			_, err := tx.Exec(ctx, `UPDATE messages SET state = $2, delivered_at = CASE WHEN $2 = 'delivered' THEN $3::timestamptz END, receipt = $4, error = $5 WHERE id = $1`,
				m.ID, to, tx.Now, string(raw), r.Error)
			return err
		}, map[string]any{"provider_no": r.ProviderNo})
	})
	if err != nil {
		return ReceiptResult{}, err
	}
	m, err = s.Message(ctx, m.ID)
	out := ReceiptResult{Message: m}
	if no := causeNumber(m.Cause); len(no) > 0 && no[0] == 'N' {
		out.Reminder = billing.ReminderID(no)
	}
	return out, err
}

// causeNumber is the business number in a message's cause: "recharge/R1/recharged" and "N7/final/2" lead to R1 and N7.
func causeNumber(cause string) string {
	parts := splitCause(cause)
	if len(parts) > 1 && (parts[0] == "recharge" || parts[0] == "cutoff" || parts[0] == "restore") {
		return parts[1]
	}
	return parts[0]
}
