package demo

import (
	"context"
	"fmt"
	"net/url"

	"github.com/meterflow/meterflow/internal/billing"
)

// The operations of the API that people use.

// enteredRecharge is what the API says of a new recharge.
type enteredRecharge struct {
	ID billing.RechargeID `json:"id"`
}

// enter takes a payment. out may be nil.
func (c *Crew) enter(ctx context.Context, p payment, out *enteredRecharge) error {
	return c.enterText(ctx, p, p.Amount.String(), out)
}

// enterText is enter with the amount as it was typed.
func (c *Crew) enterText(ctx context.Context, p payment, amount string, out *enteredRecharge) error {
	body := map[string]string{
		"account": string(p.Account), "amount": amount, "channel": p.Channel, "evidence": p.Evidence, "idempotency_key": p.Key,
	}
	if out == nil {
		return c.office.post(ctx, p.By, "/api/v1/recharges", body, nil)
	}
	return c.office.post(ctx, p.By, "/api/v1/recharges", body, out)
}

func (c *Crew) approve(ctx context.Context, by billing.UserID, id billing.RechargeID) error {
	return c.office.post(ctx, by, "/api/v1/recharges/"+url.PathEscape(string(id))+"/approve", map[string]string{}, nil)
}

func (c *Crew) reject(ctx context.Context, by billing.UserID, id billing.RechargeID, reason string) error {
	return c.office.post(ctx, by, "/api/v1/recharges/"+url.PathEscape(string(id))+"/reject", map[string]string{"reason": reason}, nil)
}

func (c *Crew) decide(ctx context.Context, by billing.UserID, id billing.CaseID, d decision) error {
	body := map[string]any{"decision": d.What, "reason": d.Reason}
	if len(d.Values) > 0 {
		type value struct {
			Meter     billing.MeterID   `json:"meter"`
			Registers billing.Registers `json:"registers"`
		}
		var values []value
		for meter, registers := range d.Values {
			values = append(values, value{meter, registers})
		}
		body["values"] = values
	}
	if e := d.Exchange; e != nil {
		body["exchange"] = map[string]any{"closing": e.Closing, "new_meter": e.NewMeter, "serial": e.NewSerial, "opening": e.Opening}
	}
	return c.office.post(ctx, by, "/api/v1/cases/"+url.PathEscape(string(id))+"/decision", body, nil)
}

func (c *Crew) verifyRun(ctx context.Context, by billing.UserID, id string) error {
	return c.office.post(ctx, by, "/api/v1/runs/"+id+"/verify", map[string]string{}, nil)
}

func (c *Crew) issueRun(ctx context.Context, by billing.UserID, id string) error {
	return c.office.post(ctx, by, "/api/v1/runs/"+id+"/issue", map[string]string{}, nil)
}

func (c *Crew) approveCut(ctx context.Context, by billing.UserID, id string) error {
	return c.office.post(ctx, by, "/api/v1/cutoffs/"+url.PathEscape(id)+"/approve", map[string]string{}, nil)
}

func (c *Crew) endProtectionBy(ctx context.Context, by billing.UserID, id int64, second, third billing.UserID) error {
	return c.office.post(ctx, by, fmt.Sprintf("/api/v1/protections/%d/end", id), map[string]string{
		"reason": "冷库已清空，保电提前结束（The cold store was emptied）", "second_user": string(second), "second_password": Password,
		"third_user": string(third), "third_password": Password,
	}, nil)
}
