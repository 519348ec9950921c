package store

import (
	"context"
	"regexp"
	"strings"
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

// AddGateway registers a gateway as the caller made it; RegisterGateway is for what a person typed.
func (s *Store) AddGateway(ctx context.Context, by By, g Gateway) error {
	if g.Link == "" {
		g.Link = "modbus_tcp"
	}
	return s.Change(ctx, by, func(tx *Tx) error { return addGateway(ctx, tx, g) })
}

func addGateway(ctx context.Context, tx *Tx, g Gateway) error {
	_, err := tx.Exec(ctx, `INSERT INTO gateways (id, site_id, name, link, address, registration_id, secret_sha256, pause_ms, timeout_ms, worst_case_ms, caches_reads_ms)
		VALUES ($1, $2, $3, $4, nullif($5, ''), nullif($6, ''), $7, $8, $9, $10, $11)`,
		g.ID, g.Site, g.Name, g.Link, g.Address, g.Registration, g.Secret, g.PauseMillis, g.TimeoutMillis, g.WorstMillis, g.CachesMillis)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: g.Site, Kind: "gateway", ID: string(g.ID), Event: "added", Data: linkData(g)})
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
	coalesce(m.box_id, '') AS box_id, CASE WHEN m.box_id IS NULL THEN 0 ELSE (SELECT x.base_unit FROM boxes x WHERE x.id = m.box_id) END AS box_base,
	CASE WHEN m.box_id IS NULL THEN 0 ELSE (SELECT x.circuits FROM boxes x WHERE x.id = m.box_id) END AS box_circuits, m.units`

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

// NewMeter is a meter that a person puts on a line, with the place that it measures.
type NewMeter struct {
	// Meter needs ID, Gateway, Unit, Serial, Profile, Service, Digits, Ratio and CapacityPerHour; its site and box follow from the line.
	Meter Meter
	// CircuitUnits is how many unit ids its register map takes in a multi-circuit box; 0 for a meter of its own.
	CircuitUnits int
	// OwnFrames says that it doesn't speak Modbus, so that its gateway must pass bytes on.
	OwnFrames    bool
	ServicePoint billing.ServicePointID
	// Address makes the service point; it is empty for one that is there, which must be without a meter.
	Address string
	Opening billing.Registers
}

// The bounds of a register's digits and of a transformer ratio that is typed: more is a typing error.
const (
	leastDigits, mostDigits = 4, 12
	mostRatio               = 1_000_000
)

var (
	// assetForm is what the number of a device or a place may be: it stands in addresses of pages.
	assetForm  = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,39}$`)
	serialForm = regexp.MustCompile(`^[0-9]{12}$`)
)

func checkAsset(number string) error {
	if !assetForm.MatchString(number) {
		return billing.Errorf(billing.CodeInvalidInput, "the number %q can't be used: take 1 to 40 letters, digits, dots, dashes or underscores, a letter or digit first", number)
	}
	return nil
}

func (n NewMeter) check() error {
	if err := checkAsset(string(n.Meter.ID)); err != nil {
		return err
	}
	if err := checkAsset(string(n.ServicePoint)); err != nil {
		return err
	}
	m := n.Meter
	switch {
	case m.Unit < 1 || m.Unit > 247:
		return billing.Errorf(billing.CodeInvalidInput, "a unit is a whole number from 1 to 247: see the meter's own setting")
	case !serialForm.MatchString(m.Serial):
		return billing.Errorf(billing.CodeInvalidInput, "a serial number has 12 digits: copy it from the meter's plate")
	case m.Digits < leastDigits || m.Digits > mostDigits:
		return billing.Errorf(billing.CodeInvalidInput, "a register shows %d to %d digits, decimals included: count them on the display", leastDigits, mostDigits)
	case m.Ratio < 1 || m.Ratio > mostRatio:
		return billing.Errorf(billing.CodeInvalidInput, "the ratio is a whole number from 1 to %d: 1 without transformers", mostRatio)
	case m.CapacityPerHour < 1 || m.CapacityPerHour >= billing.Wrap(m.Digits):
		return billing.Errorf(billing.CodeInvalidInput, "what the meter can pass in an hour must be more than zero and fit its register: see its plate")
	}
	if err := n.Opening.Validate(m.Service); err != nil {
		return err
	}
	for _, raw := range n.Opening {
		if raw >= billing.Wrap(m.Digits) {
			return billing.Errorf(billing.CodeInvalidInput, "an opening register has more digits than the meter shows: read the display again")
		}
	}
	return nil
}

// AddMeter fits a meter to a line from this instant on, at a service point that is there or is made with it. Refused, and nothing changed: an unknown line,
// a unit id that another meter or box has, a circuit's register map outside of a box and another's inside, a number or serial that any
// meter has or had, a service point of another site or service, or with a meter.
func (s *Store) AddMeter(ctx context.Context, by By, n NewMeter) error {
	n.Address = strings.TrimSpace(n.Address)
	if err := n.check(); err != nil {
		return err
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		m := n.Meter
		// The line's row, as the trigger on meters takes it: no box appears under the unit id meanwhile.
		var link string
		if err := tx.QueryRow(ctx, `SELECT site_id, link FROM gateways WHERE id = $1 FOR NO KEY UPDATE`, m.Gateway).Scan(&m.Site, &link); err != nil {
			return err
		}
		if n.OwnFrames && link == "modbus_tcp" {
			return billing.Errorf(billing.CodeInvalidInput, "register map %s needs a gateway that passes bytes on, and %s converts Modbus: choose another map, or change the gateway's link", m.Profile, m.Gateway)
		}
		err := tx.QueryRow(ctx, `SELECT id FROM boxes WHERE gateway_id = $1 AND $2 BETWEEN base_unit AND base_unit + circuits - 1`, m.Gateway, m.Unit).Scan(&m.Box)
		switch {
		case err == pgx.ErrNoRows && n.CircuitUnits > 0:
			return billing.Errorf(billing.CodeInvalidInput, "register map %s is for a circuit of a box, and no box of gateway %s has unit %d: add the box first, or correct the unit", m.Profile, m.Gateway, m.Unit)
		case err == nil && n.CircuitUnits == 0:
			return billing.Errorf(billing.CodeConflict, "unit %d of gateway %s is a circuit of box %s: choose a register map for circuits, or another unit", m.Unit, m.Gateway, m.Box)
		case err != nil && err != pgx.ErrNoRows:
			return err
		}
		m.Units = max(n.CircuitUnits, 1)
		if err := placeFor(ctx, tx, n, m.Site); err != nil {
			return err
		}
		return fitMeter(ctx, tx, NewFitting{Meter: m, ServicePoint: n.ServicePoint, At: tx.Now, Opening: n.Opening}, nil)
	})
}

// placeFor makes the service point of a new meter, or checks that the one that is there can take it.
func placeFor(ctx context.Context, tx *Tx, n NewMeter, site billing.SiteID) error {
	if n.Address != "" {
		tag, err := tx.Exec(ctx, `INSERT INTO service_points (id, site_id, service, address) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`, n.ServicePoint, site, n.Meter.Service, n.Address)
		if err == nil && tag.RowsAffected() == 0 {
			return billing.Errorf(billing.CodeConflict, "service point %s exists already: leave the address empty to use it, or take another number", n.ServicePoint)
		}
		return err
	}
	var service billing.Service
	var fitted billing.MeterID
	err := tx.QueryRow(ctx, `SELECT p.service, coalesce(f.meter_id, '') FROM service_points p LEFT JOIN fittings f ON f.service_point_id = p.id AND f.to_at IS NULL
		WHERE p.id = $1 AND p.site_id = $2 FOR UPDATE OF p`, n.ServicePoint, site).Scan(&service, &fitted)
	switch {
	case err == pgx.ErrNoRows:
		return billing.Errorf(billing.CodeNotFound, "this site has no service point %s: give its address to make it", n.ServicePoint)
	case err != nil:
		return err
	case service != n.Meter.Service:
		return billing.Errorf(billing.CodeInvalidInput, "service point %s is for %s: choose a register map that measures it", n.ServicePoint, service)
	case fitted != "":
		return billing.Errorf(billing.CodeConflict, "meter %s measures service point %s: exchange it, or take another service point", fitted, n.ServicePoint)
	}
	return nil
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
	Tariff      billing.TariffID `db:"tariff_id"` // today
}

// Connections reads what hangs on the given meters; one without an account is missing from the answer.
func (s *Store) Connections(ctx context.Context, meters []billing.MeterID) (map[billing.MeterID]Connection, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT f.meter_id, a.id AS account_id, a.site_id, a.credit_mode,
			coalesce(sp.wanted, 'on') AS wanted, coalesce(sp.state, 'unknown') AS supply, coalesce(sp.guarded, false) AS guarded,
			EXISTS (SELECT 1 FROM commands c WHERE c.meter_id = f.meter_id AND c.state IN ('requested', 'sending', 'acknowledged', 'unknown')) AS open_command,
			coalesce(b.balance_fen, 0) AS balance_fen, b.moved_at,
			(SELECT t.tariff_id FROM account_terms t WHERE t.account_id = a.id
				ORDER BY from_day <= s.today DESC, CASE WHEN from_day <= s.today THEN from_day END DESC, from_day, version DESC LIMIT 1) AS tariff_id
		FROM fittings f JOIN accounts a ON a.service_point_id = f.service_point_id
		JOIN (SELECT id, (business_now() AT TIME ZONE time_zone)::date AS today FROM sites OFFSET 0) s ON s.id = a.site_id
		LEFT JOIN supplies sp ON sp.account_id = a.id LEFT JOIN balances b ON b.account_id = a.id
		WHERE f.meter_id = ANY($1) AND f.to_at IS NULL`, meters)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Connection])
	by := map[billing.MeterID]Connection{}
	for _, c := range all {
		by[c.Meter] = c
	}
	return by, translate(err)
}
