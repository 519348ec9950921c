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

type overviewView struct {
	tabs   []components.Tab
	stats  []components.Stat
	filter components.Filter
	days   components.Amounts
	billed components.Amounts
	months components.Table
}

// yearOf are the twelve months that end with the chosen one.
func yearOf(month billing.Period) billing.Date {
	return billing.NewDate(month.From.Year(), month.From.Month()-11, 1)
}

func (h handler) overview(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	month, err := monthOf(page.ListOf(r), "month", today(ctx))
	if err != nil {
		return err
	}
	sites := page.Sites(ctx)
	days, err := h.Store.SiteDays(ctx, sites, month)
	if err != nil {
		return err
	}
	list, err := h.Store.SiteMonths(ctx, sites, yearOf(month), month.To)
	if err != nil {
		return err
	}
	short, arrears, err := h.Store.OwedTallies(ctx, store.OwedFilter{Sites: sites})
	if err != nil {
		return err
	}
	v := overviewView{
		tabs: tabs(ctx, base), stats: statsOf(ctx, month, list, short, arrears), days: dayChart(ctx, month, days), billed: billedChart(ctx, list), months: monthTable(ctx, list),
	}
	v.filter = components.Filter{URL: base, Total: len(v.months.Rows), Fields: []components.Field{months(ctx, month)}}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "reports.title"), Nav: base, Body: overview(v)})
}

func statsOf(ctx context.Context, month billing.Period, list []store.SiteMonth, short, arrears store.OwedTally) []components.Stat {
	var recharged, billed billing.Money
	recharges, bills := 0, 0
	for _, m := range list {
		if m.Month == month.From {
			recharged, recharges, billed, bills = recharged+m.RechargedFen, recharges+m.Recharges, billed+m.BilledFen, bills+m.Bills
		}
	}
	stats := []components.Stat{
		{ID: "recharged", Label: locale.T(ctx, "reports.recharged"), Value: locale.Money(recharged), Note: locale.T(ctx, "reports.n_recharges", recharges), Href: customersPath + "?month=" + month.String()},
		{ID: "billed", Label: locale.T(ctx, "reports.billed"), Value: locale.Money(billed), Note: locale.T(ctx, "reports.n_bills", bills), Href: "/runs"},
		{ID: "short", Label: locale.T(ctx, "reports.short"), Value: locale.Count(short.N), Note: locale.T(ctx, "reports.short_note"), Href: owedPath + "?kind=short"},
		{ID: "arrears", Label: locale.T(ctx, "reports.arrears"), Value: locale.Count(arrears.N), Note: locale.T(ctx, "reports.arrears_note", locale.Money(arrears.DebtFen)), Href: owedPath + "?kind=arrears"},
	}
	if short.N > 0 {
		stats[2].Tone = components.Watch
	}
	if arrears.N > 0 {
		stats[3].Tone = components.Danger
	}
	return stats
}

func dayChart(ctx context.Context, month billing.Period, days []store.SiteDay) components.Amounts {
	a := components.Amounts{ID: "days", Title: locale.T(ctx, "reports.charged_by_day", month.String()), Span: locale.T(ctx, "reports.day"), What: locale.T(ctx, "reports.charged"),
		Unit: locale.T(ctx, "unit.yuan"), Scale: 2, Empty: components.EmptyView{Title: locale.T(ctx, "reports.no_charges"), Body: locale.T(ctx, "reports.no_charges_body")}}
	for _, d := range days {
		a.Bars = append(a.Bars, components.AmountBar{Label: d.Day.String(), Raw: int64(d.ChargedFen)})
	}
	return a
}

// billedChart is what was billed month by month, over all chosen sites.
func billedChart(ctx context.Context, list []store.SiteMonth) components.Amounts {
	a := components.Amounts{ID: "months", Title: locale.T(ctx, "reports.billed_by_month"), Span: locale.T(ctx, "reports.month"), What: locale.T(ctx, "reports.billed"),
		Unit: locale.T(ctx, "unit.yuan"), Scale: 2}
	sums := map[string]int64{}
	for i := len(list) - 1; i >= 0; i-- {
		label := list[i].Month.String()[:7]
		if _, seen := sums[label]; !seen {
			a.Bars = append(a.Bars, components.AmountBar{Label: label})
		}
		sums[label] += int64(list[i].BilledFen)
	}
	any := false
	for i := range a.Bars {
		a.Bars[i].Raw = sums[a.Bars[i].Label]
		any = any || a.Bars[i].Raw != 0
	}
	if !any {
		a.Bars = nil
		a.Empty = components.EmptyView{Title: locale.T(ctx, "reports.no_bills"), Body: locale.T(ctx, "reports.no_bills_body")}
	}
	return a
}

func monthTable(ctx context.Context, list []store.SiteMonth) components.Table {
	t := components.Table{ID: "months-table", Caption: locale.T(ctx, "reports.months"), Cols: []components.Col{
		{Label: locale.T(ctx, "reports.month")}, {Label: locale.T(ctx, "reports.site")}, {Label: locale.T(ctx, "reports.bills"), Align: components.Number},
		{Label: locale.T(ctx, "reports.power"), Unit: billing.Power.Unit(), Align: components.Number}, {Label: locale.T(ctx, "reports.water"), Unit: billing.Water.Unit(), Align: components.Number},
		yuan(ctx, locale.T(ctx, "reports.billed")), {Label: locale.T(ctx, "reports.recharges"), Align: components.Number}, yuan(ctx, locale.T(ctx, "reports.recharged")),
	}, Empty: components.EmptyView{Title: locale.T(ctx, "reports.no_bills"), Body: locale.T(ctx, "reports.no_bills_body")}}
	for _, m := range list {
		if m.Bills == 0 && m.Recharges == 0 {
			continue
		}
		month := m.Month.String()[:7]
		t.Rows = append(t.Rows, components.Row{ID: string(m.Site) + "-" + month, Href: customersPath + "?month=" + month, Cells: []templ.Component{
			components.Text(month), components.Text(page.SiteName(ctx, m.Site)), components.Count(m.Bills),
			components.Quantity(m.PowerRaw, billing.Power.Scale(), ""), components.Quantity(m.WaterRaw, billing.Water.Scale(), ""), components.Money(m.BilledFen),
			components.Count(m.Recharges), components.Money(m.RechargedFen),
		}})
	}
	return t
}
