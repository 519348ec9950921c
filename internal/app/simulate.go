package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
)

// Simulate is `meterflow simulate`.
type Simulate struct {
	Fleet    string `help:"Description of the gateways and meters, as JSON. Without it a fleet is made up from --gateways, --meters and --seed." placeholder:"FILE"`
	Gateways int    `help:"Gateways of a made-up fleet." default:"12"`
	Meters   int    `help:"Meters per gateway of a made-up fleet." default:"25"`
	Seed     int64  `help:"What a made-up fleet is made from: the same seed, the same fleet." default:"1"`
	Baud     int    `help:"Speed of a made-up fleet's lines; 0 takes no time on the wire." default:"9600"`
	Record   string `help:"Folder for the meters' own record; registers, counts and relays go on where it ends." default:"fleet-record" placeholder:"DIR"`
	Control  string `help:"Address of the door through which faults are injected; keep it on loopback." default:"127.0.0.1:8090" placeholder:"HOST:PORT"`
}

// Run serves the fleet along real time until ctx ends.
func (c Simulate) Run(ctx context.Context, log *slog.Logger) error {
	spec, err := c.fleet()
	if err != nil {
		return err
	}
	l, err := listen(c.Control) // before the gateways take their free ports
	if err != nil {
		return err
	}
	fleet, err := simulator.NewFleet(spec, c.Record, time.Now)
	if err != nil {
		_ = l.Close()
		return billing.Errorf(billing.CodeInvalidInput, "the fleet can't start: %v", err)
	}
	for _, g := range spec.Gateways {
		log.Info("gateway", "id", g.ID, "address", fleet.Addr(g.ID), "meters", len(g.Meters))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return fleet.Serve(ctx) })
	g.Go(func() error { return answer(ctx, l, fleet.Control()) })
	return g.Wait()
}

// fleet is the described fleet, or a made-up one on lines as they usually are.
func (c Simulate) fleet() (simulator.FleetSpec, error) {
	if c.Fleet != "" {
		return readFleet(c.Fleet)
	}
	spec, err := simulator.Generate(simulator.Generated{Seed: c.Seed, Gateways: c.Gateways, Meters: c.Meters, Line: usualLine(c.Baud)})
	if err != nil {
		return spec, billing.Errorf(billing.CodeInvalidInput, "%v", err)
	}
	return spec, nil
}

// usualLine has the times of usual gateways and meters: mbusd's time-out and retries, its pause, and a meter that thinks for 20 ms. Without a
// speed nothing takes time.
func usualLine(baud int) simulator.GatewaySpec {
	if baud == 0 {
		return simulator.GatewaySpec{}
	}
	return simulator.GatewaySpec{Baud: baud, TurnaroundMillis: 20, PauseMillis: 5, ResponseMillis: 500, Retries: 3}
}

func readFleet(path string) (simulator.FleetSpec, error) {
	var spec simulator.FleetSpec
	raw, err := os.ReadFile(path)
	if err != nil {
		return spec, billing.Errorf(billing.CodeInvalidInput, "the fleet's description can't be read: %v", err)
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		return spec, billing.Errorf(billing.CodeInvalidInput, "the fleet's description %s isn't valid: %v", path, err)
	}
	return spec, nil
}
