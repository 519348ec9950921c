package components

import (
	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/web/locale"
)

// AmountBar is one bar: what it is of, and its value in raw units.
type AmountBar struct {
	Label string
	Raw   int64
}

// Amounts is a chart of sums, such as what was charged each day. Scale is the decimals of a raw unit; What names the value.
type Amounts struct {
	ID, Title, Span, What, Unit string
	Scale                       int
	Bars                        []AmountBar
	Empty                       EmptyView
}

func amountScale(a Amounts) scale {
	values := make([]int64, 0, len(a.Bars))
	for _, b := range a.Bars {
		values = append(values, b.Raw)
	}
	return newScale(1, values...)
}

func amountBars(a Amounts, s scale) []bar {
	n := int64(len(a.Bars))
	bars := make([]bar, 0, n)
	for i, b := range a.Bars {
		top, bottom := s.y(max(b.Raw, 0)), s.y(min(b.Raw, 0))
		bars = append(bars, bar{
			x: across(int64(i)*100+15, n*100), width: across(70, n*100), y: top, height: max(bottom-top, 1), class: "bar bar-amount",
			title: b.Label + " · " + locale.Quantity(b.Raw, a.Scale) + " " + a.Unit,
		})
	}
	return bars
}

func amountTable(a Amounts) Table {
	t := Table{ID: a.ID, Caption: a.Title, Cols: []Col{{Label: a.Span}, {Label: a.What, Unit: a.Unit, Align: Number}}}
	for _, b := range a.Bars {
		t.Rows = append(t.Rows, Row{ID: a.ID + "-" + b.Label, Cells: []templ.Component{Text(b.Label), Quantity(b.Raw, a.Scale, "")}})
	}
	return t
}

// short is a label without the year, for the axis.
func short(label string) string {
	if len(label) > len("2026-") {
		return label[len("2026-"):]
	}
	return label
}
