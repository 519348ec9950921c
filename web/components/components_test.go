package components

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/a-h/templ"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/web/locale"
)

var noon = time.Date(2026, 10, 31, 4, 0, 0, 0, time.UTC)

func english() context.Context { return locale.WithLang(context.Background(), locale.EN) }

func draw(t *testing.T, ctx context.Context, c templ.Component) *goquery.Selection {
	t.Helper()
	var b strings.Builder
	require.NoError(t, c.Render(ctx, &b))
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(b.String()))
	require.NoError(t, err)
	return doc.Selection
}

func id(testID string) string { return `[data-testid="` + testID + `"]` }

// text is what is read: the text of all elements, with one space between them.
func text(s *goquery.Selection) string {
	var words []string
	s.Find("*").AddBack().Contents().Each(func(_ int, n *goquery.Selection) {
		if goquery.NodeName(n) == "#text" {
			words = append(words, strings.Fields(n.Text())...)
		}
	})
	return strings.Join(words, " ")
}

func TestMoney_negativeHasMinusAndColour(t *testing.T) {
	span := draw(t, english(), Money(int64(-123456))).Find("span.num")
	require.Equal(t, "−1,234.56", span.Text())
	require.True(t, span.HasClass("negative"))
	require.Equal(t, "-123456", span.AttrOr("data-fen", ""))
	require.False(t, draw(t, english(), Money(int64(5))).Find("span.num").HasClass("negative"))
}

func TestStateBadge_isAWordInBothLanguages(t *testing.T) {
	for _, kind := range locale.Kinds() {
		for _, word := range locale.Words(kind) {
			zh := draw(t, context.Background(), StateBadge(kind, word)).Find(".badge")
			en := draw(t, english(), StateBadge(kind, word)).Find(".badge")
			require.NotEmpty(t, zh.Text())
			require.NotEqual(t, zh.Text(), en.Text(), "%s %s", kind, word)
			require.Equal(t, word, en.AttrOr("data-state", ""))
		}
	}
}

func TestTones_nameKnownStates(t *testing.T) {
	for kind, tones := range stateTones {
		for state := range tones {
			require.Contains(t, locale.Words(kind), state, "%s has a colour but no word", state)
		}
	}
}

func TestDataTable(t *testing.T) {
	table := Table{
		ID: "cases", Caption: "Cases", Select: true,
		Cols: []Col{{Label: "Case"}, {Label: "Use", Unit: "kWh", Align: Number}},
		Rows: []Row{{ID: "EX-1", Href: "/exceptions/EX-1", Tone: Danger, Cells: []templ.Component{Text("EX-1"), Quantity(int64(3870), 2, "")}}},
		Foot: []templ.Component{Text("Total"), nil},
	}
	doc := draw(t, english(), DataTable(table))
	row := doc.Find(id("row-EX-1"))
	require.Equal(t, "/exceptions/EX-1", row.AttrOr("data-href", ""))
	require.Equal(t, "/exceptions/EX-1", row.Find("a.row-link").AttrOr("href", ""))
	require.Equal(t, "EX-1", row.Find(`input[name="id"]`).AttrOr("value", ""))
	require.Equal(t, "Use (kWh)", row.Find("td.num").AttrOr("data-label", ""), "a card on a phone names its values")
	require.Equal(t, "38.70", text(row.Find("td.num")))
	require.Equal(t, "Cases", doc.Find("caption").Text())

	table.Rows = nil
	table.Empty = EmptyView{Title: "No cases", Body: "They appear here."}
	doc = draw(t, english(), DataTable(table))
	require.Equal(t, "No cases They appear here.", text(doc.Find(id("empty"))))
	require.Zero(t, doc.Find("table").Length())
}

func TestDataTable_moreCellsThanColumns(t *testing.T) {
	doc := draw(t, english(), DataTable(Table{Rows: []Row{{Cells: []templ.Component{Text("a"), Text("b")}}}}))
	require.Equal(t, 2, doc.Find("td").Length())
}

func TestInput_keepsWhatWasTypedAndSaysWhatToDo(t *testing.T) {
	for _, kind := range []FieldKind{TextField, NumberField, MoneyField, QuantityField, DateField, SearchField} {
		doc := draw(t, english(), Input(Field{Kind: kind, Name: "amount", Label: "Amount", Value: "<12.345", Error: "Use two decimals."}))
		box := doc.Find("input")
		require.Equal(t, "<12.345", box.AttrOr("value", ""), kind)
		require.Equal(t, "true", box.AttrOr("aria-invalid", ""))
		require.Equal(t, "Use two decimals.", doc.Find("#"+box.AttrOr("aria-describedby", "none")).Text())
		require.Equal(t, box.AttrOr("id", ""), doc.Find("label").AttrOr("for", ""))
	}
	doc := draw(t, english(), Input(Field{Kind: MoneyField, Name: "amount"}))
	require.Equal(t, "text", doc.Find("input").AttrOr("type", ""), "the server must see a third decimal to refuse it")

	area := draw(t, english(), Input(ReasonField("Reason", "because\nso", "")))
	require.Equal(t, "because\nso", area.Find("textarea").Text())
	_, required := area.Find("textarea").Attr("required")
	require.True(t, required)

	sel := draw(t, english(), Input(Field{Kind: SelectField, Name: "how", Value: "b", Options: []Option{{Value: "a", Label: "A"}, {Value: "b", Label: "B"}}}))
	require.Equal(t, "B", sel.Find("option[selected]").Text())
}

func TestInput_choiceSaysWhyNot(t *testing.T) {
	doc := draw(t, english(), Input(Field{Kind: ChoiceField, Name: "d", Value: "est", Options: []Option{
		{Value: "est", Label: "Estimate", Hint: "4.85"}, {Value: "ex", Label: "Exchange", Disabled: "None is registered"},
	}}))
	require.Equal(t, "est", doc.Find("input[checked]").AttrOr("value", ""))
	require.Equal(t, "ex", doc.Find("input[disabled]").AttrOr("value", ""))
	require.Equal(t, "None is registered", doc.Find(".choice-why").Text())
}

func TestActionPanel(t *testing.T) {
	action := Action{
		ID: "cut", Title: "Cut", URL: "/cutoffs/7", Submit: "Cut", Tone: Danger, Key: "c", Confirm: "Cut?",
		Consequence: Text("3300018 will be cut"), Fields: []Field{ReasonField("Reason", "", "")},
		Hidden: []Hidden{{Name: "nonce", Value: "n1"}}, Error: "Paid in the meantime.",
		More: []Button{{Label: "Hold", Name: "do", Value: "hold"}},
	}
	doc := draw(t, english(), ActionPanel(action)).Find(id("action-cut"))
	form := doc.Find("form")
	require.Equal(t, "post", form.AttrOr("method", ""))
	require.Equal(t, "/cutoffs/7", form.AttrOr("action", ""))
	require.Equal(t, "n1", form.Find(`input[name="nonce"]`).AttrOr("value", ""))
	require.Equal(t, "cut-reason", form.Find(`textarea[name="reason"]`).AttrOr("id", ""))
	require.Equal(t, "Paid in the meantime.", form.Find(id("action-error")).Text())
	require.Equal(t, "Cut?", form.Find("button.danger").AttrOr("data-confirm", ""))
	require.Equal(t, "hold", form.Find(`button[name="do"]`).AttrOr("value", ""))
	require.Less(t, strings.Index(doc.Text(), "will be cut"), strings.Index(doc.Text(), "Reason"), "the consequence comes first")

	action.Disabled = "A protection stands; end it first."
	doc = draw(t, english(), ActionPanel(action)).Find(id("action-cut"))
	require.Zero(t, doc.Find("form").Length())
	require.Equal(t, "A protection stands; end it first.", doc.Find("#"+doc.Find("button[disabled]").AttrOr("aria-describedby", "none")).Text())
}

func TestBulk_barIsAPlainForm(t *testing.T) {
	doc := draw(t, english(), Bulk(BulkView{
		URL: "/recharges/bulk", Error: "One is your own.", Fields: []Field{{Kind: TextField, Name: "reason", Label: "Reason"}},
		Actions: []BulkAction{{Value: "approve", Label: "Approve", Key: "a"}},
	})).Find(id("bulk"))
	require.Equal(t, "approve", doc.Find(`button[name="action"]`).AttrOr("value", ""))
	require.Equal(t, "a", doc.Find("button").AttrOr("data-key", ""))
	require.True(t, doc.HasClass("bulk-open"), "a refusal stays in sight though nothing is chosen")
}

func TestTimeline(t *testing.T) {
	doc := draw(t, english(), Timeline(TimelineView{Title: "Timeline", Events: []Event{{
		Business: noon, Real: noon.Add(time.Hour), By: "Wang Fang", Role: "Clerk", Workflow: "recharge/R-1", WorkflowHref: "/trace?q=recharge/R-1",
		What: "Recharge", Kind: locale.Recharge, From: "delivering", To: "credited", Why: "read back", Detail: Text("01 03"),
	}}}))
	event := doc.Find(id("event"))
	require.Equal(t, "2026-10-31T04:00:00Z", event.Find("time").AttrOr("datetime", ""))
	got := text(event)
	for _, part := range []string{"2026-10-31 12:00:00", "real 2026-10-31 13:00:00", "Wang Fang · Clerk", "Delivering", "Credited", "read back", "recharge/R-1", "01 03"} {
		require.Contains(t, got, part)
	}
	require.True(t, event.HasClass("tone-good"))
}

func TestStripAndProgress(t *testing.T) {
	doc := draw(t, english(), Strip(StripView{Label: "GW-01", Cells: []StripCell{{"M-1", "actual", "/meters/1"}, {"M-2", "missing", ""}, {"M-3", "pending", ""}}}))
	require.Equal(t, "GW-01 Actual 1 · Missing 1 · Pending 1", text(doc.Find(".strip-head")))
	require.Equal(t, "M-1 · Actual", doc.Find("a.cell").AttrOr("aria-label", ""))

	require.Equal(t, "89%", draw(t, english(), Progress(ProgressView{Done: 268, Total: 300})).Find("rect.fill").AttrOr("width", ""))
	require.Equal(t, "100%", percent(7, 5))
	require.Equal(t, "0%", percent(3, 0))
}

func TestHostileTextIsEscaped(t *testing.T) {
	const evil = `"><script>alert(1)</script>`
	for _, c := range []templ.Component{
		Text(evil), Link("javascript:alert(1)", evil), Badge(Good, evil), StateBadge(locale.Case, evil),
		Input(Field{Kind: TextField, Name: "n", Value: evil, Error: evil, Label: evil}),
		PageHead(Head{Title: evil, BackHref: "javascript:alert(1)", BackLabel: evil}),
		DataTable(Table{Rows: []Row{{ID: evil, Href: "javascript:alert(1)", Cells: []templ.Component{Text(evil)}}}}),
		UsageChart(Usage{ID: "u", Title: evil, Unit: evil, Bars: []UsageBar{{Day: noon, Raw: 1, Quality: evil}}}),
	} {
		doc := draw(t, english(), c)
		require.Zero(t, doc.Find("script").Length())
		doc.Find("a").Each(func(_ int, a *goquery.Selection) {
			require.NotContains(t, a.AttrOr("href", ""), "javascript:")
		})
	}
}
