package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// A run is divided so that a chunk is worked in a few seconds, and a parent workflow never has more than chunkMost children per step.
const (
	chunkLeast = 1000 // accounts
	chunkMost  = 200  // chunks
)

// Chunk is a part of a billing run: a range of account numbers with its progress and its share of the control totals.
type Chunk struct {
	Run       billing.RunID     `db:"run_id"`
	No        int               // counts from 1
	After     billing.AccountID `db:"after_account"` // the range is (After, Upto]
	Upto      *string           `db:"upto_account"`  // nil: to the end
	Accounts  int               // when the run was planned
	Rated     int               // accounts that rating has passed
	RatedUpto billing.AccountID // the last of them
	Issued    int               // bills
}

const chunkColumns = `c.run_id, c.no, c.after_account, c.upto_account, c.accounts, c.rated, c.rated_upto, c.issued`

// ofChunk joins the bills b of the chunk c.
const ofChunk = ` b.run_id = c.run_id AND b.account_id > c.after_account AND (c.upto_account IS NULL OR b.account_id <= c.upto_account)`

// PlanRun divides a run into chunks and gives how many there are. Planning it again changes nothing.
func (s *Store) PlanRun(ctx context.Context, by By, run billing.RunID) (chunks int, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRun(ctx, tx, run)
		if err != nil {
			return err
		}
		if r.State != billing.RunIssued {
			if err := planChunks(ctx, tx, r); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, `SELECT count(*) FROM billing_chunks WHERE run_id = $1`, run).Scan(&chunks)
	})
	return chunks, err
}

// planChunks divides a run that has no chunks, and counts the bills that it has already: a run that was begun before there were chunks.
func planChunks(ctx context.Context, tx *Tx, r Run) error {
	tag, err := tx.Exec(ctx, `
		WITH a AS (SELECT id, row_number() OVER (ORDER BY id) - 1 AS n, count(*) OVER () AS total FROM accounts WHERE site_id = $2),
		c AS (SELECT n / greatest($3, (total + $4 - 1) / $4) AS no, max(id) AS upto, count(*) AS accounts FROM a GROUP BY 1)
		INSERT INTO billing_chunks (run_id, no, after_account, upto_account, accounts)
		SELECT $1, no + 1, coalesce(lag(upto) OVER w, ''), CASE WHEN lead(upto) OVER w IS NOT NULL THEN upto END, accounts
		FROM c WHERE NOT EXISTS (SELECT 1 FROM billing_chunks WHERE run_id = $1) WINDOW w AS (ORDER BY no)
		ON CONFLICT DO NOTHING`, r.ID, r.Site, chunkLeast, chunkMost)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	if err := recountChunks(ctx, tx, r.ID); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: r.Site, Kind: "run", ID: string(r.ID), Event: "planned", From: string(r.State), To: string(r.State),
		Data: map[string]any{"chunks": tag.RowsAffected()}})
}

// recountChunks counts the bills of all chunks of a run again.
func recountChunks(ctx context.Context, tx *Tx, run billing.RunID) error {
	_, err := tx.Exec(ctx, `UPDATE billing_chunks c SET (bills, held, issued, power_raw, water_raw, total_fen, charged_fen) = (
			SELECT count(*) FILTER (WHERE b.state IN ('draft', 'issued')), count(*) FILTER (WHERE b.state = 'held'), count(*) FILTER (WHERE b.state = 'issued'),
				coalesce(sum(b.quantity) FILTER (WHERE a.service = 'power' AND b.state IN ('draft', 'issued')), 0),
				coalesce(sum(b.quantity) FILTER (WHERE a.service = 'water' AND b.state IN ('draft', 'issued')), 0),
				coalesce(sum(b.total_fen) FILTER (WHERE b.state IN ('draft', 'issued')), 0), coalesce(sum(b.charged_fen) FILTER (WHERE b.state IN ('draft', 'issued')), 0)
			FROM bills b JOIN accounts a ON a.id = b.account_id WHERE`+ofChunk+`), changes = NULL WHERE c.run_id = $1`, run)
	return err
}

// Chunk reads one chunk of a run.
func (s *Store) Chunk(ctx context.Context, run billing.RunID, no int) (Chunk, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+chunkColumns+` FROM billing_chunks c WHERE c.run_id = $1 AND c.no = $2`, run, no)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Chunk])
	return c, translate(err)
}

// lockChunk locks a chunk, so that no second worker saves the same page beside this one.
func lockChunk(ctx context.Context, tx *Tx, run billing.RunID, no int) (Chunk, error) {
	rows, _ := tx.Query(ctx, `SELECT `+chunkColumns+` FROM billing_chunks c WHERE c.run_id = $1 AND c.no = $2 FOR UPDATE`, run, no)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Chunk])
}

// lockChunkOf locks the chunk that an account belongs to; a run that nobody has planned is planned first.
func lockChunkOf(ctx context.Context, tx *Tx, r Run, account billing.AccountID) (Chunk, error) {
	for planned := false; ; planned = true {
		rows, _ := tx.Query(ctx, `SELECT `+chunkColumns+` FROM billing_chunks c
			WHERE c.run_id = $1 AND c.after_account < $2 AND (c.upto_account IS NULL OR $2 <= c.upto_account) FOR UPDATE`, r.ID, account)
		c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Chunk])
		if err != pgx.ErrNoRows || planned {
			return c, err
		}
		if err := planChunks(ctx, tx, r); err != nil {
			return c, err
		}
	}
}

// entity is the chunk's name in the journal: one chain per chunk, so that pages of different chunks don't wait for one another.
func (c Chunk) entity() string { return string(c.Run) + "#" + itoa(int64(c.No)) }

// ChunkAccounts reads a page of a chunk's accounts, by number, after the given one.
func (s *Store) ChunkAccounts(ctx context.Context, c Chunk, site billing.SiteID, after billing.AccountID, limit int) ([]MeteredAccount, error) {
	rows, _ := s.Pool.Query(ctx, selectBilled+` WHERE a.site_id = $1 AND a.id > $2 AND ($3::text IS NULL OR a.id <= $3) ORDER BY a.id LIMIT $4`,
		site, max(after, c.After), c.Upto, limit)
	as, err := pgx.CollectRows(rows, pgx.RowToStructByName[MeteredAccount])
	return as, translate(err)
}

// CloseChunk says that rating has passed all accounts of a chunk, those without a bill included.
func (s *Store) CloseChunk(ctx context.Context, by By, run billing.RunID, no int) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		if _, err := shareRun(ctx, tx, run); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE billing_chunks SET rated = accounts WHERE run_id = $1 AND no = $2`, run, no); err != nil {
			return err
		}
		return findChanges(ctx, tx, run, no)
	})
}

// findChanges looks for the ten largest changes against the period before in the chunks where they aren't known: of one chunk, or with
// no = 0 of all of a run.
func findChanges(ctx context.Context, tx *Tx, run billing.RunID, no int) error {
	_, err := tx.Exec(ctx, `UPDATE billing_chunks c SET changes = (SELECT coalesce(jsonb_agg(to_jsonb(x)), '[]') FROM (
			SELECT b.id AS bill, b.account_id AS account, a.service, b.quantity, p.quantity AS before, b.total_fen, p.total_fen AS last_fen
			FROM bills b JOIN accounts a ON a.id = b.account_id
			JOIN bills p ON p.account_id = b.account_id AND p.period_to = b.period_from AND p.state = 'issued'
			WHERE`+ofChunk+` AND b.state = 'draft' ORDER BY abs(b.total_fen - p.total_fen) DESC, b.id LIMIT 10) x)
		WHERE c.run_id = $1 AND c.changes IS NULL AND ($2 = 0 OR c.no = $2)`, run, no)
	return err
}

// adjustChunk moves a chunk's share of the totals by one bill: sign 1 takes a held bill in, −1 holds one. Its largest changes are looked
// for again, in this chunk only.
func adjustChunk(ctx context.Context, tx *Tx, r Run, b Bill, sign int64) error {
	c, err := lockChunkOf(ctx, tx, r, b.Account)
	if err != nil {
		return err
	}
	q := quantityBy(b.Service, b.Quantity)
	_, err = tx.Exec(ctx, `UPDATE billing_chunks SET bills = bills + $3, held = held - $3, power_raw = power_raw + $3 * $4::bigint, water_raw = water_raw + $3 * $5::bigint,
			total_fen = total_fen + $3 * $6::bigint, charged_fen = charged_fen + $3 * $7::bigint, changes = NULL WHERE run_id = $1 AND no = $2`,
		c.Run, c.No, sign, q[0], q[1], b.TotalFen, b.ChargedFen)
	return err
}

// quantityBy puts a quantity into its service's place: power, water.
func quantityBy(s billing.Service, raw int64) [2]int64 {
	if s == billing.Water {
		return [2]int64{0, raw}
	}
	return [2]int64{raw, 0}
}

// RunProgress is how far a run is. Accounts are those of the site when the run was planned; Bills are to be issued.
type RunProgress struct {
	Accounts int
	Rated    int
	Bills    int
	Issued   int
}

// RunProgress sums a run's chunks. A run that wasn't planned has no accounts yet.
func (s *Store) RunProgress(ctx context.Context, run billing.RunID) (RunProgress, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT coalesce(sum(accounts), 0)::int AS accounts, coalesce(sum(rated), 0)::int AS rated, coalesce(sum(bills), 0)::int AS bills,
		coalesce(sum(issued), 0)::int AS issued FROM billing_chunks WHERE run_id = $1`, run)
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[RunProgress])
	return p, translate(err)
}
