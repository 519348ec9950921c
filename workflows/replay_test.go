package workflows_test

import (
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/workflows"
)

// The histories were recorded by `make record` from a demo of the release that the folder names. A change of a workflow that breaks
// runs in flight turns this red: gate it with workflow.GetVersion.
func recorded(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/replay/*/*.json")
	require.NoError(t, err)
	return files
}

func TestReplay(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range recorded(t) {
		kind, _, _ := strings.Cut(filepath.Base(file), "_")
		seen[kind] = true
		t.Run(filepath.Base(file), func(t *testing.T) {
			r := worker.NewWorkflowReplayer()
			for _, w := range workflows.All {
				r.RegisterWorkflow(w)
			}
			require.NoError(t, r.ReplayWorkflowHistoryFromJSONFile(nil, file))
		})
	}
	for _, w := range workflows.All {
		name := nameOf(w)
		require.True(t, seen[name], "no history of %s is recorded: run make record", name)
	}
}

func nameOf(f any) string {
	full := runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
	return full[strings.LastIndex(full, ".")+1:]
}

// A workflow that does one thing more than the recorded one must be noticed, or the test above proves nothing.
func TestReplay_mutatedWorkflowFails(t *testing.T) {
	mutated := func(ctx workflow.Context, in workflows.StartDueInput) error {
		if err := workflow.Sleep(ctx, 1); err != nil {
			return err
		}
		return workflows.StartDue(ctx, in)
	}
	files, err := filepath.Glob("testdata/replay/*/StartDue_*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files, "no history of StartDue is recorded: run make record")
	r := worker.NewWorkflowReplayer()
	r.RegisterWorkflowWithOptions(mutated, workflow.RegisterOptions{Name: "StartDue"})
	require.ErrorContains(t, r.ReplayWorkflowHistoryFromJSONFile(nil, files[0]), "TMPRL1100")
}
