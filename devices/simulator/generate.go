package simulator

import (
	"fmt"
	"math/rand/v2"
)

// Generated says how large a made-up fleet is. The same values make the same fleet.
type Generated struct {
	Seed     int64
	Gateways int
	Meters   int // per gateway, 1 to 247
	// Line is what all gateways have in common; its id, address and meters are ignored.
	Line GatewaySpec
}

// Generate describes a fleet: each meter has a load series, a scale and opening registers of its own, every fourth gateway holds water
// meters, and every other electricity meter credit.
func Generate(g Generated) (FleetSpec, error) {
	if g.Gateways < 1 || g.Gateways > 10_000 || g.Meters < 1 || g.Meters > 247 {
		return FleetSpec{}, fmt.Errorf("a fleet has 1 to 10000 gateways of 1 to 247 meters, not %d of %d", g.Gateways, g.Meters)
	}
	power, err := SeriesIDs(false)
	if err != nil {
		return FleetSpec{}, err
	}
	water, err := SeriesIDs(true)
	if err != nil {
		return FleetSpec{}, err
	}
	random := rand.New(rand.NewPCG(uint64(g.Seed), 1))
	spec := FleetSpec{Seed: g.Seed}
	for i := range g.Gateways {
		gateway := g.Line
		gateway.ID, gateway.Listen, gateway.Meters = fmt.Sprintf("g%04d", i+1), "", nil
		series := power
		if i%4 == 3 {
			series = water
		}
		for unit := 1; unit <= g.Meters; unit++ {
			m := MeterSpec{
				Unit: byte(unit), Serial: fmt.Sprintf("%08d%04d", i+1, unit), Profile: profileSingle,
				LoadProfile: series[random.IntN(len(series))], ScalePermille: 500 + random.Int64N(1000), OffsetDays: random.IntN(300),
			}
			if i%4 == 3 {
				m.Profile, m.ValveMillis, m.OpeningRegisters = profileWater, 500, []int64{random.Int64N(1_000_000)}
			} else {
				valley := random.Int64N(1_000_000)
				m.OpeningRegisters = []int64{valley, 0, 0, 0, valley, 0}
				m.CreditMode, m.RemainingFen = unit%2 == 0, 10_000+random.Int64N(90_000)
				m.PricesE8 = [5]int64{60_000_000, 60_000_000, 60_000_000, 30_000_000, 30_000_000}
			}
			gateway.Meters = append(gateway.Meters, m)
		}
		spec.Gateways = append(spec.Gateways, gateway)
	}
	return spec, nil
}
