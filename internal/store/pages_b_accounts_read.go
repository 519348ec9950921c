package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// AccountRow is an account as a list shows it: whose it is, what it has, how long that lasts, and whether supply is on.
type AccountRow struct {
	Account
	Name        string // of the customer
	Phone       string
	Class       billing.CustomerClass
	LifeSupport bool
	Address     string
	TariffZH    string
	TariffEN    string
	Balance     billing.Money       `db:"balance_fen"`
	Held        billing.Money       `db:"held_fen"`    // kept back by open holds
	Pending     billing.Money       `db:"pending_fen"` // recharges that are entered or on their way
	Supply      billing.SupplyState // as proved
	Wanted      billing.SupplyState
	CutCause    string
	SupplySince time.Time
	Guarded     bool
	HeldBy      billing.BatchID
	Recent      billing.Money `db:"recent_fen"` // charged with the last charges, seven at most
	RecentDays  int
	Protected   *time.Time // until when a protection stands; nil without one
	Reminder    billing.ReminderID
	Arrears     billing.ReminderState // of the open arrears case; empty without one
	OpenCases   int
	Meter       billing.MeterID // fitted now; empty without one
	Uncharged   string          // why the newest daily charge couldn't rate it; empty when it could
	UnchargedAt *time.Time      // since when
}

// Available is the balance without what open holds keep back.
func (a AccountRow) Available() billing.Money { return a.Balance - a.Held }

// Daily is the average charge of a day of late; zero when nothing was charged.
func (a AccountRow) Daily() billing.Money {
	if a.RecentDays == 0 {
		return 0
	}
	return a.Recent / billing.Money(a.RecentDays)
}

// Lasts is for how many days the balance lasts down to the cut limit at the use of late; ok is false when that isn't known.
func (a AccountRow) Lasts() (days int, ok bool) {
	daily := a.Daily()
	if daily <= 0 {
		return 0, false
	}
	return int(max(a.Balance-a.CutLimit, 0) / daily), true
}

type countedAccount struct {
	AccountRow
	Total int
}

// AccountFilter chooses accounts. Zero fields choose all.
type AccountFilter struct {
	Sites      []billing.SiteID
	Text       string // part of the account's number, name, phone or address
	Service    string
	CreditMode string
	Tariff     string // that of today
	Low        bool   // an arrears case is open, or the balance is at the cut limit
	Off        bool   // supply isn't proved to be on
	Protected  bool
	Uncharged  bool // the newest daily charge couldn't rate it
	ByBalance  bool // lowest balance first, instead of by number
}

func selectAccountRow(where string) string {
	return `SELECT a.id, a.site_id, a.customer_id, a.service_point_id, a.service, a.credit_mode, t.id AS tariff_id, account_prepaid_now(a.id) AS prepaid_contract, a.cut_limit_fen, a.opened_on, a.use_before,
		a.name, a.phone, account_class_now(a.id) AS class, a.life_support, a.address, t.name_zh AS tariff_zh, t.name_en AS tariff_en, a.balance_fen, a.held_fen, coalesce(pe.fen, 0)::bigint AS pending_fen,
		a.supply, a.wanted, a.cut_cause, a.supply_since, a.guarded, a.held_by, coalesce(d.fen, 0)::bigint AS recent_fen, coalesce(d.days, 0)::int AS recent_days,
		a.protected, coalesce(n.id, '') AS reminder, coalesce(n.state, '') AS arrears, k.n AS open_cases, coalesce(f.meter_id, '') AS meter, coalesce(u.reason, '') AS uncharged, u.since_at AS uncharged_at, a.total
	FROM (SELECT x.*, c.name, c.phone, c.life_support, p.address, b.balance_fen, b.held_fen, su.state AS supply, su.wanted, su.cut_cause, su.since_at AS supply_since, su.guarded, coalesce(su.held_by, '') AS held_by,
			(SELECT max(until_at) FROM protections WHERE account_id = x.id AND ended_at IS NULL AND from_at <= business_now() AND until_at > business_now()) AS protected,
			count(*) OVER ()::int AS total
		FROM accounts x JOIN customers c ON c.id = x.customer_id JOIN service_points p ON p.id = x.service_point_id
		JOIN balances b ON b.account_id = x.id JOIN supplies su ON su.account_id = x.id
		WHERE ` + where + `) a
	CROSS JOIN LATERAL (SELECT account_tariff_now(a.id) AS tariff OFFSET 0) y JOIN tariffs t ON t.id = y.tariff
	LEFT JOIN fittings f ON f.service_point_id = a.service_point_id AND f.to_at IS NULL
	LEFT JOIN uncharged u ON u.account_id = a.id
	LEFT JOIN reminders n ON n.account_id = a.id AND n.state IN ` + openReminderStates + `
	LEFT JOIN LATERAL (SELECT sum(amount_fen) AS fen FROM recharges WHERE account_id = a.id AND state NOT IN ('credited', 'rejected', 'expired')) pe ON true
	LEFT JOIN LATERAL (SELECT sum(day_fen) AS fen, count(*) AS days FROM (
		SELECT sum(amount_fen) AS day_fen FROM charges WHERE account_id = a.id GROUP BY cycle_id ORDER BY max(upto) DESC LIMIT 7) y) d ON true
	LEFT JOIN LATERAL (SELECT count(*)::int AS n FROM (
		SELECT id FROM cases WHERE state = 'open' AND site_id = a.site_id AND (account_id = a.id OR meter_id = f.meter_id)
		UNION SELECT cm.case_id FROM case_members cm JOIN cases c ON c.id = cm.case_id AND c.state = 'open' WHERE cm.meter_id = f.meter_id AND cm.outcome = '') o) k ON true`
}

// AccountPage lists the accounts that the filter chooses and counts them all.
func (s *Store) AccountPage(ctx context.Context, f AccountFilter, limit, offset int) ([]AccountRow, int, error) {
	where := `x.site_id = ANY(@sites) AND (@service = '' OR x.service = @service) AND (@mode = '' OR x.credit_mode = @mode) AND (@tariff = '' OR x.id IN (SELECT account_id FROM tariff_uses WHERE tariff_id = @tariff AND now))
		AND (NOT @low OR b.balance_fen + deferred_fen(x.id) <= x.cut_limit_fen OR EXISTS (SELECT 1 FROM reminders WHERE account_id = x.id AND state IN ` + openReminderStates + `))
		AND (NOT @off OR su.state <> 'on')
		AND (NOT @protected OR c.life_support OR EXISTS (SELECT 1 FROM protections WHERE account_id = x.id AND ended_at IS NULL AND from_at <= business_now() AND until_at > business_now()))
		AND (NOT @uncharged OR EXISTS (SELECT 1 FROM uncharged WHERE account_id = x.id))
		AND (@text = '' OR position(lower(@text) IN lower(concat_ws(' ', x.id, c.name, c.phone, p.address))) > 0)
		ORDER BY CASE WHEN @balance THEN b.balance_fen END, x.id LIMIT @limit OFFSET @offset`
	rows, _ := s.Pool.Query(ctx, selectAccountRow(where)+` ORDER BY CASE WHEN @balance THEN a.balance_fen END, a.id`,
		pgx.NamedArgs{"sites": f.Sites, "service": f.Service, "mode": f.CreditMode, "tariff": f.Tariff, "low": f.Low, "off": f.Off, "protected": f.Protected, "uncharged": f.Uncharged,
			"text": f.Text, "balance": f.ByBalance, "limit": limit, "offset": offset})
	return unwrap(rows, func(a countedAccount) (AccountRow, int) { return a.AccountRow, a.Total })
}

// AccountRow reads one account as a list shows it.
func (s *Store) AccountRow(ctx context.Context, id billing.AccountID) (AccountRow, error) {
	rows, _ := s.Pool.Query(ctx, selectAccountRow(`x.id = $1`), id)
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[countedAccount])
	return a.AccountRow, accountError(err, id)
}

// AccountCase is an open case about an account, its meter, or one of its readings.
type AccountCase struct {
	ID       billing.CaseID
	Kind     string
	Blocking bool
	OpenedAt time.Time
	DueAt    time.Time
}

// AccountCases lists the open cases that concern an account and its fitted meter, oldest first.
func (s *Store) AccountCases(ctx context.Context, account billing.AccountID, meter billing.MeterID) ([]AccountCase, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT k.id, k.kind, k.blocking, k.opened_at, k.due_at FROM cases k WHERE k.state = 'open' AND (k.account_id = $1 OR k.meter_id = $2
			OR EXISTS (SELECT 1 FROM case_members cm WHERE cm.case_id = k.id AND cm.meter_id = $2 AND cm.outcome = '')) ORDER BY k.opened_at, k.id`, account, meter)
	ks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[AccountCase])
	return ks, translate(err)
}

// BillHead is a bill without its lines.
type BillHead struct {
	ID         billing.BillID
	Run        billing.RunID
	PeriodFrom billing.Date
	PeriodTo   billing.Date // half-open
	State      billing.BillState
	Quantity   int64 // raw units after the ratio
	Total      billing.Money
}

// AccountBills lists the newest bills of an account.
func (s *Store) AccountBills(ctx context.Context, account billing.AccountID, limit int) ([]BillHead, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT id, run_id, period_from, period_to, state, quantity, total_fen FROM bills WHERE account_id = $1
		ORDER BY period_from DESC, version DESC LIMIT $2`, account, limit)
	bs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[BillHead])
	return bs, translate(err)
}

// AccountMovements lists the movements of an account's credit since an instant, oldest first, each with the balance after it, preceded by
// the balance that stood then (Kind empty).
func (s *Store) AccountMovements(ctx context.Context, account billing.AccountID, since time.Time) ([]Movement, error) {
	const all = `SELECT e.id AS entry_id, e.kind, e.subject, -p.amount_fen AS amount_fen,
			-(sum(p.amount_fen) OVER (ORDER BY e.id))::bigint AS balance_fen, e.business_at
		FROM ledger_postings p JOIN ledger_entries e ON e.id = p.entry_id
		WHERE p.code = 'customer/' || $1`
	rows, _ := s.Pool.Query(ctx, `WITH m AS (`+all+`)
		SELECT * FROM (SELECT 0::bigint AS entry_id, '' AS kind, '' AS subject, 0::bigint AS amount_fen, balance_fen, $2::timestamptz AS business_at
			FROM m WHERE business_at < $2 ORDER BY entry_id DESC LIMIT 1) before
		UNION ALL SELECT * FROM m WHERE business_at >= $2 ORDER BY entry_id`, account, since)
	ms, err := pgx.CollectRows(rows, pgx.RowToStructByName[Movement])
	return ms, translate(err)
}
