// Package rounds is the work of readers on foot: routes, rounds with their list, the entry of one meter after the other, files with a preview,
// the check by a supervisor, and what was found about a reader's own work. It refuses to judge values: the round's workflow does, and answers in
// the same click.
package rounds

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// path is the list's address.
const path = "/rounds"

// Routes serves the pages. They stand outside of those that need auth.View: a reader sees rounds, and nothing else.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.list))
	r.Post(path, d.Act("plan", h.plan, h.list))
	r.Get(path+"/routes", d.Handle(h.routes))
	r.Post(path+"/routes", d.Act("route", h.saveRoute, h.newRoute))
	r.Get(path+"/routes/new", d.Handle(h.newRoute))
	r.Get(path+"/routes/{route}", d.Handle(h.route))
	r.Post(path+"/routes/{route}", d.Act("route", h.saveRoute, h.route))
	r.Get(path+"/findings", d.Handle(h.findings))
	r.Post(path+"/findings/{finding}", d.Act("settle", h.settle, h.findings))
	r.Get(path+"/{id}", d.Handle(h.show))
	r.Get(path+"/{id}/print", d.Handle(h.print))
	for _, s := range steps {
		r.Post(path+"/{id}/"+s.action, d.Act(s.action, h.decide(s), h.show))
	}
	r.Get(path+"/{id}/enter", d.Handle(h.entry))
	r.Post(path+"/{id}/enter", d.Act("enter", h.enter, h.entry))
	r.Get(path+"/{id}/template.csv", d.Handle(h.template))
	r.Get(path+"/{id}/file", d.Handle(h.file))
	r.Post(path+"/{id}/preview", d.Handle(h.preview))
	r.Post(path+"/{id}/import", d.Act("import", h.importFile, h.previewAgain))
	r.Post(path+"/{id}/refused.csv", d.Handle(h.refusedFile))
}

type handler struct{ page.Deps }

func href(id billing.RoundID) string { return path + "/" + string(id) }

// step is one decision on a round: the path that takes it and the update that it becomes.
type step struct {
	action, update string
	may            auth.Action
	needsReason    bool
	done           string
}

var steps = []step{
	{"assign", workflows.UpdateAssignRound, auth.PlanRound, false, locale.Key("rounds.said_assigned")},
	{"submit", workflows.UpdateSubmitRound, auth.ReadRound, false, locale.Key("rounds.said_submitted")},
	{"accept", workflows.UpdateAcceptRound, auth.CheckRound, false, locale.Key("rounds.said_accepted")},
	{"return", workflows.UpdateReturnRound, auth.CheckRound, true, locale.Key("rounds.said_returned")},
	{"cancel", workflows.UpdateCancelRound, auth.PlanRound, true, locale.Key("rounds.said_cancelled")},
}

// decide sends one decision to the round's workflow.
func (h handler) decide(s step) func(*http.Request) (page.Done, error) {
	return func(r *http.Request) (page.Done, error) {
		ctx := r.Context()
		rd, err := h.one(r)
		if err != nil {
			return page.Done{}, err
		}
		if err := auth.Can(page.Actor(ctx), s.may, rd.Site); err != nil {
			return page.Done{}, err
		}
		in := page.Read(r)
		d := workflows.RoundDecision{RoundID: rd.ID, By: page.Actor(ctx).UserID, Reason: in.Text("reason"), Nonce: in.Nonce()}
		if s.needsReason {
			d.Reason = in.Reason()
		}
		if s.action == "assign" {
			d.Reader = billing.UserID(in.Required("reader"))
		}
		if err := in.Err(); err != nil {
			return page.Done{}, err
		}
		if err := h.Workflows.DecideRound(ctx, s.update, d); err != nil {
			return page.Done{}, err
		}
		return page.Done{To: href(rd.ID), Said: locale.T(ctx, s.done, string(rd.ID))}, nil
	}
}

// isReader says whether the person reads: then only what was given to them is theirs to see.
func isReader(ctx context.Context) bool { return page.Actor(ctx).Role == billing.RoleReader }

// one reads a round that the person may see.
func (h handler) one(r *http.Request) (store.RoundRow, error) {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.SeeRounds, ""); err != nil {
		return store.RoundRow{}, err
	}
	rd, err := h.Store.RoundRow(ctx, billing.RoundID(page.Param(r, "id")))
	if err != nil {
		return rd, err
	}
	mine := rd.Reader != nil && *rd.Reader == page.Actor(ctx).UserID
	if !page.Actor(ctx).HasSite(rd.Site) || isReader(ctx) && !mine {
		return rd, billing.Errorf(billing.CodeNotFound, "there is no reading round %s: check the number", rd.ID)
	}
	return rd, nil
}

// mayEnter says that the round is this person's to enter values on now; the error says why not.
func mayEnter(ctx context.Context, rd store.RoundRow) error {
	if err := auth.Can(page.Actor(ctx), auth.ReadRound, rd.Site); err != nil {
		return err
	}
	switch {
	case rd.Reader == nil || *rd.Reader != page.Actor(ctx).UserID:
		return billing.Errorf(billing.CodeForbidden, "this round was given to another reader: only that person may enter and submit its values")
	case rd.State != billing.RoundAssigned && rd.State != billing.RoundInProgress:
		return billing.Errorf(billing.CodeClosed, "this round is %s already: nothing was changed", rd.State)
	}
	return nil
}

// plan takes the form of the list.
func (h handler) plan(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.PlanRound, ""); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	route := billing.RouteID(in.Required("route"))
	day := in.Day("due")
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	of, _, err := h.Store.Route(ctx, route)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.PlanRound, of.Site); err != nil {
		return page.Done{}, err
	}
	id, err := h.Store.NextRoundID(ctx)
	if err != nil {
		return page.Done{}, err
	}
	if _, err := h.Workflows.PlanRound(ctx, workflows.PlanRound{RoundID: id, Route: route, DueOn: day, By: page.Actor(ctx).UserID}); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(id), Said: locale.T(ctx, "rounds.said_planned", string(id))}, nil
}
