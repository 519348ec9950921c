package cycles

import (
	"context"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// cycleView is one cycle.
type cycleView struct {
	head     components.Head
	progress components.ProgressView
	facts    []components.Fact
	schedule scheduleView
	strips   []components.StripView
	odd      components.Table // meters without an actual reading
	cases    components.Table
	timeline components.TimelineView
}

// scheduleView is how the readings came, against the planned day.
type scheduleView struct {
	note  string
	facts []components.Fact
}

func scheduleOf(ctx context.Context, s store.Schedule) scheduleView {
	v := scheduleView{note: locale.T(ctx, "cycles.schedule_note", s.OnTimeDays), facts: []components.Fact{
		{ID: "on-schedule", Label: locale.T(ctx, "cycles.on_schedule"), Value: components.Count(s.OnSchedule), Hint: locale.T(ctx, "cycles.on_schedule_hint")},
		{ID: "made-up", Label: locale.T(ctx, "cycles.made_up"), Value: components.Count(s.MadeUp), Hint: locale.T(ctx, "cycles.made_up_hint")},
		{ID: "late", Label: locale.T(ctx, "cycles.came_late"), Value: components.Count(s.Late), Hint: locale.T(ctx, "cycles.came_late_hint", s.OnTimeDays)},
		{ID: "estimated", Label: locale.State(ctx, locale.Quality, "estimated"), Value: components.Count(s.Estimated), Hint: locale.T(ctx, "cycles.estimated_hint")},
		{ID: "missing", Label: locale.State(ctx, locale.Quality, "missing"), Value: components.Count(s.Missing), Hint: locale.T(ctx, "cycles.missing_hint")},
	}}
	if s.Pending > 0 {
		v.facts = append(v.facts, components.Fact{ID: "pending", Label: locale.T(ctx, "cycles.pending"), Value: components.Count(s.Pending)})
	}
	return v
}

func cycleOf(ctx context.Context, c store.CycleRow, schedule store.Schedule, results []store.CycleResult, cases []store.CaseRow, now time.Time) cycleView {
	return cycleView{
		head: components.Head{
			Title: locale.T(ctx, "cycles.of", page.SiteName(ctx, c.Site), locale.Day(ctx, c.FreezeAt)), Subtitle: string(c.ID),
			BackHref: base, BackLabel: locale.T(ctx, "cycles.title"), Badge: components.StateBadge(locale.Cycle, c.State),
			Actions: components.ButtonLink(page.TraceHref(string(c.ID)), locale.T(ctx, "cycles.trace"), false),
		},
		progress: progressOf(ctx, c, now),
		facts:    cycleFacts(ctx, c, now),
		schedule: scheduleOf(ctx, schedule),
		strips:   strips(results),
		odd:      oddTable(ctx, results),
		cases:    caseTable(ctx, cases, now),
	}
}

func cycleFacts(ctx context.Context, c store.CycleRow, now time.Time) []components.Fact {
	return []components.Fact{
		{ID: "freeze", Label: locale.T(ctx, "cycles.freeze"), Value: components.When(c.FreezeAt)},
		{ID: "plan", Label: locale.T(ctx, "cycles.time"), Value: components.Text(timeAgainstPlan(ctx, c, now))},
		{ID: "planned", Label: locale.T(ctx, "cycles.planned"), Value: components.Count(c.Planned)},
		{ID: "passes", Label: locale.T(ctx, "cycles.passes"), Value: components.Count(c.Passes)},
		{ID: "read", Label: locale.State(ctx, locale.Quality, "actual"), Value: components.Count(c.Read)},
		{ID: "manual", Label: locale.State(ctx, locale.Quality, "manual"), Value: components.Count(c.Manual)},
	}
}

// cellState is the result of one meter in the words of a strip.
func cellState(r store.CycleResult) string {
	switch {
	case r.Outcome == "planned":
		return "pending"
	case r.Quality != "" && r.Outcome != "silent" && r.Outcome != "refused" && r.Outcome != "wrong":
		return string(r.Quality)
	case r.Outcome == "read":
		return string(billing.QualityActual)
	case r.Outcome == "estimated", r.Outcome == "manual":
		return r.Outcome
	default:
		return "missing"
	}
}

func strips(results []store.CycleResult) []components.StripView {
	var list []components.StripView
	var last billing.GatewayID
	for _, r := range results {
		if r.Gateway != last {
			last = r.Gateway
			list = append(list, components.StripView{Label: string(r.Gateway) + " · " + r.GatewayName, Href: "/meters?gateway=" + string(r.Gateway)})
		}
		s := &list[len(list)-1]
		s.Cells = append(s.Cells, components.StripCell{Label: string(r.Meter), State: cellState(r), Href: page.Home("meter", string(r.Meter))})
	}
	return list
}

var outcomeKeys = map[string]string{
	"silent": locale.Key("cycles.silent"), "refused": locale.Key("cycles.refused"), "wrong": locale.Key("cycles.wrong"),
}

// oddTable lists the meters that gave no actual reading that is believed.
func oddTable(ctx context.Context, results []store.CycleResult) components.Table {
	t := components.Table{ID: "odd", Caption: locale.T(ctx, "cycles.odd"), Cols: []components.Col{
		{Label: locale.T(ctx, "cycles.meter")}, {Label: locale.T(ctx, "cycles.gateway"), WideOnly: true}, {Label: locale.T(ctx, "cycles.result")}, {Label: locale.T(ctx, "cycles.why")},
	}}
	for _, r := range results {
		state := cellState(r)
		if state == "pending" || (state == string(billing.QualityActual) && !r.Doubtful) {
			continue
		}
		result, why := components.StateBadge(locale.Quality, state), locale.Sentence(ctx, r.Error)
		if key, ok := outcomeKeys[r.Outcome]; ok {
			why = locale.T(ctx, key)
			if r.Error != "" {
				why += " · " + locale.Sentence(ctx, r.Error)
			}
		}
		if r.Doubtful {
			result, why = components.Badge(components.Danger, locale.T(ctx, "cycles.doubtful")), locale.T(ctx, "cycles.doubtful_why")
		}
		t.Rows = append(t.Rows, components.Row{ID: string(r.Meter), Href: page.Home("meter", string(r.Meter)), Cells: []templ.Component{
			components.Code(string(r.Meter)), components.Text(r.GatewayName), result, components.Muted(why),
		}})
	}
	return t
}

func caseTable(ctx context.Context, cases []store.CaseRow, now time.Time) components.Table {
	t := components.Table{ID: "cases", Caption: locale.T(ctx, "cycles.cases_title"), Cols: []components.Col{
		{Label: locale.T(ctx, "cycles.case")}, {Label: locale.T(ctx, "cycles.kind")}, {Label: locale.T(ctx, "cycles.subject")},
		{Label: locale.T(ctx, "cycles.meters"), Align: components.Number, WideOnly: true}, {Label: locale.T(ctx, "cycles.state")}, {Label: locale.T(ctx, "cycles.waits"), WideOnly: true},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "cycles.no_cases"), Body: locale.T(ctx, "cycles.no_cases_body")}}
	for _, k := range cases {
		row := components.Row{ID: string(k.ID), Href: page.Home("case", string(k.ID)), Cells: []templ.Component{
			components.Code(string(k.ID)), components.Text(locale.State(ctx, locale.Rule, k.Kind)), components.Text(subject(k)), components.Count(k.Members),
			components.StateBadge(locale.Case, k.State), components.Muted("–"),
		}}
		if k.State == billing.CaseOpen {
			row.Cells[5] = components.Waited(k.OpenedAt, now)
			if now.After(k.DueAt) {
				row.Tone = components.Danger
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// subject is what a case is about: a meter with its customer, or a gateway.
func subject(k store.CaseRow) string {
	switch {
	case k.Meter != nil && k.Customer != "":
		return string(*k.Meter) + " · " + k.Customer
	case k.Meter != nil:
		return string(*k.Meter)
	case k.Gateway != nil:
		return k.GatewayName
	default:
		return k.Cause
	}
}
