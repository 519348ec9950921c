// Package adjustments is where a faulty meter is made good: the queue, the form that starts from a meter with its tests, and one adjustment
// with its derivation and its approvals. It refuses to judge: people's decisions go to the workflow, which answers in the same click.
package adjustments

import (
	"context"
	"encoding/hex"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// path is the queue's address.
const path = "/adjustments"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.list))
	r.Post(path, d.Act("submit", h.submit, h.form))
	r.Get(path+"/new", d.Handle(h.form))
	r.Post(path+"/tests", d.Act("test", h.recordTest, h.form))
	r.Get(path+"/{id}", d.Handle(h.show))
	r.Post(path+"/{id}/approve", d.Act("approve", h.approve, h.show))
	r.Post(path+"/{id}/undo", d.Act("undo", h.undo, h.show))
	r.Post(path+"/{id}/end", d.Act("end", h.end, h.show))
}

type handler struct{ page.Deps }

func href(id billing.AdjustmentID) string { return path + "/" + string(id) }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	rows, total, err := h.Store.AdjustmentPage(ctx, filterOf(ctx, l), l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	_, waiting, err := h.Store.AdjustmentPage(ctx, store.AdjustmentFilter{Sites: page.Sites(ctx), Waiting: page.Actor(ctx).UserID}, 1, 0)
	if err != nil {
		return err
	}
	v := listView{tabs: tabs(ctx, l, waiting), filter: filterBar(ctx, l, total), table: queueTable(ctx, rows), pager: l.Pager(len(rows), total),
		mayMake: auth.Can(page.Actor(ctx), auth.MakeAdjustment, "") == nil}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "adjustments.title"), Nav: path, Body: list(v)})
}

// one reads an adjustment that the person may see.
func (h handler) one(r *http.Request) (store.AdjustmentRow, error) {
	j, err := h.Store.AdjustmentRow(r.Context(), billing.AdjustmentID(page.Param(r, "id")))
	if err != nil {
		return j, err
	}
	return j, page.See(r.Context(), j.Site)
}

const timelineLength = 200

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	j, err := h.one(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), page.SiteZone(r.Context(), j.Site))
	r = r.WithContext(ctx)
	lines, err := h.Store.AdjustedLines(ctx, j.ID)
	if err != nil {
		return err
	}
	events, err := h.Store.Timeline(ctx, page.Actor(ctx).Sites, string(j.ID), 0, timelineLength)
	if err != nil {
		return err
	}
	v := showView{head: head(ctx, j), notices: notices(ctx, j), facts: facts(ctx, j), lines: lineTable(ctx, j, lines), actions: actions(r, j),
		timeline: page.Timeline(ctx, "adjustment", string(j.ID), events)}
	return h.Render(w, r, page.View{Title: string(j.ID), Nav: path, Body: show(v)})
}

func (h handler) approve(r *http.Request) (page.Done, error) {
	return h.decide(r, auth.ApproveAdjustment, locale.Key("adjustments.approved"), func(ctx context.Context, j store.AdjustmentRow, in *page.Input) error {
		return h.Workflows.ApproveAdjustment(ctx, j.ID, page.Actor(ctx).UserID, in.Required("digest"), in.Nonce())
	})
}

// undo enters what takes a booked adjustment back; others approve it on its own page.
func (h handler) undo(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	j, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.MakeAdjustment, j.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	return h.enter(ctx, in, workflows.SubmitAdjustment{By: page.Actor(ctx).UserID, Undoes: j.ID, Evidence: in.Text("evidence"), Reason: in.Reason(), Key: in.Nonce()})
}

// end rejects what another entered, or withdraws one's own.
func (h handler) end(r *http.Request) (page.Done, error) {
	j, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	action, do := auth.ApproveAdjustment, h.Workflows.RejectAdjustment
	if j.DraftedBy == page.Actor(r.Context()).UserID {
		action, do = auth.MakeAdjustment, h.Workflows.WithdrawAdjustment
	}
	return h.decide(r, action, locale.Key("adjustments.ended"), func(ctx context.Context, j store.AdjustmentRow, in *page.Input) error {
		reason := in.Reason()
		if err := in.Err(); err != nil {
			return err
		}
		return do(ctx, j.ID, page.Actor(ctx).UserID, reason)
	})
}

func (h handler) decide(r *http.Request, action auth.Action, said string, do func(context.Context, store.AdjustmentRow, *page.Input) error) (page.Done, error) {
	ctx := r.Context()
	j, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), action, j.Site); err != nil {
		return page.Done{}, err
	}
	if err := do(ctx, j, page.Read(r)); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(j.ID), Said: locale.T(ctx, said, string(j.ID))}, nil
}

// mayApprove says why the person may not give the next approval; nil when they may.
func mayApprove(ctx context.Context, j store.AdjustmentRow) error {
	actor := page.Actor(ctx)
	if err := auth.Can(actor, auth.ApproveAdjustment, j.Site); err != nil {
		return err
	}
	if err := auth.NotMaker(actor, j.DraftedBy); err != nil {
		return err
	}
	return auth.NotAgain(actor, j.Approved1By)
}

func digestText(j store.AdjustmentRow) string { return hex.EncodeToString(j.Digest) }
