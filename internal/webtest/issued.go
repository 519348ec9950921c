package webtest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// IssuedBill is the bill of Issued.
const IssuedBill = billing.BillID("B1001-202609-1")

// Issued serves an engine and a site whose September is issued: one bill of account 1001 over 1,000 kWh at 0.538, from 10 September on, with the
// input that it can be rated from again. It gives the account's meter.
func Issued(t testing.TB) (*Server, billing.MeterID) {
	t.Helper()
	s := NewWithEngine(t)
	m := s.Account(t, Compound, "1001", 500_000)
	flat := func(total int64) billing.Registers { return billing.Registers{total, 0, 0, total, 0, 0} }
	s.Read(t, Compound, billing.MustDate("2026-10-01"), map[billing.MeterID]billing.Registers{m: flat(100_000)})
	storetest.SetClock(t, s.Store, billing.MustDate("2026-10-03").At(9, 0, storetest.Zone))
	ctx, by := context.Background(), store.By{Actor: "workflow"}
	period := billing.MonthPeriod(billing.MustDate("2026-09-01"))
	run := billing.RunID("compound/2026-09/1")
	_, err := s.Store.OpenRun(ctx, by, store.NewRun{ID: run, Site: Compound, Period: period, Version: 1})
	require.NoError(t, err)
	tariff, err := s.Store.Tariff(ctx, "zj-residential")
	require.NoError(t, err)
	fittings, err := s.Store.FittingsOfMeter(ctx, m)
	require.NoError(t, err)
	from, to := fittings[0].FromAt, period.To.Start(storetest.Zone)
	in := rating.Input{Tariff: tariff, Location: storetest.Zone, From: from, To: to, Fittings: []rating.Fitting{{No: 1, Meter: m, Ratio: 1, Digits: 8}},
		Points: []rating.Point{{At: from, Registers: flat(0), Quality: billing.QualityActual, Fitting: 1}, {At: to, Registers: flat(100_000), Quality: billing.QualityActual, Fitting: 1}}}
	r, err := rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, billing.Money(538_00), r.Total)
	opening, closing := int64(0), int64(100_000)
	require.NoError(t, s.Store.SaveDrafts(ctx, by, run, []store.Draft{{
		ID: IssuedBill, Account: "1001", Tariff: tariff.ID, Engine: rating.Engine, Quantity: 100_000, TotalFen: r.Total, Input: in.Store(),
		Readings: []store.BillReading{{Meter: m, Ratio: 1, Digits: 8, From: from, To: to, Opening: flat(0), Closing: flat(100_000)}},
		Lines: []store.BillLine{{Seq: 1, Component: r.Lines[0].Component, NameZH: "电度电费", NameEN: "Energy", Tier: 1, FromAt: from, ToAt: to, Opening: &opening, Closing: &closing,
			Quantity: r.Lines[0].Quantity, Price: r.Lines[0].Price, AmountFen: r.Total}},
	}}))
	_, err = s.Store.SumRun(ctx, by, run)
	require.NoError(t, err)
	require.NoError(t, s.Store.VerifyRun(ctx, by, run, Supervisor))
	require.NoError(t, s.Store.ApproveIssue(ctx, by, run, Supervisor2))
	_, err = s.Store.IssueBills(ctx, by, run, 1, 10)
	require.NoError(t, err)
	require.NoError(t, s.Store.FinishIssue(ctx, by, run))
	return s, m
}
