package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/demo"
	"github.com/meterflow/meterflow/internal/devstack"
)

// The tests of this package run the program itself, as a person at a terminal does, built the way it ships but for the day on which the demo
// begins.

// programs are the built variants, by build tag. They live as long as the test binary.
var programs struct {
	mu    sync.Mutex
	dir   string
	paths map[string]string
}

func TestMain(m *testing.M) {
	status := m.Run()
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	os.Exit(status)
}

// program is the built meterflow, with a build tag or none.
func program(t *testing.T, tag string) string {
	t.Helper()
	programs.mu.Lock()
	defer programs.mu.Unlock()
	if path, ok := programs.paths[tag]; ok {
		return path
	}
	if programs.dir == "" {
		dir, err := os.MkdirTemp("", "meterflow-programs-")
		require.NoError(t, err)
		programs.dir, programs.paths = dir, map[string]string{}
	}
	path := filepath.Join(programs.dir, "meterflow"+tag)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-trimpath", "-tags", tag, "-ldflags", "-X github.com/meterflow/meterflow/internal/demo.began="+began, "-o", path, "github.com/meterflow/meterflow/cmd/meterflow")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	programs.paths[tag] = path
	return path
}

// folder is a data folder that PostgreSQL's user may enter; t.TempDir is closed to others.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "meterflow-app-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("METERFLOW_KEEP") != "" {
			t.Log("kept", dir)
			return
		}
		require.NoError(t, devstack.Remove(dir))
	})
	return dir
}

// meterflow starts the program. It is asked to end when the test ends, and after a while made to.
func meterflow(ctx context.Context, path string, args ...string) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	cmd = exec.CommandContext(ctx, path, args...)
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, errs
	temporal, err := devstack.FindTemporal()
	if err == nil {
		cmd.Env = append(os.Environ(), devstack.TemporalServerVariable+"="+temporal)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	return cmd, out, errs
}

// ended runs the program to its end and gives its exit status and what it wrote.
func ended(ctx context.Context, t *testing.T, path string, args ...string) (status int, out, errs string) {
	t.Helper()
	cmd, o, e := meterflow(ctx, path, args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

// month runs the demo without a person for so many days and gives its report. Anything that didn't hold fails the test.
func month(t *testing.T, name string, days int, args ...string) demo.Report {
	t.Helper()
	file := filepath.Join(reports(t), name+".json")
	args = append([]string{"demo", "--exit", "--days", fmt.Sprint(days), "--report", file}, args...)
	status, out, errs := ended(t.Context(), t, program(t, ""), args...)
	if status != 0 {
		t.Logf("meterflow %s\n%s\n%s", strings.Join(args, " "), out, end(errs))
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var r demo.Report
	require.NoError(t, json.Unmarshal(text, &r))
	require.Zero(t, status, "%v", r.Failures())
	require.Empty(t, r.Failures())
	t.Logf("%d days took %.0f s", r.BusinessDays, r.TookSeconds)
	return r
}

// end is the end of a long text.
func end(text string) string {
	const most = 20_000
	return text[max(0, len(text)-most):]
}

// reports is the folder for reports: `make prove` keeps them.
func reports(t *testing.T) string {
	if dir := os.Getenv("METERFLOW_REPORTS"); dir != "" {
		return dir
	}
	return t.TempDir()
}

// demand is what a run must have come to, at least.
type demand struct {
	days                                                           int
	stored, estimated, manual, decisions, issued                   int64
	credited, rejected, cut, prevented, restored, reminded, faults int64
}

// TestDemo runs the demo utility's days, holds its report against what must have happened by then, and sees each planted violation.
func TestDemo(t *testing.T) {
	t.Parallel() // a demo waits about as much as it works, as do the tests that run beside it
	dir := folder(t)
	r := month(t, "demo", wanted.days, "--data", dir)
	for _, c := range []struct {
		what    string
		got     int64
		atLeast int64
	}{
		{what: "readings stored", got: r.Readings.Stored, atLeast: wanted.stored},
		{what: "estimated readings", got: r.Readings.Estimated, atLeast: wanted.estimated},
		{what: "manual readings", got: r.Readings.Manual, atLeast: wanted.manual},
		{what: "decisions", got: r.Exceptions.Resolved, atLeast: wanted.decisions},
		{what: "runs issued", got: r.Runs.Issued, atLeast: wanted.issued},
		{what: "reminders delivered", got: r.Reminders.Delivered, atLeast: wanted.reminded},
		{what: "recharges credited", got: r.Recharges.Credited, atLeast: wanted.credited},
		{what: "recharges rejected", got: r.Recharges.Rejected, atLeast: wanted.rejected},
		{what: "cuts verified", got: r.Cutoffs.Verified, atLeast: wanted.cut},
		{what: "cuts prevented", got: r.Cutoffs.Prevented, atLeast: wanted.prevented},
		{what: "restores verified", got: r.Restores.Verified, atLeast: wanted.restored},
		{what: "faults injected", got: r.Devices.FaultsInjected, atLeast: wanted.faults},
	} {
		require.GreaterOrEqual(t, c.got, c.atLeast, c.what)
	}
	require.Equal(t, wanted.days, r.BusinessDays)
	// What a reader brings from a round stands beside the planned readings; that each of those is there is an invariant of the report.
	require.GreaterOrEqual(t, r.Readings.Stored+r.Readings.Missing, r.Readings.Planned, "each planned reading is there or is known to be missing")
	require.NotEmpty(t, r.Refusals, "nobody was refused anything")
	testPlantings(t, dir)
}
