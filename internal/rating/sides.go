package rating

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// Sides are the two sides of the figure rating_vs_arithmetic: months of a time
// of use × step tariff, rated, and the same multiplications and roundings in a
// bare loop of 64-bit fixed point. Both give the sum of all amounts in fen,
// which must be the same. A caller times each over the same accounts.
type Sides struct {
	Accounts int
	// Rated goes through Rater.Rate, with the readings' checks, the cuts and
	// the whole result with its lines.
	Rated func() (billing.Money, error)
	// Bare has prices and tiers in local arrays, and keeps nothing but the sum.
	Bare func() int64
}

// The tariff of the benchmark in 1/10^8 yuan, and edges in 0.01 kWh: Shanghai's
// and Zhejiang's numbers, five bands and a step adder.
var (
	benchBands = [5]int64{85_200_000, 56_800_000, 43_210_000, 28_800_000, 23_040_000}
	benchSteps = [3]int64{0, 5_000_000, 30_000_000}
	benchEdges = [2]int64{276_000, 480_000}
)

// BenchSides makes the sides for a number of accounts, the same each time.
func BenchSides(accounts int) (Sides, error) {
	zone := time.FixedZone("Asia/Shanghai", 8*60*60)
	from, to := billing.MustDate("2026-09-01").Start(zone), billing.MustDate("2026-10-01").Start(zone)
	tariff, err := benchTariff()
	if err != nil {
		return Sides{}, err
	}
	random := rand.New(rand.NewPCG(1, 2))
	inputs := make([]Input, accounts)
	months := make([]bareMonth, accounts)
	for i := range inputs {
		m := &months[i]
		m.ratio, m.used = 1+random.Int64N(4), random.Int64N(500_000)
		for band := 5; band >= 0; band-- {
			use := random.Int64N(9000)
			if band == 0 {
				use = m.closing[1] + m.closing[2] + m.closing[3] + m.closing[4] + m.closing[5] - m.opening[1] - m.opening[2] - m.opening[3] - m.opening[4] - m.opening[5]
			}
			m.opening[band] = random.Int64N(9_000_000)
			m.closing[band] = m.opening[band] + use
		}
		inputs[i] = Input{
			Tariff: tariff, Location: zone, From: from, To: to, Fittings: []Fitting{{No: 1, Meter: "M1", Ratio: m.ratio, Digits: 8}},
			Points: []Point{
				{At: from, Registers: m.opening[:], Quality: billing.QualityActual, Fitting: 1},
				{At: to, Registers: m.closing[:], Quality: billing.QualityActual, Fitting: 1},
			},
			UsedInYear: billing.Power.Quantity(m.used),
		}
	}
	var r Rater
	return Sides{
		Accounts: accounts,
		Rated: func() (billing.Money, error) {
			var sum billing.Money
			for i := range inputs {
				out, err := r.Rate(&inputs[i])
				if err != nil {
					return 0, err
				}
				sum += out.Total
			}
			return sum, nil
		},
		Bare: func() int64 {
			var sum int64
			for i := range months {
				sum += months[i].price()
			}
			return sum
		},
	}, nil
}

// bareMonth is a month's numbers without anything around them.
type bareMonth struct {
	opening, closing [6]int64
	ratio, used      int64
}

// price does the multiplications and roundings of the month: use after ratio,
// five bands, and the tiers that it falls into.
func (m *bareMonth) price() int64 {
	const perFen = 100_000_000 // 0.01 kWh × 1/10^8 yuan
	var sum int64
	for band, price := range benchBands {
		use := (m.closing[band+1] - m.opening[band+1]) * m.ratio
		sum += (use*price + perFen/2) / perFen
	}
	used, left := m.used, (m.closing[0]-m.opening[0])*m.ratio
	for tier, price := range benchSteps {
		part := left
		if tier < len(benchEdges) {
			part = min(left, max(0, benchEdges[tier]-used))
		}
		sum += (part*price + perFen/2) / perFen
		used, left = used+part, left-part
	}
	return sum
}

func benchTariff() (billing.Tariff, error) {
	price := func(e8 int64) *billing.Price {
		p := billing.MustPrice(fmt.Sprintf("%d.%08d", e8/100_000_000, e8%100_000_000))
		return &p
	}
	name := billing.Names{ZH: "电度电费", EN: "Energy"}
	bands := billing.Component{Key: "energy", Name: name, Kind: billing.KindBands}
	for i, p := range benchBands {
		bands.Bands = append(bands.Bands, billing.BandPrice{Register: billing.Bands[i], Price: price(p)})
	}
	steps := billing.Component{Key: "step", Name: name, Kind: billing.KindSteps, Accumulate: billing.PerYear}
	for i, p := range benchSteps {
		tier := billing.Tier{Price: price(p)}
		if i < len(benchEdges) {
			edge := billing.Power.Quantity(benchEdges[i])
			tier.UpTo = &edge
		}
		steps.Tiers = append(steps.Tiers, tier)
	}
	t := billing.Tariff{
		ID: "bench", Name: name, Service: billing.Power,
		Versions: []billing.TariffVersion{{From: billing.MustDate("2024-01-01"), Components: []billing.Component{bands, steps}}},
	}
	return t, t.Validate()
}
