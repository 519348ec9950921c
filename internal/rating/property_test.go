package rating_test

import (
	"fmt"
	"math/big"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

// drawTariff makes bands + step adder + flat with a factor, in random numbers.
func drawTariff(t *rapid.T, per billing.Accumulate) billing.Tariff {
	price := func(name string) string {
		return fmt.Sprintf("0.%08d", rapid.IntRange(0, 99999999).Draw(t, name))
	}
	first := rapid.IntRange(1, 500).Draw(t, "first edge")
	second := first + rapid.IntRange(1, 500).Draw(t, "second edge")
	factor := flat("sewage", price("sewage"))
	factor.Factor = billing.MustFactor("0.9")
	return plan(t, billing.Power,
		bands("energy", price("sharp"), price("peak"), price("flat"), price("valley"), price("deep")),
		tiers("step", per, [2]string{strconv.Itoa(first), "0"}, [2]string{strconv.Itoa(second), price("tier 2")}, [2]string{"", price("tier 3")}),
		factor)
}

// drawPoints makes hourly-to-weekly readings of January, through rollovers.
func drawPoints(t *rapid.T, count int) []rating.Point {
	wrap := billing.Wrap(6)
	at, registers := january, billing.Registers{0, 0, 0, 0, 0, 0}
	for i := range registers {
		registers[i] = rapid.Int64Range(0, wrap-1).Draw(t, "opening")
	}
	step := february.Sub(january) / time.Duration(count)
	points := []rating.Point{{At: at, Registers: registers, Fitting: 1}}
	for n := range count {
		next := make(billing.Registers, 6)
		for i := 1; i < 6; i++ {
			use := rapid.Int64Range(0, 9000).Draw(t, "use")
			next[i] = (registers[i] + use) % wrap
			next[0] += use
		}
		next[0] = (registers[0] + next[0]) % wrap
		at, registers = january.Add(step*time.Duration(n+1)), next
		if n == count-1 {
			at = february
		}
		points = append(points, rating.Point{At: at, Registers: registers, Fitting: 1})
	}
	return points
}

func drawInput(t *rapid.T) rating.Input {
	per := rapid.SampledFrom([]billing.Accumulate{billing.PerYear, billing.PerMonth}).Draw(t, "per")
	used := billing.Power.Quantity(rapid.Int64Range(0, 100000).Draw(t, "used"))
	in := rating.Input{
		Tariff: drawTariff(t, per), Location: shanghai, From: january, To: february,
		Fittings: []rating.Fitting{{No: 1, Meter: "M1", Ratio: rapid.Int64Range(1, 40).Draw(t, "ratio"), Digits: 6}},
		Points:   drawPoints(t, rapid.IntRange(1, 8).Draw(t, "readings")),
	}
	in.UsedInYear, in.UsedInMonth = used, used
	return in
}

// exact is the unrounded price of a bill in yuan.
func exact(bill rating.Result) *big.Rat {
	sum := new(big.Rat)
	for _, line := range bill.Lines {
		part := rat(line.Quantity.String())
		part.Mul(part, rat(line.Price.String()))
		if !line.Factor.IsZero() {
			part.Mul(part, rat(line.Factor.String()))
		}
		sum.Add(sum, part)
	}
	return sum
}

func rat(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		panic("not a number: " + s)
	}
	return r
}

// naive prices the same use from the tariff's text with rationals: each tier
// is the overlap of [used, used+use] with the tier.
func naive(in rating.Input, use billing.Registers) *big.Rat {
	sum := new(big.Rat)
	for _, c := range in.Tariff.Versions[0].Components {
		factor := big.NewRat(1, 1)
		if !c.Factor.IsZero() {
			factor = rat(c.Factor.String())
		}
		charge := func(raw *big.Rat, price *billing.Price) {
			part := new(big.Rat).Mul(raw, rat(price.String()))
			sum.Add(sum, part.Mul(part, factor))
		}
		total := big.NewRat(use.Total(), 100)
		switch c.Kind {
		case billing.KindFlat:
			charge(total, c.Price)
		case billing.KindBands:
			for _, b := range c.Bands {
				charge(big.NewRat(use[b.Register], 100), b.Price)
			}
		case billing.KindSteps:
			low := rat(in.UsedInYear.String())
			high := new(big.Rat).Add(low, total)
			start := new(big.Rat)
			for _, tier := range c.Tiers {
				from, to := start, high
				if low.Cmp(from) > 0 {
					from = low
				}
				if tier.UpTo != nil {
					start = rat(tier.UpTo.String())
					if start.Cmp(to) < 0 {
						to = start
					}
				}
				if from.Cmp(to) < 0 {
					charge(new(big.Rat).Sub(to, from), tier.Price)
				}
			}
		}
	}
	return sum
}

func TestRate_isIndependentOfReadingsInBetween(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		often, err := rating.Rate(in)
		require.NoError(t, err)
		in.Points = []rating.Point{in.Points[0], in.Points[len(in.Points)-1]}
		rarely, err := rating.Rate(in)
		require.NoError(t, err)
		require.Equal(t, rarely, often)
	})
}

func TestRate_agreesWithTheTariffsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		bill, err := rating.Rate(in)
		require.NoError(t, err)
		require.Zero(t, naive(in, bill.Use).Cmp(exact(bill)))

		var sum billing.Money
		for _, line := range bill.Lines {
			sum += line.Amount
			amount, err := billing.Charge(line.Quantity, line.Price, line.Factor)
			require.NoError(t, err)
			require.Equal(t, amount, line.Amount)
		}
		require.Equal(t, sum, bill.Total)
	})
}

// price(a) + price(b after a) = price(a+b), before rounding.
func TestRate_isAdditive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		whole, err := rating.Rate(in)
		require.NoError(t, err)

		middle := in.Points[rapid.IntRange(0, len(in.Points)-1).Draw(t, "middle")].At
		if middle.Equal(in.From) || middle.Equal(in.To) {
			return
		}
		first, second := in, in
		first.To, second.From = middle, middle
		a, err := rating.Rate(first)
		require.NoError(t, err)
		used, err := in.UsedInYear.Add(a.Quantity(billing.Total))
		require.NoError(t, err)
		second.UsedInYear, second.UsedInMonth = used, used
		b, err := rating.Rate(second)
		require.NoError(t, err)
		require.Zero(t, new(big.Rat).Add(exact(a), exact(b)).Cmp(exact(whole)))
		for i := range whole.Use {
			require.Equal(t, whole.Use[i], a.Use[i]+b.Use[i])
		}
	})
}

func TestRate_daysAddUpToThePeriod(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		whole, err := rating.Rate(in)
		require.NoError(t, err)
		var charged billing.Money
		for _, p := range in.Points[1:] {
			toDate := in
			toDate.To = p.At
			bill, err := rating.Rate(toDate)
			require.NoError(t, err)
			today, err := rating.ChargeToDate(bill.Total, charged)
			require.NoError(t, err)
			charged += today
		}
		require.Equal(t, whole.Total, charged)
	})
}

// Whatever the splits, no raw unit is lost, gained or billed twice.
func TestRate_splitsLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		second := in.Tariff.Versions[0]
		second.From = billing.NewDate(2026, time.January, rapid.IntRange(2, 31).Draw(t, "price change"))
		in.Tariff.Versions = append(in.Tariff.Versions, second)
		bill, err := rating.Rate(in)
		require.NoError(t, err)
		require.Len(t, bill.Segments, 2)
		require.Equal(t, bill.Segments[0].Closing, bill.Segments[1].Opening, "no gap and no overlap")
		ends := in
		ends.Tariff.Versions = in.Tariff.Versions[:1]
		ends.Points = []rating.Point{in.Points[0], in.Points[len(in.Points)-1]}
		unsplit, err := rating.Rate(ends)
		require.NoError(t, err)
		require.Equal(t, unsplit.Use, bill.Use)
		require.Zero(t, exact(unsplit).Cmp(exact(bill)), "the same price on both sides costs the same")
		require.Equal(t, bill.Use.Total(), bill.Use.BandSum())
	})
}

// Steps of a year and of a month start again at local midnight, not at UTC's.
func TestRate_stepCountsStartAgain(t *testing.T) {
	tariff := plan(t, billing.Power,
		tiers("year", billing.PerYear, [2]string{"100", "1"}, [2]string{"", "2"}),
		tiers("month", billing.PerMonth, [2]string{"50", "10"}, [2]string{"", "20"}))
	in := inJanuary(tariff, billing.Registers{0})
	december, march := time.Date(2025, 12, 1, 0, 0, 0, 0, shanghai), time.Date(2026, 3, 1, 0, 0, 0, 0, shanghai)
	in.From, in.To = december, march
	in.UsedInYear = billing.MustQuantity("95")
	in.Points = nil
	for i, at := range []time.Time{december, january, february, march} {
		in.Points = append(in.Points, rating.Point{At: at, Registers: billing.Registers{int64(i) * 60_00}, Fitting: 1})
	}
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	var got []string
	for _, l := range bill.Lines {
		got = append(got, l.From.In(shanghai).Format("01 ")+l.Component+" "+l.Quantity.String()+" × "+l.Price.String())
	}
	require.Equal(t, []string{
		"12 year 5 × 1", "12 year 55 × 2", "12 month 50 × 10", "12 month 10 × 20",
		"01 year 60 × 1", "01 month 50 × 10", "01 month 10 × 20",
		"02 year 40 × 1", "02 year 20 × 2", "02 month 50 × 10", "02 month 10 × 20",
	}, got)
}

// The bill is the same from stored UTC inputs as from local ones.
func TestRate_reRatesToTheSameText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		local, err := rating.Rate(in)
		require.NoError(t, err)
		in.From, in.To = in.From.UTC(), in.To.UTC()
		for i := range in.Points {
			in.Points[i].At = in.Points[i].At.UTC()
		}
		stored, err := rating.Rate(in)
		require.NoError(t, err)
		require.Equal(t, local, stored)
	})
}
