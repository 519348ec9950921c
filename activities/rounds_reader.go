package activities

import (
	"context"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// How many of a reader's rounds lateness is judged on, and how many give their values to a small sample.
const (
	punctualRounds = 5
	sampleRounds   = 3
)

// judgeReader checks the reader's own work on a submitted round and keeps what it found.
func (a *Rounds) judgeReader(ctx context.Context, id billing.RoundID) error {
	r, err := a.Store.Round(ctx, id)
	if err != nil || r.Reader == nil || r.SubmittedAt == nil {
		return err
	}
	site, policy, err := sitePolicy(ctx, a.Store, r.Site)
	if err != nil {
		return err
	}
	w := metering.ReaderWork{Limits: policy.Rounds.Reader, Rounds: []metering.Timeliness{timeliness(r, site)}}
	if w.Round, err = a.visits(ctx, id); err != nil {
		return err
	}
	past, err := a.Store.ReaderRounds(ctx, r.Site, *r.Reader, punctualRounds+1)
	if err != nil {
		return err
	}
	sampled := 0
	for _, p := range past {
		if p.ID == id {
			continue
		}
		if len(w.Rounds) < punctualRounds {
			w.Rounds = append(w.Rounds, timeliness(p, site))
		}
		if sampled++; sampled > sampleRounds {
			continue
		}
		earlier, err := a.visits(ctx, p.ID)
		if err != nil {
			return err
		}
		w.Earlier = append(w.Earlier, earlier...)
	}
	var found []store.NewReaderFinding
	for _, f := range metering.JudgeReader(w) {
		found = append(found, store.NewReaderFinding{Rule: string(f.Rule), Numbers: f.Numbers})
	}
	return a.Store.SaveReaderFindings(ctx, byWorkflow(ctx), id, found)
}

func timeliness(r store.Round, site store.Site) metering.Timeliness {
	return metering.Timeliness{Due: r.DueOn, Submitted: billing.DateOf(*r.SubmittedAt, site.Zone), OnTimeDays: r.OnTimeDays}
}

func (a *Rounds) visits(ctx context.Context, id billing.RoundID) ([]metering.Visit, error) {
	items, err := a.Store.RoundItems(ctx, id)
	if err != nil {
		return nil, err
	}
	var visits []metering.Visit
	for _, i := range items {
		if i.TakenAt == nil {
			continue
		}
		v := metering.Visit{Service: i.Service, TakenAt: *i.TakenAt, Estimate: i.Estimate}
		if i.Registers != nil {
			raw := i.Registers.Total()
			v.Raw = &raw
			if len(i.Last) > 0 {
				use := raw - i.Last.Total()
				v.Use = &use
			}
		}
		visits = append(visits, v)
	}
	return visits, nil
}
