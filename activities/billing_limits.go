package activities

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/control"
	"github.com/meterflow/meterflow/internal/store"
)

// applyLimits holds those of a page of rated bills that a limit of the site stops, with the reasons; the rest goes on.
func (a *Billing) applyLimits(ctx context.Context, r store.Run, site store.Site, drafts []store.Draft) error {
	policy, err := a.limitsOf(ctx, r, site)
	if err != nil {
		return err
	}
	accounts := make([]billing.AccountID, len(drafts))
	for i, d := range drafts {
		accounts[i] = d.Account
	}
	pasts, err := a.Store.BillPasts(ctx, accounts, r.Period())
	if err != nil {
		return err
	}
	estimated, err := a.estimated(ctx, r, site, drafts)
	if err != nil {
		return err
	}
	for i := range drafts {
		d := &drafts[i]
		if d.Hold != "" {
			continue // it has no price yet
		}
		past := pasts[d.Account]
		stops := policy.Of(past.Service).Judge(factsOf(r, *d, past, estimated[d.ID]))
		for _, s := range stops {
			d.Stops = append(d.Stops, store.BillStop{Rule: string(s.Rule), Was: s.Was, Allowed: s.Limit})
		}
		d.Hold = control.Reason(stops)
	}
	return nil
}

// limitsOf are the limits that were published for a run's month, or else those of the site's policy.
func (a *Billing) limitsOf(ctx context.Context, r store.Run, site store.Site) (control.Policy, error) {
	published, err := a.Store.BillingLimitsOf(ctx, site.ID, r.PeriodFrom)
	if err != nil {
		return control.Policy{}, err
	}
	if published == nil {
		return control.SitePolicy(site.Policy)
	}
	return control.ParsePolicy(published)
}

func factsOf(r store.Run, d store.Draft, past store.BillPast, estimated int64) control.Facts {
	f := control.Facts{
		Service: past.Service, Class: past.Class, Days: daysOf(d), Quantity: d.Quantity, Total: d.TotalFen, Estimated: estimated,
		Last:        control.Past{Days: past.LastDays, Quantity: past.LastQuantity, Fen: past.LastFen},
		Year:        control.Past{Days: past.YearDays, Quantity: past.YearQuantity, Fen: past.YearFen},
		EarlierHeld: past.EarlierHeld,
	}
	// Without bills of ours the former system's use of the year says what is usual.
	if first := billing.NewDate(past.OpenedOn.Year(), time.January, 1); f.Year.Days == 0 && past.UseBefore > 0 && r.PeriodFrom.Year() == past.OpenedOn.Year() {
		f.Year = control.Past{Days: int64(first.DaysUntil(past.OpenedOn)), Quantity: past.UseBefore}
	}
	return f
}

// daysOf is how many days a bill's readings span, rounded up.
func daysOf(d store.Draft) int64 {
	if len(d.Readings) == 0 {
		return 0
	}
	const day = 24 * time.Hour
	span := d.Readings[len(d.Readings)-1].To.Sub(d.Readings[0].From)
	return int64((span + day - 1) / day)
}

// estimated is how much of each bill's use nobody measured: what its closing estimates add to the last measured value. Few bills end on
// an estimate, so only theirs are looked up.
func (a *Billing) estimated(ctx context.Context, r store.Run, site store.Site, drafts []store.Draft) (map[billing.BillID]int64, error) {
	end := r.PeriodTo.Start(site.Zone)
	closing := func(d store.Draft) (store.BillReading, bool) {
		if len(d.Readings) == 0 {
			return store.BillReading{}, false
		}
		last := d.Readings[len(d.Readings)-1]
		return last, last.Estimated && last.To.Equal(end)
	}
	var meters []billing.MeterID
	for _, d := range drafts {
		if c, ok := closing(d); ok {
			meters = append(meters, c.Meter)
		}
	}
	if len(meters) == 0 {
		return nil, nil
	}
	measured, err := a.Store.LastMeasured(ctx, meters, r.PeriodTo, site.ID)
	if err != nil {
		return nil, err
	}
	found := map[billing.BillID]int64{}
	for _, d := range drafts {
		c, ok := closing(d)
		if !ok {
			continue
		}
		found[d.ID] = d.Quantity
		if raw, known := measured[c.Meter]; known {
			wrap := billing.Wrap(c.Digits)
			found[d.ID] = min(d.Quantity, (c.Closing.Total()-raw+wrap)%wrap*c.Ratio)
		}
	}
	return found, nil
}
