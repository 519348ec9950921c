package devices

import (
	"context"
	"fmt"

	"github.com/meterflow/meterflow/devices/profile"
)

// Prices are what a meter that deducts by itself charges per kWh: sharp, peak, flat, valley, deep valley, in 10^-8 yuan. A band that the
// meter has no price for is -1 when it is read.
type Prices [5]int64

// PriceResult is what became of setting prices.
type PriceResult struct {
	// At is the meter just before the write: until these registers it deducted by Before.
	At            Snapshot
	Before, After Prices
	Frames        []Frame
	Outcome       Outcome
	Note          string
	Sent          bool // false when the meter held these prices already
}

// CanHold refuses prices that meters of this profile can't be set to, with the reason. Nothing is sent.
func CanHold(profileName string, want Prices) error {
	prof, err := profile.Get(profileName)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadOrder, err)
	}
	_, err = rawPrices(prof, want)
	return err
}

func rawPrices(prof *profile.Profile, want Prices) ([]uint32, error) {
	if prof.Prices == nil {
		return nil, fmt.Errorf("%w: profile %s holds no prices", ErrUnsupported, prof.Name)
	}
	raw, err := prof.Prices.Raw(want, prof.MaxPriceFen)
	if err != nil {
		return nil, fmt.Errorf("%w: a meter of profile %s can't hold these prices: %w", ErrUnsupported, prof.Name, err)
	}
	return raw, nil
}

// SetPrices writes all prices of a meter in one frame, at most once per call, and reads them back. The write sets and doesn't add, so
// that a repeat, by a gateway or by another call after a doubt, is harmless.
//
// In one piece on the line: serial, registers and present prices are read; prices that stand already are not sent; onSent is
// called with what the meter showed, the last moment at which the caller knows that nothing went out, and its error stops the write;
// the prices are sent once; they are read back, whatever the answer was.
//
// An error means that nothing was sent. After sending, the result's Outcome speaks and the error is nil.
func (p *Pool) SetPrices(ctx context.Context, m Meter, want Prices, onSent func(before Snapshot) error) (PriceResult, error) {
	prof, err := p.mayCommandAt(ctx, m)
	if err != nil {
		return PriceResult{}, err
	}
	raw, err := rawPrices(prof, want)
	if err != nil {
		return PriceResult{}, about(m, err)
	}
	var result PriceResult
	err = p.onMeter(ctx, m, priorityRead, func(s *session, prof *profile.Profile) error {
		defer func() { result.Frames = s.frames }()
		s.fresh = true
		var err error
		if result.At, err = s.snapshot(m, prof); err != nil {
			return err
		}
		if result.Before, err = s.prices(m, prof); err != nil {
			return err
		}
		if result.Before == want {
			result.After, result.Outcome = result.Before, OutcomeVerified
			return nil
		}
		if err := s.mayLeave(m, prof); err != nil {
			return err
		}
		if onSent != nil {
			if err := onSent(result.At); err != nil {
				return err
			}
		}
		sent := s.send(m, command{function: prof.Prices.Function, address: uint16(prof.Prices.Address), values: prof.Prices.Payload(raw)})
		if result.Sent = s.left; !s.left {
			return sent
		}
		p.point(PointPricesSent)
		result.conclude(s, m, prof, want, sent)
		return nil
	})
	return result, err
}

// ReadPrices reads the prices that a meter holds.
func (p *Pool) ReadPrices(ctx context.Context, m Meter) (Prices, error) {
	var prices Prices
	err := p.onMeter(ctx, m, priorityRead, func(s *session, prof *profile.Profile) error {
		if prof.Prices == nil {
			return fmt.Errorf("%w: profile %s holds no prices", ErrUnsupported, prof.Name)
		}
		var err error
		if _, err = s.snapshot(m, prof); err != nil { // whose prices they are
			return err
		}
		prices, err = s.prices(m, prof)
		return err
	})
	return prices, err
}

// conclude reads back after sending.
func (r *PriceResult) conclude(s *session, m Meter, prof *profile.Profile, want Prices, sent error) {
	after, err := s.prices(m, prof)
	switch {
	case err != nil:
		r.Outcome, r.Note = OutcomeUnknown, fmt.Sprintf("after sending (%s) the prices could not be read back: %v", answerText(sent), err)
		return
	case after == want:
		r.Outcome = OutcomeVerified
	case after == r.Before:
		r.Outcome, r.Note = OutcomeRefused, "the meter still holds its former prices; "+answerText(sent)
	default:
		r.Outcome, r.Note = OutcomeUnknown, "the meter holds neither its former prices nor the new ones; "+answerText(sent)
	}
	r.After = after
}

// prices reads the price blocks.
func (s *session) prices(m Meter, prof *profile.Profile) (Prices, error) {
	raw := make(profile.Raw, len(prof.Prices.Blocks))
	for _, block := range prof.Prices.Blocks {
		data, err := s.block(m, prof, block)
		if err != nil {
			return Prices{}, err
		}
		raw[block.Name] = data
	}
	prices, err := prof.Prices.Decode(raw)
	if err != nil {
		return Prices{}, fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	return prices, nil
}
