package bench

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// LeastAccounts is the smallest run that still says something: its tenth has accounts of both services.
const LeastAccounts = 50

// Runs measures whole billing runs on a real engine.
type Runs struct {
	Store    *store.Store
	Temporal client.Client
	// Copy is an empty database with the same tables, on the same server.
	Copy     *store.Store
	Accounts int
	Log      *slog.Logger
}

// Measure adds two ratios to the report:
//
//   - run_vs_copy: the time of a whole run of all accounts (started, read, rated, stored, signed, posted; workflow time included), against
//     the time of COPY of the same rows into the same tables, with their keys, indexes, constraints and triggers, in one transaction;
//   - scale_100k_vs_10k: the time per account of that run, against that of runs of a tenth of its accounts, one before it and one after.
//
// All sites lie in one database and are loaded before the first run, so that no run has smaller tables than another.
func (b Runs) Measure(ctx context.Context, r *Report) error {
	tenth := b.Accounts / 10
	charged := []billing.Date{Month.From.AddDays(15)}
	sites := []Utility{
		{Site: "warm", Accounts: min(tenth, 1000), Cycles: charged}, {Site: "first", Accounts: tenth, Cycles: charged},
		{Site: "whole", Accounts: b.Accounts, Cycles: charged}, {Site: "last", Accounts: tenth, Cycles: charged},
	}
	now := Month.To.At(9, 0, Zone())
	for _, s := range []*store.Store{b.Store, b.Copy} {
		if err := Prepare(ctx, s, now); err != nil {
			return err
		}
	}
	for _, u := range sites {
		b.Log.Info("loading", "site", u.Site, "accounts", u.Accounts)
		if err := u.Load(ctx, b.Store); err != nil {
			return err
		}
		if err := u.loadMasters(ctx, b.Copy); err != nil {
			return err
		}
	}
	flows := &workflows.Client{T: b.Temporal}
	for _, u := range sites {
		b.Log.Info("charging half the month", "site", u.Site)
		took, err := b.charge(ctx, u)
		if err != nil {
			return err
		}
		if u.Accounts == b.Accounts {
			r.Sides["daily_charge"] = Side{int64(u.Accounts), took.Seconds()}
		}
	}
	for _, s := range []*store.Store{b.Store, b.Copy} {
		if _, err := s.Pool.Exec(ctx, `VACUUM ANALYZE`); err != nil {
			return err
		}
	}
	run, copied := map[billing.SiteID]time.Duration{}, map[billing.SiteID]time.Duration{}
	for _, u := range sites {
		b.Log.Info("running", "site", u.Site, "accounts", u.Accounts)
		var err error
		if run[u.Site], err = u.Bill(ctx, b.Store, flows); err != nil {
			return fmt.Errorf("run of %s: %w", u.Site, err)
		}
		if err := u.Check(ctx, b.Store); err != nil { // a figure of a wrong run is none
			return err
		}
		if copied[u.Site], err = copyRun(ctx, b.Store, b.Copy, u.RunID()); err != nil {
			return fmt.Errorf("copy of %s: %w", u.Site, err)
		}
		b.Log.Info("ran", "site", u.Site, "run", run[u.Site].Round(time.Millisecond), "copy", copied[u.Site].Round(time.Millisecond))
	}
	whole, small := Side{int64(b.Accounts), run["whole"].Seconds()}, Side{int64(2 * tenth), (run["first"] + run["last"]).Seconds()}
	r.Sides["run"], r.Sides["run_of_a_tenth"] = whole, small
	r.Sides["run_copied"] = Side{int64(b.Accounts), copied["whole"].Seconds()}
	r.Ratios["run_vs_copy"] = run["whole"].Seconds() / copied["whole"].Seconds()
	r.Ratios["scale_100k_vs_10k"] = small.PerSecond() / whole.PerSecond()
	return nil
}

// signEvery is how often a supervisor of ours looks whether a run waits for a signature.
const signEvery = 20 * time.Millisecond

// RunID is the number of the site's run of the month.
func (u Utility) RunID() billing.RunID {
	return billing.RunID(fmt.Sprintf("%s/%s/1", u.Site, Month))
}

// charge runs the daily charge of the site's cycles through its workflow.
func (b Runs) charge(ctx context.Context, u Utility) (time.Duration, error) {
	began := time.Now()
	for _, d := range u.Cycles {
		id := u.CycleID(d)
		w, err := b.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflows.ChargeWorkflowID(id), TaskQueue: workflows.QueueBilling},
			workflows.DailyCharge, activities.ChargeCycle{CycleID: id})
		if err == nil {
			err = w.Get(ctx, nil)
		}
		if err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// Bill starts the site's run of the month, signs it as soon as it waits for a signature, and gives the time from the start until it
// was issued.
func (u Utility) Bill(ctx context.Context, s *store.Store, flows *workflows.Client) (time.Duration, error) {
	began := time.Now()
	if err := flows.StartRun(ctx, u.RunID(), u.Site, Month, 1, ""); err != nil {
		return 0, err
	}
	if err := u.await(ctx, s, billing.RunAwaitingVerification); err != nil {
		return 0, err
	}
	// The table says so a moment before the workflow does.
	for {
		err := flows.VerifyRun(ctx, u.RunID(), Verifier)
		if err == nil {
			break
		}
		if billing.CodeOf(err) != billing.CodeClosed {
			return 0, err
		}
		time.Sleep(signEvery)
	}
	if err := flows.IssueRun(ctx, u.RunID(), Issuer); err != nil {
		return 0, err
	}
	err := u.await(ctx, s, billing.RunIssued)
	return time.Since(began), err
}

// await waits until the run has come to a state.
func (u Utility) await(ctx context.Context, s *store.Store, state billing.RunState) error {
	tick := time.NewTicker(signEvery)
	defer tick.Stop()
	for {
		r, err := s.Run(ctx, u.RunID())
		if err == nil && r.State == state {
			return nil
		}
		if err != nil && billing.CodeOf(err) != billing.CodeNotFound { // not opened yet
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
