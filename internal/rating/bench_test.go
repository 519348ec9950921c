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
