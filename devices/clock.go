package devices

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/meterflow/meterflow/devices/modbus"
	"github.com/meterflow/meterflow/devices/profile"
)

// MostClockSet is how far a clock may be off and still be set. Meters take no larger step, and what a meter with a worse clock has
// counted into its bands must be looked at by a person first.
const MostClockSet = 10 * time.Minute

// clockStands is how far a clock may be off and count as right: an exchange and the meter's whole seconds.
const clockStands = 5 * time.Second

// ClockResult is what became of setting a clock. Skews are how far the meter's clock was ahead.
type ClockResult struct {
	Before, After time.Duration
	Frames        []Frame
	Outcome       Outcome
	Note          string
	Sent          bool // false when the clock was right already
}

// SetClock sets a meter's clock to the wall time that wall gives, which is asked right before sending, and reads it back. The meter is
// asked first; a clock that is right is left alone, and one that is further off than most, or than MostClockSet, is refused
// (ErrClockSkew). Setting it at most once a day is the caller's to see to. onSent is called with the skew that was found, the last moment
// at which the caller knows that nothing went out, and its error stops the write; it may be nil.
//
// An error means that nothing was sent. After sending, the result's Outcome speaks and the error is nil.
func (p *Pool) SetClock(ctx context.Context, m Meter, most time.Duration, wall func() time.Time, onSent func(before time.Duration) error) (ClockResult, error) {
	most = min(most, MostClockSet)
	c, err := p.mayCommand(ctx, m, profile.SetClock)
	if err != nil {
		return ClockResult{}, err
	}
	var result ClockResult
	err = p.onMeter(ctx, m, priorityRead, func(s *session, prof *profile.Profile) error {
		defer func() { result.Frames = s.frames }()
		s.fresh = true
		var err error
		if result.Before, err = s.skew(m, prof, wall); err != nil {
			return err
		}
		switch off := result.Before.Abs(); {
		case off <= clockStands:
			result.After, result.Outcome = result.Before, OutcomeVerified
			return nil
		case off > most:
			return fmt.Errorf("%w: it is %s off, and at most %s can be set", ErrClockSkew, result.Before.Round(time.Second), most)
		}
		if err := s.mayLeave(m, prof); err != nil {
			return err
		}
		if onSent != nil {
			if err := onSent(result.Before); err != nil {
				return err
			}
		}
		sent := s.send(m, command{function: c.Function, address: uint16(c.Address), values: clockWords(wall())})
		if result.Sent = s.left; !s.left {
			return sent
		}
		p.point(PointClockSent)
		result.conclude(s, m, prof, wall, sent)
		return nil
	})
	return result, err
}

// ClockSkew is how far a meter's clock is ahead of the wall time that wall gives when it has answered, and whether that counts as right.
func (p *Pool) ClockSkew(ctx context.Context, m Meter, wall func() time.Time) (skew time.Duration, right bool, err error) {
	err = p.onMeter(ctx, m, priorityRead, func(s *session, prof *profile.Profile) error {
		s.fresh = true
		var err error
		skew, err = s.skew(m, prof, wall)
		return err
	})
	return skew, err == nil && skew.Abs() <= clockStands, err
}

// skew is how far a meter's clock is ahead of the wall time.
func (s *session) skew(m Meter, prof *profile.Profile, wall func() time.Time) (time.Duration, error) {
	shot, err := s.snapshot(m, prof)
	if err != nil {
		return 0, err
	}
	if shot.MeterClock.IsZero() {
		return 0, fmt.Errorf("%w: the meter shows no clock", ErrUnsupported)
	}
	return shot.MeterClock.Sub(asLabel(wall())), nil
}

// asLabel is the wall time of an instant with the zone of a meter's clock, which is none.
func asLabel(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// clockWords are ss mi hh weekday dd mm yy and three empty bytes.
func clockWords(t time.Time) []uint16 {
	b := modbus.EncodeClock(t) // yy mm dd weekday hh mi ss
	b = []byte{b[6], b[5], b[4], b[3], b[2], b[1], b[0], 0, 0, 0}
	words := make([]uint16, len(b)/2)
	for i := range words {
		words[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return words
}

// conclude reads back after sending.
func (r *ClockResult) conclude(s *session, m Meter, prof *profile.Profile, wall func() time.Time, sent error) {
	after, err := s.skew(m, prof, wall)
	switch {
	case err != nil:
		r.Outcome, r.Note = OutcomeUnknown, fmt.Sprintf("after sending (%s) the clock could not be read back: %v", answerText(sent), err)
		return
	case after.Abs() <= clockStands:
		r.Outcome = OutcomeVerified
	case (after - r.Before).Abs() <= clockStands:
		r.Outcome, r.Note = OutcomeRefused, "the clock is as far off as before; "+answerText(sent)
	default:
		r.Outcome, r.Note = OutcomeUnknown, fmt.Sprintf("the clock is %s off now; %s", after.Round(time.Second), answerText(sent))
	}
	r.After = after
}
