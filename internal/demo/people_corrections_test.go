package demo

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
)

// The crew corrects bills over HTTP on a real engine: one correction is approved by others than its maker and applied, one is rejected, and
// the maker's own approval is refused.
func TestCrew_correctsBills(t *testing.T) {
	s := webtest.NewWithEngine(t)
	ctx, by := context.Background(), store.By{Actor: "workflow"}
	hash, err := auth.HashPassword(Password)
	require.NoError(t, err)
	for id, role := range map[billing.UserID]billing.Role{"supervisor1": billing.RoleSupervisor, "supervisor2": billing.RoleSupervisor, "manager1": billing.RoleManager} {
		require.NoError(t, s.Store.AddUser(ctx, by, store.User{ID: id, Name: string(id), Role: role, Sites: []billing.SiteID{webtest.Compound}}, hash))
	}
	period := billing.MonthPeriod(billing.MustDate("2026-09-01"))
	run := billing.RunID("compound/2026-09/1")
	shown := map[billing.MeterID]billing.Registers{}
	earlier := map[billing.MeterID]billing.Registers{}
	var drafts []store.Draft
	for i, account := range []billing.AccountID{"1001", "1002"} {
		m := s.Account(t, webtest.Compound, account, 500_000)
		use := int64(100_000 * (i + 1))
		shown[m], earlier[m] = billing.Registers{use, 0, 0, use, 0, 0}, billing.Registers{use - 5000, 0, 0, use - 5000, 0, 0}
		fen, err := billing.Charge(billing.Power.Quantity(use), billing.MustPrice("0.538"), billing.Factor{})
		require.NoError(t, err)
		opening := int64(0)
		from, to := billing.MustDate("2026-09-10").Start(storetest.Zone), period.To.Start(storetest.Zone)
		drafts = append(drafts, store.Draft{
			ID: billing.BillID(fmt.Sprintf("B%s-202609-1", account)), Account: account, Tariff: "zj-residential", Engine: "rating/2", Quantity: use, TotalFen: fen, Input: struct{}{},
			Readings: []store.BillReading{{Meter: m, Ratio: 1, Digits: 8, From: from, To: to, Opening: make(billing.Registers, 6), Closing: shown[m]}},
			Lines: []store.BillLine{{Seq: 1, Component: "energy", NameZH: "电费", NameEN: "Energy", Tier: 1, FromAt: from, ToAt: to, Opening: &opening, Closing: &use,
				Quantity: billing.Power.Quantity(use), Price: billing.MustPrice("0.538"), AmountFen: fen}},
		})
	}
	s.Read(t, webtest.Compound, billing.MustDate("2026-09-30"), earlier)
	s.Read(t, webtest.Compound, billing.MustDate("2026-10-01"), shown)
	now := billing.MustDate("2026-10-02").At(10, 0, storetest.Zone)
	storetest.SetClock(t, s.Store, now)
	_, err = s.Store.OpenRun(ctx, by, store.NewRun{ID: run, Site: webtest.Compound, Period: period, Version: 1})
	require.NoError(t, err)
	require.NoError(t, s.Store.SaveDrafts(ctx, by, run, drafts))
	_, err = s.Store.SumRun(ctx, by, run)
	require.NoError(t, err)
	require.NoError(t, s.Store.VerifyRun(ctx, by, run, "supervisor1"))
	require.NoError(t, s.Store.ApproveIssue(ctx, by, run, "supervisor2"))
	_, err = s.Store.IssueBills(ctx, by, run, 1, 10)
	require.NoError(t, err)
	require.NoError(t, s.Store.FinishIssue(ctx, by, run))

	c := &Crew{store: s.Store, office: newOffice(s.URL), log: slog.New(slog.DiscardHandler), tried: map[string]time.Time{}, seen: map[string]time.Time{}}
	states := func() (all []string) {
		require.NoError(t, s.Store.Pool.QueryRow(ctx, `SELECT coalesce(array_agg(state ORDER BY id), '{}') FROM corrections`).Scan(&all))
		return all
	}
	require.Eventually(t, func() bool {
		_, err := c.correctBills(ctx, now)
		require.NoError(t, err)
		all := states()
		return len(all) == 2 && all[0] == "applied" && all[1] == "rejected"
	}, 2*webtest.Patience, webtest.Pause, "%v %v", states(), c.Refusals())
	require.Positive(t, c.Refusals()["self_approval"])
	require.Equal(t, 2, len(states()), "nothing more is corrected")
	var reversed int
	require.NoError(t, s.Store.Pool.QueryRow(ctx, `SELECT count(*) FROM bills WHERE state = 'reversed'`).Scan(&reversed))
	require.Equal(t, 1, reversed)
}
