package reports

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

var owedKinds = []string{string(store.OwedShort), string(store.OwedArrears), string(store.OwedUnpaid)}

func owedFilter(ctx context.Context, l page.List) store.OwedFilter {
	f := store.OwedFilter{Kind: store.OwedKind(l.One("kind", owedKinds...)), Sites: page.Sites(ctx), Service: l.One("service", locale.Words(locale.Service)...)}
	if f.Kind == "" {
		f.Kind = store.OwedShort
	}
	return f
}

// cursorText writes a place in the list for the address, and cursorOf reads it; a text that is none is the beginning.
func cursorText(c store.OwedCursor) string {
	return strconv.FormatInt(int64(c.BalanceFen), 10) + "~" + string(c.Account)
}

func cursorOf(text string) *store.OwedCursor {
	fen, account, ok := strings.Cut(text, "~")
	n, err := strconv.ParseInt(fen, 10, 64)
	if !ok || err != nil {
		return nil
	}
	return &store.OwedCursor{BalanceFen: billing.Money(n), Account: billing.AccountID(account)}
}

func (h handler) owed(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	f := owedFilter(ctx, l)
	rows, last, more, err := h.Store.OwedPage(ctx, f, cursorOf(l.Get("after")), page.PerPage)
	if err != nil {
		return err
	}
	short, arrears, err := h.Store.OwedTallies(ctx, f)
	if err != nil {
		return err
	}
	next := ""
	if more {
		next = cursorText(last)
	}
	words := map[store.OwedKind]string{
		store.OwedShort: locale.T(ctx, "reports.short"), store.OwedArrears: locale.T(ctx, "reports.arrears"), store.OwedUnpaid: locale.T(ctx, "reports.unpaid"),
	}
	notes := map[store.OwedKind]string{
		store.OwedShort: locale.T(ctx, "reports.short_about"), store.OwedArrears: locale.T(ctx, "reports.arrears_about"), store.OwedUnpaid: locale.T(ctx, "reports.unpaid_about"),
	}
	v := listView{
		tabs: tabs(ctx, owedPath), title: words[f.Kind], note: notes[f.Kind], csv: fileHref(l, ".csv"), excel: fileHref(l, ".xlsx"),
		kinds: []components.Tab{
			{Label: words[store.OwedShort], Href: l.Href("kind", "short", "after", ""), Count: short.N, Active: f.Kind == store.OwedShort},
			{Label: words[store.OwedArrears], Href: l.Href("kind", "arrears", "after", ""), Count: arrears.N, Active: f.Kind == store.OwedArrears},
			{Label: words[store.OwedUnpaid], Href: l.Href("kind", "unpaid", "after", ""), Active: f.Kind == store.OwedUnpaid},
		},
		filter: components.Filter{URL: owedPath, Total: len(rows), ClearHref: l.ClearHref("service"), Fields: []components.Field{
			{Kind: components.SelectField, Name: "kind", Label: locale.T(ctx, "reports.list"), Value: string(f.Kind), Options: []components.Option{
				{Value: "short", Label: words[store.OwedShort]}, {Value: "arrears", Label: words[store.OwedArrears]}, {Value: "unpaid", Label: words[store.OwedUnpaid]}}},
			serviceField(ctx, f.Service)}},
		table: owedTable(ctx, rows), onward: onward(l, len(rows), l.Get("after"), next),
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "reports.owed"), Nav: base, Body: listReport(v)})
}

func owedTable(ctx context.Context, rows []store.OwedRow) components.Table {
	t := components.Table{ID: "owed", Caption: locale.T(ctx, "reports.owed"), Cols: []components.Col{
		{Label: locale.T(ctx, "reports.account")}, {Label: locale.T(ctx, "reports.phone")}, {Label: locale.T(ctx, "reports.address"), WideOnly: true},
		{Label: locale.T(ctx, "reports.service"), WideOnly: true}, {Label: locale.T(ctx, "reports.balance"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, Lead: true},
		{Label: locale.T(ctx, "reports.reminder")}, {Label: locale.T(ctx, "reports.supply")}, {Label: locale.T(ctx, "reports.bill"), WideOnly: true}, yuan(ctx, locale.T(ctx, "reports.unpaid_amount")),
	}, Empty: components.EmptyView{Title: locale.T(ctx, "reports.nobody_owes"), Body: locale.T(ctx, "reports.nobody_owes_body")}}
	now := page.Now(ctx)
	var balance, unpaid billing.Money
	for _, r := range rows {
		balance, unpaid = balance+min(r.BalanceFen, 0), unpaid+r.UnpaidFen
		reminder, bill, open := components.Muted("–"), components.Muted("–"), components.Muted("–")
		if r.Since != nil {
			reminder = components.Lines(components.StateBadge(locale.Reminder, r.Reminder), locale.Waiting(ctx, *r.Since, now))
		}
		if r.UnpaidFen > 0 {
			bill, open = components.Link(page.Home("bill", string(r.Bill)), string(r.Bill)), components.Money(r.UnpaidFen)
		}
		t.Rows = append(t.Rows, components.Row{ID: string(r.Account), Href: page.Home("account", string(r.Account)), Cells: []templ.Component{
			components.Lines(components.Text(string(r.Account)), r.Customer), components.Text(r.Phone), components.Text(r.Address), components.Text(locale.State(ctx, locale.Service, r.Service)),
			components.Money(r.BalanceFen), reminder, components.StateBadge(locale.Supply, r.Supply), bill, open,
		}})
	}
	t.Foot = []templ.Component{components.Text(locale.T(ctx, "reports.page_debt")), nil, nil, nil, components.Money(balance), nil, nil, nil, components.Money(unpaid)}
	return t
}
