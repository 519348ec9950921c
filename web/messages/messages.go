// Package messages is what was sent to customers and what became of it: queued, sent, delivered by the provider's own receipt, or failed.
// It sends nothing.
package messages

import (
	"context"
	"net/http"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

const path = "/messages"

// Routes serves the pages.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(path, d.Handle(h.list))
	r.Get(path+"/{id}", d.Handle(h.show))
}

type handler struct{ page.Deps }

type listView struct {
	tabs   []components.Tab
	filter components.Filter
	table  components.Table
	pager  components.PagerView
}

type showView struct {
	head     components.Head
	body     string
	facts    []components.Fact
	timeline components.TimelineView
}

func (h handler) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := page.ListOf(r)
	f := store.MessageFilter{Sites: page.Sites(ctx), State: l.One("state", locale.Words(locale.Message)...), Kind: l.One("kind", locale.Words(locale.MessageKind)...), Text: l.Get("q")}
	if site := billing.SiteID(l.Get("site")); page.Actor(ctx).HasSite(site) {
		f.Sites = []billing.SiteID{site}
	}
	if day, err := billing.ParseDate(l.Get("since")); err == nil {
		f.Since = day.Start(locale.Zone(ctx))
	}
	rows, total, err := h.Store.MessagePage(ctx, f, l.Limit(), l.Offset())
	if err != nil {
		return err
	}
	v := listView{tabs: tabs(ctx, l), filter: filterBar(ctx, l, total), table: table(ctx, rows), pager: l.Pager(len(rows), total)}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "messages.title"), Nav: path, Body: list(v)})
}

func tabs(ctx context.Context, l page.List) []components.Tab {
	state := l.Get("state")
	list := []components.Tab{{Label: locale.T(ctx, "messages.all"), Href: path, Active: state == ""}}
	for _, s := range []billing.MessageState{billing.MessageFailed, billing.MessageSent, billing.MessageDelivered} {
		list = append(list, components.Tab{Label: locale.State(ctx, locale.Message, s), Href: path + "?state=" + string(s), Active: state == string(s)})
	}
	return list
}

func filterBar(ctx context.Context, l page.List, total int) components.Filter {
	fields := []components.Field{
		{Kind: components.SearchField, Name: "q", Label: locale.T(ctx, "messages.find"), Value: l.Get("q"), MaxLength: 64},
		{Kind: components.SelectField, Name: "state", Label: locale.T(ctx, "messages.state"), Value: l.Get("state"), Options: options(ctx, locale.Message)},
		{Kind: components.SelectField, Name: "kind", Label: locale.T(ctx, "messages.kind"), Value: l.Get("kind"), Options: options(ctx, locale.MessageKind)},
	}
	if own := page.Sites(ctx); len(own) > 1 {
		sites := []components.Option{{Label: locale.T(ctx, "messages.any")}}
		for _, id := range own {
			sites = append(sites, components.Option{Value: string(id), Label: page.SiteName(ctx, id)})
		}
		fields = append(fields, components.Field{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "messages.site"), Value: l.Get("site"), Options: sites})
	}
	return components.Filter{URL: path, Fields: fields, Total: total, ClearHref: l.ClearHref("q", "state", "kind", "site", "since")}
}

func options(ctx context.Context, kind locale.Kind) []components.Option {
	list := []components.Option{{Label: locale.T(ctx, "messages.any")}}
	for _, w := range locale.Words(kind) {
		list = append(list, components.Option{Value: w, Label: locale.State(ctx, kind, w)})
	}
	return list
}

func table(ctx context.Context, rows []store.MessageRow) components.Table {
	t := components.Table{ID: "messages", Caption: locale.T(ctx, "messages.title"), Cols: []components.Col{
		{Label: locale.T(ctx, "messages.number")}, {Label: locale.T(ctx, "messages.to")}, {Label: locale.T(ctx, "messages.text")},
		{Label: locale.T(ctx, "messages.cause")}, {Label: locale.T(ctx, "messages.queued")}, {Label: locale.T(ctx, "messages.state")},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "messages.none"), Body: locale.T(ctx, "messages.none_body")}}
	for _, m := range rows {
		row := components.Row{ID: string(m.ID), Href: path + "/" + string(m.ID), Cells: []templ.Component{
			components.Lines(components.Text(string(m.ID)), locale.State(ctx, locale.MessageKind, m.Kind)),
			components.Lines(components.Link("/accounts/"+string(m.Account), string(m.Account)), m.Customer), components.Text(m.Body),
			causeLink(m.Message), components.When(m.QueuedAt), components.StateBadge(locale.Message, m.State),
		}}
		if m.State == billing.MessageFailed {
			row.Tone = components.Danger
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// causes are the kinds of the journal behind the first letter of a number.
var causes = map[byte]string{'R': "recharge", 'N': "reminder", 'C': "cutoff", 'O': "restore"}

// causeLink leads to what the message is about.
func causeLink(m store.Message) templ.Component {
	number := m.Number()
	if number == "" {
		return components.Muted("–")
	}
	return components.Link(page.Home(causes[number[0]], number), number)
}

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	m, err := h.Store.MessageRow(ctx, billing.MessageID(page.Param(r, "id")))
	if err != nil {
		return err
	}
	if err := page.See(ctx, m.Site); err != nil {
		return err
	}
	events, err := h.Store.Timeline(ctx, page.Actor(ctx).Sites, string(m.ID), 0, page.PerPage)
	if err != nil {
		return err
	}
	v := showView{
		head: components.Head{Title: string(m.ID), Subtitle: locale.State(ctx, locale.MessageKind, m.Kind) + " · " + m.Customer, BackHref: path, BackLabel: locale.T(ctx, "messages.title"),
			Badge: components.StateBadge(locale.Message, m.State)},
		body: m.Body, facts: facts(ctx, m), timeline: page.Timeline(ctx, "message", string(m.ID), events),
	}
	return h.Render(w, r, page.View{Title: string(m.ID), Nav: path, Body: show(v)})
}

func facts(ctx context.Context, m store.MessageRow) []components.Fact {
	fs := []components.Fact{
		{ID: "account", Label: locale.T(ctx, "messages.account"), Value: components.Link("/accounts/"+string(m.Account), string(m.Account)), Hint: m.Customer},
		{ID: "phone", Label: locale.T(ctx, "messages.phone"), Value: components.Text(m.Phone)},
		{ID: "cause", Label: locale.T(ctx, "messages.cause"), Value: causeLink(m.Message)},
		{ID: "queued", Label: locale.T(ctx, "messages.queued"), Value: components.When(m.QueuedAt)},
		{ID: "sent", Label: locale.T(ctx, "messages.sent"), Hint: m.ProviderNo},
		{ID: "delivered", Label: locale.T(ctx, "messages.delivered"), Hint: locale.T(ctx, "messages.receipt_hint")},
	}
	if m.SentAt != nil {
		fs[4].Value = components.When(*m.SentAt)
	}
	if m.DeliveredAt != nil {
		fs[5].Value = components.When(*m.DeliveredAt)
	}
	if m.Error != "" {
		fs = append(fs, components.Fact{ID: "error", Label: locale.T(ctx, "messages.error"), Value: components.Text(locale.Sentence(ctx, m.Error))})
	}
	return fs
}
