package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// overtaken joins, to bills b of a query, the readings between two instants (SQL) that they were rated with and that have a newer version since:
// n is the newest one, o.registers are those of the bill. Registers are compared, not instants: whoever came first, a bill says what its readings
// say or it doesn't. The opening and closing of a fitting are no readings, and change by corrections only.
//
// OFFSET 0 keeps it one look into readings_revised per fitting, whatever the planner believes of partitions that were filled a moment ago.
func overtaken(from, to string) string {
	return `
	JOIN accounts a ON a.id = b.account_id
	JOIN fittings f ON f.service_point_id = a.service_point_id
	CROSS JOIN LATERAL (SELECT * FROM readings n WHERE n.meter_id = f.meter_id AND n.version > 1 AND n.freeze_at BETWEEN (` + from + `) AND (` + to + `)
		AND n.freeze_at > f.from_at AND (f.to_at IS NULL OR n.freeze_at < f.to_at)
		AND NOT EXISTS (SELECT 1 FROM readings x WHERE x.meter_id = n.meter_id AND x.freeze_at = n.freeze_at AND x.version > n.version) OFFSET 0) n
	JOIN LATERAL (SELECT ARRAY(SELECT jsonb_array_elements_text(p -> 'registers')::bigint) AS registers FROM jsonb_array_elements(b.input -> 'points') p
		WHERE (p ->> 'at')::timestamptz = n.freeze_at AND b.input -> 'fittings' @> jsonb_build_array(jsonb_build_object('no', p -> 'fitting', 'meter', n.meter_id))) o ON true`
}

// revisedMost bounds how many bills one signature sends back; the next try finds the rest.
const revisedMost = 1000

// revisedDrafts finds the drafts of a run that rest on a reading which has changed since they were rated, or is in doubt now, with the
// sentence that says which; of the given bills, or with nil of all of the run.
func revisedDrafts(ctx context.Context, tx *Tx, r Run, of []billing.BillID) (map[billing.BillID]string, error) {
	rows, _ := tx.Query(ctx, selectSite+` WHERE id = $1`, r.Site)
	site, err := pgx.CollectExactlyOneRow(rows, scanSite)
	if err != nil {
		return nil, err
	}
	from, to := r.Period().Instants(site.Zone)
	which, args := `b.run_id = $3`, []any{from, to, r.ID}
	if of != nil { // two questions, so that a page's never goes through the whole run
		which, args[2] = `b.id = ANY($3)`, of
	}
	rows, _ = tx.Query(ctx, `SELECT DISTINCT ON (b.id) b.id, n.meter_id, n.freeze_at FROM bills b`+overtaken("$1", "$2")+`
		WHERE `+which+` AND b.state = 'draft' AND (n.doubtful OR n.registers <> o.registers)
		ORDER BY b.id, n.freeze_at LIMIT `+itoa(revisedMost), args...)
	found := map[billing.BillID]string{}
	var id billing.BillID
	var meter billing.MeterID
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &meter, &at}, func() error {
		found[id] = "the reading of meter " + string(meter) + " of " + billing.DateOf(at, site.Zone).String() + " has changed since the bill was rated"
		return nil
	})
	return found, err
}

// sendBack holds the drafts of a run whose readings have changed since they were rated, and hands the run back to its verifier with new
// totals: what is signed is what is on file. It says how many bills it held. A correction that isn't finished keeps the run waiting.
func sendBack(ctx context.Context, tx *Tx, r Run) (int, error) {
	var correction billing.CorrectionID
	var bill billing.BillID
	err := tx.QueryRow(ctx, `SELECT k.id, b.id FROM bills b JOIN correction_bills c ON c.bill_id = b.id AND c.state = 'pending' JOIN corrections k ON k.id = c.correction_id
		WHERE b.run_id = $1 AND b.state = 'draft' AND k.inputs_at IS NOT NULL AND k.state NOT IN ('applied', 'rejected', 'withdrawn') ORDER BY k.id LIMIT 1`, r.ID).Scan(&correction, &bill)
	if err == nil {
		err = billing.Errorf(billing.CodeBlocked, "correction %s has changed what bill %s rests on and is not finished: finish it first", correction, bill)
	}
	if err != pgx.ErrNoRows {
		return 0, err
	}
	revised, err := revisedDrafts(ctx, tx, r, nil)
	if err != nil || len(revised) == 0 {
		return 0, err
	}
	for id, why := range revised {
		if err := holdBill(ctx, tx, r, id, why); err != nil {
			return 0, err
		}
	}
	return len(revised), reopenSummed(ctx, tx, r)
}

// sentBack refuses a signature after sendBack has held bills.
func sentBack(id billing.RunID, bills int) error {
	if bills == 0 {
		return nil
	}
	return billing.Errorf(billing.CodeStale, "readings have changed since run %s was rated: the bills that rest on them (%d) are held now; release them, which rates them again, and verify the new totals", id, bills)
}

// holdRevised holds the bills of a page whose readings have changed since they were rated, and gives the others.
func holdRevised(ctx context.Context, tx *Tx, r Run, bills []dueBill) ([]dueBill, error) {
	revised, err := revisedDrafts(ctx, tx, r, dueIDs(bills))
	if err != nil || len(revised) == 0 {
		return bills, err
	}
	return keepBack(bills, revised, func(b dueBill, why string) error { return holdDue(ctx, tx, r, b, why) })
}
