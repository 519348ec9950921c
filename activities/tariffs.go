package activities

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Tariffs brings changes of prices from a draft into force, and into the meters that hold prices.
type Tariffs struct {
	Store *store.Store
	Pool  *devices.Pool
}

// TariffRef names a change of prices.
type TariffRef struct {
	Change billing.TariffChangeID
}

// TariffFacts are what the workflow of a change must know.
type TariffFacts struct {
	Change    billing.TariffChangeID // empty while nothing is drafted
	State     billing.TariffState
	Revision  int
	Editors   []billing.UserID
	Approved1 billing.UserID
	From      billing.Date
}

func tariffFacts(c store.TariffChange) TariffFacts {
	return TariffFacts{Change: c.ID, State: c.State, Revision: c.Revision, Editors: c.Editors, Approved1: c.Approved1By, From: c.From}
}

// LoadTariff reads where a change stands; one that nobody has drafted yet has no number.
func (a *Tariffs) LoadTariff(ctx context.Context, in TariffRef) (TariffFacts, error) {
	c, err := a.Store.TariffChange(ctx, in.Change)
	if billing.CodeOf(err) == billing.CodeNotFound {
		return TariffFacts{}, nil
	}
	return tariffFacts(c), err
}

// EditTariff is what a person writes into a change.
type EditTariff struct {
	Change   billing.TariffChangeID
	By       billing.UserID
	File     billing.Tariff // published versions, if any, and exactly one new one
	Why      string
	Revision int // that the person saw; 0 begins the change
}

// EditTariff begins a change or writes a new revision of it.
func (a *Tariffs) EditTariff(ctx context.Context, in EditTariff) (TariffFacts, error) {
	if err := authorize(ctx, a.Store, in.By, auth.EditTariff, ""); err != nil {
		return TariffFacts{}, err
	}
	c, err := a.Store.SaveTariffEdit(ctx, byPerson(ctx, in.By, in.Why), store.TariffEdit{ID: in.Change, By: in.By, Why: in.Why, File: in.File, Revision: in.Revision})
	return tariffFacts(c), err
}

// TariffDecision is a person's decision on one revision of a change.
type TariffDecision struct {
	Change   billing.TariffChangeID
	By       billing.UserID
	Revision int
	Number   int // of an approval
	Reason   string
}

func (d TariffDecision) stored() store.TariffDecision {
	return store.TariffDecision{ID: d.Change, By: d.By, Revision: d.Revision, Number: d.Number, Reason: strings.TrimSpace(d.Reason)}
}

// SubmitTariff puts a draft before those who approve.
func (a *Tariffs) SubmitTariff(ctx context.Context, in TariffDecision) (TariffFacts, error) {
	if err := authorize(ctx, a.Store, in.By, auth.EditTariff, ""); err != nil {
		return TariffFacts{}, err
	}
	if err := a.holdable(ctx, in.Change); err != nil {
		return TariffFacts{}, err
	}
	c, err := a.Store.SubmitTariff(ctx, byPerson(ctx, in.By, in.Reason), in.stored())
	return tariffFacts(c), err
}

// ApproveTariff gives one of the two approvals; the second publishes.
func (a *Tariffs) ApproveTariff(ctx context.Context, in TariffDecision) (TariffFacts, error) {
	if err := a.mayDecide(ctx, in); err != nil {
		return TariffFacts{}, err
	}
	if err := a.holdable(ctx, in.Change); err != nil {
		return TariffFacts{}, err
	}
	c, err := a.Store.ApproveTariff(ctx, byPerson(ctx, in.By, in.Reason), in.stored())
	return tariffFacts(c), err
}

// RejectTariff sends a change back to its maker.
func (a *Tariffs) RejectTariff(ctx context.Context, in TariffDecision) (TariffFacts, error) {
	if err := a.mayDecide(ctx, in); err != nil {
		return TariffFacts{}, err
	}
	c, err := a.Store.RejectTariff(ctx, byPerson(ctx, in.By, in.Reason), in.stored())
	return tariffFacts(c), err
}

// WithdrawTariff ends a change that isn't published.
func (a *Tariffs) WithdrawTariff(ctx context.Context, in TariffDecision) (TariffFacts, error) {
	if err := authorize(ctx, a.Store, in.By, auth.EditTariff, ""); err != nil {
		return TariffFacts{}, err
	}
	c, err := a.Store.WithdrawTariff(ctx, byPerson(ctx, in.By, in.Reason), in.stored())
	return tariffFacts(c), err
}

// mayDecide checks the person's role, at every site whose customers pay by the tariff.
func (a *Tariffs) mayDecide(ctx context.Context, in TariffDecision) error {
	c, err := a.Store.TariffChange(ctx, in.Change)
	if err != nil {
		return err
	}
	use, err := a.Store.TariffUse(ctx, c.Tariff)
	if err != nil {
		return err
	}
	for _, site := range slices.Sorted(maps.Keys(use)) {
		if err := authorize(ctx, a.Store, in.By, auth.ApproveTariff, site); err != nil {
			return err
		}
	}
	return authorize(ctx, a.Store, in.By, auth.ApproveTariff, "")
}

// holdable refuses prices that a meter which deducts by itself can't hold: it would go on charging by others.
func (a *Tariffs) holdable(ctx context.Context, id billing.TariffChangeID) error {
	c, err := a.Store.TariffChange(ctx, id)
	if err != nil {
		return err
	}
	starts, err := a.Store.TariffStarts(ctx, id)
	if err != nil {
		return err
	}
	targets, err := a.Store.PushTargets(ctx, c.Tariff, sitesOf(starts))
	if err != nil || len(targets) == 0 {
		return err
	}
	prices, err := meterPrices(c.Version)
	if err != nil {
		return billing.Errorf(billing.CodeBlocked, "%d meters hold their own credit on this tariff and can't charge by it: %w. Move their accounts to platform credit first.", len(targets), err)
	}
	checked := map[string]bool{}
	for _, t := range targets {
		if checked[t.Profile] {
			continue
		}
		checked[t.Profile] = true
		if err := devices.CanHold(t.Profile, prices); err != nil {
			return billing.Errorf(billing.CodeBlocked, "meter %s of account %s can't hold these prices (%v): change them or move the account to platform credit first", t.Meter, t.Account, err)
		}
	}
	return nil
}

func sitesOf(starts []store.TariffStart) []billing.SiteID {
	sites := make([]billing.SiteID, len(starts))
	for i, s := range starts {
		sites[i] = s.Site
	}
	return sites
}

// meterPrices are a version's prices per band as a meter charges them. One that charges by anything else than the quantity used in a
// band can't be put into a meter.
func meterPrices(v billing.TariffVersion) (devices.Prices, error) {
	var prices devices.Prices
	for _, c := range v.Components {
		switch {
		case c.Kind == billing.KindTax && c.Inclusive:
			// It is in the prices already.
		case c.Kind != billing.KindFlat && c.Kind != billing.KindBands:
			return prices, billing.Errorf(billing.CodeBlocked, "component %s is of the kind %s, and a meter holds one price per band", c.Key, c.Kind)
		case c.Seasons != nil:
			return prices, billing.Errorf(billing.CodeBlocked, "component %s has seasons, and a meter holds one price per band all year", c.Key)
		}
	}
	for _, u := range v.TopPrices() {
		n, exact := u.Scaled(8)
		if !exact {
			return prices, billing.Errorf(billing.CodeBlocked, "the price of the band %s, %s yuan, has too many decimals", u.Register, u)
		}
		if u.Register == billing.Total {
			return devices.Prices{n, n, n, n, n}, nil
		}
		prices[u.Register-billing.Sharp] = n
	}
	return prices, nil
}

// TariffBegun says how far a published change has begun. Next is the first instant at which it begins at a further site; zero when it
// has begun everywhere. Meters says that meters wait for its prices.
type TariffBegun struct {
	Facts  TariffFacts
	Next   time.Time
	Meters bool
}

// BeginTariff notes that the first day of a published change has come, where it has, and lists the meters there that must get its prices.
func (a *Tariffs) BeginTariff(ctx context.Context, in TariffRef) (TariffBegun, error) {
	var out TariffBegun
	c, err := a.Store.TariffChange(ctx, in.Change)
	if err != nil {
		return out, err
	}
	out.Facts = tariffFacts(c)
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return out, err
	}
	starts, err := a.Store.TariffStarts(ctx, in.Change)
	if err != nil {
		return out, err
	}
	for _, s := range starts {
		if s.At.After(clock.Now) {
			out.Next = s.At
			break
		}
		// The meters first: from the moment on at which the change is in force, its work is on record.
		if err := a.listMeters(ctx, c, s); err != nil {
			return out, err
		}
		if c, err = a.Store.BringTariffInForce(ctx, byWorkflow(ctx), in.Change); err != nil {
			return out, err
		}
		out.Facts = tariffFacts(c)
	}
	counts, err := a.Store.PushCounts(ctx, in.Change)
	for state, n := range counts {
		out.Meters = out.Meters || state.Open() && n > 0
	}
	return out, err
}

// listMeters lists the meters of one site. The prices that they hold so far are those of the version before.
func (a *Tariffs) listMeters(ctx context.Context, c store.TariffChange, at store.TariffStart) error {
	targets, err := a.Store.PushTargets(ctx, c.Tariff, []billing.SiteID{at.Site})
	if err != nil || len(targets) == 0 {
		return err
	}
	prices, err := meterPrices(c.Version)
	if err != nil {
		return err
	}
	tariff, err := a.Store.Tariff(ctx, c.Tariff)
	if err != nil {
		return err
	}
	old := prices
	if before, _, err := tariff.VersionAt(c.From.AddDays(-1)); err == nil {
		if p, err := meterPrices(before); err == nil {
			old = p
		}
	}
	return a.Store.BeginPushes(ctx, byWorkflow(ctx), c.ID, at.At, old, prices, targets)
}
