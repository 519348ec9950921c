package profile

import (
	"encoding/hex"
	"fmt"
	"maps"
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
	typeNumberBCD = "bcd_number"     // two decimal digits a byte
	typeSignedBCD = "bcd_signed"     // the same, and the highest bit of the last byte is a minus sign
	typeSerialBCD = "bcd_serial"     // a meter number
	typeClockBCD  = "bcd_clock"      // ss mi hh dd mm yy and the century
	typeClockWeek = "bcd_clock_week" // ss mi hh weekday dd mm yy
	typeBits      = "bits_le"        // one or two bytes
)

// sliceItem takes a field's bytes out of its block, highest first.
func (p *Profile) sliceItem(f Field, raw Raw) ([]byte, error) {
	data := raw[f.Block]
	if b, _ := p.block(f.Block); len(data) != b.Bytes {
		return nil, fmt.Errorf("%w: block %s has %d bytes instead of %d", modbus.ErrBadReply, f.Block, len(data), b.Bytes)
	}
	part := slices.Clone(data[f.Offset : f.Offset+f.Bytes])
	slices.Reverse(part)
	return part, nil
}

// finePower is how DL/T 645 scales power: tenths of the watts that a snapshot counts.
const finePower = "0.0001"

// numberBCD decodes a number into the snapshot's integers, highest byte first. A scale coarser than these is multiplied up, a finer one cut. In
// an unsigned number the highest bit is part of a digit.
func numberBCD(data []byte, signed bool, scale string, s Service) (int64, error) {
	negative := signed && data[0]&0x80 != 0
	if negative {
		data = slices.Clone(data)
		data[0] &= 0x7F
	}
	digits, err := modbus.BCD(data)
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

// checkItemBlocks checks the blocks of a protocol without registers.
func (p *Profile) checkItemBlocks() error {
	names := map[string]bool{}
	var wrong faults
	for _, b := range p.Blocks {
		wrong.when(names[b.Name], "block %s exists twice", b.Name)
		names[b.Name] = true
		item, err := hex.DecodeString(b.Item)
		wrong.when(b.Name == "" || b.Bytes < 1 || b.Words != 0 || p.Protocol == DLT645 && (err != nil || len(item) != 4), "block %q needs a name, its length in bytes and, with dlt645, a data item of eight hex digits", b.Name)
	}
	return wrong.all()
}

func (p *Profile) checkItemFields() error {
	names := map[string]bool{}
	var wrong faults
	for _, f := range p.Fields {
		wrong.when(names[f.Name], "field %s exists twice", f.Name)
		names[f.Name] = true
		wrong.add(p.checkItemField(f))
	}
	wrong.add(p.checkItemOverlap())
	return wrong.all()
}

func (p *Profile) checkItemCommands() error {
	var wrong faults
	for _, name := range slices.Sorted(maps.Keys(p.Commands)) {
		c := p.Commands[name]
		allowed := itemCodes[p.Protocol][name]
		switch {
		case name != Trip && name != Close && name != AllowClosing && name != KeepClosed && name != Release:
			wrong.add(fmt.Errorf("command %q is unknown with %s", name, p.Protocol))
		case c.Code == 0 || c.Function != 0 || len(c.Values) != 0:
			wrong.add(fmt.Errorf("command %s needs a code and nothing else", name))
		case !slices.Contains(allowed, c.Code):
			wrong.add(fmt.Errorf("command %s has the code %02X; with %s it is one of % X", name, c.Code, p.Protocol, allowed))
		}
	}
	_, ok := p.field("clock")
	wrong.when(!ok && p.Protocol == DLT645 && len(p.Commands) > 0, "field clock is missing: an order says by it until when it holds")
	return wrong.all()
}

// itemCodes are the orders of the protocols without registers, as their standards have them: a code in the wrong place would cut whom it is to
// help.
var itemCodes = map[Protocol]map[string][]byte{
	DLT645: {Trip: {dlt645.Trip}, Close: {dlt645.Close}, AllowClosing: {dlt645.AllowClosing}, KeepClosed: {dlt645.KeepPower}, Release: {dlt645.EndKeepPower}},
	CJT188: {Trip: {cjt188.ValveClose}, Close: {cjt188.ValveOpen}},
}

func (p *Profile) checkItemField(f Field) error {
	var wrong faults
	want, err := p.canonical(f)
	wrong.add(err)
	coarse := p.Service == Water && f.Name == "total" && f.Scale == "0.01"
	fine := p.Service == Electricity && f.Name == "power" && f.Scale == finePower
	wrong.when(err == nil && (f.Unit != want[0] || f.Scale != want[1] && !coarse && !fine), "field %s has unit %q and scale %q; it must be in %q with scale %q", f.Name, f.Unit, f.Scale, want[0], want[1])
	sizes := map[string][2]int{typeNumberBCD: {1, 8}, typeSignedBCD: {1, 8}, typeSerialBCD: {6, 7}, typeClockBCD: {7, 7}, typeClockWeek: {7, 7}, typeBits: {1, 2}}
	size, ok := sizes[f.Type]
	wrong.when(!ok, "field %s has the unknown type %q", f.Name, f.Type)
	wrong.when(ok && (f.Bytes < size[0] || f.Bytes > size[1]), "field %s of type %s takes %d to %d bytes, not %d", f.Name, f.Type, size[0], size[1], f.Bytes)
	b, ok := p.block(f.Block)
	wrong.when(!ok || f.Offset < 0 || f.Offset+f.Bytes > b.Bytes, "field %s lies in no block", f.Name)
	return wrong.all()
}

func (p *Profile) checkItemOverlap() error {
	var wrong faults
	for i, a := range p.Fields {
		for _, b := range p.Fields[:i] {
			wrong.when(a.Block == b.Block && a.Offset < b.Offset+b.Bytes && b.Offset < a.Offset+a.Bytes, "fields %s and %s overlap in block %s", b.Name, a.Name, a.Block)
		}
	}
	return wrong.all()
}
