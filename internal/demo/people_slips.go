package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// trySlips lets a clerk, once a week, make the mistakes that a counter sees: each must be refused and change nothing.
func (c *Crew) trySlips(ctx context.Context, now time.Time) (int, error) {
	day := firstDay.DaysUntil(billing.DateOf(now, zone))
	if day < 2 || day%7 != 2 || c.slipped[day] {
		return 0, nil
	}
	c.slipped[day] = true
	p := c.utility.Premises[0]
	slip := func(n int) payment {
		return payment{Account: p.Account, Channel: "cash", Evidence: fmt.Sprintf("SLIP-%d-%d", day, n), Key: fmt.Sprintf("demo/slip/%d/%d", day, n), By: clerk(day)}
	}
	for n, amount := range []string{"0", "-20.00", "10.005", "zehn"} {
		if err := c.mustRefuse(c.enterText(ctx, slip(n), amount, nil), "a recharge of "+amount); err != nil {
			return 0, err
		}
	}
	unknown := slip(9)
	unknown.Account = "A9999999"
	if err := c.mustRefuse(c.enterText(ctx, unknown, "20.00", nil), "a recharge of an account that doesn't exist"); err != nil {
		return 0, err
	}
	return 0, c.useSlipTwice(ctx, slip(10))
}

// useSlipTwice brings a bank slip to the counter that has paid already.
func (c *Crew) useSlipTwice(ctx context.Context, p payment) error {
	err := c.store.Pool.QueryRow(ctx, `SELECT account_id, evidence FROM recharges WHERE state = 'credited' AND channel = 'transfer' ORDER BY id LIMIT 1`).Scan(&p.Account, &p.Evidence)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	p.Channel = "transfer"
	return c.mustRefuse(c.enterText(ctx, p, "50.00", nil), "a second recharge on bank slip "+p.Evidence)
}

// protectionEnds is the day on which one protection is ended before its time, by three persons.
const protectionEnds = 14

// endProtection ends the protection of one shop whose cold store has been emptied. Two persons are refused.
func (c *Crew) endProtection(ctx context.Context, now time.Time) (int, error) {
	if now.Before(at(protectionEnds, 0, 0)) {
		return 0, nil
	}
	var id int64
	err := c.store.Pool.QueryRow(ctx, `SELECT p.id FROM protections p JOIN accounts a ON a.id = p.account_id
		WHERE a.site_id = $1 AND p.kind = 'keep_power' AND p.ended_at IS NULL
		AND NOT EXISTS (SELECT 1 FROM protections WHERE ended_at IS NOT NULL) ORDER BY p.id DESC LIMIT 1`, Plaza).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	item := fmt.Sprint("protection/", id)
	if err != nil || !c.due(item, now) {
		return 0, err
	}
	if err := c.mustRefuse(c.endProtectionBy(ctx, "manager1", id, "supervisor1", "supervisor1"), "the end of a protection by two persons"); err != nil {
		return 0, err
	}
	return c.outcome(item, now, c.endProtectionBy(ctx, "manager1", id, "supervisor1", "supervisor2"))
}
