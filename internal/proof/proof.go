// Package proof checks the eight invariants that a run of Meterflow must hold, from the tables and from the simulated meters' own
// record alone. It is the second opinion: it calls no code of the stages, the ledger, the rating or the cut-off policy, and says the
// rules again in its own words, so that a mistake in one of them shows as a difference.
package proof

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/meterflow/meterflow/devices/simulator"
)

// Invariant is the outcome of one check.
type Invariant struct {
	Name       string   `json:"name"`
	Checked    int64    `json:"checked"`    // things looked at; zero proves nothing
	Violations int64    `json:"violations"` // things found wrong
	Details    []string `json:"details,omitempty"`
}

// maxDetails keeps a report readable when everything is wrong at once; the count stays exact.
const maxDetails = 20

func (i *Invariant) check(n int64) { i.Checked += n }

func (i *Invariant) violate(format string, args ...any) {
	i.Violations++
	if len(i.Details) < maxDetails {
		i.Details = append(i.Details, fmt.Sprintf(format, args...))
	}
}

// The invariants by name, in the order of the report.
const (
	LedgerBalances   = "ledger_balances"
	CreditedOnce     = "recharges_credited_once"
	BilledEqualsRead = "billed_equals_read"
	NoWrongCut       = "no_wrong_cut"
	ThreePersons     = "three_persons"
	CycleComplete    = "cycles_complete"
	JournalComplete  = "journal_complete"
	VerifiedWasTrue  = "verified_was_true"
)

type checker struct {
	tx     pgx.Tx
	record map[string][]simulator.RecordEntry // by serial, in order of acceptance
}

// Check looks at one snapshot of the tables. The record must have been read after the last command was settled.
func Check(ctx context.Context, pool *pgxpool.Pool, record []simulator.RecordEntry) ([]Invariant, error) {
	bySerial := map[string][]simulator.RecordEntry{}
	for _, e := range record {
		bySerial[e.Serial] = append(bySerial[e.Serial], e)
	}
	var found []Invariant
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		c := &checker{tx: tx, record: bySerial}
		for _, one := range []struct {
			name string
			run  func(context.Context, *Invariant) error
		}{
			{LedgerBalances, c.ledgerBalances},
			{CreditedOnce, c.creditedOnce},
			{BilledEqualsRead, c.billedEqualsRead},
			{NoWrongCut, c.noWrongCut},
			{ThreePersons, c.threePersons},
			{CycleComplete, c.cycleComplete},
			{JournalComplete, c.journalComplete},
			{VerifiedWasTrue, c.verifiedWasTrue},
		} {
			inv := Invariant{Name: one.name}
			if err := one.run(ctx, &inv); err != nil {
				return fmt.Errorf("invariant %s: %w", one.name, err)
			}
			found = append(found, inv)
		}
		return nil
	})
	return found, err
}

// count adds the result of a count query to the things checked.
func (c *checker) count(ctx context.Context, inv *Invariant, sql string, args ...any) error {
	var n int64
	err := c.tx.QueryRow(ctx, sql, args...).Scan(&n)
	inv.check(n)
	return err
}

// none runs a query that must find nothing; each row is one text that says what is wrong.
func (c *checker) none(ctx context.Context, inv *Invariant, sql string, args ...any) error {
	rows, err := c.tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var wrong string
	_, err = pgx.ForEachRow(rows, []any{&wrong}, func() error {
		inv.violate("%s", wrong)
		return nil
	})
	return err
}
