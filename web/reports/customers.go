package reports

import (
	"context"
	"net/http"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

type listView struct {
	tabs       []components.Tab
	title      string
	note       string
	kinds      []components.Tab
	filter     components.Filter
	csv, excel string
	table      components.Table
	onward     components.OnwardView
}

func customerFilter(ctx context.Context, l page.List) (store.UseFilter, error) {
	month, err := monthOf(l, "month", today(ctx))
	f := store.UseFilter{Sites: page.Sites(ctx), Service: l.One("service", locale.Words(locale.Service)...), Text: l.Get("q"), From: month.From, To: month.To, ByMonth: true}
	return f, err
}

func (h handler) customers(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	f, err := customerFilter(ctx, l)
	if err != nil {
		return err
	}
	after := l.Get("after")
	rows, next, err := h.Store.CustomerPage(ctx, f, billing.AccountID(after), page.PerPage)
	if err != nil {
		return err
	}
	month := billing.Period{From: f.From, To: f.To}
	v := listView{
		tabs: tabs(ctx, customersPath), title: locale.T(ctx, "reports.customers_of", month.String()), note: locale.T(ctx, "reports.customers_note"), csv: fileHref(l, ".csv"), excel: fileHref(l, ".xlsx"),
		filter: components.Filter{URL: customersPath, Total: len(rows), ClearHref: l.ClearHref("q", "service"), Fields: []components.Field{
			months(ctx, month), searchField(ctx, f.Text), serviceField(ctx, f.Service)}},
		table: customerTable(ctx, f, rows), onward: onward(l, len(rows), after, string(next)),
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "reports.customers"), Nav: base, Body: listReport(v)})
}

func customerTable(ctx context.Context, f store.UseFilter, rows []store.CustomerRow) components.Table {
	t := components.Table{ID: "customers", Caption: locale.T(ctx, "reports.customers"), Cols: []components.Col{
		{Label: locale.T(ctx, "reports.account")}, {Label: locale.T(ctx, "reports.service"), WideOnly: true}, {Label: locale.T(ctx, "reports.used"), Align: components.Number},
		yuan(ctx, locale.T(ctx, "reports.billed")), {Label: locale.T(ctx, "reports.average_use"), Align: components.Number, WideOnly: true},
		{Label: locale.T(ctx, "reports.average"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, WideOnly: true}, yuan(ctx, locale.T(ctx, "reports.recharged")),
		yuan(ctx, locale.T(ctx, "reports.charged")), {Label: locale.T(ctx, "reports.prepaid"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, Lead: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "reports.nobody"), Body: locale.T(ctx, "reports.nobody_body")}}
	var billed, recharged, charged, prepaid billing.Money
	for _, r := range rows {
		average, averageFen, bill := components.Muted("–"), components.Muted("–"), components.Muted("–")
		if r.Bills > 0 {
			average, averageFen = components.Quantity(r.AverageUse(), r.Service.Scale(), r.Service.Unit()), components.Money(r.AverageFen())
		}
		if r.Bill != "" {
			bill = components.Money(r.BilledFen)
		}
		billed, recharged, charged, prepaid = billed+r.BilledFen, recharged+r.RechargedFen, charged+r.ChargedFen, prepaid+r.ClosingFen
		t.Rows = append(t.Rows, components.Row{ID: string(r.Account), Href: usePath + "?by=day&q=" + string(r.Account) + "&from=" + f.From.String() + "&to=" + f.To.AddDays(-1).String(), Cells: []templ.Component{
			components.Lines(components.Text(string(r.Account)), r.Customer), components.Text(locale.State(ctx, locale.Service, r.Service)), registerCell(r.Used(), r.Service, r.Service.Unit()),
			bill, average, averageFen, rechargedCell(ctx, r), components.Money(r.ChargedFen), components.Money(r.ClosingFen),
		}})
	}
	t.Foot = []templ.Component{components.Text(locale.T(ctx, "reports.page_sum")), nil, nil, components.Money(billed), nil, nil, components.Money(recharged), components.Money(charged), components.Money(prepaid)}
	return t
}

// rechargedCell is what was recharged, and in how many times.
func rechargedCell(ctx context.Context, r store.CustomerRow) templ.Component {
	if r.Recharges == 0 {
		return components.Muted("–")
	}
	return components.Lines(components.Money(r.RechargedFen), locale.T(ctx, "reports.n_recharges", r.Recharges))
}
