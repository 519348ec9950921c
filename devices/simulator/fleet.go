package simulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// tickEvery is how often, in real time, all meters are brought to the business clock, so that a meter that nobody reads
// trips in time.
const tickEvery = 100 * time.Millisecond

// Fleet is a running set of gateways.
type Fleet struct {
	now    func() time.Time
	dir    string
	record *record
	faults *faults

	mu       sync.Mutex
	gateways []*gateway
	serving  bool
}

// NewFleet opens the record in dir, takes every meter up where the record left it, and listens on all gateways. now is
// the business clock. Call Serve to answer, or Close to give the fleet up.
func NewFleet(spec FleetSpec, dir string, now func() time.Time) (*Fleet, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	rec, entries, err := openRecord(dir)
	if err != nil {
		return nil, err
	}
	f := &Fleet{now: now, dir: dir, record: rec, faults: newFaults(rec, entries)}
	past := pastOf(entries)
	for _, g := range spec.Gateways {
		if err := f.addGateway(g, past); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, f.link()
}

// link gives master meters their subs.
func (f *Fleet) link() error {
	bySerial := map[string]*meter{}
	for _, m := range f.allMeters() {
		bySerial[m.spec.Serial] = m
	}
	for _, m := range bySerial {
		for _, serial := range m.spec.SumOf {
			sub, ok := bySerial[serial]
			if !ok || sub == m || len(sub.spec.SumOf) > 0 {
				return errors.Join(fmt.Errorf("master meter %s: %q is no sub-meter of this fleet", m.spec.Serial, serial), f.Close())
			}
			sub.summed = true
			m.subs = append(m.subs, sub)
		}
	}
	return nil
}

// past is what a record says about a fleet: the last state per serial, and who sits where after exchanges.
type past struct {
	states    map[string]State
	exchanged map[string]map[byte]MeterSpec // gateway, unit
}

func pastOf(entries []RecordEntry) past {
	p := past{states: map[string]State{}, exchanged: map[string]map[byte]MeterSpec{}}
	for _, entry := range entries {
		if entry.State != nil {
			p.states[entry.Serial] = *entry.State
		}
		if entry.Kind == EntryOpened && entry.Spec != nil {
			if p.exchanged[entry.Gateway] == nil {
				p.exchanged[entry.Gateway] = map[byte]MeterSpec{}
			}
			p.exchanged[entry.Gateway][entry.Spec.Unit] = *entry.Spec
		}
	}
	return p
}

func (f *Fleet) addGateway(spec GatewaySpec, p past) error {
	location, err := spec.location()
	if err != nil {
		return err
	}
	g := &gateway{spec: spec, location: location, faults: f.faults, now: f.now, meters: map[byte]*meter{}}
	for _, ms := range spec.Meters {
		if latest, ok := p.exchanged[spec.ID][ms.Unit]; ok {
			ms = latest
		}
		m, err := f.newMeter(g, ms, p.states, nil)
		if err != nil {
			return err
		}
		g.meters[ms.Unit] = m
	}
	if spec.Link == linkDialIn {
		f.gateways = append(f.gateways, g)
		return nil
	}
	listen := spec.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	if g.listener, err = net.Listen("tcp", listen); err != nil {
		return fmt.Errorf("gateway %s can't listen on %s; choose a free port: %w", spec.ID, listen, err)
	}
	f.gateways = append(f.gateways, g)
	return nil
}

// newMeter takes a meter up from its recorded state, or starts it with its opening registers. exchanged is what a restart
// must know of a meter that the fleet's description does not name.
func (f *Fleet) newMeter(g *gateway, spec MeterSpec, states map[string]State, exchanged *MeterSpec) (*meter, error) {
	spec = spec.withDefaults()
	load, err := findSeries(spec.water(), spec.LoadProfile)
	if err != nil {
		return nil, err
	}
	m := &meter{spec: spec, load: load, location: g.location, faults: f.faults, record: f.record}
	m.box, _ = g.spec.box(spec.Unit)
	if state, ok := states[spec.Serial]; ok && len(state.Registers) == spec.registers() {
		if state.PricesE8 == ([5]int64{}) {
			state.PricesE8 = spec.PricesE8 // a record from before meters could be given other prices
		}
		m.state, m.recorded = state, state.At
		return m, nil
	}
	m.state = State{
		Serial: spec.Serial, Gateway: g.spec.ID, Unit: spec.Unit, At: f.now().Truncate(time.Second),
		Registers: make([]int64, spec.registers()), RemainingFen: spec.RemainingFen, RemainingLitres: spec.RemainingLitres, PricesE8: spec.PricesE8, RelayOn: true, ClockOffset: spec.ClockOffset,
	}
	m.state.ClockSince = m.state.At
	copy(m.state.Registers, spec.OpeningRegisters)
	c := &change{state: m.state.clone(), real: time.Now()}
	c.note(EntryOpened, RecordEntry{Gateway: g.spec.ID, Spec: exchanged})
	return m, m.commit(c)
}

// Serve answers on all gateways until the context ends, then records where every meter stands and closes the record.
func (f *Fleet) Serve(ctx context.Context) error {
	f.mu.Lock()
	if f.serving {
		f.mu.Unlock()
		return errors.New("the fleet is already served")
	}
	f.serving = true
	f.mu.Unlock()

	group, groupCtx := errgroup.WithContext(ctx)
	for _, g := range f.gateways {
		group.Go(func() error { return g.serve(groupCtx) })
	}
	group.Go(func() error { return f.tickLoop(groupCtx) })
	return errors.Join(group.Wait(), f.checkpoint(), f.Close())
}

func (f *Fleet) tickLoop(ctx context.Context) error {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := f.Advance(); err != nil {
				return err
			}
		}
	}
}

// Advance brings every meter to the business clock.
func (f *Fleet) Advance() error {
	now := f.now()
	for _, m := range f.allMeters() {
		if err := m.tick(now); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) allMeters() []*meter {
	var all []*meter
	for _, g := range f.gateways {
		g.mu.Lock()
		for _, m := range g.meters {
			all = append(all, m)
		}
		g.mu.Unlock()
	}
	return all
}

// checkpoint records where every meter stands.
func (f *Fleet) checkpoint() error {
	for _, m := range f.allMeters() {
		m.mu.Lock()
		c := &change{state: m.state.clone(), real: time.Now()}
		c.note(EntryCheckpoint, RecordEntry{})
		err := m.commit(c)
		m.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Close stops listening and closes the record. Serve does it by itself.
func (f *Fleet) Close() error {
	for _, g := range f.gateways {
		if g.listener != nil {
			_ = g.listener.Close() // may be closed already
		}
	}
	return f.record.close()
}

// Addr is the address that a gateway listens on; empty when there is no such gateway, or when it dials in.
func (f *Fleet) Addr(gateway string) string {
	if g, ok := f.gateway(gateway); ok && g.listener != nil {
		return g.listener.Addr().String()
	}
	return ""
}

func (f *Fleet) gateway(id string) (*gateway, bool) {
	for _, g := range f.gateways {
		if g.spec.ID == id {
			return g, true
		}
	}
	return nil, false
}

// Inject makes something go wrong and returns the fault's id. Active faults survive a restart.
func (f *Fleet) Inject(fault Fault) (string, error) { return f.faults.inject(fault, f.now()) }

// Clear ends the fault with the id, or, without an id, all faults of the kind (any kind when empty) that were injected for
// exactly this gateway, unit and serial. It returns how many ended.
func (f *Fleet) Clear(like Fault) (int, error) { return f.faults.clear(like, f.now()) }

// Faults counts faults injected (since the record began) and strikes (since this start).
func (f *Fleet) Faults() FaultCounts { return f.faults.counts() }

// ExchangeMeter takes the meter at a unit out and puts a new one in its place.
func (f *Fleet) ExchangeMeter(gatewayID string, unit byte, spec MeterSpec) error {
	g, ok := f.gateway(gatewayID)
	if !ok {
		return fmt.Errorf("there is no gateway %q", gatewayID)
	}
	spec = spec.withDefaults()
	spec.Unit = unit
	if err := spec.validate(); err != nil {
		return err
	}
	if err := g.spec.inBox(spec); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.find(spec.Serial); err == nil {
		return fmt.Errorf("meter %s is already in the fleet", spec.Serial)
	}
	g.line.Lock() // nobody talks to the meter while it changes hands
	defer g.line.Unlock()
	if old, ok := g.meter(unit); ok {
		if err := old.remove(f.now()); err != nil {
			return err
		}
	}
	fresh, err := f.newMeter(g, spec, nil, &spec)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.meters[unit] = fresh
	g.mu.Unlock()
	return nil
}

// remove brings a meter to its end and records its last state.
func (m *meter) remove(now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.advance(now)
	c.note(EntryRemoved, RecordEntry{})
	m.removed = true
	return m.commit(c)
}

// Press is a customer who presses the meter's button: the relay closes if closing is allowed. An error says that it didn't.
func (f *Fleet) Press(serial string) error {
	m, err := f.find(serial)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.advance(f.now())
	moved := m.press(c)
	if err := m.commit(c); err != nil {
		return err
	}
	if !moved {
		return fmt.Errorf("meter %s doesn't close at its button: it is closed, or nobody has allowed it", serial)
	}
	return nil
}

// MeterState is the truth about a meter now.
func (f *Fleet) MeterState(serial string) (State, error) {
	m, err := f.find(serial)
	if err != nil {
		return State{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.commit(m.advance(f.now())); err != nil {
		return State{}, err
	}
	return m.state.clone(), nil
}

// Supply is the truth about a meter's relay or valve now.
func (f *Fleet) Supply(serial string) (SupplyState, error) {
	state, err := f.MeterState(serial)
	if err != nil {
		return "", err
	}
	return state.supplyAt(time.Now()), nil
}

func (f *Fleet) find(serial string) (*meter, error) {
	for _, m := range f.allMeters() {
		if m.spec.Serial == serial {
			return m, nil
		}
	}
	return nil, fmt.Errorf("there is no meter %q in the fleet", serial)
}
