package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// CycleDue is a reading cycle that should exist.
type CycleDue struct {
	CycleID billing.CycleID
	Site    billing.SiteID
	Day     billing.Date
}

// ChargeDue is a daily charge that should exist.
type ChargeDue struct {
	CycleID billing.CycleID
}

// RunDue is a billing run that should exist.
type RunDue struct {
	RunID   billing.RunID
	Site    billing.SiteID
	Period  billing.Period
	Version int
}

// catchUpDays bounds what is made up after a long outage: a register is cumulative, so a day that nobody read costs no energy,
// and a month of sweeps at once would only hold up today's.
const catchUpDays = 2

// When the day's work begins, after local midnight.
const (
	cycleStarts = 5 * time.Minute // live registers are read within the tolerance of the freeze instant
	runStarts   = 8 * time.Hour   // when supervisors are there
)

// DueCycles are the cycles of a site whose hour has come and that don't exist.
func (s *Store) DueCycles(ctx context.Context, site Site, now time.Time) ([]CycleDue, error) {
	today := billing.DateOf(now.Add(-cycleStarts), site.Zone)
	var first *time.Time
	err := s.Pool.QueryRow(ctx, `SELECT greatest((SELECT min(opened_on) FROM accounts WHERE site_id = $1), $2::date - $3::int)`, site.ID, today.String(), catchUpDays).Scan(&first)
	if err != nil || first == nil {
		return nil, translate(err)
	}
	rows, _ := s.Pool.Query(ctx, `SELECT day FROM cycles WHERE site_id = $1 AND day >= $2 AND id = site_id || '/' || day`, site.ID, *first)
	have, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, translate(err)
	}
	there := map[billing.Date]bool{}
	for _, d := range have {
		there[billing.DateOf(d, time.UTC)] = true
	}
	var due []CycleDue
	for d := billing.DateOf(*first, time.UTC); !d.After(today); d = d.AddDays(1) {
		if !there[d] {
			due = append(due, CycleDue{CycleID: billing.CycleID(string(site.ID) + "/" + d.String()), Site: site.ID, Day: d})
		}
	}
	return due, nil
}

// DueCharges are the closed cycles of a site that were not charged.
func (s *Store) DueCharges(ctx context.Context, site billing.SiteID) ([]ChargeDue, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT c.id FROM cycles c LEFT JOIN charge_runs r ON r.cycle_id = c.id
		WHERE c.site_id = $1 AND c.state = 'closed' AND r.cycle_id IS NULL ORDER BY c.freeze_at`, site)
	due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ChargeDue])
	return due, translate(err)
}

// DueRuns are the billing runs of ended months that don't exist, once the cycle that closes the month has been charged.
func (s *Store) DueRuns(ctx context.Context, site Site, now time.Time) ([]RunDue, error) {
	thisMonth := billing.MonthPeriod(billing.DateOf(now.Add(-runStarts), site.Zone))
	period := billing.MonthPeriod(thisMonth.From.AddDays(-1))
	var due bool
	err := s.Pool.QueryRow(ctx, `SELECT
			EXISTS (SELECT 1 FROM cycles c JOIN charge_runs r ON r.cycle_id = c.id WHERE c.site_id = $1 AND c.day = $2 AND r.state = 'charged')
			AND EXISTS (SELECT 1 FROM accounts WHERE site_id = $1 AND opened_on < $2)
			AND NOT EXISTS (SELECT 1 FROM billing_runs WHERE site_id = $1 AND period_from = $3)`,
		site.ID, thisMonth.From.String(), period.From.String()).Scan(&due)
	if err != nil || !due {
		return nil, translate(err)
	}
	id := billing.RunID(string(site.ID) + "/" + period.From.String()[:7] + "/1")
	return []RunDue{{RunID: id, Site: site.ID, Period: period, Version: 1}}, nil
}

// UnfinishedWork counts what must be done before a demo's clock may move on, by what it is. Work that waits for a later business
// instant doesn't count: its wait stands in clock_waits.
func (s *Store) UnfinishedWork(ctx context.Context) (map[string]int64, error) {
	rows, err := s.Pool.Query(ctx, `
		WITH waiting AS (SELECT workflow_id FROM clock_waits WHERE due > business_now())
		SELECT what, count(*) FROM (
			SELECT 'cycle' AS what, 'cycle/' || id AS wf FROM cycles WHERE state <> 'closed'
			UNION ALL SELECT 'charge', 'charge/' || cycle_id FROM charge_runs WHERE state <> 'charged'
			UNION ALL SELECT 'billing run', 'billing-run/' || id FROM billing_runs WHERE state IN ('rating', 'blocked')
			UNION ALL SELECT 'recharge', 'recharge/' || id FROM recharges WHERE state IN ('approved', 'delivering')
			UNION ALL SELECT 'command', split_part(cause, '/', 1) || '/' || split_part(cause, '/', 2) FROM commands WHERE state IN ('requested', 'sending', 'acknowledged')
			UNION ALL SELECT 'cutoff', 'cutoff/' || id FROM cutoffs WHERE state IN ('planned', 'sending')
			UNION ALL SELECT 'exchange', 'exchange/' || id FROM exchanges WHERE state = 'open'
			UNION ALL SELECT 'restore', 'restore/' || id FROM restores WHERE state = 'sending'
			UNION ALL SELECT 'round', 'round/' || id FROM rounds WHERE state = 'checked'
			UNION ALL SELECT 'batch', 'batch/' || id FROM batches WHERE state = 'running'
			UNION ALL SELECT 'low list', 'charge/' || cycle_id FROM low_list WHERE NOT taken
			UNION ALL SELECT 'tariff', 'tariff/' || id FROM tariff_changes WHERE state = 'published'
			UNION ALL SELECT 'price push', 'tariff/' || change_id FROM tariff_pushes WHERE state IN ('waiting', 'sending')
			UNION ALL SELECT 'simulation', '' FROM tariff_simulations WHERE state = 'running'
			UNION ALL SELECT 'due wait', '' FROM clock_waits WHERE due <= business_now()
		) w WHERE wf NOT IN (SELECT workflow_id FROM waiting) GROUP BY what`)
	if err != nil {
		return nil, translate(err)
	}
	left := map[string]int64{}
	var what string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&what, &n}, func() error {
		left[what] = n
		return nil
	})
	return left, translate(err)
}
