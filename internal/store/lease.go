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
	DialsIn bool
	Wanted  bool // somebody else asks for it, see AskLine
}

// LineHold is a worker's wish to keep its lines and to have its share of them.
type LineHold struct {
	Holder, Process string
	// Workers is among how many workers, this one included, the lines that we dial are shared.
	Workers int
	// Living are the other workers whose beat was seen lately: nothing is taken from them.
	Living []string
	// Connected names the units that have called this worker: they can be reached by it alone.
	Connected []billing.GatewayID
	// TTL is how long a lease stands from now on (real time).
	TTL time.Duration
}

// HeldLines is what a worker owns after HoldLines. Dialled counts the lines that we dial in the whole installation.
type HeldLines struct {
	Leases  []Lease
	Dialled int
}

// leaseIsFree says that nobody has the line $1 may take it from: it was handed back, or its owner shows no life ($2) and the lease has run out by
// more than what the last request on the line may take: a connection, and an exchange.
const leaseIsFree = `(l.gateway_id IS NULL OR l.wanted_until > clock_timestamp() IS NOT TRUE AND (l.holder = '' OR l.holder <> $1 AND l.holder <> ALL($2)
	AND l.expires_real + (2 * g.timeout_ms + g.pause_ms) * interval '1 ms' < clock_timestamp()))`

// HoldLines prolongs the leases that a worker has, and takes lines that nobody has: all those whose units have called it, and of those that we
// dial as many as make its share full. It is one statement: a worker that stands still in the middle of it holds up nobody.
// billing.CodeConflict when the worker isn't enrolled, or another process is under its name.
func (s *Store) HoldLines(ctx context.Context, h LineHold) (HeldLines, error) {
	var beats int
	err := s.Pool.QueryRow(ctx, `
		WITH beat AS (UPDATE line_workers SET beat = beat + 1, beat_real = clock_timestamp() WHERE holder = $1 AND process = $3 RETURNING holder, ending),
		mine AS (SELECT gateway_id, link <> 'dial_in' AS dialled FROM line_leases JOIN gateways ON id = gateway_id WHERE holder = $1),
		kept AS (
			UPDATE line_leases l SET expires_real = greatest(l.expires_real, clock_timestamp() + $4::interval) FROM beat, mine
			WHERE l.gateway_id = mine.gateway_id AND l.holder = beat.holder AND (mine.dialled OR l.gateway_id = ANY($5))),
		share AS (SELECT greatest(0, ceil(count(*)::numeric / $6)::bigint - (SELECT count(*) FROM mine WHERE dialled)) AS more FROM gateways WHERE link <> 'dial_in'),
		wanted AS (
			(SELECT g.id FROM gateways g LEFT JOIN line_leases l ON l.gateway_id = g.id WHERE g.link = 'dial_in' AND g.id = ANY($5) AND `+leaseIsFree+`)
			UNION ALL
			(SELECT g.id FROM gateways g LEFT JOIN line_leases l ON l.gateway_id = g.id WHERE g.link <> 'dial_in' AND `+leaseIsFree+`
				ORDER BY g.id LIMIT (SELECT more FROM share))),
		taken AS (
			INSERT INTO line_leases AS l (gateway_id, holder, fence, expires_real)
			SELECT id, beat.holder, 1, clock_timestamp() + $4::interval FROM wanted, beat WHERE NOT ending ORDER BY id
			ON CONFLICT (gateway_id) DO UPDATE SET holder = excluded.holder, fence = l.fence + 1, expires_real = excluded.expires_real
			WHERE l.wanted_until > clock_timestamp() IS NOT TRUE AND (l.holder = '' OR l.holder <> ALL($2) AND l.expires_real < clock_timestamp()))
		SELECT count(*) FROM beat`, h.Holder, none(h.Living), h.Process, h.TTL, none(h.Connected), max(h.Workers, 1)).Scan(&beats)
	switch {
	case err != nil:
		return HeldLines{}, translate(err)
	case beats == 0:
		return HeldLines{}, billing.Errorf(billing.CodeConflict, "another process owns lines under the name %s: give each worker a name of its own (METERFLOW_WORKER_ID)", h.Holder)
	}
	var held HeldLines
	if err := s.Pool.QueryRow(ctx, `SELECT count(*) FROM gateways WHERE link <> 'dial_in'`).Scan(&held.Dialled); err != nil {
		return HeldLines{}, translate(err)
	}
	rows, _ := s.Pool.Query(ctx, `SELECT l.gateway_id, l.fence, g.link = 'dial_in' AS dials_in, l.wanted_until > clock_timestamp() IS TRUE AS wanted FROM line_leases l JOIN gateways g ON g.id = l.gateway_id
		WHERE l.holder = $1 AND l.expires_real > clock_timestamp() ORDER BY l.gateway_id`, h.Holder)
	held.Leases, err = pgx.CollectRows(rows, pgx.RowToStructByName[Lease])
	return held, translate(err)
}

// none makes a nil list an empty one: in SQL nothing compares with NULL.
func none[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
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

// HandBack gives up some lines, with a new fence, so that whoever lacks lines takes them. The caller has ended them.
func (s *Store) HandBack(ctx context.Context, holder string, leases []Lease) error {
	gateways, fences := make([]billing.GatewayID, len(leases)), make([]int64, len(leases))
	for i, l := range leases {
		gateways[i], fences[i] = l.Gateway, l.Fence
	}
	_, err := s.Pool.Exec(ctx, `UPDATE line_leases l SET holder = '', fence = l.fence + 1, expires_real = clock_timestamp()
		FROM unnest($2::text[], $3::bigint[]) AS given (gateway_id, fence) WHERE l.gateway_id = given.gateway_id AND l.fence = given.fence AND l.holder = $1`, holder, gateways, fences)
	return translate(err)
}

// LineWorker is a process that owns lines, or would. Its beat grows with each renewal: who watches it knows, by a clock of their own, whether it lives.
type LineWorker struct {
	Holder  string
	Process string
	Beat    int64
	Ending  bool // it keeps what it has for a moment, and takes nothing
}

// LineWorkers lists the enrolled workers.
func (s *Store) LineWorkers(ctx context.Context) ([]LineWorker, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT holder, process, beat, ending FROM line_workers ORDER BY holder`)
	ws, err := pgx.CollectRows(rows, pgx.RowToStructByName[LineWorker])
	return ws, translate(err)
}

// EnrolWorker makes a process the one that owns lines under its holder's name; what an earlier one had is free from then on. dead is an earlier
// process that was seen to show no life since its last beat, or the zero worker. ok is false when there is another.
func (s *Store) EnrolWorker(ctx context.Context, holder, process string, dead LineWorker) (ok bool, err error) {
	err = s.Pool.QueryRow(ctx, `
		WITH enrolled AS (
			INSERT INTO line_workers AS w (holder, process, beat, beat_real) VALUES ($1, $2, 1, clock_timestamp())
			ON CONFLICT (holder) DO UPDATE SET process = $2, beat = w.beat + 1, ending = false, beat_real = clock_timestamp() WHERE w.process = $3 AND w.beat = $4 RETURNING holder),
		freed AS (UPDATE line_leases l SET holder = '', fence = l.fence + 1, expires_real = clock_timestamp() FROM enrolled WHERE l.holder = enrolled.holder)
		SELECT count(*) = 1 FROM enrolled`, holder, process, dead.Process, dead.Beat).Scan(&ok)
	return ok, translate(err)
}

// EndWorker says that a process ends: it keeps its lines until it is dismissed, and no new work is sent to it.
func (s *Store) EndWorker(ctx context.Context, holder, process string) error {
	_, err := s.Pool.Exec(ctx, `UPDATE line_workers SET ending = true WHERE holder = $1 AND process = $2`, holder, process)
	return translate(err)
}

// DismissWorker takes a process off the list, with all its lines, so that the others need not wait for its leases to run out. It does nothing
// when the process has shown life since, or another is under its name. A worker that ends dismisses itself; its beat is not asked for then.
func (s *Store) DismissWorker(ctx context.Context, w LineWorker) error {
	_, err := s.Pool.Exec(ctx, `
		WITH gone AS (DELETE FROM line_workers WHERE holder = $1 AND process = $2 AND beat = coalesce(nullif($3, 0), beat) RETURNING holder)
		UPDATE line_leases l SET holder = '', fence = l.fence + 1, expires_real = clock_timestamp() FROM gone WHERE l.holder = gone.holder`, w.Holder, w.Process, w.Beat)
	return translate(err)
}

// LineHolder is the worker that owns a gateway's line now; billing.CodeUnavailable when none does. Who only asked for it is no worker,
// and one that ends gets no new work.
func (s *Store) LineHolder(ctx context.Context, id billing.GatewayID) (string, error) {
	var holder string
	err := s.Pool.QueryRow(ctx, `SELECT holder FROM line_leases JOIN line_workers USING (holder) WHERE gateway_id = $1 AND NOT ending AND expires_real > clock_timestamp()`, id).Scan(&holder)
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
		FROM gateways g LEFT JOIN (line_leases l JOIN line_workers USING (holder)) ON l.gateway_id = g.id AND NOT ending AND l.expires_real > clock_timestamp()
		WHERE g.id = ANY($1) ORDER BY g.id`, gateways)
	owners, err := pgx.CollectRows(rows, pgx.RowToStructByName[LineOwner])
	return owners, translate(err)
}
