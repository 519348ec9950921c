package store

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// IssuedUse is what one version of a bill asked for, without its late fee, and when.
type IssuedUse struct {
	Account    billing.AccountID `db:"account_id"`
	PeriodFrom billing.Date
	UseFen     billing.Money
	IssuedOn   billing.Date // local day
	Counts     bool         // it is the version that counts; the others were reversed
}

// Received is money that came to an account on a day in the books, negative when it was taken back: all that moved its credit except use,
// bills, late fees and what was charged for a faulty meter, which bears no late fee. What was given back for one counts as paid.
type Received struct {
	Account billing.AccountID `db:"account_id"`
	Day     billing.Date
	Fen     billing.Money
}

// IssuedUses reads every version of accounts' bills that was issued before the period that begins on a day, by period and version.
func (s *Store) IssuedUses(ctx context.Context, accounts []billing.AccountID, before billing.Date) (map[billing.AccountID][]IssuedUse, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT b.account_id, b.period_from, b.total_fen - b.late_fen AS use_fen,
			(coalesce(b.issued_at, r.issued_at) AT TIME ZONE s.time_zone)::date AS issued_on, b.state = 'issued' AS counts
		FROM bills b JOIN billing_runs r ON r.id = b.run_id JOIN sites s ON s.id = b.site_id
		WHERE b.account_id = ANY($1) AND b.period_from < $2 AND b.state IN ('issued', 'reversed') ORDER BY b.account_id, b.period_from, b.version`, accounts, before)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[IssuedUse])
	by := map[billing.AccountID][]IssuedUse{}
	for _, u := range all {
		by[u.Account] = append(by[u.Account], u)
	}
	return by, translate(err)
}

// ReceivedUpTo reads what came to accounts up to a day, each account's by day.
func (s *Store) ReceivedUpTo(ctx context.Context, accounts []billing.AccountID, last billing.Date) (map[billing.AccountID][]Received, error) {
	codes := make([]string, len(accounts))
	for i, id := range accounts {
		codes[i] = string(ledger.Customer(id))
	}
	rows, _ := s.Pool.Query(ctx, `SELECT a.account_id, e.day, -sum(p.amount_fen)::bigint AS fen FROM ledger_accounts a JOIN ledger_postings p ON p.code = a.code
			JOIN ledger_entries e ON e.id = p.entry_id LEFT JOIN ledger_entries u ON u.id = e.reverses
		WHERE a.code = ANY($1) AND e.day <= $2 AND coalesce(u.kind, e.kind) NOT IN ('daily_charge', 'bill_issued', 'late_fee_waived')
			AND NOT (e.kind = 'adjustment' AND p.amount_fen > 0)
		GROUP BY a.account_id, e.day ORDER BY a.account_id, e.day`, codes, last)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Received])
	by := map[billing.AccountID][]Received{}
	for _, r := range all {
		by[r.Account] = append(by[r.Account], r)
	}
	return by, translate(err)
}

// Waiver is the late fee of a bill that the customer was let off.
type Waiver struct {
	Bill        billing.BillID `db:"bill_id"`
	AmountFen   billing.Money
	Reason      string
	By          billing.UserID `db:"waived_by"`
	At          time.Time      `db:"waived_at"`
	EntryID     int64
	CarriedFrom *billing.BillID
	AskedFen    *billing.Money  // the part that was to be waived, of which AmountFen is what the fee comes to at most; nil: the whole fee
	AloneFen    *billing.Money  // what one person might waive then; nil for waivers from before there was such a ceiling
	AgreedBy    *billing.UserID // the second person, who is needed above it
}

// Of is how much of a late fee the waiver gives back.
func (w Waiver) Of(late billing.Money) billing.Money {
	if w.AskedFen == nil {
		return late
	}
	return min(*w.AskedFen, late)
}

const selectWaiver = `SELECT bill_id, amount_fen, reason, waived_by, waived_at, entry_id, carried_from, asked_fen, alone_fen, agreed_by FROM late_fee_waivers`

// WaiverOf reads the waiver of a bill's late fee, nil when there is none.
func (s *Store) WaiverOf(ctx context.Context, bill billing.BillID) (*Waiver, error) {
	rows, _ := s.Pool.Query(ctx, selectWaiver+` WHERE bill_id = $1`, bill)
	w, err := optional[Waiver](rows)
	return w, translate(err)
}

// WaivedOf reads the waivers of bills; a bill without one is missing from the answer.
func (s *Store) WaivedOf(ctx context.Context, bills []billing.BillID) (map[billing.BillID]Waiver, error) {
	rows, _ := s.Pool.Query(ctx, selectWaiver+` WHERE bill_id = ANY($1)`, bills)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Waiver])
	waived := map[billing.BillID]Waiver{}
	for _, w := range all {
		waived[w.Bill] = w
	}
	return waived, translate(err)
}

// WaiveAlone is what one person may waive of a bill's late fee today, by the rule of its service that is in force.
func (s *Store) WaiveAlone(ctx context.Context, id billing.SiteID, service billing.Service) (billing.Money, error) {
	site, err := s.Site(ctx, id)
	if err != nil {
		return 0, err
	}
	policy, err := s.LateFees(ctx, site)
	if err != nil {
		return 0, err
	}
	clock, err := s.Clock(ctx)
	if err != nil {
		return 0, err
	}
	rules := policy.Of(service)
	i := billing.LateFeeRuleOn(rules, billing.DateOf(clock.Now, site.Zone))
	if i < 0 {
		return 0, nil
	}
	return rules[i].WaiveFen, nil
}

// WaiveLateFee lets the customer off the late fee of an issued bill, or off a part of it (asked; 0 is the whole): by.Actor and by.Reason are
// kept with it. More than WaiveAlone takes a second person, who has agreed, else it is billing.CodeBlocked. The bill stays as it was issued;
// an entry gives the amount back. A bill that isn't issued or has no late fee is billing.CodeClosed, a second waiver billing.CodeConflict.
func (s *Store) WaiveLateFee(ctx context.Context, by By, bill billing.BillID, asked billing.Money, agreed billing.UserID) (Waiver, error) {
	var w Waiver
	found, err := s.Bill(ctx, bill)
	if err != nil && billing.CodeOf(err) != billing.CodeNotFound {
		return w, err
	}
	var alone billing.Money
	if err == nil {
		if alone, err = s.WaiveAlone(ctx, found.Site, found.Service); err != nil {
			return w, err
		}
	}
	err = s.Change(ctx, by, func(tx *Tx) error {
		if strings.TrimSpace(tx.Reason) == "" {
			return billing.Errorf(billing.CodeInvalidInput, "Say why the late fee is waived: the reason stands in the journal.")
		}
		b, err := lockBill(ctx, tx, bill)
		switch {
		case err == pgx.ErrNoRows:
			return billing.Errorf(billing.CodeNotFound, "There is no bill %s: check the number.", bill)
		case err != nil:
			return err
		case b.State != billing.BillIssued:
			return billing.Errorf(billing.CodeClosed, "Bill %s is %s: only the late fee of an issued bill can be waived.", bill, b.State)
		case b.LateFen == 0:
			return billing.Errorf(billing.CodeClosed, "Bill %s has no late fee: there is nothing to waive.", bill)
		case asked < 0 || asked > b.LateFen:
			return billing.Errorf(billing.CodeInvalidInput, "The late fee is %s yuan: waive an amount above 0, up to that.", b.LateFen)
		}
		fresh := Waiver{Reason: strings.TrimSpace(tx.Reason), By: billing.UserID(tx.Actor), AloneFen: &alone}
		if asked > 0 && asked < b.LateFen {
			fresh.AskedFen = &asked
		}
		if agreed != "" {
			fresh.AgreedBy = &agreed
		}
		switch {
		case agreed == fresh.By:
			return ErrWaivesAlone()
		case agreed == "" && fresh.Of(b.LateFen) > alone:
			return billing.Errorf(billing.CodeBlocked, "One person may waive up to %s yuan of a bill's late fee: a second one has to agree to more.", alone)
		}
		w, err = waiveLateFee(ctx, tx, b, fresh)
		return err
	})
	return w, err
}

// ErrWaivesAlone refuses the second person who is the first.
func ErrWaivesAlone() error {
	return billing.Errorf(billing.CodeSelfApproval, "Waiving so much of a late fee takes two persons: a colleague has to agree.")
}

// waiveLateFee posts the compensating entry, with the person and reason of w.
func waiveLateFee(ctx context.Context, tx *Tx, b Bill, w Waiver) (Waiver, error) {
	w.Bill, w.AmountFen, w.At = b.ID, w.Of(b.LateFen), tx.Now
	var err error
	// Its subject isn't the bill's number alone: what the bill brought in stays what stands on it.
	w.EntryID, err = Post(ctx, tx, ledger.Move(b.Site, ledger.KindLateFeeWaived, "bill/"+string(b.ID)+"/late_fee_waived", string(b.ID)+"/late_fee",
		ledger.LateFees(b.Site), ledger.Customer(b.Account), w.AmountFen))
	if err != nil {
		return w, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO late_fee_waivers (bill_id, site_id, account_id, amount_fen, reason, waived_by, waived_at, entry_id, carried_from, asked_fen, alone_fen, agreed_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		b.ID, b.Site, b.Account, w.AmountFen, w.Reason, w.By, w.At, w.EntryID, w.CarriedFrom, w.AskedFen, w.AloneFen, w.AgreedBy)
	if err != nil {
		return w, err
	}
	data := map[string]any{"amount_fen": w.AmountFen, "entry": w.EntryID}
	refs := []string{string(b.Account)}
	if w.AgreedBy != nil {
		data["agreed_by"] = *w.AgreedBy
	}
	if w.CarriedFrom != nil {
		data["carried_from"], refs = *w.CarriedFrom, append(refs, string(*w.CarriedFrom))
	}
	return w, tx.Journal(ctx, Entry{Site: b.Site, Kind: "bill", ID: string(b.ID), Event: "late_fee_waived", From: string(billing.BillIssued), To: string(billing.BillIssued), Reason: w.Reason, Refs: refs, Data: data})
}

// undoWaiver takes back what the waiver of a bill gave, before the bill is reversed; nil when there is none.
func undoWaiver(ctx context.Context, tx *Tx, bill billing.BillID) (*Waiver, error) {
	rows, _ := tx.Query(ctx, selectWaiver+` WHERE bill_id = $1`, bill)
	w, err := optional[Waiver](rows)
	if err != nil || w == nil {
		return w, err
	}
	_, err = ReverseEntry(ctx, tx, w.EntryID)
	return w, err
}
