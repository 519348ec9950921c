package app_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/bench"
)

// TestBenchBilling runs the whole measurement in small: each side does its work, every bill agrees with a fresh computation, and the
// report names the ratios and nothing else. What they come to here says nothing.
func TestBenchBilling(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "billing.json")
	status, out, errs := ended(t.Context(), t, program(t, ""), "bench", "billing", "--accounts", "500", "--report", file)
	require.Zero(t, status, "%s\n%s", out, end(errs))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var r bench.Report
	require.NoError(t, json.Unmarshal(text, &r))
	require.Equal(t, []string{"batch_vs_copy", "posting_vs_bare", "posting_vs_sql", "rating_vs_arithmetic", "run_vs_copy", "scale_100k_vs_10k"}, slices.Sorted(maps.Keys(r.Ratios)))
	for name, ratio := range r.Ratios {
		require.Positive(t, ratio, name)
	}
	require.Positive(t, r.Machine.Cores)
	require.NotEmpty(t, r.Machine.Postgres)
	require.Equal(t, int64(500), r.Sides["run"].Done)

	status, _, errs = ended(t.Context(), t, program(t, ""), "bench", "billing", "--accounts", "3")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "--accounts must be at least")
}
