package runs

import (
	"context"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// paymentRows is how many lines of a payment list stand on a page to be printed; the PDF has all.
const paymentRows = 200

// paymentsView is the printed list of a run, in two copies.
type paymentsView struct {
	head   components.Head
	sheets []components.SheetView
	table  components.Table
	signed []components.Fact
	onward components.OnwardView
}

func paymentsOf(ctx context.Context, run store.RunRow, l page.List, rows []store.PaymentRow) paymentsView {
	href := page.Home("run", string(run.ID))
	v := paymentsView{head: components.Head{
		Title: locale.T(ctx, "runs.payment_list"), Subtitle: page.SiteName(ctx, run.Site) + " · " + periodText(ctx, run.Run),
		BackHref: href, BackLabel: string(run.ID), Actions: paymentPapers(href),
	}, signed: signatures(ctx, run)}
	if len(rows) > paymentRows {
		rows = rows[:paymentRows]
		v.onward.NextHref = l.Href("after", string(rows[paymentRows-1].Account))
	}
	if l.Get("after") != "" {
		v.onward.FirstHref = l.Href("after", "")
	}
	v.onward.Shown = len(rows)
	for _, copyOf := range []string{locale.T(ctx, "runs.copy_one"), locale.T(ctx, "runs.copy_two")} {
		v.sheets = append(v.sheets, components.SheetView{
			Title: locale.T(ctx, "runs.payment_list_of", run.Period().String()), Issuer: page.SiteName(ctx, run.Site), Number: string(run.ID), Copy: copyOf,
		})
	}
	v.table = paymentTable(ctx, rows)
	return v
}

func paymentTable(ctx context.Context, rows []store.PaymentRow) components.Table {
	t := components.Table{ID: "payments", Caption: locale.T(ctx, "runs.payment_list"), Cols: []components.Col{
		{Label: locale.T(ctx, "runs.bill_no"), WideOnly: true}, {Label: locale.T(ctx, "runs.account")}, {Label: locale.T(ctx, "runs.customer")}, {Label: locale.T(ctx, "runs.address"), WideOnly: true},
		{Label: locale.T(ctx, "runs.use"), Align: components.Number}, {Label: locale.T(ctx, "runs.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "runs.paid"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, WideOnly: true},
		{Label: locale.T(ctx, "runs.to_pay"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "runs.no_bills"), Body: locale.T(ctx, "runs.no_bills_body")}}
	var sum, paid, open billing.Money
	for _, p := range rows {
		sum, paid, open = sum+p.TotalFen, paid+p.ChargedFen, open+p.ToPay()
		t.Rows = append(t.Rows, components.Row{ID: string(p.Account), Cells: []templ.Component{
			components.Text(string(p.Bill)), components.Text(string(p.Account)), components.Text(p.Customer), components.Text(p.Address),
			components.Quantity(p.Quantity, p.Service.Scale(), p.Service.Unit()), components.Money(p.TotalFen), components.Money(p.ChargedFen), components.Money(p.ToPay()),
		}})
	}
	t.Foot = []templ.Component{components.Text(locale.T(ctx, "runs.sum", len(rows))), nil, nil, nil, nil, components.Money(sum), components.Money(paid), components.Money(open)}
	return t
}
