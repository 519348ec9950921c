// Package meters is the pages of meters: the list with what each said last, one meter with its live values, its supply and why, its use,
// its commands with their proof and its fittings, the read on demand, its planned exchange, and who let commands reach it although its register map was never
// verified. It refuses to switch anything: that is decided on an account.
package meters

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

const base = "/meters"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(base, d.Handle(h.list))
	r.Get(base+"/{id}", d.Handle(h.show))
	r.Get(base+"/{id}/exchange", d.Handle(h.exchangePage))
	r.Post(base+"/{id}/exchange", d.Act("exchange", h.exchange, h.exchangePage))
	r.Post(base+"/{id}/read", d.Act("read", h.read, h.show))
	r.Post(base+"/{id}/allow", d.Act("allow", h.allow, h.show))
	r.Post(base+"/{id}/allowances/{allowance}/end", d.Act("forbid", h.forbid, h.show))
}

type handler struct{ page.Deps }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	today := billing.DateOf(page.Now(ctx), locale.Zone(ctx))
	f := store.MeterFilter{
		Sites: page.Sites(ctx), Gateway: billing.GatewayID(l.Get("gateway")), Service: billing.Service(l.One("service", "power", "water")),
		Supply: l.One("supply", "on", "off", "allowed", "unknown"), Command: l.One("command", "open", "refused", "unknown"),
		Silent: l.Get("silent") != "", SilentSince: today.Start(locale.Zone(ctx)), Text: l.Get("q"),
	}
	rows, total, err := h.Store.MeterPage(ctx, f, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	gateways, err := h.Store.Gateways(ctx, page.Sites(ctx))
	if err != nil {
		return err
	}
	v := listView{filter: filterOf(ctx, l, f, gateways, total), table: tableOf(ctx, rows), pager: l.Pager(len(rows), total)}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "meters.title"), Nav: base, Body: list(v)})
}

// How much a meter's page shows of its past.
const (
	usageDays    = 31
	commandRows  = 10
	pushRows     = 10
	timelineRows = 60
	caseRows     = 20
)

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	m, err := h.Store.MeterRow(ctx, billing.MeterID(page.Param(r, "id")))
	if err != nil {
		return err
	}
	if err := page.See(ctx, m.Site); err != nil {
		return err
	}
	zone := page.SiteZone(ctx, m.Site)
	ctx = locale.WithZone(ctx, zone)
	k := known{row: m, now: page.Now(ctx)}
	if k.gateway, err = h.Store.Gateway(ctx, m.Gateway); err != nil {
		return err
	}
	if k.versions, err = h.Store.ReadingVersions(ctx, m.ID, changedReadings); err != nil {
		return err
	}
	if k.reading, err = h.Store.LatestReading(ctx, m.ID); err != nil {
		return err
	}
	today := billing.DateOf(k.now, zone)
	if k.use, err = h.Store.UseByDay(ctx, m.Meter, zone, today.AddDays(-usageDays), today); err != nil {
		return err
	}
	if k.commands, err = h.Store.MeterCommands(ctx, m.ID, commandRows); err != nil {
		return err
	}
	if m.Account != "" && workflows.HoldsVolume(m.Profile) {
		if k.waiting, err = h.Store.LitresWaiting(ctx, m.Account); err != nil {
			return err
		}
	}
	if k.fittings, err = h.Store.MeterFittings(ctx, m.ID); err != nil {
		return err
	}
	if k.exchanges, err = h.Store.ExchangesOf(ctx, m.ID); err != nil {
		return err
	}
	if k.pushes, err = h.Store.PushesOf(ctx, m.ID, pushRows); err != nil {
		return err
	}
	if k.allowances, err = h.Store.Allowances(ctx, m.ID); err != nil {
		return err
	}
	site := []billing.SiteID{m.Site}
	if k.cases, _, err = h.Store.CasePage(ctx, store.CaseFilter{Sites: site, Meter: m.ID}, caseRows, 0); err != nil {
		return err
	}
	events, err := h.Store.Timeline(ctx, site, string(m.ID), 0, timelineRows)
	if err != nil {
		return err
	}
	r = r.WithContext(ctx)
	v := meterOf(ctx, k)
	v.timeline = page.Timeline(ctx, "meter", string(m.ID), events)
	v.read, v.trust, v.exchange = readOf(r, m), trustOf(r, k), exchangeLink(ctx, m)
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: base, Body: show(v)})
}

// read asks the meter now, through a cycle of its own, and waits for what it says.
func (h handler) read(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	m, err := h.Store.Meter(ctx, billing.MeterID(page.Param(r, "id")))
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.StartCycle, m.Site); err != nil {
		return page.Done{}, err
	}
	if m.State != "fitted" {
		return page.Done{}, billing.Errorf(billing.CodeClosed, "meter %s is not fitted any more: read the meter that took its place", m.ID)
	}
	done, err := h.Workflows.ReadOnDemand(ctx, m.ID, page.Actor(ctx).UserID)
	if err != nil {
		return page.Done{}, err
	}
	return page.Done{To: page.Home("meter", string(m.ID)), Said: locale.T(ctx, "meters.read_done", string(done.CycleID))}, nil
}
