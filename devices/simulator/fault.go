package simulator

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// FaultKind names what goes wrong.
type FaultKind string

// The faults. "Meter" faults need a place; gateway faults need a gateway only.
const (
	FaultSilent        FaultKind = "silent"         // the meter does not answer: exception 0x0B after the gateway's time-out
	FaultMute          FaultKind = "mute"           // the meter does not answer and the gateway says nothing either
	FaultSlow          FaultKind = "slow"           // the answer comes DelayMillis late
	FaultLostReply     FaultKind = "lost-reply"     // a write is applied, its answer is lost
	FaultWrongUnit     FaultKind = "wrong-unit"     // the answer carries another unit id
	FaultDropLink      FaultKind = "drop-link"      // the gateway closes the connection instead of an answer
	FaultRepeatWrite   FaultKind = "repeat-write"   // the gateway sends a write twice and passes on the second answer
	FaultStuckRelay    FaultKind = "stuck-relay"    // the relay does not move; the meter says nothing about it
	FaultWelded        FaultKind = "welded"         // the relay opens or the valve closes by its own showing, and the load flows on
	FaultStuckValve    FaultKind = "stuck-valve"    // the valve does not move and reports itself abnormal
	FaultMovingValve   FaultKind = "moving-valve"   // the valve travels for DelayMillis
	FaultWrongClock    FaultKind = "wrong-clock"    // the meter's clock is Offset seconds off
	FaultLostClock     FaultKind = "lost-clock"     // a DL/T 645 meter shows no time, and can't tell that an order comes late
	FaultRegisterJump  FaultKind = "register-jump"  // the registers read Offset units too high (or low)
	FaultWrongRatio    FaultKind = "wrong-ratio"    // the meter shows the transformer ratio Offset
	FaultUnderCount    FaultKind = "under-count"    // Offset permille of what passes is not counted: a bypass, or (1000) nobody at home
	FaultGatewaySilent FaultKind = "gateway-silent" // the gateway takes connections and answers nothing
	FaultBadSum        FaultKind = "bad-sum"        // the answer's checksum is wrong; nothing on Modbus TCP, whose answers have none
	FaultShort         FaultKind = "short"          // the answer breaks off in the middle
	FaultLong          FaultKind = "long"           // bytes follow the answer
	FaultOverlong      FaultKind = "overlong"       // the answer has more data than was asked for, in a frame that is sound
)

// LineFaults are those of the line and the gateway; MeterFaults those of the meter itself, whatever the line brings. Every fault is in one of the two: what
// isn't can't be injected.
var (
	LineFaults = []FaultKind{
		FaultSilent, FaultMute, FaultSlow, FaultLostReply, FaultWrongUnit, FaultDropLink, FaultRepeatWrite, FaultGatewaySilent, FaultBadSum, FaultShort, FaultLong,
		FaultOverlong,
	}
	MeterFaults = []FaultKind{
		FaultStuckRelay, FaultWelded, FaultStuckValve, FaultMovingValve, FaultWrongClock, FaultRegisterJump, FaultWrongRatio, FaultUnderCount, FaultLostClock,
	}
)

// Fault is one thing that goes wrong, at one place, for some time. Empty place fields match everything.
type Fault struct {
	ID      string    `json:"id,omitempty"` // given at injection when empty
	Kind    FaultKind `json:"kind"`
	Gateway string    `json:"gateway,omitempty"`
	Unit    byte      `json:"unit,omitempty"`
	Serial  string    `json:"serial,omitempty"`
	// From and Until bound it in business time, half-open; zero is unbounded.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// On limits it to "read" or "write" requests; empty is both. It matters to faults of the line only.
	On string `json:"on,omitempty"`
	// Times is how often it strikes before it is over; 0 is without limit.
	Times       int   `json:"times,omitempty"`
	DelayMillis int   `json:"delay_millis,omitempty"`
	Offset      int64 `json:"offset,omitempty"`
}

// FaultCounts tells how often faults were injected and how often they struck, by kind.
type FaultCounts struct {
	Injected map[FaultKind]int `json:"injected"`
	Hit      map[FaultKind]int `json:"hit"`
}

type place struct {
	gateway string
	unit    byte
	serial  string
	request string // onRead or onWrite, for what happens on the line
}

// What a request does.
const (
	onRead  = "read"
	onWrite = "write"
)

func (f Fault) at(p place, business time.Time) bool {
	return (f.Gateway == "" || f.Gateway == p.gateway) &&
		(f.Unit == 0 || f.Unit == p.unit) &&
		(f.Serial == "" || f.Serial == p.serial) &&
		(f.On == "" || f.On == p.request) &&
		(f.From.IsZero() || !business.Before(f.From)) &&
		(f.Until.IsZero() || business.Before(f.Until))
}

// struck is where the faults of a kind are kept: by gateway, "" for those that hold everywhere, so that many faults on other lines don't slow
// down the look for one.
type struck struct {
	kind    FaultKind
	gateway string
}

func (f Fault) struck() struck { return struck{f.Kind, f.Gateway} }

// faults holds the active faults of a fleet.
type faults struct {
	record *record

	mu       sync.Mutex
	active   map[struck][]Fault
	next     int
	injected map[FaultKind]int
	hit      map[FaultKind]int
}

// newFaults takes up the faults that a record left active.
func newFaults(r *record, entries []RecordEntry) *faults {
	f := &faults{record: r, active: map[struck][]Fault{}, injected: map[FaultKind]int{}, hit: map[FaultKind]int{}}
	for _, entry := range entries {
		if entry.Fault == nil {
			continue
		}
		switch entry.Kind {
		case EntryFault:
			f.next++
			f.injected[entry.Fault.Kind]++
			f.add(*entry.Fault)
		case EntryFaultCleared:
			f.remove(entry.Fault.ID)
		}
	}
	return f
}

func (f *faults) inject(fault Fault, business time.Time) (string, error) {
	if !slices.Contains(LineFaults, fault.Kind) && !slices.Contains(MeterFaults, fault.Kind) {
		return "", fmt.Errorf("fault kind %q is unknown", fault.Kind)
	}
	if fault.On != "" && fault.On != onRead && fault.On != onWrite {
		return "", fmt.Errorf("a fault can strike on %q or %q requests, not on %q", onRead, onWrite, fault.On)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	if fault.ID == "" {
		fault.ID = fmt.Sprintf("f%d", f.next)
	}
	for _, of := range f.active {
		if slices.ContainsFunc(of, func(active Fault) bool { return active.ID == fault.ID }) {
			return "", fmt.Errorf("fault %q is already active; clear it first or choose another id", fault.ID)
		}
	}
	entry := RecordEntry{Kind: EntryFault, Business: business, Real: time.Now(), Serial: fault.Serial, Fault: &fault}
	if err := f.record.append(entry); err != nil {
		return "", err
	}
	f.injected[fault.Kind]++
	f.add(fault)
	return fault.ID, nil
}

// clear ends faults: the one with the id, or without an id all of the kind at the place.
func (f *faults) clear(like Fault, business time.Time) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ended []RecordEntry
	for _, of := range f.active {
		for _, active := range of {
			same := active.ID == like.ID
			if like.ID == "" {
				same = (like.Kind == "" || active.Kind == like.Kind) && active.Gateway == like.Gateway && active.Unit == like.Unit && active.Serial == like.Serial
			}
			if same {
				ended = append(ended, clearedEntry(active, business))
			}
		}
	}
	if err := f.record.append(ended...); err != nil {
		return 0, err
	}
	for _, entry := range ended {
		f.remove(entry.Fault.ID)
	}
	return len(ended), nil
}

func clearedEntry(fault Fault, business time.Time) RecordEntry {
	return RecordEntry{Kind: EntryFaultCleared, Business: business, Real: time.Now(), Serial: fault.Serial, Fault: &fault}
}

func (f *faults) add(fault Fault) { f.active[fault.struck()] = append(f.active[fault.struck()], fault) }

func (f *faults) remove(id string) {
	for at, of := range f.active {
		f.active[at] = slices.DeleteFunc(of, func(fault Fault) bool { return fault.ID == id })
	}
}

// take finds a fault of the kind that strikes here and now, and counts the strike.
func (f *faults) take(kind FaultKind, p place, business time.Time) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := f.holding(kind, p, business)
	if found == nil {
		return Fault{}, false
	}
	f.hit[kind]++
	fault := *found
	if fault.Times == 1 {
		// The end is recorded so that a restart does not bring the fault back. Should that fail, it only comes back.
		_ = f.record.append(clearedEntry(fault, business))
		f.remove(fault.ID)
	} else if fault.Times > 1 {
		found.Times--
	}
	return fault, true
}

// standing finds a fault of the kind that holds here and now, without counting a strike.
func (f *faults) standing(kind FaultKind, p place, business time.Time) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if found := f.holding(kind, p, business); found != nil {
		return *found, true
	}
	return Fault{}, false
}

// holding is the first active fault of the kind that holds at the place, those of its own gateway before those of all.
func (f *faults) holding(kind FaultKind, p place, business time.Time) *Fault {
	for _, gateway := range []string{p.gateway, ""} {
		of := f.active[struck{kind, gateway}]
		for i := range of {
			if of[i].at(p, business) {
				return &of[i]
			}
		}
	}
	return nil
}

func (f *faults) counts() FaultCounts {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := FaultCounts{Injected: map[FaultKind]int{}, Hit: map[FaultKind]int{}}
	for kind, n := range f.injected {
		counts.Injected[kind] = n
	}
	for kind, n := range f.hit {
		counts.Hit[kind] = n
	}
	return counts
}
