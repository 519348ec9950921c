package recharges

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// listView is the queue.
type listView struct {
	tabs                 []components.Tab
	filter               components.Filter
	bulk                 components.BulkView
	table                components.Table
	pager                components.PagerView
	mayEnter, mayApprove bool
}

// Values of the filter "waiting": what waits for me, and what I entered.
const (
	waitingMine = "mine"
	waitingMade = "entered"
)

func filterOf(ctx context.Context, l page.List) store.RechargeFilter {
	me := page.Actor(ctx).UserID
	f := store.RechargeFilter{
		Sites: sitesOf(ctx, l), State: l.One("state", locale.Words(locale.Recharge)...), Channel: l.One("channel", channels...), Text: l.Get("q"), Viewer: me,
	}
	switch l.Get("waiting") {
	case waitingMine:
		f.Waiting = me
	case waitingMade:
		f.Maker = me
	}
	if day, err := billing.ParseDate(l.Get("since")); err == nil {
		f.Since = day.Start(locale.Zone(ctx))
	}
	return f
}

// sitesOf is the site that the address names, when it is one of the person's; else those that lists cover.
func sitesOf(ctx context.Context, l page.List) []billing.SiteID {
	if site := billing.SiteID(l.Get("site")); page.Actor(ctx).HasSite(site) {
		return []billing.SiteID{site}
	}
	return page.Sites(ctx)
}

func tabs(ctx context.Context, l page.List, n store.RechargeCounts) []components.Tab {
	waiting, state := l.Get("waiting"), l.Get("state")
	return []components.Tab{
		{Label: locale.T(ctx, "recharges.tab_waiting"), Href: path + "?waiting=" + waitingMine, Count: n.Waiting, Active: waiting == waitingMine},
		{Label: locale.T(ctx, "recharges.tab_mine"), Href: path + "?waiting=" + waitingMade, Count: n.Mine, Active: waiting == waitingMade},
		{Label: locale.T(ctx, "recharges.tab_doubt"), Href: path + "?state=in_doubt", Count: n.InDoubt, Active: waiting == "" && state == "in_doubt"},
		{Label: locale.T(ctx, "recharges.tab_all"), Href: path, Active: waiting == "" && state != "in_doubt"},
	}
}

func filterBar(ctx context.Context, l page.List, total int) components.Filter {
	states := []components.Option{{Label: locale.T(ctx, "recharges.any")}}
	for _, s := range locale.Words(locale.Recharge) {
		states = append(states, components.Option{Value: s, Label: locale.State(ctx, locale.Recharge, s)})
	}
	ways := []components.Option{{Label: locale.T(ctx, "recharges.any")}}
	for _, c := range channels {
		ways = append(ways, components.Option{Value: c, Label: locale.State(ctx, locale.Channel, c)})
	}
	fields := []components.Field{
		{Kind: components.SearchField, Name: "q", Label: locale.T(ctx, "recharges.find"), Value: l.Get("q"), MaxLength: maxEvidence},
		{Kind: components.SelectField, Name: "waiting", Label: locale.T(ctx, "recharges.whose"), Value: l.Get("waiting"), Options: []components.Option{
			{Label: locale.T(ctx, "recharges.any")}, {Value: waitingMine, Label: locale.T(ctx, "recharges.tab_waiting")}, {Value: waitingMade, Label: locale.T(ctx, "recharges.tab_mine")},
		}},
		{Kind: components.SelectField, Name: "state", Label: locale.T(ctx, "recharges.state"), Value: l.Get("state"), Options: states},
		{Kind: components.SelectField, Name: "channel", Label: locale.T(ctx, "recharges.channel"), Value: l.Get("channel"), Options: ways},
	}
	if own := page.Sites(ctx); len(own) > 1 {
		options := []components.Option{{Label: locale.T(ctx, "recharges.any")}}
		for _, id := range own {
			options = append(options, components.Option{Value: string(id), Label: page.SiteName(ctx, id)})
		}
		fields = append(fields, components.Field{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "recharges.site"), Value: l.Get("site"), Options: options})
	}
	return components.Filter{URL: path, Fields: fields, Total: total, ClearHref: l.ClearHref("q", "waiting", "state", "channel", "site", "since")}
}

func queueTable(ctx context.Context, rows []store.RechargeRow, tally store.RechargeTally) components.Table {
	t := components.Table{ID: "recharges", Caption: locale.T(ctx, "recharges.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "recharges.number")}, {Label: locale.T(ctx, "recharges.account")},
		{Label: locale.T(ctx, "recharges.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "recharges.channel")}, {Label: locale.T(ctx, "recharges.entered_by")}, {Label: locale.T(ctx, "recharges.since")},
		{Label: locale.T(ctx, "recharges.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "recharges.none"), Body: locale.T(ctx, "recharges.none_body")}}
	now := page.Now(ctx)
	for _, rc := range rows {
		t.Rows = append(t.Rows, components.Row{ID: string(rc.ID), Href: href(rc.ID), Tone: rowTone(rc, now), Cells: []templ.Component{
			components.Text(string(rc.ID)), components.Lines(components.Text(string(rc.Account)), rc.Customer), components.Money(rc.Amount),
			components.Lines(components.Text(locale.State(ctx, locale.Channel, rc.Channel)), rc.Evidence), people(ctx, rc), since(rc, now),
			components.StateBadge(locale.Recharge, rc.State),
		}})
	}
	if len(rows) > 0 {
		t.Foot = []templ.Component{components.Text(locale.T(ctx, "recharges.total", tally.N)), nil, components.Money(tally.Sum), nil, nil, nil, nil}
	}
	return t
}

// people names the maker, and the first approver while the second is missing.
func people(ctx context.Context, rc store.RechargeRow) templ.Component {
	if rc.State == billing.RechargeApprovedOnce {
		return components.Lines(components.Text(rc.EnteredName), locale.T(ctx, "recharges.first_by", rc.Approved1Name))
	}
	return components.Text(rc.EnteredName)
}

func since(rc store.RechargeRow, now time.Time) templ.Component {
	if rc.State.Final() {
		return components.When(rc.EnteredAt)
	}
	return components.Waited(rc.EnteredAt, now)
}

// soon is how long before it expires a recharge is marked.
const soon = 12 * time.Hour

func rowTone(rc store.RechargeRow, now time.Time) components.Tone {
	waits := rc.State == billing.RechargeEntered || rc.State == billing.RechargeApprovedOnce
	switch {
	case rc.State == billing.RechargeInDoubt:
		return components.Danger
	case waits && rc.ExpiresAt.Sub(now) < soon:
		return components.Watch
	default:
		return components.Neutral
	}
}

// reviewView is the preview of a bulk approval: what will be approved, what it comes to, and what won't be and why.
type reviewView struct {
	table   components.Table
	skipped components.Table
	action  components.Action
}

func reviewOf(r *http.Request, rows []store.RechargeRow) reviewView {
	ctx := r.Context()
	cols := []components.Col{
		{Label: locale.T(ctx, "recharges.number")}, {Label: locale.T(ctx, "recharges.account")},
		{Label: locale.T(ctx, "recharges.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "recharges.channel")}, {Label: locale.T(ctx, "recharges.entered_by")}, {Label: locale.T(ctx, "recharges.will_be")},
	}
	v := reviewView{
		table: components.Table{ID: "review", Caption: locale.T(ctx, "recharges.review_title"), Cols: cols,
			Empty: components.EmptyView{Title: locale.T(ctx, "recharges.review_none"), Body: locale.T(ctx, "recharges.review_none_body"), LinkHref: path, LinkLabel: locale.T(ctx, "recharges.title")}},
		skipped: components.Table{ID: "skipped", Caption: locale.T(ctx, "recharges.skipped"), Cols: slices.Concat(cols[:5], []components.Col{{Label: locale.T(ctx, "recharges.why")}})},
	}
	f := page.FormOf(r, "approve-all")
	hidden := []components.Hidden{f.Nonce()}
	var sum billing.Money
	for _, rc := range rows {
		cells := []templ.Component{components.Text(string(rc.ID)), components.Lines(components.Text(string(rc.Account)), rc.Customer), components.Money(rc.Amount),
			components.Lines(components.Text(locale.State(ctx, locale.Channel, rc.Channel)), rc.Evidence), people(ctx, rc)}
		row := components.Row{ID: string(rc.ID), Href: href(rc.ID)}
		if err := mayApprove(ctx, rc.Recharge); err != nil {
			row.Cells = append(cells, components.Muted(page.Sentence(ctx, err)))
			v.skipped.Rows = append(v.skipped.Rows, row)
			continue
		}
		next := billing.RechargeApprovedOnce
		if rc.State == billing.RechargeApprovedOnce {
			next = billing.RechargeApproved
		}
		row.Cells = append(cells, components.StateBadge(locale.Recharge, next))
		v.table.Rows = append(v.table.Rows, row)
		sum += rc.Amount
		hidden = append(hidden, components.Hidden{Name: "id", Value: string(rc.ID)})
	}
	n := len(v.table.Rows)
	if n > 0 {
		v.table.Foot = []templ.Component{components.Text(locale.T(ctx, "recharges.total", n)), nil, components.Money(sum), nil, nil, nil}
	}
	v.action = components.Action{ID: "approve-all", Title: locale.T(ctx, "recharges.approve_all"), URL: path + "/approve", Submit: locale.T(ctx, "recharges.approve_n", n),
		Key: "a", Hidden: hidden, Error: f.Error(), Consequence: components.Facts([]components.Fact{
			{ID: "count", Label: locale.T(ctx, "recharges.count"), Value: components.Count(n)},
			{ID: "sum", Label: locale.T(ctx, "recharges.sum"), Value: components.Money(sum)},
		})}
	if err := auth.Can(page.Actor(ctx), auth.ApproveRecharge, ""); err != nil {
		v.action.Disabled = page.Sentence(ctx, err)
	} else if n == 0 {
		v.action.Disabled = locale.T(ctx, "recharges.review_none")
	}
	return v
}
