package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// BillingLimits is a version of what stops the bills of a site's months from FromMonth on. Of several versions of one month the newest holds.
type BillingLimits struct {
	Site      billing.SiteID `db:"site_id"`
	Version   int
	FromMonth billing.Date    // the first day of a month
	Limits    json.RawMessage // control.Policy
	MadeBy    billing.UserID
	MadeName  string
	Reason    string
	MadeAt    time.Time
}

// BillingLimits reads all versions of a site, the newest first.
func (s *Store) BillingLimits(ctx context.Context, site billing.SiteID) ([]BillingLimits, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT l.site_id, l.version, l.from_month, l.limits, l.made_by, coalesce(u.name, '') AS made_name, l.reason, l.made_at
		FROM billing_limits l LEFT JOIN users u ON u.id = l.made_by WHERE l.site_id = $1 ORDER BY l.version DESC`, site)
	vs, err := pgx.CollectRows(rows, pgx.RowToStructByName[BillingLimits])
	return vs, translate(err)
}

// BillingLimitsOf are the limits of a month's bills, named by its first day; nil where the site's policy holds.
func (s *Store) BillingLimitsOf(ctx context.Context, site billing.SiteID, month billing.Date) (json.RawMessage, error) {
	var limits json.RawMessage
	err := s.Pool.QueryRow(ctx, `SELECT limits FROM billing_limits WHERE site_id = $1 AND from_month <= $2 ORDER BY from_month DESC, version DESC LIMIT 1`, site, month).Scan(&limits)
	if err == pgx.ErrNoRows {
		return nil, nil
	}
	return limits, translate(err)
}

// AddBillingLimits gives a site limits from a month on, in place of those that would have held. A month that is being billed, or was, keeps
// what its bills were held against: billing.CodeConflict.
func (s *Store) AddBillingLimits(ctx context.Context, by By, l BillingLimits) (version int, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		// A run refers to its site, so none begins between the look and the end of this transaction.
		if _, err := tx.Exec(ctx, `SELECT 1 FROM sites WHERE id = $1 FOR UPDATE`, l.Site); err != nil {
			return err
		}
		var billed *time.Time
		if err := tx.QueryRow(ctx, `SELECT max(period_from) FROM billing_runs WHERE site_id = $1 AND period_from >= $2 AND state <> 'cancelled'`, l.Site, l.FromMonth).Scan(&billed); err != nil {
			return err
		}
		if billed != nil {
			return billing.Errorf(billing.CodeConflict, "the bills of %s are made already: let the limits begin with a later month", billed.Format("2006-01"))
		}
		err := tx.QueryRow(ctx, `INSERT INTO billing_limits (site_id, version, from_month, limits, made_by, reason, made_at)
			SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, $5, $6 FROM billing_limits WHERE site_id = $1 RETURNING version`,
			l.Site, l.FromMonth, string(l.Limits), tx.Actor, tx.Reason, tx.Now).Scan(&version)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: l.Site, Kind: "billing_limits", ID: string(l.Site), Event: "version_added",
			Data: map[string]any{"version": version, "from_month": l.FromMonth, "limits": l.Limits}})
	})
	return version, err
}
