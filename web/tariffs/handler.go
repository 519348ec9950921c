// Package tariffs is the life of prices on the pages: the list of tariffs, one tariff with its versions as price tables, a change of
// prices with its simulation, approvals and its way into the meters, the editor, files in and out, and the price ceilings of sites. It
// refuses to judge: people's decisions go to the workflow, which answers in the same click.
package tariffs

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// The addresses of the pages.
const (
	path        = "/tariffs"
	changesPath = "/tariff-changes"
)

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.list))
	r.Get(path+"/import", d.Handle(h.importForm))
	r.Post(path+"/import", d.Act("import", h.importFile, h.importForm))
	r.Get(path+"/ceilings", d.Handle(h.ceilings))
	r.Post(path+"/ceilings", d.Act("ceiling", h.setCeiling, h.ceilings))
	r.Get(path+"/{id}", d.Handle(h.tariff))
	r.Get(path+"/{id}/file", d.Handle(h.tariffFile))
	r.Get(path+"/{id}/draft", d.Handle(h.draftForm))
	r.Post(path+"/{id}/draft", d.Act("edit", h.draft, h.draftForm))
	r.Get(changesPath, d.Handle(h.changes))
	r.Get(changesPath+"/{no}", d.Handle(h.change))
	r.Get(changesPath+"/{no}/file", d.Handle(h.changeFile))
	r.Get(changesPath+"/{no}/edit", d.Handle(h.editForm))
	r.Post(changesPath+"/{no}/edit", d.Act("edit", h.edit, h.editForm))
	r.Post(changesPath+"/{no}/submit", d.Act("submit", h.submit, h.change))
	r.Post(changesPath+"/{no}/approve", d.Act("approve", h.approve, h.change))
	r.Post(changesPath+"/{no}/reject", d.Act("reject", h.reject, h.change))
	r.Post(changesPath+"/{no}/withdraw", d.Act("withdraw", h.withdraw, h.change))
	r.Post(changesPath+"/{no}/simulate", d.Act("simulate", h.simulate, h.change))
	r.Post(changesPath+"/{no}/push", d.Act("push", h.push, h.change))
	r.Get(changesPath+"/{no}/simulation", d.Handle(h.simulation))
	r.Get(changesPath+"/{no}/meters", d.Handle(h.meters))
}

type handler struct{ page.Deps }

func tariffHref(id billing.TariffID) string       { return path + "/" + string(id) }
func changeHref(id billing.TariffChangeID) string { return changesPath + "/" + string(id) }

// nameOf is a tariff's or component's name in the language of ctx.
func nameOf(ctx context.Context, n billing.Names) string {
	if locale.Lang(ctx) == locale.EN {
		return n.EN
	}
	return n.ZH
}

// today is the local day by which a version is in force.
func today(ctx context.Context) billing.Date { return billing.DateOf(page.Now(ctx), locale.Zone(ctx)) }

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rows, err := h.Store.TariffRows(ctx, today(ctx))
	if err != nil {
		return err
	}
	waiting, _, err := h.Store.TariffChangeRows(ctx, store.TariffChangeFilter{Open: true}, page.PerPage, 0)
	if err != nil {
		return err
	}
	v := listView{tabs: tabs(ctx, path, len(waiting)), table: tariffTable(ctx, rows), mayDraft: auth.Can(page.Actor(ctx), auth.EditTariff, "") == nil}
	if len(waiting) > 0 {
		v.open = changeTable(ctx, waiting)
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "tariffs.title"), Nav: path, Body: list(v)})
}

func tabs(ctx context.Context, at string, open int) []components.Tab {
	return []components.Tab{
		{Label: locale.T(ctx, "tariffs.title"), Href: path, Active: at == path},
		{Label: locale.T(ctx, "tariffs.changes"), Href: changesPath, Count: open, Active: at == changesPath},
		{Label: locale.T(ctx, "tariffs.ceilings"), Href: path + "/ceilings", Active: at == path+"/ceilings"},
	}
}

func (h handler) changes(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	f := store.TariffChangeFilter{Tariff: billing.TariffID(l.Get("tariff")), Open: l.Get("open") != ""}
	if l.Get("waiting") != "" {
		f.Waiting = page.Actor(ctx).UserID
	}
	rows, total, err := h.Store.TariffChangeRows(ctx, f, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	_, open, err := h.Store.TariffChangeRows(ctx, store.TariffChangeFilter{Open: true}, 1, 0)
	if err != nil {
		return err
	}
	v := changesView{tabs: tabs(ctx, changesPath, open), table: changeTable(ctx, rows), pager: l.Pager(len(rows), total), filter: components.Filter{
		URL: changesPath, Total: total, ClearHref: l.ClearHref("waiting", "open", "tariff"), Fields: []components.Field{
			{Kind: components.SelectField, Name: "waiting", Label: locale.T(ctx, "tariffs.whose"), Value: l.Get("waiting"), Options: []components.Option{
				{Label: locale.T(ctx, "tariffs.any")}, {Value: "1", Label: locale.T(ctx, "tariffs.for_me")}}},
			{Kind: components.SelectField, Name: "open", Label: locale.T(ctx, "tariffs.state"), Value: l.Get("open"), Options: []components.Option{
				{Label: locale.T(ctx, "tariffs.any")}, {Value: "1", Label: locale.T(ctx, "tariffs.open_only")}}},
		}}}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "tariffs.changes"), Nav: path, Body: changes(v)})
}

func (h handler) tariff(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id := billing.TariffID(page.Param(r, "id"))
	t, err := h.Store.Tariff(ctx, id)
	if err != nil {
		return err
	}
	versions, err := h.Store.PublishedVersions(ctx, id)
	if err != nil {
		return err
	}
	use, err := h.Store.TariffUse(ctx, id)
	if err != nil {
		return err
	}
	changes, _, err := h.Store.TariffChangeRows(ctx, store.TariffChangeFilter{Tariff: id}, page.PerPage, 0)
	if err != nil {
		return err
	}
	// Not the accounts' terms that name it: there are as many as accounts. A tariff is of no site.
	events, err := h.Store.Story(ctx, append([]billing.SiteID{"-"}, page.Actor(ctx).Sites...), string(id), []string{"tariff", "tariff_change"}, []string{}, timelineLength)
	if err != nil {
		return err
	}
	v := tariffOf(r, t, versions, use, changes)
	v.timeline = page.Timeline(ctx, "tariff", string(id), events)
	return h.Render(w, r, page.View{Title: nameOf(ctx, t.Name), Nav: path, Body: tariff(v)})
}

// timelineLength is how much of a story one page shows.
const timelineLength = 200

func (h handler) tariffFile(w http.ResponseWriter, r *http.Request) error {
	t, err := h.Store.Tariff(r.Context(), billing.TariffID(page.Param(r, "id")))
	if err != nil {
		return err
	}
	return sendFile(w, string(t.ID), t)
}

func (h handler) changeFile(w http.ResponseWriter, r *http.Request) error {
	c, err := h.Store.TariffChange(r.Context(), billing.TariffChangeID(page.Param(r, "no")))
	if err != nil {
		return err
	}
	return sendFile(w, string(c.Tariff)+"-"+string(c.ID), c.File())
}

// sendFile gives a tariff as the file that can be imported.
func sendFile(w http.ResponseWriter, name string, t billing.Tariff) error {
	data, err := billing.WriteTariff(t)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`.json"`)
	_, _ = w.Write(data) // the reader went away: nothing to repair
	return nil
}
