package simulator

import "time"

// SupplyState is what a relay or valve is: the truth, not what a status word says under a fault.
type SupplyState string

// The states of a relay or valve.
const (
	SupplyOn     SupplyState = "on"
	SupplyOff    SupplyState = "off"
	SupplyMoving SupplyState = "moving"
	SupplyFault  SupplyState = "fault"
)

// The kinds of forced control.
const (
	forcedNone = ""
	forcedOn   = "on"
	forcedOff  = "off"
)

// State is the truth about one meter at a business instant. Everything in it lasts across restarts.
type State struct {
	Serial  string `json:"serial"`
	Gateway string `json:"gateway"`
	Unit    byte   `json:"unit"`
	// At is the business instant that the state stands for, in whole seconds.
	At time.Time `json:"at"`
	// Registers are 0.01 kWh (total, sharp, peak, flat, valley, deep valley) or litres (total).
	Registers []int64 `json:"registers"`
	// Reverse is what went the other way, in 0.01 kWh; ReverseRemainder what doesn't fill a unit yet, in mWh.
	Reverse          int64 `json:"reverse,omitempty"`
	ReverseRemainder int64 `json:"reverse_remainder,omitempty"`
	// Remainder is what does not fill a register unit yet, in mWh or ml.
	Remainder int64 `json:"remainder"`
	// Passed is what passed the meter since its start, counted or not, total and bands, in mWh or ml; kept where a master sums it.
	Passed []int64 `json:"passed,omitempty"`
	// RemainingFen is the credit, signed. MoneyRemainder is used credit below one fen, in 10^-8 fen.
	RemainingFen   int64 `json:"remaining_fen"`
	MoneyRemainder int64 `json:"money_remainder"`
	PurchaseCount  int64 `json:"purchase_count"`
	// RemainingLitres is the bought volume left, signed.
	RemainingLitres int64 `json:"remaining_litres,omitempty"`
	// PricesE8 are yuan×10^8 per kWh for sharp, peak, flat, valley, deep valley: those of the meter's description until others are written.
	PricesE8 [5]int64 `json:"prices_e8"`
	// RelayOn is the position of relay or valve: where it stands, or where it is going while MovesUntil is ahead.
	RelayOn     bool      `json:"relay_on"`
	Forced      string    `json:"forced"` // "", "on" or "off"
	SelfTripped bool      `json:"self_tripped"`
	MovesUntil  time.Time `json:"moves_until"` // real time
	Abnormal    bool      `json:"abnormal"`    // the valve reported that it could not move
	// ClockOffset is how many seconds the meter's clock was ahead at ClockSince: its first start, or when it was set last.
	ClockOffset int64     `json:"clock_offset,omitempty"`
	ClockSince  time.Time `json:"clock_since,omitzero"`
}

// supplyAt tells the state of relay or valve at a real instant.
func (s *State) supplyAt(real time.Time) SupplyState {
	switch {
	case s.Abnormal:
		return SupplyFault
	case real.Before(s.MovesUntil):
		return SupplyMoving
	case s.RelayOn:
		return SupplyOn
	default:
		return SupplyOff
	}
}

func (s State) clone() State {
	s.Registers = append([]int64(nil), s.Registers...)
	s.Passed = append([]int64(nil), s.Passed...)
	return s
}
