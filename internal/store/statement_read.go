package store

import (
	"context"

	"github.com/meterflow/meterflow/internal/billing"
)

// Statement is what an account's statement says: its months and days, and the bills of the time.
type Statement struct {
	Account AccountRow
	Period  billing.Period
	Months  []UseRow
	Days    []UseRow // empty when the time is longer than daysShown
	Bills   []BillSheet
}

// daysShown is up to how many days a statement tells one by one.
const daysShown = 62

// StatementOf reads an account's statement over whole months.
func (s *Store) StatementOf(ctx context.Context, a AccountRow, p billing.Period) (Statement, error) {
	st := Statement{Account: a, Period: p}
	f := UseFilter{Sites: []billing.SiteID{a.Site}, Account: a.ID, From: p.From, To: p.To, ByMonth: true}
	var err error
	if st.Months, _, err = s.UsePage(ctx, f, "", 1); err != nil {
		return st, err
	}
	if p.Days() <= daysShown {
		f.ByMonth = false
		if st.Days, _, err = s.UsePage(ctx, f, "", 1); err != nil {
			return st, err
		}
	}
	st.Bills, err = s.AccountSheets(ctx, a.ID, p.From, p.To)
	return st, err
}

// Counter is what the counter's payment list of an account and month says.
type Counter struct {
	Account AccountRow
	Month   billing.Period
	Bills   []BillSheet
	Paid    []Paid
}

// CounterOf reads the counter's payment list of an account and month.
func (s *Store) CounterOf(ctx context.Context, a AccountRow, month billing.Period) (Counter, error) {
	c := Counter{Account: a, Month: month}
	site, err := s.Site(ctx, a.Site)
	if err != nil {
		return c, err
	}
	if c.Bills, err = s.AccountSheets(ctx, a.ID, month.From, month.To); err != nil {
		return c, err
	}
	from, to := month.Instants(site.Zone)
	c.Paid, err = s.PaidBy(ctx, a.ID, from, to)
	return c, err
}
