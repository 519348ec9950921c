package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// CutRow is a cut as a list shows it, with the facts that count for and against it now and the read-back of its command.
type CutRow struct {
	Cutoff
	Customer     string
	Class        billing.CustomerClass
	Address      string
	Service      billing.Service
	CreditMode   billing.CreditMode
	ApprovedName string
	Meter        billing.MeterID // fitted now

	Balance     billing.Money       `db:"balance_fen"`
	Limit       billing.Money       `db:"cut_limit_fen"`
	Pending     billing.Money       `db:"pending_fen"` // payments on their way
	Supply      billing.SupplyState // as proved
	LifeSupport bool
	Protected   *time.Time // until when a protection stands
	NoticeAt    *time.Time // when the final notice was delivered
	NoticeCut   *time.Time // the instant that it names
	ReadAt      *time.Time // freeze instant of the newest reading
	ReadQuality billing.Quality
	ReadDoubt   bool
	OpenCases   int

	CommandState billing.CommandState
	Readback     string
	ReadbackReal *time.Time // real time
	PowerW       *int64
}

type countedCut struct {
	CutRow
	Total int
}

// CutFilter chooses cuts. Zero fields choose all.
type CutFilter struct {
	Sites   []billing.SiteID
	States  []string
	OwnTrip bool
	Account billing.AccountID
	Since   time.Time // opened or settled since
}

func selectCutRow(where string) string {
	return `SELECT x.id, x.site_id, x.account_id, coalesce(x.reminder_id, '') AS reminder_id, x.state, x.planned_at, x.decision, coalesce(x.approved_by, '') AS approved_by,
		coalesce(x.command_id, '') AS command_id, x.own_trip, x.opened_at, x.settled_at,
		c.name AS customer, account_class_now(a.id) AS class, p.address, a.service, a.credit_mode, coalesce(u.name, '') AS approved_name, coalesce(f.meter_id, '') AS meter,
		b.balance_fen, a.cut_limit_fen, coalesce(pe.fen, 0)::bigint AS pending_fen, su.state AS supply, c.life_support,
		(SELECT max(until_at) FROM protections WHERE account_id = a.id AND ended_at IS NULL AND from_at <= business_now() AND until_at > business_now()) AS protected,
		n.delivered_at AS notice_at, r.cut_at AS notice_cut, l.freeze_at AS read_at, coalesce(l.quality, '') AS read_quality, coalesce(l.doubtful, false) AS read_doubt,
		k.n AS open_cases, coalesce(d.state, '') AS command_state, coalesce(d.readback, '') AS readback, d.readback_real, d.readback_power_w AS power_w, x.total
	FROM (SELECT y.*, count(*) OVER ()::int AS total FROM cutoffs y WHERE ` + where + `) x
	JOIN accounts a ON a.id = x.account_id JOIN customers c ON c.id = a.customer_id JOIN service_points p ON p.id = a.service_point_id
	JOIN balances b ON b.account_id = a.id JOIN supplies su ON su.account_id = a.id
	LEFT JOIN users u ON u.id = x.approved_by LEFT JOIN commands d ON d.id = x.command_id LEFT JOIN reminders r ON r.id = x.reminder_id
	LEFT JOIN fittings f ON f.service_point_id = a.service_point_id AND f.to_at IS NULL
	LEFT JOIN LATERAL (SELECT sum(amount_fen) AS fen FROM recharges WHERE account_id = a.id AND state NOT IN ('credited', 'rejected', 'expired')) pe ON true
	LEFT JOIN LATERAL (SELECT delivered_at FROM messages m WHERE m.account_id = a.id AND m.kind = 'final' AND m.state = 'delivered'
		AND m.cause LIKE x.reminder_id || '/final%' ORDER BY delivered_at LIMIT 1) n ON true
	LEFT JOIN LATERAL (SELECT freeze_at, quality, doubtful FROM readings WHERE meter_id = f.meter_id ORDER BY freeze_at DESC, version DESC LIMIT 1) l ON true
	LEFT JOIN LATERAL (SELECT count(DISTINCT k.id)::int AS n FROM cases k LEFT JOIN case_members cm ON cm.case_id = k.id AND cm.outcome = ''
		WHERE k.state = 'open' AND (k.account_id = a.id OR k.meter_id = f.meter_id OR cm.meter_id = f.meter_id)) k ON true`
}

// CutPage lists the cuts that the filter chooses and counts them all: those to come in the order of their hour, the others newest first.
func (s *Store) CutPage(ctx context.Context, f CutFilter, limit, offset int) ([]CutRow, int, error) {
	const order = ` ORDER BY CASE WHEN settled_at IS NULL THEN planned_at END, settled_at DESC, length(id) DESC, id DESC`
	rows, _ := s.Pool.Query(ctx, `SELECT * FROM (`+selectCutRow(`y.site_id = ANY(@sites) AND (@states::text[] IS NULL OR y.state = ANY(@states)) AND (NOT @own OR y.own_trip)
			AND (@account = '' OR y.account_id = @account) AND coalesce(y.settled_at, y.opened_at) >= @since`+order+` LIMIT @limit OFFSET @offset`)+`) z`+order,
		pgx.NamedArgs{"sites": f.Sites, "states": f.States, "own": f.OwnTrip, "account": f.Account, "since": f.Since, "limit": limit, "offset": offset})
	return unwrap(rows, func(c countedCut) (CutRow, int) { return c.CutRow, c.Total })
}

// CutRow reads one cut as a list shows it.
func (s *Store) CutRow(ctx context.Context, id string) (CutRow, error) {
	rows, _ := s.Pool.Query(ctx, selectCutRow(`y.id = $1`), id)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[countedCut])
	return c.CutRow, translate(err)
}

// CutCounts are the numbers of the views of cuts; those of settled ones since an instant.
type CutCounts struct {
	Planned   int // planned, on their way, or of unknown outcome
	Manager   int // waiting for a manager
	Done      int
	Prevented int
	OwnTrips  int
	Restores  int
}

// CutCounts counts cuts and restores at some sites.
func (s *Store) CutCounts(ctx context.Context, sites []billing.SiteID, since time.Time) (CutCounts, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT count(*) FILTER (WHERE state IN ('planned', 'sending', 'unknown')), count(*) FILTER (WHERE state = 'awaiting_manager'),
			count(*) FILTER (WHERE state = 'verified' AND NOT own_trip AND settled_at >= $2), count(*) FILTER (WHERE state = 'prevented' AND settled_at >= $2),
			count(*) FILTER (WHERE own_trip AND opened_at >= $2),
			(SELECT count(*) FROM restores WHERE site_id = ANY($1) AND opened_at >= $2)
		FROM cutoffs WHERE site_id = ANY($1)`, sites, since)
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[CutCounts])
	return c, translate(err)
}

// RestoreRow is a restore with the names of its customer and of who asked for it, and the read-back of its command.
type RestoreRow struct {
	Restore
	Customer      string
	RequestedName string // empty when no person asked
	CommandState  billing.CommandState
	Readback      string
	ReadbackReal  *time.Time // real time
	PowerW        *int64
}

type countedRestore struct {
	RestoreRow
	Total int
}

// RestorePage lists the restores of some sites, or of one account, newest first, and counts them all.
func (s *Store) RestorePage(ctx context.Context, sites []billing.SiteID, account billing.AccountID, limit, offset int) ([]RestoreRow, int, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT o.id, o.site_id, o.account_id, o.cause, o.state, coalesce(o.command_id, '') AS command_id, o.requested_by, o.reason, o.opened_at, o.settled_at,
			c.name AS customer, coalesce(u.name, '') AS requested_name, coalesce(d.state, '') AS command_state, coalesce(d.readback, '') AS readback,
			d.readback_real, d.readback_power_w AS power_w, count(*) OVER ()::int AS total
		FROM restores o JOIN accounts a ON a.id = o.account_id JOIN customers c ON c.id = a.customer_id LEFT JOIN users u ON u.id = o.requested_by
		LEFT JOIN commands d ON d.id = o.command_id
		WHERE o.site_id = ANY($1) AND ($2 = '' OR o.account_id = $2) ORDER BY o.opened_at DESC, length(o.id) DESC, o.id DESC LIMIT $3 OFFSET $4`, sites, account, limit, offset)
	return unwrap(rows, func(r countedRestore) (RestoreRow, int) { return r.RestoreRow, r.Total })
}

// CalendarDays lists the days that differ from the plain week, from a day on.
func (s *Store) CalendarDays(ctx context.Context, from billing.Date, limit int) ([]billing.CalendarDay, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT day, off, name FROM calendar_days WHERE day >= $1 ORDER BY day LIMIT $2`, from, limit)
	ds, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d billing.CalendarDay, err error) {
		err = row.Scan(&d.Date, &d.Off, &d.Name)
		return d, err
	})
	return ds, translate(err)
}
