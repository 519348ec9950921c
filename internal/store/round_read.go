package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// RoundRow is a round with what a list shows of it.
type RoundRow struct {
	Round
	RouteName   string
	ReaderName  string
	CheckerName string
	Meters      int
	Entered     int // lines with a value or a reason
	Values      int
	Warned      int // values that the checks said something about
	Doubtful    int
	Findings    int // about the reader's work, open ones
}

const selectRoundRow = `SELECT ` + roundColumns + `, t.name AS route_name, coalesce(u.name, '') AS reader_name, coalesce(k.name, '') AS checker_name,
		i.meters, i.entered, i.values, i.warned, i.doubtful,
		(SELECT count(*) FROM reader_findings f WHERE f.round_id = w.id AND f.settled_at IS NULL) AS findings
	FROM rounds w JOIN reading_routes t ON t.id = w.route_id LEFT JOIN users u ON u.id = w.reader LEFT JOIN users k ON k.id = w.checked_by
	CROSS JOIN LATERAL (SELECT count(*) AS meters, count(*) FILTER (WHERE entered_at IS NOT NULL) AS entered, count(registers) AS values,
		count(*) FILTER (WHERE warnings <> '[]') AS warned, count(*) FILTER (WHERE outcome = 'doubtful') AS doubtful FROM round_items WHERE round_id = w.id) i`

// RoundFilter chooses rounds. Empty fields don't filter.
type RoundFilter struct {
	Sites  []billing.SiteID
	State  string // a state, or 'open' for all that are not final
	Reader billing.UserID
}

// RoundPage lists rounds, those under way first, by due day, and counts them all.
func (s *Store) RoundPage(ctx context.Context, f RoundFilter, limit, offset int) ([]RoundRow, int, error) {
	const where = ` WHERE w.site_id = ANY($1) AND ($2 = '' OR w.state = $2 OR ($2 = 'open' AND w.state NOT IN ('closed', 'cancelled'))) AND ($3 = '' OR w.reader = $3)`
	var total int
	if err := s.Pool.QueryRow(ctx, `SELECT count(*) FROM rounds w`+where, f.Sites, f.State, f.Reader).Scan(&total); err != nil {
		return nil, 0, translate(err)
	}
	rows, _ := s.Pool.Query(ctx, selectRoundRow+where+` ORDER BY w.state IN ('closed', 'cancelled'), CASE WHEN w.state IN ('closed', 'cancelled') THEN w.planned_at END DESC,
		w.due_on, w.id LIMIT $4 OFFSET $5`, f.Sites, f.State, f.Reader, limit, offset)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[RoundRow])
	return all, total, translate(err)
}

// RoundRow reads one round as a list shows it.
func (s *Store) RoundRow(ctx context.Context, id billing.RoundID) (RoundRow, error) {
	rows, _ := s.Pool.Query(ctx, selectRoundRow+` WHERE w.id = $1`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[RoundRow])
	if err == pgx.ErrNoRows {
		return r, billing.Errorf(billing.CodeNotFound, "there is no reading round %s: check the number", id)
	}
	return r, translate(err)
}

// RoundCounts are the numbers beside the views of the list.
type RoundCounts struct {
	Open      int
	Mine      int // given to this person and not submitted
	Submitted int // waiting for a check by somebody else than the reader
	Findings  int // open ones
}

// RoundCounts reads them for one person.
func (s *Store) RoundCounts(ctx context.Context, sites []billing.SiteID, person billing.UserID) (RoundCounts, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT count(*) FILTER (WHERE state NOT IN ('closed', 'cancelled')), count(*) FILTER (WHERE reader = $2 AND state IN ('assigned', 'in_progress')),
			count(*) FILTER (WHERE state = 'submitted' AND reader <> $2),
			(SELECT count(*) FROM reader_findings WHERE site_id = ANY($1) AND settled_at IS NULL)
		FROM rounds WHERE site_id = ANY($1)`, sites, person)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[RoundCounts])
	return c, translate(err)
}

// UnreadMeters are the meters of a site with an open case about missing readings, by gateway and number: what a round should walk to.
func (s *Store) UnreadMeters(ctx context.Context, site billing.SiteID, limit int) ([]billing.MeterID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT m.gateway_id, m.id FROM case_members cm JOIN cases k ON k.id = cm.case_id JOIN meters m ON m.id = cm.meter_id
		WHERE k.site_id = $1 AND k.state = 'open' AND k.kind IN ('missing', 'gateway_silent') AND cm.outcome = '' AND m.state = 'fitted' ORDER BY m.gateway_id, m.id LIMIT $2`, site, limit)
	type row struct {
		Gateway billing.GatewayID
		Meter   billing.MeterID
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	ids := make([]billing.MeterID, 0, len(all))
	for _, r := range all {
		ids = append(ids, r.Meter)
	}
	return ids, translate(err)
}
