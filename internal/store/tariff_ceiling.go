package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// PriceCeiling is the most that one unit of a service may cost at a site from a day on, with all that is charged per unit.
type PriceCeiling struct {
	ID      int64
	Site    billing.SiteID `db:"site_id"`
	Service billing.Service
	From    billing.Date   `db:"from_day"`
	Price   *billing.Price // yuan per kWh or m³; nil: none from this day on
	Reason  string
	SetBy   billing.UserID
	SetName string
	SetAt   time.Time
}

const selectCeiling = `SELECT p.id, p.site_id, p.service, p.from_day, p.price, p.reason, p.set_by, coalesce(u.name, '') AS set_name, p.set_at
	FROM price_ceilings p LEFT JOIN users u ON u.id = p.set_by`

// PriceCeilings reads all ceilings of the given sites, the newest of each site and service first. Of two rows of one day the newer counts.
func (s *Store) PriceCeilings(ctx context.Context, sites []billing.SiteID) ([]PriceCeiling, error) {
	rows, _ := s.Pool.Query(ctx, selectCeiling+` WHERE p.site_id = ANY($1) ORDER BY p.site_id, p.service, p.from_day DESC, p.id DESC`, sites)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[PriceCeiling])
	return all, translate(err)
}

// SetPriceCeiling sets the ceiling of a site and service from a day on, or ends it. What is published already stays as it is; PricesAbove
// says which prices are above.
func (s *Store) SetPriceCeiling(ctx context.Context, by By, p PriceCeiling) error {
	p.Reason = strings.TrimSpace(p.Reason)
	switch {
	case p.Reason == "":
		return billing.Errorf(billing.CodeInvalidInput, "say why: the reason stands in the journal")
	case p.From.IsZero():
		return billing.Errorf(billing.CodeInvalidInput, "say from which day the ceiling holds")
	case !p.Service.Valid():
		return billing.Errorf(billing.CodeInvalidInput, "the service %q is unknown: use power or water", p.Service)
	case p.Price != nil && p.Price.Sign() < 0:
		return billing.Errorf(billing.CodeInvalidInput, "the ceiling %s is negative", p.Price)
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO price_ceilings (site_id, service, from_day, price, reason, set_by, set_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			p.Site, p.Service, p.From, p.Price, p.Reason, p.SetBy, tx.Now)
		if err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: p.Site, Kind: "ceiling", ID: string(p.Site) + "/" + string(p.Service), Event: "ceiling_set", Actor: string(p.SetBy), Reason: p.Reason,
			Data: map[string]any{"from": p.From, "price": p.Price}})
	})
}

// ceilingAt is a ceiling of a site, with its first day.
type ceilingAt struct {
	Site  billing.SiteID
	From  billing.Date
	Price billing.Price
}

// ceilingsOfTariff lists the ceilings that hold, on a day in [from, to), where an account has the tariff on that day. A zero to is no end.
func ceilingsOfTariff(ctx context.Context, q querier, tariff billing.TariffID, service billing.Service, from, to billing.Date) ([]ceilingAt, error) {
	rows, _ := q.Query(ctx, `SELECT DISTINCT c.site_id, c.from_day, c.price FROM ceiling_days c JOIN tariff_days t ON t.site_id = c.site_id
		WHERE t.tariff_id = $1 AND c.service = $2 AND c.price IS NOT NULL
			AND greatest(c.from_day, t.from_day, $3) < coalesce(least(c.to_day, t.to_day, $4), 'infinity') ORDER BY c.site_id, c.from_day`, tariff, service, from, to)
	return pgx.CollectRows(rows, pgx.RowToStructByPos[ceilingAt])
}

// ceilingsOfSite lists the ceilings of a site that hold on a day in [from, to). A zero to is no end.
func ceilingsOfSite(ctx context.Context, q querier, site billing.SiteID, service billing.Service, from, to billing.Date) ([]ceilingAt, error) {
	rows, _ := q.Query(ctx, `SELECT site_id, from_day, price FROM ceiling_days WHERE site_id = $1 AND service = $2 AND price IS NOT NULL
			AND greatest(from_day, $3) < coalesce(least(to_day, $4), 'infinity') ORDER BY from_day`, site, service, from, to)
	return pgx.CollectRows(rows, pgx.RowToStructByPos[ceilingAt])
}

// querier reads, inside a transaction or outside.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// belowCeilings refuses a version of which one unit could cost more than a ceiling of a site, on a day in [v.From, to) on which an account
// there has the tariff. A zero to is no end.
func belowCeilings(ctx context.Context, tx *Tx, tariff billing.TariffID, service billing.Service, v billing.TariffVersion, to billing.Date) error {
	ceilings, err := ceilingsOfTariff(ctx, tx, tariff, service, v.From, to)
	if err != nil {
		return err
	}
	if breach := breaches(ceilings, service, v); len(breach) > 0 {
		return breach[0].Refusal()
	}
	return nil
}

// TariffBelowCeilings refuses (billing.CodeBlocked) to give an account a tariff from a day on: until the account's next terms, one unit
// could cost more than a ceiling of its site.
func (s *Store) TariffBelowCeilings(ctx context.Context, a Account, tariff billing.TariffID, from billing.Date) error {
	return translate(tariffBelowCeilings(ctx, s.Pool, a, tariff, from))
}

func tariffBelowCeilings(ctx context.Context, q querier, a Account, id billing.TariffID, from billing.Date) error {
	var next billing.Date
	if err := q.QueryRow(ctx, `SELECT min(from_day) FROM account_terms WHERE account_id = $1 AND from_day > $2`, a.ID, from).Scan(&next); err != nil {
		return err
	}
	t, err := readTariff(ctx, q, id)
	if err != nil {
		return err
	}
	return versionsFrom(t, from, func(v billing.TariffVersion, until billing.Date) error {
		if !next.IsZero() && (until.IsZero() || next.Before(until)) {
			until = next
		}
		ceilings, err := ceilingsOfSite(ctx, q, a.Site, a.Service, v.From, until) // none when the version ends before it could hold here
		if err != nil {
			return err
		}
		if breach := breaches(ceilings, a.Service, v); len(breach) > 0 {
			return billing.Errorf(billing.CodeBlocked, "choose another tariff than %s for account %s: %w", id, a.ID, breach[0].Refusal())
		}
		return nil
	})
}

// versionsFrom does something with each version of a tariff and its end, the beginning moved to a day where it lies before it. Those that end before the day
// are among them: no ceiling holds in what is left of them.
func versionsFrom(t billing.Tariff, from billing.Date, do func(v billing.TariffVersion, until billing.Date) error) error {
	for _, v := range t.Versions {
		_, until, err := t.VersionAt(v.From)
		if err != nil {
			return err
		}
		if v.From.Before(from) {
			v.From = from
		}
		if err := do(v, until); err != nil {
			return err
		}
	}
	return nil
}

// CeilingBreach is a unit price that is above a site's ceiling.
type CeilingBreach struct {
	Site    billing.SiteID
	From    billing.Date // since when the ceiling holds
	Ceiling billing.Price
	Service billing.Service
	Unit    billing.TopPrice
}

// Refusal names the component, the band and the site.
func (b CeilingBreach) Refusal() error {
	dear := b.Unit.Dearest()
	place := dear.Component
	if dear.Steps {
		place += " at its dearest step"
	}
	if b.Unit.Register != billing.Total {
		place += " in band " + b.Unit.Register.String()
	}
	return billing.Errorf(billing.CodeBlocked, "component %s: one %s would cost up to %s yuan, above the ceiling of %s yuan that site %s has from %s on: lower the price or have the ceiling changed",
		place, b.Service.Unit(), b.Unit, b.Ceiling, b.Site, b.From)
}

func breaches(ceilings []ceilingAt, service billing.Service, v billing.TariffVersion) []CeilingBreach {
	var found []CeilingBreach
	for _, c := range ceilings {
		for _, u := range v.TopPrices() {
			if u.Above(c.Price) {
				found = append(found, CeilingBreach{Site: c.Site, From: c.From, Ceiling: c.Price, Service: service, Unit: u})
			}
		}
	}
	return found
}

// CeilingBreaches lists where a version would be above the ceiling of a site, on a day in [v.From, to) on which an account there has the
// tariff; for pages. A zero to is no end.
func (s *Store) CeilingBreaches(ctx context.Context, tariff billing.TariffID, service billing.Service, v billing.TariffVersion, to billing.Date) ([]CeilingBreach, error) {
	ceilings, err := ceilingsOfTariff(ctx, s.Pool, tariff, service, v.From, to)
	return breaches(ceilings, service, v), translate(err)
}

// PriceAbove is a published price above a ceiling: the ceiling was lowered, or set, after the price was published.
type PriceAbove struct {
	Tariff billing.Tariff
	CeilingBreach
}

// PricesAbove lists the published prices that are above a ceiling of one of the sites, on the given day or later, while an account there has
// the tariff; of each tariff and site the first.
func (s *Store) PricesAbove(ctx context.Context, sites []billing.SiteID, from billing.Date) ([]PriceAbove, error) {
	all, err := s.Tariffs(ctx)
	if err != nil {
		return nil, err
	}
	var above []PriceAbove
	for _, id := range slices.Sorted(maps.Keys(all)) {
		t, listed := all[id], map[billing.SiteID]bool{}
		err := versionsFrom(t, from, func(v billing.TariffVersion, until billing.Date) error {
			found, err := s.CeilingBreaches(ctx, id, t.Service, v, until)
			for _, b := range found {
				if !listed[b.Site] && slices.Contains(sites, b.Site) {
					listed[b.Site] = true
					above = append(above, PriceAbove{Tariff: t, CeilingBreach: b})
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return above, nil
}

// CeilingBreachOn is where a version that is in force on a day is above the ceiling that a site has on that day; nil when it isn't.
func (s *Store) CeilingBreachOn(ctx context.Context, site billing.SiteID, service billing.Service, v billing.TariffVersion, day billing.Date) (*CeilingBreach, error) {
	ceilings, err := ceilingsOfSite(ctx, s.Pool, site, service, day, day.AddDays(1))
	if found := breaches(ceilings, service, v); len(found) > 0 {
		return &found[0], nil
	}
	return nil, translate(err)
}
