package activities

import (
	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/profile"
	"github.com/meterflow/meterflow/internal/billing"
)

// RegisterMap is what people must know of a meter's register map before they trust it.
type RegisterMap struct {
	Name    string
	Version int
	// Verified says that it was tried on a device: money and switching need no allowance.
	Verified bool
}

// RegisterMapOf finds a register map by its name.
func RegisterMapOf(name string) (RegisterMap, error) {
	p, err := profile.Get(name)
	if err != nil {
		return RegisterMap{}, billing.Errorf(billing.CodeUnavailable, "this server doesn't know the register map %s: start it with the folder of maps that the workers have", name)
	}
	return RegisterMap{Name: p.Name, Version: p.Version, Verified: p.MayCommand()}, nil
}

// HoldsVolume says whether meters with a register map hold a bought volume instead of money.
func HoldsVolume(name string) bool { return devices.HoldsVolume(name) }
