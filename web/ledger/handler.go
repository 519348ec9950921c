// Package ledger is the pages of the books: the chart of accounts with its trial balance of any day as known on any day, accounting days
// open and closed, the entries of an account, and one entry with what reverses it. It refuses to post: money moves by what causes it; only
// holds of a customer's credit are placed and settled here, and days closed.
package ledger

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const (
	path        = "/ledger"
	daysPath    = path + "/days"
	accountPath = path + "/account"
	entryPath   = path + "/entries/"
	holdsPath   = path + "/holds"
	waitingPath = holdsPath + "?waiting=mine"
	holdPath    = holdsPath + "/"
)

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.chart))
	r.Post(path, d.Act("open-account", h.openAccount, h.chart))
	r.Get(daysPath, d.Handle(h.days))
	r.Get(daysPath+"/{site}/{day}", d.Handle(h.day))
	r.Post(daysPath+"/{site}/{day}/close", d.Act("close", h.closeDay, h.day))
	r.Get(accountPath, d.Handle(h.account))
	r.Post(accountPath, d.Act("hold", h.placeHold, h.account))
	r.Get(holdsPath, d.Handle(h.holds))
	r.Post(holdPath+"{hold}", d.Act("settle-hold", h.settleHold, h.accountOfHold))
	r.Get(entryPath+"{id}", d.Handle(h.entry))
}

type handler struct{ page.Deps }

// AccountHref is the page of an account of the books.
func AccountHref(code string) string { return accountPath + "?" + url.Values{"code": {code}}.Encode() }

// CustomerHref is the page of a customer's account in the books.
func CustomerHref(account billing.AccountID) string {
	return AccountHref(string(store.CustomerCode(account)))
}

func entryHref(id int64) string { return entryPath + strconv.FormatInt(id, 10) }

func dayHref(site billing.SiteID, day billing.Date) string {
	return daysPath + "/" + string(site) + "/" + day.String()
}

// AsOfView is the form for a point in both times.
type AsOfView struct {
	URL, ClearHref string
	Hidden         []components.Hidden
	Fields         []components.Field
}

// AsOf reads a point in both times from the address of a page (day, known); what is missing or mistyped is now. named says that the
// address names one.
func AsOf(r *http.Request, zone *time.Location) (t store.AsOf, known billing.Date, named bool) {
	q := r.URL.Query()
	t.Day = billing.DateOf(page.Now(r.Context()), zone)
	if d, err := billing.ParseDate(q.Get("day")); err == nil {
		t.Day, named = d, true
	}
	if k, err := billing.ParseDate(q.Get("known")); err == nil {
		return store.KnownOn(t.Day, k, zone), k, true
	}
	return t, billing.Date{}, named
}

// AsOfFor is the form of a page for a point in both times.
func AsOfFor(ctx context.Context, address, clear string, t store.AsOf, known billing.Date, hidden ...components.Hidden) AsOfView {
	return AsOfView{URL: address, ClearHref: clear, Hidden: hidden, Fields: []components.Field{
		{Kind: components.DateField, Name: "day", Label: locale.T(ctx, "ledger.as_of"), Value: t.Day.String()},
		{Kind: components.DateField, Name: "known", Label: locale.T(ctx, "ledger.known_on"), Value: known.String()},
	}}
}

// Point says a point in both times in words.
func Point(ctx context.Context, t store.AsOf, known billing.Date) string {
	if known.IsZero() {
		return locale.T(ctx, "ledger.point_now", t.Day.String())
	}
	return locale.T(ctx, "ledger.point", t.Day.String(), known.String())
}

func (h handler) chart(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	t, known, named := AsOf(r, locale.Zone(ctx))
	v := chartView{tabs: tabs(ctx, path), subtitle: Point(ctx, t, known), asOf: AsOfFor(ctx, path, "", t, known)}
	if named {
		v.asOf.ClearHref = path
	}
	for _, site := range page.Sites(ctx) {
		rows, err := h.Store.Chart(ctx, []billing.SiteID{site}, t)
		if err != nil {
			return err
		}
		through, err := h.Store.ClosedThrough(ctx, site)
		if err != nil {
			return err
		}
		v.sites = append(v.sites, booksOf(ctx, site, rows, through))
	}
	v.open, v.refused = openAction(r), page.FormOf(r, "open-account").Tried()
	return h.Render(w, r, page.View{Title: locale.T(ctx, "ledger.title"), Nav: path, Body: chart(v)})
}

func (h handler) openAccount(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	var offered []string
	for _, s := range page.OwnSites(ctx) {
		offered = append(offered, string(s.ID))
	}
	site := billing.SiteID(in.OneOf("site", offered...))
	name, kind := in.Required("name"), in.OneOf("kind", locale.Words(locale.AccountKind)...)
	zh, en := in.Required("name_zh"), in.Required("name_en")
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.MasterData, site); err != nil {
		return page.Done{}, err
	}
	code, err := h.Store.OpenChartAccount(ctx, by(ctx, ""), site, name, kind, zh, en)
	if err != nil {
		return page.Done{}, err
	}
	return page.Done{To: path, Said: locale.T(ctx, "ledger.opened", string(code))}, nil
}

func by(ctx context.Context, reason string) store.By {
	return store.By{Actor: string(page.Actor(ctx).UserID), Reason: reason}
}

func (h handler) account(w http.ResponseWriter, r *http.Request) error {
	return h.showAccount(w, r, store.LedgerCode(r.FormValue("code")))
}

// accountOfHold is the page on which a hold stands, when settling it was refused.
func (h handler) accountOfHold(w http.ResponseWriter, r *http.Request) error {
	hold, err := h.Store.Hold(r.Context(), page.Param(r, "hold"))
	if err != nil {
		return err
	}
	return h.showAccount(w, r, store.CustomerCode(hold.Account))
}

func (h handler) showAccount(w http.ResponseWriter, r *http.Request, code store.LedgerCode) error {
	ctx := r.Context()
	a, err := h.Store.BookAccount(ctx, code)
	if err != nil {
		return err
	}
	if err := page.See(ctx, a.Site); err != nil {
		return err
	}
	ctx = locale.WithZone(ctx, page.SiteZone(ctx, a.Site))
	s := books{account: a}
	s.at, s.known, s.named = AsOf(r, page.SiteZone(ctx, a.Site))
	if s.balance, err = h.Store.BalanceAsOf(ctx, a.Code, s.at); err != nil {
		return err
	}
	s.on, _ = billing.ParseDate(r.URL.Query().Get("on"))
	before, _ := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	if s.entries, err = h.Store.EntriesOf(ctx, a.Code, s.on, before, page.PerPage); err != nil {
		return err
	}
	if a.Account != "" {
		if s.credit, err = h.Store.CreditNow(ctx, a.Account); err != nil {
			return err
		}
		if s.holds, err = h.Store.HoldsOf(ctx, a.Account, page.PerPage); err != nil {
			return err
		}
	}
	v := accountOf(r.WithContext(ctx), s)
	return h.Render(w, r.WithContext(ctx), page.View{Title: v.head.Title, Nav: path, Body: account(v)})
}

func (h handler) entry(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id, err := strconv.ParseInt(page.Param(r, "id"), 10, 64)
	if err != nil {
		return billing.Errorf(billing.CodeNotFound, "there is no such record")
	}
	e, lines, err := h.Store.BookEntry(ctx, id)
	if err != nil {
		return err
	}
	if err := page.See(ctx, e.Site); err != nil {
		return err
	}
	ctx = locale.WithZone(ctx, page.SiteZone(ctx, e.Site))
	v := entryOf(ctx, e, lines)
	return h.Render(w, r.WithContext(ctx), page.View{Title: v.head.Title, Nav: path, Body: entry(v)})
}
