package devices

import (
	"errors"
	"fmt"
	"time"

	"github.com/meterflow/meterflow/devices/cjt188"
	"github.com/meterflow/meterflow/devices/dlt645"
	"github.com/meterflow/meterflow/devices/profile"
)

// orderValidFor is how long a DL/T 645 meter may obey a switching command, counted on its own clock: what a serial server holds back for
// longer must not switch anybody. Where the meter has lost its clock, an order that gives supply back holds for clocklessValidFor by the wall
// time of the meter's site: nobody knows what the meter compares it with, and only its read-back tells.
const (
	orderValidFor     = 2 * time.Minute
	clocklessValidFor = 24 * time.Hour
)

// block reads one block of a map in the map's protocol.
func (s *session) block(m Meter, prof *profile.Profile, b profile.Block) ([]byte, error) {
	return s.recall(m.Unit, b, func() ([]byte, error) { return s.ask(m, prof, b) })
}

func (s *session) ask(m Meter, prof *profile.Profile, b profile.Block) ([]byte, error) {
	switch prof.Protocol {
	case profile.DLT645:
		if s.line.channel == nil {
			return nil, converts(m, prof)
		}
		return s.again(func() ([]byte, Frame, error) { return s.read645(m, b.Item, b.Bytes) })
	case profile.CJT188:
		if s.line.channel == nil {
			return nil, converts(m, prof)
		}
		return s.again(func() ([]byte, Frame, error) { return s.waterMeter(m, prof).Read() })
	default:
		return s.read(m.Unit, uint16(b.Address), b.Words)
	}
}

// fence645 is the item that is asked for after a doubt, before anything else: the meter's number. Answers name their item but not their
// request, and come in order, so once this one is in, no late answer to an earlier read is on its way.
const (
	fence645      = "04000402"
	fence645Bytes = 6
)

// read645 reads one item of so many bytes.
func (s *session) read645(m Meter, item string, size int) ([]byte, Frame, error) {
	if s.line.doubted[m.Serial] && item != fence645 {
		if data, frame, err := s.read645(m, fence645, fence645Bytes); err != nil {
			return data, frame, err
		}
	}
	data, frame, err := dlt645.Read(s.line.channel, m.Serial, item, size)
	s.doubt(m, err)
	return data, frame, err
}

// doubt notes that a late answer of a meter may be on its way, or that none is.
func (s *session) doubt(m Meter, err error) {
	var refused *dlt645.RefusedError
	if err == nil || errors.As(err, &refused) {
		delete(s.line.doubted, m.Serial)
		return
	}
	if s.line.doubted == nil {
		s.line.doubted = map[string]bool{}
	}
	s.line.doubted[m.Serial] = true
}

// waterMeter is a CJ/T 188 meter: its address is the meter number with the maker's highest two digits in front.
func (s *session) waterMeter(m Meter, prof *profile.Profile) *cjt188.Meter {
	s.line.counted++
	return cjt188.NewMeter(s.line.channel, cjt188.ColdWater, prof.Maker+m.Serial, s.line.counted)
}

func converts(m Meter, prof *profile.Profile) error {
	return fmt.Errorf("%w: %s frames of profile %s need a gateway that passes bytes on, and %s converts Modbus", ErrBadOrder, prof.Protocol, prof.Name, m.Gateway)
}

// until is the time until which a DL/T 645 meter may obey an order. Without a clock of the meter's own nobody is cut: a trip that came late
// would be obeyed too.
func (s *session) until(w switching, before Snapshot) (time.Time, error) {
	if !before.MeterClock.IsZero() {
		return before.MeterClock.Add(orderValidFor), nil
	}
	wall, ok := s.ctx.Value(wallKey{}).(func() time.Time)
	if !ok || w.name == profile.Trip {
		return time.Time{}, fmt.Errorf("%w: the meter shows no clock, so a command can't say until when it holds", ErrUnsupported)
	}
	return wall().Add(clocklessValidFor), nil
}

// order sends one switching command in the map's protocol, once.
func (s *session) order(m Meter, prof *profile.Profile, w switching, c profile.Command, before Snapshot) error {
	switch prof.Protocol {
	case profile.DLT645:
		until, err := s.until(w, before)
		if err != nil {
			return err
		}
		return s.write(m, func() (Frame, error) {
			frame, err := dlt645.Control(s.line.channel, m.Serial, dlt645.Order{
				Command: c.Code, Password: s.line.pool.config.Password645, Operator: "00000000", Until: until,
			})
			s.doubt(m, err)
			return frame, err
		})
	case profile.CJT188:
		return s.write(m, func() (Frame, error) { return s.waterMeter(m, prof).MoveValve(c.Code) })
	default:
		return s.send(m, command{function: c.Function, address: uint16(c.Address), values: c.Values})
	}
}
