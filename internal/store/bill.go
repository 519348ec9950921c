package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// Bill is the priced use of one account and period. Quantity is raw units after the ratio: 0.01 kWh, litres.
type Bill struct {
	ID         billing.BillID
	Run        billing.RunID     `db:"run_id"`
	Site       billing.SiteID    `db:"site_id"`
	Account    billing.AccountID `db:"account_id"`
	Service    billing.Service
	PeriodFrom billing.Date
	PeriodTo   billing.Date
	Version    int
	State      billing.BillState
	HoldReason string
	Tariff     billing.TariffID `db:"tariff_id"`
	Engine     string           // version of the rating engine
	Quantity   int64
	Readings   json.RawMessage // []BillReading
	Input      json.RawMessage // what was rated: enough to rate it again
	TotalFen   billing.Money
	ChargedFen billing.Money // charged day by day in the period
	EntryID    *int64
}

const billColumns = `b.id, b.run_id, b.site_id, b.account_id, a.service, b.period_from, b.period_to, b.version, b.state, b.hold_reason, b.tariff_id, b.engine,
	b.quantity, b.readings, b.input, b.total_fen, b.charged_fen, b.entry_id`

// BillReading is what one fitting brought to a bill: raw registers at both ends.
type BillReading struct {
	Meter     billing.MeterID   `json:"meter"`
	Ratio     int64             `json:"ratio"`
	Digits    int               `json:"digits"`
	From      time.Time         `json:"from"`
	To        time.Time         `json:"to"`
	Opening   billing.Registers `json:"opening"`
	Closing   billing.Registers `json:"closing"`
	Estimated bool              `json:"estimated,omitempty"` // an end is estimated or interpolated
}

// BillLine is one printed line, rounded once.
type BillLine struct {
	Seq       int
	Component string
	NameZH    string
	NameEN    string
	Register  billing.Register
	Tier      int // counts from 1; 0 without steps
	FromAt    time.Time
	ToAt      time.Time
	Opening   *int64
	Closing   *int64
	Quantity  billing.Quantity
	Price     billing.Price
	Factor    billing.Factor
	AmountFen billing.Money
	// Unit is kVA, kW or yuan on a line by the month, else empty: the service's. Thirtieths is the part of the month that it charges.
	Unit       string
	Thirtieths int
}

// Draft is a bill as rated, or held without a price because its readings are in doubt.
type Draft struct {
	ID       billing.BillID
	Account  billing.AccountID
	Tariff   billing.TariffID
	Engine   string
	Hold     string // why it is held; empty for a draft
	Quantity int64
	Readings []BillReading
	Input    any
	TotalFen billing.Money
	Lines    []BillLine
}

// SaveDrafts stores a page of rated bills. Saving it again changes nothing. A held bill of an earlier version of the period is
// cancelled by the new one.
func (s *Store) SaveDrafts(ctx context.Context, by By, run billing.RunID, drafts []Draft) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRun(ctx, tx, run)
		if err != nil {
			return err
		}
		var texts []string
		for _, d := range drafts {
			fresh, err := insertDraft(ctx, tx, r, d)
			if err != nil {
				return fmt.Errorf("bill %s: %w", d.ID, err)
			}
			if fresh {
				texts = append(texts, fmt.Sprintf("%s %d %d", d.ID, d.Quantity, d.TotalFen))
			}
		}
		if len(texts) == 0 {
			return nil
		}
		return tx.Journal(ctx, Entry{Site: r.Site, Kind: "run", ID: string(run), Event: "page_rated", From: string(r.State), To: string(r.State),
			Data: map[string]any{"count": len(texts), "digest": digest(texts)}})
	})
}

func (d Draft) state() billing.BillState {
	if d.Hold != "" {
		return billing.BillHeld
	}
	return billing.BillDraft
}

func insertDraft(ctx context.Context, tx *Tx, r Run, d Draft) (bool, error) {
	readings, input, err := d.documents()
	if err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO bills (id, run_id, site_id, account_id, period_from, period_to, version, state, hold_reason, tariff_id, engine, quantity, readings, input, total_fen, charged_fen)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, coalesce((SELECT sum(amount_fen) FROM charges c WHERE c.account_id = $4 AND c.period_from = $5), 0)
		WHERE NOT EXISTS (SELECT 1 FROM bills WHERE account_id = $4 AND period_from = $5 AND state = 'issued') ON CONFLICT DO NOTHING`,
		d.ID, r.ID, r.Site, d.Account, r.PeriodFrom, r.PeriodTo, r.Version, d.state(), d.Hold, d.Tariff, d.Engine, d.Quantity, readings, input, d.TotalFen)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	if err := insertLines(ctx, tx, d); err != nil {
		return false, err
	}
	err = tx.Journal(ctx, Entry{Site: r.Site, Kind: "bill", ID: string(d.ID), Event: "rated", To: string(d.state()), Reason: d.Hold,
		Refs: []string{string(r.ID), string(d.Account)}, Data: d.facts()})
	if err != nil {
		return false, err
	}
	return true, supersede(ctx, tx, r, d)
}

// supersede cancels the held bills of earlier runs of the period.
func supersede(ctx context.Context, tx *Tx, r Run, d Draft) error {
	rows, _ := tx.Query(ctx, `UPDATE bills SET state = 'cancelled', hold_reason = $4 WHERE account_id = $1 AND period_from = $2 AND version < $3 AND state = 'held' RETURNING id`,
		d.Account, r.PeriodFrom, r.Version, "rated again as "+string(d.ID))
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, id := range ids {
		err := tx.Journal(ctx, Entry{Site: r.Site, Kind: "bill", ID: id, Event: "superseded", From: string(billing.BillHeld), To: string(billing.BillCancelled),
			Refs: []string{string(r.ID), string(d.Account), string(d.ID)}})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d Draft) documents() (readings, input string, err error) {
	list := d.Readings
	if list == nil {
		list = []BillReading{}
	}
	r, err := json.Marshal(list)
	if err != nil {
		return "", "", err
	}
	i, err := json.Marshal(d.Input)
	return string(r), string(i), err
}

// facts are the bill's lines in one digest: lines never change without the bill's chain saying so.
func (d Draft) facts() map[string]any {
	texts := make([]string, len(d.Lines))
	for i, l := range d.Lines {
		texts[i] = fmt.Sprintf("%d %s %d %d %s %s %s %d", l.Seq, l.Component, l.Register, l.Tier, l.Quantity, l.Price, l.Factor, l.AmountFen)
	}
	return map[string]any{"quantity": d.Quantity, "total_fen": d.TotalFen, "lines": len(d.Lines), "digest": digest(texts)}
}

func insertLines(ctx context.Context, tx *Tx, d Draft) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"bill_lines"},
		[]string{"bill_id", "seq", "component", "name_zh", "name_en", "register", "tier", "from_at", "to_at", "opening", "closing", "quantity", "price", "factor", "amount_fen", "unit", "thirtieths"},
		pgx.CopyFromSlice(len(d.Lines), func(i int) ([]any, error) {
			l := d.Lines[i]
			factor := l.Factor.String()
			if l.Factor.IsZero() {
				factor = "1" // the zero value means 1
			}
			return []any{d.ID, l.Seq, l.Component, l.NameZH, l.NameEN, int(l.Register), l.Tier, l.FromAt, l.ToAt, l.Opening, l.Closing,
				numeric(l.Quantity.String()), numeric(l.Price.String()), numeric(factor), int64(l.AmountFen), l.Unit, l.Thirtieths}, nil
		}))
	return err
}

// lockBill reads a bill and keeps it from changing until the transaction ends.
func lockBill(ctx context.Context, tx *Tx, id billing.BillID) (Bill, error) {
	rows, _ := tx.Query(ctx, `SELECT `+billColumns+` FROM bills b JOIN accounts a ON a.id = b.account_id WHERE b.id = $1 FOR UPDATE OF b`, id)
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Bill])
}

// openRun locks a run whose bills may still be held or released. A verification is void with it: what was verified has changed.
func openRun(ctx context.Context, tx *Tx, id billing.RunID) (Run, error) {
	r, err := lockRun(ctx, tx, id)
	if err != nil {
		return r, err
	}
	if r.IssuedBy != nil || (r.State != billing.RunAwaitingVerification && r.State != billing.RunVerified) {
		return r, billing.Errorf(billing.CodeClosed, "run %s is %s: bills are held or released after rating and before it is issued", id, r.State)
	}
	return r, nil
}

func reopenRun(ctx context.Context, tx *Tx, r Run) error {
	totals, err := sumRun(ctx, tx, r)
	if err != nil {
		return err
	}
	return moveRun(ctx, tx, r, "totals_changed", billing.RunAwaitingVerification, totals, `, totals = $3, verified_by = NULL, verified_at = NULL`, totals.json())
}

// HoldBill keeps a draft out of its run until a supervisor releases it.
func (s *Store) HoldBill(ctx context.Context, by By, run billing.RunID, id billing.BillID, reason string) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := openRun(ctx, tx, run)
		if err != nil {
			return err
		}
		b, err := lockBill(ctx, tx, id)
		if err != nil {
			return err
		}
		if b.Run != run || b.State == billing.BillHeld {
			return refuseBill(b, run, "is held already")
		}
		if _, err := tx.Exec(ctx, `UPDATE bills SET state = 'held', hold_reason = $2 WHERE id = $1`, id, reason); err != nil {
			return err
		}
		err = tx.Journal(ctx, Entry{Site: b.Site, Kind: "bill", ID: string(id), Event: "held", From: string(b.State), To: string(billing.BillHeld), Reason: reason,
			Refs: []string{string(run), string(b.Account)}})
		if err != nil {
			return err
		}
		return reopenRun(ctx, tx, r)
	})
}

func refuseBill(b Bill, run billing.RunID, what string) error {
	if b.Run != run {
		return billing.Errorf(billing.CodeInvalidInput, "bill %s does not belong to run %s: open it from its own run", b.ID, run)
	}
	return billing.Errorf(billing.CodeClosed, "bill %s %s: nothing was changed", b.ID, what)
}

// ReleaseBill puts a held bill back into its run, rated again: d carries the new price.
func (s *Store) ReleaseBill(ctx context.Context, by By, run billing.RunID, d Draft, reason string) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := openRun(ctx, tx, run)
		if err != nil {
			return err
		}
		b, err := lockBill(ctx, tx, d.ID)
		if err != nil {
			return err
		}
		if b.Run != run || b.State != billing.BillHeld {
			return refuseBill(b, run, "is not held")
		}
		readings, input, err := d.documents()
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE bills SET state = 'draft', hold_reason = '', quantity = $2, readings = $3, input = $4, total_fen = $5, engine = $6,
			charged_fen = coalesce((SELECT sum(amount_fen) FROM charges c WHERE c.account_id = bills.account_id AND c.period_from = bills.period_from), 0) WHERE id = $1`,
			d.ID, d.Quantity, readings, input, d.TotalFen, d.Engine)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM bill_lines WHERE bill_id = $1`, d.ID); err != nil {
			return err
		}
		if err := insertLines(ctx, tx, d); err != nil {
			return err
		}
		err = tx.Journal(ctx, Entry{Site: b.Site, Kind: "bill", ID: string(d.ID), Event: "released", From: string(b.State), To: string(billing.BillDraft), Reason: reason,
			Refs: []string{string(run), string(b.Account)}, Data: d.facts()})
		if err != nil {
			return err
		}
		return reopenRun(ctx, tx, r)
	})
}

// IssueBills issues a page of a run's drafts, after the given bill: what was charged day by day becomes revenue, and what wasn't is
// taken from the customer's credit. It gives the last bill's number, empty when none was left.
func (s *Store) IssueBills(ctx context.Context, by By, run billing.RunID, after billing.BillID, limit int) (last billing.BillID, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		r, err := lockRun(ctx, tx, run)
		if err != nil {
			return err
		}
		if r.State == billing.RunIssued {
			return nil
		}
		if r.IssuedBy == nil {
			return billing.Errorf(billing.CodeBlocked, "run %s was not approved for issue by a second supervisor", run)
		}
		rows, _ := tx.Query(ctx, `SELECT `+billColumns+` FROM bills b JOIN accounts a ON a.id = b.account_id
			WHERE b.run_id = $1 AND b.state = 'draft' AND b.id > $2 ORDER BY b.id LIMIT $3 FOR UPDATE OF b`, run, after, limit)
		bills, err := pgx.CollectRows(rows, pgx.RowToStructByName[Bill])
		if err != nil {
			return err
		}
		for _, b := range bills {
			if err := issueBill(ctx, tx, b); err != nil {
				return fmt.Errorf("bill %s: %w", b.ID, err)
			}
			last = b.ID
		}
		return nil
	})
	return last, err
}

func issueBill(ctx context.Context, tx *Tx, b Bill) error {
	// The balance's row is the lock between the daily charge and the bill: afterwards the period takes no more charges.
	if _, err := tx.Exec(ctx, `SELECT 1 FROM balances WHERE account_id = $1 FOR UPDATE`, b.Account); err != nil {
		return err
	}
	var charged billing.Money
	err := tx.QueryRow(ctx, `SELECT coalesce(sum(amount_fen), 0)::bigint FROM charges WHERE account_id = $1 AND period_from = $2`, b.Account, b.PeriodFrom).Scan(&charged)
	if err != nil {
		return err
	}
	rest, err := b.TotalFen.Sub(charged)
	if err != nil {
		return err
	}
	e := ledger.Entry{Site: b.Site, Kind: ledger.KindBillIssued, Key: "bill/" + string(b.ID) + "/issued", Subject: string(b.ID)}
	for _, p := range []ledger.Posting{{Code: ledger.Unbilled(b.Site), Amount: charged}, {Code: ledger.Customer(b.Account), Amount: rest},
		{Code: ledger.RevenueOf(b.Site, b.Service), Amount: -b.TotalFen}} {
		if p.Amount != 0 {
			e.Postings = append(e.Postings, p)
		}
	}
	var entry *int64
	if len(e.Postings) > 0 {
		id, err := Post(ctx, tx, e)
		if err != nil {
			return err
		}
		entry = &id
	}
	if _, err := tx.Exec(ctx, `UPDATE bills SET state = 'issued', charged_fen = $2, entry_id = $3 WHERE id = $1`, b.ID, charged, entry); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: b.Site, Kind: "bill", ID: string(b.ID), Event: "issued", From: string(b.State), To: string(billing.BillIssued),
		Refs: []string{string(b.Run), string(b.Account)}, Data: map[string]any{"total_fen": b.TotalFen, "charged_fen": charged, "rest_fen": rest}})
}

// numeric is an exact decimal for COPY.
func numeric(s string) pgtype.Numeric {
	var n pgtype.Numeric
	_ = n.Scan(s) // the text of a billing number always scans
	return n
}

// Bill reads one bill.
func (s *Store) Bill(ctx context.Context, id billing.BillID) (Bill, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+billColumns+` FROM bills b JOIN accounts a ON a.id = b.account_id WHERE b.id = $1`, id)
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Bill])
	return b, translate(err)
}
