package reports

import (
	"context"
	"io"
	"net/http"

	"github.com/meterflow/meterflow/internal/document"
	"github.com/meterflow/meterflow/internal/document/sheet"
	"github.com/meterflow/meterflow/internal/download"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/page"
)

// filePage is how many accounts are read at once for a file.
const filePage = 200

// send answers with a list as a file; rows are written while they are read.
func send(w http.ResponseWriter, r *http.Request, name string, columns []sheet.Column, rows func(sheet.Writer) error) error {
	format := sheet.Format(page.Param(r, "format"))
	return download.Send(w, download.File{Name: name + "." + string(format), ContentType: format.ContentType()}, func(out io.Writer) error {
		f, err := sheet.New(format, out, name, columns)
		if err != nil {
			return err
		}
		if err := rows(f); err != nil {
			return err
		}
		return f.Close()
	})
}

func (h handler) useFile(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := useFilter(ctx, page.ListOf(r))
	if err != nil {
		return err
	}
	l := lang(ctx)
	return send(w, r, "use-"+f.From.String()+"-"+f.To.AddDays(-1).String(), document.UseColumns(l), func(out sheet.Writer) error {
		return h.Store.EachUse(ctx, f, filePage, func(row store.UseRow) error { return out.Row(document.UseCells(l, row)...) })
	})
}

func (h handler) customersFile(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := customerFilter(ctx, page.ListOf(r))
	if err != nil {
		return err
	}
	l := lang(ctx)
	return send(w, r, "customers-"+f.From.String()[:7], document.CustomerColumns(l), func(out sheet.Writer) error {
		return h.Store.EachCustomer(ctx, f, filePage, func(row store.CustomerRow) error { return out.Row(document.CustomerCells(l, row)...) })
	})
}

func (h handler) owedFile(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f := owedFilter(ctx, page.ListOf(r))
	o := options(ctx)
	return send(w, r, string(f.Kind)+"-"+today(ctx).String(), document.OwedColumns(o.Lang), func(out sheet.Writer) error {
		return h.Store.EachOwed(ctx, f, filePage, func(row store.OwedRow) error { return out.Row(document.OwedCells(o, row)...) })
	})
}

func options(ctx context.Context) document.Options {
	return document.Options{Lang: lang(ctx), Printed: page.Now(ctx), Site: site(ctx)}
}
