package demo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// refundEvery is how often a customer asks for money back, in days.
const refundEvery = 6

// refundCredit lets the customer with the most credit ask for a part of it back: a clerk holds it back until the manager has decided.
func (c *Crew) refundCredit(ctx context.Context, now time.Time) (int, error) {
	day := firstDay.DaysUntil(billing.DateOf(now, zone))
	request := fmt.Sprintf("RF-%02d", day)
	if day < 3 || day%refundEvery != 3 {
		return 0, nil
	}
	var account billing.AccountID
	err := c.store.Pool.QueryRow(ctx, `SELECT a.id FROM accounts a JOIN balances b ON b.account_id = a.id
		WHERE a.site_id = $1 AND a.credit_mode = 'platform' AND NOT EXISTS (SELECT 1 FROM holds WHERE subject = $2) ORDER BY b.balance_fen - b.held_fen DESC, a.id LIMIT 1`,
		Garden, request).Scan(&account)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil || !c.due("refund/"+request, now) {
		return 0, err
	}
	hold := func(amount string) error {
		return c.office.post(ctx, clerk(day), "/api/v1/accounts/"+url.PathEscape(string(account))+"/holds", map[string]any{
			"amount": amount, "purpose": "refund", "subject": request, "expires_at": now.Add(3 * 24 * time.Hour), "reason": "用户申请退款（The customer asks for money back）",
		}, nil)
	}
	if err := c.mustRefuse(hold("99999999.00"), "a hold of more than there is"); err != nil {
		return 0, err
	}
	return c.outcome("refund/"+request, now, hold("30.00"))
}

// settleRefunds lets people decide on a refund the next day: one is approved by a supervisor and paid out in part by the manager, one released,
// one forgotten until it expires.
func (c *Crew) settleRefunds(ctx context.Context, now time.Time) (did int, err error) {
	rows, _ := c.store.Pool.Query(ctx, `SELECT id, placed_by, placed_at, coalesce(approved_by, '') FROM holds WHERE state = 'open' AND purpose = 'refund' AND placed_at < $1 ORDER BY id`, now.Add(-20*time.Hour))
	type waiting struct {
		ID         string
		PlacedBy   billing.UserID
		PlacedAt   time.Time
		ApprovedBy billing.UserID
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[waiting])
	if err != nil {
		return 0, err
	}
	for _, h := range all {
		turn := firstDay.DaysUntil(billing.DateOf(h.PlacedAt, zone)) / refundEvery % 3
		if turn == 2 || !c.due("hold/"+h.ID, now) {
			continue
		}
		settle, path := map[string]string{"amount": "25.00", "channel": "transfer", "reason": "已核实，退 25 元（Checked: 25 yuan are due）"}, "/post"
		if turn == 1 {
			settle, path = map[string]string{"reason": "用户撤回申请（The customer withdrew the request）"}, "/void"
		}
		if err := c.mustRefuse(c.office.post(ctx, h.PlacedBy, "/api/v1/holds/"+h.ID+path, settle, nil), "settling a hold by the clerk who placed it"); err != nil {
			return did, err
		}
		if turn == 0 && h.ApprovedBy == "" {
			n, err := c.approveRefund(ctx, now, h.ID, settle)
			did += n
			if n == 0 || err != nil {
				return did, err
			}
		}
		by := billing.UserID("manager1")
		if h.ApprovedBy == by { // somebody who tries the demo approved it under this name
			by = "supervisor1"
		}
		n, err := c.outcome("hold/"+h.ID, now, c.office.post(ctx, by, "/api/v1/holds/"+h.ID+path, settle, nil))
		did += n
		if err != nil {
			return did, err
		}
	}
	return did, nil
}

// approveRefund lets a supervisor approve a refund. Before that nobody can pay it out, and afterwards this supervisor can't.
func (c *Crew) approveRefund(ctx context.Context, now time.Time, hold string, settle map[string]string) (int, error) {
	path := "/api/v1/holds/" + hold
	if err := c.mustRefuse(c.office.post(ctx, "manager1", path+"/post", settle, nil), "paying out a hold that nobody approved"); err != nil {
		return 0, err
	}
	n, err := c.outcome("hold/"+hold, now, c.office.post(ctx, "supervisor1", path+"/approve", map[string]string{"reason": "已核实（Checked）"}, nil))
	if n == 0 {
		return n, err
	}
	return n, c.mustRefuse(c.office.post(ctx, "supervisor1", path+"/post", settle, nil), "paying out a hold by who approved it")
}
