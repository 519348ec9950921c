package activities

import (
	"context"
	"maps"
	"math/big"
	"slices"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// A meter that deducts by itself charges by its old prices until the new ones are written into it, and by the new ones from then on,
// whatever the bill says: new prices hold from the first midnight on. What it has deducted too little or too much in between is no
// drift: it is known to the fen, and is put on top of what the meter should show.
//
// priceLag is that amount; unknown while a write is in doubt, or without a good reading of the first midnight.
type priceLag struct {
	fen     billing.Money
	unknown bool
}

// priceLags gives the lag of each meter that new prices were written to, as of its reading. The readings share one freeze instant.
func priceLags(ctx context.Context, s *store.Store, readings map[billing.MeterID]store.Reading) (map[billing.MeterID]priceLag, error) {
	lags := map[billing.MeterID]priceLag{}
	ids := slices.Sorted(maps.Keys(readings))
	if len(ids) == 0 {
		return lags, nil
	}
	writes, err := s.PriceWritesOf(ctx, ids, readings[ids[0]].FreezeAt)
	if err != nil || len(writes) == 0 {
		return lags, err
	}
	var starts []store.MeterAt
	for id, ps := range writes {
		for _, p := range ps {
			starts = append(starts, store.MeterAt{Meter: id, At: p.DueAt.UTC()})
		}
	}
	opening, err := s.GoodReadings(ctx, starts)
	if err != nil {
		return lags, err
	}
	meters, err := s.Meters(ctx, slices.Collect(maps.Keys(writes)))
	for _, m := range meters {
		var sum priceLag
		for i, p := range writes[m.ID] {
			until := readings[m.ID].Registers
			if p.Registers == nil || p.Lost() {
				p.Registers = nil
				until = nextHeld(writes[m.ID][i+1:], opening, until)
			}
			lag := lagOf(p, opening[store.MeterAt{Meter: m.ID, At: p.DueAt.UTC()}].Registers, until, m)
			sum.fen, sum.unknown = sum.fen+lag.fen, sum.unknown || lag.unknown
		}
		lags[m.ID] = sum
	}
	return lags, err
}

// nextHeld are the registers up to which prices that never reached the meter were owed: those at which it got the ones of a later push, whose own
// lag counts from the prices that were owed; now when there is none.
func nextHeld(later []store.TariffPush, opening map[store.MeterAt]store.Reading, now billing.Registers) billing.Registers {
	for _, p := range later {
		switch {
		case !p.Held():
		case p.Registers != nil:
			return p.Registers
		default: // held since their first day, as it counts for lagOf
			return opening[store.MeterAt{Meter: p.Meter, At: p.DueAt.UTC()}].Registers
		}
	}
	return now
}

// lagOf is what a meter has deducted less than the bill charges because of one push: the use from the first midnight to the write, at
// the difference of the prices. Written before that midnight's reading was taken, it is negative the other way round.
func lagOf(p store.TariffPush, start, now billing.Registers, m store.Meter) priceLag {
	until := now
	switch {
	case p.Registers != nil && p.Held():
		until = p.Registers
	case p.Registers != nil:
		return priceLag{unknown: true} // it may have arrived
	case p.State == billing.PushVerified:
		return priceLag{} // the meter held these prices before anybody wrote them
	}
	if len(start) != len(until) || !start.HasBands() {
		return priceLag{unknown: true}
	}
	sum := new(big.Int)
	wrap := billing.Wrap(m.Digits)
	for i, r := range billing.Bands {
		use := ((until[r]-start[r])%wrap + wrap) % wrap
		if use > wrap/2 {
			use -= wrap // the write came before the reading
		}
		sum.Add(sum, new(big.Int).Mul(big.NewInt(use*int64(m.Ratio)), big.NewInt(p.Prices[i]-p.OldPrices[i])))
	}
	// 0.01 kWh × 10^-8 yuan = 10^-8 fen, rounded half away from zero.
	half := big.NewInt(50_000_000)
	if sum.Sign() < 0 {
		half.Neg(half)
	}
	return priceLag{fen: billing.Money(sum.Add(sum, half).Quo(sum, big.NewInt(100_000_000)).Int64())}
}
