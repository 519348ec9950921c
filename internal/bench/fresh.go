package bench

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// Fresh prices the month of one account from the formula alone, without any stored row but the tariff.
func (u Utility) Fresh(n int, tariff billing.Tariff, from, to time.Time) (rating.Result, error) {
	first, last := Opened.DaysUntil(Month.From), Opened.DaysUntil(Month.To)
	opening, closing := Registers(n, first), Registers(n, last)
	in := rating.Input{
		Tariff: tariff, Location: from.Location(), From: from, To: to,
		Fittings: []rating.Fitting{{No: 1, Meter: u.Meter(n), Ratio: 1, Digits: 8}},
		Points: []rating.Point{
			{At: from, Registers: opening, Quality: billing.QualityActual, Fitting: 1}, {At: to, Registers: closing, Quality: billing.QualityActual, Fitting: 1},
		},
		UsedInYear: tariff.Service.Quantity(opening.Total()),
	}
	return rating.Rate(in)
}

// Check holds the site's issued run against a fresh computation of every account: each is billed once, for what its registers moved, to
// the fen.
func (u Utility) Check(ctx context.Context, s *store.Store) error {
	tariffs, err := s.Tariffs(ctx)
	if err != nil {
		return err
	}
	rows, err := s.Pool.Query(ctx, `SELECT account_id, state, quantity, total_fen FROM bills WHERE site_id = $1 AND period_from = $2 ORDER BY account_id`, u.Site, Month.From)
	if err != nil {
		return err
	}
	defer rows.Close()
	from, to := Month.Instants(Zone())
	n := 0
	for rows.Next() {
		n++
		var account billing.AccountID
		var state billing.BillState
		var quantity int64
		var total billing.Money
		if err := rows.Scan(&account, &state, &quantity, &total); err != nil {
			return err
		}
		want, err := u.Fresh(n, tariffs[Tariff(n)], from, to)
		if err != nil {
			return err
		}
		if account != u.Account(n) || state != billing.BillIssued || quantity != want.Use.Total() || total != want.Total {
			return billing.Errorf(billing.CodeInternal, "bill %d is of account %s, %s, for %d raw units and %s yuan; a fresh computation for %s gives %d and %s",
				n, account, state, quantity, total, u.Account(n), want.Use.Total(), want.Total)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if n != u.Accounts {
		return billing.Errorf(billing.CodeInternal, "site %s has %d bills for %d accounts", u.Site, n, u.Accounts)
	}
	return nil
}
