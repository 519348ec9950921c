package rating_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

// drawer makes tariffs of any kinds, terms and quantities.
type drawer struct{ *rapid.T }

func (d drawer) price(name string) *billing.Price {
	return priceOf(fmt.Sprintf("%d.%08d", rapid.IntRange(0, 2).Draw(d.T, name+" yuan"), rapid.IntRange(0, 99999999).Draw(d.T, name)))
}

func (d drawer) bands(name string) []billing.BandPrice {
	var list []billing.BandPrice
	for _, r := range billing.Bands {
		list = append(list, billing.BandPrice{Register: r, Price: d.price(name + " " + r.String())})
	}
	return list
}

func (d drawer) tiers(name string, perBand bool) []billing.Tier {
	var list []billing.Tier
	edge := 0
	for k := range rapid.IntRange(1, 4).Draw(d.T, name+" tiers") {
		edge += rapid.IntRange(1, 40000).Draw(d.T, name+" edge")
		tier := billing.Tier{UpTo: quantityOf(billing.Power.Quantity(int64(edge)).String())}
		if perBand {
			tier.Bands = d.bands(name + strconv.Itoa(k))
		} else {
			tier.Price = d.price(name + strconv.Itoa(k))
		}
		list = append(list, tier)
	}
	list[len(list)-1].UpTo = nil
	return list
}

// stepped makes steps, or prices per tier and band, with or without household, prorate and seasons.
func (d drawer) stepped(name string, kind billing.ComponentKind) billing.Component {
	c := named(billing.Component{Key: name, Kind: kind})
	c.Accumulate = rapid.SampledFrom([]billing.Accumulate{billing.PerYear, billing.PerMonth}).Draw(d.T, name+" per")
	c.Tiers = d.tiers(name, kind == billing.KindTierBands)
	if kind == billing.KindTierBands {
		c.Order = rapid.SampledFrom([]billing.StepOrder{billing.StepsFirst, billing.BandsFirst}).Draw(d.T, name+" order")
	}
	if c.Accumulate == billing.PerYear && rapid.Bool().Draw(d.T, name+" prorate") {
		c.Prorate = billing.PerMonth
	}
	if len(c.Tiers) > 1 && rapid.Bool().Draw(d.T, name+" household") {
		h := billing.HouseholdStep{Persons: rapid.IntRange(1, 6).Draw(d.T, "persons"), Each: rapid.Bool().Draw(d.T, "each")}
		for range len(c.Tiers) - 1 {
			h.Add = append(h.Add, billing.Power.Quantity(rapid.Int64Range(0, 20000).Draw(d.T, "add")))
			h.Add[len(h.Add)-1] = h.Add[0]
		}
		c.Household = []billing.HouseholdStep{h}
	}
	if c.Accumulate == billing.PerMonth && c.Household == nil && rapid.Bool().Draw(d.T, name+" seasons") {
		winter := billing.PriceSeason{Months: []int{11, 12, 1, 2, 3}, Tiers: d.tiers(name+" winter", kind == billing.KindTierBands)}
		summer := billing.PriceSeason{Months: []int{4, 5, 6, 7, 8, 9, 10}, Tiers: c.Tiers}
		if len(winter.Tiers) == len(summer.Tiers) {
			c.Seasons, c.Tiers = []billing.PriceSeason{winter, summer}, nil
		}
	}
	return c
}

func (d drawer) version(from string) billing.TariffVersion {
	ratios := named(billing.Component{Key: "ratios", Kind: billing.KindBands, Price: d.price("base")})
	for _, r := range billing.Bands {
		f := billing.MustFactor(fmt.Sprintf("0.%03d", rapid.IntRange(1, 999).Draw(d.T, "ratio")))
		ratios.Bands = append(ratios.Bands, billing.BandPrice{Register: r, Ratio: &f})
	}
	sewage := named(billing.Component{Key: "part", Kind: billing.KindFlat, Price: d.price("part"), Factor: billing.MustFactor("0.9")})
	all := []billing.Component{
		named(billing.Component{Key: "bands", Kind: billing.KindBands, Bands: d.bands("bands")}), ratios, sewage,
		d.stepped("step", billing.KindSteps), d.stepped("nine", billing.KindTierBands),
		named(billing.Component{Key: "kva", Kind: billing.KindCapacity, Price: d.price("kva"), Suspended: billing.MustFactor("0.5")}),
		named(billing.Component{Key: "kw", Kind: billing.KindDemand, Price: d.price("kw"), Basis: billing.DemandContract, Over: &billing.DemandOver{Percent: billing.MustFactor("105"), Factor: billing.MustFactor("2")}}),
		named(billing.Component{Key: "least", Kind: billing.KindMinimum, Price: priceOf(strconv.Itoa(rapid.IntRange(0, 900).Draw(d.T, "least")))}),
		named(billing.Component{Key: "vat", Kind: billing.KindTax, Rate: billing.MustFactor("0.13"), Inclusive: rapid.Bool().Draw(d.T, "inclusive")}),
	}
	v := billing.TariffVersion{From: billing.MustDate(from)}
	for _, c := range all {
		if rapid.Bool().Draw(d.T, c.Key) {
			v.Components = append(v.Components, c)
		}
	}
	v.Components = append(v.Components, flat("fund", "0.00866875"))
	if rapid.Bool().Draw(d.T, "pf") {
		v.Components = append(v.Components, named(billing.Component{Key: "pf", Kind: billing.KindPowerFactor, Standard: billing.MustFactor("0.85"), Of: []string{"fund"}}))
	}
	return v
}

// drawAny is a month or two of a random plan with two versions, an exchange, terms that change, and readings now and then.
func drawAny(t *rapid.T) rating.Input {
	d := drawer{t}
	tariff := billing.Tariff{ID: "t", Name: billing.Names{ZH: "t", EN: "t"}, Service: billing.Power}
	change := billing.NewDate(2026, time.January, rapid.IntRange(2, 45).Draw(t, "price change"))
	tariff.Versions = []billing.TariffVersion{d.version("2020-01-01"), d.version(change.String())}
	require.NoError(t, tariff.Validate())
	to := rapid.SampledFrom([]time.Time{february, time.Date(2026, 3, 1, 0, 0, 0, 0, shanghai), time.Date(2026, 1, 20, 0, 0, 0, 0, shanghai)}).Draw(t, "to")
	used := billing.Power.Quantity(rapid.Int64Range(0, 60000).Draw(t, "used"))
	in := rating.Input{
		Tariff: tariff, Location: shanghai, From: january, To: to, UsedInYear: used, UsedInMonth: used,
		Fittings: []rating.Fitting{{No: 1, Meter: "M1", Ratio: rapid.Int64Range(1, 40).Draw(t, "ratio"), Digits: 6}, {No: 2, Meter: "M2", Ratio: 3, Digits: 6}},
		OpenedOn: billing.MustDate("2025-11-03"),
	}
	for _, day := range []string{"2025-01-01", rapid.SampledFrom([]string{"2026-01-11", "2026-01-15", "2026-02-01"}).Draw(t, "terms")} {
		in.Terms = append(in.Terms, rating.Terms{
			From: billing.MustDate(day), Persons: rapid.IntRange(0, 9).Draw(t, "registered"), Choice: billing.ChooseCapacity,
			CapacityKVA: billing.Power.Quantity(rapid.Int64Range(1, 90000).Draw(t, "kva")), SuspendedKVA: billing.Power.Quantity(rapid.Int64Range(0, 9000).Draw(t, "suspended")),
			ContractDemandKW: billing.MustQuantity(strconv.Itoa(rapid.IntRange(1, 500).Draw(t, "contract"))),
		})
	}
	for _, first := range []string{"2026-01-01", "2026-02-01"} {
		kw, kvarh := billing.MustQuantity(strconv.Itoa(rapid.IntRange(0, 900).Draw(t, "kw"))), billing.Power.Quantity(rapid.Int64Range(0, 900000).Draw(t, "kvarh"))
		in.Months = append(in.Months, rating.Month{First: billing.MustDate(first), DemandKW: &kw, Kvarh: &kvarh})
	}
	in.Points = drawPoints(t, rapid.IntRange(1, 9).Draw(t, "readings"))
	span := to.Sub(january)
	exchange := rapid.Bool().Draw(t, "exchange")
	for i := range in.Points {
		in.Points[i].At = january.Add(span * time.Duration(i) / time.Duration(len(in.Points)-1)).Truncate(time.Minute)
	}
	in.Points[len(in.Points)-1].At = to
	if exchange && len(in.Points) > 3 {
		// The new meter comes where the third reading is; its readings follow.
		opening := rating.Point{At: in.Points[2].At, Registers: in.Points[2].Registers, Fitting: 2}
		rest := append([]rating.Point{opening}, in.Points[3:]...)
		for i := range rest {
			rest[i].Fitting = 2
		}
		in.Points = append(in.Points[:3:3], rest...)
	}
	return in
}

// The sum of the lines is the total, and each line is its own product, rounded once.
func TestRate_linesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bill, err := rating.Rate(drawAny(t))
		require.NoError(t, err)
		var sum billing.Money
		for _, l := range bill.Lines {
			sum += l.Amount
			amount, err := billing.Charge(l.Quantity, l.Price, l.Factor)
			if l.Thirtieths > 0 {
				amount, err = billing.ChargeMonths(l.Quantity, l.Price, l.Factor, l.Thirtieths)
			}
			require.NoError(t, err)
			require.Equal(t, amount, l.Amount, "%v", l)
			require.False(t, l.Quantity.IsZero())
		}
		require.Equal(t, sum, bill.Total)
	})
}

// Day by day, each charge to date less what was charged so far, the days add up to the bill: with minimum, capacity, demand,
// power factor, tax and changes of price and terms too. Nothing is charged twice and given back but by what has a sign of its own.
func TestRate_openDaysAddUpToTheBill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawAny(t)
		whole, err := rating.Rate(in)
		require.NoError(t, err)
		var r rating.Rater
		var charged billing.Money
		last := in.Points[len(in.Points)-1]
		for day := billing.DateOf(in.From, shanghai).AddDays(1); !day.Start(shanghai).After(in.To); day = day.AddDays(1) {
			open := in
			open.To = day.Start(shanghai)
			open.Open = open.To.Before(in.To)
			// What had been read by then: an open period ends with a reading of that midnight.
			reading, err := at(in, open.To)
			require.NoError(t, err)
			open.Points = nil
			for _, p := range in.Points {
				if p.At.Before(open.To) {
					open.Points = append(open.Points, p)
				}
			}
			open.Points = append(open.Points, reading)
			if open.To.Equal(in.To) {
				open.Points = in.Points
			}
			toDate, err := r.Rate(&open)
			require.NoError(t, err)
			today, err := rating.ChargeToDate(toDate.Total, charged)
			require.NoError(t, err)
			charged += today
		}
		_ = last
		require.Equal(t, whole.Total, charged)
	})
}

// at is the reading of an instant, at an even rate between those around it.
func at(in rating.Input, t time.Time) (rating.Point, error) {
	for i := 1; i < len(in.Points); i++ {
		a, b := in.Points[i-1], in.Points[i]
		if a.Fitting == b.Fitting && !t.Before(a.At) && !t.After(b.At) {
			registers, err := billing.Between(a.Registers, b.Registers, 6, t.Sub(a.At), b.At.Sub(a.At))
			return rating.Point{At: t, Registers: registers, Fitting: a.Fitting}, err
		}
	}
	return rating.Point{}, fmt.Errorf("no reading around %s", t)
}

// Energy, capacity, demand and minimum never shrink from one day of an open period to the next, when prices and terms stay.
func TestRate_openPeriodGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{t}
		v := billing.TariffVersion{From: billing.MustDate("2020-01-01"), Components: []billing.Component{
			flat("energy", "0.5"), d.stepped("step", billing.KindSteps),
			named(billing.Component{Key: "kva", Kind: billing.KindCapacity, Price: d.price("kva")}),
			named(billing.Component{Key: "least", Kind: billing.KindMinimum, Price: priceOf(strconv.Itoa(rapid.IntRange(0, 3000).Draw(t, "least")))}),
			named(billing.Component{Key: "vat", Kind: billing.KindTax, Rate: billing.MustFactor("0.13")}),
		}}
		in := inJanuary(billing.Tariff{ID: "t", Service: billing.Power, Versions: []billing.TariffVersion{v}}, billing.Registers{rapid.Int64Range(0, 100000).Draw(t, "use")})
		in.Terms = []rating.Terms{{From: v.From, CapacityKVA: billing.MustQuantity("3")}}
		before := billing.Money(0)
		for day := 1; day <= 31; day++ {
			open := in
			open.To, open.Open = january.AddDate(0, 0, day), day < 31
			bill, err := rating.Rate(open)
			require.NoError(t, err)
			require.GreaterOrEqual(t, bill.Total, before)
			before = bill.Total
		}
	})
}

// With a price change, changes of terms and the new year in between, the bill doesn't depend on readings at other instants.
func TestRate_readingsBetweenCutsDontCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawAny(t)
		often, err := rating.Rate(in)
		require.NoError(t, err)
		cuts := map[int64]bool{in.From.Unix(): true, in.To.Unix(): true}
		for _, s := range often.Segments {
			cuts[s.Opening.At.Unix()], cuts[s.Closing.At.Unix()] = true, true
		}
		rarely := in
		rarely.Points = nil
		for _, p := range in.Points {
			if cuts[p.At.Unix()] {
				rarely.Points = append(rarely.Points, p)
			}
		}
		got, err := rating.Rate(rarely)
		require.NoError(t, err)
		require.Equal(t, often, got)
	})
}
