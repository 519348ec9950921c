package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// HoldLines takes the leases of all lines that are free, run out, or held by holder already, until ttl from now (real time), and
// gives the gateways that holder holds now. The fence grows with every change of owner.
func (s *Store) HoldLines(ctx context.Context, holder string, ttl time.Duration) ([]billing.GatewayID, error) {
	_, err := s.Pool.Exec(ctx, `
		INSERT INTO line_leases AS l (gateway_id, holder, fence, expires_real)
		SELECT id, $1, 1, clock_timestamp() + $2 FROM gateways
		ON CONFLICT (gateway_id) DO UPDATE SET
			holder = $1, expires_real = clock_timestamp() + $2,
			fence = CASE WHEN l.holder = $1 THEN l.fence ELSE l.fence + 1 END
		WHERE l.holder = $1 OR l.expires_real < clock_timestamp()`, holder, ttl)
	if err != nil {
		return nil, translate(err)
	}
	rows, _ := s.Pool.Query(ctx, `SELECT gateway_id FROM line_leases WHERE holder = $1 AND expires_real > clock_timestamp() ORDER BY gateway_id`, holder)
	held, err := pgx.CollectRows(rows, pgx.RowTo[billing.GatewayID])
	return held, translate(err)
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
