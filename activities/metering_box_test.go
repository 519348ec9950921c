package activities_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// A silent box is one cause beside the gateway's other meters; one silent circuit of a box that answers is a meter's.
func TestValidate_silentBoxIsOneCase(t *testing.T) {
	f := newField(t, "2026-01-01")
	ctx := context.Background()
	var all []billing.MeterID
	for range 5 {
		_, m := f.Account(storetestAccount())
		all = append(all, m)
	}
	require.NoError(t, f.AddBox(ctx, storetest.By, store.Box{ID: "B1", Site: f.Site, Gateway: "G1", Base: 37, Circuits: 12}))
	for i, m := range all[:3] {
		_, err := f.Pool.Exec(ctx, `UPDATE meters SET unit = $2, box_id = 'B1' WHERE id = $1`, m, 37+i)
		require.NoError(t, err)
	}
	cases := f.day("2026-01-02", map[billing.MeterID]billing.Registers{all[3]: regs(1000)})
	require.Len(t, cases, 2, "the box, and the other silent meter")
	var sizes []int
	for _, id := range cases {
		c, members, err := f.Case(ctx, id)
		require.NoError(t, err)
		require.Equal(t, store.KindMissing, c.Kind)
		sizes = append(sizes, len(members))
	}
	require.ElementsMatch(t, []int{3, 1}, sizes)

	g := newField(t, "2026-01-01")
	all = nil
	for range 3 {
		_, m := g.Account(storetestAccount())
		all = append(all, m)
	}
	require.NoError(t, g.AddBox(ctx, storetest.By, store.Box{ID: "B1", Site: g.Site, Gateway: "G1", Base: 37, Circuits: 12}))
	for i, m := range all {
		_, err := g.Pool.Exec(ctx, `UPDATE meters SET unit = $2, box_id = 'B1' WHERE id = $1`, m, 37+i)
		require.NoError(t, err)
	}
	c, _ := g.onlyCase(g.day("2026-01-02", map[billing.MeterID]billing.Registers{all[0]: regs(1000), all[1]: regs(1000)}), store.KindMissing)
	require.NotNil(t, c.Meter)
}
