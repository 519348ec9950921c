package devices_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

// press is a customer at the meter's button, by the door of the simulator's control.
func (b *bench) press(serial string) int {
	b.t.Helper()
	answer := httptest.NewRecorder()
	b.fleet.Control().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/press", strings.NewReader(`{"serial": "`+serial+`"}`)))
	return answer.Code
}

// Closing that is allowed leaves the relay open until the customer presses the button, and is proved by what the meter shows.
func TestClosingIsAllowed(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	g := &spec.Gateways[0]
	g.Link, g.Meters = "transparent", g.Meters[:1]
	g.Meters[0].Profile, g.Meters[0].CreditMode = "sim-dlt645", false
	b := newBenchWith(t, spec, devices.Config{Timeout: 2 * time.Second, SwitchPoll: 20 * time.Millisecond, SwitchLimit: 300 * time.Millisecond, Password645: "02123456"})
	m := b.meter(single)
	m.Link, m.Profile = devices.Link{Kind: devices.LinkTransparent}, "sim-dlt645"
	shows := func() devices.SupplyState {
		shot, err := b.pool.Snapshot(t.Context(), m)
		require.NoError(t, err)
		return shot.Supply
	}
	looks := func(o devices.Order) devices.Outcome {
		r, err := b.pool.Look(t.Context(), m, o)
		require.NoError(t, err)
		return r.Outcome
	}
	require.True(t, devices.AllowsClosing(m.Profile))
	require.False(t, devices.AllowsClosing("sim-ddsy1352"))
	require.Equal(t, http.StatusConflict, b.press(single), "it is closed")
	tripped, err := b.pool.Trip(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, tripped.Outcome)
	require.Equal(t, devices.SupplyOff, shows())
	require.Equal(t, http.StatusConflict, b.press(single), "nobody has allowed it")

	r, err := b.pool.AllowClosing(t.Context(), m)
	require.NoError(t, err)
	require.True(t, r.Sent)
	require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
	require.Equal(t, devices.SupplyAllowed, r.After.Supply)
	require.Equal(t, simulator.SupplyOff, b.relayAt(single, time.Now()))
	require.Equal(t, devices.OutcomeVerified, looks(devices.OrderAllow))
	require.Equal(t, devices.OutcomeUnknown, looks(devices.OrderClose), "a permission is no supply")
	require.Equal(t, devices.OutcomeUnknown, looks(devices.OrderTrip), "and no cut")
	before := b.truth(single).Registers
	b.clock.advance(6 * time.Hour)
	require.Equal(t, before, b.truth(single).Registers, "nothing flows before the button")

	require.Equal(t, http.StatusNoContent, b.press(single))
	require.Equal(t, devices.SupplyOn, shows())
	b.clock.advance(6 * time.Hour)
	require.NotEqual(t, before, b.truth(single).Registers)
	r, err = b.pool.AllowClosing(t.Context(), m)
	require.NoError(t, err)
	require.False(t, r.Sent, "closed already")
	require.Equal(t, devices.OutcomeVerified, r.Outcome)

	// A permission that nobody used can be taken back, and whoever can't press is closed directly.
	for _, end := range []func() (devices.SwitchResult, error){
		func() (devices.SwitchResult, error) { return b.pool.Trip(t.Context(), m) },
		func() (devices.SwitchResult, error) { return b.pool.Close(t.Context(), m) },
	} {
		_, err = b.pool.Trip(t.Context(), m)
		require.NoError(t, err)
		_, err = b.pool.AllowClosing(t.Context(), m)
		require.NoError(t, err)
		require.Equal(t, devices.SupplyAllowed, shows())
		r, err = end()
		require.NoError(t, err)
		require.True(t, r.Sent)
		require.Equal(t, devices.OutcomeVerified, r.Outcome, r.Note)
		require.Equal(t, http.StatusConflict, b.press(single))
	}
	require.Equal(t, devices.SupplyOn, shows())
	_, err = b.pool.AllowClosing(t.Context(), devices.Meter{Address: m.Address, Serial: m.Serial, Profile: "sim-ddsy1352"})
	require.ErrorIs(t, err, devices.ErrUnsupported)
}

// What a customer feeds back is counted in a register of its own: the others stand still meanwhile, and none of them has it in it.
func TestWhatIsFedBackIsReadApart(t *testing.T) {
	t.Parallel()
	power, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	b := newBench(t, simulator.FleetSpec{Gateways: []simulator.GatewaySpec{{ID: "g1", Meters: []simulator.MeterSpec{
		{Unit: 1, Serial: single, Profile: "sim-dtsd1352", LoadProfile: power[0], FeedWatts: 20_000},
	}}}})
	m := devices.Meter{Address: devices.Address{Gateway: "g1", HostPort: b.fleet.Addr("g1"), Unit: 1}, Serial: single, Profile: "sim-dtsd1352"}
	look := func() devices.Snapshot {
		shot, err := b.pool.Snapshot(t.Context(), m)
		require.NoError(t, err)
		require.Equal(t, devices.SupplyUnknown, shot.Supply, "it has no relay")
		return shot
	}
	b.clock.advance(2 * time.Hour) // from eight to ten in the morning
	morning := look()
	require.Positive(t, morning.Registers[0])
	require.Zero(t, *morning.Reverse)
	b.clock.advance(4 * time.Hour) // to two
	noon := look()
	require.Equal(t, morning.Registers, noon.Registers)
	require.Greater(t, *noon.Reverse, int64(5000), "most of 80 kWh went back")
	b.clock.advance(18 * time.Hour)
	night := look()
	require.Greater(t, night.Registers[0], noon.Registers[0])
	require.Equal(t, *noon.Reverse, *night.Reverse)
	truth := b.truth(single)
	require.Equal(t, truth.Registers, night.Registers)
	require.Equal(t, truth.Reverse, *night.Reverse)
	_, err = b.pool.Trip(t.Context(), m)
	require.ErrorIs(t, err, devices.ErrUnsupported)
}
