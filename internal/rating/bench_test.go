package rating_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

// One account's month of daily readings on bands with a step adder.
func BenchmarkRate_bandsAndSteps(b *testing.B) {
	in := inJanuary(demoTariff(b, "zj-residential-tou"), nil)
	in.Points = nil
	for day := range int64(32) {
		in.Points = append(in.Points, rating.Point{
			At:        january.AddDate(0, 0, int(day)),
			Registers: billing.Registers{day * 1000, 0, day * 600, 0, day * 400, 0},
			Fitting:   1,
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		_, err := rating.Rate(in)
		require.NoError(b, err)
	}
}

// The two sides of rating_vs_arithmetic; they agree to the fen.
func BenchmarkSides(b *testing.B) {
	sides, err := rating.BenchSides(1000)
	require.NoError(b, err)
	b.Run("rated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := sides.Rated()
			require.NoError(b, err)
		}
	})
	b.Run("bare", func(b *testing.B) {
		var sum int64
		for b.Loop() {
			sum += sides.Bare()
		}
		require.NotZero(b, sum)
	})
}

func TestBenchSides_agree(t *testing.T) {
	sides, err := rating.BenchSides(5000)
	require.NoError(t, err)
	rated, err := sides.Rated()
	require.NoError(t, err)
	require.Equal(t, sides.Bare(), int64(rated))
	// Nothing is allocated for an account once the first ones were rated.
	require.Zero(t, testing.AllocsPerRun(3, func() { _, _ = sides.Rated() }))
}
