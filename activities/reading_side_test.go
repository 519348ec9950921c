package activities_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// field is a test utility whose days are lived by the activities alone; what meters show is handed in.
type field struct {
	*storetest.Utility
	t      *testing.T
	env    *testsuite.TestActivityEnvironment
	meters activities.Metering
	review activities.Review
	rating activities.Rating
	bills  activities.Billing
}

func newField(t *testing.T, day string, instead ...billing.Tariff) *field {
	t.Helper()
	u := storetest.NewUtility(t, billing.MustDate(day).Start(storetest.Zone), instead...)
	f := &field{
		Utility: u, t: t, meters: activities.Metering{Store: u.Store}, review: activities.Review{Store: u.Store},
		rating: activities.Rating{Store: u.Store}, bills: activities.Billing{Store: u.Store},
	}
	f.env = activityEnvironment()
	for _, a := range []any{&f.meters, &f.review, &f.rating, &f.bills} {
		f.env.RegisterActivity(a)
	}
	return f
}

// activityEnvironment runs activities as a worker does.
func activityEnvironment() *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&activities.ErrorInterceptor{}}})
	return env
}

// do runs an activity twice, because every activity may be repeated, and gives the second answer.
func do[T any](f *field, activity, in any) T {
	f.t.Helper()
	_, err := f.env.ExecuteActivity(activity, in)
	require.NoError(f.t, err)
	v, err := f.env.ExecuteActivity(activity, in)
	require.NoError(f.t, err)
	var out T
	if v.HasValue() {
		require.NoError(f.t, v.Get(&out))
	}
	return out
}

// refused runs an activity that must be refused, and gives the sentence.
func refused(f *field, activity, in any) string {
	f.t.Helper()
	_, err := f.env.ExecuteActivity(activity, in)
	require.Error(f.t, err)
	return err.Error()
}

func (f *field) at(day string, hour, minute int) {
	storetest.SetClock(f.t, f.Store, billing.MustDate(day).At(hour, minute, storetest.Zone))
}

// regs is a power vector whose whole use is in the flat band.
func regs(total int64) billing.Registers { return billing.Registers{total, 0, 0, total, 0, 0} }

// sweep plans the cycle of a day and stores what meters show; a meter without a value is silent.
func (f *field) sweep(day string, shown map[billing.MeterID]billing.Registers) billing.CycleID {
	f.t.Helper()
	return f.sweepWith(day, func(*store.Reading) {}, shown)
}

// sweepWith lets a test say what else the meters show besides their registers.
func (f *field) sweepWith(day string, also func(*store.Reading), shown map[billing.MeterID]billing.Registers) billing.CycleID {
	f.t.Helper()
	ctx := context.Background()
	f.at(day, 0, 5)
	id := billing.CycleID("park/" + day)
	plan := do[activities.CyclePlan](f, f.meters.PlanCycle, activities.CycleStart{CycleID: id, Site: f.Site, Day: billing.MustDate(day)})
	require.Equal(f.t, id, plan.CycleID)
	for _, g := range do[[]billing.GatewayID](f, f.meters.StartPass, activities.StartPass{CycleID: id, Pass: 1}) {
		planned, err := f.CycleMeters(ctx, id, []billing.GatewayID{g})
		require.NoError(f.t, err)
		swept := make([]store.Swept, len(planned))
		for i, m := range planned {
			swept[i] = store.Swept{Gateway: g, Meter: m.ID, Outcome: "silent", Error: "the meter does not answer"}
			if r, ok := shown[m.ID]; ok {
				swept[i] = store.Swept{Gateway: g, Meter: m.ID, Outcome: "read", Reading: f.reading(id, day, m.ID, r)}
				also(swept[i].Reading)
			}
		}
		require.NoError(f.t, f.SaveSweep(ctx, storetest.By, id, 1, swept))
		require.NoError(f.t, f.SaveSweep(ctx, storetest.By, id, 1, swept), "a repeated page changes nothing")
	}
	return id
}

func (f *field) reading(cycle billing.CycleID, day string, meter billing.MeterID, r billing.Registers) *store.Reading {
	return &store.Reading{
		Meter: meter, FreezeAt: billing.MustDate(day).Start(storetest.Zone), Version: 1, TakenAt: billing.MustDate(day).At(0, 5, storetest.Zone),
		TakenReal: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Quality: billing.QualityActual, Registers: r, Supply: "on", Cycle: &cycle, RecordedBy: "workflow",
	}
}

// day lives one day: sweep, validation, close, charge. It gives the cases that it opened.
func (f *field) day(day string, shown map[billing.MeterID]billing.Registers) []billing.CaseID {
	f.t.Helper()
	id := f.sweep(day, shown)
	found := do[activities.Validated](f, f.meters.ValidateCycle, activities.CycleRef{CycleID: id})
	do[any](f, f.meters.CloseCycle, activities.CycleRef{CycleID: id})
	f.charge(id)
	return found.Cases
}

func (f *field) charge(id billing.CycleID) {
	f.t.Helper()
	in := activities.ChargeCycle{CycleID: id}
	do[activities.ChargeOpened](f, f.rating.OpenCharge, in)
	do[activities.Charged](f, f.rating.ChargeAccounts, in)
	do[activities.LowTaken](f, f.rating.TakeLowList, in)
	do[any](f, f.rating.CloseCharge, in)
}

func (f *field) balance(account billing.AccountID) billing.Money {
	f.t.Helper()
	var fen billing.Money
	require.NoError(f.t, f.Pool.QueryRow(context.Background(), `SELECT balance_fen FROM balances WHERE account_id = $1`, account).Scan(&fen))
	return fen
}

// decide decides a case and gives it as it is then.
func (f *field) decide(d activities.Decision) (store.Case, []store.Member) {
	f.t.Helper()
	if d.By == "" {
		d.By = "sup1"
	}
	if d.Reason == "" {
		d.Reason = "looked at it"
	}
	do[activities.Decided](f, f.review.DecideCase, d)
	c, members, err := f.Case(context.Background(), d.CaseID)
	require.NoError(f.t, err)
	require.Equal(f.t, billing.CaseResolved, c.State)
	return c, members
}

// current is the newest version of a meter's reading of a day.
func (f *field) current(meter billing.MeterID, day string) store.Reading {
	f.t.Helper()
	found, err := f.ReadingsAt(context.Background(), []billing.MeterID{meter}, billing.MustDate(day).Start(storetest.Zone))
	require.NoError(f.t, err)
	return found[meter]
}

// intact holds the books, the journal and the states against each other.
func (f *field) intact() {
	f.t.Helper()
	ctx := context.Background()
	_, _, first, err := f.VerifyJournal(ctx)
	require.NoError(f.t, err)
	require.Nil(f.t, first)
	trial, err := f.TrialBalance(ctx, []billing.SiteID{f.Site})
	require.NoError(f.t, err)
	require.True(f.t, trial.Balanced())
	for table, kind := range map[string]string{"cycles": "cycle", "cases": "case", "billing_runs": "run", "meters": "meter"} {
		var wrong int
		err := f.Pool.QueryRow(ctx, `SELECT count(*) FROM `+table+` e LEFT JOIN LATERAL (SELECT to_state FROM journal j WHERE j.chain = '`+kind+`/' || e.id ORDER BY seq DESC LIMIT 1) j ON true
			WHERE j.to_state IS DISTINCT FROM e.state`).Scan(&wrong)
		require.NoError(f.t, err)
		require.Zero(f.t, wrong, "rows of %s whose last journal row names another state", table)
	}
	// Bills are journaled by rows of their own and by rows that stand for a page of them.
	var wrong int
	err = f.Pool.QueryRow(ctx, `SELECT count(*) FROM bills b LEFT JOIN LATERAL (SELECT to_state FROM journal j
		WHERE j.refs @> ARRAY[b.id] AND (j.kind = 'bills' OR j.chain = 'bill/' || b.id) ORDER BY j.id DESC LIMIT 1) j ON true WHERE j.to_state IS DISTINCT FROM b.state`).Scan(&wrong)
	require.NoError(f.t, err)
	require.Zero(f.t, wrong, "bills whose last journal row names another state")
}

// storetestAccount is the usual account; tests change what they are about.
func storetestAccount() storetest.NewAccount { return storetest.NewAccount{} }
