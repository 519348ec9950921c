package store

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// MeterTest is what a test found of a meter's error, on a day local to the site. A positive error means that it registers too much.
type MeterTest struct {
	ID           int64
	Meter        billing.MeterID `db:"meter_id"`
	TestedOn     billing.Date
	ErrorPercent billing.Percent
	Certificate  string // number of the test's paper
	RecordedBy   billing.UserID
	RecordedAt   time.Time
	RecordedName string
}

// TestsOfMeter reads the tests of a meter, oldest first.
func (s *Store) TestsOfMeter(ctx context.Context, meter billing.MeterID) ([]MeterTest, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT t.id, t.meter_id, t.tested_on, t.error_percent, t.certificate, t.recorded_by, t.recorded_at, u.name AS recorded_name
		FROM meter_tests t JOIN users u ON u.id = t.recorded_by WHERE t.meter_id = $1 ORDER BY t.tested_on`, meter)
	tests, err := pgx.CollectRows(rows, pgx.RowToStructByName[MeterTest])
	return tests, translate(err)
}

// RecordMeterTest keeps a test with its journal row: an evidence that isn't changed afterwards. A test in the future, before the meter's
// first fitting or without its paper is refused, a second one of the same day is billing.CodeConflict.
func (s *Store) RecordMeterTest(ctx context.Context, by By, t MeterTest) error {
	t.Certificate = strings.TrimSpace(t.Certificate)
	if t.Certificate == "" {
		return billing.Errorf(billing.CodeInvalidInput, "Enter the number of the test's certificate: the paper is the evidence.")
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		var site billing.SiteID
		var state string
		var today, fitted *billing.Date
		err := tx.QueryRow(ctx, `SELECT m.site_id, m.state, ($2::timestamptz AT TIME ZONE s.time_zone)::date, (SELECT (min(f.from_at) AT TIME ZONE s.time_zone)::date FROM fittings f WHERE f.meter_id = m.id)
			FROM meters m JOIN sites s ON s.id = m.site_id WHERE m.id = $1 FOR UPDATE OF m`, t.Meter, tx.Now).Scan(&site, &state, &today, &fitted)
		switch {
		case err == pgx.ErrNoRows:
			return billing.Errorf(billing.CodeNotFound, "There is no meter %q: check its number.", t.Meter)
		case err != nil:
			return err
		case t.TestedOn.After(*today):
			return billing.Errorf(billing.CodeInvalidInput, "The day %s of the test lies in the future: enter the day on its certificate.", t.TestedOn)
		case fitted == nil || t.TestedOn.Before(*fitted):
			return billing.Errorf(billing.CodeInvalidInput, "Meter %s was not fitted here yet on %s: its fitting counts instead of a test before it.", t.Meter, t.TestedOn)
		}
		var id int64
		err = tx.QueryRow(ctx, `INSERT INTO meter_tests (meter_id, tested_on, error_percent, certificate, recorded_by, recorded_at) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
			t.Meter, t.TestedOn, t.ErrorPercent, t.Certificate, tx.Actor, tx.Now).Scan(&id)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: site, Kind: "meter", ID: string(t.Meter), Event: "tested", From: state, To: state, Refs: []string{t.Certificate},
			Data: map[string]any{"tested_on": t.TestedOn, "error_percent": t.ErrorPercent, "certificate": t.Certificate}})
	})
}
