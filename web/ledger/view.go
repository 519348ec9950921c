package ledger

import (
	"context"
	"net/http"
	"strings"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// chartView is the chart of accounts with its trial balance.
type chartView struct {
	subtitle string
	tabs     []components.Tab
	asOf     AsOfView
	sites    []booksView
	open     *components.Action // nil for whom it isn't
	refused  bool
}

type booksView struct {
	id, name, note string
	table          components.Table
}

func tabs(ctx context.Context, active string) []components.Tab {
	return []components.Tab{
		{Label: locale.T(ctx, "ledger.chart"), Href: path, Active: active == path},
		{Label: locale.T(ctx, "ledger.days"), Href: daysPath, Active: active == daysPath},
		{Label: locale.T(ctx, "ledger.holds_waiting"), Href: waitingPath, Active: active == waitingPath},
		{Label: locale.T(ctx, "ledger.holds_open"), Href: holdsPath, Active: active == holdsPath},
	}
}

func nameOf(ctx context.Context, zh, en string) string {
	if locale.Lang(ctx) == locale.EN {
		return en
	}
	return zh
}

// amountOrNone leaves a column of a two-column sum empty.
func amountOrNone(m billing.Money) templ.Component {
	if m == 0 {
		return components.Muted("")
	}
	return components.Money(m)
}

// sides puts a signed balance into the debit or the credit column.
func sides(m billing.Money) (debit, credit templ.Component) {
	if m < 0 {
		return components.Muted(""), components.Money(-m)
	}
	return components.Money(m), components.Muted("")
}

func booksOf(ctx context.Context, site billing.SiteID, rows []store.ChartRow, through billing.Date) booksView {
	yuan := locale.T(ctx, "unit.yuan")
	v := booksView{id: string(site), name: page.SiteName(ctx, site), note: locale.T(ctx, "ledger.all_open")}
	if !through.IsZero() {
		v.note = locale.T(ctx, "ledger.closed_through", through.String())
	}
	t := components.Table{ID: "books-" + string(site), Caption: locale.T(ctx, "ledger.chart"), Cols: []components.Col{
		{Label: locale.T(ctx, "ledger.account")}, {Label: locale.T(ctx, "ledger.kind"), WideOnly: true},
		{Label: locale.T(ctx, "ledger.debit"), Unit: yuan, Align: components.Number}, {Label: locale.T(ctx, "ledger.credit"), Unit: yuan, Align: components.Number},
	}}
	var debits, credits billing.Money
	for _, kind := range locale.Words(locale.AccountKind) {
		for _, a := range rows {
			if string(a.Kind) != kind {
				continue
			}
			if a.Balance > 0 {
				debits += a.Balance
			} else {
				credits -= a.Balance
			}
			debit, credit := sides(a.Balance)
			row := components.Row{ID: string(a.Code), Href: AccountHref(string(a.Code)), Cells: []templ.Component{
				components.Lines(components.Text(nameOf(ctx, a.NameZH, a.NameEN)), string(a.Code)), components.Text(locale.State(ctx, locale.AccountKind, kind)), debit, credit,
			}}
			if a.Code == "" {
				row.ID, row.Href = "customers", "/accounts"
				row.Cells[0] = components.Lines(components.Text(locale.T(ctx, "ledger.customers")), locale.T(ctx, "ledger.customers_count", a.Count))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	t.Foot = []templ.Component{components.Text(locale.T(ctx, "ledger.total")), nil, components.Money(debits), components.Money(credits)}
	v.table = t
	return v
}

// openAction is the form for a further account; nil for whom it isn't.
func openAction(r *http.Request) *components.Action {
	ctx := r.Context()
	if auth.Can(page.Actor(ctx), auth.MasterData, "") != nil {
		return nil
	}
	f := page.FormOf(r, "open-account")
	var sites, kinds []components.Option
	for _, s := range page.OwnSites(ctx) {
		sites = append(sites, components.Option{Value: string(s.ID), Label: page.SiteName(ctx, s.ID)})
	}
	for _, k := range locale.Words(locale.AccountKind) {
		kinds = append(kinds, components.Option{Value: k, Label: locale.State(ctx, locale.AccountKind, k)})
	}
	text := func(name, label, hint string) components.Field {
		return components.Field{Kind: components.TextField, Name: name, Label: label, Value: f.Value(name, ""), Error: f.Problem(name), Hint: hint, Required: true, MaxLength: 60, Autocomplete: "off"}
	}
	return &components.Action{ID: "open-account", Title: locale.T(ctx, "ledger.open_account"), URL: path, Submit: locale.T(ctx, "ledger.open_account"), Error: f.Error(),
		Fields: []components.Field{
			{Kind: components.SelectField, Name: "site", Label: locale.T(ctx, "ledger.site"), Value: f.Value("site", ""), Error: f.Problem("site"), Options: sites, Required: true},
			text("name", locale.T(ctx, "ledger.code"), locale.T(ctx, "ledger.code_hint")),
			{Kind: components.SelectField, Name: "kind", Label: locale.T(ctx, "ledger.kind"), Value: f.Value("kind", "asset"), Error: f.Problem("kind"), Options: kinds, Required: true},
			text("name_zh", locale.T(ctx, "ledger.name_zh"), ""), text("name_en", locale.T(ctx, "ledger.name_en"), ""),
		}}
}

// books is an account of the books with what its page shows.
type books struct {
	account store.BookAccount
	at      store.AsOf
	known   billing.Date
	named   bool
	on      billing.Date // only entries of this day
	balance billing.Money
	credit  store.Credit
	entries []store.BookEntry
	holds   []store.Hold
}

type accountView struct {
	head                components.Head
	facts               []components.Fact
	asOf                AsOfView
	customer            bool
	holds, entries      components.Table
	entriesTitle, older string
	actions             []components.Action
}

func accountOf(r *http.Request, s books) accountView {
	ctx := r.Context()
	a := s.account
	v := accountView{customer: a.Account != "", entries: entryTable(ctx, s), entriesTitle: locale.T(ctx, "ledger.account_entries")}
	v.head = components.Head{Title: nameOf(ctx, a.NameZH, a.NameEN), Subtitle: string(a.Code) + " · " + locale.State(ctx, locale.AccountKind, a.Kind) + " · " + page.SiteName(ctx, a.Site),
		BackHref: path, BackLabel: locale.T(ctx, "ledger.chart")}
	here := AccountHref(string(a.Code))
	clear := ""
	if s.named {
		clear = here
	}
	v.asOf = AsOfFor(ctx, accountPath, clear, s.at, s.known, components.Hidden{Name: "code", Value: string(a.Code)})
	amount := s.balance
	if v.customer {
		amount = -amount
		v.head.Title, v.head.Badge = string(a.Account)+" "+a.Customer, nil
		v.head.Actions = components.ButtonLink("/accounts/"+string(a.Account), locale.T(ctx, "ledger.to_account"), false)
		v.facts = append(v.facts, creditFacts(ctx, s.credit)...)
		v.holds, v.actions = holdTable(ctx, s.holds), holdActions(r, s)
	}
	if s.named || !v.customer {
		v.facts = append(v.facts, components.Fact{ID: "as-of", Label: Point(ctx, s.at, s.known), Value: components.Money(amount), Hint: sideHint(ctx, v.customer)})
	}
	more := here
	if !s.on.IsZero() {
		v.entriesTitle = locale.T(ctx, "ledger.entries_on", s.on.String())
		more += "&on=" + s.on.String()
	}
	if n := len(s.entries); n == page.PerPage {
		v.older = more + "&before=" + strings.TrimPrefix(entryHref(s.entries[n-1].ID), entryPath)
	}
	return v
}

func creditFacts(ctx context.Context, c store.Credit) []components.Fact {
	return []components.Fact{
		{ID: "balance", Label: locale.T(ctx, "ledger.balance_now"), Value: components.Money(c.Balance)},
		{ID: "held", Label: locale.T(ctx, "ledger.held"), Value: components.Money(c.Held)},
		{ID: "available", Label: locale.T(ctx, "ledger.available"), Value: components.Money(c.Available()), Hint: locale.T(ctx, "ledger.available_hint")},
	}
}

func sideHint(ctx context.Context, customer bool) string {
	if customer {
		return ""
	}
	return locale.T(ctx, "ledger.side_hint")
}

func entryTable(ctx context.Context, s books) components.Table {
	t := components.Table{ID: "entries", Caption: locale.T(ctx, "ledger.account_entries"), Cols: []components.Col{
		{Label: locale.T(ctx, "ledger.entry")}, {Label: locale.T(ctx, "ledger.what")}, {Label: locale.T(ctx, "ledger.day")},
		{Label: locale.T(ctx, "ledger.recorded"), WideOnly: true}, {Label: locale.T(ctx, "ledger.amount"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
	}, Empty: components.EmptyView{Title: locale.T(ctx, "ledger.no_entries"), Body: locale.T(ctx, "ledger.no_entries_body")}}
	for _, e := range s.entries {
		amount := e.Amount
		if s.account.Account != "" {
			amount = -amount
		}
		t.Rows = append(t.Rows, components.Row{ID: strings.TrimPrefix(entryHref(e.ID), entryPath), Href: entryHref(e.ID), Cells: []templ.Component{
			components.Code(strings.TrimPrefix(entryHref(e.ID), entryPath)), components.Lines(kindOf(ctx, e), e.Subject), dayOfEntry(ctx, e), components.When(e.BusinessAt), components.MoneySigned(amount),
		}})
	}
	return t
}

func kindOf(ctx context.Context, e store.BookEntry) templ.Component {
	word := locale.State(ctx, locale.EntryKind, e.Kind)
	if e.ReversedBy != nil {
		word += " · " + locale.T(ctx, "ledger.reversed")
	}
	return components.Text(word)
}

func dayOfEntry(ctx context.Context, e store.BookEntry) templ.Component {
	if e.Corrects.IsZero() {
		return components.Text(e.Day.String())
	}
	return components.Lines(components.Text(e.Day.String()), locale.T(ctx, "ledger.corrects", e.Corrects.String()))
}

// entryView is one entry.
type entryView struct {
	head     components.Head
	notices  []components.NoticeView
	facts    []components.Fact
	postings components.Table
}

func entryOf(ctx context.Context, e store.BookEntry, lines []store.BookPosting) entryView {
	v := entryView{head: components.Head{Title: locale.T(ctx, "ledger.entry_no", e.ID), Subtitle: page.SiteName(ctx, e.Site), BackHref: path, BackLabel: locale.T(ctx, "ledger.chart"),
		Actions: components.ButtonLink(page.TraceHref(e.Subject), locale.T(ctx, "ledger.trace"), false)}}
	if e.ReversedBy != nil {
		v.notices = append(v.notices, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "ledger.was_reversed"), LinkHref: entryHref(*e.ReversedBy), LinkLabel: locale.T(ctx, "ledger.entry_no", *e.ReversedBy)})
	}
	if e.Reverses != nil {
		v.notices = append(v.notices, components.NoticeView{Tone: components.Watch, Title: locale.T(ctx, "ledger.reverses"), LinkHref: entryHref(*e.Reverses), LinkLabel: locale.T(ctx, "ledger.entry_no", *e.Reverses)})
	}
	v.facts = []components.Fact{
		{ID: "kind", Label: locale.T(ctx, "ledger.what"), Value: components.Text(locale.State(ctx, locale.EntryKind, e.Kind)), Hint: e.Subject},
		{ID: "day", Label: locale.T(ctx, "ledger.day"), Value: components.Link(dayHref(e.Site, e.Day), e.Day.String()), Hint: corrected(ctx, e)},
		{ID: "recorded", Label: locale.T(ctx, "ledger.recorded"), Value: components.When(e.BusinessAt), Hint: locale.T(ctx, "ledger.real_time", locale.DateTime(ctx, e.RealAt))},
		{ID: "key", Label: locale.T(ctx, "ledger.key"), Value: components.Code(e.Key), Hint: locale.T(ctx, "ledger.key_hint")},
	}
	yuan := locale.T(ctx, "unit.yuan")
	t := components.Table{ID: "postings", Caption: locale.T(ctx, "ledger.postings"), Cols: []components.Col{
		{Label: locale.T(ctx, "ledger.account")}, {Label: locale.T(ctx, "ledger.debit"), Unit: yuan, Align: components.Number}, {Label: locale.T(ctx, "ledger.credit"), Unit: yuan, Align: components.Number},
	}}
	for _, l := range lines {
		name := nameOf(ctx, l.NameZH, l.NameEN)
		if l.Customer != "" {
			name = l.Customer
		}
		debit, credit := sides(l.Amount)
		t.Rows = append(t.Rows, components.Row{ID: string(l.Code), Href: AccountHref(string(l.Code)), Cells: []templ.Component{components.Lines(components.Text(name), string(l.Code)), debit, credit}})
	}
	t.Foot = []templ.Component{components.Text(locale.T(ctx, "ledger.total")), components.Money(e.Debit), components.Money(e.Debit)}
	v.postings = t
	return v
}

func corrected(ctx context.Context, e store.BookEntry) string {
	if e.Corrects.IsZero() {
		return ""
	}
	return locale.T(ctx, "ledger.corrects", e.Corrects.String())
}
