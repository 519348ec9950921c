// Package e2e_test walks through the product as people do: in a real Chromium, through the pages alone, on the demo utility with its
// simulated meters, a real PostgreSQL and a real Temporal server. It owns no rule of the business and looks into no table: what it
// expects it reads on a page.
package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/app"
	"github.com/meterflow/meterflow/internal/demo"
	"github.com/meterflow/meterflow/internal/devstack/devstacktest"
	"github.com/meterflow/meterflow/internal/store"
)

// monthsEnd is the demo's first month's end, at which the test begins, and hung is when the meters begin to count: late, so that few
// customers have run out of credit and the night is short. Nobody has read anything meanwhile; the next cycles make that up, as after a
// long outage. So a month is billed a minute after the start.
var (
	hung      = monthsEnd.AddDate(0, 0, -2)
	monthsEnd = time.Date(2026, 10, 1, 0, 0, 0, 0, time.FixedZone("Asia/Shanghai", 8*60*60))
)

// How long the test waits, in real time: for anything that a page shall show, and for the demo to come up.
const (
	patience = 3 * time.Minute
	lookPage = 500 * time.Millisecond
)

// startUtility runs the demo with a clock that stands and colleagues who do nothing, and gives the address of its pages.
func startUtility(t *testing.T) string {
	t.Helper()
	ctx := context.Background() // t.Context is over when cleanups run
	database := devstacktest.Postgres(t)
	data := t.TempDir()
	prepare(ctx, t, database, data)
	d := app.Demo{
		Database: app.Database{DatabaseURL: database},
		Temporal: app.Temporal{TemporalAddress: devstacktest.Temporal(t), TemporalNamespace: "e2e-" + strings.ToLower(rand.Text()[:10])},
		Listen:   freeAddress(t), Data: data, Seed: seed, Days: 35,
	}
	makeNamespace(ctx, t, d.Temporal)
	return serve(ctx, t, d)
}

// serve starts a demo and waits for its pages. It ends with the test.
func serve(ctx context.Context, t *testing.T, d app.Demo) string {
	t.Helper()
	var said bytes.Buffer
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- d.Run(ctx, slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn})))
	}()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
		if t.Failed() {
			t.Logf("the demo's log:\n%s", said.String())
		}
	})
	base := "http://" + d.Listen
	require.Eventually(t, func() bool {
		select {
		case err := <-ended:
			ended <- err
			return true
		default:
		}
		r, err := http.Get(base + "/sign-in") //nolint:noctx // ends with the server
		if err != nil {
			return false
		}
		defer func() { _ = r.Body.Close() }()
		return r.StatusCode == http.StatusOK
	}, patience, lookPage, "the pages don't answer")
	require.Empty(t, ended, "the demo ended")
	return base
}

// seed is what the utility is made from.
const seed = 1

// prepare hangs up the meters and puts the clock to its end before the demo fills the database, and lets
// nobody but the browser act.
func prepare(ctx context.Context, t *testing.T, database, data string) {
	t.Helper()
	spec, err := demo.Fleet(seed)
	require.NoError(t, err)
	meters, err := simulator.NewFleet(spec, filepath.Join(data, "meters"), func() time.Time { return hung })
	require.NoError(t, err)
	require.NoError(t, meters.Close())
	s, err := store.Open(ctx, database)
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Migrate(ctx)
	require.NoError(t, err)
	require.NoError(t, s.StartDemoClock(ctx, monthsEnd))
	by := store.By{Actor: "workflow", Reason: "browser test"}
	require.NoError(t, s.SteerClock(ctx, by, true, 0))
	require.NoError(t, s.SetColleagues(ctx, by, store.Colleagues{}))
}

// freeAddress is an address of this machine on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

// makeNamespace registers a namespace of this test's own: the task queues have the same names in every demo.
func makeNamespace(ctx context.Context, t *testing.T, engine app.Temporal) {
	t.Helper()
	o := client.Options{HostPort: engine.TemporalAddress, Namespace: engine.TemporalNamespace, Logger: tlog.NewStructuredLogger(slog.New(slog.DiscardHandler))}
	n, err := client.NewNamespaceClient(o)
	require.NoError(t, err)
	defer n.Close()
	require.NoError(t, n.Register(ctx, &workflowservice.RegisterNamespaceRequest{Namespace: o.Namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)}))
	c, err := client.NewLazyClient(o)
	require.NoError(t, err)
	defer c.Close()
	require.Eventually(t, func() bool {
		_, err := c.WorkflowService().ListOpenWorkflowExecutions(ctx, &workflowservice.ListOpenWorkflowExecutionsRequest{Namespace: o.Namespace})
		return err == nil
	}, time.Minute, lookPage, "the new namespace isn't known after a minute")
}
