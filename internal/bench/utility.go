package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
	"github.com/meterflow/meterflow/internal/store"
)

// Utility is a synthetic site of any size whose registers follow a formula, so that anybody can compute again what each account used.
// Accounts are numbered from 1. Four of five buy power by band and yearly step, each fifth buys water in steps; all were opened on the
// first of January and have a reading of every midnight of the billed month and of the first of each month before.
type Utility struct {
	Site     billing.SiteID
	Accounts int
	// Cycles are the days on which closed reading cycles stand, oldest first; the readings of these midnights belong to them.
	Cycles []billing.Date
	// Journaled writes the journal rows of meters and supplies that such rows come with in real life: what package proof asks for.
	Journaled bool
}

// The people of a synthetic utility, who sign its billing runs.
const (
	Verifier billing.UserID = "bench-sup1"
	Issuer   billing.UserID = "bench-sup2"
)

// Month is the month that is billed: the third of the year, so that yearly steps have months before it to count.
var Month = billing.MonthPeriod(billing.MustDate("2026-03-01"))

// Opened is the day on which all accounts were opened.
var Opened = billing.MustDate("2026-01-01")

// zone is where the utility stands.
const zone = "Asia/Shanghai"

// Zone is the time zone of the synthetic utility.
func Zone() *time.Location {
	z, err := time.LoadLocation(zone)
	if err != nil {
		panic(err) // the program brings the zones along
	}
	return z
}

// Water says whether the account with a number buys water.
func Water(n int) bool { return n%5 == 0 }

// Tariff is the tariff of an account.
func Tariff(n int) billing.TariffID {
	if Water(n) {
		return "bj-water-residential"
	}
	return "zj-residential-tou"
}

// Account is the number of an account as stored, Meter that of its meter.
func (u Utility) Account(n int) billing.AccountID { return billing.AccountID(u.name("A", n)) }

// Meter is the number of an account's meter.
func (u Utility) Meter(n int) billing.MeterID { return billing.MeterID(u.name("M", n)) }

func (u Utility) name(kind string, n int) string { return fmt.Sprintf("%s%s%07d", kind, u.Site, n) }

// Registers are what an account's meter shows on the midnight that begins a day; days count from Opened. The loader's SQL says the same.
func Registers(n, day int) billing.Registers {
	total := int64(day)*(300+int64(n)*7919%1700) + int64(n*day%97)
	if Water(n) {
		return billing.Registers{total / 4}
	}
	sharp, peak, valley := total/10, total*3/10, total/5
	return billing.Registers{total, sharp, peak, total - sharp - peak - valley, valley, 0}
}

// registers is the formula of Registers over n and day.
const registers = `CASE WHEN n % 5 = 0 THEN ARRAY[t / 4] ELSE ARRAY[t, t / 10, t * 3 / 10, t - t / 10 - t * 3 / 10 - t / 5, t / 5, 0] END`

// Prepare makes what all utilities of a database share: the business clock at an instant, and the tariffs.
func Prepare(ctx context.Context, s *store.Store, now time.Time) error {
	if _, err := s.Pool.Exec(ctx, `UPDATE business_clock SET mode = 'demo', business_at = $1`, now); err != nil {
		return err
	}
	return addTariffs(ctx, s)
}

func addTariffs(ctx context.Context, s *store.Store) error {
	tariffs, err := tariffdata.LoadDemoTariffs()
	if err != nil {
		return err
	}
	for _, t := range tariffs {
		if err := s.AddTariff(ctx, benchBy, t); err != nil {
			return err
		}
	}
	return nil
}

// Load fills the tables. It needs a database superuser: what former years brought in is written without its triggers.
func (u Utility) Load(ctx context.Context, s *store.Store) error {
	if err := u.open(ctx, s); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		if err := u.insertMasters(ctx, tx); err != nil {
			return err
		}
		return u.loadReadings(ctx, tx)
	})
	if err != nil {
		return err
	}
	if u.Journaled {
		if err := u.journal(ctx, s); err != nil {
			return err
		}
	}
	_, err = s.Pool.Exec(ctx, `ANALYZE`)
	return err
}

// open opens the site with its books and people.
func (u Utility) open(ctx context.Context, s *store.Store) error {
	if _, err := s.Pool.Exec(ctx, `INSERT INTO sites (id, name_zh, name_en, time_zone) VALUES ($1, $1, $1, $2)`, u.Site, zone); err != nil {
		return err
	}
	if err := s.OpenHouse(ctx, benchBy, u.Site); err != nil {
		return err
	}
	return u.addPeople(ctx, s)
}

func (u Utility) insertMasters(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`); err != nil {
		return err
	}
	args := pgx.NamedArgs{"site": string(u.Site), "n": u.Accounts, "opened": Opened.Start(Zone()), "day": Opened.String()}
	for _, sql := range append([]string{benchMeters, formula}, masters...) {
		if _, err := tx.Exec(ctx, sql, args); err != nil {
			return fmt.Errorf("%w in %s", err, sql)
		}
	}
	return nil
}

func (u Utility) addPeople(ctx context.Context, s *store.Store) error {
	for _, id := range []billing.UserID{Verifier, Issuer} {
		if known, err := s.User(ctx, id); err == nil {
			_, err := s.Pool.Exec(ctx, `INSERT INTO user_sites (user_id, site_id) VALUES ($1, $2)`, known.ID, u.Site)
			if err != nil {
				return err
			}
			continue
		}
		user := store.User{ID: id, Name: string(id), Role: billing.RoleSupervisor, Active: true, Sites: []billing.SiteID{u.Site}}
		if err := s.AddUser(ctx, benchBy, user, "no password"); err != nil {
			return err
		}
	}
	return nil
}

// benchMeters is what the rows of the accounts are made from: one meter with its number, line and opening registers.
const benchMeters = `CREATE TEMP TABLE bench_meters (n int, gateway text, address text, unit int, serial text, profile text, service text, opening bigint[]) ON COMMIT DROP`

// formula are the meters of a utility whose registers follow the formula: two hundred to a gateway that nobody calls.
const formula = `INSERT INTO bench_meters SELECT n, 'G' || @site || n / 200, 'gateway-' || @site || '-' || n / 200 || ':502', n % 200 + 1,
		lpad((abs(hashtext(@site)) % 99999)::text, 5, '0') || lpad(n::text, 7, '0'),
		CASE WHEN n % 5 = 0 THEN 'sim-valve-water' ELSE 'sim-ddsy1352' END, CASE WHEN n % 5 = 0 THEN 'water' ELSE 'power' END,
		CASE WHEN n % 5 = 0 THEN ARRAY[0] ELSE ARRAY[0, 0, 0, 0, 0, 0] END::bigint[]
	FROM generate_series(1, @n::int) n`

// masters are the rows of the accounts of bench_meters, at @site.
var masters = []string{
	`INSERT INTO gateways (id, site_id, name, address) SELECT DISTINCT gateway, @site, gateway, address FROM bench_meters`,
	`INSERT INTO meters (id, site_id, gateway_id, unit, serial, profile, service, digits, capacity_per_hour)
		SELECT 'M' || @site || lpad(n::text, 7, '0'), @site, gateway, unit, serial, profile, service, 8, 10000 FROM bench_meters`,
	`INSERT INTO service_points (id, site_id, service, address) SELECT 'P' || @site || lpad(n::text, 7, '0'), @site, service, 'Room ' || n FROM bench_meters`,
	`INSERT INTO fittings (service_point_id, meter_id, ratio, from_at, opening)
		SELECT 'P' || @site || lpad(n::text, 7, '0'), 'M' || @site || lpad(n::text, 7, '0'), 1, @opened, opening FROM bench_meters`,
	`INSERT INTO customers (id, site_id, name, phone, class)
		SELECT 'C' || @site || lpad(n::text, 7, '0'), @site, 'Customer ' || n, '13900000000', 'household' FROM bench_meters`,
	`INSERT INTO accounts (id, site_id, customer_id, service_point_id, service, credit_mode, tariff_id, opened_on)
		SELECT 'A' || @site || lpad(n::text, 7, '0'), @site, 'C' || @site || lpad(n::text, 7, '0'), 'P' || @site || lpad(n::text, 7, '0'),
			service, 'platform', CASE WHEN service = 'water' THEN 'bj-water-residential' ELSE 'zj-residential-tou' END, @day::date
		FROM bench_meters`,
	`INSERT INTO account_terms (account_id, from_day, version, tariff_id, class, recorded_at, recorded_by, reason)
		SELECT id, opened_on, 1, tariff_id, 'household', @opened, 'bench', 'loaded' FROM accounts WHERE site_id = @site`,
	`INSERT INTO ledger_accounts (code, site_id, kind, account_id)
		SELECT 'customer/' || id, site_id, 'liability', id FROM accounts WHERE site_id = @site`,
	// Ten thousand yuan each, so that nobody runs low: reminders are other work.
	`WITH e AS (INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject, day)
			SELECT @site, 'opening', 'account/' || id || '/opening', '', @opened, id, @day::date FROM accounts WHERE site_id = @site RETURNING id, subject)
		INSERT INTO ledger_postings (entry_id, seq, code, amount_fen)
		SELECT e.id, p.seq, p.code, p.fen FROM e CROSS JOIN LATERAL (VALUES (1, @site || '/opening', 1000000), (2, 'customer/' || e.subject, -1000000)) p (seq, code, fen)`,
	`INSERT INTO balances (account_id, balance_fen, moved_at) SELECT id, 1000000, @opened FROM accounts WHERE site_id = @site`,
	`INSERT INTO supplies (account_id, site_id, state, wanted, since_at) SELECT id, @site, 'on', 'on', @opened FROM accounts WHERE site_id = @site`,
}

// loadReadings writes the midnights that billing the month needs, and those of the month; a midnight of a cycle belongs to it.
func (u Utility) loadReadings(ctx context.Context, tx pgx.Tx) error {
	var days []billing.Date
	for d := Opened; d.Before(Month.From); d = billing.MonthPeriod(d).To {
		days = append(days, d)
	}
	for d := Month.From; !d.After(Month.To); d = d.AddDays(1) {
		days = append(days, d)
	}
	cycles := map[billing.Date]bool{}
	for _, d := range u.Cycles {
		cycles[d] = true
		if err := u.loadCycle(ctx, tx, d); err != nil {
			return err
		}
	}
	for _, d := range days {
		at := d.Start(Zone())
		if _, err := tx.Exec(ctx, `SELECT ensure_reading_partition($1)`, at); err != nil {
			return err
		}
		var cycle *string
		if cycles[d] {
			id := string(u.CycleID(d))
			cycle = &id
		}
		_, err := tx.Exec(ctx, `INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, cycle_id, recorded_by, supply)
			SELECT 'M' || @site || lpad(n::text, 7, '0'), @at, 1, @at, clock_timestamp(), 'actual', `+registers+`, @cycle, 'workflow', 'on'
			FROM (SELECT n, @day::bigint * (300 + n::bigint * 7919 % 1700) + n::bigint * @day::bigint % 97 AS t FROM generate_series(1, @n::int) n) r`,
			pgx.NamedArgs{"site": string(u.Site), "n": u.Accounts, "at": at, "cycle": cycle, "day": Opened.DaysUntil(d)})
		if err != nil {
			return err
		}
	}
	return nil
}

// CycleID is the reading cycle of a day.
func (u Utility) CycleID(d billing.Date) billing.CycleID {
	return billing.CycleID(string(u.Site) + "/" + d.String())
}

func (u Utility) loadCycle(ctx context.Context, tx pgx.Tx, d billing.Date) error {
	args := pgx.NamedArgs{"id": u.CycleID(d), "site": string(u.Site), "day": d.String(), "at": d.Start(Zone()), "n": u.Accounts}
	for _, sql := range []string{
		`INSERT INTO cycles (id, site_id, day, freeze_at, window_end, state, passes, planned, read, opened_at, closed_at)
			VALUES (@id, @site, @day::date, @at, @at::timestamptz + interval '6 hours', 'closed', 1, @n, @n, @at, @at::timestamptz + interval '1 hour')`,
		`INSERT INTO cycle_meters (cycle_id, meter_id, gateway_id, outcome, tries) SELECT @id, id, gateway_id, 'read', 1 FROM meters WHERE site_id = @site`,
	} {
		if _, err := tx.Exec(ctx, sql, args); err != nil {
			return err
		}
	}
	return nil
}

// journal writes the rows that meters, supplies and cycles come with.
func (u Utility) journal(ctx context.Context, s *store.Store) error {
	for _, sql := range []string{
		`SELECT count(journal_append(site_id, 'meter', id, 'fitted', '', state, 'bench', '', '', '', '{}', '{}')) FROM meters WHERE site_id = $1`,
		`SELECT count(journal_append(site_id, 'supply', account_id, 'taken_over', '', state, 'bench', '', '', '', '{}', '{}')) FROM supplies WHERE site_id = $1`,
		`SELECT count(journal_append(site_id, 'cycle', id, 'closed', '', state, 'bench', '', '', '', '{}', '{}')) FROM cycles WHERE site_id = $1`,
	} {
		if _, err := s.Pool.Exec(ctx, sql, u.Site); err != nil {
			return err
		}
	}
	return nil
}
