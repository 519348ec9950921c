package api

import (
	"context"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/document"
	"github.com/meterflow/meterflow/internal/download"
	"github.com/meterflow/meterflow/internal/store"
)

// PaperLook says how a paper is to look.
type PaperLook struct {
	Lang   string `query:"lang" enum:"zh,en" default:"zh"`
	Paper  string `query:"paper" enum:"a4,80mm" default:"a4" doc:"Sheets of A4, or a roll of 80 mm for single bills and counter lists."`
	Copies int    `query:"copies" minimum:"0" maximum:"3" default:"0" doc:"0 gives as many as usual: one of a bill, two of a payment list, three of the counter's."`
}

type billPaperInput struct {
	BillPath
	PaperLook
}

type runPaperInput struct {
	RunPath
	PaperLook
}

type statementInput struct {
	AccountPath
	PaperLook
	From string `query:"from" required:"true" pattern:"^[0-9]{4}-[0-9]{2}$" doc:"The first month."`
	To   string `query:"to" required:"true" pattern:"^[0-9]{4}-[0-9]{2}$" doc:"The last month."`
}

type counterInput struct {
	AccountPath
	PaperLook
	Month string `query:"month" required:"true" pattern:"^[0-9]{4}-[0-9]{2}$"`
}

func (s *server) paperOperations() {
	const run = "/runs/{site}/{month}/{version}"
	paper := func(path, id, tag, summary string) operation {
		return operation{method: http.MethodGet, path: path, id: id, tag: tag, may: auth.View, summary: summary}
	}
	stream(s, paper("/bills/{id}/bill.pdf", "print-bill", "runs", "A bill as PDF."), s.billPaper)
	stream(s, paper(run+"/bills.pdf", "print-run", "runs", "All bills of a run in one PDF."), s.runPaper)
	stream(s, paper(run+"/payment-list.pdf", "print-payment-list", "runs", "The payment list of a run as PDF, in two copies."), s.paymentPaper)
	stream(s, paper("/accounts/{id}/statement.pdf", "print-statement", "accounts", "An account's statement over months, with its bills, as PDF."), s.statementPaper)
	stream(s, paper("/accounts/{id}/payment-list.pdf", "print-counter-list", "accounts", "The counter's payment list of an account and month as PDF, in three copies."), s.counterPaper)
}

// made is a file that is written while it is sent.
type made struct {
	file  download.File
	write func(io.Writer) error
}

// stream registers an operation that answers with a file.
func stream[I any](s *server, o operation, h func(context.Context, *I) (made, error)) {
	add(s, o, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		m, err := h(ctx, in)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			w, ok := hctx.BodyWriter().(http.ResponseWriter)
			if !ok {
				return
			}
			if err := download.Send(w, m.file, m.write); err != nil {
				p := problemOf(err)
				hctx.SetStatus(p.Status)
				write(w, p)
			}
		}}, nil
	})
}

func pdf(name string, write func(io.Writer) error) made {
	return made{download.File{Name: strings.ReplaceAll(name, "/", "-") + ".pdf", ContentType: "application/pdf", Inline: true}, write}
}

// look is how a paper of a site is to look.
func (s *server) look(ctx context.Context, site billing.SiteID, l PaperLook, copies int) (document.Options, error) {
	st, err := s.Store.Site(ctx, site)
	if err != nil {
		return document.Options{}, err
	}
	c, err := s.Store.Clock(ctx)
	if err != nil {
		return document.Options{}, err
	}
	if l.Copies > 0 {
		copies = l.Copies
	}
	return document.Options{Lang: document.Language(l.Lang), Paper: document.Paper(l.Paper), Copies: copies, Printed: c.Now, Site: st}, nil
}

func (s *server) billPaper(ctx context.Context, in *billPaperInput) (made, error) {
	b, err := s.Store.BillSheet(ctx, in.ID)
	if err != nil {
		return made{}, err
	}
	if err := see(ctx, b.Site); err != nil {
		return made{}, err
	}
	o, err := s.look(ctx, b.Site, in.PaperLook, 1)
	return pdf(string(b.ID), func(out io.Writer) error {
		return document.Bills(out, o, string(b.ID), func(yield func(store.BillSheet, error) bool) { yield(b, nil) })
	}), err
}

func (s *server) runPaper(ctx context.Context, in *runPaperInput) (made, error) {
	r, err := s.seenRun(ctx, in.id())
	if err != nil {
		return made{}, err
	}
	o, err := s.look(ctx, r.Site, in.PaperLook, 1)
	return pdf("bills-"+string(r.ID), func(out io.Writer) error { return document.Bills(out, o, string(r.ID), s.Store.RunSheets(ctx, r.ID)) }), err
}

func (s *server) paymentPaper(ctx context.Context, in *runPaperInput) (made, error) {
	r, err := s.seenRun(ctx, in.id())
	if err != nil {
		return made{}, err
	}
	o, err := s.look(ctx, r.Site, in.PaperLook, 2)
	return pdf("payment-list-"+string(r.ID), func(out io.Writer) error {
		return document.PaymentList(out, o, r, func() iter.Seq2[store.PaymentRow, error] { return s.Store.Payments(ctx, r.ID) })
	}), err
}

func (s *server) statementPaper(ctx context.Context, in *statementInput) (made, error) {
	a, err := s.seenAccount(ctx, in.ID)
	if err != nil {
		return made{}, err
	}
	from, err := billing.ParseMonth(in.From)
	if err != nil {
		return made{}, err
	}
	to, err := billing.ParseMonth(in.To)
	if err != nil {
		return made{}, err
	}
	st, err := s.Store.StatementOf(ctx, a, billing.Period{From: from.From, To: to.To})
	if err != nil {
		return made{}, err
	}
	o, err := s.look(ctx, a.Site, in.PaperLook, 1)
	return pdf("statement-"+string(a.ID), func(out io.Writer) error { return document.AccountStatement(out, o, st) }), err
}

func (s *server) counterPaper(ctx context.Context, in *counterInput) (made, error) {
	a, err := s.seenAccount(ctx, in.ID)
	if err != nil {
		return made{}, err
	}
	month, err := billing.ParseMonth(in.Month)
	if err != nil {
		return made{}, err
	}
	c, err := s.Store.CounterOf(ctx, a, month)
	if err != nil {
		return made{}, err
	}
	o, err := s.look(ctx, a.Site, in.PaperLook, 3)
	return pdf("payment-list-"+string(a.ID)+"-"+in.Month, func(out io.Writer) error { return document.CounterList(out, o, c) }), err
}
