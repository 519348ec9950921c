package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/meterflow/meterflow/devices/wire"
)

// rtu carries requests as RTU frames, with a CRC, over a transparent channel. goburrow frames RTU on local serial ports only, and cuts
// answers to functions that it doesn't know.
//
// Only unit and function tell answers apart here, so a late answer to an earlier read could be taken for the answer to the next one of
// the same length. After a doubt about a unit its next read is therefore preceded by a fence: a read of so few registers as no answer
// that may still come has. Answers come in the order of the requests, so once that one is in, nothing older is on its way.
type rtu struct {
	channel *wire.Channel
	units   map[byte]late // those that were asked
	opened  time.Time     // when the link began
}

// late is what may still come from a unit: answers to reads of so many registers. nil is nothing; writes are known by their function.
type late map[uint16]bool

// takeover is for how long after its beginning a link fences off each unit that it asks for the first time: an answer to the line's owner
// before may be on its way, for as long as an owner waits for one.
const takeover = 30 * time.Second

// NewRTULink prepares a link that carries RTU frames over a transparent channel.
func NewRTULink(channel *wire.Channel) *Link {
	return &Link{carrier: &rtu{channel: channel, units: map[byte]late{}, opened: time.Now()}}
}

func (r *rtu) close() { r.channel.Close() }

func (r *rtu) connected() bool { return r.channel.Connected() }

func (r *rtu) exchange(unit, function byte, data []byte) ([]byte, Frame, error) {
	coming, asked := r.units[unit]
	if coming == nil && (asked || time.Since(r.opened) > takeover) {
		return r.once(unit, function, data)
	}
	if function != ReadHolding {
		return nil, Frame{}, fmt.Errorf("%w: an answer of unit %d may still be on its way; read before writing", ErrBadReply, unit)
	}
	words := uint16(1)
	for coming[words] {
		words++
	}
	// A refusal is an answer as well: there may be fewer registers at that place than make a length of their own.
	var refused *ExceptionError
	if _, frame, err := r.once(unit, ReadHolding, pair(binary.BigEndian.Uint16(data), words)); err != nil && (!errors.As(err, &refused) || refused.gateways()) {
		return nil, frame, err
	}
	return r.once(unit, function, data)
}

// once sends one frame. An answer of any kind that fits clears the unit's suspicion.
func (r *rtu) once(unit, function byte, data []byte) ([]byte, Frame, error) {
	request := appendCRC(append([]byte{unit, function}, data...))
	answer, frame, err := r.channel.Exchange(request, scanRTU(unit, function, answerLength(function, data)))
	if err != nil {
		if r.units[unit] == nil {
			r.units[unit] = late{}
		}
		if function == ReadHolding {
			r.units[unit][binary.BigEndian.Uint16(data[2:])] = true
		}
		return nil, frame, err
	}
	r.units[unit] = nil
	body := answer[2 : len(answer)-2]
	if answer[1] == function|0x80 {
		return nil, frame, &ExceptionError{Function: function, Exception: body[0]}
	}
	return body, frame, nil
}

// answerLength is how long the whole answer to a request is, 0 when the protocol doesn't say.
func answerLength(function byte, data []byte) int {
	switch function {
	case ReadHolding:
		return readFrame(int(binary.BigEndian.Uint16(data[2:])))
	case WriteSingle, WriteMultiple:
		return 8
	default:
		return 0
	}
}

// readFrame is the length of an answer with so many registers: unit, function, byte count, data, CRC.
func readFrame(words int) int { return 5 + 2*words }

const (
	exceptionFrame = 5
	shortestFrame  = 5
	longestFrame   = 256
)

// scanRTU finds the answer to a request among the bytes of a line: the unit's, the function's, of the right length (any for 0) and with
// a right CRC. Whole frames of others, late ones and noise before it are skipped.
func scanRTU(unit, function byte, length int) wire.Scan {
	return func(got []byte, quiet bool) (skip, answer int) {
		for len(got)-skip >= shortestFrame {
			rest := got[skip:]
			n := frameIn(rest, quiet)
			switch {
			case n == 0 && !quiet:
				return skip, 0 // it may still become one
			case n == 0:
				skip++ // noise
			case rest[0] == unit && rest[1] == function|0x80 && n == exceptionFrame:
				return skip, n
			case rest[0] == unit && rest[1] == function && (length == 0 || n == length):
				return skip, n
			default:
				skip += n
			}
		}
		return skip, 0
	}
}

// frameIn is the length of the whole frame that bytes begin with, 0 when they hold none yet. A frame of an unknown function ends where
// the line falls quiet.
func frameIn(b []byte, quiet bool) int {
	n := 0
	switch function := b[1]; {
	case function >= 0x80:
		n = exceptionFrame
	case function == ReadHolding:
		n = 5 + int(b[2])
	case function == WriteSingle, function == WriteMultiple:
		n = 8
	case quiet:
		n = min(len(b), longestFrame)
	}
	if n < shortestFrame || n > len(b) || crc(b[:n]) != 0 {
		return 0
	}
	return n
}

// crc is CRC-16/MODBUS. Over a frame with its own CRC behind it, low byte first, it is 0.
func crc(b []byte) uint16 {
	sum := uint16(0xFFFF)
	for _, octet := range b {
		sum ^= uint16(octet)
		for range 8 {
			carry := sum & 1
			sum >>= 1
			if carry != 0 {
				sum ^= 0xA001
			}
		}
	}
	return sum
}

func appendCRC(b []byte) []byte { return binary.LittleEndian.AppendUint16(b, crc(b)) }
