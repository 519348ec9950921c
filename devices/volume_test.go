package devices_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

const volume = "000000000004" // water, a bought volume in the meter

// volumeBench is a bench with a meter that holds 5 m³.
func volumeBench(t *testing.T) (*bench, devices.Meter) {
	spec := testSpec(t)
	m := spec.Gateways[0].Meters[2]
	m.Unit, m.Serial, m.Profile, m.CreditMode, m.RemainingLitres = 4, volume, "sim-volume-water", true, 5000
	spec.Gateways[0].Meters = append(spec.Gateways[0].Meters, m)
	b := newBench(t, spec)
	at := b.meter(water)
	at.Unit, at.Serial, at.Profile = 4, volume, "sim-volume-water"
	return b, at
}

// sets are the writes of the volume that the meter took.
func (b *bench) sets() []simulator.RecordEntry {
	entries, err := simulator.ReadRecord(b.dir)
	require.NoError(b.t, err)
	var all []simulator.RecordEntry
	for _, e := range entries {
		if e.Kind == simulator.EntryVolume {
			all = append(all, e)
		}
	}
	return all
}

func TestDeliverVolume(t *testing.T) {
	t.Parallel()
	b, m := volumeBench(t)
	var stored []int64
	got, err := b.pool.DeliverVolume(t.Context(), m, devices.VolumeOrder{Litres: 2857}, func(before devices.Volume, target int64) error {
		stored = append(stored, before.Remaining, target)
		require.Empty(t, b.sets(), "stored before anything is sent")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, got.Outcome, got.Note)
	require.Equal(t, []int64{5000, 7857}, stored)
	require.Equal(t, int64(7857), b.truth(volume).RemainingLitres)
	require.Len(t, b.sets(), 1)

	stop := errors.New("the record can't be written")
	got, err = b.pool.DeliverVolume(t.Context(), m, devices.VolumeOrder{Litres: 100}, func(devices.Volume, int64) error { return stop })
	require.ErrorIs(t, err, stop)
	require.False(t, got.Sent)
	require.Len(t, b.sets(), 1)
}

// What flows between the read and the write is the customer's gain, and no more than the bound may be.
func TestDeliverVolume_usedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		most int64
		want devices.Outcome
	}{"within the bound": {1_000_000, devices.OutcomeVerified}, "beyond it": {0, devices.OutcomeUnknown}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, m := volumeBench(t)
			var before int64
			got, err := b.pool.DeliverVolume(t.Context(), m, devices.VolumeOrder{Litres: 3000, MostLost: c.most}, func(devices.Volume, int64) error {
				before = b.truth(volume).Registers[0]
				b.clock.advance(6 * time.Hour)
				return nil
			})
			require.NoError(t, err)
			require.Greater(t, b.truth(volume).Registers[0], before+1, "the test needs use between read and write")
			require.Equal(t, c.want, got.Outcome, got.Note)
			require.Equal(t, int64(8000), b.sets()[0].VolumeLitres)
		})
	}
}

// After a doubt the meter is read first: use since then changes nothing about what is found.
func TestVerifyVolume(t *testing.T) {
	t.Parallel()
	b, m := volumeBench(t)
	order := devices.VolumeOrder{Litres: 3000}
	start := devices.Volume{Remaining: 5000, Total: 1109253}
	b.clock.advance(5 * time.Hour)
	got, err := b.pool.VerifyVolume(t.Context(), m, order, start)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeRefused, got.Outcome, "water flowed, and nothing was written")

	_, err = b.pool.DeliverVolume(t.Context(), m, devices.VolumeOrder{Litres: 3000, Last: &start}, nil)
	require.NoError(t, err)
	b.clock.advance(5 * time.Hour)
	got, err = b.pool.VerifyVolume(t.Context(), m, order, start)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, got.Outcome, got.Note)

	// The write that was in doubt is there after all: the repeat isn't sent.
	got, err = b.pool.DeliverVolume(t.Context(), m, devices.VolumeOrder{Litres: 3000, Last: &start}, nil)
	require.ErrorIs(t, err, devices.ErrVolumeMoved)
	require.False(t, got.Sent)
	require.Len(t, b.sets(), 1)

	_, err = b.pool.DeliverVolume(t.Context(), m, devices.VolumeOrder{Litres: 1500}, nil)
	require.NoError(t, err)
	got, err = b.pool.VerifyVolume(t.Context(), m, order, start)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeUnknown, got.Outcome, "somebody wrote another volume on top")
}

func TestDeliverVolume_sendsNothingOnABadOrder(t *testing.T) {
	t.Parallel()
	b, m := volumeBench(t)
	valve := b.meter(water)
	for name, c := range map[string]struct {
		meter  devices.Meter
		litres int64
		want   error
	}{
		"too little":   {m, 9, devices.ErrBadOrder},
		"negative":     {m, -100, devices.ErrBadOrder},
		"too much":     {m, 9_999_999, devices.ErrBadOrder},
		"no volume":    {valve, 100, devices.ErrUnsupported},
		"power":        {b.meter(single), 100, devices.ErrUnsupported},
		"wrong serial": {devices.Meter{Address: m.Address, Serial: "123456789012", Profile: m.Profile}, 100, devices.ErrWrongMeter},
	} {
		got, err := b.pool.DeliverVolume(t.Context(), c.meter, devices.VolumeOrder{Litres: c.litres}, nil)
		require.ErrorIs(t, err, c.want, name)
		require.False(t, got.Sent, name)
	}
	require.Empty(t, b.sets())
}

// A meter closes its valve when the volume is used up, and opens it again when water is bought.
func TestVolumeMeterClosesItself(t *testing.T) {
	t.Parallel()
	b, m := volumeBench(t)
	require.Eventually(t, func() bool {
		b.clock.advance(24 * time.Hour)
		shot, err := b.pool.Snapshot(t.Context(), m)
		return err == nil && shot.Supply == devices.SupplyOff && *shot.RemainingLitres <= 0
	}, 20*time.Second, time.Millisecond)
	held := b.truth(volume).RemainingLitres
	got, err := b.pool.DeliverVolume(t.Context(), m, devices.VolumeOrder{Litres: 4000}, nil)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, got.Outcome, got.Note)
	require.Equal(t, held+4000, b.truth(volume).RemainingLitres, "an overdraft is paid off first")
	require.Equal(t, devices.SupplyOn, got.After.Supply)
}
