package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// An allowance holds for its meter, its map, its version and its time, and for nothing else.
func TestAllowCommands(t *testing.T) {
	u := storetest.NewUtility(t, morning)
	_, m := u.Account(storetest.NewAccount{})
	_, other := u.Account(storetest.NewAccount{})
	ctx, by := context.Background(), store.By{Actor: "boss", Reason: "trial"}
	meter, err := u.Meter(ctx, m)
	require.NoError(t, err)
	second, err := u.Meter(ctx, other)
	require.NoError(t, err)
	stands := func(serial, profile string, version int) bool {
		err := u.CommandsAllowed(ctx, serial, profile, version)
		if err != nil {
			require.Equal(t, billing.CodeBlocked, billing.CodeOf(err))
		}
		return err == nil
	}
	require.False(t, stands(meter.Serial, meter.Profile, 1))
	good := store.Allowance{Meter: m, Profile: meter.Profile, Version: 1, Reason: "trial on site", AgreedBy: "sup1", UntilAt: morning.Add(48 * time.Hour)}
	for name, tt := range map[string]struct {
		spoil func(*store.Allowance)
		code  billing.Code
	}{
		"alone":         {func(a *store.Allowance) { a.AgreedBy = "boss" }, billing.CodeSelfApproval},
		"nobody agrees": {func(a *store.Allowance) { a.AgreedBy = "" }, billing.CodeSelfApproval},
		"no reason":     {func(a *store.Allowance) { a.Reason = " " }, billing.CodeInvalidInput},
		"over":          {func(a *store.Allowance) { a.UntilAt = morning }, billing.CodeInvalidInput},
		"for ever":      {func(a *store.Allowance) { a.UntilAt = morning.Add(93 * 24 * time.Hour) }, billing.CodeInvalidInput},
		"another map":   {func(a *store.Allowance) { a.Profile = "sim-dtsy1352" }, billing.CodeStale},
		"unknown meter": {func(a *store.Allowance) { a.Meter = "M-none" }, billing.CodeNotFound},
	} {
		a := good
		tt.spoil(&a)
		_, err := u.AllowCommands(ctx, by, a)
		require.Equal(t, tt.code, billing.CodeOf(err), "%s: %v", name, err)
	}
	given, err := u.AllowCommands(ctx, by, good)
	require.NoError(t, err)
	require.True(t, stands(meter.Serial, meter.Profile, 1))
	require.False(t, stands(meter.Serial, meter.Profile, 2), "another version of the map")
	require.False(t, stands(meter.Serial, "sim-dtsy1352", 1), "another map")
	require.False(t, stands(second.Serial, second.Profile, 1), "another meter")
	_, err = u.AllowCommands(ctx, by, good)
	require.Equal(t, billing.CodeConflict, billing.CodeOf(err))

	storetest.SetClock(t, u.Store, morning.Add(49*time.Hour))
	require.False(t, stands(meter.Serial, meter.Profile, 1), "its time is over")
	require.Equal(t, billing.CodeClosed, billing.CodeOf(u.EndAllowance(ctx, by, given.ID)))
	good.UntilAt = morning.Add(72 * time.Hour)
	again, err := u.AllowCommands(ctx, by, good)
	require.NoError(t, err)
	require.True(t, stands(meter.Serial, meter.Profile, 1))
	require.NoError(t, u.EndAllowance(ctx, by, again.ID))
	require.False(t, stands(meter.Serial, meter.Profile, 1), "it was ended")
	require.Equal(t, billing.CodeClosed, billing.CodeOf(u.EndAllowance(ctx, by, again.ID)))
	_, err = u.Pool.Exec(ctx, `UPDATE command_allowances SET until_at = until_at + interval '1 day' WHERE id = $1`, given.ID)
	require.Error(t, err, "what was allowed stays as it was allowed")
	intact, err := u.ChainIntact(ctx, "meter", string(m))
	require.NoError(t, err)
	require.True(t, intact)
	all, err := u.Allowances(ctx, m)
	require.NoError(t, err)
	require.Len(t, all, 2)
}
