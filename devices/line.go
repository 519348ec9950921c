package devices

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterflow/meterflow/devices/modbus"
	"github.com/meterflow/meterflow/devices/profile"
	"github.com/meterflow/meterflow/devices/wire"
)

// priority orders the jobs of a line; the lower goes first. Giving supply back outranks everything, and a sweep gives way
// to all.
type priority int

const (
	priorityRestore priority = iota
	priorityCredit
	priorityCut
	priorityRead
	prioritySweep
	priorityNone // less urgent than any job
)

// The life of a job. A caller whose context ends can only give up a job that has not started.
const (
	jobQueued int32 = iota
	jobStarted
	jobAbandoned
)

type job struct {
	priority priority
	number   int64 // first come, first served within a priority
	unit     byte  // of the meter that it is about
	reads    bool  // a mere read, which gives way between two of its requests. Commands are one piece.
	ctx      context.Context
	run      func(*session)
	state    atomic.Int32
	done     chan struct{}
}

// jobQueue is a heap of jobs.
type jobQueue []*job

func (q jobQueue) Len() int { return len(q) }
func (q jobQueue) Less(i, j int) bool {
	if q[i].priority != q[j].priority {
		return q[i].priority < q[j].priority
	}
	return q[i].number < q[j].number
}
func (q jobQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for container/heap only.
func (q *jobQueue) Push(x any) { *q = append(*q, x.(*job)) }

// Pop is for container/heap only.
func (q *jobQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}

// line owns the connection to one gateway line. Its goroutine is the only one that sends.
type line struct {
	gateway  string
	hostPort string
	settings Link
	timeout  time.Duration   // of one exchange
	after    <-chan struct{} // the end of the line that was here before; nil for the first
	pool     *Pool
	link     *modbus.Link
	channel  *wire.Channel // what link lies on; nil when the gateway converts
	began    time.Time
	written  map[byte]time.Time // by unit, when its last command was through; used by the owner only
	memories map[blockOf]memory // what a gateway that caches reads may remember; used by the owner only
	held     map[byte]bool      // units in the middle of a command, which is one piece; used by the owner only
	floor    priority           // what a job that rests lets through is more urgent; used by the owner only
	lastSent time.Time          // end of the last exchange; used by the owner only
	doubted  map[string]bool    // DL/T 645 meters of which a late answer may be on its way; used by the owner only
	counted  byte               // serial number of the last CJ/T 188 exchange; used by the owner only
	ordered  map[string]int     // how many commands left for a meter, by serial number; used by the owner only

	mu         sync.Mutex
	queue      jobQueue
	next       int64
	running    int       // jobs; more than one while a read gives way
	quietSince time.Time // the end of the last job, or when the line began
	closed     bool
	wake       chan struct{}
	ended      chan struct{}
}

// newLine prepares a line, which begins when own is called. after is closed when the line before it has ended.
func newLine(p *Pool, a Address, after <-chan struct{}) (*line, error) {
	l := &line{
		gateway: a.Gateway, hostPort: a.HostPort, settings: a.Link, timeout: p.config.Timeout, after: after, pool: p, quietSince: time.Now(),
		began: time.Now(), written: map[byte]time.Time{}, memories: map[blockOf]memory{}, held: map[byte]bool{}, floor: priorityNone,
		// An answer to who owned the line before must not carry the number of one of our own exchanges.
		counted: byte(rand.N(256)), ordered: map[string]int{}, wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	setIf(&l.timeout, a.Link.Timeout)
	if a.Link.Kind != LinkDialIn {
		if err := MayDial(p.config.Networks, a.HostPort); err != nil {
			return nil, err
		}
	}
	switch a.Link.Kind {
	case LinkTCP, "":
		l.link = modbus.NewLink(a.HostPort, l.timeout, p.locate)
	case LinkTransparent:
		l.channel = wire.NewChannel(p.dialOut(a.HostPort), l.timeout)
	case LinkDialIn:
		if p.config.DialIn == nil {
			return nil, fmt.Errorf("%w: gateway %s dials in, and this worker doesn't listen for such units", ErrBadOrder, a.Gateway)
		}
		l.channel = wire.NewChannel(p.config.DialIn.dial(a.Gateway), l.timeout)
	default:
		return nil, fmt.Errorf("%w: link kind %q of gateway %s is unknown", ErrBadOrder, a.Link.Kind, a.Gateway)
	}
	if l.link == nil {
		l.link = modbus.NewRTULink(l.channel)
	}
	return l, nil
}

func setIf(value *time.Duration, other time.Duration) {
	if other > 0 {
		*value = other
	}
}

// do runs a job on the line and waits for it. The context decides only whether the job still starts; once it runs, it
// runs to its end, which time-outs bound.
func (l *line) do(ctx context.Context, j *job) error {
	j.ctx, j.done = ctx, make(chan struct{})
	if err := l.push(j); err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobQueued, jobAbandoned) {
			return errors.Join(ErrExpired, context.Cause(ctx))
		}
		<-j.done
	}
	if j.state.Load() == jobAbandoned {
		if ctx.Err() != nil {
			return errors.Join(ErrExpired, context.Cause(ctx))
		}
		return ErrClosed
	}
	return nil
}

func (l *line) push(j *job) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.next++
	j.number = l.next
	heap.Push(&l.queue, j)
	select {
	case l.wake <- struct{}{}:
	default: // the owner is awake already
	}
	return nil
}

// own is the line's goroutine. It begins when the line before it has ended: a gateway is never under two owners, even for a moment.
func (l *line) own() {
	defer close(l.ended)
	defer l.link.Close()
	if l.after != nil {
		<-l.after
	}
	for range l.wake {
		for j := l.pop(); j != nil; j = l.pop() {
			l.runJob(j)
		}
		if l.isClosed() {
			return
		}
	}
}

func (l *line) runJob(j *job) {
	defer close(j.done)
	if j.ctx.Err() != nil || !l.begin() {
		j.state.CompareAndSwap(jobQueued, jobAbandoned)
		return
	}
	defer l.finish()
	if !j.state.CompareAndSwap(jobQueued, jobStarted) {
		return // the caller gave up
	}
	if !j.reads {
		l.held[j.unit] = true
		defer delete(l.held, j.unit)
	}
	j.run(&session{line: l, ctx: j.ctx, urgency: j.priority, givesWay: j.reads, began: time.Now()})
}

// giveWay runs what is more urgent than a read that is under way, between two of its requests: a command waits for one transaction of the
// line, not for a whole meter.
func (l *line) giveWay(urgency priority) {
	before := func(j *job) bool { return j.priority < min(urgency, l.floor) }
	for j := l.take(before); j != nil; j = l.take(before) {
		l.runJob(j)
	}
}

// take takes the first job that may run now, about a meter that isn't in the middle of a command.
func (l *line) take(may func(*job) bool) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := -1
	for i, j := range l.queue {
		if !l.held[j.unit] && may(j) && (first < 0 || l.queue.Less(i, first)) {
			first = i
		}
	}
	if first < 0 {
		return nil
	}
	return heap.Remove(&l.queue, first).(*job)
}

func (l *line) pop() *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	return heap.Pop(&l.queue).(*job)
}

func (l *line) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// stop lets the running job end and turns the waiting ones away. The connection is closed when ended is.
func (l *line) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// session is what a running job may do: exchanges on its line, with their frames kept.
type session struct {
	line    *line
	ctx     context.Context
	urgency priority
	// givesWay: a mere read. Commands are one piece: nothing comes between a look at the meter, the order and the read-back, but what is about other
	// meters while they rest.
	givesWay bool
	// vain: the meter counts as silent, so that a mere read of it may cost the line one time-out and no more.
	vain  bool
	began time.Time
	fresh bool // what a gateway may remember from before the job began is not believed
	// prof is the register map of the meter that the job is about.
	prof   *profile.Profile
	frames []Frame
	// left says that a command of this job may have left: its bytes, or some of them, were given to a connection.
	left bool
}

// pause is what a slow gateway needs between two requests.
func (l *line) pause() time.Duration {
	pause := l.pool.config.Pause
	setIf(&pause, l.settings.Pause)
	return pause
}

// settle keeps the pause between two requests.
func (s *session) settle() {
	if wait := s.line.pause() - time.Since(s.line.lastSent); wait > 0 {
		time.Sleep(wait)
	}
}

// owned refuses to say anything on a line that another process may own by now.
func (s *session) owned() error {
	if owns := s.line.pool.config.Owns; owns != nil && !owns(s.line.gateway) {
		return fmt.Errorf("%w: the lease of gateway %s has run out", ErrNotOwner, s.line.gateway)
	}
	return nil
}

// after books one exchange.
func (s *session) after(frame Frame, err error) error {
	s.line.lastSent = time.Now()
	err = translate(err)
	if frame.Request != "" {
		frame.Line, frame.Map = s.line.gateway, s.prof.Label()
		if err != nil {
			frame.Result = err.Error()
		}
		s.frames = append(s.frames, frame)
	}
	stats := &s.line.pool.stats
	stats.requests.Add(1)
	switch {
	case errors.Is(err, ErrSilent):
		stats.timeouts.Add(1)
	case err != nil:
		stats.errors.Add(1)
	}
	return err
}

// read reads one block.
func (s *session) read(unit byte, address, words uint16) ([]byte, error) {
	return s.again(func() ([]byte, Frame, error) { return s.line.link.Read(unit, address, words) })
}

// again sends a read. A failed one is tried again as often as configured: reading twice harms nobody. A sweep doesn't ask a silent meter
// twice: its gateway has done that already, and a later pass will. Nor does anybody who merely reads one that counts as silent, because its
// neighbours wait meanwhile.
func (s *session) again(read func() ([]byte, Frame, error)) ([]byte, error) {
	for try := 0; ; try++ {
		if s.givesWay {
			s.line.giveWay(s.urgency)
		}
		s.settle()
		if err := s.owned(); err != nil {
			return nil, err
		}
		data, frame, err := read()
		err = s.after(frame, err)
		silent, noise := errors.Is(err, ErrSilent), errors.Is(err, errNoise)
		costly := silent && s.urgency == prioritySweep || (silent || noise) && s.vain
		if err == nil || costly || try >= s.line.pool.config.ReadRetries || errors.Is(err, ErrRefused) || s.ctx.Err() != nil {
			return data, err
		}
		s.line.pool.stats.retries.Add(1)
	}
}

// write sends one command to a meter, once: the one way by which anything but a read leaves this process.
func (s *session) write(m Meter, send func() (Frame, error)) error {
	if s.line.pool.config.ReadOnly {
		return ErrReadOnly
	}
	s.settle()
	if err := s.owned(); err != nil { // the pause, or a process that stood still, took longer than the lease
		return err
	}
	s.line.ordered[m.Serial]++
	frame, err := send()
	s.left = frame.Request != "" && !errors.Is(err, modbus.ErrNotConnected)
	s.line.written[m.Unit] = time.Now()
	frame.Write = true
	err = s.after(frame, err)
	if tell, ok := s.ctx.Value(acknowledgedKey{}).(func(context.Context)); ok && err == nil {
		tell(s.ctx)
	}
	return err
}

// send sends one Modbus command, once.
func (s *session) send(m Meter, c command) error {
	return s.write(m, func() (Frame, error) {
		switch c.function {
		case modbus.WriteSingle:
			return s.line.link.WriteOne(m.Unit, c.address, c.values[0])
		case modbus.WriteMultiple:
			return s.line.link.WriteMany(m.Unit, c.address, c.values)
		default:
			return s.line.link.Command(m.Unit, c.address, c.values)
		}
	})
}

// command is one write to a meter.
type command struct {
	function byte
	address  uint16
	values   []uint16
}
