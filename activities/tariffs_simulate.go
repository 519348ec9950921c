package activities

import (
	"context"
	"maps"
	"slices"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// OpenSimulation asks what the present revision of a change would have meant for the last month's real use.
type OpenSimulation struct {
	Change billing.TariffChangeID
	By     billing.UserID
	Tariff billing.TariffID // whose accounts; empty: the change's own
	Sample int              // how many accounts at most; 0: all
}

// SimulationRef names a simulation.
type SimulationRef struct {
	Simulation int64
}

// OpenSimulation begins a simulation of the last whole month, or, where accounts are younger than that, of the days since they were opened.
func (a *Tariffs) OpenSimulation(ctx context.Context, in OpenSimulation) (SimulationRef, error) {
	if err := authorize(ctx, a.Store, in.By, auth.SimulateTariff, ""); err != nil {
		return SimulationRef{}, err
	}
	if in.Sample < 0 {
		return SimulationRef{}, billing.Errorf(billing.CodeInvalidInput, "the sample of %d accounts is negative: leave it out to take all", in.Sample)
	}
	if in.Tariff == "" {
		c, err := a.Store.TariffChange(ctx, in.Change)
		if err != nil {
			return SimulationRef{}, err
		}
		in.Tariff = c.Tariff
	}
	period, err := a.simulatedPeriod(ctx, in.Tariff)
	if err != nil {
		return SimulationRef{}, err
	}
	sim, err := a.Store.OpenSimulation(ctx, byPerson(ctx, in.By, ""), store.NewSimulation{Change: in.Change, Tariff: in.Tariff, Sample: in.Sample, Period: period, By: in.By})
	return SimulationRef{Simulation: sim.ID}, err
}

// simulatedPeriod is the last whole month of the sites' calendar, when an account of the tariff was open in it; else the days since the
// first one was opened.
func (a *Tariffs) simulatedPeriod(ctx context.Context, tariff billing.TariffID) (billing.Period, error) {
	var none billing.Period
	sites, err := a.Store.SimulationSites(ctx, store.TariffSimulation{Tariff: tariff})
	if err != nil {
		return none, err
	}
	if len(sites) == 0 {
		return none, billing.Errorf(billing.CodeBlocked, "nobody uses tariff %s yet: simulate the change on the accounts of another tariff", tariff)
	}
	site, err := a.Store.Site(ctx, sites[0])
	if err != nil {
		return none, err
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return none, err
	}
	first, err := a.Store.FirstOpened(ctx, tariff)
	if err != nil {
		return none, err
	}
	today := billing.DateOf(clock.Now, site.Zone)
	last := billing.MonthPeriod(billing.MonthPeriod(today).From.AddDays(-1))
	if since := (billing.Period{From: first, To: today}); !first.Before(last.To) && since.Validate() == nil {
		return since, nil
	}
	return last, nil // accounts without a whole day of use are left out, which the result says
}

// simulatedSoFar is what a simulation heartbeats: it goes on after the last page that was stored.
type simulatedSoFar struct {
	Site  billing.SiteID
	After billing.AccountID
}

// SimulateTariff rates the real use of a simulation's accounts by the prices that are in force now and by the draft, page by page, in the
// way in which bills are rated. Nothing is posted.
func (a *Tariffs) SimulateTariff(ctx context.Context, in SimulationRef) error {
	sim, err := a.Store.TariffSimulation(ctx, in.Simulation)
	if err != nil || sim.State != "running" {
		return err
	}
	c, err := a.Store.TariffChange(ctx, sim.Change)
	if err != nil {
		return err
	}
	if c.Revision != sim.Revision {
		_, err := a.Store.EndSimulation(ctx, byWorkflow(ctx), sim.ID, "the draft was edited meanwhile: simulate it again")
		return err
	}
	sites, err := a.Store.SimulationSites(ctx, sim)
	if err != nil {
		return err
	}
	var at simulatedSoFar
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &at); err != nil {
			return err
		}
	}
	for _, site := range sites {
		if site < at.Site {
			continue
		}
		if site > at.Site {
			at = simulatedSoFar{Site: site}
		}
		if err := a.simulateSite(ctx, sim, c, &at); err != nil {
			if code := billing.CodeOf(err); code != billing.CodeInternal && !retryable[code] {
				_, err = a.Store.EndSimulation(ctx, byWorkflow(ctx), sim.ID, billing.MessageOf(err))
			}
			return err
		}
	}
	_, err = a.Store.EndSimulation(ctx, byWorkflow(ctx), sim.ID, "")
	return err
}

func (a *Tariffs) simulateSite(ctx context.Context, sim store.TariffSimulation, c store.TariffChange, at *simulatedSoFar) error {
	site, err := a.Store.Site(ctx, at.Site)
	if err != nil {
		return err
	}
	for {
		accounts, err := a.Store.SimulatedAccounts(ctx, sim, site.ID, at.After, chargePage)
		if err != nil || len(accounts) == 0 {
			return err
		}
		page, err := a.simulatePage(ctx, site, sim, c, accounts)
		if err != nil {
			return err
		}
		if err := a.Store.SaveSimulationPage(ctx, sim.ID, page); err != nil {
			return err
		}
		at.After = accounts[len(accounts)-1].ID
		activity.RecordHeartbeat(ctx, *at)
	}
}

// simulatePage rates a page of accounts twice. One whose readings don't carry the period is left out, and counted as skipped at the end.
func (a *Tariffs) simulatePage(ctx context.Context, site store.Site, sim store.TariffSimulation, c store.TariffChange, accounts []store.MeteredAccount) ([]store.SimulatedAccount, error) {
	m, err := loadMetered(ctx, a.Store, site, accounts)
	if err != nil {
		return nil, err
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return nil, err
	}
	tariff := m.tariffs[sim.Tariff]
	now, _, err := tariff.VersionAt(billing.DateOf(clock.Now, site.Zone))
	if err != nil {
		return nil, err
	}
	period := billing.Period{From: sim.From, To: sim.To}
	var spans []span
	for _, account := range accounts {
		if sp, ok := m.open(account, period, clock.Now); ok {
			spans = append(spans, sp)
		}
	}
	if err := m.want(ctx, a.Store, spans); err != nil {
		return nil, err
	}
	before, after := m.under(alwaysIn(tariff, now)), m.under(alwaysIn(tariff, c.Version))
	page := make([]store.SimulatedAccount, 0, len(spans))
	for _, sp := range spans {
		was, _, err := before.rate(sp)
		var will rating.Result
		if err == nil {
			will, _, err = after.rate(sp)
		}
		if err != nil {
			activity.GetLogger(ctx).Info("account left out of a simulation", "account", sp.account.ID, "error", err)
			continue
		}
		days := billing.DateOf(sp.from, site.Zone).DaysUntil(billing.DateOf(sp.to, site.Zone))
		page = append(page, store.SimulatedAccount{Account: sp.account.ID, Site: site.ID, Quantity: was.Use.Total(), Days: days, BeforeFen: was.Total, AfterFen: will.Total})
	}
	return page, nil
}

// alwaysIn is a tariff that has had one version ever since.
func alwaysIn(t billing.Tariff, v billing.TariffVersion) billing.Tariff {
	v.From = billing.NewDate(2000, 1, 1)
	t.Versions = []billing.TariffVersion{v}
	return t
}

// under is the same page of accounts as if they had always paid by one tariff; all else that was agreed with them stays.
func (m *metered) under(t billing.Tariff) *metered {
	other := *m
	other.rater = rating.Rater{}
	other.tariffs = maps.Clone(m.tariffs)
	other.tariffs[t.ID] = t
	other.terms = map[billing.AccountID][]store.AccountTerms{}
	for account, terms := range m.terms {
		own := slices.Clone(terms)
		for i := range own {
			own[i].Tariff = t.ID
		}
		other.terms[account] = own
	}
	return &other
}
