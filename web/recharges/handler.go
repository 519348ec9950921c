// Package recharges is where money becomes credit: the queue of what waits for approvals, the form at the counter, one recharge with
// its whole story, and its receipt. It refuses to judge: people's decisions go to the workflow, which answers in the same click.
package recharges

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// path is the queue's address.
const path = "/recharges"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.list))
	r.Post(path, d.Act("enter", h.enter, h.form))
	r.Get(path+"/new", d.Handle(h.form))
	r.Post(path+"/review", d.Act("review", h.review, h.list))
	r.Get(path+"/review", d.Handle(h.reviewed))
	r.Post(path+"/approve", d.Act("approve-all", h.approveAll, h.reviewed))
	r.Get(path+"/{id}", d.Handle(h.show))
	r.Get(path+"/{id}/receipt", d.Handle(h.receipt))
	r.Post(path+"/{id}/approve", d.Act("approve", h.approve, h.show))
	r.Post(path+"/{id}/reject", d.Act("reject", h.reject, h.show))
}

type handler struct{ page.Deps }

func href(id billing.RechargeID) string { return path + "/" + string(id) }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	f := filterOf(ctx, l)
	rows, tally, err := h.Store.RechargePage(ctx, f, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	counts, err := h.Store.RechargeCounts(ctx, page.Sites(ctx), page.Actor(ctx).UserID)
	if err != nil {
		return err
	}
	v := listView{
		tabs: tabs(ctx, l, counts), filter: filterBar(ctx, l, tally.N), table: queueTable(ctx, rows, tally), pager: l.Pager(len(rows), tally.N),
		mayEnter: auth.Can(page.Actor(ctx), auth.EnterRecharge, "") == nil,
		bulk:     components.BulkView{URL: path + "/review", Error: page.FormOf(r, "review").Error(), Actions: []components.BulkAction{{Value: "review", Label: locale.T(ctx, "recharges.review"), Key: "a"}}},
	}
	v.mayApprove = auth.Can(page.Actor(ctx), auth.ApproveRecharge, "") == nil
	v.table.Select = v.mayApprove && slices.ContainsFunc(rows, func(rc store.RechargeRow) bool { return mayApprove(ctx, rc.Recharge) == nil })
	return h.Render(w, r, page.View{Title: locale.T(ctx, "recharges.title"), Nav: path, Body: list(v)})
}

// one reads a recharge that the person may see.
func (h handler) one(r *http.Request) (store.RechargeRow, error) {
	rc, err := h.Store.RechargeRow(r.Context(), billing.RechargeID(page.Param(r, "id")))
	if err != nil {
		return rc, err
	}
	return rc, page.See(r.Context(), rc.Site)
}

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rc, err := h.one(r)
	if err != nil {
		return err
	}
	account, err := h.Store.AccountRow(ctx, rc.Account)
	if err != nil {
		return err
	}
	history, _, err := h.Store.RechargePage(ctx, store.RechargeFilter{Sites: page.Actor(ctx).Sites, Account: rc.Account}, historyLength, 0)
	if err != nil {
		return err
	}
	commands, err := h.Store.CommandsOf(ctx, "recharge/"+string(rc.ID))
	if err != nil {
		return err
	}
	credit, err := h.Store.CreditOf(ctx, rc.Recharge)
	if err != nil {
		return err
	}
	events, err := h.Store.Timeline(ctx, page.Actor(ctx).Sites, string(rc.ID), 0, timelineLength)
	if err != nil {
		return err
	}
	v := showView{
		head: head(ctx, rc), facts: facts(ctx, rc, account), history: historyTable(ctx, rc, history), commands: commands, credit: creditFacts(ctx, rc, commands, credit),
		timeline: page.Timeline(ctx, "recharge", string(rc.ID), events), actions: actions(r, rc, account), notice: doubt(ctx, rc),
	}
	return h.Render(w, r, page.View{Title: string(rc.ID), Nav: path, Body: show(v)})
}

// How much of an account's past and of a recharge's story one page shows.
const (
	historyLength  = 6
	timelineLength = 200
)

func (h handler) receipt(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rc, err := h.one(r)
	if err != nil {
		return err
	}
	if rc.State != billing.RechargeCredited {
		return billing.Errorf(billing.CodeBlocked, "a receipt is printed when the recharge is credited: wait until it is, or look at the recharge")
	}
	commands, err := h.Store.CommandsOf(ctx, "recharge/"+string(rc.ID))
	if err != nil {
		return err
	}
	credit, err := h.Store.CreditOf(ctx, rc.Recharge)
	if err != nil {
		return err
	}
	v := receiptView{id: string(rc.ID), roll: page.ListOf(r).Get("paper") != "a4", issuer: page.SiteName(ctx, rc.Site), number: rc.ReceiptNo, facts: receiptFacts(ctx, rc, commands, credit)}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "recharges.receipt"), Nav: path, Narrow: true, Body: receipt(v)})
}

// after says where to go when a decision was taken: to the next recharge that waits for this person, else to the one decided on.
func (h handler) after(ctx context.Context, id billing.RechargeID) (string, error) {
	next, err := h.Store.NextRecharge(ctx, page.Sites(ctx), page.Actor(ctx).UserID)
	if err != nil || next == "" || next == id {
		return href(id), err
	}
	return href(next), nil
}
