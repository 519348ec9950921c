package store

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// TariffDecision is what a person decides on one revision of a change.
type TariffDecision struct {
	ID       billing.TariffChangeID
	By       billing.UserID
	Revision int
	Number   int // of an approval: 1 or 2
	Reason   string
}

// decideTariff locks a change and lets f decide on it, unless that was done before.
func (s *Store) decideTariff(ctx context.Context, by By, id billing.TariffChangeID, f func(tx *Tx, c *TariffChange) error) (c TariffChange, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		if c, err = lockTariffChange(ctx, tx, id); err != nil {
			return err
		}
		return f(tx, &c)
	})
	return c, err
}

// SubmitTariff puts a draft before those who approve. It must have been simulated when accounts use its tariff, begin in the future,
// and be below the ceiling of every site.
func (s *Store) SubmitTariff(ctx context.Context, by By, d TariffDecision) (TariffChange, error) {
	return s.decideTariff(ctx, by, d.ID, func(tx *Tx, c *TariffChange) error {
		if c.State == billing.TariffSubmitted && c.Revision == d.Revision {
			return nil
		}
		if c.State != billing.TariffDraft {
			return billing.Errorf(billing.CodeClosed, "only a draft can be submitted; this change is %s", spaced(c.State))
		}
		if err := revisionIs(*c, d.Revision); err != nil {
			return err
		}
		if err := publishable(ctx, tx, *c); err != nil {
			return err
		}
		var simulated, used bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM tariff_simulations WHERE change_id = $1 AND revision = $2 AND state = 'done'),
			EXISTS (SELECT 1 FROM tariff_uses WHERE tariff_id = $3)`, c.ID, c.Revision, c.Tariff).Scan(&simulated, &used)
		if err != nil {
			return err
		}
		if used && !simulated {
			return billing.Errorf(billing.CodeBlocked, "simulate this draft on last month's use first: those who approve it must see what it changes")
		}
		return moveTariff(ctx, tx, c, billing.TariffSubmitted, "submitted", d, `submitted_at = $3`)
	})
}

// ApproveTariff gives one of the two approvals. The second one publishes, in the same transaction: the version can never change from then on.
func (s *Store) ApproveTariff(ctx context.Context, by By, d TariffDecision) (TariffChange, error) {
	return s.decideTariff(ctx, by, d.ID, func(tx *Tx, c *TariffChange) error {
		if d.Number == 1 && c.Approved1By == d.By && c.State != billing.TariffDraft || d.Number == 2 && c.Approved2By == d.By {
			return nil
		}
		if err := mayApproveTariff(*c, d); err != nil {
			return err
		}
		if err := publishable(ctx, tx, *c); err != nil {
			return err
		}
		if c.State == billing.TariffSubmitted {
			return moveTariff(ctx, tx, c, billing.TariffApprovedOnce, "approved_once", d, `approved1_at = $3, approved1_by = $4`)
		}
		if err := moveTariff(ctx, tx, c, billing.TariffPublished, "published", d, `approved2_at = $3, approved2_by = $4, closed_at = $3`); err != nil {
			return err
		}
		return publishVersion(ctx, tx, *c)
	})
}

func mayApproveTariff(c TariffChange, d TariffDecision) error {
	switch {
	case !c.State.Waiting():
		return billing.Errorf(billing.CodeClosed, "this change is %s: nobody can approve it now", spaced(c.State))
	case c.Edited(d.By):
		return billing.Errorf(billing.CodeSelfApproval, "you wrote in this change: two colleagues who didn't must approve it")
	case c.Approved1By == d.By:
		return billing.Errorf(billing.CodeAlreadyApproved, "you have approved this change already: another colleague must give the second approval")
	}
	return revisionIs(c, d.Revision)
}

func revisionIs(c TariffChange, seen int) error {
	if c.Revision != seen {
		return billing.Errorf(billing.CodeStale, "this change was edited since you opened it: look at revision %d and decide on that", c.Revision)
	}
	return nil
}

func publishVersion(ctx context.Context, tx *Tx, c TariffChange) error {
	var known bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM tariffs WHERE id = $1)`, c.Tariff).Scan(&known); err != nil {
		return err
	}
	if !known {
		if err := insertTariff(ctx, tx, c.File()); err != nil {
			return err
		}
	}
	if err := insertVersion(ctx, tx, c.Tariff, c.Version, &c.ID); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: "-", Kind: "tariff", ID: string(c.Tariff), Event: "published", Refs: []string{string(c.ID)},
		Data: map[string]any{"change": c.ID, "from": c.From, "revision": c.Revision, "version": c.Version}})
}

// publishable refuses a change that must not be published: it begins in the past, comes before a published version, or breaks a ceiling.
func publishable(ctx context.Context, tx *Tx, c TariffChange) error {
	var begun bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM sites WHERE $1::date::timestamp AT TIME ZONE time_zone <= business_now())`, c.From).Scan(&begun)
	if err != nil {
		return err
	}
	if begun {
		return billing.Errorf(billing.CodeBlocked, "the first day, %s, has begun already, and prices of days that have begun never change: give the change a later first day, or correct what was billed by a correction", c.From)
	}
	var last *time.Time
	if err := tx.QueryRow(ctx, `SELECT max(from_day) FROM tariff_versions WHERE tariff_id = $1`, c.Tariff).Scan(&last); err != nil {
		return err
	}
	if last != nil && !billing.DateOf(*last, time.UTC).Before(c.From) {
		return billing.Errorf(billing.CodeConflict, "a version of this tariff that starts on %s is published already: give the change a later first day", billing.DateOf(*last, time.UTC))
	}
	return belowCeilings(ctx, tx, c.Tariff, c.Service, c.Version, c.Version.Until)
}

// RejectTariff sends a change back to who made it. Approvals that it had are gone.
func (s *Store) RejectTariff(ctx context.Context, by By, d TariffDecision) (TariffChange, error) {
	return s.decideTariff(ctx, by, d.ID, func(tx *Tx, c *TariffChange) error {
		if c.State == billing.TariffRejected && c.RejectedBy == d.By {
			return nil
		}
		if !c.State.Waiting() {
			return billing.Errorf(billing.CodeClosed, "this change is %s: nobody can reject it now", spaced(c.State))
		}
		if err := revisionIs(*c, d.Revision); err != nil {
			return err
		}
		return moveTariff(ctx, tx, c, billing.TariffRejected, "rejected", d,
			`rejected_by = $4, reason = $5, approved1_by = NULL, approved1_at = NULL, submitted_at = NULL`)
	})
}

// WithdrawTariff ends a change that is not published.
func (s *Store) WithdrawTariff(ctx context.Context, by By, d TariffDecision) (TariffChange, error) {
	return s.decideTariff(ctx, by, d.ID, func(tx *Tx, c *TariffChange) error {
		if c.State == billing.TariffWithdrawn {
			return nil
		}
		if !c.State.Open() {
			return billing.Errorf(billing.CodeClosed, "this change is published and can't be taken back: publish other prices that start after %s", c.From)
		}
		return moveTariff(ctx, tx, c, billing.TariffWithdrawn, "withdrawn", d, `closed_at = $3, reason = $5`)
	})
}

// moveTariff brings a change into a state, with its journal row. set may name $3 (now), $4 (who) and $5 (the reason).
func moveTariff(ctx context.Context, tx *Tx, c *TariffChange, to billing.TariffState, event string, d TariffDecision, set string) error {
	was := c.State
	_, err := tx.Exec(ctx, `WITH given AS (SELECT $3::timestamptz, $4::text, $5::text) UPDATE tariff_changes SET state = $2, `+set+` WHERE id = $1`, c.ID, to, tx.Now, d.By, d.Reason)
	if err != nil {
		return err
	}
	if *c, err = lockTariffChange(ctx, tx, c.ID); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: "-", Kind: "tariff_change", ID: string(c.ID), Event: event, From: string(was), To: string(to), Actor: string(d.By), Reason: d.Reason,
		Refs: c.refs(), Data: map[string]any{"revision": c.Revision}})
}

// TariffStart is a site where a published change begins, and when that is there.
type TariffStart struct {
	Site billing.SiteID
	At   time.Time
}

// TariffStarts are the sites with accounts that have the change's tariff now or from a later day on, with the instant of its first day, earliest first; of a tariff that
// nobody uses, all sites.
func (s *Store) TariffStarts(ctx context.Context, id billing.TariffChangeID) ([]TariffStart, error) {
	rows, _ := s.Pool.Query(ctx, `WITH used AS (SELECT DISTINCT u.site_id FROM tariff_uses u JOIN tariff_changes c ON c.tariff_id = u.tariff_id WHERE c.id = $1)
		SELECT s.id, c.from_day::timestamp AT TIME ZONE s.time_zone FROM sites s, tariff_changes c
		WHERE c.id = $1 AND (s.id IN (SELECT site_id FROM used) OR NOT EXISTS (SELECT 1 FROM used)) ORDER BY 2, 1`, id)
	starts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[TariffStart])
	return starts, translate(err)
}

// BringTariffInForce notes that the first day of a published change has come. Noting it again changes nothing.
func (s *Store) BringTariffInForce(ctx context.Context, by By, id billing.TariffChangeID) (TariffChange, error) {
	return s.decideTariff(ctx, by, id, func(tx *Tx, c *TariffChange) error {
		if c.State != billing.TariffPublished {
			return nil
		}
		return moveTariff(ctx, tx, c, billing.TariffInForce, "in_force", TariffDecision{By: billing.UserID(by.Actor)}, `in_force_at = $3`)
	})
}

// spaced writes a state as words, as refusals do.
func spaced[S ~string](state S) string { return strings.ReplaceAll(string(state), "_", " ") }
