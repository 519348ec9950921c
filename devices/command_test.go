package devices_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
)

func (b *bench) purchases(serial string) []simulator.RecordEntry {
	b.t.Helper()
	entries, err := simulator.ReadRecord(b.dir)
	require.NoError(b.t, err)
	return simulator.Purchases(entries, serial)
}

// relayAt asks the record, the independent witness.
func (b *bench) relayAt(serial string, at time.Time) simulator.SupplyState {
	b.t.Helper()
	entries, err := simulator.ReadRecord(b.dir)
	require.NoError(b.t, err)
	state, known := simulator.RelayAt(entries, serial, at)
	require.True(b.t, known)
	return state
}

func TestDeliverCredit(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	var points []string
	b.pool.OnPoint = func(point string) { points = append(points, point) }
	told := 0
	got, err := b.pool.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 70_001, Count: 1}, func() { told++ })
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, got.Outcome, got.Note)
	require.Equal(t, int64(5000), *got.Before.RemainingFen)
	require.Equal(t, int64(75_001), *got.After.RemainingFen)
	require.Equal(t, int64(1), *got.After.PurchaseCount)
	require.Len(t, got.Frames, 7, "three reads, the purchase, three reads")
	require.Equal(t, 1, told)
	require.Equal(t, []string{devices.PointCreditSent, devices.PointCreditAcked}, points)
	require.Len(t, b.purchases(single), 1)
	require.Equal(t, int64(70_001), b.purchases(single)[0].AmountFen)
}

// Whatever happens to the answer of a purchase, the meter is credited exactly once and the read-back says so.
func TestDeliverCreditIsOnceWhateverHappensToTheAnswer(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.FaultLostReply, simulator.FaultRepeatWrite} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, testSpec(t))
			b.inject(simulator.Fault{Kind: kind, Unit: 1, Times: 1})
			got, err := b.pool.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 1234, Count: 1}, nil)
			require.NoError(t, err)
			require.Equal(t, devices.OutcomeVerified, got.Outcome, got.Note)
			require.Equal(t, 1, b.fleet.Faults().Hit[kind])
			purchases := 0
			for _, frame := range got.Frames {
				if frame.Request[14:16] == "20" {
					purchases++
				}
			}
			require.Equal(t, 1, purchases, "it went out once")
			require.Len(t, b.purchases(single), 1)
			require.Equal(t, int64(6234), b.truth(single).RemainingFen)
		})
	}
}

// The answer is lost and the meter falls silent: nobody knows, until it can be read again.
func TestDeliverCreditInDoubtIsSettledByReading(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.inject(simulator.Fault{Kind: simulator.FaultLostReply, Unit: 1, Times: 1})
	b.pool.OnPoint = func(point string) {
		if point == devices.PointCreditSent {
			_, _ = b.fleet.Inject(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1, ID: "dead"})
		}
	}
	order := devices.CreditOrder{AmountFen: 1000, Count: 1}
	got, err := b.pool.DeliverCredit(t.Context(), b.meter(single), order, nil)
	require.NoError(t, err)
	require.True(t, got.Sent)
	require.Equal(t, devices.OutcomeUnknown, got.Outcome)
	require.NotEmpty(t, got.Note)

	still, err := b.pool.VerifyCredit(t.Context(), b.meter(single), order, got.Before)
	require.ErrorIs(t, err, devices.ErrSilent)
	require.Equal(t, devices.OutcomeUnknown, still.Outcome)

	_, err = b.fleet.Clear(simulator.Fault{ID: "dead"})
	require.NoError(t, err)
	b.clock.advance(6 * time.Hour) // the customer uses some of it meanwhile
	settled, err := b.pool.VerifyCredit(t.Context(), b.meter(single), order, got.Before)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, settled.Outcome, settled.Note)
	require.Less(t, *settled.After.RemainingFen, int64(6000))
	require.Len(t, b.purchases(single), 1)
}

func TestVerifyCreditJudges(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	before := b.read(single)
	order := devices.CreditOrder{AmountFen: 1000, Count: 1}

	got, err := b.pool.VerifyCredit(t.Context(), b.meter(single), order, before)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeRefused, got.Outcome, "never sent")

	_, err = b.pool.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 999, Count: 1}, nil)
	require.NoError(t, err)
	got, err = b.pool.VerifyCredit(t.Context(), b.meter(single), order, before)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeUnknown, got.Outcome, "another amount carries our count")

	_, err = b.pool.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 1, Count: 2}, nil)
	require.NoError(t, err)
	got, err = b.pool.VerifyCredit(t.Context(), b.meter(single), order, before)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeUnknown, got.Outcome, "the count went on by two")
}

func TestDeliverCreditSendsNothingOnADoubtBefore(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	good := devices.CreditOrder{AmountFen: 100, Count: 1}
	unverified := b.meter(single)
	unverified.Profile = "acrel-ddsy1352"
	nameless := b.meter(single)
	nameless.Serial = ""
	foreign := b.meter(single)
	foreign.Serial = "123456789012"
	for name, test := range map[string]struct {
		meter devices.Meter
		order devices.CreditOrder
		want  error
	}{
		"count ahead":    {b.meter(single), devices.CreditOrder{AmountFen: 100, Count: 2}, devices.ErrCountMismatch},
		"zero amount":    {b.meter(single), devices.CreditOrder{AmountFen: 0, Count: 1}, devices.ErrBadOrder},
		"negative":       {b.meter(single), devices.CreditOrder{AmountFen: -5, Count: 1}, devices.ErrBadOrder},
		"too much":       {b.meter(single), devices.CreditOrder{AmountFen: 1 << 31, Count: 1}, devices.ErrBadOrder},
		"count zero":     {b.meter(single), devices.CreditOrder{AmountFen: 1}, devices.ErrBadOrder},
		"unverified map": {unverified, good, devices.ErrUnverifiedProfile},
		"no serial":      {nameless, good, devices.ErrBadOrder},
		"wrong meter":    {foreign, good, devices.ErrWrongMeter},
		"water":          {b.meter(water), good, devices.ErrUnsupported},
	} {
		told := false
		got, err := b.pool.DeliverCredit(t.Context(), test.meter, test.order, func() { told = true })
		require.ErrorIs(t, err, test.want, name)
		require.False(t, got.Sent, name)
		require.False(t, told, name)
	}
	require.Empty(t, b.purchases(single))

	// A meter without credit mode refuses: the exception and the unmoved count say so.
	got, err := b.pool.DeliverCredit(t.Context(), b.meter(three), good, nil)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeRefused, got.Outcome)
}

// A deadline that passes between the read and the command stops the command.
func TestDeadlineIsCheckedRightBeforeSending(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.inject(simulator.Fault{Kind: simulator.FaultSlow, Unit: 1, Times: 1, DelayMillis: 100})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	got, err := b.pool.DeliverCredit(ctx, b.meter(single), devices.CreditOrder{AmountFen: 100, Count: 1}, nil)
	require.ErrorIs(t, err, devices.ErrExpired)
	require.False(t, got.Sent)
	require.Empty(t, b.purchases(single))

	b.inject(simulator.Fault{Kind: simulator.FaultSlow, Unit: 2, Times: 1, DelayMillis: 100})
	ctx, cancel = context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	cut, err := b.pool.Trip(ctx, b.meter(three))
	require.ErrorIs(t, err, devices.ErrExpired)
	require.False(t, cut.Sent)
	require.True(t, b.truth(three).RelayOn)
}

func TestTripAndClose(t *testing.T) {
	t.Parallel()
	for _, serial := range []string{single, three, water} {
		t.Run(serial, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, testSpec(t))
			got, err := b.pool.Trip(t.Context(), b.meter(serial))
			require.NoError(t, err)
			require.Equal(t, devices.OutcomeVerified, got.Outcome, got.Note)
			require.Equal(t, devices.SupplyOff, got.After.Supply)
			require.Zero(t, got.After.PowerW)
			require.Equal(t, simulator.SupplyOff, b.relayAt(serial, got.After.TakenAt))

			held := b.truth(serial).Registers
			b.clock.advance(24 * time.Hour)
			require.Equal(t, held, b.truth(serial).Registers, "nothing flows")

			again, err := b.pool.Trip(t.Context(), b.meter(serial))
			require.NoError(t, err)
			require.Equal(t, devices.OutcomeVerified, again.Outcome)
			require.False(t, again.Sent, "it stands already")

			back, err := b.pool.Close(t.Context(), b.meter(serial))
			require.NoError(t, err)
			require.Equal(t, devices.OutcomeVerified, back.Outcome, back.Note)
			require.Equal(t, devices.SupplyOn, back.After.Supply)
			require.False(t, back.After.ForcedOff || back.After.ForcedOn)
			require.Equal(t, simulator.SupplyOn, b.relayAt(serial, back.After.TakenAt))
			require.Equal(t, simulator.SupplyOff, b.relayAt(serial, again.After.TakenAt), "the past stays")
		})
	}
}

// A forced trip survives a recharge; only Close ends it.
func TestForcedTripSurvivesARecharge(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	_, err := b.pool.Trip(t.Context(), b.meter(single))
	require.NoError(t, err)
	credit, err := b.pool.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 1000, Count: 1}, nil)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, credit.Outcome)
	require.Equal(t, devices.SupplyOff, credit.After.Supply)
	back, err := b.pool.Close(t.Context(), b.meter(single))
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, back.Outcome)
}

// A meter at zero trips by itself, Close can't bring it back, a recharge does; a forced close holds it whatever the balance.
func TestMeterAtZero(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	spec.Gateways[0].Meters[0].RemainingFen = 50
	b := newBench(t, spec)
	b.clock.advance(48 * time.Hour)
	tripped := b.read(single)
	require.Equal(t, devices.SupplyOff, tripped.Supply)
	require.True(t, tripped.InArrears)
	require.False(t, tripped.ForcedOff)
	require.Equal(t, simulator.SupplyOff, b.relayAt(single, tripped.TakenAt))

	back, err := b.pool.Close(t.Context(), b.meter(single))
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeRefused, back.Outcome, back.Note)

	kept, err := b.pool.KeepClosed(t.Context(), b.meter(single))
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, kept.Outcome, kept.Note)
	b.clock.advance(24 * time.Hour)
	low := b.read(single)
	require.Equal(t, devices.SupplyOn, low.Supply)
	require.Less(t, *low.RemainingFen, int64(0), "an overdraft reads negative")
	_, err = b.pool.Trip(t.Context(), b.meter(single))
	require.ErrorIs(t, err, devices.ErrKeptClosed)
	require.True(t, b.truth(single).RelayOn)

	released, err := b.pool.Release(t.Context(), b.meter(single))
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, released.Outcome)
	require.Equal(t, devices.SupplyOff, released.After.Supply, "its own control trips it at once")

	credit, err := b.pool.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 5000, Count: 1}, nil)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, credit.Outcome)
	require.Equal(t, devices.SupplyOn, credit.After.Supply)
	require.Equal(t, *low.RemainingFen+5000, *credit.After.RemainingFen, "the overdraft is paid off first")
}

func TestSwitchInDoubt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind   simulator.FaultKind
		serial string
		want   devices.Outcome
		supply devices.SupplyState
		delay  int
	}{
		{kind: simulator.FaultStuckRelay, serial: three, want: devices.OutcomeUnknown, supply: devices.SupplyOn},
		{kind: simulator.FaultStuckValve, serial: water, want: devices.OutcomeUnknown, supply: devices.SupplyFault},
		{kind: simulator.FaultMovingValve, serial: water, delay: 60_000, want: devices.OutcomeUnknown, supply: devices.SupplyMoving},
		{kind: simulator.FaultMovingValve, serial: water, delay: 100, want: devices.OutcomeVerified, supply: devices.SupplyOff},
		{kind: simulator.FaultLostReply, serial: three, want: devices.OutcomeVerified, supply: devices.SupplyOff},
		{kind: simulator.FaultRepeatWrite, serial: water, want: devices.OutcomeVerified, supply: devices.SupplyOff},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, testSpec(t))
			b.inject(simulator.Fault{Kind: test.kind, Serial: test.serial, Times: 1, DelayMillis: test.delay})
			got, err := b.pool.Trip(t.Context(), b.meter(test.serial))
			require.NoError(t, err)
			require.True(t, got.Sent)
			require.Equal(t, test.want, got.Outcome, got.Note)
			require.Equal(t, test.supply, got.After.Supply)
			require.Equal(t, simulator.SupplyState(test.supply), b.relayAt(test.serial, got.After.TakenAt), "the witness agrees")
			if test.want == devices.OutcomeUnknown {
				require.NotEmpty(t, got.Note)
			}
		})
	}
}

// Welded contacts: the status word says off, and the load flows on. Nothing about that is verified, and the note says why.
func TestLoadBehindAnOpenRelayIsNoCut(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.noCutBehindALoad(b.meter(three))
}

// The same is read over DL/T 645.
func TestLoadBehindAnOpenRelayIsNoCut_dlt645(t *testing.T) {
	t.Parallel()
	spec := testSpec(t)
	g := &spec.Gateways[0]
	g.Link, g.Meters = "transparent", g.Meters[:2]
	for i := range g.Meters {
		g.Meters[i].Profile = "sim-dlt645"
	}
	b := newBenchWith(t, spec, devices.Config{Timeout: 2 * time.Second, SwitchPoll: 20 * time.Millisecond, SwitchLimit: 300 * time.Millisecond, Password645: "02123456"})
	m := b.meter(three)
	m.Link, m.Profile = devices.Link{Kind: devices.LinkTransparent}, "sim-dlt645"
	b.noCutBehindALoad(m)
}

func (b *bench) noCutBehindALoad(m devices.Meter) {
	t := b.t
	t.Helper()
	shot, err := b.pool.Snapshot(t.Context(), m)
	require.NoError(t, err)
	require.Greater(t, shot.PowerW, int64(5), "the test needs a load")
	b.inject(simulator.Fault{Kind: simulator.FaultWelded, Serial: three})
	got, err := b.pool.Trip(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeUnknown, got.Outcome)
	require.Equal(t, devices.SupplyFault, got.After.Supply)
	require.Contains(t, got.Note, "a load of")
	look, err := b.pool.Look(t.Context(), m, devices.OrderTrip)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeUnknown, look.Outcome)
	_, err = b.fleet.Clear(simulator.Fault{Kind: simulator.FaultWelded, Serial: three})
	require.NoError(t, err)
	look, err = b.pool.Look(t.Context(), m, devices.OrderTrip)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, look.Outcome, look.Note)
}

// A later look proves what was ordered, not just that there is supply: a meter that is to be held on is not, because supply is on.
func TestLookWantsWhatWasOrdered(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	requests := b.pool.Stats().Requests
	stands := func(o devices.Order) devices.Outcome {
		r, err := b.pool.Look(t.Context(), b.meter(single), o)
		require.NoError(t, err)
		require.NotEmpty(t, r.Frames)
		for _, f := range r.Frames {
			require.False(t, f.Write, "a look sends nothing but reads")
			require.Equal(t, "sim-ddsy1352 v1", f.Map)
		}
		return r.Outcome
	}
	require.Equal(t, devices.OutcomeUnknown, stands(devices.OrderKeepClosed), "supply is on, but nothing holds it")
	require.Equal(t, devices.OutcomeVerified, stands(devices.OrderClose))
	require.Equal(t, devices.OutcomeVerified, stands(devices.OrderRelease))
	require.Equal(t, devices.OutcomeUnknown, stands(devices.OrderTrip))
	_, err := b.pool.KeepClosed(t.Context(), b.meter(single))
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, stands(devices.OrderKeepClosed))
	require.Equal(t, devices.OutcomeUnknown, stands(devices.OrderRelease))
	_, err = b.pool.Look(t.Context(), b.meter(single), "purchase")
	require.ErrorIs(t, err, devices.ErrBadOrder)
	require.Greater(t, b.pool.Stats().Requests, requests)
}

// The frames say on which line they went, which of them was the order, and what was wrong with an answer.
func TestFramesOfACommand(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	b.inject(simulator.Fault{Kind: simulator.FaultLostReply, Unit: 1, Times: 1})
	r, err := b.pool.DeliverCredit(t.Context(), b.meter(single), devices.CreditOrder{AmountFen: 100, Count: 1}, nil)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, r.Outcome)
	var writes []devices.Frame
	for _, f := range r.Frames {
		require.Equal(t, "g1", f.Line)
		require.False(t, f.AnsweredAt.Before(f.SentAt))
		if f.Write {
			writes = append(writes, f)
			continue
		}
		require.Empty(t, f.Result)
	}
	require.Len(t, writes, 1)
	require.Contains(t, writes[0].Result, "the meter does not answer")
	require.Empty(t, writes[0].Reply)
}

func TestWaterHasNoForcedControl(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	_, err := b.pool.KeepClosed(t.Context(), b.meter(water))
	require.ErrorIs(t, err, devices.ErrUnsupported)
	_, err = b.pool.Release(t.Context(), b.meter(water))
	require.ErrorIs(t, err, devices.ErrUnsupported)
}

// An unverified map may be used for one named meter only, as long as whoever is asked says so: before anything is read, and once more
// right before the command leaves.
func TestUnverifiedMapNeedsAnAllowanceForTheMeter(t *testing.T) {
	t.Parallel()
	var asked, gone atomic.Int64
	b := newBenchWith(t, testSpec(t), devices.Config{
		Timeout: 250 * time.Millisecond, SwitchPoll: 10 * time.Millisecond, SwitchLimit: 400 * time.Millisecond,
		Allowed: func(_ context.Context, m devices.Meter, mapVersion int) error {
			if n := asked.Add(1); m.Serial != single || m.Profile != "acrel-ddsy1352" || mapVersion != 1 || gone.Load() != 0 && n >= gone.Load() {
				return errors.New("nobody allowed it")
			}
			return nil
		},
	})
	m := b.meter(single)
	m.Profile = "acrel-ddsy1352"
	order := devices.CreditOrder{AmountFen: 100, Count: 1}
	got, err := b.pool.DeliverCredit(t.Context(), m, order, nil)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, got.Outcome, got.Note)
	require.Len(t, b.purchases(single), 1)
	switched, err := b.pool.Trip(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, devices.OutcomeVerified, switched.Outcome)

	other := b.meter(three)
	other.Profile = "acrel-dtsy1352"
	_, err = b.pool.Trip(t.Context(), other)
	require.ErrorIs(t, err, devices.ErrUnverifiedProfile, "allowed for another meter")

	gone.Store(asked.Load() + 2) // the allowance ends between the first look and the command
	order.Count = 2
	sent := false
	got, err = b.pool.DeliverCredit(t.Context(), m, order, func() { sent = true })
	require.ErrorIs(t, err, devices.ErrUnverifiedProfile)
	require.False(t, got.Sent || sent)
	require.NotEmpty(t, got.Frames, "it was read before")
	require.Len(t, b.purchases(single), 1)
}

// A command asks for a last time, right before it leaves, whether it is still wanted.
func TestLastWordKeepsACommandBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, testSpec(t))
	asked := 0
	ctx := devices.WithLastWord(t.Context(), func(context.Context) error { asked++; return errors.New("it was paid") })
	r, err := b.pool.Trip(ctx, b.meter(three))
	require.ErrorIs(t, err, devices.ErrExpired)
	require.ErrorContains(t, err, "it was paid")
	require.False(t, r.Sent)
	require.Equal(t, 1, asked)
	require.Equal(t, devices.SupplyOn, b.read(three).Supply)
	for _, f := range r.Frames {
		require.False(t, f.Write)
	}
}
