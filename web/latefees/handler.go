// Package latefees is the page of what unpaid bills cost under an arrears contract at a site: the rules in force and to come, every version
// that was made with its two persons, the form with which an administrator proposes another, and the decision of a supervisor or manager.
package latefees

import (
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const (
	base    = "/late-fees"
	tariffs = "/tariffs" // beside which they stand
)

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(base, d.Handle(page.ToFirstSite(base)))
	r.Get(base+"/{site}", d.Handle(h.show))
	r.Post(base+"/{site}", d.Act("propose", h.propose, h.show))
	r.Post(base+"/{site}/{version}/approve", d.Act("approve", h.approve, h.show))
	r.Post(base+"/{site}/{version}/reject", d.Act("reject", h.reject, h.show))
}

type handler struct{ page.Deps }

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	site, err := h.SiteOf(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), site.Zone)
	r = r.WithContext(ctx)
	k := known{site: site, today: billing.DateOf(page.Now(ctx), site.Zone)}
	if k.policy, err = h.Store.LateFees(ctx, site); err != nil {
		return err
	}
	if k.versions, err = h.Store.LateFeeVersions(ctx, site.ID); err != nil {
		return err
	}
	v := showOf(r, k)
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: tariffs, Body: show(v)})
}

// propose takes a rule that another person has to approve. All that can't be meant is said at once, each beside its field.
func (h handler) propose(r *http.Request) (page.Done, error) {
	site, err := h.SiteOf(r)
	if err != nil {
		return page.Done{}, err
	}
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.EditTariff, site.ID); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	service := billing.Service(in.OneOf("service", string(billing.Power), string(billing.Water)))
	rule := ruleOf(in)
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	version, err := h.Store.ProposeLateFee(ctx, store.By{Actor: string(page.Actor(ctx).UserID), Reason: reason}, site.ID, service, rule)
	return page.Done{To: base + "/" + string(site.ID), Said: locale.T(ctx, "latefees.proposed", version)}, err
}

func (h handler) approve(r *http.Request) (page.Done, error) { return h.decide(r, true) }
func (h handler) reject(r *http.Request) (page.Done, error)  { return h.decide(r, false) }

// decide approves or rejects what another proposed; its maker may take it back.
func (h handler) decide(r *http.Request, approve bool) (page.Done, error) {
	site, err := h.SiteOf(r)
	if err != nil {
		return page.Done{}, err
	}
	ctx := r.Context()
	version, err := strconv.Atoi(page.Param(r, "version"))
	if err != nil {
		return page.Done{}, billing.Errorf(billing.CodeNotFound, "There is no late-fee rule %d at this site: open the page again.", version)
	}
	action := auth.ApproveTariff
	if !approve && auth.Can(page.Actor(ctx), auth.EditTariff, site.ID) == nil {
		action = auth.EditTariff
	}
	if err := auth.Can(page.Actor(ctx), action, site.ID); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason := in.Text("reason")
	if !approve {
		reason = in.Reason()
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	err = h.Store.DecideLateFee(ctx, store.By{Actor: string(page.Actor(ctx).UserID), Reason: reason}, site.ID, version, approve)
	said := locale.T(ctx, "latefees.rejected", version)
	if approve {
		said = locale.T(ctx, "latefees.approved", version)
	}
	return page.Done{To: base + "/" + string(site.ID), Said: said}, err
}
