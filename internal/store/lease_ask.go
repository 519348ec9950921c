package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// AskLine takes a gateway's line for somebody who is no worker, for so long (real time), when nobody has it. Otherwise its owner is asked to hand it
// back, and holder says who that is: ask again a little later. Work of the workers waits for the line meanwhile. End with EndAsk.
func (s *Store) AskLine(ctx context.Context, asker string, id billing.GatewayID, ttl time.Duration) (holder string, err error) {
	// A worker that lives never lets a lease run out for as long as a minute.
	const free = `(l.holder IN ('', $1) OR l.expires_real + interval '1 minute' < clock_timestamp())`
	rows, _ := s.Pool.Query(ctx, `INSERT INTO line_leases AS l (gateway_id, holder, fence, expires_real) SELECT id, $1, 1, clock_timestamp() + $3::interval FROM gateways WHERE id = $2
		ON CONFLICT (gateway_id) DO UPDATE SET wanted_by = $1, wanted_until = clock_timestamp() + $3::interval,
			holder = CASE WHEN `+free+` THEN $1 ELSE l.holder END, fence = CASE WHEN `+free+` THEN l.fence + 1 ELSE l.fence END,
			expires_real = CASE WHEN `+free+` THEN clock_timestamp() + $3::interval ELSE l.expires_real END
		RETURNING holder`, asker, id, ttl)
	holder, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
	return holder, translate(err)
}

// EndAsk gives back what AskLine took, and withdraws what it asked for.
func (s *Store) EndAsk(ctx context.Context, asker string) error {
	_, err := s.Pool.Exec(ctx, `UPDATE line_leases SET wanted_by = NULL, wanted_until = NULL, holder = CASE holder WHEN $1 THEN '' ELSE holder END,
			fence = CASE holder WHEN $1 THEN fence + 1 ELSE fence END, expires_real = CASE holder WHEN $1 THEN clock_timestamp() ELSE expires_real END
		WHERE holder = $1 OR wanted_by = $1`, asker)
	return translate(err)
}
