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

// charged is a charge as it was posted.
type charged struct {
	Charge
	amount billing.Money // rated(period to date) − charged so far
	entry  *int64        // nil when the amount is zero
}

// text is the charge in the digest of its page.
func (c charged) text() string {
	return fmt.Sprintf("%s %s %s %d %d", c.Account, c.PeriodFrom, c.Upto.UTC().Format(time.RFC3339), c.RatedFen, c.amount)
}

// postCharges posts a page of charges, which come in the order of account numbers, in a few statements, and gives those that it
// posted: one that was saved before, or that a later reading or an issued bill has overtaken, is left out.
func postCharges(ctx context.Context, tx *Tx, site Site, cycle billing.CycleID, charges []Charge) ([]charged, error) {
	accounts := make([]billing.AccountID, len(charges))
	for i, c := range charges {
		accounts[i] = c.Account
	}
	// The balances' rows are the lock: what was charged so far can't move between the sum and the posting.
	if err := lockBalances(ctx, tx, slices.Compact(accounts)); err != nil {
		return nil, err
	}
	open, err := openCharges(ctx, tx, cycle, charges)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	entries, of := make([]ledger.Entry, 0, len(open)), make([]int, 0, len(open))
	for i, c := range open {
		if c.amount != 0 {
			entries, of = append(entries, c.posting(site, cycle)), append(of, i)
		}
	}
	ids, err := PostAll(ctx, tx, entries)
	if err != nil {
		return nil, err
	}
	for n, i := range of {
		open[i].entry = &ids[n]
	}
	return open, copyCharges(ctx, tx, cycle, open)
}

// posting is the charge's entry, on the day on which the use ended.
func (c charged) posting(site Site, cycle billing.CycleID) ledger.Entry {
	e := ledger.Move(site.ID, ledger.KindDailyCharge, "charge/"+string(cycle)+"/"+string(c.Account)+"/"+c.PeriodFrom.String(), string(cycle),
		ledger.Customer(c.Account), ledger.Unbilled(site.ID), c.amount)
	e.Day, e.OrCorrect = billing.DateOf(c.Upto.Add(-1), site.Zone), true
	return e
}

// openCharges finds what each charge comes to, and leaves out those that are not open any more.
func openCharges(ctx context.Context, tx *Tx, cycle billing.CycleID, charges []Charge) ([]charged, error) {
	n := len(charges)
	accounts, periods, uptos := make([]string, n), make([]string, n), make([]time.Time, n)
	for i, c := range charges {
		accounts[i], periods[i], uptos[i] = string(c.Account), c.PeriodFrom.String(), c.Upto
	}
	rows, _ := tx.Query(ctx, `SELECT n.no, coalesce(c.fen, 0)::bigint FROM unnest($1::text[], $2::text[]::date[], $3::timestamptz[]) WITH ORDINALITY n (account_id, period_from, upto, no)
		LEFT JOIN LATERAL (SELECT sum(amount_fen) AS fen, bool_or(c.upto > n.upto OR c.cycle_id = $4) AS overtaken
			FROM charges c WHERE c.account_id = n.account_id AND c.period_from = n.period_from) c ON true
		WHERE NOT coalesce(c.overtaken, false)
			AND NOT EXISTS (SELECT 1 FROM bills b WHERE b.account_id = n.account_id AND b.period_from = n.period_from AND b.state = 'issued')
		ORDER BY n.no`, accounts, periods, uptos, cycle)
	var open []charged
	var no int
	var soFar billing.Money
	_, err := pgx.ForEachRow(rows, []any{&no, &soFar}, func() error {
		c := charges[no-1]
		amount, err := c.RatedFen.Sub(soFar)
		if err != nil {
			return fmt.Errorf("account %s: %w", c.Account, err)
		}
		open = append(open, charged{Charge: c, amount: amount})
		return nil
	})
	return open, err
}

func copyCharges(ctx context.Context, tx *Tx, cycle billing.CycleID, done []charged) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"charges"}, []string{"account_id", "cycle_id", "period_from", "upto", "rated_fen", "amount_fen", "entry_id"},
		pgx.CopyFromSlice(len(done), func(i int) ([]any, error) {
			c := done[i]
			day, err := c.PeriodFrom.Value()
			return []any{string(c.Account), string(cycle), day, c.Upto, int64(c.RatedFen), int64(c.amount), c.entry}, err
		}))
	return err
}
