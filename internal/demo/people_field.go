package demo

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// incidentsSetting says that the month's faults were injected; the fleet's own record keeps them from then on.
const incidentsSetting = "demo_incidents"

// field lets the month's faults loose, once in the life of the demo, and hangs up new meters where an exchange was decided.
func (c *Crew) field(ctx context.Context) error {
	if !c.begun {
		if err := c.inject(ctx); err != nil {
			return err
		}
		c.begun = true
	}
	return c.hangNewMeters(ctx)
}

func (c *Crew) inject(ctx context.Context) error {
	var injected bool
	if err := c.store.Setting(ctx, incidentsSetting, &injected); err != nil || injected {
		return err
	}
	for _, i := range c.incidents {
		if _, err := c.fleet.Clear(simulator.Fault{ID: i.Fault.ID}); err != nil { // of a start that didn't come as far as the setting
			return err
		}
		if _, err := c.fleet.Inject(i.Fault); err != nil {
			return fmt.Errorf("incident %s: %w", i.Name, err)
		}
	}
	return c.store.SetSetting(ctx, store.By{Actor: "workflow", Reason: "the demo's month begins"}, incidentsSetting, true)
}

// newMeterPrefix marks meters that came by an exchange: M1000045 is followed by M3000045.
const newMeterPrefix = "M3"

// successor is the number and the serial of the meter that follows an old one.
func successor(p *Premise) (id billing.MeterID, serial string) {
	return billing.MeterID(newMeterPrefix + string(p.Meter[2:])), "27" + p.Spec.Serial[2:]
}

// hangNewMeters puts the device in place whose fitting was decided. The demo's clock stands meanwhile, so that nothing is counted
// between the two.
func (c *Crew) hangNewMeters(ctx context.Context) error {
	rows, _ := c.store.Pool.Query(ctx, `SELECT m.serial, a.id FROM meters m JOIN fittings f ON f.meter_id = m.id AND f.to_at IS NULL
		JOIN accounts a ON a.service_point_id = f.service_point_id WHERE m.id LIKE $1`, newMeterPrefix+"%")
	type fitted struct {
		Serial  string
		Account billing.AccountID
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[fitted])
	if err != nil {
		return err
	}
	for _, f := range all {
		if _, err := c.fleet.MeterState(f.Serial); err == nil {
			continue // hangs there already
		}
		p := c.utility.at(f.Account)
		if p == nil {
			continue
		}
		spec := p.Spec
		spec.Serial, spec.OpeningRegisters, spec.RemainingFen = f.Serial, make([]int64, len(p.Spec.OpeningRegisters)), 0
		if err := c.fleet.ExchangeMeter(string(p.Gateway), p.Spec.Unit, spec); err != nil {
			return fmt.Errorf("exchange of meter %s: %w", p.Meter, err)
		}
	}
	return nil
}

// dial is what somebody sees who stands before the meter that is fitted for an account now.
func (c *Crew) dial(ctx context.Context, account billing.AccountID) (simulator.State, error) {
	var serial string
	err := c.store.Pool.QueryRow(ctx, `SELECT m.serial FROM meters m JOIN fittings f ON f.meter_id = m.id AND f.to_at IS NULL
		JOIN accounts a ON a.service_point_id = f.service_point_id WHERE a.id = $1`, account).Scan(&serial)
	if errors.Is(err, pgx.ErrNoRows) {
		return simulator.State{}, billing.Errorf(billing.CodeNotFound, "account %s has no meter", account)
	}
	if err != nil {
		return simulator.State{}, err
	}
	return c.fleet.MeterState(serial)
}
