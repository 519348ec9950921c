// Package areas is the pages of the water meters of an area: a site, the line of a building, or a reading route. Each shows what every meter
// said last and when, and reads one or all of them again. It refuses to switch anything: a valve is the account's, and is switched there.
package areas

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const base = "/areas"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(base, d.Handle(h.list))
	r.Get(base+"/{kind}/{id}", d.Handle(h.show))
	r.Post(base+"/{kind}/{id}/read", d.Act("read", h.read, h.show))
}

type handler struct{ page.Deps }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	all, err := h.Store.Areas(ctx, page.Sites(ctx))
	if err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "areas.title"), Nav: base, Body: list(listOf(ctx, all))})
}

func (h handler) area(r *http.Request) (store.Area, error) {
	return h.Store.Area(r.Context(), page.Actor(r.Context()).Sites, store.AreaKind(page.Param(r, "kind")), page.Param(r, "id"))
}

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	area, err := h.area(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), page.SiteZone(r.Context(), area.Site))
	r = r.WithContext(ctx)
	l := page.ListOf(r)
	k := known{area: area, now: page.Now(ctx), today: billing.DateOf(page.Now(ctx), locale.Zone(ctx))}
	var total int
	if k.meters, total, err = h.Store.AreaMeters(ctx, area, l.Limit(), l.Offset()); err != nil {
		return err
	}
	ids := make([]billing.MeterID, len(k.meters))
	for i, m := range k.meters {
		ids[i] = m.ID
	}
	if k.shown, err = h.Store.LatestShown(ctx, ids); err != nil {
		return err
	}
	if k.connected, err = h.Store.Connections(ctx, ids); err != nil {
		return err
	}
	if k.tariffs, err = h.Store.Tariffs(ctx); err != nil {
		return err
	}
	v := showOf(r, k)
	v.pager = l.Pager(len(k.meters), total)
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: base, Body: show(v)})
}

// mostRead is how many meters one click reads: more hold their lines up for everybody.
const mostRead = 500

// read has one meter of the area read now, or all of them. Nobody waits for it: the page shows what they say when they have said it.
func (h handler) read(r *http.Request) (page.Done, error) {
	area, err := h.area(r)
	if err != nil {
		return page.Done{}, err
	}
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.StartCycle, area.Site); err != nil {
		return page.Done{}, err
	}
	rows, total, err := h.Store.AreaMeters(ctx, area, mostRead, 0)
	if err != nil {
		return page.Done{}, err
	}
	one := billing.MeterID(page.Read(r).Text("meter"))
	var ids []billing.MeterID
	for _, m := range rows {
		if one == "" || m.ID == one {
			ids = append(ids, m.ID)
		}
	}
	switch {
	case one == "" && total > mostRead:
		return page.Done{}, billing.Errorf(billing.CodeInvalidInput, "these are %d meters, more than the %d that are read at once: choose a line or a route", total, mostRead)
	case len(ids) == 0:
		return page.Done{}, billing.Errorf(billing.CodeNotFound, "meter %s is not in this area: open the page again", one)
	}
	if err := h.Workflows.ReadMeters(ctx, area.Site, ids, page.Actor(ctx).UserID); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(area), Said: locale.T(ctx, "areas.reading", len(ids))}, nil
}

func href(a store.Area) string { return base + "/" + string(a.Kind) + "/" + a.ID }
