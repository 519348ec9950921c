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
	require.Equal(t, billing.CodeConflict, billing.CodeOf(box("B2", 25, 12)), "overlaps B1")
	require.Equal(t, billing.CodeConflict, billing.CodeOf(box("B2", 73, 36)), "a meter of its own has unit 100")
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
	for name, err := range map[string]error{
		"outside of the box":       fit("C3", "000000009003", "B1", 37, 1),
		"in the box by its unit":   fit("C4", "000000009004", "", 2, 1),
		"its phases leave the box": fit("C5", "000000009005", "B1", 35, 3),
		"a unit of another's":      fit("C6", "000000009006", "B1", 36, 1),
		"three units on its own":   fit("C7", "000000009007", "", 130, 3),
	} {
		require.Equal(t, billing.CodeConflict, billing.CodeOf(err), "%s: %v", name, err)
	}
	m, err := u.Meter(ctx, "C2")
	require.NoError(t, err)
	require.Equal(t, []any{"B1", 1, 36, 3}, []any{m.Box, m.BoxBase, m.BoxCircuits, m.Units})
}
