package demo

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
)

// The simulator's register maps.
const (
	profileSinglePhase = "sim-ddsy1352"
	profileThreePhase  = "sim-dtsy1352"
	profileWater       = "sim-valve-water"
)

// Real milliseconds. The lines are quicker than real ones, so that a month goes by in minutes; the proportions are those of the field.
const (
	lineMillis   = 1
	silentMillis = 60
	// timeoutMillis is longer than the gateway's own wait for a silent meter.
	timeoutMillis = 1000
	valveMillis   = 150
)

const (
	// largeShop marks the large customers of a plaza gateway: one in ten, behind current transformers.
	largeShop = 4
	alarmFen  = 3000
)

// One shop has a clock that gains so many seconds a day: it is set after the next day's readings.
const (
	fastClockShop  = 17
	fastClockGains = 45
)

// largeRatio is the transformer ratio of a large shop.
func largeRatio(i int) int64 {
	if i < 10 {
		return 20
	}
	return 30
}

// zhejiangHomeBands are the residential hours of Zhejiang: peak from 8 to 22 o'clock, valley else.
var zhejiangHomeBands = []simulator.BandSpan{
	{From: 8 * 60, To: 22 * 60, Band: simulator.BandPeak},
	{From: 0, To: 8 * 60, Band: simulator.BandValley},
	{From: 22 * 60, To: 24 * 60, Band: simulator.BandValley},
}

// plazaBands are the autumn hours of Shandong, because they have all five bands: sharp inside peak, deep valley inside valley, flat
// the rest. The first span that fits wins.
var plazaBands = []simulator.BandSpan{
	{From: 17 * 60, To: 19 * 60, Band: simulator.BandSharp},
	{From: 16 * 60, To: 21 * 60, Band: simulator.BandPeak},
	{From: 11 * 60, To: 14 * 60, Band: simulator.BandDeepValley},
	{From: 10 * 60, To: 15 * 60, Band: simulator.BandValley},
}

// Fleet describes the simulated meters of the utility, one gateway after the other, each listening on a free port of this machine
// unless the caller sets Listen.
func Fleet(seed int64) (simulator.FleetSpec, error) {
	u, err := New(seed)
	if err != nil {
		return simulator.FleetSpec{}, err
	}
	return u.fleet(), nil
}

func (u *Utility) fleet() simulator.FleetSpec {
	spec := simulator.FleetSpec{Seed: u.Seed}
	for _, g := range u.Gateways {
		gateway := simulator.GatewaySpec{ID: string(g.ID), LineMillis: lineMillis, SilentMillis: silentMillis}
		for _, p := range u.Premises {
			if p.Gateway == g.ID {
				gateway.Meters = append(gateway.Meters, p.Spec)
			}
		}
		for _, m := range u.Masters {
			if m.Gateway == g.ID {
				gateway.Meters = append(gateway.Meters, m.Spec)
			}
		}
		spec.Gateways = append(spec.Gateways, gateway)
	}
	return spec
}

var (
	madeMu sync.Mutex
	made   = map[int64]*Utility{}
)

// New makes the utility of a seed. The first call of a process takes about a second: it rehearses the month on a fleet of its own,
// to know what every household will use and when its credit runs out. Callers share the result and must not change it.
func New(seed int64) (*Utility, error) {
	madeMu.Lock()
	defer madeMu.Unlock()
	if u, ok := made[seed]; ok {
		return u, nil
	}
	u := build(seed)
	if err := u.assignLoads(); err != nil {
		return nil, err
	}
	u.addMaster()
	uses, err := rehearse(u.fleet())
	if err != nil {
		return nil, fmt.Errorf("rehearsal of the demo's month: %w", err)
	}
	if err := u.plan(uses); err != nil {
		return nil, err
	}
	made[seed] = u
	return u, nil
}

// assignLoads gives each meter a curve of its own: the first ones the series as measured, the others a series again with another
// first day and another scale. Shops are homes made larger, because no public data of shops was at hand.
func (u *Utility) assignLoads() error {
	power, err := simulator.SeriesIDs(false)
	if err != nil {
		return err
	}
	water, err := simulator.SeriesIDs(true)
	if err != nil {
		return err
	}
	random := newRandom(u.Seed, "loads")
	var powers, waters int
	for i := range u.Premises {
		p := &u.Premises[i]
		ids, n, step := power, &powers, 9
		if p.Service == billing.Water {
			ids, n, step = water, &waters, 11
		}
		round := *n / len(ids)
		p.Spec.LoadProfile = ids[*n%len(ids)]
		p.Spec.OffsetDays = round*step + *n%len(ids)%5
		p.Spec.ScalePermille = 1000
		if round > 0 {
			p.Spec.ScalePermille = 700 + int64(round)*90 + random.Int64N(80)
		}
		*n++
		if p.Site == Plaza {
			p.Spec.ScalePermille = p.Spec.ScalePermille * shopScale(random.Int64N(18), p) / 10
		}
		p.Spec.OpeningRegisters = openingRegisters(random.Int64N(2_000_000), p)
	}
	return nil
}

// shopScale is how much larger a shop is than a home, in tenths: ×3 to ×20, large ones ×60 to ×77 behind transformers, water ×1.5 to ×4.9.
func shopScale(random int64, p *Premise) int64 {
	switch {
	case p.Service == billing.Water:
		return 15 + 2*random
	case p.Class == "important":
		return 600 + 10*random
	default:
		return 30 + 10*random
	}
}

// openingRegisters are what a meter shows that has been in use for some years.
func openingRegisters(random int64, p *Premise) []int64 {
	if p.Service == billing.Water {
		return []int64{20_000 + random/4}
	}
	total := 200_000 + random
	if p.Site == Garden {
		return spread(total, 0, 62, 0, 38, 0)
	}
	return spread(total, 9, 21, 40, 16, 14)
}

// spread splits a total into bands by percent; what doesn't divide goes to the last band with a share.
func spread(total int64, percents ...int64) []int64 {
	registers := append([]int64{total}, make([]int64, len(percents))...)
	left, last := total, 0
	for i, percent := range percents {
		registers[i+1] = total * percent / 100
		left -= registers[i+1]
		if percent > 0 {
			last = i + 1
		}
	}
	registers[last] += left
	return registers
}

// pricesE8 are a tariff's band prices as the meter holds them: sharp, peak, flat, valley, deep valley, in yuan × 10^8. A tariff
// that four or five prices can't express is refused, because the meter would charge something else than the bill.
func pricesE8(id billing.TariffID, tariffs map[billing.TariffID]billing.Tariff) ([5]int64, error) {
	var prices [5]int64
	version, _, err := tariffs[id].VersionAt(firstDay)
	if err != nil {
		return prices, err
	}
	if len(version.Components) != 1 || version.Components[0].Kind != billing.KindBands {
		return prices, fmt.Errorf("tariff %s doesn't fit into a meter: it needs one component of band prices", id)
	}
	for _, band := range version.Components[0].Bands {
		if prices[band.Register-billing.Sharp], err = strconv.ParseInt(strings.Replace(band.Price.Fixed(8), ".", "", 1), 10, 64); err != nil {
			return prices, fmt.Errorf("tariff %s: %w", id, err)
		}
	}
	return prices, nil
}

// demoTariffs are the published tariffs by id.
func demoTariffs() (map[billing.TariffID]billing.Tariff, error) {
	all, err := tariffdata.LoadDemoTariffs()
	if err != nil {
		return nil, err
	}
	byID := map[billing.TariffID]billing.Tariff{}
	for _, t := range all {
		byID[t.ID] = t
	}
	return byID, nil
}
