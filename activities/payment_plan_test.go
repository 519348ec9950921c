package activities_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/proof"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/store/storetest"
)

func planText(store.MessageFacts) (string, error) { return "text", nil }

// madeUp lives a measured and billed January, four estimated days and the measured one that shows so much more than the estimates, of several
// accounts, in whose order of numbers more is.
func (f *field) madeUp(accounts []storetest.NewAccount, more ...int64) []billing.AccountID {
	ids, meters := make([]billing.AccountID, len(accounts)), make([]billing.MeterID, len(accounts))
	for i, n := range accounts {
		ids[i], meters[i] = f.Account(n)
	}
	shown := func(total int64, more ...int64) map[billing.MeterID]billing.Registers {
		m := map[billing.MeterID]billing.Registers{}
		for i := range meters {
			m[meters[i]] = regs(total)
			if more != nil {
				m[meters[i]] = regs(total + more[i])
			}
		}
		return m
	}
	all := func(cases []billing.CaseID, decision string) {
		for _, id := range cases {
			f.decide(activities.Decision{CaseID: id, Decision: decision, Reason: "seen"})
		}
	}
	for _, day := range []string{"2026-01-02", "2026-01-12", "2026-01-22", "2026-02-01"} {
		f.day(day, shown(1000*int64(billing.MustDate("2026-01-01").DaysUntil(billing.MustDate(day)))))
	}
	run := f.run("2026-01")
	f.at("2026-02-01", 12, 0)
	do[any](f, f.bills.VerifyRun, activities.RunDecision{RunID: run, By: "sup1"})
	do[any](f, f.bills.ApproveIssue, activities.RunDecision{RunID: run, By: "sup2"})
	do[any](f, f.bills.IssueBills, activities.RunRef{RunID: run})
	for _, day := range []string{"2026-02-02", "2026-02-03", "2026-02-04", "2026-02-05"} {
		all(f.day(day, nil), activities.DecideEstimate)
	}
	all(f.day("2026-02-06", shown(31_000+5000, more...)), activities.DecideAccept)
	f.day("2026-02-07", shown(31_000+6000, more...))
	return ids
}

func (f *field) plans(account billing.AccountID) []store.PaymentPlanRow {
	plans, _, err := f.PlanPage(context.Background(), store.PlanFilter{Sites: []billing.SiteID{f.Site}, Account: account}, 10, 0)
	require.NoError(f.t, err)
	return plans
}

func (f *field) facts(account billing.AccountID) store.SupplyFacts {
	facts, err := f.FactsFor(context.Background(), account)
	require.NoError(f.t, err)
	return facts
}

func rich(fen billing.Money) storetest.NewAccount {
	n := storetestAccount()
	n.Fen = fen
	return n
}

func TestPaymentPlan(t *testing.T) {
	f := newField(t, "2026-01-01")
	ctx := context.Background()
	// 31 days of 10 kWh cost 166.78 in January; a true-up of 600 kWh 322.80.
	held := rich(90_000)
	held.Mode = billing.CreditMeter
	arrears := rich(30_000)
	arrears.Arrears = true
	ids := f.madeUp([]storetest.NewAccount{rich(30_000), rich(30_000), rich(22_000), rich(90_000), held, arrears}, 60_000, 60_000, 60_000, 14_000, 60_000, 60_000)
	account, second, poor := ids[0], ids[1], ids[2]
	require.Empty(t, f.plans(ids[3]), "within the share: 75.32 of 166.78")
	require.Empty(t, f.plans(ids[4]), "the meter has taken it already")
	require.Empty(t, f.plans(ids[5]), "nobody is cut under an arrears contract")

	plans := f.plans(account)
	require.Len(t, plans, 1)
	p := plans[0]
	bill := p.Facts.LowestFen
	require.Equal(t, billing.Money(16_678), bill)
	require.Equal(t, billing.Money(32_280), p.TotalFen, "what the estimates missed, to the fen")
	require.Equal(t, [3]billing.Money{bill / 2, p.TotalFen, 0}, [3]billing.Money{p.PartFen, p.Outstanding, p.EarlyFen})
	require.Equal(t, 4, p.Facts.Estimates)
	require.Equal(t, billing.PlanProposed, p.State)
	require.Less(t, f.balance(account), billing.Money(0), "the charge is what was used: the money is owed")
	require.Equal(t, p.TotalFen, f.facts(account).Deferred)
	require.NotContains(t, f.lowLevels(account), "final", "the true-up alone threatens nobody")
	decision, err := activities.Judge(ctx, f.Store, account)
	require.NoError(t, err)
	require.Contains(t, decision.String(), "is paid in monthly parts later")
	f.charge("park/2026-02-07")
	require.Len(t, f.plans(account), 1, "charging again proposes nothing again")

	t.Run("a payment needs only what is due", func(t *testing.T) {
		facts := f.facts(poor)
		require.LessOrEqual(t, facts.Balance+facts.Deferred, billing.Money(2500))
		require.Contains(t, f.lowLevels(poor), "level1")
		f.recharge(poor, 5000)
		facts = f.facts(poor)
		require.Less(t, facts.Balance, billing.Money(0), "the make-up is still owed")
		var reminder billing.ReminderID
		require.NoError(t, f.Pool.QueryRow(ctx, `SELECT id FROM reminders WHERE account_id = $1 AND closed_at IS NULL`, poor).Scan(&reminder))
		step, err := f.QueueNotice(ctx, storetest.By, reminder, billing.ReminderFinal, 1, facts.Now.AddDate(0, 0, 9), planText)
		require.NoError(t, err)
		require.True(t, step.Ended, "no final notice for what isn't due")
	})

	t.Run("ending early takes three persons", func(t *testing.T) {
		one := f.plans(second)[0]
		sup1 := store.By{Actor: "sup1", Reason: "as the customer asked"}
		end := func(to billing.PlanState, second, third billing.UserID) billing.Code {
			return billing.CodeOf(f.EndPlan(ctx, sup1, one.ID, to, second, third))
		}
		for _, alone := range [][2]billing.UserID{{"", ""}, {"sup2", ""}, {"", "boss"}, {"sup1", "sup2"}, {"sup2", "sup1"}, {"sup2", "sup2"}} {
			require.Equal(t, billing.CodeSelfApproval, end(billing.PlanRejected, alone[0], alone[1]), "%v", alone)
		}
		_, err := f.Pool.Exec(ctx, `UPDATE payment_plans SET state = 'rejected', outstanding_fen = 0, early_fen = total_fen, ended_at = now(), ended_by = 'sup1', agreed_by = 'sup2', agreed2_by = 'sup1' WHERE id = $1`, one.ID)
		require.ErrorContains(t, err, "payment_plans_three_persons", "the database counts them too")
		require.Equal(t, billing.CodeClosed, end(billing.PlanCancelled, "sup2", "boss"), "a proposed plan is rejected, not cancelled")
		require.NoError(t, f.ApprovePlan(ctx, store.By{Actor: "sup1"}, one.ID))
		require.Equal(t, billing.CodeClosed, end(billing.PlanRejected, "sup2", "boss"))
		require.Equal(t, billing.CodeBlocked, end(billing.PlanSettled, "", ""), "one person settles only what the balance bears")
		require.Equal(t, one.TotalFen, f.facts(second).Deferred, "refusals change nothing")
		require.NoError(t, f.EndPlan(ctx, sup1, one.ID, billing.PlanCancelled, "sup2", "boss"))
		one = f.plans(second)[0]
		require.Equal(t, [3]billing.Money{0, one.TotalFen, one.TotalFen}, [3]billing.Money{one.Outstanding, one.EarlyFen, one.TotalFen})
		require.Zero(t, f.facts(second).Deferred, "the rest is due at once")
		require.Equal(t, billing.CodeNotFound, billing.CodeOf(f.ApprovePlan(ctx, sup1, "Y999")))
	})

	t.Run("a part a month falls due", func(t *testing.T) {
		require.NoError(t, f.ApprovePlan(ctx, store.By{Actor: "sup1"}, p.ID))
		require.NoError(t, f.ApprovePlan(ctx, store.By{Actor: "sup1"}, p.ID), "a double click is one approval")
		require.Equal(t, billing.CodeClosed, billing.CodeOf(f.ApprovePlan(ctx, store.By{Actor: "sup2"}, p.ID)))
		require.Equal(t, "2026-03-01", f.plans(account)[0].NextDue.String())
		f.at("2026-02-28", 23, 59)
		require.NoError(t, f.FallDue(ctx, storetest.By, f.Site, planText))
		require.Equal(t, p.TotalFen, f.facts(account).Deferred)
		left := p.TotalFen
		for month := billing.MustDate("2026-03-01"); left > 0; month = billing.MonthPeriod(month).To {
			storetest.SetClock(t, f.Store, month.At(1, 0, storetest.Zone))
			require.NoError(t, f.FallDue(ctx, storetest.By, f.Site, planText))
			require.NoError(t, f.FallDue(ctx, storetest.By, f.Site, planText), "again on the same day")
			left -= min(p.PartFen, left)
			require.Equal(t, left, f.facts(account).Deferred)
		}
		p = f.plans(account)[0]
		require.Equal(t, billing.PlanSettled, p.State)
		var sum billing.Money
		for i, part := range p.Parts {
			require.Equal(t, i+1, part.No)
			require.LessOrEqual(t, part.AmountFen*2, bill)
			sum += part.AmountFen
		}
		require.Equal(t, p.TotalFen, sum)
		require.Len(t, p.Parts, 4, "three of 83.39 and the rest")
		var told int
		require.NoError(t, f.Pool.QueryRow(ctx, `SELECT count(*) FROM messages WHERE kind IN ('make_up', 'part_due') AND account_id = $1`, account).Scan(&told))
		require.Equal(t, 5, told)
		_, err := f.Pool.Exec(ctx, `UPDATE payment_plans SET total_fen = total_fen + 1`)
		require.ErrorContains(t, err, "stays as it is")
	})
	t.Run("the paper of the bill of its period states it", func(t *testing.T) {
		var bill billing.BillID
		require.NoError(t, f.Pool.QueryRow(ctx, `SELECT id FROM bills WHERE account_id = $1 AND state = 'issued'`, account).Scan(&bill))
		stated := func() []billing.PlanID {
			sheet, err := f.BillSheet(ctx, bill)
			require.NoError(t, err)
			var ids []billing.PlanID
			for _, p := range sheet.Plans {
				ids = append(ids, p.ID)
			}
			return ids
		}
		require.Empty(t, stated(), "it was made after January")
		for at, want := range map[string][]billing.PlanID{"2026-01-31 23:59:59+08": {p.ID}, "2026-02-01 00:00:00+08": nil} {
			_, err := f.Pool.Exec(ctx, `SET session_replication_role = replica; UPDATE payment_plans SET proposed_at = '`+at+`' WHERE id = '`+string(p.ID)+`'; RESET session_replication_role`)
			require.NoError(t, err)
			require.Equal(t, want, stated(), at)
		}
	})
	wrong := func() (found []string) {
		err := pgx.BeginFunc(ctx, f.Pool, func(tx pgx.Tx) (err error) {
			found, err = proof.PaymentPlans(ctx, tx)
			return err
		})
		require.NoError(t, err)
		return found
	}
	require.Empty(t, wrong())
	_, err = f.Pool.Exec(ctx, `SET session_replication_role = replica; UPDATE payment_plans SET total_fen = total_fen + 1 WHERE id = '`+string(p.ID)+`'; RESET session_replication_role`)
	require.NoError(t, err)
	require.Len(t, wrong(), 2, "a fen that is lost shows in the parts and beside the charge")
	f.intact()
}

// A proposed plan that nobody decides on lapses, and so does one whose debt a correction has changed: what it protected is due, and the customer is told.
func TestPaymentPlan_lapses(t *testing.T) {
	b := newBooks(t)
	ctx := context.Background()
	ids := b.madeUp([]storetest.NewAccount{rich(90_000), rich(90_000)}, 60_000, 60_000)
	waited, corrected := b.plans(ids[0])[0], b.plans(ids[1])[0]
	due := func(day string) {
		b.at(day, 1, 0)
		require.NoError(t, b.FallDue(ctx, storetest.By, b.Site, planText))
	}
	due("2026-02-08")
	require.Equal(t, billing.PlanProposed, b.plans(ids[1])[0].State)

	// The measured reading was 5 kWh too high.
	meter := func(account billing.AccountID) (id billing.MeterID) {
		m, err := b.FittedMeter(ctx, account)
		require.NoError(t, err)
		return m.ID
	}
	b.carryOut(readingChange(meter(ids[1]), "2026-02-07", regs(37_000+59_500)))
	err := b.ApprovePlan(ctx, store.By{Actor: "sup1"}, corrected.ID)
	require.Equal(t, billing.CodeStale, billing.CodeOf(err), "%v", err)
	require.Equal(t, corrected.TotalFen, b.facts(ids[1]).Deferred, "until then it protects")
	due("2026-02-09")
	corrected = b.plans(ids[1])[0]
	require.Equal(t, billing.PlanLapsed, corrected.State)
	require.Contains(t, corrected.EndedWhy, "has changed what the customer owes")
	require.Equal(t, [2]billing.Money{0, corrected.TotalFen}, [2]billing.Money{corrected.Outstanding, corrected.EarlyFen})
	require.Zero(t, b.facts(ids[1]).Deferred)
	require.Equal(t, billing.PlanProposed, b.plans(ids[0])[0].State, "the other one's debt is what it was")

	last := waited.Rule.Lapses(billing.MustDate("2026-02-07"))
	require.Equal(t, "2026-03-09", last.String())
	due(last.String())
	require.Equal(t, billing.PlanProposed, b.plans(ids[0])[0].State, "until its last day it can be decided on")
	due(last.AddDays(1).String())
	due(last.AddDays(1).String())
	waited = b.plans(ids[0])[0]
	require.Equal(t, billing.PlanLapsed, waited.State)
	require.Equal(t, "nobody decided on it until 2026-03-09", waited.EndedWhy)
	require.Equal(t, billing.CodeClosed, billing.CodeOf(b.ApprovePlan(ctx, store.By{Actor: "sup1"}, waited.ID)))
	var told int
	require.NoError(t, b.Pool.QueryRow(ctx, `SELECT count(*) FROM messages WHERE kind = 'plan_ended'`).Scan(&told))
	require.Equal(t, 2, told, "each customer once")
	b.intact()
}

// Whatever the amounts and however irregularly due work runs: every fen falls due once, no part is above the limit, and none comes twice in a month.
func TestFallDue_noFenIsLost(t *testing.T) {
	f := newField(t, "2026-01-01")
	ctx := context.Background()
	account, meter := f.Account(storetestAccount())
	f.day("2026-01-02", one(meter, 1000))
	f.day("2026-02-01", one(meter, 31_000))
	run := f.run("2026-01")
	bill, _ := f.bill(run, account)
	day := billing.MustDate("2026-03-05")
	// Several plans of one account from one charge, which the product never makes.
	_, err := f.Pool.Exec(ctx, `ALTER TABLE payment_plans DROP CONSTRAINT payment_plans_account_id_cycle_id_key`)
	require.NoError(t, err)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		if n++; n > 25 {
			return // each is many transactions
		}
		part := rapid.Int64Range(1, 20_000).Draw(t, "part")
		total := rapid.Int64Range(1, part*8).Draw(t, "total")
		var id billing.PlanID
		require.NoError(t, f.Change(ctx, storetest.By, func(tx *store.Tx) error {
			if err := tx.QueryRow(ctx, `INSERT INTO payment_plans (id, site_id, account_id, cycle_id, rule, facts, lowest_bill, total_fen, part_fen, outstanding_fen, state, proposed_at, next_due, approved_by, approved_at)
				SELECT 'Y' || nextval('payment_plan_no'), 'park', $1, c.id, '{}', '{}', $2, $3, $4, $3, 'running', $5, '2026-01-01', 'sup1', $5
				FROM cycles c ORDER BY c.day DESC OFFSET 0 LIMIT 1 RETURNING id`, account, bill.ID, total, part, tx.Now).Scan(&id); err != nil {
				return err
			}
			return nil
		}))
		for left := total; left > 0; {
			day = day.AddDays(rapid.IntRange(0, 70).Draw(t, "days"))
			storetest.SetClock(f.t, f.Store, day.At(1, 0, storetest.Zone))
			require.NoError(t, f.FallDue(ctx, storetest.By, f.Site, planText))
			now := int64(f.facts(account).Deferred)
			if left-now > part {
				t.Fatalf("%d fell due at once, the limit is %d", left-now, part)
			}
			left = now
		}
		p, err := f.PlanRow(ctx, id, []billing.SiteID{f.Site})
		require.NoError(t, err)
		months, sum := map[string]bool{}, int64(0)
		for _, one := range p.Parts {
			month := billing.DateOf(one.FellAt, storetest.Zone).String()[:7]
			require.False(t, months[month], "two parts in %s", month)
			months[month] = true
			sum += int64(one.AmountFen)
		}
		require.Equal(t, total, sum)
	})
}
