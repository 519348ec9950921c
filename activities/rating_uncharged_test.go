package activities_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// An account that can't be rated is not only skipped: people see since when and why, until a charge takes all that was used meanwhile.
func TestCharge_anAccountThatCannotBeRatedIsSeen(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Tariff, n.Fen = "demo-two-part", 1_000_000
	account, meter := f.Account(n) // its terms say nothing of what its tariff charges by the month
	usual, other := f.Account(storetestAccount())
	use := func(total int64) map[billing.MeterID]billing.Registers {
		return map[billing.MeterID]billing.Registers{meter: regs(total), other: regs(total)}
	}
	f.day("2026-01-02", use(1000))
	f.day("2026-01-03", use(2000))
	row, err := f.AccountRow(t.Context(), account)
	require.NoError(t, err)
	require.Contains(t, row.Uncharged, "enter in the account's terms")
	require.Equal(t, billing.MustDate("2026-01-02").At(0, 5, storetest.Zone).UTC(), row.UnchargedAt.UTC(), "since the first charge that couldn't")
	stuck, err := f.Stuck(t.Context(), []billing.SiteID{f.Site})
	require.NoError(t, err)
	require.Equal(t, 1, stuck.Unrated.N)
	rows, total, err := f.AccountPage(t.Context(), store.AccountFilter{Sites: []billing.SiteID{f.Site}, Uncharged: true}, 10, 0)
	require.NoError(t, err)
	require.Equal(t, 1, total)
	require.Equal(t, account, rows[0].ID)
	require.Equal(t, billing.Money(10_000-1076), f.balance(usual), "nobody else waits")
	require.Equal(t, billing.Money(1_000_000), f.balance(account))

	require.NoError(t, f.SetTerms(t.Context(), store.By{Actor: "admin", Reason: "the contract"}, store.AccountTerms{Account: account, FromDay: billing.MustDate("2026-01-01"), Tariff: n.Tariff,
		CapacityKVA: billing.MustQuantity("100"), ChargeChoice: billing.ChooseCapacity, Settlement: store.SettleByMeter}))
	f.day("2026-01-04", use(3000))
	require.Less(t, f.balance(account), billing.Money(1_000_000))
	row, err = f.AccountRow(t.Context(), account)
	require.NoError(t, err)
	require.Empty(t, row.Uncharged)
	var events []string
	require.NoError(t, f.Pool.QueryRow(t.Context(), `SELECT array_agg(event ORDER BY seq) FROM journal WHERE chain = $1 AND event IN ('not_charged', 'charged_again')`, "account/"+string(account)).Scan(&events))
	require.Equal(t, []string{"not_charged", "charged_again"}, events)
	f.intact()
}
