package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Found is a thing that a typed number leads to. Kind is its kind in the journal.
type Found struct {
	Kind string
	ID   string
	Site billing.SiteID
	Note string // what it is, in data: an address, an amount in fen, a state
}

// maxFound bounds what one number leads to: a phone of a property company may have hundreds of accounts.
const maxFound = 50

// Find looks a number up among everything that has one, at the given sites: account, meter (number or serial), customer, phone,
// recharge (number, receipt or slip), bill, run, cycle, case, command, reminder, cut, restore, message, gateway, user.
// A phone or a customer leads to the accounts.
func (s *Store) Find(ctx context.Context, sites []billing.SiteID, number string) ([]Found, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT kind, id, site, note FROM (
			SELECT 'account' AS kind, a.id, a.site_id AS site, p.address AS note FROM accounts a JOIN service_points p ON p.id = a.service_point_id WHERE a.id = @n
			UNION ALL SELECT 'account', a.id, a.site_id, p.address FROM accounts a JOIN service_points p ON p.id = a.service_point_id
				WHERE a.customer_id IN (SELECT id FROM customers WHERE id = @n OR phone = @n)
			UNION ALL SELECT 'meter', id, site_id, serial FROM meters WHERE id = @n OR serial = @n
			UNION ALL SELECT 'recharge', id, site_id, state FROM recharges WHERE id = @n OR receipt_no = @n
				OR (evidence = @n AND channel <> 'cash' AND site_id = ANY(@sites))
			UNION ALL SELECT 'bill', id, site_id, state FROM bills WHERE id = @n
			UNION ALL SELECT 'run', id, site_id, state FROM billing_runs WHERE id = @n
			UNION ALL SELECT 'cycle', id, site_id, state FROM cycles WHERE id = @n
			UNION ALL SELECT 'case', id, site_id, state FROM cases WHERE id = @n
			UNION ALL SELECT 'command', id, site_id, state FROM commands WHERE id = @n
			UNION ALL SELECT 'reminder', id, site_id, state FROM reminders WHERE id = @n
			UNION ALL SELECT 'cutoff', id, site_id, state FROM cutoffs WHERE id = @n
			UNION ALL SELECT 'restore', id, site_id, state FROM restores WHERE id = @n
			UNION ALL SELECT 'message', id, site_id, state FROM messages WHERE id = @n OR provider_no = @n
			UNION ALL SELECT 'gateway', id, site_id, address FROM gateways WHERE id = @n
			UNION ALL SELECT 'user', id, '-', role FROM users WHERE id = @n
		) f WHERE site = ANY(@sites) OR site = '-' ORDER BY kind, id LIMIT @max`,
		pgx.NamedArgs{"n": number, "sites": sites, "max": maxFound})
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Found])
	return found, translate(err)
}
