package activities_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/notify"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

// Serials of the grid's meters: unit 1 holds its own credit, unit 2 is switched by us, unit 3 is a water valve.
const (
	serialCredit   = "000000000001"
	serialPlatform = "000000000002"
	serialWater    = "000000000003"
)

// grid is a test utility with simulated meters on real sockets. Its clock stands on a Monday, 10:30 in Shanghai: cuts are allowed.
type grid struct {
	*storetest.Utility
	t       *testing.T
	env     *testsuite.TestActivityEnvironment
	fleet   *simulator.Fleet
	dir     string
	now     time.Time
	meters  atomic.Int64 // now, as the meters read it
	posting activities.Posting
	deliver activities.Delivery
	supply  activities.Supply
	remind  activities.Reminding
	message activities.Messaging
	sms     *notify.Demo
	credit  billing.AccountID
	plain   billing.AccountID
	water   billing.AccountID
}

func newGrid(t *testing.T) *grid {
	t.Helper()
	g := &grid{t: t, now: time.Date(2026, 1, 12, 2, 30, 0, 0, time.UTC), dir: t.TempDir()}
	g.meters.Store(g.now.UnixNano())
	g.Utility = storetest.NewUtility(t, g.now)
	ctx := context.Background()
	days := billing.CalendarYear{Year: 2026, Days: []billing.CalendarDay{{Date: billing.MustDate("2026-01-01"), Off: true, Name: "New Year"}}}
	require.NoError(t, g.AddCalendarYear(ctx, storetest.By, days))
	g.credit, _ = g.Account(storetest.NewAccount{Mode: billing.CreditMeter, Serial: serialCredit, Unit: 1})
	g.plain, _ = g.Account(storetest.NewAccount{Serial: serialPlatform, Unit: 2})
	g.water, _ = g.Account(storetest.NewAccount{Service: billing.Water, Serial: serialWater, Unit: 3})
	g.serve()
	pool := devices.NewPool(devices.Config{Timeout: 300 * time.Millisecond, ReadRetries: -1, SwitchLimit: 300 * time.Millisecond, SwitchPoll: 20 * time.Millisecond})
	t.Cleanup(pool.Shutdown)
	g.posting, g.deliver = activities.Posting{Store: g.Store}, activities.Delivery{Store: g.Store, Pool: pool}
	g.supply, g.remind = activities.Supply{Store: g.Store, Pool: pool}, activities.Reminding{Store: g.Store}
	g.sms = &notify.Demo{Deliver: func(context.Context, notify.Receipt) error { return nil }}
	g.message = activities.Messaging{Store: g.Store, Sender: g.sms}
	var suite testsuite.WorkflowTestSuite
	g.env = suite.NewTestActivityEnvironment()
	g.env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&activities.ErrorInterceptor{}}})
	for _, a := range []any{&g.posting, &g.deliver, &g.supply, &g.remind, &g.message} {
		g.env.RegisterActivity(a)
	}
	return g
}

func (g *grid) serve() {
	prices := [5]int64{50_000_000, 50_000_000, 50_000_000, 50_000_000, 50_000_000}
	power, err := simulator.SeriesIDs(false)
	require.NoError(g.t, err)
	flow, err := simulator.SeriesIDs(true)
	require.NoError(g.t, err)
	g.fleet, err = simulator.NewFleet(simulator.FleetSpec{Seed: 1, Gateways: []simulator.GatewaySpec{{ID: "G1", Listen: "127.0.0.1:0", SilentMillis: 30, Meters: []simulator.MeterSpec{
		{Unit: 1, Serial: serialCredit, Profile: "sim-ddsy1352", LoadProfile: power[0], CreditMode: true, RemainingFen: 10_000, PricesE8: prices, OpeningRegisters: make([]int64, 6)},
		{Unit: 2, Serial: serialPlatform, Profile: "sim-ddsy1352", LoadProfile: power[1], OpeningRegisters: make([]int64, 6)},
		{Unit: 3, Serial: serialWater, Profile: "sim-valve-water", LoadProfile: flow[0], OpeningRegisters: []int64{0}, ValveMillis: 20},
	}}}}, g.dir, func() time.Time { return time.Unix(0, g.meters.Load()).UTC() })
	require.NoError(g.t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.fleet.Serve(ctx) }()
	g.t.Cleanup(func() { stop(); <-done })
	_, err = g.Pool.Exec(ctx, `UPDATE gateways SET address = $1 WHERE id = 'G1'`, g.fleet.Addr("G1"))
	require.NoError(g.t, err)
}

// run runs an activity once and gives its answer.
func run[T any](g *grid, activity, in any) T {
	g.t.Helper()
	v, err := g.env.ExecuteActivity(activity, in)
	require.NoError(g.t, err)
	var out T
	if v.HasValue() {
		require.NoError(g.t, v.Get(&out))
	}
	return out
}

func (g *grid) refuses(activity, in any) string {
	g.t.Helper()
	_, err := g.env.ExecuteActivity(activity, in)
	require.Error(g.t, err)
	return err.Error()
}

func (g *grid) fault(f simulator.Fault) {
	g.t.Helper()
	f.Gateway = "G1"
	_, err := g.fleet.Inject(f)
	require.NoError(g.t, err)
}

func (g *grid) heal(kind simulator.FaultKind, unit byte) {
	g.t.Helper()
	n, err := g.fleet.Clear(simulator.Fault{Kind: kind, Gateway: "G1", Unit: unit})
	require.NoError(g.t, err)
	require.Positive(g.t, n)
}

// approved enters a recharge and approves it twice.
func (g *grid) approved(account billing.AccountID, amount billing.Money) activities.RechargeRef {
	g.t.Helper()
	id, err := g.NextRechargeID(context.Background(), "park")
	require.NoError(g.t, err)
	run[activities.RechargeEntered](g, g.posting.EnterRecharge, activities.EnterRecharge{RechargeID: id, Account: account, Amount: amount, Channel: "cash", Key: string(id), By: "clerk1"})
	for i, by := range []billing.UserID{"clerk2", "clerk3"} {
		run[activities.RechargeEntered](g, g.posting.ApproveRecharge, activities.RechargeDecision{RechargeID: id, By: by, Number: i + 1})
	}
	return activities.RechargeRef{RechargeID: id}
}

// purchases counts what the meter itself accepted.
func (g *grid) purchases(serial string) int {
	g.t.Helper()
	entries, err := simulator.ReadRecord(g.dir)
	require.NoError(g.t, err)
	return len(simulator.Purchases(entries, serial))
}

func (g *grid) has(account billing.AccountID, fen billing.Money) {
	g.t.Helper()
	var balance, transit billing.Money
	require.NoError(g.t, g.Pool.QueryRow(context.Background(), `SELECT balance_fen FROM balances WHERE account_id = $1`, account).Scan(&balance))
	require.Equal(g.t, fen, balance)
	require.NoError(g.t, g.Pool.QueryRow(context.Background(), `SELECT coalesce(sum(amount_fen), 0)::bigint FROM ledger_postings WHERE code = 'park/in_transit'`).Scan(&transit))
	if open, err := g.OpenDeliveries(context.Background(), "park"); err == nil && len(open) == 0 {
		require.Zero(g.t, transit, "nothing may stay in transit")
	}
}

// dies runs f and gives up on it at a step of the database, as a process that ends there: the named kind of journal row is refused once.
func (g *grid) dies(table, event string, f func()) {
	g.t.Helper()
	ctx := context.Background()
	_, err := g.Pool.Exec(ctx, `CREATE OR REPLACE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.kind = TG_ARGV[0] AND NEW.event = TG_ARGV[1] THEN RAISE EXCEPTION 'the process died here'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER die BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION die('`+table+`', '`+event+`')`)
	require.NoError(g.t, err)
	f()
	_, err = g.Pool.Exec(ctx, `DROP TRIGGER die ON journal`)
	require.NoError(g.t, err)
}

// intact holds what must be true after every test here: the books balance, the journal verifies and tells the tables' states.
func (g *grid) intact() {
	g.t.Helper()
	ctx := context.Background()
	trial, err := g.TrialBalance(ctx, []billing.SiteID{"park"})
	require.NoError(g.t, err)
	require.True(g.t, trial.Balanced())
	_, _, first, err := g.VerifyJournal(ctx)
	require.NoError(g.t, err)
	require.Nil(g.t, first)
	for kind, table := range map[string]string{"recharge": "recharges", "command": "commands", "reminder": "reminders", "cutoff": "cutoffs", "restore": "restores", "message": "messages", "case": "cases"} {
		var wrong []string
		err := g.Pool.QueryRow(ctx, `SELECT array_agg(t.id) FROM `+table+` t WHERE t.state IS DISTINCT FROM
			(SELECT to_state FROM journal j WHERE j.chain = $1 || '/' || t.id ORDER BY seq DESC LIMIT 1)`, kind).Scan(&wrong)
		require.NoError(g.t, err)
		require.Empty(g.t, wrong, "%s whose last journal row tells another state", table)
	}
}

// proved holds that every supply state that a command calls verified is what the simulated relay was at the instant of the read-back.
func (g *grid) proved() {
	g.t.Helper()
	entries, err := simulator.ReadRecord(g.dir)
	require.NoError(g.t, err)
	rows, err := g.Pool.Query(context.Background(), `SELECT m.serial, c.readback, c.readback_real FROM commands c JOIN meters m ON m.id = c.meter_id
		WHERE c.state = 'verified' AND c.kind IN ('trip', 'close', 'keep_on')`)
	require.NoError(g.t, err)
	defer rows.Close()
	n := 0
	for rows.Next() {
		var serial, state string
		var at time.Time
		require.NoError(g.t, rows.Scan(&serial, &state, &at))
		relay, ok := simulator.RelayAt(entries, serial, at)
		require.True(g.t, ok)
		require.Equal(g.t, state, string(relay))
		n++
	}
	require.NoError(g.t, rows.Err())
	require.Positive(g.t, n)
}

// reads stores a reading of an account's meter as of this midnight, so that a cut has something to rest on.
func (g *grid) reads(account billing.AccountID, quality billing.Quality, doubtful bool) {
	g.t.Helper()
	ctx := context.Background()
	midnight := billing.DateOf(g.now, storetest.Zone).Start(storetest.Zone)
	_, err := g.Pool.Exec(ctx, `SELECT ensure_reading_partition($1)`, midnight)
	require.NoError(g.t, err)
	_, err = g.Pool.Exec(ctx, `INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, supply, doubtful, recorded_by)
		SELECT f.meter_id, $2, 1 + (SELECT count(*) FROM readings r WHERE r.meter_id = f.meter_id), $2, now(), $3, '{0}', 'on', $4, 'workflow' FROM accounts a
		JOIN fittings f ON f.service_point_id = a.service_point_id WHERE a.id = $1 AND f.to_at IS NULL`, account, midnight, quality, doubtful)
	require.NoError(g.t, err)
}

// spend takes the account's balance down to fen.
func (g *grid) spend(account billing.AccountID, fen billing.Money) {
	g.t.Helper()
	_, err := g.Pool.Exec(context.Background(), `WITH e AS (INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject, day)
			VALUES ('park', 'daily_charge', gen_random_uuid()::text, '\x00', business_now(), 'c', (business_now() AT TIME ZONE 'Asia/Shanghai')::date) RETURNING id), b AS (SELECT balance_fen - $2 AS used FROM balances WHERE account_id = $1)
		INSERT INTO ledger_postings (entry_id, seq, code, amount_fen) SELECT e.id, v.seq, v.code, v.fen FROM e, b,
			LATERAL (VALUES (1, 'customer/' || $1, b.used), (2, 'park/unbilled', -b.used)) v (seq, code, fen)`, account, fen)
	require.NoError(g.t, err)
}

// low puts an account on the low list and opens its arrears case.
func (g *grid) low(account billing.AccountID) activities.ReminderRef {
	g.t.Helper()
	ctx := context.Background()
	day := billing.DateOf(g.now, storetest.Zone)
	cycle := billing.CycleID("park/" + day.String())
	_, err := g.Pool.Exec(ctx, `INSERT INTO cycles (id, site_id, day, freeze_at, window_end, state, opened_at) VALUES ($1, 'park', $2, $3, $3, 'closed', $3) ON CONFLICT DO NOTHING`,
		cycle, day, day.Start(storetest.Zone))
	require.NoError(g.t, err)
	_, err = g.Pool.Exec(ctx, `INSERT INTO low_list (account_id, cycle_id, balance_fen, level) VALUES ($1, $2, 0, 'final')`, account, cycle)
	require.NoError(g.t, err)
	taken, err := g.TakeLowList(ctx, storetest.By, cycle, store.Terms{Connect: 1, StillLow: func(b, _ billing.Money) bool { return b < 2000 }})
	require.NoError(g.t, err)
	require.Len(g.t, taken.Opened, 1)
	return activities.ReminderRef{ReminderID: taken.Opened[0]}
}

// noticed gives the final notice with its receipt, hands over to the cut, and moves the clock to the hour of the cut.
func (g *grid) noticed(account billing.AccountID) activities.CutRef {
	g.t.Helper()
	ref := g.low(account)
	n := run[activities.Notice](g, g.remind.QueueNotice, activities.QueueNotice{ReminderID: ref.ReminderID, Level: billing.ReminderFinal, Attempt: 1})
	run[any](g, g.message.SendMessage, activities.MessageRef{MessageID: n.Message})
	run[activities.ReceiptRecorded](g, g.message.RecordReceipt, activities.Receipt{ProviderNo: "SMS-" + string(n.Message), Delivered: true})
	over := run[activities.HandedOver](g, g.remind.HandOver, ref)
	require.NotEmpty(g.t, over.CutoffID)
	c, err := g.Cutoff(context.Background(), over.CutoffID)
	require.NoError(g.t, err)
	g.setNow(c.PlannedAt)
	return activities.CutRef(over)
}

func (g *grid) setNow(at time.Time) {
	g.now = at
	g.meters.Store(at.UnixNano())
	storetest.SetClock(g.t, g.Store, at)
}

var byTest = store.By{Actor: "workflow"}

func before(count, fen int64) store.CreditBefore {
	return store.CreditBefore{Count: count, Remaining: fen, Registers: make([]int64, 6)}
}
