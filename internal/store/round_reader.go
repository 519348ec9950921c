package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// ReaderFinding is something odd about a reader's own work on one round. It proves nothing; a supervisor looks into it and says what it was.
type ReaderFinding struct {
	ID         int64
	Site       billing.SiteID  `db:"site_id"`
	Round      billing.RoundID `db:"round_id"`
	Reader     billing.UserID
	ReaderName string
	RouteName  string
	Rule       string
	Numbers    json.RawMessage
	FoundAt    time.Time
	SettledAt  *time.Time
	SettledBy  *billing.UserID
	Settler    *string
	Answer     string
}

const selectFinding = `SELECT f.id, f.site_id, f.round_id, f.reader, u.name AS reader_name, t.name AS route_name, f.rule, f.numbers, f.found_at, f.settled_at, f.settled_by,
		s.name AS settler, f.answer
	FROM reader_findings f JOIN users u ON u.id = f.reader JOIN rounds w ON w.id = f.round_id JOIN reading_routes t ON t.id = w.route_id
	LEFT JOIN users s ON s.id = f.settled_by`

// NewReaderFinding is what a check found.
type NewReaderFinding struct {
	Rule    string
	Numbers map[string]string
}

// SaveReaderFindings keeps what the check of a submitted round found. Found again, after a return, it stays one finding with the newest numbers
// while nobody has settled it.
func (s *Store) SaveReaderFindings(ctx context.Context, by By, id billing.RoundID, found []NewReaderFinding) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRound(ctx, tx, id)
		if err != nil || r.Reader == nil {
			return err
		}
		var rules []string
		for _, f := range found {
			numbers, err := json.Marshal(f.Numbers)
			if err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, `INSERT INTO reader_findings (site_id, round_id, reader, rule, numbers, found_at) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (round_id, reader, rule) DO UPDATE SET numbers = excluded.numbers, found_at = excluded.found_at
				WHERE reader_findings.settled_at IS NULL AND reader_findings.numbers <> excluded.numbers`, r.Site, id, *r.Reader, f.Rule, string(numbers), tx.Now)
			if err != nil {
				return err
			}
			if tag.RowsAffected() > 0 {
				rules = append(rules, f.Rule)
			}
		}
		if len(rules) == 0 {
			return nil
		}
		return moveRound(ctx, tx, r, Entry{Event: "reader_findings", To: string(r.State), Refs: []string{string(*r.Reader)}, Data: map[string]any{"rules": rules}}, "")
	})
}

// SettleFinding records what a supervisor says about a finding, with the journal row. The reader can't settle their own.
func (s *Store) SettleFinding(ctx context.Context, by By, id int64) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		var round billing.RoundID
		var rule string
		var site billing.SiteID
		var settled *time.Time
		err := tx.QueryRow(ctx, `SELECT round_id, rule, site_id, settled_at FROM reader_findings WHERE id = $1 FOR UPDATE`, id).Scan(&round, &rule, &site, &settled)
		if err != nil {
			return err
		}
		if settled != nil {
			return billing.Errorf(billing.CodeClosed, "this finding was settled already: nothing was changed")
		}
		r, err := lockRound(ctx, tx, round)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE reader_findings SET settled_at = $2, settled_by = $3, answer = $4 WHERE id = $1`, id, tx.Now, tx.Actor, tx.Reason); err != nil {
			return err
		}
		return moveRound(ctx, tx, r, Entry{Event: "finding_settled", To: string(r.State), Data: map[string]string{"rule": rule}}, "")
	})
}

// Finding reads one finding.
func (s *Store) Finding(ctx context.Context, id int64) (ReaderFinding, error) {
	rows, _ := s.Pool.Query(ctx, selectFinding+` WHERE f.id = $1`, id)
	f, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[ReaderFinding])
	return f, translate(err)
}

// FindingFilter chooses findings. Empty fields don't filter.
type FindingFilter struct {
	Sites  []billing.SiteID
	Round  billing.RoundID
	Reader billing.UserID
	Open   bool
}

// FindingPage lists findings, newest first, and counts them all.
func (s *Store) FindingPage(ctx context.Context, f FindingFilter, limit, offset int) ([]ReaderFinding, int, error) {
	const where = ` WHERE f.site_id = ANY($1) AND ($2 = '' OR f.round_id = $2) AND ($3 = '' OR f.reader = $3) AND (NOT $4 OR f.settled_at IS NULL)`
	args := []any{f.Sites, f.Round, f.Reader, f.Open}
	var total int
	if err := s.Pool.QueryRow(ctx, `SELECT count(*) FROM reader_findings f`+where, args...).Scan(&total); err != nil {
		return nil, 0, translate(err)
	}
	rows, _ := s.Pool.Query(ctx, selectFinding+where+` ORDER BY f.settled_at IS NOT NULL, f.found_at DESC, f.id DESC LIMIT $5 OFFSET $6`, append(args, limit, offset)...)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[ReaderFinding])
	return all, total, translate(err)
}

// ReaderRounds lists a reader's submitted rounds at a site, newest first: those by which their punctuality and habits are judged.
func (s *Store) ReaderRounds(ctx context.Context, site billing.SiteID, reader billing.UserID, limit int) ([]Round, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+roundColumns+` FROM rounds w WHERE w.site_id = $1 AND w.reader = $2 AND w.submitted_at IS NOT NULL AND w.state <> 'cancelled'
		ORDER BY w.submitted_at DESC, w.id DESC LIMIT $3`, site, reader, limit)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Round])
	return all, translate(err)
}
