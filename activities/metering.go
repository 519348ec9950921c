package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// Metering reads meters and judges their readings.
type Metering struct {
	Store *store.Store
	Pool  *devices.Pool
}

// sweepPage is how many meters are read between two transactions.
const sweepPage = 25

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

// sweepGateway reads the meters of one gateway that this pass has not tried yet, one after the other, and stores them page by
// page. Interrupted, it goes on after the last page.
func (a *Metering) sweepGateway(ctx context.Context, cycle billing.CycleID, id billing.GatewayID, pass int) (left int, err error) {
	defer beat(ctx)() // a command may hold the line for longer than a heartbeat lasts
	c, err := a.Store.Cycle(ctx, cycle)
	if err != nil || c.State != billing.CycleSweeping {
		return 0, err
	}
	site, policy, err := sitePolicy(ctx, a.Store, c.Site)
	if err != nil {
		return 0, err
	}
	gateway, err := a.Store.Gateway(ctx, id)
	if err != nil {
		return 0, err
	}
	sw := sweep{Metering: a, cycle: c, zone: site.Zone, gateway: gateway, pass: pass, tolerance: minutes(policy.Reading.ToleranceMinutes)}
	if sw.answered, err = a.answered(ctx, c.ID, id, pass); err != nil {
		return 0, err
	}
	for {
		meters, err := a.Store.CycleMeters(ctx, c.ID, id, "", pass, sweepPage)
		if err != nil {
			return 0, err
		}
		if len(meters) == 0 {
			return a.Store.MetersLeft(ctx, c.ID, id)
		}
		swept, err := sw.page(ctx, meters)
		if err != nil {
			return 0, err
		}
		if err := a.Store.SaveSweep(ctx, byWorkflow(ctx), c.ID, id, pass, swept); err != nil {
			return 0, err
		}
		failpoint.Hit("readings-stored-not-acked")
		activity.RecordHeartbeat(ctx, meters[len(meters)-1].ID)
	}
}

// answered says whether a pass before this one has read a meter of the gateway.
func (a *Metering) answered(ctx context.Context, cycle billing.CycleID, id billing.GatewayID, pass int) (bool, error) {
	if pass == 1 {
		return false, nil
	}
	gateways, err := a.Store.CycleGateways(ctx, cycle)
	for _, g := range gateways {
		if g.Gateway == id {
			return g.Left < g.Planned, err
		}
	}
	return false, err
}

// sweep is one gateway's part of a pass.
type sweep struct {
	*Metering
	cycle     store.Cycle
	zone      *time.Location
	gateway   store.Gateway
	pass      int
	tolerance time.Duration
	answered  bool // one of its meters has answered in the cycle
	silent    int  // in a row, since a meter answered
	down      int  // in a row, without a connection to the gateway
}

// giveUpAfter silent meters in a row a later pass takes the gateway for silent: each try costs its whole time-out. A gateway that has answered in the
// cycle isn't: those that are left are the dead ones, and three of them must not hide those that have come back.
const giveUpAfter = 3

// givesUp says that the rest of the gateway's meters need not be asked in this pass.
func (sw *sweep) givesUp() bool {
	return sw.down >= giveUpAfter || sw.silent >= giveUpAfter && !sw.answered
}

func (sw *sweep) page(ctx context.Context, meters []store.PlannedMeter) ([]store.Swept, error) {
	ids := make([]billing.MeterID, len(meters))
	for i, m := range meters {
		ids[i] = m.ID
	}
	before, err := sw.Store.LastPoints(ctx, ids, sw.cycle.FreezeAt)
	if err != nil {
		return nil, err
	}
	swept := make([]store.Swept, 0, len(meters))
	for _, m := range meters {
		s, err := sw.read(ctx, m)
		if err != nil {
			return nil, err
		}
		if s.Reading != nil {
			sw.carryBack(s.Reading, before[m.ID], m.Digits)
		}
		swept = append(swept, s)
		activity.RecordHeartbeat(ctx, m.ID)
		failpoint.Hit("mid-sweep")
	}
	return swept, nil
}

// read asks one meter. Only what the meter's own state explains is an outcome; a closed pool or an ended context is an error, so
// that the activity is tried again by whoever owns the line then.
func (sw *sweep) read(ctx context.Context, m store.PlannedMeter) (store.Swept, error) {
	look := sw.Pool.Sweep
	if sw.pass > 1 {
		// A later pass asks also those that are set aside: business time has passed, whatever the real time is.
		if look = sw.Pool.Snapshot; sw.givesUp() {
			return store.Swept{Meter: m.ID, Outcome: "silent", Error: "the gateway's other meters gave no answer"}, nil
		}
	}
	shot, err := look(ctx, deviceMeter(sw.gateway, m.Meter))
	if interrupted(ctx, err) {
		return store.Swept{}, errors.Join(billing.Errorf(billing.CodeUnavailable, "the sweep of gateway %s was interrupted", sw.gateway.ID), err)
	}
	outcome := outcomeOf(err)
	if outcome == "silent" {
		sw.silent++
	} else {
		sw.silent, sw.answered = 0, true
	}
	if sw.down++; !errors.Is(err, devices.ErrLinkDown) {
		sw.down = 0
	}
	if err != nil {
		return store.Swept{Meter: m.ID, Outcome: outcome, Error: err.Error()}, nil
	}
	r, err := takenReading(ctx, sw.Store, m.Meter, sw.zone, sw.cycle.FreezeAt, shot)
	if err != nil {
		return store.Swept{}, err
	}
	if err := r.Registers.Validate(m.Service); err != nil {
		return store.Swept{Meter: m.ID, Outcome: "wrong", Error: billing.MessageOf(err)}, nil
	}
	r.Cycle = &sw.cycle.ID
	return store.Swept{Meter: m.ID, Outcome: "read", Reading: &r}, nil
}

// interrupted says that a try ended for reasons of ours, not of the meter: whoever owns the line then makes it again.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, devices.ErrClosed) || errors.Is(err, devices.ErrExpired) || errors.Is(err, devices.ErrNotOwner)
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

// carryBack computes what the registers showed at the freeze instant when they were taken too long after it. Without a point to go
// back to, or when a register went back, the value stays as read: validation then says what is wrong with it.
func (sw *sweep) carryBack(r *store.Reading, before store.Point, digits int) {
	if r.TakenAt.Sub(r.FreezeAt) <= sw.tolerance || before.Registers == nil {
		return
	}
	at, err := metering.Interpolate(metering.Reading{At: before.At, Registers: before.Registers}, metering.Reading{At: r.TakenAt, Registers: r.Registers}, r.FreezeAt, digits)
	if err == nil {
		r.Registers, r.Interpolated = at, true
	}
}

// deviceMeter is a meter as package devices expects it.
func deviceMeter(g store.Gateway, m store.Meter) devices.Meter {
	millis := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	return devices.Meter{
		Address: devices.Address{
			Gateway: string(g.ID), HostPort: g.Address, Unit: byte(m.Unit),
			Link: devices.Link{Kind: devices.LinkKind(g.Link), Timeout: millis(g.TimeoutMillis), Pause: millis(g.PauseMillis), CachesReads: millis(g.CachesMillis)},
		},
		Serial: m.Serial, Profile: m.Profile,
	}
}

// takenReading turns a snapshot into a first version. Its business instant is the real one in real use; a demo's clock stands still
// while a sweep is unfinished, so it is what the clock reads now.
func takenReading(ctx context.Context, s *store.Store, m store.Meter, zone *time.Location, freeze time.Time, shot devices.Snapshot) (store.Reading, error) {
	clock, err := s.Clock(ctx)
	if err != nil {
		return store.Reading{}, err
	}
	taken := clock.Now
	if clock.Mode == "real" {
		taken = shot.TakenAt
	}
	r := store.Reading{
		Meter: m.ID, FreezeAt: freeze, Version: 1, TakenAt: taken, TakenReal: shot.TakenAt, Quality: billing.QualityActual,
		Registers: billing.Registers(shot.Registers), PurchaseCount: shot.PurchaseCount, RemainingFen: (*billing.Money)(shot.RemainingFen),
		Supply: string(shot.Supply), StatusWord: int(shot.StatusWord), PowerW: shot.PowerW, RecordedBy: actorWorkflow,
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
	return r, nil
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
