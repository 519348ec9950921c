package store

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Allowance lets money and switching commands reach one named meter although its register map was never verified. It holds for the
// map and the version of the map that it was given for.
type Allowance struct {
	ID        int64
	Meter     billing.MeterID `db:"meter_id"`
	Profile   string
	Version   int `db:"profile_version"`
	Reason    string
	AllowedBy billing.UserID
	AgreedBy  billing.UserID
	FromAt    time.Time
	UntilAt   time.Time
	EndedAt   *time.Time
	EndedBy   billing.UserID
}

const selectAllowance = `SELECT id, meter_id, profile, profile_version, reason, allowed_by, agreed_by, from_at, until_at, ended_at, coalesce(ended_by, '') AS ended_by
	FROM command_allowances`

// Standing says whether it holds at the instant.
func (a Allowance) Standing(at time.Time) bool {
	return a.EndedAt == nil && !at.Before(a.FromAt) && at.Before(a.UntilAt)
}

// mostAllowed is the longest allowance: a map that proved itself is marked as verified, and needs none.
const mostAllowed = 92 * 24 * time.Hour

// AllowCommands lets commands reach a meter from now until a.UntilAt. It takes two persons: by.Actor allows, a.AgreedBy agrees.
// a.Meter, Profile, Version, Reason, AgreedBy and UntilAt are taken; Profile must be the meter's.
func (s *Store) AllowCommands(ctx context.Context, by By, a Allowance) (Allowance, error) {
	a.AllowedBy, a.Reason = billing.UserID(by.Actor), strings.TrimSpace(a.Reason)
	switch {
	case a.Reason == "":
		return a, billing.Errorf(billing.CodeInvalidInput, "Say why commands are allowed with a map that was never verified.")
	case a.AgreedBy == "" || a.AgreedBy == a.AllowedBy:
		return a, billing.Errorf(billing.CodeSelfApproval, "Allowing commands takes two persons: a manager has to agree.")
	}
	err := s.Change(ctx, by, func(tx *Tx) error {
		m, err := lockMeter(ctx, tx, a.Meter)
		if err != nil {
			return err
		}
		switch {
		case m.State != "fitted":
			return billing.Errorf(billing.CodeClosed, "Meter %s is not fitted any more: allow commands for the one that took its place.", a.Meter)
		case m.Profile != a.Profile:
			return billing.Errorf(billing.CodeStale, "Meter %s has another register map meanwhile: look at it again before you allow commands.", a.Meter)
		case !a.UntilAt.After(tx.Now):
			return billing.Errorf(billing.CodeInvalidInput, "The last day must be today or later.")
		case a.UntilAt.After(tx.Now.Add(mostAllowed)):
			return billing.Errorf(billing.CodeInvalidInput, "Allow commands for three months at most, and look at the meter again then.")
		}
		var standing bool
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM command_allowances WHERE meter_id = $1 AND profile = $2 AND profile_version = $3 AND ended_at IS NULL AND until_at > $4)`,
			a.Meter, a.Profile, a.Version, tx.Now).Scan(&standing)
		if err != nil {
			return err
		}
		if standing {
			return billing.Errorf(billing.CodeConflict, "Commands are allowed for meter %s already: end that allowance first.", a.Meter)
		}
		a.FromAt = tx.Now
		err = tx.QueryRow(ctx, `INSERT INTO command_allowances (meter_id, profile, profile_version, reason, allowed_by, agreed_by, from_at, until_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`, a.Meter, a.Profile, a.Version, a.Reason, a.AllowedBy, a.AgreedBy, a.FromAt, a.UntilAt).Scan(&a.ID)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: m.Site, Kind: "meter", ID: string(m.ID), Event: "commands_allowed", From: m.State, To: m.State, Reason: a.Reason,
			Refs: []string{string(a.AgreedBy)}, Data: map[string]any{"allowance": a.ID, "profile": a.Profile, "version": a.Version, "agreed_by": a.AgreedBy, "until": a.UntilAt}})
	})
	return a, err
}

// EndAllowance ends an allowance before its time. One person may do it: it only takes away.
func (s *Store) EndAllowance(ctx context.Context, by By, id int64) error {
	if strings.TrimSpace(by.Reason) == "" {
		return billing.Errorf(billing.CodeInvalidInput, "Say why the allowance ends.")
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		var meter billing.MeterID
		if err := tx.QueryRow(ctx, `SELECT meter_id FROM command_allowances WHERE id = $1`, id).Scan(&meter); err != nil {
			return err
		}
		m, err := lockMeter(ctx, tx, meter)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE command_allowances SET ended_at = $2, ended_by = $3 WHERE id = $1 AND ended_at IS NULL AND until_at > $2`, id, tx.Now, by.Actor)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return billing.Errorf(billing.CodeClosed, "This allowance is over already.")
		}
		return tx.Journal(ctx, Entry{Site: m.Site, Kind: "meter", ID: string(m.ID), Event: "commands_forbidden", From: m.State, To: m.State, Reason: by.Reason,
			Data: map[string]any{"allowance": id}})
	})
}

// lockMeter reads a meter and locks its row: the head of its chain in the journal.
func lockMeter(ctx context.Context, tx *Tx, id billing.MeterID) (Meter, error) {
	rows, _ := tx.Query(ctx, `SELECT `+meterColumns+` FROM meters m WHERE m.id = $1 FOR UPDATE`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Meter])
}

// Allowances lists a meter's allowances, newest first, those that are over too.
func (s *Store) Allowances(ctx context.Context, meter billing.MeterID) ([]Allowance, error) {
	rows, _ := s.Pool.Query(ctx, selectAllowance+` WHERE meter_id = $1 ORDER BY id DESC`, meter)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Allowance])
	return all, translate(err)
}

// Allowance reads one allowance.
func (s *Store) Allowance(ctx context.Context, id int64) (Allowance, error) {
	rows, _ := s.Pool.Query(ctx, selectAllowance+` WHERE id = $1`, id)
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Allowance])
	return a, translate(err)
}

// standingAllowance is what makes an allowance a of the fitted meter m stand now.
const standingAllowance = `a.meter_id = m.id AND a.profile = m.profile AND a.ended_at IS NULL AND a.from_at <= business_now() AND a.until_at > business_now()`

// CommandsAllowed refuses (billing.CodeBlocked) unless an allowance stands now for the fitted meter with this serial, for this version of
// this map.
func (s *Store) CommandsAllowed(ctx context.Context, serial, profile string, version int) error {
	var allowed bool
	err := s.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM command_allowances a JOIN meters m ON `+standingAllowance+`
		WHERE m.serial = $1 AND m.state = 'fitted' AND a.profile = $2 AND a.profile_version = $3)`, serial, profile, version).Scan(&allowed)
	if err != nil {
		return translate(err)
	}
	if !allowed {
		return notAllowed(profile)
	}
	return nil
}

func notAllowed(profile string) error {
	return billing.Errorf(billing.CodeBlocked, "The register map %s was never verified, and no allowance stands for this meter: an administrator can allow commands on the meter's page.", profile)
}
