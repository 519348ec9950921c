// Package plans is where make-up bills in monthly parts are decided on: the payment plans of the sites, and one plan with what it was
// reckoned from, its parts, and the forms that approve or end it.
package plans

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const path = "/payment-plans"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.list))
	r.Get(path+"/{id}", d.Handle(h.show))
	r.Post(path+"/{id}/approve", d.Act("approve", h.approve, h.show))
	r.Post(path+"/{id}/settle", d.Act("settle", h.settle, h.show))
	r.Post(path+"/{id}/end", d.Act("end", h.end, h.show))
}

type handler struct{ page.Deps }

func href(id billing.PlanID) string { return path + "/" + string(id) }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	plans, total, err := h.Store.PlanPage(ctx, store.PlanFilter{Sites: page.Sites(ctx), Open: l.One("show", "all") == ""}, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v := listView{tabs: tabs(ctx, l), table: planTable(ctx, plans), pager: l.Pager(len(plans), total)}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "plans.title"), Nav: path, Body: list(v)})
}

// one reads a plan of a site that the person may see.
func (h handler) one(r *http.Request) (store.PaymentPlanRow, error) {
	return h.Store.PlanRow(r.Context(), billing.PlanID(page.Param(r, "id")), page.Actor(r.Context()).Sites)
}

const timelineLength = 200

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	p, err := h.one(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), page.SiteZone(r.Context(), p.Site))
	r = r.WithContext(ctx)
	events, err := h.Store.Timeline(ctx, page.Actor(ctx).Sites, string(p.ID), 0, timelineLength)
	if err != nil {
		return err
	}
	v := showView{head: head(ctx, p), facts: facts(ctx, p), reckoned: reckoned(ctx, p), parts: partTable(ctx, p), actions: actions(r, p),
		timeline: page.Timeline(ctx, "payment_plan", string(p.ID), events)}
	return h.Render(w, r, page.View{Title: string(p.ID), Nav: path, Body: show(v)})
}

// mine reads a plan that the person may decide on.
func (h handler) mine(r *http.Request) (store.PaymentPlanRow, error) {
	p, err := h.one(r)
	if err != nil {
		return p, err
	}
	return p, auth.Can(page.Actor(r.Context()), auth.DecidePlan, p.Site)
}

func (h handler) done(r *http.Request, p store.PaymentPlanRow, key string, err error) (page.Done, error) {
	return page.Done{To: href(p.ID), Said: locale.T(r.Context(), key, string(p.ID))}, err
}

func (h handler) approve(r *http.Request) (page.Done, error) {
	p, err := h.mine(r)
	if err != nil {
		return page.Done{}, err
	}
	err = h.Store.ApprovePlan(r.Context(), store.By{Actor: string(page.Actor(r.Context()).UserID)}, p.ID)
	return h.done(r, p, locale.Key("plans.approved"), err)
}

// settle ends a plan whose rest the balance bears: nobody comes to a cut by it.
func (h handler) settle(r *http.Request) (page.Done, error) {
	p, err := h.mine(r)
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	err = h.Store.EndPlan(r.Context(), store.By{Actor: string(page.Actor(r.Context()).UserID), Reason: reason}, p.ID, billing.PlanSettled, "", "")
	return h.done(r, p, locale.Key("plans.ended"), err)
}

// end rejects a proposed plan or cancels a running one: the signed-in person asks for it, and two others agree at this screen.
func (h handler) end(r *http.Request) (page.Done, error) {
	p, err := h.mine(r)
	if err != nil {
		return page.Done{}, err
	}
	actor := page.Actor(r.Context())
	in := page.Read(r)
	reason := in.Reason()
	in.Second(actor.UserID, store.ErrPlanEndsAlone())
	in.Third(actor.UserID, store.ErrPlanEndsAlone())
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	second, err := h.Second(r)
	if err != nil {
		return page.Done{}, err
	}
	third, err := h.Third(r)
	if err != nil {
		return page.Done{}, err
	}
	for _, agrees := range []auth.Actor{second, third} {
		if auth.Can(agrees, auth.DecidePlan, p.Site) != nil {
			return page.Done{}, billing.Errorf(billing.CodeForbidden, "%s may not decide on payment plans at this site: ask a manager or a supervisor", agrees.UserID)
		}
	}
	to := billing.PlanCancelled
	if p.State == billing.PlanProposed {
		to = billing.PlanRejected
	}
	err = h.Store.EndPlan(r.Context(), store.By{Actor: string(actor.UserID), Reason: reason}, p.ID, to, second.UserID, third.UserID)
	return h.done(r, p, locale.Key("plans.ended"), err)
}
