package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Adjustment is the refund or charge for what a faulty meter registered: entered by one person, approved by two others, booked as one entry.
// The issued bills that it is about stay as they are.
type Adjustment struct {
	ID      billing.AdjustmentID
	Site    billing.SiteID    `db:"site_id"`
	Account billing.AccountID `db:"account_id"`
	Meter   billing.MeterID   `db:"meter_id"`
	Kind    billing.AdjustmentKind
	Fault   json.RawMessage  // billing.Fault, as it was entered
	Test    *int64           `db:"test_id"` // whose error it is
	Percent *billing.Percent // that error, or the difference rate; nil for another fault
	// CountedFrom is the day of the last test or the fitting before, or the day that was entered; CountedBy says which.
	CountedFrom billing.Date
	CountedBy   string
	FromAt      time.Time // what is adjusted, half-open
	ToAt        time.Time
	Opening     billing.Registers // what the meter showed then; nil: the use around counts at an even rate
	Closing     billing.Registers
	NormalBill  *billing.BillID
	Normal      billing.Registers // use of the normal month, raw, after the ratio
	NormalDays  *int
	Registered  billing.Registers // in the time that is adjusted, raw, after the ratio
	Difference  billing.Registers // true use less registered
	TotalFen    billing.Money     // positive: charged; negative: given back
	NextFrom    billing.Date      // first day after the bills that it rests on
	Reason      string
	Evidence    string
	State       billing.AdjustmentState
	Digest      []byte // of what it was reckoned from, and the result
	DraftedBy   billing.UserID
	DraftedAt   time.Time
	Approved1By billing.UserID
	Approved1At *time.Time
	Approved2By billing.UserID
	Approved2At *time.Time // when it was booked
	EntryID     *int64
	AfterFen    *billing.Money `db:"balance_after_fen"` // the balance after it
	EndedBy     billing.UserID
	EndedAt     *time.Time
	EndedWhy    string
	// Undoes is the booked adjustment that this one takes back; UndoneBy the one that took this back, once it is booked.
	Undoes   billing.AdjustmentID
	UndoneBy billing.AdjustmentID
}

// What the time of an adjustment is counted from.
const (
	CountedByTest    = "test"
	CountedByFitting = "fitting"
	CountedAsEntered = "entered"
)

const adjustmentColumns = `j.id, j.site_id, j.account_id, j.meter_id, j.kind, j.fault, j.test_id, j.percent, j.counted_from, j.counted_by, j.from_at, j.to_at, j.opening, j.closing,
	j.normal_bill, j.normal, j.normal_days, j.registered, j.difference, j.total_fen, j.next_from, j.reason, j.evidence, j.state, j.digest, j.drafted_by, j.drafted_at,
	coalesce(j.approved1_by, '') AS approved1_by, j.approved1_at, coalesce(j.approved2_by, '') AS approved2_by, j.approved2_at, j.entry_id, j.balance_after_fen,
	coalesce(j.ended_by, '') AS ended_by, j.ended_at, j.ended_why, coalesce(j.undoes, '') AS undoes, coalesce(j.undone_by, '') AS undone_by`

func (a Adjustment) journal(ctx context.Context, tx *Tx, event string, was billing.AdjustmentState, reason string, refs []string, data any) error {
	return tx.Journal(ctx, Entry{Site: a.Site, Kind: "adjustment", ID: string(a.ID), Event: event, From: string(was), To: string(a.State), Reason: reason,
		Refs: append(a.refs(), refs...), Data: data})
}

func (a Adjustment) refs() []string {
	refs := []string{string(a.Account), string(a.Meter)}
	if a.Undoes != "" {
		refs = append(refs, string(a.Undoes))
	}
	return refs
}

// AdjustedBill is a bill that an adjustment is about, as it stands and as it would be. Quantities are of the total register, raw, after
// the ratio; amounts are without a late fee.
type AdjustedBill struct {
	Bill           billing.BillID `db:"bill_id"`
	PeriodFrom     billing.Date
	BilledQuantity int64
	TrueQuantity   int64
	BilledFen      billing.Money
	TrueFen        billing.Money
	Steps          int64 // by how much the use that counts toward steps differs
}

// AdjustedLine is a printed line of such a bill, as billed and for the true use.
type AdjustedLine struct {
	Bill           billing.BillID `db:"bill_id"`
	Component      string
	NameZH         string
	NameEN         string
	Register       billing.Register
	Tier           int
	Unit           string // as in BillLine
	Thirtieths     int
	FromAt         time.Time
	ToAt           time.Time
	Price          billing.Price
	Factor         billing.Factor
	BilledQuantity billing.Quantity
	TrueQuantity   billing.Quantity
	BilledFen      billing.Money
	TrueFen        billing.Money
}

// AmountFen is what the line charges, or gives back.
func (l AdjustedLine) AmountFen() billing.Money { return l.TrueFen - l.BilledFen }

// NewAdjustment is what a person enters, with what was reckoned from it. Key makes a repeat the same adjustment.
type NewAdjustment struct {
	Adjustment
	Bills []AdjustedBill
	Lines []AdjustedLine
	Key   string
}

func (n NewAdjustment) hash() []byte {
	text := fmt.Appendf(nil, "%s %q %q %q", n.Fault, n.Reason, n.Evidence, n.DraftedBy)
	if n.Undoes != "" {
		text = fmt.Appendf(text, " undoes %q", n.Undoes)
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

// NextAdjustmentID reserves an adjustment's number. A number that isn't used leaves a gap, no more.
func (s *Store) NextAdjustmentID(ctx context.Context) (billing.AdjustmentID, error) {
	var id billing.AdjustmentID
	err := s.Pool.QueryRow(ctx, `SELECT 'J' || to_char(business_now() AT TIME ZONE coalesce((SELECT time_zone FROM sites ORDER BY id LIMIT 1), 'UTC'), 'YYYYMMDD') || '-'
		|| lpad(nextval('adjustment_no')::text, 4, '0')`).Scan(&id)
	return id, translate(err)
}

// Adjustment reads one adjustment.
func (s *Store) Adjustment(ctx context.Context, id billing.AdjustmentID) (Adjustment, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+adjustmentColumns+` FROM adjustments j WHERE j.id = $1`, id)
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Adjustment])
	return a, adjustmentError(err, id)
}

func lockAdjustment(ctx context.Context, tx *Tx, id billing.AdjustmentID) (Adjustment, error) {
	rows, _ := tx.Query(ctx, `SELECT `+adjustmentColumns+` FROM adjustments j WHERE j.id = $1 FOR UPDATE`, id)
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Adjustment])
	return a, adjustmentError(err, id)
}

func adjustmentError(err error, id billing.AdjustmentID) error {
	err = translate(err)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return billing.Errorf(billing.CodeNotFound, "there is no adjustment %s: check the number", id)
	}
	return err
}

// DraftAdjustment stores an adjustment that was reckoned, with its bills and lines, up for approval. A repeat under the same key gives the
// first one; another request under it is billing.CodeConflict, and so is one whose time overlaps that of another adjustment of the meter, and a second
// one that would undo the same.
func (s *Store) DraftAdjustment(ctx context.Context, by By, n NewAdjustment) (Adjustment, error) {
	id := n.ID
	err := s.Change(ctx, by, func(tx *Tx) error {
		var hash []byte
		err := tx.QueryRow(ctx, `SELECT id, request_hash FROM adjustments WHERE idempotency_key = $1`, n.Key).Scan(&id, &hash)
		if err == nil && !bytes.Equal(hash, n.hash()) {
			return billing.Errorf(billing.CodeConflict, "adjustment %s was entered with this form already, with other values: open it, or open the form again", id)
		}
		if err == nil || err != pgx.ErrNoRows {
			return err
		}
		id, n.State = n.ID, billing.AdjustmentPreviewed
		_, err = tx.Exec(ctx, `INSERT INTO adjustments (id, site_id, account_id, meter_id, kind, fault, test_id, percent, counted_from, counted_by, from_at, to_at, opening, closing,
				normal_bill, normal, normal_days, registered, difference, total_fen, next_from, reason, evidence, state, idempotency_key, request_hash, digest, drafted_by, drafted_at, undoes)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, nullif($30, ''))`,
			n.ID, n.Site, n.Account, n.Meter, n.Kind, string(n.Fault), n.Test, n.Percent, n.CountedFrom, n.CountedBy, n.FromAt, n.ToAt, n.Opening, n.Closing,
			n.NormalBill, n.Normal, n.NormalDays, n.Registered, n.Difference, n.TotalFen, n.NextFrom, n.Reason, n.Evidence, n.State, n.Key, n.hash(), n.Digest, n.DraftedBy, tx.Now, n.Undoes)
		if err != nil {
			return err
		}
		if err := n.insertParts(ctx, tx); err != nil {
			return err
		}
		return n.journal(ctx, tx, "entered", "", n.Reason, []string{n.Evidence}, map[string]any{"fault": n.Fault, "total_fen": n.TotalFen, "difference": n.Difference, "lines": len(n.Lines)})
	})
	if err != nil {
		return Adjustment{}, err
	}
	return s.Adjustment(ctx, id)
}

func (n NewAdjustment) insertParts(ctx context.Context, tx *Tx) error {
	batch := &pgx.Batch{}
	for _, b := range n.Bills {
		batch.Queue(`INSERT INTO adjustment_bills (adjustment_id, bill_id, period_from, billed_quantity, true_quantity, billed_fen, true_fen, steps) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			n.ID, b.Bill, b.PeriodFrom, b.BilledQuantity, b.TrueQuantity, b.BilledFen, b.TrueFen, b.Steps)
	}
	for i, l := range n.Lines {
		factor := l.Factor
		if factor.IsZero() {
			factor = billing.MustFactor("1")
		}
		batch.Queue(`INSERT INTO adjustment_lines (adjustment_id, seq, bill_id, component, name_zh, name_en, register, tier, unit, thirtieths, from_at, to_at, price, factor,
				billed_quantity, true_quantity, billed_fen, true_fen) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
			n.ID, i+1, l.Bill, l.Component, l.NameZH, l.NameEN, l.Register, l.Tier, l.Unit, l.Thirtieths, l.FromAt, l.ToAt, l.Price, factor,
			l.BilledQuantity, l.TrueQuantity, l.BilledFen, l.TrueFen)
	}
	return tx.SendBatch(ctx, batch).Close()
}

// AdjustableBills reads an account's bills whose period ends after a day, oldest first, whatever stage they are in; reversed and
// cancelled ones are left out.
func (s *Store) AdjustableBills(ctx context.Context, account billing.AccountID, after billing.Date) ([]Bill, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+billColumns+` FROM bills b JOIN accounts a ON a.id = b.account_id
		WHERE b.account_id = $1 AND b.period_to > $2 AND b.state IN ('issued', 'draft', 'held') ORDER BY b.period_from, b.version`, account, after)
	bills, err := pgx.CollectRows(rows, pgx.RowToStructByName[Bill])
	return bills, translate(err)
}

// BookedAdjustments reads an account's booked adjustments in the order in which they were booked.
func (s *Store) BookedAdjustments(ctx context.Context, account billing.AccountID) ([]Adjustment, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT `+adjustmentColumns+` FROM adjustments j WHERE j.account_id = $1 AND j.state = 'booked' ORDER BY j.approved2_at, j.entry_id, j.id`, account)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Adjustment])
	return all, translate(err)
}

// AdjustedSteps is by how much the true use of a billed period differs in what counts toward steps. Bills from NextFrom on count it.
type AdjustedSteps struct {
	Account    billing.AccountID `db:"account_id"`
	PeriodFrom billing.Date
	NextFrom   billing.Date
	Steps      int64 // raw, after the ratio
}

// AdjustedStepsOf reads what booked adjustments change in the steps of accounts.
func (s *Store) AdjustedStepsOf(ctx context.Context, accounts []billing.AccountID) (map[billing.AccountID][]AdjustedSteps, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT j.account_id, b.period_from, j.next_from, b.steps FROM adjustments j JOIN adjustment_bills b ON b.adjustment_id = j.id
		WHERE j.account_id = ANY($1) AND j.state = 'booked' AND b.steps <> 0`, accounts)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[AdjustedSteps])
	by := map[billing.AccountID][]AdjustedSteps{}
	for _, a := range all {
		by[a.Account] = append(by[a.Account], a)
	}
	return by, translate(err)
}
