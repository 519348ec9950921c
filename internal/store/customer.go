package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Customer is a person or company; one customer may hold several accounts.
type Customer struct {
	ID          billing.CustomerID
	Site        billing.SiteID `db:"site_id"`
	Name        string
	Phone       string
	Class       billing.CustomerClass // what accounts are opened with; see AccountTerms
	LifeSupport bool                  // protects all premises of the customer
}

const selectCustomer = `SELECT id, site_id, name, phone, class, life_support FROM customers`

// Customer reads one customer.
func (s *Store) Customer(ctx context.Context, id billing.CustomerID) (Customer, error) {
	rows, _ := s.Pool.Query(ctx, selectCustomer+` WHERE id = $1`, id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Customer])
	return c, translate(err)
}

// AddCustomer registers a customer. The journal carries no personal data.
func (s *Store) AddCustomer(ctx context.Context, by By, c Customer) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO customers (id, site_id, name, phone, class, life_support) VALUES ($1, $2, $3, $4, $5, $6)`,
			c.ID, c.Site, c.Name, c.Phone, c.Class, c.LifeSupport); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: c.Site, Kind: "customer", ID: string(c.ID), Event: "added",
			Data: map[string]any{"class": c.Class, "life_support": c.LifeSupport}})
	})
}

// SetPhone changes where a customer's messages go.
func (s *Store) SetPhone(ctx context.Context, by By, id billing.CustomerID, phone string) error {
	if phone == "" {
		return billing.Errorf(billing.CodeInvalidInput, "Give the customer's phone number: without it no notice can be sent.")
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		var site billing.SiteID
		if err := tx.QueryRow(ctx, `UPDATE customers SET phone = $2 WHERE id = $1 RETURNING site_id`, id, phone).Scan(&site); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: site, Kind: "customer", ID: string(id), Event: "phone_changed"})
	})
}

// SetLifeSupport says whether somebody at the customer's premises depends on supply. It protects every account of the customer.
func (s *Store) SetLifeSupport(ctx context.Context, by By, id billing.CustomerID, on bool) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		var site billing.SiteID
		if err := tx.QueryRow(ctx, `UPDATE customers SET life_support = $2 WHERE id = $1 RETURNING site_id`, id, on).Scan(&site); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: site, Kind: "customer", ID: string(id), Event: "life_support_changed", Data: map[string]bool{"life_support": on}})
	})
}
