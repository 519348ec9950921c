package simulator

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Function and exception codes, from the protocol's document. They are written down here again on purpose: the simulator
// shares no code with the client.
const (
	fnRead    = 0x03
	fnWrite1  = 0x06
	fnWriteN  = 0x10
	fnCommand = 0x20

	exFunction = 0x01
	exAddress  = 0x02
	exValue    = 0x03
	exFailure  = 0x04
	exNoTarget = 0x0B

	mostReadWords = 125
)

// serve answers one request, without the unit id, at a business instant.
func (m *meter) serve(pdu []byte, now time.Time) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	function := pdu[0]
	c := m.advance(now)
	reply, exception := m.execute(c, function, pdu[1:])
	if err := m.commit(c); err != nil {
		return []byte{function | 0x80, exFailure} // not recorded, so it did not happen
	}
	if exception != 0 {
		return []byte{function | 0x80, exception}
	}
	return append([]byte{function}, reply...)
}

func (m *meter) execute(c *change, function byte, data []byte) (reply []byte, exception byte) {
	switch {
	case function == fnRead:
		return m.read(c, data)
	case m.spec.twoWay():
		return nil, exFunction
	case function == fnWrite1 && m.spec.water():
		return m.writeValve(c, data)
	case function == fnWriteN && m.spec.volume():
		return m.writeVolume(c, data)
	case function == fnWriteN && !m.spec.water():
		return m.writeForced(c, data)
	case function == fnCommand && !m.spec.water():
		return m.command(c, data)
	default:
		return nil, exFunction
	}
}

func (m *meter) read(c *change, data []byte) ([]byte, byte) {
	if len(data) != 4 {
		return nil, exValue
	}
	address, words := binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:])
	if words < 1 || words > mostReadWords {
		return nil, exValue
	}
	image := m.image(c, span{from: int(address), words: int(words)})
	reply := []byte{byte(2 * words)}
	for i := range int(words) {
		value, ok := image[int(address)+i]
		if !ok {
			return nil, exAddress
		}
		reply = binary.BigEndian.AppendUint16(reply, value)
	}
	return reply, 0
}

// writeValve is function 06 at 001C: 1 opens, 2 closes.
func (m *meter) writeValve(c *change, data []byte) ([]byte, byte) {
	if len(data) != 4 {
		return nil, exValue
	}
	if binary.BigEndian.Uint16(data) != 0x001C {
		return nil, exAddress
	}
	switch binary.BigEndian.Uint16(data[2:]) {
	case 1:
		m.moveValve(c, true)
	case 2:
		m.moveValve(c, false)
	default:
		return nil, exValue
	}
	return data, 0
}

// writeVolume is function 16 at 0008: the remaining volume as a float of two registers, lowest byte first.
func (m *meter) writeVolume(c *change, data []byte) ([]byte, byte) {
	address, words, values, ok := payload(data)
	switch {
	case !ok:
		return nil, exValue
	case address != 0x0008 || words != 2:
		return nil, exAddress
	}
	litres := math.Round(float64(math.Float32frombits(binary.LittleEndian.Uint32(values))) * 1000)
	if !(litres > -1e7 && litres < 1e7) { // beyond, and no number at all
		return nil, exValue
	}
	m.setVolume(c, int64(litres))
	return data[:4], 0
}

// payload checks the shape of function 16 and 0x20: address, words, bytes, data.
func payload(data []byte) (address, words uint16, values []byte, ok bool) {
	if len(data) < 5 {
		return 0, 0, nil, false
	}
	address, words = binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:])
	values = data[5:]
	ok = words >= 1 && words <= 123 && int(data[4]) == 2*int(words) && len(values) == 2*int(words)
	return address, words, values, ok
}

// writeForced is function 16 at 0057: forced control on or off, and which way.
func (m *meter) writeForced(c *change, data []byte) ([]byte, byte) {
	address, words, values, ok := payload(data)
	switch {
	case !ok:
		return nil, exValue
	case address != 0x0057 || words != 2:
		return nil, exAddress
	}
	mode, trip := binary.BigEndian.Uint16(values), binary.BigEndian.Uint16(values[2:])
	switch {
	case mode == 0:
		m.force(c, forcedNone)
	case mode == 1 && trip == 1:
		m.force(c, forcedOff)
	case mode == 1 && trip == 0:
		m.force(c, forcedOn)
	default:
		return nil, exValue
	}
	return data[:4], 0
}

// command is the vendor's function 0x20. Its address space is separate from the registers: 0100 is the purchase, 0200 sets money
// parameters, 0354 the clock. What a real meter answers is not published; this one answers address, words, a byte count and its number.
func (m *meter) command(c *change, data []byte) ([]byte, byte) {
	address, words, values, ok := payload(data)
	switch {
	case !ok:
		return nil, exValue
	case address == 0x0100 && words == 4:
		amount := int64(binary.BigEndian.Uint32(values))
		count := int64(binary.BigEndian.Uint16(values[4:]))
		if !m.purchase(c, amount, count) {
			return nil, exValue
		}
	case address == 0x0200 && words == 32:
		prices, ok := priceValues(values)
		if !ok {
			return nil, exValue
		}
		m.setPrices(c, prices)
	case address == 0x0354 && words == 5:
		if !m.setClock(c, values) {
			return nil, exValue
		}
	default:
		return nil, exAddress
	}
	return append(append(append([]byte{}, data[:4]...), 6), packBCD(m.spec.Serial)...), 0
}

// setClock takes ss mi hh weekday dd mm yy.
func (m *meter) setClock(c *change, b []byte) bool {
	now := c.state.At.In(m.location)
	wanted := time.Date(2000+int(b[6]), time.Month(b[5]), int(b[4]), int(b[2]), int(b[1]), int(b[0]), 0, m.location)
	if b[5] < 1 || b[5] > 12 || wanted.Day() != int(b[4]) || b[2] > 23 || b[1] > 59 || b[0] > 59 {
		return false
	}
	c.state.ClockOffset, c.state.ClockSince = int64(wanted.Sub(now)/time.Second), c.state.At
	c.note(EntryClock, RecordEntry{})
	return true
}

// mostPrice is the highest price that a meter can be set to, in 10^-4 yuan.
const mostPrice = 50_000

// priceValues reads the money parameters of function 0x20 at 0200: every field has a flag of its own, and this meter lets only its
// prices be set, behind the flag of byte 29: four of them from byte 30 on, the fifth, of deep valley, at byte 60.
func priceValues(values []byte) (prices [5]uint32, ok bool) {
	for i, b := range values {
		if price := i >= 29 && i < 46 || i >= 60; !price && b != 0 {
			return prices, false
		}
	}
	for i := range prices {
		at := 30 + 4*i
		if i == 4 {
			at = 60
		}
		if prices[i] = binary.BigEndian.Uint32(values[at:]); prices[i] > mostPrice {
			return prices, false
		}
	}
	return prices, values[29] == 1
}

// span is the stretch of registers that a request asks for.
type span struct{ from, words int }

func (s span) holds(address int) bool { return address >= s.from && address < s.from+s.words }

// image is the meter's register space at this instant, as faults let it be seen. A fault that strikes a number of times
// counts only the requests that see what it changes.
func (m *meter) image(c *change, asked span) map[int]uint16 {
	total, clock := 0x0215, 0x0228
	switch {
	case m.spec.water():
		total, clock = 0x0001, 0x0016
	case m.spec.twoWay():
		total = 0x000A
	}
	shown := m.shownRegisters(c, asked.holds(total))
	wall := c.state.At.In(m.location)
	if asked.holds(clock) {
		wall = m.wall(c)
	}
	image := make(map[int]uint16, 160)
	switch {
	case m.spec.water():
		m.waterImage(image, c, shown, wall)
	case m.spec.twoWay():
		m.twoWayImage(image, c, shown)
	default:
		ratio := m.spec.Ratio
		if asked.holds(0x0214) {
			if fault, ok := m.faults.take(FaultWrongRatio, m.place(), c.state.At); ok {
				ratio = fault.Offset
			}
		}
		m.electricityImage(image, c, shown, wall, ratio)
	}
	return image
}

// shownRegisters are the registers with jumps, when the request sees them, and replayed glitches.
func (m *meter) shownRegisters(c *change, seen bool) []int64 {
	shown := append([]int64(nil), c.state.Registers...)
	var offset int64
	if seen {
		if fault, ok := m.faults.take(FaultRegisterJump, m.place(), c.state.At); ok {
			offset += fault.Offset
		}
	}
	if m.spec.ReplayGlitches {
		second := m.seriesSecond(localSeconds(c.state.At, m.location))
		for _, g := range m.load.glitches {
			if second >= g.from && second < g.to {
				offset += g.offset * m.spec.ScalePermille / 1000
			}
		}
	}
	shown[0] = floorMod(shown[0]+offset, m.spec.rollover())
	if !m.spec.water() {
		shown[BandFlat] = floorMod(shown[BandFlat]+offset, m.spec.rollover()) // so that the bands still add up
	}
	return shown
}

func (m *meter) electricityImage(image map[int]uint16, c *change, shown []int64, wall time.Time, ratio int64) {
	s := &c.state
	watts := min(m.loadNow(s), math.MaxInt16)
	put32(image, 0x0000, shown[:5])
	put32(image, 0x0215, shown[:5])
	put32(image, 0x5030, shown[5:])
	putBytes(image, 0x0043, packBCD(m.spec.Serial))
	for address := 0x0200; address <= 0x022F; address++ {
		if _, set := image[address]; !set {
			image[address] = 0
		}
	}
	image[0x000A], image[0x0022] = 0, 1<<6
	model := uint16(7)
	if m.spec.phases() == 3 {
		model = 5
	}
	if m.box.Circuits != 0 {
		model = 10
		image[0x022F] = map[int]uint16{36: 0, 24: 1, 12: 2}[m.box.Circuits] << 8
		if m.spec.phases() == 1 {
			image[0x022F] |= 1
		}
		image[0x0900], image[0x0910] = uint16(m.box.Base), uint16(m.box.Circuits)
	}
	image[0x0200] = model
	amps := uint16(watts * 100 / 220 / int64(m.spec.phases())) // 0.01 A at 220 V
	for phase := range m.spec.phases() {
		image[0x0201+phase] = 2200
		image[0x0204+phase] = amps
		image[0x0207+phase] = uint16(watts / int64(m.spec.phases()))
	}
	image[0x020A], image[0x000D] = uint16(watts), uint16(watts)
	image[0x000B], image[0x000C] = 2200, amps
	image[0x0213], image[0x0214] = 1, uint16(ratio)
	put32(image, 0x021F, []int64{s.RemainingFen})
	image[0x0221], image[0x0401] = uint16(s.PurchaseCount), uint16(s.PurchaseCount)
	image[0x0224] = m.statusWord(s)
	putBytes(image, 0x0228, append(clockBytes(wall), 0))
	image[0x0400] = 0
	if m.spec.CreditMode {
		image[0x0400] = 1
	}
	for band, price := range s.PricesE8 {
		address := 0x0402 + 2*band
		if band == BandDeepValley-1 {
			address = 0x5032
		}
		put32(image, address, []int64{price / 10_000})
	}
	image[0x0057], image[0x0058] = forcedWords(s.Forced)
}

// twoWayImage is the register space of a meter that counts both ways: at 0000 all that passed, whichever way, at 000A what was taken, at 0014 what was given.
func (m *meter) twoWayImage(image map[int]uint16, c *change, shown []int64) {
	put32(image, 0x0000, []int64{(shown[0] + c.state.Reverse) % m.spec.rollover()})
	put32(image, 0x000A, shown[:5])
	put32(image, 0x0014, []int64{c.state.Reverse})
	putBytes(image, 0x0043, packBCD(m.spec.Serial))
}

func forcedWords(forced string) (mode, trip uint16) {
	switch forced {
	case forcedOff:
		return 1, 1
	case forcedOn:
		return 1, 0
	default:
		return 0, 0
	}
}

// statusWord is register 0224: forced state, arrears, alarm and the relay's real position, phase by phase.
func (m *meter) statusWord(s *State) uint16 {
	phases := uint16(1)<<m.spec.phases() - 1
	var word uint16
	if s.Forced != forcedNone {
		word |= 1 << 3
	}
	if s.Forced == forcedOn {
		word |= phases
	}
	if m.spec.CreditMode && s.RemainingFen <= 0 {
		word |= 1 << 5
	}
	if m.spec.CreditMode && s.RemainingFen <= m.spec.AlarmFen {
		word |= 1 << 6
	}
	if s.RelayOn {
		word |= phases << 13
	}
	return word
}

func (m *meter) waterImage(image map[int]uint16, c *change, shown []int64, wall time.Time) {
	for address := 0x0001; address <= 0x001D; address++ {
		image[address] = 0
	}
	putBytes(image, 0x0001, reversedFloat(shown[0]))
	putBytes(image, 0x0005, reversedFloat(m.loadNow(&c.state)))
	if m.spec.volume() {
		putBytes(image, 0x0008, reversedFloat(c.state.RemainingLitres))
	}
	image[0x0007], image[0x000E] = 0x00AA, uint16(m.spec.Unit)
	putBytes(image, 0x0012, packBCD("0000"+m.spec.Serial))
	putBytes(image, 0x0016, append(clockBytes(wall), 0))
	switch c.state.supplyAt(c.real) {
	case SupplyOn:
		image[0x001C] = 1
	case SupplyOff:
		image[0x001C] = 2
	case SupplyFault:
		image[0x001C] = 4
	case SupplyMoving: // neither open nor closed
	}
}

func put32(image map[int]uint16, address int, values []int64) {
	for i, value := range values {
		image[address+2*i] = uint16(uint32(value) >> 16)
		image[address+2*i+1] = uint16(uint32(value))
	}
}

func putBytes(image map[int]uint16, address int, data []byte) {
	for i := 0; i+1 < len(data); i += 2 {
		image[address+i/2] = binary.BigEndian.Uint16(data[i:])
	}
}

// reversedFloat writes thousandths as the nearest float32, lowest byte first.
func reversedFloat(thousandths int64) []byte {
	sign, size := "", thousandths
	if size < 0 {
		sign, size = "-", -size
	}
	value, err := strconv.ParseFloat(fmt.Sprintf("%s%d.%03d", sign, size/1000, size%1000), 32)
	if err != nil {
		value = 0 // cannot happen: the text is made of digits and is far from the largest float
	}
	return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(value)))
}

func packBCD(digits string) []byte {
	packed := make([]byte, len(digits)/2)
	for i := range packed {
		packed[i] = (digits[2*i]-'0')<<4 | (digits[2*i+1] - '0')
	}
	return packed
}

func clockBytes(wall time.Time) []byte {
	weekday := (int(wall.Weekday())+6)%7 + 1
	return []byte{
		byte(wall.Year() % 100), byte(wall.Month()), byte(wall.Day()), byte(weekday),
		byte(wall.Hour()), byte(wall.Minute()), byte(wall.Second()),
	}
}
