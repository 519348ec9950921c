package store

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Protection is a dated ban on cutting an account: it can be ended, never overridden.
type Protection struct {
	ID      int64
	Account billing.AccountID `db:"account_id"`
	Kind    string            // keep_power, medical, special_day
	FromAt  time.Time
	UntilAt time.Time
	Owner   billing.UserID
	Reason  string
	EndedAt *time.Time
}

const selectProtection = `SELECT id, account_id, kind, from_at, until_at, owner, reason, ended_at FROM protections`

// Standing says whether it forbids a cut at the instant.
func (p Protection) Standing(at time.Time) bool {
	return p.EndedAt == nil && !at.Before(p.FromAt) && at.Before(p.UntilAt)
}

// AddProtection protects an account over [FromAt, UntilAt). One person may do it, with a reason; by.Actor becomes its owner.
func (s *Store) AddProtection(ctx context.Context, by By, p Protection) (int64, error) {
	if p.Reason == "" {
		return 0, billing.Errorf(billing.CodeInvalidInput, "Say why the account is protected.")
	}
	if !p.UntilAt.After(p.FromAt) {
		return 0, billing.Errorf(billing.CodeInvalidInput, "The protection must end after it begins.")
	}
	var id int64
	err := s.Change(ctx, by, func(tx *Tx) error {
		// The same lock as an attempt of a cut: a protection that is stored holds for every cut that comes after it.
		sup, err := lockSupply(ctx, tx, p.Account)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `INSERT INTO protections (account_id, kind, from_at, until_at, owner, reason) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
			p.Account, p.Kind, p.FromAt, p.UntilAt, by.Actor, p.Reason).Scan(&id)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: sup.Site, Kind: "protection", ID: strconv.FormatInt(id, 10), Event: "added", Reason: p.Reason, Refs: []string{string(p.Account)},
			Data: map[string]any{"kind": p.Kind, "from": p.FromAt, "until": p.UntilAt}})
	})
	return id, err
}

// ErrEndsAlone refuses to end a protection without two colleagues (rule 49).
func ErrEndsAlone() error {
	return billing.Errorf(billing.CodeSelfApproval, "Ending a protection takes three persons: two colleagues have to agree.")
}

// EndProtection ends a protection before its time. It takes three persons: by.Actor asks for it, second and third agree.
func (s *Store) EndProtection(ctx context.Context, by By, id int64, second, third billing.UserID) error {
	asks := billing.UserID(by.Actor)
	if second == "" || third == "" || second == asks || third == asks || second == third {
		return ErrEndsAlone()
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		var account billing.AccountID
		var site billing.SiteID
		var ended *time.Time
		err := tx.QueryRow(ctx, `SELECT p.account_id, a.site_id, p.ended_at FROM protections p JOIN accounts a ON a.id = p.account_id WHERE p.id = $1 FOR UPDATE OF p`, id).
			Scan(&account, &site, &ended)
		if err != nil {
			return err
		}
		if ended != nil {
			return billing.Errorf(billing.CodeClosed, "This protection was ended already.")
		}
		if _, err := tx.Exec(ctx, `UPDATE protections SET ended_at = $2, ended_by = $3, ended_by2 = $4, ended_by3 = $5 WHERE id = $1`, id, tx.Now, by.Actor, second, third); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: site, Kind: "protection", ID: strconv.FormatInt(id, 10), Event: "ended", Refs: []string{string(account)},
			Data: map[string]any{"second": second, "third": third}})
	})
}

// Protections lists an account's protections, newest first, the ended ones too.
func (s *Store) Protections(ctx context.Context, account billing.AccountID) ([]Protection, error) {
	rows, _ := s.Pool.Query(ctx, selectProtection+` WHERE account_id = $1 ORDER BY id DESC`, account)
	ps, err := pgx.CollectRows(rows, pgx.RowToStructByName[Protection])
	return ps, translate(err)
}

// StandingProtections lists the protections that forbid cuts at the given sites now (rule 63: they are listed daily).
func (s *Store) StandingProtections(ctx context.Context, sites []billing.SiteID) ([]Protection, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT p.id, p.account_id, p.kind, p.from_at, p.until_at, p.owner, p.reason, p.ended_at FROM protections p JOIN accounts a ON a.id = p.account_id
		WHERE a.site_id = ANY($1) AND p.ended_at IS NULL AND p.from_at <= business_now() AND p.until_at > business_now() ORDER BY p.until_at`, sites)
	ps, err := pgx.CollectRows(rows, pgx.RowToStructByName[Protection])
	return ps, translate(err)
}
