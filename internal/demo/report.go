package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/store"
)

// Report is what a demo run comes to: counts from the tables, and the invariants that were checked.
type Report struct {
	BusinessDays int               `json:"business_days"`
	Readings     ReadingCounts     `json:"readings"`
	Exceptions   ExceptionCounts   `json:"exceptions"`
	Runs         RunCounts         `json:"runs"`
	Bills        BillCounts        `json:"bills"`
	Reminders    ReminderCounts    `json:"reminders"`
	Recharges    RechargeCounts    `json:"recharges"`
	Cutoffs      CutoffCounts      `json:"cutoffs"`
	Restores     RestoreCounts     `json:"restores"`
	Ledger       LedgerCounts      `json:"ledger"`
	Journal      JournalCounts     `json:"journal"`
	Devices      DeviceCounts      `json:"devices"`
	Refusals     map[string]int    `json:"refusals"` // what the software refused people, by error code
	Invariants   []proof.Invariant `json:"invariants"`
	Kills        map[string]int64  `json:"kills,omitempty"` // deaths of the worker by point, in a kill test
	TookSeconds  float64           `json:"took_seconds"`
}

// ReadingCounts count readings by the quality of their current version. Planned is one per meter and cycle, Missing those of them
// that have no reading.
type ReadingCounts struct {
	Planned   int64 `json:"planned"`
	Stored    int64 `json:"stored"`
	Actual    int64 `json:"actual"`
	Estimated int64 `json:"estimated"`
	Manual    int64 `json:"manual"`
	Edited    int64 `json:"edited"`
	Missing   int64 `json:"missing"`
}

// ExceptionCounts count cases; each resolved one is a decision.
type ExceptionCounts struct {
	Opened   int64            `json:"opened"`
	Resolved int64            `json:"resolved"`
	Open     int64            `json:"open"`
	ByKind   map[string]int64 `json:"by_kind"`
}

// RunCounts count billing runs.
type RunCounts struct {
	Issued int64 `json:"issued"`
}

// BillCounts count bills; TotalFen is that of the issued ones.
type BillCounts struct {
	Issued    int64         `json:"issued"`
	Cancelled int64         `json:"cancelled"`
	TotalFen  billing.Money `json:"total_fen"`
}

// ReminderCounts count reminding messages: those that the provider took, and those with a receipt.
type ReminderCounts struct {
	Sent      int64 `json:"sent"`
	Delivered int64 `json:"delivered"`
}

// RechargeCounts count recharges; TotalFen is that of the credited ones.
type RechargeCounts struct {
	Requested int64         `json:"requested"`
	Credited  int64         `json:"credited"`
	Rejected  int64         `json:"rejected"`
	InDoubt   int64         `json:"in_doubt"`
	TotalFen  billing.Money `json:"total_fen"`
}

// CutoffCounts count cuts by how they ended: Prevented ones were refused by the policy, Cancelled ones by a payment or a person.
type CutoffCounts struct {
	Verified  int64 `json:"verified"`
	Prevented int64 `json:"prevented"`
	Cancelled int64 `json:"cancelled"`
	Unknown   int64 `json:"unknown"`
}

// RestoreCounts count restores by how they ended.
type RestoreCounts struct {
	Verified int64 `json:"verified"`
	Unknown  int64 `json:"unknown"`
}

// LedgerCounts are the books in one line. Credit is given as a positive amount.
type LedgerCounts struct {
	Entries   int64         `json:"entries"`
	DebitFen  billing.Money `json:"debit_fen"`
	CreditFen billing.Money `json:"credit_fen"`
	Balanced  bool          `json:"balanced"`
}

// JournalCounts say how much of the journal there is and whether its chains verify.
type JournalCounts struct {
	Rows    int64 `json:"rows"`
	ChainOK bool  `json:"chain_ok"`
}

// DeviceCounts are what happened on the lines.
type DeviceCounts struct {
	Requests       int64 `json:"requests"`
	Timeouts       int64 `json:"timeouts"`
	Retries        int64 `json:"retries"`
	FaultsInjected int64 `json:"faults_injected"`
}

// Outside is what a report can't read from the tables.
type Outside struct {
	Devices    DeviceCounts // FaultsInjected is filled in from Faults
	Faults     simulator.FaultCounts
	Refusals   map[string]int
	Invariants []proof.Invariant
	Kills      map[string]int64 // deaths of the worker by the point at which it was killed
	Took       time.Duration
}

// MakeReport counts one snapshot of the tables and adds what came from outside.
func MakeReport(ctx context.Context, s *store.Store, o Outside) (Report, error) {
	r := Report{Devices: o.Devices, Refusals: o.Refusals, Invariants: o.Invariants, Kills: o.Kills, TookSeconds: float64(o.Took.Milliseconds()) / 1000}
	for _, n := range o.Faults.Injected {
		r.Devices.FaultsInjected += int64(n)
	}
	err := pgx.BeginTxFunc(ctx, s.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := r.count(ctx, tx); err != nil {
			return err
		}
		return r.countCases(ctx, tx)
	})
	if err != nil {
		return r, err
	}
	rows, _, broken, err := s.VerifyJournal(ctx)
	r.Journal = JournalCounts{Rows: rows, ChainOK: broken == nil}
	return r, err
}

// count fills in everything that is one row per table.
func (r *Report) count(ctx context.Context, tx pgx.Tx) error {
	for _, c := range []struct {
		query string
		into  []any
	}{
		{`SELECT count(DISTINCT day) FROM cycles WHERE state = 'closed'`, []any{&r.BusinessDays}},
		{`SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM readings r WHERE r.meter_id = m.meter_id AND r.freeze_at = c.freeze_at))
			FROM cycle_meters m JOIN cycles c ON c.id = m.cycle_id`, []any{&r.Readings.Planned, &r.Readings.Missing}},
		{`SELECT count(*), count(*) FILTER (WHERE quality = 'actual'), count(*) FILTER (WHERE quality = 'estimated'),
			count(*) FILTER (WHERE quality = 'manual'), count(*) FILTER (WHERE quality = 'edited') FROM current_readings`,
			[]any{&r.Readings.Stored, &r.Readings.Actual, &r.Readings.Estimated, &r.Readings.Manual, &r.Readings.Edited}},
		{`SELECT count(*) FROM billing_runs WHERE state = 'issued'`, []any{&r.Runs.Issued}},
		{`SELECT count(*) FILTER (WHERE state = 'issued'), count(*) FILTER (WHERE state = 'cancelled'),
			coalesce(sum(total_fen) FILTER (WHERE state = 'issued'), 0)::bigint FROM bills`, []any{&r.Bills.Issued, &r.Bills.Cancelled, &r.Bills.TotalFen}},
		{`SELECT count(sent_at), count(*) FILTER (WHERE state = 'delivered')
			FROM messages WHERE kind IN ('level1', 'level2', 'final')`, []any{&r.Reminders.Sent, &r.Reminders.Delivered}},
		{`SELECT count(*), count(*) FILTER (WHERE state = 'credited'), count(*) FILTER (WHERE state = 'rejected'), count(*) FILTER (WHERE state = 'in_doubt'),
			coalesce(sum(amount_fen) FILTER (WHERE state = 'credited'), 0)::bigint FROM recharges`,
			[]any{&r.Recharges.Requested, &r.Recharges.Credited, &r.Recharges.Rejected, &r.Recharges.InDoubt, &r.Recharges.TotalFen}},
		{`SELECT count(*) FILTER (WHERE state = 'verified'), count(*) FILTER (WHERE state = 'prevented'), count(*) FILTER (WHERE state = 'cancelled'),
			count(*) FILTER (WHERE state = 'unknown') FROM cutoffs`, []any{&r.Cutoffs.Verified, &r.Cutoffs.Prevented, &r.Cutoffs.Cancelled, &r.Cutoffs.Unknown}},
		{`SELECT count(*) FILTER (WHERE state = 'verified'), count(*) FILTER (WHERE state = 'unknown') FROM restores`,
			[]any{&r.Restores.Verified, &r.Restores.Unknown}},
		{`SELECT (SELECT count(*) FROM ledger_entries), coalesce(sum(amount_fen) FILTER (WHERE amount_fen > 0), 0)::bigint,
			coalesce(-sum(amount_fen) FILTER (WHERE amount_fen < 0), 0)::bigint FROM ledger_postings`,
			[]any{&r.Ledger.Entries, &r.Ledger.DebitFen, &r.Ledger.CreditFen}},
	} {
		if err := tx.QueryRow(ctx, c.query).Scan(c.into...); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	r.Ledger.Balanced = r.Ledger.DebitFen == r.Ledger.CreditFen
	return nil
}

func (r *Report) countCases(ctx context.Context, tx pgx.Tx) error {
	r.Exceptions.ByKind = map[string]int64{}
	rows, err := tx.Query(ctx, `SELECT kind, count(*), count(*) FILTER (WHERE state = 'resolved') FROM cases GROUP BY kind`)
	if err != nil {
		return err
	}
	var kind string
	var opened, resolved int64
	_, err = pgx.ForEachRow(rows, []any{&kind, &opened, &resolved}, func() error {
		r.Exceptions.ByKind[kind] = opened
		r.Exceptions.Opened += opened
		r.Exceptions.Resolved += resolved
		return nil
	})
	r.Exceptions.Open = r.Exceptions.Opened - r.Exceptions.Resolved
	return err
}

// Failures says what keeps a run from counting as a success: a stage that should have run by its days and didn't, books that don't
// balance, a broken chain, an invariant that was violated or had nothing to look at. Empty is success.
func (r Report) Failures() []string {
	var failures []string
	for _, stage := range []struct {
		name string
		from int // after so many days it must have happened
		done int64
	}{
		{"reading cycle", 1, r.Readings.Stored},
		{"daily charge", 2, r.Ledger.Entries},
		{"reminder", 6, r.Reminders.Delivered},
		{"recharge", 10, r.Recharges.Credited},
		{"exception decided", 15, r.Exceptions.Resolved},
		{"cut", 15, r.Cutoffs.Verified},
		{"restore", 15, r.Restores.Verified},
		{"billing run of the first site", 35, r.Runs.Issued},
		{"billing run of the second site", 35, r.Runs.Issued - 1},
	} {
		if r.BusinessDays >= stage.from && stage.done <= 0 {
			failures = append(failures, fmt.Sprintf("in %d days no %s", r.BusinessDays, stage.name))
		}
	}
	if !r.Ledger.Balanced {
		failures = append(failures, fmt.Sprintf("the books don't balance: %s debit, %s credit", r.Ledger.DebitFen, r.Ledger.CreditFen))
	}
	if !r.Journal.ChainOK {
		failures = append(failures, "a chain of the journal doesn't verify")
	}
	if len(r.Invariants) == 0 {
		failures = append(failures, "no invariant was checked")
	}
	for _, i := range r.Invariants {
		if i.Violations > 0 {
			failures = append(failures, fmt.Sprintf("invariant %s: %d of %d violated", i.Name, i.Violations, i.Checked))
		}
		if i.Checked == 0 && r.BusinessDays >= fullDays {
			failures = append(failures, fmt.Sprintf("invariant %s had nothing to check", i.Name))
		}
	}
	return failures
}

// fullDays is how many days show every stage.
const fullDays = 35
