package devices

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterflow/meterflow/devices/profile"
)

// Config sets how the pool treats its lines. Zero values are replaced by the defaults named here.
type Config struct {
	// Timeout bounds one exchange (3 s). It must exceed the gateway's worst case: (its retries + 1) × its response time-out
	// + its pauses. A shorter one makes late answers.
	Timeout time.Duration
	// Pause is kept between two requests on a line (none).
	Pause time.Duration
	// ReadRetries is how often a failed read is sent again at once (1; negative: never). Commands are never sent again.
	ReadRetries int
	// SwitchLimit is how long a relay or valve may take to show the commanded state (60 s), asked every SwitchPoll (500 ms).
	SwitchLimit time.Duration
	SwitchPoll  time.Duration
	// SetAsideAfter silent tries in a row, sweeps skip a meter for SetAsideFor (1; 1 minute), doubling up to SetAsideMost (1 hour): a
	// silent meter costs a sweep one try of its gateway, and the next ones nothing. It comes back by itself.
	SetAsideAfter int
	SetAsideFor   time.Duration
	SetAsideMost  time.Duration
	// LineAsideAfter different meters in a row without any answer on their line, sweeps skip the line for SetAsideFor (3).
	LineAsideAfter int
	// DialIn takes the calls of units that dial in; nil when this worker has none.
	DialIn *DialIn
	// Networks are those that gateways may be dialled in; empty is any.
	Networks []netip.Prefix
	// Password645 is what DL/T 645 meters want with a command: eight hex digits, the level first.
	Password645 string
	// MaySend is asked right before a command leaves: whether this process owns the gateway's line, and will until the command is through,
	// which takes the given time at most. An error keeps it back.
	MaySend func(ctx context.Context, gateway string, within time.Duration) error
	// Owns is asked before every request, reads too, and must be quick; nil is always.
	Owns func(gateway string) bool
	// Allowed is asked before each command to a meter whose map was verified on nothing, and again right before it leaves: whether
	// somebody allowed commands to this very meter with this version of the map. An error, or no Allowed at all, refuses.
	Allowed func(ctx context.Context, m Meter, mapVersion int) error
	// ReadOnly refuses every command below the drivers: nothing but reads leaves this process.
	ReadOnly bool
}

func (c Config) withDefaults() Config {
	setDefault(&c.Timeout, 3*time.Second)
	setDefault(&c.ReadRetries, 1)
	setDefault(&c.SwitchLimit, time.Minute)
	setDefault(&c.SwitchPoll, 500*time.Millisecond)
	setDefault(&c.SetAsideAfter, 1)
	setDefault(&c.LineAsideAfter, 3)
	setDefault(&c.SetAsideFor, time.Minute)
	setDefault(&c.SetAsideMost, time.Hour)
	return c
}

func setDefault[T int | time.Duration](value *T, usual T) {
	if *value == 0 {
		*value = usual
	}
}

// The points at which OnPoint is called, for tests that end the process there.
const (
	PointCreditSent  = "credit-sent"  // the purchase was exchanged; its answer was not looked at
	PointCreditAcked = "credit-acked" // the meter acknowledged; nothing was read back
	PointSwitchSent  = "switch-sent"
	PointSwitchAcked = "switch-acked"
	PointSweepRead   = "sweep-read" // one meter of a sweep was read
	PointPricesSent  = "prices-sent"
	PointVolumeSent  = "volume-sent"
	PointClockSent   = "clock-sent"
)

// Pool reads and commands meters through lines that it owns. All methods are safe for concurrent use.
type Pool struct {
	// OnPoint is called at the named points, in the goroutine of the line; nil is nothing. Set it before first use.
	OnPoint func(point string)

	config Config
	stats  struct{ requests, timeouts, retries, errors atomic.Int64 }

	mu     sync.Mutex
	lines  map[string]*line // by gateway id
	closed bool
	aside  asides
}

// NewPool makes a pool without lines; they are made when they are needed.
func NewPool(config Config) *Pool {
	config = config.withDefaults()
	return &Pool{config: config, lines: map[string]*line{}, aside: newAsides(config)}
}

// Stats tells what the pool did so far.
func (p *Pool) Stats() Stats {
	return Stats{
		Requests: p.stats.requests.Load(), Timeouts: p.stats.timeouts.Load(),
		Retries: p.stats.retries.Load(), Errors: p.stats.errors.Load(),
	}
}

// Shutdown ends all lines after their running jobs. Waiting callers get ErrClosed.
func (p *Pool) Shutdown() {
	p.mu.Lock()
	p.closed = true
	lines := p.lines
	p.lines = map[string]*line{}
	p.mu.Unlock()
	for _, l := range lines {
		l.stop()
	}
	for _, l := range lines {
		<-l.ended
	}
}

// CloseLine ends one gateway's line after its running job, for instance when its lease was lost. It doesn't wait for that. The next use makes
// a new line, which begins when this one has ended.
func (p *Pool) CloseLine(gateway string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l, ok := p.lines[gateway]; ok {
		l.stop()
	}
}

// line finds or makes the line of a gateway. A gateway that moved to another address gets a new line. Nothing here waits: a line that is
// slow to end, or a name that is slow to be found, holds up its own gateway only.
func (p *Pool) line(a Address) (*line, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	var after <-chan struct{}
	if l, ok := p.lines[a.Gateway]; ok {
		if l.hostPort == a.HostPort && l.settings == a.Link && !l.isClosed() {
			return l, nil
		}
		l.stop()
		after = l.ended
	}
	l, err := newLine(p, a, after)
	if err != nil {
		return nil, err
	}
	p.lines[a.Gateway] = l
	go l.own()
	return l, nil
}

func (p *Pool) point(name string) {
	if p.OnPoint != nil {
		p.OnPoint(name)
	}
}

type framesKey struct{}

// WithFrames makes Snapshot and Sweep keep their frames.
func WithFrames(ctx context.Context) context.Context {
	return context.WithValue(ctx, framesKey{}, true)
}

type lastWordKey struct{}

// WithLastWord makes commands ask, right before they leave, whether they are still wanted; an error keeps them back (ErrExpired). A command may wait for its
// line for longer than what it was decided on stands.
func WithLastWord(ctx context.Context, stillWanted func(context.Context) error) context.Context {
	return context.WithValue(ctx, lastWordKey{}, stillWanted)
}

type wallKey struct{}

// WithWall lets the orders that give supply back, Close, KeepClosed and Release, also reach a DL/T 645 meter that has lost its clock: they hold by
// the wall time of the meter's site then, which wall gives. Without it such a meter is ordered nothing (ErrUnsupported).
func WithWall(ctx context.Context, wall func() time.Time) context.Context {
	return context.WithValue(ctx, wallKey{}, wall)
}

type acknowledgedKey struct{}

// WithAcknowledged makes commands say when the meter has acknowledged one, before it is read back. Its line waits for the answer.
func WithAcknowledged(ctx context.Context, tell func(context.Context)) context.Context {
	return context.WithValue(ctx, acknowledgedKey{}, tell)
}

// Snapshot reads a meter on demand, before any sweep and whether or not it is set aside.
func (p *Pool) Snapshot(ctx context.Context, m Meter) (Snapshot, error) {
	return p.look(ctx, m, priorityRead)
}

// Sweep reads a meter as part of a sweep: after everything that is more urgent, and not at all (ErrSetAside) while it or
// its line is set aside for being silent.
func (p *Pool) Sweep(ctx context.Context, m Meter) (Snapshot, error) {
	if err := p.aside.check(m.Address); err != nil {
		return Snapshot{}, about(m, err)
	}
	return p.SweepAside(ctx, m)
}

// SweepAside is Sweep of a later pass: it asks also a meter that is set aside, once, and after everything that is more urgent like any other.
func (p *Pool) SweepAside(ctx context.Context, m Meter) (Snapshot, error) {
	snapshot, err := p.look(ctx, m, prioritySweep)
	if err == nil {
		p.point(PointSweepRead)
	}
	return snapshot, err
}

func (p *Pool) look(ctx context.Context, m Meter, urgency priority) (Snapshot, error) {
	keep, _ := ctx.Value(framesKey{}).(bool)
	var snapshot Snapshot
	err := p.onLine(ctx, m, &job{priority: urgency, reads: true}, func(s *session, prof *profile.Profile) error {
		s.vain = p.aside.vain(m.Address)
		var err error
		snapshot, err = s.snapshot(m, prof)
		if keep {
			snapshot.Frames = s.frames
		}
		return err
	})
	return snapshot, err
}

// onMeter runs a job in one piece on the meter's line and books whether the meter answered.
func (p *Pool) onMeter(ctx context.Context, m Meter, urgency priority, run func(*session, *profile.Profile) error) error {
	return p.onLine(ctx, m, &job{priority: urgency}, run)
}

func (p *Pool) onLine(ctx context.Context, m Meter, j *job, run func(*session, *profile.Profile) error) error {
	prof, err := profile.Get(m.Profile)
	if err != nil {
		return about(m, fmt.Errorf("%w: %w", ErrBadOrder, err))
	}
	if prof.CircuitUnits != 0 && !m.Box.holds(m.Unit, prof.CircuitUnits) {
		return about(m, fmt.Errorf("%w: unit %d is no circuit of the box with %d circuits from unit %d on", ErrBadOrder, m.Unit, m.Box.Circuits, m.Box.Base))
	}
	l, err := p.line(m.Address)
	if err != nil {
		return about(m, err)
	}
	var inner error
	j.unit, j.run = m.Unit, func(s *session) {
		s.prof = prof
		inner = run(s, prof)
	}
	if err := l.do(ctx, j); err != nil {
		return about(m, err)
	}
	p.aside.book(m.Address, inner)
	return about(m, inner)
}

// about says which meter an error is about.
func about(m Meter, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("meter %s at %s unit %d: %w", m.Serial, m.Gateway, m.Unit, err)
}

// snapshot reads all blocks of a meter and checks that it is the meter we think it is.
func (s *session) snapshot(m Meter, prof *profile.Profile) (Snapshot, error) {
	first := len(s.frames)
	values, err := s.values(m, prof)
	// The bands come from two requests: a unit that was counted between them makes a vector that never was. What still
	// does not add up after that is what the meter shows, and is for others to judge.
	for again := 0; err == nil && again < 2 && !addsUp(values.Registers); again++ {
		values, err = s.values(m, prof)
	}
	if err != nil {
		return Snapshot{}, err
	}
	taken := time.Now()
	if n := len(s.frames); n > first {
		taken = s.frames[n-1].AnsweredAt
	}
	shot := Snapshot{
		TakenAt: taken, MeterClock: values.Clock, Serial: values.Serial, Registers: values.Registers, Reverse: values.Reverse,
		RemainingFen: values.Remaining, PurchaseCount: values.PurchaseCount, RemainingLitres: values.Volume,
		Supply: supplyOf(values.Supply), ForcedOff: values.ForcedOff, ForcedOn: values.ForcedOn,
		Profile: prof.Name, ProfileVersion: prof.Version, InArrears: values.Arrears, StatusWord: values.Status, PowerW: values.Power, Ratio: values.Ratio,
	}
	if (shot.Supply == SupplyOff || shot.Supply == SupplyAllowed) && shot.loaded() {
		shot.Supply = SupplyFault
	}
	return shot, nil
}

// blocks reads all blocks of a meter as they are at one time: when a command to the meter came between two of them, all are read again.
func (s *session) blocks(m Meter, prof *profile.Profile) (profile.Raw, error) {
	for {
		ordered := s.line.ordered[m.Serial]
		raw := make(profile.Raw, len(prof.Blocks))
		for _, block := range prof.Blocks {
			data, err := s.block(m, prof, block)
			if err != nil {
				return nil, err
			}
			raw[block.Name] = data
		}
		if s.line.ordered[m.Serial] == ordered {
			return raw, nil
		}
	}
}

func (s *session) values(m Meter, prof *profile.Profile) (profile.Values, error) {
	raw, err := s.blocks(m, prof)
	if err != nil {
		return profile.Values{}, err
	}
	serial, err := prof.DecodeSerial(raw[prof.SerialBlock().Name])
	if err != nil {
		return profile.Values{}, fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	if m.Serial != "" && serial != m.Serial {
		return profile.Values{}, fmt.Errorf("%w: expected %s, found %s", ErrWrongMeter, m.Serial, serial)
	}
	values, err := prof.Decode(raw)
	if err != nil {
		return profile.Values{}, fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	return values, m.inBox(prof, values)
}

// inBox holds what the box says of itself against what we think it is: at the first contact, and at each later one, because a board can be
// exchanged.
func (m Meter) inBox(prof *profile.Profile, values profile.Values) error {
	if values.Board == nil {
		return nil
	}
	circuits, three, err := profile.BoardOf(*values.Board)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBadAnswer, err)
	case circuits != m.Box.Circuits:
		return fmt.Errorf("%w: a box with %d circuits answers, and %d were expected", ErrWrongMeter, circuits, m.Box.Circuits)
	case three != (prof.CircuitUnits == 3):
		return fmt.Errorf("%w: the circuit has other phases than profile %s", ErrWrongMeter, prof.Name)
	}
	return nil
}

// addsUp reports whether the total is the sum of the bands; a single register always adds up.
func addsUp(registers []int64) bool {
	if len(registers) == 1 {
		return true
	}
	var sum int64
	for _, band := range registers[1:] {
		sum += band
	}
	return sum == registers[0]
}

func supplyOf(s profile.Supply) SupplyState {
	switch s {
	case profile.SupplyOn:
		return SupplyOn
	case profile.SupplyOff:
		return SupplyOff
	case profile.SupplyMoving:
		return SupplyMoving
	case profile.SupplyFault:
		return SupplyFault
	case profile.SupplyAllowed:
		return SupplyAllowed
	default:
		return SupplyUnknown
	}
}

// mayCommand checks what must hold before money or switching is even queued.
func (p *Pool) mayCommand(ctx context.Context, m Meter, name string) (profile.Command, error) {
	prof, err := p.mayCommandAt(ctx, m)
	if err != nil {
		return profile.Command{}, err
	}
	c, ok := prof.Command(name)
	if !ok {
		return profile.Command{}, about(m, fmt.Errorf("%w: profile %s has no command %s", ErrUnsupported, prof.Name, name))
	}
	return c, nil
}

// mayCommandAt checks that a meter may be written to at all.
func (p *Pool) mayCommandAt(ctx context.Context, m Meter) (*profile.Profile, error) {
	if p.config.ReadOnly {
		return nil, about(m, ErrReadOnly)
	}
	prof, err := profile.Get(m.Profile)
	if err != nil {
		return nil, about(m, fmt.Errorf("%w: %w", ErrBadOrder, err))
	}
	if m.Serial == "" {
		return nil, about(m, fmt.Errorf("%w: a command needs the meter's serial number", ErrBadOrder))
	}
	if m.Link.Barred != "" {
		return nil, about(m, fmt.Errorf("%w: %s", ErrBarred, m.Link.Barred))
	}
	if err := p.trusted(ctx, m, prof); err != nil {
		return nil, about(m, err)
	}
	if prof.Protocol == profile.DLT645 && len(p.config.Password645) != 8 {
		return nil, about(m, fmt.Errorf("%w: DL/T 645 commands need a password of eight hex digits", ErrBadOrder))
	}
	return prof, nil
}

// trusted asks whether commands may be sent to a meter at all with this map.
func (p *Pool) trusted(ctx context.Context, m Meter, prof *profile.Profile) error {
	if p.config.Allowed == nil {
		return trusted(prof, nil)
	}
	return trusted(prof, func(mapVersion int) error { return p.config.Allowed(ctx, m, mapVersion) })
}

// trusted refuses commands on a map that was verified on nothing, unless they were allowed for the meter; without allowed they never are.
func trusted(prof *profile.Profile, allowed func(mapVersion int) error) error {
	switch {
	case prof.MayCommand():
		return nil
	case allowed == nil:
		return fmt.Errorf("%w: try profile %s on a real meter first", ErrUnverifiedProfile, prof.Name)
	}
	if err := allowed(prof.Version); err != nil {
		return fmt.Errorf("%w: %w", ErrUnverifiedProfile, err)
	}
	return nil
}

// mayLeave is the last look before a command leaves: the caller still wants it, the map may be used for it, and the line is still ours.
func (s *session) mayLeave(m Meter, prof *profile.Profile) error {
	if s.ctx.Err() != nil {
		return errors.Join(ErrExpired, context.Cause(s.ctx))
	}
	if wanted, ok := s.ctx.Value(lastWordKey{}).(func(context.Context) error); ok {
		if err := wanted(s.ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrExpired, err)
		}
	}
	if err := s.line.pool.trusted(s.ctx, m, prof); err != nil {
		return err
	}
	if ask := s.line.pool.config.MaySend; ask != nil {
		// A connection may have to be made first, which takes as long as an exchange at most.
		if err := ask(s.ctx, m.Gateway, s.line.pause()+2*s.line.timeout); err != nil {
			return fmt.Errorf("%w: %w", ErrNotOwner, err)
		}
	}
	return nil
}

// doubtful reports whether a command that ended with this error may have been applied. Only a request that never got a
// connection certainly was not; even a refusal may hide an applied first copy when a gateway repeats writes.
func doubtful(err error) bool { return err != nil && !errors.Is(err, ErrRefused) }
