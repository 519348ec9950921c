package rounds

import (
	"context"
	"encoding/json"
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
	"github.com/meterflow/meterflow/workflows"
)

// roundView is one round with its list and its story.
type roundView struct {
	head     components.Head
	notices  []components.NoticeView
	facts    []components.Fact
	items    components.Table
	findings components.Table
	timeline *components.TimelineView
	actions  []components.Action
}

const timelineLength = 100

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rd, err := h.one(r)
	if err != nil {
		return err
	}
	items, err := h.Store.RoundItems(ctx, rd.ID)
	if err != nil {
		return err
	}
	v := roundView{head: head(ctx, rd), notices: notices(ctx, rd), facts: facts(ctx, rd), items: itemTable(ctx, rd, items)}
	if !isReader(ctx) {
		found, _, err := h.Store.FindingPage(ctx, store.FindingFilter{Sites: page.Actor(ctx).Sites, Round: rd.ID}, page.PerPage, 0)
		if err != nil {
			return err
		}
		v.findings = findingTable(ctx, found)
		events, err := h.Store.Timeline(ctx, page.Actor(ctx).Sites, string(rd.ID), 0, timelineLength)
		if err != nil {
			return err
		}
		story := page.Timeline(ctx, "round", string(rd.ID), events)
		v.timeline = &story
	}
	if v.actions, err = h.actions(r, rd); err != nil {
		return err
	}
	return h.Render(w, r, page.View{Title: string(rd.ID), Nav: path, Body: show(v)})
}

func head(ctx context.Context, rd store.RoundRow) components.Head {
	v := components.Head{
		Title: string(rd.ID), Subtitle: rd.RouteName + " · " + page.SiteName(ctx, rd.Site) + " · " + locale.Day(ctx, rd.DueOn.Start(page.SiteZone(ctx, rd.Site))),
		BackHref: path, BackLabel: locale.T(ctx, "rounds.title"), Badge: components.StateBadge(locale.Round, rd.State),
	}
	v.Actions = headLinks(href(rd.ID), mayEnter(ctx, rd) == nil)
	return v
}

// notices say what the reader or the supervisor must know first.
func notices(ctx context.Context, rd store.RoundRow) []components.NoticeView {
	var out []components.NoticeView
	if rd.Returns > 0 && (rd.State == billing.RoundInProgress || rd.State == billing.RoundAssigned) {
		out = append(out, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "rounds.returned"), Body: rd.Reason})
	}
	if rd.State == billing.RoundCancelled {
		out = append(out, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "rounds.cancelled"), Body: rd.Reason})
	}
	if rd.LateAt != nil && !rd.State.Final() {
		out = append(out, components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "rounds.late"), Body: locale.T(ctx, "rounds.late_body", rd.OnTimeDays)})
	}
	return out
}

func facts(ctx context.Context, rd store.RoundRow) []components.Fact {
	when := func(id, label, name string, at *time.Time) components.Fact {
		f := components.Fact{ID: id, Label: label}
		if at != nil {
			f.Value, f.Hint = components.When(*at), name
		}
		return f
	}
	shown := locale.T(ctx, "rounds.last_hidden")
	if rd.ShowLast {
		shown = locale.T(ctx, "rounds.last_shown")
	}
	reader := components.Fact{ID: "reader", Label: locale.T(ctx, "rounds.reader")}
	if rd.ReaderName != "" {
		reader.Value = components.Text(rd.ReaderName)
	}
	if rd.AssignedAt != nil {
		reader.Hint = locale.T(ctx, "rounds.assigned_at", locale.DateTime(ctx, *rd.AssignedAt))
	}
	return []components.Fact{
		{ID: "kind", Label: locale.T(ctx, "rounds.kind"), Value: components.Text(locale.State(ctx, locale.RoundKind, rd.Kind)), Hint: shown},
		{ID: "due", Label: locale.T(ctx, "rounds.due"), Value: components.Day(rd.DueOn.Start(page.SiteZone(ctx, rd.Site))), Hint: locale.T(ctx, "rounds.on_time", rd.OnTimeDays)},
		reader,
		{ID: "progress", Label: locale.T(ctx, "rounds.progress"), Value: components.Text(locale.T(ctx, "rounds.of", rd.Entered, rd.Meters)), Hint: notes(ctx, rd)},
		when("submitted", locale.T(ctx, "rounds.submitted_at"), rd.ReaderName, rd.SubmittedAt),
		when("checked", locale.T(ctx, "rounds.checked_at"), rd.CheckerName, rd.CheckedAt),
	}
}

// seesLast says whether the last values may be shown to the person: the reader is kept from copying them when policy says so.
func seesLast(ctx context.Context, rd store.Round) bool { return rd.ShowLast || !isReader(ctx) }

func itemTable(ctx context.Context, rd store.RoundRow, items []store.RoundItem) components.Table {
	t := components.Table{ID: "items", Caption: locale.T(ctx, "rounds.list"), Cols: []components.Col{
		{Label: "#", Align: components.Number}, {Label: locale.T(ctx, "rounds.meter")}, {Label: locale.T(ctx, "rounds.address")},
	}}
	last := seesLast(ctx, rd.Round)
	if last {
		t.Cols = append(t.Cols, components.Col{Label: locale.T(ctx, "rounds.last"), Align: components.Number, WideOnly: true})
	}
	t.Cols = append(t.Cols, components.Col{Label: locale.T(ctx, "rounds.value"), Align: components.Number}, components.Col{Label: locale.T(ctx, "rounds.taken_at")},
		components.Col{Label: locale.T(ctx, "rounds.remarks")})
	enter := mayEnter(ctx, rd) == nil
	for _, i := range items {
		row := components.Row{ID: strconv.Itoa(i.Seq), Cells: []templ.Component{components.Count(i.Seq), components.Lines(components.Text(string(i.Meter)), i.Serial), components.Text(i.Address)}}
		switch {
		case enter:
			row.Href = href(rd.ID) + "/enter?seq=" + strconv.Itoa(i.Seq)
		case !isReader(ctx) && i.Case != nil:
			row.Href = page.Home("case", string(*i.Case))
		}
		if last {
			row.Cells = append(row.Cells, valueCell(ctx, i.Service, i.Last))
		}
		taken := components.Muted("–")
		if i.TakenAt != nil {
			taken = components.When(*i.TakenAt)
		}
		value := valueCell(ctx, i.Service, i.Registers)
		if i.NoReading != "" {
			value = components.Muted(locale.State(ctx, locale.NoReading, i.NoReading))
		}
		row.Cells = append(row.Cells, value, taken, components.Text(remarks(ctx, rd.Round, i)))
		if i.Outcome == "doubtful" || len(warningsOf(i)) > 0 {
			row.Tone = components.Watch
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// valueCell is a total with its unit.
func valueCell(_ context.Context, service billing.Service, registers billing.Registers) templ.Component {
	if len(registers) == 0 {
		return components.Muted("–")
	}
	return components.Quantity(registers.Total(), service.Scale(), service.Unit())
}

func warningsOf(i store.RoundItem) []workflows.RoundWarning {
	var ws []workflows.RoundWarning
	if json.Unmarshal(i.Warnings, &ws) != nil {
		return nil
	}
	return ws
}

// remarks are what the checks said, how often a value was replaced, and the reader's note.
func remarks(ctx context.Context, rd store.Round, i store.RoundItem) string {
	text := ""
	add := func(s string) {
		if s == "" {
			return
		}
		if text != "" {
			text += " · "
		}
		text += s
	}
	for _, w := range warningsOf(i) {
		add(warningText(ctx, w, seesLast(ctx, rd), i.Service))
	}
	if i.Changes > 0 {
		add(locale.T(ctx, "rounds.changed", i.Changes))
	}
	if i.Outcome == "doubtful" {
		add(locale.T(ctx, "rounds.in_doubt"))
	}
	add(i.Note)
	return text
}

// actions are what the person can do with the round now. A button that can't be used says why.
func (h handler) actions(r *http.Request, rd store.RoundRow) ([]components.Action, error) {
	ctx := r.Context()
	actor := page.Actor(ctx)
	var out []components.Action
	if mayEnter(ctx, rd) == nil {
		out = append(out, submitAction(r, rd))
	}
	if rd.State == billing.RoundSubmitted && auth.Can(actor, auth.CheckRound, rd.Site) == nil {
		out = append(out, stepAction(r, rd, "accept", false, components.Neutral), stepAction(r, rd, "return", true, components.Neutral))
	}
	if auth.Can(actor, auth.PlanRound, rd.Site) != nil {
		return out, nil
	}
	switch rd.State {
	case billing.RoundPlanned, billing.RoundAssigned, billing.RoundInProgress:
		assign, err := h.assignAction(r, rd)
		if err != nil {
			return nil, err
		}
		out = append(out, assign, stepAction(r, rd, "cancel", true, components.Danger))
	case billing.RoundSubmitted:
		out = append(out, stepAction(r, rd, "cancel", true, components.Danger))
	}
	return out, nil
}

// words are the titles and consequences of the steps.
var words = map[string]struct{ title, effect string }{
	"submit": {locale.Key("rounds.submit"), locale.Key("rounds.submit_effect")},
	"accept": {locale.Key("rounds.accept"), locale.Key("rounds.accept_effect")},
	"return": {locale.Key("rounds.return"), locale.Key("rounds.return_effect")},
	"cancel": {locale.Key("rounds.cancel"), locale.Key("rounds.cancel_effect")},
}

func stepAction(r *http.Request, rd store.RoundRow, step string, reason bool, tone components.Tone) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, step)
	w := words[step]
	a := components.Action{ID: step, Title: locale.T(ctx, w.title), URL: href(rd.ID) + "/" + step, Submit: locale.T(ctx, w.title), Error: f.Error(), Tone: tone,
		Hidden: []components.Hidden{f.Nonce()}, Consequence: components.Text(locale.T(ctx, w.effect))}
	if reason {
		a.Fields = []components.Field{components.ReasonField(locale.T(ctx, "rounds.reason"), f.Value("reason", ""), f.Problem("reason"))}
	}
	return a
}

func submitAction(r *http.Request, rd store.RoundRow) components.Action {
	a := stepAction(r, rd, "submit", false, components.Neutral)
	if left := rd.Meters - rd.Entered; left > 0 {
		a.Disabled = locale.T(r.Context(), "rounds.submit_left", left)
	}
	return a
}

func (h handler) assignAction(r *http.Request, rd store.RoundRow) (components.Action, error) {
	ctx := r.Context()
	readers, err := h.Store.Readers(ctx, rd.Site)
	if err != nil {
		return components.Action{}, err
	}
	last, n, err := h.Store.ReadersInRow(ctx, rd.Route, rd.ID)
	if err != nil {
		return components.Action{}, err
	}
	f := page.FormOf(r, "assign")
	var options []components.Option
	for _, u := range readers {
		o := components.Option{Value: string(u.ID), Label: u.Name}
		if u.ID == last {
			o.Label += " · " + locale.T(ctx, "rounds.in_row", n)
		}
		options = append(options, o)
	}
	current := ""
	if rd.Reader != nil {
		current = string(*rd.Reader)
	}
	a := components.Action{ID: "assign", Title: locale.T(ctx, "rounds.assign"), URL: href(rd.ID) + "/assign", Submit: locale.T(ctx, "rounds.assign"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Fields: []components.Field{
			{Kind: components.SelectField, Name: "reader", Label: locale.T(ctx, "rounds.reader"), Value: f.Value("reader", current), Error: f.Problem("reader"), Required: true, Options: options},
			{Kind: components.TextField, Name: "reason", Label: locale.T(ctx, "rounds.assign_reason"), Value: f.Value("reason", ""), Error: f.Problem("reason"), Hint: locale.T(ctx, "rounds.assign_hint"), MaxLength: 200},
		}}
	if rd.Entered > 0 {
		a.Consequence = components.Text(locale.T(ctx, "rounds.assign_effect", rd.Entered))
	}
	if len(options) == 0 {
		a.Disabled = locale.T(ctx, "rounds.no_reader")
	}
	return a, nil
}
