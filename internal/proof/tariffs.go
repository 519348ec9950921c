package proof

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// threePersonsPriced: nobody who wrote in a published change of prices approved it, and the two approvals are of two persons. What is
// published is what they approved.
func (c *checker) threePersonsPriced(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT count(*) FROM tariff_changes WHERE state IN ('published', 'in_force')`); err != nil {
		return err
	}
	if err := c.none(ctx, inv, `SELECT format('price change %s: written by %s, approved by %s and %s', id, array_to_string(editors, ', '), coalesce(approved1_by, 'nobody'), coalesce(approved2_by, 'nobody'))
		FROM tariff_changes WHERE state IN ('published', 'in_force')
		AND NOT coalesce(approved1_by <> approved2_by AND NOT approved1_by = ANY (editors) AND NOT approved2_by = ANY (editors), false)`); err != nil {
		return err
	}
	return c.none(ctx, inv, `SELECT format('tariff %s from %s on: what is published is not what change %s says', c.tariff_id, c.from_day, c.id)
		FROM tariff_changes c LEFT JOIN tariff_versions v ON v.change_id = c.id
		WHERE c.state IN ('published', 'in_force') AND (v.version IS DISTINCT FROM c.version OR v.tariff_id <> c.tariff_id OR v.published_at >= c.from_day::timestamp AT TIME ZONE 'Asia/Shanghai')`)
}

// pricesAreHeld: a meter whose newest prices we call verified holds these prices, by its own record.
func (c *checker) pricesAreHeld(ctx context.Context, inv *Invariant) error {
	rows, _ := c.tx.Query(ctx, `SELECT DISTINCT ON (p.meter_id) p.id, m.serial, p.state, p.prices FROM tariff_pushes p JOIN meters m ON m.id = p.meter_id
		WHERE p.state <> 'waiting' ORDER BY p.meter_id, p.due_at DESC`)
	type push struct {
		ID, Serial, State string
		Prices            []int64
	}
	pushes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[push])
	if err != nil {
		return err
	}
	for _, p := range pushes {
		if p.State != "verified" {
			continue
		}
		inv.check(1)
		var held []int64
		for _, e := range c.record[p.Serial] {
			if e.State != nil {
				held = e.State.PricesE8[:]
			}
		}
		if !slices.Equal(held, p.Prices) {
			inv.violate("prices %s are verified as %v; the meter holds %v", p.ID, p.Prices, held)
		}
	}
	return nil
}
