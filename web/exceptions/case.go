package exceptions

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// caseView is the page of one case.
type caseView struct {
	head     components.Head
	notice   *components.NoticeView
	why      []string // the rules that fired, in words
	facts    []components.Fact
	usage    *components.Usage
	members  *components.Table
	decided  []components.Fact
	actions  []components.Action // the choice first
	extra    []extraView         // manual value, exchange: folded away
	timeline components.TimelineView
}

// extraView is a form that is opened when it is wanted.
type extraView struct {
	title  string
	open   bool
	action components.Action
}

func caseOf(r *http.Request, c doubt) caseView {
	ctx := r.Context()
	k := c.row
	v := caseView{
		head: components.Head{
			Title: locale.State(ctx, locale.Rule, k.Kind) + " · " + about(k), Subtitle: subtitle(ctx, c), BackHref: base + filterQuery(r), BackLabel: locale.T(ctx, "exceptions.title"),
			Badge: openBadge(ctx, k, c.now),
		},
		why: whyOf(ctx, c), facts: factsOf(ctx, c),
	}
	if k.State == billing.CaseOpen && k.EscalatedAt != nil {
		v.notice = &components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "exceptions.escalated", locale.DateTime(ctx, *k.EscalatedAt)), Body: locale.T(ctx, "exceptions.escalated_body")}
	}
	if len(c.subjects) == 1 && len(c.use) > 0 {
		u := usageOf(ctx, c.subjects[0], c.use)
		v.usage = &u
	}
	if len(c.members) > 1 || k.State == billing.CaseResolved && len(c.members) > 0 {
		t := memberTable(ctx, c)
		v.members = &t
	}
	if k.State == billing.CaseResolved {
		v.head.Badge = components.StateBadge(locale.Case, k.State)
		v.decided = decidedFacts(ctx, k)
		return v
	}
	v.actions, v.extra = actionsOf(r, c)
	return v
}

func subtitle(ctx context.Context, c doubt) string {
	parts := []string{string(c.row.ID), page.SiteName(ctx, c.row.Site)}
	if c.row.State == billing.CaseOpen {
		parts = append(parts, locale.Waiting(ctx, c.row.OpenedAt, c.now), locale.T(ctx, "exceptions.due", locale.DateTime(ctx, c.row.DueAt)))
	}
	return strings.Join(parts, " · ")
}

// whyOf tells the rules that fired. A case of one meter tells all of them, others the sentence of their kind.
func whyOf(ctx context.Context, c doubt) []string {
	if c.row.Kind == store.KindGatewaySilent || c.row.Kind == store.KindSiteSilent || len(c.subjects) != 1 {
		return []string{caseText(ctx, c.row)}
	}
	return findingTexts(ctx, c.subjects[0].member, c.subjects[0].meter.Service)
}

func factsOf(ctx context.Context, c doubt) []components.Fact {
	var facts []components.Fact
	if len(c.subjects) == 1 {
		facts = subjectFacts(ctx, c.subjects[0])
	}
	if m := c.supply; m != nil {
		facts = append(facts, components.Fact{ID: "meter", Label: locale.T(ctx, "exceptions.meter"), Value: components.Link(page.Home("meter", string(m.ID)), string(m.ID))})
	}
	if k := c.row; k.Account != nil {
		facts = append(facts, components.Fact{ID: "account", Label: locale.T(ctx, "exceptions.account"), Value: components.Link(page.Home("account", string(*k.Account)), string(*k.Account)+" "+k.Customer)})
	}
	if c.recharge != nil {
		facts = append(facts, rechargeFacts(ctx, *c.recharge)...)
	}
	if c.command != nil {
		facts = append(facts, commandFacts(ctx, *c.command)...)
	}
	if k := c.row; k.Cycle != nil {
		facts = append(facts, components.Fact{ID: "cycle", Label: locale.T(ctx, "exceptions.cycle"), Value: components.Link(page.Home("cycle", string(*k.Cycle)), string(*k.Cycle))})
	}
	stops := locale.T(ctx, "exceptions.not_blocking")
	if c.row.Blocking {
		stops = locale.T(ctx, "exceptions.blocking_long")
	}
	return append(facts, components.Fact{ID: "stops", Label: locale.T(ctx, "exceptions.stops"), Value: components.Text(stops)})
}

// subjectFacts put the doubtful value beside the last good one.
func subjectFacts(ctx context.Context, s subject) []components.Fact {
	scale, unit := s.meter.Service.Scale(), s.meter.Service.Unit()
	before, value := components.Fact{ID: "before", Label: locale.T(ctx, "exceptions.before")}, components.Fact{ID: "value", Label: locale.T(ctx, "exceptions.value")}
	if s.before != nil {
		before.Value, before.Hint = components.Quantity(s.before.Registers.Total(), scale, unit), locale.DateTime(ctx, s.before.At)
	}
	if s.current != nil {
		value.Value = components.Quantity(s.current.Registers.Total(), scale, unit)
		value.Hint = locale.DateTime(ctx, s.member.FreezeAt) + " · " + locale.State(ctx, locale.Quality, s.current.Quality)
	} else {
		value.Value, value.Hint = components.StateBadge(locale.Quality, "missing"), locale.DateTime(ctx, s.member.FreezeAt)
	}
	use := components.Fact{ID: "use", Label: locale.T(ctx, "exceptions.use")}
	if s.current != nil {
		if raw, ok := s.use(s.current.Registers); ok {
			use.Value = components.Quantity(raw, scale, unit)
		}
	}
	average := components.Fact{ID: "average", Label: locale.T(ctx, "exceptions.average")}
	if s.days > 0 {
		average.Value = components.Quantity(s.used*int64(s.meter.Ratio)/int64(s.days), scale, unit)
		average.Hint = locale.T(ctx, "exceptions.average_days", s.days)
	}
	facts := []components.Fact{
		before, value, use, average,
		{ID: "meter", Label: locale.T(ctx, "exceptions.meter"), Value: components.Link(page.Home("meter", string(s.meter.ID)), string(s.meter.ID)), Hint: s.meter.Address},
	}
	if answer := lineAnswer(s.member.Numbers); answer != "" {
		facts = append(facts, components.Fact{ID: "answer", Label: locale.T(ctx, "exceptions.answer"), Value: components.Muted(locale.Sentence(ctx, answer))})
	}
	return facts
}

func rechargeFacts(ctx context.Context, rc store.CaseRecharge) []components.Fact {
	return []components.Fact{
		{ID: "recharge", Label: locale.T(ctx, "exceptions.recharge"), Value: components.Link(page.Home("recharge", string(rc.ID)), string(rc.ID)), Hint: rc.EnteredName + " · " + locale.DateTime(ctx, rc.EnteredAt)},
		{ID: "amount", Label: locale.T(ctx, "exceptions.amount"), Value: components.Money(rc.AmountFen)},
	}
}

func commandFacts(ctx context.Context, c store.Command) []components.Fact {
	facts := []components.Fact{{
		ID: "command", Label: locale.State(ctx, locale.CommandKind, c.Kind), Value: components.StateBadge(locale.Command, c.State), Hint: string(c.ID) + " · " + locale.DateTime(ctx, c.RequestedAt),
	}}
	pair := func(id, label string, before, intended, after *int64, text func(int64) string) {
		if before == nil && after == nil {
			return
		}
		show := func(n *int64) string {
			if n == nil {
				return "?"
			}
			return text(*n)
		}
		f := components.Fact{ID: id, Label: label, Value: components.Text(show(before) + " → " + show(after))}
		if intended != nil {
			f.Hint = locale.T(ctx, "exceptions.intended", text(*intended))
		}
		facts = append(facts, f)
	}
	pair("count", locale.T(ctx, "exceptions.count"), c.CountBefore, c.CountIntended, c.CountAfter, locale.Count[int64])
	pair("remaining", locale.T(ctx, "exceptions.remaining"), c.RemainingBefore, nil, c.RemainingAfter, locale.Money[int64])
	if c.Readback != "" {
		facts = append(facts, components.Fact{ID: "readback", Label: locale.T(ctx, "exceptions.readback"), Value: components.StateBadge(locale.Supply, c.Readback)})
	}
	if c.Error != "" {
		facts = append(facts, components.Fact{ID: "error", Label: locale.T(ctx, "exceptions.answer"), Value: components.Text(locale.Sentence(ctx, c.Error))})
	}
	return facts
}

// usualDays are needed to say what is usual.
const usualDays = 7

// usageOf is the chart of the doubtful value beside history; the band is what the meter usually uses in a day.
func usageOf(ctx context.Context, s subject, days []store.DayUse) components.Usage {
	u := components.Usage{
		ID: "use", Title: locale.T(ctx, "exceptions.history"), Unit: s.meter.Service.Unit(), Scale: s.meter.Service.Scale(),
		Empty: components.EmptyView{Title: locale.T(ctx, "exceptions.no_history"), Body: locale.T(ctx, "exceptions.no_history_body")},
	}
	var usual []int64
	for _, d := range days {
		bar := components.UsageBar{Day: d.Day.Start(locale.Zone(ctx)), Raw: d.Raw * int64(s.meter.Ratio), Quality: string(d.Quality), Doubtful: d.Doubtful}
		if d.Quality == "" {
			bar.Quality = "missing"
		} else if !d.Doubtful {
			usual = append(usual, bar.Raw)
		}
		u.Bars = append(u.Bars, bar)
	}
	if len(usual) >= usualDays {
		slices.Sort(usual)
		u.Low, u.High = usual[len(usual)/10], usual[len(usual)-1-len(usual)/10] // without the odd tenth at either end
	}
	return u
}

func decidedFacts(ctx context.Context, k store.CaseRow) []components.Fact {
	decision := "–"
	if k.Decision != nil {
		decision = decisionWord(ctx, *k.Decision)
	}
	by := k.DecidedName
	if by == "" {
		by = locale.T(ctx, "exceptions.by_proof")
	}
	return []components.Fact{
		{ID: "decision", Label: locale.T(ctx, "exceptions.decision"), Value: components.Text(decision)},
		{ID: "by", Label: locale.T(ctx, "exceptions.by"), Value: components.Text(by)},
		{ID: "at", Label: locale.T(ctx, "exceptions.at"), Value: components.When(*k.ResolvedAt)},
		{ID: "reason", Label: locale.T(ctx, "exceptions.reason"), Value: components.Text(locale.Sentence(ctx, k.Reason))},
	}
}
