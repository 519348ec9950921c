package runs

import (
	"context"
	"net/http"
	"strings"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// heldView is the held bills of the person's sites, by site and period.
type heldView struct{ groups []heldGroup }

// heldGroup is the held bills of one site and period; action starts the further run that bills them, and is nil while their run is open.
type heldGroup struct {
	id, title, note string
	table           components.Table
	action          *components.Action
}

// mostHeld bounds the list: so many held bills are a run that went wrong, not a work list.
const mostHeld = 500

func (h handler) held(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rows, err := h.Store.HeldBills(ctx, page.Sites(ctx), mostHeld)
	if err != nil {
		return err
	}
	ids := make([]billing.BillID, len(rows))
	for i, b := range rows {
		ids[i] = b.ID
	}
	stops, err := h.Store.BillStops(ctx, ids)
	if err != nil {
		return err
	}
	var v heldView
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].Site == rows[0].Site && rows[n].PeriodFrom == rows[0].PeriodFrom {
			n++
		}
		blocking, err := h.blocking(ctx, rows[0])
		if err != nil {
			return err
		}
		v.groups = append(v.groups, groupOf(r, rows[:n], stops, blocking))
		rows = rows[n:]
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "runs.held_bills"), Nav: base, Body: heldList(v)})
}

// blocking are the open cases of a bill's site and period, by account.
func (h handler) blocking(ctx context.Context, b store.HeldRow) (map[billing.AccountID]billing.CaseID, error) {
	from, to := billing.Period{From: b.PeriodFrom, To: b.PeriodTo}.Instants(page.SiteZone(ctx, b.Site))
	cases, err := h.Store.BlockingCases(ctx, b.Site, from, to)
	doubted := map[billing.AccountID]billing.CaseID{}
	for _, c := range cases {
		for _, a := range c.Accounts {
			doubted[a] = c.ID
		}
	}
	return doubted, err
}

func groupOf(r *http.Request, rows []store.HeldRow, stops map[billing.BillID][]store.BillStop, blocking map[billing.AccountID]billing.CaseID) heldGroup {
	ctx := r.Context()
	first := rows[0]
	period := billing.Period{From: first.PeriodFrom, To: first.PeriodTo}
	g := heldGroup{
		id: string(first.Site) + "-" + period.String(), title: page.SiteName(ctx, first.Site) + " · " + period.String(), note: locale.T(ctx, "runs.n_held", len(rows)),
		table: heldTable(ctx, rows, stops, blocking),
	}
	ready, waiting := 0, 0
	for _, b := range rows {
		switch {
		case !b.RunIssued:
		case blocking[b.Account] != "":
			waiting++
		default:
			ready++
		}
	}
	if ready+waiting == 0 {
		return g
	}
	a := furtherAction(r, first.Site, period, ready, waiting)
	g.action = &a
	return g
}

func furtherAction(r *http.Request, site billing.SiteID, period billing.Period, ready, waiting int) components.Action {
	ctx := r.Context()
	a := components.Action{
		ID: "further-" + string(site) + "-" + period.String(), Title: locale.T(ctx, "runs.further"), URL: heldBase + "/" + string(site) + "/" + period.String(), Submit: locale.T(ctx, "runs.further_now"),
		Consequence: components.Facts([]components.Fact{
			{ID: "ready", Label: locale.T(ctx, "runs.further_ready"), Value: components.Count(ready)},
			{ID: "waiting", Label: locale.T(ctx, "runs.further_waiting"), Value: components.Count(waiting)},
			{ID: "then", Label: locale.T(ctx, "runs.further_then"), Value: components.Text(locale.T(ctx, "runs.further_effect"))},
		}),
	}
	if page.Param(r, "site") == string(site) && page.Param(r, "month") == period.String() {
		a.Error = page.FormOf(r, "further").Error()
	}
	if err := auth.Can(page.Actor(ctx), auth.StartRun, site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func heldTable(ctx context.Context, rows []store.HeldRow, stops map[billing.BillID][]store.BillStop, blocking map[billing.AccountID]billing.CaseID) components.Table {
	t := components.Table{ID: "held", Caption: locale.T(ctx, "runs.held_bills"), Cols: []components.Col{
		{Label: locale.T(ctx, "runs.account")}, {Label: locale.T(ctx, "runs.since")}, {Label: locale.T(ctx, "runs.run"), WideOnly: true},
		{Label: locale.T(ctx, "runs.use"), Align: components.Number}, {Label: locale.T(ctx, "runs.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, Lead: true},
		{Label: locale.T(ctx, "runs.hold_reason"), Whole: true},
	}}
	now := page.Now(ctx)
	for _, b := range rows {
		use, amount := components.Quantity(b.Quantity, b.Service.Scale(), b.Service.Unit()), components.Money(b.TotalFen)
		if b.Quantity == 0 && b.TotalFen == 0 {
			use, amount = components.Muted("–"), components.Muted("–")
		}
		reason := components.Muted(reasonText(ctx, b.HoldReason, stops[b.ID]))
		if k := blocking[b.Account]; k != "" {
			reason = components.Link(page.Home("case", string(k)), locale.T(ctx, "runs.still_open", string(k)))
		}
		t.Rows = append(t.Rows, components.Row{ID: string(b.ID), Href: page.Home("bill", string(b.ID)), Tone: components.Watch, Cells: []templ.Component{
			components.Lines(components.Text(string(b.Account)), b.Customer), components.Waited(b.Since, now), components.Link(page.Home("run", string(b.Run)), string(b.Run)), use, amount, reason,
		}})
	}
	return t
}

// further starts the run that bills what was held when the last run of the period was issued.
func (h handler) further(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	site := billing.SiteID(page.Param(r, "site"))
	if err := page.See(ctx, site); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.StartRun, site); err != nil {
		return page.Done{}, err
	}
	period, err := billing.ParseMonth(page.Param(r, "month"))
	if err != nil {
		return page.Done{}, err
	}
	held, err := h.Store.HeldOf(ctx, site, period.From)
	if err != nil {
		return page.Done{}, err
	}
	if len(held) == 0 {
		return page.Done{}, billing.Errorf(billing.CodeConflict, "no bill of this period waits for a further run: nothing was started")
	}
	id, version, err := h.Store.NextRun(ctx, site, period)
	if err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.StartRun(ctx, id, site, period, version, page.Actor(ctx).UserID); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: base, Said: locale.T(ctx, "runs.further_started", string(id), len(held))}, nil
}

// heldNotices lead from an issued run to what was held when it was.
func heldNotices(ctx context.Context, run store.RunRow) []components.NoticeView {
	if run.State != billing.RunIssued || run.Held == 0 {
		return nil
	}
	return []components.NoticeView{{Tone: components.Watch, Title: locale.T(ctx, "runs.held_at_issue", run.Held), LinkHref: heldBase, LinkLabel: locale.T(ctx, "runs.further")}}
}

// reasonText is why a bill is held: the limits that stopped it in the words of the page, else the reason as somebody wrote it.
func reasonText(ctx context.Context, reason string, stops []store.BillStop) string {
	stopped := false
	texts := make([]string, 0, len(stops))
	for _, s := range stops {
		texts = append(texts, locale.T(ctx, stopKey(s.Rule), s.Was, s.Allowed))
		// A person may have held or released the bill since: the limits are its reason only while it says so.
		stopped = stopped || strings.Contains(reason, s.Was)
	}
	if !stopped {
		return locale.Sentence(ctx, reason)
	}
	return strings.Join(texts, locale.T(ctx, "runs.and"))
}

// stopKeys are the words for why a limit stops a bill: what the bill is, and what the limit allows.
var stopKeys = map[string]string{
	"amount": locale.Key("runs.stop_amount"), "change": locale.Key("runs.stop_change"), "last": locale.Key("runs.stop_last"), "average": locale.Key("runs.stop_average"),
	"fall": locale.Key("runs.stop_fall"), "estimated": locale.Key("runs.stop_estimated"), "negative": locale.Key("runs.stop_negative"), "zero_with_use": locale.Key("runs.stop_zero"),
	"earlier_held": locale.Key("runs.stop_earlier"),
}

func stopKey(rule string) string {
	if key, ok := stopKeys[rule]; ok {
		return key
	}
	return locale.Key("runs.stop_other")
}

// ruleKeys name the limits.
var ruleKeys = map[string]string{
	"amount": locale.Key("runs.rule_amount"), "change": locale.Key("runs.rule_change"), "last": locale.Key("runs.rule_last"), "average": locale.Key("runs.rule_average"),
	"fall": locale.Key("runs.rule_fall"), "estimated": locale.Key("runs.rule_estimated"), "negative": locale.Key("runs.rule_negative"), "zero_with_use": locale.Key("runs.rule_zero"),
	"earlier_held": locale.Key("runs.rule_earlier"),
}

// stopTable counts what the limits hold, by limit.
func stopTable(ctx context.Context, run store.RunRow, t store.RunTotals) components.Table {
	table := components.Table{ID: "stops", Caption: locale.T(ctx, "runs.stops"), Cols: []components.Col{
		{Label: locale.T(ctx, "runs.limit")}, {Label: locale.T(ctx, "runs.stopped"), Align: components.Number, Lead: true},
	}}
	for _, rule := range []string{"amount", "change", "last", "average", "fall", "estimated", "negative", "zero_with_use", "earlier_held"} {
		if n := t.Stops[rule]; n > 0 {
			table.Rows = append(table.Rows, components.Row{ID: rule, Href: page.Home("run", string(run.ID)) + "?state=held#bills", Cells: []templ.Component{
				components.Text(locale.T(ctx, ruleKeys[rule])), components.Count(n),
			}})
		}
	}
	return table
}
