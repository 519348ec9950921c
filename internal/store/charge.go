package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
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

// MeteredAccount is an account as rating sees it: where it is measured, and what was charged and billed before. Its tariffs are in its terms.
type MeteredAccount struct {
	ID           billing.AccountID
	Site         billing.SiteID         `db:"site_id"`
	ServicePoint billing.ServicePointID `db:"service_point_id"`
	Service      billing.Service
	CreditMode   billing.CreditMode
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

// meteredFrom is what all questions for metered accounts share; the last issued bill stands at the end of its index.
const (
	meteredColumns = `a.id, a.site_id, a.service_point_id, a.service, a.credit_mode, a.cut_limit_fen, a.opened_on, a.use_before,
		(SELECT period_to FROM bills b WHERE b.account_id = a.id AND b.state = 'issued' ORDER BY period_from DESC LIMIT 1) AS billed_to`

	// selectBilled leaves out what only the daily charge needs.
	selectBilled = `SELECT ` + meteredColumns + `, NULL::date AS last_period, NULL::timestamptz AS last_upto, 0::bigint AS balance_fen, 0::bigint AS recent_fen, 0 AS recent_days
	FROM accounts a`

	// A cycle charges two periods at most when it closes one, so that fourteen rows hold the last seven charges.
	selectMetered = `SELECT ` + meteredColumns + `, l.period_from AS last_period, l.upto AS last_upto,
		coalesce(b.balance_fen, 0) AS balance_fen, coalesce(r.fen, 0)::bigint AS recent_fen, coalesce(r.days, 0)::int AS recent_days
	FROM accounts a LEFT JOIN balances b ON b.account_id = a.id
	LEFT JOIN LATERAL (SELECT period_from, upto FROM charges c WHERE c.account_id = a.id ORDER BY period_from DESC, upto DESC LIMIT 1) l ON true
	LEFT JOIN LATERAL (SELECT sum(day_fen) AS fen, count(*) AS days FROM (
		SELECT sum(amount_fen) AS day_fen FROM (SELECT cycle_id, upto, amount_fen FROM charges c WHERE c.account_id = a.id ORDER BY period_from DESC, upto DESC LIMIT 14) n
		GROUP BY cycle_id ORDER BY max(upto) DESC LIMIT 7) d) r ON true`
)

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
// bill has overtaken is left out. A true-up beyond the rule's share gets its payment plan with it.
func (s *Store) SaveCharges(ctx context.Context, by By, cycle billing.CycleID, charges []Charge, rule billing.MakeUpRule, level LowLevel) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		site, err := chargedSite(ctx, tx, cycle)
		if err != nil {
			return err
		}
		done, err := postCharges(ctx, tx, site, cycle, charges)
		if err != nil || len(done) == 0 {
			return err
		}
		texts, accounts := make([]string, len(done)), make([]billing.AccountID, len(done))
		var sum billing.Money
		for i, c := range done {
			sum += c.amount
			accounts[i] = c.Account
			texts[i] = c.text()
		}
		if err := proposePlans(ctx, tx, cycle, slices.Compact(slices.Clone(accounts)), rule); err != nil {
			return err
		}
		low, err := listLow(ctx, tx, cycle, accounts, level)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE charge_runs SET accounts = accounts + $2, total_fen = total_fen + $3, low = low + $4 WHERE cycle_id = $1`, cycle, len(slices.Compact(accounts)), sum, low)
		if err != nil {
			return err
		}
		failpoint.Hit("charge-page-open")
		return tx.Journal(ctx, Entry{Site: site.ID, Kind: "charge_run", ID: string(cycle), Event: "page_charged", From: "charging", To: "charging", Refs: []string{string(cycle)},
			Data: map[string]any{"count": len(texts), "total_fen": sum, "low": low, "digest": digest(texts)}})
	})
}

// chargedSite reads the site whose accounts a cycle charges.
func chargedSite(ctx context.Context, tx *Tx, cycle billing.CycleID) (Site, error) {
	rows, _ := tx.Query(ctx, selectSite+` WHERE id = (SELECT site_id FROM charge_runs WHERE cycle_id = $1)`, cycle)
	return pgx.CollectExactlyOneRow(rows, scanSite)
}

// listLow puts accounts on the low list whose balance is low now, after the charge, with what they may pay later counted as paid. Accounts whose
// contract agrees to no cut never stand there.
func listLow(ctx context.Context, tx *Tx, cycle billing.CycleID, accounts []billing.AccountID, level LowLevel) (int, error) {
	rows, err := tx.Query(ctx, `SELECT account_id, balance_fen + deferred_fen(account_id) FROM balances WHERE account_id = ANY($1) ORDER BY account_id`, accounts)
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
	tag, err := tx.Exec(ctx, `INSERT INTO low_list (account_id, cycle_id, balance_fen, level)
		SELECT b.account_id, $1, b.balance_fen, l.level FROM unnest($2::text[], $3::text[]) l (account_id, level) JOIN balances b USING (account_id)
		WHERE account_prepaid_now(b.account_id) ON CONFLICT DO NOTHING`, cycle, ids, levels)
	return int(tag.RowsAffected()), err
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
