package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// LateFeeState is the progress of a late-fee rule.
type LateFeeState string

// A rule holds once another person than its maker has approved it.
const (
	LateFeeProposed LateFeeState = "proposed"
	LateFeeApproved LateFeeState = "approved"
	LateFeeRejected LateFeeState = "rejected"
)

// LateFeeVersion is a late-fee rule that somebody made for a site and service.
type LateFeeVersion struct {
	Site        billing.SiteID `db:"site_id"`
	Version     int
	Service     billing.Service
	FromDay     billing.Date
	Rule        billing.LateFeeRule
	State       LateFeeState
	MadeBy      billing.UserID
	MadeName    string
	Reason      string
	MadeAt      time.Time
	DecidedBy   billing.UserID
	DecidedName string
	DecidedAt   *time.Time
	DecidedWhy  string
}

const selectLateFee = `SELECT l.site_id, l.version, l.service, l.from_day, l.rule, l.state, l.made_by, coalesce(m.name, '') AS made_name, l.reason, l.made_at,
	coalesce(l.decided_by, '') AS decided_by, coalesce(d.name, '') AS decided_name, l.decided_at, l.decided_why
	FROM late_fee_rules l LEFT JOIN users m ON m.id = l.made_by LEFT JOIN users d ON d.id = l.decided_by`

// LateFeeVersions reads all rules that were made for a site, the newest first.
func (s *Store) LateFeeVersions(ctx context.Context, site billing.SiteID) ([]LateFeeVersion, error) {
	rows, _ := s.Pool.Query(ctx, selectLateFee+` WHERE l.site_id = $1 ORDER BY l.version DESC`, site)
	vs, err := pgx.CollectRows(rows, pgx.RowToStructByName[LateFeeVersion])
	return vs, translate(err)
}

// LateFees are a site's rules in force and to come: those of its policy, and from the first day of the first approved one on the approved ones.
func (s *Store) LateFees(ctx context.Context, site Site) (billing.LateFeePolicy, error) {
	var policy struct {
		Billing struct {
			LateFees billing.LateFeePolicy `json:"late_fees"`
		} `json:"billing"`
	}
	policy.Billing.LateFees = billing.DefaultLateFees()
	if err := json.Unmarshal(site.Policy, &policy); err != nil {
		return policy.Billing.LateFees, billing.Errorf(billing.CodeInvalidInput, "the policy of site %s can't be read: %v", site.ID, err)
	}
	p := policy.Billing.LateFees
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT ON (service, from_day) service, rule FROM late_fee_rules WHERE site_id = $1 AND state = 'approved' ORDER BY service, from_day, version DESC`, site.ID)
	var service billing.Service
	var rule billing.LateFeeRule
	first := map[billing.Service]bool{}
	_, err := pgx.ForEachRow(rows, []any{&service, &rule}, func() error {
		list := &p.Power
		if service == billing.Water {
			list = &p.Water
		}
		if !first[service] {
			*list, first[service] = (*list)[:billing.LateFeeRuleOn(*list, rule.From.AddDays(-1))+1], true
		}
		*list = append(*list, rule)
		rule = billing.LateFeeRule{}
		return nil
	})
	return p, translate(err)
}

// ProposeLateFee makes a rule that another person has to approve. A day that is billed, or is being billed, is billing.CodeConflict; so is a
// second open proposal of the service.
func (s *Store) ProposeLateFee(ctx context.Context, by By, site billing.SiteID, service billing.Service, rule billing.LateFeeRule) (version int, err error) {
	if err := rule.Validate(); err != nil {
		return 0, err
	}
	raw, err := json.Marshal(rule)
	if err != nil {
		return 0, err
	}
	err = s.Change(ctx, by, func(tx *Tx) error {
		if err := unbilledFrom(ctx, tx, site, rule.From); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `INSERT INTO late_fee_rules (site_id, version, service, from_day, rule, made_by, reason, made_at)
			SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, $5, $6, $7 FROM late_fee_rules WHERE site_id = $1 RETURNING version`,
			site, service, rule.From, string(raw), tx.Actor, tx.Reason, tx.Now).Scan(&version)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: site, Kind: "late_fees", ID: string(site), Event: "rule_proposed", Data: map[string]any{"version": version, "service": service, "rule": rule}})
	})
	return version, err
}

// DecideLateFee approves a proposed rule, or rejects it; its maker can only withdraw it, which is rejecting it.
func (s *Store) DecideLateFee(ctx context.Context, by By, site billing.SiteID, version int, approve bool) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		rows, _ := tx.Query(ctx, selectLateFee+` WHERE l.site_id = $1 AND l.version = $2 FOR UPDATE OF l`, site, version)
		v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[LateFeeVersion])
		switch {
		case err == pgx.ErrNoRows:
			return billing.Errorf(billing.CodeNotFound, "There is no late-fee rule %d at this site: open the page again.", version)
		case err != nil:
			return err
		case v.State != LateFeeProposed:
			return billing.Errorf(billing.CodeClosed, "Late-fee rule %d is %s already: nothing was changed.", version, v.State)
		case approve && v.MadeBy == billing.UserID(tx.Actor):
			return billing.Errorf(billing.CodeSelfApproval, "You made this late-fee rule: another person must approve it.")
		}
		state, event := LateFeeRejected, "rule_rejected"
		if approve {
			state, event = LateFeeApproved, "rule_approved"
			if err := unbilledFrom(ctx, tx, site, v.FromDay); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `UPDATE late_fee_rules SET state = $3, decided_by = $4, decided_at = $5, decided_why = $6 WHERE site_id = $1 AND version = $2`,
			site, version, state, tx.Actor, tx.Now, tx.Reason); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: site, Kind: "late_fees", ID: string(site), Event: event, Data: map[string]any{"version": version, "service": v.Service, "rule": v.Rule}})
	})
}

// unbilledFrom refuses a day in a period that a run of the site bills or has billed: its bills keep the fees that they were rated with.
func unbilledFrom(ctx context.Context, tx *Tx, site billing.SiteID, day billing.Date) error {
	// A run refers to its site, so none begins between the look and the end of this transaction.
	if _, err := tx.Exec(ctx, `SELECT 1 FROM sites WHERE id = $1 FOR UPDATE`, site); err != nil {
		return err
	}
	var to billing.Date
	if err := tx.QueryRow(ctx, `SELECT max(period_to) FROM billing_runs WHERE site_id = $1 AND state <> 'cancelled'`, site).Scan(&to); err != nil {
		return err
	}
	if day.Before(to) {
		return billing.Errorf(billing.CodeConflict, "the late fees of %s are billed already: let the rule begin on %s or a later day", day, to)
	}
	return nil
}
