package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/api"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/webtest"
)

// An exchange through the API, on real workflows: refusals change nothing, the act is done once, and the meter is gone.
func TestExchange(t *testing.T) {
	s := webtest.NewWithEngine(t)
	m := s.Account(t, webtest.Compound, "A1", 5_000)
	s.Account(t, webtest.Plaza, "B1", 5_000)
	b := s.SignIn(t, webtest.Supervisor)
	path := "/api/v1/meters/" + string(m) + "/exchange"
	const good = `{"reason":"eight years old","closing":[0,0,0,0,0,0],"new_meter":"M9","serial":"260100000009","opening":[500,0,500,0,0,0]}`
	s.Unchanged(t, func() {
		refused(t, b.JSON("POST", path, strings.Replace(good, "260100000009", "000000000001", 1)), http.StatusUnprocessableEntity, billing.CodeInvalidInput, "is that of meter")
		refused(t, b.JSON("POST", path, strings.Replace(good, `"new_meter"`, `"remaining_fen":100,"new_meter"`, 1)), http.StatusUnprocessableEntity, billing.CodeInvalidInput, "holds no money")
		require.Equal(t, http.StatusNotFound, b.JSON("POST", "/api/v1/meters/MB1/exchange", good).Status, "another site's meter")
		require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).JSON("POST", path, good).Status)
	})
	a := b.JSON("POST", path, good)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	var got api.Meter
	require.NoError(t, json.Unmarshal([]byte(a.Body), &got))
	require.Equal(t, billing.MeterID("M9"), got.ID)
	refused(t, b.JSON("POST", path, good), http.StatusConflict, billing.CodeClosed, "not fitted any more")
	var state string
	require.Eventually(t, func() bool {
		require.NoError(t, s.Store.Pool.QueryRow(context.Background(), `SELECT state FROM exchanges WHERE old_meter_id = $1`, m).Scan(&state))
		return state == "done"
	}, 10*time.Second, 50*time.Millisecond)
}

// On real workflows and a real socket: the new meter gets what the old one held, once; the hold of an arrears case that has ended is dropped.
func TestExchange_creditReachesTheNewMeter(t *testing.T) {
	s := webtest.NewWithEngine(t)
	m := s.Account(t, webtest.Compound, "A1", 5_000)
	power, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	fleet, err := simulator.NewFleet(simulator.FleetSpec{Seed: 1, Gateways: []simulator.GatewaySpec{{ID: "G-compound", Listen: "127.0.0.1:0", SilentMillis: 30, Meters: []simulator.MeterSpec{
		{Unit: 1, Serial: "260100000009", Profile: "sim-ddsy1352", LoadProfile: power[0], CreditMode: true, OpeningRegisters: make([]int64, 6)},
	}}}}, t.TempDir(), func() time.Time { return webtest.Start })
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- fleet.Serve(ctx) }()
	defer func() { stop(); <-served }()
	for _, change := range []string{`UPDATE accounts SET credit_mode = 'meter'`, `UPDATE supplies SET guarded = true`} {
		_, err = s.Store.Pool.Exec(ctx, change)
		require.NoError(t, err)
	}
	_, err = s.Store.Pool.Exec(ctx, `UPDATE gateways SET address = $1 WHERE id = 'G-compound'`, fleet.Addr("G-compound"))
	require.NoError(t, err)
	a := s.SignIn(t, webtest.Supervisor).JSON("POST", "/api/v1/meters/"+string(m)+"/exchange",
		`{"reason":"eight years old","closing":[0,0,0,0,0,0],"new_meter":"M9","serial":"260100000009","remaining_fen":4500,"opening":[0,0,0,0,0,0]}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	var credit, hold string
	require.Eventually(t, func() bool {
		var state string
		require.NoError(t, s.Store.Pool.QueryRow(ctx, `SELECT credit, hold, state FROM exchanges`).Scan(&credit, &hold, &state))
		return state == "done"
	}, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, "credited dropped", credit+" "+hold)
	state, err := fleet.MeterState("260100000009")
	require.NoError(t, err)
	require.EqualValues(t, 4_500, state.RemainingFen)
	require.EqualValues(t, 1, state.PurchaseCount)
}
