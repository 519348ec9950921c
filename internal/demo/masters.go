package demo

import (
	"context"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Master is a meter that measures once more what the power meters of one gateway measure. It belongs to no account.
type Master struct {
	Gateway      billing.GatewayID
	Meter        billing.MeterID
	ServicePoint billing.ServicePointID
	Spec         simulator.MeterSpec
	Subs         []billing.ServicePointID
}

// The first floor of the plaza has a master behind transformers; two percent are lost on the way.
const (
	masterGateway = "plaza-gw1"
	masterRatio   = 100
	masterLoss    = 20
)

// addMaster gives the first floor of the plaza its master meter.
func (u *Utility) addMaster() {
	m := Master{Gateway: masterGateway, Meter: "M2009001", ServicePoint: "P2009001", Spec: simulator.MeterSpec{
		Unit: powerUnits + waterUnits + 1, Serial: "260102009001", Profile: profileThreePhase, BandTable: plazaBands, Ratio: masterRatio, LossPermille: masterLoss,
		OpeningRegisters: spread(3_000_000, 9, 21, 40, 16, 14),
	}}
	for _, p := range u.Premises {
		if p.Gateway == m.Gateway && p.Service == billing.Power {
			m.Spec.SumOf, m.Subs, m.Spec.LoadProfile = append(m.Spec.SumOf, p.Spec.Serial), append(m.Subs, p.ServicePoint), p.Spec.LoadProfile
		}
	}
	u.Masters = []Master{m}
}

// masters fits the master meters and says whose sum they are.
func (w *seeder) masters(ctx context.Context) error {
	for _, m := range w.u.Masters {
		_, err := w.tx.Exec(ctx, `INSERT INTO service_points (id, site_id, service, address) VALUES ($1, $2, 'power', $3)`, m.ServicePoint, Plaza, "1层总表")
		if err != nil {
			return err
		}
		_, err = w.tx.Exec(ctx, `INSERT INTO meters (id, site_id, gateway_id, unit, serial, profile, service, digits, ratio, capacity_per_hour) VALUES ($1, $2, $3, $4, $5, $6, 'power', 8, $7, 3960)`,
			m.Meter, Plaza, m.Gateway, int16(m.Spec.Unit), m.Spec.Serial, m.Spec.Profile, m.Spec.Ratio)
		if err != nil {
			return err
		}
		_, err = w.tx.Exec(ctx, `INSERT INTO fittings (service_point_id, meter_id, ratio, from_at, opening) VALUES ($1, $2, $3, $4, $5)`, m.ServicePoint, m.Meter, m.Spec.Ratio, Start(), m.Spec.OpeningRegisters)
		if err != nil {
			return err
		}
		err = w.tx.Journal(ctx, store.Entry{Site: Plaza, Kind: "meter", ID: string(m.Meter), Event: "fitted", To: "fitted",
			Refs: []string{string(m.ServicePoint), string(m.Gateway), m.Spec.Serial}, Data: map[string]any{"at": Start(), "opening": m.Spec.OpeningRegisters, "ratio": m.Spec.Ratio, "subs": m.Subs}})
		if err != nil {
			return err
		}
		if _, err := w.tx.Exec(ctx, `INSERT INTO sub_points (master_id, sub_id, from_at) SELECT $1, unnest($2::text[]), $3`, m.ServicePoint, m.Subs, Start()); err != nil {
			return err
		}
	}
	return nil
}
