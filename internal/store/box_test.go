package store_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// A line's unit ids are taken once: by a box as a whole, and inside it by its circuits.
func TestAddBox(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	u.Account(storetest.NewAccount{Unit: 100})
	box := func(id string, base, circuits int) error {
		return u.AddBox(ctx, storetest.By, store.Box{ID: id, Site: u.Site, Gateway: "G1", Base: base, Circuits: circuits})
	}
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(box("B0", 2, 36)))
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(box("B0", 1, 20)))
	require.NoError(t, box("B1", 1, 36))
	err := box("B2", 25, 12)
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))
	require.ErrorContains(t, err, "box B1 has units 1 to 36 already: choose a free base unit")
	err = box("B2", 73, 36)
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))
	require.ErrorContains(t, err, "which is in no box, has unit 100 already: choose a free base unit")
	_, spare := u.Account(storetest.NewAccount{Unit: 120})
	fit := func(id, serial, box string, unit, units int) error {
		point := billing.ServicePointID("P-" + id)
		_, err := u.Pool.Exec(ctx, `INSERT INTO service_points (id, site_id, service, address) VALUES ($1, $2, 'power', 'x')`, point, u.Site)
		require.NoError(t, err)
		m, err := u.Meter(ctx, spare)
		require.NoError(t, err)
		m.ID, m.Serial, m.Box, m.Unit, m.Units = billing.MeterID(id), serial, box, unit, units
		return u.FitMeter(ctx, storetest.By, store.NewFitting{Meter: m, ServicePoint: point, At: morning, Opening: make(billing.Registers, 6)})
	}
	require.NoError(t, fit("C1", "000000009001", "B1", 1, 1))
	require.NoError(t, fit("C2", "000000009002", "B1", 34, 3))
	// Each refusal names the unit that is meant.
	for want, err := range map[string]error{
		"unit 37 of gateway G1 is not a circuit of the box":            fit("C3", "000000009003", "B1", 37, 1),
		"unit 2 of gateway G1 is not a circuit of the box":             fit("C4", "000000009004", "", 2, 1),
		"box B1 ends at unit 36: choose a lower unit id than 35":       fit("C5", "000000009005", "B1", 35, 3),
		"circuit C2 of box B1 has units 34 to 36 already: choose free": fit("C6", "000000009006", "B1", 36, 1),
		"no box has unit 130: add the box first, or correct the unit":  fit("C7", "000000009007", "", 130, 3),
	} {
		require.Equal(t, billing.CodeConflict, billing.CodeOf(err), "%s: %v", want, err)
		require.ErrorContains(t, err, want)
	}
	m, err := u.Meter(ctx, "C2")
	require.NoError(t, err)
	require.Equal(t, []any{"B1", 1, 36, 3}, []any{m.Box, m.BoxBase, m.BoxCircuits, m.Units})
}

// A meter is put on a line by what a person typed: what can't be is refused with a sentence, and nothing is left of it.
func TestAddMeter(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	ctx := context.Background()
	u.Account(storetest.NewAccount{Unit: 100, Serial: "260100000100"})
	_, err := u.Pool.Exec(ctx, `INSERT INTO sites (id, name_zh, name_en) VALUES ('plaza', 'x', 'x');
		INSERT INTO service_points (id, site_id, service, address) VALUES ('PX', 'plaza', 'power', 'x'), ('P-free', 'park', 'power', 'Room 9'), ('P-water', 'park', 'water', 'Room 9')`)
	require.NoError(t, err)
	require.NoError(t, u.AddBox(ctx, storetest.By, store.Box{ID: "B1", Gateway: "G1", Base: 1, Circuits: 36}))
	good := func() store.NewMeter {
		return store.NewMeter{ServicePoint: "P-new", Address: "Room 1", Opening: billing.Registers{500, 0, 0, 500, 0, 0}, Meter: store.Meter{ID: "M-new", Gateway: "G1", Unit: 101,
			Serial: "260100000101", Profile: "sim-ddsy1352", Service: billing.Power, Digits: 8, Ratio: 1, CapacityPerHour: 2200}}
	}
	meters := func() (n int) {
		require.NoError(t, u.Pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM meters) + (SELECT count(*) FROM service_points) + (SELECT count(*) FROM journal)`).Scan(&n))
		return n
	}
	before := meters()
	for want, spoil := range map[string]func(*store.NewMeter){
		"can't be used":                          func(n *store.NewMeter) { n.Meter.ID = "a/b" },
		"a unit is a whole number":               func(n *store.NewMeter) { n.Meter.Unit = 248 },
		"has 12 digits":                          func(n *store.NewMeter) { n.Meter.Serial = "26010000010" },
		"shows 4 to 12 digits":                   func(n *store.NewMeter) { n.Meter.Digits = 3 },
		"the ratio is a whole number":            func(n *store.NewMeter) { n.Meter.Ratio = 0 },
		"must be more than zero and fit":         func(n *store.NewMeter) { n.Meter.CapacityPerHour = 100_000_000 },
		"more digits than the meter shows":       func(n *store.NewMeter) { n.Opening[0] = 100_000_000 },
		"A power reading has 2 registers":        func(n *store.NewMeter) { n.Opening = n.Opening[:2] },
		"no such record":                         func(n *store.NewMeter) { n.Meter.Gateway = "G9" },
		"has this unit id: see the meter's own":  func(n *store.NewMeter) { n.Meter.Unit = 100 },
		"has or had this serial number already":  func(n *store.NewMeter) { n.Meter.Serial = "260100000100" },
		"has or had this number already":         func(n *store.NewMeter) { n.Meter.ID = "M0001" },
		"unit 7 of gateway G1 is a circuit of":   func(n *store.NewMeter) { n.Meter.Unit = 7 },
		"no box of gateway G1 has unit 101":      func(n *store.NewMeter) { n.CircuitUnits = 1 },
		"three unit ids of one box":              func(n *store.NewMeter) { n.CircuitUnits, n.Meter.Unit = 3, 35 },
		"needs a gateway that passes bytes on":   func(n *store.NewMeter) { n.OwnFrames = true },
		"service point P0001 exists already":     func(n *store.NewMeter) { n.ServicePoint = "P0001" },
		"meter M0001 measures service point":     func(n *store.NewMeter) { n.ServicePoint, n.Address = "P0001", "" },
		"this site has no service point P-new":   func(n *store.NewMeter) { n.Address = " " },
		"this site has no service point PX":      func(n *store.NewMeter) { n.ServicePoint, n.Address = "PX", "" },
		"service point P-water is for water":     func(n *store.NewMeter) { n.ServicePoint, n.Address = "P-water", "" },
		"service point PX exists already: leave": func(n *store.NewMeter) { n.ServicePoint = "PX" },
	} {
		n := good()
		spoil(&n)
		require.ErrorContains(t, u.AddMeter(ctx, storetest.By, n), want)
		require.Equal(t, before, meters(), "%s: nothing is left of it", want)
	}
	require.NoError(t, u.AddMeter(ctx, storetest.By, good()))
	m, err := u.Meter(ctx, "M-new")
	require.NoError(t, err)
	require.Equal(t, []any{u.Site, "", 1, "fitted"}, []any{m.Site, m.Box, m.Units, m.State})
	circuit := good()
	circuit.Meter.ID, circuit.Meter.Serial, circuit.Meter.Unit, circuit.CircuitUnits, circuit.ServicePoint, circuit.Address = "M-circuit", "260100000102", 34, 3, "P-free", ""
	require.NoError(t, u.AddMeter(ctx, storetest.By, circuit))
	m, err = u.Meter(ctx, "M-circuit")
	require.NoError(t, err)
	require.Equal(t, []any{"B1", 1, 36, 3}, []any{m.Box, m.BoxBase, m.BoxCircuits, m.Units})
	for _, id := range []string{"M-new", "M-circuit"} {
		intact, err := u.ChainIntact(ctx, "meter", id)
		require.NoError(t, err)
		require.True(t, intact)
	}
}
