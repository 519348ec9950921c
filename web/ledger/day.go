package ledger

import (
	"context"
	"encoding/hex"
	"net/http"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// listView is the list of accounting days, or of open holds.
type listView struct {
	head  components.Head
	tabs  []components.Tab
	live  string
	table components.Table
	pager components.PagerView
}

// dayView is one accounting day.
type dayView struct {
	head     components.Head
	notices  []components.NoticeView
	facts    []components.Fact
	totals   components.Table
	more     string // when not all accounts are listed
	timeline components.TimelineView
	close    *components.Action
}

func (h handler) days(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	rows, total, err := h.Store.LedgerDays(ctx, page.Sites(ctx), l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v := listView{head: components.Head{Title: locale.T(ctx, "ledger.days"), Subtitle: locale.T(ctx, "ledger.days_note")}, tabs: tabs(ctx, daysPath), live: "days", table: dayTable(ctx, rows), pager: l.Pager(len(rows), total)}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "ledger.days"), Nav: path, Body: list(v)})
}

func dayTable(ctx context.Context, rows []store.LedgerDay) components.Table {
	yuan := locale.T(ctx, "unit.yuan")
	t := components.Table{ID: "days", Caption: locale.T(ctx, "ledger.days"), Cols: []components.Col{
		{Label: locale.T(ctx, "ledger.day")}, {Label: locale.T(ctx, "ledger.state")},
		{Label: locale.T(ctx, "ledger.entries"), Align: components.Number}, {Label: locale.T(ctx, "ledger.debit"), Unit: yuan, Align: components.Number},
		{Label: locale.T(ctx, "ledger.credit"), Unit: yuan, Align: components.Number, WideOnly: true}, {Label: locale.T(ctx, "ledger.closed_at"), WideOnly: true},
		{Label: locale.T(ctx, "ledger.seal"), WideOnly: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "ledger.no_days"), Body: locale.T(ctx, "ledger.no_days_body")}}
	for _, d := range rows {
		row := components.Row{ID: string(d.Site) + "/" + d.Day.String(), Href: dayHref(d.Site, d.Day), Cells: []templ.Component{
			components.Lines(components.Text(d.Day.String()), page.SiteName(ctx, d.Site)), stateOf(d), components.Count(d.Entries),
			components.Money(d.Debit), components.Money(d.Credit), components.Muted("–"), components.Muted("–"),
		}}
		if d.Closed() {
			row.Cells[5], row.Cells[6] = components.When(*d.ClosedAt), components.Code(hex.EncodeToString(d.Digest)[:12])
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func stateOf(d store.LedgerDay) templ.Component {
	if d.Closed() {
		return components.StateBadge(locale.BooksState, "closed")
	}
	return components.StateBadge(locale.BooksState, "open")
}

// timelineRows is how many changes a day's page tells.
const timelineRows = 20

func (h handler) day(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	site := billing.SiteID(page.Param(r, "site"))
	if err := page.See(ctx, site); err != nil {
		return err
	}
	date, err := billing.ParseDate(page.Param(r, "day"))
	if err != nil {
		return billing.Errorf(billing.CodeNotFound, "there is no such record")
	}
	d, totals, err := h.Store.LedgerDay(ctx, site, date)
	if err != nil {
		return err
	}
	ctx = locale.WithZone(ctx, page.SiteZone(ctx, site))
	r = r.WithContext(ctx)
	v := dayOf(ctx, d, totals)
	if d.Closed() {
		holds, err := h.Store.VerifyDay(ctx, site, date)
		if err != nil {
			return err
		}
		v.seal(ctx, d, holds)
	} else {
		v.close = closeAction(r, d)
	}
	events, err := h.Store.Timeline(ctx, []billing.SiteID{site}, string(site)+"/"+date.String(), 0, timelineRows)
	if err != nil {
		return err
	}
	own := events[:0]
	for _, e := range events {
		if e.Kind == "ledger_day" {
			own = append(own, e)
		}
	}
	v.timeline = page.Timeline(ctx, "ledger_day", string(site)+"/"+date.String(), own)
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: path, Body: day(v)})
}

func dayOf(ctx context.Context, d store.LedgerDay, totals []store.DayTotal) dayView {
	v := dayView{head: components.Head{Title: page.SiteName(ctx, d.Site) + " · " + d.Day.String(), BackHref: daysPath, BackLabel: locale.T(ctx, "ledger.days"), Badge: stateOf(d)},
		facts: []components.Fact{
			{ID: "entries", Label: locale.T(ctx, "ledger.entries"), Value: components.Count(d.Entries)},
			{ID: "accounts", Label: locale.T(ctx, "ledger.moved"), Value: components.Count(d.Accounts)},
			{ID: "debit", Label: locale.T(ctx, "ledger.debit"), Value: components.Money(d.Debit)},
			{ID: "credit", Label: locale.T(ctx, "ledger.credit"), Value: components.Money(d.Credit)},
		}}
	yuan := locale.T(ctx, "unit.yuan")
	t := components.Table{ID: "totals", Caption: locale.T(ctx, "ledger.day_totals"), Cols: []components.Col{
		{Label: locale.T(ctx, "ledger.account")}, {Label: locale.T(ctx, "ledger.debit"), Unit: yuan, Align: components.Number},
		{Label: locale.T(ctx, "ledger.credit"), Unit: yuan, Align: components.Number}, {Label: locale.T(ctx, "ledger.at_end"), Unit: yuan, Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "ledger.no_entries"), Body: locale.T(ctx, "ledger.no_entries_day")}}
	for _, m := range totals {
		row := components.Row{ID: string(m.Code), Href: AccountHref(string(m.Code)) + "&on=" + d.Day.String(), Cells: []templ.Component{
			components.Code(string(m.Code)), amountOrNone(m.Debit), amountOrNone(m.Credit), components.Muted("–"),
		}}
		if d.Closed() {
			row.Cells[3] = standing(ctx, m.Balance)
		}
		t.Rows = append(t.Rows, row)
	}
	if len(totals) > 0 {
		t.Foot = []templ.Component{components.Text(locale.T(ctx, "ledger.total")), components.Money(d.Debit), components.Money(d.Credit), nil}
	}
	if n := len(totals); n < d.Accounts {
		v.more = locale.T(ctx, "ledger.more_accounts", n, d.Accounts)
	}
	v.totals = t
	return v
}

// standing is a balance with its side: neither side is better than the other.
func standing(ctx context.Context, m billing.Money) templ.Component {
	switch {
	case m < 0:
		return components.Lines(components.Money(-m), locale.T(ctx, "ledger.cr"))
	case m > 0:
		return components.Lines(components.Money(m), locale.T(ctx, "ledger.dr"))
	}
	return components.Money(m)
}

func (v *dayView) seal(ctx context.Context, d store.LedgerDay, holds bool) {
	if !holds {
		v.notices = append(v.notices, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "ledger.seal_broken"), Body: locale.T(ctx, "ledger.seal_broken_body")})
	}
	state := components.Badge(components.Danger, locale.T(ctx, "ledger.seal_broken"))
	if holds {
		state = components.Badge(components.Good, locale.T(ctx, "ledger.seal_holds"))
	}
	v.facts = append(v.facts,
		components.Fact{ID: "closed", Label: locale.T(ctx, "ledger.closed_at"), Value: components.When(*d.ClosedAt), Hint: closer(ctx, d.ClosedBy)},
		components.Fact{ID: "seal", Label: locale.T(ctx, "ledger.seal"), Value: state, Hint: hex.EncodeToString(d.Digest)[:16]},
		components.Fact{ID: "customers", Label: locale.T(ctx, "ledger.customers"), Value: components.Money(-d.Customers)})
	if d.Counted != nil {
		v.facts = append(v.facts, components.Fact{ID: "counted", Label: locale.T(ctx, "ledger.counted"), Value: components.Money(*d.Counted)})
	}
}

func closer(ctx context.Context, by string) string {
	if by == "workflow" {
		return locale.T(ctx, "ledger.by_itself")
	}
	return by
}

// closeAction is the form that closes a day which is over; nil while it isn't.
func closeAction(r *http.Request, d store.LedgerDay) *components.Action {
	ctx := r.Context()
	if !d.Day.Before(billing.DateOf(page.Now(ctx), page.SiteZone(ctx, d.Site))) {
		return nil
	}
	f := page.FormOf(r, "close")
	a := components.Action{ID: "close", Title: locale.T(ctx, "ledger.close"), URL: dayHref(d.Site, d.Day) + "/close", Submit: locale.T(ctx, "ledger.close"), Error: f.Error(), Tone: components.Danger,
		Consequence: components.Text(locale.T(ctx, "ledger.close_then", d.Day.String())), Confirm: locale.T(ctx, "ledger.close_sure", d.Day.String()),
		Fields: []components.Field{{Kind: components.MoneyField, Name: "counted", Label: locale.T(ctx, "ledger.counted"), Value: f.Value("counted", ""), Error: f.Problem("counted"),
			Unit: locale.T(ctx, "unit.yuan"), Hint: locale.T(ctx, "ledger.counted_hint")}}}
	if err := auth.Can(page.Actor(ctx), auth.CloseDay, d.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return &a
}

func (h handler) closeDay(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	site := billing.SiteID(page.Param(r, "site"))
	if err := page.See(ctx, site); err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.CloseDay, site); err != nil {
		return page.Done{}, err
	}
	date, err := billing.ParseDate(page.Param(r, "day"))
	if err != nil {
		return page.Done{}, err
	}
	order := workflows.CloseDays{Site: site, Through: date, By: page.Actor(ctx).UserID}
	in := page.Read(r)
	if text := in.Text("counted"); text != "" {
		counted, err := billing.ParseMoney(text)
		if err != nil {
			in.Refuse("counted", err)
		}
		order.Counted = &counted
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.CloseDays(ctx, order); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: dayHref(site, date), Said: locale.T(ctx, "ledger.closed", date.String())}, nil
}
