package activities_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// tap is a swap whose account has a water meter that holds a volume, 5 m³ at first, at unit 4.
type tap struct {
	*swap
	account billing.AccountID
	serial  string // of the meter that is fitted
	n       int    // meters fitted after the first
}

func newTap(t *testing.T, tariff billing.TariffID) *tap {
	g, account := volumeGrid(t, tariff)
	s := &tap{swap: &swap{grid: g}, account: account, serial: serialVolume}
	s.review = activities.Review{Store: g.Store, Pool: g.deliver.Pool}
	g.env.RegisterActivity(&s.review)
	return s
}

func (s *tap) left() int64 { return s.state(s.serial).RemainingLitres }

// order is a planned exchange of the meter by what it shows now.
func (s *tap) order(litres *int64) activities.OrderExchange {
	s.t.Helper()
	m, err := s.FittedMeter(context.Background(), s.account)
	require.NoError(s.t, err)
	n := s.n + 1
	return activities.OrderExchange{Meter: m.ID, By: "sup1", Reason: "eight years old", Nonce: fmt.Sprint("n", n),
		Form: activities.ExchangeForm{Closing: billing.Registers{s.state(s.serial).Registers[0]}, NewMeter: billing.MeterID(fmt.Sprint("M90", n)), Serial: fmt.Sprintf("%012d", 900+n),
			Opening: billing.Registers{0}, RemainingLitres: litres}}
}

// exchange carries the order out; the fitter puts a meter without water in the old one's place.
func (s *tap) exchange(o activities.OrderExchange) (activities.ExchangeRef, activities.ExchangeState) {
	s.t.Helper()
	flow, err := simulator.SeriesIDs(true)
	require.NoError(s.t, err)
	done := run[activities.ExchangeState](s.grid, s.review.ExchangeMeter, o)
	require.NoError(s.t, s.fleet.ExchangeMeter("G1", 4, simulator.MeterSpec{Serial: o.Form.Serial, Profile: "sim-volume-water", LoadProfile: flow[0], CreditMode: true, OpeningRegisters: []int64{0}}))
	s.n, s.serial = s.n+1, o.Form.Serial
	return activities.ExchangeRef{ExchangeID: done.ExchangeID}, done
}

func (s *tap) carry(ref activities.ExchangeRef) activities.ExchangeState {
	s.t.Helper()
	return run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref)
}

func (s *tap) recharge(fen billing.Money) activities.Settled {
	s.t.Helper()
	ref := s.approved(s.account, fen)
	run[activities.Settled](s.grid, s.posting.PostRecharge, ref)
	return run[activities.Settled](s.grid, s.deliver.DeliverRecharge, ref)
}

// set lists what the fitted meter's volume was set to.
func (s *tap) set() (litres []int64) {
	s.t.Helper()
	entries, err := simulator.ReadRecord(s.dir)
	require.NoError(s.t, err)
	for _, e := range entries {
		if e.Kind == simulator.EntryVolume && e.Serial == s.serial {
			litres = append(litres, e.VolumeLitres)
		}
	}
	return litres
}

// showed stores a reading of this midnight.
func (s *tap) showed(total, litres int64, carriedBack bool) {
	s.t.Helper()
	midnight := billing.DateOf(s.now, storetest.Zone).Start(storetest.Zone)
	s.sql(`SELECT ensure_reading_partition($1)`, midnight)
	s.sql(`INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, remaining_litres, supply, recorded_by, interpolated)
		SELECT f.meter_id, $2, 1, $2, now(), 'actual', $3, $4, 'on', 'workflow', $5 FROM accounts a JOIN fittings f ON f.service_point_id = a.service_point_id WHERE a.id = $1 AND f.to_at IS NULL`,
		s.account, midnight, []int64{total}, litres, carriedBack)
}

func litres(n int64) *int64 { return &n }

// The litres that the old meter had stand in the new one, once, wherever the process dies on the way; the books don't move, and what the
// last purchase left over is in the next one.
func TestExchangeVolume_carriesTheLitresOnce(t *testing.T) {
	for _, step := range []struct{ kind, event string }{{}, {"command", "sending"}, {"command", "verified"}, {"exchange", "credited"}} {
		t.Run(step.kind+" "+step.event, func(t *testing.T) {
			s := newTap(t, flatWater)
			require.Equal(t, billing.RechargeCredited, s.recharge(3334).State)
			require.EqualValues(t, 5000+5556, s.left(), "33.34 yuan at 6.00 buy 5556 2/3 litres")
			entries := s.count(`SELECT count(*) FROM ledger_entries`)
			ref, _ := s.exchange(s.order(nil))
			require.Zero(t, s.left())
			if step.kind != "" {
				s.dies(step.kind, step.event, func() { require.Contains(t, s.refuses(s.deliver.CarryCredit, ref), "the process died here") })
			}
			for range 3 {
				got := s.carry(ref)
				require.Equal(t, store.CarryCredited, got.Credit)
				require.True(t, got.Ended())
			}
			require.Equal(t, []int64{10_556}, s.set())
			require.Equal(t, entries, s.count(`SELECT count(*) FROM ledger_entries`), "no new money")
			s.has(s.account, 13_334)
			s.told()

			require.Equal(t, billing.RechargeCredited, s.recharge(1001).State)
			require.EqualValues(t, 5000+7225, s.left(), "43.35 yuan at 6.00, over both meters")
			s.told()
		})
	}
}

// Every fault of the line, at the read and at the write: the litres are doubled by none of them, and no exchange is called credited without them.
func TestExchangeVolume_faults(t *testing.T) {
	for _, f := range []simulator.Fault{
		{Kind: simulator.FaultLostReply, Times: 1}, {Kind: simulator.FaultRepeatWrite, Times: 1}, {Kind: simulator.FaultSilent, On: "write", Times: 1}, {Kind: simulator.FaultSilent, On: "read", Times: 1},
		{Kind: simulator.FaultMute, On: "write", Times: 1}, {Kind: simulator.FaultSlow, On: "write", Times: 1, DelayMillis: 400}, {Kind: simulator.FaultDropLink, On: "write", Times: 1},
		{Kind: simulator.FaultWrongUnit, On: "write", Times: 1}, {Kind: simulator.FaultStuckValve}, {Kind: simulator.FaultDropLink, On: "read", Times: 1},
	} {
		t.Run(fmt.Sprint(f.Kind, " ", f.On), func(t *testing.T) {
			s := newTap(t, flatWater)
			ref, _ := s.exchange(s.order(litres(5000)))
			f.Unit = 4
			s.fault(f)
			s.dies("command", "verified", func() { _, _ = s.env.ExecuteActivity(s.deliver.CarryCredit, ref) })
			var got activities.ExchangeState
			for range 6 {
				if got = s.carry(ref); got.Ended() {
					break
				}
			}
			require.Equal(t, store.CarryCredited, got.Credit)
			require.EqualValues(t, 5000, s.left())
			for _, litres := range s.set() {
				require.EqualValues(t, 5000, litres)
			}
			s.told()
		})
	}
}

// Whatever is bought, used and exchanged in whatever order, with whatever lost on the line: the last meter has to the litre what was bought
// less what was used, and all purchases together are worth the money to less than a litre.
func TestExchangeVolume_nothingIsLostOrGivenAway(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newTap(t, flatWater)
			r := rand.New(rand.NewPCG(seed, 87))
			var paid, used, debts int64
			for range 12 {
				s.setNow(s.now.Add(time.Duration(1+r.IntN(40)) * time.Hour))
				if r.IntN(2) == 0 {
					fen := 200 + r.Int64N(4000)
					require.Equal(t, billing.RechargeCredited, s.recharge(billing.Money(fen)).State)
					paid += fen
				} else {
					var typed *int64 // as often as not nobody can read the display
					if len(s.set()) == 0 || r.IntN(2) == 0 || s.left() < 0 {
						typed = litres(s.left())
					}
					used, debts = used+s.state(s.serial).Registers[0], debts+max(-s.left(), 0)
					ref, done := s.exchange(s.order(typed))
					if done.Carrying() {
						s.fault(simulator.Fault{Kind: []simulator.FaultKind{simulator.FaultLostReply, simulator.FaultRepeatWrite, simulator.FaultSilent}[r.IntN(3)], Unit: 4, On: "write", Times: 1})
						for range 6 {
							if s.carry(ref).Ended() {
								break
							}
						}
					}
				}
				waits := int64(s.count(`SELECT coalesce(sum(l), 0) FROM (SELECT remaining_litres l FROM exchanges WHERE credit = 'with_next' UNION ALL SELECT -volume_carried FROM commands WHERE amount_fen IS NOT NULL) w`))
				require.Equal(t, 5000+paid*1_000_000_000/600_000_000+debts, s.left()+waits+used+s.state(s.serial).Registers[0])
			}
			s.told()
		})
	}
}

// What was left is what a person read, or the last look less what was counted since; what neither says is asked for, never taken as nothing.
func TestExchangeVolume_whatIsCarried(t *testing.T) {
	s := newTap(t, flatWater)
	refuses := func(o activities.OrderExchange, want string) {
		t.Helper()
		require.Contains(t, s.refuses(s.review.ExchangeMeter, o), want)
		_, err := s.review.PreviewExchange(context.Background(), o)
		require.ErrorContains(t, err, want, "the preview says the same")
	}
	refuses(s.order(nil), "nobody has read what volume meter")
	refuses(s.order(litres(16_667)), "can't hold 16667 litres: by what it showed last and was credited since it is 16666 at most")
	money := s.order(nil)
	money.Form.Remaining = fen(100)
	refuses(money, "holds no money of its customer")

	s.setNow(s.now.AddDate(0, 0, 1))
	s.showed(100, 4900, false)
	refuses(s.order(litres(4901)), "it is 4900 at most")
	o := s.order(nil)
	o.Form.Closing = billing.Registers{150}
	p, err := s.review.PreviewExchange(context.Background(), o)
	require.NoError(t, err)
	require.EqualValues(t, 4850, *p.RemainingLitres, "50 litres were counted since")
	require.EqualValues(t, 4850, *p.Reckoned)
	require.Equal(t, store.RemainingFromReading, p.RemainingFrom)
	require.Nil(t, p.Remaining)
	o.Form.RemainingLitres = litres(4800)
	p, err = s.review.PreviewExchange(context.Background(), o)
	require.NoError(t, err)
	require.EqualValues(t, 4800, *p.RemainingLitres)
	require.EqualValues(t, 4850, *p.Reckoned)
	require.Equal(t, store.RemainingFromDisplay, p.RemainingFrom)
	o.Form.Closing, o.Form.RemainingLitres = billing.Registers{5001}, nil
	refuses(o, "can't be told from its last reading (4900 litres left)")

	s.setNow(s.now.AddDate(0, 0, 1))
	s.showed(200, 4800, true)
	o = s.order(nil)
	o.Form.Closing = billing.Registers{200}
	refuses(o, "can't be told from its last reading (4800 litres left)")
	require.Zero(t, s.count(`SELECT count(*) FROM exchanges`)+s.count(`SELECT count(*) FROM commands`))

	other := s.order(nil)
	plain, err := s.FittedMeter(context.Background(), s.water)
	require.NoError(t, err)
	other.Meter, other.Form.RemainingLitres = plain.ID, litres(10)
	refuses(other, "holds no water of its customer")
}

// An overdrawn meter carries nothing: the debt is in the ledger. A few litres that no order of their own could prove go with the next recharge, once.
func TestExchangeVolume_debtAndRest(t *testing.T) {
	s := newTap(t, flatWater)
	ref, done := s.exchange(s.order(litres(7)))
	require.Equal(t, store.CarryWithNext, done.Credit)
	require.True(t, done.Ended())
	require.Contains(t, s.refuses(s.deliver.CarryCredit, ref), "nothing to deliver")
	require.Zero(t, s.left())
	s.told()
	s.setNow(s.now.Add(time.Minute))
	_, done = s.exchange(s.order(litres(0)))
	require.Equal(t, store.CarryNone, done.Credit)
	require.Equal(t, billing.RechargeCredited, s.recharge(2).State, "3 litres bought and 7 of before are enough for an order")
	require.EqualValues(t, 10, s.left())
	require.Equal(t, billing.RechargeCredited, s.recharge(600).State)
	require.EqualValues(t, 10+1000, s.left(), "6.02 yuan buy 1003 litres in all")
	s.told()
	s.setNow(s.now.Add(time.Minute))
	_, done = s.exchange(s.order(litres(-20)))
	require.Equal(t, store.CarryNone, done.Credit)
	require.True(t, done.Ended())
	s.told()
}

// Litres go on whatever they cost; only the bound of a meter that nobody ever read needs a price.
func TestExchangeVolume_withoutOnePrice(t *testing.T) {
	s := newTap(t, "bj-water-residential")
	require.Contains(t, s.refuses(s.review.ExchangeMeter, s.order(litres(5000))), "Give the account a tariff with one flat price")
	s.setNow(s.now.AddDate(0, 0, 1))
	s.showed(0, 5000, false)
	ref, _ := s.exchange(s.order(litres(4000)))
	require.Equal(t, store.CarryCredited, s.carry(ref).Credit)
	require.EqualValues(t, 4000, s.left())
	s.told()
}

// Nobody knows whether the litres arrived: a case, no second write, and the meter's own showing decides. A recharge waits meanwhile.
func TestExchangeVolume_inDoubt(t *testing.T) {
	s := newTap(t, flatWater)
	ref, _ := s.exchange(s.order(litres(5000)))
	s.dies("command", "verified", func() { s.refuses(s.deliver.CarryCredit, ref) })
	s.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4})
	doubt := s.carry(ref)
	require.Equal(t, store.CarryInDoubt, doubt.Credit)
	require.NotEmpty(t, doubt.Case)
	require.True(t, s.recharge(600).Later, "a meter takes one delivery at a time")
	s.told()
	s.heal(simulator.FaultSilent, 4)
	no := activities.SettleInDoubt{ExchangeID: ref.ExchangeID, By: "sup1", Reason: "I think not"}
	require.Contains(t, s.refuses(s.deliver.SettleInDoubt, no), "the credit arrived (5000 litres left)")
	require.Equal(t, store.CarryCredited, s.carry(ref).Credit)
	require.Equal(t, []int64{5000}, s.set())
	s.told()
}

// A new meter that is dead on arrival: the litres go on to the meter after it, once.
func TestExchangeVolume_newMeterDeadOnArrival(t *testing.T) {
	s := newTap(t, flatWater)
	ref, _ := s.exchange(s.order(litres(5000)))
	s.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 4})
	require.True(t, s.carry(ref).Later)
	s.heal(simulator.FaultSilent, 4)
	s.setNow(s.now.Add(time.Minute))
	_, second := s.exchange(s.order(litres(0)))
	require.Equal(t, store.CarryNone, second.Credit)
	require.Equal(t, store.CarryCredited, s.carry(ref).Credit)
	require.EqualValues(t, 5000, s.left())
	s.told()
}

// Planted: a value that no exchange explains, other litres than the meter had, a proof that is gone, litres that two recharges took along.
func TestExchangeVolume_invariantBites(t *testing.T) {
	s := newTap(t, flatWater)
	ref, _ := s.exchange(s.order(litres(5000)))
	s.carry(ref)
	s.told()
	found := func() []string { return s.creditedOnce().Details }
	for name, plant := range map[string][2]string{
		"which no recharge and no exchange explains": {`UPDATE commands SET cause = 'other/' || cause`, `UPDATE commands SET cause = substr(cause, 7)`},
		"held 4990 litres, and 1 deliveries of 5000": {`UPDATE exchanges SET remaining_litres = 4990`, `UPDATE exchanges SET remaining_litres = 5000`},
		"0 deliveries of 0 litres":                   {`UPDATE commands SET state = 'refused'`, `UPDATE commands SET state = 'verified'`},
		"the meter knows nothing of it":              {`UPDATE commands SET volume_before = 1, volume_target = 5001`, `UPDATE commands SET volume_before = 0, volume_target = 5000`},
	} {
		s.sql(plant[0])
		require.Contains(t, joined(found()), name)
		s.sql(plant[1])
		require.Empty(t, found(), name)
	}
	require.Equal(t, billing.RechargeCredited, s.recharge(600).State)
	require.Empty(t, found())
	s.sql(`UPDATE commands SET volume_carried = 5 WHERE amount_fen IS NOT NULL`)
	require.Contains(t, joined(found()), "took 5 litres of exchanged meters along, of 0 that waited")
}
