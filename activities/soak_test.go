package activities_test

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

var soakSeed = flag.Uint64("soak-seed", 1, "what the soak's operations and faults are drawn from")

// The links of the soak, one gateway each.
var soakLinks = []struct {
	id           billing.GatewayID
	link         string
	power, water string // profiles
	credit       int    // meters that hold credit
}{
	{"S1", "modbus_tcp", "sim-ddsy1352", "sim-valve-water", 2},
	{"S2", "transparent", "sim-ddsy1352", "sim-valve-water", 2},
	{"S3", "dial_in", "sim-ddsy1352", "sim-valve-water", 2},
	{"S4", "transparent", "sim-dlt645", "sim-cjt188", 0},
}

// soakMeter is one account's meter, as the tables and as the simulator know it.
type soakMeter struct {
	account billing.AccountID
	meter   billing.MeterID
	device  devices.Meter
	credit  bool // holds its own credit
	water   bool
	fen     billing.Money // that the meter began with
}

// soak is a grid with meters on every kind of link, on which a seeded sequence of operations and faults is played.
type soak struct {
	*grid
	*rand.Rand
	pool     *devices.Pool
	metering activities.Metering
	meters   []soakMeter
	done     map[string]int // operations by kind
	injected int
}

func newSoak(t *testing.T) *soak {
	s := &soak{grid: newGrid(t), Rand: rand.New(rand.NewPCG(*soakSeed, 1)), done: map[string]int{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dialIn := devices.NewDialIn(func(_ context.Context, id string) (devices.Unit, bool, error) {
		return devices.Unit{Gateway: "S3", Secret: sha256.Sum256([]byte("for-this-test-only"))}, id == "unit-3", nil
	}, nil, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- dialIn.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-served)
	})
	s.build(listener.Addr().String())
	s.pool = devices.NewPool(devices.Config{
		Timeout: 150 * time.Millisecond, SwitchLimit: 300 * time.Millisecond, SwitchPoll: 20 * time.Millisecond, SetAsideAfter: 1 << 20, LineAsideAfter: 1 << 20,
		Password645: "02123456", DialIn: dialIn,
	})
	t.Cleanup(s.pool.Shutdown)
	require.Eventually(t, func() bool { _, _, up := dialIn.Connected("S3"); return up }, 10*time.Second, 5*time.Millisecond)
	s.deliver.Pool, s.supply.Pool = s.pool, s.pool
	s.metering = activities.Metering{Store: s.Store, Pool: s.pool}
	s.env.RegisterActivity(&s.metering)
	return s
}

// build adds the links with their accounts, and serves their meters along the utility's clock.
func (s *soak) build(dialTo string) {
	ctx := context.Background()
	power, err := simulator.SeriesIDs(false)
	require.NoError(s.t, err)
	flow, err := simulator.SeriesIDs(true)
	require.NoError(s.t, err)
	spec := simulator.FleetSpec{Seed: 1}
	for i, l := range soakLinks {
		g := simulator.GatewaySpec{ID: string(l.id), Link: l.link, SilentMillis: 20}
		row := store.Gateway{ID: l.id, Site: s.Site, Name: string(l.id), Link: l.link, TimeoutMillis: 150}
		if l.link == "dial_in" {
			secret := sha256.Sum256([]byte("for-this-test-only"))
			g.DialTo, g.Registration, g.Secret = dialTo, "unit-3", "for-this-test-only"
			row.Registration, row.Secret = g.Registration, secret[:]
		} else {
			row.Address = "127.0.0.1:" + fmt.Sprint(40_000+i) // until the simulator listens
		}
		require.NoError(s.t, s.AddGateway(ctx, storetest.By, row))
		for unit := 1; unit <= l.credit+2; unit++ {
			m := soakMeter{credit: unit <= l.credit, water: unit == l.credit+2, fen: 10_000}
			n := storetest.NewAccount{Gateway: l.id, Unit: unit, Serial: fmt.Sprintf("9000000%02d%03d", i+1, unit), Profile: l.power}
			sim := simulator.MeterSpec{Unit: byte(unit), Serial: n.Serial, Profile: l.power, LoadProfile: power[4*i+unit], OpeningRegisters: make([]int64, 6)}
			switch {
			case m.credit:
				n.Mode, sim.CreditMode, sim.RemainingFen = billing.CreditMeter, true, 10_000
				sim.PricesE8 = [5]int64{50_000_000, 50_000_000, 50_000_000, 50_000_000, 50_000_000}
			case m.water:
				n.Service, n.Profile = billing.Water, l.water
				sim.Profile, sim.LoadProfile, sim.OpeningRegisters, sim.ValveMillis = l.water, flow[i], []int64{0}, 20
			}
			m.account, m.meter = s.Account(n)
			m.device = devices.Meter{Serial: n.Serial, Profile: n.Profile, Address: devices.Address{
				Gateway: string(l.id), Unit: byte(unit), Link: devices.Link{Kind: devices.LinkKind(l.link), Timeout: 150 * time.Millisecond},
			}}
			s.meters, g.Meters = append(s.meters, m), append(g.Meters, sim)
		}
		spec.Gateways = append(spec.Gateways, g)
	}
	s.dir = s.t.TempDir()
	s.fleet, err = simulator.NewFleet(spec, s.dir, func() time.Time { return time.Unix(0, s.grid.meters.Load()).UTC() })
	require.NoError(s.t, err)
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- s.fleet.Serve(serving) }()
	s.t.Cleanup(func() {
		stop()
		require.NoError(s.t, <-served)
	})
	for i, m := range s.meters {
		if m.device.Link.Kind != devices.LinkDialIn {
			s.meters[i].device.HostPort = s.fleet.Addr(m.device.Gateway)
			_, err := s.Pool.Exec(ctx, `UPDATE gateways SET address = $2 WHERE id = $1`, m.device.Gateway, s.fleet.Addr(m.device.Gateway))
			require.NoError(s.t, err)
		}
	}
	// The grid's own meters are not part of it.
	_, err = s.Pool.Exec(ctx, `UPDATE meters SET state = 'removed' WHERE gateway_id = 'G1'`)
	require.NoError(s.t, err)
}

// TestSoak plays operations over all kinds of links while faults strike at random. Whenever something is called verified, it is; in the end,
// with the faults gone, reading settles every doubt, and the tables and the meters' own record tell the same of every meter.
func TestSoak(t *testing.T) {
	s := newSoak(t)
	t.Logf("seed %d: -soak-seed plays it again", *soakSeed)
	for n := range soakOperations {
		if s.IntN(soakOperations-n) < soakFaults-s.injected {
			s.strike()
		}
		s.setNow(s.now.Add(time.Minute))
		if n%200 == 199 {
			s.nextDay()
			continue
		}
		m := s.meters[s.IntN(len(s.meters))]
		switch op := s.IntN(10); {
		case op < 3:
			s.look(m)
		case m.credit && op < 7:
			s.buy(m)
		case m.credit && op < 9:
			s.price(m)
		case m.credit:
			s.clock(m)
		default:
			s.toggle(m)
		}
	}
	t.Logf("%v, %d faults, struck %v", s.done, s.injected, s.fleet.Faults().Hit)
	require.Equal(t, soakFaults, s.injected)
	for _, kind := range soakKinds() {
		require.Positive(t, s.fleet.Faults().Injected[kind], "%s was never drawn", kind)
	}
	for _, kind := range []string{"read", "credit", "trip", "close", "valve", "price", "clock", "cycle"} {
		require.Positive(t, s.done[kind], kind)
	}
	s.settle()
	s.agrees()
	s.proved()
	s.intact()
}

// notDrawn are the faults of meters that show wrongly what they are, each with the reason: the soak compares the tables with what the meters are, and they agree with
// what the meters show. The matrix of faults has them, and validation judges them.
var notDrawn = map[simulator.FaultKind]string{
	simulator.FaultWelded:       "the relay says off and the load flows on: a cut in doubt until a person has been there",
	simulator.FaultWrongClock:   "read as it is shown",
	simulator.FaultRegisterJump: "read as it is shown",
	simulator.FaultWrongRatio:   "read as it is shown",
	simulator.FaultUnderCount:   "no answer differs",
}

// soakKinds are the faults that are drawn: all that the simulator knows but those.
func soakKinds() (kinds []simulator.FaultKind) {
	for _, kind := range slices.Concat(simulator.LineFaults, simulator.MeterFaults) {
		if notDrawn[kind] == "" {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// strike injects one fault, mostly for one request of one meter.
func (s *soak) strike() {
	m := s.meters[s.IntN(len(s.meters))]
	f := simulator.Fault{Gateway: m.device.Gateway, Unit: m.device.Unit, Times: 1, On: []string{"", "read", "write"}[s.IntN(3)]}
	kinds := soakKinds()
	switch f.Kind = kinds[s.injected%len(kinds)]; f.Kind { // in turn, so that none is left out
	case simulator.FaultSlow:
		f.DelayMillis = 100 + s.IntN(200)
	case simulator.FaultMovingValve:
		f.DelayMillis, f.On = 100+s.IntN(400), ""
	case simulator.FaultLostReply, simulator.FaultRepeatWrite, simulator.FaultStuckRelay, simulator.FaultStuckValve:
		f.On = ""
	}
	_, err := s.fleet.Inject(f)
	require.NoError(s.t, err)
	s.injected++
}

func (s *soak) truth(m soakMeter) simulator.State {
	state, err := s.fleet.MeterState(m.device.Serial)
	require.NoError(s.t, err)
	return state
}

// shown is what a meter's registers look like through its protocol: CJ/T 188 has ten litres as its smallest unit.
func (s *soak) shown(m soakMeter) []int64 {
	registers := s.truth(m).Registers
	if m.device.Profile == "sim-cjt188" {
		registers[0] -= registers[0] % 10
	}
	return registers
}

// look reads a meter: a value that comes is the right one.
func (s *soak) look(m soakMeter) {
	s.done["read"]++
	if shot, err := s.pool.Snapshot(context.Background(), m.device); err == nil {
		require.Equal(s.t, s.shown(m), shot.Registers, m.meter)
	}
}

// buy delivers a recharge, or goes on with the one that is open.
func (s *soak) buy(m soakMeter) {
	s.done["credit"]++
	var open *billing.RechargeID
	err := s.Pool.QueryRow(context.Background(), `SELECT min(id) FROM recharges WHERE account_id = $1 AND state IN ('approved', 'delivering', 'in_doubt')`, m.account).Scan(&open)
	require.NoError(s.t, err)
	if open == nil {
		ref := s.approved(m.account, billing.Money(1000+s.IntN(5000)))
		run[activities.Settled](s.grid, s.posting.PostRecharge, ref)
		open = &ref.RechargeID
	}
	run[activities.Settled](s.grid, s.deliver.DeliverRecharge, activities.RechargeRef{RechargeID: *open})
}

// price writes prices of its own to a meter; no tariff is published, so the tables have no part in it.
func (s *soak) price(m soakMeter) {
	s.done["price"]++
	var want devices.Prices
	for i := range want {
		want[i] = (1000 + s.Int64N(9000)) * 10_000
	}
	r, err := s.pool.SetPrices(context.Background(), m.device, want, nil)
	holds := s.truth(m).PricesE8 == [5]int64(want)
	require.False(s.t, err == nil && r.Outcome == devices.OutcomeVerified && !holds, "%s: verified, and the meter holds other prices", m.meter)
	require.False(s.t, err == nil && r.Outcome == devices.OutcomeRefused && holds, "%s: refused, and the meter holds the prices", m.meter)
}

// clock sets a meter's clock some minutes off.
func (s *soak) clock(m soakMeter) {
	s.done["clock"]++
	off := time.Duration(s.IntN(240)-120) * time.Second
	wall := func() time.Time { return s.now.Add(off).In(storetest.Zone) }
	r, err := s.pool.SetClock(context.Background(), m.device, devices.MostClockSet, wall, nil)
	if err == nil && r.Outcome == devices.OutcomeVerified {
		require.InDelta(s.t, off.Seconds(), s.truth(m).ClockOffset, 5, m.meter)
	}
}

// toggle cuts an account that is supplied, or gives supply back to one that isn't; a cut in doubt is looked at.
func (s *soak) toggle(m soakMeter) {
	ctx := context.Background()
	sup, err := s.Supply(ctx, m.account)
	require.NoError(s.t, err)
	var doubt *string
	require.NoError(s.t, s.Pool.QueryRow(ctx, `SELECT min(id) FROM cutoffs WHERE account_id = $1 AND state IN ('sending', 'unknown')`, m.account).Scan(&doubt))
	switch {
	case doubt != nil && (sup.Wanted == billing.SupplyOn || s.IntN(2) == 0):
		s.count(m, "trip")
		run[activities.CutState](s.grid, s.supply.LookAtCut, activities.CutRef{CutoffID: *doubt})
	case doubt == nil && sup.Wanted == billing.SupplyOn:
		s.count(m, "trip")
		s.cut(m)
	default:
		s.count(m, "close")
		id, err := s.OrderRestore(ctx, byTest, m.account, fmt.Sprint("soak-", s.done), "soak")
		require.NoError(s.t, err)
		run[activities.RestoreState](s.grid, s.supply.RestoreSupply, activities.RestoreRef{RestoreID: id})
	}
}

func (s *soak) count(m soakMeter, kind string) {
	if m.water {
		kind = "valve"
	}
	s.done[kind]++
}

// cut marks and sends a cut as its activity does once policy allows it, and then dies: the activity that comes after it looks at the meter
// and records what it finds.
func (s *soak) cut(m soakMeter) {
	ctx := context.Background()
	id := fmt.Sprintf("C-soak-%d", s.done["trip"]+s.done["valve"])
	require.NoError(s.t, s.Change(ctx, byTest, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO cutoffs (id, site_id, account_id, state, planned_at, opened_at) VALUES ($1, $2, $3, 'planned', $4, $4)`, id, s.Site, m.account, tx.Now); err != nil {
			return err
		}
		return tx.Journal(ctx, store.Entry{Site: s.Site, Kind: "cutoff", ID: id, Event: "opened", To: "planned"})
	}))
	step, err := s.BeginCut(ctx, byTest, store.CutAttempt{ID: id, Deadline: time.Hour, Judge: allowed})
	require.NoError(s.t, err)
	if !step.Send {
		return
	}
	r, err := s.pool.Trip(ctx, m.device)
	if err == nil && r.Outcome == devices.OutcomeVerified {
		is, err := s.fleet.Supply(m.device.Serial)
		require.NoError(s.t, err)
		require.Equal(s.t, simulator.SupplyOff, is, m.meter)
	}
	run[activities.CutState](s.grid, s.supply.CutOff, activities.CutRef{CutoffID: id})
}

// nextDay lives to the next midnight and reads all meters in a cycle: what is stored is what the meters hold.
func (s *soak) nextDay() {
	s.done["cycle"]++
	day := billing.DateOf(s.now, storetest.Zone).AddDays(1)
	s.setNow(day.At(0, 2, storetest.Zone))
	id := billing.CycleID("park/" + day.String())
	run[activities.CyclePlan](s.grid, s.metering.PlanCycle, activities.CycleStart{CycleID: id, Site: s.Site, Day: day})
	gateways := run[[]billing.GatewayID](s.grid, s.metering.StartPass, activities.StartPass{CycleID: id, Pass: 1})
	run[activities.SweptGateway](s.grid, s.metering.SweepGateways, activities.SweepGateways{CycleID: id, Gateways: gateways, Pass: 1})
	ids := make([]billing.MeterID, len(s.meters))
	for i, m := range s.meters {
		ids[i] = m.meter
	}
	stored, err := s.ReadingsAt(context.Background(), ids, day.Start(storetest.Zone))
	require.NoError(s.t, err)
	require.NotEmpty(s.t, stored)
	for _, m := range s.meters {
		if r, read := stored[m.meter]; read {
			require.Equal(s.t, s.shown(m), []int64(r.Registers), m.meter)
		}
	}
	ref := activities.CycleRef{CycleID: id}
	run[activities.Validated](s.grid, s.metering.ValidateCycle, ref)
	run[any](s.grid, s.metering.CloseCycle, ref)
	s.setNow(day.At(10, 30, storetest.Zone))
}

// settle ends all faults and works on what is open until reading has settled it.
func (s *soak) settle() {
	ctx := context.Background()
	for kind := range s.fleet.Faults().Injected {
		for _, m := range s.meters {
			_, err := s.fleet.Clear(simulator.Fault{Kind: kind, Gateway: m.device.Gateway, Unit: m.device.Unit})
			require.NoError(s.t, err)
		}
	}
	for _, m := range s.meters { // a link that was dropped comes back
		require.Eventually(s.t, func() bool { _, err := s.pool.Snapshot(ctx, m.device); return err == nil }, 10*time.Second, 20*time.Millisecond, m.meter)
	}
	for range 3 {
		open, err := s.OpenDeliveries(ctx, s.Site)
		require.NoError(s.t, err)
		for _, id := range open {
			run[activities.Settled](s.grid, s.deliver.DeliverRecharge, activities.RechargeRef{RechargeID: id})
		}
		for _, id := range s.ids(`SELECT id FROM cutoffs WHERE state = 'unknown' ORDER BY id`) {
			run[activities.CutState](s.grid, s.supply.LookAtCut, activities.CutRef{CutoffID: id})
		}
		for _, m := range s.meters {
			if sup, err := s.Supply(ctx, m.account); err == nil && (sup.Wanted != billing.SupplyOn || sup.State != billing.SupplyOn) {
				_, err := s.OrderRestore(ctx, byTest, m.account, fmt.Sprint("settle-", s.done), "the soak is over")
				require.NoError(s.t, err)
			}
		}
		restores, err := s.OpenRestores(ctx, s.Site)
		require.NoError(s.t, err)
		for _, id := range restores {
			run[activities.RestoreState](s.grid, s.supply.RestoreSupply, activities.RestoreRef{RestoreID: id})
		}
	}
	require.Empty(s.t, s.ids(`SELECT id FROM recharges WHERE state NOT IN ('credited', 'rejected')`), "credit in doubt that reading doesn't settle")
	require.Empty(s.t, s.ids(`SELECT id FROM commands WHERE state IN ('requested', 'sending', 'acknowledged', 'unknown')`), "commands that reading doesn't settle")
	require.Empty(s.t, s.ids(`SELECT id FROM restores WHERE state IN ('sending', 'unknown')`))
}

func (s *soak) ids(sql string) (ids []string) {
	rows, err := s.Pool.Query(context.Background(), sql)
	require.NoError(s.t, err)
	defer rows.Close()
	for rows.Next() {
		var id string
		require.NoError(s.t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(s.t, rows.Err())
	return ids
}

// agrees compares the tables with the simulator's record, meter by meter.
func (s *soak) agrees() {
	ctx := context.Background()
	entries, err := simulator.ReadRecord(s.dir)
	require.NoError(s.t, err)
	for _, m := range s.meters {
		type credit struct{ count, fen int64 }
		var ours, theirs []credit
		rows, err := s.Pool.Query(ctx, `SELECT c.count_after, c.amount_fen FROM commands c JOIN recharges r ON c.cause LIKE '%' || r.id || '%' AND r.account_id = c.account_id
			WHERE c.meter_id = $1 AND c.kind = 'credit' AND c.state = 'verified' AND r.state = 'credited' ORDER BY c.count_after`, m.meter)
		require.NoError(s.t, err)
		for rows.Next() {
			var c credit
			require.NoError(s.t, rows.Scan(&c.count, &c.fen))
			ours = append(ours, c)
		}
		require.NoError(s.t, rows.Err())
		for _, p := range simulator.Purchases(entries, m.device.Serial) {
			theirs = append(theirs, credit{p.Count, p.AmountFen})
		}
		require.Equal(s.t, theirs, ours, "%s: what the meter accepted, and what we call credited", m.meter)
		var credited, balance billing.Money
		require.NoError(s.t, s.Pool.QueryRow(ctx, `SELECT coalesce(sum(amount_fen), 0)::bigint FROM recharges WHERE account_id = $1 AND state = 'credited'`, m.account).Scan(&credited))
		require.NoError(s.t, s.Pool.QueryRow(ctx, `SELECT balance_fen FROM balances WHERE account_id = $1`, m.account).Scan(&balance))
		var sum int64
		for _, c := range theirs {
			sum += c.fen
		}
		require.Equal(s.t, sum, int64(credited), m.meter)
		require.Equal(s.t, m.fen+credited, balance, m.meter)
		sup, err := s.Supply(ctx, m.account)
		require.NoError(s.t, err)
		is, err := s.fleet.Supply(m.device.Serial)
		require.NoError(s.t, err)
		require.Equal(s.t, string(is), string(sup.State), "%s: where the relay or valve stands, and what we call proved", m.meter)
	}
}
