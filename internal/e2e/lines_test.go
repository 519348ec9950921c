package e2e_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/app"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/devstack/devstacktest"
	"github.com/meterflow/meterflow/internal/notify"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/worker"
	"github.com/meterflow/meterflow/workflows"
)

// TestWorkFollowsTheLines has meters read on demand all the time while a second worker comes, takes its half of the lines, and the first one ends:
// every reading is brought home by whoever owns the line then, and none takes as long as the time-outs of a worker that is gone.
func TestWorkFollowsTheLines(t *testing.T) {
	const gateways = 6
	u := storetest.NewUtility(t, time.Now().Add(-24*time.Hour).Truncate(time.Hour))
	power, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	spec := simulator.FleetSpec{Seed: seed}
	for i := range gateways {
		spec.Gateways = append(spec.Gateways, simulator.GatewaySpec{ID: fmt.Sprintf("L%d", i), Meters: []simulator.MeterSpec{
			{Unit: 1, Serial: fmt.Sprintf("%012d", i+1), Profile: "sim-ddsy1352", LoadProfile: power[i], OpeningRegisters: make([]int64, 6)},
		}})
	}
	fleet, err := simulator.NewFleet(spec, t.TempDir(), time.Now)
	require.NoError(t, err)
	ctx, end := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- fleet.Serve(ctx) }()
	t.Cleanup(func() {
		end()
		require.NoError(t, <-served)
	})
	var meters []billing.MeterID
	for _, g := range spec.Gateways {
		require.NoError(t, u.AddGateway(ctx, storetest.By, store.Gateway{
			ID: billing.GatewayID(g.ID), Site: u.Site, Name: g.ID, Link: "modbus_tcp", Address: fleet.Addr(g.ID), TimeoutMillis: 500,
		}))
		_, m := u.Account(storetest.NewAccount{Gateway: billing.GatewayID(g.ID), Serial: g.Meters[0].Serial, Unit: 1})
		meters = append(meters, m)
	}
	engine := app.Temporal{TemporalAddress: devstacktest.Temporal(t), TemporalNamespace: "lines-" + strings.ToLower(rand.Text()[:10])}
	makeNamespace(ctx, t, engine)
	quiet := slog.New(slog.DiscardHandler)
	flows, err := client.DialContext(ctx, client.Options{HostPort: engine.TemporalAddress, Namespace: engine.TemporalNamespace, Logger: tlog.NewStructuredLogger(quiet)})
	require.NoError(t, err)
	t.Cleanup(flows.Close)
	start := func(name string) (stop func()) {
		lines := &worker.Lines{Store: u.Store, Holder: name, Now: time.Now}
		pool := devices.NewPool(devices.Config{Timeout: time.Second, Owns: lines.Owns, MaySend: lines.MaySend})
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- worker.Run(ctx, worker.Config{Temporal: flows, Store: u.Store, Pool: pool, Lines: lines, Sender: &notify.Demo{Deliver: notify.Unheard}, Log: quiet})
		}()
		stop = sync.OnceFunc(func() {
			cancel()
			require.NoError(t, <-ended)
		})
		t.Cleanup(stop)
		return stop
	}
	owned := func() map[string]int {
		rows, err := u.LineHolders(ctx, []billing.GatewayID{"L0", "L1", "L2", "L3", "L4", "L5", "G1", "G2"})
		require.NoError(t, err)
		n := map[string]int{}
		for _, o := range rows {
			n[o.Holder]++
		}
		return n
	}
	settles := func(want map[string]int) {
		t.Helper()
		require.Eventually(t, func() bool { return fmt.Sprint(owned()) == fmt.Sprint(want) }, patience, 200*time.Millisecond)
	}
	stopFirst := start("one")
	settles(map[string]int{"one": 8})

	var readings, longest atomic.Int64
	reading, enough := context.WithCancel(ctx)
	var readers sync.WaitGroup
	c := &workflows.Client{T: flows}
	for _, m := range meters {
		readers.Go(func() {
			for reading.Err() == nil {
				began := time.Now()
				done, err := c.ReadOnDemand(ctx, m, "sup1")
				if err != nil {
					t.Errorf("meter %s: %v", m, err)
					return
				}
				cycle, err := u.Cycle(ctx, done.CycleID)
				if err != nil || cycle.Read != 1 {
					t.Errorf("meter %s: cycle %s has %d readings and %d missing: %v", m, done.CycleID, cycle.Read, cycle.Missing, err)
				}
				readings.Add(1)
				longest.Store(max(longest.Load(), int64(time.Since(began))))
				time.Sleep(3 * time.Second)
			}
		})
	}
	t.Cleanup(enough)
	start("two")
	settles(map[string]int{"one": 4, "two": 4})
	stopFirst()
	settles(map[string]int{"two": 8})
	before := readings.Load()
	require.Eventually(t, func() bool { return readings.Load() >= before+int64(len(meters)) }, patience, 200*time.Millisecond)
	enough()
	readers.Wait()
	require.Less(t, time.Duration(longest.Load()), 2*time.Minute, "a step waited for a worker that was gone")
	t.Logf("%d readings, the longest took %s", readings.Load(), time.Duration(longest.Load()))
}
