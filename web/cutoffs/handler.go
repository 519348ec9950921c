// Package cutoffs is tonight's list: who is to be cut and what speaks for and against it, what was done and proved, what was prevented
// and why, meters that tripped by themselves, and supply given back. A planned cut can be stopped here. It judges nothing: the printed
// decisions are the policy's.
package cutoffs

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const path = "/cutoffs"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.list))
	r.Get(path+"/{id}", d.Handle(h.show))
	r.Post(path+"/{id}/approve", d.Act("approve", h.approve, h.show))
	r.Post(path+"/{id}/cancel", d.Act("cancel", h.cancel, h.show))
}

type handler struct{ page.Deps }

func href(id string) string { return path + "/" + id }

// counted is for how many days back the counts of what is over go.
const counted = 7

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	sites := sitesOf(ctx, l)
	today := billing.DateOf(page.Now(ctx), locale.Zone(ctx))
	counts, err := h.Store.CutCounts(ctx, sites, today.AddDays(-counted).Start(locale.Zone(ctx)))
	if err != nil {
		return err
	}
	v := listView{tabs: tabs(ctx, l, counts), sites: siteFilter(ctx, l)}
	if viewName(l) == viewRestores {
		rows, total, err := h.Store.RestorePage(ctx, sites, "", l.Limit(), l.Offset())
		if err != nil {
			return err
		}
		v.cuts, v.pager, v.sites.Total = restoreTable(ctx, rows), l.Pager(len(rows), total), total
		return h.Render(w, r, page.View{Title: locale.T(ctx, "cutoffs.title"), Nav: path, Body: list(v)})
	}
	f := filterOf(ctx, l)
	f.Sites = sites
	rows, total, err := h.Store.CutPage(ctx, f, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v.cuts, v.pager, v.sites.Total = cutTable(ctx, viewName(l), rows), l.Pager(len(rows), total), total
	return h.Render(w, r, page.View{Title: locale.T(ctx, "cutoffs.title"), Nav: path, Body: list(v)})
}

// one reads a cut that the person may see.
func (h handler) one(r *http.Request) (store.CutRow, error) {
	c, err := h.Store.CutRow(r.Context(), page.Param(r, "id"))
	if err != nil {
		return c, err
	}
	return c, page.See(r.Context(), c.Site)
}

// timelineLength is how much of a cut's story one page shows.
const timelineLength = 200

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	c, err := h.one(r)
	if err != nil {
		return err
	}
	commands, err := h.Store.CommandsOf(ctx, "cutoff/"+c.ID)
	if err != nil {
		return err
	}
	events, err := h.Store.Timeline(ctx, page.Actor(ctx).Sites, c.ID, 0, timelineLength)
	if err != nil {
		return err
	}
	v := showView{
		head: head(ctx, c), notice: notice(ctx, c), facts: facts(ctx, c), now: nowFacts(ctx, c), lines: lines(ctx, decisionOf(c.Decision)), allowed: decisionOf(c.Decision).Allowed,
		commands: commands, timeline: page.Timeline(ctx, "cutoff", c.ID, events), actions: actions(r, c), open: !c.Ended(),
	}
	return h.Render(w, r, page.View{Title: c.ID, Nav: path, Body: show(v)})
}

// approve is a manager's word for the cut of an important customer.
func (h handler) approve(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	c, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := mayApprove(ctx, c); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.ApproveCut(ctx, c.ID, page.Actor(ctx).UserID); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(c.ID), Said: locale.T(ctx, "cutoffs.approved", c.ID)}, nil
}

// cancel stops a cut that isn't out yet.
func (h handler) cancel(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	c, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.StopCuts, c.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.CancelCut(ctx, c.ID, page.Actor(ctx).UserID, reason); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: path, Said: locale.T(ctx, "cutoffs.cancelled", c.ID)}, nil
}
