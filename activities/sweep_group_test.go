package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// Lines without an owner are named beside the others: those that we dial get one soon, units that dial in when they call.
func TestLineHolders_namesLinesThatNobodyOwns(t *testing.T) {
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	ctx := context.Background()
	_, err := u.Pool.Exec(ctx, `INSERT INTO gateways (id, site_id, name, address) SELECT 'S' || n, id, 'S', '10.9.0.' || n || ':502' FROM sites, generate_series(1, 3) n;
		INSERT INTO gateways (id, site_id, name, link, registration_id, secret_sha256) SELECT 'U1', id, 'U', 'dial_in', 'unit-1', sha256('x') FROM sites`)
	require.NoError(t, err)
	enrolled, err := u.EnrolWorker(ctx, "w1", "p1", store.LineWorker{})
	require.NoError(t, err)
	require.True(t, enrolled)
	_, err = u.Pool.Exec(ctx, `INSERT INTO line_leases (gateway_id, holder, fence, expires_real) SELECT id, 'w1', 1, now() + interval '1 hour' FROM gateways WHERE id IN ('S1', 'S3')`)
	require.NoError(t, err)
	asked, err := u.AskLine(ctx, "probe", "S2", time.Minute) // somebody looks at one of its meters
	require.NoError(t, err)
	require.Equal(t, "probe", asked)
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&activities.ErrorInterceptor{}}})
	lines := &activities.Lines{Store: u.Store}
	env.RegisterActivity(lines)
	v, err := env.ExecuteActivity(lines.LineHolders, activities.LineHoldersInput{Gateways: []billing.GatewayID{"S1", "S2", "S3", "U1"}})
	require.NoError(t, err)
	var groups []activities.LineGroup
	require.NoError(t, v.Get(&groups))
	require.Equal(t, []activities.LineGroup{
		{Holder: "w1", Gateways: []billing.GatewayID{"S1", "S3"}}, {Soon: true, Gateways: []billing.GatewayID{"S2"}}, {Gateways: []billing.GatewayID{"U1"}},
	}, groups)
}
