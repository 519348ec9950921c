package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// BillStop is why a limit stopped a bill: which rule, what the bill says, what was allowed. Texts are for people.
type BillStop struct {
	Rule    string
	Was     string
	Allowed string
}

// insertStops keeps why limits stopped a page of bills, after the bills. Keeping it again changes nothing.
func insertStops(ctx context.Context, tx *Tx, drafts []Draft) error {
	var bills, rules, was, allowed []string
	for _, d := range drafts {
		for _, s := range d.Stops {
			bills, rules, was, allowed = append(bills, string(d.ID)), append(rules, s.Rule), append(was, s.Was), append(allowed, s.Allowed)
		}
	}
	if len(bills) == 0 {
		return nil
	}
	// A bill that was there already, or that another run has issued, keeps what it has.
	_, err := tx.Exec(ctx, `INSERT INTO bill_stops (bill_id, rule, was, allowed)
		SELECT s.bill, s.rule, s.was, s.allowed FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) s (bill, rule, was, allowed)
		JOIN bills b ON b.id = s.bill AND b.state = 'held' ON CONFLICT DO NOTHING`, bills, rules, was, allowed)
	return err
}

// BillStops reads why limits stopped bills, by bill.
func (s *Store) BillStops(ctx context.Context, bills []billing.BillID) (map[billing.BillID][]BillStop, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT bill_id, rule, was, allowed FROM bill_stops WHERE bill_id = ANY($1) ORDER BY bill_id, rule`, bills)
	found := map[billing.BillID][]BillStop{}
	var bill billing.BillID
	var stop BillStop
	_, err := pgx.ForEachRow(rows, []any{&bill, &stop.Rule, &stop.Was, &stop.Allowed}, func() error {
		found[bill] = append(found[bill], stop)
		return nil
	})
	return found, translate(err)
}

// BillPast is what an account's bill is judged by: its customer's class on the period's last day and its issued bills before the period. Quantities are raw units
// after the ratio; zero days say that there is none.
type BillPast struct {
	Account      billing.AccountID
	Service      billing.Service
	Class        billing.CustomerClass
	LastDays     int64
	LastQuantity int64
	LastFen      billing.Money
	YearDays     int64 // of the issued bills of the twelve months before
	YearQuantity int64
	YearFen      billing.Money
	OpenedOn     billing.Date
	UseBefore    int64        // used in the year of OpenedOn before it, by the former system
	EarlierHeld  billing.Date // first day of an earlier period whose bill is held and not billed since; zero without one
}

// BillPasts reads the past of a page of accounts, as seen from a period.
func (s *Store) BillPasts(ctx context.Context, accounts []billing.AccountID, period billing.Period) (map[billing.AccountID]BillPast, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT a.id AS account, a.service, t.class, coalesce(l.days, 0) AS last_days, coalesce(l.quantity, 0) AS last_quantity, coalesce(l.fen, 0) AS last_fen,
			coalesce(y.days, 0) AS year_days, coalesce(y.quantity, 0) AS year_quantity, coalesce(y.fen, 0) AS year_fen, a.opened_on, a.use_before, h.period_from AS earlier_held
		FROM accounts a
		JOIN LATERAL (SELECT class FROM account_terms WHERE account_id = a.id AND from_day < greatest($3::date, a.opened_on + 1)
			ORDER BY from_day DESC, version DESC LIMIT 1) t ON true
		LEFT JOIN LATERAL (SELECT (period_to - period_from)::bigint AS days, quantity, total_fen AS fen FROM bills
			WHERE account_id = a.id AND state = 'issued' AND period_to = $2::date ORDER BY version DESC LIMIT 1) l ON true
		LEFT JOIN LATERAL (SELECT sum(period_to - period_from)::bigint AS days, sum(quantity)::bigint AS quantity, sum(total_fen)::bigint AS fen FROM bills
			WHERE account_id = a.id AND state = 'issued' AND period_from < $2::date AND period_from >= $2::date - interval '1 year') y ON true
		LEFT JOIN LATERAL (SELECT min(period_from) AS period_from FROM bills b WHERE account_id = a.id AND state = 'held' AND period_from < $2::date
			AND NOT EXISTS (SELECT 1 FROM bills i WHERE i.account_id = b.account_id AND i.period_from = b.period_from AND i.state = 'issued')) h ON true
		WHERE a.id = ANY($1)`, accounts, period.From, period.To)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[BillPast])
	found := make(map[billing.AccountID]BillPast, len(list))
	for _, p := range list {
		found[p.Account] = p
	}
	return found, translate(err)
}

// LastMeasured reads, for meters whose reading at an instant is an estimate, the total register of the last reading before it that
// somebody or something measured, raw; a meter without one is left out.
func (s *Store) LastMeasured(ctx context.Context, meters []billing.MeterID, before billing.Date, site billing.SiteID) (map[billing.MeterID]int64, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT ON (r.meter_id) r.meter_id, r.registers[1] FROM current_readings r, sites s
		WHERE s.id = $3 AND r.meter_id = ANY($1) AND r.freeze_at < $2::date::timestamp AT TIME ZONE s.time_zone
			AND r.freeze_at >= ($2::date - interval '3 months') AT TIME ZONE s.time_zone AND r.quality IN ('actual', 'manual') AND NOT r.doubtful
		ORDER BY r.meter_id, r.freeze_at DESC`, meters, before, site)
	found := map[billing.MeterID]int64{}
	var meter billing.MeterID
	var raw int64
	_, err := pgx.ForEachRow(rows, []any{&meter, &raw}, func() error {
		found[meter] = raw
		return nil
	})
	return found, translate(err)
}
