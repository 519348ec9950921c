package batches

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

// listView is the list of batches.
type listView struct {
	filter  components.Filter
	table   components.Table
	pager   components.PagerView
	mayMake bool
}

func filterOf(ctx context.Context, l page.List, state string, total int) components.Filter {
	return components.Filter{URL: path, Fields: []components.Field{stateField(ctx, locale.Batch, state)}, Total: total, ClearHref: l.ClearHref("state")}
}

func stateField(ctx context.Context, kind locale.Kind, state string) components.Field {
	f := components.Field{Kind: components.SelectField, Name: "state", Label: locale.T(ctx, "batches.state"), Value: state, Options: []components.Option{{Label: locale.T(ctx, "batches.all")}}}
	for _, word := range locale.Words(kind) {
		f.Options = append(f.Options, components.Option{Value: word, Label: locale.State(ctx, kind, word)})
	}
	return f
}

func listTable(ctx context.Context, rows []store.BatchRow) components.Table {
	t := components.Table{ID: "batches", Caption: locale.T(ctx, "batches.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "batches.number")}, {Label: locale.T(ctx, "batches.work")}, {Label: locale.T(ctx, "batches.site")}, {Label: locale.T(ctx, "batches.made")},
		{Label: locale.T(ctx, "batches.meters"), Align: components.Number}, {Label: locale.State(ctx, locale.BatchMember, billing.MemberVerified), Align: components.Number},
		{Label: locale.T(ctx, "batches.in_doubt"), Align: components.Number}, {Label: locale.State(ctx, locale.BatchMember, billing.MemberSkipped), Align: components.Number, WideOnly: true},
		{Label: locale.T(ctx, "batches.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "batches.none"), Body: locale.T(ctx, "batches.none_body")}}
	for _, b := range rows {
		row := components.Row{ID: string(b.ID), Href: href(b.ID), Cells: []templ.Component{
			components.Text(string(b.ID)), components.Text(work(ctx, b.Kind, b.Action)), components.Text(page.SiteName(ctx, b.Site)), components.When(b.MadeAt),
			components.Count(b.Meters), components.Count(b.Verified), components.Count(b.Doubtful), components.Count(b.Skipped), components.StateBadge(locale.Batch, b.State),
		}}
		if b.Doubtful > 0 {
			row.Tone = components.Danger
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// work is what a batch does, in words.
func work(ctx context.Context, kind billing.BatchKind, action billing.BatchAction) string {
	return locale.State(ctx, locale.BatchKind, kind) + " · " + locale.State(ctx, locale.BatchAction, action)
}

// works are the answers of the form: kind and action.
func works() []string {
	var all []string
	for _, k := range billing.BatchKinds {
		for _, a := range k.Actions() {
			all = append(all, string(k)+"/"+string(a))
		}
	}
	return all
}

// hints say what each action does, beside its choice.
var hints = map[billing.BatchAction]string{
	billing.BatchSetPrices: locale.Key("batches.hint_set_prices"), billing.BatchSetClock: locale.Key("batches.hint_set_clock"), billing.BatchRestore: locale.Key("batches.hint_restore"),
	billing.BatchKeepOn: locale.Key("batches.hint_keep_on"), billing.BatchRelease: locale.Key("batches.hint_release"),
}

func planAction(r *http.Request, gateways []store.Gateway) components.Action {
	ctx := r.Context()
	f := page.FormOf(r, "plan")
	asked := r.URL.Query().Get
	field := func(kind components.FieldKind, name, label, hint string) components.Field {
		return components.Field{Kind: kind, Name: name, Label: label, Hint: hint, Value: f.Value(name, asked(name)), Error: f.Problem(name)}
	}
	what := field(components.ChoiceField, "work", locale.T(ctx, "batches.work"), "")
	what.Required = true
	for _, k := range billing.BatchKinds {
		for _, a := range k.Actions() {
			what.Options = append(what.Options, components.Option{Value: string(k) + "/" + string(a), Label: work(ctx, k, a), Hint: locale.T(ctx, hints[a])})
		}
	}
	site := field(components.SelectField, "site", locale.T(ctx, "batches.site"), "")
	site.Required = true
	for _, s := range page.OwnSites(ctx) {
		site.Options = append(site.Options, components.Option{Value: string(s.ID), Label: page.SiteName(ctx, s.ID)})
	}
	gateway := field(components.SelectField, "gateway", locale.T(ctx, "batches.gateway"), "")
	gateway.Options = []components.Option{{Label: locale.T(ctx, "batches.all")}}
	for _, g := range gateways {
		label := string(g.ID) + " · " + g.Name
		if len(page.OwnSites(ctx)) > 1 {
			label = page.SiteName(ctx, g.Site) + " · " + label
		}
		gateway.Options = append(gateway.Options, components.Option{Value: string(g.ID), Label: label})
	}
	rate := field(components.NumberField, "rate", locale.T(ctx, "batches.rate"), locale.T(ctx, "batches.rate_hint"))
	rate.Unit = locale.T(ctx, "batches.per_minute")
	return components.Action{ID: "plan", Title: locale.T(ctx, "batches.new"), URL: path, Submit: locale.T(ctx, "batches.preview"), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
		Consequence: components.Text(locale.T(ctx, "batches.plan_effect")),
		Fields: []components.Field{
			what, site, gateway, field(components.TextField, "address", locale.T(ctx, "batches.address"), locale.T(ctx, "batches.address_hint")),
			field(components.AreaField, "meters", locale.T(ctx, "batches.list"), locale.T(ctx, "batches.list_hint")), rate,
			components.ReasonField(locale.T(ctx, "batches.reason"), f.Value("reason", ""), f.Problem("reason")),
		}}
}

// showView is one batch with what became of its meters.
type showView struct {
	head     components.Head
	notices  []components.NoticeView
	progress components.ProgressView
	facts    []components.Fact
	skips    components.Table
	filter   components.Filter
	members  components.Table
	pager    components.PagerView
	timeline components.TimelineView
	actions  []components.Action
}

func head(ctx context.Context, b store.BatchRow) components.Head {
	return components.Head{Title: string(b.ID), Subtitle: work(ctx, b.Kind, b.Action) + " · " + page.SiteName(ctx, b.Site), BackHref: path, BackLabel: locale.T(ctx, "batches.title"),
		Badge: components.StateBadge(locale.Batch, b.State)}
}

func notices(ctx context.Context, b store.BatchRow) []components.NoticeView {
	switch {
	case b.State == billing.BatchPreviewed && b.Action.NeedsSecond():
		return []components.NoticeView{{Tone: components.Watch, Title: locale.T(ctx, "batches.preview_title"), Body: locale.T(ctx, "batches.second_body")}}
	case b.State == billing.BatchPreviewed:
		return []components.NoticeView{{Tone: components.Watch, Title: locale.T(ctx, "batches.preview_title"), Body: locale.T(ctx, "batches.preview_body")}}
	case b.State == billing.BatchCancelled:
		return []components.NoticeView{{Tone: components.Danger, Title: locale.T(ctx, "batches.cancelled_title", b.Cancelled), Body: locale.Sentence(ctx, b.EndReason)}}
	case b.Doubtful > 0:
		return []components.NoticeView{{Tone: components.Danger, Title: locale.T(ctx, "batches.doubt_title", b.Doubtful), Body: locale.T(ctx, "batches.doubt_body")}}
	}
	return nil
}

func progress(ctx context.Context, b store.BatchRow) components.ProgressView {
	p := components.ProgressView{Label: locale.T(ctx, "batches.progress"), Done: b.Settled, Total: b.Meters - b.Skipped, Note: locale.T(ctx, "batches.progress_note", b.Skipped, b.Cancelled)}
	if b.Doubtful > 0 {
		p.Tone = components.Danger
	}
	return p
}

func facts(ctx context.Context, b store.BatchRow) []components.Fact {
	fs := []components.Fact{
		{ID: "meters", Label: locale.T(ctx, "batches.meters"), Value: components.Count(b.Meters)},
		{ID: "left", Label: locale.T(ctx, "batches.left"), Value: components.Count(b.Left())},
		{ID: "verified", Label: locale.State(ctx, locale.BatchMember, billing.MemberVerified), Value: components.Count(b.Verified)},
		{ID: "doubtful", Label: locale.T(ctx, "batches.in_doubt"), Value: components.Count(b.Doubtful)},
		{ID: "rate", Label: locale.T(ctx, "batches.rate"), Value: components.Text(strconv.Itoa(b.Rate) + " " + locale.T(ctx, "batches.per_minute"))},
		{ID: "made", Label: locale.T(ctx, "batches.made"), Value: components.When(b.MadeAt), Hint: person(ctx, b.MadeName)},
		{ID: "reason", Label: locale.T(ctx, "batches.reason"), Value: components.Text(reason(ctx, b))},
	}
	if b.State == billing.BatchPreviewed {
		fs = append(fs, components.Fact{ID: "expires", Label: locale.T(ctx, "batches.expires"), Value: components.When(b.ExpiresAt)})
	}
	if b.StartedAt != nil {
		fs = append(fs, components.Fact{ID: "started", Label: locale.T(ctx, "batches.started"), Value: components.When(*b.StartedAt), Hint: person(ctx, b.StartedName)})
	}
	if b.EndedAt != nil {
		fs = append(fs, components.Fact{ID: "ended", Label: locale.T(ctx, "batches.ended"), Value: components.When(*b.EndedAt), Hint: person(ctx, b.EndedName)})
	}
	return fs
}

// person is a name; without one nobody did it but the workflow.
func person(ctx context.Context, name string) string {
	if name == "" {
		return locale.T(ctx, "batches.by_itself")
	}
	return name
}

// reason is why a batch was made; one that no person made says so in the reader's language.
func reason(ctx context.Context, b store.BatchRow) string {
	if b.MadeName == "" {
		return locale.T(ctx, "batches.clock_reason")
	}
	return b.Reason
}

func skipTable(ctx context.Context, skips []store.BatchSkip) components.Table {
	t := components.Table{ID: "skips", Caption: locale.T(ctx, "batches.skips"), Cols: []components.Col{{Label: locale.T(ctx, "batches.why")}, {Label: locale.T(ctx, "batches.meters"), Align: components.Number}}}
	for _, s := range skips {
		t.Rows = append(t.Rows, components.Row{ID: string(s.Skip), Cells: []templ.Component{components.Text(locale.State(ctx, locale.BatchSkip, s.Skip)), components.Count(s.Meters)}})
	}
	return t
}

func memberFilter(ctx context.Context, b store.BatchRow, l page.List, state string, total int) components.Filter {
	return components.Filter{URL: href(b.ID), Fields: []components.Field{stateField(ctx, locale.BatchMember, state)}, Total: total, ClearHref: l.ClearHref("state")}
}

func memberTable(ctx context.Context, b store.BatchRow, members []store.BatchMemberRow) components.Table {
	t := components.Table{ID: "members", Caption: locale.T(ctx, "batches.results"), Cols: []components.Col{
		{Label: locale.T(ctx, "batches.meter")}, {Label: locale.T(ctx, "batches.account")}, {Label: locale.T(ctx, "batches.gateway"), WideOnly: true}, {Label: locale.T(ctx, "batches.state")},
		{Label: locale.T(ctx, "batches.why")}, {Label: locale.T(ctx, "batches.command")}, {Label: locale.T(ctx, "batches.settled")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "batches.no_members"), Body: locale.T(ctx, "batches.no_members_body")}}
	for _, m := range members {
		row := components.Row{ID: string(m.Meter), Cells: []templ.Component{
			components.Link("/meters/"+string(m.Meter), string(m.Meter)), account(m), components.Text(string(m.Gateway)), components.StateBadge(locale.BatchMember, m.State),
			components.Text(why(ctx, b, m)), proof(m), settled(m),
		}}
		if m.State == billing.MemberRefused || m.State == billing.MemberUnknown {
			row.Tone = components.Danger
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func account(m store.BatchMemberRow) templ.Component {
	if m.Account == nil {
		return components.Muted("–")
	}
	where := components.Link("/accounts/"+string(*m.Account), string(*m.Account))
	if m.Address == "" {
		return where
	}
	return components.Lines(where, m.Address)
}

// why says why a meter is left alone, what its clock showed, or what went wrong.
func why(ctx context.Context, b store.BatchRow, m store.BatchMemberRow) string {
	text := ""
	add := func(s string) {
		if s != "" && text != "" {
			text += " · "
		}
		text += s
	}
	if m.Skip != "" {
		add(locale.State(ctx, locale.BatchSkip, m.Skip))
	}
	if b.Action == billing.BatchSetClock && m.SkewBeforeS != nil {
		after := "–"
		if m.SkewAfterS != nil {
			after = strconv.Itoa(*m.SkewAfterS)
		}
		add(locale.T(ctx, "batches.skew", strconv.Itoa(*m.SkewBeforeS), after))
	}
	add(locale.Sentence(ctx, m.Note))
	return text
}

// proof leads to the command with its frames, or to the restore that gives supply back.
func proof(m store.BatchMemberRow) templ.Component {
	switch {
	case m.Command != nil:
		return components.Link(page.TraceHref(string(*m.Command)), string(*m.Command))
	case m.Restore != nil:
		return components.Link(page.TraceHref(*m.Restore), *m.Restore)
	}
	return components.Muted("–")
}

func settled(m store.BatchMemberRow) templ.Component {
	if m.SettledAt == nil {
		return components.Muted("–")
	}
	return components.When(*m.SettledAt)
}

func actions(r *http.Request, b store.BatchRow) []components.Action {
	if b.State.Final() {
		return nil
	}
	ctx := r.Context()
	denied := ""
	if err := auth.Can(page.Actor(ctx), auth.WorkBatch, b.Site); err != nil {
		denied = page.Sentence(ctx, err)
	}
	var all []components.Action
	if b.State == billing.BatchPreviewed {
		f := page.FormOf(r, "start")
		a := components.Action{ID: "start", Title: locale.T(ctx, "batches.start"), URL: href(b.ID) + "/start", Submit: locale.T(ctx, "batches.start_n", b.Left()), Key: "s", Error: f.Error(), Hidden: []components.Hidden{f.Nonce()},
			Consequence: components.Text(locale.T(ctx, hints[b.Action])), Disabled: denied}
		switch {
		case denied != "":
		case b.Left() == 0:
			a.Disabled = locale.T(ctx, "batches.nothing")
		case b.Action.NeedsSecond() && b.MadeBy == page.Actor(ctx).UserID:
			a.Disabled = locale.T(ctx, "batches.second")
		}
		all = append(all, a)
	}
	f := page.FormOf(r, "cancel")
	return append(all, components.Action{ID: "cancel", Title: locale.T(ctx, "batches.cancel"), URL: href(b.ID) + "/cancel", Submit: locale.T(ctx, "batches.cancel"), Tone: components.Danger, Error: f.Error(),
		Hidden: []components.Hidden{f.Nonce()}, Consequence: components.Text(locale.T(ctx, "batches.cancel_effect", b.Left())), Disabled: denied,
		Fields: []components.Field{components.ReasonField(locale.T(ctx, "batches.reason"), f.Value("reason", ""), f.Problem("reason"))}})
}
