// Package limits is the page of what stops the bills of a site before a person has looked at them: the limits that hold, those to come, and the
// form with which an administrator, who signs no run, publishes others. It refuses to change the limits of months that are billed.
package limits

import (
	"encoding/json"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/control"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const (
	base = "/limits"
	runs = "/runs" // whose bills they stop
)

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(base, d.Handle(page.ToFirstSite(base)))
	r.Get(base+"/{site}", d.Handle(h.show))
	r.Post(base+"/{site}", d.Act("limits", h.publish, h.show))
}

type handler struct{ page.Deps }

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	site, err := h.SiteOf(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	k := known{site: site, month: billing.MonthPeriod(billing.DateOf(page.Now(ctx), site.Zone)).From}
	if k.versions, err = h.Store.BillingLimits(ctx, site.ID); err != nil {
		return err
	}
	if k.standard, err = control.SitePolicy(site.Policy); err != nil {
		return err
	}
	v, err := showOf(r, k)
	if err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: runs, Body: show(v)})
}

func (h handler) publish(r *http.Request) (page.Done, error) {
	site, err := h.SiteOf(r)
	if err != nil {
		return page.Done{}, err
	}
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.MasterData, site.ID); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	month, err := billing.ParseMonth(in.Text("month"))
	if err != nil {
		in.Refuse("month", err)
	}
	policy, reason := policyOf(in), in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := policy.Validate(); err != nil {
		return page.Done{}, err
	}
	raw, err := json.Marshal(policy)
	if err != nil {
		return page.Done{}, err
	}
	l := store.BillingLimits{Site: site.ID, FromMonth: month.From, Limits: raw}
	if _, err := h.Store.AddBillingLimits(ctx, store.By{Actor: string(page.Actor(ctx).UserID), Reason: reason}, l); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: base + "/" + string(site.ID), Said: locale.T(ctx, "limits.published", in.Text("month"))}, nil
}
