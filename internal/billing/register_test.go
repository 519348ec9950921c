package billing_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
)

func TestUsage(t *testing.T) {
	use, err := billing.Usage(billing.Registers{99999990}, billing.Registers{15}, 8)
	require.NoError(t, err)
	require.Equal(t, billing.Registers{25}, use, "through the rollover")
	_, err = billing.Usage(billing.Registers{1000}, billing.Registers{990}, 8)
	require.ErrorContains(t, err, "total register went back", "a small step back is no rollover")
	_, err = billing.Usage(billing.Registers{1000}, billing.Registers{990}, 0)
	require.Error(t, err, "unknown digits never wrap")
	_, err = billing.Usage(billing.Registers{1}, billing.Registers{1, 0, 0, 0, 0, 0}, 8)
	require.ErrorContains(t, err, "record an exchange")
}

func TestBetween_losesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const digits = 8
		wrap := billing.Wrap(digits)
		prev, use := make(billing.Registers, 6), make(billing.Registers, 6)
		for i := 1; i < 6; i++ {
			prev[i] = rapid.Int64Range(0, wrap-1).Draw(t, "prev")
			use[i] = rapid.Int64Range(0, wrap/10).Draw(t, "use")
		}
		prev[0], use[0] = rapid.Int64Range(0, wrap-1).Draw(t, "total"), use.BandSum()
		cur := make(billing.Registers, 6)
		for i := range cur {
			cur[i] = (prev[i] + use[i]) % wrap
		}
		span := time.Duration(rapid.Int64Range(1, int64(400*24*time.Hour)).Draw(t, "span"))
		elapsed := time.Duration(rapid.Int64Range(0, int64(span)).Draw(t, "elapsed"))

		at, err := billing.Between(prev, cur, digits, elapsed, span)
		require.NoError(t, err)
		before, err := billing.Usage(prev, at, digits)
		require.NoError(t, err)
		after, err := billing.Usage(at, cur, digits)
		require.NoError(t, err)
		require.Equal(t, before.Total(), before.BandSum())
		for i := range use {
			require.Equal(t, use[i], before[i]+after[i])
		}
	})
}
