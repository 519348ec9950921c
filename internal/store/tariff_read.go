package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// TariffRow is a tariff as the list shows it.
type TariffRow struct {
	ID       billing.TariffID
	Service  billing.Service
	NameZH   string
	NameEN   string
	Accounts int                     // that have it now or from a later day on
	Since    billing.Date            // first day of the version in force; zero when none is
	Next     billing.Date            // first day of the version after it; zero when none is published
	Versions int                     // published
	Change   *billing.TariffChangeID // the open change; nil without one
	State    *billing.TariffState    // of the open change
}

// TariffRows lists all tariffs, those in use first. today is the day by which a version is in force.
func (s *Store) TariffRows(ctx context.Context, today billing.Date) ([]TariffRow, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT t.id, t.service, t.name_zh, t.name_en, coalesce(a.n, 0) AS accounts, v.since, v.next, coalesce(v.n, 0) AS versions, c.id AS change, c.state
		FROM tariffs t
		LEFT JOIN (SELECT tariff_id, count(DISTINCT account_id) AS n FROM tariff_uses GROUP BY tariff_id) a ON a.tariff_id = t.id
		LEFT JOIN (SELECT tariff_id, max(from_day) FILTER (WHERE from_day <= $1) AS since, min(from_day) FILTER (WHERE from_day > $1) AS next, count(DISTINCT from_day) AS n
			FROM tariff_versions GROUP BY tariff_id) v ON v.tariff_id = t.id
		LEFT JOIN tariff_changes c ON c.tariff_id = t.id AND c.state IN ('draft', 'submitted', 'approved_once', 'rejected')
		ORDER BY coalesce(a.n, 0) DESC, t.id`, today)
	ts, err := pgx.CollectRows(rows, pgx.RowToStructByName[TariffRow])
	return ts, translate(err)
}

// TariffUse counts, per site, the accounts that have a tariff now or from a later day on.
func (s *Store) TariffUse(ctx context.Context, id billing.TariffID) (map[billing.SiteID]int, error) {
	rows, err := s.Pool.Query(ctx, `SELECT site_id, count(DISTINCT account_id) FROM tariff_uses WHERE tariff_id = $1 GROUP BY site_id`, id)
	if err != nil {
		return nil, translate(err)
	}
	use := map[billing.SiteID]int{}
	var site billing.SiteID
	var n int
	_, err = pgx.ForEachRow(rows, []any{&site, &n}, func() error {
		use[site] = n
		return nil
	})
	return use, translate(err)
}

// PublishedVersion is a version with what published it.
type PublishedVersion struct {
	From        billing.Date          `db:"from_day"`
	Version     billing.TariffVersion // decoded from JSON
	Change      *billing.TariffChangeID
	PublishedAt time.Time
	Maker       string // names of persons; empty for a version that was taken over
	Approver1   string
	Approver2   string
	Why         string
}

// PublishedVersions reads the versions of a tariff, newest first, with who made and approved them.
func (s *Store) PublishedVersions(ctx context.Context, id billing.TariffID) ([]PublishedVersion, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT v.from_day, v.version, v.change_id AS change, v.published_at, coalesce(m.name, '') AS maker, coalesce(a.name, '') AS approver1,
			coalesce(b.name, '') AS approver2, coalesce(c.why, k.reason, '') AS why
		FROM tariff_versions v LEFT JOIN tariff_changes c ON c.id = v.change_id LEFT JOIN corrections k ON k.id = v.correction_id
		LEFT JOIN users m ON m.id = coalesce(c.made_by, k.drafted_by) LEFT JOIN users a ON a.id = coalesce(c.approved1_by, k.approved1_by)
		LEFT JOIN users b ON b.id = coalesce(c.approved2_by, k.approved2_by)
		WHERE v.tariff_id = $1 ORDER BY v.from_day DESC, v.number DESC`, id)
	vs, err := pgx.CollectRows(rows, pgx.RowToStructByName[PublishedVersion])
	return vs, translate(err)
}

// TariffChangeRow is a change with the names of its people.
type TariffChangeRow struct {
	TariffChange
	MadeName      string
	Approved1Name string
	Approved2Name string
	RejectedName  string
}

const selectChangeRow = `SELECT ` + tariffChangeColumns + `, coalesce(m.name, '') AS made_name, coalesce(a.name, '') AS approved1_name, coalesce(b.name, '') AS approved2_name,
		coalesce(r.name, '') AS rejected_name
	FROM tariff_changes c LEFT JOIN users m ON m.id = c.made_by LEFT JOIN users a ON a.id = c.approved1_by LEFT JOIN users b ON b.id = c.approved2_by
	LEFT JOIN users r ON r.id = c.rejected_by`

// TariffChangeRow reads one change with the names of its people.
func (s *Store) TariffChangeRow(ctx context.Context, id billing.TariffChangeID) (TariffChangeRow, error) {
	rows, _ := s.Pool.Query(ctx, selectChangeRow+` WHERE c.id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[TariffChangeRow])
	return c, translate(err)
}

// TariffChangeFilter says which changes a list shows.
type TariffChangeFilter struct {
	Tariff  billing.TariffID
	Waiting billing.UserID // those that this person may still approve; empty: all
	Open    bool           // not published, not withdrawn
}

// TariffChangeRows lists changes, what waits for an approval first, and counts them all.
func (s *Store) TariffChangeRows(ctx context.Context, f TariffChangeFilter, limit, offset int) ([]TariffChangeRow, int, error) {
	const where = ` WHERE (@tariff = '' OR c.tariff_id = @tariff)
		AND (@waiting = '' OR (c.state IN ('submitted', 'approved_once') AND NOT @waiting = ANY (c.editors) AND c.approved1_by IS DISTINCT FROM @waiting))
		AND (NOT @open OR c.state IN ('draft', 'submitted', 'approved_once', 'rejected'))`
	args := pgx.NamedArgs{"tariff": string(f.Tariff), "waiting": string(f.Waiting), "open": f.Open, "limit": limit, "offset": offset}
	var total int
	if err := s.Pool.QueryRow(ctx, `SELECT count(*) FROM tariff_changes c`+where, args).Scan(&total); err != nil {
		return nil, 0, translate(err)
	}
	rows, _ := s.Pool.Query(ctx, selectChangeRow+where+` ORDER BY c.state NOT IN ('submitted', 'approved_once'), c.state NOT IN ('draft', 'rejected'), c.made_at DESC, c.id DESC
		LIMIT @limit OFFSET @offset`, args)
	cs, err := pgx.CollectRows(rows, pgx.RowToStructByName[TariffChangeRow])
	return cs, total, translate(err)
}

// TariffAsOf is a tariff as it was published at an instant: which prices were known then.
func (s *Store) TariffAsOf(ctx context.Context, id billing.TariffID, knownAt time.Time) (billing.Tariff, error) {
	t, err := s.Tariff(ctx, id)
	if err != nil {
		return t, err
	}
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT ON (from_day) version FROM tariff_versions WHERE tariff_id = $1 AND published_at <= $2 ORDER BY from_day, number DESC`, id, knownAt)
	raw, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return t, translate(err)
	}
	t.Versions = make([]billing.TariffVersion, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &t.Versions[i]); err != nil {
			return t, err
		}
	}
	return t, nil
}
