package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Uncharged is an account that a daily charge couldn't rate, with why in one sentence.
type Uncharged struct {
	Account billing.AccountID
	Reason  string
}

// NoteUncharged keeps which accounts of a page a cycle's charge couldn't rate, since when and why, and forgets those that it could. Only what
// changes has a row in the account's journal; noting it again changes nothing.
func (s *Store) NoteUncharged(ctx context.Context, by By, cycle billing.CycleID, rated []billing.AccountID, not []Uncharged) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		site, err := chargedSite(ctx, tx, cycle)
		if err != nil {
			return err
		}
		ids, reasons := column(not, func(u Uncharged) billing.AccountID { return u.Account }), column(not, func(u Uncharged) string { return u.Reason })
		rows, _ := tx.Query(ctx, `INSERT INTO uncharged (account_id, site_id, reason, since_at) SELECT n.account_id, $1, n.reason, $4 FROM unnest($2::text[], $3::text[]) n (account_id, reason)
			ON CONFLICT (account_id) DO UPDATE SET reason = excluded.reason WHERE uncharged.reason <> excluded.reason RETURNING account_id, reason`, site.ID, ids, reasons, tx.Now)
		fresh, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Uncharged])
		if err != nil {
			return err
		}
		for _, u := range fresh {
			if err := tx.Journal(ctx, Entry{Site: site.ID, Kind: "account", ID: string(u.Account), Event: "not_charged", Refs: []string{string(cycle)}, Data: map[string]any{"why": u.Reason}}); err != nil {
				return err
			}
		}
		rows, _ = tx.Query(ctx, `DELETE FROM uncharged WHERE account_id = ANY($1) RETURNING account_id`, rated)
		again, err := pgx.CollectRows(rows, pgx.RowTo[billing.AccountID])
		if err != nil {
			return err
		}
		for _, id := range again {
			if err := tx.Journal(ctx, Entry{Site: site.ID, Kind: "account", ID: string(id), Event: "charged_again", Refs: []string{string(cycle)}}); err != nil {
				return err
			}
		}
		return nil
	})
}
