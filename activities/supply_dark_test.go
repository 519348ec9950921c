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
)

// These tests are about customers who sit in the dark while the tables, the ledger or an order that is out say otherwise.

const serialEmpty = "000000000009"

// empty puts a meter with so much credit of its own, in fen, at the place of the account that holds its credit in the meter. The ledger is left as it is.
func (g *grid) empty(fen int64) {
	g.t.Helper()
	power, err := simulator.SeriesIDs(false)
	require.NoError(g.t, err)
	prices := [5]int64{50_000_000, 50_000_000, 50_000_000, 50_000_000, 50_000_000}
	require.NoError(g.t, g.fleet.ExchangeMeter("G1", 1, simulator.MeterSpec{Serial: serialEmpty, Profile: "sim-ddsy1352", LoadProfile: power[0], CreditMode: true,
		RemainingFen: fen, PricesE8: prices, OpeningRegisters: make([]int64, 6)}))
	g.sql(`UPDATE meters SET serial = '` + serialEmpty + `' WHERE serial = '` + serialCredit + `'`)
}

// ranOut lets the meter's own credit run out: it trips by itself.
func (g *grid) ranOut() {
	g.t.Helper()
	g.empty(0)
	g.setNow(g.now.Add(time.Hour))
	require.NoError(g.t, g.fleet.Advance())
	require.Equal(g.t, "off", g.relay(serialEmpty))
}

func forbidden(store.SupplyFacts) (store.Judgement, error) {
	return store.Judgement{Print: []byte(`{"allowed":false}`)}, nil
}

// tripped notes that the credit account's meter was seen off, where no cut was allowed.
func (g *grid) tripped() (noted store.OwnTripNoted) {
	g.t.Helper()
	require.NoError(g.t, g.Change(context.Background(), byTest, func(tx *store.Tx) error {
		var err error
		noted, err = store.NoteOwnTrip(context.Background(), tx, store.OwnTrip{Account: g.credit, Meter: "M0001", SeenReal: time.Now(), CaseDue: time.Hour}, forbidden)
		return err
	}))
	return noted
}

func (g *grid) restore(id string) activities.RestoreState {
	g.t.Helper()
	return run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: id})
}

func (g *grid) supplyOf(account billing.AccountID) store.Supply {
	g.t.Helper()
	sup, err := g.Store.Supply(context.Background(), account)
	require.NoError(g.t, err)
	return sup
}

// text reads one value of the tables as text; empty when there is none.
func (g *grid) text(query string) (s string) {
	g.t.Helper()
	require.NoError(g.t, g.Pool.QueryRow(context.Background(), `SELECT coalesce((`+query+`)::text, '')`).Scan(&s))
	return s
}

// The ledger knows of credit that the meter hasn't: a close is refused, so the meter is held on, in the same attempt.
func TestRestore_meterWithoutItsOwnCreditIsHeldOn(t *testing.T) {
	g := newGrid(t)
	g.ranOut()
	r := g.restore(g.tripped().Restore)
	require.Equal(t, store.RestoreVerified, r.State)
	require.Equal(t, "on", g.relay(serialEmpty))
	require.True(t, g.supplyOf(g.credit).Guarded)
	require.Equal(t, "refused", g.text(`SELECT state FROM commands WHERE kind = 'close'`))
	require.Empty(t, g.text(`SELECT id FROM cases WHERE kind = 'supply_unknown'`), "nothing is in doubt")
	g.proved()
	g.intact()
}

// The first order was right when it was made; by the next attempt the ledger has fallen, and only another order gives supply back.
func TestRestore_ordersWhatIsNeededNow(t *testing.T) {
	g := newGrid(t)
	g.ranOut()
	g.spend(g.credit, 300)
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	id := g.tripped().Restore
	r := g.restore(id)
	require.Equal(t, store.RestoreUnknown, r.State)
	require.NotEmpty(t, r.Case)
	g.spend(g.credit, 0)
	again := g.restore(id)
	require.Equal(t, store.RestoreUnknown, again.State)
	require.Equal(t, "cancelled", g.text(`SELECT state FROM commands WHERE kind = 'close'`))
	require.Equal(t, "resolved", g.text(`SELECT state FROM cases WHERE id = '`+string(r.Case)+`'`))
	require.Equal(t, r.Case, again.Replaced, "its workflow must hear of it")
	require.NotEqual(t, r.Case, again.Case, "the order that is in doubt now has a case of its own")
	g.heal(simulator.FaultSilent, 1)
	require.Equal(t, store.RestoreVerified, g.restore(id).State)
	require.Equal(t, "on", g.relay(serialEmpty))
	require.True(t, g.supplyOf(g.credit).Guarded)
	require.Empty(t, g.text(`SELECT id FROM cases WHERE kind = 'supply_unknown' AND state = 'open'`))
	g.intact()
}

// A close that was in doubt when the meter could be asked again ends with its case, and the meter is held on.
func TestRestore_closeInDoubtIsRefused(t *testing.T) {
	g := newGrid(t)
	g.ranOut()
	g.fault(simulator.Fault{Kind: simulator.FaultSilent, Unit: 1})
	id := g.tripped().Restore
	doubt := g.restore(id)
	require.Equal(t, store.RestoreUnknown, doubt.State)
	g.heal(simulator.FaultSilent, 1)
	r := g.restore(id)
	require.Equal(t, store.RestoreVerified, r.State)
	require.Equal(t, doubt.Case, r.Replaced)
	require.Equal(t, "on", g.relay(serialEmpty))
	require.Equal(t, "resolved", g.text(`SELECT state FROM cases WHERE id = '`+string(doubt.Case)+`'`))
	g.intact()
}

// What holds the meter on isn't ended by the ledger while the meter's own credit is used up: it would trip at once.
func TestRestore_guardStaysWithoutTheMetersCredit(t *testing.T) {
	g := newGrid(t)
	g.ranOut()
	g.restore(g.tripped().Restore)
	id, err := g.OrderRestore(context.Background(), store.By{Actor: "boss"}, g.credit, "n1", "asked for")
	require.NoError(t, err)
	require.True(t, g.restore(id).Ended())
	require.Equal(t, "on", g.relay(serialEmpty))
	require.True(t, g.supplyOf(g.credit).Guarded)
	require.Equal(t, "cancelled", g.text(`SELECT state FROM commands WHERE kind = 'release'`))
	g.intact()
}

// Nor by a person's order while an arrears case holds it on: its customer would be cut without notice.
func TestRestore_guardStaysWithTheArrearsCase(t *testing.T) {
	g := newGrid(t)
	g.spend(g.credit, 300)
	require.True(t, run[activities.GuardDone](g, g.supply.GuardSupply, g.low(g.credit)).Done)
	id, err := g.OrderRestore(context.Background(), store.By{Actor: "boss"}, g.credit, "n1", "asked for")
	require.NoError(t, err)
	require.True(t, g.restore(id).Ended())
	require.True(t, g.supplyOf(g.credit).Guarded)
	state, err := g.fleet.MeterState(serialCredit)
	require.NoError(t, err)
	require.Equal(t, "on", state.Forced)
	g.intact()
}

// onSite switches a meter behind our back.
func (g *grid) onSite(serial string, unit byte, profile string, do func(*devices.Pool, context.Context, devices.Meter) (devices.SwitchResult, error)) {
	g.t.Helper()
	pool := devices.NewPool(devices.Config{Timeout: 300 * time.Millisecond})
	defer pool.Shutdown()
	r, err := do(pool, context.Background(), devices.Meter{Address: devices.Address{Gateway: "G1", HostPort: g.fleet.Addr("G1"), Unit: unit}, Serial: serial, Profile: profile})
	require.NoError(g.t, err)
	require.Equal(g.t, devices.OutcomeVerified, r.Outcome)
}

// The tables say on, the home is dark: a person's order reaches the meter all the same.
func TestRestore_personsOrderReachesTheMeter(t *testing.T) {
	g := newGrid(t)
	g.onSite(serialPlatform, 2, "sim-ddsy1352", (*devices.Pool).Trip)
	id, err := g.OrderRestore(context.Background(), store.By{Actor: "boss"}, g.plain, "n1", "they called")
	require.NoError(t, err)
	require.Equal(t, store.RestoreVerified, g.restore(id).State)
	require.Equal(t, "on", g.relay(serialPlatform))
	require.NotEmpty(t, g.text(`SELECT id FROM messages WHERE kind = 'restored'`))
	g.proved()
	g.intact()

	// Where supply is on, nothing is sent and nobody is told that it is back.
	id, err = g.OrderRestore(context.Background(), store.By{Actor: "boss"}, g.water, "n2", "they called")
	require.NoError(t, err)
	require.Equal(t, store.RestoreNotNeeded, g.restore(id).State)
	require.Equal(t, "1", g.text(`SELECT count(*) FROM messages WHERE kind = 'restored'`))
	g.intact()
}

// The process dies while a person's order is out: the next attempt ends it, whatever the tables say.
func TestRestore_personsOrderOutlivesTheProcess(t *testing.T) {
	for _, event := range []string{"sending", "verified"} {
		t.Run(event, func(t *testing.T) {
			g := newGrid(t)
			g.onSite(serialPlatform, 2, "sim-ddsy1352", (*devices.Pool).Trip)
			id, err := g.OrderRestore(context.Background(), store.By{Actor: "boss"}, g.plain, "n1", "they called")
			require.NoError(t, err)
			kind := map[string]string{"sending": "restore", "verified": "command"}[event]
			g.dies(kind, event, func() { g.refuses(g.supply.RestoreSupply, activities.RestoreRef{RestoreID: id}) })
			require.Equal(t, store.RestoreVerified, g.restore(id).State)
			require.Equal(t, "on", g.relay(serialPlatform))
			require.Equal(t, "verified", g.text(`SELECT state FROM commands WHERE kind = 'close'`))
			g.proved()
			g.intact()
		})
	}
}

// A meter that was read off is not left out of a batch that gives supply back, whatever the tables say.
func TestBatch_restoreLooksAtTheLastReading(t *testing.T) {
	g := newMany(t)
	g.onSite(serialPlatform, 2, "sim-ddsy1352", (*devices.Pool).Trip)
	g.reads(g.plain, billing.QualityActual, false)
	g.sql(`INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, supply, doubtful, recorded_by)
		SELECT meter_id, freeze_at, 2, taken_at, taken_real, quality, registers, 'off', doubtful, recorded_by FROM readings`)
	m := g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchRestore, g.plain, g.other)))[g.meter(g.plain)]
	require.NotNil(t, m.Restore, m.Skip)
	require.Equal(t, store.RestoreVerified, g.restore(*m.Restore).State)
	require.Equal(t, "on", g.relay(serialPlatform))
	g.told()
}

// A release that would let the meter trip is not sent, whatever the ledger says.
func TestBatch_releaseLooksAtTheMetersOwnCredit(t *testing.T) {
	g := newMany(t)
	g.empty(0)
	require.Equal(t, billing.MemberVerified, g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.credit)))[g.meter(g.credit)].State)
	got := g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchRelease, g.credit)))[g.meter(g.credit)]
	require.Equal(t, billing.MemberSkipped, got.State, got.Note)
	require.Equal(t, billing.SkipWouldTrip, got.Skip)
	require.Equal(t, billing.CommandCancelled, g.command(got).State)
	require.Equal(t, "on", g.forced(serialEmpty))
	require.Equal(t, "on", g.relay(serialEmpty))
	require.True(t, g.supplyOf(g.credit).Guarded)
	g.told()
}

// A meter that trips at its release all the same is noted as a cut in the same breath, and supply is given back.
func TestBatch_meterThatTripsAtItsRelease(t *testing.T) {
	g := newMany(t)
	g.empty(1)
	require.Equal(t, billing.MemberVerified, g.worked(g.started(g.wish(billing.BatchRelay, billing.BatchKeepOn, g.credit)))[g.meter(g.credit)].State)
	pool := devices.NewPool(devices.Config{Timeout: 300 * time.Millisecond, ReadRetries: -1, SwitchLimit: 300 * time.Millisecond, SwitchPoll: 20 * time.Millisecond,
		MaySend: func(context.Context, string, time.Duration) error { // the credit runs out between the look and the order
			g.meters.Store(g.now.Add(6 * time.Hour).UnixNano())
			return nil
		}})
	t.Cleanup(pool.Shutdown)
	g.batches.Pool = pool
	id := g.started(g.wish(billing.BatchRelay, billing.BatchRelease, g.credit))
	ref := activities.BatchMemberRef{BatchID: id, Meter: g.meter(g.credit), Gateway: "G1"}
	done := run[activities.BatchMemberDone](g.grid, g.batches.WorkMember, ref)
	require.Equal(t, "off", g.relay(serialEmpty))
	sup := g.supplyOf(g.credit)
	require.Equal(t, [3]string{"off", "on", store.CutByMeter}, [3]string{string(sup.State), string(sup.Wanted), sup.CutCause})
	require.Equal(t, "verified", g.text(`SELECT state FROM cutoffs WHERE own_trip`))
	require.NotEmpty(t, g.text(`SELECT id FROM cases WHERE kind = 'own_trip' AND blocking AND state = 'open'`))
	require.NotEmpty(t, done.Restore, "its workflow starts at once")
	require.Equal(t, g.text(`SELECT id FROM cases WHERE kind = 'own_trip'`), string(done.Case), "and that of the case")
	require.Equal(t, done, run[activities.BatchMemberDone](g.grid, g.batches.WorkMember, ref), "also when the answer got lost")
	require.Contains(t, g.members(id)[ref.Meter].Note, "tripped")
	require.Equal(t, store.RestoreVerified, g.restore(done.Restore).State)
	require.Equal(t, "on", g.relay(serialEmpty))
	g.told()
}

// Supply that the tables say is off, with no cut that stands and nobody giving it back, is a trip that nobody noted.
func TestOwnTrip_notedWhereTheTablesSayOffWithoutACut(t *testing.T) {
	g := newGrid(t)
	g.sql(`UPDATE supplies SET state = 'off' WHERE account_id = '` + string(g.credit) + `'`)
	noted := g.tripped()
	require.NotEmpty(t, noted.Cutoff)
	require.NotEmpty(t, noted.Restore)
	require.Empty(t, g.tripped().Cutoff, "once")
	g.intact()
}

// A reading from before a read-back that showed supply on says nothing of now.
func TestOwnTrip_notByAnOlderReading(t *testing.T) {
	g := newGrid(t)
	seen := time.Now()
	id, err := g.OrderRestore(context.Background(), store.By{Actor: "boss"}, g.credit, "n1", "they called")
	require.NoError(t, err)
	require.True(t, g.restore(id).Ended())
	require.NoError(t, g.Change(context.Background(), byTest, func(tx *store.Tx) error {
		noted, err := store.NoteOwnTrip(context.Background(), tx, store.OwnTrip{Account: g.credit, Meter: "M0001", SeenReal: seen, CaseDue: time.Hour}, forbidden)
		require.Empty(t, noted.Cutoff)
		require.False(t, noted.Known)
		return err
	}))
	require.Equal(t, billing.SupplyOn, g.supplyOf(g.credit).State)
}

// Whoever holds the credit, and whatever is switched: supply that is read off though it should be on is a cut that nobody may have, and is given back.
func TestValidate_foundOffThoughItShouldBeOn(t *testing.T) {
	for name, n := range map[string]storetest.NewAccount{"relay": {}, "valve": {Service: billing.Water}} {
		t.Run(name, func(t *testing.T) {
			f := newField(t, "2026-01-01")
			account, meter := f.Account(n)
			shows := map[billing.MeterID]billing.Registers{meter: regs(100)}
			if n.Service == billing.Water {
				shows[meter] = billing.Registers{100}
			}
			id := f.sweepWith("2026-01-02", func(r *store.Reading) { r.Supply = "off" }, shows)
			found := do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
			require.Len(t, found.Restores, 1)
			require.Len(t, found.Cases, 1)
			c, _, err := f.Case(context.Background(), found.Cases[0])
			require.NoError(t, err)
			require.Equal(t, store.KindOwnTrip, c.Kind)
			sup, err := f.Supply(context.Background(), account)
			require.NoError(t, err)
			require.Equal(t, [2]billing.SupplyState{billing.SupplyOff, billing.SupplyOn}, [2]billing.SupplyState{sup.State, sup.Wanted})
			f.intact()
		})
	}
}

// A finding is left out only where the trip was really noted.
func TestValidate_mismatchThatIsNotATripStands(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Mode = billing.CreditMeter
	account, meter := f.Account(n)
	left := billing.Money(9_950)
	id := f.sweepWith("2026-01-02", func(r *store.Reading) { r.RemainingFen, r.Supply = &left, "off" }, map[billing.MeterID]billing.Registers{meter: regs(100)})
	_, err := f.Pool.Exec(context.Background(), `INSERT INTO commands (id, site_id, account_id, meter_id, kind, state, cause, requested_by, requested_at, settled_at, readback, readback_real)
		VALUES ('D9', 'park', $1, $2, 'close', 'verified', 'restore/O9', 'workflow', business_now(), business_now(), 'on', now())`, account, meter)
	require.NoError(t, err)
	found := do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
	require.Empty(t, found.Restores)
	require.Len(t, found.Cases, 1)
	c, _, err := f.Case(context.Background(), found.Cases[0])
	require.NoError(t, err)
	require.Equal(t, "relay_mismatch", c.Kind)
}

// A DL/T 645 meter that was cut and has lost its clock gets supply back.
func TestRestore_meterWithoutAClock(t *testing.T) {
	g, ref := due(t)
	g.speak645(serialPlatform, simulator.MeterSpec{Unit: 2})
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	g.fault(simulator.Fault{Kind: simulator.FaultLostClock, Serial: serialEmpty})
	s := run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, 5000))
	require.Equal(t, store.RestoreVerified, g.restore(s.Restore).State)
	require.Equal(t, "on", g.relay(serialEmpty))
	g.proved()
	g.intact()
}

// A DL/T 645 meter doesn't say why it stays open: its amount tells.
func TestRestore_meterThatDoesNotSayWhyItStaysOpen(t *testing.T) {
	g := newGrid(t)
	g.speak645(serialCredit, simulator.MeterSpec{Unit: 1, CreditMode: true})
	g.setNow(g.now.Add(time.Hour))
	require.NoError(t, g.fleet.Advance())
	require.Equal(t, "off", g.relay(serialEmpty))
	require.Equal(t, store.RestoreVerified, g.restore(g.tripped().Restore).State)
	require.Equal(t, "on", g.relay(serialEmpty))
	require.Equal(t, "refused", g.text(`SELECT state FROM commands WHERE kind = 'close'`))
	g.intact()
}

// speak645 puts a DL/T 645 meter behind a serial server at the place of the meter with the serial; the other meters are gone.
func (g *grid) speak645(instead string, spec simulator.MeterSpec) {
	g.t.Helper()
	power, err := simulator.SeriesIDs(false)
	require.NoError(g.t, err)
	g.dir = g.t.TempDir()
	spec.Serial, spec.Profile, spec.LoadProfile, spec.OpeningRegisters = serialEmpty, "sim-dlt645", power[0], make([]int64, 6)
	g.fleet, err = simulator.NewFleet(simulator.FleetSpec{Seed: 1, Gateways: []simulator.GatewaySpec{{ID: "G1", Listen: "127.0.0.1:0", Link: "transparent", Meters: []simulator.MeterSpec{spec}}}},
		g.dir, func() time.Time { return time.Unix(0, g.meters.Load()).UTC() })
	require.NoError(g.t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func(f *simulator.Fleet) { done <- f.Serve(ctx) }(g.fleet)
	g.t.Cleanup(func() { stop(); <-done })
	g.sql(`UPDATE gateways SET link = 'transparent', address = '` + g.fleet.Addr("G1") + `' WHERE id = 'G1'`)
	g.sql(`UPDATE meters SET serial = '` + serialEmpty + `', profile = 'sim-dlt645' WHERE serial = '` + instead + `'`)
	pool := devices.NewPool(devices.Config{Timeout: 2 * time.Second, ReadRetries: -1, SwitchLimit: 300 * time.Millisecond, SwitchPoll: 20 * time.Millisecond, Password645: "02123456"})
	g.t.Cleanup(pool.Shutdown)
	g.supply.Pool = pool
}
