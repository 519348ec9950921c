package billing_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
)

const wholeTariff = `{
  "id": "t1", "name": {"zh": "甲", "en": "A"}, "service": "power",
  "versions": [
    {"from": "2025-01-01", "components": [
      {"key": "energy", "name": {"zh": "电度", "en": "Energy"}, "kind": "bands", "bands": [
        {"register": "sharp", "price": "1"}, {"register": "peak", "price": "0.8"}, {"register": "flat", "price": "0.5"},
        {"register": "valley", "price": "0.3"}, {"register": "deep_valley", "price": "0"}]},
      {"key": "step", "name": {"zh": "阶梯", "en": "Step"}, "kind": "steps", "accumulate": "year", "tiers": [
        {"up_to": "2760", "price": "0"}, {"up_to": "4800", "price": "0.05"}, {"price": "0.3"}]},
      {"key": "fund", "name": {"zh": "基金", "en": "Fund"}, "kind": "flat", "factor": "0.9", "price": "0.01"}]},
    {"from": "2026-07-01", "components": [
      {"key": "energy", "name": {"zh": "电度", "en": "Energy"}, "kind": "flat", "price": "0.6"}]}
  ]}`

func wholeTariffValue(t *testing.T) billing.Tariff {
	var tariff billing.Tariff
	require.NoError(t, json.Unmarshal([]byte(wholeTariff), &tariff))
	require.NoError(t, tariff.Validate())
	return tariff
}

func TestTariff_roundTripsThroughJSON(t *testing.T) {
	tariff := wholeTariffValue(t)
	data, err := json.Marshal(tariff)
	require.NoError(t, err)
	require.JSONEq(t, wholeTariff, string(data))
}

func TestTariff_versionAt(t *testing.T) {
	tariff := wholeTariffValue(t)
	v, until, err := tariff.VersionAt(billing.MustDate("2026-06-30"))
	require.NoError(t, err)
	require.Equal(t, "2025-01-01", v.From.String())
	require.Equal(t, "2026-07-01", until.String())
	v, until, err = tariff.VersionAt(billing.MustDate("2026-07-01"))
	require.NoError(t, err)
	require.Equal(t, "2026-07-01", v.From.String())
	require.True(t, until.IsZero())
	_, _, err = tariff.VersionAt(billing.MustDate("2024-12-31"))
	require.Equal(t, billing.CodeTariffMissing, billing.CodeOf(err))
}

func TestTariff_validateNamesThePlace(t *testing.T) {
	price := func(s string) *billing.Price { p := billing.MustPrice(s); return &p }
	edge := func(s string) *billing.Quantity { q := billing.MustQuantity(s); return &q }
	bands := func(t *billing.Tariff) *billing.Component { return &t.Versions[0].Components[0] }
	steps := func(t *billing.Tariff) *billing.Component { return &t.Versions[0].Components[1] }
	flat := func(t *billing.Tariff) *billing.Component { return &t.Versions[0].Components[2] }
	cases := map[string]struct {
		spoil func(*billing.Tariff)
		want  string
	}{
		"no id":             {func(t *billing.Tariff) { t.ID = "" }, "has no id"},
		"service":           {func(t *billing.Tariff) { t.Service = "gas" }, `service "gas" is unknown`},
		"name":              {func(t *billing.Tariff) { t.Name.EN = "" }, "both languages"},
		"no version":        {func(t *billing.Tariff) { t.Versions = nil }, "no version"},
		"no start":          {func(t *billing.Tariff) { t.Versions[0].From = billing.Date{} }, "version 1 has no start"},
		"versions overlap":  {func(t *billing.Tariff) { t.Versions[1].From = t.Versions[0].From }, "version 2025-01-01 does not start after"},
		"no component":      {func(t *billing.Tariff) { t.Versions[1].Components = nil }, "version 2026-07-01, it has no component"},
		"key twice":         {func(t *billing.Tariff) { steps(t).Key = "energy" }, "component energy: the key is used twice"},
		"no key":            {func(t *billing.Tariff) { steps(t).Key = "" }, "component 2 has no key"},
		"kind":              {func(t *billing.Tariff) { flat(t).Kind = "cubic" }, "kind cubic is unknown"},
		"component name":    {func(t *billing.Tariff) { flat(t).Name.ZH = "" }, "component fund: it needs a name"},
		"factor":            {func(t *billing.Tariff) { flat(t).Factor = billing.MustFactor("-0.9") }, "component fund: the factor -0.9 is negative"},
		"flat price":        {func(t *billing.Tariff) { flat(t).Price = nil }, "component fund: the price is missing"},
		"foreign fields":    {func(t *billing.Tariff) { flat(t).Accumulate = "year" }, "fields of another kind"},
		"bands with price":  {func(t *billing.Tariff) { bands(t).Price = price("1") }, "fields of another kind"},
		"steps with bands":  {func(t *billing.Tariff) { steps(t).Bands = bands(t).Bands }, "fields of another kind"},
		"band gap":          {func(t *billing.Tariff) { bands(t).Bands = bands(t).Bands[1:] }, "band sharp: the price is missing"},
		"band twice":        {func(t *billing.Tariff) { bands(t).Bands[1].Register = billing.Sharp }, "band sharp: it has two prices"},
		"band total":        {func(t *billing.Tariff) { bands(t).Bands[1].Register = billing.Total }, "band total: it is no band"},
		"band price":        {func(t *billing.Tariff) { bands(t).Bands[2].Price = nil }, "band flat: the price is missing"},
		"band negative":     {func(t *billing.Tariff) { bands(t).Bands[2].Price = price("-0.1") }, "band flat: the price -0.1 is negative"},
		"water bands":       {func(t *billing.Tariff) { t.Service = billing.Water }, "water meters have no bands"},
		"accumulate":        {func(t *billing.Tariff) { steps(t).Accumulate = "week" }, `accumulate is "week"`},
		"no tier":           {func(t *billing.Tariff) { steps(t).Tiers = nil }, "it has no tier"},
		"tier overlap":      {func(t *billing.Tariff) { steps(t).Tiers[1].UpTo = edge("2760") }, "tier 2: the upper edge 2760 is not above 2760"},
		"tier at zero":      {func(t *billing.Tariff) { steps(t).Tiers[0].UpTo = edge("0") }, "tier 1: the upper edge 0"},
		"tier too fine":     {func(t *billing.Tariff) { steps(t).Tiers[0].UpTo = edge("2760.001") }, "tier 1: 2760.001 kWh is finer than the register"},
		"tier gap":          {func(t *billing.Tariff) { steps(t).Tiers[2].UpTo = edge("9000") }, "tier 3: the last tier must have no upper edge"},
		"tier without edge": {func(t *billing.Tariff) { steps(t).Tiers[0].UpTo = nil }, "tier 1: only the last tier"},
		"tier price":        {func(t *billing.Tariff) { steps(t).Tiers[1].Price = nil }, "tier 2: the price is missing"},
		"tier negative":     {func(t *billing.Tariff) { steps(t).Tiers[1].Price = price("-1") }, "tier 2: the price -1 is negative"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tariff := wholeTariffValue(t)
			c.spoil(&tariff)
			err := tariff.Validate()
			require.ErrorContains(t, err, c.want)
			require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
		})
	}
}
