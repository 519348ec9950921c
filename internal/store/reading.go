package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Reading is one version of the atomic vector of a meter's registers at one freeze instant. Registers are raw units before the
// ratio: 0.01 kWh or litres.
type Reading struct {
	Meter         billing.MeterID `db:"meter_id"`
	FreezeAt      time.Time
	Version       int
	TakenAt       time.Time // business instant
	TakenReal     time.Time
	Quality       billing.Quality
	Registers     billing.Registers
	RemainingFen  *billing.Money
	PurchaseCount *int64
	Supply        string // as read: on, off, moving, fault, unknown
	Forced        string
	StatusWord    int
	PowerW        int64
	ClockSkewS    *int
	Interpolated  bool
	Doubtful      bool
	Cycle         *billing.CycleID `db:"cycle_id"`
	RecordedBy    string
	Reason        string
	DeviceRatio   *int // transformer ratio that the meter showed; nil when it shows none
	// RemainingLitres is the bought volume left in a meter that holds one, negative in overdraft; nil for others.
	RemainingLitres *int64
	// Reverse is what the meter showed of energy that went the other way, in the units of Registers; nil where it doesn't tell. It is reported,
	// never netted (rule 16).
	Reverse *int64
	// Profile is the register map, and its version, that it was decoded with; empty and nil for what no line brought.
	Profile        string
	ProfileVersion *int
	Method         string // how an estimate came about: a metering.Method; empty otherwise
}

const readingColumns = `r.meter_id, r.freeze_at, r.version, r.taken_at, r.taken_real, r.quality, r.registers, r.remaining_fen, r.purchase_count,
	r.supply, r.forced, r.status_word, r.power_w, r.clock_skew_s, r.interpolated, r.doubtful, r.cycle_id, r.recorded_by, r.reason, r.device_ratio, r.method, r.remaining_litres, r.profile, r.profile_version, r.reverse`

var readingNames = strings.Split(strings.NewReplacer("r.", "", "\n", "", "\t", "", " ", "").Replace(readingColumns), ",")

func (r Reading) values() []any {
	return []any{r.Meter, r.FreezeAt, r.Version, r.TakenAt, r.TakenReal, r.Quality, []int64(r.Registers), (*int64)(r.RemainingFen), r.PurchaseCount,
		r.Supply, r.Forced, r.StatusWord, r.PowerW, r.ClockSkewS, r.Interpolated, r.Doubtful, r.Cycle, r.RecordedBy, r.Reason, r.DeviceRatio, r.Method, r.RemainingLitres, r.Profile, r.ProfileVersion, r.Reverse}
}

// member is the canonical text of a reading in the digest of a batch.
func (r Reading) member() string {
	var b strings.Builder
	b.WriteString(string(r.Meter) + " " + r.FreezeAt.UTC().Format(time.RFC3339) + " " + string(r.Quality))
	for _, v := range r.Registers {
		b.WriteString(" " + itoa(v))
	}
	return b.String()
}

// insertReadings stores the readings that aren't there, in one statement: a repeat stores nothing twice. A COPY into a table for the moment, and
// from there into the readings, costs twice as much for the few dozen that come together.
func insertReadings(ctx context.Context, tx *Tx, rs []Reading) error {
	if len(rs) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO readings (`+strings.Join(readingNames, ", ")+`)
		SELECT meter_id, freeze_at, version, taken_at, taken_real, quality, registers::bigint[], remaining_fen, purchase_count,
			supply, forced, status_word, power_w, clock_skew_s, interpolated, doubtful, cycle_id, recorded_by, reason, device_ratio, method, remaining_litres, profile, profile_version, reverse
		FROM unnest($1::text[], $2::timestamptz[], $3::integer[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[], $8::bigint[], $9::bigint[],
			$10::text[], $11::text[], $12::integer[], $13::bigint[], $14::integer[], $15::boolean[], $16::boolean[], $17::text[], $18::text[], $19::text[], $20::integer[], $21::text[], $22::bigint[], $23::text[], $24::integer[], $25::bigint[])
			AS r (`+strings.Join(readingNames, ", ")+`)
		ON CONFLICT DO NOTHING`,
		column(rs, func(r Reading) string { return string(r.Meter) }), column(rs, func(r Reading) time.Time { return r.FreezeAt }),
		column(rs, func(r Reading) int { return r.Version }), column(rs, func(r Reading) time.Time { return r.TakenAt }),
		column(rs, func(r Reading) time.Time { return r.TakenReal }), column(rs, func(r Reading) string { return string(r.Quality) }),
		column(rs, func(r Reading) string { return arrayText(r.Registers) }), column(rs, func(r Reading) *int64 { return (*int64)(r.RemainingFen) }),
		column(rs, func(r Reading) *int64 { return r.PurchaseCount }), column(rs, func(r Reading) string { return r.Supply }),
		column(rs, func(r Reading) string { return r.Forced }), column(rs, func(r Reading) int { return r.StatusWord }),
		column(rs, func(r Reading) int64 { return r.PowerW }), column(rs, func(r Reading) *int { return r.ClockSkewS }),
		column(rs, func(r Reading) bool { return r.Interpolated }), column(rs, func(r Reading) bool { return r.Doubtful }),
		column(rs, func(r Reading) *string { return (*string)(r.Cycle) }), column(rs, func(r Reading) string { return r.RecordedBy }),
		column(rs, func(r Reading) string { return r.Reason }), column(rs, func(r Reading) *int { return r.DeviceRatio }),
		column(rs, func(r Reading) string { return r.Method }), column(rs, func(r Reading) *int64 { return r.RemainingLitres }),
		column(rs, func(r Reading) string { return r.Profile }), column(rs, func(r Reading) *int { return r.ProfileVersion }),
		column(rs, func(r Reading) *int64 { return r.Reverse }))
	return err
}

// column is one value of each row.
func column[Row, Value any](rows []Row, of func(Row) Value) []Value {
	values := make([]Value, len(rows))
	for i, r := range rows {
		values[i] = of(r)
	}
	return values
}

// arrayText writes numbers as PostgreSQL writes an array of them.
func arrayText(numbers []int64) string {
	b := []byte{'{'}
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, '}'))
}

// addVersion stores r as the newest version of its meter and freeze instant, and gives the version's number.
func addVersion(ctx context.Context, tx *Tx, r Reading) (int, error) {
	err := tx.QueryRow(ctx, `SELECT coalesce(max(version), 0) + 1 FROM readings WHERE meter_id = $1 AND freeze_at = $2`, r.Meter, r.FreezeAt).Scan(&r.Version)
	if err != nil {
		return 0, err
	}
	if r.TakenReal.IsZero() { // a person's value was taken by nobody's clock
		if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&r.TakenReal); err != nil {
			return 0, err
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO readings (`+strings.Join(readingNames, ", ")+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)`, r.values()...)
	return r.Version, err
}

// MeterAt names a reading: a meter and a freeze instant.
type MeterAt struct {
	Meter billing.MeterID
	At    time.Time
}

func key(r Reading) MeterAt { return MeterAt{r.Meter, r.FreezeAt.UTC()} }

// ReadingsAt reads the current versions, doubtful ones included, of the given meters at one freeze instant.
func (s *Store) ReadingsAt(ctx context.Context, meters []billing.MeterID, at time.Time) (map[billing.MeterID]Reading, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+readingColumns+` FROM current_readings r WHERE r.meter_id = ANY($1) AND r.freeze_at = $2`, meters, at)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Reading])
	by := map[billing.MeterID]Reading{}
	for _, r := range all {
		by[r.Meter] = r
	}
	return by, translate(err)
}

// GoodReadings reads, for each wanted meter and instant, the reading that bills may rest on; those that don't exist or are in doubt
// are missing from the answer. A page of accounts wants few instants, so it asks once per instant, which PostgreSQL looks for in
// that month's partition alone, and sends all the questions at once.
func (s *Store) GoodReadings(ctx context.Context, wanted []MeterAt) (map[MeterAt]Reading, error) {
	by := make(map[MeterAt]Reading, len(wanted))
	meters := map[time.Time][]string{}
	for _, w := range wanted {
		at := w.At.UTC()
		meters[at] = append(meters[at], string(w.Meter))
	}
	batch := &pgx.Batch{}
	for at, of := range meters {
		batch.Queue(`SELECT `+readingColumns+` FROM good_readings r WHERE r.meter_id = ANY($1) AND r.freeze_at = $2`, of, at).Query(func(rows pgx.Rows) error {
			all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Reading])
			for _, r := range all {
				by[key(r)] = r
			}
			return err
		})
	}
	return by, translate(s.Pool.SendBatch(ctx, batch).Close())
}

// recently is how far back a meter's newest reading is looked for at first: two partitions at most, however long the history is.
const recently = 31 * 24 * time.Hour

// LatestGood reads each meter's newest reading that a charge may rest on, at or before upTo. Meters without one are missing.
func (s *Store) LatestGood(ctx context.Context, meters []billing.MeterID, upTo time.Time) (map[billing.MeterID]Reading, error) {
	by, err := s.latestGood(ctx, meters, upTo.Add(-recently), upTo)
	if err != nil || len(by) == len(meters) {
		return by, err
	}
	var silent []billing.MeterID
	for _, m := range meters {
		if _, found := by[m]; !found {
			silent = append(silent, m)
		}
	}
	older, err := s.latestGood(ctx, silent, time.Time{}, upTo.Add(-recently))
	for m, r := range older {
		by[m] = r
	}
	return by, err
}

func (s *Store) latestGood(ctx context.Context, meters []billing.MeterID, after, upTo time.Time) (map[billing.MeterID]Reading, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+readingColumns+` FROM unnest($1::text[]) w (meter_id) CROSS JOIN LATERAL (
			SELECT * FROM good_readings g WHERE g.meter_id = w.meter_id AND g.freeze_at > $2 AND g.freeze_at <= $3 ORDER BY g.freeze_at DESC LIMIT 1) r`, meters, after, upTo)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Reading])
	by := make(map[billing.MeterID]Reading, len(all))
	for _, r := range all {
		by[r.Meter] = r
	}
	return by, translate(err)
}

// Point is a register vector that is known to hold at an instant: a good reading, or the opening of a fitting.
type Point struct {
	Meter     billing.MeterID `db:"meter_id"`
	At        time.Time
	Registers billing.Registers
	Quality   billing.Quality
	Supply    string // as read then; unknown for an opening
	// What the device showed of itself; nil when it shows none, and for an opening.
	ClockSkewS  *int
	DeviceRatio *int
	Reverse     *int64
}

// LastPoints reads each fitted meter's last known point before an instant; a meter that was fitted later has none.
func (s *Store) LastPoints(ctx context.Context, meters []billing.MeterID, before time.Time) (map[billing.MeterID]Point, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT f.meter_id, coalesce(r.freeze_at, f.from_at) AS at, coalesce(r.registers, f.opening) AS registers, coalesce(r.quality, 'actual') AS quality,
			coalesce(r.supply, 'unknown') AS supply, r.clock_skew_s, r.device_ratio, r.reverse
		FROM fittings f LEFT JOIN LATERAL (
			SELECT g.freeze_at, g.registers, g.quality, g.supply, g.clock_skew_s, g.device_ratio, g.reverse FROM good_readings g
			WHERE g.meter_id = f.meter_id AND g.freeze_at < $2 AND g.freeze_at >= f.from_at ORDER BY g.freeze_at DESC LIMIT 1) r ON true
		WHERE f.meter_id = ANY($1) AND f.from_at < $2 AND (f.to_at IS NULL OR f.to_at >= $2)`, meters, before)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Point])
	by := map[billing.MeterID]Point{}
	for _, p := range all {
		by[p.Meter] = p
	}
	return by, translate(err)
}

// GoodPoints reads the good readings of meters in [from, to), oldest first, with the opening of a fitting that began in that time.
// It is what the history of daily use is computed from.
func (s *Store) GoodPoints(ctx context.Context, meters []billing.MeterID, from, to time.Time) (map[billing.MeterID][]Point, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT meter_id, at, registers, quality, supply, clock_skew_s, device_ratio, reverse FROM (
			SELECT r.meter_id, r.freeze_at AS at, r.registers, r.quality, r.supply, r.clock_skew_s, r.device_ratio, r.reverse FROM good_readings r
			WHERE r.meter_id = ANY($1) AND r.freeze_at >= $2 AND r.freeze_at < $3
			UNION ALL
			SELECT f.meter_id, f.from_at, f.opening, 'actual', 'unknown', NULL::integer, NULL::integer, NULL::bigint FROM fittings f
			WHERE f.meter_id = ANY($1) AND f.from_at >= $2 AND f.from_at < $3
				AND NOT EXISTS (SELECT 1 FROM good_readings g WHERE g.meter_id = f.meter_id AND g.freeze_at = f.from_at)
		) p ORDER BY meter_id, at`, meters, from, to)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Point]) // a month of each meter: looking for names takes longer than reading
	by := map[billing.MeterID][]Point{}
	for _, p := range all {
		by[p.Meter] = append(by[p.Meter], p)
	}
	return by, translate(err)
}

// NextPoints reads each meter's first measured good reading after an instant, in the same fitting; meters without one are missing. An
// estimate is no ground for another.
func (s *Store) NextPoints(ctx context.Context, meters []billing.MeterID, after time.Time) (map[billing.MeterID]Point, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT w.meter_id, r.freeze_at AS at, r.registers, r.quality, r.supply, r.clock_skew_s, r.device_ratio, r.reverse FROM unnest($1::text[]) w (meter_id) CROSS JOIN LATERAL (
			SELECT * FROM good_readings g WHERE g.meter_id = w.meter_id AND g.freeze_at > $2 AND g.quality <> 'estimated' ORDER BY g.freeze_at LIMIT 1) r`, meters, after)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Point])
	by := map[billing.MeterID]Point{}
	for _, p := range all {
		by[p.Meter] = p
	}
	return by, translate(err)
}

// digest is the hash of a batch's canonical member list, for the one journal row that stands for the batch.
func digest(members []string) string {
	sum := sha256.Sum256([]byte(strings.Join(members, "\n")))
	return hex.EncodeToString(sum[:])
}
