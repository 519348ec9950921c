package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// SiteDay is what a site charged with the reading cycle of a day.
type SiteDay struct {
	Day        billing.Date
	Accounts   int
	ChargedFen billing.Money
}

// SiteDays are the daily charges of some sites, from the charge runs, which have summed them already: one row per day that has any.
func (s *Store) SiteDays(ctx context.Context, sites []billing.SiteID, p billing.Period) ([]SiteDay, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT c.day, sum(r.accounts)::int, sum(r.total_fen)::bigint FROM charge_runs r JOIN cycles c ON c.id = r.cycle_id
		WHERE r.site_id = ANY($1) AND c.day >= $2 AND c.day < $3 GROUP BY c.day ORDER BY c.day`, sites, p.From, p.To)
	days, err := pgx.CollectRows(rows, pgx.RowToStructByPos[SiteDay])
	return days, translate(err)
}

// SiteMonth is what a site billed and took in for a month: bills that are issued, by service, and recharges credited in it.
type SiteMonth struct {
	Site         billing.SiteID
	Month        billing.Date
	Bills        int
	PowerRaw     int64 // 0.01 kWh
	WaterRaw     int64 // litres
	BilledFen    billing.Money
	Recharges    int
	RechargedFen billing.Money
}

// SiteMonths are the months of some sites in [from, to), newest first. Bills come from the control totals of issued runs.
func (s *Store) SiteMonths(ctx context.Context, sites []billing.SiteID, from, to billing.Date) ([]SiteMonth, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT s.id, m.month::date, coalesce(b.bills, 0), coalesce(b.power, 0), coalesce(b.water, 0), coalesce(b.fen, 0), coalesce(x.n, 0), coalesce(x.fen, 0)
		FROM sites s CROSS JOIN generate_series($2::date::timestamp, $3::date - interval '1 day', interval '1 month') m (month)
		LEFT JOIN LATERAL (SELECT sum((totals->>'bills')::int)::int AS bills, sum((totals->'quantity'->>'power')::bigint)::bigint AS power,
				sum((totals->'quantity'->>'water')::bigint)::bigint AS water, sum((totals->>'total_fen')::bigint)::bigint AS fen
			FROM billing_runs WHERE site_id = s.id AND state = 'issued' AND period_from >= m.month::date AND period_from < (m.month + interval '1 month')::date) b ON true
		LEFT JOIN LATERAL (SELECT count(*)::int AS n, sum(amount_fen)::bigint AS fen FROM recharges WHERE site_id = s.id AND state = 'credited'
			AND settled_at >= m.month AT TIME ZONE s.time_zone AND settled_at < (m.month + interval '1 month') AT TIME ZONE s.time_zone) x ON true
		WHERE s.id = ANY($1) ORDER BY m.month DESC, s.id`, sites, from, to)
	months, err := pgx.CollectRows(rows, pgx.RowToStructByPos[SiteMonth])
	return months, translate(err)
}
