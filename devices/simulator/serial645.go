package simulator

import (
	"bytes"
	"fmt"
	"time"
)

// DL/T 645-2007 as the simulated meter speaks it: the data items that a prepaid meter is read by, and remote control with a password
// and a time until which it holds.

// password645 is what the simulated meters want: level 02, then the password proper.
const password645 = "02123456"

// The error bits of a refusal.
const (
	refuseOther    = 0x01
	refuseItem     = 0x02
	refusePassword = 0x04
)

// dlt645 finds a request: 68, address, 68, control code, length, data + 33, checksum, 16.
func (g *gateway) dlt645(b []byte) (exchange, int) {
	if len(b) < 12 || b[0] != 0x68 || b[7] != 0x68 {
		return exchange{}, 0
	}
	n := 12 + int(b[9])
	if len(b) < n || b[n-1] != 0x16 || checksum(b[:n-2]) != b[n-2] {
		return exchange{}, 0
	}
	address := append([]byte(nil), b[1:7]...)
	code := b[8]
	data := make([]byte, b[9])
	for i := range data {
		data[i] = b[10+i] - 0x33
	}
	m, known := g.bySerial(digitsOf(address), profile645)
	x := exchange{meter: m, known: known, write: code == 0x1C, checked: true, bytes: n, key: string(b[:n]), again: func(frame []byte) []byte { return frame }}
	if known {
		x.unit = m.spec.Unit
	}
	x.serve = func(now time.Time) []byte {
		reply, refusal := m.serve645(code, data, now)
		if refusal != 0 {
			return frame645(address, code|0xC0, []byte{refusal})
		}
		return frame645(address, code|0x80, reply)
	}
	x.longer = func(frame []byte) []byte {
		data := frame[14 : len(frame)-2] // behind preamble and head
		for i := range data {
			data[i] -= 0x33
		}
		return frame645(address, frame[12], append(data[:len(data):len(data)], 0, 0))
	}
	x.elsewhere = func(frame []byte) []byte {
		frame[5]++ // another meter's address
		frame[len(frame)-2] = checksum(frame[4 : len(frame)-2])
		return frame
	}
	return x, n
}

func frame645(address []byte, code byte, data []byte) []byte {
	frame := append([]byte{0x68}, address...)
	frame = append(frame, 0x68, code, byte(len(data)))
	for _, octet := range data {
		frame = append(frame, octet+0x33)
	}
	frame = append(frame, checksum(frame), 0x16)
	return append(bytes.Repeat([]byte{0xFE}, 4), frame...)
}

func (m *meter) serve645(code byte, data []byte, now time.Time) (reply []byte, refusal byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.advance(now)
	switch {
	case code == 0x11 && len(data) >= 4:
		reply, refusal = m.item645(c, digitsOf(data[:4]))
		reply = append(append([]byte(nil), data[:4]...), reply...)
	case code == 0x1C && len(data) == 16:
		refusal = m.control645(c, data)
	default:
		refusal = refuseOther
	}
	if err := m.commit(c); err != nil {
		return nil, refuseOther // not recorded, so it did not happen
	}
	return reply, refusal
}

func (m *meter) item645(c *change, item string) ([]byte, byte) {
	wall := m.wall(c)
	switch item {
	case "0001FF00":
		var all []byte
		for _, register := range m.shownRegisters(c, true) {
			all = append(all, lowFirst("%08d", register)...)
		}
		return all, 0
	case "04000402":
		return lowFirst("%s", m.spec.Serial), 0
	case "00900200":
		money := c.state.RemainingFen
		shown := lowFirst("%08d", max(money, -money))
		if money < 0 {
			shown[3] |= 0x80
		}
		return shown, 0
	case "03330201":
		return lowFirst("%04d", c.state.PurchaseCount), 0
	case "04000503":
		var word uint16
		if !c.state.RelayOn {
			word |= 1 << 4
		}
		if c.state.Forced == forcedOff || c.state.SelfTripped {
			word |= 1 << 6 // what the relay was told last
		}
		if c.state.Forced == forcedOn {
			word |= 1 << 12
		}
		return []byte{byte(word), byte(word >> 8)}, 0
	case "02030000": // 0.0001 kW, six digits below the sign bit
		return lowFirst("%06d", 10*min(m.loadNow(&c.state), 79_999)), 0
	case "0400010C":
		if m.lostClock(c) {
			return bytes.Repeat([]byte{0xFF}, 7), 0
		}
		return lowFirst("%s%02d%s", wall.Format("060102"), int(wall.Weekday()), wall.Format("150405")), 0
	}
	return nil, refuseItem
}

// wall is what the meter's clock shows.
func (m *meter) wall(c *change) time.Time {
	gained := int64(0)
	if since := c.state.ClockSince; !since.IsZero() { // a record from before clocks gained has none
		gained = m.spec.ClockGains * int64(c.state.At.Sub(since)/time.Second) / secondsPerDay
	}
	wall := c.state.At.In(m.location).Add(time.Duration(c.state.ClockOffset+gained) * time.Second)
	if fault, ok := m.faults.take(FaultWrongClock, m.place(), c.state.At); ok {
		wall = wall.Add(time.Duration(fault.Offset) * time.Second)
	}
	return wall
}

func (m *meter) lostClock(c *change) bool {
	_, lost := m.faults.take(FaultLostClock, m.place(), c.state.At)
	return lost
}

// control645 obeys an order: password (level first), operator, order, a reserved byte, and the time until which it holds.
func (m *meter) control645(c *change, data []byte) byte {
	if given := fmt.Sprintf("%02X", data[0]) + digitsOf(data[1:4]); given != password645 {
		return refusePassword
	}
	until, err := time.ParseInLocation("060102150405", digitsOf(data[10:16]), m.location)
	if err != nil || !m.lostClock(c) && m.wall(c).After(until) {
		return refuseOther // too late by the meter's own clock: it must not act any more
	}
	switch data[8] {
	case 0x1A:
		if c.state.Forced == forcedOn {
			return refuseOther // keep-power
		}
		m.force(c, forcedOff)
	case 0x1B:
		if c.state.Forced == forcedOn {
			return refuseOther // keep-power: closed already
		}
		m.allow(c)
	case 0x1C:
		m.force(c, forcedNone)
	case 0x3A:
		m.force(c, forcedOn)
	case 0x3B:
		m.force(c, forcedNone)
	default:
		return refuseOther
	}
	return 0
}
