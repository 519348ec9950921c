package devices_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

// oldPrices are those of the bench's single-phase meter, newPrices others that it can hold.
var (
	oldPrices = devices.Prices{80_000_000, 70_000_000, 60_000_000, 40_000_000, 20_000_000}
	newPrices = devices.Prices{145_250_000, 119_000_000, 70_010_000, 24_500_000, 0}
)

// priceWrites are the accepted ones, by the meter's own record.
func (b *bench) priceWrites(serial string) []simulator.RecordEntry {
	b.t.Helper()
	entries, err := simulator.ReadRecord(b.dir)
	require.NoError(b.t, err)
	var writes []simulator.RecordEntry
	for _, e := range entries {
		if e.Serial == serial && e.Kind == simulator.EntryPrices {
			writes = append(writes, e)
		}
	}
	return writes
}

func TestSetPrices(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	told := 0
	got, err := b.pool.SetPrices(t.Context(), b.meter(single), newPrices, func(at devices.Snapshot) error {
		told++
		require.Equal(t, int64(5000), at.Registers[0])
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, got.Outcome, got.Note)
	require.Equal(t, oldPrices, got.Before)
	require.Equal(t, newPrices, got.After)
	require.True(t, got.Sent)
	require.Equal(t, 1, told)
	require.Len(t, got.Frames, 8, "three reads and the two of the prices, the write, the prices again")
	require.Len(t, b.priceWrites(single), 1)
	require.Equal(t, [5]int64(newPrices), b.truth(single).PricesE8)
	require.Equal(t, int64(5000), b.truth(single).RemainingFen, "a price is no money")

	again, err := b.pool.SetPrices(t.Context(), b.meter(single), newPrices, func(devices.Snapshot) error { told++; return nil })
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, again.Outcome)
	require.False(t, again.Sent, "what stands isn't written")
	require.Equal(t, 1, told)
	require.Len(t, b.priceWrites(single), 1)
	held, err := b.pool.ReadPrices(t.Context(), b.meter(single))
	require.NoError(t, err)
	require.Equal(t, newPrices, held)
}

// What a meter used before the write costs its old prices, what it uses afterwards the new ones.
func TestSetPrices_splitsWhatTheMeterDeducts(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	one := b.clock.now()
	b.clock.advance(7*time.Hour + 13*time.Minute)
	middle := b.read(single)
	_, err := b.pool.SetPrices(t.Context(), b.meter(single), newPrices, nil)
	require.NoError(t, err)
	b.clock.advance(9 * time.Hour)
	after := b.read(single)
	var cost int64 // fen × 10^8
	first := []int64{5000, 1000, 1000, 1000, 1000, 1000}
	for band := 1; band <= 5; band++ {
		cost += (middle.Registers[band] - first[band]) * oldPrices[band-1]
		cost += (after.Registers[band] - middle.Registers[band]) * newPrices[band-1]
	}
	require.Greater(t, after.Registers[0], middle.Registers[0])
	require.Greater(t, middle.Registers[0], int64(5000), "since %s", one)
	require.Equal(t, 5000-cost/1e8, *after.RemainingFen)
}

// Whatever happens to the answer of the write, the read-back tells what the meter holds.
func TestSetPrices_whateverHappensToTheAnswer(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.FaultLostReply, simulator.FaultRepeatWrite} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, testSpec(t))
			b.inject(simulator.Fault{Kind: kind, Unit: 1, Times: 1})
			got, err := b.pool.SetPrices(t.Context(), b.meter(single), newPrices, nil)
			require.NoError(t, err)
			require.Equal(t, devices.OutcomeVerified, got.Outcome, got.Note)
			require.Equal(t, 1, b.fleet.Faults().Hit[kind])
			require.Equal(t, [5]int64(newPrices), b.truth(single).PricesE8)
		})
	}
}

// The answer is lost and the meter falls silent: nobody knows, until it is asked again.
func TestSetPrices_doubtIsSettledByAskingAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.inject(simulator.Fault{Kind: simulator.FaultLostReply, Unit: 1, Times: 1})
	b.pool.OnPoint = func(point string) {
		if point == devices.PointPricesSent {
			_, _ = b.fleet.Inject(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1, ID: "dead"})
		}
	}
	got, err := b.pool.SetPrices(t.Context(), b.meter(single), newPrices, nil)
	require.NoError(t, err)
	require.True(t, got.Sent)
	require.Equal(t, devices.OutcomeUnknown, got.Outcome)
	require.Contains(t, got.Note, "could not be read back")

	_, err = b.pool.SetPrices(t.Context(), b.meter(single), newPrices, nil)
	require.ErrorIs(t, err, devices.ErrSilent, "nothing went out")
	_, err = b.fleet.Clear(simulator.Fault{ID: "dead"})
	require.NoError(t, err)
	got, err = b.pool.SetPrices(t.Context(), b.meter(single), newPrices, nil)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, got.Outcome)
	require.False(t, got.Sent, "the first write had arrived")
	require.Len(t, b.priceWrites(single), 1)
}

func TestSetPrices_sendsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	unverified, foreign, nameless := b.meter(single), b.meter(single), b.meter(single)
	unverified.Profile, foreign.Serial, nameless.Serial = "acrel-ddsy1352", "123456789012", ""
	fine, dear := newPrices, newPrices
	fine[0], dear[1] = 145_255_000, 500_010_000
	for name, test := range map[string]struct {
		meter  devices.Meter
		prices devices.Prices
		want   error
		says   string
	}{
		"a map that was never tried": {unverified, newPrices, devices.ErrUnverifiedProfile, ""},
		"another meter":              {foreign, newPrices, devices.ErrWrongMeter, ""},
		"no serial":                  {nameless, newPrices, devices.ErrBadOrder, ""},
		"a water meter":              {b.meter(water), newPrices, devices.ErrUnsupported, "holds no prices"},
		"five decimals":              {b.meter(single), fine, devices.ErrUnsupported, "the band sharp has more"},
		"above the meter's range":    {b.meter(single), dear, devices.ErrUnsupported, "the band peak is above the 500 fen"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := b.pool.SetPrices(t.Context(), test.meter, test.prices, func(devices.Snapshot) error {
				t.Error("nothing may be sent")
				return nil
			})
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.says)
			require.False(t, got.Sent)
		})
	}
	refusal := errors.New("the database is away")
	_, err := b.pool.SetPrices(t.Context(), b.meter(single), newPrices, func(devices.Snapshot) error { return refusal })
	require.ErrorIs(t, err, refusal)
	require.Empty(t, b.priceWrites(single))
	require.Equal(t, [5]int64(oldPrices), b.truth(single).PricesE8)
}

// A meter with four prices can't hold a tariff with five.
func TestCanHold(t *testing.T) {
	t.Parallel()
	require.NoError(t, devices.CanHold("sim-dtsy1352", newPrices))
	require.ErrorContains(t, devices.CanHold("acrel-dtsy1352", devices.Prices{80_000_000, 0, 0, 0, 1_000_000}), "no price for the band deep_valley")
	require.ErrorContains(t, devices.CanHold("sim-valve-water", newPrices), "holds no prices")
	require.ErrorIs(t, devices.CanHold("nothing", newPrices), devices.ErrBadOrder)
	negative := newPrices
	negative[2] = -1
	require.ErrorContains(t, devices.CanHold("sim-ddsy1352", negative), "flat is negative")
}

// Prices, like registers and counts, outlive the meter's process.
func TestSetPrices_outlivesARestart(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	b := newBench(t, spec)
	_, err := b.pool.SetPrices(t.Context(), b.meter(single), newPrices, nil)
	require.NoError(t, err)
	again, err := simulator.NewFleet(spec, b.dir, b.clock.now)
	require.NoError(t, err)
	t.Cleanup(func() { _ = again.Close() })
	state, err := again.MeterState(single)
	require.NoError(t, err)
	require.Equal(t, [5]int64(newPrices), state.PricesE8)
}
