package devices

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// FaultKind is a way in which an exchange with a meter fails.
type FaultKind string

// The kinds of faults; see the errors of the same names.
const (
	FaultSilent     FaultKind = "silent"
	FaultLinkDown   FaultKind = "link_down"
	FaultRefused    FaultKind = "refused"
	FaultWrongMeter FaultKind = "wrong_meter"
	FaultBadAnswer  FaultKind = "bad_answer"
)

// faultOf is the fault that a job on a line ended with; empty for success, and for what was never sent.
func faultOf(err error) FaultKind {
	switch {
	case errors.Is(err, ErrLinkDown):
		return FaultLinkDown
	case errors.Is(err, ErrSilent):
		return FaultSilent
	case errors.Is(err, ErrRefused):
		return FaultRefused
	case errors.Is(err, ErrWrongMeter):
		return FaultWrongMeter
	case errors.Is(err, ErrBadAnswer):
		return FaultBadAnswer
	default:
		return ""
	}
}

// Fault is how often a kind of fault was met on a line since the pool was made, and the last of them.
type Fault struct {
	Count int64
	At    time.Time // real time
	Text  string
}

// MeterAside is a meter that sweeps leave alone because it didn't answer.
type MeterAside struct {
	Unit  byte
	Tries int // without an answer, in a row
	Until time.Time
}

// LineReport is what a pool knows of one line. Instants are real time.
type LineReport struct {
	AnsweredAt time.Time // the last answer of any meter; zero before the first
	AsideUntil time.Time // sweeps leave the whole line alone until then; zero when nothing says so
	Asides     []MeterAside
	Faults     map[FaultKind]Fault
}

// Report tells what is known of a gateway's line; the zero report before its first use.
func (p *Pool) Report(gateway string) LineReport { return p.aside.report(gateway) }

func (a *asides) report(gateway string) LineReport {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	r := LineReport{Faults: map[FaultKind]Fault{}}
	if past, ok := a.past[gateway]; ok {
		r.AnsweredAt = past.answeredAt
		for kind, f := range past.faults {
			r.Faults[kind] = f
		}
	}
	if l, ok := a.lines[gateway]; ok && now.Before(l.until) {
		r.AsideUntil = l.until
	}
	for unit, s := range a.meters[gateway] {
		if now.Before(s.until) {
			r.Asides = append(r.Asides, MeterAside{Unit: unit, Tries: s.tries, Until: s.until})
		}
	}
	slices.SortFunc(r.Asides, func(x, y MeterAside) int { return int(x.Unit) - int(y.Unit) })
	return r
}

// lineRecord is what is remembered of a line for reports.
type lineRecord struct {
	answeredAt time.Time
	faults     map[FaultKind]Fault
}

// record takes in how a job ended, for reports. The caller holds the lock.
func (a *asides) record(gateway string, err error, now time.Time) {
	past, ok := a.past[gateway]
	if !ok {
		past = &lineRecord{faults: map[FaultKind]Fault{}}
		a.past[gateway] = past
	}
	kind := faultOf(err)
	if err == nil || kind == FaultRefused || kind == FaultWrongMeter {
		past.answeredAt = now
	}
	if kind != "" {
		past.faults[kind] = Fault{Count: past.faults[kind].Count + 1, At: now, Text: strings.ReplaceAll(err.Error(), "\x00", "")}
	}
}
