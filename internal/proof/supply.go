package proof

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/devices/simulator"
)

// verifiedWasTrue: every supply state that we call verified was what the simulated relay or valve was at the instant of the read-back.
func (c *checker) verifiedWasTrue(ctx context.Context, inv *Invariant) error {
	rows, _ := c.tx.Query(ctx, `SELECT c.id, c.kind, m.serial, coalesce(c.readback, ''), c.readback_real
		FROM commands c JOIN meters m ON m.id = c.meter_id WHERE c.kind IN ('trip', 'close', 'allow_close', 'keep_on', 'release') AND c.state = 'verified'`)
	type command struct {
		ID, Kind, Serial, Readback string
		At                         *time.Time
	}
	verified, err := pgx.CollectRows(rows, pgx.RowToStructByPos[command])
	if err != nil {
		return err
	}
	if err := c.pricesAreHeld(ctx, inv); err != nil {
		return err
	}
	for _, v := range verified {
		inv.check(1)
		if v.At == nil {
			inv.violate("command %s (%s) is verified without a read-back", v.ID, v.Kind)
			continue
		}
		was, known := simulator.RelayAt(c.record[v.Serial], v.Serial, *v.At)
		switch {
		case known && v.Kind == "allow_close" && v.Readback == "allowed":
			if !simulator.ClosingAllowedAt(c.record[v.Serial], v.Serial, *v.At) {
				inv.violate("command %s of meter %s read back that closing is allowed; the relay was %q, and no button closed it", v.ID, v.Serial, was)
			}
		case !known:
			inv.violate("command %s: the record of meter %s doesn't reach back to its read-back", v.ID, v.Serial)
		case string(was) != v.Readback:
			inv.violate("command %s (%s) of meter %s read back %q; the relay was %q", v.ID, v.Kind, v.Serial, v.Readback, was)
		case (v.Kind == "trip") != (was == simulator.SupplyOff) && v.Kind != "release":
			inv.violate("command %s (%s) of meter %s is verified though the relay was %q", v.ID, v.Kind, v.Serial, was)
		}
	}
	return nil
}

// cut is one interruption of supply as the meters themselves remember it.
type cut struct {
	serial string
	at     time.Time // business
	own    bool      // the meter tripped by itself
}

// noWrongCut: nobody protected, nobody inside a no-cut window, nobody without a delivered final notice, nobody on a doubtful or
// estimated reading, nobody whose contract agrees to no cut, nobody who owed only what a payment plan lets them pay later was cut, by us or by a meter on its own. What counts as a cut is what the meters remember, not what we wrote down.
func (c *checker) noWrongCut(ctx context.Context, inv *Invariant) error {
	windows, err := c.loadWindows(ctx)
	if err != nil {
		return err
	}
	for serial, entries := range c.record {
		for _, e := range entries {
			if e.Kind != simulator.EntryTrip && e.Kind != simulator.EntrySelfTrip {
				continue
			}
			// A trip that a stuck relay didn't follow cut nobody, but it was ordered, so it is judged all the same.
			inv.check(1)
			if err := c.judge(ctx, inv, windows, cut{serial, e.Business, e.Kind == simulator.EntrySelfTrip}); err != nil {
				return err
			}
		}
	}
	return nil
}

type facts struct {
	Account, Site, Zone string
	Protected           bool
	LifeSupport         bool
	FinalNotice         bool
	ReadingOK           bool
	ReadingAt           *time.Time
	LaterDue            bool
	NoCutAgreed         bool
}

func (c *checker) judge(ctx context.Context, inv *Invariant, w windows, k cut) error {
	rows, _ := c.tx.Query(ctx, `
		SELECT a.id, a.site_id, s.time_zone,
			EXISTS (SELECT 1 FROM protections p WHERE p.account_id = a.id AND p.from_at <= $2 AND p.until_at > $2 AND (p.ended_at IS NULL OR p.ended_at > $2)),
			u.life_support,
			EXISTS (SELECT 1 FROM messages g JOIN reminders n ON g.cause LIKE n.id || '/%' WHERE n.account_id = a.id AND g.kind = 'final' AND g.state = 'delivered'
				AND g.delivered_at <= $2 AND n.cut_at <= $2 AND (n.closed_at IS NULL OR n.closed_at >= $2)),
			coalesce(r.quality IN ('actual', 'manual') AND NOT r.doubtful, false), r.freeze_at,
			-- With what payment plans left to be paid later then, the account stood above its limit; by the books and the parts alone.
			coalesce(y.fen, 0) > 0 AND coalesce(y.fen, 0) - coalesce((SELECT sum(p.amount_fen) FROM ledger_postings p JOIN ledger_entries e ON e.id = p.entry_id
				WHERE p.code = 'customer/' || a.id AND e.business_at <= $2), 0) > a.cut_limit_fen,
			-- By the terms that were on record then: what a correction says later of that day accuses nobody.
			NOT a.prepaid_contract OR coalesce((SELECT t.arrears_contract FROM account_terms t WHERE t.account_id = a.id AND t.recorded_at <= $2
				AND t.from_day <= ($2 AT TIME ZONE s.time_zone)::date ORDER BY t.from_day DESC, t.version DESC LIMIT 1), false)
		FROM meters m
		JOIN fittings f ON f.meter_id = m.id AND f.from_at <= $2 AND (f.to_at IS NULL OR f.to_at > $2)
		JOIN accounts a ON a.service_point_id = f.service_point_id JOIN sites s ON s.id = a.site_id JOIN customers u ON u.id = a.customer_id
		LEFT JOIN LATERAL (SELECT quality, doubtful, freeze_at FROM readings r WHERE r.meter_id = m.id AND r.freeze_at <= $2 AND r.taken_at <= $2
			ORDER BY r.freeze_at DESC, r.version DESC LIMIT 1) r ON true
		LEFT JOIN LATERAL (SELECT sum(y.total_fen - coalesce((SELECT sum(amount_fen) FROM payment_plan_parts q WHERE q.plan_id = y.id AND q.fell_at <= $2), 0))::bigint AS fen
			FROM payment_plans y WHERE y.account_id = a.id AND y.proposed_at <= $2 AND (y.ended_at IS NULL OR y.ended_at > $2)) y ON true
		WHERE m.serial = $1`, k.serial, k.at)
	who, err := pgx.CollectRows(rows, pgx.RowToStructByPos[facts])
	if err != nil {
		return err
	}
	if len(who) != 1 {
		inv.violate("meter %s was cut at %s and %d accounts are behind it", k.serial, k.at.Format(time.RFC3339), len(who))
		return nil
	}
	f := who[0]
	by := "by us"
	if k.own {
		by = "by its own trip"
	}
	say := func(what string) {
		inv.violate("account %s (meter %s) was cut %s at %s: %s", f.Account, k.serial, by, k.at.Format(time.RFC3339), what)
	}
	if f.Protected || f.LifeSupport {
		say("it was protected")
	}
	if closed, why := w.closedAt(f.Site, f.Zone, k.at); closed {
		say("it was inside a no-cut window (" + why + ")")
	}
	if f.LaterDue {
		say("what it owed was to be paid in monthly parts later")
	}
	if f.NoCutAgreed {
		say("its contract agrees to no cut")
	}
	if !f.FinalNotice {
		say("no final notice had been delivered for that time")
	}
	if !f.ReadingOK {
		say("the last reading was doubtful, estimated or missing")
	}
	return nil
}

// windows are the sites' no-cut rules, read from their policy data and the calendar.
type windows struct {
	policy map[string]json.RawMessage
	off    map[string]bool // "2026-10-01" → a day off; false → a worked weekend day
}

func (c *checker) loadWindows(ctx context.Context) (windows, error) {
	w := windows{policy: map[string]json.RawMessage{}, off: map[string]bool{}}
	rows, err := c.tx.Query(ctx, `SELECT id, coalesce(policy->'supply', '{}') FROM sites`)
	if err != nil {
		return w, err
	}
	var site string
	var policy json.RawMessage
	if _, err := pgx.ForEachRow(rows, []any{&site, &policy}, func() error {
		w.policy[site] = append(json.RawMessage(nil), policy...)
		return nil
	}); err != nil {
		return w, err
	}
	rows, err = c.tx.Query(ctx, `SELECT day::text, off FROM calendar_days`)
	if err != nil {
		return w, err
	}
	var day string
	var off bool
	_, err = pgx.ForEachRow(rows, []any{&day, &off}, func() error {
		w.off[day] = off
		return nil
	})
	return w, err
}
