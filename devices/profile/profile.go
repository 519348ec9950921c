// Package profile holds register maps of meters as data: where each value lies, its type, unit and scale, and which frames
// switch the supply or add credit.
//
// It owns the maps, their validation at load, and turning raw blocks into integers. It opens no connection and decides no
// outcome. A map states its source and on what it was verified; one that was verified on nothing may be read with, but not
// used for money or switching.
package profile

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed maps/*.json
var embedded embed.FS

// Service is what a meter measures.
type Service string

// The services that profiles exist for.
const (
	Electricity Service = "electricity"
	Water       Service = "water"
)

// Register is a Modbus register address, written as hex text ("0x0215") in the maps, as in vendors' manuals.
type Register uint16

// UnmarshalJSON accepts only 0x-prefixed hex, so that a decimal typed by mistake is refused.
func (r *Register) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("address %s must be a hex text such as \"0x0215\"", data)
	}
	digits, ok := strings.CutPrefix(text, "0x")
	value, err := strconv.ParseUint(digits, 16, 16)
	if !ok || err != nil {
		return fmt.Errorf("address %q must be hex of at most four digits, such as \"0x0215\"", text)
	}
	*r = Register(value)
	return nil
}

// Protocol is how a meter frames what it says.
type Protocol string

// The protocols. The zero value is Modbus.
const (
	Modbus Protocol = ""
	DLT645 Protocol = "dlt645"
	CJT188 Protocol = "cjt188"
)

// Block is one read request. With Modbus it is function 03 from Address on; with DL/T 645 it is one data item; with CJ/T 188 it is the
// one reading that there is. Bytes is how many bytes an answer without registers has: a shorter or longer one is refused.
type Block struct {
	Name    string   `json:"name"`
	Address Register `json:"address,omitempty"`
	Words   uint16   `json:"words,omitempty"`
	Item    string   `json:"item,omitempty"` // eight hex digits, as the standard prints them
	Bytes   int      `json:"bytes,omitempty"`
}

// Field is one value inside a block. Offset and Bytes place values that don't start on a register (the meter clock).
type Field struct {
	Name    string   `json:"name"`
	Address Register `json:"address"`
	Words   uint16   `json:"words"`
	Type    string   `json:"type"`
	Unit    string   `json:"unit"`
	Scale   string   `json:"scale"`
	Note    string   `json:"note"`
	// Block, Offset and Bytes place a value of a protocol without registers.
	Block  string `json:"block,omitempty"`
	Offset int    `json:"offset,omitempty"`
	Bytes  int    `json:"bytes,omitempty"`
}

// SupplyBits says how the status word shows relay or valve and the forced control. All masks apply to one 16-bit word.
type SupplyBits struct {
	On           uint16 `json:"on"`            // all of these set: supplied; 0 = "none of Off set" means supplied
	Off          uint16 `json:"off"`           // any of these set: cut off; 0 = "none of On set" means cut off
	Fault        uint16 `json:"fault"`         // any of these set: the switch reports a fault
	ForcedMode   uint16 `json:"forced_mode"`   // forced control is on
	ForcedClosed uint16 `json:"forced_closed"` // with forced control: forced to supply
	Arrears      uint16 `json:"arrears"`       // the meter holds itself open for lack of credit
	// CommandedOff: any of these set, the switch was told to be off; clear while it is off, closing is allowed, and the customer's button closes it.
	// 0 where the meter doesn't tell.
	CommandedOff uint16 `json:"commanded_off,omitempty"`
	BatteryLow   uint16 `json:"battery_low"` // any of these set: the meter's battery is nearly empty; 0 where the meter doesn't tell
}

// Command is one write. Values are fixed; a purchase has none and is built from amount and count.
type Command struct {
	Function byte     `json:"function"`
	Address  Register `json:"address"`
	Values   []uint16 `json:"values"`
	Code     byte     `json:"code,omitempty"` // the order of a protocol without registers
	Note     string   `json:"note"`
}

// Profile is one register map.
type Profile struct {
	Name     string   `json:"name"`
	Version  int      `json:"version"`
	Service  Service  `json:"service"`
	Protocol Protocol `json:"protocol,omitempty"`
	// Maker are the highest two digits of a CJ/T 188 address, in front of our twelve.
	Maker               string `json:"maker,omitempty"`
	Model               string `json:"model"`
	Source              string `json:"source"`
	VerifiedOnDevice    bool   `json:"verified_on_device"`
	VerifiedOnSimulator bool   `json:"verified_on_simulator"`
	Note                string `json:"note"`
	WordOrder           string `json:"word_order"`
	// CircuitUnits is how many unit ids a circuit of a multi-circuit box takes; 0 for meters that are no circuit.
	CircuitUnits int     `json:"circuit_units,omitempty"`
	Blocks       []Block `json:"blocks"`
	Fields       []Field `json:"fields"`
	// Registers are the fields of a reading, total first. An empty name is a band that the meter doesn't have, which counts nothing.
	Registers []string           `json:"registers"`
	Supply    SupplyBits         `json:"supply"`
	Commands  map[string]Command `json:"commands"`
	// MaxPriceFen is the highest price per unit (kWh) that the meter can be set to. It only bounds how much credit can have
	// been used up between two snapshots when a delivery is checked.
	MaxPriceFen int64 `json:"max_price_fen"`
	// Prices is how the meter's own prices are set; nil for meters that hold none.
	Prices *PriceMap `json:"prices"`
}

// The names of commands in a map.
const (
	Purchase   = "purchase"
	Trip       = "trip"
	Close      = "close"
	KeepClosed = "keep_closed"
	Release    = "release"
	// AllowClosing lets the customer close the relay by the meter's button; until then it stays open.
	AllowClosing = "allow_closing"
	SetClock     = "clock"
	// SetVolume writes the remaining volume of a water meter, an absolute register without a count.
	SetVolume = "set_volume"
)

// Label names the map with its version, as evidence keeps it.
func (p *Profile) Label() string { return p.Name + " v" + strconv.Itoa(p.Version) }

// MayCommand reports whether money and switching commands are allowed with this map.
func (p *Profile) MayCommand() bool { return p.VerifiedOnDevice || p.VerifiedOnSimulator }

// HoldsVolume reports whether meters of this map hold a bought volume that is set and not added to.
func (p *Profile) HoldsVolume() bool {
	_, ok := p.Commands[SetVolume]
	return ok
}

// Command returns a command by name and whether the map has it.
func (p *Profile) Command(name string) (Command, bool) {
	command, ok := p.Commands[name]
	return command, ok
}

// registry are the maps that this process knows: the embedded ones, and those of folders that were added.
var registry struct {
	mu  sync.RWMutex
	all map[string]*Profile
}

// known gives the maps, the embedded ones from the first call on.
func known() (map[string]*Profile, error) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if registry.all == nil {
		all, err := loadFS(embedded, "maps/*.json")
		if err != nil {
			return nil, err
		}
		registry.all = all
	}
	return registry.all, nil
}

// Get returns the profile of that name.
func Get(name string) (*Profile, error) {
	all, err := known()
	if err != nil {
		return nil, err
	}
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	p, ok := all[name]
	if !ok {
		return nil, fmt.Errorf("there is no meter profile %q; choose one of: %s", name, strings.Join(sortedNames(all), ", "))
	}
	return p, nil
}

// Names lists the profiles in alphabetical order.
func Names() ([]string, error) {
	all, err := known()
	if err != nil {
		return nil, err
	}
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	return sortedNames(all), nil
}

// AddFolder adds the maps (*.json) of a folder, so that a site has its own meter models without a build. Nothing is added when one of them is wrong
// or has the name of a map that is there already: the embedded ones can't be replaced behind somebody's back.
func AddFolder(dir string) error {
	all, err := known()
	if err != nil {
		return err
	}
	more, err := loadFS(os.DirFS(dir), "*.json")
	if err != nil {
		return fmt.Errorf("register maps in %s: %w", dir, err)
	}
	if len(more) == 0 {
		return fmt.Errorf("there is no register map (*.json) in %s", dir)
	}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	for name, p := range more {
		if p.VerifiedOnSimulator {
			return fmt.Errorf("register maps in %s: profile %q says verified_on_simulator, which is for the maps that come with meterflow: try it on a meter, and set verified_on_device", dir, name)
		}
		if _, twice := all[name]; twice {
			return fmt.Errorf("register maps in %s: there is a profile %q already; give yours another name", dir, name)
		}
	}
	maps.Copy(all, more)
	return nil
}

func sortedNames(all map[string]*Profile) []string {
	return slices.Sorted(maps.Keys(all))
}

func loadFS(files fs.FS, pattern string) (map[string]*Profile, error) {
	paths, err := fs.Glob(files, pattern)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*Profile, len(paths))
	for _, path := range paths {
		data, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, err
		}
		p, err := Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if _, twice := all[p.Name]; twice {
			return nil, fmt.Errorf("%s: profile %q exists twice", path, p.Name)
		}
		all[p.Name] = p
	}
	return all, nil
}
