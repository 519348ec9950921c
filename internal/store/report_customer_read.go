package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// CustomerRow is an account in the table of a month: what it used and paid, what it does on average, and what it has. Quantities are
// raw units after the ratio.
type CustomerRow struct {
	UseRow
	// Bills counts the issued bills of the twelve months up to the report's; their sums give the averages.
	Bills    int
	YearUse  int64
	YearFen  billing.Money
	MonthUse int64 // of the month's issued bill
}

// Used is the use of the month: the bill's where one is issued, else what the readings give; nil without either.
func (r CustomerRow) Used() *int64 {
	if r.Bill != "" {
		return &r.MonthUse
	}
	return r.Use
}

// AverageUse is the use of an average month, rounded half up; zero without bills.
func (r CustomerRow) AverageUse() int64 { return average(r.YearUse, r.Bills) }

// AverageFen is the amount of an average month, rounded half up; zero without bills.
func (r CustomerRow) AverageFen() billing.Money {
	return billing.Money(average(int64(r.YearFen), r.Bills))
}

func average(sum int64, n int) int64 {
	if n == 0 {
		return 0
	}
	count := int64(n)
	if sum < 0 {
		return -average(-sum, n)
	}
	return (2*sum + count) / (2 * count)
}

// CustomerPage is the table of a month for a page of accounts, one row each, by number after the given one.
func (s *Store) CustomerPage(ctx context.Context, f UseFilter, after billing.AccountID, accounts int) ([]CustomerRow, billing.AccountID, error) {
	f.ByMonth = true
	uses, next, err := s.UsePage(ctx, f, after, accounts)
	if err != nil {
		return nil, "", err
	}
	var rows []CustomerRow
	var ids []billing.AccountID
	at := map[billing.AccountID]int{}
	for _, u := range uses {
		if i, seen := at[u.Account]; seen {
			addUse(&rows[i].UseRow, u) // another meter of the month
			continue
		}
		at[u.Account] = len(rows)
		rows, ids = append(rows, CustomerRow{UseRow: u}), append(ids, u.Account)
	}
	found, err := s.Pool.Query(ctx, `SELECT account_id, count(*)::int, sum(quantity)::bigint, sum(total_fen)::bigint,
			coalesce(sum(quantity) FILTER (WHERE period_from >= $3::date - interval '1 month'), 0)::bigint
		FROM bills WHERE account_id = ANY($1) AND state = 'issued' AND period_from >= $2::date - interval '11 months' AND period_from < $3::date GROUP BY account_id`,
		ids, f.From, f.To)
	if err != nil {
		return nil, "", translate(err)
	}
	var id billing.AccountID
	var r CustomerRow
	_, err = pgx.ForEachRow(found, []any{&id, &r.Bills, &r.YearUse, &r.YearFen, &r.MonthUse}, func() error {
		row := &rows[at[id]]
		row.Bills, row.YearUse, row.YearFen, row.MonthUse = r.Bills, r.YearUse, r.YearFen, r.MonthUse
		return nil
	})
	return rows, next, translate(err)
}

// addUse adds the use of a second meter; without one of the two the sum isn't known.
func addUse(into *UseRow, u UseRow) {
	into.Meter, into.Closing, into.Quality = u.Meter, u.Closing, u.Quality
	if into.Use == nil || u.Use == nil {
		into.Use = nil
		return
	}
	sum := *into.Use + *u.Use
	into.Use = &sum
}
