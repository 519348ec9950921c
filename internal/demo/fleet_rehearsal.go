package demo

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

// rehearse lets a copy of the fleet live through the horizon with nobody cut, and returns per serial what each register counted
// from the first day to the start of each day, raw, before the ratio.
func rehearse(spec simulator.FleetSpec) (uses map[string][]billing.Registers, err error) {
	dir, err := os.MkdirTemp("", "meterflow-rehearsal-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	var now atomic.Pointer[time.Time]
	start := Start()
	now.Store(&start)
	fleet, err := simulator.NewFleet(unlimited(spec), dir, func() time.Time { return *now.Load() })
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()

	uses = map[string][]billing.Registers{}
	for day := range horizon + 1 {
		at := firstDay.AddDays(day).Start(zone)
		now.Store(&at)
		if err := fleet.Advance(); err != nil {
			return nil, err
		}
		for _, g := range spec.Gateways {
			for _, m := range g.Meters {
				state, err := fleet.MeterState(m.Serial)
				if err != nil {
					return nil, err
				}
				uses[m.Serial] = append(uses[m.Serial], state.Registers)
			}
		}
	}
	return uses, nil
}

// unlimited is the fleet on free ports with meters that count from zero and never trip.
func unlimited(spec simulator.FleetSpec) simulator.FleetSpec {
	free := simulator.FleetSpec{Seed: spec.Seed}
	for _, g := range spec.Gateways {
		g.Listen = "127.0.0.1:0"
		meters := g.Meters
		g.Meters = nil
		for _, m := range meters {
			m.CreditMode, m.OpeningRegisters = false, nil
			g.Meters = append(g.Meters, m)
		}
		free.Gateways = append(free.Gateways, g)
	}
	return free
}

// price fills in what the use from the first day to the start of each day costs.
func (p *Premise) price(tariff billing.Tariff) error {
	p.costs = make([]billing.Money, 1, horizon+1)
	for day := 1; day <= horizon; day++ {
		end := firstDay.AddDays(day).Start(zone)
		result, err := rating.Rate(rating.Input{
			Tariff: tariff, Location: zone, From: Start(), To: end, Open: true, Terms: p.Agreed.rated(),
			Fittings: []rating.Fitting{{No: 1, Meter: p.Meter, Ratio: max(1, p.Spec.Ratio), Digits: 12}},
			Points: []rating.Point{
				{At: Start(), Registers: p.uses[0], Quality: billing.QualityActual, Fitting: 1},
				{At: end, Registers: p.uses[day], Quality: billing.QualityActual, Fitting: 1},
			},
			UsedInYear: p.Service.Quantity(p.UseBefore),
		})
		if err != nil {
			return err
		}
		p.costs = append(p.costs, result.Total)
	}
	return nil
}
