package rating_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

var (
	shanghai = must(time.LoadLocation("Asia/Shanghai"))
	january  = time.Date(2026, 1, 1, 0, 0, 0, 0, shanghai)
	february = time.Date(2026, 2, 1, 0, 0, 0, 0, shanghai)
)

// tiers writes "260:0.589 600:0.639 :0.889" as a stepped component.
func tiers(key string, per billing.Accumulate, steps ...[2]string) billing.Component {
	c := billing.Component{Key: key, Name: billing.Names{ZH: key, EN: key}, Kind: billing.KindSteps, Accumulate: per}
	for _, step := range steps {
		price := billing.MustPrice(step[1])
		tier := billing.Tier{Price: &price}
		if step[0] != "" {
			edge := billing.MustQuantity(step[0])
			tier.UpTo = &edge
		}
		c.Tiers = append(c.Tiers, tier)
	}
	return c
}

func flat(key, price string) billing.Component {
	p := billing.MustPrice(price)
	return billing.Component{Key: key, Name: billing.Names{ZH: key, EN: key}, Kind: billing.KindFlat, Price: &p}
}

func bands(key string, prices ...string) billing.Component {
	c := billing.Component{Key: key, Name: billing.Names{ZH: key, EN: key}, Kind: billing.KindBands}
	for i, price := range prices {
		p := billing.MustPrice(price)
		c.Bands = append(c.Bands, billing.BandPrice{Register: billing.Bands[i], Price: &p})
	}
	return c
}

func plan(t require.TestingT, service billing.Service, components ...billing.Component) billing.Tariff {
	tariff := billing.Tariff{
		ID: "t", Name: billing.Names{ZH: "t", EN: "t"}, Service: service,
		Versions: []billing.TariffVersion{{From: billing.MustDate("2020-01-01"), Components: components}},
	}
	require.NoError(t, tariff.Validate())
	return tariff
}

// inJanuary rates use in January 2026 on one meter.
func inJanuary(tariff billing.Tariff, use billing.Registers) rating.Input {
	return rating.Input{
		Tariff: tariff, Location: shanghai, From: january, To: february,
		Fittings: []rating.Fitting{{No: 1, Meter: "M1", Ratio: 1, Digits: 10}},
		Points: []rating.Point{
			{At: january, Registers: make(billing.Registers, len(use)), Quality: billing.QualityActual, Fitting: 1},
			{At: february, Registers: use, Quality: billing.QualityActual, Fitting: 1},
		},
	}
}

// The published examples; the numbers W01 to W09 are those of our collection.
// Each result was published by the source named.
func TestRate_publishedExamples(t *testing.T) {
	guangzhou := func(edge1, edge2 string) billing.Component {
		return tiers("energy", billing.PerMonth, [2]string{edge1, "0.589"}, [2]string{edge2, "0.639"}, [2]string{"", "0.889"})
	}
	oldTwoTier := tiers("energy", billing.PerMonth, [2]string{"50", "0.53"}, [2]string{"", "0.58"})
	for _, c := range []struct {
		name, source string
		components   []billing.Component
		use          string
		amounts      []string
		total        string
	}{
		{"W01 Guangzhou, 600 kWh in a summer month", "Guangzhou Daily reprint on gz.gov.cn, published as about 370.4",
			[]billing.Component{guangzhou("260", "600")}, "600", []string{"153.14", "217.26"}, "370.40"},
		{"W02 Guangzhou, 600 kWh in another month", "as W01, 53 yuan more",
			[]billing.Component{guangzhou("200", "400")}, "600", []string{"117.80", "127.80", "177.80"}, "423.40"},
		{"W05 Zhejiang, first bill of the year, 2800 kWh", "https://woyaosouti.com/x_ask/6BvBmNw6ekwEF5cv4a.html",
			[]billing.Component{flat("base", "0.538"), tiers("step", billing.PerYear, [2]string{"2760", "0"}, [2]string{"4800", "0.05"}, [2]string{"", "0.30"})},
			"2800", []string{"1506.40", "0.00", "2.00"}, "1508.40"},
		{"W07 two tiers, 10 kWh", "PTA exercise 2-2, Zhejiang University", []billing.Component{oldTwoTier}, "10", []string{"5.30"}, "5.30"},
		{"W08 two tiers, 100 kWh", "PTA exercise 2-2, Zhejiang University", []billing.Component{oldTwoTier}, "100", []string{"26.50", "29.00"}, "55.50"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := billing.Power.Raw(billing.MustQuantity(c.use))
			require.NoError(t, err)
			bill, err := rating.Rate(inJanuary(plan(t, billing.Power, c.components...), billing.Registers{raw}))
			require.NoError(t, err)
			require.Equal(t, c.total, bill.Total.String(), c.source)
			var amounts []string
			for _, line := range bill.Lines {
				amounts = append(amounts, line.Amount.String())
			}
			require.Equal(t, c.amounts, amounts)
		})
	}
}

// W03: README.zh-CN of Esbrilltia/ha-csg-plus, citing the 2021 notices of Guangdong.
// 0.5802 × (1.7 : 1 : 0.38) + 0.00866875, which is not multiplied.
func TestRate_guangzhouUnitPricesKeepEightDecimals(t *testing.T) {
	energy := bands("energy", "0.98634", "0.98634", "0.5802", "0.220476", "0.220476")
	fund := flat("fund", "0.00866875")
	both := plan(t, billing.Power, energy, fund)
	for band, want := range map[billing.Register]billing.Money{
		billing.Peak: 99500875, billing.Flat: 58886875, billing.Valley: 22914475,
	} {
		use := make(billing.Registers, 6)
		use[billing.Total], use[band] = 1000000_00, 1000000_00 // a GWh shows eight decimals of the price in fen
		bill, err := rating.Rate(inJanuary(both, use))
		require.NoError(t, err)
		require.Equal(t, want, bill.Total, "%s", band)
	}
}

// W04: programming-course statement with sample output: 100 yuan buys 204.79 kWh.
func TestBuys_beijingHundredYuan(t *testing.T) {
	tariff := plan(t, billing.Power, tiers("energy", billing.PerMonth, [2]string{"240", "0.4883"}, [2]string{"400", "0.5383"}, [2]string{"", "0.7883"}))
	zero := billing.Quantity{}
	got, err := rating.Buys(tariff.Versions[0], billing.Power, zero, zero, 100*billing.Yuan)
	require.NoError(t, err)
	require.Equal(t, "204.79", got.String())

	got, err = rating.Buys(tariff.Versions[0], billing.Power, zero, billing.MustQuantity("239"), 100)
	require.NoError(t, err)
	require.Equal(t, "1.95", got.String(), "0.4883 for the last of tier 1, then 0.95 × 0.5383 = 0.51")

	got, err = rating.Buys(tariff.Versions[0], billing.Power, zero, zero, 0)
	require.NoError(t, err)
	require.True(t, got.IsZero())
	_, err = rating.Buys(tariff.Versions[0], billing.Power, zero, zero, -1)
	require.ErrorContains(t, err, "must be positive")
	_, err = rating.Buys(plan(t, billing.Power, bands("energy", "1", "1", "1", "1", "1")).Versions[0], billing.Power, zero, zero, 100)
	require.ErrorContains(t, err, "can't be said in advance")
}

// W09: sample reply of the utility's app: 44 556 m³ in a year cost 400 124 yuan;
// the tiers held 180, 80 and 44 296 m³.
func TestRate_beijingWaterOfAYear(t *testing.T) {
	in := inJanuary(demoTariff(t, "bj-water-residential"), billing.Registers{44556_000})
	in.To = time.Date(2027, 1, 1, 0, 0, 0, 0, shanghai)
	in.Points[1].At = in.To
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	require.Equal(t, "400124.00", bill.Total.String())
	var perTier []string
	for _, line := range bill.Lines {
		if line.Tier > 0 {
			perTier = append(perTier, line.Quantity.String())
		}
	}
	require.Equal(t, []string{"180", "80", "44296"}, perTier)
	require.Equal(t, "44556", bill.Quantity(billing.Total).String())
	require.True(t, bill.Quantity(billing.Peak).IsZero())
}

func TestRate_refuses(t *testing.T) {
	simple := plan(t, billing.Power, flat("energy", "0.5"))
	point := func(day int, raw int64, fitting int) rating.Point {
		return rating.Point{At: january.AddDate(0, 0, day), Registers: billing.Registers{raw}, Fitting: fitting}
	}
	cases := map[string]struct {
		spoil func(*rating.Input)
		code  billing.Code
		want  string
	}{
		"no location":      {func(in *rating.Input) { in.Location = nil }, billing.CodeInvalidInput, "time zone is missing"},
		"empty period":     {func(in *rating.Input) { in.To = in.From }, billing.CodeInvalidInput, "ends"},
		"no points":        {func(in *rating.Input) { in.Points = nil }, billing.CodeInvalidReading, "no reading at or before the start"},
		"late first point": {func(in *rating.Input) { in.Points[0] = point(1, 0, 1) }, billing.CodeInvalidReading, "no reading at or before the start"},
		"early last point": {func(in *rating.Input) { in.Points[1] = point(30, 5, 1) }, billing.CodeInvalidReading, "no reading at or after the end"},
		"going back":       {func(in *rating.Input) { in.Points[0].Registers[0] = 101 }, billing.CodeInvalidReading, "went back"},
		"negative":         {func(in *rating.Input) { in.Points[1].Registers[0] = -1 }, billing.CodeInvalidReading, "is negative"},
		"unordered": {func(in *rating.Input) {
			in.Points = []rating.Point{point(0, 0, 1), point(9, 1, 1), point(8, 2, 1), point(31, 3, 1)}
		}, billing.CodeInvalidReading, "order the readings"},
		"two at once": {func(in *rating.Input) {
			in.Points = []rating.Point{point(0, 0, 1), point(9, 1, 1), point(9, 1, 1), point(31, 3, 1)}
		}, billing.CodeInvalidReading, "two readings"},
		"unknown fitting": {func(in *rating.Input) { in.Points[1].Fitting = 7 }, billing.CodeInvalidReading, "fitting 7"},
		"fitting comes back": {func(in *rating.Input) {
			in.Fittings = append(in.Fittings, rating.Fitting{No: 2})
			in.Points = []rating.Point{point(0, 0, 1), point(9, 1, 2), point(10, 1, 1), point(31, 3, 1)}
		}, billing.CodeInvalidReading, "before and after another fitting"},
		"nothing fitted": {func(in *rating.Input) {
			in.Fittings = append(in.Fittings, rating.Fitting{No: 2})
			in.Points = []rating.Point{point(0, 0, 1), point(31, 3, 2)}
		}, billing.CodeInvalidReading, "No meter was fitted"},
		"negative ratio": {func(in *rating.Input) { in.Fittings[0].Ratio = -1 }, billing.CodeInvalidInput, "ratio"},
		"huge ratio":     {func(in *rating.Input) { in.Fittings[0].Ratio = 1 << 60 }, billing.CodeInvalidReading, "too large"},
		"no tariff yet": {func(in *rating.Input) {
			in.Tariff.Versions = []billing.TariffVersion{{From: billing.MustDate("2026-01-02")}}
		}, billing.CodeTariffMissing, "no price on 2026-01-01"},
		"bands on a total register": {func(in *rating.Input) {
			in.Tariff = plan(t, billing.Power, bands("energy", "1", "1", "1", "1", "1"))
		}, billing.CodeInvalidReading, "only the total register"},
		"negative count": {func(in *rating.Input) { in.UsedInYear = billing.MustQuantity("-1") }, billing.CodeInvalidInput, "negative"},
		"price left out": {func(in *rating.Input) {
			in.Tariff.Versions = []billing.TariffVersion{{Components: []billing.Component{{Key: "x", Kind: billing.KindFlat}}}}
		}, billing.CodeTariffMissing, "component x has no price"},
		"unknown kind": {func(in *rating.Input) {
			in.Tariff.Versions = []billing.TariffVersion{{Components: []billing.Component{{Key: "x", Kind: "y"}}}}
		}, billing.CodeInvalidInput, `unknown kind "y"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := inJanuary(simple, billing.Registers{100})
			c.spoil(&in)
			_, err := rating.Rate(in)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.code, billing.CodeOf(err))
		})
	}
}

func TestRate_exchangeAtTheEndsOfThePeriod(t *testing.T) {
	in := inJanuary(plan(t, billing.Power, flat("energy", "1")), billing.Registers{0})
	in.Fittings = []rating.Fitting{{No: 1, Digits: 8}, {No: 2, Digits: 8}, {No: 3, Digits: 8}}
	point := func(at time.Time, raw int64, fitting int) rating.Point {
		return rating.Point{At: at, Registers: billing.Registers{raw}, Fitting: fitting}
	}
	in.Points = []rating.Point{
		point(january.AddDate(0, 0, -9), 0, 1), point(january, 900, 1), point(january, 5, 2),
		point(february, 105, 2), point(february, 7, 3), point(february.AddDate(0, 0, 1), 900, 3),
	}
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	require.Len(t, bill.Segments, 1, "neither the meter before nor the one after belongs to the period")
	require.Equal(t, billing.Money(100), bill.Total)
	require.Equal(t, fmt.Sprint(billing.Registers{5}), fmt.Sprint(bill.Opening.Registers))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
