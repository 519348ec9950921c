package store

import (
	"context"
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

// SetPriceCeiling sets the ceiling of a site and service from a day on, or ends it. What is published already stays as it is; the page
// of ceilings says which tariffs are above.
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

// ceilingAt is one ceiling that holds at some time on or after a day.
type ceilingAt struct {
	Site  billing.SiteID
	From  billing.Date
	Price *billing.Price
}

// ceilingsFrom lists, for the given sites, the ceilings that hold on a day or begin after it.
func ceilingsFrom(ctx context.Context, q querier, sites []billing.SiteID, service billing.Service, from billing.Date) ([]ceilingAt, error) {
	rows, _ := q.Query(ctx, `WITH last AS (SELECT DISTINCT ON (site_id, from_day) site_id, from_day, price FROM price_ceilings
			WHERE site_id = ANY($1) AND service = $2 ORDER BY site_id, from_day, id DESC)
		SELECT site_id, from_day, price FROM last l WHERE price IS NOT NULL
			AND from_day >= coalesce((SELECT max(from_day) FROM last e WHERE e.site_id = l.site_id AND e.from_day <= $3), $3) ORDER BY site_id, from_day`,
		sites, service, from)
	return pgx.CollectRows(rows, pgx.RowToStructByPos[ceilingAt])
}

// querier reads, inside a transaction or outside.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// belowCeilings refuses a version of which one unit could cost more than a ceiling of a site whose accounts use the tariff.
func belowCeilings(ctx context.Context, tx *Tx, tariff billing.TariffID, service billing.Service, v billing.TariffVersion) error {
	rows, _ := tx.Query(ctx, `SELECT DISTINCT site_id FROM accounts WHERE tariff_id = $1 ORDER BY site_id`, tariff)
	sites, err := pgx.CollectRows(rows, pgx.RowTo[billing.SiteID])
	if err != nil {
		return err
	}
	breach, err := findBreaches(ctx, tx, sites, service, v)
	if err != nil || len(breach) == 0 {
		return err
	}
	return breach[0].Refusal()
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

func findBreaches(ctx context.Context, q querier, sites []billing.SiteID, service billing.Service, v billing.TariffVersion) ([]CeilingBreach, error) {
	ceilings, err := ceilingsFrom(ctx, q, sites, service, v.From)
	if err != nil || len(ceilings) == 0 {
		return nil, err
	}
	var found []CeilingBreach
	for _, c := range ceilings {
		for _, u := range v.TopPrices() {
			if u.Above(*c.Price) {
				found = append(found, CeilingBreach{Site: c.Site, From: c.From, Ceiling: *c.Price, Service: service, Unit: u})
			}
		}
	}
	return found, nil
}

// CeilingBreaches lists where a version would be above the ceilings of the sites that use its tariff; for pages.
func (s *Store) CeilingBreaches(ctx context.Context, tariff billing.TariffID, service billing.Service, v billing.TariffVersion) ([]CeilingBreach, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT DISTINCT site_id FROM accounts WHERE tariff_id = $1 ORDER BY site_id`, tariff)
	sites, err := pgx.CollectRows(rows, pgx.RowTo[billing.SiteID])
	if err != nil {
		return nil, translate(err)
	}
	found, err := findBreaches(ctx, s.Pool, sites, service, v)
	return found, translate(err)
}

// CeilingBreachOn is where a version that is in force on a day is above the ceiling that a site has on that day; nil when it isn't.
func (s *Store) CeilingBreachOn(ctx context.Context, site billing.SiteID, service billing.Service, v billing.TariffVersion, day billing.Date) (*CeilingBreach, error) {
	v.From = day
	found, err := findBreaches(ctx, s.Pool, []billing.SiteID{site}, service, v)
	for _, b := range found {
		if !b.From.After(day) {
			return &b, translate(err)
		}
	}
	return nil, translate(err)
}
