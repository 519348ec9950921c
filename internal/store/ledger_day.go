package store

import (
	"bytes"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// LedgerDay is an accounting day of a site: closed, or open with what was dated on it so far.
type LedgerDay struct {
	Site      billing.SiteID `db:"site_id"`
	Day       billing.Date
	Entries   int64
	Debit     billing.Money  `db:"debit_fen"`
	Credit    billing.Money  `db:"credit_fen"`
	Accounts  int            // that moved
	Customers billing.Money  `db:"customers_fen"` // signed sum of all customers' accounts at the day's end; 0 while it is open
	Counted   *billing.Money `db:"counted_fen"`
	Digest    []byte
	ClosedBy  string
	ClosedAt  *time.Time // nil while it is open
}

// Closed says that nothing can be dated on the day any more.
func (d LedgerDay) Closed() bool { return d.ClosedAt != nil }

// CloseDay closes the next open accounting day of a site: its totals and entries are sealed under a digest, and nothing can be dated on
// it, or before it, any more. counted is the cash that a person counted; it must be what the books say. Closing a day again changes
// nothing; a day out of order, or one that isn't over, is billing.CodeBlocked.
func (s *Store) CloseDay(ctx context.Context, by By, site billing.SiteID, day billing.Date, counted *billing.Money) error {
	return s.Change(ctx, by, func(tx *Tx) error {
		var fresh bool
		if err := tx.QueryRow(ctx, `SELECT ledger_close_day($1, $2, $3, $4)`, site, day, by.Actor, counted).Scan(&fresh); err != nil || !fresh {
			return err
		}
		rows, _ := tx.Query(ctx, selectClosedDay+` WHERE site_id = $1 AND day = $2`, site, day)
		d, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[LedgerDay])
		if err != nil {
			return err
		}
		facts := map[string]any{"entries": d.Entries, "debit_fen": d.Debit, "credit_fen": d.Credit, "accounts": d.Accounts, "customers_fen": d.Customers, "digest": d.Digest}
		if counted != nil {
			facts["counted_fen"] = *counted
		}
		return tx.Journal(ctx, Entry{Site: site, Kind: "ledger_day", ID: string(site) + "/" + day.String(), Event: "closed", To: "closed", Data: facts})
	})
}

const selectClosedDay = `SELECT site_id, day, entries, debit_fen, credit_fen, accounts, customers_fen, counted_fen, digest, closed_by, closed_at FROM ledger_days`

// ClosedThrough is the last closed accounting day of a site; zero when none is closed.
func (s *Store) ClosedThrough(ctx context.Context, site billing.SiteID) (billing.Date, error) {
	var d billing.Date
	err := s.Pool.QueryRow(ctx, `SELECT max(day) FROM ledger_days WHERE site_id = $1`, site).Scan(&d)
	return d, translate(err)
}

// ClosingDue are the accounting days of a site that should be closed by now, up to and with Through.
type ClosingDue struct {
	Site    billing.SiteID
	Through billing.Date
}

// DueClosings finds up to which day a site's books should be closed and aren't: a day is over when the cycle whose freeze instant ends it
// has been charged, and keepOpen more days have gone by. A day that got no cycle is closed when none can come any more.
func (s *Store) DueClosings(ctx context.Context, site Site, now time.Time, keepOpen int) ([]ClosingDue, error) {
	today := billing.DateOf(now, site.Zone)
	var through billing.Date
	err := s.Pool.QueryRow(ctx, `
		SELECT max(day) FROM (
			SELECT c.day - 1 AS day FROM cycles c JOIN charge_runs r ON r.cycle_id = c.id AND r.state = 'charged' WHERE c.site_id = $1
			UNION ALL SELECT $2::date - 2 - $4::int
		) d
		WHERE day < $2::date - $3::int
			AND day >= (SELECT min(day) FROM ledger_entries WHERE site_id = $1)
			AND day > coalesce((SELECT max(day) FROM ledger_days WHERE site_id = $1), '-infinity')
			AND NOT EXISTS (SELECT 1 FROM cycles c LEFT JOIN charge_runs r ON r.cycle_id = c.id WHERE c.site_id = $1 AND c.day <= d.day + 1 AND r.state IS DISTINCT FROM 'charged')`,
		site.ID, today, keepOpen, catchUpDays).Scan(&through)
	if err != nil || through.IsZero() {
		return nil, translate(err)
	}
	return []ClosingDue{{site.ID, through}}, nil
}

// DaysToClose lists the days of a site that are open, in order, up to and with a day.
func (s *Store) DaysToClose(ctx context.Context, site billing.SiteID, through billing.Date) ([]billing.Date, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT d::date FROM generate_series(
			coalesce((SELECT max(day) + 1 FROM ledger_days WHERE site_id = $1), (SELECT min(day) FROM ledger_entries WHERE site_id = $1))::timestamp, $2::timestamp, '1 day') d ORDER BY d`,
		site, through)
	days, err := pgx.CollectRows(rows, pgx.RowTo[billing.Date])
	return days, translate(err)
}

// LedgerDays lists the accounting days of some sites, newest first: the open ones that something was dated on, then the closed ones.
func (s *Store) LedgerDays(ctx context.Context, sites []billing.SiteID, limit, offset int) ([]LedgerDay, int, error) {
	rows, _ := s.Pool.Query(ctx, `
		WITH closed AS (SELECT site_id, max(day) AS day FROM ledger_days GROUP BY site_id),
		open AS (SELECT e.site_id, e.day, count(DISTINCT e.id) AS entries, coalesce(sum(p.amount_fen) FILTER (WHERE p.amount_fen > 0), 0)::bigint AS debit_fen,
				coalesce(-sum(p.amount_fen) FILTER (WHERE p.amount_fen < 0), 0)::bigint AS credit_fen, count(DISTINCT p.code)::int AS accounts
			FROM ledger_entries e JOIN ledger_postings p ON p.entry_id = e.id LEFT JOIN closed c ON c.site_id = e.site_id
			WHERE e.site_id = ANY($1) AND e.day > coalesce(c.day, '-infinity') GROUP BY e.site_id, e.day)
		SELECT *, count(*) OVER ()::int AS total FROM (
			SELECT site_id, day, entries, debit_fen, credit_fen, accounts, 0::bigint AS customers_fen, NULL::bigint AS counted_fen, ''::bytea AS digest, '' AS closed_by, NULL::timestamptz AS closed_at FROM open
			UNION ALL `+selectClosedDay+` WHERE site_id = ANY($1)) d
		ORDER BY day DESC, site_id LIMIT $2 OFFSET $3`, sites, limit, offset)
	type counted struct {
		LedgerDay
		Total int
	}
	return unwrap(rows, func(d counted) (LedgerDay, int) { return d.LedgerDay, d.Total })
}

// dayRows is how many accounts a day is listed with.
const dayRows = 200

// LedgerDay reads one accounting day with what each account moved by on it: house accounts first, 200 accounts at most.
func (s *Store) LedgerDay(ctx context.Context, site billing.SiteID, day billing.Date) (LedgerDay, []ledger.DayTotal, error) {
	rows, _ := s.Pool.Query(ctx, selectClosedDay+` WHERE site_id = $1 AND day = $2`, site, day)
	closed, err := optional[LedgerDay](rows)
	if err != nil {
		return LedgerDay{}, nil, translate(err)
	}
	if closed != nil {
		totals, err := dayTotals(ctx, s.Pool, site, day, dayRows)
		return *closed, totals, err
	}
	d := LedgerDay{Site: site, Day: day}
	err = s.Pool.QueryRow(ctx, `SELECT count(DISTINCT e.id), coalesce(sum(p.amount_fen) FILTER (WHERE p.amount_fen > 0), 0)::bigint,
			coalesce(-sum(p.amount_fen) FILTER (WHERE p.amount_fen < 0), 0)::bigint, count(DISTINCT p.code)
		FROM ledger_entries e JOIN ledger_postings p ON p.entry_id = e.id WHERE e.site_id = $1 AND e.day = $2`, site, day).Scan(&d.Entries, &d.Debit, &d.Credit, &d.Accounts)
	if err != nil {
		return d, nil, translate(err)
	}
	totals, err := postedOn(ctx, s.Pool, site, day, dayRows)
	return d, totals, translate(err)
}

// houseFirst is the order of accounts in a list; $3 bounds it, 0 for all.
const houseFirst = ` ORDER BY starts_with(code, 'customer/'), code COLLATE "C" LIMIT nullif($3, 0)`

func dayTotals(ctx context.Context, q querier, site billing.SiteID, day billing.Date, limit int) ([]ledger.DayTotal, error) {
	rows, _ := q.Query(ctx, `SELECT code, debit_fen, credit_fen, balance_fen FROM ledger_day_totals WHERE site_id = $1 AND day = $2`+houseFirst, site, day, limit)
	ts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ledger.DayTotal])
	return ts, translate(err)
}

// postedOn sums the postings of a day by account. The balance is left out: an open day has none yet.
func postedOn(ctx context.Context, q querier, site billing.SiteID, day billing.Date, limit int) ([]ledger.DayTotal, error) {
	rows, _ := q.Query(ctx, `SELECT p.code, coalesce(sum(p.amount_fen) FILTER (WHERE p.amount_fen > 0), 0)::bigint, coalesce(-sum(p.amount_fen) FILTER (WHERE p.amount_fen < 0), 0)::bigint, 0::bigint
		FROM ledger_entries e JOIN ledger_postings p ON p.entry_id = e.id WHERE e.site_id = $1 AND e.day = $2 GROUP BY p.code`+houseFirst, site, day, limit)
	return pgx.CollectRows(rows, pgx.RowToStructByPos[ledger.DayTotal])
}

// VerifyDay recomputes the seal of a closed day from its entries as they are now, in Go, and says whether it is the one that was put on it.
func (s *Store) VerifyDay(ctx context.Context, site billing.SiteID, day billing.Date) (holds bool, err error) {
	err = pgx.BeginTxFunc(ctx, s.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		d := ledger.Day{Site: site, Day: day}
		var digest []byte
		err := tx.QueryRow(ctx, `SELECT digest, coalesce((SELECT p.digest FROM ledger_days p WHERE p.site_id = d.site_id AND p.day = d.day - 1), '') FROM ledger_days d
			WHERE site_id = $1 AND day = $2`, site, day).Scan(&digest, &d.Prev)
		if err != nil {
			return err
		}
		if d.Totals, err = dayTotals(ctx, tx, site, day, 0); err != nil {
			return err
		}
		posted, err := postedOn(ctx, tx, site, day, 0)
		if err != nil {
			return err
		}
		same := len(posted) == len(d.Totals)
		for i := 0; same && i < len(posted); i++ {
			same = posted[i].Code == d.Totals[i].Code && posted[i].Debit == d.Totals[i].Debit && posted[i].Credit == d.Totals[i].Credit
		}
		rows, _ := tx.Query(ctx, `SELECT request_hash FROM ledger_entries WHERE site_id = $1 AND day = $2 ORDER BY id`, site, day)
		if d.Requests, err = pgx.CollectRows(rows, pgx.RowTo[[]byte]); err != nil {
			return err
		}
		holds = same && bytes.Equal(d.Digest(), digest)
		return nil
	})
	return holds, translate(err)
}
