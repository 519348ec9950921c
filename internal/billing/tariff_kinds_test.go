package billing_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
)

// everyKind has each kind of component and a calendar, in the shortest form.
const everyKind = `{
  "id": "t2", "name": {"zh": "乙", "en": "B"}, "service": "power",
  "versions": [
    {"from": "2026-01-01", "until": "2027-01-01",
     "calendar": {
       "seasons": [
         {"months": [12,1,2], "days": [
           {"on": ["holiday:春节"], "segments": [{"from": "10:00", "to": "14:00", "band": "deep_valley"}]},
           {"on": ["sat","off"], "segments": []},
           {"segments": [{"from": "00:00", "to": "07:00", "band": "valley"}, {"from": "02:00", "to": "04:30", "band": "deep_valley"},
                         {"from": "16:00", "to": "21:00", "band": "peak"}, {"from": "19:30", "to": "21:00", "band": "sharp"}]}]},
         {"months": [3,4,5,6,7,8,9,10,11], "days": [{"segments": []}]}],
       "exceptions": [{"from": "2026-10-01", "to": "2026-10-04", "segments": [{"from": "09:00", "to": "15:00", "band": "deep_valley"}]}]},
     "components": [
      {"key": "ratio", "name": {"zh": "分时", "en": "Bands"}, "kind": "bands", "price": "0.5802", "bands": [
        {"register": "sharp", "ratio": "2.125"}, {"register": "peak", "ratio": "1.7"}, {"register": "flat", "ratio": "1"},
        {"register": "valley", "ratio": "0.38"}, {"register": "deep_valley", "ratio": "0.3"}]},
      {"key": "season", "name": {"zh": "季节", "en": "Season"}, "kind": "steps", "accumulate": "month",
        "household": [{"persons": 5, "add": ["100", "100"]}, {"persons": 7, "add": ["200", "200"], "each": true}],
        "seasons": [
          {"months": [5,6,7,8,9,10], "tiers": [{"up_to": "260", "price": "0"}, {"up_to": "600", "price": "0.05"}, {"price": "0.3"}]},
          {"months": [1,2,3,4,11,12], "tiers": [{"up_to": "200", "price": "0"}, {"up_to": "400", "price": "0.05"}, {"price": "0.3"}]}]},
      {"key": "nine", "name": {"zh": "九价", "en": "Nine"}, "kind": "tier_bands", "accumulate": "year", "order": "steps_first", "prorate": "month", "tiers": [
        {"up_to": "3120", "bands": [{"register": "sharp", "price": "0.6"}, {"register": "peak", "price": "0.6"}, {"register": "flat", "price": "0.5"}, {"register": "valley", "price": "0.3"}, {"register": "deep_valley", "price": "0.3"}]},
        {"bands": [{"register": "sharp", "price": "0.9"}, {"register": "peak", "price": "0.9"}, {"register": "flat", "price": "0.7"}, {"register": "valley", "price": "0.4"}, {"register": "deep_valley", "price": "0.4"}]}]},
      {"key": "fund", "name": {"zh": "基金", "en": "Fund"}, "kind": "flat", "price": "0.00866875"},
      {"key": "kva", "name": {"zh": "容量", "en": "Capacity"}, "kind": "capacity", "price": "25.5", "suspended": "0.5"},
      {"key": "kw", "name": {"zh": "需量", "en": "Demand"}, "kind": "demand", "price": "40.8", "basis": "contract", "over": {"percent": "105", "factor": "2"}},
      {"key": "pf", "name": {"zh": "力调", "en": "Power factor"}, "kind": "power_factor", "standard": "0.9", "of": ["ratio", "kva", "kw"]},
      {"key": "least", "name": {"zh": "最低", "en": "Minimum"}, "kind": "minimum", "price": "20"},
      {"key": "vat", "name": {"zh": "税", "en": "VAT"}, "kind": "tax", "rate": "0.13", "inclusive": true, "invoice": "special"}]}
  ]}`

func everyKindValue(t *testing.T) billing.Tariff {
	var tariff billing.Tariff
	require.NoError(t, json.Unmarshal([]byte(everyKind), &tariff))
	require.NoError(t, tariff.Validate())
	return tariff
}

func TestTariff_everyKindRoundTrips(t *testing.T) {
	data, err := json.Marshal(everyKindValue(t))
	require.NoError(t, err)
	require.JSONEq(t, everyKind, string(data))
}

// A file from before tax points is as good as ever: its taxes arise when the bill is issued.
func TestTaxPoint(t *testing.T) {
	vat := func(text string) billing.Component {
		var tariff billing.Tariff
		require.NoError(t, json.Unmarshal([]byte(strings.Replace(everyKind, `"invoice": "special"`, text, 1)), &tariff))
		require.NoError(t, tariff.Validate())
		components := tariff.Versions[0].Components
		return components[len(components)-1]
	}
	require.Equal(t, billing.TaxAtBilling, vat(`"invoice": "special"`).Arises())
	require.Equal(t, billing.TaxAtBilling, vat(`"invoice": "special", "tax_point": "billing"`).Arises())
	paid := vat(`"invoice": "special", "tax_point": "recharge"`)
	require.Equal(t, billing.TaxAtRecharge, paid.Arises())
	data, err := json.Marshal(paid)
	require.NoError(t, err)
	require.Contains(t, string(data), `"tax_point":"recharge"`)
}

// Each case spoils the text once; the sentence must name the place.
func TestTariff_everyKindValidateNamesThePlace(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"ends before it starts":  {`"until": "2027-01-01"`, `"until": "2025-01-01"`, "version 2026-01-01, it ends (until 2025-01-01) before it starts"},
		"ratio and price":        {`"price": "0.5802", "bands": [`, `"bands": [`, "component ratio: band sharp: a ratio needs the component's price"},
		"ratio missing":          {`{"register": "peak", "ratio": "1.7"}`, `{"register": "peak"}`, "component ratio: band peak: the ratio is missing"},
		"ratio negative":         {`"ratio": "0.38"`, `"ratio": "-0.38"`, "band valley: the ratio -0.38 is negative"},
		"band twice":             {`{"register": "flat", "ratio": "1"}`, `{"register": "peak", "ratio": "1"}`, "band peak: it has two prices"},
		"factor beside ratios":   {`"kind": "bands",`, `"kind": "bands", "factor": "0.9",`, "component ratio: a factor and ratios"},
		"month in two seasons":   {`"months": [1,2,3,4,11,12]`, `"months": [1,2,3,4,10,11,12]`, "component season: season 2: month 10 is in season 1 already"},
		"month in no season":     {`"months": [1,2,3,4,11,12]`, `"months": [1,2,3,4,11]`, "component season: month 12 is in no season"},
		"no such month":          {`"months": [1,2,3,4,11,12]`, `"months": [1,2,3,4,11,13]`, "season 2: month 13 is no month"},
		"season and own prices":  {`"kind": "steps", "accumulate": "month",`, `"kind": "steps", "accumulate": "month", "tiers": [{"price": "1"}],`, "component season: it has seasons and prices of its own"},
		"fewer tiers":            {`{"up_to": "200", "price": "0"}, `, ``, "season 2: household 1: add needs one number per limit, 1"},
		"negative limit":         {`"up_to": "260"`, `"up_to": "-260"`, "component season: season 1: tier 1: the limit -260 is negative"},
		"tier gap":               {`{"price": "0.3"}]}]},`, `{"up_to": "900", "price": "0.3"}]}]},`, "season 2: tier 3: the last tier must have no upper edge"},
		"persons not rising":     {`"persons": 7`, `"persons": 5`, "household 2: persons must be at least 1 and rise"},
		"household negative":     {`"add": ["100", "100"]`, `"add": ["-100", "100"]`, "household 1: add 1: the number -100 is negative"},
		"household overlaps":     {`"add": ["100", "100"]`, `"add": ["100", "50"]`, "household 1: add 2: the number 50"},
		"yearly season":          {`"accumulate": "month",`, `"accumulate": "year",`, "season 2: tier 1: a yearly limit can't change with the season"},
		"no order":               {`"order": "steps_first", `, ``, "component nine: order is \"\""},
		"prorate":                {`"prorate": "month"`, `"prorate": "year"`, "component nine: prorate is \"year\""},
		"nine with a price":      {`{"up_to": "3120", "bands"`, `{"up_to": "3120", "price": "1", "bands"`, "component nine: tier 1: it has one price"},
		"nine without a band":    {`{"register": "valley", "price": "0.3"}, `, ``, "component nine: tier 1: band valley: the price is missing"},
		"steps with bands":       {`"kind": "tier_bands", "accumulate": "year", "order": "steps_first"`, `"kind": "steps", "accumulate": "year"`, "component nine: tier 1: it has prices per band"},
		"capacity price":         {`"kind": "capacity", "price": "25.5",`, `"kind": "capacity",`, "component kva: the price is missing"},
		"suspended":              {`"suspended": "0.5"`, `"suspended": "-0.5"`, "component kva: the share of suspended capacity -0.5"},
		"basis":                  {`"basis": "contract"`, `"basis": "guess"`, "component kw: basis is \"guess\""},
		"over measured":          {`"basis": "contract"`, `"basis": "measured"`, "component kw: over is for the contract basis"},
		"standard":               {`"standard": "0.9"`, `"standard": "0.95"`, "component pf: the standard is \"0.95\""},
		"of unknown":             {`"of": ["ratio", "kva", "kw"]`, `"of": ["ratio", "kvar"]`, "component pf: of kvar: there is no such component"},
		"of later":               {`"of": ["ratio", "kva", "kw"]`, `"of": ["ratio", "least"]`, "component pf: of least"},
		"of twice":               {`"of": ["ratio", "kva", "kw"]`, `"of": ["ratio", "ratio"]`, "component pf: of ratio: it is named twice"},
		"of missing":             {`, "of": ["ratio", "kva", "kw"]`, ``, "component pf: of is missing"},
		"two minimums":           {`"kind": "tax", "rate": "0.13", "inclusive": true, "invoice": "special"`, `"kind": "minimum", "price": "3"`, "component vat: a version has at most one component of the kind minimum"},
		"tax point":              {`"invoice": "special"`, `"invoice": "special", "tax_point": "delivery"`, "component vat: the tax point is \"delivery\": use billing"},
		"tax point elsewhere":    {`"kind": "minimum", `, `"kind": "minimum", "tax_point": "billing", `, "component least: it has fields of another kind than minimum (tax_point)"},
		"rate":                   {`"rate": "0.13", `, ``, "component vat: the rate is missing"},
		"water":                  {`"service": "power"`, `"service": "water"`, "calendar: water meters have no bands"},
		"segment ends first":     {`{"from": "00:00", "to": "07:00", "band": "valley"}`, `{"from": "07:00", "to": "00:00", "band": "valley"}`, "calendar: season 1: days 3: segment 07:00–00:00: it ends before it starts"},
		"segments overlap":       {`{"from": "16:00", "to": "21:00", "band": "peak"}`, `{"from": "06:30", "to": "21:00", "band": "peak"}`, "days 3: segment 06:30–21:00: the band peak overlaps valley 00:00–07:00"},
		"sharp outside peak":     {`{"from": "19:30", "to": "21:00", "band": "sharp"}`, `{"from": "03:30", "to": "21:00", "band": "sharp"}`, "sharp overlaps valley"},
		"days without a rest":    {`{"months": [3,4,5,6,7,8,9,10,11], "days": [{"segments": []}]}`, `{"months": [3,4,5,6,7,8,9,10,11], "days": [{"on": ["mon"], "segments": []}]}`, "season 2: days 1: the last entry must match every day"},
		"unknown day":            {`"on": ["sat","off"]`, `"on": ["sabbath"]`, `days 2: the entry "sabbath" is unknown`},
		"calendar month missing": {`"months": [3,4,5,6,7,8,9,10,11]`, `"months": [3,4,5,6,7,8,9,10]`, "calendar: month 11 is in no season"},
		"exception ends first":   {`"to": "2026-10-04"`, `"to": "2026-10-01"`, "calendar: exception 2026-10-01: it ends (2026-10-01) before it starts"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, everyKind, c.from)
			var tariff billing.Tariff
			require.NoError(t, json.Unmarshal([]byte(strings.Replace(everyKind, c.from, c.to, 1)), &tariff))
			err := tariff.Validate()
			require.ErrorContains(t, err, c.want)
			require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
		})
	}
}

func TestTariff_gapAndOverlapOfVersions(t *testing.T) {
	tariff := everyKindValue(t)
	next := tariff.Versions[0]
	next.Until = billing.Date{}
	for until, want := range map[string]string{"2026-06-01": "gap without a price from 2026-06-01 to 2026-07-01", "2026-08-01": "overlaps the next version from 2026-07-01 to 2026-08-01", "2026-07-01": ""} {
		first := tariff.Versions[0]
		first.Until, next.From = billing.MustDate(until), billing.MustDate("2026-07-01")
		spoilt := tariff
		spoilt.Versions = []billing.TariffVersion{first, next}
		if err := spoilt.Validate(); want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
	_, until, err := tariff.VersionAt(billing.MustDate("2026-12-31"))
	require.NoError(t, err)
	require.Equal(t, "2027-01-01", until.String())
	_, _, err = tariff.VersionAt(billing.MustDate("2027-01-01"))
	require.ErrorContains(t, err, "ended on 2027-01-01")
	require.Equal(t, billing.CodeTariffMissing, billing.CodeOf(err))
}

func TestFactor_zeroIsRefusedInFiles(t *testing.T) {
	var f billing.Factor
	require.ErrorContains(t, f.UnmarshalText([]byte("0.0")), "would charge nothing", "left out means 1, so 0 must not be taken for it")
}

func TestTariffCalendar_day(t *testing.T) {
	calendar := *everyKindValue(t).Versions[0].Calendar
	holidays := billing.NewCalendar(billing.CalendarYear{Year: 2026, Days: []billing.CalendarDay{
		{Date: billing.MustDate("2026-02-17"), Off: true, Name: "春节"}, {Date: billing.MustDate("2026-01-04"), Off: false},
	}})
	show := func(day string) string {
		segments, err := calendar.Day(billing.MustDate(day), holidays)
		require.NoError(t, err)
		var words []string
		for _, s := range segments {
			words = append(words, s.From.String()+" "+s.Band.String())
		}
		return strings.Join(words, ", ") + " " + segments[len(segments)-1].To.String()
	}
	require.Equal(t, "00:00 valley, 02:00 deep_valley, 04:30 valley, 07:00 flat, 16:00 peak, 19:30 sharp, 21:00 flat 24:00", show("2026-01-05"))
	require.Equal(t, show("2026-01-05"), show("2026-01-04"), "a Sunday that is worked")
	require.Equal(t, "00:00 flat 24:00", show("2026-01-03"), "a Saturday")
	require.Equal(t, "00:00 flat, 10:00 deep_valley, 14:00 flat 24:00", show("2026-02-17"))
	require.Equal(t, "00:00 flat, 09:00 deep_valley, 15:00 flat 24:00", show("2026-10-03"))
	require.Equal(t, "00:00 flat 24:00", show("2026-10-04"), "the exception's end is not in it")
	require.Equal(t, 7, calendar.Switches())
	_, err := calendar.Day(billing.MustDate("2027-01-04"), holidays)
	require.ErrorContains(t, err, "calendar for 2027 is not loaded")

	day, err := calendar.Day(billing.MustDate("2026-01-05"), holidays)
	require.NoError(t, err)
	require.Equal(t, billing.Peak, billing.BandAt(day, 38))
	require.Equal(t, billing.Sharp, billing.BandAt(day, 39), "19:30")
	var c billing.Clock
	for _, bad := range []string{"7:00", "24:30", "19:15", "25:00", "x"} {
		require.ErrorContains(t, c.UnmarshalText([]byte(bad)), "half hour", bad)
	}
}

// The rows that the sources print, and the whole of a reward and a penalty.
func TestPowerFactorRatio_publishedRows(t *testing.T) {
	for _, row := range []struct {
		factor int
		by     [3]string // standards 0.90, 0.85, 0.80
	}{
		{100, [3]string{"-0.0075", "-0.011", "-0.013"}}, {94, [3]string{"-0.006", "-0.011", "-0.013"}}, {91, [3]string{"-0.0015", "-0.0065", "-0.0115"}},
		{66, [3]string{"0.14", "0.095", "0.07"}}, {65, [3]string{"0.15", "0.1", "0.075"}}, {64, [3]string{"0.17", "0.11", "0.08"}},
		{60, [3]string{"0.25", "0.15", "0.1"}}, {59, [3]string{"0.27", "0.17", "0.11"}}, {32, [3]string{"0.81", "0.71", "0.61"}},
		{27, [3]string{"0.91", "0.81", "0.71"}}, {26, [3]string{"0.93", "0.83", "0.73"}}, {0, [3]string{"1.45", "1.35", "1.25"}},
	} {
		for i, standard := range []string{"0.90", "0.85", "0.80"} {
			ratio, err := billing.PowerFactorRatio(billing.MustFactor(standard), row.factor)
			require.NoError(t, err)
			require.Equal(t, row.by[i], ratio.String(), "%s at standard %s", billing.FormatHundredths(row.factor), standard)
		}
	}
	_, err := billing.PowerFactorRatio(billing.MustFactor("0.7"), 90)
	require.ErrorContains(t, err, "no table")
}

// The bands of kvarh per kWh are those of wgbc.cn.
func TestPowerFactor_roundsHalfUpToTwoDecimals(t *testing.T) {
	for _, c := range []struct {
		kvarh string
		want  int
	}{
		{"0", 100}, {"0.2280", 97}, {"0.2717", 97}, {"0.2718", 96}, {"0.3106", 95}, {"0.3461", 95}, {"0.3462", 94}, {"1.1537", 65}, {"1.1847", 65}, {"0.75", 80}, {"1000", 0},
	} {
		got, ok := billing.PowerFactor(billing.MustQuantity("1"), billing.MustQuantity(c.kvarh))
		require.True(t, ok)
		require.Equal(t, c.want, got, "%s kvarh per kWh", c.kvarh)
	}
	_, ok := billing.PowerFactor(billing.Quantity{}, billing.MustQuantity("5"))
	require.False(t, ok)
}

func TestTariffVersion_highestUnitPrice(t *testing.T) {
	v := everyKindValue(t).Versions[0]
	// Sharp in the last tiers: 0.5802 × 2.125 + 0.3 + 0.9 + 0.00866875.
	require.Equal(t, "2.44159375", v.HighestUnitPrice().String())
	v.Components[len(v.Components)-1].Inclusive = false
	require.Equal(t, "2.75900094", v.HighestUnitPrice().String(), "with 13 % on top, rounded half up")
	require.Equal(t, "0.33333333", billing.UnitPrice(100, billing.MustQuantity("3")).String())
}

func TestChargeMonths(t *testing.T) {
	for _, c := range []struct {
		quantity, price string
		thirtieths      int
		want            billing.Money
	}{{"1630", "15", 10, 815000}, {"1", "0.01", 15, 1}, {"1", "0.01", 14, 0}, {"30842.066223", "39", 30, 120284058}} {
		got, err := billing.ChargeMonths(billing.MustQuantity(c.quantity), billing.MustPrice(c.price), billing.Factor{}, c.thirtieths)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}
