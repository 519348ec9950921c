// Package cycles is the pages of reading cycles: the list with progress, one cycle with the results of its gateways, and the start
// of one on demand. It refuses to judge readings: what a cycle doubted stands in its exceptions.
package cycles

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const base = "/cycles"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(base, d.Handle(h.list))
	r.Post(base, d.Act("start", h.start, h.list))
	r.Get(base+"/{site}/{date}", d.Handle(h.show))
	r.Get(base+"/{site}/{date}/{n}", d.Handle(h.show))
}

type handler struct{ page.Deps }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	state := l.One("state", locale.Words(locale.Cycle)...)
	rows, total, err := h.Store.CyclePage(ctx, page.Sites(ctx), state, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v := listOf(ctx, rows, page.Now(ctx))
	v.filter, v.pager = filterOf(ctx, l, state, total), l.Pager(len(rows), total)
	v.start = startOf(r)
	return h.Render(w, r, page.View{Title: locale.T(ctx, "cycles.title"), Nav: base, Body: list(v)})
}

// cycleID is the cycle that the address names.
func cycleID(r *http.Request) billing.CycleID {
	id := page.Param(r, "site") + "/" + page.Param(r, "date")
	if n := page.Param(r, "n"); n != "" {
		id += "/" + n
	}
	return billing.CycleID(id)
}

// timelineRows is how many changes a page tells; trace has all.
const timelineRows = 60

// What the page shows better than a timeline: the steps of single gateways, and what the charge did to pages of accounts.
var (
	told   = []string{"cycle", "charge_run", "case"}
	untold = []string{"cycle/gateway_swept", "cycle/gateway_validated", "charge_run/page_charged"}
)

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	c, err := h.Store.CycleRow(ctx, cycleID(r))
	if err != nil {
		return err
	}
	if err := page.See(ctx, c.Site); err != nil {
		return err
	}
	schedule, err := h.Store.CycleSchedule(ctx, c.ID)
	if err != nil {
		return err
	}
	results, err := h.Store.CycleResults(ctx, c.ID)
	if err != nil {
		return err
	}
	filter := store.CaseFilter{Sites: []billing.SiteID{c.Site}, Cycle: c.ID}
	cases, _, err := h.Store.CasePage(ctx, filter, page.PerPage, 0)
	if err != nil {
		return err
	}
	events, err := h.Store.Story(ctx, []billing.SiteID{c.Site}, string(c.ID), told, untold, timelineRows)
	if err != nil {
		return err
	}
	ctx = locale.WithZone(ctx, page.SiteZone(ctx, c.Site))
	v := cycleOf(ctx, c, schedule, results, cases, page.Now(ctx))
	v.timeline = page.Timeline(ctx, "cycle", string(c.ID), events)
	return h.Render(w, r.WithContext(ctx), page.View{Title: v.head.Title, Nav: base, Body: show(v)})
}

// start begins a cycle of a whole site now.
func (h handler) start(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	var offered []string
	for _, s := range page.OwnSites(ctx) {
		offered = append(offered, string(s.ID))
	}
	site := billing.SiteID(in.OneOf("site", offered...))
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.StartCycle, site); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.StartCycle(ctx, site, page.Actor(ctx).UserID); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: base, Said: locale.T(ctx, "cycles.started", page.SiteName(ctx, site))}, nil
}
