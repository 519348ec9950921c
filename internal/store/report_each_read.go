package store

import (
	"context"

	"github.com/meterflow/meterflow/internal/billing"
)

// EachUse reads a whole report of energy and money for a file, a page of accounts at a time.
func (s *Store) EachUse(ctx context.Context, f UseFilter, accounts int, see func(UseRow) error) error {
	return eachPage(func(after billing.AccountID) ([]UseRow, billing.AccountID, error) {
		return s.UsePage(ctx, f, after, accounts)
	}, see)
}

// EachCustomer reads a month's whole table of customers for a file, a page of accounts at a time.
func (s *Store) EachCustomer(ctx context.Context, f UseFilter, accounts int, see func(CustomerRow) error) error {
	return eachPage(func(after billing.AccountID) ([]CustomerRow, billing.AccountID, error) {
		return s.CustomerPage(ctx, f, after, accounts)
	}, see)
}

func eachPage[R any](read func(after billing.AccountID) ([]R, billing.AccountID, error), see func(R) error) error {
	var after billing.AccountID
	for {
		rows, next, err := read(after)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := see(r); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// EachOwed reads a whole list of whom the filter names, a page at a time.
func (s *Store) EachOwed(ctx context.Context, f OwedFilter, page int, see func(OwedRow) error) error {
	var after *OwedCursor
	for {
		rows, last, more, err := s.OwedPage(ctx, f, after, page)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := see(r); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		after = &last
	}
}
