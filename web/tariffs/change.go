package tariffs

import (
	"context"
	"net/http"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// changeView is one change of prices with its whole story.
type changeView struct {
	head       components.Head
	notices    []components.NoticeView
	facts      []components.Fact
	diff       components.Table
	simulation *simulationView
	push       *pushView
	actions    []components.Action
	timeline   components.TimelineView
}

// pushView is how far the prices have got into the meters.
type pushView struct {
	progress components.ProgressView
	table    components.Table
	all      string // address of the list of all meters
}

func (h handler) changeOf(r *http.Request) (store.TariffChangeRow, error) {
	return h.Store.TariffChangeRow(r.Context(), billing.TariffChangeID(page.Param(r, "no")))
}

func (h handler) change(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	c, err := h.changeOf(r)
	if err != nil {
		return err
	}
	v := changeView{head: changeHead(ctx, c), facts: changeFacts(ctx, c)}
	now, err := h.inForce(ctx, c)
	if err != nil {
		return err
	}
	v.diff = diffTable(ctx, c.Service, now, c.Version)
	if v.simulation, err = h.simulationOf(r, c); err != nil {
		return err
	}
	if v.push, err = h.pushOf(ctx, c); err != nil {
		return err
	}
	if v.notices, err = h.changeNotices(ctx, c); err != nil {
		return err
	}
	events, err := h.Store.Timeline(ctx, page.Actor(ctx).Sites, string(c.ID), 0, timelineLength)
	if err != nil {
		return err
	}
	v.timeline = page.Timeline(ctx, "tariff_change", string(c.ID), withoutMeters(events))
	v.actions = changeActions(r, c, v.simulation, v.push)
	return h.Render(w, r, page.View{Title: string(c.ID), Nav: path, Body: change(v)})
}

// withoutMeters leaves the steps of single meters to their own pages: a change may have thousands of them.
func withoutMeters(events []store.Event) []store.Event {
	kept := events[:0]
	for _, e := range events {
		if e.Kind != "price_push" {
			kept = append(kept, e)
		}
	}
	return kept
}

// inForce is the version that a change follows; nil for a new tariff.
func (h handler) inForce(ctx context.Context, c store.TariffChangeRow) (*billing.TariffVersion, error) {
	t, err := h.Store.Tariff(ctx, c.Tariff)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, _, err := t.VersionAt(c.From.AddDays(-1))
	if err != nil {
		return nil, nil //nolint:nilerr // a tariff without a price on the day before has nothing to compare with
	}
	return &v, nil
}

func changeHead(ctx context.Context, c store.TariffChangeRow) components.Head {
	return components.Head{
		Title: locale.T(ctx, "tariffs.change_of", nameOf(ctx, billing.Names{ZH: c.NameZH, EN: c.NameEN})), Subtitle: string(c.ID) + " · " + string(c.Tariff) + " · " + locale.T(ctx, "tariffs.from_day", c.From.String()),
		BackHref: changesPath, BackLabel: locale.T(ctx, "tariffs.changes"), Badge: components.StateBadge(locale.TariffChange, c.State),
		Actions: changeLinks(c.ID, c.State.Open() && auth.Can(page.Actor(ctx), auth.EditTariff, "") == nil),
	}
}

func changeFacts(ctx context.Context, c store.TariffChangeRow) []components.Fact {
	person := func(id, label, name string, at string) components.Fact {
		if name == "" {
			return components.Fact{ID: id, Label: label}
		}
		return components.Fact{ID: id, Label: label, Value: components.Text(name), Hint: at}
	}
	first, second := "", ""
	if c.Approved1At != nil {
		first = locale.DateTime(ctx, *c.Approved1At)
	}
	if c.Approved2At != nil {
		second = locale.DateTime(ctx, *c.Approved2At)
	}
	facts := []components.Fact{
		{ID: "tariff", Label: locale.T(ctx, "tariffs.tariff"), Value: components.Link(tariffHref(c.Tariff), string(c.Tariff)), Hint: locale.State(ctx, locale.Service, c.Service)},
		{ID: "from", Label: locale.T(ctx, "tariffs.from"), Value: components.Day(c.From.Start(locale.Zone(ctx)))},
		{ID: "why", Label: locale.T(ctx, "tariffs.ground"), Value: textOrDash(c.Why)},
		{ID: "revision", Label: locale.T(ctx, "tariffs.revision"), Value: components.Count(c.Revision)},
		person("made", locale.T(ctx, "tariffs.made_by"), c.MadeName, locale.DateTime(ctx, c.MadeAt)),
		person("approved1", locale.T(ctx, "tariffs.first_approval"), c.Approved1Name, first),
		person("approved2", locale.T(ctx, "tariffs.second_approval"), c.Approved2Name, second),
	}
	if c.State == billing.TariffRejected || c.State == billing.TariffWithdrawn {
		facts = append(facts, components.Fact{ID: "reason", Label: locale.T(ctx, "tariffs.reason"), Value: textOrDash(c.Reason), Hint: c.RejectedName})
	}
	if c.InForceAt != nil {
		facts = append(facts, components.Fact{ID: "in-force", Label: locale.T(ctx, "tariffs.in_force"), Value: components.When(*c.InForceAt)})
	}
	return facts
}

// changeNotices say what stands in the way: ceilings that would be broken, a first day that has begun.
func (h handler) changeNotices(ctx context.Context, c store.TariffChangeRow) ([]components.NoticeView, error) {
	if !c.State.Open() {
		return nil, nil
	}
	breaches, err := h.Store.CeilingBreaches(ctx, c.Tariff, c.Service, c.Version, c.Version.Until)
	if err != nil {
		return nil, err
	}
	var notices []components.NoticeView
	if len(breaches) > 0 {
		notices = append(notices, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "tariffs.above_ceiling", len(breaches)), Body: page.Sentence(ctx, breaches[0].Refusal()),
			LinkHref: path + "/ceilings", LinkLabel: locale.T(ctx, "tariffs.ceilings")})
	}
	if !c.From.After(today(ctx)) {
		notices = append(notices, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "tariffs.begun"), Body: locale.T(ctx, "tariffs.begun_body")})
	}
	return notices, nil
}

// pushOf counts the meters that hold prices; nil before the first day, and when there are none.
func (h handler) pushOf(ctx context.Context, c store.TariffChangeRow) (*pushView, error) {
	counts, err := h.Store.PushCounts(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	overtaken := counts[billing.PushOvertaken]
	total := -overtaken
	for _, n := range counts {
		total += n
	}
	if len(counts) == 0 {
		return nil, nil
	}
	rows, err := h.Store.Pushes(ctx, c.ID, "", pushesShown, 0)
	if err != nil {
		return nil, err
	}
	v := &pushView{all: changeHref(c.ID) + "/meters", table: pushTable(ctx, rows), progress: components.ProgressView{
		Label: locale.T(ctx, "tariffs.meters_hold"), Done: counts[billing.PushVerified], Total: total,
	}}
	if overtaken > 0 {
		v.progress.Note = locale.T(ctx, "tariffs.meters_overtaken", overtaken)
	}
	if failed := counts[billing.PushFailed]; failed > 0 {
		v.progress.Tone, v.progress.Note = components.Danger, locale.T(ctx, "tariffs.meters_failed", failed)
	}
	return v, nil
}

// pushesShown is how many meters stand on the page of a change; all of them have a page of their own.
const pushesShown = 12

func pushTable(ctx context.Context, rows []store.TariffPush) components.Table {
	t := components.Table{ID: "pushes", Caption: locale.T(ctx, "tariffs.meters"), Cols: []components.Col{
		{Label: locale.T(ctx, "tariffs.meter")}, {Label: locale.T(ctx, "tariffs.account")}, {Label: locale.T(ctx, "tariffs.state")},
		{Label: locale.T(ctx, "tariffs.attempts"), Align: components.Number}, {Label: locale.T(ctx, "tariffs.set_at")}, {Label: locale.T(ctx, "tariffs.note")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "tariffs.no_meters"), Body: locale.T(ctx, "tariffs.no_meters_body")}}
	for _, p := range rows {
		at, note := components.Muted("–"), components.Muted(locale.Sentence(ctx, p.Error))
		if p.SentAt != nil && p.State == billing.PushVerified {
			at = components.When(*p.SentAt)
		}
		if p.Case != nil {
			note = linked(page.Home("case", string(*p.Case)), string(*p.Case), components.Muted(locale.Sentence(ctx, p.Error)))
		}
		t.Rows = append(t.Rows, components.Row{ID: string(p.Meter), Href: page.Home("meter", string(p.Meter)), Cells: []templ.Component{
			components.Lines(components.Text(string(p.Meter)), string(p.Gateway)), components.Text(string(p.Account)), components.StateBadge(locale.PricePush, p.State),
			components.Count(p.Attempts), at, note,
		}})
	}
	return t
}

func (h handler) meters(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	c, err := h.changeOf(r)
	if err != nil {
		return err
	}
	l := page.ListOf(r)
	state := l.One("state", locale.Words(locale.PricePush)...)
	counts, err := h.Store.PushCounts(ctx, c.ID)
	if err != nil {
		return err
	}
	total := 0
	states := []components.Option{{Label: locale.T(ctx, "tariffs.any")}}
	for _, s := range locale.Words(locale.PricePush) {
		states = append(states, components.Option{Value: s, Label: locale.State(ctx, locale.PricePush, s)})
		if state == "" || state == s {
			total += counts[billing.PushState(s)]
		}
	}
	rows, err := h.Store.Pushes(ctx, c.ID, state, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v := metersView{
		head:  components.Head{Title: locale.T(ctx, "tariffs.meters"), Subtitle: string(c.ID), BackHref: changeHref(c.ID), BackLabel: string(c.ID)},
		table: pushTable(ctx, rows), pager: l.Pager(len(rows), total),
		filter: components.Filter{URL: changeHref(c.ID) + "/meters", Total: total, ClearHref: l.ClearHref("state"),
			Fields: []components.Field{{Kind: components.SelectField, Name: "state", Label: locale.T(ctx, "tariffs.state"), Value: state, Options: states}}},
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "tariffs.meters"), Nav: path, Body: meters(v)})
}

type metersView struct {
	head   components.Head
	filter components.Filter
	table  components.Table
	pager  components.PagerView
}

// changeActions are what can be done now. A button that can't be used says why.
func changeActions(r *http.Request, c store.TariffChangeRow, sim *simulationView, push *pushView) []components.Action {
	ctx := r.Context()
	var actions []components.Action
	if c.State.Waiting() {
		actions = append(actions, approveAction(r, c))
		if auth.Can(page.Actor(ctx), auth.ApproveTariff, "") == nil {
			actions = append(actions, decideAction(r, c, "reject", locale.T(ctx, "tariffs.reject"), auth.ApproveTariff))
		}
	}
	if c.State == billing.TariffDraft {
		actions = append(actions, submitAction(r, c, sim))
	}
	if c.State.Open() {
		actions = append(actions, simulateAction(r, c))
		if auth.Can(page.Actor(ctx), auth.EditTariff, "") == nil {
			actions = append(actions, decideAction(r, c, "withdraw", locale.T(ctx, "tariffs.withdraw"), auth.EditTariff))
		}
	}
	if push != nil && push.progress.Done < push.progress.Total && c.State == billing.TariffInForce {
		actions = append(actions, pushAction(r, c))
	}
	return actions
}

func hiddenOf(f page.Form, c store.TariffChangeRow) []components.Hidden {
	return []components.Hidden{f.Nonce(), {Name: "revision", Value: f.Value("revision", strconv.Itoa(c.Revision))}}
}

func approveAction(r *http.Request, c store.TariffChangeRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "approve")
	title, then := locale.T(ctx, "tariffs.approve_first"), components.StateBadge(locale.TariffChange, billing.TariffApprovedOnce)
	if c.State == billing.TariffApprovedOnce {
		title, then = locale.T(ctx, "tariffs.approve_second"), components.StateBadge(locale.TariffChange, billing.TariffPublished)
	}
	a := components.Action{ID: "approve", Title: title, URL: changeHref(c.ID) + "/approve", Submit: title, Key: "a", Error: f.Error(), Hidden: []components.Hidden{f.Nonce(), {Name: "revision", Value: strconv.Itoa(c.Revision)}},
		Consequence: components.Facts([]components.Fact{
			{ID: "act-from", Label: locale.T(ctx, "tariffs.from"), Value: components.Text(c.From.String())},
			{ID: "act-then", Label: locale.T(ctx, "tariffs.then"), Value: then},
		})}
	if err := mayApprove(ctx, c); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

// mayApprove refuses what can be seen to be refused. The workflow and a constraint decide again.
func mayApprove(ctx context.Context, c store.TariffChangeRow) error {
	actor := page.Actor(ctx)
	if err := auth.Can(actor, auth.ApproveTariff, ""); err != nil {
		return err
	}
	switch {
	case c.Edited(actor.UserID):
		return billing.Errorf(billing.CodeSelfApproval, "you wrote in this change: two colleagues who didn't must approve it")
	case c.Approved1By == actor.UserID:
		return billing.Errorf(billing.CodeAlreadyApproved, "you have approved this change already: another colleague must give the second approval")
	}
	return nil
}

func submitAction(r *http.Request, c store.TariffChangeRow, sim *simulationView) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "submit")
	a := components.Action{ID: "submit", Title: locale.T(ctx, "tariffs.submit"), URL: changeHref(c.ID) + "/submit", Submit: locale.T(ctx, "tariffs.submit"), Key: "s", Error: f.Error(),
		Hidden: hiddenOf(f, c), Consequence: components.Text(locale.T(ctx, "tariffs.submit_effect"))}
	if err := auth.Can(page.Actor(ctx), auth.EditTariff, ""); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	} else if sim != nil && sim.used && !sim.current {
		a.Disabled = locale.T(ctx, "tariffs.simulate_first")
	}
	return a
}

func simulateAction(r *http.Request, c store.TariffChangeRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "simulate")
	a := components.Action{ID: "simulate", Title: locale.T(ctx, "tariffs.simulate"), URL: changeHref(c.ID) + "/simulate", Submit: locale.T(ctx, "tariffs.simulate"), Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce()}, Fields: []components.Field{
			{Kind: components.NumberField, Name: "sample", Label: locale.T(ctx, "tariffs.sample"), Value: f.Value("sample", ""), Error: f.Problem("sample"), Hint: locale.T(ctx, "tariffs.sample_hint")},
			{Kind: components.TextField, Name: "tariff", Label: locale.T(ctx, "tariffs.accounts_of"), Value: f.Value("tariff", string(c.Tariff)), Error: f.Problem("tariff"), MaxLength: maxText},
		}}
	if err := auth.Can(page.Actor(ctx), auth.SimulateTariff, ""); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

// decideAction is a decision with a reason: reject or withdraw.
func decideAction(r *http.Request, c store.TariffChangeRow, what, title string, action auth.Action) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, what)
	a := components.Action{ID: what, Title: title, URL: changeHref(c.ID) + "/" + what, Submit: title, Tone: components.Danger, Error: f.Error(), Hidden: hiddenOf(f, c),
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "tariffs.reason"), f.Value("reason", ""), f.Problem("reason"))}}
	if err := auth.Can(page.Actor(ctx), action, ""); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}

func pushAction(r *http.Request, c store.TariffChangeRow) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "push")
	a := components.Action{ID: "push", Title: locale.T(ctx, "tariffs.push_again"), URL: changeHref(c.ID) + "/push", Submit: locale.T(ctx, "tariffs.push_again"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Consequence: components.Text(locale.T(ctx, "tariffs.push_effect"))}
	if err := auth.Can(page.Actor(ctx), auth.PushPrices, ""); err != nil {
		a.Disabled = page.Sentence(ctx, err)
	}
	return a
}
