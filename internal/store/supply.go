package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Supply is what is proved and what is wanted of an account's supply. Its row is what every attempt of a cut, and every payment, locks.
type Supply struct {
	Account   billing.AccountID `db:"account_id"`
	Site      billing.SiteID    `db:"site_id"`
	State     billing.SupplyState
	Wanted    billing.SupplyState
	CutCause  string // credit (ours), meter (its own trip), person; empty while on
	CommandID string // the open switching command, if any
	SinceAt   time.Time
	SinceReal time.Time
	Guarded   bool // held closed by keep_on, so that the meter can't trip by itself
	// HeldBy is the batch whose order holds the meter on; empty when none does. Only a release batch ends that.
	HeldBy billing.BatchID
}

// HoldOrdered says that a person's order to hold the meter on stands, and that nothing proves it at the meter that is fitted now: it took the place of
// the one that was held. We cut nobody then, but the meter may still trip by itself.
func (s Supply) HoldOrdered() bool { return s.HeldBy != "" && !s.Guarded }

// Cut causes.
const (
	CutForCredit = "credit"
	CutByMeter   = "meter"
	CutByPerson  = "person"
)

const selectSupply = `SELECT account_id, site_id, state, wanted, cut_cause, coalesce(command_id, '') AS command_id, since_at, since_real, guarded, coalesce(held_by, '') AS held_by FROM supplies`

// Supply reads an account's supply.
func (s *Store) Supply(ctx context.Context, account billing.AccountID) (Supply, error) {
	rows, _ := s.Pool.Query(ctx, selectSupply+` WHERE account_id = $1`, account)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Supply])
	return v, translate(err)
}

// lockSupply takes the lock that a payment and a cut compete for. It comes before every other lock of the account.
func lockSupply(ctx context.Context, tx *Tx, account billing.AccountID) (Supply, error) {
	rows, _ := tx.Query(ctx, selectSupply+` WHERE account_id = $1 FOR UPDATE`, account)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Supply])
	return v, accountError(err, account)
}

func openSupply(ctx context.Context, tx *Tx, a Account) error {
	if _, err := tx.Exec(ctx, `INSERT INTO supplies (account_id, site_id, state, wanted, since_at) VALUES ($1, $2, 'on', 'on', $3)`, a.ID, a.Site, tx.Now); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: a.Site, Kind: "supply", ID: string(a.ID), Event: "taken_over", To: string(billing.SupplyOn)})
}

// saveSupply writes the row back with its journal row. was is the row as locked.
func saveSupply(ctx context.Context, tx *Tx, was, is Supply, event string, refs []string, data any) error {
	if is.State != was.State {
		is.SinceAt = tx.Now
	}
	_, err := tx.Exec(ctx, `UPDATE supplies SET state = $2, wanted = $3, cut_cause = $4, command_id = nullif($5, ''), since_at = $6, guarded = $7, held_by = nullif($8, ''),
			since_real = CASE WHEN state = $2 THEN since_real ELSE clock_timestamp() END WHERE account_id = $1`,
		is.Account, is.State, is.Wanted, is.CutCause, is.CommandID, is.SinceAt, is.Guarded, is.HeldBy)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: is.Site, Kind: "supply", ID: string(is.Account), Event: event, From: string(was.State), To: string(is.State), Refs: refs, Data: data})
}

// SupplyFacts is everything that counts for and against a cut, read under the lock of the supplies row.
// Package activities turns it into supply.Facts; nothing else may.
type SupplyFacts struct {
	Now           time.Time
	Supply        Supply
	Account       Account
	Class         billing.CustomerClass // today
	LifeSupport   bool                  // of the customer: it protects all its accounts
	Protections   []Protection
	Balance       billing.Money
	Deferred      billing.Money // what payment plans leave to be paid later
	Pending       billing.Money // recharges that are entered or on their way
	PendingCount  int
	Notice        *Notice          // the final notice of the open arrears case, if it was delivered
	Reading       *LastReading     // newest current reading of the fitted meter
	BlockingCases []billing.CaseID // every open case of the account or its meter: a flagged reading stops a cut also where bills go on
	StaleBills    []StaleBill      // issued bills whose readings were changed since: a correction has to follow
	Meter         billing.MeterID
	Approved      bool // a manager approved the cut
}

// Notice is a delivered final notice.
type Notice struct {
	MessageID   billing.MessageID
	DeliveredAt time.Time
	CutAt       time.Time // the instant that it names
}

// LastReading is what the newest reading of a meter says about its worth as ground for a cut.
type LastReading struct {
	FreezeAt time.Time
	Quality  billing.Quality
	Doubtful bool
	Supply   string // as read
}

// supplyFacts gathers the facts. The caller holds the lock of sup.
func supplyFacts(ctx context.Context, tx *Tx, sup Supply) (SupplyFacts, error) {
	f := SupplyFacts{Now: tx.Now, Supply: sup}
	var err error
	if f.Account, err = readAccount(ctx, tx, sup.Account); err != nil {
		return f, err
	}
	if f.Meter, err = fittedMeter(ctx, tx, sup.Account); err != nil {
		return f, err
	}
	if f.Balance, err = balanceOf(ctx, tx, sup.Account); err != nil {
		return f, err
	}
	if f.Deferred, err = deferredOf(ctx, tx, sup.Account); err != nil {
		return f, err
	}
	err = tx.QueryRow(ctx, `SELECT account_class_now($2), c.life_support, coalesce(p.fen, 0), coalesce(p.n, 0) FROM customers c, LATERAL (
			SELECT sum(amount_fen)::bigint AS fen, count(*) AS n FROM recharges
			WHERE account_id = $2 AND state NOT IN ('credited', 'rejected', 'expired')) p WHERE c.id = $1`,
		f.Account.Customer, sup.Account).Scan(&f.Class, &f.LifeSupport, &f.Pending, &f.PendingCount)
	if err != nil {
		return f, err
	}
	rows, _ := tx.Query(ctx, selectProtection+` WHERE account_id = $1 AND ended_at IS NULL AND until_at > $2 ORDER BY id`, sup.Account, tx.Now)
	if f.Protections, err = pgx.CollectRows(rows, pgx.RowToStructByName[Protection]); err != nil {
		return f, err
	}
	if sup.HeldBy != "" { // a person's order keeps it on: it is ended by another, never overridden by a cut
		held := Protection{Account: sup.Account, Kind: "keep_power", FromAt: tx.Now, UntilAt: tx.Now.Add(heldAhead), Owner: billing.UserID(sup.HeldBy), Reason: "held on by batch " + string(sup.HeldBy)}
		if sup.HoldOrdered() {
			held.Reason = "batch " + string(sup.HeldBy) + " holds it on in our books; the order to the meter is under way and not proved"
		}
		f.Protections = append(f.Protections, held)
	}
	rows, _ = tx.Query(ctx, `SELECT m.id AS message_id, m.delivered_at, r.cut_at FROM reminders r JOIN messages m ON m.account_id = r.account_id
			AND m.kind = 'final' AND m.state = 'delivered' AND m.cause LIKE r.id || '/final%'
		WHERE r.account_id = $1 AND r.state IN ('final', 'handed_over') AND r.cut_at IS NOT NULL ORDER BY m.delivered_at LIMIT 1`, sup.Account)
	if f.Notice, err = optional[Notice](rows); err != nil {
		return f, err
	}
	rows, _ = tx.Query(ctx, `
		SELECT r.freeze_at, r.quality,
			-- A reading whose cycle isn't closed has not been validated: nothing may rest on it yet.
			r.doubtful OR NOT EXISTS (SELECT 1 FROM good_readings g WHERE g.meter_id = r.meter_id AND g.freeze_at = r.freeze_at AND g.version = r.version) AS doubtful,
			r.supply
		FROM current_readings r WHERE r.meter_id = $1 ORDER BY r.freeze_at DESC LIMIT 1`, f.Meter)
	if f.Reading, err = optional[LastReading](rows); err != nil {
		return f, err
	}
	rows, _ = tx.Query(ctx, `SELECT DISTINCT k.id FROM cases k LEFT JOIN case_members cm ON cm.case_id = k.id AND cm.outcome = ''
		WHERE k.state = 'open' AND (k.account_id = $1 OR k.meter_id = $2 OR cm.meter_id = $2) ORDER BY 1`, sup.Account, f.Meter)
	if f.BlockingCases, err = pgx.CollectRows(rows, pgx.RowTo[billing.CaseID]); err != nil {
		return f, err
	}
	rows, _ = tx.Query(ctx, staleBills(`b.account_id = $1`), sup.Account)
	f.StaleBills, err = pgx.CollectRows(rows, pgx.RowToStructByName[StaleBill])
	return f, err
}

// heldAhead is how far the protection of a meter that is held on reaches: it has no end of its own, and is judged anew at every attempt.
const heldAhead = 24 * time.Hour

// optional reads at most one row; no row is nil.
func optional[T any](rows pgx.Rows) (*T, error) {
	v, err := pgx.CollectOneRow(rows, pgx.RowToAddrOfStructByName[T])
	if err == pgx.ErrNoRows {
		return nil, nil
	}
	return v, err
}

// FactsFor gathers the facts about an account's supply for the pages, without keeping the lock.
func (s *Store) FactsFor(ctx context.Context, account billing.AccountID) (SupplyFacts, error) {
	var f SupplyFacts
	err := pgx.BeginTxFunc(ctx, s.Pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(ptx pgx.Tx) error {
		tx := &Tx{Tx: ptx}
		if err := tx.QueryRow(ctx, `SELECT business_now()`).Scan(&tx.Now); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, selectSupply+` WHERE account_id = $1`, account)
		sup, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Supply])
		if err != nil {
			return accountError(err, account)
		}
		f, err = supplyFacts(ctx, tx, sup)
		return err
	})
	return f, translate(err)
}

// Judgement is what policy says of a cut: allowed or not, when to try again, and the printed decision with every reason.
type Judgement struct {
	Allowed bool
	// Again is when only the hour was against it: the next instant at which it may be tried. Zero otherwise.
	Again time.Time
	// NeedsManager says that only a manager's approval is missing.
	NeedsManager bool
	// Print is the decision as stored and shown.
	Print json.RawMessage
}

// Judge turns facts into a judgement; package activities gives it.
type Judge func(SupplyFacts) (Judgement, error)
