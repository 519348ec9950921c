package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// BatchRow is a batch with what a list shows of it. The counts are members.
type BatchRow struct {
	Batch
	MadeName    string // empty when no person made it
	StartedName string
	EndedName   string
	Meters      int
	Skipped     int
	Settled     int // verified, refused, unknown
	Verified    int
	Doubtful    int // refused or unknown
	Cancelled   int
}

// Left is how many meters are still to be worked on.
func (b BatchRow) Left() int { return b.Meters - b.Skipped - b.Settled - b.Cancelled }

const selectBatchRow = `SELECT ` + batchColumns + `, coalesce(u.name, '') AS made_name, coalesce(v.name, '') AS started_name, coalesce(w.name, '') AS ended_name,
		i.meters, i.skipped, i.settled, i.verified, i.doubtful, i.cancelled
	FROM batches b LEFT JOIN users u ON u.id = b.made_by LEFT JOIN users v ON v.id = b.started_by LEFT JOIN users w ON w.id = b.ended_by
	CROSS JOIN LATERAL (SELECT count(*) AS meters, count(*) FILTER (WHERE state = 'skipped') AS skipped, count(*) FILTER (WHERE state IN ('verified', 'refused', 'unknown')) AS settled,
		count(*) FILTER (WHERE state = 'verified') AS verified, count(*) FILTER (WHERE state IN ('refused', 'unknown')) AS doubtful, count(*) FILTER (WHERE state = 'cancelled') AS cancelled
		FROM batch_members WHERE batch_id = b.id) i`

// BatchPage lists batches, those that wait or run first, the newest first, and counts them all. state filters unless it is empty; 'open'
// means not ended.
func (s *Store) BatchPage(ctx context.Context, sites []billing.SiteID, state string, limit, offset int) ([]BatchRow, int, error) {
	const where = ` WHERE b.site_id = ANY($1) AND ($2 = '' OR b.state = $2 OR ($2 = 'open' AND b.state IN ('previewed', 'running')))`
	var total int
	if err := s.Pool.QueryRow(ctx, `SELECT count(*) FROM batches b`+where, sites, state).Scan(&total); err != nil {
		return nil, 0, translate(err)
	}
	rows, _ := s.Pool.Query(ctx, selectBatchRow+where+` ORDER BY b.state IN ('done', 'cancelled'), b.made_at DESC, length(b.id) DESC, b.id DESC LIMIT $3 OFFSET $4`, sites, state, limit, offset)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[BatchRow])
	return all, total, translate(err)
}

// BatchRow reads one batch as a list shows it.
func (s *Store) BatchRow(ctx context.Context, id billing.BatchID) (BatchRow, error) {
	rows, _ := s.Pool.Query(ctx, selectBatchRow+` WHERE b.id = $1`, id)
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[BatchRow])
	return b, batchError(err, id)
}

// BatchMemberRow is a member with what its own line shows.
type BatchMemberRow struct {
	BatchMember
	Serial  string
	Address string
	// SkewBeforeS and SkewAfterS are how far a clock was ahead before it was set and when it was read back, in seconds.
	SkewBeforeS *int
	SkewAfterS  *int
}

// BatchMembers lists members of a batch, those that need a look first, and counts them all. state filters unless it is empty.
func (s *Store) BatchMembers(ctx context.Context, id billing.BatchID, state string, limit, offset int) ([]BatchMemberRow, int, error) {
	var total int
	if err := s.Pool.QueryRow(ctx, `SELECT count(*) FROM batch_members m WHERE m.batch_id = $1 AND ($2 = '' OR m.state = $2)`, id, state).Scan(&total); err != nil {
		return nil, 0, translate(err)
	}
	rows, _ := s.Pool.Query(ctx, `SELECT `+batchMemberColumns+`, t.serial, coalesce(o.address, '') AS address, d.skew_before_s, d.skew_after_s
		FROM batch_members m JOIN meters t ON t.id = m.meter_id LEFT JOIN accounts a ON a.id = m.account_id LEFT JOIN service_points o ON o.id = a.service_point_id
		LEFT JOIN commands d ON d.id = m.command_id
		WHERE m.batch_id = $1 AND ($2 = '' OR m.state = $2)
		ORDER BY m.state NOT IN ('refused', 'unknown'), m.state <> 'sending', m.state = 'skipped', m.gateway_id, m.meter_id LIMIT $3 OFFSET $4`, id, state, limit, offset)
	ms, err := pgx.CollectRows(rows, pgx.RowToStructByName[BatchMemberRow])
	return ms, total, translate(err)
}

// BatchSkips counts the members of a batch that are left alone, by reason, the most first.
func (s *Store) BatchSkips(ctx context.Context, id billing.BatchID) ([]BatchSkip, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT skip, count(*) AS meters FROM batch_members WHERE batch_id = $1 AND state = 'skipped' GROUP BY skip ORDER BY meters DESC, skip`, id)
	skips, err := pgx.CollectRows(rows, pgx.RowToStructByPos[BatchSkip])
	return skips, translate(err)
}

// BatchSkip is a reason with how many meters it holds back.
type BatchSkip struct {
	Skip   billing.SkipReason
	Meters int
}
