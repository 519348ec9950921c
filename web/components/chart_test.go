package components

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestNewScale_coversTheValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(-1<<50, 1<<50), 1, 40).Draw(t, "values")
		s := newScale(rapid.SampledFrom([]int64{1, 100}).Draw(t, "least"), values...)
		if n := len(s.marks); n < 2 || n > 7 {
			t.Fatalf("%d marks", n)
		}
		last := math.MinInt
		for _, m := range s.marks {
			if y := s.y(m); last != math.MinInt && y >= last {
				t.Fatalf("marks don't rise: %v", s.marks)
			} else {
				last = y
			}
		}
		for _, v := range append(values, 0) {
			if y := s.y(v); y < plotTop || y > plotTop+plotHeight {
				t.Fatalf("%d is drawn at %d px", v, y)
			}
		}
	})
}

func TestNewScale_marks(t *testing.T) {
	require.Equal(t, []int64{0, 1000, 2000, 3000, 4000}, newScale(1, 3870).marks)
	require.Equal(t, []int64{-5000, 0, 5000, 10000, 15000, 20000}, newScale(100, 18000, -3000).marks)
	require.Equal(t, []int64{0, 1}, newScale(1, 0).marks)
}

func TestAcross(t *testing.T) {
	require.Equal(t, "0%", across(1, 0))
	require.Equal(t, "33.33%", across(1, 3))
	require.Equal(t, "100.00%", across(3, 3))
	require.Equal(t, "4.05%", across(405, 10000))
}

func TestUsageChart(t *testing.T) {
	u := Usage{ID: "use", Title: "Daily use", Unit: "kWh", Scale: 2, Low: 600, High: 1200, Bars: []UsageBar{
		{Day: noon, Raw: 900, Quality: "actual"},
		{Day: noon.AddDate(0, 0, 1), Raw: 3870, Quality: "actual", Doubtful: true},
		{Day: noon.AddDate(0, 0, 2), Raw: 905, Quality: "estimated"},
		{Day: noon.AddDate(0, 0, 3), Quality: "missing"},
	}}
	doc := draw(t, english(), UsageChart(u))
	require.Equal(t, 4, doc.Find(".plot-area .bar").Length())
	require.Equal(t, "url(#use-estimated)", doc.Find(".plot-area .bar-estimated").AttrOr("fill", ""))
	require.Equal(t, 1, doc.Find("#use-estimated").Length(), "the pattern that a bar names is there")
	require.Equal(t, 1, doc.Find(".doubt").Length())
	require.Contains(t, text(doc.Find("figcaption")), "Estimated")
	twin := doc.Find("details table")
	require.Equal(t, 4, twin.Find("tbody tr").Length(), "the table says the same as the picture")
	require.Contains(t, text(twin), "2026-11-01 Sun 38.70 Actual")
	require.Contains(t, text(twin), "– Missing")

	height := func(i int) int {
		h, err := strconv.Atoi(doc.Find(".plot-area .bar").Eq(i).AttrOr("height", ""))
		require.NoError(t, err)
		return h
	}
	require.Greater(t, height(1), 4*height(0)-8)

	require.Equal(t, 1, draw(t, english(), UsageChart(Usage{Empty: EmptyView{Title: "None"}})).Find(id("empty")).Length())
}

func TestBalanceChart(t *testing.T) {
	b := Balance{ID: "bal", Title: "Balance", HasLimit: true, Limit: -2000, Until: noon, Points: []BalancePoint{
		{At: noon.Add(-48 * time.Hour), Fen: 10000, Note: "Recharge"}, {At: noon.Add(-24 * time.Hour), Fen: -3000, Note: "Daily charge"},
	}}
	doc := draw(t, english(), BalanceChart(b))
	steps := doc.Find(".plot-area .step")
	require.Equal(t, 2, steps.Length())
	require.Equal(t, "50.00%", steps.Eq(0).Find("line").First().AttrOr("x2", ""))
	require.True(t, steps.Eq(1).HasClass("step-negative"))
	require.Equal(t, "100.00%", steps.Eq(1).Find("line").First().AttrOr("x2", ""))
	require.Contains(t, text(doc.Find("details table")), "−30.00 Daily charge")

	one := draw(t, english(), BalanceChart(Balance{Points: b.Points[:1]}))
	require.Equal(t, 1, one.Find(".step").Length(), "one point is drawn, without dividing by the length of no time")
}

func TestLabelled_neverCrowds(t *testing.T) {
	for n := 1; n <= 400; n++ {
		shown, narrow := 0, 0
		for i := range n {
			s, w := labelled(i, n)
			if s {
				shown++
			}
			if s && w {
				narrow++
			}
		}
		require.LessOrEqual(t, shown, 8)
		require.LessOrEqual(t, narrow, 4)
		require.Positive(t, narrow)
	}
}

func TestAxisText(t *testing.T) {
	require.Equal(t, "1,000", axisText(100000, 2, []int64{0, 100000}))
	require.Equal(t, "0.50", axisText(50, 2, []int64{0, 50, 100}))
	require.True(t, strings.HasPrefix(axisText(-5000, 2, []int64{-5000}), "−"))
}
