package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Fleet is a site whose meters are those of a simulator that runs as another process.
type Fleet struct {
	Site    billing.SiteID
	Spec    simulator.FleetSpec
	Control string // base address of the simulator's door

	addresses map[string]string // host:port by gateway
}

// linkOf is how all gateways of a fleet are reached, as their rows say it.
var linkOf = devices.Link{Kind: devices.LinkTCP, Timeout: 2500 * time.Millisecond}

// Meters is how many meters the fleet has.
func (f *Fleet) Meters() (n int64) {
	for _, g := range f.Spec.Gateways {
		n += int64(len(g.Meters))
	}
	return n
}

// device is a meter as package devices expects it.
func (f *Fleet) device(g simulator.GatewaySpec, m simulator.MeterSpec) devices.Meter {
	at := devices.Address{Gateway: g.ID, HostPort: f.addresses[g.ID], Link: linkOf, Unit: m.Unit}
	return devices.Meter{Address: at, Serial: m.Serial, Profile: m.Profile}
}

// Load opens the site with one account on platform credit for each meter, opened an hour ago. It needs a database superuser.
func (f *Fleet) Load(ctx context.Context, s *store.Store) error {
	if err := f.ask(ctx, http.MethodGet, "/gateways", nil, &f.addresses); err != nil {
		return err
	}
	if err := addTariffs(ctx, s); err != nil {
		return err
	}
	u := Utility{Site: f.Site}
	if err := u.open(ctx, s); err != nil {
		return err
	}
	opened := time.Now().Add(-time.Hour)
	args := pgx.NamedArgs{"site": string(f.Site), "opened": opened, "day": billing.DateOf(opened, Zone()).String()}
	err := pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		for _, sql := range []string{`SET LOCAL session_replication_role = replica`, benchMeters} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		if err := f.copyMeters(ctx, tx); err != nil {
			return err
		}
		for _, sql := range masters {
			if _, err := tx.Exec(ctx, sql, args); err != nil {
				return fmt.Errorf("%w in %s", err, sql)
			}
		}
		_, err := tx.Exec(ctx, `UPDATE gateways SET timeout_ms = $2 WHERE site_id = $1`, f.Site, linkOf.Timeout.Milliseconds())
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.Pool.Exec(ctx, `ANALYZE`)
	return err
}

func (f *Fleet) copyMeters(ctx context.Context, tx pgx.Tx) error {
	var rows [][]any
	for _, g := range f.Spec.Gateways {
		for _, m := range g.Meters {
			service := billing.Power
			if len(m.OpeningRegisters) == 1 {
				service = billing.Water
			}
			rows = append(rows, []any{len(rows) + 1, g.ID, f.addresses[g.ID], int(m.Unit), m.Serial, m.Profile, string(service), m.OpeningRegisters})
		}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"bench_meters"}, []string{"n", "gateway", "address", "unit", "serial", "profile", "service", "opening"}, pgx.CopyFromRows(rows))
	return err
}

// lines is what each line was used for so far.
func (f *Fleet) lines(ctx context.Context) (map[string]simulator.LineUse, error) {
	var uses map[string]simulator.LineUse
	return uses, f.ask(ctx, http.MethodGet, "/lines", nil, &uses)
}

func (f *Fleet) line(ctx context.Context, gateway string) (simulator.LineUse, error) {
	var use simulator.LineUse
	return use, f.ask(ctx, http.MethodGet, "/lines/"+gateway, nil, &use)
}

// kill makes a meter silent for good.
func (f *Fleet) kill(ctx context.Context, gateway string, unit byte) error {
	return f.ask(ctx, http.MethodPost, "/faults", simulator.Fault{Kind: simulator.FaultSilent, Gateway: gateway, Unit: unit}, nil)
}

// ask speaks with the simulator's door.
func (f *Fleet) ask(ctx context.Context, method, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, method, f.Control+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("the simulator refused %s %s: %s", method, path, text)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}
