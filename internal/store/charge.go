package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// OpenChargeRun says that the accounts of a closed cycle are being charged. Opening it again changes nothing. It gives the site and
// the cycle's freeze instant, and whether the run is charged already.
func (s *Store) OpenChargeRun(ctx context.Context, by By, cycle billing.CycleID) (c Cycle, charged bool, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		if c, err = lockCycle(ctx, tx, cycle); err != nil {
			return err
		}
		if c.State != billing.CycleClosed {
			return billing.Errorf(billing.CodeBlocked, "cycle %s is not closed yet: its accounts are charged once its readings are validated", cycle)
		}
		var state string
		err := tx.QueryRow(ctx, `SELECT state FROM charge_runs WHERE cycle_id = $1`, cycle).Scan(&state)
		if err != pgx.ErrNoRows {
			charged = state == "charged"
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO charge_runs (cycle_id, site_id, state) VALUES ($1, $2, 'charging')`, cycle, c.Site); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: c.Site, Kind: "charge_run", ID: string(cycle), Event: "charging", To: "charging", Refs: []string{string(cycle)}})
	})
	return c, charged, err
}

// MeteredAccount is an account as rating sees it: its tariff, where it is measured, and what was charged and billed before.
type MeteredAccount struct {
	ID           billing.AccountID
	Site         billing.SiteID         `db:"site_id"`
	ServicePoint billing.ServicePointID `db:"service_point_id"`
	Service      billing.Service
	CreditMode   billing.CreditMode
	Tariff       billing.TariffID `db:"tariff_id"`
	CutLimitFen  billing.Money
	OpenedOn     billing.Date
	UseBefore    int64        // raw units after the ratio, used in the step year before OpenedOn
	LastPeriod   billing.Date // first day of the period that was charged last; zero when nothing was
	LastUpto     *time.Time   // the charge's reading
	BilledTo     billing.Date // first day after the last issued bill; zero when none was issued
	BalanceFen   billing.Money
	RecentFen    billing.Money // charged with the last charges, seven at most, for the average of a day
	RecentDays   int
}

const selectMetered = `SELECT a.id, a.site_id, a.service_point_id, a.service, a.credit_mode, a.tariff_id, a.cut_limit_fen, a.opened_on, a.use_before,
		(SELECT max(period_from) FROM charges c WHERE c.account_id = a.id) AS last_period,
		(SELECT max(upto) FROM charges c WHERE c.account_id = a.id) AS last_upto,
		(SELECT max(period_to) FROM bills b WHERE b.account_id = a.id AND b.state = 'issued') AS billed_to,
		coalesce(b.balance_fen, 0) AS balance_fen, coalesce(r.fen, 0)::bigint AS recent_fen, coalesce(r.days, 0)::int AS recent_days
	FROM accounts a LEFT JOIN balances b ON b.account_id = a.id
	LEFT JOIN LATERAL (SELECT sum(day_fen) AS fen, count(*) AS days FROM (
		SELECT sum(amount_fen) AS day_fen FROM charges c WHERE c.account_id = a.id GROUP BY cycle_id ORDER BY max(upto) DESC LIMIT 7) d) r ON true`

// MeteredAccounts reads a page of a site's accounts, by id, after the given one.
func (s *Store) MeteredAccounts(ctx context.Context, site billing.SiteID, after billing.AccountID, limit int) ([]MeteredAccount, error) {
	rows, _ := s.Pool.Query(ctx, selectMetered+` WHERE a.site_id = $1 AND a.id > $2 ORDER BY a.id LIMIT $3`, site, after, limit)
	as, err := pgx.CollectRows(rows, pgx.RowToStructByName[MeteredAccount])
	return as, translate(err)
}

// MeteredAccountsOf reads the given accounts, by id.
func (s *Store) MeteredAccountsOf(ctx context.Context, ids []billing.AccountID) ([]MeteredAccount, error) {
	rows, _ := s.Pool.Query(ctx, selectMetered+` WHERE a.id = ANY($1) ORDER BY a.id`, ids)
	as, err := pgx.CollectRows(rows, pgx.RowToStructByName[MeteredAccount])
	return as, translate(err)
}

// ChargedSoFar sums what was charged to accounts in the period that begins on a day.
func (s *Store) ChargedSoFar(ctx context.Context, accounts []billing.AccountID, periodFrom billing.Date) (map[billing.AccountID]billing.Money, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT account_id, sum(amount_fen)::bigint FROM charges WHERE account_id = ANY($1) AND period_from = $2 GROUP BY account_id`, accounts, periodFrom)
	by := map[billing.AccountID]billing.Money{}
	var id billing.AccountID
	var fen billing.Money
	_, err := pgx.ForEachRow(rows, []any{&id, &fen}, func() error {
		by[id] = fen
		return nil
	})
	return by, translate(err)
}

// Charge is an open period of an account, rated up to a reading.
type Charge struct {
	Account    billing.AccountID
	PeriodFrom billing.Date
	Upto       time.Time
	RatedFen   billing.Money // rated(period to date)
}

// LowLevel says how short of credit an account with this balance is; empty for not at all. Package activities gives it.
type LowLevel func(account billing.AccountID, balance billing.Money) billing.ReminderState

// SaveCharges charges a page of accounts: rated(period to date) − charged so far, posted from the customer's credit to what is not
// billed yet, with the low list, in one transaction. Saving it again changes nothing; a charge that a later reading or an issued
// bill has overtaken is left out.
func (s *Store) SaveCharges(ctx context.Context, by By, cycle billing.CycleID, charges []Charge, level LowLevel) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		var site billing.SiteID
		if err := tx.QueryRow(ctx, `SELECT site_id FROM charge_runs WHERE cycle_id = $1`, cycle).Scan(&site); err != nil {
			return err
		}
		var texts []string
		var accounts []billing.AccountID
		var sum billing.Money
		for _, c := range charges { // in the order of account ids, as everything that locks several balances
			amount, done, err := saveCharge(ctx, tx, site, cycle, c)
			if err != nil {
				return fmt.Errorf("account %s: %w", c.Account, err)
			}
			if done {
				sum += amount
				accounts = append(accounts, c.Account)
				texts = append(texts, fmt.Sprintf("%s %s %s %d %d", c.Account, c.PeriodFrom, c.Upto.UTC().Format(time.RFC3339), c.RatedFen, amount))
			}
		}
		if len(texts) == 0 {
			return nil
		}
		low, err := listLow(ctx, tx, cycle, accounts, level)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE charge_runs SET accounts = accounts + $2, total_fen = total_fen + $3, low = low + $4 WHERE cycle_id = $1`, cycle, len(slices.Compact(accounts)), sum, low)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: site, Kind: "charge_run", ID: string(cycle), Event: "page_charged", From: "charging", To: "charging", Refs: []string{string(cycle)},
			Data: map[string]any{"count": len(texts), "total_fen": sum, "low": low, "digest": digest(texts)}})
	})
}

func saveCharge(ctx context.Context, tx *Tx, site billing.SiteID, cycle billing.CycleID, c Charge) (amount billing.Money, done bool, err error) {
	// The balance's row is the lock: what was charged so far can't move between the sum and the posting.
	if _, err := tx.Exec(ctx, `SELECT 1 FROM balances WHERE account_id = $1 FOR UPDATE`, c.Account); err != nil {
		return 0, false, err
	}
	var charged billing.Money
	var overtaken bool
	err = tx.QueryRow(ctx, `SELECT coalesce(sum(amount_fen), 0)::bigint,
			coalesce(bool_or(upto > $3 OR cycle_id = $4), false) OR EXISTS (SELECT 1 FROM bills WHERE account_id = $1 AND period_from = $2 AND state = 'issued')
		FROM charges WHERE account_id = $1 AND period_from = $2`, c.Account, c.PeriodFrom, c.Upto, cycle).Scan(&charged, &overtaken)
	if err != nil || overtaken {
		return 0, false, err
	}
	if amount, err = c.RatedFen.Sub(charged); err != nil {
		return 0, false, err
	}
	var entry *int64
	if amount != 0 {
		id, err := Post(ctx, tx, ledger.Move(site, ledger.KindDailyCharge, "charge/"+string(cycle)+"/"+string(c.Account)+"/"+c.PeriodFrom.String(), string(cycle),
			ledger.Customer(c.Account), ledger.Unbilled(site), amount))
		if err != nil {
			return 0, false, err
		}
		entry = &id
	}
	_, err = tx.Exec(ctx, `INSERT INTO charges (account_id, cycle_id, period_from, upto, rated_fen, amount_fen, entry_id) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		c.Account, cycle, c.PeriodFrom, c.Upto, c.RatedFen, amount, entry)
	return amount, err == nil, err
}

// listLow puts accounts on the low list whose balance is low now, after the charge.
func listLow(ctx context.Context, tx *Tx, cycle billing.CycleID, accounts []billing.AccountID, level LowLevel) (int, error) {
	rows, err := tx.Query(ctx, `SELECT account_id, balance_fen FROM balances WHERE account_id = ANY($1) ORDER BY account_id`, accounts)
	if err != nil {
		return 0, err
	}
	var ids, levels []string
	var id billing.AccountID
	var balance billing.Money
	_, err = pgx.ForEachRow(rows, []any{&id, &balance}, func() error {
		if l := level(id, balance); l != "" {
			ids, levels = append(ids, string(id)), append(levels, string(l))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO low_list (account_id, cycle_id, balance_fen, level)
		SELECT b.account_id, $1, b.balance_fen, l.level FROM unnest($2::text[], $3::text[]) l (account_id, level) JOIN balances b USING (account_id)
		ON CONFLICT DO NOTHING`, cycle, ids, levels)
	return len(ids), err
}

// Low is an account on the low list that nobody has taken yet.
type Low struct {
	Account    billing.AccountID `db:"account_id"`
	BalanceFen billing.Money
	Level      string
}

// LowList reads a page of what is open on a cycle's low list, by account.
func (s *Store) LowList(ctx context.Context, cycle billing.CycleID, limit int) ([]Low, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT account_id, balance_fen, level FROM low_list WHERE cycle_id = $1 AND NOT taken ORDER BY account_id LIMIT $2`, cycle, limit)
	ls, err := pgx.CollectRows(rows, pgx.RowToStructByName[Low])
	return ls, translate(err)
}

// CloseChargeRun says that all accounts of a cycle are charged.
func (s *Store) CloseChargeRun(ctx context.Context, by By, cycle billing.CycleID) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		var r ChargeRun
		rows, _ := tx.Query(ctx, selectChargeRun+` WHERE cycle_id = $1 FOR UPDATE`, cycle)
		r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[ChargeRun])
		if err != nil || r.State == "charged" {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE charge_runs SET state = 'charged' WHERE cycle_id = $1`, cycle); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: r.Site, Kind: "charge_run", ID: string(cycle), Event: "charged", From: "charging", To: "charged", Refs: []string{string(cycle)},
			Data: map[string]any{"accounts": r.Accounts, "total_fen": r.TotalFen, "low": r.Low}})
	})
}

// ChargeRun is the daily charge of a cycle.
type ChargeRun struct {
	Cycle    billing.CycleID `db:"cycle_id"`
	Site     billing.SiteID  `db:"site_id"`
	State    string          // charging, charged
	Accounts int
	TotalFen billing.Money
	Low      int
}

const selectChargeRun = `SELECT cycle_id, site_id, state, accounts, total_fen, low FROM charge_runs`

// ChargeRunOf reads the daily charge of a cycle.
func (s *Store) ChargeRunOf(ctx context.Context, cycle billing.CycleID) (ChargeRun, error) {
	rows, _ := s.Pool.Query(ctx, selectChargeRun+` WHERE cycle_id = $1`, cycle)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[ChargeRun])
	return r, translate(err)
}
