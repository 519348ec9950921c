package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// LineTold is what the owner of a line says of it. Instants are real time; nil where there is nothing to say.
type LineTold struct {
	Gateway    billing.GatewayID
	Answered   *time.Time // the last answer of any meter; nil leaves what was told before
	AsideUntil *time.Time // sweeps leave the whole line alone
	CalledFrom string     // host:port of the unit that dialled in; empty while none is connected
	CalledAt   *time.Time
	Asides     []AsideTold
	Faults     []FaultTold // since the last time
}

// AsideTold is a meter that sweeps leave alone.
type AsideTold struct {
	Unit  int
	Tries int
	Until time.Time
}

// FaultTold is how often a kind of fault was met (see devices.FaultKind), and the last of them.
type FaultTold struct {
	Kind  string
	Count int64
	At    time.Time
	Text  string
}

// faultsKept is how long counts of faults are kept.
const faultsKept = 8 * 24 * time.Hour

// TellLines keeps what the owner of some lines says of them, in place of what was said before.
func (s *Store) TellLines(ctx context.Context, lines []LineTold) error {
	if len(lines) == 0 {
		return nil
	}
	batch := &pgx.Batch{}
	for _, l := range lines {
		batch.Queue(`INSERT INTO line_states AS s (gateway_id, answered_real, aside_until, called_from, called_real) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (gateway_id) DO UPDATE SET answered_real = greatest(s.answered_real, excluded.answered_real), aside_until = excluded.aside_until,
				called_from = excluded.called_from, called_real = excluded.called_real`, l.Gateway, l.Answered, l.AsideUntil, l.CalledFrom, l.CalledAt)
		batch.Queue(`DELETE FROM line_asides WHERE gateway_id = $1`, l.Gateway)
		for _, a := range l.Asides {
			batch.Queue(`INSERT INTO line_asides (gateway_id, unit, tries, until_real) VALUES ($1, $2, $3, $4)`, l.Gateway, a.Unit, a.Tries, a.Until)
		}
		for _, f := range l.Faults {
			batch.Queue(`INSERT INTO line_faults AS f (gateway_id, hour, kind, count, last_real, last_text) VALUES ($1, date_trunc('hour', $4::timestamptz), $2, $3, $4, $5)
				ON CONFLICT (gateway_id, hour, kind) DO UPDATE SET count = f.count + excluded.count, last_real = excluded.last_real, last_text = excluded.last_text`,
				l.Gateway, f.Kind, f.Count, f.At, f.Text)
		}
		if len(l.Faults) > 0 {
			batch.Queue(`DELETE FROM line_faults WHERE gateway_id = $1 AND hour < clock_timestamp() - $2::interval`, l.Gateway, faultsKept)
		}
	}
	return translate(pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch).Close() }))
}

// GatewayRow is a gateway with its meters counted, the worker that owns its line, and what that worker last said. Instants are real time.
type GatewayRow struct {
	Gateway
	Meters       int        // fitted
	Holder       string     // empty when no worker owns the line
	LeaseReal    *time.Time // until when the owner's lease runs, or ran
	AnsweredReal *time.Time // the last answer of any meter; nil when none is known
	AsideUntil   *time.Time // sweeps leave the whole line alone until then; nil when they don't
	CalledFrom   string     // of a unit that dials in, while it is connected
	CalledReal   *time.Time
	Asides       int // meters that sweeps leave alone now
	Faults       int // of the last 24 hours
}

const selectGatewayRow = `SELECT ` + gatewayColumns + `,
		(SELECT count(*)::int FROM meters WHERE gateway_id = g.id AND state = 'fitted') AS meters,
		CASE WHEN l.expires_real > clock_timestamp() THEN l.holder ELSE '' END AS holder, l.expires_real AS lease_real, s.answered_real,
		CASE WHEN s.aside_until > clock_timestamp() THEN s.aside_until END AS aside_until, coalesce(s.called_from, '') AS called_from, s.called_real,
		(SELECT count(*)::int FROM line_asides WHERE gateway_id = g.id AND until_real > clock_timestamp()) AS asides,
		(SELECT coalesce(sum(count), 0)::int FROM line_faults WHERE gateway_id = g.id AND hour > clock_timestamp() - interval '24 hours') AS faults
	FROM gateways g LEFT JOIN line_leases l ON l.gateway_id = g.id LEFT JOIN line_states s ON s.gateway_id = g.id`

// GatewayRows lists the gateways of some sites: those whose line nobody owns or that sweeps leave alone first, then by id.
func (s *Store) GatewayRows(ctx context.Context, sites []billing.SiteID) ([]GatewayRow, error) {
	rows, _ := s.Pool.Query(ctx, selectGatewayRow+` WHERE g.site_id = ANY($1) ORDER BY (l.expires_real > clock_timestamp()) IS TRUE, (s.aside_until > clock_timestamp()) IS NOT TRUE, g.id`, sites)
	gs, err := pgx.CollectRows(rows, pgx.RowToStructByName[GatewayRow])
	return gs, translate(err)
}

// GatewayRow reads one gateway.
func (s *Store) GatewayRow(ctx context.Context, id billing.GatewayID) (GatewayRow, error) {
	rows, _ := s.Pool.Query(ctx, selectGatewayRow+` WHERE g.id = $1`, id)
	g, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[GatewayRow])
	return g, translate(err)
}

// MeterAside is a fitted meter that sweeps leave alone because it didn't answer.
type MeterAside struct {
	Meter     billing.MeterID
	Unit      int
	Account   billing.AccountID // empty without one
	Address   string
	Tries     int // without an answer, in a row
	UntilReal time.Time
}

// MeterAsides lists what sweeps leave alone on a line now.
func (s *Store) MeterAsides(ctx context.Context, id billing.GatewayID) ([]MeterAside, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT m.id AS meter, m.unit, coalesce(a.id, '') AS account, coalesce(p.address, '') AS address, x.tries, x.until_real
		FROM line_asides x JOIN meters m ON m.gateway_id = x.gateway_id AND m.unit = x.unit AND m.state = 'fitted'
		LEFT JOIN fittings f ON f.meter_id = m.id AND f.to_at IS NULL LEFT JOIN service_points p ON p.id = f.service_point_id LEFT JOIN accounts a ON a.service_point_id = p.id
		WHERE x.gateway_id = $1 AND x.until_real > clock_timestamp() ORDER BY m.unit`, id)
	as, err := pgx.CollectRows(rows, pgx.RowToStructByName[MeterAside])
	return as, translate(err)
}

// LineFault is how often a kind of fault (see devices.FaultKind) was met on a line in the last 24 hours, and the last of them.
type LineFault struct {
	Kind     string
	Count    int
	LastReal time.Time
	LastText string
}

// LineFaults counts the faults of the last 24 hours, the most frequent first.
func (s *Store) LineFaults(ctx context.Context, id billing.GatewayID) ([]LineFault, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT kind, sum(count)::int AS count, max(last_real) AS last_real, (array_agg(last_text ORDER BY last_real DESC))[1] AS last_text
		FROM line_faults WHERE gateway_id = $1 AND hour > clock_timestamp() - interval '24 hours' GROUP BY kind ORDER BY count DESC, kind`, id)
	fs, err := pgx.CollectRows(rows, pgx.RowToStructByName[LineFault])
	return fs, translate(err)
}
