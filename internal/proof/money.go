package proof

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/devices/simulator"
)

// ledgerBalances: every transaction balances; every balance equals the sum of its postings; holds and closed days keep their word.
func (c *checker) ledgerBalances(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT (SELECT count(*) FROM ledger_entries) + (SELECT count(*) FROM balances)`); err != nil {
		return err
	}
	if err := c.none(ctx, inv, `SELECT format('entry %s sums to %s fen over %s postings', e.id, coalesce(sum(p.amount_fen), 0), count(p.entry_id))
		FROM ledger_entries e LEFT JOIN ledger_postings p ON p.entry_id = e.id
		GROUP BY e.id HAVING coalesce(sum(p.amount_fen), 0) <> 0 OR count(p.entry_id) < 2`); err != nil {
		return err
	}
	if err := c.revenueIsBilled(ctx, inv); err != nil {
		return err
	}
	if err := c.lateFeesHold(ctx, inv); err != nil {
		return err
	}
	if err := c.adjustmentsHold(ctx, inv); err != nil {
		return err
	}
	if err := c.plansAddUp(ctx, inv); err != nil {
		return err
	}
	if err := c.none(ctx, inv, `SELECT format('account %s: the balance row says %s fen, its postings %s', b.account_id, b.balance_fen, -coalesce(sum(p.amount_fen), 0))
		FROM balances b LEFT JOIN ledger_accounts a ON a.account_id = b.account_id LEFT JOIN ledger_postings p ON p.code = a.code
		GROUP BY b.account_id, b.balance_fen HAVING b.balance_fen <> -coalesce(sum(p.amount_fen), 0)`); err != nil {
		return err
	}
	if err := c.holdsAddUp(ctx, inv); err != nil {
		return err
	}
	return c.daysStayClosed(ctx, inv)
}

// plansAddUp: the parts of a payment plan that fell due, what is outstanding and what became due with its end are its total; no part is above
// the share of the lowest normal bill, unless the largest number of parts asks for it, nor do two fall due in one month; the total is what the charges in the books say the true-up was.
func (c *checker) plansAddUp(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT count(*) FROM payment_plans`); err != nil {
		return err
	}
	for _, sql := range []string{
		`SELECT format('payment plan %s of %s fen: %s fell due, %s are outstanding, %s became due at its end', y.id, y.total_fen, coalesce(sum(p.amount_fen), 0), y.outstanding_fen, y.early_fen)
			FROM payment_plans y LEFT JOIN payment_plan_parts p ON p.plan_id = y.id GROUP BY y.id HAVING coalesce(sum(p.amount_fen), 0) + y.outstanding_fen + y.early_fen <> y.total_fen`,
		`SELECT format('payment plan %s: parts of up to %s fen, the lowest bill %s comes to %s', y.id, greatest(y.part_fen, p.fen), b.id, b.total_fen - b.late_fen) FROM payment_plans y JOIN bills b ON b.id = y.lowest_bill
			LEFT JOIN LATERAL (SELECT max(amount_fen) AS fen FROM payment_plan_parts WHERE plan_id = y.id) p ON true
			WHERE greatest(y.part_fen, p.fen) * 100 > (b.total_fen - b.late_fen) * (y.rule ->> 'part_percent')::numeric
				AND greatest(y.part_fen, p.fen) > coalesce(ceil(y.total_fen / nullif((y.rule ->> 'max_parts')::numeric, 0)), 0) OR b.account_id <> y.account_id`,
		`SELECT format('payment plan %s of %s fen in parts of %s: more than %s parts', id, total_fen, part_fen, rule ->> 'max_parts') FROM payment_plans
			WHERE part_fen * nullif((rule ->> 'max_parts')::numeric, 0) < total_fen`,
		`SELECT format('account %s: %s parts fell due in %s', y.account_id, count(*), to_char(p.fell_at AT TIME ZONE s.time_zone, 'YYYY-MM')) FROM payment_plan_parts p JOIN payment_plans y ON y.id = p.plan_id
			JOIN sites s ON s.id = y.site_id GROUP BY y.account_id, to_char(p.fell_at AT TIME ZONE s.time_zone, 'YYYY-MM') HAVING count(*) > 1`,
		`SELECT format('payment plan %s of %s fen: the charge of its cycle is %s fen, of which its own time explains %s', y.id, y.total_fen, c.fen, x.usual) FROM payment_plans y
			CROSS JOIN LATERAL (SELECT sum(amount_fen) AS fen FROM charges WHERE account_id = y.account_id AND cycle_id = y.cycle_id) c
			CROSS JOIN LATERAL (SELECT floor(greatest((y.facts ->> 'estimated_fen')::numeric, 0) * (y.facts ->> 'charged_seconds')::numeric / (y.facts ->> 'estimated_seconds')::numeric + 0.5) AS usual) x
			WHERE c.fen - x.usual <> y.total_fen`,
	} {
		if err := c.none(ctx, inv, sql); err != nil {
			return err
		}
	}
	return nil
}

// PaymentPlans looks at payment plans alone, in the caller's transaction, and gives what it finds wrong.
func PaymentPlans(ctx context.Context, tx pgx.Tx) ([]string, error) {
	inv := Invariant{Name: LedgerBalances}
	err := (&checker{tx: tx}).plansAddUp(ctx, &inv)
	return inv.Details, err
}

// holdsAddUp: what is held back of a balance is its open holds; a hold that was posted took what its entry took, its amount at most, once,
// and by another person than who placed it.
func (c *checker) holdsAddUp(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT count(*) FROM holds`); err != nil {
		return err
	}
	if err := c.none(ctx, inv, `SELECT format('account %s: the balance row holds back %s fen, the open holds %s', b.account_id, b.held_fen, coalesce(sum(h.amount_fen), 0))
		FROM balances b LEFT JOIN holds h ON h.account_id = b.account_id AND h.state = 'open' GROUP BY b.account_id, b.held_fen HAVING b.held_fen <> coalesce(sum(h.amount_fen), 0)`); err != nil {
		return err
	}
	return c.none(ctx, inv, `SELECT format('hold %s (%s, %s of %s fen by %s and %s): its entries took %s fen', h.id, h.state, h.posted_fen, h.amount_fen, h.placed_by, h.settled_by, coalesce(sum(p.amount_fen), 0))
		FROM holds h LEFT JOIN ledger_entries e ON e.subject = h.id AND e.kind = 'hold_posted' LEFT JOIN ledger_postings p ON p.entry_id = e.id AND p.code = 'customer/' || h.account_id
		GROUP BY h.id HAVING coalesce(sum(p.amount_fen), 0) <> h.posted_fen OR h.posted_fen > h.amount_fen OR (h.state = 'posted') <> (h.posted_fen > 0)
			OR (h.state = 'posted' AND h.placed_by = h.settled_by AND h.placed_by <> 'workflow')`)
}

// daysStayClosed: closed days have no gap; nothing that was recorded after a day closed is dated on it or before; what a day says of each
// account is what its entries moved, and the running balances join up.
func (c *checker) daysStayClosed(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT count(*) FROM ledger_days`); err != nil {
		return err
	}
	for _, sql := range []string{
		`SELECT format('the closed days of %s have a gap before %s', site_id, day) FROM (
			SELECT site_id, day, lag(day) OVER (PARTITION BY site_id ORDER BY day) AS before FROM ledger_days) d WHERE before <> day - 1`,
		`SELECT format('entry %s was recorded after %s closed, and is dated %s', e.id, d.day, e.day) FROM ledger_days d
			JOIN ledger_entries e ON e.site_id = d.site_id AND e.day = d.day AND e.real_at > d.closed_real`,
		`SELECT format('entry %s is dated %s, before the first closed day of %s', e.id, e.day, e.site_id) FROM ledger_entries e
			JOIN (SELECT site_id, min(day) AS day FROM ledger_days GROUP BY site_id) f ON f.site_id = e.site_id AND e.day < f.day`,
		`SELECT format('on %s account %s moved by %s debit and %s credit; the closed day says %s and %s', coalesce(m.day, t.day), coalesce(m.code, t.code), m.debit, m.credit, t.debit_fen, t.credit_fen)
			FROM (SELECT e.day, p.code, sum(greatest(p.amount_fen, 0)) AS debit, -sum(least(p.amount_fen, 0)) AS credit
				FROM ledger_days d JOIN ledger_entries e ON e.site_id = d.site_id AND e.day = d.day JOIN ledger_postings p ON p.entry_id = e.id GROUP BY e.day, p.code) m
			FULL JOIN ledger_day_totals t ON t.code = m.code AND t.day = m.day WHERE m.debit IS DISTINCT FROM t.debit_fen OR m.credit IS DISTINCT FROM t.credit_fen`,
		`SELECT format('account %s stands at %s at the end of %s; its days add up to %s', code, balance_fen, day, running) FROM (
			SELECT code, day, balance_fen, sum(debit_fen - credit_fen) OVER (PARTITION BY code ORDER BY day) AS running FROM ledger_day_totals) t WHERE balance_fen <> running`,
		`SELECT format('day %s of %s: debits %s, credits %s, accounts %s', d.day, d.site_id, d.debit_fen, d.credit_fen, d.accounts) FROM ledger_days d
			LEFT JOIN ledger_day_totals t ON t.site_id = d.site_id AND t.day = d.day GROUP BY d.site_id, d.day
			HAVING d.debit_fen <> coalesce(sum(t.debit_fen), 0) OR d.credit_fen <> coalesce(sum(t.credit_fen), 0) OR d.accounts <> count(t.code)`,
	} {
		if err := c.none(ctx, inv, sql); err != nil {
			return err
		}
	}
	return nil
}

// creditedOnce: each recharge is credited exactly once, by one proved delivery where the meter holds the credit, and so is what an exchanged meter still held; per meter the simulator's accepted
// purchases equal the delivered recharges and carried-over credits in count and amount; one in doubt has an open exception.
func (c *checker) creditedOnce(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT count(*) FROM recharges`); err != nil {
		return err
	}
	// The customer's account moved by the amount exactly once for a credited recharge, and not at all for any other.
	if err := c.none(ctx, inv, `SELECT format('recharge %s (%s, %s fen) moved the customer''s credit by %s fen in %s entries', r.id, r.state, r.amount_fen, coalesce(-sum(p.amount_fen), 0), count(p.entry_id))
		FROM recharges r
		LEFT JOIN ledger_entries e ON e.subject = r.id
		LEFT JOIN ledger_accounts a ON a.account_id = r.account_id
		LEFT JOIN ledger_postings p ON p.entry_id = e.id AND p.code = a.code
		GROUP BY r.id HAVING
			(r.state = 'credited' AND (count(p.entry_id) <> 1 OR -sum(p.amount_fen) <> r.amount_fen))
			OR (r.state <> 'credited' AND count(p.entry_id) <> 0)`); err != nil {
		return err
	}
	if err := c.none(ctx, inv, `SELECT format('recharge %s is in doubt without an open exception', r.id) FROM recharges r
		WHERE r.state = 'in_doubt' AND NOT EXISTS (SELECT 1 FROM cases x WHERE x.recharge_id = r.id AND x.state = 'open')`); err != nil {
		return err
	}
	// To a meter that holds the credit, one delivery brought it and is proved.
	if err := c.none(ctx, inv, `SELECT format('recharge %s of %s fen to meter %s is credited, and %s of its deliveries are proved', r.id, r.amount_fen, r.meter_id, count(c.id)) FROM recharges r
		LEFT JOIN commands c ON c.kind = 'credit' AND c.state = 'verified' AND split_part(c.cause, '/', 1) = 'recharge' AND split_part(c.cause, '/', 2) = r.id
		WHERE r.state = 'credited' AND r.meter_id IS NOT NULL GROUP BY r.id HAVING count(c.id) <> 1`); err != nil {
		return err
	}
	if err := c.carriedOnce(ctx, inv); err != nil {
		return err
	}
	return c.purchasesMatch(ctx, inv)
}

// carriedOnce: what an exchanged meter still held, money or litres, is one proved delivery of that amount once it is called credited, and none
// before; it moves no money in the ledger; one in doubt has an open exception. Litres that go with the next recharge do so once.
func (c *checker) carriedOnce(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT count(*) FROM exchanges WHERE credit <> 'none'`); err != nil {
		return err
	}
	for _, sql := range []string{
		`SELECT format('exchange %s (%s): meter %s held %s, and %s deliveries of %s in all are proved', x.id, x.credit, x.old_meter_id, coalesce(x.remaining_fen || ' fen', x.remaining_litres || ' litres'),
				count(c.id), CASE WHEN x.remaining_litres IS NULL THEN coalesce(sum(c.amount_fen), 0) || ' fen' ELSE coalesce(sum(c.volume_litres), 0) || ' litres' END)
			FROM exchanges x LEFT JOIN commands c ON c.kind = 'credit' AND c.state = 'verified' AND split_part(c.cause, '/', 1) = 'exchange' AND split_part(c.cause, '/', 2) = x.id
			GROUP BY x.id HAVING count(c.id) <> CASE x.credit WHEN 'credited' THEN 1 ELSE 0 END OR coalesce(sum(c.amount_fen), 0) <> CASE x.credit WHEN 'credited' THEN coalesce(x.remaining_fen, 0) ELSE 0 END
				OR coalesce(sum(c.volume_litres), 0) <> CASE x.credit WHEN 'credited' THEN coalesce(x.remaining_litres, 0) ELSE 0 END`,
		`SELECT format('account %s: its recharges took %s litres of exchanged meters along, of %s that waited', account_id, sum(taken), sum(waited)) FROM (
				SELECT account_id, 0 AS taken, remaining_litres AS waited FROM exchanges WHERE credit = 'with_next'
				UNION ALL SELECT account_id, volume_carried, 0 FROM commands WHERE kind = 'credit' AND state = 'verified' AND split_part(cause, '/', 1) = 'recharge') l
			GROUP BY account_id HAVING sum(taken) > sum(waited)`,
		`SELECT format('entry %s posted money for exchange %s, which only moves what a customer had', e.id, x.id) FROM exchanges x JOIN ledger_entries e ON e.subject = x.id OR e.idempotency_key LIKE 'exchange/' || x.id || '%'`,
		`SELECT format('the credit that exchange %s carries over is in doubt without an open exception', x.id) FROM exchanges x
			WHERE x.credit = 'in_doubt' AND NOT EXISTS (SELECT 1 FROM cases k WHERE k.cause = 'exchange/' || x.id AND k.state = 'open')`,
	} {
		if err := c.none(ctx, inv, sql); err != nil {
			return err
		}
	}
	return nil
}

type delivery struct {
	Command string
	Serial  string
	State   string
	Count   int64
	Amount  int64
}

// purchasesMatch holds the meters' own memory against ours, both ways.
func (c *checker) purchasesMatch(ctx context.Context, inv *Invariant) error {
	rows, _ := c.tx.Query(ctx, `SELECT c.id, m.serial, coalesce(r.state, x.credit), coalesce(c.count_intended, 0), c.amount_fen
		FROM commands c JOIN meters m ON m.id = c.meter_id
		LEFT JOIN recharges r ON c.cause = 'recharge/' || r.id OR c.cause LIKE 'recharge/' || r.id || '/%'
		LEFT JOIN exchanges x ON c.cause = 'exchange/' || x.id OR c.cause LIKE 'exchange/' || x.id || '/%'
		WHERE (r.id IS NOT NULL OR x.id IS NOT NULL) AND c.kind = 'credit' AND c.volume_litres IS NULL AND c.state IN ('verified', 'unknown', 'sending', 'acknowledged')`)
	ours, err := pgx.CollectRows(rows, pgx.RowToStructByPos[delivery])
	if err != nil {
		return err
	}
	type key struct {
		serial string
		count  int64
	}
	sent := map[key]delivery{}
	for _, d := range ours {
		k := key{d.Serial, d.Count}
		if other, twice := sent[k]; twice {
			inv.violate("commands %s and %s both claim purchase %d of meter %s", other.Command, d.Command, d.Count, d.Serial)
		}
		sent[k] = d
	}
	for serial, entries := range c.record {
		for _, e := range entries {
			if e.Kind != simulator.EntryPurchase {
				continue
			}
			inv.check(1)
			d, known := sent[key{serial, e.Count}]
			switch {
			case !known:
				inv.violate("meter %s accepted purchase %d of %d fen that no recharge and no exchange explains", serial, e.Count, e.AmountFen)
			case d.Amount != e.AmountFen:
				inv.violate("meter %s accepted %d fen as purchase %d; command %s was for %d fen", serial, e.AmountFen, e.Count, d.Command, d.Amount)
			case d.State != "credited" && d.State != "in_doubt" && d.State != "delivering":
				inv.violate("meter %s accepted purchase %d, but its recharge or exchange is %s", serial, e.Count, d.State)
			}
			delete(sent, key{serial, e.Count})
		}
	}
	for _, d := range sent {
		if d.State == "credited" {
			inv.violate("command %s says that meter %s took purchase %d; the meter knows nothing of it", d.Command, d.Serial, d.Count)
		}
	}
	return c.volumesMatch(ctx, inv)
}

// volumesMatch holds the meters that hold an absolute volume against our orders: each value that a meter was set to is the target of one
// of ours, each credited one was set, and a meter never gained more than that order's litres and what it counted meanwhile. All that an
// account bought at one price, on whatever meters, is what was paid for it, to less than a litre; an order to one meter that was out while
// another to the next meter was reckoned may be off by one more.
func (c *checker) volumesMatch(ctx context.Context, inv *Invariant) error {
	if err := c.none(ctx, inv, `SELECT format('account %s: %s fen at %s yuan/10^8 buy %s litres, it was credited with %s', account_id, sum(amount_fen), volume_price_e8,
			div(sum(amount_fen) * 1000000000, volume_price_e8), sum(volume_litres - volume_carried))
		FROM commands c WHERE kind = 'credit' AND state = 'verified' AND volume_price_e8 IS NOT NULL GROUP BY account_id, volume_price_e8
		HAVING abs(div(sum(amount_fen) * 1000000000, volume_price_e8) - sum(volume_litres - volume_carried)) > count(*) FILTER (WHERE EXISTS (SELECT 1 FROM commands d
			WHERE d.account_id = c.account_id AND d.meter_id <> c.meter_id AND d.kind = 'credit' AND d.state = 'verified' AND d.volume_price_e8 = c.volume_price_e8
				AND d.sent_at < c.settled_at AND c.sent_at < d.settled_at))`); err != nil {
		return err
	}
	rows, _ := c.tx.Query(ctx, `SELECT c.id, m.serial, coalesce(r.state, x.credit), c.volume_target, c.volume_litres
		FROM commands c JOIN meters m ON m.id = c.meter_id
		LEFT JOIN recharges r ON c.cause = 'recharge/' || r.id OR c.cause LIKE 'recharge/' || r.id || '/%'
		LEFT JOIN exchanges x ON c.cause = 'exchange/' || x.id OR c.cause LIKE 'exchange/' || x.id || '/%'
		WHERE (r.id IS NOT NULL OR x.id IS NOT NULL) AND c.volume_target IS NOT NULL AND c.state IN ('verified', 'unknown', 'sending', 'acknowledged')`)
	orders, err := pgx.CollectRows(rows, pgx.RowToStructByPos[volumeOrder])
	if err != nil {
		return err
	}
	type key struct {
		serial string
		target int64
	}
	ours, met := map[key]volumeOrder{}, map[string]bool{}
	for _, o := range orders {
		ours[key{o.Serial, o.Target}] = o
	}
	for serial, entries := range c.record {
		var before *simulator.State
		for _, e := range entries {
			if e.Kind == simulator.EntryVolume {
				inv.check(1)
				o, known := ours[key{serial, e.VolumeLitres}]
				switch {
				case !known:
					inv.violate("meter %s was set to %d litres, which no recharge and no exchange explains", serial, e.VolumeLitres)
				case met[o.Command]: // written again by the gateway: it sets what was set
				case before != nil && e.State.RemainingLitres+e.State.Registers[0]-before.RemainingLitres-before.Registers[0] < o.Litres:
					inv.violate("meter %s gained less than the %d litres of command %s", serial, o.Litres, o.Command)
				}
				if known {
					met[o.Command] = true
				}
			}
			if e.State != nil {
				before = e.State
			}
		}
	}
	for _, o := range orders {
		if o.State == "credited" && !met[o.Command] {
			inv.violate("command %s says that meter %s was set to %d litres; the meter knows nothing of it", o.Command, o.Serial, o.Target)
		}
	}
	return nil
}

type volumeOrder struct {
	Command string
	Serial  string
	State   string
	Target  int64
	Litres  int64
}

// billedEqualsRead: for every issued account and period, billed quantity = closing − opening reading through rollover and exchange;
// a bill's lines add up to it, those of a reversed one too; no gap, no overlap; what is reversed was undone whole and billed again.
func (c *checker) billedEqualsRead(ctx context.Context, inv *Invariant) error {
	if err := c.none(ctx, inv, `SELECT format('bill %s says %s fen, its lines %s', b.id, b.total_fen, coalesce(sum(l.amount_fen), 0))
		FROM bills b LEFT JOIN bill_lines l ON l.bill_id = b.id WHERE b.state IN ('issued', 'reversed') GROUP BY b.id HAVING b.total_fen <> coalesce(sum(l.amount_fen), 0)`); err != nil {
		return err
	}
	if err := c.none(ctx, inv, `SELECT format('account %s: issued bills leave a gap or overlap at %s', account_id, period_from) FROM (
			SELECT account_id, period_from, lag(period_to) OVER (PARTITION BY account_id ORDER BY period_from) AS before
			FROM bills WHERE state = 'issued') b WHERE before IS NOT NULL AND before <> period_from`); err != nil {
		return err
	}
	if err := c.reversalsHold(ctx, inv); err != nil {
		return err
	}
	return c.quantitiesMatch(ctx, inv)
}

type stretch struct {
	Bill     string
	Quantity int64
	Meter    string
	Ratio    int64
	Digits   int
	Opening  *int64
	Closing  *int64
}

// quantitiesMatch recomputes each bill's use from the fittings and from the readings that stood when the bill was issued: with its run,
// or by a correction later.
func (c *checker) quantitiesMatch(ctx context.Context, inv *Invariant) error {
	rows, _ := c.tx.Query(ctx, `
		WITH b AS (
			SELECT b.id, b.quantity, a.service_point_id, coalesce(b.issued_at, r.issued_at) AS issued_at,
				b.period_from::timestamp AT TIME ZONE s.time_zone AS from_at, b.period_to::timestamp AT TIME ZONE s.time_zone AS to_at
			FROM bills b JOIN accounts a ON a.id = b.account_id JOIN sites s ON s.id = b.site_id JOIN billing_runs r ON r.id = b.run_id
			WHERE b.state = 'issued')
		SELECT b.id, b.quantity, f.meter_id, f.ratio, m.digits,
			CASE WHEN f.from_at >= b.from_at THEN f.opening[1] ELSE
				(SELECT registers[1] FROM readings r WHERE r.meter_id = f.meter_id AND r.freeze_at = b.from_at AND r.taken_at <= b.issued_at ORDER BY version DESC LIMIT 1) END,
			CASE WHEN f.to_at <= b.to_at THEN f.closing[1] ELSE
				(SELECT registers[1] FROM readings r WHERE r.meter_id = f.meter_id AND r.freeze_at = b.to_at AND r.taken_at <= b.issued_at ORDER BY version DESC LIMIT 1) END
		FROM b JOIN fittings f ON f.service_point_id = b.service_point_id AND f.from_at < b.to_at AND (f.to_at IS NULL OR f.to_at > b.from_at)
		JOIN meters m ON m.id = f.meter_id ORDER BY b.id, f.from_at`)
	stretches, err := pgx.CollectRows(rows, pgx.RowToStructByPos[stretch])
	if err != nil {
		return err
	}
	used := map[string]int64{}
	billed := map[string]int64{}
	broken := map[string]string{}
	for _, s := range stretches {
		billed[s.Bill] = s.Quantity
		if s.Opening == nil || s.Closing == nil {
			broken[s.Bill] = fmt.Sprintf("meter %s has no reading at an edge of the period", s.Meter)
			continue
		}
		wrap := int64(1)
		for range s.Digits {
			wrap *= 10
		}
		used[s.Bill] += ((*s.Closing - *s.Opening + wrap) % wrap) * s.Ratio
	}
	inv.check(int64(len(billed)))
	for bill, quantity := range billed {
		if why, bad := broken[bill]; bad {
			inv.violate("bill %s: %s", bill, why)
		} else if used[bill] != quantity {
			inv.violate("bill %s is for %d raw units, the readings give %d", bill, quantity, used[bill])
		}
	}
	return nil
}

// threePersons: each credited recharge, published change of prices, booked adjustment, hold that was paid out (a refund, a transfer, a dispute) and
// protection or payment plan that was ended before its time has a maker and two who checked, three different persons.
func (c *checker) threePersons(ctx context.Context, inv *Invariant) error {
	if err := c.threePersonsPriced(ctx, inv); err != nil {
		return err
	}
	if err := c.threePersonsAdjusted(ctx, inv); err != nil {
		return err
	}
	if err := c.threePersonsPaidOut(ctx, inv); err != nil {
		return err
	}
	if err := c.count(ctx, inv, `SELECT count(*) FROM recharges WHERE state = 'credited'`); err != nil {
		return err
	}
	return c.none(ctx, inv, `SELECT format('recharge %s: entered by %s, approved by %s and %s', id, entered_by, coalesce(approved1_by, 'nobody'), coalesce(approved2_by, 'nobody'))
		FROM recharges WHERE state = 'credited' AND NOT (coalesce(entered_by <> approved1_by AND entered_by <> approved2_by AND approved1_by <> approved2_by, false))`)
}

// threePersonsPaidOut: who placed, approved and paid out a hold are three persons; so are who ended a
// protection, or a payment plan, before its time and who agreed.
func (c *checker) threePersonsPaidOut(ctx context.Context, inv *Invariant) error {
	if err := c.count(ctx, inv, `SELECT (SELECT count(*) FROM holds WHERE state = 'posted') + (SELECT count(*) FROM protections WHERE ended_at IS NOT NULL)
		+ (SELECT count(*) FROM payment_plans WHERE state IN ('rejected', 'cancelled'))`); err != nil {
		return err
	}
	if err := c.none(ctx, inv, `SELECT format('hold %s (%s): placed by %s, approved by %s, paid out by %s', id, purpose, placed_by, coalesce(approved_by, 'nobody'), settled_by)
		FROM holds WHERE state = 'posted' AND NOT coalesce(placed_by <> approved_by AND placed_by <> settled_by AND approved_by <> settled_by, false)`); err != nil {
		return err
	}
	if err := c.none(ctx, inv, `SELECT format('payment plan %s (%s): ended by %s, agreed by %s and %s', id, state, ended_by, coalesce(agreed_by, 'nobody'), coalesce(agreed2_by, 'nobody'))
		FROM payment_plans WHERE state IN ('rejected', 'cancelled') AND NOT coalesce(ended_by <> agreed_by AND ended_by <> agreed2_by AND agreed_by <> agreed2_by, false)`); err != nil {
		return err
	}
	return c.none(ctx, inv, `SELECT format('protection %s: ended by %s, agreed by %s and %s', id, ended_by, coalesce(ended_by2, 'nobody'), coalesce(ended_by3, 'nobody'))
		FROM protections WHERE ended_at IS NOT NULL AND NOT coalesce(ended_by <> ended_by2 AND ended_by <> ended_by3 AND ended_by2 <> ended_by3, false)`)
}
