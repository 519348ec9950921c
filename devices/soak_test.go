package devices_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

// Purchases, switching and reading on two lines at once, with the business clock running as fast as a demo's and answers
// being lost: every verified purchase is in the meter's own record exactly once, every unverified one never, and every
// verified switch is what the record says the relay was at the instant of the read-back.
func TestCommandsUnderFaultsAgreeWithTheRecord(t *testing.T) {
	t.Parallel()
	const lines, meters, rounds = 2, 6, 6
	power, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	var spec simulator.FleetSpec
	for g := range lines {
		gateway := simulator.GatewaySpec{ID: fmt.Sprintf("g%d", g)}
		for i := range meters {
			gateway.Meters = append(gateway.Meters, simulator.MeterSpec{
				Unit: byte(i + 1), Serial: fmt.Sprintf("%06d%06d", g, i), Profile: "sim-ddsy1352",
				LoadProfile: power[g*meters+i], ScalePermille: 5000, CreditMode: true, RemainingFen: 100_000,
				PricesE8: [5]int64{90_000_000, 90_000_000, 90_000_000, 90_000_000, 90_000_000},
			})
		}
		spec.Gateways = append(spec.Gateways, gateway)
	}
	b := newBench(t, spec)
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { // 10,000 times as fast as real time
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				b.clock.advance(10 * time.Second)
			}
		}
	})
	for g := range lines {
		b.inject(simulator.Fault{Kind: simulator.FaultLostReply, Gateway: fmt.Sprintf("g%d", g), Times: 5})
		b.inject(simulator.Fault{Kind: simulator.FaultRepeatWrite, Gateway: fmt.Sprintf("g%d", g), Times: 3})
	}
	type switched struct {
		serial string
		at     time.Time
		want   simulator.SupplyState
	}
	var mu sync.Mutex
	verified, switches := map[string]int64{}, []switched{}
	var callers sync.WaitGroup
	for n := range lines * meters {
		callers.Go(func() {
			gateway := fmt.Sprintf("g%d", n/meters)
			m := devices.Meter{
				Address: devices.Address{Gateway: gateway, HostPort: b.fleet.Addr(gateway), Unit: byte(n%meters + 1)},
				Serial:  fmt.Sprintf("%06d%06d", n/meters, n%meters), Profile: "sim-ddsy1352",
			}
			ctx := context.Background()
			for round := range rounds {
				credit, err := b.pool.DeliverCredit(ctx, m, devices.CreditOrder{AmountFen: 1000 + int64(round), Count: int64(round) + 1}, nil)
				if err != nil || credit.Outcome != devices.OutcomeVerified {
					t.Errorf("%s round %d: %s %s %v", m.Serial, round, credit.Outcome, credit.Note, err)
					return
				}
				command, want := b.pool.Trip, simulator.SupplyOff
				if round%2 == 1 {
					command, want = b.pool.Close, simulator.SupplyOn
				}
				result, err := command(ctx, m)
				if err != nil || result.Outcome != devices.OutcomeVerified {
					t.Errorf("%s round %d: %s %s %v", m.Serial, round, result.Outcome, result.Note, err)
					return
				}
				mu.Lock()
				verified[m.Serial] += 1000 + int64(round)
				switches = append(switches, switched{m.Serial, result.After.TakenAt, want})
				mu.Unlock()
				if _, err := b.pool.Sweep(ctx, m); err != nil {
					t.Errorf("sweep: %v", err)
				}
			}
		})
	}
	callers.Wait()
	close(stop)
	running.Wait()

	entries, err := simulator.ReadRecord(b.dir)
	require.NoError(t, err)
	require.Len(t, verified, lines*meters)
	for serial, sum := range verified {
		accepted := simulator.Purchases(entries, serial)
		require.Len(t, accepted, rounds)
		for i, purchase := range accepted {
			require.Equal(t, int64(i+1), purchase.Count)
			sum -= purchase.AmountFen
		}
		require.Zero(t, sum)
	}
	for _, s := range switches {
		got, known := simulator.RelayAt(entries, s.serial, s.at)
		require.True(t, known)
		require.Equal(t, s.want, got)
	}
	require.Equal(t, 2*5, b.fleet.Faults().Hit[simulator.FaultLostReply])
}
