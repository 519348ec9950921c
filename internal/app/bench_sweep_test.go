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

// TestBenchSweep runs both forms of the measurement in small, with the simulator as a process of its own: every meter is read or silent in each
// cycle, a restore waits for no more than two transactions, and each line needs one connection. What the times come to here says nothing.
func TestBenchSweep(t *testing.T) {
	t.Parallel()
	lines := swept(t, "--baud", "9600", "--dead", "10")
	require.Equal(t, []string{"connections_per_line", "goroutines_per_line", "restore_wait_transactions", "sweep_vs_wire", "sweep_vs_wire_dead", "sweep_vs_wire_quarantined"},
		slices.Sorted(maps.Keys(lines.Ratios)))
	require.Equal(t, int64(20), lines.Sides["sweep"].Done)
	require.Equal(t, int64(18), lines.Sides["sweep_dead"].Done, "a tenth of the meters is silent")
	require.InDelta(t, 1, lines.Ratios["connections_per_line"], 0)
	require.Positive(t, lines.Ratios["restore_wait_transactions"])
	require.LessOrEqual(t, lines.Ratios["restore_wait_transactions"], 2.0)
	// Four power lines of five meters: 10 or more exchanges of at least 50 ms each, whatever the machine.
	require.Greater(t, lines.Sides["wire"].Seconds, 1.0)
	require.Greater(t, lines.Ratios["sweep_vs_wire"], 1.0, "nothing is faster than the wire")
	require.Greater(t, lines.Sides["wire_dead"].Seconds, lines.Sides["wire_quarantined"].Seconds+1, "a silent meter costs its gateway's worst case, once")

	bare := swept(t, "--baud", "0")
	require.Equal(t, []string{"connections_per_line", "goroutines_per_line", "stored_vs_raw"}, slices.Sorted(maps.Keys(bare.Ratios)))
	require.Positive(t, bare.Ratios["stored_vs_raw"])
	require.Equal(t, bare.Sides["raw"].Done, bare.Sides["stored"].Done)

	status, _, errs := ended(t.Context(), t, program(t, ""), "bench", "sweep", "--dead", "80")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "--dead must be 0 to 50 percent")
}

func swept(t *testing.T, args ...string) (r bench.Report) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sweep.json")
	status, out, errs := ended(t.Context(), t, program(t, ""), append([]string{"bench", "sweep", "--gateways", "4", "--meters", "5", "--report", file}, args...)...)
	require.Zero(t, status, "%s\n%s", out, end(errs))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &r))
	require.InDelta(t, 4, r.Figures["lines"], 0)
	require.Positive(t, r.Figures["memory_mb"])
	require.Positive(t, r.Figures["goroutines"])
	return r
}
