package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Cycle is one sweep of one site with one freeze instant.
type Cycle struct {
	ID        billing.CycleID
	Site      billing.SiteID `db:"site_id"`
	Day       billing.Date
	FreezeAt  time.Time
	WindowEnd time.Time // no pass starts after it
	State     billing.CycleState
	Passes    int
	Planned   int
	Read      int
	Estimated int
	Manual    int
	Missing   int
	OpenedAt  time.Time
	ClosedAt  *time.Time
}

const cycleColumns = `c.id, c.site_id, c.day, c.freeze_at, c.window_end, c.state, c.passes, c.planned, c.read, c.estimated, c.manual, c.missing, c.opened_at, c.closed_at`

// Cycle reads one cycle.
func (s *Store) Cycle(ctx context.Context, id billing.CycleID) (Cycle, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+cycleColumns+` FROM cycles c WHERE c.id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Cycle])
	return c, translate(err)
}

// lockCycle reads a cycle and keeps it from changing until the transaction ends.
func lockCycle(ctx context.Context, tx *Tx, id billing.CycleID) (Cycle, error) {
	rows, _ := tx.Query(ctx, `SELECT `+cycleColumns+` FROM cycles c WHERE c.id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Cycle])
}

// NewCycle is what a cycle is planned from. Without meters all fitted meters of the site are read.
type NewCycle struct {
	ID        billing.CycleID
	Site      billing.SiteID
	Day       billing.Date
	FreezeAt  time.Time
	WindowEnd time.Time
	Meters    []billing.MeterID
}

// PlanCycle creates a cycle and its list of meters: those fitted at the freeze instant. Planning it again changes nothing.
func (s *Store) PlanCycle(ctx context.Context, by By, n NewCycle) (Cycle, error) {
	err := s.Change(ctx, by, func(tx *Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO cycles (id, site_id, day, freeze_at, window_end, state, opened_at) VALUES ($1, $2, $3, $4, $5, 'planned', $6)
			ON CONFLICT (id) DO NOTHING`, n.ID, n.Site, n.Day, n.FreezeAt, n.WindowEnd, tx.Now)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return planMeters(ctx, tx, n)
	})
	if err != nil {
		return Cycle{}, err
	}
	return s.Cycle(ctx, n.ID)
}

func planMeters(ctx context.Context, tx *Tx, n NewCycle) error {
	if _, err := tx.Exec(ctx, `SELECT ensure_reading_partition($1)`, n.FreezeAt); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO cycle_meters (cycle_id, meter_id, gateway_id)
		SELECT $1, m.id, m.gateway_id FROM meters m JOIN fittings f ON f.meter_id = m.id
		WHERE m.site_id = $2 AND m.state = 'fitted' AND f.to_at IS NULL AND f.from_at <= $3 AND ($4::text[] IS NULL OR m.id = ANY($4))`,
		n.ID, n.Site, n.FreezeAt, n.Meters)
	if err != nil {
		return err
	}
	planned := tag.RowsAffected()
	if planned == 0 && n.Meters != nil {
		return billing.Errorf(billing.CodeNotFound, "none of these meters is fitted at site %s: check the meter numbers", n.Site)
	}
	if _, err := tx.Exec(ctx, `UPDATE cycles SET planned = $2 WHERE id = $1`, n.ID, planned); err != nil {
		return err
	}
	refs := make([]string, len(n.Meters))
	for i, m := range n.Meters {
		refs[i] = string(m)
	}
	return tx.Journal(ctx, Entry{Site: n.Site, Kind: "cycle", ID: string(n.ID), Event: "planned", To: string(billing.CyclePlanned), Refs: refs,
		Data: map[string]any{"meters": planned, "freeze_at": n.FreezeAt, "window_end": n.WindowEnd}})
}

// PlanOnDemand plans a cycle that a person asked for, of the whole site or of single meters, with the present instant as its freeze
// instant. Asked again by the same workflow it gives the same cycle.
func (s *Store) PlanOnDemand(ctx context.Context, by By, site Site, meters []billing.MeterID, window time.Duration) (Cycle, error) {
	var id billing.CycleID
	err := s.Change(ctx, by, func(tx *Tx) error {
		// One at a time per site, so that the number is the next.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('on demand ' || $1))`, site.ID); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `SELECT entity FROM journal WHERE refs @> ARRAY[$1] AND kind = 'cycle' LIMIT 1`, by.WorkflowID).Scan(&id)
		if err != pgx.ErrNoRows {
			return err
		}
		day := billing.DateOf(tx.Now, site.Zone)
		n := NewCycle{Site: site.ID, Day: day, FreezeAt: tx.Now.Truncate(time.Second), WindowEnd: tx.Now.Add(window), Meters: meters}
		var count int
		var last *time.Time
		err = tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE day = $2::date AND id <> $1 || '/' || $2), max(freeze_at) FROM cycles WHERE site_id = $1`,
			site.ID, day.String()).Scan(&count, &last)
		if err != nil {
			return err
		}
		if last != nil && !n.FreezeAt.After(*last) {
			// Two readings of one instant can't be told apart; a demo's clock may stand still between two clicks.
			n.FreezeAt = last.Add(time.Second)
		}
		id = billing.CycleID(fmt.Sprintf("%s/%s/%d", site.ID, day, count+1))
		n.ID = id
		_, err = tx.Exec(ctx, `INSERT INTO cycles (id, site_id, day, freeze_at, window_end, state, opened_at) VALUES ($1, $2, $3, $4, $5, 'planned', $6)`,
			n.ID, n.Site, n.Day, n.FreezeAt, n.WindowEnd, tx.Now)
		if err != nil {
			return err
		}
		return planMeters(ctx, tx, n)
	})
	if err != nil {
		return Cycle{}, err
	}
	return s.Cycle(ctx, id)
}

// cycleOrder is the one way that a cycle goes.
var cycleOrder = map[billing.CycleState]int{billing.CyclePlanned: 0, billing.CycleSweeping: 1, billing.CycleValidating: 2, billing.CycleClosed: 3}

// AdvanceCycle moves a cycle on to a state; one that is there or beyond stays as it is. Closing counts its outcomes.
func (s *Store) AdvanceCycle(ctx context.Context, by By, id billing.CycleID, to billing.CycleState) (Cycle, error) {
	err := s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockCycle(ctx, tx, id)
		if err != nil || cycleOrder[c.State] >= cycleOrder[to] {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE cycles SET state = $2, closed_at = CASE WHEN $2 = 'closed' THEN $3::timestamptz END,
			closed_real = CASE WHEN $2 = 'closed' THEN clock_timestamp() END WHERE id = $1`, id, to, tx.Now)
		if err != nil {
			return err
		}
		counts, err := recount(ctx, tx, id)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: c.Site, Kind: "cycle", ID: string(id), Event: string(to), From: string(c.State), To: string(to), Data: counts})
	})
	if err != nil {
		return Cycle{}, err
	}
	return s.Cycle(ctx, id)
}

// recount brings a cycle's counts in line with its meters' outcomes.
func recount(ctx context.Context, tx *Tx, id billing.CycleID) (map[string]int, error) {
	var read, estimated, manual, missing int
	err := tx.QueryRow(ctx, `UPDATE cycles SET (read, estimated, manual, missing) = (
			SELECT count(*) FILTER (WHERE outcome = 'read'), count(*) FILTER (WHERE outcome = 'estimated'), count(*) FILTER (WHERE outcome = 'manual'),
				count(*) FILTER (WHERE outcome NOT IN ('read', 'estimated', 'manual')) FROM cycle_meters WHERE cycle_id = $1)
		WHERE id = $1 RETURNING read, estimated, manual, missing`, id).Scan(&read, &estimated, &manual, &missing)
	return map[string]int{"read": read, "estimated": estimated, "manual": manual, "missing": missing}, err
}

// StartPass counts a pass over the meters that are still silent.
func (s *Store) StartPass(ctx context.Context, by By, id billing.CycleID, pass int) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		c, err := lockCycle(ctx, tx, id)
		if err != nil || c.Passes >= pass {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE cycles SET passes = $2 WHERE id = $1`, id, pass); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: c.Site, Kind: "cycle", ID: string(id), Event: "pass_started", From: string(c.State), To: string(c.State), Data: map[string]int{"pass": pass}})
	})
}

// GatewayLeft is a gateway of a cycle with the number of its meters that were not read yet.
type GatewayLeft struct {
	Gateway billing.GatewayID `db:"gateway_id"`
	Left    int
	Planned int
}

// CycleGateways lists the gateways of a cycle, by id.
func (s *Store) CycleGateways(ctx context.Context, id billing.CycleID) ([]GatewayLeft, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT gateway_id, count(*) FILTER (WHERE outcome IN ('planned', 'silent', 'refused', 'wrong')) AS left, count(*) AS planned
		FROM cycle_meters WHERE cycle_id = $1 GROUP BY gateway_id ORDER BY gateway_id`, id)
	gs, err := pgx.CollectRows(rows, pgx.RowToStructByName[GatewayLeft])
	return gs, translate(err)
}

// GatewaysToValidate lists the gateways of a cycle whose findings are not stored yet, by id.
func (s *Store) GatewaysToValidate(ctx context.Context, id billing.CycleID) ([]GatewayLeft, error) {
	all, err := s.CycleGateways(ctx, id)
	if err != nil {
		return nil, err
	}
	rows, _ := s.Pool.Query(ctx, `SELECT unnest(refs) FROM journal WHERE chain = 'cycle/' || $1 AND event = 'gateway_validated'`, id)
	stored, err := pgx.CollectRows(rows, pgx.RowTo[billing.GatewayID])
	return slices.DeleteFunc(all, func(g GatewayLeft) bool { return slices.Contains(stored, g.Gateway) }), translate(err)
}

// MetersLeft counts the meters of some gateways in a cycle that were not read.
func (s *Store) MetersLeft(ctx context.Context, id billing.CycleID, gateways []billing.GatewayID) (int, error) {
	var left int
	err := s.Pool.QueryRow(ctx, `SELECT count(*) FROM cycle_meters WHERE cycle_id = $1 AND gateway_id = ANY($2) AND outcome IN ('planned', 'silent', 'refused', 'wrong')`,
		id, gateways).Scan(&left)
	return left, translate(err)
}

// PlannedMeter is a meter of a cycle with what became of it so far.
type PlannedMeter struct {
	Meter
	Line    billing.GatewayID // the gateway that it was planned with
	Outcome string            // planned, read, silent, refused, wrong, estimated, manual
	Tries   int
	Error   string
}

const (
	plannedColumns = meterColumns + `, cm.gateway_id AS line, cm.outcome, cm.tries, cm.error`
	plannedMeters  = ` FROM cycle_meters cm JOIN meters m ON m.id = cm.meter_id WHERE cm.cycle_id = $1 AND cm.gateway_id = ANY($2)`
)

// CycleMeters reads the meters of some gateways in a cycle, line by line.
func (s *Store) CycleMeters(ctx context.Context, id billing.CycleID, gateways []billing.GatewayID) ([]PlannedMeter, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+plannedColumns+plannedMeters+` ORDER BY cm.gateway_id, cm.meter_id`, id, gateways)
	ms, err := pgx.CollectRows(rows, pgx.RowToStructByName[PlannedMeter])
	return ms, translate(err)
}

// MetersToSweep reads those of CycleMeters that a pass has still to ask, neither read nor tried in this pass yet, and hands them over as soon as
// they are read: first one of each line, so that no line waits for the meters of the others, and then, line by line, the rest.
func (s *Store) MetersToSweep(ctx context.Context, id billing.CycleID, gateways []billing.GatewayID, pass int, ask func([]PlannedMeter)) error {
	const toAsk = `cm.tries < $3 AND cm.outcome IN ('planned', 'silent', 'refused', 'wrong')`
	order := `cm.meter_id`
	if pass > 1 { // the silent ones first in the pass before aren't the first again
		order = `md5(cm.meter_id || $3::int), cm.meter_id`
	}
	rows, _ := s.Pool.Query(ctx, `SELECT `+plannedColumns+` FROM unnest($2::text[]) g(id)
		CROSS JOIN LATERAL (SELECT * FROM cycle_meters cm WHERE cm.cycle_id = $1 AND cm.gateway_id = g.id AND `+toAsk+` ORDER BY `+order+` LIMIT 1) cm
		JOIN meters m ON m.id = cm.meter_id`, id, gateways, pass)
	first := map[billing.MeterID]bool{}
	err := eachPlanned(rows, func(m PlannedMeter) {
		first[m.ID] = true
		ask([]PlannedMeter{m})
	})
	if err != nil {
		return err
	}
	rows, _ = s.Pool.Query(ctx, `SELECT `+plannedColumns+plannedMeters+` AND `+toAsk+` ORDER BY cm.gateway_id, `+order, id, gateways, pass)
	var of []PlannedMeter
	err = eachPlanned(rows, func(m PlannedMeter) {
		if first[m.ID] {
			return
		}
		if len(of) > 0 && of[0].Line != m.Line {
			ask(of)
			of = nil
		}
		of = append(of, m)
	})
	if err == nil && len(of) > 0 {
		ask(of)
	}
	return err
}

func eachPlanned(rows pgx.Rows, do func(PlannedMeter)) error {
	defer rows.Close()
	for rows.Next() {
		m, err := pgx.RowToStructByPos[PlannedMeter](rows) // of ten thousands: looking for names takes longer than reading
		if err != nil {
			return translate(err)
		}
		do(m)
	}
	return translate(rows.Err())
}

// Swept is what one try at a meter brought: a reading, or the reason why there is none.
type Swept struct {
	Gateway billing.GatewayID // the line that was asked
	Meter   billing.MeterID
	Outcome string // read, silent, refused, wrong
	Error   string
	Reading *Reading
}

// SaveSweep stores what a pass brought so far, of one line or of many, with one journal row for all of it. Saving it again changes nothing, and
// neither does a sweep that comes after the cycle has gone on to validation: nobody would judge its readings any more.
func (s *Store) SaveSweep(ctx context.Context, by By, id billing.CycleID, pass int, swept []Swept) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		rows, _ := tx.Query(ctx, `SELECT `+cycleColumns+` FROM cycles c WHERE c.id = $1 FOR SHARE`, id)
		c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Cycle])
		if err != nil || c.State != billing.CycleSweeping {
			return err
		}
		var readings []Reading
		var members, meters, failed, outcomes, errs, gateways []string
		for _, w := range swept {
			meters, gateways = append(meters, string(w.Meter)), append(gateways, string(w.Gateway))
			if w.Reading == nil {
				failed, outcomes, errs = append(failed, string(w.Meter)), append(outcomes, w.Outcome), append(errs, w.Error)
				continue
			}
			readings = append(readings, *w.Reading)
			members = append(members, w.Reading.member())
		}
		if err := insertReadings(ctx, tx, readings); err != nil {
			return err
		}
		// Named as an array and not as a table, the meters are looked for by the key, also where nothing is known of the table's size yet. What the
		// few that failed brought is looked for in arrays of their own, because that look goes through the whole array.
		_, err = tx.Exec(ctx, `UPDATE cycle_meters SET tries = $6,
				outcome = coalesce(($4::text[])[array_position($3::text[], meter_id)], 'read'), error = coalesce(($5::text[])[array_position($3::text[], meter_id)], '')
			WHERE cycle_id = $1 AND meter_id = ANY($2::text[]) AND outcome IN ('planned', 'silent', 'refused', 'wrong')`, id, meters, failed, outcomes, errs, pass)
		if err != nil {
			return err
		}
		slices.Sort(gateways)
		return tx.Journal(ctx, Entry{Site: c.Site, Kind: "cycle", ID: string(id), Event: "gateway_swept", From: string(c.State), To: string(c.State), Refs: slices.Compact(gateways),
			Data: map[string]any{"pass": pass, "count": len(readings), "failed": len(swept) - len(readings), "digest": digest(members)}})
	})
}
