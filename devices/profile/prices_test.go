package profile

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPriceMap_wrongOnesAreRefused(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile("maps/sim-ddsy1352.json")
	require.NoError(t, err)
	first := func(m map[string]any) map[string]any { return m["fields"].([]any)[0].(map[string]any) }
	for want, spoil := range map[string]func(map[string]any){
		"written by function 16 or 32": func(m map[string]any) { m["function"] = 6 },
		"takes 2 to 123 words":         func(m map[string]any) { m["words"] = 124 },
		"decimals must be 0 to 8":      func(m map[string]any) { m["decimals"] = 9 },
		"list the bands":               func(m map[string]any) { m["fields"] = []any{} },
		"flag byte 64":                 func(m map[string]any) { m["flags"] = []int{64} },
		"each once":                    func(m map[string]any) { first(m)["band"] = "peak" },
		"must be one of":               func(m map[string]any) { first(m)["band"] = "night" },
		"outside of the write":         func(m map[string]any) { first(m)["byte"] = 62 },
		"used twice":                   func(m map[string]any) { first(m)["byte"] = 29 },
		"lies in no block":             func(m map[string]any) { first(m)["address"] = "0x0700" },
	} {
		var m map[string]any
		require.NoError(t, json.Unmarshal(good, &m))
		spoil(m["prices"].(map[string]any))
		data, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = Parse(data)
		require.ErrorContains(t, err, want)
	}
}

// What is written to the registers is what was asked for, for every price that the meter can hold, and no other field is touched.
func TestPriceMap_thereAndBack(t *testing.T) {
	p, err := Get("sim-dtsy1352")
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		var want [5]int64
		for i := range want {
			want[i] = rapid.Int64Range(0, 50_000).Draw(t, PriceBands[i]) * 10_000
		}
		raw, err := p.Prices.Raw(want, p.MaxPriceFen)
		require.NoError(t, err)
		payload := p.Prices.Payload(raw)
		bytes := make([]byte, 0, 64)
		for _, w := range payload {
			bytes = append(bytes, byte(w>>8), byte(w))
		}
		got, err := p.Prices.Decode(Raw{"prices": bytes[30:46], "deep-price": bytes[60:64]})
		require.NoError(t, err)
		require.Equal(t, want, got)
		for i, b := range bytes {
			if i < 29 || i >= 46 && i < 60 {
				require.Zero(t, b, "byte %d belongs to another field", i)
			}
		}
	})
}
