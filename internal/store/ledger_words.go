package store

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// The ledger's words, for the edges that may know the store alone.
type (
	// LedgerCode names an account of the books.
	LedgerCode = ledger.Code
	// NewHold is a request to keep back a part of a customer's credit.
	NewHold = ledger.Hold
	// DayTotal is what one account moved by on an accounting day.
	DayTotal = ledger.DayTotal
)

// CustomerCode is the account of the books that holds a customer's credit.
func CustomerCode(account billing.AccountID) LedgerCode { return ledger.Customer(account) }

// HoldFor is the hold of an amount for a purpose.
func HoldFor(account billing.AccountID, amount billing.Money, purpose, subject, key string, expires time.Time) NewHold {
	return NewHold{Account: account, Amount: amount, Purpose: ledger.HoldPurpose(purpose), Subject: subject, Key: key, ExpiresAt: expires}
}

// OpenChartAccount is OpenHouseAccount for a name within the site, such as "fees/late".
func (s *Store) OpenChartAccount(ctx context.Context, by By, site billing.SiteID, name, kind, zh, en string) (LedgerCode, error) {
	code := ledger.HouseCode(site, name)
	return code, s.OpenHouseAccount(ctx, by, site, ledger.Account{Code: code, Kind: ledger.AccountKind(kind), NameZH: zh, NameEN: en})
}

// PayOutHold posts an amount of a hold to the house account that money of a channel (cash, transfer, online) leaves from.
func (s *Store) PayOutHold(ctx context.Context, by By, id string, amount billing.Money, channel string) (Hold, error) {
	h, err := s.Hold(ctx, id)
	if err != nil {
		return h, err
	}
	from, err := ledger.Received(h.Site, channel)
	if err != nil {
		return h, err
	}
	return s.PostHold(ctx, by, id, amount, from)
}
