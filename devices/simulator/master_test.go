package simulator

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// floor is a gateway with three meters, one of them behind transformers, and a master that sums them.
func floor(t *testing.T) FleetSpec {
	spec := GatewaySpec{ID: "g1"}
	m := MeterSpec{Unit: 9, Serial: "000000000009", Profile: "sim-dtsy1352", LoadProfile: ids(t, false)[0], Ratio: 10, LossPermille: 20}
	for i := range 3 {
		sub := MeterSpec{Unit: byte(i + 1), Serial: "00000000000" + string(rune('1'+i)), Profile: "sim-ddsy1352", LoadProfile: ids(t, false)[i], ScalePermille: 20_000}
		if i == 2 {
			sub.Ratio = 20
		}
		spec.Meters = append(spec.Meters, sub)
		m.SumOf = append(m.SumOf, sub.Serial)
	}
	spec.Meters = append(spec.Meters, m)
	return FleetSpec{Gateways: []GatewaySpec{spec}}
}

// counted is what the subs counted since the start, after ratio.
func counted(t *testing.T, f *Fleet) (total int64) {
	for serial, ratio := range map[string]int64{"000000000001": 1, "000000000002": 1, "000000000003": 20} {
		total += state(t, f, serial).Registers[0] * ratio
	}
	return total
}

func TestMaster_sumsItsSubs(t *testing.T) {
	t.Parallel()
	c := &ticker{at: epoch}
	dir := t.TempDir()
	f := open(t, floor(t), dir, c)
	c.at = epoch.AddDate(0, 0, 3)
	master := state(t, f, "000000000009")
	subs := counted(t, f)
	require.InDelta(t, subs*102/100, master.Registers[0]*10, 40, "two percent more, to the units that registers hide")
	var bands int64
	for _, r := range master.Registers[1:] {
		bands += r
	}
	require.Equal(t, master.Registers[0], bands)

	// A bypass: half of one meter's use goes past it, and the master sees all of it.
	_, err := f.Inject(Fault{Kind: FaultUnderCount, Serial: "000000000001", Offset: 500})
	require.NoError(t, err)
	before := state(t, f, "000000000001").Registers[0]
	c.at = epoch.AddDate(0, 0, 4)
	missed := state(t, f, "000000000001").Registers[0] - before
	require.Positive(t, missed)
	require.InDelta(t, (subs+counted(t, f)-subs+missed)*102/100, state(t, f, "000000000009").Registers[0]*10, 60)

	// Killed and started again it sums what it summed.
	want := state(t, f, "000000000009").Registers
	require.NoError(t, f.Close())
	f = open(t, floor(t), dir, c)
	require.Equal(t, want, state(t, f, "000000000009").Registers)
	require.NoError(t, f.Close())
}

func TestUnderCount_nobodyAtHome(t *testing.T) {
	t.Parallel()
	c := &ticker{at: epoch}
	f := open(t, oneMeter(t, func(m *MeterSpec) { m.CreditMode = false }), t.TempDir(), c)
	_, err := f.Inject(Fault{Kind: FaultUnderCount, Serial: "000000000001", Offset: 1000, Until: epoch.AddDate(0, 0, 1)})
	require.NoError(t, err)
	c.at = epoch.AddDate(0, 0, 1)
	require.Zero(t, state(t, f, "000000000001").Registers[0])
	c.at = epoch.AddDate(0, 0, 2)
	require.Positive(t, state(t, f, "000000000001").Registers[0])
	require.NoError(t, f.Close())
}

func TestMaster_refusesWhatIsNoSub(t *testing.T) {
	for name, change := range map[string]func(*MeterSpec){
		"nobody":  func(m *MeterSpec) { m.SumOf = []string{"404404404404"} },
		"itself":  func(m *MeterSpec) { m.SumOf = []string{m.Serial} },
		"a loss":  func(m *MeterSpec) { m.LossPermille = -1 },
		"credit":  func(m *MeterSpec) { m.CreditMode = true },
		"a ratio": func(m *MeterSpec) { m.Ratio = -1 },
	} {
		spec := floor(t)
		change(&spec.Gateways[0].Meters[3])
		_, err := NewFleet(spec, t.TempDir(), func() time.Time { return epoch })
		require.ErrorContains(t, err, "000000000009", name)
	}
}
