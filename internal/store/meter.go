package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Gateway is a device that speaks TCP to us and serial to the meters on its one line.
type Gateway struct {
	ID   billing.GatewayID
	Site billing.SiteID `db:"site_id"`
	Name string
	// Link is modbus_tcp (also when empty), transparent or dial_in; see devices.LinkKind.
	Link          string
	Address       string // host:port; empty for a unit that dials in
	Registration  string `db:"registration_id"` // of a unit that dials in
	Secret        []byte `db:"secret_sha256"`   // SHA-256 of what it registers with
	PauseMillis   int    `db:"pause_ms"`
	TimeoutMillis int    `db:"timeout_ms"`
	WorstMillis   int    `db:"worst_case_ms"` // the gateway's own worst case: TimeoutMillis is never shorter
	CachesMillis  int    `db:"caches_reads_ms"`
}

const gatewayColumns = `g.id, g.site_id, g.name, g.link, coalesce(g.address, '') AS address, coalesce(g.registration_id, '') AS registration_id, g.secret_sha256,
	g.pause_ms, g.timeout_ms, g.worst_case_ms, g.caches_reads_ms`

// Gateway reads one gateway.
func (s *Store) Gateway(ctx context.Context, id billing.GatewayID) (Gateway, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+gatewayColumns+` FROM gateways g WHERE g.id = $1`, id)
	g, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Gateway])
	return g, translate(err)
}

// Gateways reads the gateways of the given sites, by id.
func (s *Store) Gateways(ctx context.Context, sites []billing.SiteID) ([]Gateway, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+gatewayColumns+` FROM gateways g WHERE g.site_id = ANY($1) ORDER BY g.id`, sites)
	gs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Gateway])
	return gs, translate(err)
}

// GatewaysByID reads several gateways; those that don't exist are missing.
func (s *Store) GatewaysByID(ctx context.Context, ids []billing.GatewayID) (map[billing.GatewayID]Gateway, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+gatewayColumns+` FROM gateways g WHERE g.id = ANY($1)`, ids)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Gateway])
	by := make(map[billing.GatewayID]Gateway, len(all))
	for _, g := range all {
		by[g.ID] = g
	}
	return by, translate(err)
}

// GatewayOfUnit finds the gateway of a unit that dials in by its registration; billing.CodeNotFound when there is none.
func (s *Store) GatewayOfUnit(ctx context.Context, registration string) (Gateway, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+gatewayColumns+` FROM gateways g WHERE g.registration_id = $1`, registration)
	g, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Gateway])
	return g, translate(err)
}

// AddGateway registers a gateway.
func (s *Store) AddGateway(ctx context.Context, by By, g Gateway) error {
	if g.Link == "" {
		g.Link = "modbus_tcp"
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO gateways (id, site_id, name, link, address, registration_id, secret_sha256, pause_ms, timeout_ms, worst_case_ms, caches_reads_ms)
			VALUES ($1, $2, $3, $4, nullif($5, ''), nullif($6, ''), $7, $8, $9, $10, $11)`,
			g.ID, g.Site, g.Name, g.Link, g.Address, g.Registration, g.Secret, g.PauseMillis, g.TimeoutMillis, g.WorstMillis, g.CachesMillis)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: g.Site, Kind: "gateway", ID: string(g.ID), Event: "added",
			Data: map[string]string{"address": g.Address, "link": g.Link, "registration": g.Registration}})
	})
}

// Meter is a physical meter at (gateway, unit).
type Meter struct {
	ID              billing.MeterID
	Site            billing.SiteID    `db:"site_id"`
	Gateway         billing.GatewayID `db:"gateway_id"`
	Unit            int
	Serial          string // 12 digits; read from the device before its answers are believed
	Profile         string
	Service         billing.Service
	Digits          int   // a register wraps at 10^Digits raw units
	Ratio           int   // CT × PT
	CapacityPerHour int64 // raw units that the meter can pass in an hour at most, before the ratio
	State           string
	// Box is the multi-circuit box that it is a circuit of, with the box's first unit id and size; empty and 0 for a meter of its own. Units
	// is how many unit ids it takes: 3 for a three-phase circuit.
	Box         string `db:"box_id"`
	BoxBase     int
	BoxCircuits int
	Units       int
}

const meterColumns = `m.id, m.site_id, m.gateway_id, m.unit, m.serial, m.profile, m.service, m.digits, m.ratio, m.capacity_per_hour, m.state,
	coalesce(m.box_id, '') AS box_id, coalesce((SELECT x.base_unit FROM boxes x WHERE x.id = m.box_id), 0) AS box_base,
	coalesce((SELECT x.circuits FROM boxes x WHERE x.id = m.box_id), 0) AS box_circuits, m.units`

// Meter reads one meter.
func (s *Store) Meter(ctx context.Context, id billing.MeterID) (Meter, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+meterColumns+` FROM meters m WHERE m.id = $1`, id)
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Meter])
	return m, translate(err)
}

// Meters reads several meters, by id; those that don't exist are missing from the answer.
func (s *Store) Meters(ctx context.Context, ids []billing.MeterID) ([]Meter, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+meterColumns+` FROM meters m WHERE m.id = ANY($1) ORDER BY m.id`, ids)
	ms, err := pgx.CollectRows(rows, pgx.RowToStructByName[Meter])
	return ms, translate(err)
}

// Fitting says which meter measured a service point over [FromAt, ToAt); ToAt is nil while it stands.
type Fitting struct {
	ID           int64
	ServicePoint billing.ServicePointID `db:"service_point_id"`
	Meter        billing.MeterID        `db:"meter_id"`
	Service      billing.Service
	Digits       int
	Ratio        int
	FromAt       time.Time
	ToAt         *time.Time
	Opening      billing.Registers
	Closing      billing.Registers // nil while it stands
}

// Fittings reads all fittings of the given service points, oldest first.
func (s *Store) Fittings(ctx context.Context, points []billing.ServicePointID) (map[billing.ServicePointID][]Fitting, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT f.id, f.service_point_id, f.meter_id, m.service, m.digits, f.ratio, f.from_at, f.to_at, f.opening, f.closing
		FROM fittings f JOIN meters m ON m.id = f.meter_id WHERE f.service_point_id = ANY($1) ORDER BY f.service_point_id, f.from_at`, points)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Fitting])
	by := map[billing.ServicePointID][]Fitting{}
	for _, f := range all {
		by[f.ServicePoint] = append(by[f.ServicePoint], f)
	}
	return by, translate(err)
}

// NewFitting puts a new meter at a service point.
type NewFitting struct {
	Meter        Meter
	ServicePoint billing.ServicePointID
	At           time.Time
	Opening      billing.Registers
}

// FitMeter registers a meter and fits it to a service point that has none.
func (s *Store) FitMeter(ctx context.Context, by By, n NewFitting) error {
	return s.Change(ctx, by, func(tx *Tx) error { return fitMeter(ctx, tx, n, nil) })
}

func fitMeter(ctx context.Context, tx *Tx, n NewFitting, refs []string) error {
	m := n.Meter
	if err := n.Opening.Validate(m.Service); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO meters (id, site_id, gateway_id, unit, serial, profile, service, digits, ratio, capacity_per_hour, state, box_id, units)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'fitted', nullif($11, ''), $12)`,
		m.ID, m.Site, m.Gateway, m.Unit, m.Serial, m.Profile, m.Service, m.Digits, m.Ratio, m.CapacityPerHour, m.Box, max(m.Units, 1))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO fittings (service_point_id, meter_id, ratio, from_at, opening) VALUES ($1, $2, $3, $4, $5)`,
		n.ServicePoint, m.ID, m.Ratio, n.At, n.Opening)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: m.Site, Kind: "meter", ID: string(m.ID), Event: "fitted", To: "fitted",
		Refs: append([]string{string(n.ServicePoint), string(m.Gateway), m.Serial}, refs...), Data: map[string]any{"at": n.At, "opening": n.Opening, "ratio": m.Ratio}})
}

// Refit closes a fitting of a meter and opens another of the same meter at one instant: what was counted until then stands as Closing
// says, and counting goes on from what the meter shows. Totals are the same; bands that a wrong clock filled are not.
type Refit struct {
	Meter   billing.MeterID
	At      time.Time
	Closing billing.Registers
	Opening billing.Registers
}

func refitMeter(ctx context.Context, tx *Tx, r Refit, refs []string) error {
	var point billing.ServicePointID
	var ratio int
	err := tx.QueryRow(ctx, `UPDATE fittings SET to_at = $2, closing = $3 WHERE meter_id = $1 AND to_at IS NULL AND from_at < $2 RETURNING service_point_id, ratio`,
		r.Meter, r.At, r.Closing).Scan(&point, &ratio)
	if err == pgx.ErrNoRows {
		return billing.Errorf(billing.CodeConflict, "meter %s is not fitted any more, or was fitted later: open its page and decide again", r.Meter)
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO fittings (service_point_id, meter_id, ratio, from_at, opening) VALUES ($1, $2, $3, $4, $5)`, point, r.Meter, ratio, r.At, r.Opening)
	if err != nil {
		return err
	}
	var site billing.SiteID
	if err := tx.QueryRow(ctx, `SELECT site_id FROM meters WHERE id = $1`, r.Meter).Scan(&site); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: site, Kind: "meter", ID: string(r.Meter), Event: "refitted", From: "fitted", To: "fitted", Refs: append([]string{string(point)}, refs...),
		Data: map[string]any{"at": r.At, "closing": r.Closing, "opening": r.Opening, "ratio": ratio}})
}

// Connection is what hangs on a fitted meter: the account that it measures, and what was commanded last.
type Connection struct {
	Meter       billing.MeterID   `db:"meter_id"`
	Account     billing.AccountID `db:"account_id"`
	Site        billing.SiteID    `db:"site_id"`
	CreditMode  billing.CreditMode
	Wanted      billing.SupplyState
	Supply      billing.SupplyState
	Guarded     bool // held closed by keep_on
	OpenCommand bool // a command or credit of this meter is not settled
	BalanceFen  billing.Money
	MovedAt     *time.Time       // when the balance moved last
	Tariff      billing.TariffID `db:"tariff_id"`
}

// Connections reads what hangs on the given meters; one without an account is missing from the answer.
func (s *Store) Connections(ctx context.Context, meters []billing.MeterID) (map[billing.MeterID]Connection, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT f.meter_id, a.id AS account_id, a.site_id, a.credit_mode,
			coalesce(sp.wanted, 'on') AS wanted, coalesce(sp.state, 'unknown') AS supply, coalesce(sp.guarded, false) AS guarded,
			EXISTS (SELECT 1 FROM commands c WHERE c.meter_id = f.meter_id AND c.state IN ('requested', 'sending', 'acknowledged', 'unknown')) AS open_command,
			coalesce(b.balance_fen, 0) AS balance_fen, b.moved_at, a.tariff_id
		FROM fittings f JOIN accounts a ON a.service_point_id = f.service_point_id
		LEFT JOIN supplies sp ON sp.account_id = a.id LEFT JOIN balances b ON b.account_id = a.id
		WHERE f.meter_id = ANY($1) AND f.to_at IS NULL`, meters)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Connection])
	by := map[billing.MeterID]Connection{}
	for _, c := range all {
		by[c.Meter] = c
	}
	return by, translate(err)
}
