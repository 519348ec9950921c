// Package cjt188 speaks CJ/T 188-2004 with one meter at a time over a transparent channel: it reads a water meter and moves its valve.
//
// It owns the framing: preamble, meter type, address, control code, data item, serial number of the exchange, checksum. A late answer
// is told apart by its address, its data item and its serial number, which counts up with every request. It never repeats one. Data
// items are in the order 90 1F; makers that swap them need a profile of their own, and nothing here was tried on a real meter.
//
// Source: the frame and codes as public clients and firmware build them (valve: data item A017, 55 opens, 99 closes).
package cjt188

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"github.com/meterflow/meterflow/devices/wire"
)

// Meter types, the byte before the address.
const ColdWater byte = 0x10

// Control codes. An answer has bit 7 set; a refusal bit 6 as well.
const (
	codeRead  byte = 0x01
	codeWrite byte = 0x04
	answered  byte = 0x80
	refused   byte = 0xC0
)

// Data for data item A017.
const (
	ValveOpen  byte = 0x55
	ValveClose byte = 0x99
)

const (
	addressSize = 7
	headSize    = 11 // start, type, address, code, length
	itemSize    = 2
	statusSize  = 2
	trailerSize = 2 // sum and end
)

var (
	itemReading = []byte{0x90, 0x1F}
	itemValve   = []byte{0xA0, 0x17}
)

// RefusedError is the meter's own refusal.
type RefusedError struct{ Code byte }

// Error tells the control code in hex.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the meter refused control code 0x%02X", e.Code)
}

// Meter is one meter on a channel, for one exchange.
type Meter struct {
	channel *wire.Channel
	kind    byte
	address string
	serial  byte
}

// NewMeter names a meter. Its address is 14 digits, highest first, which puts the maker's in front; serial is the number of the exchange, which must differ from
// that of the exchanges before.
func NewMeter(c *wire.Channel, kind byte, address string, serial byte) *Meter {
	return &Meter{channel: c, kind: kind, address: address, serial: serial}
}

// cubicMetre is the unit byte behind a volume; others stand for other decimals, so they are refused.
const cubicMetre = 0x2C

// readingSize is total, unit, month's total, unit, clock and status.
const readingSize = 19

// Read reads total, clock and status. What comes is the address of the meter that answered, lowest byte first, and the data of item
// 901F behind item and serial number.
func (m *Meter) Read() ([]byte, wire.Frame, error) {
	answer, frame, err := m.exchange(codeRead, itemReading, nil)
	if err != nil {
		return nil, frame, err
	}
	data := answer[headSize+itemSize+1 : len(answer)-2]
	if len(data) != readingSize || data[4] != cubicMetre {
		return nil, frame, fmt.Errorf("%w: a reading has %d bytes, and its total is in cubic metres", wire.ErrBadReply, readingSize)
	}
	return append(bytes.Clone(answer[2:2+addressSize]), data...), frame, nil
}

// MoveValve orders the valve to open or close. The acknowledgement says only that the meter took the order: a valve travels for seconds.
func (m *Meter) MoveValve(order byte) (wire.Frame, error) {
	answer, frame, err := m.exchange(codeWrite, itemValve, []byte{order})
	if n := headSize + itemSize + 1 + statusSize + trailerSize; err == nil && len(answer) != n {
		err = fmt.Errorf("%w: an acknowledgement of the valve has %d bytes, and %d came", wire.ErrBadReply, n, len(answer))
	}
	return frame, err
}

func (m *Meter) exchange(code byte, item, data []byte) ([]byte, wire.Frame, error) {
	address, err := hex.DecodeString(m.address)
	if err != nil || len(address) != addressSize {
		return nil, wire.Frame{}, fmt.Errorf("address %q must be %d digits", m.address, 2*addressSize)
	}
	for i, j := 0, len(address)-1; i < j; i, j = i+1, j-1 {
		address[i], address[j] = address[j], address[i]
	}
	echo := append(bytes.Clone(item), m.serial)
	request := append([]byte{wire.Preamble, wire.Preamble}, encode(m.kind, address, code, append(bytes.Clone(echo), data...))...)
	answer, frame, err := m.channel.Exchange(request, scan(m.kind, address, code, echo))
	if err != nil {
		return nil, frame, err
	}
	if answer[9] == code|refused {
		return nil, frame, &RefusedError{Code: code}
	}
	return answer, frame, nil
}

func encode(kind byte, address []byte, code byte, data []byte) []byte {
	b := append([]byte{wire.Start, kind}, address...)
	b = append(append(b, code, byte(len(data))), data...)
	return wire.Seal(b)
}

// scan finds the answer of the meter to the code, with item and serial number at the beginning of its data.
func scan(kind byte, address []byte, code byte, echo []byte) wire.Scan {
	return wire.ScanSummed(headSize, 0, func(frame []byte) bool { return fits(frame, kind, address, code, echo) })
}

func fits(b []byte, kind byte, address []byte, code byte, echo []byte) bool {
	if b[1] != kind || !bytes.Equal(b[2:9], address) {
		return false
	}
	data := b[headSize : len(b)-2]
	switch b[9] {
	case code | answered:
		return bytes.HasPrefix(data, echo)
	case code | refused:
		// A refusal carries the serial number, and with most makers the status.
		return (len(data) == 1 || len(data) == 1+statusSize) && data[0] == echo[itemSize]
	}
	return false
}
