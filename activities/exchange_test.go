package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/supply"
)

const serialFresh = "000000000011"

// swap is a grid whose meters can be exchanged.
type swap struct {
	*grid
	review activities.Review
}

func newSwap(t *testing.T) *swap {
	s := &swap{grid: newGrid(t)}
	s.review = activities.Review{Store: s.Store, Pool: s.deliver.Pool}
	s.env.RegisterActivity(&s.review)
	return s
}

func (s *swap) sql(statement string, args ...any) {
	s.t.Helper()
	_, err := s.Pool.Exec(context.Background(), statement, args...)
	require.NoError(s.t, err)
}

func (s *swap) count(query string) (n int) {
	s.t.Helper()
	require.NoError(s.t, s.Pool.QueryRow(context.Background(), query).Scan(&n))
	return n
}

// fresh puts a new meter without credit at the unit of the account's old one, as the fitter does.
func (s *swap) fresh(unit byte, serial string) {
	s.t.Helper()
	power, err := simulator.SeriesIDs(false)
	require.NoError(s.t, err)
	require.NoError(s.t, s.fleet.ExchangeMeter("G1", unit, simulator.MeterSpec{Serial: serial, Profile: "sim-ddsy1352", LoadProfile: power[2], CreditMode: true,
		OpeningRegisters: make([]int64, 6)}))
}

// order is a planned exchange of an account's meter for a new one, number M9001.
func (s *swap) order(account billing.AccountID, remaining *billing.Money) activities.OrderExchange {
	s.t.Helper()
	m, err := s.FittedMeter(context.Background(), account)
	require.NoError(s.t, err)
	return activities.OrderExchange{Meter: m.ID, By: "sup1", Reason: "eight years old", Nonce: "n1",
		Form: activities.ExchangeForm{Closing: regs(300), NewMeter: "M9001", Serial: serialFresh, Opening: regs(0), Remaining: remaining}}
}

// shows stores a reading of this midnight with what the meter showed.
func (s *swap) shows(account billing.AccountID, total int64, remaining *billing.Money) {
	s.t.Helper()
	midnight := billing.DateOf(s.now, storetest.Zone).Start(storetest.Zone)
	s.sql(`SELECT ensure_reading_partition($1)`, midnight)
	s.sql(`INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, remaining_fen, supply, recorded_by)
		SELECT f.meter_id, $2, 1, $2, now(), 'actual', $3, $4, 'on', 'workflow' FROM accounts a JOIN fittings f ON f.service_point_id = a.service_point_id WHERE a.id = $1 AND f.to_at IS NULL`,
		account, midnight, regs(total), remaining)
}

func fen(n billing.Money) *billing.Money { return &n }

// exchange carries out the order, with the new meter in the old one's place, and gives the exchange.
func (s *swap) exchange(o activities.OrderExchange) activities.ExchangeRef {
	s.t.Helper()
	s.fresh(1, o.Form.Serial)
	return activities.ExchangeRef{ExchangeID: run[activities.ExchangeState](s.grid, s.review.ExchangeMeter, o).ExchangeID}
}

// told holds that the books, the journal and the exchanges agree, and that the invariant finds nothing.
func (s *swap) told() {
	s.t.Helper()
	s.intact()
	require.Zero(s.t, s.count(`SELECT count(*) FROM exchanges x WHERE x.state IS DISTINCT FROM (SELECT to_state FROM journal j WHERE j.chain = 'exchange/' || x.id ORDER BY seq DESC LIMIT 1)`))
	i := s.creditedOnce()
	require.Zero(s.t, i.Violations, i.Details)
}

func (s *swap) state(serial string) simulator.State {
	s.t.Helper()
	state, err := s.fleet.MeterState(serial)
	require.NoError(s.t, err)
	return state
}

// What the old meter held stands in the new one, once, wherever the process dies on the way; the books don't move.
func TestExchange_carriesTheCreditOnce(t *testing.T) {
	for _, step := range []struct{ kind, event string }{{}, {"command", "sending"}, {"command", "verified"}, {"exchange", "credited"}} {
		t.Run(step.kind+" "+step.event, func(t *testing.T) {
			s := newSwap(t)
			entries := s.count(`SELECT count(*) FROM ledger_entries`)
			ref := s.exchange(s.order(s.credit, fen(9_500)))
			if step.kind != "" {
				s.dies(step.kind, step.event, func() {
					require.Contains(t, s.refuses(s.deliver.CarryCredit, ref), "the process died here")
				})
			}
			for range 3 {
				got := run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref)
				require.Equal(t, store.CarryCredited, got.Credit)
				require.True(t, got.Ended())
			}
			require.Equal(t, 1, s.purchases(serialFresh))
			require.EqualValues(t, 9_500, s.state(serialFresh).RemainingFen)
			s.has(s.credit, 10_000)
			require.Equal(t, entries, s.count(`SELECT count(*) FROM ledger_entries`), "no new money")
			s.told()

			// The next purchase counts on from where the new meter stands.
			r := s.approved(s.credit, 5_000)
			run[activities.Settled](s.grid, s.posting.PostRecharge, r)
			require.Equal(t, billing.RechargeCredited, run[activities.Settled](s.grid, s.deliver.DeliverRecharge, r).State)
			require.EqualValues(t, 2, s.state(serialFresh).PurchaseCount)
			require.EqualValues(t, 14_500, s.state(serialFresh).RemainingFen)
			s.has(s.credit, 15_000)
			s.told()
		})
	}
}

// The order itself dies between its rows, and is made again: one exchange.
func TestExchange_orderIsWholeOrNothing(t *testing.T) {
	for _, event := range []string{"removed", "fitted", "exchanged", "meter_exchanged", "requested"} {
		t.Run(event, func(t *testing.T) {
			s := newSwap(t)
			o := s.order(s.credit, fen(9_500))
			kind := map[string]string{"removed": "meter", "fitted": "meter", "exchanged": "exchange", "meter_exchanged": "supply", "requested": "command"}[event]
			s.dies(kind, event, func() { require.Contains(t, s.refuses(s.review.ExchangeMeter, o), "the process died here") })
			require.Zero(t, s.count(`SELECT count(*) FROM exchanges`)+s.count(`SELECT count(*) FROM meters WHERE id = 'M9001' OR state = 'removed'`))
			first, again := s.exchange(o), run[activities.ExchangeState](s.grid, s.review.ExchangeMeter, o)
			require.Equal(t, first.ExchangeID, again.ExchangeID)
			require.Equal(t, 1, s.count(`SELECT count(*) FROM commands`))
			s.told()
		})
	}
}

// A new meter that the maker tested with purchases of its own keeps its count: ours is the next one.
func TestExchange_countStartsAtTheNewMeter(t *testing.T) {
	s := newSwap(t)
	ref := s.exchange(s.order(s.credit, fen(9_500)))
	m, err := s.FittedMeter(context.Background(), s.credit)
	require.NoError(t, err)
	g, err := s.Gateway(context.Background(), "G1")
	require.NoError(t, err)
	_, err = s.deliver.Pool.DeliverCredit(context.Background(), devices.Meter{Address: devices.Address{Gateway: string(g.ID), HostPort: g.Address, Unit: byte(m.Unit)}, Serial: m.Serial, Profile: m.Profile},
		devices.CreditOrder{AmountFen: 1, Count: 1}, nil)
	require.NoError(t, err)
	require.Equal(t, store.CarryCredited, run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref).Credit)
	require.EqualValues(t, 2, s.state(serialFresh).PurchaseCount)
}

// What was read last counts when nobody could read the display; what is overdrawn or kept by us is not carried.
func TestExchange_whatIsCarried(t *testing.T) {
	s := newSwap(t)
	o := s.order(s.credit, nil)
	require.Contains(t, s.refuses(s.review.ExchangeMeter, o), "type what its display shows")
	s.setNow(s.now.AddDate(0, 0, 1))
	s.shows(s.credit, 100, fen(8_000))
	o.Form.Remaining = fen(8_001)
	require.Contains(t, s.refuses(s.review.ExchangeMeter, o), "can't hold 80.01 yuan: by what it showed last and was credited since it is 80.00 at most")
	o.Form.Remaining = nil
	p, err := s.review.PreviewExchange(context.Background(), o)
	require.NoError(t, err)
	require.Equal(t, billing.Money(8_000), *p.Remaining)
	require.Equal(t, store.RemainingFromReading, p.RemainingFrom)
	require.Equal(t, billing.Money(10_000), p.Balance)
	require.EqualValues(t, 200, p.Used)
	require.Zero(t, s.count(`SELECT count(*) FROM exchanges`), "a preview changes nothing")
	ref := s.exchange(o)
	run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref)
	require.EqualValues(t, 8_000, s.state(serialFresh).RemainingFen)

	again := s.order(s.credit, fen(-150))
	again.Nonce, again.Form.NewMeter, again.Form.Serial, again.Form.Closing = "n2", "M9002", "000000000012", regs(10)
	s.setNow(s.now.Add(time.Hour))
	require.Equal(t, store.ExchangeDone, run[activities.ExchangeState](s.grid, s.review.ExchangeMeter, again).State, "an overdraft stays with the ledger")

	plain := s.order(s.plain, nil)
	plain.Nonce, plain.Form.NewMeter, plain.Form.Serial = "n3", "M9003", "000000000013"
	done := run[activities.ExchangeState](s.grid, s.review.ExchangeMeter, plain)
	require.Equal(t, store.ExchangeDone, done.State)
	require.Equal(t, store.CarryNone, done.Credit, "platform credit: nothing moves")
	s.told()
}

// Nobody knows whether the credit arrived: a case, no second write, and the meter's own showing decides.
func TestExchange_creditInDoubt(t *testing.T) {
	s := newSwap(t)
	ref := s.exchange(s.order(s.credit, fen(9_500)))
	s.dies("command", "verified", func() { s.refuses(s.deliver.CarryCredit, ref) })
	s.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	doubt := run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref)
	require.Equal(t, store.CarryInDoubt, doubt.Credit)
	require.NotEmpty(t, doubt.Case)
	facts := run[activities.CaseFacts](s.grid, s.review.DescribeCase, activities.CaseRef{CaseID: doubt.Case})
	require.Equal(t, ref.ExchangeID, facts.ExchangeID)
	require.Equal(t, []string{activities.DecideCredited, activities.DecideNotCredited}, facts.Allowed)
	no := activities.SettleInDoubt{ExchangeID: ref.ExchangeID, By: "sup1", Reason: "I think not"}
	require.Contains(t, s.refuses(s.deliver.SettleInDoubt, no), "doesn't answer")
	s.told()
	s.heal(simulator.FaultSilent, 1)
	require.Contains(t, s.refuses(s.deliver.SettleInDoubt, no), "the credit arrived")
	no.By = "clerk1"
	require.Contains(t, s.refuses(s.deliver.SettleInDoubt, no), "may not")
	yes := activities.SettleInDoubt{ExchangeID: ref.ExchangeID, By: "sup2", Credited: true, Reason: "read on site"}
	for range 2 {
		run[activities.Settled](s.grid, s.deliver.SettleInDoubt, yes)
	}
	got := run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref)
	require.True(t, got.Ended())
	require.Equal(t, 1, s.purchases(serialFresh))
	s.told()
}

// A write that never arrived is proved by reading, and delivered again; a silent meter is tried later.
func TestExchange_neverArrivedIsDeliveredAgain(t *testing.T) {
	s := newSwap(t)
	ref := s.exchange(s.order(s.credit, fen(9_500)))
	s.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	require.True(t, run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref).Later)
	s.heal(simulator.FaultSilent, 1)
	task, err := s.BeginCarry(context.Background(), byTest, ref.ExchangeID)
	require.NoError(t, err)
	_, fresh, err := s.MarkCreditSending(context.Background(), byTest, task.Command.ID, before(0, 0))
	require.NoError(t, err)
	require.True(t, fresh) // … and the process died before it sent
	got := run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref)
	require.Equal(t, store.CarryDelivering, got.Credit)
	require.Zero(t, s.purchases(serialFresh), "a marked order is only read, never sent")
	require.Equal(t, store.CarryCredited, run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref).Credit)
	require.Equal(t, 1, s.purchases(serialFresh))
	s.told()
}

// A recharge that never reached the old meter goes to the new one, after what is carried over: a meter takes one delivery at a time.
func TestExchange_rechargeTurnsToTheNewMeter(t *testing.T) {
	s := newSwap(t)
	r := s.approved(s.credit, 5_000)
	run[activities.Settled](s.grid, s.posting.PostRecharge, r)
	s.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	require.True(t, run[activities.Settled](s.grid, s.deliver.DeliverRecharge, r).Later)
	s.heal(simulator.FaultSilent, 1)
	ref := s.exchange(s.order(s.credit, fen(9_500)))
	require.True(t, run[activities.Settled](s.grid, s.deliver.DeliverRecharge, r).Later, "the carried-over credit is on its way")
	require.Equal(t, store.CarryCredited, run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref).Credit)
	require.Equal(t, billing.RechargeCredited, run[activities.Settled](s.grid, s.deliver.DeliverRecharge, r).State)
	require.EqualValues(t, 14_500, s.state(serialFresh).RemainingFen)
	require.Equal(t, 2, s.purchases(serialFresh))
	s.has(s.credit, 15_000)
	s.told()
}

// A meter that was dead on arrival: what was on its way to it goes on to the meter after it, once.
func TestExchange_newMeterDeadOnArrival(t *testing.T) {
	s := newSwap(t)
	ref := s.exchange(s.order(s.credit, fen(9_500)))
	s.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	require.True(t, run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref).Later)
	s.heal(simulator.FaultSilent, 1)
	s.setNow(s.now.Add(time.Hour))
	o := s.order(s.credit, fen(0))
	o.Nonce, o.Form.NewMeter, o.Form.Serial, o.Form.Closing = "n2", "M9002", "000000000012", regs(0)
	second := s.exchange(o)
	require.Equal(t, store.CarryCredited, run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref).Credit)
	require.Contains(t, s.refuses(s.deliver.CarryCredit, second), "nothing to deliver")
	require.Zero(t, s.purchases(serialFresh))
	require.EqualValues(t, 9_500, s.state("000000000012").RemainingFen)
	s.told()
}

// Planted: a purchase that no exchange explains, another amount than the meter held, a second proof, money posted.
func TestExchange_invariantBites(t *testing.T) {
	s := newSwap(t)
	ref := s.exchange(s.order(s.credit, fen(9_500)))
	run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref)
	s.told()
	found := func() []string { return s.creditedOnce().Details }
	for name, plant := range map[string][2]string{
		"no exchange explains":                 {`UPDATE commands SET cause = 'other/' || cause`, `UPDATE commands SET cause = substr(cause, 7)`},
		"accepted 9500 fen as purchase 1":      {`UPDATE commands SET amount_fen = 9400`, `UPDATE commands SET amount_fen = 9500`},
		"0 deliveries of 0 fen":                {`UPDATE commands SET state = 'refused'`, `UPDATE commands SET state = 'verified'`},
		"deliveries of 9500 fen in all":        {`UPDATE exchanges SET remaining_fen = 9400`, `UPDATE exchanges SET remaining_fen = 9500`},
		"but its recharge or exchange is none": {`UPDATE exchanges SET credit = 'none', remaining_fen = -1`, `UPDATE exchanges SET credit = 'credited', remaining_fen = 9500`},
	} {
		s.sql(plant[0])
		require.Contains(t, joined(found()), name)
		s.sql(plant[1])
		require.Empty(t, found(), name)
	}
	s.sql(`WITH e AS (INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject, day)
			SELECT site_id, 'opening', 'planted', '\x00', business_now(), id, (business_now() AT TIME ZONE 'Asia/Shanghai')::date FROM exchanges RETURNING id)
		INSERT INTO ledger_postings (entry_id, seq, code, amount_fen) SELECT e.id, v.seq, v.code, v.fen FROM e, (VALUES (1, 'customer/'||$1::text, -9500), (2, 'park/unbilled', 9500)) v (seq, code, fen)`, s.credit)
	require.Contains(t, joined(found()), "posted money for exchange")
}

func joined(lines []string) (all string) {
	for _, l := range lines {
		all += l + "\n"
	}
	return all
}

// A meter that was held on by a person's order is held on again: the hold is ordered at the new meter and proved there, before that
// nobody claims it, and a cut stays forbidden all the while.
func TestExchange_holdIsOrderedAnew(t *testing.T) {
	s := newSwap(t)
	s.sql(`INSERT INTO batches (id, site_id, kind, action, state, rate, reason, made_by, made_at, expires_at, started_by, started_at, ended_by, ended_at)
		VALUES ('B-1', 'park', 'relay', 'keep_on', 'done', 60, 'festival', 'sup1', business_now(), business_now(), 'sup1', business_now(), 'workflow', business_now())`)
	s.sql(`UPDATE supplies SET guarded = true, held_by = 'B-1' WHERE account_id = $1`, s.credit)
	ref := s.exchange(s.order(s.credit, fen(9_500)))
	sup, err := s.Supply(context.Background(), s.credit)
	require.NoError(t, err)
	require.False(t, sup.Guarded, "nothing is proved at the new meter")
	require.EqualValues(t, "B-1", sup.HeldBy, "what a person ordered stands")
	protected := func() string {
		d, err := activities.Judge(context.Background(), s.Store, s.credit)
		require.NoError(t, err)
		require.False(t, d.Allowed)
		for _, r := range d.Against() {
			if r.Code == supply.Protected {
				return r.Numbers["reason"]
			}
		}
		return ""
	}
	require.Contains(t, protected(), "under way and not proved", "we cut nobody, and don't say that the meter holds")
	batches := activities.Batches{Store: s.Store, Pool: s.deliver.Pool}
	s.env.RegisterActivity(&batches)
	batch := func(action billing.BatchAction) billing.SkipReason {
		id, err := s.NextBatchID(context.Background())
		require.NoError(t, err)
		run[activities.BatchStatus](s.grid, batches.PlanBatch, activities.PlanBatch{BatchID: id, By: "sup1", Site: s.Site, Kind: billing.BatchRelay, Action: action, Meters: []billing.MeterID{"M9001"}, Reason: "festival"})
		rows, _, err := s.BatchMembers(context.Background(), id, "", 1, 0)
		require.NoError(t, err)
		return rows[0].Skip
	}
	require.Equal(t, billing.SkipBusy, batch(billing.BatchKeepOn), "it doesn't stand yet")
	require.Equal(t, billing.SkipBusy, batch(billing.BatchRelease), "nor is there nothing to release")
	s.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	require.True(t, run[activities.ExchangeState](s.grid, s.supply.HoldExchanged, ref).Holding())
	s.heal(simulator.FaultSilent, 1)
	for range 2 {
		require.Equal(t, store.HoldHeld, run[activities.ExchangeState](s.grid, s.supply.HoldExchanged, ref).Hold)
	}
	require.Equal(t, "on", s.state(serialFresh).Forced)
	sup, err = s.Supply(context.Background(), s.credit)
	require.NoError(t, err)
	require.True(t, sup.Guarded)
	require.EqualValues(t, "B-1", sup.HeldBy)
	require.Equal(t, "held on by batch B-1", protected())
	require.Equal(t, billing.SkipStands, batch(billing.BatchKeepOn))
	require.False(t, run[activities.ExchangeState](s.grid, s.deliver.CarryCredit, ref).Carrying())
	s.proved()
	s.told()
}

// A hold whose reason has ended before the new meter was reached is dropped, and a meter that was never held isn't held.
func TestExchange_holdIsNotInvented(t *testing.T) {
	s := newSwap(t)
	s.sql(`UPDATE supplies SET guarded = true WHERE account_id = $1`, s.credit) // of an arrears case that was paid since
	ref := s.exchange(s.order(s.credit, fen(9_500)))
	require.Equal(t, store.HoldDropped, run[activities.ExchangeState](s.grid, s.supply.HoldExchanged, ref).Hold)
	require.Empty(t, s.state(serialFresh).Forced)
	require.Zero(t, s.count(`SELECT count(*) FROM commands WHERE kind <> 'credit'`))
	s.told()
}

// A cut isn't ordered at the new meter, nor forgotten: supply is unknown until a read-back, and the next payment gives it back.
func TestExchange_cutIsNeitherOrderedNorForgotten(t *testing.T) {
	s := newSwap(t)
	s.sql(`UPDATE supplies SET state = 'off', wanted = 'off', cut_cause = 'credit' WHERE account_id = $1`, s.plain)
	o := s.order(s.plain, nil)
	p, err := s.review.PreviewExchange(context.Background(), o)
	require.NoError(t, err)
	require.True(t, p.Cut)
	s.fresh(2, serialFresh)
	require.Equal(t, store.ExchangeDone, run[activities.ExchangeState](s.grid, s.review.ExchangeMeter, o).State)
	sup, err := s.Supply(context.Background(), s.plain)
	require.NoError(t, err)
	require.Equal(t, [3]string{"unknown", "off", store.CutForCredit}, [3]string{string(sup.State), string(sup.Wanted), sup.CutCause})
	require.Zero(t, s.count(`SELECT count(*) FROM commands`))
	r := s.approved(s.plain, 5_000)
	paid := run[activities.Settled](s.grid, s.posting.PostRecharge, r)
	require.NotEmpty(t, paid.Restore)
	done := run[activities.RestoreState](s.grid, s.supply.RestoreSupply, activities.RestoreRef{RestoreID: paid.Restore})
	require.Equal(t, store.RestoreVerified, done.State)
	require.True(t, s.state(serialFresh).RelayOn)
	s.told()
}

// A cut in doubt at the old meter ends: its customer has supply from the new one, and the arrears case begins again another day.
func TestExchange_cutInDoubtIsWithdrawn(t *testing.T) {
	s := newSwap(t)
	s.spend(s.plain, 0)
	cut := s.noticed(s.plain)
	s.shows(s.plain, 0, nil)
	s.fault(simulator.Fault{Kind: simulator.FaultStuckRelay, Unit: 2})
	got := run[activities.CutState](s.grid, s.supply.CutOff, cut)
	require.Equal(t, store.CutUnknown, got.State)
	o := s.order(s.plain, nil)
	run[activities.ExchangeState](s.grid, s.review.ExchangeMeter, o)
	c, err := s.Cutoff(context.Background(), cut.CutoffID)
	require.NoError(t, err)
	require.Equal(t, store.CutCancelled, c.State)
	sup, err := s.Supply(context.Background(), s.plain)
	require.NoError(t, err)
	require.Equal(t, billing.SupplyOn, sup.Wanted)
	require.Empty(t, sup.CommandID)
	require.Zero(t, s.count(`SELECT count(*) FROM cases WHERE state = 'open'`))
	s.intact()
}

func TestExchange_refusals(t *testing.T) {
	s := newSwap(t)
	s.setNow(s.now.AddDate(0, 0, 1))
	s.shows(s.credit, 200, fen(10_000))
	for want, change := range map[string]func(*activities.OrderExchange){
		"is below the last reading":  func(o *activities.OrderExchange) { o.Form.Closing = regs(199) },
		"can't have counted":         func(o *activities.OrderExchange) { o.Form.Closing = regs(90_000) },
		"may not exchange meters":    func(o *activities.OrderExchange) { o.By = "clerk1" },
		"needs a reason":             func(o *activities.OrderExchange) { o.Reason = " " },
		"is another meter's already": func(o *activities.OrderExchange) { o.Form.NewMeter = "M0002" },
		"is that of meter M0002":     func(o *activities.OrderExchange) { o.Form.Serial = serialPlatform },
		"unit 2 of gateway G1":       func(o *activities.OrderExchange) { o.Form.Unit = 2 },
		"is not known":               func(o *activities.OrderExchange) { o.Form.Profile = "nothing" },
		"can't take the place":       func(o *activities.OrderExchange) { o.Form.Profile = "sim-valve-water" },
		"can't hold 100.01 yuan":     func(o *activities.OrderExchange) { o.Form.Remaining = fen(10_001) },
		"holds no money":             func(o *activities.OrderExchange) { o.Meter = "M0002"; o.Form.Remaining = fen(1) },
		"map sim-adf300 can't take":  func(o *activities.OrderExchange) { o.Form.Profile = "sim-adf300" },
	} {
		o := s.order(s.credit, fen(9_500))
		change(&o)
		require.Contains(t, s.refuses(s.review.ExchangeMeter, o), want)
		_, err := s.review.PreviewExchange(context.Background(), o)
		require.ErrorContains(t, err, want, "the preview says the same")
	}
	model := s.order(s.credit, fen(9_500))
	model.Form.Profile = "sim-dtsy1352"
	_, err := s.review.PreviewExchange(context.Background(), model)
	require.NoError(t, err, "another model that measures the same")
	s.sql(`INSERT INTO cases (id, site_id, kind, cause, blocking, state, opened_at, due_at) VALUES ('X9', 'park', 'missing', 'c', true, 'open', business_now(), business_now())`)
	s.sql(`INSERT INTO case_members (case_id, meter_id, freeze_at, rule, numbers) SELECT 'X9', 'M0001', business_now(), 'missing', '{}'`)
	require.Contains(t, s.refuses(s.review.ExchangeMeter, s.order(s.credit, fen(9_500))), "case X9 waits for a decision")
	require.Zero(t, s.count(`SELECT count(*) FROM exchanges`)+s.count(`SELECT count(*) FROM commands`)+s.count(`SELECT count(*) FROM meters WHERE state = 'removed'`))
}

// The steps of the year go on over an exchange: 2,759 kWh before, then 10 on each meter, and only the first of the 20 is in the first step.
func TestExchange_stepsGoOn(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.UseBefore = 275_900
	account, meter := f.Account(n)
	require.Empty(t, f.day("2026-01-02", map[billing.MeterID]billing.Registers{meter: regs(1000)}))
	require.Equal(t, billing.Money(10_000-54-529), f.balance(account), "1 kWh at 0.538, 9 at 0.588")
	f.at("2026-01-02", 12, 0)
	do[activities.ExchangeState](f, f.review.ExchangeMeter, activities.OrderExchange{Meter: meter, By: "sup1", Reason: "eight years old", Nonce: "n1",
		Form: activities.ExchangeForm{Closing: regs(1000), NewMeter: "M9001", Serial: "990000000001", Opening: regs(500)}})
	require.Empty(t, f.day("2026-01-03", map[billing.MeterID]billing.Registers{"M9001": regs(1500)}))
	require.Equal(t, billing.Money(10_000-54-1117), f.balance(account), "10 kWh more at 0.588")
	f.intact()
}
