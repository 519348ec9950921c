package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Trail is what a meter was estimated at since somebody or something measured it last.
type Trail struct {
	// Anchor is the last measured good reading, or the fitting's opening. An estimate at a change of customer stands for it: what was
	// settled between two customers is not spread again.
	Anchor Point
	// Estimates are the estimated good readings after the anchor, oldest first.
	Estimates []Reading
	Billed    Billed
}

// Billed is what was known of a meter's bills when something was worked out from them.
type Billed struct {
	Meter billing.MeterID
	Upto  time.Time // the instant up to which it was looked
	// To is where the last issued bill of the meter's account ended, at Upto or before; zero without one.
	To time.Time
}

// billedTo is that instant as SQL, of account a at site s.
func billedTo(upto string) string {
	return `(SELECT max(b.period_to)::timestamp AT TIME ZONE s.time_zone FROM bills b WHERE b.account_id = a.id AND b.state = 'issued'
		AND b.period_to::timestamp AT TIME ZONE s.time_zone <= ` + upto + `)`
}

// billedAsSeen locks the balances behind meters, which issuing locks too, and refuses with billing.CodeStale when a bill was issued, or
// reversed, since: the caller's new versions would be ones under a bill that it doesn't know of.
func billedAsSeen(ctx context.Context, tx *Tx, seen []Billed) error {
	meters, upto := column(seen, func(b Billed) billing.MeterID { return b.Meter }), column(seen, func(b Billed) time.Time { return b.Upto })
	behind := ` FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY w (meter_id, upto, no)
		JOIN fittings f ON f.meter_id = w.meter_id AND f.from_at < w.upto AND (f.to_at IS NULL OR f.to_at >= w.upto)
		JOIN accounts a ON a.service_point_id = f.service_point_id JOIN sites s ON s.id = a.site_id`
	rows, _ := tx.Query(ctx, `SELECT a.id`+behind, meters, upto)
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[billing.AccountID])
	if err != nil || len(accounts) == 0 {
		return err
	}
	if err := lockBalances(ctx, tx, accounts); err != nil {
		return err
	}
	rows, _ = tx.Query(ctx, `SELECT w.no, `+billedTo("w.upto")+behind, meters, upto)
	var no int
	var to *time.Time
	_, err = pgx.ForEachRow(rows, []any{&no, &to}, func() error {
		was := seen[no-1]
		if to == nil && was.To.IsZero() || to != nil && to.Equal(was.To) {
			return nil
		}
		return billing.Errorf(billing.CodeStale, "the bills of meter %s have changed meanwhile: look at it again", was.Meter)
	})
	return err
}

func billedOf(ups []TrueUp) []Billed { return column(ups, func(t TrueUp) Billed { return t.Billed }) }

// Open are the estimates that no issued bill rests on, with the point before them: the difference to a measured reading falls into the
// period that is open.
func (t Trail) Open() (anchor Point, estimates []Reading) {
	anchor = t.Anchor
	for i, e := range t.Estimates {
		if e.FreezeAt.After(t.Billed.To) {
			return anchor, t.Estimates[i:]
		}
		anchor = Point{Meter: e.Meter, At: e.FreezeAt, Registers: e.Registers, Quality: e.Quality, Supply: e.Supply}
	}
	return anchor, nil
}

// Trails reads the trail of each meter that is fitted at an instant, up to before it. Meters whose last good reading was measured have no
// estimates.
func (s *Store) Trails(ctx context.Context, meters []billing.MeterID, before time.Time) (map[billing.MeterID]Trail, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT f.meter_id, coalesce(r.freeze_at, f.from_at) AS at, coalesce(r.registers, f.opening) AS registers, coalesce(r.quality, 'actual') AS quality,
			coalesce(r.supply, 'unknown') AS supply, r.clock_skew_s, r.device_ratio, r.reverse,
			`+billedTo("$2")+` AS billed_to
		FROM fittings f JOIN meters m ON m.id = f.meter_id JOIN sites s ON s.id = m.site_id LEFT JOIN accounts a ON a.service_point_id = f.service_point_id
		LEFT JOIN LATERAL (
			SELECT g.freeze_at, g.registers, g.quality, g.supply, g.clock_skew_s, g.device_ratio, g.reverse FROM good_readings g
			WHERE g.meter_id = f.meter_id AND g.freeze_at < $2 AND g.freeze_at >= f.from_at
				AND (g.quality <> 'estimated' OR g.freeze_at = a.opened_on::timestamp AT TIME ZONE s.time_zone)
			ORDER BY g.freeze_at DESC LIMIT 1) r ON true
		WHERE f.meter_id = ANY($1) AND f.from_at < $2 AND (f.to_at IS NULL OR f.to_at >= $2)`, meters, before)
	type anchored struct {
		Point
		BilledTo *time.Time
	}
	anchors, err := pgx.CollectRows(rows, pgx.RowToStructByName[anchored])
	if err != nil {
		return nil, translate(err)
	}
	by := map[billing.MeterID]Trail{}
	ids, from := make([]billing.MeterID, len(anchors)), make([]time.Time, len(anchors))
	for i, a := range anchors {
		t := Trail{Anchor: a.Point, Billed: Billed{Meter: a.Meter, Upto: before}}
		if a.BilledTo != nil {
			t.Billed.To = *a.BilledTo
		}
		by[a.Meter], ids[i], from[i] = t, a.Meter, a.At
	}
	rows, _ = s.Pool.Query(ctx, `SELECT `+readingColumns+` FROM unnest($1::text[], $2::timestamptz[]) w (meter_id, at)
		JOIN good_readings r ON r.meter_id = w.meter_id AND r.freeze_at > w.at AND r.freeze_at < $3 ORDER BY r.meter_id, r.freeze_at`, ids, from, before)
	estimates, err := pgx.CollectRows(rows, pgx.RowToStructByName[Reading])
	for _, r := range estimates {
		t := by[r.Meter]
		t.Estimates = append(t.Estimates, r)
		by[r.Meter] = t
	}
	return by, translate(err)
}

// TrueUp is new versions of a meter's estimates, spread again because a measured reading came. Nothing is issued again: see StaleBills.
type TrueUp struct {
	Site     billing.SiteID
	Meter    billing.MeterID
	Measured time.Time // freeze instant of the reading that came
	Readings []Reading
	Refs     []string
	Billed   Billed // what it was worked out from
}

// saveTrueUp stores the new versions with one journal row of the meter that holds each value before and after. Versions that change
// nothing are left out, so that a repeat adds none. The caller holds the lock of billedAsSeen.
func saveTrueUp(ctx context.Context, tx *Tx, t TrueUp) error {
	var changes []memberChange
	for _, r := range t.Readings {
		ch := memberChange{Meter: r.Meter, FreezeAt: r.FreezeAt.UTC().Format(time.RFC3339), Outcome: r.Method, After: r.Registers}
		err := tx.QueryRow(ctx, `SELECT registers FROM current_readings WHERE meter_id = $1 AND freeze_at = $2`, r.Meter, r.FreezeAt).Scan(&ch.Before)
		if err != nil {
			return err
		}
		if slices.Equal(ch.Before, ch.After) {
			continue
		}
		if ch.Version, err = addVersion(ctx, tx, r); err != nil {
			return err
		}
		changes = append(changes, ch)
	}
	if len(changes) == 0 {
		return nil
	}
	var state string
	if err := tx.QueryRow(ctx, `SELECT state FROM meters WHERE id = $1`, t.Meter).Scan(&state); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: t.Site, Kind: "meter", ID: string(t.Meter), Event: "trued_up", From: state, To: state, Refs: t.Refs,
		Data: map[string]any{"measured": t.Measured, "readings": len(changes), "changes": changes}})
}

// StaleBill is an issued bill that was rated with other registers than the newest version of its reading has: what was billed stays, and a
// correction has to follow.
type StaleBill struct {
	Bill      billing.BillID    `db:"bill_id"`
	Account   billing.AccountID `db:"account_id"`
	Meter     billing.MeterID   `db:"meter_id"`
	Service   billing.Service
	FreezeAt  time.Time
	Billed    billing.Registers
	Newest    billing.Registers
	NewestVer int
	Reason    string // of the newest version
}

// staleBills reads the issued bills of which a condition holds that rest on a reading whose newest good version has other registers.
func staleBills(which string) string {
	return `SELECT b.id AS bill_id, b.account_id, n.meter_id, a.service, n.freeze_at, o.registers AS billed, n.registers AS newest, n.version AS newest_ver, n.reason
		FROM bills b JOIN sites s ON s.id = b.site_id` + overtaken("b.period_from::timestamp AT TIME ZONE s.time_zone", "b.period_to::timestamp AT TIME ZONE s.time_zone") + `
		WHERE b.state = 'issued' AND ` + which + ` AND NOT n.doubtful AND n.registers <> o.registers
		ORDER BY b.id, n.meter_id, n.freeze_at`
}

// StaleBills lists the issued bills of some sites that rest on a reading whose newest good version has other registers than they were rated
// with; with accounts, of those only.
func (s *Store) StaleBills(ctx context.Context, sites []billing.SiteID, accounts []billing.AccountID) ([]StaleBill, error) {
	rows, _ := s.Pool.Query(ctx, staleBills(`b.site_id = ANY($1) AND ($2::text[] IS NULL OR b.account_id = ANY($2))`), sites, accounts)
	bs, err := pgx.CollectRows(rows, pgx.RowToStructByName[StaleBill])
	return bs, translate(err)
}

// VersionRow is one version of a reading that was changed, with who did it and why.
type VersionRow struct {
	FreezeAt     time.Time
	Version      int
	Registers    billing.Registers
	Quality      billing.Quality
	Method       string
	Doubtful     bool
	TakenAt      time.Time
	RecordedBy   string
	RecordedName string
	Reason       string
	// Profile is the register map, and its version, that it was decoded with; empty and 0 for what no line brought.
	Profile        string
	ProfileVersion int
}

// ReadingVersions lists all versions of a meter's readings that have more than one, newest reading first: values before and after.
func (s *Store) ReadingVersions(ctx context.Context, meter billing.MeterID, limit int) ([]VersionRow, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT r.freeze_at, r.version, r.registers, r.quality, r.method, r.doubtful, r.taken_at, r.recorded_by, coalesce(u.name, '') AS recorded_name, r.reason,
			r.profile, coalesce(r.profile_version, 0) AS profile_version
		FROM (SELECT freeze_at FROM readings WHERE meter_id = $1 AND version = 2 ORDER BY freeze_at DESC LIMIT $2) c
		JOIN readings r ON r.meter_id = $1 AND r.freeze_at = c.freeze_at LEFT JOIN users u ON u.id = r.recorded_by
		ORDER BY r.freeze_at DESC, r.version`, meter, limit)
	vs, err := pgx.CollectRows(rows, pgx.RowToStructByName[VersionRow])
	return vs, translate(err)
}

// BillsResting lists the issued bills that rest on the given readings: at an edge of their period.
func (s *Store) BillsResting(ctx context.Context, readings []MeterAt) ([]billing.BillID, error) {
	meters, ats := make([]billing.MeterID, len(readings)), make([]time.Time, len(readings))
	for i, r := range readings {
		meters[i], ats[i] = r.Meter, r.At
	}
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT b.id FROM unnest($1::text[], $2::timestamptz[]) w (meter_id, at)
		JOIN fittings f ON f.meter_id = w.meter_id AND f.from_at < w.at AND (f.to_at IS NULL OR w.at < f.to_at)
		JOIN accounts a ON a.service_point_id = f.service_point_id JOIN sites s ON s.id = a.site_id
		JOIN bills b ON b.account_id = a.id AND b.state = 'issued'
			AND (b.period_from::timestamp AT TIME ZONE s.time_zone = w.at OR b.period_to::timestamp AT TIME ZONE s.time_zone = w.at) ORDER BY 1`, meters, ats)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[billing.BillID])
	return ids, translate(err)
}

// SimilarUse is what another meter of the same kind counted over a stretch.
type SimilarUse struct {
	From   billing.Registers
	To     billing.Registers
	Digits int
	Ratio  int
}

// similarMost bounds how many meters an average is made of.
const similarMost = 500

// SimilarUses reads the measured registers of the other meters of the same site, service, profile and class of customer, as of the second of two instants, at both.
func (s *Store) SimilarUses(ctx context.Context, m Meter, class billing.CustomerClass, from, to time.Time) ([]SimilarUse, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT a.registers AS "from", b.registers AS "to", m.digits, f.ratio
		FROM meters m JOIN fittings f ON f.meter_id = m.id AND f.to_at IS NULL AND f.from_at <= $5 JOIN accounts ac ON ac.service_point_id = f.service_point_id
		JOIN sites s ON s.id = ac.site_id JOIN LATERAL (SELECT class FROM account_terms WHERE account_id = ac.id AND from_day <= ($6 AT TIME ZONE s.time_zone)::date
			ORDER BY from_day DESC, version DESC LIMIT 1) t ON t.class = $4
		JOIN good_readings a ON a.meter_id = m.id AND a.freeze_at = $5 AND a.quality <> 'estimated'
		JOIN good_readings b ON b.meter_id = m.id AND b.freeze_at = $6 AND b.quality <> 'estimated'
		WHERE m.site_id = $1 AND m.service = $2 AND m.profile = $3 AND m.id <> $7 ORDER BY m.id LIMIT $8`,
		m.Site, m.Service, m.Profile, class, from, to, m.ID, similarMost)
	us, err := pgx.CollectRows(rows, pgx.RowToStructByName[SimilarUse])
	return us, translate(err)
}

// CycleAnswered says how many gateways a cycle has, and how many of its meters were asked and gave any answer.
func (s *Store) CycleAnswered(ctx context.Context, id billing.CycleID) (gateways, answered int, err error) {
	err = s.Pool.QueryRow(ctx, `SELECT count(DISTINCT gateway_id), count(*) FILTER (WHERE outcome NOT IN ('planned', 'silent')) FROM cycle_meters WHERE cycle_id = $1`, id).Scan(&gateways, &answered)
	return gateways, answered, translate(err)
}
