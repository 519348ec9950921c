package workflows

import "github.com/meterflow/meterflow/activities"

// RegisterMap is what people must know of a meter's register map; the activities' own type, under a name of this package.
type RegisterMap = activities.RegisterMap

// RegisterMapOf finds a register map by its name.
func RegisterMapOf(name string) (RegisterMap, error) { return activities.RegisterMapOf(name) }

// RegisterMaps lists the register maps that this process knows, by name.
func RegisterMaps() ([]RegisterMap, error) { return activities.RegisterMaps() }

// NewMeterOf completes a new meter by its register map; it asks nothing but the maps.
var NewMeterOf = activities.NewMeterOf
