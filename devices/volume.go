package devices

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/meterflow/meterflow/devices/modbus"
	"github.com/meterflow/meterflow/devices/profile"
)

// The bounds of a volume in litres. A smaller purchase could not be told from what two roundings to a litre leave; a larger remainder is
// no exact 32-bit float.
const (
	LeastVolume = 10
	MostVolume  = 9_999_999
)

// volumeSlack is what two registers that count the same water may differ by, each cut to whole litres.
const volumeSlack = 1

// Volume is a look at a meter that holds a bought volume: what is left and what was counted, out of one frame. Their sum moves only when
// the volume is written: what flows leaves the one and enters the other.
type Volume struct {
	Remaining int64 // litres, negative in overdraft
	Total     int64 // litres
}

func (v Volume) sum() int64 { return v.Remaining + v.Total }

// VolumeOrder is one purchase of water for a meter that holds an absolute volume without a count.
type VolumeOrder struct {
	Litres int64
	// MostLost bounds what may flow between the read and the write of one attempt, in litres: the customer gains it.
	MostLost int64
	// Last is what our last look at this meter left behind; nil when there was none. The write goes out only when nothing wrote the
	// meter since, so that an earlier write that came late is never added to.
	Last *Volume
}

// VolumeResult is what became of a purchase of water. Target is what the remaining volume was set to.
type VolumeResult struct {
	Before, After Snapshot
	Target        int64
	Frames        []Frame
	Outcome       Outcome
	Note          string
	Sent          bool
}

// HoldsVolume reports whether meters of a profile hold a bought volume as an absolute register.
func HoldsVolume(profileName string) bool {
	prof, err := profile.Get(profileName)
	return err == nil && prof.HoldsVolume()
}

// DeliverVolume credits water to a meter that holds it as an absolute register, at most once per call: by read, set, read.
//
// In one piece on the line: the meter is read and must stand where o.Last left it (otherwise ErrVolumeMoved, and nothing is sent); onSent
// is called with what it showed and the target, the last moment at which the caller knows that nothing went out, and its error stops
// the write; the target is written once; the meter is read back, whatever the answer was. The caller stores before and target, so that
// VerifyVolume can finish the work after a crash, and lets no second delivery to the meter begin before this one is settled.
//
// An error means that nothing was sent. After sending, the result's Outcome speaks and the error is nil.
func (p *Pool) DeliverVolume(ctx context.Context, m Meter, o VolumeOrder, onSent func(before Volume, target int64) error) (VolumeResult, error) {
	c, err := p.mayCommand(ctx, m, profile.SetVolume)
	if err != nil {
		return VolumeResult{}, err
	}
	if o.Litres < LeastVolume || o.Litres > MostVolume {
		return VolumeResult{}, about(m, fmt.Errorf("%w: a purchase of %d litres can't be written; it takes %d to %d", ErrBadOrder, o.Litres, LeastVolume, MostVolume))
	}
	var result VolumeResult
	err = p.onMeter(ctx, m, priorityCredit, func(s *session, prof *profile.Profile) error {
		defer func() { result.Frames = s.frames }()
		s.fresh = true
		var err error
		if result.Before, err = s.snapshot(m, prof); err != nil {
			return err
		}
		before, err := volumeOf(result.Before)
		if err != nil {
			return err
		}
		if moved := before.moved(o.Last); moved > volumeSlack || moved < -volumeSlack {
			return fmt.Errorf("%w: remaining and counted volume moved by %d litres", ErrVolumeMoved, moved)
		}
		result.Target = before.Remaining + o.Litres
		words, err := volumeWords(result.Target)
		if err != nil {
			return err
		}
		if err := s.mayLeave(m, prof); err != nil {
			return err
		}
		if onSent != nil {
			if err := onSent(before, result.Target); err != nil {
				return err
			}
		}
		sent := s.send(m, command{function: c.Function, address: uint16(c.Address), values: words})
		if result.Sent = s.left; !s.left {
			return sent
		}
		p.point(PointVolumeSent)
		if result.After, err = s.snapshot(m, prof); err != nil {
			result.Outcome, result.Note = OutcomeUnknown, fmt.Sprintf("after sending (%s) the meter could not be read back: %v", answerText(sent), err)
			return nil
		}
		if result.judge(o, before); result.Outcome != OutcomeVerified {
			result.Note += "; " + answerText(sent)
		}
		return nil
	})
	return result, err
}

// VerifyVolume finds out, by reading only, what became of an order after a doubt. before is what the meter showed before it was sent.
func (p *Pool) VerifyVolume(ctx context.Context, m Meter, o VolumeOrder, before Volume) (VolumeResult, error) {
	var result VolumeResult
	err := p.onMeter(ctx, m, priorityCredit, func(s *session, prof *profile.Profile) error {
		defer func() { result.Frames = s.frames }()
		s.fresh = true
		var err error
		if result.After, err = s.snapshot(m, prof); err != nil {
			return err
		}
		result.judge(o, before)
		return nil
	})
	if err != nil {
		result.Outcome, result.Note = OutcomeUnknown, err.Error()
	}
	return result, err
}

// CompareVolume is VerifyVolume by a later look that somebody has taken: nothing is asked of the meter.
func CompareVolume(o VolumeOrder, before, after Volume) VolumeResult {
	result := VolumeResult{After: Snapshot{RemainingLitres: &after.Remaining, Registers: []int64{after.Total}}}
	result.judge(o, before)
	return result
}

// judge holds the sum of remaining and counted volume against the one before: unmoved, nothing was written; moved by the purchase, and by
// no more on top than can have flowed between the read and the write, it was credited. Anything else is for a person: it is never added
// to by itself.
func (r *VolumeResult) judge(o VolumeOrder, before Volume) {
	after, err := volumeOf(r.After)
	if err != nil {
		r.Outcome, r.Note = OutcomeUnknown, err.Error()
		return
	}
	moved, used := after.sum()-before.sum(), after.Total-before.Total
	lost := min(used, o.MostLost)
	switch {
	case used < 0:
		r.Outcome, r.Note = OutcomeUnknown, "the meter's counter went back or rolled over, so its volume can't be compared"
	case moved >= -volumeSlack && moved <= volumeSlack:
		r.Outcome, r.Note = OutcomeRefused, "the meter's volume was not written: nothing was credited"
	case moved >= o.Litres-volumeSlack && moved <= o.Litres+lost+volumeSlack:
		r.Outcome, r.Note = OutcomeVerified, ""
	default:
		r.Outcome, r.Note = OutcomeUnknown, fmt.Sprintf("remaining and counted volume moved by %d litres instead of %d (at most %d can have flowed meanwhile)", moved, o.Litres, lost)
	}
}

// moved is how far the sum stands from where it was left; 0 when nobody knows.
func (v Volume) moved(last *Volume) int64 {
	if last == nil {
		return 0
	}
	return v.sum() - last.sum()
}

func volumeOf(s Snapshot) (Volume, error) {
	if s.RemainingLitres == nil || len(s.Registers) == 0 {
		return Volume{}, fmt.Errorf("%w: the meter shows no remaining volume", ErrUnsupported)
	}
	return Volume{Remaining: *s.RemainingLitres, Total: s.Registers[0]}, nil
}

// volumeWords are the two registers of a volume.
func volumeWords(litres int64) ([]uint16, error) {
	if litres < 0 || litres > MostVolume {
		return nil, fmt.Errorf("%w: the meter would hold %d litres; it can hold 0 to %d", ErrBadOrder, litres, MostVolume)
	}
	var b [4]byte
	if err := modbus.PutThousandthsDCBA(b[:], litres); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadOrder, err)
	}
	return []uint16{binary.BigEndian.Uint16(b[:]), binary.BigEndian.Uint16(b[2:])}, nil
}
