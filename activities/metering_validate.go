package activities

import (
	"context"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/metering"
	"github.com/meterflow/meterflow/internal/store"
)

// historyDays is how much of a meter's own past its reading is judged by.
const historyDays = 30

// Validated lists the cases that a validation opened and that are still open, and the restores that meters which tripped by
// themselves made due: each gets its workflow.
type Validated struct {
	Cases    []billing.CaseID
	Restores []string
}

// ValidateCycle judges all readings of a swept cycle, gateway by gateway: doubtful versions and cases are stored with each gateway.
func (a *Metering) ValidateCycle(ctx context.Context, in CycleRef) (Validated, error) {
	c, err := a.Store.AdvanceCycle(ctx, byWorkflow(ctx), in.CycleID, billing.CycleValidating)
	if err != nil {
		return Validated{}, err
	}
	site, policy, err := sitePolicy(ctx, a.Store, c.Site)
	if err != nil {
		return Validated{}, err
	}
	gateways, err := a.Store.CycleGateways(ctx, c.ID)
	if err != nil {
		return Validated{}, err
	}
	for _, g := range gateways {
		if c.State == billing.CycleClosed {
			break
		}
		v := validator{Metering: a, site: site, policy: policy, cycle: c, gateway: g.Gateway}
		found, err := v.gatewayCases(ctx)
		if err != nil {
			return Validated{}, err
		}
		if err := a.Store.SaveFindings(ctx, byWorkflow(ctx), c.ID, g.Gateway, found); err != nil {
			return Validated{}, err
		}
		if err := v.noteTrips(ctx); err != nil {
			return Validated{}, err
		}
		activity.RecordHeartbeat(ctx, g.Gateway)
	}
	var out Validated
	if out.Cases, err = a.Store.OpenCasesOfCycle(ctx, c.ID); err != nil {
		return out, err
	}
	out.Restores, err = a.Store.OpenRestores(ctx, c.Site)
	return out, err
}

// validator judges the readings of one gateway's meters.
type validator struct {
	*Metering
	site    store.Site
	policy  Policy
	cycle   store.Cycle
	gateway billing.GatewayID
	trips   []store.OwnTrip // meters that were found to have tripped by themselves
}

// judged is one meter with what was found about its reading.
type judged struct {
	meter    store.PlannedMeter
	reading  *store.Reading
	conn     store.Connection
	findings []metering.Finding
}

const validatePage = 200

// gatewayCases judges all meters of the gateway and sorts what was found by cause.
func (v *validator) gatewayCases(ctx context.Context) ([]store.NewCase, error) {
	var all []judged
	var after billing.MeterID
	for {
		meters, err := v.Store.CycleMeters(ctx, v.cycle.ID, v.gateway, after, 0, validatePage)
		if err != nil {
			return nil, err
		}
		if len(meters) == 0 {
			return v.sortByCause(all), nil
		}
		page, err := v.judgePage(ctx, meters)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		after = meters[len(meters)-1].ID
		activity.RecordHeartbeat(ctx, after)
	}
}

// judgePage judges the stored readings of a page of meters.
func (v *validator) judgePage(ctx context.Context, meters []store.PlannedMeter) ([]judged, error) {
	readings, err := v.Store.ReadingsAt(ctx, meterIDs(meters), v.cycle.FreezeAt)
	if err != nil {
		return nil, err
	}
	return v.judge(ctx, meters, readings)
}

func meterIDs(meters []store.PlannedMeter) []billing.MeterID {
	ids := make([]billing.MeterID, len(meters))
	for i, m := range meters {
		ids[i] = m.ID
	}
	return ids
}

// judge loads what readings of a page of meters are judged by, in a few queries, and judges each. The readings need not be stored yet.
func (v *validator) judge(ctx context.Context, meters []store.PlannedMeter, readings map[billing.MeterID]store.Reading) ([]judged, error) {
	ids := meterIDs(meters)
	last, err := v.Store.LastPoints(ctx, ids, v.cycle.FreezeAt)
	if err != nil {
		return nil, err
	}
	past, err := v.Store.GoodPoints(ctx, ids, v.cycle.FreezeAt.AddDate(0, 0, -historyDays-1), v.cycle.FreezeAt)
	if err != nil {
		return nil, err
	}
	conns, err := v.Store.Connections(ctx, ids)
	if err != nil {
		return nil, err
	}
	expected, err := v.expectedCredit(ctx, conns, readings)
	if err != nil {
		return nil, err
	}
	page := make([]judged, 0, len(meters))
	for _, m := range meters {
		j := judged{meter: m, conn: conns[m.ID]}
		c := metering.Check{
			Meter:   metering.Meter{Service: m.Service, Digits: m.Digits, CapacityPerHour: m.CapacityPerHour},
			History: dailyUse(past[m.ID], m.Digits, v.site.Zone), Limits: v.policy.Validation.limits(m.Service), Expected: expected[m.ID],
		}
		if p, ok := last[m.ID]; ok {
			c.Previous = &metering.Reading{At: p.At, Registers: p.Registers, Supply: supplyOf(p.Supply)}
		}
		if r, ok := readings[m.ID]; ok {
			j.reading = &r
			c.Current = currentOf(r, j.conn)
			c.Commanded, c.CommandedKeepOn = commanded(j.conn), j.conn.Guarded
		}
		j.findings = metering.Validate(c)
		if v.ownTrip(j) {
			j.findings = slices.DeleteFunc(j.findings, func(f metering.Finding) bool { return f.Rule == metering.RuleRelayMismatch })
		}
		page = append(page, j)
	}
	return page, nil
}

// ownTrip notices a meter that holds its own credit and is off though it should be on: that is a cut, and is judged as one.
func (v *validator) ownTrip(j judged) bool {
	if j.reading == nil || j.conn.CreditMode != billing.CreditMeter || commanded(j.conn) != billing.SupplyOn || supplyOf(j.reading.Supply) != billing.SupplyOff {
		return false
	}
	v.trips = append(v.trips, store.OwnTrip{
		Account: j.conn.Account, Meter: j.meter.ID, SeenReal: j.reading.TakenReal, PowerW: j.reading.PowerW, Refs: []string{string(v.cycle.ID)},
	})
	return true
}

func (v *validator) noteTrips(ctx context.Context) error {
	for _, t := range v.trips {
		if _, err := noteOwnTrip(ctx, v.Store, byWorkflow(ctx), v.site, v.policy, t); err != nil {
			return err
		}
	}
	return nil
}

func currentOf(r store.Reading, conn store.Connection) *metering.Reading {
	current := &metering.Reading{At: r.FreezeAt, Registers: r.Registers, Remaining: r.RemainingFen, Supply: supplyOf(r.Supply)}
	if conn.CreditMode == billing.CreditMeter && !conn.OpenCommand {
		keep := r.Forced == "on"
		current.KeepOn = &keep
	}
	return current
}

// commanded is the supply that we want; while a command is open nobody can say what the meter should show.
func commanded(conn store.Connection) billing.SupplyState {
	if conn.OpenCommand || conn.Account == "" {
		return billing.SupplyUnknown
	}
	return conn.Wanted
}

func supplyOf(read string) billing.SupplyState {
	switch s := billing.SupplyState(read); s {
	case billing.SupplyOn, billing.SupplyOff:
		return s
	}
	return billing.SupplyUnknown // moving, fault
}

// dailyUse are the use of the days between points that lie a day apart; gaps are left out.
func dailyUse(points []store.Point, digits int, zone *time.Location) []metering.DailyUse {
	var days []metering.DailyUse
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		if span := b.At.Sub(a.At); span < 20*time.Hour || span > 28*time.Hour {
			continue
		}
		use, err := billing.Usage(a.Registers, b.Registers, digits)
		if err != nil {
			continue
		}
		quality := b.Quality
		if a.Quality == billing.QualityEstimated {
			quality = a.Quality
		}
		days = append(days, metering.DailyUse{Day: billing.DateOf(a.At, zone), Raw: use.Total(), Quality: quality})
	}
	return days
}

// expectedCredit is what each meter that holds its own credit should show: the shadow ledger's balance less what was used and isn't
// charged yet. Where money moved since the meter was read, or its reading was carried back, nothing can be said today.
func (v *validator) expectedCredit(ctx context.Context, conns map[billing.MeterID]store.Connection, readings map[billing.MeterID]store.Reading) (map[billing.MeterID]*billing.Money, error) {
	var ids []billing.AccountID
	meterOf := map[billing.AccountID]billing.MeterID{}
	for meter, c := range conns {
		r, ok := readings[meter]
		moved := c.MovedAt != nil && c.MovedAt.After(r.TakenAt)
		if !ok || c.CreditMode != billing.CreditMeter || c.OpenCommand || moved || r.Interpolated || r.RemainingFen == nil {
			continue
		}
		ids = append(ids, c.Account)
		meterOf[c.Account] = meter
	}
	expected := map[billing.MeterID]*billing.Money{}
	if len(ids) == 0 {
		return expected, nil
	}
	accounts, err := v.Store.MeteredAccountsOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	m, err := loadMetered(ctx, v.Store, v.site, accounts)
	if err != nil {
		return nil, err
	}
	var all []span
	for _, a := range accounts {
		all = append(all, m.openSpans(a, v.cycle.FreezeAt)...)
	}
	if err := m.want(ctx, v.Store, all); err != nil {
		return nil, err
	}
	lags, err := priceLags(ctx, v.Store, readings)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		meter := meterOf[a.ID]
		r := readings[meter]
		m.readings[store.MeterAt{Meter: meter, At: r.FreezeAt.UTC()}] = r
		open, err := v.uncharged(ctx, m, a)
		if err != nil {
			continue // its readings don't carry the period: the drift is judged when they do
		}
		if lag := lags[meter]; !lag.unknown {
			left := conns[meter].BalanceFen - open + lag.fen
			expected[meter] = &left
		}
	}
	return expected, nil
}

// uncharged is what an account has used up to the cycle's reading and not been charged yet.
func (v *validator) uncharged(ctx context.Context, m *metered, a store.MeteredAccount) (billing.Money, error) {
	charges, err := m.charges(a, m.openSpans(a, v.cycle.FreezeAt))
	if err != nil {
		return 0, err
	}
	var open billing.Money
	for _, c := range charges {
		charged, err := v.Store.ChargedSoFar(ctx, []billing.AccountID{a.ID}, c.PeriodFrom)
		if err != nil {
			return 0, err
		}
		open += c.RatedFen - charged[a.ID]
	}
	return open, nil
}
