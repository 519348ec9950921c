package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
)

// typeWords gives the size of each field type in registers. bcd and clock may be longer than their smallest form.
var typeWords = map[string]uint16{
	"u16": 1, "i16": 1, "u32": 2, "i32": 2, "bits": 1, "float32": 2, "bcd": 3, "clock": 4,
}

// canonical fixes unit and scale per field, so that a Snapshot's integers mean the same for every profile: energy in
// 0.01 kWh, water in litres, money in fen, load in W or l/h.
var canonical = map[string]map[Service][2]string{
	"total":            {Electricity: {"kWh", "0.01"}, Water: {"m3", "0.001"}},
	"sharp":            {Electricity: {"kWh", "0.01"}},
	"peak":             {Electricity: {"kWh", "0.01"}},
	"flat":             {Electricity: {"kWh", "0.01"}},
	"valley":           {Electricity: {"kWh", "0.01"}},
	"deep_valley":      {Electricity: {"kWh", "0.01"}},
	"reverse":          {Electricity: {"kWh", "0.01"}, Water: {"m3", "0.001"}},
	"remaining":        {Electricity: {"yuan", "0.01"}},
	"remaining_volume": {Water: {"m3", "0.001"}},
	"purchase_count":   {Electricity: {"", "1"}},
	"status":           {Electricity: {"", "1"}, Water: {"", "1"}},
	"power":            {Electricity: {"kW", "0.001"}, Water: {"m3/h", "0.001"}},
	"board":            {Electricity: {"", "1"}},
	"ratio":            {Electricity: {"", "1"}},
	"serial":           {Electricity: {"", "1"}, Water: {"", "1"}},
	"clock":            {Electricity: {"", "1"}, Water: {"", "1"}},
}

// Parse reads and validates one map. Every error names the field and what must be changed.
func Parse(data []byte) (*Profile, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var p Profile
	if err := decoder.Decode(&p); err != nil {
		return nil, fmt.Errorf("not a register map: %w", err)
	}
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("profile %q: %w", p.Name, err)
	}
	return &p, nil
}

// validate says all that is wrong at once: who writes a map mends it in one go. Without a service and a protocol that are known nothing can be
// said of the rest.
func (p *Profile) validate() error {
	wrong := faults{p.checkHead()}
	switch known := p.Service == Electricity || p.Service == Water; {
	case !known:
	case p.Protocol == Modbus:
		wrong = append(wrong, p.checkBlocks(), p.checkFields(), p.checkRegisters(), p.checkCommands(), p.checkPrices())
	case p.Protocol == DLT645, p.Protocol == CJT188:
		wrong = append(wrong, p.checkItemBlocks(), p.checkItemFields(), p.checkRegisters(), p.checkItemCommands())
	}
	return wrong.all()
}

func (p *Profile) checkHead() error {
	var wrong faults
	wrong.when(p.Name == "", "give it a name")
	wrong.when(p.Version < 1, "give it a version of 1 or more")
	wrong.when(p.Source == "", "state the source of the map")
	wrong.when(p.Service != Electricity && p.Service != Water, "service %q must be electricity or water", p.Service)
	wrong.when(p.Protocol != Modbus && p.Protocol != DLT645 && p.Protocol != CJT188, "protocol %q is unknown: leave it out for Modbus, or use dlt645 or cjt188", p.Protocol)
	wrong.when(p.CircuitUnits != 0 && p.CircuitUnits != 1 && p.CircuitUnits != 3, "circuit_units %d must be 1 for a single-phase circuit of a box or 3 for a three-phase one", p.CircuitUnits)
	wrong.when(p.Protocol == Modbus && p.WordOrder != "ABCD" && p.WordOrder != "DCBA", "word_order %q must be ABCD or DCBA", p.WordOrder)
	wrong.when(p.Protocol == CJT188 && (p.Service != Water || len(p.Maker) != 2 || len(p.Blocks) != 1), "a cjt188 map is for water, has one block, and names the maker's two digits")
	return wrong.all()
}

// faults are what is wrong with a map.
type faults []error

func (f *faults) when(wrong bool, format string, args ...any) {
	if wrong {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

func (f *faults) add(err error) { *f = append(*f, err) }

func (f *faults) all() error { return errors.Join(*f...) }

func (p *Profile) checkBlocks() error {
	names := make(map[string]bool)
	var wrong faults
	for _, b := range p.Blocks {
		wrong.when(b.Name == "" || names[b.Name], "block at 0x%04X needs a name of its own", b.Address)
		names[b.Name] = true
		wrong.when(b.Words < 1 || b.Words > 125, "block %s has %d words; one read takes 1 to 125", b.Name, b.Words)
	}
	return wrong.all()
}

func (p *Profile) checkFields() error {
	names := make(map[string]bool)
	var wrong faults
	for _, f := range p.Fields {
		wrong.when(names[f.Name], "field %s exists twice", f.Name)
		names[f.Name] = true
		wrong.add(p.checkField(f))
	}
	sorted := append([]Field(nil), p.Fields...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Address < sorted[j].Address })
	for i := 1; i < len(sorted); i++ {
		before, f := sorted[i-1], sorted[i]
		wrong.when(int(before.Address)+int(before.Words) > int(f.Address), "fields %s and %s overlap at 0x%04X", before.Name, f.Name, f.Address)
	}
	return wrong.all()
}

// canonical is the unit and scale that a field is kept in, whatever the protocol that brings it.
func (p *Profile) canonical(f Field) ([2]string, error) {
	services, known := canonical[f.Name]
	if !known {
		return [2]string{}, fmt.Errorf("field %q is not one that a snapshot knows", f.Name)
	}
	want, ok := services[p.Service]
	if !ok {
		return [2]string{}, fmt.Errorf("field %s does not belong to %s", f.Name, p.Service)
	}
	return want, nil
}

func (p *Profile) checkField(f Field) error {
	var wrong faults
	want, err := p.canonical(f)
	wrong.add(err)
	wrong.when(err == nil && (f.Unit != want[0] || f.Scale != want[1]), "field %s has unit %q and scale %q; it must be in %q with scale %q", f.Name, f.Unit, f.Scale, want[0], want[1])
	words, ok := typeWords[f.Type]
	wrong.when(!ok, "field %s has the unknown type %q", f.Name, f.Type)
	if f.Type == "bcd" && f.Words >= words {
		words = f.Words
	}
	wrong.when(ok && f.Words != words, "field %s of type %s takes %d words, not %d", f.Name, f.Type, words, f.Words)
	wrong.when(f.Type == "float32" && p.WordOrder != "DCBA", "field %s is a float32, which is only known in the order DCBA", f.Name)
	_, ok = p.blockOf(f)
	wrong.when(!ok, "field %s at 0x%04X lies in no block", f.Name, f.Address)
	return wrong.all()
}

// blockOf finds the block that holds the whole field.
func (p *Profile) blockOf(f Field) (Block, bool) {
	for _, b := range p.Blocks {
		if f.Address >= b.Address && int(f.Address)+int(f.Words) <= int(b.Address)+int(b.Words) {
			return b, true
		}
	}
	return Block{}, false
}

func (p *Profile) checkRegisters() error {
	want := 1
	if p.Service == Electricity {
		want = 6
	}
	var wrong faults
	wrong.when(len(p.Registers) != want, "%s has %d registers; list %d, total first", p.Service, len(p.Registers), want)
	_, ok := p.field("board")
	wrong.when(ok != (p.CircuitUnits != 0), "a circuit of a box has circuit_units and the field board; other meters have neither")
	for i, name := range append([]string{"serial"}, p.Registers...) {
		_, ok := p.field(name)
		wrong.when(!ok && (name != "" || i < 2), "field %s is missing", name)
	}
	// A meter without a switch tells nothing of one, and is told nothing.
	_, switches := p.field("status")
	wrong.when(!switches && (len(p.Commands) > 0 || p.Supply != SupplyBits{}), "field status is missing: only a map without commands and supply does without it")
	wrong.when(switches && p.Supply.On == 0 && (p.Protocol == Modbus || p.Supply.Off == 0), "supply.on must name the bits that mean supplied")
	_, allows := p.Commands[AllowClosing]
	wrong.when(allows && p.Supply.CommandedOff == 0, "supply.commanded_off must name the bits by which a closing that is allowed is told from a cut")
	return wrong.all()
}

func (p *Profile) checkCommands() error {
	var wrong faults
	for _, name := range slices.Sorted(maps.Keys(p.Commands)) {
		wrong.add(p.checkCommand(name, p.Commands[name]))
	}
	wrong.add(p.checkTrip())
	return wrong.all()
}

func (p *Profile) checkCommand(name string, c Command) error {
	switch {
	case name == SetClock:
		if c.Function != 0x20 || len(c.Values) != 0 {
			return fmt.Errorf("command clock must be function 32 without fixed values")
		}
	case name == Purchase:
		var wrong faults
		wrong.when(c.Function != 0x20 || len(c.Values) != 0, "command purchase must be function 32 without fixed values")
		wrong.when(p.MaxPriceFen <= 0, "state max_price_fen: a purchase can't be checked without it")
		return wrong.all()
	case name == SetVolume:
		if f, ok := p.field("remaining_volume"); !ok || f.Type != "float32" || f.Words != 2 || c.Function != 0x10 || len(c.Values) != 0 || c.Address != f.Address {
			return fmt.Errorf("command set_volume must be function 16 without fixed values, at the address of a float32 field remaining_volume")
		}
	case name != Trip && name != Close && name != KeepClosed && name != Release:
		return fmt.Errorf("command %q is unknown", name)
	case c.Function == 0x06 && len(c.Values) == 1, c.Function == 0x10 && len(c.Values) > 0:
	default:
		return fmt.Errorf("command %s needs function 6 with one value or 16 with values", name)
	}
	return nil
}

// checkTrip wants the order that cuts to be told from those that give supply back: a map with two signs mixed up would cut whom it is to help.
func (p *Profile) checkTrip() error {
	trip, ok := p.Commands[Trip]
	var wrong faults
	for _, name := range slices.Sorted(maps.Keys(p.Commands)) {
		c := p.Commands[name]
		wrong.when(ok && name != Trip && c.Function == trip.Function && c.Address == trip.Address && c.Code == trip.Code && slices.Equal(c.Values, trip.Values), "commands trip and %s are the same order", name)
	}
	return wrong.all()
}

func (p *Profile) field(name string) (Field, bool) {
	for _, f := range p.Fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// checkPrices validates the map of prices, when there is one.
func (p *Profile) checkPrices() error {
	m := p.Prices
	if m == nil {
		return nil
	}
	var wrong faults
	wrong.when(p.Service != Electricity, "prices belong to electricity")
	wrong.when(m.Function != 0x20 && m.Function != 0x10, "prices are written by function 16 or 32")
	wrong.when(m.Words < 2 || m.Words > 123, "prices: one write takes 2 to 123 words, not %d", m.Words)
	wrong.when(m.Decimals < 0 || m.Decimals > priceDecimals, "prices: %d decimals must be 0 to %d", m.Decimals, priceDecimals)
	wrong.when(p.MaxPriceFen <= 0, "state max_price_fen: a price can't be checked without it")
	wrong.when(len(m.Fields) == 0, "prices: list the bands that have a price")
	taken := map[int]bool{}
	for _, flag := range m.Flags {
		wrong.when(flag < 0 || flag >= 2*int(m.Words), "prices: flag byte %d lies outside of the write", flag)
		taken[flag] = true
	}
	seen := map[string]bool{}
	for _, f := range m.Fields {
		wrong.when(seen[f.Band] || !slices.Contains(PriceBands, f.Band), "prices: band %q must be one of sharp, peak, flat, valley, deep_valley, each once", f.Band)
		seen[f.Band] = true
		wrong.when(f.Byte < 0 || f.Byte+4 > 2*int(m.Words), "prices: band %s at byte %d lies outside of the write", f.Band, f.Byte)
		twice := -1
		for i := f.Byte; i < f.Byte+4; i++ {
			if taken[i] && twice < 0 {
				twice = i
			}
			taken[i] = true
		}
		wrong.when(twice >= 0, "prices: byte %d is used twice", twice)
		_, ok := m.blockOf(f)
		wrong.when(!ok, "prices: band %s at 0x%04X lies in no block", f.Band, f.Address)
	}
	return wrong.all()
}
