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
	tabs   []components.Tab
	filter components.Filter
	table  components.Table
	onward components.OnwardView
	bulk   *components.BulkView
}

// billsRead is a page of a run's bills with why limits stopped some.
type billsRead struct {
	rows  []store.BillRow
	stops map[billing.BillID][]store.BillStop
	more  bool
	total int
}

func (h handler) readBills(r *http.Request, run store.RunRow, l page.List, f store.BillFilter) (billsRead, error) {
	ctx := r.Context()
	var b billsRead
	var err error
	if b.rows, b.more, err = h.Store.BillPage(ctx, f, billing.AccountID(l.Get("after")), billRows); err != nil {
		return b, err
	}
	var held []billing.BillID
	for _, row := range b.rows {
		if row.State == billing.BillHeld {
			held = append(held, row.ID)
		}
	}
	if b.stops, err = h.Store.BillStops(ctx, held); err != nil {
		return b, err
	}
	if f.Text == "" && f.State == "" {
		b.total = run.Bills + run.Held
		return b, nil
	}
	b.total, err = h.Store.CountBills(ctx, f)
	return b, err
}

func billsOf(r *http.Request, run store.RunRow, l page.List, f store.BillFilter, b billsRead) billsView {
	ctx := r.Context()
	href := page.Home("run", string(run.ID))
	v := billsView{
		tabs: []components.Tab{
			{Label: locale.T(ctx, "runs.all_bills"), Href: l.Href("state", "", "after", "") + "#bills", Count: run.Bills + run.Held, Active: f.State == ""},
			{Label: locale.T(ctx, "runs.held"), Href: l.Href("state", "held", "after", "") + "#bills", Count: run.Held, Active: f.State == string(billing.BillHeld)},
		},
		filter: components.Filter{URL: href, Total: b.total, ClearHref: l.ClearHref("q", "state"), Fields: []components.Field{
			{Kind: components.SearchField, Name: "q", Label: locale.T(ctx, "runs.search"), Value: f.Text, Placeholder: locale.T(ctx, "runs.search_hint"), MaxLength: 64},
			stateField(ctx, locale.Bill, f.State),
		}},
		table: billTable(ctx, b.rows, b.stops), onward: components.OnwardView{Shown: len(b.rows)},
	}
	if l.Get("after") != "" {
		v.onward.FirstHref = l.Href("after", "")
	}
	if b.more {
		v.onward.NextHref = l.Href("after", string(b.rows[len(b.rows)-1].Account))
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

func billTable(ctx context.Context, rows []store.BillRow, stops map[billing.BillID][]store.BillStop) components.Table {
	t := components.Table{ID: "bills", Caption: locale.T(ctx, "runs.bill_list"), Cols: []components.Col{
		{Label: locale.T(ctx, "runs.account")}, {Label: locale.T(ctx, "runs.state")}, {Label: locale.T(ctx, "runs.use"), Align: components.Number},
		{Label: locale.T(ctx, "runs.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, Lead: true},
		{Label: locale.T(ctx, "runs.change"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, WideOnly: true}, {Label: locale.T(ctx, "runs.hold_reason"), Whole: true},
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
			components.Lines(components.Text(string(b.Account)), b.Customer), components.StateBadge(locale.Bill, b.State), use, amount, change,
			components.Muted(reasonText(ctx, b.HoldReason, stops[b.ID])),
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
