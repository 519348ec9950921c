package activities

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Due finds the work that should exist by now and doesn't.
type Due struct {
	Store *store.Store
}

// FindDueInput names a site.
type FindDueInput struct {
	Site billing.SiteID
}

// DueWork is what is to be started; its parts are the inputs of the workflows that do it.
type DueWork struct {
	Cycles  []store.CycleDue
	Charges []store.ChargeDue
	Runs    []store.RunDue
	// Closings are days whose books are to be closed.
	Closings []store.ClosingDue
	Rounds   []PlanRound
	// Clocks is the batch that sets the clocks which the day's readings showed to be off; at most one.
	Clocks []ClockBatch `json:",omitempty"`
}

// Empty says that nothing is due.
func (d DueWork) Empty() bool {
	return len(d.Cycles)+len(d.Charges)+len(d.Runs)+len(d.Closings)+len(d.Rounds)+len(d.Clocks) == 0
}

// FindDue finds a site's due work, seals the journal and sums the house accounts of the day before on the way, and ends holds whose time
// is over.
func (a *Due) FindDue(ctx context.Context, in FindDueInput) (DueWork, error) {
	site, err := a.Store.Site(ctx, in.Site)
	if err != nil {
		return DueWork{}, err
	}
	c, err := a.Store.Clock(ctx)
	if err != nil {
		return DueWork{}, err
	}
	yesterday := billing.DateOf(c.Now, site.Zone).AddDays(-1)
	if err := a.Store.SealDay(ctx, site.ID, yesterday); err != nil {
		return DueWork{}, err
	}
	if err := a.Store.SnapshotHouse(ctx, site.ID, yesterday); err != nil {
		return DueWork{}, err
	}
	if _, err := a.Store.ExpireHolds(ctx, byWorkflow(ctx), site.ID); err != nil {
		return DueWork{}, err
	}
	return FindDue(ctx, a.Store, site, c.Now)
}

// FindDue is the question alone: what should exist at this business instant and doesn't.
func FindDue(ctx context.Context, s *store.Store, site store.Site, now time.Time) (DueWork, error) {
	var d DueWork
	var err error
	if d.Cycles, err = s.DueCycles(ctx, site, now); err != nil {
		return d, err
	}
	if d.Charges, err = s.DueCharges(ctx, site.ID); err != nil {
		return d, err
	}
	if d.Runs, err = s.DueRuns(ctx, site, now); err != nil {
		return d, err
	}
	rounds, err := s.DueRounds(ctx, site, now)
	if err != nil {
		return d, err
	}
	for _, r := range rounds {
		d.Rounds = append(d.Rounds, PlanRound{RoundID: r.RoundID, Route: r.Route, Kind: r.Kind, DueOn: r.DueOn})
	}
	policy, err := policyOf(site)
	if err != nil {
		return d, err
	}
	id, clocks, err := (&Batches{Store: s}).dueClocks(ctx, site, policy, now)
	if len(clocks) > 0 {
		d.Clocks = []ClockBatch{{BatchID: id, Site: site.ID}}
	}
	if err != nil || policy.Ledger.ByHand {
		return d, err
	}
	d.Closings, err = s.DueClosings(ctx, site, now, policy.Ledger.KeepOpenDays)
	return d, err
}
