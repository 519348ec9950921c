package activities

import (
	"context"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Closing closes the books of ended accounting days.
type Closing struct {
	Store *store.Store
}

// LedgerPolicy is when a site's accounting days close by themselves: once the day's use has been charged.
type LedgerPolicy struct {
	ByHand       bool `json:"by_hand"`        // days close only when a person closes them
	KeepOpenDays int  `json:"keep_open_days"` // a day stays open for so many more days
}

// CloseDays closes a site's accounting days up to and with Through. By is empty when no person asked for it.
type CloseDays struct {
	Site    billing.SiteID
	Through billing.Date
	By      billing.UserID
	Counted *billing.Money // cash that By counted at the end of Through; fen
}

// CloseDays closes the open days in order, each with its seal. Days that are closed stay as they are.
func (a *Closing) CloseDays(ctx context.Context, in CloseDays) error {
	by := byWorkflow(ctx)
	if in.By != "" {
		if err := authorize(ctx, a.Store, in.By, auth.CloseDay, in.Site); err != nil {
			return err
		}
		by = byPerson(ctx, in.By, "")
	}
	days, err := a.Store.DaysToClose(ctx, in.Site, in.Through)
	if err != nil {
		return err
	}
	if len(days) == 0 && in.By != "" {
		return billing.Errorf(billing.CodeClosed, "The day %s is closed already: nothing was changed.", in.Through)
	}
	for _, day := range days {
		counted := in.Counted
		if day != in.Through {
			counted = nil
		}
		if err := a.Store.CloseDay(ctx, by, in.Site, day, counted); err != nil {
			return err
		}
	}
	return nil
}
