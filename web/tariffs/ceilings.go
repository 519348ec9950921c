package tariffs

import (
	"context"
	"net/http"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// ceilingsView is the ceilings of the person's sites, and the published prices that are above one.
type ceilingsView struct {
	tabs    []components.Tab
	table   components.Table
	notices []components.NoticeView
	action  components.Action
}

func (h handler) ceilings(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rows, err := h.Store.PriceCeilings(ctx, page.Sites(ctx))
	if err != nil {
		return err
	}
	_, open, err := h.Store.TariffChangeRows(ctx, store.TariffChangeFilter{Open: true}, 1, 0)
	if err != nil {
		return err
	}
	v := ceilingsView{tabs: tabs(ctx, path+"/ceilings", open), table: ceilingTable(ctx, rows), action: ceilingAction(r)}
	if v.notices, err = h.aboveNow(ctx); err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "tariffs.ceilings"), Nav: path, Body: ceilings(v)})
}

// aboveNow finds published prices, in force now or later, that are above a ceiling: one was lowered, or set, after they were published.
func (h handler) aboveNow(ctx context.Context) ([]components.NoticeView, error) {
	above, err := h.Store.PricesAbove(ctx, page.Sites(ctx), today(ctx))
	var notices []components.NoticeView
	for _, p := range above {
		notices = append(notices, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "tariffs.in_force_above", string(p.Tariff.ID)), Body: page.Sentence(ctx, p.Refusal()),
			LinkHref: tariffHref(p.Tariff.ID), LinkLabel: nameOf(ctx, p.Tariff.Name)})
	}
	return notices, err
}

func ceilingTable(ctx context.Context, rows []store.PriceCeiling) components.Table {
	t := components.Table{ID: "ceilings", Caption: locale.T(ctx, "tariffs.ceilings"), Cols: []components.Col{
		{Label: locale.T(ctx, "tariffs.site")}, {Label: locale.T(ctx, "tariffs.service")}, {Label: locale.T(ctx, "tariffs.from")},
		{Label: locale.T(ctx, "tariffs.ceiling"), Align: components.Number}, {Label: locale.T(ctx, "tariffs.set_by")}, {Label: locale.T(ctx, "tariffs.reason")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "tariffs.no_ceilings"), Body: locale.T(ctx, "tariffs.no_ceilings_body")}}
	for _, c := range rows {
		price := components.Muted(locale.T(ctx, "tariffs.no_ceiling"))
		if c.Price != nil {
			price = number(c.Price.String() + " " + locale.T(ctx, "tariffs.per", c.Service.Unit()))
		}
		t.Rows = append(t.Rows, components.Row{Cells: []templ.Component{
			components.Text(page.SiteName(ctx, c.Site)), components.Text(locale.State(ctx, locale.Service, c.Service)), oneLine(c.From.String()), price,
			components.Lines(components.Text(c.SetName), locale.DateTime(ctx, c.SetAt)), components.Text(c.Reason),
		}})
	}
	return t
}

func ceilingAction(r *http.Request) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "ceiling")
	sites := make([]components.Option, 0, 2)
	for _, s := range page.OwnSites(ctx) {
		sites = append(sites, components.Option{Value: string(s.ID), Label: page.SiteName(ctx, s.ID)})
	}
	services := []components.Option{}
	for _, s := range locale.Words(locale.Service) {
		services = append(services, components.Option{Value: s, Label: locale.State(ctx, locale.Service, s)})
	}
	a := components.Action{ID: "ceiling", Title: locale.T(ctx, "tariffs.set_ceiling"), URL: path + "/ceilings", Submit: locale.T(ctx, "tariffs.set_ceiling"), Error: f.Error(),
		Consequence: components.Text(locale.T(ctx, "tariffs.ceiling_effect")), Fields: []components.Field{
			{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "tariffs.site"), Value: f.Value("site", ""), Error: f.Problem("site"), Options: sites, Required: true},
			{Kind: components.SelectField, Name: "service", Label: locale.T(ctx, "tariffs.service"), Value: f.Value("service", ""), Error: f.Problem("service"), Options: services, Required: true},
			{Kind: components.DateField, Name: "from", Label: locale.T(ctx, "tariffs.from"), Value: f.Value("from", today(ctx).String()), Error: f.Problem("from"), Required: true},
			{Kind: components.QuantityField, Name: "price", Label: locale.T(ctx, "tariffs.ceiling"), Value: f.Value("price", ""), Error: f.Problem("price"), Hint: locale.T(ctx, "tariffs.ceiling_hint"), MaxLength: 20},
			components.ReasonField(locale.T(ctx, "tariffs.reason"), f.Value("reason", ""), f.Problem("reason")),
		}}
	if err := auth.Can(page.Actor(ctx), auth.SetCeiling, ""); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func (h handler) setCeiling(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	c := store.PriceCeiling{Site: billing.SiteID(in.Required("site")), Service: billing.Service(in.OneOf("service", locale.Words(locale.Service)...)), From: in.Day("from"),
		Reason: in.Reason(), SetBy: page.Actor(ctx).UserID}
	if text := in.Text("price"); text != "" {
		p, err := billing.ParsePrice(text)
		if err != nil {
			in.Refuse("price", err)
		}
		c.Price = &p
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.SetCeiling, c.Site); err != nil {
		return page.Done{}, err
	}
	if err := h.Store.SetPriceCeiling(ctx, store.By{Actor: string(c.SetBy), Reason: c.Reason}, c); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: path + "/ceilings", Said: locale.T(ctx, "tariffs.ceiling_set")}, nil
}
