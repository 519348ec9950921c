package corrections

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

type listView struct {
	tabs    []components.Tab
	filter  components.Filter
	table   components.Table
	pager   components.PagerView
	stale   components.Table // issued bills that wait for a correction; without rows where none does
	mayMake bool
}

// showView is the page of one correction.
type showView struct {
	head     components.Head
	notices  []components.NoticeView
	progress *components.ProgressView
	facts    []components.Fact
	changed  components.Table
	bills    components.Table
	accounts components.Table
	actions  []components.Action
	timeline components.TimelineView
	csv      string
}

const waitingMine = "mine"

func filterOf(ctx context.Context, l page.List) store.CorrectionFilter {
	f := store.CorrectionFilter{Sites: page.Sites(ctx), State: l.One("state", locale.Words(locale.Correction)...), Kind: l.One("kind", locale.Words(locale.CorrectionKind)...), Text: l.Get("q")}
	if l.Get("waiting") == waitingMine {
		f.Waiting = page.Actor(ctx).UserID
	}
	f.Open = l.Get("open") != ""
	return f
}

func tabs(ctx context.Context, l page.List, waiting int) []components.Tab {
	mine, open := l.Get("waiting") == waitingMine, l.Get("open") != ""
	return []components.Tab{
		{Label: locale.T(ctx, "corrections.tab_waiting"), Href: path + "?waiting=" + waitingMine, Count: waiting, Active: mine},
		{Label: locale.T(ctx, "corrections.tab_open"), Href: path + "?open=1", Active: open && !mine},
		{Label: locale.T(ctx, "corrections.tab_all"), Href: path, Active: !mine && !open},
	}
}

func choice(ctx context.Context, kind locale.Kind, name, label, value string) components.Field {
	f := components.Field{Kind: components.SelectField, Name: name, Label: label, Value: value, Options: []components.Option{{Label: locale.T(ctx, "corrections.any")}}}
	for _, word := range locale.Words(kind) {
		f.Options = append(f.Options, components.Option{Value: word, Label: locale.State(ctx, kind, word)})
	}
	return f
}

func filterBar(ctx context.Context, l page.List, total int) components.Filter {
	return components.Filter{URL: path, Total: total, ClearHref: l.ClearHref("q", "state", "kind", "waiting", "open"), Fields: []components.Field{
		{Kind: components.SearchField, Name: "q", Label: locale.T(ctx, "corrections.find"), Value: l.Get("q"), Placeholder: locale.T(ctx, "corrections.find_hint"), MaxLength: 64},
		choice(ctx, locale.Correction, "state", locale.T(ctx, "corrections.state"), l.Get("state")),
		choice(ctx, locale.CorrectionKind, "kind", locale.T(ctx, "corrections.kind"), l.Get("kind")),
	}}
}

func queueTable(ctx context.Context, rows []store.CorrectionRow) components.Table {
	t := components.Table{ID: "corrections", Caption: locale.T(ctx, "corrections.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "corrections.number")}, {Label: locale.T(ctx, "corrections.what")}, {Label: locale.T(ctx, "corrections.state")},
		{Label: locale.T(ctx, "corrections.bills"), Align: components.Number}, {Label: locale.T(ctx, "corrections.difference"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "corrections.reason"), WideOnly: true}, {Label: locale.T(ctx, "corrections.made_by")}, {Label: locale.T(ctx, "corrections.made_at"), WideOnly: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "corrections.none"), Body: locale.T(ctx, "corrections.none_body")}}
	for _, k := range rows {
		t.Rows = append(t.Rows, components.Row{ID: string(k.ID), Href: href(k.ID), Tone: toneOf(k.State), Cells: []templ.Component{
			components.Text(string(k.ID)), components.Lines(components.Text(locale.State(ctx, locale.CorrectionKind, k.Kind)), k.Subject), components.StateBadge(locale.Correction, k.State),
			components.Count(k.Bills), components.MoneySigned(k.NewFen - k.OldFen), components.Muted(k.Reason), components.Text(k.DraftedName), components.When(k.DraftedAt),
		}})
	}
	return t
}

// staleTable leads from each issued bill whose reading was changed since to the correction of that reading.
func staleTable(ctx context.Context, bills []store.StaleBill) components.Table {
	t := components.Table{ID: "stale", Caption: locale.T(ctx, "corrections.stale"), Cols: []components.Col{
		{Label: locale.T(ctx, "corrections.bill")}, {Label: locale.T(ctx, "corrections.account")}, {Label: locale.T(ctx, "corrections.reading_of")},
		{Label: locale.T(ctx, "corrections.on_bill"), Align: components.Number}, {Label: locale.T(ctx, "corrections.on_file"), Align: components.Number},
		{Label: locale.T(ctx, "corrections.reason"), WideOnly: true},
	}}
	for _, b := range bills {
		shown := func(r billing.Registers) templ.Component {
			return components.Quantity(r.Total(), b.Service.Scale(), b.Service.Unit())
		}
		t.Rows = append(t.Rows, components.Row{ID: string(b.Bill) + "-" + b.FreezeAt.UTC().Format("20060102T1504"), Tone: components.Watch,
			Href: newHref("kind", "reading", "meter", string(b.Meter), "at", b.FreezeAt.UTC().Format(time.RFC3339)), Cells: []templ.Component{
				components.Text(string(b.Bill)), components.Text(string(b.Account)), components.Lines(components.When(b.FreezeAt), string(b.Meter)),
				shown(b.Billed), shown(b.Newest), components.Muted(b.Reason),
			}})
	}
	return t
}

func toneOf(s billing.CorrectionState) components.Tone {
	if s == billing.CorrectionStopped {
		return components.Danger
	}
	return components.Neutral
}

func head(ctx context.Context, k store.CorrectionRow) components.Head {
	return components.Head{Title: string(k.ID), Subtitle: locale.State(ctx, locale.CorrectionKind, k.Kind) + " · " + k.Subject, BackHref: path, BackLabel: locale.T(ctx, "corrections.title"),
		Badge: components.StateBadge(locale.Correction, k.State)}
}

// notices say what a person must know before anything else: where it stopped, who can't be rated, who falls short.
func notices(ctx context.Context, k store.CorrectionRow) []components.NoticeView {
	var list []components.NoticeView
	add := func(tone components.Tone, title, body string) {
		list = append(list, components.NoticeView{Tone: tone, Title: title, Body: body})
	}
	switch k.State {
	case billing.CorrectionDrafted:
		add(components.Running, locale.T(ctx, "corrections.previewing"), locale.T(ctx, "corrections.previewing_body"))
	case billing.CorrectionStopped:
		at := locale.T(ctx, "corrections.stopped_first")
		if k.StoppedBill != "" {
			at = locale.T(ctx, "corrections.stopped_at", string(k.StoppedBill))
		}
		add(components.Danger, at, locale.Sentence(ctx, k.StoppedWhy))
	}
	if k.State.Final() {
		return list
	}
	if k.Problems > 0 {
		add(components.Danger, locale.T(ctx, "corrections.problems", k.Problems), locale.T(ctx, "corrections.problems_body"))
	}
	if k.FallShort > 0 {
		add(components.Watch, locale.T(ctx, "corrections.fall_short", k.FallShort), locale.T(ctx, "corrections.fall_short_body"))
	}
	if k.MeterHeld > 0 {
		add(components.Watch, locale.T(ctx, "corrections.meter_held", k.MeterHeld), locale.T(ctx, "corrections.meter_held_body"))
	}
	if k.State == billing.CorrectionPreviewed && k.Bills == 0 && k.OpenFen == 0 {
		add(components.Watch, locale.T(ctx, "corrections.touches_none"), locale.T(ctx, "corrections.touches_none_body"))
	}
	return list
}

func facts(ctx context.Context, k store.CorrectionRow) []components.Fact {
	evidence := components.Muted("–")
	if k.Evidence != "" {
		evidence = components.Text(k.Evidence)
	}
	fs := []components.Fact{
		{ID: "from", Label: locale.T(ctx, "corrections.from"), Value: components.When(k.FromAt)},
		{ID: "difference", Label: locale.T(ctx, "corrections.difference"), Value: components.MoneySigned(k.NewFen - k.OldFen), Hint: locale.T(ctx, "corrections.bills_of", k.Bills, k.Accounts)},
		{ID: "back", Label: locale.T(ctx, "corrections.back"), Value: components.Money(k.BackFen)},
		{ID: "taken", Label: locale.T(ctx, "corrections.taken"), Value: components.Money(k.TakenFen)},
		{ID: "open", Label: locale.T(ctx, "corrections.open_periods"), Value: components.MoneySigned(k.OpenFen), Hint: locale.T(ctx, "corrections.open_periods_hint")},
		{ID: "reason", Label: locale.T(ctx, "corrections.reason"), Value: components.Text(k.Reason)},
		{ID: "evidence", Label: locale.T(ctx, "corrections.evidence"), Value: evidence},
		person(ctx, "made", locale.T(ctx, "corrections.made_by"), k.DraftedName, &k.DraftedAt),
		person(ctx, "approved1", locale.T(ctx, "corrections.approved_by"), k.Approved1Name, k.Approved1At),
	}
	if k.ApprovalsNeeded > 1 {
		fs = append(fs, person(ctx, "approved2", locale.T(ctx, "corrections.approved_too"), k.Approved2Name, k.Approved2At))
	}
	if k.EndedAt != nil && k.State == billing.CorrectionApplied {
		fs = append(fs, components.Fact{ID: "applied", Label: locale.T(ctx, "corrections.applied_at"), Value: components.When(*k.EndedAt)})
	}
	if k.EndedName != "" {
		fs = append(fs, person(ctx, "ended", locale.State(ctx, locale.Correction, k.State), k.EndedName, k.EndedAt),
			components.Fact{ID: "ended-why", Label: locale.T(ctx, "corrections.ended_why"), Value: components.Text(k.EndedWhy)})
	}
	return fs
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

// billTable is every bill that the correction touches, with the totals of the issued ones.
func billTable(ctx context.Context, k store.CorrectionRow, rows []store.CorrectedBillRow) components.Table {
	t := components.Table{ID: "bills", Caption: locale.T(ctx, "corrections.bills"), Cols: []components.Col{
		{Label: locale.T(ctx, "corrections.bill")}, {Label: locale.T(ctx, "corrections.account")}, {Label: locale.T(ctx, "corrections.period")},
		{Label: locale.T(ctx, "corrections.old_use"), Align: components.Number}, {Label: locale.T(ctx, "corrections.new_use"), Align: components.Number},
		{Label: locale.T(ctx, "corrections.old_amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number}, {Label: locale.T(ctx, "corrections.new_amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "corrections.difference"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number}, {Label: locale.T(ctx, "corrections.becomes")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "corrections.no_bills"), Body: locale.T(ctx, "corrections.no_bills_body")}}
	for _, b := range rows {
		t.Rows = append(t.Rows, components.Row{ID: string(b.Bill), Href: page.Home("bill", string(b.Bill)), Cells: []templ.Component{
			components.Text(string(b.Bill)), components.Lines(components.Text(string(b.Account)), b.Customer), components.Text(b.PeriodFrom.String()[:7]),
			components.Quantity(b.OldQuantity, b.Service.Scale(), b.Service.Unit()), components.Quantity(b.NewQuantity, b.Service.Scale(), b.Service.Unit()),
			components.Money(b.OldFen), components.Money(b.NewFen), components.MoneySigned(b.NewFen - b.OldFen), becomes(ctx, b),
		}})
	}
	if len(rows) > 0 {
		t.Foot = []templ.Component{components.Text(locale.T(ctx, "corrections.sum_issued", k.Bills)), nil, nil, nil, nil, components.Money(k.OldFen), components.Money(k.NewFen), components.MoneySigned(k.NewFen - k.OldFen), nil}
	}
	return t
}

// becomes is the successor of a bill that is done; before, what will happen to it.
func becomes(ctx context.Context, b store.CorrectedBillRow) templ.Component {
	switch {
	case b.NewBill != nil:
		return components.Link(page.Home("bill", string(*b.NewBill)), string(*b.NewBill))
	case b.Was == billing.BillDraft:
		return components.Muted(locale.T(ctx, "corrections.rated_again"))
	}
	return components.Muted(locale.T(ctx, "corrections.reversed_and_issued"))
}

// accountTable is every balance that the correction touches.
func accountTable(ctx context.Context, rows []store.CorrectedAccountRow) components.Table {
	t := components.Table{ID: "accounts", Caption: locale.T(ctx, "corrections.accounts"), Cols: []components.Col{
		{Label: locale.T(ctx, "corrections.account")}, {Label: locale.T(ctx, "corrections.credit")},
		{Label: locale.T(ctx, "corrections.balance"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "corrections.by_bills"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "corrections.by_charge"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "corrections.balance_after"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
		{Label: locale.T(ctx, "corrections.in_meter"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number, WideOnly: true}, {Label: locale.T(ctx, "corrections.note")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "corrections.no_accounts"), Body: locale.T(ctx, "corrections.no_accounts_body")}}
	for _, a := range rows {
		held := components.Muted("–")
		if a.RemainingFen != nil {
			held = components.Money(*a.RemainingFen)
		}
		t.Rows = append(t.Rows, components.Row{ID: string(a.Account), Href: page.Home("account", string(a.Account)), Tone: accountTone(a), Cells: []templ.Component{
			components.Lines(components.Text(string(a.Account)), a.Customer), components.Text(locale.State(ctx, locale.CreditMode, a.CreditMode)),
			components.Money(a.BalanceFen), components.MoneySigned(a.BillsFen), components.MoneySigned(a.OpenFen), components.Money(a.After()), held, note(ctx, a),
		}})
	}
	return t
}

func accountTone(a store.CorrectedAccountRow) components.Tone {
	switch {
	case a.Problem != "":
		return components.Danger
	case a.FallsShort():
		return components.Watch
	}
	return components.Neutral
}

func note(ctx context.Context, a store.CorrectedAccountRow) templ.Component {
	switch {
	case a.Problem != "":
		return components.Text(locale.Sentence(ctx, a.Problem))
	case a.AfterFen != nil:
		return components.Text(locale.T(ctx, "corrections.done_with", locale.Money(*a.AfterFen)))
	case a.FallsShort():
		return components.Text(locale.T(ctx, "corrections.falls_short"))
	}
	return components.Muted("–")
}

// actions are what can be done now. A button that can't be used says why.
func actions(r *http.Request, k store.CorrectionRow) []components.Action {
	switch k.State {
	case billing.CorrectionPreviewed, billing.CorrectionApprovedOnce:
		list := []components.Action{approveAction(r, k), plain(r, k, "preview", components.Watch)}
		if k.InputsAt == nil {
			list = append(list, endAction(r, k))
		}
		return list
	case billing.CorrectionStopped:
		list := []components.Action{plain(r, k, "resume", components.Neutral), plain(r, k, "preview", components.Watch)}
		if k.InputsAt == nil {
			list = append(list, endAction(r, k))
		}
		return list
	case billing.CorrectionDrafted:
		if k.InputsAt == nil {
			return []components.Action{endAction(r, k)}
		}
	}
	return nil
}

func approveAction(r *http.Request, k store.CorrectionRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "approve")
	title := locale.T(ctx, "corrections.approve")
	if k.ApprovalsNeeded == 2 {
		title = locale.T(ctx, "corrections.approve_first")
		if k.State == billing.CorrectionApprovedOnce {
			title = locale.T(ctx, "corrections.approve_second")
		}
	}
	a := components.Action{ID: "approve", Title: title, URL: href(k.ID) + "/approve", Submit: title, Key: "a", Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce(), {Name: "digest", Value: digestText(k)}},
		Consequence: components.Facts([]components.Fact{
			{ID: "act-bills", Label: locale.T(ctx, "corrections.bills"), Value: components.Count(k.Bills)},
			{ID: "act-back", Label: locale.T(ctx, "corrections.back"), Value: components.Money(k.BackFen)},
			{ID: "act-taken", Label: locale.T(ctx, "corrections.taken"), Value: components.Money(k.TakenFen)},
			{ID: "act-needed", Label: locale.T(ctx, "corrections.approvals"), Value: components.Count(k.ApprovalsNeeded)},
		})}
	if err := mayApprove(ctx, k); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

// plain is a decision that asks for nothing: to preview again, to resume.
func plain(r *http.Request, k store.CorrectionRow, what string, tone components.Tone) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, what)
	title, effect := locale.T(ctx, "corrections.preview_again"), locale.T(ctx, "corrections.preview_again_effect")
	if what == "resume" {
		title, effect = locale.T(ctx, "corrections.resume"), locale.T(ctx, "corrections.resume_effect")
	}
	a := components.Action{ID: what, Title: title, URL: href(k.ID) + "/" + what, Submit: title, Error: f.Error(), Tone: tone, Consequence: components.Text(effect)}
	if err := may(ctx, auth.MakeCorrection, k.Correction); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func endAction(r *http.Request, k store.CorrectionRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "end")
	title, action := locale.T(ctx, "corrections.reject"), auth.ApproveCorrection
	if k.DraftedBy == page.Actor(ctx).UserID {
		title, action = locale.T(ctx, "corrections.withdraw"), auth.MakeCorrection
	}
	a := components.Action{ID: "end", Title: title, URL: href(k.ID) + "/end", Submit: title, Error: f.Error(), Tone: components.Danger,
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "corrections.reason"), f.Value("reason", ""), f.Problem("reason"))}}
	if err := may(ctx, action, k.Correction); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}
