// Package corrections is where what was billed wrongly is put right: the queue, the forms that start from a meter, a fitting, an account,
// a tariff or a bill, and one correction with its preview, its approvals and what became of it. It refuses to judge: people's
// decisions go to the workflow, which answers in the same click.
package corrections

import (
	"context"
	"encoding/csv"
	"encoding/hex"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// path is the queue's address.
const path = "/corrections"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.list))
	r.Post(path, d.Act("submit", h.submit, h.form))
	r.Get(path+"/new", d.Handle(h.form))
	r.Get(path+"/{id}", d.Handle(h.show))
	r.Get(path+"/{id}/preview.csv", d.Handle(h.download))
	r.Post(path+"/{id}/approve", d.Act("approve", h.approve, h.show))
	r.Post(path+"/{id}/end", d.Act("end", h.end, h.show))
	r.Post(path+"/{id}/preview", d.Act("preview", h.again, h.show))
	r.Post(path+"/{id}/resume", d.Act("resume", h.resume, h.show))
}

type handler struct{ page.Deps }

func href(id billing.CorrectionID) string { return path + "/" + string(id) }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	f := filterOf(ctx, l)
	rows, total, err := h.Store.CorrectionPage(ctx, f, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	_, waiting, err := h.Store.CorrectionPage(ctx, store.CorrectionFilter{Sites: page.Sites(ctx), Waiting: page.Actor(ctx).UserID}, 1, 0)
	if err != nil {
		return err
	}
	bills, err := h.Store.StaleBills(ctx, page.Sites(ctx), nil)
	if err != nil {
		return err
	}
	v := listView{
		stale: staleTable(ctx, bills),
		tabs:  tabs(ctx, l, waiting), filter: filterBar(ctx, l, total), table: queueTable(ctx, rows), pager: l.Pager(len(rows), total),
		mayMake: auth.Can(page.Actor(ctx), auth.MakeCorrection, "") == nil,
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "corrections.title"), Nav: path, Body: list(v)})
}

// one reads a correction that the person may see: one that works for all its sites.
func (h handler) one(r *http.Request) (store.CorrectionRow, error) {
	k, err := h.Store.CorrectionRow(r.Context(), billing.CorrectionID(page.Param(r, "id")))
	if err != nil {
		return k, err
	}
	for _, site := range k.Sites {
		if err := page.See(r.Context(), site); err != nil {
			return k, err
		}
	}
	return k, nil
}

// How much of a preview and of a timeline one page shows; the download has the rest.
const (
	previewRows    = 200
	timelineLength = 200
)

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	k, err := h.one(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), page.SiteZone(r.Context(), k.Sites[0]))
	r = r.WithContext(ctx)
	bills, _, err := h.Store.CorrectedBills(ctx, k.ID, previewRows, 0)
	if err != nil {
		return err
	}
	accounts, _, err := h.Store.CorrectedAccounts(ctx, k.ID, previewRows, 0)
	if err != nil {
		return err
	}
	events, err := h.Store.Timeline(ctx, page.Actor(ctx).Sites, string(k.ID), 0, timelineLength)
	if err != nil {
		return err
	}
	changed, err := h.changed(ctx, k)
	if err != nil {
		return err
	}
	v := showView{
		head: head(ctx, k), notices: notices(ctx, k), facts: facts(ctx, k), changed: changed, bills: billTable(ctx, k, bills), accounts: accountTable(ctx, accounts),
		actions: actions(r, k), timeline: page.Timeline(ctx, "correction", string(k.ID), events), csv: href(k.ID) + "/preview.csv",
	}
	if k.State == billing.CorrectionApplying || k.State == billing.CorrectionStopped || k.State == billing.CorrectionApplied {
		v.progress = &components.ProgressView{Label: locale.T(ctx, "corrections.progress"), Done: k.Done, Total: k.Bills}
	}
	return h.Render(w, r, page.View{Title: string(k.ID), Nav: path, Body: show(v)})
}

// download is the whole preview as a file, one line per bill.
func (h handler) download(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	k, err := h.one(r)
	if err != nil {
		return err
	}
	bills, _, err := h.Store.CorrectedBills(ctx, k.ID, 0, 0)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+string(k.ID)+`.csv"`)
	_, _ = w.Write([]byte("\ufeff")) // without it, spreadsheets take UTF-8 for something else
	out := csv.NewWriter(w)
	_ = out.Write([]string{"correction", "bill", "account", "customer", "service", "period_from", "period_to", "was", "old_quantity", "new_quantity", "unit", "old_yuan", "new_yuan", "difference_yuan", "state", "new_bill"})
	for _, b := range bills {
		successor := ""
		if b.NewBill != nil {
			successor = string(*b.NewBill)
		}
		_ = out.Write([]string{string(k.ID), string(b.Bill), string(b.Account), b.Customer, string(b.Service), b.PeriodFrom.String(), b.PeriodTo.String(), string(b.Was),
			b.Service.Format(b.OldQuantity), b.Service.Format(b.NewQuantity), b.Service.Unit(), b.OldFen.String(), b.NewFen.String(), (b.NewFen - b.OldFen).String(), b.State, successor})
	}
	out.Flush()
	return nil
}

func (h handler) approve(r *http.Request) (page.Done, error) {
	return h.decide(r, auth.ApproveCorrection, func(ctx context.Context, k store.CorrectionRow, in *page.Input) error {
		return h.Workflows.ApproveCorrection(ctx, k.ID, page.Actor(ctx).UserID, in.Required("digest"), in.Nonce())
	}, locale.Key("corrections.approved"))
}

// end rejects what another made, or withdraws one's own.
func (h handler) end(r *http.Request) (page.Done, error) {
	k, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if k.DraftedBy == page.Actor(r.Context()).UserID {
		return h.decide(r, auth.MakeCorrection, func(ctx context.Context, k store.CorrectionRow, in *page.Input) error {
			return reasoned(in, func(reason string) error {
				return h.Workflows.WithdrawCorrection(ctx, k.ID, page.Actor(ctx).UserID, reason)
			})
		}, locale.Key("corrections.withdrawn"))
	}
	return h.decide(r, auth.ApproveCorrection, func(ctx context.Context, k store.CorrectionRow, in *page.Input) error {
		return reasoned(in, func(reason string) error {
			return h.Workflows.RejectCorrection(ctx, k.ID, page.Actor(ctx).UserID, reason)
		})
	}, locale.Key("corrections.rejected"))
}

func reasoned(in *page.Input, do func(reason string) error) error {
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return err
	}
	return do(reason)
}

func (h handler) again(r *http.Request) (page.Done, error) {
	return h.decide(r, auth.MakeCorrection, func(ctx context.Context, k store.CorrectionRow, _ *page.Input) error {
		return h.Workflows.PreviewCorrection(ctx, k.ID, page.Actor(ctx).UserID)
	}, locale.Key("corrections.previewed"))
}

func (h handler) resume(r *http.Request) (page.Done, error) {
	return h.decide(r, auth.MakeCorrection, func(ctx context.Context, k store.CorrectionRow, _ *page.Input) error {
		return h.Workflows.ResumeCorrection(ctx, k.ID, page.Actor(ctx).UserID)
	}, locale.Key("corrections.resumed"))
}

func (h handler) decide(r *http.Request, action auth.Action, do func(context.Context, store.CorrectionRow, *page.Input) error, said string) (page.Done, error) {
	ctx := r.Context()
	k, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := may(ctx, action, k.Correction); err != nil {
		return page.Done{}, err
	}
	if err := do(ctx, k, page.Read(r)); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(k.ID), Said: locale.T(ctx, said, string(k.ID))}, nil
}

// may says whether the person may do something to a correction: at every site that it touches.
func may(ctx context.Context, action auth.Action, k store.Correction) error {
	for _, site := range k.Sites {
		if err := auth.Can(page.Actor(ctx), action, site); err != nil {
			return err
		}
	}
	return nil
}

// mayApprove says why the person may not give the next approval; nil when they may.
func mayApprove(ctx context.Context, k store.CorrectionRow) error {
	if err := may(ctx, auth.ApproveCorrection, k.Correction); err != nil {
		return err
	}
	if err := auth.NotMaker(page.Actor(ctx), k.DraftedBy); err != nil {
		return err
	}
	if err := auth.NotAgain(page.Actor(ctx), k.Approved1By); err != nil {
		return err
	}
	if k.Problems > 0 {
		return billing.Errorf(billing.CodeBlocked, "%d accounts can't be rated with this correction: see the list", k.Problems)
	}
	return nil
}

func digestText(k store.CorrectionRow) string { return hex.EncodeToString(k.Digest) }
