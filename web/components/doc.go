// Package components owns the parts that pages are made of: tables, badges, facts, timelines, forms, charts. Each is a
// templ component over a small view-model struct, a pure function of it and of the language and zone in its context. It
// refuses to know the store, the workflows or a request: pages fetch, decide and translate; components draw.
//
// # Making a page
//
//	templ Show(p layout.Page, v View) {
//		@layout.Layout(p) {
//			@components.PageHead(components.Head{Title: …, Badge: components.StateBadge(locale.Recharge, v.State)})
//			@components.Split() {
//				@components.Main() {
//					@components.Section(components.SectionView{Title: …}) { @components.Facts(v.Facts) }
//					@components.Timeline(v.Timeline)
//				}
//				@components.Side() { @components.ActionPanel(v.Approve) }
//			}
//		}
//	}
//
// # The parts
//
//	page      PageHead(Head) Section(SectionView) Split Main Side Notice(NoticeView) Tabs([]Tab) Empty(EmptyView)
//	          Live(LiveView) Sheet(SheetView) Icon(name) KeyHint(letter)
//	values    Text Muted Code Link Money MoneySigned Quantity Count When Day Waited StateBadge Badge Lines
//	          (each is a templ.Component, so it fits a table cell, a fact or a timeline row)
//	numbers   Stats([]Stat) Progress(ProgressView) Strip(StripView)
//	lists     FilterBar(Filter) DataTable(Table) Pager(PagerView) Bulk(BulkView){table}
//	story     Facts([]Fact) Timeline(TimelineView)
//	acting    ActionPanel(Action) Input(Field) ReasonField(label, value, problem) Required PrintLink ButtonLink
//	charts    UsageChart(Usage) BalanceChart(Balance), each with its table twin
//
// # Conventions
//
// Colours are meanings: the tones good, notice, danger, running and none (see Tone); a component adds the class tone-X and
// never a colour of its own, and there is always a word or a pattern beside it. Numbers get the class num (right-aligned,
// tabular); words that must not break get nowrap; only-wide and only-narrow show a part on one width; no-print and
// only-print say what paper carries. Spacing comes from the parent (stack = vertical rhythm, row = one line that wraps).
//
// Tests find things by data-testid. Components set: page-head, stat-<ID>, table-<ID>, row-<ID> (rows also carry data-id),
// empty, pager, filter, fact-<ID>, timeline, event, action-<ID>, action-error, field-<Name>, error-<Name>, bulk, strip,
// progress, usage-chart, balance-chart, notice; badges carry data-kind and data-state, money data-fen, so that a test
// never has to read formatted text.
//
// Texts come from package locale: T for the product's own words, State for the word of a state, Sentence for a refusal
// that was made by a layer without a language. Dates are in the zone of the context (locale.WithZone). Addresses of the
// stylesheet and scripts come from package static, so that a change is seen at once.
//
// Styles and scripts inside the page are refused by the content security policy: no style attributes, no on… handlers.
// Everything reads and decides without JavaScript; app.js adds keys (j, k, enter, x, /), row clicks, confirmations and the
// age of a page that has lost its live connection.
package components
