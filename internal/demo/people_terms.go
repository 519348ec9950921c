package demo

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// enterQuantities lets a supervisor enter the reactive energy and the demand of a month for bills that are held without them, and
// release those bills.
func (c *Crew) enterQuantities(ctx context.Context, now time.Time) (did int, err error) {
	rows, _ := c.store.Pool.Query(ctx, `SELECT b.id, b.account_id, to_char(b.period_from, 'YYYY-MM') FROM bills b JOIN billing_runs r ON r.id = b.run_id
		WHERE b.state = 'held' AND b.hold_reason LIKE '%is not on file%' AND r.state = 'awaiting_verification' ORDER BY b.id`)
	type held struct {
		Bill    string
		Account billing.AccountID
		Month   string
	}
	bills, err := pgx.CollectRows(rows, pgx.RowToStructByPos[held])
	if err != nil {
		return 0, err
	}
	for _, b := range bills {
		item := "quantities/" + b.Bill
		if !c.due(item, now) {
			continue
		}
		n, err := c.outcome(item, now, c.enterAndRelease(ctx, b.Bill, b.Account, b.Month))
		did += n
		if err != nil {
			return did, err
		}
	}
	return did, nil
}

func (c *Crew) enterAndRelease(ctx context.Context, bill string, account billing.AccountID, month string) error {
	p := c.utility.at(account)
	if p == nil {
		return nil
	}
	// Four kvarh for ten kWh, as a shop with motors has them, make a power factor of 0.93.
	kvarh := p.Service.Quantity(p.uses[30].Total() * max(1, p.Spec.Ratio) * 4 / 10)
	for kind, value := range map[string]string{"kvarh": kvarh.String(), "demand_kw": fmt.Sprintf("%d.4", max(5, p.Agreed.DemandKW-1))} {
		err := c.office.post(ctx, "supervisor1", "/api/v1/accounts/"+url.PathEscape(string(account))+"/quantities", map[string]string{
			"month": month, "kind": kind, "value": value, "reason": "抄见无功及需量示数（Read at the meter）",
		}, nil)
		if err != nil {
			return err
		}
	}
	return c.office.post(ctx, "supervisor1", "/api/v1/bills/"+url.PathEscape(bill)+"/release", map[string]string{"reason": "无功与需量已录入（Quantities entered）"}, nil)
}
