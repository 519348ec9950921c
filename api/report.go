package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/document"
	"github.com/meterflow/meterflow/internal/document/sheet"
	"github.com/meterflow/meterflow/internal/download"
	"github.com/meterflow/meterflow/internal/store"
)

// Use is one meter of an account over a day or month: energy and money with what they were at both ends. The span is half-open.
// opening + recharged − charged + other = closing. On a day with two meters only the first row of the account carries the money.
type Use struct {
	Site         billing.SiteID    `json:"site"`
	Account      billing.AccountID `json:"account"`
	Customer     string            `json:"customer"`
	Service      billing.Service   `json:"service"`
	From         string            `json:"from" format:"date"`
	To           string            `json:"to" format:"date"`
	Meter        billing.MeterID   `json:"meter,omitempty"`
	Ratio        int               `json:"ratio,omitempty"`
	Opening      *int64            `json:"opening,omitempty" doc:"Raw total register: 0.01 kWh or litres, before the ratio. Absent without a reading."`
	Closing      *int64            `json:"closing,omitempty"`
	Use          *int64            `json:"use,omitempty" doc:"Raw units after the ratio."`
	Quality      billing.Quality   `json:"quality,omitempty" doc:"Of the closing reading."`
	Money        bool              `json:"money" doc:"Whether this row carries the account's money."`
	OpeningFen   billing.Money     `json:"opening_fen"`
	RechargedFen billing.Money     `json:"recharged_fen"`
	ChargedFen   billing.Money     `json:"charged_fen"`
	OtherFen     billing.Money     `json:"other_fen"`
	ClosingFen   billing.Money     `json:"closing_fen"`
	Bill         billing.BillID    `json:"bill,omitempty" doc:"The issued bill of the month; only by month."`
	BilledFen    billing.Money     `json:"billed_fen,omitempty"`
}

// CustomerMonth is an account in a month's table of customers.
type CustomerMonth struct {
	Use
	Address    string        `json:"address"`
	Recharges  int           `json:"recharges"`
	Bills      int           `json:"bills" doc:"Issued bills of the twelve months up to this one: the base of the averages."`
	AverageUse int64         `json:"average_use" doc:"Raw units after the ratio, of an average month."`
	AverageFen billing.Money `json:"average_fen"`
}

// Owed is an account on a list of whom to call.
type Owed struct {
	Site       billing.SiteID    `json:"site"`
	Account    billing.AccountID `json:"account"`
	Customer   string            `json:"customer"`
	Phone      string            `json:"phone"`
	Address    string            `json:"address"`
	Service    billing.Service   `json:"service"`
	BalanceFen billing.Money     `json:"balance_fen"`
	Reminder   string            `json:"reminder,omitempty" doc:"State of the open arrears case."`
	Since      *time.Time        `json:"since,omitempty"`
	UnpaidFen  billing.Money     `json:"unpaid_fen" doc:"How much of its issued bills no money covers."`
	Bill       billing.BillID    `json:"bill,omitempty" doc:"The oldest bill that is not paid whole."`
}

// ReportScope says which accounts a report is about. It and the queries are exported because fields of an unexported embedded struct aren't read from a request.
type ReportScope struct {
	Site    billing.SiteID    `query:"site" doc:"One of your sites; all of them when left out."`
	Service string            `query:"service" enum:"power,water"`
	Account billing.AccountID `query:"account" maxLength:"64"`
	Text    string            `query:"q" maxLength:"64" doc:"An account's number, or part of its customer's name."`
}

// UseQuery asks for the report of energy and money.
type UseQuery struct {
	ReportScope
	From  string            `query:"from" required:"true" format:"date"`
	To    string            `query:"to" required:"true" format:"date" doc:"The first day after."`
	By    string            `query:"by" enum:"day,month" default:"day"`
	After billing.AccountID `query:"after" maxLength:"64"`
	Limit int               `query:"limit" default:"50" minimum:"1" maximum:"200" doc:"How many accounts."`
}

// CustomersQuery asks for a month's table of customers.
type CustomersQuery struct {
	ReportScope
	Month string            `query:"month" required:"true" pattern:"^[0-9]{4}-[0-9]{2}$"`
	After billing.AccountID `query:"after" maxLength:"64"`
	Limit int               `query:"limit" default:"50" minimum:"1" maximum:"200"`
}

// OwedQuery asks for a list of whom to call.
type OwedQuery struct {
	Site    billing.SiteID `query:"site" doc:"One of your sites; all of them when left out."`
	Kind    string         `query:"kind" enum:"short,arrears,unpaid" default:"short" doc:"Reminded and not paid; below zero; with issued bills that no money covers."`
	Service string         `query:"service" enum:"power,water"`
	After   string         `query:"after" maxLength:"96"`
	Limit   int            `query:"limit" default:"50" minimum:"1" maximum:"200"`
}

// FileLook says in which form a list comes as a file.
type FileLook struct {
	Format string `path:"format" enum:"csv,xlsx"`
	Lang   string `query:"lang" enum:"zh,en" default:"zh" doc:"Of the column heads."`
}

type useFileInput struct {
	UseQuery
	FileLook
}

type customersFileInput struct {
	CustomersQuery
	FileLook
}

type owedFileInput struct {
	OwedQuery
	FileLook
}

func (s *server) reportOperations() {
	report := func(path, id, summary string) operation {
		return operation{method: http.MethodGet, path: path, id: id, tag: "reports", may: auth.View, summary: summary}
	}
	add(s, report("/reports/use", "report-use", "Energy and money per meter and account with opening and closing values, by day or month."), s.reportUse)
	add(s, report("/reports/customers", "report-customers", "A month's table of customers: totals, averages, recharges, what is prepaid."), s.reportCustomers)
	add(s, report("/reports/owed", "report-owed", "Who is short, in arrears, or has unpaid bills; the deepest debt first."), s.reportOwed)
	stream(s, report("/reports/use/{format}", "report-use-file", "The report of energy and money as CSV or Excel, all accounts."), s.useFile)
	stream(s, report("/reports/customers/{format}", "report-customers-file", "The table of customers as CSV or Excel."), s.customersFile)
	stream(s, report("/reports/owed/{format}", "report-owed-file", "A list of whom to call as CSV or Excel."), s.owedFile)
}

func (in UseQuery) filter(ctx context.Context) (store.UseFilter, error) {
	sites, err := Page{Site: in.Site}.sites(ctx)
	f := store.UseFilter{Sites: sites, Service: in.Service, Account: in.Account, Text: in.Text, ByMonth: in.By == "month"}
	if err != nil {
		return f, err
	}
	if f.From, err = billing.ParseDate(in.From); err != nil {
		return f, err
	}
	if f.To, err = billing.ParseDate(in.To); err != nil {
		return f, err
	}
	return f, f.Validate()
}

func (in CustomersQuery) filter(ctx context.Context) (store.UseFilter, error) {
	sites, err := Page{Site: in.Site}.sites(ctx)
	if err != nil {
		return store.UseFilter{}, err
	}
	month, err := billing.ParseMonth(in.Month)
	return store.UseFilter{Sites: sites, Service: in.Service, Account: in.Account, Text: in.Text, From: month.From, To: month.To, ByMonth: true}, err
}

func (in OwedQuery) filter(ctx context.Context) (store.OwedFilter, error) {
	sites, err := Page{Site: in.Site}.sites(ctx)
	return store.OwedFilter{Kind: store.OwedKind(in.Kind), Sites: sites, Service: in.Service}, err
}

func useOf(r store.UseRow) Use {
	return Use{Site: r.Site, Account: r.Account, Customer: r.Customer, Service: r.Service, From: r.From.String(), To: r.To.String(), Meter: r.Meter, Ratio: r.Ratio,
		Opening: r.Opening, Closing: r.Closing, Use: r.Use, Quality: r.Quality, Money: r.Money, OpeningFen: r.OpeningFen, RechargedFen: r.RechargedFen,
		ChargedFen: r.ChargedFen, OtherFen: r.OtherFen, ClosingFen: r.ClosingFen, Bill: r.Bill, BilledFen: r.BilledFen}
}

func (s *server) reportUse(ctx context.Context, in *UseQuery) (*body[Part[Use]], error) {
	f, err := in.filter(ctx)
	if err != nil {
		return nil, err
	}
	rows, next, err := s.Store.UsePage(ctx, f, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return partOf(rows, string(next), useOf), nil
}

func (s *server) reportCustomers(ctx context.Context, in *CustomersQuery) (*body[Part[CustomerMonth]], error) {
	f, err := in.filter(ctx)
	if err != nil {
		return nil, err
	}
	rows, next, err := s.Store.CustomerPage(ctx, f, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return partOf(rows, string(next), func(r store.CustomerRow) CustomerMonth {
		return CustomerMonth{Use: useOf(r.UseRow), Address: r.Address, Recharges: r.Recharges, Bills: r.Bills, AverageUse: r.AverageUse(), AverageFen: r.AverageFen()}
	}), nil
}

// owedCursor writes a place in the list, and owedAfter reads it.
func owedCursor(c store.OwedCursor) string {
	return strconv.FormatInt(int64(c.BalanceFen), 10) + "~" + string(c.Account)
}

func owedAfter(text string) (*store.OwedCursor, error) {
	if text == "" {
		return nil, nil
	}
	fen, account, ok := strings.Cut(text, "~")
	n, err := strconv.ParseInt(fen, 10, 64)
	if !ok || err != nil {
		return nil, billing.Errorf(billing.CodeInvalidInput, "'after' is not what a part of this list gave as 'next'")
	}
	return &store.OwedCursor{BalanceFen: billing.Money(n), Account: billing.AccountID(account)}, nil
}

func (s *server) reportOwed(ctx context.Context, in *OwedQuery) (*body[Part[Owed]], error) {
	f, err := in.filter(ctx)
	if err != nil {
		return nil, err
	}
	after, err := owedAfter(in.After)
	if err != nil {
		return nil, err
	}
	rows, last, more, err := s.Store.OwedPage(ctx, f, after, in.Limit)
	if err != nil {
		return nil, err
	}
	next := ""
	if more {
		next = owedCursor(last)
	}
	return partOf(rows, next, func(r store.OwedRow) Owed {
		return Owed{Site: r.Site, Account: r.Account, Customer: r.Customer, Phone: r.Phone, Address: r.Address, Service: r.Service, BalanceFen: r.BalanceFen,
			Reminder: r.Reminder, Since: utcOrNil(r.Since), UnpaidFen: r.UnpaidFen, Bill: r.Bill}
	}), nil
}

// filePage is how many accounts are read at once for a file.
const filePage = 200

func list(look FileLook, name string, columns []sheet.Column, rows func(sheet.Writer) error) made {
	f := sheet.Format(look.Format)
	return made{download.File{Name: name + "." + look.Format, ContentType: f.ContentType()}, func(out io.Writer) error {
		w, err := sheet.New(f, out, name, columns)
		if err != nil {
			return err
		}
		if err := rows(w); err != nil {
			return err
		}
		return w.Close()
	}}
}

func (s *server) useFile(ctx context.Context, in *useFileInput) (made, error) {
	f, err := in.filter(ctx)
	l := document.Language(in.Lang)
	return list(in.FileLook, "use", document.UseColumns(l), func(w sheet.Writer) error {
		return s.Store.EachUse(ctx, f, filePage, func(r store.UseRow) error { return w.Row(document.UseCells(l, r)...) })
	}), err
}

func (s *server) customersFile(ctx context.Context, in *customersFileInput) (made, error) {
	f, err := in.filter(ctx)
	l := document.Language(in.Lang)
	return list(in.FileLook, "customers", document.CustomerColumns(l), func(w sheet.Writer) error {
		return s.Store.EachCustomer(ctx, f, filePage, func(r store.CustomerRow) error { return w.Row(document.CustomerCells(l, r)...) })
	}), err
}

func (s *server) owedFile(ctx context.Context, in *owedFileInput) (made, error) {
	f, err := in.filter(ctx)
	if err != nil {
		return made{}, err
	}
	o := document.Options{Lang: document.Language(in.Lang)}
	if len(f.Sites) > 0 { // days are those of the first site; without one the list is empty
		o.Site, err = s.Store.Site(ctx, f.Sites[0])
	}
	return list(in.FileLook, "owed", document.OwedColumns(o.Lang), func(w sheet.Writer) error {
		return s.Store.EachOwed(ctx, f, filePage, func(r store.OwedRow) error { return w.Row(document.OwedCells(o, r)...) })
	}), err
}
