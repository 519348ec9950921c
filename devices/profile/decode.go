package profile

import (
	"fmt"
	"time"

	"github.com/meterflow/meterflow/devices/modbus"
)

// Raw holds the answers to a profile's block reads, by block name.
type Raw map[string][]byte

// Supply is what the status word says about relay or valve.
type Supply int

// The states that a status word can show.
const (
	SupplyOff Supply = iota
	SupplyOn
	SupplyMoving
	SupplyFault
	SupplyAllowed // off, and the customer's button closes it
	SupplyUnknown // the meter tells nothing of a switch
)

// Values are the decoded integers of one meter: registers in the profile's order, in 0.01 kWh or litres.
type Values struct {
	Serial        string
	Clock         time.Time // zero when the map has none
	Registers     []int64
	Reverse       *int64 // what went the other way, as the total counts; in no register of Registers
	Remaining     *int64 // fen
	Board         *int64 // what a multi-circuit box says of itself; see BoardOf
	Volume        *int64 // litres left in a meter that holds a volume
	PurchaseCount *int64
	Power         int64 // W or l/h
	Ratio         int64 // current transformer ratio; 0 when the map has none
	Status        uint16
	Supply        Supply
	ForcedOff     bool
	ForcedOn      bool
	Arrears       bool
}

// BoardOf decodes a box's board class: how many circuits it has, and whether the circuit that answered is a three-phase one.
func BoardOf(board int64) (circuits int, three bool, err error) {
	sizes := []int{36, 24, 12}
	class := board >> 8
	if class < 0 || class >= int64(len(sizes)) {
		return 0, false, fmt.Errorf("%w: board class %d is none of a box with 36, 24 or 12 circuits", modbus.ErrBadReply, class)
	}
	return sizes[class], board&0xFF == 0, nil
}

// SerialBlock is the block that holds the serial number.
func (p *Profile) SerialBlock() Block {
	f, _ := p.field("serial")
	if p.Protocol != Modbus {
		b, _ := p.block(f.Block)
		return b
	}
	b, _ := p.blockOf(f)
	return b
}

// DecodeSerial takes the serial number out of its block: its last 12 digits.
func (p *Profile) DecodeSerial(block []byte) (string, error) {
	f, _ := p.field("serial")
	data, err := p.slice(f, Raw{p.SerialBlock().Name: block})
	if err != nil {
		return "", err
	}
	digits, err := modbus.BCD(data)
	if err != nil {
		return "", fmt.Errorf("serial: %w", err)
	}
	if len(digits) < 12 {
		return "", fmt.Errorf("%w: the serial number has %d digits", modbus.ErrBadReply, len(digits))
	}
	return digits[len(digits)-12:], nil
}

// Decode turns all blocks of one snapshot into values. A missing or short block is an error.
func (p *Profile) Decode(raw Raw) (Values, error) {
	var v Values
	var err error
	if v.Serial, err = p.DecodeSerial(raw[p.SerialBlock().Name]); err != nil {
		return Values{}, err
	}
	v.Registers = make([]int64, len(p.Registers))
	for i, name := range p.Registers {
		if name == "" {
			continue
		}
		if v.Registers[i], err = p.number(name, raw); err != nil {
			return Values{}, err
		}
	}
	if v.Reverse, err = p.optional("reverse", raw); err != nil {
		return Values{}, err
	}
	if v.Remaining, err = p.optional("remaining", raw); err != nil {
		return Values{}, err
	}
	if v.Board, err = p.optional("board", raw); err != nil {
		return Values{}, err
	}
	if v.Volume, err = p.optional("remaining_volume", raw); err != nil {
		return Values{}, err
	}
	if v.PurchaseCount, err = p.optional("purchase_count", raw); err != nil {
		return Values{}, err
	}
	if v.Power, err = p.orZero("power", raw); err != nil {
		return Values{}, err
	}
	if v.Ratio, err = p.orZero("ratio", raw); err != nil {
		return Values{}, err
	}
	status, err := p.optional("status", raw)
	if err != nil {
		return Values{}, err
	}
	if v.Supply = SupplyUnknown; status != nil {
		v.setStatus(uint16(*status), p.Supply)
	}
	v.Clock = p.clock(raw)
	return v, nil
}

func (v *Values) setStatus(status uint16, bits SupplyBits) {
	v.Status = status
	forced := bits.ForcedMode != 0 && status&bits.ForcedMode != 0
	closed := bits.ForcedClosed != 0 && status&bits.ForcedClosed == bits.ForcedClosed
	v.ForcedOn, v.ForcedOff = forced && closed, forced && !closed
	v.Arrears = status&bits.Arrears != 0
	on := status&bits.On == bits.On
	off := status&bits.Off != 0
	switch {
	case bits.Off == 0:
		off = status&bits.On == 0
	case bits.On == 0:
		on = !off
	}
	switch {
	case status&bits.Fault != 0, on && off, bits.Off == 0 && !on && !off:
		v.Supply = SupplyFault // a fault bit, both positions at once, or phases that differ
	case on:
		v.Supply = SupplyOn
	case off && bits.CommandedOff != 0 && status&bits.CommandedOff == 0:
		v.Supply = SupplyAllowed
	case off:
		v.Supply = SupplyOff
	default:
		v.Supply = SupplyMoving
	}
}

// clock is lenient: a meter that lost its clock still counts, so an impossible time comes out as none.
func (p *Profile) clock(raw Raw) time.Time {
	f, ok := p.field("clock")
	if !ok {
		return time.Time{}
	}
	data, err := p.slice(f, raw)
	if err != nil {
		return time.Time{}
	}
	if p.Protocol != Modbus {
		return clockBCD(data, f.Type)
	}
	wall, err := modbus.Clock(data[:7])
	if err != nil {
		return time.Time{}
	}
	return wall
}

func (p *Profile) optional(name string, raw Raw) (*int64, error) {
	if _, ok := p.field(name); !ok {
		return nil, nil //nolint:nilnil // "the map has no such value" is an answer
	}
	value, err := p.number(name, raw)
	if err != nil {
		return nil, err
	}
	return &value, nil
}

func (p *Profile) orZero(name string, raw Raw) (int64, error) {
	if _, ok := p.field(name); !ok {
		return 0, nil
	}
	return p.number(name, raw)
}

func (p *Profile) number(name string, raw Raw) (int64, error) {
	f, ok := p.field(name)
	if !ok {
		return 0, fmt.Errorf("profile %s has no field %s", p.Name, name)
	}
	data, err := p.slice(f, raw)
	if err != nil {
		return 0, err
	}
	var value int64
	switch f.Type {
	case "u16", "bits":
		value, err = modbus.U16(data)
	case "i16":
		value, err = modbus.I16(data)
	case "u32":
		value, err = modbus.U32(data)
	case "i32":
		value, err = modbus.I32(data)
	case "float32":
		value, err = modbus.ThousandthsDCBA(data)
	case typeNumberBCD, typeSignedBCD:
		value, err = numberBCD(data, f.Type == typeSignedBCD, f.Scale, p.Service)
	case typeBits:
		value, err = modbus.U16(widen(data))
	default:
		err = fmt.Errorf("type %s is no number", f.Type)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return value, nil
}

func (p *Profile) slice(f Field, raw Raw) ([]byte, error) {
	if p.Protocol != Modbus {
		return p.sliceItem(f, raw)
	}
	b, ok := p.blockOf(f)
	if !ok {
		return nil, fmt.Errorf("field %s lies in no block", f.Name)
	}
	data := raw[b.Name]
	if len(data) != 2*int(b.Words) {
		return nil, fmt.Errorf("%w: block %s has %d bytes instead of %d", modbus.ErrBadReply, b.Name, len(data), 2*b.Words)
	}
	from := 2 * int(f.Address-b.Address)
	return data[from : from+2*int(f.Words)], nil
}
