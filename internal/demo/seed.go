package demo

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
	"github.com/meterflow/meterflow/internal/store"
)

//go:embed data/holidays/*.json
var holidayFiles embed.FS

// SeedOptions are what the utility is made from.
type SeedOptions struct {
	Seed int64
	// Fleet holds the address, host:port, on which each gateway listens.
	Fleet map[billing.GatewayID]string
}

// takenOver is who the journal names for everything that was there on the first day.
var takenOver = store.By{Actor: "workflow", Reason: "taken over from the former system"}

// Seed puts the clock to the demo's first instant and fills an empty database with the utility, in one transaction: a demo that is
// stopped meanwhile starts again from nothing. If the sites exist already it changes nothing but the addresses of gateways that
// listen elsewhere now.
func Seed(ctx context.Context, s *store.Store, o SeedOptions) error {
	u, err := New(o.Seed)
	if err != nil {
		return err
	}
	for _, g := range u.Gateways {
		if o.Fleet[g.ID] == "" {
			return billing.Errorf(billing.CodeInvalidInput, "the fleet has no gateway %s: start the fleet of seed %d", g.ID, o.Seed)
		}
	}
	sites, err := s.Sites(ctx)
	if err != nil {
		return err
	}
	if len(sites) > 0 {
		return moveGateways(ctx, s, o.Fleet)
	}
	if err := s.StartDemoClock(ctx, Start()); err != nil {
		return err
	}
	if err := addReferenceData(ctx, s); err != nil {
		return err
	}
	hashes, err := passwordHashes()
	if err != nil {
		return err
	}
	return s.Change(ctx, takenOver, func(tx *store.Tx) error {
		w := seeder{tx: tx, u: u, addresses: o.Fleet, hashes: hashes}
		return w.run(ctx)
	})
}

// moveGateways corrects the addresses of gateways that listen elsewhere now.
func moveGateways(ctx context.Context, s *store.Store, addresses map[billing.GatewayID]string) error {
	return s.Change(ctx, store.By{Actor: "workflow", Reason: "the simulated fleet listens elsewhere"}, func(tx *store.Tx) error {
		rows, _ := tx.Query(ctx, `SELECT id, site_id, address FROM gateways ORDER BY id FOR UPDATE`)
		type gateway struct {
			ID      billing.GatewayID
			Site    billing.SiteID
			Address string
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[gateway])
		if err != nil {
			return err
		}
		// Addresses are unique: they are freed before they are given out again.
		if _, err := tx.Exec(ctx, `UPDATE gateways SET address = 'moving/' || id WHERE id = ANY($1)`, keys(addresses)); err != nil {
			return err
		}
		for _, g := range all {
			to, ok := addresses[g.ID]
			if !ok {
				continue
			}
			if _, err := tx.Exec(ctx, `UPDATE gateways SET address = $2 WHERE id = $1`, g.ID, to); err != nil {
				return err
			}
			if to == g.Address {
				continue
			}
			if err := tx.Journal(ctx, store.Entry{Site: g.Site, Kind: "gateway", ID: string(g.ID), Event: "moved", Data: map[string]string{"from": g.Address, "to": to}}); err != nil {
				return err
			}
		}
		return nil
	})
}

func keys[K comparable, V any](m map[K]V) []K {
	all := make([]K, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	return all
}

// addReferenceData loads calendars and tariffs; doing it again changes nothing.
func addReferenceData(ctx context.Context, s *store.Store) error {
	years, err := holidays()
	if err != nil {
		return err
	}
	for _, year := range years {
		if err := s.AddCalendarYear(ctx, takenOver, year); err != nil {
			return err
		}
	}
	tariffs, err := demoTariffs()
	if err != nil {
		return err
	}
	for _, t := range tariffs {
		if err := s.AddTariff(ctx, takenOver, t); err != nil {
			return err
		}
	}
	return nil
}

// holidays reads the published lists; see data/holidays/SOURCES.md.
func holidays() ([]billing.CalendarYear, error) {
	files, err := holidayFiles.ReadDir("data/holidays")
	if err != nil {
		return nil, err
	}
	var years []billing.CalendarYear
	for _, f := range files {
		raw, err := holidayFiles.ReadFile("data/holidays/" + f.Name())
		if err != nil {
			return nil, err
		}
		var published struct {
			Year int `json:"year"`
			Days []struct {
				Name  string       `json:"name"`
				Date  billing.Date `json:"date"`
				IsOff bool         `json:"isOffDay"`
			} `json:"days"`
		}
		if err := json.Unmarshal(raw, &published); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		year := billing.CalendarYear{Year: published.Year}
		for _, d := range published.Days {
			year.Days = append(year.Days, billing.CalendarDay{Date: d.Date, Off: d.IsOff, Name: d.Name})
		}
		years = append(years, year)
	}
	return years, nil
}

// passwordHashes hashes the one password for each person with a salt of its own, at the cost that sign-in checks at: once per
// process, because it is meant to be slow.
var passwordHashes = sync.OnceValues(func() (map[billing.UserID]string, error) {
	hashes := map[billing.UserID]string{}
	for _, p := range People() {
		hash, err := argon2id.CreateHash(Password, argon2id.DefaultParams)
		if err != nil {
			return nil, err
		}
		hashes[p.ID] = hash
	}
	return hashes, nil
})

// Policies are what the sites set differently from the defaults, as JSON.
//
// The notice times are shorter than a real utility should choose: the demo shows one month, and with a notice of a week few of its
// cuts would fall before the holiday in which none is made. Large customers are those whose cut a manager approves. A home's bill above
// 750 yuan is stopped for a supervisor to look at: a few are each month.
func Policies() map[billing.SiteID]string {
	return map[billing.SiteID]string{
		Garden: `{"supply": {
			"notice_days": {"household": 3}, "manager_for": ["important"],
			"level1": {"days": 5, "fen": 1000}, "level2": {"days": 2, "fen": 500}},
			"billing": {"limits": {"power": {"household_fen": 75000}}}}`,
		Plaza: `{"supply": {
			"notice_days": {"commercial": 2, "important": 2}, "manager_for": ["important"],
			"level1": {"days": 5, "fen": 2000}, "level2": {"days": 2, "fen": 1000}}}`,
	}
}

// seeder writes the utility in one transaction.
type seeder struct {
	tx        *store.Tx
	u         *Utility
	addresses map[billing.GatewayID]string
	hashes    map[billing.UserID]string
}

func (w *seeder) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		w.sites, w.people, w.gateways, w.customers, w.meters, w.masters, w.accounts, w.terms, w.protections, w.balances,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *seeder) sites(ctx context.Context) error {
	policies := Policies()
	for _, site := range []store.Site{{ID: Garden, NameZH: "翠园小区", NameEN: "Cuiyuan Garden"}, {ID: Plaza, NameZH: "金座广场", NameEN: "Jinzuo Plaza"}} {
		if _, err := w.tx.Exec(ctx, `INSERT INTO sites (id, name_zh, name_en, time_zone, policy) VALUES ($1, $2, $3, 'Asia/Shanghai', $4)`,
			site.ID, site.NameZH, site.NameEN, policies[site.ID]); err != nil {
			return err
		}
		if err := w.tx.Journal(ctx, store.Entry{Site: site.ID, Kind: "site", ID: string(site.ID), Event: "added", Data: json.RawMessage(policies[site.ID])}); err != nil {
			return err
		}
		if err := store.OpenHouse(ctx, w.tx, site.ID); err != nil {
			return err
		}
	}
	return nil
}

func (w *seeder) people(ctx context.Context) error {
	sites := []billing.SiteID{Garden, Plaza}
	for _, p := range People() {
		if _, err := w.tx.Exec(ctx, `INSERT INTO users (id, name, role, password_hash, active) VALUES ($1, $2, $3, $4, true)`, p.ID, p.Name, p.Role, w.hashes[p.ID]); err != nil {
			return err
		}
		if _, err := w.tx.Exec(ctx, `INSERT INTO user_sites (user_id, site_id) SELECT $1, unnest($2::text[])`, p.ID, sites); err != nil {
			return err
		}
		if err := w.tx.Journal(ctx, store.Entry{Site: "-", Kind: "user", ID: string(p.ID), Event: "added", To: "active", Data: map[string]any{"role": p.Role, "sites": sites}}); err != nil {
			return err
		}
	}
	return nil
}

func (w *seeder) gateways(ctx context.Context) error {
	for _, g := range w.u.Gateways {
		if _, err := w.tx.Exec(ctx, `INSERT INTO gateways (id, site_id, name, address, timeout_ms, worst_case_ms) VALUES ($1, $2, $3, $4, $5, $5)`,
			g.ID, g.Site, g.Name, w.addresses[g.ID], timeoutMillis); err != nil {
			return err
		}
		if err := w.tx.Journal(ctx, store.Entry{Site: g.Site, Kind: "gateway", ID: string(g.ID), Event: "added", Data: map[string]string{"address": w.addresses[g.ID]}}); err != nil {
			return err
		}
	}
	return nil
}

// customers adds each customer once, though some have two accounts.
func (w *seeder) customers(ctx context.Context) error {
	lifeSupport := map[billing.CustomerID]bool{}
	for _, p := range w.u.Premises {
		lifeSupport[p.Customer] = lifeSupport[p.Customer] || p.LifeSupport
	}
	seen := map[billing.CustomerID]bool{}
	var rows [][]any
	for _, p := range w.u.Premises {
		if seen[p.Customer] {
			continue
		}
		seen[p.Customer] = true
		rows = append(rows, []any{string(p.Customer), string(p.Site), p.Name, p.Phone, p.Class, lifeSupport[p.Customer]})
	}
	return w.copy(ctx, "customers", []string{"id", "site_id", "name", "phone", "class", "life_support"}, rows)
}

func (w *seeder) copy(ctx context.Context, table string, columns []string, rows [][]any) error {
	_, err := w.tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
	return err
}

func (w *seeder) meters(ctx context.Context) error {
	var meters, points, fittings [][]any
	for _, p := range w.u.Premises {
		ratio := int(max(1, p.Spec.Ratio))
		points = append(points, []any{string(p.ServicePoint), string(p.Site), string(p.Service), p.Address})
		meters = append(meters, []any{string(p.Meter), string(p.Site), string(p.Gateway), int16(p.Spec.Unit), p.Spec.Serial, p.Spec.Profile,
			string(p.Service), int16(p.digits()), ratio, p.capacityPerHour()})
		fittings = append(fittings, []any{string(p.ServicePoint), string(p.Meter), ratio, Start(), p.Spec.OpeningRegisters})
	}
	if err := w.copy(ctx, "service_points", []string{"id", "site_id", "service", "address"}, points); err != nil {
		return err
	}
	if err := w.copy(ctx, "meters", []string{"id", "site_id", "gateway_id", "unit", "serial", "profile", "service", "digits", "ratio", "capacity_per_hour"}, meters); err != nil {
		return err
	}
	if err := w.copy(ctx, "fittings", []string{"service_point_id", "meter_id", "ratio", "from_at", "opening"}, fittings); err != nil {
		return err
	}
	for _, p := range w.u.Premises {
		err := w.tx.Journal(ctx, store.Entry{Site: p.Site, Kind: "meter", ID: string(p.Meter), Event: "fitted", To: "fitted",
			Refs: []string{string(p.ServicePoint), string(p.Account), string(p.Gateway), p.Spec.Serial},
			Data: map[string]any{"at": Start(), "opening": p.Spec.OpeningRegisters, "ratio": max(1, p.Spec.Ratio)}})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *seeder) accounts(ctx context.Context) error {
	var accounts, supplies [][]any
	for _, p := range w.u.Premises {
		accounts = append(accounts, []any{string(p.Account), string(p.Site), string(p.Customer), string(p.ServicePoint), string(p.Service),
			string(p.Credit), string(p.Tariff), firstDay.Start(time.UTC), p.UseBefore})
		supplies = append(supplies, []any{string(p.Account), string(p.Site), "on", "on", Start()})
	}
	columns := []string{"id", "site_id", "customer_id", "service_point_id", "service", "credit_mode", "tariff_id", "opened_on", "use_before"}
	if err := w.copy(ctx, "accounts", columns, accounts); err != nil {
		return err
	}
	if err := w.copy(ctx, "supplies", []string{"account_id", "site_id", "state", "wanted", "since_at"}, supplies); err != nil {
		return err
	}
	for _, p := range w.u.Premises {
		refs := []string{string(p.Customer), string(p.ServicePoint), string(p.Meter)}
		for _, e := range []store.Entry{
			{Kind: "account", Event: "opened", Data: map[string]any{"tariff": p.Tariff, "credit": p.Credit, "use_before": p.UseBefore}},
			{Kind: "supply", Event: "taken_over", To: "on"},
		} {
			e.Site, e.ID, e.Refs = p.Site, string(p.Account), refs
			if err := w.tx.Journal(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// protections gives every protected customer a dated one; see protectionsOf.
func (w *seeder) protections(ctx context.Context) error {
	for _, p := range w.u.protections() {
		var id int64
		err := w.tx.QueryRow(ctx, `INSERT INTO protections (account_id, kind, from_at, until_at, owner, reason) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
			p.account, p.kind, Start(), p.until.Start(zone), p.owner, p.reason).Scan(&id)
		if err != nil {
			return err
		}
		err = w.tx.Journal(ctx, store.Entry{Site: p.site, Kind: "protection", ID: fmt.Sprint(id), Event: "added", Actor: string(p.owner),
			Reason: p.reason, Refs: []string{string(p.account)}, Data: map[string]string{"kind": p.kind, "until": p.until.String()}})
		if err != nil {
			return err
		}
	}
	return nil
}

// balances posts the opening balances against what the former system owes.
func (w *seeder) balances(ctx context.Context) error {
	for _, p := range w.u.Premises {
		if err := store.OpenCustomerAccount(ctx, w.tx, p.Site, p.Account); err != nil {
			return err
		}
		if p.Balance == 0 {
			continue
		}
		_, err := store.Post(ctx, w.tx, ledger.Move(p.Site, ledger.KindOpening, "account/"+string(p.Account)+"/opening", string(p.Account),
			ledger.Opening(p.Site), ledger.Customer(p.Account), p.Balance))
		if err != nil {
			return err
		}
	}
	return nil
}
