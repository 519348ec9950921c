// Package rules is the pages of the rules by which readings are judged and gaps filled: the groups of a site with their versions, what holds
// where no group fits, and which meters are sub-meters of a master. Everybody on the staff may read them; an administrator, who decides
// on no reading, changes them. It refuses to change what has judged readings: a new version begins on a later day.
package rules

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

const base = "/rules"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(base, d.Handle(h.list))
	r.Post(base, d.Act("add", h.add, h.list))
	r.Post(base+"/subs", d.Act("sub", h.addSub, h.list))
	r.Post(base+"/subs/end", d.Act("end", h.endSub, h.list))
	r.Get(base+"/{id}", d.Handle(h.show))
	r.Post(base+"/{id}", d.Act("version", h.addVersion, h.show))
	r.Post(base+"/{id}/withdraw", d.Act("withdraw", h.withdraw, h.show))
}

type handler struct{ page.Deps }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	groups, err := h.Store.RuleGroups(ctx, page.Sites(ctx))
	if err != nil {
		return err
	}
	k := known{today: billing.DateOf(page.Now(ctx), locale.Zone(ctx))}
	for _, g := range groups {
		_, versions, err := h.Store.RuleGroup(ctx, g.ID)
		if err != nil {
			return err
		}
		k.groups = append(k.groups, groupRules{g, versions})
	}
	if k.subs, err = h.Store.SubPoints(ctx, page.Sites(ctx)); err != nil {
		return err
	}
	v, err := listOf(r, k)
	if err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "rules.title"), Nav: base, Body: list(v)})
}

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	g, versions, err := h.group(r)
	if err != nil {
		return err
	}
	v, err := showOf(r, groupRules{g, versions})
	if err != nil {
		return err
	}
	ctx := r.Context()
	events, err := h.Store.Timeline(ctx, []billing.SiteID{g.Site}, g.ID, 0, timelineRows)
	if err != nil {
		return err
	}
	v.timeline = page.Timeline(ctx, "rule_group", g.ID, events)
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: base, Body: show(v)})
}

const timelineRows = 40

func (h handler) group(r *http.Request) (store.RuleGroup, []store.RuleVersion, error) {
	g, versions, err := h.Store.RuleGroup(r.Context(), page.Param(r, "id"))
	if err != nil {
		return g, nil, err
	}
	return g, versions, page.See(r.Context(), g.Site)
}

// by is who changes the rules, and why.
func by(r *http.Request, reason string) store.By {
	return store.By{Actor: string(page.Actor(r.Context()).UserID), Reason: reason}
}

func (h handler) add(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	g := store.RuleGroup{
		Site: billing.SiteID(in.Required("site")), Name: in.Required("name"), Service: billing.Service(in.OneOf("service", string(billing.Power), string(billing.Water))),
		Profile: in.Text("profile"), Class: billing.CustomerClass(in.Text("class")),
	}
	v, reason := versionOf(in, g.Service, true), in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := page.See(ctx, g.Site); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.MasterData, g.Site); err != nil {
		return page.Done{}, err
	}
	rules, err := h.defaults(r, g)
	if err != nil {
		return page.Done{}, err
	}
	if v.Rules, err = json.Marshal(rules); err != nil {
		return page.Done{}, err
	}
	id, err := h.Store.AddRuleGroup(ctx, by(r, reason), g, v)
	return page.Done{To: base + "/" + id, Said: locale.T(ctx, "rules.saved", v.FromDay.String())}, err
}

// defaults are what a new group begins with.
func (h handler) defaults(r *http.Request, g store.RuleGroup) (workflows.RuleSet, error) {
	site, err := h.Store.Site(r.Context(), g.Site)
	if err != nil {
		return workflows.RuleSet{}, err
	}
	return workflows.DefaultRules(site.Policy, g.Service)
}

func (h handler) addVersion(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	g, _, err := h.group(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.MasterData, g.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	v, reason := versionOf(in, g.Service, false), in.Reason()
	v.Group = g.ID
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if _, err := workflows.ParseRules(v.Rules); err != nil {
		return page.Done{}, err
	}
	if err := h.Store.AddRuleVersion(ctx, by(r, reason), v); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: base + "/" + g.ID, Said: locale.T(ctx, "rules.saved", v.FromDay.String())}, nil
}

func (h handler) withdraw(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	g, _, err := h.group(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.MasterData, g.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	version, reason := in.Int("version"), in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Store.WithdrawRuleVersion(ctx, by(r, reason), g.ID, int(version)); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: base + "/" + g.ID, Said: locale.T(ctx, "rules.withdrawn", version)}, nil
}

func (h handler) addSub(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	master, sub, from, reason := billing.MeterID(in.Required("master")), billing.MeterID(in.Required("sub")), in.Day("from"), in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	m, err := h.Store.Meter(ctx, master)
	if err != nil {
		return page.Done{}, err
	}
	if err := page.See(ctx, m.Site); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.MasterData, m.Site); err != nil {
		return page.Done{}, err
	}
	err = h.Store.AddSubPoint(ctx, by(r, reason), master, sub, from.Start(page.SiteZone(ctx, m.Site)))
	return page.Done{To: base, Said: locale.T(ctx, "rules.sub_saved")}, err
}

func (h handler) endSub(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	id, err := strconv.ParseInt(in.Required("id"), 10, 64)
	if err != nil {
		in.Refuse("id", billing.Errorf(billing.CodeInvalidInput, "choose one of the answers"))
	}
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	subs, err := h.Store.SubPoints(ctx, page.Actor(ctx).Sites)
	if err != nil {
		return page.Done{}, err
	}
	for _, s := range subs {
		if s.ID != id {
			continue
		}
		if err := auth.Can(page.Actor(ctx), auth.MasterData, s.Site); err != nil {
			return page.Done{}, err
		}
		return page.Done{To: base, Said: locale.T(ctx, "rules.sub_ended")}, h.Store.EndSubPoint(ctx, by(r, reason), id)
	}
	return page.Done{}, billing.Errorf(billing.CodeNotFound, "there is no such record")
}
