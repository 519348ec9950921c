package devices_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

// boxBench is a box with 36 circuits from unit 37 on: 33 single-phase ones and, on its last three unit ids, one of three phases.
func boxBench(t *testing.T) (b *bench, circuit func(unit byte) devices.Meter) {
	spec := testSpec(t)
	g := &spec.Gateways[0]
	g.Boxes = []simulator.BoxSpec{{Base: 37, Circuits: 36}}
	like := g.Meters[0]
	for unit := byte(37); unit <= 70; unit++ {
		like.Unit, like.Serial, like.Profile = unit, fmt.Sprintf("%012d", 1000+int(unit)), "sim-adf300"
		if unit == 70 {
			like.Profile = "sim-adf300-three"
		}
		g.Meters = append(g.Meters, like)
	}
	b = newBench(t, spec)
	return b, func(unit byte) devices.Meter {
		m := b.meter(single)
		m.Unit, m.Serial, m.Profile, m.Box = unit, fmt.Sprintf("%012d", 1000+int(unit)), "sim-adf300", devices.Box{Base: 37, Circuits: 36}
		if unit == 70 {
			m.Profile = "sim-adf300-three"
		}
		return m
	}
}

// Every circuit is a meter of its own: what is written to one leaves the others as they are.
func TestBox_circuitsAreMeters(t *testing.T) {
	t.Parallel()
	b, circuit := boxBench(t)
	got, err := b.pool.DeliverCredit(t.Context(), circuit(40), devices.CreditOrder{AmountFen: 7000, Count: 1}, nil)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, got.Outcome, got.Note)
	cut, err := b.pool.Trip(t.Context(), circuit(70))
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, cut.Outcome)
	for unit := byte(37); unit <= 70; unit++ {
		shot, err := b.pool.Snapshot(t.Context(), circuit(unit))
		require.NoError(t, err, unit)
		require.Equal(t, map[bool]int64{true: 12_000, false: 5000}[unit == 40], *shot.RemainingFen, unit)
		require.Equal(t, map[bool]devices.SupplyState{true: devices.SupplyOff, false: devices.SupplyOn}[unit == 70], shot.Supply, unit)
	}
	require.Len(t, b.purchases(circuit(40).Serial), 1)
	require.Empty(t, b.purchases(circuit(41).Serial))
}

// The box says what it is; a circuit that it can't have is refused before anything goes to the line.
func TestBox_isIdentified(t *testing.T) {
	t.Parallel()
	b, circuit := boxBench(t)
	with := func(unit byte, spoil func(*devices.Meter)) devices.Meter {
		m := circuit(unit)
		spoil(&m)
		return m
	}
	for name, c := range map[string]struct {
		meter devices.Meter
		want  error
		asked bool
	}{
		"below the box":             {circuit(36), devices.ErrBadOrder, false},
		"above the box":             {circuit(73), devices.ErrBadOrder, false},
		"no box is known":           {with(40, func(m *devices.Meter) { m.Box = devices.Box{} }), devices.ErrBadOrder, false},
		"three phases at its end":   {with(71, func(m *devices.Meter) { m.Profile = "sim-adf300-three" }), devices.ErrBadOrder, false},
		"a box of another size":     {with(40, func(m *devices.Meter) { m.Box.Circuits = 24 }), devices.ErrWrongMeter, true},
		"single instead of three":   {with(70, func(m *devices.Meter) { m.Profile = "sim-adf300" }), devices.ErrWrongMeter, true},
		"three instead of single":   {with(40, func(m *devices.Meter) { m.Profile = "sim-adf300-three" }), devices.ErrWrongMeter, true},
		"second phase of a circuit": {with(71, func(*devices.Meter) {}), devices.ErrSilent, true},
	} {
		before := b.pool.Stats().Requests
		_, err := b.pool.Trip(t.Context(), c.meter)
		require.ErrorIs(t, err, c.want, name)
		require.Equal(t, c.asked, b.pool.Stats().Requests > before, name)
	}
	require.Equal(t, devices.SupplyOn, b.read(single).Supply)
}

func TestBox_badFleets(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*simulator.GatewaySpec){
		"begins at unit": func(g *simulator.GatewaySpec) { g.Boxes = []simulator.BoxSpec{{Base: 2, Circuits: 36}} },
		"overlap": func(g *simulator.GatewaySpec) {
			g.Boxes = []simulator.BoxSpec{{Base: 37, Circuits: 36}, {Base: 49, Circuits: 12}}
		},
		"is no circuit":      func(g *simulator.GatewaySpec) { g.Boxes = []simulator.BoxSpec{{Base: 1, Circuits: 12}} },
		"both take unit":     func(g *simulator.GatewaySpec) { boxed(g, 37, 38) },
		"the same clock_off": func(g *simulator.GatewaySpec) { boxed(g, 37, 40); g.Meters[1].ClockOffset = 9 },
	} {
		spec := testSpec(t)
		spoil(&spec.Gateways[0])
		_, err := simulator.NewFleet(spec, t.TempDir(), (&clock{}).now)
		require.ErrorContains(t, err, want)
	}
}

// boxed makes the first meter a three-phase circuit and the second a single-phase one of a box.
func boxed(g *simulator.GatewaySpec, three, single byte) {
	g.Boxes = []simulator.BoxSpec{{Base: 37, Circuits: 36}}
	g.Meters = g.Meters[:2]
	g.Meters[0].Unit, g.Meters[0].Profile = three, "sim-adf300-three"
	g.Meters[1].Unit, g.Meters[1].Profile = single, "sim-adf300"
}
