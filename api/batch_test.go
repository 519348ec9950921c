package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/webtest"
)

type batchAnswer struct {
	ID, State, Detail                                    string
	Meters, Skipped, Left, Verified, Cancelled, In_doubt int //nolint:revive // as JSON names it
}

// field is a compound with simulated relays behind its gateway, and the people who order work on them.
type field struct {
	*webtest.Server
	t         *testing.T
	fleet     *simulator.Fleet
	sup, sup2 *webtest.Browser
	meters    []billing.MeterID
}

func newField(t *testing.T, meters int) *field {
	t.Helper()
	f := &field{Server: webtest.NewWithEngine(t), t: t}
	series, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	g := simulator.GatewaySpec{ID: "G-compound", Listen: "127.0.0.1:0", SilentMillis: 30}
	for i := range meters {
		f.meters = append(f.meters, f.Account(t, webtest.Compound, billing.AccountID(fmt.Sprintf("A%d", i+1)), 5000))
		g.Meters = append(g.Meters, simulator.MeterSpec{Unit: byte(i + 1), Serial: fmt.Sprintf("%012d", i+1), Profile: "sim-ddsy1352", LoadProfile: series[i], OpeningRegisters: make([]int64, 6)})
	}
	f.fleet, err = simulator.NewFleet(simulator.FleetSpec{Seed: 1, Gateways: []simulator.GatewaySpec{g}}, t.TempDir(), func() time.Time { return webtest.Start })
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.fleet.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	_, err = f.Store.Pool.Exec(ctx, `UPDATE gateways SET address = $1, timeout_ms = 1000 WHERE id = 'G-compound'`, f.fleet.Addr("G-compound"))
	require.NoError(t, err)
	f.sup, f.sup2 = f.SignIn(t, webtest.Supervisor), f.SignIn(t, webtest.Supervisor2)
	return f
}

func (f *field) ask(b *webtest.Browser, method, path, body string, status int) batchAnswer {
	f.t.Helper()
	a := b.JSON(method, "/api/v1"+path, body)
	require.Equal(f.t, status, a.Status, a.Body)
	var out batchAnswer
	require.NoError(f.t, json.Unmarshal([]byte(a.Body), &out))
	return out
}

func (f *field) becomes(id, state string) batchAnswer {
	f.t.Helper()
	var b batchAnswer
	require.Eventually(f.t, func() bool {
		b = f.ask(f.sup, http.MethodGet, "/batches/"+id, "", http.StatusOK)
		return b.State == state
	}, webtest.Patience, webtest.Pause, "the batch doesn't come to %s", state)
	return b
}

// Relays are held on and released over real sockets, below a rate, while one meter is silent and one loses its answers.
func TestBatches_overTheAPI(t *testing.T) {
	f := newField(t, 6)
	for unit, kind := range map[byte]simulator.FaultKind{2: simulator.FaultSilent, 3: simulator.FaultLostReply} {
		_, err := f.fleet.Inject(simulator.Fault{Kind: kind, Gateway: "G-compound", Unit: unit, Times: map[simulator.FaultKind]int{simulator.FaultLostReply: 1}[kind]})
		require.NoError(t, err)
	}
	const at = "/sites/compound/batches"
	stranger := f.Account(t, webtest.Plaza, "A99", 0)
	refused := f.ask(f.sup, http.MethodPost, at, fmt.Sprintf(`{"kind":"relay","action":"keep_on","meters":["%s","%s"],"reason":"storm"}`, f.meters[0], stranger), http.StatusUnprocessableEntity)
	require.Contains(t, refused.Detail, "meter "+string(stranger)+" is not one of the fitted meters of site compound")
	require.Contains(t, f.ask(f.sup, http.MethodPost, at, `{"kind":"relay","action":"trip","reason":"debt"}`, http.StatusUnprocessableEntity).Detail, "never takes supply away")
	f.ask(f.sup, http.MethodPost, "/sites/plaza/batches", `{"kind":"relay","action":"keep_on","reason":"x"}`, http.StatusNotFound)
	f.ask(f.SignIn(t, webtest.Clerk), http.MethodPost, at, `{"kind":"relay","action":"keep_on","reason":"x"}`, http.StatusForbidden)

	hold := f.ask(f.sup, http.MethodPost, at, `{"kind":"relay","action":"keep_on","gateway":"G-compound","rate":120,"reason":"storm"}`, http.StatusCreated)
	require.Equal(t, "previewed", hold.State)
	require.Equal(t, 6, hold.Left)
	f.ask(f.SignIn(t, webtest.OtherSupervisor), http.MethodGet, "/batches/"+hold.ID, "", http.StatusNotFound)
	began := time.Now()
	f.ask(f.sup, http.MethodPost, "/batches/"+hold.ID+"/start", "", http.StatusOK)
	b := f.becomes(hold.ID, "done")
	require.GreaterOrEqual(t, time.Since(began), 2500*time.Millisecond, "six orders at 120 a minute")
	require.Equal(t, 5, b.Verified)
	require.Equal(t, 1, b.Skipped)
	f.ask(f.sup, http.MethodPost, "/batches/"+hold.ID+"/cancel", `{"reason":"late"}`, http.StatusConflict)
	members := f.sup.JSON(http.MethodGet, "/api/v1/batches/"+hold.ID+"/meters?state=skipped", "")
	require.Contains(t, members.Body, `"skip":"unreached"`)
	require.Contains(t, members.Body, string(f.meters[1]))
	entries := f.fleet
	for i := range 6 {
		s, err := entries.MeterState(fmt.Sprintf("%012d", i+1))
		require.NoError(t, err)
		require.Equal(t, map[bool]string{true: "", false: "on"}[i == 1], s.Forced)
	}

	release := f.ask(f.sup, http.MethodPost, at, `{"kind":"relay","action":"release","reason":"over"}`, http.StatusCreated)
	require.Equal(t, 5, release.Left)
	require.Contains(t, f.ask(f.sup, http.MethodPost, "/batches/"+release.ID+"/start", "", http.StatusForbidden).Detail, "another person must start it")
	f.ask(f.sup2, http.MethodPost, "/batches/"+release.ID+"/start", "", http.StatusOK)
	require.Equal(t, 5, f.becomes(release.ID, "done").Verified)
	commands := 0
	require.NoError(t, f.Store.Pool.QueryRow(t.Context(), `SELECT count(*) FROM commands WHERE state = 'verified' AND attempts = 1 AND frames <> '[]'`).Scan(&commands))
	require.Equal(t, 10, commands, "one order per meter, with its frames")
}

// A slow batch is cancelled: what had left is settled, the rest never leaves.
func TestBatches_cancelled(t *testing.T) {
	f := newField(t, 4)
	slow := f.ask(f.sup, http.MethodPost, "/sites/compound/batches", `{"kind":"relay","action":"keep_on","rate":1,"reason":"storm"}`, http.StatusCreated)
	f.ask(f.sup, http.MethodPost, "/batches/"+slow.ID+"/start", "", http.StatusOK)
	require.Eventually(t, func() bool { return f.ask(f.sup, http.MethodGet, "/batches/"+slow.ID, "", http.StatusOK).Verified == 1 }, webtest.Patience, webtest.Pause)
	b := f.ask(f.sup2, http.MethodPost, "/batches/"+slow.ID+"/cancel", `{"reason":"wrong gateway"}`, http.StatusOK)
	require.Equal(t, "cancelled", b.State)
	require.Equal(t, 1, b.Verified)
	require.Equal(t, 3, b.Cancelled)
	var commands int
	require.NoError(t, f.Store.Pool.QueryRow(t.Context(), `SELECT count(*) FROM commands`).Scan(&commands))
	require.Equal(t, 1, commands)
	_, _, first, err := f.Store.VerifyJournal(t.Context())
	require.NoError(t, err)
	require.Nil(t, first)
}
