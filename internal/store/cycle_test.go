package store_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

func TestSaveSweep_notesWhatEachMeterBrought(t *testing.T) {
	t.Parallel()
	r := newReadingSide(t)
	_, silent := r.Account(storetest.NewAccount{})
	_, wrong := r.Account(storetest.NewAccount{})
	_, left := r.Account(storetest.NewAccount{})
	id := r.plan("2026-01-02")
	c, err := r.Cycle(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, r.SaveSweep(t.Context(), storetest.By, id, 2, []store.Swept{
		{Gateway: "G1", Meter: silent, Outcome: "silent", Error: "no answer"},
		{Gateway: "G1", Meter: r.meter, Outcome: "read", Reading: &store.Reading{
			Meter: r.meter, FreezeAt: c.FreezeAt, Version: 1, TakenAt: c.FreezeAt, TakenReal: c.FreezeAt, Quality: billing.QualityActual,
			Registers: billing.Registers{1000, 0, 0, 1000, 0, 0}, Supply: "on", Cycle: &id, RecordedBy: "workflow",
		}},
		{Gateway: "G1", Meter: wrong, Outcome: "wrong", Error: "six registers, not five"},
	}))
	type note struct {
		Outcome, Error string
		Tries          int
	}
	notes := map[billing.MeterID]note{}
	rows, _ := r.Pool.Query(t.Context(), `SELECT meter_id, outcome, error, tries FROM cycle_meters WHERE cycle_id = $1`, id)
	var meter billing.MeterID
	var n note
	_, err = pgx.ForEachRow(rows, []any{&meter, &n.Outcome, &n.Error, &n.Tries}, func() error {
		notes[meter] = n
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, map[billing.MeterID]note{
		r.meter: {"read", "", 2}, silent: {"silent", "no answer", 2}, wrong: {"wrong", "six registers, not five", 2}, left: {"planned", "", 0},
	}, notes)
}

// A cycle that has just begun is in no statistics. Its meters are looked for by the keys all the same, and not by going through all of the cycle.
func TestCycleMeters_areLookedForByTheirKeys(t *testing.T) {
	t.Parallel()
	r := newReadingSide(t)
	for _, sql := range []string{
		`INSERT INTO gateways (id, site_id, name, address) SELECT 'L' || n, site_id, 'line ' || n, '127.0.0.1:' || 10000 + n FROM gateways, generate_series(1, 100) n WHERE id = 'G1'`,
		`INSERT INTO meters (id, site_id, gateway_id, unit, serial, profile, service, digits, capacity_per_hour, state)
			SELECT 'L' || n, site_id, 'L' || 1 + n % 100, 1 + n / 100, (900000000000 + n)::text, profile, service, digits, capacity_per_hour, 'removed' FROM meters, generate_series(1, 3000) n WHERE id = '` + string(r.meter) + `'`,
	} {
		_, err := r.Pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	fill := func(day string) billing.CycleID {
		id := r.plan(day)
		_, err := r.Pool.Exec(t.Context(), `INSERT INTO cycle_meters (cycle_id, meter_id, gateway_id) SELECT $1, id, gateway_id FROM meters WHERE state = 'removed'`, id)
		require.NoError(t, err)
		return id
	}
	fill("2026-01-02")
	_, err := r.Pool.Exec(t.Context(), `ANALYZE cycle_meters`)
	require.NoError(t, err)
	id := fill("2026-01-03")
	for _, keys := range []string{`gateway_id = ANY ('{L1,L2,L3}')`, `meter_id = ANY ('{L1,L2,L3}')`} {
		rows, _ := r.Pool.Query(t.Context(), `EXPLAIN SELECT * FROM cycle_meters WHERE cycle_id = '`+string(id)+`' AND `+keys)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.NotContains(t, strings.Join(plan, "\n"), "Filter:", "the planner takes the cycle for a row or two")
	}
}
