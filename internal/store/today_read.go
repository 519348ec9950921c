package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Tally is how many there are and since when the oldest has been so; Since is nil when there is none.
type Tally struct {
	N     int
	Since *time.Time
}

// Stuck counts what doesn't go on by itself at some sites. Instants are business time, except Lines, whose leases run in real time.
type Stuck struct {
	Cases    Tally // open past their due instant
	InDoubt  Tally // recharges of which nobody knows whether the meter took them
	Supplies Tally // relays and valves whose state isn't known
	Commands Tally // on their way for longer than a command takes
	Blocked  Tally // billing runs that wait for exceptions
	Messages Tally // that the provider refused or couldn't deliver, in the last seven days
	Lines    Tally // gateways whose line no worker owns
	Unrated  Tally // accounts that the daily charge couldn't rate
}

// commandTakes is the real time after which a command that is on its way is counted as stuck.
const commandTakes = 10 * time.Minute

// Stuck reads the counts in one query.
func (s *Store) Stuck(ctx context.Context, sites []billing.SiteID) (Stuck, error) {
	var k Stuck
	err := s.Pool.QueryRow(ctx, `SELECT * FROM
		(SELECT count(*), min(due_at) FROM cases WHERE site_id = ANY($1) AND state = 'open' AND due_at <= business_now()) a,
		(SELECT count(*), min(approved2_at) FROM recharges WHERE site_id = ANY($1) AND state = 'in_doubt' AND state NOT IN ('credited', 'rejected', 'expired')) b,
		(SELECT count(*), min(since_at) FROM supplies WHERE site_id = ANY($1) AND state = 'unknown') c,
		(SELECT count(*), min(requested_at) FROM commands WHERE site_id = ANY($1) AND state IN ('requested', 'sending', 'acknowledged')
			AND requested_real < clock_timestamp() - $2::interval) d,
		(SELECT count(*), min(opened_at) FROM billing_runs WHERE site_id = ANY($1) AND state = 'blocked') e,
		(SELECT count(*), min(queued_at) FROM messages WHERE site_id = ANY($1) AND state = 'failed' AND queued_at > business_now() - interval '7 days') f,
		(SELECT count(*), min(l.expires_real) FROM gateways g LEFT JOIN line_leases l ON l.gateway_id = g.id
			WHERE g.site_id = ANY($1) AND (l.gateway_id IS NULL OR l.expires_real < clock_timestamp())) g,
		(SELECT count(*), min(since_at) FROM uncharged WHERE site_id = ANY($1)) h`, sites, commandTakes).
		Scan(&k.Cases.N, &k.Cases.Since, &k.InDoubt.N, &k.InDoubt.Since, &k.Supplies.N, &k.Supplies.Since, &k.Commands.N, &k.Commands.Since,
			&k.Blocked.N, &k.Blocked.Since, &k.Messages.N, &k.Messages.Since, &k.Lines.N, &k.Lines.Since, &k.Unrated.N, &k.Unrated.Since)
	return k, translate(err)
}

// Sweep is how the newest reading cycle of a site goes.
type Sweep struct {
	CycleID   billing.CycleID
	Site      billing.SiteID
	Day       billing.Date
	State     billing.CycleState
	Passes    int
	OpenedAt  time.Time
	WindowEnd time.Time
	ClosedAt  *time.Time
	Planned   int
	Read      int // actual values
	Silent    int // asked, without an answer that could be used
	Estimated int
	Manual    int
}

// Sweeps reads the newest cycle of each site, with its meters counted as they stand now.
func (s *Store) Sweeps(ctx context.Context, sites []billing.SiteID) ([]Sweep, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT c.id, c.site_id, c.day, c.state, c.passes, c.opened_at, c.window_end, c.closed_at,
			m.planned, m.read, m.silent, m.estimated, m.manual
		FROM (SELECT DISTINCT ON (site_id) * FROM cycles WHERE site_id = ANY($1) ORDER BY site_id, freeze_at DESC) c
		CROSS JOIN LATERAL (SELECT count(*) AS planned, count(*) FILTER (WHERE outcome = 'read') AS read,
				count(*) FILTER (WHERE outcome IN ('silent', 'refused', 'wrong')) AS silent,
				count(*) FILTER (WHERE outcome = 'estimated') AS estimated, count(*) FILTER (WHERE outcome = 'manual') AS manual
			FROM cycle_meters WHERE cycle_id = c.id) m
		ORDER BY c.site_id`, sites)
	sweeps, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Sweep])
	return sweeps, translate(err)
}

// Running counts work that is on its way at some sites.
type Running struct {
	Charges    int // daily charges
	Runs       int // billing runs being rated
	Recharges  int // approved, being posted or written to their meter
	Commands   int
	Cuts       int
	Restores   int
	Reminders  int // open arrears cases
	PlannedCut int
}

// Running reads the counts in one query.
func (s *Store) Running(ctx context.Context, sites []billing.SiteID) (Running, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT
		(SELECT count(*) FROM charge_runs WHERE site_id = ANY($1) AND state = 'charging'),
		(SELECT count(*) FROM billing_runs WHERE site_id = ANY($1) AND state = 'rating'),
		(SELECT count(*) FROM recharges WHERE site_id = ANY($1) AND state IN ('approved', 'delivering') AND state NOT IN ('credited', 'rejected', 'expired')),
		(SELECT count(*) FROM commands WHERE site_id = ANY($1) AND state IN ('requested', 'sending', 'acknowledged')),
		(SELECT count(*) FROM cutoffs WHERE site_id = ANY($1) AND state = 'sending'),
		(SELECT count(*) FROM restores WHERE site_id = ANY($1) AND state = 'sending'),
		(SELECT count(*) FROM reminders WHERE site_id = ANY($1) AND state IN ('level1', 'level2', 'final', 'handed_over')),
		(SELECT count(*) FROM cutoffs WHERE site_id = ANY($1) AND state = 'planned')`, sites)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Running])
	return r, translate(err)
}

// Anomalies counts what was out of the ordinary since an instant.
type Anomalies struct {
	ByKind    []KindCount // exception cases by kind, most first
	Prevented int         // cuts that the policy or a payment prevented
	Refused   int         // commands that a meter refused
	OwnTrips  int         // meters that tripped by themselves
	Rejected  int         // recharges that were rejected
}

// KindCount is how many cases of a kind there are.
type KindCount struct {
	Kind string
	N    int
}

// Anomalies reads the counts since a business instant.
func (s *Store) Anomalies(ctx context.Context, sites []billing.SiteID, since time.Time) (Anomalies, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT kind, count(*) FROM cases WHERE site_id = ANY($1) AND opened_at >= $2 GROUP BY kind ORDER BY count(*) DESC, kind`, sites, since)
	kinds, err := pgx.CollectRows(rows, pgx.RowToStructByPos[KindCount])
	if err != nil {
		return Anomalies{}, translate(err)
	}
	a := Anomalies{ByKind: kinds}
	err = s.Pool.QueryRow(ctx, `SELECT
		(SELECT count(*) FROM cutoffs WHERE site_id = ANY($1) AND state = 'prevented' AND settled_at >= $2),
		(SELECT count(*) FROM commands WHERE site_id = ANY($1) AND state = 'refused' AND settled_at >= $2),
		(SELECT count(*) FROM cutoffs WHERE site_id = ANY($1) AND own_trip AND opened_at >= $2),
		(SELECT count(*) FROM recharges WHERE site_id = ANY($1) AND state = 'rejected' AND settled_at >= $2)`, sites, since).
		Scan(&a.Prevented, &a.Refused, &a.OwnTrips, &a.Rejected)
	return a, translate(err)
}
