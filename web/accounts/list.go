package accounts

import (
	"context"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

type listView struct {
	tabs   []components.Tab
	filter components.Filter
	table  components.Table
	pager  components.PagerView
}

// views are the values of the filter "is".
const (
	viewLow       = "low"
	viewOff       = "off"
	viewProtected = "protected"
	viewUncharged = "uncharged"
)

// viewOfList is the chosen view. Today's page asks for open arrears, which is the low one.
func viewOfList(l page.List) string {
	if l.Get("arrears") != "" {
		return viewLow
	}
	return l.One("is", viewLow, viewOff, viewProtected, viewUncharged)
}

func filterOf(ctx context.Context, l page.List) store.AccountFilter {
	is := viewOfList(l)
	f := store.AccountFilter{
		Sites: page.Sites(ctx), Text: l.Get("q"), Service: l.One("service", locale.Words(locale.Service)...), CreditMode: l.One("credit", locale.Words(locale.CreditMode)...),
		Low: is == viewLow, Off: is == viewOff, Protected: is == viewProtected, Uncharged: is == viewUncharged, ByBalance: l.One("sort", "balance") != "" || is == viewLow,
	}
	if site := billing.SiteID(l.Get("site")); page.Actor(ctx).HasSite(site) {
		f.Sites = []billing.SiteID{site}
	}
	return f
}

func tabs(ctx context.Context, l page.List) []components.Tab {
	is := viewOfList(l)
	return []components.Tab{
		{Label: locale.T(ctx, "accounts.all"), Href: path, Active: is == ""},
		{Label: locale.T(ctx, "accounts.low"), Href: path + "?is=" + viewLow, Active: is == viewLow},
		{Label: locale.T(ctx, "accounts.off"), Href: path + "?is=" + viewOff, Active: is == viewOff},
		{Label: locale.T(ctx, "accounts.shielded"), Href: path + "?is=" + viewProtected, Active: is == viewProtected},
		{Label: locale.T(ctx, "accounts.uncharged"), Href: path + "?is=" + viewUncharged, Active: is == viewUncharged},
	}
}

func options(ctx context.Context, kind locale.Kind) []components.Option {
	list := []components.Option{{Label: locale.T(ctx, "accounts.any")}}
	for _, w := range locale.Words(kind) {
		list = append(list, components.Option{Value: w, Label: locale.State(ctx, kind, w)})
	}
	return list
}

func filterBar(ctx context.Context, l page.List, total int) components.Filter {
	fields := []components.Field{
		{Kind: components.SearchField, Name: "q", Label: locale.T(ctx, "accounts.find"), Value: l.Get("q"), MaxLength: 64},
		{Kind: components.SelectField, Name: "is", Label: locale.T(ctx, "accounts.view"), Value: viewOfList(l), Options: []components.Option{
			{Label: locale.T(ctx, "accounts.all")}, {Value: viewLow, Label: locale.T(ctx, "accounts.low")},
			{Value: viewOff, Label: locale.T(ctx, "accounts.off")}, {Value: viewProtected, Label: locale.T(ctx, "accounts.shielded")},
			{Value: viewUncharged, Label: locale.T(ctx, "accounts.uncharged")},
		}},
		{Kind: components.SelectField, Name: "credit", Label: locale.T(ctx, "accounts.credit"), Value: l.Get("credit"), Options: options(ctx, locale.CreditMode)},
		{Kind: components.SelectField, Name: "service", Label: locale.T(ctx, "accounts.service"), Value: l.Get("service"), Options: options(ctx, locale.Service)},
	}
	if own := page.Sites(ctx); len(own) > 1 {
		sites := []components.Option{{Label: locale.T(ctx, "accounts.any")}}
		for _, id := range own {
			sites = append(sites, components.Option{Value: string(id), Label: page.SiteName(ctx, id)})
		}
		fields = append(fields, components.Field{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "accounts.site"), Value: l.Get("site"), Options: sites})
	}
	return components.Filter{URL: path, Fields: fields, Total: total, ClearHref: l.ClearHref("q", "is", "arrears", "credit", "service", "site", "sort")}
}

func accountTable(ctx context.Context, l page.List, rows []store.AccountRow) components.Table {
	balance := components.Col{Label: locale.T(ctx, "accounts.balance"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, SortHref: l.Href("sort", "balance")}
	if filterOf(ctx, l).ByBalance {
		balance.Sorted, balance.SortHref = "ascending", l.Href("sort", "")
	}
	t := components.Table{ID: "accounts", Caption: locale.T(ctx, "accounts.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "accounts.number")}, {Label: locale.T(ctx, "accounts.customer")}, {Label: locale.T(ctx, "accounts.address")}, balance,
		{Label: locale.T(ctx, "accounts.lasts"), Unit: locale.T(ctx, "accounts.days"), Align: components.Number},
		{Label: locale.T(ctx, "accounts.supply")}, {Label: locale.T(ctx, "accounts.open")}, {Label: locale.T(ctx, "accounts.mode"), WideOnly: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "accounts.none"), Body: locale.T(ctx, "accounts.none_body")}}
	for _, a := range rows {
		t.Rows = append(t.Rows, components.Row{ID: string(a.ID), Href: href(a.ID), Tone: tone(a), Cells: []templ.Component{
			components.Text(string(a.ID)), components.Lines(components.Text(a.Name), a.Phone), components.Text(a.Address), components.Money(a.Balance), days(a),
			components.StateBadge(locale.Supply, a.Supply), flags(a, page.Now(ctx)),
			components.Lines(components.Text(locale.State(ctx, locale.Service, a.Service)), locale.State(ctx, locale.CreditMode, a.CreditMode)),
		}})
	}
	return t
}

// tone marks what needs an eye: no supply or no credit, then arrears.
func tone(a store.AccountRow) components.Tone {
	switch {
	case a.Supply != billing.SupplyOn || a.Balance <= a.CutLimit:
		return components.Danger
	case a.Arrears != "":
		return components.Watch
	default:
		return components.Neutral
	}
}

func days(a store.AccountRow) templ.Component {
	n, ok := a.Lasts()
	if !ok {
		return components.Muted("–")
	}
	return components.Count(n)
}
