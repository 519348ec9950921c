package activities

import (
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/profile"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// RegisterMap is what people must know of a meter's register map before they trust it.
type RegisterMap struct {
	Name    string
	Version int
	Service billing.Service
	// Registers is how many values a reading has.
	Registers int
	// Verified says that it was tried on a device: money and switching need no allowance.
	Verified bool
}

// RegisterMapOf finds a register map by its name.
func RegisterMapOf(name string) (RegisterMap, error) {
	p, err := profile.Get(name)
	if err != nil {
		return RegisterMap{}, billing.Errorf(billing.CodeUnavailable, "this server doesn't know the register map %s: start it with the folder of maps that the workers have", name)
	}
	return RegisterMap{Name: p.Name, Version: p.Version, Service: serviceOfMap(p), Registers: len(p.Registers), Verified: p.MayCommand()}, nil
}

// RegisterMaps lists the register maps that this process knows, by name.
func RegisterMaps() ([]RegisterMap, error) {
	names, err := profile.Names()
	if err != nil {
		return nil, err
	}
	all := make([]RegisterMap, len(names))
	for i, name := range names {
		if all[i], err = RegisterMapOf(name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func serviceOfMap(p *profile.Profile) billing.Service {
	if p.Service == profile.Water {
		return billing.Water
	}
	return billing.Power
}

// typedMap finds the register map that a person named for a new meter.
func typedMap(name string) (*profile.Profile, error) {
	p, err := profile.Get(name)
	if err != nil {
		return nil, billing.Errorf(billing.CodeInvalidInput, "the register map %s is not known: type the one of the new meter's model", name)
	}
	return p, nil
}

// NewMeterOf completes a new meter by its register map: what it measures, how many unit ids it takes in a box, what its line must pass on.
func NewMeterOf(n store.NewMeter) (store.NewMeter, error) {
	p, err := typedMap(n.Meter.Profile)
	if err != nil {
		return n, err
	}
	if len(n.Opening) != len(p.Registers) {
		return n, billing.Errorf(billing.CodeInvalidInput, "a meter with the register map %s shows %d registers: give the opening value of each, and no more", p.Name, len(p.Registers))
	}
	n.Meter.Service, n.CircuitUnits, n.OwnFrames = serviceOfMap(p), p.CircuitUnits, p.Protocol != profile.Modbus
	return n, nil
}

// CanHoldOn says whether meters with a register map can be held on, so that they can't cut by themselves. One that holds a volume can't. Of a map
// that this process doesn't know nothing is claimed: true.
func CanHoldOn(name string) bool {
	p, err := profile.Get(name)
	if err != nil {
		return true
	}
	_, ok := p.Command(profile.KeepClosed)
	return ok
}

// HoldsVolume says whether meters with a register map hold a bought volume instead of money.
func HoldsVolume(name string) bool { return devices.HoldsVolume(name) }
