// Package today is the first page: what waits for the person, what is stuck and since when, what runs now, and what was out of
// the ordinary since yesterday. Each number opens its list. It decides nothing.
package today

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// Routes serves the page.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get("/", d.Handle(h.show))
}

type handler struct{ page.Deps }

// view is what the page shows.
type view struct {
	waiting   []components.Stat
	stuck     []components.Stat
	running   []components.Stat
	sweeps    []sweep
	anomalies []components.Stat
	since     time.Time
}

type sweep struct {
	site, href string
	row        store.Sweep
	progress   components.ProgressView
}

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	sites, now := page.Sites(ctx), page.Now(ctx)
	waiting, err := h.Store.Waiting(ctx, sites, page.Actor(ctx).UserID)
	if err != nil {
		return err
	}
	stuck, err := h.Store.Stuck(ctx, sites)
	if err != nil {
		return err
	}
	running, err := h.Store.Running(ctx, sites)
	if err != nil {
		return err
	}
	sweeps, err := h.Store.Sweeps(ctx, sites)
	if err != nil {
		return err
	}
	since := billing.DateOf(now, locale.Zone(ctx)).AddDays(-1).Start(locale.Zone(ctx))
	odd, err := h.Store.Anomalies(ctx, sites, since)
	if err != nil {
		return err
	}
	v := view{
		waiting: waitingStats(ctx, page.Actor(ctx).Role, waiting, now), stuck: stuckStats(ctx, stuck, now),
		running: runningStats(ctx, running), anomalies: anomalyStats(ctx, odd, since), since: since,
	}
	for _, s := range sweeps {
		v.sweeps = append(v.sweeps, sweepOf(ctx, s, now))
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "today.title"), Nav: "/", Body: show(v)})
}

// stat is one number with since when it is so; a zero is quiet.
func stat(ctx context.Context, id, label, href string, n int, since *time.Time, now time.Time, tone components.Tone) components.Stat {
	s := components.Stat{ID: id, Label: label, Value: locale.Count(n), Href: href}
	if n > 0 {
		s.Tone = tone
		if since != nil {
			s.Note = locale.T(ctx, "today.oldest", locale.Waiting(ctx, *since, now))
		}
	}
	return s
}

// waitingStats are what the role decides on; what others decide on stands in the navigation.
func waitingStats(ctx context.Context, role billing.Role, w store.Waiting, now time.Time) []components.Stat {
	cases := stat(ctx, "cases", locale.T(ctx, "today.cases"), "/exceptions?state=open", w.Cases, w.OldestCase, now, components.Watch)
	verify := stat(ctx, "verify", locale.T(ctx, "today.verify"), "/runs?state=awaiting_verification", w.RunsToVerify, w.OldestRun, now, components.Watch)
	issue := stat(ctx, "issue", locale.T(ctx, "today.issue"), "/runs?state=verified", w.RunsToIssue, w.OldestRun, now, components.Watch)
	money := stat(ctx, "recharges", locale.T(ctx, "today.recharges"), "/recharges?waiting=mine", w.Recharges, w.OldestMoney, now, components.Watch)
	cuts := stat(ctx, "cuts", locale.T(ctx, "today.cuts"), "/cutoffs?state=awaiting_manager", w.Cuts, w.OldestCut, now, components.Watch)
	plans := stat(ctx, "plans", locale.T(ctx, "today.plans"), "/payment-plans", w.Plans, w.OldestPlan, now, components.Watch)
	holds := stat(ctx, "holds", locale.T(ctx, "today.holds"), "/ledger/holds?waiting=mine", w.Holds, w.OldestHold, now, components.Watch)
	switch role {
	case billing.RoleSupervisor:
		rounds := stat(ctx, "rounds", locale.T(ctx, "rounds.to_check"), "/rounds?state=submitted", w.Rounds, nil, now, components.Watch)
		return []components.Stat{cases, verify, issue, rounds, plans, holds}
	case billing.RoleClerk:
		return []components.Stat{money}
	case billing.RoleManager:
		overdue := stat(ctx, "escalated", locale.T(ctx, "today.escalated"), "/exceptions?overdue=1", w.OverdueCases, w.OldestCase, now, components.Danger)
		return []components.Stat{cuts, overdue, plans, holds}
	default:
		return nil
	}
}

func stuckStats(ctx context.Context, k store.Stuck, now time.Time) []components.Stat {
	of := func(id, label, href string, t store.Tally) components.Stat {
		return stat(ctx, id, label, href, t.N, t.Since, now, components.Danger)
	}
	lines := of("lines", locale.T(ctx, "today.stuck_lines"), "/gateways", store.Tally{N: k.Lines.N})
	return []components.Stat{
		of("overdue", locale.T(ctx, "today.stuck_cases"), "/exceptions?overdue=1", k.Cases),
		of("in-doubt", locale.T(ctx, "today.stuck_recharges"), "/recharges?state=in_doubt", k.InDoubt),
		of("supplies", locale.T(ctx, "today.stuck_supplies"), "/meters?supply=unknown", k.Supplies),
		of("commands", locale.T(ctx, "today.stuck_commands"), "/meters?command=open", k.Commands),
		of("uncharged", locale.T(ctx, "today.stuck_uncharged"), "/accounts?is=uncharged", k.Unrated),
		of("blocked", locale.T(ctx, "today.stuck_runs"), "/runs?state=blocked", k.Blocked),
		of("failed", locale.T(ctx, "today.stuck_messages"), "/messages?state=failed", k.Messages),
		lines,
	}
}

func runningStats(ctx context.Context, n store.Running) []components.Stat {
	of := func(id, label, href string, n int) components.Stat {
		return stat(ctx, id, label, href, n, nil, time.Time{}, components.Running)
	}
	return []components.Stat{
		of("running-charges", locale.T(ctx, "today.run_charges"), "/cycles", n.Charges),
		of("running-runs", locale.T(ctx, "today.run_runs"), "/runs?state=rating", n.Runs),
		of("running-recharges", locale.T(ctx, "today.run_recharges"), "/recharges?state=delivering", n.Recharges),
		of("running-commands", locale.T(ctx, "today.run_commands"), "/meters?command=open", n.Commands),
		of("running-reminders", locale.T(ctx, "today.run_reminders"), "/accounts?arrears=open", n.Reminders),
		of("running-cuts", locale.T(ctx, "today.run_cuts"), "/cutoffs?state=planned", n.PlannedCut+n.Cuts),
	}
}

func anomalyStats(ctx context.Context, a store.Anomalies, since time.Time) []components.Stat {
	day := locale.Date(ctx, since)
	of := func(id, label, href string, n int) components.Stat {
		return stat(ctx, id, label, href, n, nil, time.Time{}, components.Watch)
	}
	var stats []components.Stat
	for _, k := range a.ByKind {
		href := "/exceptions?" + url.Values{"kind": {k.Kind}, "since": {day}}.Encode()
		stats = append(stats, of("kind-"+k.Kind, locale.State(ctx, locale.Rule, k.Kind), href, k.N))
	}
	for _, s := range []components.Stat{
		of("prevented", locale.T(ctx, "today.prevented"), "/cutoffs?state=prevented&since="+day, a.Prevented),
		of("own-trips", locale.T(ctx, "today.own_trips"), "/cutoffs?own_trip=1&since="+day, a.OwnTrips),
		of("refused", locale.T(ctx, "today.refused"), "/meters?command=refused", a.Refused),
		of("rejected", locale.T(ctx, "today.rejected"), "/recharges?state=rejected&since="+day, a.Rejected),
	} {
		if s.Tone != components.Neutral {
			stats = append(stats, s)
		}
	}
	return stats
}

// sweepOf is the progress of a cycle: what has a value, of what was planned.
func sweepOf(ctx context.Context, s store.Sweep, now time.Time) sweep {
	v := sweep{site: page.SiteName(ctx, s.Site), href: "/cycles/" + string(s.CycleID), row: s}
	v.progress = components.ProgressView{
		Label: v.site + " · " + s.Day.String(), Done: s.Read + s.Estimated + s.Manual, Total: s.Planned,
	}
	if s.ClosedAt != nil {
		v.progress.Note = locale.T(ctx, "today.closed", locale.DateTime(ctx, *s.ClosedAt))
		if v.progress.Done < v.progress.Total {
			v.progress.Tone = components.Watch
		}
		return v
	}
	v.progress.Note = locale.T(ctx, "today.window", s.Passes, locale.Clock(ctx, s.WindowEnd))
	if now.After(s.WindowEnd) {
		v.progress.Tone = components.Danger
	}
	return v
}
