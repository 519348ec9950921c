package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// runTables are the tables that a run writes, in the order of their foreign keys, each with the rows of the run $run as it left them.
// bill_meters isn't among them: its rows come by themselves with issued bills.
var runTables = []struct{ table, rows string }{
	{"billing_runs", `id = $run`},
	{"billing_chunks", `run_id = $run ORDER BY no`},
	{"ledger_entries", `kind = 'bill_issued' AND subject IN (SELECT id FROM bills WHERE run_id = $run) ORDER BY id`},
	{"ledger_postings", `entry_id IN (SELECT entry_id FROM bills WHERE run_id = $run) ORDER BY entry_id, seq`},
	{"bills", `run_id = $run ORDER BY id`},
	{"bill_lines", `bill_id IN (SELECT id FROM bills WHERE run_id = $run) ORDER BY bill_id, seq`},
	{"journal", `kind = 'run' AND entity = $run OR kind = 'bills' AND entity LIKE $run || '#%' ORDER BY id`},
	{"journal_heads", `chain = 'run/' || $run OR chain LIKE 'bills/' || $run || '#%'`},
}

// copyRun takes the rows that a run wrote and gives the time that PostgreSQL takes to COPY them into another database's tables, which
// have the same indexes, constraints and triggers, in one transaction.
func copyRun(ctx context.Context, from, to *store.Store, run billing.RunID) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "meterflow-copy-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	files := make([]*os.File, len(runTables))
	for i, t := range runTables {
		if files[i], err = os.Create(fmt.Sprintf("%s/%s", dir, t.table)); err != nil {
			return 0, err
		}
		defer files[i].Close()
		rows := strings.ReplaceAll(t.rows, "$run", "'"+string(run)+"'") // our own name; COPY takes no parameters
		if err := onConnection(ctx, from.Pool, func(c *pgconn.PgConn) error {
			_, err := c.CopyTo(ctx, files[i], `COPY (SELECT * FROM `+t.table+` WHERE `+rows+`) TO STDOUT`)
			return err
		}); err != nil {
			return 0, err
		}
		if _, err := files[i].Seek(0, 0); err != nil {
			return 0, err
		}
	}
	var took time.Duration
	err = onConnection(ctx, to.Pool, func(c *pgconn.PgConn) error {
		began := time.Now()
		if err := c.Exec(ctx, `BEGIN`).Close(); err != nil {
			return err
		}
		for i, t := range runTables {
			if _, err := c.CopyFrom(ctx, files[i], `COPY `+t.table+` FROM STDIN`); err != nil {
				return fmt.Errorf("%s: %w", t.table, err)
			}
		}
		err := c.Exec(ctx, `COMMIT`).Close()
		took = time.Since(began)
		return err
	})
	if err != nil {
		return 0, err
	}
	return took, sameRows(ctx, from, to, run)
}

// sameRows makes sure that both sides wrote the same: bills, lines and meters, to the fen.
func sameRows(ctx context.Context, from, to *store.Store, run billing.RunID) error {
	const sums = `SELECT format('%s bills, %s lines, %s meters, %s fen', (SELECT count(*) FROM bills WHERE run_id = $1 AND state = 'issued'),
		(SELECT count(*) FROM bill_lines l JOIN bills b ON b.id = l.bill_id WHERE b.run_id = $1),
		(SELECT count(*) FROM bill_meters m JOIN bills b ON b.id = m.bill_id WHERE b.run_id = $1), (SELECT sum(total_fen) FROM bills WHERE run_id = $1))`
	var ours, copied string
	if err := from.Pool.QueryRow(ctx, sums, run).Scan(&ours); err != nil {
		return err
	}
	if err := to.Pool.QueryRow(ctx, sums, run).Scan(&copied); err != nil {
		return err
	}
	if ours != copied {
		return billing.Errorf(billing.CodeInternal, "the run wrote %s, the copy %s: nothing can be compared", ours, copied)
	}
	return nil
}

func onConnection(ctx context.Context, pool *pgxpool.Pool, do func(*pgconn.PgConn) error) error {
	c, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return do(c.Conn().PgConn())
}

// loadMasters writes the rows that the copied ones refer to, and no readings.
func (u Utility) loadMasters(ctx context.Context, s *store.Store) error {
	if err := u.open(ctx, s); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error { return u.insertMasters(ctx, tx) })
}
