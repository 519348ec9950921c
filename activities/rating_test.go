package activities_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

func TestCharge_daysAddUpToThePeriod(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter := f.Account(storetestAccount())
	total := int64(0)
	for d := billing.MustDate("2026-01-02"); d.Before(billing.MustDate("2026-02-04")); d = d.AddDays(1) {
		total += 333 + int64(d.Day())*7 // uneven days, so that each day's cents round
		require.Empty(t, f.day(d.String(), map[billing.MeterID]billing.Registers{meter: regs(total)}), d)
	}
	january := f.run("2026-01")
	bill, lines := f.bill(january, account)
	require.Equal(t, billing.BillDraft, bill.State)
	require.Equal(t, f.current(meter, "2026-02-01").Registers.Total(), bill.Quantity)
	// 0.538 yuan a kWh, rounded once on the one line of the period.
	want, err := billing.Charge(billing.Power.Quantity(bill.Quantity), billing.MustPrice("0.538"), billing.Factor{})
	require.NoError(t, err)
	require.Equal(t, want, bill.TotalFen)
	require.Len(t, lines, 1)
	require.Equal(t, bill.TotalFen, bill.ChargedFen, "what was charged day by day is the bill")

	february := f.rated(account, "2026-02-01")
	require.Equal(t, billing.Money(10_000)-bill.TotalFen-february, f.balance(account))
	f.intact()
}

func TestCharge_stepsCountTheYear(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.UseBefore = 275_000 // 2,750 kWh taken over; the first step ends at 2,760
	account, meter := f.Account(n)
	f.day("2026-01-02", map[billing.MeterID]billing.Registers{meter: regs(2000)})
	require.Equal(t, billing.Money(10_000-538-588), f.balance(account), "10 kWh at 0.538 and 10 at 0.588")
	for d := billing.MustDate("2026-01-03"); !d.After(billing.MustDate("2026-02-01")); d = d.AddDays(1) {
		for _, empty := range f.day(d.String(), map[billing.MeterID]billing.Registers{meter: regs(2000)}) {
			f.decide(activities.Decision{CaseID: empty, Decision: activities.DecideAccept, Reason: "the flat stands empty"})
		}
	}
	f.day("2026-02-02", map[billing.MeterID]billing.Registers{meter: regs(3000)})
	require.Equal(t, billing.Money(10_000-538-588-588), f.balance(account), "February goes on in the second step")
	f.intact()
}

func TestCharge_driftOfACreditThatTheMeterHolds(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Mode = billing.CreditMeter
	account, meter := f.Account(n)
	live := func(day string, total int64, left billing.Money) []billing.CaseID {
		id := f.sweepWith(day, func(r *store.Reading) { r.RemainingFen = &left }, map[billing.MeterID]billing.Registers{meter: regs(total)})
		found := do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
		do[any](f, f.meters.CloseCycle, activities.CycleRef{CycleID: id})
		f.charge(id)
		return found.Cases
	}
	require.Empty(t, live("2026-01-02", 1000, 10_000-538), "what the day used is not charged yet, and is no drift")
	require.Empty(t, live("2026-01-03", 2000, 10_000-1076-100), "within the tolerance")
	cases := live("2026-01-04", 3000, 10_000-1614-101)
	require.Len(t, cases, 1)
	c, members, err := f.Case(context.Background(), cases[0])
	require.NoError(t, err)
	require.Equal(t, "credit_drift", c.Kind)
	require.False(t, c.Blocking)
	require.Contains(t, string(members[0].Numbers), "-1.01")
	require.Equal(t, billing.Money(10_000-1614), f.balance(account), "the registers are believed: the use is charged")
	f.decide(activities.Decision{CaseID: cases[0], Decision: activities.DecideAccept})
	require.Equal(t, 1, f.current(meter, "2026-01-04").Version, "nothing about the reading has changed")
	f.intact()
}

// What a meter that holds a volume has left is worth what the books say, give or take what a usual day's use costs.
func TestCharge_driftOfAVolumeThatTheMeterHolds(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter := f.Account(storetest.NewAccount{Service: billing.Water, Mode: billing.CreditMeter, Tariff: flatWater, Profile: "sim-volume-water"})
	live := func(day string, total, left int64) []billing.CaseID {
		id := f.sweepWith(day, func(r *store.Reading) { r.RemainingLitres = &left }, map[billing.MeterID]billing.Registers{meter: {total}})
		found := do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
		do[any](f, f.meters.CloseCycle, activities.CycleRef{CycleID: id})
		f.charge(id)
		return found.Cases
	}
	// 100 yuan are 16,666 litres at 6 yuan.
	require.Empty(t, live("2026-01-02", 1000, 15_666))
	require.Empty(t, live("2026-01-03", 2000, 14_666+900), "less than a day's use")
	cases := live("2026-01-04", 3000, 13_666+1100)
	require.Len(t, cases, 1)
	c, members, err := f.Case(context.Background(), cases[0])
	require.NoError(t, err)
	require.Equal(t, "credit_drift", c.Kind)
	require.False(t, c.Blocking)
	require.JSONEq(t, `{"meter": "88.60", "ledger": "82.00", "difference": "6.60", "volume": "14.766"}`, string(members[0].Numbers))
	require.Equal(t, billing.Money(8200), f.balance(account), "the register is believed: the use is charged")
	f.decide(activities.Decision{CaseID: cases[0], Decision: activities.DecideAccept})
	require.Len(t, live("2026-01-05", 4000, 12_666-1100), 1, "less than what was paid for is a drift too")
	f.intact()
}

func TestCharge_aMeterThatTripsByItselfIsACut(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Mode, n.Fen = billing.CreditMeter, 100
	account, meter := f.Account(n)
	left := billing.Money(0)
	id := f.sweepWith("2026-01-02", func(r *store.Reading) { r.RemainingFen, r.Supply = &left, "off" }, map[billing.MeterID]billing.Registers{meter: regs(186)})
	found := do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
	require.Len(t, found.Cases, 1, "nobody was told: policy would not have allowed this cut")
	c, _, err := f.Case(context.Background(), found.Cases[0])
	require.NoError(t, err)
	require.Equal(t, store.KindOwnTrip, c.Kind)
	require.Len(t, found.Restores, 1)
	supply, err := f.Supply(context.Background(), account)
	require.NoError(t, err)
	require.Equal(t, billing.SupplyOff, supply.State)
}

func TestCharge_goesBackAfterACorrection(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter := f.Account(storetestAccount())
	f.day("2026-01-02", map[billing.MeterID]billing.Registers{meter: regs(1000)})
	require.Equal(t, billing.Money(10_000-538), f.balance(account))
	f.day("2026-01-03", map[billing.MeterID]billing.Registers{meter: regs(2000)})
	// The reading was wrong, and was believed: the next one shows less than what was charged, from a corrected start.
	_, err := f.Pool.Exec(context.Background(), `INSERT INTO readings SELECT meter_id, freeze_at, 2, taken_at, taken_real, 'edited', ARRAY[1500,0,0,1500,0,0]::bigint[], remaining_fen,
		purchase_count, supply, forced, status_word, power_w, clock_skew_s, interpolated, doubtful, cycle_id, 'sup1', 'typed wrong' FROM readings WHERE meter_id = $1 AND freeze_at = '2026-01-02T16:00Z'`, meter)
	require.NoError(t, err)
	f.day("2026-01-04", map[billing.MeterID]billing.Registers{meter: regs(1600)})
	require.Equal(t, billing.Money(10_000-861), f.balance(account), "16.00 kWh at 0.538")
	f.intact()
}

func TestCharge_waitsForADoubtAndCatchesUp(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter := f.Account(storetestAccount())
	f.day("2026-01-02", map[billing.MeterID]billing.Registers{meter: regs(1000)})
	cases := f.day("2026-01-03", map[billing.MeterID]billing.Registers{meter: regs(999_000)}) // more than the meter can pass
	require.Len(t, cases, 1)
	require.Equal(t, billing.Money(10_000-538), f.balance(account), "nothing is charged on a reading in doubt")
	require.True(t, f.current(meter, "2026-01-03").Doubtful)
	f.day("2026-01-04", map[billing.MeterID]billing.Registers{meter: regs(3000)})
	require.Equal(t, billing.Money(10_000-1614), f.balance(account), "the next good reading catches up")
	f.intact()
}

func TestCharge_listsWhoIsLow(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Fen = 3000
	account, meter := f.Account(n)
	f.day("2026-01-02", map[billing.MeterID]billing.Registers{meter: regs(1000)}) // 24.62 left
	require.Empty(t, f.lowLevels(account))
	f.day("2026-01-03", map[billing.MeterID]billing.Registers{meter: regs(2500)}) // 16.55
	f.day("2026-01-04", map[billing.MeterID]billing.Registers{meter: regs(6000)}) // −2.28
	require.Equal(t, []string{"level1", "final"}, f.lowLevels(account))
	var reminders int
	require.NoError(t, f.Pool.QueryRow(context.Background(), `SELECT count(*) FROM reminders WHERE account_id = $1`, account).Scan(&reminders))
	require.Equal(t, 1, reminders, "one open arrears case per account")
}

// Whoever has an arrears contract pays by bills: no low balance opens an arrears case, and the terms' first day ends the one that is open.
func TestCharge_nobodyIsLowUnderAnArrearsContract(t *testing.T) {
	f := newField(t, "2026-01-01")
	ctx := context.Background()
	n := storetestAccount()
	n.Fen = 3000
	prepaid, meter := f.Account(n)
	n.Arrears = true
	arrears, other := f.Account(n)
	shown := func(total int64) map[billing.MeterID]billing.Registers {
		return map[billing.MeterID]billing.Registers{meter: regs(total), other: regs(total)}
	}
	open := func(account billing.AccountID) (n int) {
		require.NoError(t, f.Pool.QueryRow(ctx, `SELECT count(*) FROM reminders WHERE account_id = $1 AND closed_at IS NULL`, account).Scan(&n))
		return n
	}
	f.day("2026-01-02", shown(6000)) // −2.28
	require.Equal(t, []string{"final"}, f.lowLevels(prepaid))
	require.Empty(t, f.lowLevels(arrears))
	require.Equal(t, [2]int{1, 0}, [2]int{open(prepaid), open(arrears)})

	var low int
	require.NoError(t, f.Pool.QueryRow(ctx, `SELECT low FROM charge_runs WHERE cycle_id = 'park/2026-01-02'`).Scan(&low))
	require.Equal(t, 1, low)
	judged, err := activities.Judge(ctx, f.Store, arrears)
	require.NoError(t, err)
	require.Contains(t, judged.String(), "does not agree to a cut")

	f.Arrears(prepaid, "2026-01-04")
	f.day("2026-01-03", shown(6100))
	require.Equal(t, 1, open(prepaid), "not before the day")
	var reminder billing.ReminderID
	require.NoError(t, f.Pool.QueryRow(ctx, `UPDATE reminders SET state = 'handed_over', cut_at = opened_at WHERE account_id = $1 RETURNING id`, prepaid).Scan(&reminder))
	_, err = f.Pool.Exec(ctx, `INSERT INTO cutoffs (id, site_id, account_id, reminder_id, state, planned_at, opened_at, decision) VALUES ('C1', 'park', $1, $2, 'awaiting_manager', now(), now(), '{}')`, prepaid, reminder)
	require.NoError(t, err)
	f.day("2026-01-04", shown(6200))
	require.Zero(t, open(prepaid))
	cut, err := f.Cutoff(ctx, "C1")
	require.NoError(t, err)
	require.Equal(t, store.CutCancelled, cut.State)
	for range 2 {
		taken := do[activities.LowTaken](f, f.rating.TakeLowList, activities.ChargeCycle{CycleID: "park/2026-01-04"})
		require.Equal(t, []billing.ReminderID{reminder}, taken.Ended, "asked again it names the same, so that their workflows are told")
		require.Equal(t, []string{"C1"}, taken.Cancelled)
		require.Empty(t, taken.Opened)
	}
	f.day("2026-01-05", shown(6300))
	require.Zero(t, open(prepaid))
	require.Empty(t, do[activities.LowTaken](f, f.rating.TakeLowList, activities.ChargeCycle{CycleID: "park/2026-01-05"}).Ended)

	// On a list that was written before the terms came nobody gets a case either.
	_, err = f.Pool.Exec(ctx, `INSERT INTO low_list (account_id, cycle_id, balance_fen, level) VALUES ($1, 'park/2026-01-05', 0, 'final')`, arrears)
	require.NoError(t, err)
	require.Empty(t, do[activities.LowTaken](f, f.rating.TakeLowList, activities.ChargeCycle{CycleID: "park/2026-01-05"}).Opened)
	require.Zero(t, open(arrears))
}

func (f *field) lowLevels(account billing.AccountID) []string {
	f.t.Helper()
	var levels []string
	require.NoError(f.t, f.Pool.QueryRow(context.Background(), `SELECT coalesce(array_agg(level ORDER BY cycle_id), '{}') FROM low_list WHERE account_id = $1`, account).Scan(&levels))
	return levels
}

func (f *field) rated(account billing.AccountID, period string) billing.Money {
	f.t.Helper()
	by, err := f.ChargedSoFar(context.Background(), []billing.AccountID{account}, billing.MustDate(period))
	require.NoError(f.t, err)
	return by[account]
}

// run rates a month up to its control totals.
func (f *field) run(month string) billing.RunID {
	f.t.Helper()
	period, err := billing.ParseMonth(month)
	require.NoError(f.t, err)
	id := billing.RunID("park/" + month + "/1")
	do[activities.RunOpened](f, f.bills.OpenRun, activities.RunStart{RunID: id, Site: f.Site, Period: period, Version: 1})
	do[activities.Blocked](f, f.bills.CheckBlocking, activities.CheckBlocking{RunID: id, GiveUp: true})
	do[any](f, f.bills.RateBills, activities.RunRef{RunID: id})
	do[any](f, f.bills.SumRun, activities.RunRef{RunID: id})
	return id
}

func (f *field) bill(run billing.RunID, account billing.AccountID) (store.Bill, []int64) {
	f.t.Helper()
	ctx := context.Background()
	var id billing.BillID
	require.NoError(f.t, f.Pool.QueryRow(ctx, `SELECT id FROM bills WHERE run_id = $1 AND account_id = $2`, run, account).Scan(&id))
	b, err := f.Bill(ctx, id)
	require.NoError(f.t, err)
	var lines []int64
	require.NoError(f.t, f.Pool.QueryRow(ctx, `SELECT coalesce(array_agg(amount_fen ORDER BY seq), '{}') FROM bill_lines WHERE bill_id = $1`, id).Scan(&lines))
	return b, lines
}
