package activities

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// batchJudge says of a meter whether a batch may work on it, in the preview and again under lock right before its order.
type batchJudge struct {
	kind   billing.BatchKind
	action billing.BatchAction
	site   store.Site
	policy Policy
	offers map[billing.TariffID]tariffOffer
}

// tariffOffer is what a tariff means for a meter today.
type tariffOffer struct {
	from   billing.Date
	bands  bool // it prices bands: then a wrong clock costs money
	prices devices.Prices
	skip   billing.SkipReason // why no meter can be given its prices
	breach *store.CeilingBreach
}

// priceDecision is kept with the command that sets prices: what is written, and where it comes from.
type priceDecision struct {
	Tariff billing.TariffID `json:"tariff"`
	From   billing.Date     `json:"from"`   // first day of the published version
	Prices devices.Prices   `json:"prices"` // sharp, peak, flat, valley, deep valley; yuan × 10^8
}

func (a *Batches) judgeOf(ctx context.Context, id billing.SiteID, kind billing.BatchKind, action billing.BatchAction, tariffs map[billing.TariffID]bool) (batchJudge, error) {
	j := batchJudge{kind: kind, action: action, offers: map[billing.TariffID]tariffOffer{}}
	site, policy, err := sitePolicy(ctx, a.Store, id)
	if err != nil {
		return j, err
	}
	j.site, j.policy = site, policy
	if action != billing.BatchSetPrices && action != billing.BatchSetClock {
		return j, nil
	}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return j, err
	}
	for t := range tariffs {
		if t == "" {
			continue
		}
		if j.offers[t], err = a.offer(ctx, id, t, billing.DateOf(clock.Now, site.Zone)); err != nil {
			return j, err
		}
	}
	return j, nil
}

// offer is what a tariff offers on a day.
func (a *Batches) offer(ctx context.Context, site billing.SiteID, id billing.TariffID, day billing.Date) (tariffOffer, error) {
	var o tariffOffer
	t, err := a.Store.Tariff(ctx, id)
	if err != nil {
		return o, err
	}
	v, _, err := t.VersionAt(day)
	if err != nil {
		return tariffOffer{skip: billing.SkipPrices}, nil
	}
	o.from, o.bands = v.From, slices.ContainsFunc(v.Components, func(c billing.Component) bool { return c.Kind == billing.KindBands })
	if o.prices, err = meterPrices(v); err != nil {
		o.skip = billing.SkipPrices
		return o, nil
	}
	if o.breach, err = a.Store.CeilingBreachOn(ctx, site, t.Service, v, day); o.breach != nil {
		o.skip = billing.SkipCeiling
	}
	return o, err
}

// judge answers for one meter.
func (j batchJudge) judge(f store.BatchFacts) (store.BatchVerdict, error) {
	skip := j.common(f)
	if skip == "" {
		switch j.action {
		case billing.BatchSetPrices:
			return j.prices(f)
		case billing.BatchSetClock:
			skip = j.clock(f)
		case billing.BatchRestore:
			skip = restorable(f)
		case billing.BatchKeepOn:
			skip = keepable(f)
		case billing.BatchRelease:
			skip = releasable(f)
		}
	}
	return store.BatchVerdict{Skip: skip}, nil
}

// batchOrders are what the actions ask of a register map.
var batchOrders = map[billing.BatchAction]devices.Order{
	billing.BatchSetPrices: devices.OrderSetPrices, billing.BatchSetClock: devices.OrderSetClock, billing.BatchRestore: devices.OrderClose,
	billing.BatchKeepOn: devices.OrderKeepClosed, billing.BatchRelease: devices.OrderRelease,
}

// common is what holds for every action. A restore is also ordered from a silent meter: its own workflow doesn't rest until supply is back.
func (j batchJudge) common(f store.BatchFacts) billing.SkipReason {
	err := devices.CanDo(f.Profile, batchOrders[j.action], f.CommandsAllowed)
	switch {
	case f.Account == nil:
		return billing.SkipNoAccount
	case f.Service != serviceOf(j.kind):
		return billing.SkipService
	case errors.Is(err, devices.ErrUnverifiedProfile):
		return billing.SkipUnverified
	case err != nil:
		return billing.SkipNoCommand
	case f.Silent && j.action != billing.BatchRestore:
		return billing.SkipSilent
	}
	return ""
}

func (j batchJudge) prices(f store.BatchFacts) (store.BatchVerdict, error) {
	o, known := j.offers[f.Tariff]
	switch {
	case f.CreditMode != billing.CreditMeter:
		return store.BatchVerdict{Skip: billing.SkipNoOwnCredit}, nil
	case !known:
		return store.BatchVerdict{Skip: billing.SkipMoved}, nil
	case o.skip != "":
		return store.BatchVerdict{Skip: o.skip}, nil
	case devices.CanHold(f.Profile, o.prices) != nil:
		return store.BatchVerdict{Skip: billing.SkipPrices}, nil
	case f.PricePush:
		return store.BatchVerdict{Skip: billing.SkipPricePush}, nil
	case f.SetOpen:
		return store.BatchVerdict{Skip: billing.SkipBusy}, nil
	}
	decision, err := json.Marshal(priceDecision{Tariff: f.Tariff, From: o.from, Prices: o.prices})
	return store.BatchVerdict{Decision: decision}, err
}

func (j batchJudge) clock(f store.BatchFacts) billing.SkipReason {
	o, known := j.offers[f.Tariff]
	switch {
	case !known:
		return billing.SkipMoved
	case !o.bands:
		return billing.SkipBandsUnpriced
	case f.SetToday:
		return billing.SkipSetToday
	case f.SkewS == nil:
		return billing.SkipNoClock
	case max(*f.SkewS, -*f.SkewS) <= j.policy.Clock.SetOverSeconds:
		return billing.SkipStands
	case max(*f.SkewS, -*f.SkewS) > j.policy.Clock.SetMostSeconds:
		return billing.SkipClockTooFar
	case f.SetOpen:
		return billing.SkipBusy
	}
	return ""
}

// restorable leaves alone whoever has supply by the tables and by the last reading: a meter may have been switched by others.
func restorable(f store.BatchFacts) billing.SkipReason {
	if f.Supply == billing.SupplyOn && f.Wanted == billing.SupplyOn && supplyOf(f.LastRead) != billing.SupplyOff {
		return billing.SkipStands
	}
	return "" // a cut that is out is waited for by the restore itself
}

func keepable(f store.BatchFacts) billing.SkipReason {
	switch {
	case f.HeldBy != "" && !f.Guarded: // ordered at the meter that took the held one's place, and not proved there
		return billing.SkipBusy
	case f.HeldBy != "":
		return billing.SkipStands
	case f.Supply != billing.SupplyOn || f.Wanted != billing.SupplyOn:
		return billing.SkipSupplyOff
	case f.SwitchOpen:
		return billing.SkipBusy
	}
	return ""
}

// releasable leaves alone every meter that a release could let trip by itself: that would be a cut without notice. The meter's own credit is looked at right
// before the order leaves.
func releasable(f store.BatchFacts) billing.SkipReason {
	switch {
	case f.HeldBy != "" && !f.Guarded: // there is a hold, on its way
		return billing.SkipBusy
	case !f.Guarded:
		return billing.SkipStands
	case f.Protected:
		return billing.SkipProtected
	case f.Arrears:
		return billing.SkipArrears
	case f.BalanceFen <= f.CutLimit:
		return billing.SkipWouldTrip
	case f.SwitchOpen:
		return billing.SkipBusy
	}
	return ""
}
