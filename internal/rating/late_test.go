package rating_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

// The rates of rule 30: jiayou0513.com 1384005961232702, one secondary copy. No published example has a right result, so that these
// are worked by hand.
const (
	homeRate  = "late_rate,2020-01-01,0.001,0.001,1\n"
	otherRate = "late_rate,2020-01-01,0.002,0.003,1\n"
)

// lateIn prices a month without use: nothing but its late fees.
func lateIn(t *testing.T, month, facts string) rating.Result {
	t.Helper()
	p := must(billing.ParseMonth(month))
	text := fmt.Sprintf("period,%s,%s\nreading,%sT00:00,total=1\nreading,%sT00:00,total=1\n", p.From, p.To, p.From, p.To)
	flat := billing.Tariff{ID: "flat", Service: billing.Power, Versions: []billing.TariffVersion{{From: billing.MustDate("2000-01-01"), Components: []billing.Component{
		{Key: "energy", Name: billing.Names{ZH: "电费", EN: "Energy"}, Kind: billing.KindFlat, Price: &[]billing.Price{billing.MustPrice("1")}[0]},
	}}}}
	in, err := rating.ParseUsage(text+facts, flat)
	require.NoError(t, err)
	r, err := rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, r.Total, r.Late)
	return r
}

func lateLines(r rating.Result) string {
	var all []string
	for _, l := range r.Lines {
		all = append(all, fmt.Sprintf("%s × %s × %s = %s", l.Quantity.Fixed(2), l.Price, l.Factor, l.Amount))
	}
	return strings.Join(all, "; ")
}

func TestLate_workedByHand(t *testing.T) {
	for name, c := range map[string]struct{ month, facts, want string }{
		"a household's days after the due day":        {"2026-09", homeRate + "debt,2026-09-20,2026-08,100", "100.00 × 0.001 × 10 = 1.00"},
		"a whole month of it":                         {"2026-10", homeRate + "debt,2026-09-20,2026-08,100", "100.00 × 0.001 × 31 = 3.10"},
		"others in the debt's year":                   {"2026-12", otherRate + "debt,2026-12-20,2026-11,1234.56", "1234.56 × 0.002 × 11 = 27.16"},
		"others over the year's end":                  {"2027-01", otherRate + "debt,2026-12-20,2026-11,1234.56", "1234.56 × 0.003 × 31 = 114.81"},
		"half a fen goes up":                          {"2026-10", homeRate + "debt,2026-10-30,2026-09,1005", "1005.00 × 0.001 × 1 = 1.01"},
		"the day of the payment is not late":          {"2026-10", homeRate + "debt,2026-09-20,2026-08,100\npaid,2026-10-11,40", "100.00 × 0.001 × 10 = 1.00; 60.00 × 0.001 × 21 = 1.26"},
		"paid on the due day":                         {"2026-10", homeRate + "debt,2026-09-20,2026-08,100\npaid,2026-09-20,100", ""},
		"credit from before pays too":                 {"2026-10", homeRate + "debt,2026-09-20,2026-08,100\npaid,2026-01-01,100", ""},
		"money pays the older debt first":             {"2026-10", homeRate + "debt,2026-09-20,2026-08,100\ndebt,2026-10-20,2026-09,300\npaid,2026-09-01,150", "250.00 × 0.001 × 11 = 2.75"},
		"money that was taken back":                   {"2026-10", homeRate + "debt,2026-09-20,2026-08,100\npaid,2026-09-20,100\npaid,2026-10-22,-100", "100.00 × 0.001 × 10 = 1.00"},
		"the least is 1 yuan":                         {"2026-09", homeRate + "debt,2026-09-20,2026-08,50", "50.00 × 0.001 × 10 = 0.50; 0.50 × 1 × 0 = 0.50"},
		"the least is taken once, and counts":         {"2026-10", homeRate + "debt,2026-09-20,2026-08,50", "50.00 × 0.001 × 31 = 1.55; -0.50 × 1 × 0 = -0.50"},
		"what the least has covered already":          {"2026-10", homeRate + "debt,2026-09-20,2026-08,5", "5.00 × 0.001 × 31 = 0.16; -0.16 × 1 × 0 = -0.16"},
		"one least for a bill and what was added":     {"2026-10", homeRate + "debt,2026-09-20,2026-08,100\ndebt,2026-10-30,2026-08,20", "100.00 × 0.001 × 31 = 3.10; 20.00 × 0.001 × 1 = 0.02"},
		"a new share from a day on":                   {"2026-10", homeRate + "late_rate,2026-10-11,0.002,0.002,1\ndebt,2026-09-20,2026-08,100", "100.00 × 0.001 × 10 = 1.00; 100.00 × 0.002 × 21 = 4.20"},
		"a contract that ends":                        {"2026-10", homeRate + "late_rate,2026-10-11,0,0,0\ndebt,2026-09-20,2026-08,100", "100.00 × 0.001 × 10 = 1.00"},
		"not due before the month is over":            {"2026-10", homeRate + "debt,2026-10-31,2026-09,100", ""},
		"no contract":                                 {"2026-10", "late_rate,2020-01-01,0,0,0\ndebt,2026-09-20,2026-08,100", ""},
		"nothing that rounds to a fen has no least":   {"2026-10", homeRate + "debt,2026-10-30,2026-09,4", ""},
		"a debt of an open period waits for its bill": {"2026-10", "open\n" + homeRate + "debt,2026-09-20,2026-08,100", ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, lateLines(lateIn(t, c.month, c.facts))) })
	}
}

// However long a debt stands and however it is paid, the bills of its months together come to the sum of its days, or to the least.
func TestLate_monthsAddUp(t *testing.T) {
	for seed := range uint64(300) {
		g := rand.New(rand.NewPCG(seed, 30))
		facts := strings.Builder{}
		facts.WriteString(otherRate)
		fmt.Fprintf(&facts, "debt,2026-0%d-%02d,2026-01,%d.%02d\n", 2+g.IntN(3), 1+g.IntN(28), g.IntN(40), g.IntN(100))
		for day := billing.MustDate("2026-03-01"); g.IntN(4) > 0; day = day.AddDays(g.IntN(60)) {
			fmt.Fprintf(&facts, "paid,%s,%d\n", day, g.IntN(12)-1)
		}
		var days, charged billing.Money
		for m := 2; m <= 14; m++ {
			r := lateIn(t, billing.MonthPeriod(billing.NewDate(2026, 1, 1).AddDays(31*(m-1))).String(), facts.String())
			charged += r.Late
			require.GreaterOrEqual(t, r.Late, billing.Money(0))
			for _, l := range r.Lines {
				if l.Component == rating.LateFee {
					days += l.Amount
				}
			}
		}
		if days > 0 {
			days = max(days, billing.Yuan)
		}
		require.Equal(t, days, charged, "seed %d\n%s", seed, facts.String())
	}
}

func TestLate_isDerivedAgain(t *testing.T) {
	p := must(billing.ParseMonth("2026-10"))
	in := must(rating.ParseUsage(fmt.Sprintf("period,%s,%s\nreading,%sT00:00,total=1\nreading,%sT00:00,total=11\n", p.From, p.To, p.From, p.To)+homeRate+"debt,2026-09-20,2026-08,100\npaid,2026-10-11,40\n",
		billing.Tariff{ID: "flat", Service: billing.Power, Versions: []billing.TariffVersion{{From: billing.MustDate("2000-01-01"), Components: []billing.Component{
			{Key: "energy", Kind: billing.KindFlat, Price: &[]billing.Price{billing.MustPrice("1")}[0]}, {Key: "tax", Kind: billing.KindTax, Rate: billing.MustFactor("0.1"), Of: []string{"energy"}}}}}}))
	once := must(rating.Rate(in))
	require.Equal(t, billing.Money(226), once.Late)
	require.Equal(t, billing.Money(1100+226), once.Total, "no tax on the late fee")
	again, err := rating.Again(rating.Engine, must(json.Marshal(in.Store())))
	require.NoError(t, err)
	require.Equal(t, once, again)
}

func TestLate_refusesDisorder(t *testing.T) {
	for facts, want := range map[string]string{
		"debt,2026-09-20,2026-08,100\ndebt,2026-08-20,2026-07,100":       "line 2: The debt due on 2026-08-20 stands after that of 2026-09-20",
		"paid,2026-09-20,1\npaid,2026-09-19,1":                           "line 2: The payment of 2026-09-19 stands after",
		"late_rate,2026-01-01,0.1,0.1,1\nlate_rate,2026-01-01,0.1,0.1,1": "line 2: The late fee of 2026-01-01 stands after",
		"late_rate,2026-01-01,-0.1,0.1,1":                                "line 1: The late fee of 2026-01-01 is negative",
		"debt,2026-09-20,2026-08,-1":                                     "line 1: The debt due on 2026-09-20 is negative",
		"debt,2026-09-20,2026-08,1.234":                                  "line 1: The amount",
		"debt,2026-09-20,1":                                              "line 1: debt needs 3 fields",
	} {
		_, err := rating.ParseUsage(facts, billing.Tariff{ID: "flat"})
		require.ErrorContains(t, err, want)
	}
}
