// Package gateways is the pages of gateways, their links and what hangs on their lines: how each is reached, who owns its line, what sweeps leave
// alone and why, the circuits of its boxes, and the forms with which an administrator adds and changes them. It refuses to show a secret: it
// can be replaced, never read.
package gateways

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const base = "/gateways"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(base, d.Handle(h.list))
	r.Post(base, d.Act("gateway", h.add, h.list))
	r.Get(base+"/{id}", d.Handle(h.show))
	r.Post(base+"/{id}", d.Act("link", h.change, h.show))
	r.Post(base+"/{id}/boxes", d.Act("box", h.addBox, h.show))
	r.Post(base+"/{id}/meters", d.Act("meter", h.addMeter, h.show))
	r.Get(base+"/{id}/boxes/{box}", d.Handle(h.showBox))
	r.Post(base+"/{id}/boxes/{box}", d.Act("meter", h.addMeter, h.showBox))
}

type handler struct{ page.Deps }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rows, err := h.Store.GatewayRows(ctx, page.Sites(ctx))
	if err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "gateways.title"), Nav: base, Body: list(tableOf(ctx, rows), addAction(r))})
}

const timelineRows = 40

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	g, err := h.gateway(r)
	if err != nil {
		return err
	}
	k := known{row: g}
	if k.asides, err = h.Store.MeterAsides(ctx, g.ID); err != nil {
		return err
	}
	if k.boxes, err = h.Store.Boxes(ctx, g.ID); err != nil {
		return err
	}
	if k.faults, err = h.Store.LineFaults(ctx, g.ID); err != nil {
		return err
	}
	if k.meters, _, err = h.Store.MeterPage(ctx, store.MeterFilter{Sites: []billing.SiteID{g.Site}, Gateway: g.ID}, metersShown, 0); err != nil {
		return err
	}
	// Not its cycles: two rows a day would bury the rest.
	events, err := h.Store.Story(ctx, []billing.SiteID{g.Site}, string(g.ID), []string{"gateway", "case"}, []string{}, timelineRows)
	if err != nil {
		return err
	}
	v, err := showOf(r, k)
	if err != nil {
		return err
	}
	v.timeline = page.Timeline(ctx, "gateway", string(g.ID), events)
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: base, Body: show(v)})
}

// metersShown is how many meters a gateway's page lists: an RS-485 line carries 247 addresses at most.
const metersShown = 247

func (h handler) gateway(r *http.Request) (store.GatewayRow, error) {
	g, err := h.Store.GatewayRow(r.Context(), billing.GatewayID(page.Param(r, "id")))
	if err != nil {
		return g, err
	}
	return g, page.See(r.Context(), g.Site)
}

// own reads the gateway of the path and checks that the person may change what hangs on it.
func (h handler) own(r *http.Request) (store.GatewayRow, error) {
	g, err := h.gateway(r)
	if err != nil {
		return g, err
	}
	return g, auth.Can(page.Actor(r.Context()), auth.MasterData, g.Site)
}

// by is who changes the master data, and why.
func by(r *http.Request, reason string) store.By {
	return store.By{Actor: string(page.Actor(r.Context()).UserID), Reason: reason}
}

// changeOf reads the fields of a link.
func changeOf(in *page.Input, id billing.GatewayID) store.GatewayChange {
	return store.GatewayChange{
		ID: id, Name: in.Required("name"), Link: in.OneOf("link", locale.Words(locale.Link)...), Address: in.Text("address"),
		Registration: in.Text("registration"), Secret: in.Text("secret"),
		TimeoutMillis: int(in.Int("timeout")), WorstMillis: int(in.Int("worst")), PauseMillis: int(in.Int("pause")), CachesMillis: int(in.Int("caches")),
	}
}

func (h handler) change(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	g, err := h.own(r)
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	c, reason := changeOf(in, g.ID), in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Store.ChangeGateway(ctx, by(r, reason), c, h.MayDial); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: base + "/" + string(g.ID), Said: locale.T(ctx, "gateways.changed")}, nil
}
