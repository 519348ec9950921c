package runs

import (
	"context"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/document"
	"github.com/meterflow/meterflow/internal/download"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// optionsOf reads how a paper is to look out of the address: copies and paper, in the language of the page.
func (h handler) optionsOf(r *http.Request, site billing.SiteID, copies int) (document.Options, error) {
	ctx := r.Context()
	s, err := h.Store.Site(ctx, site)
	if err != nil {
		return document.Options{}, err
	}
	l := page.ListOf(r)
	o := document.Options{Lang: document.ZH, Paper: document.Paper(l.One("paper", string(document.A4), string(document.Roll))), Copies: copies, Printed: page.Now(ctx), Site: s}
	if locale.Lang(ctx) == locale.EN {
		o.Lang = document.EN
	}
	if n, err := strconv.Atoi(l.One("copies", "1", "2", "3")); err == nil {
		o.Copies = n
	}
	return o, nil
}

func sendPDF(w http.ResponseWriter, name string, write func(io.Writer) error) error {
	return download.Send(w, download.File{Name: name + ".pdf", ContentType: "application/pdf", Inline: true}, write)
}

func (h handler) billPDF(w http.ResponseWriter, r *http.Request) error {
	b, err := h.seenBill(r)
	if err != nil {
		return err
	}
	o, err := h.optionsOf(r, b.Site, 1)
	if err != nil {
		return err
	}
	return sendPDF(w, string(b.ID), func(out io.Writer) error {
		return document.Bills(out, o, string(b.ID), func(yield func(store.BillSheet, error) bool) { yield(b, nil) })
	})
}

func (h handler) runPDF(w http.ResponseWriter, r *http.Request) error {
	run, err := h.seen(r)
	if err != nil {
		return err
	}
	o, err := h.optionsOf(r, run.Site, 1)
	if err != nil {
		return err
	}
	return sendPDF(w, fileName("bills-"+string(run.ID)), func(out io.Writer) error {
		return document.Bills(out, o, string(run.ID), h.Store.RunSheets(r.Context(), run.ID))
	})
}

func fileName(id string) string { return strings.ReplaceAll(id, "/", "-") }

func (h handler) paymentsPDF(w http.ResponseWriter, r *http.Request) error {
	run, err := h.seen(r)
	if err != nil {
		return err
	}
	o, err := h.optionsOf(r, run.Site, 2)
	if err != nil {
		return err
	}
	return sendPDF(w, fileName("payment-list-"+string(run.ID)), func(out io.Writer) error {
		return document.PaymentList(out, o, run, func() iter.Seq2[store.PaymentRow, error] { return h.Store.Payments(r.Context(), run.ID) })
	})
}

// seenAccount reads the account of the address and refuses it to those who don't work for its site.
func (h handler) seenAccount(r *http.Request) (store.AccountRow, error) {
	a, err := h.Store.AccountRow(r.Context(), billing.AccountID(page.Param(r, "id")))
	if err != nil {
		return a, err
	}
	return a, page.See(r.Context(), a.Site)
}

// monthAt reads a month of the address; an empty one is the present.
func monthAt(ctx context.Context, l page.List, name string, site billing.SiteID) (billing.Period, error) {
	if l.Get(name) == "" {
		return billing.MonthPeriod(billing.DateOf(page.Now(ctx), page.SiteZone(ctx, site))), nil
	}
	return billing.ParseMonth(l.Get(name))
}

func (h handler) statementPDF(w http.ResponseWriter, r *http.Request) error {
	a, err := h.seenAccount(r)
	if err != nil {
		return err
	}
	ctx, l := r.Context(), page.ListOf(r)
	from, err := monthAt(ctx, l, "from", a.Site)
	if err != nil {
		return err
	}
	to, err := monthAt(ctx, l, "to", a.Site)
	if err != nil {
		return err
	}
	st, err := h.Store.StatementOf(ctx, a, billing.Period{From: from.From, To: to.To})
	if err != nil {
		return err
	}
	o, err := h.optionsOf(r, a.Site, 1)
	if err != nil {
		return err
	}
	return sendPDF(w, "statement-"+string(a.ID), func(out io.Writer) error { return document.AccountStatement(out, o, st) })
}

func (h handler) counterPDF(w http.ResponseWriter, r *http.Request) error {
	a, err := h.seenAccount(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	month, err := monthAt(ctx, page.ListOf(r), "month", a.Site)
	if err != nil {
		return err
	}
	c, err := h.Store.CounterOf(ctx, a, month)
	if err != nil {
		return err
	}
	o, err := h.optionsOf(r, a.Site, 3)
	if err != nil {
		return err
	}
	return sendPDF(w, "payment-list-"+string(a.ID)+"-"+month.String(), func(out io.Writer) error { return document.CounterList(out, o, c) })
}
