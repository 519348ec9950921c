package locale

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMoney(t *testing.T) {
	for fen, want := range map[int64]string{
		0: "0.00", 1: "0.01", 99: "0.99", 100: "1.00", 123456: "1,234.56", -5: "−0.05", -123456: "−1,234.56",
		100000000: "1,000,000.00", math.MinInt64: "−92,233,720,368,547,758.08",
	} {
		require.Equal(t, want, Money(fen))
	}
	require.Equal(t, "+1.00", MoneySigned(int64(100)))
	require.Equal(t, "−1.00", MoneySigned(int64(-100)))
	require.Equal(t, "0.00", MoneySigned(int64(0)))
}

func TestQuantity(t *testing.T) {
	require.Equal(t, "12,345.67", Quantity(int64(1234567), 2))
	require.Equal(t, "0.001", Quantity(int64(1), 3))
	require.Equal(t, "1,234,567", Quantity(int64(1234567), 0))
	require.Equal(t, "7", Quantity(int64(7), -1))
}

func TestQuantity_readsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw, scale := rapid.Int64().Draw(t, "raw"), rapid.IntRange(0, 8).Draw(t, "scale")
		text := strings.NewReplacer(",", "", ".", "", minus, "-").Replace(Quantity(raw, scale))
		back, err := strconv.ParseInt(text, 10, 64)
		if err != nil || back != raw {
			t.Fatalf("%d at scale %d reads back as %q", raw, scale, text)
		}
	})
}

func TestDates(t *testing.T) {
	zh, en := context.Background(), WithLang(context.Background(), EN)
	at := time.Date(2026, 10, 30, 16, 15, 4, 0, time.UTC) // already Saturday the 31st in China
	require.Equal(t, "2026-10-31", Date(zh, at))
	require.Equal(t, "2026-10-31 00:15", DateTime(zh, at))
	require.Equal(t, "2026-10-31 00:15:04", Stamp(zh, at))
	require.Equal(t, "2026-10-31 周六", Day(zh, at))
	require.Equal(t, "2026-10-31 Sat", Day(en, at))
	require.Equal(t, "2026-10-30 Fri", Day(WithZone(en, time.UTC), at))
	require.Equal(t, "–", Date(zh, time.Time{}))
	require.Equal(t, "–", Day(zh, time.Time{}))
}

func TestSpans(t *testing.T) {
	zh, en := context.Background(), WithLang(context.Background(), EN)
	now := time.Date(2026, 10, 30, 16, 0, 0, 0, time.UTC)
	require.Equal(t, "59 秒", Span(zh, 59*time.Second))
	require.Equal(t, "59 min", Span(en, 59*time.Minute+59*time.Second))
	require.Equal(t, "47 h", Span(en, 47*time.Hour))
	require.Equal(t, "2 d", Span(en, 48*time.Hour))
	require.Equal(t, "3 h ago", Ago(en, now.Add(-3*time.Hour), now))
	require.Equal(t, "3 小时后", Ago(zh, now.Add(3*time.Hour), now))
	require.Equal(t, "已 5 分钟", Waiting(zh, now.Add(-5*time.Minute), now))
}
