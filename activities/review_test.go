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

// steadyDays lives days of 10 kWh each, up to and including the last, and gives the total.
func (f *field) steadyDays(meter billing.MeterID, first, last string) int64 {
	f.t.Helper()
	total := int64(0)
	for d := billing.MustDate(first); !d.After(billing.MustDate(last)); d = d.AddDays(1) {
		total += 1000
		require.Empty(f.t, f.day(d.String(), map[billing.MeterID]billing.Registers{meter: regs(total)}))
	}
	return total
}

func TestReview_accept(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-12")
	cases := f.day("2026-01-13", map[billing.MeterID]billing.Registers{meter: regs(total + 6000)})
	require.Len(t, cases, 1)
	c, members, err := f.Case(context.Background(), cases[0])
	require.NoError(t, err)
	require.Equal(t, "too_high", c.Kind)
	require.True(t, c.Blocking)
	require.Equal(t, account, *c.Account)
	require.Len(t, members, 1)
	require.Equal(t, 2, *members[0].ReadingVersion)

	c, members = f.decide(activities.Decision{CaseID: cases[0], Decision: activities.DecideAccept, Reason: "guests with heaters"})
	require.Equal(t, "guests with heaters", c.Reason)
	require.Equal(t, billing.UserID("sup1"), *c.DecidedBy)
	require.Equal(t, "accepted", members[0].Outcome)
	r := f.current(meter, "2026-01-13")
	require.Equal(t, 3, r.Version, "before and after are kept")
	require.False(t, r.Doubtful)
	require.Equal(t, billing.QualityActual, r.Quality)

	f.day("2026-01-14", map[billing.MeterID]billing.Registers{meter: regs(total + 7000)})
	require.Equal(t, billing.Money(10_000-9684), f.balance(account), "180 kWh at 0.538")
	f.intact()
}

func TestReview_estimateOfAMissingReading(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-12")
	first := f.day("2026-01-13", nil)
	require.Len(t, first, 1)
	second := f.day("2026-01-14", nil)
	require.Empty(t, second, "the meter that is still silent joins its open case")

	c, members := f.decide(activities.Decision{CaseID: first[0], Decision: activities.DecideEstimate})
	require.Equal(t, store.KindMissing, c.Kind)
	require.Len(t, members, 2)
	r := f.current(meter, "2026-01-14")
	require.Equal(t, billing.QualityEstimated, r.Quality)
	require.Equal(t, regs(total+2000), r.Registers)
	cycle, err := f.Cycle(context.Background(), "park/2026-01-14")
	require.NoError(t, err)
	require.Equal(t, [3]int{0, 1, 0}, [3]int{cycle.Read, cycle.Estimated, cycle.Missing})

	f.day("2026-01-15", map[billing.MeterID]billing.Registers{meter: regs(total + 3000)})
	require.Equal(t, billing.Money(10_000-7532), f.balance(account), "140 kWh at 0.538")
	f.intact()
}

func TestReview_estimateBetweenTwoReadings(t *testing.T) {
	f := newField(t, "2026-01-01")
	_, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-04")
	cases := f.day("2026-01-05", nil)
	f.day("2026-01-06", map[billing.MeterID]billing.Registers{meter: regs(total + 801)})
	f.decide(activities.Decision{CaseID: cases[0], Decision: activities.DecideEstimate})
	require.Equal(t, regs(total+400), f.current(meter, "2026-01-05").Registers, "half of what the later reading shows, cut to whole units")
	f.intact()
}

func TestReview_manualValue(t *testing.T) {
	f := newField(t, "2026-01-01")
	_, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-04")
	cases := f.day("2026-01-05", nil)
	d := activities.Decision{CaseID: cases[0], By: "sup1", Decision: activities.DecideManual, Reason: "read off the display"}
	require.Contains(t, refused(f, f.review.DecideCase, d), "the value of meter M0001 is missing")
	value := func(r billing.Registers) activities.Decision {
		d.Values = []activities.ManualValue{{Meter: meter, Registers: r}}
		return d
	}
	require.Contains(t, refused(f, f.review.DecideCase, value(regs(total-1))), "is below the last reading")
	require.Contains(t, refused(f, f.review.DecideCase, value(regs(total+9_000_000))), "can't have counted")
	require.Contains(t, refused(f, f.review.DecideCase, value(billing.Registers{total + 500, 0, 0, total, 0, 0})), "the bands")
	require.Contains(t, refused(f, f.review.DecideCase, value(billing.Registers{total})), "registers")

	_, members := f.decide(value(regs(total + 900)))
	require.Equal(t, "manual", members[0].Outcome)
	r := f.current(meter, "2026-01-05")
	require.Equal(t, billing.QualityManual, r.Quality)
	require.Equal(t, "sup1", r.RecordedBy)
	require.Equal(t, "read off the display", r.Reason)
	f.intact()
}

func TestReview_refuses(t *testing.T) {
	f := newField(t, "2026-01-01")
	_, meter := f.Account(storetestAccount())
	f.steadyDays(meter, "2026-01-02", "2026-01-04")
	cases := f.day("2026-01-05", nil)
	ask := func(change func(*activities.Decision)) string {
		d := activities.Decision{CaseID: cases[0], By: "sup1", Decision: activities.DecideEstimate, Reason: "no answer"}
		change(&d)
		return refused(f, f.review.DecideCase, d)
	}
	require.Contains(t, ask(func(d *activities.Decision) { d.By = "clerk1" }), "may not decide")
	require.Contains(t, ask(func(d *activities.Decision) { d.By = "nobody" }), "no such record")
	require.Contains(t, ask(func(d *activities.Decision) { d.Reason = " " }), "needs a reason")
	require.Contains(t, ask(func(d *activities.Decision) { d.Decision = activities.DecideAccept }), "choose one of")
	require.Contains(t, ask(func(d *activities.Decision) { d.Decision = activities.DecideReread }), "the case stays open")
	require.Contains(t, ask(func(*activities.Decision) {}), "no past of 7 days", "three days are no past to estimate from")
	c, _, err := f.Case(context.Background(), cases[0])
	require.NoError(t, err)
	require.Equal(t, billing.CaseOpen, c.State, "a refusal changes nothing")

	d := activities.Decision{CaseID: cases[0], Decision: activities.DecideManual, Values: []activities.ManualValue{{Meter: meter, Registers: regs(4000)}}}
	f.decide(d)
	require.Contains(t, ask(func(*activities.Decision) {}), "was decided already")
	f.intact()
}

func TestReview_exchange(t *testing.T) {
	f := newField(t, "2026-01-01")
	account, meter := f.Account(storetestAccount())
	total := f.steadyDays(meter, "2026-01-02", "2026-01-29")
	cases := f.day("2026-01-30", nil)
	f.at("2026-01-30", 12, 0)
	form := &activities.ExchangeForm{Closing: regs(total + 1500), NewMeter: "M9001", Serial: "990000000001", Opening: regs(500), Digits: 7}
	d := activities.Decision{CaseID: cases[0], By: "sup1", Decision: activities.DecideExchange, Reason: "display dead"}
	require.Contains(t, refused(f, f.review.DecideCase, d), "closing reading")
	d.Exchange = form
	f.decide(d)
	r := f.current(meter, "2026-01-30")
	require.Equal(t, billing.QualityEstimated, r.Quality)
	require.True(t, r.Interpolated)
	require.Equal(t, regs(total+1000), r.Registers, "24 of 36 hours at an even rate")

	require.Empty(t, f.day("2026-01-31", map[billing.MeterID]billing.Registers{"M9001": regs(1000)}))
	require.Empty(t, f.day("2026-02-01", map[billing.MeterID]billing.Registers{"M9001": regs(2000)}))
	bill, _ := f.bill(f.run("2026-01"), account)
	require.Equal(t, total+1500+1500, bill.Quantity, "old closing − opening, and new closing − opening")
	require.Equal(t, bill.TotalFen, bill.ChargedFen)
	f.intact()
}

func TestReview_gatewaySilentIsOneCase(t *testing.T) {
	f := newField(t, "2026-01-01")
	var meters []billing.MeterID
	shown := map[billing.MeterID]billing.Registers{}
	for i := range 4 {
		n := storetestAccount()
		if i == 3 {
			n.Gateway = "G2"
		}
		_, m := f.Account(n)
		meters = append(meters, m)
		shown[m] = regs(1000)
	}
	require.Empty(t, f.day("2026-01-02", shown))
	cases := f.day("2026-01-03", map[billing.MeterID]billing.Registers{meters[3]: regs(2000)})
	require.Len(t, cases, 1)
	c, members, err := f.Case(context.Background(), cases[0])
	require.NoError(t, err)
	require.Equal(t, store.KindGatewaySilent, c.Kind)
	require.Equal(t, billing.GatewayID("G1"), *c.Gateway)
	require.Len(t, members, 3)
	require.Empty(t, f.day("2026-01-04", map[billing.MeterID]billing.Registers{meters[3]: regs(3000)}), "still silent: the same case")

	// A single silent meter is its own cause, also where it is the only one of its gateway.
	all := map[billing.MeterID]billing.Registers{meters[0]: regs(3000), meters[1]: regs(3000), meters[2]: regs(3000)}
	cases = f.day("2026-01-05", all)
	require.Len(t, cases, 1)
	c, _, err = f.Case(context.Background(), cases[0])
	require.NoError(t, err)
	require.Equal(t, store.KindMissing, c.Kind)
	f.intact()
}

func TestReview_rolloverIsBelievedAndAZeroIsNot(t *testing.T) {
	f := newField(t, "2026-01-01")
	n := storetestAccount()
	n.Opening = billing.Registers{99_999_500, 0, 0, 99_999_500, 0, 0}
	rolling, m1 := f.Account(n)
	n = storetestAccount()
	n.Opening = regs(500_000)
	_, m2 := f.Account(n)
	cases := f.day("2026-01-02", map[billing.MeterID]billing.Registers{m1: regs(500), m2: regs(0)})
	require.Len(t, cases, 1, "a plausible wrap opens no case")
	c, _, err := f.Case(context.Background(), cases[0])
	require.NoError(t, err)
	require.Equal(t, "negative", c.Kind)
	require.Equal(t, m2, *c.Meter)
	require.Equal(t, billing.Money(10_000-538), f.balance(rolling), "10 kWh through the wrap")
	f.intact()
}

func TestReview_escalatesOnce(t *testing.T) {
	f := newField(t, "2026-01-01")
	f.Account(storetestAccount())
	cases := f.day("2026-01-02", nil)
	do[any](f, f.review.EscalateCase, activities.CaseRef{CaseID: cases[0]})
	var rows int
	require.NoError(t, f.Pool.QueryRow(context.Background(), `SELECT count(*) FROM journal WHERE chain = 'case/' || $1 AND event = 'escalated'`, cases[0]).Scan(&rows))
	require.Equal(t, 1, rows)
	facts := do[activities.CaseFacts](f, f.review.DescribeCase, activities.CaseRef{CaseID: cases[0]})
	require.True(t, facts.Escalated)
	require.Equal(t, []billing.GatewayID{"G1"}, facts.Gateways)
	require.Equal(t, billing.MustDate("2026-01-03").At(0, 5, storetest.Zone).UTC(), facts.DueAt.UTC())
}
