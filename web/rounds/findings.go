package rounds

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

// findingsView is what was found about readers' work, with the form that settles the first open one of the list, or the one chosen.
type findingsView struct {
	tabs []components.Tab
	// schedule is how each reader's readings came, over the last quarter.
	schedule components.Table
	table    components.Table
	pager    components.PagerView
	settle   *components.Action
}

// readerDays is how far back a reader's schedule is counted: a quarter, in which each of them has walked every kind of route.
const readerDays = 92

func (h handler) findings(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	actor := page.Actor(ctx)
	// What the checks say about readers is for those who supervise them.
	if err := auth.Can(actor, auth.View, ""); err != nil {
		return err
	}
	l := page.ListOf(r)
	rows, total, err := h.Store.FindingPage(ctx, store.FindingFilter{Sites: page.Sites(ctx), Reader: billing.UserID(l.Get("reader")), Open: l.Get("open") != ""}, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	since := billing.DateOf(page.Now(ctx), locale.Zone(ctx)).AddDays(-readerDays)
	schedules, err := h.Store.ReaderSchedules(ctx, page.Sites(ctx), since)
	if err != nil {
		return err
	}
	counts, err := h.Store.RoundCounts(ctx, page.Sites(ctx), actor.UserID)
	if err != nil {
		return err
	}
	v := findingsView{tabs: tabs(ctx, "findings", counts), schedule: scheduleTable(ctx, schedules), table: findingTable(ctx, rows), pager: l.Pager(len(rows), total)}
	if auth.Can(actor, auth.CheckRound, "") == nil {
		v.settle = settleAction(r, rows)
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "rounds.findings"), Nav: path, Body: findings(v)})
}

// scheduleTable says per reader how their lines came, one line each.
func scheduleTable(ctx context.Context, readers []store.ReaderSchedule) components.Table {
	number := func(key string) components.Col {
		return components.Col{Label: locale.T(ctx, key), Align: components.Number}
	}
	t := components.Table{ID: "schedule", Caption: locale.T(ctx, "rounds.schedule"), Cols: []components.Col{
		{Label: locale.T(ctx, "rounds.reader")}, number(locale.T(ctx, "rounds.schedule_rounds")), number(locale.T(ctx, "rounds.meters")), number(locale.T(ctx, "cycles.on_schedule")), number(locale.T(ctx, "cycles.made_up")),
		number(locale.T(ctx, "cycles.came_late")), number(locale.State(ctx, locale.Quality, "estimated")), number(locale.State(ctx, locale.Quality, "missing")),
	}}
	for _, r := range readers {
		row := components.Row{ID: "reader-" + string(r.Reader), Cells: []templ.Component{
			components.Link(path+"/findings?reader="+string(r.Reader), r.ReaderName), components.Count(r.Rounds), components.Count(r.Planned), components.Count(r.OnSchedule),
			components.Count(r.MadeUp), components.Count(r.Late), components.Count(r.Estimated), components.Count(r.Missing),
		}}
		if r.Late+r.Missing > 0 {
			row.Tone = components.Watch
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func findingTable(ctx context.Context, rows []store.ReaderFinding) components.Table {
	t := components.Table{ID: "findings", Caption: locale.T(ctx, "rounds.findings"), Cols: []components.Col{
		{Label: locale.T(ctx, "rounds.found")}, {Label: locale.T(ctx, "rounds.reader")}, {Label: locale.T(ctx, "rounds.round")},
		{Label: locale.T(ctx, "rounds.found_at")}, {Label: locale.T(ctx, "rounds.answer")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "rounds.no_findings"), Body: locale.T(ctx, "rounds.no_findings_body")}}
	for _, f := range rows {
		row := components.Row{ID: strconv.FormatInt(f.ID, 10), Cells: []templ.Component{
			components.Lines(components.Text(locale.State(ctx, locale.ReaderRule, f.Rule)), findingText(ctx, f)), components.Text(f.ReaderName),
			components.Lines(components.Link(href(f.Round), string(f.Round)), f.RouteName), components.When(f.FoundAt),
		}}
		if f.SettledAt == nil {
			row.Tone = components.Watch
			row.Cells = append(row.Cells, components.Badge(components.Watch, locale.T(ctx, "rounds.unanswered")))
		} else {
			row.Cells = append(row.Cells, components.Lines(components.Text(f.Answer), settler(ctx, f)))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func settler(ctx context.Context, f store.ReaderFinding) string {
	if f.Settler == nil {
		return ""
	}
	return *f.Settler + " · " + locale.DateTime(ctx, *f.SettledAt)
}

// settleAction asks what the matter was. It is about one finding at a time: each needs an answer of its own.
func settleAction(r *http.Request, rows []store.ReaderFinding) *components.Action {
	ctx := r.Context()
	var open *store.ReaderFinding
	for i := range rows {
		if rows[i].SettledAt == nil && (open == nil || strconv.FormatInt(rows[i].ID, 10) == page.Param(r, "finding")) {
			open = &rows[i]
		}
	}
	if open == nil {
		return nil
	}
	f := page.FormOf(r, "settle")
	return &components.Action{
		ID: "settle", Title: locale.T(ctx, "rounds.settle"), URL: path + "/findings/" + strconv.FormatInt(open.ID, 10), Submit: locale.T(ctx, "rounds.settle"), Error: f.Error(),
		Consequence: components.Facts([]components.Fact{
			{ID: "settle-what", Label: locale.T(ctx, "rounds.found"), Value: components.Text(locale.State(ctx, locale.ReaderRule, open.Rule)), Hint: findingText(ctx, *open)},
			{ID: "settle-who", Label: locale.T(ctx, "rounds.reader"), Value: components.Text(open.ReaderName), Hint: string(open.Round) + " · " + open.RouteName},
		}),
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "rounds.answer_field"), f.Value("reason", ""), f.Problem("reason"))},
	}
}

// settle keeps a supervisor's answer. It drives no process, so it is one change of the store with its journal row.
func (h handler) settle(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	id, err := strconv.ParseInt(page.Param(r, "finding"), 10, 64)
	if err != nil {
		return page.Done{}, billing.Errorf(billing.CodeNotFound, "there is no such record")
	}
	f, err := h.Store.Finding(ctx, id)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.CheckRound, f.Site); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if err := h.Store.SettleFinding(ctx, store.By{Actor: string(page.Actor(ctx).UserID), Reason: reason}, id); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: path + "/findings", Said: locale.T(ctx, "rounds.said_settled")}, nil
}
