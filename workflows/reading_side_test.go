package workflows

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
)

// stage is a workflow environment whose business clock is the environment's own time: waits end when their timers do.
type stage struct {
	*testsuite.TestWorkflowEnvironment
	t *testing.T
}

func newStage(t *testing.T) *stage {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	s := &stage{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t}
	s.SetTestTimeout(20 * time.Second)
	for _, a := range []any{&activities.Clock{}, &activities.Lines{}, &activities.Metering{}, &activities.Review{}, &activities.Rating{}, &activities.Billing{},
		&activities.Delivery{}, &activities.Supply{}} {
		s.RegisterActivity(a)
	}
	s.OnActivity(clock.AskClock, mock.Anything, mock.Anything).Maybe().Return(func(_ context.Context, in activities.AskClock) (activities.ClockAnswer, error) {
		now := s.Now()
		reached := in.WorkflowID != "" && !now.Before(in.Due)
		return activities.ClockAnswer{Now: now, Reached: reached, Guess: max(in.Due.Sub(now), time.Second)}, nil
	})
	s.OnActivity(clock.ForgetWait, mock.Anything, mock.Anything, mock.Anything).Maybe().Return(nil)
	s.OnActivity(lines.LineHolder, mock.Anything, mock.Anything).Maybe().Return("w1", nil)
	return s
}

// children lets child workflows of these types start and do nothing, and counts the starts by id.
func (s *stage) children(workflows ...any) (started map[string]int) {
	started = map[string]int{}
	for _, wf := range workflows {
		s.RegisterWorkflow(wf)
		s.OnWorkflow(wf, mock.Anything, mock.Anything).Maybe().Return(nil)
	}
	s.SetOnChildWorkflowStartedListener(func(info *workflow.Info, _ workflow.Context, _ converter.EncodedValues) {
		started[info.WorkflowExecution.ID]++
	})
	return started
}

// update sends an update at a moment of the environment's time and keeps its outcome.
func (s *stage) update(after time.Duration, name string, in any) *outcome {
	o := &outcome{}
	s.RegisterDelayedCallback(func() { s.UpdateWorkflow(name, name+after.String(), o.callback(), in) }, after)
	return o
}

type outcome struct {
	rejected, failed error
	done             bool
}

func (o *outcome) callback() *testsuite.TestUpdateCallback {
	return &testsuite.TestUpdateCallback{
		OnAccept: func() {}, OnReject: func(err error) { o.rejected = err },
		OnComplete: func(_ any, err error) { o.failed, o.done = err, true },
	}
}

// ok says that the update was taken and carried out.
func (o *outcome) ok(t *testing.T) {
	t.Helper()
	require.NoError(t, o.rejected)
	require.NoError(t, o.failed)
	require.True(t, o.done)
}

// refusedAs says that the validator refused the update with a code.
func (o *outcome) refusedAs(t *testing.T, code billing.Code) {
	t.Helper()
	require.Error(t, o.rejected)
	var app *temporal.ApplicationError
	require.ErrorAs(t, o.rejected, &app)
	require.Equal(t, string(code), app.Type())
}

func (s *stage) finished() {
	s.t.Helper()
	require.True(s.t, s.IsWorkflowCompleted())
	require.NoError(s.t, s.GetWorkflowError())
	s.AssertExpectations(s.t)
}
