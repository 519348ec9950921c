// Package exceptions is the pages of exception cases: the queue, the doubt with its evidence and proposals, and the decision, one by one
// or for several cases of one kind. It refuses to apply anything: the case's workflow does, and says no in the same click.
package exceptions

import (
	"net/http"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const base = "/exceptions"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(base, d.Handle(h.list))
	r.Post(base+"/choose", d.Act("choose", h.choose, h.list))
	r.Get(base+"/decide", d.Handle(h.preview))
	r.Post(base+"/decide", d.Act("several", h.decideSeveral, h.preview))
	r.Get(base+"/{id}", d.Handle(h.show))
	r.Post(base+"/{id}/decide", d.Act("decide", h.decide, h.show))
	r.Post(base+"/{id}/manual", d.Act("manual", h.manual, h.show))
	r.Post(base+"/{id}/exchange", d.Act("exchange", h.exchange, h.show))
}

type handler struct{ page.Deps }

// The filters of the queue, by their names in the address.
var filterNames = []string{"state", "kind", "site", "overdue", "mine", "since"}

// filterOf reads the queue's filter from an address. What a person opens without a filter is what is open.
func filterOf(r *http.Request) store.CaseFilter {
	ctx := r.Context()
	l := page.ListOf(r)
	f := store.CaseFilter{Sites: page.Sites(ctx), State: l.One("state", "open", "resolved"), Kind: l.Get("kind"), Overdue: l.Get("overdue") != ""}
	if site := billing.SiteID(l.Get("site")); site != "" && page.Actor(ctx).HasSite(site) {
		f.Sites = []billing.SiteID{site}
	}
	if l.Get("mine") != "" {
		f.State, f.DecidedBy = string(billing.CaseResolved), page.Actor(ctx).UserID
	}
	if day, err := billing.ParseDate(l.Get("since")); err == nil {
		f.Since = day.Start(locale.Zone(ctx))
	}
	if f.State == "" && f.Since.IsZero() && l.Get("state") != "all" {
		f.State = string(billing.CaseOpen)
	}
	return f
}

// filterQuery is the queue's filter as it stands in an address, so that the next case comes from the same queue.
func filterQuery(r *http.Request) string {
	l, q := page.ListOf(r), url.Values{}
	for _, name := range filterNames {
		if v := l.Get(name); v != "" {
			q.Set(name, v)
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// withPath is the request as if it had come for another path; what was refused stays in its context.
func withPath(r *http.Request, path string) *http.Request {
	c := r.Clone(r.Context())
	c.URL.Path = path
	return c
}

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	r = withPath(r, base)
	ctx := r.Context()
	l, f := page.ListOf(r), filterOf(r)
	rows, total, err := h.Store.CasePage(ctx, f, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	counts, err := h.Store.CaseCounts(ctx, f.Sites, page.Actor(ctx).UserID)
	if err != nil {
		return err
	}
	v := listOf(r, l, f, rows, total, counts)
	return h.Render(w, r, page.View{Title: locale.T(ctx, "exceptions.title"), Nav: base, Body: list(v)})
}

const timelineRows = 60

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	c, err := h.seen(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), page.SiteZone(r.Context(), c.row.Site))
	r = r.WithContext(ctx)
	if err := h.gather(ctx, &c); err != nil {
		return err
	}
	if err := h.weigh(r, &c); err != nil {
		return err
	}
	events, err := h.Store.Timeline(ctx, []billing.SiteID{c.row.Site}, string(c.row.ID), 0, timelineRows)
	if err != nil {
		return err
	}
	v := caseOf(r, c)
	v.timeline = page.Timeline(ctx, "case", string(c.row.ID), events)
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: base, Body: show(v)})
}

// seen reads the case of the address and refuses it to those who don't work for its site.
func (h handler) seen(r *http.Request) (doubt, error) {
	ctx := r.Context()
	k, members, err := h.Store.Case(ctx, billing.CaseID(page.Param(r, "id")))
	if err != nil {
		return doubt{}, err
	}
	if err := page.See(ctx, k.Site); err != nil {
		return doubt{}, err
	}
	rows, _, err := h.Store.CasePage(ctx, store.CaseFilter{Sites: []billing.SiteID{k.Site}, IDs: []billing.CaseID{k.ID}}, 1, 0)
	if err != nil || len(rows) == 0 {
		return doubt{}, err
	}
	return doubt{row: rows[0], members: members, now: page.Now(ctx)}, nil
}

// mayDecide reads the case of the address for a person who may decide on it while it is open.
func (h handler) mayDecide(r *http.Request) (doubt, error) {
	c, err := h.seen(r)
	if err != nil {
		return c, err
	}
	if err := auth.Can(page.Actor(r.Context()), auth.DecideException, c.row.Site); err != nil {
		return c, err
	}
	if c.row.State != billing.CaseOpen {
		return c, billing.Errorf(billing.CodeClosed, "case %s was decided already: open it to see by whom and how", c.row.ID)
	}
	return c, nil
}

// decided says so, and opens the next case of the queue that the person came from.
func (h handler) decided(r *http.Request, id billing.CaseID) (page.Done, error) {
	ctx := r.Context()
	next, err := h.Store.NextCase(ctx, filterOf(r), id)
	if err != nil {
		return page.Done{}, err
	}
	query := filterQuery(r)
	if next == "" {
		return page.Done{To: base + query, Said: locale.T(ctx, "exceptions.decided_last", string(id))}, nil
	}
	return page.Done{To: page.Home("case", string(next)) + query, Said: locale.T(ctx, "exceptions.decided_next", string(id))}, nil
}

// How much of a meter's past its use is judged by, as in the validation.
const historyDays = 30

func historyFrom(at time.Time) time.Time { return at.AddDate(0, 0, -historyDays) }
