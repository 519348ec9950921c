package webtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/devstack/devstacktest"
	"github.com/meterflow/meterflow/internal/notify"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/worker"
	"github.com/meterflow/meterflow/workflows"
)

// NewWithEngine starts a server with a real Temporal server and one worker, in a namespace of its own: the task queues have the
// same names in every test. Its gateways answer nothing.
func NewWithEngine(t testing.TB) *Server {
	t.Helper()
	address, namespace := devstacktest.Temporal(t), "web-"+strings.ToLower(rand.Text()[:10])
	options := client.Options{HostPort: address, Namespace: namespace, Logger: tlog.NewStructuredLogger(slog.New(slog.DiscardHandler))}
	makeNamespace(t, options)
	c, err := client.Dial(options)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	s := NewWith(t, storetest.New(t), &workflows.Client{T: c})

	// The provider's receipts come back over HTTP, as from outside.
	provider := s.Open(t)
	provider.Header.Set("Meterflow-Receipt-Secret", ReceiptSecret)
	sender := &notify.Demo{Deliver: func(_ context.Context, r notify.Receipt) error {
		body, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if a := provider.JSON(http.MethodPost, "/api/v1/receipts", string(body)); a.Status != http.StatusAccepted {
			return fmt.Errorf("status %d", a.Status)
		}
		return nil
	}}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- worker.Run(ctx, worker.Config{
			Temporal: c, Store: s.Store, Pool: devices.NewPool(devices.Config{}), Lines: &worker.Lines{Store: s.Store, Holder: namespace, Now: time.Now}, Sender: sender, Log: slog.New(slog.DiscardHandler),
		})
	}()
	t.Cleanup(func() {
		require.Eventually(t, sender.Quiet, Patience, Pause)
		stop()
		require.NoError(t, <-ended)
	})
	return s
}

// makeNamespace registers a namespace and waits until the server knows it everywhere.
func makeNamespace(t testing.TB, o client.Options) {
	t.Helper()
	ctx := context.Background()
	n, err := client.NewNamespaceClient(o)
	require.NoError(t, err)
	defer n.Close()
	require.NoError(t, n.Register(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: o.Namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	}))
	c, err := client.NewLazyClient(o)
	require.NoError(t, err)
	defer c.Close()
	require.Eventually(t, func() bool {
		_, err := c.WorkflowService().ListOpenWorkflowExecutions(ctx, &workflowservice.ListOpenWorkflowExecutionsRequest{Namespace: o.Namespace})
		return err == nil
	}, time.Minute, 200*time.Millisecond, "the new namespace isn't known after a minute")
}

// Patience is how long, in real time, a test waits for a workflow, and Pause how long between two looks.
const (
	Patience = 30 * time.Second
	Pause    = 50 * time.Millisecond
)
