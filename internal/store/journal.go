package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/journal"
)

// VerifyJournal recomputes every chain and every seal. rows and chains say how much it saw; first is nil when all of it holds.
func (s *Store) VerifyJournal(ctx context.Context) (rows, chains int64, first *journal.Break, err error) {
	// One snapshot, so that rows appended meanwhile don't look like a break.
	err = pgx.BeginTxFunc(ctx, s.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		c := journal.NewChecker()
		if err := checkRows(ctx, tx, c); err != nil {
			return err
		}
		if err := checkHeads(ctx, tx, c); err != nil {
			return err
		}
		if err := checkSeals(ctx, tx, c); err != nil {
			return err
		}
		rows, chains, first = c.Result()
		return nil
	})
	return rows, chains, first, translate(err)
}

// checkRows streams the rows chain by chain: identity values are given before the chain's lock, so their order isn't the chain's.
func checkRows(ctx context.Context, tx pgx.Tx, c *journal.Checker) error {
	rows, err := tx.Query(ctx, `SELECT id, site_id, chain, seq, event, from_state, to_state, actor, reason, workflow_id, run_id,
		business_at, real_at, refs, data::text, prev_hash, hash FROM journal ORDER BY chain, seq`)
	if err != nil {
		return err
	}
	var r journal.Row
	_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.Site, &r.Chain, &r.Seq, &r.Event, &r.From, &r.To, &r.Actor, &r.Reason, &r.WorkflowID, &r.RunID,
		&r.BusinessAt, &r.RealAt, &r.Refs, &r.Data, &r.PrevHash, &r.Hash}, func() error {
		c.Add(r)
		return nil
	})
	return err
}

func checkHeads(ctx context.Context, tx pgx.Tx, c *journal.Checker) error {
	rows, err := tx.Query(ctx, `SELECT chain, seq, hash FROM journal_heads`)
	if err != nil {
		return err
	}
	var h journal.Head
	_, err = pgx.ForEachRow(rows, []any{&h.Chain, &h.Seq, &h.Hash}, func() error {
		c.Head(h.Chain, h.Seq, h.Hash)
		return nil
	})
	return err
}

func checkSeals(ctx context.Context, tx pgx.Tx, c *journal.Checker) error {
	rows, _ := tx.Query(ctx, `SELECT site_id, day::text, last_id, root FROM journal_seals ORDER BY day, site_id`)
	type seal struct {
		Site, Day string
		LastID    int64
		Root      []byte
	}
	seals, err := pgx.CollectRows(rows, pgx.RowToStructByPos[seal])
	if err != nil {
		return err
	}
	for _, sl := range seals {
		heads, err := headsUpTo(ctx, tx, sl.Site, sl.LastID)
		if err != nil {
			return err
		}
		c.Seal(sl.Site, sl.Day, sl.Root, journal.Root(heads))
	}
	return nil
}

// headsUpTo are a site's chain ends as they stood when lastID was the newest row.
func headsUpTo(ctx context.Context, tx pgx.Tx, site string, lastID int64) ([]journal.Head, error) {
	rows, _ := tx.Query(ctx, `SELECT DISTINCT ON (chain COLLATE "C") chain, seq, hash FROM journal WHERE site_id = $1 AND id <= $2 ORDER BY chain COLLATE "C", seq DESC`, site, lastID)
	return pgx.CollectRows(rows, pgx.RowToStructByPos[journal.Head])
}

// SealDay puts the heads of all chains of a site under one root. Sealing a day twice changes nothing.
func (s *Store) SealDay(ctx context.Context, site billing.SiteID, day billing.Date) error {
	var sealed bool
	err := s.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM journal_seals WHERE site_id = $1 AND day = $2)`, site, day.String()).Scan(&sealed)
	if err != nil || sealed {
		return translate(err)
	}
	return s.Change(ctx, By{Actor: "workflow"}, func(tx *Tx) error {
		// Writers of a row hold its chain's head: with the table locked against them, no row with a smaller id can appear later.
		if _, err := tx.Exec(ctx, `LOCK TABLE journal_heads IN SHARE MODE`); err != nil {
			return err
		}
		var last int64
		if err := tx.QueryRow(ctx, `SELECT coalesce(max(id), 0) FROM journal`).Scan(&last); err != nil {
			return err
		}
		heads, err := headsUpTo(ctx, tx.Tx, string(site), last)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO journal_seals (site_id, day, last_id, chains, root, sealed_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			site, day.String(), last, len(heads), journal.Root(heads), tx.Now)
		return err
	})
}

// Event is one row of a timeline.
type Event struct {
	ID         int64
	Site       billing.SiteID
	Kind       string
	Entity     string
	Event      string
	From, To   string
	Actor      string
	ActorName  string // empty when the actor is no person
	Reason     string
	WorkflowID string
	RunID      string
	BusinessAt time.Time
	RealAt     time.Time
	Refs       []string // the first ones
	Data       json.RawMessage
}

// mostRefs bounds the numbers that an event of a timeline brings along: a row that stands for a page of bills has hundreds.
const mostRefs = `20`

// Timeline lists the events that a number leads to, newest first, over the given sites (rows of no site are seen by all).
// before is the id of the last event of the page before, 0 for the first page.
func (s *Store) Timeline(ctx context.Context, sites []billing.SiteID, ref string, before int64, limit int) ([]Event, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT j.id, j.site_id, j.kind, j.entity, j.event, j.from_state, j.to_state, j.actor, coalesce(u.name, ''), j.reason,
			j.workflow_id, j.run_id, j.business_at, j.real_at, j.refs[1:`+mostRefs+`], j.data
		FROM journal j LEFT JOIN users u ON u.id = j.actor
		WHERE j.refs @> ARRAY[$1] AND (j.site_id = ANY($2) OR j.site_id = '-') AND ($3 = 0 OR j.id < $3)
		ORDER BY j.id DESC LIMIT $4`, ref, sites, before, limit)
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Event])
	return events, translate(err)
}

// RecentEvents lists the newest events of the given sites, newest first; before and limit as for Timeline.
func (s *Store) RecentEvents(ctx context.Context, sites []billing.SiteID, before int64, limit int) ([]Event, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT j.id, j.site_id, j.kind, j.entity, j.event, j.from_state, j.to_state, j.actor, coalesce(u.name, ''), j.reason,
			j.workflow_id, j.run_id, j.business_at, j.real_at, j.refs[1:`+mostRefs+`], j.data
		FROM journal j LEFT JOIN users u ON u.id = j.actor
		WHERE (j.site_id = ANY($1) OR j.site_id = '-') AND ($2 = 0 OR j.id < $2)
		ORDER BY j.id DESC LIMIT $3`, sites, before, limit)
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Event])
	return events, translate(err)
}

// ChainIntact recomputes the chain of one entity; false means that a row of it was changed or is missing.
func (s *Store) ChainIntact(ctx context.Context, kind, entity string) (bool, error) {
	c := journal.NewChecker()
	rows, err := s.Pool.Query(ctx, `SELECT id, site_id, chain, seq, event, from_state, to_state, actor, reason, workflow_id, run_id,
		business_at, real_at, refs, data::text, prev_hash, hash FROM journal WHERE chain = $1 ORDER BY seq`, kind+"/"+entity)
	if err != nil {
		return false, translate(err)
	}
	var r journal.Row
	_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.Site, &r.Chain, &r.Seq, &r.Event, &r.From, &r.To, &r.Actor, &r.Reason, &r.WorkflowID, &r.RunID,
		&r.BusinessAt, &r.RealAt, &r.Refs, &r.Data, &r.PrevHash, &r.Hash}, func() error {
		c.Add(r)
		return nil
	})
	if err != nil {
		return false, translate(err)
	}
	_, _, first := c.Result()
	return first == nil, nil
}
