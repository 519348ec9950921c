package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Lease is a line that a worker owns until the lease runs out. The fence grows with every change of owner.
type Lease struct {
	Gateway billing.GatewayID `db:"gateway_id"`
	Fence   int64
}

// HoldLines takes the leases of all lines that are free, run out, or held by holder already, until ttl from now (real time), and
// gives those that holder holds now. A unit that dials in can be reached by the worker that it called alone: connected names those.
func (s *Store) HoldLines(ctx context.Context, holder string, connected []billing.GatewayID, ttl time.Duration) ([]Lease, error) {
	_, err := s.Pool.Exec(ctx, `
		INSERT INTO line_leases AS l (gateway_id, holder, fence, expires_real)
		SELECT id, $1, 1, clock_timestamp() + $2 FROM gateways WHERE link <> 'dial_in' OR id = ANY($3)
		ON CONFLICT (gateway_id) DO UPDATE SET
			holder = $1, expires_real = CASE WHEN l.holder = $1 THEN greatest(l.expires_real, clock_timestamp() + $2) ELSE clock_timestamp() + $2 END,
			fence = CASE WHEN l.holder = $1 THEN l.fence ELSE l.fence + 1 END
		WHERE l.holder = $1 OR l.expires_real < clock_timestamp()`, holder, ttl, connected)
	if err != nil {
		return nil, translate(err)
	}
	rows, _ := s.Pool.Query(ctx, `SELECT gateway_id, fence FROM line_leases WHERE holder = $1 AND expires_real > clock_timestamp() ORDER BY gateway_id`, holder)
	held, err := pgx.CollectRows(rows, pgx.RowToStructByName[Lease])
	return held, translate(err)
}

// MaySend says whether a lease still stands, and lets it stand for so long at least: no other worker takes the line over before a command
// is through. billing.CodeUnavailable when it doesn't.
func (s *Store) MaySend(ctx context.Context, holder string, l Lease, still time.Duration) error {
	done, err := s.Pool.Exec(ctx, `UPDATE line_leases SET expires_real = greatest(expires_real, clock_timestamp() + $4)
		WHERE gateway_id = $1 AND holder = $2 AND fence = $3 AND expires_real > clock_timestamp()`, l.Gateway, holder, l.Fence, still)
	if err == nil && done.RowsAffected() == 0 {
		err = billing.Errorf(billing.CodeUnavailable, "worker %s does not own the line of gateway %s any more: nothing was sent, its new owner will", holder, l.Gateway)
	}
	return translate(err)
}

// ReleaseLines gives up all lines of holder, so that another worker need not wait for the leases to run out.
func (s *Store) ReleaseLines(ctx context.Context, holder string) error {
	_, err := s.Pool.Exec(ctx, `UPDATE line_leases SET expires_real = clock_timestamp() WHERE holder = $1`, holder)
	return translate(err)
}

// LineHolder is the worker that owns a gateway's line now; billing.CodeUnavailable when none does.
func (s *Store) LineHolder(ctx context.Context, id billing.GatewayID) (string, error) {
	var holder string
	err := s.Pool.QueryRow(ctx, `SELECT holder FROM line_leases WHERE gateway_id = $1 AND expires_real > clock_timestamp()`, id).Scan(&holder)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", billing.Errorf(billing.CodeUnavailable, "no worker owns the line of gateway %s: start a worker, or wait until it has taken over", id)
	}
	return holder, translate(err)
}

// LineOwner says which worker owns a gateway's line now; an empty holder is nobody.
type LineOwner struct {
	Gateway billing.GatewayID
	Holder  string
	DialsIn bool
}

// LineHolders gives the owners of several lines, by gateway.
func (s *Store) LineHolders(ctx context.Context, gateways []billing.GatewayID) ([]LineOwner, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT g.id AS gateway, coalesce(l.holder, '') AS holder, g.link = 'dial_in' AS dials_in
		FROM gateways g LEFT JOIN line_leases l ON l.gateway_id = g.id AND l.expires_real > clock_timestamp() WHERE g.id = ANY($1) ORDER BY g.id`, gateways)
	owners, err := pgx.CollectRows(rows, pgx.RowToStructByName[LineOwner])
	return owners, translate(err)
}
