package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Route is a reading route: meters of one site in walking order. It is master data.
type Route struct {
	ID        billing.RouteID
	Site      billing.SiteID `db:"site_id"`
	Name      string
	EveryDays int // a round is planned so often; 0: by hand only
	Kind      billing.RoundKind
	Active    bool
}

// RouteRow is a route with what a list shows of it.
type RouteRow struct {
	Route
	Meters    int
	Open      *billing.RoundID // the round that is under way
	LastDue   *billing.Date
	LastNames []string // the readers of the last three rounds, newest first
}

const routeColumns = `t.id, t.site_id, t.name, t.every_days, t.kind, t.active`

// Routes lists the routes of the given sites.
func (s *Store) Routes(ctx context.Context, sites []billing.SiteID) ([]RouteRow, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+routeColumns+`,
			(SELECT count(*) FROM reading_route_meters m WHERE m.route_id = t.id) AS meters,
			(SELECT w.id FROM rounds w WHERE w.route_id = t.id AND w.state NOT IN ('closed', 'cancelled')) AS open,
			(SELECT max(w.due_on) FROM rounds w WHERE w.route_id = t.id AND w.state <> 'cancelled') AS last_due,
			ARRAY(SELECT u.name FROM rounds w JOIN users u ON u.id = w.reader WHERE w.route_id = t.id AND w.state <> 'cancelled' ORDER BY w.due_on DESC, w.id DESC LIMIT 3) AS last_names
		FROM reading_routes t WHERE t.site_id = ANY($1) ORDER BY t.active DESC, t.site_id, t.name`, sites)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[RouteRow])
	return all, translate(err)
}

// Route reads one route with its meters in walking order.
func (s *Store) Route(ctx context.Context, id billing.RouteID) (Route, []billing.MeterID, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+routeColumns+` FROM reading_routes t WHERE t.id = $1`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Route])
	if err != nil {
		if err == pgx.ErrNoRows {
			err = billing.Errorf(billing.CodeNotFound, "there is no reading route %s: choose one of the list", id)
		}
		return r, nil, translate(err)
	}
	rows, _ = s.Pool.Query(ctx, `SELECT meter_id FROM reading_route_meters WHERE route_id = $1 ORDER BY seq`, id)
	meters, err := pgx.CollectRows(rows, pgx.RowTo[billing.MeterID])
	return r, meters, translate(err)
}

func lockRoute(ctx context.Context, tx *Tx, id billing.RouteID) (Route, error) {
	rows, _ := tx.Query(ctx, `SELECT `+routeColumns+` FROM reading_routes t WHERE t.id = $1 FOR UPDATE`, id)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Route])
	if err == pgx.ErrNoRows {
		return r, billing.Errorf(billing.CodeNotFound, "there is no reading route %s: choose one of the list", id)
	}
	return r, err
}

// MaxRouteMeters bounds a route: nobody reads more in a day.
const MaxRouteMeters = 500

// SaveRoute makes a route, or replaces name, rhythm and list of one that exists. Rounds that are under way keep their list.
func (s *Store) SaveRoute(ctx context.Context, by By, r Route, meters []billing.MeterID) (billing.RouteID, error) {
	if len(meters) == 0 || len(meters) > MaxRouteMeters {
		return "", billing.Errorf(billing.CodeInvalidInput, "a route has 1 to %d meters: write one meter number per line, in walking order", MaxRouteMeters)
	}
	err := s.Change(ctx, by, func(tx *Tx) error {
		event := "changed"
		if r.ID == "" {
			event = "added"
			if err := tx.QueryRow(ctx, `SELECT 'W' || nextval('route_no')`).Scan(&r.ID); err != nil {
				return err
			}
		} else if was, err := lockRoute(ctx, tx, r.ID); err != nil {
			return err
		} else if was.Site != r.Site {
			return billing.Errorf(billing.CodeInvalidInput, "a route stays at its site: make another for this one")
		}
		if err := routeMetersKnown(ctx, tx, r.Site, meters); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO reading_routes (id, site_id, name, every_days, kind, active) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, every_days = excluded.every_days, kind = excluded.kind, active = excluded.active`,
			r.ID, r.Site, r.Name, r.EveryDays, r.Kind, r.Active)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM reading_route_meters WHERE route_id = $1`, r.ID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO reading_route_meters (route_id, seq, meter_id) SELECT $1, n, m FROM unnest($2::text[]) WITH ORDINALITY w (m, n)`, r.ID, meters); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: r.Site, Kind: "route", ID: string(r.ID), Event: event,
			Data: map[string]any{"name": r.Name, "every_days": r.EveryDays, "kind": r.Kind, "active": r.Active, "meters": meters}})
	})
	return r.ID, err
}

// routeMetersKnown names the first meter that is unknown, fitted elsewhere or listed twice.
func routeMetersKnown(ctx context.Context, tx *Tx, site billing.SiteID, meters []billing.MeterID) error {
	rows, _ := tx.Query(ctx, `SELECT id FROM meters WHERE id = ANY($1) AND site_id = $2 AND state = 'fitted'`, meters, site)
	known, err := pgx.CollectRows(rows, pgx.RowTo[billing.MeterID])
	if err != nil {
		return err
	}
	there := map[billing.MeterID]bool{}
	for _, id := range known {
		there[id] = true
	}
	line := map[billing.MeterID]int{}
	for i, id := range meters {
		if first, twice := line[id]; twice {
			return billing.Errorf(billing.CodeInvalidInput, "line %d: meter %s stands in line %d already: leave it there once", i+1, id, first)
		}
		if !there[id] {
			return billing.Errorf(billing.CodeInvalidInput, "line %d: no meter %s is fitted at this site: check the number", i+1, id)
		}
		line[id] = i + 1
	}
	return nil
}

// ReadersInRow counts the newest rounds of a route that one and the same reader walked, without a break, and says who that is: readers
// rotate areas.
func (s *Store) ReadersInRow(ctx context.Context, route billing.RouteID, without billing.RoundID) (billing.UserID, int, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT reader FROM rounds WHERE route_id = $1 AND id <> $2 AND reader IS NOT NULL AND submitted_at IS NOT NULL AND state <> 'cancelled'
		ORDER BY submitted_at DESC LIMIT 20`, route, without)
	readers, err := pgx.CollectRows(rows, pgx.RowTo[billing.UserID])
	if err != nil || len(readers) == 0 {
		return "", 0, translate(err)
	}
	n := 0
	for n < len(readers) && readers[n] == readers[0] {
		n++
	}
	return readers[0], n, nil
}

// Readers are the active people who may read at a site, by name.
func (s *Store) Readers(ctx context.Context, site billing.SiteID) ([]User, error) {
	users, err := s.Users(ctx)
	if err != nil {
		return nil, err
	}
	var out []User
	for _, u := range users {
		for _, own := range u.Sites {
			if own == site && u.Active && u.Role == billing.RoleReader {
				out = append(out, u)
			}
		}
	}
	return out, nil
}

// RoundDue is a round that should be planned.
type RoundDue struct {
	RoundID billing.RoundID
	Route   billing.RouteID
	Kind    billing.RoundKind
	DueOn   billing.Date
}

// roundAhead is for how many days ahead a round is planned, so that there is time to assign it.
const roundAhead = 1

// DueRounds are the rounds of routes with a rhythm whose next day has come near, and that don't exist. A day that nobody planned for is made
// up by one round, not by several: registers are cumulative.
func (s *Store) DueRounds(ctx context.Context, site Site, now time.Time) ([]RoundDue, error) {
	today := billing.DateOf(now, site.Zone)
	rows, _ := s.Pool.Query(ctx, `SELECT t.id, t.kind, t.every_days, (SELECT max(w.due_on) FROM rounds w WHERE w.route_id = t.id) AS last
		FROM reading_routes t WHERE t.site_id = $1 AND t.active AND t.every_days > 0
			AND NOT EXISTS (SELECT 1 FROM rounds w WHERE w.route_id = t.id AND w.state NOT IN ('closed', 'cancelled'))
			AND EXISTS (SELECT 1 FROM reading_route_meters r JOIN meters m ON m.id = r.meter_id AND m.state = 'fitted' WHERE r.route_id = t.id) ORDER BY t.id`, site.ID)
	type rhythm struct {
		Route billing.RouteID
		Kind  billing.RoundKind
		Every int
		Last  *billing.Date
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[rhythm])
	if err != nil {
		return nil, translate(err)
	}
	var due []RoundDue
	for _, r := range all {
		day := today.AddDays(roundAhead)
		if r.Last != nil {
			day = r.Last.AddDays(r.Every)
		}
		if day.After(today.AddDays(roundAhead)) {
			continue
		}
		if day.Before(today) {
			day = today
		}
		// The id is the route's and the day's, so that two looks at once yield one round.
		due = append(due, RoundDue{RoundID: billing.RoundID("L-" + string(r.Route) + "-" + day.String()), Route: r.Route, Kind: r.Kind, DueOn: day})
	}
	return due, nil
}
