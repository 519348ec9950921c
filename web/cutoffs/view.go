package cutoffs

import (
	"context"
	"net/http"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// listView is one view of the list.
type listView struct {
	tabs  []components.Tab
	sites components.Filter
	cuts  components.Table
	pager components.PagerView
}

// The views of the list. Today's page asks by state.
const (
	viewPlanned   = "planned"
	viewManager   = store.CutAwaitingManager
	viewDone      = store.CutVerified
	viewPrevented = store.CutPrevented
	viewCancelled = store.CutCancelled
	viewOwnTrips  = "own_trip"
	viewRestores  = "restores"
)

func viewName(l page.List) string {
	if l.Get("own_trip") != "" {
		return viewOwnTrips
	}
	if v := l.One("state", viewManager, viewDone, viewPrevented, viewOwnTrips, viewCancelled, viewRestores); v != "" {
		return v
	}
	return viewPlanned
}

func filterOf(ctx context.Context, l page.List) store.CutFilter {
	var f store.CutFilter
	switch v := viewName(l); v {
	case viewPlanned:
		f.States = []string{store.CutPlanned, store.CutAwaitingManager, store.CutSending, store.CutUnknown}
	case viewOwnTrips:
		f.OwnTrip = true
	default:
		f.States = []string{v}
	}
	if day, err := billing.ParseDate(l.Get("since")); err == nil {
		f.Since = day.Start(locale.Zone(ctx))
	}
	return f
}

func sitesOf(ctx context.Context, l page.List) []billing.SiteID {
	if site := billing.SiteID(l.Get("site")); page.Actor(ctx).HasSite(site) {
		return []billing.SiteID{site}
	}
	return page.Sites(ctx)
}

func tabs(ctx context.Context, l page.List, n store.CutCounts) []components.Tab {
	v := viewName(l)
	tab := func(label, view string, count int) components.Tab {
		href := path + "?state=" + view
		if view == viewPlanned {
			href = path
		}
		return components.Tab{Label: label, Href: href, Count: count, Active: v == view}
	}
	return []components.Tab{
		tab(locale.T(ctx, "cutoffs.planned"), viewPlanned, n.Planned+n.Manager), tab(locale.T(ctx, "cutoffs.manager"), viewManager, n.Manager),
		tab(locale.T(ctx, "cutoffs.done"), viewDone, n.Done), tab(locale.T(ctx, "cutoffs.prevented"), viewPrevented, n.Prevented),
		tab(locale.T(ctx, "cutoffs.own_trips"), viewOwnTrips, n.OwnTrips), tab(locale.T(ctx, "cutoffs.stopped"), viewCancelled, 0),
		tab(locale.T(ctx, "cutoffs.restores"), viewRestores, n.Restores),
	}
}

// siteFilter narrows to one site; the view and the day stay with the address.
func siteFilter(ctx context.Context, l page.List) components.Filter {
	f := components.Filter{URL: path, ClearHref: l.ClearHref("site", "since")}
	options := []components.Option{{Label: locale.T(ctx, "cutoffs.any")}}
	for _, id := range page.Sites(ctx) {
		options = append(options, components.Option{Value: string(id), Label: page.SiteName(ctx, id)})
	}
	views := []components.Option{{Value: viewPlanned, Label: locale.T(ctx, "cutoffs.planned")}, {Value: viewManager, Label: locale.T(ctx, "cutoffs.manager")},
		{Value: viewDone, Label: locale.T(ctx, "cutoffs.done")}, {Value: viewPrevented, Label: locale.T(ctx, "cutoffs.prevented")},
		{Value: viewOwnTrips, Label: locale.T(ctx, "cutoffs.own_trips")}, {Value: viewCancelled, Label: locale.T(ctx, "cutoffs.stopped")}, {Value: viewRestores, Label: locale.T(ctx, "cutoffs.restores")}}
	f.Fields = []components.Field{
		{Kind: components.SelectField, Name: "state", Label: locale.T(ctx, "cutoffs.view"), Value: viewName(l), Options: views},
		{Kind: components.DateField, Name: "since", Label: locale.T(ctx, "cutoffs.since"), Value: l.Get("since")},
	}
	if len(options) > 2 {
		f.Fields = append(f.Fields, components.Field{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "cutoffs.site"), Value: l.Get("site"), Options: options})
	}
	return f
}

func emptyOf(ctx context.Context, view string) components.EmptyView {
	switch view {
	case viewPlanned:
		return components.EmptyView{Title: locale.T(ctx, "cutoffs.none_planned"), Body: locale.T(ctx, "cutoffs.none_planned_body")}
	case viewManager:
		return components.EmptyView{Title: locale.T(ctx, "cutoffs.none_manager"), Body: locale.T(ctx, "cutoffs.none_manager_body")}
	case viewPrevented:
		return components.EmptyView{Title: locale.T(ctx, "cutoffs.none_prevented"), Body: locale.T(ctx, "cutoffs.none_prevented_body")}
	case viewOwnTrips:
		return components.EmptyView{Title: locale.T(ctx, "cutoffs.none_own"), Body: locale.T(ctx, "cutoffs.none_own_body")}
	default:
		return components.EmptyView{Title: locale.T(ctx, "cutoffs.none"), Body: locale.T(ctx, "cutoffs.none_body")}
	}
}

// cutTable is one view of the cuts. Those to come show what stands against them, those that are over what was read back.
func cutTable(ctx context.Context, view string, rows []store.CutRow) components.Table {
	t := components.Table{ID: "cuts", Caption: locale.T(ctx, "cutoffs.title"), Empty: emptyOf(ctx, view), Cols: []components.Col{
		{Label: locale.T(ctx, "cutoffs.number")}, {Label: locale.T(ctx, "cutoffs.not_before")}, {Label: locale.T(ctx, "cutoffs.account")},
		{Label: locale.T(ctx, "cutoffs.balance"), Align: components.Number}, {Label: locale.T(ctx, "cutoffs.reasons")},
	}}
	over := view == viewDone || view == viewOwnTrips
	if over {
		t.Cols = append(t.Cols, components.Col{Label: locale.T(ctx, "cutoffs.readback")}, components.Col{Label: locale.T(ctx, "cutoffs.load"), Unit: "W", Align: components.Number}, components.Col{Label: locale.T(ctx, "cutoffs.supply")})
	}
	t.Cols = append(t.Cols, components.Col{Label: locale.T(ctx, "cutoffs.state")})
	if view == viewPlanned || view == viewManager {
		t.Cols = append(t.Cols, components.Col{Label: ""})
	}
	for _, c := range rows {
		d := decisionOf(c.Decision)
		row := components.Row{ID: c.ID, Href: href(c.ID), Cells: []templ.Component{
			components.Text(c.ID), components.When(c.PlannedAt), components.Lines(components.Link("/accounts/"+string(c.Account), string(c.Account)), c.Customer),
			components.Money(c.Balance), reasonCell(brief(ctx, d), lines(ctx, d)),
		}}
		if over {
			row.Cells = append(row.Cells, readbackCell(ctx, c), loadCell(c), supplyCell(ctx, c))
		}
		row.Cells = append(row.Cells, components.StateBadge(locale.Cutoff, c.State))
		if view == viewPlanned || view == viewManager {
			row.Cells = append(row.Cells, stopCell(c.ID, stoppable(c) && auth.Can(page.Actor(ctx), auth.StopCuts, c.Site) == nil))
		}
		if c.State == store.CutUnknown || c.State == store.CutAwaitingManager {
			row.Tone = components.ToneOf(locale.Cutoff, c.State)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// supplyCell is what supply is now. Closing allowed is given back by us: only the customer's button is missing.
func supplyCell(ctx context.Context, c store.CutRow) templ.Component {
	badge := components.StateBadge(locale.Supply, c.Supply)
	if c.Supply == billing.SupplyAllowed {
		return components.Lines(badge, locale.T(ctx, "cutoffs.by_button"))
	}
	return badge
}

// readbackCell is the relay or valve as read back, and the real time of the answer.
func readbackCell(ctx context.Context, c store.CutRow) templ.Component {
	if c.Readback == "" {
		return components.Muted("–")
	}
	badge := components.StateBadge(locale.Supply, c.Readback)
	if c.ReadbackReal == nil {
		return badge
	}
	return components.Lines(badge, locale.T(ctx, "cutoffs.real", locale.Stamp(ctx, *c.ReadbackReal)))
}

func loadCell(c store.CutRow) templ.Component {
	if c.PowerW == nil {
		return components.Muted("–")
	}
	return components.Quantity(*c.PowerW, 0, "")
}

// proofFacts are what became of a cut: the read-back with the real time of its answer and the load then.
func proofFacts(ctx context.Context, c store.CutRow) []components.Fact {
	var fs []components.Fact
	if c.Readback != "" {
		f := components.Fact{ID: "readback", Label: locale.T(ctx, "cutoffs.readback"), Value: components.StateBadge(locale.Supply, c.Readback)}
		if c.ReadbackReal != nil {
			f.Hint = locale.T(ctx, "cutoffs.real", locale.Stamp(ctx, *c.ReadbackReal))
		}
		fs = append(fs, f)
	}
	if c.PowerW != nil {
		fs = append(fs, components.Fact{ID: "load", Label: locale.T(ctx, "cutoffs.load"), Value: components.Quantity(*c.PowerW, 0, "W")})
	}
	if c.SettledAt != nil {
		fs = append(fs, components.Fact{ID: "settled", Label: locale.T(ctx, "cutoffs.settled"), Value: components.When(*c.SettledAt)})
	}
	return fs
}

func instant(t *time.Time) templ.Component {
	if t == nil {
		return nil
	}
	return components.When(*t)
}

func stoppable(c store.CutRow) bool {
	return c.State == store.CutPlanned || c.State == store.CutAwaitingManager
}

func restoreTable(ctx context.Context, rows []store.RestoreRow) components.Table {
	t := components.Table{ID: "restores", Caption: locale.T(ctx, "cutoffs.restores"), Cols: []components.Col{
		{Label: locale.T(ctx, "cutoffs.number")}, {Label: locale.T(ctx, "cutoffs.account")}, {Label: locale.T(ctx, "cutoffs.because")},
		{Label: locale.T(ctx, "cutoffs.opened")}, {Label: locale.T(ctx, "cutoffs.readback")}, {Label: locale.T(ctx, "cutoffs.load"), Unit: "W", Align: components.Number}, {Label: locale.T(ctx, "cutoffs.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "cutoffs.none_restores"), Body: locale.T(ctx, "cutoffs.none_restores_body")}}
	for _, o := range rows {
		readback, load := components.Muted("–"), components.Muted("–")
		if o.Readback != "" {
			readback = components.StateBadge(locale.Supply, o.Readback)
		}
		if o.PowerW != nil {
			load = components.Quantity(*o.PowerW, 0, "")
		}
		t.Rows = append(t.Rows, components.Row{ID: o.ID, Href: page.Home("restore", o.ID), Cells: []templ.Component{
			components.Text(o.ID), components.Lines(components.Link("/accounts/"+string(o.Account), string(o.Account)), o.Customer), because(ctx, o),
			components.When(o.OpenedAt), readback, load, components.StateBadge(locale.Restore, o.State),
		}})
	}
	return t
}

// because is who or what a restore follows from.
func because(ctx context.Context, o store.RestoreRow) templ.Component {
	if o.RequestedName != "" {
		return components.Lines(components.Text(o.RequestedName), locale.Sentence(ctx, o.Reason))
	}
	return components.Text(restoreCause(ctx, o.Cause))
}

// showView is one cut with its whole story.
type showView struct {
	head     components.Head
	notice   *components.NoticeView
	facts    []components.Fact
	now      []components.Fact
	lines    []line
	allowed  bool
	open     bool
	commands []store.Command
	timeline components.TimelineView
	actions  []components.Action
}

func head(ctx context.Context, c store.CutRow) components.Head {
	return components.Head{Title: c.ID, Subtitle: string(c.Account) + " · " + c.Customer + " · " + c.Address, BackHref: path, BackLabel: locale.T(ctx, "cutoffs.title"),
		Badge: components.StateBadge(locale.Cutoff, c.State)}
}

func notice(ctx context.Context, c store.CutRow) *components.NoticeView {
	switch {
	case c.OwnTrip:
		return &components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "cutoffs.own_trip"), Body: locale.T(ctx, "cutoffs.own_trip_body")}
	case c.State == store.CutUnknown:
		return &components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "cutoffs.unknown"), Body: locale.T(ctx, "cutoffs.unknown_body"),
			LinkHref: "/exceptions?kind=supply_unknown&state=open", LinkLabel: locale.T(ctx, "cutoffs.see_case")}
	case c.State == store.CutPrevented:
		return &components.NoticeView{Tone: components.Good, Title: locale.T(ctx, "cutoffs.was_prevented"), Body: brief(ctx, decisionOf(c.Decision))}
	default:
		return nil
	}
}

func facts(ctx context.Context, c store.CutRow) []components.Fact {
	fs := []components.Fact{
		{ID: "account", Label: locale.T(ctx, "cutoffs.account"), Value: components.Link("/accounts/"+string(c.Account), string(c.Account)), Hint: c.Customer},
		{ID: "planned", Label: locale.T(ctx, "cutoffs.not_before"), Value: components.Day(c.PlannedAt), Hint: locale.Clock(ctx, c.PlannedAt)},
		{ID: "class", Label: locale.T(ctx, "cutoffs.class"), Value: components.Text(locale.State(ctx, locale.Class, c.Class)), Hint: locale.State(ctx, locale.Service, c.Service)},
		{ID: "supply", Label: locale.T(ctx, "cutoffs.supply"), Value: components.StateBadge(locale.Supply, c.Supply)},
	}
	if c.Reminder != "" {
		fs = append(fs, components.Fact{ID: "reminder", Label: locale.T(ctx, "cutoffs.reminder"), Value: components.Link(page.TraceHref(string(c.Reminder)), string(c.Reminder))})
	}
	if c.ApprovedName != "" {
		fs = append(fs, components.Fact{ID: "approved", Label: locale.T(ctx, "cutoffs.approved_by"), Value: components.Text(c.ApprovedName)})
	}
	return append(fs, proofFacts(ctx, c)...)
}

// nowFacts are what a cut will be judged by, as it stands now. They are facts, not a judgement: that is made under the account's lock
// at the hour of the cut.
func nowFacts(ctx context.Context, c store.CutRow) []components.Fact {
	fs := []components.Fact{
		{ID: "now-balance", Label: locale.T(ctx, "cutoffs.balance"), Value: components.Money(c.Balance), Hint: locale.T(ctx, "cutoffs.limit_is", locale.Money(c.Limit))},
		{ID: "now-pending", Label: locale.T(ctx, "cutoffs.pending"), Value: components.Money(c.Pending)},
		{ID: "now-notice", Label: locale.T(ctx, "cutoffs.notice"), Value: instant(c.NoticeAt), Hint: named(ctx, c.NoticeCut)},
		{ID: "now-reading", Label: locale.T(ctx, "cutoffs.reading"), Value: instant(c.ReadAt), Hint: locale.State(ctx, locale.Quality, c.ReadQuality)},
		{ID: "now-cases", Label: locale.T(ctx, "cutoffs.cases"), Value: components.Count(c.OpenCases)},
		{ID: "now-protected", Label: locale.T(ctx, "cutoffs.protected"), Value: instant(c.Protected)},
	}
	if c.ReadDoubt {
		fs[3].Hint += " · " + locale.T(ctx, "cutoffs.doubtful")
	}
	if c.LifeSupport {
		fs = append(fs, components.Fact{ID: "now-life", Label: locale.T(ctx, "cutoffs.life_support"), Value: components.Badge(components.Good, locale.T(ctx, "cutoffs.life_support_yes"))})
	}
	return fs
}

func named(ctx context.Context, t *time.Time) string {
	if t == nil {
		return ""
	}
	return locale.T(ctx, "cutoffs.notice_names", locale.DateTime(ctx, *t))
}

// mayApprove refuses what can be seen to be refused: a protection is never overridden.
func mayApprove(ctx context.Context, c store.CutRow) error {
	if c.State != store.CutPlanned && c.State != store.CutAwaitingManager {
		return billing.Errorf(billing.CodeClosed, "Cut %s is %s already: nothing was changed.", c.ID, c.State)
	}
	return auth.CanOrderCut(page.Actor(ctx), c.Site, c.Protected != nil || c.LifeSupport)
}

// actions are what can be done now: a manager's approval where one is missing, and stopping what isn't out yet.
func actions(r *http.Request, c store.CutRow) []components.Action {
	ctx := r.Context()
	if !stoppable(c) {
		return nil
	}
	var list []components.Action
	if c.State == store.CutAwaitingManager {
		f := page.FormOf(r, "approve")
		v := components.Action{ID: "approve", Title: locale.T(ctx, "cutoffs.approve"), URL: href(c.ID) + "/approve", Submit: locale.T(ctx, "cutoffs.approve"), Error: f.Error(),
			Tone: components.Danger, Confirm: locale.T(ctx, "cutoffs.approve_sure", c.Customer),
			Consequence: components.Facts([]components.Fact{
				{ID: "act-who", Label: locale.T(ctx, "cutoffs.who"), Value: components.Text(c.Customer)},
				{ID: "act-balance", Label: locale.T(ctx, "cutoffs.balance"), Value: components.Money(c.Balance)},
				{ID: "act-when", Label: locale.T(ctx, "cutoffs.not_before"), Value: components.When(c.PlannedAt)},
			})}
		if err := mayApprove(ctx, c); err != nil {
			v.Disabled = page.Sentence(ctx, err)
		}
		list = append(list, v)
	}
	f := page.FormOf(r, "cancel")
	v := components.Action{ID: "cancel", Title: locale.T(ctx, "cutoffs.stop"), URL: href(c.ID) + "/cancel", Submit: locale.T(ctx, "cutoffs.stop"), Key: "s", Error: f.Error(),
		Consequence: components.Text(locale.T(ctx, "cutoffs.stop_then")),
		Fields:      []components.Field{components.ReasonField(locale.T(ctx, "cutoffs.reason"), f.Value("reason", ""), f.Problem("reason"))}}
	if err := auth.Can(page.Actor(ctx), auth.StopCuts, c.Site); err != nil {
		v.Disabled = page.Sentence(ctx, err)
	}
	return append(list, v)
}
