package activities

import "github.com/meterflow/meterflow/devices/profile"

// The alarms that MeterAlarms tells.
const (
	AlarmBatteryLow  = "battery_low"
	AlarmSwitchFault = "switch_fault" // relay or valve
)

// MeterAlarms are what a meter complains of in the status word of a reading, by its register map. A map that this process doesn't know,
// or that names no such bits, tells nothing.
func MeterAlarms(profileName string, statusWord int) []string {
	p, err := profile.Get(profileName)
	if err != nil {
		return nil
	}
	var alarms []string
	word := uint16(statusWord) //nolint:gosec // the column keeps one 16-bit word
	if word&p.Supply.BatteryLow != 0 {
		alarms = append(alarms, AlarmBatteryLow)
	}
	if word&p.Supply.Fault != 0 {
		alarms = append(alarms, AlarmSwitchFault)
	}
	return alarms
}
