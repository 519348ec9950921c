package store

import (
	"context"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

const selectSheet = `SELECT ` + billColumns + `, c.name AS customer, account_class(a.id, b.period_to - 1) AS class, p.address, a.credit_mode, t.name_zh AS tariff_zh, t.name_en AS tariff_en,
		r.state AS run_state, r.issued_by IS NOT NULL AS run_issued, r.issued_at, coalesce(bal.balance_fen, 0) AS balance_fen
	FROM bills b JOIN accounts a ON a.id = b.account_id JOIN customers c ON c.id = a.customer_id JOIN service_points p ON p.id = a.service_point_id
	JOIN tariffs t ON t.id = b.tariff_id JOIN billing_runs r ON r.id = b.run_id LEFT JOIN balances bal ON bal.account_id = a.id`

// sheetPage is how many bills are read at once for printing.
const sheetPage = 200

// RunSheets reads the bills of a run that go out, one after the other by account, a page at a time: however many there are, few are in
// memory. Held and cancelled ones are left out.
func (s *Store) RunSheets(ctx context.Context, run billing.RunID) iter.Seq2[BillSheet, error] {
	return func(yield func(BillSheet, error) bool) {
		var after billing.AccountID
		for {
			page, err := s.sheets(ctx, ` WHERE b.run_id = $1 AND b.account_id > $2 AND b.state IN ('draft', 'issued') ORDER BY b.run_id, b.account_id LIMIT $3`, run, after, sheetPage)
			if err != nil {
				yield(BillSheet{}, err)
				return
			}
			for _, b := range page {
				if !yield(b, nil) {
					return
				}
			}
			if len(page) < sheetPage {
				return
			}
			after = page[len(page)-1].Account
		}
	}
}

// AccountSheets reads the issued bills of an account whose periods begin in [from, to), oldest first.
func (s *Store) AccountSheets(ctx context.Context, account billing.AccountID, from, to billing.Date) ([]BillSheet, error) {
	return s.sheets(ctx, ` WHERE b.account_id = $1 AND b.state = 'issued' AND b.period_from >= $2 AND b.period_from < $3 ORDER BY b.period_from`, account, from, to)
}

func (s *Store) sheets(ctx context.Context, where string, args ...any) ([]BillSheet, error) {
	rows, _ := s.Pool.Query(ctx, selectSheet+where, args...)
	sheets, err := pgx.CollectRows(rows, pgx.RowToStructByName[BillSheet])
	if err != nil || len(sheets) == 0 {
		return nil, translate(err)
	}
	ids, at := make([]billing.BillID, len(sheets)), map[billing.BillID]int{}
	for i, b := range sheets {
		ids[i], at[b.ID] = b.ID, i
	}
	rows, err = s.Pool.Query(ctx, `SELECT bill_id, seq, component, name_zh, name_en, register, tier, from_at, to_at, opening, closing, quantity::text, price::text, factor::text, amount_fen, unit, thirtieths
		FROM bill_lines WHERE bill_id = ANY($1) ORDER BY bill_id, seq`, ids)
	if err != nil {
		return nil, translate(err)
	}
	var bill billing.BillID
	var l BillLine
	_, err = pgx.ForEachRow(rows, []any{&bill, &l.Seq, &l.Component, &l.NameZH, &l.NameEN, &l.Register, &l.Tier, &l.FromAt, &l.ToAt, &l.Opening, &l.Closing,
		&l.Quantity, &l.Price, &l.Factor, &l.AmountFen, &l.Unit, &l.Thirtieths}, func() error {
		line := l
		line.Opening, line.Closing = copyOf(l.Opening), copyOf(l.Closing)
		sheets[at[bill]].Lines = append(sheets[at[bill]].Lines, line)
		return nil
	})
	if err != nil {
		return nil, translate(err)
	}
	stated, err := s.statedAdjustments(ctx, ids)
	for bill, adjustments := range stated {
		sheets[at[bill]].Adjustments = adjustments
	}
	if err != nil {
		return nil, err
	}
	plans, err := s.statedPlans(ctx, ids)
	for bill, of := range plans {
		sheets[at[bill]].Plans = of
	}
	return sheets, err
}

func copyOf(v *int64) *int64 {
	if v == nil {
		return nil
	}
	c := *v
	return &c
}

// Payments reads the lines of a run's payment list as PaymentList does, but one after the other: by account.
func (s *Store) Payments(ctx context.Context, run billing.RunID) iter.Seq2[PaymentRow, error] {
	return func(yield func(PaymentRow, error) bool) {
		var after billing.AccountID
		for {
			page, err := s.PaymentPage(ctx, run, after, sheetPage)
			if err != nil {
				yield(PaymentRow{}, err)
				return
			}
			for _, p := range page {
				if !yield(p, nil) {
					return
				}
			}
			if len(page) < sheetPage {
				return
			}
			after = page[len(page)-1].Account
		}
	}
}

// Paid is one credited recharge of an account.
type Paid struct {
	ID        billing.RechargeID
	At        time.Time // credited
	Channel   string
	AmountFen billing.Money
	Receipt   string
}

// PaidBy lists the credited recharges of an account in [from, to), oldest first.
func (s *Store) PaidBy(ctx context.Context, account billing.AccountID, from, to time.Time) ([]Paid, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT id, settled_at, channel, amount_fen, coalesce(receipt_no, '') FROM recharges
		WHERE account_id = $1 AND state = 'credited' AND settled_at >= $2 AND settled_at < $3 ORDER BY settled_at, id`, account, from, to)
	paid, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Paid])
	return paid, translate(err)
}
