package store

import (
	"context"
	"math/big"
	"time"

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

// VolumeDue is what an order brings a meter that holds a volume, in litres.
type VolumeDue struct {
	Bought  int64 // by the order's amount
	Carried int64 // bought before, and held by a meter that was exchanged
}

// Litres is both together: by so much the meter's volume is raised.
func (d VolumeDue) Litres() int64 { return d.Bought + d.Carried }

// litresWaiting are the litres of an account's exchanged meters that no delivery has taken along yet; $1 is the account.
const litresWaiting = `((SELECT coalesce(sum(remaining_litres), 0) FROM exchanges WHERE account_id = $1 AND credit = 'with_next')
			- (SELECT coalesce(sum(volume_carried), 0) FROM commands WHERE account_id = $1 AND kind = 'credit' AND amount_fen IS NOT NULL
				AND state IN ('sending', 'acknowledged', 'unknown', 'verified')))::bigint`

// LitresWaiting is what an account's exchanged meters still held, too little to be delivered alone, that goes with its next recharge; 0 when
// there is nothing, or when it is on its way.
func (s *Store) LitresWaiting(ctx context.Context, account billing.AccountID) (litres int64, err error) {
	err = s.Pool.QueryRow(ctx, `SELECT `+litresWaiting, account).Scan(&litres)
	return litres, translate(err)
}

// VolumeDue is what a recharge of an account brings its meter at a price: what the money buys, given what the account bought at that price
// before, on whatever meter, and the few litres of exchanged meters that wait for a recharge to go with.
func (s *Store) VolumeDue(ctx context.Context, account billing.AccountID, amount billing.Money, priceE8 int64) (VolumeDue, error) {
	var paid billing.Money
	var bought int64
	var d VolumeDue
	err := s.Pool.QueryRow(ctx, `SELECT coalesce(sum(amount_fen), 0)::bigint, coalesce(sum(volume_litres - volume_carried), 0)::bigint,
			`+litresWaiting+`
		FROM commands WHERE account_id = $1 AND kind = 'credit' AND state = 'verified' AND volume_price_e8 = $2`, account, priceE8).Scan(&paid, &bought, &d.Carried)
	d.Bought = LitresFor(paid, bought, amount, priceE8)
	return d, translate(err)
}

// VolumeSeen is what a meter that holds a volume showed last, litres.
type VolumeSeen struct {
	At     *time.Time // when it was seen last; nil when it never was
	Litres *int64     // left then
	// Total is what it had counted then, out of the same frame; nil when the reading was carried back to midnight.
	Total *int64
	// Since is what may have been delivered after that without having been seen. Balance is the shadow ledger's.
	Since   int64
	Balance billing.Money
}

// VolumeSeen reads what a meter that holds a volume showed last.
func (s *Store) VolumeSeen(ctx context.Context, meter billing.MeterID) (VolumeSeen, error) {
	var v VolumeSeen
	err := s.Pool.QueryRow(ctx, `WITH seen AS (
			SELECT * FROM (
				(SELECT taken_at AS at, remaining_litres AS litres, CASE WHEN NOT interpolated THEN registers[1] END AS total FROM readings
					WHERE meter_id = $1 AND quality = 'actual' AND remaining_litres IS NOT NULL ORDER BY freeze_at DESC, version DESC LIMIT 1)
				UNION ALL (SELECT settled_at, volume_after, volume_total_after FROM commands WHERE meter_id = $1 AND kind = 'credit' AND state = 'verified' AND volume_after IS NOT NULL
					ORDER BY settled_at DESC LIMIT 1)) looks ORDER BY at DESC LIMIT 1)
		SELECT (SELECT at FROM seen), (SELECT litres FROM seen), (SELECT total FROM seen),
			coalesce((SELECT sum(volume_litres) FROM commands c WHERE meter_id = $1 AND kind = 'credit' AND (state IN ('sending', 'acknowledged', 'unknown')
				OR state = 'verified' AND (settled_at > (SELECT at FROM seen) OR volume_after IS NULL AND NOT EXISTS (SELECT 1 FROM seen)))), 0)::bigint,
			coalesce((SELECT b.balance_fen FROM fittings f JOIN accounts a ON a.service_point_id = f.service_point_id JOIN balances b ON b.account_id = a.id
				WHERE f.meter_id = $1 AND f.to_at IS NULL), 0)`, meter).Scan(&v.At, &v.Litres, &v.Total, &v.Since, &v.Balance)
	return v, translate(err)
}

// VolumeBefore is what the meter showed before the write, and what is to be written.
type VolumeBefore struct {
	Volume
	VolumeDue
	PriceE8 int64 // 0 when nothing is bought
}

// MarkVolumeSending stores volume and target before anything is sent: from here on only reading tells what happened. A command that is
// past it comes back as it is, with fresh false: it must not be sent. billing.CodeStale comes past its deadline.
func (s *Store) MarkVolumeSending(ctx context.Context, by By, id billing.CommandID, b VolumeBefore) (c Command, fresh bool, err error) {
	err = s.Change(ctx, by, func(tx *Tx) error {
		if c, err = lockCommand(ctx, tx, id); err != nil {
			return err
		}
		if c.State != billing.CommandRequested {
			return nil
		}
		if c.late(tx.Now) {
			return tooLate(c)
		}
		fresh = true
		litres := b.Litres()
		target := b.Remaining + litres
		c.VolumeLitres, c.VolumeCarried, c.VolumeBefore, c.VolumeTarget, c.RegistersBefore = &litres, b.Carried, &b.Remaining, &target, []int64{b.Total}
		if b.PriceE8 != 0 {
			c.VolumePriceE8 = &b.PriceE8
		}
		c.State, c.SentAt, c.Attempts = billing.CommandSending, &tx.Now, c.Attempts+1
		return saveCommand(ctx, tx, billing.CommandRequested, c, "sending")
	})
	return c, fresh, err
}
