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

type useView struct {
	tabs       []components.Tab
	filter     components.Filter
	csv, excel string
	papers     []paper
	chart      *components.Amounts
	table      components.Table
	onward     components.OnwardView
	period     string
}

// paper is a document that the list leads to.
type paper struct{ href, label string }

// useFilter reads the report out of the address: by day the present month up to today, by month the last six, unless it says otherwise.
// "to" is the last day that is in, as people say it; by month both ends are widened to whole months.
func useFilter(ctx context.Context, l page.List) (store.UseFilter, error) {
	f := store.UseFilter{Sites: page.Sites(ctx), Service: l.One("service", locale.Words(locale.Service)...), Text: l.Get("q"), ByMonth: l.One("by", "day", "month") != "day"}
	now := today(ctx)
	first := billing.MonthPeriod(now).From
	if f.ByMonth {
		first = billing.NewDate(now.Year(), now.Month()-5, 1)
	}
	var err error
	if f.From, err = dayOf(l, "from", first); err != nil {
		return f, err
	}
	last, err := dayOf(l, "to", now)
	if err != nil {
		return f, err
	}
	f.To = last.AddDays(1)
	if f.ByMonth {
		f.From, f.To = billing.MonthPeriod(f.From).From, billing.MonthPeriod(last).To
	}
	return f, f.Validate()
}

// rowsPerPage is about how many lines a page of this report has: an account's lines stay together.
const rowsPerPage = 60

func (h handler) use(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	f, err := useFilter(ctx, l)
	if err != nil {
		return err
	}
	after := l.Get("after")
	rows, next, err := h.Store.UsePage(ctx, f, billing.AccountID(after), min(max(rowsPerPage/len(f.Spans()), 1), page.PerPage))
	if err != nil {
		return err
	}
	v := useView{
		tabs: tabs(ctx, usePath), filter: useBar(ctx, l, f, len(rows)), csv: fileHref(l, ".csv"), excel: fileHref(l, ".xlsx"),
		table: useTable(ctx, f, rows), onward: onward(l, len(rows), after, string(next)), period: f.From.String() + " – " + f.To.AddDays(-1).String(),
	}
	if after == "" && next == "" && one(rows) {
		v.chart = useChart(ctx, f, rows)
		v.papers = papers(ctx, rows[0].Account, f)
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "reports.use"), Nav: base, Body: useReport(v)})
}

// fileHref is the list of the address as a file, from its first row.
func fileHref(l page.List, ending string) string { return l.As(ending, "after") }

func onward(l page.List, shown int, after, next string) components.OnwardView {
	v := components.OnwardView{Shown: shown}
	if after != "" {
		v.FirstHref = l.Href("after", "")
	}
	if next != "" {
		v.NextHref = l.Href("after", next)
	}
	return v
}

// one says that all rows are of one account.
func one(rows []store.UseRow) bool {
	return len(rows) > 0 && rows[0].Account == rows[len(rows)-1].Account
}

func useBar(ctx context.Context, l page.List, f store.UseFilter, shown int) components.Filter {
	by := "day"
	if f.ByMonth {
		by = "month"
	}
	return components.Filter{URL: usePath, Total: shown, ClearHref: l.ClearHref("q", "service", "from", "to", "by"), Fields: []components.Field{
		searchField(ctx, f.Text), serviceField(ctx, f.Service),
		{Kind: components.SelectField, Name: "by", Label: locale.T(ctx, "reports.by"), Value: by, Options: []components.Option{
			{Value: "month", Label: locale.T(ctx, "reports.by_month")}, {Value: "day", Label: locale.T(ctx, "reports.by_day")}}},
		{Kind: components.DateField, Name: "from", Label: locale.T(ctx, "reports.from"), Value: f.From.String()},
		{Kind: components.DateField, Name: "to", Label: locale.T(ctx, "reports.to"), Value: f.To.AddDays(-1).String()},
	}}
}

func papers(ctx context.Context, account billing.AccountID, f store.UseFilter) []paper {
	months := "?from=" + f.From.String()[:7] + "&to=" + f.To.AddDays(-1).String()[:7]
	return []paper{
		{"/accounts/" + string(account) + "/statement.pdf" + months, locale.T(ctx, "reports.statement_pdf")},
		{"/accounts/" + string(account) + "/payment-list.pdf?month=" + f.To.AddDays(-1).String()[:7], locale.T(ctx, "reports.counter_pdf")},
	}
}

func useChart(ctx context.Context, f store.UseFilter, rows []store.UseRow) *components.Amounts {
	a := &components.Amounts{ID: "used", Title: locale.T(ctx, "reports.use_of", string(rows[0].Account)), Span: locale.T(ctx, "reports.day"), What: locale.T(ctx, "reports.used"),
		Unit: rows[0].Service.Unit(), Scale: rows[0].Service.Scale()}
	if f.ByMonth {
		a.Span = locale.T(ctx, "reports.month")
	}
	for _, r := range rows {
		label := spanText(f, r)
		if n := len(a.Bars); n == 0 || a.Bars[n-1].Label != label {
			a.Bars = append(a.Bars, components.AmountBar{Label: label})
		}
		if r.Use != nil {
			a.Bars[len(a.Bars)-1].Raw += *r.Use
		}
	}
	return a
}

func spanText(f store.UseFilter, r store.UseRow) string {
	if f.ByMonth {
		return r.From.String()[:7]
	}
	return r.From.String()
}

func useTable(ctx context.Context, f store.UseFilter, rows []store.UseRow) components.Table {
	num := func(label string, wide bool) components.Col {
		return components.Col{Label: label, Align: components.Number, WideOnly: wide}
	}
	t := components.Table{ID: "use", Caption: locale.T(ctx, "reports.use"), Cols: []components.Col{
		{Label: locale.T(ctx, "reports.account")}, {Label: locale.T(ctx, "reports.span")}, {Label: locale.T(ctx, "reports.meter"), WideOnly: true},
		num(locale.T(ctx, "reports.opening"), true), num(locale.T(ctx, "reports.closing"), true), num(locale.T(ctx, "reports.used"), false),
		num(locale.T(ctx, "reports.opening_balance"), true), num(locale.T(ctx, "reports.recharged"), false), num(locale.T(ctx, "reports.charged"), false),
		num(locale.T(ctx, "reports.other"), true), {Label: locale.T(ctx, "reports.closing_balance"), Align: components.Number, Lead: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "reports.nobody"), Body: locale.T(ctx, "reports.nobody_body")}}
	sum := store.UseRow{}
	for i, r := range rows {
		account := components.Text("")
		if i == 0 || rows[i-1].Account != r.Account {
			account = components.Lines(components.Link(page.Home("account", string(r.Account)), string(r.Account)), r.Customer)
		}
		cells := []templ.Component{account, components.Text(spanText(f, r)), meterCell(ctx, r),
			registerCell(r.Opening, r.Service, ""), registerCell(r.Closing, r.Service, ""), registerCell(r.Use, r.Service, r.Service.Unit())}
		if r.Money {
			sum.RechargedFen, sum.ChargedFen, sum.OtherFen = sum.RechargedFen+r.RechargedFen, sum.ChargedFen+r.ChargedFen, sum.OtherFen+r.OtherFen
			cells = append(cells, components.Money(r.OpeningFen), components.Money(r.RechargedFen), components.Money(r.ChargedFen), components.Money(r.OtherFen), components.Money(r.ClosingFen))
		} else {
			cells = append(cells, components.Muted("–"), components.Muted("–"), components.Muted("–"), components.Muted("–"), components.Muted("–"))
		}
		t.Rows = append(t.Rows, components.Row{ID: string(r.Account) + "-" + r.From.String() + "-" + string(r.Meter), Cells: cells})
	}
	t.Foot = []templ.Component{components.Text(locale.T(ctx, "reports.page_sum")), nil, nil, nil, nil, nil, nil, components.Money(sum.RechargedFen), components.Money(sum.ChargedFen), components.Money(sum.OtherFen), nil}
	return t
}

// meterCell names the meter, and how its closing reading came about when nobody measured it.
func meterCell(ctx context.Context, r store.UseRow) templ.Component {
	if r.Meter == "" {
		return components.Muted("–")
	}
	link := components.Link(page.Home("meter", string(r.Meter)), string(r.Meter))
	if r.Quality == "" || r.Quality == billing.QualityActual {
		return link
	}
	return components.Lines(link, locale.State(ctx, locale.Quality, r.Quality))
}

func registerCell(raw *int64, s billing.Service, unit string) templ.Component {
	if raw == nil {
		return components.Muted("–")
	}
	return components.Quantity(*raw, s.Scale(), unit)
}
