package activities

import (
	"context"
	"errors"
	"time"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// Metering reads meters and judges their readings.
type Metering struct {
	Store *store.Store
	Pool  *devices.Pool
}

// CycleStart names a scheduled cycle, or asks for one on demand: then CycleID is empty and By says who asks.
type CycleStart struct {
	CycleID billing.CycleID
	Site    billing.SiteID
	Day     billing.Date
	Meters  []billing.MeterID // on demand: these only, of one site; none means the whole site
	By      billing.UserID
}

// CyclePlan is a planned cycle with the passes that it may take: pauses in business time before the second, third … pass.
type CyclePlan struct {
	CycleID   billing.CycleID
	Closed    bool
	WindowEnd time.Time
	Pauses    []time.Duration
}

// onDemandWindow is how long a cycle that a person asked for may take; it has one pass.
const onDemandWindow = time.Hour

// PlanCycle creates the cycle and the list of its meters.
func (a *Metering) PlanCycle(ctx context.Context, in CycleStart) (CyclePlan, error) {
	if in.Site == "" && len(in.Meters) > 0 {
		m, err := a.Store.Meter(ctx, in.Meters[0])
		if err != nil {
			return CyclePlan{}, err
		}
		in.Site = m.Site
	}
	site, policy, err := sitePolicy(ctx, a.Store, in.Site)
	if err != nil {
		return CyclePlan{}, err
	}
	if in.CycleID == "" {
		if err := authorize(ctx, a.Store, in.By, auth.StartCycle, in.Site); err != nil {
			return CyclePlan{}, err
		}
		c, err := a.Store.PlanOnDemand(ctx, byPerson(ctx, in.By, ""), site, in.Meters, onDemandWindow)
		return CyclePlan{CycleID: c.ID, Closed: c.State == billing.CycleClosed, WindowEnd: c.WindowEnd}, err
	}
	c, err := a.Store.PlanCycle(ctx, byWorkflow(ctx), store.NewCycle{
		ID: in.CycleID, Site: in.Site, Day: in.Day,
		FreezeAt: in.Day.Start(site.Zone), WindowEnd: in.Day.At(policy.Reading.WindowEndHour, 0, site.Zone),
	})
	return CyclePlan{
		CycleID: c.ID, Closed: c.State == billing.CycleClosed, WindowEnd: c.WindowEnd,
		Pauses: []time.Duration{minutes(policy.Reading.PassPauseMinutes), minutes(policy.Reading.LatePassMinutes)},
	}, err
}

// StartPass names a pass of a cycle; the first is 1.
type StartPass struct {
	CycleID billing.CycleID
	Pass    int
}

// StartPass begins a pass and gives the gateways that have meters left to read.
func (a *Metering) StartPass(ctx context.Context, in StartPass) ([]billing.GatewayID, error) {
	by := byWorkflow(ctx)
	if _, err := a.Store.AdvanceCycle(ctx, by, in.CycleID, billing.CycleSweeping); err != nil {
		return nil, err
	}
	gateways, err := a.Store.CycleGateways(ctx, in.CycleID)
	if err != nil {
		return nil, err
	}
	var left []billing.GatewayID
	for _, g := range gateways {
		if g.Left > 0 {
			left = append(left, g.Gateway)
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	return left, a.Store.StartPass(ctx, by, in.CycleID, in.Pass)
}

// outcomeOf says what a failed try at a meter is called.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return "read"
	case errors.Is(err, devices.ErrSilent), errors.Is(err, devices.ErrLinkDown), errors.Is(err, devices.ErrSetAside):
		return "silent"
	case errors.Is(err, devices.ErrRefused):
		return "refused"
	default:
		return "wrong" // another meter, an answer that makes no sense, a profile that can't be read with
	}
}

// deviceMeter is a meter as package devices expects it.
func deviceMeter(g store.Gateway, m store.Meter) devices.Meter {
	millis := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	barred := ""
	if err := g.CommandsBarred(); err != nil {
		barred = billing.MessageOf(err)
	}
	return devices.Meter{
		Address: devices.Address{
			Gateway: string(g.ID), HostPort: g.Address, Unit: byte(m.Unit),
			Link: devices.Link{Kind: devices.LinkKind(g.Link), Timeout: millis(g.TimeoutMillis), Pause: millis(g.PauseMillis), CachesReads: millis(g.CachesMillis), Barred: barred},
		},
		Serial: m.Serial, Profile: m.Profile, Box: devices.Box{Base: byte(m.BoxBase), Circuits: m.BoxCircuits},
	}
}

// takenReading turns a snapshot into a first version. Its business instant is the real one in real use; in a demo it is what the clock reads
// now.
func takenReading(ctx context.Context, s *store.Store, m store.Meter, zone *time.Location, freeze time.Time, shot devices.Snapshot) (store.Reading, error) {
	clock, err := s.Clock(ctx)
	if err != nil {
		return store.Reading{}, err
	}
	taken := clock.Now
	if clock.Mode == "real" {
		taken = shot.TakenAt
	}
	return readingOf(m, zone, freeze, taken, shot), nil
}

// readingOf is a snapshot that was taken at a business instant as a first version.
func readingOf(m store.Meter, zone *time.Location, freeze, taken time.Time, shot devices.Snapshot) store.Reading {
	r := store.Reading{
		Meter: m.ID, FreezeAt: freeze, Version: 1, TakenAt: taken, TakenReal: shot.TakenAt, Quality: billing.QualityActual,
		Registers: billing.Registers(shot.Registers), PurchaseCount: shot.PurchaseCount, RemainingFen: (*billing.Money)(shot.RemainingFen), RemainingLitres: shot.RemainingLitres,
		Supply: string(shot.Supply), StatusWord: int(shot.StatusWord), PowerW: shot.PowerW, RecordedBy: actorWorkflow,
		Profile: shot.Profile, ProfileVersion: &shot.ProfileVersion, Reverse: shot.Reverse,
	}
	if wall := shot.MeterClock; !wall.IsZero() {
		shown := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, zone)
		skew := int(shown.Sub(taken) / time.Second)
		r.ClockSkewS = &skew
	}
	if shot.Ratio > 0 {
		ratio := int(shot.Ratio)
		r.DeviceRatio = &ratio
	}
	switch {
	case shot.ForcedOn:
		r.Forced = "on"
	case shot.ForcedOff:
		r.Forced = "off"
	}
	return r
}

// CycleRef names a cycle.
type CycleRef struct {
	CycleID billing.CycleID
}

// CloseCycle counts a cycle's outcomes and closes it: its readings may be charged and billed from now on.
func (a *Metering) CloseCycle(ctx context.Context, in CycleRef) error {
	_, err := a.Store.AdvanceCycle(ctx, byWorkflow(ctx), in.CycleID, billing.CycleClosed)
	return err
}
