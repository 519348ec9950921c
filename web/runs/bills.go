package runs

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

// billsView is the list of a run's bills. bulk is nil when nobody may hold or release any more.
type billsView struct {
	filter components.Filter
	table  components.Table
	pager  components.PagerView
	bulk   *components.BulkView
}

func billsOf(r *http.Request, run store.RunRow, l page.List, f store.BillFilter, rows []store.BillRow, total int) billsView {
	ctx := r.Context()
	href := page.Home("run", string(run.ID))
	v := billsView{
		filter: components.Filter{URL: href, Total: total, ClearHref: l.ClearHref("q", "state"), Fields: []components.Field{
			{Kind: components.SearchField, Name: "q", Label: locale.T(ctx, "runs.search"), Value: f.Text, Placeholder: locale.T(ctx, "runs.search_hint"), MaxLength: 64},
			stateField(ctx, locale.Bill, f.State),
		}},
		table: billTable(ctx, rows), pager: l.Pager(len(rows), total),
	}
	if open(run) && auth.Can(page.Actor(ctx), auth.VerifyRun, run.Site) == nil {
		form := page.FormOf(r, "bills")
		v.table.Select = true
		v.bulk = &components.BulkView{
			URL: href + "/bills", Error: form.Error(),
			Fields: []components.Field{components.ReasonField(locale.T(ctx, "runs.reason"), form.Value("reason", ""), form.Problem("reason"))},
			Actions: []components.BulkAction{
				{Value: "hold", Label: locale.T(ctx, "runs.hold"), Key: "h", Tone: components.Watch},
				{Value: "release", Label: locale.T(ctx, "runs.release"), Key: "l", Tone: components.Watch},
			},
		}
		if v.bulk.Error == "" && form.Tried() {
			v.bulk.Error = locale.T(ctx, "runs.see_fields")
		}
	}
	return v
}

func billTable(ctx context.Context, rows []store.BillRow) components.Table {
	t := components.Table{ID: "bills", Caption: locale.T(ctx, "runs.bill_list"), Cols: []components.Col{
		{Label: locale.T(ctx, "runs.account")}, {Label: locale.T(ctx, "runs.customer")}, {Label: locale.T(ctx, "runs.service"), WideOnly: true}, {Label: locale.T(ctx, "runs.state")},
		{Label: locale.T(ctx, "runs.use"), Align: components.Number}, {Label: locale.T(ctx, "runs.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "runs.change"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number}, {Label: locale.T(ctx, "runs.hold_reason"), WideOnly: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "runs.no_bills"), Body: locale.T(ctx, "runs.no_bills_body")}}
	for _, b := range rows {
		change, use, amount := components.Muted("–"), components.Quantity(b.Quantity, b.Service.Scale(), b.Service.Unit()), components.Money(b.TotalFen)
		if b.LastFen != nil {
			change = components.MoneySigned(b.TotalFen - *b.LastFen)
		}
		row := components.Row{ID: string(b.ID), Href: page.Home("bill", string(b.ID))}
		if b.State == billing.BillHeld {
			row.Tone = components.Watch
			if b.Quantity == 0 && b.TotalFen == 0 {
				use, amount, change = components.Muted("–"), components.Muted("–"), components.Muted("–") // held before it was priced
			}
		}
		row.Cells = []templ.Component{
			components.Text(string(b.Account)), components.Text(b.Customer), components.Text(locale.State(ctx, locale.Service, b.Service)),
			components.StateBadge(locale.Bill, b.State), use, amount, change, components.Muted(b.HoldReason),
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// paymentsView is the printed list of a run, in two copies.
type paymentsView struct {
	head   components.Head
	sheets []components.SheetView
	table  components.Table
	signed []components.Fact
}

func paymentsOf(ctx context.Context, run store.RunRow, rows []store.PaymentRow) paymentsView {
	v := paymentsView{head: components.Head{
		Title: locale.T(ctx, "runs.payment_list"), Subtitle: page.SiteName(ctx, run.Site) + " · " + periodText(ctx, run.Run),
		BackHref: page.Home("run", string(run.ID)), BackLabel: string(run.ID), Actions: components.PrintLink(),
	}, signed: signatures(ctx, run)}
	for _, copyOf := range []string{locale.T(ctx, "runs.copy_office"), locale.T(ctx, "runs.copy_property")} {
		v.sheets = append(v.sheets, components.SheetView{
			Title: locale.T(ctx, "runs.payment_list_of", run.Period().String()), Issuer: page.SiteName(ctx, run.Site), Number: string(run.ID), Copy: copyOf,
		})
	}
	v.table = components.Table{ID: "payments", Caption: locale.T(ctx, "runs.payment_list"), Cols: []components.Col{
		{Label: locale.T(ctx, "runs.address")}, {Label: locale.T(ctx, "runs.account")}, {Label: locale.T(ctx, "runs.customer")},
		{Label: locale.T(ctx, "runs.use"), Align: components.Number}, {Label: locale.T(ctx, "runs.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "runs.balance"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "runs.no_bills"), Body: locale.T(ctx, "runs.no_bills_body")}}
	var sum billing.Money
	for _, p := range rows {
		sum += p.TotalFen
		v.table.Rows = append(v.table.Rows, components.Row{ID: string(p.Account), Cells: []templ.Component{
			components.Text(p.Address), components.Text(string(p.Account)), components.Text(p.Customer), components.Quantity(p.Quantity, p.Service.Scale(), p.Service.Unit()),
			components.Money(p.TotalFen), components.Money(p.BalanceFen),
		}})
	}
	v.table.Foot = []templ.Component{components.Text(locale.T(ctx, "runs.sum", len(rows))), nil, nil, nil, components.Money(sum), nil}
	return v
}
