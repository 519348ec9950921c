package simulator

import (
	"errors"
	"fmt"
	"time"
)

// The bands in register order; register 0 is the total.
const (
	BandSharp = 1 + iota
	BandPeak
	BandFlat
	BandValley
	BandDeepValley
)

const (
	electricityRegisters = 6
	slotsPerDay          = 48
	slotLength           = 30 * time.Minute
	// serialDigits is the length of a meter number: six BCD bytes.
	serialDigits = 12
)

// FleetSpec describes a whole fleet. It is plain JSON, so that a demo can write it and `simulate` can serve it.
type FleetSpec struct {
	Seed     int64         `json:"seed"`
	Gateways []GatewaySpec `json:"gateways"`
}

// GatewaySpec is one gateway with one serial line.
type GatewaySpec struct {
	ID     string `json:"id"`
	Listen string `json:"listen"` // host:port; port 0 picks a free one
	// Link is modbus_tcp (also when empty): the gateway converts; transparent: it passes bytes on; dial_in: it passes bytes on over a
	// connection that it opens to DialTo, where it registers with Registration and Secret.
	Link         string `json:"link,omitempty"`
	DialTo       string `json:"dial_to,omitempty"`
	Registration string `json:"registration,omitempty"`
	Secret       string `json:"secret,omitempty"`
	// Zone is the IANA zone of the meters' clocks and bands; empty is Asia/Shanghai.
	Zone string `json:"zone,omitempty"`
	// LineMillis is how long one exchange holds the serial line, in real time; Baud puts the time of its bytes in place of it.
	LineMillis int `json:"line_millis,omitempty"`
	// Baud is the line's speed: each byte takes ten bits, and 3.5 bytes of silence stand before and behind a frame. 0 takes no time.
	Baud int `json:"baud,omitempty"`
	// TurnaroundMillis is how long a meter thinks, PauseMillis what the gateway keeps between two exchanges, ResponseMillis how long it waits
	// for a meter, and Retries how often it asks again. A silent meter costs (Retries + 1) × ResponseMillis, unless SilentMillis says otherwise.
	TurnaroundMillis int `json:"turnaround_millis,omitempty"`
	PauseMillis      int `json:"pause_millis,omitempty"`
	ResponseMillis   int `json:"response_millis,omitempty"`
	Retries          int `json:"retries,omitempty"`
	// SilentMillis is how long the gateway waits for a silent meter before it answers exception 0x0B, in real time.
	SilentMillis int `json:"silent_millis,omitempty"`
	// CacheMillis is how long the gateway answers a repeated read from its memory, in real time.
	CacheMillis int         `json:"cache_millis,omitempty"`
	Meters      []MeterSpec `json:"meters"`
	Boxes       []BoxSpec   `json:"boxes,omitempty"`
}

// BoxSpec is a multi-circuit box: one device with one clock, whose circuits are the gateway's meters with the unit ids from Base on. A
// three-phase circuit takes three of them and answers on the first.
type BoxSpec struct {
	Base     byte `json:"base"`     // 1 + k × Circuits
	Circuits int  `json:"circuits"` // 12, 24 or 36
}

func (b BoxSpec) holds(unit byte, units int) bool {
	return unit >= b.Base && int(unit)+units <= int(b.Base)+b.Circuits
}

// MeterSpec is one meter behind a gateway.
type MeterSpec struct {
	Unit    byte   `json:"unit"`
	Serial  string `json:"serial"`  // 12 digits
	Profile string `json:"profile"` // sim-ddsy1352, sim-dtsy1352, sim-valve-water, sim-volume-water, sim-dlt645, sim-cjt188, sim-dtsd1352, and sim-adf300 or sim-adf300-three for a circuit of a box
	// LoadProfile is the id of a series; ScalePermille multiplies it (1000 = as measured; 0 is read as 1000);
	// OffsetDays shifts the day at which it starts.
	LoadProfile   string `json:"load_profile"`
	ScalePermille int64  `json:"scale_permille"`
	OffsetDays    int    `json:"offset_days"`
	// FeedWatts is what the customer's own generator gives from 10:00 to 14:00 local time. What the load doesn't take goes the other way and is counted by the
	// reverse register; only sim-dtsd1352 has one.
	FeedWatts int64 `json:"feed_watts,omitempty"`
	// OpeningRegisters are the registers at the first start, total first: 0.01 kWh (6 values) or litres (1 value).
	OpeningRegisters []int64 `json:"opening_registers"`
	// RegisterDigits is the width of the counters in digits of the raw unit: they roll over at 10^RegisterDigits. 0 is 8
	// (999,999.99 kWh) for electricity and 7 (9,999.999 m³) for water. A rollover is set up by opening just below it.
	RegisterDigits int `json:"register_digits"`
	// Ratio is the transformer ratio: the registers count 1/Ratio of the energy. 0 is 1.
	Ratio int64 `json:"ratio"`

	CreditMode   bool  `json:"credit_mode"`
	RemainingFen int64 `json:"remaining_fen"`
	OverdraftFen int64 `json:"overdraft_fen"`
	// RemainingLitres is what a meter that holds a volume starts with; it closes its valve when nothing is left.
	RemainingLitres int64 `json:"remaining_litres,omitempty"`
	// PricesE8 are yuan×10^8 per kWh for sharp, peak, flat, valley, deep valley.
	PricesE8  [5]int64   `json:"prices_e8"`
	AlarmFen  int64      `json:"alarm_fen"`
	BandTable []BandSpan `json:"band_table"`

	// ClockOffset is how many seconds the meter's clock is ahead at its first start.
	ClockOffset int64 `json:"clock_offset,omitempty"`
	// ClockGains is how many seconds the meter's clock gains in a day, since its first start or since it was set.
	ClockGains int64 `json:"clock_gains,omitempty"`
	// SumOf makes this a master meter: what passes it is what passes the meters with these serials, and LossPermille more.
	SumOf        []string `json:"sum_of,omitempty"`
	LossPermille int64    `json:"loss_permille,omitempty"`

	// ValveMillis is how long a valve travels, in real milliseconds.
	ValveMillis int `json:"valve_millis"`
	// ReplayGlitches shows the wrong readings of the published water series at their places.
	ReplayGlitches bool `json:"replay_glitches"`
}

// BandSpan puts the local minutes [From, To) of a day, in the given months (none: all), into a band. Minutes that no span
// covers are flat. The first span that fits wins.
type BandSpan struct {
	From   int   `json:"from"`
	To     int   `json:"to"`
	Band   int   `json:"band"`
	Months []int `json:"months,omitempty"`
}

// The profiles that are told apart by more than their number of phases.
const (
	profileWater  = "sim-valve-water"
	profileVolume = "sim-volume-water"
	profile645    = "sim-dlt645"
	profile188    = "sim-cjt188"
	profileSingle = "sim-ddsy1352"
	profileBox    = "sim-adf300"
	profileBox3   = "sim-adf300-three"
	profileThree  = "sim-dtsy1352"
	profileTwoWay = "sim-dtsd1352"
)

func (s MeterSpec) water() bool {
	return s.Profile == profileWater || s.Profile == profile188 || s.volume()
}

// twoWay says whether the meter counts what goes the other way. Such a meter has four bands, no relay and no credit.
func (s MeterSpec) twoWay() bool { return s.Profile == profileTwoWay }

// volume says whether the meter holds a bought volume.
func (s MeterSpec) volume() bool { return s.Profile == profileVolume }

// modbus says whether the meter is asked in Modbus frames.
func (s MeterSpec) modbus() bool { return s.Profile != profile645 && s.Profile != profile188 }

func (s MeterSpec) phases() int {
	if s.Profile == profileThree || s.Profile == profileBox3 || s.twoWay() {
		return 3
	}
	return 1
}

// circuitUnits is how many unit ids a circuit of a box takes; 0 for a meter of its own.
func (s MeterSpec) circuitUnits() int {
	switch s.Profile {
	case profileBox:
		return 1
	case profileBox3:
		return 3
	}
	return 0
}

// withDefaults fills the zero values that stand for a usual one.
func (s MeterSpec) withDefaults() MeterSpec {
	if s.ScalePermille == 0 {
		s.ScalePermille = 1000
	}
	if s.Ratio == 0 {
		s.Ratio = 1
	}
	if s.RegisterDigits == 0 {
		s.RegisterDigits = 8
		switch s.Profile {
		case profileWater, profileVolume:
			s.RegisterDigits = 7
		case profile188:
			s.RegisterDigits = 9 // litres behind eight digits of ten litres
		}
	}
	return s
}

func (s MeterSpec) registers() int {
	if s.water() {
		return 1
	}
	return electricityRegisters
}

// rollover is the first value that the counters can't show.
func (s MeterSpec) rollover() int64 {
	limit := int64(1)
	for range s.RegisterDigits {
		limit *= 10
	}
	return limit
}

func (s MeterSpec) validate() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("meter %s (unit %d): %s", s.Serial, s.Unit, fmt.Sprintf(format, args...))
	}
	switch {
	case len(s.Serial) != serialDigits || !allDigits(s.Serial):
		return fail("the serial must be %d digits", serialDigits)
	case s.Unit < 1 || s.Unit > 247:
		return fail("the unit id must be 1 to 247")
	case s.Profile != profileSingle && s.Profile != profileThree && s.Profile != profile645 && !s.twoWay() && !s.water() && s.circuitUnits() == 0:
		return fail("profile %q must be one of %s, %s, %s, %s, %s, %s, %s, %s, %s", s.Profile, profileSingle, profileThree, profileTwoWay, profileWater, profileVolume, profile645, profile188, profileBox, profileBox3)
	case s.ScalePermille < 0 || s.ScalePermille > 1_000_000:
		return fail("scale_permille %d must be 1 to 1000000", s.ScalePermille)
	case s.Ratio < 1 || s.Ratio > 10_000:
		return fail("ratio %d must be 1 to 10000", s.Ratio)
	case s.RegisterDigits < 4 || s.RegisterDigits > 9 || (s.Profile == profileWater || s.volume()) && s.RegisterDigits > 7:
		return fail("register_digits %d must be 4 to 9, for water at most 7", s.RegisterDigits)
	case len(s.OpeningRegisters) != 0 && len(s.OpeningRegisters) != s.registers():
		return fail("opening_registers has %d values; it takes %d", len(s.OpeningRegisters), s.registers())
	case s.LossPermille < 0 || s.LossPermille > 1000:
		return fail("loss_permille %d must be 0 to 1000", s.LossPermille)
	case s.FeedWatts != 0 && (!s.twoWay() || s.FeedWatts < 0):
		return fail("feed_watts %d: only %s counts what is fed back, which is above zero", s.FeedWatts, profileTwoWay)
	case s.twoWay() && (s.CreditMode || len(s.SumOf) > 0):
		return fail("a meter of this kind holds no credit and sums no others")
	case s.CreditMode && len(s.SumOf) > 0:
		return fail("a master meter holds no credit")
	case s.CreditMode && s.water() && !s.volume():
		return fail("a water meter of this kind holds no credit")
	}
	for _, opening := range s.OpeningRegisters {
		if opening < 0 || opening >= s.rollover() {
			return fail("opening register %d does not fit %d digits", opening, s.RegisterDigits)
		}
	}
	for _, span := range s.BandTable {
		if span.From%30 != 0 || span.To%30 != 0 || span.From < 0 || span.To > 24*60 || span.From >= span.To {
			return fail("band span %d to %d must be half hours of one day, from before to", span.From, span.To)
		}
		if span.Band < BandSharp || span.Band > BandDeepValley {
			return fail("band %d must be 1 (sharp) to 5 (deep valley)", span.Band)
		}
		if s.twoWay() && span.Band == BandDeepValley {
			return fail("a meter of this kind has no deep valley")
		}
	}
	if _, err := findSeries(s.water(), s.LoadProfile); err != nil {
		return fail("%v", err)
	}
	return nil
}

func (f FleetSpec) validate() error {
	if len(f.Gateways) == 0 {
		return errors.New("the fleet has no gateway; describe at least one")
	}
	gateways, serials := map[string]bool{}, map[string]bool{}
	for _, g := range f.Gateways {
		if g.ID == "" || gateways[g.ID] {
			return fmt.Errorf("gateway %q needs an id of its own", g.ID)
		}
		gateways[g.ID] = true
		if err := g.validate(); err != nil {
			return err
		}
		units := map[byte]bool{}
		for _, m := range g.Meters {
			if err := m.withDefaults().validate(); err != nil {
				return fmt.Errorf("gateway %s: %w", g.ID, err)
			}
			if units[m.Unit] || serials[m.Serial] {
				return fmt.Errorf("gateway %s: meter %s: unit %d or serial is taken twice", g.ID, m.Serial, m.Unit)
			}
			units[m.Unit], serials[m.Serial] = true, true
		}
		if err := g.validateBoxes(); err != nil {
			return err
		}
	}
	return nil
}

// box is the box that a unit id belongs to.
func (g GatewaySpec) box(unit byte) (BoxSpec, bool) {
	for _, b := range g.Boxes {
		if b.holds(unit, 1) {
			return b, true
		}
	}
	return BoxSpec{}, false
}

// inBox refuses a circuit outside of a box, and a meter of its own inside one.
func (g GatewaySpec) inBox(m MeterSpec) error {
	b, in := g.box(m.Unit)
	if units := m.circuitUnits(); in != (units > 0) || in && !b.holds(m.Unit, units) {
		return fmt.Errorf("gateway %s: meter %s: unit %d is no circuit of a box as its profile says", g.ID, m.Serial, m.Unit)
	}
	return nil
}

func (g GatewaySpec) validateBoxes() error {
	for i, b := range g.Boxes {
		if b.Circuits != 12 && b.Circuits != 24 && b.Circuits != 36 || b.Base < 1 || (int(b.Base)-1)%b.Circuits != 0 || int(b.Base)+b.Circuits > 248 {
			return fmt.Errorf("gateway %s: a box has 12, 24 or 36 circuits and begins at unit 1 + k × that, not %d at unit %d", g.ID, b.Circuits, b.Base)
		}
		for _, other := range g.Boxes[:i] {
			if int(b.Base) < int(other.Base)+other.Circuits && int(other.Base) < int(b.Base)+b.Circuits {
				return fmt.Errorf("gateway %s: the boxes at units %d and %d overlap", g.ID, other.Base, b.Base)
			}
		}
	}
	taken, clocks := map[byte]string{}, map[byte]int64{}
	for _, m := range g.Meters {
		if err := g.inBox(m); err != nil {
			return err
		}
		b, in := g.box(m.Unit)
		if offset, known := clocks[b.Base]; in && known && offset != m.ClockOffset {
			return fmt.Errorf("gateway %s: meter %s: a box has one clock; give all its circuits the same clock_offset", g.ID, m.Serial)
		}
		clocks[b.Base] = m.ClockOffset
		for k := range byte(m.circuitUnits()) {
			if other, twice := taken[m.Unit+k]; twice {
				return fmt.Errorf("gateway %s: meters %s and %s both take unit %d", g.ID, other, m.Serial, m.Unit+k)
			}
			taken[m.Unit+k] = m.Serial
		}
	}
	return nil
}

func (g GatewaySpec) validate() error {
	if g.Baud < 0 || g.TurnaroundMillis < 0 || g.PauseMillis < 0 || g.ResponseMillis < 0 || g.Retries < 0 {
		return fmt.Errorf("gateway %s: speed, times and retries can't be negative", g.ID)
	}
	switch g.Link {
	case "", linkTCP:
		for _, m := range g.Meters {
			if !m.modbus() {
				return fmt.Errorf("gateway %s: meter %s speaks no Modbus; it needs a gateway that passes bytes on", g.ID, m.Serial)
			}
		}
	case linkTransparent:
	case linkDialIn:
		if g.DialTo == "" || g.Registration == "" || g.Secret == "" {
			return fmt.Errorf("gateway %s dials in; say where to, and its registration and secret", g.ID)
		}
	default:
		return fmt.Errorf("gateway %s: link %q must be %s, %s or %s", g.ID, g.Link, linkTCP, linkTransparent, linkDialIn)
	}
	return nil
}

// The kinds of links.
const (
	linkTCP         = "modbus_tcp"
	linkTransparent = "transparent"
	linkDialIn      = "dial_in"
)

func (g GatewaySpec) location() (*time.Location, error) {
	if g.Zone == "" || g.Zone == "Asia/Shanghai" {
		return time.FixedZone("CST", 8*60*60), nil // no summer time since 1991; needs no zone database
	}
	location, err := time.LoadLocation(g.Zone)
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", g.ID, err)
	}
	return location, nil
}

func allDigits(text string) bool {
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			return false
		}
	}
	return true
}
