package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// User is a person who may sign in.
type User struct {
	ID     billing.UserID
	Name   string
	Role   billing.Role
	Active bool
	Sites  []billing.SiteID
}

const selectUser = `SELECT u.id, u.name, u.role, u.active, coalesce(array_agg(us.site_id ORDER BY us.site_id) FILTER (WHERE us.site_id IS NOT NULL), '{}')
	FROM users u LEFT JOIN user_sites us ON us.user_id = u.id`

// User reads one person.
func (s *Store) User(ctx context.Context, id billing.UserID) (User, error) {
	rows, _ := s.Pool.Query(ctx, selectUser+` WHERE u.id = $1 GROUP BY u.id`, id)
	u, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[User])
	return u, translate(err)
}

// Users reads all people, by id.
func (s *Store) Users(ctx context.Context) ([]User, error) {
	rows, _ := s.Pool.Query(ctx, selectUser+` GROUP BY u.id ORDER BY u.id`)
	us, err := pgx.CollectRows(rows, pgx.RowToStructByPos[User])
	return us, translate(err)
}

// PasswordHash reads the argon2id hash of an active person's password.
func (s *Store) PasswordHash(ctx context.Context, id billing.UserID) (string, error) {
	var hash string
	err := s.Pool.QueryRow(ctx, `SELECT password_hash FROM users WHERE id = $1 AND active`, id).Scan(&hash)
	return hash, translate(err)
}

// AddUser registers a person with the sites that they may see.
func (s *Store) AddUser(ctx context.Context, by By, u User, passwordHash string) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO users (id, name, role, password_hash, active) VALUES ($1, $2, $3, $4, true)`, u.ID, u.Name, u.Role, passwordHash); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO user_sites (user_id, site_id) SELECT $1, unnest($2::text[])`, u.ID, u.Sites); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: "-", Kind: "user", ID: string(u.ID), Event: "added", To: "active", Data: map[string]any{"role": u.Role, "sites": u.Sites}})
	})
}
