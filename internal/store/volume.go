package store

import (
	"context"
	"math/big"

	"github.com/meterflow/meterflow/internal/billing"
)

// Volume is a look at a water meter that holds a bought volume, in litres.
type Volume struct {
	Remaining int64
	Total     int64
}

// LitresFor is how many whole litres a purchase buys, so that all purchases of the same price together are worth the money paid to less
// than one litre: what a purchase leaves over is in the next one. paid and bought are the earlier purchases at the price; priceE8 is in
// yuan×10^8 per m³.
func LitresFor(paid billing.Money, bought int64, amount billing.Money, priceE8 int64) int64 {
	// fen × 10^6 = yuan×10^8, and a litre is a thousandth: fen × 10^9 / priceE8.
	all := new(big.Int).Mul(big.NewInt(int64(paid+amount)), big.NewInt(1_000_000_000))
	all.Quo(all, big.NewInt(priceE8))
	return all.Int64() - bought
}

// LastVolume is what our last settled order left in a meter, as it was seen; nil when there was none.
func (s *Store) LastVolume(ctx context.Context, meter billing.MeterID) (*Volume, error) {
	var v Volume
	err := s.Pool.QueryRow(ctx, `SELECT volume_after, volume_total_after FROM commands WHERE meter_id = $1 AND kind = 'credit' AND volume_after IS NOT NULL
		AND state IN ('verified', 'refused') ORDER BY settled_at DESC, length(id) DESC, id DESC LIMIT 1`, meter).Scan(&v.Remaining, &v.Total)
	if billing.CodeOf(translate(err)) == billing.CodeNotFound {
		return nil, nil //nolint:nilnil // "nothing was delivered yet" is an answer
	}
	return &v, translate(err)
}

// VolumeDue is how many litres an order buys at a price, given what the meter was credited with at that price before.
func (s *Store) VolumeDue(ctx context.Context, meter billing.MeterID, amount billing.Money, priceE8 int64) (int64, error) {
	var paid billing.Money
	var bought int64
	err := s.Pool.QueryRow(ctx, `SELECT coalesce(sum(amount_fen), 0)::bigint, coalesce(sum(volume_litres), 0)::bigint FROM commands
		WHERE meter_id = $1 AND kind = 'credit' AND state = 'verified' AND volume_price_e8 = $2`, meter, priceE8).Scan(&paid, &bought)
	return LitresFor(paid, bought, amount, priceE8), translate(err)
}

// VolumeBefore is what the meter showed before the write, and what is to be written.
type VolumeBefore struct {
	Volume
	Litres  int64
	PriceE8 int64
}

// MarkVolumeSending stores volume and target before anything is sent: from here on only reading tells what happened. A command that is
// past it comes back as it is, with fresh false: it must not be sent.
func (s *Store) MarkVolumeSending(ctx context.Context, by By, id billing.CommandID, b VolumeBefore) (c Command, fresh bool, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		if c, err = lockCommand(ctx, tx, id); err != nil {
			return err
		}
		if c.State != billing.CommandRequested {
			return nil
		}
		fresh = true
		target := b.Remaining + b.Litres
		c.VolumeLitres, c.VolumePriceE8, c.VolumeBefore, c.VolumeTarget, c.RegistersBefore = &b.Litres, &b.PriceE8, &b.Remaining, &target, []int64{b.Total}
		c.State, c.SentAt, c.Attempts = billing.CommandSending, &tx.Now, c.Attempts+1
		return saveCommand(ctx, tx, billing.CommandRequested, c, "sending")
	})
	return c, fresh, err
}
