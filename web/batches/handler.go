// Package batches is work on many meters: the list, the form that makes a batch, and one batch with its preview, its progress and what became
// of each meter. It refuses to judge meters and to send anything: the batch's workflow does, and answers in the same click.
package batches

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// path is the list's address.
const path = "/batches"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.list))
	r.Post(path, d.Act("plan", h.plan, h.form))
	r.Get(path+"/new", d.Handle(h.form))
	r.Get(path+"/{id}", d.Handle(h.show))
	r.Post(path+"/{id}/start", d.Act("start", h.start, h.show))
	r.Post(path+"/{id}/cancel", d.Act("cancel", h.cancel, h.show))
}

type handler struct{ page.Deps }

func href(id billing.BatchID) string { return path + "/" + string(id) }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	state := l.One("state", locale.Words(locale.Batch)...)
	rows, total, err := h.Store.BatchPage(ctx, page.Sites(ctx), state, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v := listView{filter: filterOf(ctx, l, state, total), table: listTable(ctx, rows), pager: l.Pager(len(rows), total), mayMake: auth.Can(page.Actor(ctx), auth.WorkBatch, "") == nil}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "batches.title"), Nav: path, Body: list(v)})
}

func (h handler) form(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.WorkBatch, ""); err != nil {
		return err
	}
	var sites []billing.SiteID
	for _, s := range page.OwnSites(ctx) {
		sites = append(sites, s.ID)
	}
	gateways, err := h.Store.Gateways(ctx, sites)
	if err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "batches.new"), Nav: path, Body: form(planAction(r, gateways))})
}

// plan makes a batch with its preview; its own page shows it.
func (h handler) plan(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	site := billing.SiteID(in.Required("site"))
	kind, action, _ := strings.Cut(in.OneOf("work", works()...), "/")
	reason := in.Reason()
	rate := int64(0)
	if in.Text("rate") != "" {
		rate = in.Int("rate")
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.WorkBatch, site); err != nil {
		return page.Done{}, err
	}
	id, err := h.Store.NextBatchID(ctx)
	if err != nil {
		return page.Done{}, err
	}
	_, err = h.Workflows.PlanBatch(ctx, workflows.PlanBatch{BatchID: id, By: page.Actor(ctx).UserID, Site: site, Kind: billing.BatchKind(kind), Action: billing.BatchAction(action),
		Gateway: billing.GatewayID(in.Text("gateway")), Address: in.Text("address"), Meters: numbers(in.Text("meters")), Rate: int(min(max(rate, -1), workflows.MaxBatchRate+1)), Reason: reason})
	if err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(id), Said: locale.T(ctx, "batches.said_planned", string(id))}, nil
}

// numbers are the meters of a pasted list: one per line, or with commas, semicolons, spaces or tabs between them.
func numbers(text string) []billing.MeterID {
	var ids []billing.MeterID
	seen := map[string]bool{}
	for _, n := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;，；、", r) }) {
		if !seen[n] {
			seen[n] = true
			ids = append(ids, billing.MeterID(n))
		}
	}
	return ids
}

// one reads a batch that the person may see.
func (h handler) one(r *http.Request) (store.BatchRow, error) {
	b, err := h.Store.BatchRow(r.Context(), billing.BatchID(page.Param(r, "id")))
	if err != nil {
		return b, err
	}
	return b, page.See(r.Context(), b.Site)
}

const timelineLength = 60

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	b, err := h.one(r)
	if err != nil {
		return err
	}
	ctx := locale.WithZone(r.Context(), page.SiteZone(r.Context(), b.Site))
	r = r.WithContext(ctx)
	l := page.ListOf(r)
	state := l.One("state", locale.Words(locale.BatchMember)...)
	members, total, err := h.Store.BatchMembers(ctx, b.ID, state, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	skips, err := h.Store.BatchSkips(ctx, b.ID)
	if err != nil {
		return err
	}
	events, err := h.Store.Story(ctx, []billing.SiteID{b.Site}, string(b.ID), []string{"batch"}, []string{"batch/member_skipped"}, timelineLength)
	if err != nil {
		return err
	}
	v := showView{head: head(ctx, b), notices: notices(ctx, b), progress: progress(ctx, b), facts: facts(ctx, b), skips: skipTable(ctx, skips), filter: memberFilter(ctx, b, l, state, total),
		members: memberTable(ctx, b, members), pager: l.Pager(len(members), total), timeline: page.Timeline(ctx, "batch", string(b.ID), events), actions: actions(r, b)}
	return h.Render(w, r, page.View{Title: string(b.ID), Nav: path, Body: show(v)})
}

func (h handler) start(r *http.Request) (page.Done, error) {
	return h.decide(r, workflows.UpdateStartBatch, func(*page.Input) string { return "" }, locale.Key("batches.said_started"))
}

func (h handler) cancel(r *http.Request) (page.Done, error) {
	return h.decide(r, workflows.UpdateCancelBatch, (*page.Input).Reason, locale.Key("batches.said_cancelled"))
}

func (h handler) decide(r *http.Request, update string, reason func(*page.Input) string, said string) (page.Done, error) {
	ctx := r.Context()
	b, err := h.one(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.WorkBatch, b.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	d := workflows.DecideBatch{BatchID: b.ID, By: page.Actor(ctx).UserID, Reason: reason(in), Nonce: in.Nonce()}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.DecideBatch(ctx, update, d); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: href(b.ID), Said: locale.T(ctx, said, string(b.ID))}, nil
}
