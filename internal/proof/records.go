package proof

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/journal"
)

// cycleComplete: every meter in every closed cycle has a reading or an exception, and no meter that was fitted was left out.
func (c *checker) cycleComplete(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT count(*) FROM cycle_meters m JOIN cycles c ON c.id = m.cycle_id WHERE c.state = 'closed'`); err != nil {
		return err
	}
	if err := c.none(ctx, inv, `SELECT format('cycle %s: meter %s has neither a reading nor an exception', c.id, m.meter_id)
		FROM cycles c JOIN cycle_meters m ON m.cycle_id = c.id WHERE c.state = 'closed'
		AND NOT EXISTS (SELECT 1 FROM readings r WHERE r.meter_id = m.meter_id AND r.freeze_at = c.freeze_at)
		AND NOT EXISTS (SELECT 1 FROM case_members x WHERE x.meter_id = m.meter_id AND x.freeze_at = c.freeze_at)`); err != nil {
		return err
	}
	return c.none(ctx, inv, `SELECT format('cycle %s: meter %s was fitted and is not in the cycle', c.id, f.meter_id)
		FROM cycles c JOIN meters m ON m.site_id = c.site_id JOIN fittings f ON f.meter_id = m.id
		WHERE c.state = 'closed' AND f.from_at <= c.freeze_at AND (f.to_at IS NULL OR f.to_at > c.closed_at)
		AND NOT EXISTS (SELECT 1 FROM cycle_meters x WHERE x.cycle_id = c.id AND x.meter_id = f.meter_id)`)
}

// stateTables are the tables whose rows have a state, with the journal kind that records it.
var stateTables = []struct{ kind, table, id string }{
	{"cycle", "cycles", "id"}, {"case", "cases", "id"}, {"charge_run", "charge_runs", "cycle_id"}, {"run", "billing_runs", "id"},
	{"recharge", "recharges", "id"}, {"command", "commands", "id"}, {"reminder", "reminders", "id"},
	{"cutoff", "cutoffs", "id"}, {"restore", "restores", "id"}, {"message", "messages", "id"}, {"supply", "supplies", "account_id"},
	{"meter", "meters", "id"}, {"hold", "holds", "id"}, {"tariff_change", "tariff_changes", "id"},
	{"price_push", "tariff_pushes", "id"}, {"correction", "corrections", "id"}, {"batch", "batches", "id"},
	{"exchange", "exchanges", "id"}, {"adjustment", "adjustments", "id"}, {"payment_plan", "payment_plans", "id"},
}

// journalComplete: every state in the tables has its journal row, and the chains verify.
func (c *checker) journalComplete(ctx context.Context, inv *Invariant) error {
	if err := c.chainsHold(ctx, inv); err != nil {
		return err
	}
	if err := c.billsJournaled(ctx, inv); err != nil {
		return err
	}
	for _, t := range stateTables {
		if err := c.count(ctx, inv, `SELECT count(*) FROM `+t.table); err != nil {
			return err
		}
		sql := fmt.Sprintf(`SELECT format('%[1]s %%s is %%s; its last journal row says %%s', t.%[3]s, t.state, coalesce(nullif(j.to_state, ''), 'nothing'))
			FROM %[2]s t LEFT JOIN LATERAL (SELECT to_state FROM journal j WHERE j.chain = '%[1]s/' || t.%[3]s AND j.to_state <> '' ORDER BY seq DESC LIMIT 1) j ON true
			WHERE j.to_state IS DISTINCT FROM t.state`, t.kind, t.table, t.id)
		if err := c.none(ctx, inv, sql); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) chainsHold(ctx context.Context, inv *Invariant) error {
	check := journal.NewChecker()
	rows, err := c.tx.Query(ctx, `SELECT id, site_id, chain, seq, event, from_state, to_state, actor, reason, workflow_id, run_id,
		business_at, real_at, refs, data::text, prev_hash, hash FROM journal ORDER BY chain, seq`)
	if err != nil {
		return err
	}
	var r journal.Row
	last := map[string]string{}
	_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.Site, &r.Chain, &r.Seq, &r.Event, &r.From, &r.To, &r.Actor, &r.Reason, &r.WorkflowID, &r.RunID,
		&r.BusinessAt, &r.RealAt, &r.Refs, &r.Data, &r.PrevHash, &r.Hash}, func() error {
		check.Add(r)
		// A chain's states must join up: a state that nobody journaled shows as a jump. Those of bills do so over several chains.
		if r.To != "" && !strings.HasPrefix(r.Chain, "bill/") && !strings.HasPrefix(r.Chain, "bills/") && r.From != last[r.Chain] && !strings.HasPrefix(r.Chain, "meter/") {
			inv.violate("%s: row %d goes from %q, but the row before ended in %q", r.Chain, r.Seq, r.From, last[r.Chain])
		}
		if r.To != "" {
			last[r.Chain] = r.To
		}
		return nil
	})
	if err != nil {
		return err
	}
	rows, err = c.tx.Query(ctx, `SELECT chain, seq, hash FROM journal_heads`)
	if err != nil {
		return err
	}
	var h journal.Head
	if _, err = pgx.ForEachRow(rows, []any{&h.Chain, &h.Seq, &h.Hash}, func() error {
		check.Head(h.Chain, h.Seq, h.Hash)
		return nil
	}); err != nil {
		return err
	}
	n, _, first := check.Result()
	inv.check(n)
	if first != nil {
		inv.violate("%s", first)
	}
	return nil
}
