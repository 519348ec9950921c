// Package runs is the pages of billing runs and bills: the list, one run with its control totals and bills, the two signatures, the bill
// down to its readings, and the printed lists. It refuses to price anything: bills show what was rated and stored.
package runs

import (
	"context"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const (
	base        = "/runs"
	heldBase    = "/runs/held"
	billBase    = "/bills"
	accountBase = "/accounts"
)

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	const one = base + "/{site}/{month}/{version}"
	r.Get(base, d.Handle(h.list))
	r.Get(one, d.Handle(h.show))
	r.Get(heldBase, d.Handle(h.held))
	r.Post(heldBase+"/{site}/{month}", d.Act("further", h.further, h.held))
	r.Get(one+"/payment-list", d.Handle(h.payments))
	r.Get(one+"/payment-list.pdf", d.Handle(h.paymentsPDF))
	r.Get(one+"/bills.pdf", d.Handle(h.runPDF))
	r.Post(one+"/verify", d.Act("verify", h.verify, h.show))
	r.Post(one+"/issue", d.Act("issue", h.issue, h.show))
	r.Post(one+"/cancel", d.Act("cancel", h.cancel, h.show))
	r.Post(one+"/bills", d.Act("bills", h.changeBills, h.show))
	r.Get(billBase+"/{id}", d.Handle(h.bill))
	r.Get(billBase+"/{id}/bill.pdf", d.Handle(h.billPDF))
	r.Get(accountBase+"/{id}/statement.pdf", d.Handle(h.statementPDF))
	r.Get(accountBase+"/{id}/payment-list.pdf", d.Handle(h.counterPDF))
	r.Post(billBase+"/{id}/hold", d.Act("hold", h.hold, h.bill))
	r.Post(billBase+"/{id}/release", d.Act("release", h.release, h.bill))
	r.Post(billBase+"/{id}/waive", d.Act("waive", h.waive, h.bill))
}

type handler struct{ page.Deps }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	state := l.One("state", locale.Words(locale.Run)...)
	rows, total, err := h.Store.RunPage(ctx, page.Sites(ctx), state, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v := listView{filter: filterOf(ctx, l, state, total), table: runTable(ctx, rows, page.Now(ctx)), pager: l.Pager(len(rows), total)}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "runs.title"), Nav: base, Body: list(v)})
}

// runID is the run that the address names.
func runID(r *http.Request) billing.RunID {
	return billing.RunID(strings.Join([]string{page.Param(r, "site"), page.Param(r, "month"), page.Param(r, "version")}, "/"))
}

// seen reads the run of the address and refuses it to those who don't work for its site.
func (h handler) seen(r *http.Request) (store.RunRow, error) {
	run, err := h.Store.RunRow(r.Context(), runID(r))
	if err != nil {
		return run, err
	}
	return run, page.See(r.Context(), run.Site)
}

// timelineRows is how many changes a page tells, trace has all; billRows how many bills of a run stand on a page, so that it is short
// enough for a phone.
const (
	timelineRows = 20
	billRows     = 20
)

// What the list of bills shows better than a timeline: the rating and issue of each.
var (
	told   = []string{"run", "bill", "case"}
	untold = []string{"bill/rated", "bill/superseded", "bill/issued", "run/page_rated"}
)

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	run, err := h.seen(r)
	if err != nil {
		return err
	}
	// A refused form is shown at its action's address; the list's links lead to the page.
	r = withPath(r, page.Home("run", string(run.ID)))
	ctx := locale.WithZone(r.Context(), page.SiteZone(r.Context(), run.Site))
	r = r.WithContext(ctx)
	l := page.ListOf(r)
	filter := store.BillFilter{Run: run.ID, State: l.One("state", locale.Words(locale.Bill)...), Text: l.Get("q")}
	bills, err := h.readBills(r, run, l, filter)
	if err != nil {
		return err
	}
	site, err := h.Store.Site(ctx, run.Site)
	if err != nil {
		return err
	}
	from, to := run.Period().Instants(site.Zone)
	blocking, err := h.Store.BlockingCases(ctx, run.Site, from, to)
	if err != nil {
		return err
	}
	events, err := h.Store.Story(ctx, []billing.SiteID{run.Site}, string(run.ID), told, untold, timelineRows)
	if err != nil {
		return err
	}
	v, err := runOf(r, run, blocking)
	if err != nil {
		return err
	}
	if v.progress, err = h.progressOf(ctx, run); err != nil {
		return err
	}
	v.bills = billsOf(r, run, l, filter, bills)
	v.timeline = page.Timeline(ctx, "run", string(run.ID), events)
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: base, Body: show(v)})
}

// withPath is the request as if it had come for another path; what was refused stays in its context.
func withPath(r *http.Request, path string) *http.Request {
	c := r.Clone(r.Context())
	c.URL.Path = path
	return c
}

func (h handler) verify(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	run, err := h.seen(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.VerifyRun, run.Site); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.VerifyRun(ctx, run.ID, page.Actor(ctx).UserID); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: page.Home("run", string(run.ID)), Said: locale.T(ctx, "runs.verified", string(run.ID))}, nil
}

func (h handler) issue(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	run, err := h.seen(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.IssueRun, run.Site); err != nil {
		return page.Done{}, err
	}
	if run.VerifiedBy != nil && *run.VerifiedBy == page.Actor(ctx).UserID {
		return page.Done{}, billing.Errorf(billing.CodeSelfApproval, "you verified this run: another supervisor must issue it")
	}
	if err := h.Workflows.IssueRun(ctx, run.ID, page.Actor(ctx).UserID); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: page.Home("run", string(run.ID)), Said: locale.T(ctx, "runs.issued", string(run.ID))}, nil
}

// maxBulk bounds how many bills one form holds or releases.
const maxBulk = page.PerPage

// changeBills holds or releases the chosen bills of a run: all of them, or none when one is refused.
func (h handler) changeBills(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	run, err := h.seen(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.VerifyRun, run.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	what, reason, ids := in.OneOf("action", "hold", "release"), in.Reason(), in.Texts("id")
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if len(ids) == 0 || len(ids) > maxBulk {
		return page.Done{}, billing.Errorf(billing.CodeInvalidInput, "choose at least one bill and at most %d", maxBulk)
	}
	bills := make([]billing.BillID, len(ids))
	for i, id := range ids {
		bills[i] = billing.BillID(id)
	}
	if err := h.change(ctx, what, run.ID, bills, reason); err != nil {
		return page.Done{}, err
	}
	said := locale.T(ctx, "runs.held_done", len(ids))
	if what == "release" {
		said = locale.T(ctx, "runs.released_done", len(ids))
	}
	return page.Done{To: page.Home("run", string(run.ID)), Said: said}, nil
}

func (h handler) change(ctx context.Context, what string, run billing.RunID, bills []billing.BillID, reason string) error {
	if what == "release" {
		return h.Workflows.ReleaseBills(ctx, run, bills, page.Actor(ctx).UserID, reason)
	}
	return h.Workflows.HoldBills(ctx, run, bills, page.Actor(ctx).UserID, reason)
}

func (h handler) payments(w http.ResponseWriter, r *http.Request) error {
	run, err := h.seen(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), page.SiteZone(r.Context(), run.Site))
	l := page.ListOf(r)
	after := billing.AccountID(l.Get("after"))
	rows, err := h.Store.PaymentPage(ctx, run.ID, after, paymentRows+1)
	if err != nil {
		return err
	}
	v := paymentsOf(ctx, run, l, rows)
	return h.Render(w, r.WithContext(ctx), page.View{Title: v.head.Title, Nav: base, Body: paymentList(v)})
}

// seenBill reads the bill of the address and refuses it to those who don't work for its site.
func (h handler) seenBill(r *http.Request) (store.BillSheet, error) {
	b, err := h.Store.BillSheet(r.Context(), billing.BillID(page.Param(r, "id")))
	if err != nil {
		return b, err
	}
	return b, page.See(r.Context(), b.Site)
}

func (h handler) bill(w http.ResponseWriter, r *http.Request) error {
	b, err := h.seenBill(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), page.SiteZone(r.Context(), b.Site))
	r = r.WithContext(ctx)
	events, err := h.Store.Timeline(ctx, []billing.SiteID{b.Site}, string(b.ID), 0, timelineRows)
	if err != nil {
		return err
	}
	stops, err := h.Store.BillStops(ctx, []billing.BillID{b.ID})
	if err != nil {
		return err
	}
	waived, err := h.Store.WaiverOf(ctx, b.ID)
	if err != nil {
		return err
	}
	var alone billing.Money
	if b.LateFen > 0 {
		if alone, err = h.Store.WaiveAlone(ctx, b.Site, b.Service); err != nil {
			return err
		}
	}
	v, err := billOf(r, b, stops[b.ID], waived, alone)
	if err != nil {
		return err
	}
	v.timeline = page.Timeline(ctx, "bill", string(b.ID), events)
	if v.corrects, err = h.corrections(ctx, b); err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: base, Body: showBill(v)})
}

func (h handler) hold(r *http.Request) (page.Done, error)    { return h.changeBill(r, "hold") }
func (h handler) release(r *http.Request) (page.Done, error) { return h.changeBill(r, "release") }

// waive lets the customer off the bill's late fee, or a part of it: one transaction with its entry and journal row. Above the ceiling a
// second person agrees with name and password at this screen.
func (h handler) waive(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	b, err := h.seenBill(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.WaiveLateFee, b.Site); err != nil {
		return page.Done{}, err
	}
	alone, err := h.Store.WaiveAlone(ctx, b.Site, b.Service)
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason, amount := in.Reason(), in.Money("amount")
	two := amount > alone || in.Text("second") != ""
	if two {
		in.Second(page.Actor(ctx).UserID, store.ErrWaivesAlone())
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	var agreed billing.UserID
	if two {
		second, err := h.Second(r)
		if err != nil {
			return page.Done{}, err
		}
		if auth.Can(second, auth.ApproveCorrection, b.Site) != nil { // who may agree to giving money back
			return page.Done{}, billing.Errorf(billing.CodeForbidden, "the second person may not waive late fees at this site: ask a supervisor or a manager")
		}
		agreed = second.UserID
	}
	_, err = h.Store.WaiveLateFee(ctx, store.By{Actor: string(page.Actor(ctx).UserID), Reason: reason}, b.ID, amount, agreed)
	return page.Done{To: page.Home("bill", string(b.ID)), Said: locale.T(ctx, "runs.waive_done", string(b.ID))}, err
}

func (h handler) changeBill(r *http.Request, what string) (page.Done, error) {
	ctx := r.Context()
	b, err := h.seenBill(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.VerifyRun, b.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.change(ctx, what, b.Run, []billing.BillID{b.ID}, reason); err != nil {
		return page.Done{}, err
	}
	said := locale.T(ctx, "runs.held_done", 1)
	if what == "release" {
		said = locale.T(ctx, "runs.released_done", 1)
	}
	return page.Done{To: page.Home("bill", string(b.ID)), Said: said}, nil
}
