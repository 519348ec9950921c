// Package reports is the pages of tables and lists: a site's months, its customers with totals and averages, energy and money with what they
// were at both ends, and who is short, in arrears or unpaid. Each list is an address, is printed as it stands, and comes as CSV and
// Excel. It refuses to sum what the store has summed, and changes nothing.
package reports

import (
	"context"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/document"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const base = "/reports"

// The reports' addresses. With ".csv" or ".xlsx" after it a list comes as a file.
const (
	customersPath = base + "/customers"
	usePath       = base + "/use"
	owedPath      = base + "/owed"
)

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(base, d.Handle(h.overview))
	for path, handle := range map[string]struct{ show, file page.Handler }{
		customersPath: {h.customers, h.customersFile}, usePath: {h.use, h.useFile}, owedPath: {h.owed, h.owedFile},
	} {
		r.Get(path, d.Handle(handle.show))
		r.Get(path+".{format:csv|xlsx}", d.Handle(handle.file))
	}
}

type handler struct{ page.Deps }

// tabs lead from report to report.
func tabs(ctx context.Context, active string) []components.Tab {
	list := []components.Tab{
		{Label: locale.T(ctx, "reports.overview"), Href: base}, {Label: locale.T(ctx, "reports.customers"), Href: customersPath},
		{Label: locale.T(ctx, "reports.use"), Href: usePath}, {Label: locale.T(ctx, "reports.owed"), Href: owedPath},
	}
	for i := range list {
		list[i].Active = list[i].Href == active
	}
	return list
}

// lang is the language that papers and files are in: the page's.
func lang(ctx context.Context) document.Language {
	if locale.Lang(ctx) == locale.EN {
		return document.EN
	}
	return document.ZH
}

func serviceField(ctx context.Context, value string) components.Field {
	f := components.Field{Kind: components.SelectField, Name: "service", Label: locale.T(ctx, "reports.service"), Value: value, Options: []components.Option{{Label: locale.T(ctx, "reports.all")}}}
	for _, word := range locale.Words(locale.Service) {
		f.Options = append(f.Options, components.Option{Value: word, Label: locale.State(ctx, locale.Service, word)})
	}
	return f
}

func searchField(ctx context.Context, value string) components.Field {
	return components.Field{Kind: components.SearchField, Name: "q", Label: locale.T(ctx, "reports.who"), Value: value, Placeholder: locale.T(ctx, "reports.who_hint"), MaxLength: 64}
}

// today is the business day in the zone of the page.
func today(ctx context.Context) billing.Date { return billing.DateOf(page.Now(ctx), locale.Zone(ctx)) }

// dayOf reads a day of the address; an empty one is the usual day.
func dayOf(l page.List, name string, usual billing.Date) (billing.Date, error) {
	if l.Get(name) == "" {
		return usual, nil
	}
	return billing.ParseDate(l.Get(name))
}

// monthOf reads a month of the address, "2026-10"; an empty one is the usual.
func monthOf(l page.List, name string, usual billing.Date) (billing.Period, error) {
	if l.Get(name) == "" {
		return billing.MonthPeriod(usual), nil
	}
	return billing.ParseMonth(l.Get(name))
}

// months are the choices of a month: the last two years.
func months(ctx context.Context, chosen billing.Period) components.Field {
	f := components.Field{Kind: components.SelectField, Name: "month", Label: locale.T(ctx, "reports.month"), Value: chosen.String()}
	const choices = 24
	known := false
	for m, n := billing.MonthPeriod(today(ctx)), 0; n < choices; m, n = billing.MonthPeriod(m.From.AddDays(-1)), n+1 {
		known = known || m == chosen
		f.Options = append(f.Options, components.Option{Value: m.String(), Label: m.String()})
	}
	if !known {
		f.Options = append(f.Options, components.Option{Value: chosen.String(), Label: chosen.String()})
	}
	return f
}

func yuan(ctx context.Context, key string) components.Col {
	return components.Col{Label: key, Unit: locale.T(ctx, "unit.yuan"), Align: components.Number}
}

func site(ctx context.Context) store.Site {
	for _, s := range page.OwnSites(ctx) {
		for _, id := range page.Sites(ctx) {
			if s.ID == id {
				return s
			}
		}
	}
	return store.Site{Zone: locale.Zone(ctx)}
}
