package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Exchange is the order to take a meter off its service point and fit another: closing and opening reading in one act. The balance and
// the step accumulation are the account's, so they stay; Ratio of the new meter holds from the exchange on.
type Exchange struct {
	Old     billing.MeterID
	Closing billing.Registers
	New     Meter // ID, Serial and what differs; see the activity that fills it
	Opening billing.Registers
	At      time.Time
	// Remaining is what the old meter still held, where it holds the money: it goes on to the new one. Nil where the balance is ours.
	Remaining *billing.Money
	// RemainingLitres is the same of a meter that holds a volume. WithNext says that they are too few to be delivered and proved alone.
	RemainingLitres *int64
	WithNext        bool
	RemainingFrom   string // where what remained is known from: RemainingFromDisplay or RemainingFromReading; empty without it
	By              billing.UserID
	Reason          string
	Nonce           string // makes a repeated order one exchange
}

// Where the remaining credit of an old meter is known from.
const (
	RemainingFromDisplay = "display" // a person read it off the display
	RemainingFromReading = "reading" // the last value that was read over the line
)

// MeterExchange is an exchange that was done, and what of it is still on its way to the new meter.
type MeterExchange struct {
	ID            billing.ExchangeID
	Site          billing.SiteID    `db:"site_id"`
	Account       billing.AccountID `db:"account_id"` // empty for a meter that nobody is billed by
	Old           billing.MeterID   `db:"old_meter_id"`
	New           billing.MeterID   `db:"new_meter_id"`
	Case          billing.CaseID    `db:"case_id"` // that it settled; empty for a planned exchange
	ExchangedAt   time.Time
	MadeBy        billing.UserID
	Reason        string
	Remaining     *billing.Money `db:"remaining_fen"`
	Litres        *int64         `db:"remaining_litres"` // instead, of a meter that held a volume
	RemainingFrom string
	Credit        string // none, delivering, in_doubt, credited, with_next
	Hold          string // none, wanted, held, dropped
	State         string // open, done
	SettledAt     *time.Time
}

// What becomes of the credit and of the hold of an exchanged meter. The act is done when neither is under way.
const (
	CarryNone       = "none"
	CarryDelivering = "delivering"
	CarryInDoubt    = "in_doubt"
	CarryCredited   = "credited"
	CarryWithNext   = "with_next" // the account's next recharge takes it along

	HoldNone    = "none"
	HoldWanted  = "wanted"
	HoldHeld    = "held"
	HoldDropped = "dropped" // its reason had ended before the new meter was reached

	ExchangeOpen = "open"
	ExchangeDone = "done"
)

const selectExchange = `SELECT id, site_id, coalesce(account_id, '') AS account_id, old_meter_id, new_meter_id, coalesce(case_id, '') AS case_id, exchanged_at, made_by, reason,
	remaining_fen, remaining_litres, remaining_from, credit, hold, state, settled_at FROM exchanges`

func (x MeterExchange) cause() string { return "exchange/" + string(x.ID) }

func (x MeterExchange) refs() []string {
	return []string{string(x.Account), string(x.Old), string(x.New), string(x.Case)}
}

// MeterExchange reads one exchange.
func (s *Store) MeterExchange(ctx context.Context, id billing.ExchangeID) (MeterExchange, error) {
	rows, _ := s.Pool.Query(ctx, selectExchange+` WHERE id = $1`, id)
	x, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[MeterExchange])
	return x, translate(err)
}

// ExchangesOf reads the exchanges that a meter had a part in, as the old one or the new one, newest first.
func (s *Store) ExchangesOf(ctx context.Context, meter billing.MeterID) ([]MeterExchange, error) {
	rows, _ := s.Pool.Query(ctx, selectExchange+` WHERE old_meter_id = $1 OR new_meter_id = $1 ORDER BY exchanged_at DESC`, meter)
	xs, err := pgx.CollectRows(rows, pgx.RowToStructByName[MeterExchange])
	return xs, translate(err)
}

// ExchangeOrdered is the exchange that an order came to; empty when it wasn't carried out.
func (s *Store) ExchangeOrdered(ctx context.Context, nonce string) (billing.ExchangeID, error) {
	var x billing.ExchangeID
	err := s.Pool.QueryRow(ctx, `SELECT coalesce((SELECT id FROM exchanges WHERE nonce = $1), '')`, nonce).Scan(&x)
	return x, translate(err)
}

// OpenDoubtOf is an open case that doubts or misses a reading of a meter; empty when there is none.
func (s *Store) OpenDoubtOf(ctx context.Context, meter billing.MeterID) (billing.CaseID, error) {
	var id billing.CaseID
	err := s.Pool.QueryRow(ctx, `SELECT coalesce((SELECT min(c.id) FROM case_members m JOIN cases c ON c.id = m.case_id WHERE m.meter_id = $1 AND m.outcome = '' AND c.state = 'open'), '')`, meter).Scan(&id)
	return id, translate(err)
}

// ExchangeOfCase is the exchange that settled a case; empty when none did.
func (s *Store) ExchangeOfCase(ctx context.Context, id billing.CaseID) (billing.ExchangeID, error) {
	var x billing.ExchangeID
	err := s.Pool.QueryRow(ctx, `SELECT coalesce((SELECT id FROM exchanges WHERE case_id = $1), '')`, id).Scan(&x)
	return x, translate(err)
}

// CreditSeen is what is known of the credit in a meter that holds it.
type CreditSeen struct {
	At  *time.Time     // when it was seen last; nil when it never was
	Fen *billing.Money // what it showed then
	// Since is what may have been credited after that without having been seen. Balance is the shadow ledger's.
	Since, Balance billing.Money
}

// Most is the most that the meter can hold: it only goes down, except by our purchases. A meter that never showed anything can't hold
// more than the shadow ledger says.
func (c CreditSeen) Most() billing.Money {
	if c.Fen == nil {
		return max(c.Balance, 0) + c.Since
	}
	return *c.Fen + c.Since
}

// CreditSeen reads what a meter showed of its credit last, in a reading or as the proof of a delivery.
func (s *Store) CreditSeen(ctx context.Context, meter billing.MeterID) (CreditSeen, error) {
	var c CreditSeen
	err := s.Pool.QueryRow(ctx, `WITH seen AS (
			SELECT * FROM (
				(SELECT taken_at AS at, remaining_fen AS fen FROM readings WHERE meter_id = $1 AND quality = 'actual' AND remaining_fen IS NOT NULL ORDER BY freeze_at DESC, version DESC LIMIT 1)
				UNION ALL (SELECT settled_at, remaining_after_fen FROM commands WHERE meter_id = $1 AND kind = 'credit' AND state = 'verified' AND remaining_after_fen IS NOT NULL
					ORDER BY settled_at DESC LIMIT 1)) looks ORDER BY at DESC LIMIT 1)
		SELECT (SELECT at FROM seen), (SELECT fen FROM seen),
			coalesce((SELECT sum(amount_fen) FROM commands c WHERE meter_id = $1 AND kind = 'credit' AND (state IN ('sending', 'acknowledged', 'unknown')
				OR state = 'verified' AND (settled_at > (SELECT at FROM seen) OR remaining_after_fen IS NULL AND NOT EXISTS (SELECT 1 FROM seen)))), 0)::bigint,
			coalesce((SELECT b.balance_fen FROM fittings f JOIN accounts a ON a.service_point_id = f.service_point_id JOIN balances b ON b.account_id = a.id
				WHERE f.meter_id = $1 AND f.to_at IS NULL), 0)`, meter).Scan(&c.At, &c.Fen, &c.Since, &c.Balance)
	return c, translate(err)
}

// ExchangeMeter carries out a planned exchange, in one transaction with everything that follows for credit and supply. An order that
// was carried out already gives its exchange back. ups are the estimates that the closing reading spreads again.
func (s *Store) ExchangeMeter(ctx context.Context, by By, e Exchange, ups []TrueUp) (MeterExchange, error) {
	var x MeterExchange
	err := s.Change(ctx, by, func(tx *Tx) error {
		if _, _, err := lockSupplyOf(ctx, tx, e.Old); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, selectExchange+` WHERE nonce = $1`, e.Nonce)
		done, err := optional[MeterExchange](rows)
		if err != nil {
			return err
		}
		if done != nil {
			x = *done
			return nil
		}
		if err := billedAsSeen(ctx, tx, billedOf(ups)); err != nil {
			return err
		}
		for _, t := range ups {
			t.Refs = append(t.Refs, string(e.Old))
			if err := saveTrueUp(ctx, tx, t); err != nil {
				return err
			}
		}
		x, err = exchangeMeter(ctx, tx, e, "")
		return err
	})
	return x, err
}

// lockSupplyOf takes the lock of the supply behind a fitted meter. ok is false when no account is behind it.
func lockSupplyOf(ctx context.Context, tx *Tx, meter billing.MeterID) (sup Supply, ok bool, err error) {
	var account billing.AccountID
	err = tx.QueryRow(ctx, `SELECT a.id FROM fittings f JOIN accounts a ON a.service_point_id = f.service_point_id WHERE f.meter_id = $1 AND f.to_at IS NULL`, meter).Scan(&account)
	if err == pgx.ErrNoRows {
		return sup, false, nil
	}
	if err != nil {
		return sup, false, err
	}
	sup, err = lockSupply(ctx, tx, account)
	return sup, true, err
}

// exchangeMeter is the act: the old meter goes, the new one is fitted, what is on its way to the old one is stopped or turned to the
// new one, and the remaining credit and a hold are ordered at the new one. The caller holds the lock of the supply.
func exchangeMeter(ctx context.Context, tx *Tx, e Exchange, of billing.CaseID) (MeterExchange, error) {
	x := MeterExchange{Site: e.New.Site, Old: e.Old, New: e.New.ID, Case: of, ExchangedAt: e.At, MadeBy: e.By, Reason: e.Reason,
		Remaining: e.Remaining, Litres: e.RemainingLitres, RemainingFrom: e.RemainingFrom, Credit: CarryNone, Hold: HoldNone}
	sup, account, err := lockSupplyOf(ctx, tx, e.Old)
	if err != nil {
		return x, err
	}
	if err := exchangeable(ctx, tx, e); err != nil {
		return x, err
	}
	if err := tx.QueryRow(ctx, `SELECT 'E' || nextval('exchange_no')`).Scan(&x.ID); err != nil {
		return x, err
	}
	if err := refit(ctx, tx, e, []string{string(x.ID), string(of)}); err != nil {
		return x, err
	}
	if account {
		x.Account = sup.Account
		if err := turnCredit(ctx, tx, x); err != nil {
			return x, err
		}
		if x.Hold, err = turnSupply(ctx, tx, sup, x); err != nil {
			return x, err
		}
		switch {
		case e.Remaining != nil && *e.Remaining > 0, e.RemainingLitres != nil && *e.RemainingLitres > 0 && !e.WithNext:
			x.Credit = CarryDelivering
		case e.WithNext:
			x.Credit = CarryWithNext
		}
	}
	if err := insertExchange(ctx, tx, &x, e.Nonce); err != nil {
		return x, err
	}
	if x.Credit != CarryDelivering {
		return x, nil
	}
	// The order stands from the first instant on, so that no reading calls the new meter's empty balance a drift.
	return x, new(CreditTask).next(ctx, tx, true, x.delivery(x.New))
}

// CheckExchange says whether an exchange would be refused for what the new meter is, or for an order that is under way. It changes nothing.
func (s *Store) CheckExchange(ctx context.Context, e Exchange) error {
	return translate(exchangeable(ctx, s.Pool, e))
}

// exchangeable refuses what can't be fitted, and an exchange while an order to the old meter is under way.
func exchangeable(ctx context.Context, tx querier, e Exchange) error {
	if e.New.ID == e.Old || e.New.Serial == "" {
		return billing.Errorf(billing.CodeInvalidInput, "the new meter needs a number and a serial of its own: type what stands on its plate")
	}
	var sameID, sameSerial, sameUnit *billing.MeterID
	var busy bool
	err := tx.QueryRow(ctx, `SELECT (SELECT id FROM meters WHERE id = $1), (SELECT id FROM meters WHERE serial = $2),
			(SELECT id FROM meters WHERE gateway_id = $3 AND unit = $4 AND state = 'fitted' AND id <> $5),
			EXISTS (SELECT 1 FROM commands WHERE meter_id = $5 AND (kind = 'credit' OR kind IN `+switchKinds+`)
				AND (state IN ('sending', 'acknowledged') OR state = 'requested' AND kind <> 'credit'))`,
		e.New.ID, e.New.Serial, e.New.Gateway, e.New.Unit, e.Old).Scan(&sameID, &sameSerial, &sameUnit, &busy)
	switch {
	case err != nil:
		return err
	case sameID != nil:
		return billing.Errorf(billing.CodeInvalidInput, "the number %s is another meter's already: give the new meter a number of its own", e.New.ID)
	case sameSerial != nil:
		return billing.Errorf(billing.CodeInvalidInput, "the serial %s is that of meter %s: copy the new meter's serial from its plate", e.New.Serial, *sameSerial)
	case sameUnit != nil:
		return billing.Errorf(billing.CodeInvalidInput, "unit %d of gateway %s is meter %s: set another unit at the new meter", e.New.Unit, e.New.Gateway, *sameUnit)
	case busy:
		return billing.Errorf(billing.CodeBlocked, "an order to meter %s is under way: try again in a minute, when its outcome is known", e.Old)
	}
	return nil
}

// refit closes the old meter's fitting and opens the new one's.
func refit(ctx context.Context, tx *Tx, e Exchange, refs []string) error {
	var point billing.ServicePointID
	err := tx.QueryRow(ctx, `UPDATE fittings SET to_at = $2, closing = $3 WHERE meter_id = $1 AND to_at IS NULL RETURNING service_point_id`,
		e.Old, e.At, e.Closing).Scan(&point)
	if err == pgx.ErrNoRows {
		return billing.Errorf(billing.CodeConflict, "meter %s is not fitted any more: open the meter's page and decide again", e.Old)
	}
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE meters SET state = 'removed' WHERE id = $1`, e.Old); err != nil {
		return err
	}
	err = tx.Journal(ctx, Entry{Site: e.New.Site, Kind: "meter", ID: string(e.Old), Event: "removed", From: "fitted", To: "removed",
		Refs: append([]string{string(point), string(e.New.ID)}, refs...), Data: map[string]any{"at": e.At, "closing": e.Closing}})
	if err != nil {
		return err
	}
	return fitMeter(ctx, tx, NewFitting{Meter: e.New, ServicePoint: point, At: e.At, Opening: e.Opening}, append([]string{string(e.Old)}, refs...))
}

// turnCredit cancels deliveries that were never sent to the old meter, and turns their money to the new one. One that may have arrived
// stays with the old meter until it is settled: what the old meter held may contain it.
func turnCredit(ctx context.Context, tx *Tx, x MeterExchange) error {
	rows, _ := tx.Query(ctx, selectCommand+` WHERE meter_id = $1 AND kind = 'credit' AND state = 'requested' FOR UPDATE`, x.Old)
	unsent, err := pgx.CollectRows(rows, pgx.RowToStructByName[Command])
	if err != nil {
		return err
	}
	for _, c := range unsent {
		if err := cancelCommand(ctx, tx, c); err != nil {
			return err
		}
	}
	rows, _ = tx.Query(ctx, `SELECT `+rechargeColumns+` FROM recharges r WHERE r.account_id = $1 AND r.meter_id = $2 AND r.state = 'delivering'
		AND NOT EXISTS (SELECT 1 FROM commands c WHERE c.meter_id = $2 AND c.state = 'unknown' AND split_part(c.cause, '/', 2) = r.id) FOR UPDATE`, x.Account, x.Old)
	turned, err := pgx.CollectRows(rows, pgx.RowToStructByName[Recharge])
	if err != nil {
		return err
	}
	for _, r := range turned {
		r.Meter = x.New
		if err := moveRecharge(ctx, tx, &r, billing.RechargeDelivering, "meter_exchanged", []string{string(x.ID), string(x.Old)}, nil); err != nil {
			return err
		}
	}
	return nil
}

// exchanged is why an order to the old meter ends.
const exchanged = "the meter was exchanged"

func cancelCommand(ctx context.Context, tx *Tx, c Command) error {
	was := c.State
	c.State, c.Error = billing.CommandCancelled, exchanged
	return saveCommand(ctx, tx, was, c, "cancelled")
}

// turnSupply says what is known of supply now, and whether the new meter is to be held on. Nothing that was proved at the old meter is
// proved at the new one: a hold is ordered anew, a switching order in doubt ends, and a cut that was done is neither forgotten nor ordered
// at the new meter.
func turnSupply(ctx context.Context, tx *Tx, sup Supply, x MeterExchange) (hold string, err error) {
	rows, _ := tx.Query(ctx, selectCommand+` WHERE meter_id = $1 AND kind IN `+switchKinds+` AND state = 'unknown' FOR UPDATE`, x.Old)
	doubtful, err := pgx.CollectRows(rows, pgx.RowToStructByName[Command])
	if err != nil {
		return "", err
	}
	for _, c := range doubtful {
		if err := endSwitch(ctx, tx, &sup, c); err != nil {
			return "", err
		}
	}
	was := sup
	hold = HoldNone
	if (sup.Guarded || sup.HeldBy != "") && sup.Wanted == billing.SupplyOn {
		hold = HoldWanted
	}
	sup.Guarded = false
	if sup.State != billing.SupplyOn || sup.Wanted != billing.SupplyOn {
		sup.State = billing.SupplyUnknown
	}
	return hold, saveSupply(ctx, tx, was, sup, "meter_exchanged", append(x.refs(), string(x.ID)), map[string]any{"hold": hold})
}

// endSwitch ends a switching order to the old meter whose effect nobody knows. A cut in doubt is withdrawn: its customer has supply from the
// new meter. What ordered anything else orders it again, at the new meter.
func endSwitch(ctx context.Context, tx *Tx, sup *Supply, c Command) error {
	if owner, id := c.Owner(); owner == "cutoff" {
		_, cut, err := lockCut(ctx, tx, id)
		if err != nil {
			return err
		}
		if !cut.Ended() && cut.CommandID == c.ID {
			return withdrawCut(ctx, tx, sup, &cut, exchanged)
		}
	}
	if err := cancelCommand(ctx, tx, c); err != nil {
		return err
	}
	if _, err := settleCase(ctx, tx, "command/"+string(c.ID), "exchange", exchanged); err != nil || sup.CommandID != string(c.ID) {
		return err
	}
	was := *sup
	sup.CommandID = ""
	return saveSupply(ctx, tx, was, *sup, "order_ended", []string{string(c.ID)}, nil)
}

func insertExchange(ctx context.Context, tx *Tx, x *MeterExchange, nonce string) error {
	x.settle(tx.Now)
	_, err := tx.Exec(ctx, `INSERT INTO exchanges (id, site_id, account_id, old_meter_id, new_meter_id, case_id, nonce, exchanged_at, made_by, reason, remaining_fen,
			remaining_litres, remaining_from, credit, hold, state, settled_at)
		VALUES ($1, $2, nullif($3, ''), $4, $5, nullif($6, ''), $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
		x.ID, x.Site, x.Account, x.Old, x.New, x.Case, nonce, x.ExchangedAt, x.MadeBy, x.Reason, x.Remaining, x.Litres, x.RemainingFrom, x.Credit, x.Hold, x.State, x.SettledAt)
	if err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: x.Site, Kind: "exchange", ID: string(x.ID), Event: "exchanged", To: x.State, Actor: string(x.MadeBy), Reason: x.Reason, Refs: x.refs(),
		Data: map[string]any{"remaining_fen": x.Remaining, "remaining_litres": x.Litres, "remaining_from": x.RemainingFrom, "credit": x.Credit, "hold": x.Hold}})
}

// settle says whether anything is still under way.
func (x *MeterExchange) settle(now time.Time) {
	x.State = ExchangeOpen
	if x.Credit != CarryDelivering && x.Credit != CarryInDoubt && x.Hold != HoldWanted {
		x.State, x.SettledAt = ExchangeDone, &now
	}
}

// delivery is the order that carries the remaining credit to a meter.
func (x MeterExchange) delivery(to billing.MeterID) Command {
	return Command{Site: x.Site, Account: x.Account, Meter: to, Cause: x.cause(), Amount: x.Remaining}
}

// lockExchange locks the supply and then the exchange.
func lockExchange(ctx context.Context, tx *Tx, id billing.ExchangeID) (Supply, MeterExchange, error) {
	var account billing.AccountID
	if err := tx.QueryRow(ctx, `SELECT coalesce(account_id, '') FROM exchanges WHERE id = $1`, id).Scan(&account); err != nil {
		return Supply{}, MeterExchange{}, err
	}
	sup, err := lockSupply(ctx, tx, account)
	if err != nil {
		return sup, MeterExchange{}, err
	}
	rows, _ := tx.Query(ctx, selectExchange+` WHERE id = $1 FOR UPDATE`, id)
	x, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[MeterExchange])
	return sup, x, err
}

func saveExchange(ctx context.Context, tx *Tx, x *MeterExchange, event string, refs []string, data any) error {
	was := x.State
	x.settle(tx.Now)
	if _, err := tx.Exec(ctx, `UPDATE exchanges SET credit = $2, hold = $3, state = $4, settled_at = $5 WHERE id = $1`, x.ID, x.Credit, x.Hold, x.State, x.SettledAt); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: x.Site, Kind: "exchange", ID: string(x.ID), Event: event, From: was, To: x.State, Refs: append(x.refs(), refs...), Data: data})
}
