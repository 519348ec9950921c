package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// AreaKind says what an area's meters have in common.
type AreaKind string

// The kinds of areas: all of a site, those on a gateway's line, those of a reading route, which a supervisor puts together.
const (
	AreaSite  AreaKind = "site"
	AreaLine  AreaKind = "line"
	AreaRoute AreaKind = "route"
)

// Area is a place with water meters that are looked after together.
type Area struct {
	Kind   AreaKind
	ID     string // of the site, gateway or route
	Site   billing.SiteID
	Name   string // of the gateway or route; empty for a site
	Meters int    // water meters that are fitted
	Shut   int    // of which are proved to be shut off
	Doubt  int    // of whose valve nobody knows
	Cases  int    // with an open exception
}

const selectAreas = `WITH m AS (
		SELECT x.id, x.site_id, x.gateway_id, coalesce(su.state, '') AS state,
			EXISTS (SELECT 1 FROM case_members cm JOIN cases c ON c.id = cm.case_id AND c.state = 'open' WHERE cm.meter_id = x.id AND cm.outcome = '') AS open_case
		FROM meters x LEFT JOIN fittings f ON f.meter_id = x.id AND f.to_at IS NULL LEFT JOIN accounts a ON a.service_point_id = f.service_point_id LEFT JOIN supplies su ON su.account_id = a.id
		WHERE x.service = 'water' AND x.state = 'fitted' AND x.site_id = ANY($1)),
	p AS (
		SELECT 'site' AS kind, site_id AS area, site_id AS site, '' AS name, id FROM m
		UNION ALL SELECT 'line', g.id, g.site_id, g.name, m.id FROM m JOIN gateways g ON g.id = m.gateway_id
		UNION ALL SELECT 'route', t.id, t.site_id, t.name, m.id FROM m JOIN reading_route_meters r ON r.meter_id = m.id JOIN reading_routes t ON t.id = r.route_id AND t.active)
	SELECT p.kind, p.area AS id, p.site, p.name, count(*)::int AS meters, count(*) FILTER (WHERE m.state = 'off')::int AS shut,
		count(*) FILTER (WHERE m.state = 'unknown')::int AS doubt, count(*) FILTER (WHERE m.open_case)::int AS cases
	FROM p JOIN m USING (id)`

// Areas lists the areas of some sites that have water meters: each site, then its lines and routes.
func (s *Store) Areas(ctx context.Context, sites []billing.SiteID) ([]Area, error) {
	rows, _ := s.Pool.Query(ctx, selectAreas+` GROUP BY p.kind, p.area, p.site, p.name ORDER BY p.site, array_position(ARRAY['site', 'line', 'route'], p.kind), p.name, p.area`, sites)
	as, err := pgx.CollectRows(rows, pgx.RowToStructByName[Area])
	return as, translate(err)
}

// Area reads one area of some sites; billing.CodeNotFound where it has no water meters, or is another site's.
func (s *Store) Area(ctx context.Context, sites []billing.SiteID, kind AreaKind, id string) (Area, error) {
	rows, _ := s.Pool.Query(ctx, selectAreas+` WHERE p.kind = $2 AND p.area = $3 GROUP BY p.kind, p.area, p.site, p.name`, sites, kind, id)
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Area])
	if err == pgx.ErrNoRows {
		return a, billing.Errorf(billing.CodeNotFound, "there is no such area with water meters: choose one of the list")
	}
	return a, translate(err)
}

// AreaMeters lists the fitted water meters of an area in its order (a route's is the one in which it is walked), and counts them all.
func (s *Store) AreaMeters(ctx context.Context, a Area, limit, offset int) ([]MeterRow, int, error) {
	if a.Kind != AreaRoute {
		f := MeterFilter{Sites: []billing.SiteID{a.Site}, Service: billing.Water}
		if a.Kind == AreaLine {
			f.Gateway = billing.GatewayID(a.ID)
		}
		return s.MeterPage(ctx, f, limit, offset)
	}
	rows, _ := s.Pool.Query(ctx, `SELECT m.id FROM reading_route_meters r JOIN meters m ON m.id = r.meter_id AND m.state = 'fitted' AND m.service = 'water'
		WHERE r.route_id = $1 ORDER BY r.seq LIMIT $2 OFFSET $3`, a.ID, limit, offset)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.MeterID])
	if err != nil {
		return nil, 0, translate(err)
	}
	found, err := s.MeterRows(ctx, ids)
	if err != nil {
		return nil, 0, err
	}
	by := make(map[billing.MeterID]MeterRow, len(found))
	for _, m := range found {
		by[m.ID] = m
	}
	ordered := make([]MeterRow, len(ids))
	for i, id := range ids {
		ordered[i] = by[id]
	}
	return ordered, a.Meters, nil
}
