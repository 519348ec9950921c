package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/meterflow/meterflow/internal/billing"
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
	LateFen    billing.Money // the part of TotalFen that late fees are
	ChargedFen billing.Money // charged day by day in the period
	EntryID    *int64
}

const billColumns = `b.id, b.run_id, b.site_id, b.account_id, a.service, b.period_from, b.period_to, b.version, b.state, b.hold_reason, b.tariff_id, b.engine,
	b.quantity, b.readings, b.input, b.total_fen, b.late_fen, b.charged_fen, b.entry_id`

// Taxes are the taxes of the prices that a bill was rated by, as in force on its last day; none for a bill that couldn't be rated.
func (b Bill) Taxes() ([]billing.Component, error) {
	var in struct {
		Tariff billing.Tariff `json:"tariff"`
		Terms  []struct {
			From   billing.Date    `json:"from"`
			Tariff *billing.Tariff `json:"tariff"`
		} `json:"terms"`
	}
	if len(b.Input) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(b.Input, &in); err != nil {
		return nil, err
	}
	last, tariff := b.PeriodTo.AddDays(-1), in.Tariff
	for _, t := range in.Terms {
		if t.From.After(last) {
			break
		}
		if tariff = in.Tariff; t.Tariff != nil {
			tariff = *t.Tariff
		}
	}
	v, _, err := tariff.VersionAt(last)
	if err != nil {
		return nil, nil // there was no price, so nothing was rated
	}
	return slices.DeleteFunc(v.Components, func(c billing.Component) bool { return c.Kind != billing.KindTax }), nil
}

// Reverse is the energy in kWh that went the other way in the bill's months, as it was known when it was rated: reported, never netted. Zero where nobody knows of
// any.
func (b Bill) Reverse() (billing.Quantity, error) {
	var in struct {
		Months []struct {
			Reverse billing.Quantity `json:"reverse"`
		} `json:"months"`
	}
	var sum billing.Quantity
	if len(b.Input) == 0 {
		return sum, nil
	}
	if err := json.Unmarshal(b.Input, &in); err != nil {
		return sum, err
	}
	for _, m := range in.Months {
		var err error
		if sum, err = sum.Add(m.Reverse); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

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

// BillEnd is an issued bill with what the last of its meters showed at its end.
type BillEnd struct {
	Bill billing.BillID
	Last BillReading
}

// BillsEnding reads the issued bills of a page of accounts that end on a day.
func (s *Store) BillsEnding(ctx context.Context, accounts []billing.AccountID, day billing.Date) (map[billing.AccountID]BillEnd, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT account_id, id, readings -> -1 FROM bills WHERE account_id = ANY($1) AND state = 'issued' AND period_to = $2 AND jsonb_array_length(readings) > 0`, accounts, day)
	ends := map[billing.AccountID]BillEnd{}
	var account billing.AccountID
	var b BillEnd
	_, err := pgx.ForEachRow(rows, []any{&account, &b.Bill, &b.Last}, func() error {
		ends[account], b = b, BillEnd{}
		return nil
	})
	return ends, translate(err)
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
	LateFen  billing.Money // the part of TotalFen that late fees are
	Lines    []BillLine
	Stops    []BillStop // why limits of the site stopped it; Hold says the same in words
}

func (d Draft) state() billing.BillState {
	if d.Hold != "" {
		return billing.BillHeld
	}
	return billing.BillDraft
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

// facts are the bill in one row of its journal: lines never change without the bill's chain saying so.
func (d Draft) facts() map[string]any {
	return map[string]any{"quantity": d.Quantity, "total_fen": d.TotalFen, "lines": len(d.Lines), "digest": hex.EncodeToString(linesDigest(d.Lines))}
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
	if err := planChunks(ctx, tx, r); err != nil {
		return r, err
	}
	if r.IssuedBy != nil || (r.State != billing.RunAwaitingVerification && r.State != billing.RunVerified) {
		return r, billing.Errorf(billing.CodeClosed, "run %s is %s: bills are held or released after rating and before it is issued", id, r.State)
	}
	return r, nil
}

// reopenRun sums a run again whose drafts were changed by other means than HoldBill and ReleaseBill, which know what they moved.
func reopenRun(ctx context.Context, tx *Tx, r Run) error {
	if err := recountChunks(ctx, tx, r.ID); err != nil {
		return err
	}
	return reopenSummed(ctx, tx, r)
}

// reopenSummed hands a run back to its verifier with new totals: what was verified has changed.
func reopenSummed(ctx context.Context, tx *Tx, r Run) error {
	totals, err := sumRun(ctx, tx, r)
	if err != nil {
		return err
	}
	return moveRun(ctx, tx, r, "totals_changed", billing.RunAwaitingVerification, totals, `, totals = $3, verified_by = NULL, verified_at = NULL`, totals.json())
}

// HoldBills keeps drafts out of their run until a supervisor releases them: all of them, or none when one is refused.
func (s *Store) HoldBills(ctx context.Context, by By, run billing.RunID, ids []billing.BillID, reason string) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := openRun(ctx, tx, run)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := holdBill(ctx, tx, r, id, reason); err != nil {
				return err
			}
		}
		return reopenSummed(ctx, tx, r)
	})
}

func holdBill(ctx context.Context, tx *Tx, r Run, id billing.BillID, reason string) error {
	b, err := lockBill(ctx, tx, id)
	if err != nil {
		return err
	}
	if b.Run != r.ID || b.State == billing.BillHeld {
		return refuseBill(b, r.ID, "is held already")
	}
	if _, err := tx.Exec(ctx, `UPDATE bills SET state = 'held', hold_reason = $2 WHERE id = $1`, id, reason); err != nil {
		return err
	}
	if err := adjustChunk(ctx, tx, r, b, -1); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: b.Site, Kind: "bill", ID: string(id), Event: "held", From: string(b.State), To: string(billing.BillHeld), Reason: reason,
		Refs: []string{string(r.ID), string(b.Account)}})
}

func refuseBill(b Bill, run billing.RunID, what string) error {
	if b.Run != run {
		return billing.Errorf(billing.CodeInvalidInput, "bill %s does not belong to run %s: open it from its own run", b.ID, run)
	}
	return billing.Errorf(billing.CodeClosed, "bill %s %s: nothing was changed", b.ID, what)
}

// ReleaseBills puts held bills back into their run, rated again, all of them or none: each draft carries the new price.
func (s *Store) ReleaseBills(ctx context.Context, by By, run billing.RunID, drafts []Draft, reason string) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		r, err := openRun(ctx, tx, run)
		if err != nil {
			return err
		}
		for _, d := range drafts {
			if err := releaseBill(ctx, tx, r, d, reason); err != nil {
				return err
			}
		}
		return reopenSummed(ctx, tx, r)
	})
}

func releaseBill(ctx context.Context, tx *Tx, r Run, d Draft, reason string) error {
	b, err := lockBill(ctx, tx, d.ID)
	if err != nil {
		return err
	}
	if b.Run != r.ID || b.State != billing.BillHeld {
		return refuseBill(b, r.ID, "is not held")
	}
	readings, input, err := d.documents()
	if err != nil {
		return err
	}
	now := b
	now.Quantity, now.TotalFen = d.Quantity, d.TotalFen
	err = tx.QueryRow(ctx, `UPDATE bills SET state = 'draft', hold_reason = '', quantity = $2, readings = $3, input = $4, total_fen = $5, engine = $6, late_fen = $7, tariff_id = $8,
		charged_fen = coalesce((SELECT sum(amount_fen) FROM charges c WHERE c.account_id = bills.account_id AND c.period_from = bills.period_from), 0)
		WHERE id = $1 RETURNING charged_fen`, d.ID, d.Quantity, readings, input, d.TotalFen, d.Engine, d.LateFen, d.Tariff).Scan(&now.ChargedFen)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM bill_lines WHERE bill_id = $1`, d.ID); err != nil {
		return err
	}
	if err := insertLines(ctx, tx, d); err != nil {
		return err
	}
	if err := adjustChunk(ctx, tx, r, now, 1); err != nil {
		return err
	}
	return tx.Journal(ctx, Entry{Site: b.Site, Kind: "bill", ID: string(d.ID), Event: "released", From: string(b.State), To: string(billing.BillDraft), Reason: reason,
		Refs: []string{string(r.ID), string(b.Account)}, Data: d.facts()})
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
