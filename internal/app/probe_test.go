package app_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// A probe speaks only on a line that nobody else uses, as far as it can know, and says so when it can't.
func TestProbe(t *testing.T) {
	t.Parallel()
	u := storetest.NewUtility(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	spec, err := simulator.Generate(simulator.Generated{Gateways: 1, Meters: 1})
	require.NoError(t, err)
	fleet, err := simulator.NewFleet(spec, t.TempDir(), time.Now)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 2)
	go func() { served <- fleet.Serve(ctx) }()
	fleets := 1
	t.Cleanup(func() {
		cancel()
		for range fleets {
			require.NoError(t, <-served)
		}
	})
	meter := spec.Gateways[0].Meters[0]
	address := fleet.Addr(spec.Gateways[0].ID)
	database := u.Pool.Config().ConnString()
	probe := func(more ...string) (int, string, string) {
		args := append([]string{"devices", "probe", "--address", address, "--unit", fmt.Sprint(meter.Unit), "--profile", meter.Profile}, more...)
		return ended(t.Context(), t, program(t, ""), args...)
	}
	status, out, errs := probe()
	require.Zero(t, status, errs)
	require.Contains(t, out, meter.Serial)
	require.Contains(t, errs, "make sure that no worker uses it")
	status, out, errs = probe("--database-url", database)
	require.Zero(t, status, errs)
	require.Contains(t, out, meter.Serial)
	require.Contains(t, errs, "no such gateway")

	used, _ := fleet.LineUse(spec.Gateways[0].ID)
	status, out, errs = probe("--networks", "10.8.0.0/16")
	require.Equal(t, 1, status)
	require.Empty(t, out)
	require.Contains(t, errs, "outside the networks that gateways may be in")
	since, _ := fleet.LineUse(spec.Gateways[0].ID)
	require.Equal(t, used.Connections, since.Connections, "it was not dialled")

	// The installation knows it under its name.
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	require.NoError(t, u.AddGateway(t.Context(), storetest.By, store.Gateway{ID: "P1", Site: u.Site, Name: "probed", Link: "modbus_tcp", Address: "localhost:" + port, TimeoutMillis: 500}))
	status, out, errs = probe("--database-url", database)
	require.Zero(t, status, errs)
	require.Contains(t, out, meter.Serial)
	require.Empty(t, errs)
	// The gateway's own times hold, and a flag's before them.
	_, err = fleet.Inject(simulator.Fault{ID: "late", Kind: simulator.FaultSlow, DelayMillis: 1000})
	require.NoError(t, err)
	status, _, errs = probe("--database-url", database)
	require.Equal(t, 1, status, "it answers after the gateway's time-out")
	require.Contains(t, errs, "does not answer")
	status, out, errs = probe("--database-url", database, "--timeout", "5s")
	require.Zero(t, status, errs)
	require.Contains(t, out, meter.Serial)
	_, err = fleet.Clear(simulator.Fault{ID: "late"})
	require.NoError(t, err)

	ok, err := u.EnrolWorker(t.Context(), "w1", "one", store.LineWorker{})
	require.NoError(t, err)
	require.True(t, ok)
	held, err := u.HoldLines(t.Context(), store.LineHold{Holder: "w1", Process: "one", TTL: time.Minute})
	require.NoError(t, err)
	require.Contains(t, held.Leases, store.Lease{Gateway: "P1", Fence: 7}, "the probe gave it back, three times")
	status, out, errs = probe("--database-url", database, "--patience", "500ms")
	require.Equal(t, 1, status)
	require.Empty(t, out, "nothing was sent")
	require.Contains(t, errs, "the line of gateway P1 is in use by w1")
	held, err = u.HoldLines(t.Context(), store.LineHold{Holder: "w1", Process: "one", TTL: time.Minute})
	require.NoError(t, err)
	require.Contains(t, held.Leases, store.Lease{Gateway: "P1", Fence: 7}, "it doesn't want it any more")

	// A unit that dials in calls the probe.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = free.Addr().String()
	require.NoError(t, free.Close())
	status, _, errs = probe("--link", "dial_in")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "--registration and --secret")
	status, _, errs = probe("--link", "dial_in", "--registration", "u1", "--secret", "s", "--patience", "300ms")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "no unit called")
	unit, err := simulator.Generate(simulator.Generated{Gateways: 1, Meters: 1, Line: simulator.GatewaySpec{Link: "dial_in", DialTo: address, Registration: "u1", Secret: "s"}})
	require.NoError(t, err)
	calling, err := simulator.NewFleet(unit, t.TempDir(), time.Now)
	require.NoError(t, err)
	go func() { served <- calling.Serve(ctx) }()
	fleets++
	meter = unit.Gateways[0].Meters[0]
	status, out, errs = probe("--link", "dial_in", "--registration", "u1", "--secret", "s")
	require.Zero(t, status, errs)
	require.Contains(t, out, meter.Serial)

	// A serial server with a memory, whose link nobody has to say again.
	server, err := simulator.Generate(simulator.Generated{Gateways: 1, Meters: 1, Line: simulator.GatewaySpec{Link: "transparent"}})
	require.NoError(t, err)
	passing, err := simulator.NewFleet(server, t.TempDir(), time.Now)
	require.NoError(t, err)
	go func() { served <- passing.Serve(ctx) }()
	fleets++
	meter, address = server.Gateways[0].Meters[0], passing.Addr(server.Gateways[0].ID)
	require.NoError(t, u.AddGateway(t.Context(), storetest.By, store.Gateway{ID: "P2", Site: u.Site, Name: "passing", Link: "transparent", Address: address, TimeoutMillis: 1000, CachesMillis: 300}))
	status, out, errs = probe("--database-url", database)
	require.Zero(t, status, errs)
	require.Contains(t, out, meter.Serial)
	require.Contains(t, errs, "answers reads from its memory for 300ms")
}
