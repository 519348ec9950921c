package longhand_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
	"github.com/meterflow/meterflow/internal/longhand"
	"github.com/meterflow/meterflow/internal/rating"
)

// TestDifferential rates random histories on random tariffs twice. Every line must be the same to the fen, or both must refuse.
func TestDifferential(t *testing.T) {
	t.Parallel()
	kinds, refused := map[string]int{}, 0
	for seed := range uint64(cases) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 20261128))}
		in, account := g.history(t)
		got, err := rating.Rate(in)
		want, wantErr := longhand.Rate(account)
		if err != nil || wantErr != nil {
			require.Equal(t, err != nil, wantErr != nil, "seed %d: rating says %v, longhand says %v", seed, err, wantErr)
			refused++
			continue
		}
		require.Equal(t, text(want), ours(got), "seed %d\n%s", seed, g.tell(account))
		for _, l := range got.Lines {
			kinds[string(l.Kind)+kindOf(in, l.Component)]++
		}
	}
	t.Logf("%d histories, %d refused by both; lines by kind: %v", cases, refused, kinds)
	require.Less(t, refused, cases/5, "too many histories are refused to prove anything")
	for _, kind := range []string{"flat", "bands", "steps", "tier_bands", "capacity", "demand", "power_factor", "minimum", "tax", "late_fee"} {
		require.NotZero(t, kinds[kind], "no line of kind %s was compared", kind)
	}
}

func kindOf(in rating.Input, key string) string {
	for _, v := range in.Tariff.Versions {
		for _, c := range v.Components {
			if c.Key == key && !monthly[string(c.Kind)] {
				return string(c.Kind)
			}
		}
	}
	return ""
}

var monthly = map[string]bool{"capacity": true, "demand": true, "power_factor": true, "minimum": true, "tax": true}

// text writes lines for comparison; lines that come to nothing may be printed or not.
func text(lines []longhand.Line) []string {
	var list []string
	for _, l := range lines {
		if l.Fen != 0 {
			list = append(list, fmt.Sprintf("%s %d %d %d", l.Component, l.Register, l.Tier, l.Fen))
		}
	}
	return list
}

func ours(r rating.Result) []string {
	var list []string
	for _, l := range r.Lines {
		if l.Amount != 0 {
			list = append(list, fmt.Sprintf("%s %d %d %d", l.Component, l.Register, l.Tier, l.Amount))
		}
	}
	return list
}

// generator makes histories; the same seed makes the same one.
type generator struct{ *rand.Rand }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *generator) tell(a longhand.Account) string {
	b, err := json.MarshalIndent(a, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// fields is a JSON object.
type fields = map[string]any

func (g *generator) decimal(most, decimals int) string {
	n := g.IntN(most + 1)
	scale := 1
	for range decimals {
		scale *= 10
	}
	return big.NewRat(int64(n), int64(scale)).FloatString(decimals)
}

func (g *generator) price() string { return g.decimal(200_000_000, 8) }

// day is a random day of the three years around the periods.
func (g *generator) day(from, to int) string {
	return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, from+g.IntN(to-from)).Format(time.DateOnly)
}

// shape is what all versions of a history's tariffs have in common.
type shape struct {
	water, bands bool
}

// tariff makes a tariff of one to three versions.
func (g *generator) tariff(id string, s shape) fields {
	service := "power"
	if s.water {
		service = "water"
	}
	from := []string{"2024-01-01"}
	if g.chance(50) {
		from = append(from, g.day(0, 300))
	}
	if g.chance(40) {
		from = append(from, g.day(300, 720))
	}
	var versions []fields
	for _, day := range from {
		versions = append(versions, fields{"from": day, "components": g.components(s)})
	}
	return fields{"id": id, "name": names(id), "service": service, "versions": versions}
}

func names(text string) fields { return fields{"zh": text, "en": text} }

func (g *generator) components(s shape) []fields {
	var list []fields
	var energy []string
	add := func(kind string, c fields) {
		key := kind
		for _, other := range list {
			if other["key"] == key {
				key += "+"
			}
		}
		c["key"], c["kind"], c["name"] = key, kind, names(key)
		list = append(list, c)
		if !monthly[kind] || kind == "capacity" || kind == "demand" {
			energy = append(energy, key)
		}
	}
	if g.chance(70) || !s.bands {
		add("flat", g.seasonal(g.flat))
	}
	if s.bands && g.chance(60) {
		add("bands", g.seasonal(g.bands))
	}
	if g.chance(50) {
		add("steps", g.stepped(false))
	}
	if s.bands && g.chance(35) {
		add("tier_bands", g.stepped(true))
	}
	if g.chance(15) {
		add("flat", g.seasonal(g.flat))
	}
	if !s.water && g.chance(30) {
		c := fields{"price": g.price()}
		if g.chance(50) {
			c["suspended"] = pick(g, "0.5", "1", "0.25")
		}
		add("capacity", c)
	}
	if !s.water && g.chance(30) {
		add("demand", g.demand())
	}
	if len(list) == 0 {
		add("flat", g.flat())
	}
	if !s.water && g.chance(25) {
		add("power_factor", fields{"standard": pick(g, "0.90", "0.85", "0.80"), "of": g.some(energy)})
	}
	if g.chance(25) {
		c := fields{"price": g.decimal(50_000, 2)}
		if g.chance(40) {
			c["of"] = g.some(energy)
		}
		add("minimum", c)
	}
	for range g.IntN(3) {
		if !g.chance(40) {
			continue
		}
		c := fields{"rate": pick(g, "0.13", "0.09", "0.03", "0.06"), "inclusive": g.chance(20)}
		if g.chance(40) {
			c["of"] = g.some(energy)
		}
		add("tax", c)
	}
	return list
}

// some are one or more of the keys.
func (g *generator) some(keys []string) []string {
	chosen := []string{keys[g.IntN(len(keys))]}
	for _, k := range keys {
		if k != chosen[0] && g.chance(60) {
			chosen = append(chosen, k)
		}
	}
	return chosen
}

// seasonal puts a component's prices into seasons, now and then.
func (g *generator) seasonal(make func() fields) fields {
	if !g.chance(25) {
		return make()
	}
	first, second := make(), make()
	c := fields{}
	for _, p := range []fields{first, second} {
		if f, ok := p["factor"]; ok {
			c["factor"] = f
		}
		delete(p, "factor")
	}
	if list, ok := first["bands"].([]fields); ok {
		if _, ratios := list[0]["ratio"]; ratios {
			delete(c, "factor")
		}
		second["bands"] = first["bands"] // of one form
		delete(second, "price")
		if p, ok := first["price"]; ok {
			second["price"] = p
		}
	}
	first["months"], second["months"] = []int{5, 6, 7, 8, 9, 10}, []int{1, 2, 3, 4, 11, 12}
	c["seasons"] = []fields{first, second}
	return c
}

func (g *generator) flat() fields {
	c := fields{"price": g.price()}
	if g.chance(25) {
		c["factor"] = pick(g, "0.9", "0.95", "1.5")
	}
	return c
}

func (g *generator) bands() fields {
	c := fields{}
	ratios := g.chance(40)
	if ratios {
		c["price"] = g.decimal(100_000, 4)
	}
	var list []fields
	for _, i := range g.Perm(5) {
		b := fields{"register": bandNames[i]}
		if ratios {
			b["ratio"] = pick(g, "1", "1.7", "2.04", "0.35", "0.28", "0.1")
		} else {
			b["price"] = g.price()
		}
		list = append(list, b)
	}
	c["bands"] = list
	if !ratios && g.chance(20) {
		c["factor"] = "0.8"
	}
	return c
}

var bandNames = []string{"sharp", "peak", "flat", "valley", "deep_valley"}

// stepped makes steps or tier_bands.
func (g *generator) stepped(withBands bool) fields {
	per := pick(g, "year", "month")
	c := fields{"accumulate": per}
	if withBands {
		c["order"] = pick(g, "steps_first", "bands_first")
	}
	n := 1 + g.IntN(3) // edges
	var edges []string
	at := 0
	for range n {
		at += 1 + g.IntN(map[string]int{"year": 300_000, "month": 30_000}[per])
		edges = append(edges, big.NewRat(int64(at), 100).FloatString(2))
	}
	tiers := func() []fields {
		var list []fields
		order := g.Perm(5)
		for i := range n + 1 {
			t := fields{}
			if i < n {
				t["up_to"] = edges[i]
			}
			if withBands {
				var bands []fields
				for _, k := range order {
					bands = append(bands, fields{"register": bandNames[k], "price": g.price()})
				}
				t["bands"] = bands
			} else {
				t["price"] = g.price()
			}
			list = append(list, t)
		}
		return list
	}
	if g.chance(20) {
		c["seasons"] = []fields{{"months": []int{5, 6, 7, 8, 9, 10}, "tiers": tiers()}, {"months": []int{1, 2, 3, 4, 11, 12}, "tiers": tiers()}}
	} else {
		c["tiers"] = tiers()
	}
	if per == "year" && g.chance(30) {
		c["prorate"] = "month"
	}
	if g.chance(40) {
		var list []fields
		for _, persons := range []int{5, 7}[:1+g.IntN(2)] {
			var add []string
			raise := 0
			for range n {
				raise += g.IntN(10_000)
				add = append(add, big.NewRat(int64(raise), 100).FloatString(2))
			}
			list = append(list, fields{"persons": persons, "add": add, "each": g.chance(40)})
		}
		c["household"] = list
	}
	if g.chance(15) {
		c["factor"] = "0.9"
	}
	return c
}

func (g *generator) demand() fields {
	c := fields{"price": g.price(), "basis": pick(g, "measured", "contract")}
	if c["basis"] == "contract" && g.chance(60) {
		c["over"] = fields{"percent": pick(g, "105", "100", "110"), "factor": pick(g, "2", "1.5")}
	}
	return c
}

// parse reads a tariff as the product does.
func parse(t *testing.T, raw json.RawMessage) billing.Tariff {
	tariff, err := tariffdata.Parse(raw)
	require.NoError(t, err, "%s", raw)
	return tariff
}
