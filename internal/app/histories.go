package app

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// historiesPerType is how many runs of each workflow are kept: the ones that took the most different paths.
const historiesPerType = 4

// recordHistories writes histories of closed runs of every workflow type to dir, for the replay tests. Among the runs of a type it
// prefers those whose sequence of events differs from the ones it has.
func recordHistories(ctx context.Context, c client.Client, namespace, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	kept := map[string]map[string]bool{}
	var next []byte
	for {
		page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: namespace, Query: "ExecutionStatus = 'Completed'", PageSize: 200, NextPageToken: next,
		})
		if err != nil {
			return err
		}
		for _, run := range page.Executions {
			kind := run.Type.Name
			if kept[kind] == nil {
				kept[kind] = map[string]bool{}
			}
			if len(kept[kind]) >= historiesPerType {
				continue
			}
			h, shape, err := history(ctx, c, run.Execution.WorkflowId, run.Execution.RunId)
			if err != nil {
				return err
			}
			if kept[kind][shape] {
				continue
			}
			kept[kind][shape] = true
			if err := writeHistory(dir, fmt.Sprintf("%s_%d.json", kind, len(kept[kind])), h); err != nil {
				return err
			}
		}
		if next = page.NextPageToken; len(next) == 0 {
			return nil
		}
	}
}

// history reads one run and tells its shape: which activities, timers, updates and signals happened, without repeats in a row.
func history(ctx context.Context, c client.Client, id, run string) (*historypb.History, string, error) {
	var h historypb.History
	var steps []string
	it := c.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for it.HasNext() {
		e, err := it.Next()
		if err != nil {
			return nil, "", err
		}
		h.Events = append(h.Events, e)
		step := e.EventType.String()
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			step = a.ActivityType.Name
		}
		if n := len(steps); n == 0 || steps[n-1] != step {
			steps = append(steps, step)
		}
	}
	return &h, strings.Join(steps, " "), nil
}

// writeHistory writes one run as the replayer reads it, without the name of the machine that it ran on.
func writeHistory(dir, name string, h *historypb.History) error {
	text, err := temporalproto.CustomJSONMarshalOptions{Indent: " "}.Marshal(h)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	text = bytes.ReplaceAll(text, []byte("@"+host+"@"), []byte("@machine@"))
	text = bytes.ReplaceAll(text, []byte(`"`+host+":"), []byte(`"machine:`))
	return os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o644) //nolint:gosec // recorded histories are part of the source
}
