package adjustments

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

type listView struct {
	tabs    []components.Tab
	filter  components.Filter
	table   components.Table
	pager   components.PagerView
	mayMake bool
}

// showView is the page of one adjustment.
type showView struct {
	head     components.Head
	notices  []components.NoticeView
	facts    []components.Fact
	lines    components.Table
	actions  []components.Action
	timeline components.TimelineView
}

const waitingMine = "mine"

func filterOf(ctx context.Context, l page.List) store.AdjustmentFilter {
	f := store.AdjustmentFilter{Sites: page.Sites(ctx), State: l.One("state", locale.Words(locale.Adjustment)...), Kind: l.One("kind", locale.Words(locale.AdjustmentKind)...), Text: l.Get("q"), Open: l.Get("open") != ""}
	if l.Get("waiting") == waitingMine {
		f.Waiting = page.Actor(ctx).UserID
	}
	return f
}

func tabs(ctx context.Context, l page.List, waiting int) []components.Tab {
	mine, open := l.Get("waiting") == waitingMine, l.Get("open") != ""
	return []components.Tab{
		{Label: locale.T(ctx, "adjustments.tab_waiting"), Href: path + "?waiting=" + waitingMine, Count: waiting, Active: mine},
		{Label: locale.T(ctx, "adjustments.tab_open"), Href: path + "?open=1", Active: open && !mine},
		{Label: locale.T(ctx, "adjustments.tab_all"), Href: path, Active: !mine && !open},
	}
}

func filterBar(ctx context.Context, l page.List, total int) components.Filter {
	choice := func(kind locale.Kind, name, label string) components.Field {
		f := components.Field{Kind: components.SelectField, Name: name, Label: label, Value: l.Get(name), Options: []components.Option{{Label: locale.T(ctx, "adjustments.any")}}}
		for _, word := range locale.Words(kind) {
			f.Options = append(f.Options, components.Option{Value: word, Label: locale.State(ctx, kind, word)})
		}
		return f
	}
	return components.Filter{URL: path, Total: total, ClearHref: l.ClearHref("q", "state", "kind", "waiting", "open"), Fields: []components.Field{
		{Kind: components.SearchField, Name: "q", Label: locale.T(ctx, "adjustments.find"), Value: l.Get("q"), Placeholder: locale.T(ctx, "adjustments.find_hint"), MaxLength: 64},
		choice(locale.Adjustment, "state", locale.T(ctx, "adjustments.state")), choice(locale.AdjustmentKind, "kind", locale.T(ctx, "adjustments.kind")),
	}}
}

func moneyCol(ctx context.Context, label string) components.Col {
	return components.Col{Label: label, Unit: locale.T(ctx, "unit.yuan"), Align: components.Number}
}

func queueTable(ctx context.Context, rows []store.AdjustmentRow) components.Table {
	t := components.Table{ID: "adjustments", Caption: locale.T(ctx, "adjustments.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "adjustments.number")}, {Label: locale.T(ctx, "adjustments.what")}, {Label: locale.T(ctx, "adjustments.state")}, {Label: locale.T(ctx, "adjustments.account")},
		moneyCol(ctx, locale.T(ctx, "adjustments.amount")), {Label: locale.T(ctx, "adjustments.reason"), WideOnly: true}, {Label: locale.T(ctx, "adjustments.made_by")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "adjustments.none"), Body: locale.T(ctx, "adjustments.none_body")}}
	for _, j := range rows {
		t.Rows = append(t.Rows, components.Row{ID: string(j.ID), Href: href(j.ID), Cells: []templ.Component{
			components.Text(string(j.ID)), components.Lines(components.Text(Word(ctx, j)), string(j.Meter)), components.StateBadge(locale.Adjustment, j.State),
			components.Lines(components.Text(string(j.Account)), j.Customer), components.MoneySigned(j.TotalFen), components.Muted(j.Reason), components.Text(j.DraftedName),
		}})
	}
	return t
}

// Word says what an adjustment is: its kind of fault, or what it undoes.
func Word(ctx context.Context, j store.AdjustmentRow) string {
	if j.Undoes != "" {
		return locale.T(ctx, "adjustments.undo_of", string(j.Undoes))
	}
	return locale.State(ctx, locale.AdjustmentKind, j.Kind)
}

func head(ctx context.Context, j store.AdjustmentRow) components.Head {
	return components.Head{Title: string(j.ID), Subtitle: Word(ctx, j) + " · " + string(j.Meter) + " · " + j.Customer, BackHref: path, BackLabel: locale.T(ctx, "adjustments.title"),
		Badge: components.StateBadge(locale.Adjustment, j.State)}
}

// notices say what a person must know before anything else.
func notices(ctx context.Context, j store.AdjustmentRow) []components.NoticeView {
	var list []components.NoticeView
	if j.Undoes != "" {
		list = append(list, components.NoticeView{Title: locale.T(ctx, "adjustments.undoes", string(j.Undoes)), LinkHref: href(j.Undoes), LinkLabel: string(j.Undoes)})
	}
	if j.UndoneBy != "" {
		list = append(list, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "adjustments.undone_by", string(j.UndoneBy)), LinkHref: href(j.UndoneBy), LinkLabel: string(j.UndoneBy)})
	}
	if !j.State.Final() && j.BalanceFen > j.CutLimitFen && j.BalanceFen-j.TotalFen <= j.CutLimitFen {
		list = append(list, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "adjustments.falls_short"), Body: locale.T(ctx, "adjustments.falls_short_body")})
	}
	if j.Reversed && j.Undoes == "" && j.UndoneBy == "" && j.State != billing.AdjustmentRejected && j.State != billing.AdjustmentWithdrawn {
		list = append(list, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "adjustments.reversed"), Body: locale.T(ctx, "adjustments.reversed_body")})
	}
	return list
}

func facts(ctx context.Context, j store.AdjustmentRow) []components.Fact {
	unit, scale := j.Service.Unit(), j.Service.Scale()
	fs := []components.Fact{
		{ID: "amount", Label: locale.T(ctx, "adjustments.amount"), Value: components.MoneySigned(j.TotalFen), Hint: locale.T(ctx, "adjustments.amount_hint")},
		{ID: "account", Label: locale.T(ctx, "adjustments.account"), Value: components.Link(page.Home("account", string(j.Account)), string(j.Account)), Hint: j.Customer},
		{ID: "meter", Label: locale.T(ctx, "adjustments.meter"), Value: components.Link(page.Home("meter", string(j.Meter)), string(j.Meter))},
		{ID: "time", Label: locale.T(ctx, "adjustments.time"), Value: components.Text(locale.T(ctx, "adjustments.from_to", locale.DateTime(ctx, j.FromAt), locale.DateTime(ctx, j.ToAt))), Hint: evenRate(ctx, j)},
		{ID: "counted", Label: locale.T(ctx, "adjustments.counted"), Value: components.Text(j.CountedFrom.String()), Hint: locale.T(ctx, countedBy[j.CountedBy])},
		{ID: "registered", Label: locale.T(ctx, "adjustments.registered"), Value: components.Quantity(j.Registered.Total(), scale, unit)},
		{ID: "difference", Label: locale.T(ctx, "adjustments.difference"), Value: components.Quantity(j.Difference.Total(), scale, unit), Hint: formula(ctx, j)},
	}
	if j.Percent != nil {
		fs = append(fs, components.Fact{ID: "percent", Label: locale.T(ctx, "adjustments.percent"), Value: figure(j.Percent.String() + " %")})
	}
	if j.NormalBill != nil {
		fs = append(fs, components.Fact{ID: "normal", Label: locale.T(ctx, "adjustments.normal"), Value: components.Link(page.Home("bill", string(*j.NormalBill)), string(*j.NormalBill))})
	}
	fs = append(fs, components.Fact{ID: "reason", Label: locale.T(ctx, "adjustments.reason"), Value: components.Text(j.Reason)},
		components.Fact{ID: "evidence", Label: locale.T(ctx, "adjustments.evidence"), Value: components.Text(j.Evidence)},
		person(ctx, "made", locale.T(ctx, "adjustments.made_by"), j.DraftedName, &j.DraftedAt),
		person(ctx, "approved1", locale.T(ctx, "adjustments.approved_by"), j.Approved1Name, j.Approved1At),
		person(ctx, "approved2", locale.T(ctx, "adjustments.approved_too"), j.Approved2Name, j.Approved2At))
	if j.AfterFen != nil {
		fs = append(fs, components.Fact{ID: "after", Label: locale.T(ctx, "adjustments.balance_after"), Value: components.Money(*j.AfterFen)})
	}
	if j.EndedName != "" {
		fs = append(fs, person(ctx, "ended", locale.State(ctx, locale.Adjustment, j.State), j.EndedName, j.EndedAt),
			components.Fact{ID: "ended-why", Label: locale.T(ctx, "adjustments.ended_why"), Value: components.Text(j.EndedWhy)})
	}
	return fs
}

var countedBy = map[string]string{
	store.CountedByTest: locale.Key("adjustments.counted_test"), store.CountedByFitting: locale.Key("adjustments.counted_fitting"), store.CountedAsEntered: locale.Key("adjustments.counted_entered"),
}

func evenRate(ctx context.Context, j store.AdjustmentRow) string {
	if len(j.Opening) > 0 && len(j.Closing) > 0 {
		return ""
	}
	return locale.T(ctx, "adjustments.even_rate")
}

// formula says how the true use follows from the registered one.
func formula(ctx context.Context, j store.AdjustmentRow) string {
	switch {
	case j.Undoes != "":
		return locale.T(ctx, "adjustments.undo_formula", string(j.Undoes))
	case j.Kind == billing.AdjustError:
		return locale.T(ctx, "adjustments.error_formula")
	case j.Kind == billing.AdjustWiring:
		return locale.T(ctx, "adjustments.wiring_formula")
	}
	return locale.T(ctx, "adjustments.normal_formula", j.Service.Format(j.Normal.Total()), j.Service.Unit(), *j.NormalDays)
}

// person is a fact about who did something and when; nobody is an en dash.
func person(ctx context.Context, id, label, name string, at *time.Time) components.Fact {
	if name == "" {
		return components.Fact{ID: id, Label: label}
	}
	f := components.Fact{ID: id, Label: label, Value: components.Text(name)}
	if at != nil {
		f.Hint = locale.DateTime(ctx, *at)
	}
	return f
}

// lineTable is the derivation: every line as billed and for the true use.
func lineTable(ctx context.Context, j store.AdjustmentRow, lines []store.AdjustedLine) components.Table {
	number := func(label string) components.Col { return components.Col{Label: label, Align: components.Number} }
	t := components.Table{ID: "lines", Caption: locale.T(ctx, "adjustments.lines"), Cols: []components.Col{
		{Label: locale.T(ctx, "adjustments.line")}, {Label: locale.T(ctx, "adjustments.bill")}, {Label: locale.T(ctx, "adjustments.days"), WideOnly: true},
		number(locale.T(ctx, "adjustments.billed_use")), number(locale.T(ctx, "adjustments.true_use")), number(locale.T(ctx, "adjustments.price")), number(locale.T(ctx, "adjustments.factor")),
		moneyCol(ctx, locale.T(ctx, "adjustments.billed_amount")), moneyCol(ctx, locale.T(ctx, "adjustments.true_amount")), moneyCol(ctx, locale.T(ctx, "adjustments.amount")),
	}}
	for i, l := range lines {
		name := l.NameZH
		if locale.Lang(ctx) == locale.EN {
			name = l.NameEN
		}
		unit := l.Unit
		if unit == "" {
			unit = j.Service.Unit()
		}
		t.Rows = append(t.Rows, components.Row{ID: strconv.Itoa(i + 1), Cells: []templ.Component{
			components.Lines(components.Text(name), band(ctx, l)), components.Link(page.Home("bill", string(l.Bill)), string(l.Bill)),
			components.Text(billing.DateOf(l.FromAt, locale.Zone(ctx)).String() + " – " + billing.DateOf(l.ToAt.Add(-1), locale.Zone(ctx)).String()),
			figure(l.BilledQuantity.Fixed(2) + " " + unit), figure(l.TrueQuantity.Fixed(2) + " " + unit), figure(l.Price.String()), figure(factor(l)),
			components.Money(l.BilledFen), components.Money(l.TrueFen), components.MoneySigned(l.AmountFen()),
		}})
	}
	t.Foot = []templ.Component{components.Text(locale.T(ctx, "adjustments.total")), nil, nil, nil, nil, nil, nil, nil, nil, components.MoneySigned(j.TotalFen)}
	return t
}

// band names the register and the step of a line; a charge by the month rests on no register.
func band(ctx context.Context, l store.AdjustedLine) string {
	if l.Unit != "" {
		return ""
	}
	word := locale.State(ctx, locale.Register, locale.Words(locale.Register)[l.Register])
	if l.Tier > 0 {
		return locale.T(ctx, "adjustments.step", word, l.Tier)
	}
	return word
}

func factor(l store.AdjustedLine) string {
	if l.Thirtieths == 0 || l.Thirtieths == 30 {
		return l.Factor.String()
	}
	return l.Factor.String() + " × " + strconv.Itoa(l.Thirtieths) + "/30"
}

// actions are what can be done now. A button that can't be used says why.
func actions(r *http.Request, j store.AdjustmentRow) []components.Action {
	ctx := r.Context()
	if j.State.Final() {
		if j.State != billing.AdjustmentBooked || j.Undoes != "" || j.UndoneBy != "" {
			return nil
		}
		return []components.Action{undoAction(r, j)}
	}
	f := page.FormOf(r, "approve")
	title := locale.T(ctx, "adjustments.approve_first")
	if j.State == billing.AdjustmentApprovedOnce {
		title = locale.T(ctx, "adjustments.approve_second")
	}
	approve := components.Action{ID: "approve", Title: title, URL: href(j.ID) + "/approve", Submit: title, Key: "a", Error: f.Error(), Hidden: []components.Hidden{f.Nonce(), {Name: "digest", Value: digestText(j)}},
		Consequence: components.Facts([]components.Fact{
			{ID: "act-amount", Label: locale.T(ctx, "adjustments.amount"), Value: components.MoneySigned(j.TotalFen), Hint: locale.T(ctx, "adjustments.amount_hint")},
			{ID: "act-balance", Label: locale.T(ctx, "adjustments.balance"), Value: components.Money(j.BalanceFen)},
			{ID: "act-after", Label: locale.T(ctx, "adjustments.balance_after"), Value: components.Money(j.BalanceFen - j.TotalFen)},
		})}
	if err := mayApprove(ctx, j); err != nil {
		approve.Disabled = page.Sentence(ctx, err)
	}
	f = page.FormOf(r, "end")
	title, action := locale.T(ctx, "adjustments.reject"), auth.ApproveAdjustment
	if j.DraftedBy == page.Actor(ctx).UserID {
		title, action = locale.T(ctx, "adjustments.withdraw"), auth.MakeAdjustment
	}
	end := components.Action{ID: "end", Title: title, URL: href(j.ID) + "/end", Submit: title, Error: f.Error(), Tone: components.Danger,
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "adjustments.reason"), f.Value("reason", ""), f.Problem("reason"))}}
	if err := auth.Can(page.Actor(ctx), action, j.Site); err != nil {
		end.Disabled = page.Sentence(ctx, err)
	}
	return []components.Action{approve, end}
}

// undoAction enters what takes a booked adjustment back.
func undoAction(r *http.Request, j store.AdjustmentRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "undo")
	a := components.Action{ID: "undo", Title: locale.T(ctx, "adjustments.undo"), URL: href(j.ID) + "/undo", Submit: locale.T(ctx, "adjustments.undo"), Error: f.Error(), Tone: components.Danger,
		Hidden: []components.Hidden{f.Nonce()}, Consequence: components.Text(locale.T(ctx, "adjustments.undo_effect")),
		Fields: []components.Field{
			{Kind: components.TextField, Name: "evidence", Label: locale.T(ctx, "adjustments.evidence"), Value: f.Value("evidence", ""), Error: f.Problem("evidence"), MaxLength: maxEvidence, Autocomplete: "off"},
			components.ReasonField(locale.T(ctx, "adjustments.reason"), f.Value("reason", ""), f.Problem("reason")),
		}}
	if err := auth.Can(page.Actor(ctx), auth.MakeAdjustment, j.Site); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}
