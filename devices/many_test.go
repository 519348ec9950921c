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

// 200 meters on 8 lines, all asked and commanded at once by callers of their own, with answers lost and late meanwhile: no value is another
// meter's, and no credit comes twice. `make test` runs it under the race detector.
func TestTwoHundredMetersOnEightLines(t *testing.T) {
	t.Parallel()
	const lines, meters, rounds = 8, 25, 3
	spec, err := simulator.Generate(simulator.Generated{Seed: 3, Gateways: lines, Meters: meters, Line: simulator.GatewaySpec{SilentMillis: 20}})
	require.NoError(t, err)
	b := newBenchWith(t, spec, devices.Config{Timeout: time.Second, SwitchPoll: 50 * time.Millisecond, SwitchLimit: 20 * time.Second, SetAsideAfter: 99, LineAsideAfter: 99})
	for _, g := range spec.Gateways {
		b.inject(simulator.Fault{Kind: simulator.FaultLostReply, Gateway: g.ID, Times: 3})
		b.inject(simulator.Fault{Kind: simulator.FaultDropLink, Gateway: g.ID, On: "read", Times: 1})
	}
	var callers sync.WaitGroup
	for _, g := range spec.Gateways {
		for _, m := range g.Meters {
			callers.Go(func() {
				meter := devices.Meter{Address: devices.Address{Gateway: g.ID, HostPort: b.fleet.Addr(g.ID), Unit: m.Unit}, Serial: m.Serial, Profile: m.Profile}
				for round := range rounds {
					if err := b.live(meter, m, round); err != nil {
						t.Errorf("meter %s, round %d: %v", m.Serial, round, err)
					}
				}
			})
		}
	}
	callers.Wait()
	for _, g := range spec.Gateways {
		for _, m := range g.Meters {
			if m.CreditMode {
				require.Len(t, b.purchases(m.Serial), rounds)
			}
		}
	}
}

// live is a round in a meter's life: credit when it holds any, a cut and its end otherwise, and a reading.
func (b *bench) live(meter devices.Meter, m simulator.MeterSpec, round int) error {
	ctx := context.Background()
	if m.CreditMode {
		r, err := b.pool.DeliverCredit(ctx, meter, devices.CreditOrder{AmountFen: 100, Count: int64(round) + 1}, nil)
		if err != nil || r.Outcome != devices.OutcomeVerified {
			return fmt.Errorf("credit %s %s: %v", r.Outcome, r.Note, err)
		}
	} else if m.Unit%5 == 1 {
		for _, order := range []func(context.Context, devices.Meter) (devices.SwitchResult, error){b.pool.Trip, b.pool.Close} {
			r, err := order(ctx, meter)
			if err != nil || r.Outcome != devices.OutcomeVerified {
				return fmt.Errorf("switching %s %s: %v", r.Outcome, r.Note, err)
			}
		}
	}
	shot, err := b.pool.Snapshot(ctx, meter)
	if err != nil {
		return err
	}
	if shot.Serial != m.Serial {
		return fmt.Errorf("the answer is of meter %s", shot.Serial)
	}
	return nil
}
