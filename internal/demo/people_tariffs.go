package demo

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
	"github.com/meterflow/meterflow/internal/store"
)

// The month's change of prices: drafted on one day, in force on another inside the month, so that a bill is split there and the shops'
// meters get other prices. The plaza re-sells power and has a ceiling; one draft is above it.
const (
	priceCeilingDay = 1
	priceDraftDay   = 8
	priceFirstDay   = 19 // 20 September
	markUpDay       = 10
	plazaCeiling    = "1.60"
)

// newPrices are the plaza's from priceFirstDay on: about one in a hundred more. Meters hold four decimals.
var newPrices = map[billing.Register]string{
	billing.Sharp: "1.4453", billing.Peak: "1.2044", billing.Flat: "0.7085", billing.Valley: "0.248", billing.DeepValley: "0.1984",
}

// Why the administrator changes prices.
const (
	priceGround  = "发改委 2026 年第 9 号通知，代理购电价格调整（Notice 9/2026: the price of purchased power）"
	markUpGround = "商户单一价拟上调（A higher single price for shops）"
)

// changePrices lets the manager set the plaza's ceiling, the administrator draft the month's change and one above the ceiling, and two
// others approve what was submitted.
func (c *Crew) changePrices(ctx context.Context, now time.Time) (int, error) {
	for _, step := range []func(context.Context, time.Time) (int, error){c.setCeiling, c.draftPrices, c.submitPrices, c.approvePrices} {
		if did, err := step(ctx, now); did > 0 || err != nil {
			return did, err
		}
	}
	return 0, nil
}

func (c *Crew) setCeiling(ctx context.Context, now time.Time) (int, error) {
	const item = "ceiling"
	set, err := c.there(ctx, `SELECT EXISTS (SELECT 1 FROM price_ceilings)`)
	if err != nil || set || now.Before(at(priceCeilingDay, 0, 0)) || !c.due(item, now) {
		return 0, err
	}
	body := map[string]string{"service": "power", "from": firstDay.AddDays(priceCeilingDay).String(), "price": plazaCeiling, "reason": "转供电不得加价（No mark-up on re-sold power）"}
	if err := c.mustRefuse(c.office.post(ctx, "admin1", "/api/v1/sites/"+string(Plaza)+"/price-ceilings", body, nil), "a ceiling set by who drafts prices"); err != nil {
		return 0, err
	}
	return c.outcome(item, now, c.office.post(ctx, "manager1", "/api/v1/sites/"+string(Plaza)+"/price-ceilings", body, nil))
}

func (c *Crew) there(ctx context.Context, sql string, args ...any) (yes bool, err error) {
	err = c.store.Pool.QueryRow(ctx, sql, args...).Scan(&yes)
	return yes, err
}

// draftPrices drafts the two changes, each once.
func (c *Crew) draftPrices(ctx context.Context, now time.Time) (int, error) {
	for _, d := range []struct {
		tariff billing.TariffID
		day    int
		why    string
		price  func(billing.Component) billing.Component
	}{
		{tariffdata.CommercialTOU, priceDraftDay, priceGround, repriced},
		{tariffdata.CommercialFlat, markUpDay, markUpGround, markedUp},
	} {
		item := "draft/" + string(d.tariff)
		drafted, err := c.there(ctx, `SELECT EXISTS (SELECT 1 FROM tariff_changes WHERE tariff_id = $1)`, d.tariff)
		if err != nil {
			return 0, err
		}
		if drafted || now.Before(at(d.day, 0, 0)) || !c.due(item, now) {
			continue
		}
		tariff, err := c.store.Tariff(ctx, d.tariff)
		if err != nil {
			return 0, err
		}
		v := tariff.Versions[len(tariff.Versions)-1]
		v.From, v.Components = firstDay.AddDays(priceFirstDay), nil
		for _, component := range tariff.Versions[len(tariff.Versions)-1].Components {
			v.Components = append(v.Components, d.price(component))
		}
		tariff.Versions = []billing.TariffVersion{v}
		return c.outcome(item, now, c.office.post(ctx, "admin1", "/api/v1/tariff-changes", map[string]any{"file": tariff, "why": d.why}, nil))
	}
	return 0, nil
}

// repriced is a component at the month's new prices.
func repriced(c billing.Component) billing.Component {
	if c.Kind != billing.KindBands {
		return c
	}
	c.Bands = nil
	for _, r := range billing.Bands {
		price := billing.MustPrice(newPrices[r])
		c.Bands = append(c.Bands, billing.BandPrice{Register: r, Price: &price})
	}
	return c
}

// markedUp is a single price above the plaza's ceiling.
func markedUp(c billing.Component) billing.Component {
	if c.Kind == billing.KindFlat {
		price := billing.MustPrice("1.85")
		c.Price = &price
	}
	return c
}

// submitPrices simulates drafts and submits them. The one above the ceiling is refused, and withdrawn.
func (c *Crew) submitPrices(ctx context.Context, now time.Time) (int, error) {
	changes, err := c.changesIn(ctx, "draft")
	if err != nil {
		return 0, err
	}
	for _, change := range changes {
		path, item := "/api/v1/tariff-changes/"+string(change.ID), "submit/"+string(change.ID)
		if !c.due(item, now) {
			continue
		}
		simulated, err := c.there(ctx, `SELECT EXISTS (SELECT 1 FROM tariff_simulations WHERE change_id = $1 AND revision = $2 AND state = 'done')`, change.ID, change.Revision)
		if err != nil {
			return 0, err
		}
		if !simulated {
			return c.outcome(item, now, c.office.post(ctx, "admin1", path+"/simulate", map[string]any{}, nil))
		}
		body := map[string]any{"revision": change.Revision}
		if change.Tariff == tariffdata.CommercialFlat {
			if err := c.mustRefuse(c.office.post(ctx, "admin1", path+"/submit", body, nil), "prices above the plaza's ceiling"); err != nil {
				return 0, err
			}
			body["reason"] = "超过广场价格上限，撤回（Above the plaza's ceiling）"
			return c.outcome(item, now, c.office.post(ctx, "admin1", path+"/withdraw", body, nil))
		}
		return c.outcome(item, now, c.office.post(ctx, "admin1", path+"/submit", body, nil))
	}
	return 0, nil
}

// approvePrices lets a supervisor and then the manager approve. The maker and the first approver try the next approval too.
func (c *Crew) approvePrices(ctx context.Context, now time.Time) (int, error) {
	changes, err := c.changesIn(ctx, "submitted", "approved_once")
	if err != nil {
		return 0, err
	}
	for _, change := range changes {
		item := "approve/" + string(change.ID) + "/" + string(change.Approved1By)
		if !c.due(item, now) {
			continue
		}
		path, body := "/api/v1/tariff-changes/"+string(change.ID)+"/approve", map[string]any{"revision": change.Revision}
		forbidden, next := change.MadeBy, billing.UserID("supervisor1")
		if change.Approved1By != "" {
			forbidden, next = change.Approved1By, "manager1"
		}
		if err := c.mustRefuse(c.office.post(ctx, forbidden, path, body, nil), "approval of "+string(change.ID)+" by "+string(forbidden)); err != nil {
			return 0, err
		}
		return c.outcome(item, now, c.office.post(ctx, next, path, body, nil))
	}
	return 0, nil
}

// changesIn are the changes of prices in some states, by number.
func (c *Crew) changesIn(ctx context.Context, states ...string) ([]store.TariffChange, error) {
	rows, _ := c.store.Pool.Query(ctx, `SELECT id FROM tariff_changes WHERE state = ANY($1) ORDER BY length(id), id`, states)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.TariffChangeID])
	if err != nil {
		return nil, err
	}
	var changes []store.TariffChange
	for _, id := range ids {
		change, err := c.store.TariffChange(ctx, id)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
	return changes, nil
}
