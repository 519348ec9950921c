// Package accounts is where people look customers up: what an account has and how long that lasts, whether supply is on and why not,
// what is open about it, and everything that ever happened to it. Protections are kept here, and supply is given back here.
package accounts

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const path = "/accounts"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.list))
	r.Get(path+"/{id}", d.Handle(h.show))
	r.Post(path+"/{id}/restore", d.Act("restore", h.restore, h.show))
	r.Post(path+"/{id}/terms", d.Act("terms", h.setTerms, h.show))
	r.Post(path+"/{id}/quantities", d.Act("quantity", h.enterQuantity, h.show))
	r.Post(path+"/{id}/protect", d.Act("protect", h.protect, h.show))
	r.Post(path+"/{id}/protections/{protection}/end", d.Act("end-protection", h.endProtection, h.show))
}

type handler struct{ page.Deps }

func href(id billing.AccountID) string { return path + "/" + string(id) }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	rows, total, err := h.Store.AccountPage(ctx, filterOf(ctx, l), l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v := listView{tabs: tabs(ctx, l), filter: filterBar(ctx, l, total), table: accountTable(ctx, l, rows), pager: l.Pager(len(rows), total)}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "accounts.title"), Nav: path, Body: list(v)})
}

// one reads an account that the person may see.
func (h handler) one(r *http.Request) (store.AccountRow, error) {
	a, err := h.Store.AccountRow(r.Context(), billing.AccountID(page.Param(r, "id")))
	if err != nil {
		return a, err
	}
	return a, page.See(r.Context(), a.Site)
}

// How much of an account's past one page shows.
const (
	recent         = 6
	chartDays      = 35
	timelineLength = 200
)

// story is everything that is read about one account.
type story struct {
	row         store.AccountRow
	movements   []store.Movement
	use         []store.DayUse
	meter       store.Meter
	fittings    []store.Fitting
	terms       termsStory
	cases       []store.AccountCase
	protections []store.Protection
	names       map[billing.UserID]string
	bills       []store.BillHead
	adjustments []store.AdjustmentRow
	plans       []store.PaymentPlanRow
	recharges   []store.RechargeRow
	messages    []store.MessageRow
	cuts        []store.CutRow
	restores    []store.RestoreRow
	events      []store.Event
	asOf        asOfView
}

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	a, err := h.one(r)
	if err != nil {
		return err
	}
	s, err := h.read(r, a)
	if err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: string(a.ID) + " " + a.Name, Nav: path, Body: show(viewOf(r, s))})
}

func (h handler) read(r *http.Request, a store.AccountRow) (story, error) {
	ctx := r.Context()
	s := story{row: a, names: map[billing.UserID]string{}}
	sites, zone := page.Actor(ctx).Sites, page.SiteZone(ctx, a.Site)
	today := billing.DateOf(page.Now(ctx), zone)
	var err error
	read := func(f func()) {
		if err == nil {
			f()
		}
	}
	read(func() { s.movements, err = h.Store.AccountMovements(ctx, a.ID, today.AddDays(-chartDays).Start(zone)) })
	read(func() { err = h.readMeter(r, &s, today) })
	read(func() { err = h.readTerms(r, &s, today) })
	read(func() { s.cases, err = h.Store.AccountCases(ctx, a.ID, a.Meter) })
	read(func() { s.bills, err = h.Store.AccountBills(ctx, a.ID, recent) })
	read(func() {
		s.adjustments, _, err = h.Store.AdjustmentPage(ctx, store.AdjustmentFilter{Sites: sites, Account: a.ID}, recent, 0)
	})
	read(func() {
		s.plans, _, err = h.Store.PlanPage(ctx, store.PlanFilter{Sites: sites, Account: a.ID}, recent, 0)
	})
	read(func() {
		s.recharges, _, err = h.Store.RechargePage(ctx, store.RechargeFilter{Sites: sites, Account: a.ID}, recent, 0)
	})
	read(func() {
		s.messages, _, err = h.Store.MessagePage(ctx, store.MessageFilter{Sites: sites, Account: a.ID}, recent, 0)
	})
	read(func() { s.cuts, _, err = h.Store.CutPage(ctx, store.CutFilter{Sites: sites, Account: a.ID}, recent, 0) })
	read(func() { s.restores, _, err = h.Store.RestorePage(ctx, sites, a.ID, recent, 0) })
	read(func() { s.events, err = h.Store.Timeline(ctx, sites, string(a.ID), 0, timelineLength) })
	read(func() { err = h.readProtections(r, &s) })
	read(func() { s.asOf, err = h.readAsOf(r, a) })
	return s, err
}

func (h handler) readMeter(r *http.Request, s *story, today billing.Date) error {
	if s.row.Meter == "" {
		return nil
	}
	ctx := r.Context()
	var err error
	if s.meter, err = h.Store.Meter(ctx, s.row.Meter); err != nil {
		return err
	}
	if s.use, err = h.Store.UseByDay(ctx, s.meter, page.SiteZone(ctx, s.row.Site), today.AddDays(-chartDays), today); err != nil {
		return err
	}
	s.fittings, err = h.Store.MeterFittings(ctx, s.row.Meter)
	return err
}

// readProtections reads them with the names of their owners.
func (h handler) readProtections(r *http.Request, s *story) error {
	var err error
	if s.protections, err = h.Store.Protections(r.Context(), s.row.ID); err != nil || len(s.protections) == 0 {
		return err
	}
	users, err := h.Store.Users(r.Context())
	for _, u := range users {
		s.names[u.ID] = u.Name
	}
	return err
}
