package rating_test

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

var march = time.Date(2026, 3, 1, 0, 0, 0, 0, shanghai)

// billed is a period on one meter of ratio 1 as it was issued.
func billed(t require.TestingT, id billing.BillID, in rating.Input) rating.Billed {
	r, err := rating.Rate(in)
	require.NoError(t, err)
	return rating.Billed{Bill: id, Input: in, Total: r.Total}
}

// period is an input between two totals of one meter.
func period(tariff billing.Tariff, from, to time.Time, opening, closing int64) rating.Input {
	return rating.Input{
		Tariff: tariff, Location: shanghai, From: from, To: to, Fittings: []rating.Fitting{{No: 1, Meter: "M1", Ratio: 1, Digits: 10}},
		Points: []rating.Point{{At: from, Registers: billing.Registers{opening}, Fitting: 1}, {At: to, Registers: billing.Registers{closing}, Fitting: 1}},
	}
}

func lineTexts(a rating.Adjustment) []string {
	var texts []string
	for _, l := range a.Lines {
		texts = append(texts, fmt.Sprintf("%s %s tier %d: %s -> %s at %s: %s -> %s = %s", l.Bill, l.Component, l.Tier, l.BilledQuantity, l.TrueQuantity, l.Price, l.BilledFen, l.TrueFen, l.Amount))
	}
	return texts
}

// An exam question on 供电营业规则 Art. 80 (1), with its published answer (tk.swop.cn, question 4161132; the formula of the relative error,
// measured less true over true, also in the course 电能表错误接线退补计算 at 360docs.net): a meter is 10 % slow and registered 900,000 kWh
// since it was fitted. (1 − 10 %) W = 900,000, so W = 1,000,000; for half of the time 50,000 kWh are owed. At an even use, half of the
// time has half of the registered use: here January of January and a February of the same use, adjusted for February alone. At
// 0.5 yuan/kWh: 500,000 × 0.5 − 450,000 × 0.5 = 25,000.00 yuan.
func TestAdjust_publishedExample(t *testing.T) {
	tariff := plan(t, billing.Power, flat("energy", "0.5"))
	bills := []rating.Billed{billed(t, "B1", period(tariff, january, february, 0, 45_000_000)), billed(t, "B2", period(tariff, february, march, 45_000_000, 90_000_000))}
	a, err := rating.Adjust(bills, nil, rating.Fault{Meter: "M1", From: february, To: march, Factor: rating.MeterError(billing.MustPercent("-10"))})
	require.NoError(t, err)
	require.Equal(t, billing.Registers{45_000_000}, a.Registered)
	require.Equal(t, billing.Registers{5_000_000}, a.Difference, "50,000 kWh")
	require.Equal(t, 25_000*billing.Yuan, a.Total)
	require.Equal(t, []string{"B2 energy tier 0: 450000 -> 500000 at 0.5: 225000.00 -> 250000.00 = 25000.00"}, lineTexts(a))
}

// Worked by hand. Zhejiang's household steps of a year (0.538 to 2,760 kWh, then 0.588), 2,660 kWh used before January. January 150 kWh
// and February 200 kWh as read; the meter is 2.5 % fast, and the second half of January (75 of its 150 kWh) is adjusted:
//
//	true use = 75 ÷ 1.025 = 73.1707… = 73.17 kWh, which is 1.83 kWh less
//	January  as billed: 100 × 0.538 = 53.80, 50    × 0.588 = 29.40
//	         truly:     100 × 0.538 = 53.80, 48.17 × 0.588 = 28.32396 = 28.32   → −1.08
//	February stays above the step either way                                    → 0
//
// With 2,560 kWh before, January ends at 2,710 or 2,708.17, and February crosses the step:
//
//	January  as billed: 150 × 0.538 = 80.70; truly 148.17 × 0.538 = 79.71546 = 79.72 → −0.98
//	February as billed: 50 × 0.538 = 26.90, 150 × 0.588 = 88.20
//	         truly:     51.83 × 0.538 = 27.88454 = 27.88, 148.17 × 0.588 = 87.12396 = 87.12 → +0.98, −1.08
func TestAdjust_stepsWorkedByHand(t *testing.T) {
	tariff := plan(t, billing.Power, tiers("energy", billing.PerYear, [2]string{"2760", "0.538"}, [2]string{"", "0.588"}))
	half := time.Date(2026, 1, 16, 12, 0, 0, 0, shanghai)
	for _, c := range []struct {
		before int64
		lines  []string
		total  billing.Money
	}{
		{266_000, []string{"B1 energy tier 2: 50 -> 48.17 at 0.588: 29.40 -> 28.32 = -1.08"}, -108},
		{256_000, []string{
			"B1 energy tier 1: 150 -> 148.17 at 0.538: 80.70 -> 79.72 = -0.98",
			"B2 energy tier 1: 50 -> 51.83 at 0.538: 26.90 -> 27.88 = 0.98",
			"B2 energy tier 2: 150 -> 148.17 at 0.588: 88.20 -> 87.12 = -1.08"}, -108},
	} {
		first, second := period(tariff, january, february, 0, 15_000), period(tariff, february, march, 15_000, 35_000)
		first.UsedInYear, second.UsedInYear = billing.Power.Quantity(c.before), billing.Power.Quantity(c.before+15_000)
		a, err := rating.Adjust([]rating.Billed{billed(t, "B1", first), billed(t, "B2", second)}, nil,
			rating.Fault{Meter: "M1", From: half, To: february, Opening: billing.Registers{7500}, Factor: rating.MeterError(billing.MustPercent("2.5"))})
		require.NoError(t, err)
		require.Equal(t, billing.Registers{7500}, a.Registered)
		require.Equal(t, billing.Registers{-183}, a.Difference)
		require.Equal(t, c.lines, lineTexts(a))
		require.Equal(t, c.total, a.Total)
		require.Equal(t, int64(-183), a.Bills[0].Steps)
	}
}

// Worked by hand. Water with a part that is charged on 0.9 of it: a meter stood still for ten days of February (28 days), and January with
// its 31 m³ in 31 days is the normal month: 1 m³ a day, so 10 m³ are missing of the 18 m³ that were billed.
//
//	supply 10 × 2.5 = 25.00; sewage 28 × 0.9 × 1.3 = 32.76 less 18 × 0.9 × 1.3 = 21.06 is 11.70
func TestAdjust_normalMonthWorkedByHand(t *testing.T) {
	sewage := flat("sewage", "1.3")
	sewage.Factor = billing.MustFactor("0.9")
	tariff := plan(t, billing.Water, flat("supply", "2.5"), sewage)
	b := billed(t, "B2", period(tariff, february, march, 31_000, 49_000))
	stood := rating.Fault{Meter: "M1", From: february.AddDate(0, 0, 5), To: february.AddDate(0, 0, 15), Opening: billing.Registers{36_000}, Closing: billing.Registers{36_000},
		Normal: billing.Registers{31_000}, NormalDays: 31}
	a, err := rating.Adjust([]rating.Billed{b}, nil, stood)
	require.NoError(t, err)
	require.Equal(t, billing.Registers{0}, a.Registered)
	require.Equal(t, billing.Registers{10_000}, a.Difference)
	require.Equal(t, []string{"B2 supply tier 0: 18 -> 28 at 2.5: 45.00 -> 70.00 = 25.00", "B2 sewage tier 0: 18 -> 28 at 1.3: 21.06 -> 32.76 = 11.70"}, lineTexts(a))
	require.Equal(t, billing.Money(36_70), a.Total)
}

// 供电营业规则 Art. 81 (1): with one of three phases wired the wrong way round a meter registers a third of the use; the true use is 200 %
// more than what it registered (the difference rate (P − P')/P' = (3 − 1)/1).
func TestAdjust_wrongWiring(t *testing.T) {
	tariff := plan(t, billing.Power, flat("energy", "0.6"))
	a, err := rating.Adjust([]rating.Billed{billed(t, "B1", period(tariff, january, february, 0, 10_000))}, nil,
		rating.Fault{Meter: "M1", From: january, To: february, Factor: rating.WiringDifference(billing.MustPercent("200"))})
	require.NoError(t, err)
	require.Equal(t, billing.Registers{20_000}, a.Difference)
	require.Equal(t, billing.Money(120_00), a.Total)
}

func TestAdjust_refusesWhatItCantDerive(t *testing.T) {
	tariff := plan(t, billing.Power, flat("energy", "0.6"))
	fault := rating.Fault{Meter: "M1", From: january, To: february.AddDate(0, 0, -5), Closing: billing.Registers{12_000}, Factor: big.NewRat(2, 1)}
	b := billed(t, "B1", period(tariff, january, february, 0, 10_000))
	_, err := rating.Adjust([]rating.Billed{b}, nil, fault)
	require.ErrorContains(t, err, "don't lie within what was billed")
	b.Total++
	_, err = rating.Adjust([]rating.Billed{b}, nil, fault)
	require.ErrorContains(t, err, "come out of the input that it keeps")
}

// What is wrong by nothing changes nothing, whatever the tariff: the pricing of segments gives the lines that they came from.
func TestAdjust_zeroDifferenceIsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawAny(t)
		r, err := rating.Rate(in)
		if err != nil {
			t.Skip(err)
		}
		a, err := rating.Adjust([]rating.Billed{{Bill: "B1", Input: in, Total: r.Total}}, nil, rating.Fault{Meter: "M1", From: in.From.AddDate(0, 0, 3), To: in.To, Factor: big.NewRat(1, 1)})
		require.NoError(t, err)
		require.Empty(t, a.Lines)
		require.Empty(t, a.Bills)
		require.Zero(t, a.Total)
	})
}

// faulty is two months of one account: what its meter registered, and what it would have without its faults.
type faulty struct {
	read, truth [2]rating.Input
	faults      [2]rating.Fault
}

// drawFaulty makes a meter that registers e percent wrongly from 11 January to 1 February, and e' from 11 February on. All uses are
// multiples of 100 raw units, so that what it registers is exact too.
func drawFaulty(t *rapid.T) faulty {
	tariff := drawTariff(t, billing.PerYear)
	ats := []time.Time{january, january.AddDate(0, 0, 10), february, february.AddDate(0, 0, 10), march}
	ratio := rapid.Int64Range(1, 40).Draw(t, "ratio")
	percent := [4]int64{0, rapid.Int64Range(-60, 60).Draw(t, "e"), 0, rapid.Int64Range(-60, 60).Draw(t, "e'")}
	read, truth := []rating.Point{{At: january, Registers: make(billing.Registers, 6), Fitting: 1}}, []rating.Point{{At: january, Registers: make(billing.Registers, 6), Fitting: 1}}
	for n := range percent {
		r, x := rating.Point{At: ats[n+1], Registers: make(billing.Registers, 6), Fitting: 1}, rating.Point{At: ats[n+1], Registers: make(billing.Registers, 6), Fitting: 1}
		copy(r.Registers, read[n].Registers)
		copy(x.Registers, truth[n].Registers)
		for band := 1; band < 6; band++ {
			hundreds := rapid.Int64Range(0, 90).Draw(t, "use")
			r.Registers[band] += hundreds * (100 + percent[n])
			r.Registers[0] += hundreds * (100 + percent[n])
			x.Registers[band] += hundreds * 100
			x.Registers[0] += hundreds * 100
		}
		read, truth = append(read, r), append(truth, x)
	}
	used := rapid.Int64Range(0, 100_000).Draw(t, "used")
	inputs := func(points []rating.Point) (in [2]rating.Input) {
		for month, at := range [][3]int{{0, 2, 0}, {2, 4, 1}} {
			in[month] = rating.Input{
				Tariff: tariff, Location: shanghai, From: points[at[0]].At, To: points[at[1]].At, Points: []rating.Point{points[at[0]], points[at[1]]},
				Fittings:   []rating.Fitting{{No: 1, Meter: "M1", Ratio: ratio, Digits: 10}},
				UsedInYear: billing.Power.Quantity(used + points[at[0]].Registers.Total()*ratio),
			}
		}
		return in
	}
	f := faulty{read: inputs(read), truth: inputs(truth)}
	for i, n := range []int{1, 3} {
		f.faults[i] = rating.Fault{Meter: "M1", From: ats[n], To: ats[n+1], Opening: read[n].Registers, Closing: read[n+1].Registers,
			Factor: rating.MeterError(billing.MustPercent(fmt.Sprint(percent[n])))}
	}
	return f
}

// Billed as read and then adjusted, fault after fault in either order, comes to what the true use costs: to the fen, through steps that
// count on from month to month.
func TestAdjust_endsWhereTheTruthDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFaulty(t)
		bills := []rating.Billed{billed(t, "B1", f.read[0]), billed(t, "B2", f.read[1])}
		truth := billed(t, "", f.truth[0]).Total + billed(t, "", f.truth[1]).Total
		one, other := f.faults[0], f.faults[1]
		if rapid.Bool().Draw(t, "the later fault first") {
			one, other = other, one
		}
		first, err := rating.Adjust(bills, nil, one)
		require.NoError(t, err)
		second, err := rating.Adjust(bills, []rating.Fault{one}, other)
		require.NoError(t, err)
		require.Equal(t, truth, bills[0].Total+bills[1].Total+first.Total+second.Total)
		for _, a := range []rating.Adjustment{first, second} {
			var lines, ofBills billing.Money
			for _, l := range a.Lines {
				lines += l.Amount
				was, err := billing.Charge(l.BilledQuantity, l.Price, l.Factor)
				require.NoError(t, err)
				is, err := billing.Charge(l.TrueQuantity, l.Price, l.Factor)
				require.NoError(t, err)
				require.Equal(t, [3]billing.Money{was, is, is - was}, [3]billing.Money{l.BilledFen, l.TrueFen, l.Amount}, "each is its own product, rounded once")
			}
			for _, b := range a.Bills {
				ofBills += b.TrueFen - b.BilledFen
			}
			require.Equal(t, a.Total, lines)
			require.Equal(t, a.Total, ofBills)
		}
	})
}

// A bill that is issued after a fault was adjusted counts the true use toward its steps: then it needs no adjustment, and a later fault is
// reckoned on it as it was issued.
func TestAdjust_laterBillsCountTheTrueUse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFaulty(t)
		bills := []rating.Billed{billed(t, "B1", f.read[0])}
		first, err := rating.Adjust(bills, nil, f.faults[0])
		require.NoError(t, err)
		carried := int64(0)
		for _, b := range first.Bills {
			carried += b.Steps
		}
		february := f.read[1]
		raw, err := billing.Power.Raw(february.UsedInYear)
		require.NoError(t, err)
		february.UsedInYear = billing.Power.Quantity(raw + carried)
		bills = append(bills, billed(t, "B2", february))
		done := f.faults[0]
		done.NextFrom = billing.MustDate("2026-02-01")
		second, err := rating.Adjust(bills, []rating.Fault{done}, f.faults[1])
		require.NoError(t, err)
		truth := billed(t, "", f.truth[0]).Total + billed(t, "", f.truth[1]).Total
		require.Equal(t, truth, bills[0].Total+bills[1].Total+first.Total+second.Total)
	})
}
