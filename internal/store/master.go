package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// SubPoint says that what a service point uses is measured once more by the meter of a master point, over [FromAt, ToAt); ToAt is nil
// while it stands.
type SubPoint struct {
	ID       int64
	Site     billing.SiteID         `db:"site_id"`
	Master   billing.ServicePointID `db:"master_id"`
	Sub      billing.ServicePointID `db:"sub_id"`
	FromAt   time.Time
	ToAt     *time.Time
	MasterOf billing.MeterID // fitted at the master point now; empty without one
	SubOf    billing.MeterID // fitted at the sub point now; empty without one
	Address  string          // of the sub point
}

const selectSubPoint = `SELECT x.id, m.site_id, x.master_id, x.sub_id, x.from_at, x.to_at, coalesce(fm.meter_id, '') AS master_of, coalesce(fs.meter_id, '') AS sub_of, sp.address
	FROM sub_points x JOIN service_points m ON m.id = x.master_id JOIN service_points sp ON sp.id = x.sub_id
	LEFT JOIN fittings fm ON fm.service_point_id = x.master_id AND fm.to_at IS NULL LEFT JOIN fittings fs ON fs.service_point_id = x.sub_id AND fs.to_at IS NULL`

// SubPoints lists the sub-meters of all masters of some sites, those that stand first.
func (s *Store) SubPoints(ctx context.Context, sites []billing.SiteID) ([]SubPoint, error) {
	rows, _ := s.Pool.Query(ctx, selectSubPoint+` WHERE m.site_id = ANY($1) ORDER BY x.master_id, x.to_at IS NOT NULL, x.sub_id, x.id`, sites)
	ps, err := pgx.CollectRows(rows, pgx.RowToStructByName[SubPoint])
	return ps, translate(err)
}

// AddSubPoint puts the service point of one meter under that of a master meter from an instant on.
func (s *Store) AddSubPoint(ctx context.Context, by By, master, sub billing.MeterID, from time.Time) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		m, err := pointOf(ctx, tx, master)
		if err != nil {
			return err
		}
		p, err := pointOf(ctx, tx, sub)
		if err != nil {
			return err
		}
		return addSub(ctx, tx, m, p, from)
	})
}

// fittedPoint is where a meter is fitted.
type fittedPoint struct {
	ID      billing.ServicePointID
	Site    billing.SiteID `db:"site_id"`
	Service billing.Service
}

func pointOf(ctx context.Context, tx *Tx, meter billing.MeterID) (fittedPoint, error) {
	rows, _ := tx.Query(ctx, `SELECT p.id, p.site_id, p.service FROM fittings f JOIN service_points p ON p.id = f.service_point_id WHERE f.meter_id = $1 AND f.to_at IS NULL`, meter)
	p, err := optional[fittedPoint](rows)
	if err != nil {
		return fittedPoint{}, err
	}
	if p == nil {
		return fittedPoint{}, billing.Errorf(billing.CodeNotFound, "meter %s is not fitted anywhere: check its number", meter)
	}
	return *p, nil
}

func addSub(ctx context.Context, tx *Tx, master, sub fittedPoint, from time.Time) error {
	switch {
	case master.ID == sub.ID:
		return billing.Errorf(billing.CodeInvalidInput, "a meter can't be its own sub-meter: choose another")
	case master.Site != sub.Site || master.Service != sub.Service:
		return billing.Errorf(billing.CodeInvalidInput, "master and sub-meter must measure the same service at the same site: choose another")
	}
	var loop bool
	err := tx.QueryRow(ctx, `WITH RECURSIVE up (id) AS (SELECT $1::text UNION SELECT x.master_id FROM sub_points x JOIN up ON x.sub_id = up.id WHERE x.to_at IS NULL)
		SELECT EXISTS (SELECT 1 FROM up WHERE id = $2)`, master.ID, sub.ID).Scan(&loop)
	if err != nil {
		return err
	}
	if loop {
		return billing.Errorf(billing.CodeInvalidInput, "the sub-meter already stands above this master: end that first")
	}
	var id int64
	err = tx.QueryRow(ctx, `INSERT INTO sub_points (master_id, sub_id, from_at) VALUES ($1, $2, $3) RETURNING id`, master.ID, sub.ID, from).Scan(&id)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: master.Site, Kind: "sub_point", ID: itoa(id), Event: "added", To: "standing", Refs: []string{string(master.ID), string(sub.ID)},
		Data: map[string]any{"master": master.ID, "sub": sub.ID, "from": from}})
}

// EndSubPoint ends a relation at this instant.
func (s *Store) EndSubPoint(ctx context.Context, by By, id int64) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		var master, sub string
		var site billing.SiteID
		err := tx.QueryRow(ctx, `UPDATE sub_points x SET to_at = greatest($2, x.from_at + interval '1 second') FROM service_points p
			WHERE x.id = $1 AND x.to_at IS NULL AND p.id = x.master_id RETURNING x.master_id, x.sub_id, p.site_id`, id, tx.Now).Scan(&master, &sub, &site)
		if err == pgx.ErrNoRows {
			return billing.Errorf(billing.CodeClosed, "this sub-meter was taken off its master already: nothing was changed")
		}
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: site, Kind: "sub_point", ID: itoa(id), Event: "ended", From: "standing", To: "ended", Refs: []string{master, sub}})
	})
}

// SubUse is a master or one of its sub-meters with its registers at both ends of a stretch. An end without a measured reading that
// nothing doubts, or before an exchange, is nil: then nothing can be said.
type SubUse struct {
	Master billing.MeterID // whose sub it is; the master itself is its own
	Meter  billing.MeterID
	Digits int
	Ratio  int
	From   billing.Registers
	To     billing.Registers
	FromAt time.Time
}

// MasterUse reads, for the masters of a site, the registers of master and subs at a freeze instant and at the master's last measured
// reading before it.
func (s *Store) MasterUse(ctx context.Context, site billing.SiteID, freeze time.Time) ([]SubUse, error) {
	rows, _ := s.Pool.Query(ctx, `
		WITH masters AS (
			SELECT f.service_point_id, f.meter_id, l.freeze_at FROM (SELECT DISTINCT master_id FROM sub_points WHERE to_at IS NULL) o
			JOIN service_points sp ON sp.id = o.master_id AND sp.site_id = $1 JOIN fittings f ON f.service_point_id = sp.id CROSS JOIN LATERAL (
				SELECT g.freeze_at FROM good_readings g WHERE g.meter_id = f.meter_id AND g.freeze_at < $2 AND g.freeze_at >= f.from_at AND g.quality <> 'estimated'
				ORDER BY g.freeze_at DESC LIMIT 1) l
			WHERE f.to_at IS NULL AND EXISTS (SELECT 1 FROM sub_points x WHERE x.master_id = f.service_point_id AND x.from_at <= l.freeze_at AND x.to_at IS NULL)),
		points AS (
			SELECT meter_id AS master, freeze_at, service_point_id AS point FROM masters
			UNION ALL SELECT m.meter_id, m.freeze_at, x.sub_id FROM masters m JOIN sub_points x ON x.master_id = m.service_point_id AND x.from_at <= m.freeze_at AND x.to_at IS NULL)
		SELECT p.master, coalesce(f.meter_id, '') AS meter, coalesce(d.digits, 1) AS digits, coalesce(f.ratio, 1) AS ratio, a.registers AS "from", b.registers AS "to", p.freeze_at AS from_at
		FROM points p LEFT JOIN fittings f ON f.service_point_id = p.point AND f.to_at IS NULL AND f.from_at <= p.freeze_at LEFT JOIN meters d ON d.id = f.meter_id
		LEFT JOIN good_readings a ON a.meter_id = f.meter_id AND a.freeze_at = p.freeze_at AND a.quality <> 'estimated'
		LEFT JOIN current_readings b ON b.meter_id = f.meter_id AND b.freeze_at = $2 AND NOT b.doubtful AND b.quality <> 'estimated'
		ORDER BY p.master, f.meter_id`, site, freeze)
	us, err := pgx.CollectRows(rows, pgx.RowToStructByName[SubUse])
	return us, translate(err)
}
