package billing

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const trialFile = `{
  "id": "trial", "name": {"zh": "试", "en": "Trial"}, "service": "power",
  "versions": [{"from": "2026-01-01", "components": [
    {"key": "energy", "name": {"zh": "电", "en": "Energy"}, "kind": "bands", "bands": [
      {"register": "sharp", "price": "1.2"}, {"register": "peak", "price": "1"}, {"register": "flat", "price": "0.7"},
      {"register": "valley", "price": "0.3"}, {"register": "deep_valley", "price": "0.2"}]},
    {"key": "step", "name": {"zh": "阶梯", "en": "Step"}, "kind": "steps", "accumulate": "year", "factor": "0.9",
      "tiers": [{"up_to": "2760", "price": "0"}, {"price": "0.05"}]},
    {"key": "fund", "name": {"zh": "基金", "en": "Fund"}, "kind": "flat", "price": "0.000001"}]}]
}`

func TestParseTariff_namesThePlace(t *testing.T) {
	good, err := ParseTariff([]byte(trialFile))
	require.NoError(t, err)
	for _, test := range []struct{ old, new, says string }{
		{`"id": "trial"`, `"id": "trial", "colour": "red"`, `line 2, colour: there is no field "colour" here`},
		{`"price": "1.2"`, `"pirce": "1.2"`, `line 5, versions[0].components[0].bands[0].pirce: there is no field "pirce" here`},
		{`"price": "1.2"`, `"price": "1.2", "price": "1.3"`, `bands[0].price: the field "price" stands twice`},
		{`"price": "1.2"`, `"price": 1.2`, `bands[0].price: write it as a text in quotes`},
		{`"price": "1.2"`, `"price": "1,2"`, `versions[0].components[0].bands[0].price: The price "1,2" is not a plain decimal number`},
		{`"sharp"`, `"noon"`, `line 5, versions[0].components[0].bands[0].register`},
		{`"2026-01-01"`, `"1 January"`, `line 3, versions[0].from: The date "1 January"`},
		{`"tiers": [`, `"tiers": {`, `line 8, versions[0].components[1].tiers: this must be a list`},
		{`"key": "fund"`, `"key": 7`, `components[2].key: this must be a text in quotes`},
		{`]}]
}`, `]}]`, `the file ends in the middle`},
		{`]}]
}`, `]}]
} {}`, `line 10: something follows the tariff`},
		{`"kind": "flat",`, `"kind" "flat",`, `line 9, versions[0].components[2].kind: this is no JSON`},
		{`"price": "0"}`, `"price": "-1"}`, `Tariff trial: version 2026-01-01, component step: tier 1: the price -1 is negative`},
	} {
		text := strings.Replace(trialFile, test.old, test.new, 1)
		require.NotEqual(t, trialFile, text, test.old)
		_, err := ParseTariff([]byte(text))
		require.ErrorContains(t, err, test.says)
		require.Equal(t, CodeInvalidInput, CodeOf(err))
	}
	written, err := WriteTariff(good)
	require.NoError(t, err)
	again, err := ParseTariff(written)
	require.NoError(t, err)
	require.Equal(t, good, again)
}

func TestTopPrices(t *testing.T) {
	tariff, err := ParseTariff([]byte(trialFile))
	require.NoError(t, err)
	var sums []string
	for _, u := range tariff.Versions[0].TopPrices() {
		sums = append(sums, u.Register.String()+" "+u.String())
	}
	require.Equal(t, []string{"sharp 1.245001", "peak 1.045001", "flat 0.745001", "valley 0.345001", "deep_valley 0.245001"}, sums)
	sharp := tariff.Versions[0].TopPrices()[0]
	require.Equal(t, "energy", sharp.Dearest().Component)
	require.False(t, sharp.Above(MustPrice("1.245001")), "a ceiling is inclusive")
	require.True(t, sharp.Above(MustPrice("1.245")))
	n, exact := sharp.Scaled(8)
	require.True(t, exact)
	require.Equal(t, int64(124_500_100), n)
	_, exact = sharp.Scaled(4)
	require.False(t, exact)
	require.Equal(t, "+0.0005", PriceChange(MustPrice("0.5"), MustPrice("0.5005")))
	require.Equal(t, "-1", PriceChange(MustPrice("1.5"), MustPrice("0.5")))
	require.Empty(t, PriceChange(MustPrice("0.5"), MustPrice("0.50")))
}
