package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Waiting counts what waits for a decision at some sites, as one person sees it.
type Waiting struct {
	Cases        int // open exception cases
	OverdueCases int
	OldestCase   *time.Time // when the oldest open case was opened; nil without one
	RunsToVerify int
	RunsToIssue  int // verified by somebody else than this person
	OldestRun    *time.Time
	Recharges    int // that this person neither entered nor approved
	OldestMoney  *time.Time
	Cuts         int // of large customers, waiting for a manager
	OldestCut    *time.Time
	Rounds       int // submitted by somebody else, or this reader's to walk
	Tariffs      int // changes of prices that this person neither wrote in nor approved
	Corrections  int // that wait for this person's approval
	Adjustments  int // for faulty meters, likewise
	Plans        int // payment plans that wait for approval
	OldestPlan   *time.Time
	Holds        int // that this person neither placed nor approved: to approve, or to pay out
	OldestHold   *time.Time
}

// Waiting reads the counts for a person in one query: every page shows them.
func (s *Store) Waiting(ctx context.Context, sites []billing.SiteID, user billing.UserID) (Waiting, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT * FROM
		(SELECT count(*), count(*) FILTER (WHERE due_at <= business_now()), min(opened_at) FROM cases WHERE site_id = ANY($1) AND state = 'open') c,
		(SELECT count(*) FILTER (WHERE state = 'awaiting_verification'), count(*) FILTER (WHERE state = 'verified' AND verified_by <> $2), min(opened_at)
			FROM billing_runs WHERE site_id = ANY($1) AND (state = 'awaiting_verification' OR (state = 'verified' AND verified_by <> $2))) r,
		(SELECT count(*), min(entered_at) FROM recharges
			WHERE site_id = ANY($1) AND state NOT IN ('credited', 'rejected', 'expired') AND state IN ('entered', 'approved_once')
				AND entered_by <> $2 AND approved1_by IS DISTINCT FROM $2) m,
		(SELECT count(*), min(opened_at) FROM cutoffs WHERE site_id = ANY($1) AND state = 'awaiting_manager') k,
		(SELECT count(*) FROM rounds WHERE site_id = ANY($1) AND (state = 'submitted' AND reader <> $2 OR state IN ('assigned', 'in_progress') AND reader = $2)) w,
		(SELECT count(*) FROM tariff_changes WHERE state IN ('submitted', 'approved_once') AND NOT $2 = ANY (editors) AND approved1_by IS DISTINCT FROM $2) p,
		(SELECT count(*) FROM corrections WHERE sites <@ $1::text[] AND state NOT IN ('applied', 'rejected', 'withdrawn') AND state IN ('previewed', 'approved_once')
			AND drafted_by <> $2 AND approved1_by IS DISTINCT FROM $2) x,
		(SELECT count(*) FROM adjustments WHERE site_id = ANY($1) AND state IN ('previewed', 'approved_once') AND drafted_by <> $2 AND approved1_by IS DISTINCT FROM $2) j,
		(SELECT count(*), min(proposed_at) FROM payment_plans WHERE site_id = ANY($1) AND state = 'proposed') y,
		(SELECT count(*), min(placed_at) FROM holds WHERE site_id = ANY($1) AND `+holdWaits+`) h`, sites, user)
	w, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Waiting])
	return w, translate(err)
}

// LastChange is the id of the newest journal row: it grows with every change of state, so live pages ask for it.
func (s *Store) LastChange(ctx context.Context) (int64, error) {
	var id int64
	err := s.Pool.QueryRow(ctx, `SELECT coalesce(max(id), 0) FROM journal`).Scan(&id)
	return id, translate(err)
}

// ReadingsOf lists a meter's readings in their current versions, newest first, and counts them all.
func (s *Store) ReadingsOf(ctx context.Context, meter billing.MeterID, limit, offset int) ([]Reading, int, error) {
	var total int
	if err := s.Pool.QueryRow(ctx, `SELECT count(DISTINCT freeze_at) FROM readings WHERE meter_id = $1`, meter).Scan(&total); err != nil {
		return nil, 0, translate(err)
	}
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT ON (r.freeze_at) `+readingColumns+` FROM readings r WHERE r.meter_id = $1
		ORDER BY r.freeze_at DESC, r.version DESC LIMIT $2 OFFSET $3`, meter, limit, offset)
	readings, err := pgx.CollectRows(rows, pgx.RowToStructByName[Reading])
	return readings, total, translate(err)
}

// ProtectionOf reads one protection.
func (s *Store) ProtectionOf(ctx context.Context, id int64) (Protection, error) {
	rows, _ := s.Pool.Query(ctx, selectProtection+` WHERE id = $1`, id)
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Protection])
	return p, translate(err)
}
