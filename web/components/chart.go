package components

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/web/locale"
)

// Charts place things across the width in percent and down the height in pixels: SVG stretches, its text does not, and no
// calculation needs a binary float.
const (
	plotTop    = 14  // room for the mark above the highest bar, px
	plotHeight = 150 // from the highest to the lowest value, px
	chartPx    = plotTop + plotHeight + 6
)

// UsageBar is the use of one day, raw·10^−scale. Quality is a word of locale.Quality. Doubtful marks the value that a rule
// doubts.
type UsageBar struct {
	Day      time.Time
	Raw      int64
	Quality  string
	Doubtful bool
}

// Usage is the daily use of one meter. Low and High bound what is usual for it; both zero for no band.
type Usage struct {
	ID, Title, Unit string
	Scale           int
	Bars            []UsageBar
	Low, High       int64
	Empty           EmptyView
}

// BalancePoint is a balance in fen that stands from At until the next point.
type BalancePoint struct {
	At   time.Time
	Fen  int64
	Note string
}

// Balance is a balance over time, drawn in steps because it changes only with postings. Limit is the balance at which the
// supply is cut; it is drawn when HasLimit is set. Until ends the last step.
type Balance struct {
	ID, Title string
	Points    []BalancePoint
	Limit     int64
	HasLimit  bool
	Until     time.Time
	Empty     EmptyView
}

// scale maps values to pixels from the top.
type scale struct {
	low, high int64
	marks     []int64
}

// newScale covers the values and zero with at most six marks at steps of 1, 2 or 5 times a power of ten, no finer than least.
func newScale(least int64, values ...int64) scale {
	low, high := min(0, slices.Min(values)), max(0, slices.Max(values))
	step := max(least, 1)
	for factor := 0; (high-low)/step > 4; factor++ {
		step = max(least, 1)
		for range factor / 3 {
			step *= 10
		}
		step *= [...]int64{1, 2, 5}[factor%3]
	}
	s := scale{low: floorTo(low, step), high: -floorTo(-high, step)}
	if s.low == s.high {
		s.high += step
	}
	for v := s.low; v <= s.high; v += step {
		s.marks = append(s.marks, v)
	}
	return s
}

func floorTo(v, step int64) int64 {
	q := v / step
	if v%step != 0 && v < 0 {
		q--
	}
	return q * step
}

// y is the distance of v from the top of the chart in pixels. Values too large to multiply are brought down first.
func (s scale) y(v int64) int {
	part, whole := s.high-v, s.high-s.low
	for whole > 1<<40 {
		part, whole = part>>8, whole>>8
	}
	return plotTop + int(part*plotHeight/whole)
}

func px(n int) string { return strconv.Itoa(n) }

// across is part/whole as a percentage with two decimals.
func across(part, whole int64) string {
	if whole <= 0 {
		return "0%"
	}
	basis := part * 10000 / whole
	return strconv.FormatInt(basis/100, 10) + "." + strconv.FormatInt(basis%100/10, 10) + strconv.FormatInt(basis%10, 10) + "%"
}

// powerOfTen is the raw value of one whole unit.
func powerOfTen(scale int) int64 {
	n := int64(1)
	for range scale {
		n *= 10
	}
	return n
}

// axisText leaves decimals away where every mark is whole.
func axisText(v int64, scale int, marks []int64) string {
	unit := powerOfTen(scale)
	for _, m := range marks {
		if m%unit != 0 {
			return locale.Quantity(v, scale)
		}
	}
	return locale.Quantity(v/unit, 0)
}

func usageScale(u Usage) scale {
	values := []int64{u.High}
	for _, b := range u.Bars {
		values = append(values, b.Raw)
	}
	return newScale(1, values...)
}

type bar struct {
	x, width  string
	y, height int
	class     string
	fill      string // pattern id; empty for a plain bar
	title     string
}

func usageBars(ctx context.Context, u Usage, s scale) []bar {
	n := int64(len(u.Bars))
	bars := make([]bar, 0, n)
	for i, b := range u.Bars {
		top, bottom := s.y(max(b.Raw, 0)), s.y(min(b.Raw, 0))
		v := bar{
			x: across(int64(i)*100+15, n*100), width: across(70, n*100),
			y: top, height: max(bottom-top, 1), class: "bar bar-" + b.Quality,
			title: locale.Day(ctx, b.Day) + " · " + locale.Quantity(b.Raw, u.Scale) + " " + u.Unit + " · " +
				locale.State(ctx, locale.Quality, b.Quality),
		}
		if patterned(b.Quality) {
			v.fill = "url(#" + u.ID + "-" + b.Quality + ")"
		}
		if b.Quality == "missing" {
			v.y, v.height = s.y(0)-28, 28
			v.title = locale.Day(ctx, b.Day) + " · " + locale.State(ctx, locale.Quality, b.Quality)
		}
		bars = append(bars, v)
	}
	return bars
}

func patterned(quality string) bool {
	return quality == "manual" || quality == "estimated" || quality == "edited"
}

// qualities are those that the chart shows, in the order of the vocabulary.
func qualities(u Usage) []string {
	seen := map[string]bool{}
	for _, b := range u.Bars {
		seen[b.Quality] = true
	}
	return slices.DeleteFunc(locale.Words(locale.Quality), func(q string) bool { return !seen[q] })
}

// labelled says which of n days get a label: about eight, counted back from the last; every second of those is left away
// on narrow screens.
func labelled(i, n int) (shown, narrow bool) {
	every := max((n+7)/8, 1)
	back := n - 1 - i
	return back%every == 0, back%(2*every) == 0
}

func usageTable(ctx context.Context, u Usage) Table {
	t := Table{ID: u.ID, Caption: u.Title, Cols: []Col{
		{Label: locale.T(ctx, "chart.day")},
		{Label: locale.T(ctx, "chart.use"), Unit: u.Unit, Align: Number},
		{Label: locale.T(ctx, "chart.quality")},
	}}
	for _, b := range u.Bars {
		value := Quantity(b.Raw, u.Scale, "")
		if b.Quality == "missing" {
			value = Muted("–")
		}
		quality := StateBadge(locale.Quality, b.Quality)
		t.Rows = append(t.Rows, Row{
			ID: u.ID + "-" + b.Day.UTC().Format("20060102"), Cells: []templ.Component{Day(b.Day), value, quality},
			Tone: doubtTone(b.Doubtful),
		})
	}
	return t
}

func doubtTone(doubtful bool) Tone {
	if doubtful {
		return Danger
	}
	return Neutral
}

func balanceScale(b Balance) scale {
	values := []int64{0}
	for _, p := range b.Points {
		values = append(values, p.Fen)
	}
	if b.HasLimit {
		values = append(values, b.Limit)
	}
	return newScale(100, values...)
}

// step is one horizontal piece of the balance and the jump that ends it.
type step struct {
	x1, x2   string
	y, nextY int
	negative bool
	title    string
}

func balanceSteps(ctx context.Context, b Balance, s scale) []step {
	first, last := b.Points[0].At, b.Points[len(b.Points)-1].At
	end := last
	if b.Until.After(last) {
		end = b.Until
	}
	whole := int64(end.Sub(first) / time.Second)
	steps := make([]step, 0, len(b.Points))
	for i, p := range b.Points {
		until, nextY := end, s.y(p.Fen)
		if i+1 < len(b.Points) {
			until, nextY = b.Points[i+1].At, s.y(b.Points[i+1].Fen)
		}
		title := locale.DateTime(ctx, p.At) + " · " + locale.Money(p.Fen)
		if p.Note != "" {
			title += " · " + p.Note
		}
		steps = append(steps, step{
			x1: across(int64(p.At.Sub(first)/time.Second), whole), x2: across(int64(until.Sub(first)/time.Second), whole),
			y: s.y(p.Fen), nextY: nextY, negative: p.Fen < 0, title: title,
		})
	}
	return steps
}

// balanceDays are up to six dates along the axis with their places.
func balanceDays(ctx context.Context, b Balance) []dayMark {
	first, end := b.Points[0].At, b.Points[len(b.Points)-1].At
	if b.Until.After(end) {
		end = b.Until
	}
	const parts = 6
	marks := make([]dayMark, 0, parts)
	for i := range int64(parts) {
		at := first.Add(end.Sub(first) * time.Duration(2*i+1) / (2 * parts))
		marks = append(marks, dayMark{x: across(2*i+1, 2*parts), text: locale.ShortDay(ctx, at), narrow: i%2 == 1})
	}
	return marks
}

type dayMark struct {
	x, text string
	narrow  bool // also shown on narrow screens
}

func balanceTable(ctx context.Context, b Balance) Table {
	t := Table{ID: b.ID, Caption: b.Title, Cols: []Col{
		{Label: locale.T(ctx, "chart.when")},
		{Label: locale.T(ctx, "chart.balance"), Unit: locale.T(ctx, "unit.yuan"), Align: Number},
		{Label: locale.T(ctx, "chart.why")},
	}}
	for i, p := range b.Points {
		t.Rows = append(t.Rows, Row{
			ID: b.ID + "-" + strconv.Itoa(i), Cells: []templ.Component{When(p.At), Money(p.Fen), Text(p.Note)},
		})
	}
	return t
}

// legendFill is the fill of a legend's square: the pattern of a patterned quality, none for the others, which have a class.
func legendFill(id, quality string) string {
	if patterned(quality) {
		return "url(#" + id + "-" + quality + ")"
	}
	return ""
}
