package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// MeterRow is a meter as a list shows it: what hangs on it, and what it said last.
type MeterRow struct {
	Meter
	GatewayName string
	Account     billing.AccountID // empty without one
	Customer    string
	Address     string
	CreditMode  billing.CreditMode
	BalanceFen  billing.Money
	Supply      billing.SupplyState // as proved; empty without an account
	Wanted      billing.SupplyState
	SupplySince *time.Time
	CutCause    string
	Guarded     bool
	HeldBy      billing.BatchID
	ReadAt      *time.Time // freeze instant of the newest reading; nil before the first
	Quality     billing.Quality
	Doubtful    bool
	Registers   billing.Registers
	ReadSupply  string // as read
	OpenCases   int
}

func selectMeterRow(where string) string {
	return `SELECT ` + meterColumns + `, g.name AS gateway_name, coalesce(a.id, '') AS account, coalesce(cu.name, '') AS customer, coalesce(sp.address, '') AS address,
		coalesce(a.credit_mode, '') AS credit_mode, coalesce(b.balance_fen, 0) AS balance_fen, coalesce(su.state, '') AS supply, coalesce(su.wanted, '') AS wanted,
		su.since_at AS supply_since, coalesce(su.cut_cause, '') AS cut_cause, coalesce(su.guarded, false) AS guarded, coalesce(su.held_by, '') AS held_by,
		r.freeze_at AS read_at, coalesce(r.quality, '') AS quality, coalesce(r.doubtful, false) AS doubtful, r.registers, coalesce(r.supply, '') AS read_supply,
		k.n AS open_cases, m.total
	FROM (SELECT x.*, count(*) OVER () AS total FROM meters x
		LEFT JOIN fittings xf ON xf.meter_id = x.id AND xf.to_at IS NULL LEFT JOIN accounts xa ON xa.service_point_id = xf.service_point_id
		LEFT JOIN supplies xs ON xs.account_id = xa.id LEFT JOIN customers xc ON xc.id = xa.customer_id
		WHERE ` + where + `) m
	JOIN gateways g ON g.id = m.gateway_id
	LEFT JOIN fittings f ON f.meter_id = m.id AND f.to_at IS NULL LEFT JOIN service_points sp ON sp.id = f.service_point_id
	LEFT JOIN accounts a ON a.service_point_id = f.service_point_id LEFT JOIN customers cu ON cu.id = a.customer_id
	LEFT JOIN balances b ON b.account_id = a.id LEFT JOIN supplies su ON su.account_id = a.id
	LEFT JOIN LATERAL (SELECT freeze_at, quality, doubtful, registers, supply FROM readings WHERE meter_id = m.id ORDER BY freeze_at DESC, version DESC LIMIT 1) r ON true
	LEFT JOIN LATERAL (SELECT count(DISTINCT cm.case_id)::int AS n FROM case_members cm JOIN cases c ON c.id = cm.case_id AND c.state = 'open' WHERE cm.meter_id = m.id AND cm.outcome = '') k ON true
	ORDER BY m.gateway_id, m.unit, m.id`
}

type countedMeter struct {
	MeterRow
	Total int
}

// MeterFilter chooses meters. Zero fields choose all that are fitted; a text finds removed ones too.
type MeterFilter struct {
	Sites   []billing.SiteID
	Gateway billing.GatewayID
	Box     string
	Service billing.Service
	Supply  string // proved state
	Command string // open: one that isn't settled; refused or another state: has one in it
	Silent  bool   // without a reading since SilentSince
	// SilentSince is the freeze instant from which a meter should have a reading.
	SilentSince time.Time
	Text        string // part of the meter's number, serial, account, customer's name
	Removed     bool   // those that were taken off instead
}

// MeterPage lists the meters that the filter chooses, by gateway and unit, and counts them all.
func (s *Store) MeterPage(ctx context.Context, f MeterFilter, limit, offset int) ([]MeterRow, int, error) {
	where := `x.site_id = ANY(@sites) AND (@gateway = '' OR x.gateway_id = @gateway) AND (@box = '' OR x.box_id = @box) AND (@service = '' OR x.service = @service)
		AND (x.state = CASE WHEN @removed THEN 'removed' ELSE 'fitted' END OR @text <> '') AND (@supply = '' OR xs.state = @supply)
		AND (@command = '' OR EXISTS (SELECT 1 FROM commands c WHERE c.meter_id = x.id
			AND (c.state = @command OR (@command = 'open' AND c.state IN ('requested', 'sending', 'acknowledged', 'unknown')))))
		AND (NOT @silent OR NOT EXISTS (SELECT 1 FROM readings r WHERE r.meter_id = x.id AND r.freeze_at >= @since))
		AND (@text = '' OR position(lower(@text) IN lower(concat_ws(' ', x.id, x.serial, xa.id, xc.name))) > 0)
		ORDER BY x.gateway_id, x.unit, x.id LIMIT @limit OFFSET @offset`
	rows, _ := s.Pool.Query(ctx, selectMeterRow(where), pgx.NamedArgs{"sites": f.Sites, "gateway": f.Gateway, "box": f.Box, "service": f.Service,
		"removed": f.Removed, "supply": f.Supply, "command": f.Command, "silent": f.Silent, "since": f.SilentSince, "text": f.Text, "limit": limit, "offset": offset})
	return unwrap(rows, func(m countedMeter) (MeterRow, int) { return m.MeterRow, m.Total })
}

// MeterRow reads one meter as a list shows it, fitted or removed.
func (s *Store) MeterRow(ctx context.Context, id billing.MeterID) (MeterRow, error) {
	rows, _ := s.Pool.Query(ctx, selectMeterRow(`x.id = $1`), id)
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[countedMeter])
	return m.MeterRow, translate(err)
}

// MeterRows reads several meters, by gateway and unit; those that don't exist are missing from the answer.
func (s *Store) MeterRows(ctx context.Context, ids []billing.MeterID) ([]MeterRow, error) {
	rows, _ := s.Pool.Query(ctx, selectMeterRow(`x.id = ANY($1)`), ids)
	list, _, err := unwrap(rows, func(m countedMeter) (MeterRow, int) { return m.MeterRow, m.Total })
	return list, err
}

// LatestReading reads a meter's newest reading in its current version, doubtful or not; nil before the first.
func (s *Store) LatestReading(ctx context.Context, id billing.MeterID) (*Reading, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+readingColumns+` FROM readings r WHERE r.meter_id = $1 ORDER BY r.freeze_at DESC, r.version DESC LIMIT 1`, id)
	r, err := optional[Reading](rows)
	return r, translate(err)
}

// LatestShown reads what each of several meters showed last by itself: its newest reading that nobody estimated or typed in, doubtful or not.
func (s *Store) LatestShown(ctx context.Context, meters []billing.MeterID) (map[billing.MeterID]Reading, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+readingColumns+` FROM unnest($1::text[]) AS w (id) CROSS JOIN LATERAL (
		SELECT * FROM readings WHERE meter_id = w.id AND quality = 'actual' ORDER BY freeze_at DESC, version DESC LIMIT 1) r`, meters)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Reading])
	by := make(map[billing.MeterID]Reading, len(all))
	for _, r := range all {
		by[r.Meter] = r
	}
	return by, translate(err)
}

// MeterCommands lists the newest commands of a meter with their proof.
func (s *Store) MeterCommands(ctx context.Context, id billing.MeterID, limit int) ([]Command, error) {
	rows, _ := s.Pool.Query(ctx, selectCommand+` WHERE meter_id = $1 ORDER BY requested_at DESC, length(id) DESC, id DESC LIMIT $2`, id, limit)
	cs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Command])
	return cs, translate(err)
}

// MeterFittings lists all fittings of the service points that a meter is or was fitted at, newest first.
func (s *Store) MeterFittings(ctx context.Context, id billing.MeterID) ([]Fitting, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT f.id, f.service_point_id, f.meter_id, m.service, m.digits, f.ratio, f.from_at, f.to_at, f.opening, f.closing
		FROM fittings f JOIN meters m ON m.id = f.meter_id
		WHERE f.service_point_id IN (SELECT service_point_id FROM fittings WHERE meter_id = $1) ORDER BY f.from_at DESC, f.id DESC`, id)
	fs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Fitting])
	return fs, translate(err)
}

// DayUse is what a meter counted on one local day, raw, before the ratio. A day without a reading at its end has no quality; its use
// is unknown.
type DayUse struct {
	Day      billing.Date
	Raw      int64
	Quality  billing.Quality
	Doubtful bool
}

// UseByDay is the use of each day in [from, to) by the current readings, doubtful ones included: what a person looks at. The first day
// that the meter was fitted on leads the list. When readings are missing in between, the use since the last one is spread over the days up
// to the next. A register that went back counts as 0.
func (s *Store) UseByDay(ctx context.Context, meter Meter, zone *time.Location, from, to billing.Date) ([]DayUse, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT at, registers, quality, doubtful FROM (
			SELECT r.freeze_at AS at, r.registers, r.quality, r.doubtful FROM current_readings r WHERE r.meter_id = $1 AND r.freeze_at >= $2 AND r.freeze_at <= $3
			UNION ALL
			SELECT f.from_at, f.opening, 'actual', false FROM fittings f WHERE f.meter_id = $1 AND f.from_at >= $2 AND f.from_at < $3
				AND NOT EXISTS (SELECT 1 FROM readings g WHERE g.meter_id = f.meter_id AND g.freeze_at = f.from_at)
		) p ORDER BY at`, meter.ID, from.Start(zone), to.Start(zone))
	type point struct {
		At        time.Time
		Registers billing.Registers
		Quality   billing.Quality
		Doubtful  bool
	}
	points, err := pgx.CollectRows(rows, pgx.RowToStructByPos[point])
	if err != nil || len(points) == 0 {
		return nil, translate(err)
	}
	first := billing.DateOf(points[0].At, zone)
	days := make([]DayUse, max(first.DaysUntil(to), 0))
	for i := range days {
		days[i].Day = first.AddDays(i)
	}
	last, next := 0, 0
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		end := billing.DateOf(b.At.Add(-time.Nanosecond), zone)
		next = min(first.DaysUntil(end)+1, len(days))
		use, err := billing.Usage(a.Registers, b.Registers, meter.Digits)
		if err != nil {
			use = billing.Registers{0}
		}
		spread(days[min(last, max(next-1, 0)):next], use.Total(), b.Quality, b.Doubtful)
		if !b.At.Before(end.AddDays(1).Start(zone)) {
			last = next
		} else {
			last = max(next-1, 0) // a reading within the day: what follows adds to it
		}
	}
	return days, nil
}

// spread adds a use evenly to some days; what doesn't divide goes to the last.
func spread(days []DayUse, raw int64, quality billing.Quality, doubtful bool) {
	n := int64(len(days))
	for i := range days {
		d := &days[i]
		d.Raw += raw / n
		d.Doubtful = d.Doubtful || doubtful
		if int64(i) == n-1 {
			d.Raw += raw % n
			d.Quality = quality
		}
	}
}
