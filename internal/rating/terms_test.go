package rating_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
	"github.com/meterflow/meterflow/internal/rating"
)

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
