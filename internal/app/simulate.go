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
	Fleet   string `help:"Description of the gateways and meters, as JSON." required:"" placeholder:"FILE"`
	Record  string `help:"Folder for the meters' own record; registers, counts and relays go on where it ends." default:"fleet-record" placeholder:"DIR"`
	Control string `help:"Address of the door through which faults are injected; keep it on loopback." default:"127.0.0.1:8090" placeholder:"HOST:PORT"`
}

// Run serves the fleet along real time until ctx ends.
func (c Simulate) Run(ctx context.Context, log *slog.Logger) error {
	spec, err := readFleet(c.Fleet)
	if err != nil {
		return err
	}
	fleet, err := simulator.NewFleet(spec, c.Record, time.Now)
	if err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "the fleet can't start: %v", err)
	}
	l, err := listen(c.Control)
	if err != nil {
		return err
	}
	for _, g := range spec.Gateways {
		log.Info("gateway", "id", g.ID, "address", fleet.Addr(g.ID), "meters", len(g.Meters))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return fleet.Serve(ctx) })
	g.Go(func() error { return answer(ctx, l, fleet.Control()) })
	return g.Wait()
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
