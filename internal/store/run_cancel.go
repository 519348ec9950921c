package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// CancelRun ends a run before it is issued. Its bills are cancelled after it, chunk by chunk; whoever rates a page of it meanwhile finds
// it cancelled. Cancelling it again changes nothing.
func (s *Store) CancelRun(ctx context.Context, by By, id billing.RunID, reason string) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRun(ctx, tx, id)
		if err != nil || r.State == billing.RunCancelled {
			return err
		}
		if r.State == billing.RunIssued || r.IssuedBy != nil {
			return billing.Errorf(billing.CodeClosed, "run %s is approved for issue: its bills can only be reversed, one by one", id)
		}
		if err := planChunks(ctx, tx, r); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE billing_runs SET state = 'cancelled' WHERE id = $1`, id); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: r.Site, Kind: "run", ID: string(id), Event: "cancelled", From: string(r.State), To: string(billing.RunCancelled), Reason: reason})
	})
}

// CancelBills cancels the bills of a chunk of a cancelled run. Cancelling them again changes nothing.
func (s *Store) CancelBills(ctx context.Context, by By, run billing.RunID, chunk int) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := shareRun(ctx, tx, run)
		if err != nil {
			return err
		}
		if r.State != billing.RunCancelled {
			return billing.Errorf(billing.CodeClosed, "run %s is %s: only the bills of a cancelled run are cancelled", run, r.State)
		}
		c, err := lockChunk(ctx, tx, run, chunk)
		if err != nil {
			return err
		}
		for _, from := range []billing.BillState{billing.BillDraft, billing.BillHeld} {
			rows, _ := tx.Query(ctx, `UPDATE bills b SET state = 'cancelled', hold_reason = $2 FROM billing_chunks c WHERE c.run_id = $1 AND c.no = $3 AND b.state = $4 AND`+ofChunk+`
				RETURNING b.id, b.account_id`, run, "run "+string(run)+" was cancelled", chunk, from)
			gone, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m member, err error) { return m, row.Scan(&m.ID, &m.Account) })
			if err != nil {
				return err
			}
			if err := journalBills(ctx, tx, r, c.entity(), "cancelled", from, billing.BillCancelled, gone, nil); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `UPDATE billing_chunks SET bills = 0, held = 0, power_raw = 0, water_raw = 0, total_fen = 0, charged_fen = 0, changes = '[]' WHERE run_id = $1 AND no = $2`, run, chunk)
		return err
	})
}
