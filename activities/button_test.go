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

const serialButton = "900000000005"

// newButton is a grid whose account plain has a DL/T 645 meter with a button, cut for lack of credit.
func newButton(t *testing.T, policy string) (*grid, *activities.Metering) {
	g := newGrid(t)
	ctx := context.Background()
	power, err := simulator.SeriesIDs(false)
	require.NoError(t, err)
	g.dir = t.TempDir()
	g.fleet, err = simulator.NewFleet(simulator.FleetSpec{Gateways: []simulator.GatewaySpec{{ID: "S1", Link: "transparent", Meters: []simulator.MeterSpec{
		{Unit: 5, Serial: serialButton, Profile: "sim-dlt645", LoadProfile: power[0], OpeningRegisters: make([]int64, 6)},
	}}}}, g.dir, func() time.Time { return time.Unix(0, g.meters.Load()).UTC() })
	require.NoError(t, err)
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- g.fleet.Serve(serving) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-served)
	})
	require.NoError(t, g.AddGateway(ctx, storetest.By, store.Gateway{ID: "S1", Site: g.Site, Name: "serial server", Link: "transparent", Address: g.fleet.Addr("S1"), TimeoutMillis: 1000, WorstMillis: 900}))
	pool := devices.NewPool(devices.Config{SwitchLimit: 500 * time.Millisecond, SwitchPoll: 20 * time.Millisecond, Password645: "02123456"})
	t.Cleanup(pool.Shutdown)
	g.supply.Pool = pool
	meters := &activities.Metering{Store: g.Store, Pool: pool}
	g.env.RegisterActivity(meters)
	g.sql(`UPDATE sites SET policy = '` + policy + `'`)
	g.sql(`UPDATE meters SET state = 'removed' WHERE gateway_id = 'G1'`)
	g.plain, _ = g.Account(storetest.NewAccount{Gateway: "S1", Serial: serialButton, Unit: 5, Profile: "sim-dlt645"})
	g.spend(g.plain, 0)
	ref := g.noticed(g.plain)
	require.Empty(t, g.reading(meters, billing.DateOf(g.now, storetest.Zone)))
	require.Equal(t, store.CutVerified, run[activities.CutState](g, g.supply.CutOff, ref).State)
	require.Equal(t, "off", g.relay(serialButton))
	return g, meters
}

// pays pays and gives supply back, as the workflows do.
func (g *grid) pays(fen billing.Money) activities.RestoreState {
	g.t.Helper()
	run[activities.Settled](g, g.posting.PostRecharge, g.approved(g.plain, fen))
	open, err := g.OpenRestores(context.Background(), g.Site)
	require.NoError(g.t, err)
	var state activities.RestoreState
	for _, id := range open {
		state = run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: id})
	}
	return state
}

// reading reads all meters at a midnight, gives the cases that this opened, and goes on at half past ten.
func (g *grid) reading(m *activities.Metering, day billing.Date) []billing.CaseID {
	g.t.Helper()
	g.setNow(day.At(0, 2, storetest.Zone))
	id := billing.CycleID("park/" + day.String())
	run[activities.CyclePlan](g, m.PlanCycle, activities.CycleStart{CycleID: id, Site: g.Site, Day: day})
	gateways := run[[]billing.GatewayID](g, m.StartPass, activities.StartPass{CycleID: id, Pass: 1})
	run[activities.SweptGateway](g, m.SweepGateways, activities.SweepGateways{CycleID: id, Gateways: gateways, Pass: 1})
	ref := activities.CycleRef{CycleID: id}
	found := run[activities.Validated](g, m.ValidateCycle, ref)
	run[any](g, m.CloseCycle, ref)
	g.setNow(day.At(10, 30, storetest.Zone))
	return found.Cases
}

func (g *grid) supplyIs(want billing.SupplyState) {
	g.t.Helper()
	sup, err := g.Supply(context.Background(), g.plain)
	require.NoError(g.t, err)
	require.Equal(g.t, want, sup.State)
	require.Equal(g.t, billing.SupplyOn, sup.Wanted)
}

func (g *grid) count(sql string, args ...any) (n int) {
	g.t.Helper()
	require.NoError(g.t, g.Pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// After a payment the meter is only allowed to close: the customer is told, presses the button, and the next reading shows it. Both steps
// stand in the account's story.
func TestRestore_byTheCustomersButton(t *testing.T) {
	ctx := context.Background()
	g, meters := newButton(t, `{"supply": {"customer_closes": true}}`)
	state := g.pays(5000)
	require.Equal(t, store.RestoreVerified, state.State)
	require.NotEmpty(t, state.Message)
	require.Equal(t, "off", g.relay(serialButton), "nobody has pressed yet")
	g.supplyIs(billing.SupplyAllowed)
	require.Equal(t, 1, g.count(`SELECT count(*) FROM commands WHERE kind = 'allow_close' AND state = 'verified' AND readback = 'allowed'`))
	require.Equal(t, 1, g.count(`SELECT count(*) FROM messages WHERE id = $1 AND kind = 'allowed' AND body LIKE '%按键合闸%'`, state.Message))

	require.Equal(t, activities.RestoreState{}, g.pays(100), "nothing is owed any more")
	tomorrow := billing.DateOf(g.now, storetest.Zone).AddDays(1)
	require.Empty(t, g.reading(meters, tomorrow), "a meter that waits for its button is no surprise")
	g.supplyIs(billing.SupplyAllowed)
	require.NoError(t, g.fleet.Press(serialButton))
	require.Empty(t, g.reading(meters, tomorrow.AddDays(1)))
	g.supplyIs(billing.SupplyOn)
	require.Equal(t, 1, g.count(`SELECT count(*) FROM restores`))
	story, err := g.Timeline(ctx, []billing.SiteID{g.Site}, string(g.plain), 0, 100)
	require.NoError(t, err)
	var events []string
	for _, e := range story {
		if e.Kind == "supply" {
			events = append(events, e.Event)
		}
	}
	require.Equal(t, []string{"closed_by_button", "allow_close_verified", "allow_close_sending"}, events[:3], "newest first")
	g.intact()
}

// Nobody is left dark: while nobody presses, a person's order closes the meter directly; so is a meter without the site's wish, or
// one that tripped when it should not have.
func TestRestore_directlyWhereNoButtonIsMeant(t *testing.T) {
	ctx := context.Background()
	g, _ := newButton(t, `{"supply": {"customer_closes": true}}`)
	g.pays(5000)
	g.supplyIs(billing.SupplyAllowed)
	id, err := g.OrderRestore(ctx, byTest, g.plain, "n", "she is in a wheelchair")
	require.NoError(t, err)
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: id}).State)
	require.Equal(t, "on", g.relay(serialButton))
	g.supplyIs(billing.SupplyOn)
	g.intact()

	g, _ = newButton(t, `{}`)
	require.Equal(t, store.RestoreVerified, g.pays(5000).State)
	require.Equal(t, "on", g.relay(serialButton), "as it always was")
	g.supplyIs(billing.SupplyOn)
	g.intact()
}

// A permission that nobody has used ends with the next cut, which is judged and proved like any other; an answer that is lost leaves a doubt
// that reading settles.
func TestRestore_permissionsEnd(t *testing.T) {
	g, meters := newButton(t, `{"supply": {"customer_closes": true}}`)
	_, err := g.fleet.Inject(simulator.Fault{Kind: simulator.FaultSilent, Gateway: "S1", On: "write", Times: 1})
	require.NoError(t, err)
	state := g.pays(5000)
	require.Equal(t, store.RestoreUnknown, state.State)
	require.NotEmpty(t, state.Case)
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: state.RestoreID}).State)
	g.supplyIs(billing.SupplyAllowed)

	g.sql(`UPDATE reminders SET state = 'paid', closed_at = now() WHERE closed_at IS NULL`)
	g.spend(g.plain, 0)
	ref := g.noticed(g.plain)
	require.Empty(t, g.reading(meters, billing.DateOf(g.now, storetest.Zone)))
	cut := run[activities.CutState](g, g.supply.CutOff, ref)
	require.Equal(t, store.CutVerified, cut.State, "%+v", cut)
	require.Error(t, g.fleet.Press(serialButton), "the permission is over")
	sup, err := g.Supply(context.Background(), g.plain)
	require.NoError(t, err)
	require.Equal(t, billing.SupplyOff, sup.State)
	g.intact()
}

// A meter that is open is dark, and its customer knows of no button, unless we have let it close: a stranger's permission, or a relay that opens by itself,
// is its own trip, and supply is given back.
func TestValidate_openWithoutOurPermissionIsDark(t *testing.T) {
	ctx := context.Background()
	g, meters := newButton(t, `{"supply": {"customer_closes": true}}`)
	g.sql(`UPDATE sites SET policy = '{}'`)
	require.Equal(t, store.RestoreVerified, g.pays(5000).State)
	m := devices.Meter{Address: devices.Address{Gateway: "S1", HostPort: g.fleet.Addr("S1"), Link: devices.Link{Kind: devices.LinkTransparent}, Unit: 5}, Serial: serialButton, Profile: "sim-dlt645"}
	_, err := g.supply.Pool.Trip(ctx, m)
	require.NoError(t, err)
	r, err := g.supply.Pool.AllowClosing(ctx, m)
	require.NoError(t, err)
	require.Equal(t, devices.SupplyAllowed, r.After.Supply)
	require.Len(t, g.reading(meters, billing.DateOf(g.now, storetest.Zone).AddDays(1)), 1)
	open, err := g.OpenRestores(ctx, g.Site)
	require.NoError(t, err)
	require.Len(t, open, 1)
	require.Equal(t, store.RestoreVerified, run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: open[0]}).State)
	require.Equal(t, "on", g.relay(serialButton))
	g.intact()
}

// While a permission isn't proved, a person's order is carried out: the meter is closed directly, and the open permission is taken back.
func TestRestore_aPersonNeedNotWaitForTheButton(t *testing.T) {
	g, _ := newButton(t, `{"supply": {"customer_closes": true}}`)
	_, err := g.fleet.Inject(simulator.Fault{Kind: simulator.FaultSilent, Gateway: "S1", On: "write", Times: 1})
	require.NoError(t, err)
	state := g.pays(5000)
	require.Equal(t, store.RestoreUnknown, state.State)
	id, err := g.OrderRestore(context.Background(), byTest, g.plain, "n", "she is in a wheelchair")
	require.NoError(t, err)
	require.Equal(t, state.RestoreID, id, "one restore at a time")
	after := run[activities.RestoreState](g, g.supply.RestoreSupply, activities.RestoreRef{RestoreID: id})
	require.Equal(t, store.RestoreVerified, after.State)
	require.Equal(t, state.Case, after.Replaced, "the case of the permission ends with it")
	require.Equal(t, "on", g.relay(serialButton))
	g.supplyIs(billing.SupplyOn)
	require.Equal(t, 1, g.count(`SELECT count(*) FROM commands WHERE kind = 'allow_close' AND state = 'cancelled'`))
	g.intact()
}
