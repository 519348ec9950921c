package profile

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/meterflow/meterflow/devices/cjt188"
	"github.com/meterflow/meterflow/devices/dlt645"
	"github.com/meterflow/meterflow/devices/modbus"
)

// The types of fields of protocols without registers. Bytes come lowest first.
const (
	typeNumberBCD = "bcd_number"     // two decimal digits a byte; the highest bit of the last byte may be a minus sign
	typeSerialBCD = "bcd_serial"     // a meter number
	typeClockBCD  = "bcd_clock"      // ss mi hh dd mm yy and the century
	typeClockWeek = "bcd_clock_week" // ss mi hh weekday dd mm yy
	typeBits      = "bits_le"        // one or two bytes
)

// sliceItem takes a field's bytes out of its block, highest first.
func (p *Profile) sliceItem(f Field, raw Raw) ([]byte, error) {
	data := raw[f.Block]
	if len(data) < f.Offset+f.Bytes {
		return nil, fmt.Errorf("%w: block %s has %d bytes, field %s needs %d", modbus.ErrBadReply, f.Block, len(data), f.Name, f.Offset+f.Bytes)
	}
	part := slices.Clone(data[f.Offset : f.Offset+f.Bytes])
	slices.Reverse(part)
	return part, nil
}

// finePower is how DL/T 645 scales power: tenths of the watts that a snapshot counts.
const finePower = "0.0001"

// numberBCD decodes a number into the snapshot's integers. A scale coarser than these is multiplied up, a finer one cut.
func numberBCD(data []byte, scale string, s Service) (int64, error) {
	negative := data[0]&0x80 != 0
	first := slices.Clone(data)
	first[0] &= 0x7F
	digits, err := modbus.BCD(first)
	if err != nil {
		return 0, err
	}
	value, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, err
	}
	if s == Water && scale == "0.01" {
		if value > math.MaxInt64/10 {
			return 0, fmt.Errorf("%w: %s is too large", modbus.ErrBadReply, digits)
		}
		value *= 10 // hundredths of a cubic metre; a snapshot counts litres
	}
	if scale == finePower {
		value /= 10
	}
	if negative {
		value = -value
	}
	return value, nil
}

// clockBCD is lenient, as all clocks: an impossible time comes out as none. data is highest first.
func clockBCD(data []byte, kind string) time.Time {
	digits, err := modbus.BCD(data)
	if err != nil {
		return time.Time{}
	}
	if kind == typeClockWeek {
		digits = "20" + digits[:6] + digits[8:]
	}
	wall, err := time.Parse("20060102150405", digits)
	if err != nil {
		return time.Time{}
	}
	return wall
}

// widen makes two bytes of one or two.
func widen(data []byte) []byte {
	if len(data) == 1 {
		return []byte{0, data[0]}
	}
	return data
}

func (p *Profile) block(name string) (Block, bool) {
	i := slices.IndexFunc(p.Blocks, func(b Block) bool { return b.Name == name })
	if i < 0 {
		return Block{}, false
	}
	return p.Blocks[i], true
}

// validateItems checks a map of a protocol without registers.
func (p *Profile) validateItems() error {
	if p.Protocol == CJT188 && (p.Service != Water || len(p.Maker) != 2 || len(p.Blocks) != 1) {
		return fmt.Errorf("a cjt188 map is for water, has one block, and names the maker's two digits")
	}
	blocks := map[string]bool{}
	for _, b := range p.Blocks {
		if blocks[b.Name] {
			return fmt.Errorf("block %s exists twice", b.Name)
		}
		blocks[b.Name] = true
		item, err := hex.DecodeString(b.Item)
		if b.Name == "" || b.Bytes < 1 || b.Words != 0 || p.Protocol == DLT645 && (err != nil || len(item) != 4) {
			return fmt.Errorf("block %q needs a name, its length in bytes and, with dlt645, a data item of eight hex digits", b.Name)
		}
	}
	names := map[string]bool{}
	for _, f := range p.Fields {
		if names[f.Name] {
			return fmt.Errorf("field %s exists twice", f.Name)
		}
		names[f.Name] = true
		if err := p.checkItemField(f); err != nil {
			return err
		}
	}
	if err := p.checkItemOverlap(); err != nil {
		return err
	}
	if err := p.checkRegisters(); err != nil {
		return err
	}
	for name, c := range p.Commands {
		if name != Trip && name != Close && name != KeepClosed && name != Release {
			return fmt.Errorf("command %q is unknown with %s", name, p.Protocol)
		}
		if c.Code == 0 || c.Function != 0 || len(c.Values) != 0 {
			return fmt.Errorf("command %s needs a code and nothing else", name)
		}
		if allowed := itemCodes[p.Protocol][name]; !slices.Contains(allowed, c.Code) {
			return fmt.Errorf("command %s has the code %02X; with %s it is one of % X", name, c.Code, p.Protocol, allowed)
		}
	}
	return nil
}

// itemCodes are the orders of the protocols without registers, as their standards have them: a code in the wrong place would cut whom it is to
// help.
var itemCodes = map[Protocol]map[string][]byte{
	DLT645: {Trip: {dlt645.Trip}, Close: {dlt645.Close, dlt645.AllowClosing}, KeepClosed: {dlt645.KeepPower}, Release: {dlt645.EndKeepPower}},
	CJT188: {Trip: {cjt188.ValveClose}, Close: {cjt188.ValveOpen}},
}

func (p *Profile) checkItemField(f Field) error {
	want, err := p.canonical(f)
	if err != nil {
		return err
	}
	coarse := p.Service == Water && f.Name == "total" && f.Scale == "0.01"
	fine := p.Service == Electricity && f.Name == "power" && f.Scale == finePower
	if f.Unit != want[0] || f.Scale != want[1] && !coarse && !fine {
		return fmt.Errorf("field %s has unit %q and scale %q; it must be in %q with scale %q", f.Name, f.Unit, f.Scale, want[0], want[1])
	}
	sizes := map[string][2]int{typeNumberBCD: {1, 8}, typeSerialBCD: {6, 7}, typeClockBCD: {7, 7}, typeClockWeek: {7, 7}, typeBits: {1, 2}}
	size, ok := sizes[f.Type]
	if !ok {
		return fmt.Errorf("field %s has the unknown type %q", f.Name, f.Type)
	}
	if f.Bytes < size[0] || f.Bytes > size[1] {
		return fmt.Errorf("field %s of type %s takes %d to %d bytes, not %d", f.Name, f.Type, size[0], size[1], f.Bytes)
	}
	b, ok := p.block(f.Block)
	if !ok || f.Offset < 0 || f.Offset+f.Bytes > b.Bytes {
		return fmt.Errorf("field %s lies in no block", f.Name)
	}
	return nil
}

func (p *Profile) checkItemOverlap() error {
	for i, a := range p.Fields {
		for _, b := range p.Fields[:i] {
			if a.Block == b.Block && a.Offset < b.Offset+b.Bytes && b.Offset < a.Offset+a.Bytes {
				return fmt.Errorf("fields %s and %s overlap in block %s", b.Name, a.Name, a.Block)
			}
		}
	}
	return nil
}
