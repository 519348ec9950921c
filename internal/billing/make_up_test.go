package billing_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
)

func TestMakeUp(t *testing.T) {
	rule := billing.MakeUpRuleOn(billing.DefaultMakeUp(), billing.MustDate("2026-02-01"))
	// Four days were charged 5.38 a day; the fifth brings 100.00, of which its own day explains 5.38.
	m := billing.MakeUp{Estimates: 4, EstimatedFen: 4 * 538, EstimatedSeconds: 4 * 86400, ChargedFen: 10_000, ChargedSeconds: 86400, LowestBill: "B1", LowestFen: 5001}
	require.Equal(t, billing.Money(10_000-538), m.Fen())
	total, part := rule.Plan(m)
	require.Equal(t, [2]billing.Money{9462, 2500}, [2]billing.Money{total, part}, "half of 50.01 is cut, never rounded up")

	for name, change := range map[string]func(*billing.MakeUp){
		"three estimates":                func(m *billing.MakeUp) { m.Estimates = 3 },
		"no normal bill":                 func(m *billing.MakeUp) { m.LowestFen = 0 },
		"within the share":               func(m *billing.MakeUp) { m.ChargedFen = 538 + 2500 },
		"nothing charged on an estimate": func(m *billing.MakeUp) { m.EstimatedSeconds = 0 },
		"the estimates were too high":    func(m *billing.MakeUp) { m.ChargedFen = -100 },
	} {
		other := m
		change(&other)
		total, _ := rule.Plan(other)
		require.Zero(t, total, name)
	}
	limited := rule
	limited.MaxParts = 3
	total, part = limited.Plan(m)
	require.Equal(t, [2]billing.Money{9462, 3154}, [2]billing.Money{total, part}, "three parts of a third each, above the share")
	limited.MaxParts = 4
	_, part = limited.Plan(m)
	require.Equal(t, billing.Money(2500), part, "the share is enough")
	m.ChargedFen = 538 + 2501
	total, _ = rule.Plan(m)
	require.Equal(t, billing.Money(2501), total, "one fen more than the share is spread")
	total, _ = billing.MakeUpRuleOn(billing.DefaultMakeUp(), billing.MustDate("1999-12-31")).Plan(m)
	require.Zero(t, total, "before the first rule there is none")
}

func TestValidateMakeUp(t *testing.T) {
	require.NoError(t, billing.ValidateMakeUp(billing.DefaultMakeUp()))
	require.NoError(t, billing.ValidateMakeUp(nil), "a site without the rule")
	for _, spoil := range []func(*billing.MakeUpRule){
		func(r *billing.MakeUpRule) { r.From = billing.Date{} }, func(r *billing.MakeUpRule) { r.AfterEstimates = 0 }, func(r *billing.MakeUpRule) { r.OverPercent = -1 },
		func(r *billing.MakeUpRule) { r.PartPercent = 0 }, func(r *billing.MakeUpRule) { r.PartPercent = 101 }, func(r *billing.MakeUpRule) { r.Bills = 0 },
		func(r *billing.MakeUpRule) { r.MaxParts = 0 }, func(r *billing.MakeUpRule) { r.DecideDays = 0 },
	} {
		rules := billing.DefaultMakeUp()
		spoil(&rules[0])
		require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(billing.ValidateMakeUp(rules)))
	}
	require.Error(t, billing.ValidateMakeUp(append(billing.DefaultMakeUp(), billing.DefaultMakeUp()...)), "two from the same day")
}

// Parts, taken one after the other until nothing is left, are the total to the fen; none is above the share of the lowest bill; the last is the rest.
func TestPlan_partsSumToTheTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := billing.MakeUpRule{From: billing.MustDate("2020-01-01"), AfterEstimates: rapid.IntRange(1, 6).Draw(t, "after"), OverPercent: rapid.IntRange(0, 200).Draw(t, "over"),
			PartPercent: rapid.IntRange(1, 100).Draw(t, "percent"), Bills: 12, MaxParts: rapid.IntRange(0, 24).Draw(t, "parts")}
		m := billing.MakeUp{Estimates: rapid.IntRange(0, 12).Draw(t, "estimates"), EstimatedFen: billing.Money(rapid.Int64Range(-1000, 1_000_000).Draw(t, "estimated")),
			EstimatedSeconds: rapid.Int64Range(0, 40*86400).Draw(t, "time"), ChargedFen: billing.Money(rapid.Int64Range(-1000, 2_000_000).Draw(t, "charged")),
			ChargedSeconds: rapid.Int64Range(0, 3*86400).Draw(t, "own"), LowestFen: billing.Money(rapid.Int64Range(0, 200_000).Draw(t, "lowest"))}
		total, part := rule.Plan(m)
		if total == 0 {
			return
		}
		if m.Estimates < rule.AfterEstimates || total > m.ChargedFen || int64(total)*100 <= int64(m.LowestFen)*int64(rule.OverPercent)-100 {
			t.Fatalf("%d fen of %+v by %+v", total, m, rule)
		}
		parts := int64(rule.MaxParts)
		if int64(part)*100 > int64(m.LowestFen)*int64(rule.PartPercent) && (parts == 0 || (int64(part)-1)*parts >= int64(total)) {
			t.Fatalf("a part of %d fen is more than %d percent of %d, and more than %d parts ask for", part, rule.PartPercent, m.LowestFen, parts)
		}
		if parts > 0 && int64(part)*parts < int64(total) {
			t.Fatalf("%d fen in parts of %d are more than %d parts", total, part, parts)
		}
		var sum billing.Money
		for left := total; left > 0; left -= min(part, left) {
			sum += min(part, left)
			if total/part > 5000 {
				return
			}
		}
		if sum != total {
			t.Fatalf("parts sum to %d of %d", sum, total)
		}
	})
}
