package webtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/workflows"
)

// Read runs a day's reading cycle of a site without an engine: meters with registers are read, all others stay silent. What the
// validation would have found is given. The clock stands at the end of the cycle afterwards.
func (s *Server) Read(t testing.TB, site billing.SiteID, day billing.Date, values map[billing.MeterID]billing.Registers, found ...store.NewCase) billing.CycleID {
	t.Helper()
	ctx, by := context.Background(), store.By{Actor: "workflow"}
	freeze := day.Start(storetest.Zone)
	storetest.SetClock(t, s.Store, freeze.Add(5*time.Minute))
	id := billing.CycleID(string(site) + "/" + day.String())
	_, err := s.Store.PlanCycle(ctx, by, store.NewCycle{ID: id, Site: site, Day: day, FreezeAt: freeze, WindowEnd: freeze.Add(6 * time.Hour)})
	require.NoError(t, err)
	_, err = s.Store.AdvanceCycle(ctx, by, id, billing.CycleSweeping)
	require.NoError(t, err)
	require.NoError(t, s.Store.StartPass(ctx, by, id, 1))
	gateway := billing.GatewayID("G-" + site)
	meters, err := s.Store.CycleMeters(ctx, id, []billing.GatewayID{gateway})
	require.NoError(t, err)
	var swept []store.Swept
	for _, m := range meters {
		registers, read := values[m.ID]
		if !read {
			swept = append(swept, store.Swept{Gateway: gateway, Meter: m.ID, Outcome: "silent", Error: "no answer"})
			continue
		}
		swept = append(swept, store.Swept{Gateway: gateway, Meter: m.ID, Outcome: "read", Reading: &store.Reading{
			Meter: m.ID, FreezeAt: freeze, Version: 1, TakenAt: freeze.Add(5 * time.Minute), TakenReal: freeze, Quality: billing.QualityActual,
			Registers: registers, Supply: "on", RecordedBy: "workflow", Cycle: &id,
		}})
	}
	require.NoError(t, s.Store.SaveSweep(ctx, by, id, 1, swept))
	_, err = s.Store.AdvanceCycle(ctx, by, id, billing.CycleValidating)
	require.NoError(t, err)
	require.NoError(t, s.Store.SaveFindings(ctx, by, id, []billing.GatewayID{gateway}, store.Findings{Cases: found}))
	_, err = s.Store.AdvanceCycle(ctx, by, id, billing.CycleClosed)
	require.NoError(t, err)
	return id
}

// Recorder stands in for the engine: it keeps what it was told, and answers with Refuse when that is set.
type Recorder struct {
	client.Client // any other call of a test's is a mistake, and panics
	Updates       []client.UpdateWorkflowOptions
	Started       []string // ids of workflows
	Refuse        error
}

// NewRecorded starts a server whose engine is a Recorder.
func NewRecorded(t testing.TB) (*Server, *Recorder) {
	t.Helper()
	rec := &Recorder{}
	return NewWith(t, storetest.New(t), &workflows.Client{T: rec}), rec
}

// UpdateWorkflow keeps the update.
func (r *Recorder) UpdateWorkflow(_ context.Context, o client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	r.Updates = append(r.Updates, o)
	return answered{err: r.Refuse}, nil
}

type answered struct {
	client.WorkflowUpdateHandle
	err error
}

// Get answers at once.
func (a answered) Get(context.Context, any) error { return a.err }

// ExecuteWorkflow keeps the id of what was started; its run has ended well.
func (r *Recorder) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, _ any, _ ...any) (client.WorkflowRun, error) {
	r.Started = append(r.Started, o.ID)
	return finished{}, r.Refuse
}

type finished struct{ client.WorkflowRun }

// Get answers at once.
func (finished) Get(context.Context, any) error { return nil }
