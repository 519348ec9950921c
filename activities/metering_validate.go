package activities

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/devices"
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

// ValidateCycle judges all readings of a swept cycle, some gateways at once: doubtful versions and cases are stored with them.
func (a *Metering) ValidateCycle(ctx context.Context, in CycleRef) (Validated, error) {
	c, err := a.Store.AdvanceCycle(ctx, byWorkflow(ctx), in.CycleID, billing.CycleValidating)
	if err != nil {
		return Validated{}, err
	}
	site, policy, err := sitePolicy(ctx, a.Store, c.Site)
	if err != nil {
		return Validated{}, err
	}
	if c.State != billing.CycleClosed {
		if err := a.validate(ctx, site, policy, c); err != nil {
			return Validated{}, err
		}
	}
	var out Validated
	if out.Cases, err = a.Store.OpenCasesOfCycle(ctx, c.ID); err != nil {
		return out, err
	}
	out.Restores, err = a.Store.OpenRestores(ctx, c.Site)
	return out, err
}

// validateAtOnce is how many meters are judged between two transactions, those of one gateway at least; judgeAtOnce is how many such groups are
// judged at the same time, while what was found in those before them is stored.
const (
	validateAtOnce = 500
	judgeAtOnce    = 2
)

// group is some gateways whose meters are judged together.
type group struct {
	validator
	gateways []billing.GatewayID
	judged   chan error // the end of judging
}

// validate judges the meters of some gateways after the other, and then the master meters, whose subs may hang on other gateways.
func (a *Metering) validate(ctx context.Context, site store.Site, policy Policy, c store.Cycle) error {
	v, err := a.newValidator(ctx, site, policy, c)
	if err != nil {
		return err
	}
	left, err := a.Store.GatewaysToValidate(ctx, c.ID)
	if err != nil {
		return err
	}
	var groups []*group
	for len(left) > 0 {
		g := &group{validator: *v, judged: make(chan error, 1)}
		for meters := 0; len(left) > 0 && (meters == 0 || meters+left[0].Planned <= validateAtOnce); left = left[1:] {
			g.gateways, meters = append(g.gateways, left[0].Gateway), meters+left[0].Planned
		}
		groups = append(groups, g)
	}
	if err := a.validateGroups(ctx, c, groups); err != nil {
		return err
	}
	return v.masters(ctx)
}

// validateGroups judges some groups ahead, which is reading and reckoning and hangs on nothing that is found at other gateways; what was found is
// stored in order.
func (a *Metering) validateGroups(ctx context.Context, c store.Cycle, groups []*group) error {
	ctx, stop := context.WithCancel(ctx)
	var judging sync.WaitGroup
	defer judging.Wait()
	defer stop()
	begin := func(g *group) { judging.Go(func() { g.judged <- g.gatewayCases(ctx, g.gateways) }) }
	for _, g := range groups[:min(judgeAtOnce, len(groups))] {
		begin(g)
	}
	for i, g := range groups {
		if err := <-g.judged; err != nil {
			return err
		}
		if next := i + judgeAtOnce; next < len(groups) {
			begin(groups[next])
		}
		if err := judgedAgain(a.Store.SaveFindings(ctx, byWorkflow(ctx), c.ID, g.gateways, g.found)); err != nil {
			return err
		}
		for _, b := range g.buttons {
			if err := a.Store.NoteButton(ctx, byWorkflow(ctx), b); err != nil {
				return err
			}
		}
		activity.RecordHeartbeat(ctx, g.gateways[0])
	}
	return nil
}

func (a *Metering) newValidator(ctx context.Context, site store.Site, policy Policy, c store.Cycle) (*validator, error) {
	v, err := a.judging(ctx, site, policy)
	if err != nil {
		return nil, err
	}
	v.cycle = c
	if v.rules, err = loadRules(ctx, a.Store, policy, site.ID, c.FreezeAt); err != nil {
		return nil, err
	}
	gateways, answered, err := a.Store.CycleAnswered(ctx, c.ID)
	v.siteSilent = gateways > 1 && answered == 0
	return v, err
}

// judging is a validator of a site without a cycle and its rules.
func (a *Metering) judging(ctx context.Context, site store.Site, policy Policy) (*validator, error) {
	v := &validator{Metering: a, site: site, policy: policy}
	clock, err := a.Store.Clock(ctx)
	if err != nil {
		return nil, err
	}
	v.now = clock.Now
	v.tariffs, err = a.Store.Tariffs(ctx)
	return v, err
}

// validator judges the readings of one group of gateways after the other.
type validator struct {
	*Metering
	site       store.Site
	policy     Policy
	cycle      store.Cycle
	now        time.Time
	rules      ruleBook
	tariffs    map[billing.TariffID]billing.Tariff
	siteSilent bool // no meter of any gateway answered

	gateway billing.GatewayID
	buttons []store.ButtonSeen
	found   store.Findings
}

// judged is one meter with what was found about its reading.
type judged struct {
	meter    store.PlannedMeter
	reading  *store.Reading
	conn     store.Connection
	limits   metering.Limits
	findings []metering.Finding
}

// gatewayCases judges all meters of some gateways and sorts what was found by cause, gateway by gateway.
func (v *validator) gatewayCases(ctx context.Context, gateways []billing.GatewayID) error {
	meters, err := v.Store.CycleMeters(ctx, v.cycle.ID, gateways)
	if err != nil {
		return err
	}
	page, err := v.judgePage(ctx, meters)
	if err != nil {
		return err
	}
	for i := range page {
		if err := v.noteTrip(ctx, &page[i]); err != nil {
			return err
		}
	}
	for len(page) > 0 {
		v.gateway = page[0].meter.Line
		n := slices.IndexFunc(page, func(j judged) bool { return j.meter.Line != v.gateway })
		if n < 0 {
			n = len(page)
		}
		v.found.Cases = append(v.found.Cases, v.sortByCause(page[:n])...)
		page = page[n:]
	}
	return nil
}

// surroundings is what a page of meters is judged by.
type surroundings struct {
	readings map[billing.MeterID]store.Reading
	last     map[billing.MeterID]store.Point
	past     map[billing.MeterID][]store.Point
	trails   map[billing.MeterID]store.Trail
	doubted  map[billing.MeterID][]store.Reading
	conns    map[billing.MeterID]store.Connection
	classes  map[billing.MeterID]billing.CustomerClass
	expected map[billing.MeterID]expectation
}

// around loads the surroundings in a few queries for the whole page.
func (v *validator) around(ctx context.Context, ids []billing.MeterID, readings map[billing.MeterID]store.Reading) (s surroundings, err error) {
	at := v.cycle.FreezeAt
	s.readings = readings
	if s.last, err = v.Store.LastPoints(ctx, ids, at); err != nil {
		return s, err
	}
	if s.past, err = v.Store.GoodPoints(ctx, ids, at.AddDate(0, 0, -historyDays-1), at); err != nil {
		return s, err
	}
	if s.trails, err = v.Store.Trails(ctx, ids, at); err != nil {
		return s, err
	}
	if s.doubted, err = v.Store.Doubted(ctx, ids, at); err != nil {
		return s, err
	}
	if s.conns, err = v.Store.Connections(ctx, ids); err != nil {
		return s, err
	}
	if s.classes, err = v.Store.ClassesOfMeters(ctx, ids, at); err != nil {
		return s, err
	}
	s.expected, err = v.expectedCredit(ctx, s.conns, s.readings)
	return s, err
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

// judge judges the reading of each meter of a page. The readings need not be stored yet.
func (v *validator) judge(ctx context.Context, meters []store.PlannedMeter, readings map[billing.MeterID]store.Reading) ([]judged, error) {
	s, err := v.around(ctx, meterIDs(meters), readings)
	if err != nil {
		return nil, err
	}
	page := make([]judged, 0, len(meters))
	for _, m := range meters {
		j := judged{meter: m, conn: s.conns[m.ID], limits: v.rules.of(m.Meter, s.classes[m.ID])}
		if r, ok := s.readings[m.ID]; ok {
			j.reading = &r
		}
		j.findings = metering.Validate(v.check(j, s))
		v.button(j)
		if j.reading != nil && metering.Accepted(j.findings) {
			v.lookBack(j, s)
		}
		page = append(page, j)
	}
	return page, nil
}

// check is a meter's reading, or its lack, with all that it is judged by.
func (v *validator) check(j judged, s surroundings) metering.Check {
	m := j.meter
	c := metering.Check{
		Meter: metering.Meter{
			Service: m.Service, Digits: m.Digits, CapacityPerHour: m.CapacityPerHour, Ratio: int64(m.Ratio), BandsPriced: v.bandsPriced(j.conn.Tariff),
		},
		History: dailyUse(s.past[m.ID], m.Digits, v.site.Zone), Limits: j.limits,
	}
	if p, ok := s.last[m.ID]; ok {
		c.Previous = pointReading(p)
	}
	if t := s.trails[m.ID]; len(t.Estimates) > 0 {
		c.Measured, c.Estimates = pointReading(t.Anchor), len(t.Estimates)
	}
	if j.reading != nil {
		c.Current = currentOf(*j.reading, j.conn)
		c.Commanded, c.CommandedKeepOn = commanded(j.conn), j.conn.Guarded
		if e, ok := s.expected[m.ID]; ok {
			c.Expected = &e.balance
			if e.priceE8 > 0 {
				worth := billing.LitresWorth(*j.reading.RemainingLitres, e.priceE8)
				c.Current.Remaining, c.Volume, c.Price = &worth, j.reading.RemainingLitres, e.priceE8
			}
		}
	}
	return c
}

func pointReading(p store.Point) *metering.Reading {
	r := &metering.Reading{At: p.At, Registers: p.Registers, Supply: supplyOf(p.Supply), Skew: skewOf(p.ClockSkewS)}
	if p.DeviceRatio != nil {
		r.Ratio = int64(*p.DeviceRatio)
	}
	return r
}

func skewOf(seconds *int) *time.Duration {
	if seconds == nil {
		return nil
	}
	d := time.Duration(*seconds) * time.Second
	return &d
}

// bandsPriced says whether a tariff prices bands at the cycle's day: then a wrong clock costs money.
func (v *validator) bandsPriced(id billing.TariffID) bool {
	version, _, err := v.tariffs[id].VersionAt(billing.DateOf(v.cycle.FreezeAt, v.site.Zone))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(version.Components, func(c billing.Component) bool { return c.Kind == billing.KindBands })
}

// noteTrip notes a meter that is off though it should be on: that is a cut, and is judged as one. What is on record is no finding besides. A meter that
// can't be ordered to give supply back stays one, unless it holds its own credit.
func (v *validator) noteTrip(ctx context.Context, j *judged) error {
	if j.reading == nil || commanded(j.conn) != billing.SupplyOn {
		return nil
	}
	// Waiting for its button is what a meter does where we let it; any other that is open is off, and its customer can do nothing about most of its reasons.
	read := supplyOf(j.reading.Supply)
	if !read.Dark() || read == billing.SupplyAllowed && j.conn.Supply == billing.SupplyAllowed {
		return nil
	}
	if j.conn.CreditMode != billing.CreditMeter && devices.CanDo(j.meter.Profile, devices.OrderClose, func(int) error { return errors.ErrUnsupported }) != nil {
		return nil
	}
	noted, err := noteOwnTrip(ctx, v.Store, byWorkflow(ctx), v.site, v.policy, store.OwnTrip{
		Account: j.conn.Account, Meter: j.meter.ID, SeenReal: j.reading.TakenReal, PowerW: j.reading.PowerW, Refs: []string{string(v.cycle.ID)},
	})
	if noted.Known {
		j.findings = slices.DeleteFunc(j.findings, func(f metering.Finding) bool { return f.Rule == metering.RuleRelayMismatch })
	}
	return err
}

// button notices a meter that its customer was allowed to close, and has closed.
func (v *validator) button(j judged) {
	if j.reading != nil && supplyOf(j.reading.Supply) == billing.SupplyOn && j.conn.Supply == billing.SupplyAllowed {
		v.buttons = append(v.buttons, store.ButtonSeen{Account: j.conn.Account, Meter: j.meter.ID, SeenReal: j.reading.TakenReal, Refs: []string{string(v.cycle.ID)}})
	}
}

func currentOf(r store.Reading, conn store.Connection) *metering.Reading {
	current := &metering.Reading{At: r.FreezeAt, Registers: r.Registers, Remaining: r.RemainingFen, Supply: supplyOf(r.Supply), Skew: skewOf(r.ClockSkewS)}
	if r.DeviceRatio != nil {
		current.Ratio = int64(*r.DeviceRatio)
	}
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
	case billing.SupplyOn, billing.SupplyOff, billing.SupplyAllowed:
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

// expectation is what a meter that holds its own credit should show. priceE8 is what a m³ costs where it holds a volume, in yuan×10^8; 0 where it
// holds money.
type expectation struct {
	balance billing.Money
	priceE8 int64
}

// volumePrices are the prices at which the litres left in meters that hold a volume are worth money. A meter is missing without one flat price,
// and when its use is multiplied before it is charged: then nothing can be said of its litres.
func (v *validator) volumePrices(ctx context.Context, conns map[billing.MeterID]store.Connection, readings map[billing.MeterID]store.Reading) (map[billing.MeterID]int64, error) {
	var ids []billing.MeterID
	for id, r := range readings {
		if r.RemainingLitres != nil {
			ids = append(ids, id)
		}
	}
	prices := map[billing.MeterID]int64{}
	if len(ids) == 0 {
		return prices, nil
	}
	meters, err := v.Store.Meters(ctx, ids)
	for _, m := range meters {
		version, _, err := v.tariffs[conns[m.ID].Tariff].VersionAt(billing.DateOf(readings[m.ID].TakenAt, v.site.Zone))
		if err != nil || m.Ratio != 1 {
			continue
		}
		if price, err := flatPrice(version); err == nil {
			prices[m.ID] = price
		}
	}
	return prices, err
}

// expectedCredit is what each meter that holds its own credit should show: the shadow ledger's balance less what was used and isn't
// charged yet, up to the instant at which registers and amount were taken together: what was used since the freeze instant is in both,
// also on the day of a fitting, whose opening stands for the freeze instant itself. Where money moved since the meter was read, or its reading was carried back, nothing can be said today.
func (v *validator) expectedCredit(ctx context.Context, conns map[billing.MeterID]store.Connection, readings map[billing.MeterID]store.Reading) (map[billing.MeterID]expectation, error) {
	var ids []billing.AccountID
	meterOf := map[billing.AccountID]billing.MeterID{}
	for meter, c := range conns {
		r, ok := readings[meter]
		moved := c.MovedAt != nil && c.MovedAt.After(r.TakenAt)
		if !ok || c.CreditMode != billing.CreditMeter || c.OpenCommand || moved || r.Interpolated || r.RemainingFen == nil && r.RemainingLitres == nil {
			continue
		}
		ids = append(ids, c.Account)
		meterOf[c.Account] = meter
	}
	expected := map[billing.MeterID]expectation{}
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
		all = append(all, m.openSpans(a, takenAt(readings[meterOf[a.ID]]))...)
	}
	if err := m.want(ctx, v.Store, all); err != nil {
		return nil, err
	}
	prices, err := v.volumePrices(ctx, conns, readings)
	if err != nil {
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
		m.readings[store.MeterAt{Meter: meter, At: takenAt(r).UTC()}] = r
		open, err := v.uncharged(ctx, m, a, takenAt(r))
		if err != nil {
			continue // its readings don't carry the period: the drift is judged when they do
		}
		if lag := lags[meter]; !lag.unknown {
			e := expectation{balance: conns[meter].BalanceFen - open + lag.fen, priceE8: prices[meter]}
			if r.RemainingFen != nil || e.priceE8 > 0 {
				expected[meter] = e
			}
		}
	}
	return expected, nil
}

// takenAt is when a reading's registers and amount were taken: at its freeze instant or after it.
func takenAt(r store.Reading) time.Time {
	if r.TakenAt.After(r.FreezeAt) {
		return r.TakenAt
	}
	return r.FreezeAt
}

// uncharged is what an account has used up to an instant and not been charged yet.
func (v *validator) uncharged(ctx context.Context, m *metered, a store.MeteredAccount, upto time.Time) (billing.Money, error) {
	charges, err := m.charges(a, m.openSpans(a, upto))
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
