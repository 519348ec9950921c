package activities

import (
	"context"
	"strings"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Rounds carries reading rounds on foot from the plan to readings.
type Rounds struct {
	Store *store.Store
}

// RoundRef names a round.
type RoundRef struct {
	RoundID billing.RoundID
}

// RoundStart begins a round. Plan is the one that a route's rhythm brings; nil when a person plans it with an Update.
type RoundStart struct {
	RoundID billing.RoundID
	Plan    *PlanRound
}

// RoundFacts is what the workflow of a round must know to wait and to refuse. Empty means that nothing is planned yet.
type RoundFacts struct {
	RoundID billing.RoundID
	Site    billing.SiteID
	State   billing.RoundState
	Reader  billing.UserID
	// LateAt is the instant from which the round isn't on schedule any more; Late that this has been noted.
	LateAt time.Time
	Late   bool
}

// DescribeRound reads a round; one that isn't planned yet gives no facts.
func (a *Rounds) DescribeRound(ctx context.Context, in RoundRef) (RoundFacts, error) {
	r, err := a.Store.Round(ctx, in.RoundID)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return RoundFacts{}, nil
	}
	if err != nil {
		return RoundFacts{}, err
	}
	site, err := a.Store.Site(ctx, r.Site)
	if err != nil {
		return RoundFacts{}, err
	}
	f := RoundFacts{RoundID: r.ID, Site: r.Site, State: r.State, LateAt: r.DueOn.AddDays(r.OnTimeDays).Start(site.Zone), Late: r.LateAt != nil}
	if r.Reader != nil {
		f.Reader = *r.Reader
	}
	return f, nil
}

// PlanRound is a supervisor's plan, or the rhythm of a route when By is empty.
type PlanRound struct {
	RoundID billing.RoundID
	Route   billing.RouteID
	Kind    billing.RoundKind
	DueOn   billing.Date
	By      billing.UserID
}

// PlanRound makes the round and its list.
func (a *Rounds) PlanRound(ctx context.Context, in PlanRound) (RoundFacts, error) {
	route, _, err := a.Store.Route(ctx, in.Route)
	if err != nil {
		return RoundFacts{}, err
	}
	by := byWorkflow(ctx)
	if in.By != "" {
		if err := authorize(ctx, a.Store, in.By, auth.PlanRound, route.Site); err != nil {
			return RoundFacts{}, err
		}
		by = byPerson(ctx, in.By, "")
	}
	site, policy, err := sitePolicy(ctx, a.Store, route.Site)
	if err != nil {
		return RoundFacts{}, err
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return RoundFacts{}, err
	}
	if in.DueOn.Before(billing.DateOf(clock.Now, site.Zone)) {
		return RoundFacts{}, billing.Errorf(billing.CodeInvalidInput, "the planned day %s is over: choose today or a later day", in.DueOn)
	}
	kind := in.Kind
	if kind == "" {
		kind = route.Kind
	}
	err = a.Store.PlanRound(ctx, by, store.NewRound{
		ID: in.RoundID, Route: in.Route, Kind: kind, DueOn: in.DueOn, OnTimeDays: max(1, policy.Rounds.OnTimeDays), ShowLast: policy.Rounds.ShowLast,
	})
	if err != nil {
		return RoundFacts{}, err
	}
	return a.DescribeRound(ctx, RoundRef{in.RoundID})
}

// RoundDecision is a person's step on a round: assign (with Reader), submit, accept, return or cancel.
type RoundDecision struct {
	RoundID billing.RoundID
	By      billing.UserID
	Reader  billing.UserID
	Reason  string
	Nonce   string // of the form, so that a double click is one decision
}

// AssignRound gives the round to a reader. Readers rotate areas: the same one again needs a reason after some rounds in a row.
func (a *Rounds) AssignRound(ctx context.Context, in RoundDecision) (RoundFacts, error) {
	r, err := a.may(ctx, in, auth.PlanRound)
	if err != nil {
		return RoundFacts{}, err
	}
	if err := authorize(ctx, a.Store, in.Reader, auth.ReadRound, r.Site); err != nil {
		if code := billing.CodeOf(err); code != billing.CodeForbidden && code != billing.CodeNotFound {
			return RoundFacts{}, err
		}
		return RoundFacts{}, billing.Errorf(billing.CodeInvalidInput, "%s can't read at this site: choose one of its readers", in.Reader)
	}
	_, policy, err := sitePolicy(ctx, a.Store, r.Site)
	if err != nil {
		return RoundFacts{}, err
	}
	before, n, err := a.Store.ReadersInRow(ctx, r.Route, r.ID)
	if err != nil {
		return RoundFacts{}, err
	}
	if limit := policy.Rounds.RotateAfter; limit > 0 && before == in.Reader && n >= limit && strings.TrimSpace(in.Reason) == "" {
		return RoundFacts{}, billing.Errorf(billing.CodeBlocked, "this reader has walked this route %d times in a row: choose another, or say why not", n)
	}
	return a.after(ctx, in, a.Store.AssignRound(ctx, byPerson(ctx, in.By, strings.TrimSpace(in.Reason)), in.RoundID, in.Reader))
}

// SubmitRound hands the round in and checks the reader's own work.
func (a *Rounds) SubmitRound(ctx context.Context, in RoundDecision) (RoundFacts, error) {
	if _, err := a.may(ctx, in, auth.ReadRound); err != nil {
		return RoundFacts{}, err
	}
	if err := a.Store.SubmitRound(ctx, byPerson(ctx, in.By, ""), in.RoundID); err != nil {
		return RoundFacts{}, err
	}
	return a.after(ctx, in, a.judgeReader(ctx, in.RoundID))
}

// AcceptRound takes the round as checked.
func (a *Rounds) AcceptRound(ctx context.Context, in RoundDecision) (RoundFacts, error) {
	if _, err := a.may(ctx, in, auth.CheckRound); err != nil {
		return RoundFacts{}, err
	}
	return a.after(ctx, in, a.Store.AcceptRound(ctx, byPerson(ctx, in.By, strings.TrimSpace(in.Reason)), in.RoundID))
}

// ReturnRound gives the round back to its reader, with a reason.
func (a *Rounds) ReturnRound(ctx context.Context, in RoundDecision) (RoundFacts, error) {
	if _, err := a.may(ctx, in, auth.CheckRound); err != nil {
		return RoundFacts{}, err
	}
	return a.after(ctx, in, a.Store.ReturnRound(ctx, byPerson(ctx, in.By, strings.TrimSpace(in.Reason)), in.RoundID))
}

// CancelRound ends the round; none of its values becomes a reading.
func (a *Rounds) CancelRound(ctx context.Context, in RoundDecision) (RoundFacts, error) {
	if _, err := a.may(ctx, in, auth.PlanRound); err != nil {
		return RoundFacts{}, err
	}
	return a.after(ctx, in, a.Store.CancelRound(ctx, byPerson(ctx, in.By, strings.TrimSpace(in.Reason)), in.RoundID))
}

// NoteRoundLate says that the round is overdue.
func (a *Rounds) NoteRoundLate(ctx context.Context, in RoundRef) (RoundFacts, error) {
	if err := a.Store.NoteRoundLate(ctx, byWorkflow(ctx), in.RoundID); err != nil {
		return RoundFacts{}, err
	}
	return a.DescribeRound(ctx, in)
}

// CloseRound ends a round whose values are stored.
func (a *Rounds) CloseRound(ctx context.Context, in RoundRef) (RoundFacts, error) {
	if err := a.Store.CloseRound(ctx, byWorkflow(ctx), in.RoundID); err != nil {
		return RoundFacts{}, err
	}
	return a.DescribeRound(ctx, in)
}

// may reads the round and checks the person's authority at this moment.
func (a *Rounds) may(ctx context.Context, in RoundDecision, action auth.Action) (store.Round, error) {
	r, err := a.Store.Round(ctx, in.RoundID)
	if err != nil {
		return r, err
	}
	return r, authorize(ctx, a.Store, in.By, action, r.Site)
}

func (a *Rounds) after(ctx context.Context, in RoundDecision, err error) (RoundFacts, error) {
	if err != nil {
		return RoundFacts{}, err
	}
	return a.DescribeRound(ctx, RoundRef{in.RoundID})
}
