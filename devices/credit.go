package devices

import (
	"context"
	"fmt"
	"math"

	"github.com/meterflow/meterflow/devices/profile"
)

// DeliverCredit writes one purchase to a meter, at most once, and reads back what came of it.
//
// In one piece on the line: the meter's serial, count and balance are read; the count must be the one before the order's
// (otherwise ErrCountMismatch, and nothing is sent); onSent is called, the last moment at which the caller knows that
// nothing went out; the purchase is sent once; count and balance are read back. Whatever happens to the answer, the
// purchase is not sent again: the count decides.
//
// An error means that nothing was sent. After sending, the result's Outcome speaks and the error is nil.
// The caller stores count and balance before it calls, so that VerifyCredit can finish the work after a crash.
func (p *Pool) DeliverCredit(ctx context.Context, m Meter, o CreditOrder, onSent func()) (CreditResult, error) {
	c, err := p.mayCommand(ctx, m, profile.Purchase)
	if err != nil {
		return CreditResult{}, err
	}
	if err := o.check(); err != nil {
		return CreditResult{}, about(m, err)
	}
	var result CreditResult
	err = p.onMeter(ctx, m, priorityCredit, func(s *session, prof *profile.Profile) error {
		defer func() { result.Frames = s.frames }()
		s.fresh = true
		var err error
		if result.Before, err = s.snapshot(m, prof); err != nil {
			return err
		}
		if err := o.fits(result.Before); err != nil {
			return err
		}
		if err := s.mayLeave(m, prof); err != nil {
			return err
		}
		if onSent != nil {
			onSent()
		}
		sent := s.send(m, o.command(c))
		if result.Sent = s.left; !s.left {
			return sent
		}
		p.point(PointCreditSent)
		if sent == nil {
			p.point(PointCreditAcked)
		}
		result.conclude(s, m, prof, o, sent)
		return nil
	})
	return result, err
}

// VerifyCredit finds out, by reading only, what became of an order after a doubt. before is the snapshot, or at least the
// count, balance and registers, from before the order was sent.
func (p *Pool) VerifyCredit(ctx context.Context, m Meter, o CreditOrder, before Snapshot) (CreditResult, error) {
	if err := o.check(); err != nil {
		return CreditResult{}, about(m, err)
	}
	if before.PurchaseCount == nil || before.RemainingFen == nil {
		return CreditResult{}, about(m, fmt.Errorf("%w: count and balance from before the order are missing", ErrBadOrder))
	}
	result := CreditResult{Before: before}
	err := p.onMeter(ctx, m, priorityCredit, func(s *session, prof *profile.Profile) error {
		defer func() { result.Frames = s.frames }()
		s.fresh = true
		var err error
		if result.After, err = s.snapshot(m, prof); err != nil {
			return err
		}
		result.judge(prof, o)
		return nil
	})
	if err != nil {
		result.Outcome, result.Note = OutcomeUnknown, err.Error()
	}
	return result, err
}

// CompareCredit is VerifyCredit by a later look that somebody has taken: nothing is asked of the meter.
func CompareCredit(profileName string, o CreditOrder, before, after Snapshot) (CreditResult, error) {
	result := CreditResult{Before: before, After: after}
	prof, err := profile.Get(profileName)
	if err != nil {
		return result, fmt.Errorf("%w: %w", ErrBadOrder, err)
	}
	result.judge(prof, o)
	return result, nil
}

func (o CreditOrder) check() error {
	if o.AmountFen <= 0 || o.AmountFen > math.MaxInt32 {
		return fmt.Errorf("%w: a purchase of %d fen can't be written; it takes 1 to %d", ErrBadOrder, o.AmountFen, math.MaxInt32)
	}
	if o.Count < 1 || o.Count > math.MaxUint16 {
		return fmt.Errorf("%w: purchase count %d must be 1 to %d", ErrBadOrder, o.Count, math.MaxUint16)
	}
	return nil
}

// fits checks the order against what the meter shows before it is sent.
func (o CreditOrder) fits(before Snapshot) error {
	if before.PurchaseCount == nil || before.RemainingFen == nil {
		return fmt.Errorf("%w: the meter shows no count and balance", ErrUnsupported)
	}
	if *before.PurchaseCount != o.Count-1 {
		return fmt.Errorf("%w: it shows %d, the order carries %d", ErrCountMismatch, *before.PurchaseCount, o.Count)
	}
	return nil
}

func (o CreditOrder) command(c profile.Command) command {
	return command{
		function: c.Function, address: uint16(c.Address),
		values: []uint16{uint16(o.AmountFen >> 16), uint16(o.AmountFen), uint16(o.Count), 0},
	}
}

// conclude reads back after sending, whatever the answer was.
func (r *CreditResult) conclude(s *session, m Meter, prof *profile.Profile, o CreditOrder, sent error) {
	after, err := s.snapshot(m, prof)
	if err != nil {
		r.Outcome = OutcomeUnknown
		r.Note = fmt.Sprintf("after sending (%s) the meter could not be read back: %v", answerText(sent), err)
		return
	}
	r.After = after
	r.judge(prof, o)
	if r.Outcome != OutcomeVerified {
		r.Note += "; " + answerText(sent)
	}
}

func answerText(sent error) string {
	switch {
	case sent == nil:
		return "the meter acknowledged"
	case doubtful(sent):
		return fmt.Sprintf("the answer is in doubt: %v", sent)
	default:
		return sent.Error()
	}
}

// judge compares the meter before and after: the count tells whether the purchase was applied, and the balance whether it
// was this purchase.
func (r *CreditResult) judge(prof *profile.Profile, o CreditOrder) {
	if r.After.PurchaseCount == nil || r.After.RemainingFen == nil {
		r.Outcome, r.Note = OutcomeUnknown, "the meter shows no count and balance"
		return
	}
	count, moved := *r.After.PurchaseCount, *r.After.RemainingFen-*r.Before.RemainingFen
	switch {
	case count == o.Count-1 && moved <= 0:
		r.Outcome, r.Note = OutcomeRefused, "the meter's purchase count did not move: nothing was credited"
	case count != o.Count:
		r.Outcome = OutcomeUnknown
		r.Note = fmt.Sprintf("the meter's purchase count is %d and its balance moved by %d fen", count, moved)
	case moved > o.AmountFen || moved < o.AmountFen-r.mostUsed(prof):
		r.Outcome = OutcomeUnknown
		r.Note = fmt.Sprintf("the count is right, but the balance moved by %d fen instead of %d", moved, o.AmountFen)
	default:
		r.Outcome, r.Note = OutcomeVerified, ""
	}
}

// mostUsed bounds the credit, in fen, that the customer can have used up between the two snapshots: what the total moved,
// at the highest price that the meter can be set to, behind its transformers. With an unmoved register it is zero and the
// amount must fit exactly.
func (r *CreditResult) mostUsed(prof *profile.Profile) int64 {
	if len(r.Before.Registers) == 0 || len(r.After.Registers) == 0 {
		return 0
	}
	units := r.After.Registers[0] - r.Before.Registers[0] // 0.01 kWh
	if units < 0 {
		return math.MaxInt32 // rolled over in between: the balance can't be bounded by it
	}
	return (units*max(r.After.Ratio, 1)*prof.MaxPriceFen + 99) / 100
}
