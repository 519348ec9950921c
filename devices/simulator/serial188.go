package simulator

import "time"

// CJ/T 188-2004 as the simulated water meter speaks it: one reading and one valve.

// cjt188 finds a request: 68, type, address, control code, length, item, serial number, data, checksum, 16.
func (g *gateway) cjt188(b []byte) (exchange, int) {
	if len(b) < 16 || b[0] != 0x68 || b[1] != 0x10 {
		return exchange{}, 0
	}
	n := 13 + int(b[10])
	if b[10] < 3 || len(b) < n || b[n-1] != 0x16 || checksum(b[:n-2]) != b[n-2] {
		return exchange{}, 0
	}
	address := append([]byte(nil), b[2:9]...)
	code, data := b[9], append([]byte(nil), b[11:n-2]...)
	m, known := g.bySerial(digitsOf(address[:6]), profile188)
	x := exchange{meter: m, known: known && address[6] == 0, write: code == 0x04, checked: true, bytes: n, key: string(b[:n]), again: func(frame []byte) []byte { return frame }}
	if known {
		x.unit = m.spec.Unit
	}
	x.serve = func(now time.Time) []byte {
		reply, ok := m.serve188(code, data, now)
		if !ok {
			return frame188(address, code|0xC0, data[2:3])
		}
		return frame188(address, code|0x80, reply)
	}
	x.longer = func(frame []byte) []byte {
		data := frame[13 : len(frame)-2] // behind preamble and head
		return frame188(address, frame[11], append(data[:len(data):len(data)], 0, 0))
	}
	x.elsewhere = func(frame []byte) []byte {
		frame[4]++ // another meter's address
		frame[len(frame)-2] = checksum(frame[2 : len(frame)-2])
		return frame
	}
	return x, n
}

func frame188(address []byte, code byte, data []byte) []byte {
	frame := append([]byte{0x68, 0x10}, address...)
	frame = append(append(frame, code, byte(len(data))), data...)
	return append([]byte{0xFE, 0xFE}, append(frame, checksum(frame), 0x16)...)
}

// serve188 answers item 901F, and obeys item A017.
func (m *meter) serve188(code byte, data []byte, now time.Time) (reply []byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.advance(now)
	head := append([]byte(nil), data[:3]...)
	switch {
	case code == 0x01 && data[0] == 0x90 && data[1] == 0x1F:
		reply, ok = append(head, m.reading188(c)...), true
	case code == 0x04 && data[0] == 0xA0 && data[1] == 0x17 && len(data) == 4 && (data[3] == 0x55 || data[3] == 0x99):
		m.moveValve(c, data[3] == 0x55)
		reply, ok = append(head, m.status188(c)...), true
	}
	if err := m.commit(c); err != nil {
		return nil, false // not recorded, so it did not happen
	}
	return reply, ok
}

func (m *meter) reading188(c *change) []byte {
	const cubicMetre = 0x2C
	shown := m.shownRegisters(c, true)[0] / 10 // hundredths of a cubic metre
	total := append(lowFirst("%08d", shown), cubicMetre)
	reading := append(append([]byte(nil), total...), total...) // the month's total is not kept
	reading = append(reading, lowFirst("%s", m.wall(c).Format("20060102150405"))...)
	return append(reading, m.status188(c)...)
}

// status188 shows an open valve until it has closed, and a closed one until it is open: this meter knows no "moving".
func (m *meter) status188(c *change) []byte {
	closed := !c.state.RelayOn
	if c.real.Before(c.state.MovesUntil) {
		closed = !closed
	}
	switch {
	case c.state.Abnormal:
		return []byte{0x03, 0}
	case closed:
		return []byte{0x01, 0}
	}
	return []byte{0, 0}
}
