package activities

import (
	"context"
	"encoding/json"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/supply"
)

// judgeFor is the one place where the stored facts become supply.Facts: every cut, ours or a meter's own, is judged by it.
func judgeFor(ctx context.Context, s *store.Store, site store.Site, p Policy) (store.Judge, error) {
	calendar, err := s.Calendar(ctx)
	if err != nil {
		return nil, err
	}
	return func(f store.SupplyFacts) (store.Judgement, error) {
		facts := supplyFacts(f, site, p.Supply, calendar)
		return judgement(supply.Decide(facts), facts)
	}, nil
}

// Judge says whether an account might be cut now, and why or why not, for the pages. It decides nothing: every attempt judges anew.
func Judge(ctx context.Context, s *store.Store, account billing.AccountID) (supply.Decision, error) {
	f, err := s.FactsFor(ctx, account)
	if err != nil {
		return supply.Decision{}, err
	}
	site, policy, err := sitePolicy(ctx, s, f.Account.Site)
	if err != nil {
		return supply.Decision{}, err
	}
	calendar, err := s.Calendar(ctx)
	return supply.Decide(supplyFacts(f, site, policy.Supply, calendar)), err
}

func supplyFacts(f store.SupplyFacts, site store.Site, p supply.Policy, calendar billing.Calendar) supply.Facts {
	p.DisconnectFen = f.Account.CutLimit // the account's own limit
	facts := supply.Facts{
		Now: f.Now, Location: site.Zone, Calendar: calendar, Policy: p,
		Service: f.Account.Service, Class: f.Class, LifeSupport: f.LifeSupport, Prepaid: f.Account.PrepaidContract,
		Balance: f.Balance, Deferred: f.Deferred, PendingPayments: f.Pending, OpenExceptions: len(f.BlockingCases),
		Supply: f.Supply.State, ManagerApproved: f.Approved,
	}
	for _, pr := range f.Protections {
		facts.Protections = append(facts.Protections, supply.Protection{
			// Whole days: a protection that begins or ends within a day protects all of it.
			Kind: pr.Kind, From: billing.DateOf(pr.FromAt, site.Zone), Until: billing.DateOf(pr.UntilAt.Add(-time.Nanosecond), site.Zone).AddDays(1),
			Reason: pr.Reason, Owner: pr.Owner,
		})
	}
	if n := f.Notice; n != nil {
		facts.Notice = &supply.FinalNotice{DeliveredAt: n.DeliveredAt, CutDate: billing.DateOf(n.CutAt, site.Zone)}
	}
	if len(f.StaleBills) > 0 {
		facts.StaleBill = f.StaleBills[0].Bill
	}
	if r := f.Reading; r != nil {
		facts.Reading = &supply.LastReading{At: r.FreezeAt, Quality: r.Quality, Doubtful: r.Doubtful}
	}
	return facts
}

// judgement sorts a decision into what follows from it: only the hour is against it (try again), only a manager is missing, or neither.
func judgement(d supply.Decision, f supply.Facts) (store.Judgement, error) {
	j := store.Judgement{Allowed: d.Allowed}
	var err error
	if j.Print, err = json.Marshal(d); err != nil {
		return j, err
	}
	waits, manager := true, false
	var until time.Time
	for _, r := range d.Against() {
		switch r.Code {
		case supply.InNoCutWindow, supply.NoticeRunning:
			if r.Until.After(until) {
				until = r.Until
			}
		case supply.ApprovalMissing:
			manager = true
		default:
			waits = false
		}
	}
	switch {
	case d.Allowed || !waits:
	case manager:
		j.NeedsManager = true
	default:
		j.Again, err = supply.NextCutTime(f.Policy, f.Calendar, f.Location, until)
	}
	return j, err
}

// noteOwnTrip records that a meter was found off though it should be on, judged as if we had cut. The workflow of the restore that
// it may open is started by whoever looks through store.OpenRestores.
func noteOwnTrip(ctx context.Context, s *store.Store, by store.By, site store.Site, p Policy, t store.OwnTrip) (store.OwnTripNoted, error) {
	judge, err := judgeFor(ctx, s, site, p)
	if err != nil {
		return store.OwnTripNoted{}, err
	}
	t.CaseDue = hours(p.Reading.DecisionDueHours)
	var out store.OwnTripNoted
	err = s.Change(ctx, by, func(tx *store.Tx) error {
		var err error
		out, err = store.NoteOwnTrip(ctx, tx, t, judge)
		return err
	})
	return out, err
}
