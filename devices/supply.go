package devices

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meterflow/meterflow/devices/profile"
)

// switching is one kind of switching command: how it is named in maps, how urgent it is, and when it stands.
type switching struct {
	name    string
	urgency priority
	stands  func(Snapshot) bool
}

var (
	trip = switching{profile.Trip, priorityCut, func(s Snapshot) bool { return s.Supply == SupplyOff && !s.ForcedOn }}
	// forcedTrip also wants the forced control to hold the relay open: a meter that tripped by itself would close again.
	forcedTrip = switching{profile.Trip, priorityCut, func(s Snapshot) bool { return s.Supply == SupplyOff && s.ForcedOff }}
	closing    = switching{profile.Close, priorityRestore, func(s Snapshot) bool { return s.Supply == SupplyOn && !s.ForcedOff }}
	// allowing also stands when the customer has closed already.
	allowing = switching{profile.AllowClosing, priorityRestore, func(s Snapshot) bool {
		return s.Supply == SupplyAllowed || s.Supply == SupplyOn && !s.ForcedOff
	}}
	keepClosed = switching{profile.KeepClosed, priorityRestore, func(s Snapshot) bool { return s.Supply == SupplyOn && s.ForcedOn }}
	release    = switching{profile.Release, priorityRestore, func(s Snapshot) bool { return !s.ForcedOn && !s.ForcedOff }}
)

// Order names a command.
type Order string

// The commands that callers name: Look finds out about those that switch, CanDo tells of any.
const (
	OrderTrip       Order = profile.Trip
	OrderClose      Order = profile.Close
	OrderAllow      Order = profile.AllowClosing
	OrderKeepClosed Order = profile.KeepClosed
	OrderRelease    Order = profile.Release
	OrderSetClock   Order = profile.SetClock
	OrderSetPrices  Order = "prices"
)

// CanDo refuses an order that a meter of this profile can't be given: ErrUnverifiedProfile when its map was never tried on a device and
// allowed refuses commands with this version of it, ErrUnsupported when it has no such command. Nothing is sent.
func CanDo(profileName string, order Order, allowed func(mapVersion int) error) error {
	prof, err := profile.Get(profileName)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadOrder, err)
	}
	if err := trusted(prof, allowed); err != nil {
		return err
	}
	if _, ok := prof.Command(string(order)); !ok && (order != OrderSetPrices || prof.Prices == nil) {
		return fmt.Errorf("%w: profile %s has no command %s", ErrUnsupported, prof.Name, order)
	}
	return nil
}

// Trip cuts the supply: relay forced open, or valve closed. It stays so until Close, KeepClosed or Release. A meter that is
// kept closed is not tripped (ErrKeptClosed).
// For all five commands: an error means that nothing was sent; after sending, the result's Outcome speaks. A switch that
// already stands as commanded is not sent and comes back verified with Sent false.
func (p *Pool) Trip(ctx context.Context, m Meter) (SwitchResult, error) {
	prof, err := profile.Get(m.Profile)
	if err == nil && prof.Supply.ForcedMode&^prof.Supply.ForcedClosed != 0 {
		return p.change(ctx, m, forcedTrip, nil)
	}
	return p.change(ctx, m, trip, nil)
}

// Close gives supply back: it ends a forced trip, or opens the valve. A meter that holds itself open for lack of its own
// credit stays open, which comes back as HeldOpen. A forced close (keep-power) is left as it is.
func (p *Pool) Close(ctx context.Context, m Meter) (SwitchResult, error) {
	return p.change(ctx, m, closing, nil)
}

// AllowClosing lets the customer close the relay by the meter's button (合闸允许). Verified is what the meter shows: that closing is allowed, or that it is closed
// already. A meter that holds itself open for lack of its own credit, or that is kept closed, is left as it is.
func (p *Pool) AllowClosing(ctx context.Context, m Meter) (SwitchResult, error) {
	return p.change(ctx, m, allowing, nil)
}

// AllowsClosing reports whether meters of a profile can be told to let their customers close the relay.
func AllowsClosing(profileName string) bool {
	prof, err := profile.Get(profileName)
	if err != nil {
		return false
	}
	_, ok := prof.Command(profile.AllowClosing)
	return ok
}

// KeepClosed forces the relay closed whatever the balance (保电).
func (p *Pool) KeepClosed(ctx context.Context, m Meter) (SwitchResult, error) {
	return p.change(ctx, m, keepClosed, nil)
}

// Release ends forced control; the meter's own control decides from then on. It may trip at once when its credit is used up.
func (p *Pool) Release(ctx context.Context, m Meter) (SwitchResult, error) {
	return p.change(ctx, m, release, nil)
}

// ReleaseIf is Release for a meter that must not trip by it: may is asked with what the meter shows right before the order leaves, and its
// error keeps the order back.
func (p *Pool) ReleaseIf(ctx context.Context, m Meter, may func(before Snapshot) error) (SwitchResult, error) {
	return p.change(ctx, m, release, may)
}

// Look finds out, by reading only, whether a switching command that was sent before stands: verified when the meter shows it, unknown when
// it shows anything else. A trip stands here also when the meter holds itself open: nothing reaches the customer. An error means that
// the meter was not read.
func (p *Pool) Look(ctx context.Context, m Meter, o Order) (SwitchResult, error) {
	w, ok := map[Order]switching{OrderTrip: trip, OrderClose: closing, OrderAllow: allowing, OrderKeepClosed: keepClosed, OrderRelease: release}[o]
	if !ok {
		return SwitchResult{}, about(m, fmt.Errorf("%w: %q is no switching command", ErrBadOrder, o))
	}
	result := SwitchResult{Outcome: OutcomeUnknown}
	err := p.onMeter(ctx, m, priorityRead, func(s *session, prof *profile.Profile) error {
		defer func() { result.Frames = s.frames }()
		s.fresh = true
		var err error
		result.After, err = s.snapshot(m, prof)
		return err
	})
	switch {
	case err != nil:
	case w.stands(result.After):
		result.Outcome = OutcomeVerified
	default:
		result.Note = result.After.supplyText()
	}
	return result, err
}

// supplyText says what a meter shows of its supply.
func (s Snapshot) supplyText() string {
	switch {
	case s.Supply == SupplyFault && s.loaded():
		return fmt.Sprintf("supply reads %s: the meter measures a load of %d W (water: l/h)", s.Supply, s.PowerW)
	case s.ForcedOn:
		return fmt.Sprintf("supply reads %s, and the meter is held on", s.Supply)
	case s.ForcedOff:
		return fmt.Sprintf("supply reads %s, and the meter is held off", s.Supply)
	}
	return "supply reads " + string(s.Supply)
}

func (p *Pool) change(ctx context.Context, m Meter, w switching, may func(before Snapshot) error) (SwitchResult, error) {
	c, err := p.mayCommand(ctx, m, w.name)
	if err != nil {
		return SwitchResult{}, err
	}
	var result SwitchResult
	err = p.onMeter(ctx, m, w.urgency, func(s *session, prof *profile.Profile) error {
		defer func() { result.Frames = s.frames }()
		var err error
		if result.Before, err = s.snapshot(m, prof); err != nil {
			return err
		}
		// By what a gateway remembers, nothing stands: ordered once more, it sets and adds nothing, and is read back.
		if w.stands(result.Before) && s.current(m, prof) {
			result.After, result.Outcome = result.Before, OutcomeVerified
			return nil
		}
		if w.name == profile.Trip && result.Before.ForcedOn {
			return ErrKeptClosed // a protection that is written to the meter is ended, never overridden
		}
		if may != nil {
			if err := may(result.Before); err != nil {
				return err
			}
		}
		if err := s.mayLeave(m, prof); err != nil {
			return err
		}
		sent := s.order(m, prof, w, c, result.Before)
		if result.Sent = s.left; !s.left {
			return sent
		}
		p.point(PointSwitchSent)
		if sent == nil {
			p.point(PointSwitchAcked)
		}
		result.look(s, m, prof, w, sent)
		return nil
	})
	if err == nil && result.Sent && result.Outcome != OutcomeVerified {
		p.wait(ctx, m, w, &result)
	}
	return result, err
}

// look reads the state once after sending.
func (r *SwitchResult) look(s *session, m Meter, prof *profile.Profile, w switching, sent error) {
	r.Outcome, r.Note = OutcomeUnknown, answerText(sent)
	after, err := s.snapshot(m, prof)
	if err != nil {
		r.Note += fmt.Sprintf("; the state could not be read back: %v", err)
		return
	}
	r.After = after
	switch {
	case w.stands(after):
		r.Outcome, r.Note = OutcomeVerified, ""
	case errors.Is(sent, ErrRefused) && after.StatusWord == r.Before.StatusWord:
		r.Outcome = OutcomeRefused
	case w.name == profile.Close && after.InArrears && after.Supply == SupplyOff && !after.ForcedOff:
		r.Outcome, r.Note, r.HeldOpen = OutcomeRefused, holdsItselfOpen, true
	}
}

const holdsItselfOpen = "the meter holds itself open: its own credit is used up"

// wait asks again until the switch stands, the limit passes or the caller gives up. Each look is a job of its own, so that
// a slow valve does not hold the line, and comes when the gateway has forgotten the one before.
func (p *Pool) wait(ctx context.Context, m Meter, w switching, result *SwitchResult) {
	limit := time.Now().Add(p.config.SwitchLimit)
	for result.Outcome == OutcomeUnknown && time.Now().Before(limit) {
		timer := time.NewTimer(max(p.config.SwitchPoll, m.Link.CachesReads))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		err := p.onMeter(ctx, m, w.urgency, func(s *session, prof *profile.Profile) error {
			s.fresh = true
			after, err := s.snapshot(m, prof)
			result.Frames = append(result.Frames, s.frames...)
			if err != nil {
				return err
			}
			result.After = after
			if w.stands(after) {
				result.Outcome, result.Note = OutcomeVerified, ""
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrExpired) {
			result.Note = fmt.Sprintf("the state could not be read back: %v", err)
		}
	}
	if result.Outcome == OutcomeUnknown {
		result.Note = fmt.Sprintf("%s; %s", result.After.supplyText(), result.Note)
	}
}
