package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// OnTimeDays is the days by which a reading counts as on schedule where a site's policy names no others: |upload − planned day| < 2 (State Grid's
// rules of reading, Art. 5).
const OnTimeDays = 2

// Schedule says how the planned readings of a cycle, or of a reader, came. Each is counted once.
type Schedule struct {
	// OnTimeDays: on schedule is less than so many local days before or after the planned day.
	OnTimeDays int
	Planned    int
	// OnSchedule came at the first attempt, and within the days.
	OnSchedule int
	// MadeUp were missed at first and measured afterwards, still within the days.
	MadeUp int
	// Late were measured, at whichever attempt, but not within the days.
	Late int
	// Estimated rest on no measurement.
	Estimated int
	// Missing have no value, although they were asked for.
	Missing int
	// Pending were not asked for yet.
	Pending int
}

const scheduleCounts = `count(*)::int AS planned, count(*) FILTER (WHERE way = 'on_schedule')::int AS on_schedule, count(*) FILTER (WHERE way = 'made_up')::int AS made_up,
	count(*) FILTER (WHERE way = 'late')::int AS late, count(*) FILTER (WHERE way = 'estimated')::int AS estimated,
	count(*) FILTER (WHERE way = 'missing')::int AS missing, count(*) FILTER (WHERE way = 'pending')::int AS pending`

// CycleSchedule counts how the readings of a cycle came. A reading was uploaded when a gateway brought it or a person entered it, one of a round
// when its round was submitted. The first measured version counts: what is decided about a reading later doesn't make it late.
func (s *Store) CycleSchedule(ctx context.Context, id billing.CycleID) (Schedule, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT days AS on_time_days, `+scheduleCounts+` FROM (
			SELECT y.days, CASE
				WHEN now.quality IS NULL THEN CASE WHEN cm.outcome = 'planned' AND c.state <> 'closed' THEN 'pending' ELSE 'missing' END
				WHEN now.quality = 'estimated' OR first.at IS NULL THEN 'estimated'
				WHEN abs((first.at AT TIME ZONE s.time_zone)::date - c.day) >= y.days THEN 'late'
				WHEN EXISTS (SELECT 1 FROM case_members x JOIN cases k ON k.id = x.case_id WHERE x.meter_id = cm.meter_id AND x.freeze_at = c.freeze_at
					AND x.reading_version IS NULL AND k.kind IN ($3, $4)) THEN 'made_up'
				ELSE 'on_schedule' END AS way
			FROM cycles c JOIN sites s ON s.id = c.site_id JOIN cycle_meters cm ON cm.cycle_id = c.id
			CROSS JOIN LATERAL (SELECT coalesce((s.policy #>> '{rounds,on_time_days}')::int, $2) AS days) y
			LEFT JOIN LATERAL (SELECT quality FROM readings WHERE meter_id = cm.meter_id AND freeze_at = c.freeze_at ORDER BY version DESC LIMIT 1) now ON true
			LEFT JOIN LATERAL (SELECT coalesce((SELECT w.submitted_at FROM round_items i JOIN rounds w ON w.id = i.round_id
						WHERE r.quality = 'manual' AND i.meter_id = r.meter_id AND i.taken_at = r.taken_at AND i.entered_by = r.recorded_by AND i.outcome <> '' LIMIT 1), r.taken_at) AS at
				FROM readings r WHERE r.meter_id = cm.meter_id AND r.freeze_at = c.freeze_at AND r.quality <> 'estimated' ORDER BY r.version LIMIT 1) first ON true
			WHERE c.id = $1) each GROUP BY days`, id, OnTimeDays, KindMissing, KindGatewaySilent)
	sc, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Schedule])
	if err == pgx.ErrNoRows { // a cycle of a site without meters
		return Schedule{OnTimeDays: OnTimeDays}, nil
	}
	return sc, translate(err)
}

// ReaderSchedule is how one reader's own lines came: those of the rounds that were given to them.
type ReaderSchedule struct {
	Reader     billing.UserID
	ReaderName string
	Rounds     int
	Schedule
}

// ReaderSchedules counts, per reader, the lines of rounds planned for since or later that were submitted or are overdue; by name. Made up is here a
// value that answered a reading that a cycle had missed; without a value, a line is estimated when the system had to estimate the meter within
// the days of the round.
func (s *Store) ReaderSchedules(ctx context.Context, sites []billing.SiteID, since billing.Date) ([]ReaderSchedule, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT reader, reader_name, count(DISTINCT round_id)::int AS rounds, max(days) AS on_time_days, `+scheduleCounts+` FROM (
			SELECT w.reader, u.name AS reader_name, w.id AS round_id, w.on_time_days AS days, CASE
				WHEN w.submitted_at IS NOT NULL AND i.registers IS NOT NULL THEN CASE
					WHEN abs((w.submitted_at AT TIME ZONE s.time_zone)::date - w.due_on) >= w.on_time_days THEN 'late'
					WHEN EXISTS (SELECT 1 FROM readings r JOIN case_members x ON x.meter_id = r.meter_id AND x.freeze_at = r.freeze_at
						WHERE r.meter_id = i.meter_id AND r.freeze_at <= i.taken_at AND r.freeze_at > i.taken_at - interval '31 days' AND r.taken_at = i.taken_at
							AND r.quality = 'manual' AND r.recorded_by = w.reader AND x.reading_version IS NULL) THEN 'made_up'
					ELSE 'on_schedule' END
				WHEN EXISTS (SELECT 1 FROM current_readings r WHERE r.meter_id = i.meter_id AND r.quality = 'estimated'
					AND r.freeze_at >= (w.due_on - (w.on_time_days - 1))::timestamp AT TIME ZONE s.time_zone
					AND r.freeze_at < (w.due_on + w.on_time_days)::timestamp AT TIME ZONE s.time_zone) THEN 'estimated'
				ELSE 'missing' END AS way
			FROM rounds w JOIN sites s ON s.id = w.site_id JOIN users u ON u.id = w.reader JOIN round_items i ON i.round_id = w.id
			WHERE w.site_id = ANY($1) AND w.due_on >= $2 AND w.state <> 'cancelled' AND (w.submitted_at IS NOT NULL OR w.late_at IS NOT NULL)) each
		GROUP BY reader, reader_name ORDER BY reader_name, reader`, sites, since)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[ReaderSchedule])
	return all, translate(err)
}
