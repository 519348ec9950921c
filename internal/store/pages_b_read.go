package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// RechargeRow is a recharge as the queue shows it: with the names of the customer and of the people.
type RechargeRow struct {
	Recharge
	Customer      string
	Address       string
	Service       billing.Service
	EnteredName   string
	Approved1Name string
	Approved2Name string
	RejectedName  string
}

type countedRecharge struct {
	RechargeRow
	Total  int
	SumFen billing.Money
}

// RechargeTally is how many recharges a filter finds, and what they come to.
type RechargeTally struct {
	N   int
	Sum billing.Money
}

// RechargeFilter chooses recharges. Zero fields choose all.
type RechargeFilter struct {
	Sites   []billing.SiteID
	State   string
	Channel string
	Maker   billing.UserID // entered by
	Waiting billing.UserID // for an approval that this person may give
	Account billing.AccountID
	Text    string // part of its number, receipt, slip, account or customer's name
	Since   time.Time
	IDs     []billing.RechargeID
	// Viewer is whose work comes first in the list.
	Viewer billing.UserID
}

// awaits says that a recharge waits for an approval that the viewer may give.
const awaits = `(r.state IN ('entered', 'approved_once') AND r.entered_by <> @viewer AND r.approved1_by IS DISTINCT FROM @viewer)`

const selectRechargeRow = `SELECT ` + rechargeColumns + `, c.name AS customer, p.address, a.service, e.name AS entered_name, coalesce(x.name, '') AS approved1_name,
		coalesce(y.name, '') AS approved2_name, coalesce(z.name, '') AS rejected_name, count(*) OVER ()::int AS total,
		(sum(r.amount_fen) OVER ())::bigint AS sum_fen
	FROM recharges r JOIN accounts a ON a.id = r.account_id JOIN customers c ON c.id = a.customer_id JOIN service_points p ON p.id = a.service_point_id
	JOIN users e ON e.id = r.entered_by LEFT JOIN users x ON x.id = r.approved1_by LEFT JOIN users y ON y.id = r.approved2_by
	LEFT JOIN users z ON z.id = r.rejected_by`

// RechargePage lists the recharges that the filter chooses and counts them all: first what waits for the viewer, then what is in doubt,
// then what waits for others or is on its way, each oldest first; then what is settled, newest first.
func (s *Store) RechargePage(ctx context.Context, f RechargeFilter, limit, offset int) ([]RechargeRow, RechargeTally, error) {
	rows, _ := s.Pool.Query(ctx, selectRechargeRow+` WHERE r.site_id = ANY(@sites) AND (@state = '' OR r.state = @state) AND (@channel = '' OR r.channel = @channel)
			AND (@maker = '' OR r.entered_by = @maker) AND (@account = '' OR r.account_id = @account) AND r.entered_at >= @since
			AND (NOT @waiting OR `+awaits+`) AND (@ids::text[] IS NULL OR r.id = ANY(@ids))
			AND (@text = '' OR position(lower(@text) IN lower(concat_ws(' ', r.id, r.receipt_no, r.evidence, r.account_id, c.name))) > 0)
		ORDER BY CASE WHEN `+awaits+` THEN 0 WHEN r.state = 'in_doubt' THEN 1 WHEN r.state IN ('entered', 'approved_once') THEN 2
				WHEN r.state IN ('approved', 'delivering') THEN 3 ELSE 4 END,
			CASE WHEN r.state NOT IN ('credited', 'rejected', 'expired') THEN r.entered_at END,
			CASE WHEN r.state NOT IN ('credited', 'rejected', 'expired') THEN r.id END, r.entered_at DESC, r.id DESC
		LIMIT @limit OFFSET @offset`, f.args(limit, offset))
	var t RechargeTally
	list, n, err := unwrap(rows, func(r countedRecharge) (RechargeRow, int) {
		t.Sum = r.SumFen
		return r.RechargeRow, r.Total
	})
	t.N = n
	return list, t, err
}

func (f RechargeFilter) args(limit, offset int) pgx.NamedArgs {
	viewer := f.Viewer
	if f.Waiting != "" {
		viewer = f.Waiting
	}
	return pgx.NamedArgs{"sites": f.Sites, "state": f.State, "channel": f.Channel, "maker": f.Maker, "waiting": f.Waiting != "", "viewer": viewer,
		"account": f.Account, "text": f.Text, "since": f.Since, "ids": f.IDs, "limit": limit, "offset": offset}
}

// RechargeRow reads one recharge with its names.
func (s *Store) RechargeRow(ctx context.Context, id billing.RechargeID) (RechargeRow, error) {
	rows, _ := s.Pool.Query(ctx, selectRechargeRow+` WHERE r.id = $1`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[countedRecharge])
	return r.RechargeRow, translate(err)
}

// RechargeCounts are the numbers of the queue's views.
type RechargeCounts struct {
	Waiting int // for this person's approval
	Mine    int // entered by this person and not settled
	Open    int // of anybody
	InDoubt int
}

// RechargeCounts counts what isn't settled at some sites, as one person sees it.
func (s *Store) RechargeCounts(ctx context.Context, sites []billing.SiteID, viewer billing.UserID) (RechargeCounts, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT count(*) FILTER (WHERE `+awaits+`), count(*) FILTER (WHERE r.entered_by = @viewer), count(*),
			count(*) FILTER (WHERE r.state = 'in_doubt')
		FROM recharges r WHERE r.site_id = ANY(@sites) AND r.state NOT IN ('credited', 'rejected', 'expired')`,
		pgx.NamedArgs{"sites": sites, "viewer": viewer})
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[RechargeCounts])
	return c, translate(err)
}

// NextRecharge is the oldest recharge that waits for a person's approval; empty when none does.
func (s *Store) NextRecharge(ctx context.Context, sites []billing.SiteID, viewer billing.UserID) (billing.RechargeID, error) {
	var id billing.RechargeID
	err := s.Pool.QueryRow(ctx, `SELECT coalesce((SELECT r.id FROM recharges r WHERE r.site_id = ANY(@sites) AND `+awaits+`
			AND r.expires_at > business_now() ORDER BY r.entered_at, r.id LIMIT 1), '')`,
		pgx.NamedArgs{"sites": sites, "viewer": viewer}).Scan(&id)
	return id, translate(err)
}

// CreditOf is the movement by which a recharge became credit; nil while it hasn't.
func (s *Store) CreditOf(ctx context.Context, r Recharge) (*Movement, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT * FROM (
			SELECT e.id AS entry_id, e.kind, e.subject, -p.amount_fen AS amount_fen,
				-(sum(p.amount_fen) OVER (ORDER BY e.id))::bigint AS balance_fen, e.business_at
			FROM ledger_postings p JOIN ledger_entries e ON e.id = p.entry_id WHERE p.code = $1) m
		WHERE subject = $2 AND kind = $3`, ledger.Customer(r.Account), r.ID, ledger.KindRechargeCredited)
	m, err := optional[Movement](rows)
	return m, translate(err)
}

// CommandsOf lists the commands that a recharge, cut, restore or arrears case ordered, newest first. owner is its workflow id, such as
// "cutoff/C12".
func (s *Store) CommandsOf(ctx context.Context, owner string) ([]Command, error) {
	rows, _ := s.Pool.Query(ctx, selectCommand+` WHERE cause = $1 OR starts_with(cause, $1 || '/') ORDER BY requested_at DESC, length(id) DESC, id DESC`, owner)
	cs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Command])
	return cs, translate(err)
}

// MessageRow is a message with the name of its customer.
type MessageRow struct {
	Message
	Customer string
}

type countedMessage struct {
	MessageRow
	Total int
}

// MessageFilter chooses messages. Zero fields choose all.
type MessageFilter struct {
	Sites   []billing.SiteID
	State   string
	Kind    string
	Account billing.AccountID
	Text    string // part of its number, account, phone or customer's name
	Since   time.Time
}

// MessagePage lists the messages that the filter chooses, newest first, and counts them all.
func (s *Store) MessagePage(ctx context.Context, f MessageFilter, limit, offset int) ([]MessageRow, int, error) {
	rows, _ := s.Pool.Query(ctx, selectMessageRow+` WHERE m.site_id = ANY(@sites) AND (@state = '' OR m.state = @state) AND (@kind = '' OR m.kind = @kind)
			AND (@account = '' OR m.account_id = @account) AND m.queued_at >= @since
			AND (@text = '' OR position(lower(@text) IN lower(concat_ws(' ', m.id, m.account_id, m.phone, c.name, m.provider_no))) > 0)
		ORDER BY m.queued_at DESC, length(m.id) DESC, m.id DESC LIMIT @limit OFFSET @offset`,
		pgx.NamedArgs{"sites": f.Sites, "state": f.State, "kind": f.Kind, "account": f.Account, "text": f.Text, "since": f.Since, "limit": limit, "offset": offset})
	return unwrap(rows, func(m countedMessage) (MessageRow, int) { return m.MessageRow, m.Total })
}

const selectMessageRow = `SELECT m.id, m.site_id, m.account_id, m.kind, m.cause, m.phone, m.body, m.state, coalesce(m.provider_no, '') AS provider_no,
		m.queued_at, m.sent_at, m.delivered_at, m.error, c.name AS customer, count(*) OVER ()::int AS total
	FROM messages m JOIN accounts a ON a.id = m.account_id JOIN customers c ON c.id = a.customer_id`

// MessageRow reads one message with the name of its customer.
func (s *Store) MessageRow(ctx context.Context, id billing.MessageID) (MessageRow, error) {
	rows, _ := s.Pool.Query(ctx, selectMessageRow+` WHERE m.id = $1`, id)
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[countedMessage])
	return m.MessageRow, translate(err)
}

// Number is the number of what caused the message: a recharge, an arrears case, a cut or a restore.
func (m Message) Number() string { return causeNumber(m.Cause) }
