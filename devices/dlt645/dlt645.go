// Package dlt645 speaks DL/T 645-2007 with one meter at a time over a transparent channel: it reads data items and sends remote control
// commands with their valid-until time.
//
// It owns the framing: preamble, address, control code, the 0x33 that is added to every data byte, the checksum. It knows no data item
// by meaning and no rule of money or supply, and it never repeats a request. A meter is addressed by its 12-digit number, which every
// answer carries, and an answer to a read carries the data item too: a late answer is told apart by both.
//
// Source: the standard's frame as public client and firmware code builds it; nothing here was tried on a real meter.
package dlt645

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/meterflow/meterflow/devices/modbus"
	"github.com/meterflow/meterflow/devices/wire"
)

// Control codes. An answer has bit 7 set; a refusal bit 6 as well, with one error byte.
const (
	codeRead    byte = 0x11
	codeControl byte = 0x1C
	answered    byte = 0x80
	refused     byte = 0xC0
)

// Remote control commands: the first data byte after password and operator.
const (
	Trip         byte = 0x1A // 跳闸
	AllowClosing byte = 0x1B // 合闸允许: the customer presses the button
	Close        byte = 0x1C // 直接合闸
	KeepPower    byte = 0x3A // 保电
	EndKeepPower byte = 0x3B // 保电解除
)

const (
	offset       = 0x33
	headSize     = 10 // start, address, start, code, length
	secondStart  = 7
	addressSize  = 6
	preambleSize = 4
)

// RefusedError is the meter's own refusal, with its error bits.
type RefusedError struct {
	Code byte
	Bits byte
}

// Error tells the bits in hex.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the meter refused control code 0x%02X with error 0x%02X", e.Code, e.Bits)
}

// Read reads one data item (such as "0001FF00", highest byte first, as the standard prints it), which has so many bytes, and gives them as they
// came, lowest first.
func Read(c *wire.Channel, address, item string, size int) ([]byte, wire.Frame, error) {
	di, err := reversed(item, 4)
	if err != nil {
		return nil, wire.Frame{}, err
	}
	data, frame, err := exchange(c, address, codeRead, di, di)
	if err != nil {
		return nil, frame, err
	}
	if data = data[len(di):]; len(data) != size {
		return nil, frame, fmt.Errorf("%w: item %s came with %d bytes instead of %d", wire.ErrBadReply, item, len(data), size)
	}
	return data, frame, nil
}

// Order is a remote control command. Password is 8 hex digits as the standard prints them: PA (the level) first. A meter obeys no order
// that reaches it after Until, its own wall time.
type Order struct {
	Command  byte
	Password string
	Operator string
	Until    time.Time
}

// Control sends a remote control command. The meter's acknowledgement says only that it took the command; what its relay did is to be
// read.
func Control(c *wire.Channel, address string, o Order) (wire.Frame, error) {
	password, err := reversed(o.Password, 4)
	if err != nil {
		return wire.Frame{}, fmt.Errorf("password: %w", err)
	}
	operator, err := reversed(o.Operator, 4)
	if err != nil {
		return wire.Frame{}, fmt.Errorf("operator: %w", err)
	}
	// The level (PA) comes first on the wire, then the password proper, lowest byte first.
	data := append([]byte{password[3]}, password[:3]...)
	data = append(append(data, operator...), o.Command, 0)
	until, err := modbus.EncodeBCD(o.Until.Format("050415020106"))
	if err != nil {
		return wire.Frame{}, err
	}
	answer, frame, err := exchange(c, address, codeControl, append(data, until...), nil)
	if err == nil && len(answer) != 0 {
		err = fmt.Errorf("%w: an acknowledgement has no data, and %d bytes came", wire.ErrBadReply, len(answer))
	}
	return frame, err
}

// exchange sends one frame and gives the plain data of the answer, which begins with echo.
func exchange(c *wire.Channel, address string, code byte, data, echo []byte) ([]byte, wire.Frame, error) {
	to, err := reversed(address, addressSize)
	if err != nil {
		return nil, wire.Frame{}, fmt.Errorf("address: %w", err)
	}
	request := append(bytes.Repeat([]byte{wire.Preamble}, preambleSize), encode(to, code, data)...)
	answer, frame, err := c.Exchange(request, scan(to, code, echo))
	if err != nil {
		return nil, frame, err
	}
	plain := decode(answer)
	if answer[8] == code|refused {
		return nil, frame, &RefusedError{Code: code, Bits: plain[0]}
	}
	return plain, frame, nil
}

func encode(address []byte, code byte, data []byte) []byte {
	b := append([]byte{wire.Start}, address...)
	b = append(b, wire.Start, code, byte(len(data)))
	for _, octet := range data {
		b = append(b, octet+offset)
	}
	return wire.Seal(b)
}

// decode is the plain data of a whole frame.
func decode(b []byte) []byte {
	plain := make([]byte, b[9])
	for i := range plain {
		plain[i] = b[headSize+i] - offset
	}
	return plain
}

// scan finds the answer of the meter to the code, with the echo at the beginning of its data.
func scan(address []byte, code byte, echo []byte) wire.Scan {
	return wire.ScanSummed(headSize, secondStart, func(frame []byte) bool { return fits(frame, address, code, echo) })
}

func fits(b, address []byte, code byte, echo []byte) bool {
	if !bytes.Equal(b[1:7], address) {
		return false
	}
	switch b[8] {
	case code | answered:
		return bytes.HasPrefix(decode(b), echo)
	case code | refused:
		return b[9] == 1
	}
	return false
}

// reversed packs hex digits, lowest byte first: addresses and items are printed highest first and sent lowest first.
func reversed(digits string, size int) ([]byte, error) {
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != size {
		return nil, fmt.Errorf("%q must be %d hex digits", digits, 2*size)
	}
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b, nil
}
