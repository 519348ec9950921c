package activities

import (
	"context"
	"errors"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// volumePrice is what a cubic metre costs by the account's tariff today, in yuan×10^8: money becomes a volume only at one price, so that
// steps, seasons and charges by the month are refused.
func volumePrice(ctx context.Context, s *store.Store, account billing.AccountID) (int64, error) {
	acc, err := s.Account(ctx, account)
	if err != nil {
		return 0, err
	}
	site, err := s.Site(ctx, acc.Site)
	if err != nil {
		return 0, err
	}
	clock, err := s.Clock(ctx)
	if err != nil {
		return 0, err
	}
	tariff, err := s.Tariff(ctx, acc.Tariff)
	if err != nil {
		return 0, err
	}
	version, _, err := tariff.VersionAt(billing.DateOf(clock.Now, site.Zone))
	if err != nil {
		return 0, err
	}
	price, err := flatPrice(version)
	if err != nil {
		return 0, billing.Errorf(billing.CodeBlocked, "The meter of account %s holds a volume, and the tariff %s can't be turned into one: %w. Give the account a tariff with one flat price.", account, tariff.ID, err)
	}
	return price, nil
}

// flatPrice is what a cubic metre costs by a version of a tariff that has one price, in yuan×10^8.
func flatPrice(v billing.TariffVersion) (int64, error) {
	prices, err := meterPrices(v)
	if err == nil && (v.Has(billing.KindBands) || prices[0] <= 0) {
		err = billing.Errorf(billing.CodeBlocked, "it has no single price per cubic metre")
	}
	return prices[0], err
}

// sellable refuses, before money is taken, what a meter that holds a volume couldn't be credited with.
func sellable(ctx context.Context, s *store.Store, account billing.AccountID, amount billing.Money) error {
	m, err := s.FittedMeter(ctx, account)
	if err != nil || !devices.HoldsVolume(m.Profile) {
		return err
	}
	price, err := volumePrice(ctx, s, account)
	if err != nil {
		return err
	}
	due, err := s.VolumeDue(ctx, account, amount, price)
	if err != nil {
		return err
	}
	if amount > 0 && due.Litres() < devices.LeastVolume {
		return billing.Errorf(billing.CodeInvalidInput, "%s yuan buys %d litres, and a meter takes %d at least: take more.", amount.Grouped(), due.Bought, devices.LeastVolume)
	}
	if due.Litres() > devices.MostVolume {
		return billing.Errorf(billing.CodeInvalidInput, "%s yuan buys %d litres, and a meter holds %d at most: take less.", amount.Grouped(), due.Bought, devices.MostVolume)
	}
	return nil
}

// errSentAlready stops a write whose command another attempt has marked: that one may have sent it.
var errSentAlready = errors.New("another attempt is past the mark")

// sendVolume writes the water of an order that has never been sent. later means that the meter couldn't be reached: nothing was marked.
func (a *Delivery) sendVolume(ctx context.Context, t store.CreditTask, m devices.Meter) (out store.CreditOutcome, later bool, err error) {
	var due store.VolumeDue
	var price int64
	if x := t.Exchange; x.ID != "" {
		due.Carried = *x.Litres // bought long ago: litres go on as litres, whatever they cost
	} else {
		if price, err = volumePrice(ctx, a.Store, t.Command.Account); err != nil {
			return store.CreditOutcome{State: billing.CommandRefused, Note: "not sent: " + billing.MessageOf(err), Stop: true}, false, nil
		}
		if due, err = a.Store.VolumeDue(ctx, t.Command.Account, *t.Command.Amount, price); err != nil {
			return out, false, err
		}
	}
	o, err := a.volumeOrder(ctx, t.Command.Meter, due.Litres())
	if err != nil {
		return out, false, err
	}
	last, err := a.Store.LastVolume(ctx, t.Command.Meter)
	if err != nil {
		return out, false, err
	}
	o.Last = (*devices.Volume)(last)
	cmd := t.Command
	var unsaved error
	result, err := a.Pool.DeliverVolume(acknowledged(ctx, a.Store, cmd.ID), m, o, func(before devices.Volume, _ int64) error {
		var fresh bool
		cmd, fresh, unsaved = a.Store.MarkVolumeSending(ctx, byWorkflow(ctx), cmd.ID, store.VolumeBefore{Volume: store.Volume(before), VolumeDue: due, PriceE8: price})
		if unsaved != nil {
			return unsaved
		}
		if !fresh {
			return errSentAlready
		}
		failpoint.Hit("credit-stored-not-sent")
		return nil
	})
	switch {
	case billing.CodeOf(unsaved) == billing.CodeStale:
		return overdue(), false, nil
	case unsaved != nil:
		return out, false, unsaved
	case errors.Is(err, errSentAlready):
		out, _, err = a.verify(ctx, cmd, m)
		return out, false, err
	case result.Sent:
		failpoint.Hit("credit-sent-not-recorded")
		return volumeOutcome(result), false, nil
	case lineMoved(err) && result.Before.RemainingLitres == nil:
		return out, false, movedFrom(m, err)
	case err != nil && result.Before.RemainingLitres == nil && !hopeless(err):
		activity.GetLogger(ctx).Info("water not sent, the meter was not read", "cause", t.Command.Cause, "error", err)
		return out, true, nil
	}
	// Nothing was sent. What the meter showed is kept, so that a person's decision begins from it.
	refused := volumeOutcome(devices.VolumeResult{After: result.Before, Frames: result.Frames})
	refused.State, refused.Note, refused.Stop, refused.Unsent = billing.CommandRefused, "not sent: "+err.Error(), hopeless(err), true
	return refused, false, nil
}

// hopeless says that sending again by itself can't help: a person has to look.
func hopeless(err error) bool {
	for _, p := range []error{devices.ErrVolumeMoved, devices.ErrCountMismatch, devices.ErrUnverifiedProfile, devices.ErrBadOrder, devices.ErrUnsupported} {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}

// volumeOrder bounds what may be lost between read and write by what the meter can pass in a minute.
func (a *Delivery) volumeOrder(ctx context.Context, meter billing.MeterID, litres int64) (devices.VolumeOrder, error) {
	m, err := a.Store.Meter(ctx, meter)
	return devices.VolumeOrder{Litres: litres, MostLost: m.CapacityPerHour/60 + 1}, err
}

// verifyVolume only reads, as verify does.
func (a *Delivery) verifyVolume(ctx context.Context, c store.Command, m devices.Meter) (out store.CreditOutcome, read bool, err error) {
	o, err := a.volumeOrder(ctx, c.Meter, *c.VolumeLitres)
	var result devices.VolumeResult
	if err == nil {
		result, err = a.Pool.VerifyVolume(ctx, m, o, volumeBefore(c))
	}
	if err != nil {
		return unread(m, err)
	}
	return volumeOutcome(result), true, nil
}

func volumeOutcome(r devices.VolumeResult) store.CreditOutcome {
	out := store.CreditOutcome{State: commandState(r.Outcome), Note: r.Note, Frames: frames(r.Frames)}
	if r.After.RemainingLitres != nil && len(r.After.Registers) > 0 {
		out.Volume, out.ReadReal = &store.Volume{Remaining: *r.After.RemainingLitres, Total: r.After.Registers[0]}, &r.After.TakenAt
	}
	return out
}
