package rating_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
	"github.com/meterflow/meterflow/internal/rating"
)

// inMonth rates use in a month of 2026 on one meter.
func inMonth(tariff billing.Tariff, month time.Month, use billing.Registers) rating.Input {
	in := inJanuary(tariff, use)
	in.From, in.To = time.Date(2026, month, 1, 0, 0, 0, 0, shanghai), time.Date(2026, month+1, 1, 0, 0, 0, 0, shanghai)
	in.Points[0].At, in.Points[1].At = in.From, in.To
	return in
}

// testTariff reads a published tariff of testdata/tariffs.
func testTariff(t require.TestingT, id string) billing.Tariff {
	data, err := os.ReadFile("testdata/tariffs/" + id + ".json")
	require.NoError(t, err)
	tariff, err := tariffdata.Parse(data)
	require.NoError(t, err)
	return tariff
}

func named(c billing.Component) billing.Component {
	c.Name = billing.Names{ZH: c.Key, EN: c.Key}
	return c
}

func priceOf(s string) *billing.Price {
	p := billing.MustPrice(s)
	return &p
}

func quantityOf(s string) *billing.Quantity {
	q := billing.MustQuantity(s)
	return &q
}

func amounts(r rating.Result) []string {
	var list []string
	for _, l := range r.Lines {
		list = append(list, l.Component+" "+l.Amount.String())
	}
	return list
}

// W01 and W02 from one tariff: the season's edges come with the month. The
// published prices are rounded to three decimals.
func TestRate_guangzhouSeasonalSteps(t *testing.T) {
	tariff := demoTariff(t, tariffdata.GuangzhouResidential)
	for i := range tariff.Versions[0].Components[0].Seasons {
		for k, p := range []string{"0.589", "0.639", "0.889"} {
			tariff.Versions[0].Components[0].Seasons[i].Tiers[k].Price = priceOf(p)
		}
	}
	for month, want := range map[time.Month]string{time.July: "370.40", time.October: "370.40", time.November: "423.40", time.February: "423.40"} {
		bill, err := rating.Rate(inMonth(tariff, month, billing.Registers{600_00}))
		require.NoError(t, err)
		require.Equal(t, want, bill.Total.String(), month)
	}
	// A household of many people has 360/700 and 300/500.
	for month, edges := range map[time.Month][]string{time.July: {"360", "340", "100"}, time.November: {"300", "200", "300"}} {
		in := inMonth(tariff, month, billing.Registers{800_00})
		in.Terms = []rating.Terms{{From: billing.MustDate("2020-01-01"), Persons: 5}}
		bill, err := rating.Rate(in)
		require.NoError(t, err)
		var parts []string
		for _, l := range bill.Lines {
			parts = append(parts, l.Quantity.String())
		}
		require.Equal(t, edges, parts, month)
	}
}

// W10: Shanghai two-part, below 1 kV, June 2026: 0.43508 + 0.011863 + 0.1456 + 0.040718 + 0.029115; purchase and transmission
// follow the band, the rest doesn't.
func TestRate_shanghaiTwoPartUnitPrices(t *testing.T) {
	one, loss := billing.MustFactor("1"), billing.MustFactor("0.5")
	peak := billing.MustFactor("1.6")
	byBand := func(key, price string) billing.Component {
		c := named(billing.Component{Key: key, Kind: billing.KindBands, Price: priceOf(price)})
		for i, f := range []*billing.Factor{&peak, &peak, &one, &loss, &loss} {
			c.Bands = append(c.Bands, billing.BandPrice{Register: billing.Bands[i], Ratio: f})
		}
		return c
	}
	tariff := plan(t, billing.Power, byBand("purchase", "0.43508"), flat("loss", "0.011863"), byBand("transmission", "0.1456"), flat("system", "0.040718"), flat("funds", "0.029115"))
	for band, want := range map[billing.Register]string{billing.Peak: "1.010784", billing.Flat: "0.662376", billing.Valley: "0.372036"} {
		use := make(billing.Registers, 6)
		use[billing.Total], use[band] = 1000000_00, 1000000_00
		bill, err := rating.Rate(inJanuary(tariff, use))
		require.NoError(t, err)
		require.Equal(t, want, bill.UnitPrice().String(), band)
	}
	require.Equal(t, "1.010784", tariff.Versions[0].HighestUnitPrice().String())
}

// W12 and W13: demand charges of Hubei, September and October 2025, as printed on the bills.
func TestRate_hubeiDemand(t *testing.T) {
	demand := named(billing.Component{Key: "demand", Kind: billing.KindDemand, Basis: billing.DemandMeasured, Price: priceOf("39")})
	for kW, want := range map[string]string{"30842.066223": "1202840.58", "1.933777": "75.42", "30844": "1202916.00", "28413": "1108107.00"} {
		for _, month := range []time.Month{time.September, time.October, time.February} {
			in := inMonth(plan(t, billing.Power, demand), month, billing.Registers{0})
			in.Months = []rating.Month{{First: billing.NewDate(2026, month, 1), DemandKW: quantityOf(kW)}}
			bill, err := rating.Rate(in)
			require.NoError(t, err)
			require.Equal(t, want, bill.Total.String(), "a whole month is one month, whether it has 28 days or 31")
		}
	}
}

// W14, W15 and W22: adjustments on sums. The bill of W14 prints -9205.79, because it adds adjustments rounded per component: our
// one line is within its tolerance of 0.01.
func TestRate_powerFactorOnSums(t *testing.T) {
	for _, c := range []struct{ name, basic, energy, kvarh, factor, ratio, adjustment string }{
		{"W14", "6137186.50", "0", "460000", "0.91", "-0.0015", "-9205.78"},
		{"W15 before", "184000", "0.08", "1020000", "0.70", "0.1", "26400.00"},
		{"W15 after", "184000", "0.08", "330000", "0.95", "-0.0075", "-1980.00"},
		{"W22", "100", "0", "1333300", "0.60", "0.25", "25.00"},
		{"no reactive energy", "100", "0", "0", "1.00", "-0.0075", "-0.75"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tariff := plan(t, billing.Power,
				flat("energy", c.energy), flat("fund", "0.01"),
				named(billing.Component{Key: "basic", Kind: billing.KindDemand, Basis: billing.DemandMeasured, Price: priceOf(c.basic)}),
				named(billing.Component{Key: "pf", Kind: billing.KindPowerFactor, Standard: billing.MustFactor("0.90"), Of: []string{"energy", "basic"}}))
			in := inJanuary(tariff, billing.Registers{1000000_00})
			in.Months = []rating.Month{{First: billing.MustDate("2026-01-01"), DemandKW: quantityOf("1"), Kvarh: quantityOf(c.kvarh)}}
			bill, err := rating.Rate(in)
			require.NoError(t, err)
			last := bill.Lines[len(bill.Lines)-1]
			require.Equal(t, []string{c.adjustment, c.ratio}, []string{last.Amount.String(), last.Price.String()}, "the fund isn't in the base")
			require.Equal(t, c.factor, billing.FormatHundredths(bill.PowerFactors[0].Factor))
		})
	}
}

// W18: 1000 + 630 kVA at 15 yuan; 1000 kVA suspended from 11 June at half the charge: 19 450 yuan.
func TestRate_suspendedTransformer(t *testing.T) {
	in := inMonth(plan(t, billing.Power, named(billing.Component{Key: "basic", Kind: billing.KindCapacity, Price: priceOf("15"), Suspended: billing.MustFactor("0.5")})), time.June, billing.Registers{0})
	in.Terms = []rating.Terms{
		{From: billing.MustDate("2025-10-01"), CapacityKVA: billing.MustQuantity("1630")},
		{From: billing.MustDate("2026-06-11"), CapacityKVA: billing.MustQuantity("630"), SuspendedKVA: billing.MustQuantity("1000")},
	}
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, []string{"basic 8150.00", "basic 6300.00", "basic 5000.00"}, amounts(bill))
	require.Equal(t, "19450.00", bill.Total.String())
	require.Equal(t, []int{10, 20, 20}, []int{bill.Lines[0].Thirtieths, bill.Lines[1].Thirtieths, bill.Lines[2].Thirtieths})
}

// A day is a thirtieth, a whole month one month, and never more than that.
func TestRate_partMonths(t *testing.T) {
	tariff := plan(t, billing.Power, named(billing.Component{Key: "basic", Kind: billing.KindCapacity, Price: priceOf("30")}))
	for _, c := range []struct {
		from, to, change string
		want             []string
	}{
		{"2026-01-01", "2026-02-01", "", []string{"basic 3000.00"}},
		{"2026-01-02", "2026-02-01", "", []string{"basic 3000.00"}},
		{"2026-01-17", "2026-02-01", "", []string{"basic 1500.00"}},
		{"2026-02-01", "2026-03-01", "", []string{"basic 3000.00"}},
		{"2026-02-01", "2026-02-28", "", []string{"basic 2700.00"}},
		{"2026-02-15", "2026-03-01", "", []string{"basic 1400.00"}},
		{"2026-01-01", "2026-02-01", "2026-01-11", []string{"basic 1000.00", "basic 4000.00"}},
		{"2026-02-01", "2026-03-01", "2026-02-11", []string{"basic 1000.00", "basic 4000.00"}},
		{"2026-01-01", "2026-02-01", "2026-01-31", []string{"basic 3000.00"}},
		{"2026-01-01", "2026-03-11", "", []string{"basic 3000.00", "basic 3000.00", "basic 1000.00"}},
	} {
		in := inJanuary(tariff, billing.Registers{0})
		in.From, in.To = billing.MustDate(c.from).Start(shanghai), billing.MustDate(c.to).Start(shanghai)
		in.Points[0].At, in.Points[1].At = in.From, in.To
		in.Terms = []rating.Terms{{From: billing.MustDate("2025-01-01"), CapacityKVA: billing.MustQuantity("100")}}
		if c.change != "" {
			in.Terms = append(in.Terms, rating.Terms{From: billing.MustDate(c.change), CapacityKVA: billing.MustQuantity("200")})
		}
		bill, err := rating.Rate(in)
		require.NoError(t, err)
		require.Equal(t, c.want, amounts(bill), "%v", c)
	}
}

// Shanghai's prices by tier and band; worked by hand. 3000 kWh were used: 120 kWh are left in tier 1.
func TestRate_shanghaiPricesByTierAndBand(t *testing.T) {
	for order, want := range map[billing.StepOrder][]string{
		// 72 and 48 of 120, 48 and 32 of 80: 44.424, 14.736, 32.496, 10.784.
		billing.StepsFirst: {"44.42", "14.74", "32.50", "10.78"},
		// All peak use in tier 1, all valley use in tier 2: 74.04, 26.96.
		billing.BandsFirst: {"74.04", "26.96"},
	} {
		tariff := demoTariff(t, tariffdata.ShanghaiResidentialTOU)
		tariff.Versions[0].Components[0].Order = order
		in := inMonth(tariff, time.May, billing.Registers{200_00, 0, 120_00, 0, 80_00, 0})
		in.UsedInYear = billing.MustQuantity("3000")
		bill, err := rating.Rate(in)
		require.NoError(t, err)
		var got []string
		for _, l := range bill.Lines {
			got = append(got, l.Amount.String())
		}
		require.Equal(t, want, got, order)
	}
}

// A tier's part that can't be divided evenly loses no unit: 1 of 3 units goes to the first band whose division was cut.
func TestRate_divisionAmongBandsLosesNothing(t *testing.T) {
	in := inMonth(demoTariff(t, tariffdata.ShanghaiResidentialTOU), time.May, billing.Registers{3, 1, 1, 0, 1, 0})
	in.UsedInYear = billing.MustQuantity("3119.99")
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	var got []string
	for _, l := range bill.Lines {
		got = append(got, l.Register.String()+" "+l.Quantity.String())
	}
	require.Equal(t, []string{"sharp 0.01", "peak 0.01", "valley 0.01"}, got)
	require.Equal(t, []int{1, 2, 2}, []int{bill.Lines[0].Tier, bill.Lines[1].Tier, bill.Lines[2].Tier})
}

// Shanghai charges sewage on nine tenths of the volume: 230 m³ are 495 + 40 + 414 yuan.
func TestRate_shanghaiWater(t *testing.T) {
	bill, err := rating.Rate(inMonth(demoTariff(t, tariffdata.ShanghaiWater), time.May, billing.Registers{230_000}))
	require.NoError(t, err)
	require.Equal(t, []string{"water 495.00", "water 40.00", "sewage 414.00"}, amounts(bill))
	require.Equal(t, "0.9", bill.Lines[2].Factor.String())
}

// A bill with all parts, as W11 has them: energy by band, losses, system operation, funds, capacity, power factor, tax.
func TestRate_twoPartBill(t *testing.T) {
	in := inMonth(demoTariff(t, tariffdata.CommercialTwoPart), time.September, billing.Registers{10000_00, 1000_00, 3000_00, 4000_00, 1500_00, 500_00})
	in.Terms = []rating.Terms{{From: billing.MustDate("2026-01-01"), CapacityKVA: billing.MustQuantity("315"), Choice: billing.ChooseCapacity}}
	in.Months = []rating.Month{{First: billing.MustDate("2026-09-01"), DemandKW: quantityOf("200"), Kvarh: quantityOf("4000"), Reverse: quantityOf("3.5")}}
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, []string{
		// 0.43508 × 2.04, 1.7, 1, 0.35, 0.28
		"purchase 887.56", "purchase 2218.91", "purchase 1740.32", "purchase 228.42", "purchase 60.91", "loss 118.63",
		"transmission 297.02", "transmission 742.56", "transmission 582.40", "transmission 76.44", "transmission 20.38", "system 407.18", "funds 291.15",
		"capacity 8032.50", // 315 × 25.5; the demand is not charged
		"power_factor -67.53",
	}, amounts(bill), "0.9285 rounds to 0.93: -0.45 % of 15006.05, in which system operation and funds are not")
	require.Equal(t, "15006.05", bill.PowerFactors[0].Base.String())
	require.Equal(t, 93, bill.PowerFactors[0].Factor)
	require.Equal(t, "15636.85", bill.Total.String())
	require.Equal(t, "1798.93", bill.Taxes[0].Amount.String(), "15636.85 × 0.13 / 1.13")
	require.Equal(t, "3.5", bill.Reverse.String())

	in.Terms[0].Choice = billing.ChooseDemand
	bill, err = rating.Rate(in)
	require.NoError(t, err)
	require.Contains(t, amounts(bill), "demand 8160.00")
	require.NotContains(t, amounts(bill), "capacity 8032.50")
}

// The calendars of published plans, whole days: sharp wins over peak, deep valley over valley, flat is the remainder.
func TestTariffCalendar_publishedHours(t *testing.T) {
	holidays := billing.NewCalendar(billing.CalendarYear{Year: 2026, Days: []billing.CalendarDay{
		{Date: billing.MustDate("2026-01-01"), Off: true, Name: "元旦"}, {Date: billing.MustDate("2026-10-01"), Off: true, Name: "国庆节"},
		{Date: billing.MustDate("2026-05-02"), Off: true, Name: "劳动节"},
	}})
	for _, c := range []struct{ tariff, day, want string }{
		{"js-commercial-tou", "2026-07-15", "00:00 valley, 06:00 flat, 11:00 valley, 13:00 flat, 14:00 sharp, 15:00 peak, 19:30 sharp, 21:30 peak, 22:00 flat"},
		{"js-commercial-tou", "2026-12-15", "00:00 valley, 06:00 flat, 11:00 valley, 13:00 flat, 14:00 peak, 18:00 sharp, 20:00 peak, 22:00 flat"},
		{"js-commercial-tou", "2026-06-15", "00:00 valley, 06:00 flat, 11:00 valley, 13:00 flat, 14:00 peak, 22:00 flat"},
		{"js-commercial-tou", "2026-04-15", "00:00 flat, 02:00 valley, 06:00 flat, 10:00 valley, 14:00 flat, 15:00 peak, 22:00 flat"},
		{"js-commercial-tou", "2026-05-02", "00:00 flat, 02:00 valley, 06:00 flat, 10:00 deep_valley, 14:00 flat, 15:00 peak, 22:00 flat"},
		{"js-commercial-tou", "2026-01-01", "00:00 valley, 06:00 flat, 11:00 valley, 13:00 flat, 14:00 peak, 18:00 sharp, 20:00 peak, 22:00 flat"},
		{"zj-commercial-tou", "2026-09-15", "00:00 valley, 07:00 flat, 11:00 valley, 14:00 flat, 16:00 peak, 23:00 flat"},
		{"zj-commercial-tou", "2026-07-15", "00:00 valley, 07:00 flat, 11:00 valley, 14:00 flat, 16:00 peak, 18:00 sharp, 22:00 peak, 23:00 flat"},
		{"zj-commercial-tou", "2026-10-03", "00:00 valley, 07:00 flat, 09:00 deep_valley, 15:00 flat, 16:00 peak, 23:00 flat"},
		{"zj-commercial-tou", "2026-10-04", "00:00 valley, 07:00 flat, 11:00 valley, 14:00 flat, 16:00 peak, 23:00 flat"},
		{"sd-commercial-tou", "2026-01-15", "00:00 flat, 02:00 valley, 06:00 flat, 07:00 peak, 09:00 flat, 10:00 valley, 11:00 deep_valley, 14:00 valley, 15:00 flat, 16:00 sharp, 19:00 peak, 21:00 flat"},
		{"sd-commercial-tou", "2026-06-15", "00:00 flat, 07:00 valley, 12:00 flat, 16:00 peak, 17:00 sharp, 22:00 peak, 23:00 flat"},
		{"sd-commercial-tou", "2026-08-15", "00:00 flat, 01:00 valley, 06:00 flat, 16:00 peak, 17:00 sharp, 22:00 peak, 23:00 flat"},
		{"sd-commercial-tou", "2026-10-15", "00:00 flat, 10:00 valley, 11:00 deep_valley, 14:00 valley, 15:00 flat, 16:00 peak, 17:00 sharp, 19:00 peak, 21:00 flat"},
	} {
		calendar := testTariff(t, c.tariff).Versions[0].Calendar
		day, err := calendar.Day(billing.MustDate(c.day), holidays)
		require.NoError(t, err)
		var got []string
		for _, s := range day {
			got = append(got, s.From.String()+" "+s.Band.String())
		}
		require.Equal(t, c.want, strings.Join(got, ", "), "%s on %s", c.tariff, c.day)
	}
	require.Equal(t, 12, testTariff(t, "sd-commercial-tou").Versions[0].Calendar.Switches())
}

// W06's household: +100 kWh for each month left in the year from registration. Six months from July are 600 kWh more.
func TestRate_zhejiangHouseholdRegisteredInJuly(t *testing.T) {
	in := inMonth(demoTariff(t, tariffdata.ZhejiangResidential), time.June, billing.Registers{100_00})
	in.Terms = []rating.Terms{{From: billing.MustDate("2025-01-01"), Persons: 3}, {From: billing.MustDate("2026-06-20"), Persons: 5}}
	in.UsedInYear = billing.MustQuantity("2800")
	quantities := func() []string {
		bill, err := rating.Rate(in)
		require.NoError(t, err)
		var list []string
		for _, l := range bill.Lines {
			list = append(list, l.Quantity.String()+" × "+l.Price.String())
		}
		return list
	}
	// 63.33 of 100 kWh fall before 20 June, at an even rate.
	require.Equal(t, []string{"63.33 × 0.588", "36.67 × 0.588"}, quantities(), "registered in the month: it counts from the next one")
	july := inMonth(in.Tariff, time.July, billing.Registers{500_00})
	july.Terms, july.UsedInYear = in.Terms, billing.MustQuantity("2900")
	in = july
	require.Equal(t, []string{"460 × 0.538", "40 × 0.588"}, quantities(), "2760 + 600 from July on")

	// A household that moved in on 20 September with five persons has four months: 2760 + 400, or with prorate 4/12 of 2760 + 400.
	in = inMonth(in.Tariff, time.December, billing.Registers{3500_00})
	in.Terms, in.OpenedOn = []rating.Terms{{From: billing.MustDate("2026-09-20"), Persons: 5}}, billing.MustDate("2026-09-20")
	require.Equal(t, []string{"3160 × 0.538", "340 × 0.588"}, quantities())
	in.Tariff.Versions[0].Components[0].Prorate = billing.PerMonth
	require.Equal(t, []string{"1320 × 0.538", "680 × 0.588", "1500 × 0.838"}, quantities())
	in.ClosedOn = billing.MustDate("2026-12-01") // the last open month is November
	require.Equal(t, []string{"990 × 0.538", "510 × 0.588", "2000 × 0.838"}, quantities())
}

// Without a reading at the price change the even rate over the full month counts, whatever was read between.
func TestRate_priceChangeByTheFullPeriod(t *testing.T) {
	tariff := plan(t, billing.Power, flat("energy", "1"))
	tariff.Versions = append(tariff.Versions, billing.TariffVersion{From: billing.MustDate("2026-01-11"), Components: []billing.Component{flat("energy", "2")}})
	in := inJanuary(tariff, billing.Registers{310_00})
	in.Points = []rating.Point{in.Points[0], {At: january.AddDate(0, 0, 9), Registers: billing.Registers{300_00}, Fitting: 1}, in.Points[1]}
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, []string{"energy 100.00", "energy 420.00"}, amounts(bill), "10 of 31 days of 310 kWh")
	require.True(t, bill.Estimated())
	in.Points[1].At = january.AddDate(0, 0, 10)
	bill, err = rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, []string{"energy 300.00", "energy 20.00"}, amounts(bill), "a reading at the change")
}

// Rule 4: the contract names the register that counts, when the remote meter doesn't settle.
func TestRate_contractRegister(t *testing.T) {
	in := inJanuary(plan(t, billing.Power, flat("energy", "1"), tiers("step", billing.PerYear, [2]string{"50", "0"}, [2]string{"", "1"})), billing.Registers{100_00, 0, 60_00, 0, 40_00, 0})
	in.Terms = []rating.Terms{{From: billing.MustDate("2025-01-01"), Register: billing.Peak}}
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, []string{"energy 60.00", "step 0.00", "step 10.00"}, amounts(bill))
	require.Equal(t, billing.Peak, bill.Lines[0].Register)
	in.Tariff = plan(t, billing.Power, bands("energy", "1", "1", "1", "1", "1"))
	_, err = rating.Rate(in)
	require.ErrorContains(t, err, "bills by the peak register, but the tariff has a price per band")
	in.Tariff = plan(t, billing.Power, flat("energy", "1"))
	in.Points[0].Registers, in.Points[1].Registers = billing.Registers{0}, billing.Registers{5}
	_, err = rating.Rate(in)
	require.ErrorContains(t, err, "which meter M1 doesn't have")
}

// What a month needs and doesn't have is named; an open period goes without.
func TestRate_refusesWhatTheMonthLacks(t *testing.T) {
	capacity := named(billing.Component{Key: "kva", Kind: billing.KindCapacity, Price: priceOf("1")})
	measured := named(billing.Component{Key: "kw", Kind: billing.KindDemand, Price: priceOf("1"), Basis: billing.DemandMeasured})
	contract := named(billing.Component{Key: "kw", Kind: billing.KindDemand, Price: priceOf("1"), Basis: billing.DemandContract, Over: &billing.DemandOver{Percent: billing.MustFactor("105"), Factor: billing.MustFactor("2")}})
	factor := named(billing.Component{Key: "pf", Kind: billing.KindPowerFactor, Standard: billing.MustFactor("0.9"), Of: []string{"energy"}})
	thousand := rating.Terms{From: billing.MustDate("2025-01-01"), CapacityKVA: billing.MustQuantity("1"), ContractDemandKW: billing.MustQuantity("1000")}
	for name, c := range map[string]struct {
		component billing.Component
		also      *billing.Component
		terms     *rating.Terms
		want      string
		open      string // total of the open period, empty when it is refused too
	}{
		"kVA":             {capacity, nil, nil, "name no kVA", ""},
		"choice":          {capacity, &measured, &thousand, "which one the customer has chosen", ""},
		"demand":          {measured, nil, &thousand, "maximum demand of 2026-01 is not on file", "667.67"},
		"demand unknown":  {measured, nil, nil, "maximum demand of 2026-01 is not on file", "1.00"},
		"contract demand": {contract, nil, nil, "maximum demand of 2026-01 is not on file", ""},
		"over":            {contract, nil, &thousand, "maximum demand of 2026-01 is not on file", "667.67"},
		"kvarh":           {factor, nil, nil, "reactive energy (kvarh) of 2026-01 is not on file", "1.00"},
	} {
		t.Run(name, func(t *testing.T) {
			components := []billing.Component{flat("energy", "1"), c.component}
			if c.also != nil {
				components = append(components, *c.also)
			}
			in := inJanuary(plan(t, billing.Power, components...), billing.Registers{1_00})
			if c.terms != nil {
				in.Terms = []rating.Terms{*c.terms}
			}
			_, err := rating.Rate(in)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
			in.To, in.Open = january.AddDate(0, 0, 20), true
			in.Points[1].At = in.To
			bill, err := rating.Rate(in)
			if c.open == "" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.open, bill.Total.String())
		})
	}
	// Demand above 105 % of the contract's pays twice.
	in := inJanuary(plan(t, billing.Power, contract), billing.Registers{0})
	in.Terms = []rating.Terms{thousand}
	in.Months = []rating.Month{{First: billing.MustDate("2026-01-01"), DemandKW: quantityOf("1100.5")}}
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, []string{"kw 1000.00", "kw 101.00"}, amounts(bill))
}

// A minimum counts the days of an open period, and says what it fell short of; a tax comes on top of it.
func TestRate_minimumAndTax(t *testing.T) {
	tariff := plan(t, billing.Power, flat("energy", "1"),
		named(billing.Component{Key: "least", Kind: billing.KindMinimum, Price: priceOf("30")}),
		named(billing.Component{Key: "vat", Kind: billing.KindTax, Rate: billing.MustFactor("0.13")}))
	in := inJanuary(tariff, billing.Registers{12_34})
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, []string{"energy 12.34", "least 17.66", "vat 3.90"}, amounts(bill))
	require.Equal(t, "3.90", bill.Taxes[0].Amount.String())
	in.To, in.Open = january.AddDate(0, 0, 10), true
	bill, err = rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, []string{"energy 3.98", "least 6.02", "vat 1.30"}, amounts(bill))
	in = inJanuary(tariff, billing.Registers{31_00})
	bill, err = rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, []string{"energy 31.00", "vat 4.03"}, amounts(bill))
}
