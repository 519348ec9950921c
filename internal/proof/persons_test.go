package proof_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/ledger"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// Who pays out what another approved, and who ends a protection, are seen by the invariant, whatever the tables let through.
func TestThreePersons_holdsAndProtections(t *testing.T) {
	now := time.Date(2026, 9, 1, 2, 0, 0, 0, time.UTC)
	u, ctx := storetest.NewUtility(t, now), context.Background()
	account, _ := u.Account(storetest.NewAccount{})
	h, err := u.PlaceHold(ctx, store.By{Actor: "clerk1"}, ledger.Hold{Account: account, Amount: 500, Purpose: ledger.HoldRefund, Subject: "RF-1", Key: "h/1", ExpiresAt: now.AddDate(0, 0, 7)})
	require.NoError(t, err)
	_, err = u.ApproveHold(ctx, store.By{Actor: "sup1"}, h.ID)
	require.NoError(t, err)
	_, err = u.PostHold(ctx, store.By{Actor: "boss"}, h.ID, 500, ledger.Bank("park"))
	require.NoError(t, err)
	id, err := u.AddProtection(ctx, store.By{Actor: "boss"}, store.Protection{Account: account, Kind: "keep_power", FromAt: now, UntilAt: now.Add(time.Hour), Reason: "ice"})
	require.NoError(t, err)
	require.NoError(t, u.EndProtection(ctx, store.By{Actor: "boss"}, id, "sup1", "sup2"))

	found := func() proof.Invariant {
		t.Helper()
		all, err := proof.Check(ctx, u.Pool, nil)
		require.NoError(t, err)
		for _, i := range all {
			if i.Name == proof.ThreePersons {
				return i
			}
		}
		t.Fatal("there is no such invariant")
		return proof.Invariant{}
	}
	require.Equal(t, proof.Invariant{Name: proof.ThreePersons, Checked: 2}, found())

	conn, err := u.Pool.Acquire(ctx)
	require.NoError(t, err)
	defer conn.Release()
	for _, sql := range []string{
		`SET session_replication_role = replica`,
		`ALTER TABLE holds DROP CONSTRAINT hold_paid_out_by_a_third`, `UPDATE holds SET settled_by = approved_by`,
		`ALTER TABLE protections DROP CONSTRAINT protection_ended_by_three`, `UPDATE protections SET ended_by3 = NULL`,
		`SET session_replication_role = origin`,
	} {
		_, err := conn.Exec(ctx, sql)
		require.NoError(t, err, sql)
	}
	require.Equal(t, []string{"hold " + h.ID + " (refund): placed by clerk1, approved by sup1, paid out by sup1", "protection 1: ended by boss, agreed by sup1 and nobody"}, found().Details)
}
