package activities

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/supply"
)

// Rating charges accounts day by day: rated(period to date) − charged so far.
type Rating struct {
	Store *store.Store
}

// chargePage is how many accounts are charged in one transaction.
const chargePage = 500

// ChargeCycle names the closed cycle whose site is charged.
type ChargeCycle = store.ChargeDue

// ChargeOpened says whether there is anything left to charge.
type ChargeOpened struct {
	Charged bool
}

// OpenCharge says that a cycle's accounts are being charged. The parts of payment plans whose day has come fall due first, so that who is
// low is judged by them.
func (a *Rating) OpenCharge(ctx context.Context, in ChargeCycle) (ChargeOpened, error) {
	c, charged, err := a.Store.OpenChargeRun(ctx, byWorkflow(ctx), in.CycleID)
	if err == nil && !charged {
		err = a.Store.FallDue(ctx, byWorkflow(ctx), c.Site, messageText)
	}
	return ChargeOpened{Charged: charged}, err
}

// Charged counts what a charge did. Skipped accounts couldn't be rated: they stand among the uncharged ones until a charge can.
type Charged struct {
	Accounts int
	Skipped  int
}

// chargeProgress is what a charge heartbeats: it goes on after the last page that was committed.
type chargeProgress struct {
	After billing.AccountID
	Done  Charged
}

// ChargeAccounts charges all accounts of the cycle's site that have a good reading which is newer than their last charge, in pages.
func (a *Rating) ChargeAccounts(ctx context.Context, in ChargeCycle) (Charged, error) {
	c, err := a.Store.Cycle(ctx, in.CycleID)
	if err != nil {
		return Charged{}, err
	}
	site, policy, err := sitePolicy(ctx, a.Store, c.Site)
	if err != nil {
		return Charged{}, err
	}
	var at chargeProgress
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &at); err != nil {
			return Charged{}, err
		}
	}
	for {
		accounts, err := a.Store.MeteredAccounts(ctx, c.Site, at.After, chargePage)
		if err != nil || len(accounts) == 0 {
			return at.Done, err
		}
		done, err := a.chargePage(ctx, site, policy, c, accounts)
		if err != nil {
			return at.Done, err
		}
		failpoint.Hit("charge-page-committed")
		at.After = accounts[len(accounts)-1].ID
		at.Done.Accounts += done.Accounts
		at.Done.Skipped += done.Skipped
		activity.RecordHeartbeat(ctx, at)
	}
}

func (a *Rating) chargePage(ctx context.Context, site store.Site, policy Policy, c store.Cycle, accounts []store.MeteredAccount) (Charged, error) {
	m, err := loadMetered(ctx, a.Store, site, accounts)
	if err != nil {
		return Charged{}, err
	}
	spans, err := m.chargeSpans(ctx, a.Store, c.FreezeAt)
	if err != nil {
		return Charged{}, err
	}
	var charges []store.Charge
	var count Charged
	var rated []billing.AccountID
	var not []store.Uncharged
	for _, account := range accounts {
		own, err := m.charges(account, spans[account.ID])
		if err != nil {
			// One account that can't be rated never holds up the others; the next cycle tries again, and people see it meanwhile.
			activity.GetLogger(ctx).Warn("account not charged", "account", account.ID, "error", err)
			not = append(not, store.Uncharged{Account: account.ID, Reason: billing.MessageOf(err)})
			count.Skipped++
			continue
		}
		if len(own) == 0 {
			continue
		}
		count.Accounts++
		rated = append(rated, account.ID)
		charges = append(charges, own...)
	}
	if err := a.Store.NoteUncharged(ctx, byWorkflow(ctx), c.ID, rated, not); err != nil {
		return Charged{}, err
	}
	return count, a.Store.SaveCharges(ctx, byWorkflow(ctx), c.ID, charges, billing.MakeUpRuleOn(policy.Billing.MakeUp, billing.DateOf(c.FreezeAt, site.Zone)), lowLevel(policy.Supply, accounts))
}

// chargeSpans finds, for each account, the open periods up to its newest good reading, and loads the readings that they need.
func (m *metered) chargeSpans(ctx context.Context, s *store.Store, upTo time.Time) (map[billing.AccountID][]span, error) {
	var meters []billing.MeterID
	for _, a := range m.accounts {
		if fs := m.fittings[a.ServicePoint]; len(fs) > 0 {
			meters = append(meters, fs[len(fs)-1].Meter)
		}
	}
	latest, err := s.LatestGood(ctx, meters, upTo)
	if err != nil {
		return nil, err
	}
	spans := map[billing.AccountID][]span{}
	var all []span
	for _, a := range m.accounts {
		fs := m.fittings[a.ServicePoint]
		if len(fs) == 0 {
			continue
		}
		r, ok := latest[fs[len(fs)-1].Meter]
		if !ok || (a.LastUpto != nil && !r.FreezeAt.After(*a.LastUpto)) {
			continue
		}
		spans[a.ID] = m.openSpans(a, r.FreezeAt)
		all = append(all, spans[a.ID]...)
	}
	return spans, m.want(ctx, s, all)
}

// openSpans are the periods that are not billed yet, from the one that was charged last to the one that holds upto. A reading at a
// period's first midnight closes the period before.
func (m *metered) openSpans(a store.MeteredAccount, upto time.Time) []span {
	p := billing.MonthPeriod(a.OpenedOn)
	if !a.LastPeriod.IsZero() {
		p = billing.MonthPeriod(a.LastPeriod)
	}
	var spans []span
	for p.From.Start(m.site.Zone).Before(upto) {
		if sp, ok := m.open(a, p, upto); ok && !p.From.Before(a.BilledTo) {
			spans = append(spans, sp)
		}
		p = billing.MonthPeriod(p.To)
	}
	return spans
}

// charges rates an account's open periods to date.
func (m *metered) charges(a store.MeteredAccount, spans []span) ([]store.Charge, error) {
	var charges []store.Charge
	for _, sp := range spans {
		total, err := m.toDate(sp)
		if err != nil {
			return nil, err
		}
		period := billing.MonthPeriod(billing.DateOf(sp.from, m.site.Zone))
		charges = append(charges, store.Charge{Account: a.ID, PeriodFrom: period.From, Upto: sp.to, RatedFen: total})
	}
	return charges, nil
}

// lowLevel judges balances by the site's policy, each with the account's own average charge of a day.
func lowLevel(p supply.Policy, accounts []store.MeteredAccount) store.LowLevel {
	daily, limit := map[billing.AccountID]billing.Money{}, map[billing.AccountID]billing.Money{}
	for _, a := range accounts {
		limit[a.ID] = a.CutLimitFen
		if a.RecentDays > 0 {
			daily[a.ID] = max(a.RecentFen, 0) / billing.Money(a.RecentDays)
		}
	}
	return func(account billing.AccountID, balance billing.Money) billing.ReminderState {
		if balance <= limit[account] {
			return billing.ReminderFinal
		}
		return p.Low(balance, daily[account])
	}
}

// LowTaken is what a low list came to.
type LowTaken = store.LowTaken

// TakeLowList opens arrears cases for the cycle's low list and says which stand open.
func (a *Rating) TakeLowList(ctx context.Context, in ChargeCycle) (LowTaken, error) {
	c, err := a.Store.Cycle(ctx, in.CycleID)
	if err != nil {
		return LowTaken{}, err
	}
	_, policy, err := sitePolicy(ctx, a.Store, c.Site)
	if err != nil {
		return LowTaken{}, err
	}
	return a.Store.TakeLowList(ctx, byWorkflow(ctx), in.CycleID, terms(policy))
}

// CloseCharge says that a cycle's accounts are charged and its low list is taken.
func (a *Rating) CloseCharge(ctx context.Context, in ChargeCycle) error {
	return a.Store.CloseChargeRun(ctx, byWorkflow(ctx), in.CycleID)
}

func sortedTimes(ats []time.Time) []time.Time {
	out := slices.Clone(ats)
	slices.SortFunc(out, func(a, b time.Time) int { return cmp.Compare(a.UnixNano(), b.UnixNano()) })
	return slices.CompactFunc(out, time.Time.Equal)
}
